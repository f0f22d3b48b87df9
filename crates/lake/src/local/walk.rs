//! The listing of a local lake: every file below a prefix, read by a few threads, handed on in batches.
//!
//! Folders wait on one shared stack; a thread takes one, reads it, puts the folders it met back. A million files cost one
//! system call each, so the threads share the waiting for disk and kernel.
//!
//! A folder that cannot be read makes the listing fail at its end, after everything else was handed over: the caller
//! then knows that something is missing. A folder that vanished on the way is no error, it is empty by now.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use adce_core::object::Object;
use adce_core::ports::LakeError;
use tokio::sync::mpsc::Sender;

use super::place::{doing, is_reserved};
use super::{NotThere, Shared, etag, modified};
use crate::files::{Entry, Kind};

/// Large enough that handing over costs nothing per object, small enough that the first ones come at once.
const BATCH: usize = 1024;
/// More threads than this only wait for each other in the kernel.
const THREADS_MAX: usize = 4;

/// What a listing met but could not count as objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Keys are text; such a name cannot be one.
    pub names_not_utf8: u64,
    /// Links to folders, to nothing, or out of the lake.
    pub links: u64,
    /// Sockets, pipes, devices.
    pub special_files: u64,
}

/// Sends every object whose key begins with `prefix`.
pub(super) fn list(lake: &Shared, prefix: &str, send: Sender<Vec<Object>>) -> Result<(), LakeError> {
    lake.root_is_there()?;
    let Some((start, name_begins)) = start(lake, prefix)? else { return Ok(()) };
    let walk = Walk { lake, send, name_begins, work: Mutex::new(Work { folders: vec![start], ..Work::default() }), more: Condvar::new() };
    let threads = std::thread::available_parallelism().map_or(2, usize::from).min(THREADS_MAX);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| walk.work());
        }
        walk.work();
    });
    let work = walk.work.into_inner().expect("no thread panicked");
    tell(lake, prefix, work.left_out);
    work.failed.map_or(Ok(()), Err)
}

/// The folder to begin in, and how names in it must begin. `None`: no key of a local lake can begin like this.
fn start(lake: &Shared, prefix: &str) -> Result<Option<(Folder, String)>, LakeError> {
    let (folder, name_begins) = prefix.rsplit_once('/').map_or(("", prefix), |(folder, rest)| (folder, rest));
    let segments: Vec<&str> = if prefix.contains('/') { folder.split('/').collect() } else { Vec::new() };
    let impossible = |segment: &&str| segment.is_empty() || *segment == "." || *segment == ".." || segment.contains('\0');
    if segments.iter().any(impossible) || segments.first().is_some_and(|first| is_reserved(first)) {
        return Ok(None);
    }
    match lake.folders_are_real(&segments).map_err(|error| lake.not_there(error)) {
        Ok(true) => {}
        Ok(false) | Err(NotThere::Object) => return Ok(None),
        Err(NotThere::Root(gone)) => return Err(gone),
        Err(NotThere::Unknown(error)) => return Err(doing(format!("`{prefix}`"), error)),
    }
    let path = super::join(&lake.root, &segments);
    let key = if segments.is_empty() { String::new() } else { format!("{folder}/") };
    Ok(Some((Folder { path, key, is_start: true }, name_begins.to_owned())))
}

fn tell(lake: &Shared, prefix: &str, left_out: LeftOut) {
    *lake.left_out.lock().expect("no panic while it is held") = left_out;
    if left_out != LeftOut::default() {
        tracing::warn!(
            lake = %lake.root.display(),
            prefix,
            names_not_utf8 = left_out.names_not_utf8,
            links = left_out.links,
            special_files = left_out.special_files,
            "left out of the listing"
        );
    }
}

struct Folder {
    path: PathBuf,
    /// Empty, or ends in `/`.
    key: String,
    is_start: bool,
}

#[derive(Default)]
struct Work {
    folders: Vec<Folder>,
    busy: usize,
    left_out: LeftOut,
    failed: Option<LakeError>,
    /// The receiver is gone: nobody wants the rest.
    stop: bool,
}

struct Walk<'a> {
    lake: &'a Shared,
    send: Sender<Vec<Object>>,
    name_begins: String,
    work: Mutex<Work>,
    more: Condvar,
}

