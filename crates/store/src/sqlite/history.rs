//! Forgetting old history, so that a state that runs for years stays small. Nothing that decides is ever pruned.
//!
//! The file does not shrink: what is removed makes room for what comes, so it stays at the most that it ever held
//! (`a_year_of_attempts_fits_into_a_file_that_stops_growing`). A few hundred rows are removed at a time, between two
//! commits, and never more than twice of what was written since: nobody waits for long, and what is written never
//! outruns it.

use std::collections::VecDeque;

use adce_core::failpoint::{self, Failpoint};
use adce_core::spec::Retention;
use adce_core::time::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::columns::{micros, signed, unsigned};
use super::fault::Trouble;

/// Rows written between two looks for what may be pruned.
const LOOK_EVERY: usize = 512;

/// Rows removed in one go, however many were written in one batch: some twenty milliseconds.
const STEP_AT_MOST: usize = 8_192;

/// What a row takes beside its body, about. 0003.sql has the same number.
const ROW_BYTES: u64 = 64;

/// What was added to the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub rows: usize,
    pub bytes: u64,
}

impl Written {
    pub(super) fn row(body: usize) -> Written {
        Written { rows: 1, bytes: body as u64 + ROW_BYTES }
    }
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, more: Written) {
        self.rows += more.rows;
        self.bytes += more.bytes;
    }
}

/// How much history there is, and when to look for what may go.
pub(super) struct Ledger {
    keep: Retention,
    /// As `meta.history_bytes` has it after the next commit.
    bytes: u64,
    unpruned: usize,
    more: bool,
}

impl Ledger {
    pub(super) fn of(db: &Connection, keep: Retention) -> Result<Ledger, Trouble> {
        Ok(Ledger { keep, bytes: bytes_on_record(db)?, unpruned: 0, more: true })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn add(&mut self, written: Written) {
        self.bytes += written.bytes;
        self.unpruned += written.rows;
    }

    /// What was added since the last commit was not written after all.
    pub(super) fn take_back(&mut self, db: &Connection) -> Result<(), Trouble> {
        self.bytes = bytes_on_record(db)?;
        Ok(())
    }

    pub(super) fn is_due(&self) -> bool {
        self.unpruned >= LOOK_EVERY || (self.more && self.unpruned > 0)
    }

    /// Removes at most a step's worth of what is too old or too much, in a transaction of its own.
    pub(super) fn prune(&mut self, db: &Connection, now: Timestamp) -> Result<(), Trouble> {
        let step = (2 * self.unpruned).clamp(LOOK_EVERY, STEP_AT_MOST);
        // Also after trouble: the next rows come with the next try.
        (self.unpruned, self.more) = (0, false);
        let border = now.checked_sub(age(self.keep)).map_or(i64::MIN, micros);
        let attempts = oldest(db, "SELECT seq, ended_at, octet_length(body) FROM attempt ORDER BY seq LIMIT ?", step)?;
        let events = oldest(db, "SELECT seq, at, octet_length(text) FROM event ORDER BY seq LIMIT ?", step)?;
        let surplus = surplus(attempts, events, border, self.bytes.saturating_sub(self.keep.bytes), step);
        if surplus.rows == 0 {
            return Ok(());
        }
        let left = self.bytes.saturating_sub(surplus.bytes);
        let change = db.unchecked_transaction()?;
        change.prepare_cached("DELETE FROM attempt WHERE seq <= ?")?.execute([surplus.attempts])?;
        change.prepare_cached("DELETE FROM event WHERE seq <= ?")?.execute([surplus.events])?;
        change.prepare_cached("UPDATE meta SET history_bytes = ?")?.execute(params![signed(left)])?;
        failpoint::reached(Failpoint::PruningUncommitted);
        change.commit()?;
        failpoint::reached(Failpoint::Pruned);
        (self.bytes, self.more) = (left, surplus.rows == step);
        Ok(())
    }
}

fn bytes_on_record(db: &Connection) -> Result<u64, Trouble> {
    Ok(unsigned(db.prepare_cached("SELECT history_bytes FROM meta")?.query_row([], |row| row.get(0))?))
}

#[derive(Clone, Copy, Debug)]
struct Row {
    seq: i64,
    at: i64,
    bytes: u64,
}

fn oldest(db: &Connection, sql: &str, at_most: usize) -> Result<VecDeque<Row>, Trouble> {
    let mut statement = db.prepare_cached(sql)?;
    let row = |row: &rusqlite::Row<'_>| Ok(Row { seq: row.get(0)?, at: row.get(1)?, bytes: unsigned(row.get(2)?) + ROW_BYTES });
    let rows = statement.query_map([at_most as i64], row)?.collect::<rusqlite::Result<_>>()?;
    Ok(rows)
}

/// Up to which rows the history goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Surplus {
    attempts: i64,
    events: i64,
    rows: usize,
    bytes: u64,
}

/// What is older than `border`, and so much more of what is oldest that `excess` bytes go; at most `step` rows. Rows come in
/// the order of their times but for small differences.
fn surplus(mut attempts: VecDeque<Row>, mut events: VecDeque<Row>, border: i64, excess: u64, step: usize) -> Surplus {
    let mut surplus = Surplus { attempts: i64::MIN, events: i64::MIN, ..Surplus::default() };
    while surplus.rows < step {
        let of_attempts = match (attempts.front(), events.front()) {
            (Some(attempt), Some(event)) => attempt.at <= event.at,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => break,
        };
        let from = if of_attempts { &mut attempts } else { &mut events };
        let Some(row) = from.pop_front().filter(|row| row.at < border || surplus.bytes < excess) else { break };
        *(if of_attempts { &mut surplus.attempts } else { &mut surplus.events }) = row.seq;
        surplus.rows += 1;
        surplus.bytes += row.bytes;
    }
    surplus
}

fn age(keep: Retention) -> SignedDuration {
    SignedDuration::try_from(keep.age).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(at: &[i64], bytes: u64) -> VecDeque<Row> {
        at.iter().zip(1..).map(|(at, seq)| Row { seq, at: *at, bytes }).collect()
    }

    fn gone(border: i64, excess: u64, step: usize) -> (i64, i64, usize, u64) {
        let surplus = surplus(rows(&[10, 20, 30], 100), rows(&[15, 16, 40], 10), border, excess, step);
        (surplus.attempts.max(0), surplus.events.max(0), surplus.rows, surplus.bytes)
    }

    #[test]
    fn what_is_too_old_goes_and_of_what_is_too_much_the_oldest() {
        assert_eq!(gone(0, 0, 9), (0, 0, 0, 0));
        assert_eq!(gone(20, 0, 9), (1, 2, 3, 120), "older than the border, of either kind");
        assert_eq!(gone(0, 101, 9), (1, 1, 2, 110), "just enough, the oldest first");
        assert_eq!(gone(0, 111, 9), (1, 2, 3, 120));
        assert_eq!(gone(16, 125, 9), (2, 2, 4, 220), "both together");
        assert_eq!(gone(i64::MAX, 0, 4), (2, 2, 4, 220), "a step at a time");
        assert_eq!(gone(i64::MAX, u64::MAX, 99), (3, 3, 6, 330));
    }
}
