//! What can be looked at.

use std::collections::VecDeque;

use adce_api::{
    AttemptLine, AuditLine, ConfigReport, CoverageAsk, CoverageReport, EndedAttempt, GapLine, HealthReport, HealthWord, LimitsReport, Plan,
    SourceLimits, SourceStatus, Status, TaskDetail, TaskLine, TrendLine, Why,
};
use adce_core::gap::{GapState, Reason};
use adce_core::ids::{AttemptId, TaskId};
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::desk::Desk;
use crate::feed::CycleLine;
use crate::paging::{self, Limit, Page, first_behind};
use crate::problem::Problem;
use crate::routes::{Api, Call, Nothing, json, look};

pub(crate) fn routes(api: Api) -> Api {
    api.get("/livez", look("health", "The process answers").for_everybody(), async |_, _: Nothing| Ok(Live { status: "ok" }))
        .get("/readyz", look("health", "The engine answers and has looked at the lake").for_everybody(), ready)
        .get_as("/healthz", look("health", "Whether the engine is well: 503 if it is not").for_everybody(), "application/json", health)
        .get("/v1/status", look("now", "Where everything stands"), async |call, _: Nothing| Ok(call.desk().status().await?))
        .get("/v1/health", look("now", "Whether the engine is well, and why not"), async |call, _: Nothing| {
            Ok(HealthReport::of(&call.desk().status().await?))
        })
        .get_as("/v1/events", look("now", "What moves, as server-sent events"), "text/event-stream", async |call, _: Nothing| {
            call.site.feed.watch(call.site.desk.clone(), call.who).await
        })
        .get("/v1/coverage", look("coverage", "What is there of what should be, counted by names"), coverage)
        .get("/v1/trend", look("coverage", "How complete each dataset was over time"), trend)
        .get("/v1/gaps", look("coverage", "Gaps, by dataset and key"), gaps)
        .get("/v1/why", look("coverage", "What holds a key, a task or a dataset"), why)
        .get("/v1/tasks", look("queue", "Tasks, in the order in which they would start"), tasks)
        .get("/v1/tasks/{id}", look("queue", "One task: its items, its attempts, what each came to"), task)
        .get("/v1/plan", look("queue", "What would be collected, in which order, done when: one look at the whole lake"), plan)
        .get("/v1/attempts", look("attempts", "Attempts that have ended, the latest first"), attempts)
        .get("/v1/attempts/{id}", look("attempts", "One of them"), attempt)
        .get_as("/v1/attempts/{id}/log", look("attempts", "What its collector printed"), "text/plain", log)
        .get("/v1/sources", look("sources", "Sources: limits, use, breakers, what was learned"), sources)
        .get("/v1/sources/{name}", look("sources", "One of them"), source)
        .get("/v1/limits", look("sources", "All limits"), async |call, _: Nothing| Ok(call.desk().limits().await?))
        .get("/v1/cycles", look("cycles", "Full looks at the lake since the engine started, the latest first"), cycles)
        .get("/v1/config", look("config", "The config by which the engine runs, as it is written"), config)
        .get("/v1/tokens", look("access", "Tokens, without their secrets").of_admins(), async |call, _: Nothing| {
            Ok(Tokens { tokens: call.desk().tokens().await? })
        })
        .get("/v1/audit", look("access", "What people and programs did, the latest first").of_admins(), audit)
}

// -------------------------------------------------------------------------------------------------------------- health

#[derive(Serialize, JsonSchema)]
struct Live {
    status: &'static str,
}

async fn ready(call: Call, _: Nothing) -> Result<Live, Problem> {
    let not_yet = |detail: &str| Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(std::time::Duration::from_secs(1));
    let status = call.desk().status().await?;
    match status.engine {
        Some(engine) if engine.stopping => Err(not_yet("the engine is ending")),
        Some(engine) if engine.last_cycle.is_some() => Ok(Live { status: "ok" }),
        _ => Err(not_yet("the first look at the lake is under way")),
    }
}

