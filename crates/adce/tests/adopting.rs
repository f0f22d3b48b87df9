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

#[test]
fn what_was_missing_before_the_baseline_is_left_alone_until_somebody_asks_for_it() {
    let place = Place::new(
        "version: 1\nname: baseline\nlake: ./lake\nbaseline: 2024-10-03\ndimensions:\n  day: { from: 2024-10-01, to: 2024-10-04, every: 1d, zone: UTC }\n  \
         n: [a]\ndatasets:\n  daily:\n    key: \"daily/{day}.txt\"\n    for: day\n    collector: get\n  due:\n    key: \"due/{day}.txt\"\n    for: day\n    \
         due: day.end\n    collector: get\n  ageless: { key: \"ageless/{n}.txt\", for: n, collector: get }\ncollectors:\n  get: { command: [sh, get.sh, \"{out}\"] }\n",
    );
    place.write("get.sh", "echo ${1##*/out/} >> got; echo x > \"$1\"\n");
    let plan = place.adce(&["plan", "--format", "json"]).ends_with(2).json();
    let planned: usize = plan["tasks"].as_array().unwrap().iter().map(|task| task["items"].as_array().unwrap().len()).sum();
    assert_eq!((&plan["coverage"]["missing"], planned, &plan["left"][0]["gaps"]), (&9.into(), 6, &3.into()), "{plan}");
    place.adce(&["plan"]).ends_with(2).says("3 gaps: older than `baseline: 2024-10-03`");
    place.adce(&["why", "daily/2024-10-01.txt"]).says("`baseline`");
    assert_eq!(place.adce(&["gaps", "--format", "json"]).out.lines().count(), 9, "they are gaps all the same");
    place.adce(&["run"]).ends_with(2);
    let got = |place: &Place| {
        let mut got: Vec<String> = place.read("got").lines().map(String::from).collect();
        got.sort();
        got
    };
    let new =
        ["ageless/a.txt", "daily/2024-10-03.txt", "daily/2024-10-04.txt", "due/2024-10-02.txt", "due/2024-10-03.txt", "due/2024-10-04.txt"];
    assert_eq!(got(&place), new);
    place.adce(&["status"]).ends_with(2).says("3 gaps of items older than 2024-10-03: left alone until `adce run --select");
    assert_eq!(place.adce(&["status", "--format", "json"]).json()["gaps"]["held"], 3);
    place.adce(&["retry", "daily/2024-10-01.txt"]).ends_with(0).says("left alone").says("older than the config's `baseline`");
    place.adce(&["run"]).ends_with(2);
    assert_eq!(got(&place).len(), 6, "nobody asked");
    place.adce(&["run", "--select", "dataset == 'due'"]).ends_with(2);
    assert_eq!(got(&place).len(), 7);
    place.adce(&["run", "--select", "day < time('2024-10-03')"]).ends_with(0);
    assert_eq!(got(&place).len(), 9);
}
