//! The local HTTP gateway that requests of commands pass, each with a permit of its own.
//!
//! A scraper in any language keeps every limit without knowing of any: each of its requests waits here until its source may be
//! asked once more, is passed on as it came, and is charged to the attempt whose token it carries. Without the gateway a scraper
//! would have to be charged in full before it starts, or be trusted. There are three ways in:
//!
//! - as a proxy for plain HTTP (`GET http://host/…`);
//! - as a proxy for everything else (`CONNECT host:port`): see [`tunnel`];
//! - by base URL, for programs that ignore proxies: `http://127.0.0.1:PORT/<attempt token>/<source>/…`.
//!
//! Always true: a request without the token of a running attempt reaches no upstream
//! (`nobody_without_a_token_gets_anywhere`); every permit is settled once, and as unsent only if no byte of its request
//! can have left (`a_client_that_leaves_ends_its_request`); a host that no source declares is asked only at a public address
//! ([`reach`]).
//!
//! It sets no timeout on an answer: how long a request may take is for the attempt to say.

mod answers;
mod authority;
mod complaints;
mod credentials;
mod door;
mod egress;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod headers;
mod inquiry;
mod meter;
mod origin;
mod paced;
mod pool;
mod reach;
mod serve;
mod shared;
mod target;
mod tunnel;
mod variables;
mod wire;

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::AttemptId;
use adce_core::kept::KeptAnswers;
use adce_core::pacing::{Pace, Pacing};
use adce_core::ports::{Admission, Clock, Gate, Passed, Permits};
use adce_core::spec::{Cache, Egress, Limits, Pass, Source};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use crate::answers::Answers;
pub use crate::authority::Authority;
use crate::door::{Door, Link};
use crate::meter::Meter;
use crate::pool::Pool;
pub use crate::pool::StandIn;
use crate::serve::{Forwarder, Via};

/// Of one message. Common servers refuse heads of more than 8 to 64 KiB.
pub(crate) const HEAD_AT_MOST: usize = 256 * 1024;

/// A source, as far as the gateway goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name of the source.
    pub name: String,
    /// `host`, `*.host` or `host:port`.
    pub hosts: Vec<String>,
    /// Without one it has no base URL at the gateway either.
    pub base_url: Option<Url>,
    /// How much later than its connection was closed a request may still arrive.
    pub linger: Duration,
    /// Whether https connections to its hosts are opened.
    pub intercept: bool,
    /// Whether a GET or HEAD that drew 429 or 503 is sent again.
    pub absorb: bool,
    pub cache: Cache,
}

impl Route {
    /// `all`: the limits of all sources together, whose `linger` holds here too.
    pub fn of(source: &Source, all: &Limits) -> Self {
        Route {
            name: source.name.clone(),
            hosts: source.hosts.clone(),
            base_url: source.base_url.clone(),
            linger: source.limits.linger.max(all.linger),
            intercept: source.intercept,
            absorb: source.absorb,
            cache: source.cache,
        }
    }
}

/// What a gateway does, and for whom.
#[derive(Default)]
pub struct Rules {
    pub routes: Vec<Route>,
    /// Hosts of no source are refused.
    pub strict: bool,
    /// Hosts that commands ask without the gateway.
    pub no_proxy: Vec<String>,
    /// `host:port` of the lake: requests to it are nobody's to count.
    pub lake: Option<String>,
    /// By which https connections are opened; needed if any route intercepts.
    pub authority: Option<Arc<Authority>>,
    /// Where files lie that clients are pointed to. Without it some of them, old Node among them, do not find the gateway.
    pub folder: Option<PathBuf>,
    /// Where answers lie of sources that have a cache; without it none is kept.
    pub kept: Option<Arc<dyn KeptAnswers>>,
    /// What the bodies of sources wait for; without it they pass as they come.
    pub pacing: Option<Arc<Pacing>>,
    /// Answers instead of every host that is asked.
    pub stand_in: Option<StandIn>,
}

/// What is added up of a source's bytes, and what they wait for; by its name.
pub(crate) type SourceMeters = HashMap<String, (Arc<Meter>, Option<Pace>)>;

/// Serves until it is dropped.
pub struct Gateway {
    port: u16,
    door: Arc<Door>,
    forwarder: Arc<Forwarder>,
    runtime: Handle,
    sources: Arc<SourceMeters>,
    no_proxy: Vec<String>,
    preload: Option<PathBuf>,
    /// Where nothing has a limit and nothing is refused, commands keep the network that they have.
    has_business: bool,
    end: CancellationToken,
}