pub(crate) async fn health(call: Call, _: Nothing) -> Result<Response, Problem> {
    let health = match call.desk().status().await {
        Ok(status) => HealthReport::of(&status),
        Err(refusal) => HealthReport {
            status: HealthWord::Unhealthy,
            timestamp: call.desk().now(),
            complete: false,
            uptime_seconds: None,
            reasons: vec![adce_api::HealthReason { status: HealthWord::Unhealthy, what: "engine".into(), text: refusal.message }],
        },
    };
    let status = if health.status == HealthWord::Unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    // Whoever watches over machines has no token, and is told no more than he needs.
    let shown = Health { status: health.status, timestamp: health.timestamp };
    Ok(json(status, &shown))
}

#[derive(Serialize, JsonSchema)]
struct Health {
    status: HealthWord,
    timestamp: Timestamp,
}

// ------------------------------------------------------------------------------------------------------------ coverage

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CoverageQuery {
    /// Of this one alone.
    dataset: Option<String>,
    /// One name or two, with a comma: `season`, `season,month`, `source`, `dataset`, `tip:week`.
    by: Option<String>,
}

async fn coverage(call: Call, query: CoverageQuery) -> Result<CoverageReport, Problem> {
    let by = query.by.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
    let ask = CoverageAsk { dataset: query.dataset, by: by.map(String::from).collect() };
    Ok(call.desk().coverage(&ask).await?)
}

