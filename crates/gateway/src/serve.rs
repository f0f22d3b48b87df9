//! One request: who sends it, where it goes, its permit, and its answer on the way back.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::sync::Arc;

use adce_core::ids::AttemptId;
use adce_core::limits::retry_after;
use adce_core::permit::HeldPermit;
use adce_core::ports::{Answer, Clock, PermitRefused, Permits};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, DATE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use url::Url;

use crate::door::{Door, Link};
use crate::headers::{keep_location_inside, remove_expectation, remove_hop_by_hop};
use crate::target;
use crate::upstream::{Connection, Passing, Upstream};

const CONNECTIONS_TRIED: usize = 3;

pub(crate) type Outgoing = Either<Passing, Full<Bytes>>;

pub(crate) struct Forwarder {
    pub(crate) port: u16,
    pub(crate) upstreams: BTreeMap<String, Arc<Upstream>>,
    pub(crate) permits: Arc<dyn Permits>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) door: Arc<Door>,
}

/// A request that goes no further, and what its sender is told.
struct Refusal(StatusCode, String);

/// A request whose sender and destination are known.
struct Passage {
    attempt: AttemptId,
    upstream: Arc<Upstream>,
    path_and_query: String,
    /// The gateway's URL of the base.
    door: String,
}

impl Forwarder {
    pub(crate) async fn serve(&self, request: Request<Incoming>, link: &Link) -> Result<Response<Outgoing>, Infallible> {
        let answered = match self.passage(&request, link) {
            Ok(passage) => self.forward(request, &passage).await,
            Err(refusal) => Err(refusal),
        };
        Ok(answered.unwrap_or_else(Refusal::told))
    }

