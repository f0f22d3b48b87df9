//! What a start pays, and what becomes of its gaps.

use super::world::*;
use crate::gap::{Fault, Gap, GapState, Outcome, Progress, Standing};
use crate::ports::{Answer, RetryAfter, Settlement};
use crate::queue::{Acquire, Assumptions, Charge, Charging, Dispatcher, Gate, Meant, Paid, Pick, Prospect, Rules, Start, forecast};
use crate::spec::{BreakerPolicy, FailureRate, Limits, PriorityLevel};
use crate::time::Now;
use std::time::Duration;

fn one_source(charge: Charging, batch: u32) -> Rules {
    no_rules().source("espn", limits(&[per(20, 60)])).collector("c", batch, charge).dataset("d", Some("espn"), Some("c"))
}

fn gaps(world: &mut World, names: &[&str]) {
    let gaps = names.iter().map(|name| gap("d", name, PriorityLevel::High, now_at(0))).collect();
    world.open(gaps, now_at(0));
}

#[test]
fn a_filled_gap_is_closed_and_confirmed_at_the_attempts_start() {
    let mut world = World::new(one_source(Charging::EachRequest, 1), now_at(0));
    gaps(&mut world, &["a"]);
    let start = world.start(now_at(1_000));
    let Charge::First(permit) = start.charge else { panic!("{:?}", start.charge) };
    let granted = world.dispatcher.acquire(start.attempt, "espn", now_at(1_100));
    assert_eq!(granted, Acquire::Granted { permit, before: None, paid: Paid::Now });
    world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(1_200).boot), now_at(1_200));
    world.end(&start, &done(), now_at(2_000));
    assert!(world.memory.gaps.is_empty() && world.memory.tasks.is_empty());
    assert_eq!(world.items[&start.gaps[0].id.item].confirmed, Some(now_at(1_000).wall));
    assert_eq!(world.dispatcher.figures(now_at(2_000))[0].windows[0].used, 1);
}

