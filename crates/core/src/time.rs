//! The two clocks of adce, and the only types in which core takes a time.
//!
//! Limits, leases and timeouts must not move when somebody sets the wall clock, so they use `Boottime`
//! (`CLOCK_BOOTTIME`, which also counts while the machine sleeps). Due times, freshness and schedules are promises
//! about the calendar, so they use `Timestamp`. Mixing the two up is a type error.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

pub use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// An instant as it is remembered: what a spec says may lie between two microseconds, and would look new at every comparison
/// with what is on record.
pub fn in_whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// Microseconds since this machine booted. Only comparable within one [`BootId`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Boottime(pub u64);

impl Boottime {
    pub const fn from_micros(micros: u64) -> Self {
        Boottime(micros)
    }

    pub const fn from_secs(secs: u64) -> Self {
        Boottime(secs * 1_000_000)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The span from `earlier` to `self`; zero if `earlier` is later.
    pub fn since(self, earlier: Boottime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Boottime {
    type Output = Boottime;

    fn add(self, span: Duration) -> Boottime {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Boottime(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Boottime {
    type Output = Boottime;

    fn sub(self, span: Duration) -> Boottime {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Boottime(self.0.saturating_sub(micros))
    }
}

/// Names one boot of one machine (`/proc/sys/kernel/random/boot_id`); persisted `Boottime`s mean nothing without it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BootId(pub String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub wall: Timestamp,
    pub boot: Boottime,
}

impl Now {
    /// The wall time at which `boot` will be reached if nobody sets the clock: for display and for persisting only.
    pub fn wall_at(&self, boot: Boottime) -> Timestamp {
        let ahead = i64::try_from(boot.0).unwrap_or(i64::MAX).saturating_sub(i64::try_from(self.boot.0).unwrap_or(i64::MAX));
        self.wall.checked_add(SignedDuration::from_micros(ahead)).unwrap_or(Timestamp::MAX)
    }

    /// The first boottime at which the wall clock will have reached `wall` if nobody sets it; `self.boot` if that has passed. A
    /// microsecond earlier whoever waits for it would find that it is not time yet, and wait for the same instant for ever.
    pub fn boot_at(&self, wall: Timestamp) -> Boottime {
        let ahead = Duration::try_from(wall.duration_since(self.wall)).unwrap_or(Duration::ZERO);
        let parts = Duration::from_nanos(u64::from(ahead.subsec_nanos() % 1_000));
        let whole = if parts.is_zero() { ahead } else { ahead - parts + Duration::from_micros(1) };
        self.boot + whole
    }
}

/// An instant as it is kept for other processes, other boots and other hosts. By default one that has come for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    pub boot_id: BootId,
    pub boot: Boottime,
    pub wall: Timestamp,
}

impl Moment {
    pub fn of(boot_id: &BootId, now: Now) -> Self {
        Moment { boot_id: boot_id.clone(), boot: now.boot, wall: now.wall }
    }

    pub fn later(self, span: Duration) -> Self {
        let wall = SignedDuration::try_from(span).ok().and_then(|span| self.wall.checked_add(span).ok());
        Moment { boot: self.boot + span, wall: wall.unwrap_or(Timestamp::MAX), ..self }
    }

    /// On the boot that it names boottime decides; on any other, after a reboot or elsewhere, the wall clock.
    pub fn has_come(&self, now: &Moment) -> bool {
        if self.boot_id == now.boot_id { self.boot <= now.boot } else { self.wall <= now.wall }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_sleeps_until_an_instant_finds_that_it_has_come() {
        let now = Now { wall: "2025-03-09T14:00:00.000000700Z".parse().unwrap(), boot: Boottime(5) };
        for (ahead, micros) in [(-1, 0), (0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (90_000_000_300, 90_000_001)] {
            let then = now.wall + SignedDuration::from_nanos(ahead);
            assert_eq!(now.boot_at(then), Boottime(5 + micros), "{ahead} ns");
            assert!(now.wall_at(now.boot_at(then)) >= then, "{ahead} ns");
        }
    }
}
