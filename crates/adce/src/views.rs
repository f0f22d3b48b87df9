//! From the engine's own words to the wire's: what `status`, `gaps`, `tasks`, `limits` and `why` answer with, alike from a
//! running engine and from a state that nobody runs.

use std::time::Duration;

use adce_api::{
    Accepted, Admitted, CollectorStatus, CycleStatus, DatasetCoverage, EngineStatus, GapCounts, GapLine, GuestHost, GuestReport, ItemStory,
    LimitsReport, LookAt, ReserveShare, RetryLine, RunningAttempt, Share, SourceLimits, SourceStatus, Status, StoryLine, TaskLine,
    WaitedLine, WindowNow,
};
use adce_core::figures::{counted, grouped, span};
use adce_core::gap::{Gap, GapState, ItemState, Standing, Task};
use adce_core::limits::Because;
use adce_core::queue::{Asked, Came, Gate};
use adce_core::record::{ItemRecord, Lease, Story};
use adce_core::spec::{Limits, Margin, PriorityLevel, Reserve, Spec, Window};
use adce_core::time::{Boottime, Moment, Now, Timestamp};
use adce_engine::{
    CollectorLine, ContestedLine, CycleFigures, DoubtLine, Edited, GapView, Guest, GuestSource, GuestUse, HeldBackLine, LimitsView, Phase,
    Snapshot, SourceLine, SourceState, TaskView, UncoveredLine, Why, collector_line,
};
use indexmap::IndexMap;

use crate::config::Edition;

/// Facts about this process that the engine does not know.
pub struct Process {
    pub pid: u32,
    pub lake: String,
    pub config: Edition,
}

pub fn status(snapshot: &Snapshot, cycle: &CycleFigures, next_cycle: Option<Timestamp>, spec: &Spec, process: &Process) -> Status {
    let datasets = coverage_now(snapshot, cycle, spec);
    let mut coverage = adce_api::Counts::default();
    datasets.values().for_each(|dataset| coverage += dataset.counts);
    Status {
        name: spec.name.clone(),
        lake: process.lake.clone(),
        at: snapshot.at,
        engine: Some(EngineStatus {
            pid: process.pid,
            started_at: snapshot.started_at,
            config: process.config.id.clone(),
            config_changed_at: process.config.changed_at,
            last_cycle: cycle.began.map(|began_at| CycleStatus {
                began_at,
                seconds: cycle.took.as_secs_f64(),
                error: cycle.not_listed.first().map(|(prefix, error)| format!("`{prefix}`: {error}")),
            }),
            next_cycle,
            stopping: snapshot.phase == Phase::Draining,
        }),
        complete: coverage.items.is_complete() && cycle.not_listed.is_empty() && cycle.began.is_some() && snapshot.surprises.is_empty(),
        coverage,
        datasets,
        gaps: GapCounts {
            queued: snapshot.gaps.queued,
            running: snapshot.gaps.running,
            waiting: snapshot.gaps.waiting,
            held: snapshot.gaps.held,
            exhausted: snapshot.gaps.exhausted,
        },
        eta_seconds: snapshot.eta.map(|eta| eta.duration_since(snapshot.at).as_secs_f64().max(0.0)),
        sources: snapshot.sources.iter().map(|source| (source.name.clone(), source_status(source, snapshot.at, spec))).collect(),
        collectors: collectors(&snapshot.collectors),
        running: snapshot.running.iter().map(running).collect(),
        slots: Share { used: snapshot.slots_used, of: Some(snapshot.slots) },
        look: look_at(snapshot, cycle),
        held: snapshot.surprises.clone(),
    }
}

/// By dataset: what the last cycle saw, and what landed since it began.
pub fn coverage_now(snapshot: &Snapshot, cycle: &CycleFigures, spec: &Spec) -> indexmap::IndexMap<String, DatasetCoverage> {
    let datasets = cycle.datasets.iter().map(|dataset| {
        let mut coverage = dataset_coverage(dataset);
        let failed = cycle.not_listed.iter().find(|(prefix, _)| key_prefix(spec, &dataset.name).starts_with(prefix.as_str()));
        coverage.listing_error = failed.map(|(_, error)| error.clone());
        if let Some(live) = snapshot.datasets.iter().find(|live| live.name == dataset.name) {
            catch_up(&mut coverage, live);
        }
        (dataset.name.clone(), coverage)
    });
    datasets.collect()
}

fn key_prefix<'a>(spec: &'a Spec, dataset: &str) -> &'a str {
    spec.datasets.get(dataset).map_or("", |dataset| dataset.key.literal_prefix())
}

fn catch_up(coverage: &mut DatasetCoverage, live: &adce_engine::DatasetLine) {
    let counts = &mut coverage.counts.items;
    let filled = live.present.saturating_sub(counts.present);
    let absent = live.absent.saturating_sub(counts.absent);
    counts.present = live.present;
    counts.absent = live.absent;
    let mut gone = filled + absent;
    for gaps in [&mut counts.missing, &mut counts.stale, &mut counts.undersized, &mut counts.suspect] {
        let taken = gone.min(*gaps);
        *gaps -= taken;
        gone -= taken;
    }
    coverage.completeness = counts.completeness();
}

