//! What `coverage` prints as JSON: where each dataset stands, and the cells of a rollup.

use adce_core::coverage::Counts as ItemCounts;
use adce_core::time::Timestamp;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Counts, DatasetCoverage};

/// What coverage is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageAsk {
    /// `None`: all.
    #[serde(default)]
    pub dataset: Option<String>,
    /// `source`, `dataset`, `season`, `game.season`, `month`, `tip:week`; none: of one dataset what is usual, of all nothing.
    #[serde(default)]
    pub by: Vec<String>,
}

/// `adce coverage --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageReport {
    pub name: String,
    pub lake: String,
    /// The instant for which all of this holds.
    pub at: Timestamp,
    /// The one that was asked for; `null`: all.
    pub dataset: Option<String>,
    /// Nothing of what was asked for is missing, stale, undersized, suspect or unknown, and nothing is held.
    pub complete: bool,
    /// Whether each dataset has as much as its `require` asks for; `null`: none asks for anything.
    #[serde(default)]
    pub healthy: Option<bool>,
    /// Of what was asked for.
    pub coverage: Counts,
    pub datasets: IndexMap<String, DatasetCoverage>,
    /// What the cells are told apart by, in the order of their values.
    #[serde(default)]
    pub by: Vec<CoverageAxis>,
    /// Those with at least one item, whatever its state, the last axis fastest. Empty where nothing is told apart.
    #[serde(default)]
    pub cells: Vec<CoverageCell>,
    /// Datasets that do not know what is counted by, and are not in the cells.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Surprises that are held until a later cycle or `adce accept` confirms them.
    #[serde(default)]
    pub held: Vec<String>,
    /// With `--trend`: how complete each dataset was at the looks of `adce run`, oldest first; of each hour the last after a day, of
    /// each day after a month.
    #[serde(default)]
    pub trend: IndexMap<String, Vec<TrendLine>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrendLine {
    pub at: Timestamp,
    pub present: u64,
    /// Expected − absent.
    pub wanted: u64,
    /// From 0 to 1; where nothing was wanted 1.
    pub completeness: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageAxis {
    /// `season`; `tip:month`, also where only `month` was asked for.
    pub name: String,
    /// `hour`, `day`, `week`, `month` or `year`; `null`: values as they are.
    #[serde(default)]
    pub pace: Option<String>,
    /// All that there are, in order; `null`: items without a value.
    pub values: Vec<Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "CellLine", into = "CellLine")]
pub struct CoverageCell {
    /// One of each axis.
    pub values: Vec<Option<String>>,
    pub items: ItemCounts,
}

/// [`CoverageCell`] as it is written: all figures side by side. What is worked out is not read back.
#[derive(Serialize, Deserialize, JsonSchema)]
struct CellLine {
    values: Vec<Option<String>>,
    expected: u64,
    #[serde(flatten)]
    items: ItemCounts,
    /// Present ÷ (expected − absent); `null` where nothing is expected yet.
    completeness: Option<f64>,
}

impl From<CoverageCell> for CellLine {
    fn from(CoverageCell { values, items }: CoverageCell) -> Self {
        let completeness = (items.wanted() > 0).then(|| items.completeness());
        CellLine { values, expected: items.expected(), items, completeness }
    }
}

impl From<CellLine> for CoverageCell {
    fn from(CellLine { values, items, .. }: CellLine) -> Self {
        CoverageCell { values, items }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_tells_its_values_its_figures_and_their_share() {
        let items = ItemCounts { present: 3, missing: 1, absent: 2, not_due: 5, ..ItemCounts::default() };
        let cell = CoverageCell { values: vec![Some("2024-25".into()), None], items };
        let json = serde_json::to_value(&cell).unwrap();
        assert_eq!(json["values"], serde_json::json!(["2024-25", null]));
        assert_eq!((&json["expected"], &json["present"], &json["completeness"]), (&6.into(), &3.into(), &0.75.into()));
        assert_eq!(serde_json::from_value::<CoverageCell>(json).unwrap(), cell);
        let nothing_yet = CoverageCell { values: Vec::new(), items: ItemCounts { not_due: 1, ..ItemCounts::default() } };
        assert!(serde_json::to_value(nothing_yet).unwrap()["completeness"].is_null());
    }
}
