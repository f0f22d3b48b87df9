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
