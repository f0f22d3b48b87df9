//! Jobs: commands on a schedule, without items. What is remembered of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::AttemptId;
use crate::time::Timestamp;

/// What a state remembers of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Whatever was due until then has had its run, or was left out.
    pub seen_to: Timestamp,
    /// The latest ones, oldest first.
    pub runs: Vec<JobRun>,
}

/// So many runs of a job are remembered.
pub const RUNS_KEPT: usize = 20;

/// One run of a job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobRun {
    /// Also the name of its log.
    pub run: Option<AttemptId>,
    /// When it was to run; `None`: somebody asked for it.
    pub due: Option<Timestamp>,
    pub started_at: Timestamp,
    /// `None`: it runs, or its engine ended before it did.
    pub ended_at: Option<Timestamp>,
    /// `exit 0`, `signal 9`, `timeout after 10m`.
    pub ended: Option<String>,
    pub ok: bool,
    /// Starts that this run took.
    pub attempts: u32,
    /// Runs that were due before it, while nobody could, and that it stands for.
    pub missed: u32,
    /// Requests that it sent through adce.
    pub requests: u64,
    pub log: Option<PathBuf>,
    /// What of its `post` steps did not go well.
    pub post_failed: Vec<String>,
}
