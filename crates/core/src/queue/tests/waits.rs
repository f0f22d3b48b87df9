//! What a story tells of its waits, against a stamp on each task at each look.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;

use super::world::*;
use crate::gap::{Fault, Gap, Outcome, Standing};
use crate::ids::{AttemptId, GapId, TaskId};
use crate::queue::book::{InLine, Phase};
use crate::queue::classes::TaskSlot;
use crate::queue::{Charging, Dispatcher, GapNews, Gate, Pick, Rules, Start};
use crate::record::Waited;
use crate::spec::{AbsentPolicy, BreakerPolicy, Caps, PriorityLevel, RetryPolicy, Weighting};
use crate::time::{Boottime, Now, Timestamp};

fn rules() -> Rules {
    let mut rules = no_rules()
        .source("narrow", limits(&[per(2, 10), per(9, 120)]))
        .source("wide", limits(&[per(40, 60)]))
        .collector("one", 1, Charging::Ahead)
        .collector("page", 1, Charging::EachRequest)
        .collector("many", 3, Charging::Ahead)
        .dataset("ones", Some("narrow"), Some("one"))
        .dataset("pages", Some("wide"), Some("page"))
        .dataset("batches", Some("narrow"), Some("many"))
        .dataset("lone", None, Some("many"));
    let breaker = BreakerPolicy { failures: 2, cooldown: Duration::from_secs(7), cooldown_max: Duration::from_secs(20), rate: None };
    for source in rules.sources.values_mut() {
        source.breaker = Some(breaker);
    }
    for collector in rules.collectors.values_mut() {
        (collector.breaker, collector.retry) =
            (Some(breaker), RetryPolicy { backoff_min: Duration::from_secs(3), ..RetryPolicy::default() });
    }
    for dataset in rules.datasets.values_mut() {
        dataset.absent = AbsentPolicy { after: Duration::from_secs(60), ..AbsentPolicy::default() };
    }
    (rules.slots, rules.adaptive) = (2, false);
    rules.caps = Caps::default().with(None, 12).with(Some(PriorityLevel::High), 5);
    rules
}

/// Both sources tell their customers apart, and it is those who wait, more than for slots.
fn rules_by() -> Rules {
    let mut rules = rules();
    rules.sources["narrow"].limits = limits(&[per(7, 20)]);
    (rules.slots, rules.caps) = (5, Caps::default().with(Some(PriorityLevel::High), 20));
    let of_each = rules.sources["narrow"].breaker.take().expect("one for all");
    let rules =
        rules.limits_by("narrow", "customer", limits(&[per(3, 15)])).limits_by("wide", "customer", limits(&[per(1, 3), per(3, 40)]));
    rules.breaker_by("narrow", "customer", of_each)
}

const DATASETS: [&str; 4] = ["ones", "pages", "batches", "lone"];

/// What a task was seen to wait for, noted at the task.
#[derive(Clone, Debug)]
struct Stamp {
    in_line: InLine,
    waits: Vec<Waited>,
    holds: Option<(Gate, Boottime)>,
    /// What held it before, and until when.
    before: Option<(Gate, Boottime)>,
    better: u64,
}

impl Stamp {
    fn sees(&mut self, gate: Gate, now: Now) {
        if self.holds.as_ref().is_some_and(|(held, _)| held.is_like(&gate)) {
            return;
        }
        self.closes(now);
        self.holds = Some((gate, now.boot));
    }

