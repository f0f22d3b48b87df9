//! The engine's side of the control socket: answers people and programs of the same user while the engine works.
//!
//! Whoever can speak to the socket can make the engine act, so it has mode 0600, a peer of another user is turned away
//! (`only_the_same_user_and_root_are_heard`), and nothing that a client sends or fails to send costs the engine more
//! than a bounded line, a bounded time and one of a few places (`tests/control.rs`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use adce_core::access::TokenRecord;
use adce_core::ids::{AttemptId, TaskId};

use crate::ask::{Line, Request, write_line};
use crate::place::Reachable;
use crate::{
    Accepted, Admitted, CancelLine, ConfigInForce, CoverageAsk, CoverageReport, GapLine, GuestReport, LimitsReport, LookBegun, Paused,
    Refusal, RetryLine, Status, Stopping, TaskDetail, TaskLine, TokenLine, Why,
};

/// What an engine knows how to answer. Each call sees one moment of the engine.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    async fn status(&self) -> Result<Status, Refusal>;

    /// Made as they are sent, so that a million gaps are not held twice in memory.
    async fn gaps(&self) -> Result<Box<dyn Iterator<Item = GapLine> + Send>, Refusal>;

    /// Where items stand, counted by what they are of.
    async fn coverage(&self, ask: &CoverageAsk) -> Result<CoverageReport, Refusal>;

    /// In the order in which they would start.
    async fn tasks(&self) -> Result<Box<dyn Iterator<Item = TaskLine> + Send>, Refusal>;

    async fn task(&self, id: TaskId) -> Result<TaskDetail, Refusal>;

    async fn limits(&self) -> Result<LimitsReport, Refusal>;

    async fn why(&self, what: &str) -> Result<Why, Refusal>;

    /// Held surprises; or contested objects: of a key, a task or a dataset.
    async fn accept(&self, what: Option<&str>) -> Result<Accepted, Refusal>;

    /// Lets what waits be tried at once: of a key, a task or a dataset, or everything.
    async fn retry(&self, what: Option<&str>) -> Result<Box<dyn Iterator<Item = RetryLine> + Send>, Refusal>;

    /// Keeps something from starting; `None`: everything.
    async fn pause(&self, what: Option<&str>, because: Option<String>) -> Result<Paused, Refusal>;

    async fn resume(&self, what: Option<&str>, all: bool) -> Result<Paused, Refusal>;

    /// Ends attempts at a key, a task or a dataset, and leaves the items alone for so long.
    async fn cancel(&self, what: &str, span: Duration) -> Result<Box<dyn Iterator<Item = CancelLine> + Send>, Refusal>;

    async fn config(&self) -> Result<ConfigInForce, Refusal>;

    async fn look(&self) -> Result<LookBegun, Refusal>;

    /// It answers on while what runs is finished.
    async fn stop(&self, within: Option<Duration>) -> Result<Stopping, Refusal>;

    /// Every token, without its secret.
    async fn tokens(&self) -> Result<Vec<TokenLine>, Refusal>;

    async fn new_token(&self, token: TokenRecord) -> Result<TokenLine, Refusal>;

    async fn revoke_token(&self, name: &str) -> Result<TokenLine, Refusal>;

    /// Lets a program that a person runs pass the gateway until [`dismiss`](Self::dismiss).
    async fn admit(&self, sources: Option<Vec<String>>) -> Result<Admitted, Refusal>;

    /// It is over; what it asked.
    async fn dismiss(&self, guest: AttemptId) -> Result<GuestReport, Refusal>;
}

/// What clients may cost the engine.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A request is a few words; the longest is a key of 1,024 bytes in JSON.
    pub request_bytes: u64,
    /// Between two requests of a client, and for each piece of an answer to be taken.
    pub patience: Duration,
    pub clients: usize,
    /// Connections that stay because a program passes the gateway for as long as they do.
    pub guests: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { request_bytes: 16 * 1024, patience: Duration::from_secs(30), clients: 32, guests: 64 }
    }
}

/// Answers until it is dropped; then the socket is gone. Drop it before the state's lock is given up: later it might be
/// the socket of the next engine on this state that is removed. An engine on another state has a socket of another name.
pub struct Server {
    accepting: JoinHandle<()>,
    socket: PathBuf,
}

