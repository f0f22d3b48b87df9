//! The state of the simulated machine: only what was applied here survives a crash.
//!
//! Written from the words of `record` alone, as plainly as possible; the real stores have their own conformance suite.
//! Like them it refuses a second owner and a token that is not current.

use std::collections::{BTreeMap, HashMap};

use adce_core::gap::{Gap, Task};
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId};
use adce_core::record::{BreakerRecord, Change, ItemRecord, Lease, Remembered, Reservation, SourceRecord};
use adce_core::time::Timestamp;

#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub gaps: BTreeMap<GapId, Gap>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub items: HashMap<ItemId, ItemRecord>,
    pub leases: BTreeMap<AttemptId, Lease>,
    pub reservations: BTreeMap<u64, Reservation>,
    pub sources: HashMap<String, SourceRecord>,
    /// By source and value.
    pub values: HashMap<String, HashMap<String, SourceRecord>>,
    pub collectors: HashMap<String, BreakerRecord>,
    pub success: HashMap<String, Vec<bool>>,
    last_token: u64,
    pub latest: Option<Timestamp>,
}

impl Disk {
    /// Refused if one of the gaps has an owner.
    pub fn lease(&mut self, mut lease: Lease) -> Result<FencingToken, String> {
        for held in self.leases.values() {
            if let Some(gap) = held.gaps.iter().find(|gap| lease.gaps.contains(gap)) {
                return Err(format!("{gap:?} is leased to {} and asked for by {}", held.attempt, lease.attempt));
            }
        }
        self.last_token += 1;
        lease.token = FencingToken(self.last_token);
        self.leases.insert(lease.attempt, lease);
        Ok(FencingToken(self.last_token))
    }

    /// All of it or nothing.
    pub fn apply(&mut self, changes: &[Change], wall: Timestamp) -> Result<(), String> {
        for change in changes {
            if let Change::Finish(record) = change {
                let current = self.leases.get(&record.attempt).map(|lease| lease.token);
                if current != Some(record.token) {
                    return Err(format!("{} finishes with {:?}, current is {current:?}", record.attempt, record.token));
                }
            }
        }
        for change in changes {
            self.put(change);
        }
        self.latest = self.latest.max(Some(wall));
        Ok(())
    }

    fn put(&mut self, change: &Change) {
        match change {
            Change::PutGap(gap) => drop(self.gaps.insert(gap.id, gap.clone())),
            Change::CloseGap { gap, .. } => drop(self.gaps.remove(gap)),
            Change::PutTask(task) => drop(self.tasks.insert(task.id, task.clone())),
            Change::RemoveTask(task) => drop(self.tasks.remove(task)),
            Change::PutItem(item, record) => drop(self.items.insert(*item, record.clone())),
            Change::PutSource(name, record) => drop(self.sources.insert(name.clone(), record.clone())),
            Change::PutValue { source, value, record } => {
                let of_source = self.values.entry(source.clone()).or_default();
                match record {
                    Some(record) => drop(of_source.insert(value.clone(), record.clone())),
                    None => drop(of_source.remove(value)),
                }
            }
            Change::PutCollector(name, record) => drop(self.collectors.insert(name.clone(), record.clone())),
            Change::PutSuccess(name, attempts) => drop(self.success.insert(name.clone(), attempts.clone())),
            Change::Finish(record) => drop(self.leases.remove(&record.attempt)),
            Change::Release(attempt) => drop(self.leases.remove(attempt)),
            Change::Reserve(reservation) => drop(self.reservations.insert(reservation.id, reservation.clone())),
            Change::SettleReservation { id, settled } => {
                if let Some(reservation) = self.reservations.get_mut(id) {
                    reservation.settled = Some(*settled);
                }
            }
            Change::ForgetReservation(id) => drop(self.reservations.remove(id)),
            Change::PutPicture(_)
            | Change::PutHeldPicture(_)
            | Change::PutTrend(_)
            | Change::PutPause(..)
            | Change::PutJob(..)
            | Change::PutToken(_)
            | Change::Audit(_)
            | Change::Started(_)
            | Change::Publishing { .. }
            | Change::Event(_) => {}
            Change::Renew { .. } | Change::Lapse { .. } => {}
        }
    }

    pub fn remembered(&self) -> Remembered {
        Remembered {
            gaps: self.gaps.values().cloned().collect(),
            tasks: self.tasks.values().cloned().collect(),
            items: self.items.clone(),
            leases: self.leases.values().cloned().collect(),
            reservations: self.reservations.values().cloned().collect(),
            sources: self.sources.clone(),
            values: self.values.clone(),
            collectors: self.collectors.clone(),
            success: self.success.clone(),
            latest: self.latest,
            ..Remembered::default()
        }
    }
}
