//! What `run` waits for and what not: `--once`, `--max-wait`, signals, and the question before very many gaps.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use adce_core::time::Timestamp;
use support::place::{Place, Said, said, wait_for};

/// One item; its scraper notes each attempt, and succeeds when `good` is there.
fn patient(backoff: &str) -> Place {
    let place = Place::new(&format!(
        "version: 1\nname: patient\nlake: ./lake\ndimensions:\n  letter: [a]\ndatasets:\n  letters:\n    key: letters/{{letter}}.txt\n    \
         for: letter\n    collector:\n      command: [sh, scraper.sh, \"{{out}}\"]\n      retry: {{ attempts: 5, backoff: {backoff} }}\n"
    ));
    place.write("scraper.sh", "echo x >> tried\nif [ -e good ]; then echo hello > \"$1\"; else touch good; echo bad; exit 1; fi\n");
    place
}

fn tried(place: &Place) -> usize {
    place.read("tried").lines().count()
}

#[test]
fn once_tries_what_can_be_tried_now_and_waits_for_no_retry() {
    let place = patient("100ms..200ms");
    place.adce(&["run", "--once"]).ends_with(2).says("1 gap remains: 1 waiting for a later try");
    assert_eq!(tried(&place), 1);
    place.adce(&["run", "--once", "--max-wait", "1m"]).ends_with(64).says("--max-wait");
}

#[test]
fn a_retry_within_max_wait_is_waited_for() {
    let place = patient("100ms..200ms");
    place.adce(&["run"]).ends_with(0);
    assert_eq!(tried(&place), 2);
}

#[test]
fn a_retry_beyond_max_wait_remains_and_is_waited_for_by_a_longer_one() {
    // The pause is drawn from 0 to 10,000 days: ten minutes of that are nothing.
    let place = patient("10000d..10000d");
    place.adce(&["run"]).ends_with(2).says("waiting for a later try");
    place.adce(&["run", "--max-wait", "1h"]).ends_with(2);
    assert_eq!(tried(&place), 1, "a later run knows of the pause");

    let engine = place.start(&["run", "--max-wait", "20000d"]);
    let status = || place.adce(&["status", "--format", "json"]).json();
    wait_for("an engine that waits", || status()["engine"].is_object() && status()["gaps"]["waiting"] == 1);
    signal(&engine, "-INT");
    ended(engine).ends_with(130).says("INTERRUPTED");
    assert_eq!(tried(&place), 1);
}

fn signal(engine: &Child, which: &str) {
    assert!(Command::new("kill").args([which, &engine.id().to_string()]).status().expect("kill").success());
}

fn ended(engine: Child) -> Said {
    said(engine.wait_with_output().expect("it ends"))
}

/// An attempt that runs until it is told to go on.
fn working() -> (Place, Child) {
    let place = Place::new(
        "version: 1\nname: working\nlake: ./lake\ndimensions:\n  letter: [a, b]\ndatasets:\n  letters:\n    key: letters/{letter}.txt\n    \
         for: letter\n    collector:\n      command: [sh, -c, 'echo $$ >> started; while [ ! -e go ]; do sleep 0.01; done; echo hello > \"$1\"', sh, \"{out}\"]\n\
         engine: { max_concurrent: 1 }\n",
    );
    let engine = place.start(&["run"]);
    wait_for("the first attempt", || place.has("started") && place.read("started").ends_with('\n'));
    (place, engine)
}

fn is_stopping(place: &Place) -> bool {
    place.adce(&["status", "--format", "json"]).json()["engine"]["stopping"] == true
}

/// Nothing of an engine is left, and another one takes up where it ended.
fn is_clean(place: &Place) {
    is_clean_but_for_gaps(place);
    place.write("go", "");
    place.adce(&["run"]).ends_with(0).says("COMPLETE 100 %");
}

