//! Real sockets on both sides: what is asked, what arrives upstream, what comes back, and every permit's fate.

mod support;

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Answer, Gate, RetryAfter, Settlement};
use adce_core::spec::Pass;
use support::upstream::*;
use support::*;

use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_request_arrives_as_it_was_sent_but_for_its_host_and_this_hop() {
    let reply = "HTTP/1.1 200 OK\r\nX-Answer: a\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok";
    let upstream = Scripted::start([("/v2/games/1?x=%20a&y", reply.into(), Then::ReadOn)]).await;
    let setup = Setup::with(&format!("http://{}/v2/", upstream.address), Diary::new()).await;
    let request = format!(
        "GET {}/espn/games/1?x=%20a&y HTTP/1.1\r\nHost: g\r\nX-MixedCase: Kept\r\nAuthorization: Bearer t\r\nUser-Agent: scraper\r\n\
         Connection: close-later, TE\r\nClose-Later: 1\r\nTE: trailers\r\nProxy-Authorization: x\r\n\r\n",
        setup.token
    );
    let reply = setup.raw(&request).await;
    assert_eq!((reply.code(), reply.body.as_str(), reply.header("X-Answer")), (200, "ok", Some("a")));
    assert!(
        reply.head.contains("X-Answer: a") && reply.header("keep-alive").is_none() && reply.header("x-hop").is_none(),
        "{}",
        reply.head
    );
    let head = upstream.head("/v2/games/1?x=%20a&y");
    let mut lines: Vec<&str> = head.trim_end().lines().skip(1).collect();
    lines.sort();
    assert_eq!(lines, ["Authorization: Bearer t", &format!("Host: {}", upstream.address), "User-Agent: scraper", "X-MixedCase: Kept"]);
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW)]);
    assert_eq!(setup.permits.answers(), [status(200)]);
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn nobody_without_a_token_gets_anywhere() {
    let upstream = Scripted::start([("/x", ok("x"), Then::ReadOn)]).await;
    let setup = Setup::before(&upstream).await;
    let token = setup.token.clone();
    let raw = async |line: &str| setup.raw(&format!("{line} HTTP/1.1\r\nHost: g\r\n\r\n")).await;
    let refused = async |line: &str, code: u16, told: &str| {
        let reply = raw(line).await;
        assert_eq!(reply.code(), code, "{line}: {reply:?}");
        assert!(reply.body.starts_with("adce gateway: ") && reply.body.contains(told), "{line}: {}", reply.body);
    };
    refused("GET /", 403, "token of a running attempt").await;
    refused("GET /0123456789abcdef/espn/x", 403, "use $ADCE_GATEWAY").await;
    refused(&format!("GET {token}0/espn/x"), 403, "token").await;
    refused(&format!("GET {token}/nba/x"), 404, "`nba` is no source with a base URL; declared are: `espn`").await;
    refused(&format!("GET {token}"), 404, "`espn`").await;
    refused(&format!("GET {token}/espn/a/%2e%2e/%2e%2e/x"), 400, "`..`").await;
    refused(&format!("GET http://{}/x", upstream.address), 407, "only running attempts").await;
    refused(&format!("CONNECT {}", upstream.address), 407, "only running attempts").await;
    assert_eq!((upstream.paths().len(), setup.permits.events()), (0, vec![]));
    assert_eq!(setup.get("/x").await.code(), 200);
}

