//! The paths and fields of the older system that this one takes the place of, so that what watched and drove it goes on as before.
//!
//! They tell the same truth in older words. What is new is in `/v1`.

use adce_api::{EndedAttempt, GapLine, HealthReport, HealthWord, SourceState, Status, TaskDetail};
use adce_core::gap::{GapState, Outcome};
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::acts::{begin_cycle, request};
use crate::feed::CycleLine;
use crate::problem::Problem;
use crate::reads::{self, TasksQuery, sources, task_id};
use crate::routes::{Api, Call, Nothing, act, look};

const TAG: &str = "older";

pub(crate) fn routes(api: Api) -> Api {
    api.get_as("/health", look(TAG, "Whether the engine is well: 503 if it is not").for_everybody(), "application/json", reads::health)
        .get("/status", look(TAG, "The engine and what it rests on, part by part"), status)
        .get("/rate-limits", look(TAG, "What each source's tightest window has left"), rate_limits)
        .get("/tasks", look(TAG, "How many tasks there are, by priority and by source"), tasks)
        .post("/tasks", act(TAG, "Has gaps of a source or a dataset filled soon").status(202).refuses(&[404]), create)
        .get("/tasks/{id}", look(TAG, "How far one task is"), task)
        .get("/reconciliation/status", look(TAG, "The cycle before and the next one"), reconciliation)
        .post("/reconciliation/trigger", act(TAG, "Begins a cycle: 409 while one is under way").status(202).refuses(&[409]), trigger)
        .get("/scrapers", look(TAG, "Collectors: how they are, and when they ran last"), scrapers)
}

#[derive(Serialize, JsonSchema)]
struct OlderStatus {
    status: HealthWord,
    uptime_seconds: u64,
    reconciliation_cycles: u64,
    components: IndexMap<&'static str, Component>,
}

#[derive(Default, Serialize, JsonSchema)]
struct Component {
    status: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    objects: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_hours: Option<f64>,
}

async fn status(call: Call, _: Nothing) -> Result<OlderStatus, Problem> {
    let status = call.desk().status().await?;
    let tasks = call.desk().tasks().await?.count() as u64;
    let health = HealthReport::of(&status);
    let uptime = health.uptime_seconds.unwrap_or_default();
    let engine = status.engine.as_ref();
    let cycle = engine.and_then(|engine| engine.last_cycle.as_ref());
    let hours_since = |at: Timestamp| status.at.duration_since(at).as_secs_f64() / 3_600.0;
    let pid = engine.map(|engine| engine.pid);
    let daemon = Component {
        status: if cycle.is_some_and(|cycle| cycle.error.is_some()) { "degraded" } else { "running" },
        message: cycle.map_or_else(
            || "the first cycle is under way".into(),
            |cycle| cycle.error.clone().unwrap_or_else(|| format!("the last cycle took {:.1} s", cycle.seconds)),
        ),
        pid,
        uptime: Some(uptime),
        ..Component::default()
    };
    let orchestrator = Component {
        status: if engine.is_some_and(|engine| engine.stopping) { "stopping" } else { "running" },
        message: format!("{} of {} slots at work", status.slots.used, status.slots.of.unwrap_or_default()),
        pid,
        uptime: Some(uptime),
        ..Component::default()
    };
    let queue =
        Component { status: "healthy", message: format!("{} gaps", status.gaps.total()), total_tasks: Some(tasks), ..Component::default() };
    let listed = status.datasets.values().all(|dataset| dataset.listing_error.is_none());
    let lake = Component {
        status: if listed { "healthy" } else { "degraded" },
        message: status.lake.clone(),
        objects: Some(status.coverage.items.present + status.coverage.unexpected),
        last_update_hours: cycle.map(|cycle| hours_since(cycle.began_at)),
        ..Component::default()
    };
    let expected = Component {
        status: if status.complete { "complete" } else { "incomplete" },
        message: format!("{} of {} items present", status.coverage.items.present, status.coverage.items.wanted()),
        ..Component::default()
    };
    let components =
        [("reconciliation_daemon", daemon), ("orchestrator", orchestrator), ("task_queue", queue), ("s3", lake), ("dims", expected)];
    Ok(OlderStatus {
        status: health.status,
        uptime_seconds: uptime,
        reconciliation_cycles: call.site.feed.cycles().len() as u64,
        components: components.into_iter().collect(),
    })
}

