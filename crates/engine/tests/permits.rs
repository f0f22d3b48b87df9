//! Permits between attempts and the loop.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use adce_core::gap::{Failure, Fault};
use adce_core::ports::{Answer, Clock, HeldUp, PermitRefused, Report, Rest, RetryAfter, Settlement, Store};
use adce_core::time::{Boottime, SignedDuration};
use adce_engine::{Handle, Interrupt, Query, Snapshot};
use futures::FutureExt;
use futures::future::BoxFuture;
use support::{Notes, Place, Scene, until};
use tokio::sync::{mpsc, oneshot};

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
    let (mut scenes, script) = hands_over();
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

#[tokio::test]
async fn who_waits_for_its_own_limits_keeps_no_other_value_waiting() {
    let place = one_source("[ { in_flight: 9 }, { by: number, in_flight: 1 } ]", "      via: gateway\n");
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let (first, second) = (scenes.recv().await.unwrap(), scenes.recv().await.unwrap());
    let ask = |scene: &Scene| {
        let (permits, attempt) = (scene.permits.clone(), scene.order.attempt);
        async move { tokio::time::timeout(Duration::from_secs(20), permits.acquire(attempt, "up")).await.expect("it waits").unwrap() }
    };
    let (of_first, of_second) = (ask(&first.0).await, ask(&second.0).await);
    // The first one has one under way, and stands in line with its next, before the second.
    let mut next = Box::pin(ask(&first.0));
    assert!(futures::poll!(next.as_mut()).is_pending());
    until("it waits", async || snapshot(&running.handle).await.sources[0].asking == 1).await;
    second.0.permits.settle(of_second, NOW);
    let again = ask(&second.0).await;
    let values = snapshot(&running.handle).await.sources[0].values.clone().expect("they are told apart");
    assert_eq!((values.figures.by.as_str(), values.figures.known, values.figures.waiting), ("number", 2, 2));
    second.0.permits.settle(again, NOW);
    first.0.permits.settle(of_first, NOW);
    first.0.permits.settle(next.await, NOW);
    for (_, done) in [first, second] {
        done.send(()).unwrap();
    }
    scenes.recv().await.unwrap().1.send(()).unwrap();
    running.end().await.unwrap();
}

/// The engine's loop runs on the same thread as this test, and has no turn while the test does not wait.
#[tokio::test]
async fn a_permit_that_is_to_be_had_costs_its_sender_no_turn_of_the_loop() {
    let place = one_source("{ per_second: 64 }", "      via: gateway\n");
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let (first, second) = (scenes.recv().await.unwrap(), scenes.recv().await.unwrap());
    let ask = || first.0.permits.acquire(first.0.order.attempt, "up");
    // That of its start, and one that waits until the reservation is on disk.
    ask().await.unwrap();
    ask().await.unwrap();
    for _ in 0..10 {
        let permit = ask().now_or_never().expect("it had to wait").unwrap();
        first.0.permits.settle(permit, NOW);
    }
    first.1.send(()).unwrap();
    second.1.send(()).unwrap();
    scenes.recv().await.unwrap().1.send(()).unwrap();
    let ending = running.end().await.unwrap();
    assert_eq!(ending.snapshot.totals.requests, 12, "permits of starts that were not used come back");
}

/// One attempt at a time that hands itself over to the test, and ends when the test lets it.
fn hands_over() -> (mpsc::UnboundedReceiver<(Scene, oneshot::Sender<()>)>, impl Fn(Scene) -> BoxFuture<'static, Report> + Send + Sync) {
    let (to_test, scenes) = mpsc::unbounded_channel();
    let script = move |scene: Scene| {
        let (may_end, end) = oneshot::channel();
        let staged = scene.staged();
        to_test.send((scene, may_end)).unwrap();
        async move {
            end.await.unwrap();
            staged
        }
        .boxed()
    };
    (scenes, script)
}

