//! What a store's answers mean: objects from headers, and failures by what a caller can do about them.

use std::time::Duration;

use adce_core::object::Object;
use adce_core::ports::LakeError;
use adce_core::time::Timestamp;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

/// A request that did not succeed.
#[derive(Debug)]
pub(super) enum Failed {
    /// It may go well the next time.
    Passing { detail: String, wait: Option<Duration> },
    /// The store's own word. `region` is where it says that the bucket is.
    Answer { status: StatusCode, code: String, message: String, region: Option<String> },
    /// Nothing could be sent.
    NoCredentials(String),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorBody {
    code: String,
    message: String,
}

/// Codes that say "later", whatever the status.
const PASSING: &[&str] = &[
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
    "OperationAborted",
    "TooManyRequests",
];
const REFUSALS: &[&str] = &["ExpiredToken", "InvalidToken", "TokenRefreshRequired", "AuthorizationHeaderMalformed", "PermanentRedirect"];
const NO_ROOM: &[&str] = &["QuotaExceeded", "EntityTooLarge", "XMinioStorageFull", "InsufficientCapacity"];

impl Failed {
    pub(super) fn passing(detail: impl Into<String>) -> Failed {
        Failed::Passing { detail: detail.into(), wait: None }
    }

    /// The connection failed, or broke in the middle.
    pub(super) fn broken(error: &reqwest::Error) -> Failed {
        let mut detail = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
        let mut cause = std::error::Error::source(error);
        while let Some(deeper) = cause {
            let text = deeper.to_string();
            if !detail.contains(&text) {
                detail = if detail.is_empty() { text } else { format!("{detail}: {text}") };
            }
            cause = deeper.source();
        }
        Failed::passing(if detail.is_empty() { "the connection failed".to_owned() } else { detail })
    }

    pub(super) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failed {
        let told: ErrorBody = std::str::from_utf8(body).ok().and_then(|text| quick_xml::de::from_str(text).ok()).unwrap_or_default();
        let code = if told.code.is_empty() { status.canonical_reason().unwrap_or("").replace(' ', "") } else { told.code };
        let later = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504) || PASSING.contains(&code.as_str());
        if later {
            let seconds = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
            return Failed::Passing { detail: format!("answered {} {code}", status.as_u16()), wait: seconds.map(Duration::from_secs) };
        }
        let region = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Failed::Answer { status, code, message: told.message, region }
    }

    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Failed::Answer { status, code, .. } if *status == StatusCode::NOT_FOUND && code != "NoSuchBucket")
    }

    pub(super) fn is_precondition(&self) -> bool {
        matches!(self, Failed::Answer { status, code, .. }
            if *status == StatusCode::PRECONDITION_FAILED || *status == StatusCode::CONFLICT && code == "ConditionalRequestConflict")
    }

    /// The store does not know conditions on this kind of request.
    pub(super) fn is_not_implemented(&self) -> bool {
        matches!(self, Failed::Answer { status, code, .. } if *status == StatusCode::NOT_IMPLEMENTED || code == "NotImplemented")
    }

    pub(super) fn is_refusal(&self) -> bool {
        match self {
            // A HEAD in the wrong region gets a bare 400, with nothing but the right region in a header.
            Failed::Answer { status, code, region, .. } => {
                matches!(status.as_u16(), 301 | 401 | 403) || REFUSALS.contains(&code.as_str()) || *status == 400 && region.is_some()
            }
            Failed::NoCredentials(_) => true,
            Failed::Passing { .. } => false,
        }
    }

    pub(super) fn told(self, what: &str, lake: impl FnOnce() -> String) -> LakeError {
        let refused = self.is_refusal();
        let what = what.to_owned();
        match self {
            Failed::Passing { detail, .. } => LakeError::Unavailable { what, detail },
            Failed::NoCredentials(detail) => LakeError::Refused { what, detail },
            Failed::Answer { code, .. } if code == "NoSuchBucket" => LakeError::Gone(lake()),
            Failed::Answer { status, code, message, region } => {
                let mut detail = format!("answered {} {code}", status.as_u16());
                if !message.is_empty() {
                    detail = format!("{detail}: {message}");
                }
                if let (true, Some(region)) = (refused, region) {
                    detail = format!("{detail}; the bucket is in region `{region}`: set AWS_REGION={region}");
                }
                if refused {
                    LakeError::Refused { what, detail }
                } else if NO_ROOM.contains(&code.as_str()) || status == StatusCode::INSUFFICIENT_STORAGE {
                    LakeError::NoRoom { what, detail }
                } else {
                    LakeError::Unavailable { what, detail }
                }
            }
        }
    }
}

