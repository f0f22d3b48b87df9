//! Another config for an engine at work, variables that stand for parts of one, and where each value comes from.

mod support;

use std::process::Child;

use serde_json::Value;
use support::place::{Place, engine_of, said, signal, wait_for};

const DATASET: &str = "collector:\n      command: [sh, -c, 'echo hello > \"$1\"', sh, \"{out}\"]\n";

fn config(numbers: &str, rest: &str) -> String {
    format!(
        "version: 1\nname: reloads\nlake: ./lake\nsources:\n  site: {{ hosts: [site.example], limits: {{ per_minute: 6000 }} }}\n\
         dimensions:\n  number: [{numbers}]\ndatasets:\n  box:\n    source: site\n    key: box/{{number}}.txt\n    for: number\n    {DATASET}{rest}\
         engine: {{ reconcile_every: 5h }}\n"
    )
}

/// A dataset more.
const MORE: &str = "  more:\n    key: more/{number}.txt\n    for: number\n    collector:\n      \
                    command: [sh, -c, 'echo $$ >> began; while [ ! -e go ]; do sleep 0.02; done; echo hello > \"$1\"', sh, \"{out}\"]\n";

/// The place, and an engine that stays in it.
struct Running {
    place: Place,
    engine: Option<Child>,
}

impl Running {
    fn by(config: &str) -> Running {
        let place = Place::new(config);
        let engine = Some(place.start(&["up", "--yes"]));
        let running = Running { place, engine };
        wait_for("it is complete", || running.status()["complete"] == true && running.status()["engine"].is_object());
        running
    }

    fn status(&self) -> Value {
        let said = self.place.adce(&["status", "--format", "json"]);
        if matches!(said.code, Some(0 | 2)) { said.json() } else { Value::Null }
    }

    fn engine(&self) -> i32 {
        engine_of(self.engine.as_ref().expect("it runs"))
    }

    fn in_force(&self, key: &str) -> Value {
        // What the engine works by, whatever the file says.
        self.place.write(
            "asking.yaml",
            "version: 1\nname: reloads\nlake: ./lake\ndimensions: { x: [1] }\ndatasets: { d: { key: \"{x}\", for: x } }\n",
        );
        let differences = self.place.adce(&["-c", "asking.yaml", "diff", "--format", "json"]).json();
        let found = differences.as_array().unwrap().iter().find(|difference| difference["key"] == key).cloned();
        found.map_or(Value::Null, |difference| difference["before"].clone())
    }

    fn ends(mut self) -> support::place::Said {
        let engine = self.engine.take().expect("it runs");
        signal("-TERM", engine.id() as i32);
        let said = said(engine.wait_with_output().expect("it ends"));
        said.ends_with(143);
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.engine.is_some() {
            self.place.adce(&["stop", "--within", "0s"]);
        }
    }
}

#[test]
fn a_dataset_and_items_that_come_into_the_config_are_collected_by_the_engine_that_runs() {
    let running = Running::by(&config("1, 2", ""));
    let pid = running.engine();
    running.place.write("go", "");
    running.place.write("adce.yaml", &config("1, 2, 3", MORE));
    wait_for("all of it is there", || running.place.has("lake/more/3.txt") && running.place.has("lake/box/3.txt"));
    wait_for("it is complete", || running.status()["complete"] == true && running.status()["coverage"]["present"] == 6);
    assert_eq!(running.engine(), pid, "the same engine");
    running.place.adce(&["diff"]).ends_with(0).says("works by this config");
    // What leaves the config is expected no more.
    running.place.write("adce.yaml", &config("1", ""));
    wait_for("less is expected", || running.status()["coverage"]["present"] == 1);
    let said = running.ends();
    said.says("config edited; in force now: `datasets.more`, `dimensions.number`");
}

