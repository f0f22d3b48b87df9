//! Orders, a clock that moves only when told, and conditions with a deadline.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adce_collect::Setting;
use adce_core::gap::Reason;
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId, Uuid};
use adce_core::ports::{
    Answer, Clock, Order, OrderItem, PermitId, PermitRefused, Permits, Progress, Report, Said, Settlement, Stop, StopSignal, Told,
};
use adce_core::record::ProcessRecord;
use adce_core::spec::{Batch, Collector, Environment, How, Output, Requests, RetryPolicy, Via};
use adce_core::time::{BootId, Boottime, Now, Timestamp};
use async_trait::async_trait;
use tokio::sync::watch;

pub const LONG: Duration = Duration::from_secs(600);
pub const GRACE: Duration = Duration::from_secs(10);

/// Stands still until it is advanced.
pub struct HandClock(watch::Sender<Boottime>);

impl HandClock {
    pub fn new() -> Arc<Self> {
        Arc::new(HandClock(watch::Sender::new(Boottime::from_secs(1_000))))
    }

    pub fn advance(&self, span: Duration) {
        self.0.send_modify(|now| *now = *now + span);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Now {
        Now { wall: Timestamp::UNIX_EPOCH, boot: *self.0.borrow() }
    }

    fn boot_id(&self) -> BootId {
        boot_id()
    }

    async fn sleep_until(&self, until: Boottime) {
        let _ = self.0.subscribe().wait_for(|now| *now >= until).await;
    }
}

pub fn boot_id() -> BootId {
    BootId(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().into())
}

pub struct Button(watch::Sender<bool>);

impl Button {
    pub fn new() -> Arc<Self> {
        Arc::new(Button(watch::Sender::new(false)))
    }

    pub fn press(&self) {
        self.0.send_replace(true);
    }
}

#[async_trait]
impl StopSignal for Button {
    async fn stopped(&self) {
        let _ = self.0.subscribe().wait_for(|pressed| *pressed).await;
    }

    fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}

/// Returns once `holds`; a claim that never comes true fails here instead of hanging.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub fn collector(how: How) -> Collector {
    Collector {
        name: "test".into(),
        how,
        batch: Batch::default(),
        requests: Requests::default(),
        via: Via::None,
        output: Output::Staged,
        timeout: LONG,
        retry: RetryPolicy::default(),
        breaker: None,
        environment: Environment::default(),
        cwd: std::env::temp_dir(),
    }
}

pub fn item(key: &str) -> OrderItem {
    let item = ItemId::of("d", [key]);
    OrderItem {
        item,
        gap: GapId { item, episode: 1 },
        dataset: "d".into(),
        key: key.into(),
        reason: Reason::Missing,
        etag: None,
        last_modified: None,
        values: vec![("id".into(), key.into())],
        url: None,
        min_size: 1,
        valid: None,
    }
}

pub fn order(collector: Collector, folder: &Path, items: Vec<OrderItem>) -> Order {
    Order {
        attempt: AttemptId(Uuid::now_v7()),
        token: FencingToken(1),
        task: TaskId::of("test", items[0].gap),
        collector: Arc::new(collector),
        source: Some("espn".into()),
        items,
        argv: Vec::new(),
        folder: folder.to_owned(),
        first_permit: None,
        gateway: None,
        lake: "/lake".into(),
    }
}

pub fn setting() -> Setting {
    Setting { grace: GRACE, keep_bytes: 64 << 10, briefly: Duration::ZERO, environment: std::env::vars_os().collect() }
}

/// What was said of the item with this key.
pub fn said<'a>(report: &'a Report, key: &str) -> Option<&'a Said> {
    let item = ItemId::of("d", [key]);
    report.items.iter().find(|report| report.item == item).map(|report| &report.said)
}

pub fn staged_text(report: &Report, key: &str) -> String {
    match said(report, key) {
        Some(Said::Staged(file)) => std::fs::read_to_string(file).unwrap(),
        other => panic!("`{key}` is not staged but {other:?}"),
    }
}

pub fn log(report: &Report) -> String {
    report.log.as_ref().map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).unwrap_or_default()
}

/// Whether the process runs, zombies apart.
pub fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

pub fn read_pid(path: &Path) -> Option<i32> {
    std::fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok()
}

#[derive(Default)]
pub struct Started(pub Mutex<Vec<ProcessRecord>>, pub Mutex<Vec<Progress>>);

impl Started {
    pub fn note(&self, told: Told) {
        match told {
            Told::Started(record) => self.0.lock().unwrap().push(record),
            Told::Progress(progress) => self.1.lock().unwrap().push(progress),
        }
    }

    pub fn only(&self) -> ProcessRecord {
        let records = self.0.lock().unwrap();
        assert_eq!(records.len(), 1);
        records[0].clone()
    }
}

/// Commands never ask for any.
pub struct NoPermits;

#[async_trait]
impl Permits for NoPermits {
    async fn acquire(&self, attempt: AttemptId, _source: &str) -> Result<PermitId, PermitRefused> {
        Err(PermitRefused::NoSuchAttempt(attempt))
    }

    fn settle(&self, _permit: PermitId, _how: Settlement) {}

    fn answered(&self, _attempt: AttemptId, _source: &str, _answer: Answer) {}
}

pub fn never() -> Stop {
    Button::new()
}

pub fn path(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}
