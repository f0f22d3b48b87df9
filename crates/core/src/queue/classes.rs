//! The tasks that could start, kept so that the best one is found without looking at them all.
//!
//! A class is what shares everything a score and a limit depend on besides age: source, its value (where the source's limits
//! are told apart by one), collector, priority, size band and the permits to start. Within it the order never changes with
//! time, so the first of each class is enough.
//!
//! Classes that differ in their value alone are a family: they score alike, and what the source or all sources together
//! refuse to one of them they refuse to all. So of a family, too, the first class is enough, and one that its own value
//! refuses *sleeps* until that can be over: ten thousand customers at their limits cost the pick nothing
//! (`what_a_value_refuses_is_not_looked_at_again_before_it_can_be_over`). Whoever changes what a value has left wakes it.
//!
//! A class also remembers which of its tasks were passed, and until when they put up with it (promise 3). Being passed
//! always hits the front of a class up to some place, so one mark stands for any number of tasks.
//!
//! Always true: patience belongs to the task. It ends with the first window that any of its passes named, so later passes
//! never renew it, and a task that entered after a pass was not passed by it
//! (`a_pass_hits_those_that_rank_higher_and_were_there`, `patience_is_not_renewed_and_goes_along_to_another_class`,
//! `a_shorter_window_ends_the_patience_with_a_longer_one`, `pick_equals_brute_force`). A class without tasks is none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use indexmap::IndexMap;

use super::Gate;
use super::line::{Line, Places};
use super::score::{Band, Place, PlaceRef, Rank};
use super::waits::{Entry, Waits};
use crate::ids::ValueId;
use crate::limits::{Ask, SourceIx};
use crate::spec::PriorityLevel;
use crate::time::{Boottime, SignedDuration, Timestamp};

/// Position in `Rules::collectors`.
pub(super) type CollectorIx = u16;

/// Position of a task in the book.
pub(super) type TaskSlot = u32;

/// Position of a class.
pub(super) type ClassIx = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClassKey {
    pub source: Option<SourceIx>,
    /// `None`: the source tells none apart.
    pub value: Option<ValueId>,
    pub collector: CollectorIx,
    pub priority: PriorityLevel,
    pub band: Band,
    /// What it takes to start; `None`: no permits.
    pub ask: Option<Ask>,
}

impl ClassKey {
    fn of_family(self) -> Self {
        self.of_value(None)
    }

    /// The same of another value.
    pub(super) fn of_value(self, value: Option<ValueId>) -> Self {
        ClassKey { value, ask: self.ask.map(|ask| ask.by(value)), ..self }
    }
}

/// Where a task stood before it was taken out of its queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Was {
    /// Until when it puts up with being passed, if it was.
    pub patience: Option<Boottime>,
    /// The class that it was ready in.
    pub class: Option<ClassIx>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Classes {
    at: HashMap<ClassKey, ClassIx>,
    classes: Vec<Option<(ClassKey, Class)>>,
    free: Vec<ClassIx>,
    /// Left by their last task a moment ago: whoever puts it back finds what was remembered of them.
    emptied: IndexMap<ClassKey, ClassIx>,
    occupied: BTreeSet<ClassIx>,
    /// Under the key that its classes share.
    families: IndexMap<ClassKey, Family>,
    /// Classes that sleep, by what would wake them.
    sleepers: HashMap<(SourceIx, ValueId), Vec<ClassIx>>,
    /// Grows with every entry and every pass, and so tells which came first.
    tick: u64,
    /// For stories only.
    pub(super) waits: Waits,
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
    family: usize,
    asleep: Option<Sleep>,
}

/// Classes that differ in their value alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Family {
    /// By the places of their first tasks.
    awake: BTreeSet<(Place, ClassIx)>,
    /// By when they wake.
    asleep: BTreeSet<(Boottime, ClassIx)>,
    /// Those that were passed.
    passed: BTreeSet<ClassIx>,
    all: Ready,
    sleeping: Ready,
}

