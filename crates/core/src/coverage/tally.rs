//! All items against everything that is known: each one's state, each dataset's sums, and every gap by name.
//!
//! Always true: the sums of the glossary hold for every dataset (`the_sums_of_the_glossary_always_hold`), and every
//! state is what a plain reading of the rules gives (`coverage_agrees_with_a_naive_reading`).
//!
//! Where a listing failed and nobody saw an item, what was known before goes on: an open gap stays one, an absence on
//! record stays one, an item that was present when its part of the lake was last listed to its end still counts as
//! present, and anything else is `unknown`. Nothing of that opens a gap, and nothing of which nobody knows is called
//! present (`coverage_agrees_with_a_naive_reading`).

use std::collections::HashMap;
use std::ops::{AddAssign, Range};
use std::thread;

use serde::{Deserialize, Serialize};

use super::expected::{Expected, ItemIx};
use super::folders::Folder;
use super::gaps::{GapDiff, difference};
use super::inventory::{Completeness, Inventory};
use super::needs::Inputs;
use super::picture::Picture;
use super::rules::Rules;
use super::sketch::Sketch;
use super::state::{Due, Facts, Fresh, Sight, changes_at, reason_of, state_of};
use super::timers::Timers;
use crate::figures::grouped;
use crate::gap::{Gap, ItemState, Reason};
use crate::ids::ItemId;
use crate::record::ItemRecord;
use crate::spec::expression::EvalError;
use crate::spec::problem::{Problem, Severity};
use crate::spec::{Dataset, Priority, PriorityLevel, Spec};
use crate::time::Timestamp;

/// Everything that coverage is worked out from.
#[derive(Clone, Copy)]
pub struct Evidence<'a> {
    pub spec: &'a Spec,
    pub expected: &'a Expected,
    pub inventory: &'a Inventory,
    pub records: &'a HashMap<ItemId, ItemRecord>,
    pub open: &'a HashMap<ItemId, Gap>,
    /// The last picture that was believed.
    pub accepted: Option<&'a Picture>,
}

/// How many items are in each state. The wire tells the same under the same names, and adds what is worked out from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counts {
    pub present: u64,
    pub missing: u64,
    pub stale: u64,
    pub undersized: u64,
    pub suspect: u64,
    pub absent: u64,
    pub not_due: u64,
    pub expired: u64,
    /// Older than the dataset's `since`.
    #[serde(default)]
    pub out_of_scope: u64,
    /// Their listing failed, and nothing older that could still hold is known of them.
    #[serde(default)]
    pub unknown: u64,
}

impl Counts {
    /// What should be there by now, whether or not upstream has it.
    pub fn expected(&self) -> u64 {
        self.present + self.gaps() + self.absent + self.unknown
    }

    /// What should be there and can be: whatever upstream does not have is no one's fault.
    pub fn wanted(&self) -> u64 {
        self.expected() - self.absent
    }

    pub fn gaps(&self) -> u64 {
        self.missing + self.stale + self.undersized + self.suspect
    }

    /// Nothing missing, stale, undersized or suspect, and nothing that nobody could look at.
    pub fn is_complete(&self) -> bool {
        self.gaps() == 0 && self.unknown == 0
    }

    /// present ÷ (expected − absent); nothing to expect is complete.
    pub fn completeness(&self) -> f64 {
        match self.wanted() {
            0 => 1.0,
            wanted => self.present as f64 / wanted as f64,
        }
    }

    /// Whether so many parts per thousand of what is wanted are present.
    pub fn meets(&self, permille: u32) -> bool {
        // In whole numbers: nothing is rounded up to a threshold.
        u128::from(self.present) * 1_000 >= u128::from(self.wanted()) * u128::from(permille)
    }

    /// Whatever their state.
    pub fn items(&self) -> u64 {
        self.expected() + self.not_due + self.expired + self.out_of_scope
    }

    pub(super) fn of(&mut self, state: ItemState) -> &mut u64 {
        match state {
            ItemState::Present => &mut self.present,
            ItemState::Missing => &mut self.missing,
            ItemState::Stale => &mut self.stale,
            ItemState::Undersized => &mut self.undersized,
            ItemState::Suspect => &mut self.suspect,
            ItemState::Absent => &mut self.absent,
            ItemState::NotDue => &mut self.not_due,
            ItemState::Expired => &mut self.expired,
            ItemState::OutOfScope => &mut self.out_of_scope,
            ItemState::Unknown => &mut self.unknown,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.present += other.present;
        self.missing += other.missing;
        self.stale += other.stale;
        self.undersized += other.undersized;
        self.suspect += other.suspect;
        self.absent += other.absent;
        self.not_due += other.not_due;
        self.expired += other.expired;
        self.out_of_scope += other.out_of_scope;
        self.unknown += other.unknown;
    }
}

/// The earliest item that is still to become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextDue {
    pub at: Timestamp,
    /// Items that become due on the same day (UTC).
    pub items_that_day: u64,
}

