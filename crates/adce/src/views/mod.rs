//! From the engine's own words to the wire's: what `status`, `gaps`, `tasks`, `limits` and `why` answer with, alike from a
//! running engine and from a state that nobody runs.

mod coverage;
mod limits;
mod reasons;

use adce_api::{
    Accepted, Admitted, CancelLine, CollectorStatus, CycleStatus, DatasetCoverage, EngineStatus, FeedStatus, GapCounts, GapLine, GuestHost,
    GuestReport, InventoryReport, LookAt, PauseLine, RetryLine, RunningAttempt, ScoreParts, Share, SizeOf, SourceStatus, Status,
    StrangeSizes, TaskLine, UnexpectedFolder, WindowNow, health,
};
use adce_core::coverage::{LowerBound, Quality, Strange};
use adce_core::figures::{bytes, counted, grouped};
use adce_core::gap::{Gap, GapState, Standing, Task};
use adce_core::ids::{AttemptId, TaskId};
use adce_core::pause::{Pause, PauseOf};
use adce_core::queue::{Asked, Came, Gate, SourceFigures};
use adce_core::record::{ItemRecord, Lease, Remembered, SourceRecord};
use adce_core::spec::{Spec, Window, group_names};
use adce_core::time::{Boottime, Moment, Now, Timestamp};
use adce_engine::{
    CollectorLine, ContestedLine, CycleFigures, DoubtLine, Edited, FeedLine, FeedState, GapView, Guest, GuestSource, GuestUse, PausedLine,
    Phase, Reported, Snapshot, SourceLine, SourceState, TaskView, UncoveredLine,
};
use indexmap::IndexMap;
use std::collections::BTreeMap;

use crate::config::Edition;

pub use coverage::{Seen, coverage};
use limits::values_now;
pub use limits::{declared_limits, limits};
use reasons::breaker_words;
pub use reasons::{cap_words, kept, kept_for_next_look, sentence, story, waited, why};

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
            feeds: snapshot.feeds.iter().map(feed_status).collect(),
            config_errors: snapshot.edited.as_ref().map(|edited| edited.errors.clone()).unwrap_or_default(),
            stopping: snapshot.phase == Phase::Draining,
            address: None,
        }),
        healthy: health(datasets.values()),
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
        sources: snapshot.sources.iter().map(|source| (source.name.clone(), source_now(source, snapshot, spec))).collect(),
        collectors: collectors(&snapshot.collectors),
        running: snapshot.running.iter().map(running).collect(),
        slots: Share { used: snapshot.slots_used, of: Some(snapshot.slots) },
        look: look_at(snapshot, cycle),
        report: report(&cycle.reported),
        held: snapshot.surprises.clone(),
        paused: snapshot.paused.iter().map(|line| pause_line(&line.of, line.pause.clone())).collect(),
    }
}

pub fn paused(pauses: BTreeMap<PauseOf, Pause>) -> Vec<PauseLine> {
    pauses.into_iter().map(|(of, pause)| pause_line(&of, pause)).collect()
}

fn pause_line(of: &PauseOf, Pause { since, until, because }: Pause) -> PauseLine {
    let kind = match of {
        PauseOf::Everything => "everything",
        PauseOf::Source(_) => "source",
        PauseOf::Dataset(_) => "dataset",
    };
    PauseLine { of: kind.into(), name: of.name().map(Into::into), since, until, because }
}

/// `source `espn` starts nothing since 2026-03-09 14:00:00 UTC, until `adce resume espn` (ann: they move)`
pub fn paused_words(line: &PauseLine) -> String {
    let until = match (&line.until, &line.name) {
        (Some(until), _) => clock(*until),
        (None, Some(name)) => format!("`adce resume {name}`"),
        (None, None) => "`adce resume`".into(),
    };
    let because = line.because.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{} starts nothing since {}, until {until}{because}", line.words(), clock(line.since))
}

pub fn cancel_line(gap: &Gap, task: Option<TaskId>, attempt: Option<AttemptId>, until: Timestamp) -> CancelLine {
    CancelLine { item: gap.item(), dataset: gap.dataset.clone(), key: gap.key.clone(), task, attempt, until }
}

