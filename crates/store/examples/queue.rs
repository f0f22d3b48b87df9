//! The queue without the work: how fast tasks that do nothing go through it, how long the pick takes and what a queued task
//! weighs. The dispatcher is the real one, the state a real file.
//!
//! `cargo run --release -p adce-store --example queue -- drain [tasks] [folder]`: enqueues, leases, completes; each lease is on
//! disk before its task counts as started, each result before the end is told (WAL, `synchronous=FULL`). With `--json` as the
//! last word: the seconds of both, for `bench/run peers`.
//! `... -- pick [tasks]...`: nanoseconds of one pick, and bytes of memory a task.
//! `... -- values [values]...`: the same where each of so many customers has limits of its own (100,000 tasks in all), while all have
//! room, and when all have used theirs up.
//! `... -- latency [tasks] [folder]`: from a new gap to its durable start, one at a time.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use adce_core::coverage::{TableError, TableFile, TableFiles};
use adce_core::gap::{Gap, Outcome, Progress, Reason};
use adce_core::ids::{AttemptId, GapId, ItemId, Uuid};
use adce_core::ports::Store;
use adce_core::queue::{Dispatcher, GapNews, Pick, Rules, Start};
use adce_core::record::{AttemptRecord, Change, Remembered};
use adce_core::spec::{self, ConfigFile, PriorityLevel};
use adce_core::time::{BootId, Boottime, Now, SignedDuration, Timestamp};
use adce_store::sqlite::{self, Opening, SqliteStore};
use adce_store::{Identity, Retention};

/// As the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SOURCES: usize = 5;
const LEVELS: [(PriorityLevel, &str); 4] =
    [(PriorityLevel::Critical, "critical"), (PriorityLevel::High, "high"), (PriorityLevel::Medium, "medium"), (PriorityLevel::Low, "low")];
/// A queue is drained by so many takers, each of which takes so many tasks at once: as pg-boss is at its best.
const TAKERS: usize = 4;
const AT_ONCE: usize = 5_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let mut rest: Vec<String> = arguments.collect();
    let as_json = rest.pop_if(|word| word == "--json").is_some();
    let number = |at: usize, default: usize| rest.get(at).map_or(default, |text| text.parse().expect("a number of tasks"));
    let folder = |at: usize| rest.get(at).map_or_else(std::env::temp_dir, PathBuf::from).join(format!("adce-queue-{}", std::process::id()));
    match what.as_str() {
        "drain" => drain(number(0, 200_000), folder(1), as_json),
        "latency" => latency(number(0, 2_000), folder(1)),
        "pick" if rest.is_empty() => [1_000, 100_000, 1_000_000].into_iter().for_each(pick),
        "pick" => (0..rest.len()).for_each(|at| pick(number(at, 0))),
        "values" if rest.is_empty() => [1_000, 10_000].into_iter().for_each(values),
        "values" => (0..rest.len()).for_each(|at| values(number(at, 0))),
        _ => panic!("drain, latency, pick or values"),
    }
}

// ------------------------------------------------------------------------------------------------------------- drain