impl Walk<'_> {
    fn work(&self) {
        let mut batch = Vec::with_capacity(BATCH);
        while let Some(folder) = self.take() {
            let mut seen = Seen { batch: &mut batch, folders: Vec::new(), left_out: LeftOut::default(), stop: false };
            let read = self.read(&folder, &mut seen);
            let Seen { folders, left_out, stop, .. } = seen;
            self.give_back(folders, left_out, read.err(), stop);
        }
        if !batch.is_empty() {
            // A closed channel means that the listing was given up.
            let _ = self.send.blocking_send(batch);
        }
    }

    fn take(&self) -> Option<Folder> {
        let mut work = self.work.lock().expect("no thread panicked");
        loop {
            if work.stop {
                return None;
            }
            if let Some(folder) = work.folders.pop() {
                work.busy += 1;
                return Some(folder);
            }
            if work.busy == 0 {
                return None;
            }
            work = self.more.wait(work).expect("no thread panicked");
        }
    }

    fn give_back(&self, folders: Vec<Folder>, left_out: LeftOut, failed: Option<LakeError>, stop: bool) {
        let mut work = self.work.lock().expect("no thread panicked");
        work.folders.extend(folders);
        work.busy -= 1;
        work.stop |= stop;
        work.left_out.names_not_utf8 += left_out.names_not_utf8;
        work.left_out.links += left_out.links;
        work.left_out.special_files += left_out.special_files;
        if work.failed.is_none() {
            work.failed = failed;
        }
        self.more.notify_all();
    }

    fn read(&self, folder: &Folder, seen: &mut Seen<'_>) -> Result<(), LakeError> {
        let mut failed = None;
        let read = self.lake.files.entries(&folder.path, &mut |entry| {
            if let Err(error) = self.one(folder, &entry, seen) {
                failed.get_or_insert(error);
            }
            if seen.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let result = match (read, failed) {
            (Err(error), _) | (Ok(()), Some(error)) => Err(error),
            (Ok(()), None) => Ok(()),
        };
        match result {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => self.lake.root_is_there(),
            other => other.map_err(|error| doing(format!("folder `{}`", folder.path.display()), error)),
        }
    }

    fn one(&self, folder: &Folder, entry: &Entry<'_>, seen: &mut Seen<'_>) -> io::Result<()> {
        if folder.is_start && !entry.name.as_encoded_bytes().starts_with(self.name_begins.as_bytes()) {
            return Ok(());
        }
        let Some(name) = entry.name.to_str() else {
            seen.left_out.names_not_utf8 += 1;
            return Ok(());
        };
        if folder.key.is_empty() && is_reserved(name) {
            return Ok(());
        }
        match entry.kind {
            Kind::Folder => seen.folders.push(below(folder, name)),
            Kind::Other => seen.left_out.special_files += 1,
            Kind::File => match (entry.stat)() {
                Ok(stat) => self.found(folder, name, &stat, seen),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
            Kind::Link => match self.lake.follow(&folder.path.join(name)) {
                Ok(Some((_, stat))) => self.found(folder, name, &stat, seen),
                // It leads nowhere, in a circle, or where nobody may look: no object.
                Ok(None) | Err(_) => seen.left_out.links += 1,
            },
        }
        Ok(())
    }

    fn found(&self, folder: &Folder, name: &str, stat: &crate::files::Stat, seen: &mut Seen<'_>) {
        let mut key = String::with_capacity(folder.key.len() + name.len());
        key.push_str(&folder.key);
        key.push_str(name);
        seen.batch.push(Object { key, size: stat.size, last_modified: modified(stat), etag: etag(stat) });
        if seen.batch.len() == BATCH {
            let full = std::mem::replace(seen.batch, Vec::with_capacity(BATCH));
            seen.stop = self.send.blocking_send(full).is_err();
        }
    }
}

fn below(folder: &Folder, name: &str) -> Folder {
    Folder { path: Path::join(&folder.path, name), key: format!("{}{name}/", folder.key), is_start: false }
}

/// What one thread collects while it reads one folder.
struct Seen<'a> {
    batch: &'a mut Vec<Object>,
    folders: Vec<Folder>,
    left_out: LeftOut,
    stop: bool,
}
