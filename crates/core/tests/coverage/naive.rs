//! The rules of coverage read once more, as plainly as they can be written: no code of core takes part in a decision.

use std::collections::BTreeMap;

use adce_core::gap::ItemState;

use crate::world::{NOW, PlainItem, World};

pub struct Reading {
    pub states: BTreeMap<String, ItemState>,
    /// Of every item as if it were a gap: 0 low … 3 critical.
    pub priorities: BTreeMap<String, u8>,
    pub unexpected: Vec<u64>,
    /// Earliest due, and how many on that day.
    pub next_due: Vec<Option<(i64, u64)>>,
}

impl Reading {
    /// Is there an item in this one's dataset that belongs to another set now than when it was last listed to its end?
    pub fn strangers(&self, world: &World, key: &str) -> bool {
        let moved = |item: &PlainItem<'_>| !world.is_in_the_last_picture(item) || self.states[&item.key] == ItemState::NotDue;
        world.items().iter().any(|item| item.key[..2] == key[..2] && moved(item))
    }
}

/// `judged`: how the items of the first dataset are said to stand, from which others may be made.
pub fn read(world: &World, judged: &BTreeMap<String, ItemState>) -> Reading {
    let mut reading = Reading { states: BTreeMap::new(), priorities: BTreeMap::new(), unexpected: Vec::new(), next_due: Vec::new() };
    let items = world.items();
    for item in &items {
        let state = state(world, item, judged);
        reading.states.insert(item.key.clone(), state);
        reading.priorities.insert(item.key.clone(), priority(world, item, state));
    }
    for (number, plan) in world.datasets.iter().enumerate() {
        let prefix = format!("d{number}/");
        let strays = world.stray_keys().into_iter().filter(|key| key.starts_with(&prefix) && world.was_shown(key));
        reading.unexpected.push(strays.count() as u64);
        let mut dues: Vec<i64> = Vec::new();
        for item in items.iter().filter(|item| item.dataset == number) {
            dues.extend(plan.due_after.and_then(|after| Some(item.ends? + after)).filter(|due| *due > NOW));
        }
        let day = |seconds: i64| (1_700_000_000 + seconds) / 86_400;
        let first = dues.iter().min().copied();
        reading.next_due.push(first.map(|first| (first, dues.iter().filter(|due| day(**due) == day(first)).count() as u64)));
    }
    reading
}

fn state(world: &World, item: &PlainItem<'_>, judged: &BTreeMap<String, ItemState>) -> ItemState {
    let plan = &world.datasets[item.dataset];
    let due = world.due(item);
    if let (Some(since), Some(due)) = (plan.since, due)
        && due < NOW - since
    {
        return ItemState::OutOfScope;
    }
    if let Some(after) = plan.due_after {
        match item.ends {
            None => return ItemState::NotDue,
            Some(ends) if NOW < ends + after => return ItemState::NotDue,
            Some(_) => {}
        }
    }
    let (mut newest, mut nobody_knows) = (None, false);
    if let Some(inputs) = world.inputs(item) {
        let (mut there, mut awaited) = (0, 0);
        for input in inputs {
            match judged[&input.key] {
                ItemState::Present | ItemState::Stale => {
                    there += 1;
                    newest = newest.max(world.seen(&input).map(|(_, modified)| modified));
                }
                ItemState::Missing | ItemState::Undersized | ItemState::Suspect | ItemState::NotDue => awaited += 1,
                ItemState::Unknown => nobody_knows = true,
                ItemState::Absent | ItemState::Expired | ItemState::OutOfScope => {}
            }
        }
        if awaited > 0 || (there == 0 && !nobody_knows) {
            return ItemState::NotDue;
        }
    }
    if let (Some(after), Some(ends)) = (plan.expires_after, item.ends)
        && ends + after <= NOW
    {
        return ItemState::Expired;
    }
    let shown = world.was_shown(&item.key);
    if !shown && world.listing_failed(&item.key) {
        return before(world, item, world.listed_at[item.dataset]);
    }
    let at_key = item.fate.object.filter(|_| shown);
    let Some((size, modified)) = world.seen(item) else {
        if nobody_knows {
            return before(world, item, None);
        }
        let absent = item.fate.absent_until.is_some_and(|until| NOW < until && item.fate.absent_fingerprint == plan.fingerprint);
        return if absent { ItemState::Absent } else { ItemState::Missing };
    };
    if item.fate.suspect == 0 && at_key.is_some() {
        return ItemState::Suspect;
    }
    if size < plan.min_size {
        return ItemState::Undersized;
    }
    let confirmed = match item.fate.confirmed {
        Some(confirmed) if confirmed > modified => confirmed,
        _ => modified,
    };
    if stale(world, item, confirmed) || newest.is_some_and(|newest| confirmed < newest) { ItemState::Stale } else { ItemState::Present }
}

fn stale(world: &World, item: &PlainItem<'_>, confirmed: i64) -> bool {
    let plan = &world.datasets[item.dataset];
    if let Some(afters) = &plan.fresh_at {
        let passed = afters.iter().filter_map(|after| Some(item.ends? + after)).filter(|at| *at <= NOW);
        return passed.max().is_some_and(|latest| confirmed < latest);
    }
    match (plan.within, plan.until_after, item.ends) {
        (None, _, _) => false,
        (Some(within), None, _) => NOW - confirmed > within,
        (Some(_), Some(_), None) => false,
        (Some(within), Some(after), Some(ends)) => {
            let until = ends + after;
            (NOW < until && NOW - confirmed > within) || (NOW >= until && confirmed < until - within)
        }
    }
}

/// What is said of an item that nobody could look at.
fn before(world: &World, item: &PlainItem<'_>, listed_at: Option<i64>) -> ItemState {
    if let Some(open) = item.fate.open {
        return [ItemState::Missing, ItemState::Stale, ItemState::Undersized, ItemState::Suspect][usize::from(open)];
    }
    if item.fate.absent_until.is_some() {
        let holds = item.fate.absent_fingerprint == world.datasets[item.dataset].fingerprint;
        return if holds { ItemState::Absent } else { ItemState::Unknown };
    }
    let Some(taken) = listed_at else {
        return ItemState::Unknown;
    };
    let filled_since = item.fate.confirmed.is_some_and(|confirmed| confirmed >= taken);
    if filled_since || world.is_in_the_last_picture(item) { ItemState::Present } else { ItemState::Unknown }
}

fn priority(world: &World, item: &PlainItem<'_>, state: ItemState) -> u8 {
    let plan = &world.datasets[item.dataset];
    let Some(below) = plan.high_below else {
        return 3;
    };
    let overdue = plan.due_after.and_then(|after| Some(NOW - (item.ends? + after)));
    match overdue {
        Some(overdue) if overdue < below => 2,
        _ if state == ItemState::Stale => 1,
        _ => 0,
    }
}
