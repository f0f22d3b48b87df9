//! The control socket with real sockets: what clients get, and what they cannot do to an engine.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adce_api::{
    Accepted, Admitted, Answers, AskError, Bounds, CancelLine, Client, ConfigInForce, Counts, CoverageAsk, CoverageAxis, CoverageCell,
    CoverageReport, GapCounts, GapLine, GuestReport, LimitsReport, LookBegun, PauseLine, Paused, Refusal, RetryLine, Server, Share, Status,
    Stopping, TaskDetail, TaskLine, TokenLine, Why,
};
use adce_core::access::TokenRecord;
use adce_core::gap::{GapState, Reason};
use adce_core::ids::{AttemptId, GapId, ItemId, TaskId, Uuid};
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;
use async_trait::async_trait;

/// The name that these tests give the socket.
const SOCKET: &str = "control.sock";

/// An engine that has so many gaps and knows nothing else.
struct Engine {
    gaps: u32,
    guests: Guests,
}

/// Programs that pass now.
type Guests = Arc<Mutex<Vec<AttemptId>>>;

fn item(number: u32) -> ItemId {
    ItemId::of("box_scores", [number.to_string().as_str()])
}

fn gap(number: u32) -> GapLine {
    GapLine {
        item: item(number),
        dataset: "box_scores".into(),
        key: format!("box/{number} ü.json"),
        reason: Reason::Missing,
        state: GapState::Queued,
        detected_at: Timestamp::UNIX_EPOCH,
        attempts: 0,
        tries: 0,
        next_try: None,
        due: None,
        priority: PriorityLevel::High,
        task: None,
        last_error: None,
        in_doubt: false,
    }
}

fn task(number: u32) -> TaskLine {
    TaskLine {
        id: TaskId::of("bbref", GapId { item: item(number), episode: 1 }),
        collector: "bbref".into(),
        source: None,
        priority: PriorityLevel::High,
        score: 201.5,
        state: GapState::Waiting,
        items: 20,
        key: "box/1.json".into(),
        detected_at: Timestamp::UNIX_EPOCH,
        next_try: None,
        progress: None,
        score_parts: None,
    }
}

#[async_trait]
impl Answers for Engine {
    async fn status(&self) -> Result<Status, Refusal> {
        Ok(Status {
            name: "prod".into(),
            lake: "/lake".into(),
            at: Timestamp::UNIX_EPOCH,
            engine: None,
            complete: false,
            healthy: None,
            coverage: Counts { items: adce_core::coverage::Counts { present: 8, missing: 1, ..Default::default() }, unexpected: 0 },
            datasets: Default::default(),
            gaps: GapCounts::default(),
            eta_seconds: Some(0.5),
            sources: Default::default(),
            collectors: Default::default(),
            running: vec![],
            slots: Share { used: 1, of: Some(5) },
            look: vec![],
            report: None,
            held: vec![],
            paused: vec![],
        })
    }

    async fn gaps(&self) -> Result<Box<dyn Iterator<Item = GapLine> + Send>, Refusal> {
        Ok(Box::new((0..self.gaps).map(gap)))
    }

    async fn coverage(&self, ask: &CoverageAsk) -> Result<CoverageReport, Refusal> {
        let values = vec![ask.dataset.clone(), None];
        Ok(CoverageReport {
            name: "prod".into(),
            lake: "/lake".into(),
            at: Timestamp::UNIX_EPOCH,
            dataset: ask.dataset.clone(),
            complete: true,
            healthy: None,
            coverage: Counts::default(),
            datasets: Default::default(),
            by: ask.by.iter().map(|by| CoverageAxis { name: by.clone(), pace: None, values: values.clone() }).collect(),
            cells: vec![CoverageCell { values, items: Default::default() }],
            left_out: vec![],
            held: vec![],
            trend: Default::default(),
        })
    }

