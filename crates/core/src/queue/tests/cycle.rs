//! `tasks_per_cycle` and `task_ttl`: what they delay, what they end, and that it is never a gap.

use std::time::Duration;

use super::world::*;
use crate::gap::{Fault, Gap, GapState};
use crate::queue::{Assumptions, Charging, Gate, Meant, Pick, Prospect, Rules, Waiting, forecast};
use crate::record::Change;
use crate::spec::{Caps, PriorityLevel, Reserve};
use crate::time::{Boottime, Now};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

fn rules(caps: Caps) -> Rules {
    let rules = no_rules().collector("c", 1, Charging::Ahead).collector("batch", 3, Charging::Ahead);
    let rules = rules.dataset("d", None, Some("c")).dataset("b", None, Some("batch"));
    Rules { caps, slots: 100, ..rules }
}

fn in_a_quarter(now: Now) -> Boottime {
    now.boot + Duration::from_secs(900)
}

fn look(world: &mut World, at_ms: u64) -> Vec<Change> {
    let now = now_at(at_ms);
    let changes = world.dispatcher.new_cycle(in_a_quarter(now), now);
    world.memory.apply(&changes);
    changes
}

fn gaps(dataset: &str, priority: PriorityLevel, count: usize, now: Now) -> Vec<Gap> {
    (0..count).map(|n| gap(dataset, &format!("{} {n}", priority.word()), priority, now)).collect()
}

fn told(changes: &[Change]) -> Vec<&str> {
    changes.iter().filter_map(|change| if let Change::Event(event) = change { Some(event.text.as_str()) } else { None }).collect()
}

#[test]
fn what_is_over_a_cap_waits_for_the_next_look_and_is_said() {
    let caps = Caps::default().with(None, 5).with(Some(PriorityLevel::Low), 2);
    let mut world = World::new(rules(caps), now_at(0));
    world.open([gaps("d", PriorityLevel::High, 2, now_at(0)), gaps("d", PriorityLevel::Low, 9, now_at(0))].concat(), now_at(0));
    look(&mut world, 0);
    assert_eq!(world.starts(now_at(1)), ["d/high 0", "d/high 1", "d/low 0", "d/low 1"]);
    let until = now_at(900_000).wall;
    let low = Gate::Cap { priority: Some(PriorityLevel::Low), tasks: 2, until };
    let Pick::Idle(idle) = world.pick(now_at(2)) else { panic!("a fifth of two") };
    assert_eq!((idle.wake_at, idle.waiting), (Some(in_a_quarter(now_at(0))), vec![Waiting { gate: low.clone(), tasks: 7, gaps: 7 }]));
    assert_eq!(world.dispatcher.held_back(now_at(2)), [Waiting { gate: low.clone(), tasks: 7, gaps: 7 }]);
    let third = gap("d", "low 2", PriorityLevel::Low, now_at(0)).id;
    assert_eq!(world.dispatcher.why_gap(third, now_at(2)), Some(low));
    assert_eq!(world.dispatcher.gap_state(third, now_at(2)), Some(GapState::Waiting));

    world.open(gaps("d", PriorityLevel::Critical, 2, now_at(3)), now_at(3));
    assert_eq!(world.starts(now_at(4)), ["d/critical 0"], "all together are five by now");
    let all = world.dispatcher.held_back(now_at(4));
    assert_eq!(all, [Waiting { gate: Gate::Cap { priority: None, tasks: 5, until }, tasks: 8, gaps: 8 }]);

    look(&mut world, 900_000);
    assert_eq!(world.starts(now_at(900_001)), ["d/critical 1", "d/low 2", "d/low 3"]);
}

#[test]
fn a_start_that_did_not_happen_does_not_count() {
    let mut world = World::new(rules(Caps::default().with(None, 1)), now_at(0));
    world.open(gaps("d", PriorityLevel::High, 1, now_at(0)), now_at(0));
    look(&mut world, 0);
    let start = world.start(now_at(1));
    let changes = world.dispatcher.lease_refused(start.attempt, now_at(2));
    world.memory.leases.clear();
    world.memory.apply(&changes);
    assert_eq!(world.starts(now_at(3)), ["d/high 0"]);
}

