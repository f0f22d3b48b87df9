//! What goes into the dispatcher and what it answers, as plain data.

use serde::{Deserialize, Serialize};

use super::gate::Gate;
use crate::coverage::GapDiff;
use crate::gap::{Gap, Task};
use crate::ids::{AttemptId, GapId, TaskId};
use crate::ports::PermitId;
use crate::record::{Change, Closed, Lease};
use crate::time::{Boottime, Timestamp};

/// How coverage differs from the gaps that the dispatcher knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GapNews {
    pub opened: Vec<Gap>,
    /// Same id, other reason, key, due, priority, group, etag or fingerprint. `progress` is not read: the dispatcher's own
    /// counts, unless the fingerprint changed.
    pub changed: Vec<Gap>,
    pub closed: Vec<(GapId, Closed)>,
}

impl From<GapDiff> for GapNews {
    fn from(diff: GapDiff) -> Self {
        GapNews { opened: diff.opened, changed: diff.changed, closed: diff.closed }
    }
}

/// The answer to "what now?".
#[derive(Clone, Debug, PartialEq)]
pub enum Pick {
    Start(Box<Start>),
    Idle(Idle),
}

/// One task to be started. It holds a slot from now on, until `ended` or `lease_refused`.
///
/// In this order: make `before` durable together with the lease; start the collector.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    pub attempt: AttemptId,
    pub task: Task,
    /// In the task's order.
    pub gaps: Vec<Gap>,
    /// To be asked of the store; its token is 0.
    pub lease: Lease,
    pub charge: Charge,
    pub score: Score,
    /// The reservation that must be durable before any request is sent.
    pub before: Vec<Change>,
}

/// What a start has paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// Asks no upstream, or says that it costs nothing.
    Nothing,
    /// The permit of its first request; the first `acquire` hands it out.
    First(PermitId),
    /// All its requests; settled when the attempt ends.
    Ahead(u32),
}

/// Nothing can start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Ask again at that time, or after any other event.
    pub wake_at: Option<Boottime>,
    /// What holds back tasks that are ready, the best-scored first, one line per reason.
    pub waiting: Vec<Waiting>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub gate: Gate,
    pub tasks: u64,
    pub gaps: u64,
}

/// Why a task ranks where it does. In micro-points; multipliers in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    pub total: i64,
    pub base: i64,
    pub age: i64,
    pub importance: i64,
    pub size: i64,
    pub success: i64,
}

/// The answer to a request that wants to be sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Acquire {
    /// `before` must be durable before the request is sent. It is repeated until `reserved` is told.
    Granted {
        permit: PermitId,
        before: Option<Change>,
        paid: Paid,
    },
    /// Ask again at `until`, or after any settlement. The attempt counts as waiting: lower-scored tasks do not take
    /// the permit, until it is granted, `stops_waiting` or the attempt ends.
    Wait {
        gate: Gate,
        until: Option<Boottime>,
    },
    /// Its source is shut, and this request is not worth waiting with: the attempt is to end, and what it leaves waits in the
    /// queue. It does not count as waiting.
    GiveUp {
        gate: Gate,
    },
    NoSuchAttempt,
    NoSuchSource,
}

/// When a request was paid for, so that nobody counts it twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paid {
    /// With this grant, or with the first permit that it hands out.
    Now,
    /// By [`Charge::Ahead`], which counted it.
    Ahead,
}

/// An attempt that holds a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub attempt: AttemptId,
    pub task: TaskId,
    pub collector: String,
    pub source: Option<String>,
    pub gaps: Vec<GapId>,
    pub started_at: Timestamp,
    pub started: Boottime,
    pub requests: u64,
}
