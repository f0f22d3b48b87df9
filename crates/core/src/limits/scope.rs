//! All rules of one `limits:` block, for one source or for all of them together.
//!
//! A scope answers whether one more request (or one charged task) fits, and is told of every grant, send and
//! settlement. It never refuses what it granted: `min_delay`, `in_flight` and `burst` count a granted request as if it
//! were under way, so when it is really sent, however much later, it still fits.
//!
//! What a command was charged ahead for (more than one request) is in the windows of a minute or more only, because
//! nobody can space from outside what it sends. Such a request that adce sends all the same is in everything else.
//! Whether both scopes agree is the limiter's business, not this module's.

use std::time::Duration;

use crate::ports::Settlement;
use crate::spec::{Limits, Margin};
use crate::time::Boottime;

use super::ledger::Ledger;
use super::spread::{Spread, Undo, window_to_spread};
use super::{AskKind, Because, HoldOff, Reach, SHORTEST_WINDOW_OF_A_CHARGE, WindowUsage};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    reach: Reach,
    limits: Limits,
    /// Everything, for windows of a minute or more.
    long: Ledger,
    /// Spaced requests only, for shorter windows.
    short: Ledger,
    /// Spaced requests granted and not settled.
    unsettled: u32,
    /// Spaced requests settled at an instant that has not come yet (a connection closed just now).
    lingering: Vec<Boottime>,
    last_settled: Option<Boottime>,
    spread: Option<Spread>,
}

/// What is asked for, as the rules see it: a task charged for one request is one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Single,
    Bulk(u32),
    /// One of those that a bulk stands for.
    Paced,
}

impl From<AskKind> for Load {
    fn from(kind: AskKind) -> Self {
        match kind {
            AskKind::OneRequest | AskKind::ChargedAhead { permits: 1 } => Load::Single,
            AskKind::ChargedAhead { permits } => Load::Bulk(permits),
            AskKind::Paced => Load::Paced,
        }
    }
}

impl Load {
    pub(super) fn requests(self) -> u32 {
        match self {
            Load::Single | Load::Paced => 1,
            Load::Bulk(requests) => requests,
        }
    }

    /// Sent when adce says so, and therefore under everything that keeps requests apart.
    fn is_spaced(self) -> bool {
        match self {
            Load::Single | Load::Paced => true,
            Load::Bulk(_) => false,
        }
    }

    /// What it takes from windows of a minute or more.
    fn in_long(self) -> u32 {
        match self {
            Load::Single | Load::Bulk(_) => self.requests(),
            Load::Paced => 0,
        }
    }

    /// What it takes from shorter windows.
    fn in_short(self) -> u32 {
        if self.is_spaced() { 1 } else { 0 }
    }
}

/// How long one rule refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    Until(Boottime),
    UntilSettled,
    Never,
}

/// Where one grant stands in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    load: Load,
    granted: Boottime,
    sent: Option<Boottime>,
    undo: Option<Undo>,
    /// Already marked in the windows (`margin: 30ms` counts from sent, whenever it settles).
    marked: Option<Boottime>,
}

impl Scope {
    pub(super) fn new(reach: Reach, limits: &Limits) -> Self {
        let (long, short): (Vec<_>, Vec<_>) = limits.windows.iter().partition(|window| window.span >= SHORTEST_WINDOW_OF_A_CHARGE);
        let longest = |windows: Vec<&crate::spec::Window>| windows.iter().map(|window| window.span).max().unwrap_or(Duration::ZERO);
        let spread = window_to_spread(&limits.windows, SHORTEST_WINDOW_OF_A_CHARGE)
            .and_then(|window| limits.burst.map(|burst| Spread::new(window, burst)));
        Scope {
            reach,
            limits: limits.clone(),
            long: Ledger::new(longest(long)),
            short: Ledger::new(longest(short)),
            unsettled: 0,
            lingering: Vec::new(),
            last_settled: None,
            spread,
        }
    }

