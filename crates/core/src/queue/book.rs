//! Every open gap and every task, small enough that a million fit, and the tie between them.
//!
//! Always true: a gap is in at most one task, a task has at least one gap and they share a bucket, and a task's gaps
//! are in their order (`a_restart_at_any_point_loses_no_gap`).
//!
//! It does not know what runs, what is delayed or who is next.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use hashbrown::HashTable;
use indexmap::IndexSet;

use super::classes::{CollectorIx, TaskSlot};
use super::line::Places;
use super::score::{NO_DUE, Place, PlaceRef, packed, unpacked};
use crate::gap::{Gap, Progress, Reason, Task};
use crate::ids::{GapId, TaskId, ValueId};
use crate::limits::SourceIx;
use crate::spec::PriorityLevel;
use crate::time::{Boottime, Timestamp};

pub(super) type GapSlot = u32;

/// Position in `Rules::datasets`.
pub(super) type DatasetIx = u16;

/// What gaps must share to be in one task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bucket {
    pub source: Option<SourceIx>,
    pub collector: Option<CollectorIx>,
    pub priority: PriorityLevel,
    pub group: Vec<String>,
    /// What of the group the source's limits are told apart by.
    pub value: Option<ValueId>,
}

pub(super) type BucketIx = u32;

/// So few empty ones are not worth a look at everything.
const SPARE_BUCKETS: usize = 64;

/// A gap in 88 bytes and its key (`a_queued_gap_and_its_task_are_small`).
#[derive(Clone, Debug)]
pub(super) struct GapEntry {
    pub id: GapId,
    pub bucket: BucketIx,
    /// `NO_TASK`: in none.
    in_task: TaskSlot,
    pub dataset: DatasetIx,
    pub reason: Reason,
    pub key: Arc<str>,
    /// In microseconds.
    detected_at: i64,
    /// In microseconds, or `NO_DUE`.
    due: i64,
    pub fingerprint: u64,
    /// `None`: nothing lies at its key.
    there: Option<Box<ObjectThere>>,
    /// `None`: nothing was tried yet.
    pub progress: Option<Box<Progress>>,
}

/// What publishing must replace.
#[derive(Clone, Debug)]
struct ObjectThere {
    etag: Option<Box<str>>,
    last_modified: Option<Timestamp>,
}

const NO_TASK: TaskSlot = TaskSlot::MAX;

impl GapEntry {
    /// In no task yet.
    pub(super) fn new(gap: Gap, dataset: DatasetIx, bucket: BucketIx) -> Self {
        let there = ObjectThere { etag: gap.etag.map(String::into_boxed_str), last_modified: gap.last_modified };
        GapEntry {
            id: gap.id,
            bucket,
            in_task: NO_TASK,
            dataset,
            reason: gap.reason,
            key: gap.key.into(),
            detected_at: packed(gap.detected_at),
            due: gap.due.map_or(NO_DUE, packed),
            fingerprint: gap.fingerprint,
            there: (there.etag.is_some() || there.last_modified.is_some()).then(|| Box::new(there)),
            progress: (gap.progress != Progress::default()).then(|| Box::new(gap.progress)),
        }
    }

    pub(super) fn task(&self) -> Option<TaskSlot> {
        (self.in_task != NO_TASK).then_some(self.in_task)
    }

    /// It is another gap's entry now, in the same task.
    pub(super) fn in_task_of(self, before: &GapEntry) -> Self {
        GapEntry { in_task: before.in_task, ..self }
    }

    pub(super) fn detected_at(&self) -> Timestamp {
        unpacked(self.detected_at)
    }

    pub(super) fn due(&self) -> Option<Timestamp> {
        (self.due != NO_DUE).then(|| unpacked(self.due))
    }

    pub(super) fn place(&self) -> Place {
        Place { detected_at: self.detected_at(), due: Reverse(self.due()), key: self.key.clone() }
    }

    fn place_ref(&self) -> PlaceRef<'_> {
        PlaceRef { detected_at: self.detected_at, due: Reverse(self.due), key: &self.key }
    }

    pub(super) fn next_try(&self) -> Option<Timestamp> {
        self.progress.as_ref()?.next_try
    }

    /// Such gaps may join a task that waits.
    pub(super) fn is_fresh(&self) -> bool {
        self.progress.as_ref().is_none_or(|progress| progress.attempts_total == 0 && progress.next_try.is_none())
    }
}

