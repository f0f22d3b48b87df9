//! Publishing to a store: one conditional PUT, or for large files a multipart upload completed under the same condition.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_core::failpoint::{self, Failpoint};
use adce_core::object::{Object, Precondition};
use adce_core::ports::{LakeError, PublishError};
use adce_core::time::Timestamp;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::Deserialize;
use uuid::Uuid;

use super::answer::{Failed, WITHOUT_ETAG, etag_without_one, time_of, without_quotes};
use super::client::{Ask, Content, Sha256};
use super::{Shared, local_trouble};

/// Tells our own publish from somebody else's when an answer was lost.
pub(super) const MARK: HeaderName = HeaderName::from_static("x-amz-meta-adce-publish");

/// Larger files go in parts.
const ONE_REQUEST_MAX: u64 = 64 << 20;
const PART: u64 = 16 << 20;
/// A store takes no more.
const PARTS_MAX: u64 = 10_000;
/// So many parts are in memory and on their way at once.
const PARTS_AT_ONCE: usize = 4;

struct Publish<'a> {
    lake: &'a Arc<Shared>,
    file: &'a Path,
    size: u64,
    key: &'a str,
    full: String,
    only_if: &'a Precondition,
    mark: String,
}

/// Whether a request carries the condition, or was preceded by a look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Sent,
    LookedAt,
}

pub(super) async fn publish(lake: &Arc<Shared>, file: &Path, key: &str, only_if: &Precondition) -> Result<Object, PublishError> {
    let full = lake.full_key(key)?;
    let size = tokio::fs::metadata(file).await.map_err(|error| local_trouble(file, &error))?.len();
    let only_if = &as_sent(lake, key, only_if).await?;
    let publish = Publish { lake, file, size, key, full, only_if, mark: Uuid::now_v7().to_string() };
    if size > ONE_REQUEST_MAX { publish.in_parts().await } else { publish.in_one().await }
}

/// The condition with an ETag that the store knows, if the listing had none.
async fn as_sent(lake: &Shared, key: &str, only_if: &Precondition) -> Result<Precondition, PublishError> {
    match only_if {
        Precondition::Unchanged { etag } if etag.starts_with(WITHOUT_ETAG) => match lake.head(key).await? {
            Some(there) if etag_without_one(there.size, there.last_modified) == *etag => Ok(Precondition::Unchanged { etag: there.etag }),
            there => Err(PublishError::Conflict(there)),
        },
        as_it_is => Ok(as_it_is.clone()),
    }
}

