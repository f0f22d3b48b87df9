//! The one thread that writes: it collects what many callers want and commits it with one fsync.
//!
//! A caller gets its answer after the fsync of the commit that holds its batch, so what was answered survives any kill
//! (`what_was_acknowledged_survives_kill_nine`). A batch is refused before anything of it is written, so it takes nothing
//! of its neighbours with it (`a_refused_batch_does_not_harm_its_neighbours`).

use std::path::PathBuf;
use std::time::{Duration, Instant};

use adce_core::failpoint::{self, Failpoint};
use adce_core::ids::FencingToken;
use adce_core::ports::StoreError;
use adce_core::record::{Change, Lease};
use adce_core::time::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::Opening;
use super::changes::{self, Rest};
use super::columns::{micros, signed, unsigned};
use super::fault::Trouble;
use super::history::Ledger;
use super::mailbox::Mailbox;
use super::ownership::Ownership;
use super::queue::Queue;
use super::reader::leases;
use crate::instants::latest_of;
use crate::owners::Owners;

pub(super) enum Sent {
    Job(Job),
    End(End),
}

pub(super) struct Job {
    pub(super) haste: Haste,
    pub(super) work: Work,
}

/// Whether a commit may be put off for the company of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Haste {
    SomebodyWaits,
    NobodyWaits,
}

pub(super) enum Work {
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
    owners: Owners,
    last_token: u64,
    latest: Option<Timestamp>,
    opened: Timestamp,
    since_opening: SinceOpening,
    history: Ledger,
}

/// How long ago the state was opened. A wall clock that is set meanwhile prunes nothing.
pub(super) type SinceOpening = Box<dyn Fn() -> Duration + Send>;

