//! Opening the database file: is it ours, of a format we know, of this lake, and whole?
//!
//! Everything that could be wrong with a file is found here, before an engine believes a row of it, and a file that is
//! refused is left as it was (`a_refused_state_is_left_as_it_was`).

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use adce_core::failpoint::{self, Failpoint};
use adce_core::ports::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::fault::{LOST_WITHOUT_A_COPY, Trouble, corrupt, with_suffix};
use crate::Identity;

/// One script per format, in order; a state of format n needs those from n on. None of these is ever changed
/// (`a_script_stays_what_it_was_when_states_of_its_format_were_made`): a change is one more script.
const MIGRATIONS: [&str; 9] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
];

/// The format that this adce writes (`PRAGMA user_version`).
pub const FORMAT: u32 = MIGRATIONS.len() as u32;

/// "adce" as SQLite's `application_id`: tells our file from any other database.
const APPLICATION_ID: i32 = 0x6164_6365;

/// The write-ahead log is folded back into the database at this size, in pages of 4 KiB: rarely enough that one large
/// commit does not bring it about, often enough that reading through it stays cheap, and no more than is kept of it
/// anyway (`journal_size_limit`).
const CHECKPOINT_PAGES: u32 = 16_000;

/// What a file turned out to be.
enum Found {
    Nothing,
    State { format: u32 },
}

/// Opens or creates the state for its one writer. The caller owns it.
pub(super) fn open_to_write(path: &Path, identity: &Identity, boot_id: &str) -> Result<Connection, StoreError> {
    let was_empty = std::fs::metadata(path).is_ok_and(|file| file.len() == 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // SQLite would let everybody read a new one, and gives its log and its index the same mode. It also says why there can
    // be none.
    let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut db = Connection::open_with_flags(path, flags).map_err(|error| Trouble::from(error).at(path))?;
    let at = |trouble: Trouble| trouble.at(path);
    let ready = db.busy_timeout(PATIENCE).and_then(|()| fold_log_on_close(&db, false));
    ready.map_err(|error| at(error.into()))?;
    let format = match examine(&db, path)? {
        Found::Nothing => {
            if was_empty {
                let shown = path.display();
                tracing::warn!("the state `{shown}` was there and empty, and is begun anew. If it held anything: {LOST_WITHOUT_A_COPY}");
            }
            0
        }
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
    match open_whatever_format(path, identity)? {
        Some((_, found)) if found < FORMAT => Err(StoreError::Older { state: path.display().to_string(), found, known: FORMAT }),
        opened => Ok(opened.map(|(db, _)| db)),
    }
}

/// As [`open_to_read`], for who only wants the file: also one of an older format.
pub(super) fn open_as_it_is(path: &Path, identity: &Identity) -> Result<Option<Connection>, StoreError> {
    Ok(open_whatever_format(path, identity)?.map(|(db, _)| db))
}

fn open_whatever_format(path: &Path, identity: &Identity) -> Result<Option<(Connection, u32)>, StoreError> {
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::Unreachable(format!("`{}`: {error}", path.display()))),
        Ok(_) => {}
    }
    let db = connect_to_read(path).map_err(|trouble| trouble.at(path))?;
    match examine(&db, path)? {
        Found::Nothing => Ok(None),
        Found::State { format } => {
            check_identity(&db, path, identity)?;
            Ok(Some((db, format)))
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
        Ok(found) if found > FORMAT => Err(StoreError::Newer { state: path.display().to_string(), found, known: FORMAT }),
        Ok(format) if format > 0 => {
            check_shape(db, path, format)?;
            Ok(Found::State { format })
        }
        _ => Err(corrupt(path, &format!("it says that it has format {format}"))),
    }
}

/// A number says little: a build between two releases, or a person, may have made other tables under it, and the first
/// statement that misses a column would say so in the middle of a run.
fn check_shape(db: &Connection, path: &Path, format: u32) -> Result<(), StoreError> {
    let differs = || -> rusqlite::Result<Option<String>> {
        let model = Connection::open_in_memory()?;
        MIGRATIONS[..format as usize].iter().try_for_each(|script| model.execute_batch(script))?;
        Ok(difference(&tables(&model)?, &tables(db)?))
    };
    match differs().map_err(|error| Trouble::from(error).at(path))? {
        None => Ok(()),
        Some(difference) => Err(corrupt(
            path,
            &format!("it says that it has format {format}, but {difference} (a build of adce between two releases may have written it)"),
        )),
    }
}

/// The columns of every table, each as SQLite describes it.
type Tables = BTreeMap<String, BTreeMap<String, String>>;

fn tables(db: &Connection) -> rusqlite::Result<Tables> {
    let mut tables = Tables::new();
    let sql = "SELECT tables.name, columns.name, columns.type || ' ' || columns.\"notnull\" || ' ' || columns.pk
               FROM sqlite_schema AS tables JOIN pragma_table_xinfo(tables.name) AS columns WHERE tables.type = 'table'";
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        tables.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
    }
    Ok(tables)
}

