//! Orders, a clock that moves only when told, and signals: each wait here is for somebody who tells, within a deadline.
#![allow(dead_code)]

pub mod attempt;
mod hand_clock;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_collect::Setting;
use adce_core::gap::Reason;
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId, Uuid};
use adce_core::ports::{
    Answer, Order, OrderItem, PermitId, PermitRefused, Permits, Progress, Report, Said, Settlement, Stop, StopSignal, Told,
};
use adce_core::record::ProcessRecord;
use adce_core::spec::{Batch, Collector, Environment, How, Output, Requests, RetryPolicy, Via};
use adce_core::time::Timestamp;
use async_trait::async_trait;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::{Pid, PidfdFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

#[allow(unused_imports)]
pub use self::hand_clock::{HandClock, boot_id, in_time};

pub const LONG: Duration = Duration::from_secs(600);
pub const GRACE: Duration = Duration::from_secs(10);

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

/// Returns once there is such a file. The kernel tells when something new is in the last folder on the way to it.
pub async fn appears(file: &Path) {
    let nearest = || file.ancestors().skip(1).find(|folder| folder.is_dir()).unwrap();
    let there = async {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let changes = readable(changes);
        while !file.exists() {
            let folder = nearest();
            inotify::add_watch(changes.get_ref(), folder, WatchFlags::CREATE | WatchFlags::MOVED_TO).unwrap();
            // It, or the next folder, may have come before anybody watched.
            if file.exists() || nearest() != folder {
                continue;
            }
            let mut told = changes.readable().await.unwrap();
            while rustix::io::read(changes.get_ref(), &mut [0; 4_096]).is_ok() {}
            told.clear_ready();
        }
    };
    in_time(&file.display().to_string(), there).await;
}

fn readable(descriptor: OwnedFd) -> AsyncFd<OwnedFd> {
    // SAFETY: it is owned by the `AsyncFd` alone, which closes it only after it is deregistered.
    unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.unwrap()
}

/// A process whose end somebody wants to hear of, though it is nobody's child here.
pub struct Watched(AsyncFd<OwnedFd>);

impl Watched {
    pub fn of(pid: i32) -> Self {
        let process = rustix::process::pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        Watched(readable(process))
    }

    pub async fn ends(&self) {
        let _ = in_time("a process ends", self.0.readable()).await.unwrap();
    }
}

pub fn collector(how: How) -> Collector {
    Collector {
        name: "test".into(),
        how,
        batch: Batch::default(),
        requests: Requests::default(),
        via: Via::None,
        pass: Default::default(),
        output: Output::Staged,
        timeout: LONG,
        retry: RetryPolicy::default(),
        breaker: None,
        environment: Environment::default(),
        resources: Default::default(),
        keep: Default::default(),
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
        set: None,
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
    Setting { briefly: Duration::ZERO, grace: GRACE, ..Setting::of_this_process() }
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

/// What the log says, without when and on which stream, which each line begins with; adce's own remarks are marked.
pub fn log(report: &Report) -> String {
    let line = |line: &str| {
        let (at, rest) = line.split_once(' ').unwrap();
        assert!(at.len() == 24 && at.ends_with('Z') && at.parse::<Timestamp>().is_ok(), "{line}");
        match rest.split_once(' ').unwrap() {
            ("out" | "err", text) => format!("{text}\n"),
            ("adce", text) => format!("[adce] {text}\n"),
            _ => panic!("{line}"),
        }
    };
    raw_log(report).lines().map(line).collect()
}

pub fn raw_log(report: &Report) -> String {
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

/// What an attempt has told so far.
#[derive(Default)]
pub struct Heard(watch::Sender<(Vec<ProcessRecord>, Option<Progress>)>);

impl Heard {
    pub fn note(&self, told: Told) {
        self.0.send_modify(|(started, progress)| match told {
            Told::Enclosed(_) => {}
            Told::Started(record) => started.push(record),
            Told::Progress(latest) => *progress = Some(latest),
        });
    }

    pub fn started(&self) -> Vec<ProcessRecord> {
        self.0.borrow().0.clone()
    }

    /// The one process that was started.
    pub async fn process(&self) -> ProcessRecord {
        let mut told = self.0.subscribe();
        let told = in_time("it goes on", told.wait_for(|(started, _)| !started.is_empty())).await.unwrap();
        assert_eq!(told.0.len(), 1);
        told.0[0].clone()
    }

    pub async fn progress(&self, wanted: Progress) {
        let mut told = self.0.subscribe();
        let _ = in_time("it is as far as that", told.wait_for(|(_, progress)| *progress == Some(wanted))).await.unwrap();
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

    fn uncovered(&self, _attempt: AttemptId, _host: &str, _passed: bool) {}
}

pub fn never() -> Stop {
    Button::new()
}

pub fn path(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}