/// Why a dataset's figures are lower bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LowerBound {
    /// Whose objects have the rows of its table.
    pub dataset: String,
    /// Items of that one that are not there as they should be, or could not be read.
    pub missing: u64,
    /// There, and to be asked for again.
    pub stale: u64,
    /// The first few that are missing.
    pub examples: Vec<String>,
    /// So many items the missing ones would bring if they are like the others.
    pub usually: u64,
}

/// Where one dataset stands.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetCoverage {
    pub name: String,
    pub counts: Counts,
    pub next_due: Option<NextDue>,
    /// A dataset that feeds one of its tables has gaps: there may be more items than are counted.
    pub lower_bound: Option<LowerBound>,
    /// Objects under its prefix that no dataset expects.
    pub unexpected: u64,
    /// The first few of them by name.
    pub unexpected_sample: Vec<String>,
    /// Folders in which most of them lie, the fullest first.
    pub unexpected_folders: Vec<(String, Folder)>,
    /// Its part of the listing.
    pub listed: Completeness,
    /// When its part of the lake was last listed to its end, now or before.
    pub listed_at: Option<Timestamp>,
    /// Objects at expected keys, whatever their state; an item that expired or left the scope counts as one, so that nobody is
    /// surprised when it leaves or is cleared away.
    pub objects: u64,
}

/// An item that is a gap now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapItem {
    pub item: ItemIx,
    pub reason: Reason,
    pub due: Option<Timestamp>,
    pub priority: PriorityLevel,
}

/// Every item's state at one instant.
#[derive(Clone, Debug)]
pub struct Coverage {
    pub at: Timestamp,
    /// In the order of [`Expected::datasets`].
    pub datasets: Vec<DatasetCoverage>,
    states: Vec<ItemState>,
    gaps: Vec<GapItem>,
    /// When time alone will give items another state.
    pub(super) timers: Timers,
}

impl Coverage {
    /// Every item's state, or each rule that has no answer for some item (with the row that is to blame).
    pub fn of(evidence: &Evidence<'_>, now: Timestamp) -> Result<Coverage, Vec<Problem>> {
        let states = vec![ItemState::Unknown; evidence.expected.len()];
        let mut tally = Tally { states, ..Tally::new(evidence, now) };
        let order = evidence.expected.in_order_of_needs();
        let mut datasets: Vec<_> = order.iter().map(|dataset| (*dataset, tally.dataset(*dataset))).collect();
        let Tally { states, mut gaps, timers, problems, .. } = tally;
        if !order.is_sorted() {
            datasets.sort_by_key(|(dataset, _)| *dataset);
            gaps.sort_by_key(|gap| gap.item);
        }
        let mut datasets: Vec<_> = datasets.into_iter().map(|(_, coverage)| coverage).collect();
        lower_bounds(evidence.expected, &states, &mut datasets);
        match problems.all.is_empty() {
            true => Ok(Coverage { at: now, datasets, states, gaps, timers: Timers::of(timers) }),
            false => Err(problems.into_list()),
        }
    }