/// A task in 56 bytes (`a_queued_gap_and_its_task_are_small`).
#[derive(Clone, Debug)]
pub(super) struct TaskEntry {
    pub id: TaskId,
    pub bucket: BucketIx,
    pub gaps: GapSlots,
    pub phase: Phase,
    pub in_line: InLine,
}

/// Since when a task could have had its turn, in the seven bytes that its entry has left: two thousand years of microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct InLine([u8; 7]);

impl InLine {
    pub(super) fn since(at: Boottime) -> Self {
        // An instant that nobody ever sees: all zeros say that it does not stand in line.
        let [bytes @ .., _] = at.as_micros().clamp(1, (1 << 56) - 1).to_le_bytes();
        InLine(bytes)
    }

    pub(super) fn get(self) -> Option<Boottime> {
        let mut bytes = [0; 8];
        bytes[..7].copy_from_slice(&self.0);
        Some(Boottime::from_micros(u64::from_le_bytes(bytes))).filter(|at| *at != Boottime::default())
    }
}

/// The gaps of a task. Most have one.
#[derive(Clone, Debug)]
pub(super) enum GapSlots {
    One(GapSlot),
    Many(Box<[GapSlot]>),
}

impl From<Vec<GapSlot>> for GapSlots {
    fn from(gaps: Vec<GapSlot>) -> Self {
        match gaps[..] {
            [gap] => GapSlots::One(gap),
            _ => GapSlots::Many(gaps.into_boxed_slice()),
        }
    }
}

impl std::ops::Deref for GapSlots {
    type Target = [GapSlot];

