//! Attempts that end badly, too late, or not by themselves: what is on record and in the lake afterwards.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_core::gap::{Failure, Fault, Outcome};
use adce_core::ids::{AttemptId, FencingToken, Uuid};
use adce_core::ports::{ItemReport, Report, Rest, Said, Store, StoreError};
use adce_core::record::{AttemptRecord, Change, Lease};
use adce_engine::{EngineError, Interrupt, Query};
use support::{Notes, Place, Scene, until};
use tokio::sync::{Semaphore, watch};

fn one_after_the_other() -> Place {
    slots(1)
}

fn slots(slots: u32) -> Place {
    Place::new(&format!(
        "datasets:\n  web:\n    key: web/{{number}}.txt\n    for: number\n    collector:\n      command: [unused]\n\
         engine: {{ max_concurrent: {slots} }}\n"
    ))
}

#[tokio::test]
async fn a_panic_of_an_attempt_ends_the_run_as_a_bug_and_loses_nothing() {
    let place = one_after_the_other();
    let running = place.run(async |scene| if scene.number == 1 { panic!("this attempt has a bug") } else { scene.staged() }).await;
    let ending = running.end().await;
    assert!(matches!(ending, Err(EngineError::Bug)), "{:?}", ending.err());
    assert_eq!(place.objects().len(), 1, "what was collected before is there, and nothing was started after");
    assert_eq!(place.gaps().await.len(), 2);
    assert_eq!(place.store.load().await.unwrap().leases.len(), 1, "its lease says what it was about");
    let ending = place.run(async |scene| scene.staged()).await.end().await.unwrap();
    assert!(ending.cycle.complete);
    assert_eq!((place.objects().len(), place.gaps().await, ending.snapshot.totals.attempts), (3, Vec::new(), 2));
}

#[tokio::test]
async fn who_waits_for_a_retry_did_not_wait_for_a_first_start() {
    let hour = Duration::from_secs(3_600);
    let mut place = Place::new(
        "datasets:\n  web:\n    key: web/{number}.txt\n    for: number\n    collector:\n      command: [unused]\n      \
         retry: { attempts: 3, backoff: 1h..1h }\n",
    );
    place.max_wait = 2 * hour;
    let running = place.run(async |scene| if scene.number == 0 { Report::default() } else { scene.staged() }).await;
    running.have_begun(3).await;
    until("one waits for its retry", async || {
        place.store.load().await.unwrap().gaps.iter().filter(|gap| gap.progress.next_try.is_some()).count() == 1
            && place.objects().len() == 2
    })
    .await;
    place.clock.advance(hour);
    let ending = running.end().await.unwrap();
    assert!(ending.cycle.complete && ending.snapshot.totals.attempts == 4);
    assert!(ending.longest_wait < hour, "{:?}", ending.longest_wait);
}

fn crashed() -> Report {
    let failure = Failure { fault: Fault::Collector, message: "it crashed".into(), retry_after_s: None };
    Report { ended: "scripted".into(), rest: Rest::Failed(failure), ..Report::default() }
}

/// In the slot of the third that crashes nothing starts before it is counted.
#[tokio::test]
async fn a_collector_that_crashes_on_everything_starts_no_more_often_than_its_breaker_lets_it() {
    // With two slots the fourth is under way when the third crashes.
    for (slots, attempts) in [(1, 3), (2, 4)] {
        let place = Place::new(&format!(
            "  letter: [a, b, c]\ndatasets:\n  web:\n    key: web/{{number}}-{{letter}}.txt\n    for: [number, letter]\n    collector:\n      \
             command: [unused]\n      breaker: {{ failures: 3, cooldown: 10m }}\nengine: {{ max_concurrent: {slots} }}\n"
        ));
        let (begun, clock) = (watch::Sender::new(0), place.clock.clone());
        let script = move |scene: Scene| {
            begun.send_modify(|begun| *begun += 1);
            let (mut seen, clock) = (begun.subscribe(), clock.clone());
            async move {
                seen.wait_for(|begun| *begun >= attempts.min(scene.number + slots)).await.unwrap();
                // Longer than a slot is kept for.
                clock.advance(Duration::from_secs(1));
                crashed()
            }
        };
        let ending = place.run(script).await.end().await.unwrap();
        assert_eq!((ending.snapshot.totals.attempts, ending.snapshot.gaps.held), (attempts as u64, 9 - attempts as u64), "{slots} slots");
    }
}

/// Its rows are the items; what failed is tried again after a minute.
const ROWS: &str = "  row: { table: rows.csv, id: row }\ndatasets:\n  web:\n    key: web/{row}.txt\n    for: row\n    collector:\n      \
    command: [unused]\n      batch: { size: 3 }\n      retry: { attempts: 3, backoff: 1m..1m }\n";

