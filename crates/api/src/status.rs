//! What a running engine says about itself: `status`, `tasks`, `limits`, `why`.

use adce_core::gap::{GapState, Outcome, Reason};
use adce_core::ids::{AttemptId, GapId, ItemId, TaskId};
use adce_core::ports::Progress;
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::by_hand::PauseLine;
use crate::coverage::{Counts, DatasetCoverage, GapLine};
use crate::guest::GuestHost;
use crate::report::InventoryReport;

/// `adce status --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    pub name: String,
    pub lake: String,
    pub at: Timestamp,
    /// `null`: no engine runs, and the rest is what the state remembers.
    pub engine: Option<EngineStatus>,
    pub complete: bool,
    /// Whether each dataset has as much as its `require` asks for; `null`: none asks for anything.
    #[serde(default)]
    pub healthy: Option<bool>,
    pub coverage: Counts,
    pub datasets: IndexMap<String, DatasetCoverage>,
    pub gaps: GapCounts,
    pub eta_seconds: Option<f64>,
    pub sources: IndexMap<String, SourceStatus>,
    /// Only those that are held back.
    #[serde(default)]
    pub collectors: IndexMap<String, CollectorStatus>,
    pub running: Vec<RunningAttempt>,
    pub slots: Share,
    /// What a person should look at.
    pub look: Vec<LookAt>,
    /// By which inventory report this is known; `null`: the config names none.
    #[serde(default)]
    pub report: Option<InventoryReport>,
    /// Surprises that are held.
    #[serde(default)]
    pub held: Vec<String>,
    /// What does not start, by hand or in a maintenance window.
    #[serde(default)]
    pub paused: Vec<PauseLine>,
}

