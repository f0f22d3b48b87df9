//! Each change as SQL, inside the transaction that the writer opened for its group.
//!
//! Nothing is checked here: who may finish, publish or own a process, the writer knows before it writes
//! ([`super::owners`]).

use std::collections::HashMap;
use std::path::PathBuf;

use adce_core::access::{AuditRecord, TokenRecord};
use adce_core::coverage::{TrendPoint, thinned_out};
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId};
use adce_core::job::JobRecord;
use adce_core::pause::{Pause, PauseOf};
use adce_core::record::{
    AttemptRecord, BreakerRecord, Change, Event, ItemRecord, Lease, ProcessRecord, Reservation, SettledReservation, SourceRecord,
};
use adce_core::time::Moment;
use rusqlite::{Connection, Params, params};

use super::columns::{gap_bytes, json, micros, signed};
use super::fault::Trouble;
use super::gaps;
use super::history::Written;
use crate::AUDIT_KEPT;

/// Fewer rows lie in so many places anyway.
const WORTH_SORTING: usize = 64;

/// Writes a lease with the token given.
pub(super) fn lease(db: &Connection, lease: &Lease, token: FencingToken) -> Result<(), Trouble> {
    run(
        db,
        "INSERT INTO lease (token, attempt, task, collector, started_at, gaps, staged, boot_id, until, until_wall)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            signed(token.0),
            attempt_bytes(&lease.attempt),
            lease.task.0,
            lease.collector,
            micros(lease.started_at),
            gap_bytes(&lease.gaps),
            gap_bytes(&lease.staged),
            lease.until.boot_id.0,
            signed(lease.until.boot.0),
            micros(lease.until.wall),
        ],
    )
    .map(drop)
}

/// What nothing else in a group reads: it is written at the end ([`Rest::write`]), many at once and in the order
/// of the tables, so that each page is looked for once.
#[derive(Default)]
pub(super) struct Rest<'a> {
    /// Each as it was put last.
    items: HashMap<ItemId, &'a ItemRecord>,
    ended: Vec<(FencingToken, AttemptId)>,
}

impl Rest<'_> {
    pub(super) fn write(mut self, db: &Connection) -> Result<(), Trouble> {
        let mut items: Vec<(ItemId, &ItemRecord)> = self.items.into_iter().collect();
        items.sort_unstable_by_key(|(item, _)| *item);
        items.into_iter().try_for_each(|(item, record)| put_item(db, item, record))?;
        self.ended.sort_unstable();
        // Who was leased together often ends together.
        for together in self.ended.chunk_by(|(one, _), (next, _)| one.0 + 1 == next.0) {
            let (first, last) = (together[0].0, together[together.len() - 1].0);
            run(db, "DELETE FROM lease WHERE token BETWEEN ? AND ?", [signed(first.0), signed(last.0)])?;
        }
        let processes: bool = db.prepare_cached("SELECT EXISTS (SELECT 1 FROM process)")?.query_row([], |row| row.get(0))?;
        if processes {
            for (_, attempt) in &self.ended {
                run(db, "DELETE FROM process WHERE attempt = ?", [attempt_bytes(attempt)])?;
            }
        }
        Ok(())
    }
}

/// All of a batch but what is left to the end of its group. What fills the tables of a first picture goes in by their order: a tree that is filled at random places
/// reads and splits a page for nearly every row. Returns what it adds to the history.
pub(super) fn make_all<'a>(db: &Connection, changes: &'a [Change], rest: &mut Rest<'a>) -> Result<Written, Trouble> {
    let mut written = Written::default();
    for run in changes.chunk_by(|one, next| fills(one) && fills(next)) {
        if run.len() < WORTH_SORTING {
            for change in run {
                written += make(db, change, rest)?;
            }
        } else {
            fill(db, run, rest)?;
        }
    }
    Ok(written)
}

fn fills(change: &Change) -> bool {
    matches!(change, Change::PutGap(_) | Change::PutTask(_) | Change::PutItem(..))
}

