//! Breakers that each value of a source has for itself.

use std::time::Duration;

use super::world::*;
use crate::gap::{Fault, GapState};
use crate::ids::{AttemptId, Uuid};
use crate::limits::SourceIx;
use crate::ports::{Answer, Quota, Quotas, RetryAfter, Settlement};
use crate::queue::{Acquire, Charge, Charging, Dispatcher, Gate, Pick, Rules, Start};
use crate::record::Change;
use crate::spec::{BreakerPolicy, Limits, PriorityLevel};
use crate::time::Now;

const CRM: SourceIx = SourceIx(0);

/// Two failures of a customer open its breaker for a minute; the source as a whole has none.
fn rules() -> Rules {
    let breaker = BreakerPolicy { failures: 2, cooldown: Duration::from_secs(60), cooldown_max: Duration::from_secs(600), rate: None };
    let rules = no_rules().source("crm", Limits::default()).collector("page", 1, Charging::EachRequest);
    rules.dataset("pages", Some("crm"), Some("page")).breaker_by("crm", "customer", breaker)
}

fn page(customer: &str, name: &str, now: Now) -> crate::gap::Gap {
    gap_of(customer, "pages", name, PriorityLevel::Medium, now)
}

fn world(pages: &[(&str, &str)]) -> World {
    let mut world = World::new(rules(), now_at(0));
    world.open(pages.iter().map(|(customer, name)| page(customer, name, now_at(0))).collect(), now_at(0));
    world
}

/// Its one request is answered so.
fn answers(world: &mut World, start: &Start, code: u16, now: Now) -> Vec<Change> {
    let Charge::First(first) = start.charge else { panic!("{:?}", start.charge) };
    assert!(matches!(world.dispatcher.acquire(start.attempt, "crm", now), Acquire::Granted { permit, .. } if permit == first));
    assert_eq!(world.dispatcher.sent(first, now), None);
    let mut changes = world.dispatcher.settle(first, Settlement::ArrivedBy(now.boot), now);
    changes.extend(world.dispatcher.answered(start.attempt, "crm", Answer::status(code), now));
    world.memory.apply(&changes);
    let outcome = if code == 200 { done() } else { failed(Fault::Source) };
    world.end(start, &outcome, now);
    changes
}

/// Starts what can, and answers all of it with this.
fn all_answer(world: &mut World, of: impl Fn(&str) -> u16, now: Now) -> Vec<String> {
    let mut keys = Vec::new();
    while let Pick::Start(start) = world.pick(now) {
        let code = of(&start.task.group[0]);
        answers(world, &start, code, now);
        keys.push(start.task.key);
    }
    keys
}

fn acme_fails(customer: &str) -> u16 {
    if customer == "acme" { 500 } else { 200 }
}

#[test]
fn a_breaker_of_a_value_holds_that_value_alone() {
    let mut world = world(&[("acme", "1"), ("acme", "2"), ("acme", "3"), ("zeta", "1"), ("zeta", "2"), ("zeta", "3")]);
    let asked = all_answer(&mut world, acme_fails, now_at(1_000));
    assert_eq!(asked, ["pages/acme/1", "pages/acme/2", "pages/zeta/1", "pages/zeta/2", "pages/zeta/3"]);
    let gap = page("acme", "3", now_at(0)).id;
    let probe = now_at(61_000).wall;
    let expected = Gate::Breaker {
        source: "crm".into(),
        value: Some("customer=acme".into()),
        until: Some(probe),
        since: now_at(1_000).wall,
        reason: "2 failures in a row, the last: answered 500".into(),
    };
    let now = now_at(2_000);
    assert_eq!(world.dispatcher.why_gap(gap, now), Some(expected.clone()));
    assert_eq!((world.dispatcher.gap_state(gap, now), world.dispatcher.next_try(gap, now)), (Some(GapState::Held), Some(probe)));
    let Pick::Idle(idle) = world.pick(now) else { panic!("it is shut") };
    assert_eq!((idle.waiting[0].gate.clone(), idle.waiting[0].tasks, idle.wake_at), (expected.clone(), 1, Some(now_at(61_000).boot)));
    let figures = world.dispatcher.figures(now).remove(0);
    let values = figures.values.expect("they are told apart");
    assert_eq!((figures.gate, values.shut, values.known, values.waiting), (None, 1, 1, 0), "the source is as it was");
    assert_eq!((values.worst[0].value.as_deref(), values.worst[0].gate.clone()), (Some("acme"), Some(expected)));
    world.open(vec![page("zeta", "4", now)], now);
    assert_eq!(all_answer(&mut world, acme_fails, now), ["pages/zeta/4"]);
}

