//! A scenario from a seed: as different as the config allows, and always one that a perfect engine can complete.
//!
//! Nothing that no engine could know is drawn: a wall clock that is set forward and then survives only in records of an
//! earlier boot would make permits look older than they are, so a world that reboots never jumps forward. Accidents end
//! well before the end, so that "everything converges" can be asked of every seed.

use std::time::Duration;

use adce_core::spec::{AbsentPolicy, BreakerPolicy, FailureRate, Limits, PriorityLevel, Requests, Reserve, RetryPolicy, Window};

use crate::dice::Dice;
use crate::scenario::{
    CollectorSpec, Crash, CrashKind, DatasetSpec, Fresh, HOUR, Jump, Kind, MINUTE, Micros, Moods, Outage, SECOND, Scenario, Shows,
    SourceSpec, Span,
};

const HOURS: u64 = 24;

/// Nothing goes wrong any more from here on, and nothing new falls due.
const CALM: Micros = 13 * HOUR;

/// A world with everything that can go wrong.
pub fn rough_day(seed: u64) -> Scenario {
    let dice = &mut Dice::new(seed);
    let crashes = crashes(dice);
    let reboots = crashes.iter().any(|crash| crash.kind == CrashKind::Reboot);
    // What a predecessor sent is known to its burst only roughly, so the brute-force check knows bursts in calm worlds.
    let bursts = crashes.is_empty();
    let mut sources: Vec<SourceSpec> = (0..dice.among(1..4)).map(|at| source(dice, at, bursts)).collect();
    let mut collectors: Vec<CollectorSpec> = (0..dice.among(1..5)).map(|at| collector(dice, at)).collect();
    breakers(seed, &mut sources, &mut collectors);
    limits_of_each(seed, &mut sources, bursts);
    breakers_of_each(seed, &mut sources);
    let datasets = (0..dice.among(2..6)).map(|at| dataset(dice, at, &sources, &collectors)).collect();
    let slots = dice.among(1..8) as u32;
    Scenario {
        seed,
        hours: HOURS,
        slots,
        reserve: reserve(seed, slots),
        caps: Vec::new(),
        task_ttl: None,
        reconcile_every: dice.among(5..31) * MINUTE,
        commit: Span { from: 100, to: 100 + dice.among(0..20_000) },
        publish: publishing(dice),
        weighted: !dice.one_in(5),
        endless: false,
        together: if dice.one_in(2) { Limits::default() } else { Limits { windows: windows(dice, 2), ..Limits::default() } },
        sources,
        collectors,
        datasets,
        crashes,
        jumps: jumps(dice, reboots),
    }
}

/// Such a world in which few tasks may start from one look to the next, and none stands in line for long. What a look leaves is
/// enough for all items in the hours that are left.
pub fn capped_day(seed: u64) -> Scenario {
    let dice = &mut Dice::new(seed ^ 0x0ca9_5e77);
    let day = rough_day(seed);
    let items: u32 = day.datasets.iter().map(|dataset| dataset.items).sum();
    let mut caps = Vec::new();
    if !dice.one_in(3) {
        caps.push((None, 20 + items / 8 + dice.among(0..40) as u32));
    }
    for priority in [PriorityLevel::Critical, PriorityLevel::High, PriorityLevel::Low] {
        if dice.one_in(3) {
            caps.push((Some(priority), 10 + items / 10 + dice.among(0..10) as u32));
        }
    }
    Scenario { caps, task_ttl: (!dice.one_in(3)).then(|| dice.among(5..180) * MINUTE), ..day }
}

