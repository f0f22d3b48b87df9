//! Open gaps and tasks as rows, and which gap is in which task.
//!
//! Both lie in the order in which they were put, so that what starts and ends together is written together; a first picture is
//! put in the order of its tasks. A gap's row says which task it is in, so it is in one at most. A row without a dataset is of
//! a gap that is in a task and not open.
//!
//! Always true: a task has at least one gap, and whoever takes the last one takes the task
//! (`a_closed_gap_leaves_the_state_and_its_task`, `a_gap_is_in_the_task_it_was_put_into_last`); a batch means what its
//! changes mean one by one (`a_large_batch_means_what_its_changes_mean_one_by_one`).

use std::collections::{HashMap, HashSet};

use adce_core::gap::{Gap, Task};
use adce_core::ids::{GapId, TaskId};
use adce_core::record::{Closed, Event};
use adce_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::changes::{put_event, run};
use super::columns::{Columns, exact_micros, json, micros, signed};
use super::fault::Trouble;
use super::history::Written;

/// `task.seq`.
type TaskRow = i64;

/// Gaps and tasks of a batch that puts nothing else, none of them removed.
pub(super) fn fill(db: &Connection, mut gaps: Vec<&Gap>, tasks: &[&Task]) -> Result<(), Trouble> {
    if !have_nothing_in_common(tasks) {
        gaps.into_iter().try_for_each(|gap| put_gap(db, gap))?;
        return tasks.iter().try_for_each(|task| put_task(db, task));
    }
    let mut joins = Vec::with_capacity(tasks.len());
    for task in tasks {
        if let Some(row) = put_task_row(db, task)? {
            joins.extend((0..).zip(&task.gaps).map(|(position, gap)| Join { gap: *gap, task: row, position, done: false }));
        }
    }
    let join_of: HashMap<GapId, usize> = joins.iter().enumerate().map(|(at, join)| (join.gap, at)).collect();
    // As their tasks stand. What is put twice stands there as it was put last.
    gaps.sort_by_cached_key(|gap| (join_of.get(&gap.id).copied().unwrap_or(usize::MAX), gap.id));
    for same in gaps.chunk_by(|one, next| one.id == next.id) {
        let Some(gap) = same.last() else { continue };
        match join_of.get(&gap.id).map(|at| &mut joins[*at]) {
            Some(join) => join.done = put_new_gap(db, gap, join)?,
            None => put_gap(db, gap)?,
        }
        if join_of.get(&gap.id).is_some_and(|at| !joins[*at].done) {
            put_gap(db, gap)?;
        }
    }
    joins.into_iter().filter(|join| !join.done).try_for_each(|left| join(db, left.gap, left.task, left.position))
}

/// A gap that goes into a task.
struct Join {
    gap: GapId,
    task: TaskRow,
    position: i64,
    done: bool,
}

/// No task twice, and no gap in two: then their order means nothing.
fn have_nothing_in_common(tasks: &[&Task]) -> bool {
    let mut ids = HashSet::with_capacity(tasks.len());
    let mut gaps = HashSet::with_capacity(tasks.len());
    tasks.iter().all(|task| ids.insert(task.id)) && tasks.iter().flat_map(|task| &task.gaps).all(|gap| gaps.insert(*gap))
}

pub(super) fn put_gap(db: &Connection, gap: &Gap) -> Result<(), Trouble> {
    insert_gap(
        db,
        "INSERT INTO gap (item, episode, task, position, dataset, key, reason, priority, detected_at, due, fingerprint, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (item, episode) DO UPDATE SET dataset = excluded.dataset, key = excluded.key, reason = excluded.reason,
             priority = excluded.priority, detected_at = excluded.detected_at, due = excluded.due, fingerprint = excluded.fingerprint,
             body = excluded.body",
        gap,
        None,
    )
    .map(drop)
}

