//! What happened in a world, as the checkers are told of it.
//!
//! Facts are what an onlooker with eyes everywhere would see: what reached an upstream, what the engine was told and
//! answered, what began and ended. They carry nothing that the engine worked out for itself and did not do.

use adce_core::gap::Outcome;
use adce_core::ids::{AttemptId, GapId, ItemId};
use adce_core::ports::{Answer, PermitId, Settlement};
use adce_core::queue::{Census, Idle, Start};
use adce_core::record::Change;
use adce_core::spec::PriorityLevel;
use adce_core::time::Now;

use crate::clocks::Clocks;
use crate::disk::Disk;
use crate::scenario::{Micros, Scenario, Value};

/// An instant, on all clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// World time.
    pub at: Micros,
    pub now: Now,
}

#[derive(Debug)]
pub enum Fact<'a> {
    /// A request reached its upstream. `alone`: adce knows its bracket, so that windows of seconds count it, too.
    Arrived {
        source: usize,
        alone: bool,
        /// Whose it is, where the source tells that apart.
        value: Option<Value>,
    },
    /// The dispatcher answered with these changes; they are in force in its memory, and will be durable later.
    Decided {
        changes: &'a [Change],
    },
    /// A task was picked.
    Picked {
        start: &'a Start,
    },
    /// Nothing was picked, for the reasons that it gives.
    Idle {
        idle: &'a Idle,
    },
    /// Nothing has happened since the last fact: the engine slept until now.
    Slept,
    /// A process, or adce's own client, begins to work.
    Began {
        attempt: AttemptId,
        gaps: &'a [GapId],
    },
    /// A request of a running attempt was granted.
    Granted {
        attempt: AttemptId,
        source: usize,
        permit: PermitId,
    },
    /// A request of a running attempt was told to wait; it asks again.
    Waits {
        attempt: AttemptId,
        source: usize,
    },
    /// A running attempt was told to end, because its source is shut.
    GaveUp {
        attempt: AttemptId,
        source: usize,
    },
    /// Its first byte left.
    Sent {
        attempt: AttemptId,
        source: usize,
        permit: PermitId,
        value: Option<Value>,
    },
    Settled {
        permit: PermitId,
        how: Settlement,
    },
    Answered {
        attempt: AttemptId,
        source: usize,
        answer: Answer,
    },
    /// Its collector is done, and left something to be published.
    Collected {
        attempt: AttemptId,
    },
    /// The dispatcher learned how an attempt ended.
    Ended {
        attempt: AttemptId,
        outcomes: &'a [(GapId, Outcome)],
    },
    /// Nothing of the attempt runs any more, and its result may be recorded.
    Gone {
        attempt: AttemptId,
    },
    /// The engine is dead; processes it started may go on.
    Crashed,
    /// A new engine begins, with what was durable. All processes of the old one were killed.
    Restarted {
        disk: &'a Disk,
        clocks: &'a Clocks,
    },
    /// A full look at the lake is over, and the dispatcher was told so.
    Looked,
    /// A full reconciliation is over: these gaps should be open, those are.
    Reconciled {
        expected: &'a [GapId],
        open: &'a [GapId],
    },
    /// Somebody took its object out of the lake.
    Taken {
        item: ItemId,
    },
    /// A day is over. `None`: the engine is dead just then.
    Midnight {
        held: Option<Held>,
    },
    /// The world ends; what is still not as it could be.
    Ends {
        left: &'a [String],
    },
}

/// What an engine holds in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    pub census: Census,
    /// What the loop around the dispatcher holds for what is under way.
    pub surroundings: usize,
    /// One for each item that was ever a gap.
    pub records: usize,
    /// Of the dispatcher, on the heap; 0 where nobody counts (`memory`).
    pub bytes: usize,
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    pub checker: &'static str,
    pub at: Micros,
    pub what: String,
}

/// One promise, watched by something that does not call the code it watches.
pub trait Checker {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>);

    /// Figures for the report, after the world has ended.
    fn figures(&self, _scenario: &Scenario, _figures: &mut Figures) {}
}

/// What a run amounted to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub arrived: u64,
    pub attempts: u64,
    pub picks_checked: u64,
    /// Times that slots were free and nothing could start, because too much was still being published.
    pub kept_by_publishing: u64,
    pub restarts: u64,
    /// The longest time that a gap which could have been tried waited for its attempt, and its key.
    pub longest_wait: Option<(Micros, String)>,
    /// Share of what promise 2 leaves that was used, per source with endless demand.
    pub quota_used: Vec<f64>,
    /// Of worlds that last longer than days.
    pub months: Vec<Month>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Month {
    /// At its end.
    pub open: usize,
    pub most_open: usize,
    pub filled: u64,
    pub attempts: u64,
    pub requests: u64,
    /// By priority, low first: from runnable to started, while its source could be asked.
    pub longest_wait: [Micros; PriorityLevel::ALL.len()],
    /// From the moment at which an item could be had until it was there.
    pub longest_lag: Micros,
    pub held: Option<Held>,
    /// What this process takes; `None`: the system does not say.
    pub resident: Option<u64>,
    /// Lines of the last 90 days: attempts, closed gaps, events.
    pub history: usize,
    /// Windows exceeded, since the beginning.
    pub exceeded: usize,
}
