//! An engine that nobody's terminal holds, and what a person does to it: start, stop, restart, pause, cancel, look, and what it says.

mod support;

use std::io::{BufRead, BufReader};

use serde_json::Value;
use support::place::{Place, Said, wait_for};

/// One item lands at once; the other takes until somebody lets it go.
const CONFIG: &str = "version: 1\nname: night\nlake: ./lake\nsources:\n  site: { hosts: [site.example], limits: { per_minute: 600 } }\n\
                      dimensions:\n  number: [1]\ndatasets:\n  quick:\n    source: site\n    key: quick/{number}.txt\n    for: number\n    \
                      collector:\n      command: [sh, -c, 'echo hello > \"$1\"', sh, \"{out}\"]\n  \
                      slow:\n    key: slow/{number}.txt\n    for: number\n    collector:\n      \
                      command: [sh, -c, 'echo began; echo $$ > began; while [ ! -e go ]; do sleep 0.02; done; echo hello > \"$1\"', sh, \"{out}\"]\n\
                      engine: { reconcile_every: 5h }\n";

/// Ends the engine of a place when its test is over, however that ended.
struct Night(Place);

impl Night {
    fn new() -> Night {
        Night(Place::new(CONFIG))
    }

    fn begin() -> Night {
        let night = Night::new();
        night.adce(&["start"]).ends_with(0).says("started, pid ");
        wait_for("the slow one runs", || night.0.has("began") && night.0.has("lake/quick/1.txt"));
        night
    }

    fn adce(&self, args: &[&str]) -> Said {
        self.0.adce(args)
    }

    fn json(&self, args: &[&str]) -> Value {
        self.adce(&[args, &["--format", "json"]].concat()).json()
    }
}

impl Drop for Night {
    fn drop(&mut self) {
        self.adce(&["stop", "--within", "0s"]);
    }
}

#[test]
fn an_engine_in_the_background_outlives_who_started_it_and_a_second_one_is_told_who_it_is() {
    let night = Night::begin();
    let pid = night.json(&["status"])["engine"]["pid"].clone();
    night.adce(&["start"]).ends_with(75).says(&format!("pid {pid}"));
    night.adce(&["up", "-d"]).ends_with(75).says(&format!("pid {pid}"));
    night.adce(&["run", "--yes"]).ends_with(75);
    night.0.write("go", "");
    wait_for("all is there", || night.json(&["status"])["complete"] == true);
    night.adce(&["health"]).ends_with(0).says("healthy, complete");
    assert_eq!(night.json(&["stop"])["stopped"], true);
    assert_eq!(night.json(&["stop"])["stopped"], false, "twice is no error");
    night.adce(&["health"]).ends_with(69).says("no engine runs");
    night.adce(&["run", "--now"]).ends_with(69).says("no engine runs");
}

#[test]
fn an_engine_that_cannot_start_says_why_to_who_started_it() {
    let night = Night::new();
    std::fs::remove_dir(night.0.path("lake")).unwrap();
    night.adce(&["start"]).ends_with(69).says("did not start").says("lake");
    night.0.write("adce.yaml", "version: 1\nlake: ./lake\n");
    night.adce(&["start"]).ends_with(78);
}

#[test]
fn what_runs_is_finished_before_the_engine_ends() {
    let night = Night::begin();
    let mut stopping = night.0.start(&["stop", "--within", "1m"]);
    wait_for("it is ending", || night.json(&["status"])["engine"]["stopping"] == true);
    night.adce(&["health"]).ends_with(2).says("it is ending");
    let mut progress = String::new();
    BufReader::new(stopping.stderr.take().unwrap()).read_line(&mut progress).unwrap();
    assert_eq!(progress.trim_end(), "1 attempt to be finished: slow/1.txt");
    night.0.write("go", "");
    support::place::said(stopping.wait_with_output().unwrap()).ends_with(0).says("stopped");
    assert_eq!(night.0.read("lake/slow/1.txt"), "hello\n");
}

#[test]
fn what_still_runs_after_the_bound_is_stopped_and_nothing_of_it_lives_on() {
    let night = Night::begin();
    let began: i32 = night.0.read("began").trim().parse().unwrap();
    night.adce(&["stop", "--within", "0s"]).ends_with(0).says("stopped");
    assert!(!std::path::Path::new(&format!("/proc/{began}")).exists(), "the command is gone");
    assert!(!night.0.has("lake/slow/1.txt"));
    // It costs no attempt.
    let gap = night.json(&["gaps"]);
    assert_eq!((&gap["key"], &gap["attempts"]), (&"slow/1.txt".into(), &0.into()));
}

#[test]
fn a_restart_is_another_engine_and_an_invalid_config_ends_nothing() {
    let night = Night::begin();
    let before = night.json(&["status"])["engine"]["pid"].clone();
    night.0.write("adce.yaml", "version: 1\nlake: ./lake\n");
    night.adce(&["restart", "--within", "0s"]).ends_with(78);
    night.0.write("adce.yaml", CONFIG);
    assert_eq!(night.json(&["status"])["engine"]["pid"], before);
    night.adce(&["restart", "--within", "0s"]).ends_with(0).says("started, pid ");
    assert_ne!(night.json(&["status"])["engine"]["pid"], before);
}

