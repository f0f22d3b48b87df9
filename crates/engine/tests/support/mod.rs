//! A real engine over a local lake and a state in memory. Attempts do what a script says, the clock what the test says.
#![allow(dead_code)]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use adce_core::ids::{AttemptId, ItemId};
use adce_core::ports::{
    Admission, Clock, Collect, Gate, ItemReport, Lake, Listener, Order, OrderItem, Passed, Permits, Report, Said, Stop, Store,
};
use adce_core::report::Reports;
use adce_core::spec::{self, ConfigFile, Pass, Spec};
use adce_core::time::{BootId, Boottime, Now, SignedDuration, Timestamp};
use adce_engine::{Ending, Engine, EngineError, Handle, Inbox, Options, Ports};
use adce_lake::LocalLake;
use adce_lake::tables::ConfigFolder;
use adce_store::memory::MemoryStore;
use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with a lake, and the state beside it. They outlive their engines.
pub struct Place {
    folder: tempfile::TempDir,
    spec: Arc<Spec>,
    pub store: MemoryStore,
    pub clock: Arc<HandClock>,
    /// How far ahead a retry may lie that a run waits for.
    pub max_wait: Duration,
    /// Goes on for good.
    pub stays: bool,
    /// What the store reports of its lake by itself.
    pub reports: Option<Arc<dyn Reports>>,
}

/// What one attempt of a script sees of the world.
pub struct Scene {
    /// Attempts that began before this one.
    pub number: usize,
    pub order: Order,
    pub stop: Stop,
    pub permits: Arc<dyn Permits>,
}

/// An engine at work.
pub struct Running {
    pub handle: Handle,
    /// Attempts that have begun.
    pub begun: Arc<AtomicUsize>,
    ends: JoinHandle<Result<Ending, EngineError>>,
}

impl Place {
    /// Of a config's parts below `dimensions: number: [1, 2, 3]`.
    pub fn new(parts: &str) -> Self {
        Place::beside(&[], parts)
    }

    /// The same, with these files beside the config.
    pub fn beside(files: &[(&str, &str)], parts: &str) -> Self {
        Place::of("./lake", files, parts)
    }

