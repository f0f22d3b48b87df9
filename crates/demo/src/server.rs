//! The upstream's HTTP side: hyper on a loopback port.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::mood::MoodSwings;
use crate::{ArrivalWindows, Figures, Limit, Mood, Moods};

/// What the upstream has: the body for a path (with query), or nothing.
pub trait Content: Send + Sync + 'static {
    fn body(&self, path_and_query: &str) -> Option<Bytes>;
}

impl<F: Fn(&str) -> Option<Bytes> + Send + Sync + 'static> Content for F {
    fn body(&self, path_and_query: &str) -> Option<Bytes> {
        self(path_and_query)
    }
}

pub struct UpstreamConfig {
    pub limits: Vec<Limit>,
    /// Before the first byte of an answer, in milliseconds, evenly from the first to the second.
    pub latency_ms: (u64, u64),
    pub moods: Moods,
    pub seed: u64,
    /// Where to append a line per arrival (`microseconds-since-start status path`), for checkers in other processes.
    pub log: Option<std::fs::File>,
    pub content: Arc<dyn Content>,
}

/// A running upstream; it ends when dropped.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    inner: Mutex<Inner>,
    content: Arc<dyn Content>,
    latency_ms: (u64, u64),
    started: Instant,
}

struct Inner {
    windows: ArrivalWindows,
    moods: MoodSwings,
    figures: Figures,
    log: Option<std::fs::File>,
}

type Body = BoxBody<Bytes, std::io::Error>;

impl Upstream {
    /// Listens on a free port of 127.0.0.1. Call inside a runtime.
    pub async fn start(config: UpstreamConfig) -> std::io::Result<Upstream> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let inner = Inner {
            windows: ArrivalWindows::new(config.limits),
            moods: MoodSwings::new(config.moods, config.seed),
            figures: Figures::default(),
            log: config.log,
        };
        let shared =
            Arc::new(Shared { inner: Mutex::new(inner), content: config.content, latency_ms: config.latency_ms, started: Instant::now() });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok(Upstream { address, shared, accepting })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn figures(&self) -> Figures {
        let inner = self.shared.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Figures { fullest: inner.windows.fullest().to_vec(), ..inner.figures.clone() }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, shared.clone()));
            // An error here is a client that went away, or one of the truncated bodies.
            let _ =
                hyper::server::conn::http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path_and_query().map(|path| path.as_str().to_owned()).unwrap_or_default();
    let body = shared.content.body(&path);
    let (mood, latency) = shared.arrived(&path, body.is_some());
    tokio::time::sleep(latency).await;
    let Some(mood) = mood else {
        return Ok(refusal(StatusCode::TOO_MANY_REQUESTS, "limit exceeded", Some("2")));
    };
    let Some(body) = body else {
        return Ok(refusal(StatusCode::NOT_FOUND, "no such thing", None));
    };
    Ok(match mood {
        Mood::Good => page(body, "application/json"),
        Mood::TooMany => refusal(StatusCode::TOO_MANY_REQUESTS, "slow down, please", Some("1")),
        Mood::Error => refusal(StatusCode::INTERNAL_SERVER_ERROR, "something broke", None),
        Mood::Truncated => cut_short(body),
        Mood::Empty => page(Bytes::new(), "application/json"),
        Mood::BlockPage => page(Bytes::from_static(BLOCK_PAGE), "text/html"),
    })
}

const BLOCK_PAGE: &[u8] = b"<!doctype html><html><head><title>Access Denied</title></head><body><h1>Access Denied</h1>\
<p>You do not have permission to view this page. Reference #18.2f1c3b17.1773064211</p></body></html>\n";

impl Shared {
    /// The mood for this arrival (`None`: a limit is exceeded) and how long to take.
    fn arrived(&self, path: &str, exists: bool) -> (Option<Mood>, Duration) {
        let mut inner = self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = Instant::now();
        let exceeded = inner.windows.arrived(now);
        inner.figures.requests += 1;
        let mood = inner.moods.next();
        let latency_ms = inner.moods.latency_ms(self.latency_ms.0, self.latency_ms.1);
        let figures = &mut inner.figures;
        let status = if exceeded {
            figures.windows_exceeded += 1;
            figures.answered_429 += 1;
            "429!"
        } else if !exists {
            figures.not_found += 1;
            "404"
        } else {
            match mood {
                Mood::Good => (figures.served += 1, "200").1,
                Mood::TooMany => (figures.moods.too_many += 1, "429").1,
                Mood::Error => (figures.moods.error += 1, "500").1,
                Mood::Truncated => (figures.moods.truncated += 1, "200-truncated").1,
                Mood::Empty => (figures.moods.empty += 1, "200-empty").1,
                Mood::BlockPage => (figures.moods.block_page += 1, "200-block").1,
            }
        };
        let at = now.duration_since(self.started).as_micros();
        if let Some(log) = &mut inner.log {
            use std::io::Write;
            let _ = writeln!(log, "{at} {status} {path}");
        }
        ((!exceeded).then_some(mood), Duration::from_millis(latency_ms))
    }
}

fn page(body: Bytes, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn refusal(status: StatusCode, text: &'static str, retry_after: Option<&'static str>) -> Response<Body> {
    let mut response = page(Bytes::from_static(text.as_bytes()), "text/plain");
    *response.status_mut() = status;
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static(seconds));
    }
    response
}

/// Promises the whole body and closes the connection after half of it.
fn cut_short(body: Bytes) -> Response<Body> {
    let whole = body.len();
    let half = body.slice(..whole / 2);
    let first = futures::stream::iter([Ok(Frame::data(half))]);
    // What is written is sent when there is nothing more to write for now: an error that came at once would take it along.
    let cut = futures::stream::once(async {
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut short"))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(first.chain(cut))));
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from(whole));
    response
}