/// The object that an answer to HEAD or GET describes.
pub(super) fn object_of(key: &str, headers: &HeaderMap) -> Result<Object, Failed> {
    let text = |name: header::HeaderName| {
        let value = headers.get(&name).and_then(|value| value.to_str().ok());
        value.ok_or_else(|| Failed::passing(format!("the answer has no `{name}`")))
    };
    let size = text(header::CONTENT_LENGTH)?.parse().map_err(|_| Failed::passing("the answer's `content-length` is no number"))?;
    let last_modified = time_of(text(header::LAST_MODIFIED)?).ok_or_else(|| Failed::passing("the answer's `last-modified` is no date"))?;
    Ok(Object { key: key.into(), size, last_modified, etag: without_quotes(text(header::ETAG)?) })
}

/// A date as HTTP writes it.
pub(super) fn time_of(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp())
}

/// Stores quote ETags in headers always, in listings mostly.
pub(super) fn without_quotes(etag: &str) -> String {
    etag.trim().trim_matches('"').to_owned()
}

/// Some stores list without ETags. Size and time then stand for the content, to the second, which is all a HEAD tells.
pub(super) fn etag_without_one(size: u64, last_modified: Timestamp) -> String {
    format!("{WITHOUT_ETAG}{size}-{}", last_modified.as_second())
}

/// How such a stand-in begins.
pub(super) use adce_core::object::NO_ETAG_LISTED as WITHOUT_ETAG;

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16, code: &str) -> Failed {
        let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>said so</Message></Error>");
        Failed::of(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn answers_become_what_the_caller_can_do() {
        let told = |status, code| failed(status, code).told("`k`", || "s3://b".into());
        assert!(matches!(told(403, "AccessDenied"), LakeError::Refused { .. }));
        assert!(matches!(told(403, "SignatureDoesNotMatch"), LakeError::Refused { .. }));
        assert!(matches!(told(400, "ExpiredToken"), LakeError::Refused { .. }));
        assert!(matches!(told(404, "NoSuchBucket"), LakeError::Gone(lake) if lake == "s3://b"));
        assert!(matches!(told(503, "SlowDown"), LakeError::Unavailable { .. }));
        assert!(matches!(told(507, "XMinioStorageFull"), LakeError::NoRoom { .. }));
        assert!(matches!(told(400, "SomethingNew"), LakeError::Unavailable { .. }));
    }

    #[test]
    fn a_bucket_elsewhere_says_where() {
        let headers: HeaderMap =
            [(header::HeaderName::from_static("x-amz-bucket-region"), "eu-west-1".parse().unwrap())].into_iter().collect();
        let told = Failed::of(StatusCode::MOVED_PERMANENTLY, &headers, b"").told("`k`", String::new).to_string();
        assert!(told.contains("set AWS_REGION=eu-west-1"), "{told}");
    }

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(time_of("Wed, 12 Oct 2009 17:50:30 GMT"), None, "a wrong weekday is a broken date");
        assert_eq!(time_of("Mon, 12 Oct 2009 17:50:30 GMT"), "2009-10-12T17:50:30Z".parse().ok());
    }
}
