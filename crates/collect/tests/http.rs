//! Real sockets with every bad kind of upstream behind them: a file is whole or not there, and no permit is lost.

mod support;
#[path = "support/upstream.rs"]
mod upstream;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use adce_collect::{Collectors, Upstream};
use adce_core::gap::{Failure, Fault};
use adce_core::pacing::Pacing;
use adce_core::ports::{Answer, Clock, Collect, Order, Report, Rest, RetryAfter, Said, Settlement, Stop, Told};
use adce_core::spec::template::{Purpose, Template};
use adce_core::spec::{Compression, How, Http, Secretive};
use adce_core::time::Boottime;
use support::*;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use upstream::*;

const LINGER: Duration = Duration::from_secs(1);

struct Attempt {
    folder: TempDir,
    order: Order,
    http: Http,
    clock: Arc<HandClock>,
    permits: Arc<Diary>,
    hosts: Vec<String>,
    pacing: Option<Arc<Pacing>>,
    told: std::sync::Mutex<Vec<Told>>,
}

impl Attempt {
    /// One item a URL, with keys `0`, `1`, ….
    fn on(urls: &[String]) -> Self {
        let folder = TempDir::new().unwrap();
        let http = Http { url: Template::parse("http://h/", Purpose::Url).unwrap(), headers: Vec::new(), compress: None };
        let items = urls.iter().enumerate().map(|(at, url)| {
            let mut item = item(&at.to_string());
            item.url = Some(url.clone());
            item
        });
        let order = order(collector(How::Http(http.clone())), folder.path(), items.collect());
        Attempt {
            folder,
            order,
            http,
            clock: HandClock::new(),
            permits: Diary::new(),
            hosts: vec!["127.0.0.1".into()],
            pacing: None,
            told: Default::default(),
        }
    }

    async fn run(&self) -> Report {
        self.run_until(never()).await
    }

    async fn run_until(&self, stop: Stop) -> Report {
        let mut order = self.order.clone();
        let mut collector = (*order.collector).clone();
        collector.how = How::Http(self.http.clone());
        order.collector = Arc::new(collector);
        let upstream = Upstream { name: "espn".into(), hosts: self.hosts.clone(), linger: LINGER, cache: Default::default() };
        let mut setting = setting();
        setting.environment.push(("API_KEY".into(), "hunter2".into()));
        let collectors = Collectors::new(setting, vec![upstream], self.permits.clone(), self.clock.clone());
        let collectors = self.pacing.clone().into_iter().fold(collectors, Collectors::with_pacing);
        let note = |told| self.told.lock().unwrap().push(told);
        let attempt = collectors.collect(order, &note, stop);
        let report = tokio::time::timeout(Duration::from_secs(60), attempt).await.expect("the attempt hangs");
        self.permits.assert_balanced();
        assert!(!self.told.lock().unwrap().iter().any(|told| matches!(told, Told::Started(_))), "http starts no process");
        for (item, at) in self.order.items.iter().zip(0..) {
            let staged = matches!(said(&report, &at.to_string()), Some(Said::Staged(_)));
            assert_eq!(self.order.staged_path(item).exists(), staged, "a file that was not reported, or none that was");
        }
        report
    }

    /// From `begin` on, as much time passes as somebody sleeps for, again and again.
    async fn run_while_time_passes(&self, begin: impl Future<Output = ()>) -> Report {
        let passing = async {
            begin.await;
            loop {
                self.clock.pass_when_somebody_sleeps(None).await;
            }
        };
        tokio::select! {
            report = self.run() => report,
            () = passing => unreachable!(),
        }
    }
}

/// One attempt on one path of an upstream that answers so.
async fn fetch_one(bytes: Vec<u8>, then: Then) -> (Attempt, Report) {
    let upstream = Scripted::start([("/x", bytes, then)]).await;
    let attempt = Attempt::on(&[upstream.url("/x")]);
    let report = attempt.run().await;
    (attempt, report)
}

