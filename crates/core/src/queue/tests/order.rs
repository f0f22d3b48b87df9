//! The pick against a re-scoring of every task, with time running and everything else going on around it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::world::*;
use crate::gap::{Fault, Gap, Outcome, Progress};
use crate::ids::{AttemptId, TaskId, Uuid, ValueId};
use crate::limits::{Ask, AskKind, HoldOff, Reach, SourceIx};
use crate::pause::{Pause, PauseOf};
use crate::ports::{Answer, PermitId, RetryAfter, Settlement};
use crate::queue::book::looks;
use crate::queue::score::Rank;
use crate::queue::{Acquire, Charge, Charging, Dispatcher, Gate, Pick, Rules, Start, Waiting};
use crate::spec::{BaseScores, BreakerPolicy, Caps, Limits, PriorityLevel, Requests, Reserve, SizeBand, SizeBound, Weighting};
use crate::time::{Boottime, Now, SignedDuration};

#[derive(Default)]
struct Naive {
    /// Who was passed, until when each puts up with it: kept for every task by itself.
    patience: HashMap<TaskId, Boottime>,
    /// Attempts that only publish.
    delivering: HashSet<AttemptId>,
    /// Since the last full look.
    started: HashMap<PriorityLevel, u32>,
    /// Of attempts that ask for one permit after the other.
    drawing: HashMap<AttemptId, Drawn>,
    /// By source and collector: every turn, and what each attempt that filled something made of what it declared.
    turns: HashMap<(String, String), Vec<u64>>,
    made: HashMap<(String, String), Vec<(u64, u64)>>,
    /// By source.
    answers: HashMap<String, Vec<u64>>,
    sent: HashMap<PermitId, (String, Boottime)>,
}

#[derive(Clone)]
struct Drawn {
    kind: (String, String),
    declared: u64,
    made: u64,
    /// The permit of its start is handed out.
    has_begun: bool,
    worked: u64,
    works_since: Option<Boottime>,
}

/// One more attempt would only wait for permits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Crowd {
    No,
    Yes,
    OneMoreAlready,
}

fn mean_of_latest(spans: Option<&Vec<u64>>) -> u64 {
    let latest: Vec<u64> = spans.into_iter().flatten().rev().take(32).copied().collect();
    if latest.is_empty() { 1_000_000 } else { latest.iter().sum::<u64>() / latest.len() as u64 }
}

struct Candidate {
    id: TaskId,
    priority: PriorityLevel,
    rank: Rank,
    source: Option<SourceIx>,
    value: Option<ValueId>,
    ask: Option<Ask>,
    refusal: Option<HoldOff>,
}

impl Candidate {
    fn permits(&self) -> u32 {
        match self.ask.map(|ask| ask.kind) {
            None => 0,
            Some(AskKind::OneRequest | AskKind::Paced) => 1,
            Some(AskKind::ChargedAhead { permits }) => permits,
        }
    }
}

/// Of what refuses longest; nothing that refuses is everybody's, or the source's.
fn reach(refusal: &Option<HoldOff>, of_nothing: Reach) -> Reach {
    refusal.as_ref().map_or(of_nothing, |refusal| refusal.because().reach())
}

/// Whether the start of `task` takes what somebody of this source and value waits for, who is refused so far.
fn takes_from(task: &Candidate, (source, value): (Option<SourceIx>, Option<ValueId>), reach: Reach) -> bool {
    let here = task.source == source;
    match reach {
        Reach::Value => here && task.value == value,
        Reach::Source => here,
        Reach::AllSources => here || task.ask.is_some(),
    }
}

fn within_its_share(task: &Candidate, reach: Reach, dispatcher: &Dispatcher, now: Now) -> bool {
    let limiter = dispatcher.grants.limiter();
    task.ask.is_some_and(|ask| match reach {
        Reach::Value => limiter.is_within_its_share_of_its_value(&ask, now.boot),
        Reach::Source | Reach::AllSources => limiter.is_within_its_share(&ask, now.boot),
    })
}

fn is_held(dispatcher: &Dispatcher, dataset: &str) -> bool {
    let at = dispatcher.rules.datasets.get_index_of(dataset).unwrap() as u16;
    dispatcher.holds.datasets.contains(&at) || dispatcher.paused().contains_key(&PauseOf::Dataset(dataset.to_owned()))
}

/// Every task that is ready and whose source may be asked.
fn candidates(dispatcher: &Dispatcher, now: Now) -> Vec<Candidate> {
    let running: Vec<TaskId> = dispatcher.running().into_iter().map(|running| running.task).collect();
    let held = |task: &crate::gap::Task| task.gaps.iter().any(|gap| is_held(dispatcher, &dispatcher.gap(*gap).unwrap().dataset));
    let gates: HashMap<String, bool> = dispatcher.figures(now).into_iter().map(|source| (source.source, source.gate.is_none())).collect();
    let crashes: HashMap<String, bool> =
        dispatcher.collectors(now).into_iter().map(|collector| (collector.collector, collector.gate.is_none())).collect();
    let ready = dispatcher.tasks().into_iter().filter(|task| {
        !running.contains(&task.id)
            && task.ready_at.is_none_or(|at| at <= now.wall)
            && !held(task)
            && task
                .source
                .as_ref()
                .is_none_or(|source| gates[source] && !dispatcher.paused().contains_key(&PauseOf::Source(source.clone())))
            && crashes[&task.collector]
    });
    let candidate = |task: crate::gap::Task| {
        let source = task.source.as_deref().map(|name| SourceIx(dispatcher.rules.sources.get_index_of(name).unwrap() as u32));
        let by = source.and_then(|source| dispatcher.rules.told_apart(source));
        let value = by.map(|_| ValueId::of(&task.group[0]));
        let collector = &dispatcher.rules.collectors[&*task.collector];
        let ask = source.and_then(|source| match (collector.charge, collector.requests.of(task.gaps.len()) as u32) {
            (Charging::EachRequest, _) => Some(Ask::one(source).of(task.priority)),
            (Charging::Ahead, 0) => None,
            (Charging::Ahead, permits) => Some(Ask::charged(source, permits).of(task.priority)),
        });
        let ask = ask.map(|ask| ask.by(value));
        if source.is_some_and(|source| dispatcher.value_gate(source, value, now).is_some()) {
            return None;
        }
        let slot = dispatcher.book.find_task(task.id).unwrap();
        Some(Candidate {
            id: task.id,
            priority: task.priority,
            rank: dispatcher.rank_of(slot, now),
            source,
            value,
            ask,
            refusal: ask.and_then(|ask| dispatcher.grants.limiter().could_acquire(&ask, now.boot).err()),
        })
    };
    ready.filter_map(candidate).collect()
}

