//! One request: who sends it, where it goes, its permit, and its answer on the way back.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::AttemptId;
use adce_core::limits::heard;
use adce_core::permit::HeldPermit;
use adce_core::ports::{Answer, Clock, PermitRefused, Permits};
use adce_core::time::{Boottime, Timestamp};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, PROXY_AUTHENTICATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::Body;
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming;
use tokio::time::Instant;
use url::Url;

use crate::authority::Authority;
use crate::door::{Door, Link};
use crate::headers::{Upgrade, keep_location_inside, one_framing, remove_expectation, remove_hop_by_hop};
use crate::origin::{Origin, route_to};
use crate::pool::{Connection, Passing, Pool, Sending, in_words};
use crate::reach::Reach;
use crate::{Route, credentials, target, tunnel};

const CONNECTIONS_TRIED: usize = 3;
/// Each time the source's own pause has passed, or a growing one of ours: more than these are news that the client must hear.
const ABSORBED_AT_MOST: usize = 4;
/// Who goes away sooner may have had reasons of its own.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Of the gateway's own 429: when there will be room depends on what everybody else asks meanwhile.
const OWN_RETRY_AFTER_S: &str = "10";

pub(crate) type Outgoing = Either<Passing, Full<Bytes>>;

pub(crate) struct Forwarder {
    pub(crate) port: u16,
    pub(crate) routes: Vec<Route>,
    /// Whether hosts of no source are refused.
    pub(crate) strict: bool,
    /// `host:port` of the lake.
    pub(crate) lake: Option<String>,
    pub(crate) authority: Option<Arc<Authority>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) permits: Arc<dyn Permits>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) door: Arc<Door>,
}

/// What a connection's requests are about.
#[derive(Clone, Debug)]
pub(crate) enum Via {
    /// Each says itself who sends it, and where it goes.
    Door,
    /// All of them go there for this attempt.
    Tunnel { attempt: AttemptId, origin: Origin },
}

/// A request that goes no further, and what its sender is told.
pub(crate) struct Refusal(pub(crate) StatusCode, pub(crate) String);

/// A request whose sender and destination are known.
struct Passage {
    attempt: AttemptId,
    origin: Origin,
    /// `None`: no source declares the host, and no permit is needed.
    source: Option<Source>,
    reach: Reach,
    path_and_query: String,
    /// For those who came by a base URL.
    base: Option<Base>,
}

struct Source {
    name: String,
    linger: Duration,
    absorb: bool,
}

impl Source {
    fn of(route: &Route) -> Self {
        Source { name: route.name.clone(), linger: route.linger, absorb: route.absorb }
    }
}

/// A base URL, and the gateway's URL for it.
struct Base {
    url: Url,
    door: String,
}

