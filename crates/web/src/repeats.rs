//! `Idempotency-Key`: who did not hear the answer may ask again, and it is not done twice.
//!
//! Kept in memory for a day: after a restart of the engine a repetition is a new request.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use http_body_util::BodyExt;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use crate::problem::Problem;

const KEPT_FOR: Duration = Duration::from_secs(86_400);
const KEPT_AT_MOST: usize = 10_000;
const KEY_BYTES: usize = 255;

/// What was answered the first time.
#[derive(Clone)]
struct Said {
    status: StatusCode,
    kind: Option<HeaderValue>,
    body: Bytes,
}

struct Kept {
    asked: [u8; 32],
    since: Instant,
    /// Held while the first one is being answered.
    said: Arc<Mutex<Option<Said>>>,
}

#[derive(Default)]
pub(crate) struct Repeats {
    kept: std::sync::Mutex<HashMap<(String, String), Kept>>,
}

/// A request that may be a repetition.
pub(crate) struct Repeat(Arc<Mutex<Option<Said>>>);

impl Repeats {
    /// `None`: it has no key.
    pub(crate) fn of(&self, headers: &HeaderMap, who: &str, uri: &Uri, body: &[u8]) -> Result<Option<Repeat>, Problem> {
        let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
        let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_BYTES);
        let key = key.ok_or_else(|| Problem::bad_request(format!("`Idempotency-Key` has 1 to {KEY_BYTES} plain letters")))?;
        let asked = digest(uri, body);
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if kept.len() >= KEPT_AT_MOST {
            kept.retain(|_, kept| now.duration_since(kept.since) < KEPT_FOR);
            if kept.len() >= KEPT_AT_MOST {
                return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many keys of repetition are remembered").after(KEPT_FOR / 24));
            }
        }
        let name = (who.to_owned(), key.to_owned());
        if kept.get(&name).is_some_and(|kept| now.duration_since(kept.since) >= KEPT_FOR) {
            kept.remove(&name);
        }
        let entry = kept.entry(name).or_insert_with(|| Kept { asked, since: now, said: Arc::default() });
        if entry.asked != asked {
            let detail = format!("`Idempotency-Key: {key}` was another request before");
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).hint("a key of its own for each request"));
        }
        Ok(Some(Repeat(entry.said.clone())))
    }
}

fn digest(uri: &Uri, body: &[u8]) -> [u8; 32] {
    let mut digest = blake3::Hasher::new();
    digest.update(&(uri.path().len() as u64).to_le_bytes()).update(uri.path().as_bytes()).update(body);
    *digest.finalize().as_bytes()
}

impl Repeat {
    /// Does it, or tells what came of it. Whoever asks meanwhile waits for the first. What was refused was not done, and is tried again.
    pub(crate) async fn once(self, first: impl Future<Output = Result<Response, Problem>>) -> Result<Response, Problem> {
        let mut said = self.0.lock().await;
        if let Some(Said { status, kind, body }) = said.clone() {
            let mut response = (status, body).into_response();
            response.headers_mut().extend(kind.map(|kind| (CONTENT_TYPE, kind)));
            response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
            return Ok(response);
        }
        let (parts, body) = first.await?.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        *said = Some(Said { status: parts.status, kind: parts.headers.get(CONTENT_TYPE).cloned(), body: body.clone() });
        Ok(Response::from_parts(parts, body.into()))
    }
}
