//! `adce exec -- CMD …`: any program, by hand, in the environment of an attempt, so that its requests keep the same limits as
//! everything else and are counted.
//!
//! It is a guest: of the engine that runs on the state, over a connection that lasts as long as the command; if none runs, of
//! one that this process is meanwhile, which collects nothing and keeps permits, pauses and breakers in the real state, as
//! `adce try` does. Another `adce exec` is a guest of the first one then.
//!
//! Always true: a command whose `adce exec` is gone, however it went, passes the gateway no more
//! (`a_killed_exec_leaves_no_guest_behind`).

use std::ffi::OsString;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use adce_api::{Admitted, AskError, Client, GuestReport, GuestSource, Server};
use adce_core::figures::{counted, grouped, span};
use adce_core::ports::Store;
use adce_core::spec::Spec;
use adce_core::spec::problem::{alternatives, did_you_mean};
use adce_engine::{Ending, EngineError, Handle, Interrupt, Options, Query};
use clap::Args;
use tokio::task::JoinHandle;

use crate::cli::Format;
use crate::commands::ask;
use crate::commands::try_one::TryStore;
use crate::config::Written;
use crate::control::{self, EngineAnswers};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::in_force::InForce;
use crate::program;
use crate::relay::Relay;
use crate::state_place::StatePlace;
use crate::views;
use crate::wiring::{self, Folders, Wired};

#[derive(Args, Debug)]
pub struct ExecArgs {
    /// It may ask this source and nobody else: other sources, and hosts of none, are refused. Several: each of them.
    #[arg(long, value_name = "NAME")]
    pub source: Vec<String>,

    /// The command and its arguments, as they are.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

pub async fn run(args: &ExecArgs, written: Written, format: Format) -> Result<Exit, Failure> {
    let spec = written.spec()?;
    let only = only(&args.source, &spec)?;
    let mut relay = Relay::listen().map_err(|error| Failure::new(Exit::Unfinished, format!("signals cannot be read: {error}")))?;
    let (host, admitted) = tokio::select! {
        hosted = Host::of(&spec, &written, only) => hosted?,
        // There is no command yet that could be told.
        (signal, _) = relay.next() => return Ok(Exit::OfCommand(128 + signal as u8)),
    };
    let ended = foreground(&args.command, admitted, &mut relay).await;
    let report = host.end(&mut relay).await;
    let status = ended?;
    match report {
        Ok(report) => tell(&report, format),
        Err(failure) => say_aside!("adce exec: what it asked is not known: {failure}"),
    }
    Ok(Exit::OfCommand(program::code_of(status)))
}

fn only(sources: &[String], spec: &Spec) -> Result<Option<Vec<String>>, Failure> {
    let Some(unknown) = sources.iter().find(|name| !spec.sources.contains_key(*name)) else {
        return Ok((!sources.is_empty()).then(|| sources.to_vec()));
    };
    let known = || spec.sources.keys().map(String::as_str);
    let hint = match did_you_mean(unknown, known()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("declared: {}", alternatives(known())),
    };
    Err(Failure::new(Exit::Usage, format!("no source is named `{unknown}`")).hint(hint))
}

/// With this terminal's input and output, until it has ended.
async fn foreground(argv: &[OsString], admitted: Admitted, relay: &mut Relay) -> Result<ExitStatus, Failure> {
    let mut variables = admitted.variables;
    variables.push(("ADCE_GATEWAY".into(), admitted.url));
    let mut child = program::command(argv, &variables).spawn().map_err(|error| program::not_started(argv, &error))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
    tokio::select! {
        status = child.wait() => status.map_err(|error| Failure::new(Exit::Unfinished, format!("the command's end is unknown: {error}"))),
        () = relay.hand_on_to(pid) => unreachable!("signals have no end"),
    }
}

/// Whose guest the command is.
enum Host {
    /// Of another process; as long as this connection lasts.
    Engine(Client),
    Here(Box<Here>),
}

/// An engine of this process.
struct Here {
    handle: Handle,
    running: JoinHandle<Result<Ending, EngineError>>,
    guest: adce_core::ids::AttemptId,
    server: Server,
    store: Arc<dyn Store>,
    gateway: Arc<adce_gateway::Gateway>,
}

/// Whoever holds the state may be about to listen, or to end.
const TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

impl Host {
    async fn of(spec: &Arc<Spec>, written: &Written, only: Option<Vec<String>>) -> Result<(Host, Admitted), Failure> {
        let guests = StatePlace::of(spec).guests_socket();
        for left in (0..TRIES).rev() {
            let running = match ask::engine(spec)? {
                Some(engine) => Some(engine),
                None => ask::at(&guests)?,
            };
            let tried = match running {
                Some(mut engine) => match engine.admit(only.clone()) {
                    Ok(admitted) => Ok((Host::Engine(engine), admitted)),
                    // It ends: in a moment the state is free.
                    Err(AskError::CutShort(_)) if left > 0 => Err(None),
                    Err(AskError::Refused(refusal)) if left > 0 && refusal.exit_code == Exit::Unfinished.code() => Err(None),
                    Err(error) => ask::answered(Err(error))?,
                },
                None => Host::here(spec, written, only.clone()).await.map_err(Some),
            };
            match tried {
                Ok(hosted) => return Ok(hosted),
                Err(Some(failure)) if failure.exit() != Exit::Held || left == 0 => return Err(failure),
                Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
            }
        }
        Err(Failure::new(Exit::Held, "the engine that holds the state neither answers nor ends"))
    }