fn failure(report: &Report) -> &Failure {
    match said(report, "0") {
        Some(Said::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

fn now() -> Boottime {
    HandClock::new().now().boot
}

#[tokio::test]
async fn a_body_is_kept_as_it_was_sent_and_its_request_had_a_permit() {
    let upstream = Scripted::start([("/x?event=1", ok("{}"), Then::ReadOn)]).await;
    let mut attempt = Attempt::on(&[upstream.url("/x?event=1")]);
    attempt.http.headers =
        vec![("X-Key".into(), Secretive::Variable("API_KEY".into())), ("Accept".into(), Secretive::Plain("text/x".into()))];
    let report = attempt.run().await;
    assert_eq!(staged_text(&report, "0"), "{}");
    assert_eq!((report.ended.as_str(), report.requests), ("http 200", 1));
    let head = upstream.head("/x?event=1").to_lowercase();
    for line in ["x-key: hunter2", "accept: text/x", "accept-encoding: identity", &format!("host: {}", upstream.address)] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} is not in {head}");
    }
    assert_eq!(attempt.permits.settlements(), [Settlement::ArrivedBy(now())]);
    assert_eq!(attempt.permits.answers(), [status(200)]);
}

#[tokio::test]
async fn a_long_body_is_streamed_whole_and_may_be_packed() {
    let body: String = (0..400_000).map(|number| format!("{number:09}\n")).collect();
    let chunks: String =
        body.as_bytes().chunks(70_001).map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))).collect();
    let bytes = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n").into_bytes();
    let upstream = Scripted::start([("/x", bytes, Then::ReadOn)]).await;
    let mut attempt = Attempt::on(&[upstream.url("/x")]);
    assert!(staged_text(&attempt.run().await, "0") == body);

    attempt = Attempt::on(&[upstream.url("/x")]);
    attempt.http.compress = Some(Compression::Gzip);
    let report = attempt.run().await;
    let Some(Said::Staged(file)) = said(&report, "0") else { panic!("{report:?}") };
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut unpacked).unwrap();
    assert!(unpacked == body && std::fs::metadata(file).unwrap().len() < body.len() as u64 / 2);
}

#[tokio::test]
async fn items_that_share_a_url_are_fetched_once() {
    let upstream = Scripted::start([("/day", ok("many games"), Then::ReadOn), ("/other", ok("o"), Then::ReadOn)]).await;
    let attempt = Attempt::on(&["/day", "/other", "/day"].map(|path| upstream.url(path)));
    let report = attempt.run().await;
    assert_eq!(upstream.paths(), ["/day", "/other"]);
    assert_eq!(["0", "1", "2"].map(|key| staged_text(&report, key)), ["many games", "o", "many games"]);
    assert_eq!(report.requests, 2);
}

#[tokio::test]
async fn an_empty_200_is_a_file_of_0_bytes_and_a_block_page_is_what_it_says() {
    assert_eq!(staged_text(&fetch_one(ok(""), Then::ReadOn).await.1, "0"), "");
    let page = "<html>Access Denied</html>";
    let (attempt, report) = fetch_one(ok(page), Then::ReadOn).await;
    assert_eq!(staged_text(&report, "0"), page);
    drop(attempt);
}

#[tokio::test]
async fn what_upstream_does_not_have_is_absent_and_what_did_not_change_unchanged() {
    let of = async |status: &str| said(&fetch_one(answer(status, "", "no such thing"), Then::ReadOn).await.1, "0").cloned();
    assert_eq!(of("404 Not Found").await, Some(Said::Absent));
    assert_eq!(of("410 Gone").await, Some(Said::Absent));
    let unchanged = b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec();
    assert_eq!(said(&fetch_one(unchanged, Then::ReadOn).await.1, "0"), Some(&Said::Unchanged));
}

#[tokio::test]
async fn after_a_429_nothing_more_is_asked_of_the_source() {
    let bytes = answer("429 Too Many Requests", "Retry-After: 7\r\n", "slow down");
    let upstream = Scripted::start([("/x", bytes, Then::ReadOn), ("/y", ok("y"), Then::ReadOn)]).await;
    let attempt = Attempt::on(&["/x", "/y"].map(|path| upstream.url(path)));
    let report = attempt.run().await;
    assert_eq!((failure(&report).fault, failure(&report).retry_after_s), (Fault::Source, Some(7)));
    assert!(failure(&report).message.ends_with("/x answered 429 Too Many Requests: slow down"), "{}", failure(&report).message);
    assert!(matches!(&report.rest, Rest::Failed(Failure { fault: Fault::Source, retry_after_s: Some(7), .. })));
    assert_eq!((said(&report, "1"), upstream.paths().len()), (None, 1));
    assert_eq!(attempt.permits.answers(), [Answer::later(429, RetryAfter::Seconds(7))]);
}