impl Gateway {
    /// Listens on a free port of 127.0.0.1, on the runtime that this is called on.
    pub async fn start(rules: Rules, permits: Arc<dyn Permits>, clock: Arc<dyn Clock>) -> io::Result<Gateway> {
        let Rules { routes, strict, mut no_proxy, lake, authority, folder, kept, pacing, stand_in } = rules;
        let has_business = !routes.is_empty() || strict || stand_in.is_some();
        let preload = folder.as_deref().map(variables::write_preload).transpose()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (door, end) = (Arc::new(Door::default()), CancellationToken::new());
        let pool = Arc::new(Pool::new(stand_in));
        let around = no_proxy.clone();
        no_proxy.extend(lake.as_deref().map(|lake| variables::around(lake, &routes)));
        let paced = |route: &Route| pacing.as_ref().and_then(|pacing| pacing.pace(&route.name));
        let sources: SourceMeters = routes.iter().map(|route| (route.name.clone(), (Arc::default(), paced(route)))).collect();
        let sources = Arc::new(sources);
        let meters = sources.clone();
        let forwarder =
            Forwarder { port, routes, lake, around, strict, authority, pool, permits, clock, door: door.clone(), sources: meters, kept };
        let forwarder = Arc::new(forwarder);
        tokio::spawn(end.clone().run_until_cancelled_owned(accept(listener, forwarder.clone(), end.clone())));
        Ok(Gateway { port, door, forwarder, runtime: Handle::current(), sources, no_proxy, preload, has_business, end })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn let_in(&self, attempt: AttemptId, pass: Pass, only: Option<Vec<String>>) -> Admission {
        let is_proxied = self.has_business || pass != Pass::default() || only.is_some();
        let token = self.door.admit(attempt, pass, only);
        let proxy = format!("http://{}:{token}@127.0.0.1:{}", credentials::USER, self.port);
        let trusted = self.forwarder.authority.as_ref().map(|authority| authority.place());
        // Who has no way around the gateway is not sent there.
        let around = if pass.egress == Egress::Gateway { &[][..] } else { &self.no_proxy };
        let variables = || variables::variables(&proxy, around, self.preload.as_deref(), trusted);
        let variables = if is_proxied { variables() } else { Vec::new() };
        let url = format!("http://127.0.0.1:{}/{token}", self.port);
        let basic = credentials::basic(&token);
        let hidden = vec![(proxy, "$HTTP_PROXY"), (url.clone(), "$ADCE_GATEWAY"), (basic, "…"), (token, "…")];
        Admission { port: self.port, url, variables, hidden }
    }

    /// Nobody waits for what goes wrong here: the command's requests will say so.
    fn listen(&self, attempt: AttemptId, inside: OwnedFd) -> io::Result<()> {
        let inside = std::net::TcpListener::from(inside);
        inside.set_nonblocking(true)?;
        let _runtime = self.runtime.enter();
        let (inside, end) = (TcpListener::from_std(inside)?, self.end.child_token());
        self.door.open_for(attempt, end.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(accept(inside, self.forwarder.clone(), end)));
        Ok(())
    }
}

impl Gate for Gateway {
    fn admit(&self, attempt: AttemptId, pass: Pass) -> Option<Admission> {
        Some(self.let_in(attempt, pass, None))
    }

    fn admit_guest(&self, guest: AttemptId, only: Option<Vec<String>>) -> Option<Admission> {
        Some(self.let_in(guest, Pass::default(), only))
    }

    fn enclosed(&self, attempt: AttemptId, inside: OwnedFd) {
        if let Err(why) = self.listen(attempt, inside) {
            tracing::error!(%why, %attempt, "the gateway could not listen in the network of an attempt");
        }
    }

    fn dismiss(&self, attempt: AttemptId) -> Passed {
        self.door.dismiss(attempt)
    }

    fn passed(&self, source: &str) -> Passed {
        self.sources.get(source).map(|(meter, _)| meter.read()).unwrap_or_default()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

async fn accept(listener: TcpListener, forwarder: Arc<Forwarder>, end: CancellationToken) {
    const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(20);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(attend(stream, forwarder.clone(), end.child_token()));
            }
            Err(why) => {
                tracing::warn!(%why, "the gateway could not accept a connection");
                tokio::time::sleep(PAUSE_WITHOUT_DESCRIPTORS).await;
            }
        }
    }
}

/// One connection, until the client leaves, its attempt is dismissed, or the gateway ends.
async fn attend(stream: TcpStream, forwarder: Arc<Forwarder>, end: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let (link, crowded_out) = forwarder.door.link(end);
    if crowded_out {
        forwarder.pool.complaints.complain("more connections wait without saying whose they are than may", None, &"the oldest is closed");
    }
    let link = Arc::new(link);
    let served = speak(stream, forwarder, link.clone(), Via::Door);
    link.while_open(served).await;
}

/// Serves HTTP on this connection. Boxed, because a tunnel inside of it is served in the same way.
fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    forwarder: Arc<Forwarder>,
    link: Arc<Link>,
    via: Via,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(serve(stream, forwarder, link, via))
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, forwarder: Arc<Forwarder>, link: Arc<Link>, via: Via) {
    let service = service_fn(|request| forwarder.clone().serve(request, link.clone(), via.clone()));
    // The head comes when the scraper likes: it is our own child, and an idle connection costs nothing.
    // A stranger's is closed when too many of them wait (`door`).
    let mut server = http1::Builder::new();
    server.preserve_header_case(true).header_read_timeout(None).max_buf_size(HEAD_AT_MOST);
    if let Err(why) = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await {
        if why.is_parse() {
            forwarder.pool.complaints.complain("a client sent what is no HTTP", link.attempt(), &why);
        } else {
            tracing::debug!(%why, "a connection to the gateway broke");
        }
    }
}
