//! How many leases and results a second the state takes, every one on disk before the next step of its caller.
//!
//! `cargo run --release -p adce-store --example throughput [callers] [seconds] [folder]`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adce_core::gap::{Failure, Fault, Outcome};
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId, Uuid};
use adce_core::ports::{Store, StoreError};
use adce_core::record::{AttemptRecord, Change, Lease};
use adce_core::time::{BootId, Timestamp};
use adce_store::sqlite::{self, Opening, SqliteStore};
use adce_store::{Identity, Retention};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let callers = arguments.next().map_or(5, |text| text.parse().expect("callers: a number"));
    let span = arguments.next().map_or(3.0, |text| text.parse().expect("seconds: a number"));
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from).join(format!("adce-throughput-{}", std::process::id()));

    println!("one fsync of 4 KiB takes {:.0} µs here", fsync_micros(&folder));
    let (pairs, took) = measure(&folder.join("state.db"), callers, Duration::from_secs_f64(span));
    println!("{callers} callers: {:.0} leases and results a second, {pairs} in {took:.1} s", pairs as f64 / took);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

fn fsync_micros(folder: &std::path::Path) -> f64 {
    use std::io::Write;
    std::fs::create_dir_all(folder).expect("a folder can be made there");
    let mut file = std::fs::File::create(folder.join("fsync")).expect("a file can be made there");
    let rounds = 500;
    let start = Instant::now();
    for _ in 0..rounds {
        file.write_all(&[0; 4096]).and_then(|()| file.sync_data()).expect("it can be written");
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}

fn measure(path: &std::path::Path, callers: u32, span: Duration) -> (u64, f64) {
    let opening = Opening {
        identity: Identity { name: "throughput".into(), lake: "none".into() },
        boot_id: BootId("none".into()),
        now: Timestamp::now(),
        retention: Retention::default(),
    };
    let store = Arc::new(sqlite::open(path, &opening).expect("a new state"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let start = Instant::now();
    let pairs = runtime.block_on(async {
        let each: Vec<_> = (0..callers).map(|caller| tokio::spawn(take_turns(Arc::clone(&store), caller, start + span))).collect();
        let mut pairs = 0;
        for caller in each {
            pairs += caller.await.expect("no panic").expect("the state takes it");
        }
        pairs
    });
    (pairs, start.elapsed().as_secs_f64())
}

/// What an engine's slot does for a task of one item.
async fn take_turns(store: Arc<SqliteStore>, caller: u32, until: Instant) -> Result<u64, StoreError> {
    let mut turn = 0_u64;
    while Instant::now() < until {
        let gap = GapId { item: ItemId::of("none", [caller.to_string().as_str(), turn.to_string().as_str()]), episode: 1 };
        let attempt = AttemptId(Uuid::from_u128(u128::from(caller) << 64 | u128::from(turn)));
        let lease = Lease {
            attempt,
            token: FencingToken(0),
            task: TaskId::of("true", gap),
            collector: "true".into(),
            gaps: vec![gap],
            started_at: Timestamp::now(),
            until: adce_core::time::Moment::default(),
            staged: Vec::new(),
        };
        let token = store.lease(lease.clone()).await?;
        store.apply(vec![Change::Finish(result(&lease, token))]).await?;
        turn += 1;
    }
    Ok(turn)
}

fn result(lease: &Lease, token: FencingToken) -> AttemptRecord {
    let failure = Failure { fault: Fault::Item, message: "wrote nothing".into(), retry_after_s: None };
    AttemptRecord {
        attempt: lease.attempt,
        token,
        task: lease.task,
        collector: lease.collector.clone(),
        started_at: lease.started_at,
        ended_at: Timestamp::now(),
        ended: "exit 0".into(),
        requests: 0,
        outcomes: lease.gaps.iter().map(|gap| (*gap, Outcome::Failed(failure.clone()))).collect(),
        log_tail: String::new(),
        log: None,
        story: None,
        traffic: None,
    }
}
