//! Clients and upstreams that mean harm, or are only broken: what they send goes no further than it may, what they cost is bounded,
//! the log says what they did, and whoever shares the gateway with them does not notice.

mod support;

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Gate, Settlement};
use adce_core::spec::Pass;
use adce_core::time::Timestamp;
use adce_gateway::{Authority, Rules};
use support::upstream::*;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the log says on this thread, which is where everything runs in these tests.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || log.clone()).with_ansi(false).without_time().finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    #[track_caller]
    fn says(&self, what: &str) {
        let text = self.text();
        assert!(text.lines().any(|line| line.contains("WARN") && line.contains(what)), "`{what}` is not in the log:\n{text}");
    }
}

/// Another attempt, of the same gateway and source.
async fn somebody_else_is_served(setup: &Setup) {
    let other = AttemptId(Uuid::now_v7());
    let url = setup.gateway.admit(other, Pass::default()).unwrap().url;
    let token = url.rsplit('/').next().unwrap();
    let reply = setup.raw(&format!("GET /{token}/fine/x HTTP/1.1\r\nHost: g\r\n\r\n")).await;
    assert_eq!((reply.code(), reply.body.as_str()), (200, "fine"));
    setup.gateway.dismiss(other);
}

/// A gateway before an upstream of the test's own making, and another source that is fine.
async fn before_one_of_our_own() -> (TcpListener, Setup, Scripted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let fine = Scripted::start([("/x", ok("fine"), Then::ReadOn)]).await;
    let routes =
        vec![route("espn", &format!("http://{}", listener.local_addr().unwrap())), route("fine", &format!("http://{}", fine.address))];
    let setup = Setup::of(Rules { routes, ..Rules::default() }, Diary::new()).await;
    (listener, setup, fine)
}

