//! What every store promises. Each claim runs against each store; a new one joins by adding a line at the end.

mod sample;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use adce_core::access::{AuditRecord, Role, TokenHash, TokenRecord};
use adce_core::coverage::Picture;
use adce_core::gap::{Gap, Outcome, Progress, Reason, Standing, Task};
use adce_core::ids::{FencingToken, TaskId};
use adce_core::job::{JobRecord, JobRun};
use adce_core::pause::{Pause, PauseOf};
use adce_core::ports::{Store, StoreError};
use adce_core::queue::Score;
use adce_core::record::{
    AbsentMark, AttemptRecord, BreakerRecord, Change, Closed, Event, GapStory, HeldPicture, History, ItemRecord, Lease, Left, Remembered,
    Reservation, SourceRecord, Story,
};
use adce_core::spec::PriorityLevel;
use adce_core::time::{BootId, Boottime, Moment, SignedDuration, Timestamp};
use adce_store::memory::MemoryStore;
use adce_store::sqlite::{self, Opening};
use adce_store::{Identity, Retention};
use sample::*;

/// A place that holds one state; opening it again is what a restarted engine does.
trait Backend {
    fn new() -> Self;
    fn open(&self) -> Arc<dyn Store>;
}

struct Memory(MemoryStore);

impl Backend for Memory {
    fn new() -> Self {
        Memory(MemoryStore::new())
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }
}

struct Sqlite(tempfile::TempDir);

