//! What the engine needs from the world, in plain data. Adapters implement these; core and engine know nothing else.
//!
//! No port assumes that engine and store share a process. Each says what is true after a call returned, and what may
//! have happened if it failed.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::access::{AuditRecord, TokenRecord};
use crate::events::Event;
use crate::gap::Reason;
use crate::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId};
use crate::object::{Object, Precondition};
use crate::record::{AttemptRecord, Change, History, Lease, ProcessRecord, Remembered};
use crate::sets::{SetPlace, SetRule};
use crate::spec::{Collector, Pass, Validity};
use crate::time::{BootId, Boottime, Now, Timestamp};
use crate::traffic::is_zero;

/// Both clocks of this machine. Everything that decides takes [`Now`] as an argument; only the engine's loop asks.
#[async_trait]
pub trait Clock: Send + Sync {
    fn now(&self) -> Now;

    fn boot_id(&self) -> BootId;

    /// Returns at or after `until`.
    async fn sleep_until(&self, until: Boottime);
}

// ---------------------------------------------------------------------------------------------------------------- lake

/// Where objects lie. Keys are opaque and reach the store byte by byte.
#[async_trait]
pub trait Lake: Send + Sync {
    /// What identifies this lake for the state (`s3://bucket/prefix`, an absolute local path); without secrets.
    fn identity(&self) -> String;

    /// `host:port` at which it answers; `None` if no network leads to it.
    fn answers_at(&self) -> Option<String> {
        None
    }

    /// Hands every object whose key begins with `prefix` to `found`, as pages arrive. `Ok` means: that was all of
    /// them. After an error some were handed over, and what is missing from them is unknown.
    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError>;

    /// `None`: nothing is there.
    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError>;

    /// Copies the object's bytes to a new local file, for checking it.
    async fn download(&self, key: &str, to: &Path) -> Result<Object, LakeError>;

    /// Makes the file's content the object at `key`, whole or not at all, durable when `Ok` returns. After
    /// [`PublishError::Lake`] it may or may not have happened: ask `head`.
    async fn publish(&self, file: &Path, key: &str, only_if: &Precondition) -> Result<Object, PublishError>;

    /// Takes the object away if it is still the one with this ETag; for good when `Ok` returns. What somebody else has put there
    /// since stays. After an error it may or may not be gone.
    async fn remove(&self, key: &str, etag: &str) -> Result<(), LakeError>;

    /// Removes what a killed predecessor left half-done (temporary files). Returns how many.
    async fn sweep(&self) -> Result<u64, LakeError>;
}

/// Something that tells of objects that come and go: a queue, a webhook, a watched folder.
#[async_trait]
pub trait Feed: Send {
    /// For people: `files of ./lake`, `queue nba-events`.
    fn name(&self) -> String;

    /// What it tells next; waits for it. Keys are those of the lake that it belongs to. Cancelling it loses nothing.
    async fn next(&mut self) -> Result<Heard, FeedError>;

    /// What [`Feed::next`] returned last was taken in, and what follows from it is on disk; or it was not, and is to be told again.
    async fn settle(&mut self, taken: bool);
}

/// One message of a feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub told: Vec<Event>,
    /// Something escaped it: only a look at everything can tell what.
    pub missed: bool,
}

/// A feed tells nothing now. Whatever it is, full looks go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// It may pass: ask again a little later.
    #[error("{0}")]
    Failing(String),
    /// It will not pass without a person.
    #[error("{0}")]
    Deaf(String),
}

/// Variants by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The lake itself does not exist; a person must act.
    #[error("the lake `{0}` does not exist")]
    Gone(String),
    /// Refused credentials or permissions; a person must act.
    #[error("{what}: access refused ({detail})")]
    Refused { what: String, detail: String },
    /// No space, quota, read-only: retrying will not help until somebody makes room.
    #[error("{what}: no space or not writable ({detail})")]
    NoRoom { what: String, detail: String },
    /// Slow-down, timeouts, broken connections after the adapter's own retries: try later.
    #[error("{what}: {detail}")]
    Unavailable { what: String, detail: String },
    /// The key cannot exist in this kind of lake (for example `//` in a local one).
    #[error("key `{key}` cannot lie in this lake: {detail}")]
    BadKey { key: String, detail: String },
}

#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The precondition does not hold; what is there now, if anything. Nothing was changed.
    #[error("something else is at the key by now")]
    Conflict(Option<Object>),
    #[error(transparent)]
    Lake(#[from] LakeError),
}

