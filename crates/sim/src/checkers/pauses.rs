//! `Retry-After` is obeyed by the whole source: between the answer that asked for it and its end nothing is sent, and no
//! task that would send something begins.

use std::collections::HashMap;

use adce_core::gap::{Fault, Outcome};
use adce_core::ids::AttemptId;
use adce_core::ports::{Answer, RetryAfter};
use adce_core::queue::Charge;

use crate::facts::{Checker, Fact, Moment, Wrong};
use crate::scenario::{Micros, SECOND, Scenario};

pub struct Pauses {
    names: Vec<String>,
    /// By source, world time.
    until: Vec<Micros>,
    source_of: HashMap<AttemptId, usize>,
}

impl Pauses {
    pub fn new(scenario: &Scenario) -> Self {
        let names: Vec<String> = scenario.sources.iter().map(|source| source.name.clone()).collect();
        Pauses { until: vec![0; names.len()], names, source_of: HashMap::new() }
    }

    fn asked(&mut self, source: usize, at: Micros, seconds: u64) {
        self.until[source] = self.until[source].max(at + seconds * SECOND);
    }

    fn must_not_be_paused(&self, source: usize, at: Micros, what: &str, wrong: &mut Vec<Wrong>) {
        if at < self.until[source] {
            let left = (self.until[source] - at) as f64 / SECOND as f64;
            let what = format!("{}: {what} {left:.3} s before its `Retry-After` is over", self.names[source]);
            wrong.push(Wrong { checker: "pauses", at, what });
        }
    }
}

impl Checker for Pauses {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        let at = moment.at;
        match fact {
            Fact::Answered { source, answer: Answer::Status { code, retry_after: Some(RetryAfter::Seconds(seconds)), .. }, .. }
                if (*code == 429 || *code >= 500) =>
            {
                self.asked(*source, at, *seconds);
            }
            Fact::Ended { attempt, outcomes } => {
                let Some(source) = self.source_of.remove(attempt) else { return };
                for (_, outcome) in *outcomes {
                    if let Outcome::Failed(failure) = outcome
                        && matches!(failure.fault, Fault::Source | Fault::Later)
                        && let Some(seconds) = failure.retry_after_s
                    {
                        self.asked(source, at, seconds);
                    }
                }
            }
            Fact::Picked { start } => {
                let Some(name) = &start.task.source else { return };
                let source = self.names.iter().position(|known| known == name).expect("a known source");
                self.source_of.insert(start.attempt, source);
                if start.charge != Charge::Nothing {
                    self.must_not_be_paused(source, at, "a task begins", wrong);
                }
            }
            Fact::Sent { source, .. } => self.must_not_be_paused(*source, at, "a request is sent", wrong),
            // What was asked for just before a crash may be forgotten: it is not what promise 4 is about.
            Fact::Crashed => {
                self.until.fill(0);
                self.source_of.clear();
            }
            _ => {}
        }
    }
}
