//! A source that says of too many at once that it has no such thing.

use std::time::Duration;

use super::world::*;
use crate::gap::{Fault, GapState, Outcome, Standing};
use crate::queue::{Charging, Dispatcher, Gate, Pick, Rules, Start};
use crate::record::Change;
use crate::spec::{Limits, PriorityLevel};

const HOUR_MS: u64 = 3_600_000;

fn rules() -> Rules {
    let mut rules =
        no_rules().source("espn", Limits::default()).collector("c", 1, Charging::EachRequest).dataset("d", Some("espn"), Some("c"));
    rules.datasets["d"].absent.after = Duration::ZERO;
    rules
}

/// So many gaps, all of which were asked for, one a second from the first on, and answered with `outcome`.
fn asked(gaps: usize, outcome: &Outcome) -> World {
    let mut world = World::new(rules(), now_at(0));
    world.open((0..gaps).map(|n| gap("d", &format!("{n:02}"), PriorityLevel::High, now_at(0))).collect(), now_at(0));
    for second in 0..gaps as u64 {
        let start = world.start(now_at(second * 1_000));
        world.end(&start, outcome, now_at(second * 1_000));
    }
    world
}

fn on_record(world: &World) -> usize {
    world.items.values().filter(|item| item.absent.is_some()).count()
}

/// The one that is asked for again, an hour after the tenth.
fn probe(world: &mut World) -> Start {
    let at = now_at(9_000 + HOUR_MS);
    let probe = world.start(at);
    assert!(matches!(world.pick(at), Pick::Idle(_)), "one, and no more");
    probe
}

#[test]
fn a_swallowed_outage_leaves_no_absence_on_record_and_all_is_tried_again_when_it_is_over() {
    let mut world = asked(40, &Outcome::Absent);
    assert_eq!(on_record(&world), 0, "the first nine were taken back");
    assert!(world.memory.items.values().all(|item| item.absent.is_none()), "also where it counts");
    assert_eq!(world.dispatcher.gaps().len(), 31, "the nine are found again by the next look");
    let now = now_at(40_000);
    assert_eq!((world.dispatcher.counts(now).held, world.dispatcher.doubted("espn")), (31, 31));
    let (source, doubt) = world.dispatcher.doubts(now).remove(0);
    assert_eq!((source.as_str(), doubt.absences, doubt.of), ("espn", 10, 10));
    let last = world.dispatcher.gaps().into_iter().max_by_key(|gap| gap.progress.next_try).unwrap();
    assert_eq!(world.dispatcher.why_gap(last.id, now), Some(Gate::Doubted { until: doubt.until }));
    assert_eq!(world.dispatcher.gap_state(last.id, now), Some(GapState::Held));
    let probe = probe(&mut world);
    let at = now_at(9_001 + HOUR_MS);
    world.end(&probe, &done(), at);
    assert_eq!((world.dispatcher.doubts(at).len(), world.dispatcher.doubted("espn")), (0, 0));
    assert_eq!(world.starts(at).len(), 5, "as many as there are slots");
    assert_eq!(on_record(&world), 0);
}

#[test]
fn what_is_absent_still_when_it_is_asked_again_counts_for_all() {
    let mut world = asked(40, &Outcome::Absent);
    let probe = probe(&mut world);
    world.end(&probe, &Outcome::Absent, now_at(9_001 + HOUR_MS));
    assert_eq!((world.dispatcher.gaps().len(), world.memory.gaps.len(), world.memory.tasks.len()), (0, 0, 0));
    assert_eq!(on_record(&world), 31);
    assert!(world.dispatcher.doubts(now_at(9_001 + HOUR_MS)).is_empty());
    // The nine come back with the next look: nobody doubts them, because so many are usual by now.
    let at = now_at(10_000 + HOUR_MS);
    world.open((0..9).map(|n| gap("d", &format!("{n:02}"), PriorityLevel::High, at)).collect(), at);
    for _ in 0..9 {
        let start = world.start(at);
        world.end(&start, &Outcome::Absent, at);
    }
    assert_eq!((on_record(&world), world.dispatcher.gaps().len()), (40, 0));
}

#[test]
fn a_probe_that_is_not_answered_decides_nothing_and_the_others_follow() {
    let mut world = asked(20, &Outcome::Absent);
    let probe = probe(&mut world);
    let at = now_at(9_001 + HOUR_MS);
    world.end(&probe, &failed(Fault::Source), at);
    assert_eq!(world.dispatcher.doubted("espn"), 11);
    assert_eq!(world.dispatcher.gap(probe.gaps[0].id).unwrap().progress.standing, Standing::Doubted);
    // Whichever is answered first.
    let at = now_at(9_001 + 2 * HOUR_MS);
    let another = world.start(at);
    world.end(&another, &done(), at);
    assert_eq!(world.dispatcher.doubted("espn"), 0);
}

#[test]
fn what_was_doubted_once_is_believed_when_the_source_is_well_again() {
    let mut world = asked(40, &Outcome::Absent);
    let probe = probe(&mut world);
    let at = now_at(9_001 + HOUR_MS);
    world.end(&probe, &done(), at);
    while let Pick::Start(start) = world.pick(at) {
        world.end(&start, &Outcome::Absent, at);
    }
    assert_eq!((on_record(&world), world.dispatcher.gaps().len()), (30, 0), "asked twice, while the source works");
}

#[test]
fn what_is_on_record_already_and_what_is_not_due_for_it_is_not_doubted() {
    let mut world = asked(9, &Outcome::Absent);
    assert_eq!(on_record(&world), 9);
    for hour in [2, 5, 10] {
        let at = now_at(hour * HOUR_MS);
        world.open((0..9).map(|n| gap("d", &format!("{n:02}"), PriorityLevel::High, at)).collect(), at);
        for _ in 0..9 {
            let start = world.start(at);
            world.end(&start, &Outcome::Absent, at);
        }
        assert!(world.dispatcher.doubts(at).is_empty(), "asked for again, as they always are");
    }
    let mut not_yet = World::new(rules(), now_at(0));
    not_yet.dispatcher.rules.datasets["d"].absent.after = Duration::from_secs(3 * 86_400);
    not_yet.open((0..30).map(|n| gap("d", &format!("{n:02}"), PriorityLevel::High, now_at(0))).collect(), now_at(0));
    for _ in 0..30 {
        let start = not_yet.start(now_at(0));
        not_yet.end(&start, &Outcome::Absent, now_at(0));
    }
    assert!(not_yet.dispatcher.doubts(now_at(0)).is_empty());
}

#[test]
fn a_restart_goes_on_doubting() {
    let world = asked(20, &Outcome::Absent);
    let now = now_at(30_000);
    let (again, changes) = Dispatcher::new(rules(), &mut world.memory.remembered(now.wall), boot_id(), now);
    assert!(!changes.iter().any(|change| matches!(change, Change::CloseGap { .. })));
    assert_eq!((again.doubted("espn"), again.doubts(now)[0].1.until), (11, world.dispatcher.doubts(now)[0].1.until));
    let mut world = World { dispatcher: again, ..world };
    world.open(vec![gap("d", "late", PriorityLevel::High, now)], now);
    let start = world.start(now);
    world.end(&start, &Outcome::Absent, now);
    assert_eq!((on_record(&world), world.dispatcher.doubted("espn")), (0, 12));
    let probe = probe(&mut world);
    world.end(&probe, &Outcome::Absent, now_at(9_001 + HOUR_MS));
    assert_eq!(on_record(&world), 12);
}
