//! `adce state check`, `adce state backup` and `adce mark-absent`.

use adce_core::ids::ItemId;
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
    /// Of these, so many whose engine has said nothing for too long: it hangs, sleeps, or is gone.
    #[serde(default)]
    pub leases_expired: u64,
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

/// `adce mark-absent KEY --format json`: what its line in the list says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedAbsent {
    pub key: String,
    pub dataset: String,
    pub item: ItemId,
    /// The list, as the config names it.
    pub file: String,
    /// It was there before, and nothing was written.
    pub already: bool,
    pub reason: String,
    /// `2025-03-09`; of a line by hand perhaps empty.
    pub date: String,
    pub by: String,
}
