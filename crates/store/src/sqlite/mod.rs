//! The state in one SQLite file: durable, owned by one engine, readable by everybody meanwhile.
//!
//! SQLite runs with a write-ahead log and `synchronous = FULL`: what a call has changed is on disk when it returns, and
//! a kill or a power cut at any instruction leaves whole batches only. One thread writes and shares an fsync between
//! callers (`writer`); everybody else reads through connections that cannot write (`reader`).

mod backup;
mod changes;
mod checkup;
mod columns;
mod fault;
mod gaps;
mod history;
mod mailbox;
mod ownership;
mod queue;
mod reader;
mod schema;
mod writer;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use adce_core::access::{AuditRecord, TokenRecord};
use adce_core::ids::{AttemptId, FencingToken, TaskId};
use adce_core::ports::{Store, StoreError};
use adce_core::record::{AttemptRecord, Change, History, Lease, Remembered};
use adce_core::time::{BootId, Timestamp};
use async_trait::async_trait;
use tokio::sync::oneshot;

pub use self::backup::{BackupError, Overwrite, backup};
pub use self::checkup::{Checkup, check};
pub use self::fault::LOST_WITHOUT_A_COPY;
use self::mailbox::{Post, mailbox};
pub use self::ownership::Holder;
use self::ownership::Ownership;
pub use self::reader::Reader;
pub use self::schema::FORMAT;
use self::writer::{End, Haste, Job, Sent, Work, Writer};
use crate::{Identity, Retention};

/// The engine that opens a state, and when.
#[derive(Clone, Debug)]
pub struct Opening {
    pub identity: Identity,
    pub boot_id: BootId,
    pub now: Timestamp,
    pub retention: Retention,
}

/// A state that this process owns until the store is dropped or the process ends.
pub struct SqliteStore {
    to_writer: Post,
    writer: Option<JoinHandle<()>>,
    /// `None` only while it is dropped.
    reader: Option<Arc<Mutex<Reader>>>,
    path: PathBuf,
}

/// Opens the state at `path` for an engine, creates it and its folder if there is none, and brings an older format up
/// to date. Refused with [`StoreError::Held`] while another engine has it, wherever in the process's life that one is.
///
/// Blocks while it reads through a state whose engine was killed: some seconds for a gigabyte.
pub fn open(path: &Path, opening: &Opening) -> Result<SqliteStore, StoreError> {
    let opened = std::time::Instant::now();
    open_by(path, opening, move || opened.elapsed())
}

/// As [`open`], with somebody's own idea of how much time has passed since: a simulated year takes moments.
pub fn open_by(
    path: &Path,
    opening: &Opening,
    since_opening: impl Fn() -> std::time::Duration + Send + 'static,
) -> Result<SqliteStore, StoreError> {
    make_folder(path)?;
    let ownership = Ownership::take(path, opening.now)?;
    let db = schema::open_to_write(path, &opening.identity, &opening.boot_id.0)?;
    let writer = Writer::new(db, path.to_owned(), ownership, opening, Box::new(since_opening))?;
    let gone = || StoreError::Corrupt(format!("`{}` vanished while it was opened", path.display()));
    let reader = open_to_read(path, &opening.identity)?.ok_or_else(gone)?;
    let (to_writer, sent) = mailbox();
    let thread = std::thread::Builder::new().name("state-writer".into()).spawn(move || writer.run(sent));
    let thread = thread.map_err(|error| StoreError::Unreachable(format!("no thread for the state's writer: {error}")))?;
    Ok(SqliteStore { to_writer, writer: Some(thread), reader: Some(Arc::new(Mutex::new(reader))), path: path.to_owned() })
}

/// Opens the state at `path` for reading, whether an engine writes it or not. `None`: there is no state, and none was
/// created.
pub fn open_to_read(path: &Path, identity: &Identity) -> Result<Option<Reader>, StoreError> {
    Ok(schema::open_to_read(path, identity)?.map(|db| Reader::over(db, path)))
}

impl SqliteStore {
    async fn ask<T>(&self, haste: Haste, work: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Work) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::Unreachable(format!("`{}`: its writer has ended", self.path.display()));
        if !self.to_writer.send(Sent::Job(Job { haste, work: work(answer) })) {
            return Err(gone());
        }
        answered.await.map_err(|_| gone())?
    }

    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
        let gone = || StoreError::Unreachable(format!("`{}`: it is being closed", self.path.display()));
        let reader = self.reader.clone().ok_or_else(gone)?;
        let reading = tokio::task::spawn_blocking(move || read(&reader.lock().unwrap_or_else(PoisonError::into_inner)));
        reading.await.map_err(|error| StoreError::Unreachable(format!("reading the state was cut off: {error}")))?
    }

    /// The last attempts and events of all tasks, at most so many of each, oldest first.
    pub async fn recent(&self, at_most: u32) -> Result<History, StoreError> {
        self.read(move |reader| reader.recent(at_most)).await
    }

    /// Commits what is queued, marks the end as clean and gives the state up. Dropping the store does the same.
    pub fn close(self) {}
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self) -> Result<Remembered, StoreError> {
        self.read(Reader::remembered).await
    }

    /// Once called it happens, even if the caller stops waiting.
    async fn lease(&self, lease: Lease) -> Result<FencingToken, StoreError> {
        self.ask(Haste::SomebodyWaits, |answer| Work::Lease(lease, answer)).await
    }

    async fn lease_ahead(&self, lease: Lease) -> Result<FencingToken, StoreError> {
        self.ask(Haste::NobodyWaits, |answer| Work::Lease(lease, answer)).await
    }

    /// Once called it happens, even if the caller stops waiting.
    async fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.ask(Haste::SomebodyWaits, |answer| Work::Apply(changes, answer)).await
    }

    async fn record(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.ask(Haste::NobodyWaits, |answer| Work::Apply(changes, answer)).await
    }

    async fn history(&self, task: TaskId) -> Result<History, StoreError> {
        self.read(move |reader| reader.history(task)).await
    }

    async fn attempts(&self, before: Option<u64>, at_most: u32) -> Result<Vec<(u64, AttemptRecord)>, StoreError> {
        self.read(move |reader| reader.attempts(before, at_most)).await
    }

    async fn attempt(&self, id: AttemptId) -> Result<Option<(u64, AttemptRecord)>, StoreError> {
        self.read(move |reader| reader.attempt(id)).await
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.read(Reader::tokens).await
    }

    async fn audit(&self, before: Option<u64>, at_most: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.read(move |reader| reader.audit(before, at_most)).await
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        // The last connection folds the write-ahead log in, and one that can only read cannot.
        self.reader = None;
        // The thread may be gone already if it panicked; then there is nothing left to end.
        let _ = self.to_writer.send(Sent::End(End));
        if let Some(thread) = self.writer.take() {
            let _ = thread.join();
        }
    }
}

/// The folder is on disk before the state in it is: a power cut must not take both. What is made here is its owner's alone.
fn make_folder(state: &Path) -> Result<(), StoreError> {
    let folder = match state.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let make = || -> std::io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        match folder.parent() {
            Some(above) if !above.as_os_str().is_empty() => std::fs::File::open(above)?.sync_all(),
            _ => Ok(()),
        }
    };
    make().map_err(|error| StoreError::Unreachable(format!("folder `{}` of the state: {error}", folder.display())))
}
