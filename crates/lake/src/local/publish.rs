//! Publishing into a local lake: whole or absent at every instant, on disk when it returns `Ok`.
//!
//! The order is the whole point: copy into a temporary file on the same file system, sync the *content*, make sure the
//! names of all folders on the way are on disk, rename, sync the *folder*. A rename that overtakes the content leaves an
//! empty object after a power cut; a folder that was not synced forgets an object that was reported as there. Both
//! are held by `tests/crash.rs`, at every operation.
//!
//! Several engines, each with a state of its own, may publish into one lake, and one that starts sweeps the temporary files
//! of the others away: what was swept is written again
//! (`a_temporary_file_that_another_engine_swept_away_is_written_again`). Nor does it matter who of two that publish at once
//! makes the folder for these files (`two_that_publish_at_once_into_a_new_lake_both_do`).
//!
//! The staged file is copied, not moved: a process that escaped its collector may still hold it open for writing.

use std::io;
use std::path::{Path, PathBuf};

use adce_core::failpoint::{self, Failpoint};
use adce_core::object::{Object, Precondition};
use adce_core::ports::{LakeError, PublishError};
use uuid::Uuid;

use super::place::{at_key, join, segments};
use super::{Shared, object};
use crate::files::{Kind, Stat};

/// So many folder names are remembered as durable; then it starts afresh, at the price of a sync for each.
const DURABLE_MAX: usize = 100_000;
/// An engine sweeps once, when it starts: so many starts during one publish are no chance any more.
const SWEEPS_AT_MOST: u32 = 5;

pub(super) fn publish(lake: &Shared, file: &Path, key: &str, only_if: &Precondition) -> Result<Object, PublishError> {
    let segments = segments(key)?;
    // Most conflicts show before anything is written.
    check(lake, key, only_if)?;
    for _ in 0..SWEEPS_AT_MOST {
        if let Some(object) = write_and_place(lake, file, key, &segments, only_if)? {
            return Ok(object);
        }
    }
    let detail = format!("its temporary file was removed {SWEEPS_AT_MOST} times while it was published");
    Err(LakeError::Unavailable { what: format!("`{key}`"), detail }.into())
}

/// `None`: somebody removed the temporary file meanwhile, and nothing has happened.
fn write_and_place(
    lake: &Shared,
    file: &Path,
    key: &str,
    segments: &[&str],
    only_if: &Precondition,
) -> Result<Option<Object>, PublishError> {
    let temporary = lake.temporary().join(format!("{}.part", Uuid::now_v7()));
    let placed = write(lake, file, &temporary, key)
        .map_err(PublishError::from)
        .and_then(|stat| Ok(put_in_place(lake, &temporary, key, segments, only_if)?.then(|| object(key.into(), &stat))));
    if placed.is_err() {
        // It may be gone already; if not, the next start removes it.
        let _ = lake.files.remove(&temporary);
    }
    placed
}

fn check(lake: &Shared, key: &str, only_if: &Precondition) -> Result<(), PublishError> {
    let there = lake.head(key)?;
    let holds = match (only_if, &there) {
        (Precondition::Absent, there) => there.is_none(),
        (Precondition::Unchanged { etag }, there) => there.as_ref().is_some_and(|there| there.etag == *etag),
    };
    if holds { Ok(()) } else { Err(PublishError::Conflict(there)) }
}

/// The content, on disk, under a temporary name.
fn write(lake: &Shared, file: &Path, temporary: &Path, key: &str) -> Result<Stat, LakeError> {
    let copy = || {
        let written = lake.files.copy_new(file, temporary)?;
        failpoint::reached(Failpoint::PartWritten);
        written.sync()?;
        failpoint::reached(Failpoint::PartSynced);
        written.stat()
    };
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut copied = copy();
    if copied.as_ref().is_err_and(missing) {
        // The first of a new lake. Another publish may have made the folder since.
        match lake.files.create_folder(&lake.temporary()) {
            Err(error) if missing(&error) => lake.root_is_there()?,
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at_key(key, error)),
            _ => {}
        }
        copied = copy();
    }
    copied.map_err(|error| at_key(key, error))
}

/// `false`: the temporary file is not there any more.
fn put_in_place(lake: &Shared, temporary: &Path, key: &str, segments: &[&str], only_if: &Precondition) -> Result<bool, PublishError> {
    let _alone = lake.stripe(key).lock().expect("nothing panics while it is held");
    let (folders, path) = (&segments[..segments.len() - 1], join(&lake.root, segments));
    make_folders(lake, key, folders)?;
    let mut moved = rename(lake, temporary, &path, key, only_if);
    if matches!(&moved, Err(Moved::Failed(error)) if error.kind() == io::ErrorKind::NotFound) {
        // Somebody removed a folder that was known to be there.
        lake.durable.lock().expect("no panic while it is held").clear();
        make_folders(lake, key, folders)?;
        moved = rename(lake, temporary, &path, key, only_if);
    }
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match moved {
        Err(Moved::Failed(error)) if is_missing(&error) && lake.files.look(temporary).is_err_and(|error| is_missing(&error)) => {
            lake.root_is_there()?;
            return Ok(false);
        }
        Ok(()) => {}
        Err(Moved::Conflict(conflict)) => return Err(conflict),
        Err(Moved::Failed(error)) => return Err(at_key(key, error).into()),
    }
    failpoint::reached(Failpoint::Renamed);
    let folder = path.parent().unwrap_or(&lake.root);
    lake.files.sync_folder(folder).map_err(|error| at_key(key, error))?;
    failpoint::reached(Failpoint::Published);
    Ok(true)
}

