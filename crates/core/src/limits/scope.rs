//! All rules of one `limits:` block, for one source or for all of them together.
//!
//! A scope answers whether one more request (or one charged task) fits, and is told of every grant, send and
//! settlement. It never refuses what it granted: `min_delay`, `in_flight` and `burst` count a granted request as if it
//! were under way, so when it is really sent, however much later, it still fits.
//!
//! What a command was charged ahead for (more than one request) is in the windows of a minute or more only, because
//! nobody can space from outside what it sends. Such a request that adce sends all the same is in everything else.
//! Whether both scopes agree is the limiter's business, not this module's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::ports::Settlement;
use crate::spec::{Limits, Margin, PriorityLevel, Reserve, Window};
use crate::time::Boottime;

use super::shares::{Full, Shares, is_long};
use super::spread::{Spread, Undo, window_to_spread};
use super::{Ask, AskKind, Because, HoldOff, MILLION_MILLION, Reach, SHORTEST_WINDOW_OF_A_CHARGE, WindowUsage};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    reach: Reach,
    /// Shared by all values of a source.
    limits: Arc<Limits>,
    shares: Shares,
    /// Spaced requests granted and not settled.
    unsettled: u32,
    /// Spaced requests settled at an instant that has not come yet (a connection closed just now), the first one first.
    lingering: VecDeque<Boottime>,
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
    pub(super) fn in_long(self) -> u32 {
        match self {
            Load::Single | Load::Bulk(_) => self.requests(),
            Load::Paced => 0,
        }
    }

    /// What it takes from shorter windows.
    pub(super) fn in_short(self) -> u32 {
        if self.is_spaced() { 1 } else { 0 }
    }

    pub(super) fn in_window(self, window: Window) -> u64 {
        u64::from(if is_long(window) { self.in_long() } else { self.in_short() })
    }
}

/// How long one rule refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    Until(Boottime),
    UntilSettled,
    Never,
}

/// Where one grant stands in one scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    load: Load,
    priority: PriorityLevel,
    granted: Boottime,
    sent: Option<Boottime>,
    undo: Option<Undo>,
    /// Already marked in the windows (`margin: 30ms` counts from sent, whenever it settles).
    marked: Option<Boottime>,
}

impl Scope {
    pub(super) fn new(reach: Reach, limits: &Limits) -> Self {
        let spread = window_to_spread(&limits.windows, SHORTEST_WINDOW_OF_A_CHARGE)
            .and_then(|window| limits.burst.map(|burst| Spread::new(window, burst)));
        Scope {
            reach,
            limits: Arc::new(limits.clone()),
            shares: Shares::new(&limits.windows),
            unsettled: 0,
            lingering: VecDeque::new(),
            last_settled: None,
            spread,
        }
    }

    pub(super) fn obeys(&self, limits: &Limits) -> bool {
        *self.limits == *limits
    }

    /// Other limits from now on; what was granted and sent stays what it was.
    pub(super) fn obey(&mut self, limits: &Limits) {
        if self.obeys(limits) {
            return;
        }
        self.shares.obey(&limits.windows);
        let mut new = Scope::new(self.reach, limits);
        if let Some(spread) = new.spread.take() {
            let of_before = (self.limits.burst, window_to_spread(&self.limits.windows, SHORTEST_WINDOW_OF_A_CHARGE));
            let of_now = (limits.burst, window_to_spread(&limits.windows, SHORTEST_WINDOW_OF_A_CHARGE));
            let keeps = self.spread.is_some() && of_before == of_now;
            self.spread = if keeps { self.spread.take() } else { Some(spread.holding(self.spread.as_ref())) };
        } else {
            self.spread = None;
        }
        self.limits = new.limits;
    }

    pub(super) fn sets_aside(&self, reserve: Reserve) -> bool {
        self.shares.sets_aside(reserve)
    }

    pub(super) fn set_aside(&mut self, reserve: Reserve) {
        self.shares.set_aside(reserve);
    }

