//! `adce run`: collect until nothing can be done.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use adce_api::Client;
use adce_core::spec::Spec;
use adce_engine::{Ending, Interrupt, Options};
use clap::Args;

use crate::cli::Format;
use crate::commands::ask;
use crate::config::Written;
use crate::control::{self, EngineAnswers};
use crate::display::Display;
use crate::edits::{Following, Hearing};
use crate::engine_log::EngineLog;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::feeds::Feeds;
use crate::holding_back::{HoldingBack, Mode};
use crate::in_force::InForce;
use crate::interrupts::Interrupts;
use crate::jobs::Jobs;
use crate::site;
use crate::state_place::StatePlace;
use crate::summary;
use crate::wiring::{self, Wired};

#[derive(Args, Debug)]
pub struct RunArgs {
    /// Try what can be tried now, and wait for no retry.
    #[arg(long)]
    pub once: bool,

    /// Wait for retries, pauses and probes that are at most so far away; limits are waited for however long they take.
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = crate::cli::parse_span, conflicts_with = "once")]
    pub max_wait: Duration,

    /// Collect only items for which this holds, as in `where`; `dataset`, `overdue` and `reason` are known too.
    #[arg(long, value_name = "EXPRESSION")]
    pub select: Option<String>,

    /// Start without asking, however many gaps there are.
    #[arg(long)]
    pub yes: bool,

    /// Starts nothing and writes nothing: what would be collected, as `adce plan` says it.
    #[arg(long, conflicts_with_all = ["once", "max_wait", "select", "now"])]
    pub dry_run: bool,

    /// Asks the engine that runs to look at the lake now, instead of running one.
    #[arg(long, conflicts_with_all = ["once", "max_wait", "select", "yes"])]
    pub now: bool,
}

/// More gaps than this, all to be started for the first time, are asked about on a terminal.
const ASK_ABOVE_GAPS: u64 = 1_000;

pub async fn run(args: &RunArgs, config: Written, format: Format) -> Result<Exit, Failure> {
    let spec = config.spec()?;
    if args.dry_run {
        return crate::commands::plan::run(spec, format).await;
    }
    if args.now {
        return look_now(&spec, format);
    }
    let max_wait = if args.once { Duration::ZERO } else { args.max_wait };
    let options = Options { max_wait, select: args.select.clone(), ..options(args.yes) };
    let ending = collect(spec.clone(), config, options, Display::choose(), Mode::Real).await?;
    summary::print(&summary::of(&ending, &spec), &ending, format);
    Ok(exit_of(&ending))
}

fn look_now(spec: &Spec, format: Format) -> Result<Exit, Failure> {
    let Some(mut engine) = ask::engine(spec)? else {
        return Err(Failure::new(Exit::Unreachable, "no engine runs that could look")
            .hint("`adce run` runs one until nothing can be done, `adce up` one that stays"));
    };
    let look = ask::answered(Client::look(&mut engine))?;
    match format {
        Format::Json => say!("{}", serde_json::to_string(&look).unwrap_or_default()),
        Format::Text if look.begun => say!("it looks now; `adce status` shows what it found"),
        Format::Text => say!("it looks already, or is ending"),
    }
    Ok(if look.begun { Exit::Complete } else { Exit::Held })
}

/// `yes`: nobody is asked, however many gaps there are.
pub fn options(yes: bool) -> Options {
    let asks = !yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let confirm = asks.then(|| (ASK_ABOVE_GAPS, Arc::new(ask_on_terminal) as adce_engine::Confirm));
    Options { seed: rand::random(), confirm, ..Options::default() }
}