#[test]
fn a_charge_counts_from_the_start_until_the_end_plus_the_window() {
    let mut world = World::new(one_source(Charging::Ahead, 15), now_at(0));
    gaps(&mut world, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o"]);
    let start = world.start(now_at(0));
    assert_eq!((start.charge, start.gaps.len()), (Charge::Ahead(15), 15));
    world.end(&start, &done(), now_at(30_000));
    assert_eq!(world.dispatcher.figures(now_at(90_000))[0].windows[0].used, 15);
    // One second of linger: it may have arrived after the command had ended.
    assert_eq!(world.dispatcher.figures(now_at(91_001))[0].windows[0].used, 0);
}

#[test]
fn a_first_permit_that_nobody_used_is_given_back() {
    let mut world = World::new(one_source(Charging::EachRequest, 1), now_at(0));
    gaps(&mut world, &["a"]);
    let start = world.start(now_at(0));
    world.end(&start, &failed(Fault::Item), now_at(1_000));
    assert_eq!(world.dispatcher.figures(now_at(1_000))[0].windows[0].used, 0);
    assert!(world.memory.reservations.is_empty());
}

#[test]
fn retry_after_pauses_the_whole_source() {
    let mut world = World::new(one_source(Charging::EachRequest, 1), now_at(0));
    gaps(&mut world, &["a", "b"]);
    let start = world.start(now_at(0));
    let answer = Answer::later(429, RetryAfter::Seconds(30));
    let changes = world.dispatcher.answered(start.attempt, "espn", answer, now_at(1_000));
    world.memory.apply(&changes);
    assert!(world.memory.sources["espn"].paused_until.is_some());
    let Pick::Idle(idle) = world.pick(now_at(30_999)) else { panic!("a paused source is left alone") };
    assert_eq!(idle.wake_at, Some(now_at(31_000).boot));
    assert!(matches!(idle.waiting[0].gate, Gate::RetryAfter { .. }));
    assert!(matches!(world.pick(now_at(31_000)), Pick::Start(_)));
}

#[test]
fn what_the_source_refused_uses_up_no_attempt() {
    let mut world = World::new(one_source(Charging::EachRequest, 1), now_at(0));
    gaps(&mut world, &["a"]);
    let start = world.start(now_at(0));
    world.dispatcher.answered(start.attempt, "espn", Answer::status(503), now_at(500));
    // The scraper only says that it failed.
    world.end(&start, &failed(Fault::Item), now_at(1_000));
    let progress = world.dispatcher.gap(start.gaps[0].id).unwrap().progress;
    assert_eq!((progress.attempts, progress.deferrals, progress.attempts_total), (0, 1, 1));
}

#[test]
fn an_open_breaker_costs_no_attempts_and_one_probe_finds_out() {
    let mut rules = one_source(Charging::EachRequest, 1);
    rules.sources["espn"].breaker = Some(BreakerPolicy { failures: 2, cooldown: Duration::from_secs(600), ..BreakerPolicy::default() });
    let mut world = World::new(rules, now_at(0));
    gaps(&mut world, &["a", "b", "c", "d"]);
    for at in [0, 1] {
        let start = world.start(now_at(at));
        world.dispatcher.answered(start.attempt, "espn", Answer::NoAnswer, now_at(at));
        world.end(&start, &failed(Fault::Source), now_at(at));
    }
    let Pick::Idle(idle) = world.pick(now_at(2)) else { panic!("the breaker is open") };
    assert!(matches!(idle.waiting[0].gate, Gate::Breaker { .. }));
    let waiting = world.dispatcher.gaps().into_iter().find(|gap| gap.key == "d/c").unwrap().id;
    assert_eq!(world.dispatcher.gap_state(waiting, now_at(2)), Some(GapState::Held));
    assert_eq!(world.starts(now_at(601_000)).len(), 1, "one probe");
}

#[test]
fn a_probe_by_a_command_that_says_source_down_opens_the_breaker_again() {
    let mut rules = one_source(Charging::Ahead, 1);
    rules.sources["espn"].breaker = Some(BreakerPolicy { failures: 1, cooldown: Duration::from_secs(600), ..BreakerPolicy::default() });
    let mut world = World::new(rules, now_at(0));
    gaps(&mut world, &["a", "b", "c"]);
    let first = world.start(now_at(0));
    world.end(&first, &failed(Fault::Source), now_at(0));
    let probe = world.start(now_at(600_000));
    world.end(&probe, &failed(Fault::Source), now_at(600_000));
    assert!(matches!(world.pick(now_at(600_001)), Pick::Idle(_)));
    assert!(matches!(world.pick(now_at(1_799_999)), Pick::Idle(_)), "twice as long as before");
    assert!(matches!(world.pick(now_at(1_800_000)), Pick::Start(_)));
}

#[test]
fn a_restart_keeps_a_breaker_open_and_knows_since_when_and_why() {
    let mut rules = one_source(Charging::Ahead, 1);
    rules.sources["espn"].breaker = Some(BreakerPolicy { failures: 1, ..BreakerPolicy::default() });
    rules.collectors["c"].breaker = Some(BreakerPolicy { failures: 2, ..BreakerPolicy::of_collector() });
    let mut world = World::new(rules.clone(), now_at(0));
    gaps(&mut world, &["a", "b", "c", "d"]);
    let [first, second, third] = [0, 1, 2].map(|_| world.start(now_at(0)));
    world.end(&first, &failed(Fault::Collector), now_at(1_000));
    world.end(&second, &failed(Fault::Collector), now_at(2_000));
    world.end(&third, &failed(Fault::Source), now_at(3_000));
    let gates = |dispatcher: &Dispatcher| {
        let now = now_at(4_000);
        (dispatcher.figures(now)[0].gate.clone().unwrap(), dispatcher.collectors(now)[0].gate.clone().unwrap())
    };
    let before = gates(&world.dispatcher);
    let Gate::CollectorBreaker { collector, until, since, reason } = &before.1 else { panic!("{before:?}") };
    assert_eq!((collector.as_str(), *until, *since), ("c", Some(now_at(62_000).wall), now_at(2_000).wall));
    assert_eq!(reason, "2 failures in a row, the last: it did not work");
    let (again, _) = Dispatcher::new(rules, &mut world.memory.remembered(now_at(4_000).wall), boot_id(), now_at(4_000));
    assert_eq!(gates(&again), before);
}

#[test]
fn a_collector_that_crashes_on_everything_is_not_started_until_a_probe_has_shown_that_it_works() {
    let mut rules = one_source(Charging::Ahead, 1).collector("other", 1, Charging::Ahead).dataset("o", Some("espn"), Some("other"));
    rules.collectors["c"].breaker = Some(BreakerPolicy { failures: 3, ..BreakerPolicy::of_collector() });
    let mut world = World::new(rules, now_at(0));
    world.dispatcher.rules.slots = 1;
    gaps(&mut world, &["a", "b", "c", "d", "e", "f"]);
    world.open(vec![gap("o", "another", PriorityLevel::Low, now_at(0))], now_at(0));
    for _ in 0..3 {
        let start = world.start(now_at(0));
        world.end(&start, &failed(Fault::Collector), now_at(0));
        assert_eq!(world.dispatcher.gap(start.gaps[0].id).unwrap().progress.attempts, 1, "a crash uses up an attempt");
    }
    let start = world.start(now_at(1));
    assert_eq!(start.task.key, "o/another", "the others go on");
    world.end(&start, &done(), now_at(1));
    let Pick::Idle(idle) = world.pick(now_at(2)) else { panic!("it is started although it crashes") };
    assert!(matches!(idle.waiting[0].gate, Gate::CollectorBreaker { .. }), "{idle:?}");
    assert_eq!(idle.wake_at, Some(now_at(60_000).boot));
    let waiting = world.dispatcher.gaps().into_iter().find(|gap| gap.key == "d/f").unwrap().id;
    assert_eq!(world.dispatcher.gap_state(waiting, now_at(2)), Some(GapState::Held));
    world.dispatcher.rules.slots = 5;
    assert_eq!(world.starts(now_at(60_000)).len(), 1, "one probe");
    let probe = world.dispatcher.running()[0].clone();
    world.end_with(probe.attempt, &[(probe.gaps[0], done())], now_at(60_001));
    assert!(world.dispatcher.collectors(now_at(60_001))[0].gate.is_none());
    assert!(world.starts(now_at(60_001)).len() > 1);
}

#[test]
fn a_collector_that_writes_nothing_time_and_again_is_held_back_and_its_source_is_not() {
    let by_default = BreakerPolicy::of_collector();
    let by_rate =
        BreakerPolicy { failures: 100, rate: Some(FailureRate { permille: 500, of: 4, within: Duration::from_secs(60) }), ..by_default };
    let unwritten = || failed(Fault::Unwritten);
    let in_a_row = vec![unwritten(), unwritten(), unwritten(), unwritten()];
    for (policy, before, opens) in [
        (by_default, in_a_row.clone(), true),
        (by_default, [&in_a_row[1..], &[done()]].concat(), false),
        (by_default, [&in_a_row[..3], &[failed(Fault::Item)]].concat(), false),
        (by_default, [&in_a_row[..3], &[Outcome::Absent]].concat(), false),
        (by_rate, vec![unwritten(), done(), done()], true),
        (by_rate, vec![done(), done(), done()], false),
    ] {
        let mut rules = one_source(Charging::Ahead, 1);
        rules.collectors["c"].breaker = Some(policy);
        rules.sources["espn"].breaker = Some(BreakerPolicy { failures: 1, ..BreakerPolicy::default() });
        let mut world = World::new(rules, now_at(0));
        gaps(&mut world, &["a", "b", "c", "d", "e", "f"]);
        for outcome in before.iter().chain([&unwritten()]) {
            let start = world.start(now_at(0));
            assert!(world.dispatcher.collectors(now_at(0))[0].gate.is_none(), "not yet: {before:?}");
            world.end(&start, outcome, now_at(0));
        }
        let gate = world.dispatcher.collectors(now_at(0))[0].gate.clone();
        assert_eq!(gate.is_some(), opens, "{before:?}: {gate:?}");
        if let Some(Gate::CollectorBreaker { reason, .. }) = gate {
            assert!(reason.ends_with(", the last: it did not work"), "{reason}");
        }
        assert_eq!(world.dispatcher.figures(now_at(0))[0].gate, None, "the source did nothing");
    }
}

#[test]
fn one_bad_task_alone_never_opens_the_breaker_of_its_collector() {
    let mut rules = one_source(Charging::Ahead, 1);
    rules.collectors["c"].breaker = Some(BreakerPolicy { failures: 2, ..BreakerPolicy::of_collector() });
    let mut world = World::new(rules, now_at(0));
    gaps(&mut world, &["bad"]);
    for hour in 0..40 {
        let now = now_at(hour * 25 * 3_600_000);
        let start = world.start(now);
        world.end(&start, &failed(Fault::Collector), now);
    }
    assert!(world.dispatcher.collectors(now_at(0))[0].gate.is_none());
    gaps(&mut world, &["good"]);
    let now = now_at(2_000 * 3_600_000);
    let started = world.starts(now);
    assert_eq!(started.len(), 2, "{started:?}");
}

#[test]
fn what_an_item_or_the_source_did_is_no_crash_of_the_collector() {
    let mut rules = one_source(Charging::EachRequest, 2);
    rules.collectors["c"].breaker = Some(BreakerPolicy { failures: 1, ..BreakerPolicy::of_collector() });
    let mut world = World::new(rules, now_at(0));
    gaps(&mut world, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    let opened = |world: &World| world.dispatcher.collectors(now_at(0))[0].gate.is_some();
    let ends = |world: &mut World, outcomes: [Outcome; 2]| {
        let start = world.start(now_at(0));
        let outcomes: Vec<_> = start.gaps.iter().map(|gap| gap.id).zip(outcomes).collect();
        world.end_with(start.attempt, &outcomes, now_at(0));
    };
    ends(&mut world, [failed(Fault::Item), failed(Fault::Collector)]);
    ends(&mut world, [failed(Fault::Source), failed(Fault::Source)]);
    let start = world.start(now_at(0));
    world.dispatcher.answered(start.attempt, "espn", Answer::status(503), now_at(0));
    world.end(&start, &failed(Fault::Collector), now_at(0));
    assert!(!opened(&world), "it fell over what the source had answered");
    ends(&mut world, [failed(Fault::Collector), failed(Fault::Collector)]);
    assert!(opened(&world));
}

#[test]
fn an_exhausted_gap_is_told_and_revived() {
    let mut world = World::new(one_source(Charging::EachRequest, 1), now_at(0));
    gaps(&mut world, &["a"]);
    let mut at = 0;
    for attempt in 1..=3 {
        let start = world.start(now_at(at));
        world.end(&start, &failed(Fault::Item), now_at(at));
        assert_eq!(world.dispatcher.gap(start.gaps[0].id).unwrap().progress.attempts, attempt);
        at += 30 * 60_000;
    }
    let gap = world.dispatcher.gaps()[0].clone();
    assert_eq!(gap.progress.standing, Standing::Exhausted);
    assert_eq!(world.dispatcher.gap_state(gap.id, now_at(at)), Some(GapState::Exhausted));
    at += 60 * 60_000;
    assert_eq!(world.dispatcher.gap_state(gap.id, now_at(at)), Some(GapState::Queued));
    let start = world.start(now_at(at));
    world.end(&start, &failed(Fault::Item), now_at(at));
    let progress = world.dispatcher.gap(gap.id).unwrap().progress;
    assert_eq!((progress.attempts, progress.exhausted, progress.standing), (1, 1, Standing::Open));
}

#[test]
fn a_contested_gap_is_held_by_itself_until_a_day_has_passed_or_somebody_says_so() {
    let hours = |hours: u64| now_at(hours * 3_600_000);
    let contested = |name: &str| {
        let progress = Progress { standing: Standing::Contested, next_try: Some(hours(24).wall), ..Progress::default() };
        Gap { progress, ..gap("d", name, PriorityLevel::High, now_at(0)) }
    };
    let mut world = World::new(one_source(Charging::Ahead, 3), now_at(0));
    world.open(vec![contested("a"), contested("b"), gap("d", "c", PriorityLevel::High, now_at(0))], now_at(0));
    assert_eq!(world.starts(now_at(0)), ["d/c"], "the others of its batch do not wait for it");
    let [a, b] = ["a", "b"].map(|name| gap("d", name, PriorityLevel::High, now_at(0)).id);
    assert_eq!(world.dispatcher.gap_state(a, hours(23)), Some(GapState::Held));
    assert_eq!(world.dispatcher.why_gap(a, hours(23)), Some(Gate::Contested { until: hours(24).wall }));
    assert_eq!(world.dispatcher.contested(hours(23)).len(), 2);
    assert_eq!(world.dispatcher.counts(hours(23)).held, 2);
    let (released, changes) = world.dispatcher.release(Meant::Named("d/a"), &mut world.items, hours(23)).unwrap();
    assert_eq!(released.iter().map(|gap| gap.id).collect::<Vec<_>>(), [a]);
    world.memory.apply(&changes);
    assert_eq!(world.memory.gaps[&a].progress, Progress::default());
    assert_eq!(world.starts(hours(23)), ["d/a"], "and b goes on being left alone");
    assert_eq!(world.dispatcher.release(Meant::Named("d/a"), &mut world.items, hours(23)), Some((vec![], vec![])), "it runs");
    assert_eq!(world.dispatcher.gap_state(b, hours(24)), Some(GapState::Queued));
    let start = world.start(hours(24));
    world.end(&start, &failed(Fault::Item), hours(24));
    assert_eq!(world.dispatcher.gap(b).unwrap().progress.standing, Standing::Open);
}

#[test]
fn a_batch_that_names_no_absent_item_is_split_into_tasks_of_one() {
    let mut world = World::new(one_source(Charging::Ahead, 3), now_at(0));
    gaps(&mut world, &["a", "b", "c"]);
    let start = world.start(now_at(0));
    world.end(&start, &Outcome::Split, now_at(1_000));
    let tasks = world.dispatcher.tasks();
    assert_eq!(tasks.len(), 3);
    assert!(tasks.iter().all(|task| task.gaps.len() == 1));
    assert!(tasks.iter().any(|task| task.id == start.task.id), "the first part keeps the name");
    assert_eq!(world.memory.tasks.len(), 3);
}

#[test]
fn one_bad_item_does_not_delay_the_others_of_its_batch() {
    let mut world = World::new(one_source(Charging::Ahead, 3), now_at(0));
    gaps(&mut world, &["a", "b", "c"]);
    let start = world.start(now_at(0));
    let [a, b, c] = [0, 1, 2].map(|at| start.gaps[at].id);
    world.end_with(start.attempt, &[(a, failed(Fault::Item)), (b, failed(Fault::Stopped)), (c, done())], now_at(1_000));
    let again = world.start(now_at(1_001));
    assert_eq!(again.gaps.iter().map(|gap| gap.id).collect::<Vec<_>>(), [b]);
}

/// A batch of 50 for a source without limits.
fn fifty(attempts: u32) -> World {
    let mut rules = no_rules().source("free", Limits::default()).collector("c", 50, Charging::EachRequest);
    rules.collectors["c"].retry.attempts = attempts;
    rules.collectors["c"].breaker = Some(BreakerPolicy::of_collector());
    let mut world = World::new(rules.dataset("d", Some("free"), Some("c")), now_at(0));
    let names: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    gaps(&mut world, &names.iter().map(String::as_str).collect::<Vec<_>>());
    world
}

/// Starts what can start, or waits until something can.
fn next_start(world: &mut World, now: &mut Now) -> Start {
    loop {
        match world.pick(*now) {
            Pick::Start(start) => return *start,
            Pick::Idle(idle) => *now = now_at(idle.wake_at.expect("a next try").as_micros().div_ceil(1_000) - 1_000_000),
        }
    }
}

#[test]
fn one_poison_item_in_fifty_keeps_the_others_for_a_few_tries_whatever_attempts_says() {
    for (poison, attempts, fault, restarts) in [
        ("d/00", 1, Fault::Collector, false),
        ("d/24", 3, Fault::Collector, true),
        ("d/49", 1, Fault::Unwritten, true),
        ("d/31", 3, Fault::Unwritten, false),
    ] {
        let case = format!("{poison}, {attempts} attempts, {fault:?}, {restarts}");
        let (mut world, mut now, mut together, mut alone) = (fifty(attempts), now_at(0), 0, 0);
        while world.memory.gaps.len() > 1 {
            let start = next_start(&mut world, &mut now);
            let fails = start.gaps.iter().any(|gap| gap.key == poison);
            together += u32::from(fails && start.gaps.len() > 1);
            // As it was, as it was, 25, 13, 7, 4, 2.
            assert!(together <= 7, "{case}: {together} failures");
            alone += u32::from(fails && start.gaps.len() == 1);
            world.end(&start, &if fails { failed(fault) } else { done() }, now);
            for gap in world.memory.gaps.values().filter(|gap| gap.key != poison) {
                assert_eq!((gap.progress.attempts, gap.progress.exhausted), (0, 0), "{case}: an innocent item pays");
            }
            if restarts {
                world.restart(now);
            }
        }
        let longest_wait = now_at(7 * 2 * 60_000).wall;
        assert!(now.wall <= longest_wait, "{case}: the others are there by {}", now.wall);
        while world.memory.gaps.values().any(|gap| gap.progress.standing != Standing::Exhausted) {
            let start = next_start(&mut world, &mut now);
            alone += 1;
            world.end(&start, &failed(fault), now);
        }
        assert_eq!(alone, attempts, "{case}: what it has for itself");
    }
}

#[test]
fn a_collector_that_fails_on_everything_exhausts_each_item_alone_in_the_end() {
    for (attempts, fault) in [(1, Fault::Collector), (3, Fault::Collector), (2, Fault::Unwritten)] {
        let (mut world, mut now, mut tries) = (fifty(attempts), now_at(0), 0);
        let left = |world: &World| world.memory.gaps.values().filter(|gap| gap.progress.standing != Standing::Exhausted).count();
        let mut was_held_back = false;
        while left(&world) > 0 {
            let start = next_start(&mut world, &mut now);
            was_held_back |= world.dispatcher.collectors(now)[0].gate.is_some();
            tries += 1;
            // The batch again, 49 times halved, and each item alone.
            assert!(tries <= 1 + 49 + 50 * attempts, "{tries} tries");
            world.end(&start, &failed(fault), now);
            let paid = start.gaps.iter().filter(|gap| world.memory.gaps[&gap.id].progress.attempts > gap.progress.attempts);
            assert!(start.gaps.len() == 1 || paid.count() == 0, "who is not alone does not pay");
            // Those that are exhausted are not to come back before the others are.
            world.dispatcher.rules.collectors["c"].retry.revive_min = Duration::from_secs(365 * 86_400);
        }
        assert!(was_held_back, "its breaker has opened");
    }
}

#[test]
fn who_was_named_goes_apart_from_those_of_whom_nothing_is_known() {
    let mut world = World::new(one_source(Charging::Ahead, 3), now_at(0));
    gaps(&mut world, &["a", "b", "c"]);
    let start = world.start(now_at(0));
    let [a, b, c] = [0, 1, 2].map(|at| start.gaps[at].id);
    world.end_with(start.attempt, &[(a, failed(Fault::Item)), (b, failed(Fault::Collector)), (c, failed(Fault::Collector))], now_at(0));
    let progress = |gap| world.memory.gaps[&gap].progress.clone();
    assert_eq!([a, b, c].map(|gap| progress(gap).attempts), [1, 0, 0]);
    assert_eq!([b, c].map(|gap| (progress(gap).attempts_total, progress(gap).unblamed)), [(1, 1); 2]);
    let mut tasks: Vec<usize> = world.memory.tasks.values().map(|task| task.gaps.len()).collect();
    tasks.sort_unstable();
    assert_eq!(tasks, [1, 2]);
}

#[test]
fn a_batch_that_failed_once_comes_back_as_it_was() {
    let mut world = World::new(one_source(Charging::Ahead, 4), now_at(0));
    gaps(&mut world, &["a", "b", "c", "d"]);
    let start = world.start(now_at(0));
    world.end(&start, &failed(Fault::Collector), now_at(1_000));
    assert_eq!(world.memory.tasks.len(), 1);
    let again = world.start(now_at(3_600_000));
    world.end(&again, &failed(Fault::Source), now_at(3_601_000));
    assert_eq!(world.memory.tasks.len(), 1, "the source's failure says nothing of the items");
    assert!(world.memory.gaps.values().all(|gap| gap.progress.attempts == 0));
}

#[test]
fn requests_of_a_running_attempt_are_not_overtaken_by_lower_scored_starts() {
    let mut world = World::new(one_source(Charging::EachRequest, 1), now_at(0));
    let mut open = vec![gap("d", "tonight", PriorityLevel::Critical, now_at(0))];
    open.extend((0..30).map(|n| gap("d", &format!("old{n}"), PriorityLevel::Low, now_at(0))));
    world.dispatcher.rules.slots = 100;
    world.open(open, now_at(0));
    let first = world.start(now_at(0));
    assert_eq!(first.task.key, "d/tonight");
    let low = world.starts(now_at(0));
    assert_eq!(low.len(), 19);
    assert!(matches!(world.dispatcher.acquire(first.attempt, "espn", now_at(1)), Acquire::Granted { .. }), "its first permit");
    assert!(matches!(world.dispatcher.acquire(first.attempt, "espn", now_at(2)), Acquire::Wait { .. }));
    for running in world.dispatcher.running().into_iter().skip(1).take(3) {
        world.end_with(running.attempt, &[], now_at(3));
    }
    // Three unused first permits came back; the waiting request is ahead of the low-priority starts.
    let Pick::Idle(idle) = world.pick(now_at(4)) else { panic!("a lower-scored start took the permit") };
    assert!(matches!(idle.waiting[0].gate, Gate::Reserved { .. }), "{idle:?}");
    assert!(matches!(world.dispatcher.acquire(first.attempt, "espn", now_at(5)), Acquire::Granted { .. }));
    assert!(matches!(world.pick(now_at(6)), Pick::Start(_)));
}

#[test]
fn an_attempt_that_only_delivers_holds_no_slot_up_to_as_many_as_there_are_slots() {
    let rules = no_rules().source("free", Limits::default()).collector("c", 1, Charging::EachRequest).dataset("d", Some("free"), Some("c"));
    let mut world = World::new(rules, now_at(0));
    world.dispatcher.rules.slots = 2;
    gaps(&mut world, &["a", "b", "c", "d", "e", "f"]);
    let [first, second] = [0, 1].map(|_| world.start(now_at(0)).attempt);
    // The pick, and whoever asks about a task that could start, are told the same.
    let held_by = |world: &mut World, now| {
        let Pick::Idle(idle) = world.pick(now) else { panic!("something starts") };
        let queued = world.dispatcher.tasks().into_iter().map(|task| world.dispatcher.why_task(task.id, now).unwrap());
        let queued: Vec<Gate> = queued.filter(|gate| !matches!(gate, Gate::Running { .. })).collect();
        assert!(queued.iter().all(|gate| *gate == idle.waiting[0].gate), "{queued:?}, {idle:?}");
        idle.waiting[0].gate.clone()
    };
    assert_eq!(held_by(&mut world, now_at(1)), Gate::Slots { slots: 2 });
    world.dispatcher.collected(first);
    let third = world.start(now_at(2)).attempt;
    assert_eq!(held_by(&mut world, now_at(3)), Gate::Slots { slots: 2 }, "two collect");
    world.dispatcher.collected(second);
    let fourth = world.start(now_at(4)).attempt;
    world.dispatcher.collected(third);
    assert_eq!(held_by(&mut world, now_at(5)), Gate::Publishing { attempts: 3, slots: 2 }, "one collects");
    world.dispatcher.collected(fourth);
    assert_eq!(held_by(&mut world, now_at(5)), Gate::Publishing { attempts: 4, slots: 2 });
    world.end_with(first, &[], now_at(6));
    assert_ne!(world.start(now_at(7)).attempt, fourth);
}

#[test]
fn a_source_without_limits_reserves_nothing() {
    let rules = no_rules().source("free", Limits::default()).collector("c", 1, Charging::EachRequest).dataset("d", Some("free"), Some("c"));
    let mut world = World::new(rules, now_at(0));
    gaps(&mut world, &["a"]);
    assert_eq!(world.start(now_at(0)).before, []);
}

// ------------------------------------------------------------------------------------------------- sources that are shut

/// One whose requests adce sends itself; its source's breaker opens after two failures, for ten minutes.
fn fetched(batch: u32) -> World {
    let mut rules = one_source(Charging::EachRequest, batch);
    rules.collectors["c"].is_http = true;
    rules.sources["espn"].breaker = Some(BreakerPolicy { failures: 2, cooldown: Duration::from_secs(600), ..BreakerPolicy::default() });
    World::new(rules, now_at(0))
}

#[test]
fn a_breaker_that_opens_between_pick_and_first_request_gives_the_attempt_back() {
    for pauses in [false, true] {
        let mut world = fetched(1);
        gaps(&mut world, &["a", "b", "c"]);
        let [first, second, third] = [0, 1, 2].map(|at| world.start(now_at(at)));
        for start in [&first, &second] {
            let answer = if pauses { Answer::later(429, RetryAfter::Seconds(600)) } else { Answer::NoAnswer };
            world.dispatcher.answered(start.attempt, "espn", answer, now_at(10));
            world.end(start, &failed(Fault::Source), now_at(10));
        }
        let gave_up = world.dispatcher.acquire(third.attempt, "espn", now_at(20));
        let Acquire::GiveUp { gate } = gave_up else { panic!("{gave_up:?}") };
        assert_eq!(matches!(gate, Gate::Breaker { .. }), !pauses, "{gate:?}");
        world.end(&third, &failed(Fault::Stopped), now_at(30));
        let gap = world.dispatcher.gap(third.gaps[0].id).unwrap();
        assert_eq!(gap.progress, Progress::default(), "nothing was tried");
        let state = if pauses { GapState::Waiting } else { GapState::Held };
        assert_eq!(world.dispatcher.gap_state(gap.id, now_at(30)), Some(state));
        let figures = &world.dispatcher.figures(now_at(30))[0];
        assert_eq!((world.dispatcher.slots_used(), figures.in_flight, figures.windows[0].used), (0, 0, 0));
        assert!(matches!(world.pick(now_at(600_009)), Pick::Idle(_)));
        assert_eq!(world.start(now_at(600_010)).task.key, "d/a", "who probes is picked like any other");
    }
}

#[test]
fn a_batch_that_meets_a_shut_source_ends_with_what_it_has_and_gives_back_the_rest() {
    // A short pause is waited for: to begin anew would take longer. A breaker is not, for who asks next is its probe.
    let pause = |seconds| Answer::later(503, RetryAfter::Seconds(seconds));
    for (answers, by_breaker, ends) in
        [(vec![pause(3)], false, false), (vec![pause(30)], false, true), (vec![Answer::NotReached; 2], true, true)]
    {
        let mut world = fetched(3);
        gaps(&mut world, &["a", "b", "c"]);
        let start = world.start(now_at(0));
        let Charge::First(permit) = start.charge else { panic!("{:?}", start.charge) };
        assert!(matches!(world.dispatcher.acquire(start.attempt, "espn", now_at(1)), Acquire::Granted { .. }));
        assert_eq!(world.dispatcher.sent(permit, now_at(1)), None);
        world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(2).boot), now_at(2));
        for answer in answers {
            world.dispatcher.answered(start.attempt, "espn", answer, now_at(2));
        }
        let second = world.dispatcher.acquire(start.attempt, "espn", now_at(3));
        let (Acquire::GiveUp { gate } | Acquire::Wait { gate, .. }) = &second else { panic!("{second:?}") };
        assert_eq!((matches!(second, Acquire::GiveUp { .. }), matches!(gate, Gate::Breaker { .. })), (ends, by_breaker), "{second:?}");
        let outcomes = [done(), failed(Fault::Stopped), failed(Fault::Stopped)];
        let outcomes: Vec<_> = start.gaps.iter().map(|gap| gap.id).zip(outcomes).collect();
        world.end_with(start.attempt, &outcomes, now_at(4));
        let left: Vec<Progress> = world.dispatcher.gaps().into_iter().map(|gap| gap.progress).collect();
        assert_eq!(left, [Progress::default(), Progress::default()]);
    }
}

