//! How what a command collected comes into `out/` if it does not write there itself.
//!
//! A scraper that nobody wants to change prints its answer, or writes it where it always did. What it prints goes
//! straight into a file of its attempt; what it wrote is taken away from where it lies when nobody of the attempt runs any more.
//!
//! Always true: a file counts only if it was written since the attempt began: what an earlier run left has the same inode,
//! size and time of change as then (`a_leftover_of_an_earlier_run_is_not_picked_up`). Two attempts under way never share a
//! path, whatever links lead there (`two_attempts_never_share_a_path`). Files of a failed attempt are taken away like all
//! others, so that "exists, skipping" does not find half of one at the next.
//!
//! Nothing that was there before is removed: it is the user's.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use adce_core::failpoint::{self, Failpoint};
use adce_core::gap::{Failure, Fault};
use adce_core::ports::Order;
use adce_core::spec::Output;

use crate::command::program;

/// Paths at which attempts under way will find their files.
#[derive(Default)]
pub(crate) struct Busy(Mutex<HashSet<PathBuf>>);

impl Busy {
    fn lock(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What has to be brought into `out/` after the command's end.
#[derive(Default)]
pub(crate) enum Handover {
    /// Nothing: it writes there itself, or to the lake.
    #[default]
    InPlace,
    /// This file holds what it prints.
    Printed(PathBuf),
    PickUp(PickUps),
}

pub(crate) struct PickUps {
    /// In the order of the items.
    places: Vec<Place>,
    busy: Arc<Busy>,
}

struct Place {
    path: PathBuf,
    /// The same without links on its way, for others to compare.
    real: PathBuf,
    before: Option<Stamp>,
}

/// Differs when a file was written or replaced. Not the time at which its inode changed: a new mode makes no new content.
#[derive(PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Stamp { device: found.dev(), inode: found.ino(), size: found.size(), modified: (found.mtime(), found.mtime_nsec()) }
    }
}

/// What was found in place of the items' files, by place of the item in the order; and what else a person should know.
#[derive(Default)]
pub(crate) struct HandedOver {
    pub(crate) not_there: HashMap<usize, String>,
    pub(crate) remarks: Vec<String>,
}

impl Handover {
    /// Before the command is started, in its attempt's folder.
    pub(crate) fn begin(order: &Order, busy: &Arc<Busy>) -> Result<Self, Failure> {
        match &order.collector.output {
            Output::Staged | Output::Direct => Ok(Handover::InPlace),
            Output::Stdout => Ok(Handover::Printed(order.folder.join("stdout"))),
            Output::PickUp(_) => PickUps::begin(order, busy).map(Handover::PickUp),
        }
    }

    /// Where the command's standard output goes, if it is the object. A link in its place is not followed.
    pub(crate) fn stdout(&self) -> io::Result<Option<File>> {
        match self {
            Handover::Printed(file) => File::options().write(true).create_new(true).open(file).map(Some),
            Handover::InPlace | Handover::PickUp(_) => Ok(None),
        }
    }

    /// The file that holds what the command prints.
    pub(crate) fn printed(&self) -> Option<&Path> {
        match self {
            Handover::Printed(file) => Some(file),
            Handover::InPlace | Handover::PickUp(_) => None,
        }
    }

    /// When nobody of the attempt runs any more.
    pub(crate) fn complete(self, order: &Order) -> HandedOver {
        let mut handed_over = HandedOver::default();
        match &self {
            Handover::InPlace => {}
            Handover::Printed(file) => {
                if let Err(instead) = take_printed(file, order) {
                    handed_over.not_there.insert(0, instead);
                }
            }
            Handover::PickUp(pick_ups) => {
                for (at, (place, item)) in pick_ups.places.iter().zip(&order.items).enumerate() {
                    match place.take(&order.staged_path(item)) {
                        Ok(remark) => handed_over.remarks.extend(remark),
                        Err(instead) => drop(handed_over.not_there.insert(at, instead)),
                    }
                }
            }
        }
        handed_over
    }
}

fn take_printed(file: &Path, order: &Order) -> Result<(), String> {
    let is_empty = fs::symlink_metadata(file).is_ok_and(|found| found.len() == 0);
    if is_empty {
        let _ = fs::remove_file(file);
        return Err("it printed nothing".into());
    }
    let item = order.items.first().ok_or("no item is left")?;
    fs::rename(file, order.staged_path(item)).map_err(|why| format!("what it printed could not be staged: {why}"))
}

impl PickUps {
    fn begin(order: &Order, busy: &Arc<Busy>) -> Result<Self, Failure> {
        let mut pick_ups = PickUps { places: Vec::with_capacity(order.items.len()), busy: busy.clone() };
        for item in &order.items {
            let Some(path) = order.collector.pick_up_path(&item.values) else { continue };
            let path = path.map_err(|why| program::not_started(&format!("`{}` cannot be picked up: {why}", item.key)))?;
            let real = without_links(&path);
            if !busy.lock().insert(real.clone()) {
                let message = format!("not started: another attempt is to leave its file at `{}`, too", real.display());
                return Err(Failure { fault: Fault::Later, message, retry_after_s: None });
            }
            let before = fs::symlink_metadata(&path).ok().map(|found| Stamp::of(&found));
            pick_ups.places.push(Place { path, real, before });
        }
        Ok(pick_ups)
    }
}

impl Drop for PickUps {
    fn drop(&mut self) {
        let mut busy = self.busy.lock();
        for place in &self.places {
            busy.remove(&place.real);
        }
    }
}

impl Place {
    /// Moves the file to `staged`, or copies it where another disk begins. `Err`: what is there instead.
    fn take(&self, staged: &Path) -> Result<Option<String>, String> {
        let path = self.path.display();
        let found = match fs::symlink_metadata(&self.path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Err(format!("`{path}` was not written")),
            Err(why) => return Err(format!("`{path}` cannot be looked at: {why}")),
            Ok(found) if !found.is_file() => return Err(format!("`{path}` is no plain file")),
            Ok(found) => Stamp::of(&found),
        };
        if Some(&found) == self.before.as_ref() {
            return Err(format!("`{path}` is an old file from before this attempt (\"exists, skipping\"?)"));
        }
        if fs::rename(&self.path, staged).is_ok() {
            failpoint::reached(Failpoint::PickedUp);
            return Ok(None);
        }
        self.copy(&found, staged).map_err(|why| format!("`{path}` could not be picked up: {why}"))?;
        let removed = fs::remove_file(&self.path);
        Ok(removed.err().map(|why| format!("`{path}` was copied and stays there: {why}")))
    }

    fn copy(&self, found: &Stamp, staged: &Path) -> io::Result<()> {
        let no_link = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut from = File::options().read(true).custom_flags(no_link).open(&self.path)?;
        if Stamp::of(&from.metadata()?) != *found {
            return Err(io::Error::other("it changes, although its attempt is over"));
        }
        match fs::remove_file(staged) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
        let copied = File::options().write(true).create_new(true).open(staged).and_then(|mut to| io::copy(&mut from, &mut to));
        // Half of it must not be taken for the whole.
        copied.map(drop).inspect_err(|_| drop(fs::remove_file(staged)))
    }
}

/// Its folder may not be there yet: then nobody can have put a link in its place so far.
fn without_links(path: &Path) -> PathBuf {
    match (path.parent().and_then(|folder| folder.canonicalize().ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
