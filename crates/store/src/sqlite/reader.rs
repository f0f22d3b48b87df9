//! Reading a state, beside the engine that writes it or after its end. Readers see whole commits and change nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use adce_core::access::{AuditRecord, Role, TokenHash, TokenRecord};
use adce_core::coverage::{Picture, TrendPoint};
use adce_core::gap::{Gap, Progress, Task};
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId};
use adce_core::job::JobRecord;
use adce_core::pause::{Pause, PauseOf};
use adce_core::ports::StoreError;
use adce_core::record::{
    AttemptRecord, BreakerRecord, Event, HeldPicture, History, ItemRecord, Lease, ProcessRecord, Remembered, Reservation,
    SettledReservation, SourceRecord,
};
use adce_core::time::{BootId, Boottime, Moment};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::columns::{Columns, signed, unsigned};
use super::fault::Trouble;

/// A read-only view of a state. Each call sees one consistent moment.
pub struct Reader {
    db: Connection,
    path: PathBuf,
}

impl Reader {
    pub(super) fn over(db: Connection, path: &Path) -> Self {
        Reader { db, path: path.to_owned() }
    }

    /// What [`adce_core::ports::Store::load`] gives a starting engine.
    pub fn remembered(&self) -> Result<Remembered, StoreError> {
        self.at_one_moment(remembered)
    }

    /// What is remembered of jobs.
    pub fn jobs(&self) -> Result<BTreeMap<String, JobRecord>, StoreError> {
        self.at_one_moment(jobs)
    }

    /// What happened to a task, oldest first.
    pub fn history(&self, task: TaskId) -> Result<History, StoreError> {
        self.at_one_moment(|db| {
            let of_task = "SELECT at, task, item, episode, text FROM event
                           WHERE task = ? OR (task IS NULL AND item IS NOT NULL) ORDER BY seq";
            let history = History { attempts: attempts_behind(db, task)?, events: events(db, of_task, [task.0])? };
            let of_task = "SELECT item, episode FROM gap WHERE task = (SELECT seq FROM task WHERE id = ?)";
            let gaps = each(db, of_task, [task.0], |row| Columns("gap").gap(&blob(row, 0)?, row.get(1)?))?;
            Ok(history.of_one_task(task, gaps).with_fills())
        })
    }

    /// The last attempts and events of all tasks, at most so many of each, oldest first.
    pub fn recent(&self, at_most: u32) -> Result<History, StoreError> {
        self.at_one_moment(|db| {
            let mut recent = History {
                attempts: attempts(db, "SELECT body FROM attempt ORDER BY seq DESC LIMIT ?", [at_most])?,
                events: events(db, "SELECT at, task, item, episode, text FROM event ORDER BY seq DESC LIMIT ?", [at_most])?,
            };
            recent.attempts.reverse();
            recent.events.reverse();
            Ok(recent)
        })
    }

    /// How complete each dataset was, oldest point first.
    pub fn trend(&self) -> Result<BTreeMap<String, Vec<TrendPoint>>, StoreError> {
        self.at_one_moment(|db| {
            let mut trend: BTreeMap<String, Vec<TrendPoint>> = BTreeMap::new();
            each(db, "SELECT dataset, at, present, wanted FROM trend ORDER BY dataset, at", [], |row| {
                let (at, present, wanted) = (Columns("trend").instant(row.get(1)?)?, unsigned(row.get(2)?), unsigned(row.get(3)?));
                trend.entry(row.get(0)?).or_default().push(TrendPoint { at, present, wanted });
                Ok(())
            })?;
            Ok(trend)
        })
    }

    /// As [`adce_core::ports::Store::attempts`].
    pub fn attempts(&self, before: Option<u64>, at_most: u32) -> Result<Vec<(u64, AttemptRecord)>, StoreError> {
        self.at_one_moment(|db| {
            let sql = "SELECT seq, body FROM attempt WHERE seq < ? ORDER BY seq DESC LIMIT ?";
            each(db, sql, (before.map_or(i64::MAX, signed), at_most), numbered)
        })
    }

    /// As [`adce_core::ports::Store::attempt`]. Its name stands in no index, because writing one would cost every attempt something and
    /// reading takes half a second at worst.
    pub fn attempt(&self, id: AttemptId) -> Result<Option<(u64, AttemptRecord)>, StoreError> {
        self.at_one_moment(|db| {
            let sql = "SELECT seq, body FROM attempt WHERE instr(body, ?) > 0 ORDER BY seq DESC";
            let named: Vec<(u64, AttemptRecord)> = each(db, sql, [id.to_string()], numbered)?;
            Ok(named.into_iter().find(|(_, record)| record.attempt == id))
        })
    }

