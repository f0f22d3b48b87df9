//! Breakers, told again: so many failures in a row open one, or so large a share of the latest outcomes; for its pause
//! nothing starts, then one probe decides; each probe that fails doubles the pause, up to a cap.

use std::collections::HashMap;

use adce_core::gap::{Fault, Outcome};
use adce_core::ids::{AttemptId, GapId};
use adce_core::ports::Answer;
use adce_core::record::BreakerRecord;
use adce_core::spec::BreakerPolicy;

use crate::facts::Moment;
use crate::scenario::Micros;

pub struct Breaker {
    policy: Option<BreakerPolicy>,
    failures_in_a_row: u32,
    /// All outcomes since it was closed last.
    outcomes: Vec<(Micros, bool)>,
    /// Shut until then, and half-open afterwards; `None`: closed.
    shut_until: Option<Micros>,
    probes_failed: u32,
    probe: Option<AttemptId>,
    asked: HashMap<AttemptId, Micros>,
    throttled_at: Option<Micros>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Met {
    Good,
    Bad,
    Throttled,
}

impl Breaker {
    pub fn new(policy: Option<BreakerPolicy>) -> Self {
        Breaker {
            policy,
            failures_in_a_row: 0,
            outcomes: Vec::new(),
            shut_until: None,
            probes_failed: 0,
            probe: None,
            asked: HashMap::new(),
            throttled_at: None,
        }
    }

    pub fn restart(&mut self, record: Option<&BreakerRecord>, moment: Moment) {
        *self = Breaker::new(self.policy);
        let (Some(policy), Some(record)) = (self.policy, record) else { return };
        self.failures_in_a_row = record.failures.min(policy.failures - 1);
        self.probes_failed = record.probes_failed;
        self.shut_until = record.open_until.map(|until| {
            let left = until.duration_since(moment.now.wall).as_micros().max(0) as Micros;
            moment.at + left.min(self.pause(policy))
        });
    }

    fn pause(&self, policy: BreakerPolicy) -> Micros {
        let [first, longest] = [policy.cooldown, policy.cooldown_max].map(|pause| pause.as_micros());
        ((first << self.probes_failed.min(30)).min(longest)) as Micros
    }

    /// May anything of it start, or (a request of a running attempt) be sent, at `at`?
    pub fn lets_pass(&self, who: Option<AttemptId>, at: Micros) -> bool {
        match self.shut_until {
            None => true,
            Some(_) if self.probe.is_some() => who.is_some() && who == self.probe,
            Some(until) => at >= until,
        }
    }

    pub fn passed(&mut self, who: AttemptId, at: Micros) {
        self.asked.insert(who, at);
        if self.shut_until.is_some() {
            self.probe.get_or_insert(who);
        }
    }

    pub fn met(&mut self, who: AttemptId, met: Met, at: Micros) {
        let Some(policy) = self.policy else { return };
        let failure = met != Met::Good;
        match self.shut_until {
            None if met == Met::Throttled && self.asked.get(&who).is_some_and(|asked| Some(*asked) <= self.throttled_at) => {}
            None => {
                self.failures_in_a_row = if failure { self.failures_in_a_row + 1 } else { 0 };
                self.outcomes.push((at, failure));
                if met == Met::Throttled {
                    self.throttled_at = Some(at);
                }
                if failure && (self.failures_in_a_row >= policy.failures || self.too_many_of_the_latest(policy, at)) {
                    self.probes_failed = 0;
                    self.shut(policy, at);
                }
            }
            Some(_) if self.probe == Some(who) && failure => {
                self.probes_failed += 1;
                self.shut(policy, at);
            }
            Some(_) if self.probe == Some(who) => {
                self.probe = None;
                self.shut_until = None;
                self.failures_in_a_row = 0;
            }
            Some(_) => {}
        }
    }

    fn too_many_of_the_latest(&self, policy: BreakerPolicy, at: Micros) -> bool {
        let Some(rate) = policy.rate else { return false };
        let Some(first) = self.outcomes.len().checked_sub(rate.of as usize) else { return false };
        let latest = &self.outcomes[first..];
        let failed = latest.iter().filter(|(_, failed)| *failed).count() as f64;
        latest[0].0 + rate.within.as_micros() as Micros >= at && failed * 1_000.0 >= f64::from(rate.permille) * f64::from(rate.of)
    }

    fn shut(&mut self, policy: BreakerPolicy, at: Micros) {
        self.probe = None;
        self.shut_until = Some(at + self.pause(policy));
        self.outcomes.clear();
    }

    /// A probe that met nothing makes room for another.
    pub fn ended(&mut self, who: AttemptId, at: Micros) {
        self.asked.remove(&who);
        if self.probe == Some(who) {
            self.probe = None;
            self.shut_until = Some(at);
        }
    }

    pub fn is_closed(&self) -> bool {
        self.shut_until.is_none()
    }
}

/// The breaker of a collector: crashes on different tasks in a row open it.
pub struct Crashes {
    pub breaker: Breaker,
    /// First gaps of the tasks that it crashed on since it last did not.
    on: Vec<GapId>,
}

impl Crashes {
    pub fn new(policy: Option<BreakerPolicy>) -> Self {
        Crashes { breaker: Breaker::new(policy), on: Vec::new() }
    }

    pub fn restart(&mut self, record: Option<&BreakerRecord>, moment: Moment) {
        self.breaker.restart(record, moment);
        self.on.clear();
    }

    /// `for_the_source`: it failed over what the source had answered, or for want of an answer.
    pub fn met(&mut self, who: AttemptId, first: GapId, outcomes: &[(GapId, Outcome)], for_the_source: bool, at: Micros) {
        let fault = |outcome: &Outcome| match outcome {
            Outcome::Failed(failure) if for_the_source && matches!(failure.fault, Fault::Item | Fault::Collector | Fault::Unwritten) => {
                Some(Fault::Source)
            }
            Outcome::Failed(failure) => Some(failure.fault),
            _ => None,
        };
        let faults: Vec<Option<Fault>> = outcomes.iter().map(|(_, outcome)| fault(outcome)).collect();
        if faults.iter().all(|fault| matches!(fault, Some(Fault::Source | Fault::Later | Fault::Stopped))) {
            return;
        }
        let was_closed = self.breaker.is_closed();
        if faults.iter().any(|fault| *fault != Some(Fault::Collector)) {
            self.on.clear();
            self.breaker.met(who, Met::Good, at);
        } else if !(was_closed && self.on.contains(&first)) {
            self.on.push(first);
            self.breaker.met(who, Met::Bad, at);
        }
        if was_closed != self.breaker.is_closed() || (!was_closed && self.breaker.probe.is_none()) {
            self.on.clear();
        }
    }
}

/// 429, 5xx and no answer are the source's failures.
pub fn of_answer(answer: Answer) -> Met {
    match answer {
        Answer::NoAnswer | Answer::NotReached => Met::Bad,
        Answer::Status { code: 429, .. } => Met::Throttled,
        Answer::Status { code, .. } => {
            if code >= 500 {
                Met::Bad
            } else {
                Met::Good
            }
        }
    }
}

/// What the end of an attempt says of its source, where nobody saw its answers.
pub fn verdict(outcomes: &[(GapId, Outcome)]) -> Option<Met> {
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Failed(failure) if failure.fault == Fault::Source);
    let answered = |outcome: &Outcome| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged | Outcome::Absent);
    if outcomes.iter().any(|(_, outcome)| refused(outcome)) {
        return Some(Met::Bad);
    }
    outcomes.iter().any(|(_, outcome)| answered(outcome)).then_some(Met::Good)
}
