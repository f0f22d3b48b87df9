//! What is kept from starting for a while although nothing is wrong with it: a person wants it so, or a maintenance window does.
//!
//! Without it the only way to leave an upstream alone for an evening is to stop everything. A pause keeps from starting, and ends
//! nothing: what runs is finished.

use serde::{Deserialize, Serialize};

use crate::spec::Spec;
use crate::time::Timestamp;

/// Whom a pause is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "of", content = "name")]
pub enum PauseOf {
    Everything,
    Source(String),
    Dataset(String),
}

impl PauseOf {
    /// For a person.
    pub fn words(&self) -> String {
        match self {
            PauseOf::Everything => "everything".into(),
            PauseOf::Source(name) => format!("source `{name}`"),
            PauseOf::Dataset(name) => format!("dataset `{name}`"),
        }
    }

    /// What a person means by `espn`, `source:espn` or `dataset:box_scores`. The error: what is wrong with it.
    pub fn named(name: &str, spec: &Spec) -> Result<PauseOf, String> {
        let is_source = |name: &str| spec.sources.contains_key(name);
        let is_dataset = |name: &str| spec.datasets.contains_key(name);
        match (name.strip_prefix("source:"), name.strip_prefix("dataset:")) {
            (Some(source), _) if is_source(source) => return Ok(PauseOf::Source(source.into())),
            (_, Some(dataset)) if is_dataset(dataset) => return Ok(PauseOf::Dataset(dataset.into())),
            _ => {}
        }
        match (is_source(name), is_dataset(name)) {
            (true, true) => Err(format!("`{name}` is a source and a dataset: say `source:{name}` or `dataset:{name}`")),
            (true, false) => Ok(PauseOf::Source(name.into())),
            (false, true) => Ok(PauseOf::Dataset(name.into())),
            (false, false) => Err(format!("no source and no dataset is called `{name}`")),
        }
    }

    /// What a person types; `None`: everything.
    pub fn name(&self) -> Option<&str> {
        match self {
            PauseOf::Everything => None,
            PauseOf::Source(name) | PauseOf::Dataset(name) => Some(name),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    pub since: Timestamp,
    /// `None`: until somebody says so.
    pub until: Option<Timestamp>,
    /// For a person: who wants it and why.
    pub because: Option<String>,
}
