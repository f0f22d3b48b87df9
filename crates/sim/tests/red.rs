//! Each checker goes red when the bug it looks for is put into the world: otherwise it watches nothing.

use adce_core::ports::Answer;
use adce_core::queue::Rules;
use adce_core::record::{Change, Remembered};
use adce_core::spec::{BreakerPolicy, Caps, Limits, PriorityLevel, Reserve};
use adce_sim::invent::{capped_day, constant_demand, rough_day};
use adce_sim::scenario::Scenario;
use adce_sim::simulate_sabotaged;
use adce_sim::world::{Sabotage, SlotNews};

/// Some world of the first few must show it, and show it to this checker.
#[track_caller]
fn goes_red(checker: &str, what: &str, sabotage: Sabotage, invent: fn(u64) -> Scenario) {
    for seed in 1..60 {
        let verdict = simulate_sabotaged(invent(seed), sabotage);
        if verdict.wrong.iter().any(|wrong| wrong.checker == checker && wrong.what.contains(what)) {
            return;
        }
    }
    panic!("`{checker}` did not notice");
}

fn all_limits(rules: &mut Rules) -> impl Iterator<Item = &mut Limits> {
    rules.sources.values_mut().map(|source| &mut source.limits).chain([&mut rules.limits])
}

fn bug_in_rules(bug: fn(&mut Rules)) -> Sabotage {
    Sabotage { rules: bug, ..Sabotage::default() }
}

#[test]
fn a_window_that_is_one_too_wide_is_seen_by_the_upstream() {
    let widen: fn(&mut Rules) = |rules| all_limits(rules).flat_map(|limits| &mut limits.windows).for_each(|window| window.requests += 1);
    goes_red("windows", "sliding", bug_in_rules(widen), rough_day);
    goes_red("windows", "fixed", bug_in_rules(widen), rough_day);
    goes_red("pick", "was picked", bug_in_rules(widen), rough_day);
}

#[test]
fn a_window_that_is_one_too_narrow_leaves_quota_unused_and_slots_idle() {
    let narrow: fn(&mut Rules) = |rules| all_limits(rules).flat_map(|limits| &mut limits.windows).for_each(|window| window.requests -= 1);
    goes_red("quota", "% of its quota", bug_in_rules(narrow), constant_demand);
    goes_red("pick", "a slot idles", bug_in_rules(narrow), rough_day);
}

#[test]
fn a_retry_after_that_nobody_heard_is_seen() {
    let deaf = |answer| match answer {
        Answer::Status { code, .. } => Answer::status(code),
        other => other,
    };
    goes_red("pauses", "before its `Retry-After` is over", Sabotage { answer: deaf, ..Sabotage::default() }, rough_day);
}

#[test]
fn another_order_than_the_best_first_is_seen() {
    let upside_down: fn(&mut Rules) = |rules| {
        let scores = &mut rules.weighting.base_scores;
        std::mem::swap(&mut scores.critical, &mut scores.low);
    };
    goes_red("pick", "is the best runnable", bug_in_rules(upside_down), rough_day);
    let no_importance: fn(&mut Rules) = |rules| rules.sources.values_mut().for_each(|source| source.importance = 1.0);
    goes_red("pick", "is the best runnable", bug_in_rules(no_importance), rough_day);
}

#[test]
fn one_slot_too_few_or_too_many_is_seen() {
    goes_red("pick", "a slot idles", bug_in_rules(|rules| rules.slots -= 1), |seed| Scenario { slots: 3, ..rough_day(seed) });
    goes_red("pick", "nothing is runnable", bug_in_rules(|rules| rules.slots += 1), rough_day);
}

#[test]
fn a_slot_that_is_held_too_long_or_given_back_too_early_is_seen() {
    let news = |slots| Sabotage { slots, ..Sabotage::default() };
    goes_red("pick", "a slot idles", news(SlotNews::Never), rough_day);
    goes_red("pick", "nothing is runnable", news(SlotNews::AtTheBeginning), rough_day);
}

#[test]
fn slots_that_only_wait_for_permits_are_seen() {
    let crowded: fn(u64) -> Scenario = |seed| Scenario { slots: 6, ..rough_day(seed) };
    goes_red("pick", "was picked", bug_in_rules(|rules| rules.adaptive = false), crowded);
}

#[test]
fn a_breaker_that_never_opens_is_seen() {
    let off: fn(&mut Rules) = |rules| rules.sources.values_mut().for_each(|source| source.breaker = None);
    goes_red("pick", "while the breaker is open", bug_in_rules(off), rough_day);
}

/// Where only values have one, or where that of the source is still closed.
#[test]
fn a_breaker_of_a_value_that_is_not_what_its_policy_says_is_seen() {
    fn policies(rules: &mut Rules) -> impl Iterator<Item = &mut Option<BreakerPolicy>> {
        rules.sources.values_mut().filter_map(|source| source.by.as_mut()).map(|by| &mut by.breaker)
    }
    let off: fn(&mut Rules) = |rules| policies(rules).for_each(|policy| *policy = None);
    goes_red("pick", "while the breaker is open", bug_in_rules(off), rough_day);
    let too_long: fn(&mut Rules) = |rules| policies(rules).flatten().for_each(|policy| policy.cooldown *= 2);
    goes_red("pick", "a slot idles", bug_in_rules(too_long), rough_day);
    let forget: fn(&mut Remembered) = |remembered| remembered.values.clear();
    let open_for_long: fn(u64) -> Scenario = |seed| {
        let mut day = rough_day(seed);
        let hours = std::time::Duration::from_secs(2 * 3_600);
        let breaker = BreakerPolicy { failures: 1, cooldown: hours, cooldown_max: hours, rate: None };
        day.sources.iter_mut().filter(|source| source.each.is_some()).for_each(|source| source.each_breaker = Some(breaker));
        day
    };
    goes_red("pick", "was picked", Sabotage { remembered: forget, ..Sabotage::default() }, open_for_long);
}