    async fn here(spec: &Arc<Spec>, written: &Written, only: Option<Vec<String>>) -> Result<(Host, Admitted), Failure> {
        let (lake, place) = (adce_lake::open(&spec.lake)?, StatePlace::of(spec));
        let state = wiring::take_state(spec, &*lake).await?;
        let folders = Folders { attempts: place.attempts(), logs: place.logs(), authority: place.authority(), answers: place.answers() };
        let options = Options { attempts: Some(0), seed: rand::random(), ..Options::default() };
        let wired = wiring::assemble(spec.clone(), options, lake, Arc::new(TryStore::over(state)), folders).await?;
        let Wired { mut engine, handle, store, gateway, .. } = wired;
        let guest = engine.admit(only).map_err(|why| Failure::new(Exit::Unfinished, why.to_string()))?;
        let in_force = InForce::new(spec.clone(), written.clone());
        let answers = EngineAnswers::of(in_force, handle.clone(), store.clone()).await?;
        let server = control::serve_at(&place.guests_socket(), answers)?;
        let here = Here { handle, running: tokio::spawn(engine.run_for_guests()), guest: guest.id, server, store, gateway };
        Ok((Host::Here(Box::new(here)), views::admitted(guest)))
    }

    /// The command is over.
    async fn end(self, relay: &mut Relay) -> Result<GuestReport, Failure> {
        match self {
            Host::Engine(engine) => ask::answered(engine.dismiss()),
            Host::Here(here) => here.end(relay).await,
        }
    }
}

impl Here {
    async fn end(self, relay: &mut Relay) -> Result<GuestReport, Failure> {
        let Here { handle, mut running, guest, server, store, gateway } = self;
        let used = handle.ask(|reply| Query::Dismiss(guest, reply)).await.flatten();
        if let Some(others) = handle.ask(Query::Status).await.map(|status| status.snapshot.guests as u64).filter(|others| *others > 0) {
            say_aside!("adce exec: waiting for {} that came through this one; Ctrl-C cuts them off", counted(others, "other program"));
        }
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                _ = relay.next() => handle.interrupt(Interrupt::Stop),
            }
        };
        drop((server, gateway, store));
        ended.unwrap_or(Err(EngineError::Bug))?;
        used.map(views::guest_report).ok_or_else(|| Failure::new(Exit::Unfinished, "its engine ended before it"))
    }
}

/// Standard output is the command's.
fn tell(report: &GuestReport, format: Format) {
    match format {
        Format::Json => say_aside!("{}", serde_json::to_string(report).unwrap_or_default()),
        Format::Text => say_aside!("adce exec: {}", line(report)),
    }
}