/// Whether nothing was known of it; otherwise nothing is done.
fn put_new_gap(db: &Connection, gap: &Gap, join: &Join) -> Result<bool, Trouble> {
    let inserted = insert_gap(
        db,
        "INSERT INTO gap (item, episode, task, position, dataset, key, reason, priority, detected_at, due, fingerprint, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (item, episode) DO NOTHING",
        gap,
        Some((join.task, join.position)),
    )?;
    Ok(inserted > 0)
}

fn insert_gap(db: &Connection, sql: &str, gap: &Gap, into: Option<(TaskRow, i64)>) -> Result<usize, Trouble> {
    run(
        db,
        sql,
        params![
            gap.id.item.0,
            gap.id.episode,
            into.map(|(task, _)| task),
            into.map(|(_, position)| position),
            gap.dataset,
            gap.key,
            gap.reason.word(),
            gap.priority.word(),
            micros(gap.detected_at),
            gap.due.map(micros),
            signed(gap.fingerprint),
            (!is_plain_gap(gap)).then(|| json(gap)),
        ],
    )
}

/// The columns say all there is: nobody tried it, and nothing lies in its place.
fn is_plain_gap(gap: &Gap) -> bool {
    let Gap { group, etag, last_modified, progress, detected_at, due, .. } = gap;
    let nothing_else = group.is_empty() && etag.is_none() && last_modified.is_none() && *progress == Default::default();
    nothing_else && exact_micros(*detected_at) && due.is_none_or(exact_micros)
}

fn is_plain_task(task: &Task) -> bool {
    task.group.is_empty() && exact_micros(task.detected_at) && task.due.is_none_or(exact_micros)
}

pub(super) fn close_gap(db: &Connection, gap: GapId, at: Timestamp, why: Closed) -> Result<Written, Trouble> {
    let closed: Option<Option<TaskRow>> = db
        .prepare_cached("DELETE FROM gap WHERE item = ? AND episode = ? AND dataset IS NOT NULL RETURNING task")?
        .query_row(params![gap.item.0, gap.episode], |row| row.get(0))
        .optional()?;
    let Some(task) = closed else { return Ok(Written::default()) };
    // The attempt that filled it tells that.
    let told = match why {
        Closed::Filled => Written::default(),
        Closed::FoundFilled | Closed::Absent | Closed::NotExpected | Closed::Expired | Closed::OutOfScope => {
            let task = task.map(|task| name_of(db, task)).transpose()?.flatten();
            put_event(db, &Event { at, task, gap: Some(gap), text: why.told() })?
        }
    };
    if let Some(task) = task {
        remove_if_empty(db, task)?;
    }
    Ok(told)
}

fn name_of(db: &Connection, task: TaskRow) -> Result<Option<TaskId>, Trouble> {
    let id: Option<Vec<u8>> = db.prepare_cached("SELECT id FROM task WHERE seq = ?")?.query_row([task], |row| row.get(0)).optional()?;
    id.map(|id| Columns("task").task(&id)).transpose()
}

pub(super) fn put_task(db: &Connection, task: &Task) -> Result<(), Trouble> {
    match put_task_row(db, task)? {
        Some(row) => (0..).zip(&task.gaps).try_for_each(|(position, gap)| join(db, *gap, row, position)),
        None => Ok(()),
    }
}

