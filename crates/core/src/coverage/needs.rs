//! `needs`: an item is due when the items of another dataset that it is made from are there, and stale when one of them is newer.
//!
//! Which those are is a box in the product of the other dataset's dimensions: a dimension of the same name has the same value,
//! `hour in day` allows the hours that begin within the day, and of any other dimension all values are needed. So an item's needs
//! are a few ranges of places, worked out when somebody asks, and nothing is kept for each.
//!
//! What upstream does not have, what has expired and what is out of scope is not waited for; but from nothing nothing is made:
//! one at least must be there. A stale one is there, too, or what is made from daily refreshed items would come and go.
//!
//! Always true: an item needs exactly what a comparison of all pairs finds, and the way back leads to just those that need it
//! (`needs_are_those_of_all_pairs`).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use super::expected::{Expected, ItemIx};
use super::values::DimensionValues;
use super::writer::{Digits, MOST_DIMENSIONS};
use crate::gap::ItemState;
use crate::spec::Dataset;
use crate::time::Timestamp;

/// What the items of one dataset need of another one.
#[derive(Debug)]
pub(super) struct Need {
    /// Places of the two in [`Expected::datasets`].
    pub(super) child: usize,
    pub(super) parent: usize,
    /// Of each dimension of the parent: how it follows from the child's.
    axes: Vec<Axis>,
}

#[derive(Debug)]
enum Axis {
    /// The value of this dimension of the child.
    Same(usize),
    /// What lies within the value of this dimension of the child.
    Within(usize, Spans),
    /// Any value.
    Each,
}

/// Which spans of one calendar begin within each of another one.
#[derive(Debug)]
struct Spans {
    /// By place of the outer span. They do not overlap, and ascend.
    inner: Vec<Range<u32>>,
    /// Outer spans from this one on end after the last inner one does: there will be more of those.
    open_from: usize,
}

impl Spans {
    fn of(outer: &DimensionValues, inner: &DimensionValues) -> Spans {
        let span = |values: &DimensionValues, at: usize| values.span(at).expect("`in` stands between two calendars, as was checked");
        let mut next = 0;
        let ranges = (0..outer.len()).map(|at| {
            let (begin, end) = span(outer, at);
            while next < inner.len() && span(inner, next).0 < begin {
                next += 1;
            }
            let first = next;
            while next < inner.len() && span(inner, next).0 < end {
                next += 1;
            }
            first as u32..next as u32
        });
        let ranges: Vec<_> = ranges.collect();
        let last = inner.len().checked_sub(1).map(|last| span(inner, last).1);
        let is_closed = |at: usize| last.is_some_and(|last| span(outer, at).1 <= last);
        let open_from = (0..outer.len()).rev().take_while(|at| !is_closed(*at)).count();
        Spans { open_from: ranges.len() - open_from, inner: ranges }
    }
}

impl Need {
    /// `of`: places of the dimensions of child and parent among all of them.
    pub(super) fn of(
        (child, parent): (usize, usize),
        within: &[(String, String)],
        dimensions: &[DimensionValues],
        (child_of, parent_of): (&[usize], &[usize]),
    ) -> Need {
        let axis = |dimension: &usize| {
            let name = dimensions[*dimension].names.name();
            if let Some((_, outer)) = within.iter().find(|(inner, _)| inner == name)
                && let Some(at) = child_of.iter().position(|of| dimensions[*of].names.name() == outer)
            {
                return Axis::Within(at, Spans::of(&dimensions[child_of[at]], &dimensions[*dimension]));
            }
            match child_of.iter().position(|of| of == dimension) {
                Some(at) => Axis::Same(at),
                None => Axis::Each,
            }
        };
        Need { child, parent, axes: parent_of.iter().map(axis).collect() }
    }

    /// Values of each dimension of the parent; `false`: more of them are still to come.
    fn needed(&self, child: &Digits, sizes: &Digits) -> (Region, bool) {
        let mut needed = Region::default();
        let mut is_closed = true;
        for (at, axis) in self.axes.iter().enumerate() {
            needed.0[at] = match axis {
                Axis::Same(of) => child[*of]..child[*of] + 1,
                Axis::Within(of, spans) => {
                    let outer = child[*of] as usize;
                    is_closed &= outer < spans.open_from;
                    spans.inner[outer].clone()
                }
                Axis::Each => 0..sizes[at],
            };
        }
        (needed, is_closed)
    }

