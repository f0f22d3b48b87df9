//! Days of simulated adce: two hundred with everything that can go wrong, and some with demand that never ends.
//!
//! A seed that goes red is shown with its violations; `cargo run -p adce-sim -- --seed N` lives through it again.

use std::sync::atomic::{AtomicU64, Ordering};

use adce_sim::facts::Wrong;
use adce_sim::invent::{capped_day, constant_demand, constant_demand_of_many, rough_day};
use adce_sim::scenario::Scenario;
use adce_sim::simulate;
use adce_sim::world::Verdict;

/// Lives through all seeds on all processors.
fn live_through(seeds: u64, invent: fn(u64) -> Scenario) -> Vec<(u64, Verdict)> {
    let next = AtomicU64::new(1);
    let work = || {
        let mut verdicts = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds {
                return verdicts;
            }
            verdicts.push((seed, simulate(invent(seed))));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().flat_map(|handle| handle.join().expect("no world panics")).collect()
    })
}

fn no_promise_is_broken(verdicts: &[(u64, Verdict)]) {
    let broken: Vec<(u64, &[Wrong])> =
        verdicts.iter().filter(|(_, verdict)| !verdict.wrong.is_empty()).map(|(seed, verdict)| (*seed, &verdict.wrong[..])).collect();
    assert!(broken.is_empty(), "seeds with broken promises: {broken:#?}");
}

#[test]
fn two_hundred_rough_days_break_no_promise() {
    let verdicts = live_through(200, rough_day);
    no_promise_is_broken(&verdicts);
    let sum = |of: fn(&Verdict) -> u64| verdicts.iter().map(|(_, verdict)| of(verdict)).sum::<u64>();
    // Worlds in which nothing happens would break no promise, either.
    assert!(sum(|verdict| verdict.figures.arrived) > 20_000);
    assert!(sum(|verdict| verdict.figures.restarts) > 300);
    assert!(sum(|verdict| verdict.figures.picks_checked) > 200_000);
    assert!(sum(|verdict| verdict.figures.kept_by_publishing) > 1_000);
}

/// Rough days beyond the first two hundred that once ended with a complaint: a slot stood idle beside a share that had become free again.
#[test]
fn days_that_were_rough_once_break_no_promise() {
    let verdicts: Vec<(u64, Verdict)> = [206, 492].into_iter().map(|seed| (seed, simulate(rough_day(seed)))).collect();
    no_promise_is_broken(&verdicts);
}

#[test]
fn caps_and_a_ttl_delay_tasks_and_lose_no_gap() {
    let verdicts = live_through(80, capped_day);
    no_promise_is_broken(&verdicts);
}

#[test]
fn demand_that_never_ends_uses_what_the_limits_leave() {
    let verdicts = live_through(8, constant_demand);
    no_promise_is_broken(&verdicts);
    for (seed, verdict) in verdicts {
        assert!(verdict.figures.quota_used.iter().all(|share| *share >= 0.99), "seed {seed}: {:?}", verdict.figures.quota_used);
        assert_eq!(verdict.figures.quota_used.len(), 1);
    }
}

#[test]
fn each_customer_with_demand_that_never_ends_uses_what_its_limits_leave() {
    let verdicts = live_through(4, constant_demand_of_many);
    no_promise_is_broken(&verdicts);
    for (seed, verdict) in verdicts {
        assert!(verdict.figures.quota_used.iter().all(|share| *share >= 0.99), "seed {seed}: {:?}", verdict.figures.quota_used);
    }
}

#[test]
fn the_same_seed_gives_the_same_day() {
    for seed in [3, 11] {
        let (one, other) = (simulate(rough_day(seed)), simulate(rough_day(seed)));
        assert_eq!(one.figures, other.figures);
        assert_eq!(one.wrong, other.wrong);
    }
}