impl Naive {
    /// What leaves the ready tasks loses its place.
    fn forget(&mut self, dispatcher: &Dispatcher, now: Now) {
        let running: Vec<TaskId> = dispatcher.running().into_iter().map(|running| running.task).collect();
        self.patience.retain(|id, _| {
            let Some(task) = dispatcher.task(*id) else { return false };
            let held = task.gaps.iter().any(|gap| {
                let dataset = dispatcher.gap(*gap).unwrap().dataset;
                is_held(dispatcher, &dataset)
            });
            !running.contains(id) && task.ready_at.is_none_or(|at| at <= now.wall) && !held
        });
    }

    /// Each priority counts at least as much as is set aside for it, so that the sum of all is no more than there are slots;
    /// likewise of those who are under way, who may be twice as many.
    fn has_slot(&self, dispatcher: &Dispatcher, priority: PriorityLevel) -> bool {
        let (slots, reserve) = (dispatcher.rules.slots, dispatcher.rules.reserve);
        let under_way: Vec<(PriorityLevel, bool)> = dispatcher
            .running()
            .into_iter()
            .map(|running| (dispatcher.task(running.task).unwrap().priority, self.delivering.contains(&running.attempt)))
            .collect();
        let fits = |places: u32, with_delivering: bool| {
            let count = |of: PriorityLevel| {
                let running = under_way.iter().filter(|(owner, delivers)| *owner == of && (with_delivering || !delivers)).count();
                let share = reserve.shares().find(|(owner, _)| *owner == of).map_or(0, |(_, permille)| (places * permille).div_ceil(1_000));
                (running + usize::from(of == priority)).max(share as usize)
            };
            PriorityLevel::ALL.into_iter().map(count).sum::<usize>() <= places as usize
        };
        fits(slots, false) && fits(2 * slots, true)
    }

    fn is_under_its_caps(&self, dispatcher: &Dispatcher, priority: PriorityLevel) -> bool {
        let all: u32 = self.started.values().sum();
        let own = self.started.get(&priority).copied().unwrap_or(0);
        let (of_all, of_low) = (CAPS_OF_ALL_AND_LOW.0, CAPS_OF_ALL_AND_LOW.1);
        dispatcher.rules.caps.is_empty() || (all < of_all && (priority != PriorityLevel::Low || own < of_low))
    }

    fn pick(&mut self, dispatcher: &Dispatcher, now: Now) -> Option<TaskId> {
        let (slots, under_way) = (dispatcher.rules.slots as usize, dispatcher.running());
        let collecting = under_way.iter().filter(|running| !self.delivering.contains(&running.attempt)).count();
        if collecting >= slots
            || under_way.len() >= 2 * slots
            || dispatcher.holds.all
            || dispatcher.paused().contains_key(&PauseOf::Everything)
        {
            return None;
        }
        let mut tasks = candidates(dispatcher, now);
        tasks.retain(|task| self.has_slot(dispatcher, task.priority) && self.is_under_its_caps(dispatcher, task.priority));
        tasks.retain(|task| self.crowd(task, dispatcher, now) != Crowd::OneMoreAlready);
        let best = tasks
            .iter()
            .filter(|task| task.refusal.is_none() && !self.is_kept_back(task, &tasks, dispatcher, now))
            .max_by_key(|task| (std::cmp::Reverse(self.crowd(task, dispatcher, now)), task.rank.clone()))?;
        *self.started.entry(best.priority).or_default() += 1;
        for passed in &tasks {
            let reach = reach(&passed.refusal, Reach::Source);
            let takes = passed.priority == best.priority || !within_its_share(best, reach, dispatcher, now);
            let competes = takes && takes_from(best, (passed.source, passed.value), reach);
            let (Some(ask), Some(_)) = (passed.ask, &passed.refusal) else { continue };
            if !competes || passed.rank < best.rank || passed.permits() <= best.permits() {
                continue;
            }
            if let Some(window) = dispatcher.grants.limiter().shortest_refusing_window(&ask, now.boot) {
                let until = self.patience.entry(passed.id).or_insert(now.boot + window);
                *until = (*until).min(now.boot + window);
            }
        }
        Some(best.id)
    }

