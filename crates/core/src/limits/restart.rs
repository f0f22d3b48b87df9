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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::SettledReservation;

    fn wall(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn reservation(settled: bool) -> Reservation {
        let settled = settled.then(|| SettledReservation {
            used: 2,
            last_arrival: Boottime::from_secs(520),
            last_arrival_wall: wall("2025-03-09T14:00:20Z"),
        });
        Reservation {
            id: 1,
            source: "espn".into(),
            value: None,
            permits: 5,
            boot_id: BootId("before".into()),
            first_sent: Boottime::from_secs(500),
            first_sent_wall: wall("2025-03-09T14:00:00Z"),
            settled,
        }
    }

    fn now(boot_secs: u64, text: &str) -> Now {
        Now { wall: wall(text), boot: Boottime::from_secs(boot_secs) }
    }

    #[test]
    fn in_the_same_boot_the_wall_clock_says_nothing() {
        let now = now(530, "1999-01-01T00:00:00Z");
        let (used, restored) = restored(&reservation(true), &BootId("before".into()), now, Some(wall("2025-03-09T14:00:20Z")));
        let expected = Restored { first_sent: Boottime::from_secs(500), last_arrival: Some(Boottime::from_secs(520)) };
        assert_eq!((used, restored), (2, expected));
    }

    #[test]
    fn a_reboot_never_makes_a_permit_older() {
        let boot = BootId("after".into());
        let (used, up_long) = restored(&reservation(true), &boot, now(900, "2025-03-09T14:01:00Z"), None);
        assert_eq!((used, up_long.last_arrival), (2, Some(Boottime::from_secs(860))));
        let (_, just_up) = restored(&reservation(true), &boot, now(15, "2025-03-09T14:01:00Z"), None);
        assert_eq!(just_up.last_arrival, Some(Boottime::from_secs(0)), "40 s ago is before this boot");
    }

    #[test]
    fn a_wall_clock_that_was_set_back_makes_everything_count_as_sent_now() {
        let boot = BootId("after".into());
        let earlier_than_itself = restored(&reservation(true), &boot, now(15, "2025-03-09T13:59:00Z"), None);
        let latest = Some(wall("2025-03-09T18:00:00Z"));
        let earlier_than_the_latest = restored(&reservation(true), &boot, now(15, "2025-03-09T17:00:00Z"), latest);
        for (used, restored) in [earlier_than_itself, earlier_than_the_latest] {
            assert_eq!((used, restored.last_arrival), (2, Some(Boottime::from_secs(15))));
        }
    }

    #[test]
    fn what_nobody_settled_counts_in_full() {
        let (used, restored) = restored(&reservation(false), &BootId("after".into()), now(900, "2025-03-09T14:01:00Z"), None);
        assert_eq!((used, restored.last_arrival), (5, None));
    }
}
