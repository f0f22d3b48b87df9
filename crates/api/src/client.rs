//! The commands' side of the control socket.
//!
//! It blocks, with a bound on the time: a command asks one thing, prints it and ends.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use adce_core::access::TokenRecord;
use adce_core::ids::TaskId;
use serde::de::DeserializeOwned;

use crate::ask::{Line, Request, read_line};
use crate::place::Reachable;
use crate::{
    Accepted, Admitted, CancelLine, ConfigInForce, CoverageAsk, CoverageReport, GapLine, GuestReport, LimitsReport, LookBegun, Paused,
    Refusal, RetryLine, Status, Stopping, TaskDetail, TaskLine, TokenLine, Why,
};

/// A connection to a running engine.
pub struct Client {
    engine: BufReader<UnixStream>,
}

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The engine understood and said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine ended while it answered, or does not answer at all.
    #[error("the running engine did not answer")]
    CutShort(#[source] io::Error),
    /// Whoever listens there speaks differently: another version of adce.
    #[error("the running engine answers in words that this adce does not know: {0}")]
    NotUnderstood(String),
}

/// An engine that holds its locks for longer than this between two lines is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

impl Client {
    /// `None`: no engine runs (there is no socket, or nobody behind it).
    pub fn connect(socket: &Path) -> io::Result<Option<Client>> {
        let connect = || UnixStream::connect(Reachable::new(socket)?.path());
        match connect() {
            Ok(engine) => {
                engine.set_read_timeout(Some(PATIENCE))?;
                engine.set_write_timeout(Some(PATIENCE))?;
                Ok(Some(Client { engine: BufReader::new(engine) }))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn status(&mut self) -> Result<Status, AskError> {
        self.one(&Request::Status)
    }

    /// Hands over each gap as it arrives.
    pub fn gaps(&mut self, each: impl FnMut(GapLine)) -> Result<(), AskError> {
        self.ask(&Request::Gaps, each)
    }

    pub fn coverage(&mut self, ask: &CoverageAsk) -> Result<CoverageReport, AskError> {
        self.one(&Request::Coverage(ask.clone()))
    }

    /// Hands over each task as it arrives, in the order in which they would start.
    pub fn tasks(&mut self, each: impl FnMut(TaskLine)) -> Result<(), AskError> {
        self.ask(&Request::Tasks, each)
    }

    pub fn task(&mut self, id: TaskId) -> Result<TaskDetail, AskError> {
        self.one(&Request::Task { id })
    }

    pub fn limits(&mut self) -> Result<LimitsReport, AskError> {
        self.one(&Request::Limits)
    }

    pub fn why(&mut self, what: &str) -> Result<Why, AskError> {
        self.one(&Request::Why { what: what.into() })
    }

    /// Held surprises; or contested objects: of a key, a task or a dataset.
    pub fn accept(&mut self, what: Option<&str>) -> Result<Accepted, AskError> {
        self.one(&Request::Accept { key: what.map(Into::into) })
    }

    /// Hands over what came of each gap that is meant and waited for a time of its own.
    pub fn retry(&mut self, what: Option<&str>, each: impl FnMut(RetryLine)) -> Result<(), AskError> {
        self.ask(&Request::Retry { what: what.map(Into::into) }, each)
    }

    pub fn pause(&mut self, what: Option<&str>, because: Option<&str>) -> Result<Paused, AskError> {
        self.one(&Request::Pause { what: what.map(Into::into), because: because.map(Into::into) })
    }

    pub fn resume(&mut self, what: Option<&str>, all: bool) -> Result<Paused, AskError> {
        self.one(&Request::Resume { what: what.map(Into::into), all })
    }

    /// Hands over each gap that is left alone from now on.
    pub fn cancel(&mut self, what: &str, span: Duration, each: impl FnMut(CancelLine)) -> Result<(), AskError> {
        self.ask(&Request::Cancel { what: what.into(), for_seconds: span.as_secs_f64() }, each)
    }

    pub fn config(&mut self) -> Result<ConfigInForce, AskError> {
        self.one(&Request::Config)
    }

    pub fn look(&mut self) -> Result<LookBegun, AskError> {
        self.one(&Request::Look)
    }

    /// `within`: how long what runs may go on; `None`: as the config says.
    pub fn stop(&mut self, within: Option<Duration>) -> Result<Stopping, AskError> {
        self.one(&Request::Stop { within_seconds: within.map(|within| within.as_secs_f64()) })
    }

    /// Hands over each token as it arrives.
    pub fn tokens(&mut self, each: impl FnMut(TokenLine)) -> Result<(), AskError> {
        self.ask(&Request::Tokens, each)
    }

    pub fn new_token(&mut self, token: TokenRecord) -> Result<TokenLine, AskError> {
        self.one(&Request::NewToken(token))
    }

    pub fn revoke_token(&mut self, name: &str) -> Result<TokenLine, AskError> {
        self.one(&Request::RevokeToken { name: name.into() })
    }

    /// Keep this client until the program has ended: with the connection goes its permission to pass.
    pub fn admit(&mut self, sources: Option<Vec<String>>) -> Result<Admitted, AskError> {
        self.one(&Request::Admit { sources })
    }

    /// What the program asked that was admitted by this client.
    pub fn dismiss(mut self) -> Result<GuestReport, AskError> {
        self.one(&Request::Dismiss)
    }

    fn one<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, AskError> {
        let mut answer = None;
        self.ask(request, |line| answer = Some(line))?;
        answer.ok_or_else(|| AskError::NotUnderstood("an answer without a result".into()))
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Request, mut each: impl FnMut(T)) -> Result<(), AskError> {
        let mut text = serde_json::to_vec(request).expect("requests are plain data");
        text.push(b'\n');
        self.engine.get_mut().write_all(&text).map_err(AskError::CutShort)?;
        loop {
            match self.line()? {
                Line::Is(result) => each(result),
                Line::End {} => return Ok(()),
                Line::Error(refusal) => return Err(refusal.into()),
            }
        }
    }

    fn line<T: DeserializeOwned>(&mut self) -> Result<Line<T>, AskError> {
        let mut line = String::new();
        self.engine.read_line(&mut line).map_err(AskError::CutShort)?;
        if !line.ends_with('\n') {
            return Err(AskError::CutShort(io::ErrorKind::UnexpectedEof.into()));
        }
        read_line(&line).map_err(|error| AskError::NotUnderstood(error.to_string()))
    }
}
