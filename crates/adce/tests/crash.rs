//! The real binary, killed with SIGKILL at random moments and started again until the lake is complete. Checked from
//! outside: by the upstream's own log, the files in the lake, and what `adce gaps` says at the end.
//!
//! `ADCE_KILLS=200 cargo test -p adce --test crash -- --nocapture` kills more often than the 20 times of a normal run.

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adce_demo::{Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use support::place::{children_of, signal, wait_for};

const LIMIT_PER_SECOND: u64 = 60;
const SLOTS: u64 = 6;

#[test]
fn killed_at_any_moment_nothing_is_lost_torn_doubled_or_sent_too_fast() {
    let kills: u64 = std::env::var("ADCE_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(20);
    let seed: u64 = std::env::var("ADCE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("{kills} kills, seed {seed} (ADCE_SEED={seed} repeats the moments)");
    let mut random = StdRng::seed_from_u64(seed);
    // As many items as keep the engine busy for a good half second after each kill.
    let items = kills * 30;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("arrivals.log");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let upstream = runtime.block_on(start_upstream(&log)).expect("a loopback port");
    write_config(folder.path(), items, &upstream.address().to_string());

    let mut killed = 0;
    let deadline = Instant::now() + Duration::from_secs(120 + 5 * kills);
    let completed = loop {
        assert!(Instant::now() < deadline, "not complete after {killed} kills");
        let mut engine = start_engine(folder.path());
        if killed == kills {
            break engine.wait().expect("an exit code").code();
        }
        // One kill in four hits the start itself; the others come while requests are under way.
        let before = upstream.figures().requests;
        let after_ms = random.random_range(0..600);
        let at_work = random.random_range(0..4) > 0;
        let begun = || !at_work || upstream.figures().requests > before;
        if let Some(ended) = wait_until(&mut engine, begun, Duration::from_millis(after_ms)) {
            break ended;
        }
        // Half of the kills hit the engine itself, half of them the guardian above it.
        kill(&mut engine, killed % 2 == 0);
        killed += 1;
    };
    assert_eq!(completed, Some(0), "the last engine completes the lake");

    let figures = upstream.figures();
    assert_eq!(figures.windows_exceeded, 0, "no window is exceeded across {killed} restarts: {figures:?}");
    check_lake(folder.path(), items);
    check_arrivals(&log, items, killed);
    let gaps = Command::new(env!("CARGO_BIN_EXE_adce")).args(["gaps", "--format", "json"]).current_dir(folder.path()).output();
    assert_eq!(String::from_utf8_lossy(&gaps.expect("adce gaps").stdout), "", "no gap is left");
    println!(
        "{killed} kills, {} requests for {} objects, fullest second {} of {LIMIT_PER_SECOND}",
        figures.requests,
        2 * items,
        figures.fullest[0]
    );
}

/// Returns when neither of the two is there any more. Until it has an engine, a guardian is killed either way.
fn kill(guardian: &mut Child, rather_the_engine: bool) {
    let engine = children_of(guardian.id() as i32).first().copied();
    match engine {
        Some(engine) if rather_the_engine => signal("-KILL", engine),
        _ => guardian.kill().expect("SIGKILL"),
    }
    guardian.wait().expect("the guardian is reaped");
    let is_there = || engine.is_some_and(|engine| Path::new(&format!("/proc/{engine}")).exists());
    wait_for("the engine to go with its guardian", || !is_there());
}

/// Waits until it has begun, and then for `span`. The code with which it ended by itself meanwhile, if it did.
fn wait_until(engine: &mut Child, begun: impl Fn() -> bool, span: Duration) -> Option<Option<i32>> {
    let mut moment = None;
    loop {
        if let Some(ended) = engine.try_wait().expect("the engine's state") {
            return Some(ended.code());
        }
        if moment.is_none() && begun() {
            moment = Some(Instant::now() + span);
        }
        if moment.is_some_and(|moment| Instant::now() >= moment) {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn start_engine(folder: &Path) -> Child {
    let output = std::fs::File::options().create(true).append(true).open(folder.join("engine.log")).expect("a log");
    Command::new(env!("CARGO_BIN_EXE_adce"))
        .args(["run", "--yes"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("a handle"))
        .stderr(output)
        .spawn()
        .expect("adce starts")
}

/// Every object is there, whole, and nothing else is.
fn check_lake(folder: &Path, items: u64) {
    for number in 0..items {
        for kind in ["web", "box"] {
            let path = folder.join(format!("lake/{kind}/{number:06}.txt"));
            let found = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(found, body(&format!("/{kind}/{number:06}")), "{} is torn", path.display());
        }
    }
    let left: Vec<_> = std::fs::read_dir(folder.join("lake/.adce-tmp")).map(|entries| entries.flatten().collect()).unwrap_or_default();
    assert!(left.is_empty(), "temporary files are left: {left:?}");
}

/// Each object was asked for once, but for the requests that were under way when an engine was killed.
fn check_arrivals(log: &Path, items: u64, killed: u64) {
    let text = std::fs::read_to_string(log).expect("the upstream's log");
    let mut asked: HashMap<&str, u64> = HashMap::new();
    for line in text.lines() {
        *asked.entry(line.split(' ').nth(2).expect("a path")).or_default() += 1;
    }
    assert_eq!(asked.len() as u64, 2 * items, "every object was asked for, and nothing else");
    let again: u64 = asked.values().map(|times| times - 1).sum();
    assert!(again <= killed * LOST_WITH_AN_ENGINE, "{again} requests were sent again after {killed} kills");
    println!("{again} requests were sent again after {killed} kills");
    assert!(killed < 20 || again > 0, "no kill met a request under way: the harness proves nothing");
}

/// One task a slot; of a killed command's batch nothing was published, and it is fetched again whole.
const LOST_WITH_AN_ENGINE: u64 = SLOTS * BATCH;
const BATCH: u64 = 4;

fn body(path: &str) -> Vec<u8> {
    path.bytes().cycle().take(3_000).collect()
}

async fn start_upstream(log: &Path) -> std::io::Result<Upstream> {
    Upstream::start(UpstreamConfig {
        limits: vec![Limit { requests: LIMIT_PER_SECOND, span: Duration::from_secs(1) }],
        latency_ms: (0, 20),
        moods: Moods::default(),
        seed: 1,
        log: Some(std::fs::File::create(log)?),
        content: Arc::new(|path: &str| Some(Bytes::from(body(path)))),
    })
    .await
}

fn write_config(folder: &Path, items: u64, address: &str) {
    std::fs::create_dir(folder.join("lake")).expect("a lake");
    let rows: String = (0..items).map(|number| format!("{number:06}\n")).collect();
    std::fs::write(folder.join("numbers.csv"), format!("number\n{rows}")).expect("a table");
    let scraper = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/urls.py");
    std::fs::copy(scraper, folder.join("urls.py")).expect("the scraper is copied");
    let config = format!(
        r#"version: 1
name: crash
lake: ./lake
sources:
  up:
    hosts: ["{address}"]
    base_url: http://{address}
    limits: {{ per_second: {LIMIT_PER_SECOND}, in_flight: {SLOTS} }}
    breaker: off
dimensions:
  number: {{ table: numbers.csv, id: number }}
datasets:
  web:
    source: up
    key: web/{{number}}.txt
    for: number
    min_size: 3000B
    collector:
      http: {{ url: "http://{address}/web/{{number}}" }}
      retry: {{ attempts: 5, backoff: 100ms..500ms }}
  box:
    source: up
    key: box/{{number}}.txt
    for: number
    min_size: 3000B
    collector:
      command: [python3, urls.py, /box/]
      via: gateway
      batch: {{ size: {BATCH} }}
      retry: {{ attempts: 5, backoff: 100ms..500ms }}
engine: {{ max_concurrent: {SLOTS} }}
"#
    );
    std::fs::write(folder.join("adce.yaml"), config).expect("the config is written");
}
