//! `adce coverage` of the real binary: what it tells in each format, with an engine and without, and what it refuses.

mod support;

use support::place::{Place, wait_for};

/// Two seasons of two teams and three days; a table of games beside them.
fn league() -> Place {
    let place = Place::new(
        "version: 1\nname: league\nlake: ./lake\nsources: { site: { hosts: [site.test] } }\ndimensions:\n  season: [2023-24, 2024-25]\n  team: [ATL, BOS]\n  \
         day: { from: 2024-12-30, to: 2025-01-01, every: 1d }\n  game:\n    table: games.csv\n    id: game_id\n    columns: { tip: { from: tip, time: \
         \"%Y-%m-%d\", zone: UTC } }\n\
         datasets:\n  rosters: { key: \"rosters/{season}/{team}.csv\", for: [season, team] }\n  \
         news: { source: site, key: \"news/{day}/{team}.txt\", for: [day, team] }\n  \
         plays: { key: \"plays/{game_id}.json\", for: game }\n",
    );
    place.write("games.csv", "game_id,tip\n1,2024-12-30\n2,2025-01-01\n3,\n");
    for key in ["rosters/2023-24/ATL.csv", "rosters/2023-24/BOS.csv", "rosters/2024-25/BOS.csv", "news/2024-12-30/ATL.txt", "plays/2.json"]
    {
        place.write(&format!("lake/{key}"), "x");
    }
    place
}

#[test]
fn each_format_tells_the_same_cells() {
    let place = league();
    let said = place.adce(&["coverage", "rosters", "--by", "season,team", "--format", "csv"]);
    let figures = "expected,present,missing,stale,undersized,suspect,absent,unknown,not_due,expired,completeness";
    assert_eq!(
        said.ends_with(2).out,
        format!(
            "season,team,{figures}\n2023-24,ATL,1,1,0,0,0,0,0,0,0,0,1\n2023-24,BOS,1,1,0,0,0,0,0,0,0,0,1\n\
             2024-25,ATL,1,0,1,0,0,0,0,0,0,0,0\n2024-25,BOS,1,1,0,0,0,0,0,0,0,0,1\n"
        )
    );
    let said = place.adce(&["coverage", "rosters", "--by", "season,team"]);
    let lines: Vec<&str> = said.ends_with(2).out.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "rosters by season and team · 75.00 % of 4",
            "        ATL BOS",
            "2023-24 100 100  100 %",
            "2024-25  0  100  50.00 %",
            "# complete   0 nothing"
        ]
    );
    let report = place.adce(&["coverage", "rosters", "--by", "season,team", "--format", "json"]).ends_with(2).json();
    assert_eq!(report["by"][1], serde_json::json!({ "name": "team", "pace": null, "values": ["ATL", "BOS"] }));
    let cell = &report["cells"][2];
    assert_eq!(
        (&cell["values"], &cell["missing"], &cell["completeness"]),
        (&serde_json::json!(["2024-25", "ATL"]), &1.into(), &0.0.into())
    );
    assert_eq!(
        (report["coverage"]["expected"].as_u64(), &report["complete"], &report["dataset"]),
        (Some(4), &false.into(), &"rosters".into())
    );

    place.adce(&["coverage", "rosters", "--format", "svg", "-o", "map.svg"]).ends_with(2);
    assert!(place.read("map.svg").contains("<title>2024-25, ATL: 0 % of 1, 1 missing</title>"), "few values of both");
    place.adce(&["coverage", "rosters", "--format", "png", "-o", "map.png"]).ends_with(2);
    assert!(std::fs::read(place.path("map.png")).unwrap().starts_with(b"\x89PNG\r\n"));
}

#[test]
fn all_datasets_are_told_together_and_who_does_not_know_a_name_is_left_out() {
    let place = league();
    place.adce(&["coverage"]).ends_with(2).says("rosters         4        3").says("all            13        5");
    let report = place.adce(&["coverage", "--by", "dataset,month", "--format", "json"]).ends_with(2).json();
    assert_eq!(report["by"][0]["values"], serde_json::json!(["news", "plays"]));
    assert_eq!(report["by"][1]["values"], serde_json::json!(["2024-12", "2025-01", null]), "a game without a date comes last");
    assert_eq!(report["left_out"], serde_json::json!(["rosters"]));
    let by_source = place.adce(&["coverage", "--by", "source", "--format", "csv"]);
    let by_source: Vec<&str> = by_source.out.lines().skip(1).collect();
    assert_eq!(by_source, ["site,6,1,5,0,0,0,0,0,0,0,0.16666666666666666", ",7,4,3,0,0,0,0,0,0,0,0.5714285714285714"]);
}