fn drain(tasks: usize, folder: PathBuf, as_json: bool) {
    std::fs::create_dir_all(&folder).expect("a folder can be made there");
    let store = open(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let gaps: Vec<Gap> = (0..tasks).map(gap).collect();
    let (enqueued, drained) = runtime.block_on(async {
        let mut dispatcher = dispatcher();
        let mut items = HashMap::new();
        let began = Instant::now();
        // As pg-boss and Graphile Worker are measured: many at once, each call durable when it returns.
        for some in gaps.chunks(10_000) {
            let changes = dispatcher.reconcile(GapNews { opened: some.to_vec(), ..GapNews::default() }, now());
            store.apply(changes).await.expect("it is written");
        }
        let enqueued = began.elapsed();
        let (mut taken, mut recording) = (VecDeque::new(), Vec::new());
        loop {
            while taken.len() < TAKERS {
                let starts = take(&mut dispatcher);
                if starts.is_empty() {
                    break;
                }
                let leases: Vec<_> = starts.iter().map(|start| begun(store.lease_ahead(start.lease.clone()))).collect();
                taken.push_back((starts, leases));
            }
            let Some((starts, leases)) = taken.pop_front() else { break };
            for (start, lease) in starts.iter().zip(leases) {
                let outcomes = filled(start);
                let mut changes = vec![Change::Finish(record(start, lease.await.expect("it is leased"), &outcomes))];
                changes.extend(dispatcher.ended(start.attempt, &outcomes, &mut items, now(), || 0.5));
                recording.push(begun(store.record(changes)));
            }
        }
        for recorded in recording {
            recorded.await.expect("it is written");
        }
        assert_eq!(items.len(), tasks, "all are done");
        (enqueued, began.elapsed())
    });
    let rate = |span: Duration| tasks as f64 / span.as_secs_f64();
    if as_json {
        println!(r#"{{"enqueued": {}, "drained": {}}}"#, enqueued.as_secs_f64(), (drained - enqueued).as_secs_f64());
    } else {
        println!(
            "drain: {tasks} tasks: enqueued at {:.0} a second, leased and completed at {:.0}, both together {:.0} a second",
            rate(enqueued),
            rate(drained - enqueued),
            rate(drained)
        );
    }
    drop(store);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

/// The best tasks, as many as one takes at once.
fn take(dispatcher: &mut Dispatcher) -> Vec<Start> {
    let mut starts = Vec::with_capacity(AT_ONCE);
    while starts.len() < AT_ONCE
        && let Pick::Start(start) = dispatcher.pick(now(), |_| AttemptId(Uuid::now_v7()))
    {
        starts.push(*start);
    }
    starts
}

/// Polled once, so that it is in its place in the store's queue.
fn begun<'a, T: 'a>(write: impl Future<Output = T> + Send + 'a) -> std::pin::Pin<Box<dyn Future<Output = T> + 'a>> {
    let mut write: std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>> = Box::pin(write);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match write.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => Box::pin(std::future::ready(done)),
        std::task::Poll::Pending => write,
    }
}

// ----------------------------------------------------------------------------------------------------------- latency

fn latency(tasks: usize, folder: PathBuf) {
    std::fs::create_dir_all(&folder).expect("a folder can be made there");
    let store = open(&folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut spans = runtime.block_on(async {
        let mut dispatcher = dispatcher();
        let (mut items, mut spans) = (HashMap::new(), Vec::new());
        for number in 0..tasks {
            let began = Instant::now();
            let opened = vec![gap(number)];
            let changes = dispatcher.reconcile(GapNews { opened, ..GapNews::default() }, now());
            let recording = begun(store.record(changes));
            let Pick::Start(start) = dispatcher.pick(now(), |_| AttemptId(Uuid::now_v7())) else { panic!("nothing starts") };
            let token = store.lease(start.lease.clone()).await.expect("it is leased");
            spans.push(began.elapsed());
            recording.await.expect("it is written");
            let outcomes = filled(&start);
            let mut changes = vec![Change::Finish(record(&start, token, &outcomes))];
            changes.extend(dispatcher.ended(start.attempt, &outcomes, &mut items, now(), || 0.5));
            store.apply(changes).await.expect("it is written");
        }
        spans
    });
    spans.sort();
    let ms = |at: usize| spans[at].as_secs_f64() * 1e3;
    println!("latency: {tasks} gaps, from seen to leased on disk: p50 {:.2} ms, p99 {:.2} ms", ms(tasks / 2), ms(tasks * 99 / 100));
    drop(store);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

// -------------------------------------------------------------------------------------------------------------- pick

fn pick(tasks: usize) {
    const PICKS: usize = 20_000;
    let mut dispatcher = dispatcher();
    let mut items = HashMap::new();
    let before = resident_bytes();
    for first in (0..tasks).step_by(10_000) {
        let opened = (first..tasks.min(first + 10_000)).map(gap).collect();
        drop(dispatcher.reconcile(GapNews { opened, ..GapNews::default() }, now()));
    }
    let after = resident_bytes();
    let mut spans = Vec::with_capacity(PICKS);
    for number in 0..PICKS {
        let at = now();
        let began = Instant::now();
        let picked = dispatcher.pick(at, |_| AttemptId(Uuid::from_u128(number as u128)));
        spans.push(began.elapsed());
        let Pick::Start(start) = picked else { panic!("nothing starts") };
        dispatcher.ended(start.attempt, &filled(&start), &mut items, at, || 0.5);
        // The queue stays as long as it is.
        dispatcher.reconcile(GapNews { opened: vec![gap(tasks + number)], ..GapNews::default() }, at);
    }
    spans.sort();
    let micros = |at: usize| spans[at].as_secs_f64() * 1e6;
    println!(
        "pick: {tasks} tasks queued in {} classes: p50 {:.2} us, p99 {:.2} us; {:.0} bytes a task, {:.0} MB in all",
        SOURCES * LEVELS.len(),
        micros(PICKS / 2),
        micros(PICKS * 99 / 100),
        (after - before) as f64 / tasks as f64,
        after as f64 / 1e6
    );
}

// ------------------------------------------------------------------------------------------------------------ values

fn values(values: usize) {
    const TASKS: usize = 100_000;
    const PICKS: usize = 10_000;
    let of_customer = |number: usize| Gap { group: vec![format!("customer {}", number % values)], ..gap(LEVELS.len() * SOURCES * number) };
    let world = |per_minute: usize| {
        let mut text = String::from("version: 1\nname: queue\nlake: ./lake\ndimensions: { number: [1], customer: [1] }\nsources:\n");
        text.push_str(&format!(
            "  s0: {{ hosts: [s0.test], limits: [ {{ per_minute: 100000000 }}, {{ by: customer, per_minute: {per_minute} }} ] }}\n"
        ));
        text.push_str("collectors: { c0: { command: [unused], breaker: off } }\n");
        text.push_str("datasets: { critical0: { source: s0, key: '{customer}/{number}', for: [customer, number], priority: critical, collector: c0 } }\n");
        let mut dispatcher = dispatcher_of(text);
        let gaps = (0..TASKS).map(of_customer).collect();
        drop(dispatcher.reconcile(GapNews { opened: gaps, ..GapNews::default() }, now()));
        dispatcher
    };
    let mut items = HashMap::new();
    let mut with_room = world(1_000_000);
    let mut spans = Vec::with_capacity(PICKS);
    for number in 0..PICKS {
        let at = now();
        let began = Instant::now();
        let picked = with_room.pick(at, |_| AttemptId(Uuid::from_u128(number as u128)));
        spans.push(began.elapsed());
        let Pick::Start(start) = picked else { panic!("nothing starts") };
        with_room.ended(start.attempt, &filled(&start), &mut items, at, || 0.5);
        with_room.reconcile(GapNews { opened: vec![of_customer(TASKS + number)], ..GapNews::default() }, at);
    }
    // Each has one; what is left waits for most of a minute.
    let (mut used_up, at) = (world(1), now());
    let began = Instant::now();
    let mut started = 0;
    while let Pick::Start(start) = used_up.pick(at, |_| AttemptId(Uuid::from_u128(started))) {
        used_up.ended(start.attempt, &filled(&start), &mut items, at, || 0.5);
        started += 1;
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / started as f64;
    let mut idle: Vec<Duration> = (0..PICKS)
        .map(|_| {
            let (at, began) = (now(), Instant::now());
            assert!(matches!(used_up.pick(at, |_| AttemptId(Uuid::now_v7())), Pick::Idle(_)));
            began.elapsed()
        })
        .collect();
    spans.sort();
    idle.sort();
    let micros = |spans: &[Duration], permille: usize| spans[spans.len() * permille / 1_000].as_secs_f64() * 1e6;
    println!(
        "values: {TASKS} tasks of {values} customers: with room p50 {:.2} us, p99 {:.2} us; until {started} have used theirs up {each:.2} us a start and its end; \
         then a look that finds nothing p50 {:.2} us, p99 {:.2} us",
        micros(&spans, 500),
        micros(&spans, 990),
        micros(&idle, 500),
        micros(&idle, 990),
    );
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells it");
    4096 * statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages")
}

// ------------------------------------------------------------------------------------------------------------ a world

struct NoTables;

impl TableFiles for NoTables {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        unreachable!("no table, and somebody reads `{pattern}`")
    }
}

/// Every priority of every source is a dataset: each makes a class.
fn dispatcher() -> Dispatcher {
    let mut text = String::from("version: 1\nname: queue\nlake: ./lake\ndimensions: { number: [1] }\nsources:\n");
    (0..SOURCES).for_each(|source| text.push_str(&format!("  s{source}: {{ hosts: [s{source}.test], importance: 1.{source} }}\n")));
    text.push_str("datasets:\n");
    for source in 0..SOURCES {
        for (_, level) in LEVELS {
            text.push_str(&format!(
                "  {level}{source}: {{ source: s{source}, key: '{level}{source}/{{number}}', for: number, priority: {level}, collector: c{source} }}\n"
            ));
        }
    }
    text.push_str("collectors:\n");
    (0..SOURCES).for_each(|source| text.push_str(&format!("  c{source}: {{ command: [unused] }}\n")));
    dispatcher_of(text)
}

fn dispatcher_of(text: String) -> Dispatcher {
    let folder = std::env::temp_dir();
    let loaded = spec::load(&[ConfigFile { name: "adce.yaml".into(), text }], &folder, &|_| None, &NoTables);
    let mut rules = Rules::of(&loaded.spec().unwrap_or_else(|problems| panic!("the world of this benchmark: {:?}", problems.first())));
    rules.slots = (TAKERS * AT_ONCE) as u32;
    Dispatcher::new(rules, &mut Remembered::default(), BootId("queue".into()), now()).0
}

fn gap(number: usize) -> Gap {
    let (level, name) = LEVELS[number % LEVELS.len()];
    let dataset = format!("{name}{}", number / LEVELS.len() % SOURCES);
    let detected_at = Timestamp::UNIX_EPOCH + SignedDuration::from_secs((number * 7_919 % 86_400) as i64);
    Gap {
        id: GapId { item: ItemId::of(&dataset, [number.to_string().as_str()]), episode: 1 },
        key: format!("{dataset}/2024-25/{number:010}.json"),
        dataset,
        reason: Reason::Missing,
        detected_at,
        due: Some(detected_at),
        priority: level,
        group: Vec::new(),
        etag: None,
        last_modified: None,
        fingerprint: 1,
        progress: Progress::default(),
    }
}

fn filled(start: &Start) -> Vec<(GapId, Outcome)> {
    let done = |gap: &Gap| (gap.id, Outcome::Done { etag: "\"0\"".into(), size: 1, last_modified: Timestamp::UNIX_EPOCH });
    start.gaps.iter().map(done).collect()
}

fn record(start: &Start, token: adce_core::ids::FencingToken, outcomes: &[(GapId, Outcome)]) -> AttemptRecord {
    AttemptRecord {
        attempt: start.attempt,
        token,
        task: start.task.id,
        collector: start.task.collector.clone(),
        started_at: Timestamp::now(),
        ended_at: Timestamp::now(),
        ended: "exit 0".into(),
        requests: 0,
        outcomes: outcomes.to_vec(),
        log_tail: String::new(),
        log: None,
        story: None,
        traffic: None,
    }
}

fn now() -> Now {
    let wall = Timestamp::now();
    Now { wall, boot: Boottime(wall.as_microsecond().unsigned_abs()) }
}

fn open(folder: &std::path::Path) -> SqliteStore {
    let opening = Opening {
        identity: Identity { name: "queue".into(), lake: "none".into() },
        boot_id: BootId("queue".into()),
        now: Timestamp::now(),
        retention: Retention::default(),
    };
    sqlite::open(&folder.join("state.db"), &opening).expect("a new state")
}
