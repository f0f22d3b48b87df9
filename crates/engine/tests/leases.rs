//! Leases of attempts that go on for long, of a machine that slept, and of one whose work is somebody else's by then.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Clock, Report, Store, StoreError};
use adce_core::record::{Change, Lease};
use adce_core::time::Moment;
use adce_engine::{EngineError, Query};
use support::{Place, Running, until};
use tokio::sync::Semaphore;

fn one_after_the_other() -> Place {
    Place::new(
        "datasets:\n  web:\n    key: web/{number}.txt\n    for: number\n    collector:\n      command: [unused]\n\
         engine: { max_concurrent: 1 }\n",
    )
}

/// Lets the first attempt go on, at the latest when its test is over: its thread would keep the test from failing.
struct GoOn(Arc<Semaphore>);

impl Drop for GoOn {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// An engine whose first attempt waits to be let go, or to be stopped.
async fn waiting(place: &Place) -> (Running, GoOn) {
    let go_on = Arc::new(Semaphore::new(0));
    let may = go_on.clone();
    let script = move |scene: support::Scene| {
        let may = may.clone();
        async move {
            if scene.number == 0 {
                tokio::select! {
                    _ = may.acquire() => {}
                    () = scene.stop.stopped() => return Report { ended: "stopped".into(), ..Report::default() },
                }
            }
            scene.staged()
        }
    };
    let running = place.run(script).await;
    running.have_begun(1).await;
    (running, GoOn(go_on))
}

fn now(place: &Place) -> Moment {
    Moment::of(&place.clock.boot_id(), place.clock.now())
}

/// The oldest one.
async fn lease(place: &Place) -> Lease {
    place.store.load().await.unwrap().leases.swap_remove(0)
}

#[tokio::test]
async fn an_attempt_that_goes_on_for_long_keeps_its_lease() {
    let place = one_after_the_other();
    let (running, go_on) = waiting(&place).await;
    let first = lease(&place).await;
    for _ in 0..100 {
        place.clock.advance(Duration::from_secs(7));
        // Two questions: the loop has had a whole turn in between.
        for _ in 0..2 {
            running.handle.ask(Query::Status).await.unwrap();
        }
        for lease in place.store.load().await.unwrap().leases {
            assert!(!lease.until.has_come(&now(&place)), "{} of those ahead, too", lease.attempt);
        }
    }
    assert_eq!(lease(&place).await.token, first.token, "it is the same one");
    drop(go_on);
    assert!(running.end().await.unwrap().cycle.complete);
}

#[tokio::test]
async fn a_machine_that_slept_goes_on_where_it_was() {
    let place = one_after_the_other();
    let (running, go_on) = waiting(&place).await;
    place.clock.advance(Duration::from_secs(25));
    until("a beat", async || running.handle.ask(Query::Status).await.is_some()).await;
    place.clock.advance(Duration::from_secs(8 * 3_600));
    until("the lease to hold again", async || !lease(&place).await.until.has_come(&now(&place))).await;
    drop(go_on);
    let ending = running.end().await.unwrap();
    assert!(ending.cycle.complete);
    assert_eq!((ending.snapshot.totals.attempts, place.objects().len()), (3, 3));
}

#[tokio::test]
async fn who_lost_its_lease_while_it_slept_publishes_nothing_and_ends() {
    let place = one_after_the_other();
    let (running, _never) = waiting(&place).await;
    place.clock.advance(Duration::from_secs(25));
    running.handle.ask(Query::Status).await.unwrap();
    let mine = lease(&place).await;
    // Somebody else finds that it has expired before this machine wakes up.
    let later = now(&place).later(Duration::from_secs(3_600));
    place.store.apply(vec![Change::Lapse { attempt: mine.attempt, now: later.clone() }]).await.unwrap();
    let theirs = Lease { attempt: AttemptId(Uuid::max()), until: later.later(adce_core::lease::LENGTH), ..mine.clone() };
    place.store.lease(theirs.clone()).await.unwrap();
    place.clock.advance(Duration::from_secs(3_600));
    let ending = running.end().await;
    let lost = |error: &EngineError| matches!(error, EngineError::State(StoreError::StaleToken(of)) if *of == mine.attempt);
    assert!(ending.as_ref().is_err_and(lost), "{:?}", ending.err());
    assert_eq!(place.objects(), Vec::<String>::new());
    let remembered = place.store.load().await.unwrap();
    assert!(remembered.leases.iter().any(|lease| lease.attempt == theirs.attempt), "theirs is as it was");
    assert_eq!(remembered.gaps.len(), 3);
}
