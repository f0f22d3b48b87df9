//! Leases of the tasks that will start next, written before a slot is free for them.
//!
//! A lease must be on disk before anything is started under it. Asked for when a slot gets free, that keeps the slot idle
//! for a commit, which takes longer than many a command; asked for a little earlier, it costs no slot anything, and shares
//! its commit with the results of those that run.
//!
//! Nothing is decided earlier for it: what starts is still the best runnable task at the instant at which a slot is free
//! (`what_starts_is_chosen_when_a_slot_is_free_whatever_was_leased_ahead`), and if a lease was written for it, the start
//! takes that one.
//!
//! Always true: no lease stands ahead for a gap that goes to another task, is closed or starts under another one
//! (`a_lease_ahead_is_given_back_when_its_task_changes`); those that are left are given back at the end. After a kill they
//! look like attempts that the engine's end cut short, which costs a look at the object of each of their gaps.

use std::collections::HashMap;

use adce_core::gap::Task;
use adce_core::ids::{AttemptId, GapId, TaskId, Uuid};
use adce_core::queue::Dispatcher;
use adce_core::record::Change;
use adce_core::time::Now;

use crate::ledger::{Leasing, Ledger};

/// Short attempts use up a lease a slot in two or three milliseconds, and a commit that nobody waits for may take six. The
/// fewest must last until those that are asked for then are written.
const FEWEST_A_SLOT: usize = 4;
/// So many at most, however many slots there are, and for so many gaps: after a kill each gap costs a look into the lake.
const MOST: usize = 64;
const MOST_GAPS: usize = 256;

#[derive(Default)]
pub(crate) struct Ahead {
    leases: HashMap<TaskId, Prepared>,
    /// Leases that nobody will use: their release is still to be written.
    useless: Vec<AttemptId>,
    /// [`Dispatcher::moves`] when they were last compared with their tasks.
    seen: u64,
}

struct Prepared {
    attempt: AttemptId,
    gaps: Vec<GapId>,
    leasing: Leasing,
}

impl Ahead {
    /// The lease of a task that starts now, if one was written for just these gaps.
    pub fn take(&mut self, task: &Task) -> Option<(AttemptId, Leasing)> {
        let prepared = self.leases.remove(&task.id)?;
        if prepared.gaps == task.gaps {
            return Some((prepared.attempt, prepared.leasing));
        }
        self.useless.push(prepared.attempt);
        None
    }

    /// Gives back what does not fit any more. To be called before anything is leased after a decision.
    pub fn let_go(&mut self, dispatcher: &Dispatcher, ledger: &mut Ledger) {
        if self.seen != dispatcher.moves() {
            self.seen = dispatcher.moves();
            let useless = self.leases.extract_if(|task, prepared| !dispatcher.waits_with(*task, &prepared.gaps));
            self.useless.extend(useless.map(|(_, prepared)| prepared.attempt));
        }
        self.release(ledger);
    }

    /// Writes leases for what will start next. Asked when nothing more can start; does nothing while enough are written.
    pub fn refill(&mut self, dispatcher: &Dispatcher, ledger: &Ledger, now: Now) {
        let fewest = (FEWEST_A_SLOT * dispatcher.rules().slots as usize).min(MOST / 2);
        if self.leases.len() >= fewest {
            return;
        }
        let mut gaps: usize = self.leases.values().map(|prepared| prepared.gaps.len()).sum();
        for task in dispatcher.next_up(2 * fewest, now) {
            gaps += if self.leases.contains_key(&task.id) { 0 } else { task.gaps.len() };
            if gaps > MOST_GAPS {
                return;
            }
            self.leases.entry(task.id).or_insert_with(|| {
                let attempt = AttemptId(Uuid::now_v7());
                let lease = dispatcher.lease(attempt, &task, now);
                Prepared { attempt, gaps: task.gaps, leasing: ledger.lease_ahead(lease) }
            });
        }
    }

    /// All of them: nothing starts any more, or something else does.
    pub fn give_back(&mut self, ledger: &mut Ledger) {
        self.useless.extend(self.leases.drain().map(|(_, prepared)| prepared.attempt));
        self.release(ledger);
    }

    /// Those that are written or being written and that nobody has taken.
    pub fn attempts(&self) -> impl Iterator<Item = AttemptId> {
        self.leases.values().map(|prepared| prepared.attempt)
    }

    fn release(&mut self, ledger: &mut Ledger) {
        if !self.useless.is_empty() {
            ledger.record(self.useless.drain(..).map(Change::Release).collect());
        }
    }
}