/// The first one; tables that a person added are nobody's business.
fn difference(expected: &Tables, found: &Tables) -> Option<String> {
    expected.iter().find_map(|(table, columns)| {
        let Some(there) = found.get(table) else { return Some(format!("it has no table `{table}`")) };
        let missing = columns.keys().find(|column| !there.contains_key(*column));
        let missing = missing.map(|column| format!("its table `{table}` has no column `{column}`"));
        let unknown = || there.keys().find(|column| !columns.contains_key(*column));
        let unknown = || unknown().map(|column| format!("its table `{table}` has a column `{column}`, which is not known"));
        let other = || columns.iter().find(|(column, is)| there.get(*column) != Some(is));
        let other = || other().map(|(column, _)| format!("column `{column}` of its table `{table}` is another"));
        missing.or_else(unknown).or_else(other)
    })
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
        configured: format!("{configured} (the state is `{}`)", path.display()),
    })
}

/// A state that is read through in a moment is read through at every start.
const SOON_READ_BYTES: u64 = 32 << 20;

/// A state whose engine was killed is read through once, because a kill may have been a crash of the whole machine; a
/// small one each time, because disks lose what was written well.
fn check_whole(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let check = || -> rusqlite::Result<Option<String>> {
        let clean: bool = db.query_row("SELECT ended_clean FROM meta", [], |row| row.get(0))?;
        if clean && std::fs::metadata(path).is_ok_and(|file| file.len() > SOON_READ_BYTES) {
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
         PRAGMA cache_size = -65536;
         PRAGMA temp_store = MEMORY;"
    ))?;
    db.set_prepared_statement_cache_capacity(64);
    // Otherwise statements are planned anew whenever other values are bound to them.
    db.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
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
    failpoint::reached(Failpoint::MigrationUncommitted);
    change.commit()?;
    failpoint::reached(Failpoint::Migrated);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_stays_what_it_was_when_states_of_its_format_were_made() {
        // Dumps of whole states, one per format but the newest.
        let made: [&str; MIGRATIONS.len() - 1] = [
            include_str!("../../tests/formats/0001.sql"),
            include_str!("../../tests/formats/0002.sql"),
            include_str!("../../tests/formats/0003.sql"),
            include_str!("../../tests/formats/0004.sql"),
            include_str!("../../tests/formats/0005.sql"),
            include_str!("../../tests/formats/0006.sql"),
            include_str!("../../tests/formats/0007.sql"),
            include_str!("../../tests/formats/0008.sql"),
        ];
        for (format, made) in (1..).zip(made) {
            let (was, is) = (Connection::open_in_memory().unwrap(), Connection::open_in_memory().unwrap());
            was.execute_batch(made).unwrap();
            MIGRATIONS[..format].iter().for_each(|script| is.execute_batch(script).unwrap());
            assert_eq!(difference(&tables(&was).unwrap(), &tables(&is).unwrap()), None, "format {format}");
            assert_eq!(tables(&was).unwrap().len(), tables(&is).unwrap().len(), "format {format}");
        }
    }
}
