//! A state that lives as long as its last handle, for simulated engines and for tests.
//!
//! It keeps the same promises as the one on disk (`tests/conformance.rs` runs against both), except that it does not
//! survive the process. Clones share the state, so a simulated restart is: drop the engine, keep a clone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adce_core::access::{AuditRecord, TokenRecord};
use adce_core::coverage::Picture;
use adce_core::gap::{Gap, Task};
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId};
use adce_core::job::JobRecord;
use adce_core::pause::{Pause, PauseOf};
use adce_core::ports::{Store, StoreError};
use adce_core::record::{
    AttemptRecord, BreakerRecord, Change, Closed, Event, HeldPicture, History, ItemRecord, Lease, ProcessRecord, Remembered, Reservation,
    SourceRecord,
};
use adce_core::time::Timestamp;
use async_trait::async_trait;

use crate::AUDIT_KEPT;
use crate::instants::latest_of;
use crate::owners::Owners;

#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    picture: Option<Picture>,
    held: Option<HeldPicture>,
    gaps: BTreeMap<GapId, Gap>,
    tasks: BTreeMap<TaskId, Task>,
    task_of: HashMap<GapId, TaskId>,
    items: HashMap<ItemId, ItemRecord>,
    leases: BTreeMap<AttemptId, Lease>,
    owners: Owners,
    processes: BTreeMap<AttemptId, ProcessRecord>,
    reservations: BTreeMap<u64, Reservation>,
    sources: HashMap<String, SourceRecord>,
    values: HashMap<String, HashMap<String, SourceRecord>>,
    collectors: HashMap<String, BreakerRecord>,
    success: HashMap<String, Vec<bool>>,
    pauses: BTreeMap<PauseOf, Pause>,
    jobs: BTreeMap<String, JobRecord>,
    tokens: BTreeMap<String, TokenRecord>,
    audit: VecDeque<AuditRecord>,
    audited: u64,
    /// Of attempts that were forgotten.
    attempts_before: u64,
    latest: Option<Timestamp>,
    last_token: u64,
    attempts: VecDeque<AttemptRecord>,
    events: VecDeque<Event>,
}

/// A simulated day has fewer; a simulated year forgets its beginning.
const ATTEMPTS_KEPT: usize = 100_000;
const EVENTS_KEPT: usize = 200_000;

impl MemoryStore {
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No call leaves the state half-changed when it panics: everything fallible comes before the first write.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Remembered, StoreError> {
        Ok(self.state().remembered())
    }

    async fn lease(&self, lease: Lease) -> Result<FencingToken, StoreError> {
        self.state().lease(lease)
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut state = self.state();
        state.owners.may_apply(&changes)?;
        state.owners.applied(&changes);
        state.latest = state.latest.max(latest_of(&changes));
        changes.into_iter().for_each(|change| state.make(change));
        state.prune();
        Ok(())
    }

    async fn history(&self, task: TaskId) -> Result<History, StoreError> {
        let state = self.state();
        let of_task = |event: &&Event| event.task == Some(task) || (event.task.is_none() && event.gap.is_some());
        let history =
            History { attempts: state.attempts.iter().cloned().collect(), events: state.events.iter().filter(of_task).cloned().collect() };
        Ok(history.of_one_task(task, state.tasks.get(&task).map(|task| task.gaps.clone()).unwrap_or_default()).with_fills())
    }

    async fn attempts(&self, before: Option<u64>, at_most: u32) -> Result<Vec<(u64, AttemptRecord)>, StoreError> {
        let state = self.state();
        let numbered = state.attempts.iter().enumerate().rev().map(|(at, record)| (state.attempts_before + at as u64 + 1, record));
        let meant = numbered.filter(|(seq, _)| before.is_none_or(|before| *seq < before));
        Ok(meant.take(at_most as usize).map(|(seq, record)| (seq, record.clone())).collect())
    }

    async fn attempt(&self, id: AttemptId) -> Result<Option<(u64, AttemptRecord)>, StoreError> {
        let state = self.state();
        let at = state.attempts.iter().rposition(|record| record.attempt == id);
        Ok(at.map(|at| (state.attempts_before + at as u64 + 1, state.attempts[at].clone())))
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(self.state().tokens.values().cloned().collect())
    }

    async fn audit(&self, before: Option<u64>, at_most: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let state = self.state();
        let meant = state.audit.iter().rev().filter(|record| before.is_none_or(|before| record.seq < before));
        Ok(meant.take(at_most as usize).cloned().collect())
    }
}

impl State {
    fn remembered(&self) -> Remembered {
        let mut leases: Vec<Lease> = self.leases.values().cloned().collect();
        leases.sort_by_key(|lease| lease.token);
        Remembered {
            picture: self.picture.clone(),
            held: self.held.clone(),
            gaps: self.gaps.values().cloned().collect(),
            tasks: self.tasks.values().map(|task| Task { ready_at: task.when_ready(|gap| self.gaps.get(gap)), ..task.clone() }).collect(),
            items: self.items.clone(),
            leases,
            processes: self.processes.values().cloned().collect(),
            reservations: self.reservations.values().cloned().collect(),
            sources: self.sources.clone(),
            values: self.values.clone(),
            collectors: self.collectors.clone(),
            success: self.success.clone(),
            pauses: self.pauses.clone(),
            jobs: self.jobs.clone(),
            tokens: self.tokens.values().cloned().collect(),
            latest: self.latest,
        }
    }