pub fn dataset_coverage(dataset: &adce_core::coverage::DatasetCoverage) -> DatasetCoverage {
    DatasetCoverage {
        completeness: dataset.counts.completeness(),
        counts: adce_api::Counts { items: dataset.counts, unexpected: dataset.unexpected },
        next_due: dataset.next_due.map(|next| next.at),
        next_due_items: dataset.next_due.map_or(0, |next| next.items_that_day),
        unexpected_keys: dataset.unexpected_sample.clone(),
        listing_error: None,
        listed_at: dataset.listed_at,
    }
}

fn source_status(source: &SourceLine, at: Timestamp, spec: &Spec) -> SourceStatus {
    let windows = spec.sources.get(&source.name).map(|source| source.limits.windows.clone()).unwrap_or_default();
    let (state, until, since, reason) = source_state(&source.state);
    SourceStatus {
        state,
        until,
        since,
        reason,
        windows: source
            .windows
            .iter()
            .zip(&windows)
            .map(|(line, window)| window_now(window, line.used as u32, line.set_aside as u32))
            .collect(),
        in_flight: Share { used: source.in_flight, of: source.in_flight_limit },
        throttled: source.throttled,
        waiting: source.queued + source.asking,
        next_permit_seconds: source.next_permit.map(|then| then.duration_since(at).as_secs_f64().max(0.0)),
        useful_slots: source.useful_attempts,
        would_wait: source.crowd.as_ref().map(|gate| sentence(gate, Now { wall: at, boot: Boottime(0) })),
    }
}

/// The state, until when, since when and why.
fn source_state(state: &SourceState) -> (adce_api::SourceState, Option<Timestamp>, Option<Timestamp>, Option<String>) {
    match state {
        SourceState::Ok => (adce_api::SourceState::Ok, None, None, None),
        SourceState::Paused { until } => (adce_api::SourceState::Paused, Some(*until), None, Some("upstream asked for a pause".into())),
        SourceState::Open { until, since, reason } => {
            let reason = format!("{reason}; since {}, next probe {}", clock(*since), clock(*until));
            (adce_api::SourceState::Open, Some(*until), Some(*since), Some(reason))
        }
        SourceState::HalfOpen { since, reason } => {
            let reason = format!("{reason}; since {}, a probe is under way", clock(*since));
            (adce_api::SourceState::HalfOpen, None, Some(*since), Some(reason))
        }
    }
}

fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

pub fn collectors(lines: &[CollectorLine]) -> indexmap::IndexMap<String, CollectorStatus> {
    lines.iter().map(|line| (line.name.clone(), collector_status(line))).collect()
}

fn collector_status(line: &CollectorLine) -> CollectorStatus {
    CollectorStatus {
        state: if line.until.is_some() { adce_api::SourceState::Open } else { adce_api::SourceState::HalfOpen },
        until: line.until,
        since: line.since,
        reason: line.reason.clone(),
        waiting: line.queued,
    }
}

fn window_now(window: &Window, used: u32, set_aside: u32) -> WindowNow {
    WindowNow { seconds: window.span.as_secs_f64(), limit: window.requests, used, set_aside, usable: None }
}

fn running(line: &adce_engine::RunningLine) -> RunningAttempt {
    RunningAttempt {
        attempt: line.attempt,
        task: line.task,
        collector: line.collector.clone(),
        source: line.source.clone(),
        what: line.what.clone(),
        number: line.number,
        started_at: line.started_at,
        items: line.items as u32,
        landed: line.progress.map_or(0, |progress| progress.done),
        landing: line.progress.map_or(line.items, |progress| progress.of),
        pid: line.process_group,
    }
}

/// What an engine left under way that does not run any more, or does not answer.
pub fn left_under_way(leases: &[Lease], now: &Moment) -> Option<LookAt> {
    let gaps = leases.iter().map(|lease| lease.gaps.len() as u64).sum();
    let expired = leases.iter().filter(|lease| lease.until.has_come(now)).count() as u64;
    let text = format!(
        "no engine answers, and the last one left {} with {} under way, {} of these leases expired; the next run ends what is left of them",
        counted(leases.len() as u64, "attempt"),
        counted(gaps, "gap"),
        grouped(expired)
    );
    (!leases.is_empty()).then(|| LookAt { what: "left under way".into(), text, command: Some("adce run".into()) })
}

pub fn held_by_lease(lease: &Lease, now: &Moment) -> String {
    let until = clock(lease.until.wall);
    match lease.until.has_come(now) {
        true => format!("attempt {} of an engine that is gone held it until {until}; the next run ends what is left of it", lease.attempt),
        false => format!("attempt {} of an engine that does not answer holds it until {until}", lease.attempt),
    }
}

/// What came of an edit of the config, in a sentence.
pub fn edited(edited: &Edited) -> String {
    let named = |parts: &[String]| parts.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(", ");
    if !edited.errors.is_empty() {
        return format!("edited, and nothing of it is in force: {}", counted(edited.errors.len() as u64, "error"));
    }
    let applied = (!edited.applied.is_empty()).then(|| format!("in force now: {}", named(&edited.applied)));
    let at_next_start = (!edited.at_next_start.is_empty()).then(|| format!("applies at the next start: {}", named(&edited.at_next_start)));
    match applied.into_iter().chain(at_next_start).reduce(|one, other| format!("{one}; {other}")) {
        Some(what) => format!("edited; {what}"),
        None => "edited; it says what runs".into(),
    }
}

