//! What an answer says about the limits of its upstream, in whichever dialect it says it.
//!
//! Read are `Retry-After`; `RateLimit` and `RateLimit-Policy` of the IETF draft, as lists of named quotas and as its older
//! versions had them (`limit=100, remaining=50, reset=5`; `RateLimit-Limit`, `-Remaining`, `-Reset`); and `X-RateLimit-*`
//! (also `X-Rate-Limit-*`), where `Reset` is an instant or the seconds until it: which of the two, its value decides.
//!
//! Always true: nothing that an upstream sends panics, and what cannot be read is taken for not said; never for a quota
//! that is used up, nor for one without end (`whatever_an_upstream_sends_is_read_or_ignored`).
//!
//! What follows from it is for [`learned`](super::learned) to say.

use std::time::Duration;

use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parameters, Parser};

use super::retry_after;
use crate::ports::{Answer, Quota, Quotas};
use crate::time::Timestamp;

/// A larger number is an instant: no quota is renewed in a month or more.
const LONGEST_SECONDS: f64 = 31.0 * 86_400.0;

/// A larger number is an instant in milliseconds: as seconds it would lie in the year 5138.
const LARGEST_INSTANT_IN_SECONDS: f64 = 1e11;

/// Reads the answer's headers, in any order and case. `now` is for instants that are to be compared with a clock; the
/// answer's own `Date` is better, because two machines rarely agree on the time.
pub fn read<'a>(code: u16, headers: impl IntoIterator<Item = (&'a str, &'a str)>, now: Timestamp) -> Answer {
    let fields = Fields::of(headers);
    let retry_after = fields.retry_after.and_then(|value| retry_after::read(value, fields.date));
    let said_at = fields.date.and_then(|date| retry_after::http_date(date.trim())).unwrap_or(now);
    Answer::Status { code, retry_after, quotas: fields.quotas(said_at) }
}

/// The headers that speak of limits.
#[derive(Default)]
struct Fields<'a> {
    date: Option<&'a str>,
    retry_after: Option<&'a str>,
    /// Several lines of one header are one list.
    rate_limit: Vec<&'a str>,
    policy: Vec<&'a str>,
    /// `RateLimit-Limit` and its like.
    draft: Plain<'a>,
    /// `X-RateLimit-Limit` and its like.
    x: Plain<'a>,
    /// `X-RateLimit-Limit-Minute` and its like, by the span that they name.
    spans: [Plain<'a>; 4],
    /// What the plain ones are about (`X-RateLimit-Bucket`, `X-RateLimit-Resource`).
    about: Option<&'a str>,
}

/// One quota in headers of its own.
#[derive(Clone, Copy, Default)]
struct Plain<'a> {
    limit: Option<&'a str>,
    remaining: Option<&'a str>,
    reset: Option<&'a str>,
    reset_after: Option<&'a str>,
}

const SPANS: [(&str, u64); 4] = [("second", 1), ("minute", 60), ("hour", 3_600), ("day", 86_400)];

impl<'a> Fields<'a> {
    fn of(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut fields = Fields::default();
        for (name, value) in headers {
            // Most headers are none of ours; their names are not even looked at in lower case.
            if matches!(name.as_bytes().first(), Some(b'r' | b'R' | b'x' | b'X' | b'd' | b'D')) {
                fields.take(&name.to_ascii_lowercase(), value);
            }
        }
        fields
    }

    fn take(&mut self, name: &str, value: &'a str) {
        match name {
            "date" => self.date = Some(value),
            "retry-after" => self.retry_after = Some(value),
            "ratelimit" => self.rate_limit.push(value),
            "ratelimit-policy" => self.policy.push(value),
            _ => {
                if let Some(rest) = name.strip_prefix("ratelimit-") {
                    self.draft.take(rest, value);
                } else if let Some(rest) = name.strip_prefix("x-ratelimit-").or_else(|| name.strip_prefix("x-rate-limit-")) {
                    self.take_x(rest, value);
                }
            }
        }
    }

