//! `adce state`: is adce's own database whole, and a copy of it. Both while an engine holds it.

use std::path::{Path, PathBuf};

use adce_api::{StateBackup, StateReport};
use adce_core::figures::{bytes, counted, grouped};
use adce_core::ports::Clock;
use adce_core::spec::Spec;
use adce_core::time::Moment;
use adce_store::sqlite::{self, BackupError, Checkup, Overwrite};
use clap::{Args, Subcommand};

use crate::cli::Format;
use crate::clock::MachineClock;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program;
use crate::state_place::StatePlace;
use crate::wiring;

#[derive(Args, Debug)]
pub struct StateArgs {
    #[command(subcommand)]
    pub what: What,
}

#[derive(Subcommand, Debug)]
pub enum What {
    /// Reads through all of it: is every page whole, do its rows fit together, and whose is it?
    #[command(after_help = "Examples:\n  adce state check\n  adce state check --format json | jq -r '.problems[]'\n\n\
        Exit codes: 0 whole, or there is none yet · 69 damaged, or not of this lake\n\
        Changes nothing, and an engine may run meanwhile.")]
    Check,

    /// A copy of it as it is at one moment, in one file.
    #[command(after_help = "Examples:\n  adce state backup /backup/adce-state.db\n  adce state backup --force /backup/adce-state.db\n\n\
        An engine may run meanwhile. To go back to a copy: end the engine, move the state away with its -wal and -shm, and\n\
        put the copy in its place. docs/state.md says what is lost then.")]
    Backup {
        file: PathBuf,

        /// Replaces the file if it is there already.
        #[arg(long)]
        force: bool,
    },
}

pub fn run(args: &StateArgs, spec: &Spec, format: Format) -> Result<Exit, Failure> {
    match &args.what {
        What::Check => check(spec, format),
        What::Backup { file, force } => backup(spec, file, *force, format),
    }
}

fn check(spec: &Spec, format: Format) -> Result<Exit, Failure> {
    let lake = adce_lake::open(&spec.lake)?;
    let identity = wiring::identity(spec, &*lake);
    let place = StatePlace::of(spec);
    let path = place.state();
    let checkup = sqlite::check(path, &identity, &Moment::of(&MachineClock.boot_id(), MachineClock.now()))?;
    let is_whole = checkup.as_ref().is_none_or(|checkup| checkup.problems.is_empty());
    let exists = checkup.is_some();
    let Checkup { bytes, log_bytes, gaps, tasks, leases, leases_expired, attempts, events, history_bytes, history_since, problems } =
        checkup.unwrap_or_default();
    let report = StateReport {
        state: path.display().to_string(),
        exists,
        whole: is_whole,
        name: identity.name,
        lake: identity.lake,
        format: sqlite::FORMAT,
        engine_runs: ask::engine(spec)?.is_some(),
        bytes,
        log_bytes,
        gaps,
        tasks,
        leases,
        leases_expired,
        attempts,
        events,
        history_bytes,
        history_since,
        problems,
    };
    match format {
        Format::Json => say!("{}", serde_json::to_string(&report).unwrap_or_default()),
        Format::Text => print(&report),
    }
    if report.whole {
        return Ok(Exit::Complete);
    }
    if format == Format::Text {
        say_aside!("{} {}", console::style("hint:").for_stderr().cyan(), way_back(path));
    }
    Ok(Exit::Unreachable)
}

fn print(report: &StateReport) {
    if !report.exists {
        let there = if Path::new(&report.state).exists() { "the file is there and empty" } else { "there is no state yet" };
        say!("{}: {there}; the next `adce run` begins it", report.state);
        return;
    }
    say!("{}: {}", report.state, if report.whole { "whole" } else { "damaged" });
    report.problems.iter().for_each(|problem| say!("  {problem}"));
    let runs = if report.engine_runs { "an engine runs on it" } else { "no engine runs on it" };
    say!(
        "{} · {} · format {} · {}, and {} of write-ahead log · {runs}",
        report.name,
        report.lake,
        report.format,
        bytes(report.bytes),
        bytes(report.log_bytes)
    );
    if report.whole {
        let since = report.history_since.map_or_else(String::new, |at| format!(" since {}", at.strftime("%Y-%m-%d")));
        say!(
            "{} in {}, {} under way{} · history: {} and {}{since}, {}",
            counted(report.gaps, "gap"),
            counted(report.tasks, "task"),
            grouped(report.leases),
            expired(report.leases_expired, report.engine_runs),
            counted(report.attempts, "attempt"),
            counted(report.events, "event"),
            bytes(report.history_bytes),
        );
    }
}

/// A predecessor's are the next run's to end; of an engine that runs, somebody should look at it.
fn expired(leases: u64, engine_runs: bool) -> String {
    match (leases, engine_runs) {
        (0, _) => String::new(),
        (_, true) => format!(" ({} without a sign of life: does the engine hang?)", grouped(leases)),
        (_, false) => format!(" ({} expired; the next run looks at what they left)", grouped(leases)),
    }
}

fn way_back(path: &Path) -> String {
    let shown = path.display();
    format!(
        "end the engine, and move `{shown}` away with `{shown}-wal` and `{shown}-shm`: the next run rebuilds it from the config and the lake. \
         {}. Or put a copy that `adce state backup` made in its place",
        sqlite::LOST_WITHOUT_A_COPY
    )
}

fn backup(spec: &Spec, to: &Path, force: bool, format: Format) -> Result<Exit, Failure> {
    let lake = adce_lake::open(&spec.lake)?;
    let place = StatePlace::of(spec);
    let overwrite = if force { Overwrite::Yes } else { Overwrite::Never };
    let copied = sqlite::backup(place.state(), &wiring::identity(spec, &*lake), to, overwrite).map_err(|error| match error {
        BackupError::State(error) => error.into(),
        BackupError::Exists(_) => Failure::caused(Exit::Usage, &error).hint("another name, or `--force` to replace it"),
        BackupError::Itself(_) => {
            Failure::caused(Exit::Usage, &error).hint("a copy in its place would take it from under an engine: another name")
        }
        BackupError::NoFolder(ref folder) => {
            let hint = format!("`mkdir -p {}` makes it; nothing was copied", program::words(&[folder.into()]));
            Failure::caused(Exit::Usage, &error).hint(hint)
        }
        BackupError::Target(..) => Failure::caused(Exit::Unfinished, &error),
    })?;
    let Some(size) = copied else {
        return Err(Failure::new(Exit::Unreachable, format!("there is no state at `{}` yet: nothing was copied", place.state().display())));
    };
    let copy = StateBackup { state: place.state().display().to_string(), file: to.display().to_string(), bytes: size };
    match format {
        Format::Json => say!("{}", serde_json::to_string(&copy).unwrap_or_default()),
        Format::Text => say!("copied {} to {}: {}", copy.state, copy.file, bytes(size)),
    }
    Ok(Exit::Complete)
}