#[test]
fn what_runs_goes_on_through_a_reload() {
    let running = Running::by(&config("1", ""));
    running.place.write("adce.yaml", &config("1", MORE));
    wait_for("it runs", || running.place.has("began"));
    let began = running.place.read("began");
    // Its own dataset leaves, and comes back with other limits around it.
    running.place.write("adce.yaml", &config("1", "").replace("6000", "7000"));
    wait_for("the new limit", || running.in_force("sources.site.limits.per_minute") == "7000");
    assert!(std::path::Path::new(&format!("/proc/{}", began.trim())).exists(), "it is still at work");
    running.place.write("adce.yaml", &config("1", MORE).replace("6000", "7000"));
    wait_for("it is back", || running.in_force("datasets.more.key") == "more/{number}.txt");
    running.place.write("go", "");
    wait_for("it is there", || running.place.has("lake/more/1.txt"));
    wait_for("it is complete", || running.status()["complete"] == true);
    assert_eq!(running.place.read("began"), began, "nobody began it a second time");
}

#[test]
fn an_invalid_config_is_told_of_everywhere_and_the_old_one_stays() {
    let running = Running::by(&config("1", ""));
    running.place.write("adce.yaml", &config("1, 2", "").replace("per_minute", "per_minut"));
    // Commands of a person read the file, too: he asks by the one that was right.
    running.place.write("right.yaml", &config("1", ""));
    let status = || running.place.adce(&["-c", "right.yaml", "status"]).out;
    wait_for("it is said", || status().contains("nothing of it is in force"));
    running.place.adce(&["diff"]).ends_with(78).says("per_minut");
    running.place.adce(&["-c", "right.yaml", "health"]).ends_with(2).says("not in force").says("per_minut");
    running.place.adce(&["-c", "right.yaml", "logs"]).ends_with(0).says("nothing of it is in force").says("per_minut");
    assert_eq!(running.in_force("sources.site.limits.per_minute"), "6000");
    running.place.write("adce.yaml", &config("1, 2", ""));
    wait_for("the right one is in force", || running.place.has("lake/box/2.txt"));
    running.place.adce(&["health"]).ends_with(0);
}

#[test]
fn a_config_that_cannot_be_in_force_leaves_the_old_one() {
    let running = Running::by(&config("1", ""));
    // It is right by itself, and its table is not there.
    let table = config("1", "").replace("  number: [1]", "  number: { table: numbers.csv, id: number }");
    running.place.write("right.yaml", &config("1", ""));
    running.place.write("adce.yaml", &table);
    let status = || running.place.adce(&["-c", "right.yaml", "status"]).out;
    wait_for("it is said", || status().contains("nothing of it is in force"));
    std::fs::remove_file(running.place.path("lake/box/1.txt")).unwrap();
    wait_for("the old one is at work", || running.place.has("lake/box/1.txt"));
}

#[test]
fn a_rule_that_has_no_answer_for_some_item_is_no_config_to_be_in_force() {
    let running = Running::by(&config("1", ""));
    running.place.write("numbers.csv", "id,score\n1,7\n2,n/a\n");
    let edited = config("1", "").replace("  number: [1]", "  number: { table: numbers.csv, id: id }");
    running.place.write("right.yaml", &config("1", ""));
    running.place.write("adce.yaml", &edited.replace("    for: number\n", "    for: number\n    priority: { critical: score > 3 }\n"));
    let status = || running.place.adce(&["-c", "right.yaml", "status"]).out;
    wait_for("it is said", || status().contains("nothing of it is in force"));
    // The old one goes on, and hears of its own items.
    std::fs::remove_file(running.place.path("lake/box/1.txt")).unwrap();
    wait_for("the old one is at work", || running.place.has("lake/box/1.txt"));
    running.place.adce(&["-c", "right.yaml", "logs"]).ends_with(0).says("numbers.csv:3");
}

#[test]
fn a_right_edition_that_could_not_be_in_force_is_tried_again() {
    let running = Running::by(&config("1", "").replace("5h", "2s"));
    let table = config("1", "").replace("5h", "2s").replace("  number: [1]", "  number: { table: numbers.csv, id: number }");
    running.place.write("right.yaml", &config("1", ""));
    running.place.write("adce.yaml", &table);
    let status = || running.place.adce(&["-c", "right.yaml", "status"]).out;
    wait_for("it is said", || status().contains("nothing of it is in force"));
    running.place.write("numbers.csv", "number\n1\n2\n");
    wait_for("it is in force", || running.place.has("lake/box/2.txt"));
}

