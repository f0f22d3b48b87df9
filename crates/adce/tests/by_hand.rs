//! What a person says about gaps: `retry` and `accept`, to a running engine and to a state that nobody runs.

mod support;

use std::io::Read;

use support::place::{Place, wait_for};

/// Fails until `works` lies in the folder, says so of each item, and is exhausted after one attempt.
const STUBBORN: &str = r#"
version: 1
name: prod
lake: ./lake
dimensions: { n: [1, 2, 3] }
datasets: { files: { key: "{n}.txt", for: n, collector: stubborn } }
collectors:
  stubborn:
    command: [sh, -c, "if ! test -e works; then for n in $(echo {n} | tr , ' '); do printf '{{\"adce\":1,\"key\":\"%s.txt\",\"outcome\":\"failed\"}}\\n' $n; done; exit 1; fi; for n in $(echo {n} | tr , ' '); do echo $n > $ADCE_OUT/$n.txt; done", sh, "{n}"]
    batch: { size: 3 }
    retry: { attempts: 1, revive: 1h..24h }
    breaker: off
"#;

fn without_times(text: &str) -> String {
    let is_time = |word: &str| word.len() >= 8 && word.chars().all(|letter| letter.is_ascii_digit() || "-:.".contains(letter));
    let lines = text.lines().map(|line| line.split(' ').map(|word| if is_time(word) { "…" } else { word }).collect::<Vec<_>>().join(" "));
    lines.map(|line| line + "\n").collect()
}

#[test]
fn what_is_exhausted_is_tried_by_the_next_run_after_a_retry_by_hand() {
    let place = Place::new(STUBBORN);
    place.adce(&["run", "--max-wait", "0"]).ends_with(2);
    assert_eq!(place.adce(&["run", "--max-wait", "0", "--format", "json"]).ends_with(2).json()["attempts"], 0);
    place.adce(&["retry"]).ends_with(64).says("adce retry");
    place.adce(&["retry", "4.txt"]).ends_with(64).says("`4.txt` is no key of a gap, no task and no dataset");
    let said = place.adce(&["retry", "2.txt"]);
    assert_eq!(
        said.ends_with(0).out,
        "tried at once: 2.txt (was exhausted after 1 attempt, begins anew)\nno engine runs: the next `adce run` tries them\n"
    );
    let said = place.adce(&["retry", "2.txt"]);
    assert_eq!(said.ends_with(0).out, "left alone: 2.txt: it waits for no retry; `adce why 2.txt` says what holds it\n");
    place.write("works", "");
    let run = place.adce(&["run", "--max-wait", "0", "--format", "json"]);
    assert_eq!((run.ends_with(2).json()["filled"].as_u64(), place.has("lake/2.txt"), place.has("lake/1.txt")), (Some(1), true, false));
    let said = place.adce(&["retry", "--all", "--format", "json"]);
    let lines: Vec<serde_json::Value> = said.ends_with(0).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|line| (line["key"].as_str().unwrap(), line["was"].as_str().unwrap(), &line["retried"])).collect();
    assert_eq!(told, [("1.txt", "exhausted", &true.into()), ("3.txt", "exhausted", &true.into())]);
    assert_eq!(lines[0]["task"], lines[1]["task"]);
    let story = place.adce(&["tasks", "show", lines[0]["task"].as_str().unwrap()]);
    story.ends_with(0).says("tried at once by hand: 2 items, 2 of them from exhaustion");
    place.adce(&["run", "--max-wait", "0"]).ends_with(0);
    assert_eq!(place.adce(&["retry", "files"]).ends_with(0).out, "nothing waits for a retry; `adce why KEY` says what holds a gap\n");
}

#[test]
fn a_running_engine_tries_at_once_what_a_person_wants_tried() {
    let place = Place::new(&STUBBORN.replace("attempts: 1,", "attempts: 3, backoff: 1h..1h,"));
    let mut run = place.start(&["run", "--max-wait", "2h", "--format", "json"]);
    wait_for("the retry to be waited for", || place.adce(&["gaps", "--state", "waiting", "--format", "json"]).out.lines().count() == 3);
    let refused = place.adce(&["retry", "4.txt"]);
    refused.ends_with(64).says("`4.txt` is no key of a gap, no task and no dataset");
    place.write("works", "");
    let said = place.adce(&["retry", "files"]);
    assert_eq!(
        without_times(&said.ends_with(0).out),
        "tried at once: 1.txt (would have waited until … … UTC)\n\
         tried at once: 2.txt (would have waited until … … UTC)\n\
         tried at once: 3.txt (would have waited until … … UTC)\n\
         the engine tries them as limits and slots allow\n"
    );
    let ended = run.wait().unwrap();
    let mut summary = String::new();
    run.stdout.take().unwrap().read_to_string(&mut summary).unwrap();
    let summary: serde_json::Value = serde_json::from_str(summary.lines().last().unwrap()).unwrap();
    assert_eq!((ended.code(), summary["filled"].as_u64(), summary["attempts"].as_u64()), (Some(0), Some(3), Some(2)), "{summary}");
}

#[test]
fn a_contested_object_of_a_batch_is_fetched_by_the_next_run_once_it_is_accepted() {
    // The fourth stays: a dataset that loses all it has is a sudden change, and held as such.
    let place = Place::new(&STUBBORN.replace("[1, 2, 3]", "[1, 2, 3, 4]"));
    place.write("works", "");
    for losses in 0..3 {
        let run = place.adce(&["run", "--max-wait", "0"]);
        assert_eq!(run.code, Some(0), "after {losses} losses: {}{}", run.out, run.err);
        (1..=3).for_each(|n| std::fs::remove_file(place.path(&format!("lake/{n}.txt"))).unwrap());
    }
    place.adce(&["run", "--max-wait", "0"]).ends_with(2).says("3 held");
    assert_eq!(place.adce(&["accept", "2.txt"]).ends_with(0).out, "released: 2.txt may be fetched again\n");
    place.adce(&["run", "--max-wait", "0"]).ends_with(2);
    assert!(place.has("lake/2.txt") && !place.has("lake/1.txt"), "it does not wait a day with the others of its batch");
    place.adce(&["retry", "files"]).ends_with(0).says("left alone: 1.txt: contested until");
    let accepted = place.adce(&["accept", "files"]);
    assert_eq!(accepted.ends_with(0).out, "released: 1.txt may be fetched again\nreleased: 3.txt may be fetched again\n");
    place.adce(&["accept", "files"]).ends_with(64).says("no object of `files` is contested");
    place.adce(&["run", "--max-wait", "0"]).ends_with(0);
    assert!(place.has("lake/1.txt") && place.has("lake/3.txt"));
}
