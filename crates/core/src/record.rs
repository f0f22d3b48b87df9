//! What adce remembers, as plain data: what a state holds, and the changes that are made to it.
//!
//! The store keeps these; the queue decides them. Nothing is lost by a kill because every change is on disk before
//! its effect (a lease before the spawn, a reservation before the first request under it), and everything else can be
//! worked out again from the lake.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Deserializer, Serialize};

use crate::access::{AuditRecord, TokenRecord};
use crate::coverage::{Picture, TrendPoint};
use crate::gap::{Gap, Outcome, Reason, Standing, Task};
use crate::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId};
use crate::job::JobRecord;
use crate::pause::{Pause, PauseOf};
use crate::queue::{Gate, Score};
use crate::time::{BootId, Boottime, Moment, Timestamp};
use crate::traffic::Traffic;

/// Everything a starting engine needs from its predecessor.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    pub picture: Option<Picture>,
    /// A picture that differs too much to be believed at once.
    pub held: Option<HeldPicture>,
    /// Open gaps only.
    pub gaps: Vec<Gap>,
    pub tasks: Vec<Task>,
    pub items: HashMap<ItemId, ItemRecord>,
    /// Leases that nobody finished: after a clean end there are none.
    pub leases: Vec<Lease>,
    pub processes: Vec<ProcessRecord>,
    /// All that may still count against a window, and all unsettled ones.
    pub reservations: Vec<Reservation>,
    pub sources: HashMap<String, SourceRecord>,
    /// By source: what single values of it have for themselves (`customer=acme`), of those that are not as good as new.
    pub values: HashMap<String, HashMap<String, SourceRecord>>,
    /// Breakers of collectors.
    pub collectors: HashMap<String, BreakerRecord>,
    /// Per collector: did each of its last 50 attempts fill something? Oldest first.
    pub success: HashMap<String, Vec<bool>>,
    /// By a person.
    pub pauses: BTreeMap<PauseOf, Pause>,
    pub jobs: BTreeMap<String, JobRecord>,
    /// In the order of their names.
    pub tokens: Vec<TokenRecord>,
    /// The latest instant anything was recorded at: a wall clock before it was set back.
    pub latest: Option<Timestamp>,
}

/// A new picture under suspicion (promise 9).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldPicture {
    pub picture: Picture,
    /// When the cycle that first saw it began.
    pub first_seen: Timestamp,
    /// What is surprising, in words.
    pub surprises: Vec<String>,
    /// A person said that it is right (`adce accept`).
    pub accepted: bool,
}

/// What is on record about an item beyond its gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// Start of the last attempt whose outcome was done or unchanged.
    pub confirmed: Option<Timestamp>,
    pub absent: Option<AbsentMark>,
    /// The ETag that an attempt that did not end well left, or that failed `valid`: that very object is suspect.
    pub suspect_etag: Option<String>,
    /// The last episode number used for this item's gaps; 0: none yet.
    pub episodes: u32,
    /// When its object was found gone that had been filled within a day before: the latest ones, oldest first.
    #[serde(default)]
    pub losses: Vec<Timestamp>,
}

/// In place of an ETag in [`ItemRecord::suspect_etag`]: an attempt that did not end well may have changed the object, and
/// the lake could not be asked. No store gives this one.
const WHATEVER_IS_THERE: &str = "*";

impl ItemRecord {
    /// Whatever lies at the key, nobody may take it for good until somebody looked.
    pub fn put_in_doubt(&mut self) {
        self.suspect_etag = Some(WHATEVER_IS_THERE.into());
    }

    pub fn is_in_doubt(&self) -> bool {
        self.suspect_etag.as_deref() == Some(WHATEVER_IS_THERE)
    }
}

/// Upstream has no such thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsentMark {
    pub since: Timestamp,
    pub recheck_at: Timestamp,
    /// How often it was confirmed; the pause doubles with each.
    pub confirmed: u32,
    /// Digest of key, for, where and the collector's argv/url: the mark is void when it changes.
    pub fingerprint: u64,
}

/// Permits that were, or may have been, used: survives a kill, so that a successor never exceeds a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub id: u64,
    /// `None`: a charge on the limits of all sources together only.
    pub source: String,
    /// Of what the source's limits are told apart by; `None`: they are not, or nobody knows whose the requests are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub permits: u32,
    pub boot_id: BootId,
    /// No request under this reservation was sent before.
    pub first_sent: Boottime,
    pub first_sent_wall: Timestamp,
    /// `None`: not settled; after an unclean end all its permits count as sent.
    pub settled: Option<SettledReservation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledReservation {
    pub used: u32,
    pub last_arrival: Boottime,
    pub last_arrival_wall: Timestamp,
}

/// A process group that an engine started, so that a successor can end it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    pub attempt: AttemptId,
    pub boot_id: BootId,
    pub process_group: i32,
    /// `starttime` of /proc/PID/stat in clock ticks since boot: tells a reused pid apart.
    pub start_ticks: u64,
}

