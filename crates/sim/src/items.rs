//! The items of a world, the lake they lie in, and which of them are gaps.
//!
//! A plain stand-in for coverage, so that the dispatcher gets news of the same kind: items fall due, are missing, filled,
//! stale, absent. What it says depends on the wall clock of the machine, whatever that shows.

use std::collections::{BTreeSet, HashMap};

use adce_core::gap::{Gap, Progress, Reason};
use adce_core::ids::{GapId, ItemId};
use adce_core::record::ItemRecord;
use adce_core::spec::PriorityLevel;
use adce_core::time::{SignedDuration, Timestamp};

use crate::clocks::{BEGIN, true_wall};
use crate::dice::Dice;
use crate::scenario::{DatasetSpec, Fresh, HOUR, Micros, Scenario};

#[derive(Clone, Debug)]
pub struct Item {
    pub id: ItemId,
    pub dataset: usize,
    pub key: String,
    pub group: Vec<String>,
    pub due: Timestamp,
    pub due_at: Micros,
    /// When upstream has it; `None`: never.
    pub there_from: Option<Micros>,
    /// The collector crashes at it until then.
    pub poison_until: Micros,
    /// So often somebody takes it out of the lake again.
    pub to_be_taken: u32,
}

#[derive(Clone, Debug)]
pub struct Items {
    pub all: Vec<Item>,
    at: HashMap<ItemId, usize>,
    /// What lies in the lake.
    lake: HashMap<ItemId, Object>,
    /// The first of those that have never been due, and all in the order in which they fall due.
    upcoming: BTreeSet<(Timestamp, usize)>,
    /// Those that were due once, without what needs nothing any more.
    unsettled: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Object {
    last_modified: Timestamp,
}

impl Items {
    pub fn of(scenario: &Scenario, dice: &mut Dice) -> Self {
        let of_dataset = |(at, dataset): (usize, &DatasetSpec)| (0..dataset.items).map(move |number| (at, number)).collect::<Vec<_>>();
        let numbered: Vec<_> = scenario.datasets.iter().enumerate().flat_map(of_dataset).collect();
        let all: Vec<Item> = numbered.into_iter().map(|(at, number)| item(&scenario.datasets[at], at, number, dice)).collect();
        let at = all.iter().enumerate().map(|(at, item)| (item.id, at)).collect();
        let upcoming = all.iter().enumerate().map(|(at, item)| (item.due, at)).collect();
        Items { at, all, lake: HashMap::new(), upcoming, unsettled: BTreeSet::new() }
    }

    /// Positions of all that may be gaps now, and when the next one falls due that never was.
    pub fn to_look_at(&mut self, wall: Timestamp) -> (Vec<usize>, Option<Timestamp>) {
        while let Some((_, at)) = self.upcoming.first().copied().filter(|(due, _)| *due <= wall) {
            self.upcoming.pop_first();
            self.unsettled.insert(at);
        }
        (self.unsettled.iter().copied().collect(), self.upcoming.first().map(|(due, _)| *due))
    }

    /// It lies in the lake, is no gap, and time alone will never make it one.
    pub fn needs_nothing_more(&mut self, at: usize, dataset: &DatasetSpec, confirmed: Option<Timestamp>, wall: Timestamp) {
        let item = &self.all[at];
        let confirmed = self.lake.get(&item.id).map(|object| confirmed.max(Some(object.last_modified)));
        // A day more, in case somebody sets the clock back.
        let is_over = dataset.fresh.is_none_or(|fresh| wall.duration_since(last_fresh(item, fresh)) > SignedDuration::from_hours(24));
        if let Some(Some(confirmed)) = confirmed
            && is_over
            && !is_stale(item, dataset, confirmed, wall)
        {
            self.unsettled.remove(&at);
        }
    }

    /// A new engine may know less than the last one did.
    pub fn forget_what_is_settled(&mut self) {
        let upcoming: BTreeSet<usize> = self.upcoming.iter().map(|(_, at)| *at).collect();
        self.unsettled = (0..self.all.len()).filter(|at| !upcoming.contains(at)).collect();
    }

    pub fn position(&self, id: ItemId) -> usize {
        self.at[&id]
    }

