//! Counts by source, dataset, any column of a dimension, day, week or month, and by any two of them: where the holes are.
//!
//! An item is its place, so what it is counted under follows from its digits. Each value of a dimension is looked at once,
//! for its bucket; after that items cost an addition each, or a fraction of one where many in a row share a bucket, and
//! neither a division nor a name: ten million of them take milliseconds (`bench/run rollup`).
//!
//! Always true: the cells of a rollup sum up to the counts of the datasets that it tells of, and each is what grouping the
//! items one by one gives (`a_rollup_is_what_grouping_item_by_item_gives`), in as many pieces as one likes.

mod axis;
mod count;
#[cfg(test)]
mod tests;

use std::ops::Range;

pub use axis::{Axis, Pace, usual_axes};

use axis::{Buckets, Place};
use count::{Lane, Tallies};

use super::expected::{Expected, ExpectedDataset};
use super::tally::{Counts, Coverage};
use crate::figures::grouped;
use crate::spec::Spec;
use crate::spec::names::NameError;

/// A table or picture of more cells helps nobody, and its figures would take more memory than the items.
pub const MOST_CELLS: u64 = 500_000;

/// So many items are counted in the time that a thread takes to begin.
const WORTH_A_THREAD: u32 = 1 << 18;

/// Why something cannot be counted by what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RollupError {
    pub message: String,
    pub hint: Option<String>,
}

impl From<NameError> for RollupError {
    fn from(error: NameError) -> Self {
        RollupError { message: error.message, hint: error.hint }
    }
}

/// Counts of everything that shares a bucket on each axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollup {
    pub axes: Vec<RollupAxis>,
    /// Of each combination, the last axis fastest; without axes one.
    pub cells: Vec<Counts>,
    /// Datasets that were meant and do not know one of the names.
    pub left_out: Vec<String>,
}

/// What is told apart along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupAxis {
    /// `season`; `tip:month`, also where only `month` was asked for.
    pub name: String,
    pub pace: Option<Pace>,
    /// In order; `None`: items without a value.
    pub buckets: Vec<Option<String>>,
}

impl Rollup {
    /// The cells with what they are of, those without any item left out.
    pub fn filled(&self) -> impl Iterator<Item = (Vec<Option<&str>>, &Counts)> {
        self.cells.iter().enumerate().filter(|(_, counts)| counts.items() > 0).map(|(cell, counts)| (self.values(cell), counts))
    }

    fn values(&self, mut cell: usize) -> Vec<Option<&str>> {
        let mut values = Vec::with_capacity(self.axes.len());
        for axis in self.axes.iter().rev() {
            values.push(axis.buckets[cell % axis.buckets.len()].as_deref());
            cell /= axis.buckets.len();
        }
        values.reverse();
        values
    }

    /// Neighbours along an axis put together until no more than so many buckets are left, and how many each of them is then.
    pub fn coarsened(mut self, axis: usize, at_most: usize) -> (Rollup, usize) {
        let before = self.axes[axis].buckets.len();
        let together = before.div_ceil(at_most.max(1)).max(1);
        if together == 1 {
            return (self, 1);
        }
        let behind: usize = self.axes[axis + 1..].iter().map(|axis| axis.buckets.len()).product();
        let after = before.div_ceil(together);
        let mut cells = vec![Counts::default(); self.cells.len() / before.max(1) * after];
        for (cell, counts) in self.cells.iter().enumerate() {
            let (ahead, at, rest) = (cell / behind / before, cell / behind % before, cell % behind);
            cells[(ahead * after + at / together) * behind + rest] += *counts;
        }
        self.cells = cells;
        self.axes[axis].buckets = self.axes[axis].buckets.chunks(together).map(axis::spanning).collect();
        (self, together)
    }
}

/// On all processors.
pub fn rollup(expected: &Expected, spec: &Spec, coverage: &Coverage, datasets: &[usize], by: &[Axis]) -> Result<Rollup, RollupError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Rolling::new(expected, spec, datasets, by)?.on_threads(coverage, threads))
}

/// What each value of each dimension is counted under: what is left to do is to count.
pub struct Rolling<'e> {
    axes: Vec<RollupAxis>,
    lanes: Vec<Lane<'e>>,
    left_out: Vec<String>,
    cells: usize,
}

