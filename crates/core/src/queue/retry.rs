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

use crate::gap::{Failure, Fault, Outcome, Progress, Standing};
use crate::record::AbsentMark;
use crate::spec::{AbsentPolicy, RetryPolicy};
use crate::time::{SignedDuration, Timestamp};

/// What the rules need to know of the gap itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapFacts {
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
    /// Upstream has no such thing: the gap is closed, and this is put on record.
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
    match outcome {
        Outcome::Done { .. } | Outcome::Unchanged => Next::Filled,
        Outcome::Absent => after_absence(progress, gap, rules, record, now, jitter),
        Outcome::Split => Next::Again(Progress { attempts_total: progress.attempts_total + 1, next_try: None, ..progress.clone() }),
        Outcome::Failed(failure) => Next::Again(after_failure(progress, failure, rules.retry, now, jitter)),
    }
}

fn after_absence(progress: &Progress, gap: &GapFacts, rules: Rules<'_>, record: Option<&AbsentMark>, now: Timestamp, jitter: f64) -> Next {
    let counted_from = gap.due.unwrap_or(gap.detected_at);
    let absent_from = later_by(counted_from, rules.absent.after);
    if now < absent_from {
        return Next::Again(not_yet(progress, rules.retry, absent_from, now, jitter));
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

fn after_failure(progress: &Progress, failure: &Failure, retry: &RetryPolicy, now: Timestamp, jitter: f64) -> Progress {
    let tried = Progress {
        attempts_total: progress.attempts_total + 1,
        standing: Standing::Open,
        last_error: Some(failure.message.clone()),
        ..progress.clone()
    };
    let mut next = match failure.fault {
        Fault::Stopped => Progress { attempts_total: progress.attempts_total, next_try: None, ..tried },
        Fault::Source | Fault::Later => deferred(tried, retry, now, jitter),
        Fault::Item => used_up(tried, retry, now, jitter),
    };
    if let Some(asked) = failure.retry_after_s {
        let asked = later_by(now, Duration::from_secs(asked));
        next.next_try = next.next_try.max(Some(asked));
    }
    next
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

/// An exhausted gap whose pause is over starts a new round; every other one is as it was.
pub fn revived(progress: &Progress, now: Timestamp) -> Progress {
    let over = progress.standing == Standing::Exhausted && progress.next_try.is_none_or(|at| at <= now);
    match over {
        true => Progress { attempts: 0, deferrals: 0, next_try: None, standing: Standing::Open, ..progress.clone() },
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