#[test]
fn a_command_waits_for_its_source_unless_nothing_else_is_left_and_then_uses_up_no_attempt() {
    let mut world = World::new(one_source(Charging::EachRequest, 1), now_at(0));
    gaps(&mut world, &["a"]);
    let start = world.start(now_at(0));
    let Charge::First(permit) = start.charge else { panic!("{:?}", start.charge) };
    assert!(matches!(world.dispatcher.acquire(start.attempt, "espn", now_at(1)), Acquire::Granted { .. }));
    world.dispatcher.sent(permit, now_at(1));
    world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(2).boot), now_at(2));
    world.dispatcher.answered(start.attempt, "espn", Answer::later(429, RetryAfter::Seconds(30)), now_at(2));
    let secs = Duration::from_secs;
    assert!(!world.dispatcher.only_waits(secs(0), now_at(3)), "it works");
    assert!(matches!(world.dispatcher.acquire(start.attempt, "espn", now_at(3)), Acquire::Wait { .. }));
    assert!(world.dispatcher.only_waits(secs(0), now_at(3)));
    assert!(!world.dispatcher.only_waits(secs(60), now_at(3)), "a gap would be waited for as long");
    world.dispatcher.wind_down(true);
    assert!(matches!(world.dispatcher.acquire(start.attempt, "espn", now_at(4)), Acquire::GiveUp { .. }));
    let in_a_moment = world.dispatcher.acquire(start.attempt, "espn", now_at(26_000));
    assert!(matches!(in_a_moment, Acquire::Wait { .. }), "{in_a_moment:?}");
    world.end(&start, &failed(Fault::Collector), now_at(26_000));
    let progress = world.dispatcher.gaps()[0].progress.clone();
    assert_eq!((progress.attempts, progress.deferrals), (0, 1), "it is the source's fault");
}

