//! Looking through a state and copying it, beside its engine.

mod sample;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adce_core::ids::FencingToken;
use adce_core::ports::{Store, StoreError};
use adce_core::record::{Change, Lease};
use adce_store::sqlite::{self, BackupError, Checkup, Opening, Overwrite, SqliteStore};
use adce_store::{Identity, Retention};
use sample::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    /// A task under way, one that waits, and a history.
    async fn filled() -> (Self, SqliteStore) {
        let place = Place::new();
        let store = place.open(&place.state());
        let mut changes: Vec<Change> = (1..=4).map(|number| Change::PutGap(gap(number))).collect();
        changes.extend([Change::PutTask(task(&[1, 2])), Change::PutTask(task(&[3, 4])), Change::Event(event(1, "queued"))]);
        store.apply(changes).await.unwrap();
        let token = store.lease(lease(1, &[1, 2])).await.unwrap();
        store.apply(vec![Change::Finish(ended(1, token, &[1, 2]))]).await.unwrap();
        store.lease(lease(2, &[1, 2])).await.unwrap();
        store.apply(vec![Change::Started(process(2))]).await.unwrap();
        (place, store)
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    fn copy(&self) -> PathBuf {
        self.0.path().join("copy.db")
    }

    fn open(&self, path: &Path) -> SqliteStore {
        let opening = Opening { identity: identity(), boot_id: boot_id(), now: at(0), retention: Retention::default() };
        sqlite::open(path, &opening).unwrap()
    }

    fn check(&self) -> Checkup {
        sqlite::check(&self.state(), &identity(), &moment(0)).unwrap().expect("a state")
    }

    fn back_up(&self, overwrite: Overwrite) -> Result<Option<u64>, BackupError> {
        sqlite::backup(&self.state(), &identity(), &self.copy(), overwrite)
    }

    fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.state()).unwrap().execute_batch(sql).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("copy")).collect();
        names.sort();
        names
    }
}

fn identity() -> Identity {
    Identity { name: "prod".into(), lake: "/lake".into() }
}

#[tokio::test]
async fn a_whole_state_is_called_whole_while_its_engine_runs_and_after() {
    let (place, store) = Place::filled().await;
    let expected = (4, 2, 1, 1, 1);
    let counts = |checkup: &Checkup| (checkup.gaps, checkup.tasks, checkup.leases, checkup.attempts, checkup.events);
    let running = place.check();
    assert_eq!((counts(&running), running.problems.as_slice(), running.history_since), (expected, [].as_slice(), Some(at(2))));
    store.close();
    let ended = place.check();
    assert_eq!((counts(&ended), ended.problems, ended.log_bytes), (expected, vec![], 0));
    let none = Place::new();
    assert_eq!(sqlite::check(&none.state(), &identity(), &moment(0)).unwrap(), None);
    assert!(!none.state().exists(), "and none was made");
    let other = Identity { lake: "/other".into(), ..identity() };
    assert!(matches!(sqlite::check(&place.state(), &other, &moment(0)), Err(StoreError::OtherLake { .. })));
}

#[tokio::test]
async fn every_damage_is_named() {
    let damages = [
        ("UPDATE gap SET dataset = NULL WHERE key LIKE 'box/1 %'", "is in a task and not open"),
        ("DELETE FROM task WHERE detected_at > 0", "has gaps and is not there"),
        ("UPDATE gap SET task = NULL WHERE position >= 0", "has no gaps"),
        (
            "INSERT INTO gap (item, episode, dataset, key, reason, detected_at, body)
             SELECT item, 2, dataset, key, reason, detected_at, body FROM gap",
            "is open in several episodes at once",
        ),
        ("UPDATE gap SET reason = 'mood', body = NULL", "table `gap`: `mood` is no reason"),
        ("UPDATE gap SET body = (SELECT body FROM gap ORDER BY key LIMIT 1)", "speaks of another"),
        ("UPDATE gap SET body = '{}' WHERE key LIKE 'box/3 %'", "table `gap`: missing field"),
        ("DELETE FROM lease", "process group 4312 is of an attempt that has no lease"),
        (
            "INSERT INTO lease SELECT token + 1, zeroblob(16), task, collector, started_at, gaps, staged, boot_id, until, until_wall FROM lease",
            "has two owners",
        ),
        ("UPDATE meta SET last_token = 1", "has token 2, and the last one that was given is 1"),
        ("UPDATE attempt SET body = 'torn'", "attempt 1 of the history: table `attempt`"),
        ("UPDATE meta SET history_bytes = 7", "the history takes other than the 7 bytes"),
    ];
    for (damage, what) in damages {
        let (place, store) = Place::filled().await;
        store.close();
        place.sql(damage);
        let problems = place.check().problems;
        assert!(problems.iter().any(|problem| problem.contains(what)), "{damage}: {problems:?}");
    }
}

