//! Answers that are kept and asked about: real connections, an upstream that knows what it has, and files on a disk.

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adce_core::pacing::Pacing;
use adce_core::ports::Settlement;
use adce_core::spec::Cache;
use adce_gateway::{Answers, Rules};
use support::hand_clock::HandClock;
use support::upstream::*;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request with what `answer` makes of its head.
struct Knowing {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Knowing {
    async fn start(answer: impl Fn(&str) -> String + Clone + Send + Sync + 'static) -> Knowing {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let knowing = Knowing { url: format!("http://{}", listener.local_addr().unwrap()), heads: Arc::default() };
        let heads = knowing.heads.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (heads, answer) = (heads.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    while stream.read_buf(&mut read).await.is_ok_and(|bytes| bytes > 0) {
                        if read.ends_with(b"\r\n\r\n") {
                            let head = String::from_utf8(std::mem::take(&mut read)).unwrap().to_ascii_lowercase();
                            let reply = answer(&head);
                            heads.lock().unwrap().push(head);
                            stream.write_all(reply.as_bytes()).await.unwrap();
                            if reply.contains("connection: close") {
                                return;
                            }
                        }
                    }
                });
            }
        });
        knowing
    }

    /// What was said last of this header.
    fn last(&self, name: &str) -> Option<String> {
        let heads = self.heads.lock().unwrap();
        let mut lines = heads.last().unwrap().lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    }

    fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

fn whole(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

fn unchanged(headers: &str) -> String {
    format!("HTTP/1.1 304 Not Modified\r\n{headers}\r\n")
}

const KEEPS: Cache = Cache { validators: true, not_modified_is_free: false };

async fn before(upstream: &Knowing, folder: &Path, cache: Cache) -> Setup {
    let mut route = route("espn", &upstream.url);
    route.cache = cache;
    let kept = Arc::new(Answers::open(folder, 1 << 20).unwrap());
    Setup::of(Rules { routes: vec![route], kept: Some(kept), ..Rules::default() }, Diary::new()).await
}

/// Returns when an answer is kept that holds this text.
async fn kept(folder: &Path, text: &str) {
    let is_there = || {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut whole = files.filter(|file| file.extension().is_none());
        whole.any(|file| std::fs::read(file).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)))
    };
    let waiting = async {
        while !is_there() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("`{text}` was never kept"));
}

/// How many answers are kept once nothing is half written: what is left out is taken away beside the answer that the client has.
async fn kept_at_rest(folder: &Path) -> usize {
    let files = || std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let waiting = async {
        while files().iter().any(|file| file.extension().is_some()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("nothing stays half written");
    files().len()
}

/// Says `304` to whoever has `"1"`.
fn has_one(head: &str) -> String {
    match head.contains("if-none-match: \"1\"\r\n") {
        true => unchanged("ETag: \"1\"\r\nX-Now: later\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"),
        false => whole("ETag: \"1\"\r\nContent-Type: text/plain\r\nX-Now: first\r\nSet-Cookie: secret=1\r\n", "a body"),
    }
}

#[tokio::test]
async fn what_upstream_still_has_is_asked_about_and_given_again_also_after_a_restart() {
    let (upstream, folder) = (Knowing::start(has_one).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), KEEPS).await;
    let first = setup.get("/x").await;
    assert_eq!((first.code(), first.body.as_str(), first.header("set-cookie")), (200, "a body", Some("secret=1")));
    kept(folder.path(), "a body").await;
    for setup in [&setup, &before(&upstream, folder.path(), KEEPS).await] {
        let asked = upstream.asked();
        let again = setup.get("/x").await;
        assert_eq!((again.code(), again.body.as_str()), (200, "a body"), "{again:?}");
        assert_eq!((upstream.last("if-none-match").as_deref(), upstream.asked()), (Some("\"1\""), asked + 1));
        let headers = ["content-type", "etag", "x-now", "date", "content-length", "set-cookie"].map(|name| again.header(name));
        let expected = [Some("text/plain"), Some("\"1\""), Some("later"), Some("Sun, 06 Nov 1994 08:49:37 GMT"), Some("6"), None];
        assert_eq!(headers, expected, "{again:?}");
        setup.permits.assert_balanced();
    }
    // A request costs what it costs, whatever the answer.
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW); 2]);
    assert_eq!(setup.permits.answers(), [status(200), status(304)]);
    let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    assert!(files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).all(|text| !text.contains("secret")));
}

