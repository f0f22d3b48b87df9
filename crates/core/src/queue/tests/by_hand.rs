//! What a person releases, and wants tried at once.

use super::world::*;
use crate::gap::{Fault, Gap, Progress, Standing};
use crate::ids::GapId;
use crate::queue::{Asked, Came, Charging, Dispatcher, Meant, Pick, Rules};
use crate::record::Change;
use crate::spec::PriorityLevel;
use crate::time::Now;

fn rules(batch: u32) -> Rules {
    no_rules().source("espn", limits(&[per(20, 60)])).collector("c", batch, Charging::Ahead).dataset("d", Some("espn"), Some("c")).dataset(
        "watched",
        Some("espn"),
        None,
    )
}

fn hours(hours: u64) -> Now {
    now_at(hours * 3_600_000)
}

fn with(name: &str, progress: Progress) -> Gap {
    Gap { progress, ..gap("d", name, PriorityLevel::High, now_at(0)) }
}

fn until(hour: u64, standing: Standing) -> Progress {
    Progress { standing, next_try: Some(hours(hour).wall), attempts: 3, attempts_total: 3, ..Progress::default() }
}

fn world(batch: u32, gaps: Vec<Gap>) -> World {
    let mut world = World::new(rules(batch), now_at(0));
    world.open(gaps, now_at(0));
    world
}

fn id(name: &str) -> GapId {
    gap("d", name, PriorityLevel::High, now_at(0)).id
}

fn retried(world: &mut World, meant: Meant<'_>, now: Now) -> Vec<(String, Came)> {
    let (asked, changes) = world.dispatcher.retry(meant, now).expect("a known name");
    world.memory.apply(&changes);
    let mut came: Vec<(String, Came)> = asked.into_iter().map(|Asked { gap, came, .. }| (gap.key, came)).collect();
    came.sort_by(|a, b| a.0.cmp(&b.0));
    came
}

/// What a starting engine makes of what is remembered.
fn after_a_restart(world: &World, now: Now, batch: u32) -> World {
    let (dispatcher, changes) = Dispatcher::new(rules(batch), &mut world.memory.remembered(now.wall), boot_id(), now);
    let mut again = World::new(rules(batch), now_at(0));
    again.memory = world.memory.clone();
    again.memory.apply(&changes);
    again.dispatcher = dispatcher;
    again
}

#[test]
fn a_released_gap_does_not_wait_with_the_others_of_its_batch() {
    let contested = Progress { attempts: 0, attempts_total: 0, ..until(24, Standing::Contested) };
    let mut world = world(3, vec![with("a", contested.clone()), with("b", contested.clone()), with("c", contested)]);
    assert_eq!(world.dispatcher.tasks().len(), 1, "they wait together");
    // Nobody runs: a command takes the state.
    let mut remembered = world.memory.remembered(hours(1).wall);
    let (mut dispatcher, changes) = Dispatcher::of_idle_state(rules(3), &mut remembered, boot_id(), hours(1));
    assert_eq!(changes, []);
    let (released, changes) = dispatcher.release(Meant::Named("d/b"), &mut world.items, hours(1)).unwrap();
    assert_eq!(released.len(), 1);
    world.memory.apply(&changes);
    let mut next = after_a_restart(&world, hours(1), 3);
    assert_eq!(next.starts(hours(1)), ["d/b"]);
    assert_eq!(next.dispatcher.contested(hours(1)).len(), 2);
}

#[test]
fn all_contested_gaps_of_a_dataset_are_released_at_once_and_no_others() {
    let contested = until(24, Standing::Contested);
    let mut world = world(3, vec![with("a", contested.clone()), with("b", contested), with("c", until(24, Standing::Open))]);
    let (released, changes) = world.dispatcher.release(Meant::Named("d"), &mut world.items, hours(1)).unwrap();
    world.memory.apply(&changes);
    assert_eq!(released.len(), 2);
    assert_eq!(world.memory.gaps[&id("c")].progress, until(24, Standing::Open));
    let start = world.start(hours(1));
    assert_eq!(start.gaps.len(), 2, "they go together");
    assert_eq!(world.dispatcher.release(Meant::Named("d"), &mut world.items, hours(1)).unwrap(), (vec![], vec![]));
    assert_eq!(world.dispatcher.release(Meant::Named("d/none"), &mut world.items, hours(1)), None);
}

