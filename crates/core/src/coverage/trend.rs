//! How complete datasets were over time, in few enough points to be kept for ever.
//!
//! Of the last day one point a minute is kept, of the last 31 days one an hour, of everything before one a day, and each time
//! the latest. So a dataset has some 2,200 points at the very most and 365 more for each year, however often it is looked at.
//!
//! Always true: thinning out twice is thinning out once, at the later of the two instants
//! (`thinning_out_on_the_way_changes_nothing`), and the newest point is never given up
//! (`what_is_kept_is_the_last_of_each_stretch`).

use serde::{Deserialize, Serialize};

use super::tally::Counts;
use crate::time::Timestamp;

const MINUTE: i64 = 60 * 1_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Where a dataset stood at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrendPoint {
    pub at: Timestamp,
    pub present: u64,
    /// Expected, less what upstream does not have.
    pub wanted: u64,
}

impl TrendPoint {
    pub fn of(counts: &Counts, at: Timestamp) -> TrendPoint {
        TrendPoint { at, present: counts.present, wanted: counts.wanted() }
    }

    /// Nothing wanted is complete.
    pub fn completeness(&self) -> f64 {
        if self.wanted == 0 { 1.0 } else { self.present as f64 / self.wanted as f64 }
    }
}

/// Which of these instants need no point any more. `points`: of one dataset, oldest first, in microseconds since 1970.
pub fn thinned_out(points: &[i64], now: Timestamp) -> Vec<i64> {
    let now = now.as_microsecond();
    // The stretch that a point stands for; the last one of each is kept. Borders lie on whole days and hours, so that a
    // stretch is never half in one rule and half in the other.
    let (days_before, hours_before) = ((now - 31 * DAY).div_euclid(DAY) * DAY, (now - DAY).div_euclid(HOUR) * HOUR);
    let stretch = |at: i64| match at {
        at if at < days_before => (DAY, at.div_euclid(DAY)),
        at if at < hours_before => (HOUR, at.div_euclid(HOUR)),
        at => (MINUTE, at.div_euclid(MINUTE)),
    };
    points.windows(2).filter(|pair| stretch(pair[0]) == stretch(pair[1])).map(|pair| pair[0]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    fn kept(points: &[i64], now: i64) -> Vec<i64> {
        let gone = thinned_out(points, Timestamp::from_microsecond(now).unwrap());
        points.iter().copied().filter(|at| !gone.contains(at)).collect()
    }

    /// Seconds to minutes between looks, up to three days apart.
    fn looks() -> impl Strategy<Value = Vec<i64>> {
        let between = prop_oneof![3 => 1..40_000_000_i64, 8 => 1..2_000_000_000_i64, 3 => MINUTE..3 * HOUR, 1 => HOUR..3 * DAY];
        proptest::collection::vec(between, 1..300).prop_map(|between| {
            let mut at = 1_700_000_000_000_000;
            between
                .into_iter()
                .map(|next| {
                    at += next;
                    at
                })
                .collect()
        })
    }

    /// When somebody thins out in the end: mostly where a rule's border, a day or 31 days before, falls right among the looks.
    fn ends() -> impl Strategy<Value = (Index, i64)> {
        let after_a_look = prop_oneof![
            1 => 0..90 * DAY,
            2 => (-MINUTE..MINUTE).prop_map(|off| DAY + off),
            2 => (-HOUR..HOUR).prop_map(|off| 31 * DAY + off),
        ];
        (any::<Index>(), after_a_look)
    }

    proptest! {
        #[test]
        fn thinning_out_on_the_way_changes_nothing(looks in looks(), (which, later) in ends()) {
            let now = looks[looks.len() - 1].max(looks[which.index(looks.len())] + later);
            let mut on_the_way: Vec<i64> = Vec::new();
            for at in &looks {
                on_the_way.push(*at);
                on_the_way = kept(&on_the_way, *at);
            }
            prop_assert_eq!(kept(&on_the_way, now), kept(&looks, now));
        }

        #[test]
        fn what_is_kept_is_the_last_of_each_stretch(looks in looks(), later in 0..90 * DAY) {
            let now = looks[looks.len() - 1] + later;
            let kept = kept(&looks, now);
            prop_assert_eq!(kept.last(), looks.last());
            // However many there were.
            let minutes = kept.iter().filter(|at| now - **at < DAY).count();
            let hours = kept.iter().filter(|at| now - **at < 31 * DAY).count() - minutes;
            let days = kept.len() - minutes - hours;
            let span = usize::try_from((now - looks[0]) / DAY).unwrap() + 2;
            prop_assert!(minutes <= 1_441 && hours <= 31 * 24 + 61 && days <= span + 24, "{} {} {}", minutes, hours, days);
            // No look is far from a point that tells of it.
            for look in &looks {
                let next = kept.iter().find(|at| *at >= look).unwrap();
                prop_assert!(next - look < DAY);
            }
        }
    }
}
