//! The state machine that the engine and the simulator drive.
//!
//! It owns what may change between two picks: gaps' progress, tasks, permits, pauses, breakers, running attempts. Every
//! call takes the time, and answers with what must be remembered; after every step, what was remembered is what is
//! there, and a restart at any point loses no gap and gives none two owners (`a_restart_at_any_point_loses_no_gap`).
//!
//! The parts: `form` makes tasks of gaps, `pick` chooses, `attempt` follows what runs, `report` answers questions.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use super::absences::Absences;
use super::book::{Book, Bucket, DatasetIx, GapEntry, GapSlot, InLine, Nanos, Phase, TaskEntry};
use super::classes::{ClassKey, Classes, CollectorIx, TaskSlot, Was};
use super::cycle::Cycle;
use super::form::{Edit, ask_of, terms};
use super::grants::Grants;
use super::pauses::Pauses;
use super::score::{Factors, REMEMBERED_ATTEMPTS, Rank, Weights};
use super::slots::Taken;
use super::useful::{Drawing, Habits};
use super::values::OfValues;
use super::waits::Waiting;
use super::{Charge, GapNews, Rules, Score};
use crate::gap::{Failure, Fault, Gap, Outcome, Standing, Task};
use crate::ids::{AttemptId, GapId, TaskId, ValueId};
use crate::limits::SourceIx;
use crate::limits::breaker::Breaker;
use crate::ports::PermitId;
use crate::record::{AttemptRecord, BreakerRecord, CUT_SHORT, Change, Closed, Event, Lease, Remembered, SourceRecord};
use crate::spec::{PriorityLevel, Weighting};
use crate::time::{BootId, Boottime, Now, Timestamp};

/// Owns tasks, progress, slots, limits, breakers and leases.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    pub(super) rules: Rules,
    pub(super) weights: Weights,
    pub(super) book: Book,
    pub(super) classes: Classes,
    /// Delayed tasks by when they are ready.
    pub(super) timers: BTreeSet<(Timestamp, TaskSlot)>,
    pub(super) holds: Holds,
    pub(super) pauses: Pauses,
    pub(super) grants: Grants,
    pub(super) sources: Vec<SourceState>,
    pub(super) collectors: Vec<CollectorState>,
    /// By collector: did each of its last attempts fill something? Oldest first.
    pub(super) success: Vec<VecDeque<bool>>,
    pub(super) running: BTreeMap<AttemptId, Attempt>,
    /// Those that ask for permits one by one: each pick looks at them, and thousands of others may run.
    pub(super) drawing: BTreeSet<AttemptId>,
    /// Programs that are no tasks of ours.
    pub(super) guests: BTreeSet<AttemptId>,
    pub(super) taken: Taken,
    /// Slots that no attempt may have: jobs have them, or wait for one.
    pub(super) kept_slots: u32,
    /// Attempts with a request that waits for a permit of that source.
    pub(super) waiters: BTreeSet<(SourceIx, AttemptId)>,
    /// Who has each permit that was asked for and is not settled.
    pub(super) holders: HashMap<PermitId, Holder>,
    pub(super) habits: Habits,
    pub(super) cycle: Cycle,
    /// Keys of items whose absence is not believed any more, until somebody asks.
    pub(super) taken_back: Vec<String>,
    /// Nothing starts any more, and who waits for a source that is shut for long keeps everything from ending.
    pub(super) winds_down: bool,
}

/// What a surprise keeps from starting.
#[derive(Clone, Debug, Default)]
pub(super) struct Holds {
    pub all: bool,
    pub datasets: BTreeSet<DatasetIx>,
}

#[derive(Clone, Debug)]
pub(super) struct SourceState {
    pub breaker: Breaker,
    /// What its values have for themselves besides limits; `None`: nothing.
    pub of_values: Option<OfValues>,
    pub absences: Absences,
    /// When each attempt that is under way sent its last request.
    pub asked: HashMap<AttemptId, Boottime>,
    /// Why it is left alone, if upstream did not ask for it.
    pub paused_because: Option<String>,
    /// What was last remembered, to be compared.
    pub saved: SourceMark,
}

#[derive(Clone, Debug)]
pub(super) struct CollectorState {
    pub breaker: Breaker,
    /// First gaps of the tasks that it crashed on since it last did not: one bad task alone never opens its breaker.
    pub crashed_on: Vec<GapId>,
    pub saved: BreakerMark,
}

