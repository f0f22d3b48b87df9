//! Cron expressions against what another library's tests say of them (`cron_vectors`: robfig/cron). Where clocks change the rules
//! differ, and ours are in `schedule.rs`.

use std::path::Path;

use adce_core::schedule::Schedule;
use adce_core::time::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/dev/cron_vectors/robfig.jsonl");

/// `Mon Jul 9 15:00 2012`, with seconds or without.
fn instant(text: &str) -> Option<Timestamp> {
    let formats = ["%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M %Y"];
    // The day of the week in them is not always that of the date.
    let (_, text) = text.split_once(' ')?;
    let parsed = formats.iter().find_map(|format| DateTime::strptime(format.trim_start_matches("%a "), text).ok())?;
    Some(parsed.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[test]
fn expressions_mean_what_they_mean_to_others() {
    let Ok(vectors) = std::fs::read_to_string(Path::new(VECTORS)) else {
        eprintln!("skipped: {VECTORS} is not there");
        return;
    };
    let mut checked = 0;
    for line in vectors.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).expect("a vector");
        let text = |key: &str| vector[key].as_str().unwrap_or_default();
        let spec = text("spec");
        // A zone stands in our config beside the expression.
        if spec.contains("TZ=") || spec.starts_with("@every") {
            continue;
        }
        let schedule = Schedule::new(spec, TimeZone::UTC);
        match text("type") {
            "invalid" => assert!(schedule.is_err(), "`{spec}` is no expression"),
            "match" => {
                let at = instant(text("time_local")).expect("an instant");
                let fires = schedule.expect(spec).last_by(at) == Some(at);
                assert_eq!(fires, vector["fires_at_time"] == true, "`{spec}` at {at}");
            }
            "next" => {
                let Some(after) = instant(text("after")) else { continue };
                assert_eq!(schedule.expect(spec).next_after(after), instant(text("next")), "`{spec}` after {after}");
            }
            other => panic!("`{other}` is not known"),
        }
        checked += 1;
    }
    assert!(checked > 25, "{checked} vectors");
}
