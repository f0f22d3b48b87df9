//! What the engine is doing, as plain data: the live display, the control socket and the closing summary read only this.

use std::time::Duration;

use adce_core::gap::Task;
use adce_core::ids::{AttemptId, TaskId};
use adce_core::pause::{Pause, PauseOf};
use adce_core::ports::Progress;
use adce_core::queue::{Gate, ValuesFigures};
use adce_core::time::{Boottime, Timestamp};
use adce_core::traffic::Traffic;
use serde::{Deserialize, Serialize};

/// One look at a running engine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub at: Timestamp,
    pub started_at: Timestamp,
    pub phase: Phase,
    /// In the order of the config.
    pub datasets: Vec<DatasetLine>,
    pub gaps: GapFigures,
    pub sources: Vec<SourceLine>,
    /// Those that crash on everything and are held back.
    #[serde(default)]
    pub collectors: Vec<CollectorLine>,
    pub running: Vec<RunningLine>,
    pub slots: u32,
    /// Running attempts but for those that only publish what they have.
    pub slots_used: u32,
    pub totals: Totals,
    /// When all gaps that can be filled now will be, as far as rates tell; `None` while nothing is known.
    pub eta: Option<Timestamp>,
    /// The latest failures, newest last.
    pub recent: Vec<FailureLine>,
    /// Why something is held back until a person or a later cycle confirms it.
    pub surprises: Vec<String>,
    /// Objects that are filled and gone again and again: left alone.
    pub contested: Vec<ContestedLine>,
    /// Sources that say of too many items at once that they have no such thing.
    #[serde(default)]
    pub doubts: Vec<DoubtLine>,
    /// Hosts that commands asked through the gateway and that no source declares.
    #[serde(default)]
    pub uncovered: Vec<UncoveredLine>,
    /// What `tasks_per_cycle` and `task_ttl` keep for the next full look.
    #[serde(default)]
    pub held_back: Vec<HeldBackLine>,
    /// The config was edited since this run began, and is not what runs.
    #[serde(default)]
    pub edited: Option<Edited>,
    /// By hand, or in a maintenance window.
    #[serde(default)]
    pub paused: Vec<PausedLine>,
    /// Programs run by hand that pass the gateway.
    #[serde(default)]
    pub guests: usize,
    /// What tells of changes in the lake between two full looks.
    #[serde(default)]
    pub feeds: Vec<FeedLine>,
}

/// Something that does not start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedLine {
    pub of: PauseOf,
    pub pause: Pause,
}

