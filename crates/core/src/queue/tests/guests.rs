//! Programs that are run by hand beside the tasks.

use super::world::*;
use crate::ids::{AttemptId, Uuid};
use crate::ports::{Answer, PermitId, Settlement};
use crate::queue::{Acquire, Charging, Gate, Pick};
use crate::record::Change;
use crate::spec::{BreakerPolicy, PriorityLevel};
use std::time::Duration;

const GUEST: AttemptId = AttemptId(Uuid::from_u128(1 << 100));

fn world(windows: &[crate::spec::Window]) -> World {
    let rules = no_rules().source("espn", limits(windows)).collector("c", 1, Charging::EachRequest).dataset("d", Some("espn"), Some("c"));
    World::new(rules, now_at(0))
}

fn asks(world: &mut World, millis: u64) -> Acquire {
    let asked = world.dispatcher.acquire(GUEST, "espn", now_at(millis));
    if let Acquire::Granted { before: Some(before), .. } = &asked {
        world.memory.apply(std::slice::from_ref(before));
        world.reserved(std::slice::from_ref(before));
    }
    asked
}

fn granted(asked: Acquire) -> PermitId {
    match asked {
        Acquire::Granted { permit, .. } => permit,
        other => panic!("{other:?}"),
    }
}

fn settle(world: &mut World, permit: PermitId, millis: u64) {
    let now = now_at(millis);
    let changes = world.dispatcher.settle(permit, Settlement::ArrivedBy(now.boot), now);
    world.memory.apply(&changes);
}

#[test]
fn a_guest_keeps_every_limit_and_takes_no_slot() {
    let mut world = world(&[per(2, 60)]);
    assert_eq!(asks(&mut world, 0), Acquire::NoSuchAttempt, "nobody has admitted it");
    world.dispatcher.admit(GUEST);
    let first = granted(asks(&mut world, 0));
    let second = granted(asks(&mut world, 1));
    assert!(matches!(asks(&mut world, 2), Acquire::Wait { gate: Gate::Limit { .. }, .. }), "the minute is used up");
    world.open(vec![gap("d", "a", PriorityLevel::Critical, now_at(2))], now_at(2));
    assert!(matches!(world.pick(now_at(2)), Pick::Idle(_)), "for tasks, too");
    settle(&mut world, first, 100);
    settle(&mut world, second, 100);
    assert_eq!(world.starts(now_at(60_101)).len(), 1, "no guest has a claim, and none takes a slot");
    assert_eq!(world.dispatcher.slots_used(), 1);
    let third = granted(asks(&mut world, 60_101));
    let changes = world.dispatcher.dismiss(GUEST, now_at(60_200));
    world.memory.apply(&changes);
    assert_eq!(asks(&mut world, 200_000), Acquire::NoSuchAttempt);
    // What it had under way counts until it is settled, and a window longer.
    assert_eq!(world.dispatcher.figures(now_at(200_000))[0].windows[0].used, 2);
    settle(&mut world, third, 200_000);
    assert_eq!(world.dispatcher.figures(now_at(260_001))[0].windows[0].used, 1, "the first request of the task");
    assert_eq!(world.dispatcher.guests(), 0);
}

#[test]
fn what_a_guest_sent_is_on_record_when_it_has_gone() {
    let mut world = world(&[per(60, 60)]);
    world.dispatcher.admit(GUEST);
    let permit = granted(asks(&mut world, 0));
    settle(&mut world, permit, 10);
    let changes = world.dispatcher.dismiss(GUEST, now_at(20));
    world.memory.apply(&changes);
    let reservations: Vec<_> = world.memory.reservations.values().collect();
    assert_eq!(reservations.len(), 1);
    assert_eq!(reservations[0].settled.as_ref().map(|settled| settled.used), Some(1), "what it did not use is given back");
}

#[test]
fn a_guest_that_probes_a_breaker_makes_room_when_it_goes() {
    let breaker = BreakerPolicy { failures: 1, cooldown: Duration::from_secs(10), cooldown_max: Duration::from_secs(10), rate: None };
    let mut rules = no_rules().source("espn", limits(&[])).collector("c", 1, Charging::EachRequest).dataset("d", Some("espn"), Some("c"));
    rules.sources["espn"].breaker = Some(breaker);
    let mut world = World::new(rules, now_at(0));
    world.dispatcher.admit(GUEST);
    granted(asks(&mut world, 0));
    let changes = world.dispatcher.answered(GUEST, "espn", Answer::NoAnswer, now_at(1));
    assert!(changes.iter().any(|change| matches!(change, Change::PutSource(..))), "what a guest meets is known to all");
    assert!(matches!(asks(&mut world, 2), Acquire::Wait { gate: Gate::Breaker { .. }, .. }));
    granted(asks(&mut world, 10_002));
    world.open(vec![gap("d", "a", PriorityLevel::High, now_at(10_003))], now_at(10_003));
    assert!(matches!(world.pick(now_at(10_003)), Pick::Idle(_)), "the guest is the probe");
    world.dispatcher.dismiss(GUEST, now_at(10_004));
    assert_eq!(world.starts(now_at(10_004)).len(), 1);
}

/// And a crash costs no more permits in vain than it did when a second's worth was reserved in one piece.
#[test]
fn a_busy_source_never_waits_for_its_next_reservation() {
    let mut world = world(&[per(40, 1)]);
    world.dispatcher.admit(GUEST);
    let (mut waited, mut most) = (0, 0);
    for n in 0..400 {
        let asked = world.dispatcher.acquire(GUEST, "espn", now_at(n * 30));
        let Acquire::Granted { permit, before, .. } = asked else { panic!("{asked:?}") };
        waited += u64::from(before.is_some());
        let ahead = world.dispatcher.reserve_ahead(now_at(n * 30));
        for change in before.iter().chain(&ahead) {
            world.memory.apply(std::slice::from_ref(change));
            world.reserved(std::slice::from_ref(change));
        }
        settle(&mut world, permit, n * 30 + 1);
        let remembered = world.memory.remembered(now_at(n * 30).wall);
        let open = remembered.reservations.iter().filter(|reservation| reservation.settled.is_none());
        most = most.max(open.map(|reservation| reservation.permits).sum());
    }
    assert_eq!((waited, most), (1, 40), "only the very first request");
    let changes = world.dispatcher.dismiss(GUEST, now_at(20_000));
    world.memory.apply(&changes);
    let remembered = world.memory.remembered(now_at(20_000).wall);
    assert!(remembered.reservations.iter().all(|reservation| reservation.settled.is_some()), "nothing stays reserved for nobody");
}

#[test]
fn what_was_reserved_ahead_and_never_used_is_forgotten() {
    let mut world = world(&[per(40, 1)]);
    world.dispatcher.admit(GUEST);
    for n in 0..10 {
        let permit = granted(asks(&mut world, n));
        let ahead = world.dispatcher.reserve_ahead(now_at(n));
        world.memory.apply(&ahead);
        world.reserved(&ahead);
        settle(&mut world, permit, n);
    }
    assert_eq!(world.memory.remembered(now_at(10).wall).reservations.len(), 2);
    let late = granted(asks(&mut world, 60_000));
    settle(&mut world, late, 60_001);
    let remembered = world.memory.remembered(now_at(60_001).wall);
    assert_eq!(remembered.reservations.iter().map(|reservation| reservation.permits).collect::<Vec<_>>(), [20], "the one in use");
}
