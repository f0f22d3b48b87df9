//! Daemons of scrapers: whatever ends an attempt or its engine, nothing of it lives when its gap is handed out again.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use adce_collect::Followed;
use support::place::{Place, children_of, engine_of, said, signal, wait_for};

/// The first attempt leaves its group for good: it starts a daemon (`setsid`, and its parent is gone) and a child in a
/// session of its own, notes their numbers and goes on with `then`. The second one notes the states of those of them that
/// are there, and does its work.
fn daemons(then: &str, more: &str) -> Place {
    let place = Place::new(&format!(
        "version: 1\nname: daemons\nlake: ./lake\ndimensions:\n  letter: [a]\ndatasets:\n  letters:\n    key: letters/{{letter}}.txt\n    \
         for: letter\n    collector:\n      command: [sh, scraper.sh, \"{{out}}\"]\n      env: [PATH, ADCE_GUARDIAN]\n      \
         retry: {{ attempts: 2, backoff: 10ms..20ms }}\n{more}"
    ));
    let scraper = format!(
        "if [ -e child ]; then\n  for name in daemon child scraper; do cut -d ' ' -f 3 /proc/$(cat $name)/stat; done > alive 2> /dev/null\n  \
         echo hello > \"$1\"; exit 0\nfi\n\
         echo \"$ADCE_GUARDIAN\" > told; echo $$ > scraper\n\
         (setsid sh -c 'echo $$ > noted; mv noted daemon; exec sleep 1000' > /dev/null 2>&1 &)\n\
         setsid sh -c 'while [ ! -e daemon ]; do sleep 0.01; done; echo $$ > noted; mv noted child; exec sleep 1000' > /dev/null 2>&1 &\n\
         while [ ! -e child ]; do sleep 0.01; done\n{then}\n"
    );
    place.write("scraper.sh", &scraper);
    place
}

/// The gap was handed out a second time, and then nothing of the first attempt was there, not even a zombie.
fn nothing_was_left(place: &Place) {
    assert_eq!(place.read("alive"), "", "at the second attempt these were there");
    was_collected(place);
}

/// What has lost guardian and engine is the child of the system's first process, which reaps it when it likes.
fn nothing_ran(place: &Place) {
    let alive = place.read("alive");
    assert_eq!(alive.lines().filter(|state| *state != "Z").count(), 0, "at the second attempt these lived: {alive}");
    was_collected(place);
}

fn was_collected(place: &Place) {
    assert_eq!(place.read("lake/letters/a.txt"), "hello\n");
    assert_eq!(place.read("told"), "\n", "a collector was told of the guardian");
}

/// A run whose first attempt goes on for ever.
fn at_work() -> (Place, Child) {
    let place = daemons("exec sleep 1000", "");
    let guardian = place.start(&["run"]);
    wait_for("the daemons", || place.has("child"));
    (place, guardian)
}

fn is_there(pid: &str) -> bool {
    std::path::Path::new(&format!("/proc/{}", pid.trim())).exists()
}

fn none_is_there(place: &Place) -> bool {
    ["daemon", "child", "scraper"].iter().all(|name| !is_there(&place.read(name)))
}

#[test]
fn a_daemon_is_gone_when_its_attempt_has_ended() {
    let place = daemons("exit 0", "");
    place.adce(&["run"]).ends_with(0);
    nothing_was_left(&place);
}

#[test]
fn a_daemon_is_gone_when_its_attempt_has_timed_out() {
    let place = daemons("exec sleep 1000", "      timeout: 3s\n");
    place.adce(&["run"]).ends_with(0).says("COMPLETE 100 %");
    nothing_was_left(&place);
}

#[test]
fn a_daemon_is_gone_after_ctrl_c_twice() {
    let (place, guardian) = at_work();
    signal("-INT", guardian.id() as i32);
    wait_for("the engine to drain", || place.adce(&["status", "--format", "json"]).json()["engine"]["stopping"] == true);
    signal("-INT", guardian.id() as i32);
    said(guardian.wait_with_output().expect("it ends")).ends_with(130);
    assert!(none_is_there(&place));
    place.adce(&["run"]).ends_with(0);
    nothing_was_left(&place);
}

#[test]
fn nothing_outlives_a_killed_engine() {
    let (place, mut guardian) = at_work();
    signal("-KILL", engine_of(&guardian));
    assert_eq!(guardian.wait().expect("it ends").signal(), Some(9), "the guardian ends as its engine did");
    assert!(none_is_there(&place));
    place.adce(&["run"]).ends_with(0);
    nothing_was_left(&place);
}

