//! What is set aside for a priority: for whom it is there, and what it costs the others.

use std::collections::BTreeMap;
use std::time::Duration;

use super::world::*;
use crate::ids::AttemptId;
use crate::ports::Settlement;
use crate::queue::{Acquire, Assumptions, Charge, Charging, Gate, Pick, Rules, forecast, reserve_price};
use crate::spec::{Limits, PriorityLevel, Reserve};
use crate::time::Now;

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 3_600_000;

fn for_critical(permille: u32) -> Reserve {
    Reserve::default().with(PriorityLevel::Critical, permille)
}

fn rules(limits: Limits, reserve: Reserve) -> Rules {
    let rules = no_rules()
        .source("espn", limits)
        .collector("page", 1, Charging::EachRequest)
        .collector("bulk", 10, Charging::Ahead)
        .dataset("backfill", Some("espn"), Some("page"))
        .dataset("tonight", Some("espn"), Some("page"))
        .dataset("bulk", Some("espn"), Some("bulk"));
    Rules { reserve, ..rules }
}

/// Attempts of one request each; every one of them ends so long after its start.
struct Night {
    world: World,
    takes_ms: u64,
    ends: BTreeMap<u64, Vec<crate::queue::Start>>,
    started: Vec<(u64, String)>,
}

impl Night {
    fn new(rules: Rules, takes_ms: u64) -> Self {
        let mut world = World::new(rules, now_at(0));
        let years = (0..3_000).map(|n| gap("backfill", &format!("{n:05}"), PriorityLevel::Low, now_at(0))).collect();
        world.open(years, now_at(0));
        Night { world, takes_ms, ends: BTreeMap::new(), started: Vec::new() }
    }

    /// Second by second, as an engine that has nothing else to do.
    fn live_until(&mut self, from_ms: u64, to_ms: u64) {
        for at in (from_ms..to_ms).step_by(1_000) {
            let now = now_at(at);
            for start in self.ends.remove(&at).into_iter().flatten() {
                self.world.end(&start, &done(), now);
            }
            while let Pick::Start(start) = self.world.pick(now) {
                self.started.push((at, start.task.key.clone()));
                self.answer(start.attempt, now);
                self.ends.entry(at + self.takes_ms).or_default().push(*start);
            }
        }
    }

    fn answer(&mut self, attempt: AttemptId, now: Now) {
        if let Acquire::Granted { permit, before, .. } = self.world.dispatcher.acquire(attempt, "espn", now) {
            self.world.memory.apply(before.as_slice());
            self.world.dispatcher.sent(permit, now);
            let changes = self.world.dispatcher.settle(permit, Settlement::ArrivedBy(now.boot), now);
            self.world.memory.apply(&changes);
        }
    }

    /// When the last of eight games that end at `at_ms` is asked for, from then on.
    fn last_of_tonight(&mut self, at_ms: u64) -> u64 {
        self.live_until(0, at_ms);
        let games = (0..8).map(|n| gap("tonight", &format!("game {n}"), PriorityLevel::Critical, now_at(at_ms))).collect();
        self.world.open(games, now_at(at_ms));
        self.live_until(at_ms, at_ms + 2 * HOUR_MS);
        let tonight: Vec<u64> = self.started.iter().filter(|(_, key)| key.starts_with("tonight")).map(|(at, _)| *at).collect();
        assert_eq!(tonight.len(), 8);
        tonight.last().unwrap() - at_ms
    }
}

#[test]
fn a_backfill_of_years_never_delays_tonights_games() {
    // All sixty of an hour are gone in its first moments, and come back an hour later.
    let hourly = || limits(&[per(30, 60), per(60, 3_600)]);
    let evening = 5 * HOUR_MS + 10 * MINUTE_MS;
    let without = Night::new(rules(hourly(), Reserve::default()), 1_000).last_of_tonight(evening);
    assert!(without > 45 * MINUTE_MS, "the games waited {without} ms without a reserve");
    let with = Night::new(rules(hourly(), for_critical(200)), 1_000).last_of_tonight(evening);
    assert!(with <= MINUTE_MS, "the games waited {with} ms with a reserve");
}

