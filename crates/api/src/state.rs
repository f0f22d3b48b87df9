//! `adce state check` and `adce state backup`.

use adce_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// `adce state check --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReport {
    /// Its file.
    pub state: String,
    /// `false`: no engine has made it yet, and the figures are 0.
    pub exists: bool,
    pub whole: bool,
    /// Whom it belongs to.
    pub name: String,
    pub lake: String,
    pub format: u32,
    pub engine_runs: bool,
    /// Of the file, and of the write-ahead log beside it.
    pub bytes: u64,
    pub log_bytes: u64,
    pub gaps: u64,
    pub tasks: u64,
    /// Attempts under way.
    pub leases: u64,
    pub attempts: u64,
    pub events: u64,
    /// Of attempts and events, of which `engine.history.size` is the most.
    pub history_bytes: u64,
    /// When the oldest attempt that is kept ended.
    pub history_since: Option<Timestamp>,
    /// For a person, one line each.
    pub problems: Vec<String>,
}

/// `adce state backup FILE --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateBackup {
    pub state: String,
    /// The copy.
    pub file: String,
    pub bytes: u64,
}
