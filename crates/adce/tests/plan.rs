//! `plan` and `gaps` of the real binary, over small lakes: figures, exit codes, what is written (nothing), what is held.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use adce_core::coverage::Picture;
use adce_core::gap::{Gap, Progress, Reason, Standing};
use adce_core::ids::{GapId, ItemId};
use adce_core::ports::Store;
use adce_core::record::Change;
use adce_core::spec::PriorityLevel;
use adce_core::time::{BootId, Timestamp};
use adce_store::sqlite::{self, Opening};
use adce_store::{Identity, Retention};
use serde_json::Value;

const DAY: Duration = Duration::from_secs(86_400);

/// Games around now: due two hours after they end, refreshed for a week, watched box scores beside them.
const GAMES: &str = r#"
version: 1
name: games
lake: ./lake
dimensions:
  game:
    table: games.csv
    id: game_id
    columns:
      ends_at: { from: ends, time: "%Y-%m-%dT%H:%M:%SZ", zone: UTC }
datasets:
  plays:
    key: "plays/{season}/{game_id}.json"
    for: game
    due: ends_at + 2h
    fresh: { within: 24h, until: ends_at + 7d }
    min_size: 10B
    priority: { high: overdue < 1d }
    collector: { command: ["true", "{game_id}"], batch: { size: 2, group_by: [season] } }
  boxes:
    key: "boxes/{game_id}.html"
    for: game
    where: season == '2025'
