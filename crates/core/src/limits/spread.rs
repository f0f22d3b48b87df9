//! `burst`: at most b requests ahead of an even spread of N requests over W.
//!
//! Without it a window of 3,000 an hour is used up in its first minutes, and then nothing moves for the rest of it. It
//! shapes the traffic only; the windows alone are what proves promise 2.
//!
//! The even spread is kept as one instant, the time at which all requests so far would have been sent had they been
//! sent evenly (the "theoretical arrival time" of a GCRA), in units of 1/N microseconds, so that nothing is ever
//! rounded. Always true: the spread is never more than b requests ahead of the clock, counting those that are granted
//! but not sent yet; so a granted one never has to wait again (`burst_admits_b_at_once_and_then_one_at_a_time`).

use std::time::Duration;

use crate::time::Boottime;

use super::HoldOff;
use super::scope::Wait;
use crate::spec::Window;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spread {
    requests: u128,
    /// One request's share of the window, in 1/N microseconds: the window itself.
    share: u128,
    burst: u32,
    /// In 1/N microseconds since boot.
    even: u128,
    /// Granted, not sent.
    held: u32,
}

/// What a send changed, so that it can be taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undo {
    before: u128,
    after: u128,
}

impl Spread {
    pub(super) fn new(window: Window, burst: u32) -> Self {
        Spread { requests: u128::from(window.requests.max(1)), share: window.span.as_micros(), burst, even: 0, held: 0 }
    }

    /// With what was granted under the one before and is not sent yet.
    pub(super) fn holding(mut self, before: Option<&Spread>) -> Self {
        self.held = before.map_or(0, |before| before.held);
        self
    }

    pub(super) fn wait_for_one(&self, now: Boottime) -> Option<Wait> {
        self.wait_for(1, now)
    }

    /// Until so many could be granted at once.
    pub(super) fn wait_for(&self, requests: u64, now: Boottime) -> Option<Wait> {
        let next = u128::from(self.held) + u128::from(requests);
        let burst = u128::from(self.burst);
        if u128::from(requests) > burst {
            return Some(Wait::Never);
        }
        if next > burst {
            return Some(Wait::UntilSettled);
        }
        // even + next·share − now ≤ burst·share
        let earliest = (self.even + next * self.share).saturating_sub(burst * self.share).div_ceil(self.requests);
        let earliest = Boottime(u64::try_from(earliest).unwrap_or(u64::MAX));
        (earliest > now).then_some(Wait::Until(earliest))
    }

    pub(super) fn hold(&mut self) {
        self.held += 1;
    }

    pub(super) fn let_go(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    pub(super) fn send(&mut self, now: Boottime) -> Undo {
        let before = self.even;
        self.even = before.max(self.scaled(now)) + self.share;
        Undo { before, after: self.even }
    }

    /// Exact when nothing was sent since; otherwise the unsent one keeps its share of the spread, which is on the safe
    /// side and over after W/N.
    pub(super) fn unsend(&mut self, undo: Undo) {
        if self.even == undo.after {
            self.even = undo.before;
        }
    }

    /// Counts what an earlier process sent: as late as it can have been, but never more than `burst` ahead of `now`,
    /// because that process obeyed the same rule.
    pub(super) fn restore(&mut self, requests: u32, last_sent: Boottime, now: Boottime) {
        let sent = self.even.max(self.scaled(last_sent)) + u128::from(requests) * self.share;
        self.even = self.even.max(sent.min(self.scaled(now) + u128::from(self.burst) * self.share));
    }

    /// Nothing is held, and nothing is ahead of the clock.
    pub(super) fn is_at_rest(&self, now: Boottime) -> bool {
        self.held == 0 && self.even <= self.scaled(now)
    }

    fn scaled(&self, at: Boottime) -> u128 {
        u128::from(at.0) * self.requests
    }
}

impl Wait {
    pub(super) fn hold_off(self, because: super::Because) -> HoldOff {
        match self {
            Wait::Until(at) => HoldOff::Until { at, because },
            Wait::UntilSettled => HoldOff::UntilSettled { because },
            Wait::Never => HoldOff::Never { because },
        }
    }
}

/// The window that `burst` spreads: the shortest of a minute or more.
pub(super) fn window_to_spread(windows: &[Window], shortest: Duration) -> Option<Window> {
    windows.iter().filter(|window| window.span >= shortest).min_by_key(|window| window.span).copied()
}