    /// Somebody takes its object away; `false`: none was there.
    pub fn take(&mut self, at: usize) -> bool {
        self.unsettled.insert(at);
        self.lake.remove(&self.all[at].id).is_some()
    }

    pub fn get(&self, id: ItemId) -> &Item {
        &self.all[self.at[&id]]
    }

    pub fn publish(&mut self, id: ItemId, wall: Timestamp) {
        self.lake.insert(id, Object { last_modified: wall });
    }

    pub fn is_in_lake(&self, id: ItemId) -> bool {
        self.lake.contains_key(&id)
    }

    pub fn is_due(&self, item: &Item, wall: Timestamp) -> bool {
        item.due <= wall
    }

    /// `None`: it is as it should be, or upstream is on record as not having it.
    pub fn gap_reason(&self, item: &Item, dataset: &DatasetSpec, record: Option<&ItemRecord>, wall: Timestamp) -> Option<Reason> {
        match self.lake.get(&item.id) {
            Some(object) => {
                let confirmed = record.and_then(|record| record.confirmed).max(Some(object.last_modified))?;
                is_stale(item, dataset, confirmed, wall).then_some(Reason::Stale)
            }
            None => {
                let absent = record.and_then(|record| record.absent.as_ref());
                absent.is_none_or(|mark| mark.recheck_at <= wall).then_some(Reason::Missing)
            }
        }
    }

    pub fn gap(&self, item: &Item, dataset: &DatasetSpec, episode: u32, reason: Reason, wall: Timestamp) -> Gap {
        Gap {
            id: GapId { item: item.id, episode },
            dataset: dataset.name.clone(),
            key: item.key.clone(),
            reason,
            detected_at: wall,
            due: Some(item.due),
            priority: priority(item, dataset, wall),
            group: item.group.clone(),
            etag: None,
            last_modified: self.lake.get(&item.id).map(|object| object.last_modified),
            fingerprint: 1,
            progress: Progress::default(),
        }
    }
}

fn item(dataset: &DatasetSpec, at: usize, number: u32, dice: &mut Dice) -> Item {
    let due_at = BEGIN + dataset.first_due + u64::from(number / dataset.at_once) * dataset.due_every;
    let late = dice.permille(dataset.late);
    let there_from = (!dice.permille(dataset.absent)).then(|| if late { due_at + dice.among(0..3 * HOUR) } else { 0 });
    // Drawn only where there are such things, so that a seed's other worlds stay what they were.
    let is_poison = dataset.poison > 0 && dice.permille(dataset.poison);
    let is_taken = dataset.taken > 0 && dice.permille(dataset.taken);
    Item {
        id: ItemId::of(&dataset.name, [number.to_string().as_str()]),
        dataset: at,
        key: format!("{}/{number:05}", dataset.name),
        group: vec![format!("group{}", number / dataset.at_once % dataset.groups)],
        due: true_wall(due_at),
        due_at,
        there_from,
        poison_until: if is_poison { due_at + dataset.repaired_after } else { 0 },
        to_be_taken: if is_taken { dice.among(1..8) as u32 } else { 0 },
    }
}

fn last_fresh(item: &Item, fresh: Fresh) -> Timestamp {
    item.due.checked_add(SignedDuration::from_micros(fresh.until as i64)).expect("in range")
}

pub fn priority(item: &Item, dataset: &DatasetSpec, wall: Timestamp) -> PriorityLevel {
    let overdue = wall.duration_since(item.due);
    match dataset.cools {
        Some(after) if overdue >= SignedDuration::from_micros(after as i64) => PriorityLevel::Low,
        _ => dataset.priority,
    }
}

/// FACE: stale when now < until and now − confirmed > within, and once more past `until` if confirmed < until − within.
pub fn is_stale(item: &Item, dataset: &DatasetSpec, confirmed: Timestamp, wall: Timestamp) -> bool {
    let Some(fresh) = dataset.fresh else { return false };
    let span = |micros: Micros| SignedDuration::from_micros(micros as i64);
    let until = last_fresh(item, fresh);
    match wall < until {
        true => wall.duration_since(confirmed) > span(fresh.within),
        false => until.duration_since(confirmed) > span(fresh.within),
    }
}
