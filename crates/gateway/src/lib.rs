//! The local HTTP gateway: `http://127.0.0.1:PORT/<attempt token>/<source>/…` is the source's base URL.
//!
//! A scraper in any language that sends its requests here keeps every limit without knowing of any: each request waits
//! for a permit of its own, is passed on as it came, and is charged to the attempt whose token it carries. Without the
//! gateway a scraper would have to be charged in full before it starts, or be trusted.
//!
//! Always true: a request without the token of a running attempt reaches no upstream
//! (`nobody_without_a_token_gets_anywhere`); every permit is settled once, and as unsent only if no byte of its request
//! can have left (`a_client_that_leaves_ends_its_request`).
//!
//! It is nobody's general proxy: no CONNECT, no absolute URLs, no host but the declared base URLs. It sets no timeout on
//! an answer: how long a request may take is for the attempt to say.

mod door;
mod headers;
mod serve;
mod target;
mod upstream;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::AttemptId;
use adce_core::ports::{Clock, Gate, Permits};
use adce_core::spec::{Limits, Source};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::door::Door;
use crate::serve::Forwarder;
use crate::upstream::Upstream;

/// A source that can be reached through the gateway.
#[derive(Clone, Debug)]
pub struct Route {
    /// Name of the source.
    pub name: String,
    pub base_url: Url,
    /// How much later than its connection was closed a request may still arrive.
    pub linger: Duration,
}

impl Route {
    /// `all`: the limits of all sources together, whose `linger` holds here too. `None` without a base URL.
    pub fn of(source: &Source, all: &Limits) -> Option<Self> {
        let linger = source.limits.linger.max(all.linger);
        Some(Route { name: source.name.clone(), base_url: source.base_url.clone()?, linger })
    }
}

/// Serves until it is dropped.
pub struct Gateway {
    port: u16,
    door: Arc<Door>,
    end: CancellationToken,
}

impl Gateway {
    /// Listens on a free port of 127.0.0.1, on the runtime that this is called on.
    pub async fn start(routes: Vec<Route>, permits: Arc<dyn Permits>, clock: Arc<dyn Clock>) -> io::Result<Gateway> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (door, end) = (Arc::new(Door::default()), CancellationToken::new());
        let upstreams: BTreeMap<String, Arc<Upstream>> =
            routes.into_iter().map(|route| (route.name.clone(), Arc::new(Upstream::new(route)))).collect();
        let forwarder = Arc::new(Forwarder { port, upstreams, permits, clock, door: door.clone() });
        tokio::spawn(end.clone().run_until_cancelled_owned(accept(listener, forwarder, end.clone())));
        Ok(Gateway { port, door, end })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Gate for Gateway {
    fn admit(&self, attempt: AttemptId) -> Option<String> {
        Some(format!("http://127.0.0.1:{}/{}", self.port, self.door.admit(attempt)))
    }

    fn dismiss(&self, attempt: AttemptId) {
        self.door.dismiss(attempt);
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
    let link = forwarder.door.link(end.clone());
    let service = service_fn(|request| forwarder.serve(request, &link));
    // The head comes when the scraper likes: it is our own child, and an idle connection costs nothing.
    let mut server = http1::Builder::new();
    server.preserve_header_case(true).header_read_timeout(None);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    if let Some(Err(why)) = end.run_until_cancelled(connection).await {
        tracing::debug!(%why, "a connection to the gateway broke");
    }
}
