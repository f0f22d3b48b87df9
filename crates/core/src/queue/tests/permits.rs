//! Permits over time: who still counts, for which limits, and until when.

use std::time::Duration;

use super::world::*;
use crate::ids::AttemptId;
use crate::ports::{Answer, PermitId, Settlement};
use crate::queue::{Acquire, Charge, Charging, Dispatcher, Gate, Paid, Pick, Rules};
use crate::record::Change;
use crate::spec::{BreakerPolicy, Limits, PriorityLevel};

fn lingering(limits: Limits, secs: u64) -> Limits {
    Limits { linger: Duration::from_secs(secs), ..limits }
}

/// One source with these limits, and those of all sources together.
fn under(source: Limits, all: Limits, charge: Charging, batch: u32) -> World {
    let mut rules = no_rules().source("espn", source).collector("c", batch, charge).dataset("d", Some("espn"), Some("c"));
    rules.limits = all;
    World::new(rules, now_at(0))
}

fn open(world: &mut World, count: usize) {
    let gaps = (0..count).map(|n| gap("d", &format!("{n:02}"), PriorityLevel::High, now_at(0))).collect();
    world.open(gaps, now_at(0));
}

#[test]
fn a_charge_counts_for_the_longest_linger_of_the_limits_that_it_is_in() {
    for (source, all) in [(1, 5), (5, 1)] {
        let (source, all) = (lingering(limits(&[per(20, 60)]), source), lingering(limits(&[per(20, 60)]), all));
        let mut world = under(source, all, Charging::Ahead, 15);
        open(&mut world, 15);
        let start = world.start(now_at(0));
        assert_eq!(start.charge, Charge::Ahead(15));
        world.end(&start, &done(), now_at(30_000));
        assert_eq!(world.dispatcher.figures(now_at(94_999))[0].windows[0].used, 15, "5 s of linger and the minute are not over");
        assert_eq!(world.dispatcher.figures(now_at(95_001))[0].windows[0].used, 0);
    }
}

#[test]
fn a_restart_settles_what_nobody_settled_with_the_longest_linger() {
    let (source, all) = (lingering(limits(&[per(20, 60)]), 1), lingering(limits(&[per(20, 60)]), 5));
    let mut world = under(source, all, Charging::Ahead, 15);
    open(&mut world, 15);
    world.start(now_at(0));
    let rules = world.dispatcher.rules().clone();
    let restarted_at = now_at(10_000);
    let (_, changes) = Dispatcher::new(rules, &mut world.memory.remembered(restarted_at.wall), boot_id(), restarted_at);
    let settled = changes.iter().find_map(|change| match change {
        Change::SettleReservation { settled, .. } => Some(*settled),
        _ => None,
    });
    assert_eq!(settled.unwrap().last_arrival, now_at(15_000).boot);
}

/// As restarted at `millis` with a config in which the sources have these limits.
fn restarted(world: &mut World, rules: Rules, millis: u64) -> Dispatcher {
    let now = now_at(millis);
    let (dispatcher, changes) = Dispatcher::new(rules, &mut world.memory.remembered(now.wall), boot_id(), now);
    world.memory.apply(&changes);
    dispatcher
}

fn without_espn(world: &World) -> Rules {
    let mut rules = world.dispatcher.rules().clone();
    rules.sources.clear();
    rules.datasets.clear();
    rules.source("other", Limits::default())
}

#[test]
fn what_a_removed_source_was_sent_still_counts_for_all_sources_together() {
    for ends in [true, false] {
        let mut world = under(limits(&[per(20, 60)]), limits(&[per(20, 60)]), Charging::Ahead, 15);
        open(&mut world, 15);
        let start = world.start(now_at(0));
        if ends {
            world.end(&start, &done(), now_at(9_000));
        }
        let rules = without_espn(&world);
        let dispatcher = restarted(&mut world, rules, 10_000);
        let used = |millis: u64| dispatcher.grants.limiter().usage(None, now_at(millis).boot)[0].used;
        let until = if ends { 70_000 } else { 71_000 };
        assert_eq!((used(10_000), used(until - 1), used(until + 1)), (15, 15, 0), "settled: {ends}");
    }
}