    async fn tasks(&self) -> Result<Box<dyn Iterator<Item = TaskLine> + Send>, Refusal> {
        Ok(Box::new([1, 2].into_iter().map(task)))
    }

    async fn task(&self, id: TaskId) -> Result<TaskDetail, Refusal> {
        if id != task(1).id {
            return Err(Refusal::usage(format!("no task `{id}`")).with_hint("`adce tasks` lists them"));
        }
        Ok(TaskDetail {
            task: Some(task(1)),
            held_by: None,
            waits: vec![],
            better: 0,
            gaps: vec![gap(1)],
            attempts: vec![],
            events: vec![],
        })
    }

    async fn limits(&self) -> Result<LimitsReport, Refusal> {
        Ok(LimitsReport::default())
    }

    async fn why(&self, what: &str) -> Result<Why, Refusal> {
        Ok(Why { what: what.into(), answer: "it waits for a permit".into(), ..Why::default() })
    }

    async fn accept(&self, key: Option<&str>) -> Result<Accepted, Refusal> {
        Ok(Accepted { surprises: vec!["`box_scores` lost 12 %".into()], released: key.map(String::from).into_iter().collect() })
    }

    async fn retry(&self, what: Option<&str>) -> Result<Box<dyn Iterator<Item = RetryLine> + Send>, Refusal> {
        let line = |key: &str| RetryLine {
            item: ItemId::of("d", [key]),
            dataset: "d".into(),
            key: key.into(),
            task: None,
            retried: true,
            was: GapState::Exhausted,
            attempts: 3,
            next_try: None,
            why_not: None,
        };
        Ok(Box::new([what.unwrap_or("all"), "more"].map(line).into_iter()))
    }

    async fn pause(&self, what: Option<&str>, because: Option<String>) -> Result<Paused, Refusal> {
        let line = PauseLine { of: "source".into(), name: what.map(Into::into), since: Timestamp::UNIX_EPOCH, until: None, because };
        Ok(Paused { changed: true, paused: vec![line] })
    }

    async fn resume(&self, _: Option<&str>, all: bool) -> Result<Paused, Refusal> {
        Ok(Paused { changed: all, paused: vec![] })
    }

    async fn cancel(&self, what: &str, _: Duration) -> Result<Box<dyn Iterator<Item = CancelLine> + Send>, Refusal> {
        Err(Refusal::usage(format!("no `{what}`")))
    }

    async fn config(&self) -> Result<ConfigInForce, Refusal> {
        Ok(ConfigInForce { edition: "7c1e".into(), settings: vec![], at_next_start: vec![] })
    }

    async fn look(&self) -> Result<LookBegun, Refusal> {
        Ok(LookBegun { begun: true })
    }

    async fn stop(&self, within: Option<Duration>) -> Result<Stopping, Refusal> {
        Ok(Stopping { pid: 7, within_seconds: within.map(|within| within.as_secs_f64()) })
    }

    async fn tokens(&self) -> Result<Vec<TokenLine>, Refusal> {
        Ok(Vec::new())
    }

    async fn new_token(&self, token: TokenRecord) -> Result<TokenLine, Refusal> {
        Err(Refusal::usage(format!("there is a token `{}`", token.name)))
    }

    async fn revoke_token(&self, name: &str) -> Result<TokenLine, Refusal> {
        Err(Refusal::usage(format!("no token is called `{name}`")))
    }

    async fn admit(&self, sources: Option<Vec<String>>) -> Result<Admitted, Refusal> {
        let guest = AttemptId(Uuid::now_v7());
        self.guests.lock().unwrap().push(guest);
        Ok(Admitted { guest, url: format!("{sources:?}"), variables: vec![("HTTP_PROXY".into(), "http://p".into())] })
    }

    async fn dismiss(&self, guest: AttemptId) -> Result<GuestReport, Refusal> {
        self.guests.lock().unwrap().retain(|other| *other != guest);
        Ok(GuestReport { requests: 7, ..GuestReport::default() })
    }
}

