//! A simulated year of attempts through the real state, on a clock of its own: how large the file is after each week.
//!
//! `cargo run --release -p adce-store --example year -- [attempts a week] [size, MiB]`; by default 100,000 a week, and the
//! default retention.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adce_core::gap::Outcome;
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId, Uuid};
use adce_core::ports::Store;
use adce_core::record::{AttemptRecord, Change, Lease};
use adce_core::time::{BootId, Timestamp};
use adce_store::sqlite::{self, Opening};
use adce_store::{Identity, Retention};

const WEEK: u64 = 7 * 24 * 3600;

/// Attempts whose commits share an fsync, as those of many slots do.
const TOGETHER: u64 = 100;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a whole number"));
    let a_week = numbers.next().unwrap_or(100_000);
    let retention = numbers.next().map_or(Retention::default(), |size| Retention { bytes: size << 20, ..Retention::default() });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("state.db");
    let since = Arc::new(AtomicU64::new(0));
    let clock = {
        let since = Arc::clone(&since);
        move || Duration::from_secs(since.load(Ordering::Relaxed))
    };
    let opening = Opening {
        identity: Identity { name: "year".into(), lake: "/lake".into() },
        boot_id: BootId("one".into()),
        now: Timestamp::UNIX_EPOCH,
        retention,
    };
    let store = Arc::new(sqlite::open_by(&path, &opening, clock).expect("a state"));
    println!("week  attempts   file MiB  log MiB  attempts/s  longest commit ms");
    for week in 0..52 {
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        for number in (0..a_week).step_by(TOGETHER as usize) {
            let second = week * WEEK + number * WEEK / a_week;
            since.store(second, Ordering::Relaxed);
            let commit = Instant::now();
            let attempts = (number..a_week.min(number + TOGETHER)).map(|number| one(&store, week * a_week + number, second));
            futures_of(attempts).await;
            longest = longest.max(commit.elapsed());
        }
        let mib = |suffix: &str| {
            let file = std::fs::metadata(format!("{}{suffix}", path.display()));
            file.map_or(0.0, |file| file.len() as f64 / f64::from(1 << 20))
        };
        println!(
            "{:>4}  {:>8}  {:>9.1}  {:>7.1}  {:>10.0}  {:>17.1}",
            week + 1,
            (week + 1) * a_week,
            mib(""),
            mib("-wal"),
            a_week as f64 / began.elapsed().as_secs_f64(),
            longest.as_secs_f64() * 1e3
        );
    }
}

/// All at once, and all of them over.
async fn futures_of(all: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) {
    let running: Vec<_> = all.map(tokio::spawn).collect();
    for one in running {
        one.await.expect("an attempt");
    }
}

fn one(store: &Arc<sqlite::SqliteStore>, number: u64, second: u64) -> impl Future<Output = ()> + Send + use<> {
    let store = Arc::clone(store);
    let gap = GapId { item: ItemId::of("d", [number.to_string().as_str()]), episode: 1 };
    let now = Timestamp::from_second(second as i64).expect("an instant");
    let lease = Lease {
        attempt: AttemptId(Uuid::from_u128(u128::from(number))),
        token: FencingToken(0),
        task: TaskId::of("c", gap),
        collector: "c".into(),
        gaps: vec![gap],
        started_at: now,
        until: adce_core::time::Moment::default(),
        staged: vec![],
    };
    async move {
        let token = store.lease(lease.clone()).await.expect("a lease");
        let record = AttemptRecord {
            attempt: lease.attempt,
            token,
            task: lease.task,
            collector: lease.collector,
            started_at: now,
            ended_at: now,
            ended: "exit 0".into(),
            requests: 1,
            outcomes: vec![(gap, Outcome::Done { etag: format!("{number:032x}"), size: 4_096, last_modified: now })],
            log_tail: String::new(),
            log: None,
            story: None,
            traffic: None,
        };
        store.apply(vec![Change::Finish(record)]).await.expect("an end");
    }
}