#[test]
fn a_source_that_comes_back_into_the_config_finds_what_it_was_sent() {
    let mut world = under(limits(&[per(20, 3_600)]), Limits::default(), Charging::Ahead, 15);
    let (before, after) = (world.dispatcher.rules().clone(), without_espn(&world));
    open(&mut world, 15);
    let start = world.start(now_at(0));
    world.end(&start, &done(), now_at(9_000));
    world.dispatcher = restarted(&mut world, after, 600_000);
    let dispatcher = restarted(&mut world, before, 1_200_000);
    assert_eq!(dispatcher.figures(now_at(1_200_000))[0].windows[0].used, 15);
}

// ------------------------------------------------------------------------- what a charged attempt sends through the gateway

fn granted(world: &mut World, attempt: AttemptId, millis: u64) -> (PermitId, Paid) {
    match world.dispatcher.acquire(attempt, "espn", now_at(millis)) {
        Acquire::Granted { permit, before, paid } => {
            world.memory.apply(before.as_slice());
            assert_eq!(world.dispatcher.sent(permit, now_at(millis)), None);
            (permit, paid)
        }
        refused => panic!("{refused:?}"),
    }
}

/// The limit that it waits for.
fn waits(world: &mut World, attempt: AttemptId, millis: u64) -> String {
    match world.dispatcher.acquire(attempt, "espn", now_at(millis)) {
        Acquire::Wait { gate: Gate::Limit { limit, .. }, .. } => limit,
        other => panic!("{other:?}"),
    }
}

fn arrived(world: &mut World, permit: PermitId, millis: u64) {
    let changes = world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(millis).boot), now_at(millis));
    world.memory.apply(&changes);
}

fn used(world: &World, millis: u64) -> Vec<u32> {
    world.dispatcher.figures(now_at(millis))[0].windows.iter().map(|window| window.used).collect()
}

#[test]
fn what_a_charged_attempt_sends_through_us_is_spaced_and_not_charged_again() {
    let source = Limits { in_flight: Some(1), min_delay: Some(Duration::from_millis(500)), ..limits(&[per(2, 1), per(20, 60)]) };
    let mut world = under(source, limits(&[per(20, 60)]), Charging::Ahead, 15);
    open(&mut world, 15);
    let attempt = world.start(now_at(0)).attempt;
    let (first, paid) = granted(&mut world, attempt, 100);
    assert_eq!(paid, Paid::Ahead);
    assert_eq!(used(&world, 100), [1, 15], "in the short window, and not once more in the long one");
    assert_eq!(waits(&mut world, attempt, 200), "min_delay", "it begins when the one before has settled");
    arrived(&mut world, first, 300);
    assert_eq!(waits(&mut world, attempt, 400), "min_delay");
    let (second, _) = granted(&mut world, attempt, 800);
    arrived(&mut world, second, 800);
    assert_eq!(waits(&mut world, attempt, 1_300), "per_second: 2");
    granted(&mut world, attempt, 1_301);
    assert_eq!(used(&world, 1_301), [2, 15]);
    assert_eq!(world.dispatcher.running()[0].requests, 15, "they were counted when they were charged");
}

#[test]
fn the_spread_holds_for_what_was_charged_ahead() {
    let mut world = under(Limits { burst: Some(2), ..limits(&[per(60, 60)]) }, Limits::default(), Charging::Ahead, 15);
    open(&mut world, 15);
    let attempt = world.start(now_at(0)).attempt;
    for _ in 0..2 {
        granted(&mut world, attempt, 0);
    }
    assert_eq!(waits(&mut world, attempt, 999), "burst");
    granted(&mut world, attempt, 1_000);
}

#[test]
fn the_one_request_of_a_charge_waits_for_nothing_but_its_source() {
    let source = Limits { in_flight: Some(1), min_delay: Some(Duration::from_secs(1)), ..limits(&[per(1, 1), per(20, 60)]) };
    let mut world = under(source, Limits::default(), Charging::Ahead, 1);
    open(&mut world, 1);
    let attempt = world.start(now_at(0)).attempt;
    let (permit, paid) = granted(&mut world, attempt, 100);
    assert_eq!((paid, used(&world, 100)), (Paid::Ahead, vec![1, 1]));
    let answer = Answer::later(429, crate::ports::RetryAfter::Seconds(30));
    world.dispatcher.answered(attempt, "espn", answer, now_at(200));
    assert_eq!(world.dispatcher.sent(permit, now_at(200)), Some(now_at(30_200).boot), "not while its source is paused");
}

