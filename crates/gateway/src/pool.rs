//! Connections to upstreams, by where they lead: of one request at a time, or, of upstreams behind TLS that choose it, of many
//! ([`shared`](crate::shared)).
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
use std::task::{Context, Poll, Waker, ready};
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
use tokio_rustls::client::TlsStream;
use url::Host;

use crate::HEAD_AT_MOST;
use crate::complaints::Complaints;
use crate::egress::{Egress, Proxy};
use crate::inquiry::Keeper;
use crate::meter::{Meters, Upload};
use crate::origin::Origin;
use crate::paced::Paced;
use crate::reach::{Reach, addresses, judge};
use crate::shared::{Place, Secure};
use crate::wire::Wire;

const CONNECT: Duration = Duration::from_secs(10);
/// Common servers close idle connections after 5 s or more; one that closes just as a request leaves costs an answer.
const KEPT_IDLE: Duration = Duration::from_secs(4);
const H2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";
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
    tls: OnceCell<Tls>,
    idle: Mutex<HashMap<Origin, Vec<(Instant, Own)>>>,
    secure: Mutex<HashMap<Origin, Arc<Secure>>>,
    pub(crate) complaints: Complaints,
    egress: Egress,
}

/// A client's body; or none, of a request that is sent once more.
pub(crate) type Sending = Either<Upload, Empty<Bytes>>;

/// By what may be spoken.
struct Tls {
    any: TlsConnector,
    older: TlsConnector,
}

/// What a request wants of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Any,
    /// It goes on in another protocol, which only HTTP/1.1 can do.
    Older,
}

/// By which a request goes.
pub(crate) enum Connection {
    /// It is alone on it. Dropped, it is closed.
    Own(Own),
    /// Dropped, the request is given up, and nothing else.
    Place(Place),
}

/// Why there is no answer, and what became of the request.
pub(crate) struct NotAnswered {
    pub(crate) why: hyper::Error,
    pub(crate) fate: Fate,
}

pub(crate) enum Fate {
    /// Nobody has done anything with it: here it is again.
    Untouched(Box<Request<Sending>>),
    /// Upstream wants it by HTTP/1.1: here it is again. It may have arrived.
    Older(Box<Request<Sending>>),
    /// As one that is untouched, but it had a body, and that is gone.
    Refused,
    /// It may have arrived.
    Unknown,
}

pub(crate) struct Own {
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

impl Drop for Own {
    fn drop(&mut self) {
        if let Driver::Task(task) = &self.driver {
            task.abort();
        }
    }
}

impl Connection {
    /// The head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Sending>) -> Result<Response<Incoming>, NotAnswered> {
        match self {
            Connection::Own(own) => own.send(request).await.map_err(|mut failed| {
                let fate = failed.take_message().map_or(Fate::Unknown, |untouched| Fate::Untouched(Box::new(untouched)));
                NotAnswered { why: failed.into_error(), fate }
            }),
            Connection::Place(place) => place.send(request).await,
        }
    }

    /// For what goes on without anybody waiting for an answer.
    pub(crate) fn run_by_itself(&mut self) {
        if let Connection::Own(own) = self {
            own.run_by_itself();
        }
    }

    /// Of one that stays open when a request on it is given up.
    pub(crate) fn wire(&self) -> Option<Wire> {
        match self {
            Connection::Own(_) => None,
            Connection::Place(place) => Some(place.wire()),
        }
    }

    /// Moves its bytes, unless somebody else does.
    fn poll(&mut self, context: &mut Context<'_>) {
        if let Connection::Own(own) = self {
            own.driver.poll(context);
        }
    }
}

