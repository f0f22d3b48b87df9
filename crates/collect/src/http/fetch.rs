//! One fetch: from a URL to a whole file, an absence, or a failure that says whose fault it is.
//!
//! Each request, redirects too, has a permit of its own. It is settled with the instant of the answer's first byte; when
//! none comes, with the instant at which the connection was closed plus `linger`; and as unsent only where no connection
//! came about (`a_permit_is_unsent_only_if_no_connection_came_about`).
//!
//! A cut, short or stalled body is a failure of the source, and its file is gone. What ends with the connection alone
//! (HTTP/1.0 without a length) cannot be told from a cut one; `valid` and `min_size` are for that.

use std::error::Error;
use std::future::Future;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_core::gap::{Failure, Fault};
use adce_core::ids::AttemptId;
use adce_core::kept::{Keeping, KeptAnswer, KeptAnswers};
use adce_core::pacing::Pace;
use adce_core::permit::HeldPermit;
use adce_core::ports::{Answer, Clock, PermitRefused, Permits, Stop};
use adce_core::spec::Compression;
use adce_core::time::Boottime;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, Response};
use url::Url;

use crate::http::answer::{self, Meaning, excerpt, meaning, pause_s, redirect, same_place};
use crate::http::inquiry::{Held, Inquiry};
use crate::http::landing::Landing;
use crate::http::{READ_IDLE, Upstream};

const REDIRECTS: usize = 5;
const EXCERPT_BYTES: usize = 4 << 10;

/// What all fetches of one attempt share.
pub(crate) struct Fetch<'a> {
    pub(crate) client: &'a Client,
    pub(crate) permits: &'a Arc<dyn Permits>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) upstream: &'a Upstream,
    /// Where its answers lie, if they are kept.
    pub(crate) kept: Option<&'a dyn KeptAnswers>,
    /// What bodies wait for; `None`: they pass as they come.
    pub(crate) pace: Option<Pace>,
    pub(crate) attempt: AttemptId,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) compress: Option<Compression>,
    /// For one fetch, without what it waits for permits.
    pub(crate) timeout: Duration,
    pub(crate) stop: &'a Stop,
}

/// How a fetch ended.
#[derive(Debug)]
pub(crate) enum Fetched {
    Whole(PathBuf),
    Unchanged,
    Absent,
    Failed(Failure, Onward),
}

/// Whether the other items of the attempt are worth a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Onward {
    GoOn,
    /// The source is down or asked for a pause, or the attempt was stopped.
    GiveUp,
    /// The source is not asked for now: what has not been asked for goes back as it was.
    GiveBack,
}

/// A fetch, and what it took.
pub(crate) struct Tally {
    pub(crate) fetched: Fetched,
    pub(crate) requests: u64,
    /// Of bodies.
    pub(crate) received_bytes: u64,
    /// Of the last answer.
    pub(crate) status: Option<u16>,
}

impl Tally {
    pub(crate) fn begun() -> Self {
        Tally { fetched: Fetched::Absent, requests: 0, received_bytes: 0, status: None }
    }
}

type Step<T> = Result<T, (Failure, Onward)>;