/// It has not waited before, and met no answer: that it was refused is all that says whose fault its end is.
#[test]
fn a_command_that_is_refused_its_first_request_uses_up_no_attempt() {
    let mut world = World::new(one_source(Charging::EachRequest, 1), now_at(0));
    gaps(&mut world, &["a", "b"]);
    let [other, refused] = [world.start(now_at(0)), world.start(now_at(0))];
    assert!(matches!(world.dispatcher.acquire(other.attempt, "espn", now_at(1)), Acquire::Granted { .. }));
    world.dispatcher.answered(other.attempt, "espn", Answer::later(429, RetryAfter::Seconds(30)), now_at(2));
    world.dispatcher.wind_down(true);
    assert!(matches!(world.dispatcher.acquire(refused.attempt, "espn", now_at(3)), Acquire::GiveUp { .. }));
    world.end(&refused, &failed(Fault::Collector), now_at(4));
    let progress = world.dispatcher.gap(refused.gaps[0].id).unwrap().progress;
    assert_eq!((progress.attempts, progress.deferrals), (0, 1), "it is the source's fault");
}

/// Nobody there has seen a request: a slower rate would be learned of a machine that is off.
#[test]
fn who_is_not_reached_opens_the_breaker_and_teaches_no_slower_rate() {
    for (answer, learned) in [(Answer::NoAnswer, Some(500)), (Answer::NotReached, None)] {
        let mut rules = one_source(Charging::EachRequest, 1);
        rules.sources["espn"].breaker = Some(BreakerPolicy { failures: 5, ..BreakerPolicy::default() });
        let mut world = World::new(rules, now_at(0));
        gaps(&mut world, &["a", "b", "c", "d", "e"]);
        let starts = [0, 1, 2, 3, 4].map(|at| world.start(now_at(at)));
        for start in &starts {
            assert!(matches!(world.dispatcher.acquire(start.attempt, "espn", now_at(5)), Acquire::Granted { .. }));
        }
        for start in &starts {
            world.dispatcher.answered(start.attempt, "espn", answer, now_at(100));
        }
        let figures = &world.dispatcher.figures(now_at(101))[0];
        assert_eq!(figures.learned_share, learned, "{answer:?}");
        assert!(matches!(&figures.gate, Some(Gate::Breaker { .. })), "{:?}", figures.gate);
        let paused = world.dispatcher.grants.limiter().paused_until(crate::limits::SourceIx(0), now_at(101).boot);
        assert_eq!(paused.is_some(), learned.is_some(), "{answer:?}");
    }
}