#[test]
fn a_run_waits_for_the_next_look_if_it_may_wait_for_so_long() {
    let mut world = World::new(rules(Caps::default().with(None, 1)), now_at(0));
    world.open(gaps("d", PriorityLevel::High, 2, now_at(0)), now_at(0));
    look(&mut world, 0);
    let start = world.start(now_at(1));
    world.end(&start, &done(), now_at(2));
    let prospect = |minutes: u64, at_ms: u64| world.dispatcher.prospect(Duration::from_secs(minutes * 60), now_at(at_ms));
    assert_eq!(prospect(10, 3), Prospect::Later(Some(now_at(900_000).wall)));
    assert_eq!(prospect(15, 3), Prospect::Work);
    assert_eq!(prospect(0, 900_001), Prospect::Work, "the look is due, and only takes its time");
}

#[test]
fn a_plan_says_what_a_cap_leaves_and_when_the_rest_is_done() {
    let mut world = World::new(rules(Caps::default().with(None, 4)), now_at(0));
    world.open(gaps("d", PriorityLevel::High, 10, now_at(0)), now_at(0));
    let assumptions = |max_wait| Assumptions { max_wait, ..Assumptions::default() };
    let foreseen = forecast(world.dispatcher.clone(), &assumptions(Duration::from_secs(600)), now_at(0));
    assert_eq!((foreseen.tasks.len(), foreseen.left.len()), (4, 6));
    assert!(foreseen.left.iter().all(|(_, gate)| matches!(gate, Gate::Cap { priority: None, tasks: 4, .. })), "{:?}", foreseen.left);
    let foreseen = forecast(world.dispatcher.clone(), &assumptions(Duration::from_secs(1_000)), now_at(0));
    assert_eq!((foreseen.tasks.len(), foreseen.left.len()), (10, 0));
    assert_eq!(foreseen.done_by, Some(now_at(2 * 900_000 + 250).wall), "ten tasks take three looks");
}

/// Nothing can start: all that is open stands in line.
fn stuck(ttl: Duration) -> World {
    let mut world = World::new(Rules { task_ttl: Some(ttl), slots: 1, ..rules(Caps::default()) }, now_at(0));
    world.open(gaps("d", PriorityLevel::Critical, 1, now_at(0)), now_at(0));
    world.start(now_at(0));
    world
}

#[test]
fn a_task_that_stood_in_line_for_too_long_ends_and_its_gaps_come_back_with_their_age() {
    let mut world = stuck(Duration::from_secs(3_600));
    world.open(gaps("b", PriorityLevel::High, 2, now_at(0)), now_at(0));
    look(&mut world, HOUR_MS);
    let old = world.dispatcher.tasks().into_iter().find(|task| task.collector == "batch").expect("not for longer than an hour yet");
    let changes = look(&mut world, HOUR_MS + 1_000);
    assert_eq!(
        told(&changes),
        [
            "ended by `task_ttl: 1 h`: it stood in line for 1 h without a start; its 2 items stand back until the next look, or until a slot is free for nothing else"
        ]
    );
    assert_eq!(world.dispatcher.task(old.id), None);
    let now = now_at(HOUR_MS + 2_000);
    let back = Gate::StandsBack { until: now_at(HOUR_MS + 901_000).wall };
    assert_eq!(world.dispatcher.why_gap(old.gaps[0], now), Some(back.clone()));
    assert_eq!(world.dispatcher.gap_state(old.gaps[0], now), Some(GapState::Waiting));
    assert_eq!(world.dispatcher.held_back(now), [Waiting { gate: back, tasks: 0, gaps: 2 }]);
    assert_eq!((world.dispatcher.counts(now).watched, world.memory.gaps.len()), (0, 3), "each of them is a gap as before");

    // Another look finds them again, with whatever else is open by then.
    world.open(gaps("b", PriorityLevel::High, 3, now)[2..].to_vec(), now);
    look(&mut world, 2 * HOUR_MS);
    let again = world.dispatcher.tasks().into_iter().find(|task| task.collector == "batch").expect("one task of all three");
    assert_eq!((again.gaps.len(), again.gaps[0], again.detected_at), (3, old.gaps[0], now_at(0).wall));
    assert_eq!(world.dispatcher.held_back(now_at(2 * HOUR_MS)), []);
}

