//! Every config under `examples/` loads, and everything it needs is there.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use support::listener::on_each_connection;
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
            .env("CRM_TOKENS", "{}")
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

/// The smallest Parquet that has a footer: no column and no row, in base64.
const PARQUET: &str = "UEFSMRUCGQwWABkMAAkAAABQQVIx";

/// Has two entities of one day, three of another one, and none of a third. Asks each customer for a token of his own.
fn crm(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut first, mut head) = (String::new(), String::new());
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
        let path = first.split(' ').nth(1).expect("a path");
        let customer = path.split('/').nth(3).expect("a customer");
        let is_his = head.lines().any(|line| line.eq_ignore_ascii_case(&format!("authorization: Bearer token-of-{customer}")));
        let of_day = |day: &str| path.ends_with(&format!("/changes?day={day}"));
        let names: &[&str] = match () {
            () if of_day("2025-02-01") => &["deals-eu", "notes"],
            () if of_day("2025-02-02") => &["deals-eu", "deals-us", "people"],
            () => &[],
        };
        let entities: Vec<_> = names.iter().map(|name| serde_json::json!({ "name": name, "parquet": PARQUET })).collect();
        let (status, body) = match is_his {
            true => ("200 OK", serde_json::json!({ "entities": entities }).to_string()),
            false => ("403 Forbidden", "{}".to_owned()),
        };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn each_customers_days_are_sets_of_as_many_files_as_there_were_entities() {
    let address = on_each_connection(crm);
    let place = example(
        "customers",
        &format!(
            "sources:\n  crm: {{ hosts: [\"{address}\"], base_url: \"http://{address}\" }}\n\
             dimensions:\n  day: {{ from: 2025-02-01, to: 2025-02-03, every: 1d, zone: UTC }}\n"
        ),
    );
    std::fs::create_dir_all(place.path("lake")).expect("a lake");
    // Left by somebody who was killed before his marker.
    place.write("lake/crm/C-0017/dt=2025-02-01/part-deals.parquet", "PAR1");
    let with = ["-c", "adce.yaml", "-c", "over.yaml"];
    let env = [("CRM_TOKENS", "{\"C-0017\": \"token-of-C-0017\"}".to_owned())];
    let run = place.adce_with(&env, &[&["run", "--format", "json"], &with[..]].concat()).ends_with(0).json();
    assert_eq!((&run["filled"], &run["requests"]), (&3.into(), &3.into()), "{run}");
    let of = |day: u32| {
        let entries = std::fs::read_dir(place.path(&format!("lake/crm/C-0017/dt=2025-02-0{day}"))).expect("a folder of the day");
        let mut names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(of(1), "_SUCCESS part-deals-eu.parquet part-notes.parquet");
    assert_eq!(of(2), "_SUCCESS part-deals-eu.parquet part-deals-us.parquet part-people.parquet");
    assert_eq!(of(3), "_SUCCESS");
}