    /// The same of any lake.
    pub fn of(lake: &str, files: &[(&str, &str)], parts: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lake")).unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
        let text = format!("version: 1\nname: scripted\nlake: {lake}\ndimensions:\n  number: [1, 2, 3]\n{parts}");
        let file = ConfigFile { name: "adce.yaml".into(), text };
        let spec = spec::load(&[file], folder.path(), &|_| None, &ConfigFolder::new(folder.path())).spec();
        let spec = Arc::new(spec.unwrap_or_else(|problems| panic!("{problems:#?}")));
        let (store, clock) = (MemoryStore::new(), HandClock::new());
        Place { folder, spec, store, clock, max_wait: Duration::ZERO, stays: false, reports: None }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn lake(&self) -> LocalLake {
        LocalLake::new(self.folder.path().join("lake"))
    }

    /// Starts an engine whose attempts do what `script` says.
    pub async fn run<F>(&self, script: impl Fn(Scene) -> F + Send + Sync + 'static) -> Running
    where
        F: Future<Output = Report> + Send + 'static,
    {
        self.run_on(Arc::new(self.lake()), Arc::new(self.store.clone()), script).await
    }

    /// As [`Place::run`], over a lake with moods of its own.
    pub async fn run_over<F>(&self, lake: Arc<dyn Lake>, script: impl Fn(Scene) -> F + Send + Sync + 'static) -> Running
    where
        F: Future<Output = Report> + Send + 'static,
    {
        self.run_on(lake, Arc::new(self.store.clone()), script).await
    }

    /// As [`Place::run`], with a state that has moods as well.
    pub async fn run_on<F>(
        &self,
        lake: Arc<dyn Lake>,
        store: Arc<dyn Store>,
        script: impl Fn(Scene) -> F + Send + Sync + 'static,
    ) -> Running
    where
        F: Future<Output = Report> + Send + 'static,
    {
        self.run_with(Inbox::default(), lake, store, script).await
    }

    /// The engine's counter for permits, and the inbox of that engine.
    pub fn desk(&self) -> (Arc<dyn Permits>, Inbox) {
        let inbox = Inbox::default();
        (Arc::new(inbox.permits()), inbox)
    }

    /// As [`Place::run`], of an engine whose inbox is known.
    pub async fn run_in<F>(&self, inbox: Inbox, script: impl Fn(Scene) -> F + Send + Sync + 'static) -> Running
    where
        F: Future<Output = Report> + Send + 'static,
    {
        self.run_with(inbox, Arc::new(self.lake()), Arc::new(self.store.clone()), script).await
    }

    /// An engine that does not run yet, whose attempts never end.
    pub async fn engine(&self, inbox: Inbox) -> Engine {
        let never = |_| -> BoxFuture<'static, Report> { Box::pin(std::future::pending()) };
        let collect = Scripted { script: Box::new(never), begun: Arc::default(), permits: Arc::new(inbox.permits()) };
        self.assemble(inbox, Arc::new(self.lake()), Arc::new(self.store.clone()), collect).await
    }

    async fn run_with<F>(
        &self,
        inbox: Inbox,
        lake: Arc<dyn Lake>,
        store: Arc<dyn Store>,
        script: impl Fn(Scene) -> F + Send + Sync + 'static,
    ) -> Running
    where
        F: Future<Output = Report> + Send + 'static,
    {
        let (handle, begun) = (inbox.handle(), Arc::new(AtomicUsize::new(0)));
        let collect =
            Scripted { script: Box::new(move |scene| Box::pin(script(scene))), begun: begun.clone(), permits: Arc::new(inbox.permits()) };
        let engine = self.assemble(inbox, lake, store, collect).await;
        Running { handle, begun, ends: tokio::spawn(engine.run()) }
    }

    async fn assemble(&self, inbox: Inbox, lake: Arc<dyn Lake>, store: Arc<dyn Store>, collect: Scripted) -> Engine {
        let ports = Ports {
            clock: self.clock.clone(),
            lake,
            store,
            collect: Arc::new(collect),
            gate: Arc::new(NoGate),
            tables: Arc::new(ConfigFolder::new(self.folder.path())),
            reports: self.reports.clone(),
            attempts_folder: self.folder.path().join("attempts"),
            logs_folder: self.folder.path().join("logs"),
        };
        let options = Options { max_wait: self.max_wait, stays: self.stays, seed: 1, ..Options::default() };
        let remembered = self.store.load().await.unwrap();
        let (notices, _) = mpsc::unbounded_channel();
        Engine::new(self.spec.clone(), ports, options, inbox, remembered, notices).await.unwrap()
    }

    /// Of the lake, in order.
    pub fn objects(&self) -> Vec<String> {
        let mut names = Vec::new();
        list(&self.folder.path().join("lake"), "", &mut names);
        names.sort();
        names
    }

    /// Somebody writes a file beside the config.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Somebody takes an object away.
    pub fn remove(&self, key: &str) {
        std::fs::remove_file(self.folder.path().join("lake").join(key)).unwrap();
    }

    /// Keys of the gaps that are on record, in order.
    pub async fn gaps(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.store.load().await.unwrap().gaps.into_iter().map(|gap| gap.key).collect();
        keys.sort();
        keys
    }
}

fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true if name == ".adce-tmp" => {}
            true => list(&entry.path(), &format!("{name}/"), names),
            false => names.push(name),
        }
    }
}

impl Running {
    pub async fn end(self) -> Result<Ending, EngineError> {
        tokio::time::timeout(PATIENCE, self.ends).await.expect("the engine hangs").expect("the loop panicked")
    }

