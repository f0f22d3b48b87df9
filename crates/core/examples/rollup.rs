//! What rollups of ten million items cost: `cargo run --release -p adce-core --example rollup`, or `bench/run rollup`.
//!
//! Ten seasons, ten kinds, forty teams and 2,500 days, one dataset of their product and one of half of it by a `where`, a
//! twentieth of both missing. Preparing it (expanding, looking) takes most of the time and is not what is measured.
//!
//! Prints a line of JSON: milliseconds a rollup, each the median of some rounds, on one thread and on two.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use adce_core::coverage::{self, Axis, Coverage, Evidence, Observation, Rolling, TableError, TableFile, TableFiles};
use adce_core::object::Object;
use adce_core::spec::{ConfigFile, load};
use adce_core::time::Timestamp;

const ROUNDS: usize = 15;

struct NoTables;

impl TableFiles for NoTables {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        Err(TableError::NoFile(pattern.into()))
    }
}

fn main() {
    let list = |name: &str, count: u32| (0..count).map(|at| format!("{name}{at}")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "lake: ./lake\ndimensions:\n  season: [{}]\n  kind: [{}]\n  team: [{}]\n  day: {{ from: 2018-01-01, to: 2024-11-04, every: 1d }}\n\
         datasets:\n  all:\n    key: \"a/{{season}}/{{kind}}/{{team}}/{{day}}\"\n    for: [season, kind, team, day]\n  \
         half:\n    key: \"h/{{season}}/{{kind}}/{{team}}/{{day}}\"\n    for: [season, kind, team, day]\n    \
         where: kind in [\"k0\", \"k2\", \"k4\", \"k6\", \"k8\"]\n",
        list("s", 10),
        list("k", 10),
        list("t", 40),
    );
    let config = ConfigFile { name: "adce.yaml".into(), text };
    let loaded = load(&[config], std::path::Path::new("/"), &|_| None, &NoTables);
    let spec = loaded.spec().unwrap_or_else(|problems| panic!("{problems:#?}"));
    let now: Timestamp = "2024-12-01T00:00:00Z".parse().expect("an instant");
    let expected = coverage::expand(&spec, &NoTables, now).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let mut look = Observation::new(&expected, &spec);
    let prefixes = expected.prefixes().to_vec();
    prefixes.iter().for_each(|prefix| look.begin(prefix, now));
    let mut object = Object { key: String::new(), size: 9, last_modified: now, etag: String::new() };
    for item in expected.items().filter(|item| item.0.wrapping_mul(2_654_435_769) >> 16 & 31 > 1) {
        object.key.clear();
        expected.key(item, &mut object.key);
        look.object(&object);
    }
    prefixes.iter().for_each(|prefix| look.prefix_complete(prefix));
    let inventory = look.finish();
    let (records, open) = (HashMap::new(), HashMap::new());
    let evidence = Evidence { spec: &spec, expected: &expected, inventory: &inventory, records: &records, open: &open, accepted: None };
    let coverage = Coverage::of(&evidence, now).unwrap_or_else(|problems| panic!("{problems:#?}"));

    let mut figures = serde_json::Map::new();
    for (dataset, named) in ["all", "half"].into_iter().enumerate() {
        for by in ["", "season", "team", "day", "day:month", "day:week", "kind,team", "season,day:month", "team,day"] {
            let axes: Vec<Axis> = by.split(',').filter(|by| !by.is_empty()).map(|by| Axis::parse(by).expect("an axis")).collect();
            for threads in [1, 2] {
                let mut rounds: Vec<f64> = (0..ROUNDS)
                    .map(|_| {
                        let began = Instant::now();
                        let rolling = Rolling::new(&expected, &spec, &[dataset], &axes).expect("a rollup");
                        black_box(rolling.on_threads(&coverage, threads));
                        began.elapsed().as_secs_f64() * 1e3
                    })
                    .collect();
                rounds.sort_by(f64::total_cmp);
                let name = format!("{named} by {} on {threads}", if by.is_empty() { "nothing" } else { by });
                figures.insert(name, ((rounds[ROUNDS / 2] * 100.0).round() / 100.0).into());
            }
        }
        let items = expected.datasets()[dataset].len();
        figures.insert(format!("{named}: items"), items.into());
    }
    println!("{}", serde_json::Value::Object(figures));
}
