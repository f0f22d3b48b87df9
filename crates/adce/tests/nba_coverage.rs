//! A real collector's lake at five moments: 6,150 real games, 36,900 expected objects, gaps as they really were.
//!
//! `adce plan` of the real binary must agree, object by object, with a brute-force reading of schedule and changes here,
//! and with the published figures per dataset and season. The data lies beside the repository; without it the test says
//! so and passes.

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::nba::{Collection, State};

const CONFIG: &str = r#"
version: 1
name: nba
lake: ./lake
dimensions:
  game: { table: schedule.csv, id: game_id }
  quarter: [q1, q2, q3, q4]
datasets:
  playbyplay:
    key: "raw-data/playbyplay/{season_end_year}/{game_id}.csv"
    for: game
    collector: { command: ["true", "{game_id}"] }
  playbyplayv2:
    key: "raw-data/playbyplayv2/{season_end_year}/{game_id}.csv"
    for: game
    collector: { command: ["true", "{game_id}"] }
  boxscoretraditionalv2:
    key: "raw-data/boxscoretraditionalv2/{season_end_year}/{game_id}_{quarter}.csv"
    for: [game, quarter]
    collector: { command: ["true", "{game_id}"], batch: { size: 50, group_by: [season_end_year] } }
"#;

/// Dataset and season.
type Part = (String, String);

fn rows(file: impl std::io::Read) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(file).into_records().collect::<Result<_, _>>().expect("a CSV file")
}

/// Every key that should exist, with the part it belongs to; written out by hand, not by a template.
fn expected_keys(data: &Path) -> BTreeMap<String, Part> {
    let mut keys = BTreeMap::new();
    for row in rows(File::open(data.join("schedule.csv")).unwrap()) {
        let (season, game) = (&row[0], &row[1]);
        for dataset in ["playbyplay", "playbyplayv2"] {
            keys.insert(format!("raw-data/{dataset}/{season}/{game}.csv"), (dataset.into(), season.into()));
        }
        for quarter in 1..=4 {
            let key = format!("raw-data/boxscoretraditionalv2/{season}/{game}_q{quarter}.csv");
            keys.insert(key, ("boxscoretraditionalv2".into(), season.into()));
        }
    }
    keys
}

/// Per moment and part: expected, present, missing.
fn published(data: &Path) -> BTreeMap<String, BTreeMap<Part, [u64; 3]>> {
    let mut moments: BTreeMap<String, BTreeMap<Part, [u64; 3]>> = BTreeMap::new();
    for row in rows(File::open(data.join("true_coverage_over_time.csv")).unwrap()) {
        let figures = [3, 4, 5].map(|column: usize| row[column].parse().unwrap());
        moments.entry(row[0].into()).or_default().insert((row[1].into(), row[2].into()), figures);
    }
    moments
}

/// Per part: expected, present, missing; as `adce coverage` counts them.
fn counted(folder: &Path) -> BTreeMap<Part, [u64; 3]> {
    let asked = ["coverage", "--by", "dataset,season_end_year", "--format", "json"];
    let output = Command::new(env!("CARGO_BIN_EXE_adce")).args(asked).current_dir(folder).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}"));
    let cells = report["cells"].as_array().unwrap().iter().map(|cell| {
        let figures = ["expected", "present", "missing"].map(|field| cell[field].as_u64().unwrap());
        ((text(&cell["values"][0]), text(&cell["values"][1])), figures)
    });
    cells.collect()
}

fn plan(folder: &Path) -> (Value, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_adce")).args(["plan", "--format", "json"]).current_dir(folder).output().unwrap();
    let json = serde_json::from_slice(&output.stdout);
    (json.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr))), output.status.code())
}