    /// Values of each dimension of the child; `None`: nothing needs this one.
    fn dependent(&self, parent: &Digits, sizes: &Digits, count: usize) -> Option<Region> {
        let mut dependent = Region::default();
        (0..count).for_each(|at| dependent.0[at] = 0..sizes[at]);
        for (at, axis) in self.axes.iter().enumerate() {
            match axis {
                Axis::Same(of) => dependent.0[*of] = parent[at]..parent[at] + 1,
                Axis::Within(of, spans) => {
                    let outer = spans.inner.partition_point(|inner| inner.end <= parent[at]);
                    spans.inner.get(outer).filter(|inner| inner.contains(&parent[at]))?;
                    dependent.0[*of] = outer as u32..outer as u32 + 1;
                }
                Axis::Each => {}
            }
        }
        Some(dependent)
    }
}

/// A range of values of each dimension of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Region([Range<u32>; MOST_DIMENSIONS]);

/// What is known of the items that one item needs of another dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Place of that dataset in [`Expected::datasets`].
    pub dataset: usize,
    /// Present, or stale.
    pub there: u64,
    /// Not there, and expected.
    pub awaited: u64,
    /// Of which nobody knows.
    pub unknown: u64,
    /// The calendar goes on: more of them are still to come.
    pub more_to_come: bool,
    /// Of those that are there.
    pub newest: Option<Timestamp>,
}

impl Inputs {
    /// They are not all there: the item is not due.
    pub fn are_awaited(&self) -> bool {
        self.awaited > 0 || self.more_to_come || self.there + self.unknown == 0
    }

    pub fn expected(&self) -> u64 {
        self.there + self.awaited + self.unknown
    }
}

impl Expected {
    /// Datasets in an order in which each stands behind those that it needs.
    pub(super) fn in_order_of_needs(&self) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::with_capacity(self.datasets().len());
        while order.len() < self.datasets().len() {
            let is_ready = |at: &usize| !order.contains(at) && self.needs_of(*at).all(|need| order.contains(&need.parent));
            // There is no circle: `load` refuses one.
            let Some(next) = (0..self.datasets().len()).find(is_ready) else { return (0..self.datasets().len()).collect() };
            order.push(next);
        }
        order
    }

    pub(super) fn needs_of(&self, dataset: usize) -> impl Iterator<Item = &Need> {
        self.needs.iter().filter(move |need| need.child == dataset)
    }

    /// How the items stand that this one needs, dataset by dataset. `state` tells each one's state and, of what is there, its date.
    pub fn inputs(&self, item: ItemIx, state: &mut dyn FnMut(ItemIx) -> (ItemState, Option<Timestamp>)) -> Vec<Inputs> {
        self.needs_of(self.dataset_of(item)).map(|need| self.inputs_of(need, item, state)).collect()
    }

    pub(super) fn inputs_of(&self, need: &Need, item: ItemIx, state: &mut dyn FnMut(ItemIx) -> (ItemState, Option<Timestamp>)) -> Inputs {
        let (child, parent) = (&self.datasets()[need.child], &self.datasets()[need.parent]);
        let (needed, is_closed) = need.needed(&child.digits(item), &parent.sizes);
        let mut inputs = Inputs { dataset: need.parent, more_to_come: !is_closed, ..Inputs::default() };
        parent.each_range(&needed, &mut |range| {
            for item in range.map(ItemIx) {
                let (state, date) = state(item);
                match state {
                    ItemState::Present | ItemState::Stale => {
                        inputs.there += 1;
                        inputs.newest = inputs.newest.max(date);
                    }
                    ItemState::Missing | ItemState::Undersized | ItemState::Suspect | ItemState::NotDue => inputs.awaited += 1,
                    ItemState::Unknown => inputs.unknown += 1,
                    ItemState::Absent | ItemState::Expired | ItemState::OutOfScope => {}
                }
            }
        });
        inputs
    }

    /// If several items of the dataset need the same ones: what those have in common.
    pub(super) fn shared_needs(&self, need: &Need, item: ItemIx) -> Option<u64> {
        let child = &self.datasets()[need.child];
        let bound = need.axes.iter().filter_map(|axis| match axis {
            Axis::Same(at) | Axis::Within(at, _) => Some(*at),
            Axis::Each => None,
        });
        if bound.clone().count() == child.dimensions.len() {
            return None;
        }
        let digits = child.digits(item);
        Some(bound.fold(0, |which, at| which * u64::from(child.sizes[at]) + u64::from(digits[at])))
    }

    /// These items and all that are made from them, directly or by others; each stands behind those that it needs.
    pub fn with_dependents(&self, mut items: Vec<ItemIx>) -> Vec<ItemIx> {
        if self.needs.is_empty() {
            items.sort_unstable();
            items.dedup();
            return items;
        }
        let mut known: HashSet<ItemIx> = items.iter().copied().collect();
        let mut waiting: Vec<ItemIx> = known.iter().copied().collect();
        while let Some(item) = waiting.pop() {
            let mut found = |places: Range<u32>| waiting.extend(places.map(ItemIx).filter(|dependent| known.insert(*dependent)));
            self.each_dependent(item, &mut found);
        }
        let order = self.in_order_of_needs();
        let mut rank = vec![0; order.len()];
        order.iter().enumerate().for_each(|(at, dataset)| rank[*dataset] = at);
        items = known.into_iter().collect();
        items.sort_unstable_by_key(|item| (rank[self.dataset_of(*item)], *item));
        items
    }

    /// Hands over the places of all items that need this one.
    pub fn each_dependent(&self, item: ItemIx, found: &mut dyn FnMut(Range<u32>)) {
        let of = self.dataset_of(item);
        for need in self.needs.iter().filter(|need| need.parent == of) {
            let (child, parent) = (&self.datasets()[need.child], &self.datasets()[of]);
            if let Some(dependent) = need.dependent(&parent.digits(item), &child.sizes, child.dimensions.len()) {
                child.each_range(&dependent, found);
            }
        }
    }
}

