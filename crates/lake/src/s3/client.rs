//! One request at a time: built, signed, sent, timed, counted, and tried again while there is patience.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use object_store::aws::AmazonS3Builder;
use reqwest::{Body, Response};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use tokio_util::io::ReaderStream;

use super::access::Access;
use super::answer::Failed;
use super::place::Place;

/// How long failures that may pass are borne.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    pub tries: u32,
    /// No new try starts later than this after the first.
    pub give_up_after: Duration,
    /// The pause is random, up to a bound that begins here and doubles with every try.
    pub pause_first: Duration,
    pub pause_max: Duration,
    pub connect_within: Duration,
    /// Longest silence while an answer is awaited or read.
    pub silence_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            tries: 5,
            give_up_after: Duration::from_secs(30),
            pause_first: Duration::from_millis(200),
            pause_max: Duration::from_secs(8),
            connect_within: Duration::from_secs(5),
            silence_max: Duration::from_secs(20),
        }
    }
}

/// A sender slower than this, bytes a second, is stuck.
const SLOWEST_UPLOAD: u64 = 64 * 1024;
/// Errors are short; an endless one is cut.
const ERROR_BODY_MAX: usize = 64 * 1024;

pub(super) struct Client {
    http: reqwest::Client,
    place: Place,
    access: Access,
    patience: Patience,
    requests: AtomicU64,
}

/// One request, as often as it is sent.
pub(super) struct Ask<'a> {
    method: Method,
    /// `None`: the bucket itself.
    key: Option<&'a str>,
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) content: Content,
}

pub(super) enum Content {
    Nothing,
    Bytes {
        bytes: Bytes,
        sha256: Sha256,
    },
    /// The first `size` bytes of a file; the store compares what arrives with the digest.
    File {
        path: PathBuf,
        size: u64,
        sha256: Sha256,
    },
}

pub(super) type Sha256 = [u8; 32];

pub(super) fn sha256(bytes: &[u8]) -> Sha256 {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}

impl<'a> Ask<'a> {
    pub(super) fn new(method: Method, key: Option<&'a str>) -> Self {
        Ask { method, key, query: Vec::new(), headers: Vec::new(), content: Content::Nothing }
    }
}

impl Content {
    pub(super) fn bytes(bytes: Bytes) -> Content {
        let sha256 = sha256(&bytes);
        Content::Bytes { bytes, sha256 }
    }

    fn size(&self) -> u64 {
        match self {
            Content::Nothing => 0,
            Content::Bytes { bytes, .. } => bytes.len() as u64,
            Content::File { size, .. } => *size,
        }
    }

    fn sha256(&self) -> Sha256 {
        match self {
            Content::Nothing => sha256(b""),
            Content::Bytes { sha256, .. } | Content::File { sha256, .. } => *sha256,
        }
    }

    async fn body(&self) -> Result<Body, Failed> {
        match self {
            Content::Nothing => Ok(Body::from(Bytes::new())),
            Content::Bytes { bytes, .. } => Ok(Body::from(bytes.clone())),
            Content::File { path, size, .. } => {
                let file = tokio::fs::File::open(path).await;
                let file = file.map_err(|error| Failed::passing(format!("file `{}`: {error}", path.display())))?;
                Ok(Body::wrap_stream(ReaderStream::with_capacity(file.take(*size), 256 * 1024)))
            }
        }
    }
}

impl Client {
    pub(super) fn answers_at(&self) -> Option<String> {
        self.place.answers_at()
    }

    pub(super) fn new(place: Place, bucket: &str, settings: AmazonS3Builder, patience: Patience) -> Result<Client, String> {
        // Whoever came first has installed the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("adce/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(patience.connect_within)
            .read_timeout(patience.silence_max)
            // Objects are what was stored, whatever their encoding; another crate may have switched decoding on.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            // A signature holds for one host only.
            .redirect(reqwest::redirect::Policy::none());
        if place.on_loopback {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| error.to_string())?;
        Ok(Client { http, access: Access::of(bucket, settings)?, place, patience, requests: AtomicU64::new(0) })
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn tries(&self) -> Tries {
        Tries { patience: self.patience, failed: 0, began: Instant::now() }
    }

    /// Sends until it goes well, fails for good, or patience ends.
    pub(super) async fn patiently(&self, ask: &Ask<'_>) -> Result<Response, Failed> {
        let mut tries = self.tries();
        loop {
            match self.once(ask).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => tries.again(failed).await?,
            }
        }
    }

    /// Sends once; everything but success is a failure with its reason read.
    pub(super) async fn once(&self, ask: &Ask<'_>) -> Result<Response, Failed> {
        let answer = self.send(ask).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let headers = answer.headers().clone();
        Err(Failed::of(status, &headers, &beginning(answer).await))
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Response, Failed> {
        let url = self.place.url(ask.key, &ask.query);
        let mut headers: HeaderMap = ask.headers.iter().cloned().collect();
        let signed = self.access.sign("s3", &ask.method, &url, &mut headers, &ask.content.sha256(), &self.place.region).await;
        signed.map_err(Failed::NoCredentials)?;
        let size = ask.content.size();
        let mut request = self.http.request(ask.method.clone(), url).headers(headers);
        if ask.method == Method::PUT || ask.method == Method::POST {
            request = request.header(header::CONTENT_LENGTH, size).body(ask.content.body().await?);
        }
        // A download may take as long as it flows; everything else ends in time even if it trickles.
        let until_answer = self.patience.silence_max + Duration::from_secs(size / SLOWEST_UPLOAD);
        self.requests.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(until_answer, request.send()).await {
            Ok(sent) => sent.map_err(|error| Failed::broken(&error)),
            Err(_) => Err(Failed::passing("no answer in time")),
        }
    }

    /// The whole body of an answer that is known to be small.
    pub(super) async fn whole(&self, answer: Response) -> Result<Bytes, Failed> {
        match tokio::time::timeout(3 * self.patience.silence_max, answer.bytes()).await {
            Ok(read) => read.map_err(|error| Failed::broken(&error)),
            Err(_) => Err(Failed::passing("the answer did not end in time")),
        }
    }
}

async fn beginning(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() >= ERROR_BODY_MAX {
            break;
        }
    }
    body
}

/// Counts failures of one request and spaces them.
pub(super) struct Tries {
    patience: Patience,
    failed: u32,
    began: Instant,
}

impl Tries {
    /// Whether an earlier try may have reached the store without our knowing how it ended.
    pub(super) fn is_repetition(&self) -> bool {
        self.failed > 0
    }

    /// Returns after a pause if another try is worth it, else gives the failure back.
    pub(super) async fn again(&mut self, failed: Failed) -> Result<(), Failed> {
        let Failed::Passing { detail, wait } = failed else { return Err(failed) };
        self.failed += 1;
        let bound = self.patience.pause_first.saturating_mul(1 << (self.failed - 1).min(16)).min(self.patience.pause_max);
        let pause = bound.mul_f64(rand::random_range(0.5..=1.0)).max(wait.unwrap_or_default());
        if self.failed >= self.patience.tries || self.began.elapsed() + pause > self.patience.give_up_after {
            let times = if self.failed == 1 { "once".to_owned() } else { format!("{} times", self.failed) };
            return Err(Failed::Passing { detail: format!("{detail} (tried {times})"), wait });
        }
        tracing::debug!(detail, failed = self.failed, ?pause, "trying again");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
