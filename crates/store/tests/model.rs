//! Random operations against the real store and against a model that is too small to be wrong in the same way.
//!
//! The model knows gaps, tasks, leases and who may do what, and applies one change after the other to plain maps. After
//! every operation the store must have answered the same and remember the same, also over a restart.

mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use adce_core::gap::{Gap, Task};
use adce_core::ids::{FencingToken, GapId};
use adce_core::ports::{Store, StoreError};
use adce_core::record::{Change, Closed, ItemRecord};
use adce_core::time::Moment;
use adce_store::sqlite::{self, Opening, SqliteStore};
use adce_store::{Identity, Retention};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use sample::*;

/// Until when a lease holds whose publishing begins, in seconds.
const PUBLISHING: u64 = 150;

#[derive(Clone, Debug)]
enum Operation {
    Apply(Vec<Step>),
    /// Nobody waits for it.
    Record(Vec<Step>),
    Lease(Vec<u32>),
    LeaseAhead(Vec<u32>),
    Restart,
}

/// A change; leases are named by the order in which they were asked for.
#[derive(Clone, Copy, Debug)]
enum Step {
    PutGap(u32, bool),
    CloseGap(u32),
    /// Of these gaps, as bits, named by the first.
    PutTask(u8),
    RemoveTask(u32),
    PutItem(u32, u32),
    Started(u32),
    Publishing(u32, bool),
    Finish(u32, bool),
    Release(u32),
    /// Two leases, held until so many seconds.
    Renew(u32, u32, u64),
    /// By somebody who sees this time.
    Lapse(u32, u64),
}

/// What is there, and nothing of how it is written.
#[derive(Clone, Default)]
struct Model {
    gaps: BTreeMap<u32, bool>,
    tasks: BTreeMap<u32, Vec<u32>>,
    items: BTreeMap<u32, u32>,
    /// By number: token and gaps of those that are held.
    leases: BTreeMap<u32, (u64, Vec<u32>)>,
    /// Until when they hold, in seconds.
    until: BTreeMap<u32, u64>,
    asked: u32,
    tokens: u64,
    /// Tokens by lease, also of those that are over.
    given: BTreeMap<u32, u64>,
    /// What was leased, also by those that are over.
    wanted: BTreeMap<u32, Vec<u32>>,
    processes: BTreeSet<u32>,
    ended: Vec<u32>,
}

impl Model {
    fn lease(&mut self, gaps: &[u32]) -> bool {
        let number = self.asked;
        self.asked += 1;
        self.wanted.insert(number, gaps.to_vec());
        let is_free = |gap: &u32| !self.leases.values().any(|(_, held)| held.contains(gap));
        if !gaps.iter().all(is_free) {
            return false;
        }
        self.tokens += 1;
        self.given.insert(number, self.tokens);
        self.leases.insert(number, (self.tokens, gaps.to_vec()));
        self.until.insert(number, u64::from(number) + 60);
        true
    }

    /// All or nothing; whether it was done.
    fn apply(&mut self, steps: &[Step]) -> bool {
        let mut after = self.clone();
        let done = steps.iter().all(|step| after.step(*step));
        if done {
            *self = after;
        }
        done
    }

    fn step(&mut self, step: Step) -> bool {
        match step {
            Step::PutGap(gap, low) => drop(self.gaps.insert(gap, low)),
            Step::CloseGap(gap) => {
                if self.gaps.remove(&gap).is_some() {
                    self.leave(gap);
                }
            }
            Step::PutTask(bits) => {
                let gaps = gaps_of(bits);
                self.tasks.remove(&gaps[0]);
                gaps.iter().for_each(|gap| self.leave(*gap));
                self.tasks.insert(gaps[0], gaps);
            }
            Step::RemoveTask(task) => drop(self.tasks.remove(&task)),
            Step::PutItem(item, episodes) => drop(self.items.insert(item, episodes)),
            Step::Started(lease) => {
                self.processes.insert(lease);
                return self.leases.contains_key(&lease);
            }
            Step::Publishing(lease, right) => {
                self.until.insert(lease, PUBLISHING);
                return right && self.leases.contains_key(&lease);
            }
            Step::Renew(one, other, until) => {
                self.until.extend([(one, until), (other, until)]);
                return self.leases.contains_key(&one) && self.leases.contains_key(&other);
            }
            Step::Lapse(lease, now) => {
                if self.leases.contains_key(&lease) && self.until[&lease] > now {
                    return false;
                }
                self.leases.remove(&lease);
                self.processes.remove(&lease);
            }
            Step::Finish(lease, right) => {
                self.ended.push(lease);
                self.processes.remove(&lease);
                return right && self.leases.remove(&lease).is_some();
            }
            Step::Release(lease) => drop(self.leases.remove(&lease)),
        }
        true
    }

