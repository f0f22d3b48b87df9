//! HTTP/2 towards upstreams that speak it: one connection, many requests at a time.
//!
//! Without it each of a scraper's hundred simultaneous requests would need a connection, and a TLS handshake, of its own; some
//! upstreams refuse more than a few of these, and some are slow on HTTP/1.1.
//!
//! Always true: no request is handed to a connection beyond what its upstream takes at a time, so none lies here that could leave
//! after its permit was settled; of a request that was given up the permit is settled when nothing of it can be in our hands any
//! more ([`wire`](crate::wire)); and one counts as not sent only if no byte of it was written, or the upstream says by the protocol
//! that it did nothing with it: `REFUSED_STREAM`, or a stream above the last one of its `GOAWAY` (RFC 9113, 6.8 and 8.7).
//!
//! The windows are such that clients who do not read cannot hold up those that do: as much as all requests of a connection may
//! have on their way is what the connection may.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HOST;
use http::{Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::HEAD_AT_MOST;
use crate::pool::{Fate, NotAnswered, Sending};
use crate::serve::repeated;
use crate::wire::{Watched, Wire};

/// Fewer than common servers allow (100 and more). A request beyond them opens another connection.
const REQUESTS_AT_MOST: usize = 32;
/// To one origin. Who needs more waits.
const CONNECTIONS_AT_MOST: usize = 8;
/// Of one answer, on its way and not read by the client; what a tenth of a second of 40 Mbit/s takes.
const WINDOW: u32 = 512 * 1024;
/// Common servers close idle connections after a minute or more, and say so before.
const KEPT_IDLE: Duration = Duration::from_secs(30);
/// An upstream that vanished takes all requests of its connection with it, so it is asked whether it is there.
const ASKED_EVERY: Duration = Duration::from_secs(10);
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// The connections to one origin, and what is known of it.
#[derive(Default)]
pub(crate) struct Secure {
    open: Mutex<Vec<Arc<Shared>>>,
    /// It has chosen HTTP/1.1, or asked for it.
    is_older: AtomicBool,
    /// One at a time finds out what an origin speaks; the others take what he found.
    pub(crate) dialling: tokio::sync::Mutex<LastDial>,
    dials: AtomicU64,
    /// A request is over, or a connection.
    freed: Notify,
}

/// How the latest attempt at a connection ended.
#[derive(Default)]
pub(crate) struct LastDial {
    failed: Option<(io::ErrorKind, String)>,
}

struct Shared {
    sender: SendRequest<Sending>,
    /// Of whom the number of requests that the upstream takes is asked.
    /// `None`: it is over.
    connection: Mutex<Option<Pin<Box<dyn Connected>>>>,
    wire: Wire,
    /// It takes no more requests.
    is_leaving: AtomicBool,
    requests: AtomicUsize,
    idle_since: Mutex<Instant>,
}

/// hyper's connection, whatever it runs over.
trait Connected: Future<Output = hyper::Result<()>> + Send {
    fn takes(&self) -> usize;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connected for http2::Connection<TokioIo<S>, Sending, TokioExecutor> {
    fn takes(&self) -> usize {
        self.current_max_send_streams()
    }
}

/// The place of one request on a connection.
pub(crate) struct Place {
    shared: Arc<Shared>,
    origin: Arc<Secure>,
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.shared.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.shared.requests.fetch_sub(1, Ordering::AcqRel);
        self.origin.freed.notify_waiters();
    }
}

impl Secure {
    pub(crate) fn is_older(&self) -> bool {
        self.is_older.load(Ordering::Acquire)
    }

    pub(crate) fn speaks_older(&self) {
        self.is_older.store(true, Ordering::Release);
        self.freed.notify_waiters();
    }

    /// Whether nobody has a request there.
    pub(crate) fn is_idle(&self) -> bool {
        self.open().iter().all(|shared| shared.requests.load(Ordering::Acquire) == 0)
    }

    pub(crate) fn dials(&self) -> u64 {
        self.dials.load(Ordering::Acquire)
    }

    /// Notes how the latest attempt at a connection ended.
    pub(crate) fn dialled(&self, last: &mut LastDial, failed: Option<&io::Error>) {
        last.failed = failed.map(|why| (why.kind(), why.to_string()));
        self.dials.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns when it may be worth trying again; to be asked for before looking.
    pub(crate) fn freed(&self) -> tokio::sync::futures::Notified<'_> {
        self.freed.notified()
    }

    /// A connection, because none has room for a request, or will have in a moment.
    pub(crate) fn wants_another(&self) -> bool {
        let open = self.open();
        open.len() < CONNECTIONS_AT_MOST && open.iter().all(|shared| shared.wire.is_heard())
    }

    /// A place on a connection that has room; the fullest, so that others fall idle.
    pub(crate) fn place(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open();
        open.retain(|shared| shared.is_of_use());
        let with_room = open.iter().filter(|shared| shared.has_room());
        let shared = with_room.max_by_key(|shared| shared.requests.load(Ordering::Acquire))?.clone();
        shared.requests.fetch_add(1, Ordering::AcqRel);
        Some(Place { shared, origin: self.clone() })
    }

    /// Begins to speak HTTP/2 on this connection, which is there for others, too.
    pub(crate) async fn share(self: &Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Place> {
        let origin = self.clone();
        let (stream, wire) = Watched::new(stream, move || origin.freed.notify_waiters());
        let mut client = http2::Builder::new(TokioExecutor::new());
        client
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * REQUESTS_AT_MOST as u32)
            .max_send_buf_size(WINDOW as usize)
            .max_header_list_size(HEAD_AT_MOST as u32)
            .keep_alive_interval(ASKED_EVERY)
            .keep_alive_timeout(ANSWERS_WITHIN);
        let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            sender,
            connection: Mutex::new(Some(Box::pin(connection))),
            wire,
            is_leaving: AtomicBool::new(false),
            requests: AtomicUsize::new(1),
            idle_since: Mutex::new(Instant::now()),
        });
        self.open().push(shared.clone());
        let (moved, origin) = (Arc::downgrade(&shared), Arc::downgrade(self));
        tokio::spawn(async move {
            // Who has no request and is in no list is let go, and with it the connection.
            let moving = poll_fn(|context| match moved.upgrade() {
                Some(shared) => shared.poll(context),
                None => Poll::Ready(Ok(())),
            });
            if let Err(why) = moving.await {
                tracing::debug!(%why, "a connection to an upstream broke");
            }
            origin.upgrade().iter().for_each(|origin| origin.freed.notify_waiters());
        });
        Ok(Place { shared, origin: self.clone() })
    }

    fn open(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastDial {
    /// Why it failed, if it did.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failed.as_ref().map(|(kind, why)| io::Error::new(*kind, why.clone()))
    }
}