    /// Judges these items once more: something newer is known of them, or time has changed them. All others stay as they are.
    /// What that means for the gaps; `evidence` needs the open gaps of these items alone.
    ///
    /// `items`: with all that is made from them ([`Expected::with_dependents`]). Of an item that nobody has seen in a listing that failed
    /// nothing new is known but what time does to it.
    pub fn judge_again(&mut self, evidence: &Evidence<'_>, items: &[ItemIx], now: Timestamp) -> Result<GapDiff, Vec<Problem>> {
        // What others are made from is asked of the states that are known.
        let mut tally = Tally { states: std::mem::take(&mut self.states), ..Tally::new(evidence, now) };
        let mut judged: Vec<(ItemIx, ItemState)> = Vec::with_capacity(items.len());
        for item in items.iter().copied() {
            let before = tally.states[item.0 as usize];
            let state = tally.alone(item);
            let by_time =
                [before, state].iter().any(|state| matches!(state, ItemState::NotDue | ItemState::Expired | ItemState::OutOfScope));
            let is_unseen = evidence.inventory.sight(item) == Sight::NotSeen && !by_time;
            if !is_unseen && state != before {
                tally.states[item.0 as usize] = state;
                judged.push((item, before));
            }
        }
        let Tally { states, gaps, timers, problems, .. } = tally;
        self.states = states;
        if !problems.all.is_empty() {
            return Err(problems.into_list());
        }
        self.timers.set(timers);
        let has_passed = |dataset: &DatasetCoverage| dataset.next_due.is_some_and(|next| next.at <= now);
        let mut dues_passed: Vec<bool> = self.datasets.iter().map(has_passed).collect();
        for (item, before) in judged {
            let dataset = evidence.expected.dataset_of(item);
            let state = self.states[item.0 as usize];
            let counts = &mut self.datasets[dataset].counts;
            *counts.of(before) -= 1;
            *counts.of(state) += 1;
            dues_passed[dataset] |= (before == ItemState::NotDue) != (state == ItemState::NotDue);
        }
        for (dataset, _) in dues_passed.iter().enumerate().filter(|(_, passed)| **passed) {
            self.datasets[dataset].next_due = self.next_due(evidence, dataset, now);
        }
        if !evidence.expected.fed().is_empty() {
            self.datasets.iter_mut().for_each(|dataset| dataset.lower_bound = None);
            lower_bounds(evidence.expected, &self.states, &mut self.datasets);
        }
        let gaps: Vec<GapItem> = gaps.into_iter().filter(|gap| reason_of(self.state(gap.item)) == Some(gap.reason)).collect();
        Ok(difference(evidence, self, &gaps, now))
    }

    /// Every item that is to fall due has a timer.
    fn next_due(&self, evidence: &Evidence<'_>, dataset: usize, now: Timestamp) -> Option<NextDue> {
        let rules = Rules::of(evidence.expected, &evidence.spec.datasets[evidence.expected.datasets()[dataset].name()], now);
        let places = evidence.expected.datasets()[dataset].places();
        let is_waiting = |item: ItemIx| places.contains(&item.0) && self.state(item) == ItemState::NotDue;
        let mut waiting: Vec<(i64, ItemIx)> = self.timers.all().filter(|(_, item)| is_waiting(*item)).collect();
        let (mut asked, mut next_due): (Vec<ItemIx>, Option<NextDue>) = (Vec::new(), None);
        // No item is due before its timer, so the rules of a million that wait for later days need not be asked.
        while let Some(first) = waiting.iter().map(|(at, _)| *at).min() {
            if next_due.is_some_and(|found| first > EarliestDay::end_micros(found.at.as_microsecond())) {
                break;
            }
            let end = match next_due {
                Some(found) => EarliestDay::end_micros(found.at.as_microsecond()),
                None if asked.is_empty() => EarliestDay::end_micros(first),
                // What changes first is something else: all are asked.
                None => i64::MAX,
            };
            asked.extend(waiting.extract_if(.., |(at, _)| *at <= end).map(|(_, item)| item));
            asked.sort_unstable();
            asked.dedup();
            let mut earliest = EarliestDay::default();
            // Whoever has no answer was told of when all were judged.
            let dues = asked.iter().filter_map(|item| rules.due(*item, &mut |_, _| {}).instant());
            dues.filter(|due| *due > now).for_each(|due| earliest.add(due));
            next_due = earliest.found;
        }
        next_due
    }

