//! What lies in the lake, as far as it was seen: one small cell per *expected* item, filled while the listing streams in.
//!
//! Whatever else lies there costs no memory: objects under a dataset's prefix that nobody expects are counted, and the
//! first few named. Knowledge is complete prefix by prefix. An item under a prefix whose listing failed is not "not
//! there" but "not seen", and nothing may be concluded from that.
//!
//! Always true: a partial listing never makes an item look missing (`partial_listing_never_opens_a_gap`), and what an
//! attempt saw after the listing began outranks it (`what_an_attempt_saw_outranks_the_listing`).
//!
//! Not done here: states. They need the clock, the rules and the records; see `tally`.

use hashbrown::HashMap;

use super::cell::{Cell, Cells};
use super::expected::{Expected, ItemIx, Spot};
use super::folders::Folders;
use super::state::{EtagDigest, Found, Sight};
use crate::object::Object;
use crate::report::ReportRow;
use crate::sets::{Member, SetRule, SetSight};
use crate::spec::{Others, Spec};
use crate::time::Timestamp;

/// How many unexpected keys are kept by name for each dataset.
pub const UNEXPECTED_SAMPLE: usize = 10;

/// How much is known of one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// All objects that were there when the listing began are known, but for those that changed meanwhile.
    Full { began: Timestamp },
    /// Objects that were seen are facts; of the others nothing is known.
    Partial,
}

/// Objects under a dataset's prefix that no dataset expects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unexpected {
    pub objects: u64,
    pub bytes: u64,
    /// The first of them, in the order of the listing.
    pub sample: Vec<String>,
    /// Where most of them lie.
    pub folders: Folders,
}

/// What is known of the lake.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    cells: Cells,
    etags: HashMap<ItemIx, Box<str>>,
    /// Items whose cell tells of an object at this one of their older places.
    older: HashMap<ItemIx, AtOlder>,
    /// While a look goes on: of items that are sets, what was seen of their objects.
    sets: HashMap<ItemIx, SetSight>,
    datasets: Vec<Shelf>,
    prefixes: Vec<(String, Completeness)>,
}

/// An object at an older place of an item.
#[derive(Clone, Copy, Debug)]
struct AtOlder {
    which: u8,
    /// Somebody asked for all that come first, and nothing is there.
    is_first: bool,
}

/// What the inventory needs to know of a dataset.
#[derive(Clone, Debug)]
struct Shelf {
    /// One past its last item; the items of all datasets are dense and in order.
    items_end: u32,
    /// What the keys of its items begin with, and what their older places do.
    literal_prefixes: Vec<String>,
    /// Of each of them: place in `prefixes` of the listing that shows what lies there.
    listed_by: Vec<Option<usize>>,
    /// Objects smaller than this, and all that can grow stale, keep their ETag: publishing must replace just those.
    min_size: u64,
    grows_stale: bool,
    /// Its items are sets of objects.
    set: Option<SetRule>,
    unexpected: Unexpected,
}

impl Inventory {
    pub fn sight(&self, item: ItemIx) -> Sight {
        match self.cells.get(item) {
            // What lies at the key, or at a better place, would count instead.
            Some(Cell::There(_)) if self.better_places_are_unseen(item) => Sight::NotSeen,
            Some(Cell::There(found)) => Sight::There(found),
            Some(Cell::NotThere) => Sight::NotThere,
            Some(Cell::NotListed) if self.completeness_of(item) != Completeness::Partial => Sight::NotThere,
            Some(Cell::NotListed | Cell::NotSeen) | None => Sight::NotSeen,
        }
    }

    /// The object's ETag, if a gap may need it (see [`Inventory::sight`] for the rest).
    pub fn etag(&self, item: ItemIx) -> Option<&str> {
        self.etags.get(&item).map(|etag| &**etag)
    }

    /// Each prefix that was to be listed, in the order of [`Expected::prefixes`].
    pub fn prefixes(&self) -> &[(String, Completeness)] {
        &self.prefixes
    }

