//! A year from a seed: five sources, two seasons with a pause before and after each, schedules that grow every day, a
//! backfill of years beside them, and everything that goes wrong in a year of unattended work.
//!
//! Any number of days can be had; all that happens is spread over them alike. For the last two weeks nothing goes wrong
//! and nothing falls due any more, so that "it converges" can be asked of every seed. Demand is well below what the limits
//! leave: an engine that is asked for more than its sources give falls behind, and there is nothing wrong with it.

use std::time::Duration;

use adce_core::spec::{AbsentPolicy, BreakerPolicy, FailureRate, Limits, PriorityLevel, Requests, Reserve, RetryPolicy, Window};

use crate::dice::Dice;
use crate::scenario::{
    CollectorSpec, Crash, CrashKind, DAY, DatasetSpec, Fresh, HOUR, Jump, Kind, MINUTE, Micros, Moods, Outage, SECOND, Scenario, Shows,
    SourceSpec, Span,
};

/// Without accidents, at the end.
const REST: Micros = 14 * DAY;

const ESPN: usize = 0;
const BBREF: usize = 1;
const STATS: usize = 2;
const ODDS: usize = 3;
const ARCHIVE: usize = 4;

const PAGE: usize = 0;
const SCRAPER: usize = 1;
const BOXES: usize = 2;
const YEARS: usize = 3;
const SUMMARY: usize = 4;

pub fn year(seed: u64) -> Scenario {
    days(seed, 365)
}

/// What fits into a test.
pub fn six_weeks(seed: u64) -> Scenario {
    days(seed, 45)
}

/// At least a month.
pub fn days(seed: u64, days: u64) -> Scenario {
    let dice = &mut Dice::new(seed ^ 0x0365_0365);
    let calm = days * DAY - REST;
    let mut sources = sources(dice, calm);
    outages(dice, &mut sources, days, calm);
    let together = [(60, 120..200), (3_600, 1_500..2_500)].map(|(secs, requests)| window(dice.among(requests), secs));
    Scenario {
        seed,
        hours: 24 * days,
        slots: dice.among(5..9) as u32,
        reserve: Reserve::default().with(PriorityLevel::Critical, 200),
        caps: Vec::new(),
        task_ttl: None,
        reconcile_every: dice.one_of(&[HOUR, 2 * HOUR]),
        commit: Span { from: 500, to: 4_000 },
        publish: Span { from: 1_000, to: 80_000 },
        weighted: !dice.one_in(5),
        endless: false,
        together: if dice.one_in(2) { limits(&together) } else { Limits::default() },
        sources,
        collectors: collectors(dice),
        datasets: datasets(dice, days, calm),
        crashes: crashes(dice, days, calm),
        jumps: jumps(dice, days, calm),
    }
}

fn window(requests: u64, secs: u64) -> Window {
    Window { requests: requests as u32, span: Duration::from_secs(secs) }
}

fn limits(windows: &[Window]) -> Limits {
    Limits { windows: windows.to_vec(), ..Limits::default() }
}

// ------------------------------------------------------------------------------------------------------------- upstreams

fn sources(dice: &mut Dice, calm: Micros) -> Vec<SourceSpec> {
    let mut n = |range| dice.among(range);
    let espn = Limits { in_flight: Some(n(2..6) as u32), ..limits(&[window(n(30..60), 60), window(n(300..600), 3_600)]) };
    let min_delay = Some(Duration::from_millis(n(2_000..5_000)));
    let bbref = Limits { in_flight: Some(1), min_delay, ..limits(&[window(n(8..20), 60)]) };
    // Batches of twenty and single requests share these windows.
    let stats = limits(&[window(n(24..40), 3_600), window(n(250..400), 86_400)]);
    let odds = limits(&[window(n(2..5), 1), window(n(300..600), 86_400)]);
    let archive = Limits { in_flight: Some(1), ..limits(&[window(n(25..60), 3_600), window(n(200..400), 86_400)]) };
    let mut source = |name: &str, importance: f64, limits: Limits, breaker: Option<(u32, u64, u64)>| {
        let fastest = dice.among(20..300) * 1_000;
        let breaker = breaker.map(|(failures, first, longest)| BreakerPolicy {
            failures,
            cooldown: Duration::from_secs(60 * first),
            cooldown_max: Duration::from_secs(60 * longest),
            rate: dice.one_in(2).then_some(FailureRate { permille: 500, of: 20, within: Duration::from_secs(600) }),
        });
        let mut share = |most: u64| dice.among(0..most) as u32;
        let (busy, error, drop, garbage, slow) = (share(8), share(15), share(8), share(8), share(15));
        SourceSpec {
            name: name.into(),
            importance,
            limits,
            each: None,
            breaker,
            each_breaker: None,
            latency: Span { from: fastest, to: fastest + dice.among(100..2_000) * 1_000 },
            moods: Moods { busy, error, drop, garbage, slow, retry_after_s: dice.among(5..300), until: calm },
            outages: Vec::new(),
        }
    };
    vec![
        source("espn", 1.5, espn, Some((5, 10, 120))),
        source("bbref", 1.2, bbref, Some((5, 10, 60))),
        source("stats", 1.0, stats, Some((4, 15, 120))),
        source("odds", 1.0, odds, None),
        source("archive", 0.8, archive, Some((3, 30, 240))),
    ]
}

