//! Programs that a person runs by hand beside the engine, or with an engine that is there for them alone.

mod support;

use std::time::Duration;

use adce_core::ports::{Answer, Clock, PermitRefused, Settlement, Store};
use adce_engine::{Guest, Handle, Interrupt, NotAdmitted, Query};
use futures::FutureExt;
use support::{Place, Scene, until};

fn one_source(limits: &str) -> Place {
    Place::new(&format!(
        "sources:\n  up:\n    hosts: [up.example]\n    limits: {limits}\n\
         datasets:\n  web:\n    source: up\n    key: web/{{number}}.txt\n    for: number\n    collector:\n      \
         command: [unused]\n      via: gateway\nengine: {{ max_concurrent: 1 }}\n"
    ))
}

async fn admit(handle: &Handle) -> Guest {
    handle.ask(|reply| Query::Admit(None, reply)).await.expect("the engine runs").expect("it lets it in")
}

async fn guests(handle: &Handle) -> usize {
    handle.ask(Query::Status).await.expect("the engine runs").snapshot.guests
}

async fn send(scene: &Scene) {
    let permit = scene.permits.acquire(scene.order.attempt, "up").await.unwrap();
    scene.permits.settle(permit, Settlement::ArrivedBy(Default::default()));
}

#[tokio::test]
async fn a_guest_and_the_tasks_share_one_limit_and_the_guest_is_told_what_it_asked() {
    let place = one_source("{ per_minute: 3 }");
    let (permits, inbox) = place.desk();
    let running = place
        .run_in(inbox, async |scene: Scene| {
            send(&scene).await;
            scene.staged()
        })
        .await;
    // The engine stays for it when all is collected.
    let guest = admit(&running.handle).await;
    until("all is collected", async || place.objects().len() == 3).await;
    let mut asks = Box::pin(permits.acquire(guest.id, "up"));
    assert!((&mut asks).now_or_never().is_none(), "the tasks have used the minute up");
    until("it waits", async || running.handle.ask(Query::Status).await.unwrap().snapshot.sources[0].asking == 1).await;
    place.clock.advance(Duration::from_secs(61));
    let permit = asks.await.unwrap();
    permits.answered(guest.id, "up", Answer::status(404));
    permits.uncovered(guest.id, "fonts.example", true);
    permits.distrusted(guest.id, "up.example");
    permits.settle(permit, Settlement::ArrivedBy(place.clock.now().boot));
    let used = running.handle.ask(|reply| Query::Dismiss(guest.id, reply)).await.unwrap().expect("it was there");
    let up = &used.sources["up"];
    assert_eq!((up.requests, up.waited, up.statuses[&404]), (1, Duration::from_secs(61), 1));
    assert_eq!((used.hosts["fonts.example"].passed, used.distrusted["up.example"]), (1, 1));
    let ending = running.end().await.unwrap();
    assert_eq!((ending.snapshot.totals.requests, ending.snapshot.uncovered.len()), (4, 0), "it is nobody's collector");
    assert!(matches!(permits.acquire(guest.id, "up").await, Err(PermitRefused::Stopping | PermitRefused::NoSuchAttempt(_))));
}

#[tokio::test]
async fn an_engine_stays_for_its_guests() {
    let place = one_source("{ per_minute: 60 }");
    let running = place.run(async |scene: Scene| scene.staged()).await;
    let guest = admit(&running.handle).await;
    until("all is collected", async || place.objects().len() == 3).await;
    place.remove("web/1.txt");
    // What falls due while it is there is collected.
    until("the next cycle", async || {
        place.clock.advance(Duration::from_secs(60));
        place.objects().len() == 3
    })
    .await;
    let next_look = async || running.handle.ask(Query::Status).await.expect("it stays").next_cycle;
    for _ in 0..2 {
        let before = next_look().await;
        until("it looks again", async || {
            place.clock.advance(Duration::from_secs(60));
            next_look().await > before
        })
        .await;
    }
    assert_eq!(guests(&running.handle).await, 1);
    running.handle.ask(|reply| Query::Dismiss(guest.id, reply)).await.unwrap().expect("it was there");
    assert!(running.end().await.unwrap().cycle.complete);
}

#[tokio::test]
async fn who_is_asked_to_finish_waits_for_guests_and_who_is_stopped_does_not() {
    let place = one_source("{ per_minute: 60 }");
    let running = place.run(async |scene: Scene| scene.staged()).await;
    admit(&running.handle).await;
    running.handle.interrupt(Interrupt::Drain);
    assert_eq!(guests(&running.handle).await, 1, "what runs is finished");
    let another = running.handle.ask(|reply| Query::Admit(None, reply)).await.expect("it runs");
    assert_eq!(another.unwrap_err(), NotAdmitted::Ending);
    running.handle.interrupt(Interrupt::Stop);
    assert!(running.end().await.unwrap().interrupted);
}

#[tokio::test]
async fn an_engine_that_is_there_for_guests_collects_nothing_and_records_what_they_sent() {
    let place = one_source("{ per_minute: 600 }");
    let (permits, inbox) = place.desk();
    let handle = inbox.handle();
    let mut engine = place.engine(inbox).await;
    assert_eq!(engine.admit(Some(vec!["down".into()])).unwrap_err(), NotAdmitted::NoSuchSource("down".into()));
    let guest = engine.admit(None).unwrap();
    let ends = tokio::spawn(engine.run_for_guests());
    let first = permits.acquire(guest.id, "up").await.unwrap();
    let second = permits.acquire(guest.id, "up").await.unwrap();
    permits.settle(first, Settlement::ArrivedBy(place.clock.now().boot));
    handle.ask(|reply| Query::Dismiss(guest.id, reply)).await.unwrap().expect("it was there");
    assert_eq!(guests(&handle).await, 0);
    // Its last request was cut off: before that is settled nobody knows what was sent.
    assert!(!ends.is_finished());
    permits.settle(second, Settlement::ArrivedBy(place.clock.now().boot));
    let ending = tokio::time::timeout(Duration::from_secs(30), ends).await.expect("it ends").unwrap().unwrap();
    assert_eq!((ending.snapshot.totals.attempts, place.objects().len()), (0, 0));
    let reservations = place.store.load().await.unwrap().reservations;
    assert_eq!(reservations.len(), 1);
    assert_eq!(reservations[0].settled.as_ref().map(|settled| settled.used), Some(2), "not a whole reservation");
}