/// None of these means anything to those of another kind.
fn fill<'a>(db: &Connection, changes: &'a [Change], rest: &mut Rest<'a>) -> Result<(), Trouble> {
    let (mut open, mut tasks) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::PutGap(gap) => open.push(gap),
            Change::PutTask(task) => tasks.push(task),
            Change::PutItem(item, record) => drop(rest.items.insert(*item, record)),
            _ => {}
        }
    }
    gaps::fill(db, open, &tasks)
}

/// Returns what it adds to the history.
fn make<'a>(db: &Connection, change: &'a Change, rest: &mut Rest<'a>) -> Result<Written, Trouble> {
    match change {
        Change::CloseGap { gap, at, why } => return gaps::close_gap(db, *gap, *at, *why),
        Change::Finish(record) => return finish(db, record, rest),
        Change::Event(event) => return put_event(db, event),
        Change::PutGap(gap) => gaps::put_gap(db, gap),
        Change::PutTask(task) => gaps::put_task(db, task),
        Change::RemoveTask(task) => gaps::remove_task(db, *task),
        Change::PutItem(item, record) => {
            rest.items.insert(*item, record);
            Ok(())
        }
        Change::PutPicture(picture) => put_picture(db, "accepted", &json(picture)),
        Change::PutHeldPicture(Some(held)) => put_picture(db, "held", &json(held)),
        Change::PutHeldPicture(None) => run(db, "DELETE FROM picture WHERE standing = 'held'", []).map(drop),
        Change::PutTrend(points) => points.iter().try_for_each(|(dataset, point)| put_trend(db, dataset, point)),
        Change::PutSource(name, record) => put_source(db, name, record),
        Change::PutValue { source, value, record } => put_value(db, source, value, record.as_ref()),
        Change::PutCollector(name, record) => put_collector(db, name, record),
        Change::PutSuccess(collector, attempts) => put_success(db, collector, attempts),
        Change::PutPause(of, pause) => put_pause(db, of, pause.as_ref()),
        Change::PutJob(name, record) => put_job(db, name, record),
        Change::PutToken(record) => put_token(db, record),
        Change::Audit(record) => audit(db, record),
        Change::Started(process) => started(db, process),
        Change::Publishing { token, staged, until, .. } => publishing(db, *token, staged, until),
        Change::Renew { attempts, until } => attempts.iter().try_for_each(|attempt| renew(db, attempt, until)),
        Change::Lapse { attempt, .. } => lapse(db, attempt),
        // Without an index: there are never more leases than a few for each slot.
        Change::Release(attempt) => run(db, "DELETE FROM lease WHERE attempt = ?", [attempt_bytes(attempt)]).map(drop),
        Change::Reserve(reservation) => reserve(db, reservation),
        Change::SettleReservation { id, settled } => settle(db, *id, settled),
        Change::ForgetReservation(id) => run(db, "DELETE FROM reservation WHERE id = ?", [signed(*id)]).map(drop),
    }?;
    Ok(Written::default())
}

// --------------------------------------------------------------------------------------------------------------- trend

fn put_trend(db: &Connection, dataset: &str, point: &TrendPoint) -> Result<(), Trouble> {
    let at = point.at.as_microsecond();
    run(
        db,
        "INSERT OR REPLACE INTO trend (dataset, at, present, wanted) VALUES (?, ?, ?, ?)",
        params![dataset, at, signed(point.present), signed(point.wanted)],
    )?;
    let points = {
        let mut statement = db.prepare_cached("SELECT at FROM trend WHERE dataset = ? ORDER BY at")?;
        let points = statement.query_map([dataset], |row| row.get(0))?;
        points.collect::<Result<Vec<i64>, _>>()?
    };
    for gone in thinned_out(&points, point.at) {
        run(db, "DELETE FROM trend WHERE dataset = ? AND at = ?", params![dataset, gone])?;
    }
    Ok(())
}

// ------------------------------------------------------------------------------------------------------------ attempts

fn started(db: &Connection, process: &ProcessRecord) -> Result<(), Trouble> {
    run(
        db,
        "INSERT OR REPLACE INTO process (attempt, boot_id, process_group, start_ticks) VALUES (?, ?, ?, ?)",
        params![attempt_bytes(&process.attempt), process.boot_id.0, process.process_group, signed(process.start_ticks)],
    )
    .map(drop)
}

