//! Looks at a lake that changes while it is looked at, or that can only be seen in part.

use adce_core::coverage::{self, Completeness, Expected, Inventory, Observation, Sight};
use adce_core::object::Object;
use adce_core::spec::Spec;

use crate::world::{Fate, Game, NOW, Plan, World, at};

/// Two datasets over three games; their keys are `d0/000.csv` … `d1/002.csv`.
fn world() -> (Spec, Expected) {
    let plan = |min_size| Plan {
        parts: 0,
        only_kind: None,
        due_after: None,
        within: None,
        until_after: None,
        fresh_at: None,
        since: None,
        expires_after: None,
        min_size,
        high_below: None,
        fingerprint: 0,
    };
    let fate = Fate { object: None, confirmed: None, absent_until: None, absent_fingerprint: 0, suspect: 9, open: None, was_present: true };
    let world = World {
        games: vec![Game { kind: 0, ends: None }; 3],
        datasets: vec![plan(1), plan(10)],
        fates: vec![fate],
        broken: vec![None; 3],
        strangers: Vec::new(),
        listed_at: vec![None; 3],
    };
    let spec = world.spec();
    let expected = coverage::expand(&spec, &world.tables(), at(NOW)).unwrap();
    (spec, expected)
}

fn object(key: &str, size: u64) -> Object {
    Object { key: key.into(), size, last_modified: at(0), etag: format!("{key} of {size} B") }
}

fn size_at(inventory: &Inventory, expected: &Expected, key: &str) -> Result<u64, Sight> {
    match inventory.sight(expected.find(key).unwrap()) {
        Sight::There(found) => Ok(found.size),
        other => Err(other),
    }
}

fn list<'e>(expected: &'e Expected, spec: &Spec, began: i64, shown: &[Object], failed: &[&str]) -> Observation<'e> {
    let mut observation = Observation::new(expected, spec);
    for prefix in ["d0/", "d1/"] {
        observation.begin(prefix, at(began));
        shown.iter().filter(|object| object.key.starts_with(prefix)).for_each(|object| observation.object(object));
        match failed.contains(&prefix) {
            true => observation.prefix_failed(prefix),
            false => observation.prefix_complete(prefix),
        }
    }
    observation
}

#[test]
fn what_an_attempt_saw_outranks_the_listing() {
    let (spec, expected) = world();
    let shown = [object("d0/000.csv", 5), object("d1/000.csv", 5)];
    let mut inventory = list(&expected, &spec, 100, &shown, &["d1/"]).finish();
    let find = |key: &str| expected.find(key).unwrap();
    assert_eq!(inventory.etag(find("d1/000.csv")), Some("d1/000.csv of 5 B"), "it is undersized: its gap needs the ETag");
    inventory.saw(find("d0/000.csv"), None);
    inventory.saw(find("d0/001.csv"), Some(&object("d0/001.csv", 7)));
    inventory.saw(find("d1/000.csv"), Some(&object("d1/000.csv", 50)));
    inventory.saw(find("d1/001.csv"), Some(&object("d1/001.csv", 8)));
    assert_eq!(size_at(&inventory, &expected, "d0/000.csv"), Err(Sight::NotThere));
    assert_eq!(size_at(&inventory, &expected, "d0/001.csv"), Ok(7));
    assert_eq!(size_at(&inventory, &expected, "d1/000.csv"), Ok(50));
    assert_eq!(inventory.etag(find("d1/000.csv")), None);
    assert_eq!(size_at(&inventory, &expected, "d1/001.csv"), Ok(8), "seen, though its listing failed");
    assert_eq!(size_at(&inventory, &expected, "d1/002.csv"), Err(Sight::NotSeen));
}

#[test]
fn a_prefix_nobody_listed_is_not_complete() {
    let (spec, expected) = world();
    let inventory = Observation::new(&expected, &spec).finish();
    assert!(!inventory.is_full());
    assert_eq!(inventory.completeness(0), Completeness::Partial);
    assert_eq!(size_at(&inventory, &expected, "d0/000.csv"), Err(Sight::NotSeen));
}