#[tokio::test]
async fn a_500_is_the_sources_fault_and_a_403_the_items_and_the_next_item_is_asked_for() {
    let upstream = Scripted::start([
        ("/500", answer("500 Internal Server Error", "", ""), Then::ReadOn),
        ("/403", answer("403 Forbidden", "", "<h1>\n Access  Denied\u{7}</h1>"), Then::ReadOn),
        ("/y", ok("y"), Then::ReadOn),
    ])
    .await;
    let attempt = Attempt::on(&["/500", "/403", "/y"].map(|path| upstream.url(path)));
    let report = attempt.run().await;
    assert_eq!(failure(&report).fault, Fault::Source);
    let Some(Said::Failed(refused)) = said(&report, "1") else { panic!("{report:?}") };
    assert_eq!(refused.fault, Fault::Item);
    assert!(refused.message.ends_with("/403 answered 403 Forbidden: <h1> Access Denied </h1>"), "{}", refused.message);
    assert_eq!(staged_text(&report, "2"), "y");
}

#[tokio::test]
async fn half_a_body_is_no_file() {
    let short = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this".to_vec();
    let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo".to_vec();
    for bytes in [short, cut] {
        let (attempt, report) = fetch_one(bytes, Then::Close).await;
        assert_eq!(failure(&report).fault, Fault::Source);
        assert!(failure(&report).message.contains("broke off in the middle of its body"), "{}", failure(&report).message);
        assert_eq!(attempt.permits.settlements(), [Settlement::ArrivedBy(now())]);
    }
}

#[tokio::test]
async fn a_body_that_hangs_is_given_up_and_its_file_removed() {
    // More than one piece, so that a file exists when nothing more comes.
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n{}", "x".repeat(2_000_000)).into_bytes();
    let upstream = Scripted::start([("/x", bytes, Then::Hang)]).await;
    let attempt = Attempt::on(&[upstream.url("/x")]);
    let file = attempt.order.staged_path(&attempt.order.items[0]);
    let report = attempt.run_while_time_passes(appears(&file)).await;
    assert_eq!(failure(&report).fault, Fault::Source);
    assert!(failure(&report).message.contains("hangs in the middle of its body"), "{}", failure(&report).message);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_waited_for_until_the_timeout() {
    let upstream = Scripted::start([("/x", Vec::new(), Then::Hang)]).await;
    let attempt = Attempt::on(&[upstream.url("/x"), upstream.url("/y")]);
    let report = attempt.run_while_time_passes(upstream.is_asked_for("/x")).await;
    assert_eq!(failure(&report).fault, Fault::Source);
    assert!(failure(&report).message.ends_with("gave no answer within 600 s"));
    let settlements = attempt.permits.settlements();
    assert!(matches!(settlements[..], [Settlement::ArrivedBy(at)] if at >= now() + LONG + LINGER), "{settlements:?}");
    assert_eq!(attempt.permits.answers(), [Answer::NoAnswer]);
    assert!(matches!(&report.rest, Rest::Failed(failure) if failure.message.starts_with("not asked for")));
}

#[tokio::test]
async fn a_permit_is_unsent_only_if_no_connection_came_about() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let attempt = Attempt::on(&[format!("http://{nobody}/x")]);
    let report = attempt.run().await;
    assert_eq!((failure(&report).fault, report.requests), (Fault::Source, 0));
    assert!(failure(&report).message.contains("refused"), "{}", failure(&report).message);
    assert_eq!(attempt.permits.settlements(), [Settlement::Unsent]);
    assert_eq!(attempt.permits.answers(), [Answer::NotReached], "whom nobody reached does not let requests hang");

    let (attempt, report) = fetch_one(Vec::new(), Then::Close).await;
    assert_eq!((failure(&report).fault, report.requests), (Fault::Source, 1));
    assert_eq!(attempt.permits.settlements(), [Settlement::ArrivedBy(now() + LINGER)]);
    assert_eq!(attempt.permits.answers(), [Answer::NoAnswer]);
}

