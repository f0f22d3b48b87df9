//! What comes after an attempt: when a gap is tried again, and what that attempt used up.
//!
//! Failures that are the source's fault use up no attempt, or an outage of a night would exhaust every gap. "No such
//! thing" before `absent.after` is "not yet", or a late item would be given up. An exhausted gap is revived, so that no
//! person is needed.
//!
//! Always true: no pause is longer than its configured maximum (unless upstream itself asked for more), and a gap is
//! never left without a next try unless it is filled, absent or stopped (`every_failure_has_a_next_try`). Jitter comes
//! from the caller, so this module has no randomness of its own.

use std::time::Duration;

use crate::gap::{Failure, Fault, Outcome, Progress, Reason, Standing};
use crate::record::AbsentMark;
use crate::spec::{AbsentPolicy, RetryPolicy};
use crate::time::{SignedDuration, Timestamp};

/// What the rules need to know of the gap itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapFacts {
    pub reason: Reason,
    pub due: Option<Timestamp>,
    pub detected_at: Timestamp,
    /// Goes into an absent mark, which is void when the config's answer changes.
    pub fingerprint: u64,
}

/// What becomes of a gap after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The object is there: the gap is closed, and an absent mark with it.
    Filled,
    /// Upstream has no such thing and the lake neither: the gap is closed, and this is put on record.
    Absent(AbsentMark),
    /// The gap stays, with this progress.
    Again(Progress),
}

/// The rules of one dataset and its collector.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub retry: &'a RetryPolicy,
    pub absent: &'a AbsentPolicy,
}

/// `record` is the item's absent mark so far; `jitter` is drawn from [0, 1).
pub fn after(
    progress: &Progress,
    outcome: &Outcome,
    gap: &GapFacts,
    rules: Rules<'_>,
    record: Option<&AbsentMark>,
    now: Timestamp,
    jitter: f64,
) -> Next {
    let next = match outcome {
        Outcome::Done { .. } | Outcome::Unchanged => Next::Filled,
        Outcome::Absent => after_absence(progress, gap, rules, record, now, jitter),
        Outcome::Split => Next::Again(Progress { attempts_total: progress.attempts_total + 1, next_try: None, ..progress.clone() }),
        Outcome::Failed(failure) => Next::Again(after_failure(progress, failure, rules.retry, now, jitter)),
    };
    match next {
        Next::Again(progress) => Next::Again(Progress { paused_at: progress.next_try.and(Some(now)), ..progress }),
        other => other,
    }
}

fn after_absence(progress: &Progress, gap: &GapFacts, rules: Rules<'_>, record: Option<&AbsentMark>, now: Timestamp, jitter: f64) -> Next {
    let counted_from = gap.due.unwrap_or(gap.detected_at);
    let absent_from = later_by(counted_from, rules.absent.after);
    if now < absent_from {
        return Next::Again(not_yet(progress, rules.retry, absent_from, now, jitter));
    }
    if gap.reason != Reason::Missing {
        return Next::Again(not_any_more(progress, rules.absent, now));
    }
    let known = record.filter(|mark| mark.fingerprint == gap.fingerprint);
    let confirmed = known.map_or(0, |mark| mark.confirmed) + 1;
    let pause = doubled(rules.absent.recheck_min, confirmed - 1, rules.absent.recheck_max);
    Next::Absent(AbsentMark {
        since: known.map_or(now, |mark| mark.since),
        recheck_at: later_by(now, pause),
        confirmed,
        fingerprint: gap.fingerprint,
    })
}

/// The first try past `absent.after` is the one that may put the absence on record, so no pause reaches beyond it.
fn not_yet(progress: &Progress, retry: &RetryPolicy, absent_from: Timestamp, now: Timestamp, jitter: f64) -> Progress {
    let pause = backoff(retry, progress.deferrals, jitter);
    Progress {
        attempts_total: progress.attempts_total + 1,
        deferrals: progress.deferrals.saturating_add(1),
        next_try: Some(later_by(now, pause).min(absent_from)),
        standing: Standing::NotYet,
        last_error: Some("upstream does not have it yet".into()),
        ..progress.clone()
    }
}

