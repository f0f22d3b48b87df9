//! What holds a task or a gap back: the first thing that would have to change before it could start.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, TaskId};
use crate::pause::PauseOf;
use crate::spec::PriorityLevel;
use crate::time::{Boottime, Timestamp};

/// The first gate that is shut. In this order, because opening a later one would change nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "gate")]
pub enum Gate {
    /// It runs.
    Running { attempt: AttemptId },
    /// The dataset has no collector: it is only watched.
    OnlyWatched,
    /// A person left it out of this run (`--select`).
    NotSelected,
    /// A sudden change is a suspicion until it is confirmed or accepted.
    Surprise { dataset: Option<String> },
    /// A person, or a maintenance window, keeps it from starting. `until`: the window's end.
    Paused { of: PauseOf, since: Timestamp, until: Option<Timestamp>, because: Option<String> },
    /// An attempt failed; the next one comes then.
    Retry { until: Timestamp },
    /// Upstream does not have it yet.
    NotYet { until: Timestamp },
    /// All attempts are used up; revived then.
    Exhausted { until: Timestamp },
    /// Its source says of too many at once that it has no such thing; one of them is asked for again then.
    Doubted { until: Timestamp },
    /// Filled and gone three times in a day: left alone until then, or until a person says so.
    Contested { until: Timestamp },
    /// A person does not want it tried before then.
    Cancelled { until: Timestamp },
    /// The source keeps failing and is not asked. `until`: the next probe; `None`: one is under way. `value`: it fails for this one
    /// alone (`customer=acme`).
    Breaker {
        source: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        until: Option<Timestamp>,
        since: Timestamp,
        reason: String,
    },
    /// The collector keeps crashing and is not started.
    CollectorBreaker { collector: String, until: Option<Timestamp>, since: Timestamp, reason: String },
    /// Upstream asked to be left alone; or it is, because of what it did (`lets requests hang`).
    RetryAfter {
        source: String,
        /// Only this one is (`customer=acme`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        until: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// As many tasks as may start from one full look to the next have started; `priority` `None`: of all together. `until`: when
    /// the next look is due.
    Cap { priority: Option<PriorityLevel>, tasks: u32, until: Timestamp },
    /// Its task stood in line for longer than `task_ttl`; it makes a new one when a slot is free for nothing else, and at the latest
    /// with the next look, which is due then.
    StandsBack { until: Timestamp },
    /// A declared limit has no room. `source` `None`: that of all sources together; `value`: that of this value alone
    /// (`customer=acme`).
    Limit {
        source: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        limit: String,
        until: Option<Boottime>,
    },
    /// What is left of a window (whose it is, as of a limit) is set aside for other priorities.
    SetAside {
        source: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        limit: String,
        for_priorities: Vec<PriorityLevel>,
        until: Option<Boottime>,
    },
    /// A better-scored task or request of the source waits for permits, and is not passed any more.
    Reserved { source: String, task: TaskId },
    /// So many attempts take all that its source admits: in any other of the slots it would only wait for permits.
    WouldWait { source: String, at_work: u32, slots: u32 },
    /// The free slots are set aside for other priorities.
    SlotsSetAside { slots: u32, for_priorities: Vec<PriorityLevel> },
    /// All slots are taken.
    Slots { slots: u32 },
    /// Slots are free, and so many attempts, more than there are slots, still publish what they have: more must not gather.
    Publishing { attempts: u32, slots: u32 },
    /// It can start; `ahead` tasks that can start score higher.
    Turn { ahead: u64 },
}

impl Gate {
    /// The same thing holds, whatever has become of its times.
    pub fn is_like(&self, other: &Gate) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.whose() == other.whose()
    }

    /// Whose gate it is, and which of theirs.
    fn whose(&self) -> (Option<&str>, Option<(&str, Option<&str>)>) {
        match self {
            Gate::Breaker { source, value, .. } => (Some(source), value.as_deref().map(|value| ("breaker", Some(value)))),
            Gate::RetryAfter { source, value, .. } => (Some(source), value.as_deref().map(|value| ("retry_after", Some(value)))),
            Gate::Reserved { source, .. } | Gate::WouldWait { source, .. } => (Some(source), None),
            Gate::CollectorBreaker { collector, .. } => (Some(collector), None),
            Gate::Paused { of, .. } => (of.name(), None),
            Gate::Limit { source, limit, value, .. } | Gate::SetAside { source, limit, value, .. } => {
                (source.as_deref(), Some((limit, value.as_deref())))
            }
            _ => (None, None),
        }
    }