impl Publish<'_> {
    async fn in_one(&self) -> Result<Object, PublishError> {
        let sha256 = self.digest().await?;
        let mut ask = Ask::new(Method::PUT, Some(&self.full));
        ask.content = Content::File { path: self.file.into(), size: self.size, sha256 };
        ask.headers = vec![(MARK, self.mark())];
        let mut condition = Condition::Sent;
        ask.headers.push(self.condition());
        let mut tries = self.lake.client.tries();
        loop {
            failpoint::reached(Failpoint::PutUnsent);
            match self.lake.client.once(&ask).await {
                Ok(answer) => {
                    failpoint::reached(Failpoint::PutAnswered);
                    return Ok(self.published(answer.headers(), None).await);
                }
                Err(failed) if failed.is_not_implemented() && condition == Condition::Sent => {
                    self.look().await?;
                    condition = Condition::LookedAt;
                    ask.headers.truncate(1);
                }
                Err(failed) if self.is_conflict(&failed) => return self.conflict(tries.is_repetition()).await,
                Err(failed) => tries.again(failed).await.map_err(|failed| self.told(failed))?,
            }
        }
    }

    async fn in_parts(&self) -> Result<Object, PublishError> {
        // Many bytes for nothing otherwise, and the only guard where a store knows no condition here.
        self.look().await?;
        let upload = Unfinished { lake: Arc::clone(self.lake), key: self.full.clone(), id: self.begin().await?, ended: false };
        failpoint::reached(Failpoint::UploadBegun);
        let uploaded = match self.parts(&upload.id).await {
            Ok(parts) => {
                failpoint::reached(Failpoint::PartsSent);
                self.complete(&upload.id, &parts).await
            }
            Err(error) => Err(error.into()),
        };
        match &uploaded {
            Ok(_) => upload.ended(),
            Err(_) => upload.abort().await,
        }
        uploaded
    }

    async fn begin(&self) -> Result<String, LakeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Begun {
            upload_id: String,
        }
        let mut ask = Ask::new(Method::POST, Some(&self.full));
        ask.query = vec![("uploads", String::new())];
        ask.headers = vec![(MARK, self.mark())];
        let mut tries = self.lake.client.tries();
        loop {
            let begun = self.once_small(&ask).await.and_then(|body| {
                let begun: Result<Begun, _> = quick_xml::de::from_str(&body);
                begun.map_err(|error| Failed::passing(format!("the answer names no upload: {error}")))
            });
            match begun {
                Ok(begun) => return Ok(begun.upload_id),
                Err(failed) => tries.again(failed).await.map_err(|failed| self.told(failed))?,
            }
        }
    }

    async fn parts(&self, id: &str) -> Result<Vec<String>, LakeError> {
        let part = PART.max(self.size.div_ceil(PARTS_MAX));
        let starts = (0..self.size).step_by(usize::try_from(part).unwrap_or(usize::MAX));
        futures::stream::iter(starts.enumerate())
            .map(|(at, start)| self.part(id, at + 1, start, part.min(self.size - start)))
            .buffered(PARTS_AT_ONCE)
            .try_collect()
            .await
    }

    async fn part(&self, id: &str, number: usize, start: u64, size: u64) -> Result<String, LakeError> {
        let path = self.file.to_owned();
        let read = blocking(move || read_at(&path, start, size)).await;
        let content = read.map_err(|error| local_trouble(self.file, &error))?;
        let mut ask = Ask::new(Method::PUT, Some(&self.full));
        ask.query = vec![("partNumber", number.to_string()), ("uploadId", id.into())];
        ask.content = Content::bytes(content);
        let answer = self.lake.client.patiently(&ask).await.map_err(|failed| self.told(failed))?;
        etag(answer.headers()).ok_or_else(|| self.told(Failed::passing(format!("part {number} got no ETag"))))
    }

    async fn complete(&self, id: &str, parts: &[String]) -> Result<Object, PublishError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Completed {
            #[serde(rename = "ETag")]
            etag: String,
        }
        let mut ask = Ask::new(Method::POST, Some(&self.full));
        ask.query = vec![("uploadId", id.into())];
        ask.content = Content::bytes(all_parts(parts).into());
        ask.headers = vec![self.condition()];
        let mut condition = Condition::Sent;
        let mut tries = self.lake.client.tries();
        loop {
            let failed = match self.once_small(&ask).await {
                // A completion can fail behind a status of 200.
                Ok(body) => match quick_xml::de::from_str::<Completed>(&body) {
                    Ok(completed) => {
                        failpoint::reached(Failpoint::UploadCompleted);
                        return Ok(self.published(&HeaderMap::new(), Some(&completed.etag)).await);
                    }
                    Err(_) => Failed::of(http::StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new(), body.as_bytes()),
                },
                Err(failed) => failed,
            };
            if failed.is_not_implemented() && condition == Condition::Sent {
                self.look().await?;
                condition = Condition::LookedAt;
                ask.headers.clear();
            } else if self.is_conflict(&failed) || failed.is_not_found() {
                // An unknown upload after a lost answer is one that is complete.
                return self.conflict(tries.is_repetition()).await;
            } else {
                tries.again(failed).await.map_err(|failed| self.told(failed))?;
            }
        }
    }

    async fn once_small(&self, ask: &Ask<'_>) -> Result<String, Failed> {
        let answer = self.lake.client.once(ask).await?;
        let body = self.lake.client.whole(answer).await?;
        String::from_utf8(body.into()).map_err(|_| Failed::passing("the answer is not UTF-8"))
    }

    /// What the store made of it. Nothing that fails here takes back that the object is published.
    async fn published(&self, headers: &HeaderMap, completed: Option<&str>) -> Object {
        self.lake.note_bucket();
        let etag = completed.map(without_quotes).or_else(|| etag(headers));
        let date = headers.get(header::DATE).and_then(|date| time_of(date.to_str().ok()?));
        match self.lake.head_with_mark(self.key).await {
            Ok(Some((object, mark))) if etag.as_ref().is_none_or(|etag| *etag == object.etag) || mark.as_ref() == Some(&self.mark) => {
                object
            }
            _ => Object {
                key: self.key.into(),
                size: self.size,
                last_modified: date.unwrap_or_else(Timestamp::now),
                etag: etag.unwrap_or_default(),
            },
        }
    }

    /// Looks whether the condition holds right now.
    async fn look(&self) -> Result<(), PublishError> {
        let there = self.lake.head(self.key).await?;
        let holds = match (self.only_if, &there) {
            (Precondition::Absent, there) => there.is_none(),
            (Precondition::Unchanged { etag }, there) => there.as_ref().is_some_and(|there| there.etag == without_quotes(etag)),
        };
        if holds { Ok(()) } else { Err(PublishError::Conflict(there)) }
    }

    /// "Precondition failed", or for `If-Match` that nothing is there to match.
    fn is_conflict(&self, failed: &Failed) -> bool {
        failed.is_precondition() || matches!(self.only_if, Precondition::Unchanged { .. }) && failed.is_not_found()
    }

    async fn conflict(&self, repeated: bool) -> Result<Object, PublishError> {
        match self.lake.head_with_mark(self.key).await? {
            Some((object, Some(mark))) if repeated && mark == self.mark => Ok(object),
            there => Err(PublishError::Conflict(there.map(|(object, _)| object))),
        }
    }

    fn condition(&self) -> (HeaderName, HeaderValue) {
        match self.only_if {
            Precondition::Absent => (header::IF_NONE_MATCH, HeaderValue::from_static("*")),
            Precondition::Unchanged { etag } => {
                let quoted = format!("\"{}\"", without_quotes(etag));
                // An ETag that no header can hold was never seen in one.
                let value = HeaderValue::from_str(&quoted).unwrap_or_else(|_| HeaderValue::from_static("\"\""));
                (header::IF_MATCH, value)
            }
        }
    }

    fn mark(&self) -> HeaderValue {
        HeaderValue::from_str(&self.mark).expect("a UUID is plain text")
    }

    fn told(&self, failed: Failed) -> LakeError {
        match failed {
            Failed::Answer { code, message, .. }
                if matches!(code.as_str(), "KeyTooLongError" | "InvalidURI" | "XMinioInvalidObjectName") =>
            {
                LakeError::BadKey { key: self.key.into(), detail: format!("the store says {code}: {message}") }
            }
            failed => self.lake.told(&format!("`{}`", self.key), failed),
        }
    }

    async fn digest(&self) -> Result<Sha256, LakeError> {
        let (path, size) = (self.file.to_owned(), self.size);
        blocking(move || digest_of(&path, size)).await.map_err(|error| local_trouble(self.file, &error))
    }
}