/// A queue, a webhook, a watched folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FeedStatus {
    pub feed: String,
    /// `listening`, `failing` (it tries again by itself) or `deaf` (it cannot tell anything here).
    pub state: String,
    /// Why it is failing or deaf.
    #[serde(default)]
    pub reason: Option<String>,
    /// Events since the engine started.
    pub events: u64,
    /// Of those, of keys that no dataset expects.
    pub unexpected: u64,
    /// When the latest of them happened, by the store's clock.
    pub last_at: Option<Timestamp>,
    /// From then until it was heard of here.
    pub lag_seconds: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineStatus {
    pub pid: u32,
    pub started_at: Timestamp,
    /// Digest of the config's files.
    pub config: String,
    /// When the newest of them was last changed.
    #[serde(default)]
    pub config_changed_at: Option<Timestamp>,
    pub last_cycle: Option<CycleStatus>,
    pub next_cycle: Option<Timestamp>,
    /// What tells it of changes in the lake between two full looks.
    #[serde(default)]
    pub feeds: Vec<FeedStatus>,
    /// Why the config as it is now is not in force.
    #[serde(default)]
    pub config_errors: Vec<String>,
    /// Ctrl-C came: what runs is finished, nothing starts.
    #[serde(default)]
    pub stopping: bool,
    /// Where browsers and programs ask it: `http://127.0.0.1:7780`; `null`: nowhere.
    #[serde(default)]
    pub address: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CycleStatus {
    pub began_at: Timestamp,
    pub seconds: f64,
    /// `null`: it saw everything.
    pub error: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GapCounts {
    pub queued: u64,
    pub running: u64,
    pub waiting: u64,
    pub held: u64,
    pub exhausted: u64,
}

impl GapCounts {
    pub fn total(&self) -> u64 {
        self.queued + self.running + self.waiting + self.held + self.exhausted
    }

    pub fn count(&mut self, state: GapState) {
        match state {
            GapState::Queued => self.queued += 1,
            GapState::Running => self.running += 1,
            GapState::Waiting => self.waiting += 1,
            GapState::Held => self.held += 1,
            GapState::Exhausted => self.exhausted += 1,
        }
    }
}

/// So many of so many; `of: null` means without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    pub used: u32,
    pub of: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    #[default]
    Ok,
    /// Upstream asked to be left alone for a while.
    Paused,
    /// The breaker stops calls.
    Open,
    /// The breaker lets one call through to see.
    HalfOpen,
}

impl SourceState {
    pub fn word(self) -> &'static str {
        match self {
            SourceState::Ok => "ok",
            SourceState::Paused => "paused",
            SourceState::Open => "open",
            SourceState::HalfOpen => "half-open",
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceStatus {
    pub state: SourceState,
    pub until: Option<Timestamp>,
    /// Of a breaker that is not closed: when it opened.
    #[serde(default)]
    pub since: Option<Timestamp>,
    pub reason: Option<String>,
    pub windows: Vec<WindowNow>,
    pub in_flight: Share,
    /// Answers of 429 since this engine started.
    pub throttled: u64,
    /// Of these, since midnight UTC.
    #[serde(default)]
    pub throttled_today: u64,
    /// Since this engine started.
    #[serde(default)]
    pub traffic: Traffic,
    /// Items that wait for this source.
    pub waiting: u64,
    pub next_permit_seconds: Option<f64>,
    /// So many attempts take all that its limits admit, as far as that was seen.
    #[serde(default)]
    pub useful_slots: Option<u32>,
    /// Why no more attempts at it start, if that is because they would only wait for permits.
    #[serde(default)]
    pub would_wait: Option<String>,
    /// How values stand to the limits that each has for itself; `null`: there are none.
    #[serde(default)]
    pub values: Option<ValuesNow>,
}

/// Values of what a source's limits are told apart `by`. However many there are, only the worst few are named.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValuesNow {
    /// `customer`.
    pub by: String,
    /// Values that have used something which still counts.
    pub known: u64,
    /// Of these: the next request waits for their own limits.
    pub waiting: u64,
    /// Values that are not asked for: they keep failing, or upstream asked for a pause of them.
    #[serde(default)]
    pub shut: u64,
    /// Those that are not asked for, those that wait for longest, and then those that have used the most of a window.
    pub worst: Vec<ValueNow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PauseNow {
    pub until: Timestamp,
    /// `null`: upstream asked for it (`Retry-After`).
    pub because: Option<String>,
}

/// A breaker that is not closed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BreakerNow {
    pub since: Timestamp,
    pub reason: String,
    /// `null`: a probe is under way.
    pub next_probe: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueNow {
    /// `null`: of all requests of which nobody knows whose they are.
    pub value: Option<String>,
    pub windows: Vec<WindowNow>,
    pub in_flight: u32,
    /// What its next request waits for: `per_minute: 60`.
    pub limit: Option<String>,
    pub next_permit_seconds: Option<f64>,
    /// Its own, if that is not closed.
    #[serde(default)]
    pub breaker: Option<BreakerNow>,
    /// It is left alone for a while.
    #[serde(default)]
    pub pause: Option<PauseNow>,
}

/// How full one exact window is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowNow {
    pub seconds: f64,
    pub limit: u32,
    pub used: u32,
    /// Of what is not used: set aside by `reserve`, and idle.
    #[serde(default)]
    pub set_aside: u32,
    /// The share of it that constant demand can use, because a request counts until its window after it settled. `null`: nothing
    /// has settled yet, or nobody asked for it.
    #[serde(default)]
    pub usable: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunningAttempt {
    pub attempt: AttemptId,
    pub task: TaskId,
    pub collector: String,
    pub source: Option<String>,
    /// For a person: dataset and group.
    pub what: String,
    /// Counted from 1.
    pub number: u32,
    pub started_at: Timestamp,
    pub items: u32,
    /// By the collector's own count: its `progress` lines, else the items that it called done.
    pub landed: u64,
    /// Of so many; `items` unless the collector counts something else.
    #[serde(default)]
    pub landing: u64,
    pub pid: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LookAt {
    /// A key, task, dataset or source.
    pub what: String,
    pub text: String,
    /// What to type to learn more.
    pub command: Option<String>,
}

/// A line of `adce tasks --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskLine {
    pub id: TaskId,
    pub collector: String,
    pub source: Option<String>,
    pub priority: PriorityLevel,
    /// In points.
    pub score: f64,
    pub state: GapState,
    pub items: u32,
    /// Key of its first gap.
    pub key: String,
    pub detected_at: Timestamp,
    pub next_try: Option<Timestamp>,
    /// Of a running one: how far its collector says it is.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// `null`: no engine runs.
    #[serde(default)]
    pub score_parts: Option<ScoreParts>,
}

/// What a score is made of: (`base` + `age`) × `importance` × `size` × `success`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScoreParts {
    /// Points of its priority, and of its age.
    pub base: f64,
    pub age: f64,
    /// Factors.
    pub importance: f64,
    pub size: f64,
    pub success: f64,
}

/// `adce tasks show ID --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskDetail {
    /// `null`: the task is done; its history is kept for a while.
    pub task: Option<TaskLine>,
    /// Of a task that a running engine knows: the first gate that holds it, in words.
    #[serde(default)]
    pub held_by: Option<String>,
    /// Of such a task: what it has waited for since it was tried last, in the order in which that was over.
    #[serde(default)]
    pub waits: Vec<WaitedLine>,
    /// Tasks that started meanwhile and ranked above all of its kind.
    #[serde(default)]
    pub better: u64,
    pub gaps: Vec<GapLine>,
    /// Oldest first.
    pub attempts: Vec<AttemptLine>,
    pub events: Vec<EventLine>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptLine {
    pub attempt: AttemptId,
    /// The task that had the items then, if that was another one: it was split, or its items came together with others.
    #[serde(default)]
    pub of: Option<TaskId>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// `exit 0`, `signal 9`, `timeout after 10m`, `http`.
    pub ended: String,
    pub requests: u64,
    /// Its engine was killed: the next one ended what was left of it, at `ended_at`.
    #[serde(default)]
    pub cut_short: bool,
    pub outcomes: Vec<OutcomeLine>,
    pub log_tail: String,
    pub log: Option<String>,
    /// `null`: its engine was killed, or was older than this is told.
    #[serde(default)]
    pub story: Option<StoryLine>,
    /// What it sent through adce and what came back; `null`: nothing, or its engine was older than this is told.
    #[serde(default)]
    pub traffic: Option<AttemptTraffic>,
}

/// What was asked, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// Sent, each redirect and each repetition too.
    pub requests: u64,
    /// Of bodies, without heads; of connections that nobody can look into, all of them.
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Answers by class (`2xx`, `4xx`, …), and of these 429 and 503; only what came at all.
    pub statuses: IndexMap<String, u64>,
    /// Requests to which no answer came.
    pub no_answer: u64,
    /// Requests that waited for a permit, and all of them together.
    pub waits: u64,
    pub waited_seconds: f64,
    /// Requests that `absorb` sent once more.
    pub sent_again: u64,
}

/// Of one attempt: also hosts that no source declares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptTraffic {
    #[serde(flatten)]
    pub traffic: Traffic,
    /// The first few.
    pub uncovered: Vec<GuestHost>,
    /// What went to, or was refused, others.
    pub uncovered_others: u64,
}

