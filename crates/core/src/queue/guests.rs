//! Programs that a person runs by hand (`adce exec`), and whose requests keep the same limits as everything else.
//!
//! Without them whoever tries a scraper in a terminal uses up the quota of the engine beside it, and nobody knows. A guest has no
//! task: it takes no slot, nothing is charged ahead, each of its requests takes a permit of its own, with the priority of what
//! declares none.
//!
//! Always true: after its dismissal a guest gets no permit, and what it still has under way is settled like any other
//! (`a_guest_keeps_every_limit_and_takes_no_slot`).
//!
//! No state remembers a guest: it dies with its engine, and what it sent is in the reservations.

use super::Dispatcher;
use crate::ids::AttemptId;
use crate::record::Change;
use crate::time::Now;

impl Dispatcher {
    /// `acquire`, `settle` and `answered` work for it from now on, until it is dismissed.
    pub fn admit(&mut self, guest: AttemptId) {
        self.guests.insert(guest);
    }

    /// It is over. A breaker that it was probing makes room for another probe.
    pub fn dismiss(&mut self, guest: AttemptId, now: Now) -> Vec<Change> {
        if !self.guests.remove(&guest) {
            return Vec::new();
        }
        self.leaves(guest, None, now);
        if self.is_deserted() { self.grants.close_all(now) } else { Vec::new() }
    }

    pub fn guests(&self) -> usize {
        self.guests.len()
    }

    /// Nobody is there who could ask for a permit.
    pub(super) fn is_deserted(&self) -> bool {
        self.running.is_empty() && self.guests.is_empty()
    }
}