/// Dataset and key of every item of every task.
fn planned(plan: &Value) -> BTreeSet<(String, String)> {
    let tasks = plan["tasks"].as_array().unwrap();
    let items: Vec<&Value> = tasks.iter().flat_map(|task| task["items"].as_array().unwrap()).collect();
    let named: BTreeSet<_> = items.iter().map(|item| (text(&item["dataset"]), text(&item["key"]))).collect();
    assert_eq!(named.len(), items.len(), "an item is in two tasks");
    assert!(items.iter().all(|item| item["reason"] == "missing"));
    named
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn agrees(plan: &Value, objects: &HashMap<String, u64>, expected: &BTreeMap<String, Part>, published: &BTreeMap<Part, [u64; 3]>) {
    let missing: BTreeSet<_> =
        expected.iter().filter(|(key, _)| !objects.contains_key(*key)).map(|(key, part)| (part.0.clone(), key.clone())).collect();
    assert_eq!(planned(plan), missing, "plan and brute force differ");

    let mut parts: BTreeMap<Part, [u64; 3]> = BTreeMap::new();
    let planned = planned(plan);
    for (key, part) in expected {
        let figures = parts.entry(part.clone()).or_default();
        let is_gap = planned.contains(&(part.0.clone(), key.clone()));
        figures[0] += 1;
        figures[if is_gap { 2 } else { 1 }] += 1;
    }
    assert_eq!(&parts, published, "plan and the published figures differ");

    for (dataset, figures) in plan["datasets"].as_object().unwrap() {
        let of = |at: usize| parts.iter().filter(|(part, _)| part.0 == *dataset).map(|(_, figures)| figures[at]).sum::<u64>();
        let found = ["expected", "present", "missing"].map(|field| figures[field].as_u64().unwrap());
        assert_eq!(found, [of(0), of(1), of(2)], "{dataset}");
        let near = |key: &&String| key.starts_with(&format!("raw-data/{dataset}/")) && !expected.contains_key(*key);
        assert_eq!(figures["unexpected"], objects.keys().filter(near).count(), "{dataset}");
        for silent in ["stale", "undersized", "suspect", "absent", "not_due", "expired"] {
            assert_eq!(figures[silent], 0, "{dataset}: {silent}");
        }
    }
    assert_eq!(plan["complete"], missing.is_empty());
}

#[test]
fn plan_agrees_with_a_real_lake_at_five_moments() {
    let Some(collection) = Collection::find() else { return };
    let data = collection.folder();
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    fs::create_dir(&lake).unwrap();
    fs::write(folder.path().join("adce.yaml"), CONFIG).unwrap();
    fs::copy(collection.schedule(), folder.path().join("schedule.csv")).unwrap();
    let expected = expected_keys(data);
    assert_eq!(expected.len(), 36_900);

    let moments = published(data);
    let states = collection.states();
    assert_eq!((moments.len(), states.len()), (5, 5));
    let mut before = HashMap::new();
    let mut last = None;
    for ((moment, published), State { as_of, objects }) in moments.iter().zip(states) {
        assert_eq!(*moment, as_of);
        let gone = before.keys().filter(|key| !objects.contains_key(*key));
        gone.for_each(|key| fs::remove_file(lake.join(key)).unwrap());
        let changed = objects.iter().filter(|(key, size)| before.get(*key) != Some(*size));
        collection.write_lake(&lake, &changed.map(|(key, size)| (key.clone(), *size)).collect());
        let (plan, code) = plan(folder.path());
        agrees(&plan, &objects, &expected, published);
        assert_eq!(&counted(folder.path()), published, "coverage and the published figures differ");
        assert_eq!(code, Some(if plan["complete"] == true { 0 } else { 2 }));
        last = Some(plan);
        before = objects;
    }
    let last = last.unwrap();
    assert_eq!(last["complete"], true);
    assert_eq!(last["coverage"]["present"], 36_900);
    assert_eq!(last["datasets"]["boxscoretraditionalv2"]["unexpected"], 431);
    assert!(!folder.path().join(".adce").exists(), "plan wrote a state");
}
