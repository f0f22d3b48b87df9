//! Which adapters stand behind the engine's ports, and the order in which an engine takes over from a dead one.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adce_collect::{Collectors, Setting, Upstream, end_predecessors, end_strays};
use adce_core::failpoint::{self, Failpoint};
use adce_core::kept::KeptAnswers;
use adce_core::pacing::Pacing;
use adce_core::ports::{Clock, Lake, LakeError, Store};
use adce_core::record::Remembered;
use adce_core::report::Reports;
use adce_core::spec::{LakeUrl, Spec};
use adce_core::time::Timestamp;
use adce_engine::{Engine, Handle, Inbox, Notice, Options, PermitDesk, Ports};
use adce_gateway::{Answers, Authority, Gateway, Route, Rules};
use adce_inventory::tables::Decoded;
use adce_inventory::{Deliveries, Shelf};
use adce_lake::rows::{Keeping, RowsKept};
use adce_lake::tables::ConfigFolder;
use adce_store::Identity;
use adce_store::sqlite::{self, Opening};
use tokio::sync::mpsc;

use crate::clock::MachineClock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::logs::LogKeeper;
use crate::state_place::StatePlace;

/// How long to wait for the processes of a killed engine to be gone. They get SIGKILL; only an uninterruptible sleep
/// in the kernel takes longer than moments.
const PREDECESSORS_PATIENCE: Duration = Duration::from_secs(30);

/// An engine ready to run, and what must live as long as it.
pub struct Wired {
    pub engine: Engine,
    pub handle: Handle,
    pub notices: mpsc::UnboundedReceiver<Notice>,
    /// Owns the state: a second engine is refused while it lives.
    pub store: Arc<dyn Store>,
    /// Ends with the run.
    pub gateway: Arc<Gateway>,
    /// Of what another config would be put together.
    pub workshop: Arc<Workshop>,
    /// Ends with the run. `None`: the logs are whoever's who asked for them.
    pub logs: Option<LogKeeper>,
}

/// Tables beside the config, and what is known of those that are derived from collected objects.
pub fn tables(spec: &Spec, keeping: Keeping) -> Decoded<ConfigFolder> {
    Decoded(ConfigFolder::new(&spec.folder).with_rows(RowsKept::new(StatePlace::of(spec).rows(), keeping)))
}

/// The lake as the config names it.
pub fn lake_words(lake: &LakeUrl) -> String {
    match lake {
        LakeUrl::Folder(folder) => folder.display().to_string(),
        LakeUrl::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned(),
    }
}

/// Where the store reports what lies in the lake, if the config says so.
pub fn reports(spec: &Spec) -> Result<Option<Arc<dyn Reports>>, LakeError> {
    let shelf = match &spec.reports {
        None => return Ok(None),
        Some(url @ LakeUrl::Folder(folder)) => Shelf::folder(adce_lake::open(url)?, folder),
        // A manifest names its files from the root of the bucket.
        Some(LakeUrl::S3 { bucket, prefix }) => {
            Shelf::bucket(adce_lake::open(&LakeUrl::S3 { bucket: bucket.clone(), prefix: String::new() })?, prefix)
        }
    };
    Ok(Some(Arc::new(Deliveries::new(shelf, StatePlace::of(spec).reports()))))
}

pub fn identity(spec: &Spec, lake: &dyn Lake) -> Identity {
    Identity { name: spec.name.clone(), lake: lake.identity() }
}

/// Takes the state, ends what a killed predecessor left running, and puts an engine together.
pub async fn wire(spec: Arc<Spec>, options: Options) -> Result<Wired, Failure> {
    let lake = adce_lake::open(&spec.lake)?;
    let store = take_state(&spec, &*lake).await?;
    let place = StatePlace::of(&spec);
    remove_leftovers(&place.attempts());
    failpoint::reached(Failpoint::LeftoversRemoved);
    lake.sweep().await?;
    failpoint::reached(Failpoint::LakeSwept);
    let logs = LogKeeper::start(place.logs(), spec.engine.logs).await;
    let wired = assemble(
        spec,
        options,
        lake,
        store,
        Folders { attempts: place.attempts(), logs: place.logs(), authority: place.authority(), answers: place.answers() },
    )
    .await?;
    Ok(Wired { logs: Some(logs), ..wired })
}