fn publishing(db: &Connection, token: FencingToken, staged: &[GapId], until: &Moment) -> Result<(), Trouble> {
    run(
        db,
        "UPDATE lease SET staged = ?, boot_id = ?, until = ?, until_wall = ? WHERE token = ?",
        params![gap_bytes(staged), until.boot_id.0, signed(until.boot.0), micros(until.wall), signed(token.0)],
    )
    .map(drop)
}

/// Without an index, as [`Change::Release`].
fn renew(db: &Connection, attempt: &AttemptId, until: &Moment) -> Result<(), Trouble> {
    run(
        db,
        "UPDATE lease SET boot_id = ?, until = ?, until_wall = ? WHERE attempt = ?",
        params![until.boot_id.0, signed(until.boot.0), micros(until.wall), attempt_bytes(attempt)],
    )
    .map(drop)
}

fn lapse(db: &Connection, attempt: &AttemptId) -> Result<(), Trouble> {
    run(db, "DELETE FROM lease WHERE attempt = ?", [attempt_bytes(attempt)])?;
    run(db, "DELETE FROM process WHERE attempt = ?", [attempt_bytes(attempt)]).map(drop)
}

fn finish(db: &Connection, record: &AttemptRecord, rest: &mut Rest<'_>) -> Result<Written, Trouble> {
    rest.ended.push((record.token, record.attempt));
    let body = attempt_json(record);
    let written = Written::row(body.len());
    run(
        db,
        "INSERT INTO attempt (task, collector, started_at, ended_at, body) VALUES (?, ?, ?, ?, ?)",
        params![record.task.0, record.collector, micros(record.started_at), micros(record.ended_at), body],
    )?;
    Ok(written)
}

/// JSON has no bytes: a log whose path is not UTF-8 is kept under the nearest name.
fn attempt_json(record: &AttemptRecord) -> String {
    match &record.log {
        Some(log) if log.to_str().is_none() => {
            let log = Some(PathBuf::from(log.to_string_lossy().into_owned()));
            json(&AttemptRecord { log, ..record.clone() })
        }
        _ => json(record),
    }
}

// --------------------------------------------------------------------------------------------------- everything else

fn put_item(db: &Connection, item: ItemId, record: &ItemRecord) -> Result<(), Trouble> {
    run(
        db,
        "INSERT INTO item (id, confirmed, absent, suspect_etag, episodes, losses) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET confirmed = excluded.confirmed, absent = excluded.absent, suspect_etag = excluded.suspect_etag,
             episodes = excluded.episodes, losses = excluded.losses",
        params![
            item.0,
            record.confirmed.map(micros),
            record.absent.as_ref().map(json),
            record.suspect_etag,
            record.episodes,
            (!record.losses.is_empty()).then(|| json(&record.losses)),
        ],
    )
    .map(drop)
}

fn put_picture(db: &Connection, standing: &str, body: &str) -> Result<(), Trouble> {
    run(db, "INSERT OR REPLACE INTO picture (standing, body) VALUES (?, ?)", params![standing, body]).map(drop)
}

fn put_source(db: &Connection, name: &str, record: &SourceRecord) -> Result<(), Trouble> {
    run(
        db,
        "INSERT OR REPLACE INTO source (name, failures, open_until, paused_until, body) VALUES (?, ?, ?, ?, ?)",
        params![name, record.breaker.failures, record.breaker.open_until.map(micros), record.paused_until.map(micros), json(record)],
    )
    .map(drop)
}

fn put_value(db: &Connection, source: &str, value: &str, record: Option<&SourceRecord>) -> Result<(), Trouble> {
    match record {
        None => run(db, "DELETE FROM source_value WHERE source = ? AND value = ?", params![source, value]),
        Some(record) => {
            let put = "INSERT OR REPLACE INTO source_value (source, value, body) VALUES (?, ?, ?)";
            run(db, put, params![source, value, json(record)])
        }
    }
    .map(drop)
}

fn put_collector(db: &Connection, name: &str, record: &BreakerRecord) -> Result<(), Trouble> {
    run(
        db,
        "INSERT OR REPLACE INTO collector (name, failures, open_until, body) VALUES (?, ?, ?, ?)",
        params![name, record.failures, record.open_until.map(micros), json(record)],
    )
    .map(drop)
}

