//! A gateway before a scripted upstream, clients that speak byte by byte, and certificates.

#![allow(dead_code)]

pub mod certified;
#[path = "../../../collect/tests/support/hand_clock.rs"]
pub mod hand_clock;
pub mod two;
#[path = "../../../collect/tests/support/upstream.rs"]
pub mod upstream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Admission, Clock, Gate, Settlement};
use adce_core::spec::{Cache, Pass};
use adce_core::time::{BootId, Boottime, Now, Timestamp};
use adce_gateway::{Gateway, Route, Rules};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use upstream::*;

pub const NOW: Boottime = Boottime::from_secs(1_000);
pub const LINGER: Duration = Duration::from_secs(1);
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Stands still until somebody says that time passes.
pub struct Still(pub AtomicU64);

impl Still {
    pub fn passes(&self, secs: u64) {
        self.0.fetch_add(secs, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Now {
        // Certificates are judged by the clock of the machine.
        Now { wall: Timestamp::now(), boot: NOW + Duration::from_secs(self.0.load(Ordering::SeqCst)) }
    }

    fn boot_id(&self) -> BootId {
        BootId("test".into())
    }

    async fn sleep_until(&self, _until: Boottime) {
        std::future::pending().await
    }
}

/// An upstream that answers each path with itself.
pub async fn echo() -> Scripted {
    Scripted::start([("/a", ok("a"), Then::ReadOn), ("/b", ok("b"), Then::ReadOn)]).await
}

/// How many requests count.
pub fn arrived(permits: &Diary) -> usize {
    permits.settlements().iter().filter(|how| matches!(how, Settlement::ArrivedBy(_))).count()
}

/// A source of this name at this URL, whose host it declares.
pub fn route(name: &str, base_url: &str) -> Route {
    let url: url::Url = base_url.parse().unwrap();
    let hosts = vec![format!("{}:{}", url.host_str().unwrap(), url.port_or_known_default().unwrap())];
    Route { name: name.into(), hosts, base_url: Some(url), linger: LINGER, intercept: false, absorb: false, cache: Cache::default() }
}

/// A gateway with one source, `espn`, and one attempt that may pass.
pub struct Setup {
    pub gateway: Gateway,
    pub clock: Arc<Still>,
    pub permits: Arc<Diary>,
    pub attempt: AttemptId,
    /// `/<token>`.
    pub token: String,
    basic: String,
}

impl Setup {
    pub async fn with(base_url: &str, permits: Arc<Diary>) -> Self {
        Setup::of(Rules { routes: vec![route("espn", base_url)], ..Rules::default() }, permits).await
    }

    pub async fn of(rules: Rules, permits: Arc<Diary>) -> Self {
        let clock = Arc::new(Still(AtomicU64::new(0)));
        let gateway = Gateway::start(rules, permits.clone(), clock.clone()).await.unwrap();
        let attempt = AttemptId(Uuid::now_v7());
        let mut setup = Setup { gateway, clock, permits, attempt, token: String::new(), basic: String::new() };
        setup.admit(Pass::default());
        setup
    }

    /// From now on the attempt passes under these terms, with another token.
    pub fn admit(&mut self, pass: Pass) {
        self.gateway.dismiss(self.attempt);
        let admitted = self.gateway.admit(self.attempt, pass).unwrap();
        self.token = admitted.url.strip_prefix(&format!("http://127.0.0.1:{}", self.gateway.port())).unwrap().to_owned();
        self.basic = basic(&admitted);
    }

    pub async fn before(upstream: &Scripted) -> Self {
        Setup::with(&format!("http://{}", upstream.address), Diary::new()).await
    }

    pub async fn dial(&self) -> Client {
        Client { stream: TcpStream::connect(("127.0.0.1", self.gateway.port())).await.unwrap(), read: Vec::new() }
    }

    /// The header by which the attempt passes the gateway as a proxy.
    pub fn credentials(&self) -> String {
        format!("Proxy-Authorization: Basic {}\r\n", self.basic)
    }

    /// A tunnel to there, or the refusal.
    pub async fn connect(&self, to: &str) -> Result<Client, Reply> {
        let mut client = self.dial().await;
        client.send(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n{}\r\n", self.credentials())).await;
        let reply = client.reply().await;
        if reply.code() == 200 { Ok(client) } else { Err(reply) }
    }

    pub async fn get(&self, below: &str) -> Reply {
        self.raw(&format!("GET {}/espn{below} HTTP/1.1\r\nHost: g\r\n\r\n", self.token)).await
    }

    pub async fn raw(&self, request: &str) -> Reply {
        let mut client = self.dial().await;
        client.send(request).await;
        client.reply().await
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&Diary) -> bool) {
        self.permits.until(what, holds).await;
    }
}

fn basic(admitted: &Admission) -> String {
    let (_, proxy) = admitted.variables.iter().find(|(name, _)| *name == "http_proxy").unwrap();
    STANDARD.encode(proxy.strip_prefix("http://").unwrap().split_once('@').unwrap().0)
}

/// The header by which this one passes the gateway as a proxy.
pub fn credentials_of(admitted: &Admission) -> String {
    format!("Proxy-Authorization: Basic {}\r\n", basic(admitted))
}

pub struct Client<S = TcpStream> {
    pub stream: S,
    pub read: Vec<u8>,
}

#[derive(Debug)]
pub struct Reply {
    pub head: String,
    pub body: String,
}

impl Reply {
    pub fn code(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    }
}

impl Client {
    /// Goes on in TLS; trusts this authority and nobody else.
    pub async fn secured(self, host: &str, authority: &str) -> std::io::Result<Client<TlsStream<TcpStream>>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let connector = TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()));
        let stream = connector.connect(ServerName::try_from(host.to_owned()).unwrap(), self.stream).await?;
        Ok(Client { stream, read: Vec::new() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the text has come; false when the connection ended before.
    pub async fn has_read(&mut self, text: &str) -> bool {
        let reading = async {
            while !String::from_utf8_lossy(&self.read).contains(text) {
                if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("`{text}` never came"))
    }

    /// A head, and a body by its `Content-Length`.
    pub async fn reply(&mut self) -> Reply {
        assert!(self.has_read("\r\n\r\n").await, "no answer: {:?}", String::from_utf8_lossy(&self.read));
        let end = self.read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut reply = Reply { head, body: String::new() };
        let length: usize = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0, "half a body");
        }
        reply.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        reply
    }

    pub async fn ended(&mut self) {
        assert!(!self.has_read("this never comes").await);
    }
}