#[test]
fn a_breaker_that_is_not_what_its_policy_says_is_seen() {
    fn policies(rules: &mut Rules) -> impl Iterator<Item = &mut BreakerPolicy> {
        rules.sources.values_mut().filter_map(|source| source.breaker.as_mut())
    }
    let no_rate: fn(&mut Rules) = |rules| policies(rules).for_each(|policy| policy.rate = None);
    goes_red("pick", "while the breaker is open", bug_in_rules(no_rate), rough_day);
    let no_growth: fn(&mut Rules) = |rules| policies(rules).for_each(|policy| policy.cooldown_max = policy.cooldown);
    goes_red("pick", "was picked", bug_in_rules(no_growth), rough_day);
    let never: fn(&mut Rules) = |rules| rules.collectors.values_mut().for_each(|collector| collector.breaker = None);
    goes_red("pick", "was picked", bug_in_rules(never), rough_day);
    let forget: fn(&mut Remembered) = |remembered| remembered.collectors.clear();
    goes_red("pick", "was picked", Sabotage { remembered: forget, ..Sabotage::default() }, rough_day);
    let each_counts = |answer| match answer {
        Answer::Status { code: 429, retry_after, quotas } => Answer::Status { code: 503, retry_after, quotas },
        other => other,
    };
    let busy: fn(u64) -> Scenario = |seed| {
        let mut day = rough_day(seed);
        day.sources.iter_mut().for_each(|source| source.moods.busy = 300);
        day
    };
    goes_red("pick", "a slot idles", Sabotage { answer: each_counts, ..Sabotage::default() }, busy);
}

#[test]
fn spacing_that_is_forgotten_is_seen() {
    let no_delay: fn(&mut Rules) = |rules| all_limits(rules).for_each(|limits| limits.min_delay = None);
    goes_red("pick", "was picked", bug_in_rules(no_delay), rough_day);
    let no_burst: fn(&mut Rules) = |rules| all_limits(rules).for_each(|limits| limits.burst = None);
    goes_red("pick", "was picked", bug_in_rules(no_burst), rough_day);
    let no_flight: fn(&mut Rules) = |rules| all_limits(rules).for_each(|limits| limits.in_flight = None);
    goes_red("pick", "was picked", bug_in_rules(no_flight), rough_day);
}

#[test]
fn a_reserve_that_is_forgotten_or_too_large_is_seen() {
    goes_red("pick", "was picked", bug_in_rules(|rules| rules.reserve = Reserve::default()), rough_day);
    let more: fn(&mut Rules) = |rules| rules.reserve = rules.reserve.with(PriorityLevel::Critical, 500);
    goes_red("pick", "a slot idles", bug_in_rules(more), rough_day);
}

#[test]
fn permits_that_are_forgotten_over_a_crash_are_seen_by_the_upstream() {
    let forget: fn(&mut Remembered) = |remembered| remembered.reservations.clear();
    goes_red("windows", "sliding", Sabotage { remembered: forget, ..Sabotage::default() }, rough_day);
}

#[test]
fn a_gap_that_is_lost_over_a_crash_is_seen() {
    let forget: fn(&mut Remembered) = |remembered| {
        let Some(task) = remembered.tasks.pop() else { return };
        remembered.gaps.retain(|gap| !task.gaps.contains(&gap.id));
    };
    goes_red("gaps", "after a cycle: lost", Sabotage { remembered: forget, ..Sabotage::default() }, rough_day);
}

#[test]
fn a_result_that_is_never_recorded_leaves_its_gap_with_two_owners() {
    let lose: fn(&Change) -> bool = |change| !matches!(change, Change::Finish(_));
    goes_red("state", "is leased to", Sabotage { keeps: lose, ..Sabotage::default() }, rough_day);
}

#[test]
fn a_cap_that_is_not_what_it_says_is_seen() {
    let none: fn(&mut Rules) = |rules| rules.caps = Caps::default();
    goes_red("looks", "from one look to the next", bug_in_rules(none), capped_day);
    goes_red("pick", "was picked", bug_in_rules(none), capped_day);
    let smaller: fn(&mut Rules) = |rules| rules.caps = rules.caps.with(None, 7);
    goes_red("pick", "a slot idles", bug_in_rules(smaller), capped_day);
}

#[test]
fn a_look_that_nobody_hears_of_is_seen() {
    goes_red("pick", "a slot idles", Sabotage { looks: false, ..Sabotage::default() }, capped_day);
    goes_red("looks", "stands in line", Sabotage { looks: false, ..Sabotage::default() }, capped_day);
}

#[test]
fn a_task_that_ends_too_early_or_too_late_is_seen() {
    goes_red("looks", "stands in line", bug_in_rules(|rules| rules.task_ttl = None), capped_day);
    let early: fn(&mut Rules) = |rules| rules.task_ttl = rules.task_ttl.map(|ttl| ttl / 3);
    goes_red("looks", "was ended too early", bug_in_rules(early), capped_day);
}