impl Server {
    /// Listens at `socket`, in place of what a dead engine left there.
    ///
    /// The path must belong to one state alone, and only the holder of that state's lock may call this: it is the lock
    /// that says that the other engine is dead.
    pub fn listen(socket: &Path, answers: Arc<dyn Answers>, bounds: Bounds) -> io::Result<Server> {
        let listener = bind(socket)?;
        let accepting = tokio::spawn(accept(listener, answers, bounds));
        Ok(Server { accepting, socket: socket.to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        // A socket that stays is replaced by the next engine.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// The socket gets its mode under a name that nobody asks for, so that it never lies open under its own.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    let mut new = socket.as_os_str().to_owned();
    new.push(format!(".{}", std::process::id()));
    let new = PathBuf::from(new);
    let place = Reachable::new(&new)?;
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(place.path())?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, socket)?;
    Ok(listener)
}

async fn accept(listener: UnixListener, answers: Arc<dyn Answers>, bounds: Bounds) {
    let places = Arc::new(Semaphore::new(bounds.clients));
    let for_guests = Arc::new(Semaphore::new(bounds.guests));
    // Clients end with the server: what answers them must not outlive the engine.
    let mut clients = JoinSet::new();
    loop {
        while clients.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let answers = Arc::clone(&answers);
                let seat = Seat { place: Some(place), for_guests: for_guests.clone(), guest: None };
                clients.spawn(async move {
                    if let Err(error) = serve(client, &*answers, bounds, seat).await {
                        tracing::debug!(%error, "a client of the control socket went away");
                    }
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: others must end first.
                tracing::warn!(%error, "the control socket could not take a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What a connection takes up. One with a guest may stay for days, so it leaves its place among the clients to others.
struct Seat {
    place: Option<OwnedSemaphorePermit>,
    for_guests: Arc<Semaphore>,
    guest: Option<(AttemptId, OwnedSemaphorePermit)>,
}

async fn serve(client: UnixStream, answers: &dyn Answers, bounds: Bounds, mut seat: Seat) -> io::Result<()> {
    let heard = converse(client, answers, bounds, &mut seat).await;
    // However the connection ended: whoever it was for passes no more.
    if let Some((guest, _)) = seat.guest.take() {
        let _ = answers.dismiss(guest).await;
    }
    heard
}

async fn converse(client: UnixStream, answers: &dyn Answers, bounds: Bounds, seat: &mut Seat) -> io::Result<()> {
    let peer = client.peer_cred()?.uid();
    if !may_speak(peer, nix::unistd::geteuid().as_raw()) {
        tracing::warn!(peer, "a process of another user was turned away from the control socket");
        return Ok(());
    }
    let (reading, writing) = client.into_split();
    let mut requests = BufReader::new(reading);
    let mut answer = Answer { client: writing, patience: bounds.patience };
    loop {
        let patience = seat.guest.is_none().then_some(bounds.patience);
        match next_request(&mut requests, bounds.request_bytes, patience).await? {
            Heard::Nothing => return Ok(()),
            Heard::Request(Request::Admit { sources }) => answer.one(seat.admit(sources, answers).await).await?,
            Heard::Request(Request::Dismiss) => answer.one(seat.dismiss(answers).await).await?,
            Heard::Request(request) => answer_one(&request, answers, &mut answer).await?,
            Heard::Nonsense(why) => {
                // After a line that was not understood the next may be its rest.
                return answer.refuse(Refusal::usage(why)).await;
            }
        }
    }
}

/// Root may read and write the state anyway.
fn may_speak(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

enum Heard {
    Request(Request),
    Nonsense(String),
    Nothing,
}

impl Seat {
    async fn admit(&mut self, sources: Option<Vec<String>>, answers: &dyn Answers) -> Result<Admitted, Refusal> {
        if self.guest.is_some() {
            return Err(Refusal::usage("a connection admits one program"));
        }
        let seat = Arc::clone(&self.for_guests).try_acquire_owned();
        let seat = seat.map_err(|_| Refusal::failed("as many programs pass the gateway as may at once; one of them has to end first"))?;
        let admitted = answers.admit(sources).await?;
        self.guest = Some((admitted.guest, seat));
        self.place = None;
        Ok(admitted)
    }

    async fn dismiss(&mut self, answers: &dyn Answers) -> Result<GuestReport, Refusal> {
        let (guest, _) = self.guest.take().ok_or_else(|| Refusal::usage("no program was admitted over this connection"))?;
        answers.dismiss(guest).await
    }
}

/// `patience`: how long it may take. `None`: as long as the connection lasts.
async fn next_request(requests: &mut BufReader<OwnedReadHalf>, most_bytes: u64, patience: Option<Duration>) -> io::Result<Heard> {
    let mut line = Vec::new();
    let mut bounded = requests.take(most_bytes);
    let reading = bounded.read_until(b'\n', &mut line);
    match patience {
        None => reading.await?,
        Some(patience) => match timeout(patience, reading).await {
            Ok(read) => read?,
            Err(_) => return Ok(Heard::Nothing),
        },
    };
    if line.is_empty() {
        return Ok(Heard::Nothing);
    }
    if line.last() != Some(&b'\n') {
        let whole = format!("a request is one line of at most {most_bytes} bytes that ends in a line break");
        return Ok(Heard::Nonsense(whole));
    }
    Ok(match serde_json::from_slice(&line) {
        Ok(request) => Heard::Request(request),
        Err(error) => Heard::Nonsense(format!("not a request: {error}")),
    })
}

async fn answer_one(request: &Request, answers: &dyn Answers, to: &mut Answer) -> io::Result<()> {
    match request {
        Request::Status => to.one(answers.status().await).await,
        Request::Gaps => to.many(answers.gaps().await).await,
        Request::Coverage(ask) => to.one(answers.coverage(ask).await).await,
        Request::Tasks => to.many(answers.tasks().await).await,
        Request::Task { id } => to.one(answers.task(*id).await).await,
        Request::Limits => to.one(answers.limits().await).await,
        Request::Why { what } => to.one(answers.why(what).await).await,
        Request::Accept { key } => to.one(answers.accept(key.as_deref()).await).await,
        Request::Retry { what } => to.many(answers.retry(what.as_deref()).await).await,
        Request::Pause { what, because } => to.one(answers.pause(what.as_deref(), because.clone()).await).await,
        Request::Resume { what, all } => to.one(answers.resume(what.as_deref(), *all).await).await,
        Request::Cancel { what, for_seconds } => match span(*for_seconds) {
            Ok(span) => to.many(answers.cancel(what, span).await).await,
            Err(refusal) => to.refuse(refusal).await,
        },
        Request::Config => to.one(answers.config().await).await,
        Request::Look => to.one(answers.look().await).await,
        Request::Stop { within_seconds } => match within_seconds.map(span).transpose() {
            Ok(within) => to.one(answers.stop(within).await).await,
            Err(refusal) => to.refuse(refusal).await,
        },
        Request::Tokens => to.many(answers.tokens().await.map(Vec::into_iter)).await,
        Request::NewToken(token) => to.one(answers.new_token(token.clone()).await).await,
        Request::RevokeToken { name } => to.one(answers.revoke_token(name).await).await,
        // They belong to the connection, which answers them itself.
        Request::Admit { .. } | Request::Dismiss => Ok(()),
    }
}

fn span(seconds: f64) -> Result<Duration, Refusal> {
    Duration::try_from_secs_f64(seconds).map_err(|error| Refusal::usage(format!("`{seconds}` seconds are no span: {error}")))
}

struct Answer {
    client: OwnedWriteHalf,
    patience: Duration,
}

impl Answer {
    async fn one<T: Serialize>(&mut self, result: Result<T, Refusal>) -> io::Result<()> {
        self.many(result.map(std::iter::once)).await
    }

    async fn many<T: Serialize>(&mut self, results: Result<impl Iterator<Item = T>, Refusal>) -> io::Result<()> {
        let results = match results {
            Ok(results) => results,
            Err(refusal) => return self.refuse(refusal).await,
        };
        let mut piece = Vec::new();
        for result in results {
            piece.extend(write_line(&Line::Is(result)));
            if piece.len() >= PIECE {
                self.write(&piece).await?;
                piece.clear();
            }
        }
        piece.extend(write_line(&Line::<()>::End {}));
        self.write(&piece).await
    }

    async fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.write(&write_line(&Line::<()>::Error(refusal))).await
    }

    /// A client that does not take its answer loses its place.
    async fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        timeout(self.patience, self.client.write_all(piece)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// So much of a long answer is written at once.
const PIECE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_user_and_root_are_heard() {
        assert!(may_speak(1000, 1000));
        assert!(may_speak(0, 1000));
        assert!(!may_speak(1001, 1000));
        assert!(!may_speak(1000, 0));
    }
}
