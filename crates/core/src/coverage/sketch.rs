//! Which items were present when their part of the lake was last listed to its end, in a few kilobytes.
//!
//! When a later listing fails, an item that is no gap is either one that was there, or one that was not expected yet:
//! a new row, another `where`. Taken for the same, a new item that nobody ever saw would be called present.
//!
//! Items are sorted into buckets by their ids, and each bucket keeps a sum over its items. A bucket whose sum is still
//! the same holds the same items. Of one that differs nothing is known, so a change makes at most the few items that
//! share its bucket unknown, and never one present that was not (`an_item_that_was_not_present_is_never_called_so`).

use serde::{Deserialize, Serialize};

use crate::ids::ItemId;

/// Enough that a change of some rows leaves most items of a large dataset alone, and 16 KB in the state at most.
const BUCKETS: usize = 1_024;

/// Sums over sets of items; empty while nothing was added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch(Vec<u64>);

impl Sketch {
    pub fn add(&mut self, item: ItemId) {
        let (bucket, sum) = place(item);
        if self.0.is_empty() {
            self.0.resize(BUCKETS, 0);
        }
        self.0[bucket] = self.0[bucket].wrapping_add(sum);
    }

    /// Whether the bucket of this item holds the same items in both.
    pub fn agrees(&self, other: &Sketch, item: ItemId) -> bool {
        let (bucket, _) = place(item);
        let sum = |sketch: &Sketch| sketch.0.get(bucket).copied().unwrap_or(0);
        sum(self) == sum(other)
    }
}

/// An id is the beginning of a digest: any of its bits are as good as random.
fn place(item: ItemId) -> (usize, u64) {
    let word = |at: usize| u64::from_le_bytes(item.0[at..at + 8].try_into().expect("eight bytes"));
    ((word(0) % BUCKETS as u64) as usize, word(8) | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sketch(items: impl IntoIterator<Item = u32>) -> Sketch {
        let mut sketch = Sketch::default();
        items.into_iter().for_each(|item| sketch.add(id(item)));
        sketch
    }

    fn id(item: u32) -> ItemId {
        ItemId::of("d", [item.to_string().as_str()])
    }

    #[test]
    fn an_item_that_was_not_present_is_never_called_so() {
        let before = sketch(0..5_000);
        let now = sketch(0..5_100);
        for new in 5_000..5_100 {
            assert!(!before.agrees(&now, id(new)), "{new}");
        }
        let known = (0..5_000).filter(|item| before.agrees(&now, id(*item))).count();
        assert!(known > 4_400, "a change reached {} items of 5,000", 5_000 - known);
    }

    #[test]
    fn the_same_items_agree_in_any_order() {
        let (before, now) = (sketch(0..300), sketch((0..300).rev()));
        assert!((0..300).all(|item| before.agrees(&now, id(item))));
        assert!(sketch([]).agrees(&Sketch::default(), id(1)));
    }
}
