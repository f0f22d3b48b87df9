//! A copy of a state as it is at one moment, beside the engine that writes it.
//!
//! Copying the file by hand while an engine runs gives a torn one: the latest commits lie in the log beside it. SQLite
//! copies what one reader sees, which shuts nobody out. The copy has its name only once it is whole, checked and on disk
//! (`a_copy_is_whole_while_the_engine_writes`), and only its owner may read it: it says what the lake is and what runs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use adce_core::failpoint::{self, Failpoint};
use adce_core::ports::StoreError;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::fault::{Trouble, corrupt, with_suffix};
use super::schema;
use crate::Identity;

/// What may happen to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    Never,
    Yes,
}

/// Why there is no copy. Nothing that was there before has changed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    State(#[from] StoreError),
    #[error("`{0}` is there already")]
    Exists(PathBuf),
    #[error("`{0}` is the state itself, or stands beside it")]
    Itself(PathBuf),
    #[error("there is no folder `{0}`")]
    NoFolder(PathBuf),
    #[error("`{0}` cannot be written")]
    Target(PathBuf, #[source] io::Error),
}

/// Copies the state at `path` to the file `to`, whatever its format; `None`: there is no state. The copy's size in bytes.
pub fn backup(path: &Path, identity: &Identity, to: &Path, overwrite: Overwrite) -> Result<Option<u64>, BackupError> {
    let Some(state) = schema::open_as_it_is(path, identity)? else { return Ok(None) };
    if overwrite == Overwrite::Never && to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    if is_the_state(path, to) {
        return Err(BackupError::Itself(to.to_owned()));
    }
    let part = Part::new(to)?;
    part.fill(&state, path)?;
    part.publish(to, overwrite).map(Some)
}

/// Whether a copy there would take the place of the state, under whatever name, or of a file that belongs to it.
fn is_the_state(path: &Path, to: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let real = |path: &Path| {
        let folder = folder_of(path);
        folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).join(path.file_name().unwrap_or_default())
    };
    let same_file = path.metadata().is_ok_and(|state| to.metadata().is_ok_and(|to| (state.dev(), state.ino()) == (to.dev(), to.ino())));
    let to = real(to);
    same_file || ["", "-wal", "-shm", ".lock"].iter().any(|suffix| real(&with_suffix(path, suffix)) == to)
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The copy under a name that nobody asks for; removed unless it was published. Its maker holds a lock on it, by which
/// others know that it lives.
struct Part {
    path: PathBuf,
    _lock: File,
}

impl Part {
    fn new(to: &Path) -> Result<Part, BackupError> {
        remove_parts_of_the_dead(to);
        let path = with_suffix(to, &format!(".part-{}", std::process::id()));
        if !folder_of(to).is_dir() {
            return Err(BackupError::NoFolder(folder_of(to).to_owned()));
        }
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|made| made.lock().map(|()| made));
        let lock = made.map_err(|error| BackupError::Target(to.to_owned(), error))?;
        Ok(Part { path, _lock: lock })
    }

    fn fill(&self, state: &Connection, path: &Path) -> Result<(), StoreError> {
        let of_copy = |error: rusqlite::Error| Trouble::from(error).at(&self.path);
        let mut copy = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(of_copy)?;
        {
            let copying = Backup::new(state, &mut copy).map_err(of_copy)?;
            // In one step it is one reader's moment; in several, a writer in between would start it anew.
            match copying.step(-1).map_err(|error| Trouble::from(error).at(path))? {
                StepResult::Done => {}
                _ => return Err(StoreError::Unreachable(format!("`{}` is locked by another program", path.display()))),
            }
        }
        // So that the copy is one file.
        copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).map_err(of_copy)?;
        let verdict: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(of_copy)?;
        if verdict != "ok" {
            return Err(corrupt(path, &verdict));
        }
        copy.close().map_err(|(_, error)| of_copy(error))
    }

    fn publish(self, to: &Path, overwrite: Overwrite) -> Result<u64, BackupError> {
        let publish = || -> io::Result<u64> {
            failpoint::reached(Failpoint::CopyFilled);
            let file = File::open(&self.path)?;
            file.sync_all()?;
            failpoint::reached(Failpoint::CopySynced);
            match overwrite {
                Overwrite::Yes => std::fs::rename(&self.path, to)?,
                Overwrite::Never => place_new(&self.path, to, |from, to| std::fs::hard_link(from, to))?,
            }
            failpoint::reached(Failpoint::CopyPlaced);
            File::open(folder_of(to))?.sync_all()?;
            Ok(file.metadata()?.len())
        };
        publish().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
            _ => BackupError::Target(to.to_owned(), error),
        })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        remove_part(&self.path);
    }
}

/// Replaces nothing that came meanwhile: a link, unlike a rename, does not.
fn place_new(part: &Path, to: &Path, link: impl FnOnce(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    match link(part, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            // Memory cards and some network file systems have no links: there the name is taken first. Who dies between
            // the two leaves an empty file, which is no state.
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
            std::fs::rename(part, to).inspect_err(|_| drop(std::fs::remove_file(to)))
        }
        placed => placed,
    }
}

fn remove_part(path: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(with_suffix(path, suffix));
    }
}

/// What copies to the same name have left whose maker was killed: nobody holds a lock on it.
fn remove_parts_of_the_dead(to: &Path) {
    let folder = folder_of(to);
    let Some(name) = to.file_name().and_then(|name| name.to_str()) else { return };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let maker = entry.file_name().to_str().and_then(|part| part.strip_prefix(name)?.strip_prefix(".part-")?.parse::<u32>().ok());
        if maker.is_some() && File::open(entry.path()).is_ok_and(|part| part.try_lock().is_ok()) {
            remove_part(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_links_are_refused_a_copy_gets_its_name_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (part, to) = (folder.path().join("part"), folder.path().join("copy"));
        let refused = |_: &Path, _: &Path| Err(io::ErrorKind::PermissionDenied.into());
        std::fs::write(&part, "a copy").unwrap();
        place_new(&part, &to, refused).unwrap();
        assert_eq!((std::fs::read_to_string(&to).unwrap().as_str(), part.exists()), ("a copy", false));
        std::fs::write(&part, "another").unwrap();
        assert_eq!(place_new(&part, &to, refused).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "a copy");
    }

    #[test]
    fn what_a_dead_maker_left_goes_and_what_a_living_one_writes_stays() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("copy");
        let [dead, alive, notes] = ["copy.part-1", "copy.part-2", "copy.part-of-mine"].map(|name| folder.path().join(name));
        [&dead, &alive, &notes].into_iter().for_each(|part| std::fs::write(part, "half").unwrap());
        let held = File::open(&alive).unwrap();
        held.lock().unwrap();
        remove_parts_of_the_dead(&to);
        assert_eq!([dead, alive, notes].map(|part| part.exists()), [false, true, true]);
    }
}
