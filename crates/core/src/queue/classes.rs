//! The tasks that could start, kept so that the best one is found without looking at them all.
//!
//! A class is what shares everything a score and a limit depend on besides age: source, collector, priority, size band
//! and the permits to start. Within it the order never changes with time, so the first of each class is enough.
//!
//! A class also remembers which of its tasks were passed, and until when they put up with it (promise 3). Being passed
//! always hits the front of a class up to some place, so one mark stands for any number of tasks.
//!
//! Always true: patience belongs to the task. It ends with the first window that any of its passes named, so later passes
//! never renew it, and a task that entered after a pass was not passed by it
//! (`a_pass_hits_those_that_rank_higher_and_were_there`, `patience_is_not_renewed_and_goes_along_to_another_class`,
//! `a_shorter_window_ends_the_patience_with_a_longer_one`, `pick_equals_brute_force`).

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::line::{Line, Places};
use super::score::{Band, Place, PlaceRef, Rank};
use crate::limits::{Ask, SourceIx};
use crate::spec::PriorityLevel;
use crate::time::{Boottime, SignedDuration, Timestamp};

/// Position in `Rules::collectors`.
pub(super) type CollectorIx = u16;

/// Position of a task in the book.
pub(super) type TaskSlot = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    pub source: Option<SourceIx>,
    pub collector: CollectorIx,
    pub priority: PriorityLevel,
    pub band: Band,
    /// What it takes to start; `None`: no permits.
    pub ask: Option<Ask>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    classes: IndexMap<ClassKey, Class>,
    occupied: BTreeSet<u32>,
    /// Grows with every entry and every pass, and so tells which came first.
    tick: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Class {
    ready: Line,
    gaps: u64,
    passes: Vec<Pass>,
    /// When who is ready entered, of those that did while there were passes: the others were there before.
    entered: BTreeMap<Place, u64>,
    /// Who entered after the newest pass, and so was not hit by it. Kept only while there are passes.
    since: BTreeSet<Place>,
    /// Patience that tasks brought along from another class.
    carried: BTreeMap<Place, Boottime>,
}

/// All tasks from `first` to `last` that were there at `tick` were passed.
#[derive(Clone, Debug)]
struct Pass {
    first: Place,
    last: Place,
    tick: u64,
    until: Boottime,
}

impl Classes {
    /// `patience`: what [`leave`](Self::leave) said, if the task only changes its class. Says which class that is. Its place
    /// stays what it is until it leaves.
    pub(super) fn enter(
        &mut self,
        key: ClassKey,
        place: Place,
        task: TaskSlot,
        gaps: usize,
        patience: Option<Boottime>,
        places: &impl Places,
    ) -> u32 {
        self.tick += 1;
        let entry = self.classes.entry(key);
        let at = entry.index() as u32;
        let class = entry.or_default();
        class.gaps += gaps as u64;
        if let Some(until) = patience {
            class.carried.insert(place.clone(), until);
        }
        if !class.passes.is_empty() {
            class.since.insert(place.clone());
            class.entered.insert(place, self.tick);
        }
        class.ready.insert(task, places);
        self.occupied.insert(at);
        at
    }

    /// Until when the task puts up with being passed, if it was.
    pub(super) fn leave(&mut self, at: u32, place: &Place, task: TaskSlot, gaps: usize, places: &impl Places) -> Option<Boottime> {
        let (_, class) = self.classes.get_index_mut(at as usize)?;
        if !class.ready.remove(task, places) {
            return None;
        }
        class.gaps -= gaps as u64;
        let patience = class.patience(place);
        class.carried.remove(place);
        class.since.remove(place);
        class.entered.remove(place);
        class.forget_passes(places);
        if class.ready.is_empty() {
            self.occupied.remove(&at);
        }
        patience
    }

    pub(super) fn occupied(&self) -> impl Iterator<Item = (u32, &ClassKey, &Class)> {
        self.occupied.iter().map(|at| {
            let (key, class) = self.classes.get_index(*at as usize).expect("an occupied class exists");
            (*at, key, class)
        })
    }

    pub(super) fn class(&self, at: u32) -> (&ClassKey, &Class) {
        self.classes.get_index(at as usize).expect("classes are never removed")
    }

    /// All tasks of class `at` that rank above `rank` are passed now. `score` of a time of detection never grows.
    pub(super) fn pass(&mut self, at: u32, until: Boottime, rank: &Rank, score: impl Fn(Timestamp) -> i64, places: &impl Places) {
        self.tick += 1;
        let tick = self.tick;
        if let Some((_, class)) = self.classes.get_index_mut(at as usize) {
            class.pass(tick, until, rank, score, places);
        }
    }

    pub(super) fn count(&self, census: &mut super::Census) {
        census.classes = self.classes.len();
        census.ready = self.classes.values().map(|class| class.ready.len()).sum();
        census.passes = self.classes.values().map(|class| class.passes.len() + class.entered.len() + class.carried.len()).sum();
    }

