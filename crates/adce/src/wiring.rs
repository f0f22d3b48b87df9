//! Which adapters stand behind the engine's ports, and the order in which an engine takes over from a dead one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_collect::end_predecessors;
use adce_core::ports::{Clock, Lake, Store};
use adce_core::spec::{LakeUrl, Spec, StateUrl};
use adce_store::sqlite::{self, Opening};
use adce_store::{Identity, Retention};

use crate::clock::MachineClock;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long to wait for the processes of a killed engine to be gone. They get SIGKILL; only an uninterruptible sleep
/// in the kernel takes longer than moments.
const PREDECESSORS_PATIENCE: Duration = Duration::from_secs(30);

/// The file of the state.
pub fn state_path(spec: &Spec) -> &Path {
    let StateUrl::Sqlite(path) = &spec.state;
    path
}

/// The folder around the state: control socket, attempts and logs lie there too.
pub fn state_folder(spec: &Spec) -> PathBuf {
    state_path(spec).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The lake as the config names it.
pub fn lake_words(lake: &LakeUrl) -> String {
    match lake {
        LakeUrl::Folder(folder) => folder.display().to_string(),
        LakeUrl::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned(),
    }
}

pub fn identity(spec: &Spec, lake: &dyn Lake) -> Identity {
    Identity { name: spec.name.clone(), lake: lake.identity() }
}

/// The state, owned from now on, with nothing left running of the engine before.
pub async fn take_state(spec: &Spec, lake: &dyn Lake) -> Result<Arc<dyn Store>, Failure> {
    let clock = MachineClock;
    let opening =
        Opening { identity: identity(spec, lake), boot_id: clock.boot_id(), now: clock.now().wall, retention: Retention::default() };
    let path = state_path(spec).to_owned();
    let store: Arc<dyn Store> = Arc::new(blocking(move || sqlite::open(&path, &opening)).await?);
    let remembered = store.load().await?;
    take_over(&remembered.processes).await?;
    Ok(store)
}

async fn take_over(processes: &[adce_core::record::ProcessRecord]) -> Result<(), Failure> {
    let processes = processes.to_vec();
    let ended = blocking(move || end_predecessors(&processes, &MachineClock.boot_id(), PREDECESSORS_PATIENCE)).await;
    let alive: Vec<String> = ended.iter().flat_map(|group| &group.survivors).map(ToString::to_string).collect();
    if alive.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(
            Exit::Unfinished,
            format!("processes of an earlier engine cannot be ended and still hold its work: {}", alive.join(", ")),
        ))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}
