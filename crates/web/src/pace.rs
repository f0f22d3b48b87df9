//! How often one address may ask, so that a script that has gone wild costs the engine no work.
//!
//! Each has a bucket that fills at an even rate; what it holds may come at once. Of addresses that have not asked for long nothing is
//! kept, and never more than a bounded number: then all begin anew, which is generous and never wrong for somebody who keeps to the
//! rate.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use adce_core::time::{SignedDuration, Timestamp};

/// A status page that is polled a hundred times a second stays well below.
pub(crate) const REQUESTS: Rate = Rate { every: Duration::from_millis(4), at_once: 500 };
/// Tokens are too long to be guessed; who tries is broken or up to no good.
pub(crate) const WRONG_TOKENS: Rate = Rate { every: Duration::from_secs(6), at_once: 10 };

const KEPT_AT_MOST: usize = 10_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) every: Duration,
    pub(crate) at_once: u32,
}

pub(crate) struct Pace<K> {
    rate: Rate,
    /// When the bucket of each will be full again.
    full_at: HashMap<K, Timestamp>,
}

impl<K: Hash + Eq> Pace<K> {
    pub(crate) fn of(rate: Rate) -> Self {
        Pace { rate, full_at: HashMap::new() }
    }

    /// Whether `who` may go on now; otherwise after how long.
    pub(crate) fn take(&mut self, who: K, now: Timestamp) -> Result<(), Duration> {
        let (full_at, step, whole) = self.bucket(&who, now);
        let wait = full_at.saturating_add(step).unwrap_or(now).duration_since(now) - whole;
        if wait > SignedDuration::ZERO {
            return Err(Duration::try_from(wait).unwrap_or_default());
        }
        if self.full_at.len() >= KEPT_AT_MOST {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= KEPT_AT_MOST {
                self.full_at.clear();
            }
        }
        self.full_at.insert(who, full_at.saturating_add(step).unwrap_or(now));
        Ok(())
    }

    /// As [`take`](Self::take), and takes nothing.
    pub(crate) fn would_take(&self, who: &K, now: Timestamp) -> Result<(), Duration> {
        let (full_at, step, whole) = self.bucket(who, now);
        let wait = full_at.saturating_add(step).unwrap_or(now).duration_since(now) - whole;
        if wait > SignedDuration::ZERO { Err(Duration::try_from(wait).unwrap_or_default()) } else { Ok(()) }
    }

    fn bucket(&self, who: &K, now: Timestamp) -> (Timestamp, SignedDuration, SignedDuration) {
        let step = SignedDuration::try_from(self.rate.every).unwrap_or_default();
        let whole = step * i32::try_from(self.rate.at_once).unwrap_or(i32::MAX);
        // No bucket takes longer than a whole one: the clock was set back, and nobody is shut out for that.
        let latest = now.saturating_add(whole).unwrap_or(now);
        let full_at = self.full_at.get(who).filter(|full_at| **full_at <= latest).map_or(now, |full_at| (*full_at).max(now));
        (full_at, step, whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn what_is_in_the_bucket_may_come_at_once_and_the_rest_evenly() {
        let mut pace = Pace::of(Rate { every: Duration::from_millis(100), at_once: 3 });
        assert!((0..3).all(|_| pace.take("a", at(0)).is_ok()));
        assert_eq!(pace.take("a", at(0)), Err(Duration::from_millis(100)));
        assert_eq!(pace.would_take(&"a", at(40)), Err(Duration::from_millis(60)));
        assert_eq!(pace.take("b", at(0)), Ok(()), "others have buckets of their own");
        assert_eq!((pace.take("a", at(100)), pace.take("a", at(100))), (Ok(()), Err(Duration::from_millis(100))));
        assert!((0..3).all(|_| pace.take("a", at(10_000)).is_ok()), "full again");
        assert!(pace.take("a", at(10_000)).is_err());
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let mut pace = Pace::of(Rate { every: Duration::from_millis(100), at_once: 3 });
        assert_eq!(pace.take("a", at(1_000_000)), Ok(()));
        assert_eq!((pace.would_take(&"a", at(0)), pace.take("a", at(0))), (Ok(()), Ok(())));
        assert_eq!((pace.take("a", at(0)), pace.take("a", at(0)).is_err()), (Ok(()), false));
        assert!(pace.take("a", at(0)).is_err(), "and nobody gets more by it");
    }

    #[test]
    fn many_addresses_take_a_bounded_place() {
        let mut pace = Pace::of(REQUESTS);
        assert!((0..3 * KEPT_AT_MOST).all(|who| pace.take(who, at(0)).is_ok()));
        assert!(pace.full_at.len() <= KEPT_AT_MOST);
    }
}
