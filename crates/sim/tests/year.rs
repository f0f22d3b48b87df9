//! Weeks of simulated adce with everything that goes wrong in a year, and each of their checkers going red.
//!
//! `cargo run --release -p adce-sim -- year --seed N` lives through a whole year, and prints it month by month.

use std::time::Duration;

use adce_core::ports::Settlement;
use adce_core::spec::{PriorityLevel, Reserve};
use adce_core::time::SignedDuration;
use adce_sim::checkers;
use adce_sim::facts::{Figures, Wrong};
use adce_sim::memory::Counting;
use adce_sim::scenario::{DAY, HOUR, Scenario};
use adce_sim::simulate;
use adce_sim::world::{Sabotage, Verdict, World};
use adce_sim::year::six_weeks;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn six_weeks_of_everything_that_goes_wrong_in_a_year_break_no_promise() {
    let mut all = Figures::default();
    for seed in 1..=4 {
        let Verdict { wrong, figures } = simulate(six_weeks(seed));
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
        let last = figures.months.last().expect("a month has passed");
        assert!(last.open < 10 && last.exceeded == 0, "seed {seed}: {last:?}");
        let held = last.held.expect("the engine lives at the end");
        assert!(held.bytes > 0 && held.bytes < 256 << 10, "seed {seed}: {held:?}");
        all.attempts += figures.attempts;
        all.restarts += figures.restarts;
        all.arrived += figures.arrived;
        let critical = |figures: &Figures| figures.months.iter().map(|month| month.longest_wait[PriorityLevel::Critical as usize]).max();
        assert!(critical(&figures) < Some(HOUR), "seed {seed}: {:?}", critical(&figures));
    }
    // Weeks in which nothing happens would break no promise, either.
    assert!(all.attempts > 8_000 && all.restarts > 24 && all.arrived > 8_000, "{all:?}");
}

/// By the checkers of years alone: those of days would have seen most of it long before.
fn goes_red(checker: &str, what: &str, sabotage: Sabotage, invent: fn(u64) -> Scenario) {
    let is_red = |seed: &u64, sabotage| {
        let scenario = invent(*seed);
        let checkers = checkers::of_years(&scenario);
        let wrong: Vec<Wrong> = World::new(scenario, checkers).sabotaged(sabotage).run().wrong;
        wrong.iter().any(|wrong| wrong.checker == checker && wrong.what.contains(what))
    };
    let red = (1..8).find(|seed| is_red(seed, sabotage)).unwrap_or_else(|| panic!("`{checker}` did not notice"));
    assert!(!is_red(&red, Sabotage::default()), "seed {red} is red without a bug");
}

const NEVER: Duration = Duration::from_micros(1_000 * DAY);

#[test]
fn what_is_exhausted_and_never_revived_is_seen() {
    let never = Sabotage {
        rules: |rules| {
            for collector in rules.collectors.values_mut() {
                (collector.retry.revive_min, collector.retry.revive_max) = (NEVER, NEVER);
            }
        },
        ..Sabotage::default()
    };
    goes_red("converging", "is not there", never, six_weeks);
}

#[test]
fn a_class_that_starves_is_seen() {
    let all_for_critical =
        Sabotage { rules: |rules| rules.reserve = Reserve::default().with(PriorityLevel::Critical, 950), ..Sabotage::default() };
    goes_red("starving", "waits since", all_for_critical, six_weeks);
}

#[test]
fn what_is_wrongly_believed_to_be_absent_for_a_month_is_seen() {
    let for_a_month = Sabotage {
        remembered: |remembered| {
            for item in remembered.items.values_mut() {
                let later = SignedDuration::from_hours(30 * 24);
                item.absent.iter_mut().for_each(|mark| mark.recheck_at = mark.since + later);
            }
        },
        ..Sabotage::default()
    };
    let all_are_late: fn(u64) -> Scenario = |seed| {
        let mut weeks = six_weeks(seed);
        for dataset in &mut weeks.datasets {
            dataset.late = 300;
            dataset.absent_policy.after = Duration::ZERO;
        }
        weeks
    };
    goes_red("converging", "is not there", for_a_month, all_are_late);
}

#[test]
fn requests_whose_end_nobody_reports_are_seen_to_be_held() {
    let refused_ones_stay = Sabotage { settles: |how| how != Settlement::Unsent, ..Sabotage::default() };
    let no_restarts: fn(u64) -> Scenario = |seed| {
        let mut weeks = six_weeks(seed);
        weeks.crashes.clear();
        for source in &mut weeks.sources {
            // Otherwise its first requests that never end keep all others from being sent.
            (source.limits.in_flight, source.limits.min_delay, source.limits.burst) = (None, None, None);
            source.limits.windows.clear();
            source.breaker = None;
        }
        weeks.together.windows.clear();
        weeks
    };
    goes_red("holding", "permits", refused_ones_stay, no_restarts);
}
