//! The state under care: checked, copied, damaged, moved away, and gone back to.

mod support;

use support::place::{Place, engine_of, signal, wait_for};

/// Each fetch leaves a line in `fetched`.
const COUNTED: &str = r#"
version: 1
name: prod
lake: ./lake
dimensions: { n: [1, 2, 3, 4] }
datasets: { files: { key: "{n}.txt", for: n, where: "n in LIST", collector: counting } }
collectors:
  counting: { command: [sh, -c, "echo {n} >> fetched; echo {n} > {out}"] }
"#;

fn config(list: &str) -> String {
    COUNTED.replace("LIST", list)
}

/// What was fetched so far, in order.
fn fetched(place: &Place) -> Vec<String> {
    let mut fetched: Vec<String> = place.read("fetched").lines().map(String::from).collect();
    fetched.sort();
    fetched
}

fn damage(place: &Place) {
    let path = place.path(".adce/state.db");
    let mut whole = std::fs::read(&path).unwrap();
    let pages = whole.len() / 4096;
    (1..pages).for_each(|page| whole[page * 4096..page * 4096 + 64].fill(0));
    std::fs::write(path, whole).unwrap();
}

#[test]
fn a_damaged_state_is_named_moved_away_and_rebuilt_and_nothing_in_the_lake_is_fetched_again() {
    let place = Place::new(&config("['1', '2']"));
    place.adce(&["run"]).ends_with(0);
    assert_eq!(fetched(&place), ["1", "2"]);
    damage(&place);
    place.write("adce.yaml", &config("['1', '2', '3', '4']"));
    let state = place.path(".adce/state.db").display().to_string();
    for command in [["run"].as_slice(), &["status"], &["tasks"], &["retry", "--all"], &["state", "check"]] {
        let said = place.adce(command);
        said.ends_with(69).says(&state).says("which permits were used").says("adce state backup");
    }
    let json = place.adce(&["state", "check", "--format", "json"]);
    assert_eq!(json.code, Some(69), "{}", json.out);
    assert_eq!(fetched(&place), ["1", "2"], "nothing was started on it");
    // What the message says.
    for suffix in ["", "-wal", "-shm"] {
        let from = place.path(&format!(".adce/state.db{suffix}"));
        if from.exists() {
            std::fs::rename(from, place.path(&format!("damaged{suffix}"))).unwrap();
        }
    }
    place.adce(&["run"]).ends_with(0);
    assert_eq!(fetched(&place), ["1", "2", "3", "4"]);
    place.adce(&["state", "check"]).ends_with(0).says("whole");
}

#[test]
fn a_copy_takes_the_place_of_a_damaged_state_with_its_history() {
    let place = Place::new(&config("['1', '2']"));
    place.adce(&["run"]).ends_with(0);
    let copied = place.adce(&["state", "backup", "copy.db"]);
    assert!(copied.ends_with(0).out.starts_with("copied ") && copied.out.contains(" to copy.db: "), "{}", copied.out);
    place.adce(&["state", "backup", "copy.db"]).ends_with(64).says("`copy.db` is there already").says("--force");
    std::os::unix::fs::symlink(place.path(".adce/state.db"), place.path("link.db")).expect("a link");
    for itself in [".adce/state.db", "./.adce/../.adce/state.db-wal", "link.db"] {
        place.adce(&["state", "backup", "--force", itself]).ends_with(64).says("is the state itself, or stands beside it");
    }
    let json = place.adce(&["state", "backup", "--force", "copy.db", "--format", "json"]);
    let size = std::fs::metadata(place.path("copy.db")).unwrap().len();
    assert_eq!(json.ends_with(0).json()["bytes"], size);
    damage(&place);
    place.write("adce.yaml", &config("['1', '2', '3', '4']"));
    place.adce(&["run"]).ends_with(69);
    std::fs::rename(place.path("copy.db"), place.path(".adce/state.db")).unwrap();
    place.adce(&["run"]).ends_with(0);
    assert_eq!(fetched(&place), ["1", "2", "3", "4"]);
    let report = place.adce(&["state", "check", "--format", "json"]).ends_with(0).json();
    assert_eq!((report["attempts"].as_u64(), report["gaps"].as_u64(), report["problems"].as_array().unwrap().len()), (Some(4), Some(0), 0));
}

#[test]
fn a_copy_into_a_folder_that_is_not_there_names_the_folder() {
    let place = Place::new(&config("['1']"));
    place.adce(&["run"]).ends_with(0);
    let said = place.adce(&["state", "backup", "some where/a.db"]);
    let expected = "error: there is no folder `some where`\nhint: `mkdir -p 'some where'` makes it; nothing was copied\n";
    assert_eq!((said.ends_with(64).err.as_str(), place.has("some where")), (expected, false));
    place.write("some where", "a file");
    place.adce(&["state", "backup", "some where/a.db"]).ends_with(64).says("there is no folder `some where`");
}