    /// Whether those at work take all that the source admits, worked out from every request so far.
    fn crowd(&self, task: &Candidate, dispatcher: &Dispatcher, now: Now) -> Crowd {
        let (Some(source), Some(AskKind::OneRequest)) = (task.source, task.ask.map(|ask| ask.kind)) else { return Crowd::No };
        let collector = dispatcher.task(task.id).unwrap().collector;
        let terms = &dispatcher.rules.collectors[&*collector];
        let kind = (dispatcher.source_name(source).to_owned(), collector);
        let latest =
            |kind: &(String, String)| -> Vec<(u64, u64)> { self.made.get(kind).into_iter().flatten().rev().take(16).copied().collect() };
        let made = latest(&kind);
        let asks_again = match made.len() as u64 {
            0 => terms.requests.of(terms.batch as usize) > 1,
            attempts => made.iter().map(|(made, _)| made).sum::<u64>() > attempts,
        };
        let (mut wanted, mut asks) = (0, Vec::new());
        for (attempt, drawn) in self.drawing.iter().filter(|(attempt, drawn)| drawn.kind.0 == kind.0 && !self.delivering.contains(attempt))
        {
            let running = &dispatcher.running[attempt];
            let is_alike = drawn.kind == kind && dispatcher.priority_of(*attempt) == task.priority;
            if !is_alike && dispatcher.rank_of(running.task, now) < task.rank {
                continue;
            }
            let turn = mean_of_latest(self.turns.get(&drawn.kind)).max(1);
            let made = latest(&drawn.kind);
            let (of, declared): (u64, u64) = made.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let needs = if made.is_empty() { drawn.declared } else { (drawn.declared * of).div_ceil(declared) };
            let left = needs.max(1).saturating_sub(drawn.made);
            let waits = dispatcher.waiters.contains(&(source, *attempt));
            let is_silent = drawn.works_since.is_none_or(|since| now.boot.since(since).as_micros() as u64 > 4 * turn);
            if !waits && (left == 0 || is_silent) {
                continue;
            }
            wanted += if waits { left.max(1) } else { left };
            asks.push(1_000_000_000_000 / u128::from(turn));
        }
        let limits = &dispatcher.rules.sources[source.0 as usize].limits;
        let mut limiter = dispatcher.grants.limiter().of_sources_alone();
        let one = Ask::one(source).of(task.priority);
        if !asks_again || wanted == 0 || (0..=wanted).all(|_| limiter.try_acquire(&one, now.boot).is_ok()) {
            return Crowd::No;
        }
        let settle = mean_of_latest(self.answers.get(&kind.0));
        let a_rate = |requests: u32, every: u64| u128::from(requests) * 1_000_000_000_000 / u128::from(every.max(1));
        let micros = |span: Duration| span.as_micros() as u64;
        let reserve = dispatcher.rules.reserve;
        let mut rates: Vec<u128> = Vec::new();
        for window in &limits.windows {
            let of_others = reserve.shares().filter(|(owner, _)| *owner != task.priority);
            let of_others: u32 = of_others.map(|(owner, _)| reserve.of_window(owner, window.requests)).sum();
            rates.push(a_rate(window.requests - of_others, micros(window.span) + settle));
        }
        rates.extend(limits.min_delay.map(|delay| a_rate(1, micros(delay) + settle)));
        rates.extend(limits.in_flight.map(|most| a_rate(most, settle)));
        let Some(rate) = rates.into_iter().min() else { return Crowd::No };
        asks.sort();
        let take_all = |asks: &[u128]| asks.iter().sum::<u128>() * 100 >= rate * 99;
        match (take_all(&asks), take_all(&asks[..asks.len() - 1])) {
            (false, _) => Crowd::No,
            (true, false) => Crowd::Yes,
            (true, true) => Crowd::OneMoreAlready,
        }
    }

    fn started(&mut self, start: &Start, rules: &Rules, now: Now) {
        let (Some(source), Charge::First(_)) = (&start.task.source, start.charge) else { return };
        let declared = rules.collectors[&*start.task.collector].requests.of(start.gaps.len());
        let kind = (source.clone(), start.task.collector.clone());
        let drawn = Drawn { kind, declared, made: 1, has_begun: false, worked: 0, works_since: Some(now.boot) };
        self.drawing.insert(start.attempt, drawn);
    }

    /// It asked its source, and was given a permit or told to wait.
    fn asked(&mut self, attempt: AttemptId, source: &str, is_granted: bool, now: Now) {
        let Some(drawn) = self.drawing.get_mut(&attempt).filter(|drawn| drawn.kind.0 == source) else { return };
        if let Some(since) = drawn.works_since.take() {
            drawn.worked += now.boot.since(since).as_micros() as u64;
        }
        if !is_granted {
            return;
        }
        drawn.works_since = Some(now.boot);
        if std::mem::replace(&mut drawn.has_begun, true) {
            drawn.made += 1;
            let turn = std::mem::take(&mut drawn.worked);
            self.turns.entry(drawn.kind.clone()).or_default().push(turn);
        }
    }

    fn is_kept_back(&self, task: &Candidate, tasks: &[Candidate], dispatcher: &Dispatcher, now: Now) -> bool {
        if task.source.is_none() {
            return false;
        }
        let takes_of = |priority, reach| priority == task.priority || !within_its_share(task, reach, dispatcher, now);
        let by_passed = tasks.iter().any(|other| {
            let out_of_patience = self.patience.get(&other.id).is_some_and(|until| *until <= now.boot);
            let never = matches!(other.refusal, Some(HoldOff::Never { .. }));
            let reach = reach(&other.refusal, Reach::Source);
            let takes = takes_of(other.priority, reach) && takes_from(task, (other.source, other.value), reach);
            takes && out_of_patience && !never && other.rank > task.rank
        });
        let by_waiter = dispatcher.waiters.iter().any(|(waits_for, attempt)| {
            let Some(wanted) = dispatcher.ask_of_waiter(*attempt, *waits_for, now) else { return false };
            let refusal = dispatcher.grants.limiter().could_acquire(&wanted, now.boot).err();
            let reach = reach(&refusal, Reach::AllSources);
            let concerned = takes_of(wanted.priority, reach) && takes_from(task, (Some(*waits_for), wanted.value), reach);
            let takes = task.ask.is_some() && (wanted.kind != AskKind::Paced || task.permits() == 1);
            takes && concerned && dispatcher.rank_of(dispatcher.running[attempt].task, now) > task.rank
        });
        by_passed || by_waiter
    }
}

