//! Pauses by hand and by maintenance windows. That nothing else is kept from starting, `order` knows.

use std::time::Duration;

use super::world::*;
use crate::gap::GapState;
use crate::pause::{Pause, PauseOf};
use crate::queue::{Charging, Dispatcher, Gate, Pick, Prospect};
use crate::spec::PriorityLevel;

fn pause() -> Pause {
    Pause { since: now_at(0).wall, until: None, because: Some("ann: they move".into()) }
}

fn source(name: &str) -> PauseOf {
    PauseOf::Source(name.into())
}

/// Two sources, a dataset each.
fn world() -> World {
    let rules = no_rules().source("a", Default::default()).source("b", Default::default());
    let rules = rules.collector("plain", 1, Charging::EachRequest);
    let rules = rules.dataset("of-a", Some("a"), Some("plain")).dataset("of-b", Some("b"), Some("plain"));
    let mut world = World::new(rules, now_at(0));
    let gaps = ["of-a", "of-b"].map(|dataset| gap(dataset, "1", PriorityLevel::Medium, now_at(0)));
    world.open(gaps.into(), now_at(0));
    world
}

fn starts(world: &mut World) -> Vec<String> {
    let mut started = Vec::new();
    while let Pick::Start(start) = world.pick(now_at(1)) {
        started.push(start.gaps[0].dataset.clone());
    }
    started.sort();
    started
}

#[test]
fn nothing_of_a_source_that_is_paused_starts_and_it_is_said_why() {
    let mut world = world();
    let changes = world.dispatcher.pause(source("a"), pause(), now_at(0));
    world.memory.apply(&changes);
    assert_eq!(starts(&mut world), ["of-b"]);
    let held = gap("of-a", "1", PriorityLevel::Medium, now_at(0)).id;
    assert_eq!(world.dispatcher.gap_state(held, now_at(1)), Some(GapState::Held));
    let Some(Gate::Paused { of, because, .. }) = world.dispatcher.why_gap(held, now_at(1)) else { panic!("it is paused") };
    assert_eq!((of, because.as_deref()), (source("a"), Some("ann: they move")));
    let changes = world.dispatcher.resume(&source("a"), now_at(1));
    world.memory.apply(&changes);
    assert_eq!(starts(&mut world), ["of-a"]);
}

#[test]
fn a_dataset_is_paused_alone_and_everything_is_paused_whatever_else_is() {
    let mut world = world();
    world.dispatcher.pause(PauseOf::Dataset("of-b".into()), pause(), now_at(0));
    world.dispatcher.pause(PauseOf::Everything, pause(), now_at(0));
    assert_eq!(starts(&mut world), Vec::<String>::new());
    assert_eq!(world.dispatcher.prospect(Duration::from_secs(3_600), now_at(1)), Prospect::Later(None), "nobody waits for it");
    world.dispatcher.resume(&PauseOf::Everything, now_at(1));
    assert_eq!(starts(&mut world), ["of-a"]);
    world.dispatcher.resume(&PauseOf::Dataset("of-b".into()), now_at(1));
    assert_eq!(starts(&mut world), ["of-b"]);
}

#[test]
fn a_pause_by_hand_is_there_after_a_restart() {
    let mut world = world();
    for of in [source("a"), PauseOf::Dataset("of-b".into())] {
        let changes = world.dispatcher.pause(of, pause(), now_at(0));
        world.memory.apply(&changes);
    }
    let rules = world.dispatcher.rules().clone();
    let (mut again, _) = Dispatcher::new(rules, &mut world.memory.remembered(now_at(1).wall), boot_id(), now_at(1));
    assert_eq!(again.paused().len(), 2);
    assert!(matches!(again.pick(now_at(1), |_| unreachable!("nothing starts")), Pick::Idle(_)));
}

#[test]
fn a_window_ends_and_what_a_person_said_stays() {
    let mut world = world();
    let window = Pause { until: Some(now_at(60_000).wall), because: Some("window".into()), ..pause() };
    world.dispatcher.pause(source("a"), pause(), now_at(0));
    assert!(world.dispatcher.windows_are([(source("a"), window.clone()), (source("b"), window)].into()));
    assert_eq!(starts(&mut world), Vec::<String>::new());
    assert_eq!(world.dispatcher.paused()[&source("a")].until, None, "what a person said outranks a window");
    assert!(world.dispatcher.windows_are(Default::default()));
    assert_eq!(starts(&mut world), ["of-b"]);
}

#[test]
fn no_task_starts_in_a_slot_that_is_kept_for_a_job() {
    let mut world = world();
    let slots = world.dispatcher.rules().slots;
    world.dispatcher.keeps_slots(slots);
    assert_eq!(starts(&mut world), Vec::<String>::new());
    world.dispatcher.keeps_slots(slots - 1);
    assert_eq!(starts(&mut world).len(), 1, "the one that is left");
    world.dispatcher.keeps_slots(0);
    assert_eq!(starts(&mut world).len(), 1);
    assert!(!world.dispatcher.holds_job(Some("a")));
    world.dispatcher.pause(source("a"), pause(), now_at(1));
    assert!(world.dispatcher.holds_job(Some("a")) && !world.dispatcher.holds_job(Some("b")), "a job that asks it waits, too");
}