#[tokio::test]
async fn an_attempt_is_held_up_while_a_limit_is_all_that_it_waits_for() {
    let place = one_source("{ per_minute: 1 }", "      via: gateway\n      batch: { size: 3 }\n");
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let (scene, may_end) = scenes.recv().await.unwrap();
    let ask = || scene.permits.acquire(scene.order.attempt, "up");
    let asking = async || snapshot(&running.handle).await.sources[0].asking;
    let first = ask().await.unwrap();
    let mut second = Box::pin(ask());
    assert!(futures::poll!(second.as_mut()).is_pending());
    until("it waits", async || asking().await == 1).await;
    assert_eq!(scene.stop.held_up(), HeldUp::default(), "its own request is under way");
    place.clock.advance(Duration::from_secs(7));
    let arrived = place.clock.now().boot;
    scene.permits.settle(first, Settlement::ArrivedBy(arrived));
    until("it is held up", async || scene.stop.held_up().since == Some(arrived)).await;
    place.clock.advance(Duration::from_secs(61));
    let second = second.await.unwrap();
    until("it goes on", async || scene.stop.held_up().since.is_none()).await;
    assert_eq!(scene.stop.held_up().so_far, Duration::from_secs(61));
    scene.permits.settle(second, NOW);
    may_end.send(()).unwrap();
    running.end().await.unwrap();
}

#[tokio::test]
async fn an_attempt_behind_a_pause_of_its_source_is_not_held_up_by_a_limit() {
    let mut place = one_source("{ per_minute: 10 }", "      via: gateway\n      batch: { size: 3 }\n");
    place.max_wait = Duration::from_secs(60);
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let (scene, may_end) = scenes.recv().await.unwrap();
    let first = scene.permits.acquire(scene.order.attempt, "up").await.unwrap();
    scene.permits.settle(first, NOW);
    let answer = Answer::later(429, RetryAfter::Seconds(30));
    scene.permits.answered(scene.order.attempt, "up", answer);
    let mut second = Box::pin(scene.permits.acquire(scene.order.attempt, "up"));
    assert!(futures::poll!(second.as_mut()).is_pending());
    until("it waits", async || snapshot(&running.handle).await.sources[0].asking == 1).await;
    assert_eq!(scene.stop.held_up(), HeldUp::default());
    drop(second);
    may_end.send(()).unwrap();
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_429_that_does_not_say_for_how_long_pauses_its_source_for_a_minute_and_the_next_one_for_two() {
    let mut place = one_source("{ per_minute: 10 }", "      via: gateway\n      batch: { size: 3 }\n");
    place.max_wait = Duration::from_secs(600);
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let (scene, may_end) = scenes.recv().await.unwrap();
    let ask = || Box::pin(scene.permits.acquire(scene.order.attempt, "up"));
    let refused = Answer::Status { code: 429, retry_after: None, quotas: Default::default() };
    let mut next = ask();
    for minutes in [1, 2] {
        let permit = next.await.unwrap();
        scene.permits.settle(permit, Settlement::ArrivedBy(place.clock.now().boot));
        scene.permits.answered(scene.order.attempt, "up", refused);
        next = ask();
        assert!(futures::poll!(next.as_mut()).is_pending());
        until("it waits", async || snapshot(&running.handle).await.sources[0].asking == 1).await;
        place.clock.advance(Duration::from_secs(minutes * 60 - 1));
        let source = snapshot(&running.handle).await.sources.swap_remove(0);
        assert!(source.asking == 1 && futures::poll!(next.as_mut()).is_pending(), "{minutes}: one second too early");
        place.clock.advance(Duration::from_secs(1));
    }
    scene.permits.settle(next.await.unwrap(), NOW);
    may_end.send(()).unwrap();
    running.end().await.unwrap();
}

/// Else each would wait for the other, and no timeout would ever part them.
#[tokio::test]
async fn two_attempts_that_hold_what_the_other_waits_for_are_not_held_up() {
    let place = Place::new(
        "sources:\n  up:\n    hosts: [up.example]\n    limits: { in_flight: 1 }\n  \
         down:\n    hosts: [down.example]\n    limits: { in_flight: 1 }\n\
         datasets:\n  one:\n    source: up\n    key: one/{number}.txt\n    for: number\n    collector:\n      \
         { command: [unused], via: gateway, batch: { size: 3 } }\n  \
         two:\n    source: down\n    key: two/{number}.txt\n    for: number\n    collector:\n      \
         { command: [unused], via: gateway, batch: { size: 3 } }\nengine: { max_concurrent: 2 }\n",
    );
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let (scene, may_end) = scenes.recv().await.unwrap();
        held.push((scene, may_end));
    }
    let other = |scene: &Scene| if scene.order.source.as_deref() == Some("up") { "down" } else { "up" };
    let mut waiting: Vec<_> = held.iter().map(|(scene, _)| scene.permits.acquire(scene.order.attempt, other(scene))).collect();
    for ask in &mut waiting {
        assert!(futures::poll!(ask.as_mut()).is_pending());
    }
    let asking = async || snapshot(&running.handle).await.sources.iter().map(|source| source.asking).sum::<u64>();
    until("both wait", async || asking().await == 2).await;
    for (scene, _) in &held {
        assert_eq!(scene.stop.held_up(), HeldUp::default());
    }
    drop(waiting);
    held.into_iter().for_each(|(_, may_end)| may_end.send(()).unwrap());
    running.end().await.unwrap();
}