/// Every source is away for hours now and then, or for days; some say 404 to everything or 429 to everybody meanwhile.
fn outages(dice: &mut Dice, sources: &mut [SourceSpec], days: u64, calm: Micros) {
    let add = |dice: &mut Dice, source: &mut SourceSpec, lasts: Micros, shows: Shows| {
        let from = dice.among(DAY..calm - lasts);
        source.outages.push(Outage { from, to: from + lasts, shows });
    };
    for source in sources.iter_mut() {
        for _ in 0..=days / 60 {
            let lasts = if dice.one_in(4) { dice.among(DAY..4 * DAY) } else { dice.among(20 * MINUTE..12 * HOUR) };
            add(dice, source, lasts, Shows::Refused);
        }
    }
    for _ in 0..=days / 60 {
        let swallows = dice.among(0..sources.len() as u64) as usize;
        let lasts = dice.among(HOUR..9 * HOUR);
        let (source, comes_back_empty) = (&mut sources[swallows], dice.one_in(2));
        match source.outages.iter().map(|outage| outage.to).find(|to| comes_back_empty && to + lasts < calm) {
            Some(from) => source.outages.push(Outage { from, to: from + lasts, shows: Shows::NoSuchThing }),
            None => add(dice, source, lasts, Shows::NoSuchThing),
        }
        let busy = dice.among(0..sources.len() as u64) as usize;
        let lasts = dice.among(10 * MINUTE..5 * HOUR);
        add(dice, &mut sources[busy], lasts, Shows::Busy);
    }
}

// ------------------------------------------------------------------------------------------------------------ collectors

fn collectors(dice: &mut Dice) -> Vec<CollectorSpec> {
    let mut collector = |name: &str, kind: Kind, batch: u32, dies: u64, hangs: u64, timeout: Micros| {
        let breaker =
            BreakerPolicy { failures: 6, cooldown: Duration::from_secs(300), cooldown_max: Duration::from_secs(3_600), rate: None };
        CollectorSpec {
            name: name.into(),
            kind,
            batch,
            requests: Requests::default(),
            retry: RetryPolicy { attempts: dice.among(2..5) as u32, ..RetryPolicy::default() },
            breaker: (kind != Kind::Http && dice.one_in(2)).then_some(breaker),
            dies: if dies == 0 { 0 } else { dice.among(0..dies) as u32 },
            hangs: if hangs == 0 { 0 } else { dice.among(0..hangs) as u32 },
            timeout,
        }
    };
    vec![
        collector("page", Kind::Http, 1, 0, 0, 2 * MINUTE),
        collector("scraper", Kind::Gateway { parallel: 2 }, 8, 30, 60, HOUR),
        collector("boxes", Kind::Charged, 20, 30, 40, 30 * MINUTE),
        collector("years", Kind::Charged, 20, 20, 20, 30 * MINUTE),
        collector("summary", Kind::Charged, 1, 60, 20, 10 * MINUTE),
    ]
}

// -------------------------------------------------------------------------------------------------------------- datasets

/// From one due time to the next, and how many each time.
#[derive(Clone, Copy)]
struct Pace {
    every: Micros,
    at_once: u32,
}