    fn passage(&self, request: &Request<Incoming>, link: &Link) -> Result<Passage, Refusal> {
        if request.method() == Method::CONNECT {
            let why = "this is no proxy, so CONNECT is refused; send requests to $ADCE_GATEWAY/<source>/…";
            return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, why.into()));
        }
        let bad = |why: &str| Refusal(StatusCode::BAD_REQUEST, why.into());
        if request.uri().authority().is_some() {
            return Err(bad("this is no proxy, so absolute URLs are refused; send requests to $ADCE_GATEWAY/<source>/…"));
        }
        let target = target::read(request.uri()).ok_or_else(|| bad("a path is needed: /<attempt token>/<source>/…"))?;
        let attempt = link.enter(target.token).ok_or_else(|| {
            let why = "the path does not begin with the token of a running attempt; use $ADCE_GATEWAY as it stands in the environment";
            Refusal(StatusCode::FORBIDDEN, why.into())
        })?;
        let upstream = self.upstreams.get(&target.source_name()).cloned().ok_or_else(|| self.no_such_source(&target.source_name()))?;
        if target.climbs() {
            return Err(bad("a path with `..` could leave the source's base URL; send the path that is meant"));
        }
        Ok(Passage {
            attempt,
            path_and_query: target.below(upstream.base_path()),
            door: format!("http://127.0.0.1:{}/{}/{}", self.port, target.token, target.source),
            upstream,
        })
    }

    fn no_such_source(&self, name: &str) -> Refusal {
        let known: Vec<String> = self.upstreams.keys().map(|known| format!("`{known}`")).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        Refusal(StatusCode::NOT_FOUND, format!("`{name}` is no source with a base URL; declared are: {known}"))
    }

    async fn forward(&self, request: Request<Incoming>, passage: &Passage) -> Result<Response<Outgoing>, Refusal> {
        let request = addressed(request, passage)?;
        let asked = asked(passage);
        let permit = self.permit(passage).await?;
        let (answer, connection) = self.send(request, passage, permit).await?;
        let (mut head, body) = answer.into_parts();
        remove_hop_by_hop(&mut head.headers);
        keep_location_inside(&mut head.headers, &asked, &passage.upstream.base_url, &passage.door);
        Ok(Response::from_parts(head, Either::Left(Passing::new(body, connection, passage.upstream.clone()))))
    }

    async fn permit(&self, passage: &Passage) -> Result<HeldPermit, Refusal> {
        match self.permits.acquire(passage.attempt, &passage.upstream.name).await {
            Ok(permit) => Ok(HeldPermit::new(permit, self.permits.clone(), self.clock.clone(), passage.upstream.linger)),
            Err(why @ PermitRefused::NoSuchAttempt(_)) => Err(Refusal(StatusCode::FORBIDDEN, why.to_string())),
            Err(why @ PermitRefused::NoSuchSource(_)) => Err(Refusal(StatusCode::NOT_FOUND, why.to_string())),
            Err(why) => Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, why.to_string())),
        }
    }

    /// Returns with the head of the answer. Dropped on the way, it closes the connection, then settles the permit.
    async fn send(
        &self,
        mut request: Request<Incoming>,
        passage: &Passage,
        mut permit: HeldPermit,
    ) -> Result<(Response<Incoming>, Connection), Refusal> {
        let mut connection = passage.upstream.connection().await.map_err(|why| self.no_answer(passage, &why))?;
        for _ in 0..CONNECTIONS_TRIED {
            permit.sending();
            let mut failed = match connection.sender.try_send_request(request).await {
                Ok(answer) => {
                    permit.answered();
                    self.note(passage, status(answer.status(), answer.headers()));
                    return Ok((answer, connection));
                }
                Err(failed) => failed,
            };
            let Some(untouched) = failed.take_message() else {
                drop(connection);
                permit.closed();
                return Err(self.no_answer(passage, &io::Error::other(failed.into_error())));
            };
            // The upstream had closed this idle connection; the request comes back before a byte of it was written.
            request = untouched;
            connection = match passage.upstream.connect().await {
                Ok(fresh) => fresh,
                Err(why) => {
                    permit.unsent();
                    return Err(self.no_answer(passage, &why));
                }
            };
        }
        permit.unsent();
        Err(self.no_answer(passage, &io::Error::other("it closes every connection before a request")))
    }

    fn no_answer(&self, passage: &Passage, why: &io::Error) -> Refusal {
        self.note(passage, Answer::NoAnswer);
        let upstream = &passage.upstream;
        Refusal(StatusCode::BAD_GATEWAY, format!("`{}` ({}) gave no answer: {}", upstream.name, upstream.base_url, in_words(why)))
    }

    fn note(&self, passage: &Passage, answer: Answer) {
        self.permits.answered(passage.attempt, &passage.upstream.name, answer);
    }
}

/// The same request, for the upstream.
fn addressed(mut request: Request<Incoming>, passage: &Passage) -> Result<Request<Incoming>, Refusal> {
    let uri: Uri = passage
        .path_and_query
        .parse()
        .map_err(|why| Refusal(StatusCode::BAD_REQUEST, format!("`{}` is no path: {why}", passage.path_and_query)))?;
    *request.uri_mut() = uri;
    *request.version_mut() = http::Version::HTTP_11;
    remove_hop_by_hop(request.headers_mut());
    remove_expectation(request.headers_mut());
    request.headers_mut().insert(HOST, passage.upstream.authority.clone());
    Ok(request)
}

/// The URL that is asked for upstream.
fn asked(passage: &Passage) -> Url {
    let (path, query) =
        passage.path_and_query.split_once('?').map_or((passage.path_and_query.as_str(), None), |(path, query)| (path, Some(query)));
    let mut asked = passage.upstream.base_url.clone();
    asked.set_path(path);
    asked.set_query(query);
    asked
}

fn status(status: StatusCode, headers: &HeaderMap) -> Answer {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = text(RETRY_AFTER).and_then(|value| retry_after::read(value, text(DATE)));
    Answer::Status { code: status.as_u16(), retry_after }
}

/// The innermost cause says what happened.
fn in_words(why: &io::Error) -> String {
    let mut cause: &dyn Error = why;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl Refusal {
    fn told(self) -> Response<Outgoing> {
        let Refusal(status, why) = self;
        let mut answer = Response::new(Either::Right(Full::from(format!("adce gateway: {why}\n"))));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        answer
    }
}