enum Moved {
    Conflict(PublishError),
    Failed(io::Error),
}

fn rename(lake: &Shared, from: &Path, to: &Path, key: &str, only_if: &Precondition) -> Result<(), Moved> {
    match only_if {
        Precondition::Absent => match lake.files.rename_new(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Moved::Conflict(taken(lake, to, key))),
            other => other.map_err(Moved::Failed),
        },
        Precondition::Unchanged { .. } => {
            check(lake, key, only_if).map_err(Moved::Conflict)?;
            lake.files.rename(from, to).map_err(Moved::Failed)
        }
    }
}

/// The name is in use: by an object, or by something that cannot be one.
fn taken(lake: &Shared, path: &Path, key: &str) -> PublishError {
    match lake.head(key) {
        Ok(Some(there)) => PublishError::Conflict(Some(there)),
        Err(error) => error.into(),
        Ok(None) => {
            let detail = match lake.files.look(path).map(|stat| stat.kind) {
                Ok(Kind::Folder) => "a folder lies where the object should be",
                Ok(Kind::Link) => "a link that leads to no object of this lake lies there",
                Ok(_) => "something that is not a regular file lies there",
                Err(_) => return PublishError::Conflict(None),
            };
            LakeError::BadKey { key: key.into(), detail: detail.into() }.into()
        }
    }
}

/// Every folder on the way exists, is no link, and its name is on disk. One that was there already may have been made by
/// a program that never synced, so each is synced once by us.
fn make_folders(lake: &Shared, key: &str, folders: &[&str]) -> Result<(), LakeError> {
    let mut path = lake.root.clone();
    for folder in folders {
        let parent = path.clone();
        path.push(folder);
        if lake.durable.lock().expect("no panic while it is held").contains(&path) {
            continue;
        }
        make_folder(lake, key, &path)?;
        failpoint::reached(Failpoint::FolderMade);
        lake.files.sync_folder(&parent).map_err(|error| at_key(key, error))?;
        failpoint::reached(Failpoint::FolderSynced);
        remember(lake, path.clone());
    }
    Ok(())
}

fn make_folder(lake: &Shared, key: &str, path: &Path) -> Result<(), LakeError> {
    match lake.files.create_folder(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match lake.files.look(path).map(|stat| stat.kind) {
            Ok(Kind::Folder) => Ok(()),
            Ok(kind) => Err(LakeError::BadKey {
                key: key.into(),
                detail: match kind {
                    Kind::Link => format!("`{}` is a link, and adce does not write through links", path.display()),
                    _ => format!("`{}` is not a folder", path.display()),
                },
            }),
            Err(error) => Err(at_key(key, error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => lake.root_is_there().and(Err(at_key(key, error))),
        Err(error) => Err(at_key(key, error)),
    }
}

fn remember(lake: &Shared, folder: PathBuf) {
    let mut durable = lake.durable.lock().expect("no panic while it is held");
    if durable.len() >= DURABLE_MAX {
        durable.clear();
    }
    durable.insert(folder);
}

/// A folder that is empty afterwards stays, as it may be one that somebody has just made.
pub(super) fn remove(lake: &Shared, key: &str, etag: &str) -> Result<(), LakeError> {
    let segments = segments(key)?;
    let _alone = lake.stripe(key).lock().expect("nothing panics while it is held");
    if lake.head(key)?.is_none_or(|there| there.etag != etag) {
        return Ok(());
    }
    let path = join(&lake.root, &segments);
    match lake.files.remove(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(|error| at_key(key, error))?,
    }
    lake.files.sync_folder(path.parent().unwrap_or(&lake.root)).map_err(|error| at_key(key, error))
}

/// Removes the temporary files of a predecessor. Other files in that folder are not ours and stay.
pub(super) fn sweep(lake: &Shared) -> Result<u64, LakeError> {
    lake.root_is_there()?;
    let folder = lake.temporary();
    let mut leftovers = Vec::new();
    let read = lake.files.entries(&folder, &mut |entry| {
        let name = entry.name.to_str().and_then(|name| name.strip_suffix(".part"));
        if entry.kind == Kind::File && name.is_some_and(|name| Uuid::try_parse(name).is_ok()) {
            leftovers.push(folder.join(entry.name));
        }
        std::ops::ControlFlow::Continue(())
    });
    let what = || format!("folder `{}`", folder.display());
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        read => read.map_err(|error| super::doing(what(), error))?,
    }
    let mut removed = 0;
    for leftover in leftovers {
        match lake.files.remove(&leftover) {
            Ok(()) => removed += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(super::doing(what(), error)),
        }
    }
    Ok(removed)
}
