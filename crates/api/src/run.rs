//! What `run` and `demo` print as their last JSON object.
//!
//! Figures here are claims that a sceptic checks against the upstream's own log, so each says what exactly it counts.

use std::collections::BTreeMap;

use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::coverage::Counts;
use crate::status::Traffic;

/// The last object of `adce run --format json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    pub complete: bool,
    /// Gaps that attempts of this run closed, checked in the lake.
    pub filled: u64,
    /// Attempts that filled nothing and found nothing absent.
    pub failed: u64,
    /// Items that upstream turned out not to have.
    pub absent: u64,
    pub attempts: u64,
    pub requests: u64,
    pub elapsed_seconds: f64,
    pub sources: IndexMap<String, SourceUse>,
    /// Gaps that remain, whatever their state.
    #[serde(default)]
    pub remaining: u64,
    /// Coverage at the end: by the last cycle, and of an interrupted run with what landed since.
    #[serde(default)]
    pub coverage: Counts,
    /// Surprises that are held.
    #[serde(default)]
    pub held: Vec<String>,
    /// What `tasks_per_cycle` and `task_ttl` keep for the next full look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_for_next_cycle: Vec<Kept>,
    #[serde(default)]
    pub interrupted: bool,
    /// Hosts that commands asked and that no source declares; at most a hundred.
    #[serde(default)]
    pub uncovered: Vec<Uncovered>,
    /// Only in `adce demo`: what the upstream counted itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<UpstreamCounts>,
}

/// Tasks over a cap, or gaps whose tasks have ended by `task_ttl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// `tasks_per_cycle` or `task_ttl`.
    pub by: String,
    /// Whose cap it is; `null`: that of all together.
    pub priority: Option<PriorityLevel>,
    pub tasks: u64,
    pub gaps: u64,
    pub next_cycle: Option<Timestamp>,
}

/// A host that no source declares, and who asked it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Uncovered {
    pub collector: String,
    pub host: String,
    /// Requests, and connections that nobody can look into.
    pub passed: u64,
    pub refused: u64,
}

/// What this run asked of one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SourceUse {
    pub requests: u64,
    /// Requests ÷ (N·elapsed/W) of the tightest window; `null` without a window.
    pub quota_used: Option<f64>,
    /// The same ÷ what the proof leaves: N·W/(W + mean settle time).
    pub quota_share: Option<f64>,
    /// Time in which something could have started but for a permit.
    pub waited_seconds: f64,
    /// Answers of 429 that came back.
    pub throttled: u64,
    pub windows: Vec<WindowUse>,
    /// What was sent to it through adce and what came back.
    #[serde(default)]
    pub traffic: Traffic,
}

/// One exact window and the most that any span of its length saw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WindowUse {
    pub seconds: f64,
    pub limit: u32,
    pub most: u32,
}

/// Counted by the upstream, with windows of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpstreamCounts {
    pub requests: u64,
    /// Only answers given because a limit was exceeded; must be 0.
    pub answered_429: u64,
    pub windows_exceeded: u64,
    /// What it did for no fault of ours, by kind: `429`, `500`, `truncated`, `empty`, `block_page`, `never`.
    pub moods: BTreeMap<String, u64>,
    #[serde(default)]
    pub longest_wait_seconds: f64,
}
