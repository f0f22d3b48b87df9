//! An engine that nobody's terminal holds: started so that it outlives whoever starts it, and told to end by its control socket.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use adce_api::{Client, EngineStatus, Status};
use adce_collect::Followed;
use adce_core::figures::{counted, span};
use adce_core::spec::Spec;
use serde_json::json;

use crate::cli::Format;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::state_place::StatePlace;

/// To open a state of gigabytes after a kill, and to answer.
const STARTS_WITHIN: Duration = Duration::from_secs(120);
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// So many of the last lines are shown of an engine that did not start.
const LAST_LINES: usize = 20;
/// What was printed before is not kept for ever.
const LARGEST_PRINTED: u64 = 8 << 20;
/// What is killed is gone in moments, and then the state is closed.
const ENDS_AFTER_STOP: Duration = Duration::from_secs(60);

/// Starts `adce up` with these config files in a session of its own, and returns when it answers. Who holds the state already is named.
pub fn start(configs: &[PathBuf], spec: &Spec, format: Format) -> Result<Exit, Failure> {
    let place = StatePlace::of(spec);
    if let Some(status) = status(spec)? {
        let pid = status.engine.map_or(0, |engine| engine.pid);
        return Err(Failure::new(Exit::Held, format!("an engine runs on this state already: pid {pid}"))
            .hint("`adce status` shows what it does, `adce restart` starts it anew"));
    }
    let printed = place.printed();
    let mut engine =
        spawn(configs, &printed).map_err(|error| Failure::new(Exit::Unfinished, format!("the engine cannot be started: {error}")))?;
    let begun = Instant::now();
    loop {
        if let Some(ended) = engine.try_wait().ok().flatten() {
            return Err(did_not_start(ended, &printed));
        }
        if let Ok(Some(Status { engine: Some(engine), .. })) = status(spec) {
            return Ok(started(&engine, &place, format));
        }
        if begun.elapsed() > STARTS_WITHIN {
            let message = format!("the engine (pid {}) runs, and does not answer after {}", engine.id(), span(STARTS_WITHIN));
            return Err(Failure::new(Exit::Unfinished, message).hint(format!("what it prints: `{}`", printed.display())));
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

fn spawn(configs: &[PathBuf], printed: &Path) -> std::io::Result<std::process::Child> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if let Some(folder) = printed.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).mode(0o600);
    let is_large = std::fs::metadata(printed).is_ok_and(|file| file.len() > LARGEST_PRINTED);
    let out = if is_large { options.write(true).truncate(true) } else { options.append(true) }.open(printed)?;
    let mut engine = Command::new(std::env::current_exe()?);
    for config in configs {
        engine.arg("-c").arg(config);
    }
    engine.args(["up", "--yes", "--unseen"]).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    // SAFETY: between fork and exec it makes one system call. A session of its own: the terminal's signals are not for it.
    unsafe { engine.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
    engine.spawn()
}

fn started(engine: &EngineStatus, place: &StatePlace, format: Format) -> Exit {
    let log = place.engine_log();
    match format {
        Format::Json => say!("{}", json!({ "started": true, "pid": engine.pid, "log": log })),
        Format::Text => say!("started, pid {}; `adce status` shows what it does, `adce logs` what it says", engine.pid),
    }
    Exit::Complete
}

fn did_not_start(ended: ExitStatus, printed: &Path) -> Failure {
    let text = std::fs::read_to_string(printed).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
    let exit = match ended.code() {
        Some(69) => Exit::Unreachable,
        Some(70) => Exit::Bug,
        Some(75) => Exit::Held,
        Some(78) => Exit::Config,
        _ => Exit::Unfinished,
    };
    Failure::new(exit, format!("the engine did not start ({ended}); it said:\n{last}"))
}

/// `None`: no engine runs, or it is going.
fn status(spec: &Spec) -> Result<Option<Status>, Failure> {
    match ask::engine(spec)? {
        Some(mut engine) => Ok(engine.status().ok()),
        None => Ok(None),
    }
}

/// Ends the engine that runs, and returns when its state is closed. `within`: how long what runs may go on; `None`: as its config says.
/// `false`: none ran.
pub fn stop(spec: &Spec, within: Option<Duration>, format: Format) -> Result<bool, Failure> {
    let Some(mut engine) = ask::engine(spec)? else { return Ok(false) };
    let stopping = ask::answered(Client::stop(&mut engine, within))?;
    let bound = Duration::from_secs_f64(stopping.within_seconds.unwrap_or_default());
    let followed = Followed::by_pid(stopping.pid as i32);
    let deadline = Instant::now() + bound + ENDS_AFTER_STOP;
    let mut last = String::new();
    while Instant::now() < deadline {
        let is_gone = match &followed {
            Ok(process) => process.has_ended_by(Instant::now() + BETWEEN_LOOKS),
            Err(_) => {
                std::thread::sleep(BETWEEN_LOOKS);
                ask::engine(spec)?.is_none()
            }
        };
        if is_gone {
            return Ok(true);
        }
        let Some(status) = status(spec).ok().flatten() else { continue };
        let text = match status.running.len() as u64 {
            0 => "nothing runs any more; the state is being closed".to_owned(),
            running => format!(
                "{} to be finished: {}",
                counted(running, "attempt"),
                status.running.iter().map(|one| one.what.as_str()).collect::<Vec<_>>().join(", ")
            ),
        };
        if text != last && format == Format::Text {
            say_aside!("{text}");
            last = text;
        }
    }
    Err(Failure::new(Exit::Unfinished, format!("the engine (pid {}) has not ended after {}", stopping.pid, span(bound + ENDS_AFTER_STOP))))
}
