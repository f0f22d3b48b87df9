//! Gaps become tasks: same source, collector, group and priority, in order, cut into batches.
//!
//! A task's id comes from the collector and its first gap, so the same coverage and config give the same tasks in
//! `plan` and in the next `run`, on any machine (`the_same_gaps_give_the_same_tasks`). Tasks that nobody tried are
//! topped up and keep their id; a gap that was tried goes only with gaps whose next try is at the same time, so that
//! one bad item does not delay the others.
//!
//! Batches are cut to what every window of a minute or more can admit at once, what is set aside for others apart,
//! because a task that is charged ahead and needs more would never start.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Rules;
use super::book::{Book, Bucket, BucketIx, GapSlot};
use super::classes::{TaskSlot, Was};
use super::rules::Charging;
use crate::ids::TaskId;
use crate::limits::Ask;
use crate::record::Change;
use crate::spec::PriorityLevel;
use crate::time::Timestamp;

/// Windows from here on bound a batch that is charged ahead.
const SHORTEST_WINDOW_OF_A_BATCH: Duration = Duration::from_secs(60);

/// What it takes to start a task of so many gaps.
pub(super) fn ask_of(rules: &Rules, bucket: &Bucket, gaps: usize) -> Option<Ask> {
    let source = bucket.source?;
    let collector = &rules.collectors[usize::from(bucket.collector?)];
    let ask = match collector.charge {
        Charging::EachRequest => Some(Ask::one(source)),
        Charging::Ahead => {
            let permits = u32::try_from(collector.requests.of(gaps)).unwrap_or(u32::MAX);
            (permits > 0).then(|| Ask::charged(source, permits))
        }
    };
    ask.map(|ask| ask.of(bucket.priority).by(bucket.value))
}

/// The most gaps a task may have: at least one, even if no window ever admits it (`check` refuses such a config).
pub fn largest_batch(rules: &Rules, source: Option<&str>, collector: &str, priority: PriorityLevel) -> usize {
    let Some(terms) = rules.collectors.get(collector) else { return 1 };
    let batch = terms.batch.max(1) as usize;
    let (Some(source), Charging::Ahead) = (source.and_then(|source| rules.sources.get(source)), terms.charge) else { return batch };
    let of_a_value = source.by.iter().flat_map(|by| &by.limits.windows);
    let windows = source.limits.windows.iter().chain(of_a_value).chain(&rules.limits.windows);
    let long = windows.filter(|window| window.span >= SHORTEST_WINDOW_OF_A_BATCH);
    let narrowest = long.map(|window| rules.reserve.admits(priority, window.requests)).min();
    let for_items = narrowest.map(|requests| requests.saturating_sub(terms.requests.per_task));
    match (for_items, terms.requests.per_item) {
        (None, _) | (_, 0) => batch,
        (Some(requests), per_item) => batch.min((requests / per_item) as usize).max(1),
    }
}

/// Changes under way: tasks in it are in no queue until it is over.
#[derive(Debug, Default)]
pub(super) struct Edit {
    /// With where each stood before.
    pub touched: BTreeMap<TaskSlot, Was>,
    /// Gaps that need a task.
    pub pool: BTreeSet<GapSlot>,
    pub changes: Vec<Change>,
}

impl Edit {
    /// Takes an open gap out of its task, to be put into another. A task that is named after it does not outlive it: its
    /// other gaps are freed with it, or two tasks would claim one name.
    pub(super) fn release(&mut self, book: &mut Book, gap: GapSlot, collector: &str) {
        self.pool.insert(gap);
        let Some(task) = book.part(gap) else { return };
        if book.task(task).id == TaskId::of(collector, book.gap(gap).id) {
            let others = book.task(task).gaps.to_vec();
            for other in others {
                book.part(other);
                self.pool.insert(other);
            }
        }
    }

    /// Tasks without gaps end before new ones are formed: a new one may have the same name.
    pub(super) fn sweep(&mut self, book: &mut Book) {
        let empty: Vec<TaskSlot> = self.touched.keys().copied().filter(|task| book.task(*task).gaps.is_empty()).collect();
        for task in empty {
            self.touched.remove(&task);
            self.changes.push(Change::RemoveTask(book.remove_task(task).id));
        }
    }

    /// Gives every gap of the pool that has a collector a task. `unqueue` takes a task out of its queue.
    pub(super) fn form(&mut self, book: &mut Book, rules: &Rules, mut unqueue: impl FnMut(&mut Book, TaskSlot) -> Was) {
        for ((bucket, fresh, _), mut gaps) in self.sorted_pool(book) {
            let Some((collector, cut)) = terms(book, rules, bucket) else { continue };
            book.in_order(&mut gaps);
            let mut gaps = gaps.into_iter().peekable();
            let with_room = if fresh { book.with_room(bucket) } else { Vec::new() };
            for task in with_room {
                let room = cut.saturating_sub(book.task(task).gaps.len());
                let joining: Vec<GapSlot> = gaps.by_ref().take(room).collect();
                if joining.is_empty() {
                    break;
                }
                self.touched.entry(task).or_insert_with(|| unqueue(book, task));
                book.join(task, joining);
            }
            while gaps.peek().is_some() {
                let batch: Vec<GapSlot> = gaps.by_ref().take(cut).collect();
                self.add(book, collector, bucket, batch);
            }
        }
    }

    pub(super) fn add(&mut self, book: &mut Book, collector: &str, bucket: BucketIx, gaps: Vec<GapSlot>) {
        // Its first gap's name is free, unless a state came from somewhere else; then the next one's does as well.
        let names = gaps.iter().map(|gap| TaskId::of(collector, book.gap(*gap).id));
        let salted = (1u32..).map(|salt| TaskId::of(&format!("{collector} {salt}"), book.gap(gaps[0]).id));
        let id = names.chain(salted).find(|id| book.find_task(*id).is_none()).expect("there are more names than tasks");
        let task = book.add_task(id, bucket, gaps);
        self.touched.insert(task, Was::default());
    }

    /// By bucket, fresh ones apart, tried ones by their next try.
    fn sorted_pool(&mut self, book: &Book) -> BTreeMap<(BucketIx, bool, Option<Timestamp>), Vec<GapSlot>> {
        let mut sorted: BTreeMap<_, Vec<GapSlot>> = BTreeMap::new();
        for gap in std::mem::take(&mut self.pool) {
            let entry = book.gap(gap);
            let fresh = entry.is_fresh();
            sorted.entry((entry.bucket, fresh, entry.next_try())).or_default().push(gap);
        }
        sorted
    }
}

/// The collector's name and the largest batch; `None`: nobody collects these gaps.
pub(super) fn terms<'a>(book: &Book, rules: &'a Rules, bucket: BucketIx) -> Option<(&'a str, usize)> {
    let bucket = book.bucket(bucket);
    let (collector, _) = rules.collectors.get_index(usize::from(bucket.collector?))?;
    let source = bucket.source.and_then(|source| rules.sources.get_index(source.0 as usize)).map(|(name, _)| &**name);
    Some((collector, largest_batch(rules, source, collector, bucket.priority)))
}
