//! What a full cycle saw, small enough to be remembered: the next one is compared with it, so that a sudden change is
//! a suspicion before it is a fact.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Figures of the last accepted full cycle.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub taken_at: Option<Timestamp>,
    /// Rows of each table, by dimension.
    pub table_rows: BTreeMap<String, u64>,
    /// Expected objects that are there, by dataset.
    pub objects: BTreeMap<String, u64>,
    /// When each dataset's part of the lake was last listed to its end; those that never were are not in it.
    #[serde(default)]
    pub listed_at: BTreeMap<String, Timestamp>,
    /// All expected items.
    pub items: u64,
    /// Items that are gaps.
    pub gaps: u64,
    /// Gaps that this picture opened and that time alone does not explain (falling due, growing stale).
    #[serde(default)]
    pub opened: u64,
}
