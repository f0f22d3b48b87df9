//! Answers that are kept so that their upstream can be asked whether they still hold: which may be, whose they are, and when they
//! may be given out again. Pure; where they lie is for an adapter of [`KeptAnswers`].
//!
//! A list of games that is fetched every minute and changes twice a day costs its upstream, and the way there, the whole body each
//! time, although upstream said with the first one how to ask for news alone. Scrapers rarely do.
//!
//! Nothing is ever given out without having asked: only 304 (RFC 9110, 15.4.5) makes an answer that is kept one of now.
//!
//! Always true: nobody is given what was answered to other headers than his own, but for those that say nothing of who asks and that
//! upstream did not name in `Vary` (`who_asks_otherwise_is_somebody_else`); what says that it is not to be stored is not.

use std::fs::File;

use serde::{Deserialize, Serialize};

/// Say nothing of who asks, and differ from request to request. They count where `Vary` names them.
const SAY_NOTHING_OF_WHO_ASKS: [&str; 15] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "date",
    "dnt",
    "host",
    "pragma",
    "priority",
    "referer",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-request-id",
];

/// A client that sends one of these knows what it has, or wants a part only.
const ASK_OTHERWISE: [&str; 7] = ["range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "expect"];

/// Of one connection, or of one answer alone; or a secret.
const NOT_KEPT: [&str; 14] = [
    "age",
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "retry-after",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "warning",
];

/// A header's name, in small letters, and its value.
pub type Header = (String, Vec<u8>);

/// A GET whose answer may be kept, or may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Of its URL and of all its headers that may say who asks: 32 hexadecimal digits.
    pub name: String,
    headers: Vec<Header>,
}

/// What an upstream said of an answer, and how to ask it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// Names of headers, in small letters.
    pub vary: Vec<String>,
}

impl Asked {
    /// Of a GET without a body, by its URL; `None`: it is not to be kept, or its client asks for news itself.
    pub fn get<'a>(url: &str, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Asked> {
        let mut headers: Vec<Header> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
        let asks_otherwise = headers.iter().any(|(name, value)| {
            ASK_OTHERWISE.contains(&name.as_str())
                || (name == "cache-control" && directives(value).any(|directive| directive == "no-store"))
        });
        if asks_otherwise {
            return None;
        }
        // Those of one name stay in their order.
        headers.sort_by(|(one, _), (other, _)| one.cmp(other));
        let who = headers.iter().filter(|(name, _)| !SAY_NOTHING_OF_WHO_ASKS.contains(&name.as_str()));
        let name = digest(std::iter::once(("", url.as_bytes())).chain(who.map(|(name, value)| (name.as_str(), value.as_slice()))));
        Some(Asked { name, headers })
    }

    /// Of what `Vary` named: the same for two requests only if they do not differ in it.
    pub fn variant(&self, vary: &[String]) -> String {
        let named = self.headers.iter().filter(|(name, _)| vary.contains(name));
        digest(named.map(|(name, value)| (name.as_str(), value.as_slice())))
    }
}

