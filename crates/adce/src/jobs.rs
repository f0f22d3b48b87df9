//! Jobs: commands on a schedule, without items, run beside the engine in its slots and under its limits.
//!
//! A job is a guest of the engine: each of its requests through the gateway takes a permit of its own. It takes a slot like an attempt, and starts nothing while everything is
//! paused. Its output is a log beside those of attempts; its runs are remembered in the state.
//!
//! Always true: no run of a job starts while another of it runs; what was due while nobody was there has one run or none, as declared, and a restart in
//! between does not change that (`crates/core/src/schedule.rs`, `crates/adce/tests/jobs.rs`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::{FencingToken, GapId, ItemId, TaskId};
use adce_core::job::{JobRecord, JobRun, RUNS_KEPT};
use adce_core::ports::{Clock, Collect, Order, Store};
use adce_core::record::Change;
use adce_core::schedule::due;
use adce_core::spec::{How, Job, Post};
use adce_core::time::{SignedDuration, Timestamp};
use adce_engine::{Handle, JobSlot, Query};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::clock::MachineClock;
use crate::in_force::InForce;
use crate::wiring::Workshop;

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
const WEBHOOK_WITHIN: Duration = Duration::from_secs(30);

pub struct Jobs {
    pub in_force: InForce,
    pub engine: Handle,
    pub workshop: Arc<Workshop>,
    pub store: Arc<dyn Store>,
    pub logs: PathBuf,
    pub attempts: PathBuf,
    pub records: BTreeMap<String, JobRecord>,
}

/// A run that is to start, or to be tried again.
#[derive(Clone)]
struct Pending {
    job: Arc<Job>,
    due: Timestamp,
    missed: u32,
    seen_to: Timestamp,
    /// Starts that have failed.
    tried: u32,
    not_before: Timestamp,
}

struct Ended {
    pending: Pending,
    run: JobRun,
}

impl Jobs {
    /// For as long as it is polled.
    pub async fn run(mut self) {
        let mut looks = tokio::time::interval(BETWEEN_LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pending: BTreeMap<String, Pending> = BTreeMap::new();
        let mut running: JoinSet<Ended> = JoinSet::new();
        let mut busy: Vec<String> = Vec::new();
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    // Whoever panicked has said so; its run is not on record, and the next one comes by the schedule.
                    let Ok(Ended { pending: run, run: record }) = ended else { continue };
                    busy.retain(|name| *name != run.job.name);
                    if let Some(again) = self.ended(run, record).await {
                        pending.insert(again.job.name.clone(), again);
                    }
                    continue;
                }
            }
            let (spec, now) = (self.in_force.spec(), MachineClock.now().wall);
            pending.retain(|name, _| spec.jobs.contains_key(name));
            for (name, job) in &spec.jobs {
                let record = self.records.entry(name.clone()).or_insert_with(|| JobRecord { seen_to: now, runs: Vec::new() });
                if busy.contains(name) || pending.contains_key(name) {
                    continue;
                }
                let Some(what) = due(&job.schedule, job.missed, record.seen_to, now) else { continue };
                match what.run {
                    Some(at) => {
                        let run =
                            Pending { job: job.clone(), due: at, missed: what.missed, seen_to: what.seen_to, tried: 0, not_before: now };
                        pending.insert(name.clone(), run);
                    }
                    None => {
                        tracing::warn!("job `{name}`: {} missed while nobody was there, and left out", what.missed);
                        record.seen_to = what.seen_to;
                        let change = Change::PutJob(name.clone(), record.clone());
                        let _ = self.store.apply(vec![change]).await;
                    }
                }
            }
            for run in pending.values().filter(|run| run.not_before <= now).cloned().collect::<Vec<_>>() {
                // Without one it asks again; the next slot that gets free is kept for it meanwhile.
                let Some(Some(slot)) = self.engine.ask(|reply| Query::Slot(run.job.source.clone(), reply)).await else { continue };
                pending.remove(&run.job.name);
                busy.push(run.job.name.clone());
                self.begun(&run, &slot, now).await;
                running.spawn(start(run, slot, self.engine.clone(), self.workshop.clone(), self.attempts.clone(), self.logs.clone()));
            }
        }
    }

    /// That it was seen to is on record before it begins: a kill costs the run, and never gives two.
    async fn begun(&mut self, pending: &Pending, slot: &JobSlot, now: Timestamp) {
        let record = self.records.entry(pending.job.name.clone()).or_default();
        record.seen_to = record.seen_to.max(pending.seen_to);
        if pending.tried == 0 {
            let (due, missed) = (Some(pending.due), pending.missed);
            record.runs.push(JobRun { run: Some(slot.id), due, missed, started_at: now, ..JobRun::default() });
            let surplus = record.runs.len().saturating_sub(RUNS_KEPT);
            record.runs.drain(..surplus);
        }
        let _ = self.store.apply(vec![Change::PutJob(pending.job.name.clone(), record.clone())]).await;
    }

    /// `Some`: it is tried again.
    async fn ended(&mut self, pending: Pending, mut run: JobRun) -> Option<Pending> {
        let job = pending.job.clone();
        let tried = pending.tried + 1;
        run.attempts = tried;
        let again = !run.ok && tried < job.collector.retry.attempts;
        if run.ok {
            run.post_failed = self.after(&job, &run).await;
        }
        for failed in &run.post_failed {
            tracing::warn!("job `{}`: after it, {failed}", job.name);
        }
        if !run.ok {
            tracing::warn!("job `{}` failed: {}", job.name, run.ended.as_deref().unwrap_or_default());
        }
        let record = self.records.entry(job.name.clone()).or_default();
        run.due = Some(pending.due);
        run.missed = pending.missed;
        match record.runs.last_mut() {
            Some(last) => *last = run,
            None => record.runs.push(run),
        }
        let _ = self.store.apply(vec![Change::PutJob(job.name.clone(), record.clone())]).await;
        again.then(|| {
            let retry = &job.collector.retry;
            let pause = retry.backoff_min.saturating_mul(1 << pending.tried.min(16)).min(retry.backoff_max);
            let pause = SignedDuration::try_from(pause).unwrap_or_default();
            let not_before = MachineClock.now().wall.saturating_add(pause).unwrap_or(Timestamp::MAX);
            Pending { tried, not_before, ..pending }
        })
    }

    async fn after(&self, job: &Job, run: &JobRun) -> Vec<String> {
        let mut failed = Vec::new();
        for post in &job.post {
            match post {
                Post::Reconcile => {
                    if self.engine.ask(Query::Look).await != Some(true) {
                        // One is under way that may have passed by already.
                        self.engine.look_again();
                    }
                }
                Post::Webhook(url) => failed.extend(tell(url, job, run).await.err()),
            }
        }
        failed
    }
}

