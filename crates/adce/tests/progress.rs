//! How far a running attempt is, as `status` and `tasks` show it, and which config the engine runs.

mod support;

use support::place::{Place, wait_for};

const CONFIG: &str = "version: 1\nname: slow\nlake: ./lake\ndimensions:\n  letter: [a, b, c]\ndatasets:\n  letters:\n    \
    key: letters/{letter}.txt\n    for: letter\n    collector:\n      command: [sh, scraper.sh]\n      batch: { size: 3 }\n      retry: { attempts: 1 }\n";

const SCRAPER: &str = r#"
echo '{"adce":1,"progress":{"done":2,"of":3}}'
while [ ! -e go ]; do sleep 0.01; done
for letter in a b c; do echo hello > "$ADCE_OUT/letters/$letter.txt"; done
"#;

#[test]
fn status_and_tasks_show_how_far_an_attempt_is_and_which_config_runs() {
    let place = Place::new(CONFIG);
    place.write("scraper.sh", SCRAPER);
    let mut engine = place.start(&["run"]);
    let status = || place.adce(&["status", "--format", "json"]).json();
    wait_for("its progress line", || status()["running"][0]["landed"] == 2);
    let said = status();
    assert_eq!((&said["running"][0]["landing"], &said["running"][0]["items"]), (&3.into(), &3.into()));
    let task = place.adce(&["tasks", "--format", "json"]).json();
    assert_eq!(task["progress"], serde_json::json!({ "done": 2, "of": 3 }));
    place.adce(&["tasks"]).ends_with(0).says("2 of 3 landed");

    let id = said["engine"]["config"].as_str().expect("an id");
    assert!(id.len() == 16 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert!(said["engine"]["config_changed_at"].is_string());
    place.adce(&["status"]).says("2 of 3 landed").says(&format!("config {} of ", &id[..4]));
    place.write("go", "");
    assert_eq!(engine.wait().expect("an exit code").code(), Some(0));
}

#[test]
fn another_config_has_another_id() {
    let place = Place::new(CONFIG);
    let id = || {
        place.write("scraper.sh", SCRAPER);
        let mut engine = place.start(&["run"]);
        let mut id = serde_json::Value::Null;
        wait_for("an engine", || {
            id = place.adce(&["status", "--format", "json"]).json()["engine"]["config"].clone();
            id.is_string()
        });
        place.write("go", "");
        engine.wait().expect("an exit code");
        for name in ["go", "lake/letters/a.txt", "lake/letters/b.txt", "lake/letters/c.txt"] {
            std::fs::remove_file(place.path(name)).expect("a file goes");
        }
        std::fs::remove_dir_all(place.path(".adce")).expect("the state goes");
        id
    };
    let before = id();
    assert_eq!(id(), before, "the same config");
    place.write("adce.yaml", &format!("{CONFIG}# changed\n"));
    assert_ne!(id(), before);
}