/// `None`: nobody asked for one.
pub fn report(reported: &Reported) -> Option<InventoryReport> {
    let head = reported.report.as_ref();
    (head.is_some() || !reported.refused.is_empty()).then(|| InventoryReport {
        created_at: head.map(|head| head.created),
        name: head.map(|head| head.name.clone()),
        prefixes: reported.prefixes.clone(),
        refused: reported.refused.clone(),
    })
}

/// By dataset: what the last cycle saw, and what landed since it began.
pub fn coverage_now(snapshot: &Snapshot, cycle: &CycleFigures, spec: &Spec) -> indexmap::IndexMap<String, DatasetCoverage> {
    let mut datasets = coverage_then(cycle, spec);
    for live in &snapshot.datasets {
        if let Some(coverage) = datasets.get_mut(&live.name) {
            catch_up(coverage, live);
        }
    }
    datasets
}

/// By dataset: what the last cycle saw.
pub fn coverage_then(cycle: &CycleFigures, spec: &Spec) -> indexmap::IndexMap<String, DatasetCoverage> {
    let datasets = cycle.datasets.iter().enumerate().map(|(at, dataset)| {
        let failed = cycle.not_listed.iter().find(|(prefix, _)| key_prefix(spec, &dataset.name).starts_with(prefix.as_str()));
        let listing_error = failed.map(|(_, error)| error.clone());
        (dataset.name.clone(), DatasetCoverage { listing_error, ..dataset_coverage(dataset, cycle.quality.get(at), spec) })
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
    coverage.judge_health();
}

pub fn dataset_coverage(dataset: &adce_core::coverage::DatasetCoverage, quality: Option<&Quality>, spec: &Spec) -> DatasetCoverage {
    let require = spec.datasets.get(&dataset.name).and_then(|rules| rules.require);
    DatasetCoverage {
        require: require.map(|permille| f64::from(permille) / 1_000.0),
        healthy: require.map(|permille| dataset.counts.meets(permille)),
        usual_bytes: quality.and_then(|quality| quality.usual_bytes),
        oversized: quality.map(|quality| strange_sizes(&quality.oversized)).unwrap_or_default(),
        unusual: quality.map(|quality| strange_sizes(&quality.unusual)).unwrap_or_default(),
        completeness: dataset.counts.completeness(),
        counts: adce_api::Counts { items: dataset.counts, unexpected: dataset.unexpected },
        lower_bound: dataset.lower_bound.is_some(),
        not_counted: dataset.lower_bound.as_ref().map(not_counted),
        next_due: dataset.next_due.map(|next| next.at),
        next_due_items: dataset.next_due.map_or(0, |next| next.items_that_day),
        unexpected_keys: dataset.unexpected_sample.clone(),
        unexpected_folders: dataset.unexpected_folders.iter().map(unexpected_folder).collect(),
        listing_error: None,
        listed_at: dataset.listed_at,
    }
}

fn strange_sizes(strange: &Strange) -> StrangeSizes {
    let named = strange.named.iter().map(|(key, bytes)| SizeOf { key: key.clone(), bytes: *bytes });
    StrangeSizes { objects: strange.objects, named: named.collect() }
}

fn unexpected_folder((folder, counted): &(String, adce_core::coverage::Folder)) -> UnexpectedFolder {
    UnexpectedFolder { folder: folder.clone(), objects: counted.keys, over: counted.over }
}

/// What a lower bound leaves out.
fn not_counted(bound: &LowerBound) -> String {
    let LowerBound { dataset, missing, stale, examples, usually } = bound;
    if *missing == 0 {
        let what = if *stale == 0 { "what feeds it is not all known".into() } else { format!("{} to be refreshed", are(*stale, "item")) };
        return format!("of `{dataset}`, {what}: what they list may not be all");
    }
    let more = if *missing > examples.len() as u64 { ", …" } else { "" };
    let usually = if *usually > 0 { format!(", usually {}", counted(*usually, "item")) } else { String::new() };
    format!("of `{dataset}`, {} missing ({}{more}): what they list is not counted yet{usually}", are(*missing, "item"), examples.join(", "))
}

fn are(count: u64, what: &str) -> String {
    format!("{} {}", counted(count, what), if count == 1 { "is" } else { "are" })
}

/// A pause by hand shows where nothing worse does.
fn source_now(source: &SourceLine, snapshot: &Snapshot, spec: &Spec) -> SourceStatus {
    let status = source_status(source, snapshot.at, spec);
    let paused = snapshot.paused.iter().find(|line| line.of == PauseOf::Source(source.name.clone()));
    match paused.filter(|_| status.state == adce_api::SourceState::Ok) {
        None => status,
        Some(PausedLine { pause, .. }) => SourceStatus {
            state: adce_api::SourceState::Paused,
            until: pause.until,
            since: Some(pause.since),
            reason: Some(pause.because.clone().unwrap_or_else(|| "by hand".into())),
            ..status
        },
    }
}

fn source_status(source: &SourceLine, at: Timestamp, spec: &Spec) -> SourceStatus {
    let windows = spec.sources.get(&source.name).map(|source| source.limits.windows.clone()).unwrap_or_default();
    let (state, until, since, reason) = source_state(source, at);
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
        throttled_today: source.throttled_today,
        traffic: traffic(&source.traffic),
        waiting: source.queued + source.asking,
        next_permit_seconds: source.next_permit.map(|then| then.duration_since(at).as_secs_f64().max(0.0)),
        useful_slots: source.useful_attempts,
        would_wait: source.crowd.as_ref().map(|gate| sentence(gate, Now { wall: at, boot: Boottime(0) })),
        values: source.values.as_ref().map(|line| values_now(&line.figures, line.at)),
    }
}

/// The state, until when, since when and why.
fn source_state(source: &SourceLine, at: Timestamp) -> (adce_api::SourceState, Option<Timestamp>, Option<Timestamp>, Option<String>) {
    match &source.state {
        SourceState::Ok => (adce_api::SourceState::Ok, None, None, None),
        SourceState::Paused { until, because } => {
            // In the words of `limits` and `why`.
            let gate = Gate::RetryAfter { source: source.name.clone(), value: None, until: *until, because: because.clone() };
            (adce_api::SourceState::Paused, Some(*until), None, Some(sentence(&gate, Now { wall: at, boot: Boottime(0) })))
        }
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

pub fn clock(at: Timestamp) -> String {
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
    let config = snapshot.edited.as_ref().map(|what| LookAt {
        what: "config".into(),
        text: edited(what),
        command: (!what.errors.is_empty()).then(|| "adce check".into()),
    });
    let paused = snapshot.paused.iter().map(|line| {
        let line = pause_line(&line.of, line.pause.clone());
        let command = line.until.is_none().then(|| ["adce resume", line.name.as_deref().unwrap_or_default()].join(" ").trim().to_owned());
        LookAt { what: "paused".into(), text: paused_words(&line), command }
    });
    held.chain(config)
        .chain(paused)
        .chain(listing)
        .chain(crashing(&snapshot.collectors))
        .chain(exhausted(snapshot.gaps.exhausted))
        .chain(contested(&snapshot.contested))
        .chain(doubts(&snapshot.doubts))
        .chain(uncovered(&snapshot.uncovered))
        .chain(kept_for_next_look(&snapshot.held_back))
        .chain(guests(snapshot.guests as u64))
        .chain(snapshot.feeds.iter().filter_map(feed_trouble))
        .collect()
}

pub fn exhausted(gaps: u64) -> Option<LookAt> {
    (gaps > 0).then(|| LookAt {
        what: "exhausted".into(),
        text: format!("{} used up all attempts; each is revived by itself", counted(gaps, "gap")),
        command: Some("adce gaps --state exhausted".into()),
    })
}

/// Gaps of items that are older than the config's `baseline`.
pub fn older(gaps: u64, baseline: Option<Timestamp>) -> Option<LookAt> {
    let baseline = baseline.filter(|_| gaps > 0)?.strftime("%Y-%m-%d");
    let text = format!("{} of items older than {baseline}: left alone until `adce run --select …` means them", counted(gaps, "gap"));
    Some(LookAt { what: "baseline".into(), text, command: None })
}

fn guests(guests: u64) -> Option<LookAt> {
    let text = || format!("{} by hand: asks under the same limits, and the engine stays for it", counted(guests, "program"));
    (guests > 0).then(|| LookAt { what: "adce exec".into(), text: text(), command: None })
}

fn feed_status(line: &FeedLine) -> FeedStatus {
    let (state, reason) = match &line.state {
        FeedState::Listening => ("listening", None),
        FeedState::Failing { error, .. } => ("failing", Some(error.clone())),
        FeedState::Deaf { reason } => ("deaf", Some(reason.clone())),
    };
    FeedStatus {
        feed: line.feed.clone(),
        state: state.into(),
        reason,
        events: line.told,
        unexpected: line.unexpected,
        last_at: line.last_at,
        lag_seconds: line.lag_seconds,
    }
}

/// Full looks go on, so it is late and not wrong.
fn feed_trouble(line: &FeedLine) -> Option<LookAt> {
    let text = match &line.state {
        FeedState::Listening => return None,
        FeedState::Failing { error, since } => format!("it fails since {}: {error}", since.strftime("%H:%M:%S UTC")),
        FeedState::Deaf { reason } => format!("{reason}; changes are seen at full looks only"),
    };
    Some(LookAt { what: line.feed.clone(), text, command: None })
}

/// Sources that may not be asked now, and why: what holds gaps of a state that no engine runs.
pub fn shut(sources: &[SourceFigures], now: Now) -> impl Iterator<Item = LookAt> {
    let shut = sources.iter().flat_map(|source| {
        let of_values = source.values.iter().flat_map(|values| &values.worst).filter_map(|value| value.gate.as_ref());
        source.gate.iter().chain(of_values).map(move |gate| (source, gate))
    });
    shut.map(move |(source, gate)| LookAt { what: format!("source {}", source.source), text: sentence(gate, now), command: None })
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

pub fn traffic(seen: &adce_core::traffic::Traffic) -> adce_api::Traffic {
    adce_api::Traffic {
        requests: seen.requests,
        sent_bytes: seen.passed.sent_bytes,
        received_bytes: seen.passed.received_bytes,
        statuses: seen.statuses().map(|(status, count)| (status.to_owned(), count)).collect(),
        no_answer: seen.no_answer,
        waits: seen.waits,
        waited_seconds: seen.waited().as_secs_f64(),
        sent_again: seen.passed.sent_again,
    }
}

pub fn attempt_traffic(seen: adce_core::traffic::Traffic) -> adce_api::AttemptTraffic {
    adce_api::AttemptTraffic {
        traffic: traffic(&seen),
        uncovered: seen.hosts.into_iter().map(|host| GuestHost { host: host.host, passed: host.passed, refused: host.refused }).collect(),
        uncovered_others: seen.other_hosts,
    }
}

/// In one line; what was not is left out.
pub fn traffic_words(seen: &adce_api::Traffic) -> String {
    let mut words = vec![counted(seen.requests, "request")];
    let answers = seen.statuses.iter().map(|(status, count)| format!("{} × {status}", grouped(*count)));
    let none = (seen.no_answer > 0).then(|| format!("{} without an answer", grouped(seen.no_answer)));
    let answers: Vec<String> = answers.chain(none).collect();
    words.extend((!answers.is_empty()).then(|| answers.join(", ")));
    words.extend((seen.received_bytes > 0).then(|| format!("{} received", bytes(seen.received_bytes))));
    words.extend((seen.sent_bytes > 0).then(|| format!("{} sent", bytes(seen.sent_bytes))));
    words.extend((seen.waits > 0).then(|| format!("{} of {:.1} s together", counted(seen.waits, "wait"), seen.waited_seconds)));
    words.extend((seen.sent_again > 0).then(|| format!("{} sent again by `absorb`", grouped(seen.sent_again))));
    words.join(" · ")
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
        text: format!("contested: filled and gone three times in a day, left alone until {}", clock(line.until)),
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
    GapLine { task: view.task, in_doubt: view.in_doubt, next_try: with_next_look.or(view.next_try), ..line }
}

/// Until when the source of a task, or the task's value of it, was shut when it was asked last.
pub fn remembered_shut(remembered: &Remembered, spec: &Spec, task: &Task, now: Timestamp) -> Option<Timestamp> {
    let name = task.source.as_deref()?;
    let shut_until = |record: &SourceRecord| record.breaker.open_until.max(record.paused_until);
    let of_source = remembered.sources.get(name).and_then(shut_until);
    let value = spec.sources.get(name).and_then(|source| source.by.as_ref()).and_then(|by| {
        let collector = spec.collectors.get(&task.collector)?;
        let at = group_names(&collector.batch.group_by, Some(&by.name)).position(|name| name == by.name)?;
        Some(format!("{}={}", by.name, task.group.get(at)?))
    });
    let of_value = value.and_then(|value| remembered.values.get(name)?.get(&value)).and_then(shut_until);
    of_source.max(of_value).filter(|until| *until > now)
}

/// What a gap of a state that no engine runs waits for.
fn remembered_state(gap: &Gap, now: Timestamp) -> GapState {
    let waits = gap.progress.next_try.is_some_and(|next| next > now);
    match gap.progress.standing {
        _ if !waits => GapState::Queued,
        Standing::Exhausted => GapState::Exhausted,
        Standing::Contested | Standing::Doubted | Standing::Cancelled => GapState::Held,
        Standing::Open | Standing::NotYet => GapState::Waiting,
    }
}

/// A gap of a state that no engine runs.
pub fn remembered_gap(remembered: &Gap, record: Option<&ItemRecord>, task: Option<&Task>, now: Timestamp) -> GapLine {
    let state = remembered_state(remembered, now);
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
        tries: gap.progress.attempts_total,
        next_try: gap.progress.next_try,
        due: gap.due,
        priority: gap.priority,
        task: None,
        last_error: gap.progress.last_error.clone(),
        in_doubt: false,
    }
}

pub fn task_line(view: &TaskView) -> TaskLine {
    let line = known_task(&view.task, view.score.total as f64 / 1e6, task_state(view.gate.as_ref()));
    let whole = |micros: i64| micros as f64 / 1e6;
    let parts = ScoreParts {
        base: whole(view.score.base),
        age: whole(view.score.age),
        importance: whole(view.score.importance),
        size: whole(view.score.size),
        success: whole(view.score.success),
    };
    TaskLine { next_try: view.next_try, progress: view.progress, score_parts: Some(parts), ..line }
}

/// Of a task that this holds back first.
pub fn task_state(gate: Option<&Gate>) -> GapState {
    match gate {
        Some(Gate::Running { .. }) => GapState::Running,
        Some(Gate::Exhausted { .. }) => GapState::Exhausted,
        Some(
            Gate::Surprise { .. }
            | Gate::Paused { .. }
            | Gate::Breaker { .. }
            | Gate::CollectorBreaker { .. }
            | Gate::Contested { .. }
            | Gate::Cancelled { .. }
            | Gate::Doubted { .. },
        ) => GapState::Held,
        Some(Gate::Retry { .. } | Gate::NotYet { .. } | Gate::RetryAfter { .. } | Gate::Limit { .. } | Gate::SetAside { .. }) => {
            GapState::Waiting
        }
        _ => GapState::Queued,
    }
}

/// A task of a state that no engine runs, and its gaps: it waits for whoever is tried last.
pub fn remembered_task<'a>(task: &Task, gaps: impl Iterator<Item = &'a Gap>, now: Timestamp) -> TaskLine {
    let last = gaps.max_by_key(|gap| gap.progress.next_try);
    known_task(task, 0.0, last.map_or(GapState::Queued, |gap| remembered_state(gap, now)))
}

pub fn known_task(task: &Task, score: f64, state: GapState) -> TaskLine {
    TaskLine {
        id: task.id,
        collector: task.collector.clone(),
        source: task.source.clone(),
        priority: task.priority,
        score,
        state,
        items: task.gaps.len() as u32,
        key: task.key.clone(),
        detected_at: task.detected_at,
        next_try: task.ready_at,
        progress: None,
        score_parts: None,
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

pub fn token_line(token: &adce_core::access::TokenRecord) -> adce_api::TokenLine {
    adce_api::TokenLine {
        name: token.name.clone(),
        role: token.role,
        created_at: token.created_at,
        expires_at: token.expires_at,
        revoked_at: token.revoked_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_told_with_its_reason_in_the_words_of_limits() {
        let [at, until] = ["2025-03-09T14:00:00Z", "2025-03-09T14:01:00Z"].map(|at| at.parse::<Timestamp>().unwrap());
        let told = |because: Option<&str>| {
            let state = SourceState::Paused { until, because: because.map(Into::into) };
            source_state(&SourceLine { name: "api".into(), state, ..SourceLine::default() }, at).3.unwrap()
        };
        let then = "it is asked again in 1 m (2025-03-09 14:01:00 UTC)";
        assert_eq!(told(Some("lets requests hang")), format!("`api` lets requests hang: {then}"));
        assert_eq!(told(None), format!("`api` asked to be left alone: {then}"));
    }
}
