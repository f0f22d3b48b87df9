//! An engine as a service: what its manager is told, what the unit says, and when it starts nothing for its own sake.

mod support;

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use support::place::{Place, engine_of, said, signal, wait_for};

const CONFIG: &str = "version: 1\nname: served\nlake: ./lake\ndimensions:\n  number: [1]\ndatasets:\n  box:\n    key: box/{number}.txt\n    for: number\n    \
                      collector:\n      command: [sh, -c, 'echo hello > \"$1\"', sh, \"{out}\"]\nengine: { reconcile_every: 5h }\n";

/// A service manager, as far as it listens.
struct Manager(UnixDatagram);

impl Manager {
    /// What was told, or that nothing was for so long.
    fn hears_within(&self, patience: Duration) -> Option<String> {
        self.0.set_read_timeout(Some(patience)).expect("a timeout");
        let mut told = [0; 4096];
        let length = self.0.recv(&mut told).ok()?;
        Some(String::from_utf8_lossy(&told[..length]).into_owned())
    }

    /// The next word of this kind; what else is told before it is passed over.
    #[track_caller]
    fn hears(&self, word: &str) -> String {
        loop {
            let told = self.hears_within(Duration::from_secs(60)).unwrap_or_else(|| panic!("`{word}` is not told"));
            if told.lines().any(|line| line == word) {
                return told;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_of_the_beginning_of_life_of_a_reload_and_of_the_end() {
    let place = Place::new(CONFIG);
    let manager = Manager(UnixDatagram::bind(place.path("notify")).expect("a socket"));
    let told = [("NOTIFY_SOCKET", place.path("notify").display().to_string()), ("WATCHDOG_USEC", "300000".to_owned())];
    let up = place.start_with(&told, &["up", "--yes"]);
    manager.hears("READY=1");
    wait_for("it is complete", || place.has("lake/box/1.txt"));
    // Signs of life go on although nothing happens.
    (0..5).for_each(|_| drop(manager.hears("WATCHDOG=1")));
    signal("-HUP", engine_of(&up));
    assert!(manager.hears("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.hears("READY=1");
    // An engine that hangs gives none.
    signal("-STOP", engine_of(&up));
    while manager.hears_within(Duration::from_millis(900)).is_some() {}
    signal("-CONT", engine_of(&up));
    manager.hears("WATCHDOG=1");
    signal("-TERM", up.id() as i32);
    manager.hears("STOPPING=1");
    said(up.wait_with_output().expect("it ends")).ends_with(143);
}

#[test]
fn a_unit_says_what_a_service_manager_understands() {
    let place = Place::new(CONFIG);
    let variables = [("ADCE_ENGINE__MAX_CONCURRENT", "3".to_owned())];
    let printed = place.adce_with(&variables, &["service", "print", "--run-as", "root"]);
    printed.ends_with(0).says("Type=notify").says("WatchdogSec=").says("User=root").says("Environment=ADCE_ENGINE__MAX_CONCURRENT=3");
    printed.says(&format!("-c {}", place.path("adce.yaml").display())).says(&format!("ReadWritePaths={}", place.folder().display()));
    let unit = place.path("adce-served.service");
    std::fs::write(&unit, &printed.out).unwrap();
    match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&unit).output() {
        Ok(verified) => {
            let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
            let ours: Vec<&str> = complaints.lines().filter(|line| line.contains("adce-served.service")).collect();
            assert!(ours.is_empty(), "{complaints}");
        }
        Err(error) => eprintln!("skipped: no systemd-analyze ({error})"),
    }
    let launchd = place.adce(&["service", "print", "--launchd"]);
    launchd.ends_with(0).says("<key>KeepAlive</key>").says(&format!("<string>{}</string>", place.path("adce.yaml").display()));
    let mut reader = quick_xml::Reader::from_str(&launchd.out);
    while reader.read_event().expect("it is XML") != quick_xml::events::Event::Eof {}
}

#[test]
fn a_dry_run_looks_and_answers_and_starts_nothing() {
    let place = Place::new(CONFIG);
    let planned = place.adce(&["run", "--dry-run", "--format", "json"]);
    planned.ends_with(2);
    assert_eq!(planned.json()["tasks"].as_array().map(Vec::len), Some(1));
    assert!(!place.has(".adce/state.db"), "nothing is written");
    let up = place.start(&["up", "--yes", "--dry-run"]);
    wait_for("it has looked", || place.adce(&["status"]).out.contains("a dry run"));
    place.adce(&["why", "box/1.txt"]).ends_with(0).says("a dry run");
    signal("-TERM", up.id() as i32);
    said(up.wait_with_output().expect("it ends")).ends_with(143);
    assert!(!place.has("lake/box/1.txt"));
}

#[test]
fn an_engine_on_a_disk_that_is_nearly_full_starts_nothing_says_so_and_goes_on_when_there_is_room() {
    let full = CONFIG.replace("reconcile_every: 5h", "reconcile_every: 5h, protect: { disk: 4000000GB }");
    let place = Place::new(&full);
    let up = place.start(&["up", "--yes"]);
    let status = || place.adce(&["status"]).out;
    wait_for("it is said", || status().contains("is nearly full"));
    assert!(!place.has("lake/box/1.txt"));
    place.adce(&["why", "box/1.txt"]).ends_with(0).says("everything was paused").says("is nearly full");
    place.adce(&["logs"]).ends_with(0).says("everything starts nothing: the disk of the state is nearly full");
    place.write("adce.yaml", CONFIG);
    wait_for("it goes on", || place.has("lake/box/1.txt"));
    place.adce(&["logs"]).ends_with(0).says("everything goes on");
    signal("-TERM", up.id() as i32);
    said(up.wait_with_output().expect("it ends")).ends_with(143);
}
