//! The one thread that writes: it collects what many callers want and commits it with one fsync.
//!
//! A caller gets its answer after the fsync of the commit that holds its batch, so what was answered survives any kill
//! (`what_was_acknowledged_survives_kill_nine`). Each batch has a savepoint of its own: one that is refused takes
//! nothing of its neighbours with it (`a_refused_batch_does_not_harm_its_neighbours`).

use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use adce_core::ids::FencingToken;
use adce_core::ports::StoreError;
use adce_core::record::{Change, Lease};
use adce_core::time::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::changes;
use super::columns::{micros, signed, unsigned};
use super::fault::Trouble;
use super::history::prune_a_step;
use super::ownership::Ownership;
use super::queue::Queue;
use crate::Retention;
use crate::instants::latest_of;

/// Batches between two looks at the history for what may be pruned.
const PRUNE_EVERY: usize = 512;

pub(super) enum Sent {
    Job(Job),
    End(End),
}

pub(super) enum Job {
    Lease(Lease, oneshot::Sender<Result<FencingToken, StoreError>>),
    Apply(Vec<Change>, oneshot::Sender<Result<(), StoreError>>),
}

/// Ends the thread once everything sent before is answered.
pub(super) struct End;

enum Done {
    Leased(FencingToken),
    Applied,
}

type Verdict = Result<Done, StoreError>;

pub(super) struct Writer {
    db: Connection,
    path: PathBuf,
    /// Released last, when the file is closed.
    ownership: Ownership,
    last_token: u64,
    latest: Option<Timestamp>,
    opened: (Timestamp, Instant),
    retention: Retention,
    until_prune: usize,
}

impl Writer {
    pub(super) fn new(
        db: Connection,
        path: PathBuf,
        ownership: Ownership,
        now: Timestamp,
        retention: Retention,
    ) -> Result<Self, StoreError> {
        let (token, latest): (i64, Option<i64>) = db
            .query_row("SELECT last_token, latest FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|error| Trouble::from(error).at(&path))?;
        let latest = latest.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let opened = (now, Instant::now());
        let mut writer = Writer { db, path, ownership, last_token: unsigned(token), latest, opened, retention, until_prune: PRUNE_EVERY };
        writer.prune();
        Ok(writer)
    }

    pub(super) fn run(mut self, jobs: Receiver<Sent>) {
        let mut queue = Queue::of(jobs);
        let mut group = Vec::new();
        loop {
            let end = queue.next_group(&mut group);
            let answers = self.commit(std::mem::take(&mut group));
            queue.expect_back(answers.len());
            answers.into_iter().for_each(|(job, verdict)| job.answer(verdict));
            self.prune_now_and_then();
            if let Some(End) = end {
                return self.end();
            }
        }
    }

    fn commit(&mut self, mut group: Vec<Job>) -> Vec<(Job, Verdict)> {
        if group.is_empty() {
            return Vec::new();
        }
        match (self.commit_together(&group), group.len()) {
            (Ok(verdicts), batches) => {
                self.until_prune = self.until_prune.saturating_sub(batches);
                group.into_iter().zip(verdicts).collect()
            }
            (Err(trouble), 1) => group.pop().map(|job| (job, Err(trouble.at(&self.path)))).into_iter().collect(),
            // One batch may be too large for the disk, or broken: each gets its own commit and its own verdict.
            (Err(_), _) => group.into_iter().flat_map(|job| self.commit(vec![job])).collect(),
        }
    }

    /// All batches in one transaction; refused ones leave nothing in it. After an error nothing of any was kept.
    fn commit_together(&mut self, group: &[Job]) -> Result<Vec<Verdict>, Trouble> {
        self.leave_transaction()?;
        self.statement("BEGIN IMMEDIATE")?;
        let written = self.write_all(group).and_then(|verdicts| self.statement("COMMIT").map(|()| verdicts));
        match written {
            Err(trouble) => self.leave_transaction().and(Err(trouble)),
            verdicts => verdicts,
        }
    }

    /// After an error: some end the transaction themselves, others leave it to us.
    fn leave_transaction(&self) -> Result<(), Trouble> {
        if self.db.is_autocommit() { Ok(()) } else { self.statement("ROLLBACK") }
    }

    fn write_all(&mut self, group: &[Job]) -> Result<Vec<Verdict>, Trouble> {
        let mut verdicts = Vec::with_capacity(group.len());
        for job in group {
            self.statement("SAVEPOINT batch")?;
            let verdict = match self.write(job) {
                Err(Trouble::Refused(refusal)) => {
                    self.statement("ROLLBACK TO batch")?;
                    Err(refusal)
                }
                Err(trouble) => return Err(trouble),
                Ok(done) => Ok(done),
            };
            self.statement("RELEASE batch")?;
            verdicts.push(verdict);
        }
        self.db
            .prepare_cached("UPDATE meta SET last_token = ?, latest = ?")?
            .execute(params![signed(self.last_token), self.latest.map(micros)])?;
        Ok(verdicts)
    }

    fn write(&mut self, job: &Job) -> Result<Done, Trouble> {
        match job {
            Job::Lease(lease, _) => {
                // A token that is not used after all (a refusal, a full disk) is not given again either.
                self.last_token += 1;
                let token = FencingToken(self.last_token);
                changes::lease(&self.db, lease, token)?;
                self.latest = self.latest.max(Some(lease.started_at));
                Ok(Done::Leased(token))
            }
            Job::Apply(changes, _) => {
                changes.iter().try_for_each(|change| changes::make(&self.db, change))?;
                self.latest = self.latest.max(latest_of(changes));
                Ok(Done::Applied)
            }
        }
    }

    fn statement(&self, sql: &str) -> Result<(), Trouble> {
        self.db.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn prune_now_and_then(&mut self) {
        if self.until_prune == 0 {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let passed = SignedDuration::try_from(self.opened.1.elapsed()).unwrap_or_default();
        let now = self.opened.0.checked_add(passed).unwrap_or(self.opened.0);
        let pruned = prune_a_step(&self.db, self.retention, now);
        self.until_prune = if matches!(pruned, Ok(true)) { 1 } else { PRUNE_EVERY };
        if let Err(trouble) = pruned {
            // History that stays too long harms nobody; the next batch meets the same trouble and says so.
            tracing::warn!(error = %trouble.at(&self.path), "old history was not pruned");
        }
    }

    fn end(self) {
        if let Err(error) = self.db.execute("UPDATE meta SET ended_clean = 1", []) {
            tracing::warn!(%error, "the state was not marked as ended; the next start reads through it once");
        }
        if let Err((_, error)) = self.db.close() {
            tracing::warn!(%error, "the state was not closed; its write-ahead log stays beside it");
        }
        drop(self.ownership);
    }
}

impl Job {
    fn answer(self, verdict: Verdict) {
        // A caller that has gone away meanwhile does not want an answer; what it asked for is done all the same.
        match (self, verdict) {
            (Job::Lease(_, caller), Ok(Done::Leased(token))) => drop(caller.send(Ok(token))),
            (Job::Lease(_, caller), Err(error)) => drop(caller.send(Err(error))),
            (Job::Apply(_, caller), verdict) => drop(caller.send(verdict.map(drop))),
            (Job::Lease(..), Ok(Done::Applied)) => {}
        }
    }
}