/// How many are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ready {
    pub tasks: u64,
    pub gaps: u64,
}

impl Ready {
    fn add(&mut self, tasks: u64, gaps: u64) {
        (self.tasks, self.gaps) = (self.tasks + tasks, self.gaps + gaps);
    }

    fn take(&mut self, tasks: u64, gaps: u64) {
        (self.tasks, self.gaps) = (self.tasks - tasks, self.gaps - gaps);
    }
}

/// Its value refuses, whatever happens elsewhere.
#[derive(Clone, Debug)]
struct Sleep {
    until: Boottime,
    gate: Gate,
}

/// For those who only somebody else can wake.
const NOT_BY_ITSELF: Boottime = Boottime(u64::MAX);

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
    ) -> ClassIx {
        self.tick += 1;
        let at = self.find_or_make(key);
        let (_, class) = self.classes[at as usize].as_mut().expect("found or made above");
        let family = &mut self.families[class.family];
        class.gaps += gaps as u64;
        family.all.add(1, gaps as u64);
        if let Some(until) = patience {
            class.carried.insert(place.clone(), until);
            family.passed.insert(at);
        }
        if !class.passes.is_empty() {
            class.since.insert(place.clone());
            class.entered.insert(place, self.tick);
        }
        let first_before = class.ready.first();
        class.ready.insert(task, places);
        match class.asleep {
            Some(_) => family.sleeping.add(1, gaps as u64),
            None => family.has_first(at, first_before.map(|first| places.place_of(first).to_owned()), class.ready.first(), places),
        }
        at
    }

    fn find_or_make(&mut self, key: ClassKey) -> ClassIx {
        if let Some(at) = self.at.get(&key) {
            return *at;
        }
        let family = self.families.entry(key.of_family());
        let class = Class { family: family.index(), ..Class::default() };
        family.or_default();
        let at = self.emptied.swap_remove(&key).or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.classes.push(None);
            self.classes.len() as ClassIx - 1
        });
        self.classes[at as usize] = Some((key, class));
        self.at.insert(key, at);
        self.occupied.insert(at);
        at
    }

    /// Until when the task puts up with being passed, if it was.
    pub(super) fn leave(&mut self, at: ClassIx, place: &Place, task: TaskSlot, gaps: usize, places: &impl Places) -> Option<Boottime> {
        let (_, class) = self.classes.get_mut(at as usize)?.as_mut()?;
        let family = &mut self.families[class.family];
        let was_first = class.ready.first() == Some(task);
        if !class.ready.remove(task, places) {
            return None;
        }
        class.gaps -= gaps as u64;
        family.all.take(1, gaps as u64);
        match class.asleep {
            Some(_) => family.sleeping.take(1, gaps as u64),
            None if was_first => family.has_first(at, Some(place.clone()), class.ready.first(), places),
            None => {}
        }
        let patience = class.patience(place);
        class.carried.remove(place);
        class.since.remove(place);
        class.entered.remove(place);
        class.forget_passes(places);
        if !class.was_passed() {
            family.passed.remove(&at);
        }
        if class.ready.is_empty() {
            self.remove(at);
        }
        patience
    }

    /// Nothing is in it any more.
    fn remove(&mut self, at: ClassIx) {
        self.wakes(at, None);
        let Some((key, _)) = self.classes[at as usize].take() else { return };
        self.at.remove(&key);
        self.occupied.remove(&at);
        self.emptied.insert(key, at);
    }

    /// Nobody who was taken out is about to be put back.
    pub(super) fn settle(&mut self) {
        for (key, at) in self.emptied.drain(..) {
            self.free.push(at);
            self.waits.empties(at);
            if let Some((family, _, of)) = self.families.get_full(&key.of_family())
                && of.all.tasks == 0
            {
                self.waits.family_empties(family);
            }
        }
    }

    /// A task that has just entered, for what is told of its waits.
    pub(super) fn entry(&self, class: ClassIx) -> Entry {
        let (of, (family, all)) = (self.class(class).1, self.family_of(class));
        Entry { family, class, is_first_of_family: all.all.tasks == 1, is_first_of_class: of.tasks() == 1 }
    }

    pub(super) fn occupied(&self) -> impl Iterator<Item = (ClassIx, &ClassKey, &Class)> {
        self.occupied.iter().map(|at| {
            let (key, class) = self.class(*at);
            (*at, key, class)
        })
    }

    pub(super) fn class(&self, at: ClassIx) -> (&ClassKey, &Class) {
        let (key, class) = self.classes[at as usize].as_ref().expect("a class is there as long as a task is in it");
        (key, class)
    }

    pub(super) fn find(&self, key: &ClassKey) -> Option<ClassIx> {
        self.at.get(key).copied()
    }

    /// With the key that all of its classes share; their values are in none.
    pub(super) fn families(&self) -> impl Iterator<Item = (usize, &ClassKey, &Family)> {
        let families = self.families.iter().enumerate().filter(|(_, (_, family))| family.all.tasks > 0);
        families.map(|(at, (key, family))| (at, key, family))
    }

    pub(super) fn family_of(&self, at: ClassIx) -> (usize, &Family) {
        let family = self.class(at).1.family;
        (family, &self.families[family])
    }

    // ----------------------------------------------------------------------------------------------------------- sleep

    /// Its value refuses it: it is not looked at again before `until`, or before somebody wakes that value.
    pub(super) fn sleeps(&mut self, at: ClassIx, until: Option<Boottime>, gate: Gate, places: &impl Places) {
        let Some((key, class)) = self.classes[at as usize].as_mut() else { return };
        let (Some(source), Some(value), None, Some(first)) = (key.source, key.value, &class.asleep, class.ready.first()) else { return };
        let until = until.unwrap_or(NOT_BY_ITSELF);
        class.asleep = Some(Sleep { until, gate });
        self.waits.falls_asleep(at);
        let family = &mut self.families[class.family];
        family.awake.remove(&(places.place_of(first).to_owned(), at));
        family.asleep.insert((until, at));
        family.sleeping.add(class.tasks(), class.gaps);
        self.sleepers.entry((source, value)).or_default().push(at);
    }

    /// Those whose time has come.
    pub(super) fn wake(&mut self, now: Boottime, places: &impl Places) {
        for family in 0..self.families.len() {
            while let Some((_, at)) = self.families[family].asleep.first().copied().filter(|(until, _)| *until <= now) {
                self.wakes(at, Some(places));
            }
        }
    }

    /// Something happened that may have changed what this value has left.
    pub(super) fn wake_value(&mut self, source: SourceIx, value: ValueId, places: &impl Places) {
        for at in self.sleepers.get(&(source, value)).cloned().unwrap_or_default() {
            self.wakes(at, Some(places));
        }
    }

    pub(super) fn wake_all(&mut self, places: &impl Places) {
        let asleep: Vec<ClassIx> = self.sleepers.values().flatten().copied().collect();
        asleep.into_iter().for_each(|at| self.wakes(at, Some(places)));
    }

    /// `places`: `None` if nothing is in it.
    fn wakes(&mut self, at: ClassIx, places: Option<&dyn Places>) {
        let Some((key, class)) = self.classes[at as usize].as_mut() else { return };
        let Some(Sleep { until, .. }) = class.asleep.take() else { return };
        self.waits.wakes(at);
        let family = &mut self.families[class.family];
        family.asleep.remove(&(until, at));
        family.sleeping.take(class.ready.len() as u64, class.gaps);
        if let (Some(first), Some(places)) = (class.ready.first(), places) {
            family.awake.insert((places.place_of(first).to_owned(), at));
        }
        let whose = (key.source.expect("only who has a value sleeps"), key.value.expect("only who has a value sleeps"));
        if let Some(sleepers) = self.sleepers.get_mut(&whose) {
            sleepers.retain(|other| *other != at);
            if sleepers.is_empty() {
                self.sleepers.remove(&whose);
            }
        }
    }

    /// When the first of those that sleep may start, as far as that is known.
    pub(super) fn wakes_at(&self) -> Option<Boottime> {
        let first = self.families.values().filter_map(|family| family.asleep.first()).map(|(until, _)| *until).min();
        first.filter(|until| *until != NOT_BY_ITSELF)
    }

    /// What keeps the first to wake of a family asleep.
    pub(super) fn first_asleep(&self, family: &Family) -> Option<&Gate> {
        let (_, at) = family.asleep.first()?;
        self.class(*at).1.asleep.as_ref().map(|sleep| &sleep.gate)
    }

    // ----------------------------------------------------------------------------------------------------------- passes

    /// All tasks of class `at` that rank above `rank` are passed now. `score` of a time of detection never grows.
    pub(super) fn pass(&mut self, at: ClassIx, until: Boottime, rank: &Rank, score: impl Fn(Timestamp) -> i64, places: &impl Places) {
        self.tick += 1;
        let tick = self.tick;
        if let Some((_, class)) = self.classes[at as usize].as_mut() {
            class.pass(tick, until, rank, score, places);
            if class.was_passed() {
                self.families[class.family].passed.insert(at);
            }
        }
    }

    pub(super) fn count(&self, census: &mut super::Census) {
        let classes = || self.classes.iter().flatten().map(|(_, class)| class);
        (census.classes, census.families) = (self.at.len(), self.families.len());
        census.ready = classes().map(|class| class.ready.len()).sum();
        census.passes = classes().map(|class| class.passes.len() + class.entered.len() + class.carried.len()).sum();
    }

    /// How many tasks rank higher. Counts them one by one: for a person's question, not for the pick.
    pub(super) fn count_where(&self, ranks_higher: impl Fn(&ClassKey, TaskSlot) -> bool) -> u64 {
        let of = |key: &ClassKey, class: &Class| class.ready.iter().take_while(|task| ranks_higher(key, *task)).count() as u64;
        self.occupied().map(|(_, key, class)| of(key, class)).sum()
    }
}

