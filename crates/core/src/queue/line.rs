//! Tasks in their order, four bytes each.
//!
//! A million of them stand in line at once, so the line knows their numbers alone, and whoever uses it tells where a task
//! stands ([`Places`]). It is cut into pieces, so that whoever comes or goes moves a few hundred numbers and not all.
//!
//! Always true: the numbers are in the order of their places, as long as no place changes while its task is in the line
//! (`a_line_is_in_order_whoever_comes_and_goes`).

use std::cmp::Ordering;

use super::book::looks;
use super::classes::TaskSlot;
use super::score::PlaceRef;

/// Where tasks stand; the same for as long as they are in a line.
pub(super) trait Places {
    fn place_of(&self, task: TaskSlot) -> PlaceRef<'_>;
}

/// A piece is halved when it has more.
const LONGEST_PIECE: usize = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// None is empty.
    pieces: Vec<Vec<TaskSlot>>,
    len: usize,
}

/// Between two tasks.
#[derive(Clone, Copy)]
struct Cut {
    piece: usize,
    at: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn first(&self) -> Option<TaskSlot> {
        self.pieces.first()?.first().copied()
    }

    pub(super) fn last(&self) -> Option<TaskSlot> {
        self.pieces.last()?.last().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = TaskSlot> + '_ {
        self.pieces.iter().flatten().copied().inspect(|_| looks::one())
    }

    /// From the first one on that does not stand before `place`.
    pub(super) fn from<'a>(&'a self, place: PlaceRef<'_>, places: &impl Places) -> impl Iterator<Item = TaskSlot> + 'a {
        let Cut { piece, at } = self.cut(place, places);
        let rest = self.pieces.get(piece).map_or(&[][..], |piece| &piece[at..]);
        rest.iter().chain(self.pieces.iter().skip(piece + 1).flatten()).copied().inspect(|_| looks::one())
    }

    /// The last one that stands before `place`.
    pub(super) fn last_before(&self, place: PlaceRef<'_>, places: &impl Places) -> Option<TaskSlot> {
        let Cut { piece, at } = self.cut(place, places);
        match at {
            0 => self.pieces.get(piece.checked_sub(1)?)?.last().copied(),
            _ => Some(self.pieces[piece][at - 1]),
        }
    }

    pub(super) fn insert(&mut self, task: TaskSlot, places: &impl Places) {
        let Cut { piece, at } = self.cut(places.place_of(task), places);
        self.len += 1;
        // Whoever stands before all of a piece may as well stand behind all of the one before.
        let (piece, at) = match (at, piece.checked_sub(1)) {
            (0, Some(before)) => (before, self.pieces[before].len()),
            _ => (piece, at),
        };
        let Some(into) = self.pieces.get_mut(piece) else {
            self.pieces.push(vec![task]);
            return;
        };
        into.insert(at, task);
        if into.len() > LONGEST_PIECE {
            // Who is put in order fills the pieces, and does not leave each half empty.
            let keeps = if at + 1 == into.len() { LONGEST_PIECE } else { LONGEST_PIECE / 2 };
            let mut rest = into.split_off(keeps);
            into.shrink_to_fit();
            rest.reserve_exact(LONGEST_PIECE / 4);
            self.pieces.insert(piece + 1, rest);
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, task: TaskSlot, places: &impl Places) -> bool {
        let place = places.place_of(task);
        let Cut { mut piece, mut at } = self.cut(place, places);
        // Tasks of the same place stand next to each other.
        while let Some(among) = self.pieces.get_mut(piece) {
            match among.get(at) {
                Some(found) if *found == task => {
                    among.remove(at);
                    self.len -= 1;
                    if among.is_empty() {
                        self.pieces.remove(piece);
                    }
                    return true;
                }
                Some(found) if places.place_of(*found) == place => at += 1,
                Some(_) => return false,
                None => (piece, at) = (piece + 1, 0),
            }
        }
        false
    }

    /// Before the first one that does not stand before `place`.
    fn cut(&self, place: PlaceRef<'_>, places: &impl Places) -> Cut {
        let before = |task: &TaskSlot| places.place_of(*task).cmp(&place) == Ordering::Less;
        let piece = self.pieces.partition_point(|piece| piece.last().is_some_and(before));
        let at = self.pieces.get(piece).map_or(0, |piece| piece.partition_point(before));
        Cut { piece, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    /// Task n stands at the nth of these.
    struct At(Vec<i64>);

    impl Places for At {
        fn place_of(&self, task: TaskSlot) -> PlaceRef<'_> {
            PlaceRef::first_at(Timestamp::from_second(self.0[task as usize]).unwrap())
        }
    }

    proptest! {
        #[test]
        fn a_line_is_in_order_whoever_comes_and_goes(places in prop::collection::vec(0_i64..4_000, 1..3_000), goes in any::<u64>()) {
            let (mut line, mut sorted) = (Line::default(), Vec::new());
            let places = At(places);
            for task in 0..places.0.len() as TaskSlot {
                line.insert(task, &places);
                sorted.push(task);
                if goes.rotate_left(task) & 3 == 0 {
                    let goes = sorted.swap_remove(goes as usize % sorted.len());
                    prop_assert!(line.remove(goes, &places));
                    prop_assert!(!line.remove(goes, &places));
                }
            }
            let at = |task: &TaskSlot| places.0[*task as usize];
            let in_line: Vec<TaskSlot> = line.iter().collect();
            prop_assert!(in_line.is_sorted_by_key(at));
            prop_assert_eq!((line.first(), line.last(), line.len()), (in_line.first().copied(), in_line.last().copied(), sorted.len()));
            let mut same = in_line.clone();
            same.sort_unstable();
            sorted.sort_unstable();
            prop_assert_eq!(same, sorted);
            for second in [0, 1_999, 2_000, 4_000] {
                let place = PlaceRef::first_at(Timestamp::from_second(second).unwrap());
                let split = in_line.partition_point(|task| at(task) < second);
                prop_assert_eq!(line.from(place, &places).collect::<Vec<_>>(), &in_line[split..]);
                prop_assert_eq!(line.last_before(place, &places), in_line[..split].last().copied());
            }
        }
    }
}