    pub fn is_full(&self) -> bool {
        self.prefixes.iter().all(|(_, known)| *known != Completeness::Partial)
    }

    /// By place of the dataset in [`Expected::datasets`].
    pub fn completeness(&self, dataset: usize) -> Completeness {
        self.datasets.get(dataset).map_or(Completeness::Partial, |shelf| self.completeness_of_places(&shelf.listed_by))
    }

    /// As much as of the least known of them, and as old as the oldest.
    fn completeness_of_places(&self, listed_by: &[Option<usize>]) -> Completeness {
        let known = listed_by.iter().map(|listed_by| listed_by.map_or(Completeness::Partial, |prefix| self.prefixes[prefix].1));
        let together = |a, b| match (a, b) {
            (Completeness::Full { began: a }, Completeness::Full { began: b }) => Completeness::Full { began: a.min(b) },
            _ => Completeness::Partial,
        };
        known.reduce(together).unwrap_or(Completeness::Partial)
    }

    /// Which of the item's places its object lies at, if there is one.
    pub fn spot(&self, item: ItemIx) -> Spot {
        // Nearly always there are no older places.
        if self.older.is_empty() {
            return Spot::Key;
        }
        self.older.get(&item).map_or(Spot::Key, |older| Spot::Older(older.which))
    }

    fn better_places_are_unseen(&self, item: ItemIx) -> bool {
        let Some(older) = self.older.get(&item).filter(|older| !older.is_first) else { return false };
        let listed_by = &self.datasets[self.dataset_of(item)].listed_by;
        self.completeness_of_places(&listed_by[..=usize::from(older.which)]) == Completeness::Partial
    }

    pub fn unexpected(&self, dataset: usize) -> &Unexpected {
        &self.datasets[dataset].unexpected
    }

    /// This lies at an older place of the item. It counts where nothing better does.
    fn saw_older(&mut self, item: ItemIx, which: u8, object: &Object) {
        let is_there = matches!(self.cells.get(item), Some(Cell::There(_)));
        let counts = match self.spot(item) {
            Spot::Key => !is_there,
            Spot::Older(known) => which <= known,
        };
        if counts {
            self.older.insert(item, AtOlder { which, is_first: false });
            self.cells.set(item, Cell::There(Found::of(object)));
        }
    }

    /// This is a part of the item, or its marker.
    fn saw_of_set(&mut self, item: ItemIx, member: Member, object: &Object) {
        let Some(rule) = &self.datasets[self.dataset_of(item)].set else { return };
        let sight = self.sets.entry(item).or_default();
        sight.add(member, object);
        // The key is the item's, which nobody asks for here.
        if let Some(whole) = sight.object("", rule) {
            self.saw(item, Some(&whole));
        }
    }

    fn is_set(&self, item: ItemIx) -> bool {
        self.datasets[self.dataset_of(item)].set.is_some()
    }

    /// An attempt or a HEAD found this at the item's key (`None`: nothing) after the listing began.
    pub fn saw(&mut self, item: ItemIx, object: Option<&Object>) {
        if !self.older.is_empty() && object.is_some() {
            self.older.remove(&item);
        } else if self.spot(item) != Spot::Key {
            return;
        }
        let shelf = &self.datasets[self.dataset_of(item)];
        let keeps_etag = object.filter(|object| shelf.grows_stale || object.size < shelf.min_size);
        match keeps_etag {
            Some(object) => self.etags.insert(item, object.etag.as_str().into()),
            None => self.etags.remove(&item),
        };
        self.cells.set(item, object.map_or(Cell::NotThere, |object| Cell::There(Found::of(object))));
    }

    /// Somebody asked for the item's places, one after the other until there was something (`None`: nowhere), after the listing began.
    pub fn saw_first_of_all(&mut self, expected: &Expected, item: ItemIx, object: Option<&Object>) {
        self.older.remove(&item);
        let has_older = self.datasets[self.dataset_of(item)].literal_prefixes.len() > 1;
        match object.filter(|_| has_older).and_then(|object| Some((expected.find_anywhere(&object.key)?.1, object))) {
            Some((Spot::Older(which), object)) => {
                self.etags.remove(&item);
                self.older.insert(item, AtOlder { which, is_first: true });
                self.cells.set(item, Cell::There(Found::of(object)));
            }
            _ => self.saw(item, object),
        }
    }

