//! All items that should exist: each dataset's product of dimensions, less what its `where` leaves out.
//!
//! An item is its place among all items, and everything else about it is worked out from that place when somebody
//! asks: its dimension values by mixed radix, from them its key. So a million items cost a few bytes each, and not a
//! text each. The way back is worked out from the key as well where that can be proven to be possible (`reader`), and a hash
//! table of places where it cannot; a key belongs to the item that writes exactly this key
//! (`every_key_finds_its_item_and_no_other`), and no two items of all datasets write the same one.
//!
//! Dataset and dimension values alone make an item's id; the key template is no part of it.

mod also;
mod build;
mod collisions;
mod keys;
mod pick_ups;
mod sets;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use hashbrown::HashMap;

pub use also::Spot;
pub(super) use build::Wrong;
pub use build::{expand, expand_after};
pub use keys::Finder;

use super::known::Known;
use super::needs::Need;
use super::values::DimensionValues;
use super::writer::{Digits, KeyWriter, MOST_DIMENSIONS};
use crate::gap::Reason;
use crate::ids::ItemId;
use crate::spec::expression::{Scope, Value, Var};
use crate::spec::names::{Names, VarRef};
use crate::time::Timestamp;

/// One expected item: its place among all of them, dense from 0, datasets in the order of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemIx(pub u32);

/// All expected items of all datasets.
#[derive(Debug, Default)]
pub struct Expected {
    /// Of the whole config, whoever uses them.
    dimensions: Vec<DimensionValues>,
    datasets: Vec<ExpectedDataset>,
    table_rows: BTreeMap<String, u64>,
    prefixes: Vec<String>,
    keys: keys::Keys,
    /// Older places, too: of datasets that have some.
    older: also::OlderPlaces,
    /// Of items that are sets of objects.
    sets: sets::SetPlaces,
    /// What items of one dataset need of another.
    pub(super) needs: Vec<Need>,
    /// Which datasets' objects have the rows of which others' tables.
    fed: Vec<Fed>,
    pub(super) known: Known,
}

/// A dataset one of whose tables is derived from another one's objects.
#[derive(Debug)]
pub struct Fed {
    /// Places of both in [`Expected::datasets`].
    pub dataset: usize,
    pub by: usize,
    pub dimension: String,
    /// Objects that are there and could not be read, and why.
    pub unread: BTreeMap<String, String>,
}

/// The items of one dataset.
#[derive(Debug)]
pub struct ExpectedDataset {
    name: String,
    pub(super) items: std::ops::Range<u32>,
    /// Its `for`: places in [`Expected::dimensions`].
    pub(super) dimensions: Vec<usize>,
    /// Values of each.
    pub(super) sizes: Digits,
    /// With a `where`: the places in the whole product of those that it keeps, ascending.
    pub(super) kept: Option<Vec<u32>>,
    writer: KeyWriter,
    /// Its `also`.
    older: Vec<KeyWriter>,
    names: Names,
    /// Every name that an expression may use for a column, qualified or not.
    vars: HashMap<String, VarRef>,
    /// All columns, under the names that [`Expected::values`] gives them.
    shown: Vec<(String, VarRef)>,
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

    /// The names of its `for`, now that all tables are read.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Its part of all items.
    pub(super) fn places(&self) -> std::ops::Range<u32> {
        self.items.clone()
    }

    /// Values of each dimension, and the places in the product of those that `where` keeps, if it has one.
    pub(super) fn shape(&self) -> (&[u32], Option<&[u32]>) {
        (&self.sizes[..self.dimensions.len()], self.kept.as_deref())
    }

    /// Place of each dimension's value; the last dimension changes fastest.
    pub(super) fn digits(&self, item: ItemIx) -> Digits {
        let within = item.0 - self.items.start;
        let rank = self.kept.as_ref().map_or(within, |kept| kept[within as usize]);
        self.digits_of_rank(rank)
    }

    fn digits_of_rank(&self, mut rank: u32) -> Digits {
        let mut digits = [0; MOST_DIMENSIONS];
        for at in (0..self.dimensions.len()).rev() {
            digits[at] = rank % self.sizes[at];
            rank /= self.sizes[at];
        }
        digits
    }
}

/// The values of one dataset's dimensions, in the order of its `for`.
struct Across<'a> {
    values: [&'a DimensionValues; MOST_DIMENSIONS],
    count: usize,
}

impl<'a> Across<'a> {
    fn new(dimensions: &'a [DimensionValues], of: &[usize]) -> Self {
        let mut values = [&dimensions[of[0]]; MOST_DIMENSIONS];
        for (at, dimension) in of.iter().enumerate() {
            values[at] = &dimensions[*dimension];
        }
        Across { values, count: of.len() }
    }

    fn as_slice(&self) -> &[&'a DimensionValues] {
        &self.values[..self.count]
    }
}

impl Expected {
    /// In the order of the config.
    pub fn datasets(&self) -> &[ExpectedDataset] {
        &self.datasets
    }

    /// The values of each dimension of its `for`, in that order.
    pub(super) fn dimensions_of<'a>(&'a self, dataset: &'a ExpectedDataset) -> impl ExactSizeIterator<Item = &'a DimensionValues> {
        dataset.dimensions.iter().map(|dimension| &self.dimensions[*dimension])
    }