#[derive(Serialize, JsonSchema)]
struct Trend {
    datasets: IndexMap<String, Vec<TrendLine>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TrendQuery {
    /// Of this one alone.
    dataset: Option<String>,
}

async fn trend(call: Call, query: TrendQuery) -> Result<Trend, Problem> {
    let mut datasets = call.desk().trend().await?;
    if let Some(only) = query.dataset {
        datasets.retain(|name, _| *name == only);
    }
    Ok(Trend { datasets })
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GapsQuery {
    pub(crate) dataset: Option<String>,
    pub(crate) state: Option<GapState>,
    pub(crate) reason: Option<Reason>,
    pub(crate) priority: Option<PriorityLevel>,
    /// Of keys that begin with this.
    pub(crate) prefix: Option<String>,
    #[serde(default)]
    pub(crate) limit: Limit,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

pub(crate) async fn gaps(call: Call, query: GapsQuery) -> Result<Page<GapLine>, Problem> {
    let after = paging::read::<(String, String)>(query.cursor.as_deref())?;
    let is_meant = |gap: &GapLine| {
        query.dataset.as_ref().is_none_or(|dataset| gap.dataset == *dataset)
            && query.state.is_none_or(|state| gap.state == state)
            && query.reason.is_none_or(|reason| gap.reason == reason)
            && query.priority.is_none_or(|priority| gap.priority == priority)
            && query.prefix.as_ref().is_none_or(|prefix| gap.key.starts_with(prefix))
    };
    let gaps = call.desk().gaps().await?.filter(is_meant);
    Ok(first_behind(gaps, |gap| (gap.dataset.clone(), gap.key.clone()), after.as_ref(), query.limit))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WhyQuery {
    /// A key, a task's id or a dataset's name.
    what: String,
}

async fn why(call: Call, query: WhyQuery) -> Result<Why, Problem> {
    Ok(call.desk().why(&query.what).await?)
}

// --------------------------------------------------------------------------------------------------------------- queue

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TasksQuery {
    pub(crate) state: Option<GapState>,
    pub(crate) priority: Option<PriorityLevel>,
    pub(crate) source: Option<String>,
    pub(crate) collector: Option<String>,
    #[serde(default)]
    pub(crate) limit: Limit,
    /// `next` of the page before.
    pub(crate) cursor: Option<String>,
}

impl TasksQuery {
    pub(crate) fn means(&self, task: &TaskLine) -> bool {
        self.state.is_none_or(|state| task.state == state)
            && self.priority.is_none_or(|priority| task.priority == priority)
            && self.source.as_ref().is_none_or(|source| task.source.as_ref() == Some(source))
            && self.collector.as_ref().is_none_or(|collector| task.collector == *collector)
    }
}

/// The order moves while somebody turns pages. Where the last task of a page is gone, the next begins at its place.
pub(crate) async fn tasks(call: Call, query: TasksQuery) -> Result<Page<TaskLine>, Problem> {
    let after = paging::read::<(u64, TaskId)>(query.cursor.as_deref())?;
    let meant: Vec<TaskLine> = call.desk().tasks().await?.filter(|task| query.means(task)).collect();
    let begin = after.map_or(0, |(place, last)| {
        let now_at = meant.iter().position(|task| task.id == last);
        now_at.map_or(place as usize, |at| at + 1)
    });
    let end = (begin + query.limit.0 as usize).min(meant.len());
    let more = end < meant.len();
    let items: Vec<TaskLine> = meant.into_iter().skip(begin).take(query.limit.0 as usize).collect();
    let next = items.last().filter(|_| more).map(|last| paging::cursor(&(end as u64, last.id)));
    Ok(Page { items, next })
}

pub(crate) fn task_id(call: &Call) -> Result<TaskId, Problem> {
    call.path("id").parse().map_err(|error: adce_core::ids::NotAnId| Problem::not_found(error.to_string()))
}

async fn task(call: Call, _: Nothing) -> Result<TaskDetail, Problem> {
    let id = task_id(&call)?;
    call.desk().task(id).await.map_err(Problem::of_name)
}

async fn plan(call: Call, _: Nothing) -> Result<Plan, Problem> {
    let _one_at_a_time = call.site.planning.lock().await;
    Ok(call.desk().plan().await?)
}

// ------------------------------------------------------------------------------------------------------------ attempts

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AttemptsQuery {
    task: Option<TaskId>,
    collector: Option<String>,
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// So many records are read through for one page. Where few of them are meant, a page is short and has a next one all the same.
const READ_AT_ONCE: u32 = 2_000;

async fn attempts(call: Call, query: AttemptsQuery) -> Result<Page<EndedAttempt>, Problem> {
    let before = paging::read::<u64>(query.cursor.as_deref())?;
    let filtered = query.task.is_some() || query.collector.is_some();
    let wanted = if filtered { READ_AT_ONCE } else { query.limit.0 };
    let read = call.desk().attempts(before, wanted).await?;
    let is_last = (read.len() as u64) < u64::from(wanted);
    let read_to = read.last().map(|attempt| attempt.number);
    let is_meant = |attempt: &EndedAttempt| {
        query.task.is_none_or(|task| attempt.task == task)
            && query.collector.as_ref().is_none_or(|collector| attempt.collector == *collector)
    };
    let mut items: Vec<EndedAttempt> = read.into_iter().filter(is_meant).collect();
    let more = items.len() > query.limit.0 as usize;
    items.truncate(query.limit.0 as usize);
    let shown_to = items.last().map(|attempt| attempt.number);
    let next = if more { shown_to } else { read_to.filter(|_| !is_last) };
    Ok(Page { items, next: next.map(|number| paging::cursor(&number)) })
}

async fn found(call: &Call) -> Result<EndedAttempt, Problem> {
    let id: AttemptId = call.path("id").parse().map_err(|error: adce_core::ids::NotAnId| Problem::not_found(error.to_string()))?;
    let found = call.desk().attempt(id).await?;
    found.ok_or_else(|| Problem::not_found(format!("no attempt `{id}` has ended here, or its record is gone")))
}

async fn attempt(call: Call, _: Nothing) -> Result<EndedAttempt, Problem> {
    found(&call).await
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// Only so many bytes at its end.
    #[schemars(range(min = 1, max = 1_073_741_824))]
    tail: Option<u64>,
}

async fn log(call: Call, query: LogQuery) -> Result<Response, Problem> {
    let AttemptLine { log, log_tail, .. } = found(&call).await?.line;
    let Some(path) = log else { return Ok(text(Body::from(log_tail))) };
    let gone = |error: std::io::Error| Problem::not_found(format!("its log is gone: {error}"));
    let mut file = tokio::fs::File::open(path).await.map_err(gone)?;
    if let Some(tail) = query.tail {
        let length = file.metadata().await.map_err(gone)?.len();
        file.seek(std::io::SeekFrom::Start(length.saturating_sub(tail))).await.map_err(gone)?;
    }
    let pieces = stream::unfold(file, |mut file| async move {
        let mut piece = vec![0; 64 * 1024];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(read) => {
                piece.truncate(read);
                Some((Ok(Bytes::from(piece)), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    Ok(text(Body::from_stream(pieces)))
}

fn text(body: Body) -> Response {
    let mut response = body.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

// ------------------------------------------------------------------------------------------------------------- sources

#[derive(Serialize, JsonSchema)]
pub(crate) struct Sources {
    /// By name.
    pub(crate) sources: IndexMap<String, SourceNow>,
    /// All sources together.
    pub(crate) all: SourceLimits,
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct SourceNow {
    pub(crate) now: SourceStatus,
    pub(crate) limits: SourceLimits,
    /// Nothing of it starts, because somebody wants it so.
    pub(crate) paused: bool,
}

pub(crate) async fn sources(call: Call, _: Nothing) -> Result<Sources, Problem> {
    sources_of(call.desk()).await
}

pub(crate) async fn sources_of(desk: &dyn Desk) -> Result<Sources, Problem> {
    let status = desk.status().await?;
    let LimitsReport { all, mut sources, .. } = desk.limits().await?;
    let is_paused = |name: &str| {
        status.paused.iter().any(|pause| pause.of == "everything" || (pause.of == "source" && pause.name.as_deref() == Some(name)))
    };
    let of = |(name, now): (&String, &SourceStatus)| {
        let limits = sources.swap_remove(name).unwrap_or_default();
        (name.clone(), SourceNow { now: now.clone(), limits, paused: is_paused(name) })
    };
    Ok(Sources { sources: status.sources.iter().map(of).collect(), all })
}

async fn source(call: Call, _: Nothing) -> Result<SourceNow, Problem> {
    let name = call.path("name").to_owned();
    let source = sources(call, Nothing {}).await?.sources.swap_remove(&name);
    source.ok_or_else(|| Problem::not_found(format!("no source is called `{name}`")))
}

// -------------------------------------------------------------------------------------------------------------- cycles

#[derive(Serialize, JsonSchema)]
struct Cycles {
    next: Option<Timestamp>,
    cycles: Vec<CycleLine>,
}

async fn cycles(call: Call, _: Nothing) -> Result<Cycles, Problem> {
    let Status { engine, .. } = call.desk().status().await?;
    let mut cycles: VecDeque<CycleLine> = call.site.feed.cycles().into();
    cycles.truncate(paging::AT_MOST as usize);
    Ok(Cycles { next: engine.and_then(|engine| engine.next_cycle), cycles: cycles.into() })
}

// -------------------------------------------------------------------------------------------------- config and access

async fn config(call: Call, _: Nothing) -> Result<ConfigReport, Problem> {
    Ok(call.desk().config_written().await?)
}

#[derive(Serialize, JsonSchema)]
struct Tokens {
    tokens: Vec<adce_api::TokenLine>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    #[serde(default)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

async fn audit(call: Call, query: AuditQuery) -> Result<Page<AuditLine>, Problem> {
    let before = paging::read::<u64>(query.cursor.as_deref())?;
    let items = call.desk().audit(before, query.limit.0).await?;
    let next = items.last().filter(|_| items.len() as u64 == u64::from(query.limit.0)).map(|last| paging::cursor(&last.number));
    Ok(Page { items, next })
}
