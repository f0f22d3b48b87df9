//! What is known of one item's key, in sixteen bytes: ten million items are 160 MB.
//!
//! Always true: what is put into a cell comes out of it as it was, but for an instant that lies a thousand years away
//! (`what_is_put_into_a_cell_comes_out_of_it`).

use std::ops::Range;

use hashbrown::HashMap;

use super::expected::ItemIx;
use super::state::{EtagDigest, Found};
use crate::object::Object;
use crate::time::Timestamp;

/// What is known of an item's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    NotListed,
    /// Whatever a listing or a report says, nobody knows.
    NotSeen,
    NotThere,
    There(Found),
}

/// The cells of all items.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    packed: Vec<Packed>,
    /// Sizes that do not fit into a cell.
    large: HashMap<ItemIx, u64>,
}

/// From its lowest bit: what it is, the date, the size, the digest of the ETag. All zeros is [`Cell::NotListed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Packed(u128);

const TAG_BITS: u32 = 2;
/// Microseconds, within eleven centuries of 1970.
const DATE_BITS: u32 = 56;
/// Up to 256 GiB.
const SIZE_BITS: u32 = 38;
const SIZE_AT: u32 = TAG_BITS + DATE_BITS;
const ETAG_AT: u32 = SIZE_AT + SIZE_BITS;

/// Stands for a size that is among the large ones.
const LARGE: u64 = (1 << SIZE_BITS) - 1;
const LATEST: i64 = (1 << (DATE_BITS - 1)) - 1;
/// Stands for [`Timestamp::MIN`]: no date is known.
const NO_DATE: i64 = -LATEST - 1;

impl Cells {
    pub fn of(items: usize) -> Self {
        Cells { packed: vec![Packed::default(); items], large: HashMap::new() }
    }

    /// `None`: there is no such item.
    pub fn get(&self, item: ItemIx) -> Option<Cell> {
        let packed = *self.packed.get(item.0 as usize)?;
        let cell = packed.cell();
        Some(match cell {
            Cell::There(found) if found.size == LARGE => {
                Cell::There(Found { size: self.large.get(&item).copied().unwrap_or(LARGE), ..found })
            }
            cell => cell,
        })
    }

    pub fn set(&mut self, item: ItemIx, cell: Cell) {
        if !self.large.is_empty() {
            self.large.remove(&item);
        }
        if let Cell::There(found) = &cell
            && found.size >= LARGE
        {
            self.large.insert(item, found.size);
        }
        self.packed[item.0 as usize] = Packed::of(cell);
    }

    /// Nobody has listed these.
    pub fn forget(&mut self, items: Range<usize>) {
        self.large.retain(|item, _| !items.contains(&(item.0 as usize)));
        self.packed[items].fill(Packed::default());
    }
}

impl Packed {
    fn of(cell: Cell) -> Self {
        Packed(match cell {
            Cell::NotListed => 0,
            Cell::NotSeen => 1,
            Cell::NotThere => 2,
            Cell::There(Found { size, last_modified, etag }) => {
                let is_known = last_modified != Timestamp::MIN;
                let date = if is_known { last_modified.as_microsecond().clamp(NO_DATE + 1, LATEST) } else { NO_DATE };
                let date = date as u64 & ((1 << DATE_BITS) - 1);
                3 | u128::from(date) << TAG_BITS | u128::from(size.min(LARGE)) << SIZE_AT | u128::from(etag.bits()) << ETAG_AT
            }
        })
    }

    fn cell(self) -> Cell {
        match self.0 & 3 {
            0 => Cell::NotListed,
            1 => Cell::NotSeen,
            2 => Cell::NotThere,
            _ => {
                // The highest bit of the date is its sign.
                let date = ((self.0 >> TAG_BITS) as u64) << (u64::BITS - DATE_BITS);
                let last_modified = match date as i64 >> (u64::BITS - DATE_BITS) {
                    NO_DATE => Timestamp::MIN,
                    micros => Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MIN),
                };
                let size = (self.0 >> SIZE_AT) as u64 & LARGE;
                Cell::There(Found { size, last_modified, etag: EtagDigest::of_bits((self.0 >> ETAG_AT) as u32) })
            }
        }
    }
}

impl Found {
    pub(super) fn of(object: &Object) -> Self {
        Found { size: object.size, last_modified: object.last_modified, etag: EtagDigest::of(&object.etag) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found() -> impl Strategy<Value = Found> {
        let size = prop_oneof![any::<u64>(), 0..1_000_u64, LARGE - 2..LARGE + 2];
        let micros = prop_oneof![
            Just(None),
            (-3_000_000_000_000_000_i64..6_000_000_000_000_000).prop_map(Some),
            (LATEST - 2..=LATEST).prop_map(Some)
        ];
        let at = micros.prop_map(|micros| micros.map_or(Timestamp::MIN, |micros| Timestamp::from_microsecond(micros).unwrap()));
        (size, at, any::<u32>()).prop_map(|(size, last_modified, etag)| Found { size, last_modified, etag: EtagDigest::of_bits(etag) })
    }

    fn cell() -> impl Strategy<Value = Cell> {
        prop_oneof![Just(Cell::NotListed), Just(Cell::NotSeen), Just(Cell::NotThere), found().prop_map(Cell::There)]
    }

    proptest! {
        #[test]
        fn what_is_put_into_a_cell_comes_out_of_it(puts in prop::collection::vec((0..4_u32, cell()), 1..40)) {
            let mut cells = Cells::of(4);
            let mut known = [Cell::NotListed; 4];
            for (item, cell) in puts {
                cells.set(ItemIx(item), cell);
                known[item as usize] = cell;
                let all: Vec<Cell> = (0..4).map(|item| cells.get(ItemIx(item)).unwrap()).collect();
                prop_assert_eq!(&all[..], &known[..]);
            }
            cells.forget(1..3);
            known[1..3].fill(Cell::NotListed);
            let all: Vec<Cell> = (0..4).map(|item| cells.get(ItemIx(item)).unwrap()).collect();
            prop_assert_eq!(&all[..], &known[..]);
            prop_assert_eq!(cells.get(ItemIx(4)), None);
        }
    }
}