#[test]
fn a_slot_that_would_stay_empty_takes_back_what_stands_back() {
    let mut world = stuck(Duration::from_secs(4));
    let running = world.dispatcher.running()[0].clone();
    world.open(gaps("b", PriorityLevel::High, 4, now_at(0)), now_at(0));
    look(&mut world, 10_000);
    assert_eq!(world.dispatcher.held_back(now_at(10_001))[0].gaps, 4);
    let called_back = |world: &mut World, at_ms| {
        let changes = world.dispatcher.call_back(now_at(at_ms));
        world.memory.apply(&changes);
        changes.len()
    };
    assert_eq!(called_back(&mut world, 10_002), 0, "no slot is free");
    // What has its turn meanwhile goes first, whatever it scores.
    world.open(gaps("d", PriorityLevel::Low, 1, now_at(10_003)), now_at(10_003));
    world.end_with(running.attempt, &[(running.gaps[0], done())], now_at(11_000));
    assert_eq!(called_back(&mut world, 11_000), 0, "something else is runnable");
    let low = world.start(now_at(11_000));
    assert_eq!(low.task.key, "d/low 0");
    world.end(&low, &done(), now_at(12_000));
    assert!(matches!(world.pick(now_at(12_000)), Pick::Idle(_)), "nine seconds of an empty slot");
    assert!(called_back(&mut world, 12_000) > 0);
    assert_eq!((world.start(now_at(12_000)).gaps.len(), world.dispatcher.held_back(now_at(12_000)).len()), (3, 0));
    assert_eq!(called_back(&mut world, 12_001), 0);
}

#[test]
fn what_could_not_start_in_the_free_slot_goes_on_standing_back() {
    let reserve = Reserve::default().with(PriorityLevel::Critical, 500);
    let rules =
        Rules { task_ttl: Some(Duration::from_secs(4)), slots: 2, reserve, ..rules(Caps::default().with(Some(PriorityLevel::High), 1)) };
    let mut world = World::new(rules, now_at(0));
    world.open([gaps("d", PriorityLevel::Low, 2, now_at(0)), gaps("d", PriorityLevel::High, 2, now_at(0))].concat(), now_at(0));
    look(&mut world, 0);
    let start = world.start(now_at(1));
    assert_eq!(start.task.key, "d/high 0");
    look(&mut world, 10_000);
    let standing = |world: &World| world.dispatcher.held_back(now_at(10_001)).iter().map(|line| line.gaps).sum::<u64>();
    assert_eq!((world.dispatcher.call_back(now_at(10_001)), standing(&world)), (vec![], 3), "the second slot is set aside");
    world.open(vec![gap("d", "high new", PriorityLevel::High, now_at(10_002))], now_at(10_002));
    world.end(&start, &done(), now_at(10_002));
    let start = world.start(now_at(10_002));
    assert_eq!(start.task.key, "d/high new");
    world.end(&start, &done(), now_at(10_003));
    let changes = world.dispatcher.call_back(now_at(10_003));
    world.memory.apply(&changes);
    assert_eq!(standing(&world), 1, "of high priority one has started since the look");
    assert_eq!(world.start(now_at(10_003)).task.key, "d/low 0");
}