impl Writer {
    pub(super) fn new(
        db: Connection,
        path: PathBuf,
        ownership: Ownership,
        opening: &Opening,
        since_opening: SinceOpening,
    ) -> Result<Self, StoreError> {
        let (token, latest): (i64, Option<i64>) = db
            .query_row("SELECT last_token, latest FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(|error| Trouble::from(error).at(&path))?;
        let latest = latest.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let owners = Owners::of(&leases(&db).map_err(|trouble| trouble.at(&path))?);
        let history = Ledger::of(&db, opening.retention).map_err(|trouble| trouble.at(&path))?;
        let last_token = unsigned(token);
        let mut writer = Writer { db, path, ownership, owners, last_token, latest, opened: opening.now, since_opening, history };
        writer.prune();
        Ok(writer)
    }

    pub(super) fn run(mut self, jobs: Mailbox) {
        let mut queue = Queue::of(jobs);
        let mut group = Vec::new();
        loop {
            let end = queue.next_group(&mut group);
            let began = Instant::now();
            let answers = self.commit(std::mem::take(&mut group));
            let waited = answers.iter().filter(|(job, _)| job.haste == Haste::SomebodyWaits).count();
            queue.expect_back(waited, began.elapsed());
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
            (Ok(verdicts), _) => group.into_iter().zip(verdicts).collect(),
            (Err(trouble), 1) => group.pop().map(|job| (job, Err(trouble.at(&self.path)))).into_iter().collect(),
            // One batch may be too large for the disk, or broken: each gets its own commit and its own verdict.
            (Err(_), _) => group.into_iter().flat_map(|job| self.commit(vec![job])).collect(),
        }
    }

    /// All batches in one transaction; refused ones leave nothing in it. After an error nothing of any was kept.
    fn commit_together(&mut self, group: &[Job]) -> Result<Vec<Verdict>, Trouble> {
        self.leave_transaction()?;
        self.statement("BEGIN IMMEDIATE")?;
        let written = self.write_all(group).and_then(|verdicts| {
            reached(group, When::BeforeTheCommit);
            self.statement("COMMIT").map(|()| verdicts)
        });
        match written {
            Err(trouble) => {
                self.leave_transaction()?;
                // Nothing of the group was kept, so what it changed in memory is not true either.
                self.owners = Owners::of(&leases(&self.db)?);
                self.history.take_back(&self.db)?;
                Err(trouble)
            }
            verdicts => {
                reached(group, When::AfterTheCommit);
                verdicts
            }
        }
    }

    /// After an error: some end the transaction themselves, others leave it to us.
    fn leave_transaction(&self) -> Result<(), Trouble> {
        if self.db.is_autocommit() { Ok(()) } else { self.statement("ROLLBACK") }
    }

    fn write_all(&mut self, group: &[Job]) -> Result<Vec<Verdict>, Trouble> {
        let mut verdicts = Vec::with_capacity(group.len());
        let mut rest = Rest::default();
        for job in group {
            verdicts.push(match self.refusal(job) {
                Some(refusal) => Err(refusal),
                None => Ok(self.write(job, &mut rest)?),
            });
        }
        rest.write(&self.db)?;
        self.db.prepare_cached("UPDATE meta SET last_token = ?, latest = ?, history_bytes = ?")?.execute(params![
            signed(self.last_token),
            self.latest.map(micros),
            signed(self.history.bytes())
        ])?;
        Ok(verdicts)
    }

    fn refusal(&self, job: &Job) -> Option<StoreError> {
        match &job.work {
            Work::Lease(lease, _) => self.owners.may_lease(lease).err(),
            Work::Apply(changes, _) => self.owners.may_apply(changes).err(),
        }
    }

    fn write<'a>(&mut self, job: &'a Job, rest: &mut Rest<'a>) -> Result<Done, Trouble> {
        match &job.work {
            Work::Lease(lease, _) => {
                // A token that is not used after all, because the disk is full, is not given again either.
                self.last_token += 1;
                let token = FencingToken(self.last_token);
                changes::lease(&self.db, lease, token)?;
                self.owners.leased(lease, token);
                self.latest = self.latest.max(Some(lease.started_at));
                Ok(Done::Leased(token))
            }
            Work::Apply(changes, _) => {
                let written = changes::make_all(&self.db, changes, rest)?;
                self.history.add(written);
                self.owners.applied(changes);
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
        if self.history.is_due() {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let passed = SignedDuration::try_from((self.since_opening)()).unwrap_or_default();
        let now = self.opened.checked_add(passed).unwrap_or(self.opened);
        if let Err(trouble) = self.history.prune(&self.db, now) {
            // History that stays too long harms nobody; the next batch meets the same trouble and says so.
            tracing::warn!(error = %trouble.at(&self.path), "old history was not pruned");
        }
    }

    fn end(self) {
        failpoint::reached(Failpoint::EndUnmarked);
        if let Err(error) = self.db.execute("UPDATE meta SET ended_clean = 1", []) {
            tracing::warn!(%error, "the state was not marked as ended; the next start reads through it once");
        }
        failpoint::reached(Failpoint::EndMarked);
        if let Err((_, error)) = self.db.close() {
            tracing::warn!(%error, "the state was not closed; its write-ahead log stays beside it");
        }
        drop(self.ownership);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    BeforeTheCommit,
    AfterTheCommit,
}

/// Tells of everything that shares this commit.
fn reached(group: &[Job], when: When) {
    if !failpoint::can_be_watched() {
        return;
    }
    for job in group {
        let steps = match &job.work {
            Work::Lease(..) => vec![(Failpoint::LeaseUncommitted, Failpoint::LeaseCommitted)],
            Work::Apply(changes, _) => steps_of(changes),
        };
        for (before, after) in steps {
            failpoint::reached(if when == When::BeforeTheCommit { before } else { after });
        }
    }
}

/// What a batch is on record for, each once: what shares it with others is as durable as alone.
fn steps_of(changes: &[Change]) -> Vec<(Failpoint, Failpoint)> {
    let steps = changes.iter().filter_map(|change| {
        Some(match change {
            Change::Finish(_) => (Failpoint::OutcomesUncommitted, Failpoint::OutcomesCommitted),
            Change::Publishing { .. } => (Failpoint::PublishingUncommitted, Failpoint::PublishingCommitted),
            Change::Started(_) => (Failpoint::ProcessUncommitted, Failpoint::ProcessCommitted),
            Change::Reserve(_) => (Failpoint::ReservationUncommitted, Failpoint::ReservationCommitted),
            Change::SettleReservation { .. } => (Failpoint::SettlementUncommitted, Failpoint::SettlementCommitted),
            Change::Release(_) => (Failpoint::ReleaseUncommitted, Failpoint::ReleaseCommitted),
            Change::PutGap(_) | Change::CloseGap { .. } => (Failpoint::GapsUncommitted, Failpoint::GapsCommitted),
            _ => return None,
        })
    });
    let mut once = Vec::new();
    for step in steps {
        if !once.contains(&step) {
            once.push(step);
        }
    }
    once
}

impl Job {
    fn answer(self, verdict: Verdict) {
        // A caller that has gone away meanwhile does not want an answer; what it asked for is done all the same.
        match (self.work, verdict) {
            (Work::Lease(_, caller), Ok(Done::Leased(token))) => drop(caller.send(Ok(token))),
            (Work::Lease(_, caller), Err(error)) => drop(caller.send(Err(error))),
            (Work::Apply(_, caller), verdict) => drop(caller.send(verdict.map(drop))),
            (Work::Lease(..), Ok(Done::Applied)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use adce_core::ids::{AttemptId, ItemId, Uuid};
    use adce_core::record::{AttemptRecord, Event, ItemRecord};

    use super::*;
    use crate::sqlite::schema;
    use crate::{Identity, Retention};

    fn writer(path: &Path) -> Writer {
        let identity = Identity { name: "prod".into(), lake: "/lake".into() };
        let ownership = Ownership::take(path, Timestamp::UNIX_EPOCH).unwrap();
        let db = schema::open_to_write(path, &identity, "boot").unwrap();
        let boot_id = adce_core::time::BootId("boot".into());
        let opening = Opening { identity, boot_id, now: Timestamp::UNIX_EPOCH, retention: Retention::default() };
        Writer::new(db, path.to_owned(), ownership, &opening, Box::new(|| Duration::ZERO)).unwrap()
    }

    fn batch(changes: Vec<Change>) -> Job {
        job(Work::Apply(changes, oneshot::channel().0))
    }

    fn job(work: Work) -> Job {
        Job { haste: Haste::SomebodyWaits, work }
    }

    fn line(bytes: usize) -> Job {
        batch(vec![Change::Event(Event { at: Timestamp::UNIX_EPOCH, task: None, gap: None, text: "x".repeat(bytes) })])
    }

    fn verdicts(answers: Vec<(Job, Verdict)>) -> Vec<Result<(), StoreError>> {
        answers.into_iter().map(|(_, verdict)| verdict.map(drop)).collect()
    }

    fn count(writer: &Writer, table: &str) -> i64 {
        writer.db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    fn limit_pages(writer: &Writer, more: u32) {
        let pages: u32 = writer.db.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        writer.db.query_row(&format!("PRAGMA max_page_count = {}", pages + more), [], |_| Ok(())).unwrap();
    }

    #[test]
    fn every_commit_is_synced_before_it_is_answered() {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(&folder.path().join("state.db"));
        let pragma = |name: &str| -> String {
            writer.db.query_row(&format!("PRAGMA {name}"), [], |row| row.get_ref(0).map(|value| format!("{value:?}"))).unwrap()
        };
        // FULL is 2: the log is synced with each commit, and not only before a checkpoint.
        assert_eq!(pragma("synchronous"), "Integer(2)");
        assert_eq!(writer.db.query_row("PRAGMA journal_mode", [], |row| row.get::<_, String>(0)).unwrap(), "wal");
    }

    #[test]
    fn a_refused_batch_does_not_harm_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder.path().join("state.db"));
        let item = |number: &str| Change::PutItem(ItemId::of("d", [number]), ItemRecord::default());
        let stale =
            Change::Publishing { attempt: AttemptId(Uuid::nil()), token: FencingToken(1), staged: vec![], until: Default::default() };
        let group = vec![batch(vec![item("1")]), batch(vec![item("2"), stale, item("3")]), batch(vec![item("4")])];
        let answers = verdicts(writer.commit(group));
        assert!(matches!(answers[..], [Ok(()), Err(StoreError::StaleToken(_)), Ok(())]), "{answers:?}");
        assert_eq!(count(&writer, "item"), 2);
    }

    #[test]
    fn a_batch_without_room_does_not_harm_its_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder.path().join("state.db"));
        limit_pages(&writer, 4);
        let answers = verdicts(writer.commit(vec![line(10), line(100_000), line(10)]));
        assert!(matches!(answers[..], [Ok(()), Err(StoreError::NoRoom(_)), Ok(())]), "{answers:?}");
        assert_eq!(count(&writer, "event"), 2);
        assert_eq!(count(&writer, "meta WHERE history_bytes = 2 * (10 + 64)"), 1, "what was not kept counts for nothing");
    }

    #[test]
    fn the_writer_goes_on_when_there_is_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder.path().join("state.db"));
        limit_pages(&writer, 0);
        let full = verdicts(writer.commit(vec![line(100_000)]));
        assert!(matches!(&full[..], [Err(StoreError::NoRoom(text))] if text.contains("state.db")), "{full:?}");
        limit_pages(&writer, 1_000);
        let answers = verdicts(writer.commit(vec![line(100_000), line(100_000)]));
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert_eq!(count(&writer, "event"), 2);
    }

    #[test]
    fn a_token_that_a_full_disk_took_back_is_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder.path().join("state.db"));
        let lease = |number: u128| Lease {
            attempt: AttemptId(Uuid::from_u128(number)),
            token: FencingToken(0),
            task: adce_core::ids::TaskId([0; 13]),
            collector: "x".repeat(if number == 1 { 100_000 } else { 1 }),
            gaps: vec![],
            started_at: Timestamp::UNIX_EPOCH,
            until: Default::default(),
            staged: vec![],
        };
        let ask = |writer: &mut Writer, number| {
            let (answer, mut answered) = oneshot::channel();
            writer.commit(vec![job(Work::Lease(lease(number), answer))]).into_iter().for_each(|(job, verdict)| job.answer(verdict));
            answered.try_recv().unwrap()
        };
        limit_pages(&writer, 0);
        assert!(matches!(ask(&mut writer, 1), Err(StoreError::NoRoom(_))));
        assert_eq!(ask(&mut writer, 2).unwrap(), FencingToken(2));
    }

    #[test]
    fn a_log_with_a_path_that_is_no_text_is_recorded() {
        use std::os::unix::ffi::OsStringExt;
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder.path().join("state.db"));
        let attempt = AttemptId(Uuid::nil());
        let gaps = vec![];
        let task = adce_core::ids::TaskId([0; 13]);
        let now = Timestamp::UNIX_EPOCH;
        let lease = Lease {
            attempt,
            token: FencingToken(0),
            task,
            collector: "c".into(),
            gaps,
            started_at: now,
            until: Default::default(),
            staged: vec![],
        };
        let record = AttemptRecord {
            attempt,
            token: FencingToken(1),
            task,
            collector: "c".into(),
            started_at: now,
            ended_at: now,
            ended: "exit 0".into(),
            requests: 0,
            outcomes: vec![],
            log_tail: String::new(),
            log: Some(std::ffi::OsString::from_vec(b"logs/\xff".to_vec()).into()),
            story: None,
            traffic: None,
        };
        let group = vec![job(Work::Lease(lease, oneshot::channel().0)), batch(vec![Change::Finish(record)])];
        assert!(verdicts(writer.commit(group)).iter().all(Result::is_ok));
        assert_eq!(count(&writer, "attempt"), 1);
    }
}