/// An attempt's claim on the gaps of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    pub attempt: AttemptId,
    /// 0 in a request; the store gives the real one.
    pub token: FencingToken,
    pub task: TaskId,
    pub collector: String,
    pub gaps: Vec<GapId>,
    pub started_at: Timestamp,
    /// It holds until then, if it is not renewed ([`crate::lease`]).
    pub until: Moment,
    /// Gaps whose staged objects the engine has begun to publish; none before it begins.
    pub staged: Vec<GapId>,
}

/// State of a source's breaker and pause, or of those that one value of it has for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceRecord {
    #[serde(flatten)]
    pub breaker: BreakerRecord,
    /// It is left alone until then.
    pub paused_until: Option<Timestamp>,
    /// For a person: why. `None`: upstream asked for it (`Retry-After`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_because: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<LearnedRecord>,
}

/// What a source's refusals have taught (`limits::learned`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LearnedRecord {
    /// Pauses for which upstream did not say how long, and the last of them.
    pub pauses_in_a_row: u32,
    pub pause_seconds: u64,
    pub pause_ends: Option<Timestamp>,
    /// Of the full rate, in thousandths, until `since`, and one step more with each round after it.
    pub share_permille: u32,
    pub since: Option<Timestamp>,
    pub round_micros: u64,
    /// From one request to the next, where no window is declared.
    pub full_rate_micros: u64,
}

/// State of a breaker, of a source or of a collector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakerRecord {
    /// In a row.
    pub failures: u32,
    /// The next probe is then; `None`: closed.
    pub open_until: Option<Timestamp>,
    pub reason: Option<String>,
    /// Open since.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Since it opened: each doubles the pause.
    #[serde(default)]
    pub probes_failed: u32,
}

/// One thing to be remembered. A list of them is applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// New, or in place of the one with this id.
    PutGap(Gap),
    CloseGap {
        gap: GapId,
        at: Timestamp,
        why: Closed,
    },
    PutTask(Task),
    RemoveTask(TaskId),
    PutItem(ItemId, ItemRecord),
    PutPicture(Picture),
    PutHeldPicture(Option<HeldPicture>),
    /// Where datasets stood at one look. Older points that need not be kept go.
    PutTrend(Vec<(String, TrendPoint)>),
    PutSource(String, SourceRecord),
    /// `None`: there is nothing to be remembered of it any more.
    PutValue {
        source: String,
        value: String,
        record: Option<SourceRecord>,
    },
    PutCollector(String, BreakerRecord),
    PutSuccess(String, Vec<bool>),
    /// By a person; `None`: it is over.
    PutPause(PauseOf, Option<Pause>),
    PutJob(String, JobRecord),
    /// New, or in place of the one of this name.
    PutToken(TokenRecord),
    Audit(AuditRecord),
    /// A process group exists for this attempt.
    Started(ProcessRecord),
    /// Marks that publishing begins, and of what; refused if the token is not current.
    Publishing {
        attempt: AttemptId,
        token: FencingToken,
        staged: Vec<GapId>,
        /// The lease holds until then.
        until: Moment,
    },
    /// Leases of these attempts hold until then, also where they had expired; refused as a whole if one is over.
    Renew {
        attempts: Vec<AttemptId>,
        until: Moment,
    },
    /// Ends a lease that has expired, whoever has it: its gaps are free, its task stays as it is, and what its attempt still sends
    /// is stale. Refused while it holds; without one, nothing happens. To be written by whoever knows that no process of the attempt
    /// runs on this host.
    Lapse {
        attempt: AttemptId,
        now: Moment,
    },
    /// Ends the lease and records what came of it; refused if the token is not current.
    Finish(AttemptRecord),
    /// Gives back a lease under which nothing was started; without one, nothing happens.
    Release(AttemptId),
    Reserve(Reservation),
    SettleReservation {
        id: u64,
        settled: SettledReservation,
    },
    ForgetReservation(u64),
    Event(Event),
}

/// Why a gap is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// An attempt put a checked object there, or confirmed the one there.
    Filled,
    /// The listing shows it as it should be; nobody here did it.
    FoundFilled,
    Absent,
    /// The config does not expect it any more, or it is not due now.
    NotExpected,
    Expired,
    /// The dataset's `since` has passed it.
    OutOfScope,
}

impl Closed {
    pub fn word(self) -> &'static str {
        match self {
            Closed::Filled => "filled",
            Closed::FoundFilled => "found filled",
            Closed::Absent => "absent",
            Closed::NotExpected => "not expected any more",
            Closed::Expired => "expired",
            Closed::OutOfScope => "out of scope: older than `since`",
        }
    }

    /// The line of the history.
    pub fn told(self) -> String {
        format!("gap closed: {}", self.word())
    }
}

/// An attempt that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    pub attempt: AttemptId,
    pub token: FencingToken,
    pub task: TaskId,
    pub collector: String,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// `exit 0`, `signal 9`, `timeout after 10m`, `http`.
    pub ended: String,
    pub requests: u64,
    pub outcomes: Vec<(GapId, Outcome)>,
    /// Tail of its log, for `tasks show`.
    pub log_tail: String,
    pub log: Option<std::path::PathBuf>,
    /// `None`: its engine was killed, or is older than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub story: Option<Story>,
    /// What it sent through adce and what came back; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Box<Traffic>>,
}

