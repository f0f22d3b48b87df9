//! A door that stores post their events to: MinIO, EventBridge by an API destination, whoever sends CloudEvents.
//!
//! It listens where the config says, and takes nothing without the token (`Authorization: Bearer …`): whoever may post here may make
//! adce look into the lake. The answer comes when what was told is taken in, so that a store that repeats what failed loses nothing.
//!
//! | answer | when |
//! |---|---|
//! | 204 | taken in |
//! | 400 | no event that is known, with what is wrong |
//! | 401, 404, 405, 413 | no token or a wrong one; another path; not `POST` (a `GET` with the token answers 204); more than 1 MiB |
//! | 503 | not taken in: try again |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use adce_core::events::{self, Event};
use adce_core::ports::{Feed, FeedError, Heard};
use adce_core::spec::LakeUrl;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

/// A notification is some kilobytes; SQS and EventBridge allow 256 KiB.
const BODY_MAX: usize = 1 << 20;
const CONNECTIONS_MAX: usize = 64;
/// For the head of a request, for its body, and for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many requests share one message.
const AT_ONCE: usize = 256;

pub struct Webhook {
    address: SocketAddr,
    posted: mpsc::Receiver<Posted>,
    heard: Heard,
    waiting: Vec<oneshot::Sender<bool>>,
    accepting: AbortHandle,
}

struct Posted {
    told: Vec<Event>,
    taken: oneshot::Sender<bool>,
}

struct Door {
    lake: LakeUrl,
    /// Digest of what a request must show: comparing digests tells nothing of the token by its time.
    shown: [u8; 32],
    posts: mpsc::Sender<Posted>,
}

impl Webhook {
    pub async fn listen(address: SocketAddr, token: &str, lake: LakeUrl) -> std::io::Result<Webhook> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (posts, posted) = mpsc::channel(AT_ONCE);
        let door = Arc::new(Door { lake, shown: digest(format!("Bearer {token}").as_bytes()), posts });
        let accepting = tokio::spawn(accept(listener, door)).abort_handle();
        Ok(Webhook { address, posted, heard: Heard::default(), waiting: Vec::new(), accepting })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn take(&mut self, Posted { told, taken }: Posted) {
        self.heard.told.extend(told);
        self.waiting.push(taken);
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[async_trait]
impl Feed for Webhook {
    fn name(&self) -> String {
        format!("webhook {}", self.address)
    }

    async fn next(&mut self) -> Result<Heard, FeedError> {
        if self.waiting.is_empty() {
            let Some(first) = self.posted.recv().await else { return Err(FeedError::Deaf("its listener has ended".into())) };
            self.take(first);
        }
        while let (true, Ok(more)) = (self.waiting.len() < AT_ONCE, self.posted.try_recv()) {
            self.take(more);
        }
        Ok(self.heard.clone())
    }

    async fn settle(&mut self, taken: bool) {
        self.heard = Heard::default();
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(taken);
        }
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, mostly: a moment later there may be some.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let door = door.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(|request| {
                let door = door.clone();
                async move { Ok::<_, Infallible>(door.answer(request).await) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
            drop(place);
        });
    }
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let shown = request.headers().get(header::AUTHORIZATION).map(|shown| digest(shown.as_bytes()));
        if shown != Some(self.shown) {
            return said(StatusCode::UNAUTHORIZED, "the header `Authorization: Bearer <token>` is lacking, or the token is another one");
        }
        if request.uri().path() != "/" && request.uri().path() != "/events" {
            return said(StatusCode::NOT_FOUND, "post events to `/events`");
        }
        match *request.method() {
            Method::POST => self.post(request.into_body()).await,
            // MinIO asks first whether anybody is there.
            Method::GET | Method::HEAD => said(StatusCode::NO_CONTENT, ""),
            _ => said(StatusCode::METHOD_NOT_ALLOWED, "post events"),
        }
    }

    async fn post(&self, body: Incoming) -> Response<Full<Bytes>> {
        let read = tokio::time::timeout(PATIENCE, Limited::new(body, BODY_MAX).collect()).await;
        let body = match read {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return said(StatusCode::PAYLOAD_TOO_LARGE, "an event is at most 1 MiB");
            }
            Ok(Err(_)) | Err(_) => return said(StatusCode::REQUEST_TIMEOUT, "the body did not come to its end"),
        };
        // Some stores ask with nothing first.
        let told = match events::read(&body) {
            _ if body.is_empty() => return said(StatusCode::NO_CONTENT, ""),
            Ok(told) => told,
            Err(error) => return said(StatusCode::BAD_REQUEST, &format!("this is no event of a store: {error}")),
        };
        let told: Vec<Event> = told.into_iter().filter_map(|told| super::in_lake(&self.lake, told)).collect();
        let (taken, is_taken) = oneshot::channel();
        let posted = async {
            self.posts.send(Posted { told, taken }).await.ok()?;
            is_taken.await.ok()
        };
        match tokio::time::timeout(PATIENCE, posted).await {
            Ok(Some(true)) => said(StatusCode::NO_CONTENT, ""),
            _ => said(StatusCode::SERVICE_UNAVAILABLE, "it was not taken in: try again"),
        }
    }
}

fn said(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let body = if text.is_empty() { Bytes::new() } else { Bytes::from(format!("{text}\n")) };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str =
        r#"{"Records":[{"eventName":"s3:ObjectCreated:Put","s3":{"bucket":{"name":"raw"},"object":{"key":"nba/a+b","size":1}}}]}"#;

    async fn door() -> (Webhook, String) {
        let lake = LakeUrl::S3 { bucket: "raw".into(), prefix: "nba/".into() };
        let webhook = Webhook::listen(([127, 0, 0, 1], 0).into(), "hush", lake).await.unwrap();
        let url = format!("http://{}/events", webhook.address());
        (webhook, url)
    }

    fn client() -> reqwest::Client {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().unwrap()
    }

    #[tokio::test]
    async fn an_event_is_answered_when_it_was_taken_in() {
        let (mut webhook, url) = door().await;
        for (taken, status) in [(true, 204), (false, 503)] {
            let posting = tokio::spawn(client().post(&url).bearer_auth("hush").body(EVENT).send());
            let heard = webhook.next().await.unwrap();
            assert_eq!(heard.told[0].key, "a b");
            assert!(!posting.is_finished());
            webhook.settle(taken).await;
            assert_eq!(posting.await.unwrap().unwrap().status(), status);
        }
    }

    #[tokio::test]
    async fn nobody_else_is_heard_and_nothing_else_is_an_event() {
        let (_webhook, url) = door().await;
        let post = |token: &'static str, body: String| client().post(&url).bearer_auth(token).body(body).send();
        assert_eq!(client().post(&url).body(EVENT).send().await.unwrap().status(), 401);
        assert_eq!(post("hushh", EVENT.into()).await.unwrap().status(), 401);
        assert_eq!(post("hush", "{}".into()).await.unwrap().status(), 400);
        assert_eq!(post("hush", "x".repeat(BODY_MAX + 1)).await.unwrap().status(), 413);
        assert_eq!(post("hush", String::new()).await.unwrap().status(), 204);
        assert_eq!(client().get(&url).bearer_auth("hush").send().await.unwrap().status(), 204);
        assert_eq!(client().delete(&url).bearer_auth("hush").send().await.unwrap().status(), 405);
        assert_eq!(client().post(format!("{url}/other")).bearer_auth("hush").body(EVENT).send().await.unwrap().status(), 404);
    }
}
