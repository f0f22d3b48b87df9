//! What happens, told to everybody who watches: server-sent events, made once however many watch.
//!
//! The engine is asked once a second while somebody watches, and what is as it was is not told again. Who does not keep up is dropped
//! and connects again by himself, as browsers do: then he has the latest at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adce_api::{CycleStatus, GapCounts, Share, SourceState, Status};
use adce_core::ids::{AttemptId, TaskId};
use adce_core::time::Timestamp;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::VecDeque;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, timeout};

use crate::access::Who;
use crate::desk::Desk;
use crate::problem::Problem;

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// A proxy that hears nothing for longer ends the connection.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// So many events late, and a viewer is dropped.
const BEHIND_AT_MOST: usize = 16;
const VIEWERS_AT_MOST: usize = 200;
const CYCLES_KEPT: usize = 500;

/// What moves, in a few hundred bytes.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Pulse {
    pub(crate) at: Timestamp,
    pub(crate) complete: bool,
    pub(crate) present: u64,
    /// Expected − absent.
    pub(crate) wanted: u64,
    pub(crate) gaps: GapCounts,
    pub(crate) slots: Share,
    pub(crate) running: Vec<RunningNow>,
    pub(crate) sources: IndexMap<String, SourceState>,
    pub(crate) paused: Vec<String>,
    pub(crate) look: u64,
    pub(crate) last_cycle: Option<Timestamp>,
    pub(crate) eta_seconds: Option<f64>,
    pub(crate) stopping: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct RunningNow {
    pub(crate) attempt: AttemptId,
    pub(crate) task: TaskId,
    pub(crate) landed: u64,
    pub(crate) of: u64,
}

impl Pulse {
    fn of(status: &Status) -> Pulse {
        let items = &status.coverage.items;
        let running = status.running.iter().map(|running| RunningNow {
            attempt: running.attempt,
            task: running.task,
            landed: running.landed,
            of: running.landing,
        });
        Pulse {
            at: status.at,
            complete: status.complete,
            present: items.present,
            wanted: items.wanted(),
            gaps: status.gaps,
            slots: status.slots,
            running: running.collect(),
            sources: status.sources.iter().map(|(name, source)| (name.clone(), source.state)).collect(),
            paused: status.paused.iter().map(adce_api::PauseLine::words).collect(),
            look: status.look.len() as u64,
            last_cycle: status.engine.as_ref().and_then(|engine| engine.last_cycle.as_ref()).map(|cycle| cycle.began_at),
            eta_seconds: status.eta_seconds,
            stopping: status.engine.as_ref().is_some_and(|engine| engine.stopping),
        }
    }

    /// Time passes always; that alone is no news.
    fn is_news_after(&self, before: &Pulse) -> bool {
        let timeless = |pulse: &Pulse| Pulse { at: Timestamp::UNIX_EPOCH, eta_seconds: None, ..pulse.clone() };
        timeless(self) != timeless(before)
    }

    fn event(&self) -> Bytes {
        let data = serde_json::to_string(self).unwrap_or_default();
        format!("event: status\ndata: {data}\n\n").into()
    }
}

/// A full look that is over.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct CycleLine {
    #[serde(flatten)]
    pub(crate) cycle: CycleStatus,
    /// What it found, all gaps that were open by then.
    pub(crate) gaps: u64,
    pub(crate) present: u64,
    pub(crate) wanted: u64,
}

pub(crate) struct Feed {
    told: broadcast::Sender<Bytes>,
    viewers: Arc<Semaphore>,
    cycles: Arc<Mutex<VecDeque<CycleLine>>>,
    looking: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

impl Feed {
    pub(crate) fn begin(desk: Arc<dyn Desk>) -> Feed {
        let (told, _) = broadcast::channel(BEHIND_AT_MOST);
        let cycles = Arc::default();
        let looking = tokio::spawn(look(desk, told.clone(), Arc::clone(&cycles)));
        Feed { told, viewers: Arc::new(Semaphore::new(VIEWERS_AT_MOST)), cycles, looking }
    }

    /// Since this engine started, the latest first.
    pub(crate) fn cycles(&self) -> Vec<CycleLine> {
        self.cycles.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
    }

    /// From now on, until the viewer's token does not hold any more.
    pub(crate) async fn watch(&self, desk: Arc<dyn Desk>, who: Who) -> Result<Response, Problem> {
        let place = self.viewers.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{VIEWERS_AT_MOST} watch already");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).after(Duration::from_secs(30))
        })?;
        let events = self.told.subscribe();
        let first = Pulse::of(&desk.status().await?).event();
        let rest = stream::unfold((events, place, desk, who), |(mut events, place, desk, who)| async move {
            let told = match timeout(SIGN_OF_LIFE, events.recv()).await {
                Err(_) => Bytes::from_static(b": still here\n\n"),
                Ok(Ok(event)) => event,
                // Too far behind, or the engine is ending.
                Ok(Err(_)) => return None,
            };
            still_holds(&*desk, &who).then_some((told, (events, place, desk, who)))
        });
        let begin = Bytes::from_static(b"retry: 2000\n\n");
        let events = stream::iter([begin, first]).chain(rest).map(Ok::<_, std::convert::Infallible>);
        let mut response = Body::from_stream(events).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

fn still_holds(desk: &dyn Desk, who: &Who) -> bool {
    match who {
        Who::Anybody => true,
        Who::Token { name, .. } => {
            let now = desk.now();
            desk.known_tokens().iter().any(|token| token.name == *name && token.holds(now))
        }
    }
}

async fn look(desk: Arc<dyn Desk>, told: broadcast::Sender<Bytes>, cycles: Arc<Mutex<VecDeque<CycleLine>>>) {
    let mut looks = tokio::time::interval(BETWEEN_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before: Option<Pulse> = None;
    loop {
        looks.tick().await;
        let Ok(status) = desk.status().await else { continue };
        note_cycle(&status, &mut cycles.lock().unwrap_or_else(PoisonError::into_inner));
        let pulse = Pulse::of(&status);
        if told.receiver_count() > 0 && before.as_ref().is_none_or(|before| pulse.is_news_after(before)) {
            // Nobody listens any more: then nobody needs it.
            let _ = told.send(pulse.event());
        }
        before = Some(pulse);
    }
}

fn note_cycle(status: &Status, cycles: &mut VecDeque<CycleLine>) {
    let Some(cycle) = status.engine.as_ref().and_then(|engine| engine.last_cycle.as_ref()) else { return };
    if cycles.back().is_some_and(|known| known.cycle.began_at == cycle.began_at) {
        return;
    }
    if cycles.len() >= CYCLES_KEPT {
        cycles.pop_front();
    }
    let items = &status.coverage.items;
    cycles.push_back(CycleLine { cycle: cycle.clone(), gaps: items.gaps(), present: items.present, wanted: items.wanted() });
}
