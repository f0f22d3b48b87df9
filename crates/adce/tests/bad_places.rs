//! Lakes and states that are not as they should be, seen from the command line: a clear message, the right exit code, and
//! nothing changed.

mod support;

use support::place::{Place, engine_of, wait_for};

const CONFIG: &str = "version: 1\nname: numbers\nlake: ./lake\ndimensions:\n  number: { table: numbers.csv, id: number }\ndatasets:\n  numbers:\n    \
    key: numbers/{number}.txt\n    for: number\n    collector:\n      command: [sh, -c, 'echo hello > \"$1\"', sh, \"{out}\"]\nengine: { reconcile_every: 1s }\n";

fn numbers(count: u32) -> Place {
    let place = Place::new(CONFIG);
    place.write("numbers.csv", &table(count));
    place
}

fn table(count: u32) -> String {
    std::iter::once("number\n".to_owned()).chain((0..count).map(|number| format!("{number:03}\n"))).collect()
}

#[test]
fn a_lake_that_does_not_exist_is_not_created() {
    let place = numbers(3);
    std::fs::remove_dir(place.path("lake")).expect("the lake goes");
    for verb in ["plan", "run"] {
        place.adce(&[verb]).ends_with(69).says("does not exist");
    }
    assert!(!place.has("lake"));
}

#[test]
fn a_lake_that_is_suddenly_empty_is_held_until_somebody_says_so() {
    let place = numbers(100);
    // However long all this takes, no later look confirms it.
    place.write("adce.yaml", &place.read("adce.yaml").replace("reconcile_every: 1s", "reconcile_every: 1h"));
    place.adce(&["run"]).ends_with(0);
    std::fs::remove_dir_all(place.path("lake/numbers")).expect("the objects go");
    place.adce(&["plan"]).ends_with(2).says("lost 100 of 100 objects");
    place.adce(&["run"]).ends_with(2).says("adce accept");
    assert!(!place.has("lake/numbers"), "nothing is collected while it is held");
    // Every missing object is named all the same.
    place.adce(&["gaps"]).ends_with(0).says("numbers/007.txt").says("held");
    let gaps = place.adce(&["gaps", "--format", "json"]);
    let held = gaps.out.lines().filter(|line| line.contains("\"state\":\"held\"") && line.contains("\"reason\":\"missing\""));
    assert_eq!(held.count(), 100, "{}", gaps.out);
    place.adce(&["tasks"]).says("holds 100 gaps");
    place.adce(&["why", "numbers/007.txt"]).says("a sudden change is held").says("missing since");
    place.adce(&["why", "numbers"]).says("most of its gaps (100)");
    place.adce(&["accept"]).ends_with(0).says("lost 100 of 100 objects");
    place.adce(&["run"]).ends_with(0);
    assert!(place.has("lake/numbers/099.txt"));
}

#[test]
fn a_sudden_change_is_in_force_when_a_later_cycle_confirms_it() {
    let place = numbers(100);
    place.adce(&["run"]).ends_with(0);
    std::fs::remove_dir_all(place.path("lake/numbers")).expect("the objects go");
    place.adce(&["run"]).ends_with(2);
    wait_for("a look that begins a cycle after the first sight", || place.adce(&["run"]).code == Some(0));
    assert!(place.has("lake/numbers/000.txt"));
}

#[test]
fn a_table_that_lost_many_rows_is_held() {
    let place = numbers(100);
    place.adce(&["run"]).ends_with(0);
    place.write("numbers.csv", &table(50));
    place.adce(&["run"]).ends_with(2).says("lost 50 of 100 rows");
    place.write("numbers.csv", &table(100));
    place.adce(&["run"]).ends_with(0);
}

#[test]
fn a_table_that_is_empty_from_the_start_is_an_error_with_its_name() {
    let place = numbers(0);
    place.adce(&["run"]).ends_with(78).says("numbers.csv");
    place.adce(&["plan"]).ends_with(78).says("numbers.csv");
}