async fn tell(url: &str, job: &Job, run: &JobRun) -> Result<(), String> {
    let body =
        serde_json::json!({ "job": job.name, "due": run.due, "started_at": run.started_at, "ended_at": run.ended_at, "ended": run.ended });
    let failed = |error: reqwest::Error| format!("the webhook could not be told: {}", error.without_url());
    let client = reqwest::Client::builder().timeout(WEBHOOK_WITHIN).build().map_err(failed)?;
    let request = client.post(url).header("content-type", "application/json").body(body.to_string());
    request.send().await.and_then(reqwest::Response::error_for_status).map(drop).map_err(failed)
}

async fn start(pending: Pending, slot: JobSlot, engine: Handle, workshop: Arc<Workshop>, attempts: PathBuf, logs: PathBuf) -> Ended {
    let (job, id) = (pending.job.clone(), slot.id);
    let started_at = MachineClock.now().wall;
    let runtime = tokio::runtime::Handle::current();
    let attempted = tokio::task::spawn_blocking(move || {
        let collectors = workshop.collectors();
        let folder = collectors.folder(&attempts, slot.id, &job.collector, &[]);
        let How::Command(argv) = &job.collector.how else { return ("it is no command".to_owned(), false, None) };
        let argv = argv.iter().map(|part| part.fill_many(&[], None)).collect::<Result<Vec<_>, _>>();
        let argv = match argv {
            Ok(argv) => argv,
            Err(error) => return (error.to_string(), false, None),
        };
        let order = Order {
            attempt: slot.id,
            token: FencingToken(0),
            // It has none; a collector is told the job's own name by its argv.
            task: TaskId::of(&job.name, GapId { item: ItemId::of(&job.name, ["job"]), episode: 1 }),
            collector: job.collector.clone(),
            source: job.source.clone(),
            items: Vec::new(),
            argv,
            folder: folder.clone(),
            first_permit: None,
            gateway: Some(slot.admission.clone()),
            lake: String::new(),
        };
        let report = runtime.block_on(collectors.collect(order, &|_| {}, slot.stop.clone()));
        let kept = logs.join(format!("{}.log", slot.id));
        let log = report.log.as_ref().and_then(|log| std::fs::rename(log, &kept).ok()).map(|()| kept);
        collectors.take_back(&folder);
        let ok = report.ended == "exit 0";
        (report.ended, ok, log)
    });
    let (ended, ok, log) = attempted.await.unwrap_or_else(|_| ("a bug: it panicked".into(), false, None));
    let requests = engine
        .ask(|reply| Query::SlotBack(id, reply))
        .await
        .flatten()
        .map_or(0, |used| used.sources.values().map(|source| source.requests).sum());
    let run = JobRun {
        run: Some(id),
        started_at,
        ended_at: Some(MachineClock.now().wall),
        ended: Some(ended),
        ok,
        requests,
        log,
        ..JobRun::default()
    };
    Ended { pending, run }
}