    pub async fn have_begun(&self, attempts: usize) {
        until("so many attempts have begun", async || self.begun.load(Ordering::SeqCst) >= attempts).await;
    }
}

impl Scene {
    /// A whole file for every item.
    pub fn staged(&self) -> Report {
        let staged = self.order.items.iter().map(|item| self.stage(item));
        Report { items: staged.collect(), ended: "scripted".into(), ..Report::default() }
    }

    /// A whole file for this one.
    pub fn stage(&self, item: &OrderItem) -> ItemReport {
        let path = self.order.staged_path(item);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &item.key).unwrap();
        ItemReport { item: item.item, said: Said::Staged(path) }
    }

    /// Whole files of a set.
    pub fn stage_set(&self, item: &OrderItem, files: &[(&str, &str)]) -> ItemReport {
        let folder = self.order.staged_path(item);
        std::fs::create_dir_all(&folder).unwrap();
        let stage = |(name, content): &(&str, &str)| {
            std::fs::write(folder.join(name), content).unwrap();
            folder.join(name)
        };
        ItemReport { item: item.item, said: Said::Parts(files.iter().map(stage).collect()) }
    }

    /// Into the lake, past adce.
    pub fn write_directly(&self, item: &OrderItem, content: &str) -> ItemReport {
        let path = Path::new(&self.order.lake).join(&item.key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        ItemReport { item: item.item, said: Said::Done }
    }

    pub fn item(&self) -> ItemId {
        self.order.items[0].item
    }
}

/// Returns once `holds`; a claim that never comes true fails here instead of hanging. Mostly it asks the loop, which has
/// its turn on this thread before it answers.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::task::yield_now().await;
    }
}

type Script = Box<dyn Fn(Scene) -> BoxFuture<'static, Report> + Send + Sync>;

struct Scripted {
    script: Script,
    begun: Arc<AtomicUsize>,
    permits: Arc<dyn Permits>,
}

#[async_trait]
impl Collect for Scripted {
    fn take_back(&self, folder: &Path) {
        let _ = std::fs::remove_dir_all(folder);
    }

    async fn collect(&self, order: Order, _listener: Listener<'_>, stop: Stop) -> Report {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        (self.script)(Scene { number, order, stop, permits: self.permits.clone() }).await
    }
}

struct NoGate;

impl Gate for NoGate {
    fn admit(&self, _attempt: AttemptId, _pass: Pass) -> Option<Admission> {
        None
    }

    fn admit_guest(&self, _guest: AttemptId, _only: Option<Vec<String>>) -> Option<Admission> {
        Some(Admission::default())
    }

    fn enclosed(&self, _attempt: AttemptId, _inside: std::os::fd::OwnedFd) {}

    fn dismiss(&self, _attempt: AttemptId) -> Passed {
        Passed::default()
    }
}

/// Stands still until it is advanced.
pub struct HandClock {
    boot: watch::Sender<Boottime>,
    wall_at_zero: Mutex<Timestamp>,
}

impl HandClock {
    fn new() -> Arc<Self> {
        let boot = Boottime::from_secs(1_000);
        let wall_at_zero = Timestamp::now() - SignedDuration::from_secs(1_000);
        Arc::new(HandClock { boot: watch::Sender::new(boot), wall_at_zero: Mutex::new(wall_at_zero) })
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn jump(&self, span: SignedDuration) {
        let mut wall_at_zero = self.wall_at_zero.lock().unwrap();
        *wall_at_zero += span;
    }

    pub fn advance(&self, span: Duration) {
        self.boot.send_modify(|now| *now = *now + span);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Now {
        let boot = *self.boot.borrow();
        let since = SignedDuration::try_from(boot.since(Boottime::default())).unwrap();
        Now { wall: *self.wall_at_zero.lock().unwrap() + since, boot }
    }

    fn boot_id(&self) -> BootId {
        BootId("by hand".into())
    }

    async fn sleep_until(&self, until: Boottime) {
        let _ = self.boot.subscribe().wait_for(|now| *now >= until).await;
    }
}

/// A value that several attempts write down.
pub type Notes<T> = Arc<Mutex<Vec<T>>>;
