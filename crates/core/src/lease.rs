//! Until when an attempt's lease holds, and when it is renewed.
//!
//! A lease says who may record results for a gap and make adce publish. Its fencing token alone decides that; the instant until
//! which it holds tells everybody else how long to keep away from a holder that says nothing any more: it hangs, its machine
//! sleeps, or its host is gone.
//!
//! The rules, for every store:
//!
//! - While a lease holds, nobody but its holder ends it. Once it has expired anybody may ([`crate::record::Change::Lapse`]); its
//!   gaps are free then, its task stays where it is in line, and its token is stale for ever.
//! - Expiry alone takes nothing from the holder: as long as nobody has ended the lease, its token is current, and renewing makes it
//!   hold again. So a machine that slept goes on where it was, unless its work is somebody else's by now; then it is told so
//!   before it publishes anything, and ends.
//! - To begin publishing renews: whoever replaces an object has at least [`LENGTH`] to do so, or until its next beat.
//!
//! An attempt that is shorter than [`BEAT`] is never renewed, and a lease has a third of its length left at the very least
//! whenever the engine's loop has its turns (`a_lease_never_expires_while_the_loop_has_its_turns`).

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ids::AttemptId;
use crate::time::{Boottime, Moment};

/// Three beats: one may be missed by a loop that is busy with a million items, and the next one is still in time.
pub const LENGTH: Duration = Duration::from_secs(60);

pub const BEAT: Duration = Duration::from_secs(20);

/// Until when a lease holds that is taken or renewed now.
pub fn until(now: &Moment) -> Moment {
    now.clone().later(LENGTH)
}

/// Renews what needs it, and nothing else.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat {
    last: Option<Boottime>,
    /// Held at the last beat.
    held: BTreeSet<AttemptId>,
}

/// What one beat does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Those that were held at the beat before, too. All others have two thirds of their time left.
    pub renew: Vec<AttemptId>,
    /// They had expired by now: since the beat before, so much time has passed.
    pub slept: Option<Duration>,
}

impl Heartbeat {
    /// `held`: all leases that somebody works under or may begin to. Asked with every turn; `None`: it is not time yet.
    pub fn beat(&mut self, held: impl FnOnce() -> BTreeSet<AttemptId>, now: Boottime) -> Option<Beat> {
        let last = *self.last.get_or_insert(now);
        if now < last + BEAT {
            return None;
        }
        let held = held();
        let renew: Vec<AttemptId> = held.intersection(&self.held).copied().collect();
        let passed = now.since(last);
        let slept = (passed >= LENGTH && !renew.is_empty()).then_some(passed);
        (self.last, self.held) = (Some(now), held);
        Some(Beat { renew, slept })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::Uuid;
    use crate::time::{BootId, Now, SignedDuration, Timestamp};

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Uuid::from_u128(number))
    }

    fn moment(boot_id: &str, boot_secs: u64, wall_secs: i64) -> Moment {
        Moment::of(&BootId(boot_id.into()), Now { boot: Boottime::from_secs(boot_secs), wall: Timestamp::from_second(wall_secs).unwrap() })
    }

    #[test]
    fn on_its_own_boot_boottime_decides_and_on_any_other_the_wall_clock() {
        let until = until(&moment("this", 1_000, 1_741_500_000));
        assert!(!until.has_come(&moment("this", 1_059, 1_741_509_999)), "somebody set the clock on");
        assert!(until.has_come(&moment("this", 1_060, 1_741_400_000)), "somebody set the clock back");
        assert!(!until.has_come(&moment("another", 9_999, 1_741_500_059)));
        assert!(until.has_come(&moment("another", 1, 1_741_500_060)));
    }

    #[test]
    fn a_short_attempt_is_never_renewed_and_a_beat_without_long_ones_writes_nothing() {
        let mut heartbeat = Heartbeat::default();
        for second in 0..600 {
            // Each lives for nineteen seconds at the most.
            let beat = heartbeat.beat(|| [attempt(second / 19)].into(), Boottime::from_secs(second as u64));
            assert!(beat.is_none_or(|beat| beat.renew.is_empty()), "after {second} s");
        }
    }

    #[test]
    fn who_slept_is_told_and_renews_what_had_expired() {
        let mut heartbeat = Heartbeat::default();
        let held = || [attempt(1)].into();
        assert_eq!(heartbeat.beat(held, Boottime::from_secs(0)), None);
        assert_eq!(heartbeat.beat(held, Boottime::from_secs(20)), Some(Beat::default()));
        let beat = heartbeat.beat(held, Boottime::from_secs(7_220));
        assert_eq!(beat, Some(Beat { renew: vec![attempt(1)], slept: Some(Duration::from_secs(7_200)) }));
        assert_eq!(heartbeat.beat(held, Boottime::from_secs(7_221)), None);
    }

    proptest! {
        #[test]
        fn a_lease_never_expires_while_the_loop_has_its_turns(
            attempts in prop::collection::vec((0u64..400_000, 0u64..400_000), 1..20),
            turns in prop::collection::vec(1u64..1_100, 100..600),
        ) {
            let boot = BootId("this".into());
            let at = |millis: u64| {
                let wall = Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis as i64);
                Moment::of(&boot, Now { boot: Boottime::from_micros(millis * 1_000), wall })
            };
            // A loop's first turn leases only after it has asked.
            let mut heartbeat = Heartbeat::default();
            heartbeat.beat(BTreeSet::new, Boottime::from_micros(0));
            let mut until_of: BTreeMap<AttemptId, Moment> = BTreeMap::new();
            let mut now = 0;
            for turn in turns {
                now += turn;
                let mut held = BTreeSet::new();
                for (number, (from, takes)) in attempts.iter().enumerate() {
                    if (*from..from + takes).contains(&now) {
                        held.insert(attempt(number as u128));
                        until_of.entry(attempt(number as u128)).or_insert_with(|| until(&at(*from)));
                    }
                }
                for attempt in &held {
                    prop_assert!(!until_of[attempt].has_come(&at(now + LENGTH.as_millis() as u64 / 3 - 2_200)), "at {now}");
                }
                if let Some(beat) = heartbeat.beat(|| held.clone(), at(now).boot) {
                    prop_assert_eq!(beat.slept, None);
                    beat.renew.iter().for_each(|attempt| drop(until_of.insert(*attempt, until(&at(now)))));
                }
            }
        }
    }
}
