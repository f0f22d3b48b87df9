//! Opening the database file: is it ours, of a format we know, of this lake, and whole?
//!
//! Everything that could be wrong with a file is found here, before an engine believes a row of it, and a file that is
//! refused is left as it was (`a_refused_state_is_left_as_it_was`).

use std::path::Path;
use std::time::Duration;

use adce_core::ports::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::fault::{Trouble, corrupt, with_suffix};
use crate::Identity;

/// One script per format, in order; a state of format n needs those from n on. A script is never changed once released.
const MIGRATIONS: [&str; 3] =
    [include_str!("migrations/0001.sql"), include_str!("migrations/0002_contested.sql"), include_str!("migrations/0003_collectors.sql")];

/// The format that this adce writes (`PRAGMA user_version`).
pub const FORMAT: u32 = MIGRATIONS.len() as u32;

/// "adce" as SQLite's `application_id`: tells our file from any other database.
const APPLICATION_ID: i32 = 0x6164_6365;

/// The write-ahead log is folded back into the database at this size, in pages of 4 KiB: rarely enough not to be seen
/// in commit times, often enough that reading through it stays cheap.
const CHECKPOINT_PAGES: u32 = 4_000;

/// What a file turned out to be.
enum Found {
    Nothing,
    State { format: u32 },
}

/// Opens or creates the state for its one writer. The caller owns it.
pub(super) fn open_to_write(path: &Path, identity: &Identity, boot_id: &str) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(|error| Trouble::from(error).at(path))?;
    let at = |trouble: Trouble| trouble.at(path);
    let ready = db.busy_timeout(PATIENCE).and_then(|()| fold_log_on_close(&db, false));
    ready.map_err(|error| at(error.into()))?;
    let format = match examine(&db, path)? {
        Found::Nothing => 0,
        Found::State { format } => {
            check_identity(&db, path, identity)?;
            check_whole(&db, path)?;
            format
        }
    };
    prepare_for_writing(&db).map_err(at)?;
    migrate(&mut db, format, identity, boot_id).map_err(at)?;
    fold_log_on_close(&db, true).map_err(|error| at(error.into()))?;
    Ok(db)
}

/// Closing the last connection folds the write-ahead log into the file; not into a file that we refuse.
fn fold_log_on_close(db: &Connection, fold: bool) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !fold).map(drop)
}

/// Opens what is there for reading; `None` if no engine ever wrote a state here. Creates no database.
pub(super) fn open_to_read(path: &Path, identity: &Identity) -> Result<Option<Connection>, StoreError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::Unreachable(format!("`{}`: {error}", path.display()))),
        Ok(_) => {}
    }
    let db = connect_to_read(path).map_err(|trouble| trouble.at(path))?;
    match examine(&db, path)? {
        Found::Nothing => Ok(None),
        Found::State { format } if format < FORMAT => Err(StoreError::Unreachable(format!(
            "`{}` has the older format {format}; the next `adce run` brings it to format {FORMAT}",
            path.display()
        ))),
        Found::State { .. } => {
            check_identity(&db, path, identity)?;
            Ok(Some(db))
        }
    }
}

/// How long one connection waits for another: only recovery after a kill takes such a lock, for milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

fn connect_to_read(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let readable = |db: Connection| -> rusqlite::Result<Connection> {
        db.busy_timeout(PATIENCE)?;
        db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(db)
    };
    let first = Connection::open_with_flags(path, flags).and_then(readable);
    let in_a_way = first.as_ref().is_err_and(|error| {
        use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
        matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly))
    });
    // In a folder where we may not write, SQLite cannot share memory with a writer. Without a write-ahead log there is
    // no writer, and the file itself is the whole truth.
    if in_a_way && !with_suffix(path, "-wal").exists() {
        let uri = format!("file:{}?immutable=1", uri_path(path));
        return Ok(Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).and_then(readable)?);
    }
    Ok(first?)
}

fn uri_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    path.as_os_str()
        .as_bytes()
        .iter()
        .map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn examine(db: &Connection, path: &Path) -> Result<Found, StoreError> {
    let number = |pragma: &str| db.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0));
    let look = || -> rusqlite::Result<(i64, i64, i64)> {
        let tables = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((number("user_version")?, number("application_id")?, tables))
    };
    let (format, application, tables) = look().map_err(|error| Trouble::from(error).at(path))?;
    if (format, application, tables) == (0, 0, 0) {
        return Ok(Found::Nothing);
    }
    if application != i64::from(APPLICATION_ID) {
        return Err(corrupt(path, "it is a database of another program"));
    }
    match u32::try_from(format) {
        Ok(found) if found > FORMAT => Err(StoreError::Newer { found, known: FORMAT }),
        Ok(format) if format > 0 => Ok(Found::State { format }),
        _ => Err(corrupt(path, &format!("it says that it has format {format}"))),
    }
}

fn check_identity(db: &Connection, path: &Path, configured: &Identity) -> Result<(), StoreError> {
    let remembered = db
        .query_row("SELECT name, lake FROM meta", [], |row| Ok(Identity { name: row.get(0)?, lake: row.get(1)? }))
        .optional()
        .map_err(|error| Trouble::from(error).at(path))?
        .ok_or_else(|| corrupt(path, "it does not say whose it is"))?;
    if remembered == *configured {
        return Ok(());
    }
    Err(StoreError::OtherLake {
        remembered: remembered.to_string(),
        configured: format!("{configured}; the state is `{}`: give this config a `state:` of its own", path.display()),
    })
}

/// A state whose engine was killed is read through once, because a kill may have been a crash of the whole machine.
fn check_whole(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let check = || -> rusqlite::Result<Option<String>> {
        let clean: bool = db.query_row("SELECT ended_clean FROM meta", [], |row| row.get(0))?;
        if clean {
            return Ok(None);
        }
        let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok((verdict != "ok").then_some(verdict))
    };
    match check().map_err(|error| Trouble::from(error).at(path))? {
        Some(damage) => Err(corrupt(path, &damage)),
        None => Ok(()),
    }
}

fn prepare_for_writing(db: &Connection) -> Result<(), Trouble> {
    let journal: String = db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if journal != "wal" {
        return Err(Trouble::Refused(StoreError::Unreachable(format!(
            "the file system of the state cannot share memory between processes (journal mode `{journal}`); \
             put `state:` on a local disk"
        ))));
    }
    db.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = 67108864;
         PRAGMA cache_size = -16384;
         PRAGMA temp_store = MEMORY;"
    ))?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn migrate(db: &mut Connection, from: u32, identity: &Identity, boot_id: &str) -> Result<(), Trouble> {
    let change = db.transaction()?;
    for script in &MIGRATIONS[from as usize..] {
        change.execute_batch(script)?;
    }
    if from == 0 {
        change.execute(
            "INSERT INTO meta (only_row, name, lake, boot_id, last_token, latest, ended_clean) VALUES (1, ?, ?, ?, 0, NULL, 0)",
            params![identity.name, identity.lake, boot_id],
        )?;
    }
    change.execute("UPDATE meta SET boot_id = ?, ended_clean = 0", [boot_id])?;
    change.execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT};"))?;
    Ok(change.commit()?)
}
