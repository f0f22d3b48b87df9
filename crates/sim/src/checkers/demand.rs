//! How long whoever waits must have been served by, from nothing but what the scenario asks for and what its limits give.
//!
//! Rough on purpose, and always too long: a source that is asked for less than it gives comes to the end of any backlog,
//! and so to whoever is last in it.

use super::closed::{Closed, longest_pause};
use crate::scenario::{DAY, HOUR, Micros, Scenario, SourceSpec};

/// What one source is asked for and gives.
pub struct Demand {
    /// Requests a day: new items, and those that grow stale.
    a_day: f64,
    /// All that is due at once at the beginning.
    at_first: f64,
    /// Requests a day that its limits let through, what is set aside apart.
    gives: f64,
    longest_closed: Micros,
    longest_pause: Micros,
}

impl Demand {
    pub fn of(scenario: &Scenario, source: Option<usize>, closed: &Closed) -> Self {
        let (mut a_day, mut at_first) = (0.0, 0.0);
        for dataset in scenario.datasets.iter().filter(|dataset| dataset.source == source) {
            let collector = &scenario.collectors[dataset.collector];
            let requests = f64::from(collector.requests.per_task + collector.requests.per_item);
            // What is not there is asked for twice in each longest backoff until it is absent, and then now and then.
            let backoff = collector.retry.backoff_max.as_secs_f64() / 2.0;
            let asked_in_vain = f64::from(dataset.absent) / 1_000.0 * (dataset.absent_policy.after.as_secs_f64() / backoff + 20.0);
            let times = 1.0 + asked_in_vain + dataset.fresh.map_or(0.0, |fresh| (fresh.until / fresh.within) as f64);
            match dataset.due_every {
                0 => at_first += f64::from(dataset.items) * requests * times,
                every => a_day += f64::from(dataset.at_once) * requests * times * DAY as f64 / every as f64,
            }
        }
        let spec = source.map(|source| &scenario.sources[source]);
        let shares: f64 = scenario.reserve.shares().map(|(_, permille)| f64::from(permille) / 1_000.0).sum();
        Demand {
            a_day,
            at_first,
            gives: spec.map_or(10_000.0, gives) * (1.0 - shares),
            longest_closed: closed.longest(source),
            longest_pause: spec.map_or(0, longest_pause),
        }
    }

    /// Until everything is served that gathers in a time in which nothing is to be had, whatever there was at first
    /// included.
    pub fn drains_in(&self) -> Micros {
        let gathered = self.a_day * (self.longest_closed + DAY) as f64 / DAY as f64 + self.at_first;
        let spare = (self.gives - self.a_day).max(self.gives / 10.0);
        2 * self.longest_pause + 2 * HOUR + (gathered / spare * DAY as f64) as Micros
    }

    /// Of its breaker.
    pub fn longest_pause(&self) -> Micros {
        self.longest_pause
    }
}

fn gives(source: &SourceSpec) -> f64 {
    let limits = &source.limits;
    let windows = limits.windows.iter().map(|window| f64::from(window.requests) * 86_400.0 / window.span.as_secs_f64());
    let slowest = (source.latency.to as f64 / 1e6) + limits.min_delay.map_or(0.0, |delay| delay.as_secs_f64());
    let one_by_one = limits.in_flight.or(limits.min_delay.map(|_| 1)).map(|at_once| f64::from(at_once) * 86_400.0 / slowest);
    windows.chain(one_by_one).fold(100_000.0, f64::min)
}
