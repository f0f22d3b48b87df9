//! HTTP/2 towards upstreams: real connections over TLS, an upstream that counts, and one that speaks frame by frame.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adce_core::ports::Settlement;
use adce_core::time::Timestamp;
use adce_gateway::{Authority, Rules, StandIn};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use support::two::*;
use support::upstream::*;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;

/// A gateway with one source that is this upstream.
async fn before(stand_in: StandIn) -> Arc<Setup> {
    let routes = vec![route("espn", "https://localhost")];
    Arc::new(Setup::of(Rules { routes, stand_in: Some(stand_in), ..Rules::default() }, Diary::new()).await)
}

/// So many requests at once; all are answered 200.
async fn at_once(setup: &Arc<Setup>, requests: usize) {
    let mut asking = JoinSet::new();
    for number in 0..requests {
        let setup = setup.clone();
        asking.spawn(async move { setup.get(&format!("/{number}")).await.code() });
    }
    assert_eq!(asking.join_all().await, vec![200; requests]);
}

async fn says_nothing(_: Request<Incoming>) -> Full<Bytes> {
    Full::default()
}

#[tokio::test]
async fn many_requests_share_one_connection_and_each_has_a_permit() {
    let all_are_there = Arc::new(Barrier::new(20));
    let (stand_in, seen) = upstream(100, move |_| {
        let all_are_there = all_are_there.clone();
        async move {
            all_are_there.wait().await;
            Full::from("x")
        }
    })
    .await;
    let setup = before(stand_in).await;
    at_once(&setup, 20).await;
    let figures = [&seen.connections, &seen.requests, &seen.most].map(|figure| figure.load(Ordering::SeqCst));
    assert_eq!((figures, arrived(&setup.permits)), ([1, 20, 20], 20));
    setup.permits.assert_balanced();
    assert!(seen.asked.lock().unwrap().contains(&"HTTP/2.0 https://localhost/7".to_owned()), "{:?}", seen.asked);
}

#[tokio::test]
async fn who_is_opened_on_the_way_is_asked_in_the_upstreams_protocol_too() {
    let (stand_in, seen) = upstream(100, async |_| Full::from("two")).await;
    let mut route = route("espn", "https://localhost");
    route.intercept = true;
    let folder = tempfile::tempdir().unwrap();
    let authority = Some(Arc::new(Authority::open(folder.path(), Timestamp::now()).unwrap()));
    let rules = Rules { routes: vec![route], authority, stand_in: Some(stand_in), ..Rules::default() };
    let setup = Setup::of(rules, Diary::new()).await;
    let shown = std::fs::read_to_string(folder.path().join("adce.pem")).unwrap();
    let client = setup.connect("localhost:443").await.unwrap();
    let mut client = client.secured("localhost", &shown).await.unwrap();
    for path in ["/a", "/b"] {
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, x\r\nX: 1\r\n\r\n")).await;
        let reply = client.reply().await;
        assert!(reply.head.starts_with("HTTP/1.1 200") && reply.body == "two", "{reply:?}");
    }
    assert_eq!(*seen.asked.lock().unwrap(), ["HTTP/2.0 https://localhost/a", "HTTP/2.0 https://localhost/b"]);
    assert_eq!((seen.connections.load(Ordering::SeqCst), arrived(&setup.permits)), (1, 2));
}

