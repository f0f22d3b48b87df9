//! How much a task matters now: (base + min(age_multiplier × hours, age_cap)) × importance × size × success.
//!
//! Scores are whole micro-points, so that two machines, a restart and the brute-force check all see the same order.
//! Rounding happens once, at the end, and downwards: within a class an older task never scores less than a younger
//! one (`an_older_task_never_scores_less`), which is what lets the pick look at the first of each class only.
//!
//! With `enabled: false` the score is the priority's rank alone, and age decides as the tie-breaker it always is.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use super::Score;
use crate::spec::{PriorityLevel, SizeBound, Weighting};
use crate::time::{SignedDuration, Timestamp};

/// One point, one whole, one times: in millionths.
pub(super) const MILLION: i64 = 1_000_000;

const MICROS_AN_HOUR: i128 = 3_600 * MICROS_A_SECOND;

const MICROS_A_SECOND: i128 = 1_000_000;

/// So many micro-points of a race that is too close to be foretold are looked at one by one.
const CLOSE_RACE: usize = 200;

/// The success of fewer attempts says nothing yet.
const FEWEST_ATTEMPTS_THAT_COUNT: usize = 10;

/// So many attempts of a collector are remembered.
pub(super) const REMEMBERED_ATTEMPTS: usize = 50;

/// Where a task stands among equals: oldest detected_at, later due (none is last), key; of its first gap.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub detected_at: Timestamp,
    pub due: Reverse<Option<Timestamp>>,
    pub key: Arc<str>,
}

impl Place {
    pub(super) fn as_ref(&self) -> PlaceRef<'_> {
        PlaceRef { detected_at: packed(self.detected_at), due: Reverse(self.due.0.map_or(NO_DUE, packed)), key: &self.key }
    }
}

/// A [`Place`] to compare with: the instants in microseconds, which is all that is kept of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PlaceRef<'a> {
    pub detected_at: i64,
    pub due: Reverse<i64>,
    pub key: &'a str,
}

impl PlaceRef<'_> {
    pub(super) fn to_owned(self) -> Place {
        let due = (self.due.0 != NO_DUE).then(|| unpacked(self.due.0));
        Place { detected_at: self.detected_at(), due: Reverse(due), key: self.key.into() }
    }

    pub(super) fn detected_at(self) -> Timestamp {
        unpacked(self.detected_at)
    }
}

impl PlaceRef<'static> {
    /// Before all that were detected then or later.
    pub(super) fn first_at(detected_at: Timestamp) -> Self {
        PlaceRef { detected_at: packed(detected_at), due: Reverse(i64::MAX), key: "" }
    }
}

/// Before every instant, so that none is last.
pub(super) const NO_DUE: i64 = i64::MIN;

/// Half the bytes. States keep no more of an instant either.
pub(super) fn packed(instant: Timestamp) -> i64 {
    instant.as_microsecond()
}

pub(super) fn unpacked(micros: i64) -> Timestamp {
    // The fraction of the very last second has no microseconds of its own.
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// A place and the score that goes before it. The greater is the better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rank {
    pub score: i64,
    pub place: Place,
}

impl Ord for Rank {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.cmp(&other.score).then_with(|| other.place.cmp(&self.place))
    }
}

impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Which of the `task_size` bands a task is in; the last one is for those in none.
pub(super) type Band = u8;

impl Factors {
    fn product(self) -> i128 {
        i128::from(self.importance) * i128::from(self.size) * i128::from(self.success)
    }
}

/// [`Weighting`] in whole numbers.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    enabled: bool,
    /// By priority, low first.
    bases: [i64; 4],
    age_an_hour: i64,
    age_cap: i64,
    bands: Vec<(SizeBound, i64)>,
    success_below: f64,
    success_multiplier: i64,
}

/// What a score is made of besides age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Factors {
    base: i64,
    importance: i64,
    size: i64,
    success: i64,
}

impl Weights {
    pub(super) fn of(weighting: &Weighting) -> Self {
        let base = |level| millionths(weighting.base_scores.of(level));
        Weights {
            enabled: weighting.enabled,
            bases: [base(PriorityLevel::Low), base(PriorityLevel::Medium), base(PriorityLevel::High), base(PriorityLevel::Critical)],
            age_an_hour: millionths(weighting.age_multiplier).max(0),
            age_cap: millionths(weighting.age_cap).max(0),
            bands: weighting.task_size.iter().map(|band| (band.bound, millionths(band.multiplier))).collect(),
            success_below: weighting.success_below,
            success_multiplier: millionths(weighting.success_multiplier),
        }
    }

    pub(super) fn band(&self, gaps: usize) -> Band {
        let gaps = u32::try_from(gaps).unwrap_or(u32::MAX);
        let holds = |bound: &SizeBound| match *bound {
            SizeBound::Below(bound) => gaps < bound,
            SizeBound::Above(bound) => gaps > bound,
        };
        let found = self.bands.iter().position(|(bound, _)| holds(bound));
        Band::try_from(found.unwrap_or(self.bands.len())).unwrap_or(Band::MAX)
    }

