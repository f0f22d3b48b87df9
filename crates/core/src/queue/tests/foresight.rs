//! A forecast against the run that follows it.

use super::world::*;
use crate::ports::Settlement;
use crate::queue::{Acquire, Assumptions, Charge, Charging, Foresight, Gate, Pick, Rules, forecast};
use crate::spec::{Limits, PriorityLevel};
use std::time::Duration;

fn rules() -> Rules {
    no_rules()
        .source("slow", Limits { min_delay: Some(Duration::from_secs(3)), ..limits(&[per(20, 60)]) })
        .source("fast", limits(&[per(100, 1)]))
        .collector("page", 1, Charging::EachRequest)
        .dataset("slow", Some("slow"), Some("page"))
        .dataset("fast", Some("fast"), Some("page"))
}

fn world(slow: usize, fast: usize) -> World {
    let mut world = World::new(rules(), now_at(0));
    let of = |dataset: &str, count: usize, priority| {
        (0..count).map(|n| gap(dataset, &format!("{n:05}"), priority, now_at(0))).collect::<Vec<_>>()
    };
    let mut gaps = of("slow", slow, PriorityLevel::High);
    gaps.extend(of("fast", fast, PriorityLevel::Low));
    world.open(gaps, now_at(0));
    world
}

#[test]
fn a_forecast_starts_what_a_run_starts() {
    let mut world = world(5, 30);
    let foreseen = forecast(world.dispatcher.clone(), &Assumptions::default(), now_at(0));
    assert_eq!(foreseen.tasks.len(), 35);
    let first: Vec<_> = foreseen.tasks.iter().take(5).map(|foreseen| foreseen.task.id).collect();
    let mut started = Vec::new();
    while let Pick::Start(start) = world.pick(now_at(0)) {
        started.push(start.task.id);
    }
    assert_eq!(started, first);
    assert_eq!(foreseen.requests, 35);
    assert!(foreseen.tasks.iter().all(|foreseen| foreseen.how == Foresight::WorkedThrough));
}

#[test]
fn the_slowest_limit_is_the_bottleneck_and_says_when_all_is_done() {
    let foreseen = forecast(world(21, 10).dispatcher, &Assumptions::default(), now_at(0));
    let bottleneck = foreseen.bottleneck.unwrap();
    assert_eq!((bottleneck.source.as_deref(), bottleneck.limit.as_str()), (Some("slow"), "min_delay"));
    assert_eq!(bottleneck.every, Duration::from_millis(3_250));
    // 20 pauses of 3.25 s, and the last request.
    assert_eq!(foreseen.done_by, Some(now_at(65_250).wall));
}

#[test]
fn beyond_the_exact_part_the_rates_of_the_limits_go_on() {
    let exact = forecast(world(200, 0).dispatcher, &Assumptions::default(), now_at(0));
    let short = Assumptions { exact_starts: 40, ..Assumptions::default() };
    let rough = forecast(world(200, 0).dispatcher, &short, now_at(0));
    assert_eq!(rough.tasks.len(), 200);
    assert_eq!(rough.tasks.iter().filter(|foreseen| foreseen.how == Foresight::Extrapolated).count(), 160);
    let order = |of: &[crate::queue::Foreseen]| of.iter().map(|foreseen| foreseen.task.id).collect::<Vec<_>>();
    assert_eq!(order(&rough.tasks), order(&exact.tasks));
    let off = exact.done_by.unwrap().duration_since(rough.done_by.unwrap()).abs();
    assert!(off < crate::time::SignedDuration::from_secs(10), "{off:#}");
}

#[test]
fn what_no_run_would_start_is_left_with_its_reason() {
    let mut world = world(1, 2);
    world.dispatcher.hold(Some("slow"));
    let foreseen = forecast(world.dispatcher.clone(), &Assumptions::default(), now_at(0));
    assert_eq!(foreseen.tasks.len(), 2);
    assert!(matches!(foreseen.left.as_slice(), [(_, Gate::Surprise { .. })]), "{:?}", foreseen.left);
}

#[test]
fn a_forecast_waits_for_limits_like_the_run_does() {
    let mut world = world(3, 0);
    let foreseen = forecast(world.dispatcher.clone(), &Assumptions::default(), now_at(0));
    let mut at = 0;
    let mut done_by = Vec::new();
    while done_by.len() < 3 {
        match world.pick(now_at(at)) {
            Pick::Idle(idle) => at = (idle.wake_at.expect("a limit ends").as_micros() - now_at(0).boot.as_micros()).div_ceil(1_000),
            Pick::Start(start) => {
                assert!(matches!(start.charge, Charge::First(_)));
                let Acquire::Granted { permit, .. } = world.dispatcher.acquire(start.attempt, "slow", now_at(at)) else { panic!() };
                world.dispatcher.sent(permit, now_at(at));
                at += 250;
                world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(at).boot), now_at(at));
                world.end(&start, &done(), now_at(at));
                done_by.push(now_at(at).wall);
            }
        }
    }
    assert_eq!(foreseen.tasks.iter().map(|foreseen| foreseen.done_by).collect::<Vec<_>>(), done_by);
}

#[test]
fn limits_take_what_their_windows_have_not_left() {
    // 30 at once of 30 a minute, and nobody may ask for more: 70 more are 140 s away at least.
    let rules = no_rules()
        .source("few", limits(&[per(30, 60)]))
        .source("many", limits(&[per(100, 1)]))
        .collector("page", 1, Charging::EachRequest)
        .dataset("few", Some("few"), Some("page"))
        .dataset("many", Some("many"), Some("page"));
    let mut world = World::new(rules, now_at(0));
    let of = |dataset: &str, count: usize| {
        (0..count).map(|n| gap(dataset, &format!("{n:05}"), PriorityLevel::High, now_at(0))).collect::<Vec<_>>()
    };
    world.open(of("few", 30), now_at(0));
    assert_eq!(world.dispatcher.limits_take(now_at(0)), Duration::ZERO);
    world.open([of("few", 100)[30..].to_vec(), of("many", 150)].concat(), now_at(0));
    assert_eq!(world.dispatcher.limits_take(now_at(0)), Duration::from_secs(140));
    while matches!(world.pick(now_at(0)), Pick::Start(_)) {}
    assert_eq!(world.dispatcher.limits_take(now_at(0)), Duration::from_secs(140), "30 have started, and their window is full");
}
