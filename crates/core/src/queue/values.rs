//! What each value of a source has for itself besides its limits: a breaker, where the config declares one `by` a value.
//!
//! It holds the requests and the tasks of its value, and nobody else's (`a_breaker_of_a_value_holds_that_value_alone`): its class
//! sleeps, as one does that its own limits refuse, until a probe may start or somebody learns something. Requests of which nobody
//! knows whose they are (programs by hand) have none, for what they meet says nothing of any value.

use std::collections::HashMap;

use super::attempt::told;
use super::classes::{ClassKey, TaskSlot};
use super::dispatcher::{BreakerMark, mark_of, value_in};
use super::pick::open;
use super::{Dispatcher, Gate};
use crate::ids::{AttemptId, ValueId};
use crate::limits::SourceIx;
use crate::limits::breaker::{self, Breaker};
use crate::limits::breakers::Breakers;
use crate::record::{BreakerRecord, Change, SourceRecord};
use crate::spec::BreakerPolicy;
use crate::time::{Boottime, Now};

#[derive(Clone, Debug)]
pub(super) struct OfValues {
    breakers: Breakers,
    /// What was last remembered, to be compared; of most there is nothing.
    saved: HashMap<ValueId, BreakerMark>,
}

impl OfValues {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        OfValues { breakers: Breakers::new(policy), saved: HashMap::new() }
    }

    pub(super) fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    pub(super) fn remembered(&self) -> usize {
        self.breakers.known().count() + self.saved.len()
    }
}

impl Dispatcher {
    pub(super) fn of_values(&self, source: SourceIx) -> Option<&OfValues> {
        self.sources[source.0 as usize].of_values.as_ref()
    }

    fn breaker_of_value(&self, source: SourceIx, value: Option<ValueId>) -> Option<&Breaker> {
        self.of_values(source)?.breakers.of(value?)
    }

    /// A value that may not be asked for now, whatever else may.
    pub(super) fn value_gate(&self, source: SourceIx, value: Option<ValueId>, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let (until, trip) = open(self.breaker_of_value(source, value)?, now)?;
        let gate = Gate::Breaker {
            source: self.source_name(source).into(),
            value: self.named(source, value),
            until: until.map(|until| now.wall_at(until)),
            since: trip.since,
            reason: trip.reason.clone(),
        };
        Some((gate, until))
    }

    /// Of the tasks of a class.
    pub(super) fn value_gate_of(&self, key: &ClassKey, now: Now) -> Option<(Gate, Option<Boottime>)> {
        self.value_gate(key.source?, key.value, now)
    }

    /// Likewise, to a request of an attempt; the one that probes goes on.
    pub(super) fn value_gate_for(&self, attempt: AttemptId, source: SourceIx, now: Now) -> Option<(Gate, Option<Boottime>)> {
        self.of_values(source)?;
        let value = self.value_of(attempt, source);
        let probes = self.breaker_of_value(source, value).is_some_and(|breaker| breaker.probe() == Some(attempt));
        if probes { None } else { self.value_gate(source, value, now) }
    }

    /// It starts, or sends one more request.
    pub(super) fn asks_for_value(&mut self, attempt: AttemptId, source: SourceIx, value: Option<ValueId>, now: Boottime) {
        if let (Some(of_values), Some(value)) = (&mut self.sources[source.0 as usize].of_values, value) {
            of_values.breakers.started(value, attempt, now);
        }
    }

    pub(super) fn met_for_value(
        &mut self,
        attempt: AttemptId,
        (source, value): (SourceIx, Option<ValueId>),
        met: breaker::Met,
        reason: &str,
        now: Now,
    ) -> Vec<Change> {
        let (Some(of_values), Some(value)) = (&mut self.sources[source.0 as usize].of_values, value) else { return Vec::new() };
        let turn = of_values.breakers.met(value, attempt, met, reason, now);
        let mut changes: Vec<Change> = self.save_value(source, value, now).into_iter().collect();
        if let Some(turn) = turn {
            self.classes.wake_value(source, value, &self.book);
            let whose = format!("source `{}`, {}", self.source_name(source), self.named(source, Some(value)).unwrap_or_default());
            changes.push(told(&whose, turn, reason, now));
        }
        changes
    }

