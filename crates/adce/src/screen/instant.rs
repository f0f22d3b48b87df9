//! Instants as people read them, beside the one at which they are read. All in UTC, as the screens' first line says.

use adce_core::time::Timestamp;
use jiff::tz::TimeZone;

/// `14:03:30`; on another day `tomorrow 04:00`, `yesterday 23:10`, `12 Mar 04:00`, `12 Mar 2027`.
pub fn clock(at: Timestamp, now: Timestamp) -> String {
    another_day(at, now).unwrap_or_else(|| at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string())
}

/// `today 20:00`, `tomorrow 04:00`, `12 Mar 04:00`, `12 Mar 2027`.
pub fn day_and_time(at: Timestamp, now: Timestamp) -> String {
    another_day(at, now).unwrap_or_else(|| format!("today {}", at.to_zoned(TimeZone::UTC).strftime("%H:%M")))
}

/// `2025-03-09 14:00 UTC`.
pub fn full(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `None`: the same day.
fn another_day(at: Timestamp, now: Timestamp) -> Option<String> {
    let (at, now) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    let days = now.date().until(at.date()).map_or(i32::MAX, |span| span.get_days());
    match days {
        0 => None,
        1 => Some(at.strftime("tomorrow %H:%M").to_string()),
        -1 => Some(at.strftime("yesterday %H:%M").to_string()),
        _ if at.year() == now.year() => Some(at.strftime("%-d %b %H:%M").to_string()),
        _ => Some(at.strftime("%-d %b %Y").to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_names_as_long_as_they_are_near() {
        let now: Timestamp = "2025-03-09T14:00:00Z".parse().unwrap();
        for (at, short, long) in [
            ("2025-03-09T14:03:30Z", "14:03:30", "today 14:03"),
            ("2025-03-10T04:00:00Z", "tomorrow 04:00", "tomorrow 04:00"),
            ("2025-03-08T23:10:00Z", "yesterday 23:10", "yesterday 23:10"),
            ("2025-03-12T04:00:00Z", "12 Mar 04:00", "12 Mar 04:00"),
            ("2026-03-12T04:00:00Z", "12 Mar 2026", "12 Mar 2026"),
        ] {
            let at = at.parse().unwrap();
            assert_eq!((clock(at, now).as_str(), day_and_time(at, now).as_str()), (short, long));
        }
    }
}
