//! Another config for a dispatcher at work, between two decisions.
//!
//! To end an engine for the sake of a new dataset would cost the attempts that run, and whoever waits for a config to take effect edits
//! less often than he should. So everything that the queue knows of a config can be another one at once: what runs goes on and ends by
//! what it began with, what waits is put where the new rules want it, and no window forgets what was sent.
//!
//! Always true: positions of sources, collectors and datasets stay what they were, for permits, attempts and gaps name them by it. Who has left
//! the config keeps his place and his rules, and nobody comes to him any more; a restart forgets him. After the change every pick is
//! what re-scoring everything by the new rules gives (`pick_equals_brute_force`), and what is remembered is what is there.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use indexmap::IndexMap;

use super::book::{Bucket, GapSlot, Phase};
use super::classes::{TaskSlot, Was};
use super::dispatcher::{CollectorState, mark_of};
use super::form::{Edit, terms};
use super::score::Weights;
use super::values::OfValues;
use super::{Dispatcher, Rules};
use crate::limits::SourceIx;
use crate::limits::breaker::Breaker;
use crate::record::{BreakerRecord, Change, SourceRecord};
use crate::time::Now;

impl Dispatcher {
    /// By these rules from now on. What the gaps themselves say (their groups, their priorities) is what coverage says next.
    pub fn reconfigure(&mut self, rules: Rules, now: Now) -> Vec<Change> {
        let after = beside(&self.rules, rules);
        let before = std::mem::replace(&mut self.rules, after);
        self.weights = Weights::of(&self.rules.weighting);
        let mut changes = self.grants.reconfigure(&self.rules, now);
        self.sources_obey(&before, now);
        self.collectors_obey(now);
        changes.extend(self.put_all_where_they_belong(now));
        self.classes.wake_all(&self.book);
        self.heed_pauses();
        changes
    }

    fn sources_obey(&mut self, before: &Rules, now: Now) {
        for at in 0..self.sources.len() {
            let source = SourceIx(at as u32);
            let (was, is) = (&before.sources[at], &self.rules.sources[at]);
            let policy = is.breaker;
            let by = |rules: &super::SourceRules| rules.by.as_ref().map(|by| (by.name.clone(), by.breaker));
            let tells_others_apart = by(was) != by(is) || self.sources[at].of_values.is_some() != self.has_values(source);
            let breaker = is.by.as_ref().and_then(|by| by.breaker);
            let of_values = self.has_values(source).then(|| OfValues::new(breaker));
            let state = &mut self.sources[at];
            state.breaker.obey(policy);
            if tells_others_apart {
                state.of_values = of_values;
            }
        }
        let new: Vec<Arc<str>> = self.rules.sources.keys().skip(self.sources.len()).cloned().collect();
        for name in new {
            self.restore_source(&name, SourceRecord::default(), now);
        }
    }

    /// Whether something is remembered of single values of this source.
    fn has_values(&self, source: SourceIx) -> bool {
        let breaker = self.rules.told_apart(source).and_then(|by| by.breaker);
        breaker.is_some() || self.grants.limiter().learns_by_value(source)
    }

    fn collectors_obey(&mut self, now: Now) {
        for (at, collector) in self.rules.collectors.values().enumerate() {
            match self.collectors.get_mut(at) {
                Some(state) => state.breaker.obey(collector.breaker),
                None => {
                    let record = BreakerRecord::default();
                    let breaker = Breaker::from_record(collector.breaker, &record, now);
                    self.collectors.push(CollectorState { breaker, crashed_on: Vec::new(), saved: mark_of(&record) });
                }
            }
        }
        self.success.resize_with(self.collectors.len(), Default::default);
    }

