//! `adce`: one file a command, the wiring of adapters, displays and exit codes. Nothing is decided here.
//!
//! Nobody here prints by `println!`, which panics when the reader of a pipe has seen enough: `say!` and `say_aside!` do not.

#![warn(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod screen;

mod background;
mod cli;
mod clock;
mod commands;
mod config;
mod control;
mod demo_scraper;
mod display;
mod edits;
mod engine_log;
mod exit;
mod expedite;
#[cfg(debug_assertions)]
mod failpoint;
mod failure;
mod feeds;
mod guardian;
mod holding_back;
mod in_force;
mod interrupts;
mod jobs;
mod log;
mod logs;
mod notify;
mod picture;
mod problems;
mod program;
mod relay;
mod site;
mod state_place;
mod summary;
mod survey;
mod units;
mod views;
mod wiring;

use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::{Cli, Command};
use crate::exit::Exit;
use crate::failure::Failure;

/// Each task, attempt and request is some allocations. The system's allocator took a quarter of the queue's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let is_guarded = guardian::is_above();
    match Cli::try_parse() {
        Ok(cli) if cli.command.runs_an_engine() && !is_guarded => match guardian::guard() {
            Ok(code) => code,
            Err(error) => {
                say_aside!("warning: no guardian ({error}): if adce is killed, its collectors live on until its next start");
                start(cli).into()
            }
        },
        Ok(cli) => start(cli).into(),
        Err(error) => refused(&error).into(),
    }
}

/// Each running attempt has one, and name lookups and files of the others need some more.
const THREADS_AT_MOST: usize = 4_096;

fn start(cli: Cli) -> Exit {
    #[cfg(debug_assertions)]
    failpoint::arm();
    if cli.command.runs_an_engine() {
        match cli.command {
            Command::Demo(_) => log::begin_if_asked(),
            _ => log::begin(),
        }
        // What leaves an attempt's group and loses its parent comes to this process, which ends it with its attempt.
        let _ = nix::sys::prctl::set_child_subreaper(true);
    }
    // Two crypto libraries in one process would leave rustls without a default: this is the one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if let Command::Exec(_) = cli.command {
        relay::begin();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(THREADS_AT_MOST).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Exit::Unfinished, format!("no runtime: {error}"));
            failure.print(cli.format.for_errors());
            return failure.exit();
        }
    };
    let format = cli.format.for_errors();
    let exit = runtime.block_on(dispatch(cli)).unwrap_or_else(|failure| {
        failure.print(format);
        failure.exit()
    });
    // Tasks are dropped here, and with the last of them the state is closed. Only a question on the terminal that nobody
    // answered would be waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    if exit == Exit::Complete && screen::something_is_unsaid() { Exit::Unfinished } else { exit }
}

async fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli { config, format: any, command } = cli;
    let format = match (&command, any.of_every_command()) {
        (_, Some(format)) => format,
        (Command::Coverage(_), None) => cli::Format::Text,
        (_, None) => return Err(Failure::new(Exit::Usage, format!("`--format {}` is for `adce coverage`", any.word()))),
    };
    match command {
        Command::Init => commands::init::run(&config, format),
        Command::Check(args) => commands::check::run(&config, &args, format, adce_core::time::Timestamp::now()).await,
        Command::Plan => commands::plan::run(config::spec(&config)?, format).await,
        Command::Coverage(args) => commands::coverage::run(&args, config::spec(&config)?, any).await,
        Command::Gaps(which) => commands::gaps::run(config::spec(&config)?, which, format).await,
        Command::Run(args) => commands::run::run(&args, config::Written::read(&config)?, format).await,
        Command::Up(args) if args.detach => commands::background::start(&config, &*config::spec(&config)?, format),
        Command::Up(args) => commands::up::run(&args, config::Written::read(&config)?, format).await,
        Command::Start => commands::background::start(&config, &*config::spec(&config)?, format),
        Command::Stop(args) => commands::background::stop(&args, &*config::spec(&config)?, format),
        Command::Restart(args) => commands::background::restart(&args, &config, &*config::spec(&config)?, format),
        Command::Health => commands::health::run(&*config::spec(&config)?, format),
        Command::Logs(args) => commands::logs::run(&args, &*config::spec(&config)?, format).await,
        Command::Pause(args) => commands::pause::pause(&args, config::spec(&config)?, format).await,
        Command::Resume(args) => commands::pause::resume(&args, config::spec(&config)?, format).await,
        Command::Cancel(args) => commands::cancel::run(&args, config::spec(&config)?, format).await,
        Command::Try(args) => commands::try_one::run(&args, config::spec(&config)?, format).await,
        Command::Exec(args) => commands::exec::run(&args, config::Written::read(&config)?, format).await,
        Command::Doctor(args) => commands::doctor::run(&args, config::spec_if_there(&config)?, format).await,
        Command::Demo(args) => commands::demo::run(&args, format).await,
        Command::Status => commands::status::run(config::spec(&config)?, format).await,
        Command::Jobs => commands::jobs::run(&*config::spec(&config)?, format),
        Command::Service(args) => commands::service::run(&args, &config, &*config::spec(&config)?, format),
        Command::Diff => {
            let written = config::Written::read(&config)?;
            // By a config with errors, too, the engine is found: one that has none of these parts is the same to it.
            let spec = written.draft()?;
            commands::config::diff(&written, &spec, format)
        }
        Command::Config(args) => match args.what {
            commands::config::ConfigCommand::Show(args) => commands::config::show(&args, &config::Written::read(&config)?, format),
        },
        Command::Tasks(args) => commands::tasks::run(&args, config::spec(&config)?, format).await,
        Command::Limits => commands::limits::run(&config::spec(&config)?, format),
        Command::Why(args) => commands::why::run(&args, config::spec(&config)?, format).await,
        Command::Accept(args) => commands::accept::run(&args, config::spec(&config)?, format).await,
        Command::Retry(args) => commands::retry::run(&args, config::spec(&config)?, format).await,
        Command::MarkAbsent(args) => commands::mark_absent::run(&args, &config::spec(&config)?, format, adce_core::time::Timestamp::now()),
        Command::Token(args) => commands::token::run(&args, config::spec(&config)?, format).await,
        Command::State(args) => {
            let spec = config::spec(&config)?;
            commands::state::run(&args, &spec, format)
        }
        Command::Completions(args) => commands::completions::run(&args),
        Command::Man(args) => commands::man::run(&args, format),
        Command::DemoScraper => commands::demo::scraper().await,
    }
}

/// A wrong command line ends with 64, and words of other tools get a hint.
fn refused(error: &clap::Error) -> Exit {
    let _ = error.print();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Exit::Complete;
    }
    if let (ErrorKind::InvalidSubcommand, Some(ContextValue::String(verb))) = (error.kind(), error.get(ContextKind::InvalidSubcommand))
        && let Some(hint) = hint_for(verb)
    {
        say_aside!("hint: {hint}");
    }
    Exit::Usage
}

fn hint_for(verb: &str) -> Option<&'static str> {
    Some(match verb {
        "apply" => "there is nothing to apply: `adce run` collects what the config says is missing",
        "validate" => "`adce check` shows everything that is wrong with the config",
        "backfill" => "`adce run` fills every gap, old ones too; `--select` narrows it down",
        "describe" => "`adce status` shows the whole, `adce tasks show ID` one task, `adce why KEY` what holds an object",
        _ => return None,
    })
}
