//! A real collection, completed: from the third state of a real collector's lake, without the play-by-play of two
//! seasons, `adce run` fills 15,393 gaps against an upstream that enforces its limits, and exceeds none.

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use adce_demo::{Limit, Moods, Upstream, UpstreamConfig};
use bytes::Bytes;
use support::nba::Collection;

const LIMIT_PER_SECOND: u64 = 160;
const SEASONS_TAKEN_AWAY: [&str; 2] = ["2015", "2017"];

#[test]
fn a_real_lake_is_completed_and_no_window_is_exceeded() {
    let Some(collection) = Collection::find() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = folder.path().join("lake");
    let states = collection.states();
    let mut state = states[2].objects.clone();
    let is_taken_away = |key: &str| SEASONS_TAKEN_AWAY.iter().any(|season| key.starts_with(&format!("raw-data/playbyplay/{season}/")));
    state.retain(|key, _| !is_taken_away(key));
    collection.write_lake(&lake, &state);
    let whole = states[4].objects.clone();

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let upstream = runtime.block_on(start_upstream(whole.clone())).expect("a loopback port");
    write_config(folder.path(), &collection, &upstream.address().to_string());
    let output = Command::new(env!("CARGO_BIN_EXE_adce"))
        .args(["run", "--yes", "--format", "json"])
        .current_dir(folder.path())
        .output()
        .expect("adce runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let summary: serde_json::Value = serde_json::from_str(stdout.lines().last().unwrap_or_default()).expect("a JSON object at the end");

    let figures = upstream.figures();
    assert_eq!(figures.windows_exceeded, 0, "{figures:?}");
    assert_eq!(figures.answered_429, 0);
    assert_eq!(summary["complete"], true);
    assert_eq!(summary["filled"], 15_393);
    assert_eq!(figures.requests, 15_393, "every gap is fetched once");
    for (key, size) in collection.expected_sizes(&whole) {
        let found = std::fs::metadata(lake.join(&key)).unwrap_or_else(|error| panic!("{key}: {error}")).len();
        assert_eq!(found, size, "{key}");
    }
    let used = &summary["sources"]["stats"];
    println!(
        "15,393 objects in {:.1} s at a limit of {LIMIT_PER_SECOND} a second: fullest second {}, quota used {:.1} %, of what promise 2 leaves {:.1} %",
        summary["elapsed_seconds"].as_f64().unwrap_or_default(),
        figures.fullest[0],
        used["quota_used"].as_f64().unwrap_or_default() * 100.0,
        used["quota_share"].as_f64().unwrap_or_default() * 100.0,
    );
}

/// Serves every object of the collection by its size.
async fn start_upstream(sizes: HashMap<String, u64>) -> std::io::Result<Upstream> {
    let content = move |path: &str| sizes.get(path.trim_start_matches('/')).map(|size| Bytes::from(vec![b'x'; *size as usize]));
    Upstream::start(UpstreamConfig {
        limits: vec![Limit { requests: LIMIT_PER_SECOND, span: Duration::from_secs(1) }],
        latency_ms: (0, 4),
        moods: Moods::default(),
        seed: 1,
        log: None,
        content: Arc::new(content),
    })
    .await
}

fn write_config(folder: &Path, collection: &Collection, address: &str) {
    std::fs::copy(collection.schedule(), folder.join("schedule.csv")).expect("the schedule is copied");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/box_scores.py"), folder.join("box_scores.py"))
        .expect("the scraper is copied");
    let config = format!(
        r#"version: 1
name: nba
lake: ./lake
sources:
  stats:
    hosts: ["{address}"]
    base_url: http://{address}
    limits: {{ per_second: {LIMIT_PER_SECOND} }}
dimensions:
  game: {{ table: schedule.csv, id: game_id }}
  quarter: [q1, q2, q3, q4]
datasets:
  playbyplay:
    source: stats
    key: raw-data/playbyplay/{{season_end_year}}/{{game_id}}.csv
    for: game
    collector:
      http: {{ url: "http://{address}/raw-data/playbyplay/{{season_end_year}}/{{game_id}}.csv" }}
  playbyplayv2:
    key: raw-data/playbyplayv2/{{season_end_year}}/{{game_id}}.csv
    for: game
  box_scores:
    source: stats
    key: raw-data/boxscoretraditionalv2/{{season_end_year}}/{{game_id}}_{{quarter}}.csv
    for: [game, quarter]
    collector:
      command: [python3, box_scores.py]
      via: gateway
      batch: {{ size: 120, group_by: [season_end_year] }}
"#
    );
    std::fs::write(folder.join("adce.yaml"), config).expect("the config is written");
}