impl Family {
    /// The best-placed class that does not sleep; the first one behind `after`.
    pub(super) fn next_awake(&self, after: Option<(Place, ClassIx)>) -> Option<ClassIx> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.awake.range((from, Bound::Unbounded)).next().map(|(_, at)| *at)
    }

    /// In the order of their first tasks; those that sleep are not among them.
    pub(super) fn awake(&self) -> impl Iterator<Item = ClassIx> {
        self.awake.iter().map(|(_, at)| *at)
    }

    /// Those that sleep, too.
    pub(super) fn classes(&self) -> impl Iterator<Item = ClassIx> {
        self.awake().chain(self.asleep.iter().map(|(_, at)| *at))
    }

    /// Classes of which some tasks were passed.
    pub(super) fn passed(&self) -> impl Iterator<Item = ClassIx> {
        self.passed.iter().copied()
    }

    pub(super) fn all(&self) -> Ready {
        self.all
    }

    pub(super) fn sleeping(&self) -> Ready {
        self.sleeping
    }

    fn has_first(&mut self, at: ClassIx, before: Option<Place>, first: Option<TaskSlot>, places: &impl Places) {
        let first = first.map(|first| places.place_of(first).to_owned());
        if before != first {
            before.map(|before| self.awake.remove(&(before, at)));
            first.map(|first| self.awake.insert((first, at)));
        }
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

    fn was_passed(&self) -> bool {
        !self.passes.is_empty() || !self.carried.is_empty()
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

    const KEY: ClassKey =
        ClassKey { source: Some(SourceIx(0)), value: None, collector: 0, priority: PriorityLevel::High, band: 0, ask: None };

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
