//! From a key to its item: by its reader where a dataset has one, else by a table of its keys.
//!
//! Always true: no two items of all datasets write the same key, and whichever way an item is found, it writes exactly the
//! key that was asked for (`every_key_finds_its_item_and_no_other`).

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::build::{Wrong, unwritable};
use super::collisions::Collisions;
use super::{Across, Expected, ExpectedDataset, ItemIx};
use crate::coverage::reader::{Columns, KeyReader};
use crate::coverage::values::DimensionValues;
use crate::coverage::writer::{Digits, MOST_DIMENSIONS};
use crate::spec::Dataset;
use crate::spec::problem::Problem;

/// Items by their keys.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// By place of the dataset; `None`: its items are in the table.
    readers: Vec<Option<KeyReader>>,
    /// Places of items, by the hash of their keys.
    table: HashTable<u32>,
    pub hasher: DefaultHashBuilder,
}

/// Whose keys they are.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub dimensions: &'a [DimensionValues],
    pub datasets: &'a [ExpectedDataset],
}

/// Finds many keys, one after the other: the next one is often the next item.
pub struct Finder<'e> {
    expected: &'e Expected,
    near: Option<Near>,
}

#[derive(Clone, Copy)]
struct Near {
    dataset: usize,
    item: u32,
    digits: Digits,
}

impl Finder<'_> {
    /// The item whose key is exactly this one.
    pub fn find(&mut self, key: &str) -> Option<ItemIx> {
        let Expected { dimensions, datasets, keys, .. } = self.expected;
        let near = keys.find_near(Of { dimensions, datasets }, key, self.near.as_ref())?;
        self.near = Some(near);
        Some(ItemIx(near.item))
    }
}

impl Expected {
    /// The item whose key is exactly this one.
    pub fn find(&self, key: &str) -> Option<ItemIx> {
        self.keys.find(Of { dimensions: &self.dimensions, datasets: &self.datasets }, key).map(ItemIx)
    }

    pub fn finder(&self) -> Finder<'_> {
        Finder { expected: self, near: None }
    }
}

impl Of<'_> {
    fn write(&self, item: u32, key: &mut String) {
        let dataset = &self.datasets[self.dataset_of(item)];
        dataset.writer.write_known(Across::new(self.dimensions, &dataset.dimensions).as_slice(), &dataset.digits(ItemIx(item)), key);
    }

    fn dataset_of(&self, item: u32) -> usize {
        self.datasets.partition_point(|dataset| dataset.items.end <= item)
    }
}

impl Keys {
    pub fn find(&self, of: Of<'_>, key: &str) -> Option<u32> {
        self.find_near(of, key, None).map(|near| near.item)
    }

    fn find_near(&self, of: Of<'_>, key: &str, near: Option<&Near>) -> Option<Near> {
        // No two datasets share a key, so whoever is asked first may answer.
        if let Some(found) = near.and_then(|near| self.read(of, near.dataset, key, Some(near))) {
            return Some(found);
        }
        let others = (0..self.readers.len()).filter(|dataset| near.is_none_or(|near| near.dataset != *dataset));
        others.into_iter().find_map(|dataset| self.read(of, dataset, key, None)).or_else(|| self.find_in_table(of, key))
    }

    fn read(&self, of: Of<'_>, dataset: usize, key: &str, near: Option<&Near>) -> Option<Near> {
        let reader = self.readers[dataset].as_ref()?;
        let own = &of.datasets[dataset];
        let across = Across::new(of.dimensions, &own.dimensions);
        let digits = reader.read(&own.writer, across.as_slice(), key.as_bytes(), near.map(|near| &near.digits))?;
        let within = own.within(&digits, near.map(|near| near.item - own.items.start))?;
        Some(Near { dataset, item: own.items.start + within, digits })
    }

    fn find_in_table(&self, of: Of<'_>, key: &str) -> Option<Near> {
        if self.table.is_empty() {
            return None;
        }
        let mut candidate = String::with_capacity(key.len());
        let same = |item: &u32| {
            candidate.clear();
            of.write(*item, &mut candidate);
            candidate == key
        };
        let item = *self.table.find(self.hasher.hash_one(key), same)?;
        Some(Near { dataset: of.dataset_of(item), item, digits: [0; MOST_DIMENSIONS] })
    }

