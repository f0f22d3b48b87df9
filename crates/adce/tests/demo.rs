//! `adce demo` itself, as its JSON contract has it: the real engine against an upstream that counts on its own.

mod support;

use support::place::Place;

#[test]
fn the_demo_completes_its_lake_within_every_limit() {
    let place = Place::new("");
    let said = place.adce(&["demo", "--format", "json", "--keep", "kept"]);
    let demo = said.ends_with(0).json();
    // Through the gateway, too.
    let is_broken = |line: &str| line.contains("failed box/") && line.contains("broke off");
    assert!(said.err.lines().any(is_broken), "half a body never is half a body: {}", said.err);
    let is_plain = |line: &str| line.split(' ').next().is_some_and(|time| time.len() == "14:03:30".len() && time.split(':').count() == 3);
    assert!(said.err.lines().all(is_plain), "log lines among the plain ones: {}", said.err);
    let number = |pointer: &str| demo.pointer(pointer).and_then(serde_json::Value::as_u64).unwrap_or_else(|| panic!("{pointer} of {demo}"));
    assert_eq!(demo["complete"], true);
    assert_eq!(number("/upstream/windows_exceeded"), 0);
    assert_eq!(number("/upstream/answered_429"), 0);
    let missing = number("/filled") + number("/absent");
    assert!(missing >= 200, "{missing} gaps were there to be filled");
    assert_eq!(number("/absent"), number("/coverage/absent"));
    assert_eq!(number("/coverage/present") + number("/coverage/absent"), number("/coverage/expected"));
    // Each side counted for itself, and of one thing.
    assert_eq!(number("/requests"), number("/upstream/requests"));
    assert_eq!(number("/sources/arena/requests"), number("/requests"));
    assert!(number("/requests") >= missing, "one request an item at least");
    let moods = demo["upstream"]["moods"].as_object().expect("moods");
    let kinds: Vec<&str> = moods.keys().map(String::as_str).collect();
    let mut known = vec!["429", "500", "block_page", "empty", "never", "truncated"];
    known.retain(|kind| !kinds.contains(kind));
    assert!(known.is_empty(), "{known:?} are not among {kinds:?}");
    assert!(moods.values().filter_map(serde_json::Value::as_u64).sum::<u64>() > 0, "it was in no mood at all: {moods:?}");
    assert_eq!(number("/sources/arena/throttled"), number("/upstream/moods/429"));
    for window in demo["sources"]["arena"]["windows"].as_array().expect("windows") {
        assert!(window["most"].as_u64() <= window["limit"].as_u64(), "{window}");
    }
    for share in ["quota_used", "quota_share"] {
        let share = demo["sources"]["arena"][share].as_f64().expect("a share");
        assert!(share > 0.0 && share <= 1.01, "{share}");
    }
    // What it kept is a config and a lake like any other, and its requests are none of the next run's.
    let again = place.adce(&["-c", "kept/adce.yaml", "run", "--max-wait", "0s", "--format", "json"]).json();
    for window in again["sources"]["arena"]["windows"].as_array().expect("windows") {
        assert_eq!(window["most"], 0, "{window}");
    }
    let plan = place.adce(&["-c", "kept/adce.yaml", "plan", "--format", "json"]).json();
    assert_eq!(plan["coverage"]["missing"], 0);
    assert_eq!(plan["coverage"]["present"], demo["coverage"]["present"]);
}