fn listen(folder: &Path) -> Server {
    listen_within(folder, 3, Bounds::default())
}

fn listen_within(folder: &Path, gaps: u32, bounds: Bounds) -> Server {
    Server::listen(&folder.join(SOCKET), Arc::new(Engine { gaps, guests: Guests::default() }), bounds).unwrap()
}

fn raw(folder: &Path) -> UnixStream {
    let stream = UnixStream::connect(folder.join(SOCKET)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Clients block, so each test's client side runs beside the runtime that serves it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn ask<T: Send + 'static>(folder: &Path, work: impl FnOnce(&mut Client) -> T + Send + 'static) -> T {
    let folder = folder.to_owned();
    aside(move || work(&mut Client::connect(&folder.join(SOCKET)).unwrap().expect("an engine listens"))).await
}

#[tokio::test]
async fn every_question_gets_its_answer_over_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let _server = listen(folder.path());
    ask(folder.path(), |client| {
        assert_eq!(client.status().unwrap().coverage.items.missing, 1);
        let mut gaps = Vec::new();
        client.gaps(|gap| gaps.push(gap)).unwrap();
        assert_eq!(gaps, [gap(0), gap(1), gap(2)]);
        let ask = CoverageAsk { dataset: Some("box".into()), by: vec!["season".into(), "team".into()] };
        let report = client.coverage(&ask).unwrap();
        assert_eq!((report.by[1].name.as_str(), &report.cells[0].values), ("team", &vec![Some("box".into()), None]));
        let mut tasks = Vec::new();
        client.tasks(|task| tasks.push(task)).unwrap();
        assert_eq!(tasks, [task(1), task(2)]);
        assert_eq!(client.task(task(1).id).unwrap().task, Some(task(1)));
        assert_eq!(client.limits().unwrap(), LimitsReport::default());
        assert_eq!(client.why("box/1 ü.json").unwrap().what, "box/1 ü.json");
        assert_eq!(client.accept(None).unwrap().surprises.len(), 1);
        assert_eq!(client.accept(Some("box/1.html")).unwrap().released, ["box/1.html"]);
        for (what, first) in [(Some("box/1.html"), "box/1.html"), (None, "all")] {
            let mut retried = Vec::new();
            client.retry(what, |line| retried.push(line.key)).unwrap();
            assert_eq!(retried, [first, "more"]);
        }
    })
    .await;
}

#[tokio::test]
async fn a_refusal_comes_with_its_hint_and_the_connection_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let _server = listen(folder.path());
    ask(folder.path(), |client| {
        let refused = client.task(task(7).id);
        assert!(matches!(&refused, Err(AskError::Refused(refusal)) if refusal.exit_code == 64 && refusal.hint.is_some()), "{refused:?}");
        client.status().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_hundred_thousand_gaps_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let _server = listen_within(folder.path(), 100_000, Bounds::default());
    let arrived = ask(folder.path(), |client| {
        let mut arrived = 0;
        client.gaps(|gap| arrived += u32::from(gap.dataset == "box_scores")).unwrap();
        arrived
    })
    .await;
    assert_eq!(arrived, 100_000);
}

#[test]
fn where_no_engine_runs_there_is_no_client() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Client::connect(&folder.path().join(SOCKET)).unwrap().is_none(), "no socket");
    assert!(Client::connect(&folder.path().join("none").join(SOCKET)).unwrap().is_none(), "no folder");
    drop(UnixListener::bind(folder.path().join(SOCKET)).unwrap());
    assert!(Client::connect(&folder.path().join(SOCKET)).unwrap().is_none(), "the socket of a dead engine");
}

#[tokio::test]
async fn the_socket_of_a_dead_engine_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    drop(UnixListener::bind(folder.path().join(SOCKET)).unwrap());
    let _server = listen(folder.path());
    ask(folder.path(), |client| client.status().unwrap()).await;
}