/// What arrives at the upstream when a client sends this, until the gateway has nothing more to say.
async fn arrives(request: &str) -> (String, Reply) {
    let (listener, setup, _fine) = before_one_of_our_own().await;
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let seen = arrived.clone();
    let upstream = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = [0; 4_096];
            while let Ok(count @ 1..) = stream.read(&mut read).await {
                seen.lock().unwrap().extend_from_slice(&read[..count]);
                // Whoever believes in the shorter request has an answer for it.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    });
    let mut client = setup.dial().await;
    client.send(&request.replace("TOKEN", &setup.token)).await;
    let reply = client.reply().await;
    let _ = client.stream.shutdown().await;
    client.ended().await;
    somebody_else_is_served(&setup).await;
    setup.permits.assert_balanced();
    upstream.abort();
    let arrived = String::from_utf8(arrived.lock().unwrap().clone()).unwrap();
    (arrived, reply)
}

#[tokio::test]
async fn nobody_smuggles_a_second_request_in_the_body_of_a_first() {
    let smuggled = "0\r\n\r\nGET /espn/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = smuggled.len();
    let post = |headers: &str| format!("POST TOKEN/espn/a HTTP/1.1\r\nHost: g\r\n{headers}\r\n{smuggled}");
    let pairs = [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nContent-Length: 5\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: xchunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked, identity\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding : chunked\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding:\r\n chunked\r\n"),
        format!("Content-Length: {length}\r\nX: y\rTransfer-Encoding: chunked\r\n"),
        format!("Content-Length: +{length}\r\n"),
        format!("Content-Length: {length}, {length}\r\n"),
        format!("Connection: Content-Length\r\nContent-Length: {length}\r\n"),
    ];
    for headers in pairs {
        let (arrived, reply) = arrives(&post(&headers)).await;
        let heads: Vec<&str> = arrived.split("POST /a HTTP/1.1\r\n").collect();
        let lower = arrived.to_ascii_lowercase();
        match reply.code() {
            400 => assert_eq!(arrived, "", "{headers}: refused, and sent all the same"),
            200 => {
                assert_eq!(heads.len(), 2, "{headers}: {arrived}");
                let head = &lower[..lower.find("\r\n\r\n").unwrap()];
                let framings = [head.matches("content-length").count(), head.matches("transfer-encoding").count()];
                assert_eq!(framings.iter().sum::<usize>(), 1, "{headers}: one framing: {head}");
                // By chunks the body is empty and the rest is dropped with the connection; by its length it is the whole of it.
                let body = &arrived[arrived.find("\r\n\r\n").unwrap() + 4..];
                assert_eq!(body, if framings[0] == 1 { smuggled } else { "0\r\n\r\n" }, "{headers}");
            }
            code => panic!("{headers}: {code}"),
        }
    }
}

#[tokio::test]
async fn an_answer_says_once_where_it_ends() {
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let chunk = format!("{:x}\r\n{smuggled}\r\n0\r\n\r\n", smuggled.len());
    for headers in ["Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"] {
        let bytes = format!("HTTP/1.1 200 OK\r\n{headers}\r\n{chunk}").into_bytes();
        let upstream = Scripted::start([("/x", bytes, Then::ReadOn)]).await;
        let setup = Setup::before(&upstream).await;
        let mut client = setup.dial().await;
        client.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n", setup.token)).await;
        client.ended().await;
        let answer = String::from_utf8(std::mem::take(&mut client.read)).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        assert_eq!(body.to_ascii_lowercase(), chunk.to_ascii_lowercase());
    }
}

#[tokio::test]
async fn heads_without_end_are_refused_and_cost_a_bounded_buffer() {
    let log = Log::default();
    let _listening = log.listen();
    let (_listener, setup, _fine) = before_one_of_our_own().await;
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    let refused = [
        (format!("GET {}/espn/a HTTP/1.1\r\nHost: g\r\n{many}\r\n", setup.token), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: g\r\n\r\n", "x".repeat(100_000)), 414),
        ("GET /\u{1} HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("\r\n\r\nnonsense\r\n\r\n".to_owned(), 400),
    ];
    for (request, code) in refused {
        let reply = setup.raw(&request).await;
        assert_eq!(reply.code(), code, "{}", &request[..60.min(request.len())]);
    }
    log.says("a client sent what is no HTTP");
    // One line that never ends: whoever sends it is not read for ever.
    let mut client = setup.dial().await;
    let mut sent = 0_u64;
    client.send("GET / HTTP/1.1\r\nX: ").await;
    while client.stream.write_all(&[b'y'; 65_536]).await.is_ok() {
        sent += 65_536;
        assert!(sent < 64 << 20, "it is read without end");
    }
    somebody_else_is_served(&setup).await;
}

#[tokio::test]
async fn an_upstream_that_answers_with_garbage_is_a_502_and_its_request_counts() {
    let log = Log::default();
    let _listening = log.listen();
    let many: String = (0..500).map(|number| format!("X-{number}: y\r\n")).collect();
    let long = "y".repeat(1 << 20);
    let garbage = [
        "220 mail.example ESMTP\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n"),
        "\u{0}\u{0}\u{0}\u{0}\r\n\r\n".to_owned(),
    ];
    for answer in garbage {
        let (listener, setup, _fine) = before_one_of_our_own().await;
        let shown = answer.get(..40).unwrap_or(&answer).to_owned();
        let upstream = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4_096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
        assert_eq!(setup.get("/x").await.code(), 502, "{shown}");
        upstream.await.unwrap();
        assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW + LINGER)], "{shown}");
        somebody_else_is_served(&setup).await;
    }
    log.says("a request had no answer from its upstream");
}

#[tokio::test]
async fn bad_chunks_end_the_connection_on_which_they_came_and_the_one_on_which_they_went() {
    let log = Log::default();
    let _listening = log.listen();
    // From the upstream.
    let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n".to_vec();
    let upstream = Scripted::start([("/x", bytes, Then::Hang)]).await;
    let setup = Setup::before(&upstream).await;
    let mut client = setup.dial().await;
    client.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    client.ended().await;
    let answer = String::from_utf8_lossy(&client.read).into_owned();
    assert!(answer.contains("half") && !answer.contains("0\r\n\r\n"), "{answer}");
    log.says("an upstream broke off an answer");
    setup.permits.assert_balanced();

    // From the client: what has left counts, and nobody uses that connection again.
    let (listener, setup, _fine) = before_one_of_our_own().await;
    let mut client = setup.dial().await;
    client.send(&format!("POST {}/espn/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", setup.token)).await;
    let mut upstream = Client { stream: listener.accept().await.unwrap().0, read: Vec::new() };
    assert!(upstream.has_read("half").await);
    client.send("zz\r\n").await;
    upstream.ended().await;
    assert!(!String::from_utf8_lossy(&upstream.read).contains("0\r\n\r\n"), "half a body looks whole");
    setup.until("its permit is settled", |permits| permits.settlements().len() == 1).await;
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW + LINGER)]);
    somebody_else_is_served(&setup).await;
}