fn etag(headers: &HeaderMap) -> Option<String> {
    headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).map(without_quotes)
}

fn all_parts(etags: &[String]) -> String {
    let mut body = String::from("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (at, etag) in etags.iter().enumerate() {
        let etag = quick_xml::escape::escape(etag.as_str());
        body.push_str(&format!("<Part><PartNumber>{}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>", at + 1));
    }
    body + "</CompleteMultipartUpload>"
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

fn read_at(path: &Path, start: u64, size: u64) -> std::io::Result<Bytes> {
    let mut content = vec![0; usize::try_from(size).map_err(std::io::Error::other)?];
    File::open(path)?.read_exact_at(&mut content, start)?;
    Ok(content.into())
}

fn digest_of(path: &PathBuf, size: u64) -> std::io::Result<Sha256> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut file, mut buffer, mut left) = (File::open(path)?, vec![0; 1 << 18], size);
    while left > 0 {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        let used = read.min(usize::try_from(left).unwrap_or(usize::MAX));
        context.update(&buffer[..used]);
        left -= used as u64;
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    Ok(digest)
}

/// An upload that has begun: aborted unless it has ended, also when the publish is given up in the middle.
struct Unfinished {
    lake: Arc<Shared>,
    key: String,
    id: String,
    ended: bool,
}

impl Unfinished {
    fn ended(mut self) {
        self.ended = true;
    }

    async fn abort(mut self) {
        self.ended = true;
        abort(&self.lake, &self.key, &self.id).await;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (lake, key, id) = (Arc::clone(&self.lake), std::mem::take(&mut self.key), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { abort(&lake, &key, &id).await });
        }
    }
}

/// Its parts cost money while they lie there; if even this fails, the bucket's lifecycle rule removes them.
async fn abort(lake: &Shared, key: &str, id: &str) {
    let mut ask = Ask::new(Method::DELETE, Some(key));
    ask.query = vec![("uploadId", id.into())];
    if let Err(failed) = lake.client.patiently(&ask).await {
        tracing::debug!(key, ?failed, "an unfinished upload could not be aborted");
    }
}