#[test]
fn an_exhausted_gap_that_is_retried_by_hand_begins_a_new_round_at_once() {
    let exhausted = Progress { exhausted: 2, deferrals: 1, last_error: Some("exit 1".into()), ..until(12, Standing::Exhausted) };
    let mut world = world(1, vec![with("a", exhausted.clone())]);
    assert!(matches!(world.pick(hours(1)), Pick::Idle(_)));
    assert_eq!(retried(&mut world, Meant::Named("d/a"), hours(1)), [("d/a".into(), Came::Retried)]);
    let progress = &world.memory.gaps[&id("a")].progress;
    assert_eq!(progress, &Progress { attempts: 0, deferrals: 0, exhausted: 0, next_try: None, standing: Standing::Open, ..exhausted });
    let start = world.start(hours(1));
    world.end(&start, &failed(Fault::Item), hours(1));
    let progress = &world.memory.gaps[&id("a")].progress;
    assert_eq!((progress.attempts, progress.attempts_total), (1, 4), "the whole round is there again, and what was done is not forgotten");
}

#[test]
fn a_gap_that_is_retried_by_hand_is_revived_after_the_first_pause_again() {
    let mut world = world(1, vec![gap("d", "a", PriorityLevel::High, now_at(0))]);
    world.dispatcher.rules.collectors["c"].retry.attempts = 1;
    let mut now = 0;
    let exhausted_for = |world: &mut World, now: u64| {
        let start = world.start(hours(now));
        world.end(&start, &failed(Fault::Item), hours(now));
        let progress = &world.memory.gaps[&id("a")].progress;
        assert_eq!(progress.standing, Standing::Exhausted);
        progress.next_try.unwrap().duration_since(hours(now).wall).as_hours()
    };
    for expected in [1, 2, 4] {
        assert_eq!(exhausted_for(&mut world, now), expected, "revived by itself");
        now += expected as u64;
    }
    for _ in 0..3 {
        retried(&mut world, Meant::Named("d/a"), hours(now - 1));
        assert_eq!(exhausted_for(&mut world, now), 1, "three presses are no three rounds");
        now += 1;
    }
    // One that waits for a retry in a later round, too.
    let late = Progress { attempts: 1, exhausted: 3, ..until(40, Standing::Open) };
    let mut other = self::world(1, vec![with("b", late.clone())]);
    retried(&mut other, Meant::All, hours(1));
    assert_eq!(other.memory.gaps[&id("b")].progress, Progress { exhausted: 0, next_try: None, ..late });
}

#[test]
fn a_waiting_gap_that_is_retried_by_hand_keeps_what_it_used_up() {
    let mut world = world(1, vec![with("a", Progress { attempts: 2, ..until(12, Standing::Open) })]);
    retried(&mut world, Meant::Named("d"), hours(1));
    let progress = &world.memory.gaps[&id("a")].progress;
    assert_eq!((progress.attempts, progress.next_try), (2, None));
    assert_eq!(world.starts(hours(1)), ["d/a"]);
}

#[test]
fn a_task_all_of_whose_gaps_are_retried_keeps_its_name_and_its_story() {
    let mut world = world(3, ["a", "b"].map(|name| with(name, until(12, Standing::Exhausted))).to_vec());
    let task = world.dispatcher.tasks()[0].id;
    let (asked, changes) = world.dispatcher.retry(Meant::Named(&task.to_string()), hours(1)).unwrap();
    assert!(asked.iter().all(|asked| asked.task == Some(task) && asked.came == Came::Retried));
    let told = changes.iter().filter_map(|change| match change {
        Change::Event(event) => Some((event.task, event.text.as_str())),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(Some(task), "tried at once by hand: 2 items, 2 of them from exhaustion")]);
    world.memory.apply(&changes);
    assert_eq!(world.start(hours(1)).task.id, task);
}

#[test]
fn one_gap_of_a_batch_that_is_retried_leaves_the_others_waiting() {
    let mut world = world(3, ["a", "b", "c"].map(|name| with(name, until(12, Standing::Exhausted))).to_vec());
    retried(&mut world, Meant::Named("d/a"), hours(1));
    assert_eq!(world.starts(hours(1)), ["d/a"]);
    let mut next = after_a_restart(&world, hours(1), 3);
    assert_eq!(next.starts(hours(1)), ["d/a"], "its attempt ended with the engine, and the others wait as before");
    assert_eq!(next.starts(hours(12)), ["d/b"], "b and c in one task");
}