impl Shared {
    /// Moves its bytes. When it is over, whoever still waits for it is told.
    fn poll(&self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let mut connection = self.connection();
        let Some(moving) = connection.as_mut() else { return Poll::Ready(Ok(())) };
        let moved = moving.as_mut().poll(context);
        if moved.is_ready() {
            *connection = None;
        }
        moved
    }

    fn connection(&self) -> MutexGuard<'_, Option<Pin<Box<dyn Connected>>>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_of_use(&self) -> bool {
        let is_busy = self.requests.load(Ordering::Acquire) > 0;
        let idle_since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        let takes_requests = !self.is_leaving.load(Ordering::Acquire) && self.connection().is_some();
        takes_requests && (is_busy || idle_since.elapsed() < KEPT_IDLE)
    }

    fn has_room(&self) -> bool {
        // How many it takes is the first thing that it says.
        let takes = match self.wire.is_heard() {
            true => self.connection().as_ref().map_or(0, |connection| connection.takes()),
            false => 1,
        };
        self.requests.load(Ordering::Acquire) < takes.min(REQUESTS_AT_MOST)
    }
}

impl Place {
    /// When nothing of a request that was given up can be in our hands any more.
    pub(crate) fn wire(&self) -> Wire {
        self.shared.wire.clone()
    }

    pub(crate) async fn send(&mut self, request: Request<Sending>) -> Result<Response<Incoming>, NotAnswered> {
        let spare = request.body().is_end_stream().then(|| repeated(&request));
        let answered = self.shared.sender.clone().try_send_request(for_shared(request)).await;
        answered.map_err(|mut failed| {
            let untouched = failed.take_message().map(for_own);
            let why = failed.into_error();
            let told = protocol_error(&why);
            if untouched.is_some() || told.is_some_and(h2::Error::is_go_away) {
                self.shared.is_leaving.store(true, Ordering::Release);
            }
            let fate = match (untouched, told) {
                (Some(untouched), _) => Fate::Untouched(Box::new(untouched)),
                (None, Some(told)) if is_not_processed(told) => spare.map_or(Fate::Refused, |spare| Fate::Untouched(Box::new(spare))),
                (None, Some(told)) if told.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED) => {
                    self.origin.speaks_older();
                    spare.map_or(Fate::Unknown, |spare| Fate::Older(Box::new(spare)))
                }
                (None, _) => Fate::Unknown,
            };
            NotAnswered { why, fate }
        })
    }
}

fn protocol_error(why: &hyper::Error) -> Option<&h2::Error> {
    let mut cause = why.source();
    while let Some(inner) = cause {
        if let Some(told) = inner.downcast_ref() {
            return Some(told);
        }
        cause = inner.source();
    }
    None
}

/// What a `GOAWAY` leaves of the streams up to its last one ends with the connection, which is an error of another kind.
fn is_not_processed(told: &h2::Error) -> bool {
    let is_refused = told.is_reset() && told.reason() == Some(h2::Reason::REFUSED_STREAM);
    told.is_remote() && (is_refused || told.is_go_away())
}

/// The host stands in the URL, as the protocol has it.
fn for_shared(mut request: Request<Sending>) -> Request<Sending> {
    *request.version_mut() = Version::HTTP_2;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if let Ok(whole) = format!("https://{host}{path}").parse() {
        *request.uri_mut() = whole;
        request.headers_mut().remove(HOST);
    }
    request
}

/// As it was before [`for_shared`].
fn for_own(mut request: Request<Sending>) -> Request<Sending> {
    *request.version_mut() = Version::HTTP_11;
    let host = request.uri().authority().and_then(|host| http::HeaderValue::from_str(host.as_str()).ok());
    if let (Some(host), Some(path)) = (host, request.uri().path_and_query().cloned()) {
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = path.into();
    }
    request
}