#[tokio::test]
async fn a_wall_clock_that_jumps_lets_nothing_through_and_loses_nothing() {
    for hours in [365 * 24, -24] {
        let place = one_source("{ per_minute: 2 }", "      via: gateway\n");
        let clock = place.clock.clone();
        let jumps = move |scene: Scene| {
            let clock = clock.clone();
            async move {
                if scene.number == 0 {
                    clock.jump(SignedDuration::from_hours(hours));
                }
                send(&scene, 1).await;
                scene.staged()
            }
        };
        let running = place.run(jumps).await;
        until("two are collected", async || place.objects().len() == 2 && place.gaps().await.len() == 1).await;
        // Two answers of the loop: whatever it was woken for before has had its turn.
        snapshot(&running.handle).await;
        snapshot(&running.handle).await;
        assert_eq!(running.begun.load(Ordering::SeqCst), 2, "{hours} h: not a minute has passed");
        place.clock.advance(Duration::from_secs(61));
        let ending = running.end().await.unwrap();
        assert_eq!((place.objects().len(), place.gaps().await.len(), ending.cycle.complete), (3, 0, true), "{hours} h");
    }
}

#[tokio::test]
async fn who_has_a_share_set_aside_does_not_wait_behind_those_who_have_used_theirs() {
    let place = Place::new(
        "sources:\n  up:\n    hosts: [up.example]\n    limits: { per_minute: 4 }\n\
         datasets:\n  old:\n    source: up\n    key: old/{number}.txt\n    for: number\n    where: number == \"1\"\n    priority: low\n    \
         collector: slow\n  tonight:\n    source: up\n    key: tonight/{number}.txt\n    for: number\n    where: number == \"1\"\n    \
         priority: critical\n    collector: slow\ncollectors:\n  slow:\n    command: [unused]\n    via: gateway\n\
         engine: { max_concurrent: 2, reserve: { critical: 50% } }\n",
    );
    let go_on = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let gate = go_on.clone();
    let running = place
        .run(move |scene: Scene| {
            let gate = gate.clone();
            async move {
                if scene.order.items[0].key.starts_with("tonight") {
                    send(&scene, 1).await;
                    gate.acquire().await.unwrap().forget();
                    send(&scene, 1).await;
                } else {
                    send(&scene, 3).await;
                }
                scene.staged()
            }
        })
        .await;
    let handle = running.handle.clone();
    until("the old one waits for what is set aside for others", async || snapshot(&handle).await.sources[0].asking == 1).await;
    go_on.add_permits(1);
    until("tonight's is there", async || place.objects() == ["tonight/1.txt"]).await;
    place.clock.advance(Duration::from_secs(120));
    assert!(running.end().await.unwrap().cycle.complete);
}

