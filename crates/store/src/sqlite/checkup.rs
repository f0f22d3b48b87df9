//! Reading through a whole state, beside the engine that writes it: is every page of it whole, and does what the rows say
//! fit together?
//!
//! A start looks for damage only as far as that costs moments; a person who doubts a disk wants all of it looked at, and
//! all that is wrong at once (`every_damage_is_named`). It changes nothing.

use std::collections::HashMap;
use std::path::Path;

use adce_core::gap::Gap;
use adce_core::ids::GapId;
use adce_core::ports::StoreError;
use adce_core::record::AttemptRecord;
use adce_core::time::{Moment, Timestamp};
use rusqlite::Connection;

use super::columns::{Columns, unsigned};
use super::fault::{Trouble, with_suffix};
use super::reader::{leases, remembered};
use super::schema;
use crate::Identity;

/// What a look through a state has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkup {
    /// Of the file, and of the write-ahead log beside it.
    pub bytes: u64,
    pub log_bytes: u64,
    pub gaps: u64,
    pub tasks: u64,
    pub leases: u64,
    /// Of these, so many that nobody has renewed in time.
    pub leases_expired: u64,
    pub attempts: u64,
    pub events: u64,
    /// By its own count.
    pub history_bytes: u64,
    /// When the oldest attempt that is kept ended.
    pub history_since: Option<Timestamp>,
    /// All that is wrong; empty: the state is whole.
    pub problems: Vec<String>,
}

/// So many of a kind are named.
const NAMED: usize = 20;

/// Reads through the state at `path`; `None`: there is none. What cannot even be opened is an error.
pub fn check(path: &Path, identity: &Identity, now: &Moment) -> Result<Option<Checkup>, StoreError> {
    let Some(db) = schema::open_to_read(path, identity)? else { return Ok(None) };
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let mut checkup = Checkup { bytes: size(path), log_bytes: size(&with_suffix(path, "-wal")), ..Checkup::default() };
    let mut look = || -> Result<(), Trouble> {
        let moment = db.unchecked_transaction()?;
        let mut problems = pages(&moment)?;
        // Rows of damaged pages say nothing that could be relied on.
        if problems.is_empty() {
            count(&moment, &mut checkup)?;
            problems = rows(&moment)?;
            if problems.is_empty() {
                checkup.leases_expired = leases(&moment)?.iter().filter(|lease| lease.until.has_come(now)).count() as u64;
            }
        }
        checkup.problems = problems;
        Ok(())
    };
    match look() {
        Ok(()) => {}
        Err(trouble) => match trouble.at(path) {
            // Also this is what was asked for.
            StoreError::Corrupt(damage) => checkup.problems.push(damage),
            error => return Err(error),
        },
    }
    Ok(Some(checkup))
}

fn count(db: &Connection, checkup: &mut Checkup) -> Result<(), Trouble> {
    let number = |sql: &str| -> Result<u64, Trouble> { Ok(unsigned(db.query_row(sql, [], |row| row.get(0))?)) };
    checkup.gaps = number("SELECT count(*) FROM gap WHERE dataset IS NOT NULL")?;
    checkup.tasks = number("SELECT count(*) FROM task")?;
    checkup.leases = number("SELECT count(*) FROM lease")?;
    checkup.attempts = number("SELECT count(*) FROM attempt")?;
    checkup.events = number("SELECT count(*) FROM event")?;
    checkup.history_bytes = number("SELECT history_bytes FROM meta")?;
    let since: Option<i64> = db.query_row("SELECT min(ended_at) FROM attempt", [], |row| row.get(0))?;
    checkup.history_since = Columns("attempt").instant_if(since)?;
    Ok(())
}

/// What SQLite itself finds: torn and missing pages, indexes without rows, columns of another type.
fn pages(db: &Connection) -> Result<Vec<String>, Trouble> {
    let mut problems = texts(db, &format!("PRAGMA integrity_check({NAMED})"))?;
    problems.retain(|verdict| verdict != "ok");
    problems.extend(texts(db, "SELECT 'a row of `' || \"table\" || '` refers to nothing' FROM pragma_foreign_key_check")?);
    Ok(problems)
}

