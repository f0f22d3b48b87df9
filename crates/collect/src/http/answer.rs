//! What an upstream's answer means for an item. Decides only; touches nothing.

use adce_core::gap::{Failure, Fault};
use adce_core::limits::{heard, retry_after};
use adce_core::ports::{Answer, RetryAfter};
use adce_core::time::Timestamp;
use http::header::{DATE, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, StatusCode};
use url::Url;

use crate::http::Upstream;

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The body is the item.
    Body,
    Unchanged,
    /// Upstream has no such thing.
    Absent,
    Redirect,
    Refused(Fault),
}

/// An overloaded or broken upstream is its own fault; what it refuses for good is the item's.
pub(crate) fn meaning(status: StatusCode) -> Meaning {
    match status.as_u16() {
        200 => Meaning::Body,
        304 => Meaning::Unchanged,
        404 | 410 => Meaning::Absent,
        301 | 302 | 303 | 307 | 308 => Meaning::Redirect,
        408 | 425 | 429 | 500..=599 => Meaning::Refused(Fault::Source),
        _ => Meaning::Refused(Fault::Item),
    }
}

/// Whether the rest of an attempt's items need not be tried now: upstream asked for a pause.
pub(crate) fn asks_for_a_pause(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 503)
}

/// For breakers, pauses and figures.
pub(crate) fn answer(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Answer {
    let headers = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    heard::read(status.as_u16(), headers, now)
}

fn pause(headers: &HeaderMap) -> Option<RetryAfter> {
    retry_after::read(text(headers, RETRY_AFTER)?, text(headers, DATE))
}

/// The pause that upstream asked for, from now on.
pub(crate) fn pause_s(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    Some(match pause(headers)? {
        RetryAfter::Seconds(seconds) => seconds,
        RetryAfter::At(at) => u64::try_from(at.duration_since(now).as_secs()).unwrap_or(0),
    })
}

/// Where a redirect leads, if adce may go there.
pub(crate) fn redirect(from: &Url, headers: &HeaderMap, upstream: &Upstream) -> Result<Url, Failure> {
    let refused = |why: String| Failure { fault: Fault::Item, message: why, retry_after_s: None };
    let location = text(headers, LOCATION).ok_or_else(|| refused(format!("{from} redirects, but says not where")))?;
    let to = from.join(location).map_err(|why| refused(format!("{from} redirects to `{location}`, which is no URL: {why}")))?;
    if !matches!(to.scheme(), "http" | "https") || (from.scheme() == "https" && to.scheme() == "http") {
        return Err(refused(format!("{from} redirects to {to}, which is not as safe")));
    }
    if !same_place(from, &to) && !upstream.covers(&to) {
        let host = to.host_str().unwrap_or_default();
        let hint = format!("add `{host}` to the hosts of source `{}` if that is right", upstream.name);
        return Err(refused(format!("{from} redirects to {to}, whose host is not declared; {hint}")));
    }
    Ok(to)
}

/// Headers that are sent to this place may be sent to that one.
pub(crate) fn same_place(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && one.host_str() == other.host_str() && one.port_or_known_default() == other.port_or_known_default()
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The beginning of a body, for a message: one line, without control characters.
pub(crate) fn excerpt(body: &[u8]) -> String {
    const LONGEST_CHARS: usize = 200;
    let text = String::from_utf8_lossy(body);
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST_CHARS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_status_means_something() {
        let of = |code| meaning(StatusCode::from_u16(code).unwrap());
        let refused = |code| match of(code) {
            Meaning::Refused(fault) => fault,
            other => panic!("{code}: {other:?}"),
        };
        assert_eq!([of(200), of(304), of(404), of(410)], [Meaning::Body, Meaning::Unchanged, Meaning::Absent, Meaning::Absent]);
        assert!([429, 500, 502, 503, 504, 408].into_iter().all(|code| refused(code) == Fault::Source));
        assert!([201, 204, 206, 300, 400, 401, 403, 418, 451].into_iter().all(|code| refused(code) == Fault::Item));
        assert!([301, 302, 303, 307, 308].into_iter().all(|code| of(code) == Meaning::Redirect));
    }

    #[test]
    fn redirects_stay_with_the_hosts_of_the_source() {
        let upstream = Upstream {
            name: "s".into(),
            hosts: vec!["a.example".into(), "*.b.example".into()],
            linger: Duration::ZERO,
            cache: Default::default(),
        };
        let to = |location: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            redirect(&Url::parse("https://a.example/x/y?z").unwrap(), &headers, &upstream).map(|url| url.to_string())
        };
        assert_eq!(to("../w").unwrap(), "https://a.example/w");
        assert_eq!(to("https://cdn.b.example/y").unwrap(), "https://cdn.b.example/y");
        let message = to("https://login.example/").unwrap_err().message;
        assert!(message.contains("whose host is not declared; add `login.example` to the hosts of source `s`"), "{message}");
        assert!(to("http://a.example/x").unwrap_err().message.contains("not as safe"));
        assert!(to("file:///etc/passwd").is_err());
    }

    #[test]
    fn an_excerpt_is_one_readable_line() {
        assert_eq!(excerpt(b"<html>\r\n\x1b[31m  Access\tDenied \xff</html>"), "<html> [31m Access Denied \u{fffd}</html>");
        assert_eq!(excerpt(&[b'x'; 500]).chars().count(), 201);
    }
}