impl<'e> Rolling<'e> {
    /// `datasets`: places in [`Expected::datasets`]. Of more than one, those that do not know one of the names are left out.
    pub fn new(expected: &'e Expected, spec: &Spec, datasets: &[usize], by: &[Axis]) -> Result<Rolling<'e>, RollupError> {
        let mut buckets: Vec<Buckets> = by.iter().map(|_| Buckets::default()).collect();
        let mut placed: Vec<(&ExpectedDataset, Vec<Place>)> = Vec::new();
        let (mut left_out, mut refused) = (Vec::new(), None);
        for at in datasets {
            let of = &expected.datasets()[*at];
            // Nothing of a dataset that is left out may be among the buckets.
            match by.iter().map(|axis| axis.finds(expected, of)).collect::<Result<Vec<_>, _>>() {
                Ok(found) => {
                    let place = |(found, buckets): (_, &mut Buckets)| buckets.place(found, expected, spec, of);
                    placed.push((of, found.into_iter().zip(&mut buckets).map(place).collect()));
                }
                Err(error) => {
                    left_out.push(of.name().to_owned());
                    refused.get_or_insert(error);
                }
            }
        }
        if let (true, Some(error)) = (placed.is_empty(), refused) {
            return Err(error);
        }
        let sorted: Vec<Vec<u32>> = buckets.iter_mut().map(Buckets::sort).collect();
        let cells = buckets.iter().map(|buckets| buckets.len() as u64).product::<u64>();
        if cells > MOST_CELLS {
            let message = format!("that would be {} cells, and {} is as many as are told", grouped(cells), grouped(MOST_CELLS));
            return Err(RollupError { message, hint: Some("count by something coarser: `--by month`, or by one name less".into()) });
        }
        let mut stride = 1;
        let mut strides: Vec<u32> = Vec::with_capacity(buckets.len());
        for buckets in buckets.iter().rev() {
            strides.push(stride);
            stride *= buckets.len() as u32;
        }
        let lanes = placed.into_iter().map(|(of, places)| {
            let (sizes, kept) = of.shape();
            let mut lane = Lane::new(of.places(), sizes, kept);
            for ((place, sorted), stride) in places.into_iter().zip(&sorted).zip(strides.iter().rev()) {
                lane.add(place, sorted, *stride);
            }
            lane
        });
        let lanes = lanes.collect();
        let axes = by.iter().zip(buckets).map(|(axis, buckets)| buckets.into_axis(axis)).collect();
        Ok(Rolling { axes, lanes, left_out, cells: cells as usize })
    }

    /// All items that are counted lie in it.
    pub fn items(&self) -> Range<u32> {
        let from = self.lanes.iter().map(|lane| lane.items.start).min().unwrap_or(0);
        from..self.lanes.iter().map(|lane| lane.items.end).max().unwrap_or(from)
    }

    /// Of some of the items: pieces can be counted side by side.
    pub fn count(&self, coverage: &Coverage, items: Range<u32>) -> Counted {
        let mut tallies = Tallies::new(self.cells);
        for lane in &self.lanes {
            let range = lane.items.start.max(items.start)..lane.items.end.min(items.end);
            if !range.is_empty() {
                lane.count(coverage.states(range.clone()), range.start - lane.items.start, &mut tallies);
            }
        }
        Counted(tallies)
    }

    /// All of it, in as many pieces as there are threads; few items are not worth a second one.
    pub fn on_threads(self, coverage: &Coverage, threads: usize) -> Rollup {
        let all = self.items();
        let piece = (all.len() as u32).div_ceil(threads.max(1) as u32).max(WORTH_A_THREAD);
        let pieces = all.clone().step_by(piece as usize).map(|from| from..all.end.min(from.saturating_add(piece)));
        let counted: Vec<Counted> = std::thread::scope(|scope| {
            let others: Vec<_> = pieces.skip(1).map(|piece| scope.spawn(|| self.count(coverage, piece))).collect();
            let own = self.count(coverage, all.start..all.end.min(all.start.saturating_add(piece)));
            let others = others.into_iter().map(|other| other.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked)));
            std::iter::once(own).chain(others).collect()
        });
        self.sum(counted)
    }

    /// Of pieces that do not overlap, all of them.
    pub fn sum(self, counted: impl IntoIterator<Item = Counted>) -> Rollup {
        let mut cells = vec![Counts::default(); self.cells];
        for Counted(tallies) in counted {
            tallies.add_to(&mut cells);
        }
        Rollup { axes: self.axes, cells, left_out: self.left_out }
    }
}

/// Counts of one piece.
pub struct Counted(Tallies);