    fn take_x(&mut self, name: &str, value: &'a str) {
        if matches!(name, "bucket" | "resource") {
            self.about = Some(value);
        }
        match SPANS.iter().position(|(span, _)| name.strip_suffix(span).is_some_and(|front| front.ends_with('-'))) {
            Some(at) => self.spans[at].take(name.trim_end_matches(SPANS[at].0).trim_end_matches('-'), value),
            None => self.x.take(name, value),
        }
    }

    fn quotas(&self, said_at: Timestamp) -> Quotas {
        let mut quotas = Quotas::default();
        let policies = policies(&self.policy.join(", "));
        for quota in named(&self.rate_limit.join(", "), &policies) {
            quotas.add(quota);
        }
        let plain = self.draft.quota("draft", None, said_at);
        let unnamed = policies.iter().filter(|policy| policy.name.is_none());
        // Of the policies that the older draft lists without names, the one of this limit says how long its window is.
        let per = |quota: &Quota| unnamed.clone().find(|policy| quota.requests.is_some() && policy.requests == quota.requests)?.per;
        quotas.add(plain.map(|quota| Quota { per: quota.per.or_else(|| per(&quota)), ..quota }).unwrap_or_default());
        quotas.add(self.x.quota("x", self.about, said_at).unwrap_or_default());
        for ((span, secs), plain) in SPANS.into_iter().zip(&self.spans) {
            let quota = plain.quota(span, self.about, said_at);
            quotas.add(quota.map(|quota| Quota { per: Some(Duration::from_secs(secs)), ..quota }).unwrap_or_default());
        }
        let alone = self.rate_limit.is_empty();
        for policy in policies.iter().filter(|policy| alone || policy.name.is_none()) {
            quotas.add(policy.quota());
        }
        quotas
    }
}

impl<'a> Plain<'a> {
    fn take(&mut self, name: &str, value: &'a str) {
        match name {
            "limit" => self.limit = Some(value),
            "remaining" => self.remaining = Some(value),
            "reset" => self.reset = Some(value),
            "reset-after" => self.reset_after = Some(value),
            _ => {}
        }
    }

    fn quota(&self, dialect: &str, about: Option<&str>, said_at: Timestamp) -> Option<Quota> {
        // `100`, and in one version of the draft `100, 100;w=60`.
        let limit: Option<List> = self.limit.and_then(|limit| Parser::new(limit.trim()).parse().ok());
        let limit = limit.as_deref().unwrap_or_default();
        let requests = limit.first().and_then(|entry| number(&item(entry)?.bare_item)).and_then(whole);
        let per = limit.iter().skip(1).filter_map(item).find(|other| number(&other.bare_item).and_then(whole) == requests);
        let quota = Quota {
            id: id([dialect, about.unwrap_or_default()]),
            requests: requests.filter(|requests| *requests > 0),
            per: per.and_then(|item| span(&item.params, "w")),
            left: self.remaining.and_then(|text| whole(decimal(text)?)),
            renewed_in: self.reset_after.and_then(seconds).or_else(|| self.reset.and_then(|text| until(text, said_at))),
        };
        (quota != Quota { id: quota.id, ..Quota::default() }).then_some(quota)
    }
}

/// One of `RateLimit-Policy`.
struct Policy {
    /// `None`: of a version without names (`100;w=60`).
    name: Option<String>,
    requests: Option<u32>,
    per: Option<Duration>,
    /// It counts something else than requests.
    of_others: bool,
}

impl Policy {
    fn quota(&self) -> Quota {
        if self.of_others {
            return Quota::default();
        }
        let id = id(["policy", self.name.as_deref().unwrap_or_default()]);
        Quota { id, requests: self.requests, per: self.per, ..Quota::default() }
    }
}