#[derive(Clone, Debug)]
enum Step {
    Open {
        dataset: usize,
        priority: usize,
        name: u8,
        hours_old: u8,
    },
    Wait {
        millis: u64,
    },
    Pick,
    Ask {
        running: usize,
    },
    Answer {
        out: usize,
        code: u16,
        pause: Option<u64>,
    },
    Collected {
        running: usize,
    },
    End {
        running: usize,
        how: u8,
    },
    Hold {
        dataset: usize,
    },
    Unhold {
        dataset: usize,
    },
    /// By a person.
    Pause {
        whom: usize,
    },
    Resume {
        whom: usize,
    },
    /// A full look is over.
    Look,
    /// The config is edited.
    Weigh {
        weighting: usize,
    },
    /// And another one is in force as a whole.
    Reconfigure {
        which: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..7, 0usize..4, any::<u8>(), 0u8..40).prop_map(|(dataset, priority, name, hours_old)| Step::Open { dataset, priority, name, hours_old }),
        4 => prop_oneof![Just(0u64), 1u64..3_000, 10_000u64..100_000].prop_map(|millis| Step::Wait { millis }),
        8 => Just(Step::Pick),
        3 => (0usize..5).prop_map(|running| Step::Ask { running }),
        3 => (0usize..8, prop_oneof![6 => Just(200u16), 1 => Just(429), 1 => Just(503)], proptest::option::weighted(0.3, 1u64..50))
            .prop_map(|(out, code, pause)| Step::Answer { out, code, pause }),
        3 => (0usize..9).prop_map(|running| Step::Collected { running }),
        4 => (0usize..9, 0u8..12).prop_map(|(running, how)| Step::End { running, how }),
        1 => (0usize..5).prop_map(|dataset| Step::Hold { dataset }),
        1 => (0usize..5).prop_map(|dataset| Step::Unhold { dataset }),
        1 => (0usize..6).prop_map(|whom| Step::Pause { whom }),
        2 => (0usize..6).prop_map(|whom| Step::Resume { whom }),
        1 => Just(Step::Look),
        1 => (0usize..4).prop_map(|weighting| Step::Weigh { weighting }),
        1 => (0usize..5).prop_map(|which| Step::Reconfigure { which }),
    ]
}

/// Tasks that start from one look to the next, where there are caps at all.
const CAPS_OF_ALL_AND_LOW: (u32, u32) = (7, 2);

/// Another edition of a config.
fn edition(rules: &Rules, which: usize) -> Rules {
    let mut rules = rules.clone();
    match which {
        0 => rules.sources["a"].importance *= 1.5,
        1 => {
            let windows = &mut rules.sources["a"].limits.windows;
            windows.iter_mut().for_each(|window| window.requests = (window.requests / 2).max(1));
        }
        2 => rules.sources["b"].limits.windows.iter_mut().for_each(|window| window.requests += 3),
        3 => rules.collectors.values_mut().for_each(|collector| collector.batch = collector.batch % 4 + 1),
        _ => {
            // One leaves, and another one comes.
            let dataset = rules.datasets[DATASETS[3]].clone();
            let number = rules.datasets.len();
            rules.datasets.insert(format!("new {number}").into(), dataset);
            rules.slots = rules.slots % 5 + 1;
        }
    }
    rules
}

fn paused(whom: usize) -> PauseOf {
    match whom {
        0 => PauseOf::Everything,
        1 => PauseOf::Source("a".into()),
        2 => PauseOf::Source("b".into()),
        of => PauseOf::Dataset(DATASETS[of - 3].into()),
    }
}

const DATASETS: [&str; 7] = ["pages", "bulk", "small", "files", "elsewhere", "crawled", "deep"];

/// One source with single and charged-ahead tasks, another that shares the limits of all, and tasks without a source.
fn rules(enabled: bool, reserve: Reserve, capped: bool, by: Option<(Limits, bool)>) -> Rules {
    let mut rules = no_rules()
        .source("a", Limits { in_flight: Some(3), ..limits(&[per(4, 1), per(8, 60)]) })
        .source("b", Limits { min_delay: Some(Duration::from_millis(500)), ..limits(&[per(6, 60)]) })
        .collector("page", 1, Charging::EachRequest)
        .collector("bulk", 6, Charging::Ahead)
        .collector("small", 2, Charging::Ahead)
        .collector("file", 3, Charging::Ahead)
        .dataset("pages", Some("a"), Some("page"))
        .dataset("bulk", Some("a"), Some("bulk"))
        .dataset("small", Some("a"), Some("small"))
        .dataset("files", None, Some("file"))
        .dataset("elsewhere", Some("b"), Some("page"))
        .collector("crawl", 4, Charging::EachRequest)
        .dataset("crawled", Some("a"), Some("crawl"))
        .dataset("deep", Some("b"), Some("crawl"));
    rules.limits = limits(&[per(10, 60)]);
    rules.sources["b"].importance = 2.5;
    rules.sources["b"].breaker = Some(BreakerPolicy { failures: 2, cooldown: Duration::from_secs(30), ..BreakerPolicy::default() });
    rules.collectors["page"].breaker = Some(BreakerPolicy { failures: 2, ..BreakerPolicy::of_collector() });
    rules.collectors["small"].requests = Requests { per_task: 1, per_item: 0 };
    rules.weighting.enabled = enabled;
    rules.slots = 4;
    rules.reserve = reserve;
    if let Some((limits, fails)) = by {
        rules = rules.limits_by("a", "customer", limits);
        if fails {
            let cooldown = Duration::from_secs(15);
            rules = rules.breaker_by("a", "customer", BreakerPolicy { failures: 1, cooldown, cooldown_max: cooldown * 2, rate: None });
        }
    }
    if capped {
        rules.caps = Caps::default().with(None, CAPS_OF_ALL_AND_LOW.0).with(Some(PriorityLevel::Low), CAPS_OF_ALL_AND_LOW.1);
        rules.task_ttl = Some(Duration::from_secs(60));
    }
    rules
}

