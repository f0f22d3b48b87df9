//! A backfill of years beside tonight's games, with and without `reserve`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use adce_core::record::Change;
use adce_core::spec::{PriorityLevel, Reserve};
use adce_sim::checkers;
use adce_sim::facts::{Checker, Fact, Moment, Wrong};
use adce_sim::scenario::{MINUTE, Micros, Scenario};
use adce_sim::scenario_text::read;
use adce_sim::world::World;

/// A game every two hours, and as much history as anybody could want; attempts of the history take a while.
const NIGHTS: &str = "\
world seed=3 hours=12 slots=5 reconcile=15m commit=1ms..3ms
source espn per_minute=30 per_hour=300 latency=200ms..2s breaker=off
collector page kind=http
collector years kind=charged batch=20
dataset tonight source=espn collector=page priority=critical items=5 first_due=95m due_every=2h
dataset backfill source=espn collector=years priority=low items=4500
";

/// From being a task to its start.
#[derive(Default)]
struct Waits {
    since: HashMap<String, Micros>,
    longest: Arc<Mutex<Micros>>,
    started: Arc<Mutex<usize>>,
}

impl Checker for Waits {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, _wrong: &mut Vec<Wrong>) {
        match fact {
            Fact::Decided { changes } => {
                for change in *changes {
                    if let Change::PutTask(task) = change
                        && task.priority == PriorityLevel::Critical
                    {
                        self.since.entry(task.key.clone()).or_insert(moment.at);
                    }
                }
            }
            Fact::Picked { start } if start.task.priority == PriorityLevel::Critical => {
                let waited = moment.at - self.since[&start.task.key];
                let mut longest = self.longest.lock().unwrap();
                *longest = waited.max(*longest);
                *self.started.lock().unwrap() += 1;
            }
            _ => {}
        }
    }
}

fn longest_wait_of_tonight(reserve: Reserve) -> Micros {
    let scenario = Scenario { reserve, ..read(NIGHTS).unwrap() };
    let waits = Waits::default();
    let (longest, started) = (waits.longest.clone(), waits.started.clone());
    let mut checkers = checkers::all(&scenario);
    checkers.push(Box::new(waits));
    let verdict = World::new(scenario, checkers).run();
    let wrong: Vec<_> = verdict.wrong.iter().filter(|wrong| wrong.checker != "gaps").collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(*started.lock().unwrap(), 5);
    *longest.lock().unwrap()
}

#[test]
fn a_backfill_of_years_never_delays_tonights_games_by_more_than_a_window() {
    let without = longest_wait_of_tonight(Reserve::default());
    assert!(without > 20 * MINUTE, "without a reserve the longest wait is {} s", without / 1_000_000);
    let with = longest_wait_of_tonight(Reserve::default().with(PriorityLevel::Critical, 200));
    assert!(with < MINUTE, "with a reserve the longest wait is {} s", with / 1_000_000);
}