/// What of a breaker is worth being remembered anew when it changes: failures, open, failed probes.
pub(super) type BreakerMark = (u32, bool, u32);

/// What of a source is: its breaker, its pause, its last incident and whether it is slower since.
pub(super) type SourceMark = (BreakerMark, Option<Boottime>, (Option<Boottime>, bool));

pub(super) fn mark_of(record: &BreakerRecord) -> BreakerMark {
    (record.failures, record.open_until.is_some(), record.probes_failed)
}

/// A permit on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holder {
    pub attempt: AttemptId,
    pub source: SourceIx,
    pub sent: Option<Boottime>,
}

/// A task that is under way.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub task: TaskSlot,
    /// Of its first request, until that is sent.
    pub first_permit: Option<PermitId>,
    /// All its requests at once.
    pub charge: Option<PermitId>,
    /// Permits that it asked for and that are not settled.
    pub under_way: u32,
    pub started: Boottime,
    pub started_at: Timestamp,
    pub requests: u64,
    /// A request of it has left.
    pub has_asked: bool,
    /// It was told to end, because its source is shut.
    pub gave_up: bool,
    pub met: Met,
    pub stage: Stage,
    pub began: Began,
    /// `None`: it has paid for all of its requests, or makes none.
    pub drawing: Option<Drawing>,
}

/// How it came to start, for its story.
#[derive(Clone, Debug, Default)]
pub(super) struct Began {
    pub score: Score,
    pub rank: u32,
    pub ready: u64,
    pub waiting: Waiting,
}

/// What an attempt is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Collecting,
    /// Its collector is done: it only checks and publishes, and holds no slot.
    Delivering,
}

/// What an attempt met at its sources so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Met {
    /// Any answer at all, counted for the breaker when it came.
    pub answers: bool,
    /// The last one was the source's failure.
    pub last_failed: bool,
    /// A request of it waits behind a breaker or a pause.
    pub shut_out: bool,
}

impl Attempt {
    /// `permit`: what the charge was taken with.
    pub(super) fn new(task: TaskSlot, charge: Charge, permit: Option<PermitId>, now: Now) -> Self {
        let charged = match charge {
            Charge::Ahead(requests) => requests,
            Charge::First(_) | Charge::Nothing => 0,
        };
        Attempt {
            task,
            first_permit: permit.filter(|_| charged == 0),
            charge: permit.filter(|_| charged > 0),
            under_way: 0,
            started: now.boot,
            started_at: now.wall,
            requests: u64::from(charged),
            has_asked: false,
            gave_up: false,
            met: Met::default(),
            stage: Stage::Collecting,
            began: Began::default(),
            drawing: None,
        }
    }
}

impl Dispatcher {
    /// Takes gaps, tasks, leases, reservations, sources, values, collectors, success, pauses and `latest` out of `remembered` and leaves the rest. The
    /// changes release what a dead predecessor held, and must be durable before anything starts.
    pub fn new(rules: Rules, remembered: &mut Remembered, boot: BootId, now: Now) -> (Self, Vec<Change>) {
        let reservations = std::mem::take(&mut remembered.reservations);
        let latest = remembered.latest.take();
        let (grants, mut changes) = Grants::new(&rules, reservations, boot, latest, now);
        changes.extend(std::mem::take(&mut remembered.leases).into_iter().map(|lease| Change::Finish(died(lease, now))));
        let records = std::mem::take(&mut remembered.sources);
        let mut collectors = std::mem::take(&mut remembered.collectors);
        let mut success = std::mem::take(&mut remembered.success);
        let mut dispatcher = Dispatcher {
            weights: Weights::of(&rules.weighting),
            book: Book::default(),
            classes: Classes::default(),
            timers: BTreeSet::new(),
            holds: Holds::default(),
            pauses: Pauses::default(),
            grants,
            sources: Vec::new(),
            taken_back: Vec::new(),
            collectors: Vec::new(),
            success: rules.collectors.keys().map(|name| success.remove(&**name).unwrap_or_default().into()).collect(),
            running: BTreeMap::new(),
            drawing: BTreeSet::new(),
            guests: BTreeSet::new(),
            taken: Taken::default(),
            kept_slots: 0,
            waiters: BTreeSet::new(),
            holders: HashMap::new(),
            habits: Habits::default(),
            cycle: Cycle::default(),
            winds_down: false,
            rules,
        };
        let names: Vec<_> = dispatcher.rules.sources.keys().cloned().collect();
        for name in names {
            dispatcher.restore_source(&name, records.get(&*name).cloned().unwrap_or_default(), now);
        }
        changes.extend(dispatcher.restore_values(std::mem::take(&mut remembered.values), now));
        let restored = dispatcher.rules.collectors.iter().map(|(name, collector)| {
            let record = collectors.remove(&**name).unwrap_or_default();
            let breaker = Breaker::from_record(collector.breaker, &record, now);
            CollectorState { breaker, crashed_on: Vec::new(), saved: mark_of(&record) }
        });
        dispatcher.collectors = restored.collect();
        let tasks = std::mem::take(&mut remembered.tasks);
        let gaps = std::mem::take(&mut remembered.gaps);
        changes.extend(dispatcher.restore_tasks(gaps, tasks, now));
        dispatcher.restore_doubts();
        dispatcher.restore_pauses(std::mem::take(&mut remembered.pauses));
        (dispatcher, changes)
    }

