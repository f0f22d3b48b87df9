//! What a full cycle saw, small enough to be remembered: the next one is compared with it, so that a sudden change is
//! a suspicion before it is a fact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sketch::Sketch;
use crate::time::Timestamp;

/// Figures of the last accepted full cycle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub taken_at: Option<Timestamp>,
    /// Rows of each table, by dimension.
    pub table_rows: BTreeMap<String, u64>,
    /// Expected objects that are there, by dataset.
    pub objects: BTreeMap<String, u64>,
    /// When each dataset's part of the lake was last listed to its end; `None`: it is expected, and never was.
    #[serde(default)]
    pub listed_at: BTreeMap<String, Option<Timestamp>>,
    /// Which items were present then, by dataset.
    #[serde(default)]
    pub present: BTreeMap<String, Sketch>,
    /// All expected items.
    pub items: u64,
    /// Items that are gaps.
    pub gaps: u64,
    /// Gaps that this picture opened and that time alone does not explain (falling due, growing stale).
    #[serde(default)]
    pub opened: u64,
}

impl Picture {
    /// When this dataset's part of the lake was last listed to its end, if ever.
    pub fn listed_at(&self, dataset: &str) -> Option<Timestamp> {
        self.listed_at.get(dataset).copied().flatten()
    }

    /// This dataset was expected already, and nobody could ever look at its part of the lake.
    pub fn never_saw(&self, dataset: &str) -> bool {
        self.listed_at.get(dataset) == Some(&None)
    }
}