/// What must hold between the rows, whatever was killed when.
fn rows(db: &Connection) -> Result<Vec<String>, Trouble> {
    let mut problems = Vec::new();
    for (what, sql) in BETWEEN_ROWS {
        let found = texts(db, &format!("{sql} LIMIT {NAMED}"))?;
        problems.extend(found.into_iter().map(|whose| format!("{whose} {what}")));
    }
    // Everything that a starting engine reads.
    if let Err(trouble) = remembered(db) {
        problems.push(words(trouble)?);
        return Ok(problems);
    }
    problems.extend(bodies(db)?);
    problems.extend(owners(db)?);
    let counted = texts(
        db,
        "SELECT history_bytes FROM meta WHERE history_bytes <>
             (SELECT coalesce(sum(octet_length(body) + 64), 0) FROM attempt) + (SELECT coalesce(sum(octet_length(text) + 64), 0) FROM event)",
    )?;
    problems.extend(counted.into_iter().map(|bytes| format!("the history takes other than the {bytes} bytes that are on record")));
    Ok(problems)
}

/// What is said of those that the query finds. That no gap is in two tasks its only row says.
const BETWEEN_ROWS: [(&str, &str); 5] = [
    ("is in a task and not open", "SELECT 'gap ' || lower(hex(item)) || ', episode ' || episode || ',' FROM gap WHERE dataset IS NULL"),
    (
        "has gaps and is not there",
        "SELECT DISTINCT 'task ' || task FROM gap WHERE task IS NOT NULL AND NOT EXISTS (SELECT 1 FROM task WHERE task.seq = gap.task)",
    ),
    ("has no gaps", "SELECT 'task t_' || lower(hex(id)) FROM task WHERE NOT EXISTS (SELECT 1 FROM gap WHERE gap.task = task.seq)"),
    (
        "is open in several episodes at once",
        "SELECT 'item ' || lower(hex(item)) FROM gap WHERE dataset IS NOT NULL GROUP BY item HAVING count(*) > 1",
    ),
    (
        "is of an attempt that has no lease",
        "SELECT 'process group ' || process_group FROM process WHERE NOT EXISTS (SELECT 1 FROM lease WHERE lease.attempt = process.attempt)",
    ),
];

/// Bodies that cannot be read, or speak of another row.
fn bodies(db: &Connection) -> Result<Vec<String>, Trouble> {
    let mut problems = Vec::new();
    let mut statement = db.prepare("SELECT item, episode, body FROM gap WHERE body IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let columns = Columns("gap");
        let id = columns.gap(&row.get::<_, Vec<u8>>(0)?, row.get(1)?)?;
        let gap: Gap = columns.json(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?;
        if gap.id != id && problems.len() < NAMED {
            problems.push(format!("the row of gap {}, episode {}, speaks of another: `{}`", id.item, id.episode, gap.key));
        }
    }
    let mut statement = db.prepare("SELECT seq, body FROM attempt")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let read = Columns("attempt").json::<AttemptRecord>(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?);
        if let (Err(trouble), true) = (read, problems.len() < NAMED) {
            problems.push(format!("attempt {} of the history: {}", row.get::<_, i64>(0)?, words(trouble)?));
        }
    }
    Ok(problems)
}

/// A gap has one owner, and no token was given twice.
fn owners(db: &Connection) -> Result<Vec<String>, Trouble> {
    let mut problems = Vec::new();
    let last: i64 = db.query_row("SELECT last_token FROM meta", [], |row| row.get(0))?;
    let mut owners: HashMap<GapId, String> = HashMap::new();
    for lease in leases(db)? {
        if lease.token.0 > unsigned(last) {
            problems.push(format!("attempt {} has token {}, and the last one that was given is {last}", lease.attempt, lease.token.0));
        }
        for gap in lease.gaps {
            if let Some(other) = owners.insert(gap, lease.attempt.to_string()) {
                problems.push(format!("gap {}, episode {}, has two owners: attempts {other} and {}", gap.item, gap.episode, lease.attempt));
            }
        }
    }
    problems.truncate(NAMED);
    Ok(problems)
}

/// What a row that cannot be read is called; trouble of another kind is none of the state's.
fn words(trouble: Trouble) -> Result<String, Trouble> {
    match trouble {
        Trouble::Unreadable { table, detail } => Ok(format!("table `{table}`: {detail}")),
        other => Err(other),
    }
}

fn texts(db: &Connection, sql: &str) -> Result<Vec<String>, Trouble> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(match row.get_ref(0)? {
            rusqlite::types::ValueRef::Integer(number) => number.to_string(),
            other => String::from_utf8_lossy(other.as_bytes().map_err(rusqlite::Error::from)?).into_owned(),
        });
    }
    Ok(all)
}