    /// What waits, by the terms of the new rules. A task that they leave as it is keeps its place in line.
    fn put_all_where_they_belong(&mut self, now: Now) -> Vec<Change> {
        let mut edit = Edit::default();
        let all: Vec<GapSlot> = self.book.gaps().map(|(gap, _)| gap).collect();
        for gap in all {
            if !self.runs(gap) {
                self.put_where_it_belongs(gap, &mut edit);
            }
        }
        let waiting: Vec<TaskSlot> = self.book.tasks().filter(|(_, task)| task.phase != Phase::Running).map(|(task, _)| task).collect();
        for task in waiting {
            if edit.touched.contains_key(&task) {
                continue;
            }
            self.cut(task, &mut edit);
            if !edit.touched.contains_key(&task) {
                self.note_room(task);
                self.move_to_its_class(task, now);
            }
        }
        // Of those that were touched, what is left may still be too many.
        let touched: Vec<TaskSlot> = edit.touched.keys().copied().collect();
        touched.into_iter().for_each(|task| self.cut(task, &mut edit));
        // Who has lost a gap is another task, and was not passed by anybody.
        edit.touched.values_mut().for_each(|was| was.patience = None);
        self.finish(edit, now)
    }

    fn put_where_it_belongs(&mut self, gap: GapSlot, edit: &mut Edit) {
        let entry = self.book.gap(gap);
        let (was, dataset) = (entry.bucket, usize::from(entry.dataset));
        let before = self.book.bucket(was).clone();
        let terms = &self.rules.datasets[dataset];
        let source = terms.source.as_deref().and_then(|source| self.source_ix(source));
        let collector = terms.collector.as_deref().and_then(|collector| self.collector_ix(collector));
        let Bucket { priority, group, .. } = before.clone();
        let after = self.bucket(source, collector, priority, group);
        let moves = after != before;
        let in_task = self.book.gap(gap).task().is_some();
        if !moves && (in_task || collector.is_none() || self.book.stands_back(gap)) {
            return;
        }
        let collector_before = self.collector_of_bucket(was);
        self.touch_task_of(gap, edit);
        let after = self.book.bucket_at(after);
        self.book.gap_mut(gap).bucket = after;
        match collector_before.filter(|_| in_task) {
            Some(collector) => edit.release(&mut self.book, gap, &collector),
            None if self.book.stands_back(gap) => self.book.goes_on_standing_back(gap),
            None => drop(edit.pool.insert(gap)),
        }
    }

    /// A task that has more gaps than one may have now leaves the last of them to others.
    fn cut(&mut self, task: TaskSlot, edit: &mut Edit) {
        let bucket = self.book.task(task).bucket;
        let Some((collector, cut)) = terms(&self.book, &self.rules, bucket) else { return };
        let collector = collector.to_owned();
        let surplus: BTreeSet<GapSlot> = self.book.task(task).gaps.iter().skip(cut).copied().collect();
        if surplus.is_empty() {
            return;
        }
        if let Entry::Vacant(untouched) = edit.touched.entry(task) {
            untouched.insert(self.unqueue(task));
        }
        for gap in surplus {
            if self.book.gap(gap).task() == Some(task) {
                edit.release(&mut self.book, gap, &collector);
            }
        }
    }

    /// What it takes to start may be something else now.
    fn move_to_its_class(&mut self, task: TaskSlot, now: Now) {
        let Phase::Ready(class) = self.book.task(task).phase else { return };
        if *self.classes.class(class).0 != self.class_key(task) {
            let was: Was = self.unqueue(task);
            self.enter_class(task, was, now);
            self.classes.settle();
        }
    }
}

/// The new rules, with everything that was there before at its place.
fn beside(before: &Rules, after: Rules) -> Rules {
    Rules {
        sources: at_their_places(&before.sources, after.sources),
        collectors: at_their_places(&before.collectors, after.collectors),
        datasets: at_their_places(&before.datasets, after.datasets),
        ..after
    }
}

fn at_their_places<T: Clone>(before: &IndexMap<Arc<str>, T>, mut after: IndexMap<Arc<str>, T>) -> IndexMap<Arc<str>, T> {
    let known = before.iter().map(|(name, was)| (name.clone(), after.shift_remove(name).unwrap_or_else(|| was.clone())));
    let mut all: IndexMap<Arc<str>, T> = known.collect();
    all.extend(after);
    all
}
