//! What can be done. Each is what a command does, and on record with who did it.

use std::time::Duration;

use adce_api::{Accepted, Answers, CancelLine, Paused, Requested, RetryLine, TaskRequest};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::reads::task_id;
use crate::routes::{Api, Call, act};

pub(crate) fn routes(api: Api) -> Api {
    api.post("/v1/retry", act("acts", "Tries at once what waits for a time of its own"), retry)
        .post("/v1/cancel", act("acts", "Ends attempts, and leaves their items alone for a while"), cancel)
        .post("/v1/pause", act("acts", "Keeps everything, a source or a dataset from starting"), pause)
        .post("/v1/resume", act("acts", "Ends a pause"), resume)
        .post("/v1/accept", act("acts", "Takes a held surprise for a fact, or lets contested objects be fetched").of_admins(), accept)
        .post("/v1/tasks/{id}/retry", act("acts", "Tries a task's items at once"), async |call: Call, why: Reason| {
            let what = Some(task_id(&call)?.to_string());
            retry(call, What { what, reason: why.reason }).await
        })
        .post(
            "/v1/tasks/{id}/cancel",
            act("acts", "Ends a task's attempt, and leaves its items alone for a while"),
            async |call: Call, how: CancelTask| {
                let what = task_id(&call)?.to_string();
                cancel(call, Cancel { what, for_seconds: how.for_seconds, reason: how.reason }).await
            },
        )
        .post("/v1/sources/{name}/pause", act("acts", "Keeps a source from being asked"), async |call: Call, why: Reason| {
            let what = Some(format!("source:{}", call.path("name")));
            pause(call, What { what, reason: why.reason }).await.map_err(of_name)
        })
        .post("/v1/sources/{name}/resume", act("acts", "Lets a source be asked again"), async |call: Call, why: Reason| {
            let what = Some(format!("source:{}", call.path("name")));
            resume(call, Resume { what, all: false, reason: why.reason }).await.map_err(of_name)
        })
        .post("/v1/datasets/{name}/pause", act("acts", "Keeps a dataset from being collected"), async |call: Call, why: Reason| {
            let what = Some(format!("dataset:{}", call.path("name")));
            pause(call, What { what, reason: why.reason }).await.map_err(of_name)
        })
        .post("/v1/datasets/{name}/resume", act("acts", "Lets a dataset be collected again"), async |call: Call, why: Reason| {
            let what = Some(format!("dataset:{}", call.path("name")));
            resume(call, Resume { what, all: false, reason: why.reason }).await.map_err(of_name)
        })
        .post(
            "/v1/tasks",
            act("queue", "Has gaps of a source or a dataset filled soon").status(202).refuses(&[404]),
            async |call: Call, asked: TaskRequest| request(&call, &asked).await,
        )
        .post(
            "/v1/cycles",
            act("cycles", "Looks at the whole lake now: 409 while one look is under way").status(202).refuses(&[409]),
            look_now,
        )
}

/// What the path names is not there.
fn of_name(problem: Problem) -> Problem {
    if problem.status() == StatusCode::BAD_REQUEST { Problem::not_found(problem.detail) } else { problem }
}

/// Why, for the audit log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Reason {
    #[serde(default)]
    #[schemars(length(max = 1000))]
    reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct What {
    /// A key, a task's id, a dataset or a source, as far as it fits; without it, everything.
    #[serde(default)]
    what: Option<String>,
    /// Why, for the audit log.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Resume {
    #[serde(default)]
    what: Option<String>,
    /// Whatever is paused by hand.
    #[serde(default)]
    all: bool,
    #[serde(default)]
    #[schemars(length(max = 1000))]
    reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cancel {
    /// A key, a task's id or a dataset.
    what: String,
    /// Default: an hour.
    #[serde(default)]
    for_seconds: Option<AloneFor>,
    #[serde(default)]
    #[schemars(length(max = 1000))]
    reason: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CancelTask {
    /// Default: an hour.
    #[serde(default)]
    for_seconds: Option<AloneFor>,
    #[serde(default)]
    #[schemars(length(max = 1000))]
    reason: Option<String>,
}

/// From a second to ten years.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "f64")]
struct AloneFor(f64);

impl JsonSchema for AloneFor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AloneFor".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "number", "minimum": 1, "maximum": 315_360_000 })
    }
}

impl TryFrom<f64> for AloneFor {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        if (1.0..=315_360_000.0).contains(&seconds) { Ok(AloneFor(seconds)) } else { Err("`for_seconds` is from 1 to 315360000") }
    }
}

const USUALLY_ALONE_FOR: f64 = 3_600.0;

#[derive(Serialize, JsonSchema)]
struct Retried {
    items: Vec<RetryLine>,
}

async fn retry(call: Call, asked: What) -> Result<Retried, Problem> {
    let items = call.acting(asked.reason.as_deref()).retry(asked.what.as_deref()).await.map_err(Problem::of_name)?.collect();
    Ok(Retried { items })
}

#[derive(Serialize, JsonSchema)]
struct Cancelled {
    items: Vec<CancelLine>,
}

async fn cancel(call: Call, asked: Cancel) -> Result<Cancelled, Problem> {
    let span = Duration::from_secs_f64(asked.for_seconds.map_or(USUALLY_ALONE_FOR, |span| span.0));
    let items = call.acting(asked.reason.as_deref()).cancel(&asked.what, span).await.map_err(Problem::of_name)?.collect();
    Ok(Cancelled { items })
}

async fn pause(call: Call, asked: What) -> Result<Paused, Problem> {
    Ok(call.acting(asked.reason.as_deref()).pause(asked.what.as_deref(), asked.reason.clone()).await?)
}

async fn resume(call: Call, asked: Resume) -> Result<Paused, Problem> {
    Ok(call.acting(asked.reason.as_deref()).resume(asked.what.as_deref(), asked.all).await?)
}

async fn accept(call: Call, asked: What) -> Result<Accepted, Problem> {
    Ok(call.acting(asked.reason.as_deref()).accept(asked.what.as_deref()).await?)
}

pub(crate) async fn request(call: &Call, asked: &TaskRequest) -> Result<Requested, Problem> {
    let requested = call.desk().request(call.who.name(), asked).await?;
    if requested.items == 0 {
        return Err(Problem::not_found("no gap of that is open: what is meant is there, or not due, or nobody expects it")
            .hint("`GET /v1/coverage` tells what is expected"));
    }
    Ok(requested)
}

#[derive(Serialize, JsonSchema)]
struct CycleBegun {
    status: &'static str,
}

async fn look_now(call: Call, asked: Reason) -> Result<CycleBegun, Problem> {
    begin_cycle(&call, asked.reason.as_deref()).await?;
    Ok(CycleBegun { status: "begun" })
}

pub(crate) async fn begin_cycle(call: &Call, reason: Option<&str>) -> Result<(), Problem> {
    begin(&*call.acting(reason)).await
}

pub(crate) async fn begin(engine: &dyn Answers) -> Result<(), Problem> {
    match engine.look().await?.begun {
        true => Ok(()),
        false => {
            Err(Problem::new(StatusCode::CONFLICT, "a look at the lake is under way already")
                .hint("`GET /v1/cycles` tells when it is over"))
        }
    }
}