#[test]
fn one_probe_of_a_value_finds_out_and_the_others_of_it_wait() {
    let mut world = world(&[("acme", "1"), ("acme", "2"), ("acme", "3"), ("acme", "4")]);
    assert_eq!(all_answer(&mut world, acme_fails, now_at(1_000)).len(), 2);
    let probe = world.start(now_at(61_000));
    assert_eq!(probe.task.key, "pages/acme/3");
    world.open(vec![page("zeta", "1", now_at(61_000))], now_at(61_000));
    assert_eq!(world.start(now_at(61_000)).task.key, "pages/zeta/1", "only acme waits for it");
    assert!(matches!(world.pick(now_at(61_000)), Pick::Idle(_)));
    answers(&mut world, &probe, 500, now_at(62_000));
    let next = world.dispatcher.why_gap(page("acme", "4", now_at(0)).id, now_at(62_000));
    assert!(matches!(&next, Some(Gate::Breaker { until: Some(until), .. }) if *until == now_at(182_000).wall), "twice as long: {next:?}");
    let probe = world.start(now_at(182_000));
    answers(&mut world, &probe, 200, now_at(183_000));
    assert_eq!(all_answer(&mut world, |_| 200, now_at(183_000)).len(), 3, "nothing wakes them but what the probe met");
}

#[test]
fn a_probe_of_a_value_that_is_stopped_makes_room_for_another() {
    let mut world = world(&[("acme", "1"), ("acme", "2"), ("acme", "3"), ("acme", "4")]);
    all_answer(&mut world, acme_fails, now_at(1_000));
    let probe = world.start(now_at(61_000));
    assert!(matches!(world.pick(now_at(61_000)), Pick::Idle(_)));
    world.end(&probe, &failed(Fault::Stopped), now_at(62_000));
    assert!(matches!(world.pick(now_at(62_000)), Pick::Start(_)));
}

#[test]
fn a_request_of_a_value_that_is_shut_waits_whoever_sends_it() {
    let mut world = world(&[("acme", "1"), ("acme", "2"), ("acme", "3")]);
    let (first, second, third) = (world.start(now_at(0)), world.start(now_at(0)), world.start(now_at(0)));
    answers(&mut world, &first, 500, now_at(1_000));
    answers(&mut world, &second, 500, now_at(1_000));
    let waits = world.dispatcher.acquire(third.attempt, "crm", now_at(2_000));
    assert!(matches!(&waits, Acquire::Wait { gate: Gate::Breaker { value: Some(_), .. }, until: Some(_) }), "{waits:?}");
    assert!(matches!(&waits, Acquire::Wait { gate, .. } if gate.is_of_one_value() && !gate.is_limit()));
    // A program by hand is nobody's: it is not held, and what it meets trips nothing.
    let guest = AttemptId(Uuid::from_u128(99));
    world.dispatcher.admit(guest);
    for _ in 0..3 {
        let granted = world.dispatcher.acquire(guest, "crm", now_at(2_000));
        let Acquire::Granted { permit, .. } = granted else { panic!("{granted:?}") };
        world.dispatcher.sent(permit, now_at(2_000));
        world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(2_000).boot), now_at(2_000));
        assert_eq!(world.dispatcher.answered(guest, "crm", Answer::status(500), now_at(2_000)), []);
    }
    world.dispatcher.dismiss(guest, now_at(3_000));
}