#[tokio::test]
async fn bodies_stream_both_ways_while_both_are_still_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup::with(&format!("http://{}", listener.local_addr().unwrap()), Diary::new()).await;
    let mut client = setup.dial().await;
    client.send(&format!("POST {}/espn/up HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n", setup.token)).await;
    let mut upstream = Client { stream: listener.accept().await.unwrap().0, read: Vec::new() };
    assert!(upstream.has_read("first").await);
    client.send("6\r\nsecond\r\n").await;
    assert!(upstream.has_read("second").await);
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    assert!(client.has_read("one").await, "the answer waits for the end of the request");
    client.send("0\r\n\r\n").await;
    assert!(upstream.has_read("0\r\n\r\n").await);
    upstream.send("3\r\ntwo\r\n0\r\n\r\n").await;
    assert!(client.has_read("two\r\n0\r\n\r\n").await);
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn a_429_passes_with_its_retry_after_and_is_told_to_the_limits() {
    let upstream = Scripted::start([("/x", answer("429 Too Many Requests", "Retry-After: 3\r\n", "slow"), Then::ReadOn)]).await;
    let setup = Setup::before(&upstream).await;
    let reply = setup.get("/x").await;
    assert_eq!((reply.code(), reply.header("retry-after"), reply.body.as_str()), (429, Some("3"), "slow"));
    assert_eq!(setup.permits.answers(), [Answer::later(429, RetryAfter::Seconds(3))]);
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_a_stale_one_is_replaced() {
    let upstream = Scripted::start([
        ("/keep", ok("k"), Then::ReadOn),
        ("/last", ok("l"), Then::Close),
        ("/empty", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), Then::ReadOn),
        ("/chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nc\r\n0\r\n\r\n".to_vec(), Then::ReadOn),
    ])
    .await;
    let setup = Setup::before(&upstream).await;
    let mut client = setup.dial().await;
    for path in ["/keep", "/empty", "/last", "/keep", "/last", "/keep"] {
        client.send(&format!("GET {}/espn{path} HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
        assert!(matches!(client.reply().await.code(), 200 | 204), "{path}");
    }
    client.send(&format!("GET {}/espn/chunked HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    assert!(client.has_read("1\r\nc\r\n0\r\n\r\n").await);
    assert_eq!(setup.permits.settlements(), vec![Settlement::ArrivedBy(NOW); 7]);
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn a_head_request_has_no_body_but_its_length() {
    let upstream = Scripted::start([("/x", b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n".to_vec(), Then::ReadOn)]).await;
    let setup = Setup::before(&upstream).await;
    let mut client = setup.dial().await;
    for _ in 0..2 {
        client.send(&format!("HEAD {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
        assert!(client.has_read("\r\n\r\n").await);
        assert!(String::from_utf8_lossy(&client.read).to_lowercase().contains("content-length: 500"));
        client.read.clear();
    }
}

#[tokio::test]
async fn a_dead_upstream_is_a_502_and_its_permit_unsent() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let setup = Setup::with(&format!("http://{nobody}"), Diary::new()).await;
    let reply = setup.get("/x").await;
    assert_eq!(reply.code(), 502);
    assert!(reply.body.contains("`espn`") && reply.body.contains("refused"), "{}", reply.body);
    assert_eq!((setup.permits.settlements(), setup.permits.answers()), (vec![Settlement::Unsent], vec![Answer::NotReached]));
}

#[tokio::test]
async fn an_upstream_that_leaves_without_an_answer_is_a_502_and_its_request_counts() {
    let upstream = Scripted::start([("/x", Vec::new(), Then::Close)]).await;
    let setup = Setup::before(&upstream).await;
    assert_eq!(setup.get("/x").await.code(), 502);
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW + LINGER)]);
    assert_eq!(setup.permits.answers(), [Answer::NoAnswer]);
}

#[tokio::test]
async fn a_cut_body_is_cut_for_the_client_too() {
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_vec();
    let upstream = Scripted::start([("/x", bytes, Then::Close)]).await;
    let setup = Setup::before(&upstream).await;
    let mut client = setup.dial().await;
    client.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    assert!(client.has_read("half").await);
    client.ended().await;
    assert!(!String::from_utf8_lossy(&client.read).contains("0\r\n\r\n"), "half a body looks whole");
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW)]);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_request() {
    // Before its request could be sent.
    let waiting = Setup::with("http://127.0.0.1:1", Diary::closed()).await;
    let mut client = waiting.dial().await;
    client.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", waiting.token)).await;
    waiting.until("it waits for its permit", |permits| permits.waiting() == 1).await;
    drop(client);
    waiting.until("it waits no longer", |permits| permits.waiting() == 0).await;
    assert_eq!(waiting.permits.events(), []);

    // While its answer is awaited, and in the middle of it.
    for begun in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let setup = Setup::with(&format!("http://{}", listener.local_addr().unwrap()), Diary::new()).await;
        let mut client = setup.dial().await;
        client.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
        let mut upstream = Client { stream: listener.accept().await.unwrap().0, read: Vec::new() };
        assert!(upstream.has_read("\r\n\r\n").await);
        upstream.send(begun).await;
        assert!(begun.is_empty() || client.has_read("half").await);
        drop(client);
        upstream.ended().await;
        setup.until("its permit is settled", |permits| permits.settlements().len() == 1).await;
        let arrived = if begun.is_empty() { NOW + LINGER } else { NOW };
        assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(arrived)]);
        setup.permits.assert_balanced();
    }
}

/// As an enclosed command finds it: a socket that somebody else has made.
#[tokio::test]
async fn an_attempts_own_door_is_open_for_as_long_as_the_attempt_is_there() {
    let upstream = echo().await;
    let setup = Setup::before(&upstream).await;
    let own_door = || {
        let inside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        (inside.local_addr().unwrap(), inside.into())
    };
    let (address, inside) = own_door();
    setup.gateway.enclosed(setup.attempt, inside);
    let mut client = Client { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() };
    client.send(&format!("GET {}/espn/a HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    assert_eq!(client.reply().await.body, "a");

    setup.gateway.dismiss(setup.attempt);
    client.ended().await;
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, closed).await.expect("it closes");
    let (address, inside) = own_door();
    setup.gateway.enclosed(setup.attempt, inside);
    let never_opened = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(DEADLINE, never_opened).await.expect("for who was dismissed none opens");
}

#[tokio::test]
async fn a_dismissed_attempt_has_nothing_open_any_more() {
    let upstream = Scripted::start([("/x", Vec::new(), Then::Hang), ("/y", ok("y"), Then::ReadOn)]).await;
    let setup = Setup::before(&upstream).await;
    let other = setup.gateway.admit(AttemptId(Uuid::now_v7()), Pass::default()).unwrap().url;
    let mut idle = setup.dial().await;
    idle.send(&format!("GET {}/espn/y HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    assert_eq!(idle.reply().await.code(), 200);
    let mut hanging = setup.dial().await;
    hanging.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    upstream.is_asked_for("/x").await;

    setup.gateway.dismiss(setup.attempt);
    idle.ended().await;
    hanging.ended().await;
    setup.until("its permit is settled", |permits| permits.settlements().len() == 2).await;
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW), Settlement::ArrivedBy(NOW + LINGER)]);
    setup.permits.assert_balanced();
    assert_eq!(setup.get("/y").await.code(), 403);

    let token = other.rsplit('/').next().unwrap();
    assert_eq!(setup.raw(&format!("GET /{token}/espn/y HTTP/1.1\r\nHost: g\r\n\r\n")).await.code(), 200);
}

#[tokio::test]
async fn a_dropped_gateway_serves_nobody() {
    let upstream = Scripted::start([("/y", ok("y"), Then::ReadOn)]).await;
    let Setup { gateway, token, .. } = Setup::before(&upstream).await;
    let mut client = Client { stream: TcpStream::connect(("127.0.0.1", gateway.port())).await.unwrap(), read: Vec::new() };
    client.send(&format!("GET {token}/espn/y HTTP/1.1\r\nHost: g\r\n\r\n")).await;
    assert_eq!(client.reply().await.code(), 200);
    let port = gateway.port();
    drop(gateway);
    client.ended().await;
    // The door is shut on this thread, when its task is dropped.
    let is_shut = async {
        while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, is_shut).await.expect("somebody listens");
}

#[tokio::test]
async fn a_redirect_below_the_base_url_is_followed_through_the_gateway() {
    let upstream = Scripted::start([
        ("/v2/old", answer("302 Found", "Location: /v2/new\r\n", ""), Then::ReadOn),
        ("/v2/new", ok("new"), Then::ReadOn),
        ("/v2/away", answer("302 Found", "Location: https://elsewhere.example/x\r\n", ""), Then::ReadOn),
    ])
    .await;
    let setup = Setup::with(&format!("http://{}/v2", upstream.address), Diary::new()).await;
    let reply = setup.get("/old").await;
    let location = reply.header("location").unwrap();
    let below = location.strip_prefix(&format!("http://127.0.0.1:{}{}/espn", setup.gateway.port(), setup.token)).unwrap();
    assert_eq!(setup.get(below).await.body, "new");
    assert_eq!(setup.get("/away").await.header("location"), Some("https://elsewhere.example/x"));
    assert_eq!(setup.permits.settlements().len(), 3);
}

#[tokio::test]
async fn whoever_gives_up_on_an_upstream_that_hangs_had_no_answer() {
    for (waited, told) in [(10, vec![Answer::NoAnswer]), (9, vec![])] {
        let upstream = Scripted::start([("/x", Vec::new(), Then::Hang)]).await;
        let setup = Setup::before(&upstream).await;
        let mut client = setup.dial().await;
        client.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
        upstream.is_asked_for("/x").await;
        setup.clock.passes(waited);
        drop(client);
        setup.permits.until("its permit is settled", |permits| !permits.settlements().is_empty()).await;
        assert_eq!(setup.permits.answers(), told, "after {waited} s");
    }
}