/// An absence never overrides an object: the gap stays. Closed, it would be found again by the next cycle and asked for
/// every time; so it is asked for as rarely as an absent item. What put it off before (an outage, or that it was too early
/// to believe an absence) does not count, or one 404 would be believed for a month.
fn not_any_more(progress: &Progress, absent: &AbsentPolicy, now: Timestamp) -> Progress {
    let pause = doubled(absent.recheck_min, progress.absences, absent.recheck_max);
    Progress {
        attempts_total: progress.attempts_total + 1,
        absences: progress.absences.saturating_add(1),
        next_try: Some(later_by(now, pause)),
        standing: Standing::NotYet,
        last_error: Some("upstream has no such thing, but an object is there".into()),
        ..progress.clone()
    }
}

fn after_failure(progress: &Progress, failure: &Failure, retry: &RetryPolicy, now: Timestamp, jitter: f64) -> Progress {
    let tried = Progress {
        attempts_total: progress.attempts_total + 1,
        standing: Standing::Open,
        last_error: Some(failure.message.clone()),
        ..progress.clone()
    };
    let mut next = match failure.fault {
        // That it was stopped is no news of the gap: what failed last is still what failed last.
        Fault::Stopped => Progress { standing: Standing::Open, next_try: None, ..progress.clone() },
        Fault::Source | Fault::Later => deferred(tried, retry, now, jitter),
        Fault::Item | Fault::Collector | Fault::Unwritten => used_up(tried, retry, now, jitter),
    };
    if let Some(asked) = failure.retry_after_s {
        let asked = later_by(now, Duration::from_secs(asked));
        next.next_try = next.next_try.max(Some(asked));
    }
    next
}

/// After a failure of a batch that may come from any of its items. None uses up an attempt, or one bad item would exhaust all
/// of them; and the pause does not grow, for the batch gets smaller (`Told::Unblamed`).
pub fn unblamed(progress: &Progress, failure: &Failure, retry: &RetryPolicy, now: Timestamp, jitter: f64) -> Progress {
    let asked = failure.retry_after_s.map(|seconds| later_by(now, Duration::from_secs(seconds)));
    Progress {
        attempts_total: progress.attempts_total + 1,
        deferrals: 0,
        unblamed: progress.unblamed.saturating_add(1),
        next_try: Some(later_by(now, backoff(retry, 0, jitter))).max(asked),
        paused_at: Some(now),
        standing: Standing::Open,
        last_error: Some(failure.message.clone()),
        ..progress.clone()
    }
}

fn deferred(tried: Progress, retry: &RetryPolicy, now: Timestamp, jitter: f64) -> Progress {
    let pause = backoff(retry, tried.deferrals, jitter);
    Progress { deferrals: tried.deferrals.saturating_add(1), next_try: Some(later_by(now, pause)), ..tried }
}

fn used_up(tried: Progress, retry: &RetryPolicy, now: Timestamp, jitter: f64) -> Progress {
    let attempts = tried.attempts + 1;
    if attempts < retry.attempts {
        let pause = backoff(retry, attempts - 1, jitter);
        return Progress { attempts, deferrals: 0, next_try: Some(later_by(now, pause)), ..tried };
    }
    let pause = doubled(retry.revive_min, tried.exhausted, retry.revive_max);
    Progress {
        attempts,
        deferrals: 0,
        exhausted: tried.exhausted.saturating_add(1),
        next_try: Some(later_by(now, pause)),
        standing: Standing::Exhausted,
        ..tried
    }
}

