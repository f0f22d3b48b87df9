//! Exit codes: what a script may conclude from how adce ended. One list for all commands.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Complete; absent and not due items do not prevent it. For other commands: done.
    Complete,
    /// The command itself could not finish: disk full, part of the listing failed.
    Unfinished,
    /// It finished and gaps remain, exhausted ones too.
    GapsRemain,
    /// The command line is wrong.
    Usage,
    /// Lake or state cannot be reached.
    Unreachable,
    /// A bug of adce.
    Bug,
    /// Another engine holds the state.
    Held,
    /// The config is wrong.
    Config,
    /// By Ctrl-C or SIGTERM; the state is clean.
    Interrupted,
    /// That of the command which adce ran; 126 or 127 if it could not be started.
    OfCommand(u8),
}

/// 130 after SIGINT, 143 after SIGTERM.
static INTERRUPTED_WITH: AtomicU8 = AtomicU8::new(130);

/// Remembers the signal that decides the code of [`Exit::Interrupted`].
pub fn interrupted_by(code: u8) {
    INTERRUPTED_WITH.store(code, Ordering::Relaxed);
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Exit::Complete => 0,
            Exit::Unfinished => 1,
            Exit::GapsRemain => 2,
            Exit::Usage => 64,
            Exit::Unreachable => 69,
            Exit::Bug => 70,
            Exit::Held => 75,
            Exit::Config => 78,
            Exit::Interrupted => INTERRUPTED_WITH.load(Ordering::Relaxed),
            Exit::OfCommand(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