    fn closes(&mut self, now: Now) {
        let Some((gate, since)) = self.holds.take().filter(|(_, since)| *since < now.boot) else { return };
        let micros = now.boot.since(since).as_micros() as u64;
        let goes_on = self.before.as_ref().is_some_and(|(before, until)| before.is_like(&gate) && *until == since);
        self.before = Some((gate.clone(), now.boot));
        match self.waits.iter_mut().find(|known| known.gate.is_like(&gate)) {
            Some(known) => (known.micros, known.times) = (known.micros + micros, known.times + u32::from(!goes_on)),
            None => self.waits.push(Waited { since: now.wall_at(since), micros, times: 1, gate }),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open(Vec<(usize, u8, usize)>),
    Wait(u64),
    End { running: usize, outcome: u8 },
    Look,
    Weigh(bool),
    Recheck { gap: usize, fingerprint: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec((0usize..4, any::<u8>(), 0usize..3), 1..8).prop_map(Step::Open),
        4 => prop_oneof![Just(0), 1u64..3_000, 3_000u64..60_000].prop_map(Step::Wait),
        5 => (0usize..2, 0u8..8).prop_map(|(running, outcome)| Step::End { running, outcome }),
        1 => Just(Step::Look),
        1 => any::<bool>().prop_map(Step::Weigh),
        1 => (any::<usize>(), 1u64..3).prop_map(|(gap, fingerprint)| Step::Recheck { gap, fingerprint }),
    ]
}

struct Drive {
    world: World,
    now: u64,
    stamps: HashMap<TaskId, Stamp>,
    /// When the attempt ended that put each gap off.
    put_off: HashMap<GapId, Timestamp>,
    running: Vec<Start>,
    /// By instant: nobody can say of two things at one which was first.
    starts: HashMap<InLine, u64>,
    /// Reasons that were told, by kind.
    told: HashMap<&'static str, u64>,
    /// Values have limits of their own.
    by: bool,
}

fn in_line(dispatcher: &Dispatcher) -> Vec<(TaskSlot, TaskId, InLine)> {
    let ready = dispatcher.book.tasks().filter(|(_, task)| matches!(task.phase, Phase::Ready(_)));
    ready.map(|(slot, task)| (slot, task.id, task.in_line)).collect()
}

impl Drive {
    fn new(by: bool) -> Self {
        let world = World::new(if by { rules_by() } else { rules() }, now_at(0));
        Drive {
            world,
            now: 0,
            stamps: HashMap::new(),
            put_off: HashMap::new(),
            running: Vec::new(),
            starts: HashMap::new(),
            told: HashMap::new(),
            by,
        }
    }

    fn now(&self) -> Now {
        now_at(self.now)
    }

    fn take(&mut self, step: Step) {
        let now = self.now();
        match step {
            Step::Open(new) => {
                let known: Vec<GapId> = self.world.dispatcher.gaps().iter().map(|gap| gap.id).collect();
                let new = new.into_iter().map(|(dataset, name, priority)| {
                    let priority = [PriorityLevel::High, PriorityLevel::Medium, PriorityLevel::Low][priority];
                    match self.by && DATASETS[dataset] != "lone" {
                        true => gap_of(&format!("c{}", name % 3), DATASETS[dataset], &name.to_string(), priority, now),
                        false => gap(DATASETS[dataset], &name.to_string(), priority, now),
                    }
                });
                let mut new: Vec<Gap> = new.filter(|gap| !known.contains(&gap.id)).collect();
                new.sort_by_key(|gap| gap.id);
                new.dedup_by_key(|gap| gap.id);
                self.world.open(new, now);
            }
            Step::Wait(millis) => self.now += millis,
            Step::End { running, outcome } if running < self.running.len() => {
                let start = self.running.remove(running);
                let outcome = match outcome {
                    0 | 1 => failed(Fault::Item),
                    2 => failed(Fault::Source),
                    3 => failed(Fault::Collector),
                    4 => Outcome::Absent,
                    5 => failed(Fault::Stopped),
                    _ => done(),
                };
                self.world.end(&start, &outcome, now);
                self.put_off.extend(start.gaps.iter().map(|gap| (gap.id, now.wall)));
                // Slots are to be free where values wait.
                let others = if self.by { std::mem::take(&mut self.running) } else { Vec::new() };
                others.iter().for_each(|start| self.world.end(start, &done(), now));
            }
            Step::End { .. } => {}
            Step::Look => {
                let changes = self.world.dispatcher.new_cycle(now.boot + Duration::from_secs(900), now);
                self.world.memory.apply(&changes);
            }
            Step::Weigh(alike) => {
                let weighting = Weighting { enabled: !alike, ..Weighting::default() };
                self.world.dispatcher.weigh(weighting, now);
            }
            Step::Recheck { gap, fingerprint } => {
                let gaps = self.world.dispatcher.gaps();
                if !gaps.is_empty() {
                    let changed = vec![Gap { fingerprint, ..gaps[gap % gaps.len()].clone() }];
                    self.world.reconcile(GapNews { changed, ..GapNews::default() }, now);
                }
            }
        }
    }

    fn starts_what_can(&mut self) -> Result<(), TestCaseError> {
        let now = self.now();
        loop {
            let mut before = self.world.dispatcher.clone();
            before.wake(now);
            self.renew(&before);
            match self.world.pick(now) {
                Pick::Start(start) => self.started(*start, &before, now)?,
                Pick::Idle(_) => break,
            }
        }
        let dispatcher = &self.world.dispatcher;
        for (_, task, _) in in_line(dispatcher) {
            let gate = naive_gate(dispatcher, task, now);
            self.stamps.get_mut(&task).expect("it was seen just now").sees(gate, now);
        }
        for (_, task, _) in in_line(dispatcher) {
            let mut stamp = self.stamps[&task].clone();
            stamp.closes(now);
            let (told, better) = dispatcher.waited(task, now).expect("it is there");
            let told: Vec<Waited> = told.into_iter().filter(|waited| !is_pause(&waited.gate)).collect();
            self.same(&told, &stamp.waits, dispatcher.task(task).is_some_and(|task| task.collector == "many"))?;
            self.counts(better, &stamp)?;
        }
        Ok(())
    }

    /// Whoever stands in line anew waits anew.
    fn renew(&mut self, before: &Dispatcher) {
        let ready = in_line(before);
        self.stamps.retain(|task, _| ready.iter().any(|(_, of, _)| of == task));
        for (_, task, in_line) in ready {
            let new = Stamp { in_line, waits: Vec::new(), holds: None, before: None, better: 0 };
            let stamp = self.stamps.entry(task).or_insert_with(|| new.clone());
            if stamp.in_line != in_line {
                *stamp = new;
            }
        }
    }

    fn started(&mut self, start: Start, before: &Dispatcher, now: Now) -> Result<(), TestCaseError> {
        let mut stamp = self.stamps.remove(&start.task.id).expect("it stood in line");
        stamp.closes(now);
        let story = self.world.dispatcher.story(start.attempt).expect("it runs");
        let (pauses, waits): (Vec<Waited>, Vec<Waited>) = story.waits.iter().cloned().partition(|waited| is_pause(&waited.gate));
        self.same(&waits, &stamp.waits, start.task.collector == "many")?;
        self.counts(story.better, &stamp)?;
        same(&pauses, &self.pause(&start), false)?;
        let is_of_value = Gate::is_of_one_value;
        let words = story.waits.iter().map(|waited| if is_of_value(&waited.gate) { OF_VALUE } else { waited.gate.word() });
        words.for_each(|word| *self.told.entry(word).or_default() += 1);
        // All whose best of their kind does not rank above it have seen a better one start.
        let slot = before.book.find_task(start.task.id).expect("it was there");
        let rank = before.rank_of(slot, now);
        let ready = in_line(before);
        for (other, task, _) in ready.iter().filter(|(_, task, _)| *task != start.task.id) {
            let kind = before.class_key(*other);
            let of_its_kind =
                ready.iter().filter(|(alike, _, _)| before.class_key(*alike) == kind).map(|(alike, ..)| before.rank_of(*alike, now));
            if of_its_kind.max().is_some_and(|best| best <= rank) {
                self.stamps.get_mut(task).expect("it stands in line").better += 1;
            }
        }
        self.running.push(start);
        *self.starts.entry(InLine::since(now.boot)).or_default() += 1;
        Ok(())
    }

    fn counts(&self, told: u64, stamp: &Stamp) -> Result<(), TestCaseError> {
        let at_once = self.starts.get(&stamp.in_line).copied().unwrap_or(0);
        // While its value refuses it, none is.
        let least = if self.by { 0 } else { stamp.better };
        prop_assert!((least..=stamp.better + at_once).contains(&told), "told {told} better ones of {}", stamp.better);
        Ok(())
    }

    fn same(&self, told: &[Waited], stamped: &[Waited], is_batch: bool) -> Result<(), TestCaseError> {
        match self.by {
            true => same_times(told, stamped),
            false => same(told, stamped, is_batch),
        }
    }

    /// What the gaps of a task tell of a pause before this attempt.
    fn pause(&self, start: &Start) -> Vec<Waited> {
        let Some(last) = start.gaps.iter().filter(|gap| gap.progress.next_try.is_some()).max_by_key(|gap| gap.progress.next_try) else {
            return Vec::new();
        };
        let until = last.progress.next_try.unwrap();
        let since = self.put_off[&last.id];
        let gate = match last.progress.standing {
            Standing::NotYet => Gate::NotYet { until },
            Standing::Exhausted => Gate::Exhausted { until },
            Standing::Doubted => Gate::Doubted { until },
            Standing::Contested => Gate::Contested { until },
            Standing::Cancelled => Gate::Cancelled { until },
            Standing::Open => Gate::Retry { until },
        };
        vec![Waited { since, micros: until.duration_since(since).as_micros() as u64, times: 1, gate }]
    }
}

/// Of a limit that a value has for itself.
const OF_VALUE: &str = "a limit of a value";

fn is_pause(gate: &Gate) -> bool {
    matches!(gate, Gate::Retry { .. } | Gate::NotYet { .. } | Gate::Exhausted { .. } | Gate::Doubted { .. } | Gate::Contested { .. })
}

/// What one task, asked alone, says; while all slots are taken these come before limits.
fn naive_gate(dispatcher: &Dispatcher, task: TaskId, now: Now) -> Gate {
    let why = dispatcher.why_task(task, now).expect("it stands in line");
    let is_shut =
        matches!(why, Gate::Breaker { value: None, .. } | Gate::CollectorBreaker { .. } | Gate::RetryAfter { .. } | Gate::Cap { .. });
    match dispatcher.slots_used() == dispatcher.rules().slots {
        true if !is_shut => Gate::Slots { slots: dispatcher.rules().slots },
        _ if is_shut => why,
        // What is refused to all values comes before what is refused to one.
        _ => {
            let key = dispatcher.class_key(dispatcher.book.find_task(task).expect("it stands in line"));
            let refusal = key.ask.and_then(|ask| dispatcher.grants.limiter().refusal_of_any_value(&ask, now.boot));
            refusal.map_or(why, |refusal| dispatcher.limit_gate(&key, &refusal))
        }
    }
}

/// In any order; of a gate only what it is. How often something held a task that changes its class, as batches do, is told
/// roughly.
fn same(told: &[Waited], stamped: &[Waited], is_batch: bool) -> Result<(), TestCaseError> {
    prop_assert_eq!(told.len(), stamped.len(), "told {:?}, stamped {:?}", told, stamped);
    for one in stamped {
        let found = told.iter().find(|other| other.gate.is_like(&one.gate));
        let figures = |waited: &Waited| (waited.since, waited.micros, if is_batch { 1 } else { waited.times });
        prop_assert_eq!(found.map(figures), Some(figures(one)), "{:?}: told {:?}, stamped {:?}", one.gate, told, stamped);
    }
    Ok(())
}

/// Where values have limits: for how long, each. Whoever waits for its own value is told that somebody better waits for its
/// source, while that is so, so that these two are one here.
fn same_times(told: &[Waited], stamped: &[Waited]) -> Result<(), TestCaseError> {
    let word = |gate: &Gate| match gate {
        Gate::Reserved { .. } | Gate::Limit { value: Some(_), .. } => OF_VALUE.to_owned(),
        Gate::Breaker { value: Some(_), .. } => "the breaker of a value".to_owned(),
        Gate::Limit { source, limit, .. } => format!("{source:?} {limit}"),
        Gate::Breaker { source, .. } => format!("breaker of {source}"),
        other => other.word().to_owned(),
    };
    let sums = |waits: &[Waited]| {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        waits.iter().for_each(|waited| *sums.entry(word(&waited.gate)).or_default() += waited.micros);
        sums
    };
    prop_assert_eq!(sums(told), sums(stamped), "told {:?}, stamped {:?}", told, stamped);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_wait_is_what_stamping_each_task_would_tell(steps in prop::collection::vec(step(), 1..120)) {
        let mut drive = Drive::new(false);
        for step in steps {
            drive.take(step);
            drive.starts_what_can()?;
        }
    }

    #[test]
    fn every_wait_for_a_value_is_as_long_as_stamping_each_task_would_tell(steps in prop::collection::vec(step(), 1..120)) {
        let mut drive = Drive::new(true);
        for step in steps {
            drive.take(step);
            drive.starts_what_can()?;
        }
    }
}

#[test]
fn the_worlds_of_that_property_wait_for_everything() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut told: HashMap<&str, u64> = HashMap::new();
    for at in 0..120 {
        let steps = prop::collection::vec(step(), 120).new_tree(&mut runner).unwrap().current();
        let mut drive = Drive::new(at >= 60);
        for step in steps {
            drive.take(step);
            drive.starts_what_can().unwrap();
        }
        drive.told.into_iter().for_each(|(word, count)| *told.entry(word).or_default() += count);
    }
    let limit = Gate::Limit { source: None, value: None, limit: String::new(), until: None };
    for word in [
        "a retry",
        "upstream has it not yet",
        "the breaker of its source",
        "the breaker of its collector",
        "`tasks_per_cycle`",
        limit.word(),
        "all slots taken",
        OF_VALUE,
    ] {
        assert!(told.get(word).is_some_and(|count| *count >= 10), "{word}: {told:?}");
    }
}

#[test]
fn a_task_whose_batch_grows_keeps_what_it_waited_for_before() {
    let mut world = World::new(rules(), now_at(0));
    world.open(["a", "b", "c", "d"].map(|name| gap("lone", name, PriorityLevel::High, now_at(0))).into(), now_at(0));
    // Both slots are taken when it comes.
    let first = world.start(now_at(0));
    world.open(vec![gap("ones", "x", PriorityLevel::High, now_at(0))], now_at(0));
    let _second = world.start(now_at(0));
    world.open(vec![gap("batches", "e", PriorityLevel::High, now_at(0))], now_at(0));
    assert!(matches!(world.pick(now_at(0)), Pick::Idle(_)));
    world.open(vec![gap("batches", "f", PriorityLevel::High, now_at(5_000))], now_at(5_000));
    assert!(matches!(world.pick(now_at(5_000)), Pick::Idle(_)));
    world.end(&first, &done(), now_at(8_000));
    let start = world.starts_until("batches/e", now_at(8_000));
    let told = world.dispatcher.story(start).unwrap();
    let slots: Vec<_> = told.waits.iter().map(|waited| (waited.gate.word(), waited.since, waited.micros, waited.times)).collect();
    assert_eq!(slots, [("all slots taken", now_at(0).wall, 8_000_000, 1)]);
}

impl World {
    /// The attempt at the task with this key.
    fn starts_until(&mut self, key: &str, now: Now) -> AttemptId {
        loop {
            let start = self.start(now);
            if start.task.key == key {
                return start.attempt;
            }
            self.end(&start, &done(), now);
        }
    }
}
