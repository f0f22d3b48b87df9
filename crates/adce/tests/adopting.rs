//! A lake that is there already: do the config's keys match it, what nearly does, and what does looking cost?

mod support;

use support::place::Place;

fn place() -> Place {
    let place = Place::new(
        "version: 1\nname: adopting\nlake: ./lake\nignore: \"**/*.tmp\"\ndimensions:\n  season: [2023-24, 2024-25]\n  game: [\"0021\", \"0022\"]\ndatasets:\n  box:\n    \
         key: \"box/{season}/{game}.json\"\n    also: [\"old/{game}-{season}.json\"]\n    for: [season, game]\n",
    );
    for key in [
        "box/2023-24/0021.json",
        "box/2024-25/0022.json",
        "old/0022-2023-24.json",
        "box/2023-24/21.json",
        "box/2022-23/0021.json",
        "box/a.tmp",
    ] {
        place.write(&format!("lake/{key}"), "{}");
    }
    place
}

#[test]
fn check_lake_says_what_matches_and_where_the_nearest_misses_stop() {
    let place = place();
    let check = place.adce(&["check", "--lake", "--format", "json"]);
    check.ends_with(0);
    let check: serde_json::Value = serde_json::from_str(&check.out).expect("one JSON object");
    let found = &check["lake"]["datasets"]["box"];
    assert_eq!(
        (&found["items"], &found["matched"], &found["at_older_places"], &found["unexpected"]),
        (&4.into(), &3.into(), &1.into(), &2.into()),
        "{check}"
    );
    let misses: Vec<(&str, u64)> = found["near_misses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|miss| (miss["key"].as_str().unwrap(), miss["fits"].as_u64().unwrap()))
        .collect();
    assert!(misses.contains(&("box/2023-24/21.json", 12)), "{check}");
    assert_eq!(
        (&check["lake"]["listing"]["prefixes"], &check["lake"]["listing"]["dollars_per_month"]),
        (&2.into(), &serde_json::Value::Null),
        "{check}"
    );
    let said = place.adce(&["check", "--lake"]);
    said.ends_with(0).says("near box, and of no item:").says("  box/2023-24/21.json\n              ^ a `game` should follow");
    said.says("a look lists 2 prefixes with 2 requests, at no price: the lake is a folder");
    assert!(!place.has(".adce"), "it writes nothing");
    // Without it, the lake is not even opened.
    std::fs::remove_dir_all(place.path("lake")).unwrap();
    place.adce(&["check"]).ends_with(0);
    place.adce(&["check", "--lake"]).ends_with(69);
}

#[test]
fn what_is_only_watched_is_told_and_never_collected() {
    let place = place();
    let run = place.adce(&["run", "--format", "json"]).ends_with(2).json();
    assert_eq!((&run["attempts"], &run["coverage"]["missing"]), (&0.into(), &1.into()), "{run}");
}