#[tokio::test]
async fn many_more_requests_than_an_upstream_takes_at_a_time_are_all_answered() {
    let (stand_in, seen) = upstream(3, async |_| {
        tokio::task::yield_now().await;
        Full::from("x")
    })
    .await;
    let setup = before(stand_in).await;
    for _ in 0..5 {
        at_once(&setup, 30).await;
    }
    let figures = [&seen.requests, &seen.most].map(|figure| figure.load(Ordering::SeqCst));
    assert_eq!((figures, arrived(&setup.permits)), ([150, 3], 150));
    assert!(seen.connections.load(Ordering::SeqCst) <= 10, "no more than are allowed, and a few that were closed");
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn one_request_too_many_for_a_connection_opens_another() {
    let (stand_in, mut next) = by_hand(2).await;
    let setup = before(stand_in).await;
    let asking = tokio::spawn({
        let setup = setup.clone();
        async move { at_once(&setup, 3).await }
    });
    let mut first = next().await;
    let (one, two) = (first.request().await, first.request().await);
    let mut second = tokio::time::timeout(DEADLINE, next()).await.expect("all three are on the first");
    let three = second.request().await;
    second.answer(three).await;
    first.answer(one).await;
    first.answer(two).await;
    asking.await.unwrap();
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn an_upstream_that_goes_away_in_mid_run_costs_no_request_and_no_permit() {
    let (stand_in, seen) = upstream(100, says_nothing).await;
    let setup = before(stand_in).await;
    let left = Arc::new(AtomicUsize::new(0));
    for round in 1..=20 {
        let (leaving, left) = (seen.clone(), left.clone());
        let goes_away = async move {
            // In the middle of the round, wherever that is.
            while leaving.requests.load(Ordering::SeqCst) < round * 25 - 12 {
                tokio::task::yield_now().await;
            }
            leaving.leaves.send_modify(|times| *times += 1);
            left.fetch_add(1, Ordering::SeqCst);
        };
        tokio::join!(goes_away, at_once(&setup, 25));
    }
    assert_eq!(left.load(Ordering::SeqCst), 20);
    assert!(seen.connections.load(Ordering::SeqCst) > 5, "it did leave");
    assert_eq!((seen.requests.load(Ordering::SeqCst), arrived(&setup.permits)), (500, 500));
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn what_an_upstream_did_nothing_with_is_sent_again_under_the_same_permit() {
    let (stand_in, mut next) = by_hand(100).await;
    let setup = before(stand_in).await;
    let asking = tokio::spawn({
        let setup = setup.clone();
        async move { at_once(&setup, 2).await }
    });
    let mut first = next().await;
    let (one, two) = (first.request().await, first.request().await);
    // It refuses the one, then goes away and has done nothing with what comes after it.
    first.reset(one, REFUSED_STREAM).await;
    let again = first.request().await;
    assert!(again > two);
    first.go_away(two).await;
    let mut second = next().await;
    let last = second.request().await;
    second.answer(last).await;
    first.answer(two).await;
    asking.await.unwrap();
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW); 2]);
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn what_may_have_been_done_is_not_sent_again_and_counts() {
    let (stand_in, mut next) = by_hand(100).await;
    let setup = before(stand_in).await;
    let asking = tokio::spawn({
        let setup = setup.clone();
        async move { setup.get("/a").await }
    });
    let mut first = next().await;
    let asked = first.request().await;
    // It goes away, and would have answered this one.
    first.go_away(asked).await;
    drop(first);
    assert_eq!(asking.await.unwrap().code(), 502);
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW + LINGER)]);
}

#[tokio::test]
async fn a_refused_body_is_gone_and_its_permit_unsent() {
    let (stand_in, mut next) = by_hand(100).await;
    let setup = before(stand_in).await;
    let asking = tokio::spawn({
        let setup = setup.clone();
        let request = format!("POST {}/espn/a HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\n\r\nbody", setup.token);
        async move { setup.raw(&request).await }
    });
    let mut first = next().await;
    let asked = first.request().await;
    first.reset(asked, REFUSED_STREAM).await;
    assert_eq!(asking.await.unwrap().code(), 502);
    assert_eq!(setup.permits.settlements(), [Settlement::Unsent]);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along_and_nobody_elses() {
    let (stand_in, mut next) = by_hand(100).await;
    let setup = before(stand_in).await;
    let mut leaving = setup.dial().await;
    leaving.send(&format!("GET {}/espn/a HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    let staying = tokio::spawn({
        let setup = setup.clone();
        async move { setup.get("/b").await.code() }
    });
    let mut first = next().await;
    let asked = [first.request().await, first.request().await];
    drop(leaving);
    let (left, reason) = first.next(RST_STREAM).await;
    assert!(asked.contains(&left) && reason == CANCEL.to_be_bytes(), "{left} of {asked:?}: {reason:?}");
    setup.until("the permit of who left is settled", |permits| permits.settlements().len() == 1).await;
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW + LINGER)]);
    first.answer(asked.into_iter().find(|other| *other != left).unwrap()).await;
    assert_eq!(staying.await.unwrap(), 200);
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn who_wants_another_protocol_and_whom_the_upstream_asks_for_the_older_one_get_it() {
    let (stand_in, seen) = upstream(100, says_nothing).await;
    let setup = before(stand_in).await;
    assert_eq!(setup.get("/a").await.code(), 200);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    let reply = setup.raw(&format!("GET {}/espn/b HTTP/1.1\r\nHost: g\r\n{upgrade}\r\n", setup.token)).await;
    assert_eq!(reply.code(), 200);
    assert_eq!(*seen.asked.lock().unwrap(), ["HTTP/2.0 https://localhost/a", "HTTP/1.1 /b Host localhost"]);

    let (stand_in, mut next) = by_hand(100).await;
    let setup = before(stand_in).await;
    let ask = |path: &'static str| {
        let setup = setup.clone();
        tokio::spawn(async move { setup.get(path).await.code() })
    };
    let asking = ask("/a");
    let mut first = next().await;
    let asked = first.request().await;
    first.reset(asked, HTTP_1_1_REQUIRED).await;
    let mut second = next().await;
    assert!(second.answer_older().await.starts_with("GET /a HTTP/1.1\r\n"));
    assert_eq!(asking.await.unwrap(), 200);
    let asking = ask("/b");
    assert!(second.answer_older().await.starts_with("GET /b HTTP/1.1\r\n"));
    assert_eq!(asking.await.unwrap(), 200);
    // What upstream would not answer by HTTP/2 came to it all the same.
    let expected = [NOW + LINGER, NOW, NOW].map(Settlement::ArrivedBy);
    assert_eq!(setup.permits.settlements(), expected);
}

