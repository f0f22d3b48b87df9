//! Items that would write to one object: one of them would always overwrite the other, and neither would ever be
//! complete. Found while the keys are indexed, told per pair of datasets, with the count and what the key lacks.

use std::collections::BTreeMap;

use hashbrown::HashSet;

use super::{Across, ExpectedDataset, ItemIx, describe};
use crate::coverage::values::DimensionValues;
use crate::coverage::writer::{Digits, KeyWriter};
use crate::figures::grouped;
use crate::spec::Spec;
use crate::spec::names::VarRef;
use crate::spec::problem::Problem;

#[derive(Default)]
pub(super) struct Collisions {
    /// By places of the two datasets.
    pairs: BTreeMap<(usize, usize), Collision>,
}

struct Collision {
    /// The first two items with one key.
    first: (u32, u32),
    /// One item per key that is written more than once.
    objects: HashSet<u32>,
    /// Items that want a key which is taken.
    latecomers: u64,
}

impl Collisions {
    /// `item` writes the key that belongs to `earlier`.
    pub(super) fn add(&mut self, earlier: u32, item: u32, datasets: &[ExpectedDataset]) {
        let dataset_of = |item: u32| datasets.partition_point(|dataset| dataset.items.end <= item);
        let collision = self.pairs.entry((dataset_of(earlier), dataset_of(item))).or_insert_with(|| Collision {
            first: (earlier, item),
            objects: HashSet::new(),
            latecomers: 0,
        });
        collision.objects.insert(earlier);
        collision.latecomers += 1;
    }

    pub(super) fn problems(&self, spec: &Spec, datasets: &[ExpectedDataset], dimensions: &[DimensionValues]) -> Vec<Problem> {
        let told = self.pairs.iter().map(|((first, second), collision)| {
            let pair = Pair { spec, dimensions, first: &datasets[*first], second: &datasets[*second] };
            if first == second { pair.within_one(collision) } else { pair.across_two(collision) }
        });
        told.collect()
    }
}

struct Pair<'a> {
    spec: &'a Spec,
    dimensions: &'a [DimensionValues],
    first: &'a ExpectedDataset,
    second: &'a ExpectedDataset,
}

impl Pair<'_> {
    fn within_one(&self, collision: &Collision) -> Problem {
        let dataset = &self.spec.datasets[self.first.name()];
        let (a, b) = (self.first.digits(ItemIx(collision.first.0)), self.first.digits(ItemIx(collision.first.1)));
        let across = Across::new(self.dimensions, &self.first.dimensions);
        let example = format!("{} and {}", describe(&across, &a), describe(&across, &b));
        let missing = self.missing(&a, &b);
        let problem = match missing.as_slice() {
            [] => {
                let message = format!("dataset `{}`: two items have the key `{}`: {example}", dataset.name, self.key(&a));
                Problem::error(&dataset.key_at, message).hint("put more into the key, so that no two items have the same")
            }
            missing => {
                let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
                let message = format!("dataset `{}`: key `{}` does not mention {}", dataset.name, dataset.key.text(), names.join(" and "));
                let add: Vec<String> = missing.iter().map(|name| format!("`{{{name}}}`")).collect();
                let others = self.mentioned_dimensions();
                let instead = match others.as_slice() {
                    [] => String::new(),
                    [one] => format!(", or use `for: {one}`"),
                    more => format!(", or use `for: [{}]`", more.join(", ")),
                };
                Problem::error(&dataset.key_at, message).hint(format!("add {} to the key{instead}", add.join(" and ")))
            }
        };
        problem.note(format!("{}, for example {example}", counted(collision)))
    }

    fn across_two(&self, collision: &Collision) -> Problem {
        let dataset = &self.spec.datasets[self.second.name()];
        let (a, b) = (self.first.digits(ItemIx(collision.first.0)), self.second.digits(ItemIx(collision.first.1)));
        let key = self.key(&a);
        let (first, second) = (
            describe(&Across::new(self.dimensions, &self.first.dimensions), &a),
            describe(&Across::new(self.dimensions, &self.second.dimensions), &b),
        );
        let message =
            format!("datasets `{}` ({first}) and `{}` ({second}) both have an item with the key `{key}`", self.first.name(), dataset.name);
        let hint = "give each dataset a prefix of its own";
        Problem::error(&dataset.key_at, message).note(counted(collision)).hint(hint)
    }

    fn key(&self, digits: &Digits) -> String {
        let mut key = String::new();
        let across = Across::new(self.dimensions, &self.first.dimensions);
        // An item that collided has a key.
        let _ = self.first.writer.write(across.as_slice(), digits, &mut key);
        key
    }

    /// What tells the two items apart, and the key does not show.
    fn missing(&self, a: &Digits, b: &Digits) -> Vec<String> {
        let shown = KeyWriter::vars(&self.spec.datasets[self.first.name()].key, &self.first.names);
        let names = &self.first.names;
        let differing = (0..names.dimensions().len()).filter(|at| a[*at] != b[*at]);
        let mains = differing.map(|at| VarRef { dimension: at as u16, column: names.dimensions()[at].main() });
        mains
            .filter(|main| !shown.contains(main))
            .filter(|main| !self.is_shown_as_date(*main, &shown))
            .map(|main| names.display(main))
            .collect()
    }

    /// A calendar is mentioned by any of its columns; only the format can be too coarse then.
    fn is_shown_as_date(&self, main: VarRef, shown: &[VarRef]) -> bool {
        let values = &self.dimensions[self.first.dimensions[usize::from(main.dimension)]];
        values.is_calendar() && shown.iter().any(|var| var.dimension == main.dimension)
    }

    /// If the key shows whole dimensions only, and not all: those.
    fn mentioned_dimensions(&self) -> Vec<String> {
        let names = &self.first.names;
        let shown = KeyWriter::vars(&self.spec.datasets[self.first.name()].key, names);
        if shown.iter().any(|var| names.dimensions()[usize::from(var.dimension)].main() != var.column) {
            return Vec::new();
        }
        let is_shown = |at: usize| shown.iter().any(|var| usize::from(var.dimension) == at);
        let mentioned = names.dimensions().iter().enumerate().filter(|(at, _)| is_shown(*at));
        mentioned.map(|(_, dimension)| dimension.name().to_string()).collect()
    }
}

fn counted(collision: &Collision) -> String {
    let objects = collision.objects.len() as u64;
    let plural = if objects == 1 { "" } else { "s" };
    format!("{} items would write to {} object{plural}", grouped(collision.latecomers + objects), grouped(objects))
}