    /// How many tasks rank higher. Counts them one by one: for a person's question, not for the pick.
    pub(super) fn count_where(&self, ranks_higher: impl Fn(&ClassKey, TaskSlot) -> bool) -> u64 {
        let of = |key: &ClassKey, class: &Class| class.ready.iter().take_while(|task| ranks_higher(key, *task)).count() as u64;
        self.occupied().map(|(_, key, class)| of(key, class)).sum()
    }
}

impl Class {
    pub(super) fn head(&self) -> Option<TaskSlot> {
        self.ready.first()
    }

    /// In their order.
    pub(super) fn first(&self, at_most: usize) -> impl Iterator<Item = TaskSlot> {
        self.ready.iter().take(at_most)
    }

    pub(super) fn tasks(&self) -> u64 {
        self.ready.len() as u64
    }

    pub(super) fn gaps(&self) -> u64 {
        self.gaps
    }

    /// The best-placed task that is not passed any more.
    pub(super) fn out_of_patience(&self, now: Boottime, places: &impl Places) -> Option<TaskSlot> {
        let head = self.head()?;
        let of_its_own = self.carried.iter().find(|(_, until)| **until <= now).map(|(place, _)| place);
        let mut best = of_its_own.and_then(|place| self.ready.from(place.as_ref(), places).next());
        for pass in self.passes.iter().filter(|pass| pass.until <= now) {
            if best == Some(head) {
                break;
            }
            best = [best, self.first_passed(pass, places)].into_iter().flatten().min_by_key(|task| places.place_of(*task));
        }
        best
    }

    fn first_passed(&self, pass: &Pass, places: &impl Places) -> Option<TaskSlot> {
        let from_first = self.ready.from(pass.first.as_ref(), places).map(|task| (task, places.place_of(task)));
        let mut front = from_first.take_while(|(_, place)| *place <= pass.last.as_ref());
        front.find(|(_, place)| self.entered_at(*place) < pass.tick).map(|(task, _)| task)
    }

    /// 0: before all passes that there are.
    fn entered_at(&self, place: PlaceRef<'_>) -> u64 {
        if self.entered.is_empty() { 0 } else { self.entered.get(&place.to_owned()).copied().unwrap_or(0) }
    }

    fn patience(&self, place: &Place) -> Option<Boottime> {
        let entered = self.entered_at(place.as_ref());
        let covers = |pass: &&Pass| pass.first <= *place && *place <= pass.last && entered < pass.tick;
        let passed = self.passes.iter().filter(covers).map(|pass| pass.until).min();
        let carried = self.carried.get(place).copied();
        passed.into_iter().chain(carried).min()
    }

    fn pass(&mut self, tick: u64, until: Boottime, rank: &Rank, score: impl Fn(Timestamp) -> i64, places: &impl Places) {
        let Some(last) = self.last_above(rank, score, places) else { return };
        let Some(first) = self.ready.first() else { return };
        let hits_newcomers = self.since.first().is_some_and(|newcomer| *newcomer <= last);
        // All that it hits were hit by the newest one already, and lose their patience sooner.
        let says_nothing_new = self.passes.last().is_some_and(|newest| newest.last >= last && newest.until <= until);
        if says_nothing_new && !hits_newcomers {
            return;
        }
        let pass = Pass { first: places.place_of(first).to_owned(), last, tick, until };
        while self.since.first().is_some_and(|newcomer| *newcomer <= pass.last) {
            self.since.pop_first();
        }
        self.passes.push(pass);
    }

    fn last_above(&self, rank: &Rank, score: impl Fn(Timestamp) -> i64, places: &impl Places) -> Option<Place> {
        let end_of = |at: Timestamp| at.checked_add(SignedDuration::from_micros(1)).ok().map(PlaceRef::first_at);
        let higher = self.last_instant_where(|at| score(at) > rank.score, places).and_then(end_of);
        let even = self.last_instant_where(|at| score(at) >= rank.score, places).and_then(end_of);
        let even = even.map(|end| end.min(rank.place.as_ref()));
        let end = [higher, even].into_iter().flatten().max()?;
        self.ready.last_before(end, places).map(|task| places.place_of(task).to_owned())
    }

    /// The last time of detection for which it holds, given that it holds for the older ones if it does for a younger.
    fn last_instant_where(&self, holds: impl Fn(Timestamp) -> bool, places: &impl Places) -> Option<Timestamp> {
        let detected_at = |task| places.place_of(task).detected_at();
        let (oldest, youngest) = (detected_at(self.ready.first()?), detected_at(self.ready.last()?));
        if !holds(oldest) || holds(youngest) {
            return holds(oldest).then_some(youngest);
        }
        let (mut yes, mut no) = (oldest, youngest);
        // Jumps from one time that occurs to another, halving the span between: few steps, however many tasks.
        loop {
            let middle = halfway(yes, no);
            let next = self.ready.from(PlaceRef::first_at(middle), places).next().map_or(no, detected_at);
            if next < no && holds(next) {
                yes = next;
                continue;
            }
            let before = self.ready.last_before(PlaceRef::first_at(middle), places).map_or(yes, detected_at);
            if before <= yes || holds(before) {
                return Some(before.max(yes));
            }
            no = before;
        }
    }

