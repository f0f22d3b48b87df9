//! What a person does to a running engine, and what it says to that: pauses, cancelled work, a look at once, an end.

use adce_core::ids::{AttemptId, ItemId, TaskId};
use adce_core::spec::Setting;
use adce_core::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that does not start: by hand, or in a maintenance window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseLine {
    /// `everything`, `source` or `dataset`.
    pub of: String,
    pub name: Option<String>,
    pub since: Timestamp,
    /// `null`: until somebody says `adce resume`.
    pub until: Option<Timestamp>,
    pub because: Option<String>,
}

impl PauseLine {
    /// For a person.
    pub fn words(&self) -> String {
        match &self.name {
            Some(name) => format!("{} `{name}`", self.of),
            None => self.of.clone(),
        }
    }
}

/// `adce pause` and `adce resume`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    /// Whether it was otherwise before.
    pub changed: bool,
    /// All that are paused now.
    pub paused: Vec<PauseLine>,
}

/// A line of `adce cancel`: a gap that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelLine {
    pub item: ItemId,
    pub dataset: String,
    pub key: String,
    /// The one that it was in.
    pub task: Option<TaskId>,
    /// The attempt that had it, and is ended.
    pub attempt: Option<AttemptId>,
    /// It is left alone until then, or until `adce retry`.
    pub until: Timestamp,
}

/// `adce run --now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LookBegun {
    /// `false`: one was under way already.
    pub begun: bool,
}

/// `adce stop`: nothing starts any more.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stopping {
    pub pid: u32,
    /// What still runs is ended after so long; `null`: it is ended now.
    pub within_seconds: Option<f64>,
}

/// By which config the engine works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigInForce {
    /// Digest of its files.
    pub edition: String,
    pub settings: Vec<Setting>,
    /// Parts of these that apply when an engine starts.
    #[serde(default)]
    pub at_next_start: Vec<String>,
}
