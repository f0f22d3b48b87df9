//! One request: who sends it, where it goes, its permit, and its answer on the way back.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::AttemptId;
use adce_core::kept::KeptAnswers;
use adce_core::limits::heard;
use adce_core::permit::HeldPermit;
use adce_core::ports::{Answer, Clock, PermitRefused, Permits};
use adce_core::spec::Cache;
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
use crate::inquiry::{Inquiry, Stored};
use crate::meter::{Meters, Upload};
use crate::origin::{Origin, route_to};
use crate::pool::{Connection, Fate, NotAnswered, Passing, Pool, Sending, Wants, in_words};
use crate::reach::Reach;
use crate::wire::{Wire, when_clear};
use crate::{Route, SourceMeters, credentials, target, tunnel};

const CONNECTIONS_TRIED: usize = 3;
/// Each time the source's own pause has passed, or a growing one of ours: more than these are news that the client must hear.
const ABSORBED_AT_MOST: usize = 4;
/// Who goes away sooner may have had reasons of its own.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// Of the gateway's own 429: when there will be room depends on what everybody else asks meanwhile.
const OWN_RETRY_AFTER_S: &str = "10";

pub(crate) type Outgoing = Either<Passing, Either<Stored, Full<Bytes>>>;

pub(crate) struct Forwarder {
    pub(crate) port: u16,
    pub(crate) routes: Vec<Route>,
    /// Whether hosts of no source are refused.
    pub(crate) strict: bool,
    /// `host:port` of the lake.
    pub(crate) lake: Option<String>,
    /// Hosts and domains that commands may ask without the gateway, if they can.
    pub(crate) around: Vec<String>,
    pub(crate) authority: Option<Arc<Authority>>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) permits: Arc<dyn Permits>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) door: Arc<Door>,
    pub(crate) sources: Arc<SourceMeters>,
    pub(crate) kept: Option<Arc<dyn KeptAnswers>>,
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
    meters: Meters,
    path_and_query: String,
    /// For those who came by a base URL.
    base: Option<Base>,
}

struct Source {
    name: String,
    linger: Duration,
    absorb: bool,
    cache: Cache,
}

impl Source {
    fn of(route: &Route) -> Self {
        Source { name: route.name.clone(), linger: route.linger, absorb: route.absorb, cache: route.cache }
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
        let meters = self.meters(attempt, source.as_ref().map(|source| source.name.as_str()));
        Ok(Passage { attempt, origin, source, reach, meters, path_and_query, base: None })
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
        if self.is_around(&origin.host.to_string()) {
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

    /// As clients read `NO_PROXY`.
    fn is_around(&self, host: &str) -> bool {
        let is_in =
            |domain: &String| host.strip_suffix(domain.trim_start_matches('.')).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        self.around.iter().any(is_in)
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
            meters: self.meters(attempt, Some(&route.name)),
            path_and_query: target.below(base.path().trim_end_matches('/')),
            base: Some(Base { url: base.clone(), door: format!("http://127.0.0.1:{}/{}/{}", self.port, target.token, target.source) }),
        })
    }

    pub(crate) fn meters(&self, attempt: AttemptId, source: Option<&str>) -> Meters {
        let (source, pace) = source.and_then(|source| self.sources.get(source).cloned()).unzip();
        Meters { attempt: self.door.meter(attempt), source, pace: pace.flatten() }
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
        let wants = if upgrade.is_some() { Wants::Older } else { Wants::Any };
        let mut inquiry = self.inquiry(&request, passage, wants).await;
        let plain = inquiry.as_ref().and_then(|inquiry| inquiry.ask_for_news(&mut request));
        let (mut answer, mut connection) = self.exchange(request, passage, until, wants).await?;
        if let (Some(inquiry), Some(plain), StatusCode::NOT_MODIFIED) = (&mut inquiry, plain, answer.status()) {
            let (head, body) = answer.into_parts();
            drop(self.passing(body, connection, passage));
            if let Some(again) = inquiry.holds(&head.headers) {
                return Ok(inside(again, passage).map(|stored| Either::Right(Either::Left(stored))));
            }
            // It speaks of an answer that nobody here has.
            self.count(passage.attempt)?;
            (answer, connection) = self.exchange(plain, passage, until, wants).await?;
        }
        if let Some(upgrade) = upgrade.filter(|_| answer.status() == StatusCode::SWITCHING_PROTOCOLS) {
            return Ok(tunnel::switched(answer, connection, upgrade, link.clone(), passage.meters.clone()));
        }
        let keeper = inquiry.and_then(|inquiry| inquiry.keeper(&answer));
        one_framing(answer.headers_mut());
        remove_hop_by_hop(answer.headers_mut());
        let (head, body) = inside(answer, passage).into_parts();
        let mut passing = self.passing(body, connection, passage);
        passing.keeper = keeper;
        Ok(Response::from_parts(head, Either::Left(passing)))
    }

