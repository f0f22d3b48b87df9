//! Commands on a schedule, and maintenance windows.

mod support;

use std::io::{Read, Write};
use std::process::Child;

use serde_json::Value;
use support::place::{Place, said, signal, wait_for};

fn config(jobs: &str, rest: &str) -> String {
    format!(
        "version: 1\nname: clockwork\nlake: ./lake\ndimensions:\n  number: [1]\ndatasets:\n  box:\n    key: box/{{number}}.txt\n    for: number\n    \
         collector:\n      command: [sh, -c, 'echo hello > \"$1\"', sh, \"{{out}}\"]\njobs:\n{jobs}{rest}engine: {{ reconcile_every: 5h, max_concurrent: 1 }}\n"
    )
}

/// Every second, so that a test need not wait for a minute.
const EVERY_SECOND: &str = "* * * * * *";

struct Running<'p> {
    place: &'p Place,
    engine: Option<Child>,
}

impl<'p> Running<'p> {
    fn by(place: &'p Place) -> Running<'p> {
        Running { place, engine: Some(place.start(&["up", "--yes"])) }
    }

    fn jobs(&self) -> Value {
        let said = self.place.adce(&["jobs", "--format", "json"]);
        if said.code == Some(0) { said.json() } else { Value::Null }
    }

    fn ends(mut self) {
        let engine = self.engine.take().expect("it runs");
        signal("-TERM", engine.id() as i32);
        said(engine.wait_with_output().expect("it ends")).ends_with(143);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.engine.is_some() {
            self.place.adce(&["stop", "--within", "0s"]);
        }
    }
}

#[test]
fn a_job_runs_by_its_schedule_with_a_log_and_never_twice_at_once() {
    let job = format!(
        "  tick: {{ at: \"{EVERY_SECOND}\", command: [sh, -c, 'echo said; echo begin >> ran; while [ ! -e go ]; do sleep 0.02; done; echo end >> ran'] }}\n"
    );
    let place = Place::new(&config(&job, ""));
    let running = Running::by(&place);
    wait_for("it began", || place.has("ran"));
    // It is due each second meanwhile. A slot is one: nothing else may have it either.
    std::fs::remove_file(place.path("lake/box/1.txt")).ok();
    let status = || place.adce(&["status", "--format", "json"]);
    wait_for("the engine waits for the slot", || status().json()["gaps"]["queued"] == 1 || place.has("lake/box/1.txt"));
    assert_eq!(place.read("ran"), "begin\n", "one at a time");
    place.write("go", "");
    wait_for("it ran again and again", || place.read("ran").matches("end").count() >= 3);
    let ran = place.read("ran");
    assert!(ran.lines().collect::<Vec<_>>().chunks(2).all(|two| two[0] == "begin"), "{ran}");
    let last = || running.jobs()[0]["last"].clone();
    wait_for("it is on record", || last()["ok"] == true && last()["log"].is_string());
    let log = last()["log"].as_str().unwrap().to_owned();
    assert!(std::fs::read_to_string(log).unwrap().contains("said"));
    place.adce(&["jobs"]).ends_with(0).says("tick  next ").says("exit 0");
    running.ends();
}

#[test]
fn what_was_due_while_nobody_was_there_runs_once_or_not_at_all_as_declared() {
    // Of the 1st of January and of the 1st of July: at most one of them is long ago, and neither is now.
    let job = |name: &str, missed: &str| {
        format!("  {name}: {{ at: \"0 0 1 1,7 *\", missed: {missed}, command: [sh, -c, 'echo {name} >> ran'] }}\n")
    };
    let jobs = job("caught_up", "once") + &job("left_out", "skip");
    let place = Place::new(&config(&jobs, ""));
    let running = Running::by(&place);
    wait_for("the engine is there", || place.has("lake/box/1.txt"));
    wait_for("they are on record", || running.jobs().as_array().is_some_and(|jobs| jobs.len() == 2));
    running.ends();
    assert!(!place.has("ran"), "what was due before there was a state is nobody's");
    // As if nobody had been there for years.
    let state = rusqlite::Connection::open(place.path(".adce/state.db")).unwrap();
    for name in ["caught_up", "left_out"] {
        let body = "{\"seen_to\":\"2020-03-01T00:00:00Z\",\"runs\":[]}";
        state.execute("INSERT OR REPLACE INTO job (name, body) VALUES (?, ?)", [name, body]).unwrap();
    }
    drop(state);
    let running = Running::by(&place);
    wait_for("one has run", || place.has("ran"));
    let last = || running.jobs()[0]["last"].clone();
    wait_for("it is on record", || last()["ok"] == true);
    assert!(last()["missed"].as_u64().unwrap() > 8, "{}", last());
    assert_eq!(running.jobs()[1]["last"], Value::Null);
    place.adce(&["logs"]).ends_with(0).says("job `left_out`").says("missed while nobody was there");
    running.ends();
    // It is seen to, and the next engine knows.
    let running = Running::by(&place);
    wait_for("the engine is there", || running.jobs().is_array() && place.adce(&["health"]).code == Some(0));
    assert_eq!(place.read("ran"), "caught_up\n");
    running.ends();
}

#[test]
fn a_job_that_fails_is_tried_again_and_one_that_went_well_tells_and_has_the_lake_looked_at() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    let told = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut text = Vec::new();
        let mut piece = [0; 1024];
        while !String::from_utf8_lossy(&text).contains("}") {
            let read = client.read(&mut piece).unwrap();
            assert!(read > 0, "it is cut short");
            text.extend_from_slice(&piece[..read]);
        }
        client.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    // It delivers what a dataset expects that nobody collects, and fails the first time.
    let job = format!(
        "  daily:\n    at: \"{EVERY_SECOND}\"\n    command: [sh, -c, 'if [ ! -e tried ]; then touch tried; exit 3; fi; mkdir -p lake/other; echo x > lake/other/1.txt']\n    \
         retry: {{ attempts: 2, backoff: 1s..1s }}\n    post: [reconcile, {{ webhook: \"{url}\" }}]\n"
    );
    let text = config(&job, "").replace("lake: ./lake", "lake: { url: ./lake, watch: false }");
    let text = text.replace("jobs:\n", "  other:\n    key: other/{number}.txt\n    for: number\njobs:\n");
    let place = Place::new(&text);
    let running = Running::by(&place);
    let told = told.join().unwrap();
    assert!(told.starts_with("POST /done") && told.contains("\"job\":\"daily\"") && told.contains("exit 0"), "{told}");
    wait_for("the lake was looked at", || place.adce(&["status", "--format", "json"]).json()["complete"] == true);
    place.adce(&["logs"]).ends_with(0).says("job `daily` failed: exit 3");
    running.ends();
}

#[test]
fn in_a_maintenance_window_nothing_starts_and_it_is_said_until_when() {
    let window = "maintenance:\n  always: { at: \"* * * * *\", for: 2h, reason: they move, zone: America/New_York }\n";
    let place = Place::new(&config("  none: { at: \"@yearly\", command: [\"true\"] }\n", window));
    let running = Running::by(&place);
    let status = || place.adce(&["status"]).out;
    wait_for("it is said", || status().contains("maintenance `always`: they move"));
    assert!(!place.has("lake/box/1.txt"));
    place.adce(&["why", "box/1.txt"]).ends_with(0).says("everything is paused until").says("they move");
    place.write("adce.yaml", &config("  none: { at: \"@yearly\", command: [\"true\"] }\n", ""));
    wait_for("it is over", || place.has("lake/box/1.txt"));
    running.ends();
    // What is wrong with a schedule is said with its place.
    place.write("adce.yaml", &config("  bad: { at: \"61 * * * *\", zone: Mars/Base, command: [\"true\"] }\n", ""));
    place.adce(&["check"]).ends_with(78).says("there is no time zone `Mars/Base`");
}