impl Backend for Sqlite {
    fn new() -> Self {
        Sqlite(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Arc<dyn Store> {
        let path: PathBuf = self.0.path().join("state.db");
        let identity = Identity { name: "prod".into(), lake: "/lake".into() };
        let opening = Opening { identity, boot_id: boot_id(), now: at(0), retention: Retention::default() };
        Arc::new(sqlite::open(&path, &opening).unwrap())
    }
}

macro_rules! claims {
    ($($claim:ident)*) => {
        mod in_memory { $(#[tokio::test] async fn $claim() { super::$claim::<super::Memory>().await })* }
        mod on_sqlite { $(#[tokio::test] async fn $claim() { super::$claim::<super::Sqlite>().await })* }
    };
}

claims! {
    a_new_state_remembers_nothing
    everything_put_is_remembered_as_it_was
    what_nobody_tried_is_remembered_as_it_was
    what_is_put_again_replaces_what_was_there
    a_closed_gap_leaves_the_state_and_its_task
    a_closed_gap_leaves_a_line_in_its_tasks_history
    a_gap_is_in_the_task_it_was_put_into_last
    a_large_batch_means_what_its_changes_mean_one_by_one
    a_second_picture_means_what_its_changes_mean_one_by_one
    an_item_is_what_the_last_change_of_a_batch_says
    a_gap_has_one_owner
    a_lease_for_one_gap_twice_is_refused
    a_refused_lease_takes_none_of_its_gaps
    a_finished_lease_frees_its_gaps
    attempts_that_end_together_end_no_other
    a_gap_that_an_attempt_filled_is_told_once
    a_released_lease_frees_its_gaps_and_leaves_no_trace
    what_nobody_waits_for_keeps_its_place
    tokens_grow_and_are_never_given_again
    an_unfinished_lease_is_remembered_with_its_process
    a_stale_result_takes_its_whole_batch_with_it
    a_result_counts_once
    what_is_given_back_has_no_result
    a_result_for_a_gap_outside_its_lease_is_stale
    publishing_needs_the_current_token
    a_process_needs_a_lease
    a_lease_that_holds_is_ended_by_nobody_else
    an_expired_lease_can_be_ended_and_its_task_keeps_its_place_in_line
    who_lost_an_expired_lease_changes_nothing_any_more
    a_renewed_lease_holds_also_where_it_had_expired
    leases_are_renewed_together_or_not_at_all
    to_begin_publishing_renews
    history_tells_attempts_and_events_in_order
    a_task_tells_what_happened_to_its_gaps_before_it_had_them
    a_task_tells_what_was_tried_while_its_gaps_were_in_others
    reservations_stay_until_they_are_forgotten
    the_latest_instant_is_that_of_what_happened
    attempts_are_told_page_by_page_the_latest_first
    what_was_done_is_told_the_latest_first_and_tokens_as_they_are_now
}

async fn put(store: &Arc<dyn Store>, changes: impl IntoIterator<Item = Change>) {
    store.apply(changes.into_iter().collect()).await.unwrap();
}

async fn a_new_state_remembers_nothing<B: Backend>() {
    assert_eq!(B::new().open().load().await.unwrap(), Remembered::default());
}

async fn everything_put_is_remembered_as_it_was<B: Backend>() {
    let backend = B::new();
    let picture =
        Picture { taken_at: Some(at(1)), items: 7, gaps: 2, objects: [("box_scores".to_owned(), 5)].into(), ..Picture::default() };
    let held =
        HeldPicture { picture: picture.clone(), first_seen: at(2), surprises: vec!["`box_scores` lost 12 %".into()], accepted: true };
    let mark = AbsentMark { since: at(0), recheck_at: at(9), confirmed: 3, fingerprint: u64::MAX - 1 };
    let record = ItemRecord {
        confirmed: Some(at(3)),
        absent: Some(mark),
        suspect_etag: Some("\"e1\"".into()),
        episodes: 4,
        losses: vec![at(1), at(2)],
    };
    let breaker =
        BreakerRecord { failures: 5, open_until: Some(at(600)), reason: Some("5 failures".into()), since: Some(at(4)), probes_failed: 2 };
    let source = SourceRecord { breaker: breaker.clone(), ..SourceRecord::default() };
    let pause = Pause { since: at(1), until: Some(at(9)), because: Some("ann: they move".into()) };
    let job = JobRecord { seen_to: at(3), runs: vec![JobRun { missed: 2, ..JobRun::default() }] };
    let expected = Remembered {
        picture: Some(picture.clone()),
        held: Some(held.clone()),
        gaps: vec![gap(1)],
        tasks: vec![known_task(&[1])],
        items: HashMap::from([(item(1), record.clone())]),
        reservations: vec![reservation(u64::MAX / 2)],
        sources: HashMap::from([("espn".to_owned(), source.clone())]),
        values: HashMap::from([("espn".to_owned(), HashMap::from([("customer=acme".to_owned(), source.clone())]))]),
        collectors: HashMap::from([("bbref".to_owned(), breaker.clone())]),
        success: HashMap::from([("bbref".to_owned(), vec![true, false, true])]),
        pauses: [(PauseOf::Source("espn".into()), pause.clone()), (PauseOf::Everything, pause.clone())].into(),
        jobs: [("daily".to_owned(), job.clone())].into(),
        latest: Some(at(5)),
        ..Remembered::default()
    };
    let store = backend.open();
    put(
        &store,
        [
            Change::PutGap(gap(1)),
            Change::PutTask(task(&[1])),
            Change::PutItem(item(1), record),
            Change::PutPicture(picture),
            Change::PutHeldPicture(Some(held)),
            Change::PutSource("espn".into(), source.clone()),
            of_value("espn", "customer=acme", Some(SourceRecord::default())),
            of_value("espn", "customer=acme", Some(source.clone())),
            of_value("espn", "customer=zeta", Some(source.clone())),
            of_value("espn", "customer=zeta", None),
            of_value("crm", "customer=acme", Some(source)),
            of_value("crm", "customer=acme", None),
            of_value("crm", "customer=acme", None),
            Change::PutCollector("bbref".into(), breaker),
            Change::PutSuccess("bbref".into(), vec![true, false, true]),
            Change::PutPause(PauseOf::Source("espn".into()), Some(pause.clone())),
            Change::PutPause(PauseOf::Dataset("espn".into()), Some(pause.clone())),
            Change::PutPause(PauseOf::Dataset("espn".into()), None),
            Change::PutPause(PauseOf::Everything, Some(pause)),
            Change::PutJob("daily".into(), JobRecord { seen_to: at(1), runs: vec![] }),
            Change::PutJob("daily".into(), job),
            Change::Reserve(reservation(u64::MAX / 2)),
        ],
    )
    .await;
    assert_eq!(store.load().await.unwrap(), expected);
    drop(store);
    assert_eq!(backend.open().load().await.unwrap(), expected, "after a restart");
}

fn of_value(source: &str, value: &str, record: Option<SourceRecord>) -> Change {
    Change::PutValue { source: source.into(), value: value.into(), record }
}

/// With all that may differ in what needs few words.
async fn what_nobody_tried_is_remembered_as_it_was<B: Backend>() {
    let backend = B::new();
    let store = backend.open();
    let reasons = [Reason::Missing, Reason::Stale, Reason::Undersized, Reason::Suspect];
    // Between two microseconds, which a state does not keep otherwise, and before the epoch.
    let instants = [at(0), at(-1) + SignedDuration::from_nanos(1), Timestamp::from_second(-7_000_000_000).unwrap()];
    let mut gaps = Vec::new();
    for (number, priority) in (0_u32..).zip(PriorityLevel::ALL.repeat(12)) {
        let instant = instants[number as usize % 3];
        gaps.push(Gap {
            reason: reasons[number as usize / 4 % 4],
            priority,
            detected_at: instant,
            due: (number % 5 > 0).then_some(instant),
            group: Vec::new(),
            fingerprint: u64::MAX - u64::from(number),
            progress: Progress::default(),
            ..gap(number)
        });
    }
    let task_of = |gap: &Gap| Task {
        priority: gap.priority,
        group: Vec::new(),
        source: gap.due.map(|_| "espn".into()),
        detected_at: gap.detected_at,
        due: gap.due,
        gaps: vec![gap.id],
        id: TaskId::of("bbref", gap.id),
        key: gap.key.clone(),
        ready_at: None,
        ..task(&[1])
    };
    let mut tasks: Vec<Task> = gaps.iter().map(task_of).collect();
    put(&store, gaps.iter().cloned().map(Change::PutGap).chain(tasks.iter().cloned().map(Change::PutTask))).await;
    drop(store);
    let remembered = backend.open().load().await.unwrap();
    gaps.sort_by_key(|gap| gap.id);
    tasks.sort_by_key(|task| task.id);
    assert_eq!((remembered.gaps, remembered.tasks), (gaps, tasks));
}

async fn what_is_put_again_replaces_what_was_there<B: Backend>() {
    let store = B::new().open();
    let mut later = gap(1);
    later.key = "elsewhere".into();
    later.progress.attempts += 1;
    let record = ItemRecord { episodes: 2, ..ItemRecord::default() };
    put(&store, [Change::PutGap(gap(1)), Change::PutTask(task(&[1, 2])), Change::PutItem(item(1), ItemRecord::default())]).await;
    put(
        &store,
        [Change::PutHeldPicture(Some(HeldPicture { picture: Picture::default(), first_seen: at(0), surprises: vec![], accepted: false }))],
    )
    .await;
    put(
        &store,
        [
            Change::PutGap(later.clone()),
            Change::PutTask(task(&[1, 3])),
            Change::PutItem(item(1), record.clone()),
            Change::PutHeldPicture(None),
        ],
    )
    .await;
    let remembered = store.load().await.unwrap();
    assert_eq!(remembered.gaps, [later]);
    assert_eq!(remembered.tasks, [known_task(&[1, 3])]);
    assert_eq!(remembered.items, HashMap::from([(item(1), record)]));
    assert_eq!(remembered.held, None);
}

async fn a_closed_gap_leaves_the_state_and_its_task<B: Backend>() {
    let store = B::new().open();
    put(&store, [Change::PutGap(gap(1)), Change::PutGap(gap(2)), Change::PutTask(task(&[1, 2]))]).await;
    put(&store, [Change::CloseGap { gap: gap_id(1), at: at(9), why: Closed::Filled }]).await;
    let remembered = store.load().await.unwrap();
    assert_eq!(remembered.gaps, [gap(2)]);
    assert_eq!(remembered.tasks.len(), 1);
    assert_eq!(remembered.tasks[0].gaps, [gap_id(2)]);
    put(&store, [Change::CloseGap { gap: gap_id(2), at: at(9), why: Closed::Filled }]).await;
    assert_eq!(store.load().await.unwrap().tasks, [], "a task without gaps is gone");
}

async fn a_closed_gap_leaves_a_line_in_its_tasks_history<B: Backend>() {
    let store = B::new().open();
    put(&store, [Change::PutGap(gap(1)), Change::PutTask(task(&[1]))]).await;
    let close = Change::CloseGap { gap: gap_id(1), at: at(9), why: Closed::FoundFilled };
    put(&store, [close.clone(), close]).await;
    let events = store.history(task_id(1)).await.unwrap().events;
    assert_eq!(events.len(), 1, "closing what is closed says nothing: {events:?}");
    assert_eq!((events[0].at, events[0].gap, events[0].text.as_str()), (at(9), Some(gap_id(1)), "gap closed: found filled"));
}

async fn a_gap_is_in_the_task_it_was_put_into_last<B: Backend>() {
    let store = B::new().open();
    put(&store, [Change::PutTask(task(&[1, 2])), Change::PutTask(task(&[3, 4]))]).await;
    put(&store, [Change::PutTask(task(&[5, 2, 3, 4]))]).await;
    let mut tasks = store.load().await.unwrap().tasks;
    tasks.sort_by_key(|task| task.gaps.len());
    assert_eq!(tasks, [Task { gaps: vec![gap_id(1)], ..task(&[1]) }, task(&[5, 2, 3, 4])]);
    put(&store, [Change::RemoveTask(task_id(5)), Change::PutTask(task(&[3, 2]))]).await;
    assert_eq!(store.load().await.unwrap().tasks.len(), 2);
}

/// As a first picture fills a state, and as a second one changes it.
async fn a_large_batch_means_what_its_changes_mean_one_by_one<B: Backend>() {
    let known = |number: u32| Change::PutTask(known_task(&[number]));
    let renamed = |number: u32, key: &str| Change::PutGap(Gap { key: key.into(), ..gap(number) });
    let mut changes: Vec<Change> = (0..200).rev().flat_map(|number| [Change::PutGap(gap(number)), known(number)]).collect();
    changes.extend([renamed(3, "once"), renamed(9, "other"), renamed(3, "twice")]);
    changes.extend([Change::PutTask(Task { gaps: Vec::new(), ..known_task(&[5]) }), Change::PutTask(known_task(&[7, 5]))]);
    changes.extend([Change::PutTask(known_task(&[150, 40])), Change::PutTask(Task { gaps: Vec::new(), ..known_task(&[40]) })]);
    changes.push(Change::PutTask(Task { priority: PriorityLevel::Low, ..known_task(&[11]) }));
    let seen = |number: u32, episodes: u32| Change::PutItem(item(number), ItemRecord { episodes, ..ItemRecord::default() });
    changes.extend([seen(2, 1), seen(1, 1), seen(2, 2)]);
    let remembered = at_once_as_one_by_one::<B>(&[changes]).await;
    assert_eq!((remembered.gaps.len(), remembered.tasks.len()), (200, 198));
    assert_eq!(remembered.items[&item(2)].episodes, 2);
    assert!(remembered.gaps.iter().any(|gap| gap.key == "twice") && remembered.tasks.contains(&known_task(&[7, 5])));
}

/// What is remembered of these batches: the same as of their changes, each in a batch of its own.
async fn at_once_as_one_by_one<B: Backend>(batches: &[Vec<Change>]) -> Remembered {
    let (at_once, one_by_one) = (B::new().open(), B::new().open());
    for batch in batches {
        put(&at_once, batch.clone()).await;
    }
    for change in batches.iter().flatten() {
        put(&one_by_one, [change.clone()]).await;
    }
    let in_order = |mut remembered: Remembered| {
        remembered.gaps.sort_by_key(|gap| gap.id);
        remembered.tasks.sort_by_key(|task| task.id);
        remembered
    };
    let remembered = in_order(at_once.load().await.unwrap());
    assert!(remembered == in_order(one_by_one.load().await.unwrap()), "too many gaps to print");
    remembered
}

/// Every task has other gaps than before, and none shares one with another task of the batch.
async fn a_second_picture_means_what_its_changes_mean_one_by_one<B: Backend>() {
    let first = (0..100).flat_map(|number| [Change::PutGap(gap(number)), Change::PutTask(known_task(&[number]))]);
    let first: Vec<Change> = first.chain([Change::PutTask(known_task(&[200, 201, 202]))]).collect();
    let renamed = |number: u32| Change::PutGap(Gap { key: format!("renamed/{number}"), ..gap(number) });
    let mut second: Vec<Change> =
        (0..50).flat_map(|pair| [renamed(2 * pair), Change::PutTask(known_task(&[2 * pair + 1, 2 * pair]))]).collect();
    // One that gives a gap away, one that was not open, one that stays as it is, and one that ends.
    second.extend([Change::PutTask(known_task(&[300, 201])), Change::PutGap(gap(300)), Change::PutGap(gap(202))]);
    second.extend([Change::PutTask(Task { gaps: Vec::new(), ..known_task(&[400]) })]);
    let remembered = at_once_as_one_by_one::<B>(&[first, second]).await;
    assert_eq!((remembered.gaps.len(), remembered.tasks.len()), (102, 52));
    assert!(remembered.tasks.contains(&Task { gaps: vec![gap_id(200), gap_id(202)], ..known_task(&[200]) }), "what is left of it");
}

async fn an_item_is_what_the_last_change_of_a_batch_says<B: Backend>() {
    let store = B::new().open();
    let seen = |episodes: u32| Change::PutItem(item(1), ItemRecord { episodes, ..ItemRecord::default() });
    put(&store, [seen(1), seen(3), seen(2)]).await;
    assert_eq!(store.load().await.unwrap().items[&item(1)].episodes, 2);
    put(&store, [seen(5)]).await;
    assert_eq!(store.load().await.unwrap().items[&item(1)].episodes, 5);
}

async fn a_gap_has_one_owner<B: Backend>() {
    let store = B::new().open();
    store.lease(lease(1, &[1, 2])).await.unwrap();
    let refused = store.lease(lease(2, &[3, 2])).await;
    assert!(matches!(refused, Err(StoreError::Leased { gap, by }) if gap == gap_id(2) && by == attempt(1)), "{refused:?}");
    let again = store.lease(lease(1, &[4])).await;
    assert!(matches!(again, Err(StoreError::StaleToken(of)) if of == attempt(1)), "{again:?}");
    assert_eq!(store.load().await.unwrap().leases.len(), 1);
}

async fn a_lease_for_one_gap_twice_is_refused<B: Backend>() {
    let store = B::new().open();
    let refused = store.lease(lease(1, &[1, 1])).await;
    assert!(matches!(refused, Err(StoreError::Leased { gap, .. }) if gap == gap_id(1)), "{refused:?}");
    assert_eq!(store.load().await.unwrap().leases, []);
}

async fn a_refused_lease_takes_none_of_its_gaps<B: Backend>() {
    let store = B::new().open();
    store.lease(lease(1, &[1])).await.unwrap();
    store.lease(lease(2, &[2, 1])).await.unwrap_err();
    store.lease(lease(3, &[2])).await.unwrap();
}

async fn a_finished_lease_frees_its_gaps<B: Backend>() {
    let store = B::new().open();
    let token = store.lease(lease(1, &[1, 2])).await.unwrap();
    put(&store, [Change::Started(process(1)), Change::Finish(ended(1, token, &[1, 2]))]).await;
    let remembered = store.load().await.unwrap();
    assert_eq!((remembered.leases, remembered.processes), (vec![], vec![]));
    store.lease(lease(2, &[2])).await.unwrap();
}

async fn attempts_that_end_together_end_no_other<B: Backend>() {
    let store = B::new().open();
    let mut tokens = Vec::new();
    for number in 1..6 {
        tokens.push(store.lease(lease(number, &[number])).await.unwrap());
    }
    put(&store, [1, 2, 4].map(|number| Change::Started(process(number)))).await;
    put(&store, [5, 1, 2].map(|number| Change::Finish(ended(number, tokens[number as usize - 1], &[number])))).await;
    let left = store.load().await.unwrap();
    assert_eq!(left.leases.iter().map(|lease| lease.attempt).collect::<Vec<_>>(), [attempt(3), attempt(4)]);
    assert_eq!(left.processes, [process(4)]);
}

async fn a_gap_that_an_attempt_filled_is_told_once<B: Backend>() {
    let store = B::new().open();
    put(&store, [Change::PutGap(gap(1)), Change::PutTask(task(&[1])), Change::Event(event(1, "queued"))]).await;
    let token = store.lease(lease(2, &[1])).await.unwrap();
    let done = Outcome::Done { etag: "\"1\"".into(), size: 900, last_modified: at(3) };
    let record = AttemptRecord { outcomes: vec![(gap_id(1), done)], ..ended(2, token, &[1]) };
    put(&store, [Change::Finish(record), Change::CloseGap { gap: gap_id(1), at: at(3), why: Closed::Filled }]).await;
    let by_hand = Event { at: at(4), ..event(1, "asked for by hand") };
    put(&store, [Change::Event(by_hand)]).await;
    let events = store.history(task_id(1)).await.unwrap().events;
    let told: Vec<_> = events.iter().map(|event| (event.at, event.text.as_str())).collect();
    assert_eq!(told, [(at(1), "queued"), (at(3), "gap closed: filled"), (at(4), "asked for by hand")]);
}

async fn a_released_lease_frees_its_gaps_and_leaves_no_trace<B: Backend>() {
    let backend = B::new();
    let store = backend.open();
    store.lease(lease(1, &[1, 2])).await.unwrap();
    put(&store, [Change::Release(attempt(1)), Change::Release(attempt(7))]).await;
    let token = store.lease(lease(2, &[2, 3])).await.unwrap();
    let remembered = store.load().await.unwrap();
    assert_eq!(remembered.leases, vec![Lease { token, ..lease(2, &[2, 3]) }]);
    assert_eq!(store.history(task_id(1)).await.unwrap(), History::default());
}

async fn what_nobody_waits_for_keeps_its_place<B: Backend>() {
    let store = B::new().open();
    let first = store.lease_ahead(lease(1, &[1]));
    let released = store.record(vec![Change::Release(attempt(1))]);
    let second = store.lease(lease(2, &[1]));
    let (first, released, second) = tokio::join!(first, released, second);
    assert!(first.unwrap() < second.unwrap());
    released.unwrap();
    let ahead = store.lease_ahead(lease(3, &[1])).await;
    assert!(matches!(ahead, Err(StoreError::Leased { by, .. }) if by == attempt(2)), "{ahead:?}");
}

async fn tokens_grow_and_are_never_given_again<B: Backend>() {
    let backend = B::new();
    let mut last = FencingToken(0);
    for restart in 0..3 {
        let store = backend.open();
        for turn in 0..3 {
            let number = restart * 10 + turn;
            let token = store.lease(lease(number, &[number])).await.unwrap();
            assert!(token > last, "{token:?} after {last:?}");
            last = token;
            put(&store, [Change::Finish(ended(number, token, &[number]))]).await;
        }
    }
}

async fn an_unfinished_lease_is_remembered_with_its_process<B: Backend>() {
    let backend = B::new();
    let store = backend.open();
    let first = store.lease(lease(1, &[1, 2])).await.unwrap();
    let second = store.lease(lease(2, &[3])).await.unwrap();
    put(
        &store,
        [Change::Started(process(1)), Change::Publishing { attempt: attempt(1), token: first, staged: vec![gap_id(2)], until: moment(90) }],
    )
    .await;
    drop(store);
    let remembered = backend.open().load().await.unwrap();
    let one = Lease { token: first, staged: vec![gap_id(2)], until: moment(90), ..lease(1, &[1, 2]) };
    assert_eq!(remembered.leases, [one, Lease { token: second, ..lease(2, &[3]) }]);
    assert_eq!(remembered.processes, [process(1)]);
}

async fn a_stale_result_takes_its_whole_batch_with_it<B: Backend>() {
    let store = B::new().open();
    let token = store.lease(lease(1, &[1])).await.unwrap();
    let stale = FencingToken(token.0 + 1);
    let batch = vec![Change::PutGap(gap(7)), Change::Finish(ended(1, stale, &[1])), Change::PutGap(gap(8))];
    let refused = store.apply(batch).await;
    assert!(matches!(refused, Err(StoreError::StaleToken(of)) if of == attempt(1)), "{refused:?}");
    let remembered = store.load().await.unwrap();
    assert_eq!(remembered.gaps, []);
    assert_eq!(remembered.leases.len(), 1, "the lease is as it was");
    assert_eq!(store.history(task_id(1)).await.unwrap().attempts, []);
}

async fn a_result_counts_once<B: Backend>() {
    let store = B::new().open();
    let token = store.lease(lease(1, &[1])).await.unwrap();
    let finish = Change::Finish(ended(1, token, &[1]));
    store.apply(vec![finish.clone(), finish.clone()]).await.unwrap_err();
    put(&store, [finish.clone()]).await;
    store.apply(vec![finish]).await.unwrap_err();
    assert_eq!(store.history(task_id(1)).await.unwrap().attempts.len(), 1);
}

/// Also where both stand in one batch.
async fn what_is_given_back_has_no_result<B: Backend>() {
    let store = B::new().open();
    let token = store.lease(lease(1, &[1])).await.unwrap();
    let (release, finish) = (Change::Release(attempt(1)), Change::Finish(ended(1, token, &[1])));
    store.apply(vec![release.clone(), finish.clone()]).await.unwrap_err();
    assert_eq!(store.load().await.unwrap().leases.len(), 1, "the whole batch is refused");
    put(&store, [release]).await;
    store.apply(vec![finish]).await.unwrap_err();
}

async fn a_result_for_a_gap_outside_its_lease_is_stale<B: Backend>() {
    let store = B::new().open();
    let token = store.lease(lease(1, &[1])).await.unwrap();
    store.lease(lease(2, &[2])).await.unwrap();
    let refused = store.apply(vec![Change::Finish(ended(1, token, &[1, 2]))]).await;
    assert!(matches!(refused, Err(StoreError::StaleToken(of)) if of == attempt(1)), "{refused:?}");
}

async fn publishing_needs_the_current_token<B: Backend>() {
    let store = B::new().open();
    let token = store.lease(lease(1, &[1])).await.unwrap();
    let publishing = |token| vec![Change::Publishing { attempt: attempt(1), token, staged: vec![gap_id(1)], until: moment(90) }];
    store.apply(publishing(FencingToken(token.0 + 1))).await.unwrap_err();
    assert_eq!(store.load().await.unwrap().leases[0].staged, []);
    store.apply(publishing(token)).await.unwrap();
    assert_eq!(store.load().await.unwrap().leases[0].staged, [gap_id(1)]);
    put(&store, [Change::Finish(ended(1, token, &[1]))]).await;
    let late = store.apply(publishing(token)).await;
    assert!(matches!(late, Err(StoreError::StaleToken(of)) if of == attempt(1)), "{late:?}");
}

fn lapse(number: u32, now: Moment) -> Vec<Change> {
    vec![Change::Lapse { attempt: attempt(number), now }]
}

fn renew(attempts: &[u32], until: Moment) -> Vec<Change> {
    vec![Change::Renew { attempts: attempts.iter().copied().map(attempt).collect(), until }]
}

async fn a_lease_that_holds_is_ended_by_nobody_else<B: Backend>() {
    let store = B::new().open();
    store.lease(lease(1, &[1])).await.unwrap();
    // It holds until 61 s, of this boot or by the wall clock of any other.
    let elsewhere = |secs: i64| Moment { boot_id: BootId("another".into()), boot: Boottime::from_secs(9), wall: at(secs) };
    for now in [moment(60), elsewhere(60)] {
        let refused = store.apply([lapse(1, now), vec![Change::PutGap(gap(1))]].concat()).await;
        assert!(matches!(refused, Err(StoreError::StillHeld(of)) if of == attempt(1)), "{refused:?}");
    }
    assert_eq!((store.load().await.unwrap().leases.len(), store.load().await.unwrap().gaps.len()), (1, 0));
    put(&store, lapse(1, elsewhere(61))).await;
    put(&store, lapse(1, moment(0))).await;
    assert_eq!(store.load().await.unwrap().leases, [], "without one, nothing happens");
}

async fn an_expired_lease_can_be_ended_and_its_task_keeps_its_place_in_line<B: Backend>() {
    let backend = B::new();
    let store = backend.open();
    put(&store, [Change::PutGap(gap(1)), Change::PutGap(gap(2)), Change::PutTask(task(&[1, 2]))]).await;
    let before = store.load().await.unwrap();
    let first = store.lease(lease(1, &[1, 2])).await.unwrap();
    put(&store, [Change::Started(process(1))]).await;
    store.lease(lease(2, &[1, 2])).await.unwrap_err();
    drop(store);
    let store = backend.open();
    store.apply(lapse(1, moment(60))).await.unwrap_err();
    put(&store, lapse(1, moment(61))).await;
    let after = store.load().await.unwrap();
    assert_eq!((&after.tasks, &after.gaps), (&before.tasks, &before.gaps), "the same task, seen first when it was");
    assert_eq!((after.leases, after.processes), (vec![], vec![]));
    assert!(store.lease(lease(2, &[1, 2])).await.unwrap() > first, "one owner at a time");
    store.lease(lease(3, &[2])).await.unwrap_err();
}

async fn who_lost_an_expired_lease_changes_nothing_any_more<B: Backend>() {
    let store = B::new().open();
    let first = store.lease(lease(1, &[1])).await.unwrap();
    put(&store, lapse(1, moment(61))).await;
    let second = store.lease(lease(2, &[1])).await.unwrap();
    let publishing = |number, token| Change::Publishing { attempt: attempt(number), token, staged: vec![gap_id(1)], until: moment(200) };
    let finish = |number, token| Change::Finish(ended(number, token, &[1]));
    for late in [vec![publishing(1, first)], vec![finish(1, first)], renew(&[1], moment(200)), vec![Change::Started(process(1))]] {
        let refused = store.apply(late).await;
        assert!(matches!(refused, Err(StoreError::StaleToken(of)) if of == attempt(1)), "{refused:?}");
    }
    put(&store, [publishing(2, second), finish(2, second)]).await;
    assert_eq!(store.history(task_id(1)).await.unwrap().attempts, [ended(2, second, &[1])]);
}

async fn a_renewed_lease_holds_also_where_it_had_expired<B: Backend>() {
    let backend = B::new();
    let store = backend.open();
    let token = store.lease(lease(1, &[1])).await.unwrap();
    // At 500 s, after the machine slept; nobody has ended it meanwhile.
    put(&store, renew(&[1], moment(560))).await;
    store.apply(lapse(1, moment(559))).await.unwrap_err();
    let renewed = Lease { token, until: moment(560), ..lease(1, &[1]) };
    assert_eq!(store.load().await.unwrap().leases, [renewed]);
    drop(store);
    let store = backend.open();
    store.apply(lapse(1, moment(559))).await.unwrap_err();
    // In one batch it counts as well.
    store.apply([renew(&[1], moment(900)), lapse(1, moment(600))].concat()).await.unwrap_err();
    put(&store, lapse(1, moment(560))).await;
}

async fn leases_are_renewed_together_or_not_at_all<B: Backend>() {
    let store = B::new().open();
    store.lease(lease(1, &[1])).await.unwrap();
    let refused = store.apply(renew(&[1, 7], moment(200))).await;
    assert!(matches!(refused, Err(StoreError::StaleToken(of)) if of == attempt(7)), "{refused:?}");
    assert_eq!(store.load().await.unwrap().leases[0].until, moment(61));
    let over = store.apply([vec![Change::Release(attempt(1))], renew(&[1], moment(200))].concat()).await;
    assert!(matches!(over, Err(StoreError::StaleToken(of)) if of == attempt(1)), "{over:?}");
}

async fn to_begin_publishing_renews<B: Backend>() {
    let store = B::new().open();
    let token = store.lease(lease(1, &[1])).await.unwrap();
    put(&store, [Change::Publishing { attempt: attempt(1), token, staged: vec![gap_id(1)], until: moment(560) }]).await;
    store.apply(lapse(1, moment(500))).await.unwrap_err();
    assert_eq!(store.load().await.unwrap().leases[0].until, moment(560));
}

async fn a_process_needs_a_lease<B: Backend>() {
    let store = B::new().open();
    let refused = store.apply(vec![Change::Started(process(1))]).await;
    assert!(matches!(refused, Err(StoreError::StaleToken(of)) if of == attempt(1)), "{refused:?}");
    assert_eq!(store.load().await.unwrap().processes, []);
}

async fn history_tells_attempts_and_events_in_order<B: Backend>() {
    let backend = B::new();
    let store = backend.open();
    let mut records = Vec::new();
    for number in 1..4 {
        let token = store.lease(lease(number, &[1])).await.unwrap();
        records.push(ended(number, token, &[1]));
        put(&store, [Change::Finish(records[number as usize - 1].clone())]).await;
    }
    let other = store.lease(lease(9, &[2])).await.unwrap();
    put(&store, [Change::Finish(ended(9, other, &[2])), Change::Event(event(2, "of another task"))]).await;
    put(&store, [Change::Event(event(1, "first")), Change::Event(event(1, "second"))]).await;
    drop(store);
    let history = backend.open().history(task_id(1)).await.unwrap();
    assert_eq!(history.attempts, records);
    assert_eq!(history.events, [event(1, "first"), event(1, "second")]);
}

async fn a_task_tells_what_happened_to_its_gaps_before_it_had_them<B: Backend>() {
    let store = B::new().open();
    let of_gap = |number: u32| Event { task: None, gap: Some(gap_id(number)), ..event(1, &format!("of gap {number}")) };
    let of_nobody = Event { task: None, gap: None, ..event(1, "of a source") };
    put(&store, [Change::Event(of_gap(1)), Change::Event(of_gap(2)), Change::Event(of_gap(3)), Change::Event(of_nobody)]).await;
    put(&store, [Change::PutGap(gap(1)), Change::PutTask(task(&[1]))]).await;
    assert_eq!(store.history(task_id(1)).await.unwrap().events, [of_gap(1)], "of a gap that it has");
    let token = store.lease(lease(1, &[1, 2])).await.unwrap();
    put(&store, [Change::Finish(ended(1, token, &[1, 2]))]).await;
    assert_eq!(store.history(task_id(1)).await.unwrap().events, [of_gap(1), of_gap(2)], "and of one that it tried");
}

async fn a_task_tells_what_was_tried_while_its_gaps_were_in_others<B: Backend>() {
    let store = B::new().open();
    let left = |number: u32, to: u32| GapStory {
        gap: gap_id(number),
        key: gap(number).key,
        reason: Reason::Missing,
        detected_at: at(0),
        was: Standing::Open,
        attempts: 0,
        left: Some(Left { standing: Standing::Open, attempts: 1, next_try: None, task: Some(task_id(to)) }),
    };
    let story = |gaps: Vec<GapStory>| Some(Story { score: Score::default(), rank: 1, ready: 1, waits: Vec::new(), better: 0, gaps });
    let mut records = Vec::new();
    // Four in a batch, of which two go on as another, and one of these as a third.
    let attempts = [
        (1, 1, vec![1, 2, 3, 4], vec![left(3, 3), left(4, 3)]),
        (2, 3, vec![3, 4], vec![left(4, 4)]),
        (3, 4, vec![4], vec![]),
        (4, 9, vec![9], vec![]),
    ];
    for (number, of, gaps, moved) in attempts {
        let token = store.lease(lease(number, &gaps)).await.unwrap();
        let record = AttemptRecord { task: task_id(of), story: story(moved), ..ended(number, token, &gaps) };
        records.push(record.clone());
        put(&store, [Change::Finish(record)]).await;
    }
    put(&store, [Change::PutGap(gap(4)), Change::PutTask(Task { id: task_id(4), ..task(&[4]) })]).await;
    let history = store.history(task_id(4)).await.unwrap();
    let told: Vec<_> = history.attempts.iter().map(|attempt| (attempt.task, attempt.outcomes.len())).collect();
    assert_eq!(told, [(task_id(1), 1), (task_id(3), 1), (task_id(4), 1)], "of each only what became of its own gap");
    assert_eq!(store.history(task_id(1)).await.unwrap().attempts, records[..1], "what came after is its successors' story");
}

async fn reservations_stay_until_they_are_forgotten<B: Backend>() {
    let store = B::new().open();
    // Of one customer's requests.
    let valued = Reservation { value: Some("acme, of 'all'".into()), ..reservation(2) };
    put(&store, [Change::Reserve(reservation(1)), Change::Reserve(valued.clone())]).await;
    put(&store, [Change::SettleReservation { id: 1, settled: settled() }, Change::SettleReservation { id: 3, settled: settled() }]).await;
    let one = Reservation { settled: Some(settled()), ..reservation(1) };
    assert_eq!(store.load().await.unwrap().reservations, [one, valued.clone()]);
    put(&store, [Change::ForgetReservation(1), Change::ForgetReservation(3)]).await;
    assert_eq!(store.load().await.unwrap().reservations, [valued]);
}

async fn the_latest_instant_is_that_of_what_happened<B: Backend>() {
    let backend = B::new();
    let store = backend.open();
    store.lease(lease(4, &[1])).await.unwrap();
    assert_eq!(store.load().await.unwrap().latest, Some(at(4)));
    let mut waits = gap(1);
    waits.progress.next_try = Some(at(99_999));
    put(&store, [Change::PutGap(waits), Change::Event(event(3, "earlier"))]).await;
    assert_eq!(store.load().await.unwrap().latest, Some(at(4)), "a retry lies ahead and did not happen");
    put(&store, [Change::Event(event(30, "later"))]).await;
    drop(store);
    assert_eq!(backend.open().load().await.unwrap().latest, Some(at(30)));
}

async fn attempts_are_told_page_by_page_the_latest_first<B: Backend>() {
    let store = B::new().open();
    for number in 1..=5 {
        let token = store.lease(lease(number, &[number])).await.unwrap();
        put(&store, [Change::Finish(ended(number, token, &[number]))]).await;
    }
    let first = store.attempts(None, 2).await.unwrap();
    let second = store.attempts(first.last().map(|(seq, _)| *seq), 2).await.unwrap();
    let last = store.attempts(second.last().map(|(seq, _)| *seq), 10).await.unwrap();
    let ids = |page: &[(u64, AttemptRecord)]| page.iter().map(|(_, record)| record.attempt).collect::<Vec<_>>();
    assert_eq!((ids(&first), ids(&second), ids(&last)), (vec![attempt(5), attempt(4)], vec![attempt(3), attempt(2)], vec![attempt(1)]));
    assert_eq!(store.attempt(attempt(2)).await.unwrap(), Some(second[1].clone()));
    assert_eq!(store.attempt(attempt(9)).await.unwrap(), None);
}

async fn what_was_done_is_told_the_latest_first_and_tokens_as_they_are_now<B: Backend>() {
    let backend = B::new();
    let token = |name: &str, revoked_at| TokenRecord {
        name: name.into(),
        role: Role::Operator,
        hash: TokenHash::of(name),
        created_at: at(1),
        expires_at: Some(at(9)),
        revoked_at,
    };
    let act = |action: &str, what: &str| AuditRecord {
        seq: 0,
        at: at(2),
        who: "anna".into(),
        action: action.into(),
        what: what.into(),
        reason: Some("why".into()),
        before: Some("{}".into()),
        after: None,
    };
    {
        let store = backend.open();
        put(&store, [Change::PutToken(token("b", None)), Change::PutToken(token("a", None)), Change::Audit(act("retry", "1"))]).await;
        put(&store, [Change::PutToken(token("b", Some(at(5)))), Change::Audit(act("pause", "2"))]).await;
    }
    let store = backend.open();
    assert_eq!(store.tokens().await.unwrap(), [token("a", None), token("b", Some(at(5)))]);
    assert_eq!(store.load().await.unwrap().tokens, store.tokens().await.unwrap());
    let told = store.audit(None, 10).await.unwrap();
    assert_eq!(told, [AuditRecord { seq: 2, ..act("pause", "2") }, AuditRecord { seq: 1, ..act("retry", "1") }]);
    assert_eq!(store.audit(Some(2), 10).await.unwrap(), told[1..]);
}