#[test]
fn long_attempts_of_a_backfill_leave_a_slot_for_tonight() {
    let evening = 10 * MINUTE_MS;
    let without = Night::new(rules(limits(&[per(60, 60)]), Reserve::default()), HOUR_MS).last_of_tonight(evening);
    assert!(without > 45 * MINUTE_MS, "all slots were taken, and yet the games waited {without} ms only");
    let mut night = Night::new(rules(limits(&[per(60, 60)]), for_critical(200)), HOUR_MS);
    night.live_until(0, evening);
    let game = gap("tonight", "game", PriorityLevel::Critical, now_at(evening));
    night.world.open(vec![game], now_at(evening));
    assert_eq!(night.world.start(now_at(evening)).task.key, "tonight/game");
}

#[test]
fn what_is_set_aside_idles_and_is_named_as_the_gate() {
    let mut night = Night::new(rules(limits(&[per(10, 60)]), for_critical(200)), 1_000);
    night.live_until(0, 3_000);
    assert_eq!(night.started.len(), 8, "two of ten are set aside");
    let Pick::Idle(idle) = night.world.pick(now_at(3_000)) else { panic!("it started what is set aside for others") };
    let for_priorities = vec![PriorityLevel::Critical];
    let Gate::SetAside { source, limit, for_priorities: named, until, .. } = &idle.waiting[0].gate else { panic!("{idle:?}") };
    assert_eq!((source.as_deref(), limit.as_str(), named), (Some("espn"), "per_minute: 10", &for_priorities));
    assert_eq!(*until, idle.wake_at);
    let waiting = night.world.dispatcher.gaps().into_iter().find(|gap| gap.progress.attempts_total == 0).unwrap();
    assert_eq!(night.world.dispatcher.why_gap(waiting.id, now_at(3_000)).as_ref(), Some(&idle.waiting[0].gate));
    let window = &night.world.dispatcher.figures(now_at(3_000))[0].windows[0];
    assert_eq!((window.used, window.limit, window.set_aside), (8, 10, 2));
    night.live_until(3_000, 65_000);
    let at = idle.wake_at.unwrap().since(now_at(0).boot);
    assert!(night.started[8].0 >= at.as_millis() as u64, "{:?}", night.started);
}

#[test]
fn slots_that_are_set_aside_are_named_as_the_gate() {
    let mut world = World::new(rules(Limits::default(), for_critical(200)), now_at(0));
    world.open((0..9).map(|n| gap("backfill", &format!("{n}"), PriorityLevel::Low, now_at(0))).collect(), now_at(0));
    assert_eq!(world.starts(now_at(0)).len(), 4);
    let Pick::Idle(idle) = world.pick(now_at(0)) else { panic!("the last slot is set aside") };
    assert_eq!(idle.waiting[0].gate, Gate::SlotsSetAside { slots: 5, for_priorities: vec![PriorityLevel::Critical] });
    let waiting = world
        .dispatcher
        .tasks()
        .into_iter()
        .map(|task| task.id)
        .find(|task| !matches!(world.dispatcher.why_task(*task, now_at(0)), Some(Gate::Running { .. })));
    assert_eq!(world.dispatcher.why_task(waiting.unwrap(), now_at(0)).as_ref(), Some(&idle.waiting[0].gate));
    world.open(vec![gap("tonight", "game", PriorityLevel::Critical, now_at(0))], now_at(0));
    assert_eq!(world.start(now_at(0)).task.key, "tonight/game");
    assert!(matches!(world.pick(now_at(0)), Pick::Idle(idle) if idle.waiting[0].gate == Gate::Slots { slots: 5 }));
}

/// A batch that outranks everything, and that half of the permits are not enough for; and one that has taken the others.
fn a_batch_that_waits(reserve: Reserve) -> World {
    let mut rules = rules(limits(&[per(20, 60)]), reserve);
    rules.weighting.base_scores.low = 5_000.0;
    let mut world = World::new(rules, now_at(0));
    let batch = |name: &str| (0..10).map(|n| gap("bulk", &format!("{name}{n}"), PriorityLevel::Low, now_at(0))).collect();
    world.open(batch("a"), now_at(0));
    assert_eq!(world.start(now_at(0)).charge, Charge::Ahead(10));
    world.open(vec![gap("tonight", "first", PriorityLevel::Critical, now_at(0))], now_at(0));
    world.start(now_at(0));
    world.open(batch("b"), now_at(0));
    world
}