#[test]
fn a_table_that_is_empty_after_a_good_run_is_held_until_somebody_says_so() {
    let place = numbers(100);
    // No later look confirms it by itself while this test goes on.
    place.write("adce.yaml", &CONFIG.replace("1s", "1h"));
    place.adce(&["run"]).ends_with(0);
    std::fs::remove_file(place.path("lake/numbers/007.txt")).expect("an object goes");
    place.write("numbers.csv", &table(0));
    place.adce(&["plan"]).ends_with(2).says("the table of `number` is empty; it had 100 rows");
    place.adce(&["run"]).ends_with(2).says("adce accept");
    place.adce(&["run", "--select", "number == '007'"]).ends_with(2).says("adce accept");
    place.adce(&["status"]).ends_with(2).says("HELD");
    // The rows are back: nothing is held, and nothing was lost.
    place.write("numbers.csv", &table(100));
    place.adce(&["run"]).ends_with(0);
    assert!(place.has("lake/numbers/007.txt"));

    place.write("numbers.csv", &table(0));
    place.adce(&["run"]).ends_with(2);
    place.adce(&["accept"]).ends_with(0).says("is empty");
    place.adce(&["run"]).ends_with(0);
    place.adce(&["plan"]).ends_with(0);
}

#[test]
fn a_state_of_another_lake_is_refused() {
    let place = numbers(3);
    place.adce(&["run"]).ends_with(0);
    std::fs::create_dir(place.path("other")).expect("another lake");
    place.write("adce.yaml", &CONFIG.replace("./lake", "./other"));
    place.adce(&["run"]).ends_with(69).says("another lake");
}

#[test]
fn a_damaged_state_is_refused_and_says_the_way_back() {
    let place = numbers(3);
    place.adce(&["run"]).ends_with(0);
    let state = place.path(".adce/state.db");
    std::fs::write(&state, b"this is no database, whatever its name says".repeat(200)).expect("damage");
    for extra in ["state.db-wal", "state.db-shm"] {
        let _ = std::fs::remove_file(place.path(".adce").join(extra));
    }
    place.adce(&["run"]).ends_with(69).says("damaged");
    std::fs::remove_file(&state).expect("the way back");
    place.adce(&["run"]).ends_with(0);
}

#[test]
fn a_second_engine_is_refused_and_told_who_holds_the_state() {
    let place = numbers(1);
    place.write(
        "adce.yaml",
        &CONFIG.replace("echo hello > \"$1\"", "touch started; while [ ! -e go ]; do sleep 0.01; done; echo hello > \"$1\""),
    );
    let mut engine = place.start(&["run"]);
    wait_for("the first attempt", || place.has("started"));
    place.adce(&["run"]).ends_with(75).says(&format!("process {} ", engine_of(&engine)));
    // Meanwhile everybody can look.
    assert_eq!(place.adce(&["status", "--format", "json"]).ends_with(2).json()["gaps"]["running"], 1);
    assert_eq!(place.adce(&["gaps", "--format", "json"]).json()["state"], "running");
    place.adce(&["tasks"]).ends_with(0).says("running");
    place.adce(&["why", "numbers/000.txt"]).ends_with(0).says("it runs now");
    place.adce(&["limits"]).ends_with(0);
    place.write("go", "");
    assert_eq!(engine.wait().expect("an exit code").code(), Some(0));
}

#[test]
fn a_clean_end_leaves_one_file_of_state() {
    let place = numbers(3);
    place.adce(&["run"]).ends_with(0);
    assert!(!place.has(".adce/state.db-wal"), "the write-ahead log is folded in");
    assert!(!place.has(".adce/control.sock"));
}

#[test]
fn words_of_other_tools_get_a_hint() {
    let place = numbers(1);
    for (word, hint) in [("validate", "`adce check`"), ("apply", "`adce run`"), ("backfill", "`--select`"), ("describe", "`adce why KEY`")]
    {
        place.adce(&[word]).ends_with(64).says("hint: ").says(hint);
        place.adce(&[word, "-c", "adce.yaml", "something"]).ends_with(64).says(hint);
    }
    place.adce(&["run", "--max-wait", "soon"]).ends_with(64).says("30s");
}