#[test]
fn each_full_look_of_a_run_leaves_a_point_of_the_trend() {
    let place = Place::new(
        "version: 1\nname: growing\nlake: ./lake\ndimensions:\n  letter: [a, b, c, d]\ndatasets:\n  letters:\n    key: letters/{letter}.txt\n    for: \
         letter\n    collector:\n      command: [sh, -c, 'echo {letter} > {out}']\n  watched: { key: \"watched/{letter}\", for: letter }\n",
    );
    place.adce(&["coverage", "--trend"]).ends_with(2).says("no trend yet");
    place.adce(&["run"]).ends_with(2);
    let report = place.adce(&["coverage", "--trend", "--format", "json"]).ends_with(2).json();
    let points = |dataset: &str| {
        let points = report["trend"][dataset].as_array().unwrap().iter();
        points.map(|point| (point["present"].as_u64().unwrap(), point["wanted"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    // The look at the beginning and the one at the end, if a minute did not end meanwhile only one of them is kept.
    assert_eq!(points("letters").last(), Some(&(4, 4)));
    assert_eq!(points("watched").last(), Some(&(0, 4)));
    let only = place.adce(&["coverage", "letters", "--trend", "--format", "csv"]);
    assert!(only.ends_with(0).out.lines().skip(1).all(|line| line.starts_with("letters,")), "{}", only.out);
    place.adce(&["coverage", "--trend", "--format", "svg"]).ends_with(2).says("completeness over time").says(">letters 100 %</text>");
    place.adce(&["coverage", "--trend"]).ends_with(2).says("DATASET").says("█");
}

#[test]
fn objects_that_nobody_expects_are_told_by_folder() {
    let place = league();
    (0..30).for_each(|at| place.write(&format!("lake/rosters/old/{at}.csv"), "x"));
    place.write("lake/rosters/readme.md", "x");
    let said = place.adce(&["coverage", "rosters", "--unexpected"]);
    let lines: Vec<&str> = said.ends_with(2).out.lines().skip(1).collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["DATASET", "OBJECTS", "FOLDER", "FOR", "EXAMPLE"]);
    assert!(lines[1].starts_with("rosters       30  rosters/old/  rosters/old/"), "{}", lines[1]);
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["rosters", "1", "rosters/", "rosters/readme.md"]);
    let plan = place.adce(&["plan", "--format", "json"]).json();
    assert_eq!(
        plan["datasets"]["rosters"]["unexpected_folders"][0],
        serde_json::json!({ "folder": "rosters/old/", "objects": 30, "over": 0 })
    );
    place.adce(&["coverage", "news", "--unexpected"]).says("all objects near the datasets are expected");
}

#[test]
fn gaps_are_told_where_something_holds() {
    let place = league();
    let keys = |args: &[&str]| {
        let said = place.adce(&[&["gaps", "--format", "json"], args].concat());
        let keys = said.ends_with(0).out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].to_string());
        keys.collect::<Vec<_>>()
    };
    let of_atlanta = keys(&["--where", "team == 'ATL'"]);
    assert_eq!(of_atlanta.len(), 3);
    assert_eq!(of_atlanta, keys(&["--select", "team == 'ATL'"]));
    assert_eq!(keys(&["--dataset", "rosters", "--where", "team == 'ATL' and season == '2024-25'"]), ["\"rosters/2024-25/ATL.csv\""]);
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let place = league();
    place.adce(&["coverage", "roster"]).ends_with(64).says("no dataset is called `roster`").says("did you mean `rosters`?");
    place.adce(&["coverage", "rosters", "--by", "teem"]).ends_with(64).says("nothing here is called `teem`").says("did you mean `team`?");
    place.adce(&["coverage", "rosters", "--by", "month"]).ends_with(64).says("nothing of it has a month");
    place.adce(&["coverage", "rosters", "--by", "season,team,day"]).ends_with(64).says("two names at most");
    place.adce(&["plan", "--format", "svg"]).ends_with(64).says("`--format svg` is for `adce coverage`");
    let refused = place.adce(&["coverage", "roster", "--format", "json"]);
    assert_eq!(refused.ends_with(64).json()["error"]["hint"], "did you mean `rosters`?");
}

#[test]
fn a_running_engine_tells_what_a_look_would() {
    let place = Place::new(
        "version: 1\nname: patient\nlake: ./lake\ndimensions:\n  letter: [a, b, c]\n  kind: [x, y]\ndatasets:\n  letters:\n    key: \
         letters/{letter}.{kind}\n    for: [letter, kind]\n    collector:\n      command: [sh, -c, exit 1]\n      retry: { attempts: 9, backoff: 9h..9h \
         }\n",
    );
    place.write("lake/letters/a.x", "1");
    let ask = |by: &str| {
        let mut report = place.adce(&["coverage", "letters", "--by", by, "--format", "json"]).ends_with(2).json();
        report.as_object_mut().unwrap().remove("at");
        report["datasets"]["letters"].as_object_mut().unwrap().remove("listed_at");
        report
    };
    let before = ask("letter,kind");
    assert_eq!(before["cells"].as_array().unwrap().len(), 6);
    let mut engine = place.start(&["run", "--max-wait", "20h"]);
    let status = || place.adce(&["status", "--format", "json"]).json();
    wait_for("an engine that waits", || status()["engine"].is_object() && status()["gaps"]["waiting"] == 5);
    assert_eq!(ask("letter,kind"), before);
    place.adce(&["coverage", "letters", "--by", "kynd"]).ends_with(64).says("did you mean `kind`?");
    place.adce(&["coverage", "letter"]).ends_with(64).says("did you mean `letters`?");
    engine.kill().expect("an engine to end");
    engine.wait().expect("its end");
}