#[test]
fn a_restart_keeps_the_breaker_of_a_value_open_and_nothing_of_those_that_work() {
    let mut world = world(&[("acme", "1"), ("acme", "2"), ("acme", "3"), ("zeta", "1"), ("once", "1"), ("once", "2")]);
    all_answer(&mut world, |customer| if customer == "zeta" { 200 } else { 500 }, now_at(1_000));
    let kept: Vec<_> = world.memory.values.iter().map(|((_, value), record)| (value.as_str(), record.breaker.open_until)).collect();
    let until = Some(now_at(61_000).wall);
    assert_eq!(kept, [("customer=acme", until), ("customer=once", until)]);

    let restart = |rules: Rules, memory: &Memory, now: Now| Dispatcher::new(rules, &mut memory.remembered(now.wall), boot_id(), now);
    let (dispatcher, changes) = restart(rules(), &world.memory, now_at(5_000));
    assert_eq!(changes, []);
    world.dispatcher = dispatcher;
    let gate = world.dispatcher.value_gate(CRM, Some(crate::ids::ValueId::of("acme")), now_at(5_000));
    assert!(matches!(gate, Some((Gate::Breaker { value: Some(value), until: at, .. }, _)) if value == "customer=acme" && at == until));
    assert_eq!(all_answer(&mut world, |_| 200, now_at(400_000)).len(), 5, "each has a probe, and the rest goes after it");
    assert_eq!(world.memory.values.len(), 0, "what works leaves nothing");

    // Whoever tells them apart by something else, or not at all, has other values.
    let mut memory = world.memory.clone();
    let record = crate::record::SourceRecord::default();
    memory.values.insert(("crm".into(), "account=acme".into()), record.clone());
    memory.values.insert(("gone".into(), "customer=acme".into()), record);
    let (_, changes) = restart(rules(), &memory, now_at(500_000));
    memory.apply(&changes);
    assert!(memory.values.is_empty(), "{:?}", memory.values);
}

#[test]
fn ten_thousand_values_that_work_leave_nothing_behind() {
    let mut world = World::new(rules(), now_at(0));
    for number in 0..10_000_u64 {
        let now = now_at(number);
        world.open(vec![page(&format!("customer {number}"), "1", now)], now);
        let start = world.start(now);
        let code = if number % 100 == 0 { 500 } else { 200 };
        answers(&mut world, &start, code, now);
    }
    let of_values = world.dispatcher.of_values(CRM).expect("declared").remembered();
    assert_eq!((of_values, world.memory.values.len()), (200, 100), "those that failed once, and what is written of them");
    // Their gaps are collected by somebody else.
    let gaps: Vec<_> = world.dispatcher.gaps().into_iter().map(|gap| (gap.id, crate::record::Closed::FoundFilled)).collect();
    world.reconcile(crate::queue::GapNews { closed: gaps, ..Default::default() }, now_at(200_000));
    assert_eq!((world.dispatcher.of_values(CRM).unwrap().remembered(), world.memory.values.len()), (0, 0));
}

/// Only customers have limits, so what upstream says to one is of that one.
fn rules_of_values() -> Rules {
    let rules = no_rules().source("crm", Limits::default()).collector("page", 1, Charging::EachRequest);
    rules.dataset("pages", Some("crm"), Some("page")).limits_by("crm", "customer", limits(&[per(60, 60)]))
}