#[test]
fn waiting_for_a_retry_or_running_is_not_standing_in_line() {
    let mut world = World::new(Rules { task_ttl: Some(Duration::from_secs(3_600)), slots: 1, ..rules(Caps::default()) }, now_at(0));
    world.open(gaps("d", PriorityLevel::Critical, 1, now_at(0)), now_at(0));
    let start = world.start(now_at(0));
    look(&mut world, 3 * HOUR_MS);
    world.end(&start, &failed(Fault::Item), now_at(3 * HOUR_MS));
    look(&mut world, 3 * HOUR_MS + 1);
    assert_eq!(world.dispatcher.tasks().len(), 1);
    // The retry is due within half an hour; from then on it stands in line.
    for minutes in (190..250).step_by(10) {
        let _ = world.dispatcher.prospect(Duration::ZERO, now_at(minutes * MINUTE_MS));
        look(&mut world, minutes * MINUTE_MS);
        assert_eq!(world.dispatcher.tasks().len(), 1, "after {minutes} minutes");
    }
}

#[test]
fn who_was_held_by_a_surprise_stands_in_line_anew() {
    let mut world = stuck(Duration::from_secs(3_600));
    world.open(gaps("b", PriorityLevel::High, 2, now_at(0)), now_at(0));
    world.dispatcher.hold(Some("b"));
    look(&mut world, 3 * HOUR_MS);
    world.dispatcher.unhold(Some("b"));
    assert!(matches!(world.pick(now_at(3 * HOUR_MS)), Pick::Idle(_)));
    look(&mut world, 3 * HOUR_MS + 1);
    assert_eq!(world.dispatcher.tasks().len(), 2);
    look(&mut world, 5 * HOUR_MS);
    assert_eq!(world.dispatcher.tasks().len(), 1);
}

#[test]
fn an_engine_that_starts_anew_lets_everybody_stand_in_line_anew() {
    let mut world = stuck(Duration::from_secs(3_600));
    world.open(gaps("b", PriorityLevel::High, 2, now_at(0)), now_at(0));
    look(&mut world, 2 * HOUR_MS);
    assert_eq!(world.dispatcher.tasks().len(), 1, "one runs");
    let now = now_at(2 * HOUR_MS + 1);
    let (mut again, _) =
        crate::queue::Dispatcher::new(world.dispatcher.rules().clone(), &mut world.memory.remembered(now.wall), boot_id(), now);
    assert_eq!(again.tasks().len(), 2, "what stood back does so no more");
    again.new_cycle(in_a_quarter(now), now_at(3 * HOUR_MS));
    assert_eq!(again.tasks().len(), 2);
}

#[test]
fn what_stands_back_is_tried_at_once_by_hand() {
    let mut world = stuck(Duration::from_secs(60));
    world.open(gaps("b", PriorityLevel::High, 2, now_at(0)), now_at(0));
    look(&mut world, HOUR_MS);
    assert_eq!(world.dispatcher.held_back(now_at(HOUR_MS)).len(), 1);
    let (asked, changes) = world.dispatcher.retry(Meant::Named("b/high 1"), now_at(HOUR_MS)).expect("it has a gap");
    world.memory.apply(&changes);
    assert!(asked[0].task.is_some());
    look(&mut world, HOUR_MS + 1);
    assert_eq!(world.dispatcher.tasks().len(), 2, "each gap has one task");
    assert_eq!(world.dispatcher.tasks().iter().map(|task| task.gaps.len()).sum::<usize>(), 3);
}

#[test]
fn of_very_many_tasks_that_end_at_once_only_the_first_are_told_one_by_one() {
    let mut world = stuck(Duration::from_secs(60));
    world.open(gaps("d", PriorityLevel::Low, 1_000, now_at(0)), now_at(0));
    let changes = look(&mut world, HOUR_MS);
    let told = told(&changes);
    assert_eq!((told.len(), *told.last().unwrap()), (201, "800 more tasks ended by `task_ttl: 1 m`"));
}