#[tokio::test]
async fn each_step_of_a_redirect_has_a_permit_and_secrets_stay_with_their_host() {
    let target = Scripted::start([("/there", ok("found"), Then::ReadOn)]).await;
    let away = format!("Location: http://localhost:{}/there\r\n", target.address.port());
    let upstream = Scripted::start([
        ("/near", answer("302 Found", "Location: /nearer\r\n", ""), Then::ReadOn),
        ("/nearer", answer("301 Moved Permanently", &away, "moved"), Then::ReadOn),
    ])
    .await;
    let mut attempt = Attempt::on(&[upstream.url("/near")]);
    attempt.hosts.push("localhost".into());
    attempt.http.headers = vec![
        ("X-Key".into(), Secretive::Variable("API_KEY".into())),
        ("Authorization".into(), Secretive::Plain("Basic eA==".into())),
        ("X-Plain".into(), Secretive::Plain("p".into())),
    ];
    let report = attempt.run().await;
    assert_eq!(staged_text(&report, "0"), "found");
    assert_eq!((report.requests, attempt.permits.settlements().len()), (3, 3));
    assert!(upstream.head("/nearer").contains("hunter2"));
    let head = target.head("/there");
    assert!(head.contains("x-plain: p") && !head.contains("hunter2") && !head.contains("Basic"), "{head}");
}

#[tokio::test]
async fn waiting_for_the_permit_of_a_redirect_is_none_of_the_timeout() {
    let upstream =
        Scripted::start([("/near", answer("302 Found", "Location: /there\r\n", ""), Then::ReadOn), ("/there", ok("found"), Then::ReadOn)])
            .await;
    let mut attempt = Attempt::on(&[upstream.url("/near")]);
    let clock = attempt.clock.clone();
    attempt.permits = Diary::waiting_while(move || clock.advance(2 * LONG));
    let report = attempt.run().await;
    assert_eq!(staged_text(&report, "0"), "found");
}

#[tokio::test]
async fn a_redirect_to_an_undeclared_host_is_not_followed_and_a_circle_ends() {
    let target = Scripted::start([("/there", ok("found"), Then::ReadOn)]).await;
    let away = format!("Location: http://localhost:{}/there\r\n", target.address.port());
    let (_attempt, report) = fetch_one(answer("302 Found", &away, ""), Then::ReadOn).await;
    assert_eq!(failure(&report).fault, Fault::Item);
    assert!(failure(&report).message.contains("add `localhost` to the hosts of source `espn`"));
    assert!(target.paths().is_empty());

    let (attempt, report) = fetch_one(answer("302 Found", "Location: /x\r\n", ""), Then::ReadOn).await;
    assert!(failure(&report).message.contains("redirects more than 5 times"));
    assert_eq!(attempt.permits.settlements().len(), 6);
}

#[tokio::test]
async fn a_stopped_attempt_leaves_no_half_file_and_no_unsettled_permit() {
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n{}", "x".repeat(2_000_000)).into_bytes();
    let upstream = Scripted::start([("/x", bytes, Then::Hang), ("/none", Vec::new(), Then::Hang)]).await;
    let attempt = Attempt::on(&[upstream.url("/x"), upstream.url("/none")]);
    let (button, file) = (Button::new(), attempt.order.staged_path(&attempt.order.items[0]));
    let press = async {
        appears(&file).await;
        button.press();
    };
    let (report, ()) = tokio::join!(attempt.run_until(button.clone()), press);
    assert_eq!(failure(&report).fault, Fault::Stopped);
    assert!(matches!(&report.rest, Rest::Failed(failure) if failure.fault == Fault::Stopped));
    assert_eq!(attempt.permits.settlements(), [Settlement::ArrivedBy(now())]);

    let mut waiting = Attempt::on(&[upstream.url("/x")]);
    waiting.permits = Diary::closed();
    let button = Button::new();
    let press = async {
        waiting.permits.until("it waits for a permit", |permits| permits.waiting() == 1).await;
        button.press();
    };
    let (report, ()) = tokio::join!(waiting.run_until(button.clone()), press);
    assert!(matches!(&report.rest, Rest::Failed(failure) if failure.fault == Fault::Stopped));
    assert_eq!(waiting.permits.events(), []);
}