    /// Every rule that refuses `load` at `now`, and how long it does.
    pub(super) fn refusals(&self, load: Load, priority: PriorityLevel, now: Boottime) -> impl Iterator<Item = HoldOff> + '_ {
        let windows = self.limits.windows.iter().filter_map(move |window| {
            let (wait, full) = self.shares.wait(*window, load, priority, now)?;
            Some(wait.hold_off(match full {
                Full::Used => Because::Window { reach: self.reach, window: *window },
                Full::SetAside => Because::SetAside { reach: self.reach, window: *window },
            }))
        });
        let spacing = [
            self.wait_for_burst(now).map(|wait| wait.hold_off(Because::Burst { reach: self.reach })),
            self.wait_for_delay(now).map(|wait| wait.hold_off(Because::MinDelay { reach: self.reach })),
            self.wait_for_flight(1, now).map(|wait| wait.hold_off(Because::InFlight { reach: self.reach })),
        ];
        windows.chain(spacing.into_iter().flatten().filter(move |_| load.is_spaced()))
    }

    /// Until so many single requests could be granted at once; `None`: they could be now.
    pub(super) fn wait_for_all(&self, requests: u64, priority: PriorityLevel, now: Boottime) -> Option<Wait> {
        let windows = self.limits.windows.iter().filter_map(|window| Some(self.shares.wait_for(*window, requests, priority, now)?.0));
        let burst = self.spread.as_ref().and_then(|spread| spread.wait_for(requests, now));
        let delay = match self.limits.min_delay.filter(|delay| !delay.is_zero() && requests > 1) {
            Some(_) => Some(Wait::Never),
            None => self.wait_for_delay(now),
        };
        windows.chain(burst).chain(delay).chain(self.wait_for_flight(requests, now)).max()
    }

    /// Requests in a million million microseconds that these limits admit in the long run, if each takes `settle` from sent to
    /// settled; `None`: without end.
    pub(super) fn rate(&self, reserve: &Reserve, priority: PriorityLevel, settle: Duration) -> Option<u128> {
        let of = |requests: u32, every: Duration| u128::from(requests) * MILLION_MILLION / every.as_micros().max(1);
        let windows = self.limits.windows.iter().map(|window| of(reserve.admits(priority, window.requests), window.span + settle));
        let delay = self.limits.min_delay.filter(|delay| !delay.is_zero()).map(|delay| of(1, delay + settle));
        let flight = self.limits.in_flight.map(|most| of(most, settle));
        windows.chain(delay).chain(flight).min()
    }

    /// For every window that `load` counts against: whether it needs nothing but what is set aside for it there.
    pub(super) fn within_share(&self, load: Load, priority: PriorityLevel, now: Boottime) -> impl Iterator<Item = bool> + '_ {
        let concerned = self.limits.windows.iter().filter(move |window| load.in_window(**window) > 0);
        concerned.map(move |window| self.shares.is_within_its_share(*window, load, priority, now))
    }

    /// For each of these: from when on that is so, as far as is known now.
    pub(super) fn within_share_from(
        &self,
        load: Load,
        priority: PriorityLevel,
        now: Boottime,
    ) -> impl Iterator<Item = Option<Boottime>> + '_ {
        let concerned = self.limits.windows.iter().filter(move |window| load.in_window(**window) > 0);
        concerned.map(move |window| self.shares.within_its_share_from(*window, load, priority, now))
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

    fn wait_for_flight(&self, requests: u64, now: Boottime) -> Option<Wait> {
        let limit = u64::from(self.limits.in_flight?);
        if requests > limit {
            return Some(Wait::Never);
        }
        let others = u64::from(self.unsettled) + requests - 1;
        if others >= limit {
            return Some(Wait::UntilSettled);
        }
        let room = (limit - others) as usize;
        let ahead = self.lingering_at(now);
        (ahead >= room).then(|| Wait::Until(self.lingering[self.lingering.len() - room]))
    }

    pub(super) fn grant(&mut self, ask: &Ask, now: Boottime) -> Holding {
        let (load, priority) = (Load::from(ask.kind), ask.priority);
        self.forget(now);
        self.shares.open(load, priority);
        let mut holding = Holding { load, priority, granted: now, sent: None, undo: None, marked: None };
        if load.is_spaced() {
            self.unsettled += 1;
            if let Some(spread) = &mut self.spread {
                spread.hold();
            }
        }
        if let AskKind::ChargedAhead { .. } = ask.kind {
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
            Some(at) => self.shares.unmark(at, holding.load, holding.priority),
            None => self.shares.close(holding.load, holding.priority),
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
                self.lingers(at, 1);
            }
        }
    }

    fn mark(&mut self, holding: &mut Holding, at: Boottime) {
        self.shares.close(holding.load, holding.priority);
        self.shares.mark(at, holding.load, holding.priority);
        holding.marked = Some(at);
    }

    /// Counts what an earlier process sent.
    pub(super) fn restore(&mut self, permits: u32, arrived_by: Boottime, now: Boottime) {
        let until = match self.limits.margin {
            Margin::Bracket => arrived_by,
            Margin::Fixed(margin) => arrived_by + margin,
        };
        self.shares.mark_as_nobodys(until, permits);
        self.last_settled = self.last_settled.max(Some(arrived_by));
        if arrived_by > now {
            self.lingers(arrived_by, permits);
        }
        if let Some(spread) = &mut self.spread {
            spread.restore(permits, arrived_by, now);
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Boottime) {
        self.shares.forget(now);
        // Only what is over is looked at: with a `linger` of seconds there may be thousands, and each grant comes by here.
        while self.lingering.front().is_some_and(|at| *at <= now) {
            self.lingering.pop_front();
        }
    }

    fn lingers(&mut self, at: Boottime, requests: u32) {
        // Nearly always the last place: what settles later lingers for longer.
        let place = self.lingering.partition_point(|other| *other <= at);
        (0..requests).for_each(|_| self.lingering.insert(place, at));
    }

    fn lingering_at(&self, now: Boottime) -> usize {
        self.lingering.len() - self.lingering.partition_point(|at| *at <= now)
    }

    pub(super) fn usage(&self, now: Boottime) -> Vec<WindowUsage> {
        let of = |window: &Window| WindowUsage {
            window: *window,
            used: self.shares.used(*window, now),
            set_aside: self.shares.idle(*window, now),
        };
        self.limits.windows.iter().map(of).collect()
    }

    pub(super) fn in_flight(&self, now: Boottime) -> u32 {
        self.unsettled + u32::try_from(self.lingering_at(now)).unwrap_or(u32::MAX)
    }

    /// Nothing that it was told could make a difference any more.
    pub(super) fn is_at_rest(&mut self, now: Boottime) -> bool {
        self.forget(now);
        let is_delayed = self.limits.min_delay.zip(self.last_settled).is_some_and(|(delay, settled)| settled + delay > now);
        let is_spread = self.spread.as_ref().is_some_and(|spread| !spread.is_at_rest(now));
        self.unsettled == 0 && self.lingering.is_empty() && self.shares.is_empty() && !is_delayed && !is_spread
    }

    pub(super) fn remembered(&self) -> usize {
        self.shares.remembered() + self.lingering.len()
    }

    pub(super) fn bounds_requests(&self) -> bool {
        self.limits.bounds_requests()
    }

    pub(super) fn linger(&self) -> Duration {
        self.limits.linger
    }
}