fn look_at(snapshot: &Snapshot, cycle: &CycleFigures) -> Vec<LookAt> {
    let held = snapshot.surprises.iter().map(|surprise| LookAt {
        what: "surprise".into(),
        text: format!("held: {surprise}"),
        command: Some("adce accept".into()),
    });
    let listing = cycle.not_listed.iter().map(|(prefix, error)| LookAt {
        what: prefix.clone(),
        text: format!("could not be listed: {error}"),
        command: None,
    });
    let exhausted = (snapshot.gaps.exhausted > 0).then(|| LookAt {
        what: "exhausted".into(),
        text: format!("{} used up all attempts; each is revived by itself", counted(snapshot.gaps.exhausted, "gap")),
        command: Some("adce gaps --state exhausted".into()),
    });
    let config = snapshot.edited.as_ref().map(|what| LookAt {
        what: "config".into(),
        text: edited(what),
        command: (!what.errors.is_empty()).then(|| "adce check".into()),
    });
    held.chain(config)
        .chain(listing)
        .chain(crashing(&snapshot.collectors))
        .chain(exhausted)
        .chain(contested(&snapshot.contested))
        .chain(doubts(&snapshot.doubts))
        .chain(uncovered(&snapshot.uncovered))
        .chain(kept_for_next_look(&snapshot.held_back))
        .chain(guests(snapshot.guests as u64))
        .collect()
}

fn guests(guests: u64) -> Option<LookAt> {
    let text = || format!("{} by hand: asks under the same limits, and the engine stays for it", counted(guests, "program"));
    (guests > 0).then(|| LookAt { what: "adce exec".into(), text: text(), command: None })
}

pub fn crashing(collectors: &[CollectorLine]) -> impl Iterator<Item = LookAt> {
    collectors.iter().map(|line| LookAt {
        what: format!("collector {}", line.name),
        text: breaker_words(line.until, line.since, &line.reason),
        command: None,
    })
}

pub fn doubts(doubts: &[DoubtLine]) -> impl Iterator<Item = LookAt> {
    doubts.iter().map(|line| LookAt {
        what: format!("source {}", line.source),
        text: format!(
            "says of {} items that it has no such thing, too many at once to be believed, since {}; one of them is asked for again {}",
            grouped(line.gaps),
            clock(line.since),
            clock(line.probe_at)
        ),
        command: Some("adce gaps --state held".into()),
    })
}

pub fn admitted(guest: Guest) -> Admitted {
    let Guest { id, admission } = guest;
    let variables = admission.variables.into_iter().map(|(name, value)| (name.to_owned(), value));
    Admitted { guest: id, url: admission.url, variables: variables.collect() }
}

pub fn guest_report(used: GuestUse) -> GuestReport {
    let sources = used.sources.into_iter().map(|(name, source)| {
        let GuestSource { requests, waited, statuses, no_answer } = source;
        (name, adce_api::GuestSource { requests, waited_seconds: waited.as_secs_f64(), statuses, no_answer })
    });
    let sources: IndexMap<String, adce_api::GuestSource> = sources.collect();
    let hosts = used.hosts.into_iter().map(|(host, asked)| GuestHost { host, passed: asked.passed, refused: asked.refused });
    GuestReport {
        requests: sources.values().map(|source| source.requests).sum(),
        waited_seconds: sources.values().map(|source| source.waited_seconds).sum(),
        sources,
        uncovered: hosts.collect(),
        distrusted: used.distrusted,
    }
}

/// So many are named, those that are asked most.
const UNCOVERED_SHOWN: usize = 5;

pub fn uncovered(lines: &[UncoveredLine]) -> impl Iterator<Item = LookAt> {
    let mut lines: Vec<&UncoveredLine> = lines.iter().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.passed + line.refused));
    let more = lines.len().saturating_sub(UNCOVERED_SHOWN) as u64;
    let named = lines.into_iter().take(UNCOVERED_SHOWN).map(|line| LookAt {
        what: format!("collector {}", line.collector),
        text: match (line.passed, line.refused) {
            (passed, 0) => format!("asks `{}`, which no source declares: {} without a limit", line.host, counted(passed, "request")),
            (0, refused) => format!("is refused `{}`, which no source declares: {}", line.host, counted(refused, "request")),
            (passed, refused) => {
                format!("asks `{}`, which no source declares: {} passed, {refused} refused", line.host, counted(passed, "request"))
            }
        },
        command: None,
    });
    let rest = (more > 0).then(|| LookAt {
        what: "gateway".into(),
        text: format!("{} more that no source declares were asked", counted(more, "host")),
        command: None,
    });
    named.chain(rest).collect::<Vec<LookAt>>().into_iter()
}

/// So many are named; the others `gaps` names.
const CONTESTED_SHOWN: usize = 10;

pub fn contested(contested: &[ContestedLine]) -> impl Iterator<Item = LookAt> {
    let named = contested.iter().take(CONTESTED_SHOWN).map(|line| LookAt {
        what: line.key.clone(),
        text: format!("contested: filled and gone three times in a day, left alone until {}", line.until),
        command: Some(format!("adce accept {}", line.key)),
    });
    let more = contested.len().checked_sub(CONTESTED_SHOWN).filter(|more| *more > 0).map(|more| LookAt {
        what: "contested".into(),
        text: format!("{} more objects are contested", grouped(more as u64)),
        command: Some("adce gaps --state held".into()),
    });
    named.chain(more)
}