    /// Of all datasets together.
    pub fn len(&self) -> usize {
        self.datasets.last().map_or(0, |dataset| dataset.items.end as usize)
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
    pub fn key(&self, item: ItemIx, key: &mut String) {
        let dataset = &self.datasets[self.dataset_of(item)];
        let across = Across::new(&self.dimensions, &dataset.dimensions);
        dataset.writer.write_known(across.as_slice(), &dataset.digits(item), key);
    }

    pub fn id(&self, item: ItemIx) -> ItemId {
        let dataset = &self.datasets[self.dataset_of(item)];
        let digits = dataset.digits(item);
        let mut text = String::with_capacity(64);
        let mut ends = [0; MOST_DIMENSIONS];
        for (at, dimension) in dataset.dimensions.iter().enumerate() {
            self.dimensions[*dimension].write_canonical(digits[at] as usize, &mut text);
            ends[at] = text.len();
        }
        let values = (0..dataset.dimensions.len()).map(|at| &text[if at == 0 { 0 } else { ends[at - 1] }..ends[at]]);
        ItemId::of(&dataset.name, values)
    }

    /// `game=401, quarter=q1`: the item for people.
    pub fn describe(&self, item: ItemIx) -> String {
        let dataset = &self.datasets[self.dataset_of(item)];
        self.describe_digits(dataset, &dataset.digits(item))
    }

    fn describe_digits(&self, dataset: &ExpectedDataset, digits: &Digits) -> String {
        describe(&Across::new(&self.dimensions, &dataset.dimensions), digits)
    }

    /// For evaluating `due`, `fresh.until`, `priority` and `--select` of this item.
    pub fn scope(&self, item: ItemIx, now: Timestamp) -> ItemScope<'_> {
        let dataset = &self.datasets[self.dataset_of(item)];
        ItemScope { dimensions: &self.dimensions, dataset, digits: dataset.digits(item), now, due: None, reason: None }
    }

    /// Every variable of the item, name and text; null has an empty text.
    pub fn values(&self, item: ItemIx) -> Vec<(String, String)> {
        let dataset = &self.datasets[self.dataset_of(item)];
        let digits = dataset.digits(item);
        let text = |var: &VarRef| {
            let mut text = String::new();
            let dimension = usize::from(var.dimension);
            self.dimensions[dataset.dimensions[dimension]].write(var.column, digits[dimension] as usize, &mut text);
            text
        };
        dataset.shown.iter().map(|(name, var)| (name.clone(), text(var))).collect()
    }

    /// What a name of the config means for the item, qualified or not; null has an empty text. `None`: it has no such thing.
    pub fn value(&self, item: ItemIx, name: &str) -> Option<String> {
        let dataset = &self.datasets[self.dataset_of(item)];
        let var = dataset.vars.get(name)?;
        let dimension = usize::from(var.dimension);
        let mut text = String::new();
        self.dimensions[dataset.dimensions[dimension]].write(var.column, dataset.digits(item)[dimension] as usize, &mut text);
        Some(text)
    }

    /// When the span of its first calendar begins; `None`: it has none.
    pub fn calendar_start(&self, item: ItemIx) -> Option<Timestamp> {
        let dataset = &self.datasets[self.dataset_of(item)];
        let at = dataset.dimensions.iter().position(|dimension| self.dimensions[*dimension].is_calendar())?;
        self.dimensions[dataset.dimensions[at]].span(dataset.digits(item)[at] as usize).map(|(start, _)| start)
    }

    /// Every dataset with a derived table, once for each.
    pub fn fed(&self) -> &[Fed] {
        &self.fed
    }

    /// Do this dataset's objects have the rows of others' tables?
    pub fn feeds(&self, dataset: usize) -> bool {
        self.fed.iter().any(|fed| fed.by == dataset)
    }

    /// Rows of each table, by dimension.
    pub fn table_rows(&self) -> &BTreeMap<String, u64> {
        &self.table_rows
    }

    /// What to list: the shortest set of prefixes under which every expected key lies, and every older place.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }
}

fn describe(across: &Across<'_>, digits: &Digits) -> String {
    let mut text = String::new();
    for (at, values) in across.as_slice().iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(values.names.name());
        text.push('=');
        values.write_canonical(digits[at] as usize, &mut text);
    }
    text
}

/// One item's values, for expressions.
#[derive(Clone, Copy, Debug)]
pub struct ItemScope<'a> {
    dimensions: &'a [DimensionValues],
    dataset: &'a ExpectedDataset,
    digits: Digits,
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
    fn value(&self, _at: usize, var: &Var) -> Value<'_> {
        let Some(found) = self.dataset.vars.get(var.name.as_str()) else { return Value::Null };
        let dimension = usize::from(found.dimension);
        self.dimensions[self.dataset.dimensions[dimension]].value(found.column, self.digits[dimension] as usize)
    }

    fn origin(&self, var: &Var) -> Option<String> {
        let dimension = usize::from(self.dataset.vars.get(var.name.as_str())?.dimension);
        self.dimensions[self.dataset.dimensions[dimension]].origin(self.digits[dimension] as usize)
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
        Some(self.dataset.name())
    }
}