/// The row of a task whose gaps are yet to join it, those that it had are in none; `None`: nothing is to be done.
fn put_task_row(db: &Connection, task: &Task) -> Result<Option<TaskRow>, Trouble> {
    if task.gaps.is_empty() {
        return remove_task(db, task.id).map(|()| None);
    }
    // Its gaps stand in their own rows alone, so that there is one truth about them.
    let body = (!is_plain_task(task)).then(|| json(&Task { gaps: Vec::new(), ..task.clone() }));
    let found = db
        .prepare_cached(
            "SELECT seq, collector = ? AND source IS ? AND priority = ? AND detected_at = ? AND due IS ? AND key IS ? AND body IS ?
             FROM task WHERE id = ?",
        )?
        .query_row(
            params![
                task.collector,
                task.source,
                task.priority.word(),
                micros(task.detected_at),
                task.due.map(micros),
                task.key,
                body,
                task.id.0
            ],
            |row| Ok((row.get::<_, TaskRow>(0)?, row.get::<_, bool>(1)?)),
        )
        .optional()?;
    let Some((row, is_same)) = found else {
        run(
            db,
            "INSERT INTO task (id, collector, source, priority, detected_at, due, key, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                task.id.0,
                task.collector,
                task.source,
                task.priority.word(),
                micros(task.detected_at),
                task.due.map(micros),
                task.key,
                body
            ],
        )?;
        return Ok(Some(db.last_insert_rowid()));
    };
    // A task that is tried again is nearly always the same: reading costs less than writing it.
    if is_same && has_just(db, row, &task.gaps)? {
        return Ok(None);
    }
    part_all(db, row)?;
    run(
        db,
        "UPDATE task SET collector = ?, source = ?, priority = ?, detected_at = ?, due = ?, key = ?, body = ? WHERE seq = ?",
        params![task.collector, task.source, task.priority.word(), micros(task.detected_at), task.due.map(micros), task.key, body, row],
    )?;
    Ok(Some(row))
}

/// These gaps, in this order.
fn has_just(db: &Connection, task: TaskRow, wanted: &[GapId]) -> Result<bool, Trouble> {
    let mut gaps = db.prepare_cached("SELECT item, episode FROM gap WHERE task = ? ORDER BY position")?;
    let mut rows = gaps.query([task])?;
    for gap in wanted {
        let Some(row) = rows.next()? else { return Ok(false) };
        let is_it = row.get_ref(0)?.as_blob().is_ok_and(|item| item == gap.item.0) && row.get::<_, u32>(1)? == gap.episode;
        if !is_it {
            return Ok(false);
        }
    }
    Ok(rows.next()?.is_none())
}

pub(super) fn remove_task(db: &Connection, task: TaskId) -> Result<(), Trouble> {
    let row: Option<TaskRow> = db.prepare_cached("SELECT seq FROM task WHERE id = ?")?.query_row([task.0], |row| row.get(0)).optional()?;
    let Some(row) = row else { return Ok(()) };
    part_all(db, row)?;
    run(db, "DELETE FROM task WHERE seq = ?", [row]).map(drop)
}

/// The gap is in this task from now on, and in no other; one that has none left is gone.
fn join(db: &Connection, gap: GapId, task: TaskRow, position: i64) -> Result<(), Trouble> {
    let known: Option<(i64, Option<TaskRow>)> = db
        .prepare_cached("SELECT seq, task FROM gap WHERE item = ? AND episode = ?")?
        .query_row(params![gap.item.0, gap.episode], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match known {
        None => {
            run(db, "INSERT INTO gap (item, episode, task, position) VALUES (?, ?, ?, ?)", params![gap.item.0, gap.episode, task, position])
                .map(drop)
        }
        Some((row, left)) => {
            run(db, "UPDATE gap SET task = ?, position = ? WHERE seq = ?", params![task, position, row])?;
            left.filter(|left| *left != task).map_or(Ok(()), |left| remove_if_empty(db, left))
        }
    }
}

/// All of its gaps are in no task; those that are not open are not known any more.
fn part_all(db: &Connection, task: TaskRow) -> Result<(), Trouble> {
    run(db, "DELETE FROM gap WHERE task = ? AND dataset IS NULL", [task])?;
    run(db, "UPDATE gap SET task = NULL, position = NULL WHERE task = ?", [task]).map(drop)
}

fn remove_if_empty(db: &Connection, task: TaskRow) -> Result<(), Trouble> {
    run(db, "DELETE FROM task WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM gap WHERE gap.task = ?1)", [task]).map(drop)
}