#[derive(Serialize, JsonSchema)]
struct Bucket {
    /// Requests that its tightest window still admits.
    tokens: u32,
    /// Requests a second.
    rate: f64,
    capacity: u32,
    /// From 0 to 1.
    utilization: f64,
}

async fn rate_limits(call: Call, _: Nothing) -> Result<IndexMap<String, Bucket>, Problem> {
    let sources = sources(call, Nothing {}).await?.sources;
    let of = |(name, source): (String, reads::SourceNow)| {
        let left = |window: &&adce_api::WindowNow| f64::from(window.limit.saturating_sub(window.used)) / f64::from(window.limit.max(1));
        let tightest = source.now.windows.iter().min_by(|one, other| left(one).total_cmp(&left(other)))?;
        let (limit, used) = (tightest.limit, tightest.used);
        let bucket = Bucket {
            tokens: limit.saturating_sub(used),
            rate: f64::from(limit) / tightest.seconds,
            capacity: limit,
            utilization: f64::from(used) / f64::from(limit.max(1)),
        };
        Some((name, bucket))
    };
    Ok(sources.into_iter().filter_map(of).collect())
}

#[derive(Serialize, JsonSchema)]
struct OlderTasks {
    total_tasks: u64,
    by_priority: IndexMap<&'static str, u64>,
    by_source: IndexMap<String, u64>,
    /// `null`: nobody can tell yet.
    estimated_completion_minutes: Option<f64>,
}

