//! Breakers, told again: so many failures in a row open one, for its cooldown nothing starts, then one probe decides.

use adce_core::gap::{Fault, Outcome};
use adce_core::ids::{AttemptId, GapId};
use adce_core::ports::Answer;
use adce_core::record::SourceRecord;
use adce_core::spec::BreakerPolicy;

use crate::facts::Moment;
use crate::scenario::Micros;

pub struct Breaker {
    policy: Option<BreakerPolicy>,
    failures_in_a_row: u32,
    /// Shut until then, and half-open afterwards; `None`: closed.
    shut_until: Option<Micros>,
    probe: Option<AttemptId>,
}

impl Breaker {
    pub fn new(policy: Option<BreakerPolicy>) -> Self {
        Breaker { policy, failures_in_a_row: 0, shut_until: None, probe: None }
    }

    pub fn restart(&mut self, record: Option<&SourceRecord>, moment: Moment) {
        *self = Breaker::new(self.policy);
        let (Some(policy), Some(record)) = (self.policy, record) else { return };
        self.failures_in_a_row = record.failures.min(policy.failures - 1);
        self.shut_until = record.open_until.map(|until| {
            let left = until.duration_since(moment.now.wall).as_micros().max(0) as Micros;
            moment.at + left.min(policy.cooldown.as_micros() as Micros)
        });
    }

    /// May anything of this source start, or (a request of a running attempt) be sent, at `at`?
    pub fn lets_pass(&self, who: Option<AttemptId>, at: Micros) -> bool {
        match self.shut_until {
            None => true,
            Some(_) if self.probe.is_some() => who.is_some() && who == self.probe,
            Some(until) => at >= until,
        }
    }

    pub fn passed(&mut self, who: AttemptId) {
        if self.shut_until.is_some() {
            self.probe.get_or_insert(who);
        }
    }

    pub fn met(&mut self, who: AttemptId, failure: bool, at: Micros) {
        let Some(policy) = self.policy else { return };
        let decides = match self.shut_until {
            None => {
                self.failures_in_a_row = if failure { self.failures_in_a_row + 1 } else { 0 };
                self.failures_in_a_row >= policy.failures
            }
            Some(_) if self.probe == Some(who) => true,
            Some(_) => return,
        };
        if !decides {
            return;
        }
        self.probe = None;
        self.shut_until = failure.then(|| at + policy.cooldown.as_micros() as Micros);
        if !failure {
            self.failures_in_a_row = 0;
        }
    }

    /// A probe that met nothing makes room for another.
    pub fn ended(&mut self, who: AttemptId, at: Micros) {
        if self.probe == Some(who) {
            self.probe = None;
            self.shut_until = Some(at);
        }
    }
}

/// 429, 5xx and no answer are the source's failures.
pub fn is_failure(answer: Answer) -> bool {
    match answer {
        Answer::NoAnswer => true,
        Answer::Status { code, .. } => code == 429 || code >= 500,
    }
}

/// What the end of an attempt says of its source, where nobody saw its answers.
pub fn verdict(outcomes: &[(GapId, Outcome)]) -> Option<bool> {
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Failed(failure) if failure.fault == Fault::Source);
    let answered = |outcome: &Outcome| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged | Outcome::Absent);
    if outcomes.iter().any(|(_, outcome)| refused(outcome)) {
        return Some(true);
    }
    outcomes.iter().any(|(_, outcome)| answered(outcome)).then_some(false)
}