pub fn gap_line(view: &GapView) -> GapLine {
    let line = gap(&view.gap, view.state);
    let with_next_look = match view.gate {
        Some(Gate::Cap { until, .. } | Gate::StandsBack { until }) => Some(until),
        _ => None,
    };
    GapLine { task: view.task, in_doubt: view.in_doubt, next_try: with_next_look.or(line.next_try), ..line }
}

/// A gap of a state that no engine runs.
pub fn remembered_gap(remembered: &Gap, record: Option<&ItemRecord>, task: Option<&Task>, now: Timestamp) -> GapLine {
    let state = match remembered.progress.standing {
        Standing::Exhausted => GapState::Exhausted,
        Standing::Contested | Standing::Doubted if remembered.progress.next_try.is_some_and(|next| next > now) => GapState::Held,
        _ if remembered.progress.next_try.is_some_and(|next| next > now) => GapState::Waiting,
        _ => GapState::Queued,
    };
    let in_doubt = record.is_some_and(ItemRecord::is_in_doubt);
    GapLine { task: task.map(|task| task.id), in_doubt, ..gap(remembered, state) }
}

fn gap(gap: &Gap, state: GapState) -> GapLine {
    GapLine {
        item: gap.item(),
        dataset: gap.dataset.clone(),
        key: gap.key.clone(),
        reason: gap.reason,
        state,
        detected_at: gap.detected_at,
        attempts: gap.progress.attempts,
        next_try: gap.progress.next_try,
        due: gap.due,
        priority: gap.priority,
        task: None,
        last_error: gap.progress.last_error.clone(),
        in_doubt: false,
    }
}

pub fn task_line(view: &TaskView, now: Timestamp) -> TaskLine {
    let state = match &view.gate {
        Some(Gate::Running { .. }) => GapState::Running,
        Some(Gate::Exhausted { .. }) => GapState::Exhausted,
        Some(
            Gate::Surprise { .. } | Gate::Breaker { .. } | Gate::CollectorBreaker { .. } | Gate::Contested { .. } | Gate::Doubted { .. },
        ) => GapState::Held,
        Some(Gate::Retry { .. } | Gate::NotYet { .. } | Gate::RetryAfter { .. } | Gate::Limit { .. } | Gate::SetAside { .. }) => {
            GapState::Waiting
        }
        _ => GapState::Queued,
    };
    TaskLine { state, progress: view.progress, ..remembered_task(&view.task, view.score.total as f64 / 1e6, now) }
}

pub fn remembered_task(task: &Task, score: f64, now: Timestamp) -> TaskLine {
    TaskLine {
        id: task.id,
        collector: task.collector.clone(),
        source: task.source.clone(),
        priority: task.priority,
        score,
        state: if task.ready_at.is_some_and(|ready| ready > now) { GapState::Waiting } else { GapState::Queued },
        items: task.gaps.len() as u32,
        key: task.key.clone(),
        detected_at: task.detected_at,
        next_try: task.ready_at,
        progress: None,
    }
}

pub fn limits(view: &LimitsView, spec: &Spec, now: Now) -> LimitsReport {
    let crashing: Vec<CollectorLine> = view.collectors.iter().cloned().filter_map(collector_line).collect();
    let sources = view.sources.iter().filter_map(|figures| {
        let source = spec.sources.get(&figures.source)?;
        let mut limits = declared(&source.limits, &spec.engine.reserve);
        for (window, now) in limits.windows.iter_mut().zip(&figures.windows) {
            (window.used, window.set_aside) = (now.used, now.set_aside);
        }
        let settle = view.settle.get(&figures.source).copied();
        limits.settle_seconds = settle.map(|settle| settle.as_secs_f64());
        if let (Margin::Bracket, Some(settle)) = (source.limits.margin, settle) {
            limits.windows.iter_mut().for_each(|window| window.usable = Some(usable(window.seconds, settle)));
        }
        limits.learned = figures.learned_interval.map(|interval| adce_api::LearnedRate {
            share: figures.learned_share.map(|share| f64::from(share) / 1e3),
            every_seconds: interval.as_secs_f64(),
        });
        let told = figures.told.iter().map(|(requests, per)| adce_api::ToldLimit { requests: *requests, seconds: per.as_secs_f64() });
        limits.told = told.collect();
        limits.suggestions = figures.told.iter().filter_map(|(requests, per)| suggestion(*requests, *per, &source.limits)).collect();
        limits.in_flight.used = figures.in_flight;
        limits.next_permit_seconds = figures.next_permit.map(|at| at.since(now.boot).as_secs_f64());
        limits.useful_slots = figures.useful_attempts;
        limits.would_wait = figures.crowd.as_ref().map(|gate| sentence(gate, now));
        if let Some(gate) = &figures.gate {
            (limits.state, limits.until, limits.since) = match gate {
                Gate::Breaker { until: None, since, .. } => (adce_api::SourceState::HalfOpen, None, Some(*since)),
                Gate::Breaker { until, since, .. } => (adce_api::SourceState::Open, *until, Some(*since)),
                Gate::RetryAfter { until, .. } => (adce_api::SourceState::Paused, Some(*until), None),
                _ => (adce_api::SourceState::Ok, None, None),
            };
            limits.reason = Some(sentence(gate, now));
        }
        Some((figures.source.clone(), limits))
    });
    LimitsReport { sources: sources.collect(), collectors: collectors(&crashing), ..declared_limits(spec) }
}

