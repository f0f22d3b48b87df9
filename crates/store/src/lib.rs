//! adce's own database: what must survive a kill, and what may not be believed twice.
//!
//! Without it a killed engine would hand a gap to a second owner, spend a window's permits again, and forget how often
//! it had tried. Two stores implement [`adce_core::ports::Store`]: [`sqlite`] for every real run, and [`memory`] for
//! simulations and tests. `tests/conformance.rs` states what holds for both.

mod instants;
pub mod memory;
mod owners;
pub mod sqlite;

/// Whom a state belongs to. One state serves one lake under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The config's `name`.
    pub name: String,
    /// [`adce_core::ports::Lake::identity`]: without secrets.
    pub lake: String,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` under the name `{}`", self.lake, self.name)
    }
}

/// How much history is kept. Gaps, tasks, leases, permits and items are never pruned: only what has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub age: std::time::Duration,
    pub attempts: u64,
    pub events: u64,
    /// Of all logs of attempts together. They lie beside the state and not in it: whoever keeps them there prunes them.
    pub log_bytes: u64,
}

impl Default for Retention {
    /// A quarter of a year answers "what happened to it last month"; the counts bound a state to some hundred
    /// megabytes when thousands of tasks a second pass through it (an attempt with its log tail takes up to 2 kB). Logs may
    /// take as much again.
    fn default() -> Self {
        Retention { age: std::time::Duration::from_secs(90 * 24 * 3600), attempts: 100_000, events: 200_000, log_bytes: 512 << 20 }
    }
}
