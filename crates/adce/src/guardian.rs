//! A tiny process above the engine: when the engine is gone, however it went, it ends all that the engine had started.
//!
//! An engine that is killed cannot end its scrapers, and what they start may leave its group. So a command that runs an
//! engine begins as its guardian, starts the same program again as the engine, and does nothing but wait. The kernel
//! hands every process below it that loses its parent to the guardian (`PR_SET_CHILD_SUBREAPER`), so after the engine's
//! end all that is left of it are the guardian's children, and theirs once these are dead.
//!
//! The guardian is the process that its user knows, so it is killed as well. Nobody is above it, so then it is the
//! engine that ends all that it has started, on a thread that does nothing else, and dies: whatever state it is in, as if
//! it had been killed at that moment.
//!
//! Always true: when either of the two is gone, the other one ends what the engine had started, and itself
//! (`nothing_outlives_a_killed_engine`, `nothing_outlives_a_killed_guardian`). Only what outlives both, killed in the
//! same moment, is left to the next start.
//!
//! It has one thread and reads neither config nor state. A signal that is sent to it alone is handed on to the engine;
//! one of the terminal reaches the engine by itself, for both are of one group. How often that is, [`crate::interrupts`]
//! knows.

use std::collections::HashSet;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use adce_collect::{Children, Followed};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};

/// Holds the guardian's number for the engine. No collector sees it.
const ANNOUNCEMENT: &str = "ADCE_GUARDIAN";

/// What ends a process unless it is caught, and is handed on.
const HANDED_ON: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// `si_code` of a signal that a process sent.
const SENT_BY_A_PROCESS: i32 = 0;

/// So long the last processes get to die of SIGKILL. Only one that hangs in the kernel needs longer than moments.
const PATIENCE: Duration = Duration::from_secs(10);

/// The signal by which a guardian hands this one on: another one, so that the engine can tell that the same signal did
/// not come twice. Both end a process that does not listen yet.
pub fn in_other_words(signal: Signal) -> Signal {
    match signal {
        Signal::SIGINT => Signal::SIGUSR1,
        Signal::SIGTERM => Signal::SIGUSR2,
        other => other,
    }
}

/// Whether this process was started as an engine by its guardian. If so, it dies with it from now on, and all that it
/// will have started before it. Call it before there is a second thread.
pub fn is_above() -> bool {
    let Some(guardian) = std::env::var_os(ANNOUNCEMENT) else { return false };
    // SAFETY: nobody else reads or writes the environment, for there is no other thread yet.
    unsafe { std::env::remove_var(ANNOUNCEMENT) };
    let _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
    if guardian.to_str().and_then(|pid| pid.parse().ok()) != Some(getppid().as_raw()) {
        // It was killed before it could be told that it should take this process with it.
        let _ = raise(Signal::SIGKILL);
    }
    // They were blocked by the guardian, and masks are inherited.
    let _ = watched().thread_unblock();
    // Where the kernel lets nobody be followed, it is killed with its guardian, and what it has started lives on.
    let _ = follow(getppid());
    true
}

/// Nothing has been started yet, so until the last line it may as well be killed with its guardian.
fn follow(guardian: Pid) -> io::Result<()> {
    let guardian = Followed::by_pid(guardian.as_raw())?;
    std::thread::Builder::new().name("guardian".into()).spawn(move || {
        while !guardian.has_ended_by(Instant::now() + Duration::from_secs(3_600)) {}
        adce_collect::end_everything(PATIENCE);
        let _ = raise(Signal::SIGKILL);
    })?;
    // An engine that was stopped would end nobody.
    Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGCONT)?)
}

/// Starts this program once more, as the engine, and waits until nothing of it is left. The error: there is no engine,
/// and nothing has changed.
pub fn guard() -> io::Result<ExitCode> {
    // Who started this program may ignore the deaths of children, and that is inherited: nobody would learn how they ended.
    // SAFETY: the default action is no handler that could run at a bad moment.
    unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let children = Children::of(getpid().as_raw());
    let mine = Mine { others: children.now().into_iter().collect(), children };
    let watched = watched();
    watched.thread_block()?;
    let started =
        SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC).map_err(io::Error::from).and_then(|signals| Ok((start_engine()?, signals)));
    match started {
        Ok((engine, signals)) => {
            let status = wait(&engine, &signals).unwrap_or_else(|error| wait_deaf(&engine, &error));
            mine.end();
            Ok(pass_on(status))
        }
        Err(error) => {
            watched.thread_unblock()?;
            Err(error)
        }
    }
}