impl Forwarder {
    pub(crate) async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        link: Arc<Link>,
        via: Via,
    ) -> Result<Response<Outgoing>, Infallible> {
        let answered = match (&via, request.method() == Method::CONNECT) {
            (Via::Door, true) => tunnel::open(&self, request, &link).await,
            _ => match self.passage(&request, &link, &via) {
                Ok(passage) => self.forward(request, &passage, &link).await,
                Err(refusal) => Err(refusal),
            },
        };
        Ok(answered.unwrap_or_else(Refusal::told))
    }

    fn passage(&self, request: &Request<Incoming>, link: &Link, via: &Via) -> Result<Passage, Refusal> {
        match (via, request.uri().authority()) {
            (Via::Tunnel { attempt, origin }, named) => {
                if named.is_some() && Origin::of_uri(request.uri()).as_ref() != Some(origin) {
                    let why = format!("this tunnel leads to {origin}, and the request wants to go to {}", request.uri());
                    return Err(Refusal(StatusCode::MISDIRECTED_REQUEST, why));
                }
                self.proxied(*attempt, origin.clone(), request.uri())
            }
            (Via::Door, Some(named)) if !self.is_own(named.as_str()) => {
                let attempt = self.enter_by_credentials(request.headers(), link)?;
                let origin = Origin::of_uri(request.uri())
                    .ok_or_else(|| Refusal(StatusCode::BAD_REQUEST, format!("`{}` is no http or https address", request.uri())))?;
                self.proxied(attempt, origin, request.uri())
            }
            (Via::Door, _) => self.by_base_url(request.uri(), link),
        }
    }

    /// A proxy's own address, as clients name it that send even what is meant for it through it.
    pub(crate) fn is_own(&self, authority: &str) -> bool {
        authority == format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn enter_by_credentials(&self, headers: &HeaderMap, link: &Link) -> Result<AttemptId, Refusal> {
        let token = credentials::token(headers);
        token.as_ref().and_then(|token| link.enter(token)).ok_or_else(|| {
            // Many clients ask without credentials first.
            if token.is_some() {
                let why = "a scraper that outlived its attempt, or somebody who guesses";
                self.pool.complaints.complain("somebody came with the token of no running attempt", link.attempt(), &why);
            }
            let why = "only running attempts may pass; use the proxy as it stands in the environment, with its user and password";
            Refusal(StatusCode::PROXY_AUTHENTICATION_REQUIRED, why.into())
        })
    }

    fn proxied(&self, attempt: AttemptId, origin: Origin, uri: &Uri) -> Result<Passage, Refusal> {
        let source = self.route(&origin).map(Source::of);
        if let Some(source) = &source {
            self.may_ask(attempt, &source.name, &origin)?;
        }
        let reach = match source {
            Some(_) => Reach::Declared,
            None => self.reach_of_undeclared(attempt, &origin)?,
        };
        let path_and_query = uri.path_and_query().map_or("/", |path| path.as_str());
        let path_and_query = if path_and_query.starts_with('/') { path_and_query.to_owned() } else { format!("/{path_and_query}") };
        Ok(Passage { attempt, origin, source, reach, path_and_query, base: None })
    }

    /// A guest may have been admitted to other sources only.
    pub(crate) fn may_ask(&self, attempt: AttemptId, source: &str, origin: &Origin) -> Result<(), Refusal> {
        self.door.may_ask(attempt, Some(source)).map_err(|only| {
            self.permits.uncovered(attempt, &origin.host.to_string(), false);
            asks_too_much(&format!("source `{source}`"), &only)
        })
    }

    pub(crate) fn route(&self, origin: &Origin) -> Option<&Route> {
        route_to(origin, self.routes.iter())
    }

    /// Where a host may be that no source declares; refused if the config says so.
    pub(crate) fn reach_of_undeclared(&self, attempt: AttemptId, origin: &Origin) -> Result<Reach, Refusal> {
        if self.lake.as_ref().is_some_and(|lake| *lake == format!("{}:{}", origin.host, origin.port)) {
            return Ok(Reach::Declared);
        }
        let may_ask = self.door.may_ask(attempt, None);
        self.permits.uncovered(attempt, &origin.host.to_string(), !self.strict && may_ask.is_ok());
        if let Err(only) = may_ask {
            return Err(asks_too_much(&format!("`{}`, which no source declares", origin.host), &only));
        }
        if self.strict {
            let why = format!("no source declares `{}`, and `gateway: {{ strict: true }}` refuses all others", origin.host);
            return Err(Refusal(StatusCode::FORBIDDEN, why));
        }
        Ok(Reach::Public)
    }

    fn by_base_url(&self, uri: &Uri, link: &Link) -> Result<Passage, Refusal> {
        let bad = |why: &str| Refusal(StatusCode::BAD_REQUEST, why.into());
        let target = target::read(uri).ok_or_else(|| bad("a path is needed: /<attempt token>/<source>/…"))?;
        let attempt = link.enter(target.token).ok_or_else(|| {
            let why = "the path does not begin with the token of a running attempt; use $ADCE_GATEWAY as it stands in the environment";
            Refusal(StatusCode::FORBIDDEN, why.into())
        })?;
        let name = target.source_name();
        let route = self.routes.iter().find(|route| route.name == name);
        let (route, base) = route.and_then(|route| Some((route, route.base_url.as_ref()?))).ok_or_else(|| self.no_such_source(&name))?;
        if target.climbs() {
            return Err(bad("a path with `..` could leave the source's base URL; send the path that is meant"));
        }
        let origin = Origin::of_url(base).ok_or_else(|| bad("the source's base URL names no host"))?;
        self.may_ask(attempt, &route.name, &origin)?;
        Ok(Passage {
            attempt,
            origin,
            source: Some(Source::of(route)),
            reach: Reach::Declared,
            path_and_query: target.below(base.path().trim_end_matches('/')),
            base: Some(Base { url: base.clone(), door: format!("http://127.0.0.1:{}/{}/{}", self.port, target.token, target.source) }),
        })
    }

    fn no_such_source(&self, name: &str) -> Refusal {
        let known = self.routes.iter().filter(|route| route.base_url.is_some());
        let known: Vec<String> = known.map(|route| format!("`{}`", route.name)).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        Refusal(StatusCode::NOT_FOUND, format!("`{name}` is no source with a base URL; declared are: {known}"))
    }

    async fn forward(&self, mut request: Request<Incoming>, passage: &Passage, link: &Arc<Link>) -> Result<Response<Outgoing>, Refusal> {
        let until = self.count(passage.attempt)?;
        let upgrade = Upgrade::asked_for(&mut request);
        let mut request = addressed(request, passage)?;
        if let Some(upgrade) = &upgrade {
            upgrade.ask_for(request.headers_mut());
        }
        let (mut answer, connection) = match &passage.source {
            None => self.send(request, passage, None).await?,
            Some(source) => self.ask(request, passage, source, until).await?,
        };
        if let Some(upgrade) = upgrade.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS) {
            return Ok(tunnel::switched(answer, connection, upgrade, link.clone()));
        }
        one_framing(answer.headers_mut());
        remove_hop_by_hop(answer.headers_mut());
        if let Some(base) = &passage.base {
            keep_location_inside(answer.headers_mut(), &base.asked(&passage.path_and_query), &base.url, &base.door);
        }
        let (head, body) = answer.into_parts();
        Ok(Response::from_parts(
            head,
            Either::Left(Passing::new(body, connection, self.pool.clone(), passage.origin.clone(), passage.attempt)),
        ))
    }

    /// One more request of the attempt; until when its client waits.
    pub(crate) fn count(&self, attempt: AttemptId) -> Result<Option<Instant>, Refusal> {
        let patience = self.door.count(attempt).map_err(|most| {
            Refusal(StatusCode::FORBIDDEN, format!("this attempt has sent all it may: its collector has `max_requests: {most}`"))
        })?;
        Ok(patience.map(|patience| Instant::now() + patience))
    }

    /// Asks the source; once more, if it wants to be asked later and the config says that the client need not know.
    async fn ask(
        &self,
        request: Request<Sending>,
        passage: &Passage,
        source: &Source,
        until: Option<Instant>,
    ) -> Result<(Response<Incoming>, Connection), Refusal> {
        let is_repeatable = matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_end_stream();
        let again = (source.absorb && is_repeatable).then(|| repeated(&request));
        let mut request = request;
        for _ in 0..ABSORBED_AT_MOST {
            let permit = self.permit(passage.attempt, &source.name, source.linger, until).await?;
            let (answer, connection) = self.send(request, passage, Some(permit)).await?;
            let wants_later = matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            match again.as_ref().filter(|_| wants_later) {
                None => return Ok((answer, connection)),
                // The limits have heard of it; the next permit comes when they allow.
                Some(again) => {
                    self.count(passage.attempt)?;
                    request = repeated(again);
                }
            }
        }
        let permit = self.permit(passage.attempt, &source.name, source.linger, until).await?;
        self.send(request, passage, Some(permit)).await
    }

    /// Waits until the source may be asked once more, no longer than the client does.
    pub(crate) async fn permit(
        &self,
        attempt: AttemptId,
        source: &str,
        linger: Duration,
        until: Option<Instant>,
    ) -> Result<HeldPermit, Refusal> {
        let acquired = self.permits.acquire(attempt, source);
        let acquired = match until {
            None => acquired.await,
            Some(until) => tokio::time::timeout_at(until, acquired).await.map_err(|_| {
                let why =
                    "not the upstream, but adce's limits keep this request waiting for longer than `client_patience`; ask again later";
                Refusal(StatusCode::TOO_MANY_REQUESTS, why.into())
            })?,
        };
        match acquired {
            Ok(permit) => Ok(HeldPermit::new(permit, self.permits.clone(), self.clock.clone(), linger)),
            Err(why @ PermitRefused::NoSuchAttempt(_)) => Err(Refusal(StatusCode::FORBIDDEN, why.to_string())),
            Err(why @ PermitRefused::NoSuchSource(_)) => Err(Refusal(StatusCode::NOT_FOUND, why.to_string())),
            Err(why) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, why.to_string())),
        }
    }

    /// Returns with the head of the answer. Dropped on the way, it closes the connection, then settles the permit.
    async fn send(
        &self,
        mut request: Request<Sending>,
        passage: &Passage,
        mut permit: Option<HeldPermit>,
    ) -> Result<(Response<Incoming>, Connection), Refusal> {
        let mut connection =
            self.pool.connection(&passage.origin, passage.reach).await.map_err(|why| self.no_answer(passage, unreached(&why), &why))?;
        for _ in 0..CONNECTIONS_TRIED {
            permit.iter_mut().for_each(HeldPermit::sending);
            let waits = Unanswered { forwarder: self, passage, since: self.clock.now().boot };
            let sent = connection.send(request).await;
            waits.ends();
            let mut failed = match sent {
                Ok(answer) => {
                    permit.into_iter().for_each(HeldPermit::answered);
                    self.note(passage, heard(answer.status(), answer.headers(), self.clock.now().wall));
                    return Ok((answer, connection));
                }
                Err(failed) => failed,
            };
            let Some(untouched) = failed.take_message() else {
                drop(connection);
                permit.into_iter().for_each(HeldPermit::closed);
                return Err(self.no_answer(passage, Answer::NoAnswer, &io::Error::other(failed.into_error())));
            };
            // The upstream had closed this idle connection; the request comes back before a byte of it was written.
            request = untouched;
            connection = match self.pool.connect(&passage.origin, passage.reach).await {
                Ok(fresh) => fresh,
                Err(why) => {
                    permit.into_iter().for_each(HeldPermit::unsent);
                    return Err(self.no_answer(passage, unreached(&why), &why));
                }
            };
        }
        permit.into_iter().for_each(HeldPermit::unsent);
        Err(self.no_answer(passage, Answer::NoAnswer, &io::Error::other("it closes every connection before a request")))
    }

    fn no_answer(&self, passage: &Passage, answer: Answer, why: &io::Error) -> Refusal {
        self.note(passage, answer);
        let whom = match (&passage.source, &passage.base) {
            (Some(source), Some(base)) => format!("`{}` ({})", source.name, base.url),
            (Some(source), None) => format!("`{}` ({})", source.name, passage.origin),
            (None, _) => passage.origin.to_string(),
        };
        let refusal = unreachable(&whom, why);
        self.pool.complaints.complain("a request had no answer from its upstream", Some(passage.attempt), &refusal.1);
        refusal
    }

    fn note(&self, passage: &Passage, answer: Answer) {
        if let Some(source) = &passage.source {
            self.permits.answered(passage.attempt, &source.name, answer);
        }
    }
}