#[tokio::test]
async fn the_socket_is_for_its_user_alone_and_goes_with_its_engine() {
    let folder = tempfile::tempdir().unwrap();
    let server = listen(folder.path());
    let names = || std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(), [SOCKET], "nothing else is left from its making");
    let mode = std::fs::metadata(folder.path().join(SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(server);
    assert!(names().is_empty());
}

#[tokio::test]
async fn a_socket_in_a_deep_folder_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a-folder-with-a-rather-long-name/".repeat(8));
    std::fs::create_dir_all(&deep).unwrap();
    assert!(deep.as_os_str().len() > 200);
    let _server = listen(&deep);
    ask(&deep, |client| client.status().unwrap()).await;
}

#[tokio::test]
async fn garbage_is_answered_with_what_is_wrong_and_nobody_else_notices() {
    let folder = tempfile::tempdir().unwrap();
    let _server = listen(folder.path());
    let path = folder.path().to_owned();
    let garbage: [&[u8]; 6] = [b"GET / HTTP/1.1\r\n", b"\xff\xfe\x00\n", b"{\"ask\":\"delete\"}\n", b"{\"ask\":\"why\"}\n", b"[]\n", b"\n"];
    ask(folder.path(), move |other| {
        for garbage in garbage {
            let mut stream = raw(&path);
            stream.write_all(garbage).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("{\"error\":{\"message\":\"not a request: "), "{garbage:?}: {answer}");
            assert_eq!(answer.lines().count(), 1, "{answer}");
        }
        other.status().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_line_without_end_is_cut_off_at_the_bound() {
    let folder = tempfile::tempdir().unwrap();
    let _server = listen(folder.path());
    let path = folder.path().to_owned();
    ask(folder.path(), move |other| {
        let mut stream = raw(&path);
        // The server stops reading and hangs up; what is sent after that fails.
        let sent = (0..1_000).take_while(|_| stream.write_all(&[b'x'; 16 * 1024]).is_ok()).count();
        assert!(sent < 1_000, "sixteen megabytes were taken");
        other.status().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_line_that_is_one_byte_too_long_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let _server = listen_within(folder.path(), 3, Bounds { request_bytes: 64, ..Bounds::default() });
    let path = folder.path().to_owned();
    aside(move || {
        for (bytes, answered) in [(64, "{\"is\":{"), (65, "{\"error\":{\"message\":\"a request is one line of at most 64 bytes")] {
            let mut line = br#"{"ask":"why","what":""#.to_vec();
            line.resize(bytes - 3, b'x');
            line.extend(b"\"}\n");
            let mut stream = raw(&path);
            stream.write_all(&line).unwrap();
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer).unwrap();
            assert!(answer.starts_with(answered), "{bytes} bytes: {answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let _server = listen_within(folder.path(), 100_000, Bounds { clients: 2, ..Bounds::default() });
    let path = folder.path().to_owned();
    ask(folder.path(), move |other| {
        for _ in 0..10 {
            let mut stream = raw(&path);
            stream.write_all(b"{\"ask\":\"gaps\"}\n").unwrap();
            let mut first = String::new();
            BufReader::new(&stream).read_line(&mut first).unwrap();
            assert!(first.starts_with("{\"is\":"), "{first}");
        }
        drop(raw(&path));
        raw(&path).write_all(b"{\"ask\":").unwrap();
        other.status().unwrap();
        Client::connect(&path.join(SOCKET)).unwrap().unwrap().status().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_client_that_neither_asks_nor_reads_loses_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let bounds = Bounds { clients: 1, patience: Duration::from_millis(50), ..Bounds::default() };
    let _server = listen_within(folder.path(), 100_000, bounds);
    let path = folder.path().to_owned();
    aside(move || {
        let mut silent = raw(&path);
        let mut deaf = raw(&path);
        deaf.write_all(b"{\"ask\":\"gaps\"}\n").unwrap();
        assert_eq!(silent.read(&mut [0]).unwrap(), 0, "hung up");
        // There is one place: the third is served only after the second has lost it.
        Client::connect(&path.join(SOCKET)).unwrap().unwrap().status().unwrap();
        let mut rest = Vec::new();
        deaf.read_to_end(&mut rest).unwrap();
        assert!(!rest.ends_with(b"{\"end\":{}}\n"), "it got everything without reading");
    })
    .await;
}

#[tokio::test]
async fn several_are_answered_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let _server = listen(folder.path());
    let path = folder.path().to_owned();
    aside(move || {
        let mut clients: Vec<_> = (0..8).map(|_| Client::connect(&path.join(SOCKET)).unwrap().unwrap()).collect();
        // All are connected; the last one does not wait for the first.
        clients.iter_mut().rev().for_each(|client| drop(client.status().unwrap()));
    })
    .await;
}

#[tokio::test]
async fn a_guest_passes_until_its_connection_ends_however_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let guests = Guests::default();
    let bounds = Bounds { clients: 1, guests: 1, patience: Duration::from_millis(50), ..Bounds::default() };
    let engine = Engine { gaps: 3, guests: guests.clone() };
    let _server = Server::listen(&folder.path().join(SOCKET), Arc::new(engine), bounds).unwrap();
    let path = folder.path().join(SOCKET);
    aside(move || {
        let connect = || Client::connect(&path).unwrap().expect("an engine listens");
        let mut told = connect();
        let admitted = told.admit(Some(vec!["espn".into()])).unwrap();
        assert_eq!((admitted.url.as_str(), admitted.variables.len()), ("Some([\"espn\"])", 1));
        // It asks nothing for longer than others may, and takes no place of theirs.
        assert_eq!(connect().status().unwrap().coverage.items.missing, 1);
        let mut idle = raw(path.parent().unwrap());
        assert_eq!(idle.read(&mut [0]).unwrap(), 0, "others lose their place meanwhile");
        assert_eq!(*guests.lock().unwrap(), [admitted.guest]);
        assert!(matches!(told.admit(None), Err(AskError::Refused(_))), "one program a connection");
        assert!(matches!(connect().admit(None), Err(AskError::Refused(refusal)) if refusal.message.contains("as many programs")));
        assert!(matches!(connect().dismiss(), Err(AskError::Refused(_))), "nobody ends the program of another connection");
        assert_eq!(told.dismiss().unwrap().requests, 7);
        assert_eq!(*guests.lock().unwrap(), []);
        let mut killed = connect();
        killed.admit(None).unwrap();
        drop(killed);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !guests.lock().unwrap().is_empty() {
            assert!(std::time::Instant::now() < deadline, "nobody dismissed it");
            std::thread::yield_now();
        }
    })
    .await;
}

/// What a client makes of an engine that sends just this and dies.
fn answered_with(text: &'static [u8]) -> Result<Status, AskError> {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
    let engine = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        BufReader::new(&client).read_line(&mut String::new()).unwrap();
        client.write_all(text).unwrap();
    });
    let answer = Client::connect(&folder.path().join(SOCKET)).unwrap().unwrap().status();
    engine.join().unwrap();
    answer
}

#[test]
fn an_answer_cut_short_is_an_error() {
    for text in [&b""[..], b"{\"is\":{\"name\"", b"{\"end\":{}}"] {
        let answer = answered_with(text);
        assert!(matches!(answer, Err(AskError::CutShort(_))), "{answer:?}");
    }
}

#[test]
fn words_of_another_version_are_an_error() {
    for text in [&b"{\"is\":{\"unheard\":1}}\n"[..], b"{\"what\":1}\n", b"{\"end\":{}}\n"] {
        let answer = answered_with(text);
        assert!(matches!(answer, Err(AskError::NotUnderstood(_))), "{answer:?}");
    }
}
