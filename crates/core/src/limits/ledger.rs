//! Counts of requests by the instant until which they may have arrived, for windows that look back any span.
//!
//! Every count is a binary search over running totals, so a day's window costs hardly more than a second's. Requests
//! settle nearly in order (out of order by `linger` at most), so that putting one in its place moves only the few that
//! settled last. Memory: one mark for each instant inside the longest window.
//!
//! Always true: `used` equals a plain count over all marks (`the_ledger_counts_like_a_plain_list`). It knows nothing of
//! limits, and never forgets anything that still counts for its longest window.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Boottime;

use super::RESOLUTION;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ledger {
    /// The longest span that anybody will ask about.
    longest: Duration,
    /// Granted, and nobody knows yet until when it counts.
    open: u64,
    /// By instant, ascending; each instant once.
    marks: VecDeque<Mark>,
    /// Running total of the marks that were forgotten.
    forgotten: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// Arrived by then at the latest.
    at: Boottime,
    /// All requests ever marked up to and including this instant.
    through: u64,
}

impl Ledger {
    pub(super) fn new(longest: Duration) -> Self {
        Ledger { longest, open: 0, marks: VecDeque::new(), forgotten: 0 }
    }

    /// Nobody asks about a longer span from now on.
    pub(super) fn looks_back(&mut self, longest: Duration) {
        self.longest = longest;
    }

    pub(super) fn open(&mut self, requests: u32) {
        self.open += u64::from(requests);
    }

    /// Takes back what was opened: not sent, or marked by now.
    pub(super) fn close(&mut self, requests: u32) {
        self.open = self.open.saturating_sub(u64::from(requests));
    }

    pub(super) fn mark(&mut self, at: Boottime, requests: u32) {
        if requests == 0 || self.longest.is_zero() {
            return;
        }
        let place = self.marks.partition_point(|mark| mark.at < at);
        if self.marks.get(place).is_none_or(|mark| mark.at != at) {
            self.marks.insert(place, Mark { at, through: self.total_before(place) });
        }
        for mark in self.marks.range_mut(place..) {
            mark.through += u64::from(requests);
        }
    }

    /// Takes a mark back, as if it had never been made.
    pub(super) fn unmark(&mut self, at: Boottime, requests: u32) {
        let place = self.marks.partition_point(|mark| mark.at < at);
        if self.marks.get(place).is_none_or(|mark| mark.at != at) {
            return;
        }
        let there = self.marks[place].through - self.total_before(place);
        let back = there.min(u64::from(requests));
        for mark in self.marks.range_mut(place..) {
            mark.through -= back;
        }
        if back == there {
            self.marks.remove(place);
        }
    }

    /// Drops what no window can see from `now` on.
    pub(super) fn forget(&mut self, now: Boottime) {
        while let Some(oldest) = self.marks.front().filter(|mark| mark.at + self.longest < now) {
            self.forgotten = oldest.through;
            self.marks.pop_front();
        }
    }

    /// How many count against a window of `span` at `now`: all that is open, and what arrived by s ≥ now − span.
    pub(super) fn used(&self, span: Duration, now: Boottime) -> u64 {
        self.open + (self.total() - self.total_outside(span, now))
    }

    /// Whether no more than `room` count, as far as one look tells: yes is certain, no means that it has to be counted.
    /// Most questions are asked where there is room, and are over with this; searching the marks of an hour costs three times as much.
    pub(super) fn surely_within(&self, room: u64, span: Duration, now: Boottime) -> bool {
        let Some(room) = room.checked_sub(self.open) else { return false };
        let out_of_sight = usize::try_from(room).ok().and_then(|room| self.marks.len().checked_sub(room + 1));
        match out_of_sight {
            None => self.total() - self.forgotten <= room,
            // All that can count is behind this mark.
            Some(place) => {
                let mark = self.marks[place];
                mark.at + span < now && self.total() - mark.through <= room
            }
        }
    }

