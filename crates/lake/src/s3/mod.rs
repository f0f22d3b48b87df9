//! A lake in a bucket of an S3-compatible store.
//!
//! Keys go over the wire byte by byte: listings are read by our own ListObjectsV2 reader, because an object-store
//! library's path type refuses `//` and changes `~ # [ ]`. The credential chain and the signature are the library's.
//!
//! **Whole and conditional.** An object appears with one PUT, or with the completion of a multipart upload, under
//! `If-None-Match: *` or `If-Match`. A store that answers 501 to these is asked with HEAD right before instead; a
//! store that silently ignores them cannot be told from one that obeys, so a multipart upload looks first as well.
//! If an answer was lost on the way and the repeated request meets "precondition failed", the object's mark
//! (`x-amz-meta-adce-publish`) tells whether it is the one that this very publish has put there.
//!
//! **Integrity.** Every request carries the SHA-256 of its body inside the signature, over TLS and without, and the store
//! refuses a body that differs; no second checksum is sent.
//!
//! **Patience.** Slow-downs, 5xx, timeouts, broken answers and broken pages are tried again ([`Patience`]); refusals and
//! a missing bucket are not. A page of a listing is handed over only when all of it could be read, so a repetition
//! shows no object twice.
//!
//! **Left behind.** A killed process can leave an unfinished multipart upload. It is invisible and belongs to a name that
//! any other program may be uploading to as well, so adce never removes it: give the bucket a lifecycle rule
//! `AbortIncompleteMultipartUpload`.

mod access;
mod answer;
mod client;
mod listing;
mod place;
mod profile;
mod upload;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adce_core::object::{Object, Precondition};
use adce_core::ports::{Lake, LakeError, PublishError};
use async_trait::async_trait;
use futures::StreamExt;
use http::Method;
use object_store::aws::AmazonS3Builder;
use tokio::io::AsyncWriteExt;

pub(crate) use access::Access;
use answer::{Failed, WITHOUT_ETAG, etag_without_one, object_of};
pub use client::Patience;
use client::{Ask, Client};
use place::Place;

pub struct S3Lake {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    bucket: String,
    /// Empty, or ends in `/`.
    prefix: String,
    /// Some answer has shown that the bucket exists; a HEAD cannot tell a missing object from a missing bucket.
    bucket_seen: AtomicBool,
    honesty: listing::Honesty,
}

/// Endpoint, region and credentials as the environment and the profile files say.
pub(crate) fn settings_from_env() -> AmazonS3Builder {
    profile::complete(AmazonS3Builder::from_env(), &|name| std::env::var(name).ok())
}

impl S3Lake {
    /// Endpoint, region, addressing style and credentials from the environment (`AWS_…`) and the profile files.
    pub fn from_env(bucket: &str, prefix: &str) -> Result<Self, LakeError> {
        Self::new(bucket, prefix, settings_from_env(), Patience::default())
    }

    /// `prefix` is empty or ends in `/`; keys are what follows it.
    pub fn new(bucket: &str, prefix: &str, settings: AmazonS3Builder, patience: Patience) -> Result<Self, LakeError> {
        let what = || format!("lake `s3://{bucket}/{prefix}`");
        let refused = |detail: String| LakeError::Refused { what: what(), detail };
        let place = Place::of(bucket, &settings).map_err(refused)?;
        let client = Client::new(place, bucket, settings, patience).map_err(refused)?;
        let shared = Shared {
            client,
            bucket: bucket.into(),
            prefix: prefix.into(),
            bucket_seen: AtomicBool::new(false),
            honesty: listing::Honesty::default(),
        };
        Ok(S3Lake { shared: Arc::new(shared) })
    }

    /// Requests sent so far, repeated ones too.
    pub fn requests(&self) -> u64 {
        self.shared.client.requests()
    }
}

#[async_trait]
impl Lake for S3Lake {
    fn identity(&self) -> String {
        self.shared.identity()
    }

    fn answers_at(&self) -> Option<String> {
        self.shared.client.answers_at()
    }

    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        listing::list(&self.shared, prefix, found).await
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        self.shared.head(key).await
    }

    async fn download(&self, key: &str, to: &Path) -> Result<Object, LakeError> {
        self.shared.download(key, to).await
    }

    async fn publish(&self, file: &Path, key: &str, only_if: &Precondition) -> Result<Object, PublishError> {
        upload::publish(&self.shared, file, key, only_if).await
    }

    async fn remove(&self, key: &str, etag: &str) -> Result<(), LakeError> {
        self.shared.remove(key, etag).await
    }

    /// Nothing to do: see "left behind" above.
    async fn sweep(&self) -> Result<u64, LakeError> {
        Ok(0)
    }
}

impl Shared {
    fn identity(&self) -> String {
        if self.prefix.is_empty() { format!("s3://{}", self.bucket) } else { format!("s3://{}/{}", self.bucket, self.prefix) }
    }

