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
    // Of a kept folder all counts that is in it.
    let folder = |number: u32, age, bytes| {
        let file = log(&place, &format!("0192e4a0-0000-7000-8000-{number:012}.folder/out/deep/part"), age, bytes);
        let folder = file.strip_suffix("/out/deep/part").expect("a folder");
        File::open(place.path(folder)).expect("the folder").set_modified(SystemTime::now() - age).expect("a date");
        folder.to_owned()
    };
    let (old_folder, young_folder) = (folder(5, DAY * 91, 10), folder(4, DAY, 10));
    place.adce(&["run"]).ends_with(2);
    assert_eq!([&old_folder, &young_folder].map(|name| place.has(name)), [false, true]);
    assert_eq!([&old, &large, &next, &young, &notes].map(|name| place.has(name)), [false, false, true, true, true]);
    // What is in a folder leaves no room for an older log.
    folder(6, DAY / 2, 400 << 20);
    place.adce(&["run"]).ends_with(2);
    assert_eq!([&next, &young].map(|name| place.has(name)), [false, false]);
}

#[test]
fn history_and_logs_are_kept_as_the_config_says() {
    let place = Place::new(&format!("{CONFIG}engine: {{ history: {{ size: 1B }}, logs: {{ keep: 2d, size: 300MiB }} }}\n"));
    let id = |number: u32| format!("0192e4a0-0000-7000-8000-{number:012}.log");
    let old = log(&place, &id(1), DAY * 3, 10);
    let large = log(&place, &id(2), DAY, 200 << 20);
    let young = log(&place, &id(3), DAY / 2, 200 << 20);
    place.adce(&["run"]).ends_with(2);
    assert_eq!([&old, &large, &young].map(|name| place.has(name)), [false, false, true]);
    let kept = || place.adce(&["state", "check", "--format", "json"]).ends_with(0).json();
    assert_eq!(kept()["attempts"], 1, "what was written last is pruned by what comes after it");
    place.adce(&["accept"]).ends_with(0);
    place.adce(&["retry", "--all"]).ends_with(0);
    assert_eq!((&kept()["attempts"], &kept()["gaps"]), (&0.into(), &1.into()), "and nothing else is");
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

#[test]
fn the_folder_of_an_attempt_is_kept_beside_its_log_when_its_collector_wants_that() {
    let script = |exit: u8| format!("'echo talking; echo page > $ADCE_OUT/letters/a.txt; echo 1 > $ADCE_OUT/../cookies; exit {exit}'");
    let cases = [("never", 1, false), ("failed", 1, true), ("failed", 0, false), ("always", 0, true), ("always", 1, true)];
    for (keep, exit, is_kept) in cases {
        let config = CONFIG.replace("'echo talking; exit 1'", &script(exit)).replace("retry:", &format!("keep: {keep}\n      retry:"));
        let place = Place::new(&config);
        place.adce(&["run"]).ends_with(if exit == 0 { 0 } else { 2 });
        let logs = std::fs::read_dir(place.path(".adce/logs")).expect("logs").map(|entry| entry.expect("an entry").path());
        let kept: Vec<_> = logs.filter(|path| path.extension().is_some_and(|end| end == "folder")).collect();
        assert_eq!(kept.len(), usize::from(is_kept), "{keep}, exit {exit}");
        let left = std::fs::read_dir(place.path(".adce/attempts")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{keep}, exit {exit}: nothing else is left");
        let Some(kept) = kept.first() else { continue };
        assert!(kept.join("items.jsonl").exists() && kept.join("cookies").exists(), "{keep}, exit {exit}");
        assert!(kept.join("out/letters/a.txt").exists(), "what was published was copied");
        if exit != 0 {
            let task = place.adce(&["tasks", "--format", "json"]).json()["id"].as_str().expect("an id").to_owned();
            place.adce(&["tasks", "show", &task]).ends_with(0).says(&format!("adce its folder is kept: {}", kept.display()));
        }
    }
}

#[test]
fn what_nothing_ever_ran_in_is_not_kept() {
    let first =
        "priority: high\n    collector:\n      command: [sh, -c, 'echo page > lake/letters/a.txt']\n      output: direct\n      retry:";
    let second = "  missing:\n    key: missing/{letter}.txt\n    for: letter\n    priority: low\n    collector:\n      \
        command: [no-such-scraper]\n      keep: always\n      retry: { attempts: 1 }\nengine: { max_concurrent: 1 }\n";
    let config = CONFIG.replace("collector:\n      command: [sh, -c, 'echo talking; exit 1']\n      retry:", first);
    let place = Place::new(&(config + second));
    place.write("lake/letters/.keep", "");
    place.adce(&["run"]).ends_with(2).says("no-such-scraper");
    // It had got the folder of the one before.
    let logs = std::fs::read_dir(place.path(".adce/logs")).map_or(0, Iterator::count);
    assert_eq!((place.has("lake/letters/a.txt"), logs), (true, 0));
}

#[test]
fn what_a_silent_attempt_leaves_is_as_old_as_its_end() {
    let config = CONFIG.replace("echo talking; exit 1", "echo there > {out}; touch -d @0 $(dirname $ADCE_OUT)");
    let place = Place::new(&format!("{config}      keep: always\n"));
    place.adce(&["run"]).ends_with(0);
    let kept = || std::fs::read_dir(place.path(".adce/logs")).expect("logs").flatten().count();
    assert_eq!(kept(), 1);
    place.adce(&["run"]).ends_with(0);
    assert_eq!(kept(), 1, "it was old at once");
}