#[tokio::test]
async fn an_upstream_that_does_not_let_anybody_in_is_tried_once_for_all_who_wait() {
    let (stand_in, door) = silent().await;
    let setup = before(stand_in).await;
    let mut asking = JoinSet::new();
    for _ in 0..20 {
        let setup = setup.clone();
        asking.spawn(async move { setup.get("/a").await.code() });
    }
    let (first, _) = door.accept().await.unwrap();
    let acquired = |permits: &Diary| permits.events().iter().filter(|event| matches!(event, Event::Acquired(_))).count();
    setup.until("all wait", |permits| acquired(permits) == 20).await;
    drop(first);
    // A second connection would wait for ever.
    assert_eq!(asking.join_all().await, [502; 20]);
    assert_eq!(setup.permits.settlements(), [Settlement::Unsent; 20]);
}

#[tokio::test]
async fn the_permit_of_a_request_that_was_given_up_counts_until_nothing_of_it_is_left_here() {
    let (stand_in, mut next) = by_hand(100).await;
    let setup = before(stand_in).await;
    let mut uploading = setup.dial().await;
    uploading.send(&format!("POST {}/espn/a HTTP/1.1\r\nHost: g\r\nContent-Length: {ENDLESS}\r\n\r\n", setup.token)).await;
    let mut first = next().await;
    first.has_room_for_everything().await;
    let upload = first.request().await;
    // The upstream reads no more, until nothing leaves any more.
    fill(&mut uploading).await;
    let mut leaving = setup.dial().await;
    leaving.send(&format!("GET {}/espn/b HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    setup.until("it has its permit", |permits| permits.events().len() == 2).await;
    drop(leaving);
    // Whoever comes after him is seen after him.
    for _ in 0..3 {
        assert_eq!(setup.raw("GET /nobody/espn/a HTTP/1.1\r\nHost: g\r\n\r\n").await.code(), 403);
    }
    setup.clock.passes(100);
    let given_up = first.next(RST_STREAM).await.0;
    assert!(given_up > upload);
    setup.until("it is settled", |permits| permits.settlements().len() == 1).await;
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW + Duration::from_secs(100) + LINGER)]);
}

/// Sends of a body what is taken at once, or soon; how much that was.
async fn fill(client: &mut Client) -> usize {
    const SOON: Duration = Duration::from_millis(500);
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(SOON, client.stream.write(&[7; 1 << 16])).await {
        sent += written.unwrap();
    }
    sent
}

/// More than any window and buffer on the way.
const ENDLESS: usize = 64 << 20;

#[tokio::test]
async fn clients_that_do_not_read_hold_up_their_own_answers_alone() {
    let endless = Bytes::from(vec![7; ENDLESS]);
    let (stand_in, seen) = upstream(100, move |request: Request<Incoming>| {
        let is_short = request.uri().path() == "/short";
        std::future::ready(Full::from(if is_short { Bytes::from("x") } else { endless.clone() }))
    })
    .await;
    let setup = before(stand_in).await;
    let mut slow = Vec::new();
    for _ in 0..31 {
        let mut client = setup.dial().await;
        client.send(&format!("GET {}/espn/long HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
        assert!(client.has_read("\r\n\r\n").await);
        slow.push(client);
    }
    for _ in 0..50 {
        assert_eq!(setup.get("/short").await.body, "x");
    }
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
    // What was held back is all there.
    let mut read = slow[0].read.len() - slow[0].read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() - 4;
    let mut bytes = vec![0; 1 << 20];
    while read < ENDLESS {
        let more = tokio::time::timeout(DEADLINE, slow[0].stream.read(&mut bytes)).await.unwrap().unwrap();
        assert!(more > 0, "cut after {read}");
        read += more;
    }
    assert_eq!(read, ENDLESS);
}

#[tokio::test]
async fn an_upstream_that_does_not_read_keeps_its_client_waiting() {
    let reads = Arc::new(Semaphore::new(0));
    let may_read = reads.clone();
    let (stand_in, _) = upstream(100, move |request: Request<Incoming>| {
        let may_read = may_read.clone();
        async move {
            let _ = may_read.acquire().await.unwrap();
            Full::from(request.into_body().collect().await.unwrap().to_bytes().len().to_string())
        }
    })
    .await;
    let setup = before(stand_in).await;
    let mut client = setup.dial().await;
    client.send(&format!("POST {}/espn/a HTTP/1.1\r\nHost: g\r\nContent-Length: {ENDLESS}\r\n\r\n", setup.token)).await;
    let mut sent = fill(&mut client).await;
    assert!(sent < ENDLESS / 2, "{sent} bytes are somewhere on the way");
    reads.add_permits(1);
    while sent < ENDLESS {
        sent += client.stream.write(&[7; 1 << 16][..(1 << 16).min(ENDLESS - sent)]).await.unwrap();
    }
    assert_eq!(client.reply().await.body, ENDLESS.to_string());
}