#[test]
fn what_goes_beyond_a_charge_is_charged_and_does_not_wait_for_its_own_attempt() {
    for batch in [1, 15] {
        let source = Limits { in_flight: Some(1), ..limits(&[per(batch, 60)]) };
        let mut world = under(source, Limits::default(), Charging::Ahead, batch);
        open(&mut world, batch as usize);
        let attempt = world.start(now_at(0)).attempt;
        for n in 0..batch {
            let at = u64::from(n) * 100;
            let (permit, paid) = granted(&mut world, attempt, at);
            assert_eq!(paid, Paid::Ahead);
            arrived(&mut world, permit, at + 50);
        }
        let last = u64::from(batch - 1) * 100 + 50;
        assert_eq!(waits(&mut world, attempt, 10_000), format!("per_minute: {batch}"));
        assert_eq!(used(&world, last + 60_000), [batch], "all that was charged counts until the last of it has settled and a minute");
        let (beyond, paid) = granted(&mut world, attempt, last + 60_001);
        assert_eq!((paid, used(&world, last + 60_001)), (Paid::Now, vec![1]));
        arrived(&mut world, beyond, last + 60_001);
    }
}

#[test]
fn a_request_that_was_not_sent_leaves_its_charge_as_it_was() {
    for batch in [1, 2] {
        let mut world = under(limits(&[per(20, 60)]), Limits::default(), Charging::Ahead, batch);
        open(&mut world, batch as usize);
        let start = world.start(now_at(0));
        for at in 0..5 {
            let (permit, paid) = granted(&mut world, start.attempt, at);
            assert_eq!(paid, Paid::Ahead);
            world.dispatcher.settle(permit, Settlement::Unsent, now_at(at));
        }
        world.end(&start, &done(), now_at(10_000));
        assert_eq!((used(&world, 70_999), used(&world, 71_001)), (vec![batch], vec![0]), "it may have sent them by itself");
    }
}

#[test]
fn a_charge_does_not_end_before_the_requests_it_paid_for() {
    for batch in [1, 2] {
        let mut world = under(limits(&[per(20, 60)]), Limits::default(), Charging::Ahead, batch);
        open(&mut world, batch as usize);
        let start = world.start(now_at(0));
        let (permit, _) = granted(&mut world, start.attempt, 100);
        world.end(&start, &failed(crate::gap::Fault::Item), now_at(200));
        let on_record = |world: &World| world.memory.reservations.values().next().and_then(|one| one.settled);
        assert_eq!(on_record(&world), None);
        // Its connection is closed a little later, and the request may still arrive.
        arrived(&mut world, permit, 9_000);
        assert_eq!(on_record(&world).map(|settled| (settled.used, settled.last_arrival)), Some((batch, now_at(9_000).boot)));
        assert_eq!((used(&world, 69_000), used(&world, 69_001)), (vec![batch], vec![0]));
    }
}

#[test]
fn a_charge_of_many_starts_beside_a_request_that_waits_for_its_distance() {
    let mut world = under(Limits { in_flight: Some(1), ..limits(&[per(40, 60)]) }, Limits::default(), Charging::Ahead, 10);
    open(&mut world, 20);
    let first = world.start(now_at(0));
    granted(&mut world, first.attempt, 1);
    assert_eq!(waits(&mut world, first.attempt, 2), "in_flight");
    assert!(matches!(world.pick(now_at(3)), Pick::Start(_)), "it takes nothing that the request waits for");
}

#[test]
fn a_request_behind_a_breaker_keeps_nobody_of_another_source_from_starting() {
    let mut rules = no_rules().source("espn", Limits::default()).source("other", limits(&[per(20, 60)]));
    rules.sources["espn"].breaker = Some(BreakerPolicy { failures: 1, cooldown: Duration::from_secs(600), ..BreakerPolicy::default() });
    let rules = rules.collector("c", 1, Charging::EachRequest).dataset("d", Some("espn"), Some("c")).dataset("o", Some("other"), Some("c"));
    let mut world = World::new(rules, now_at(0));
    world.open(vec![gap("d", "critical", PriorityLevel::Critical, now_at(0))], now_at(0));
    let first = world.start(now_at(0));
    granted(&mut world, first.attempt, 0);
    world.dispatcher.answered(first.attempt, "espn", Answer::NoAnswer, now_at(1));
    assert!(matches!(world.dispatcher.acquire(first.attempt, "espn", now_at(2)), Acquire::Wait { gate: Gate::Breaker { .. }, .. }));
    world.open(vec![gap("o", "low", PriorityLevel::Low, now_at(3))], now_at(3));
    assert_eq!(world.starts(now_at(3)), ["o/low"]);
}
