//! The state as a file: whose it is, what is wrong with it, and who may have it open.

mod sample;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use adce_core::coverage::{Picture, TrendPoint};
use adce_core::gap::{Gap, Progress};
use adce_core::ids::FencingToken;
use adce_core::pause::{Pause, PauseOf};
use adce_core::ports::{Store, StoreError};
use adce_core::record::{
    AbsentMark, AttemptRecord, BreakerRecord, Change, Event, HeldPicture, ItemRecord, Lease, Remembered, Reservation, SourceRecord,
};
use adce_store::sqlite::{self, Opening, SqliteStore};
use adce_store::{Identity, Retention};
use sample::*;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("state.db")
    }

    fn open(&self) -> Result<SqliteStore, StoreError> {
        sqlite::open(&self.path(), &opening("prod", "/lake"))
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// A state with some hundred gaps, as an engine leaves it that ends well.
    async fn filled() -> Self {
        let place = Place::new();
        let store = place.open().unwrap();
        store.apply((0..300).map(|number| Change::PutGap(gap(number))).collect()).await.unwrap();
        store.close();
        place
    }

    fn figure(&self, sql: &str) -> u64 {
        rusqlite::Connection::open(self.path()).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    }

    fn sql(&self, sql: &str) {
        rusqlite::Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

fn identity(name: &str, lake: &str) -> Identity {
    Identity { name: name.into(), lake: lake.into() }
}

fn opening(name: &str, lake: &str) -> Opening {
    Opening { identity: identity(name, lake), boot_id: boot_id(), now: at(0), retention: Retention::default() }
}

fn refusal<T>(opened: Result<T, StoreError>) -> StoreError {
    match opened {
        Ok(_) => panic!("it was not refused"),
        Err(error) => error,
    }
}

#[test]
fn reading_where_no_state_is_creates_nothing() {
    let place = Place::new();
    assert!(sqlite::open_to_read(&place.path(), &identity("prod", "/lake")).unwrap().is_none());
    assert!(sqlite::open_to_read(&place.0.path().join("none/state.db"), &identity("prod", "/lake")).unwrap().is_none());
    assert_eq!(place.names(), Vec::<String>::new());
}

#[test]
fn a_file_without_a_state_in_it_yet_reads_as_no_state() {
    let place = Place::new();
    std::fs::write(place.path(), b"").unwrap();
    assert!(sqlite::open_to_read(&place.path(), &identity("prod", "/lake")).unwrap().is_none());
    place.open().unwrap();
}

#[test]
fn a_state_is_made_with_its_folder() {
    let place = Place::new();
    let path = place.0.path().join("a/b/state.db");
    sqlite::open(&path, &opening("prod", "/lake")).unwrap().close();
    assert!(path.is_file());
}

#[tokio::test]
async fn a_second_engine_is_told_who_holds_the_state() {
    let place = Place::new();
    let _first = place.open().unwrap();
    let StoreError::Held(by) = refusal(place.open()) else { panic!("not held") };
    assert!(by.contains(&format!("process {} on `", std::process::id())) && by.contains(&at(0).to_string()), "{by}");
}

#[tokio::test]
async fn a_state_that_was_given_up_can_be_taken() {
    let place = Place::new();
    place.open().unwrap().close();
    drop(place.open().unwrap());
    place.open().unwrap();
}

#[tokio::test]
async fn readers_see_whole_batches_while_an_engine_writes() {
    let place = Place::new();
    let store = Arc::new(place.open().unwrap());
    let (path, writing) = (place.path(), Arc::new(AtomicBool::new(true)));
    let reading = {
        let writing = Arc::clone(&writing);
        std::thread::spawn(move || {
            let (mut most, mut reads) = (0, 0);
            while writing.load(Ordering::Relaxed) || reads == 0 {
                let reader = sqlite::open_to_read(&path, &identity("prod", "/lake")).unwrap().unwrap();
                let remembered = reader.remembered().unwrap();
                assert_eq!(remembered.gaps.len(), 2 * remembered.tasks.len(), "half a batch");
                assert!(remembered.tasks.len() >= most, "back in time");
                (most, reads) = (remembered.tasks.len(), reads + 1);
            }
            most
        })
    };
    for number in 0..200 {
        let pair = [2 * number, 2 * number + 1];
        let batch = vec![Change::PutGap(gap(pair[0])), Change::PutTask(task(&pair)), Change::PutGap(gap(pair[1]))];
        store.apply(batch).await.unwrap();
    }
    writing.store(false, Ordering::Relaxed);
    reading.join().unwrap();
    let reader = sqlite::open_to_read(&place.path(), &identity("prod", "/lake")).unwrap().unwrap();
    assert_eq!(reader.remembered().unwrap().tasks.len(), 200);
}

#[tokio::test]
async fn a_reader_changes_nothing_and_shuts_nobody_out() {
    let place = Place::filled().await;
    let before = std::fs::read(place.path()).unwrap();
    let reader = sqlite::open_to_read(&place.path(), &identity("prod", "/lake")).unwrap().unwrap();
    assert_eq!(reader.remembered().unwrap().gaps.len(), 300);
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
    place.open().unwrap();
}

#[tokio::test]
async fn a_state_in_a_folder_without_write_permission_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::filled().await;
    std::fs::set_permissions(place.0.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let read = sqlite::open_to_read(&place.path(), &identity("prod", "/lake")).map(|reader| reader.unwrap().remembered().unwrap());
    std::fs::set_permissions(place.0.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(read.unwrap().gaps.len(), 300);
}

#[tokio::test]
async fn another_lake_or_another_name_is_refused() {
    let place = Place::filled().await;
    for (name, lake) in [("prod", "s3://other"), ("test", "/lake")] {
        let errors = [
            refusal(sqlite::open(&place.path(), &opening(name, lake))),
            refusal(sqlite::open_to_read(&place.path(), &identity(name, lake))),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(matches!(error, StoreError::OtherLake { .. }), "{text}");
            assert!(
                text.contains("`/lake` under the name `prod`") && text.contains(&format!("`{lake}` under the name `{name}`")),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_state_of_a_newer_adce_is_refused() {
    let place = Place::filled().await;
    place.sql("PRAGMA user_version = 77");
    for error in [refusal(place.open()), refusal(sqlite::open_to_read(&place.path(), &identity("prod", "/lake")))] {
        assert!(matches!(error, StoreError::Newer { found: 77, known: sqlite::FORMAT, .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&place.path().display().to_string()) && text.contains("run that one"), "{text}");
    }
}

#[tokio::test]
async fn a_state_with_other_tables_than_its_format_has_is_refused_and_left_as_it_was() {
    let others = [
        ("ALTER TABLE lease DROP COLUMN staged", "its table `lease` has no column `staged`"),
        ("ALTER TABLE lease ADD COLUMN host TEXT", "its table `lease` has a column `host`, which is not known"),
        ("DROP TABLE event", "it has no table `event`"),
        (
            "DROP TABLE success; CREATE TABLE success (collector TEXT PRIMARY KEY, attempts BLOB NOT NULL) STRICT",
            "column `attempts` of its table `success` is another",
        ),
        ("PRAGMA user_version = 1", "its table `gap` has no column `next_try`"),
        ("ALTER TABLE item ADD COLUMN mood TEXT", "its table `item` has a column `mood`, which is not known"),
    ];
    for (change, what) in others {
        let place = Place::filled().await;
        place.sql(change);
        let before = std::fs::read(place.path()).unwrap();
        for error in [refusal(sqlite::open_to_read(&place.path(), &identity("prod", "/lake"))), refusal(place.open())] {
            let text = error.to_string();
            assert!(matches!(error, StoreError::Corrupt(_)), "{text}");
            assert!(text.contains(what) && text.contains(&place.path().display().to_string()) && text.contains("move it away"), "{text}");
        }
        assert!(std::fs::read(place.path()).unwrap() == before, "{change}");
    }
    let place = Place::filled().await;
    place.sql("CREATE TABLE notes (mine TEXT); CREATE INDEX gap_by_key ON gap (key)");
    assert_eq!(place.open().unwrap().load().await.unwrap().gaps.len(), 300, "what a person added is nobody's business");
}

/// What the dumps of older formats hold, as far as the first format could say it.
fn left_by_format_1() -> Remembered {
    let picture =
        Picture { taken_at: Some(at(1)), items: 7, gaps: 2, objects: [("box_scores".to_owned(), 5)].into(), ..Picture::default() };
    let mark = AbsentMark { since: at(0), recheck_at: at(9), confirmed: 3, fingerprint: u64::MAX - 1 };
    let surprises = vec!["`box_scores` lost 12 %".into()];
    let breaker = BreakerRecord { failures: 5, open_until: Some(at(600)), reason: Some("5 failures".into()), ..BreakerRecord::default() };
    Remembered {
        picture: Some(picture.clone()),
        held: Some(HeldPicture { picture, first_seen: at(2), surprises, accepted: true }),
        // Nobody counted yet on what its batch failed whole.
        gaps: [2, 1].map(|number| Gap { progress: Progress { unblamed: 0, ..gap(number).progress }, ..gap(number) }).into(),
        tasks: vec![known_task(&[1, 2])],
        items: [(
            item(1),
            ItemRecord { confirmed: Some(at(3)), absent: Some(mark), suspect_etag: Some("\"e1\"".into()), episodes: 4, losses: vec![] },
        )]
        .into(),
        // It was publishing, and did not say what.
        leases: vec![Lease { token: FencingToken(2), staged: vec![], until: Default::default(), ..lease(2, &[1, 2]) }],
        processes: vec![process(2)],
        reservations: vec![reservation(7), Reservation { settled: Some(settled()), ..reservation(8) }],
        sources: [("espn".into(), SourceRecord { breaker, ..SourceRecord::default() })].into(),
        success: [("bbref".into(), vec![true, false, true])].into(),
        latest: Some(at(5)),
        ..Remembered::default()
    }
}

/// What format 2 could say in addition.
fn left_by_format_2() -> Remembered {
    let mut left = left_by_format_1();
    left.leases[0].staged = vec![gap_id(1)];
    left.items.get_mut(&item(1)).unwrap().losses = vec![at(4)];
    let source = left.sources.get_mut("espn").unwrap();
    (source.breaker.since, source.breaker.probes_failed) = (Some(at(2)), 1);
    let crashing = BreakerRecord {
        failures: 3,
        open_until: Some(at(900)),
        reason: Some("exit 1".into()),
        since: Some(at(3)),
        ..BreakerRecord::default()
    };
    left.collectors = [("bbref".into(), crashing)].into();
    left
}

/// What format 5 could say in addition.
fn left_by_format_5() -> Remembered {
    let mut left = left_by_format_2();
    left.reservations[0].value = Some("acme".into());
    left
}

/// What format 6 could say in addition.
fn left_by_format_6() -> Remembered {
    let mut left = left_by_format_5();
    left.values = [("espn".into(), [("customer=acme".into(), left.sources["espn"].clone())].into())].into();
    left
}

/// What format 8 could say in addition.
fn left_by_format_8() -> Remembered {
    let pause = Pause { since: at(1), until: None, because: Some("ann".into()) };
    Remembered { pauses: [(PauseOf::Source("espn".into()), pause)].into(), ..left_by_format_6() }
}

#[tokio::test]
async fn a_state_of_an_older_format_is_brought_up_to_date_and_loses_nothing() {
    let formats = [
        (1, include_str!("formats/0001.sql"), left_by_format_1()),
        (2, include_str!("formats/0002.sql"), left_by_format_2()),
        (3, include_str!("formats/0003.sql"), left_by_format_2()),
        (4, include_str!("formats/0004.sql"), left_by_format_2()),
        (5, include_str!("formats/0005.sql"), left_by_format_5()),
        (6, include_str!("formats/0006.sql"), left_by_format_6()),
        (7, include_str!("formats/0007.sql"), left_by_format_6()),
        (8, include_str!("formats/0008.sql"), left_by_format_8()),
    ];
    assert_eq!(formats.len(), sqlite::FORMAT as usize - 1, "one for each older format");
    for (format, dump, expected) in formats {
        let place = Place::new();
        place.sql(dump);
        let told = refusal(sqlite::open_to_read(&place.path(), &identity("prod", "/lake")));
        assert!(
            matches!(told, StoreError::Older { found, known: sqlite::FORMAT, .. } if found == format),
            "a reader changes nothing: {told}"
        );
        let store = place.open().unwrap();
        assert_eq!(store.load().await.unwrap(), expected, "of format {format}");
        let history = store.history(task_id(1)).await.unwrap();
        assert_eq!((history.attempts, history.events), (vec![ended(1, FencingToken(1), &[1, 2])], vec![event(1, "queued")]));
        if format >= 3 {
            let filled = store.history("t_0102030405060708090a0b0c0d".parse().unwrap()).await.unwrap();
            let told: Vec<_> = filled.events.iter().map(|event| (event.at, event.text.as_str())).collect();
            assert_eq!((filled.attempts.len(), told), (1, vec![(at(4), "gap closed: filled")]), "told once, by the attempt");
        }
        store.close();
        let written: u64 =
            place.figure("SELECT sum(octet_length(body) + 64) + (SELECT sum(octet_length(text) + 64) FROM event) FROM attempt");
        assert_eq!(place.figure("SELECT history_bytes FROM meta"), written, "of format {format}");
        assert_eq!(place.open().unwrap().load().await.unwrap(), expected, "once more, as what it is now");
    }
}

#[tokio::test]
async fn a_trend_is_kept_by_dataset_and_thinned_out_as_it_grows() {
    let place = Place::new();
    let store = place.open().unwrap();
    let point = |second: i64, present: u64| TrendPoint { at: at(second), present, wanted: 10 };
    // A look every twenty minutes for two days and a half.
    for look in 0..180 {
        let points = vec![("box".to_owned(), point(look * 1_200, look as u64)), ("play".to_owned(), point(look * 1_200, 1))];
        store.apply(vec![Change::PutTrend(points)]).await.unwrap();
    }
    // The same instant once more is in its place.
    store.apply(vec![Change::PutTrend(vec![("box".to_owned(), point(179 * 1_200, 7))])]).await.unwrap();
    let reader = sqlite::open_to_read(&place.path(), &identity("prod", "/lake")).unwrap().unwrap();
    let trend = reader.trend().unwrap();
    assert_eq!(trend.keys().collect::<Vec<_>>(), ["box", "play"]);
    let of_box = &trend["box"];
    assert_eq!(of_box.last(), Some(&point(179 * 1_200, 7)));
    let whole = of_box.iter().filter(|point| point.at >= at(179 * 1_200 - 86_400 + 3_600)).count();
    assert!((68..=72).contains(&whole), "each look of the last day: {whole}");
    assert!(of_box.len() < whole + 45 && of_box.len() > whole + 30, "one an hour before: {}", of_box.len());
    assert!(of_box.is_sorted_by_key(|point| point.at));
    store.close();
    assert_eq!(place.figure("SELECT count(DISTINCT dataset) FROM trend"), 2);
}

#[tokio::test]
async fn what_is_no_state_is_called_damaged_with_the_way_back() {
    let place = Place::new();
    let another = |path: &Path| rusqlite::Connection::open(path).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let garbage = |path: &Path| std::fs::write(path, "not a database, but long enough to look like one ".repeat(100)).unwrap();
    for make in [&another as &dyn Fn(&Path), &garbage] {
        let _ = std::fs::remove_file(place.path());
        make(&place.path());
        for error in [refusal(place.open()), refusal(sqlite::open_to_read(&place.path(), &identity("prod", "/lake")))] {
            let text = error.to_string();
            assert!(matches!(error, StoreError::Corrupt(_)), "{text}");
            assert!(text.contains(&place.path().display().to_string()) && text.contains("move it away"), "{text}");
        }
    }
}

/// The files of a state at this moment, as a kill would leave them.
fn as_if_killed(place: &Place) -> Place {
    let killed = Place::new();
    for name in ["state.db", "state.db-wal"] {
        std::fs::copy(place.0.path().join(name), killed.0.path().join(name)).unwrap();
    }
    killed
}

#[tokio::test]
async fn a_refused_state_is_left_as_it_was() {
    let place = Place::filled().await;
    let running = place.open().unwrap();
    running.apply(vec![Change::PutGap(gap(1_000))]).await.unwrap();
    let killed = as_if_killed(&place);
    let files = || ["state.db", "state.db-wal"].map(|name| std::fs::read(killed.0.path().join(name)).unwrap());
    let before = files();
    assert!(!before[1].is_empty());
    refusal(sqlite::open(&killed.path(), &opening("prod", "/other")));
    assert!(files() == before, "another lake's engine changed it");
    assert_eq!(killed.open().unwrap().load().await.unwrap().gaps.len(), 301);
}

/// Zeroes the start of each page of 4 KiB from the second on, one after the other.
fn with_a_page_lost(whole: &[u8], page: usize) -> Vec<u8> {
    let mut damaged = whole.to_vec();
    damaged[page * 4096..page * 4096 + 64].fill(0);
    damaged
}

#[tokio::test]
async fn damage_is_found_when_the_last_engine_was_killed() {
    let place = Place::filled().await;
    place.sql("UPDATE meta SET ended_clean = 0");
    let whole = std::fs::read(place.path()).unwrap();
    drop(place.open().expect("whole, though its engine was killed"));
    let pages = whole.len() / 4096;
    assert!(pages > 20, "{pages}");
    for page in 1..pages {
        let _ = std::fs::remove_file(place.0.path().join("state.db-wal"));
        std::fs::write(place.path(), with_a_page_lost(&whole, page)).unwrap();
        let error = refusal(place.open());
        assert!(matches!(error, StoreError::Corrupt(_)), "page {page}: {error}");
    }
}

#[tokio::test]
async fn a_flipped_byte_anywhere_is_harmless_or_an_error() {
    let place = Place::filled().await;
    let whole = std::fs::read(place.path()).unwrap();
    let mut refused = 0;
    // A step that is prime, so that all positions within a page are met.
    for position in (0..whole.len()).step_by(1_009) {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x5a;
        let _ = std::fs::remove_file(place.0.path().join("state.db-wal"));
        std::fs::write(place.path(), damaged).unwrap();
        let loaded = match place.open() {
            Ok(store) => store.load().await.map(drop),
            Err(error) => Err(error),
        };
        refused += usize::from(loaded.is_err());
    }
    assert!(refused > 0);
}

/// What an event of one letter takes of the history's size.
const EVENT_BYTES: u64 = 65;

#[tokio::test]
async fn history_is_pruned_by_age_and_size_and_nothing_else_is() {
    let place = Place::new();
    let store = place.open().unwrap();
    let mut changes: Vec<_> = (0..1_500).map(|number| Change::Event(event(number, "x"))).collect();
    changes.extend((0..10).map(|number| Change::PutGap(gap(number))));
    store.apply(changes).await.unwrap();
    drop(store);

    // Of a hundred that are young enough, forty are to stay.
    let day = 24 * 3600;
    let retention = Retention { age: std::time::Duration::from_secs(day), bytes: 40 * EVENT_BYTES };
    let later = Opening { now: at(i64::try_from(day).unwrap() + 1_400), retention, ..opening("prod", "/lake") };
    let mut left = usize::MAX;
    for _ in 0..8 {
        let store = sqlite::open(&place.path(), &later).unwrap();
        left = store.recent(10_000).await.unwrap().events.len();
        assert_eq!(store.load().await.unwrap().gaps.len(), 10);
    }
    assert_eq!(left, 40);
    let by_age = Retention { bytes: u64::MAX, ..retention };
    // Half a second before the border, because the writer's clock goes on while it opens the file.
    let now = at(i64::try_from(day).unwrap() + 1_480) - adce_core::time::SignedDuration::from_millis(500);
    let store = sqlite::open(&place.path(), &Opening { now, retention: by_age, ..later }).unwrap();
    let events = store.recent(10_000).await.unwrap().events;
    assert_eq!(events.first(), Some(&event(1_480, "x")));
    assert_eq!(events.len(), 20);
    drop(store);
    assert_eq!(place.figure("SELECT history_bytes FROM meta"), 20 * EVENT_BYTES);
}

#[tokio::test]
async fn a_batch_that_was_refused_or_had_no_room_counts_for_no_history() {
    let place = Place::new();
    let store = place.open().unwrap();
    store.apply(vec![Change::Event(event(1, "x"))]).await.unwrap();
    let stale = Change::Publishing { attempt: attempt(1), token: FencingToken(9), staged: vec![], until: moment(90) };
    assert!(store.apply(vec![Change::Event(event(2, "x")), stale]).await.is_err());
    store.apply(vec![Change::Event(event(3, "x"))]).await.unwrap();
    drop(store);
    assert_eq!(place.figure("SELECT history_bytes FROM meta"), 2 * EVENT_BYTES);
}

/// A year of attempts under one engine: the bytes of the state after each week.
async fn year(a_week: u32, retention: Retention) -> Vec<u64> {
    const TOGETHER: u32 = 50;
    let (place, since) = (Place::new(), Arc::new(AtomicU64::new(0)));
    let clock = {
        let since = Arc::clone(&since);
        move || std::time::Duration::from_secs(since.load(Ordering::Relaxed))
    };
    let store = Arc::new(sqlite::open_by(&place.path(), &Opening { retention, ..opening("prod", "/lake") }, clock).unwrap());
    let mut sizes = Vec::new();
    for week in 0..52_u32 {
        for first in (0..a_week).step_by(TOGETHER as usize) {
            let second = (u64::from(week) * u64::from(a_week) + u64::from(first)) * WEEK / u64::from(a_week);
            since.store(second, Ordering::Relaxed);
            let now = at(i64::try_from(second).unwrap());
            let mut running = tokio::task::JoinSet::new();
            for name in (first..a_week.min(first + TOGETHER)).map(|number| week * a_week + number) {
                let store = Arc::clone(&store);
                running.spawn(async move {
                    let token = store.lease(Lease { started_at: now, ..lease(name, &[name]) }).await.unwrap();
                    let record = AttemptRecord { started_at: now, ended_at: now, ..ended(name, token, &[name]) };
                    let told = Event { at: now, ..event(0, "a task's story has lines beside its attempts") };
                    store.apply(vec![Change::Finish(record), Change::Event(told)]).await.unwrap();
                });
            }
            while let Some(one) = running.join_next().await {
                one.unwrap();
            }
        }
        sizes.push(place.figure("PRAGMA page_count") * 4096);
    }
    sizes
}

const WEEK: u64 = 7 * 24 * 3600;

#[tokio::test]
async fn a_year_of_attempts_fits_into_a_file_that_stops_growing() {
    let by_age = year(200, Retention { age: std::time::Duration::from_secs(90 * 24 * 3600), bytes: u64::MAX }).await;
    let by_size = year(200, Retention { age: std::time::Duration::MAX, bytes: 512 << 10 }).await;
    for (sizes, full_after) in [(&by_age, 17), (&by_size, 10)] {
        assert!(sizes[3] > sizes[0] + (200 << 10), "it grows in the beginning: {sizes:?}");
        let (full, last) = (sizes[full_after], sizes[51]);
        assert!(last - full <= 64 << 10, "{sizes:?}");
    }
}
