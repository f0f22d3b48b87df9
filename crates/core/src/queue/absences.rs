//! Too many "no such thing" at once: an outage that a source hides behind 404s must not look like "no data".
//!
//! Without this a proxy, a login page or a half-deployed release that answers 404 to everything for a quarter of an hour
//! closes every gap that was tried meanwhile, the lake is called complete, and nobody asks again for an hour to a month.
//!
//! Of each source the latest 30 answers are looked at, if they are at most ten minutes old. Absences that are new (nothing
//! on record, and past `absent.after`) are doubted when at least 10 of them are among these, and their share is more than
//! three times the usual one (or more than halfway from the usual one to all, where three times is hardly possible).
//! Fewer than ten a bad day explains, and they are asked about again within an hour anyway; three times, because a
//! season's missing games come in clusters; ten minutes, because an outage begins at once. What is usual is taken from
//! earlier answers, and is 1 in 10 while there are none (also after a restart).
//!
//! What is doubted stays a gap. One of them is asked for again after the dataset's shortest `recheck`: if upstream still
//! has no such thing, all of them count; if it has, the others are tried at once. Should that one never be answered, the
//! others follow after another such pause, and the first that is answered decides.

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::ItemId;
use crate::time::{Boottime, Now, SignedDuration, Timestamp};

/// So many answers are looked at.
const LATEST: usize = 30;

/// Older ones say nothing of now.
const WITHIN: Duration = Duration::from_secs(600);

/// Fewer absences are never doubted.
const FEWEST: u32 = 10;

/// So much larger than usual a share is no chance.
const TIMES_THE_USUAL: f64 = 3.0;

/// More earlier answers count no longer in full, so that what is usual may change.
const REMEMBERED: u32 = 1_000;

/// What a source has answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Absences {
    /// Oldest first; of new absences, whose, with its key.
    latest: VecDeque<(Boottime, Option<(ItemId, String)>)>,
    earlier: Usual,
    doubt: Option<Doubt>,
}

/// Since when a source is not believed, and until when at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    pub since: Timestamp,
    /// One of what is doubted is asked for again then.
    pub probe_at: Timestamp,
    /// The others follow then.
    pub until: Timestamp,
    /// So many of the latest answers were absences.
    pub absences: u32,
    pub of: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    answers: u32,
    absences: u32,
}

/// What to make of an absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    Believed,
    /// To be asked for again then.
    Doubted(Timestamp),
    /// The doubt begins with this one. Those of `too` were believed moments ago.
    DoubtBegins {
        doubt: Doubt,
        usual_percent: u32,
        too: Vec<(ItemId, String)>,
    },
}

impl Usual {
    fn add(&mut self, answers: u32, absences: u32) {
        self.answers = self.answers.saturating_add(answers);
        self.absences = self.absences.saturating_add(absences);
        while self.answers > REMEMBERED {
            (self.answers, self.absences) = (self.answers / 2, self.absences / 2);
        }
    }

    /// As if there had been 20 answers before all others, two of them absences.
    fn share(self) -> f64 {
        f64::from(self.absences + 2) / f64::from(self.answers + 20)
    }
}

impl Absences {
    /// Something else than an absence: upstream has it.
    pub(super) fn answered(&mut self, now: Boottime) {
        self.push(now, None);
    }

    /// A new absence of this item. `pause`: so long after it is asked for again, if it is doubted.
    pub(super) fn absent(&mut self, item: ItemId, key: &str, pause: Duration, now: Now) -> Belief {
        if let Some(doubt) = self.doubt(now) {
            return Belief::Doubted(doubt.until);
        }
        self.push(now.boot, Some((item, key.to_owned())));
        let of = self.latest.len() as u32;
        let too = || self.latest.iter().filter_map(|(_, absent)| absent.as_ref());
        let (absences, usual) = (too().count() as u32, self.earlier.share());
        let too_large = (TIMES_THE_USUAL * usual).min((1.0 + usual) / 2.0);
        if absences < FEWEST || f64::from(absences) <= too_large * f64::from(of) {
            return Belief::Believed;
        }
        let probe_at = later(now.wall, pause);
        let doubt = Doubt { since: now.wall, probe_at, until: later(probe_at, pause), absences, of };
        self.doubt = Some(doubt);
        let too = too().filter(|(other, _)| *other != item).cloned().collect();
        Belief::DoubtBegins { doubt, usual_percent: (usual * 100.0).round() as u32, too }
    }

    pub(super) fn remembered(&self) -> usize {
        self.latest.len()
    }

    pub(super) fn doubt(&self, now: Now) -> Option<Doubt> {
        self.doubt.filter(|doubt| now.wall < doubt.until)
    }

    /// A predecessor left gaps in doubt, the last of which is to be tried then.
    pub(super) fn restore(&mut self, since: Timestamp, probe_at: Timestamp, until: Timestamp) {
        self.doubt = Some(Doubt { since, probe_at, until, absences: 0, of: 0 });
    }

