//! `tasks_per_cycle` and `task_ttl` in a running engine: what they hold back is said everywhere, and collected in the end.

mod support;

use std::collections::BTreeSet;

use support::place::{Place, said, wait_for};

fn config(engine: &str) -> String {
    format!(
        "version: 1\nname: capped\nlake: ./lake\ndimensions:\n  letter: [a, b, c, d, e]\ndatasets:\n  letters:\n    key: letters/{{letter}}.txt\n    \
         for: letter\n    collector:\n      command: [sh, -c, '{ATTEMPT}', sh, \"{{out}}\", \"{{letter}}\"]\nengine: {{ {engine} }}\n"
    )
}

const ATTEMPT: &str = "echo \"$2\" >> started; while [ -e wait ]; do sleep 0.01; done; echo hello > \"$1\"";

#[test]
fn what_is_over_a_cap_is_said_by_plan_and_run_and_collected_by_the_next_one() {
    let place = Place::new(&config("tasks_per_cycle: { all: 2 }"));
    let kept = "`tasks_per_cycle: { all: 2 }` is used up until the next full look";
    place.adce(&["plan"]).ends_with(2).says(&format!("3 gaps: {kept}")).says("2 gaps · 0 requests · complete but for 3");
    place.adce(&["run"]).ends_with(2).says(&format!("tasks_per_cycle: 3 tasks (3 gaps) wait: {kept}")).says("3 waiting for a later try");
    assert_eq!(place.read("started").lines().count(), 2);
    let second = place.adce(&["run", "--format", "json"]).ends_with(2).json();
    let kept = &second["kept_for_next_cycle"][0];
    assert_eq!((&kept["by"], &kept["priority"], &kept["gaps"]), (&"tasks_per_cycle".into(), &serde_json::Value::Null, &1.into()));
    let third = place.adce(&["run", "--format", "json"]).ends_with(0).json();
    assert_eq!(third["kept_for_next_cycle"], serde_json::Value::Null);
    let started = place.read("started");
    // Two run at once, and either may be the first to say so.
    let of_each_run: Vec<Vec<&str>> = started
        .lines()
        .collect::<Vec<_>>()
        .chunks(2)
        .map(|two| two.iter().copied().collect::<BTreeSet<_>>().into_iter().collect())
        .collect();
    assert_eq!(of_each_run, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
}

#[test]
fn a_run_that_may_wait_for_the_next_looks_collects_everything_under_its_cap() {
    let place = Place::new(&config("reconcile_every: 500ms, tasks_per_cycle: { all: 10, medium: 2 }"));
    place.adce(&["run"]).ends_with(0).says("COMPLETE 100 %");
    assert_eq!(place.read("started").lines().count(), 5);
}

/// A look ends what stands in line behind a long attempt; the next one is eight seconds away.
#[test]
fn tasks_that_the_ttl_ends_leave_no_slot_empty() {
    let place = Place::new(&config("max_concurrent: 1, reconcile_every: 8s, task_ttl: 1s"));
    place.write("wait", "");
    let engine = place.start(&["run", "--max-wait", "1h"]);
    wait_for("their end", || place.adce(&["status"]).out.contains("task_ttl: 4 gaps stand back"));
    let began = std::time::Instant::now();
    std::fs::remove_file(place.path("wait")).expect("it is there");
    wait_for("all of them", || place.read("started").lines().count() == 5);
    let took = began.elapsed();
    said(engine.wait_with_output().expect("it ends")).ends_with(0);
    assert!(took < std::time::Duration::from_secs(6), "the others were started after {took:?}, as if by the next look");
}

#[test]
fn a_task_that_stood_in_line_for_too_long_ends_and_says_so_and_its_item_is_collected_all_the_same() {
    let place = Place::new(&config("max_concurrent: 1, reconcile_every: 500ms, task_ttl: 1s"));
    place.write("wait", "");
    let engine = place.start(&["run"]);
    let why = || place.adce(&["why", "letters/e.txt"]);
    wait_for("the first attempt", || place.has("started"));
    let gap = |state: &str| {
        let gaps = place.adce(&["gaps", "--format", "json"]).out;
        gaps.lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a gap"))
            .find(|gap| gap["key"] == "letters/e.txt" && gap["state"] == state)
    };
    let mut task = String::new();
    wait_for("the task in line", || {
        task = gap("queued").map(|gap| gap["task"].as_str().expect("its task").to_owned()).unwrap_or_default();
        !task.is_empty()
    });
    wait_for("its end", || gap("waiting").is_some_and(|gap| gap["next_try"].is_string()));
    wait_for("a word on it", || why().out.contains("its task stood in line for longer than `task_ttl` and ended"));
    wait_for("the same on one screen", || place.adce(&["status"]).out.contains("task_ttl: 4 gaps stand back"));
    std::fs::remove_file(place.path("wait")).expect("it is there");
    said(engine.wait_with_output().expect("it ends")).ends_with(0);
    place
        .adce(&["tasks", "show", &task])
        .says("ended by `task_ttl: 1 s`: it stood in line for")
        .says("its item stands back until the next look, or until a slot is free for nothing else");
    assert_eq!(place.read("started").lines().count(), 5);
}