/// What each customer of the first source has for itself: windows that are tighter than the source's, or as wide, and one at a time; or
/// no limits; and a breaker, or none.
fn by() -> impl Strategy<Value = Option<(Limits, bool)>> {
    let some = (prop::sample::select(vec![vec![per(3, 60)], vec![per(2, 20), per(6, 60)], vec![per(8, 60)], vec![]]), 1u32..4);
    let some = some.prop_map(|(windows, in_flight)| Limits { in_flight: Some(in_flight), ..limits(&windows) });
    proptest::option::of(prop_oneof![3 => (some, any::<bool>()), 1 => Just((Limits::default(), true))])
}

fn reserve() -> impl Strategy<Value = Reserve> {
    let share = || prop_oneof![2 => Just(0), 1 => prop::sample::select(vec![130u32, 250, 400])];
    (share(), share()).prop_map(|(critical, low)| Reserve::default().with(PriorityLevel::Critical, critical).with(PriorityLevel::Low, low))
}

/// Disabled, the default, one in which other sizes make a band and other priorities count most, and one without bands.
fn weighting(at: usize) -> Weighting {
    let band = |bound, multiplier| SizeBand { bound, multiplier };
    let default = Weighting::default();
    match at {
        0 => Weighting { enabled: false, ..default },
        1 => default,
        2 => Weighting {
            base_scores: BaseScores { critical: 1.0, high: 2.0, medium: 50.0, low: 70.0 },
            age_multiplier: 3.0,
            task_size: vec![band(SizeBound::Below(2), 0.5), band(SizeBound::Below(4), 2.0), band(SizeBound::Above(4), 3.0)],
            ..default
        },
        _ => Weighting { task_size: Vec::new(), age_cap: 5.0, ..default },
    }
}

/// Drives a world and remembers what is out.
struct Drive {
    world: World,
    naive: Naive,
    now: u64,
    out: Vec<(AttemptId, &'static str, PermitId)>,
}

impl Drive {
    fn new(rules: Rules) -> Self {
        Drive { world: World::new(rules, now_at(0)), naive: Naive::default(), now: 0, out: Vec::new() }
    }

    fn running(&self, at: usize) -> Option<AttemptId> {
        let running = self.world.dispatcher.running();
        running.get(at % running.len().max(1)).map(|running| running.attempt)
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now = now_at(self.now);
        match *step {
            Step::Open { dataset, priority, name, hours_old } => {
                let mut new = gap(DATASETS[dataset], &format!("{name}"), PriorityLevel::ALL[priority], now);
                let rules = &self.world.dispatcher.rules;
                if rules.datasets[DATASETS[dataset]].source.as_deref().is_some_and(|source| rules.sources[source].by.is_some()) {
                    new.group = vec![format!("customer {}", name % 3)];
                }
                if self.world.dispatcher.gap(new.id).is_none() {
                    let detected_at = now.wall.checked_sub(crate::time::SignedDuration::from_hours(hours_old.into())).unwrap();
                    self.world.open(vec![crate::gap::Gap { detected_at, ..new }], now);
                }
            }
            Step::Wait { millis } => self.now += millis,
            Step::Pick => return self.pick(now),
            Step::Ask { running } => {
                if let Some(attempt) = self.running(running) {
                    let source = if self.world.attempts.is_multiple_of(2) { "a" } else { "b" };
                    let answer = self.world.dispatcher.acquire(attempt, source, now);
                    self.naive.asked(attempt, source, matches!(answer, Acquire::Granted { .. }), now);
                    if let Acquire::Granted { permit, before, .. } = answer {
                        self.world.memory.apply(before.as_slice());
                        if self.world.dispatcher.sent(permit, now).is_none() {
                            self.naive.sent.insert(permit, (source.to_owned(), now.boot));
                        }
                        self.out.push((attempt, source, permit));
                    }
                }
            }
            Step::Answer { out, code, pause } => {
                if !self.out.is_empty() {
                    let (attempt, source, permit) = self.out.remove(out % self.out.len());
                    let retry_after = pause.map(RetryAfter::Seconds);
                    if let Some((source, sent)) = self.naive.sent.remove(&permit) {
                        self.naive.answers.entry(source).or_default().push(now.boot.since(sent).as_micros() as u64);
                    }
                    let mut changes = self.world.dispatcher.settle(permit, Settlement::ArrivedBy(now.boot), now);
                    changes.extend(self.world.dispatcher.answered(
                        attempt,
                        source,
                        Answer::Status { code, retry_after, quotas: Default::default() },
                        now,
                    ));
                    self.world.memory.apply(&changes);
                }
            }
            Step::Collected { running } => {
                if let Some(attempt) = self.running(running) {
                    self.world.dispatcher.collected(attempt);
                    self.naive.delivering.insert(attempt);
                }
            }
            Step::End { running, how } => {
                if let Some(running) =
                    self.running(running).and_then(|attempt| self.world.dispatcher.running.get(&attempt).map(|_| attempt))
                {
                    let outcome = match how {
                        0 => failed(Fault::Item),
                        1 => failed(Fault::Source),
                        2 => failed(Fault::Stopped),
                        3 => Outcome::Split,
                        4 => failed(Fault::Collector),
                        5 => failed(Fault::Unwritten),
                        _ => done(),
                    };
                    let gaps = self.world.dispatcher.running().into_iter().find(|one| one.attempt == running).unwrap().gaps;
                    let outcomes: Vec<_> = gaps.into_iter().map(|gap| (gap, outcome.clone())).collect();
                    if let Some(drawn) = self.naive.drawing.remove(&running)
                        && matches!(outcome, Outcome::Done { .. })
                    {
                        self.naive.made.entry(drawn.kind).or_default().push((drawn.made, drawn.declared));
                    }
                    self.world.end_with(running, &outcomes, now);
                }
            }
            Step::Hold { dataset } => self.world.dispatcher.hold(Some(DATASETS[dataset])),
            Step::Unhold { dataset } => self.world.dispatcher.unhold(Some(DATASETS[dataset])),
            Step::Pause { whom } => {
                let pause = Pause { since: now.wall, until: None, because: None };
                let changes = self.world.dispatcher.pause(paused(whom), pause, now);
                self.world.memory.apply(&changes);
            }
            Step::Resume { whom } => {
                let changes = self.world.dispatcher.resume(&paused(whom), now);
                self.world.memory.apply(&changes);
            }
            Step::Look => {
                let changes = self.world.dispatcher.new_cycle(now.boot + Duration::from_secs(900), now);
                self.world.memory.apply(&changes);
                self.naive.started.clear();
            }
            Step::Reconfigure { which } => {
                let before: HashMap<TaskId, Vec<_>> = self.world.dispatcher.tasks().into_iter().map(|task| (task.id, task.gaps)).collect();
                let changes = self.world.dispatcher.reconfigure(edition(self.world.dispatcher.rules(), which), now);
                self.world.memory.apply(&changes);
                let mut tasks = self.world.dispatcher.tasks();
                tasks.sort_by_key(|task| task.id);
                let remembered: Vec<_> = self.world.memory.tasks.values().map(|task| (task.id, task.gaps.clone())).collect();
                let after: Vec<_> = tasks.into_iter().map(|task| (task.id, task.gaps)).collect();
                prop_assert_eq!(&after, &remembered);
                // Who has lost a gap is another task, and was not passed by anybody.
                let whole = |id: &TaskId| after.iter().any(|(task, gaps)| task == id && before[id].iter().all(|gap| gaps.contains(gap)));
                self.naive.patience.retain(|id, _| before.contains_key(id) && whole(id));
            }
            Step::Weigh { weighting: which } => self.world.dispatcher.weigh(weighting(which), now_at(self.now)),
        }
        self.naive.forget(&self.world.dispatcher, now);
        Ok(())
    }