/// What constant demand can use of a window, if every request counts until its window after it settled (promise 2).
pub fn usable(window_seconds: f64, settle: Duration) -> f64 {
    window_seconds / (window_seconds + settle.as_secs_f64())
}

/// What a person might declare, after what upstream says that it allows.
fn suggestion(requests: u32, per: Duration, declared: &Limits) -> Option<String> {
    let said = format!("upstream says that it allows {} in {}", grouped(requests.into()), span(per));
    if ![1, 60, 3_600, 86_400].contains(&per.as_secs()) || per.subsec_nanos() > 0 {
        return Some(said);
    }
    let key = Window { requests, span: per }.key();
    match declared.windows.iter().find(|window| window.span == per).map(|window| window.requests) {
        Some(declared) if declared == requests => None,
        Some(declared) if declared < requests => Some(format!("{said}; `{key}: {declared}` could be raised to that")),
        Some(declared) => {
            Some(format!("{said}, and that is kept to; `{key}: {requests}` instead of {declared} would be right from the start"))
        }
        None => Some(format!("{said}; `{key}: {requests}` would say so")),
    }
}

/// Contested objects that a person has released.
pub fn released(gaps: Vec<Gap>) -> Accepted {
    let mut released: Vec<String> = gaps.into_iter().map(|gap| gap.key).collect();
    released.sort_unstable();
    Accepted { released, ..Accepted::default() }
}

/// What came of asking for gaps to be tried at once, by key. Of many, those that waited for nothing of their own are not
/// worth a line.
pub fn retry_lines(asked: Vec<Asked>) -> Vec<RetryLine> {
    let alone = asked.len() == 1;
    let is_told = |asked: &Asked| alone || !matches!(asked.came, Came::Runs | Came::Waits | Came::OnlyWatched);
    let mut lines: Vec<RetryLine> = asked.into_iter().filter(is_told).map(retry_line).collect();
    lines.sort_by(|a, b| a.key.cmp(&b.key));
    lines
}

fn retry_line(asked: Asked) -> RetryLine {
    let Asked { gap, task, came } = asked;
    let until = |until: Timestamp| clock(until);
    let (was, why_not) = match came {
        Came::Retried if gap.progress.standing == Standing::Exhausted => (GapState::Exhausted, None),
        Came::Retried if gap.progress.standing == Standing::Doubted => (GapState::Held, None),
        Came::Retried => (GapState::Waiting, None),
        Came::Runs => (GapState::Running, Some("it runs now".into())),
        Came::Waits => (GapState::Queued, Some(format!("it waits for no retry; `adce why {}` says what holds it", gap.key))),
        Came::OnlyWatched => (GapState::Held, Some("its dataset has no collector: it is only watched".into())),
        Came::Contested { until: at } => {
            (GapState::Held, Some(format!("contested until {}; `adce accept {}` releases it", until(at), gap.key)))
        }
        Came::Doubted { until: at } => {
            let why =
                format!("absent, but of too many at once to be believed, until {}; `adce retry {}` asks for it alone", until(at), gap.key);
            (GapState::Held, Some(why))
        }
    };
    RetryLine {
        item: gap.item(),
        task,
        retried: came == Came::Retried,
        was,
        attempts: gap.progress.attempts,
        next_try: gap.progress.next_try,
        why_not,
        dataset: gap.dataset,
        key: gap.key,
    }
}

/// What the config allows, nothing used.
pub fn declared_limits(spec: &Spec) -> LimitsReport {
    let (reserve, slots) = (&spec.engine.reserve, spec.engine.max_concurrent);
    let shares = reserve.shares().map(|(priority, permille)| ReserveShare {
        priority,
        share: f64::from(permille) / f64::from(Reserve::WHOLE),
        slots: Share { used: reserve.of_slots(priority, slots), of: Some(slots) },
    });
    LimitsReport {
        all: declared(&spec.limits, reserve),
        sources: spec.sources.iter().map(|(name, source)| (name.clone(), declared(&source.limits, reserve))).collect(),
        collectors: Default::default(),
        reserve: shares.collect(),
    }
}

fn declared(limits: &Limits, reserve: &Reserve) -> SourceLimits {
    let set_aside = |window: &Window| reserve.shares().map(|(priority, _)| reserve.of_window(priority, window.requests)).sum();
    SourceLimits {
        windows: limits.windows.iter().map(|window| window_now(window, 0, set_aside(window))).collect(),
        burst: limits.burst,
        min_delay_seconds: limits.min_delay.map(|delay| delay.as_secs_f64()),
        in_flight: Share { used: 0, of: limits.in_flight },
        linger_seconds: limits.linger.as_secs_f64(),
        margin_seconds: match limits.margin {
            Margin::Bracket => None,
            Margin::Fixed(margin) => Some(margin.as_secs_f64()),
        },
        ..SourceLimits::default()
    }
}

