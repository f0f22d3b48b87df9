//! Under demand that never ends, at least 99 % of what promise 2 leaves is used: N·W/(W + mean settle time) a window; of a source that
//! tells requests apart, of the windows that each value has for itself, by each of them.

use std::collections::HashMap;

use adce_core::ports::{PermitId, Settlement};

use crate::clocks::{BEGIN, Clocks};
use crate::facts::{Checker, Fact, Figures, Moment, Wrong};
use crate::scenario::{HOUR, Micros, Scenario, Value};

const LEAST_SHARE: f64 = 0.99;

pub struct Quota {
    scenario: Scenario,
    sent: Vec<Vec<(Option<Value>, Micros)>>,
    out: HashMap<PermitId, (usize, Micros)>,
    settle_times: Vec<Vec<Micros>>,
}

impl Quota {
    pub fn new(scenario: &Scenario) -> Self {
        let sources = scenario.sources.len();
        Quota { sent: vec![Vec::new(); sources], out: HashMap::new(), settle_times: vec![Vec::new(); sources], scenario: scenario.clone() }
    }

    /// Of the source's quota, by whoever uses least of its own; `None`: it has none.
    fn share(&self, source: usize) -> Option<f64> {
        let settle_times = &self.settle_times[source];
        let mean = settle_times.iter().sum::<Micros>() as f64 / settle_times.len().max(1) as f64;
        let limits = self.scenario.sources[source].each.as_ref().unwrap_or(&self.scenario.sources[source].limits);
        let windows = limits.windows.iter();
        let rates = windows.map(|window| {
            let cycle = window.span.as_micros() as f64 + mean;
            (f64::from(window.requests) / cycle, cycle)
        });
        let (rate, cycle) = rates.min_by(|one, other| one.0.total_cmp(&other.0))?;
        // Whole cycles, so that it does not matter where in one the world ends.
        let day = (self.scenario.hours * HOUR) as f64;
        let span = (day / cycle).floor() * cycle;
        let end = BEGIN + span as Micros;
        let mut sent: HashMap<Option<Value>, u64> = HashMap::new();
        self.sent[source].iter().filter(|(_, at)| *at < end).for_each(|(value, _)| *sent.entry(*value).or_default() += 1);
        let least = sent.values().copied().min().unwrap_or(0);
        Some(least as f64 / (span * rate))
    }
}

impl Checker for Quota {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        if !self.scenario.endless {
            return;
        }
        match fact {
            Fact::Sent { source, permit, value, .. } => {
                self.sent[*source].push((*value, moment.at));
                self.out.insert(*permit, (*source, moment.at));
            }
            Fact::Settled { permit, how: Settlement::ArrivedBy(by) } => {
                if let Some((source, sent)) = self.out.remove(permit) {
                    // No world with endless demand reboots.
                    self.settle_times[source].push(Clocks::default().world(*by) - sent);
                }
            }
            Fact::Ends { .. } => {
                for source in 0..self.sent.len() {
                    let share = self.share(source);
                    if share.is_some_and(|share| share < LEAST_SHARE) {
                        let what =
                            format!("{}: {:.2} % of its quota used", self.scenario.sources[source].name, share.unwrap_or(0.0) * 100.0);
                        wrong.push(Wrong { checker: "quota", at: moment.at, what });
                    }
                }
            }
            _ => {}
        }
    }

    fn figures(&self, scenario: &Scenario, figures: &mut Figures) {
        if scenario.endless {
            figures.quota_used = (0..self.sent.len()).filter_map(|source| self.share(source)).collect();
        }
    }
}
