//! What is remembered, against what is there; restarts at any point.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use proptest::prelude::*;

use super::world::*;
use crate::gap::{Fault, Gap, Outcome, Task};
use crate::ids::{AttemptId, GapId, ItemId, TaskId, ValueId};
use crate::limits::{SourceIx, WindowUsage};
use crate::ports::{Answer, PermitId, Settlement};
use crate::queue::{Acquire, Charging, Dispatcher, GapNews, Gate, Meant, Pick, Rules};
use crate::record::{Change, Closed};
use crate::spec::{AbsentPolicy, Caps, PriorityLevel};
use crate::time::Now;

fn rules() -> Rules {
    let rules = no_rules()
        .source("a", limits(&[per(5, 1), per(40, 60)]))
        .source("b", limits(&[per(3, 1), per(7, 60)]))
        .collector("page", 1, Charging::EachRequest)
        .collector("bulk", 4, Charging::Ahead)
        .dataset("pages", Some("a"), Some("page"))
        .dataset("bulk", Some("b"), Some("bulk"))
        .dataset("more", Some("b"), Some("bulk"))
        .dataset("watched", Some("b"), None);
    let mut rules = rules.limits_by("a", "page", limits(&[per(9, 60)])).limits_by("b", "customer", limits(&[per(2, 1), per(7, 60)]));
    rules.limits = limits(&[per(60, 60)]);
    rules.task_ttl = Some(Duration::from_secs(600));
    rules.caps = Caps::default().with(None, 30).with(Some(PriorityLevel::High), 4);
    // Absences are put on record at once, and many of them are doubted.
    for dataset in ["bulk", "more"] {
        rules.datasets[dataset].absent =
            AbsentPolicy { after: Duration::ZERO, recheck_min: Duration::from_secs(100), ..AbsentPolicy::default() };
    }
    rules
}

#[test]
fn groups_that_nothing_is_in_any_more_are_forgotten() {
    let mut world =
        World::new(no_rules().source("a", limits(&[])).collector("c", 4, Charging::Ahead).dataset("d", Some("a"), Some("c")), now_at(0));
    for day in 0..1_000 {
        let now = now_at(day * 86_400_000);
        let of_day = |name: &str| Gap { group: vec![format!("day {day}")], ..gap("d", &format!("{day} {name}"), PriorityLevel::High, now) };
        world.open(vec![of_day("a"), of_day("b")], now);
        let start = world.start(now);
        world.end(&start, &done(), now);
    }
    assert!(world.dispatcher.census().buckets <= 70, "{:?}", world.dispatcher.census());
}

const DATASETS: [&str; 4] = ["pages", "bulk", "more", "watched"];

#[derive(Clone, Debug)]
enum Step {
    Open(Vec<(usize, usize, u8, u8)>),
    Change {
        gap: usize,
        priority: usize,
        group: u8,
        fingerprint: u64,
    },
    Close {
        gap: usize,
    },
    /// A full look is over.
    Look,
    /// By hand; `None`: everything.
    Retry(Option<usize>),
    Wait(u64),
    Pick,
    Ask {
        running: usize,
    },
    Answer {
        out: usize,
        code: u16,
    },
    End {
        running: usize,
        outcomes: Vec<u8>,
    },
    /// The engine dies before it has remembered what the last step said.
    CrashBefore(Box<Step>),
}

