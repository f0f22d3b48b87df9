//! What `plan` and `gaps` print as JSON: coverage figures, the order of work, and the gaps by name.
//!
//! A contract with programs that read it: fields may be added, none is renamed or dropped. Times are RFC 3339 with
//! `Z`, spans are seconds. A field without a value is `null`, so that a reader can rely on its being there.

use adce_core::gap::{GapState, Reason};
use adce_core::ids::{ItemId, TaskId};
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The items of one dataset, or of all of them, by state.
///
/// `expected` = `present` + `missing` + `stale` + `undersized` + `suspect` + `absent` (+ `unknown`); `not_due` and
/// `expired` are outside of it, and so is `unexpected`, which counts objects and not items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub expected: u64,
    pub present: u64,
    pub missing: u64,
    pub stale: u64,
    pub undersized: u64,
    pub suspect: u64,
    pub absent: u64,
    pub not_due: u64,
    pub expired: u64,
    pub unexpected: u64,
    /// In a part of the lake that could not be listed, and nothing older that could still hold is known of them.
    #[serde(default)]
    pub unknown: u64,
}

impl Counts {
    /// Items that are gaps.
    pub fn gaps(&self) -> u64 {
        self.missing + self.stale + self.undersized + self.suspect
    }

    /// Nothing missing, stale, undersized, suspect or unknown.
    pub fn is_complete(&self) -> bool {
        self.gaps() == 0 && self.unknown == 0
    }

    /// Present ÷ (expected − absent); 1 if nothing is expected.
    pub fn completeness(&self) -> f64 {
        match self.expected.saturating_sub(self.absent) {
            0 => 1.0,
            due => self.present as f64 / due as f64,
        }
    }

    pub fn add(&mut self, other: &Counts) {
        self.expected += other.expected;
        self.present += other.present;
        self.missing += other.missing;
        self.stale += other.stale;
        self.undersized += other.undersized;
        self.suspect += other.suspect;
        self.absent += other.absent;
        self.not_due += other.not_due;
        self.expired += other.expired;
        self.unexpected += other.unexpected;
        self.unknown += other.unknown;
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DatasetCoverage {
    #[serde(flatten)]
    pub counts: Counts,
    /// Present ÷ (expected − absent), from 0 to 1.
    pub completeness: f64,
    /// When the next item falls due that is not due now.
    #[serde(default)]
    pub next_due: Option<Timestamp>,
    /// How many items fall due on that day (UTC).
    #[serde(default)]
    pub next_due_items: u64,
    /// Some keys that nobody expects, not all of them.
    #[serde(default)]
    pub unexpected_keys: Vec<String>,
    /// Why figures of this dataset may be older than this call: a prefix that could not be listed.
    #[serde(default)]
    pub listing_error: Option<String>,
    /// When its part of the lake was last listed to its end.
    #[serde(default)]
    pub listed_at: Option<Timestamp>,
}

/// `adce plan --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub name: String,
    pub lake: String,
    /// The instant for which all of this holds.
    pub at: Timestamp,
    pub complete: bool,
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
    /// Surprises that are held until a later cycle or `adce accept` confirms them.
    #[serde(default)]
    pub held: Vec<String>,
    #[serde(default)]
    pub hints: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedItem {
    pub dataset: String,
    pub key: String,
    pub reason: Reason,
    pub detected_at: Timestamp,
    #[serde(default)]
    pub item: Option<ItemId>,
}

/// Gaps without a task, or with one that nothing will start now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub gaps: u64,
    /// For a person: `` `box` has no collector ``.
    pub why: String,
}

/// What decides when the work is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// A source's name; `null`: the slots.
    pub source: Option<String>,
    /// For a person: `1 every 3 s`.
    pub text: String,
}

/// What is set aside for some priorities is not there for the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReservePrice {
    pub priorities: Vec<PriorityLevel>,
    /// Until all of it would be done if nothing were set aside.
    pub eta_seconds_without: f64,
    pub costs_seconds: f64,
}

/// A line of `adce gaps --format json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapLine {
    pub item: ItemId,
    pub dataset: String,
    pub key: String,
    pub reason: Reason,
    pub state: GapState,
    pub detected_at: Timestamp,
    /// Attempts used up in this round.
    pub attempts: u32,
    pub next_try: Option<Timestamp>,
    #[serde(default)]
    pub due: Option<Timestamp>,
    #[serde(default)]
    pub priority: PriorityLevel,
    #[serde(default)]
    pub task: Option<TaskId>,
    #[serde(default)]
    pub last_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_item_does_not_lower_completeness() {
        let counts = Counts { expected: 10, present: 8, absent: 2, ..Counts::default() };
        assert_eq!(counts.completeness(), 1.0);
        assert!(counts.is_complete());
    }

    #[test]
    fn an_unlisted_part_of_the_lake_is_never_called_complete() {
        let counts = Counts { expected: 10, present: 8, unknown: 2, ..Counts::default() };
        assert!(!counts.is_complete());
    }

    #[test]
    fn counts_of_a_dataset_stand_beside_its_other_fields() {
        let coverage = DatasetCoverage { counts: Counts { expected: 3, ..Counts::default() }, ..DatasetCoverage::default() };
        let json = serde_json::to_value(&coverage).unwrap();
        assert_eq!(json["expected"], 3);
        assert_eq!(serde_json::from_value::<DatasetCoverage>(json).unwrap(), coverage);
    }
}
