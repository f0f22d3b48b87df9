//! Every config under `examples/` loads, and everything it needs is there.

mod support;

use std::path::Path;
use std::process::Command;

use support::place::{Place, said};

#[test]
fn every_example_passes_the_check() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(&examples).expect("examples/").flatten().filter(|entry| entry.path().join("adce.yaml").exists()) {
        let output = Command::new(env!("CARGO_BIN_EXE_adce"))
            .args(["check"])
            .current_dir(entry.path())
            .env("NO_COLOR", "1")
            .env("CRM_TOKEN", "a-token")
            .output()
            .expect("adce runs");
        said(output).ends_with(0);
        seen += 1;
    }
    assert!(seen >= 3, "only {seen} examples");
}

/// Puts an example into a place of its own, with `over` on top of its config.
fn example(name: &str, over: &str) -> Place {
    let place = Place::new("");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let copied = Command::new("cp").arg("-r").arg(from.join(".")).arg(place.folder()).status().expect("cp runs");
    assert!(copied.success());
    place.write("over.yaml", over);
    place
}

#[test]
fn the_archive_makes_a_day_from_its_hours_and_knows_that_some_were_never_published() {
    let day = "from: 2015-01-01, to: 2015-01-01";
    let place = example(
        "archive",
        &format!("dimensions:\n  hour: {{ {day} }}\n  day: {{ {day} }}\ndatasets:\n  events: {{ absent: {{ known: holes.csv }} }}\n"),
    );
    place.write("holes.csv", "key,reason,date,by\nevents/2015/01/01/7.json.gz,never published,,\n");
    let hours = "import gzip, hashlib, json, os\nos.makedirs('lake/events/2015/01/01')\nfor hour in range(24):\n  if hour == 7: continue\n  \
                 with gzip.open(f'lake/events/2015/01/01/{hour}.json.gz', 'wt') as out:\n    for n in range(99):\n      \
                 out.write(json.dumps({'type': 'PushEvent' if n else 'ForkEvent', 'id': hashlib.sha256(str(n).encode()).hexdigest()}) + '\\n')\n";
    assert!(Command::new("python3").args(["-c", hours]).current_dir(place.folder()).status().expect("python3 runs").success());
    let with = ["-c", "adce.yaml", "-c", "over.yaml"];
    place.adce(&[&["run"], &with[..]].concat()).ends_with(0);
    assert_eq!(place.read("lake/daily/2015/01/2015-01-01.csv"), "type,events\nForkEvent,23\nPushEvent,2254\n");
}

#[test]
fn the_games_of_a_collected_schedule_are_expected_and_its_missing_days_are_named() {
    let place = example("games", "dimensions:\n  day: { from: 2024-10-22, to: 2024-10-24, every: 1d, zone: America/New_York }\n");
    let event = |id: u32, kind: u32, date: &str| serde_json::json!({ "id": id.to_string(), "season": { "year": 2025, "type": kind }, "date": date, "name": "A at B" });
    let schedule = |day: &str, events: Vec<serde_json::Value>| {
        place.write(&format!("lake/espn/schedule/{day}.json"), &serde_json::json!({ "events": events }).to_string());
    };
    schedule("2024-10-22", vec![event(401, 2, "2024-10-22T23:30Z"), event(402, 2, "2024-10-23T02:00Z")]);
    // One was put off to this day, and one is of the kind that nobody wants.
    schedule("2024-10-23", vec![event(402, 2, "2024-10-24T02:00Z"), event(9, 1, "2024-10-23T23:00Z")]);
    place.write("lake/espn/play_by_play/2025/401.json", &format!("[\"{}\"]", "x".repeat(200)));
    let with = ["-c", "adce.yaml", "-c", "over.yaml"];
    let plan = place.adce(&[&["plan", "--format", "json"], &with[..]].concat()).ends_with(2).json();
    let of = |dataset: &str, figure: &str| plan["datasets"][dataset][figure].clone();
    assert_eq!((of("schedule", "expected"), of("schedule", "missing")), (3.into(), 1.into()), "{plan}");
    assert_eq!(
        (of("play_by_play", "expected"), of("play_by_play", "present"), of("play_by_play", "missing")),
        (2.into(), 1.into(), 1.into()),
        "{plan}"
    );
    assert_eq!((of("box_scores", "expected"), of("box_scores", "lower_bound")), (3.into(), true.into()), "{plan}");
    let why = of("play_by_play", "not_counted");
    assert!(why.as_str().is_some_and(|why| why.contains("1 item is missing (day=2024-10-24)")), "{why}");
}