impl super::expected::ExpectedDataset {
    /// Hands over the places of the items in a box, range by range, ascending.
    fn each_range(&self, within: &Region, found: &mut dyn FnMut(Range<u32>)) {
        let count = self.dimensions.len();
        let ranges = &within.0[..count];
        if ranges.iter().any(Range::is_empty) {
            return;
        }
        let mut digits: Digits = [0; MOST_DIMENSIONS];
        (0..count).for_each(|at| digits[at] = ranges[at].start);
        let last = &ranges[count - 1];
        loop {
            let rank =
                |of_last: u32| (0..count - 1).fold(0, |rank, at| rank * self.sizes[at] + digits[at]) * self.sizes[count - 1] + of_last;
            let (mut from, mut to) = (rank(last.start), rank(last.end - 1) + 1);
            if let Some(kept) = &self.kept {
                from = kept.partition_point(|rank| *rank < from) as u32;
                to = kept.partition_point(|rank| *rank < to) as u32;
            }
            if from < to {
                found(self.items.start + from..self.items.start + to);
            }
            // To the next combination of all dimensions but the last.
            let Some(at) = (0..count - 1).rev().find(|at| digits[*at] + 1 < ranges[*at].end) else { return };
            digits[at] += 1;
            (at + 1..count - 1).for_each(|behind| digits[behind] = ranges[behind].start);
        }
    }
}