/// The guardian alone is killed, and then nobody starts anything. `before` is done to the engine.
fn the_guardian_is_killed(before: impl FnOnce(i32)) {
    let (place, mut guardian) = at_work();
    let engine = engine_of(&guardian);
    let all = ["daemon", "child", "scraper"].map(|name| place.read(name).trim().parse().expect("a number"));
    let all = all.into_iter().chain([engine]).map(|pid| (pid, Followed::by_pid(pid).expect("it runs")));
    let all: Vec<(i32, Followed)> = all.collect();
    before(engine);
    guardian.kill().expect("SIGKILL");
    guardian.wait().expect("it ends");
    let deadline = Instant::now() + Duration::from_secs(60);
    for (pid, process) in all {
        assert!(process.has_ended_by(deadline), "{pid} outlived the guardian");
    }
    assert!(!place.has("alive"), "what the dying engine ended counted as failed, and was tried again");
    place.adce(&["run"]).ends_with(0);
    nothing_ran(&place);
}

#[test]
fn nothing_outlives_a_killed_guardian() {
    the_guardian_is_killed(|_| {});
}

#[test]
fn an_engine_that_stands_still_goes_with_its_guardian_all_the_same() {
    the_guardian_is_killed(|engine| signal("-STOP", engine));
}

#[test]
fn what_outlives_both_is_gone_before_anything_starts_again() {
    let (place, mut guardian) = at_work();
    let engine = engine_of(&guardian);
    // It cannot do anything between the two signals.
    signal("-STOP", guardian.id() as i32);
    signal("-KILL", engine);
    signal("-KILL", guardian.id() as i32);
    guardian.wait().expect("it ends");
    wait_for("the engine to be gone", || !is_there(&engine.to_string()));
    assert!(is_there(&place.read("daemon")), "nobody is left to end it");
    place.adce(&["run"]).ends_with(0);
    nothing_ran(&place);
}

#[test]
fn a_signal_to_the_whole_group_is_one_signal() {
    let place = daemons("while [ ! -e go ]; do sleep 0.01; done; echo hello > \"$1\"", "");
    let shell = "set -m; \"$0\" run & echo $! > group; wait $!";
    let mut shell = Command::new("bash").args(["-c", shell, env!("CARGO_BIN_EXE_adce")]).current_dir(place.folder()).spawn().expect("bash");
    wait_for("the daemons", || place.has("child"));
    let group: i32 = place.read("group").trim().parse().expect("a number");
    signal("-TERM", -group);
    wait_for("the engine to drain", || place.adce(&["status", "--format", "json"]).json()["engine"]["stopping"] == true);
    place.write("go", "");
    assert_eq!(shell.wait().expect("it ends").code(), Some(143));
    assert!(place.has("lake/letters/a.txt"), "what ran was ended: the signal counted twice");
}

#[test]
fn a_guardian_passes_on_a_death_before_anybody_listens() {
    let place = daemons("exit 0", "");
    // The config is a pipe: the engine waits for somebody who writes it.
    std::fs::remove_file(place.path("adce.yaml")).expect("the config");
    assert!(Command::new("mkfifo").arg(place.path("adce.yaml")).status().expect("mkfifo").success());
    for (which, number) in [("-TERM", 15), ("-HUP", 1), ("-INT", 2)] {
        let mut guardian = place.start(&["run"]);
        wait_for("the engine", || children_of(guardian.id() as i32).len() == 1);
        signal(which, guardian.id() as i32);
        let ended = guardian.wait().expect("it ends");
        assert_eq!(ended.signal(), Some(number), "{ended:?}");
    }
}

#[test]
fn a_guardian_that_was_started_by_one_who_ignores_dead_children_hears_of_its_engine() {
    let place = daemons("exit 0", "");
    let ignoring = "trap '' CHLD; exec \"$0\" run > said 2>&1";
    let mut command = Command::new("bash");
    let mut guardian = command.args(["-c", ignoring, env!("CARGO_BIN_EXE_adce")]).current_dir(place.folder()).spawn().expect("bash");
    let mut ended = None;
    wait_for("the guardian's end", || {
        ended = guardian.try_wait().expect("a child");
        ended.is_some()
    });
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "{}", place.read("said"));
    nothing_was_left(&place);
}