    /// As [`adce_core::ports::Store::audit`].
    pub fn audit(&self, before: Option<u64>, at_most: u32) -> Result<Vec<AuditRecord>, StoreError> {
        self.at_one_moment(|db| {
            let sql = "SELECT seq, at, who, action, what, reason, before, after FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?";
            each(db, sql, (before.map_or(i64::MAX, signed), at_most), |row| {
                Ok(AuditRecord {
                    seq: unsigned(row.get(0)?),
                    at: Columns("audit").instant(row.get(1)?)?,
                    who: row.get(2)?,
                    action: row.get(3)?,
                    what: row.get(4)?,
                    reason: row.get(5)?,
                    before: row.get(6)?,
                    after: row.get(7)?,
                })
            })
        })
    }

    /// Also those that hold no more.
    pub fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.at_one_moment(tokens)
    }

    fn at_one_moment<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Trouble>) -> Result<T, StoreError> {
        let within = || {
            let moment = self.db.unchecked_transaction()?;
            read(&moment)
        };
        within().map_err(|trouble| trouble.at(&self.path))
    }
}

pub(super) fn remembered(db: &Connection) -> Result<Remembered, Trouble> {
    let latest: Option<i64> = db.query_row("SELECT latest FROM meta", [], |row| row.get(0))?;
    let gaps = gaps(db)?;
    Ok(Remembered {
        picture: picture::<Picture>(db, "accepted")?,
        held: picture::<HeldPicture>(db, "held")?,
        tasks: tasks(db, &gaps)?,
        gaps,
        items: items(db)?,
        leases: leases(db)?,
        processes: processes(db)?,
        reservations: reservations(db)?,
        sources: sources(db)?,
        values: values(db)?,
        collectors: collectors(db)?,
        success: success(db)?,
        pauses: pauses(db)?,
        jobs: jobs(db)?,
        tokens: tokens(db)?,
        latest: Columns("meta").instant_if(latest)?,
    })
}