/// What the queue knew of an attempt when it began, and what became of its gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoryLine {
    /// In points.
    pub score: f64,
    /// Its place among the best tasks of all kinds that were ready; 1: nothing that was held back scored higher.
    pub rank: u32,
    /// Tasks that were ready, itself included.
    pub ready: u64,
    /// What it waited for since it was tried last, in the order in which that was over; the eight longest ones.
    #[serde(default)]
    pub waits: Vec<WaitedLine>,
    /// The last of these. `null`: nothing held it back.
    pub waited: Option<WaitedLine>,
    /// Tasks that started while it stood in line and ranked above all of its kind.
    #[serde(default)]
    pub better: u64,
    pub items: Vec<ItemStory>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WaitedLine {
    /// When this held it back first.
    pub since: Timestamp,
    /// Altogether.
    pub seconds: f64,
    #[serde(default)]
    pub times: u32,
    /// `limit`, `breaker`, `retry`, `slots`, …
    #[serde(default)]
    pub kind: String,
    /// For a person.
    pub reason: String,
}

/// One gap of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemStory {
    pub gap: GapId,
    pub key: String,
    pub reason: Reason,
    pub detected_at: Timestamp,
    /// It was exhausted, and this attempt began a new round.
    pub revived: bool,
    /// Used up of its round, before and after.
    pub attempts_before: u32,
    /// `null`: it is closed.
    pub attempts: Option<u32>,
    /// Where it stood afterwards; `null`: it is closed.
    pub state: Option<GapState>,
    pub next_try: Option<Timestamp>,
    /// The task that went on with it, if that is another one.
    pub task: Option<TaskId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeLine {
    pub gap: GapId,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    pub at: Timestamp,
    #[serde(default)]
    pub gap: Option<GapId>,
    pub text: String,
}