/// No look closes a gap that is being tried, and the next look may be far away.
#[tokio::test]
async fn an_item_that_leaves_while_it_is_tried_is_let_go_by_the_next_attempt_and_the_others_go_on() {
    let mut place = Place::beside(&[("rows.csv", "row\n1\n2\n3\n")], ROWS);
    place.max_wait = Duration::from_secs(600);
    let (may_end, tried) = (Arc::new(Semaphore::new(0)), Notes::default());
    let (ends, noted) = (may_end.clone(), tried.clone());
    let script = move |scene: Scene| {
        noted.lock().unwrap().push(scene.order.items.iter().map(|item| item.key.clone()).collect::<Vec<_>>());
        let ends = ends.clone();
        async move {
            if scene.number > 0 {
                return scene.staged();
            }
            ends.acquire().await.unwrap().forget();
            crashed()
        }
    };
    let running = place.run(script).await;
    running.have_begun(1).await;
    place.write("rows.csv", "row\n1\n2\n");
    place.clock.advance(Duration::from_secs(15 * 60));
    until("it is known that a row is gone", async || {
        running.handle.ask(Query::Status).await.expect("the engine runs").snapshot.datasets[0].expected == 2
    })
    .await;
    may_end.add_permits(1);
    until("all of them wait", async || place.store.load().await.unwrap().gaps.iter().all(|gap| gap.progress.next_try.is_some())).await;
    assert_eq!(place.gaps().await, ["web/1.txt", "web/2.txt", "web/3.txt"]);
    place.clock.advance(Duration::from_secs(60));
    let ending = running.end().await.unwrap();
    assert_eq!(*tried.lock().unwrap(), [vec!["web/1.txt", "web/2.txt", "web/3.txt"], vec!["web/1.txt", "web/2.txt"]]);
    assert_eq!((ending.cycle.complete, place.gaps().await), (true, Vec::<String>::new()));
}

#[tokio::test]
async fn an_item_that_leaves_between_two_attempts_is_let_go_by_the_next_look() {
    let place = Place::beside(&[("rows.csv", "row\n1\n2\n3\n")], ROWS);
    let run = async || place.run(async |_| crashed()).await.end().await.unwrap().snapshot.totals.attempts;
    assert_eq!((run().await, place.gaps().await.len()), (1, 3));
    place.write("rows.csv", "row\n1\n2\n");
    assert_eq!(run().await, 0, "they wait for their retry");
    assert_eq!(place.gaps().await, ["web/1.txt", "web/2.txt"]);
}

/// What an engine does that took the state over meanwhile: it ends the lease, and gives the gaps to somebody else.
async fn taken_over(store: &impl Store, attempt: AttemptId) -> (AttemptId, FencingToken) {
    let lease = store.load().await.unwrap().leases.into_iter().find(|lease| lease.attempt == attempt).unwrap();
    let successor = AttemptId(Uuid::from_u128(!attempt.0.as_u128()));
    store.apply(vec![Change::Finish(ended(&lease))]).await.unwrap();
    (successor, store.lease(Lease { attempt: successor, ..lease }).await.unwrap())
}

fn ended(lease: &Lease) -> AttemptRecord {
    AttemptRecord {
        attempt: lease.attempt,
        token: lease.token,
        task: lease.task,
        collector: lease.collector.clone(),
        started_at: lease.started_at,
        ended_at: lease.started_at,
        ended: "taken over".into(),
        requests: 0,
        outcomes: lease.gaps.iter().map(|gap| (*gap, Outcome::Unchanged)).collect(),
        log_tail: String::new(),
        log: None,
        story: None,
        traffic: None,
    }
}

#[tokio::test]
async fn a_result_with_a_stale_token_changes_nothing() {
    for stages in [true, false] {
        let place = one_after_the_other();
        let store = place.store.clone();
        let successors = Notes::default();
        let noted = successors.clone();
        let script = move |scene: support::Scene| {
            let (store, noted) = (store.clone(), noted.clone());
            async move {
                let (successor, _) = taken_over(&store, scene.order.attempt).await;
                noted.lock().unwrap().push(successor);
                if stages { scene.staged() } else { Report { ended: "scripted".into(), ..Report::default() } }
            }
        };
        let ending = place.run(script).await.end().await;
        let refused = |error: &EngineError| matches!(error, EngineError::State(StoreError::Leased { .. } | StoreError::StaleToken(_)));
        assert!(ending.as_ref().is_err_and(refused), "staged: {stages}, {:?}", ending.err());
        assert_eq!(place.objects(), Vec::<String>::new());
        let remembered = place.store.load().await.unwrap();
        assert_eq!(remembered.gaps.len(), 3, "staged: {stages}");
        let leases: Vec<_> = remembered.leases.iter().map(|lease| lease.attempt).collect();
        let successors = successors.lock().unwrap();
        assert!(!successors.is_empty() && successors.iter().all(|other| leases.contains(other)), "the others' leases are as they were");
    }
}