/// `seq, body`
fn numbered(row: &Row<'_>) -> Result<(u64, AttemptRecord), Trouble> {
    Ok((unsigned(row.get(0)?), Columns("attempt").json(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?))
}

fn tokens(db: &Connection) -> Result<Vec<TokenRecord>, Trouble> {
    let columns = Columns("token");
    each(db, "SELECT name, role, hash, created_at, expires_at, revoked_at FROM token ORDER BY name", [], |row| {
        let (role, hash): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
        Ok(TokenRecord {
            name: row.get(0)?,
            role: Role::of_word(&role).ok_or_else(|| columns.unreadable(format!("`{role}` is no role")))?,
            hash: TokenHash::from_bytes(hash.try_into().map_err(|_| columns.unreadable("a digest has 32 bytes"))?),
            created_at: columns.instant(row.get(3)?)?,
            expires_at: columns.instant_if(row.get(4)?)?,
            revoked_at: columns.instant_if(row.get(5)?)?,
        })
    })
}

fn picture<T: serde::de::DeserializeOwned>(db: &Connection, standing: &str) -> Result<Option<T>, Trouble> {
    let body: Option<String> = db.query_row("SELECT body FROM picture WHERE standing = ?", [standing], |row| row.get(0)).optional()?;
    body.map(|body| Columns("picture").json(&body)).transpose()
}

fn gaps(db: &Connection) -> Result<Vec<Gap>, Trouble> {
    let columns = Columns("gap");
    let open =
        "SELECT body, item, episode, dataset, key, reason, priority, detected_at, due, fingerprint FROM gap WHERE dataset IS NOT NULL";
    let mut gaps = each(db, open, [], |row| {
        if let Some(body) = row.get_ref(0)?.as_str_or_null().map_err(rusqlite::Error::from)? {
            return columns.json(body);
        }
        Ok(Gap {
            id: columns.gap(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?, row.get(2)?)?,
            dataset: row.get(3)?,
            key: row.get(4)?,
            reason: columns.reason(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?)?,
            priority: columns.priority(row.get_ref(6)?.as_str().map_err(rusqlite::Error::from)?)?,
            detected_at: columns.instant(row.get(7)?)?,
            due: columns.instant_if(row.get(8)?)?,
            fingerprint: unsigned(row.get(9)?),
            group: Vec::new(),
            etag: None,
            last_modified: None,
            progress: Progress::default(),
        })
    })?;
    gaps.sort_unstable_by_key(|gap| gap.id);
    Ok(gaps)
}

fn tasks(db: &Connection, open: &[Gap]) -> Result<Vec<Task>, Trouble> {
    let tried: HashMap<GapId, &Gap> = open.iter().filter(|gap| gap.progress.next_try.is_some()).map(|gap| (gap.id, gap)).collect();
    let columns = Columns("task");
    let mut gaps = HashMap::<i64, Vec<GapId>>::new();
    each(db, "SELECT task, item, episode FROM gap WHERE task IS NOT NULL ORDER BY task, position", [], |row| {
        gaps.entry(row.get(0)?).or_default().push(Columns("gap").gap(&blob(row, 1)?, row.get(2)?)?);
        Ok(())
    })?;
    let mut tasks: Vec<Task> = each(db, "SELECT seq, body, id, collector, source, priority, detected_at, due, key FROM task", [], |row| {
        let task = match row.get_ref(1)?.as_str_or_null().map_err(rusqlite::Error::from)? {
            Some(body) => columns.json(body)?,
            None => Task {
                id: columns.task(&blob(row, 2)?)?,
                collector: row.get(3)?,
                source: row.get(4)?,
                priority: columns.priority(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?)?,
                detected_at: columns.instant(row.get(6)?)?,
                due: columns.instant_if(row.get(7)?)?,
                key: row.get(8)?,
                group: Vec::new(),
                gaps: Vec::new(),
                ready_at: None,
            },
        };
        let gaps = gaps.remove(&row.get(0)?).ok_or_else(|| columns.unreadable(format!("task {} has no gaps", task.id)))?;
        Ok(Task { gaps, ..task })
    })?;
    for task in &mut tasks {
        task.ready_at = task.when_ready(|gap| tried.get(gap).copied());
    }
    tasks.sort_unstable_by_key(|task| task.id);
    Ok(tasks)
}

fn items(db: &Connection) -> Result<HashMap<ItemId, ItemRecord>, Trouble> {
    let columns = Columns("item");
    let rows = each(db, "SELECT id, confirmed, absent, suspect_etag, episodes, losses FROM item", [], |row| {
        let (absent, losses): (Option<String>, Option<String>) = (row.get(2)?, row.get(5)?);
        let record = ItemRecord {
            confirmed: columns.instant_if(row.get(1)?)?,
            absent: absent.map(|body| columns.json(&body)).transpose()?,
            suspect_etag: row.get(3)?,
            episodes: columns.small(row.get(4)?)?,
            losses: losses.map(|body| columns.json(&body)).transpose()?.unwrap_or_default(),
        };
        Ok((columns.item(&blob(row, 0)?)?, record))
    })?;
    Ok(rows.into_iter().collect())
}

pub(super) fn leases(db: &Connection) -> Result<Vec<Lease>, Trouble> {
    let columns = Columns("lease");
    let sql = "SELECT attempt, token, task, collector, started_at, gaps, staged, boot_id, until, until_wall FROM lease ORDER BY token";
    each(db, sql, [], |row| {
        Ok(Lease {
            attempt: columns.attempt(&blob(row, 0)?)?,
            token: FencingToken(unsigned(row.get(1)?)),
            task: columns.task(&blob(row, 2)?)?,
            collector: row.get(3)?,
            gaps: columns.gaps(&blob(row, 5)?)?,
            started_at: columns.instant(row.get(4)?)?,
            staged: columns.gaps(&blob(row, 6)?)?,
            until: Moment { boot_id: BootId(row.get(7)?), boot: Boottime(unsigned(row.get(8)?)), wall: columns.instant(row.get(9)?)? },
        })
    })
}

fn processes(db: &Connection) -> Result<Vec<ProcessRecord>, Trouble> {
    let columns = Columns("process");
    each(db, "SELECT attempt, boot_id, process_group, start_ticks FROM process ORDER BY attempt", [], |row| {
        Ok(ProcessRecord {
            attempt: columns.attempt(&blob(row, 0)?)?,
            boot_id: BootId(row.get(1)?),
            process_group: columns.small(row.get(2)?)?,
            start_ticks: unsigned(row.get(3)?),
        })
    })
}

fn reservations(db: &Connection) -> Result<Vec<Reservation>, Trouble> {
    let columns = Columns("reservation");
    let sql = "SELECT id, source, permits, boot_id, first_sent, first_sent_wall, used, last_arrival, last_arrival_wall, value
               FROM reservation ORDER BY id";
    each(db, sql, [], |row| {
        let settled = match (row.get::<_, Option<i64>>(6)?, row.get::<_, Option<i64>>(7)?, row.get::<_, Option<i64>>(8)?) {
            (Some(used), Some(arrival), Some(wall)) => Some(SettledReservation {
                used: columns.small(used)?,
                last_arrival: Boottime(unsigned(arrival)),
                last_arrival_wall: columns.instant(wall)?,
            }),
            _ => None,
        };
        Ok(Reservation {
            id: unsigned(row.get(0)?),
            source: row.get(1)?,
            value: row.get(9)?,
            permits: columns.small(row.get(2)?)?,
            boot_id: BootId(row.get(3)?),
            first_sent: Boottime(unsigned(row.get(4)?)),
            first_sent_wall: columns.instant(row.get(5)?)?,
            settled,
        })
    })
}

fn sources(db: &Connection) -> Result<HashMap<String, SourceRecord>, Trouble> {
    let rows = each(db, "SELECT name, body FROM source", [], |row| {
        let body: String = row.get(1)?;
        Ok((row.get(0)?, Columns("source").json(&body)?))
    })?;
    Ok(rows.into_iter().collect())
}

fn values(db: &Connection) -> Result<HashMap<String, HashMap<String, SourceRecord>>, Trouble> {
    let rows: Vec<(String, String, SourceRecord)> = each(db, "SELECT source, value, body FROM source_value", [], |row| {
        let body: String = row.get(2)?;
        Ok((row.get(0)?, row.get(1)?, Columns("source_value").json(&body)?))
    })?;
    let mut values: HashMap<String, HashMap<String, SourceRecord>> = HashMap::new();
    for (source, value, record) in rows {
        values.entry(source).or_default().insert(value, record);
    }
    Ok(values)
}

fn collectors(db: &Connection) -> Result<HashMap<String, BreakerRecord>, Trouble> {
    let rows = each(db, "SELECT name, body FROM collector", [], |row| {
        let body: String = row.get(1)?;
        Ok((row.get(0)?, Columns("collector").json(&body)?))
    })?;
    Ok(rows.into_iter().collect())
}

fn pauses(db: &Connection) -> Result<BTreeMap<PauseOf, Pause>, Trouble> {
    let columns = Columns("pause");
    let rows = each(db, "SELECT what, body FROM pause", [], |row| {
        let (of, body): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((columns.json(&of)?, columns.json(&body)?))
    })?;
    Ok(rows.into_iter().collect())
}

fn jobs(db: &Connection) -> Result<BTreeMap<String, JobRecord>, Trouble> {
    let rows = each(db, "SELECT name, body FROM job", [], |row| {
        let body: String = row.get(1)?;
        Ok((row.get(0)?, Columns("job").json(&body)?))
    })?;
    Ok(rows.into_iter().collect())
}

fn success(db: &Connection) -> Result<HashMap<String, Vec<bool>>, Trouble> {
    let rows = each(db, "SELECT collector, attempts FROM success", [], |row| {
        let attempts: String = row.get(1)?;
        Ok((row.get(0)?, attempts.chars().map(|mark| mark == '1').collect()))
    })?;
    Ok(rows.into_iter().collect())
}

/// A gap may have gone through so many tasks before: a batch of a thousand is halved ten times.
const TASKS_BEFORE: usize = 32;

/// Those of the task and of all tasks that have left gaps to it, oldest first.
fn attempts_behind(db: &Connection, task: TaskId) -> Result<Vec<AttemptRecord>, Trouble> {
    let mut lineage = vec![task];
    let mut known = 0;
    while known < lineage.len() && known < TASKS_BEFORE {
        // Its name is in the bodies only: no index is worth what one would cost with each attempt.
        let named = format!("\"{}\"", lineage[known]);
        let left = "SELECT DISTINCT task FROM attempt WHERE task != ? AND instr(body, ?)";
        let before = each(db, left, (lineage[known].0, named), |row| Columns("attempt").task(&blob(row, 0)?))?;
        lineage.extend(before.into_iter().filter(|one| !lineage.contains(one)).collect::<Vec<_>>());
        known += 1;
    }
    let places = vec!["?"; lineage.len()].join(", ");
    let sql = format!("SELECT body FROM attempt WHERE task IN ({places}) ORDER BY seq");
    attempts(db, &sql, rusqlite::params_from_iter(lineage.iter().map(|task| task.0)))
}

fn attempts(db: &Connection, sql: &str, of: impl Params) -> Result<Vec<AttemptRecord>, Trouble> {
    each(db, sql, of, |row| Columns("attempt").json(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?))
}

fn events(db: &Connection, sql: &str, of: impl Params) -> Result<Vec<Event>, Trouble> {
    let columns = Columns("event");
    each(db, sql, of, |row| {
        let task: Option<Vec<u8>> = row.get(1)?;
        let gap = match (row.get::<_, Option<Vec<u8>>>(2)?, row.get::<_, Option<i64>>(3)?) {
            (Some(item), Some(episode)) => Some(columns.gap(&item, episode)?),
            _ => None,
        };
        Ok(Event { at: columns.instant(row.get(0)?)?, task: task.map(|blob| columns.task(&blob)).transpose()?, gap, text: row.get(4)? })
    })
}

fn blob(row: &Row<'_>, at: usize) -> Result<Vec<u8>, Trouble> {
    Ok(row.get(at)?)
}

fn each<T>(db: &Connection, sql: &str, of: impl Params, mut read: impl FnMut(&Row<'_>) -> Result<T, Trouble>) -> Result<Vec<T>, Trouble> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(of)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}