    pub(super) fn restore_source(&mut self, name: &str, record: SourceRecord, now: Now) {
        let source = SourceIx(self.sources.len() as u32);
        let policy = self.rules.sources[name].breaker;
        let paused_until = record.paused_until.map(|until| now.boot_at(until)).filter(|until| *until > now.boot);
        if let Some(until) = paused_until {
            self.grants.pause(source, None, until, now.boot);
        }
        if let Some(learned) = &record.learned {
            self.grants.remembers(source, None, learned, now);
        }
        let saved = (mark_of(&record.breaker), paused_until, self.grants.limiter().learned(source).mark(now.boot));
        let breaker = Breaker::from_record(policy, &record.breaker, now);
        let paused_because = record.paused_because.filter(|_| paused_until.is_some());
        let breaker_by = self.rules.told_apart(source).and_then(|by| by.breaker);
        let learns = self.grants.limiter().learns_by_value(source);
        let of_values = (breaker_by.is_some() || learns).then(|| OfValues::new(breaker_by));
        self.sources.push(SourceState { breaker, of_values, absences: Absences::default(), asked: HashMap::new(), paused_because, saved });
    }

    /// Tasks of another config lose the gaps that do not belong to them any more, and those gaps get new ones.
    fn restore_tasks(&mut self, gaps: Vec<Gap>, mut tasks: Vec<Task>, now: Now) -> Vec<Change> {
        let mut edit = Edit::default();
        for gap in gaps {
            let gap = self.add_gap(gap);
            edit.pool.insert(gap);
        }
        tasks.sort_by_key(|task| task.id);
        let mut restored = Vec::new();
        for task in tasks {
            match self.restore_task(&task, &mut edit) {
                Some(slot) => restored.push((slot, task)),
                None => edit.changes.push(Change::RemoveTask(task.id)),
            }
        }
        let mut changes = self.finish(edit, now);
        let as_before: BTreeSet<TaskId> =
            restored.into_iter().filter(|(slot, task)| self.plain_task(*slot) == *task).map(|(_, task)| task.id).collect();
        changes.retain(|change| !matches!(change, Change::PutTask(task) if as_before.contains(&task.id)));
        changes
    }

