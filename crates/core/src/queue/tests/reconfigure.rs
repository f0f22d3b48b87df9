//! Another config for a dispatcher at work. That every pick is right afterwards, `order` knows.

use super::world::*;
use crate::gap::GapState;
use crate::ports::Settlement;
use crate::queue::{Acquire, Charging, Pick, Rules};
use crate::record::Change;
use crate::spec::PriorityLevel;

/// One source with this window of a minute, asked by an attempt that makes one request after the other.
fn rules_with(per_minute: u32) -> Rules {
    let rules = no_rules().source("site", limits(&[per(per_minute, 60)]));
    rules.collector("crawler", 1, Charging::EachRequest).dataset("pages", Some("site"), Some("crawler"))
}

fn world() -> World {
    let mut world = World::new(rules_with(10), now_at(0));
    world.open(vec![gap("pages", "1", PriorityLevel::Medium, now_at(0))], now_at(0));
    world
}

fn reconfigure(world: &mut World, rules: Rules, millis: u64) -> Vec<Change> {
    let changes = world.dispatcher.reconfigure(rules, now_at(millis));
    world.memory.apply(&changes);
    changes
}

/// How many requests the attempt may send now, one after the other.
fn sends(world: &mut World, attempt: crate::ids::AttemptId, millis: u64) -> usize {
    let mut sent = 0;
    while let Acquire::Granted { permit, before, .. } = world.dispatcher.acquire(attempt, "site", now_at(millis)) {
        world.memory.apply(before.as_slice());
        world.reserved(before.as_slice());
        assert_eq!(world.dispatcher.sent(permit, now_at(millis)), None);
        let changes = world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(millis).boot), now_at(millis));
        world.memory.apply(&changes);
        sent += 1;
    }
    sent
}

#[test]
fn a_window_keeps_what_it_has_seen_whatever_it_allows_from_now_on() {
    let mut world = world();
    let attempt = world.start(now_at(0)).attempt;
    assert_eq!(sends(&mut world, attempt, 1), 10);
    reconfigure(&mut world, rules_with(13), 2);
    assert_eq!(sends(&mut world, attempt, 3), 3, "ten of thirteen were used");
    reconfigure(&mut world, rules_with(4), 4);
    assert_eq!(sends(&mut world, attempt, 59_000), 0);
    assert_eq!(sends(&mut world, attempt, 61_000), 4, "what was sent has left the window");
}

#[test]
fn a_request_that_is_on_its_way_counts_for_the_new_limits_until_it_has_settled() {
    let mut world = world();
    let attempt = world.start(now_at(0)).attempt;
    let Acquire::Granted { permit, .. } = world.dispatcher.acquire(attempt, "site", now_at(1)) else { panic!("it has its first permit") };
    world.dispatcher.sent(permit, now_at(1));
    reconfigure(&mut world, rules_with(1), 2);
    assert_eq!(sends(&mut world, attempt, 100_000), 0, "nobody knows yet when it arrived");
    let changes = world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(100_000).boot), now_at(100_000));
    world.memory.apply(&changes);
    assert_eq!(sends(&mut world, attempt, 159_000), 0);
    assert_eq!(sends(&mut world, attempt, 161_000), 1);
}

#[test]
fn what_runs_ends_as_it_began_although_its_dataset_and_its_source_have_left() {
    let mut world = world();
    let start = world.start(now_at(0));
    let others = no_rules().source("other", Default::default()).collector("other", 2, Charging::EachRequest);
    reconfigure(&mut world, others.dataset("others", Some("other"), Some("other")), 1);
    let new = ["a", "b"].map(|name| gap("others", name, PriorityLevel::Medium, now_at(1)));
    world.open(new.to_vec(), now_at(1));
    assert_eq!(world.dispatcher.gap_state(start.gaps[0].id, now_at(1)), Some(GapState::Running));
    world.end(&start, &done(), now_at(2));
    assert!(world.dispatcher.gap(start.gaps[0].id).is_none(), "it is filled");
    let Pick::Start(next) = world.pick(now_at(2)) else { panic!("the new ones start") };
    assert_eq!((next.task.collector.as_str(), next.gaps.len()), ("other", 2));
}

#[test]
fn a_dataset_that_comes_to_have_a_collector_makes_tasks_and_one_that_loses_it_makes_none() {
    let watched = || no_rules().source("site", Default::default()).dataset("pages", Some("site"), None);
    let mut world = World::new(watched(), now_at(0));
    world.open(vec![gap("pages", "1", PriorityLevel::Medium, now_at(0))], now_at(0));
    assert_eq!(world.dispatcher.tasks(), []);
    reconfigure(&mut world, rules_with(10), 1);
    assert_eq!(world.dispatcher.tasks().len(), 1);
    assert_eq!(world.memory.tasks.len(), 1);
    reconfigure(&mut world, watched(), 2);
    assert_eq!(world.dispatcher.tasks(), []);
    assert_eq!(world.memory.tasks.len(), 0);
    assert!(matches!(world.pick(now_at(3)), Pick::Idle(_)));
}

#[test]
fn tasks_are_cut_to_the_new_batch_and_keep_their_name_otherwise() {
    let rules = |batch| no_rules().collector("plain", batch, Charging::EachRequest).dataset("d", None, Some("plain"));
    let mut world = World::new(rules(5), now_at(0));
    let names = ["1", "2", "3", "4", "5", "6"];
    world.open(names.map(|name| gap("d", name, PriorityLevel::Medium, now_at(0))).to_vec(), now_at(0));
    let sizes = |world: &World| {
        let mut sizes: Vec<usize> = world.dispatcher.tasks().iter().map(|task| task.gaps.len()).collect();
        sizes.sort();
        sizes
    };
    assert_eq!(sizes(&world), [1, 5]);
    assert_eq!(reconfigure(&mut world, rules(5), 1), [], "nothing has changed");
    reconfigure(&mut world, rules(2), 2);
    assert_eq!(sizes(&world).iter().sum::<usize>(), 6);
    assert!(sizes(&world).iter().all(|size| *size <= 2), "{:?}", sizes(&world));
    world.restart(now_at(3));
    assert_eq!(sizes(&world).iter().sum::<usize>(), 6, "as it is remembered");
}