    /// The first instant after `now` at which some that count at `now` do not any more and `holds` is true; it must stay
    /// true from then on. `None`: not while so many are open.
    pub(super) fn first_where(&self, span: Duration, now: Boottime, holds: impl Fn(Boottime) -> bool) -> Option<Boottime> {
        let ends = |mark: &Mark| mark.at + span + RESOLUTION;
        let place = self.marks.partition_point(|mark| mark.at + span < now || !holds(ends(mark)));
        self.marks.get(place).map(ends)
    }

    fn total(&self) -> u64 {
        self.total_before(self.marks.len())
    }

    fn total_outside(&self, span: Duration, now: Boottime) -> u64 {
        self.total_before(self.marks.partition_point(|mark| mark.at + span < now))
    }

    fn total_before(&self, place: usize) -> u64 {
        match place.checked_sub(1) {
            Some(last) => self.marks[last].through,
            None => self.forgotten,
        }
    }

    /// Nothing is open, and no window can see anything.
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0 && self.marks.is_empty()
    }

    /// How many instants it remembers.
    pub(super) fn len(&self) -> usize {
        self.marks.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPANS: [u64; 3] = [1, 5, 30];

    /// What a ledger is told, with instants in whole seconds so that they collide often.
    #[derive(Clone, Debug)]
    enum Told {
        Mark {
            at: u64,
            requests: u32,
        },
        /// Takes the given earlier mark back.
        Unmark(usize),
        Open(u32),
        Forget,
    }

    fn told() -> impl Strategy<Value = Told> {
        prop_oneof![
            6 => (0_u64..40, 1_u32..4).prop_map(|(at, requests)| Told::Mark { at, requests }),
            2 => any::<usize>().prop_map(Told::Unmark),
            1 => (0_u32..3).prop_map(Told::Open),
            1 => Just(Told::Forget),
        ]
    }

    proptest! {
        #[test]
        fn the_ledger_counts_like_a_plain_list(all in prop::collection::vec((told(), 0_u64..4), 1..60)) {
            let mut ledger = Ledger::new(Duration::from_secs(30));
            let (mut plain, mut open, mut now) = (Vec::<(u64, u32)>::new(), 0_u64, 0_u64);
            for (told, passes) in all {
                now += passes;
                match told {
                    Told::Mark { at, requests } => {
                        let at = (now + 20).saturating_sub(at);
                        ledger.mark(Boottime::from_secs(at), requests);
                        plain.push((at, requests));
                    }
                    Told::Unmark(which) if !plain.is_empty() => {
                        let (at, requests) = plain.swap_remove(which % plain.len());
                        // What nobody can see any more may be forgotten already.
                        if at + 30 >= now {
                            ledger.unmark(Boottime::from_secs(at), requests);
                        }
                    }
                    Told::Unmark(_) => {}
                    Told::Open(requests) => {
                        ledger.open(requests);
                        open += u64::from(requests);
                    }
                    Told::Forget => ledger.forget(Boottime::from_secs(now)),
                }
                for span in SPANS {
                    let counts = |now: u64| open + plain.iter().filter(|(at, _)| at + span >= now).map(|(_, n)| u64::from(*n)).sum::<u64>();
                    let (span, at) = (Duration::from_secs(span), Boottime::from_secs(now));
                    prop_assert_eq!(ledger.used(span, at), counts(now));
                    for room in 0..=counts(now) + 2 {
                        prop_assert!(!ledger.surely_within(room, span, at) || counts(now) <= room, "{} is not within {}", counts(now), room);
                    }
                    for fewer in 1..=counts(now) {
                        let drops = (now..now + 60).find(|later| counts(*later) + fewer <= counts(now));
                        let used = ledger.used(span, at);
                        let said = ledger.first_where(span, at, |later| ledger.used(span, later) + fewer <= used);
                        let said = said.map(|at| at.as_micros().div_ceil(1_000_000));
                        prop_assert_eq!(said, drops);
                    }
                }
            }
        }
    }

    #[test]
    fn a_ledger_remembers_no_longer_than_its_longest_window() {
        let mut ledger = Ledger::new(Duration::from_secs(60));
        for second in 0..10_000 {
            ledger.mark(Boottime::from_secs(second), 1);
            ledger.forget(Boottime::from_secs(second));
            assert!(ledger.len() <= 61, "{} marks", ledger.len());
        }
    }
}