/// A feed of events: a queue, a webhook, a watched folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FeedLine {
    pub feed: String,
    pub state: FeedState,
    /// Events since the engine started.
    pub told: u64,
    /// Of those, of keys that no dataset expects.
    pub unexpected: u64,
    /// When the latest of them happened, by the store's clock.
    pub last_at: Option<Timestamp>,
    /// From then until it was heard of here.
    pub lag_seconds: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedState {
    #[default]
    Listening,
    /// It tries again by itself; meanwhile the full looks are all there is.
    Failing { error: String, since: Timestamp },
    /// It can tell nothing here, and why; the full looks are all there is.
    Deaf { reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncoveredLine {
    pub collector: String,
    pub host: String,
    /// Requests, and connections that nobody can look into.
    pub passed: u64,
    pub refused: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBackLine {
    pub gate: Gate,
    /// None of those that stand back: their tasks have ended.
    pub tasks: u64,
    pub gaps: u64,
}

/// What came of an edit of the config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    pub at: Timestamp,
    /// Parts that are in force since.
    pub applied: Vec<String>,
    /// Parts that an engine reads when it starts.
    pub at_next_start: Vec<String>,
    /// Why nothing of it is in force.
    pub errors: Vec<String>,
}

impl Edited {
    /// Everything that was edited is in force.
    pub fn is_in_force(&self) -> bool {
        self.at_next_start.is_empty() && self.errors.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoubtLine {
    pub source: String,
    pub since: Timestamp,
    /// One of the items is asked for again then.
    pub probe_at: Timestamp,
    pub gaps: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContestedLine {
    pub key: String,
    pub until: Timestamp,
}

/// Of a source whose limits are told apart by a value: the worst few, and how many more there are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValuesLine {
    pub figures: ValuesFigures,
    /// For the instants in it.
    pub at: Boottime,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Reading tables and listing the lake.
    #[default]
    Observing,
    /// A person is asked whether to start so many gaps.
    Asking,
    Working,
    /// Nothing runs; the next try is then.
    Waiting {
        until: Timestamp,
    },
    /// Interrupted: what runs is finished, nothing starts.
    Draining,
    Done,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetLine {
    pub name: String,
    pub expected: u64,
    pub present: u64,
    pub absent: u64,
    pub not_due: u64,
    /// Gaps that are open now.
    pub open: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapFigures {
    pub queued: u64,
    pub running: u64,
    pub waiting: u64,
    pub held: u64,
    pub exhausted: u64,
    /// Of datasets that are only watched.
    pub watched: u64,
}

impl GapFigures {
    pub fn open(&self) -> u64 {
        self.queued + self.running + self.waiting + self.held + self.exhausted + self.watched
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceLine {
    pub name: String,
    pub state: SourceState,
    pub windows: Vec<WindowLine>,
    pub in_flight: u32,
    pub in_flight_limit: Option<u32>,
    /// So many attempts take all that its limits admit, as far as that was seen.
    #[serde(default)]
    pub useful_attempts: Option<u32>,
    /// Why no more attempts at it start, if that is because they would only wait for permits.
    #[serde(default)]
    pub crowd: Option<Gate>,
    /// How values stand to the limits that each has for itself.
    #[serde(default)]
    pub values: Option<ValuesLine>,
    pub requests: u64,
    /// 429s that it answered.
    pub throttled: u64,
    /// Of these, since midnight UTC.
    #[serde(default)]
    pub throttled_today: u64,
    /// Gaps that are queued for it.
    pub queued: u64,
    /// Requests that wait for a permit now.
    pub asking: u64,
    /// When the next permit will be there, if none is now.
    pub next_permit: Option<Timestamp>,
    /// From sent to settled, on average.
    pub mean_settle_seconds: f64,
    /// Seconds that requests spent waiting for permits, added up.
    pub waited_seconds: f64,
    /// What it was asked and what it answered.
    #[serde(default)]
    pub traffic: Traffic,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    #[default]
    Ok,
    /// It asked to be left alone; or it is, because of what it did.
    Paused {
        until: Timestamp,
        #[serde(default)]
        because: Option<String>,
    },
    /// Its breaker is open.
    Open {
        /// The next probe.
        until: Timestamp,
        since: Timestamp,
        reason: String,
    },
    /// A probe is under way.
    HalfOpen { since: Timestamp, reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectorLine {
    pub name: String,
    /// The next probe; `None`: it is under way.
    pub until: Option<Timestamp>,
    pub since: Timestamp,
    pub reason: String,
    /// Gaps that wait for it.
    pub queued: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowLine {
    /// `per_minute`.
    pub key: String,
    pub used: u64,
    /// The most that was seen in this run.
    pub most: u64,
    pub limit: u64,
    /// Set aside for priorities that do not need it now.
    pub set_aside: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningLine {
    pub attempt: AttemptId,
    pub task: TaskId,
    pub collector: String,
    pub source: Option<String>,
    /// Which attempt of its oldest gap this is, counted from 1.
    pub number: u32,
    /// The first key and how many more.
    pub what: String,
    pub started_at: Timestamp,
    pub items: u64,
    pub requests: u64,
    pub process_group: Option<i32>,
    /// How far it says it is.
    pub progress: Option<Progress>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub filled: u64,
    pub failed: u64,
    pub absent: u64,
    pub attempts: u64,
    pub requests: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureLine {
    pub at: Timestamp,
    pub key: String,
    pub message: String,
}

/// Something just happened to an item: a line where nobody watches a live display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    Filled {
        key: String,
        bytes: u64,
    },
    Unchanged {
        key: String,
    },
    Absent {
        key: String,
    },
    Failed {
        key: String,
        collector: String,
        source: Option<String>,
        task: TaskId,
        message: String,
        /// It has used up its attempts with that, and is tried again then.
        exhausted_until: Option<Timestamp>,
    },
    /// A full cycle ended.
    Looked {
        gaps: u64,
        complete: bool,
    },
    /// Part of the lake could not be listed.
    NotListed {
        prefix: String,
        error: String,
    },
    /// An inventory report was not read, and why.
    ReportRefused(String),
    Surprise(String),
    /// A source says of too many items at once that it has no such thing.
    Doubted {
        source: String,
        absences: u32,
        of: u32,
        probe_at: Timestamp,
    },
    /// An object was filled and gone three times in a day.
    Contested {
        key: String,
        until: Timestamp,
    },
    /// A later cycle could not look; the picture before stays in force.
    LookFailed(String),
    /// So many gaps would be started for the first time.
    ManyGaps(u64),
    ConfigEdited(Edited),
    /// A person did something to the engine.
    ByHand(String),
    /// Something is kept from starting by nobody's hand, or is not any more.
    HeldBack(String),
    /// The loop had no turn for so long (the machine slept?) that the leases of these attempts had expired. They hold again.
    LeasesExpired {
        attempts: u64,
        after: Duration,
    },
}

/// `box/401705123/q1.json`, or `box/401705123/q1.json and 9 more`.
pub fn what(task: &Task) -> String {
    match task.gaps.len() {
        1 => task.key.clone(),
        more => format!("{} and {} more", task.key, more - 1),
    }
}