#[test]
fn who_asks_for_everything_leaves_alone_what_takes_another_word() {
    let doubted = Progress { doubted: Some(now_at(0).wall), ..until(12, Standing::Doubted) };
    let watched = gap("watched", "w", PriorityLevel::High, now_at(0));
    let gaps = vec![
        with("contested", until(24, Standing::Contested)),
        with("doubted", doubted),
        with("queued", Progress::default()),
        with("retry", until(12, Standing::Open)),
        with("runs", Progress::default()),
        watched,
    ];
    let mut world = world(1, gaps);
    // Oldest first, then by key: the one called `queued` starts first.
    let running = world.start(now_at(0));
    assert_eq!(running.task.key, "d/queued");
    let came = retried(&mut world, Meant::All, hours(1));
    let expected = [
        ("d/contested", Came::Contested { until: hours(24).wall }),
        ("d/doubted", Came::Doubted { until: hours(12).wall }),
        ("d/queued", Came::Runs),
        ("d/retry", Came::Retried),
        ("d/runs", Came::Waits),
        ("watched/w", Came::OnlyWatched),
    ];
    assert_eq!(came, expected.map(|(key, came)| (key.to_owned(), came)));
    assert_eq!(retried(&mut world, Meant::Named("d/doubted"), hours(1)), [("d/doubted".into(), Came::Retried)], "named alone it is asked");
    assert_eq!(world.memory.gaps[&id("doubted")].progress.standing, Standing::Doubted, "its answer decides about the others");
    assert_eq!(world.dispatcher.retry(Meant::Named("nothing"), hours(1)), None);
}

#[test]
fn what_a_dead_engine_left_under_way_is_left_to_the_next_one() {
    let mut world = world(1, vec![with("a", until(12, Standing::Exhausted)), with("b", Progress::default())]);
    world.start(now_at(0));
    let mut remembered = world.memory.remembered(hours(1).wall);
    let (mut dispatcher, changes) = Dispatcher::of_idle_state(rules(1), &mut remembered, boot_id(), hours(1));
    assert_eq!((changes, remembered.leases.len(), remembered.reservations.len()), (vec![], 1, 1));
    let (_, changes) = dispatcher.retry(Meant::All, hours(1)).unwrap();
    assert!(!changes.iter().any(|change| matches!(change, Change::Finish(_) | Change::SettleReservation { .. })), "{changes:?}");
}

#[test]
fn what_is_asked_for_goes_first_until_it_is_there_whatever_looks_say_of_it() {
    let low = |name: &str| gap("d", name, PriorityLevel::Low, now_at(0));
    let exhausted = Gap { progress: until(24, Standing::Exhausted), ..low("c") };
    let contested = Gap { progress: until(24, Standing::Contested), ..low("e") };
    let mut world = world(2, vec![low("a"), low("b"), exhausted, contested, with("d", Progress::default())]);
    let wanted = ["b", "c", "e"].map(|name| id(name).item).into();
    let (asked, changes) = world.dispatcher.expedite(&wanted, Some(PriorityLevel::Critical), hours(1));
    world.memory.apply(&changes);
    let mut came: Vec<(&str, Came)> = asked.iter().map(|asked| (asked.gap.key.as_str(), asked.came)).collect();
    came.sort_by_key(|(key, _)| *key);
    assert_eq!(came, [("d/b", Came::Waits), ("d/c", Came::Retried), ("d/e", Came::Contested { until: hours(24).wall })]);
    // The next look says again that they are low, and a restart does not forget it.
    let seen = crate::queue::GapNews { changed: vec![low("b"), low("c")], ..Default::default() };
    let changes = world.dispatcher.reconcile(seen, hours(1));
    world.memory.apply(&changes);
    let mut again = after_a_restart(&world, hours(1), 2);
    for world in [&mut world, &mut again] {
        let mut started = Vec::new();
        while let Pick::Start(start) = world.pick(hours(1)) {
            started.extend(start.gaps.iter().map(|gap| gap.key.clone()));
        }
        assert_eq!(started, ["d/b", "d/c", "d/d", "d/a"]);
    }
}