fn asks_too_much(whom: &str, only: &[String]) -> Refusal {
    let only: Vec<String> = only.iter().map(|source| format!("`{source}`")).collect();
    Refusal(StatusCode::FORBIDDEN, format!("this program may ask {} alone (`--source`), and wants to ask {whom}", only.join(", ")))
}

/// A request on its way. Who goes away after a while has had no answer, and nobody else would tell: clients give up on
/// an upstream that lets requests hang long before a connection breaks.
struct Unanswered<'a> {
    forwarder: &'a Forwarder,
    passage: &'a Passage,
    since: Boottime,
}

impl Unanswered<'_> {
    fn ends(self) {
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.forwarder.clock.now().boot.since(self.since) >= ANSWERS_WITHIN {
            self.forwarder.note(self.passage, Answer::NoAnswer);
        }
    }
}

/// What a connection that did not come about says of its upstream: one that nobody accepts in time is a request that hangs.
pub(crate) fn unreached(why: &io::Error) -> Answer {
    if why.kind() == io::ErrorKind::TimedOut { Answer::NoAnswer } else { Answer::NotReached }
}

/// What its sender is told of an upstream that gave no answer, or may not be asked.
pub(crate) fn unreachable(whom: &str, why: &io::Error) -> Refusal {
    match why.kind() {
        io::ErrorKind::PermissionDenied => Refusal(StatusCode::FORBIDDEN, why.to_string()),
        _ => Refusal(StatusCode::BAD_GATEWAY, format!("{whom} gave no answer: {}", in_words(why))),
    }
}

