//! The folders in which commands work, one after the other.
//!
//! Making and removing a handful of folders is most of what a short attempt costs: a disk that discards freed blocks
//! can do it some hundred times a second, a process starts in a millisecond. An attempt that left nothing but what was
//! expected leaves its folders as they were once that is taken out; the next attempt works in them, under the same name.
//!
//! Always true: a folder never serves the same item twice. Somebody who left the group of an earlier attempt, and is
//! still in its folder, can therefore not put a file in the place of a later attempt's
//! (`a_folder_never_serves_the_same_item_twice`).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use adce_core::ids::{AttemptId, ItemId};
use adce_core::ports::{Order, OrderItem, staged_path};

use crate::command::folder::{Kind, entries};
use crate::command::staging::Staged;

/// More would only lie about.
const KEPT: usize = 16;
/// Keys that lie in ever new folders fill a workplace; then it is not kept.
const FOLDERS_AT_MOST: usize = 32;
const ITEMS_AT_MOST: usize = 256;

#[derive(Default)]
pub(crate) struct Workplaces {
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// Nobody works there.
    free: Vec<(PathBuf, Skeleton)>,
    /// Somebody does, or did and has left it in order.
    lent: HashMap<PathBuf, Skeleton>,
}

/// The folders in an attempt's folder, and the items that it has served.
#[derive(Debug, Default)]
pub(crate) struct Skeleton {
    /// Relative to `out/`, which is among them as the empty path.
    pub(crate) folders: HashSet<PathBuf>,
    served: HashSet<ItemId>,
    /// To be taken out before anybody else works there.
    left: Vec<PathBuf>,
}

impl Workplaces {
    /// A folder for an attempt at these items: one that is free, or else its own, which has to be made.
    pub(crate) fn lend(&self, within: &Path, attempt: AttemptId, items: &[OrderItem]) -> PathBuf {
        let mut all = self.lock();
        match all.free.iter().position(|(at, skeleton)| at.parent() == Some(within) && skeleton.suits(at, items)) {
            Some(fits) => {
                let (at, skeleton) = all.free.swap_remove(fits);
                all.lent.insert(at.clone(), skeleton);
                at
            }
            None => within.join(attempt.to_string()),
        }
    }

    /// What is there of the folder that was lent; nothing, if it has to be made.
    pub(crate) fn begin(&self, order: &Order) -> Option<Skeleton> {
        self.lock().lent.remove(&order.folder)
    }

    /// The command is over and left the folder as it was, but for what was staged and its log.
    pub(crate) fn leave(&self, order: &Order, mut skeleton: Skeleton, staged: &Staged, log: Option<&Path>) {
        skeleton.served.extend(order.items.iter().map(|item| item.item));
        skeleton.left = staged.files.values().map(|(file, _)| file.clone()).chain(log.map(Path::to_owned)).collect();
        let is_as_made = staged.folders == skeleton.folders && holds_nothing_else(&order.folder);
        let is_small = skeleton.folders.len() <= FOLDERS_AT_MOST && skeleton.served.len() <= ITEMS_AT_MOST;
        if is_as_made && is_small {
            self.lock().lent.insert(order.folder.clone(), skeleton);
        }
    }

    /// Whatever was to be kept has been taken out.
    pub(crate) fn take_back(&self, folder: &Path) {
        let lent = self.lock().lent.remove(folder);
        if let Some(mut skeleton) = lent
            && skeleton.left.drain(..).all(|file| is_removed(&file))
        {
            let mut all = self.lock();
            if all.free.len() < KEPT {
                all.free.push((folder.to_owned(), skeleton));
                return;
            }
        }
        // Also one that the collector took away may be there again: objects in the lake are checked in it. What cannot be
        // removed now goes with the other leftovers at the next start.
        let _ = fs::remove_dir_all(folder);
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Workplaces {
    fn drop(&mut self) {
        for (folder, _) in self.lock().free.drain(..) {
            // What cannot be removed now goes with the other leftovers at the next start.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

impl Skeleton {
    /// No item was ever served here, and none needs a file where a folder is.
    fn suits(&self, at: &Path, items: &[OrderItem]) -> bool {
        let out = at.join("out");
        items.iter().all(|item| {
            let file = staged_path(at, &item.key, item.item);
            let is_folder = file.strip_prefix(&out).is_ok_and(|file| self.folders.contains(file));
            !is_folder && !self.served.contains(&item.item)
        })
    }
}

/// Whether nothing of that name is there any more: a log may have been moved, and not only read.
fn is_removed(file: &Path) -> bool {
    match fs::remove_file(file) {
        Ok(()) => true,
        Err(why) => why.kind() == io::ErrorKind::NotFound,
    }
}

/// Beside `out/` only what we put there ourselves: scratch files and cookies of one attempt are nothing to the next.
fn holds_nothing_else(folder: &Path) -> bool {
    let mut holds_more = false;
    let looked = entries(folder, |name, kind| {
        let is_ours = match kind {
            Kind::Folder => name == "out",
            Kind::File => name == "items.jsonl" || name == "log",
            Kind::Other => false,
        };
        holds_more |= !is_ours;
    });
    looked.is_ok() && !holds_more
}