    fn leave(&mut self, gap: u32) {
        self.tasks.values_mut().for_each(|gaps| gaps.retain(|other| *other != gap));
        self.tasks.retain(|_, gaps| !gaps.is_empty());
    }

    /// Of the leases that were asked for until now, if there are any.
    fn resolve(&self, step: Step) -> Step {
        let of = |lease: u32| lease % self.asked.max(1);
        match step {
            Step::Started(lease) => Step::Started(of(lease)),
            Step::Publishing(lease, right) => Step::Publishing(of(lease), right),
            Step::Finish(lease, right) => Step::Finish(of(lease), right),
            Step::Release(lease) => Step::Release(of(lease)),
            Step::Renew(one, another, until) => Step::Renew(of(one), of(another), until),
            Step::Lapse(lease, now) => Step::Lapse(of(lease), now),
            other => other,
        }
    }

    fn change(&self, step: Step) -> Change {
        let token = |lease: u32, right: bool| FencingToken(self.given.get(&lease).copied().unwrap_or(999) + u64::from(!right));
        match step {
            Step::PutGap(number, low) => Change::PutGap(known_gap(number, low)),
            Step::CloseGap(number) => Change::CloseGap { gap: gap_id(number), at: at(1), why: Closed::Filled },
            Step::PutTask(bits) => Change::PutTask(task(&gaps_of(bits))),
            Step::RemoveTask(number) => Change::RemoveTask(task_id(number)),
            Step::PutItem(number, episodes) => Change::PutItem(item(number), ItemRecord { episodes, ..ItemRecord::default() }),
            Step::Started(lease) => Change::Started(process(lease)),
            Step::Publishing(lease, right) => {
                Change::Publishing { attempt: attempt(lease), token: token(lease, right), staged: vec![], until: moment(PUBLISHING) }
            }
            Step::Finish(lease, right) => Change::Finish(ended(lease, token(lease, right), self.wanted.get(&lease).unwrap_or(&vec![0]))),
            Step::Release(lease) => Change::Release(attempt(lease)),
            Step::Renew(one, other, until) => Change::Renew { attempts: vec![attempt(one), attempt(other)], until: moment(until) },
            Step::Lapse(lease, now) => Change::Lapse { attempt: attempt(lease), now: moment(now) },
        }
    }
}

fn known_gap(number: u32, low: bool) -> Gap {
    if low { Gap { key: format!("other/{number}"), ..gap(number) } } else { gap(number) }
}

/// At least one.
fn gaps_of(bits: u8) -> Vec<u32> {
    let gaps: Vec<u32> = (0..8).filter(|bit| bits & (1 << bit) != 0).collect();
    if gaps.is_empty() { vec![0] } else { gaps }
}

fn steps(at_most: usize) -> impl Strategy<Value = Vec<Step>> {
    let lease = 0_u32..12;
    let right = || prop::bool::weighted(0.9);
    let step = prop_oneof![
        4 => (0_u32..8, any::<bool>()).prop_map(|(gap, low)| Step::PutGap(gap, low)),
        2 => (0_u32..8).prop_map(Step::CloseGap),
        4 => any::<u8>().prop_map(Step::PutTask),
        1 => (0_u32..8).prop_map(Step::RemoveTask),
        1 => (0_u32..4, 1_u32..9).prop_map(|(item, episodes)| Step::PutItem(item, episodes)),
        1 => lease.clone().prop_map(Step::Started),
        1 => (lease.clone(), right()).prop_map(|(lease, right)| Step::Publishing(lease, right)),
        3 => (lease.clone(), right()).prop_map(|(lease, right)| Step::Finish(lease, right)),
        1 => lease.clone().prop_map(Step::Release),
        1 => (lease.clone(), lease.clone(), 0_u64..200).prop_map(|(one, other, until)| Step::Renew(one, other, until)),
        2 => (lease, 0_u64..200).prop_map(|(lease, now)| Step::Lapse(lease, now)),
    ];
    vec(step, 1..at_most)
}

