//! Logs of attempts beside the state: they do not grow for ever, and what is shown of them is there.

mod support;

use std::fs::File;
use std::time::{Duration, SystemTime};

use support::place::Place;

const DAY: Duration = Duration::from_secs(24 * 3_600);

const CONFIG: &str = "version: 1\nname: talking\nlake: ./lake\ndimensions:\n  letter: [a]\ndatasets:\n  letters:\n    \
    key: letters/{letter}.txt\n    for: letter\n    collector:\n      command: [sh, -c, 'echo talking; exit 1']\n      retry: { attempts: 1 }\n";

/// A log of an attempt that ended so long ago; it takes its bytes on paper only.
fn log(place: &Place, name: &str, age: Duration, bytes: u64) -> String {
    let name = format!(".adce/logs/{name}");
    place.write(&name, "");
    let file = File::options().write(true).open(place.path(&name)).expect("the log");
    file.set_len(bytes).expect("a size");
    file.set_modified(SystemTime::now() - age).expect("a date");
    name
}

#[test]
fn logs_that_are_too_old_or_too_large_together_go_and_nothing_else() {
    let place = Place::new(CONFIG);
    let id = |number: u32| format!("0192e4a0-0000-7000-8000-{number:012}.log");
    let old = log(&place, &id(1), DAY * 91, 10);
    let large = log(&place, &id(2), DAY * 3, 400 << 20);
    let next = log(&place, &id(3), DAY * 2, 300 << 20);
    let young = log(&place, &id(4), DAY, 200 << 20);
    let notes = log(&place, "notes.log", DAY * 1_000, 10);
    place.adce(&["run"]).ends_with(2);
    assert_eq!([&old, &large, &next, &young, &notes].map(|name| place.has(name)), [false, false, true, true, true]);
}

#[test]
fn a_log_that_was_pruned_is_not_shown_any_more() {
    let place = Place::new(CONFIG);
    place.adce(&["run"]).ends_with(2);
    let task = place.adce(&["tasks", "--format", "json"]).json()["id"].as_str().expect("an id").to_owned();
    let shown = || place.adce(&["tasks", "show", &task, "--format", "json"]).ends_with(0).json()["attempts"][0].clone();
    let log = shown()["log"].as_str().expect("a log").to_owned();
    let text = std::fs::read_to_string(&log).expect("the log");
    let stamp = text.strip_suffix("Z out talking\n").expect("one line, with its stream");
    assert_eq!(stamp.len(), "2025-03-09T14:00:04.123".len());
    std::fs::remove_file(log).expect("the log goes");
    assert!(shown()["log"].is_null());
    assert_eq!(shown()["log_tail"], text, "its end is on record");
    let time = &stamp["2025-03-09T".len()..];
    place.adce(&["tasks", "show", &task]).ends_with(0).says(&format!("    │ {time} out talking\n"));
}
