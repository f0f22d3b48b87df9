//! Connections, and what every request passes before it is answered.
//!
//! What clients may cost: a bounded number of connections, a head that comes soon, a body of bounded length, an answer that is taken, and
//! so many requests a second from each address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adce_core::spec::{Listen, ServerRule, TlsFiles};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower::ServiceExt;

use crate::desk::Desk;
use crate::feed::Feed;
use crate::pace::{Pace, REQUESTS, WRONG_TOKENS};
use crate::pages::{self, Sessions};
use crate::patient::Patient;
use crate::problem::Problem;
use crate::repeats::Repeats;
use crate::routes::Api;
use crate::{access, acts, older, reads};

/// A page and what it loads take some; a person has some pages open.
const CONNECTIONS: usize = 512;
/// Of a request's head; cookies and a token are some hundreds.
const HEAD_BYTES: usize = 16 * 1024;
/// From the first byte to the end of a request's head, and for a TLS handshake.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// From then until the answer begins. `plan` looks at the whole lake.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// For each piece of an answer to be taken.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// What all requests share.
pub(crate) struct Shared {
    pub(crate) desk: Arc<dyn Desk>,
    hosts: Vec<String>,
    pub(crate) reads_need_a_token: bool,
    pub(crate) feed: Feed,
    pub(crate) repeats: Repeats,
    pub(crate) sessions: Sessions,
    pub(crate) is_encrypted: bool,
    /// A plan is a look at the whole lake: one at a time.
    pub(crate) planning: tokio::sync::Mutex<()>,
    requests: Mutex<Pace<IpAddr>>,
    wrong_tokens: Mutex<Pace<IpAddr>>,
}

