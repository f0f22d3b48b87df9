//! When a request may be sent: exact windows, spacing, pauses and breakers, per source and for all sources together.
//!
//! A token bucket lets a full burst pass and refills meanwhile, so an upstream that allows 60 a minute can see almost
//! 120 within one. And a window that counts from the moment of sending alone forgets that a request may arrive much
//! later than it was sent. Here every request counts against a window W from *sent* until *settled + W*.
//!
//! Always true: in no span of W, sliding or fixed, both ends included, can more than N requests have arrived upstream,
//! whenever in its [sent, settled] bracket each one did
//! (`never_lets_more_than_limit_arrive_in_any_window`). Proof: suppose N + 1 arrived in [t, t + W], and look at the
//! moment g at which the last of them was granted. It was sent after g and arrived by t + W, so g ≤ t + W. Each of the
//! other N was granted before g. It was either unsettled at g, and counted; or settled at s, not before it arrived, so
//! s + W ≥ t + W ≥ g, and counted as well. So N counted at g, and the grant was refused.
//! (A request stops counting one microsecond after s + W: readings of the clock are cut to whole microseconds.)
//!
//! A refusal takes nothing and changes nothing (`a_refusal_changes_nothing`), and says from when on the same question
//! will be answered with yes if nothing else happens (`a_hold_off_ends_exactly_when_it_says`).
//!
//! Limits `by` a value ([`Limiter::by_value`]) are one more scope of the same question: a request is granted by the source's
//! limits, those of its value and those of all sources together at once, or by none.
//!
//! This module never reads a clock, never waits and writes nothing down: the caller passes `now`, and makes a grant
//! durable before it uses it.

pub mod breaker;
pub mod breakers;
pub mod bytes;
pub mod heard;
pub mod learned;
mod ledger;
mod limiter;
mod restart;
pub mod retry_after;
mod scope;
mod shares;
mod spread;
mod values;

use std::fmt;
use std::time::Duration;

pub use limiter::Limiter;
pub use restart::{Restored, restored};

use crate::ids::ValueId;
use crate::ports::PermitId;
use crate::spec::{PriorityLevel, Window};
use crate::time::Boottime;

/// Position in `Spec::sources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceIx(pub u32);

/// What somebody wants from a source now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ask {
    pub source: SourceIx,
    pub kind: AskKind,
    /// Of the task that it is for: something may be set aside for it.
    pub priority: PriorityLevel,
    /// Of what the source's limits are told apart `by`; `None`: they are not, or nobody knows whose it is. All that
    /// nobody knows of share one.
    pub value: Option<ValueId>,
}

impl Ask {
    pub fn one(source: SourceIx) -> Self {
        Ask { source, kind: AskKind::OneRequest, priority: PriorityLevel::default(), value: None }
    }

    pub fn charged(source: SourceIx, permits: u32) -> Self {
        Ask { kind: AskKind::ChargedAhead { permits }, ..Ask::one(source) }
    }

    pub fn paced(source: SourceIx) -> Self {
        Ask { kind: AskKind::Paced, ..Ask::one(source) }
    }

    pub fn of(self, priority: PriorityLevel) -> Self {
        Ask { priority, ..self }
    }

    pub fn by(self, value: Option<ValueId>) -> Self {
        Ask { value, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AskKind {
    /// adce sends or proxies the request, and so knows its bracket. The grant is held until [`Limiter::sent`].
    OneRequest,
    /// A command sends so many requests somewhere between its start (the grant) and its end (the settlement).
    ///
    /// More than one are checked against windows of a minute or more only: nobody can space them from outside. Those of
    /// them that adce sees are [`Paced`](AskKind::Paced).
    ChargedAhead { permits: u32 },
    /// adce sends or proxies one of the requests that were charged ahead. It keeps its distance like any other, and takes
    /// nothing from the windows that its charge is in. Whoever asks settles the charge after it, and no earlier.
    Paced,
}

/// The right to send `permits` requests to `source`. Must be settled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permit {
    pub id: PermitId,
    pub source: SourceIx,
    pub permits: u32,
}

/// A refusal, with its reason: of all that refuse, the one that does so longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldOff {
    /// Admitted at `at` and not before, if nothing else happens.
    Until { at: Boottime, because: Because },
    /// Nothing changes before a permit that is out now is sent or settled.
    UntilSettled { because: Because },
    /// More than this limit ever admits at once.
    Never { because: Because },
}

impl HoldOff {
    pub fn because(&self) -> Because {
        match *self {
            HoldOff::Until { because, .. } | HoldOff::UntilSettled { because } | HoldOff::Never { because } => because,
        }
    }