/// `adce limits --format json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsReport {
    /// All sources together.
    pub all: SourceLimits,
    pub sources: IndexMap<String, SourceLimits>,
    /// Only those that are held back.
    #[serde(default)]
    pub collectors: IndexMap<String, CollectorStatus>,
    /// `engine.reserve`: what is set aside for whom.
    #[serde(default)]
    pub reserve: Vec<ReserveShare>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReserveShare {
    pub priority: PriorityLevel,
    /// Of each window, from 0 to 1.
    pub share: f64,
    pub slots: Share,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceLimits {
    pub windows: Vec<WindowNow>,
    pub burst: Option<u32>,
    pub min_delay_seconds: Option<f64>,
    pub in_flight: Share,
    /// Of bodies, sent and received together; `null`: as they come.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    pub linger_seconds: f64,
    pub state: SourceState,
    pub until: Option<Timestamp>,
    /// Of a breaker that is not closed: when it opened.
    #[serde(default)]
    pub since: Option<Timestamp>,
    pub reason: Option<String>,
    pub next_permit_seconds: Option<f64>,
    /// So many attempts take all of this, as far as that was seen.
    #[serde(default)]
    pub useful_slots: Option<u32>,
    /// Why no more attempts start, if that is because they would only wait for permits.
    #[serde(default)]
    pub would_wait: Option<String>,
    /// `margin: 30ms`: no proof; `null`: `bracket`.
    #[serde(default)]
    pub margin_seconds: Option<f64>,
    /// From sent to settled, on average; `null`: nothing has settled in this run.
    #[serde(default)]
    pub settle_seconds: Option<f64>,
    /// What it was asked since the engine started; `null`: nothing, or no engine runs.
    #[serde(default)]
    pub traffic: Option<Traffic>,
    /// What its answers have taught, if that is slower than what is declared.
    #[serde(default)]
    pub learned: Option<LearnedRate>,
    /// What upstream says that it allows.
    #[serde(default)]
    pub told: Vec<ToldLimit>,
    /// For a person: what might be declared instead. Nothing is ever loosened by itself.
    #[serde(default)]
    pub suggestions: Vec<String>,
    /// What each value has for itself, as declared; `null`: nothing is told apart.
    #[serde(default)]
    pub each: Option<Box<SourceLimits>>,
    #[serde(default)]
    pub values: Option<ValuesNow>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LearnedRate {
    /// Of the full rate, from 0 to 1, after it refused; `null`: its own policy is stricter.
    pub share: Option<f64>,
    /// From one request to the next.
    pub every_seconds: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToldLimit {
    pub requests: u32,
    pub seconds: f64,
}

/// A collector whose breaker is not closed: it crashes on everything, and is not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CollectorStatus {
    /// `open` or `half_open`.
    pub state: SourceState,
    /// The next probe; `null`: it is under way.
    pub until: Option<Timestamp>,
    pub since: Timestamp,
    pub reason: String,
    /// Items that wait for it.
    pub waiting: u64,
}

/// `adce why … --format json`: the first gate that holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    pub what: String,
    /// One sentence.
    pub answer: String,
    /// What the answer rests on, most important first.
    pub facts: Vec<String>,
    /// What a person could type next.
    pub next: Vec<String>,
    /// Of a key that is expected: whose it is.
    #[serde(default)]
    pub dataset: Option<String>,
    /// `game=401, quarter=q1`
    #[serde(default)]
    pub item: Option<String>,
    /// Of a key that nobody expects: where it stops being like the keys of a dataset, the closest first.
    #[serde(default)]
    pub near: Vec<NearMiss>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NearMiss {
    pub dataset: String,
    /// The dataset's key, as the config has it.
    pub template: String,
    /// Bytes of the key that are as they should be.
    pub at: u64,
    /// For a person: `` `.json` should follow ``.
    pub wanted: String,
}

/// What `adce accept` took over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    pub surprises: Vec<String>,
    /// Keys of contested objects that may be fetched again.
    #[serde(default)]
    pub released: Vec<String>,
}

/// A line of `adce retry --format json`: a gap that waited for a time of its own, and what came of asking for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryLine {
    pub item: ItemId,
    pub dataset: String,
    pub key: String,
    /// The one that it is in now.
    pub task: Option<TaskId>,
    pub retried: bool,
    /// Before: `waiting` for a retry, or `exhausted`; of one that was not retried, where it stands.
    pub was: GapState,
    /// Used up of this round before.
    pub attempts: u32,
    /// When it would have been tried.
    pub next_try: Option<Timestamp>,
    /// Of one that was not retried: why.
    pub why_not: Option<String>,
}