    /// When time alone will give some item another state.
    pub fn changes_at(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// Items that time has changed by now; to be judged again.
    pub fn changed_by_time(&mut self, now: Timestamp) -> Vec<ItemIx> {
        self.timers.fired(now)
    }

    pub fn state(&self, item: ItemIx) -> ItemState {
        self.states.get(item.0 as usize).copied().unwrap_or(ItemState::Unknown)
    }

    /// All that rollups need: a byte an item.
    pub fn without_gaps(&self) -> Coverage {
        let Coverage { at, ref datasets, ref states, .. } = *self;
        Coverage { at, datasets: datasets.clone(), states: states.clone(), gaps: Vec::new(), timers: Timers::default() }
    }

    /// Of some items in a row.
    pub(super) fn states(&self, items: std::ops::Range<u32>) -> &[ItemState] {
        &self.states[items.start as usize..items.end as usize]
    }

    #[cfg(test)]
    pub(super) fn of_states(states: Vec<ItemState>) -> Coverage {
        Coverage { at: Timestamp::UNIX_EPOCH, datasets: Vec::new(), states, gaps: Vec::new(), timers: Timers::default() }
    }

    /// Of the look at all items, in their order; what was judged again since is not among them.
    pub fn gap_items(&self) -> &[GapItem] {
        &self.gaps
    }

    /// A million of them are 32 MB.
    pub fn forget_gap_items(&mut self) {
        self.gaps = Vec::new();
    }

    pub fn dataset(&self, name: &str) -> Option<&DatasetCoverage> {
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    /// Of all datasets together.
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.datasets.iter().for_each(|dataset| all += dataset.counts);
        all
    }

    pub fn unexpected(&self) -> u64 {
        self.datasets.iter().map(|dataset| dataset.unexpected).sum()
    }

    pub fn is_complete(&self) -> bool {
        self.datasets.iter().all(|dataset| dataset.counts.is_complete() && dataset.lower_bound.is_none())
    }

    /// Some prefix could not be listed to its end.
    pub fn is_partial(&self) -> bool {
        self.datasets.iter().any(|dataset| dataset.listed == Completeness::Partial)
    }
}

/// By dataset, its need, and what tells those apart that have the same inputs.
type Memo = HashMap<(usize, usize, u64), Inputs>;

/// What is known of all that an item is made from.
#[derive(Clone, Copy, Default)]
struct MadeFrom {
    awaited: bool,
    unknown: bool,
    newest: Option<Timestamp>,
}

/// Fewer items are judged before another thread has begun.
const WORTH_A_THREAD: usize = 100_000;

/// Of some items in a row.
#[derive(Default)]
struct Part {
    states: Vec<ItemState>,
    counts: Counts,
    next_due: EarliestDay,
    objects: u64,
}

impl Part {
    /// What follows it.
    fn add(&mut self, other: Part) {
        self.states.extend(other.states);
        self.counts += other.counts;
        self.next_due.add_all(other.next_due);
        self.objects += other.objects;
    }
}

struct Tally<'a> {
    evidence: &'a Evidence<'a>,
    now: Timestamp,
    states: Vec<ItemState>,
    gaps: Vec<GapItem>,
    /// In microseconds.
    timers: Vec<(i64, ItemIx)>,
    /// Of the dataset whose turn it is.
    before: Before<'a>,
    inputs: Memo,
    min_size: u64,
    problems: Problems,
}

impl<'a> Tally<'a> {
    fn new(evidence: &'a Evidence<'a>, now: Timestamp) -> Self {
        Tally {
            evidence,
            now,
            states: Vec::new(),
            gaps: Vec::new(),
            timers: Vec::new(),
            before: Before::default(),
            inputs: Memo::default(),
            min_size: 1,
            problems: Problems::default(),
        }
    }

    /// One item, whatever its neighbours are.
    fn alone(&mut self, item: ItemIx) -> ItemState {
        let Evidence { spec, expected, inventory, accepted, .. } = *self.evidence;
        let at = expected.dataset_of(item);
        let dataset = &spec.datasets[expected.datasets()[at].name()];
        self.before = Before::of(dataset, inventory.completeness(at), accepted);
        self.min_size = spec.least_bytes(dataset);
        let rules = Rules::of(expected, dataset, self.now);
        let due = rules.due(item, &mut |rule, error| self.problems.add(dataset, rule, error));
        let made = self.made_from(at, item);
        self.item(&rules, dataset, item, (due, made)).0
    }

    fn dataset(&mut self, at: usize) -> DatasetCoverage {
        let Evidence { spec, expected, inventory, accepted, .. } = *self.evidence;
        let of = &expected.datasets()[at];
        let dataset = &spec.datasets[of.name()];
        let listed = inventory.completeness(at);
        self.before = Before::of(dataset, listed, accepted);
        self.min_size = spec.least_bytes(dataset);
        let Part { states, mut counts, next_due, objects } = self.part_or_parts(at, of.places());
        self.states[of.places().start as usize..of.places().end as usize].copy_from_slice(&states);
        self.forget_what_changed(&mut counts);
        let unexpected = inventory.unexpected(at);
        DatasetCoverage {
            name: of.name().to_owned(),
            counts,
            next_due: next_due.found,
            lower_bound: None,
            unexpected: unexpected.objects,
            unexpected_sample: unexpected.sample.clone(),
            unexpected_folders: unexpected.folders.sorted().into_iter().map(|(name, folder)| (name.to_owned(), folder)).collect(),
            listed,
            listed_at: match listed {
                Completeness::Full { began } => Some(began),
                Completeness::Partial => self.before.listed_at,
            },
            objects,
        }
    }