/// A circle among datasets of which each is fed by the next, with the first again at its end.
pub(crate) fn circle<'a>(datasets: impl Iterator<Item = &'a Dataset>, feeds: &dyn Fn(&Dataset) -> Vec<String>) -> Option<Vec<String>> {
    let next: BTreeMap<String, Vec<String>> = datasets.map(|dataset| (dataset.name.clone(), feeds(dataset))).collect();
    fn visit(at: &str, next: &BTreeMap<String, Vec<String>>, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> Option<Vec<String>> {
        if let Some(begin) = path.iter().position(|known| known == at) {
            return Some(path[begin..].iter().cloned().chain([at.to_owned()]).collect());
        }
        if done.contains(at) {
            return None;
        }
        path.push(at.to_owned());
        let found = next.get(at).into_iter().flatten().find_map(|onward| visit(onward, next, path, done));
        path.pop();
        done.insert(at.to_owned());
        found
    }
    let (mut path, mut done) = (Vec::new(), BTreeSet::new());
    next.keys().find_map(|name| visit(name, &next, &mut path, &mut done))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::{Files, Sample, zone};
    use super::*;
    use crate::spec::{Every, Needed};

    /// Hours and days in different zones, a list that both have, one that only one has, and `where` on either.
    fn sample(zones: (usize, usize), child: &[&str], parent: &[&str], only: (Option<&str>, Option<&str>)) -> Sample {
        const ZONES: [&str; 3] = ["UTC", "America/New_York", "Asia/Kolkata"];
        let mut sample = Sample::new(Files::default())
            .calendar("hour", "2024-11-02", "2024-11-04", Every::Hours(1), zone(ZONES[zones.0]))
            .calendar("day", "2024-11-01", "2024-11-05", Every::Days(1), zone(ZONES[zones.1]))
            .list("team", &["a", "b", "c"])
            .list("part", &["p", "q"])
            .dataset_where("made", "made/{n}", child, only.0)
            .dataset_where("from", "from/{n}", parent, only.1);
        for (name, of) in [("made", child), ("from", parent)] {
            let key: Vec<String> = of.iter().map(|dimension| format!("{{{dimension}}}")).collect();
            sample.spec.datasets[name].key =
                crate::spec::template::Template::parse(&format!("{name}/{}", key.join("/")), crate::spec::template::Purpose::Key).unwrap();
        }
        let within = if child.contains(&"day") && parent.contains(&"hour") { vec![("hour".into(), "day".into())] } else { Vec::new() };
        sample.spec.datasets["made"].needs = vec![Needed { dataset: "from".into(), within, at: Default::default() }];
        sample
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn needs_are_those_of_all_pairs(
            zones in (0usize..3, 0usize..3),
            child in prop::sample::select(vec![vec!["day"], vec!["day", "team"], vec!["team", "day", "part"], vec!["team"]]),
            parent in prop::sample::select(vec![vec!["hour"], vec!["team", "hour"], vec!["hour", "part"], vec!["hour", "team", "part"], vec!["team", "part"]]),
            only_child in prop::option::of(Just("team != 'b'")),
            only_parent in prop::option::of(Just("part == 'q'")),
        ) {
            let only_child = only_child.filter(|_| child.contains(&"team"));
            let only_parent = only_parent.filter(|_| parent.contains(&"part"));
            let sample = sample(zones, &child, &parent, (only_child, only_parent));
            let expected = sample.expand("2024-12-01T00:00:00Z").unwrap();
            let (made, from) = (&expected.datasets()[0], &expected.datasets()[1]);
            let value = |item: ItemIx, name: &str| expected.value(item, name);
            let hour = |item: ItemIx, name: &str| expected.value(item, name).map(|text| text.parse::<Timestamp>().unwrap());
            for item in made.items() {
                let mut found = Vec::new();
                expected.inputs(item, &mut |input| {
                    found.push(input);
                    (ItemState::Present, None)
                });
                let is_needed = |other: &ItemIx| {
                    let same = ["team", "part"].iter().all(|name| match (value(item, name), value(*other, name)) {
                        (Some(a), Some(b)) => a == b,
                        _ => true,
                    });
                    let within = match (hour(item, "day.start"), hour(item, "day.end"), hour(*other, "hour.start")) {
                        (Some(begin), Some(end), Some(hour)) => begin <= hour && hour < end,
                        _ => true,
                    };
                    same && within
                };
                let all: Vec<ItemIx> = from.items().filter(is_needed).collect();
                prop_assert_eq!(&found, &all, "{}", expected.describe(item));
                for other in from.items() {
                    let mut back = false;
                    expected.each_dependent(other, &mut |range| back |= range.contains(&item.0));
                    prop_assert_eq!(back, all.contains(&other), "{} and {}", expected.describe(item), expected.describe(other));
                }
            }
        }
    }

    #[test]
    fn a_day_whose_hours_are_still_to_come_waits_for_them() {
        let expected = sample((0, 0), &["day"], &["hour"], (None, None)).expand("2024-12-01T00:00:00Z").unwrap();
        let of = |day: u32, state: ItemState| {
            let inputs = expected.inputs(ItemIx(day), &mut |_| (state, None));
            (inputs[0].there, inputs[0].awaited, inputs[0].more_to_come, inputs[0].are_awaited())
        };
        // The first of November has no hours at all, the fifth has none yet.
        assert_eq!(of(0, ItemState::Present), (0, 0, false, true));
        assert_eq!(of(1, ItemState::Present), (24, 0, false, false));
        assert_eq!(of(1, ItemState::Stale), (24, 0, false, false), "it is there");
        assert_eq!(of(1, ItemState::Undersized), (0, 24, false, true));
        assert_eq!(of(1, ItemState::Absent), (0, 0, false, true), "from nothing nothing is made");
        assert_eq!(of(4, ItemState::Present), (0, 0, true, true));
    }
}