    fn passing(&self, body: Incoming, connection: Connection, passage: &Passage) -> Passing {
        Passing::new(body, connection, self.pool.clone(), passage.origin.clone(), passage.attempt, passage.meters.clone())
    }

    /// Of a request whose answer may be kept.
    async fn inquiry(&self, request: &Request<Sending>, passage: &Passage, wants: Wants) -> Option<Inquiry> {
        let has_cache = passage.source.as_ref().is_some_and(|source| source.cache.validators) && wants == Wants::Any;
        let kept = self.kept.as_ref().filter(|_| has_cache)?;
        Inquiry::about(kept, request, &passage.origin).await
    }

    async fn exchange(
        &self,
        request: Request<Sending>,
        passage: &Passage,
        until: Option<Instant>,
        wants: Wants,
    ) -> Result<(Response<Incoming>, Connection), Refusal> {
        match &passage.source {
            None => self.send(request, passage, None, until, wants).await,
            Some(source) => self.ask(request, passage, source, until, wants).await,
        }
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
        wants: Wants,
    ) -> Result<(Response<Incoming>, Connection), Refusal> {
        let is_repeatable = matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_end_stream();
        let again = (source.absorb && is_repeatable).then(|| repeated(&request));
        let mut request = request;
        // What stands behind the path may be a secret.
        let path = passage.path_and_query.split('?').next().unwrap_or_default();
        tracing::debug!(attempt = %passage.attempt, source = source.name, path, "a request waits for its permit");
        for _ in 0..ABSORBED_AT_MOST {
            let permit = self.permit(passage.attempt, &source.name, source.linger, until).await?;
            let (answer, connection) = self.send(request, passage, Some(permit), until, wants).await?;
            let wants_later = matches!(answer.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            match again.as_ref().filter(|_| wants_later) {
                None => return Ok((answer, connection)),
                // The limits have heard of it; the next permit comes when they allow.
                Some(again) => {
                    self.count(passage.attempt)?;
                    passage.meters.sent_again();
                    request = repeated(again);
                }
            }
        }
        let permit = self.permit(passage.attempt, &source.name, source.linger, until).await?;
        self.send(request, passage, Some(permit), until, wants).await
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

    /// Returns with the head of the answer. Dropped on the way, it gives the request up, then settles the permit.
    async fn send(
        &self,
        mut request: Request<Sending>,
        passage: &Passage,
        permit: Option<HeldPermit>,
        until: Option<Instant>,
        wants: Wants,
    ) -> Result<(Response<Incoming>, Connection), Refusal> {
        let (origin, reach) = (&passage.origin, passage.reach);
        // Declared before the connection, so dropped after it.
        let mut sent = OnItsWay { permit, wire: None };
        let mut connection =
            self.pool.connection(origin, reach, wants).await.map_err(|why| self.no_answer(passage, unreached(&why), &why))?;
        for _ in 0..CONNECTIONS_TRIED {
            sent.leaves_by(&connection);
            let waits = Unanswered { forwarder: self, passage, since: self.clock.now().boot };
            let answered = connection.send(request).await;
            waits.ends();
            let NotAnswered { why, fate } = match answered {
                Ok(answer) => {
                    let is_free = answer.status() == StatusCode::NOT_MODIFIED
                        && passage.source.as_ref().is_some_and(|source| source.cache.not_modified_is_free);
                    // What upstream does not count is as if it had not been sent.
                    let settled = if is_free { HeldPermit::unsent } else { HeldPermit::answered };
                    sent.permit.take().into_iter().for_each(settled);
                    self.note(passage, heard(answer.status(), answer.headers(), self.clock.now().wall));
                    return Ok((answer, connection));
                }
                Err(failed) => failed,
            };
            request = match fate {
                Fate::Untouched(request) => *request,
                // It has arrived, so what goes by the older protocol is another request.
                Fate::Older(request) => {
                    drop(connection);
                    drop(sent);
                    self.count(passage.attempt)?;
                    let permit = match &passage.source {
                        Some(source) => Some(self.permit(passage.attempt, &source.name, source.linger, until).await?),
                        None => None,
                    };
                    sent = OnItsWay { permit, wire: None };
                    *request
                }
                Fate::Refused => {
                    sent.permit.take().into_iter().for_each(HeldPermit::unsent);
                    return Err(self.no_answer(passage, Answer::NoAnswer, &io::Error::other(why)));
                }
                Fate::Unknown => {
                    drop(connection);
                    drop(sent);
                    return Err(self.no_answer(passage, Answer::NoAnswer, &io::Error::other(why)));
                }
            };
            // The upstream had closed this idle connection, or refuses more requests on it.
            connection = match self.pool.fresh(origin, reach, wants).await {
                Ok(fresh) => fresh,
                Err(why) => {
                    sent.permit.take().into_iter().for_each(HeldPermit::unsent);
                    return Err(self.no_answer(passage, unreached(&why), &why));
                }
            };
        }
        sent.permit.take().into_iter().for_each(HeldPermit::unsent);
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

/// Keeps a client on the gateway who came by a base URL.
fn inside<B>(mut answer: Response<B>, passage: &Passage) -> Response<B> {
    if let Some(base) = &passage.base {
        keep_location_inside(answer.headers_mut(), &base.asked(&passage.path_and_query), &base.url, &base.door);
    }
    answer
}

fn asks_too_much(whom: &str, only: &[String]) -> Refusal {
    let only: Vec<String> = only.iter().map(|source| format!("`{source}`")).collect();
    Refusal(StatusCode::FORBIDDEN, format!("this program may ask {} alone (`--source`), and wants to ask {whom}", only.join(", ")))
}

/// The permit of a request that has left, or is about to. Dropped, the request is given up: its connection is closed, or stays open for
/// others, and then nothing of it may still be in our hands when the permit is settled.
struct OnItsWay {
    permit: Option<HeldPermit>,
    wire: Option<Wire>,
}

impl OnItsWay {
    fn leaves_by(&mut self, connection: &Connection) {
        self.permit.iter_mut().for_each(HeldPermit::sending);
        self.wire = connection.wire();
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if let (Some(permit), Some(wire)) = (self.permit.take(), self.wire.take()) {
            when_clear(wire, || drop(permit));
        }
    }
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
        // Without a number it is our own judgement; with one the kernel's, of a way that this machine does not allow.
        io::ErrorKind::PermissionDenied if why.raw_os_error().is_none() => Refusal(StatusCode::FORBIDDEN, why.to_string()),
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
    Ok(request.map(|body| Either::Left(Upload::new(body, passage.meters.clone()))))
}

/// The same request, of one that has no body.
pub(crate) fn repeated(request: &Request<Sending>) -> Request<Sending> {
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
        let mut answer = Response::new(Either::Right(Either::Right(Full::from(format!("adce gateway: {why}\n")))));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_does_not_let_us_reach_is_no_refusal_of_ours() {
        let told = |why: io::Error| unreachable("`espn`", &why);
        let Refusal(ours, _) = told(io::Error::new(io::ErrorKind::PermissionDenied, "it is private"));
        assert_eq!(ours, StatusCode::FORBIDDEN);
        const EACCES: i32 = 13;
        let Refusal(kernels, why) = told(io::Error::from_raw_os_error(EACCES));
        assert_eq!((kernels, &*why), (StatusCode::BAD_GATEWAY, "`espn` gave no answer: Permission denied (os error 13)"));
    }
}
