//! All items that should exist.

use std::collections::BTreeMap;

use super::table::TableFiles;
use crate::gap::Reason;
use crate::ids::ItemId;
use crate::spec::expression::{Scope, Value, Var};
use crate::spec::problem::Problem;
use crate::spec::{Dataset, Spec};
use crate::time::Timestamp;

/// One expected item: its place among all of them, dense from 0, datasets in the order of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemIx(pub u32);

/// All expected items of all datasets.
#[derive(Debug, Default)]
pub struct Expected {
    datasets: Vec<ExpectedDataset>,
    table_rows: BTreeMap<String, u64>,
    prefixes: Vec<String>,
}

/// The items of one dataset.
#[derive(Debug)]
pub struct ExpectedDataset {
    name: String,
    items: std::ops::Range<u32>,
}

impl ExpectedDataset {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn items(&self) -> impl ExactSizeIterator<Item = ItemIx> + use<> {
        self.items.clone().map(ItemIx)
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// Every item that the spec expects, or all that is wrong with them.
pub fn expand(_spec: &Spec, _files: &dyn TableFiles, _now: Timestamp) -> Result<Expected, Vec<Problem>> {
    Ok(Expected::default())
}

impl Expected {
    /// In the order of the config.
    pub fn datasets(&self) -> &[ExpectedDataset] {
        &self.datasets
    }

    /// Of all datasets together.
    pub fn len(&self) -> usize {
        self.datasets.iter().map(ExpectedDataset::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn items(&self) -> impl ExactSizeIterator<Item = ItemIx> + use<> {
        (0..self.len() as u32).map(ItemIx)
    }

    /// Place of its dataset in [`Expected::datasets`].
    pub fn dataset_of(&self, item: ItemIx) -> usize {
        self.datasets.partition_point(|dataset| dataset.items.end <= item.0)
    }

    /// Appends the item's key.
    pub fn key(&self, _item: ItemIx, _key: &mut String) {}

    pub fn id(&self, item: ItemIx) -> ItemId {
        ItemId::of(&self.datasets[self.dataset_of(item)].name, [])
    }

    /// For evaluating `due`, `fresh.until`, `priority` and `--select` of this item.
    pub fn scope(&self, item: ItemIx, now: Timestamp) -> ItemScope<'_> {
        ItemScope { expected: self, item, now, due: None, reason: None }
    }

    /// Every variable of the item, name and text; those without a value are left out.
    pub fn values(&self, _item: ItemIx) -> Vec<(String, String)> {
        Vec::new()
    }

    /// The item whose key is exactly this one.
    pub fn find(&self, _key: &str) -> Option<ItemIx> {
        None
    }

    /// Rows of each table, by dimension.
    pub fn table_rows(&self) -> &BTreeMap<String, u64> {
        &self.table_rows
    }

    /// What to list: the shortest set of prefixes under which every expected key lies.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// Of one dataset of the spec: no item's key begins otherwise.
    pub fn prefix_of<'a>(&self, dataset: &'a Dataset) -> &'a str {
        dataset.key.literal_prefix()
    }
}

/// One item's values, for expressions.
#[derive(Clone, Copy, Debug)]
pub struct ItemScope<'a> {
    expected: &'a Expected,
    item: ItemIx,
    now: Timestamp,
    due: Option<Timestamp>,
    reason: Option<Reason>,
}

impl ItemScope<'_> {
    /// For `overdue`.
    pub fn with_due(self, due: Option<Timestamp>) -> Self {
        ItemScope { due, ..self }
    }

    pub fn with_reason(self, reason: Reason) -> Self {
        ItemScope { reason: Some(reason), ..self }
    }
}

impl Scope for ItemScope<'_> {
    fn value(&self, _at: usize, _var: &Var) -> Value<'_> {
        Value::Null
    }

    fn origin(&self, _var: &Var) -> Option<String> {
        None
    }

    fn now(&self) -> Option<Timestamp> {
        Some(self.now)
    }

    fn due(&self) -> Option<Timestamp> {
        self.due
    }

    fn reason(&self) -> Option<Reason> {
        self.reason
    }

    fn dataset(&self) -> Option<&str> {
        Some(self.expected.datasets[self.expected.dataset_of(self.item)].name())
    }
}