#[tokio::test]
async fn who_never_says_whose_it_is_makes_room_for_those_who_do() {
    let log = Log::default();
    let _listening = log.listen();
    let (_listener, setup, _fine) = before_one_of_our_own().await;
    let mut slow = Vec::new();
    for _ in 0..400 {
        let mut client = setup.dial().await;
        client.send("GET / HT").await;
        slow.push(client);
    }
    somebody_else_is_served(&setup).await;
    slow[0].ended().await;
    log.says("more connections wait without saying whose they are than may");
    // Whoever has said so is not among those who are pushed out, however long he says nothing more.
    let mut own = setup.dial().await;
    own.send(&format!("GET {}/fine/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    assert_eq!(own.reply().await.code(), 200);
    for _ in 0..300 {
        slow.push(setup.dial().await);
    }
    somebody_else_is_served(&setup).await;
    own.send(&format!("GET {}/fine/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    assert_eq!(own.reply().await.code(), 200);
}

#[tokio::test]
async fn an_upstream_that_says_a_byte_at_a_time_keeps_nobody_else_waiting() {
    let (listener, setup, _fine) = before_one_of_our_own().await;
    let mut client = setup.dial().await;
    client.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    let mut upstream = Client { stream: listener.accept().await.unwrap().0, read: Vec::new() };
    assert!(upstream.has_read("\r\n\r\n").await);
    for byte in "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".chars() {
        somebody_else_is_served(&setup).await;
        upstream.send(&byte.to_string()).await;
    }
    assert_eq!(client.reply().await.body, "abc");
}

#[tokio::test]
async fn garbage_where_tls_is_expected_goes_nowhere_on_either_side() {
    let log = Log::default();
    let _listening = log.listen();
    let upstream = Scripted::start([("/a", ok("a"), Then::ReadOn)]).await;
    let fine = Scripted::start([("/x", ok("fine"), Then::ReadOn)]).await;
    let folder = tempfile::tempdir().unwrap();
    let mut opened = route("espn", &format!("https://{}", upstream.address));
    opened.intercept = true;
    let authority = Some(Arc::new(Authority::open(folder.path(), Timestamp::now()).unwrap()));
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let no_tls = route("plain", &format!("https://{}", plain.local_addr().unwrap()));
    let routes = vec![opened, no_tls, route("fine", &format!("http://{}", fine.address))];
    let setup = Setup::of(Rules { routes, authority, ..Rules::default() }, Diary::new()).await;
    let mut client = setup.connect(&upstream.address.to_string()).await.unwrap();
    client.stream.write_all(b"\x16\x03\x01\xff\xff this is no handshake at all, and goes on for a while").await.unwrap();
    let _ = client.stream.shutdown().await;
    client.ended().await;
    log.says("a client broke off the TLS handshake with the gateway");
    let told = Event::Distrusted(upstream.address.ip().to_string());
    assert_eq!((upstream.paths().len(), setup.permits.events()), (0, vec![told]), "no permit was asked for");
    // An upstream that speaks no TLS, although its source is https.
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let reply = setup.raw(&format!("GET {}/plain/a HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    assert_eq!((reply.code(), setup.permits.settlements()), (502, vec![Settlement::Unsent]));
    somebody_else_is_served(&setup).await;
}

#[tokio::test]
async fn tunnels_to_forbidden_places_are_not_dug_however_they_are_named() {
    let log = Log::default();
    let _listening = log.listen();
    let (listener, setup, _fine) = before_one_of_our_own().await;
    let own = setup.gateway.port();
    let forbidden = [
        "169.254.169.254:80".to_owned(),
        "[fd00:ec2::254]:80".to_owned(),
        "[::ffff:169.254.169.254]:80".to_owned(),
        "2852039166:80".to_owned(),
        "0.0.0.0:80".to_owned(),
        format!("localhost:{own}"),
        format!("127.1:{own}"),
    ];
    for place in forbidden {
        let refused = setup.connect(&place).await.err().unwrap_or_else(|| panic!("{place}: a tunnel"));
        assert_eq!(refused.code(), 403, "{place}: {refused:?}");
    }
    for place in ["espn", "user@127.0.0.1:80", "127.0.0.1:99999"] {
        let refused = setup.connect(place).await.err().unwrap_or_else(|| panic!("{place}: a tunnel"));
        assert_eq!(refused.code(), 400, "{place}: {refused:?}");
    }
    log.says("a tunnel does not lead anywhere");
    // A tunnel to the gateway itself is the gateway, once.
    let mut inside = setup.connect(&format!("127.0.0.1:{own}")).await.unwrap();
    inside.send(&format!("GET http://{} HTTP/1.1\r\nHost: x\r\n\r\n", listener.local_addr().unwrap())).await;
    assert_eq!(inside.reply().await.code(), 407, "it is no way around its door");
    inside.send(&format!("CONNECT 127.0.0.1:{own} HTTP/1.1\r\nHost: x\r\n{}\r\n", setup.credentials())).await;
    assert!(inside.has_read("200 OK").await);
    inside.ended().await;
    somebody_else_is_served(&setup).await;
}

#[tokio::test]
async fn guesses_at_a_token_are_refused_and_said_once() {
    let log = Log::default();
    let _listening = log.listen();
    let (listener, setup, _fine) = before_one_of_our_own().await;
    let address = listener.local_addr().unwrap();
    for _ in 0..50 {
        let guess = "Proxy-Authorization: Basic YWRjZTowMTIzNDU2Nzg5YWJjZGVm\r\n";
        let reply = setup.raw(&format!("GET http://{address}/a HTTP/1.1\r\nHost: {address}\r\n{guess}\r\n")).await;
        assert_eq!(reply.code(), 407);
    }
    log.says("somebody came with the token of no running attempt");
    assert_eq!(log.text().matches("no running attempt").count(), 1, "{}", log.text());
    assert!(!log.text().contains("0123456789abcdef"), "what was guessed may be nearly right");
    assert_eq!(setup.permits.events(), []);
}

/// In either direction: nobody reads faster than the slowest. What is on its way is what the sockets' buffers hold.
#[tokio::test]
async fn a_body_without_end_is_never_held_here() {
    const WHOLE: u64 = 128 << 20;
    const UNDER_WAY: u64 = 24 << 20;
    for is_upload in [false, true] {
        let (listener, setup, _fine) = before_one_of_our_own().await;
        let mut client = setup.dial().await;
        let head = if is_upload {
            format!("POST {}/espn/x HTTP/1.1\r\nHost: g\r\nContent-Length: {WHOLE}\r\n\r\n", setup.token)
        } else {
            format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)
        };
        client.send(&head).await;
        let mut upstream = Client { stream: listener.accept().await.unwrap().0, read: Vec::new() };
        assert!(upstream.has_read("\r\n\r\n").await);
        if !is_upload {
            upstream.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\n\r\n")).await;
            assert!(client.has_read("\r\n\r\n").await);
        }
        let (from, to) = if is_upload { (client.stream, upstream.stream) } else { (upstream.stream, client.stream) };
        let sent = Arc::new(AtomicU64::new(0));
        let sending = tokio::spawn(pour(from, sent.clone(), WHOLE));
        let most = slowly(to, &sent, WHOLE).await;
        assert!(most < UNDER_WAY, "{most} bytes were under way at once");
        drop(sending.await.unwrap());
    }
}

async fn pour(mut to: TcpStream, sent: Arc<AtomicU64>, whole: u64) -> TcpStream {
    let block = vec![b'x'; 256 * 1024];
    while sent.load(Ordering::Relaxed) < whole {
        to.write_all(&block).await.unwrap();
        sent.fetch_add(block.len() as u64, Ordering::Relaxed);
    }
    to
}

/// Gives way to everybody else before each read; the most that was sent and not received at any of them.
async fn slowly(mut from: TcpStream, sent: &AtomicU64, whole: u64) -> u64 {
    let (mut received, mut most, mut block) = (0, 0, vec![0; 128 * 1024]);
    while received < whole {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        most = most.max(sent.load(Ordering::Relaxed).saturating_sub(received));
        let count = from.read(&mut block).await.unwrap() as u64;
        assert!(count > 0, "it ended too early");
        received += count;
    }
    most
}
