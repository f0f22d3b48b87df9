//! What holds back a source, a collector or a whole class now, in the words that a person is told, and when that may change by itself.

use super::classes::{ClassKey, CollectorIx};
use super::useful::Crowd;
use super::{Dispatcher, Gate};
use crate::ids::{AttemptId, ValueId};
use crate::limits::breaker::{self, Breaker, Trip};
use crate::limits::{Because, HoldOff, Reach, SourceIx};
use crate::spec::PriorityLevel;
use crate::time::{Boottime, Now};

impl Dispatcher {
    /// One more attempt at its source would only wait for permits.
    pub(super) fn would_wait(&self, key: &ClassKey, crowd: &Crowd) -> Gate {
        let source = key.source.map_or("", |source| self.source_name(source)).into();
        Gate::WouldWait { source, at_work: crowd.at_work, slots: self.rules.slots }
    }

    /// Nothing of the class may start now, whatever the limits say, and when that may change by itself.
    pub(super) fn shut(&self, key: &ClassKey, now: Now) -> Option<(Gate, Option<Boottime>)> {
        self.shut_for_any_value(key, now).or_else(|| self.value_gate_of(key, now))
    }

    /// Nor anything of its family.
    pub(super) fn shut_for_any_value(&self, key: &ClassKey, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let by_pause = self.source_pause(key.source).map(|gate| (gate, None));
        let by_source = by_pause.or_else(|| key.source.and_then(|source| self.source_gate(source, now)));
        by_source.or_else(|| self.collector_gate(key.collector, now)).or_else(|| {
            let (gate, until) = self.cap_gate(key, now)?;
            // A look that takes its time ends when it ends.
            Some((gate, Some(until).filter(|until| *until > now.boot)))
        })
    }

    /// A source that may not be asked at all now.
    pub(super) fn source_gate(&self, source: SourceIx, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let name = || self.source_name(source).to_owned();
        if let Some((until, trip)) = open(&self.sources[source.0 as usize].breaker, now) {
            let gate = Gate::Breaker {
                source: name(),
                value: None,
                until: until.map(|until| now.wall_at(until)),
                since: trip.since,
                reason: trip.reason.clone(),
            };
            return Some((gate, until));
        }
        let until = self.grants.limiter().paused_until(source, now.boot)?;
        Some((self.pause_gate(source, until, now), Some(until)))
    }

    pub(super) fn pause_gate(&self, source: SourceIx, until: Boottime, now: Now) -> Gate {
        let because = self.sources[source.0 as usize].paused_because.clone();
        Gate::RetryAfter { source: self.source_name(source).into(), value: None, until: now.wall_at(until), because }
    }

    /// A collector that may not be started now.
    pub(super) fn collector_gate(&self, collector: CollectorIx, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let (until, trip) = open(&self.collectors[usize::from(collector)].breaker, now)?;
        let gate = Gate::CollectorBreaker {
            collector: self.collector_name(collector).to_owned(),
            until: until.map(|until| now.wall_at(until)),
            since: trip.since,
            reason: trip.reason.clone(),
        };
        Some((gate, until))
    }

    /// `key`: of whom it is refused to.
    pub(super) fn limit_gate(&self, key: &ClassKey, refusal: &HoldOff) -> Gate {
        let (because, limit) = (refusal.because(), limit_words(refusal));
        let source = key.source.filter(|_| because.reach() != Reach::AllSources).map(|source| self.source_name(source).to_owned());
        let value = (because.reach() == Reach::Value).then(|| key.source.and_then(|source| self.named(source, key.value))).flatten();
        match because {
            Because::SetAside { .. } => {
                Gate::SetAside { source, value, limit, for_priorities: self.set_aside_for_others(key.priority), until: refusal.at() }
            }
            _ => Gate::Limit { source, value, limit, until: refusal.at() },
        }
    }

    /// Likewise, to a request of an attempt.
    pub(super) fn limit_gate_of(&self, attempt: AttemptId, source: SourceIx, refusal: &HoldOff) -> Gate {
        let (value, priority) = (self.value_of(attempt, source), self.priority_of(attempt));
        self.limit_gate(&ClassKey { source: Some(source), value, collector: 0, priority, band: 0, ask: None }, refusal)
    }

    /// `customer=acme`, for a person. Of whose nobody knows: `customer=?`.
    pub(super) fn named(&self, source: SourceIx, value: Option<ValueId>) -> Option<String> {
        let by = self.rules.sources[source.0 as usize].by.as_ref()?;
        let value = value.and_then(|value| self.grants.name_of(value));
        Some(format!("{}={}", by.name, value.as_deref().unwrap_or("?")))
    }

    /// Slots are free, but not for this priority.
    pub(super) fn slots_set_aside(&self, priority: PriorityLevel) -> Gate {
        Gate::SlotsSetAside { slots: self.rules.slots, for_priorities: self.set_aside_for_others(priority) }
    }

    fn set_aside_for_others(&self, priority: PriorityLevel) -> Vec<PriorityLevel> {
        self.rules.reserve.shares().map(|(owner, _)| owner).filter(|owner| *owner != priority).collect()
    }
}

/// What refuses, as the config says it: `per_minute: 60`.
pub(super) fn limit_words(refusal: &HoldOff) -> String {
    let because = refusal.because();
    match because.window() {
        Some(window) => format!("{}: {}", window.key(), window.requests),
        None => because.word().to_owned(),
    }
}

/// The next probe (`None`: it is under way), and why the breaker is open; `None`: something may start.
pub(super) fn open(breaker: &Breaker, now: Now) -> Option<(Option<Boottime>, &Trip)> {
    let until = match breaker.gate(now.boot) {
        breaker::Gate::ShutUntil(until) => Some(until),
        breaker::Gate::Probing => None,
        breaker::Gate::Open | breaker::Gate::Probe => return None,
    };
    Some((until, breaker.trip_now()?))
}