async fn tasks(call: Call, _: TasksQuery) -> Result<OlderTasks, Problem> {
    let status = call.desk().status().await?;
    let mut tasks = OlderTasks {
        total_tasks: 0,
        by_priority: PriorityLevel::ALL.into_iter().rev().map(|priority| (priority.word(), 0)).collect(),
        by_source: IndexMap::new(),
        estimated_completion_minutes: status.eta_seconds.map(|eta| eta / 60.0),
    };
    for task in call.desk().tasks().await? {
        tasks.total_tasks += 1;
        *tasks.by_priority.entry(task.priority.word()).or_default() += 1;
        *tasks.by_source.entry(task.source.unwrap_or_else(|| "none".into())).or_default() += 1;
    }
    Ok(tasks)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OlderState {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

#[derive(Serialize, JsonSchema)]
struct OlderTask {
    task_id: String,
    status: OlderState,
    /// From 0 to 100.
    progress: u32,
    files_collected: u64,
    files_total: u64,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    estimated_completion: Option<Timestamp>,
    errors: Vec<String>,
}

async fn task(call: Call, _: Nothing) -> Result<OlderTask, Problem> {
    let id = task_id(&call)?;
    let detail = call.desk().task(id).await.map_err(Problem::of_name)?;
    let status = call.desk().status().await?;
    Ok(older_task(id.to_string(), &detail, &status))
}

fn older_task(task_id: String, detail: &TaskDetail, status: &Status) -> OlderTask {
    let filled = |outcome: &Outcome| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged);
    let landed = detail.attempts.iter().flat_map(|attempt| &attempt.outcomes).filter(|line| filled(&line.outcome)).count() as u64;
    let running = status.running.iter().find(|running| running.task.to_string() == task_id);
    let collected = landed + running.map_or(0, |running| running.landed.min(u64::from(running.items)));
    let total = landed + detail.gaps.len() as u64;
    let state = match detail.task.as_ref().map(|task| task.state) {
        Some(GapState::Running) => OlderState::Running,
        Some(GapState::Held) if detail.held_by.as_ref().is_some_and(|held| held.contains("cancelled")) => OlderState::Cancelled,
        Some(GapState::Exhausted) => OlderState::Failed,
        Some(GapState::Queued | GapState::Waiting | GapState::Held) => OlderState::Queued,
        None if landed > 0 => OlderState::Completed,
        None => OlderState::Failed,
    };
    let failures = detail.attempts.iter().flat_map(|attempt| &attempt.outcomes).filter_map(|line| match &line.outcome {
        Outcome::Failed(failure) => Some(failure.message.clone()),
        _ => None,
    });
    let last_errors = detail.gaps.iter().filter_map(|gap: &GapLine| gap.last_error.clone());
    let mut errors: Vec<String> = failures.chain(last_errors).collect();
    errors.dedup();
    errors.truncate(100);
    let is_over = detail.task.is_none();
    OlderTask {
        task_id,
        status: state,
        progress: (collected * 100).checked_div(total).map_or(100, |share| u32::try_from(share.min(100)).unwrap_or(100)),
        files_collected: collected,
        files_total: total.max(collected),
        started_at: detail.attempts.first().map(|attempt| attempt.started_at).or(running.map(|running| running.started_at)),
        completed_at: detail.attempts.last().filter(|_| is_over).map(|attempt| attempt.ended_at),
        estimated_completion: None,
        errors,
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct OlderRequest {
    /// Of this source, where no `data_type` says of which dataset.
    source: String,
    /// A dataset.
    data_type: Option<String>,
    date_range: Option<adce_api::DateRange>,
    #[serde(default)]
    priority: Option<OlderPriority>,
    #[serde(default)]
    #[allow(dead_code)]
    metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

/// In the older system's capitals, or in small letters.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OlderPriority {
    #[serde(alias = "CRITICAL")]
    Critical,
    #[serde(alias = "HIGH")]
    High,
    #[serde(alias = "MEDIUM")]
    Medium,
    #[serde(alias = "LOW")]
    Low,
}

#[derive(Serialize, JsonSchema)]
struct Created {
    task_id: String,
    status: OlderState,
    priority: PriorityLevel,
    /// `null`: what holds it tells not when it is over.
    estimated_start: Option<Timestamp>,
    position_in_queue: u64,
}

async fn create(call: Call, asked: OlderRequest) -> Result<Created, Problem> {
    let priority = asked.priority.map(|priority| match priority {
        OlderPriority::Critical => PriorityLevel::Critical,
        OlderPriority::High => PriorityLevel::High,
        OlderPriority::Medium => PriorityLevel::Medium,
        OlderPriority::Low => PriorityLevel::Low,
    });
    let (source, dataset) = if asked.data_type.is_some() { (None, asked.data_type) } else { (Some(asked.source), None) };
    let ask = adce_api::TaskRequest { source, dataset, date_range: asked.date_range, priority, reason: None };
    let first = request(&call, &ask).await?.tasks.into_iter().next();
    let first = first.ok_or_else(|| Problem::not_found("what is meant has no task: its dataset is only watched"))?;
    let status = if first.state == GapState::Running { OlderState::Running } else { OlderState::Queued };
    let estimated_start = matches!(first.state, GapState::Running | GapState::Queued).then(|| call.desk().now());
    Ok(Created { task_id: first.id.to_string(), status, priority: first.priority, estimated_start, position_in_queue: first.position })
}

// --------------------------------------------------------------------------------------------------------------- cycle

#[derive(Serialize, JsonSchema)]
struct Reconciliation {
    /// The next one, or the first that is under way.
    current_cycle: CurrentCycle,
    last_cycle: Option<CycleLine>,
    statistics: CycleStatistics,
}

#[derive(Serialize, JsonSchema)]
struct CurrentCycle {
    status: &'static str,
    next_at: Option<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
struct CycleStatistics {
    total_cycles: u64,
    average_duration_seconds: Option<f64>,
    gaps_detected: u64,
    tasks: u64,
}

async fn reconciliation(call: Call, _: Nothing) -> Result<Reconciliation, Problem> {
    let status = call.desk().status().await?;
    let tasks = call.desk().tasks().await?.count() as u64;
    let cycles = call.site.feed.cycles();
    let next_at = status.engine.as_ref().and_then(|engine| engine.next_cycle);
    let seconds: f64 = cycles.iter().map(|line| line.cycle.seconds).sum();
    Ok(Reconciliation {
        current_cycle: CurrentCycle { status: if cycles.is_empty() { "running" } else { "waiting" }, next_at },
        statistics: CycleStatistics {
            total_cycles: cycles.len() as u64,
            average_duration_seconds: (!cycles.is_empty()).then(|| seconds / cycles.len() as f64),
            gaps_detected: status.coverage.items.gaps(),
            tasks,
        },
        last_cycle: cycles.into_iter().next(),
    })
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Trigger {
    /// Every look here is a full one, and is done whenever it is asked for.
    #[serde(default)]
    #[allow(dead_code)]
    force: bool,
    #[serde(default)]
    #[allow(dead_code)]
    scope: Scope,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Scope {
    #[default]
    Full,
    Incremental,
}

#[derive(Serialize, JsonSchema)]
struct Triggered {
    reconciliation_id: String,
    status: &'static str,
    /// As long as the last one took.
    estimated_duration_seconds: Option<f64>,
}

async fn trigger(call: Call, _: Trigger) -> Result<Triggered, Problem> {
    begin_cycle(&call, None).await?;
    Ok(Triggered {
        reconciliation_id: format!("cycle-{}", call.desk().now().as_millisecond()),
        status: "started",
        estimated_duration_seconds: call.site.feed.cycles().first().map(|line| line.cycle.seconds),
    })
}

// ------------------------------------------------------------------------------------------------------------ scrapers

#[derive(Serialize, JsonSchema)]
struct Scraper {
    name: String,
    /// `running`, `idle`, `paused`, or `failing`: its breaker or its source's is open.
    status: &'static str,
    /// Requests that its sources admit, as they are declared: `espn: 60 in 60 s`.
    rate_limit: Vec<String>,
    last_run: Option<Timestamp>,
    /// Share of its latest attempts that filled something; `null`: it did not run lately.
    success_rate: Option<f64>,
}

/// An attempt's record is read for each, so not without end.
const LOOKED_AT: u32 = 500;
const OF_EACH: usize = 50;

async fn scrapers(call: Call, _: Nothing) -> Result<Vec<Scraper>, Problem> {
    let (config, status) = (call.desk().config_written().await?, call.desk().status().await?);
    let attempts = call.desk().attempts(None, LOOKED_AT).await?;
    let of = |collector: adce_api::CollectorRule| {
        let ran: Vec<&EndedAttempt> = attempts.iter().filter(|attempt| attempt.collector == collector.name).take(OF_EACH).collect();
        let filled = |attempt: &&&EndedAttempt| {
            attempt.line.outcomes.iter().any(|line| matches!(line.outcome, Outcome::Done { .. } | Outcome::Unchanged))
        };
        let success_rate = (!ran.is_empty()).then(|| ran.iter().filter(filled).count() as f64 / ran.len() as f64);
        let sources: Vec<_> = collector.sources.iter().filter_map(|name| Some((name, status.sources.get(name)?))).collect();
        let is_failing = status.collectors.contains_key(&collector.name)
            || sources.iter().any(|(_, source)| matches!(source.state, SourceState::Open | SourceState::HalfOpen));
        let is_running = status.running.iter().any(|running| running.collector == collector.name);
        let is_paused = status.paused.iter().any(|pause| {
            pause.of == "everything" || (pause.of == "source" && pause.name.as_ref().is_some_and(|name| collector.sources.contains(name)))
        });
        let limits = sources.iter().flat_map(|(name, source)| {
            source.windows.iter().map(move |window| format!("{name}: {} in {} s", window.limit, window.seconds))
        });
        Scraper {
            status: match (is_failing, is_running, is_paused) {
                (true, ..) => "failing",
                (_, true, _) => "running",
                (_, _, true) => "paused",
                _ => "idle",
            },
            rate_limit: limits.collect(),
            last_run: ran.first().map(|attempt| attempt.line.ended_at),
            success_rate,
            name: collector.name,
        }
    };
    Ok(config.collectors.into_iter().map(of).collect())
}