fn is_clean_but_for_gaps(place: &Place) {
    let mut left: Vec<String> = std::fs::read_dir(place.path(".adce"))
        .expect("the state")
        .map(|file| file.expect("a file").file_name().into_string().expect("a name"))
        .collect();
    left.retain(|name| !matches!(name.as_str(), "state.db" | "attempts" | "logs" | "authority" | "engine.log") && !name.ends_with("lock"));
    assert_eq!(left, Vec::<String>::new(), "beside the state");
    let attempts = std::fs::read_dir(place.path(".adce/attempts")).map_or(0, Iterator::count);
    assert_eq!(attempts, 0, "folders of attempts");
}

#[test]
fn sigterm_once_finishes_what_runs_and_ends_with_143() {
    let (place, engine) = working();
    signal(&engine, "-TERM");
    wait_for("the engine to drain", || is_stopping(&place));
    place.write("go", "");
    ended(engine).ends_with(143).says("INTERRUPTED 50.00 % · 1 of 2 objects").says("1 gap remains: 1 queued");
    assert_eq!(place.read("started").lines().count(), 1, "nothing was started after it");
    is_clean(&place);
}

/// Asked to drain, and once more.
fn twice(which: &str, code: i32) {
    let (place, engine) = working();
    signal(&engine, which);
    wait_for("the engine to drain", || is_stopping(&place));
    signal(&engine, which);
    ended(engine).ends_with(code);
    assert!(!place.has("lake/letters/a.txt"), "what ran was ended");
    is_clean(&place);
}

#[test]
fn sigterm_twice_ends_what_runs_with_143() {
    twice("-TERM", 143);
}

#[test]
fn ctrl_c_twice_ends_with_130_and_a_clean_state() {
    twice("-INT", 130);
}

#[test]
fn ctrl_c_on_a_terminal_is_one_signal_although_guardian_and_engine_get_it() {
    let (place, engine) = working();
    // That one has made the place; this one runs where a person can type.
    signal(&engine, "-KILL");
    ended(engine);
    std::fs::remove_file(place.path("started")).expect("the note");
    place.write("terminal.py", include_str!("support/terminal.py"));
    std::thread::scope(|scope| {
        let said = scope.spawn(|| on_a_terminal(&place, "", &["run"]));
        wait_for("the first attempt", || place.has("started") && place.read("started").ends_with('\n'));
        place.write("interrupt", "");
        wait_for("the engine to drain", || is_stopping(&place));
        place.write("go", "");
        said.join().expect("it ends").ends_with(130).says("INTERRUPTED 50.00 %");
    });
    assert!(place.has("lake/letters/a.txt"), "what ran was ended: the signal counted twice");
    assert_eq!(place.read("started").lines().count(), 1, "nothing was started after it");
}

/// So many items in one task, whose scraper notes that it was started and collects nothing. No run waits for its next try.
fn many(items: u32) -> Place {
    let place = Place::new(
        "version: 1\nname: many\nlake: ./lake\ndimensions:\n  number: { table: numbers.csv, id: number }\ndatasets:\n  numbers:\n    \
         key: numbers/{number}.txt\n    for: number\n    collector:\n      command: [touch, started]\n      batch: { size: 2000 }\n      \
         retry: { attempts: 1, backoff: 1h..1h }\n",
    );
    let rows: String = (0..items).map(|number| format!("{number}\n")).collect();
    place.write("numbers.csv", &format!("number\n{rows}"));
    place.write("terminal.py", include_str!("support/terminal.py"));
    place
}

/// `adce` on a terminal of its own, whose person answers the question with this.
fn on_a_terminal(place: &Place, answer: &str, args: &[&str]) -> Said {
    let output: Output = Command::new("python3")
        .args(["terminal.py", answer, env!("CARGO_BIN_EXE_adce")])
        .args(args)
        .current_dir(place.folder())
        .env("NO_COLOR", "1")
        .env("TERM", "xterm")
        .output()
        .expect("python3 runs");
    said(output)
}