"#;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new(config: &str) -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        fs::write(place.at("adce.yaml"), config).unwrap();
        fs::create_dir(place.at("lake")).unwrap();
        place
    }

    /// Game id, season, and how long ago it ended (negative: it will).
    fn games(games: &[(&str, &str, Option<i64>)]) -> Place {
        let place = Place::new(GAMES);
        let now = Timestamp::now().as_second();
        let mut csv = "game_id,season,ends\n".to_string();
        for (id, season, ended) in games {
            let ends = ended.map(|ago| Timestamp::from_second(now - ago).unwrap().to_string()).unwrap_or_default();
            csv.push_str(&format!("{id},{season},{ends}\n"));
        }
        fs::write(place.at("games.csv"), csv).unwrap();
        place
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn object(&self, key: &str, size: u64, age: Duration) {
        let path = self.at("lake").join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        file.set_len(size).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_adce")).args(arguments).current_dir(self.folder.path()).output().unwrap()
    }

    fn plan(&self) -> (Value, i32) {
        let output = self.run(&["plan", "--format", "json"]);
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", words(&output)));
        (json, output.status.code().unwrap())
    }

    fn gaps(&self, more: &[&str]) -> Vec<Value> {
        let output = self.run(&[&["gaps", "--format", "json"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Everything below the folder, with its size.
    fn everything(&self) -> BTreeMap<PathBuf, u64> {
        fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, u64>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => walk(&path, found),
                    false => drop(found.insert(path.clone(), path.metadata().unwrap().len())),
                }
                found.insert(path, 0);
            }
        }
        let mut found = BTreeMap::new();
        walk(self.folder.path(), &mut found);
        found
    }

    /// What an engine that is gone left in the state.
    fn remember(&self, changes: Vec<Change>) {
        fs::create_dir_all(self.at(".adce")).unwrap();
        let lake = self.at("lake").canonicalize().unwrap().display().to_string();
        let opening = Opening {
            identity: Identity { name: "games".into(), lake },
            boot_id: BootId("boot".into()),
            now: Timestamp::now(),
            retention: Retention::default(),
        };
        let store = sqlite::open(&self.at(".adce/state.db"), &opening).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(store.apply(changes)).unwrap();
        store.close();
    }
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn figures(dataset: &Value) -> Vec<(&str, u64)> {
    let fields = ["expected", "present", "missing", "stale", "undersized", "suspect", "absent", "not_due", "expired", "unexpected"];
    fields.into_iter().map(|field| (field, dataset[field].as_u64().unwrap())).filter(|(_, count)| *count > 0).collect()
}

const HOUR: i64 = 3_600;

fn around_now() -> Place {
    let place = Place::games(&[
        ("001", "2024", Some(30 * 24 * HOUR)),
        ("002", "2024", Some(30 * 24 * HOUR)),
        ("003", "2025", Some(3 * HOUR)),
        ("004", "2025", Some(60 * HOUR)),
        ("005", "2025", Some(60 * HOUR)),
        ("006", "2025", Some(HOUR)),
        ("007", "2025", Some(-HOUR)),
        ("008", "2025", None),
    ]);
    place.object("plays/2024/001.json", 10, 10 * DAY);
    place.object("plays/2025/004.json", 500, 2 * DAY);
    place.object("plays/2025/005.json", 9, DAY / 24);
    place.object("plays/2025/007.json", 500, DAY / 24);
    place.object("plays/2025/999.json", 500, DAY);
    place.object("boxes/003.html", 1, DAY);
    place
}

#[test]
fn plan_tells_every_state_by_dataset() {
    let (plan, code) = around_now().plan();
    assert_eq!(code, 2);
    assert_eq!(plan["complete"], false);
    let plays = &plan["datasets"]["plays"];
    assert_eq!(
        figures(plays),
        [("expected", 5), ("present", 1), ("missing", 2), ("stale", 1), ("undersized", 1), ("not_due", 3), ("unexpected", 1)]
    );
    assert_eq!(plays["unexpected_keys"], serde_json::json!(["plays/2025/999.json"]));
    assert_eq!(plays["next_due_items"], 1 + u64::from(same_day(HOUR, 3 * HOUR)));
    assert_eq!(figures(&plan["datasets"]["boxes"]), [("expected", 6), ("present", 1), ("missing", 5)]);
    assert_eq!(
        figures(&plan["coverage"]),
        [("expected", 11), ("present", 2), ("missing", 7), ("stale", 1), ("undersized", 1), ("not_due", 3), ("unexpected", 1)]
    );
    // Games 006 and 007 are due one and three hours from now.
    fn same_day(first: i64, second: i64) -> bool {
        let now = Timestamp::now().as_second();
        (now + first) / 86_400 == (now + second) / 86_400
    }
}

#[test]
fn tasks_share_group_and_priority_and_the_best_comes_first() {
    let (plan, _) = around_now().plan();
    let tasks: Vec<_> = plan["tasks"].as_array().unwrap().iter().collect();
    let told: Vec<(&str, Vec<&str>)> = tasks
        .iter()
        .map(|task| {
            let keys = task["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect();
            (task["priority"].as_str().unwrap(), keys)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("high", vec!["plays/2025/003.json"]),
            ("low", vec!["plays/2025/004.json", "plays/2025/005.json"]),
            ("low", vec!["plays/2024/002.json"]),
        ]
    );
    assert!(tasks.windows(2).all(|pair| pair[0]["score"].as_f64() >= pair[1]["score"].as_f64()));
    assert_eq!(plan["left"], serde_json::json!([{ "gaps": 5, "why": "`boxes` has no collector: it is only watched" }]));
}

#[test]
fn plan_writes_nothing_and_names_the_same_tasks_again() {
    let place = around_now();
    let before = place.everything();
    let ids = |plan: &Value| plan["tasks"].as_array().unwrap().iter().map(|task| task["id"].clone()).collect::<Vec<_>>();
    let (first, _) = place.plan();
    let (second, _) = place.plan();
    assert_eq!(ids(&first), ids(&second));
    assert!(!ids(&first).is_empty());
    assert_eq!(place.everything(), before);
}

#[test]
fn a_complete_lake_ends_with_zero_whatever_is_not_due() {
    let place = Place::games(&[("001", "2024", Some(30 * 24 * HOUR)), ("007", "2024", Some(-HOUR))]);
    place.object("plays/2024/001.json", 10, DAY);
    let (plan, code) = place.plan();
    assert_eq!((code, &plan["complete"]), (0, &Value::Bool(true)));
    assert_eq!(plan["datasets"]["boxes"]["expected"], 0);
    let screen = words(&place.run(&["plan"]));
    assert!(screen.ends_with("complete: 1 of 1 expected objects are there\n"), "{screen}");
}

#[test]
fn a_lake_that_does_not_exist_is_unreachable() {
    let place = around_now();
    fs::remove_dir_all(place.at("lake")).unwrap();
    let output = place.run(&["plan"]);
    assert_eq!(output.status.code(), Some(69), "{}", words(&output));
    assert!(words(&output).contains("does not exist"), "{}", words(&output));
    assert_eq!(place.run(&["gaps"]).status.code(), Some(69));
}

#[test]
fn a_rule_without_an_answer_names_its_row() {
    let place = around_now();
    fs::write(place.at("games.csv"), "game_id,season,ends\n001,2024,2024-01-01T00:00:00Z\n002,2024,soon\n").unwrap();
    let output = place.run(&["plan"]);
    assert_eq!(output.status.code(), Some(78), "{}", words(&output));
    assert!(words(&output).contains("games.csv:3"), "{}", words(&output));
}

#[test]
fn a_suddenly_empty_lake_is_held() {
    let place = Place::games(&[("001", "2024", Some(30 * 24 * HOUR)), ("002", "2024", Some(30 * 24 * HOUR))]);
    let objects = [("plays".to_string(), 2), ("boxes".to_string(), 0)].into();
    let taken_at = Some(Timestamp::now());
    let picture = Picture { taken_at, table_rows: [("game".to_string(), 2)].into(), objects, items: 2, ..Picture::default() };
    place.remember(vec![Change::PutPicture(picture)]);
    let (plan, code) = place.plan();
    assert_eq!(code, 2);
    assert_eq!(plan["held"], serde_json::json!(["`plays` lost 2 of 2 objects (100 %)"]));
    assert_eq!(plan["tasks"], serde_json::json!([]));
    assert_eq!(plan["left"][0]["gaps"], 2);
    assert_eq!(plan["complete"], false);
    let screen = words(&place.run(&["plan"]));
    assert!(screen.contains("held: `plays` lost 2 of 2 objects (100 %)") && screen.contains("adce accept"), "{screen}");
}

#[test]
fn a_remembered_gap_keeps_its_age_and_its_state() {
    let place = Place::games(&[("001", "2024", Some(30 * 24 * HOUR)), ("002", "2024", Some(30 * 24 * HOUR))]);
    let (before, _) = place.plan();
    let detected_at: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
    let item = ItemId::of("plays", ["001"]);
    let in_an_hour = Timestamp::from_second(Timestamp::now().as_second() + HOUR).unwrap();
    let spec = spec(&place);
    place.remember(vec![Change::PutGap(Gap {
        id: GapId { item, episode: 3 },
        dataset: "plays".into(),
        key: "plays/2024/001.json".into(),
        reason: Reason::Stale,
        detected_at,
        due: None,
        priority: PriorityLevel::Low,
        group: vec!["2024".into()],
        etag: None,
        last_modified: None,
        fingerprint: spec.datasets["plays"].fingerprint,
        progress: Progress { attempts: 3, standing: Standing::Exhausted, next_try: Some(in_an_hour), ..Progress::default() },
    })]);
    let exhausted = place.gaps(&["--state", "exhausted"]);
    assert_eq!(exhausted.len(), 1);
    let gap = &exhausted[0];
    assert_eq!((gap["item"].as_str(), gap["reason"].as_str()), (Some(item.to_string().as_str()), Some("missing")));
    assert_eq!((gap["detected_at"].as_str(), gap["attempts"].as_u64()), (Some("2025-01-01T00:00:00Z"), Some(3)));
    assert_eq!(place.gaps(&["--state", "queued"]).len(), 1);
    let (after, code) = place.plan();
    assert_eq!((code, before["coverage"].clone()), (2, after["coverage"].clone()));
    let left: Vec<u64> = after["left"].as_array().unwrap().iter().map(|left| left["gaps"].as_u64().unwrap()).collect();
    assert_eq!(left, [1], "{after}");
}

fn spec(place: &Place) -> adce_core::spec::Spec {
    let text = fs::read_to_string(place.at("adce.yaml")).unwrap();
    let file = adce_core::spec::ConfigFile { name: "adce.yaml".into(), text };
    let tables = adce_lake::tables::ConfigFolder::new(place.folder.path());
    adce_core::spec::load(&[file], place.folder.path(), &|_| None, &tables).spec().unwrap()
}

#[test]
fn gaps_can_be_filtered_and_a_wrong_filter_says_what_there_is() {
    let place = around_now();
    let keys = |more: &[&str]| place.gaps(more).iter().map(|gap| gap["key"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(keys(&[]).len(), 9);
    assert_eq!(keys(&["--dataset", "boxes"]).len(), 5);
    assert_eq!(keys(&["--select", "reason == 'stale'"]), ["plays/2025/004.json"]);
    assert_eq!(keys(&["--select", "dataset == 'plays' and season == '2024'"]), ["plays/2024/002.json"]);
    assert_eq!(keys(&["--state", "running"]).len(), 0);
    let wrong = place.run(&["gaps", "--select", "seasn == '2024'"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(words(&wrong).contains("`seasn`"), "{}", words(&wrong));
    let wrong = place.run(&["gaps", "--dataset", "play"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(words(&wrong).contains("did you mean `plays`?"), "{}", words(&wrong));
}

#[test]
fn a_table_stops_after_fifty_and_a_closed_pipe_is_no_error() {
    let place = Place::new(
        "version: 1\nname: many\nlake: ./lake\ndimensions:\n  n: { from: 2024-01-01, to: 2024-12-31, every: 1h, zone: UTC }\n\
         datasets:\n  hours:\n    key: \"h/{n}.json\"\n    for: n\n",
    );
    let screen = words(&place.run(&["gaps"]));
    assert!(screen.lines().count() == 52 && screen.contains("… and 8,734 more"), "{screen}");
    assert_eq!(words(&place.run(&["gaps", "--all"])).lines().count(), 8_785);
    let mut child = Command::new(env!("CARGO_BIN_EXE_adce"))
        .args(["gaps", "--format", "json"])
        .current_dir(place.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), words(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_price_of_a_reserve_is_in_the_plan_and_what_it_sets_aside_in_the_limits() {
    let config = |engine: &str| {
        format!(
            "lake: ./lake\nsources: {{ api: {{ hosts: [api.example], limits: {{ per_minute: 10 }} }} }}\n\
             dimensions: {{ n: {{ from: 2025-01-01, to: 2025-02-09, every: 1d, zone: UTC }} }}\n\
             datasets: {{ years: {{ source: api, key: \"{{n}}\", for: n, collector: {{ http: {{ url: \"http://api.example/{{n}}\" }} }} }} }}\n\
             {engine}\n"
        )
    };
    let (plan, _) = Place::new(&config("")).plan();
    assert_eq!(plan["reserve"], Value::Null);
    let place = Place::new(&config("engine: { reserve: { critical: 20% } }"));
    let (plan, code) = place.plan();
    assert_eq!((code, plan["reserve"]["priorities"][0].as_str()), (2, Some("critical")));
    // 40 at 8 a minute take four pauses, and three at 10 a minute.
    let costs = plan["reserve"]["costs_seconds"].as_f64().unwrap();
    assert!((55.0..65.0).contains(&costs), "{}", plan["reserve"]);
    let text = words(&place.run(&["plan"]));
    assert!(text.contains("reserve: what is set aside for critical makes the rest 1 m later"), "{text}");
    let text = words(&place.run(&["limits"]));
    assert!(text.contains("10 in any 1 m (2 set aside)"), "{text}");
    assert!(text.contains("set aside for critical: 20 % of every window and 1 of 5 slots"), "{text}");
}

#[test]
fn an_object_that_somebody_takes_away_is_contested_named_everywhere_and_released_by_key() {
    let place = Place::new(
        "lake: ./lake\ndimensions: { n: [1, 2] }\n\
         datasets: { files: { key: \"{n}.txt\", for: n, collector: { command: [sh, -c, \"echo {n} > {out}\"] } } }\n",
    );
    let run = || place.run(&["run", "--max-wait", "0"]);
    for losses in 0..3 {
        let output = run();
        assert_eq!(output.status.code(), Some(0), "after {losses} losses: {}", words(&output));
        fs::remove_file(place.at("lake/2.txt")).unwrap();
    }
    let (plan, code) = place.plan();
    assert_eq!((code, plan["tasks"].as_array().unwrap().len(), plan["left"][0]["gaps"].as_u64()), (2, 0, Some(1)), "{plan}");
    let output = run();
    assert_eq!(output.status.code(), Some(2));
    assert!(words(&output).contains("`adce accept 2.txt`") && words(&output).contains("1 held"), "{}", words(&output));
    assert!(!place.at("lake/2.txt").exists());
    let gaps = place.gaps(&["--state", "held"]);
    assert_eq!((gaps.len(), gaps[0]["key"].as_str()), (1, Some("2.txt")));
    for command in [["why", "2.txt"].as_slice(), &["status"]] {
        let text = words(&place.run(command));
        assert!(text.contains("filled and gone three times in a day") && text.contains("adce accept"), "{text}");
    }
    assert_eq!(place.run(&["accept", "1.txt"]).status.code(), Some(64), "nobody contests it");
    let output = place.run(&["accept", "2.txt"]);
    assert_eq!((output.status.code(), words(&output).as_str()), (Some(0), "released: 2.txt may be fetched again\n"));
    let output = run();
    assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    assert!(place.at("lake/2.txt").exists());
}

#[test]
fn a_collector_that_crashes_on_everything_is_held_back_and_says_since_when_why_and_until_when() {
    let place = Place::new(
        "lake: ./lake\ndimensions: { n: [1, 2, 3, 4, 5, 6, 7, 8] }\n\
         datasets: { files: { key: \"{n}.txt\", for: n, collector: broken } }\n\
         collectors: { broken: { command: [sh, -c, \"sleep 0.03; echo no such module; exit 1\", sh, \"{n}\"], breaker: { failures: 3, cooldown: 10m } } }\n\
         engine: { max_concurrent: 1 }\n",
    );
    let output = place.run(&["run", "--max-wait", "0", "--format", "json"]);
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), run["attempts"].as_u64()), (Some(2), Some(3)), "{}", words(&output));
    let again = place.run(&["run", "--max-wait", "0", "--format", "json"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again["attempts"], 0, "a restart does not make it work");
    for command in [["why", "8.txt"].as_slice(), &["status"], &["limits"]] {
        let text = words(&place.run(command));
        assert!(text.contains("3 failures in a row, the last: exit 1: no such module") && text.contains("next probe"), "{text}");
    }
    assert_eq!(place.gaps(&["--state", "held"]).len(), 8 - 3);
}

#[test]
fn where_requests_in_flight_are_the_bottleneck_it_says_how_many_there_may_be() {
    let place = Place::new(
        "lake: ./lake\nsources: { up: { hosts: [up.example], limits: { in_flight: 2 } } }\ndimensions: { n: [1, 2, 3, 4, 5, 6, 7, 8] }\n\
         datasets: { files: { source: up, key: \"{n}.txt\", for: n, collector: { http: { url: \"https://up.example/{n}\" } } } }\n",
    );
    let output = place.run(&["plan"]);
    assert!(words(&output).contains("bottleneck up, in_flight: 2, about 8 a second"), "{}", words(&output));
}
