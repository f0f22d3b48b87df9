//! Connections to upstreams, by where they lead.
//!
//! They are held here, not by a general client, because the gateway has to know for every request whether a byte of it
//! can have left, and has to be able to close a request's connection when its client leaves.

use std::collections::HashMap;
use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adce_core::ids::AttemptId;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use url::Host;

use crate::HEAD_AT_MOST;
use crate::complaints::Complaints;
use crate::egress::{Egress, Proxy};
use crate::meter::{Meters, Upload};
use crate::origin::Origin;
use crate::reach::{Reach, addresses, judge};

const CONNECT: Duration = Duration::from_secs(10);
/// Common servers close idle connections after 5 s or more; one that closes just as a request leaves costs an answer.
const KEPT_IDLE: Duration = Duration::from_secs(4);
const IDLE_AT_MOST: usize = 32;
/// A crawler asks thousands of hosts, each of them once.
const ORIGINS_AT_MOST: usize = 256;

/// An upstream that answers instead of every host, whatever its name: `adce doctor` proves with it how a program asks, and asks
/// nobody else.
#[derive(Clone, Debug)]
pub struct StandIn {
    /// Answers plain HTTP.
    pub http: SocketAddr,
    /// Answers TLS.
    pub https: SocketAddr,
    /// Who has signed its certificates; nobody else is trusted.
    pub trusted: CertificateDer<'static>,
}

pub(crate) struct Pool {
    stand_in: Option<StandIn>,
    tls: OnceCell<TlsConnector>,
    idle: Mutex<HashMap<Origin, Vec<(Instant, Connection)>>>,
    pub(crate) complaints: Complaints,
    egress: Egress,
}

/// A client's body; or none, of a request that is sent once more.
pub(crate) type Sending = Either<Upload, Empty<Bytes>>;

/// Dropped, it is closed.
pub(crate) struct Connection {
    sender: SendRequest<Sending>,
    driver: Driver,
    /// It is one to a proxy, which has to be told for each request where it goes.
    proxy: Option<Proxy>,
}

/// Who moves a connection's bytes.
enum Driver {
    /// Whoever waits for the answer: a task of its own would be woken, and would wake, several times a request.
    Waiter(Pin<Box<dyn Future<Output = ()> + Send>>),
    Task(JoinHandle<()>),
    Ended,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Driver::Task(task) = &self.driver {
            task.abort();
        }
    }
}

impl Connection {
    /// The head of the answer; or the request, if nothing of it was written.
    pub(crate) async fn send(&mut self, request: Request<Sending>) -> Result<Response<Incoming>, TrySendError<Request<Sending>>> {
        let request = match &self.proxy {
            Some(proxy) => for_proxy(request, proxy),
            None => request,
        };
        if !request.body().is_end_stream() {
            // It may have to be read for as long as nobody reads the answer.
            self.run_by_itself();
        }
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            self.driver.poll(context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// For what goes on without anybody waiting for an answer.
    pub(crate) fn run_by_itself(&mut self) {
        if let Driver::Waiter(moving) = std::mem::replace(&mut self.driver, Driver::Ended) {
            self.driver = Driver::Task(tokio::spawn(moving));
        }
    }

    /// Whether another request may be sent, as far as is known by now.
    fn is_ready(&mut self) -> bool {
        self.driver.poll(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }
}

impl Driver {
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Driver::Waiter(moving) = self
            && moving.as_mut().poll(context).is_ready()
        {
            *self = Driver::Ended;
        }
    }
}

impl Pool {
    pub(crate) fn new(stand_in: Option<StandIn>) -> Self {
        Pool { stand_in, tls: OnceCell::new(), idle: Mutex::default(), complaints: Default::default(), egress: Default::default() }
    }

    /// One that waits for work, or a new one.
    pub(crate) async fn connection(&self, to: &Origin, reach: Reach) -> io::Result<Connection> {
        match self.take_idle(to) {
            Some(idle) => Ok(idle),
            None => self.connect(to, reach).await,
        }
    }

    fn take_idle(&self, to: &Origin) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let waiting = idle.get_mut(to)?;
        let now = Instant::now();
        // The latest stands last.
        let too_old = waiting.partition_point(|(since, _)| now.duration_since(*since) >= KEPT_IDLE);
        waiting.drain(..too_old);
        let ready = (0..waiting.len()).rev().find(|at| waiting[*at].1.is_ready())?;
        Some(waiting.remove(ready).1)
    }

    fn give_back(&self, origin: &Origin, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if idle.len() >= ORIGINS_AT_MOST && !idle.contains_key(origin) {
            let now = Instant::now();
            idle.retain(|_, waiting| waiting.iter().any(|(since, _)| now.duration_since(*since) < KEPT_IDLE));
            if idle.len() >= ORIGINS_AT_MOST {
                return;
            }
        }
        let waiting = idle.entry(origin.clone()).or_default();
        if waiting.len() == IDLE_AT_MOST {
            waiting.remove(0);
        }
        waiting.push((Instant::now(), connection));
    }

    pub(crate) async fn connect(&self, to: &Origin, reach: Reach) -> io::Result<Connection> {
        let connected = tokio::time::timeout(CONNECT, async {
            let (stream, proxy) = self.dial(to, reach).await?;
            if !to.secure {
                return shake_hands(stream, proxy).await;
            }
            let stream = match proxy {
                Some(proxy) => proxy.lead(stream, to).await?,
                None => stream,
            };
            let name = match &to.host {
                Host::Domain(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
                Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(*address)),
                Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(*address)),
            };
            let tls = self.tls.get_or_try_init(async || self.trust()).await?;
            shake_hands(tls.connect(name, stream).await?, None).await
        });
        connected.await.unwrap_or_else(|_| Err(too_late()))
    }

