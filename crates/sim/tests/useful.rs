//! Slots that do work, with and without the rule that sends them there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use adce_core::ids::AttemptId;
use adce_core::queue::Rules;
use adce_sim::checkers;
use adce_sim::clocks::BEGIN;
use adce_sim::facts::{Checker, Fact, Moment, Wrong};
use adce_sim::scenario::{MINUTE, Micros, SECOND, Scenario};
use adce_sim::scenario_text::read;
use adce_sim::world::{Sabotage, World};

/// A site that allows twenty requests a minute, and whose backlog scores higher, beside an API without limits.
const BESIDE: &str = "\
world seed=3 hours=2 slots=5 reconcile=15m commit=1ms..3ms
source site per_minute=20 latency=200ms..400ms breaker=off
source api per_minute=6000 latency=200ms..600ms breaker=off
collector crawl kind=gateway/1 batch=20
collector page kind=http
dataset history source=site collector=crawl priority=high items=400
dataset pages source=api collector=page priority=low items=2000
";

const ALONE: &str = "\
world seed=3 hours=3 slots=5 reconcile=15m commit=1ms..3ms
source site per_minute=20 latency=200ms..8s breaker=off
collector crawl kind=gateway/1 batch=20
dataset history source=site collector=crawl priority=high items=1200
";

#[derive(Clone, Debug, Default)]
struct Seen {
    /// By collector: when the last of its attempts ended.
    ended: HashMap<String, Micros>,
    /// Slots times seconds in which an attempt held one and waited for a permit.
    waited: Micros,
}

#[derive(Default)]
struct Watch {
    collectors: HashMap<AttemptId, String>,
    waits_since: HashMap<AttemptId, Micros>,
    seen: Arc<Mutex<Seen>>,
}

impl Checker for Watch {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, _wrong: &mut Vec<Wrong>) {
        let mut seen = self.seen.lock().unwrap();
        match fact {
            Fact::Picked { start } => drop(self.collectors.insert(start.attempt, start.task.collector.clone())),
            Fact::Waits { attempt, .. } => drop(self.waits_since.entry(*attempt).or_insert(moment.at)),
            Fact::Granted { attempt, .. } => {
                seen.waited += self.waits_since.remove(attempt).map_or(0, |since| moment.at - since);
            }
            Fact::Ended { attempt, .. } => drop(seen.ended.insert(self.collectors[attempt].clone(), moment.at - BEGIN)),
            _ => {}
        }
    }
}

fn live_through(scenario: &str, rules: fn(&mut Rules), checkers: fn(&Scenario) -> Vec<Box<dyn Checker>>) -> Seen {
    let scenario = read(scenario).unwrap();
    let watch = Watch::default();
    let seen = watch.seen.clone();
    let mut checkers = checkers(&scenario);
    checkers.push(Box::new(watch));
    let mut world = World::new(scenario, checkers);
    world.sabotage = Sabotage { rules, ..Sabotage::default() };
    assert_eq!(world.run().wrong, []);
    let seen = seen.lock().unwrap().clone();
    println!("{} s waited in slots; the last ended at {:?}", seen.waited / SECOND, seen.ended);
    seen
}

fn with_the_rule(scenario: &str) -> Seen {
    live_through(scenario, |_| {}, checkers::all)
}

/// The checker of picks would say that it is missing.
fn without_it(scenario: &str) -> Seen {
    live_through(scenario, |rules| rules.adaptive = false, |_| Vec::new())
}

#[test]
fn a_free_source_is_done_while_a_slow_one_works_through_its_backlog_as_fast_as_ever() {
    let (with, without) = (with_the_rule(BESIDE), without_it(BESIDE));
    let (pages, history) = (|seen: &Seen| seen.ended["page"], |seen: &Seen| seen.ended["crawl"]);
    assert!(pages(&with) < 5 * MINUTE, "four slots do it: {} s", pages(&with) / SECOND);
    assert!(pages(&without) > 20 * MINUTE, "it waits for the backlog: {} s", pages(&without) / SECOND);
    assert!(history(&with) <= history(&without) + MINUTE, "the site's rate is used as before");
    assert!(with.waited * 2 < without.waited, "{} s against {} s", with.waited / SECOND, without.waited / SECOND);
}

#[test]
fn alone_a_source_is_done_as_soon_with_the_slots_that_do_work_as_with_all() {
    let (with, without) = (with_the_rule(ALONE), without_it(ALONE));
    let (took, all) = (with.ended["crawl"], without.ended["crawl"]);
    assert!(took <= all + all / 100, "{} s, with all slots {} s", took / SECOND, all / SECOND);
}