pub fn why(what: &str, why: &Why, now: Now) -> adce_api::Why {
    match why {
        Why::Gap(view) => why_gap(what, view, now),
        Why::Task(view) => why_task(what, view, now),
        Why::Dataset { dataset, gates } => why_dataset(dataset, gates, now),
        Why::NoGap { state: ItemState::Absent, key, known: Some(known) } => {
            let by = [known.date.as_str(), known.by.as_str()].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
            let by = if by.is_empty() { by } else { format!(" ({by})") };
            let said =
                format!("`{key}` is expected and no gap: {}:{} says that it is absent: {}{by}", known.at.file, known.at.line, known.reason);
            answer(what, said, Vec::new(), vec![format!("take line {} out of {} to have it collected", known.at.line, known.at.file)])
        }
        Why::NoGap { state, key, .. } => {
            answer(what, format!("`{key}` is expected and no gap: it is {}", state_words(*state)), Vec::new(), Vec::new())
        }
        Why::Unknown => answer(
            what,
            format!("`{what}` is no key that a dataset expects, no dataset and no task"),
            Vec::new(),
            vec!["adce gaps".into(), "adce tasks".into()],
        ),
    }
}

fn state_words(state: ItemState) -> &'static str {
    match state {
        ItemState::Present => "present",
        ItemState::Absent => "absent upstream, and on record as such",
        ItemState::NotDue => "not due yet",
        ItemState::Expired => "expired",
        ItemState::Unknown => "unknown: its part of the lake could not be listed",
        ItemState::Suspect | ItemState::Undersized | ItemState::Stale | ItemState::Missing => "held back by a surprise",
    }
}

fn why_gap(what: &str, view: &GapView, now: Now) -> adce_api::Why {
    let gap = &view.gap;
    let since = between(gap.detected_at, now.wall);
    let mut facts = vec![format!("{} since {since}, seen first {}", gap.reason.word(), gap.detected_at)];
    if gap.progress.attempts_total > 0 {
        facts.push(format!("{} so far, {} of this round", counted(gap.progress.attempts_total.into(), "attempt"), gap.progress.attempts));
    }
    if let Some(error) = &gap.progress.last_error {
        facts.push(format!("last failure: {error}"));
    }
    if view.in_doubt {
        facts.push(
            "in doubt: an attempt may have changed its object, and the lake could not be asked since; whatever lies there, it stays a gap \
             until a look of `adce run`, or of its next attempt, tells"
                .into(),
        );
    }
    let next = view.task.map(|task| format!("adce tasks show {task}")).into_iter().collect();
    let held = view.gate.as_ref().map_or_else(|| "nothing holds it".into(), |gate| sentence(gate, now));
    answer(what, held, facts, next)
}

fn why_task(what: &str, view: &TaskView, now: Now) -> adce_api::Why {
    let score = &view.score;
    let points = |micro: i64| micro as f64 / 1e6;
    let facts = vec![
        format!("{} of {}, priority {}", counted(view.task.gaps.len() as u64, "item"), view.task.collector, view.task.priority.word()),
        format!(
            "score {:.1} = (base {:.0} + age {:.1}) × importance {:.2} × size {:.2} × success {:.2}",
            points(score.total),
            points(score.base),
            points(score.age),
            points(score.importance),
            points(score.size),
            points(score.success)
        ),
    ];
    let held = view.gate.as_ref().map_or_else(|| "nothing holds it".into(), |gate| sentence(gate, now));
    answer(what, held, facts, vec![format!("adce tasks show {}", view.task.id)])
}

fn why_dataset(dataset: &str, gates: &[(Gate, u64)], now: Now) -> adce_api::Why {
    let facts: Vec<String> = gates.iter().map(|(gate, gaps)| format!("{}: {}", counted(*gaps, "gap"), sentence(gate, now))).collect();
    let first = match gates.first() {
        None => format!("`{dataset}` has no gaps"),
        Some((gate, gaps)) => format!("most of its gaps ({}): {}", grouped(*gaps), sentence(gate, now)),
    };
    answer(dataset, first, facts, vec![format!("adce gaps --dataset {dataset}")])
}

fn answer(what: &str, answer: String, facts: Vec<String>, next: Vec<String>) -> adce_api::Why {
    adce_api::Why { what: what.to_owned(), answer, facts, next }
}