    /// One of them was asked for again, and so many are absent indeed: that is usual here.
    pub(super) fn confirmed(&mut self, absences: u32) {
        self.latest.clear();
        self.earlier.add(absences, absences);
        self.doubt = None;
    }

    /// One of them is there: what was said meanwhile says nothing.
    pub(super) fn refuted(&mut self) {
        self.latest.clear();
        self.doubt = None;
    }

    fn push(&mut self, now: Boottime, absent: Option<(ItemId, String)>) {
        self.latest.push_back((now, absent));
        let is_old =
            |latest: &VecDeque<_>| latest.len() > LATEST || latest.front().is_some_and(|(at, _): &(Boottime, _)| *at + WITHIN < now);
        while is_old(&self.latest) {
            if let Some((_, absent)) = self.latest.pop_front() {
                self.earlier.add(1, u32::from(absent.is_some()));
            }
        }
    }
}

fn later(at: Timestamp, span: Duration) -> Timestamp {
    at.checked_add(SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(3_600);

    fn at(secs: u64) -> Now {
        let start: Timestamp = "2025-03-09T14:00:00Z".parse().unwrap();
        Now { wall: start + SignedDuration::from_secs(secs as i64), boot: Boottime::from_secs(secs) }
    }

    /// `x`: absent. Answers so many seconds apart; the number of the first that is doubted.
    fn first_doubted(absences: &mut Absences, answers: &str, apart: u64, from: u64) -> Option<usize> {
        answers.bytes().enumerate().find_map(|(number, answer)| {
            let now = at(from + number as u64 * apart);
            match answer {
                b'x' => {
                    let belief = absences.absent(ItemId::of("d", [number.to_string().as_str()]), "key", PAUSE, now);
                    (belief != Belief::Believed).then_some(number + 1)
                }
                _ => {
                    absences.answered(now.boot);
                    None
                }
            }
        })
    }

    fn fresh(answers: &str, apart: u64) -> Option<usize> {
        first_doubted(&mut Absences::default(), answers, apart, 0)
    }

    #[test]
    fn ten_absences_at_once_are_doubted_and_nine_are_not() {
        assert_eq!(fresh("xxxxxxxxxxxxx", 1), Some(10));
        assert_eq!(fresh(&format!("{}xxxxxxxxxxxxx", ".".repeat(200)), 1), Some(210), "however long all was well before");
        assert_eq!(fresh("xxxxxxxxx.....................................xxxxxxxxx", 1), None);
        assert_eq!(fresh(&"x".repeat(60), 70), None, "no ten of them lie within ten minutes");
    }

    #[test]
    fn what_is_usual_is_not_doubted() {
        let every_third = "x..".repeat(100);
        let mut absences = Absences::default();
        let first = first_doubted(&mut absences, &every_third, 1, 0);
        assert_eq!(first, Some(28), "nobody knows yet that a third is usual");
        absences.confirmed(10);
        assert_eq!(first_doubted(&mut absences, &every_third, 1, 1_000), None);
        assert!(first_doubted(&mut absences, &"x".repeat(40), 1, 2_000).is_some(), "all of them at once is not usual even here");
    }

    #[test]
    fn what_comes_during_a_doubt_waits_behind_the_one_that_is_asked_again() {
        let mut absences = Absences::default();
        let item = |number: u32| ItemId::of("d", [number.to_string().as_str()]);
        let beliefs: Vec<Belief> =
            (0..12).map(|number| absences.absent(item(number), &number.to_string(), PAUSE, at(number.into()))).collect();
        assert!(beliefs[..9].iter().all(|belief| *belief == Belief::Believed));
        let Belief::DoubtBegins { doubt, usual_percent: 10, too } = &beliefs[9] else { panic!("{beliefs:?}") };
        assert_eq!((too.len(), &too[0], doubt.absences, doubt.of), (9, &(item(0), "0".to_owned()), 10, 10));
        assert_eq!((doubt.probe_at, doubt.until), (at(9 + 3_600).wall, at(9 + 7_200).wall));
        assert_eq!(beliefs[10..], [Belief::Doubted(doubt.until), Belief::Doubted(doubt.until)]);
        absences.refuted();
        assert_eq!(absences.absent(item(20), "20", PAUSE, at(20)), Belief::Believed);
        assert_eq!(absences.doubt(at(20)), None);
    }

    #[test]
    fn a_doubt_that_nobody_resolves_ends_by_itself() {
        let mut absences = Absences::default();
        assert!(first_doubted(&mut absences, "xxxxxxxxxx", 1, 0).is_some());
        assert!(absences.doubt(at(7_208)).is_some());
        assert_eq!(absences.doubt(at(7_209)), None);
    }
}
