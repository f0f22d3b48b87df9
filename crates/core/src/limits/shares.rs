//! How full the windows of one scope are, of whose requests, and how much of each is set aside for whom.
//!
//! A window admits one more request of a priority when what everybody has used, and what of other priorities' shares is
//! idle, leaves room for it: *each priority counts at least as much as is set aside for it* (`spec::Reserve`). So what is
//! set aside for a priority is there whenever it asks for it, whoever else was there before
//! (`what_is_set_aside_is_there_whenever_it_is_asked_for`), and without a reserve nothing is any different.
//!
//! It does not know whose an earlier process's requests were: they count for nobody's share. So after a restart whole
//! shares are set aside again, which may leave some of a window unused once; and a priority that had used more than its
//! share may find less than its share until that has left the window.

use std::time::Duration;

use crate::spec::{PriorityLevel, Reserve, Window};
use crate::time::Boottime;

use super::SHORTEST_WINDOW_OF_A_CHARGE;
use super::ledger::Ledger;
use super::scope::{Load, Wait};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    everybody: Counts,
    reserve: Reserve,
    /// Of those who have a share: what is theirs of what everybody has used.
    own: Vec<(PriorityLevel, Counts)>,
    windows: Vec<Window>,
}

/// Why a window has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Of requests.
    Used,
    /// What is left of it is set aside for others.
    SetAside,
}

impl Shares {
    pub(super) fn new(windows: &[Window]) -> Self {
        Shares { everybody: Counts::new(windows), reserve: Reserve::default(), own: Vec::new(), windows: windows.to_vec() }
    }

    /// Other windows from now on. One that looks back further than all before it knows nothing of what lay further back.
    pub(super) fn obey(&mut self, windows: &[Window]) {
        self.windows = windows.to_vec();
        self.everybody.obey(windows);
        self.own.iter_mut().for_each(|(_, counts)| counts.obey(windows));
    }

    pub(super) fn sets_aside(&self, reserve: Reserve) -> bool {
        self.reserve == reserve
    }

    /// From now on; what was used before is nobody's.
    pub(super) fn set_aside(&mut self, reserve: Reserve) {
        self.own = reserve.shares().map(|(priority, _)| (priority, Counts::new(&self.windows))).collect();
        self.reserve = reserve;
    }

    pub(super) fn open(&mut self, load: Load, priority: PriorityLevel) {
        self.each(priority, |counts| counts.open(load));
    }

    pub(super) fn close(&mut self, load: Load, priority: PriorityLevel) {
        self.each(priority, |counts| counts.close(load));
    }

    pub(super) fn mark(&mut self, at: Boottime, load: Load, priority: PriorityLevel) {
        self.each(priority, |counts| counts.mark(at, load.in_long(), load.in_short()));
    }

    pub(super) fn unmark(&mut self, at: Boottime, load: Load, priority: PriorityLevel) {
        self.each(priority, |counts| counts.unmark(at, load));
    }

    /// Nobody remembers whether they were sent one at a time, so they count everywhere.
    pub(super) fn mark_as_nobodys(&mut self, at: Boottime, requests: u32) {
        self.everybody.mark(at, requests, requests);
    }

    pub(super) fn forget(&mut self, now: Boottime) {
        self.everybody.forget(now);
        self.own.iter_mut().for_each(|(_, counts)| counts.forget(now));
    }

    /// Nothing is open, and no window can see anything.
    pub(super) fn is_empty(&self) -> bool {
        // What is somebody's is everybody's, too.
        self.everybody.long.is_empty() && self.everybody.short.is_empty()
    }

    pub(super) fn remembered(&self) -> usize {
        let of = |counts: &Counts| counts.long.len() + counts.short.len();
        of(&self.everybody) + self.own.iter().map(|(_, counts)| of(counts)).sum::<usize>()
    }

    fn each(&mut self, priority: PriorityLevel, mut tell: impl FnMut(&mut Counts)) {
        tell(&mut self.everybody);
        self.own.iter_mut().filter(|(owner, _)| *owner == priority).for_each(|(_, counts)| tell(counts));
    }

    pub(super) fn used(&self, window: Window, now: Boottime) -> u64 {
        self.everybody.used(window, now)
    }

    /// What is set aside of the window and idle.
    pub(super) fn idle(&self, window: Window, now: Boottime) -> u64 {
        self.own.iter().map(|(owner, counts)| self.share(*owner, window).saturating_sub(counts.used(window, now))).sum()
    }

    /// How long the window has no room for `load`, if it has none now.
    pub(super) fn wait(&self, window: Window, load: Load, priority: PriorityLevel, now: Boottime) -> Option<(Wait, Full)> {
        self.wait_for(window, load.in_window(window), priority, now)
    }

