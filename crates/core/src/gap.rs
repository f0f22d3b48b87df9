//! The words for where an item, a gap and a task stand. One glossary for code, SQL, JSON and pages.

use serde::{Deserialize, Serialize};

use crate::ids::{GapId, ItemId, TaskId};
use crate::spec::PriorityLevel;
use crate::time::Timestamp;

/// The state of an item, the first that applies (`coverage` decides; `Unknown` is only for a part of the lake whose
/// listing failed and of which no earlier picture exists).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// Older than the dataset's `since`.
    OutOfScope,
    NotDue,
    Expired,
    Suspect,
    Undersized,
    Stale,
    Present,
    Absent,
    Missing,
    Unknown,
}

impl ItemState {
    /// Each at its place (`state as usize`).
    pub const ALL: [ItemState; 10] = {
        use ItemState::*;
        [OutOfScope, NotDue, Expired, Suspect, Undersized, Stale, Present, Absent, Missing, Unknown]
    };
}

/// Why an item is a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Missing,
    Stale,
    Undersized,
    Suspect,
}

impl Reason {
    pub fn word(self) -> &'static str {
        match self {
            Reason::Missing => "missing",
            Reason::Stale => "stale",
            Reason::Undersized => "undersized",
            Reason::Suspect => "suspect",
        }
    }
}

/// One episode of an item not being as it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub id: GapId,
    pub dataset: String,
    pub key: String,
    pub reason: Reason,
    /// When the gap was first seen; a change of reason keeps it.
    pub detected_at: Timestamp,
    pub due: Option<Timestamp>,
    pub priority: PriorityLevel,
    /// The values of the collector's `group_by`; gaps with other values never share a task.
    pub group: Vec<String>,
    /// ETag of the object in the lake, if one is there: publishing must replace just that one.
    pub etag: Option<String>,
    /// Its date by the store's clock: an object rewritten with the same content has a new one.
    pub last_modified: Option<Timestamp>,
    /// The dataset's at detection: progress is void when it changes.
    pub fingerprint: u64,
    pub progress: Progress,
}

impl Gap {
    pub fn item(&self) -> ItemId {
        self.id.item
    }
}

/// What was tried for a gap so far, and when it may be tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Attempts used up in this round (since the last revival). Failures that are the source's fault use none.
    pub attempts: u32,
    /// All attempts that ever ran for this gap.
    pub attempts_total: u32,
    /// Consecutive waits without an attempt used up ("not yet", the source's fault): they grow the pause.
    pub deferrals: u32,
    /// Failures of a batch that it was in of which nobody knows which item is to blame. They use up no attempt; from the second
    /// one on the batch goes on in halves.
    #[serde(default)]
    pub unblamed: u32,
    /// How often upstream said that it has no such thing although an object is there: each doubles the pause.
    #[serde(default)]
    pub absences: u32,
    /// How often the gap was exhausted; each doubles the pause before it is revived.
    pub exhausted: u32,
    /// Not to be tried before.
    pub next_try: Option<Timestamp>,
    /// Since when that is so, if an attempt brought it about; for its story only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    pub standing: Standing,
    /// Last failure in words, for a person.
    pub last_error: Option<String>,
    /// When upstream said that it has no such thing, and said so of too many to be believed. What was doubted once is
    /// believed the next time.
    #[serde(default)]
    pub doubted: Option<Timestamp>,
    /// A person asked for it: its priority is at least this one until it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<PriorityLevel>,
}

/// Why a gap is not being tried at this moment, as far as the gap itself goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// May be tried (from `next_try` on).
    #[default]
    Open,
    /// Upstream does not have it yet (before `absent.after`).
    NotYet,
    /// All attempts of this round are used up; revived at `next_try`.
    Exhausted,
    /// Upstream says that it has no such thing, but of too many at once: asked again at `next_try`.
    Doubted,
    /// Filled and gone three times in a day: left alone until `next_try`, or a person says so.
    Contested,
    /// A person does not want it tried before `next_try`.
    Cancelled,
}

/// The state of a gap as people and JSON see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapState {
    Queued,
    Running,
    Waiting,
    Held,
    Exhausted,
}

impl GapState {
    pub fn word(self) -> &'static str {
        match self {
            GapState::Queued => "queued",
            GapState::Running => "running",
            GapState::Waiting => "waiting",
            GapState::Held => "held",
            GapState::Exhausted => "exhausted",
        }
    }
}

/// One unit of collection: gaps that share a source, a collector, the values of its `group_by`, and a priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub collector: String,
    pub source: Option<String>,
    pub priority: PriorityLevel,
    pub group: Vec<String>,
    /// In order of (oldest detected_at, later due, key); never empty.
    pub gaps: Vec<GapId>,
    /// The oldest `detected_at` of its gaps.
    pub detected_at: Timestamp,
    /// Due time of its first gap.
    pub due: Option<Timestamp>,
    /// Key of its first gap.
    pub key: String,
    /// Not to be started before (the latest `next_try` of its gaps). Known from the gaps, and not remembered beside them.
    #[serde(skip)]
    pub ready_at: Option<Timestamp>,
}

impl Task {
    /// `gap`: every gap of the task.
    pub fn when_ready<'a>(&self, gap: impl Fn(&GapId) -> Option<&'a Gap>) -> Option<Timestamp> {
        self.gaps.iter().filter_map(gap).filter_map(|gap| gap.progress.next_try).max()
    }
}

/// What an attempt did for one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// A new object is in the lake, checked.
    Done {
        etag: String,
        size: u64,
        last_modified: Timestamp,
    },
    /// The object there was confirmed to be the current one.
    Unchanged,
    /// Upstream says that it has no such thing.
    Absent,
    /// Nothing was decided about this item, and it costs no attempt (a large batch said "absent" without naming items).
    Split,
    Failed(Failure),
}

/// Why an item was not filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Failure {
    pub fault: Fault,
    /// For a person: what happened, with numbers.
    pub message: String,
    /// Upstream asked for this pause (`Retry-After`, `retry_after_s`).
    pub retry_after_s: Option<u64>,
}

/// Whose fault a failure is, which decides what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// 429, 5xx, no connection, exit 69: uses up no attempt and counts for the breaker.
    Source,
    /// Exit 75: try later; uses up no attempt and does not count for the breaker.
    Later,
    /// Anything else: uses up an attempt.
    Item,
    /// The collector itself: it could not be started, crashed, or was ended because its time was over, and said nothing of
    /// this item. Uses up an attempt if it is the only such item, and counts for the collector's breaker.
    Collector,
    /// The collector claims to be done with it, and wrote nothing for it. Uses up an attempt, unless it wrote nothing for any
    /// of several items; if it wrote nothing for any at all, that counts for its breaker.
    Unwritten,
    /// The engine stopped it (Ctrl-C, shutdown): uses up nothing, counts for nothing.
    Stopped,
}