/// Removes what attempts of engines that are gone have left. Whatever else lies in a folder of that name is somebody else's.
fn remove_leftovers(attempts: &Path) {
    for entry in std::fs::read_dir(attempts).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().parse::<adce_core::ids::Uuid>().is_ok() && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The state, owned from now on, with nothing left running of the engine before.
pub async fn take_state(spec: &Spec, lake: &dyn Lake) -> Result<Arc<dyn Store>, Failure> {
    let clock = MachineClock;
    let opening =
        Opening { identity: identity(spec, lake), boot_id: clock.boot_id(), now: clock.now().wall, retention: spec.engine.history };
    let path = StatePlace::of(spec).state().to_owned();
    let store: Arc<dyn Store> = Arc::new(blocking(move || sqlite::open(&path, &opening)).await?);
    let remembered = store.load().await?;
    take_over(&remembered).await?;
    failpoint::reached(Failpoint::PredecessorsEnded);
    Ok(store)
}

/// Where attempts work, and where their logs stay.
pub struct Folders {
    pub attempts: PathBuf,
    pub logs: PathBuf,
    /// Of the gateway's certificate authority, and of other files that clients are pointed to.
    pub authority: PathBuf,
    /// Of answers that are kept for sources with a cache.
    pub answers: PathBuf,
}

/// `lake`: where it answers.
fn gateway_rules(
    spec: &Spec,
    lake: Option<String>,
    folders: &Folders,
    kept: Option<Arc<dyn KeptAnswers>>,
    pacing: Arc<Pacing>,
    now: Timestamp,
) -> Result<Rules, Failure> {
    let authority = &folders.authority;
    let routes: Vec<Route> = spec.sources.values().map(|source| Route::of(source, &spec.limits)).collect();
    let is_needed = routes.iter().any(|route| route.intercept);
    // Who declares no upstream has nothing to be counted.
    let folder = (!routes.is_empty()).then(|| authority.clone());
    let authority = is_needed.then(|| Authority::open(authority, now).map(Arc::new)).transpose().map_err(|error| {
        let message = format!("the gateway's certificate authority cannot be kept in `{}`: {error}", authority.display());
        Failure::new(Exit::Unfinished, message)
    })?;
    Ok(Rules {
        routes,
        strict: spec.gateway.strict,
        no_proxy: spec.gateway.no_proxy.clone(),
        lake,
        authority,
        folder,
        kept,
        pacing: Some(pacing),
        stand_in: None,
    })
}

/// Where answers lie of sources that have a cache; `None`: there are none.
fn kept_answers(spec: &Spec, folder: &Path) -> Result<Option<Arc<dyn KeptAnswers>>, Failure> {
    if !spec.sources.values().any(|source| source.cache.validators) {
        return Ok(None);
    }
    let answers = Answers::open(folder, spec.gateway.cache_size).map_err(|error| {
        let message = format!("answers cannot be kept in `{}`: {error}", folder.display());
        Failure::new(Exit::Unfinished, message)
    })?;
    Ok(Some(Arc::new(answers)))
}

/// An engine over these adapters.
pub async fn assemble(
    spec: Arc<Spec>,
    options: Options,
    lake: Arc<dyn Lake>,
    store: Arc<dyn Store>,
    folders: Folders,
) -> Result<Wired, Failure> {
    let clock = Arc::new(MachineClock);
    for folder in [&folders.attempts, &folders.logs] {
        // What scrapers write and print is for nobody else. Who comes to need a folder says why there is none.
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    }
    let remembered = store.load().await?;
    let inbox = Inbox::default();
    let workshop = Arc::new(Workshop::new(lake, store.clone(), folders, &inbox, clock));
    let (ports, gateway) = workshop.ports(&spec).await?;
    let handle = inbox.handle();
    let (to_notices, notices) = mpsc::unbounded_channel();
    let engine = Engine::new(spec, ports, options, inbox, remembered, to_notices).await?;
    Ok(Wired { engine, handle, notices, store, gateway, workshop, logs: None })
}

/// What an engine is put together from. Another config is put together from the same: one lake, one state, one that starts processes.
pub struct Workshop {
    lake: Arc<dyn Lake>,
    store: Arc<dyn Store>,
    folders: Folders,
    permits: Arc<PermitDesk>,
    clock: Arc<MachineClock>,
    collectors: Collectors,
    /// Answers that are kept, once a config keeps some.
    kept: Mutex<Option<Arc<dyn KeptAnswers>>>,
}

impl Workshop {
    fn new(lake: Arc<dyn Lake>, store: Arc<dyn Store>, folders: Folders, inbox: &Inbox, clock: Arc<MachineClock>) -> Self {
        let permits = Arc::new(inbox.permits());
        let collectors = Collectors::new(Setting::of_this_process(), Vec::new(), permits.clone(), clock.clone());
        Workshop { lake, store, folders, permits, clock, collectors, kept: Mutex::new(None) }
    }

    /// What an engine needs of the world under this config: a gateway of its own among it, so attempts under an earlier one keep theirs.
    pub async fn ports(&self, spec: &Spec) -> Result<(Ports, Arc<Gateway>), Failure> {
        let kept = self.kept(spec)?;
        let pacing = Pacing::of(spec, self.clock.clone());
        let rules = gateway_rules(spec, self.lake.answers_at(), &self.folders, kept.clone(), pacing.clone(), self.clock.now().wall)?;
        let gateway = Gateway::start(rules, self.permits.clone(), self.clock.clone()).await;
        let gateway = gateway.map_err(|error| Failure::new(Exit::Unfinished, format!("the gateway cannot start: {error}")))?;
        let gateway = Arc::new(gateway);
        let upstreams = spec.sources.values().map(|source| Upstream::of(source, &spec.limits)).collect();
        let collectors = self.collectors.again(upstreams).with_pacing(pacing);
        let collectors = kept.into_iter().fold(collectors, Collectors::with_kept);
        let ports = Ports {
            clock: self.clock.clone(),
            lake: self.lake.clone(),
            store: self.store.clone(),
            collect: Arc::new(collectors),
            gate: gateway.clone(),
            tables: Arc::new(tables(spec, Keeping::OnDisk)),
            reports: reports(spec)?,
            attempts_folder: self.folders.attempts.clone(),
            logs_folder: self.folders.logs.clone(),
        };
        Ok((ports, gateway))
    }

    /// Two of these over one folder would remove each other's files.
    fn kept(&self, spec: &Spec) -> Result<Option<Arc<dyn KeptAnswers>>, Failure> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = kept_answers(spec, &self.folders.answers)?;
        }
        let is_wanted = spec.sources.values().any(|source| source.cache.validators);
        Ok(kept.clone().filter(|_| is_wanted))
    }
}

/// Nothing of the attempts that the state remembers runs any more when it returns: neither in the groups that were
/// recorded nor outside of them.
async fn take_over(remembered: &Remembered) -> Result<(), Failure> {
    let processes = remembered.processes.clone();
    let attempts = remembered.leases.iter().map(|lease| lease.attempt).chain(processes.iter().map(|process| process.attempt)).collect();
    let (groups, strays) = blocking(move || {
        let groups = end_predecessors(&processes, &MachineClock.boot_id(), PREDECESSORS_PATIENCE);
        (groups, end_strays(&attempts, PREDECESSORS_PATIENCE))
    })
    .await;
    let alive = groups.iter().flat_map(|group| &group.survivors).chain(&strays.survivors);
    let alive: std::collections::BTreeSet<String> = alive.map(ToString::to_string).collect();
    if alive.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(
            Exit::Unfinished,
            format!(
                "processes of an earlier engine cannot be ended and still hold its work: {}",
                alive.into_iter().collect::<Vec<_>>().join(", ")
            ),
        ))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