/// An exhausted, contested or cancelled gap whose pause is over starts a new round; every other one is as it was.
pub fn revived(progress: &Progress, now: Timestamp) -> Progress {
    let over = matches!(progress.standing, Standing::Exhausted | Standing::Contested | Standing::Cancelled)
        && progress.next_try.is_none_or(|at| at <= now);
    match over {
        true => Progress { attempts: 0, deferrals: 0, next_try: None, paused_at: None, standing: Standing::Open, ..progress.clone() },
        false => progress.clone(),
    }
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    let factor = 1_u32.checked_shl(times.min(31)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most.max(first))
}

/// Anything between the shortest pause and a ceiling that doubles with each try, so that what failed together does not
/// come back together.
fn backoff(retry: &RetryPolicy, tries_before: u32, jitter: f64) -> Duration {
    let ceiling = doubled(retry.backoff_min, tries_before.saturating_add(1), retry.backoff_max);
    let spread = ceiling.saturating_sub(retry.backoff_min);
    retry.backoff_min + spread.mul_f64(jitter.clamp(0.0, 1.0))
}

fn later_by(at: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn now() -> Timestamp {
        "2025-03-09T14:00:00Z".parse().unwrap()
    }

    fn facts() -> GapFacts {
        GapFacts { reason: Reason::Missing, due: None, detected_at: now(), fingerprint: 7 }
    }

    fn failed(fault: Fault) -> Outcome {
        Outcome::Failed(Failure { fault, message: "answer of 71 B < 100 B".into(), retry_after_s: None })
    }

    fn next(progress: &Progress, outcome: &Outcome, now: Timestamp, jitter: f64) -> Next {
        let rules = Rules { retry: &RetryPolicy::default(), absent: &AbsentPolicy::default() };
        after(progress, outcome, &facts(), rules, None, now, jitter)
    }

    fn again(progress: &Progress, outcome: &Outcome, now: Timestamp, jitter: f64) -> Progress {
        match next(progress, outcome, now, jitter) {
            Next::Again(progress) => progress,
            other => panic!("the gap was closed: {other:?}"),
        }
    }

    fn pause(progress: &Progress) -> i64 {
        progress.next_try.unwrap().duration_since(now()).as_secs()
    }

    #[test]
    fn an_item_at_fault_uses_up_its_attempts_and_is_then_exhausted() {
        let first = again(&Progress::default(), &failed(Fault::Item), now(), 0.5);
        assert_eq!((first.attempts, first.standing, pause(&first)), (1, Standing::Open, 90));
        let second = again(&first, &failed(Fault::Item), now(), 1.0);
        assert_eq!((second.attempts, pause(&second)), (2, 240));
        let third = again(&second, &failed(Fault::Item), now(), 0.3);
        assert_eq!((third.attempts, third.standing, pause(&third)), (3, Standing::Exhausted, 3_600));
        assert_eq!(third.last_error.as_deref(), Some("answer of 71 B < 100 B"));
    }

    #[test]
    fn the_first_absence_of_what_is_there_pauses_it_for_an_hour_whatever_put_it_off_before() {
        let stale = |detected_at: &str| GapFacts { reason: Reason::Stale, detected_at: detected_at.parse().unwrap(), ..facts() };
        let (young, old) = (stale("2025-03-09T13:00:00Z"), stale("2025-03-01T00:00:00Z"));
        let rules = Rules { retry: &RetryPolicy::default(), absent: &AbsentPolicy::default() };
        let then = |progress: &Progress, outcome: &Outcome, gap: &GapFacts| match after(progress, outcome, gap, rules, None, now(), 0.5) {
            Next::Again(progress) => progress,
            other => panic!("the gap was closed: {other:?}"),
        };
        let mut progress = Progress::default();
        for _ in 0..20 {
            progress = then(&progress, &failed(Fault::Source), &young);
            progress = then(&progress, &Outcome::Absent, &young);
        }
        let mut pauses = Vec::new();
        for _ in 0..3 {
            progress = then(&progress, &Outcome::Absent, &old);
            pauses.push(pause(&progress));
        }
        assert_eq!(pauses, [3_600, 7_200, 14_400]);
    }

    #[test]
    fn an_exhausted_gap_comes_back_after_an_hour_doubling_to_a_day() {
        let mut progress = Progress { attempts: 2, ..Progress::default() };
        let mut pauses = Vec::new();
        for _ in 0..7 {
            progress = again(&progress, &failed(Fault::Item), now(), 0.0);
            pauses.push(pause(&progress) / 3_600);
            assert_eq!(revived(&progress, now()).standing, Standing::Exhausted, "revived before its time");
            progress = revived(&progress, progress.next_try.unwrap());
            assert_eq!((progress.attempts, progress.standing, progress.next_try), (0, Standing::Open, None));
            progress.attempts = 2;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 24, 24]);
    }

    #[test]
    fn what_is_the_sources_fault_uses_up_nothing() {
        let mut progress = Progress { attempts: 2, ..Progress::default() };
        for round in 1..=40 {
            let fault = if round % 2 == 0 { Fault::Source } else { Fault::Later };
            progress = again(&progress, &failed(fault), now(), 1.0);
            assert_eq!((progress.attempts, progress.deferrals, progress.standing), (2, round, Standing::Open));
            assert_eq!(pause(&progress), (60_i64 << round.min(20)).min(1_800));
        }
    }

    #[test]
    fn a_stopped_attempt_costs_nothing_and_waits_for_nothing() {
        let progress = Progress { attempts: 1, attempts_total: 4, ..Progress::default() };
        let stopped = again(&progress, &failed(Fault::Stopped), now(), 0.5);
        assert_eq!((stopped.attempts, stopped.attempts_total, stopped.next_try), (1, 4, None));
    }

    #[test]
    fn a_retry_after_is_never_cut_short() {
        let failure = Failure { fault: Fault::Source, message: "429".into(), retry_after_s: Some(7_200) };
        let waits = again(&Progress::default(), &Outcome::Failed(failure), now(), 0.9);
        assert_eq!(pause(&waits), 7_200);
    }

    #[test]
    fn no_such_thing_is_not_yet_until_absent_after_has_passed() {
        let not_yet = again(&Progress::default(), &Outcome::Absent, now(), 0.5);
        assert_eq!((not_yet.attempts, not_yet.standing), (0, Standing::NotYet));
        let later = not_yet.next_try.unwrap();
        assert!(later > now());
        let three_days = later_by(now(), 72 * HOUR);
        let almost = three_days.checked_sub(SignedDuration::from_secs(1)).unwrap();
        assert_eq!(again(&not_yet, &Outcome::Absent, almost, 1.0).next_try, Some(three_days), "the first moment that can tell");
        assert!(matches!(next(&not_yet, &Outcome::Absent, three_days, 0.0), Next::Absent(_)));
        let rules = Rules { retry: &RetryPolicy::default(), absent: &AbsentPolicy::default() };
        let due_earlier = GapFacts { due: Some(later_by(now(), HOUR)), ..facts() };
        let an_hour_more = later_by(three_days, HOUR);
        let answer = after(&not_yet, &Outcome::Absent, &due_earlier, rules, None, almost, 0.0);
        assert!(matches!(answer, Next::Again(_)), "counted from due");
        assert!(matches!(after(&not_yet, &Outcome::Absent, &due_earlier, rules, None, an_hour_more, 0.0), Next::Absent(_)));
    }

    #[test]
    fn an_absence_is_asked_about_after_an_hour_doubling_to_a_month() {
        let absent = AbsentPolicy { after: Duration::ZERO, ..AbsentPolicy::default() };
        let rules = Rules { retry: &RetryPolicy::default(), absent: &absent };
        let mut mark: Option<AbsentMark> = None;
        let mut hours = Vec::new();
        for _ in 0..12 {
            let next = after(&Progress::default(), &Outcome::Absent, &facts(), rules, mark.as_ref(), now(), 0.5);
            let Next::Absent(seen) = next else { panic!("{next:?}") };
            hours.push(seen.recheck_at.duration_since(now()).as_secs() / 3_600);
            mark = Some(seen);
        }
        assert_eq!(hours, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 720, 720]);
        let other_config = GapFacts { fingerprint: 8, ..facts() };
        let Next::Absent(anew) = after(&Progress::default(), &Outcome::Absent, &other_config, rules, mark.as_ref(), now(), 0.5) else {
            panic!("`after: 0s` puts it on record at once")
        };
        assert_eq!((anew.confirmed, anew.fingerprint), (1, 8), "a mark of another config says nothing");
    }

    #[test]
    fn an_absence_never_closes_a_gap_whose_object_is_there() {
        let absent = AbsentPolicy { after: Duration::ZERO, ..AbsentPolicy::default() };
        let rules = Rules { retry: &RetryPolicy::default(), absent: &absent };
        for reason in [Reason::Stale, Reason::Undersized, Reason::Suspect] {
            let gap = GapFacts { reason, ..facts() };
            let (mut progress, mut hours) = (Progress::default(), Vec::new());
            for _ in 0..12 {
                let Next::Again(again) = after(&progress, &Outcome::Absent, &gap, rules, None, now(), 0.5) else {
                    panic!("{reason:?} was closed, and the next cycle would open it again");
                };
                hours.push(pause(&again) / 3_600);
                progress = again;
            }
            assert_eq!(hours, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 720, 720]);
            assert_eq!((progress.attempts, progress.standing), (0, Standing::NotYet));
        }
    }

    #[test]
    fn what_is_there_or_unchanged_is_filled_and_a_split_costs_nothing() {
        let done = Outcome::Done { etag: "e".into(), size: 5, last_modified: now() };
        assert_eq!(next(&Progress::default(), &done, now(), 0.5), Next::Filled);
        assert_eq!(next(&Progress::default(), &Outcome::Unchanged, now(), 0.5), Next::Filled);
        let split = again(&Progress::default(), &Outcome::Split, now(), 0.5);
        assert_eq!((split.attempts, split.attempts_total, split.next_try), (0, 1, None));
    }

    proptest! {
        #[test]
        fn every_failure_has_a_next_try(
            faults in prop::collection::vec((0_usize..4, 0.0_f64..1.0, any::<bool>()), 1..80),
            min in 1_u64..600, more in 0_u64..7_200, attempts in 1_u32..6,
        ) {
            let retry = RetryPolicy {
                attempts,
                backoff_min: Duration::from_secs(min),
                backoff_max: Duration::from_secs(min + more),
                ..RetryPolicy::default()
            };
            let absent = AbsentPolicy::default();
            let rules = Rules { retry: &retry, absent: &absent };
            let (mut progress, mut now) = (Progress::default(), now());
            for (kind, jitter, come_back) in faults {
                let outcome = [failed(Fault::Source), failed(Fault::Later), failed(Fault::Item), Outcome::Absent][kind].clone();
                let gap = GapFacts { detected_at: now, ..facts() };
                let Next::Again(after) = after(&progress, &outcome, &gap, rules, None, now, jitter) else {
                    return Err(TestCaseError::fail("closed without an object"));
                };
                let next_try = after.next_try.expect("a next try");
                prop_assert!(next_try > now);
                let longest = match after.standing {
                    Standing::Exhausted => retry.revive_max,
                    _ => retry.backoff_max,
                };
                prop_assert!(next_try <= later_by(now, longest), "{after:?}");
                prop_assert_eq!(after.attempts_total, progress.attempts_total + 1);
                prop_assert!(after.attempts <= attempts);
                if come_back {
                    now = next_try;
                }
                progress = revived(&after, now.max(next_try));
            }
        }
    }
}
