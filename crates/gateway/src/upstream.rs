//! Connections to one source's base URL.
//!
//! They are held here, not by a general client, because the gateway has to know for every request whether a byte of it
//! can have left, and has to be able to close a request's connection when its client leaves.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::Route;

const CONNECT: Duration = Duration::from_secs(10);
/// Common servers close idle connections after 5 s or more; one that closes just as a request leaves costs an answer.
const KEPT_IDLE: Duration = Duration::from_secs(4);
const IDLE_AT_MOST: usize = 32;

pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) base_url: Url,
    pub(crate) linger: Duration,
    /// For the `Host` header.
    pub(crate) authority: HeaderValue,
    tls: OnceCell<TlsConnector>,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

/// Dropped, it is closed.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Incoming>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Upstream {
    pub(crate) fn new(route: Route) -> Self {
        let host = route.base_url.host_str().unwrap_or_default();
        let authority = match route.base_url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let authority = HeaderValue::from_str(&authority).unwrap_or(HeaderValue::from_static(""));
        Upstream {
            name: route.name,
            base_url: route.base_url,
            linger: route.linger,
            authority,
            tls: OnceCell::new(),
            idle: Mutex::default(),
        }
    }

    /// Without a `/` at its end.
    pub(crate) fn base_path(&self) -> &str {
        self.base_url.path().trim_end_matches('/')
    }

    /// One that waits for work, or a new one.
    pub(crate) async fn connection(&self) -> io::Result<Connection> {
        match self.take_idle() {
            Some(idle) => Ok(idle),
            None => self.connect().await,
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = Instant::now();
        idle.retain(|(since, connection)| now.duration_since(*since) < KEPT_IDLE && !connection.sender.is_closed());
        let ready = idle.iter().rposition(|(_, connection)| connection.sender.is_ready())?;
        Some(idle.swap_remove(ready).1)
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if idle.len() == IDLE_AT_MOST {
            idle.remove(0);
        }
        idle.push((Instant::now(), connection));
    }

    pub(crate) async fn connect(&self) -> io::Result<Connection> {
        let connected = tokio::time::timeout(CONNECT, self.dial());
        connected.await.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s")))
    }

    async fn dial(&self) -> io::Result<Connection> {
        let port = self.base_url.port_or_known_default().unwrap_or(80);
        let host = self.base_url.host().ok_or_else(|| io::Error::other("its base URL names no host"))?;
        let stream = match host {
            Host::Domain(name) => TcpStream::connect((name, port)).await?,
            Host::Ipv4(address) => TcpStream::connect((address, port)).await?,
            Host::Ipv6(address) => TcpStream::connect((address, port)).await?,
        };
        stream.set_nodelay(true)?;
        if self.base_url.scheme() != "https" {
            return shake_hands(stream).await;
        }
        let name = match host {
            Host::Domain(name) => ServerName::try_from(name.to_owned()).map_err(io::Error::other)?,
            Host::Ipv4(address) => ServerName::from(std::net::IpAddr::V4(address)),
            Host::Ipv6(address) => ServerName::from(std::net::IpAddr::V6(address)),
        };
        let tls = self.tls.get_or_try_init(async || trust_of_the_system()).await?;
        shake_hands(tls.connect(name, stream).await?).await
    }
}

async fn shake_hands(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<Connection> {
    let mut client = http1::Builder::new();
    client.preserve_header_case(true);
    let (sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let driver = tokio::spawn(async move {
        if let Err(why) = connection.await {
            tracing::debug!(%why, "a connection to an upstream broke");
        }
    });
    Ok(Connection { sender, driver })
}

fn trust_of_the_system() -> io::Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|why| {
        io::Error::other(format!("the system's certificates cannot be read ({why}); on Debian install `ca-certificates`"))
    })?;
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let mut config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An answer's body on its way. Read to its end, its connection serves again; dropped before, the connection is closed.
pub(crate) struct Passing {
    body: Incoming,
    connection: Option<Connection>,
    upstream: Arc<Upstream>,
    is_read: bool,
}

impl Passing {
    pub(crate) fn new(body: Incoming, connection: Connection, upstream: Arc<Upstream>) -> Self {
        Passing { body, connection: Some(connection), upstream, is_read: false }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.is_read |= matches!(frame, Poll::Ready(None));
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
            self.upstream.give_back(connection);
        }
    }
}
