//! Whoever brings the news steers: nothing that happens is forgotten, and a turn that goes wrong is no half of one.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::{FencingToken, TaskId};
use adce_core::ports::{Report, Store, StoreError};
use adce_core::record::{Change, History, Lease, Remembered};
use adce_engine::{EngineError, Query};
use adce_store::memory::MemoryStore;
use async_trait::async_trait;
use support::{Notes, Place, Scene, until};
use tokio::sync::Barrier;

const TRIALS: usize = 200;
/// Nobody needs so long to be told something.
const MOST: Duration = Duration::from_secs(20);

/// The clock of these engines stands still, so no turn comes by itself: an end that nobody hears leaves the run hanging.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attempts_that_end_at_the_same_instant_are_all_heard() {
    for _ in 0..TRIALS {
        let place = three();
        let together = Arc::new(Barrier::new(3));
        let script = move |scene: Scene| {
            let together = together.clone();
            async move {
                together.wait().await;
                drop(scene);
                Report::default()
            }
        };
        let ending = place.run(script).await.end().await.unwrap();
        assert_eq!((ending.snapshot.totals.attempts, place.store.load().await.unwrap().leases.len()), (3, 0));
    }
}

fn three() -> Place {
    Place::new(
        "datasets:\n  web:\n    key: web/{number}.txt\n    for: number\n    collector:\n      command: [unused]\n      \
         retry: { attempts: 1 }\n",
    )
}

#[tokio::test]
async fn a_panic_of_a_turn_ends_the_run_as_a_bug_and_loses_nothing() {
    let place = three();
    let begun = Notes::default();
    let notes = begun.clone();
    let script = move |scene: Scene| {
        notes.lock().unwrap().push(scene.order.task);
        async move { scene.staged() }
    };
    let ending = place.run_on(Arc::new(place.lake()), Arc::new(FailsAtEnds(place.store.clone())), script).await.end().await;
    assert!(matches!(ending, Err(EngineError::Bug)), "{:?}", ending.err());
    assert_eq!(place.gaps().await.len(), 3, "no end is on record");
    let begun = begun.lock().unwrap().len();
    assert_eq!(place.store.load().await.unwrap().leases.len(), begun, "the leases say what was under way");
    let ending = place.run(async |scene| scene.staged()).await.end().await.unwrap();
    assert!(ending.cycle.complete);
}

/// The end of the first attempt meets the bug; nobody else would ever end by himself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_a_turn_ends_whatever_runs_and_leaves_nobody_waiting() {
    let place = three();
    let ended = Notes::default();
    let notes = ended.clone();
    let together = Arc::new(Barrier::new(3));
    let script = move |scene: Scene| {
        let (notes, together) = (notes.clone(), together.clone());
        async move {
            together.wait().await;
            if scene.number > 0 {
                // Without an end, so that the test has one.
                tokio::time::timeout(MOST, scene.stop.stopped()).await.expect("it is told to stop");
            }
            notes.lock().unwrap().push(scene.order.task);
            Report::default()
        }
    };
    let running = place.run_on(Arc::new(place.lake()), Arc::new(FailsAtEnds(place.store.clone())), script).await;
    let handle = running.handle.clone();
    assert!(matches!(running.end().await, Err(EngineError::Bug)));
    until("all attempts have been ended", async || ended.lock().unwrap().len() == 3).await;
    assert!(handle.ask(Query::Status).await.is_none(), "who asks learns that there is nobody");
}

/// A bug in whoever handles the end of an attempt.
struct FailsAtEnds(MemoryStore);

#[async_trait]
impl Store for FailsAtEnds {
    async fn load(&self) -> Result<Remembered, StoreError> {
        self.0.load().await
    }

    async fn lease(&self, lease: Lease) -> Result<FencingToken, StoreError> {
        self.0.lease(lease).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        assert!(!changes.iter().any(|change| matches!(change, Change::Finish(_))), "this turn has a bug");
        self.0.apply(changes).await
    }

    async fn history(&self, task: TaskId) -> Result<History, StoreError> {
        self.0.history(task).await
    }
}