fn datasets(dice: &mut Dice, days: u64, calm: Micros) -> Vec<DatasetSpec> {
    let all_year = (0, calm);
    // As shares of a year; a pause before, between and behind.
    let seasons = [(4, 40), (55, 93)].map(|(from, to)| (calm * from / 100, calm * to / 100));
    let daily = |at_once: u64| Pace { every: DAY, at_once: at_once as u32 };
    let several = |times: u64, at_once: u64| Pace { every: DAY / times, at_once: at_once as u32 };
    let mut datasets = Vec::new();
    for (half, season) in [("a", seasons[0]), ("b", seasons[1])] {
        let games = dataset(&format!("games_{half}"), Some(ESPN), PAGE, PriorityLevel::Critical, season, daily(dice.among(5..10)));
        let fresh = Some(Fresh { within: 12 * HOUR, until: 3 * DAY });
        datasets.push(DatasetSpec { fresh, cools: Some(7 * DAY), late: 40, ..games });
        let plays = dataset(&format!("plays_{half}"), Some(BBREF), SCRAPER, PriorityLevel::Medium, season, daily(dice.among(5..10)));
        let fresh = Some(Fresh { within: DAY, until: 2 * DAY });
        datasets.push(DatasetSpec { fresh, groups: u32::MAX, poison: 5, repaired_after: 6 * DAY, ..plays });
        let boxes = dataset(&format!("boxes_{half}"), Some(STATS), BOXES, PriorityLevel::High, season, daily(dice.among(12..25)));
        datasets.push(DatasetSpec { poison: 8, repaired_after: 9 * DAY, late: 20, ..boxes });
    }
    let odds = dataset("odds", Some(ODDS), PAGE, PriorityLevel::High, all_year, several(4, dice.among(1..4)));
    datasets.push(DatasetSpec { cools: Some(2 * DAY), late: 30, ..odds });
    let reports = dataset("reports", Some(ARCHIVE), SUMMARY, PriorityLevel::Medium, all_year, several(2, dice.among(1..4)));
    // What is not there yet is asked for every quarter of an hour or so: three days of that for each would be all that this
    // source gives.
    let absent_policy = AbsentPolicy { after: Duration::from_secs(12 * 3_600), ..AbsentPolicy::default() };
    datasets.push(DatasetSpec { absent: 80, late: 50, absent_policy, ..reports });
    let fought = dataset("fought", Some(ESPN), PAGE, PriorityLevel::Medium, all_year, Pace { every: 5 * DAY, at_once: 1 });
    datasets.push(DatasetSpec { taken: 700, ..fought });
    datasets.push(dataset("summaries", None, SUMMARY, PriorityLevel::Medium, all_year, several(2, dice.among(1..4))));
    for (name, source, collector) in [("history", STATS, PAGE), ("years", ARCHIVE, YEARS)] {
        let backfill = dataset(name, Some(source), collector, PriorityLevel::Low, all_year, Pace { every: 0, at_once: 1 });
        datasets.push(DatasetSpec { items: (dice.among(5..9) * days) as u32, absent: 10, ..backfill });
    }
    datasets
}

fn dataset(
    name: &str,
    source: Option<usize>,
    collector: usize,
    priority: PriorityLevel,
    (from, to): (Micros, Micros),
    pace: Pace,
) -> DatasetSpec {
    let times = (to - from).checked_div(pace.every).unwrap_or(1);
    DatasetSpec {
        name: name.into(),
        source,
        collector,
        priority,
        cools: None,
        items: times as u32 * pace.at_once,
        first_due: from,
        due_every: pace.every,
        at_once: pace.at_once,
        groups: 1,
        absent: 0,
        late: 0,
        poison: 0,
        repaired_after: 0,
        taken: 0,
        absent_policy: AbsentPolicy::default(),
        fresh: None,
    }
}

// ------------------------------------------------------------------------------------------------------------- accidents

fn crashes(dice: &mut Dice, days: u64, calm: Micros) -> Vec<Crash> {
    let mut crashes: Vec<_> = (0..days / 5)
        .map(|_| {
            let dead_for = if dice.one_in(8) { dice.among(HOUR..6 * HOUR) } else { dice.among(SECOND..2 * MINUTE) };
            let kind = dice.one_of(&[CrashKind::Kill, CrashKind::Kill, CrashKind::Reboot, CrashKind::Stop]);
            Crash { at: dice.among(HOUR..calm - 6 * HOUR), dead_for, kind }
        })
        .collect();
    crashes.sort_by_key(|crash| crash.at);
    // Two cannot overlap: the second would hit a dead engine.
    crashes.dedup_by(|later, earlier| later.at <= earlier.at + earlier.dead_for + MINUTE);
    crashes
}

/// Only back: see `invent`.
fn jumps(dice: &mut Dice, days: u64, calm: Micros) -> Vec<Jump> {
    let mut jumps: Vec<_> = (0..days / 90).map(|_| Jump { at: dice.among(0..calm), by_seconds: -(dice.among(1..3_600) as i64) }).collect();
    jumps.sort_by_key(|jump| jump.at);
    jumps
}