    /// `attempts`: did each of the collector's last attempts fill something?
    pub(super) fn success(&self, attempts: impl ExactSizeIterator<Item = bool>) -> i64 {
        let of = attempts.len();
        let filled = attempts.filter(|filled| *filled).count();
        match of >= FEWEST_ATTEMPTS_THAT_COUNT && (filled as f64) / (of as f64) < self.success_below {
            true => self.success_multiplier,
            false => MILLION,
        }
    }

    pub(super) fn factors(&self, priority: PriorityLevel, importance: f64, band: Band, success: i64) -> Factors {
        if !self.enabled {
            return Factors { base: (priority as i64 + 1) * MILLION, importance: MILLION, size: MILLION, success: MILLION };
        }
        let size = self.bands.get(usize::from(band)).map_or(MILLION, |(_, multiplier)| *multiplier);
        Factors { base: self.bases[priority as usize], importance: millionths(importance), size, success }
    }

    pub(super) fn score(&self, factors: Factors, detected_at: Timestamp, now: Timestamp) -> Score {
        let age = if self.enabled { self.age_points(detected_at, now) } else { 0 };
        let product = [factors.importance, factors.size, factors.success]
            .iter()
            .fold(i128::from(factors.base + age), |product, factor| product.saturating_mul(i128::from(*factor)));
        let total = product.div_euclid(i128::from(MILLION).pow(3));
        Score {
            total: i64::try_from(total).unwrap_or(i64::MAX),
            base: factors.base,
            age,
            importance: factors.importance,
            size: factors.size,
            success: factors.success,
        }
    }

    /// When age alone makes what is `behind` rank above what is `ahead` of it now; sometimes a little before that, never
    /// after it. `None`: it never does.
    ///
    /// Two that grow older together grow in score at different rates, up to a cap, so their order turns around at an
    /// instant that no other event marks.
    pub(super) fn overtakes(&self, behind: (Factors, &Place), ahead: (Factors, &Place), now: Timestamp) -> Option<Timestamp> {
        if !self.enabled || self.age_an_hour == 0 {
            return None;
        }
        if behind.1.detected_at.max(ahead.1.detected_at) > now {
            // Somebody set the clock back, and no age grows for a while.
            return Some(later_by(now, MICROS_A_SECOND));
        }
        let is_over = |at: Timestamp| {
            let rank = |(factors, place): (Factors, &Place)| Rank {
                score: self.score(factors, place.detected_at, at).total,
                place: place.clone(),
            };
            rank(behind) > rank(ahead)
        };
        let mut age = self.age_of_a_close_race(behind, ahead, now)?;
        // The order turns around at one of the instants at which the one behind gets a micro-point more.
        for _ in 0..CLOSE_RACE {
            let points = age * i128::from(self.age_an_hour) / MICROS_AN_HOUR + 1;
            if points > i128::from(self.age_cap) {
                return None;
            }
            age = (points * MICROS_AN_HOUR + i128::from(self.age_an_hour) - 1) / i128::from(self.age_an_hour);
            let at = later_by(behind.1.detected_at, age);
            if at > now && is_over(at) {
                return Some(at);
            }
        }
        Some(later_by(behind.1.detected_at, age).max(later_by(now, 1)))
    }

    /// Of the one behind, in microseconds: until then it cannot rank above the other, however scores are rounded.
    fn age_of_a_close_race(&self, behind: (Factors, &Place), ahead: (Factors, &Place), now: Timestamp) -> Option<i128> {
        let age = |(_, place): (Factors, &Place), at: Timestamp| i128::from(at.duration_since(place.detected_at).as_micros() as i64);
        let capped_at = i128::from(self.age_cap) * MICROS_AN_HOUR / i128::from(self.age_an_hour);
        let exact = |(factors, place): (Factors, &Place), passed: i128| {
            let age = (age((factors, place), now) + passed).min(capped_at);
            (i128::from(factors.base) * MICROS_AN_HOUR + age * i128::from(self.age_an_hour)).saturating_mul(factors.product())
        };
        // Rounding takes less than a micro-point from its age, and less than one more from the product.
        let tolerance = MICROS_AN_HOUR.saturating_mul(ahead.0.product().saturating_add(i128::from(MILLION).pow(3)));
        let lead = |passed: i128| exact(ahead, passed).saturating_sub(exact(behind, passed)).saturating_sub(tolerance);
        let until_capped = (capped_at - age(ahead, now)).max(0);
        let grows = i128::from(self.age_an_hour);
        let both_grow = grows * (behind.0.product() - ahead.0.product());
        let passed = match lead(0) {
            ..=0 => 0,
            lead if both_grow > 0 && lead / both_grow <= until_capped => lead / both_grow,
            // From then on only the one behind grows.
            _ => until_capped + (lead(until_capped).max(0) / (grows * behind.0.product()).max(1)),
        };
        let age = age(behind, now) + passed;
        (age < capped_at).then_some((age - 1).max(0))
    }

    fn age_points(&self, detected_at: Timestamp, now: Timestamp) -> i64 {
        let age = i128::from(now.duration_since(detected_at).as_micros().max(0).min(i128::from(i64::MAX)) as i64);
        let points = age * i128::from(self.age_an_hour) / MICROS_AN_HOUR;
        i64::try_from(points).unwrap_or(i64::MAX).min(self.age_cap)
    }
}