#[test]
fn the_next_try_is_no_promise_that_a_breaker_breaks() {
    let mut world = fetched(1);
    gaps(&mut world, &["a", "b", "c"]);
    let [first, second] = [0, 1].map(|at| world.start(now_at(at)));
    for start in [&first, &second] {
        world.dispatcher.answered(start.attempt, "espn", Answer::NotReached, now_at(10));
        world.end(start, &failed(Fault::Source), now_at(10));
    }
    let (dispatcher, now) = (&world.dispatcher, now_at(20));
    let (failed, waiting) = (first.gaps[0].id, dispatcher.gaps().into_iter().find(|gap| gap.key == "d/c").unwrap().id);
    let own = dispatcher.gap(failed).unwrap().progress.next_try.unwrap();
    let probe = now_at(600_010).wall;
    assert!(own < probe, "its own pause is over long before");
    assert_eq!([failed, waiting].map(|gap| dispatcher.next_try(gap, now)), [Some(probe); 2]);
    assert_eq!((dispatcher.next_try_of_task(first.task.id, now), dispatcher.next_start(now)), (Some(probe), Some(probe)));
    assert!(matches!(dispatcher.behind_gap(failed, now), Some(Gate::Breaker { until: Some(until), .. }) if until == probe));
    assert_eq!(dispatcher.behind_gap(waiting, now), None, "the breaker is the first that holds it");
    assert!(own < now_at(120_000).wall);
    assert_eq!(dispatcher.prospect(Duration::from_secs(120), now), Prospect::Later(Some(probe)), "a run that waits for less ends");
    // As long as no run would wait for, all of it is left, with that as its reason; otherwise it begins with the probe.
    let foreseen = |secs| forecast(dispatcher.clone(), &Assumptions { max_wait: Duration::from_secs(secs), ..Assumptions::default() }, now);
    let left = foreseen(300).left;
    assert!(left.len() == 3 && left.iter().all(|(_, gate)| matches!(gate, Gate::Breaker { .. })), "{left:?}");
    assert!(foreseen(601).tasks.iter().all(|task| task.done_by > probe) && foreseen(601).tasks.len() == 3);
    // A retry that comes later than the probe is what it was.
    let late = now_at(600_000 + 3_600_000);
    assert_eq!(dispatcher.next_start(late).filter(|at| *at > late.wall), None, "the probe may start");
}