    /// How the items stand that this one is made from; their datasets were judged before.
    fn made_from(&mut self, dataset: usize, item: ItemIx) -> MadeFrom {
        let Evidence { expected, inventory, .. } = *self.evidence;
        let mut made = MadeFrom::default();
        for (at, need) in expected.needs_of(dataset).enumerate() {
            let states = &self.states;
            let mut state = |parent: ItemIx| {
                let date = match inventory.sight(parent) {
                    Sight::There(found) => Some(found.last_modified),
                    Sight::NotThere | Sight::NotSeen => None,
                };
                (states[parent.0 as usize], date)
            };
            // Where many items are made from the same ones, those are looked at once.
            let inputs = match expected.shared_needs(need, item) {
                None => expected.inputs_of(need, item, &mut state),
                Some(which) => *self.inputs.entry((dataset, at, which)).or_insert_with(|| expected.inputs_of(need, item, &mut state)),
            };
            made.awaited |= inputs.are_awaited();
            made.unknown |= inputs.unknown > 0;
            made.newest = made.newest.max(inputs.newest);
        }
        made
    }

    /// Items that depend on no others, and all of which were looked for, are judged on all processors if they are many.
    fn part_or_parts(&mut self, at: usize, places: Range<u32>) -> Part {
        let is_alone = !self.evidence.expected.needs.iter().any(|need| need.child == at) && !self.before.is_asked();
        let processors = thread::available_parallelism().map_or(1, usize::from) as u32;
        if !is_alone || processors == 1 || places.len() < WORTH_A_THREAD {
            return self.part(at, places);
        }
        let each = (places.end - places.start).div_ceil(processors);
        let begins = places.clone().step_by(each as usize);
        let (evidence, now, min_size) = (self.evidence, self.now, self.min_size);
        let parts: Vec<(Tally<'_>, Part)> = thread::scope(|scope| {
            let judged = begins.map(|begin| {
                let part = begin..(begin + each).min(places.end);
                scope.spawn(move || {
                    let mut tally = Tally { min_size, ..Tally::new(evidence, now) };
                    let part = tally.part(at, part);
                    (tally, part)
                })
            });
            let judged: Vec<_> = judged.collect();
            judged.into_iter().map(|part| part.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))).collect()
        });
        let mut whole = Part::default();
        for (tally, part) in parts {
            self.gaps.extend(tally.gaps);
            self.timers.extend(tally.timers);
            self.problems.add_all(tally.problems);
            whole.add(part);
        }
        whole
    }

    /// Some items of a dataset in a row.
    fn part(&mut self, at: usize, places: Range<u32>) -> Part {
        let Evidence { spec, expected, .. } = *self.evidence;
        let dataset = &spec.datasets[expected.datasets()[at].name()];
        let rules = Rules::of(expected, dataset, self.now);
        let mut part = Part { states: Vec::with_capacity(places.len()), ..Part::default() };
        for item in places.map(ItemIx) {
            let due = rules.due(item, &mut |rule, error| self.problems.add(dataset, rule, error));
            let made = self.made_from(at, item);
            let (state, is_there) = self.item(&rules, dataset, item, (due, made));
            // Whoever clears away what has expired has lost nothing.
            let is_over = matches!(state, ItemState::Expired | ItemState::OutOfScope);
            part.objects += u64::from(is_over || is_there);
            if let (ItemState::NotDue, Some(due)) = (state, due.instant().filter(|due| *due > self.now)) {
                part.next_due.add(due);
            }
            *part.counts.of(state) += 1;
            part.states.push(state);
        }
        part
    }

    /// What was taken for present because it is no gap is so only if it was among the present items then.
    fn forget_what_changed(&mut self, counts: &mut Counts) {
        for item in self.before.changed() {
            self.states[item.0 as usize] = ItemState::Unknown;
            counts.present -= 1;
            counts.unknown += 1;
        }
    }

    /// Its state, and whether an object was seen.
    fn item(&mut self, rules: &Rules<'_>, dataset: &Dataset, item: ItemIx, (due, made): (Due, MadeFrom)) -> (ItemState, bool) {
        let Evidence { expected, inventory, records, open, .. } = *self.evidence;
        let listed = match inventory.sight(item) {
            // Is it due? Nobody knows, so nothing opens.
            Sight::NotThere if made.unknown => Sight::NotSeen,
            listed => listed,
        };
        let needs_id = !records.is_empty() || self.before.is_asked() || (listed == Sight::NotSeen && !open.is_empty());
        let id = needs_id.then(|| expected.id(item));
        let record = id.and_then(|id| records.get(&id));
        let gap = id.and_then(|id| open.get(&id));
        let sight = trusted(listed, record, gap);
        let fresh = match sight {
            Sight::There(_) => rules.fresh(item, due, &mut |rule, error| self.problems.add(dataset, rule, error)),
            Sight::NotThere | Sight::NotSeen => Fresh::Always,
        };
        let ends = rules.ends(item, due, &mut |rule, error| self.problems.add(dataset, rule, error));
        let known_absent = expected.known_absent(item).is_some();
        let facts_due = if made.awaited { Due::Awaits } else { due };
        let facts = Facts {
            due: facts_due,
            made_from: made.newest,
            ends,
            fresh,
            min_size: self.min_size,
            sight,
            record,
            known_absent,
            fingerprint: dataset.fingerprint,
        };
        let state = state_of(&facts, self.now);
        // What waits for others is told of as falling due all the same.
        let falls_due = due.instant().filter(|due| made.awaited && *due > self.now);
        self.timers.extend(changes_at(&facts, self.now).or(falls_due).map(|at| (micros_after(at), item)));
        let state = match (state, id) {
            (ItemState::NotDue, _) | (_, None) => state,
            (ItemState::Unknown, Some(id)) => match self.before.state(item, id, gap, &facts) {
                // Nobody could look, and nobody needs to.
                ItemState::Missing if known_absent => ItemState::Absent,
                before => before,
            },
            (_, Some(id)) => {
                self.before.saw(id, gap, &facts);
                state
            }
        };
        if let Some(reason) = reason_of(state) {
            let priority = self.priority(rules, dataset, item, due, reason);
            self.gaps.push(GapItem { item, reason, due: due.instant(), priority });
        }
        (state, matches!(listed, Sight::There(_)))
    }

    fn priority(&mut self, rules: &Rules<'_>, dataset: &Dataset, item: ItemIx, due: Due, reason: Reason) -> PriorityLevel {
        match &dataset.priority {
            Priority::Always(level) => *level,
            Priority::When(levels) => {
                let scope = rules.scope(item, due.instant()).with_reason(reason);
                for (level, rule) in levels {
                    match rule.holds(&scope) {
                        Ok(true) => return *level,
                        Ok(false) => {}
                        Err(error) => self.problems.add(dataset, &format!("priority.{}", level.word()), error),
                    }
                }
                PriorityLevel::Low
            }
        }
    }
}

