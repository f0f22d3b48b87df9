//! Keeps the folders of attempts that left nothing behind, for the next attempts.
//!
//! Making and removing a handful of folders is most of what a short attempt costs: a disk that discards freed blocks
//! can do it some hundred times a second, a process starts in a millisecond. An attempt that staged, printed and made
//! nothing leaves its folders as they were; they are renamed, not removed and made again.
//!
//! Always true: a folder never serves the same item twice. Somebody who left the group of an earlier attempt, and is
//! still in its folder, can therefore not put a file in the place of a later attempt's
//! (`a_folder_never_serves_the_same_item_twice`).

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use adce_core::ids::ItemId;
use adce_core::ports::Order;

/// More would only lie about.
const KEPT: usize = 16;
/// Keys that lie in ever new folders fill a spare; then it is not kept.
const FOLDERS_AT_MOST: usize = 32;
const ITEMS_AT_MOST: usize = 256;

#[derive(Default)]
pub(crate) struct Spares {
    kept: Mutex<Vec<Spare>>,
}

/// A folder that nobody uses, and what is in it.
struct Spare {
    at: PathBuf,
    skeleton: Skeleton,
}

/// The folders in an attempt's folder, and the items that it has served.
#[derive(Debug, Default)]
pub(crate) struct Skeleton {
    /// Relative to `out/`, which is among them as the empty path.
    pub(crate) folders: HashSet<PathBuf>,
    served: HashSet<ItemId>,
}

impl Spares {
    /// Puts a spare in the place of the order's folder. `None`: it has to be made.
    pub(crate) fn take(&self, order: &Order) -> Option<Skeleton> {
        let mut kept = self.lock();
        let fits = kept.iter().position(|spare| spare.skeleton.suits(order) && spare.at.parent() == order.folder.parent())?;
        let spare = kept.swap_remove(fits);
        drop(kept);
        fs::rename(&spare.at, &order.folder).ok()?;
        Some(spare.skeleton)
    }

    /// Takes the order's folder away, if it is as good as new. `folders_seen`: how many there are in `out/`.
    pub(crate) fn keep(&self, order: &Order, mut skeleton: Skeleton, folders_seen: usize) {
        skeleton.served.extend(order.items.iter().map(|item| item.item));
        let is_as_made = folders_seen == skeleton.folders.len() && is_folder(&order.out_folder());
        let is_small = skeleton.folders.len() <= FOLDERS_AT_MOST && skeleton.served.len() <= ITEMS_AT_MOST;
        let mut kept = self.lock();
        if !is_as_made || !is_small || kept.len() == KEPT {
            return;
        }
        let at = order.folder.with_file_name(format!(".spare-{}", order.attempt));
        if fs::rename(&order.folder, &at).is_ok() {
            kept.push(Spare { at, skeleton });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        for spare in self.lock().drain(..) {
            // What cannot be removed now goes with the other leftovers at the next start.
            let _ = fs::remove_dir_all(&spare.at);
        }
    }
}

impl Skeleton {
    /// No item of the order was ever served here, and none needs a file where a folder is.
    fn suits(&self, order: &Order) -> bool {
        let out = order.out_folder();
        order.items.iter().all(|item| {
            let file = order.staged_path(item);
            let is_folder = file.strip_prefix(&out).is_ok_and(|file| self.folders.contains(file));
            !is_folder && !self.served.contains(&item.item)
        })
    }
}

/// Links to folders are none.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}
