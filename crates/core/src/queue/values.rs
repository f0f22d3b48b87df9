//! What each value of a source has for itself besides its limits: a breaker, where the config declares one `by` a value, and, where
//! only values have limits, the pauses and the slower rate that upstream's answers to it have taught.
//!
//! It holds the requests and the tasks of its value, and nobody else's (`a_breaker_of_a_value_holds_that_value_alone`): its class
//! sleeps, as one does that its own limits refuse, until a probe may start or somebody learns something. Requests of which nobody
//! knows whose they are (programs by hand) have no breaker, for what they meet says nothing of any value.

use std::collections::HashMap;

use super::attempt::told;
use super::classes::{ClassKey, TaskSlot};
use super::dispatcher::{SourceMark, mark_of, value_in};
use super::shut::open;
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
    /// `None`: only answers teach something of a value.
    breakers: Option<Breakers>,
    /// Why values are left alone, if upstream did not ask for it.
    paused_because: HashMap<ValueId, String>,
    /// What was last remembered, to be compared; of most there is nothing.
    saved: HashMap<ValueId, SourceMark>,
}

impl OfValues {
    pub(super) fn new(policy: Option<BreakerPolicy>) -> Self {
        OfValues { breakers: policy.map(Breakers::new), paused_because: HashMap::new(), saved: HashMap::new() }
    }

    /// Those that are not asked because they fail.
    pub(super) fn shut(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.breakers.iter().flat_map(Breakers::shut).map(|(value, _)| value)
    }

    pub(super) fn remembered(&self) -> usize {
        self.breakers.as_ref().map_or(0, |breakers| breakers.known().count()) + self.paused_because.len() + self.saved.len()
    }
}

impl Dispatcher {
    pub(super) fn of_values(&self, source: SourceIx) -> Option<&OfValues> {
        self.sources[source.0 as usize].of_values.as_ref()
    }

    fn breaker_of_value(&self, source: SourceIx, value: Option<ValueId>) -> Option<&Breaker> {
        self.of_values(source)?.breakers.as_ref()?.of(value?)
    }

    /// A value that may not be asked for now, whatever else may.
    pub(super) fn value_gate(&self, source: SourceIx, value: Option<ValueId>, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let Some((until, trip)) = self.breaker_of_value(source, value).and_then(|breaker| open(breaker, now)) else {
            return self.value_pause(source, value?, now);
        };
        let gate = Gate::Breaker {
            source: self.source_name(source).into(),
            value: self.named(source, value),
            until: until.map(|until| now.wall_at(until)),
            since: trip.since,
            reason: trip.reason.clone(),
        };
        Some((gate, until))
    }

    fn value_pause(&self, source: SourceIx, value: ValueId, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let until = self.grants.paused_until(source, Some(value), now.boot)?;
        let because = self.of_values(source)?.paused_because.get(&value).cloned();
        let (source_name, named) = (self.source_name(source).into(), self.named(source, Some(value)));
        Some((Gate::RetryAfter { source: source_name, value: named, until: now.wall_at(until), because }, Some(until)))
    }

    /// `because`: `None` if upstream asked for it.
    pub(super) fn value_paused_because(&mut self, source: SourceIx, value: ValueId, because: Option<String>) {
        let Some(of_values) = &mut self.sources[source.0 as usize].of_values else { return };
        match because {
            Some(because) => drop(of_values.paused_because.insert(value, because)),
            None => drop(of_values.paused_because.remove(&value)),
        }
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
        // All of which nobody knows whose they are have a pause together, and no breaker.
        if probes || value.is_none() {
            return self.value_pause(source, value.unwrap_or_default(), now);
        }
        self.value_gate(source, value, now)
    }