    /// A pass whose places have all left hits nobody any more.
    fn forget_passes(&mut self, places: &impl Places) {
        if self.passes.is_empty() {
            return;
        }
        match self.ready.first().map(|head| places.place_of(head)) {
            Some(head) => self.passes.retain(|pass| pass.last.as_ref() >= head),
            None => self.passes.clear(),
        }
        if self.passes.is_empty() {
            self.since.clear();
            self.entered.clear();
        }
    }
}

fn halfway(from: Timestamp, to: Timestamp) -> Timestamp {
    let middle = from.as_microsecond() + (to.as_microsecond() - from.as_microsecond() + 1) / 2;
    Timestamp::from_microsecond(middle).unwrap_or(to)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use super::*;

    const KEY: ClassKey = ClassKey { source: Some(SourceIx(0)), collector: 0, priority: PriorityLevel::High, band: 0, ask: None };

    /// Task n stands at second n.
    struct Seconds;

    impl Places for Seconds {
        fn place_of(&self, task: TaskSlot) -> PlaceRef<'_> {
            PlaceRef { due: Reverse(crate::queue::score::NO_DUE), ..PlaceRef::first_at(Timestamp::from_second(task.into()).unwrap()) }
        }
    }

    fn place(second: i64) -> Place {
        Place { detected_at: Timestamp::from_second(second).unwrap(), due: Reverse(None), key: "".into() }
    }

    fn secs(secs: u64) -> Boottime {
        Boottime::from_secs(secs)
    }

    /// The task that stands there.
    fn enter(classes: &mut Classes, second: i64, gaps: usize, patience: Option<Boottime>) {
        classes.enter(KEY, place(second), second as TaskSlot, gaps, patience, &Seconds);
    }

    /// A task of another class, with a score that only those detected before `second` exceed.
    fn pass(classes: &mut Classes, second: i64, until: u64) {
        let rank = Rank { score: -second, place: place(1_000_000) };
        classes.pass(0, secs(until), &rank, |at| -at.as_second(), &Seconds);
    }

    fn first(classes: &Classes, now: u64) -> Option<TaskSlot> {
        classes.class(0).1.out_of_patience(secs(now), &Seconds)
    }

    #[test]
    fn a_pass_hits_those_that_rank_higher_and_were_there() {
        let mut classes = Classes::default();
        for second in [10, 20, 30] {
            enter(&mut classes, second, 1, None);
        }
        pass(&mut classes, 20, 100);
        enter(&mut classes, 5, 1, None);
        assert_eq!((first(&classes, 99), first(&classes, 100)), (None, Some(10)), "a newcomer was not passed");
        assert_eq!(classes.leave(0, &place(10), 10, 1, &Seconds), Some(secs(100)));
        assert_eq!(first(&classes, 100), Some(20), "equal scores: the place decides");
        assert_eq!(classes.leave(0, &place(20), 20, 1, &Seconds), Some(secs(100)));
        assert_eq!(classes.leave(0, &place(30), 30, 1, &Seconds), None);
        assert_eq!(classes.leave(0, &place(5), 5, 1, &Seconds), None);
    }

    #[test]
    fn patience_is_not_renewed_and_goes_along_to_another_class() {
        let mut classes = Classes::default();
        enter(&mut classes, 10, 1, None);
        pass(&mut classes, 50, 100);
        enter(&mut classes, 20, 1, None);
        pass(&mut classes, 50, 200);
        let patience = classes.leave(0, &place(10), 10, 1, &Seconds);
        assert_eq!(patience, Some(secs(100)), "the first pass counts");
        enter(&mut classes, 10, 2, patience);
        assert_eq!((first(&classes, 99), first(&classes, 100)), (None, Some(10)));
        pass(&mut classes, 50, 300);
        assert_eq!(classes.leave(0, &place(10), 10, 2, &Seconds), Some(secs(100)));
        assert_eq!(classes.leave(0, &place(20), 20, 1, &Seconds), Some(secs(200)));
    }

    #[test]
    fn a_shorter_window_ends_the_patience_with_a_longer_one() {
        let mut classes = Classes::default();
        enter(&mut classes, 10, 1, None);
        pass(&mut classes, 50, 3_600);
        pass(&mut classes, 50, 60);
        assert_eq!((first(&classes, 59), first(&classes, 60)), (None, Some(10)), "refused by the hour, then only by the minute");
        enter(&mut classes, 20, 1, None);
        pass(&mut classes, 50, 90);
        pass(&mut classes, 50, 4_000);
        assert_eq!(classes.leave(0, &place(10), 10, 1, &Seconds), Some(secs(60)));
        assert_eq!(classes.leave(0, &place(20), 20, 1, &Seconds), Some(secs(90)));
    }
}
