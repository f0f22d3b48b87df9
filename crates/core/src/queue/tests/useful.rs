//! Slots go where they do work: who would only wait for permits of its source leaves its slot to others.

use std::time::Duration;

use super::world::*;
use crate::ports::Settlement;
use crate::queue::{Acquire, Charging, Gate, Idle, Pick, Rules, Start};
use crate::spec::{Limits, PriorityLevel};
use crate::time::Now;

/// A source with these limits whose pages are fetched twenty in an attempt, and one without any.
fn beside_a_free_source(slow: Limits) -> Rules {
    no_rules()
        .source("slow", slow)
        .source("free", Limits::default())
        .collector("crawl", 20, Charging::EachRequest)
        .collector("page", 1, Charging::EachRequest)
        .dataset("history", Some("slow"), Some("crawl"))
        .dataset("pages", Some("free"), Some("page"))
        .dataset("single", Some("slow"), Some("page"))
}

fn open(world: &mut World, dataset: &str, priority: PriorityLevel, items: usize, now: Now) {
    world.open((0..items).map(|item| gap(dataset, &format!("{item:03}"), priority, now)).collect(), now);
}

fn idle(world: &mut World, now: Now) -> Idle {
    match world.pick(now) {
        Pick::Idle(idle) => idle,
        Pick::Start(start) => panic!("{} starts", start.task.key),
    }
}

fn would_wait(at_work: u32) -> Gate {
    Gate::WouldWait { source: "slow".into(), at_work, slots: 5 }
}

/// The attempt asks, is granted what it asks for, and is answered so much later.
fn request(world: &mut World, start: &Start, asked: u64, millis: u64) {
    let Acquire::Granted { permit, before, .. } = world.dispatcher.acquire(start.attempt, "slow", now_at(asked)) else {
        panic!("it has to wait")
    };
    world.reserved(before.as_slice());
    world.dispatcher.sent(permit, now_at(asked));
    let at = now_at(asked + millis);
    world.dispatcher.settle(permit, Settlement::ArrivedBy(at.boot), at);
}

#[test]
fn a_slow_source_does_not_fill_the_slots_while_a_free_one_has_work() {
    for slow in [limits(&[per(20, 60)]), Limits { burst: Some(5), ..limits(&[per(20, 60)]) }] {
        let mut world = World::new(beside_a_free_source(slow), now_at(0));
        open(&mut world, "history", PriorityLevel::High, 100, now_at(0));
        open(&mut world, "pages", PriorityLevel::Low, 10, now_at(0));
        assert_eq!(world.starts(now_at(0)), ["history/000", "pages/000", "pages/001", "pages/002", "pages/003"]);
    }
}

#[test]
fn alone_it_has_one_slot_more_than_it_needs_and_the_others_stay_free_for_what_falls_due() {
    let mut world = World::new(beside_a_free_source(limits(&[per(20, 60)])), now_at(0));
    open(&mut world, "history", PriorityLevel::High, 100, now_at(0));
    assert_eq!(world.starts(now_at(0)), ["history/000", "history/020"]);
    let idle = idle(&mut world, now_at(0));
    assert_eq!(idle.waiting[0].gate, would_wait(2));
    let waits = world.dispatcher.tasks().into_iter().find(|task| task.key == "history/040").unwrap();
    assert_eq!(world.dispatcher.why_task(waits.id, now_at(0)), Some(would_wait(2)));
    open(&mut world, "pages", PriorityLevel::Low, 10, now_at(500));
    assert_eq!(world.starts(now_at(500)), ["pages/000", "pages/001", "pages/002"]);
}

#[test]
fn what_is_left_of_a_window_is_used_by_as_many_as_it_is_enough_for() {
    let mut world = World::new(beside_a_free_source(limits(&[per(60, 60)])), now_at(0));
    open(&mut world, "history", PriorityLevel::High, 100, now_at(0));
    open(&mut world, "pages", PriorityLevel::Low, 10, now_at(0));
    assert_eq!(world.starts(now_at(0)), ["history/000", "history/020", "history/040", "pages/000", "pages/001"]);
}

#[test]
fn whoever_ranks_above_those_at_work_starts_beside_them() {
    let mut world = World::new(beside_a_free_source(limits(&[per(20, 60)])), now_at(0));
    open(&mut world, "history", PriorityLevel::Low, 20, now_at(0));
    assert_eq!(world.starts(now_at(0)), ["history/000"]);
    let tonight = (0..20).map(|item| gap("history", &format!("tonight {item:02}"), PriorityLevel::Critical, now_at(100)));
    world.open(tonight.collect(), now_at(100));
    open(&mut world, "pages", PriorityLevel::Low, 10, now_at(100));
    assert_eq!(world.start(now_at(100)).task.key, "history/tonight 00");
    assert_eq!(world.start(now_at(100)).task.key, "pages/000");
}

/// Whom a permit is enough for waits for none, so it does not give way to the free source.
#[test]
fn whoever_needs_one_request_has_it_and_starts() {
    let mut world = World::new(beside_a_free_source(limits(&[per(20, 60)])), now_at(0));
    open(&mut world, "history", PriorityLevel::High, 20, now_at(0));
    open(&mut world, "single", PriorityLevel::Medium, 10, now_at(0));
    open(&mut world, "pages", PriorityLevel::Low, 10, now_at(0));
    assert_eq!(world.starts(now_at(0)), ["history/000", "single/000", "single/001", "single/002", "single/003"]);
}