fn asked(world: &mut World, start: &Start, answer: Answer, now: Now) {
    let Charge::First(first) = start.charge else { panic!("{:?}", start.charge) };
    assert!(matches!(world.dispatcher.acquire(start.attempt, "crm", now), Acquire::Granted { .. }));
    assert_eq!(world.dispatcher.sent(first, now), None);
    let mut changes = world.dispatcher.settle(first, Settlement::ArrivedBy(now.boot), now);
    changes.extend(world.dispatcher.answered(start.attempt, "crm", answer, now));
    world.memory.apply(&changes);
    world.end(start, &if matches!(answer, Answer::Status { code: 200, .. }) { done() } else { failed(Fault::Source) }, now);
}

/// Acme is answered so, and then both have something to do.
fn acme_is_answered(rules: Rules, answer: Answer) -> World {
    let mut world = World::new(rules, now_at(0));
    world.open(vec![page("acme", "1", now_at(0))], now_at(0));
    let start = world.start(now_at(1_000));
    asked(&mut world, &start, answer, now_at(2_000));
    let new = |customer: &str| page(customer, "2", now_at(2_000));
    world.open(vec![new("acme"), new("zeta")], now_at(2_000));
    world
}

fn why(world: &World, customer: &str, now: Now) -> Option<Gate> {
    world.dispatcher.why_gap(page(customer, "2", now).id, now)
}

fn pause_of(gate: Option<Gate>) -> Option<(Option<String>, crate::time::Timestamp, Option<String>)> {
    match gate {
        Some(Gate::RetryAfter { value, until, because, .. }) => Some((value, until, because)),
        _ => None,
    }
}

#[test]
fn where_only_values_have_limits_a_429_pauses_the_value_that_drew_it() {
    let later = Answer::later(429, RetryAfter::Seconds(30));
    let mut world = acme_is_answered(rules_of_values(), later);
    let acme = Some("customer=acme".to_owned());
    assert_eq!(pause_of(why(&world, "acme", now_at(3_000))), Some((acme.clone(), now_at(32_000).wall, None)));
    let zeta = world.start(now_at(3_000));
    assert_eq!(zeta.task.key, "pages/zeta/2");
    asked(&mut world, &zeta, Answer::status(200), now_at(3_000));
    let Pick::Idle(idle) = world.pick(now_at(3_000)) else { panic!("acme is left alone") };
    assert_eq!(idle.wake_at, Some(now_at(32_000).boot));
    let figures = world.dispatcher.figures(now_at(3_000)).remove(0);
    let values = figures.values.expect("they are told apart");
    assert_eq!((figures.gate, figures.learned_share, values.shut), (None, None, 1));
    assert!(pause_of(values.worst[0].gate.clone()).is_some() && values.worst[0].value.as_deref() == Some("acme"));

    // The next engine knows it, and asks more slowly afterwards, acme alone.
    let now = now_at(5_000);
    let (dispatcher, _) = Dispatcher::new(rules_of_values(), &mut world.memory.remembered(now.wall), boot_id(), now);
    world.dispatcher = dispatcher;
    assert_eq!(pause_of(why(&world, "acme", now)), Some((acme, now_at(32_000).wall, None)));
    let start = world.start(now_at(32_000));
    assert_eq!(start.task.group, ["acme"]);
    asked(&mut world, &start, Answer::status(200), now_at(32_100));
    world.open(vec![page("acme", "3", now_at(32_100)), page("zeta", "3", now_at(32_100))], now_at(32_100));
    assert_eq!(world.starts(now_at(32_200)), ["pages/zeta/3"]);
    let slower = world.dispatcher.why_gap(page("acme", "3", now_at(0)).id, now_at(32_200));
    assert!(matches!(&slower, Some(Gate::Limit { value: Some(_), limit, .. }) if limit == "learned_rate"), "{slower:?}");
}

