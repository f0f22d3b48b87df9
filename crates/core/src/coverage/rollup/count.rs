//! Counting: the cell of an item is a sum over its digits, and digits go up like an odometer's.

use std::ops::Range;

use super::super::tally::Counts;
use super::super::writer::{Digits, MOST_DIMENSIONS};
use super::axis::Place;
use crate::gap::ItemState;

const STATES: usize = ItemState::ALL.len();
/// So many sums of one byte cannot run over.
const IN_A_BYTE: usize = 255;
/// Shorter rows of one cell are counted item by item.
const WORTH_A_ROW: u32 = 24;

/// How many items of each state, by cell.
pub(super) struct Tallies(Vec<[u32; STATES]>);

impl Tallies {
    pub(super) fn new(cells: usize) -> Tallies {
        Tallies(vec![[0; STATES]; cells])
    }

    fn add(&mut self, cell: u32, state: ItemState) {
        self.0[cell as usize][state as usize] += 1;
    }

    /// Many items of one cell.
    fn add_row(&mut self, cell: u32, states: &[ItemState]) {
        let tally = &mut self.0[cell as usize];
        for some in states.chunks(IN_A_BYTE) {
            for (state, count) in tally.iter_mut().enumerate() {
                // Bytes are compared and summed up many at once.
                *count += u32::from(some.iter().map(|one| u8::from(*one as u8 == state as u8)).sum::<u8>());
            }
        }
    }

    pub(super) fn add_to(&self, cells: &mut [Counts]) {
        for (counts, tally) in cells.iter_mut().zip(&self.0) {
            for (state, count) in ItemState::ALL.into_iter().zip(tally) {
                *counts.of(state) += u64::from(*count);
            }
        }
    }
}

/// One dataset's items, and what each digit of each dimension adds to the cell.
pub(super) struct Lane<'e> {
    pub(super) items: Range<u32>,
    sizes: &'e [u32],
    kept: Option<&'e [u32]>,
    base: u32,
    /// By dimension, then by digit; `None`: it decides nothing.
    adds: Vec<Option<Vec<u32>>>,
}

impl<'e> Lane<'e> {
    pub(super) fn new(items: Range<u32>, sizes: &'e [u32], kept: Option<&'e [u32]>) -> Lane<'e> {
        Lane { items, sizes, kept, base: 0, adds: sizes.iter().map(|_| None).collect() }
    }

    /// `sorted`: each bucket's place among the sorted ones.
    pub(super) fn add(&mut self, place: Place, sorted: &[u32], stride: u32) {
        match place {
            Place::All(bucket) => self.base += sorted[bucket as usize] * stride,
            Place::ByDigit { dimension, buckets } => {
                let adds = self.adds[dimension].get_or_insert_with(|| vec![0; buckets.len()]);
                for (add, bucket) in adds.iter_mut().zip(&buckets) {
                    *add += sorted[*bucket as usize] * stride;
                }
            }
        }
    }

    /// `states`: of the items from the `first` of the lane on.
    pub(super) fn count(&self, states: &[ItemState], first: u32, tallies: &mut Tallies) {
        match self.kept {
            Some(kept) => self.count_kept(states, &kept[first as usize..][..states.len()], tallies),
            None => self.count_all(states, first, tallies),
        }
    }

    /// Items of the whole product: all behind the last dimension that decides anything share a cell.
    fn count_all(&self, mut states: &[ItemState], first: u32, tallies: &mut Tallies) {
        let Some(last) = self.adds.iter().rposition(Option::is_some) else {
            return tallies.add_row(self.base, states);
        };
        let Some(adds) = &self.adds[last] else { return };
        let row: u32 = self.sizes[last + 1..].iter().product();
        let mut digits = self.digits(first / row);
        // The first row may have begun before.
        let mut gone = first % row;
        while !states.is_empty() {
            let ahead = self.base + self.sum(&digits, last);
            let here = &adds[digits[last] as usize..];
            if row == 1 {
                let some = here.len().min(states.len());
                for (state, add) in states[..some].iter().zip(here) {
                    tallies.add(ahead + add, *state);
                }
                states = &states[some..];
            } else {
                for add in here {
                    let some = ((row - gone) as usize).min(states.len());
                    let (now, rest) = states.split_at(some);
                    match row < WORTH_A_ROW {
                        true => now.iter().for_each(|state| tallies.add(ahead + add, *state)),
                        false => tallies.add_row(ahead + add, now),
                    }
                    (states, gone) = (rest, 0);
                    if states.is_empty() {
                        break;
                    }
                }
            }
            digits[last] = self.sizes[last];
            self.carry(&mut digits, last);
        }
    }

    /// Items that a `where` keeps: from one to the next the digits go up by some.
    fn count_kept(&self, states: &[ItemState], ranks: &[u32], tallies: &mut Tallies) {
        let last = self.sizes.len() - 1;
        let mut before = ranks[0];
        let mut digits = self.digits(before);
        let mut ahead = self.base + self.sum(&digits, last);
        for (state, rank) in states.iter().zip(ranks) {
            digits[last] += rank - before;
            before = *rank;
            if digits[last] >= self.sizes[last] {
                self.carry(&mut digits, last);
                ahead = self.base + self.sum(&digits, last);
            }
            let add = self.adds[last].as_ref().map_or(0, |adds| adds[digits[last] as usize]);
            tallies.add(ahead + add, *state);
        }
    }

    /// Of a place in the product of the dimensions up to the last that decides.
    fn digits(&self, mut rank: u32) -> Digits {
        let deciding = match &self.kept {
            Some(_) => self.sizes.len(),
            None => self.adds.iter().rposition(Option::is_some).map_or(0, |last| last + 1),
        };
        let mut digits = [0; MOST_DIMENSIONS];
        for at in (0..deciding).rev() {
            digits[at] = rank % self.sizes[at];
            rank /= self.sizes[at];
        }
        digits
    }

    /// What a digit has too much goes to the one before it.
    fn carry(&self, digits: &mut Digits, last: usize) {
        for at in (1..=last).rev() {
            if digits[at] < self.sizes[at] {
                return;
            }
            digits[at - 1] += digits[at] / self.sizes[at];
            digits[at] %= self.sizes[at];
        }
    }

    /// What the digits before `last` add.
    fn sum(&self, digits: &Digits, last: usize) -> u32 {
        (0..last).filter_map(|at| self.adds[at].as_ref().map(|adds| adds[digits[at] as usize])).sum()
    }
}
