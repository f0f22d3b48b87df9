//! When nothing could be had from a source, by what the scenario says of it: its outages, with what a careful engine
//! needs to trust it again, and the times at which there was no engine. Whoever waits then is not starved.

use crate::clocks::BEGIN;
use crate::scenario::{HOUR, MINUTE, Micros, Scenario, Shows, SourceSpec};

pub struct Closed {
    /// World time, in order and apart from each other; by source, and last where no source is asked.
    spans: Vec<Vec<(Micros, Micros)>>,
}

impl Closed {
    pub fn of(scenario: &Scenario) -> Self {
        let dead: Vec<_> = scenario.crashes.iter().map(|crash| (crash.at, crash.at + crash.dead_for + MINUTE)).collect();
        let with_outages = |source: &SourceSpec| {
            let outages = source.outages.iter().map(|outage| {
                let lasts = outage.to - outage.from;
                let trusts_again = match outage.shows {
                    // The longest pause of its breaker, and one that it asks for.
                    Shows::Refused | Shows::Busy => longest_pause(source) + HOUR,
                    // Asked again after an hour, then after twice as long; and a probe of a doubt.
                    Shows::NoSuchThing => 2 * lasts + 4 * HOUR,
                };
                (outage.from, outage.to + trusts_again)
            });
            apart(outages.chain(dead.iter().copied()).collect())
        };
        Closed { spans: scenario.sources.iter().map(with_outages).chain([apart(dead.clone())]).collect() }
    }

    fn of_source(&self, source: Option<usize>) -> &[(Micros, Micros)] {
        &self.spans[source.unwrap_or(self.spans.len() - 1)]
    }

    /// How much of a time it was open.
    pub fn open_between(&self, source: Option<usize>, from: Micros, to: Micros) -> Micros {
        let closed = self.of_source(source).iter().map(|(begins, ends)| (*ends).min(to).saturating_sub((*begins).max(from)));
        to.saturating_sub(from).saturating_sub(closed.sum())
    }

    pub fn longest(&self, source: Option<usize>) -> Micros {
        self.of_source(source).iter().map(|(begins, ends)| ends - begins).max().unwrap_or(0)
    }
}

pub fn longest_pause(source: &SourceSpec) -> Micros {
    let policies = source.breaker.into_iter().chain(source.each_breaker);
    policies.map(|breaker| breaker.cooldown_max.as_micros() as Micros).max().unwrap_or(0)
}

fn apart(mut spans: Vec<(Micros, Micros)>) -> Vec<(Micros, Micros)> {
    spans.sort();
    let mut apart: Vec<(Micros, Micros)> = Vec::new();
    for (from, to) in spans.into_iter().map(|(from, to)| (from + BEGIN, to + BEGIN)) {
        match apart.last_mut().filter(|last| from <= last.1) {
            Some(last) => last.1 = last.1.max(to),
            None => apart.push((from, to)),
        }
    }
    apart
}