const QUESTION: &str = "1,001 gaps would be started for the first time. Go on? [y/N]";

#[test]
fn more_than_a_thousand_gaps_are_asked_about_and_no_means_no() {
    let place = many(1_001);
    for answer in ["n", ""] {
        on_a_terminal(&place, answer, &["run"]).ends_with(2).says(QUESTION);
        assert!(!place.has("started"), "`{answer}` started something");
    }
    on_a_terminal(&place, "y", &["run"]).ends_with(2).says(QUESTION);
    assert!(place.has("started"));
}

#[test]
fn yes_and_a_thousand_gaps_ask_nothing() {
    for (gaps, args) in [(1_001, vec!["run", "--yes"]), (1_000, vec!["run"])] {
        let place = many(gaps);
        let said = on_a_terminal(&place, "n", &args);
        said.ends_with(2);
        assert!(!said.out.contains("Go on?") && place.has("started"), "{}", said.out);
    }
}

#[test]
fn elsewhere_many_gaps_are_said_and_started() {
    let place = many(1_001);
    place.adce(&["run"]).ends_with(2).says("1,001 gaps are started for the first time");
    assert!(place.has("started"));
}

/// Many answer so and say nothing else.
#[test]
fn a_source_that_refuses_without_a_word_is_left_alone_for_a_minute_and_limits_shows_it() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = upstream.local_addr().expect("bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for stream in upstream.incoming() {
            let mut stream = stream.expect("a connection");
            let lines = BufReader::new(stream.try_clone().expect("a descriptor")).lines().map_while(Result::ok);
            if lines.take_while(|line| !line.is_empty()).count() > 0 {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        }
    });
    let place = Place::new(&format!(
        "version: 1\nname: refused\nlake: ./lake\nsources:\n  up: {{ hosts: [\"{address}\"], limits: {{ per_minute: 60, in_flight: 1 }} }}\n\
         dimensions: {{ page: [a, b, c] }}\ndatasets:\n  all:\n    source: up\n    key: \"{{page}}.txt\"\n    for: page\n    collector: \
         {{ http: {{ url: \"http://{address}/{{page}}\" }} }}\n"
    ));
    let engine = place.start(&["run"]);
    let limits = || place.adce(&["limits", "--format", "json"]).json()["sources"]["up"].clone();
    wait_for("a pause", || asked.load(Ordering::SeqCst) > 0 && limits()["state"] == "paused");
    let source = limits();
    let until: Timestamp = source["until"].as_str().expect("an instant").parse().expect("an instant");
    let left = until.duration_since(Timestamp::now()).as_secs();
    assert!((30..=60).contains(&left), "{left} s of a minute are left: {source}");
    assert_eq!(source["learned"]["share"], 0.5, "and from then on half as fast: {source}");
    place.adce(&["limits"]).says("answered 429 and did not say for how long").says("50 % of its full rate");
    // Nobody holds a slot meanwhile, so there is nothing to wait for.
    signal(&engine, "-TERM");
    ended(engine).ends_with(143);
    assert_eq!(limits()["state"], "paused", "a later engine knows of it");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "nobody else asked meanwhile");
}

/// Twelve items of a source that nobody listens at, four at once; its breaker opens after five failures, for longer than any
/// run here lasts.
fn nobody_listens() -> Place {
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    Place::new(&format!(
        "version: 1\nname: nobody\nlake: ./lake\nsources:\n  api:\n    hosts: [\"127.0.0.1:{port}\"]\n    \
         base_url: http://127.0.0.1:{port}\n    limits: {{ per_minute: 30, in_flight: 4 }}\n    \
         breaker: {{ failures: 5, cooldown: 5m }}\ndimensions:\n  n: [a, b, c, d, e, f, g, h, i, j, k, l]\ndatasets:\n  x:\n    source: api\n    \
         key: x/{{n}}.json\n    for: n\n    collector:\n      http: {{ url: \"http://127.0.0.1:{port}/{{n}}\" }}\n"
    ))
}

