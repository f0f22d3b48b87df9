//! Permits between attempts and the loop.

mod support;

use std::time::Duration;

use adce_core::ports::{Settlement, Store};
use adce_core::time::Boottime;
use adce_engine::{Handle, Query, Snapshot};
use support::{Notes, Place, Scene, until};
use tokio::sync::mpsc;

fn one_source(limits: &str, collector: &str) -> Place {
    Place::new(&format!(
        "sources:\n  up:\n    hosts: [up.example]\n    limits: {limits}\n\
         datasets:\n  web:\n    source: up\n    key: web/{{number}}.txt\n    for: number\n    collector:\n      \
         command: [unused]\n{collector}engine: {{ max_concurrent: 2 }}\n"
    ))
}

async fn snapshot(handle: &Handle) -> Snapshot {
    handle.ask(Query::Status).await.expect("the engine runs").snapshot
}

const NOW: Settlement = Settlement::ArrivedBy(Boottime(0));

/// Sends `count` requests, one after the other.
async fn send(scene: &Scene, count: usize) {
    for _ in 0..count {
        let permit = scene.permits.acquire(scene.order.attempt, "up").await.unwrap();
        scene.permits.settle(permit, NOW);
    }
}

#[tokio::test]
async fn a_request_that_was_charged_ahead_is_counted_once() {
    let place = one_source("{ per_minute: 60 }", "      batch: { size: 3 }\n");
    let running = place.run(async |scene: Scene| {
        send(&scene, 2).await;
        scene.staged()
    });
    let ending = running.await.end().await.unwrap();
    assert_eq!((ending.snapshot.totals.requests, ending.snapshot.sources[0].requests), (3, 3), "two of the three went through us");
    let place = one_source("{ per_minute: 60 }", "      batch: { size: 3 }\n");
    let running = place.run(async |scene: Scene| {
        send(&scene, 4).await;
        scene.staged()
    });
    let ending = running.await.end().await.unwrap();
    assert_eq!((ending.snapshot.totals.requests, ending.snapshot.sources[0].requests), (4, 4), "the fourth goes beyond the charge");
}

#[tokio::test]
async fn a_request_that_was_not_sent_is_not_counted() {
    let place = one_source("{ per_minute: 60 }", "      via: gateway\n");
    let tasks = Notes::default();
    let noted = tasks.clone();
    let script = move |scene: Scene| {
        noted.lock().unwrap().push(scene.order.task);
        async move {
            send(&scene, 1).await;
            let permit = scene.permits.acquire(scene.order.attempt, "up").await.unwrap();
            scene.permits.settle(permit, Settlement::Unsent);
            scene.staged()
        }
    };
    let ending = place.run(script).await.end().await.unwrap();
    let task = tasks.lock().unwrap()[0];
    assert_eq!(place.store.history(task).await.unwrap().attempts[0].requests, 1);
    assert_eq!((ending.snapshot.totals.requests, ending.snapshot.sources[0].requests), (3, 3));
}

#[tokio::test]
async fn permits_come_back_from_one_who_went_away() {
    let place = one_source("{ in_flight: 1 }", "      via: gateway\n");
    let (to_test, mut scenes) = mpsc::unbounded_channel();
    let script = move |scene: Scene| {
        let to_test = to_test.clone();
        async move {
            let (done, is_done) = tokio::sync::oneshot::channel();
            let staged = scene.staged();
            to_test.send((scene, done)).unwrap();
            is_done.await.unwrap();
            staged
        }
    };
    let running = place.run(script).await;
    let (scene, done) = scenes.recv().await.unwrap();
    let permits = scene.permits.clone();
    let ask = || permits.acquire(scene.order.attempt, "up");
    let asking = async || snapshot(&running.handle).await.sources[0].asking;
    let requests = async || snapshot(&running.handle).await.totals.requests;
    let first = ask().await.unwrap();
    // One goes away while it waits, another one when it has been granted and does not know it yet.
    let mut waits = Box::pin(ask());
    assert!(futures::poll!(waits.as_mut()).is_pending());
    let mut granted = Box::pin(ask());
    assert!(futures::poll!(granted.as_mut()).is_pending());
    until("both wait", async || asking().await == 2).await;
    drop(waits);
    permits.settle(first, NOW);
    until("the second one was granted", async || requests().await == 2).await;
    drop(granted);
    let third = tokio::time::timeout(Duration::from_secs(20), ask()).await.expect("its permit did not come back").unwrap();
    permits.settle(third, NOW);
    done.send(()).unwrap();
    for _ in 0..2 {
        scenes.recv().await.unwrap().1.send(()).unwrap();
    }
    let ending = running.end().await.unwrap();
    assert_eq!(ending.snapshot.totals.requests, 2, "what was not sent is not counted");
}
