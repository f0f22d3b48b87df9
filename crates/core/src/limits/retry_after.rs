//! `Retry-After`: how long upstream asks to be left alone.
//!
//! Both forms of RFC 9110 are read: whole seconds, and a date in any of the three formats that a recipient must accept.
//! A date is a promise on the upstream's clock, so it is measured against the `Date` of the same answer where there is
//! one; two machines rarely agree on the time. What cannot be read is no `Retry-After`, never a pause of zero.
//!
//! Nothing here decides who pauses: the limiter does, for the whole source (`retry_after_pauses_the_whole_source`).

use std::time::Duration;

use jiff::civil;

use crate::ports::RetryAfter;
use crate::time::{Boottime, Now, Timestamp};

/// An upstream whose clock runs in another century must not close a source for ever; nobody means longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(31 * 86_400);

/// Reads the header's value; `date` is the answer's `Date` header.
pub fn read(value: &str, date: Option<&str>) -> Option<RetryAfter> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds still mean a very long time.
        return Some(RetryAfter::Seconds(value.parse().unwrap_or(u64::MAX)));
    }
    let at = http_date(value)?;
    match date.and_then(|date| http_date(date.trim())) {
        Some(said_at) => Some(RetryAfter::Seconds(u64::try_from(at.duration_since(said_at).as_secs()).unwrap_or(0))),
        None => Some(RetryAfter::At(at)),
    }
}

/// The end of the pause; from then on the wall clock may jump as it likes.
pub fn pause_until(asked: RetryAfter, now: Now) -> Boottime {
    let end = match asked {
        RetryAfter::Seconds(seconds) => now.boot + Duration::from_secs(seconds),
        RetryAfter::At(at) => now.boot_at(at),
    };
    end.min(now.boot + LONGEST_PAUSE)
}

pub(crate) fn http_date(text: &str) -> Option<Timestamp> {
    const FORMATS: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let civil = FORMATS.iter().find_map(|format| civil::DateTime::strptime(format, text).ok())?;
    jiff::tz::TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn seconds_and_all_three_http_dates_are_read() {
        let date = RetryAfter::At(at("1994-11-06T08:49:37Z"));
        let cases = [
            ("120", Some(RetryAfter::Seconds(120))),
            (" 0 ", Some(RetryAfter::Seconds(0))),
            ("99999999999999999999999", Some(RetryAfter::Seconds(u64::MAX))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(date)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(date)),
            ("Sun Nov  6 08:49:37 1994", Some(date)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 31 Feb 1994 08:49:37 GMT", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, None), expected, "{text:?}");
        }
    }

    #[test]
    fn a_date_is_measured_on_the_upstreams_own_clock() {
        let value = "Sun, 06 Nov 1994 08:50:07 GMT";
        assert_eq!(read(value, Some("Sun, 06 Nov 1994 08:49:37 GMT")), Some(RetryAfter::Seconds(30)));
        assert_eq!(read(value, Some("Sun, 06 Nov 1994 09:00:00 GMT")), Some(RetryAfter::Seconds(0)));
        assert_eq!(read(value, Some("yesterday")), Some(RetryAfter::At(at("1994-11-06T08:50:07Z"))));
    }

    #[test]
    fn a_pause_ends_on_the_boot_clock_and_within_a_month() {
        let now = Now { wall: at("2025-03-09T14:00:00Z"), boot: Boottime::from_secs(1_000) };
        assert_eq!(pause_until(RetryAfter::Seconds(60), now), Boottime::from_secs(1_060));
        assert_eq!(pause_until(RetryAfter::At(at("2025-03-09T14:00:30Z")), now), Boottime::from_secs(1_030));
        assert_eq!(pause_until(RetryAfter::At(at("2020-01-01T00:00:00Z")), now), now.boot);
        assert_eq!(pause_until(RetryAfter::Seconds(u64::MAX), now), now.boot + LONGEST_PAUSE);
        assert_eq!(pause_until(RetryAfter::At(at("2099-01-01T00:00:00Z")), now), now.boot + LONGEST_PAUSE);
    }
}
