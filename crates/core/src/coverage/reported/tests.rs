use proptest::prelude::*;

use super::super::Observation;
use super::super::sample::{Files, Sample, at};
use super::*;
use crate::object::Object;
use crate::report::ReportRow;
use crate::spec::expression::Role;
use crate::spec::{Freshness, Needed};

const CREATED: &str = "2025-01-09T01:00:00Z";
const NOW: &str = "2025-01-10T09:00:00Z";

fn head() -> ReportHead {
    ReportHead {
        name: "2025-01-09T01-00Z".into(),
        created: at(CREATED),
        format: "CSV",
        files: 1,
        bytes: 1,
        tells_modified: true,
        tells_etag: true,
    }
}

fn hours(hours: i64) -> Timestamp {
    at(CREATED) + SignedDuration::from_hours(hours)
}

/// Something that happened to an item's key, hours from the report on.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// An attempt that began then put a whole object there.
    Filled(i64),
    /// Somebody else put one there.
    Came(i64),
    Went(i64),
}

impl Event {
    fn hour(self) -> i64 {
        match self {
            Event::Filled(hour) | Event::Came(hour) | Event::Went(hour) => hour,
        }
    }
}

/// What lay there at that hour.
fn object_at(key: &str, events: &[Event], hour: i64) -> Option<Object> {
    let last = events.iter().rev().find(|event| event.hour() <= hour)?;
    match last {
        Event::Went(_) => None,
        Event::Filled(at) | Event::Came(at) => {
            Some(Object { key: key.into(), size: 9, last_modified: hours(*at), etag: format!("{key}{at}") })
        }
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = (-60_i64..30, 0..3).prop_map(|(hour, kind)| match kind {
        0 => Event::Filled(hour),
        1 => Event::Came(hour),
        _ => Event::Went(hour),
    });
    prop::collection::vec(event, 0..4).prop_map(|mut events| {
        events.sort_by_key(|event| event.hour());
        events.dedup_by_key(|event| event.hour());
        events
    })
}

proptest! {
    /// What a report and the records together say is checked against what happened.
    #[test]
    fn a_report_never_reopens_what_was_filled_since(histories in prop::collection::vec(events(), 6), fresh in any::<bool>()) {
        let names: Vec<String> = (0..histories.len()).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut sample = Sample::new(Files::default()).list("n", &names).dataset("d", "d/{n}", &["n"]);
        if fresh {
            sample.spec.datasets["d"].fresh = Some(Freshness::Within { within: SignedDuration::from_hours(12), until: None });
        }
        let expected = sample.expand(NOW).unwrap();
        let key = |n: usize| format!("d/{n}");
        let item = |n: usize| expected.find(&key(n)).unwrap();
        let mut records = HashMap::new();
        let mut seen = Observation::new(&expected, &sample.spec);
        seen.begin("d/", at(CREATED));
        for (n, events) in histories.iter().enumerate() {
            if let Some(object) = object_at(&key(n), events, 0) {
                let micros = Some(object.last_modified.as_microsecond());
                let row = ReportRow { key: &object.key, size: 9, modified_micros: micros, etag: Some(&object.etag) };
                seen.row(Some((item(n), EtagDigest::of(&object.etag))), &object.key, &row);
            }
            let filled = events.iter().filter_map(|event| if let Event::Filled(hour) = event { Some(*hour) } else { None }).max();
            if let Some(hour) = filled {
                records.insert(expected.id(item(n)), ItemRecord { confirmed: Some(hours(hour)), ..ItemRecord::default() });
            }
        }
        seen.prefix_complete("d/");
        let mut inventory = seen.finish();
        let later = later_than(None, &records);
        let again = look_again(&sample.spec, &expected, &mut inventory, &head(), &["d/".into()], &later, at(NOW));
        prop_assert!(again.due_since.is_empty(), "the dataset has no `due`");
        for (n, events) in histories.iter().enumerate() {
            let now = object_at(&key(n), events, 32);
            if again.known_otherwise.contains(&item(n)) {
                inventory.saw(item(n), now.as_ref());
            }
            let (sight, record) = (inventory.sight(item(n)), records.get(&expected.id(item(n))));
            let confirmed = record.and_then(|record| record.confirmed);
            match events.last() {
                Some(Event::Filled(_)) => prop_assert!(matches!(sight, Sight::There(_)), "it was filled and nothing happened since: {events:?}"),
                None => prop_assert_eq!(sight, Sight::NotThere),
                Some(Event::Came(hour) | Event::Went(hour)) if *hour <= 0 && confirmed.is_none_or(|at| at <= hours(-24)) => {
                    prop_assert_eq!(matches!(sight, Sight::There(_)), now.is_some(), "what came before the report is in it: {:?}", events)
                }
                Some(_) => {}
            }
            // What is stale will be replaced, so it is known as it lies there now.
            if let (Some(Event::Filled(hour)), Sight::There(found), Some(now)) = (events.last(), sight, &now)
                && fresh && *hour > -24 && at(NOW).duration_since(hours(*hour)) > SignedDuration::from_hours(12)
            {
                prop_assert_eq!(found.etag, EtagDigest::of(&now.etag), "{:?}", events);
            }
        }
    }
}

#[test]
fn an_item_that_fell_due_since_the_report_is_looked_at_before_it_is_called_missing() {
    let files = Files::of([("g.csv", "game_id,ends\na,2025-01-07 20:00\nb,2025-01-09 20:00\nc,2025-01-10 20:00\n")]);
    let mut sample = Sample::new(files)
        .table("game", "g.csv", "game_id", &[("ends_at", "from ends time %Y-%m-%d %H:%M zone UTC")])
        .dataset("d", "d/{game_id}", &["game"]);
    sample.spec.datasets["d"].due = Some(sample.expression(&["game"], "ends_at", Role::Due));
    let expected = sample.expand(NOW).unwrap();
    let mut seen = Observation::new(&expected, &sample.spec);
    seen.begin("d/", at(CREATED));
    seen.prefix_complete("d/");
    let again = look_again(&sample.spec, &expected, &mut seen.finish(), &head(), &["d/".into()], &HashMap::new(), at(NOW));
    assert_eq!(again, LookAgain { known_otherwise: vec![], due_since: vec![expected.find("d/b").unwrap()] });
}

#[test]
fn a_suspect_that_the_report_does_not_know_is_looked_at() {
    let sample = Sample::new(Files::default()).list("n", &["a", "b"]).dataset("d", "d/{n}", &["n"]);
    let expected = sample.expand(NOW).unwrap();
    let [a, b] = ["d/a", "d/b"].map(|key| expected.find(key).unwrap());
    let mut seen = Observation::new(&expected, &sample.spec);
    seen.begin("d/", at(CREATED));
    for (item, key) in [(a, "d/a"), (b, "d/b")] {
        seen.row(Some((item, EtagDigest::of("old"))), key, &ReportRow { key, size: 9, modified_micros: Some(0), etag: Some("old") });
    }
    seen.prefix_complete("d/");
    let suspect = |etag: &str| ItemRecord { suspect_etag: Some(etag.into()), ..ItemRecord::default() };
    let records = HashMap::from([(expected.id(a), suspect("half")), (expected.id(b), suspect("old"))]);
    let again = look_again(&sample.spec, &expected, &mut seen.finish(), &head(), &["d/".into()], &records, at(NOW));
    assert_eq!(again.known_otherwise, [a], "the other one is as suspect in the report");
}

#[test]
fn a_report_is_believed_only_where_its_filter_cannot_have_hidden_anything() {
    let sample = Sample::new(Files::default())
        .list("n", &["a"])
        .dataset("one", "espn/pbp/{n}", &["n"])
        .dataset("two", "espn/box/{n}", &["n"])
        .dataset("three", "bbref/{n}", &["n"]);
    let expected = sample.expand(NOW).unwrap();
    let head = head();
    let covers = Covers { head: &head, spec: &sample.spec, expected: &expected, accepted: None };
    let nothing = || Observation::new(&expected, &sample.spec).finish();
    let in_sight = |seen: &Inventory, lake: &str, common: Option<&str>| -> Vec<&str> {
        let prefixes = expected.prefixes().iter().map(String::as_str);
        prefixes.filter(|prefix| covers.is_whole(prefix, seen, lake, common)).collect()
    };
    let whole = |lake: &str, common: Option<&str>| in_sight(&nothing(), lake, common);
    assert_eq!(whole("", Some("")), ["bbref/", "espn/box/", "espn/pbp/"]);
    assert_eq!(whole("", Some("espn/")), ["espn/box/", "espn/pbp/"]);
    assert_eq!(whole("", Some("espn/pbp/")), ["espn/pbp/"]);
    assert_eq!(whole("", Some("espn/pbp/2024/")), [""; 0], "the filter may have been just that");
    assert_eq!(whole("", Some("espn/pbp/a")), ["espn/pbp/"], "but all that is expected there passes it");
    assert_eq!(whole("nba/", Some("nba/espn/pbp/a")), ["espn/pbp/"]);
    assert_eq!(whole("nba/", Some("espn/pbp/a")), [""; 0]);
    let mut seen = Observation::new(&expected, &sample.spec);
    seen.row(
        expected.find("espn/box/a").map(|item| (item, EtagDigest::of("e"))),
        "espn/box/a",
        &ReportRow { key: "espn/box/a", size: 9, modified_micros: Some(0), etag: Some("e") },
    );
    assert_eq!(in_sight(&seen.finish(), "", Some("espn/box/a/b")), ["espn/box/"], "nothing is left that could be hidden");
    assert_eq!(whole("nba/", Some("nba/es")), ["espn/box/", "espn/pbp/"]);
    assert_eq!(whole("nba/", Some("espn/")), [""; 0]);
    assert_eq!(whole("", None), [""; 0], "a report without a row hides nothing or everything");
}

#[test]
fn knowledge_never_goes_back() {
    let sample = Sample::new(Files::default()).list("n", &["a"]).dataset("one", "one/{n}", &["n"]).dataset("two", "two/{n}", &["n"]);
    let expected = sample.expand(NOW).unwrap();
    let head = head();
    let listed = |one: i64, two: i64| Picture {
        listed_at: [("one".to_string(), Some(hours(one))), ("two".to_string(), Some(hours(two)))].into(),
        ..Picture::default()
    };
    let covers = |accepted: &Picture| {
        let covers = Covers { head: &head, spec: &sample.spec, expected: &expected, accepted: Some(accepted) };
        (
            covers.any(at(NOW)),
            ["one/", "two/"].map(|prefix| covers.is_whole(prefix, &Observation::new(&expected, &sample.spec).finish(), "", Some(""))),
        )
    };
    assert_eq!(covers(&listed(0, -5)), (Ok(()), [true, true]), "the same report as before, and an older one");
    assert_eq!(covers(&listed(1, 0)), (Ok(()), [false, true]));
    assert_eq!(covers(&listed(1, 2)), (Err(Aged::ListedSince), [false, false]));
    let covers = Covers { head: &head, spec: &sample.spec, expected: &expected, accepted: None };
    assert_eq!(covers.any(hours(9 * 24)), Err(Aged::TooOld));
}

#[test]
fn a_report_without_dates_says_nothing_of_what_can_grow_stale() {
    let mut sample = Sample::new(Files::default()).list("n", &["a"]).dataset("one", "one/{n}", &["n"]).dataset("two", "two/{n}", &["n"]);
    sample = sample.dataset("three", "three/{n}", &["n"]);
    let needed = Needed { dataset: "one".into(), within: Vec::new(), at: sample.spec.datasets["one"].at.clone() };
    sample.spec.datasets["three"].needs = vec![needed];
    sample.spec.datasets["two"].fresh = Some(Freshness::Within { within: SignedDuration::from_hours(1), until: None });
    let expected = sample.expand(NOW).unwrap();
    for (tells_modified, tells_etag) in [(false, true), (true, false)] {
        let head = ReportHead { tells_modified, tells_etag, ..head() };
        let covers = Covers { head: &head, spec: &sample.spec, expected: &expected, accepted: None };
        assert_eq!(
            ["one/", "two/", "three/"].map(|prefix| covers.is_whole(
                prefix,
                &Observation::new(&expected, &sample.spec).finish(),
                "",
                Some("")
            )),
            [true, false, false]
        );
    }
}

/// Its parts would be those of some hours.
#[test]
fn a_report_says_nothing_of_sets() {
    let mut sample = Sample::new(Files::default()).list("n", &["a"]).dataset("one", "one/{n}", &["n"]).dataset("two", "two/{n}-*", &["n"]);
    sample.spec.datasets["two"].set = Some(crate::sets::SetRule::default());
    let expected = sample.expand(NOW).unwrap();
    let covers = Covers { head: &head(), spec: &sample.spec, expected: &expected, accepted: None };
    let seen = Observation::new(&expected, &sample.spec).finish();
    assert_eq!(["one/", "two/"].map(|prefix| covers.is_whole(prefix, &seen, "", Some(""))), [true, false]);
}
