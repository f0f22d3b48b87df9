//! When time alone gives items another state: they fall due, grow stale, or their absence is asked about again.
//!
//! Without it somebody would have to look at all items over and over for the few that change. A million timers are 16 MB,
//! and cost nothing until they fire.
//!
//! Always true: after [`Timers::fired`] at some instant no item's first change lies at or before it, and each of them was
//! named (`what_time_changes_is_found_and_nothing_else`). An item may be named once too often, when what its timer stood for
//! has changed meanwhile: who judges it again finds what is true.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::expected::ItemIx;
use crate::time::Timestamp;

/// In one order, whatever it is that changes.
#[derive(Clone, Debug, Default)]
pub struct Timers {
    /// Instants in microseconds.
    waiting: BinaryHeap<Reverse<(i64, ItemIx)>>,
}

impl Timers {
    pub(super) fn of(set: Vec<(i64, ItemIx)>) -> Self {
        Timers { waiting: set.into_iter().map(Reverse).collect() }
    }

    pub(super) fn set(&mut self, set: impl IntoIterator<Item = (i64, ItemIx)>) {
        self.waiting.extend(set.into_iter().map(Reverse));
    }

    /// The first instant at which something changes.
    pub fn next(&self) -> Option<Timestamp> {
        self.waiting.peek().and_then(|Reverse((micros, _))| Timestamp::from_microsecond(*micros).ok())
    }

    /// All items of which something changed by now.
    pub fn fired(&mut self, now: Timestamp) -> Vec<ItemIx> {
        let mut items = Vec::new();
        while let Some(Reverse((micros, item))) = self.waiting.peek().copied() {
            if micros > now.as_microsecond() {
                break;
            }
            self.waiting.pop();
            items.push(item);
        }
        items
    }

    /// In no order, with their instants in microseconds.
    pub(super) fn all(&self) -> impl Iterator<Item = (i64, ItemIx)> {
        self.waiting.iter().map(|Reverse(timer)| *timer)
    }
}

/// The instant to judge by: wall time, but not before what was judged by already if a clock was merely set right. An item
/// that was due is not taken back for that, and falls due once. A clock that was days ahead is believed to have been wrong.
pub fn judging_time(judged: Option<Timestamp>, wall: Timestamp) -> Timestamp {
    const SET_RIGHT_BY_SECONDS: i64 = 86_400;
    match judged {
        Some(judged) if judged > wall && judged.as_second() - wall.as_second() <= SET_RIGHT_BY_SECONDS => judged,
        _ => wall,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_timer_fires_once_and_in_its_turn() {
        let set = |seconds: i64, item| (at(seconds).as_microsecond(), ItemIx(item));
        let mut timers = Timers::of(vec![set(9, 1), set(3, 2), set(5, 3)]);
        timers.set([set(4, 4)]);
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(timers.fired(at(2)), []);
        assert_eq!(timers.fired(at(5)), [ItemIx(2), ItemIx(4), ItemIx(3)]);
        assert_eq!((timers.fired(at(5)), timers.next()), (vec![], Some(at(9))));
    }

    #[test]
    fn a_clock_that_is_set_right_takes_nothing_back() {
        assert_eq!(judging_time(None, at(5)), at(5));
        assert_eq!(judging_time(Some(at(5)), at(9)), at(9));
        assert_eq!(judging_time(Some(at(3_600)), at(0)), at(3_600));
        assert_eq!(judging_time(Some(at(86_401)), at(0)), at(0), "it was wrong before");
    }
}
