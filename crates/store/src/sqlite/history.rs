//! Forgetting old history, so that a state that runs for years stays small. Nothing that decides is ever pruned.

use std::time::Duration;

use adce_core::time::{SignedDuration, Timestamp};
use rusqlite::Connection;

use super::columns::micros;
use super::fault::Trouble;
use crate::Retention;

/// Rows looked at in one go: a prune never holds up the commits behind it for more than some milliseconds.
const STEP: u32 = 512;

/// Removes at most a step's worth of what is too old or too much. `true`: there may be more.
pub(super) fn prune_a_step(db: &Connection, keep: Retention, now: Timestamp) -> Result<bool, Trouble> {
    let border = now.checked_sub(age(keep.age)).map_or(i64::MIN, micros);
    let attempts = prune_table(db, "attempt", "ended_at", keep.attempts, border)?;
    let events = prune_table(db, "event", "at", keep.events, border)?;
    Ok(attempts || events)
}

/// Rows come in the order of their times but for small differences, so only the first ones need a look.
fn prune_table(db: &Connection, table: &str, time: &str, keep: u64, border: i64) -> Result<bool, Trouble> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let removed = db
        .prepare_cached(&format!(
            "DELETE FROM {table} WHERE seq IN (SELECT seq FROM {table} ORDER BY seq LIMIT {STEP})
                 AND ({time} < ?1 OR seq <= (SELECT max(seq) FROM {table}) - ?2)"
        ))?
        .execute([border, keep])?;
    Ok(removed == STEP as usize)
}

fn age(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}
