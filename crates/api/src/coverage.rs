//! What `plan` and `gaps` print as JSON: coverage figures, the order of work, and the gaps by name.
//!
//! A contract with programs that read it: fields may be added, none is renamed or dropped. Times are RFC 3339 with
//! `Z`, spans are seconds. A field without a value is `null`, so that a reader can rely on its being there.

use std::ops::AddAssign;

use adce_core::coverage::Counts as ItemCounts;
use adce_core::gap::{GapState, Reason};
use adce_core::ids::{ItemId, TaskId};
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::report::InventoryReport;

/// The items of one dataset, or of all of them, by state, and what lies there beside them.
///
/// On the wire all figures stand side by side, and `expected` with them: `present` + `missing` + `stale` + `undersized` +
/// `suspect` + `absent` (+ `unknown`). `not_due`, `expired` and `out_of_scope` are outside of it, and so is `unexpected`, which counts
/// objects and not items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "CountsLine", into = "CountsLine")]
pub struct Counts {
    pub items: ItemCounts,
    pub unexpected: u64,
}

/// [`Counts`] as it is written. What is read of `expected` is not believed: it is worked out again.
#[derive(Serialize, Deserialize, JsonSchema)]
struct CountsLine {
    expected: u64,
    #[serde(flatten)]
    items: ItemCounts,
    unexpected: u64,
}

impl From<Counts> for CountsLine {
    fn from(Counts { items, unexpected }: Counts) -> Self {
        CountsLine { expected: items.expected(), items, unexpected }
    }
}

