//! The ListObjectsV2 reader.
//!
//! What it must never do is to call a listing complete that is not: half an answer, an answer that is something else (a
//! proxy's page with status 200), a page that promises more but does not say where, or a circle of pages are all errors
//! (`tests/s3_faults.rs`).
//!
//! Keys are asked for in URL encoding, because XML cannot hold every character. Some servers confirm the encoding and then
//! do not encode; where a page leaves room for doubt, the first keys that differ are looked up in both spellings,
//! once per lake.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};

use adce_core::object::Object;
use adce_core::ports::LakeError;
use adce_core::time::Timestamp;
use http::Method;
use percent_encoding::percent_decode;
use serde::Deserialize;

use super::Shared;
use super::answer::{Failed, etag_without_one, without_quotes};
use super::client::Ask;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    contents: Vec<Row>,
    /// Required: nothing else that parses has it.
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    key: String,
    size: u64,
    last_modified: Timestamp,
    #[serde(rename = "ETag", default)]
    etag: String,
}

pub(super) async fn list(lake: &Shared, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
    let what = format!("listing of `{}`", lake.identity().trim_end_matches('/').to_owned() + "/" + prefix);
    let full = format!("{}{prefix}", lake.prefix);
    let (mut token, mut met, mut not_utf8) = (None, HashSet::new(), 0_u64);
    loop {
        let page = page(lake, &full, token.as_deref()).await.map_err(|failed| lake.told(&what, failed))?;
        lake.note_bucket();
        for object in page.objects {
            match object {
                Some(mut object) => match object.key.strip_prefix(&lake.prefix) {
                    // The marker of the lake's own folder has no key in it.
                    Some("") => {}
                    Some(key) => {
                        object.key = key.to_owned();
                        found(object);
                    }
                    None => unreachable!("keys outside the prefix have failed the page"),
                },
                None => not_utf8 += 1,
            }
        }
        match page.next {
            None => break,
            Some(next) if met.insert(next.clone()) => token = Some(next),
            Some(_) => {
                let detail = "the store repeats a continuation token, the listing would never end".into();
                return Err(LakeError::Unavailable { what, detail });
            }
        }
    }
    if not_utf8 > 0 {
        tracing::warn!(lake = lake.identity(), prefix, not_utf8, "keys that are not text were left out of the listing");
    }
    Ok(())
}

struct Read {
    /// `None`: a key that is not text.
    objects: Vec<Option<Object>>,
    next: Option<String>,
}

/// One page, tried again while its failures may pass.
async fn page(lake: &Shared, prefix: &str, token: Option<&str>) -> Result<Read, Failed> {
    let mut ask = Ask::new(Method::GET, None);
    ask.query = vec![("list-type", "2".into()), ("encoding-type", "url".into())];
    if !prefix.is_empty() {
        ask.query.push(("prefix", prefix.into()));
    }
    if let Some(token) = token {
        ask.query.push(("continuation-token", token.into()));
    }
    let mut tries = lake.client.tries();
    loop {
        match once(lake, &ask, prefix).await {
            Ok(page) => return Ok(page),
            Err(failed) => tries.again(failed).await?,
        }
    }
}

async fn once(lake: &Shared, ask: &Ask<'_>, prefix: &str) -> Result<Read, Failed> {
    let answer = lake.client.once(ask).await?;
    let body = lake.client.whole(answer).await?;
    let page = parsed(&body).map_err(Failed::passing)?;
    let spelling = spelling(lake, &page, prefix).await;
    read(page, spelling, prefix).map_err(Failed::passing)
}

fn parsed(body: &[u8]) -> Result<Page, String> {
    let text = std::str::from_utf8(body).map_err(|_| "the page is not UTF-8")?;
    quick_xml::de::from_str(text).map_err(|error| format!("the page is no listing, or only a part of one: {error}"))
}

fn read(page: Page, spelling: Spelling, prefix: &str) -> Result<Read, String> {
    let next = match (page.is_truncated, page.next_continuation_token) {
        (false, _) => None,
        (true, Some(token)) if !token.is_empty() => Some(token),
        (true, _) => return Err("the page says that more follows, but not where".into()),
    };
    let object = |row: Row| {
        let Some(key) = spelling.key(&row.key) else { return Ok(None) };
        if !key.starts_with(prefix) {
            return Err(format!("the page holds key `{key}`, which does not begin with `{prefix}`"));
        }
        let etag = match without_quotes(&row.etag) {
            none if none.is_empty() => etag_without_one(row.size, row.last_modified),
            etag => etag,
        };
        Ok(Some(Object { key, size: row.size, last_modified: row.last_modified, etag }))
    };
    Ok(Read { objects: page.contents.into_iter().map(object).collect::<Result<_, _>>()?, next })
}

/// How keys stand in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    Encoded,
    Plain,
}

impl Spelling {
    /// `None`: it is not text.
    fn key(self, written: &str) -> Option<String> {
        match self {
            Spelling::Encoded => decoded(written),
            Spelling::Plain => Some(written.to_owned()),
        }
    }
}

/// What is known about a store that says it encodes.
#[derive(Default)]
pub(super) struct Honesty(AtomicU8);

impl Honesty {
    const ENCODES: u8 = 1;
    const DOES_NOT: u8 = 2;

    fn known(&self) -> Option<Spelling> {
        match self.0.load(Ordering::Relaxed) {
            Self::ENCODES => Some(Spelling::Encoded),
            Self::DOES_NOT => Some(Spelling::Plain),
            _ => None,
        }
    }