#[tokio::test]
async fn what_upstream_does_not_count_gives_its_permit_back() {
    let (upstream, folder) = (Knowing::start(has_one).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), Cache { not_modified_is_free: true, ..KEEPS }).await;
    setup.get("/x").await;
    kept(folder.path(), "a body").await;
    assert_eq!(setup.get("/x").await.body, "a body");
    assert_eq!(setup.permits.settlements(), [Settlement::ArrivedBy(NOW), Settlement::Unsent]);
}

#[tokio::test]
async fn what_changed_takes_the_place_of_what_was_kept() {
    let answer = |head: &str| match head {
        head if head.contains("if-none-match: \"2\"") => unchanged(""),
        head if head.contains("if-none-match") => whole("ETag: \"2\"\r\n", "the second"),
        _ => whole("ETag: \"1\"\r\n", "the first"),
    };
    let (upstream, folder) = (Knowing::start(answer).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), KEEPS).await;
    for (body, kept_body) in [("the first", "the first"), ("the second", "the second"), ("the second", "the second")] {
        assert_eq!(setup.get("/x").await.body, body);
        kept(folder.path(), kept_body).await;
    }
    assert_eq!(upstream.asked(), 3);
}

#[tokio::test]
async fn nobody_is_given_what_was_answered_to_another() {
    let (upstream, folder) = (Knowing::start(has_one).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), KEEPS).await;
    let ask = async |headers: &str| {
        setup.raw(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n{headers}\r\n", setup.token)).await;
        upstream.last("if-none-match").is_some()
    };
    assert!(!ask("Authorization: Bearer a\r\n").await);
    kept(folder.path(), "a body").await;
    for other in ["", "Authorization: Bearer b\r\n", "Cookie: id=1\r\n", "X-Api-Key: a\r\n", "Authorization: Bearer a\r\nCookie: id=1\r\n"]
    {
        assert!(!ask(other).await, "{other}");
    }
    assert!(ask("Authorization: Bearer a\r\nUser-Agent: another\r\n").await);
}

#[tokio::test]
async fn what_is_not_to_be_kept_or_differs_by_everything_is_asked_for_each_time() {
    let answer = |head: &str| match head {
        head if head.starts_with("get /no-store ") => whole("ETag: \"1\"\r\nCache-Control: private, no-store\r\n", "a body"),
        head if head.starts_with("get /star ") => whole("ETag: \"1\"\r\nVary: Accept, *\r\n", "a body"),
        head if head.starts_with("get /none ") => whole("", "a body"),
        head if head.starts_with("get /unframed ") => "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nconnection: close\r\n\r\na body".into(),
        head if head.starts_with("get /cut ") => {
            "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 99\r\nconnection: close\r\n\r\na body".into()
        }
        head if head.starts_with("get /vary ") => whole("ETag: \"1\"\r\nVary: Accept-Language\r\n", "a body"),
        _ => has_one(head),
    };
    let (upstream, folder) = (Knowing::start(answer).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), KEEPS).await;
    let ask = async |path: &str, headers: &str| {
        let mut client = setup.dial().await;
        client.send(&format!("GET {}/espn{path} HTTP/1.1\r\nHost: g\r\n{headers}\r\n", setup.token)).await;
        assert!(client.has_read("a body").await, "{path}");
        upstream.last("if-none-match").is_some()
    };
    for path in ["/no-store", "/star", "/none", "/unframed", "/cut"] {
        assert!(!ask(path, "").await && !ask(path, "").await, "{path}");
    }
    // What is written at all is written by now: this one came after them.
    assert!(!ask("/vary", "Accept-Language: de\r\n").await);
    kept(folder.path(), "a body").await;
    assert_eq!(kept_at_rest(folder.path()).await, 1);
    assert!(!ask("/vary", "Accept-Language: en\r\n").await);
}