/// Starts it if it can; a lower-scored one passes the batch.
fn passes(world: &mut World, name: &str, priority: PriorityLevel, at_ms: u64) -> bool {
    world.open(vec![gap("tonight", name, priority, now_at(at_ms))], now_at(at_ms));
    world.starts(now_at(at_ms)).contains(&format!("tonight/{name}"))
}

#[test]
fn a_claim_keeps_nobody_from_what_is_set_aside_for_him() {
    for (reserve, starts) in [(Reserve::default(), false), (for_critical(200), true)] {
        let mut world = a_batch_that_waits(reserve);
        assert!(passes(&mut world, "early", PriorityLevel::Medium, 1_000));
        assert!(!passes(&mut world, "other", PriorityLevel::Medium, 2 * MINUTE_MS), "the batch was passed for a whole window");
        assert_eq!(passes(&mut world, "late", PriorityLevel::Critical, 2 * MINUTE_MS), starts, "it takes nothing from the batch");
    }
}

#[test]
fn what_takes_only_what_is_set_aside_for_it_passes_nobody() {
    for (reserve, passed) in [(Reserve::default(), true), (for_critical(200), false)] {
        let mut world = a_batch_that_waits(reserve);
        assert!(passes(&mut world, "early", PriorityLevel::Critical, 1_000));
        let second = passes(&mut world, "late", PriorityLevel::Medium, 2 * MINUTE_MS);
        assert_eq!(second, !passed, "a window after the first pass");
    }
}

#[test]
fn the_price_of_a_reserve_is_how_much_later_the_rest_is_done() {
    let world = |reserve| {
        let mut world = World::new(rules(limits(&[per(10, 60)]), reserve), now_at(0));
        world.open((0..80).map(|n| gap("backfill", &format!("{n:02}"), PriorityLevel::Low, now_at(0))).collect(), now_at(0));
        world
    };
    let price = |dispatcher: &crate::queue::Dispatcher, exact_starts| {
        let assumptions = Assumptions { exact_starts, ..Assumptions::default() };
        reserve_price(dispatcher.clone(), &forecast(dispatcher.clone(), &assumptions, now_at(0)), &assumptions, now_at(0))
    };
    let with = world(for_critical(200)).dispatcher;
    let exact = price(&with, 10_000).unwrap();
    let minutes = |price: crate::queue::ReservePrice| {
        [price.done_by, price.done_by_without].map(|at| at.duration_since(now_at(0).wall).as_secs() / 60)
    };
    assert_eq!(minutes(exact), [9, 7], "80 at 8 a minute instead of 10");
    let rough = minutes(price(&with, 20).unwrap());
    assert!((8..=10).contains(&rough[0]) && (6..=8).contains(&rough[1]), "{rough:?}");
    let bottleneck = forecast(with, &Assumptions::default(), now_at(0)).bottleneck.unwrap();
    assert_eq!((bottleneck.limit.as_str(), bottleneck.every), ("per_minute: 10", Duration::from_millis(60_250) / 8));
}

#[test]
fn a_batch_is_cut_to_what_is_not_set_aside_for_others() {
    let rules = rules(limits(&[per(9, 60)]), for_critical(340));
    assert_eq!(crate::queue::largest_batch(&rules, Some("espn"), "bulk", PriorityLevel::Low), 6);
    assert_eq!(crate::queue::largest_batch(&rules, Some("espn"), "bulk", PriorityLevel::Critical), 9);
    let mut world = World::new(rules, now_at(0));
    world.open((0..7).map(|n| gap("bulk", &format!("{n}"), PriorityLevel::Low, now_at(0))).collect(), now_at(0));
    assert_eq!(world.start(now_at(0)).charge, Charge::Ahead(6));
}