    /// The keys of the dataset that was added last. Every key is written once unless a reader proves that it can be.
    pub fn add_last(&mut self, of: Of<'_>, spec: &Dataset, columns: &mut Columns, collisions: &mut Collisions) -> Vec<Problem> {
        let place = of.datasets.len() - 1;
        let last = &of.datasets[place];
        let across = Across::new(of.dimensions, &last.dimensions);
        let reader = KeyReader::of(&last.writer, &last.dimensions, across.as_slice(), columns);
        self.readers.push(reader);
        let near: Vec<usize> = (0..place).filter(|other| last.may_share_keys_with(&of.datasets[*other])).collect();
        match &self.readers[place] {
            Some(_) => {
                near.into_iter().for_each(|other| self.compare(of, other, place, collisions));
                Vec::new()
            }
            None => self.add_to_table(of, spec, &near, collisions),
        }
    }

    /// Both have readers, or the earlier one is in the table: whoever has fewer items writes them all, and the other reads.
    fn compare(&self, of: Of<'_>, earlier: usize, later: usize, collisions: &mut Collisions) {
        let (first, second) = (&of.datasets[earlier], &of.datasets[later]);
        let later_writes = self.readers[earlier].is_some() && second.len() <= first.len();
        let (writes, reads) = if later_writes { (second, earlier) } else { (first, later) };
        let mut key = String::new();
        for item in writes.items.clone() {
            key.clear();
            of.write(item, &mut key);
            if let Some(found) = self.read(of, reads, &key, None) {
                let (taken, latecomer) = if later_writes { (found.item, item) } else { (item, found.item) };
                collisions.add(taken, latecomer, of.datasets);
            }
        }
    }

    fn add_to_table(&mut self, of: Of<'_>, spec: &Dataset, near: &[usize], collisions: &mut Collisions) -> Vec<Problem> {
        let last = of.datasets.last().expect("one was just added");
        let across = Across::new(of.dimensions, &last.dimensions);
        let mut wrong = Wrong::default();
        let (mut key, mut other_key) = (String::new(), String::new());
        let hasher = self.hasher.clone();
        // Not everything is hashed again while the table grows.
        let rehash = |item: &u32| {
            let mut key = String::new();
            of.write(*item, &mut key);
            hasher.hash_one(key.as_str())
        };
        self.table.reserve(last.items.len(), rehash);
        for item in last.items.clone() {
            let digits = last.digits(ItemIx(item));
            key.clear();
            if let Err(error) = last.writer.write(across.as_slice(), &digits, &mut key) {
                wrong.add(|| unwritable(spec, &across, &digits, &error));
                continue;
            }
            if let Some(taken) = near.iter().find_map(|other| self.read(of, *other, &key, None)) {
                collisions.add(taken.item, item, of.datasets);
                continue;
            }
            let same = |other: &u32| {
                other_key.clear();
                of.write(*other, &mut other_key);
                other_key == key
            };
            match self.table.entry(hasher.hash_one(key.as_str()), same, rehash) {
                Entry::Vacant(free) => drop(free.insert(item)),
                Entry::Occupied(taken) => collisions.add(*taken.get(), item, of.datasets),
            }
        }
        wrong.into_result(()).err().unwrap_or_default()
    }
}

impl ExpectedDataset {
    /// Whether their templates alone leave it open that a key of one is a key of the other.
    fn may_share_keys_with(&self, other: &ExpectedDataset) -> bool {
        let ((begin, end), (other_begin, other_end)) = (self.writer.ends(), other.writer.ends());
        (begin.starts_with(other_begin) || other_begin.starts_with(begin)) && (end.ends_with(other_end) || other_end.ends_with(end))
    }

    /// The item of these values, by its place among this dataset's; `None`: its `where` leaves it out. `near`: one that may be close by.
    fn within(&self, digits: &Digits, near: Option<u32>) -> Option<u32> {
        let rank = (0..self.dimensions.len()).fold(0, |rank, at| rank * self.sizes[at] + digits[at]);
        let Some(kept) = &self.kept else { return Some(rank) };
        let next = near.map(|near| near + 1).filter(|next| kept.get(*next as usize) == Some(&rank));
        next.or_else(|| kept.binary_search(&rank).ok().map(|at| at as u32))
    }
}