/// Runs an engine to its end, with a display, a control socket, an ear for Ctrl-C, and an eye on the config's files.
pub async fn collect(spec: Arc<Spec>, config: Written, options: Options, display: Display, mode: Mode) -> Result<Ending, Failure> {
    let stays = options.stays;
    let wired = wiring::wire(spec.clone(), options).await?;
    let log = EngineLog::open(&StatePlace::of(&spec).engine_log());
    log.say(
        "info",
        "started",
        format!("adce {} started, pid {}, config {}", env!("CARGO_PKG_VERSION"), std::process::id(), config.edition().id),
    );
    let mut wired = Wired { notices: log.clone().beside(wired.notices), ..wired };
    let feeds = if stays { Hearing::By(Feeds::begin(&spec, &wired.handle).await?) } else { Hearing::Deaf };
    let in_force = InForce::new(spec.clone(), config);
    let answers = EngineAnswers::of(in_force.clone(), wired.handle.clone(), wired.store.clone()).await?;
    let site = if stays { site::begin(&answers).await? } else { None };
    if let Some(site) = &site {
        log.say("info", "listening", format!("answers at {}", site.url()));
    }
    let control = control::serve(answers)?;
    let (engine, workshop) = (wired.handle.clone(), wired.workshop.clone());
    let heeds_hangups = stays && !std::io::stderr().is_terminal();
    let place = StatePlace::of(&spec);
    let (logs, attempts, records) = (place.logs(), place.attempts(), std::mem::take(&mut wired.jobs));
    let jobs = Jobs {
        in_force: in_force.clone(),
        engine: engine.clone(),
        workshop: workshop.clone(),
        store: wired.store.clone(),
        logs,
        attempts,
        records,
    };
    // Who ends when nothing can be done has no time for a schedule.
    let jobs = stays.then(|| tokio::spawn(jobs.run()));
    let holding_back = tokio::spawn(HoldingBack::begin(in_force.clone(), engine.clone(), mode).watch());
    let following = tokio::spawn(Following { in_force, engine, workshop, feeds, heeds_hangups }.follow());
    let drain = stays.then_some(spec.engine.drain);
    let ending = watch(wired, &format!("adce · {}", spec.name), display, drain).await;
    following.abort();
    holding_back.abort();
    jobs.into_iter().for_each(|jobs| jobs.abort());
    drop((site, control));
    match &ending {
        Ok(ending) if ending.interrupted => log.say("info", "ended", "ended as it was told to"),
        Ok(_) => log.say("info", "ended", "ended: nothing more could be done"),
        Err(failure) => log.say("error", "ended", format!("ended: {failure}")),
    }
    ending
}

/// Runs a wired engine with a display and an ear for Ctrl-C. `drain`: what runs may go on for so long once it is to end.
pub async fn watch(wired: Wired, title: &str, display: Display, drain: Option<Duration>) -> Result<Ending, Failure> {
    let Wired { engine, handle, notices, store, gateway, workshop, logs, .. } = wired;
    let listening = tokio::spawn(interrupts(handle, drain));
    let showing = tokio::spawn(display.show(title.to_owned(), engine.snapshots(), notices));
    let ended = engine.run().await;
    // The engine is gone, and with it what the display showed.
    let _ = showing.await;
    listening.abort();
    drop((gateway, workshop, store, logs));
    Ok(ended?)
}

fn ask_on_terminal(gaps: u64) -> bool {
    let asked = write!(std::io::stderr(), "{} gaps would be started for the first time. Go on? [y/N] ", adce_core::figures::grouped(gaps));
    if asked.is_err() {
        return false;
    }
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Ctrl-C or SIGTERM once: finish what runs. Twice: stop it.
async fn interrupts(handle: adce_engine::Handle, drain: Option<Duration>) {
    let Ok(mut interrupts) = Interrupts::listen() else { return };
    for how in [Interrupt::Drain, Interrupt::Stop] {
        let signal = interrupts.next().await;
        crate::exit::interrupted_by(signal);
        match drain.filter(|_| how == Interrupt::Drain) {
            Some(within) => control::drain(handle.clone(), within),
            None => handle.interrupt(how),
        }
    }
}

pub fn exit_of(ending: &Ending) -> Exit {
    if ending.interrupted {
        Exit::Interrupted
    } else if !ending.cycle.not_listed.is_empty() {
        Exit::Unfinished
    } else if ending.cycle.complete && ending.snapshot.surprises.is_empty() {
        Exit::Complete
    } else {
        Exit::GapsRemain
    }
}