    fn lease(&mut self, mut lease: Lease) -> Result<FencingToken, StoreError> {
        self.owners.may_lease(&lease)?;
        self.last_token += 1;
        lease.token = FencingToken(self.last_token);
        self.latest = self.latest.max(Some(lease.started_at));
        self.owners.leased(&lease, lease.token);
        self.leases.insert(lease.attempt, lease);
        Ok(FencingToken(self.last_token))
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::PutGap(gap) => {
                self.gaps.insert(gap.id, gap);
            }
            Change::CloseGap { gap, at, why } => {
                if self.gaps.remove(&gap).is_some() {
                    let task = self.leave_task(gap);
                    // The attempt that filled it tells that.
                    if why != Closed::Filled {
                        self.events.push_back(Event { at, task, gap: Some(gap), text: why.told() });
                    }
                }
            }
            Change::PutTask(task) => self.put_task(task),
            Change::RemoveTask(task) => self.remove_task(task),
            Change::PutItem(item, record) => {
                self.items.insert(item, record);
            }
            Change::PutPicture(picture) => self.picture = Some(picture),
            Change::PutHeldPicture(held) => self.held = held,
            // Only people read it, from a file.
            Change::PutTrend(_) => {}
            Change::PutPause(of, Some(pause)) => {
                self.pauses.insert(of, pause);
            }
            Change::PutPause(of, None) => {
                self.pauses.remove(&of);
            }
            Change::PutJob(name, record) => {
                self.jobs.insert(name, record);
            }
            Change::PutToken(record) => {
                self.tokens.insert(record.name.clone(), record);
            }
            Change::Audit(record) => {
                self.audited += 1;
                self.audit.push_back(AuditRecord { seq: self.audited, ..record });
            }
            Change::PutCollector(name, record) => {
                self.collectors.insert(name, record);
            }
            Change::PutSource(name, record) => {
                self.sources.insert(name, record);
            }
            Change::PutValue { source, value, record: Some(record) } => {
                self.values.entry(source).or_default().insert(value, record);
            }
            Change::PutValue { source, value, record: None } => {
                let of_source = self.values.get_mut(&source);
                if of_source.is_some_and(|values| values.remove(&value).is_some() && values.is_empty()) {
                    self.values.remove(&source);
                }
            }
            Change::PutSuccess(collector, attempts) => {
                self.success.insert(collector, attempts);
            }
            Change::Started(process) => {
                self.processes.insert(process.attempt, process);
            }
            Change::Publishing { attempt, staged, until, .. } => {
                self.leases.entry(attempt).and_modify(|lease| (lease.staged, lease.until) = (staged, until));
            }
            Change::Renew { attempts, until } => {
                for attempt in attempts {
                    self.leases.entry(attempt).and_modify(|lease| lease.until.clone_from(&until));
                }
            }
            Change::Lapse { attempt, .. } => {
                self.leases.remove(&attempt);
                self.processes.remove(&attempt);
            }
            Change::Finish(record) => self.finish(record),
            Change::Release(attempt) => drop(self.leases.remove(&attempt)),
            Change::Reserve(reservation) => {
                self.reservations.insert(reservation.id, reservation);
            }
            Change::SettleReservation { id, settled } => {
                self.reservations.entry(id).and_modify(|reservation| reservation.settled = Some(settled));
            }
            Change::ForgetReservation(id) => {
                self.reservations.remove(&id);
            }
            Change::Event(event) => self.events.push_back(event),
        }
    }

    fn put_task(&mut self, task: Task) {
        self.remove_task(task.id);
        for gap in &task.gaps {
            self.leave_task(*gap);
            self.task_of.insert(*gap, task.id);
        }
        if !task.gaps.is_empty() {
            self.tasks.insert(task.id, task);
        }
    }

    fn remove_task(&mut self, task: TaskId) {
        for gap in self.tasks.remove(&task).map(|task| task.gaps).unwrap_or_default() {
            self.task_of.remove(&gap);
        }
    }

    /// Takes a gap out of the task it is in; a task that has none left is gone.
    fn leave_task(&mut self, gap: GapId) -> Option<TaskId> {
        let id = self.task_of.remove(&gap)?;
        if let Some(task) = self.tasks.get_mut(&id) {
            task.gaps.retain(|other| *other != gap);
            if task.gaps.is_empty() {
                self.tasks.remove(&id);
            }
        }
        Some(id)
    }

    fn finish(&mut self, record: AttemptRecord) {
        self.leases.remove(&record.attempt);
        self.processes.remove(&record.attempt);
        self.attempts.push_back(record);
    }

    fn prune(&mut self) {
        let excess = |kept: usize, allowed: usize| kept.saturating_sub(allowed);
        let surplus = excess(self.attempts.len(), ATTEMPTS_KEPT);
        self.attempts_before += surplus as u64;
        self.attempts.drain(..surplus);
        self.audit.drain(..excess(self.audit.len(), AUDIT_KEPT));
        self.events.drain(..excess(self.events.len(), EVENTS_KEPT));
    }
}