// ------------------------------------------------------------------------------------------------------------- collect

/// One attempt, ready to run.
#[derive(Clone, Debug)]
pub struct Order {
    pub attempt: AttemptId,
    pub token: FencingToken,
    pub task: TaskId,
    pub collector: Arc<Collector>,
    /// Name of the source, if the dataset has one.
    pub source: Option<String>,
    pub items: Vec<OrderItem>,
    /// For a command: the filled-in argv.
    pub argv: Vec<String>,
    /// A folder in which nobody else works, as [`Collect::folder`] named it: `items.jsonl`, `out/`, `log` go here.
    pub folder: PathBuf,
    /// Permit that was granted when the task was picked (adce sends or proxies its requests).
    pub first_permit: Option<PermitId>,
    /// When the gateway runs.
    pub gateway: Option<Admission>,
    pub lake: String,
}

#[derive(Clone, Debug)]
pub struct OrderItem {
    pub item: ItemId,
    pub gap: GapId,
    pub dataset: String,
    pub key: String,
    /// The item is a set of objects, and its key has a `*`.
    pub set: Option<SetRule>,
    pub reason: Reason,
    /// Of the object in the lake when the gap was seen, if there was one.
    pub etag: Option<String>,
    pub last_modified: Option<Timestamp>,
    /// Every variable that the dataset's items have, name and text, as it goes into argv, url and `ADCE_ITEMS`.
    pub values: Vec<(String, String)>,
    /// For `http`: the filled-in URL.
    pub url: Option<String>,
    pub min_size: u64,
    pub valid: Option<Validity>,
}

impl Order {
    /// `ADCE_OUT`: where a collector leaves what it collected.
    pub fn out_folder(&self) -> PathBuf {
        self.folder.join("out")
    }

    /// Where the collector leaves this item's file: `out/<key>`; of a set, the folder of its parts.
    pub fn staged_path(&self, item: &OrderItem) -> PathBuf {
        item.staged_path(&self.folder)
    }
}

impl OrderItem {
    /// As [`Order::staged_path`], in an attempt's folder.
    pub fn staged_path(&self, folder: &Path) -> PathBuf {
        match self.set_place() {
            None => staged_path(folder, &self.key, self.item),
            // All of a lake without folders.
            Some(place) if place.folder().is_empty() => folder.join("out"),
            Some(place) => staged_path(folder, place.folder().trim_end_matches('/'), self.item),
        }
    }

    /// `None`: it is one object.
    pub fn set_place(&self) -> Option<SetPlace<'_>> {
        SetPlace::of(&self.key, self.set.as_ref()?)
    }
}

/// `<folder>/out/<key>`. A key that is no path of its own there (`a//b`, `/a`, `a/`, a segment too long for a file
/// name) is staged under its item's id instead, so that no two keys share a file and none escapes the folder.
pub fn staged_path(folder: &Path, key: &str, item: ItemId) -> PathBuf {
    const LONGEST_FILE_NAME_BYTES: usize = 255;
    let plain = |segment: &str| !matches!(segment, "" | "." | "..") && segment.len() <= LONGEST_FILE_NAME_BYTES;
    let out = folder.join("out");
    match key.split('/').all(plain) {
        true => out.join(key),
        false => out.join(".adce-odd-keys").join(item.to_string()),
    }
}

impl Report {
    /// How an attempt ended of which nothing ever ran.
    pub const NOT_STARTED: &str = "not started";
}

/// What one attempt did, before anything was published.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub items: Vec<ItemReport>,
    /// How the whole attempt ended, for the history: `exit 0`, `signal 9`, `timeout after 10m`, `http`.
    pub ended: String,
    /// What every item without a line of its own gets.
    pub rest: Rest,
    pub requests: u64,
    /// Of bodies that adce itself fetched.
    pub received_bytes: u64,
    /// Staged files whose key is no item of the task.
    pub strays: Vec<String>,
    /// Of items whose file was to be taken from somewhere else than `out/`: what is there instead. Said only if nothing
    /// else fills them.
    pub not_there: Vec<(ItemId, String)>,
    /// Why what it said to adce could not be understood: an item may have no word of its own for that.
    pub misunderstood: Option<String>,
    /// Where it lies in the order's folder, if anything was said at all.
    pub log: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct ItemReport {
    pub item: ItemId,
    pub said: Said,
}