/// One source, more demand than it takes, and no accidents: what share of the quota is used?
pub fn constant_demand(seed: u64) -> Scenario {
    let dice = &mut Dice::new(seed);
    let fastest = dice.among(5..400) * 1_000;
    let mut source = source(dice, 0, false);
    source.limits = Limits { windows: windows(dice, 1), ..Limits::default() };
    source.latency = Span { from: fastest, to: fastest + dice.among(0..1_500) * 1_000 };
    source.moods = Moods::default();
    source.outages.clear();
    let collectors = vec![CollectorSpec { kind: Kind::Http, batch: 1, dies: 0, requests: Requests::default(), ..collector(dice, 0) }];
    let mut dataset = dataset(dice, 0, &[source.clone()], &collectors);
    dataset = DatasetSpec { items: 16, source: Some(0), first_due: 0, due_every: 0, absent: 0, late: 0, fresh: None, ..dataset };
    Scenario {
        seed,
        hours: HOURS,
        slots: 8,
        reserve: Reserve::default(),
        caps: Vec::new(),
        task_ttl: None,
        reconcile_every: 15 * MINUTE,
        commit: Span { from: 500, to: 3_000 },
        publish: Span { from: 500, to: 50_000 },
        weighted: true,
        endless: true,
        together: Limits::default(),
        sources: vec![source],
        collectors,
        datasets: vec![dataset],
        crashes: Vec::new(),
        jumps: Vec::new(),
    }
}

/// The same, of a source that allows each of four customers so much and hardly bounds them together.
pub fn constant_demand_of_many(seed: u64) -> Scenario {
    let mut scenario = constant_demand(seed);
    let source = &mut scenario.sources[0];
    let wide = source.limits.windows.iter().map(|window| Window { requests: window.requests * 20, ..*window });
    let wide = Limits { windows: wide.collect(), ..Limits::default() };
    source.each = Some(std::mem::replace(&mut source.limits, wide));
    (scenario.slots, scenario.hours) = (16, 8);
    let dataset = &mut scenario.datasets[0];
    (dataset.items, dataset.groups, dataset.at_once) = (64, 4, 1);
    scenario
}

/// A local disk, a store far away, or one that is slower than what is collected.
fn publishing(dice: &mut Dice) -> Span {
    let fastest = dice.one_of(&[500, 500, 20_000, 2 * SECOND]);
    Span { from: fastest, to: fastest * dice.among(1..60) }
}

/// Half of the worlds set something aside. From dice of its own, so that the rest of a seed's world stays what it was.
fn reserve(seed: u64, slots: u32) -> Reserve {
    let dice = &mut Dice::new(seed ^ 0x7e5e_77e0);
    let mut reserve = Reserve::default();
    if dice.one_in(2) {
        return reserve;
    }
    for priority in [PriorityLevel::Critical, PriorityLevel::High] {
        let more = reserve.with(priority, dice.one_of(&[0, 100, 200, 340, 450]));
        // A slot is left for everybody else, or nothing would converge.
        if more.shares().map(|(priority, _)| more.of_slots(priority, slots)).sum::<u32>() < slots {
            reserve = more;
        }
    }
    reserve
}

/// What else breakers can have, and those of collectors; from dice of its own, like [`reserve`].
fn breakers(seed: u64, sources: &mut [SourceSpec], collectors: &mut [CollectorSpec]) {
    let dice = &mut Dice::new(seed ^ 0x0b4e_a4e5);
    for breaker in sources.iter_mut().filter_map(|source| source.breaker.as_mut()) {
        breaker.cooldown_max = breaker.cooldown * dice.one_of(&[1, 2, 4, 8]);
        let rate = FailureRate {
            permille: dice.one_of(&[200, 400, 500, 800]),
            of: dice.among(3..15) as u32,
            within: Duration::from_secs(dice.among(20..1_200)),
        };
        breaker.rate = dice.one_in(2).then_some(rate);
    }
    for collector in collectors {
        let cooldown = Duration::from_secs(dice.among(10..300));
        let breaker = BreakerPolicy { failures: dice.among(1..5) as u32, cooldown, cooldown_max: cooldown * 4, rate: None };
        collector.breaker = (!dice.one_in(3)).then_some(breaker);
        if dice.one_in(6) {
            collector.dies = 150;
        }
    }
}