/// [`AttemptRecord::ended`] of one whose engine was killed: nobody saw how it ended.
pub(crate) const CUT_SHORT: &str = "the engine ended";

impl AttemptRecord {
    pub fn was_cut_short(&self) -> bool {
        self.ended == CUT_SHORT
    }

    /// Some of its gaps went on in that task.
    fn left_to(&self, task: TaskId) -> bool {
        let mut left = self.story.iter().flat_map(|story| &story.gaps).filter_map(|gap| gap.left.as_ref());
        left.any(|left| left.task == Some(task))
    }
}

/// What the queue knew of an attempt when it began, and decided when it was over. It is part of the attempt's own record:
/// events of their own would cost as many rows as attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Story {
    pub score: Score,
    /// Its place among the best tasks of all kinds that were ready; 1: nothing that was held back scored higher.
    pub rank: u32,
    /// Tasks that were ready, itself included.
    pub ready: u64,
    /// What it waited for since it was tried last, in the order in which that was over; the longest ones, if there were many. What
    /// an older engine wrote is one of them.
    #[serde(default, alias = "waited", deserialize_with = "one_or_many", skip_serializing_if = "Vec::is_empty")]
    pub waits: Vec<Waited>,
    /// Tasks that started while it stood in line and ranked above all of its kind.
    #[serde(default, skip_serializing_if = "is_none_of_them")]
    pub better: u64,
    pub gaps: Vec<GapStory>,
}

/// One reason for which a task did not start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waited {
    /// When it held the task first.
    pub since: Timestamp,
    /// Altogether. 0: an older engine did not tell; it was until the start.
    #[serde(default)]
    pub micros: u64,
    #[serde(default = "once")]
    pub times: u32,
    /// As it was seen last.
    pub gate: Gate,
}

fn once() -> u32 {
    1
}

fn is_none_of_them(count: &u64) -> bool {
    *count == 0
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Waited>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Told {
        Many(Vec<Waited>),
        One(Option<Waited>),
    }
    Ok(match Told::deserialize(from)? {
        Told::Many(waits) => waits,
        Told::One(waited) => waited.into_iter().collect(),
    })
}

/// One gap in the story of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapStory {
    pub gap: GapId,
    pub key: String,
    pub reason: Reason,
    pub detected_at: Timestamp,
    /// Where it stood before: an exhausted one was revived by this attempt.
    pub was: Standing,
    /// Used up of its round before.
    pub attempts: u32,
    /// `None`: it is closed.
    pub left: Option<Left>,
}

/// Where an attempt left a gap that stays open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub standing: Standing,
    pub attempts: u32,
    pub next_try: Option<Timestamp>,
    /// The task that has it now, if that is another one.
    pub task: Option<TaskId>,
}

/// A line of the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    pub task: Option<TaskId>,
    pub gap: Option<GapId>,
    /// For a person, one line.
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    pub attempts: Vec<AttemptRecord>,
    pub events: Vec<Event>,
}

impl History {
    /// Keeps of events that name no task only those of gaps that this one has tried or has now, and of other tasks' attempts, what they
    /// were to gaps that came from there to this one.
    pub fn of_one_task(mut self, task: TaskId, gaps_now: impl IntoIterator<Item = GapId>) -> History {
        let tried = self.attempts.iter().filter(|attempt| attempt.task == task).flat_map(|attempt| &attempt.outcomes);
        let gaps: HashSet<GapId> = tried.map(|(gap, _)| *gap).chain(gaps_now).collect();
        self.events.retain(|event| event.task.is_some() || event.gap.is_some_and(|gap| gaps.contains(&gap)));
        let mut lineage = HashSet::from([task]);
        while let Some(more) = self.attempts.iter().find(|one| !lineage.contains(&one.task) && lineage.iter().any(|of| one.left_to(*of))) {
            lineage.insert(more.task);
        }
        self.attempts.retain_mut(|attempt| {
            if attempt.task != task {
                attempt.outcomes.retain(|(gap, _)| gaps.contains(gap));
                attempt.story.iter_mut().for_each(|story| story.gaps.retain(|of| gaps.contains(&of.gap)));
            }
            lineage.contains(&attempt.task) && (attempt.task == task || !attempt.outcomes.is_empty())
        });
        self
    }

    /// Adds the events that no store keeps because the attempts themselves say so: that a gap was filled.
    pub fn with_fills(mut self) -> History {
        let fills = self.attempts.iter().flat_map(|attempt| {
            let filled = attempt.outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged));
            filled.map(|(gap, _)| Event { at: attempt.ended_at, task: Some(attempt.task), gap: Some(*gap), text: Closed::Filled.told() })
        });
        let mut fills = fills.collect::<Vec<Event>>().into_iter().peekable();
        // In the order in which they were recorded, whatever somebody did to the clock.
        for event in std::mem::take(&mut self.events) {
            while let Some(fill) = fills.next_if(|fill| fill.at <= event.at) {
                self.events.push(fill);
            }
            self.events.push(event);
        }
        self.events.extend(fills);
        self
    }
}