#[test]
fn an_attempt_that_has_been_silent_for_four_turns_leaves_its_permits_to_others() {
    let mut world = World::new(beside_a_free_source(limits(&[per(20, 60)])), now_at(0));
    open(&mut world, "history", PriorityLevel::High, 60, now_at(0));
    let (first, second) = (world.start(now_at(0)), world.start(now_at(0)));
    for start in [&first, &second] {
        request(&mut world, start, 0, 100);
        // Two seconds from the start to the second request.
        request(&mut world, start, 2_000, 100);
    }
    let waits = idle(&mut world, now_at(10_000));
    assert_eq!(waits.waiting[0].gate, would_wait(2));
    let silent_at = waits.wake_at.expect("an instant").as_micros() - now_at(0).boot.as_micros();
    assert_eq!(silent_at, 10_000_001, "four turns of two seconds after it asked");
    assert_eq!(world.start(now_at(10_001)).task.key, "history/040");
}

#[test]
fn a_source_whose_pages_take_longer_gets_more_slots() {
    let mut rules = beside_a_free_source(limits(&[per(20, 60)]));
    rules.slots = 8;
    let mut world = World::new(rules, now_at(0));
    open(&mut world, "history", PriorityLevel::High, 200, now_at(0));
    open(&mut world, "pages", PriorityLevel::Low, 1, now_at(0));
    let first = world.start(now_at(0));
    assert_eq!(world.start(now_at(0)).task.key, "pages/000");
    // A page each ten seconds, of which the answer takes two: 20 / 62 s × 10 s = 3.2.
    for page in 0..8 {
        request(&mut world, &first, page * 10_000, 2_000);
    }
    open(&mut world, "pages", PriorityLevel::Medium, 10, now_at(75_000));
    let started = world.starts(now_at(75_000));
    assert_eq!(started.iter().filter(|key| key.starts_with("history/")).count(), 3, "{started:?}");
    assert_eq!(world.dispatcher.figures(now_at(75_000))[0].useful_attempts, Some(4));
}

#[test]
fn time_that_an_attempt_waits_is_none_of_its_turn() {
    let mut world = World::new(beside_a_free_source(limits(&[per(20, 60)])), now_at(0));
    open(&mut world, "history", PriorityLevel::High, 60, now_at(0));
    let first = world.start(now_at(0));
    for page in 0..20 {
        request(&mut world, &first, page * 300, 100);
    }
    assert!(matches!(world.dispatcher.acquire(first.attempt, "slow", now_at(6_000)), Acquire::Wait { .. }));
    request(&mut world, &first, 60_200, 100);
    assert_eq!(world.dispatcher.habits.turn((crate::limits::SourceIx(0), 0)), Duration::from_millis(300));
}

/// Each declares twenty, and of one that made two the next ones are expected to make two, which is there for all of them.
#[test]
fn who_starts_next_wants_what_those_before_it_turned_out_to_make() {
    let mut world = World::new(beside_a_free_source(limits(&[per(20, 60)])), now_at(0));
    open(&mut world, "history", PriorityLevel::High, 300, now_at(0));
    let first = world.start(now_at(0));
    request(&mut world, &first, 0, 100);
    request(&mut world, &first, 1_000, 100);
    world.end(&first, &done(), now_at(1_200));
    assert_eq!(world.starts(now_at(1_200)).len(), 5);
}

/// What the config declares of its attempts counts only as long as none is known.
#[test]
fn whose_attempts_turn_out_to_make_one_request_each_is_not_kept_back() {
    let rules = beside_a_free_source(limits(&[per(20, 60)]));
    let rules = rules.collector("bulk", 20, Charging::EachRequest).dataset("bulks", Some("slow"), Some("bulk"));
    let mut world = World::new(rules, now_at(0));
    open(&mut world, "bulks", PriorityLevel::Medium, 100, now_at(0));
    let first = world.start(now_at(0));
    request(&mut world, &first, 0, 100);
    world.end(&first, &done(), now_at(200));
    open(&mut world, "history", PriorityLevel::High, 20, now_at(200));
    open(&mut world, "pages", PriorityLevel::Low, 10, now_at(200));
    assert_eq!(world.starts(now_at(200)), ["history/000", "bulks/020", "bulks/040", "bulks/060", "bulks/080"]);
}

#[test]
fn nobody_is_kept_back_for_ever_and_the_best_is_next() {
    let mut world = World::new(beside_a_free_source(Limits { in_flight: Some(1), ..Limits::default() }), now_at(0));
    open(&mut world, "history", PriorityLevel::High, 60, now_at(0));
    let first = world.start(now_at(0));
    request(&mut world, &first, 0, 2_000);
    open(&mut world, "pages", PriorityLevel::Low, 40, now_at(2_000));
    assert_eq!(world.starts(now_at(2_000)), ["pages/000", "pages/001", "pages/002", "pages/003"]);
    world.end(&first, &done(), now_at(9_000));
    assert_eq!(world.start(now_at(9_000)).task.key, "history/020", "before what is left of the free source");
}