/// Three tasks of each priority ask for some thousand permits of a source that gives one a second, the worst ones first.
#[tokio::test]
async fn a_thousand_waiters_are_served_in_the_order_of_their_tasks_and_one_by_one() {
    const PRIORITIES: [&str; 4] = ["low", "medium", "high", "critical"];
    const EACH: usize = 84;
    let datasets = PRIORITIES.map(|name| {
        format!("  {name}:\n    source: free\n    key: {name}/{{number}}.txt\n    for: number\n    priority: {name}\n    collector: many\n")
    });
    let place = Place::new(&format!(
        "sources:\n  free:\n    hosts: [free.example]\n  up:\n    hosts: [up.example]\n    limits: {{ per_second: 1 }}\n\
         datasets:\n{}collectors:\n  many:\n    command: [unused]\n    via: gateway\nengine: {{ max_concurrent: 12 }}\n",
        datasets.concat()
    ));
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let mut held = Vec::new();
    for _ in 0..12 {
        held.push(scenes.recv().await.unwrap());
    }
    let (key_of, rank_of) = (
        |scene: &Scene| scene.order.items[0].key.clone(),
        |key: &str| PRIORITIES.iter().rposition(|name| key.starts_with(name)).map(|place| 3 - place).unwrap(),
    );
    held.sort_by_key(|(scene, _)| (std::cmp::Reverse(rank_of(&key_of(scene))), key_of(scene)));
    // As long as this one is under way nobody else may be sent.
    let first = held[0].0.permits.acquire(held[0].0.order.attempt, "up").await.unwrap();
    let polls = std::sync::atomic::AtomicUsize::new(0);
    let mut waiting = futures::stream::FuturesUnordered::new();
    let mut given_up = Vec::new();
    for turn in 0..EACH {
        for (at, (scene, _)) in held.iter().enumerate() {
            let mut ask = scene.permits.acquire(scene.order.attempt, "up");
            if (turn + at) % 10 == 0 {
                assert!(futures::poll!(ask.as_mut()).is_pending());
                given_up.push(ask);
                continue;
            }
            let key = key_of(scene);
            let polls = &polls;
            waiting.push(async move {
                let permit = std::future::poll_fn(|cx| {
                    polls.fetch_add(1, Ordering::SeqCst);
                    ask.as_mut().poll(cx)
                });
                (key, turn, permit.await.unwrap())
            });
        }
    }
    let asking = async || snapshot(&running.handle).await.sources[1].asking as usize;
    assert!(futures::poll!(futures::StreamExt::next(&mut waiting)).is_pending());
    until("all wait", async || asking().await == 12 * EACH).await;
    drop(given_up);
    let mut expected: Vec<(String, usize)> = Vec::new();
    for (at, (scene, _)) in held.iter().enumerate() {
        expected.extend((0..EACH).filter(|turn| (turn + at) % 10 != 0).map(|turn| (key_of(scene), turn)));
    }
    expected.sort_by_key(|(key, turn)| (rank_of(key), key.clone(), *turn));
    let mut served = Vec::new();
    let mut last = first;
    for second in 0..expected.len() {
        held[0].0.permits.settle(last, Settlement::ArrivedBy(place.clock.now().boot));
        snapshot(&running.handle).await;
        place.clock.advance(Duration::from_micros(1_000_001));
        let next = tokio::time::timeout(Duration::from_secs(20), futures::StreamExt::next(&mut waiting));
        let (key, turn, permit) = next.await.unwrap_or_else(|_| panic!("nobody was served in second {second}")).unwrap();
        served.push((key, turn));
        last = permit;
        assert!(futures::poll!(futures::StreamExt::next(&mut waiting)).is_pending() || served.len() == expected.len(), "one a second");
    }
    assert!(served == expected, "{:?}", served.iter().zip(&expected).find(|(served, expected)| served != expected));
    assert_eq!(polls.load(Ordering::SeqCst), 2 * expected.len(), "each is woken once, with its permit");
    held[0].0.permits.settle(last, Settlement::ArrivedBy(place.clock.now().boot));
    drop(waiting);
    held.into_iter().for_each(|(_, may_end)| may_end.send(()).unwrap());
    running.end().await.unwrap();
}

/// Of a source whose breaker opens with the first failure, for ten minutes.
fn behind_a_breaker(collector: &str) -> Place {
    Place::new(&format!(
        "sources:\n  up:\n    hosts: [up.example]\n    limits: {{ per_minute: 60 }}\n    breaker: {{ failures: 1, cooldown: 10m }}\n\
         datasets:\n  web:\n    source: up\n    key: web/{{number}}.txt\n    for: number\n    collector:\n      {collector}\n\
         engine: {{ max_concurrent: 2 }}\n"
    ))
}

const FETCHED: &str = "http: { url: \"http://up.example/{number}\" }";
const SCRAPED: &str = "{ command: [unused], via: gateway, batch: { size: 3 } }";

fn gave_up(fault: Fault, message: &str) -> Report {
    let failure = Failure { fault, message: message.into(), retry_after_s: None };
    Report { ended: "scripted".into(), rest: Rest::Failed(failure), ..Report::default() }
}

/// Its one request is not answered.
async fn fails(scene: &Scene) -> Report {
    let permit = scene.permits.acquire(scene.order.attempt, "up").await.unwrap();
    scene.permits.settle(permit, NOW);
    scene.permits.answered(scene.order.attempt, "up", Answer::NoAnswer);
    gave_up(Fault::Source, "no answer")
}

