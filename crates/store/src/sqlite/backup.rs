//! A copy of a state as it is at one moment, beside the engine that writes it.
//!
//! Copying the file by hand while an engine runs gives a torn one: the latest commits lie in the log beside it. SQLite
//! copies what one reader sees, which shuts nobody out. The copy has its name only once it is whole, checked and on disk
//! (`a_copy_is_whole_while_the_engine_writes`), and only its owner may read it: it says what the lake is and what runs.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
    #[error("`{0}`: {1}")]
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
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).join(path.file_name().unwrap_or_default())
    };
    let same_file = path.metadata().is_ok_and(|state| to.metadata().is_ok_and(|to| (state.dev(), state.ino()) == (to.dev(), to.ino())));
    let to = real(to);
    same_file || ["", "-wal", "-shm", ".lock"].iter().any(|suffix| real(&with_suffix(path, suffix)) == to)
}

/// The copy under a name that nobody asks for; removed unless it was published.
struct Part(PathBuf);

impl Part {
    fn new(to: &Path) -> Result<Part, BackupError> {
        let part = with_suffix(to, &format!(".part-{}", std::process::id()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        made.map_err(|error| BackupError::Target(part.clone(), error))?;
        Ok(Part(part))
    }

    fn fill(&self, state: &Connection, path: &Path) -> Result<(), StoreError> {
        let of_copy = |error: rusqlite::Error| Trouble::from(error).at(&self.0);
        let mut copy = Connection::open_with_flags(&self.0, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(of_copy)?;
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
            let file = File::open(&self.0)?;
            file.sync_all()?;
            match overwrite {
                Overwrite::Yes => std::fs::rename(&self.0, to)?,
                // A link, unlike a rename, replaces nothing that came meanwhile.
                Overwrite::Never => std::fs::hard_link(&self.0, to)?,
            }
            let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()?;
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
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = std::fs::remove_file(with_suffix(&self.0, suffix));
        }
    }
}
