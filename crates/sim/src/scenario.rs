//! What a simulated world is made of: upstreams with limits and moods, collectors, datasets, and the days' accidents.
//!
//! A scenario is plain data with a text form (`scenario_text`), so that what a seed made up can be read, cut down by
//! hand and run again. It says nothing of what adce should do about it.

use adce_core::spec::{AbsentPolicy, BreakerPolicy, Limits, PriorityLevel, Requests, Reserve, RetryPolicy};

/// Microseconds.
pub type Micros = u64;

pub const SECOND: Micros = 1_000_000;
pub const MINUTE: Micros = 60 * SECOND;
pub const HOUR: Micros = 60 * MINUTE;
pub const DAY: Micros = 24 * HOUR;

#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Of everything that the world draws while it runs.
    pub seed: u64,
    pub hours: u64,
    pub slots: u32,
    pub reserve: Reserve,
    /// Tasks that may start from one full look to the next; `None`: of all priorities together.
    pub caps: Vec<(Option<PriorityLevel>, u32)>,
    /// Who stood in line for longer is ended by the next full look.
    pub task_ttl: Option<Micros>,
    pub reconcile_every: Micros,
    /// From asking the disk to being durable.
    pub commit: Span,
    /// From what a collector left until it is in the lake.
    pub publish: Span,
    /// `false`: strict priority.
    pub weighted: bool,
    /// What is filled is wanted again at once: demand never ends, and nothing converges.
    pub endless: bool,
    pub together: Limits,
    pub sources: Vec<SourceSpec>,
    pub collectors: Vec<CollectorSpec>,
    pub datasets: Vec<DatasetSpec>,
    pub crashes: Vec<Crash>,
    pub jumps: Vec<Jump>,
}

/// From and to, either both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: Micros,
    pub to: Micros,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SourceSpec {
    pub name: String,
    pub importance: f64,
    pub limits: Limits,
    /// What each value of its requests, the group of their items, has for itself.
    pub each: Option<Limits>,
    pub breaker: Option<BreakerPolicy>,
    /// That each value has for itself, beside or instead of that one; only where values have limits.
    pub each_breaker: Option<BreakerPolicy>,
    /// From the request's first byte to the answer's.
    pub latency: Span,
    pub moods: Moods,
    pub outages: Vec<Outage>,
}

/// A source is out of order, whatever the request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    pub from: Micros,
    pub to: Micros,
    pub shows: Shows,
}

/// What an outage looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Every connection is refused.
    Refused,
    /// 404 for everything: the source swallows its outage.
    NoSuchThing,
    /// 429 for everything, with its `Retry-After`.
    Busy,
}

/// How often, in thousandths, an upstream does what; until the moods end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moods {
    /// 429 for no reason of ours, with a `Retry-After` in one of two.
    pub busy: u32,
    pub error: u32,
    /// The connection breaks with no answer; the request may arrive all the same.
    pub drop: u32,
    /// An answer that is no use.
    pub garbage: u32,
    /// Ten times its latency.
    pub slow: u32,
    pub retry_after_s: u64,
    pub until: Micros,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CollectorSpec {
    pub name: String,
    pub kind: Kind,
    pub batch: u32,
    pub requests: Requests,
    pub retry: RetryPolicy,
    pub breaker: Option<BreakerPolicy>,
    /// A process dies half-way in so many of a thousand attempts.
    pub dies: u32,
    /// It goes on half-way and never ends, in so many of a thousand attempts, until its timeout.
    pub hangs: u32,
    pub timeout: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// adce sends the requests.
    Http,
    /// A process whose requests pass adce, some at a time.
    Gateway { parallel: u32 },
    /// A process that sends when it likes, and is charged ahead.
    Charged,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DatasetSpec {
    pub name: String,
    /// Position in `sources`; `None`: its collector asks nobody.
    pub source: Option<usize>,
    /// Position in `collectors`.
    pub collector: usize,
    pub priority: PriorityLevel,
    /// So long after an item is due its priority is low.
    pub cools: Option<Micros>,
    pub items: u32,
    /// When the first is due, after the beginning.
    pub first_due: Micros,
    /// From one due time to the next: a schedule that grows.
    pub due_every: Micros,
    /// So many fall due together each time.
    pub at_once: u32,
    /// Values of `group_by`; items that fall due together have the same one.
    pub groups: u32,
    /// So many of a thousand items does upstream never have.
    pub absent: u32,
    /// So many of a thousand appear upstream only hours after they are due.
    pub late: u32,
    /// At so many of a thousand does the collector crash, and do nothing for whatever comes after them in a batch,
    pub poison: u32,
    /// until somebody repairs it, so long after they are due.
    pub repaired_after: Micros,
    /// So many of a thousand are taken out of the lake by somebody else, several times, hours after they were filled.
    pub taken: u32,
    pub absent_policy: AbsentPolicy,
    pub fresh: Option<Fresh>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fresh {
    pub within: Micros,
    /// After the item's due time.
    pub until: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    pub at: Micros,
    pub dead_for: Micros,
    pub kind: CrashKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// `kill -9` of the engine: processes that it started go on until its successor finds them.
    Kill,
    /// The whole machine: the boot clock begins anew.
    Reboot,
    /// A person asks it to stop: it ends what runs, and writes everything down.
    Stop,
}

/// What a source tells requests apart by.
pub type Value = u32;

/// Of a task, or of what is recorded of one: `group7`.
pub fn value_of(group: &str) -> Value {
    group.strip_prefix("group").and_then(|number| number.parse().ok()).expect("groups have numbers")
}

impl SourceSpec {
    /// Whose the requests of items of this group are; `None`: nobody tells them apart.
    pub fn value(&self, group: &[String]) -> Option<Value> {
        self.each.as_ref().map(|_| value_of(&group[0]))
    }
}

impl Outage {
    pub fn is_on(&self, world: Micros) -> bool {
        self.from <= world && world <= self.to
    }
}

/// Somebody sets the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    pub at: Micros,
    pub by_seconds: i64,
}