    fn restore_task(&mut self, task: &Task, edit: &mut Edit) -> Option<TaskSlot> {
        let source = task.source.as_deref().and_then(|source| self.source_ix(source));
        let bucket = self.bucket(source, self.collector_ix(&task.collector), task.priority, task.group.clone());
        bucket.collector?;
        let bucket = self.book.bucket_at(bucket);
        let (collector, cut) = terms(&self.book, &self.rules, bucket)?;
        let theirs = task.gaps.iter().filter_map(|gap| self.book.find_gap(*gap));
        let mut gaps: Vec<GapSlot> =
            theirs.filter(|gap| self.book.gap(*gap).task().is_none() && self.book.gap(*gap).bucket == bucket).collect();
        self.book.in_order(&mut gaps);
        gaps.truncate(cut);
        // The gap that it is named after may be open and go elsewhere: then its name goes with it.
        let named_after_another = task.gaps.iter().filter(|gap| TaskId::of(collector, **gap) == task.id).any(|gap| {
            let open = self.book.find_gap(*gap);
            open.is_some_and(|open| !gaps.contains(&open))
        });
        if gaps.is_empty() || named_after_another {
            return None;
        }
        for gap in &gaps {
            edit.pool.remove(gap);
        }
        let slot = self.book.add_task(task.id, bucket, gaps);
        edit.touched.insert(slot, Was::default());
        Some(slot)
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Forms, tops up and removes tasks. What runs is left alone: the attempt decides, and the next cycle corrects.
    pub fn reconcile(&mut self, news: GapNews, now: Now) -> Vec<Change> {
        let mut edit = Edit::default();
        for (gap, why) in news.closed {
            self.close(gap, why, &mut edit, now);
        }
        for gap in news.changed.into_iter().chain(news.opened) {
            match self.book.find_gap(gap.id) {
                Some(slot) => self.change(slot, gap, &mut edit),
                None => {
                    let contested = contested(&gap, now);
                    let slot = self.add_gap(gap);
                    edit.pool.insert(slot);
                    edit.changes.push(Change::PutGap(self.plain_gap(slot)));
                    edit.changes.extend(contested);
                }
            }
        }
        let mut changes = self.finish(edit, now);
        if self.book.forget_empty_buckets() {
            let used: HashSet<ValueId> = self.book.buckets().filter_map(|bucket| bucket.value).collect();
            changes.extend(self.forget_values(|value| used.contains(&value), now));
            let wanted: HashSet<ValueId> = self.grants.names().filter(|value| self.known_to_breakers(*value)).collect();
            self.grants.forget_names(|value| used.contains(&value) || wanted.contains(&value));
        }
        changes
    }

    fn close(&mut self, id: GapId, why: Closed, edit: &mut Edit, now: Now) {
        let Some(gap) = self.book.find_gap(id).filter(|gap| !self.runs(*gap)) else { return };
        self.touch_task_of(gap, edit);
        self.book.part(gap);
        self.book.remove_gap(gap);
        edit.pool.remove(&gap);
        edit.changes.push(Change::CloseGap { gap: id, at: now.wall, why });
    }

    pub(super) fn change(&mut self, slot: GapSlot, gap: Gap, edit: &mut Edit) {
        if self.runs(slot) {
            return;
        }
        self.touch_task_of(slot, edit);
        let before = self.book.gap(slot);
        let (task, was_in) = (before.task(), before.bucket);
        // A new answer of the config deserves new attempts.
        let progress = before.progress.clone().filter(|_| before.fingerprint == gap.fingerprint);
        let asked = progress.as_ref().and_then(|progress| progress.asked);
        let priority = asked.map_or(gap.priority, |asked| asked.max(gap.priority));
        let mut entry = self.entry(Gap { priority, ..gap });
        entry.progress = progress;
        let moves = entry.bucket != was_in;
        let collector = self.collector_of_bucket(was_in);
        *self.book.gap_mut(slot) = entry.in_task_of(self.book.gap(slot));
        match (task, collector) {
            (Some(_), Some(collector)) if moves => edit.release(&mut self.book, slot, &collector),
            (Some(task), _) => self.book.sort(task),
            (None, _) if self.book.stands_back(slot) => self.book.goes_on_standing_back(slot),
            (None, _) => drop(edit.pool.insert(slot)),
        }
        edit.changes.push(Change::PutGap(self.plain_gap(slot)));
    }

    /// Starts nothing of this dataset (`None`: nothing at all) until `unhold`.
    pub fn hold(&mut self, dataset: Option<&str>) {
        let Some(dataset) = dataset else {
            self.holds.all = true;
            return;
        };
        let dataset = self.dataset_ix(dataset);
        self.holds.datasets.insert(dataset);
        self.hold_tasks_with(dataset);
    }

    pub(super) fn hold_tasks_with(&mut self, dataset: DatasetIx) {
        for task in self.waiting_tasks_with(dataset) {
            self.unqueue(task);
            self.book.task_mut(task).phase = Phase::Held;
        }
    }

    pub fn unhold(&mut self, dataset: Option<&str>) {
        let Some(dataset) = dataset else {
            self.holds.all = false;
            return;
        };
        let dataset = self.dataset_ix(dataset);
        self.holds.datasets.remove(&dataset);
        self.let_go_tasks_with(dataset);
    }

    /// Unless something else holds them.
    pub(super) fn let_go_tasks_with(&mut self, dataset: DatasetIx) {
        for task in self.waiting_tasks_with(dataset) {
            if !self.is_held(task) {
                self.unqueue(task);
                let at = self.book.ready_at(task).unwrap_or(Timestamp::MIN);
                self.delay(task, at);
            }
        }
    }

    /// Scores by these weights from now on. What runs goes on, and whoever was passed keeps its patience.
    ///
    /// Within a class nothing changes, so classes go up and down as a whole; one by one move only tasks whose size is in
    /// another band now.
    pub fn weigh(&mut self, weighting: Weighting, now: Now) {
        self.weights = Weights::of(&weighting);
        self.rules.weighting = weighting;
        let in_another_band = |task: &TaskEntry| match task.phase {
            Phase::Ready(class) => self.classes.class(class).0.band != self.weights.band(task.gaps.len()),
            _ => false,
        };
        let moving: Vec<TaskSlot> = self.book.tasks().filter(|(_, task)| in_another_band(task)).map(|(at, _)| at).collect();
        for task in moving {
            let was = self.unqueue(task);
            self.enter_class(task, was, now);
        }
    }

    fn waiting_tasks_with(&self, dataset: DatasetIx) -> BTreeSet<TaskSlot> {
        let of_dataset = self.book.gaps().filter(|(_, gap)| gap.dataset == dataset);
        let waits = |task: &TaskSlot| !matches!(self.book.task(*task).phase, Phase::Running);
        of_dataset.filter_map(|(_, gap)| gap.task()).filter(waits).collect()
    }

    fn is_held(&self, task: TaskSlot) -> bool {
        self.book.task(task).gaps.iter().any(|gap| {
            let dataset = self.book.gap(*gap).dataset;
            self.holds.datasets.contains(&dataset) || self.pauses.dataset(dataset).is_some()
        })
    }

    // ------------------------------------------------------------------------------------------------- tasks in queues

    pub(super) fn finish(&mut self, mut edit: Edit, now: Now) -> Vec<Change> {
        edit.sweep(&mut self.book);
        for task in edit.touched.keys() {
            self.note_room(*task);
        }
        let (classes, timers) = (&mut self.classes, &mut self.timers);
        edit.form(&mut self.book, &self.rules, |book, task| unqueue(book, classes, timers, task));
        for (task, was) in std::mem::take(&mut edit.touched) {
            self.note_room(task);
            self.queue(task, was, now);
            edit.changes.push(Change::PutTask(self.plain_task(task)));
        }
        self.classes.settle();
        edit.changes
    }

    pub(super) fn touch_task_of(&mut self, gap: GapSlot, edit: &mut Edit) {
        if let Some(task) = self.book.gap(gap).task()
            && !edit.touched.contains_key(&task)
        {
            let was = self.unqueue(task);
            edit.touched.insert(task, was);
        }
    }

    pub(super) fn note_room(&mut self, task: TaskSlot) {
        let entry = self.book.task(task);
        let cut = terms(&self.book, &self.rules, entry.bucket).map_or(0, |(_, cut)| cut);
        let room = entry.gaps.len() < cut && self.book.is_fresh(task) && !matches!(entry.phase, Phase::Running);
        self.book.has_room(task, room);
    }

    /// Puts a loose task where it belongs.
    pub(super) fn queue(&mut self, task: TaskSlot, was: Was, now: Now) {
        if self.is_held(task) {
            self.book.task_mut(task).phase = Phase::Held;
            return;
        }
        if let Some(at) = self.book.ready_at(task).filter(|at| *at > now.wall) {
            self.delay(task, at);
            return;
        }
        let entry = self.book.task_mut(task);
        if entry.in_line.get().is_none() {
            entry.in_line = InLine::since(now.boot);
        }
        self.enter_class(task, was, now);
    }

    pub(super) fn enter_class(&mut self, task: TaskSlot, was: Was, now: Now) {
        let gaps = self.book.task(task).gaps.len();
        let class = self.classes.enter(self.class_key(task), self.book.place(task), task, gaps, was.patience, &self.book);
        let entry = self.book.task_mut(task);
        entry.phase = Phase::Ready(class);
        let in_line = entry.in_line.get().unwrap_or(now.boot);
        let new = self.classes.entry(class);
        let waits = &mut self.classes.waits;
        match was.class {
            Some(before) if before == class => waits.enters(new, in_line, now.boot),
            before => {
                waits.enters(new, now.boot, now.boot);
                if let Some(before) = before {
                    waits.carry(task, before, class, in_line, now);
                }
            }
        }
    }

    fn delay(&mut self, task: TaskSlot, at: Timestamp) {
        let at = Nanos::from(at);
        self.timers.insert((at.into(), task));
        let entry = self.book.task_mut(task);
        (entry.phase, entry.in_line) = (Phase::Delayed(at), InLine::default());
        self.classes.waits.leaves_line(task);
    }

    /// Takes a task out of its queue.
    pub(super) fn unqueue(&mut self, task: TaskSlot) -> Was {
        unqueue(&mut self.book, &mut self.classes, &mut self.timers, task)
    }

    /// Tasks whose time has come are ready.
    pub(super) fn wake(&mut self, now: Now) {
        while let Some((_, task)) = self.timers.first().copied().filter(|(at, _)| *at <= now.wall) {
            self.unqueue(task);
            self.queue(task, Was::default(), now);
        }
    }

    pub(super) fn class_key(&self, task: TaskSlot) -> ClassKey {
        let entry = self.book.task(task);
        let bucket = self.book.bucket(entry.bucket);
        let collector = bucket.collector.expect("a task has a collector");
        ClassKey {
            source: bucket.source,
            value: bucket.value,
            collector,
            priority: bucket.priority,
            band: self.weights.band(entry.gaps.len()),
            ask: ask_of(&self.rules, bucket, entry.gaps.len()),
        }
    }

    // -------------------------------------------------------------------------------------------------- scores, names

    pub(super) fn factors(&self, key: &ClassKey) -> Factors {
        let importance = key.source.map_or(1.0, |source| self.rules.sources[source.0 as usize].importance);
        let success = self.weights.success(self.success[usize::from(key.collector)].iter().copied());
        self.weights.factors(key.priority, importance, key.band, success)
    }

    pub(super) fn score_of(&self, task: TaskSlot, now: Now) -> Score {
        let factors = self.factors(&self.class_key(task));
        self.weights.score(factors, self.book.place(task).detected_at, now.wall)
    }

    pub(super) fn rank_of(&self, task: TaskSlot, now: Now) -> Rank {
        Rank { score: self.score_of(task, now).total, place: self.book.place(task) }
    }

    pub(super) fn priority_of_task(&self, task: TaskSlot) -> PriorityLevel {
        self.book.bucket(self.book.task(task).bucket).priority
    }

    pub(super) fn runs(&self, gap: GapSlot) -> bool {
        let task = self.book.gap(gap).task();
        task.is_some_and(|task| matches!(self.book.task(task).phase, Phase::Running))
    }

    pub(super) fn source_ix(&self, name: &str) -> Option<SourceIx> {
        self.rules.sources.get_index_of(name).map(|at| SourceIx(at as u32))
    }

    pub(super) fn source_name(&self, source: SourceIx) -> &str {
        self.rules.sources.get_index(source.0 as usize).map_or("", |(name, _)| name)
    }

    pub(super) fn collector_ix(&self, name: &str) -> Option<CollectorIx> {
        self.rules.collectors.get_index_of(name).map(|at| at as CollectorIx)
    }

    pub(super) fn collector_name(&self, collector: CollectorIx) -> &str {
        self.rules.collectors.get_index(usize::from(collector)).map_or("", |(name, _)| name)
    }

    pub(super) fn collector_of_bucket(&self, bucket: u32) -> Option<std::sync::Arc<str>> {
        let collector = self.book.bucket(bucket).collector?;
        self.rules.collectors.get_index(usize::from(collector)).map(|(name, _)| name.clone())
    }

    /// A dataset that the config does not know (any more) is only watched, until its gaps are closed.
    fn dataset_ix(&mut self, name: &str) -> DatasetIx {
        self.rules.dataset_ix(name) as DatasetIx
    }

    fn add_gap(&mut self, gap: Gap) -> GapSlot {
        let entry = self.entry(gap);
        self.book.add_gap(entry)
    }

    fn entry(&mut self, mut gap: Gap) -> GapEntry {
        let dataset = self.dataset_ix(&gap.dataset);
        let terms = &self.rules.datasets[usize::from(dataset)];
        let source = terms.source.as_deref().and_then(|source| self.source_ix(source));
        let collector = terms.collector.as_deref().and_then(|collector| self.collector_ix(collector));
        let bucket = self.bucket(source, collector, gap.priority, std::mem::take(&mut gap.group));
        let bucket = self.book.bucket_at(bucket);
        GapEntry::new(gap, dataset, bucket)
    }

    pub(super) fn bucket(
        &mut self,
        source: Option<SourceIx>,
        collector: Option<CollectorIx>,
        priority: PriorityLevel,
        group: Vec<String>,
    ) -> Bucket {
        let value = source.zip(collector).and_then(|(source, collector)| {
            let text = value_in(&self.rules, &group, (Some(source), collector), source)?;
            Some(self.grants.name(text))
        });
        Bucket { source, collector, priority, group, value }
    }

    /// Whose a request of this attempt to this source is, where the source tells that apart: the value that its task has of the
    /// source's `by`. A program by hand, and a task that has none, are nobody's.
    pub(super) fn value_of(&self, attempt: AttemptId, source: SourceIx) -> Option<ValueId> {
        self.rules.told_apart(source)?;
        self.value_of_task(self.running.get(&attempt)?.task, source)
    }

    pub(super) fn plain_gap(&self, gap: GapSlot) -> Gap {
        let dataset = usize::from(self.book.gap(gap).dataset);
        let name = self.rules.datasets.get_index(dataset).map_or("", |(name, _)| name);
        self.book.plain_gap(gap, name)
    }

    pub(super) fn plain_task(&self, task: TaskSlot) -> Task {
        let bucket = self.book.bucket(self.book.task(task).bucket);
        let collector = bucket.collector.map_or("", |collector| self.collector_name(collector));
        self.book.plain_task(task, collector, bucket.source.map(|source| self.source_name(source)))
    }

    /// Remembers one more attempt of a collector. One that always fills something, or never, looks the same afterwards.
    pub(super) fn note_success(&mut self, collector: CollectorIx, filled: bool) -> Option<Change> {
        let attempts = &mut self.success[usize::from(collector)];
        if attempts.len() == REMEMBERED_ATTEMPTS && attempts.iter().all(|before| *before == filled) {
            return None;
        }
        attempts.push_back(filled);
        while attempts.len() > REMEMBERED_ATTEMPTS {
            attempts.pop_front();
        }
        let attempts = attempts.iter().copied().collect();
        Some(Change::PutSuccess(self.collector_name(collector).into(), attempts))
    }
}

/// The value of what `of` tells its requests apart by, in a group of these.
pub(super) fn value_in<'a>(rules: &Rules, group: &'a [String], whose: (Option<SourceIx>, CollectorIx), of: SourceIx) -> Option<&'a str> {
    let by = rules.told_apart(of)?;
    let at = rules.group_names(whose.0, usize::from(whose.1)).position(|name| name == &*by.name)?;
    group.get(at).map(String::as_str)
}

