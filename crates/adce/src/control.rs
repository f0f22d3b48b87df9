//! The engine's answers: on the control socket, and to the server.
//!
//! Always true: what is done is on record, with who did it and how it was before (`what_is_done_over_http_is_done_and_on_record`).

use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use adce_api::{
    Accepted, Admitted, Answers, Bounds, CancelLine, ConfigInForce, CoverageAsk, CoverageReport, GapLine, GuestReport, LimitsReport,
    LookBegun, PauseLine, Paused, Refusal, RetryLine, Server, Status, Stopping, TaskDetail, TaskLine, TokenLine, Why,
};
use adce_core::access::{AuditRecord, TokenRecord};
use adce_core::coverage::RollupError;
use adce_core::ids::{AttemptId, TaskId};
use adce_core::pause::PauseOf;
use adce_core::ports::{Clock, Store};
use adce_core::record::{AttemptRecord, Change, History};
use adce_core::time::SignedDuration;
use adce_engine::{Aside, Handle, Interrupt, NotAdmitted, Query, Retried};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::json;
use tokio::sync::oneshot;

use crate::clock::MachineClock;
use crate::commands::{accept, retry, token as tokens};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::in_force::InForce;
use crate::notify;
use crate::state_place::StatePlace;
use crate::views;
use crate::wiring::lake_words;

/// Listens beside the state. Drop it before the state is given up.
pub fn serve(answers: EngineAnswers) -> Result<Server, Failure> {
    let socket = StatePlace::of(&answers.in_force.spec()).socket();
    serve_at(&socket, answers)
}

/// Drop it before the state is given up.
pub fn serve_at(socket: &Path, answers: EngineAnswers) -> Result<Server, Failure> {
    Server::listen(socket, Arc::new(answers), Bounds::default())
        .map_err(|error| Failure::new(Exit::Unfinished, format!("the control socket `{}` cannot be made: {error}", socket.display())))
}

/// Nothing starts any more; what still runs after so long is ended.
pub fn drain(handle: Handle, within: Duration) {
    notify::stopping();
    handle.interrupt(Interrupt::Drain);
    tokio::spawn(async move {
        tokio::time::sleep(within).await;
        handle.interrupt(Interrupt::Stop);
    });
}

/// Whoever may speak to the control socket is at a shell of this machine.
const SHELL: &str = "shell";

/// A running engine, asked by somebody.
#[derive(Clone)]
pub struct EngineAnswers {
    pub(crate) in_force: InForce,
    handle: Handle,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) desk: Arc<DeskBook>,
    /// Who asks, as it is on record.
    who: String,
    reason: Option<String>,
}

/// What the engine itself does not know, and all who are asked share.
pub struct DeskBook {
    /// As the state has them.
    pub tokens: RwLock<Arc<Vec<TokenRecord>>>,
    /// Where browsers and programs ask; unset: nowhere.
    pub address: OnceLock<String>,
}

impl EngineAnswers {
    pub async fn of(in_force: InForce, handle: Handle, store: Arc<dyn Store>) -> Result<Self, Failure> {
        let tokens = RwLock::new(Arc::new(store.tokens().await?));
        let desk = Arc::new(DeskBook { tokens, address: OnceLock::new() });
        Ok(EngineAnswers { in_force, handle, store, desk, who: SHELL.into(), reason: None })
    }

    /// The same engine, asked by somebody else.
    pub fn on_behalf_of(&self, who: &str, reason: Option<&str>) -> EngineAnswers {
        EngineAnswers { who: who.to_owned(), reason: reason.map(String::from), ..self.clone() }
    }

    pub(crate) async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Refusal> {
        self.handle.ask(question).await.ok_or_else(|| Refusal::failed("the engine is ending"))
    }

    /// It was done; that it cannot be put on record undoes nothing.
    pub(crate) async fn done(&self, action: &str, what: Option<&str>, before: impl Serialize, after: impl Serialize) {
        let text =
            |value: serde_json::Result<serde_json::Value>| value.ok().filter(|value| !value.is_null()).map(|value| value.to_string());
        let record = AuditRecord {
            seq: 0,
            at: MachineClock.now().wall,
            who: self.who.clone(),
            action: action.to_owned(),
            what: what.unwrap_or_default().to_owned(),
            reason: self.reason.clone(),
            before: text(serde_json::to_value(before)),
            after: text(serde_json::to_value(after)),
        };
        if let Err(error) = self.store.apply(vec![Change::Audit(record)]).await {
            tracing::error!(%error, action, who = self.who, "what was done could not be put on record");
        }
    }

