//! `adce jobs --format json`.

use adce_core::ids::AttemptId;
use adce_core::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLine {
    pub name: String,
    /// `null`: its schedule has no more.
    pub next: Option<Timestamp>,
    /// `null`: it has not run yet.
    pub last: Option<JobRunLine>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRunLine {
    pub run: Option<AttemptId>,
    pub due: Option<Timestamp>,
    pub started_at: Timestamp,
    /// `null`: it is under way, or its engine ended before it did.
    pub ended_at: Option<Timestamp>,
    /// `exit 0`, `timeout after 10m`
    pub ended: Option<String>,
    pub ok: bool,
    pub attempts: u32,
    /// Runs before it, due while nobody was there, that it stands for.
    pub missed: u32,
    pub requests: u64,
    pub log: Option<String>,
    /// What of its `post` steps did not go well.
    pub post_failed: Vec<String>,
}