#[test]
fn what_try_collects_stays_out_of_the_lake() {
    let place = numbers(5);
    place.adce(&["try", "numbers number=003"]).ends_with(0);
    assert_eq!(place.read("adce-try/numbers/003.txt"), "hello\n");
    assert!(!place.has("adce-try/numbers/002.txt"));
    assert!(!place.has("lake/numbers"));
    place.adce(&["try", "numbers", "--into", "one"]).ends_with(0).says("1 of 1 attempt collected");
    assert_eq!(std::fs::read_dir(place.path("one/numbers")).expect("what was tried").count(), 1, "one attempt, not all of the dataset");
    place.adce(&["try", "nonsense number=003"]).ends_with(64).says("numbers");
}

#[test]
fn a_try_names_places_only_where_something_lies() {
    let place = numbers(5);
    let tried = |into: &str, script: &str| {
        let config = place.read("adce.yaml");
        place.write("other.yaml", &config.replace(r#"echo hello > "$1""#, script));
        let said = place.adce(&["-c", "other.yaml", "try", "numbers number=003", "--into", into]);
        ["objects are in", "logs are in"].map(|place| said.out.contains(place))
    };
    assert_eq!(tried("silent", "exit 3"), [false, false]);
    assert_eq!(tried("loud", "echo no; exit 3"), [false, true]);
    assert_eq!(tried("well", r#"echo hello > "$1""#), [true, false]);
}

#[test]
fn only_what_is_selected_is_collected() {
    let place = numbers(10);
    place.adce(&["run", "--select", "number in ['002', '007']"]).ends_with(2);
    assert!(place.has("lake/numbers/002.txt") && place.has("lake/numbers/007.txt") && !place.has("lake/numbers/003.txt"));
    place.adce(&["run", "--select", "nomber == '1'"]).ends_with(64).says("number");
    place.adce(&["run"]).ends_with(0);
}

#[test]
fn what_is_not_selected_is_held_and_named_by_everybody() {
    let place = numbers(3);
    let scraper = "touch started; while [ ! -e go ]; do sleep 0.01; done; echo hello > \"$1\"";
    place.write("adce.yaml", &CONFIG.replace("echo hello > \"$1\"", scraper).replace("1s", "1h"));
    let mut engine = place.start(&["run", "--select", "number == '001'"]);
    wait_for("the first attempt", || place.has("started"));
    let gaps = place.adce(&["gaps", "--format", "json"]);
    let mut states: Vec<_> = gaps.out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a gap")).collect();
    states.sort_by_key(|gap| gap["key"].to_string());
    let states: Vec<_> = states.iter().map(|gap| (gap["key"].as_str().expect("a key"), gap["state"].as_str().expect("a state"))).collect();
    assert_eq!(states, [("numbers/000.txt", "held"), ("numbers/001.txt", "running"), ("numbers/002.txt", "held")]);
    let counts = place.adce(&["status", "--format", "json"]).json()["gaps"].clone();
    assert_eq!((&counts["running"], &counts["held"]), (&1.into(), &2.into()));
    place.adce(&["why", "numbers/002.txt"]).ends_with(0).says("--select");
    place.write("go", "");
    assert_eq!(engine.wait().expect("an exit code").code(), Some(2));
}

#[test]
fn a_table_that_changes_in_mid_run_changes_what_is_selected() {
    let place = numbers(3);
    let kinds = |kinds: [&str; 3]| format!("number,kind\n000,{}\n001,{}\n002,{}\n", kinds[0], kinds[1], kinds[2]);
    place.write("numbers.csv", &kinds(["x", "y", "x"]));
    // The first attempt lets 001 in and 002 out, and gives the engine time to see it.
    place.write("later.csv", &kinds(["x", "x", "y"]));
    place.write("scraper.sh", "echo $1 >> ran\nif [ $1 = 000 ]; then mv later.csv numbers.csv; sleep 1.5; fi\necho hello > \"$2\"\n");
    let config = CONFIG.replace("[sh, -c, 'echo hello > \"$1\"', sh, \"{out}\"]", "[sh, scraper.sh, \"{number}\", \"{out}\"]");
    place.write("adce.yaml", &config.replace("reconcile_every: 1s", "reconcile_every: 300ms, max_concurrent: 1"));
    place.adce(&["run", "--select", "kind == 'x'"]).ends_with(2);
    assert_eq!(place.read("ran"), "000\n001\n");
    assert!(!place.has("lake/numbers/002.txt"));
    place.adce(&["run"]).ends_with(0);
}

#[test]
fn gaps_that_nobody_collects_are_not_called_about_to_start() {
    let place = Place::new(
        "version: 1\nname: watched\nlake: ./lake\ndimensions:\n  number: { table: numbers.csv, id: number }\ndatasets:\n  \
         numbers: { key: \"numbers/{number}.txt\", for: number }\n",
    );
    place.write(
        "numbers.csv",
        &std::iter::once("number\n".to_owned()).chain((0..1_200).map(|number| format!("{number}\n"))).collect::<String>(),
    );
    let run = place.adce(&["run"]);
    run.ends_with(2).says("1,200 only watched");
    assert!(!run.err.contains("for the first time"), "{}", run.err);
}

#[test]
fn a_table_that_breaks_in_mid_run_does_not_end_what_runs() {
    let place = numbers(3);
    // The first attempt breaks the table and gives several cycles time to stumble over it, the last one mends it.
    let scraper = "case $1 in 000) echo 'broken' > numbers.csv; touch broken;; esac\nsleep 1.5\necho hello > \"$2\"\n\
        if [ \"$1\" = 002 ]; then printf 'number\\n000\\n001\\n002\\n' > numbers.csv; fi\n";
    place.write("scraper.sh", scraper);
    let config = CONFIG.replace("[sh, -c, 'echo hello > \"$1\"', sh, \"{out}\"]", "[sh, scraper.sh, \"{number}\", \"{out}\"]");
    place.write("adce.yaml", &config.replace("reconcile_every: 1s", "reconcile_every: 300ms, max_concurrent: 1"));
    place.adce(&["run"]).ends_with(0).says("could not look again");
    assert!(place.has("broken") && place.has("lake/numbers/002.txt"));
}

#[test]
fn a_start_removes_nothing_that_is_not_its_own() {
    let place = Place::new(&CONFIG.replace("engine:", "state: sqlite:state.db\nengine:"));
    place.write("numbers.csv", &table(3));
    place.write("attempts/mine.csv", "kept");
    place.write("attempts/2024/mine.csv", "kept");
    place.write("attempts/01a209be-3d1a-74bb-a299-2b1d0f7c9a11/out/left", "by an engine that was killed");
    place.adce(&["run"]).ends_with(0);
    assert_eq!((place.read("attempts/mine.csv").as_str(), place.read("attempts/2024/mine.csv").as_str()), ("kept", "kept"));
    assert!(!place.has("attempts/01a209be-3d1a-74bb-a299-2b1d0f7c9a11"));
}

#[test]
fn an_attempt_whose_object_was_checked_in_the_lake_leaves_no_folder() {
    let script = "printf 1 > \"$ADCE_LAKE/$1.txt\"";
    let place = Place::new(&format!(
        "version: 1\nname: direct\nlake: ./lake\ndimensions:\n  letter: [a, b, c]\ndatasets:\n  letters:\n    key: \"{{letter}}.txt\"\n    \
         for: letter\n    valid: json\n    collector:\n      command: [sh, -c, '{script}', sh, \"{{letter}}\"]\n      output: direct\n"
    ));
    place.adce(&["run"]).ends_with(0);
    assert_eq!(std::fs::read_dir(place.path(".adce/attempts")).map_or(0, Iterator::count), 0);
}
