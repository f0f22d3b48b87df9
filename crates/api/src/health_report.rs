//! Whether an engine is well, in one word: for `adce health`, for whoever is on call, and for a load balancer.
//!
//! Well is not complete: a lake with gaps whose engine fills them is well. It is told from what [`Status`] says, so whoever has one has
//! the other, and both are of the same moment.

use adce_core::time::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::status::{EngineStatus, SourceState, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthWord {
    Healthy,
    /// It works, and something needs a look.
    Degraded,
    /// It does not do its work.
    Unhealthy,
}

impl HealthWord {
    pub fn word(self) -> &'static str {
        match self {
            HealthWord::Healthy => "healthy",
            HealthWord::Degraded => "degraded",
            HealthWord::Unhealthy => "unhealthy",
        }
    }
}

/// `adce health --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthReport {
    pub status: HealthWord,
    pub timestamp: Timestamp,
    pub complete: bool,
    /// `null`: no engine runs.
    pub uptime_seconds: Option<u64>,
    /// What keeps it from being healthy, the worst first.
    pub reasons: Vec<HealthReason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthReason {
    pub status: HealthWord,
    /// `engine`, `cycle`, `config`, a source, a dataset, …
    pub what: String,
    pub text: String,
}

impl HealthReport {
    pub fn of(status: &Status) -> HealthReport {
        let mut reasons: Vec<HealthReason> = match &status.engine {
            None => vec![reason(HealthWord::Unhealthy, "engine", "no engine runs")],
            Some(engine) => of_engine(engine, status.at),
        };
        let degraded = |what: &str, text: String| reason(HealthWord::Degraded, what, text);
        reasons.extend(status.held.iter().map(|surprise| degraded("surprise", format!("held: {surprise}"))));
        // A person who pauses everything knows it; by nobody's hand it is the engine that holds itself back.
        reasons.extend(status.paused.iter().filter(|line| line.of == "everything").map(|line| {
            degraded("paused", format!("starts nothing: {}", line.because.clone().unwrap_or_else(|| "paused by hand".into())))
        }));
        for (name, source) in &status.sources {
            if matches!(source.state, SourceState::Open | SourceState::HalfOpen) {
                let why = source.reason.clone().unwrap_or_default();
                reasons.push(degraded(name, format!("its breaker is {}: {why}", source.state.word())));
            }
        }
        reasons.extend(status.collectors.iter().map(|(name, collector)| degraded(name, format!("crashes: {}", collector.reason))));
        if status.gaps.exhausted > 0 {
            reasons.push(degraded("gaps", format!("{} used up all attempts", status.gaps.exhausted)));
        }
        for (name, dataset) in &status.datasets {
            if dataset.healthy == Some(false) {
                reasons.push(degraded(name, "has less than it requires".into()));
            }
        }
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.status));
        HealthReport {
            status: reasons.first().map_or(HealthWord::Healthy, |worst| worst.status),
            timestamp: status.at,
            complete: status.complete,
            uptime_seconds: status.engine.as_ref().map(|engine| seconds(status.at.duration_since(engine.started_at))),
            reasons,
        }
    }
}

fn of_engine(engine: &EngineStatus, at: Timestamp) -> Vec<HealthReason> {
    let mut reasons = Vec::new();
    if engine.stopping {
        reasons.push(reason(HealthWord::Degraded, "engine", "it is ending"));
    }
    let looked = engine.last_cycle.as_ref();
    if let Some((cycle, next)) = looked.zip(engine.next_cycle) {
        let every = next.duration_since(cycle.began_at);
        let late = at.duration_since(next);
        if late > every {
            reasons.push(reason(HealthWord::Unhealthy, "cycle", format!("the next full look is {} s late", late.as_secs())));
        }
    }
    if let Some(error) = looked.and_then(|cycle| cycle.error.as_ref()) {
        reasons.push(reason(HealthWord::Degraded, "cycle", format!("the last full look saw only part of the lake: {error}")));
    }
    reasons.extend(engine.config_errors.iter().map(|error| reason(HealthWord::Degraded, "config", format!("not in force: {error}"))));
    for feed in engine.feeds.iter().filter(|feed| feed.state == "failing") {
        reasons.push(reason(HealthWord::Degraded, &feed.feed, feed.reason.clone().unwrap_or_default()));
    }
    reasons
}

fn reason(status: HealthWord, what: &str, text: impl Into<String>) -> HealthReason {
    HealthReason { status, what: what.into(), text: text.into() }
}

fn seconds(span: SignedDuration) -> u64 {
    u64::try_from(span.as_secs()).unwrap_or_default()
}
