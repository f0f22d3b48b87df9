//! Permits over time: who still counts, for which limits, and until when.

use std::time::Duration;

use super::world::*;
use crate::queue::{Charge, Charging, Dispatcher, Rules};
use crate::record::Change;
use crate::spec::{Limits, PriorityLevel};

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