    /// Remembers a value whose breaker is not what was remembered last.
    fn save_value(&mut self, source: SourceIx, value: ValueId, now: Now) -> Option<Change> {
        let name = self.named(source, Some(value))?;
        let of_values = self.sources[source.0 as usize].of_values.as_mut()?;
        let record = of_values.breakers.of(value).map(|breaker| breaker.to_record(now)).unwrap_or_default();
        let (mark, nothing) = (mark_of(&record), mark_of(&BreakerRecord::default()));
        let before = match mark == nothing {
            true => of_values.saved.remove(&value),
            false => of_values.saved.insert(value, mark),
        };
        if before.unwrap_or(nothing) == mark {
            return None;
        }
        let record = (mark != nothing).then(|| SourceRecord { breaker: record, ..SourceRecord::default() });
        Some(Change::PutValue { source: self.source_name(source).into(), value: name, record })
    }

    /// What an earlier engine left. What is of another `by`, or of none any more, goes.
    pub(super) fn restore_values(&mut self, mut records: HashMap<String, HashMap<String, SourceRecord>>, now: Now) -> Vec<Change> {
        for at in 0..self.sources.len() {
            let source = SourceIx(at as u32);
            let (Some(by), true) = (self.rules.told_apart(source), self.of_values(source).is_some()) else { continue };
            let (by, name) = (format!("{}=", by.name), self.source_name(source).to_owned());
            let Some(of_source) = records.get_mut(&name) else { continue };
            for (text, record) in of_source.extract_if(|text, _| text.starts_with(&by)) {
                let value = self.grants.name(&text[by.len()..]);
                let Some(of_values) = &mut self.sources[at].of_values else { continue };
                of_values.breakers.restore(value, &record.breaker, now);
                of_values.saved.insert(value, mark_of(&record.breaker));
            }
        }
        let left = records.into_iter().flat_map(|(source, of_source)| of_source.into_keys().map(move |value| (source.clone(), value)));
        left.map(|(source, value)| Change::PutValue { source, value, record: None }).collect()
    }

    /// A probe that met nothing makes room for another. `task`: what it was an attempt at.
    pub(super) fn leaves_values(&mut self, attempt: AttemptId, task: TaskSlot, now: Boottime) {
        for at in 0..self.sources.len() {
            let source = SourceIx(at as u32);
            if self.of_values(source).is_none() {
                continue;
            }
            let Some(value) = self.value_of_task(task, source) else { continue };
            let Some(of_values) = &mut self.sources[at].of_values else { continue };
            if of_values.breakers.ended(value, attempt, now) {
                self.classes.wake_value(source, value, &self.book);
            }
        }
    }

    /// The value that a task has of the source's `by`, if it has one.
    pub(super) fn value_of_task(&self, task: TaskSlot, source: SourceIx) -> Option<ValueId> {
        self.rules.told_apart(source)?;
        let bucket = self.book.bucket(self.book.task(task).bucket);
        if bucket.source == Some(source) {
            return bucket.value;
        }
        value_in(&self.rules, &bucket.group, (bucket.source, bucket.collector?), source).map(ValueId::of)
    }

    /// Failures of values that have no task any more are forgotten, but for those that are shut.
    pub(super) fn forget_values(&mut self, is_used: impl Fn(ValueId) -> bool) -> Vec<Change> {
        let mut changes = Vec::new();
        for at in 0..self.sources.len() {
            let source = SourceIx(at as u32);
            let Some(of_values) = &mut self.sources[at].of_values else { continue };
            for value in of_values.breakers.forget_all_but(&is_used) {
                let was_saved = self.sources[at].of_values.as_mut().is_some_and(|of_values| of_values.saved.remove(&value).is_some());
                let name = self.named(source, Some(value)).filter(|_| was_saved);
                changes.extend(name.map(|value| Change::PutValue { source: self.source_name(source).into(), value, record: None }));
            }
        }
        changes
    }

    /// Whose names are still wanted.
    pub(super) fn known_to_breakers(&self, value: ValueId) -> bool {
        let mut of_values = self.sources.iter().filter_map(|source| source.of_values.as_ref());
        of_values.any(|of_values| of_values.breakers.of(value).is_some() || of_values.saved.contains_key(&value))
    }
}