/// A collector's own word on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A whole file, checked for size and validity by nobody yet.
    Staged(PathBuf),
    /// Of a set: whole files, the marker among them or not; none: upstream has nothing to be put into it.
    Parts(Vec<PathBuf>),
    /// It says the object is in the lake by now (or stays silent and exits 0): look.
    Done,
    Unchanged,
    Absent,
    Failed(crate::gap::Failure),
}

impl Said {
    /// Something is to be published.
    pub fn is_staged(&self) -> bool {
        matches!(self, Said::Staged(_) | Said::Parts(_))
    }
}

/// The outcome of the items that a collector did not name and did not stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rest {
    /// Exit 0: look into the lake; nothing there means "wrote nothing".
    #[default]
    LookInLake,
    /// Exit 66: absent for a task of one item; a larger batch is split.
    Absent,
    Failed(crate::gap::Failure),
}

/// How far an attempt says it is. Shown, and never believed: what is in the lake decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Progress {
    pub done: u64,
    pub of: u64,
}

/// What an attempt tells while it runs.
#[derive(Debug)]
pub enum Told {
    /// At most once, of a command that reaches nothing but the gateway: where inside of its network the gateway is to listen. It is
    /// told when the program has begun; who connects before it is heard waits.
    Enclosed(OwnedFd),
    /// At most once, when a process group goes on after its first moments: the engine records it. Of a command that was over
    /// before that, nothing is left to be found by a later engine.
    Started(ProcessRecord),
    /// As often as it likes.
    Progress(Progress),
}

/// Hears what an attempt tells; returns at once.
pub type Listener<'a> = &'a (dyn Fn(Told) + Sync);

/// Runs attempts. Everything it started is gone when `collect` returns, also after `stop`. It may block the thread that
/// polls it, for moments: it is called where blocking is allowed.
#[async_trait]
pub trait Collect: Send + Sync {
    /// The [`Order::folder`] of an attempt at these items: one of its own under `within`, or one there in which an earlier
    /// attempt has left nothing.
    fn folder(&self, within: &Path, attempt: AttemptId, _collector: &Collector, _items: &[OrderItem]) -> PathBuf {
        within.join(attempt.to_string())
    }

    /// What is still wanted was taken out of the folder, if it was ever used: it goes, or serves others.
    fn take_back(&self, folder: &Path);

    async fn collect(&self, order: Order, listener: Listener<'_>, stop: Stop) -> Report;
}

/// Tells an attempt when to end: at once (ask politely, then kill), or when it has had its time.
pub type Stop = Arc<dyn StopSignal>;

/// What limits have cost an attempt: time in which it waited for a permit and for nothing else. It is none of its own,
/// so no timeout counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldUp {
    /// By waits that are over.
    pub so_far: Duration,
    /// It waits now.
    pub since: Option<Boottime>,
}

#[async_trait]
pub trait StopSignal: Send + Sync {
    /// Returns when the attempt must end now (SIGTERM, grace, SIGKILL).
    async fn stopped(&self);

    fn is_stopped(&self) -> bool;

    fn held_up(&self) -> HeldUp {
        HeldUp::default()
    }

    /// Returns when [`held_up`](Self::held_up) is not `known` any more.
    async fn held_up_changes(&self, known: HeldUp) {
        let _ = known;
        std::future::pending().await
    }
}

// ------------------------------------------------------------------------------------------------------------- permits

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PermitId(pub u64);

/// How a permit's request ended, for the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// No byte of the request left this process: the permit was not used.
    Unsent,
    /// It reached the upstream by then at the latest: the first byte of the answer, or the connection closed plus `linger`.
    ArrivedBy(Boottime),
}

/// What a source answered, for breakers, pauses and figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Status {
        code: u16,
        retry_after: Option<RetryAfter>,
        /// What it says of the upstream's own limits.
        quotas: Quotas,
    },
    /// A reset, a timeout before the first byte; also of a connection that nobody accepted in time.
    NoAnswer,
    /// No connection came about, and that was told: refused, no such host, no trust. It was not asked anything, so this says
    /// nothing of its limits.
    NotReached,
}

impl Answer {
    /// One that says nothing of limits.
    pub fn status(code: u16) -> Self {
        Answer::Status { code, retry_after: None, quotas: Quotas::default() }
    }

    /// One that asks for a pause.
    pub fn later(code: u16, retry_after: RetryAfter) -> Self {
        Answer::Status { code, retry_after: Some(retry_after), quotas: Quotas::default() }
    }
}