#[tokio::test]
async fn how_many_landed_is_told_after_each() {
    let upstream = Scripted::start([("/x", ok("x"), Then::ReadOn), ("/y", ok("y"), Then::ReadOn)]).await;
    let attempt = Attempt::on(&[upstream.url("/x"), upstream.url("/y"), upstream.url("/x")]);
    attempt.run().await;
    let told = attempt.told.lock().unwrap();
    let figures = told.iter().filter_map(|told| match told {
        Told::Progress(progress) => Some((progress.done, progress.of)),
        Told::Started(_) | Told::Enclosed(_) => None,
    });
    assert_eq!(figures.collect::<Vec<_>>(), [(2, 3), (3, 3)], "two items share the first URL");
}

#[tokio::test]
async fn what_cannot_be_written_here_is_not_the_items_fault() {
    let upstream = Scripted::start([("/x", ok("x"), Then::ReadOn)]).await;
    let attempt = Attempt::on(&[upstream.url("/x")]);
    std::fs::create_dir_all(path(&attempt.folder, "out/0")).unwrap();
    let collectors = Collectors::new(
        setting(),
        vec![Upstream { name: "espn".into(), hosts: Vec::new(), linger: LINGER, cache: Default::default() }],
        attempt.permits.clone(),
        attempt.clock.clone(),
    );
    let report = collectors.collect(attempt.order.clone(), &|_| {}, never()).await;
    assert_eq!(failure(&report).fault, Fault::Later);
    assert!(failure(&report).message.contains("could not be written"));
    assert!(Path::new(&path(&attempt.folder, "out/0")).is_dir());
}

#[tokio::test]
async fn what_is_wrong_with_the_order_is_said_before_anything_is_sent() {
    let why = async |adapt: &dyn Fn(&mut Attempt)| {
        let mut attempt = Attempt::on(&["http://127.0.0.1:1/".into()]);
        adapt(&mut attempt);
        let report = attempt.run().await;
        assert_eq!(attempt.permits.events(), []);
        match report.rest {
            Rest::Failed(failure) => failure.message,
            other => panic!("{other:?}"),
        }
    };
    let header = |value| move |attempt: &mut Attempt| attempt.http.headers = vec![("X-Key".into(), value)];
    assert!(why(&|attempt| attempt.order.source = None).await.contains("needs a source"));
    assert!(why(&|attempt| attempt.order.source = Some("nba".into())).await.contains("source `nba` is not declared"));
    assert!(why(&|attempt| header(Secretive::Variable("UNSET_HERE".into()))(attempt)).await.contains("header `X-Key`: its secret"));
    assert!(why(&|attempt| header(Secretive::Plain("a\nb".into()))(attempt)).await.contains("its value cannot stand in a header"));
}

/// Answers with all but the last of this, and with that when it is told to.
async fn hesitant(body: String, goes_on: Arc<tokio::sync::Notify>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut head).await.unwrap();
        }
        let answer = ok(&body);
        let (most, last) = answer.split_at(answer.len() - 1);
        stream.write_all(most).await.unwrap();
        goes_on.notified().await;
        stream.write_all(last).await.unwrap();
        std::future::pending::<()>().await;
    });
    url
}

#[tokio::test]
async fn bodies_wait_for_the_bytes_a_second_of_their_source_and_no_timeout_counts_it() {
    let goes_on = Arc::new(tokio::sync::Notify::new());
    let url = hesitant("x".repeat(3_000_001), goes_on.clone()).await;
    let mut attempt = Attempt::on(&[url]);
    attempt.pacing = Some(Pacing::new([("espn".into(), Some(100_000))], None, attempt.clock.clone()));
    Arc::get_mut(&mut attempt.order.collector).unwrap().timeout = Duration::from_secs(20);
    let since = attempt.clock.now().boot;
    let took = || attempt.clock.now().boot.since(since);
    let passing = async {
        while took() < Duration::from_secs(30) {
            attempt.clock.pass_when_somebody_sleeps_briefly(Duration::from_millis(500)).await;
        }
        // It has had its own time, and 30 s in line. What it waits for now is the upstream.
        attempt.clock.somebody_sleeps().await;
        goes_on.notify_one();
        attempt.clock.pass_when_somebody_sleeps_briefly(Duration::from_millis(500)).await;
        std::future::pending::<()>().await;
    };
    let report = tokio::select! {
        report = attempt.run() => report,
        () = passing => unreachable!(),
    };
    assert!(matches!(said(&report, "0"), Some(Said::Staged(_))), "{report:?}");
    assert_eq!(took(), Duration::from_micros(30_000_010));
}