/// Until the breaker was asked again, the second attempt kept its slot and its place among those in flight, and no run ended.
#[tokio::test]
async fn a_breaker_that_opens_between_pick_and_first_request_gives_the_attempt_back() {
    let place = behind_a_breaker(FETCHED);
    let opened = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let tasks = Notes::default();
    let noted = tasks.clone();
    let script = move |scene: Scene| {
        let (opened, noted) = (opened.clone(), noted.clone());
        async move {
            if scene.number == 0 {
                let report = fails(&scene).await;
                opened.add_permits(1);
                return report;
            }
            opened.acquire().await.unwrap().forget();
            noted.lock().unwrap().push(scene.order.task);
            match scene.permits.acquire(scene.order.attempt, "up").await {
                Err(PermitRefused::Shut(why)) => gave_up(Fault::Stopped, &why),
                other => panic!("{other:?}"),
            }
        }
    };
    let ending = place.run(script).await.end().await.unwrap();
    let (totals, gaps) = (ending.snapshot.totals, ending.snapshot.gaps);
    assert_eq!((totals.attempts, totals.failed, totals.requests), (1, 1, 1), "one attempt was made");
    assert_eq!((gaps.waiting, gaps.held), (1, 2), "its retry waits, and the breaker holds the others");
    let task = tasks.lock().unwrap()[0];
    let history = place.store.history(task).await.unwrap();
    let told = format!("{:?}", history.attempts[0].outcomes);
    assert!(told.contains("the breaker of `up` is open until") && told.contains("1 failure, the last: no answer"), "{told}");
    let untouched = place.store.load().await.unwrap().gaps.into_iter().filter(|gap| gap.progress == Default::default()).count();
    assert_eq!(untouched, 2);
}

#[tokio::test]
async fn asked_to_drain_adce_sends_no_first_request() {
    let place = behind_a_breaker(FETCHED);
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let mut held = vec![scenes.recv().await.unwrap(), scenes.recv().await.unwrap()];
    let (second, first) = (held.pop().unwrap(), held.pop().unwrap());
    let permit = first.0.permits.acquire(first.0.order.attempt, "up").await.unwrap();
    running.handle.interrupt(Interrupt::Drain);
    let refused = second.0.permits.acquire(second.0.order.attempt, "up").await;
    assert!(matches!(refused, Err(PermitRefused::Stopping)), "{refused:?}");
    first.0.permits.settle(permit, NOW);
    let again = first.0.permits.acquire(first.0.order.attempt, "up").await.expect("what has begun is finished");
    first.0.permits.settle(again, NOW);
    first.1.send(()).unwrap();
    second.1.send(()).unwrap();
    let ending = running.end().await.unwrap();
    assert_eq!((ending.interrupted, ending.snapshot.totals.requests), (true, 2));
}

#[tokio::test]
async fn commands_that_only_wait_for_a_source_are_told_to_end_when_nothing_else_is_left() {
    let place = behind_a_breaker(SCRAPED);
    let script = async |scene: Scene| {
        fails(&scene).await;
        match scene.permits.acquire(scene.order.attempt, "up").await {
            Err(PermitRefused::Shut(why)) => gave_up(Fault::Collector, &why),
            other => panic!("{other:?}"),
        }
    };
    let ending = place.run(script).await.end().await.unwrap();
    assert_eq!((ending.snapshot.totals.attempts, ending.snapshot.gaps.open()), (1, 3));
    let gaps = place.store.load().await.unwrap().gaps;
    assert!(gaps.iter().all(|gap| gap.progress.attempts == 0 && gap.progress.deferrals == 1), "{gaps:?}");
}

#[tokio::test]
async fn a_command_waits_for_a_source_as_long_as_the_run_waits_for_gaps_or_until_it_is_to_end() {
    let mut place = behind_a_breaker(SCRAPED);
    place.max_wait = Duration::from_secs(1_200);
    let (mut scenes, script) = hands_over();
    let running = place.run(script).await;
    let (scene, may_end) = scenes.recv().await.unwrap();
    fails(&scene).await;
    let mut second = Box::pin(scene.permits.acquire(scene.order.attempt, "up"));
    assert!(futures::poll!(second.as_mut()).is_pending());
    until("it waits", async || snapshot(&running.handle).await.sources[0].asking == 1).await;
    assert!(futures::poll!(second.as_mut()).is_pending());
    running.handle.interrupt(Interrupt::Drain);
    let refused = second.await;
    assert!(matches!(refused, Err(PermitRefused::Shut(_))), "{refused:?}");
    may_end.send(()).unwrap();
    assert!(running.end().await.unwrap().interrupted);
}
