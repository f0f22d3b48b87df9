//! What an engine said of itself: a line of `adce logs --format json`, and of the file that it reads.

use adce_core::ids::TaskId;
use adce_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    pub at: Timestamp,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// `started`, `looked`, `failed`, `config`, …
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collector: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// For a person; may have several lines.
    pub text: String,
}
