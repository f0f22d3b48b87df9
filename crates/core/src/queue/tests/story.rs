//! What an attempt tells of how it came to start, and of what it left.

use super::world::*;
use crate::gap::{Fault, Gap, Progress, Standing};
use crate::queue::{Charging, Gate, Pick, Rules};
use crate::record::{Change, Left, Story};
use crate::spec::PriorityLevel;

fn rules() -> Rules {
    no_rules()
        .source("slow", limits(&[per(1, 60)]))
        .source("free", limits(&[]))
        .collector("c", 1, Charging::Ahead)
        .dataset("slow", Some("slow"), Some("c"))
        .dataset("free", Some("free"), Some("c"))
}

fn story(world: &World, start: &crate::queue::Start) -> Story {
    world.dispatcher.story(start.attempt).expect("it runs")
}

#[test]
fn a_start_tells_its_rank_among_all_that_was_ready_and_what_held_it_back_since_when() {
    let mut world = World::new(rules(), now_at(0));
    let gaps = ["a", "b"].map(|name| gap("slow", name, PriorityLevel::High, now_at(0)));
    world.open(gaps.into_iter().chain([gap("free", "x", PriorityLevel::Low, now_at(0))]).collect(), now_at(0));
    let first = world.start(now_at(0));
    let told = story(&world, &first);
    assert_eq!((told.rank, told.ready, told.waits, told.better), (1, 3, vec![], 0));
    assert_eq!((told.score, told.gaps[0].key.as_str()), (first.score, "slow/a"));
    let low = world.start(now_at(1_000));
    let told = story(&world, &low);
    assert_eq!((low.task.key.as_str(), told.rank, told.ready), ("free/x", 2, 2), "a better one was held back");
    assert_eq!((told.waits, told.better), (vec![], 1), "nothing held this one but the better one before it");
    world.end(&first, &done(), now_at(2_000));
    world.end(&low, &done(), now_at(2_000));
    assert!(matches!(world.pick(now_at(30_000)), Pick::Idle(_)));
    let second = world.start(now_at(70_000));
    let [waited] = &story(&world, &second).waits[..] else { panic!("it was held back by one thing") };
    assert_eq!(
        (waited.since, waited.micros, waited.times),
        (now_at(30_000).wall, 40_000_000, 1),
        "from the first look that found nothing to start"
    );
    assert!(
        matches!(&waited.gate, Gate::Limit { source: Some(source), limit, .. } if source == "slow" && limit == "per_minute: 1"),
        "{waited:?}"
    );
}

#[test]
fn nothing_is_said_to_have_waited_before_it_was_there() {
    let mut world = World::new(rules(), now_at(0));
    world.open(vec![gap("slow", "a", PriorityLevel::High, now_at(0)), gap("slow", "b", PriorityLevel::High, now_at(0))], now_at(0));
    let first = world.start(now_at(0));
    assert!(matches!(world.pick(now_at(1_000)), Pick::Idle(_)), "b is held back");
    world.end(&first, &done(), now_at(1_000));
    // It is filled by somebody else, and another one comes much later.
    let b = world.dispatcher.gaps()[0].id;
    world.reconcile(crate::queue::GapNews { closed: vec![(b, crate::record::Closed::FoundFilled)], ..Default::default() }, now_at(2_000));
    world.open(vec![gap("slow", "c", PriorityLevel::High, now_at(50_000))], now_at(50_000));
    assert!(matches!(world.pick(now_at(50_000)), Pick::Idle(_)));
    let second = world.start(now_at(70_000));
    let [waited] = &story(&world, &second).waits[..] else { panic!("it was held back by one thing") };
    assert_eq!((waited.since, waited.micros), (now_at(50_000).wall, 20_000_000));
}

#[test]
fn an_end_tells_where_each_gap_was_left_and_which_were_revived() {
    let mut world = World::new(rules(), now_at(0));
    let exhausted = Progress { standing: Standing::Exhausted, attempts: 3, next_try: Some(now_at(1_000).wall), ..Progress::default() };
    world.open(vec![Gap { progress: exhausted, ..gap("free", "x", PriorityLevel::High, now_at(0)) }], now_at(0));
    let start = world.start(now_at(2_000));
    let mut told = story(&world, &start);
    assert_eq!((told.gaps[0].was, told.gaps[0].attempts, &told.gaps[0].left), (Standing::Exhausted, 3, &None));
    world.end(&start, &failed(Fault::Item), now_at(3_000));
    world.dispatcher.tell_the_end(&mut told, start.task.id);
    let next_try = world.dispatcher.gaps()[0].progress.next_try;
    assert_eq!(told.gaps[0].left, Some(Left { standing: Standing::Open, attempts: 1, next_try, task: None }));
    let start = world.start(now_at(10_000_000));
    let mut told = story(&world, &start);
    world.end(&start, &done(), now_at(10_001_000));
    world.dispatcher.tell_the_end(&mut told, start.task.id);
    assert_eq!(told.gaps[0].left, None, "it is closed");
}

#[test]
fn a_contested_gap_says_so_when_it_opens() {
    let mut world = World::new(rules(), now_at(0));
    let contested = Progress { standing: Standing::Contested, next_try: Some(now_at(9_000).wall), ..Progress::default() };
    let opened = vec![Gap { progress: contested, ..gap("free", "x", PriorityLevel::High, now_at(0)) }];
    let changes = world.dispatcher.reconcile(crate::queue::GapNews { opened, ..Default::default() }, now_at(0));
    let told = |change: &Change| matches!(change, Change::Event(event) if event.gap.is_some() && event.text.contains("contested"));
    assert_eq!(changes.iter().filter(|change| told(change)).count(), 1, "{changes:?}");
}