fn later_by(at: Timestamp, micros: i128) -> Timestamp {
    let span = SignedDuration::from_micros(i64::try_from(micros).unwrap_or(i64::MAX));
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

fn millionths(value: f64) -> i64 {
    (value * MILLION as f64).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(hours: i64) -> Timestamp {
        let start: Timestamp = "2025-03-09T00:00:00Z".parse().unwrap();
        start.checked_add(SignedDuration::from_hours(hours)).unwrap()
    }

    fn weights() -> Weights {
        Weights::of(&Weighting::default())
    }

    #[test]
    fn a_score_is_what_the_formula_says_to_the_millionth() {
        let weights = weights();
        let factors = weights.factors(PriorityLevel::Critical, 1.5, weights.band(1), MILLION);
        let score = weights.score(factors, at(0), at(0).checked_add(SignedDuration::from_mins(690)).unwrap());
        // (1000 + 0.5 × 11.5) × 1.5 × 1.3
        assert_eq!(score.total, 1_961_212_500);
        assert_eq!((score.base, score.age, score.size), (1_000_000_000, 5_750_000, 1_300_000));
    }

    #[test]
    fn age_is_capped_so_that_no_old_hole_outranks_tonight() {
        let weights = weights();
        let factors = weights.factors(PriorityLevel::Low, 1.0, weights.band(100), MILLION);
        assert_eq!(weights.score(factors, at(0), at(50_000)).total, 501 * MILLION);
        assert_eq!(weights.score(factors, at(5), at(0)).total, MILLION, "detected in the future is not older than now");
    }

    #[test]
    fn the_first_size_band_that_holds_counts() {
        let weights = weights();
        let bands: Vec<Band> = [1, 9, 10, 49, 50, 500, 501].iter().map(|gaps| weights.band(*gaps)).collect();
        assert_eq!(bands, [0, 0, 1, 1, 3, 3, 2]);
    }

    #[test]
    fn success_counts_from_ten_attempts_on() {
        let weights = weights();
        assert_eq!(weights.success([false; 9].into_iter()), MILLION);
        assert_eq!(weights.success([false; 10].into_iter()), 700_000);
        assert_eq!(weights.success([true, false].repeat(5).into_iter()), MILLION);
    }

    #[test]
    fn without_weighting_only_the_priority_scores() {
        let weights = Weights::of(&Weighting { enabled: false, ..Weighting::default() });
        let low = weights.factors(PriorityLevel::Low, 99.0, 0, MILLION);
        let medium = weights.factors(PriorityLevel::Medium, 0.1, 0, 1);
        assert!(weights.score(low, at(0), at(9_999)).total < weights.score(medium, at(9_999), at(9_999)).total);
    }

    proptest! {
        #[test]
        fn nobody_overtakes_before_it_is_foretold(
            ahead in (0i64..200_000_000, 0usize..4, 0u8..5, 0usize..2),
            behind in (0i64..200_000_000, 0usize..4, 0u8..5, 0usize..2),
            cap in 1i64..60,
        ) {
            let weights = Weights::of(&Weighting { age_cap: cap as f64, ..Weighting::default() });
            let one = |(millis, priority, band, success): (i64, usize, u8, usize)| {
                let detected_at = at(0) + SignedDuration::from_millis(millis);
                let place = Place { detected_at, due: Reverse(None), key: millis.to_string().into() };
                (weights.factors(PriorityLevel::ALL[priority], 1.0, band, [700_000, MILLION][success]), place)
            };
            let ((ahead, first), (behind, second), now) = (one(ahead), one(behind), at(60));
            let is_over = |when: Timestamp| {
                let rank = |factors, place: &Place| Rank { score: weights.score(factors, place.detected_at, when).total, place: place.clone() };
                rank(behind, &second) > rank(ahead, &first)
            };
            prop_assume!(!is_over(now));
            let said = weights.overtakes((behind, &second), (ahead, &first), now);
            for minutes in 1..10_000 {
                let when = now + SignedDuration::from_mins(minutes);
                prop_assert!(!is_over(when) || said.is_some_and(|said| said <= when), "{when}: {said:?}");
            }
            let Some(said) = said else { return Ok(()) };
            prop_assert!(said > now);
            for step in 1..2_000 {
                let when = said - SignedDuration::from_micros(step * 911);
                prop_assert!(when <= now || !is_over(when), "{when}: {said}");
            }
            // Hardly ever for nothing.
            prop_assert!(is_over(said + SignedDuration::from_secs(30)), "{said}");
        }

        #[test]
        fn an_older_task_never_scores_less(one in 0i64..5_000, other in 0i64..5_000, importance in 0.01f64..10.0, band in 0u8..5) {
            let weights = weights();
            let factors = weights.factors(PriorityLevel::High, importance, band, 700_000);
            let score = |detected: i64| weights.score(factors, at(detected), at(2_500)).total;
            prop_assert!(score(one.min(other)) >= score(one.max(other)));
        }
    }
}
