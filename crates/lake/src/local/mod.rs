//! A lake in a local folder. An object is a regular file; its key is the path below the root, byte by byte.
//!
//! **Links.** A symbolic link to a file counts as an object if it leads to a file inside the lake. Links to folders are
//! not followed (a cycle would never end, a second path would show every object twice), and nothing is read or written
//! through a link that leads out of the root. Publishing replaces a link, it never writes through one.
//!
//! **What is left out of a listing**, counted and logged once per listing: such links, names that are not UTF-8, and
//! sockets, pipes and devices. Silently out: `.adce-tmp/` and `.adce/` at the root.
//!
//! **Conditions.** "Absent" is atomic against everybody. "Unchanged" is atomic against other publishes of this process; a
//! program that writes into the lake directly can still come between the comparison and the rename.

mod place;
mod publish;
mod walk;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use adce_core::object::{Object, Precondition};
use adce_core::ports::{Lake, LakeError, PublishError};
use adce_core::time::Timestamp;
use async_trait::async_trait;

use crate::files::{Files, Kind, RealFiles, Stat};
pub(crate) use place::is_reserved;
use place::{TEMPORARY, at_key, doing, join, segments};
pub use walk::LeftOut;

/// Publishes of keys in the same stripe wait for each other.
const STRIPES: usize = 64;

pub struct LocalLake {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    files: Arc<dyn Files>,
    stripes: [Mutex<()>; STRIPES],
    /// Folders whose own name is known to be on disk.
    durable: Mutex<HashSet<PathBuf>>,
    left_out: Mutex<LeftOut>,
}

impl LocalLake {
    /// `root` is absolute. Whether it exists shows at the first call.
    pub fn new(root: PathBuf) -> Self {
        Self::with_files(root, Arc::new(RealFiles))
    }

    /// The same on other files than the operating system's.
    pub fn with_files(root: PathBuf, files: Arc<dyn Files>) -> Self {
        let stripes = std::array::from_fn(|_| Mutex::new(()));
        LocalLake { shared: Arc::new(Shared { root, files, stripes, durable: Mutex::default(), left_out: Mutex::default() }) }
    }

    /// What the last listing met but could not count as objects.
    pub fn left_out(&self) -> LeftOut {
        *self.shared.left_out.lock().expect("no panic while it is held")
    }

    /// For work on one object, which is short: on a thread that may block it is done at once, because handing it to
    /// another would cost more than it does.
    async fn briefly<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> T + Send + 'static) -> T {
        match tokio::runtime::Handle::current().runtime_flavor() {
            tokio::runtime::RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| work(&self.shared)),
            _ => self.blocking(work).await,
        }
    }

    /// File operations block; they run where blocking is allowed.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> T + Send + 'static) -> T {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(done) => done,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down: nobody waits for an answer any more.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[async_trait]
impl Lake for LocalLake {
    fn identity(&self) -> String {
        self.shared.root.display().to_string()
    }

    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        // A few batches in flight: the walk goes on while the caller matches, and memory stays bounded.
        let (send, mut receive) = tokio::sync::mpsc::channel(8);
        let prefix = prefix.to_owned();
        let walk = self.blocking(move |shared| walk::list(shared, &prefix, send));
        let hand_over = async {
            while let Some(batch) = receive.recv().await {
                let batch: Vec<Object> = batch;
                batch.into_iter().for_each(&mut *found);
            }
        };
        let (walked, ()) = futures::join!(walk, hand_over);
        walked
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        let key = key.to_owned();
        self.briefly(move |shared| shared.head(&key)).await
    }

    async fn download(&self, key: &str, to: &Path) -> Result<Object, LakeError> {
        let (key, to) = (key.to_owned(), to.to_owned());
        self.briefly(move |shared| shared.download(&key, &to)).await
    }

    async fn publish(&self, file: &Path, key: &str, only_if: &Precondition) -> Result<Object, PublishError> {
        let (file, key, only_if) = (file.to_owned(), key.to_owned(), only_if.clone());
        self.briefly(move |shared| publish::publish(shared, &file, &key, &only_if)).await
    }

    async fn remove(&self, key: &str, etag: &str) -> Result<(), LakeError> {
        let (key, etag) = (key.to_owned(), etag.to_owned());
        self.briefly(move |shared| publish::remove(shared, &key, &etag)).await
    }

    async fn sweep(&self) -> Result<u64, LakeError> {
        self.blocking(publish::sweep).await
    }
}

