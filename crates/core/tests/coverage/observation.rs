//! Looks at a lake that changes while it is looked at, or that can only be seen in part.

use adce_core::coverage::{self, Completeness, Expected, Inventory, Observation, Sight, Spot, TableError, TableFile, TableFiles};
use adce_core::object::Object;
use adce_core::spec::problem::Place;
use adce_core::spec::template::{Purpose, Template};
use adce_core::spec::{ConfigFile, OlderPlace, Spec, load};

use crate::world::{Fate, Game, NOW, Plan, World, at};

/// Two datasets over three games; their keys are `d0/000.csv` … `d1/002.csv`.
fn world() -> (Spec, Expected) {
    let plan = |min_size| Plan {
        parts: 0,
        needs_first: false,
        also: false,
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
    let fate = Fate {
        object: None,
        old: None,
        confirmed: None,
        absent_until: None,
        absent_fingerprint: 0,
        suspect: 9,
        open: None,
        was_present: true,
    };
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

struct NoTables;

impl TableFiles for NoTables {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        Err(TableError::NoFile(pattern.to_owned()))
    }
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
fn what_lies_at_an_older_place_counts_where_nothing_better_does() {
    let (mut spec, _) = world();
    let place = |text: &str| OlderPlace { template: Template::parse(text, Purpose::Key).unwrap(), at: Place::default() };
    spec.datasets["d0"].also = vec![place("d0/v2/{game_id}"), place("attic/{game_id}")];
    let games = Fate {
        object: None,
        old: None,
        confirmed: None,
        absent_until: None,
        absent_fingerprint: 0,
        suspect: 9,
        open: None,
        was_present: true,
    };
    let tables = World {
        games: vec![Game { kind: 0, ends: None }; 3],
        datasets: Vec::new(),
        fates: vec![games],
        broken: Vec::new(),
        strangers: Vec::new(),
        listed_at: Vec::new(),
    };
    let expected = coverage::expand(&spec, &tables.tables(), at(NOW)).unwrap();
    assert_eq!(expected.prefixes(), ["attic/", "d0/", "d1/"]);
    let shown = ["attic/000", "d0/000.csv", "attic/001", "d0/v2/001", "attic/002", "attic/003"];
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0]] {
        let look = |failed: &[&str]| {
            let mut look = Observation::new(&expected, &spec);
            for prefix in ["d0/", "d1/", "attic/"] {
                look.begin(prefix, at(0));
                if failed.contains(&prefix) { look.prefix_failed(prefix) } else { look.prefix_complete(prefix) }
            }
            order.iter().for_each(|at| look.object(&object(shown[*at], 10 + *at as u64)));
            look.finish()
        };
        let sizes = |inventory: &Inventory| ["d0/000.csv", "d0/001.csv", "d0/002.csv"].map(|key| size_at(inventory, &expected, key));
        let mut inventory = look(&[]);
        assert_eq!(sizes(&inventory), [Ok(11), Ok(13), Ok(14)]);
        assert_eq!((inventory.unexpected(0).objects, &inventory.unexpected(0).sample[..]), (1, &["attic/003".to_string()][..]));
        // Nobody knows what lies at their keys, which would count instead.
        assert_eq!(sizes(&look(&["d0/"])), [Ok(11), Err(Sight::NotSeen), Err(Sight::NotSeen)]);
        assert_eq!(sizes(&look(&["attic/"])), [Ok(11), Ok(13), Ok(14)], "what was seen there is there");
        assert_eq!(look(&["attic/"]).completeness(0), Completeness::Partial);
        // A look at the key alone takes nothing away from an older place.
        let item = expected.find("d0/002.csv").unwrap();
        inventory.saw(item, None);
        assert_eq!((size_at(&inventory, &expected, "d0/002.csv"), inventory.spot(item)), (Ok(14), Spot::Older(1)));
        inventory.saw(item, Some(&object("d0/002.csv", 7)));
        assert_eq!((size_at(&inventory, &expected, "d0/002.csv"), inventory.spot(item)), (Ok(7), Spot::Key));
    }
}

#[test]
fn what_somebody_owns_or_ignores_is_not_unexpected() {
    let text =
        "lake: ./lake\nignore: \"**/*.bak\"\ndimensions: { n: [a] }\ndatasets:\n  d: { key: \"d/{n}\", for: n, owns: [d/parts/**] }\n";
    let file = ConfigFile { name: "adce.yaml".into(), text: text.into() };
    let spec = load(&[file], std::path::Path::new("/"), &|_| None, &NoTables).spec().unwrap();
    let expected = coverage::expand(&spec, &NoTables, at(NOW)).unwrap();
    let mut look = Observation::new(&expected, &spec);
    ["d/a", "d/a.bak", "d/parts/1/2", "d/parts", "d/b"].iter().for_each(|key| look.object(&object(key, 1)));
    assert_eq!(look.finish().unexpected(0).sample, ["d/parts", "d/b"]);
}

#[test]
fn a_prefix_nobody_listed_is_not_complete() {
    let (spec, expected) = world();
    let inventory = Observation::new(&expected, &spec).finish();
    assert!(!inventory.is_full());
    assert_eq!(inventory.completeness(0), Completeness::Partial);
    assert_eq!(size_at(&inventory, &expected, "d0/000.csv"), Err(Sight::NotSeen));
}
