//! How many `/bin/true` attempts a second this machine runs, from order to report, with nothing recorded:
//! `cargo run --release -p adce-collect --example attempts -- [attempts] [at once]`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use adce_collect::{Collectors, Setting};
use adce_core::gap::Reason;
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId, Uuid};
use adce_core::ports::{Answer, Clock, Collect, Order, OrderItem, PermitId, PermitRefused, Permits, Rest, Settlement, StopSignal};
use adce_core::spec::{Batch, Collector, Environment, How, Output, Requests, RetryPolicy, Via};
use adce_core::time::{BootId, Boottime, Now, Timestamp};
use async_trait::async_trait;

struct Since(Instant);

#[async_trait]
impl Clock for Since {
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), boot: Boottime::from_micros(self.0.elapsed().as_micros() as u64) }
    }

    fn boot_id(&self) -> BootId {
        BootId("bench".into())
    }

    async fn sleep_until(&self, until: Boottime) {
        tokio::time::sleep_until((self.0 + Duration::from_micros(until.as_micros())).into()).await
    }
}

struct Nobody;

#[async_trait]
impl Permits for Nobody {
    async fn acquire(&self, attempt: AttemptId, _source: &str) -> Result<PermitId, PermitRefused> {
        Err(PermitRefused::NoSuchAttempt(attempt))
    }

    fn settle(&self, _permit: PermitId, _how: Settlement) {}

    fn answered(&self, _attempt: AttemptId, _source: &str, _answer: Answer) {}

    fn uncovered(&self, _attempt: AttemptId, _host: &str, _passed: bool) {}
}

#[async_trait]
impl StopSignal for Nobody {
    async fn stopped(&self) {
        std::future::pending().await
    }

    fn is_stopped(&self) -> bool {
        false
    }
}

fn order(collector: &Arc<Collector>, folder: &std::path::Path, number: usize) -> Order {
    let key = format!("a/b/{number}");
    let item = ItemId::of("d", [key.as_str()]);
    let gap = GapId { item, episode: 1 };
    let item = OrderItem {
        item,
        gap,
        dataset: "d".into(),
        key,
        set: None,
        reason: Reason::Missing,
        etag: None,
        last_modified: None,
        values: vec![("number".into(), number.to_string())],
        url: None,
        min_size: 1,
        valid: None,
    };
    Order {
        attempt: AttemptId(Uuid::now_v7()),
        token: FencingToken(1),
        task: TaskId::of("bench", gap),
        collector: collector.clone(),
        source: None,
        items: vec![item],
        argv: vec!["true".into()],
        folder: folder.join(number.to_string()),
        first_permit: None,
        gateway: None,
        lake: "/lake".into(),
    }
}

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let (attempts, at_once) = (numbers.next().unwrap_or(5_000), numbers.next().unwrap_or(5));
    let folder = tempfile::tempdir().expect("a folder for the attempts");
    let collector = Arc::new(Collector {
        name: "bench".into(),
        how: How::Command(Vec::new()),
        batch: Batch::default(),
        requests: Requests::default(),
        via: Via::None,
        pass: Default::default(),
        output: Output::Staged,
        timeout: Duration::from_secs(600),
        retry: RetryPolicy::default(),
        breaker: None,
        environment: Environment::default(),
        resources: Default::default(),
        keep: Default::default(),
        cwd: folder.path().to_owned(),
    });
    let clock = Arc::new(Since(Instant::now()));
    let collectors = Arc::new(Collectors::new(Setting::of_this_process(), Vec::new(), Arc::new(Nobody), clock));
    let (next, began, path) = (Arc::new(AtomicUsize::new(0)), Instant::now(), folder.path().to_owned());
    let workers = (0..at_once).map(|_| {
        let (collectors, collector, next, path) = (collectors.clone(), collector.clone(), next.clone(), path.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= attempts {
                    return;
                }
                let order = order(&collector, &path, number);
                let report = collectors.collect(order.clone(), &|_| {}, Arc::new(Nobody)).await;
                assert_eq!(report.rest, Rest::LookInLake, "{report:?}");
                let _ = tokio::fs::remove_dir_all(order.folder).await;
            }
        })
    });
    for worker in workers.collect::<Vec<_>>() {
        worker.await.expect("a worker");
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{attempts} attempts, {at_once} at once: {:.0} a second", attempts as f64 / seconds);
}
