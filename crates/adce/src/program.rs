//! A program that a person names on adce's command line and that runs under the gateway: how it is started, and what its end means.
//!
//! It dies with adce, as far as one process can see to that: without the gateway its requests go nowhere.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::unistd::{Pid, getppid};
use tokio::process::Command;

use crate::exit::Exit;
use crate::failure::Failure;

/// With this environment on top of adce's own. Start it on the main thread: the kernel tells it of the death of the thread that
/// started it, not of the process.
pub fn command(argv: &[OsString], variables: &[(String, String)]) -> Command {
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).envs(variables.iter().map(|(name, value)| (name, value)));
    let adce = Pid::this();
    // SAFETY: two system calls that touch no memory of the parent, and one that asks who it is.
    unsafe {
        command.pre_exec(move || {
            // adce reads its signals from a descriptor, and masks are inherited.
            pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            nix::sys::prctl::set_pdeathsig(Signal::SIGTERM)?;
            // adce was killed before it could be told.
            if getppid() == adce { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
        });
    }
    command
}

/// As every program answers that starts another one: 127 not found, 126 not to be started.
pub fn not_started(argv: &[OsString], error: &io::Error) -> Failure {
    let name = argv[0].to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => Failure::new(Exit::OfCommand(127), format!("`{name}` is not found: {error}")),
        _ => Failure::new(Exit::OfCommand(126), format!("`{name}` cannot be started: {error}")),
    }
}

/// Its own code; 128 and the number of the signal that ended it.
pub fn code_of(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The command as a person would type it.
pub fn words(argv: &[OsString]) -> String {
    let word = |word: &OsString| {
        let text = word.to_string_lossy();
        let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,{}$".contains(c);
        if !text.is_empty() && text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_adce_with_its_own_code_or_with_its_signal() {
        assert_eq!(code_of(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code_of(ExitStatus::from_raw(0)), 0);
        assert_eq!(code_of(ExitStatus::from_raw(15)), 143);
        assert_eq!(code_of(ExitStatus::from_raw(9)), 137);
    }

    #[test]
    fn a_command_is_shown_as_a_person_would_type_it() {
        let argv = ["sh", "-c", "echo it's $X", "", "{url}/a"].map(OsString::from);
        assert_eq!(words(&argv), r"sh -c 'echo it'\''s $X' '' {url}/a");
    }
}