#[test]
fn a_value_that_is_not_told_for_how_long_is_left_alone_for_a_minute_and_nobody_else() {
    let mut world = acme_is_answered(rules_of_values(), Answer::status(429));
    let (value, until, because) = pause_of(why(&world, "acme", now_at(3_000))).expect("it is paused");
    assert_eq!((value.as_deref(), until), (Some("customer=acme"), now_at(62_000).wall));
    assert_eq!(because.as_deref(), Some("answered 429 and did not say for how long"));
    let record = &world.memory.values[&("crm".to_owned(), "customer=acme".to_owned())];
    assert_eq!((record.paused_until, record.learned.as_ref().map(|learned| learned.pauses_in_a_row)), (Some(until), Some(1)));
    assert_eq!(world.starts(now_at(3_000)), ["pages/zeta/2"]);
}

#[test]
fn what_is_left_of_a_quota_is_of_the_value_that_was_told() {
    let mut quotas = Quotas::default();
    quotas.add(Quota { id: 1, left: Some(0), renewed_in: Some(Duration::from_secs(20)), ..Quota::default() });
    let mut world = acme_is_answered(rules_of_values(), Answer::Status { code: 200, retry_after: None, quotas });
    let paused = pause_of(why(&world, "acme", now_at(3_000))).expect("nothing is left");
    assert_eq!((paused.0.as_deref(), paused.1), (Some("customer=acme"), now_at(22_000).wall));
    assert_eq!(world.starts(now_at(3_000)), ["pages/zeta/2"]);
}

#[test]
fn what_may_be_the_sources_doing_pauses_all_of_it() {
    let both = || {
        let mut rules = rules_of_values();
        rules.sources["crm"].limits = limits(&[per(1_000, 60)]);
        rules
    };
    let later = |code| Answer::later(code, RetryAfter::Seconds(30));
    // Whose limit it was, nobody knows; and who is not there is there for nobody.
    for (rules, answer) in [(both(), later(429)), (rules_of_values(), later(503)), (rules_of_values(), Answer::status(503))] {
        let mut world = acme_is_answered(rules, answer);
        let paused = pause_of(why(&world, "zeta", now_at(3_000))).unwrap_or_else(|| panic!("{answer:?}"));
        assert_eq!(paused.0, None);
        assert!(world.starts(now_at(3_000)).is_empty() && world.memory.values.is_empty());
    }
}

#[test]
fn programs_by_hand_have_their_pause_together_and_apart_from_everybody_else() {
    let mut world = acme_is_answered(rules_of_values(), Answer::status(200));
    let guest = AttemptId(Uuid::from_u128(99));
    world.dispatcher.admit(guest);
    let Acquire::Granted { permit, .. } = world.dispatcher.acquire(guest, "crm", now_at(3_000)) else { panic!("nothing holds it") };
    world.dispatcher.sent(permit, now_at(3_000));
    world.dispatcher.settle(permit, Settlement::ArrivedBy(now_at(3_000).boot), now_at(3_000));
    world.dispatcher.answered(guest, "crm", Answer::later(429, RetryAfter::Seconds(30)), now_at(3_000));
    let waits = world.dispatcher.acquire(guest, "crm", now_at(4_000));
    assert!(
        matches!(&waits, Acquire::Wait { gate: Gate::RetryAfter { value: Some(value), .. }, .. } if value == "customer=?"),
        "{waits:?}"
    );
    assert_eq!(world.starts(now_at(4_000)), ["pages/acme/2", "pages/zeta/2"]);
}

#[test]
fn what_ten_thousand_values_were_told_is_forgotten_with_what_they_sent() {
    let mut world = World::new(rules_of_values(), now_at(0));
    let mut most = 0;
    for number in 0..10_000_u64 {
        // A minute and a second after a request nothing of it counts: some 610 customers have sent something by then.
        let now = now_at(number * 100);
        world.open(vec![page(&format!("customer {number}"), "1", now)], now);
        let start = world.start(now);
        asked(&mut world, &start, Answer::status(200), now);
        most = most.max(world.dispatcher.grants.limiter().remembered());
    }
    assert!(most < 5 * 610, "{most} things are remembered of values");
    assert_eq!((world.memory.values.len(), world.dispatcher.of_values(CRM).expect("they learn").remembered()), (0, 0));
}
