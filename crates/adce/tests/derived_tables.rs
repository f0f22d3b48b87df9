//! What should exist is itself collected: games that stand in schedules, which come as a file a day.

mod support;

use support::place::Place;

fn place() -> Place {
    let place = Place::new(
        "version: 1\nname: derived\nlake: ./lake\ndimensions:\n  day: [d1, d2, d3]\n  game:\n    table: { dataset: schedule, rows: \"$.events[*]\", columns: \
         { game_id: \"$.id\", day: day } }\n    id: game_id\n    duplicates: { keep: last }\ndatasets:\n  box:\n    key: \"box/{game.day}/{game_id}.txt\"\n    \
         for: game\n    collector:\n      command: [sh, box.sh, \"{game_id}\", \"{out}\"]\n  schedule:\n    key: \"schedule/{day}.json\"\n    for: day\n    \
         collector:\n      command: [sh, schedule.sh, \"{day}\", \"{out}\"]\n      retry: { attempts: 1 }\n",
    );
    place.write(
        "schedule.sh",
        "if [ $1 = d3 ] && [ ! -e late ]; then exit 1; fi\nprintf '{\"events\": [{\"id\": \"%s-a\"}, {\"id\": \"%s-b\"}]}' $1 $1 > $2\n",
    );
    place.write("box.sh", "echo $1 >> boxes; echo $1 > $2\n");
    place
}

#[test]
fn a_new_schedule_brings_its_games_within_the_same_run_and_while_one_is_missing_nothing_is_complete() {
    let place = place();
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!((&plan["datasets"]["box"]["expected"], &plan["datasets"]["box"]["lower_bound"]), (&0.into(), &true.into()), "{plan}");
    assert!(!place.path(".adce/rows").exists(), "a plan leaves nothing behind");
    let run = place.adce(&["run", "--max-wait", "0s", "--format", "json"]).ends_with(2).json();
    let mut boxes: Vec<String> = place.read("boxes").lines().map(String::from).collect();
    boxes.sort();
    assert_eq!(boxes, ["d1-a", "d1-b", "d2-a", "d2-b"], "{run}");
    place
        .adce(&["plan"])
        .ends_with(2)
        .says("≥4")
        .says("≤100 %")
        .says("≥ box: of `schedule`, 1 item is missing (day=d3): what they list is not counted yet, usually 2 items");
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!((&plan["datasets"]["box"]["missing"], &plan["complete"]), (&0.into(), &false.into()), "{plan}");
    place.write("late", "");
    place.adce(&["retry", "schedule/d3.json"]).ends_with(0);
    place.adce(&["run", "--format", "json"]).ends_with(0);
    assert_eq!(place.read("boxes").lines().count(), 6);
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(0).json();
    assert_eq!((&plan["datasets"]["box"]["expected"], &plan["datasets"]["box"]["lower_bound"]), (&6.into(), &false.into()), "{plan}");
}

#[test]
fn a_row_that_vanishes_takes_its_gap_along_and_an_object_that_cannot_be_read_keeps_its_rows() {
    let place = place();
    place.write("late", "");
    place.adce(&["run"]).ends_with(0);
    std::fs::remove_file(place.path("lake/box/d1/d1-a.txt")).unwrap();
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!(plan["datasets"]["box"]["missing"], 1, "{plan}");
    place.write("lake/schedule/d1.json", "{\"events\": [{\"id\": \"d1-b\"}]}");
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(0).json();
    assert_eq!((&plan["datasets"]["box"]["expected"], &plan["datasets"]["box"]["present"]), (&5.into(), &5.into()), "{plan}");
    place.write("lake/schedule/d2.json", "<html>");
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!((&plan["datasets"]["box"]["expected"], &plan["datasets"]["box"]["lower_bound"]), (&5.into(), &true.into()), "{plan}");
    assert!(plan["datasets"]["box"]["not_counted"].as_str().unwrap().contains("schedule/d2.json"), "{plan}");
    // Without a look at the lake, what the last run saw is known.
    place.adce(&["check"]).ends_with(0).says("9 items");
}