    /// When it is worth asking again; `None`: not before something is settled, or never.
    pub fn at(&self) -> Option<Boottime> {
        match *self {
            HoldOff::Until { at, .. } => Some(at),
            HoldOff::UntilSettled { .. } | HoldOff::Never { .. } => None,
        }
    }

    /// The one that refuses longer; the first on a tie.
    fn or_longer(self, other: HoldOff) -> HoldOff {
        match (&self, &other) {
            (HoldOff::Until { at: mine, .. }, HoldOff::Until { at: its, .. }) if its > mine => other,
            (HoldOff::Until { .. }, HoldOff::UntilSettled { .. } | HoldOff::Never { .. }) => other,
            (HoldOff::UntilSettled { .. }, HoldOff::Never { .. }) => other,
            _ => self,
        }
    }
}

/// Whose limits a rule belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Those that each value has for itself: here the one that asks.
    Value,
    Source,
    AllSources,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    Window {
        reach: Reach,
        window: Window,
    },
    /// What is left of the window is set aside for other priorities.
    SetAside {
        reach: Reach,
        window: Window,
    },
    Burst {
        reach: Reach,
    },
    MinDelay {
        reach: Reach,
    },
    InFlight {
        reach: Reach,
    },
    /// Upstream asked to be left alone (`Retry-After`), or is after an incident.
    Paused {
        reach: Reach,
    },
    /// Slower than declared after incidents, or as upstream's policy has it ([`learned`]).
    LearnedRate {
        reach: Reach,
    },
    /// No more are left of a quota that upstream told of.
    ToldQuota {
        reach: Reach,
    },
}

impl Because {
    /// The span of the window that refuses, if it is one.
    pub fn window(&self) -> Option<Window> {
        match *self {
            Because::Window { window, .. } | Because::SetAside { window, .. } => Some(window),
            _ => None,
        }
    }

    /// One word for metrics: the key in the config that declares it.
    pub fn word(&self) -> &'static str {
        match self {
            Because::Window { window, .. } => window.key(),
            Because::SetAside { .. } => "reserve",
            Because::Burst { .. } => "burst",
            Because::MinDelay { .. } => "min_delay",
            Because::InFlight { .. } => "in_flight",
            Because::Paused { .. } => "retry_after",
            Because::LearnedRate { .. } => "learned_rate",
            Because::ToldQuota { .. } => "told_quota",
        }
    }

    pub fn reach(&self) -> Reach {
        match *self {
            Because::Window { reach, .. } | Because::SetAside { reach, .. } => reach,
            Because::Burst { reach } | Because::MinDelay { reach } | Because::InFlight { reach } => reach,
            Because::Paused { reach } | Because::LearnedRate { reach } | Because::ToldQuota { reach } => reach,
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Because::Window { window, .. } => write!(f, "`{}: {}`", window.key(), window.requests)?,
            Because::SetAside { window, .. } => {
                write!(f, "what is not set aside of `{}: {}`", window.key(), window.requests)?;
            }
            Because::Paused { .. } => f.write_str("a pause that upstream asked for (`Retry-After`),")?,
            Because::LearnedRate { .. } => f.write_str("the rate that refusals have taught")?,
            Because::ToldQuota { .. } => f.write_str("what upstream says is left of its quota,")?,
            _ => write!(f, "`{}`", self.word())?,
        }
        match self.reach() {
            Reach::Value => f.write_str(" of its value"),
            Reach::Source => f.write_str(" of the source"),
            Reach::AllSources => f.write_str(" of all sources together"),
        }
    }
}

/// How full a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowUsage {
    pub window: Window,
    /// Requests that count against it now.
    pub used: u64,
    /// Set aside for priorities that do not need it now.
    pub set_aside: u64,
}

/// What one value has used of the limits that it has for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueUsage {
    pub value: ValueId,
    pub windows: Vec<WindowUsage>,
    pub in_flight: u32,
    /// What keeps its next request waiting, if its own limits do.
    pub refusal: Option<HoldOff>,
}

/// Readings of the clock are cut to whole microseconds, so something that was read as settled at s may have arrived
/// almost a microsecond later.
const RESOLUTION: Duration = Duration::from_micros(1);

/// Windows from here on count what a command was charged ahead; shorter ones cannot be enforced inside it.
const SHORTEST_WINDOW_OF_A_CHARGE: Duration = Duration::from_secs(60);

/// Rates are told in requests in so many microseconds, so that the slowest is still a whole number.
pub const MILLION_MILLION: u128 = 1_000_000_000_000;