#[test]
fn what_is_paused_starts_nothing_also_after_a_restart_and_goes_on_when_it_is_resumed() {
    let night = Night::new();
    night.adce(&["pause", "site"]).ends_with(69).says("no state yet");
    night.0.write("go", "");
    night.adce(&["pause", "nobody"]).ends_with(64).says("no source and no dataset is called `nobody`");
    night.adce(&["start"]).ends_with(0);
    wait_for("all is there", || night.json(&["status"])["complete"] == true);
    let paused = night.json(&["pause", "site", "--reason", "they move"]);
    assert_eq!((&paused["changed"], &paused["paused"][0]["because"]), (&true.into(), &"they move".into()));
    assert_eq!(night.json(&["pause", "site", "--reason", "they move"])["changed"], false);
    night.adce(&["stop"]).ends_with(0);
    // By a state that nobody runs, too.
    night.adce(&["pause", "slow"]).ends_with(0).says("dataset `slow` starts nothing since");
    for gone in ["lake/quick/1.txt", "lake/slow/1.txt"] {
        std::fs::remove_file(night.0.path(gone)).unwrap();
    }
    night.adce(&["start"]).ends_with(0);
    wait_for("both are held", || night.json(&["status"])["gaps"]["held"] == 2);
    night.adce(&["why", "quick/1.txt"]).ends_with(0).says("source `site` was paused by hand").says("they move");
    night.adce(&["status"]).ends_with(2).says("adce resume site").says("dataset `slow` starts nothing since");
    assert_eq!(night.json(&["status"])["sources"]["site"]["state"], "paused");
    night.adce(&["resume", "slow"]).ends_with(0).says("goes on");
    wait_for("one is there again", || night.0.has("lake/slow/1.txt"));
    assert!(!night.0.has("lake/quick/1.txt"), "and the other one is not");
    assert_eq!(night.json(&["resume", "slow"])["changed"], false);
    assert_eq!(night.json(&["resume", "--all"])["paused"], Value::Array(vec![]));
    wait_for("both are there again", || night.json(&["status"])["complete"] == true);
}

#[test]
fn what_is_cancelled_is_ended_and_left_alone() {
    let night = Night::begin();
    let began: i32 = night.0.read("began").trim().parse().unwrap();
    night.adce(&["cancel", "nothing/1.txt"]).ends_with(64);
    let line = night.json(&["cancel", "slow", "--for", "2h"]);
    assert_eq!((&line["key"], line["attempt"].is_string()), (&"slow/1.txt".into(), true));
    wait_for("it has ended", || night.json(&["status"])["running"] == Value::Array(vec![]));
    assert!(!std::path::Path::new(&format!("/proc/{began}")).exists(), "the command is gone");
    let gap = night.json(&["gaps"]);
    assert_eq!((&gap["state"], &gap["attempts"]), (&"held".into(), &0.into()));
    night.adce(&["why", "slow/1.txt"]).ends_with(0).says("cancelled by hand");
    // Also after a restart; and a person may want it sooner.
    night.adce(&["restart"]).ends_with(0);
    assert_eq!(night.json(&["gaps"])["state"], "held");
    night.0.write("go", "");
    night.adce(&["retry", "slow/1.txt"]).ends_with(0);
    wait_for("it is there", || night.0.has("lake/slow/1.txt"));
}

#[test]
fn an_engine_looks_at_once_when_it_is_asked_to() {
    let night = Night(Place::new(&CONFIG.replace("lake: ./lake\n", "lake: { url: ./lake, watch: false }\n")));
    night.0.write("go", "");
    night.adce(&["start"]).ends_with(0);
    wait_for("all is there", || night.json(&["status"])["complete"] == true);
    std::fs::remove_file(night.0.path("lake/quick/1.txt")).unwrap();
    assert_eq!(night.json(&["run", "--now"])["begun"], true);
    wait_for("it is there again", || night.0.has("lake/quick/1.txt"));
}

#[test]
fn what_engines_said_is_there_by_time_source_and_task_and_goes_on() {
    let night =
        Night(Place::new(&CONFIG.replace("echo hello > \"$1\"', sh, \"{out}\"]\n  slow", "echo why; exit 3', sh, \"{out}\"]\n  slow")));
    let mut following = night.0.start(&["logs", "--follow"]);
    night.0.write("go", "");
    night.adce(&["start"]).ends_with(0);
    let failed = || night.json(&["logs", "--source", "site"]);
    wait_for("it has failed", || !night.adce(&["logs", "--source", "site"]).out.is_empty());
    let line = failed();
    assert_eq!((&line["event"], &line["key"], &line["source"]), (&"failed".into(), &"quick/1.txt".into(), &"site".into()));
    let task = line["task"].as_str().unwrap();
    night.adce(&["logs", "--task", task]).ends_with(0).says("failed quick/1.txt").says("why");
    night.adce(&["logs", "--since", "1h"]).ends_with(0).says("started, pid ").says("looked: ");
    let none = night.adce(&["logs", "--since", "2100-01-01T00:00:00Z"]);
    assert_eq!((none.code, none.out.as_str()), (Some(0), ""));
    night.adce(&["logs", "--since", "noon"]).ends_with(64);
    night.adce(&["stop", "--within", "0s"]).ends_with(0);
    // Of an engine that is dead, too.
    night.adce(&["logs", "-n", "1"]).ends_with(0).says("ended as it was told to");
    // Whoever followed it has seen all of it by himself.
    let lines = BufReader::new(following.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut seen: Vec<String> = Vec::new();
    for line in lines {
        let is_last = line.contains("ended as it was told to");
        seen.push(line);
        if is_last {
            break;
        }
    }
    assert!(seen[0].contains("started, pid"), "{seen:?}");
    following.kill().unwrap();
    following.wait().unwrap();
}