fn unqueue(book: &mut Book, classes: &mut Classes, timers: &mut BTreeSet<(Timestamp, TaskSlot)>, task: TaskSlot) -> Was {
    let phase = std::mem::replace(&mut book.task_mut(task).phase, Phase::Loose);
    match phase {
        Phase::Ready(class) => {
            let patience = classes.leave(class, &book.place(task), task, book.task(task).gaps.len(), &*book);
            Was { patience, class: Some(class) }
        }
        Phase::Delayed(at) => {
            timers.remove(&(at.into(), task));
            Was::default()
        }
        Phase::Loose | Phase::Held | Phase::Running => Was::default(),
    }
}

/// It has no task yet: its own name tells whose story it belongs to.
fn contested(gap: &Gap, now: Now) -> Option<Change> {
    let until = gap.progress.next_try.filter(|_| gap.progress.standing == Standing::Contested)?;
    let text = format!("{}: contested, filled and gone three times in a day; left alone until {until}", gap.key);
    Some(Change::Event(Event { at: now.wall, task: None, gap: Some(gap.id), text }))
}

/// How an attempt ends whose engine ended: whatever it did, the next cycle sees.
pub(super) fn died(lease: Lease, now: Now) -> AttemptRecord {
    let stopped = || Outcome::Failed(Failure { fault: Fault::Stopped, message: "the engine ended meanwhile".into(), retry_after_s: None });
    AttemptRecord {
        attempt: lease.attempt,
        token: lease.token,
        task: lease.task,
        collector: lease.collector,
        started_at: lease.started_at,
        ended_at: now.wall,
        ended: CUT_SHORT.into(),
        requests: 0,
        outcomes: lease.gaps.into_iter().map(|gap| (gap, stopped())).collect(),
        log_tail: String::new(),
        log: None,
        story: None,
        traffic: None,
    }
}