/// The first whole microsecond at or after it.
fn micros_after(at: Timestamp) -> i64 {
    at.as_microsecond() + i64::from(at.subsec_nanosecond() % 1_000 > 0)
}

/// While a dataset that feeds a table has gaps, nobody knows what else there is.
fn lower_bounds(expected: &Expected, states: &[ItemState], datasets: &mut [DatasetCoverage]) {
    const EXAMPLES: usize = 3;
    // A feeder may be fed itself: as often as there are datasets is often enough.
    for _ in 0..expected.fed().len() {
        for fed in expected.fed() {
            let by = &datasets[fed.by];
            let is_whole = by.counts.is_complete() && by.lower_bound.is_none() && fed.unread.is_empty();
            if is_whole || datasets[fed.dataset].lower_bound.is_some() {
                continue;
            }
            let counts = by.counts;
            let missing = counts.missing + counts.undersized + counts.suspect + counts.unknown;
            let is_missing =
                |state: ItemState| matches!(state, ItemState::Missing | ItemState::Undersized | ItemState::Suspect | ItemState::Unknown);
            let items = expected.datasets()[fed.by].items().filter(|item| is_missing(states[item.0 as usize]));
            let mut examples: Vec<String> = items.take(EXAMPLES).map(|item| expected.describe(item)).collect();
            examples.extend(fed.unread.keys().take(EXAMPLES - examples.len()).cloned());
            let there = counts.present + counts.stale;
            let rows = expected.table_rows().get(&fed.dimension).copied().unwrap_or_default();
            datasets[fed.dataset].lower_bound = Some(LowerBound {
                dataset: by.name.clone(),
                missing: missing + fed.unread.len() as u64,
                stale: counts.stale,
                examples,
                usually: (rows * missing).checked_div(there).unwrap_or_default(),
            });
        }
    }
}

/// An attempt may have changed the object of this gap, and nobody could look: a listing alone does not tell whether it
/// did, so the gap stays as it is until somebody compared the two.
pub(super) fn trusted(listed: Sight, record: Option<&ItemRecord>, gap: Option<&Gap>) -> Sight {
    let in_doubt = record.is_some_and(ItemRecord::is_in_doubt) && gap.is_some();
    if in_doubt { Sight::NotSeen } else { listed }
}