/// What lies there that others than its owner may do anything with, and the names of all.
fn open_to_others(place: &Place, folder: &str) -> (Vec<String>, Vec<String>) {
    use std::os::unix::fs::PermissionsExt;
    let entries = std::fs::read_dir(place.path(folder)).expect("a folder").map(|entry| entry.expect("an entry"));
    let named = entries.map(|entry| (entry.file_name().into_string().expect("a name"), entry.metadata().expect("it is there")));
    let all: Vec<(String, u32)> = named.map(|(name, found)| (name, found.permissions().mode())).collect();
    let open = all.iter().filter(|(_, mode)| mode & 0o077 != 0).map(|(name, mode)| format!("{name} {mode:o}"));
    (open.collect(), all.iter().map(|(name, _)| name.clone()).collect())
}

#[test]
fn the_state_and_what_lies_beside_it_are_for_its_owner_alone() {
    let prints = "echo secret; while [ ! -e go ]; do sleep 0.01; done; echo {n} > {out}";
    let place = Place::new(&config("['1']").replace("echo {n} > {out}", prints));
    let mut run = place.start(&["run"]);
    wait_for("an attempt", || place.has("fetched"));
    let folder = std::fs::metadata(place.path(".adce")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&folder) & 0o777, 0o700);
    let (open, names) = open_to_others(&place, ".adce");
    assert_eq!(open, Vec::<String>::new());
    for name in ["state.db", "state.db-wal", "state.db-shm", "state.db.lock", "control.sock", "logs", "attempts"] {
        assert!(names.iter().any(|there| there == name), "{name} is not in {names:?}");
    }
    place.write("go", "");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let (open, logs) = open_to_others(&place, ".adce/logs");
    assert_eq!((open, logs.len()), (Vec::new(), 1));
}

#[test]
fn a_state_is_checked_and_copied_while_an_engine_runs_on_it() {
    let place = Place::new(&config("['1']").replace("echo {n} > {out}", "while [ ! -e go ]; do sleep 0.01; done; echo {n} > {out}"));
    let said = place.adce(&["state", "check"]);
    let state =
        place.path(".adce/state.db").canonicalize().unwrap_or_else(|_| place.folder().canonicalize().unwrap().join(".adce/state.db"));
    assert!(said.ends_with(0).out.ends_with(".adce/state.db: there is no state yet; the next `adce run` begins it\n"), "{}", said.out);
    place.adce(&["state", "backup", "copy.db"]).ends_with(69).says("there is no state at");
    let mut run = place.start(&["run"]);
    wait_for("an attempt", || place.has("fetched"));
    let said = place.adce(&["state", "check"]);
    let text = &said.ends_with(0).out;
    assert!(text.contains("an engine runs on it") && text.contains("1 gap in 1 task, 1 under way · history: 0 attempts"), "{text}");
    place.adce(&["state", "backup", "copy.db"]).ends_with(0);
    place.write("go", "");
    assert_eq!(run.wait().unwrap().code(), Some(0));
    let said = place.adce(&["state", "check"]);
    let text = &said.ends_with(0).out;
    assert!(text.contains("no engine runs on it") && text.contains("0 gaps in 0 tasks, 0 under way · history: 1 attempt"), "{text}");
    // The copy remembers an attempt under way, which is taken for one that was cut short.
    std::fs::rename(place.path("copy.db"), &state).unwrap();
    place.adce(&["run"]).ends_with(0);
    assert_eq!(fetched(&place), ["1", "1"]);
}

#[test]
fn what_a_killed_engine_left_under_way_is_said_until_a_run_has_ended_it() {
    let place = Place::new(
        "version: 1\nname: killed\nlake: ./lake\ndimensions: { n: ['1'] }\n\
         datasets: { counted: { key: \"{n}.txt\", for: n, collector: slow } }\n\
         collectors: { slow: { command: [sh, -c, 'echo >> begun; while [ ! -e go ]; do sleep 0.01; done; echo x > \"$1\"', sh, '{out}'] } }\n",
    );
    let mut engine = place.start(&["run"]);
    wait_for("the attempt", || place.has("begun"));
    let task = place.adce(&["tasks", "--format", "json"]).json()["id"].as_str().expect("its task").to_owned();
    signal("-KILL", engine_of(&engine));
    engine.wait().expect("its guardian follows");
    place.adce(&["status"]).ends_with(2).says("the last one left 1 attempt with 1 gap under way, 0 of these leases expired");
    place.adce(&["tasks", "show", &task]).says("of an engine that does not answer holds it until");
    let check = place.adce(&["state", "check", "--format", "json"]).json();
    assert_eq!((&check["leases"], &check["leases_expired"]), (&1.into(), &0.into()));
    place.write("go", "");
    place.adce(&["run"]).ends_with(0);
    assert!(!place.adce(&["status"]).ends_with(0).out.contains("under way"));
    place.adce(&["state", "check"]).ends_with(0).says("0 under way ·");
}

#[test]
fn a_state_that_was_emptied_is_said_to_be_and_begun_anew() {
    let place = Place::new(&config("['1', '2']"));
    place.adce(&["run"]).ends_with(0);
    place.write(".adce/state.db", "");
    place.adce(&["state", "check"]).ends_with(0).says("state.db: the file is there and empty");
    place.adce(&["run"]).ends_with(0).says("was there and empty, and is begun anew").says("which permits were used");
    assert_eq!(fetched(&place), ["1", "2"], "the lake has them");
}