/// So many hosts are named.
const HOSTS_SHOWN: usize = 5;

fn line(report: &GuestReport) -> String {
    let mut parts: Vec<String> = report.sources.iter().map(|(name, source)| source_words(name, source)).collect();
    parts.extend(hosts_words(report));
    let refused: u64 = report.distrusted.values().sum();
    if refused > 0 {
        let hosts = report.distrusted.keys().take(HOSTS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        parts.push(format!("broke off {} ({hosts}) → `adce doctor -- CMD` says why", counted(refused, "TLS handshake")));
    }
    if parts.is_empty() {
        parts.push("nothing was asked through the gateway → `adce doctor -- CMD` says whether anything would be".into());
    }
    parts.join(" · ")
}

fn source_words(name: &str, source: &GuestSource) -> String {
    let mut words = format!("{name} {}", counted(source.requests, "request"));
    let answers = source.statuses.iter().map(|(status, count)| format!("{} × {status}", grouped(*count)));
    let none = (source.no_answer > 0).then(|| format!("{} without an answer", grouped(source.no_answer)));
    let answers: Vec<String> = answers.chain(none).collect();
    if !answers.is_empty() {
        words.push_str(&format!(": {}", answers.join(", ")));
    }
    let waited = Duration::from_secs_f64(source.waited_seconds.max(0.0));
    match waited.as_secs() {
        0 if waited.as_millis() < 50 => {}
        0..60 => words.push_str(&format!(", waited {:.1} s", waited.as_secs_f64())),
        _ => words.push_str(&format!(", waited {}", span(waited))),
    }
    words
}

fn hosts_words(report: &GuestReport) -> Option<String> {
    let mut hosts: Vec<_> = report.uncovered.iter().collect();
    hosts.sort_by_key(|host| std::cmp::Reverse(host.passed + host.refused));
    let named = hosts.iter().take(HOSTS_SHOWN).map(|host| match (host.passed, host.refused) {
        (passed, 0) => format!("{} {}", host.host, grouped(passed)),
        (0, refused) => format!("{} {} refused", host.host, grouped(refused)),
        (passed, refused) => format!("{} {}, {} refused", host.host, grouped(passed), grouped(refused)),
    });
    let more = hosts.len().saturating_sub(HOSTS_SHOWN) as u64;
    let more = (more > 0).then(|| format!("{} more", grouped(more)));
    let named: Vec<String> = named.chain(more).collect();
    (!named.is_empty()).then(|| format!("beside them {}", named.join(", ")))
}

#[cfg(test)]
mod tests {
    use adce_api::GuestHost;

    use super::*;

    #[test]
    fn one_line_tells_what_a_command_asked() {
        let source = |requests, waited_seconds, statuses: &[(u16, u64)], no_answer| GuestSource {
            requests,
            waited_seconds,
            statuses: statuses.iter().copied().collect(),
            no_answer,
        };
        let host = |host: &str, passed, refused| GuestHost { host: host.into(), passed, refused };
        let report = GuestReport {
            requests: 1_215,
            waited_seconds: 63.2,
            sources: [
                ("espn".to_owned(), source(1_213, 63.2, &[(200, 1_211), (404, 1)], 1)),
                ("nba".to_owned(), source(2, 0.01, &[(200, 2)], 0)),
            ]
            .into(),
            uncovered: vec![host("cdn.example", 0, 1), host("fonts.example", 3, 0)],
            distrusted: [("api.example".to_owned(), 2)].into(),
        };
        assert_eq!(
            line(&report),
            "espn 1,213 requests: 1,211 × 200, 1 × 404, 1 without an answer, waited 1 m 3 s · nba 2 requests: 2 × 200 · \
             beside them fonts.example 3, cdn.example 1 refused · broke off 2 TLS handshakes (api.example) → `adce doctor -- CMD` says why"
        );
        assert!(line(&GuestReport::default()).starts_with("nothing was asked through the gateway"));
    }
}