impl Validators {
    /// `None`: the answer cannot be asked about again, or is not to be stored. `is_framed`: it says where it ends, so that a whole one can
    /// be told from one that was cut.
    pub fn of_answer<'a>(status: u16, is_framed: bool, headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Validators> {
        let headers: Vec<(&str, &[u8])> = headers.collect();
        let all = |wanted: &'static str| headers.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| *value);
        let one = |wanted| all(wanted).next().and_then(|value| std::str::from_utf8(value).ok()).map(|value| value.trim().to_owned());
        let is_whole = status == 200 && is_framed && all("content-range").next().is_none();
        if !is_whole || all("cache-control").flat_map(directives).any(|directive| directive == "no-store") {
            return None;
        }
        let vary: Vec<String> = all("vary").flat_map(directives).filter(|name| !name.is_empty()).collect();
        if vary.iter().any(|name| name == "*") {
            return None;
        }
        let etag = one("etag").filter(|etag| is_etag(etag));
        // What changed twice within its second has one date for two contents (RFC 9110, 8.8.2.2).
        let date = |name| one(name).and_then(|text| crate::limits::retry_after::http_date(&text));
        let is_older = date("last-modified").zip(date("date")).is_some_and(|(modified, said)| modified < said);
        let last_modified = one("last-modified").filter(|_| is_older);
        (etag.is_some() || last_modified.is_some()).then_some(Validators { etag, last_modified, vary })
    }

    /// What to send along to be told whether it still holds.
    pub fn conditions(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let etag = self.etag.as_deref().map(|etag| ("if-none-match", etag));
        let modified = self.last_modified.as_deref().map(|date| ("if-modified-since", date));
        etag.into_iter().chain(modified)
    }

    /// Whether a 304 with this `ETag` speaks of this answer. One that names another speaks of something that nobody here has.
    pub fn are_meant_by(&self, etag: Option<&str>) -> bool {
        let bare = |etag: &str| etag.trim().trim_start_matches("W/").to_owned();
        etag.is_none_or(|etag| self.etag.as_deref().is_some_and(|ours| bare(ours) == bare(etag)))
    }
}

/// Of the answer's headers those that are part of it.
pub fn kept_headers<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<Header> {
    let kept = headers.filter(|(name, _)| !NOT_KEPT.contains(&name.to_ascii_lowercase().as_str()));
    kept.map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect()
}

/// Whether a header of a 304 takes the place of the one that is kept: all but those that describe the body, which is the one that is kept
/// (RFC 9111, 3.2), and those of the connection.
pub fn is_renewed(name: &str) -> bool {
    let of_this_answer = matches!(name, "date" | "age" | "set-cookie" | "warning");
    !name.starts_with("content-") && !matches!(name, "etag" | "last-modified") && (of_this_answer || !NOT_KEPT.contains(&name))
}

fn is_etag(text: &str) -> bool {
    let quoted = text.strip_prefix("W/").unwrap_or(text);
    quoted.len() >= 2 && quoted.starts_with('"') && quoted.ends_with('"') && text.bytes().all(|byte| (0x21..0x7f).contains(&byte))
}

/// Of a list with commas, in small letters.
fn directives(value: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    text.split(',').map(|directive| directive.trim().to_owned()).collect::<Vec<_>>().into_iter()
}

/// Each part with its length, so that no two lists read the same.
fn digest<'a>(parts: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, value) in parts {
        for text in [name.as_bytes(), value] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// One that is kept, whole and checked.
#[derive(Debug)]
pub struct KeptAnswer {
    pub validators: Validators,
    pub headers: Vec<Header>,
    /// Stands at the beginning of the body; after its end comes what is not of it.
    pub body: File,
    pub bytes: u64,
}

/// Where they lie. It may be emptied at any time, and forgets what was not asked for when there is no room.
pub trait KeptAnswers: Send + Sync {
    /// Costs nothing; `false`: none is there.
    fn may_have(&self, asked: &Asked) -> bool;

    /// The one that was given to the same request. Blocks, for it is read as a whole: what is damaged is as good as not there.
    fn find(&self, asked: &Asked) -> Option<KeptAnswer>;

    /// Begins to keep one. Blocks.
    fn keep(&self, asked: &Asked, validators: Validators, headers: Vec<Header>) -> Option<Box<dyn Keeping>>;

    fn forget(&self, asked: &Asked);
}

/// An answer that is coming. Dropped before it is whole, nothing of it is kept, and what was there before stays.
pub trait Keeping: Send {
    /// `false`: it cannot be kept after all. Blocks.
    fn push(&mut self, bytes: &[u8]) -> bool;