/// One that waits for ever is ended after half a minute, and has no exit code.
fn soon_ended(mut engine: Child) -> Said {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while engine.try_wait().expect("a child").is_none() {
        if std::time::Instant::now() > deadline {
            engine.kill().expect("it can be ended");
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
    ended(engine)
}

#[test]
fn what_has_sent_nothing_waits_in_the_queue_and_not_in_a_slot_while_its_source_is_shut() {
    for args in [&["run", "--once"][..], &["run", "--max-wait", "5s"]] {
        let place = nobody_listens();
        soon_ended(place.start(args)).ends_with(2).says("12 gaps remain").says("held");
    }
    for (which, code) in [("-TERM", 143), ("-INT", 130)] {
        let place = nobody_listens();
        let engine = place.start(&["run"]);
        let status = || place.adce(&["status", "--format", "json"]).json();
        wait_for("the breaker to open", || status()["sources"]["api"]["state"] == "open");
        wait_for("all slots to be free", || {
            let status = status();
            status["slots"]["used"] == 0 && status["running"] == serde_json::json!([]) && status["gaps"]["running"] == 0
        });
        signal(&engine, which);
        soon_ended(engine).ends_with(code).says("INTERRUPTED");
        is_clean_but_for_gaps(&place);
    }
}

/// The source has failed, and its breaker is open for longer than each retry waits.
#[test]
fn everybody_says_the_same_next_try_and_why() {
    let place = nobody_listens();
    soon_ended(place.start(&["run", "--once"])).ends_with(2);
    let gaps = place.adce(&["gaps", "--format", "json"]);
    let gaps: Vec<serde_json::Value> = gaps.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let next: std::collections::BTreeSet<&str> = gaps.iter().map(|gap| gap["next_try"].as_str().expect("a time")).collect();
    assert_eq!((gaps.len(), next.len()), (12, 1), "all of them wait for one probe: {next:?}");
    let failed = gaps.iter().find(|gap| !gap["last_error"].is_null()).expect("one that failed");
    place
        .adce(&["why", failed["key"].as_str().expect("a key")])
        .says("the last attempt failed, and `api` keeps failing")
        .says("no connection");
    place.adce(&["status"]).says("source api: `api` keeps failing: its breaker is open").says("next probe");
    place.adce(&["plan"]).says("the breaker of `api` is open").says("holds if that is answered");
    let limits = place.adce(&["limits"]);
    assert!(!limits.out.contains("full rate"), "nobody was reached, so no slower rate was learned: {}", limits.out);
}

#[test]
fn what_was_filled_since_the_last_look_is_there() {
    let place = Place::new(
        "version: 1\nlake: ./lake\ndimensions:\n  n: [a, b, c]\ndatasets:\n  x:\n    key: x/{n}.txt\n    for: n\n    absent: { after: 0s }\n    \
         collector:\n      command: [sh, scraper.sh, \"{n}\", \"{out}\"]\nengine: { max_concurrent: 1 }\n",
    );
    let scraper = "case $1 in\na) echo hello > \"$2\";;\nb) exit 66;;\nc) touch \"$0.waits\"; while [ ! -e go ]; do sleep 0.01; done; echo hello > \"$2\";;\nesac\n";
    place.write("scraper.sh", scraper);
    let engine = place.start(&["run"]);
    wait_for("the last of three", || place.path("scraper.sh.waits").exists());
    place.adce(&["why", "x/a.txt"]).says("`x/a.txt` is expected and no gap: it is present");
    place.adce(&["why", "x/b.txt"]).says("`x/b.txt` is expected and no gap: it is absent upstream, and on record as such");
    place.adce(&["why", "x/c.txt"]).says("runs");
    place.write("go", "");
    soon_ended(engine).ends_with(0);
}