impl Fetch<'_> {
    pub(crate) async fn run(&self, url: Url, to: &Path) -> Tally {
        let mut tally = Tally::begun();
        tally.fetched = match self.follow(url, to, &mut tally).await {
            Ok(fetched) => fetched,
            Err((failure, onward)) => Fetched::Failed(failure, onward),
        };
        tally
    }

    async fn follow(&self, first: Url, to: &Path, tally: &mut Tally) -> Step<Fetched> {
        let mut url = first.clone();
        let mut own_time_left = self.timeout;
        let mut forgotten = false;
        for _ in 0..=REDIRECTS {
            let permit = self.permit().await?;
            // Waiting for permits is not the upstream's slowness.
            let begun = self.clock.now().boot;
            let deadline = begun + own_time_left;
            let mut headers = self.headers_for(&first, &url);
            let inquiry = self.kept.and_then(|kept| Inquiry::about(kept, &url, &mut headers, forgotten));
            let answer = self.send(&url, headers, permit, deadline, tally).await?;
            match meaning(answer.status()) {
                Meaning::Body => {
                    let keeping = inquiry.and_then(|inquiry| inquiry.keep(&answer));
                    return self.land(answer, keeping, &url, to, deadline, tally).await;
                }
                Meaning::Unchanged => match inquiry.and_then(|inquiry| inquiry.holds(answer.headers())) {
                    None => return Ok(Fetched::Unchanged),
                    Some(Held::Kept(kept)) => return self.land_again(kept, to),
                    // It speaks of an answer that nobody here has, and is asked once more for the whole.
                    Some(Held::Another) => {
                        forgotten = true;
                        own_time_left = own_time_left.saturating_sub(self.clock.now().boot.since(begun));
                    }
                },
                Meaning::Absent => return self.absent(answer, deadline, tally).await,
                Meaning::Redirect => {
                    url = redirect(&url, answer.headers(), self.upstream).map_err(|failure| (failure, Onward::GoOn))?;
                    own_time_left = own_time_left.saturating_sub(self.clock.now().boot.since(begun));
                }
                Meaning::Refused(fault) => return Err(self.refused(answer, &url, fault, deadline, tally).await),
            }
        }
        Err(go_on(Fault::Item, format!("{first} redirects more than {REDIRECTS} times")))
    }

    async fn permit(&self) -> Step<HeldPermit> {
        let acquired = tokio::select! {
            biased;
            () = self.stop.stopped() => return Err(stopped()),
            acquired = self.permits.acquire(self.attempt, &self.upstream.name) => acquired,
        };
        match acquired {
            Ok(permit) => Ok(HeldPermit::new(permit, self.permits.clone(), self.clock.clone(), self.upstream.linger)),
            Err(PermitRefused::Shut(why)) => {
                let failure = Failure { fault: Fault::Stopped, message: format!("given back: {why}"), retry_after_s: None };
                Err((failure, Onward::GiveBack))
            }
            Err(PermitRefused::Stopping | PermitRefused::NoSuchAttempt(_)) => Err(stopped()),
            Err(refused @ PermitRefused::NoSuchSource(_)) => Err(give_up(Fault::Item, refused.to_string())),
            Err(refused @ PermitRefused::NotRecorded(_)) => Err(give_up(Fault::Later, refused.to_string())),
        }
    }

    /// Returns with the head of the answer.
    async fn send(&self, url: &Url, headers: HeaderMap, mut permit: HeldPermit, deadline: Boottime, tally: &mut Tally) -> Step<Response> {
        let request = self.client.get(url.clone()).headers(headers);
        permit.sending();
        tally.requests += 1;
        // The futures that lose are dropped, and with them the connection, before the permit is settled.
        match self.within(deadline, request.send()).await {
            Ok(Ok(answer)) => {
                // What upstream does not count is as if it had not been sent.
                let is_free = self.upstream.cache.not_modified_is_free && answer.status() == StatusCode::NOT_MODIFIED;
                if is_free {
                    permit.unsent()
                } else {
                    permit.answered()
                }
                tally.status = Some(answer.status().as_u16());
                self.answered(answer::answer(answer.status(), answer.headers(), self.clock.now().wall));
                Ok(answer)
            }
            Ok(Err(why)) => {
                // A connection that nobody accepts in time is a request that hangs.
                let answer = if why.is_connect() && !why.is_timeout() { Answer::NotReached } else { Answer::NoAnswer };
                if why.is_connect() {
                    tally.requests -= 1;
                    permit.unsent();
                } else {
                    permit.closed();
                }
                self.answered(answer);
                Err(give_up(Fault::Source, format!("{url} gave no answer: {}", in_words(why))))
            }
            Err(Interrupted::Stopped) => Err(stopped()),
            Err(Interrupted::Timeout) => {
                permit.closed();
                self.answered(Answer::NoAnswer);
                Err(give_up(Fault::Source, format!("{url} gave no answer within {} s", self.timeout.as_secs())))
            }
        }
    }

    /// What is secret stays with the host that it was meant for.
    fn headers_for(&self, first: &Url, url: &Url) -> HeaderMap {
        let mut headers = self.headers.clone();
        if !same_place(first, url) {
            let kept = headers
                .iter()
                .filter(|(name, value)| !value.is_sensitive() && ![AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name));
            headers = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        // What was sent is what is kept, so nothing is packed for the way unless somebody asked for it.
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
        headers
    }

    async fn land(
        &self,
        mut answer: Response,
        mut keeping: Option<Box<dyn Keeping>>,
        url: &Url,
        to: &Path,
        mut deadline: Boottime,
        tally: &mut Tally,
    ) -> Step<Fetched> {
        let mut landing = Landing::at(to, self.compress);
        while let Some(chunk) = self.chunk(&mut answer, url, deadline).await? {
            tally.received_bytes += chunk.len() as u64;
            // Who waits his turn is not the upstream's slowness either.
            deadline = deadline + self.paced(chunk.len()).await?;
            landing.push(&chunk).map_err(|why| not_written(to, &why))?;
            keeping = keeping.and_then(|mut keeping| keeping.push(&chunk).then_some(keeping));
        }
        landing.finish().map_err(|why| not_written(to, &why))?;
        keeping.into_iter().for_each(Keeping::whole);
        Ok(Fetched::Whole(to.to_owned()))
    }

    /// What is kept is what upstream has now.
    fn land_again(&self, kept: KeptAnswer, to: &Path) -> Step<Fetched> {
        let mut landing = Landing::at(to, self.compress);
        let mut body = kept.body.take(kept.bytes);
        let mut piece = vec![0; 64 << 10];
        let mut landed = 0;
        loop {
            let read = body.read(&mut piece).map_err(|why| not_written(to, &why))?;
            if read == 0 {
                break;
            }
            landed += read as u64;
            landing.push(&piece[..read]).map_err(|why| not_written(to, &why))?;
        }
        if landed < kept.bytes {
            return Err(give_up(Fault::Later, "an answer that was kept was damaged while it was read".into()));
        }
        landing.finish().map_err(|why| not_written(to, &why))?;
        Ok(Fetched::Whole(to.to_owned()))
    }

    async fn chunk(&self, answer: &mut Response, url: &Url, deadline: Boottime) -> Step<Option<bytes::Bytes>> {
        let idle = self.clock.now().boot + READ_IDLE;
        match self.within(deadline.min(idle), answer.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(why)) => Err(go_on(Fault::Source, format!("{url} broke off in the middle of its body: {}", in_words(why)))),
            Err(Interrupted::Stopped) => Err(stopped()),
            Err(Interrupted::Timeout) if idle <= deadline => {
                Err(go_on(Fault::Source, format!("{url} hangs in the middle of its body: nothing came for {} s", READ_IDLE.as_secs())))
            }
            Err(Interrupted::Timeout) => {
                Err(go_on(Fault::Item, format!("{url} was not there in whole after {} s, its `timeout`", self.timeout.as_secs())))
            }
        }
    }

    /// Waits until so many bytes may have come; returned: for how long.
    async fn paced(&self, bytes: usize) -> Step<Duration> {
        let Some(pace) = &self.pace else { return Ok(Duration::ZERO) };
        let since = self.clock.now().boot;
        tokio::select! {
            biased;
            () = self.stop.stopped() => Err(stopped()),
            () = async { pace.turn().pass(bytes as u64).await } => Ok(self.clock.now().boot.since(since)),
        }
    }

    async fn absent(&self, mut answer: Response, deadline: Boottime, tally: &mut Tally) -> Step<Fetched> {
        tally.received_bytes += self.beginning(&mut answer, deadline).await.len() as u64;
        Ok(Fetched::Absent)
    }

    async fn refused(&self, mut answer: Response, url: &Url, fault: Fault, deadline: Boottime, tally: &mut Tally) -> (Failure, Onward) {
        let status = answer.status();
        let retry_after_s = pause_s(answer.headers(), self.clock.now().wall);
        let body = self.beginning(&mut answer, deadline).await;
        tally.received_bytes += body.len() as u64;
        let message = match excerpt(&body) {
            text if text.is_empty() => format!("{url} answered {status}"),
            text => format!("{url} answered {status}: {text}"),
        };
        let onward = if answer::asks_for_a_pause(status) { Onward::GiveUp } else { Onward::GoOn };
        (Failure { fault, message, retry_after_s }, onward)
    }

    /// The first bytes of a body that is no item. A short one is read to its end, so that its connection can be used again.
    async fn beginning(&self, answer: &mut Response, deadline: Boottime) -> Vec<u8> {
        let patience = deadline.min(self.clock.now().boot + READ_IDLE);
        let mut body = Vec::new();
        while body.len() < EXCERPT_BYTES {
            match self.within(patience, answer.chunk()).await {
                Ok(Ok(Some(chunk))) if self.paced(chunk.len()).await.is_ok() => body.extend_from_slice(&chunk),
                _ => break,
            }
        }
        body
    }

    async fn within<T>(&self, deadline: Boottime, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.stop.stopped() => Err(Interrupted::Stopped),
            () = self.clock.sleep_until(deadline) => Err(Interrupted::Timeout),
        }
    }

    fn answered(&self, answer: Answer) {
        self.permits.answered(self.attempt, &self.upstream.name, answer);
    }
}

enum Interrupted {
    Stopped,
    Timeout,
}

pub(crate) fn stopped() -> (Failure, Onward) {
    give_up(Fault::Stopped, "stopped before its end".into())
}

fn go_on(fault: Fault, message: String) -> (Failure, Onward) {
    (Failure { fault, message, retry_after_s: None }, Onward::GoOn)
}

fn give_up(fault: Fault, message: String) -> (Failure, Onward) {
    (Failure { fault, message, retry_after_s: None }, Onward::GiveUp)
}

/// No space, no rights: this machine's fault.
fn not_written(path: &Path, why: &std::io::Error) -> (Failure, Onward) {
    give_up(Fault::Later, format!("`{}` could not be written: {why}", path.display()))
}

/// The innermost cause says what happened; the layers around it only say that something did.
fn in_words(why: reqwest::Error) -> String {
    let why = why.without_url();
    let mut cause: &dyn Error = &why;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