    /// That was all of it. Blocks.
    fn whole(self: Box<Self>);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Option<Asked> {
        Asked::get("https://a.example/x", headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    fn told(headers: &[(&str, &str)]) -> Option<Validators> {
        Validators::of_answer(200, true, headers.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn who_asks_otherwise_is_somebody_else() {
        let name = |headers: &[(&str, &str)]| asked(headers).unwrap().name;
        let plain = name(&[("Host", "a.example"), ("User-Agent", "x/1"), ("Accept", "*/*")]);
        assert_eq!(plain, name(&[("accept", "text/html"), ("user-agent", "y/2")]), "nobody is told by these");
        let others =
            [("authorization", "Bearer a"), ("cookie", "id=1"), ("x-api-key", "k"), ("authorization", "Bearer b"), ("x", "Bearer a")];
        let mut names: Vec<String> = others.iter().map(|other| name(&[*other])).collect();
        names.extend([plain, name(&[("x", "1"), ("x", "2")]), name(&[("x", "2"), ("x", "1")]), name(&[("x", "12")])]);
        let known = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), known, "all of them differ");
        assert_ne!(Asked::get("https://a.example/y", std::iter::empty()).unwrap().name, asked(&[]).unwrap().name);
    }

    #[test]
    fn what_vary_names_tells_requests_apart() {
        let variant = |value: &str| asked(&[("Accept-Language", value)]).unwrap().variant(&["accept-language".into()]);
        assert_ne!(variant("de"), variant("en"));
        assert_eq!(variant("de"), variant("de"));
        let without = asked(&[("accept-language", "de")]).unwrap();
        assert_eq!(without.variant(&["origin".into()]), asked(&[]).unwrap().variant(&["origin".into()]));
    }

    #[test]
    fn who_asks_for_a_part_or_for_news_is_left_alone() {
        for header in
            [("Range", "bytes=0-1"), ("If-None-Match", "\"a\""), ("if-modified-since", "x"), ("Cache-Control", "max-age=0, No-Store")]
        {
            assert_eq!(asked(&[header]), None, "{header:?}");
        }
        assert!(asked(&[("cache-control", "no-cache")]).is_some(), "upstream is asked in any case");
    }

    #[test]
    fn only_what_is_whole_and_can_be_asked_about_is_kept() {
        let dated = [("last-modified", "Sun, 06 Nov 1994 08:49:36 GMT"), ("date", "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(told(&dated).unwrap().last_modified.as_deref(), Some("Sun, 06 Nov 1994 08:49:36 GMT"));
        assert_eq!(told(&[dated[0]]), None, "nobody knows how old it was");
        assert_eq!(told(&[dated[0], ("date", dated[0].1)]), None, "it may change once more in this second");
        assert_eq!(told(&[("etag", "W/\"a\""), ("vary", "Accept, Origin")]).unwrap().vary, ["accept", "origin"]);
        let etag = ("ETag", "\"a\"");
        for other in [("cache-control", "private, no-store"), ("vary", "accept, *"), ("content-range", "bytes 0-1/2")] {
            assert_eq!(told(&[etag, other]), None, "{other:?}");
        }
        for bad in ["a", "\"", "\"a\nb\"", "\"a b\""] {
            assert_eq!(told(&[("etag", bad)]), None, "{bad:?}");
        }
        let of = |status, is_framed| Validators::of_answer(status, is_framed, [("etag", &b"\"a\""[..])].into_iter());
        assert!(of(200, true).is_some() && of(206, true).is_none() && of(404, true).is_none() && of(200, false).is_none());
    }

    #[test]
    fn a_304_that_names_another_answer_is_not_of_this_one() {
        let ours = told(&[("etag", "W/\"a\"")]).unwrap();
        assert!(ours.are_meant_by(None) && ours.are_meant_by(Some("\"a\"")) && !ours.are_meant_by(Some("\"b\"")));
    }

    #[test]
    fn secrets_and_what_is_of_a_connection_are_not_kept() {
        let all = [("Set-Cookie", "id=1"), ("Connection", "close"), ("Content-Type", "text/html"), ("X-Own", "1"), ("Content-Length", "3")];
        let kept = kept_headers(all.iter().map(|(name, value)| (*name, value.as_bytes())));
        assert_eq!(kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["content-type", "x-own"]);
        assert!(is_renewed("x-own") && is_renewed("date") && is_renewed("set-cookie"));
        assert!(!is_renewed("content-length") && !is_renewed("content-type") && !is_renewed("transfer-encoding") && !is_renewed("etag"));
    }
}
