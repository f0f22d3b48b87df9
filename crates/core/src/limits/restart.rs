//! Permits across a restart: from what a predecessor wrote down to instants of this boot.
//!
//! A new process that began with empty windows would let N requests through right after its predecessor sent N. What
//! was recorded in this boot is taken at its word. After a reboot boottimes mean nothing, so wall time decides; and if
//! the wall clock was set back (it shows a time before something that is on record) it means nothing either, and
//! everything on record counts as sent now.
//!
//! Always true: the instants given are never earlier than the true ones, as far as the machine can know them
//! (`a_reboot_never_makes_a_permit_older`).

use crate::record::Reservation;
use crate::time::{BootId, Boottime, Now, Timestamp};

/// When a reservation's requests were sent, on this boot's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    pub first_sent: Boottime,
    /// `None`: nobody settled it.
    pub last_arrival: Option<Boottime>,
}

/// How many permits of the reservation count, and when. `latest` is the latest wall time on record anywhere.
pub fn restored(reservation: &Reservation, boot: &BootId, now: Now, latest: Option<Timestamp>) -> (u32, Restored) {
    let used = reservation.settled.map_or(reservation.permits, |settled| settled.used);
    let here = |at: Boottime, wall: Timestamp| match reservation.boot_id == *boot {
        true => at,
        false => boottime_of(wall, now, latest),
    };
    let first_sent = here(reservation.first_sent, reservation.first_sent_wall);
    let last_arrival = reservation.settled.map(|settled| here(settled.last_arrival, settled.last_arrival_wall));
    (used, Restored { first_sent, last_arrival })
}

fn boottime_of(wall: Timestamp, now: Now, latest: Option<Timestamp>) -> Boottime {
    let clock_was_set_back = latest.is_some_and(|latest| now.wall < latest) || now.wall < wall;
    if clock_was_set_back {
        return now.boot;
    }
    let ago = now.wall.duration_since(wall).unsigned_abs();
    // Before this boot: its first instant is the earliest that can be said, and errs on the safe side.
    now.boot - ago
}