    async fn paused_now(&self) -> Result<Vec<PauseLine>, Refusal> {
        Ok(self.status().await?.paused)
    }
}

impl EngineAnswers {
    /// It holds from when it is on disk.
    async fn put_token(&self, token: TokenRecord) -> Result<(), Refusal> {
        let written = self.store.apply(vec![Change::PutToken(token.clone())]).await;
        written.map_err(|error| Refusal::failed(error.to_string()))?;
        let mut tokens = self.desk.tokens.write().unwrap_or_else(PoisonError::into_inner);
        let others = tokens.iter().filter(|other| other.name != token.name).cloned();
        let mut all: Vec<TokenRecord> = others.chain([token.clone()]).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        *tokens = Arc::new(all);
        Ok(())
    }
}

/// So many lines of what was done are on record; how many there were always is.
const TOLD: usize = 100;

#[async_trait]
impl Answers for EngineAnswers {
    async fn status(&self) -> Result<Status, Refusal> {
        let view = self.ask(Query::Status).await?;
        let spec = self.in_force.spec();
        let process = views::Process { pid: std::process::id(), lake: lake_words(&spec.lake), config: self.in_force.written().edition() };
        let mut status = views::status(&view.snapshot, &view.cycle, Some(view.next_cycle), &spec, &process);
        if let Some(engine) = &mut status.engine {
            engine.address = self.desk.address.get().cloned();
        }
        Ok(status)
    }

    async fn gaps(&self) -> Result<Box<dyn Iterator<Item = GapLine> + Send>, Refusal> {
        let gaps = self.ask(Query::Gaps).await?;
        Ok(Box::new(gaps.into_iter().map(|view| views::gap_line(&view))))
    }