/// One sentence for a person.
pub fn sentence(gate: &Gate, now: Now) -> String {
    match gate {
        Gate::Running { attempt } => format!("it runs now, attempt {attempt}"),
        Gate::OnlyWatched => "its dataset has no collector: it is only watched".into(),
        Gate::NotSelected => "the run under way leaves it alone: its `--select` does not mean it".into(),
        Gate::Surprise { .. } => "a sudden change is held until a later cycle confirms it, or `adce accept`".into(),
        Gate::Retry { until } => format!("the last attempt failed; the next one is {}", then(*until, now)),
        Gate::NotYet { until } => format!("upstream does not have it yet; asked again {}", then(*until, now)),
        Gate::Exhausted { until } => format!("its attempts are used up; revived {}", then(*until, now)),
        Gate::Doubted { until } => format!(
            "upstream says that it has no such thing, but of too many at once to be believed: asked for again {}, or when one of the others \
             was answered",
            then(*until, now)
        ),
        Gate::Contested { until } => {
            format!("filled and gone three times in a day: left alone until somebody says `adce accept KEY`, or {}", then(*until, now))
        }
        Gate::Breaker { source, until, since, reason } => {
            format!("`{source}` keeps failing: {}", breaker_sentence(*until, *since, reason, now))
        }
        Gate::CollectorBreaker { collector, until, since, reason } => {
            format!("its collector `{collector}` keeps crashing: {}", breaker_sentence(*until, *since, reason, now))
        }
        Gate::Cap { until, .. } => format!("{}, due {}", cap_words(gate), then(*until, now)),
        Gate::StandsBack { until } => format!(
            "its task stood in line for longer than `task_ttl` and ended; it makes a new one with the next full look, due {}",
            then(*until, now)
        ),
        Gate::RetryAfter { source, until, because: Some(because) } => {
            format!("`{source}` {because}: it is asked again {}", then(*until, now))
        }
        Gate::RetryAfter { source, until, because: None } => {
            format!("`{source}` asked to be left alone: it is asked again {}", then(*until, now))
        }
        Gate::Limit { source: Some(source), limit, until } if is_learned(limit) => {
            format!(
                "{}{}",
                learned_words(source, limit),
                until.map(|until| format!(": no room for {}", left(until, now))).unwrap_or_default()
            )
        }
        Gate::Limit { source, limit, until } => {
            let whose = source.as_ref().map_or("of all sources together".to_owned(), |source| format!("of `{source}`"));
            format!("the limit {limit} {whose} has no room{}", until.map(|until| format!(" for {}", left(until, now))).unwrap_or_default())
        }
        Gate::SetAside { source, limit, for_priorities, until } => {
            let whose = source.as_ref().map_or("of all sources together".to_owned(), |source| format!("of `{source}`"));
            let left = until.map(|until| format!(" for {}", left(until, now))).unwrap_or_default();
            format!("what is left of the limit {limit} {whose} is set aside for {} (`reserve`){left}", named(for_priorities))
        }
        Gate::SlotsSetAside { slots, for_priorities } => {
            format!("the free ones of {slots} slots are set aside for {} (`reserve`)", named(for_priorities))
        }
        Gate::WouldWait { source, at_work, slots } => {
            let others = slots.saturating_sub(*at_work);
            let take = if *at_work == 1 { "1 attempt takes".to_owned() } else { format!("{at_work} attempts take") };
            format!("{others} of {slots} slots would only wait for permits of `{source}`: {take} all that its limits admit")
        }
        Gate::Reserved { source, task } => {
            format!("a better-scored task waits for permits of `{source}` and is not passed any more: {task}")
        }
        Gate::Slots { slots } => format!("all {slots} slots are taken"),
        Gate::Publishing { attempts, slots } => format!(
            "{attempts} attempts still publish what they have collected, and with {slots} slots no more may gather: the lake takes objects \
             more slowly than they come"
        ),
        Gate::Turn { ahead: 0 } => "nothing holds it: it is next".into(),
        Gate::Turn { ahead } => format!("it waits its turn: {} tasks score higher", grouped(*ahead)),
    }
}

/// Without the time at which it is over.
pub fn cap_words(gate: &Gate) -> String {
    let Gate::Cap { priority, tasks, .. } = gate else { return String::new() };
    let of = priority.map_or("all", |priority| priority.word());
    format!("`tasks_per_cycle: {{ {of}: {tasks} }}` is used up until the next full look")
}

pub fn kept(line: &HeldBackLine) -> adce_api::Kept {
    let (by, priority, until) = match line.gate {
        Gate::Cap { priority, until, .. } => ("tasks_per_cycle", priority, Some(until)),
        Gate::StandsBack { until } => ("task_ttl", None, Some(until)),
        _ => (line.gate.word(), None, None),
    };
    adce_api::Kept { by: by.into(), priority, tasks: line.tasks, gaps: line.gaps, next_cycle: until }
}

/// What `tasks_per_cycle` and `task_ttl` keep for the next full look.
pub fn kept_for_next_look(lines: &[HeldBackLine]) -> impl Iterator<Item = LookAt> {
    lines.iter().map(|line| {
        let gaps = counted(line.gaps, "gap");
        let (what, text) = match &line.gate {
            Gate::Cap { until, .. } => ("tasks_per_cycle", format!("{} ({gaps}) wait: {}, due {until}", counted(line.tasks, "task"), cap_words(&line.gate))),
            Gate::StandsBack { until } => {
                ("task_ttl", format!("{gaps} stand back, because their tasks stood in line for too long; they make new ones with the next full look, due {until}"))
            }
            other => ("held back", format!("{gaps}: {}", other.word())),
        };
        LookAt { what: what.into(), text, command: None }
    })
}