    /// A connection of which nothing is known but where it leads.
    pub(crate) async fn tunnel(&self, to: &Origin, reach: Reach) -> io::Result<TcpStream> {
        let dialled = tokio::time::timeout(CONNECT, async {
            match self.dial(to, reach).await? {
                (stream, Some(proxy)) => proxy.lead(stream, to).await,
                (stream, None) => Ok(stream),
            }
        });
        dialled.await.unwrap_or_else(|_| Err(too_late()))
    }

    /// A connection there, or to the proxy by which one gets there.
    async fn dial(&self, to: &Origin, reach: Reach) -> io::Result<(TcpStream, Option<Proxy>)> {
        if let Some(stand_in) = &self.stand_in {
            let stream = TcpStream::connect(if to.secure { stand_in.https } else { stand_in.http }).await?;
            stream.set_nodelay(true)?;
            return Ok((stream, None));
        }
        let proxy = self.egress.proxy(to)?;
        let stream = match &proxy {
            Some(proxy) => {
                judge(to, reach).await?;
                proxy.dial().await?
            }
            None => TcpStream::connect(&*addresses(to, reach).await?).await?,
        };
        stream.set_nodelay(true)?;
        Ok((stream, proxy))
    }

    fn trust(&self) -> io::Result<TlsConnector> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let config = config.map_err(io::Error::other)?;
        let mut config = match &self.stand_in {
            None => config.dangerous().with_custom_certificate_verifier(trust_of_the_system(provider)?).with_no_client_auth(),
            Some(stand_in) => {
                let mut roots = RootCertStore::empty();
                roots.add(stand_in.trusted.clone()).map_err(io::Error::other)?;
                config.with_root_certificates(roots).with_no_client_auth()
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s")
}

/// As proxies are asked: with the whole URL.
fn for_proxy(mut request: Request<Sending>, proxy: &Proxy) -> Request<Sending> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if let Ok(whole) = format!("http://{host}{path}").parse() {
        *request.uri_mut() = whole;
    }
    if let Some(authorization) = &proxy.authorization {
        request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
    }
    request
}

async fn shake_hands(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, proxy: Option<Proxy>) -> io::Result<Connection> {
    let mut client = http1::Builder::new();
    client.preserve_header_case(true).max_buf_size(HEAD_AT_MOST);
    let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let moving = async move {
        if let Err(why) = connection.with_upgrades().await {
            tracing::debug!(%why, "a connection to an upstream broke");
        }
    };
    Ok(Connection { sender, driver: Driver::Waiter(Box::pin(moving)), proxy })
}

fn trust_of_the_system(provider: Arc<CryptoProvider>) -> io::Result<Arc<rustls_platform_verifier::Verifier>> {
    let verifier = rustls_platform_verifier::Verifier::new(provider);
    verifier
        .map(Arc::new)
        .map_err(|why| io::Error::other(format!("the system's certificates cannot be read ({why}); on Debian install `ca-certificates`")))
}

/// The innermost cause says what happened.
pub(crate) fn in_words(why: &(dyn Error + 'static)) -> String {
    let mut cause = why;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// An answer's body on its way. Read to its end, its connection serves again; dropped before, the connection is closed.
pub(crate) struct Passing {
    body: Incoming,
    connection: Option<Connection>,
    pool: Arc<Pool>,
    origin: Origin,
    is_read: bool,
    attempt: AttemptId,
    meters: Meters,
    /// The upstream broke off; not passed on yet.
    broken: Option<hyper::Error>,
}

impl Passing {
    pub(crate) fn new(body: Incoming, connection: Connection, pool: Arc<Pool>, origin: Origin, attempt: AttemptId, meters: Meters) -> Self {
        Passing { body, connection: Some(connection), pool, origin, is_read: false, attempt, meters, broken: None }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Passing { body, connection, pool, origin, is_read, broken, attempt, meters } = &mut *self;
        if let Some(why) = broken.take() {
            return Poll::Ready(Some(Err(why)));
        }
        let mut frame = Pin::new(&mut *body).poll_frame(context);
        if let (Poll::Pending, Some(connection)) = (&frame, connection) {
            connection.driver.poll(context);
            frame = Pin::new(body).poll_frame(context);
        }
        if let Poll::Ready(Some(Err(why))) = frame {
            pool.complaints.complain("an upstream broke off an answer", Some(*attempt), &format!("{origin}: {}", in_words(&why)));
            // What came before is to reach the client: it is only buffered, and would be thrown away with the connection.
            *broken = Some(why);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            meters.received(frame.data_ref().map_or(0, Bytes::len));
        }
        *is_read |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take().filter(|_| self.is_read || self.body.is_end_stream()) {
            self.pool.give_back(&self.origin, connection);
        }
    }
}