    /// What kind of thing it is, for a line of history.
    pub fn word(&self) -> &'static str {
        match self {
            Gate::Running { .. } => "running",
            Gate::OnlyWatched => "only watched",
            Gate::NotSelected => "`--select`",
            Gate::Surprise { .. } => "a surprise",
            Gate::Paused { .. } => "a pause by hand, or a maintenance window",
            Gate::Retry { .. } => "a retry",
            Gate::NotYet { .. } => "upstream has it not yet",
            Gate::Exhausted { .. } => "exhausted",
            Gate::Doubted { .. } => "a doubted absence",
            Gate::Contested { .. } => "contested",
            Gate::Cancelled { .. } => "cancelled by hand",
            Gate::Breaker { value: None, .. } => "the breaker of its source",
            Gate::Breaker { value: Some(_), .. } => "the breaker of its value",
            Gate::CollectorBreaker { .. } => "the breaker of its collector",
            Gate::RetryAfter { value: None, .. } => "a pause that its source asked for",
            Gate::RetryAfter { value: Some(_), .. } => "a pause that its source asked for, of its value",
            Gate::Cap { .. } => "`tasks_per_cycle`",
            Gate::StandsBack { .. } => "`task_ttl`",
            Gate::Limit { .. } => "a limit",
            Gate::SetAside { .. } | Gate::SlotsSetAside { .. } => "what is set aside for other priorities",
            Gate::Reserved { .. } => "a better-scored task that waits for permits",
            Gate::Slots { .. } => "all slots taken",
            Gate::Publishing { .. } => "attempts that still publish",
            Gate::WouldWait { .. } => "permits that other attempts of its source took",
            Gate::Turn { .. } => "tasks that score higher",
        }
    }

    /// Of a gate that shuts a whole source: who is not asked, until when and why, for a line of history.
    pub fn told(&self) -> String {
        let clock = |at: &Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        match self {
            Gate::Breaker { source, value, until: Some(until), reason, .. } => {
                format!("{} is open until {} ({reason})", whose_breaker(source, value.as_deref()), clock(until))
            }
            Gate::Breaker { source, value, until: None, reason, .. } => {
                format!("{} is open ({reason}), and a probe is under way", whose_breaker(source, value.as_deref()))
            }
            Gate::RetryAfter { source, value, until, because: Some(because) } => {
                let alone = value.as_ref().map_or_else(String::new, |value| format!(" with {value}"));
                format!("`{source}` {because}, and is left alone{alone} until {}", clock(until))
            }
            Gate::RetryAfter { source, value, until, because: None } => {
                let alone = value.as_ref().map_or_else(String::new, |value| format!(" with {value}"));
                format!("`{source}` asked to be left alone{alone} until {}", clock(until))
            }
            other => other.word().to_owned(),
        }
    }

    /// It holds one value alone: others of the source are not concerned.
    pub fn is_of_one_value(&self) -> bool {
        if let Gate::RetryAfter { value, .. } = self {
            return value.is_some();
        }
        matches!(self, Gate::Limit { value: Some(_), .. } | Gate::SetAside { value: Some(_), .. } | Gate::Breaker { value: Some(_), .. })
    }

    /// Declared by the user, and nobody's fault: who waits for nothing else is not blamed for the time.
    pub fn is_limit(&self) -> bool {
        matches!(self, Gate::Limit { .. } | Gate::SetAside { .. })
    }
}

/// For a person. `value`: as in `customer=acme`.
pub fn whose_breaker(source: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("the breaker of {value} at `{source}`"),
        None => format!("the breaker of `{source}`"),
    }
}

/// What waiting can still bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prospect {
    /// Something runs, can start, or will be able to within the time given.
    Work,
    /// Nothing before this; `None`: nothing at all without a person or a new cycle.
    Later(Option<Timestamp>),
}

/// Gaps by state. Sum: all open gaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateCounts {
    pub queued: u64,
    pub running: u64,
    pub waiting: u64,
    pub held: u64,
    pub exhausted: u64,
    /// Of those that are held: in no task, because nobody collects their dataset.
    pub watched: u64,
}

/// A source as `status` and `limits` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceFigures {
    pub source: String,
    /// `None`: nothing holds the source as a whole.
    pub gate: Option<Gate>,
    pub windows: Vec<WindowFigures>,
    pub in_flight: u32,
    pub in_flight_limit: Option<u32>,
    /// So many attempts take all that its limits admit; more would only wait for permits. `None`: not seen yet, or of no use
    /// to know, because its attempts make one request each or nothing is limited.
    pub useful_attempts: Option<u32>,
    /// [`Gate::WouldWait`], if that is what keeps the best of its tasks from starting.
    pub crowd: Option<Gate>,
    /// Gaps that are ready but wait for this source.
    pub waiting_gaps: u64,
    /// When one more request could be sent, if the limits say so now.
    pub next_permit: Option<Boottime>,
    /// Consecutive failures that the breaker counted.
    pub failures: u32,
    /// Of the full rate, in thousandths, after what it refused; `None`: all of it.
    pub learned_share: Option<u32>,
    /// From one request to the next, where what was learned is slower than what is declared.
    pub learned_interval: Option<Duration>,
    /// What it says that it allows: so many requests in so long.
    pub told: Vec<(u32, Duration)>,
    /// Of limits that each value has for itself; `None`: there are none.
    #[serde(default)]
    pub values: Option<ValuesFigures>,
}

/// How values stand to the limits that each has for itself. However many there are, only the worst few are named.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValuesFigures {
    /// `customer`.
    pub by: String,
    /// Values that have used something which still counts.
    pub known: u64,
    /// Of these: the next request waits for their own limits.
    pub waiting: u64,
    /// Values that are not asked for: their breaker is open, or upstream asked for a pause of them.
    #[serde(default)]
    pub shut: u64,
    /// Those that are not asked for, those that wait for longest, and then those that have used the most of a window.
    pub worst: Vec<ValueFigures>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValueFigures {
    /// `None`: of all requests of which nobody knows whose they are.
    pub value: Option<String>,
    pub windows: Vec<WindowFigures>,
    pub in_flight: u32,
    /// What its next request waits for, and until when, if that is known.
    pub limit: Option<String>,
    pub until: Option<Boottime>,
    /// What holds it, if it is no limit.
    #[serde(default)]
    pub gate: Option<Gate>,
}

/// A collector as `status` and `limits` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectorFigures {
    pub collector: String,
    /// `None`: its breaker is closed.
    pub gate: Option<Gate>,
    /// Gaps that are ready but wait for it.
    pub waiting_gaps: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowFigures {
    /// `per_minute`.
    pub key: String,
    pub used: u32,
    pub limit: u32,
    /// Set aside for priorities that do not need it now.
    pub set_aside: u32,
}