    /// An attempt put an object there that is big enough, later than anything else that is known of the item's key.
    pub fn put_there(&mut self, item: ItemIx, at: Timestamp) {
        let least = self.datasets[self.dataset_of(item)].min_size;
        let size = match self.cells.get(item) {
            Some(Cell::There(found)) => found.size.max(least),
            _ => least,
        };
        self.etags.remove(&item);
        self.cells.set(item, Cell::There(Found { size, last_modified: at, etag: EtagDigest::of("") }));
    }

    /// What was seen of the item may be out of date: nothing is known of it.
    pub fn doubt(&mut self, item: ItemIx) {
        self.etags.remove(&item);
        self.cells.set(item, Cell::NotSeen);
    }

    fn completeness_of(&self, item: ItemIx) -> Completeness {
        self.completeness(self.dataset_of(item))
    }

    fn dataset_of(&self, item: ItemIx) -> usize {
        self.datasets.partition_point(|shelf| shelf.items_end <= item.0)
    }
}

/// One look at the whole lake, prefix by prefix, in any order.
#[derive(Debug)]
pub struct Observation<'e> {
    expected: &'e Expected,
    inventory: Inventory,
    others: Others,
    began: Vec<Option<Timestamp>>,
}

impl<'e> Observation<'e> {
    pub fn new(expected: &'e Expected, spec: &Spec) -> Self {
        let prefixes: Vec<_> = expected.prefixes().iter().map(|prefix| (prefix.clone(), Completeness::Partial)).collect();
        let mut items_end = 0;
        let datasets = expected.datasets().iter().map(|of| {
            items_end += of.len() as u32;
            let dataset = &spec.datasets[of.name()];
            let literal_prefixes: Vec<String> = dataset.literal_prefixes().map(str::to_owned).collect();
            let listed_by = |literal: &String| prefixes.iter().position(|(prefix, _)| literal.starts_with(prefix.as_str()));
            Shelf {
                items_end,
                listed_by: literal_prefixes.iter().map(listed_by).collect(),
                literal_prefixes,
                min_size: spec.least_bytes(dataset),
                grows_stale: dataset.grows_stale(),
                set: dataset.set.clone(),
                unexpected: Unexpected::default(),
            }
        });
        let inventory = Inventory {
            cells: Cells::of(expected.len()),
            etags: HashMap::new(),
            older: HashMap::new(),
            sets: HashMap::new(),
            datasets: datasets.collect(),
            prefixes,
        };
        Observation { expected, others: spec.others.clone(), began: vec![None; inventory.prefixes.len()], inventory }
    }

    /// Goes on with what was seen before.
    pub fn resume(expected: &'e Expected, spec: &Spec, inventory: Inventory) -> Self {
        Observation { expected, others: spec.others.clone(), began: vec![None; inventory.prefixes.len()], inventory }
    }

    /// To be called before the listing of a prefix (one of [`Expected::prefixes`]) is asked for.
    pub fn begin(&mut self, prefix: &str, now: Timestamp) {
        if let Some(at) = self.place(prefix) {
            self.began[at] = Some(now);
        }
    }

    /// A listing shows this object.
    pub fn object(&mut self, object: &Object) {
        match self.expected.find_anywhere(&object.key) {
            // An object whose name has the `*` itself is a part as any other.
            Some((item, Spot::Key)) if self.inventory.is_set(item) => self.inventory.saw_of_set(item, Member::Part, object),
            Some((item, Spot::Key)) => self.inventory.saw(item, Some(object)),
            Some((item, Spot::Older(which))) => self.inventory.saw_older(item, which, object),
            None if let Some((item, member)) = self.expected.find_in_set(&object.key) => self.inventory.saw_of_set(item, member, object),
            None if self.others.are_known(&object.key) => {}
            None => self.unexpected(&object.key, object.size),
        }
    }

