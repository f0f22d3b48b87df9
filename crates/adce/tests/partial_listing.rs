//! Half a listing of a real bucket protocol: the real binary against a loopback server that breaks off in the middle,
//! at the first look and at later ones.

mod support;

use serde_json::Value;
use support::bucket::{Breaks, Bucket};
use support::place::Place;

const TWO: &str = r#"
version: 1
name: half
lake: s3://bucket
dimensions:
  n: [a, b, c]
datasets:
  broken:
    key: "broken/{n}.json"
    for: n
    collector: { command: ["true", "{n}"] }
  whole:
    key: "whole/{n}.json"
    for: n
    collector: { command: ["true", "{n}"] }
"#;

/// A table of numbered items in a dataset of its own, tried once each by a collector that knows absent ones by their number.
const NUMBERS: &str = r#"
version: 1
name: half
lake: s3://bucket
dimensions:
  number: { table: numbers.csv, id: number }
  one: [only]
datasets:
  broken:
    key: "broken/{number}.json"
    for: number
    absent: { after: 0s }
    collector: { command: [sh, -c, 'test "$1" != 000 || exit 66; exit 1', sh, "{number}"], retry: { attempts: 1 }, breaker: off }
  whole:
    key: "whole/{one}.json"
    for: one
engine: { max_concurrent: 8 }
"#;

fn two() -> (Place, Bucket) {
    let bucket = Bucket::start();
    bucket.put(["broken/a.json", "whole/a.json", "whole/b.json"].map(String::from));
    (Place::new(TWO), bucket)
}

fn numbers(count: u32) -> (Place, Bucket) {
    let (place, bucket) = (Place::new(NUMBERS), Bucket::start());
    place.write("numbers.csv", &table(count));
    bucket.put(["whole/only.json".to_owned()]);
    (place, bucket)
}

fn table(count: u32) -> String {
    std::iter::once("number\n".to_owned()).chain((0..count).map(|number| format!("{number:03}\n"))).collect()
}

#[track_caller]
fn figures<const N: usize>(coverage: &Value, fields: [&str; N]) -> [u64; N] {
    fields.map(|field| coverage[field].as_u64().unwrap_or_else(|| panic!("no `{field}` in {coverage}")))
}

#[test]
fn half_a_listing_makes_no_gaps_and_ends_with_one() {
    let (place, bucket) = two();
    bucket.breaks("broken/", Breaks::After(1));
    let plan = place.adce_with(&bucket.environment(), &["plan", "--format", "json"]).ends_with(1).json();
    let states = ["expected", "present", "missing", "unknown"];
    assert_eq!(figures(&plan["datasets"]["broken"], states), [3, 1, 0, 2]);
    assert_eq!(figures(&plan["datasets"]["whole"], states), [3, 2, 1, 0]);
    assert_eq!(plan["complete"], false);
    assert!(plan["datasets"]["broken"]["listing_error"].is_string());
    assert!(plan["datasets"]["whole"]["listing_error"].is_null());
    let keys: Vec<_> = plan["tasks"].as_array().unwrap().iter().map(|task| &task["items"][0]["key"]).collect();
    assert_eq!(keys, ["whole/c.json"]);

    place.adce_with(&bucket.environment(), &["plan"]).ends_with(1).says("UNKNOWN").says("not listed: broken: ");
    place.adce_with(&bucket.environment(), &["gaps"]).ends_with(1);
}

#[test]
fn a_lake_of_which_nothing_can_be_listed_is_unreachable_whatever_the_error() {
    let (place, bucket) = two();
    for how in [Breaks::Refused, Breaks::Somehow] {
        bucket.breaks("broken/", how);
        bucket.breaks("whole/", how);
        for verb in ["plan", "gaps", "status", "run"] {
            place.adce_with(&bucket.environment(), &[verb]).ends_with(69);
        }
    }
    // Keys that were seen are a part of the listing.
    bucket.breaks("broken/", Breaks::After(1));
    place.adce_with(&bucket.environment(), &["plan"]).ends_with(1);
}

#[test]
fn what_is_seen_for_the_first_time_is_no_surprise() {
    for first_look in [&["broken/"] as &[_], &["broken/", "whole/"]] {
        let (place, bucket) = numbers(30);
        first_look.iter().for_each(|prefix| bucket.breaks(prefix, Breaks::Somehow));
        place.adce_with(&bucket.environment(), &["run"]).ends_with(if first_look.len() == 1 { 1 } else { 69 });
        bucket.mends();
        let run = place.adce_with(&bucket.environment(), &["run", "--once", "--format", "json"]).ends_with(2).json();
        assert_eq!(run["held"], serde_json::json!([]), "after {first_look:?}");
        assert_eq!(figures(&run, ["attempts", "absent"]), [30, 1]);
    }
}

#[test]
fn what_nobody_could_look_at_is_what_it_was_before_or_unknown() {
    let (place, bucket) = numbers(40);
    bucket.put((2..40).map(|number| format!("broken/{number:03}.json")));
    let env = bucket.environment();
    place.adce_with(&env, &["run", "--once"]).ends_with(2);
    bucket.breaks("broken/", Breaks::Refused);
    place.write("numbers.csv", &table(42));
    let states = ["present", "missing", "absent", "unknown"];
    for verb in ["plan", "status", "run"] {
        let said = place.adce_with(&env, &[verb, "--format", "json"]);
        let said = said.ends_with(1).json();
        assert_eq!(said["complete"], false, "{verb}");
        // The sums are those of both datasets: one object of `whole` is there too.
        assert_eq!(figures(&said["coverage"], states), [39, 1, 1, 2], "{verb}");
        if verb != "run" {
            let broken = &said["datasets"]["broken"];
            assert!(broken["listing_error"].is_string() && broken["listed_at"].is_string(), "{verb}: {broken}");
        }
    }
    place.adce_with(&env, &["plan"]).ends_with(1).says("as of ");
    bucket.mends();
    let plan = place.adce_with(&env, &["plan", "--format", "json"]).ends_with(2).json();
    assert_eq!(figures(&plan["coverage"], states), [39, 3, 1, 0]);
}