#[tokio::test]
async fn who_asks_for_news_himself_or_for_a_part_is_answered_by_upstream() {
    let answer = |head: &str| match head.contains("range: bytes=0-1") {
        true => "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/6\r\nContent-Length: 2\r\n\r\na ".into(),
        false => has_one(head),
    };
    let (upstream, folder) = (Knowing::start(answer).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), KEEPS).await;
    setup.get("/x").await;
    kept(folder.path(), "a body").await;
    let ask = async |headers: &str| setup.raw(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n{headers}\r\n", setup.token)).await;
    let reply = ask("If-None-Match: \"1\"\r\n").await;
    assert_eq!((reply.code(), reply.body.as_str()), (304, ""));
    let reply = ask("If-None-Match: \"other\"\r\n").await;
    assert_eq!((reply.code(), reply.body.as_str()), (200, "a body"));
    let reply = ask("Range: bytes=0-1\r\n").await;
    assert_eq!((reply.code(), reply.body.as_str(), upstream.last("if-none-match")), (206, "a ", None));
}

#[tokio::test]
async fn what_was_damaged_on_the_disk_is_asked_for_anew() {
    let (upstream, folder) = (Knowing::start(has_one).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), KEEPS).await;
    setup.get("/x").await;
    kept(folder.path(), "a body").await;
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[1..]).unwrap();
    assert_eq!((setup.get("/x").await.body.as_str(), upstream.last("if-none-match")), ("a body", None));
}

#[tokio::test]
async fn a_304_of_something_else_is_believed_by_nobody() {
    // It says of whatever it is asked that this is unchanged, and names another one.
    let answer = |head: &str| match head.contains("if-none-match") {
        true => unchanged("ETag: \"9\"\r\n"),
        false => whole("ETag: \"1\"\r\n", "a body"),
    };
    let (upstream, folder) = (Knowing::start(answer).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), KEEPS).await;
    setup.get("/x").await;
    kept(folder.path(), "a body").await;
    let reply = setup.get("/x").await;
    assert_eq!((reply.code(), reply.body.as_str(), upstream.last("if-none-match")), (200, "a body", None));
    assert_eq!((upstream.asked(), arrived(&setup.permits)), (3, 3), "each of them is a request");
}

#[tokio::test]
async fn a_source_without_a_cache_is_asked_as_its_clients_ask() {
    let (upstream, folder) = (Knowing::start(has_one).await, tempfile::tempdir().unwrap());
    let setup = before(&upstream, folder.path(), Cache::default()).await;
    for _ in 0..2 {
        assert_eq!((setup.get("/x").await.body.as_str(), upstream.last("if-none-match")), ("a body", None));
    }
    assert_eq!(kept_at_rest(folder.path()).await, 0);
}

#[tokio::test]
async fn what_its_client_did_not_wait_for_is_not_kept_although_upstream_has_sent_all_of_it() {
    let (upstream, folder, clock) = (Knowing::start(has_one).await, tempfile::tempdir().unwrap(), HandClock::new());
    let mut route = route("espn", &upstream.url);
    route.cache = KEEPS;
    let kept_here = Arc::new(Answers::open(folder.path(), 1 << 20).unwrap());
    // One byte in a tenth of a second.
    let pacing = Some(Pacing::new([("espn".into(), Some(10))], None, clock.clone()));
    let setup = Setup::of(Rules { routes: vec![route], kept: Some(kept_here), pacing, ..Rules::default() }, Diary::new()).await;
    let mut leaves = setup.dial().await;
    leaves.send(&format!("GET {}/espn/x HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    clock.pass_when_somebody_sleeps_briefly(Duration::from_millis(100)).await;
    assert!(leaves.has_read("\r\n\r\na").await);
    drop(leaves);
    let passing = async {
        loop {
            clock.pass_when_somebody_sleeps_briefly(Duration::from_millis(100)).await;
        }
    };
    let others = async {
        setup.get("/y").await;
        kept(folder.path(), "a body").await;
        assert_eq!(setup.get("/x").await.body, "a body");
    };
    tokio::select! {
        () = others => {}
        () = passing => unreachable!(),
    }
}
