//! What is on record, as an engine lists it: attempts, its config, tokens, and what was done.

use adce_core::access::Role;
use adce_core::gap::GapState;
use adce_core::ids::TaskId;
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::AttemptLine;

/// An attempt that has ended, among those of all tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EndedAttempt {
    /// Grows with every attempt that ends.
    pub number: u64,
    pub task: TaskId,
    pub collector: String,
    #[serde(flatten)]
    pub line: AttemptLine,
}

/// The config by which an engine runs, as it is written: variables and secrets stand in it by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigReport {
    /// Digest of its files.
    pub id: String,
    pub changed_at: Option<Timestamp>,
    pub files: Vec<ConfigText>,
    pub sources: Vec<String>,
    pub datasets: Vec<DatasetRule>,
    pub collectors: Vec<CollectorRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigText {
    pub name: String,
    pub text: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetRule {
    pub name: String,
    /// Its template.
    pub key: String,
    pub source: Option<String>,
    /// `null`: it is only watched.
    pub collector: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CollectorRule {
    pub name: String,
    /// `command` or `http`.
    pub kind: String,
    /// Of the datasets that it collects.
    pub sources: Vec<String>,
}

/// What somebody wants collected soon.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// Of this source; or:
    #[serde(default)]
    pub source: Option<String>,
    /// of this dataset.
    #[serde(default)]
    pub dataset: Option<String>,
    /// Only items of these days (UTC), both included: by their calendar, else by when they fell due.
    #[serde(default)]
    pub date_range: Option<DateRange>,
    /// At least this one, until each is there.
    #[serde(default)]
    pub priority: Option<PriorityLevel>,
    /// Why, for the audit log.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DateRange {
    pub start: jiff::civil::Date,
    pub end: jiff::civil::Date,
}

/// What came of that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// Gaps that are meant; what is there already is not collected again.
    pub items: u64,
    /// Of these: they are being collected now.
    pub running: u64,
    /// Of these: they are only watched, contested or doubted, and stay as they are.
    pub left_alone: u64,
    /// In the order in which they would start.
    pub tasks: Vec<RequestedTask>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestedTask {
    pub id: TaskId,
    pub state: GapState,
    pub priority: PriorityLevel,
    /// Among all tasks; 1: the best one.
    pub position: u64,
    pub items: u32,
}

/// A line of `adce token list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenLine {
    pub name: String,
    pub role: Role,
    pub created_at: Timestamp,
    /// `null`: it holds until it is revoked.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

/// Something that a person or a program did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLine {
    /// Grows with each.
    pub number: u64,
    pub at: Timestamp,
    /// `shell`, or the name of a token.
    pub who: String,
    /// `retry`, `cancel`, `pause`, `resume`, `look`, `accept`, `request`, `stop`, `token create`, `token revoke`.
    pub action: String,
    /// A key, a task, a source or a dataset; empty: everything.
    pub what: String,
    pub reason: Option<String>,
    /// How it was, and how it is.
    pub before: Option<serde_json::Value>,
    pub after: Option<serde_json::Value>,
}