/// Answers until it is dropped.
pub struct Site {
    accepting: JoinHandle<()>,
    url: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CannotListen {
    #[error("the server cannot listen on `{0}`: {1}")]
    At(SocketAddr, #[source] io::Error),
    #[error("`{0}` has no certificate and key that fit: {1}")]
    Tls(String, String),
}

impl Site {
    /// `None`: the config wants none.
    pub async fn begin(rule: &ServerRule, desk: Arc<dyn Desk>) -> Result<Option<Site>, CannotListen> {
        let Some(listener) = bind(rule.listen).await? else { return Ok(None) };
        let tls = rule.tls.as_ref().map(acceptor).transpose()?;
        let address = listener.local_addr().map_err(|error| CannotListen::At(ServerRule::USUAL, error))?;
        let url = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
        let shared = Arc::new(Shared {
            feed: Feed::begin(desk.clone()),
            desk,
            hosts: rule.hosts.clone(),
            reads_need_a_token: rule.reads_need_a_token,
            repeats: Repeats::default(),
            sessions: Sessions::default(),
            is_encrypted: tls.is_some(),
            planning: tokio::sync::Mutex::default(),
            requests: Mutex::new(Pace::of(REQUESTS)),
            wrong_tokens: Mutex::new(Pace::of(WRONG_TOKENS)),
        });
        Ok(Some(Site { accepting: tokio::spawn(accept(listener, tls, router(shared))), url }))
    }

    /// `http://127.0.0.1:7780`
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn bind(listen: Listen) -> Result<Option<TcpListener>, CannotListen> {
    let (address, or_another) = match listen {
        Listen::Off => return Ok(None),
        Listen::At(address) => (address, false),
        Listen::Usually(address) => (address, true),
    };
    match TcpListener::bind(address).await {
        // Another engine of this machine, most likely.
        Err(error) if or_another && error.kind() == io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::new(address.ip(), 0)).await.map(Some).map_err(|error| CannotListen::At(address, error))
        }
        bound => bound.map(Some).map_err(|error| CannotListen::At(address, error)),
    }
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, CannotListen> {
    let told = |path: &Path, error: &dyn std::fmt::Display| CannotListen::Tls(path.display().to_string(), error.to_string());
    let certificates = CertificateDer::pem_file_iter(&files.certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let certificates = certificates.map_err(|error| told(&files.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| told(&files.key, &error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
    let mut config = config.map_err(|error| told(&files.certificate, &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Everything that is in the document.
pub(crate) fn api() -> Api {
    let api = reads::routes(Api::new());
    let api = acts::routes(api);
    older::routes(api)
}

fn router(shared: Arc<Shared>) -> Router {
    let api = api();
    let document: bytes::Bytes = serde_json::to_vec(&api.document.finished()).unwrap_or_default().into();
    let served = axum::routing::get(move || {
        let document = document.clone();
        async move { ([(http::header::CONTENT_TYPE, "application/json")], document) }
    });
    let other_method =
        || async { Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this is not done here by that method").allowing("GET, HEAD, POST") };
    pages::routes(api.router)
        .route("/v1/openapi.json", served)
        .fallback(pages::nothing)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(shared.clone(), guarded))
        .with_state(shared)
}

/// Where a request came from.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

async fn guarded(State(site): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let admitted = admit(&site, &request);
    let mut response = match admitted {
        Err(problem) => problem.into_response(),
        Ok(who) => {
            request.extensions_mut().insert(who);
            let answered = timeout(ANSWER_WITHIN, next.run(request)).await;
            answered.unwrap_or_else(|_| {
                let detail = format!("no answer within {} s", ANSWER_WITHIN.as_secs());
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(Duration::from_secs(10)).into_response()
            })
        }
    };
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// No script but our own, nothing of anybody else's, and nobody may show us within his page.
const ALWAYS: [(HeaderName, &str); 5] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

fn admit(site: &Shared, request: &Request) -> Result<access::Who, Problem> {
    let now = site.desk.now();
    let from = request.extensions().get::<Peer>().copied();
    let peer = from.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    let too_often = |wait| Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many requests from this address").after(wait);
    held(&site.requests).take(peer, now).map_err(too_often)?;
    access::is_asked_by_our_name(request.headers(), request.uri(), &site.hosts)?;
    access::comes_from_here(request.method(), request.headers())?;
    let shows_one = request.headers().contains_key(http::header::AUTHORIZATION);
    if shows_one {
        site.may_show_a_token(from)?;
    }
    // Who is logged in looks as who he is. To act by a cookie, a form has to say its word (`pages`).
    if !shows_one
        && request.method().is_safe()
        && let Some(session) = site.sessions.of(request.headers(), &*site.desk)
    {
        return Ok(session.who);
    }
    access::who(request.headers(), &*site.desk, now).inspect_err(|_| {
        site.was_wrong(from);
    })
}

impl Shared {
    /// Refused to an address that has shown too many wrong ones.
    pub(crate) fn may_show_a_token(&self, peer: Option<Peer>) -> Result<(), Problem> {
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
        let too_wrong = |wait| Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens from this address").after(wait);
        held(&self.wrong_tokens).would_take(&peer, self.desk.now()).map_err(too_wrong)
    }

    pub(crate) fn was_wrong(&self, peer: Option<Peer>) {
        let peer = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
        let _ = held(&self.wrong_tokens).take(peer, self.desk.now());
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // They end with the site: what answers them must not outlive the engine.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (tls, router) = (tls.clone(), router.clone());
                connections.spawn(async move {
                    let _place = place;
                    welcome(stream, peer.ip(), tls, router).await;
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others must end first.
                tracing::warn!(%error, "the server could not take a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn welcome(stream: TcpStream, peer: IpAddr, tls: Option<TlsAcceptor>, router: Router) {
    // An answer is written at once, and an event is worth a packet.
    let _ = stream.set_nodelay(true);
    match tls {
        None => serve(stream, peer, router).await,
        Some(tls) => match timeout(HEAD_WITHIN, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, peer, router).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake with the server failed"),
            Err(_) => tracing::debug!("a TLS handshake with the server took too long"),
        },
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: IpAddr, router: Router) {
    let answer = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream, TAKEN_WITHIN)), answer);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the server ended early");
    }
}