#[test]
fn an_edition_whose_look_failed_is_in_force_when_the_lake_answers_again() {
    let running = Running::by(&config("1", "").replace("5h", "2s"));
    running.place.write("right.yaml", &config("1", ""));
    std::fs::rename(running.place.path("lake"), running.place.path("away")).unwrap();
    running.place.write("adce.yaml", &config("1, 2", "").replace("5h", "2s").replace("6000", "7000"));
    let status = || running.place.adce(&["-c", "right.yaml", "status"]).out;
    wait_for("it is said", || status().contains("nothing of it is in force"));
    std::fs::rename(running.place.path("away"), running.place.path("lake")).unwrap();
    wait_for("it is in force", || running.place.has("lake/box/2.txt"));
    assert_eq!(running.in_force("sources.site.limits.per_minute"), "7000");
}

#[test]
fn a_reload_that_opens_very_many_gaps_is_a_surprise() {
    let numbers: Vec<String> = (1..=30).map(|number| number.to_string()).collect();
    let running = Running::by(&config(&numbers.join(", "), ""));
    let other_key = config(&numbers.join(", "), "").replace("key: box/{number}.txt", "key: slip/{number}.txt");
    running.place.write("adce.yaml", &other_key);
    wait_for("it is held", || running.status()["held"].as_array().is_some_and(|held| !held.is_empty()));
    assert!(!running.place.has("lake/slip/1.txt"));
    running.place.adce(&["accept"]).ends_with(0);
    wait_for("it was meant", || running.place.has("lake/slip/30.txt"));
}

#[test]
fn a_hangup_has_the_config_read_at_once_and_what_belongs_to_the_state_waits_for_the_next_start() {
    let running = Running::by(&config("1", ""));
    running.place.write("adce.yaml", &config("1", "").replace("name: reloads", "name: other"));
    signal("-HUP", running.engine());
    running.place.write("right.yaml", &config("1", ""));
    let log = || running.place.adce(&["-c", "right.yaml", "logs"]).out;
    wait_for("it is said", || log().contains("applies at the next start: `name`"));
    let before = log().matches("config edited").count();
    running.place.write("adce.yaml", &config("1", ""));
    wait_for("it is what runs", || log().contains("it says what runs"));
    signal("-HUP", running.engine());
    wait_for("it was read once more", || log().matches("config edited").count() > before + 1);
}

#[test]
fn variables_lie_on_top_of_all_files_and_every_value_says_where_it_comes_from() {
    let place = Place::new(&config("1", ""));
    place.write("prod.yaml", "sources: { site: { limits: { per_minute: 30 } } }\n");
    let variables = [("ADCE_ENGINE__MAX_CONCURRENT", "8".to_owned()), ("ADCE_SOURCES__SITE__HOSTS", "[other.example]".to_owned())];
    let shown = place.adce_with(&variables, &["-c", "adce.yaml", "-c", "prod.yaml", "config", "show", "--origin"]);
    shown.ends_with(0);
    let line =
        |key: &str| shown.out.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap_or_else(|| panic!("{key}: {}", shown.out));
    let says = |key: &str, value: &str, origin: &str| {
        let line = line(key);
        assert!(line.starts_with(&format!("{key} = {value}")) && line.ends_with(origin), "{line}");
    };
    says("sources.site.limits.per_minute", "30", "prod.yaml:1:42");
    says("engine.max_concurrent", "8", "$ADCE_ENGINE__MAX_CONCURRENT");
    says("sources.site.hosts", "[other.example]", "$ADCE_SOURCES__SITE__HOSTS");
    says("name", "reloads", "adce.yaml:2:7");
    says("engine.drain", "5 m", "default");
    // They are the config: mistakes in them are named by them.
    let wrong = [("ADCE_ENGINE__MAX_CONCURRENT", "many".to_owned())];
    place.adce_with(&wrong, &["check"]).ends_with(78).says("$ADCE_ENGINE__MAX_CONCURRENT");
    place.adce(&["diff"]).ends_with(69).says("no engine runs");
}