fn policies(text: &str) -> Vec<Policy> {
    let list: List = Parser::new(text).parse().unwrap_or_default();
    let policies = list.iter().filter_map(item).map(|item| {
        let unit = item.params.get("qu").and_then(words);
        let requests = match number(&item.bare_item) {
            Some(requests) => whole(requests),
            None => item.params.get("q").and_then(number).and_then(whole),
        };
        Policy {
            name: words(&item.bare_item),
            requests: requests.filter(|requests| *requests > 0),
            per: span(&item.params, "w"),
            of_others: unit.is_some_and(|unit| unit != "requests"),
        }
    });
    policies.collect()
}

/// `RateLimit`: named quotas, or one in an older version.
fn named(text: &str, policies: &[Policy]) -> Vec<Quota> {
    if let Ok(list) = Parser::new(text).parse::<List>() {
        return list.iter().filter_map(item).filter_map(|item| of_name(item, policies)).collect();
    }
    let Ok(one) = Parser::new(text).parse::<Dictionary>() else { return Vec::new() };
    let of = |name: &str| one.get(name).and_then(item).and_then(|item| number(&item.bare_item));
    let requests = of("limit").and_then(whole).filter(|requests| *requests > 0);
    let left = of("remaining").and_then(whole);
    vec![Quota { id: id(["one", ""]), requests, per: None, left, renewed_in: of("reset").and_then(ahead) }]
}

fn of_name(item: &Item, policies: &[Policy]) -> Option<Quota> {
    let name = words(&item.bare_item)?;
    let policy = policies.iter().find(|policy| policy.name.as_ref() == Some(&name));
    if policy.is_some_and(|policy| policy.of_others) {
        return None;
    }
    let partition = item.params.get("pk").map(|key| format!("{key:?}")).unwrap_or_default();
    let per = policy.and_then(|policy| policy.per);
    Some(Quota {
        id: id([&name, &partition]),
        requests: policy.and_then(|policy| policy.requests),
        per,
        left: item.params.get("r").and_then(number).and_then(whole),
        // It cannot take longer than its window.
        renewed_in: item.params.get("t").and_then(number).and_then(ahead).or(per),
    })
}

fn item(entry: &ListEntry) -> Option<&Item> {
    match entry {
        ListEntry::Item(item) => Some(item),
        ListEntry::InnerList(_) => None,
    }
}

fn words(item: &BareItem) -> Option<String> {
    match item {
        BareItem::String(text) => Some(text.as_str().to_owned()),
        BareItem::Token(text) => Some(text.as_str().to_owned()),
        _ => None,
    }
}

fn number(item: &BareItem) -> Option<f64> {
    match item {
        BareItem::Integer(number) => Some(i64::from(*number) as f64),
        BareItem::Decimal(number) => Some(f64::from(*number)),
        _ => None,
    }
}

fn span(of: &Parameters, name: &str) -> Option<Duration> {
    of.get(name).and_then(number).and_then(ahead).filter(|span| !span.is_zero())
}

/// Digits, and perhaps a fraction: no signs, no exponents, no words.
fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.starts_with(|first: char| first.is_ascii_digit()) && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { text.parse().ok() } else { None }
}

/// Requests, cut to whole ones. So many that nobody counts them is no limit.
fn whole(number: f64) -> Option<u32> {
    (0.0..=f64::from(u32::MAX)).contains(&number).then_some(number as u32)
}