/// What is known of a dataset's items that nobody could look at now.
#[derive(Default)]
struct Before<'a> {
    listed_at: Option<Timestamp>,
    /// The items that were present then.
    present: Option<&'a Sketch>,
    /// Those that would have to be the same ones if nothing changed.
    now: Sketch,
    /// Not seen now, and present if it was so then.
    unseen: Vec<(ItemIx, ItemId)>,
}

impl<'a> Before<'a> {
    /// Of a dataset that was listed to its end, nothing older is asked.
    fn of(dataset: &Dataset, listed: Completeness, accepted: Option<&'a Picture>) -> Self {
        let accepted = accepted.filter(|_| listed == Completeness::Partial);
        Before {
            listed_at: accepted.and_then(|picture| picture.listed_at(&dataset.name)),
            present: accepted.and_then(|picture| picture.present.get(&dataset.name)),
            ..Before::default()
        }
    }

    fn is_asked(&self) -> bool {
        self.listed_at.is_some()
    }

    /// Of an item that nobody saw now.
    fn state(&mut self, item: ItemIx, id: ItemId, gap: Option<&Gap>, facts: &Facts<'_>) -> ItemState {
        if let Some(gap) = gap {
            return match gap.reason {
                Reason::Missing => ItemState::Missing,
                Reason::Stale => ItemState::Stale,
                Reason::Undersized => ItemState::Undersized,
                Reason::Suspect => ItemState::Suspect,
            };
        }
        if let Some(mark) = facts.record.and_then(|record| record.absent.as_ref()) {
            return if mark.fingerprint == facts.fingerprint { ItemState::Absent } else { ItemState::Unknown };
        }
        if self.was_confirmed_since(facts) {
            return ItemState::Present;
        }
        if !self.may_have_been_present(facts) {
            return ItemState::Unknown;
        }
        self.now.add(id);
        self.unseen.push((item, id));
        ItemState::Present
    }

    /// An item that was seen now may have been present then too, and counts with its neighbours.
    fn saw(&mut self, id: ItemId, gap: Option<&Gap>, facts: &Facts<'_>) {
        let absent = facts.record.is_some_and(|record| record.absent.is_some());
        if gap.is_none() && !absent && !self.was_confirmed_since(facts) && self.may_have_been_present(facts) {
            self.now.add(id);
        }
    }

    /// An attempt filled it, or found it current, after that listing.
    fn was_confirmed_since(&self, facts: &Facts<'_>) -> bool {
        let confirmed = facts.record.and_then(|record| record.confirmed);
        self.listed_at.is_some_and(|listed_at| confirmed.is_some_and(|confirmed| confirmed >= listed_at))
    }

    fn may_have_been_present(&self, facts: &Facts<'_>) -> bool {
        let was_expected = |listed_at: Timestamp| {
            let Facts { due, ends, .. } = facts;
            due.instant().is_none_or(|due| due <= listed_at) && [ends.expires, ends.leaves].iter().flatten().all(|end| *end > listed_at)
        };
        self.listed_at.is_some_and(was_expected)
    }

    /// Taken for present, and among others now than then.
    fn changed(&mut self) -> Vec<ItemIx> {
        let nothing = Sketch::default();
        let present = self.present.unwrap_or(&nothing);
        let now = std::mem::take(&mut self.now);
        let unseen = std::mem::take(&mut self.unseen).into_iter();
        unseen.filter(|(_, id)| !present.agrees(&now, *id)).map(|(item, _)| item).collect()
    }
}

/// The earliest instant, and how many fall on its day, in one pass.
#[derive(Default)]
struct EarliestDay {
    found: Option<NextDue>,
}

impl EarliestDay {
    const MICROS: i64 = 86_400_000_000;

    /// Of the day of this instant, and the beginning of the next.
    fn end_micros(at: i64) -> i64 {
        (at.div_euclid(Self::MICROS) + 1) * Self::MICROS
    }

    fn add(&mut self, at: Timestamp) {
        self.add_day(NextDue { at, items_that_day: 1 });
    }

    fn add_all(&mut self, other: EarliestDay) {
        if let Some(day) = other.found {
            self.add_day(day);
        }
    }

    /// The earliest of some that fall on one day, and how many.
    fn add_day(&mut self, other: NextDue) {
        let day = |next: &NextDue| next.at.as_microsecond().div_euclid(Self::MICROS);
        self.found = Some(match self.found {
            Some(first) if day(&first) < day(&other) => first,
            Some(first) if day(&first) == day(&other) => {
                NextDue { at: first.at.min(other.at), items_that_day: first.items_that_day + other.items_that_day }
            }
            Some(_) | None => other,
        });
    }
}

