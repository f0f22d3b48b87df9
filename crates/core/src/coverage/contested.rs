//! Objects that somebody takes away as often as they are filled: a clean-up job, a second tool on the same lake, a key
//! that another dataset of another config claims.
//!
//! Without it adce fills such an object at every look, day and night, on the upstream's account. An object that was filled
//! and found gone three times within a day is contested: it is not fetched a fourth time until a day has passed since, or
//! a person says so (`adce accept KEY`). A whole day, and not only until the first of the three is a day old, because then
//! it would go on at three a day for ever, and nobody would look.
//!
//! It is a function of what is remembered, so `plan`, a restart and another host see the same: what is on record is each
//! loss, not each fill, because most objects are filled once and never lost, and a record of that would be all they have
//! (`an_object_that_is_gone_three_times_in_a_day_is_contested_for_a_day`).

use crate::gap::{Progress, Reason, Standing};
use crate::record::ItemRecord;
use crate::time::{SignedDuration, Timestamp};

/// So many losses within a day.
const LOSSES: usize = 3;

const A_DAY: SignedDuration = SignedDuration::from_hours(24);

impl ItemRecord {
    /// Its object is missing. That is a loss if it had been filled less than a day before, and since the last loss.
    pub fn found_missing(&mut self, now: Timestamp) {
        let Some(filled) = self.confirmed else { return };
        // The attempt that fills it again begins after the loss was seen, if only in the same moment.
        let since_the_last = self.losses.last().is_none_or(|last| filled >= *last);
        if now.duration_since(filled) > A_DAY || !since_the_last {
            return;
        }
        self.losses.retain(|loss| now.duration_since(*loss) <= A_DAY);
        self.losses.push(now);
        if self.losses.len() > LOSSES {
            self.losses.remove(0);
        }
    }

    /// Not to be fetched before, if it is contested.
    pub fn contested_until(&self) -> Option<Timestamp> {
        let last = self.losses.last().filter(|_| self.losses.len() >= LOSSES)?;
        Some(last.checked_add(A_DAY).unwrap_or(Timestamp::MAX))
    }

    /// A person says that it may be fetched.
    pub fn release(&mut self) {
        self.losses.clear();
    }
}

/// What a new gap begins with.
pub(super) fn first_progress(reason: Reason, record: Option<&ItemRecord>, now: Timestamp) -> Progress {
    let contested_until = record.filter(|_| reason == Reason::Missing).and_then(|record| {
        let mut record = record.clone();
        record.found_missing(now);
        record.contested_until().filter(|until| *until > now)
    });
    match contested_until {
        Some(until) => Progress { standing: Standing::Contested, next_try: Some(until), ..Progress::default() },
        None => Progress::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        let start: Timestamp = "2025-03-09T00:00:00Z".parse().unwrap();
        start + SignedDuration::from_hours(hours)
    }

    /// Filled and gone at these hours, each pair in its order; what the gap that opens last begins with.
    fn after(record: &mut ItemRecord, filled_and_gone: &[(i64, i64)]) -> Progress {
        let mut progress = Progress::default();
        for (filled, gone) in filled_and_gone {
            record.confirmed = Some(at(*filled));
            progress = first_progress(Reason::Missing, Some(record), at(*gone));
            record.found_missing(at(*gone));
        }
        progress
    }

    #[test]
    fn an_object_that_is_gone_three_times_in_a_day_is_contested_for_a_day() {
        let mut record = ItemRecord::default();
        assert_eq!(after(&mut record, &[(0, 1), (2, 3)]), Progress::default());
        let third = after(&mut record, &[(4, 5)]);
        assert_eq!((third.standing, third.next_try), (Standing::Contested, Some(at(29))));
        assert_eq!(first_progress(Reason::Missing, Some(&record), at(29)), Progress::default(), "a day has passed");
        assert_eq!(after(&mut record, &[(29, 30)]), Progress::default(), "a fourth time a day later is a first one");
    }

    #[test]
    fn losses_that_are_not_within_a_day_are_not_counted_together() {
        assert_eq!(after(&mut ItemRecord::default(), &[(0, 1), (13, 14), (25, 26), (38, 39)]), Progress::default());
        assert_eq!(after(&mut ItemRecord::default(), &[(0, 30), (31, 61), (62, 92)]), Progress::default(), "gone a day after");
        let contested = after(&mut ItemRecord::default(), &[(0, 1), (30, 31), (32, 33), (34, 35)]);
        assert_eq!(contested.standing, Standing::Contested);
    }

    #[test]
    fn what_was_not_filled_since_it_was_lost_is_not_lost_again() {
        let mut record = ItemRecord { confirmed: Some(at(0)), ..ItemRecord::default() };
        for hour in 1..9 {
            record.found_missing(at(hour));
        }
        assert_eq!((record.losses.as_slice(), record.contested_until()), ([at(1)].as_slice(), None));
        let mut never_filled = ItemRecord::default();
        never_filled.found_missing(at(1));
        assert_eq!(never_filled, ItemRecord::default());
    }

    #[test]
    fn only_what_is_missing_is_contested_and_a_person_ends_it() {
        let mut record = ItemRecord::default();
        after(&mut record, &[(0, 1), (2, 3)]);
        record.confirmed = Some(at(4));
        assert_eq!(first_progress(Reason::Stale, Some(&record), at(5)), Progress::default());
        assert_eq!(first_progress(Reason::Missing, Some(&record), at(5)).standing, Standing::Contested);
        record.release();
        assert_eq!(first_progress(Reason::Missing, Some(&record), at(5)), Progress::default());
    }
}