/// Half of the sources tell requests apart; from dice of its own, like [`reserve`].
fn limits_of_each(seed: u64, sources: &mut [SourceSpec], bursts: bool) {
    let dice = &mut Dice::new(seed ^ 0xb1_a2a1);
    for source in sources {
        if dice.one_in(2) {
            continue;
        }
        let mut each = Limits { windows: windows(dice, 1), ..Limits::default() };
        each.in_flight = dice.one_in(3).then(|| dice.among(1..4) as u32);
        each.min_delay = dice.one_in(6).then(|| Duration::from_millis(dice.among(50..2_000)));
        each.burst = (bursts && dice.one_in(4)).then(|| dice.among(1..10) as u32);
        source.each = Some(each);
    }
}

/// Of half of those that tell requests apart, each value has a breaker, and of half of these the source as a whole has none; from dice
/// of its own, like [`reserve`]. What is forgotten of a value's latest outcomes nobody tells, so only failures in a row open these.
fn breakers_of_each(seed: u64, sources: &mut [SourceSpec]) {
    let dice = &mut Dice::new(seed ^ 0xb4ea_4e55);
    for source in sources.iter_mut().filter(|source| source.each.is_some()) {
        let cooldown = Duration::from_secs(dice.among(20..600));
        let breaker = BreakerPolicy { failures: dice.among(1..4) as u32, cooldown, cooldown_max: cooldown * 2, rate: None };
        source.each_breaker = dice.one_in(2).then_some(breaker);
        if source.each_breaker.is_some() && dice.one_in(2) {
            source.breaker = None;
        }
    }
}

fn source(dice: &mut Dice, at: u64, bursts: bool) -> SourceSpec {
    let mut limits = Limits { windows: windows(dice, 1), ..Limits::default() };
    limits.in_flight = dice.one_in(3).then(|| dice.among(1..5) as u32);
    limits.min_delay = dice.one_in(5).then(|| Duration::from_millis(dice.among(50..4_000)));
    limits.burst = (bursts && dice.one_in(3)).then(|| dice.among(1..10) as u32);
    let fastest = dice.among(5..300) * 1_000;
    let (failures, cooldown) = (dice.among(2..7) as u32, Duration::from_secs(dice.among(30..900)));
    let breaker = BreakerPolicy { failures, cooldown, cooldown_max: cooldown, rate: None };
    SourceSpec {
        name: format!("source{at}"),
        importance: dice.one_of(&[0.5, 1.0, 1.0, 1.2, 1.5, 3.0]),
        limits,
        each: None,
        breaker: (!dice.one_in(4)).then_some(breaker),
        each_breaker: None,
        latency: Span { from: fastest, to: fastest + dice.among(1..2_000) * 1_000 },
        moods: moods(dice),
        outages: (0..dice.among(0..3)).map(|_| some_time(dice, 40 * MINUTE)).collect(),
    }
}

fn moods(dice: &mut Dice) -> Moods {
    if dice.one_in(4) {
        return Moods { until: CALM, ..Moods::default() };
    }
    let mut share = |most: u64| if dice.one_in(2) { 0 } else { dice.among(1..most) as u32 };
    let (busy, error, drop, garbage, slow) = (share(60), share(60), share(40), share(40), share(40));
    Moods { busy, error, drop, garbage, slow, retry_after_s: dice.among(1..180), until: CALM }
}

/// At least one, and room for what is left at the end of the accidents.
fn windows(dice: &mut Dice, wider: u32) -> Vec<Window> {
    let choices = [(1, 3..6), (60, 4..30), (3_600, 120..400)];
    let sure = dice.one_of(&[1, 1, 2]);
    let mut windows = Vec::new();
    for (at, (secs, requests)) in choices.into_iter().enumerate() {
        if at == sure || dice.one_in(4) {
            windows.push(Window { requests: dice.among(requests) as u32 * wider, span: Duration::from_secs(secs) });
        }
    }
    windows
}

