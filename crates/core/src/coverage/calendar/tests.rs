//! Calendars beside a clock that is read every quarter of an hour, over the days on which clocks are set.

use jiff::ToSpan;
use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::coverage::sample::{at, calendar, zone};

/// Now is 2024-12-01 12:00 in UTC.
fn expanded(from: &str, to: &str, every: Every, name: &str) -> Vec<String> {
    let spans = spans(&calendar(from, to, every, zone(name)), at("2024-12-01T12:00:00Z")).unwrap();
    spans.iter().map(|span| span.civil.strftime(default_format(every)).to_string()).collect()
}

#[test]
fn both_ends_are_included() {
    assert_eq!(expanded("2024-11-29", "today", Every::Days(1), "UTC"), ["2024-11-29", "2024-11-30", "2024-12-01"]);
    assert_eq!(expanded("2024-11-29", "2024-11-29", Every::Days(1), "UTC"), ["2024-11-29"]);
    assert_eq!(expanded("2024-10", "today", Every::Months(1), "UTC"), ["2024-10", "2024-11", "2024-12"]);
    assert_eq!(expanded("2024-11-01", "2024-12-01", Every::Days(7), "UTC").len(), 5);
}

#[test]
fn a_day_as_the_end_of_hours_is_a_whole_day_and_now_is_an_instant() {
    let hours = expanded("2024-11-30T22", "2024-12-01", Every::Hours(1), "UTC");
    assert_eq!((hours.len(), hours.last().unwrap().as_str()), (26, "2024-12-01T23"));
    let until_now = expanded("2024-11-30T22", "now", Every::Hours(1), "UTC");
    assert_eq!(until_now.last().unwrap(), "2024-12-01T12");
    assert_eq!(expanded("now - 3h", "now", Every::Hours(1), "UTC").len(), 4);
    assert_eq!(expanded("2024-10-30", "2024-11", Every::Days(1), "UTC").last().unwrap(), "2024-11-30");
}

#[test]
fn today_is_the_zones_own() {
    // At 12:00 in UTC it is the next day in Auckland already.
    assert_eq!(expanded("today", "today", Every::Days(1), "Pacific/Auckland"), ["2024-12-02"]);
    assert_eq!(expanded("today", "today", Every::Days(1), "America/New_York"), ["2024-12-01"]);
}

#[test]
fn a_week_of_days_is_a_week_of_days_whatever_clocks_do() {
    let spans = spans(&calendar("today - 7d", "today + 7d", Every::Days(1), zone("America/New_York")), at("2024-11-03T12:00:00Z")).unwrap();
    assert_eq!(spans.len(), 15);
    assert_eq!(spans[0].civil.date(), date(2024, 10, 27));
    assert_eq!(spans[14].civil.date(), date(2024, 11, 10));
}

#[test]
fn spans_are_the_hours_that_clocks_show() {
    let hours = |from: &str| spans(&calendar(from, from, Every::Hours(1), zone("America/New_York")), at("2024-12-01T12:00:00Z")).unwrap();
    let spring = hours("2024-03-10");
    assert_eq!(spring.len(), 23);
    assert!(spring.iter().all(|span| span.civil.hour() != 2), "clocks never show 02");
    assert!(spring.iter().all(|span| span.end.duration_since(span.start) == SignedDuration::from_hours(1)));
    let autumn = hours("2024-11-03");
    assert_eq!(autumn.len(), 24);
    let twice = autumn.iter().find(|span| span.civil.hour() == 1).unwrap();
    assert_eq!(twice.end.duration_since(twice.start), SignedDuration::from_hours(2));
    assert_eq!(twice.start, at("2024-11-03T05:00:00Z"));
    let day = spans(&calendar("2024-11-03", "2024-11-03", Every::Days(1), zone("America/New_York")), at("2024-12-01T12:00:00Z")).unwrap();
    assert_eq!((day[0].start, day[0].end), (at("2024-11-03T04:00:00Z"), at("2024-11-04T05:00:00Z")));
}