#[tokio::test]
async fn a_look_through_a_state_counts_leases_that_nobody_has_renewed_in_time() {
    let (place, store) = Place::filled().await;
    let held = store.load().await.unwrap().leases.len() as u64;
    let expired = |secs| sqlite::check(&place.state(), &identity(), &moment(secs)).unwrap().unwrap().leases_expired;
    assert_eq!((expired(0), expired(3_600)), (0, held));
    assert!(held > 0);
}

#[tokio::test]
async fn a_damaged_page_is_found_though_the_last_engine_ended_well() {
    let (place, store) = Place::filled().await;
    store.apply((10..300).map(|number| Change::PutGap(gap(number))).collect()).await.unwrap();
    store.close();
    let mut whole = std::fs::read(place.state()).unwrap();
    let page = whole.len() / 4096 / 2;
    whole[page * 4096..page * 4096 + 64].fill(0);
    std::fs::write(place.state(), whole).unwrap();
    let problems = place.check().problems;
    assert!(!problems.is_empty() && problems.iter().all(|problem| !problem.is_empty()), "{problems:?}");
    let opening = Opening { identity: identity(), boot_id: boot_id(), now: at(0), retention: Retention::default() };
    let refused = sqlite::open(&place.state(), &opening).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains("move it away") && refused.contains("adce state backup"), "{refused}");
}

#[tokio::test]
async fn a_copy_is_the_state_of_one_moment_and_can_take_its_place() {
    let (place, store) = Place::filled().await;
    let size = place.back_up(Overwrite::Never).unwrap().unwrap();
    let expected = store.load().await.unwrap();
    let history = store.recent(100).await.unwrap();
    store.apply(vec![Change::PutGap(gap(9))]).await.unwrap();
    store.close();
    assert_eq!(std::fs::metadata(place.copy()).unwrap().len(), size);
    assert_eq!(std::fs::metadata(place.copy()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(place.names(), ["copy.db"], "one file, and no leftovers");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", place.state().display()));
    }
    std::fs::rename(place.copy(), place.state()).unwrap();
    assert_eq!(place.check().problems, Vec::<String>::new());
    let store = place.open(&place.state());
    assert_eq!((store.load().await.unwrap(), store.recent(100).await.unwrap()), (expected, history));
    // Tokens go on, so nothing of before is taken for current.
    let token = store.lease(Lease { token: FencingToken(0), ..lease(3, &[3]) }).await.unwrap();
    assert_eq!(token, FencingToken(3));
}

#[tokio::test]
async fn nothing_is_replaced_without_being_asked() {
    let (place, _store) = Place::filled().await;
    std::fs::write(place.copy(), "mine").unwrap();
    assert!(matches!(place.back_up(Overwrite::Never), Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read(place.copy()).unwrap(), b"mine");
    place.back_up(Overwrite::Yes).unwrap();
    assert!(std::fs::metadata(place.copy()).unwrap().len() > 4_096);
    assert_eq!(place.names(), ["copy.db"]);
    let nowhere = place.0.path().join("none/copy.db");
    assert!(matches!(sqlite::backup(&place.state(), &identity(), &nowhere, Overwrite::Never), Err(BackupError::NoFolder(_))));
    let none = Place::new();
    assert_eq!(none.back_up(Overwrite::Never).unwrap(), None);
    assert_eq!(none.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_state_of_an_older_format_can_be_copied_before_it_is_brought_up_to_date() {
    let place = Place::new();
    place.sql(include_str!("formats/0001.sql"));
    place.back_up(Overwrite::Never).unwrap().unwrap();
    let format: u32 = rusqlite::Connection::open(place.copy()).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(format, 1);
}

#[tokio::test]
async fn a_copy_is_whole_while_the_engine_writes() {
    let place = Arc::new(Place::new());
    let store = Arc::new(place.open(&place.state()));
    let writing = Arc::new(AtomicBool::new(true));
    let copying = {
        let (place, writing) = (Arc::clone(&place), Arc::clone(&writing));
        std::thread::spawn(move || {
            let mut most = 0;
            loop {
                let last = !writing.load(Ordering::Relaxed);
                place.back_up(Overwrite::Yes).unwrap();
                let reader = sqlite::open_to_read(&place.copy(), &identity()).unwrap().unwrap();
                let remembered = reader.remembered().unwrap();
                assert_eq!(remembered.gaps.len(), 2 * remembered.tasks.len(), "half a batch");
                assert!(remembered.tasks.len() >= most, "back in time");
                most = remembered.tasks.len();
                if last {
                    return most;
                }
            }
        })
    };
    for number in 0..200 {
        let pair = [2 * number, 2 * number + 1];
        store.apply(vec![Change::PutGap(gap(pair[0])), Change::PutTask(task(&pair)), Change::PutGap(gap(pair[1]))]).await.unwrap();
    }
    writing.store(false, Ordering::Relaxed);
    assert_eq!(copying.join().unwrap(), 200);
}
