//! The upstream that a command is tried against: it answers everything, in HTTP and in TLS, and counts for itself.
//!
//! It has two doors for each protocol. One has the address that the command is given; who comes there has passed no gateway. The
//! other one only the gateway knows, which goes there whatever host it is asked for.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adce_core::time::Timestamp;
use adce_demo::{ArrivalWindows, Limit};
use adce_gateway::{Authority, StandIn};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::LazyConfigAcceptor;

use super::desk::LIMIT;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Http,
    Https,
}

impl Protocol {
    pub const BOTH: [Protocol; 2] = [Protocol::Http, Protocol::Https];

    pub fn word(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Https => "https",
        }
    }
}

/// What came over one protocol.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Requests through the gateway.
    pub requests: u64,
    /// When the first of them arrived.
    pub first: Option<Instant>,
    /// Requests that arrived while the window was full.
    pub exceeded: u64,
    /// Arrivals in the fullest span.
    pub fullest: u64,
    /// Requests that came past the gateway.
    pub past: u64,
    /// Connections past the gateway, also those that did not get as far as a request.
    pub past_connections: u64,
    /// How those who asked through the gateway call themselves; `""`: not at all.
    pub clients: BTreeSet<String>,
    /// And those who asked past it.
    pub past_clients: BTreeSet<String>,
    /// Whether somebody asked for the address that the command was given.
    pub was_given_address: bool,
}

struct Door {
    protocol: Protocol,
    seen: Mutex<(Seen, ArrivalWindows)>,
    /// Of the door that the command is told of.
    address: SocketAddr,
}

/// Ends when it is dropped.
pub struct Upstream {
    doors: [Arc<Door>; 2],
    through: [SocketAddr; 2],
    authority: Arc<Authority>,
    _accepting: JoinSet<()>,
}

/// By which door somebody came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Past,
    Through,
}

/// A TLS client is given so long for its first bytes.
const HANDSHAKE: Duration = Duration::from_secs(10);

impl Upstream {
    /// `authority`: by which it shows itself as whatever host is asked for.
    pub async fn start(authority: Arc<Authority>) -> std::io::Result<Self> {
        let mut accepting = JoinSet::new();
        let mut doors = Vec::new();
        let mut through = Vec::new();
        for protocol in Protocol::BOTH {
            let told = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let hidden = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let limit = Limit { requests: LIMIT.requests.into(), span: LIMIT.span };
            let seen = Mutex::new((Seen::default(), ArrivalWindows::new(vec![limit])));
            let door = Arc::new(Door { protocol, seen, address: told.local_addr()? });
            through.push(hidden.local_addr()?);
            accepting.spawn(accept(told, door.clone(), Way::Past, authority.clone()));
            accepting.spawn(accept(hidden, door.clone(), Way::Through, authority.clone()));
            doors.push(door);
        }
        let (Ok(doors), Ok(through)) = (doors.try_into(), through.try_into()) else { unreachable!("one for each protocol") };
        Ok(Upstream { doors, through, authority, _accepting: accepting })
    }

    /// What the command is given.
    pub fn url(&self, protocol: Protocol) -> String {
        format!("{}://{}", protocol.word(), self.door(protocol).address)
    }

    pub fn stand_in(&self) -> std::io::Result<StandIn> {
        let [http, https] = self.through;
        Ok(StandIn { http, https, trusted: self.authority.certificate()? })
    }

    pub fn seen(&self, protocol: Protocol) -> Seen {
        let inside = self.door(protocol).lock();
        Seen { fullest: inside.1.fullest().first().copied().unwrap_or_default(), ..inside.0.clone() }
    }

    fn door(&self, protocol: Protocol) -> &Door {
        &self.doors[protocol as usize]
    }
}

impl Door {
    fn lock(&self) -> MutexGuard<'_, (Seen, ArrivalWindows)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrived(&self, request: &Request<Incoming>, way: Way) {
        let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
        let mut inside = self.lock();
        let (seen, windows) = &mut *inside;
        seen.was_given_address |= text(HOST) == self.address.to_string();
        match way {
            Way::Past => {
                seen.past += 1;
                seen.past_clients.insert(text(USER_AGENT).to_owned());
            }
            Way::Through => {
                let now = Instant::now();
                seen.requests += 1;
                seen.clients.insert(text(USER_AGENT).to_owned());
                seen.first.get_or_insert(now);
                seen.exceeded += u64::from(windows.arrived(now));
            }
        }
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>, way: Way, authority: Arc<Authority>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (door, authority) = (door.clone(), authority.clone());
        if way == Way::Past {
            let mut inside = door.lock();
            inside.0.past_connections += 1;
            inside.0.was_given_address = true;
        }
        connections.spawn(async move { serve(stream, &door, way, &authority).await });
    }
}

async fn serve(stream: TcpStream, door: &Arc<Door>, way: Way, authority: &Authority) {
    let _ = stream.set_nodelay(true);
    let (answering, door) = (door.clone(), door);
    let service = service_fn(move |request| {
        answering.arrived(&request, way);
        async { Ok::<_, Infallible>(answer()) }
    });
    let served = match door.protocol {
        Protocol::Http => http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
        Protocol::Https => {
            let shaken = tokio::time::timeout(HANDSHAKE, async {
                let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
                let host = hello.client_hello().server_name().unwrap_or("127.0.0.1").to_owned();
                hello.into_stream(authority.as_host(&host, Timestamp::now())?).await
            });
            let Ok(Ok(stream)) = shaken.await else { return };
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
        }
    };
    if let Err(why) = served {
        tracing::debug!(%why, "a connection to the doctor's upstream broke");
    }
}

fn answer() -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(&b"{\"adce\": \"doctor\"}\n"[..]));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
