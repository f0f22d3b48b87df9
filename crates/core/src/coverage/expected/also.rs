//! Older places of items (`also`): an object there counts where none lies at the item's key.
//!
//! A lake that was reorganised in mid-life has years of objects under keys of another form; without these they would all
//! be collected again. Whatever is collected goes to the item's key.
//!
//! Always true: no two items share a place, and none is another one's key (`older_places_are_nobody_elses`).

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::build::Wrong;
use super::keys::{Keys, Of};
use super::{Across, Expected, ExpectedDataset, ItemIx, describe};
use crate::coverage::values::DimensionValues;
use crate::spec::problem::Problem;
use crate::spec::{Dataset, Spec};

/// Where an object of an item lies: what comes first counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// At its key.
    Key,
    /// At the place of this one among its dataset's `also`.
    Older(u8),
}

/// Items by the hashes of their older places.
#[derive(Debug, Default)]
pub(super) struct OlderPlaces {
    by_key: HashTable<(u32, u8)>,
}

impl Expected {
    /// The item that has this place, and which of its places it is.
    pub fn find_anywhere(&self, key: &str) -> Option<(ItemIx, Spot)> {
        if let Some(item) = self.find(key) {
            return Some((item, Spot::Key));
        }
        if self.older.by_key.is_empty() {
            return None;
        }
        let mut candidate = String::with_capacity(key.len());
        let same = |(item, which): &(u32, u8)| {
            candidate.clear();
            self.write_place(ItemIx(*item), Spot::Older(*which), &mut candidate);
            candidate == key
        };
        let (item, which) = self.older.by_key.find(self.keys.hasher.hash_one(key), same)?;
        Some((ItemIx(*item), Spot::Older(*which)))
    }

    /// Every place of the item, its key first: what comes first counts.
    pub fn places(&self, item: ItemIx) -> impl Iterator<Item = String> + '_ {
        let older = self.datasets[self.dataset_of(item)].older.len() as u8;
        let spots = std::iter::once(Spot::Key).chain((0..older).map(Spot::Older));
        spots.map(move |spot| {
            let mut key = String::new();
            self.write_place(item, spot, &mut key);
            key
        })
    }

    /// Appends the key of one of the item's places.
    pub fn write_place(&self, item: ItemIx, spot: Spot, key: &mut String) {
        let dataset = &self.datasets[self.dataset_of(item)];
        write(&self.dimensions, dataset, item, spot, key);
    }
}

fn write(dimensions: &[DimensionValues], dataset: &ExpectedDataset, item: ItemIx, spot: Spot, key: &mut String) {
    let across = Across::new(dimensions, &dataset.dimensions);
    let writer = match spot {
        Spot::Key => &dataset.writer,
        Spot::Older(which) => &dataset.older[usize::from(which)],
    };
    // Only items whose places could be written are in an index.
    let _ = writer.write(across.as_slice(), &dataset.digits(item), key);
}

/// What is known once all datasets are there.
pub(super) struct Indexed<'a> {
    pub spec: &'a Spec,
    pub dimensions: &'a [DimensionValues],
    pub datasets: &'a [ExpectedDataset],
    pub keys: &'a Keys,
}

impl Indexed<'_> {
    /// Every older place of every item, or what is wrong with them.
    pub(super) fn older_places(&self) -> Result<OlderPlaces, Vec<Problem>> {
        let mut places = OlderPlaces::default();
        let mut problems = Vec::new();
        for dataset in self.datasets.iter().filter(|dataset| !dataset.older.is_empty()) {
            problems.extend(self.add(&self.spec.datasets[dataset.name()], dataset, &mut places));
        }
        if problems.is_empty() { Ok(places) } else { Err(problems) }
    }

    fn add(&self, spec: &Dataset, dataset: &ExpectedDataset, places: &mut OlderPlaces) -> Vec<Problem> {
        let across = Across::new(self.dimensions, &dataset.dimensions);
        let mut wrong = Wrong::default();
        let (mut key, mut other) = (String::new(), String::new());
        let rehash = |(item, which): &(u32, u8)| {
            let mut key = String::new();
            self.write(*item, Spot::Older(*which), &mut key);
            self.keys.hasher.hash_one(key.as_str())
        };
        for item in dataset.items.clone() {
            let digits = dataset.digits(ItemIx(item));
            for (which, writer) in (0u8..).zip(&dataset.older) {
                let also = &spec.also[usize::from(which)];
                key.clear();
                if let Err(error) = writer.write(across.as_slice(), &digits, &mut key) {
                    let what = describe(&across, &digits);
                    wrong.add(|| {
                        let message = format!("dataset `{}`: `also`: no key for {what}: {}", spec.name, error.message);
                        Problem::error(&also.at, message).hint("leave such items out with `where`, or use another column")
                    });
                    continue;
                }
                let hash = self.keys.hasher.hash_one(key.as_str());
                let mut is_it = |other_item: u32, spot: Spot| {
                    other.clear();
                    self.write(other_item, spot, &mut other);
                    other == key
                };
                let owner =
                    self.keys.find(Of { dimensions: self.dimensions, datasets: self.datasets }, &key).map(|owner| (owner, Spot::Key));
                let owner =
                    owner.or_else(|| match places.by_key.entry(hash, |(taken, which)| is_it(*taken, Spot::Older(*which)), rehash) {
                        Entry::Vacant(free) => {
                            free.insert((item, which));
                            None
                        }
                        Entry::Occupied(taken) => Some((taken.get().0, Spot::Older(taken.get().1))),
                    });
                if let Some((owner, spot)) = owner {
                    wrong.add(|| self.shared(spec, &also.at, (item, &key), (owner, spot)));
                }
            }
        }
        wrong.into_result(()).err().unwrap_or_default()
    }

    pub(super) fn write(&self, item: u32, spot: Spot, key: &mut String) {
        write(self.dimensions, self.dataset_of(item), ItemIx(item), spot, key);
    }

    pub(super) fn dataset_of(&self, item: u32) -> &ExpectedDataset {
        &self.datasets[self.datasets.partition_point(|dataset| dataset.items.end <= item)]
    }

    fn shared(&self, spec: &Dataset, at: &crate::spec::problem::Place, (item, key): (u32, &str), (owner, spot): (u32, Spot)) -> Problem {
        let named = |item: u32| {
            let dataset = self.dataset_of(item);
            describe(&Across::new(self.dimensions, &dataset.dimensions), &dataset.digits(ItemIx(item)))
        };
        let place = if spot == Spot::Key { "the key" } else { "an older place" };
        let whose = match (owner == item, self.dataset_of(owner).name()) {
            (true, _) => "of the same item".to_string(),
            (false, name) if name == spec.name => format!("of {}", named(owner)),
            (false, name) => format!("of {} of dataset `{name}`", named(owner)),
        };
        let message = format!("dataset `{}`: `also`: the older place `{key}` of {} is {place} {whose}", spec.name, named(item));
        Problem::error(at, message).hint("an object must say by its key alone which item it is")
    }
}