    /// It starts, or sends one more request.
    pub(super) fn asks_for_value(&mut self, attempt: AttemptId, source: SourceIx, value: Option<ValueId>, now: Boottime) {
        let of_values = self.sources[source.0 as usize].of_values.as_mut();
        if let (Some(breakers), Some(value)) = (of_values.and_then(|of_values| of_values.breakers.as_mut()), value) {
            breakers.started(value, attempt, now);
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
        let turn = of_values.breakers.as_mut().and_then(|breakers| breakers.met(value, attempt, met, reason, now));
        let mut changes: Vec<Change> = self.save_value(source, value, now).into_iter().collect();
        if let Some(turn) = turn {
            self.classes.wake_value(source, value, &self.book);
            let whose = format!("source `{}`, {}", self.source_name(source), self.named(source, Some(value)).unwrap_or_default());
            changes.push(told(&whose, turn, reason, now));
        }
        changes
    }

    /// Remembers a value whose breaker, pause or rate is not what was remembered last.
    pub(super) fn save_value(&mut self, source: SourceIx, value: ValueId, now: Now) -> Option<Change> {
        // Of whose nobody knows is not worth a name.
        self.grants.name_of(value)?;
        let name = self.named(source, Some(value))?;
        let paused_until = self.grants.paused_until(source, Some(value), now.boot);
        let learned = self.grants.limiter().learned_of_value(source, value);
        let (learned, learned_mark) = (learned.and_then(|learned| learned.to_record(now)), learned.map(|learned| learned.mark(now.boot)));
        let of_values = self.sources[source.0 as usize].of_values.as_mut()?;
        let breaker = of_values.breakers.as_ref().and_then(|breakers| breakers.of(value)).map(|breaker| breaker.to_record(now));
        let breaker = breaker.unwrap_or_default();
        if paused_until.is_none() {
            of_values.paused_because.remove(&value);
        }
        let mark = (mark_of(&breaker), paused_until, learned_mark.unwrap_or_default());
        let is_something = mark.0 != mark_of(&BreakerRecord::default()) || paused_until.is_some() || learned.is_some();
        let before = if is_something { of_values.saved.insert(value, mark) } else { of_values.saved.remove(&value) };
        if before == is_something.then_some(mark) {
            return None;
        }
        let paused_because = of_values.paused_because.get(&value).cloned();
        let paused_until = paused_until.map(|until| now.wall_at(until));
        let record = is_something.then_some(SourceRecord { breaker, paused_until, paused_because, learned });
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
                let learns = self.grants.limiter().learns_by_value(source);
                let paused_until = record.paused_until.map(|until| now.boot_at(until)).filter(|until| learns && *until > now.boot);
                paused_until.into_iter().for_each(|until| self.grants.pause(source, Some(value), until, now.boot));
                record.learned.iter().for_each(|learned| self.grants.remembers(source, Some(value), learned, now));
                let learned = self.grants.limiter().learned_of_value(source, value).map(|learned| learned.mark(now.boot));
                let Some(of_values) = &mut self.sources[at].of_values else { continue };
                of_values.breakers.iter_mut().for_each(|breakers| breakers.restore(value, &record.breaker, now));
                let because = record.paused_because.filter(|_| paused_until.is_some());
                because.into_iter().for_each(|because| drop(of_values.paused_because.insert(value, because)));
                of_values.saved.insert(value, (mark_of(&record.breaker), paused_until, learned.unwrap_or_default()));
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
            let breakers = self.sources[at].of_values.as_mut().and_then(|of_values| of_values.breakers.as_mut());
            if breakers.is_some_and(|breakers| breakers.ended(value, attempt, now)) {
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

    /// What is known of values that have no task any more is forgotten, but for those that are not asked now.
    pub(super) fn forget_values(&mut self, is_used: impl Fn(ValueId) -> bool, now: Now) -> Vec<Change> {
        let mut changes = Vec::new();
        for at in 0..self.sources.len() {
            let source = SourceIx(at as u32);
            let Some(of_values) = &mut self.sources[at].of_values else { continue };
            of_values.breakers.iter_mut().for_each(|breakers| breakers.forget_all_but(&is_used));
            let saved: Vec<ValueId> = of_values.saved.keys().copied().filter(|value| !is_used(*value)).collect();
            for value in saved.into_iter().filter(|value| self.value_gate(source, Some(*value), now).is_none()).collect::<Vec<_>>() {
                if let Some(of_values) = &mut self.sources[at].of_values {
                    of_values.saved.remove(&value);
                    of_values.paused_because.remove(&value);
                }
                let name = self.named(source, Some(value));
                changes.extend(name.map(|value| Change::PutValue { source: self.source_name(source).into(), value, record: None }));
            }
        }
        changes
    }

    /// Whose names are still wanted.
    pub(super) fn known_to_breakers(&self, value: ValueId) -> bool {
        let mut of_values = self.sources.iter().filter_map(|source| source.of_values.as_ref());
        let fails = |of_values: &OfValues| of_values.breakers.as_ref().is_some_and(|breakers| breakers.of(value).is_some());
        of_values.any(|of_values| fails(of_values) || of_values.saved.contains_key(&value))
    }
}