#[test]
fn a_day_without_midnight_begins_when_clocks_jump_and_a_day_that_never_was_has_no_span() {
    let now = at("2024-12-01T12:00:00Z");
    let beirut = spans(&calendar("2023-03-26", "2023-03-26", Every::Days(1), zone("Asia/Beirut")), now).unwrap();
    assert_eq!((beirut[0].start, beirut[0].end), (at("2023-03-25T22:00:00Z"), at("2023-03-26T21:00:00Z")));
    let samoa = spans(&calendar("2011-12-29", "2011-12-31", Every::Days(1), zone("Pacific/Apia")), now).unwrap();
    assert_eq!(samoa.iter().map(|span| span.civil.day()).collect::<Vec<_>>(), [29, 31]);
}

#[test]
fn impossible_calendars_are_refused_in_words() {
    let wrong =
        |from: &str, to: &str, every: Every| spans(&calendar(from, to, every, TimeZone::UTC), at("2024-12-01T12:00:00Z")).unwrap_err().0;
    assert!(wrong("2024-12-01", "2024-11-01", Every::Days(1)).contains("lies before"));
    assert!(wrong("today - 30d", "today", Every::Days(7)).contains("`from` moves"));
    assert!(wrong("0001-01-01", "9999-12-30", Every::Hours(1)).contains("more than 5,000,000 spans"));
    assert!(wrong("9999-12-30", "9999-12-30", Every::Days(1)).contains("9999"));
}

/// Which civil hour or day is it at each minute? Runs of the same answer are the spans. The reference knows nothing of
/// gaps and folds: it asks the zone minute by minute.
fn minute_by_minute(first: jiff::civil::Date, days: i64, zone: &TimeZone, hours: bool) -> Vec<(DateTime, Timestamp)> {
    let mut runs: Vec<(DateTime, Timestamp)> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let mut at = TimeZone::UTC.to_timestamp(first.at(0, 0, 0, 0)).unwrap() - SignedDuration::from_hours(30);
    let end = at + SignedDuration::from_hours(24 * days + 60);
    while at < end {
        let civil = zone.to_datetime(at);
        let name = civil.date().at(if hours { civil.hour() } else { 0 }, 0, 0, 0);
        let within = name.date() >= first && name.date() < first + days.days();
        if within && seen.insert(name) {
            runs.push((name, at));
        }
        at += SignedDuration::from_mins(15);
    }
    runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn calendars_agree_with_a_clock_that_is_read_every_quarter_of_an_hour(
        zone_name in prop::sample::select(vec![
            "UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Beirut", "Pacific/Apia",
            "America/Sao_Paulo", "Africa/Casablanca", "America/St_Johns",
        ]),
        // Before 2012 St John's changed its clocks a minute after midnight, which this reference is too coarse for.
        year in 2012_i16..2025,
        day in 0_i64..365,
        days in 1_i64..6,
        hours: bool,
        near_change in prop::option::of(0_usize..4),
    ) {
        let tz = zone(zone_name);
        let mut first = date(year, 1, 1) + day.days();
        // Most days are dull: often start at a change of the clocks.
        if let Some(skip) = near_change {
            let from = TimeZone::UTC.to_timestamp(date(year, 1, 1).at(0, 0, 0, 0)).unwrap();
            if let Some(change) = tz.following(from).nth(skip).filter(|change| change.timestamp() < at("2025-06-01T00:00:00Z")) {
                first = tz.to_datetime(change.timestamp()).date() - 1.day();
            }
        }
        let last = first + (days - 1).days();
        let every = if hours { Every::Hours(1) } else { Every::Days(1) };
        let found = spans(&calendar(&first.to_string(), &last.to_string(), every, tz.clone()), at("2024-12-01T12:00:00Z")).unwrap();
        let starts: Vec<_> = found.iter().map(|span| (span.civil, span.start)).collect();
        prop_assert_eq!(starts, minute_by_minute(first, days, &tz, hours));
        prop_assert!(found.windows(2).all(|pair| pair[0].end == pair[1].start), "no hole, no overlap");
    }
}
