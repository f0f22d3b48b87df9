//! What SQLite reports, as what the caller can do about it.

use std::path::{Path, PathBuf};

use adce_core::ports::StoreError;
use rusqlite::ErrorCode;

/// Why a piece of work inside the database did not happen.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The database refused it by its own rules; the connection and all other work are fine.
    Refused(StoreError),
    /// SQLite or the disk below it failed; whatever shared the transaction failed with it.
    Sqlite(rusqlite::Error),
    /// A row holds what no adce of this format wrote.
    Unreadable { table: &'static str, detail: String },
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Trouble::Sqlite(error)
    }
}

impl Trouble {
    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Trouble::Refused(refusal) => refusal,
            Trouble::Unreadable { table, detail } => corrupt(path, &format!("table `{table}`: {detail}")),
            Trouble::Sqlite(error) => of_sqlite(&error, path),
        }
    }
}

fn of_sqlite(error: &rusqlite::Error, path: &Path) -> StoreError {
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => corrupt(path, &error.to_string()),
        Some(ErrorCode::DiskFull) => StoreError::NoRoom(format!("`{shown}` cannot grow ({error}); free space and it goes on")),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            StoreError::Unreachable(format!("`{shown}` or its folder is not writable ({error})"))
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Unreachable(format!("`{shown}` is locked by another program ({error}); end what has it open"))
        }
        Some(ErrorCode::CannotOpen) => StoreError::Unreachable(format!("`{shown}` cannot be opened ({error})")),
        _ => StoreError::Unreachable(format!("`{shown}`: {error}")),
    }
}

/// What a state that is made anew does not remember.
pub const LOST_WITHOUT_A_COPY: &str = "Lost are the history, the counts of attempts, absences on record, and which permits were used: \
    where that matters, wait for as long as the longest window of the limits first";

/// Names the file and the way back: what is in a state can be worked out again, but for its history.
pub(super) fn corrupt(path: &Path, detail: &str) -> StoreError {
    let beside = |suffix| with_suffix(path, suffix).display().to_string();
    StoreError::Corrupt(format!(
        "`{}`: {detail}; move it away, with `{}` and `{}` if they exist: the next run rebuilds it from the config and the lake. \
         {LOST_WITHOUT_A_COPY}. Or put a copy that `adce state backup` made in its place",
        path.display(),
        beside("-wal"),
        beside("-shm"),
    ))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