    /// A report shows this object; `item`: the one whose key it is, and the digest of its ETag. The lake's prefix is not part of the key.
    pub fn row(&mut self, item: Option<(ItemIx, EtagDigest)>, key: &str, row: &ReportRow<'_>) {
        match item {
            Some((item, etag)) => {
                let shelf = &self.inventory.datasets[self.inventory.dataset_of(item)];
                if let Some(told) = row.etag.filter(|_| shelf.grows_stale || row.size < shelf.min_size) {
                    self.inventory.etags.insert(item, told.into());
                }
                let last_modified =
                    row.modified_micros.and_then(|micros| Timestamp::from_microsecond(micros).ok()).unwrap_or(Timestamp::MIN);
                self.inventory.cells.set(item, Cell::There(Found { size: row.size, last_modified, etag }));
            }
            None if self.others.are_known(key) => {}
            None => self.unexpected(key, row.size),
        }
    }

    /// What was seen under this prefix so far does not count.
    pub fn forget(&mut self, prefix: &str) {
        let Some(at) = self.place(prefix) else { return };
        self.inventory.prefixes[at].1 = Completeness::Partial;
        let mut begin = 0;
        for shelf in &mut self.inventory.datasets {
            if shelf.listed_by.contains(&Some(at)) {
                self.inventory.cells.forget(begin..shelf.items_end as usize);
                let is_elsewhere = |item: &ItemIx| (item.0 as usize) < begin || item.0 >= shelf.items_end;
                self.inventory.etags.retain(|item, _| is_elsewhere(item));
                self.inventory.older.retain(|item, _| is_elsewhere(item));
                self.inventory.sets.retain(|item, _| is_elsewhere(item));
                shelf.unexpected = Unexpected::default();
            }
            begin = shelf.items_end as usize;
        }
    }

    /// The listing of this prefix ended well: what it did not show is not there.
    pub fn prefix_complete(&mut self, prefix: &str) {
        if let Some((at, began)) = self.place(prefix).and_then(|at| Some((at, self.began[at]?))) {
            self.inventory.prefixes[at].1 = Completeness::Full { began };
        }
    }

    /// The listing of this prefix failed somewhere: what it showed is there, nothing else is known.
    pub fn prefix_failed(&mut self, prefix: &str) {
        if let Some(at) = self.place(prefix) {
            self.inventory.prefixes[at].1 = Completeness::Partial;
        }
    }

    /// What was not listed to its end by now counts as failed.
    pub fn finish(mut self) -> Inventory {
        // What counts of them is in their cells. What a listing that failed has shown of a set may be any part of it.
        let sets = std::mem::take(&mut self.inventory.sets);
        for item in sets.into_keys() {
            if self.inventory.completeness_of(item) == Completeness::Partial {
                self.inventory.doubt(item);
            }
        }
        self.inventory.etags.shrink_to_fit();
        self.inventory
    }

    fn place(&self, prefix: &str) -> Option<usize> {
        self.inventory.prefixes.iter().position(|(known, _)| known == prefix)
    }

    /// Counted for the dataset with the longest prefix that fits: the nearest neighbour.
    fn unexpected(&mut self, key: &str, size: u64) {
        let near = self.inventory.datasets.iter_mut().filter_map(|shelf| {
            let prefixes = shelf.literal_prefixes.iter().filter(|prefix| key.starts_with(prefix.as_str()));
            Some((prefixes.map(String::len).max()?, shelf))
        });
        // `max_by_key` gives the last of equals; the first dataset of the config is the one to be named.
        let Some((_, shelf)) = near.rev().max_by_key(|(length, _)| *length) else {
            return;
        };
        shelf.unexpected.objects += 1;
        shelf.unexpected.bytes = shelf.unexpected.bytes.saturating_add(size);
        shelf.unexpected.folders.add(key);
        if shelf.unexpected.sample.len() < UNEXPECTED_SAMPLE {
            shelf.unexpected.sample.push(key.to_owned());
        }
    }
}