/// Rules without an answer. One bad row may be the row of many items: each message is said once.
#[derive(Default)]
struct Problems {
    all: Vec<Problem>,
    untold: u64,
}

impl Problems {
    const TOLD: usize = 20;

    fn add(&mut self, dataset: &Dataset, rule: &str, error: EvalError) {
        let message = format!("dataset `{}`: `{rule}`: {error}", dataset.name);
        if self.all.iter().any(|known| known.message == message) {
            return;
        }
        if self.all.len() == Self::TOLD {
            self.untold += 1;
            return;
        }
        let at = Some(dataset.at.clone());
        self.all.push(Problem { severity: Severity::Error, message, at, line: None, note: None, hint: None, is_away: false });
    }

    fn add_all(&mut self, other: Problems) {
        self.untold += other.untold;
        for problem in other.all {
            match self.all.iter().any(|known| known.message == problem.message) {
                true => {}
                false if self.all.len() == Self::TOLD => self.untold += 1,
                false => self.all.push(problem),
            }
        }
    }

    fn into_list(mut self) -> Vec<Problem> {
        if let Some(last) = self.all.last_mut().filter(|_| self.untold > 0) {
            last.note = Some(format!("and {} more like these", grouped(self.untold)));
        }
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::Observation;
    use crate::coverage::sample::{Files, Sample, zone};
    use crate::object::Object;
    use crate::spec::Every;
    use crate::spec::expression::Role;

    #[test]
    fn many_items_are_judged_on_all_processors_as_they_are_on_one() {
        let day = |name: &str| {
            Sample::new(Files::default()).list("number", &numbers(350)).calendar(
                name,
                "2024-01-01",
                "2024-12-31",
                Every::Days(1),
                zone("UTC"),
            )
        };
        let mut sample = day("day").dataset("d", "d/{day}/{number}", &["day", "number"]);
        let due = Some(sample.expression(&["day", "number"], "day.end + 2h", Role::Due));
        sample.spec.datasets["d"].due = due;
        let now: Timestamp = "2024-10-31T01:30:00Z".parse().unwrap();
        let expected = sample.expand("2024-10-31T01:30:00Z").unwrap();
        assert!(expected.len() > WORTH_A_THREAD);
        let mut look = Observation::new(&expected, &sample.spec);
        look.begin("d/", now);
        let mut key = String::new();
        for item in expected.items().filter(|item| item.0 % 7 < 3) {
            key.clear();
            expected.key(item, &mut key);
            let (size, last_modified, etag) = (u64::from(item.0 % 5), now, "e".into());
            look.object(&Object { key: key.clone(), size, last_modified, etag });
        }
        look.prefix_complete("d/");
        let (inventory, records, open) = (look.finish(), HashMap::new(), HashMap::new());
        let (spec, inventory) = (&sample.spec, &inventory);
        let evidence = Evidence { spec, expected: &expected, inventory, records: &records, open: &open, accepted: None };
        let on_all = Coverage::of(&evidence, now).unwrap();
        let mut one = Tally::new(&evidence, now);
        let part = one.part(0, 0..expected.len() as u32);
        assert_eq!((on_all.datasets[0].counts, on_all.datasets[0].objects), (part.counts, part.objects));
        assert_eq!(on_all.datasets[0].next_due, part.next_due.found);
        assert!(part.next_due.found.is_some_and(|next| next.items_that_day == 350) && part.counts.undersized > 0);
        assert_eq!((on_all.states, on_all.gaps), (part.states, one.gaps));
        assert_eq!(on_all.timers.next(), Timers::of(one.timers).next());
    }

    fn numbers(to: u32) -> Vec<&'static str> {
        (0..to).map(|number| &*number.to_string().leak()).collect()
    }

    #[test]
    fn nothing_is_rounded_up_to_what_is_required() {
        let counts = Counts { present: 9_996, missing: 4, ..Counts::default() };
        assert!(counts.meets(999) && !counts.meets(1_000));
    }

    #[test]
    fn an_absent_item_does_not_lower_completeness() {
        let counts = Counts { present: 8, absent: 2, ..Counts::default() };
        assert_eq!((counts.expected(), counts.wanted(), counts.completeness()), (10, 8, 1.0));
        assert!(counts.is_complete());
    }

    #[test]
    fn an_unlisted_part_of_the_lake_is_never_called_complete() {
        let counts = Counts { present: 8, unknown: 2, ..Counts::default() };
        assert!(!counts.is_complete() && counts.completeness() < 1.0);
    }
}