/// Only what fills a picture, so many that they are written in another order.
fn picture() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![(0_u32..8, any::<bool>()).prop_map(|(gap, low)| Step::PutGap(gap, low)), any::<u8>().prop_map(Step::PutTask),];
    vec(step, 64..100)
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let gaps = || btree_set(0_u32..8, 1..3).prop_map(Vec::from_iter);
    let operation = prop_oneof![
        4 => steps(4).prop_map(Operation::Apply),
        2 => steps(4).prop_map(Operation::Record),
        1 => picture().prop_map(Operation::Apply),
        4 => gaps().prop_map(Operation::Lease),
        2 => gaps().prop_map(Operation::LeaseAhead),
        1 => Just(Operation::Restart),
    ];
    vec(operation, 1..25)
}

fn open(folder: &Path) -> SqliteStore {
    let identity = Identity { name: "prod".into(), lake: "/lake".into() };
    let opening = Opening { identity, boot_id: boot_id(), now: at(0), retention: Retention::default() };
    sqlite::open(&folder.join("state.db"), &opening).unwrap()
}

/// What is compared.
#[derive(Debug, PartialEq)]
struct Seen {
    gaps: BTreeMap<GapId, Gap>,
    tasks: BTreeMap<String, Vec<GapId>>,
    items: BTreeMap<String, u32>,
    leases: Vec<(u64, Vec<GapId>, Moment)>,
    processes: usize,
    ended: usize,
}

impl Model {
    fn seen(&self) -> Seen {
        let ids = |gaps: &[u32]| gaps.iter().copied().map(gap_id).collect::<Vec<_>>();
        let held = |(number, (token, gaps)): (&u32, &(u64, Vec<u32>))| (*token, ids(gaps), moment(self.until[number]));
        let mut leases: Vec<(u64, Vec<GapId>, Moment)> = self.leases.iter().map(held).collect();
        leases.sort_by_key(|(token, _, _)| *token);
        Seen {
            gaps: self.gaps.iter().map(|(number, low)| (gap_id(*number), known_gap(*number, *low))).collect(),
            tasks: self.tasks.iter().map(|(number, gaps)| (task_id(*number).to_string(), ids(gaps))).collect(),
            items: self.items.iter().map(|(number, episodes)| (item(*number).to_string(), *episodes)).collect(),
            leases,
            processes: self.processes.len(),
            ended: self.ended.len(),
        }
    }
}

async fn seen(store: &SqliteStore) -> Seen {
    let remembered = store.load().await.unwrap();
    let mut ended = 0;
    for number in 0..8 {
        ended += store.history(task_id(number)).await.unwrap().attempts.len();
    }
    let named = |task: Task| (task.id.to_string(), task.gaps);
    Seen {
        gaps: remembered.gaps.into_iter().map(|gap| (gap.id, gap)).collect(),
        tasks: remembered.tasks.into_iter().map(named).collect(),
        items: remembered.items.into_iter().map(|(item, record)| (item.to_string(), record.episodes)).collect(),
        leases: remembered.leases.into_iter().map(|lease| (lease.token.0, lease.gaps, lease.until)).collect(),
        processes: remembered.processes.len(),
        ended,
    }
}

fn refused<T>(answer: Result<T, StoreError>) -> Result<T, TestCaseError> {
    match answer {
        Err(StoreError::StaleToken(_) | StoreError::Leased { .. } | StoreError::StillHeld(_)) => Err(TestCaseError::reject("refused")),
        answer => Ok(answer.unwrap()),
    }
}

async fn play(operations: Vec<Operation>) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path());
    let mut model = Model::default();
    for operation in operations {
        let said = format!("{operation:?}");
        match operation {
            Operation::Apply(steps) | Operation::Record(steps) => {
                let steps: Vec<Step> = steps.into_iter().map(|step| model.resolve(step)).collect();
                let changes = steps.iter().map(|step| model.change(*step)).collect();
                let answer = if said.starts_with("Apply") { store.apply(changes).await } else { store.record(changes).await };
                prop_assert_eq!(refused(answer).is_ok(), model.apply(&steps), "{}", said);
            }
            Operation::Lease(gaps) | Operation::LeaseAhead(gaps) => {
                let lease = lease(model.asked, &gaps);
                let answer = if said.starts_with("LeaseAhead") { store.lease_ahead(lease).await } else { store.lease(lease).await };
                let token = refused(answer).ok();
                let given = model.lease(&gaps).then_some(FencingToken(model.tokens));
                prop_assert_eq!(token, given, "{}", said);
            }
            Operation::Restart => {
                drop(store);
                store = open(folder.path());
            }
        }
        prop_assert_eq!(seen(&store).await, model.seen(), "{}", said);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_and_all_that_is_remembered_are_those_of_a_small_model(operations in operations()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(operations))?;
    }
}
