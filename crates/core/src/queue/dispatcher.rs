//! The state machine that the engine and the simulator drive.

use std::collections::HashMap;
use std::time::Duration;

use super::{Acquire, GapNews, Gate, Idle, Pick, Prospect, Rules, Running, Score, SourceFigures, StateCounts};
use crate::gap::{Gap, GapState, Outcome, Task};
use crate::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId};
use crate::ports::{Answer, PermitId, Settlement};
use crate::record::{Change, ItemRecord, Remembered};
use crate::time::{BootId, Now};

/// Owns tasks, progress, slots, limits, breakers and leases.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    rules: Rules,
}

#[allow(unused_variables)]
impl Dispatcher {
    /// Takes gaps, tasks, leases, reservations, sources, success and `latest` out of `remembered` and leaves the rest. The
    /// changes release what a dead predecessor held, and must be durable before anything starts.
    pub fn new(rules: Rules, remembered: &mut Remembered, boot: BootId, now: Now) -> (Self, Vec<Change>) {
        (Dispatcher { rules }, Vec::new())
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Forms, tops up and removes tasks. What runs is left alone: the attempt decides, and the next cycle corrects.
    pub fn reconcile(&mut self, news: GapNews, now: Now) -> Vec<Change> {
        Vec::new()
    }

    /// The best runnable task, if any. `new_attempt` is called only for a start.
    pub fn pick(&mut self, now: Now, new_attempt: impl FnOnce() -> AttemptId) -> Pick {
        Pick::Idle(Idle { wake_at: None, waiting: Vec::new() })
    }

    /// The lease and the start's `before` are durable.
    pub fn leased(&mut self, attempt: AttemptId, token: FencingToken) {}

    /// The lease was not written: the task is queued again, its permits are given back.
    pub fn lease_refused(&mut self, attempt: AttemptId, now: Now) -> Vec<Change> {
        Vec::new()
    }

    /// One request of a running attempt wants to be sent. The permit held since the start is handed out first.
    pub fn acquire(&mut self, attempt: AttemptId, source: &str, now: Now) -> Acquire {
        Acquire::NoSuchAttempt
    }

    /// The request behind an `Acquire::Wait` is no longer wanted.
    pub fn stops_waiting(&mut self, attempt: AttemptId, source: &str) {}

    /// A `Change::Reserve` with this id is durable.
    pub fn reserved(&mut self, reservation: u64) {}

    /// The request's first byte leaves now.
    pub fn sent(&mut self, permit: PermitId, now: Now) {}

    /// Once for every permit handed out.
    pub fn settle(&mut self, permit: PermitId, how: Settlement, now: Now) -> Vec<Change> {
        Vec::new()
    }

    /// For the breaker and the pauses of the source.
    pub fn answered(&mut self, attempt: AttemptId, source: &str, answer: Answer, now: Now) -> Vec<Change> {
        Vec::new()
    }

    /// The attempt is over: closes, retries, exhausts or splits its gaps, frees its slot and settles what it still
    /// holds. Gaps without an outcome count as stopped. `items` learns confirmations and absences. `jitter` gives
    /// numbers in 0..1. The caller adds [`Change::Finish`] to the same batch.
    pub fn ended(
        &mut self,
        attempt: AttemptId,
        outcomes: &[(GapId, Outcome)],
        items: &mut HashMap<ItemId, ItemRecord>,
        now: Now,
        jitter: impl FnMut() -> f64,
    ) -> Vec<Change> {
        Vec::new()
    }

    /// Starts nothing of this dataset (`None`: nothing at all) until `unhold`.
    pub fn hold(&mut self, dataset: Option<&str>) {}

    pub fn unhold(&mut self, dataset: Option<&str>) {}

    pub fn gap(&self, gap: GapId) -> Option<Gap> {
        None
    }

    /// All open gaps, in no particular order.
    pub fn gaps(&self) -> Vec<Gap> {
        Vec::new()
    }

    pub fn task(&self, task: TaskId) -> Option<Task> {
        None
    }

    pub fn tasks(&self) -> Vec<Task> {
        Vec::new()
    }

    /// `None`: only watched, in no task.
    pub fn task_of(&self, gap: GapId) -> Option<TaskId> {
        None
    }

    pub fn score(&self, task: TaskId, now: Now) -> Option<Score> {
        None
    }

    pub fn running(&self) -> Vec<Running> {
        Vec::new()
    }

    pub fn gap_state(&self, gap: GapId, now: Now) -> Option<GapState> {
        None
    }

    pub fn counts(&self, now: Now) -> StateCounts {
        StateCounts::default()
    }

    pub fn why_task(&self, task: TaskId, now: Now) -> Option<Gate> {
        None
    }

    pub fn why_gap(&self, gap: GapId, now: Now) -> Option<Gate> {
        None
    }

    /// Every source, in the order of the config.
    pub fn figures(&self, now: Now) -> Vec<SourceFigures> {
        Vec::new()
    }

    /// Is it worth waiting? Limits are always waited for; retries, pauses and breakers up to `max_wait`; "not yet",
    /// exhausted and held gaps never.
    pub fn prospect(&self, max_wait: Duration, now: Now) -> Prospect {
        Prospect::Later(None)
    }
}