/// An attempt's story; `started`: when it began.
pub fn story(story: Story, started: Timestamp) -> StoryLine {
    let waited = story.waited.map(|waited| WaitedLine {
        since: waited.since,
        seconds: started.duration_since(waited.since).as_secs_f64().max(0.0),
        reason: held_back(&waited.gate),
    });
    let items = story.gaps.into_iter().map(|gap| ItemStory {
        gap: gap.gap,
        key: gap.key,
        reason: gap.reason,
        detected_at: gap.detected_at,
        revived: gap.was == Standing::Exhausted,
        attempts_before: if gap.was == Standing::Exhausted { 0 } else { gap.attempts },
        attempts: gap.left.as_ref().map(|left| left.attempts),
        state: gap.left.as_ref().map(|left| match (left.standing, left.next_try) {
            (Standing::Exhausted, _) => GapState::Exhausted,
            (Standing::Contested | Standing::Doubted, _) => GapState::Held,
            (Standing::Open | Standing::NotYet, Some(_)) => GapState::Waiting,
            (Standing::Open | Standing::NotYet, None) => GapState::Queued,
        }),
        next_try: gap.left.as_ref().and_then(|left| left.next_try),
        task: gap.left.and_then(|left| left.task),
    });
    StoryLine { score: story.score.total as f64 / 1e6, rank: story.rank, ready: story.ready, waited, items: items.collect() }
}

/// No limit of the config.
fn is_learned(limit: &str) -> bool {
    [Because::LearnedRate, Because::ToldQuota].iter().any(|because| because.word() == limit)
}

fn learned_words(source: &str, limit: &str) -> String {
    match limit == Because::ToldQuota.word() {
        true => format!("`{source}` says that no more is left of its quota"),
        false => format!("`{source}` is asked more slowly after it refused, or as its own policy says"),
    }
}

/// What held a task back, when that is over.
fn held_back(gate: &Gate) -> String {
    let whose = |source: &Option<String>| source.as_ref().map_or("of all sources together".into(), |source| format!("of `{source}`"));
    match gate {
        Gate::Breaker { source, reason, .. } => format!("the breaker of `{source}` ({reason})"),
        Gate::CollectorBreaker { collector, reason, .. } => format!("the breaker of its collector `{collector}` ({reason})"),
        Gate::RetryAfter { source, because: Some(because), .. } => format!("`{source}`, which {because}"),
        Gate::RetryAfter { source, .. } => format!("a pause that `{source}` asked for"),
        Gate::Cap { .. } => cap_words(gate),
        Gate::Limit { source: Some(source), limit, .. } if is_learned(limit) => learned_words(source, limit),
        Gate::Limit { source, limit, .. } => format!("the limit {limit} {}", whose(source)),
        Gate::SetAside { source, limit, for_priorities, .. } => {
            format!("what is set aside of the limit {limit} {} for {}", whose(source), named(for_priorities))
        }
        Gate::SlotsSetAside { for_priorities, .. } => format!("the slots that are set aside for {}", named(for_priorities)),
        Gate::WouldWait { source, .. } => format!("permits of `{source}`, all of which other attempts took"),
        Gate::Reserved { source, .. } => format!("a better-scored task that waited for permits of `{source}`"),
        other => sentence(other, Now { wall: Timestamp::UNIX_EPOCH, boot: Boottime(0) }),
    }
}

fn breaker_sentence(until: Option<Timestamp>, since: Timestamp, reason: &str, now: Now) -> String {
    let next = until.map_or_else(|| "a probe is under way".into(), |until| format!("the next probe is {}", then(until, now)));
    format!("its breaker is open for {} ({reason}); {next}", between(since, now.wall))
}

fn breaker_words(until: Option<Timestamp>, since: Timestamp, reason: &str) -> String {
    let next = until.map_or_else(|| "a probe is under way".into(), |until| format!("next probe {}", clock(until)));
    format!("keeps crashing, breaker open since {}: {reason}; {next}", clock(since))
}

fn named(priorities: &[PriorityLevel]) -> String {
    priorities.iter().map(|priority| priority.word()).collect::<Vec<_>>().join(" and ")
}

fn then(at: Timestamp, now: Now) -> String {
    if at <= now.wall { "now".into() } else { format!("in {} ({})", between(now.wall, at), at.strftime("%Y-%m-%d %H:%M:%S UTC")) }
}

fn left(until: Boottime, now: Now) -> String {
    let left = until.since(now.boot);
    if left < Duration::from_secs(1) { "a moment".into() } else { span(left) }
}

fn between(earlier: Timestamp, later: Timestamp) -> String {
    span(Duration::try_from(later.duration_since(earlier)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upstream_allows_beyond_what_is_declared_is_only_suggested() {
        let declared = Limits { windows: vec![Window { requests: 60, span: Duration::from_secs(60) }], ..Limits::default() };
        let said = |requests, secs| suggestion(requests, Duration::from_secs(secs), &declared);
        assert_eq!(said(60, 60), None);
        let looser = "upstream says that it allows 100 in 1 m; `per_minute: 60` could be raised to that";
        assert_eq!(said(100, 60).as_deref(), Some(looser));
        let stricter =
            "upstream says that it allows 30 in 1 m, and that is kept to; `per_minute: 30` instead of 60 would be right from the start";
        assert_eq!(said(30, 60).as_deref(), Some(stricter));
        assert_eq!(said(5_000, 3_600).as_deref(), Some("upstream says that it allows 5,000 in 1 h; `per_hour: 5000` would say so"));
        assert_eq!(said(10, 7).as_deref(), Some("upstream says that it allows 10 in 7 s"));
    }

    #[test]
    fn what_a_window_loses_to_its_proof_is_what_answers_take() {
        assert!((usable(60.0, Duration::from_millis(600)) - 0.990_099).abs() < 1e-6);
    }
}