    /// Likewise, for so many requests at once.
    pub(super) fn wait_for(&self, window: Window, wanted: u64, priority: PriorityLevel, now: Boottime) -> Option<(Wait, Full)> {
        let limit = u64::from(window.requests);
        let fits = |at: Boottime| wanted + self.used(window, at) + self.idle_with(wanted, window, priority, at) <= limit;
        let surely_fits = || {
            let room = limit.checked_sub(wanted).filter(|_| self.own.is_empty());
            room.is_some_and(|room| self.everybody.of(window).surely_within(room, window.span, now))
        };
        if wanted == 0 || surely_fits() || fits(now) {
            return None;
        }
        let full = if wanted + self.used(window, now) > limit { Full::Used } else { Full::SetAside };
        let fits_into_an_empty_one = wanted.max(self.share(priority, window)) + self.shares_of_others(window, priority) <= limit;
        let wait = match self.everybody.of(window).first_where(window.span, now, fits) {
            _ if !fits_into_an_empty_one => Wait::Never,
            Some(at) => Wait::Until(at),
            None => Wait::UntilSettled,
        };
        Some((wait, full))
    }

    /// Whether `load` needs nothing of the window but what is set aside for `priority`.
    pub(super) fn is_within_its_share(&self, window: Window, load: Load, priority: PriorityLevel, now: Boottime) -> bool {
        let own = self.own.iter().find(|(owner, _)| *owner == priority);
        own.is_some_and(|(_, counts)| counts.used(window, now) + load.in_window(window) <= self.share(priority, window))
    }

    /// From when on that is so if nothing more of this priority leaves; `None`: not before something is settled, or never.
    pub(super) fn within_its_share_from(&self, window: Window, load: Load, priority: PriorityLevel, now: Boottime) -> Option<Boottime> {
        let within = |at: &Boottime| self.is_within_its_share(window, load, priority, *at);
        let (_, own) = self.own.iter().find(|(owner, _)| *owner == priority)?;
        Some(now).filter(within).or_else(|| own.of(window).first_where(window.span, now, |at| within(&at)))
    }

    /// What would be idle if `priority` had used `wanted` more.
    fn idle_with(&self, wanted: u64, window: Window, priority: PriorityLevel, at: Boottime) -> u64 {
        let idle = |(owner, counts): &(PriorityLevel, Counts)| {
            let more = if *owner == priority { wanted } else { 0 };
            self.share(*owner, window).saturating_sub(counts.used(window, at) + more)
        };
        self.own.iter().map(idle).sum()
    }

    fn share(&self, priority: PriorityLevel, window: Window) -> u64 {
        u64::from(self.reserve.of_window(priority, window.requests))
    }

    fn shares_of_others(&self, window: Window, priority: PriorityLevel) -> u64 {
        self.own.iter().filter(|(owner, _)| *owner != priority).map(|(owner, _)| self.share(*owner, window)).sum()
    }
}

/// What counts against windows of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts {
    /// Everything, for windows of a minute or more.
    long: Ledger,
    /// Spaced requests only, for shorter windows.
    short: Ledger,
}

impl Counts {
    fn new(windows: &[Window]) -> Self {
        let (long, short) = longest(windows);
        Counts { long: Ledger::new(long), short: Ledger::new(short) }
    }

    fn obey(&mut self, windows: &[Window]) {
        let (long, short) = longest(windows);
        self.long.looks_back(long);
        self.short.looks_back(short);
    }

    fn open(&mut self, load: Load) {
        self.long.open(load.in_long());
        self.short.open(load.in_short());
    }

    fn close(&mut self, load: Load) {
        self.long.close(load.in_long());
        self.short.close(load.in_short());
    }

    fn mark(&mut self, at: Boottime, in_long: u32, in_short: u32) {
        self.long.mark(at, in_long);
        self.short.mark(at, in_short);
    }

    fn unmark(&mut self, at: Boottime, load: Load) {
        self.long.unmark(at, load.in_long());
        self.short.unmark(at, load.in_short());
    }

    fn forget(&mut self, now: Boottime) {
        self.long.forget(now);
        self.short.forget(now);
    }

    fn used(&self, window: Window, now: Boottime) -> u64 {
        self.of(window).used(window.span, now)
    }

    fn of(&self, window: Window) -> &Ledger {
        if is_long(window) { &self.long } else { &self.short }
    }
}

/// The longest of a minute or more, and of the shorter ones.
fn longest(windows: &[Window]) -> (Duration, Duration) {
    let (long, short): (Vec<_>, Vec<_>) = windows.iter().partition(|window| is_long(**window));
    let longest = |windows: Vec<&Window>| windows.iter().map(|window| window.span).max().unwrap_or(Duration::ZERO);
    (longest(long), longest(short))
}

pub(super) fn is_long(window: Window) -> bool {
    window.span >= SHORTEST_WINDOW_OF_A_CHARGE
}