impl Shared {
    fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        let segments = segments(key)?;
        match self.locate(&segments).map_err(|error| self.not_there(error)) {
            Ok(Some((_, stat))) => Ok(Some(object(key.into(), &stat))),
            Ok(None) => Ok(None),
            Err(NotThere::Root(error)) => Err(error),
            Err(NotThere::Object) => Ok(None),
            Err(NotThere::Unknown(error)) => Err(at_key(key, error)),
        }
    }

    /// The real path of the object and what lies there; `None`: no object by the rules on links.
    fn locate(&self, segments: &[&str]) -> io::Result<Option<(PathBuf, Stat)>> {
        if !self.folders_are_real(&segments[..segments.len() - 1])? {
            return Ok(None);
        }
        let path = join(&self.root, segments);
        let stat = self.files.look(&path)?;
        match stat.kind {
            Kind::File => Ok(Some((path, stat))),
            Kind::Link => self.follow(&path),
            Kind::Folder | Kind::Other => Ok(None),
        }
    }

    /// The file a link leads to, if it lies inside the lake.
    fn follow(&self, link: &Path) -> io::Result<Option<(PathBuf, Stat)>> {
        let (real, stat) = self.files.look_through(link)?;
        let (root, _) = self.files.look_through(&self.root)?;
        let inside = real.strip_prefix(&root).ok().and_then(|below| below.components().next());
        let inside = inside.is_some_and(|first| !first.as_os_str().to_str().is_some_and(is_reserved));
        Ok((inside && stat.kind == Kind::File).then_some((real, stat)))
    }

    /// Whether every folder on the way is one, and not a link that could lead out of the lake.
    fn folders_are_real(&self, folders: &[&str]) -> io::Result<bool> {
        let mut path = self.root.clone();
        for folder in folders {
            path.push(folder);
            if self.files.look(&path)?.kind != Kind::Folder {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells a missing object from a missing lake: an unmounted disk must not look like an empty one.
    fn not_there(&self, error: io::Error) -> NotThere {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            // A name that no file can have names nothing.
            return match error.raw_os_error() == Some(nix::libc::ENAMETOOLONG) {
                true => NotThere::Object,
                false => NotThere::Unknown(error),
            };
        }
        match self.root_is_there() {
            Ok(()) => NotThere::Object,
            Err(gone) => NotThere::Root(gone),
        }
    }

    fn root_is_there(&self) -> Result<(), LakeError> {
        // Only a link has to be followed, name by name.
        let found = match self.files.look(&self.root) {
            Ok(Stat { kind: Kind::Link, .. }) => self.files.look_through(&self.root).map(|(_, stat)| stat),
            looked => looked,
        };
        let root = self.root.display().to_string();
        match found {
            Ok(stat) if stat.kind == Kind::Folder => Ok(()),
            Ok(_) => Err(LakeError::Refused { what: format!("lake `{root}`"), detail: "it is no folder".into() }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(LakeError::Gone(root)),
            Err(error) => Err(doing(format!("lake `{root}`"), error)),
        }
    }

    fn download(&self, key: &str, to: &Path) -> Result<Object, LakeError> {
        let segments = segments(key)?;
        let missing = || LakeError::Unavailable { what: format!("`{key}`"), detail: "nothing is there (any more)".into() };
        let located = self.locate(&segments).map_err(|error| match self.not_there(error) {
            NotThere::Object => missing(),
            NotThere::Root(gone) => gone,
            NotThere::Unknown(error) => at_key(key, error),
        })?;
        let (path, before) = located.ok_or_else(missing)?;
        let copied = self.files.copy_new(&path, to).map_err(|error| at_key(key, error))?;
        let size = copied.stat().map_err(|error| at_key(key, error))?.size;
        let after = self.files.look(&path).map_err(|error| at_key(key, error))?;
        if after != before || size != before.size {
            return Err(LakeError::Unavailable { what: format!("`{key}`"), detail: "it changed while it was read".into() });
        }
        Ok(object(key.into(), &before))
    }
}

enum NotThere {
    /// The lake is there, the object is not.
    Object,
    Root(LakeError),
    Unknown(io::Error),
}

fn object(key: String, stat: &Stat) -> Object {
    Object { key, size: stat.size, last_modified: modified(stat), etag: etag(stat) }
}

/// Replacing a file gives it another inode; writing into it moves its time.
fn etag(stat: &Stat) -> String {
    format!("{:x}-{:x}-{:x}.{:x}", stat.inode, stat.size, stat.modified_s, stat.modified_ns)
}

fn modified(stat: &Stat) -> Timestamp {
    let nanoseconds = i32::try_from(stat.modified_ns).unwrap_or(0);
    Timestamp::new(stat.modified_s, nanoseconds).unwrap_or(if stat.modified_s < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

impl Shared {
    fn temporary(&self) -> PathBuf {
        self.root.join(TEMPORARY)
    }

    fn stripe(&self, key: &str) -> &Mutex<()> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        &self.stripes[(hasher.finish() % STRIPES as u64) as usize]
    }
}