fn collector(dice: &mut Dice, at: u64) -> CollectorSpec {
    let kind = match dice.among(0..3) {
        0 => Kind::Http,
        1 => Kind::Gateway { parallel: dice.among(1..4) as u32 },
        _ => Kind::Charged,
    };
    let requests = match dice.among(0..4) {
        0 if kind == Kind::Charged => Requests { per_task: 1, per_item: 0 },
        1 if kind != Kind::Http => Requests { per_task: 1, per_item: 1 },
        _ => Requests::default(),
    };
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let retry = RetryPolicy {
        attempts: dice.among(1..5) as u32,
        backoff_min: Duration::from_secs(dice.among(5..120)),
        backoff_max: minutes(dice.among(5..31)),
        revive_min: minutes(dice.among(5..31)),
        revive_max: minutes(dice.among(40..120)),
    };
    let batch = if kind == Kind::Http { 1 } else { dice.one_of(&[1, 1, 3, 8, 20]) };
    let (dies, timeout) = (dice.one_of(&[0, 0, 20]), 10 * MINUTE);
    CollectorSpec { name: format!("collector{at}"), kind, batch, requests, retry, breaker: None, dies, hangs: 0, timeout }
}

fn dataset(dice: &mut Dice, at: u64, sources: &[SourceSpec], collectors: &[CollectorSpec]) -> DatasetSpec {
    let items = dice.among(10..80) as u32;
    let grows = dice.one_in(2);
    let first_due = if dice.one_in(2) { 0 } else { dice.among(0..CALM / 3) };
    let within = dice.among(60..400) * MINUTE;
    DatasetSpec {
        name: format!("dataset{at}"),
        source: (!dice.one_in(12)).then(|| dice.among(0..sources.len() as u64) as usize),
        collector: dice.among(0..collectors.len() as u64) as usize,
        priority: dice.one_of(&PriorityLevel::ALL),
        cools: dice.one_in(3).then(|| dice.among(10..240) * MINUTE),
        items,
        first_due,
        due_every: if grows { dice.among(0..(CALM - first_due) / u64::from(items)) } else { 0 },
        at_once: 1,
        groups: dice.among(1..4) as u32,
        absent: dice.one_of(&[0, 0, 20, 100]),
        late: dice.one_of(&[0, 0, 50]),
        poison: 0,
        repaired_after: 0,
        taken: 0,
        absent_policy: AbsentPolicy {
            after: Duration::from_secs(dice.among(0..3 * 3_600)),
            recheck_min: Duration::from_secs(dice.among(300..3_600)),
            recheck_max: Duration::from_secs(5_400),
        },
        fresh: dice.one_in(3).then_some(Fresh { within, until: 10 * HOUR }),
    }
}

fn some_time(dice: &mut Dice, longest: Micros) -> Outage {
    let from = dice.among(0..CALM - longest);
    Outage { from, to: from + dice.among(MINUTE..longest), shows: Shows::Refused }
}

fn crashes(dice: &mut Dice) -> Vec<Crash> {
    if dice.one_in(3) {
        return Vec::new();
    }
    let reboots = dice.one_in(3);
    let mut crashes: Vec<_> = (0..dice.among(1..12))
        .map(|_| {
            let (at, dead_for) = (dice.among(0..CALM), dice.among(SECOND / 2..40 * SECOND));
            let kind = if reboots && dice.one_in(3) { CrashKind::Reboot } else { CrashKind::Kill };
            Crash { at, dead_for, kind }
        })
        .collect();
    crashes.sort_by_key(|crash| crash.at);
    // Two cannot overlap: the second would hit a dead engine.
    crashes.dedup_by(|later, earlier| later.at <= earlier.at + earlier.dead_for + MINUTE);
    crashes
}

fn jumps(dice: &mut Dice, reboots: bool) -> Vec<Jump> {
    if dice.one_in(2) {
        return Vec::new();
    }
    let mut jumps: Vec<_> = (0..dice.among(1..4))
        .map(|_| {
            let by = dice.among(1..5_400) as i64;
            let back = reboots || dice.one_in(2);
            Jump { at: dice.among(0..CALM), by_seconds: if back { -by } else { by } }
        })
        .collect();
    jumps.sort_by_key(|jump| jump.at);
    jumps
}