    fn learn(&self, spelling: Spelling) -> Spelling {
        let known = if spelling == Spelling::Encoded { Self::ENCODES } else { Self::DOES_NOT };
        self.0.store(known, Ordering::Relaxed);
        spelling
    }
}

/// So many keys are looked up at most, if both of their spellings exist or neither does.
const LOOK_UPS_MAX: usize = 3;

async fn spelling(lake: &Shared, page: &Page, prefix: &str) -> Spelling {
    if !page.encoding_type.as_deref().is_some_and(|kind| kind.eq_ignore_ascii_case("url")) {
        return Spelling::Plain;
    }
    if let Some(known) = lake.honesty.known() {
        return known;
    }
    let written = || page.contents.iter().map(|row| row.key.as_str());
    let cannot_be_decoded = |key: &str| decoded(key).is_some_and(|decoded| !decoded.starts_with(prefix)) && key.starts_with(prefix);
    if written().any(|key| is_never_in_encoded_text(key) || cannot_be_decoded(key)) {
        return lake.honesty.learn(Spelling::Plain);
    }
    let differing = written().filter(|key| decoded(key).is_some_and(|decoded| decoded != *key));
    for key in differing.take(LOOK_UPS_MAX) {
        let there = |spelling: Spelling| async move {
            let key = spelling.key(key)?;
            let key = key.strip_prefix(&lake.prefix)?;
            lake.head(key).await.ok().map(|object| object.is_some())
        };
        match (there(Spelling::Encoded).await, there(Spelling::Plain).await) {
            (Some(true), Some(false)) => return lake.honesty.learn(Spelling::Encoded),
            (Some(false), Some(true)) => return lake.honesty.learn(Spelling::Plain),
            _ => {}
        }
    }
    Spelling::Encoded
}

/// Characters that every encoder replaces.
fn is_never_in_encoded_text(key: &str) -> bool {
    let always_replaced = |byte: u8| !byte.is_ascii_graphic() || b"\"<>#[]{}|\\^`".contains(&byte);
    let is_half_an_escape = |(at, byte): (usize, u8)| {
        byte == b'%' && !key.as_bytes().get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    key.bytes().any(always_replaced) || key.bytes().enumerate().any(is_half_an_escape)
}

/// Form encoding, as S3 uses it here: `+` is a space, a plus is `%2B`.
fn decoded(key: &str) -> Option<String> {
    let spaced = key.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8().ok().map(|key| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "<Contents><Key>a%2Bb+c/%C3%BC%252F</Key><LastModified>2009-10-12T17:50:30.000Z</LastModified>\
                       <ETag>&quot;fba9&quot;</ETag><Size>434234</Size><StorageClass>STANDARD</StorageClass></Contents>";

    fn page(inner: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>{inner}</ListBucketResult>"
        )
    }

    fn read(body: &[u8], prefix: &str) -> Result<Read, String> {
        let page = parsed(body)?;
        let spelling = if page.encoding_type.is_some() { Spelling::Encoded } else { Spelling::Plain };
        super::read(page, spelling, prefix)
    }

    #[test]
    fn text_that_no_encoder_writes_is_noticed() {
        for key in ["a b", "ü", "a#b", "100%", "%zz", "a%2", "[x]", "a\nb"] {
            assert!(is_never_in_encoded_text(key), "{key}");
        }
        for key in ["a+b", "%2B", "a/b-c_d.e~f*g", "!'():@=&$,;?", "%C3%BC"] {
            assert!(!is_never_in_encoded_text(key), "{key}");
        }
    }

    #[test]
    fn encoded_keys_are_decoded_once() {
        let body = page(&format!("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{ROW}"));
        let read = read(body.as_bytes(), "a").unwrap();
        let object = read.objects[0].clone().unwrap();
        assert_eq!((object.key.as_str(), object.size, object.etag.as_str()), ("a+b c/ü%2F", 434_234, "fba9"));
        assert_eq!(object.last_modified.to_string(), "2009-10-12T17:50:30Z");
        assert!(read.next.is_none());
    }

    #[test]
    fn keys_of_a_store_that_does_not_encode_are_taken_as_they_are() {
        let body = page(&format!("<IsTruncated>false</IsTruncated>{ROW}"));
        assert_eq!(read(body.as_bytes(), "").unwrap().objects[0].clone().unwrap().key, "a%2Bb+c/%C3%BC%252F");
    }

    #[test]
    fn what_is_not_a_whole_listing_is_an_error() {
        let whole = page(&format!("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{ROW}"));
        assert!(read(whole.as_bytes(), "").is_ok());
        let ends: Vec<usize> = whole.char_indices().map(|(at, _)| at).collect();
        for end in ends {
            assert!(read(&whole.as_bytes()[..end], "").is_err(), "cut at {end}");
        }
        for body in ["<html><body>Sign in</body></html>", "{}", "", &page(ROW), &page("<IsTruncated>true</IsTruncated>")] {
            assert!(read(body.as_bytes(), "").is_err(), "{body}");
        }
        assert!(read(whole.as_bytes(), "other/").is_err(), "a key of another prefix");
    }

    #[test]
    fn key_that_is_not_text_is_left_out() {
        let body = page("<EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>").replace(
            "</ListBucketResult>",
            "<Contents><Key>caf%E9</Key><LastModified>2009-10-12T17:50:30Z</LastModified><ETag>x</ETag><Size>1</Size></Contents></ListBucketResult>",
        );
        assert!(read(body.as_bytes(), "").unwrap().objects[0].is_none());
    }
}
