//! `adce up`: an engine that stays, and hears of what others do in the lake.

mod support;

use std::process::Child;

use support::place::{Place, said, signal, wait_for};

/// Nothing but an event tells of a change here: the next full look is hours away.
const CONFIG: &str = "version: 1\nname: stays\nlake: ./lake\ndimensions:\n  number: [1, 2, 3]\ndatasets:\n  box:\n    key: box/{number}.txt\n    \
                      for: number\n    min_size: 2B\n    collector:\n      command: [sh, -c, 'echo hello > \"$1\"', sh, \"{out}\"]\n  \
                      other:\n    key: other/{number}.txt\n    for: number\nengine: { reconcile_every: 5h }\n";

fn status(place: &Place) -> serde_json::Value {
    let said = place.adce(&["status", "--format", "json"]);
    if said.code == Some(0) || said.code == Some(2) { said.json() } else { serde_json::Value::Null }
}

/// Once it has looked and collected what it can.
fn up(place: &Place, present: u64) -> Child {
    let up = place.start(&["up", "--yes"]);
    is_present(place, present);
    up
}

#[track_caller]
fn is_present(place: &Place, present: u64) {
    wait_for("so much is present", || {
        let status = status(place);
        status["coverage"]["present"] == present && status["engine"].is_object() && status["gaps"]["running"] == 0
    });
}

#[test]
fn it_stays_when_all_is_done_and_takes_in_at_once_what_changes() {
    let place = Place::new(CONFIG);
    let running = up(&place, 3);
    // Somebody else delivers, also into folders that are new.
    place.write("lake/other/1.txt", "content");
    is_present(&place, 4);
    place.adce(&["why", "other/1.txt"]).says("seen by the lake, asked 20").says("because of an event from files of ");
    place.adce(&["why", "other/2.txt"]).says("not there, by the listing of 20");
    // What somebody takes away is collected again.
    std::fs::remove_file(place.path("lake/box/2.txt")).expect("an object");
    wait_for("it is there again", || place.has("lake/box/2.txt"));
    is_present(&place, 4);
    // As is what he overwrites with something too small.
    place.write("lake/box/3.txt", "x");
    wait_for("it is whole again", || place.read("lake/box/3.txt") == "hello\n");
    is_present(&place, 4);
    let status = status(&place);
    let feed = &status["engine"]["feeds"][0];
    assert_eq!((&feed["state"], feed["feed"].as_str().unwrap().starts_with("files of ")), (&"listening".into(), true), "{status}");
    place.adce(&["status"]).ends_with(2).says("EVENTS").says("listening");
    signal("-INT", running.id() as i32);
    said(running.wait_with_output().expect("it ends")).ends_with(130);
}

#[test]
fn a_new_row_of_a_table_is_collected_without_waiting_for_the_next_look() {
    let place = Place::new(
        "version: 1\nname: grows\nlake: ./lake\ndimensions:\n  game: { table: \"games/*.csv\", id: id }\ndatasets:\n  box:\n    \
         key: box/{id}.txt\n    for: game\n    collector:\n      command: [sh, -c, 'echo hello > \"$1\"', sh, \"{out}\"]\n\
         engine: { reconcile_every: 5h }\n",
    );
    place.write("games/1.csv", "id\n1\n2\n");
    let running = up(&place, 2);
    place.write("games/1.csv", "id\n1\n2\n3\n");
    is_present(&place, 3);
    place.write("games/2.csv", "id\n4\n");
    is_present(&place, 4);
    signal("-INT", running.id() as i32);
    said(running.wait_with_output().expect("it ends")).ends_with(130);
}

#[test]
fn a_new_row_of_a_table_in_the_lake_is_too_also_where_the_lake_is_not_watched() {
    for lake in ["./lake", "{ url: ./lake, watch: false }"] {
        let place = Place::new(&format!(
            "version: 1\nname: grows\nlake: {lake}\ndimensions:\n  game: {{ table: \"lake:games/*.csv\", id: id }}\ndatasets:\n  box:\n    \
             key: box/{{id}}.txt\n    for: game\n    collector:\n      command: [sh, -c, 'echo hello > \"$1\"', sh, \"{{out}}\"]\n\
             engine: {{ reconcile_every: 5h }}\n",
        ));
        place.write("lake/games/1.csv", "id\n1\n2\n");
        let running = up(&place, 2);
        place.write("lake/games/2.csv", "id\n3\n");
        is_present(&place, 3);
        place.write("lake/games/1.csv", "id\n1\n2\n4\n");
        is_present(&place, 4);
        signal("-INT", running.id() as i32);
        said(running.wait_with_output().expect("it ends")).ends_with(130);
    }
}

#[test]
fn a_lake_that_is_not_to_be_watched_is_not() {
    let place = Place::new(&CONFIG.replace("lake: ./lake\n", "lake: { url: ./lake, watch: false }\n"));
    let running = up(&place, 3);
    assert_eq!(status(&place)["engine"]["feeds"], serde_json::json!([]));
    signal("-TERM", running.id() as i32);
    said(running.wait_with_output().expect("it ends")).ends_with(143);
}