    /// Every rule that refuses `load` at `now`, and how long it does.
    pub(super) fn refusals(&self, load: Load, now: Boottime) -> impl Iterator<Item = HoldOff> + '_ {
        let windows = self.limits.windows.iter().filter_map(move |window| {
            let wait = self.wait_for_window(*window, load, now)?;
            Some(wait.hold_off(Because::Window { reach: self.reach, window: *window }))
        });
        let spacing = [
            self.wait_for_burst(now).map(|wait| wait.hold_off(Because::Burst { reach: self.reach })),
            self.wait_for_delay(now).map(|wait| wait.hold_off(Because::MinDelay { reach: self.reach })),
            self.wait_for_flight(now).map(|wait| wait.hold_off(Because::InFlight { reach: self.reach })),
        ];
        windows.chain(spacing.into_iter().flatten().filter(move |_| load.is_spaced()))
    }

    fn wait_for_window(&self, window: crate::spec::Window, load: Load, now: Boottime) -> Option<Wait> {
        let (ledger, wanted) = match window.span >= SHORTEST_WINDOW_OF_A_CHARGE {
            true => (&self.long, u64::from(load.in_long())),
            false => (&self.short, u64::from(load.in_short())),
        };
        let limit = u64::from(window.requests);
        if wanted == 0 {
            return None;
        }
        if wanted > limit {
            return Some(Wait::Never);
        }
        let too_many = (ledger.used(window.span, now) + wanted).saturating_sub(limit);
        if too_many == 0 {
            return None;
        }
        Some(ledger.drops_by(too_many, window.span, now).map_or(Wait::UntilSettled, Wait::Until))
    }

    fn wait_for_burst(&self, now: Boottime) -> Option<Wait> {
        self.spread.as_ref()?.wait_for_one(now)
    }

    /// Until the previous request has settled nobody knows when the delay begins.
    fn wait_for_delay(&self, now: Boottime) -> Option<Wait> {
        let delay = self.limits.min_delay.filter(|delay| !delay.is_zero())?;
        if self.unsettled > 0 {
            return Some(Wait::UntilSettled);
        }
        let earliest = self.last_settled? + delay;
        (earliest > now).then_some(Wait::Until(earliest))
    }

    fn wait_for_flight(&self, now: Boottime) -> Option<Wait> {
        let limit = self.limits.in_flight?;
        if limit == 0 {
            return Some(Wait::Never);
        }
        if self.unsettled >= limit {
            return Some(Wait::UntilSettled);
        }
        let room = (limit - self.unsettled) as usize;
        let mut ahead: Vec<Boottime> = self.lingering.iter().copied().filter(|at| *at > now).collect();
        if ahead.len() < room {
            return None;
        }
        ahead.sort_unstable();
        Some(Wait::Until(ahead[ahead.len() - room]))
    }

    pub(super) fn grant(&mut self, kind: AskKind, now: Boottime) -> Holding {
        let load = Load::from(kind);
        self.forget(now);
        self.long.open(load.in_long());
        self.short.open(load.in_short());
        let mut holding = Holding { load, granted: now, sent: None, undo: None, marked: None };
        if load.is_spaced() {
            self.unsettled += 1;
            if let Some(spread) = &mut self.spread {
                spread.hold();
            }
        }
        if let AskKind::ChargedAhead { .. } = kind {
            self.count_as_sent(&mut holding, now);
        }
        holding
    }

    /// adce itself sends the one request now, so its bracket begins now.
    pub(super) fn sent(&mut self, holding: &mut Holding, now: Boottime) {
        if holding.sent.is_some() {
            return;
        }
        self.count_as_sent(holding, now);
        if let Margin::Fixed(margin) = self.limits.margin {
            self.mark(holding, now + margin);
        }
    }

    fn count_as_sent(&mut self, holding: &mut Holding, now: Boottime) {
        holding.sent = Some(now);
        if let (true, Some(spread)) = (holding.load.is_spaced(), &mut self.spread) {
            spread.let_go();
            holding.undo = Some(spread.send(now));
        }
    }

    pub(super) fn settle(&mut self, mut holding: Holding, how: Settlement, now: Boottime) {
        match how {
            Settlement::Unsent => self.take_back(&holding),
            Settlement::ArrivedBy(at) => self.arrived(&mut holding, at, now),
        }
        if holding.load.is_spaced() {
            self.unsettled = self.unsettled.saturating_sub(1);
        }
        self.forget(now);
    }

    fn take_back(&mut self, holding: &Holding) {
        match holding.marked {
            Some(at) => {
                self.long.unmark(at, holding.load.in_long());
                self.short.unmark(at, holding.load.in_short());
            }
            None => self.close(holding),
        }
        if let (true, Some(spread)) = (holding.load.is_spaced(), &mut self.spread) {
            match (holding.sent, holding.undo) {
                (None, _) => spread.let_go(),
                (Some(_), Some(undo)) => spread.unsend(undo),
                (Some(_), None) => {}
            }
        }
    }

    fn arrived(&mut self, holding: &mut Holding, at: Boottime, now: Boottime) {
        let at = at.max(holding.sent.unwrap_or(holding.granted));
        if holding.sent.is_none() {
            self.count_as_sent(holding, now);
        }
        if holding.marked.is_none() {
            // Sent at an instant that nobody reported: it may have been as late as it arrived.
            let until = match self.limits.margin {
                Margin::Bracket => at,
                Margin::Fixed(margin) => at + margin,
            };
            self.mark(holding, until);
        }
        if holding.load.is_spaced() {
            self.last_settled = self.last_settled.max(Some(at));
            if at > now {
                self.lingering.push(at);
            }
        }
    }

    fn mark(&mut self, holding: &mut Holding, at: Boottime) {
        self.close(holding);
        self.long.mark(at, holding.load.in_long());
        self.short.mark(at, holding.load.in_short());
        holding.marked = Some(at);
    }

    fn close(&mut self, holding: &Holding) {
        self.long.close(holding.load.in_long());
        self.short.close(holding.load.in_short());
    }

    /// Counts what an earlier process sent. Nobody remembers whether it was one request at a time, so it counts
    /// everywhere.
    pub(super) fn restore(&mut self, permits: u32, arrived_by: Boottime, now: Boottime) {
        let until = match self.limits.margin {
            Margin::Bracket => arrived_by,
            Margin::Fixed(margin) => arrived_by + margin,
        };
        self.long.mark(until, permits);
        self.short.mark(until, permits);
        self.last_settled = self.last_settled.max(Some(arrived_by));
        if arrived_by > now {
            self.lingering.extend(std::iter::repeat_n(arrived_by, permits as usize));
        }
        if let Some(spread) = &mut self.spread {
            spread.restore(permits, arrived_by, now);
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Boottime) {
        self.long.forget(now);
        self.short.forget(now);
        self.lingering.retain(|at| *at > now);
    }

    pub(super) fn usage(&self, now: Boottime) -> Vec<WindowUsage> {
        let of = |window: &crate::spec::Window| WindowUsage {
            window: *window,
            used: self.ledger(window.span).used(window.span, now),
            free_at: match self.wait_for_window(*window, Load::Single, now) {
                None => Some(now),
                Some(Wait::Until(at)) => Some(at),
                Some(Wait::UntilSettled | Wait::Never) => None,
            },
        };
        self.limits.windows.iter().map(of).collect()
    }

    pub(super) fn in_flight(&self, now: Boottime) -> u32 {
        let ahead = self.lingering.iter().filter(|at| **at > now).count();
        self.unsettled + u32::try_from(ahead).unwrap_or(u32::MAX)
    }

    pub(super) fn linger(&self) -> Duration {
        self.limits.linger
    }

    fn ledger(&self, span: Duration) -> &Ledger {
        if span >= SHORTEST_WINDOW_OF_A_CHARGE { &self.long } else { &self.short }
    }
}