    fn pick(&mut self, now: Now) -> Result<(), TestCaseError> {
        let expected = self.naive.pick(&self.world.dispatcher, now);
        let picked = match self.world.pick(now) {
            Pick::Start(start) => {
                self.naive.started(&start, &self.world.dispatcher.rules, now);
                Some(start.task.id)
            }
            Pick::Idle(_) => None,
        };
        self.naive.forget(&self.world.dispatcher, now);
        prop_assert_eq!(picked, expected);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn pick_equals_brute_force(enabled in prop::bool::weighted(0.8), reserve in reserve(), capped in prop::bool::weighted(0.3), by in by(), steps in prop::collection::vec(step(), 1..150)) {
        let mut drive = Drive::new(rules(enabled, reserve, capped, by));
        for step in &steps {
            drive.step(step)?;
        }
    }
}

/// Its place ahead is not for ever: scores grow at different rates, and no other event marks where they cross.
#[test]
fn whoever_comes_to_rank_above_a_task_that_waits_for_permits_starts_at_that_instant() {
    let mut rules = no_rules()
        .source("a", limits(&[per(10, 86_400)]))
        .collector("page", 1, Charging::EachRequest)
        .collector("bulk", 10, Charging::Ahead)
        .dataset("pages", Some("a"), Some("page"))
        .dataset("bulk", Some("a"), Some("bulk"));
    rules.weighting.age_cap = 5.0;
    let hours = |hours: u64| now_at(hours * 3_600_000);
    let mut world = World::new(rules, hours(0));
    let page = |world: &mut World, name: &str, now: Now| {
        world.open(vec![gap("pages", name, PriorityLevel::Medium, now)], now);
        let start = world.start(now);
        world.dispatcher.acquire(start.attempt, "a", now);
        let Charge::First(permit) = start.charge else { panic!("{:?}", start.charge) };
        world.dispatcher.settle(permit, Settlement::ArrivedBy(now.boot), now);
        world.end(&start, &done(), now);
    };
    page(&mut world, "first", hours(0));
    let bulk = (0..10).map(|number| gap("bulk", &number.to_string(), PriorityLevel::Medium, hours(0))).collect();
    world.open(bulk, hours(0));
    // These pass it, for a day at most.
    page(&mut world, "second", hours(12));
    page(&mut world, "third", hours(20));
    world.open(vec![gap("pages", "late", PriorityLevel::Medium, hours(37))], hours(37));
    let idle = match world.pick(hours(37)) {
        Pick::Idle(idle) => idle,
        Pick::Start(start) => panic!("the batch is not passed any more: {start:?}"),
    };
    let boot = idle.wake_at.expect("an instant");
    // (10 + 0.5 × 5.39) × 1.3 exceeds (10 + 5) × 1.1.
    let waited = boot.as_micros() - hours(37).boot.as_micros();
    assert!((19_380_000_000..19_400_000_000).contains(&waited), "{waited}");
    let now = Now { boot, wall: hours(37).wall + SignedDuration::from_micros(waited as i64) };
    assert_eq!(world.start(now).task.key, "pages/late");
}

#[test]
fn without_weighting_priority_decides_and_then_age() {
    let mut rules = no_rules().collector("c", 1, Charging::Ahead).dataset("d", None, Some("c"));
    rules.weighting.enabled = false;
    let mut world = World::new(rules, now_at(0));
    let old = gap("d", "old", PriorityLevel::Low, now_at(0));
    let mut due_later = gap("d", "z due later", PriorityLevel::High, now_at(1_000));
    due_later.due = Some(now_at(500).wall);
    let mut due = gap("d", "due", PriorityLevel::High, now_at(1_000));
    due.due = Some(now_at(400).wall);
    let never_due = gap("d", "a never due", PriorityLevel::High, now_at(1_000));
    world.open(vec![old, never_due, due, due_later], now_at(2_000));
    assert_eq!(world.starts(now_at(900_000_000)), ["d/z due later", "d/due", "d/a never due", "d/old"]);
}

/// Small ones and large ones, old and new, of every priority: what starts is what would have started had the weights been
/// these from the beginning.
#[test]
fn weights_that_change_while_it_runs_give_the_order_that_they_would_have_given_from_the_start() {
    let started = |before: usize, after: usize| {
        let mut rules = no_rules().collector("c", 6, Charging::Ahead).dataset("d", None, Some("c"));
        rules.slots = 1_000;
        rules.weighting = weighting(before);
        let mut world = World::new(rules, now_at(0));
        for hour in 0..12u64 {
            let now = now_at(hour * 3_600_000);
            let gaps = (0..1 + hour % 6).map(|n| {
                let new = gap("d", &format!("{hour}/{n}"), PriorityLevel::ALL[(hour % 4) as usize], now);
                crate::gap::Gap { group: vec![hour.to_string()], ..new }
            });
            world.open(gaps.collect(), now);
        }
        world.dispatcher.weigh(weighting(after), now_at(0));
        world.starts(now_at(12 * 3_600_000))
    };
    for after in 0..4 {
        let order = started(after, after);
        assert_eq!(order.len(), 12);
        for before in 0..4 {
            assert_eq!(started(before, after), order, "from {before} to {after}");
        }
    }
    assert_ne!(started(1, 0), started(1, 2));
}

#[test]
fn a_large_task_is_passed_for_one_window_and_then_waited_for() {
    let rules = no_rules()
        .source("a", limits(&[per(10, 60)]))
        .collector("bulk", 10, Charging::Ahead)
        .collector("page", 1, Charging::EachRequest)
        .dataset("bulk", Some("a"), Some("bulk"))
        .dataset("pages", Some("a"), Some("page"));
    let mut world = World::new(rules, now_at(0));
    let mut open: Vec<_> = (0..10).map(|n| gap("bulk", &format!("b{n}"), PriorityLevel::High, now_at(0))).collect();
    open.extend((0..90).map(|n| gap("pages", &format!("p{n:02}"), PriorityLevel::Low, now_at(0))));
    let first = gap("pages", "first", PriorityLevel::Critical, now_at(0));
    world.open(vec![first], now_at(0));
    let first = world.start(now_at(0));
    world.open(open, now_at(0));
    let mut started = Vec::new();
    for second in 0..200 {
        let now = now_at(second * 1_000);
        if second == 1 {
            let Charge::First(permit) = first.charge else { panic!() };
            world.dispatcher.acquire(first.attempt, "a", now);
            world.dispatcher.settle(permit, Settlement::ArrivedBy(now.boot), now);
            world.end(&first, &done(), now);
        }
        if let Pick::Start(start) = world.pick(now) {
            started.push((second, start.task.key.clone()));
            if let Charge::First(permit) = start.charge {
                world.dispatcher.acquire(start.attempt, "a", now);
                world.dispatcher.settle(permit, Settlement::ArrivedBy(now.boot), now);
            }
            world.end(&start, &done(), now);
        }
    }
    let bulk = started.iter().find(|(_, key)| key == "bulk/b0").expect("it starts");
    assert!(started[0].1.starts_with("pages/"), "it is passed at first");
    let last_before = started.iter().filter(|(second, _)| *second < bulk.0).map(|(second, _)| *second).max().unwrap();
    assert!(last_before < 61, "no pass after one window: {started:?}");
    assert!(bulk.0 <= last_before + 61, "it starts when all of its permits are back: {started:?}");
}

/// A look at a gap, a task or a place in line, whoever of the pick does it: of some hundred thousand no more than these.
const FEW_LOOKS: u64 = 300;

fn pick_and_looks(world: &mut World, now: Now) -> (Pick, u64) {
    let number = world.attempts + 1;
    world.attempts = number;
    looks::taken_by(|| world.dispatcher.pick(now, |_| AttemptId(Uuid::from_u128(number))))
}

#[test]
fn a_pick_among_many_looks_at_no_more_than_the_first_ones() {
    let rules = no_rules().collector("c", 1, Charging::Ahead).dataset("d", None, Some("c"));
    let mut looks = Vec::new();
    for many in [1_000, 50_000] {
        let mut world = World::new(rules.clone(), now_at(0));
        let open: Vec<_> = (0..many).map(|n| gap("d", &format!("{n:06}"), PriorityLevel::ALL[n % 4], now_at(0))).collect();
        let _ = world.dispatcher.reconcile(crate::queue::GapNews { opened: open, ..Default::default() }, now_at(0));
        assert_eq!(world.dispatcher.classes.occupied().count(), 4);
        let (Pick::Start(start), few) = pick_and_looks(&mut world, now_at(1)) else { panic!("nothing starts") };
        assert_eq!(start.task.key, "d/000000");
        looks.push(few);
    }
    assert!(looks[1] < FEW_LOOKS && looks[1] <= looks[0] + 50, "{looks:?}, which grows with their number");
}

/// Whatever keeps them from starting.
#[test]
fn a_hundred_thousand_tasks_that_cannot_start_cost_the_pick_of_another_nothing() {
    let rules = no_rules().source("shut", limits(&[per(1, 3_600)])).source("free", limits(&[])).collector("c", 1, Charging::EachRequest);
    let rules = rules.dataset("shut", Some("shut"), Some("c")).dataset("free", Some("free"), Some("c"));
    for shut in ["paused", "its breaker", "its limit", "a retry", "a surprise"] {
        let mut rules = rules.clone();
        rules.sources["shut"].breaker = (shut == "its breaker").then(|| BreakerPolicy { failures: 1, ..BreakerPolicy::default() });
        let mut world = World::new(rules, now_at(0));
        let retried = Progress { attempts_total: 1, next_try: Some(now_at(3_600_000).wall), ..Progress::default() };
        let progress = if shut == "a retry" { retried } else { Progress::default() };
        let of = |n: u32| Gap { progress: progress.clone(), ..gap("shut", &format!("{n:06}"), PriorityLevel::Critical, now_at(0)) };
        let mut open: Vec<Gap> = (0..100_000).map(of).collect();
        open.push(gap("free", "the only one", PriorityLevel::Low, now_at(0)));
        let _ = world.dispatcher.reconcile(crate::queue::GapNews { opened: open, ..Default::default() }, now_at(0));
        match shut {
            "a retry" => {}
            "a surprise" => world.dispatcher.hold(Some("shut")),
            _ => {
                let (Pick::Start(first), _) = pick_and_looks(&mut world, now_at(0)) else { panic!("nothing starts") };
                assert_eq!(first.task.source.as_deref(), Some("shut"));
                let answer = match shut {
                    "paused" => Answer::later(429, RetryAfter::Seconds(3_600)),
                    "its breaker" => Answer::status(500),
                    _ => Answer::status(200),
                };
                let _ = world.dispatcher.answered(first.attempt, "shut", answer, now_at(1));
            }
        }
        let (Pick::Start(start), to_start) = pick_and_looks(&mut world, now_at(2)) else { panic!("{shut}: the free source waits") };
        assert_eq!(start.task.key, "free/the only one", "{shut}");
        let (Pick::Idle(idle), to_find_none) = pick_and_looks(&mut world, now_at(3)) else { panic!("{shut}: a second one starts") };
        assert_eq!(idle.waiting.is_empty(), matches!(shut, "a retry" | "a surprise"), "{shut}: {idle:?}");
        assert!(to_start < FEW_LOOKS && to_find_none < FEW_LOOKS, "{shut}: {to_start} looks to start, {to_find_none} to find nothing");
    }
}

#[test]
fn what_a_value_refuses_is_not_looked_at_again_before_it_can_be_over() {
    let rules = no_rules()
        .source("crm", limits(&[]))
        .limits_by("crm", "customer", limits(&[per(1, 60)]))
        .collector("page", 1, Charging::EachRequest)
        .dataset("pages", Some("crm"), Some("page"));
    let mut world = World::new(Rules { slots: 10_000, ..rules }, now_at(0));
    let gaps = (0..2_000).map(|n| gap_of(&format!("c{:03}", n % 1_000), "pages", &format!("{n:04}"), PriorityLevel::High, now_at(0)));
    world.open(gaps.collect(), now_at(0));
    assert_eq!(world.starts(now_at(0)).len(), 1_000, "each has one");
    let family = |world: &World| {
        world.dispatcher.classes.families().next().map(|(_, _, family)| (family.awake().count(), family.sleeping())).unwrap()
    };
    assert_eq!(family(&world), (0, crate::queue::classes::Ready { tasks: 1_000, gaps: 1_000 }));
    let Pick::Idle(idle) = world.pick(now_at(1_000)) else { panic!("nobody has a second one in this minute") };
    let [Waiting { gate: Gate::Limit { source, value, limit, .. }, tasks: 1_000, .. }] = &idle.waiting[..] else { panic!("{idle:?}") };
    assert_eq!((source.as_deref(), limit.as_str()), (Some("crm"), "per_minute: 1"));
    assert!(value.as_deref().is_some_and(|value| value.starts_with("customer=c")), "{value:?}");
    // One of them did not send its request after all: it wakes, and nobody else.
    let given_back = world.dispatcher.running()[7].attempt;
    let changes = world.dispatcher.lease_refused(given_back, now_at(2_000));
    world.memory.leases.remove(&given_back);
    world.memory.apply(&changes);
    assert_eq!(family(&world).0, 1);
    assert_eq!(world.starts(now_at(2_000)), ["pages/c007/0007"]);
    assert_eq!(family(&world).0, 0);
}

/// Whoever waits for its own limits keeps nobody else of its source from permits, however well it ranks.
#[test]
fn a_customer_that_waits_for_its_own_limits_holds_up_no_other() {
    let rules = no_rules()
        .source("crm", limits(&[per(100, 60)]))
        .limits_by("crm", "customer", limits(&[per(4, 60)]))
        .collector("page", 1, Charging::EachRequest)
        .collector("bulk", 4, Charging::Ahead)
        .dataset("pages", Some("crm"), Some("page"))
        .dataset("bulk", Some("crm"), Some("bulk"));
    let mut world = World::new(rules, now_at(0));
    let page = |customer: &str, name: &str, priority| gap_of(customer, "pages", name, priority, now_at(0));
    let busy = [page("acme", "1", PriorityLevel::Critical)];
    world.open(busy.to_vec(), now_at(0));
    world.start(now_at(0));
    let mut gaps: Vec<_> = (0..4).map(|n| gap_of("acme", "bulk", &format!("b{n}"), PriorityLevel::High, now_at(0))).collect();
    gaps.extend([page("acme", "2", PriorityLevel::Low), page("zeta", "3", PriorityLevel::Low)]);
    world.open(gaps, now_at(0));
    // The large one of the same customer is passed by its small one, and not by what the other customer does.
    assert_eq!(world.starts(now_at(1_000)), ["pages/acme/2", "pages/zeta/3"]);
    world.open(vec![page("acme", "4", PriorityLevel::Low), page("zeta", "5", PriorityLevel::Low)], now_at(62_000));
    assert_eq!(world.starts(now_at(62_000)), ["pages/zeta/5"], "acme's large one is not passed by its own any more");
    let bulk = world.dispatcher.tasks().into_iter().find(|task| task.collector == "bulk").unwrap();
    let waits = world.dispatcher.why_task(bulk.id, now_at(62_000));
    assert!(matches!(&waits, Some(Gate::Limit { value: Some(value), .. }) if value == "customer=acme"), "{waits:?}");
}