    async fn coverage(&self, ask: &CoverageAsk) -> Result<CoverageReport, Refusal> {
        let view = self.ask(Query::Coverage).await?;
        let Some(coverage) = view.coverage else {
            return Err(Refusal::failed("the engine has not looked at the lake yet").with_hint("its first look is under way: ask again"));
        };
        // That of the same moment: it may be another one by now.
        let (spec, ask) = (view.spec, ask.clone());
        // Off the runtime's threads: millions of items take some milliseconds, and a table of millions of rows more.
        let told = tokio::task::spawn_blocking(move || {
            let seen = views::Seen {
                spec: &spec,
                lake: lake_words(&spec.lake),
                at: coverage.at,
                expected: &view.expected,
                coverage: &coverage,
                datasets: views::coverage_then(&view.cycle, &spec),
                held: view.surprises,
            };
            views::coverage(seen, &ask)
        });
        match told.await {
            Ok(Ok(report)) => Ok(report),
            Ok(Err(RollupError { message, hint })) => Err(Refusal { hint, ..Refusal::usage(message) }),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    async fn tasks(&self) -> Result<Box<dyn Iterator<Item = TaskLine> + Send>, Refusal> {
        let tasks = self.ask(Query::Tasks).await?;
        Ok(Box::new(tasks.into_iter().map(|view| views::task_line(&view))))
    }

    async fn task(&self, id: TaskId) -> Result<TaskDetail, Refusal> {
        let history = self.store.history(id).await.map_err(|error| Refusal::failed(error.to_string()))?;
        let tasks = self.ask(Query::Tasks).await?;
        let task = tasks.into_iter().find(|view| view.task.id == id);
        if task.is_none() && history.attempts.is_empty() && history.events.is_empty() {
            return Err(Refusal::usage(format!("no task `{id}` is known")).with_hint("`adce tasks` lists the ones that are queued"));
        }
        let gaps = match &task {
            Some(task) => {
                let gaps = self.ask(Query::Gaps).await?;
                gaps.into_iter().filter(|view| task.task.gaps.contains(&view.gap.id)).map(|view| views::gap_line(&view)).collect()
            }
            None => Vec::new(),
        };
        let now = MachineClock.now();
        let held_by = task.as_ref().and_then(|view| view.gate.as_ref()).map(|gate| views::sentence(gate, now));
        let (waits, better) = self.ask(|reply| Query::Waits(id, reply)).await?.unwrap_or_default();
        let waits = waits.into_iter().map(|waited| views::waited(waited, now.wall)).collect();
        Ok(TaskDetail { waits, better, ..detail(id, task.map(|view| views::task_line(&view)), held_by, gaps, history) })
    }

    async fn limits(&self) -> Result<LimitsReport, Refusal> {
        let view = self.ask(Query::Limits).await?;
        Ok(views::limits(&view, &self.in_force.spec(), MachineClock.now()))
    }

    async fn why(&self, what: &str) -> Result<Why, Refusal> {
        let (why, about) = self.ask(|reply| Query::Why(what.to_owned(), reply)).await?;
        Ok(views::why(what, &why, about, MachineClock.now()))
    }

    async fn accept(&self, what: Option<&str>) -> Result<Accepted, Refusal> {
        let accepted = match what {
            None => Accepted { surprises: self.ask(Query::Accept).await?, ..Accepted::default() },
            Some(what) => match self.ask(|reply| Query::Release(what.to_owned(), reply)).await? {
                Some(released) if !released.is_empty() => views::released(released),
                _ => return Err(Refusal::usage(accept::not_contested(what))),
            },
        };
        self.done("accept", what, json!({ "held": accepted.surprises }), &accepted).await;
        Ok(accepted)
    }

    async fn retry(&self, what: Option<&str>) -> Result<Box<dyn Iterator<Item = RetryLine> + Send>, Refusal> {
        let what_for = what.map(String::from);
        match self.ask(|reply| Query::Retry(what_for, reply)).await? {
            Retried::Asked(asked) => {
                let lines = views::retry_lines(asked);
                let retried = lines.iter().filter(|line| line.retried).count();
                let before: Vec<_> = lines
                    .iter()
                    .take(TOLD)
                    .map(|line| json!({ "key": line.key, "state": line.was, "attempts": line.attempts, "next_try": line.next_try }))
                    .collect();
                self.done("retry", what, before, json!({ "retried": retried, "left_alone": lines.len() - retried })).await;
                Ok(Box::new(lines.into_iter()))
            }
            Retried::LeftAside(Aside::NotSelected) => {
                Err(Refusal::failed("the run under way leaves it alone: its `--select` does not mean it"))
            }
            Retried::LeftAside(Aside::OlderThanBaseline) => {
                let refusal = Refusal::failed("the run under way leaves it alone: its item is older than the config's `baseline`");
                Err(refusal.with_hint("`adce run --select …` that means it collects it, or an older `baseline`"))
            }
            Retried::Unknown => Err(Refusal::usage(retry::no_such_thing(what.unwrap_or_default()))),
        }
    }

    async fn config(&self) -> Result<ConfigInForce, Refusal> {
        let written = self.in_force.written();
        Ok(ConfigInForce { edition: written.edition().id, settings: written.settings(), at_next_start: self.in_force.at_next_start() })
    }

    async fn pause(&self, what: Option<&str>, because: Option<String>) -> Result<Paused, Refusal> {
        let of = what.map_or(Ok(PauseOf::Everything), |what| PauseOf::named(what, &self.in_force.spec())).map_err(Refusal::usage)?;
        let before = self.paused_now().await?;
        let view = self.ask(|reply| Query::Pause(of, because, reply)).await?;
        let paused = Paused { changed: view.changed, paused: views::paused(view.paused) };
        self.done("pause", what, before, &paused.paused).await;
        Ok(paused)
    }

    async fn resume(&self, what: Option<&str>, all: bool) -> Result<Paused, Refusal> {
        let of = what.map_or(Ok(PauseOf::Everything), |what| PauseOf::named(what, &self.in_force.spec())).map_err(Refusal::usage)?;
        let before = self.paused_now().await?;
        let view = self.ask(|reply| Query::Resume((!all).then_some(of), reply)).await?;
        let resumed = Paused { changed: view.changed, paused: views::paused(view.paused) };
        self.done("resume", what, before, &resumed.paused).await;
        Ok(resumed)
    }

    async fn cancel(&self, what: &str, span: Duration) -> Result<Box<dyn Iterator<Item = CancelLine> + Send>, Refusal> {
        let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        let now = MachineClock.now().wall;
        let until = now.saturating_add(span).unwrap_or(now);
        let name = what.to_owned();
        let cancelled = self.ask(|reply| Query::Cancel(name, until, reply)).await?;
        let cancelled = cancelled.ok_or_else(|| Refusal::usage(retry::no_such_thing(what)))?;
        let lines: Vec<CancelLine> =
            cancelled.into_iter().map(|view| views::cancel_line(&view.gap, view.task, view.attempt, until)).collect();
        let before: Vec<_> =
            lines.iter().take(TOLD).map(|line| json!({ "key": line.key, "task": line.task, "attempt": line.attempt })).collect();
        self.done("cancel", Some(what), before, json!({ "cancelled": lines.len(), "until": until })).await;
        Ok(Box::new(lines.into_iter()))
    }

    async fn look(&self) -> Result<LookBegun, Refusal> {
        let look = LookBegun { begun: self.ask(Query::Look).await? };
        if look.begun {
            self.done("look", None, (), look).await;
        }
        Ok(look)
    }

    async fn stop(&self, within: Option<Duration>) -> Result<Stopping, Refusal> {
        // As after a SIGTERM.
        crate::exit::interrupted_by(143);
        let within = within.unwrap_or(self.in_force.spec().engine.drain);
        self.done("stop", None, (), json!({ "within_seconds": within.as_secs_f64() })).await;
        drain(self.handle.clone(), within);
        Ok(Stopping { pid: std::process::id(), within_seconds: Some(within.as_secs_f64()) })
    }

    async fn tokens(&self) -> Result<Vec<TokenLine>, Refusal> {
        let tokens = self.desk.tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(tokens.iter().map(views::token_line).collect())
    }

    async fn new_token(&self, token: TokenRecord) -> Result<TokenLine, Refusal> {
        let now = MachineClock.now().wall;
        tokens::may_be_made(&self.desk.tokens.read().unwrap_or_else(PoisonError::into_inner), &token.name, now).map_err(Refusal::usage)?;
        let line = views::token_line(&token);
        self.put_token(token).await?;
        self.done("token create", Some(&line.name), (), &line).await;
        Ok(line)
    }

    async fn revoke_token(&self, name: &str) -> Result<TokenLine, Refusal> {
        let now = MachineClock.now().wall;
        let revoked = tokens::revoked(&self.desk.tokens.read().unwrap_or_else(PoisonError::into_inner), name, now);
        let (before, token) = revoked.map_err(Refusal::usage)?;
        let line = views::token_line(&token);
        self.put_token(token).await?;
        self.done("token revoke", Some(name), views::token_line(&before), &line).await;
        Ok(line)
    }

    async fn admit(&self, sources: Option<Vec<String>>) -> Result<Admitted, Refusal> {
        match self.ask(|reply| Query::Admit(sources, reply)).await? {
            Ok(guest) => Ok(views::admitted(guest)),
            Err(why @ NotAdmitted::NoSuchSource(_)) => {
                Err(Refusal::usage(why.to_string()).with_hint("the running engine has read another config than this one"))
            }
            Err(why) => Err(Refusal::failed(why.to_string())),
        }
    }

    async fn dismiss(&self, guest: AttemptId) -> Result<GuestReport, Refusal> {
        let used = self.ask(|reply| Query::Dismiss(guest, reply)).await?;
        used.map(views::guest_report).ok_or_else(|| Refusal::failed("the program was dismissed before"))
    }
}

/// A task's story, from a running engine or from the state alone.
pub fn detail(id: TaskId, task: Option<TaskLine>, held_by: Option<String>, gaps: Vec<GapLine>, history: History) -> TaskDetail {
    TaskDetail {
        task,
        held_by,
        waits: Vec::new(),
        better: 0,
        gaps,
        attempts: history.attempts.into_iter().map(|record| attempt(record, id)).collect(),
        events: history.events.into_iter().map(|event| adce_api::EventLine { at: event.at, gap: event.gap, text: event.text }).collect(),
    }
}

pub fn attempt(record: AttemptRecord, shown: TaskId) -> adce_api::AttemptLine {
    adce_api::AttemptLine {
        attempt: record.attempt,
        of: Some(record.task).filter(|task| *task != shown),
        started_at: record.started_at,
        ended_at: record.ended_at,
        cut_short: record.was_cut_short(),
        ended: record.ended,
        requests: record.requests,
        outcomes: record.outcomes.into_iter().map(|(gap, outcome)| adce_api::OutcomeLine { gap, outcome }).collect(),
        log_tail: record.log_tail,
        traffic: record.traffic.map(|traffic| views::attempt_traffic(*traffic)),
        story: record.story.map(|story| views::story(story, record.started_at)),
        // Logs are pruned apart from the record: by their size together, too.
        log: record.log.filter(|log| log.exists()).map(|log| log.display().to_string()),
    }
}
