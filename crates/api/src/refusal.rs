//! An error as JSON, so that `--format json` and the control socket speak about failures as they do about results.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something was not done. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Lower case, values in backticks: which, where, what is allowed.
    pub message: String,
    /// What to do next.
    #[serde(default)]
    pub hint: Option<String>,
    /// The exit code with which a command ends because of it.
    pub exit_code: u8,
}

impl Refusal {
    /// The request itself is wrong: exit 64.
    pub fn usage(message: impl Into<String>) -> Self {
        Refusal { message: message.into(), hint: None, exit_code: 64 }
    }

    /// The command could not finish: exit 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Refusal { message: message.into(), hint: None, exit_code: 1 }
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `{"error": {…}}`, what `--format json` prints instead of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReply {
    pub error: Refusal,
}