    fn deref(&self) -> &[GapSlot] {
        match self {
            GapSlots::One(gap) => std::slice::from_ref(gap),
            GapSlots::Many(gaps) => gaps,
        }
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Phase {
    /// Being changed: in no queue.
    Loose,
    /// In this class.
    Ready(u32),
    /// Until a retry is due.
    Delayed(Nanos),
    /// A surprise, or a pause, holds one of its datasets.
    Held,
    Running,
}

/// An instant in half of its bytes, to the nanosecond: whoever wakes a moment before a try is due would find that it is not, and
/// wait for the same moment for ever (`an_instant_in_half_of_its_bytes_is_the_same_one`). What lies beyond three centuries is
/// as far away as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nanos(i64);

impl From<Timestamp> for Nanos {
    fn from(instant: Timestamp) -> Self {
        Nanos(instant.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

impl From<Nanos> for Timestamp {
    fn from(nanos: Nanos) -> Self {
        Timestamp::from_nanosecond(nanos.0.into()).expect("some three centuries from the epoch")
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    gaps: Slab<GapEntry>,
    gap_at: HashTable<GapSlot>,
    tasks: Slab<TaskEntry>,
    task_at: HashTable<TaskSlot>,
    buckets: IndexSet<Bucket>,
    /// By bucket: tasks that nobody tried and that have room.
    with_room: HashMap<BucketIx, BTreeSet<TaskSlot>>,
    /// Gaps without a task that are to have one again with the next full look, or sooner if slots would stay empty. By priority.
    stood_back: [BTreeSet<GapSlot>; PriorityLevel::ALL.len()],
    /// Grows whenever a gap goes to another task, or to none.
    moves: u64,
}

impl Book {
    pub(super) fn moves(&self) -> u64 {
        self.moves
    }

    pub(super) fn bucket_at(&mut self, bucket: Bucket) -> BucketIx {
        self.buckets.insert_full(bucket).0 as BucketIx
    }

    pub(super) fn bucket(&self, at: BucketIx) -> &Bucket {
        self.buckets.get_index(at as usize).expect("a bucket that something is in is kept")
    }

    pub(super) fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter()
    }

    /// Forgets those that nothing is in, once they are the most: a `group_by` day makes a new one every day. Says whether it did.
    pub(super) fn forget_empty_buckets(&mut self) -> bool {
        if self.buckets.len() <= 2 * self.gap_at.len() + SPARE_BUCKETS {
            return false;
        }
        let before = std::mem::take(&mut self.buckets);
        let mut kept = |bucket: BucketIx| self.buckets.insert_full(before[bucket as usize].clone()).0 as BucketIx;
        self.gaps.values.iter_mut().flatten().for_each(|gap| gap.bucket = kept(gap.bucket));
        self.tasks.values.iter_mut().flatten().for_each(|task| task.bucket = kept(task.bucket));
        self.with_room = std::mem::take(&mut self.with_room).into_iter().map(|(bucket, tasks)| (kept(bucket), tasks)).collect();
        true
    }

    // ------------------------------------------------------------------------------------------------------------ gaps

    pub(super) fn find_gap(&self, id: GapId) -> Option<GapSlot> {
        self.gap_at.find(hash_of_gap(id), |gap| self.gap(*gap).id == id).copied()
    }

    pub(super) fn gap(&self, at: GapSlot) -> &GapEntry {
        self.gaps.get(at)
    }

    pub(super) fn gap_mut(&mut self, at: GapSlot) -> &mut GapEntry {
        self.gaps.get_mut(at)
    }

    pub(super) fn gaps(&self) -> impl Iterator<Item = (GapSlot, &GapEntry)> {
        self.gaps.iter()
    }

    pub(super) fn add_gap(&mut self, gap: GapEntry) -> GapSlot {
        let hash = hash_of_gap(gap.id);
        let at = self.gaps.insert(gap);
        self.gap_at.insert_unique(hash, at, |gap| hash_of_gap(self.gaps.get(*gap).id));
        at
    }

    /// The gap must be in no task.
    pub(super) fn remove_gap(&mut self, at: GapSlot) {
        let gap = self.gaps.remove(at);
        debug_assert!(gap.task().is_none());
        self.no_longer_stands_back(at);
        if let Ok(found) = self.gap_at.find_entry(hash_of_gap(gap.id), |other| *other == at) {
            found.remove();
        }
    }

    // ----------------------------------------------------------------------------------------------------------- tasks

    pub(super) fn find_task(&self, id: TaskId) -> Option<TaskSlot> {
        self.task_at.find(hash_of_task(id), |task| self.task(*task).id == id).copied()
    }

    pub(super) fn task(&self, at: TaskSlot) -> &TaskEntry {
        self.tasks.get(at)
    }

    pub(super) fn task_mut(&mut self, at: TaskSlot) -> &mut TaskEntry {
        self.tasks.get_mut(at)
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = (TaskSlot, &TaskEntry)> {
        self.tasks.iter()
    }

    /// The gaps must be in no task.
    pub(super) fn add_task(&mut self, id: TaskId, bucket: BucketIx, gaps: Vec<GapSlot>) -> TaskSlot {
        let entry = TaskEntry { id, bucket, gaps: Vec::new().into(), phase: Phase::Loose, in_line: InLine::default() };
        let at = self.tasks.insert(entry);
        self.task_at.insert_unique(hash_of_task(id), at, |task| hash_of_task(self.tasks.get(*task).id));
        self.join(at, gaps);
        at
    }

    /// Its gaps are in no task afterwards.
    pub(super) fn remove_task(&mut self, at: TaskSlot) -> TaskEntry {
        self.has_room(at, false);
        let task = self.tasks.remove(at);
        self.moves += 1;
        if let Ok(found) = self.task_at.find_entry(hash_of_task(task.id), |other| *other == at) {
            found.remove();
        }
        for gap in task.gaps.iter() {
            self.gaps.get_mut(*gap).in_task = NO_TASK;
        }
        task
    }

    /// Ends a loose task; its gaps stand back.
    pub(super) fn stand_back(&mut self, at: TaskSlot) -> TaskEntry {
        let task = self.remove_task(at);
        let priority = self.bucket(task.bucket).priority;
        self.stood_back[priority as usize].extend(task.gaps.iter());
        task
    }

    pub(super) fn stands_back(&self, gap: GapSlot) -> bool {
        self.stood_back.iter().any(|gaps| gaps.contains(&gap))
    }

    /// A gap that stands back may have another priority by now.
    pub(super) fn goes_on_standing_back(&mut self, gap: GapSlot) {
        self.no_longer_stands_back(gap);
        let priority = self.bucket(self.gap(gap).bucket).priority;
        self.stood_back[priority as usize].insert(gap);
    }

    fn no_longer_stands_back(&mut self, gap: GapSlot) {
        for gaps in &mut self.stood_back {
            gaps.remove(&gap);
        }
    }

    pub(super) fn anybody_stands_back(&self) -> bool {
        self.standing_back() > 0
    }

    pub(super) fn standing_back(&self) -> u64 {
        self.stood_back.iter().map(|gaps| gaps.len() as u64).sum()
    }

    /// None of these priorities stands back any more.
    pub(super) fn take_stood_back(&mut self, priorities: impl IntoIterator<Item = PriorityLevel>) -> BTreeSet<GapSlot> {
        priorities.into_iter().flat_map(|priority| std::mem::take(&mut self.stood_back[priority as usize])).collect()
    }

    /// Gaps that are in no task become this task's.
    pub(super) fn join(&mut self, at: TaskSlot, gaps: Vec<GapSlot>) {
        for gap in &gaps {
            let owner = &mut self.gaps.get_mut(*gap).in_task;
            debug_assert!(*owner == NO_TASK, "a gap has one task");
            *owner = at;
            self.no_longer_stands_back(*gap);
        }
        let all = self.task(at).gaps.iter().copied().chain(gaps).collect();
        self.set_gaps(at, all);
        self.moves += 1;
    }

    pub(super) fn sort(&mut self, at: TaskSlot) {
        self.set_gaps(at, self.task(at).gaps.to_vec());
    }

    fn set_gaps(&mut self, at: TaskSlot, mut gaps: Vec<GapSlot>) {
        self.in_order(&mut gaps);
        self.tasks.get_mut(at).gaps = gaps.into();
    }

    /// The gap is in no task afterwards; the task may be empty.
    pub(super) fn part(&mut self, gap: GapSlot) -> Option<TaskSlot> {
        let at = self.gap(gap).task()?;
        self.gaps.get_mut(gap).in_task = NO_TASK;
        let task = self.tasks.get_mut(at);
        let left: Vec<GapSlot> = task.gaps.iter().copied().filter(|other| *other != gap).collect();
        task.gaps = left.into();
        self.moves += 1;
        Some(at)
    }

    pub(super) fn in_order(&self, gaps: &mut [GapSlot]) {
        gaps.sort_by(|one, other| self.gap(*one).place_ref().cmp(&self.gap(*other).place_ref()));
    }

    pub(super) fn place(&self, at: TaskSlot) -> Place {
        self.gap(self.task(at).gaps[0]).place()
    }

    /// The latest next try of its gaps.
    pub(super) fn ready_at(&self, at: TaskSlot) -> Option<Timestamp> {
        self.task(at).gaps.iter().filter_map(|gap| self.gap(*gap).next_try()).max()
    }

    /// Of its gaps, the one with the latest next try.
    pub(super) fn last_to_be_ready(&self, at: TaskSlot) -> Option<&GapEntry> {
        self.task(at).gaps.iter().map(|gap| self.gap(*gap)).filter(|gap| gap.next_try().is_some()).max_by_key(|gap| gap.next_try())
    }

    pub(super) fn is_fresh(&self, at: TaskSlot) -> bool {
        self.task(at).gaps.iter().all(|gap| self.gap(*gap).is_fresh())
    }

    pub(super) fn has_room(&mut self, at: TaskSlot, room: bool) {
        let bucket = self.tasks.get(at).bucket;
        match room {
            true => drop(self.with_room.entry(bucket).or_default().insert(at)),
            false => {
                if let Some(tasks) = self.with_room.get_mut(&bucket) {
                    tasks.remove(&at);
                    if tasks.is_empty() {
                        self.with_room.remove(&bucket);
                    }
                }
            }
        }
    }

    /// In their order.
    pub(super) fn with_room(&self, bucket: BucketIx) -> Vec<TaskSlot> {
        let mut tasks: Vec<TaskSlot> = self.with_room.get(&bucket).into_iter().flatten().copied().collect();
        tasks.sort_by_cached_key(|task| self.place(*task));
        tasks
    }

    pub(super) fn count(&self, census: &mut super::Census) {
        (census.gaps, census.tasks) = (self.gap_at.len(), self.task_at.len());
        census.places = self.gaps.values.len() + self.tasks.values.len();
        census.buckets = self.buckets.len();
        census.stood_back = self.standing_back() as usize;
        census.with_room = self.with_room.values().map(BTreeSet::len).sum();
    }

    // ------------------------------------------------------------------------------------------------------ plain data

    pub(super) fn plain_gap(&self, at: GapSlot, dataset: &str) -> Gap {
        let gap = self.gap(at);
        let bucket = self.bucket(gap.bucket);
        Gap {
            id: gap.id,
            dataset: dataset.into(),
            key: gap.key.to_string(),
            reason: gap.reason,
            detected_at: gap.detected_at(),
            due: gap.due(),
            priority: bucket.priority,
            group: bucket.group.clone(),
            etag: gap.there.as_deref().and_then(|there| there.etag.as_deref()).map(String::from),
            last_modified: gap.there.as_deref().and_then(|there| there.last_modified),
            fingerprint: gap.fingerprint,
            progress: gap.progress.as_deref().cloned().unwrap_or_default(),
        }
    }

    pub(super) fn plain_task(&self, at: TaskSlot, collector: &str, source: Option<&str>) -> Task {
        let task = self.task(at);
        let bucket = self.bucket(task.bucket);
        let first = self.gap(task.gaps[0]);
        Task {
            id: task.id,
            collector: collector.into(),
            source: source.map(String::from),
            priority: bucket.priority,
            group: bucket.group.clone(),
            gaps: task.gaps.iter().map(|gap| self.gap(*gap).id).collect(),
            detected_at: first.detected_at(),
            due: first.due(),
            key: first.key.to_string(),
            ready_at: self.ready_at(at),
        }
    }
}

impl Places for Book {
    fn place_of(&self, task: TaskSlot) -> PlaceRef<'_> {
        self.gap(self.task(task).gaps[0]).place_ref()
    }
}

/// Item ids are digests: some of their bytes are as good as a hash of all.
fn hash_of_gap(gap: GapId) -> u64 {
    first_bytes(&gap.item.0) ^ u64::from(gap.episode).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn hash_of_task(task: TaskId) -> u64 {
    first_bytes(&task.0)
}

fn first_bytes(digest: &[u8]) -> u64 {
    u64::from_le_bytes(*digest.first_chunk().expect("digests are longer"))
}

/// Values at small numbers that are used again.
#[derive(Clone, Debug)]
struct Slab<T> {
    values: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { values: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(at) => {
                self.values[at as usize] = Some(value);
                at
            }
            None => {
                self.values.push(Some(value));
                u32::try_from(self.values.len() - 1).expect("fewer than 4 billion")
            }
        }
    }

    fn get(&self, at: u32) -> &T {
        looks::one();
        self.values[at as usize].as_ref().expect("a slot in use")
    }

    fn get_mut(&mut self, at: u32) -> &mut T {
        self.values[at as usize].as_mut().expect("a slot in use")
    }

    fn remove(&mut self, at: u32) -> T {
        self.free.push(at);
        self.values[at as usize].take().expect("a slot in use")
    }

    fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.values.iter().enumerate().filter_map(|(at, value)| {
            looks::one();
            Some((at as u32, value.as_ref()?))
        })
    }
}

/// Counts in tests how often anybody looks at a gap or a task, or goes along a line: a look at all of them is as right as one at
/// the first ones, and only slower.
pub(super) mod looks {
    #[cfg(test)]
    thread_local! {
        static LOOKS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    #[inline(always)]
    pub(in crate::queue) fn one() {
        #[cfg(test)]
        LOOKS.with(|looks| looks.set(looks.get() + 1));
    }

    /// How many it takes.
    #[cfg(test)]
    pub(in crate::queue) fn taken_by<T>(look: impl FnOnce() -> T) -> (T, u64) {
        let before = LOOKS.with(std::cell::Cell::get);
        let answer = look();
        (answer, LOOKS.with(std::cell::Cell::get) - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_gap_and_its_task_are_small() {
        // A million of each are in memory at once.
        assert_eq!((size_of::<Option<GapEntry>>(), size_of::<Option<TaskEntry>>()), (88, 56));
    }

    #[test]
    fn an_instant_in_half_of_its_bytes_is_the_same_one() {
        for nanos in [-1_500, -1, 0, 1, 999, 1_000, 1_741_500_000_123_456_789] {
            let due = Timestamp::from_nanosecond(nanos).unwrap();
            assert_eq!(Timestamp::from(Nanos::from(due)), due);
        }
        let [first, last] = [Timestamp::MIN, Timestamp::MAX].map(|end| Timestamp::from(Nanos::from(end)).to_string());
        assert!(first.starts_with("1677-") && last.starts_with("2262-"), "{first} {last}");
    }
}
