//! Spans of the calendar: the values of a calendar dimension.
//!
//! A span is named by its start as civil time in the dimension's zone, and that name is what keys contain. So a span
//! is the time from the instant its name begins until the next name begins, and daylight saving needs no further rule:
//! the hour that happens twice in autumn is one item of two hours, the hour that is left out in spring has no item, a
//! day has 23 or 25 hours (`spans_are_the_hours_that_clocks_show`). Spans follow each other without a hole.
//!
//! Both ends are included: `to: today` has today in it, and hours `to: 2015-12-31` go on until 23 o'clock that day. An
//! end that names an instant (`now`) includes the span it lies in.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use crate::spec::expression::{Fineness, Scope, Value, Var};
use crate::spec::{Calendar, Every};

/// One value of a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Its name: civil time in the calendar's zone.
    pub(crate) civil: DateTime,
    pub(crate) start: Timestamp,
    /// Start of the next span, whether or not that is part of the calendar.
    pub(crate) end: Timestamp,
}

/// More spans than anybody means: a century of hours has 876,600.
const MOST_SPANS: u64 = 5_000_000;

/// All spans, oldest first; or what is wrong, and a hint.
pub(crate) fn spans(calendar: &Calendar, now: Timestamp) -> Result<Vec<Span>, (String, Option<String>)> {
    let zone = &calendar.zone;
    let scope = Bounds { now: as_if_utc(now, zone) };
    let bound = |which: &str, expression: &crate::spec::expression::Expression| {
        let time = expression.instant(&scope).map_err(|error| (format!("`{which}`: {error}"), None))?;
        let time = time.ok_or_else(|| (format!("`{which}` is null"), None))?;
        Ok::<_, (String, Option<String>)>(TimeZone::UTC.to_datetime(time))
    };
    let (from, to) = (bound("from", &calendar.from)?, bound("to", &calendar.to)?);
    if calendar.from.moves() && !matches!(calendar.every, Every::Hours(1) | Every::Days(1) | Every::Months(1)) {
        let hint = "give a fixed date: spans are counted from it, and would otherwise be other ones every day";
        return Err(("`from` moves with time, and `every` is more than one hour, day or month".into(), Some(hint.into())));
    }
    let first = floor(from, calendar.every);
    let last = last_named(to, calendar.to.fineness());
    if last < first {
        return Err((format!("`to` ({to}) lies before `from` ({from})"), None));
    }
    expand(first, last, calendar.every, zone)
}

/// `first` and the names that follow it, until `last` at the latest.
fn expand(first: DateTime, last: DateTime, every: Every, zone: &TimeZone) -> Result<Vec<Span>, (String, Option<String>)> {
    let step_hours = match every {
        Every::Hours(hours) => u64::from(hours),
        Every::Days(days) => u64::from(days) * 24,
        Every::Months(months) => u64::from(months) * 28 * 24,
    };
    let hours = last.duration_since(first).as_hours().unsigned_abs();
    if hours / step_hours.max(1) >= MOST_SPANS {
        return Err((format!("the calendar has more than {} spans", crate::figures::grouped(MOST_SPANS)), None));
    }
    let out_of_range = || ("the calendar reaches beyond the year 9999".to_string(), None);
    let mut spans = Vec::new();
    let mut civil = first;
    let mut start = begins(civil, zone).ok_or_else(out_of_range)?;
    for step in 1.. {
        if civil > last {
            break;
        }
        let next = following(first, civil, every, step).ok_or_else(out_of_range)?;
        let end = begins(next, zone).ok_or_else(out_of_range)?;
        // A name that clocks never show has no time of its own.
        if start < end {
            spans.push(Span { civil, start, end });
        }
        (civil, start) = (next, end);
    }
    Ok(spans)
}

/// The name behind `civil`, which is `step` steps from `first`.
fn following(first: DateTime, civil: DateTime, every: Every, step: i64) -> Option<DateTime> {
    match every {
        Every::Hours(hours) => civil.checked_add(SignedDuration::from_hours(i64::from(hours))).ok(),
        Every::Days(days) => civil.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok(),
        Every::Months(months) => first.checked_add(jiff::Span::new().try_months(step.checked_mul(i64::from(months))?).ok()?).ok(),
    }
}

fn floor(civil: DateTime, every: Every) -> DateTime {
    let date = civil.date();
    match every {
        Every::Hours(_) => date.at(civil.hour(), 0, 0, 0),
        Every::Days(_) => date.at(0, 0, 0, 0),
        Every::Months(_) => date.first_of_month().at(0, 0, 0, 0),
    }
}

/// The last civil time that belongs to what a bound names.
fn last_named(to: DateTime, fineness: Fineness) -> DateTime {
    let date = match fineness {
        Fineness::Instant => return to,
        Fineness::Day => to.date(),
        Fineness::Month => to.date().last_of_month(),
    };
    date.at(23, 59, 59, 999_999_999)
}

/// The first instant at which clocks show this name or a later one, going forward.
fn begins(civil: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(civil).offset() {
        AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(civil).ok(),
        AmbiguousOffset::Fold { before, .. } => before.to_timestamp(civil).ok(),
        AmbiguousOffset::Gap { after, .. } => {
            // Read with the later offset it lies just before the change, which then is the next one.
            let just_before = after.to_timestamp(civil).ok()?.checked_sub(SignedDuration::from_nanos(1)).ok()?;
            zone.following(just_before).next().map(|change| change.timestamp())
        }
    }
}

/// Bounds are worked out in civil time, so that `today + 7d` is a week of days, whatever the clocks do in it: the
/// calendar's own time is handed to the expression as if it were UTC.
fn as_if_utc(now: Timestamp, zone: &TimeZone) -> Timestamp {
    TimeZone::UTC.to_timestamp(zone.to_datetime(now)).unwrap_or(now)
}

struct Bounds {
    now: Timestamp,
}

impl Scope for Bounds {
    fn value(&self, _at: usize, _var: &Var) -> Value<'_> {
        Value::Null
    }

    fn origin(&self, _var: &Var) -> Option<String> {
        None
    }

    fn now(&self) -> Option<Timestamp> {
        Some(self.now)
    }
}

/// The plain text of a span's name.
pub(crate) fn default_format(every: Every) -> &'static str {
    match every {
        Every::Hours(_) => "%Y-%m-%dT%H",
        Every::Days(_) => "%Y-%m-%d",
        Every::Months(_) => "%Y-%m",
    }
}

#[cfg(test)]
mod tests;