    /// The key as the store knows it.
    fn full_key(&self, key: &str) -> Result<String, LakeError> {
        let bad = |detail: &str| Err(LakeError::BadKey { key: key.into(), detail: detail.into() });
        if key.is_empty() {
            return bad("a key has at least one character");
        }
        let full = format!("{}{key}", self.prefix);
        if full.split('/').any(|segment| segment == "." || segment == "..") {
            return bad("`.` and `..` as path segments do not survive in a URL");
        }
        if full.len() > 1_024 {
            return bad("a store takes keys of up to 1,024 bytes, with the lake's prefix");
        }
        Ok(full)
    }

    /// What a failure means to the caller.
    fn told(&self, what: &str, failed: Failed) -> LakeError {
        failed.told(what, || self.identity())
    }

    fn note_bucket(&self) {
        self.bucket_seen.store(true, Ordering::Relaxed);
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        Ok(self.head_with_mark(key).await?.map(|(object, _)| object))
    }

    /// The object, and the mark of the publish that put it there.
    async fn head_with_mark(&self, key: &str) -> Result<Option<(Object, Option<String>)>, LakeError> {
        let full = self.full_key(key)?;
        let ask = Ask::new(Method::HEAD, Some(&full));
        let answer = self.client.patiently(&ask).await;
        match answer {
            Ok(answer) => {
                self.note_bucket();
                let mark = answer.headers().get(upload::MARK).and_then(|mark| mark.to_str().ok()).map(str::to_owned);
                let object = object_of(key, answer.headers()).map_err(|failed| self.told(&format!("`{key}`"), failed))?;
                Ok(Some((object, mark)))
            }
            Err(failed) if failed.is_not_found() => {
                self.bucket_is_there().await?;
                Ok(None)
            }
            Err(failed) => Err(self.told(&format!("`{key}`"), failed)),
        }
    }

    /// Few stores know a condition for this, so one looks right before. In a versioned bucket the versions stay.
    async fn remove(&self, key: &str, etag: &str) -> Result<(), LakeError> {
        if self.head(key).await?.is_none_or(|there| !is_it(&there, etag)) {
            return Ok(());
        }
        let full = self.full_key(key)?;
        match self.client.patiently(&Ask::new(Method::DELETE, Some(&full))).await {
            Ok(_) => Ok(()),
            Err(failed) if failed.is_not_found() => self.bucket_is_there().await,
            Err(failed) => Err(self.told(&format!("`{key}`"), failed)),
        }
    }

    async fn bucket_is_there(&self) -> Result<(), LakeError> {
        if self.bucket_seen.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut ask = Ask::new(Method::GET, None);
        ask.query = vec![("list-type", "2".into()), ("max-keys", "1".into()), ("prefix", self.prefix.clone())];
        match self.client.patiently(&ask).await {
            Ok(_) => self.note_bucket(),
            // Whoever may not list can still learn from the code of the refusal that the bucket is there.
            Err(failed) if failed.is_refusal() => {}
            Err(failed) => return Err(self.told(&format!("bucket `{}`", self.bucket), failed)),
        }
        Ok(())
    }

    async fn download(&self, key: &str, to: &Path) -> Result<Object, LakeError> {
        let full = self.full_key(key)?;
        let ask = Ask::new(Method::GET, Some(&full));
        let mut tries = self.client.tries();
        loop {
            match self.download_once(&ask, key, to).await {
                Ok(done) => return done.map_err(|error| local_trouble(to, &error)),
                Err(failed) => tries.again(failed).await.map_err(|failed| self.told(&format!("`{key}`"), failed))?,
            }
        }
    }

    /// The outer result speaks of the store, the inner one of the local file.
    async fn download_once(&self, ask: &Ask<'_>, key: &str, to: &Path) -> Result<std::io::Result<Object>, Failed> {
        let answer = self.client.once(ask).await?;
        let object = object_of(key, answer.headers())?;
        let mut file = match tokio::fs::File::create(to).await {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let (mut body, mut read) = (answer.bytes_stream(), 0_u64);
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| Failed::broken(&error))?;
            read += piece.len() as u64;
            if let Err(error) = file.write_all(&piece).await {
                return Ok(Err(error));
            }
        }
        if read != object.size {
            return Err(Failed::passing(format!("{read} bytes arrived of {}", object.size)));
        }
        Ok(file.flush().await.map(|()| object))
    }
}

/// A listing may have told no ETag.
fn is_it(there: &Object, etag: &str) -> bool {
    match etag.starts_with(WITHOUT_ETAG) {
        true => etag_without_one(there.size, there.last_modified) == etag,
        false => there.etag == etag,
    }
}

fn local_trouble(file: &Path, error: &std::io::Error) -> LakeError {
    let (what, detail) = (format!("file `{}`", file.display()), error.to_string());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::ReadOnlyFilesystem => {
            LakeError::NoRoom { what, detail }
        }
        std::io::ErrorKind::PermissionDenied => LakeError::Refused { what, detail },
        _ => LakeError::Unavailable { what, detail },
    }
}