fn put_pause(db: &Connection, of: &PauseOf, pause: Option<&Pause>) -> Result<(), Trouble> {
    let of = json(of);
    match pause {
        None => run(db, "DELETE FROM pause WHERE what = ?", [of]),
        Some(pause) => run(db, "INSERT OR REPLACE INTO pause (what, body) VALUES (?, ?)", params![of, json(pause)]),
    }
    .map(drop)
}

fn put_job(db: &Connection, name: &str, record: &JobRecord) -> Result<(), Trouble> {
    run(db, "INSERT OR REPLACE INTO job (name, body) VALUES (?, ?)", params![name, json(record)]).map(drop)
}

fn put_token(db: &Connection, token: &TokenRecord) -> Result<(), Trouble> {
    run(
        db,
        "INSERT OR REPLACE INTO token (name, role, hash, created_at, expires_at, revoked_at) VALUES (?, ?, ?, ?, ?, ?)",
        params![
            token.name,
            token.role.word(),
            &token.hash.bytes()[..],
            micros(token.created_at),
            token.expires_at.map(micros),
            token.revoked_at.map(micros)
        ],
    )
    .map(drop)
}

fn audit(db: &Connection, done: &AuditRecord) -> Result<(), Trouble> {
    run(
        db,
        "INSERT INTO audit (at, who, action, what, reason, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![micros(done.at), done.who, done.action, done.what, done.reason, done.before, done.after],
    )?;
    run(db, "DELETE FROM audit WHERE seq <= ?", [db.last_insert_rowid() - AUDIT_KEPT as i64]).map(drop)
}

fn put_success(db: &Connection, collector: &str, attempts: &[bool]) -> Result<(), Trouble> {
    let text: String = attempts.iter().map(|filled| if *filled { '1' } else { '0' }).collect();
    // One that always succeeds, or never, looks the same after each attempt.
    let changed = "INSERT INTO success (collector, attempts) VALUES (?, ?)
         ON CONFLICT DO UPDATE SET attempts = excluded.attempts WHERE attempts <> excluded.attempts";
    run(db, changed, params![collector, text]).map(drop)
}

fn reserve(db: &Connection, reservation: &Reservation) -> Result<(), Trouble> {
    let settled = reservation.settled;
    run(
        db,
        "INSERT OR REPLACE INTO reservation
             (id, source, permits, boot_id, first_sent, first_sent_wall, used, last_arrival, last_arrival_wall, value)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            signed(reservation.id),
            reservation.source,
            reservation.permits,
            reservation.boot_id.0,
            signed(reservation.first_sent.0),
            micros(reservation.first_sent_wall),
            settled.map(|settled| settled.used),
            settled.map(|settled| signed(settled.last_arrival.0)),
            settled.map(|settled| micros(settled.last_arrival_wall)),
            reservation.value,
        ],
    )
    .map(drop)
}

fn settle(db: &Connection, id: u64, settled: &SettledReservation) -> Result<(), Trouble> {
    run(
        db,
        "UPDATE reservation SET used = ?, last_arrival = ?, last_arrival_wall = ? WHERE id = ?",
        params![settled.used, signed(settled.last_arrival.0), micros(settled.last_arrival_wall), signed(id)],
    )
    .map(drop)
}

pub(super) fn put_event(db: &Connection, event: &Event) -> Result<Written, Trouble> {
    run(
        db,
        "INSERT INTO event (at, task, item, episode, text) VALUES (?, ?, ?, ?, ?)",
        params![
            micros(event.at),
            event.task.as_ref().map(|task| task.0),
            event.gap.as_ref().map(|gap| gap.item.0),
            event.gap.map(|gap| gap.episode),
            event.text,
        ],
    )?;
    Ok(Written::row(event.text.len()))
}

/// Returns how many rows it changed.
pub(super) fn run(db: &Connection, sql: &str, params: impl Params) -> Result<usize, Trouble> {
    Ok(db.prepare_cached(sql)?.execute(params)?)
}

fn attempt_bytes(attempt: &AttemptId) -> &[u8; 16] {
    attempt.0.as_bytes()
}