impl From<CountsLine> for Counts {
    fn from(CountsLine { items, unexpected, .. }: CountsLine) -> Self {
        Counts { items, unexpected }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.items += other.items;
        self.unexpected += other.unexpected;
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatasetCoverage {
    #[serde(flatten)]
    pub counts: Counts,
    /// Present ÷ (expected − absent), from 0 to 1.
    pub completeness: f64,
    /// A dataset that feeds one of its tables has gaps: there may be more items than are counted, and it is not complete.
    #[serde(default)]
    pub lower_bound: bool,
    /// Why, in words.
    #[serde(default)]
    pub not_counted: Option<String>,
    /// When the next item falls due that is not due now.
    #[serde(default)]
    pub next_due: Option<Timestamp>,
    /// How many items fall due on that day (UTC).
    #[serde(default)]
    pub next_due_items: u64,
    /// Some keys that nobody expects, not all of them.
    #[serde(default)]
    pub unexpected_keys: Vec<String>,
    /// The folders in which most of those lie, the fullest first; 64 of them at most.
    #[serde(default)]
    pub unexpected_folders: Vec<UnexpectedFolder>,
    /// `require` of the config, from 0 to 1.
    #[serde(default)]
    pub require: Option<f64>,
    /// Whether so much is present; `null`: nothing is required.
    #[serde(default)]
    pub healthy: Option<bool>,
    /// What half of its objects have at most; `null`: there are too few to tell.
    #[serde(default)]
    pub usual_bytes: Option<u64>,
    /// Objects above `max_size`: warned of, and no gaps.
    #[serde(default)]
    pub oversized: StrangeSizes,
    /// Objects whose size is far from the others': warned of, and no gaps.
    #[serde(default)]
    pub unusual: StrangeSizes,
    /// Why figures of this dataset may be older than this call: a prefix that could not be listed.
    #[serde(default)]
    pub listing_error: Option<String>,
    /// When its part of the lake was last listed to its end.
    #[serde(default)]
    pub listed_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StrangeSizes {
    pub objects: u64,
    /// The first few of them.
    #[serde(default)]
    pub named: Vec<SizeOf>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SizeOf {
    pub key: String,
    pub bytes: u64,
}

impl DatasetCoverage {
    /// For those that have a `require`, after its figures have changed.
    pub fn judge_health(&mut self) {
        let permille = self.require.map(|share| (share * 1_000.0).round() as u32);
        self.healthy = permille.map(|permille| self.counts.items.meets(permille));
    }
}

/// Whether all datasets have as much as they require; `None`: none of them requires anything.
pub fn health<'a>(datasets: impl IntoIterator<Item = &'a DatasetCoverage>) -> Option<bool> {
    datasets.into_iter().filter_map(|dataset| dataset.healthy).reduce(|all, one| all && one)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnexpectedFolder {
    /// With its slash; empty: the top of the lake.
    pub folder: String,
    pub objects: u64,
    /// So many of them at most may lie elsewhere: where there are very many folders not all are counted at a time.
    #[serde(default)]
    pub over: u64,
}

/// `adce plan --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub name: String,
    pub lake: String,
    /// The instant for which all of this holds.
    pub at: Timestamp,
    pub complete: bool,
    /// Whether each dataset has as much as its `require` asks for; `null`: none asks for anything.
    #[serde(default)]
    pub healthy: Option<bool>,
    pub coverage: Counts,
    pub datasets: IndexMap<String, DatasetCoverage>,
    /// In the order in which they would start.
    pub tasks: Vec<PlannedTask>,
    pub requests: u64,
    /// Until all of it is done under the limits; `null` if something is held or cannot be forecast.
    pub eta_seconds: Option<f64>,
    #[serde(default)]
    pub bottleneck: Option<Bottleneck>,
    /// What `engine.reserve` makes the rest wait; `null`: nothing is set aside.
    #[serde(default)]
    pub reserve: Option<ReservePrice>,
    /// Gaps that no task will fill now, and why.
    #[serde(default)]
    pub left: Vec<LeftOut>,
    /// By which inventory report this is known; `null`: the config names none.
    #[serde(default)]
    pub report: Option<InventoryReport>,
    /// Surprises that are held until a later cycle or `adce accept` confirms them.
    #[serde(default)]
    pub held: Vec<String>,
    #[serde(default)]
    pub hints: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedTask {
    pub id: TaskId,
    pub collector: String,
    #[serde(default)]
    pub source: Option<String>,
    pub priority: PriorityLevel,
    /// In points, as in the config.
    pub score: f64,
    /// The values of the collector's `group_by` that its items share.
    #[serde(default)]
    pub group: Vec<String>,
    pub items: Vec<PlannedItem>,
    pub requests: u64,
    /// When the forecast has it done.
    #[serde(default)]
    pub done_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedItem {
    pub dataset: String,
    pub key: String,
    pub reason: Reason,
    pub detected_at: Timestamp,
    #[serde(default)]
    pub item: Option<ItemId>,
}

/// Gaps without a task, or with one that nothing will start now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    pub gaps: u64,
    /// For a person: `` `box` has no collector ``.
    pub why: String,
}

/// What decides when the work is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bottleneck {
    /// A source's name; `null`: the slots.
    pub source: Option<String>,
    /// `customer=acme`: of limits that each value has for itself, the one that takes longest.
    #[serde(default)]
    pub value: Option<String>,
    /// For a person: `1 every 3 s`.
    pub text: String,
}

/// What is set aside for some priorities is not there for the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReservePrice {
    pub priorities: Vec<PriorityLevel>,
    /// Until all of it would be done if nothing were set aside.
    pub eta_seconds_without: f64,
    pub costs_seconds: f64,
}

/// A line of `adce gaps --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapLine {
    pub item: ItemId,
    pub dataset: String,
    pub key: String,
    pub reason: Reason,
    pub state: GapState,
    pub detected_at: Timestamp,
    /// Attempts used up in this round.
    pub attempts: u32,
    /// Attempts of all rounds, those that used nothing up included.
    #[serde(default)]
    pub tries: u32,
    pub next_try: Option<Timestamp>,
    #[serde(default)]
    pub due: Option<Timestamp>,
    #[serde(default)]
    pub priority: PriorityLevel,
    #[serde(default)]
    pub task: Option<TaskId>,
    #[serde(default)]
    pub last_error: Option<String>,
    /// An attempt may have changed its object, and nobody could look since: whatever lies there, it stays a gap until
    /// somebody did.
    #[serde(default)]
    pub in_doubt: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_dataset_stand_beside_its_other_fields_and_tell_their_sum() {
        let items = ItemCounts { present: 8, missing: 1, absent: 2, not_due: 5, ..ItemCounts::default() };
        let coverage = DatasetCoverage { counts: Counts { items, unexpected: 7 }, ..DatasetCoverage::default() };
        let json = serde_json::to_value(&coverage).unwrap();
        let figures = [
            ("expected", 11),
            ("present", 8),
            ("missing", 1),
            ("stale", 0),
            ("undersized", 0),
            ("suspect", 0),
            ("absent", 2),
            ("not_due", 5),
            ("expired", 0),
            ("unexpected", 7),
            ("unknown", 0),
        ];
        for (name, figure) in figures {
            assert_eq!(json[name], figure, "{name}");
        }
        assert_eq!(serde_json::from_value::<DatasetCoverage>(json).unwrap(), coverage);
    }
}