fn ahead(seconds: f64) -> Option<Duration> {
    (0.0..=LONGEST_SECONDS).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

fn seconds(text: &str) -> Option<Duration> {
    decimal(text).and_then(ahead)
}

/// An instant, or the seconds until it.
fn until(text: &str, said_at: Timestamp) -> Option<Duration> {
    let at = match decimal(text) {
        Some(number) if number <= LONGEST_SECONDS => return ahead(number),
        Some(number) if number > LARGEST_INSTANT_IN_SECONDS => number / 1e3,
        Some(number) => number,
        None => {
            let written = text.trim();
            let at = retry_after::http_date(written).or_else(|| written.parse().ok())?;
            at.as_microsecond() as f64 / 1e6
        }
    };
    let left = at - said_at.as_microsecond() as f64 / 1e6;
    // Past by more than clocks differ by: no instant at all.
    if left < -LONGEST_SECONDS { None } else { ahead(left.max(0.0)) }
}

/// Two quotas of one name share it only by an accident that costs nothing: each tells itself anew with the next answer.
fn id(words: [&str; 2]) -> u32 {
    let mut hasher = blake3::Hasher::new();
    for word in words {
        hasher.update(&(word.len() as u64).to_le_bytes()).update(word.as_bytes());
    }
    let digest = hasher.finalize();
    u32::from_le_bytes(digest.as_bytes()[..4].try_into().expect("a digest has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ports::RetryAfter;

    fn now() -> Timestamp {
        "2025-03-09T14:00:00Z".parse().unwrap()
    }

    fn quotas(headers: &[(&str, &str)]) -> Vec<(Option<u32>, Option<u64>, Option<u32>, Option<u64>)> {
        let Answer::Status { quotas, .. } = read(200, headers.iter().copied(), now()) else { panic!("an answer") };
        let secs = |span: Option<Duration>| span.map(|span| span.as_secs());
        quotas.iter().map(|quota| (quota.requests, secs(quota.per), quota.left, secs(quota.renewed_in))).collect()
    }

    type Said<'a> = (&'a [(&'a str, &'a str)], Vec<(Option<u32>, Option<u64>, Option<u32>, Option<u64>)>);

    #[test]
    fn quotas_are_read_in_every_version_of_the_draft() {
        let cases: [Said<'_>; 17] = [
            (&[("RateLimit", "\"default\";r=0;t=50")], vec![(None, None, Some(0), Some(50))]),
            (
                &[("RateLimit-Policy", "\"basic\";q=100;w=60"), ("RateLimit", "\"basic\";r=20;t=56")],
                vec![(Some(100), Some(60), Some(20), Some(56))],
            ),
            (&[("RateLimit-Policy", "quota;q=100;w=1"), ("RateLimit", "quota;t=1")], vec![(Some(100), Some(1), None, Some(1))]),
            (
                &[("RateLimit-Policy", "\"hour\";q=1000;w=3600, \"day\";q=5000;w=86400"), ("RateLimit", "\"day\";r=100;t=36000")],
                vec![(Some(5000), Some(86_400), Some(100), Some(36_000))],
            ),
            (
                &[("RateLimit-Policy", "\"hour\";q=1000;w=3600"), ("ratelimit-policy", "\"day\";q=5000;w=86400")],
                vec![(Some(1000), Some(3600), None, None), (Some(5000), Some(86_400), None, None)],
            ),
            (&[("RateLimit-Policy", "\"peruser\";q=100;w=60;pk=:cHsdsRa894==:")], vec![(Some(100), Some(60), None, None)]),
            (&[("RateLimit", "\"default\";r=999;pk=:dHJpYWwxMjEzMjM=:")], vec![(None, None, Some(999), None)]),
            (&[("RateLimit-Policy", "\"bytes\";q=65535;qu=\"content-bytes\";w=10"), ("RateLimit", "\"bytes\";r=0;t=9")], vec![]),
            (&[("RateLimit", "limit=100, remaining=50, reset=5")], vec![(Some(100), None, Some(50), Some(5))]),
            // A quota of nothing is none, however it is told.
            (&[("RateLimit", "limit=0, remaining=50, reset=5")], vec![(None, None, Some(50), Some(5))]),
            (&[("RateLimit-Limit", "0"), ("RateLimit-Remaining", "7")], vec![(None, None, Some(7), None)]),
            (&[("RateLimit-Policy", "\"basic\";q=0;w=60")], vec![(None, Some(60), None, None)]),
            (
                &[("RateLimit-Policy", "0;w=60"), ("RateLimit", "\"basic\";r=20;t=56")],
                vec![(None, None, Some(20), Some(56)), (None, Some(60), None, None)],
            ),
            (
                &[("RateLimit-Limit", "100"), ("RateLimit-Remaining", "7"), ("RateLimit-Reset", "40")],
                vec![(Some(100), None, Some(7), Some(40))],
            ),
            (
                &[("RateLimit-Limit", "100, 100;w=60, 5000;w=3600"), ("RateLimit-Remaining", "7"), ("RateLimit-Reset", "40")],
                vec![(Some(100), Some(60), Some(7), Some(40))],
            ),
            (
                &[
                    ("RateLimit-Policy", "10;w=1, 50;w=60"),
                    ("RateLimit-Limit", "50"),
                    ("RateLimit-Remaining", "3"),
                    ("RateLimit-Reset", "9"),
                ],
                vec![(Some(50), Some(60), Some(3), Some(9)), (Some(10), Some(1), None, None), (Some(50), Some(60), None, None)],
            ),
            (&[("RateLimit", "what?"), ("RateLimit-Policy", "\"open"), ("RateLimit-Remaining", "-1"), ("RateLimit-Reset", "soon")], vec![]),
        ];
        for (headers, expected) in cases {
            assert_eq!(quotas(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn the_dialects_of_x_ratelimit_are_told_by_their_values() {
        // 14:00:00 is 1741528800.
        let cases: [Said<'_>; 11] = [
            (
                &[("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "4987"), ("x-ratelimit-reset", "1741529100")],
                vec![(Some(5000), None, Some(4987), Some(300))],
            ),
            (
                &[("x-ratelimit-limit", "50"), ("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "24")],
                vec![(Some(50), None, Some(12), Some(24))],
            ),
            (
                &[("x-rate-limit-limit", "900"), ("x-rate-limit-remaining", "0"), ("x-rate-limit-reset", "1741529700")],
                vec![(Some(900), None, Some(0), Some(900))],
            ),
            (
                &[
                    ("X-RateLimit-Limit", "5"),
                    ("X-RateLimit-Remaining", "0"),
                    ("X-RateLimit-Reset", "1741528999.123"),
                    ("X-RateLimit-Reset-After", "1.5"),
                ],
                vec![(Some(5), None, Some(0), Some(1))],
            ),
            (&[("X-RateLimit-Remaining", "3"), ("X-RateLimit-Reset", "1741528830000")], vec![(None, None, Some(3), Some(30))]),
            (&[("X-RateLimit-Remaining", "3"), ("X-RateLimit-Reset", "2025-03-09T14:01:00Z")], vec![(None, None, Some(3), Some(60))]),
            // Its own clock goes an hour behind ours.
            (
                &[("Date", "Sun, 09 Mar 2025 13:00:00 GMT"), ("X-RateLimit-Remaining", "3"), ("X-RateLimit-Reset", "1741525210")],
                vec![(None, None, Some(3), Some(10))],
            ),
            (&[("X-RateLimit-Remaining", "3"), ("X-RateLimit-Reset", "1741528790")], vec![(None, None, Some(3), Some(0))]),
            (
                &[("X-RateLimit-Limit-Minute", "20"), ("X-RateLimit-Remaining-Minute", "18"), ("X-RateLimit-Limit-Hour", "500")],
                vec![(Some(20), Some(60), Some(18), None), (Some(500), Some(3600), None, None)],
            ),
            (&[("X-RateLimit-Remaining", "unlimited"), ("X-RateLimit-Reset", "1e9"), ("X-RateLimit-Limit", "")], vec![]),
            (&[("X-RateLimit-Reset", "99999999999999999999"), ("X-RateLimit-Remaining", "99999999999")], vec![]),
        ];
        for (headers, expected) in cases {
            assert_eq!(quotas(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_is_about_something_else_is_another_quota() {
        let of = |bucket: &str| match read(200, [("X-RateLimit-Bucket", bucket), ("X-RateLimit-Remaining", "1")], now()) {
            Answer::Status { quotas, .. } => quotas.iter().next().unwrap().id,
            Answer::NoAnswer | Answer::NotReached => panic!("an answer"),
        };
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn retry_after_is_heard_beside_quotas() {
        let headers = [("Retry-After", "Mon, 18 Jul 2016 16:06:10 GMT"), ("Date", "Mon, 18 Jul 2016 16:06:00 GMT")];
        assert_eq!(read(429, headers, now()), Answer::later(429, RetryAfter::Seconds(10)));
        assert_eq!(read(429, [("retry-after", "this is not a date")], now()), Answer::status(429));
    }

    /// What the draft, libraries and vendors have in their documents and tests. A fresh clone does not have it.
    #[test]
    fn vectors_of_others_are_read_as_they_are_meant() {
        let vectors = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev/ratelimit_headers/vectors.jsonl");
        let Ok(text) = std::fs::read_to_string(&vectors) else {
            println!("{} is not there", vectors.display());
            return;
        };
        let (mut waits, mut quoted) = (0, 0);
        for line in text.lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let headers = vector["headers"].as_array().unwrap().iter().map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
            let Answer::Status { retry_after, quotas, .. } = read(429, headers.clone(), now()) else { panic!("an answer") };
            if let Some(wait) = vector["expect_wait_s"].as_u64() {
                assert_eq!(retry_after, Some(RetryAfter::Seconds(wait)), "{line}");
                waits += 1;
            }
            if vector["expect"] == "ignored" {
                assert_eq!((retry_after, quotas), (None, Quotas::default()), "{line}");
            }
            let speaks = headers.clone().any(|(name, value)| name.to_lowercase().contains("ratelimit") && !value.contains('<'));
            assert_eq!(quotas.iter().next().is_some(), speaks, "{line}");
            quoted += usize::from(speaks);
            let reset = |form| vector["reset_form"].as_str() == Some(form) && quotas.iter().any(|quota| quota.renewed_in.is_some());
            assert!(vector["reset_form"].is_null() || reset("delta seconds") || !reset("unix epoch seconds"), "{line}: long past");
        }
        assert!(waits >= 3 && quoted >= 10, "{waits} waits, {quoted} quotas");
    }

    const NAMES: [&str; 14] = [
        "RateLimit",
        "RateLimit-Policy",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "Retry-After",
        "Date",
        "X-RateLimit-Limit",
        "X-RateLimit-Remaining",
        "X-RateLimit-Reset",
        "X-RateLimit-Reset-After",
        "X-Rate-Limit-Reset",
        "X-RateLimit-Limit-Minute",
        "X-RateLimit-Remaining-",
    ];

    /// Damaged values that are nearly right find more than noise does.
    fn value() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[ -~]{0,12}",
            prop::sample::select(vec![
                "\"a\"",
                ";",
                "r=",
                "q=",
                "w=",
                "t=",
                "pk=:AA==:",
                "0",
                "1",
                "-1",
                "999999999999999",
                "1741529100",
                "1.5",
                "1e400",
                ", ",
                "(",
                ")",
                "NaN",
                "limit=",
                "remaining=",
                "Sun, 06 Nov 1994 08:49:37 GMT",
                "2025-03-09T14:01:00Z",
                "+9999-99-99",
                "99999999999999999999999999999999",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn whatever_an_upstream_sends_is_read_or_ignored(headers in prop::collection::vec((prop::sample::select(NAMES.to_vec()), value()), 0..8)) {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let Answer::Status { quotas, .. } = read(200, headers, now()) else { panic!("an answer") };
            for quota in quotas.iter() {
                prop_assert!(quota.requests != Some(0), "a quota of nothing is none");
                prop_assert!(quota.per.is_none_or(|per| !per.is_zero() && per.as_secs_f64() <= LONGEST_SECONDS));
                prop_assert!(quota.renewed_in.is_none_or(|ahead| ahead.as_secs_f64() <= LONGEST_SECONDS));
            }
        }
    }
}