#[tokio::test]
async fn asked_to_drain_it_starts_nothing_and_asked_to_stop_it_ends_what_runs() {
    let place = slots(2);
    let may_end = Arc::new(Semaphore::new(0));
    let may = may_end.clone();
    let script = move |scene: support::Scene| {
        let may = may.clone();
        async move {
            tokio::select! {
                permit = may.acquire() => permit.unwrap().forget(),
                () = scene.stop.stopped() => return Report { ended: "stopped".into(), ..Report::default() },
            }
            scene.staged()
        }
    };
    let running = place.run(script).await;
    running.have_begun(2).await;
    running.handle.interrupt(Interrupt::Drain);
    may_end.add_permits(1);
    until("one has landed", async || place.gaps().await.len() == 2).await;
    running.handle.interrupt(Interrupt::Stop);
    running.handle.interrupt(Interrupt::Stop);
    running.handle.interrupt(Interrupt::Drain);
    let begun = running.begun.clone();
    let ending = running.end().await.unwrap();
    assert!(ending.interrupted);
    assert_eq!(begun.load(std::sync::atomic::Ordering::SeqCst), 2, "nothing started after the first word");
    assert_eq!((place.objects().len(), place.gaps().await.len()), (1, 2));
    assert_eq!(place.store.load().await.unwrap().leases, [], "the state is clean");
}

#[tokio::test]
async fn an_object_that_somebody_takes_away_three_times_a_day_is_left_alone_until_a_day_has_passed_or_somebody_says_so() {
    let place = one_after_the_other();
    let hour = Duration::from_secs(3_600);
    let fills = async || place.run(async |scene| scene.staged()).await.end().await.unwrap();
    for losses in 0..3 {
        let ending = fills().await;
        assert!(ending.cycle.complete, "after {losses} losses");
        place.remove("web/2.txt");
        place.clock.advance(hour);
    }
    let ending = fills().await;
    assert_eq!((ending.snapshot.totals.attempts, ending.snapshot.gaps.held, place.objects().len()), (0, 1, 2));
    assert_eq!(ending.snapshot.contested[0].key, "web/2.txt");
    assert_eq!(place.gaps().await, ["web/2.txt"], "its gap is known all the same");
    place.clock.advance(hour * 23);
    assert_eq!(fills().await.snapshot.totals.attempts, 0);
    place.clock.advance(hour);
    let ending = fills().await;
    assert!(ending.cycle.complete, "a day has passed");
    assert_eq!(ending.snapshot.totals.attempts, 1);
}

#[tokio::test]
async fn an_outage_that_a_source_hides_behind_no_such_thing_does_not_look_like_no_data() {
    let place = Place::new(
        "  file: { from: 2025-01-01, to: 2025-02-09, every: 1d, zone: UTC }\n\
         sources: { api: { hosts: [api.example] } }\n\
         datasets:\n  web:\n    source: api\n    key: \"web/{file}.txt\"\n    for: file\n    absent: { after: 0s }\n    \
         collector: { http: { url: \"http://api.example/{file}\" } }\n",
    );
    let all_absent = async |scene: support::Scene| {
        let items = scene.order.items.iter().map(|item| ItemReport { item: item.item, said: Said::Absent });
        Report { items: items.collect(), ended: "scripted".into(), ..Report::default() }
    };
    let ending = place.run(all_absent).await.end().await.unwrap();
    assert!(!ending.cycle.complete, "nothing is there, and nothing is called absent");
    let remembered = place.store.load().await.unwrap();
    assert_eq!((remembered.gaps.len(), remembered.items.values().filter(|item| item.absent.is_some()).count()), (40, 0));
    assert_eq!((ending.snapshot.doubts[0].source.as_str(), ending.snapshot.doubts[0].gaps), ("api", 40));
    assert_eq!((ending.snapshot.gaps.held, ending.snapshot.gaps.queued), (40, 0));
    assert_eq!(ending.snapshot.totals.attempts, 49, "nine were believed for a moment, and asked for once more when they were not");
    let ending = place.run(all_absent).await.end().await.unwrap();
    assert_eq!(ending.snapshot.totals.attempts, 0, "all is said that can be said for now");
    place.clock.advance(std::time::Duration::from_secs(3_600));
    let ending = place.run(async |scene| scene.staged()).await.end().await.unwrap();
    assert!(ending.cycle.complete, "the outage is over, and one that is there lets the others go");
    assert_eq!(place.objects().len(), 40);
}