impl Own {
    /// The head of the answer; or the request, if nothing of it was written.
    async fn send(&mut self, request: Request<Sending>) -> Result<Response<Incoming>, TrySendError<Request<Sending>>> {
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

    fn run_by_itself(&mut self) {
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
        Pool {
            stand_in,
            tls: OnceCell::new(),
            idle: Mutex::default(),
            secure: Mutex::default(),
            complaints: Default::default(),
            egress: Default::default(),
        }
    }

    /// One that waits for work, one with room for another request, or a new one.
    pub(crate) async fn connection(&self, to: &Origin, reach: Reach, wants: Wants) -> io::Result<Connection> {
        match self.take_idle(to) {
            Some(idle) => Ok(Connection::Own(idle)),
            None => self.fresh(to, reach, wants).await,
        }
    }

    /// None that has waited: its upstream may have closed it meanwhile.
    pub(crate) async fn fresh(&self, to: &Origin, reach: Reach, wants: Wants) -> io::Result<Connection> {
        match (to.secure, wants) {
            (false, _) => self.connect_own(to, reach).await,
            (true, Wants::Older) => self.connect_older(to, reach).await,
            (true, Wants::Any) => self.secure(to, reach).await,
        }
    }

    async fn secure(&self, to: &Origin, reach: Reach) -> io::Result<Connection> {
        let known = self.known(to);
        loop {
            let freed = known.freed();
            if known.is_older() {
                return self.connect_older(to, reach).await;
            }
            if let Some(place) = known.place() {
                return Ok(Connection::Place(place));
            }
            if !known.wants_another() {
                freed.await;
                continue;
            }
            let dials = known.dials();
            let mut last = known.dialling.lock().await;
            if known.dials() != dials {
                // Somebody has found out meanwhile, for us too.
                last.failure().map_or(Ok(()), Err)?;
                continue;
            }
            let connected = self.connect(to, reach, &known).await;
            known.dialled(&mut last, connected.as_ref().err());
            return connected;
        }
    }

    fn known(&self, to: &Origin) -> Arc<Secure> {
        let mut secure = self.secure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if secure.len() >= ORIGINS_AT_MOST && !secure.contains_key(to) {
            secure.retain(|_, known| Arc::strong_count(known) > 1 || !known.is_idle());
        }
        secure.entry(to.clone()).or_default().clone()
    }

    fn take_idle(&self, to: &Origin) -> Option<Own> {
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
        // A place is free when it is dropped.
        let Connection::Own(connection) = connection else { return };
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

    async fn connect_own(&self, to: &Origin, reach: Reach) -> io::Result<Connection> {
        in_time(async {
            let (stream, proxy) = self.dial(to, reach).await?;
            shake_hands(stream, proxy).await
        })
        .await
    }

    async fn connect_older(&self, to: &Origin, reach: Reach) -> io::Result<Connection> {
        in_time(async {
            let tls = self.tls().await?;
            shake_hands(self.encrypted(to, reach, &tls.older).await?, None).await
        })
        .await
    }

    /// In the protocol that the upstream chooses.
    async fn connect(&self, to: &Origin, reach: Reach, known: &Arc<Secure>) -> io::Result<Connection> {
        in_time(async {
            let tls = self.tls().await?;
            let stream = self.encrypted(to, reach, &tls.any).await?;
            if stream.get_ref().1.alpn_protocol() == Some(H2) {
                return known.share(stream).await.map(Connection::Place);
            }
            known.speaks_older();
            shake_hands(stream, None).await
        })
        .await
    }

    async fn encrypted(&self, to: &Origin, reach: Reach, tls: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        let stream = match self.dial(to, reach).await? {
            (stream, Some(proxy)) => proxy.lead(stream, to).await?,
            (stream, None) => stream,
        };
        let name = match &to.host {
            Host::Domain(name) => ServerName::try_from(name.clone()).map_err(io::Error::other)?,
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(*address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(*address)),
        };
        tls.connect(name, stream).await
    }

    async fn tls(&self) -> io::Result<&Tls> {
        self.tls.get_or_try_init(async || self.trust()).await
    }

    /// A connection of which nothing is known but where it leads.
    pub(crate) async fn tunnel(&self, to: &Origin, reach: Reach) -> io::Result<TcpStream> {
        in_time(async {
            match self.dial(to, reach).await? {
                (stream, Some(proxy)) => proxy.lead(stream, to).await,
                (stream, None) => Ok(stream),
            }
        })
        .await
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

    fn trust(&self) -> io::Result<Tls> {
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
        config.alpn_protocols = vec![HTTP_11.to_vec()];
        let older = TlsConnector::from(Arc::new(config.clone()));
        config.alpn_protocols = vec![H2.to_vec(), HTTP_11.to_vec()];
        Ok(Tls { any: TlsConnector::from(Arc::new(config)), older })
    }
}

async fn in_time<T>(connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let too_late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s"));
    tokio::time::timeout(CONNECT, connecting).await.unwrap_or_else(too_late)
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
    Ok(Connection::Own(Own { sender, driver: Driver::Waiter(Box::pin(moving)), proxy }))
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
    /// The answer is kept, too.
    pub(crate) keeper: Option<Keeper>,
    /// The upstream broke off; not passed on yet.
    broken: Option<hyper::Error>,
    paced: Option<Box<Paced>>,
}

impl Passing {
    pub(crate) fn new(body: Incoming, connection: Connection, pool: Arc<Pool>, origin: Origin, attempt: AttemptId, meters: Meters) -> Self {
        let paced = Paced::by(meters.pace.as_ref());
        Passing { body, connection: Some(connection), pool, origin, is_read: false, attempt, meters, keeper: None, broken: None, paced }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Passing { body, connection, pool, origin, is_read, broken, attempt, meters, keeper, paced } = &mut *self;
        if let Some(why) = broken.take() {
            return Poll::Ready(Some(Err(why)));
        }
        let frame = match Paced::rest(paced, context) {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(ready!(piece))))),
            None => {
                let mut frame = Pin::new(&mut *body).poll_frame(context);
                if let (Poll::Pending, Some(connection)) = (&frame, connection) {
                    connection.poll(context);
                    frame = Pin::new(body).poll_frame(context);
                }
                Paced::first(paced, context, frame)
            }
        };
        if let Poll::Ready(Some(Err(why))) = frame {
            pool.complaints.complain("an upstream broke off an answer", Some(*attempt), &format!("{origin}: {}", in_words(&why)));
            // What came before is to reach the client: it is only buffered, and would be thrown away with the connection.
            *broken = Some(why);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            let bytes = frame.data_ref();
            meters.received(bytes.map_or(0, Bytes::len));
            keeper.iter_mut().zip(bytes).for_each(|(keeper, bytes)| keeper.push(bytes));
        }
        *is_read |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        Paced::held(&self.paced) == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Paced::with_held(&self.paced, self.body.size_hint())
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        if !self.is_read && !self.body.is_end_stream() {
            return;
        }
        // What is held has not been kept yet either.
        let keeper = self.keeper.take().filter(|_| Paced::held(&self.paced) == 0);
        keeper.into_iter().for_each(Keeper::whole);
        if let Some(connection) = self.connection.take() {
            self.pool.give_back(&self.origin, connection);
        }
    }
}
