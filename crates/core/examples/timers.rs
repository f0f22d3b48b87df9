//! What a million timers take: `cargo run --release -p adce-core --example timers`, or `bench/run timers`.
//!
//! Ten thousand hours of a hundred services, once waiting for their `due` and once present and to grow stale. Measured is what the
//! process grows by when they are judged (a byte of each is its state, the rest is its timer), and what it costs when the next hour
//! has come: a hundred items fall due and become gaps, or grow stale.

use std::collections::HashMap;
use std::time::Instant;

use adce_core::coverage::{self, Coverage, Evidence, Observation, TableError, TableFile, TableFiles};
use adce_core::object::Object;
use adce_core::spec::{ConfigFile, load};
use adce_core::time::{SignedDuration, Timestamp};

/// Hours that come one after the other.
const FIRED: i64 = 20;

struct NoTables;

impl TableFiles for NoTables {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        Err(TableError::NoFile(pattern.into()))
    }
}

fn main() {
    run("due", "due: hour.end", "2024-12-31T23:30:00Z", false);
    run("fresh", "fresh: { within: 8760h }", "2026-03-01T00:30:00Z", true);
}

fn run(what: &str, rule: &str, now: &str, is_there: bool) {
    let services: Vec<String> = (0..100).map(|at| format!("s{at}")).collect();
    let text = format!(
        "lake: ./lake\ndimensions:\n  service: [{}]\n  hour: {{ from: 2025-01-01, to: 2026-02-21T15:00, every: 1h, zone: UTC }}\ndatasets:\n  \
         d: {{ key: \"d/{{service}}/{{hour}}\", for: [hour, service], {rule} }}\n",
        services.join(", ")
    );
    let config = ConfigFile { name: "adce.yaml".into(), text };
    let spec = load(&[config], std::path::Path::new("/"), &|_| None, &NoTables).spec().unwrap_or_else(|problems| panic!("{problems:#?}"));
    let now: Timestamp = now.parse().expect("an instant");
    let expected = coverage::expand(&spec, &NoTables, now).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let mut look = Observation::new(&expected, &spec);
    let prefixes = expected.prefixes().to_vec();
    prefixes.iter().for_each(|prefix| look.begin(prefix, now));
    if is_there {
        // As old as its hour, so that one hour after the other grows stale from about now on.
        let oldest = now - SignedDuration::from_hours(8_760);
        for item in expected.items() {
            let mut key = String::new();
            expected.key(item, &mut key);
            let last_modified = oldest + SignedDuration::from_hours(1 + i64::from(item.0) / 100);
            look.object(&Object { key, size: 9, last_modified: last_modified.min(now), etag: "e".into() });
        }
    }
    prefixes.iter().for_each(|prefix| look.prefix_complete(prefix));
    let inventory = look.finish();
    let (records, open) = (HashMap::new(), HashMap::new());
    let evidence = Evidence { spec: &spec, expected: &expected, inventory: &inventory, records: &records, open: &open, accepted: None };
    let before = resident_mb();
    let began = Instant::now();
    let mut coverage = Coverage::of(&evidence, now).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let judged = began.elapsed();
    let grown = resident_mb() - before;
    let (mut fired, mut spent) = (0, Vec::new());
    for hour in 1..=FIRED {
        let now = now + SignedDuration::from_hours(hour);
        let began = Instant::now();
        let items = coverage.changed_by_time(now);
        fired += items.len();
        let diff = coverage.judge_again(&evidence, &items, now).unwrap_or_else(|problems| panic!("{problems:#?}"));
        spent.push(began.elapsed());
        assert_eq!(diff.opened.len(), items.len());
    }
    spent.sort_unstable();
    let each = spent.iter().sum::<std::time::Duration>().as_secs_f64() * 1e6 / fired.max(1) as f64;
    println!(
        "timers of `{what}`, {} items: judged in {:.2} s, {grown:.0} MB; {fired} fired in {FIRED} hours: {each:.1} us each, an hour p50 {:.2} ms, p99 {:.2} ms",
        expected.len(),
        judged.as_secs_f64(),
        spent[spent.len() / 2].as_secs_f64() * 1e3,
        spent[spent.len() * 99 / 100].as_secs_f64() * 1e3,
    );
}

fn resident_mb() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).expect("a number") * 4_096.0 / 1e6
}
