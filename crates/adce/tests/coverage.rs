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
    let figures = "expected,present,missing,stale,undersized,suspect,absent,unknown,not_due,expired,out_of_scope,completeness";
    assert_eq!(
        said.ends_with(2).out,
        format!(
            "season,team,{figures}\n2023-24,ATL,1,1,0,0,0,0,0,0,0,0,0,1\n2023-24,BOS,1,1,0,0,0,0,0,0,0,0,0,1\n\
             2024-25,ATL,1,0,1,0,0,0,0,0,0,0,0,0\n2024-25,BOS,1,1,0,0,0,0,0,0,0,0,0,1\n"
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
    assert_eq!(by_source, ["site,6,1,5,0,0,0,0,0,0,0,0,0.16666666666666666", ",7,4,3,0,0,0,0,0,0,0,0,0.5714285714285714"]);
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
    // So few that each is among those that are kept by name, whichever was listed first.
    (0..9).for_each(|at| place.write(&format!("lake/rosters/old/{at}.csv"), "x"));
    place.write("lake/rosters/readme.md", "x");
    let said = place.adce(&["coverage", "rosters", "--unexpected"]);
    let lines: Vec<&str> = said.ends_with(2).out.lines().skip(1).collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["DATASET", "OBJECTS", "FOLDER", "FOR", "EXAMPLE"]);
    assert!(lines[1].starts_with("rosters        9  rosters/old/  rosters/old/"), "{}", lines[1]);
    assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["rosters", "1", "rosters/", "rosters/readme.md"]);
    let plan = place.adce(&["plan", "--format", "json"]).json();
    assert_eq!(
        plan["datasets"]["rosters"]["unexpected_folders"][0],
        serde_json::json!({ "folder": "rosters/old/", "objects": 9, "over": 0 })
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
fn a_key_is_told_whose_it_is_what_was_seen_of_it_and_by_whom() {
    let place = league();
    let why = place.adce(&["why", "rosters/2023-24/ATL.csv", "--format", "json"]).ends_with(0).json();
    assert_eq!((&why["dataset"], &why["item"]), (&"rosters".into(), &"season=2023-24, team=ATL".into()));
    let facts = |why: &serde_json::Value| {
        let facts = why["facts"].as_array().unwrap().iter();
        facts.map(|fact| fact.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let told = facts(&why);
    assert_eq!(told[..2], ["item season=2023-24, team=ATL of `rosters`", "expected at once: the dataset has no `due`"]);
    assert!(told[2].starts_with("there: 1 B, of 20") && told[2].contains("; seen by the listing of 20"), "{told:?}");
    let missing = facts(&place.adce(&["why", "rosters/2024-25/ATL.csv", "--format", "json"]).json());
    assert!(missing[0].starts_with("missing since"), "{missing:?}");
    assert!(missing.iter().any(|fact| fact.starts_with("not there, by the listing of 20")), "{missing:?}");
    assert!(facts(&place.adce(&["why", "rosters", "--format", "json"]).json()).iter().all(|fact| !fact.contains("like")));
}

#[test]
fn what_an_attempt_saw_is_told_as_its_sight() {
    let place = Place::new(
        "version: 1\nname: one\nlake: ./lake\ndimensions:\n  letter: [a]\ndatasets:\n  letters:\n    key: letters/{letter}.txt\n    for: letter\n    \
         due: time(\"2024-10-01T05:00Z\")\n    fresh: { within: 24h }\n    collector:\n      command: [sh, -c, 'echo {letter} > {out}']\n",
    );
    place.adce(&["run"]).ends_with(0);
    let said = place.adce(&["why", "letters/a.txt"]);
    said.ends_with(0).says("it is present").says("due 2024-10-01T05:00:00Z").says("there: 2 B").says("last confirmed by an attempt: 20");
    said.says("`fresh`: confirmed anew within 1 d");
}

#[test]
fn a_key_that_nobody_expects_is_told_where_it_stops_being_like_others() {
    let place = league();
    let why = place.adce(&["why", "rosters/2024-25/LAL.csv", "--format", "json"]).ends_with(0).json();
    assert_eq!(
        why["near"][0],
        serde_json::json!({ "dataset": "rosters", "template": "rosters/{season}/{team}.csv", "at": 16, "wanted":
            "a `team` should follow, the nearest is `BOS`" })
    );
    place
        .adce(&["why", "rosters/2023-24/ATL.csv.gz"])
        .says("like `rosters` (rosters/{season}/{team}.csv) up to `rosters/2023-24/ATL.csv`: instead of the `.` there, the key should end");
    place.adce(&["why", "rosters/2023-24/ATL"]).says("up to `rosters/2023-24/ATL`: instead of its end there, `.csv` should follow");
    place.adce(&["why", "xyz"]).says("`xyz` is no key that a dataset expects, no dataset and no task");
}

#[test]
fn strange_sizes_are_warned_of_and_make_no_gap() {
    let place = Place::new(
        "version: 1\nname: sizes\nlake: ./lake\ndimensions:\n  n: [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23]\ndatasets:\n  \
         files: { key: \"files/{n}\", for: n, max_size: 50kB }\n",
    );
    (0..22).for_each(|at| place.write(&format!("lake/files/{at}"), &"x".repeat(1_000 + at)));
    place.write("lake/files/22", &"x".repeat(9_000));
    place.write("lake/files/23", &"x".repeat(60_000));
    let said = place.adce(&["plan"]);
    said.ends_with(0).says("warning: 1 object of files above `max_size`, for example files/23 (60 kB)");
    said.says("warning: 1 object of files far from the usual 1.0 kB, for example files/22 (9.0 kB)");
    let files = &place.adce(&["status", "--format", "json"]).ends_with(0).json()["datasets"]["files"];
    assert_eq!(files["oversized"], serde_json::json!({ "objects": 1, "named": [{ "key": "files/23", "bytes": 60_000 }] }));
    assert_eq!(files["unusual"]["named"][0]["key"], "files/22");
    place.adce(&["coverage"]).ends_with(0).says("far from the usual");
}

#[test]
fn what_is_required_decides_health_and_nothing_else() {
    let place = |required: &str| {
        let place = Place::new(&format!(
            "version: 1\nname: health\nlake: ./lake\ndimensions:\n  n: [1, 2, 3, 4]\ndatasets:\n  files: {{ key: \"files/{{n}}\", for: n{required} }}\n  \
             all: {{ key: \"all/{{n}}\", for: n }}\n"
        ));
        ["files/1", "files/2", "files/3", "all/1"].iter().for_each(|key| place.write(&format!("lake/{key}"), "x"));
        place
    };
    for (required, healthy, of_files) in [
        ("", serde_json::Value::Null, serde_json::Value::Null),
        (", require: 75%", true.into(), true.into()),
        (", require: 75.1%", false.into(), false.into()),
    ] {
        let place = place(required);
        for command in ["plan", "status", "coverage"] {
            let told = place.adce(&[command, "--format", "json"]).ends_with(2).json();
            assert_eq!((&told["healthy"], &told["datasets"]["files"]["healthy"]), (&healthy, &of_files), "{command}{required}");
            assert_eq!((&told["datasets"]["all"]["healthy"], &told["complete"]), (&serde_json::Value::Null, &false.into()));
        }
        let words = place.adce(&["status"]).out.contains("below the 75.1 % it requires");
        assert_eq!(words, healthy == false, "{required}");
    }
    place(", require: 75.1%").adce(&["plan"]).ends_with(2).says("REQUIRED").says("< 75.1 %");
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