fn plain_step() -> impl Strategy<Value = Step> {
    let new = (0usize..4, 0usize..2, 0u8..30, 0u8..2);
    prop_oneof![
        3 => prop::collection::vec(new, 1..12).prop_map(Step::Open),
        2 => (any::<usize>(), 0usize..2, 0u8..2, 1u64..3).prop_map(|(gap, priority, group, fingerprint)| Step::Change { gap, priority, group, fingerprint }),
        1 => any::<usize>().prop_map(|gap| Step::Close { gap }),
        2 => Just(Step::Look),
        1 => prop::option::weighted(0.8, any::<usize>()).prop_map(Step::Retry),
        3 => prop_oneof![0u64..2_000, 100_000u64..4_000_000].prop_map(Step::Wait),
        6 => Just(Step::Pick),
        3 => (0usize..5).prop_map(|running| Step::Ask { running }),
        3 => (0usize..5, prop_oneof![Just(200u16), Just(503)]).prop_map(|(out, code)| Step::Answer { out, code }),
        5 => (0usize..5, prop::collection::vec(0u8..9, 4)).prop_map(|(running, outcomes)| Step::End { running, outcomes }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => plain_step(),
        1 => plain_step().prop_map(|step| Step::CrashBefore(Box::new(step))),
    ]
}

struct Drive {
    world: World,
    now: u64,
    out: Vec<(AttemptId, PermitId)>,
    /// All that was opened and not closed, as the outside knows it.
    open: BTreeSet<GapId>,
    /// Episodes only grow.
    episodes: HashMap<ItemId, u32>,
}

impl Drive {
    fn new() -> Self {
        Drive { world: World::new(rules(), now_at(0)), now: 0, out: Vec::new(), open: BTreeSet::new(), episodes: HashMap::new() }
    }

    fn gap_at(&self, at: usize) -> Option<Gap> {
        let id = self.open.iter().nth(at % self.open.len().max(1))?;
        self.world.dispatcher.gap(*id)
    }

    /// What the dispatcher says is to be remembered.
    fn say(&mut self, step: &Step) -> Vec<Change> {
        let now = now_at(self.now);
        let dispatcher = &mut self.world.dispatcher;
        match step {
            Step::Open(new) => {
                let new = new.iter().map(|(dataset, priority, name, group)| {
                    let gap = gap(DATASETS[*dataset], &format!("{name}"), PriorityLevel::ALL[*priority], now);
                    Gap { group: if DATASETS[*dataset] == "pages" { Vec::new() } else { vec![group.to_string()] }, ..gap }
                });
                let open: BTreeSet<ItemId> = self.open.iter().map(|gap| gap.item).collect();
                let mut fresh: BTreeMap<ItemId, Gap> =
                    new.filter(|gap| !open.contains(&gap.id.item)).map(|gap| (gap.id.item, gap)).collect();
                for gap in fresh.values_mut() {
                    let episode = self.episodes.entry(gap.id.item).or_default();
                    *episode += 1;
                    gap.id.episode = *episode;
                }
                dispatcher.reconcile(GapNews { opened: fresh.into_values().collect(), ..GapNews::default() }, now)
            }
            Step::Change { gap, priority, group, fingerprint } => {
                let Some(gap) = self.gap_at(*gap) else { return Vec::new() };
                let changed =
                    Gap { priority: PriorityLevel::ALL[*priority], group: vec![group.to_string()], fingerprint: *fingerprint, ..gap };
                self.world.dispatcher.reconcile(GapNews { changed: vec![changed], ..GapNews::default() }, now)
            }
            Step::Close { gap } => {
                let Some(gap) = self.gap_at(*gap) else { return Vec::new() };
                self.world.dispatcher.reconcile(GapNews { closed: vec![(gap.id, Closed::FoundFilled)], ..GapNews::default() }, now)
            }
            Step::Look => dispatcher.new_cycle(now.boot + Duration::from_secs(900), now),
            Step::Retry(gap) => {
                let key = gap.and_then(|gap| self.gap_at(gap)).map(|gap| gap.key);
                let meant = key.as_deref().map_or(Meant::All, Meant::Named);
                self.world.dispatcher.retry(meant, now).map(|(_, changes)| changes).unwrap_or_default()
            }
            Step::Wait(millis) => {
                self.now += millis;
                Vec::new()
            }
            Step::Pick => {
                self.world.pick(now);
                Vec::new()
            }
            Step::Ask { running } => {
                let all = dispatcher.running();
                let Some(attempt) = all.get(running % all.len().max(1)).map(|running| running.attempt) else { return Vec::new() };
                let source = all.iter().find(|one| one.attempt == attempt).and_then(|one| one.source.clone()).unwrap();
                match dispatcher.acquire(attempt, &source, now) {
                    Acquire::Granted { permit, before, .. } => {
                        // The engine waits for this before anything is sent, so no crash comes between.
                        self.world.memory.apply(before.as_slice());
                        self.world.dispatcher.sent(permit, now);
                        self.out.push((attempt, permit));
                    }
                    _ => dispatcher.stops_waiting(attempt, &source),
                }
                Vec::new()
            }
            Step::Answer { out, code } => {
                if self.out.is_empty() {
                    return Vec::new();
                }
                let (attempt, permit) = self.out.remove(out % self.out.len());
                let mut changes = dispatcher.settle(permit, Settlement::ArrivedBy(now.boot), now);
                changes.extend(dispatcher.answered(attempt, "a", Answer::status(*code), now));
                changes
            }
            Step::End { running, outcomes } => {
                let all = dispatcher.running();
                let Some(running) = all.get(running % all.len().max(1)) else { return Vec::new() };
                let said: Vec<_> =
                    running.gaps.iter().zip(outcomes.iter().cycle()).map(|(gap, outcome)| (*gap, outcome_of(*outcome))).collect();
                let changes = dispatcher.ended(running.attempt, &said, &mut self.world.items, now, || 0.25);
                std::iter::once(finish(running.attempt)).chain(changes).collect()
            }
            Step::CrashBefore(_) => unreachable!("taken apart by the caller"),
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::CrashBefore(step) => {
                let lost = self.say(step);
                drop(lost);
                self.restart()?;
            }
            step => {
                let changes = self.say(step);
                self.world.memory.apply(&changes);
            }
        }
        self.open = self.world.memory.gaps.keys().copied().collect();
        self.check()
    }

    fn restart(&mut self) -> Result<(), TestCaseError> {
        let now = now_at(self.now);
        let before: BTreeSet<GapId> = self.world.memory.gaps.keys().copied().collect();
        let (used, of_values) = (self.used(now), self.used_by_values(now));
        let (dispatcher, changes) = Dispatcher::new(rules(), &mut self.world.memory.remembered(now.wall), boot_id(), now);
        self.world.memory.apply(&changes);
        self.world.dispatcher = dispatcher;
        self.out.clear();
        let after: BTreeSet<GapId> = self.world.dispatcher.gaps().into_iter().map(|gap| gap.id).collect();
        prop_assert_eq!(before, after, "a restart changed which gaps are open");
        prop_assert!(self.world.memory.leases.is_empty(), "a dead engine's lease is still there");
        for (source, used) in used.into_iter().zip(self.used(now)) {
            prop_assert!(used >= source, "a request was forgotten: {used:?} < {source:?}");
        }
        let after = self.used_by_values(now);
        for (whose, used) in of_values {
            let found = after.get(&whose).cloned().unwrap_or_else(|| vec![0; used.len()]);
            prop_assert!(found >= used, "a request of {whose:?} was forgotten: {found:?} < {used:?}");
        }
        Ok(())
    }

    /// Those that values have for themselves.
    fn used_by_values(&self, now: Now) -> HashMap<(u32, ValueId), Vec<u64>> {
        let limiter = self.world.dispatcher.grants.limiter();
        let of = |source| limiter.values(SourceIx(source), now.boot).into_iter().map(move |usage| ((source, usage.value), usage.windows));
        let used = |windows: Vec<WindowUsage>| windows.into_iter().map(|window| window.used).collect();
        (0..2).flat_map(of).map(|(whose, windows)| (whose, used(windows))).collect()
    }

    /// How full every window is.
    fn used(&self, now: Now) -> Vec<Vec<u32>> {
        let figures = self.world.dispatcher.figures(now);
        figures.into_iter().map(|source| source.windows.into_iter().map(|window| window.used).collect()).collect()
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let gaps: BTreeMap<GapId, Gap> = self.world.dispatcher.gaps().into_iter().map(|gap| (gap.id, gap)).collect();
        prop_assert_eq!(&gaps, &self.world.memory.gaps, "gaps");
        let tasks: BTreeMap<TaskId, Task> = self.world.dispatcher.tasks().into_iter().map(|task| (task.id, task)).collect();
        prop_assert_eq!(&tasks, &self.world.memory.tasks, "tasks");
        let mut owners: HashMap<GapId, TaskId> = HashMap::new();
        for task in tasks.values() {
            prop_assert!(!task.gaps.is_empty() && task.gaps.len() <= 4);
            for gap in &task.gaps {
                prop_assert!(owners.insert(*gap, task.id).is_none(), "two tasks have {gap:?}");
            }
        }
        for gap in gaps.values() {
            let stands_back = matches!(self.world.dispatcher.why_gap(gap.id, now_at(self.now)), Some(Gate::StandsBack { .. }));
            prop_assert_eq!(owners.contains_key(&gap.id), gap.dataset != "watched" && !stands_back, "{} is in a task", gap.key);
        }
        Ok(())
    }
}

fn outcome_of(number: u8) -> Outcome {
    match number {
        0 => failed(Fault::Item),
        1 => failed(Fault::Source),
        2 => Outcome::Split,
        3 => Outcome::Absent,
        4 => failed(Fault::Stopped),
        5 => failed(Fault::Collector),
        6 => failed(Fault::Unwritten),
        _ => done(),
    }
}

fn finish(attempt: AttemptId) -> Change {
    let lease = crate::record::Lease {
        attempt,
        token: crate::ids::FencingToken(0),
        task: TaskId([0; 13]),
        collector: String::new(),
        gaps: Vec::new(),
        started_at: START.parse().unwrap(),
        until: crate::time::Moment::of(&boot_id(), now_at(0)),
        staged: Vec::new(),
    };
    Change::Finish(crate::queue::dispatcher::died(lease, now_at(0)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// Also: no gap has two tasks, every gap of a collected dataset has one, and no request is forgotten.
    #[test]
    fn a_restart_at_any_point_loses_no_gap(steps in prop::collection::vec(step(), 1..120)) {
        let mut drive = Drive::new();
        for step in &steps {
            drive.step(step)?;
        }
        // The memory alone gives the same again.
        drive.restart()?;
        drive.check()?;
    }

    #[test]
    fn the_same_gaps_give_the_same_tasks(names in prop::collection::btree_set((0usize..3, 0usize..2, 0u8..40, 0u8..3), 1..60), seed in any::<u64>()) {
        let now = now_at(0);
        let gaps: Vec<Gap> = names.iter().map(|(dataset, priority, name, group)| {
            let gap = gap(DATASETS[*dataset], &format!("{name}-{group}-{priority}"), PriorityLevel::ALL[*priority], now);
            Gap { group: vec![group.to_string()], ..gap }
        }).collect();
        let mut shuffled = gaps.clone();
        shuffled.sort_by_key(|gap| crate::ids::ItemId::of(&seed.to_string(), [gap.key.as_str()]));
        let (mut one, mut other) = (World::new(rules(), now), World::new(rules(), now));
        one.open(gaps.clone(), now);
        other.open(shuffled, now);
        prop_assert_eq!(&one.memory.tasks, &other.memory.tasks);
        // A plan that finds them in the state, without tasks, forms the same ones.
        let mut remembered = one.memory.remembered(now.wall);
        remembered.tasks.clear();
        let (plan, _) = Dispatcher::new(rules(), &mut remembered, boot_id(), now);
        let planned: BTreeMap<TaskId, Task> = plan.tasks().into_iter().map(|task| (task.id, task)).collect();
        prop_assert_eq!(&planned, &one.memory.tasks);
    }
}

#[test]
fn topping_up_does_not_change_a_tasks_name() {
    let mut world = World::new(rules(), now_at(0));
    world.open(vec![gap("bulk", "a", PriorityLevel::High, now_at(0))], now_at(0));
    let before = world.dispatcher.tasks()[0].clone();
    world.open(vec![gap("more", "b", PriorityLevel::High, now_at(1_000))], now_at(1_000));
    let after = world.dispatcher.tasks();
    assert_eq!((after.len(), after[0].id, after[0].gaps.len()), (1, before.id, 2), "several datasets share a task");
    let start = world.start(now_at(2_000));
    world.open(vec![gap("bulk", "c", PriorityLevel::High, now_at(3_000))], now_at(3_000));
    assert_eq!(world.dispatcher.tasks().len(), 2, "what runs is not topped up");
    world.end(&start, &failed(Fault::Item), now_at(4_000));
    world.open(vec![gap("bulk", "d", PriorityLevel::High, now_at(5_000))], now_at(5_000));
    let tried = world.dispatcher.task(before.id).unwrap();
    assert_eq!(tried.gaps.len(), 2, "what was tried is not topped up");
    assert_eq!(world.dispatcher.tasks().len(), 2);
}

#[test]
fn a_batch_is_cut_to_what_the_windows_can_admit() {
    let mut rules = rules().dataset("d", Some("b"), Some("large")).collector("large", 50, Charging::Ahead);
    rules.collectors["large"].requests.per_task = 2;
    assert_eq!(crate::queue::largest_batch(&rules, Some("b"), "large", PriorityLevel::Low), 5);
    assert_eq!(crate::queue::largest_batch(&rules, None, "large", PriorityLevel::Low), 50);
    let mut world = World::new(rules, now_at(0));
    let open = (0..12).map(|n| gap("d", &format!("{n:02}"), PriorityLevel::High, now_at(0))).collect();
    world.open(open, now_at(0));
    let mut sizes: Vec<usize> = world.dispatcher.tasks().iter().map(|task| task.gaps.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [2, 5, 5]);
    assert!(matches!(world.pick(now_at(0)), Pick::Start(_)));
}

#[test]
fn a_gap_that_a_task_is_named_after_takes_the_name_along() {
    let mut world = World::new(rules(), now_at(0));
    world.open(["a", "b", "c"].map(|name| gap("bulk", name, PriorityLevel::High, now_at(0))).to_vec(), now_at(0));
    let before = world.dispatcher.tasks()[0].clone();
    let moved = Gap { priority: PriorityLevel::Low, ..world.dispatcher.gap(before.gaps[0]).unwrap() };
    world.reconcile(GapNews { changed: vec![moved], ..GapNews::default() }, now_at(0));
    let named = world.dispatcher.task(before.id).unwrap();
    assert_eq!((named.gaps.as_slice(), named.priority), (&before.gaps[..1], PriorityLevel::Low));
    assert_eq!(world.dispatcher.tasks().len(), 2);
}

#[test]
fn a_clean_end_leaves_only_what_was_used() {
    let mut world = World::new(rules(), now_at(0));
    world.open(vec![gap("pages", "a", PriorityLevel::High, now_at(0))], now_at(0));
    let start = world.start(now_at(0));
    let Acquire::Granted { permit, .. } = world.dispatcher.acquire(start.attempt, "a", now_at(10)) else { panic!() };
    let changes = world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(20).boot), now_at(20));
    world.memory.apply(&changes);
    world.end(&start, &done(), now_at(30));
    let settled = world.memory.reservations.values().next().unwrap().settled.unwrap();
    assert_eq!((settled.used, settled.last_arrival), (1, now_at(20).boot));
    let (again, _) = Dispatcher::new(rules(), &mut world.memory.remembered(now_at(30).wall), boot_id(), now_at(30));
    let used: Vec<u32> = again.figures(now_at(30))[0].windows.iter().map(|window| window.used).collect();
    assert_eq!(used, [1, 1]);
    assert_eq!(again.figures(now_at(61_000))[0].windows[1].used, 0);
}