fn watched() -> SigSet {
    HANDED_ON.into_iter().chain([Signal::SIGCHLD]).collect()
}

fn start_engine() -> io::Result<Child> {
    let mut arguments = std::env::args_os();
    let mut engine = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        engine.arg0(name);
    }
    engine.args(arguments).env(ANNOUNCEMENT, getpid().to_string()).spawn()
}

/// Until the engine has ended. Whoever else ends meanwhile is reaped.
fn wait(engine: &Child, signals: &SignalFd) -> io::Result<ExitStatus> {
    let engine = Pid::from_raw(engine.id() as i32);
    loop {
        while let Some((pid, status)) = reaped(None) {
            if pid == engine {
                return Ok(status);
            }
        }
        let Some(told) = signals.read_signal()? else { continue };
        let signal = Signal::try_from(told.ssi_signo as i32)?;
        if signal != Signal::SIGCHLD && told.ssi_code == SENT_BY_A_PROCESS {
            // It is not reaped yet, so the number is its own.
            let _ = kill(engine, in_other_words(signal));
        }
    }
}

/// There is an engine, and its guardian hears of nothing any more: it only waits. A signal ends it from now on, and its
/// engine with it.
fn wait_deaf(engine: &Child, why: &io::Error) -> ExitStatus {
    say_aside!("warning: the guardian cannot hand signals on any more ({why}): one that is sent to it ends the engine at once");
    let _ = watched().thread_unblock();
    let engine = Pid::from_raw(engine.id() as i32);
    loop {
        match waitpid(engine, None) {
            Ok(ended) => {
                if let Some((_, status)) = as_ended(ended) {
                    return status;
                }
            }
            Err(nix::errno::Errno::EINTR) => {}
            // Somebody has reaped it, so it has ended; how, nobody knows.
            Err(_) => return ExitStatus::from_raw(1 << 8),
        }
    }
}

/// A child that has ended; this one, or any.
fn reaped(pid: Option<Pid>) -> Option<(Pid, ExitStatus)> {
    waitpid(pid, Some(WaitPidFlag::WNOHANG)).ok().and_then(as_ended)
}

fn as_ended(status: WaitStatus) -> Option<(Pid, ExitStatus)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((pid, ExitStatus::from_raw(code << 8))),
        WaitStatus::Signaled(pid, signal, _) => Some((pid, ExitStatus::from_raw(signal as i32))),
        _ => None,
    }
}

/// What the guardian has to end.
struct Mine {
    /// Children of a shell that became this program (`exec adce`) are somebody else's.
    others: HashSet<i32>,
    /// Of this thread, which is the only one.
    children: Children,
}

impl Mine {
    /// Who dies leaves its own children to the guardian: it goes on until there are none.
    fn end(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left: Vec<i32> = self.children.now().into_iter().filter(|pid| !self.others.contains(pid)).collect();
            if left.is_empty() {
                return;
            }
            // Nobody but this thread reaps them, so the numbers are their own.
            let left = left.into_iter().map(Pid::from_raw);
            let dying: Vec<Pid> = left.filter(|pid| kill(*pid, Signal::SIGKILL).is_ok() && reaped(Some(*pid)).is_none()).collect();
            if Instant::now() > deadline {
                say_aside!("warning: processes of this run cannot be ended: {dying:?}");
                return;
            }
            if !dying.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Ends as the engine did.
fn pass_on(status: ExitStatus) -> ExitCode {
    let Some(number) = status.signal() else { return ExitCode::from(status.code().unwrap_or(1) as u8) };
    let signal = Signal::try_from(number).ok();
    let signal = signal.map(|signal| HANDED_ON.into_iter().find(|original| in_other_words(*original) == signal).unwrap_or(signal));
    if let Some(signal) = signal {
        // The engine has left its image if there is one to be left.
        let _ = nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0);
        // Who started this program in the background may have told it to ignore what the engine has died of.
        // SAFETY: the default action is no handler that could run at a bad moment.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
        let _ = watched().thread_unblock();
        let _ = raise(signal);
    }
    // The first process of a container does not die of its own signals.
    ExitCode::from(128 + signal.map_or(number, |signal| signal as i32) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_cannot_hear_signals_any_more_waits_for_the_engine_all_the_same() {
        let mut engine = Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        // A descriptor that gives no signals.
        let deaf = io::Error::from(nix::errno::Errno::EBADF);
        assert_eq!(wait_deaf(&engine, &deaf).code(), Some(7), "and not as if there were none");
        assert_eq!(wait_deaf(&engine, &deaf).code(), Some(1), "whoever has reaped it");
        assert!(engine.wait().is_err(), "it was reaped");
    }
}