/// What an upstream says of one of its limits, as far as it says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// The same in all answers that speak of the same quota.
    pub id: u32,
    /// It allows so many requests
    pub requests: Option<u32>,
    /// in such a span.
    pub per: Option<Duration>,
    /// So many of them are left,
    pub left: Option<u32>,
    /// and so long after the answer they are whole again.
    pub renewed_in: Option<Duration>,
}

/// The first few quotas that an answer speaks of: no upstream is known to name more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quotas([Option<Quota>; 4]);

impl Quotas {
    /// One that says nothing is left out.
    pub fn add(&mut self, quota: Quota) {
        if quota == (Quota { id: quota.id, ..Quota::default() }) {
            return;
        }
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none()) {
            *free = Some(quota);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Quota> {
        self.0.into_iter().flatten()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    Seconds(u64),
    At(Timestamp),
}

/// The right to send requests, shared by gateway and `http` collector. One permit, one request.
#[async_trait]
pub trait Permits: Send + Sync {
    /// Waits until one request may be sent to `source` for this attempt. The reservation is durable when it returns.
    /// A permit that the attempt already holds (its first) is handed out before any new one.
    async fn acquire(&self, attempt: AttemptId, source: &str) -> Result<PermitId, PermitRefused>;

    /// Must be called once for every permit.
    fn settle(&self, permit: PermitId, how: Settlement);

    fn answered(&self, attempt: AttemptId, source: &str, answer: Answer);

    /// A request, or a connection that nobody can look into, went to a host that no source declares, or was refused that; or it
    /// was refused a source that its guest may not ask.
    fn uncovered(&self, attempt: AttemptId, host: &str, passed: bool);

    /// A client broke off the TLS handshake with the gateway, which showed itself as this host: mostly it does not trust adce.
    fn distrusted(&self, attempt: AttemptId, host: &str) {
        let _ = (attempt, host);
    }
}

/// How an attempt passes the gateway. All of it opens the gateway to whoever knows it, while the attempt runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// On which port of 127.0.0.1 the gateway is.
    pub port: u16,
    /// `http://127.0.0.1:PORT/<attempt token>`: the command's `ADCE_GATEWAY`.
    pub url: String,
    /// By which common clients use the gateway as a proxy and trust what it shows them.
    pub variables: Vec<(&'static str, String)>,
    /// What must not show in a log, the longest first, and what shows instead.
    pub hidden: Vec<(String, &'static str)>,
}

/// The gateway's door: attempts come in and leave.
pub trait Gate: Send + Sync {
    /// `None` if no gateway runs.
    fn admit(&self, attempt: AttemptId, pass: Pass) -> Option<Admission>;

    /// As [`admit`](Self::admit), of a program that a person runs by hand. `only`: it may ask these sources and nobody else.
    fn admit_guest(&self, guest: AttemptId, only: Option<Vec<String>>) -> Option<Admission>;

    /// Listens for the attempt on this socket, too, until it is dismissed. The socket may be of another network than this process.
    fn enclosed(&self, attempt: AttemptId, inside: OwnedFd);

    /// Ends what the attempt still has open; its URL answers nobody from now on. Returns what passed for it.
    fn dismiss(&self, attempt: AttemptId) -> Passed;

    /// What passed to and from this source so far, whoever asked.
    fn passed(&self, source: &str) -> Passed {
        let _ = source;
        Passed::default()
    }
}

/// What only whoever moves the bytes can count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Passed {
    /// Of bodies, without heads; of connections that nobody can look into, all of them.
    #[serde(skip_serializing_if = "is_zero")]
    pub sent_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub received_bytes: u64,
    /// Requests that `absorb` sent once more.
    #[serde(skip_serializing_if = "is_zero")]
    pub sent_again: u64,
}

impl std::ops::AddAssign for Passed {
    fn add_assign(&mut self, more: Passed) {
        self.sent_bytes += more.sent_bytes;
        self.received_bytes += more.received_bytes;
        self.sent_again += more.sent_again;
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PermitRefused {
    #[error("attempt {0} is not running")]
    NoSuchAttempt(AttemptId),
    #[error("source `{0}` is not declared")]
    NoSuchSource(String),
    #[error("the engine is stopping")]
    Stopping,
    /// Its source is not asked now, nor in a moment, for this reason: who can end does, and what it leaves is tried again when
    /// the source is asked again.
    #[error("{0}")]
    Shut(String),
    /// The state could not record the reservation; no request may be sent.
    #[error("the reservation could not be recorded: {0}")]
    NotRecorded(String),
}

// --------------------------------------------------------------------------------------------------------------- store

/// adce's own database. What a call has changed is on disk when it returns `Ok`; many callers share one commit.
#[async_trait]
pub trait Store: Send + Sync {
    /// Everything a starting engine needs.
    async fn load(&self) -> Result<Remembered, StoreError>;

    /// Makes one attempt the owner of all its gaps: writes the lease and gives a token larger than any before. Refused,
    /// with nothing written, if one of the gaps is held by another lease.
    async fn lease(&self, lease: Lease) -> Result<FencingToken, StoreError>;

    /// All changes or none. A [`Change::Finish`] whose token is not current refuses the whole batch.
    async fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// [`Store::lease`], for a start that lies ahead: nobody waits for it yet, so it may go along with a commit some
    /// milliseconds later. The order of the calls holds all the same.
    async fn lease_ahead(&self, lease: Lease) -> Result<FencingToken, StoreError> {
        self.lease(lease).await
    }

    /// [`Store::apply`], for what nobody waits for: it may go along with a commit some milliseconds later. The order of the
    /// calls holds all the same.
    async fn record(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.apply(changes).await
    }

    /// What happened to a task, oldest first: its attempts and events, also what happened to its gaps before they were in a task.
    async fn history(&self, task: TaskId) -> Result<History, StoreError>;

    /// Attempts that have ended, the latest first, each with its number; `before`: only those with a smaller one. A store without a history
    /// has none.
    async fn attempts(&self, before: Option<u64>, at_most: u32) -> Result<Vec<(u64, AttemptRecord)>, StoreError> {
        let _ = (before, at_most);
        Ok(Vec::new())
    }

    /// One of them; `None`: it has not ended, or its record was pruned.
    async fn attempt(&self, id: AttemptId) -> Result<Option<(u64, AttemptRecord)>, StoreError> {
        let _ = id;
        Ok(None)
    }

    /// All of them, in the order of their names, also those that hold no more.
    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        Ok(Vec::new())
    }

    /// What people and programs did, the latest first; `before`: only what has a smaller number.
    async fn audit(&self, before: Option<u64>, at_most: u32) -> Result<Vec<AuditRecord>, StoreError> {
        let _ = (before, at_most);
        Ok(Vec::new())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another engine holds the state: {0}")]
    Held(String),
    #[error(
        "the state `{state}` was written by a newer adce (format {found}, this one knows up to {known}): run that one, or give this \
         config a `state:` of its own"
    )]
    Newer { state: String, found: u32, known: u32 },
    /// Only an engine may change it.
    #[error("the state `{state}` has the older format {found}: the next `adce run` brings it to format {known}, and then it can be read")]
    Older { state: String, found: u32, known: u32 },
    #[error("the state is damaged: {0}")]
    Corrupt(String),
    #[error("the state belongs to another lake: it remembers {remembered}, the config says {configured}")]
    OtherLake { remembered: String, configured: String },
    #[error("the state cannot be reached: {0}")]
    Unreachable(String),
    #[error("no space left for the state: {0}")]
    NoRoom(String),
    /// A result came with a token that is not (or no longer) current. Nothing of its batch was recorded.
    #[error("attempt {0} does not hold the current token")]
    StaleToken(AttemptId),
    /// Somebody wanted to end a lease that has not expired. Nothing of its batch was recorded.
    #[error("the lease of attempt {0} still holds")]
    StillHeld(AttemptId),
    /// A lease was asked for a gap that has an owner. Nothing was recorded.
    #[error("gap {gap:?} is held by attempt {by}")]
    Leased { gap: GapId, by: AttemptId },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_staged_outside_its_folder_or_in_the_place_of_another() {
        let folder = Path::new("/attempt");
        let keys = ["a/b", "a//b", "/a/b", "a/b/", "a/./b", "../b", "", &"x".repeat(256)];
        let paths: Vec<PathBuf> = keys.iter().map(|key| staged_path(folder, key, ItemId::of("d", [*key]))).collect();
        assert_eq!(paths[0], Path::new("/attempt/out/a/b"));
        for (at, path) in paths.iter().enumerate() {
            assert!(path.starts_with("/attempt/out") && !path.iter().any(|part| part == ".."), "{path:?}");
            assert!(!paths[..at].contains(path), "{path:?} is the place of two keys");
        }
    }
}