/// The same request, for the upstream.
fn addressed(mut request: Request<Incoming>, passage: &Passage) -> Result<Request<Sending>, Refusal> {
    let uri: Uri = passage
        .path_and_query
        .parse()
        .map_err(|why| Refusal(StatusCode::BAD_REQUEST, format!("`{}` is no path: {why}", passage.path_and_query)))?;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_11;
    remove_hop_by_hop(request.headers_mut());
    remove_expectation(request.headers_mut());
    request.headers_mut().insert(HOST, passage.origin.authority());
    Ok(request.map(Either::Left))
}

/// The same request, of one that has no body.
fn repeated(request: &Request<Sending>) -> Request<Sending> {
    let mut again = Request::new(Either::Right(Empty::new()));
    again.method_mut().clone_from(request.method());
    again.uri_mut().clone_from(request.uri());
    again.headers_mut().clone_from(request.headers());
    again
}

impl Base {
    /// The URL that is asked for upstream.
    fn asked(&self, path_and_query: &str) -> Url {
        let (path, query) = path_and_query.split_once('?').map_or((path_and_query, None), |(path, query)| (path, Some(query)));
        let mut asked = self.url.clone();
        asked.set_path(path);
        asked.set_query(query);
        asked
    }
}

fn heard(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Answer {
    let headers = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    heard::read(status.as_u16(), headers, now)
}

impl Refusal {
    pub(crate) fn told(self) -> Response<Outgoing> {
        let Refusal(status, why) = self;
        let mut answer = Response::new(Either::Right(Full::from(format!("adce gateway: {why}\n"))));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            answer.headers_mut().insert(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"adce\""));
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(OWN_RETRY_AFTER_S));
        }
        answer
    }
}
