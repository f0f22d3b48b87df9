//! Gaps that were open before, against coverage now: what opens, what changes, what closes.
//!
//! A gap's identity is (item, episode). It outlives a change of its reason with its `detected_at` and everything that
//! was tried, or a stale object that vanishes would lose its place in line; it does not outlive being filled, or an
//! item that is lost again a year later would be born exhausted.
//!
//! Always true: applying a difference and taking it again gives nothing (`a_difference_is_taken_once`); over any
//! sequence of pictures episodes only grow, and one item never has two open gaps
//! (`identity_holds_over_any_sequence_of_pictures`).

use std::collections::{HashMap, HashSet};

use super::contested::first_progress;
use super::expected::{Expected, ItemIx, Spot};
use super::inventory::Inventory;
use super::state::Sight;
use super::tally::{Coverage, Evidence, GapItem, trusted};
use crate::gap::{Gap, ItemState, Reason};
use crate::ids::{GapId, ItemId};
use crate::record::{Closed, ItemRecord};
use crate::spec::{Dataset, Spec};
use crate::time::{Timestamp, in_whole_micros};

/// What became of the gaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GapDiff {
    pub opened: Vec<Gap>,
    /// Open before and still, but something about them is new.
    pub changed: Vec<Gap>,
    pub closed: Vec<(GapId, Closed)>,
    pub unchanged: u64,
}

impl GapDiff {
    pub fn is_empty(&self) -> bool {
        self.opened.is_empty() && self.changed.is_empty() && self.closed.is_empty()
    }

    /// The open gaps after this difference.
    pub fn apply_to(&self, open: &mut HashMap<ItemId, Gap>) {
        for (gap, _) in &self.closed {
            open.remove(&gap.item);
        }
        open.extend(self.opened.iter().chain(&self.changed).map(|gap| (gap.id.item, gap.clone())));
    }
}

/// Compares `coverage` with the gaps that are open in the evidence it was worked out from.
pub fn gaps(evidence: &Evidence<'_>, coverage: &Coverage, now: Timestamp) -> GapDiff {
    difference(evidence, coverage, coverage.gap_items(), now)
}

/// The same for those items alone whose open gaps are in the evidence: `items` are the gaps among them.
pub(super) fn difference(evidence: &Evidence<'_>, coverage: &Coverage, items: &[GapItem], now: Timestamp) -> GapDiff {
    let mut diff = GapDiff::default();
    let mut met = HashSet::with_capacity(evidence.open.len());
    for item in items {
        let id = evidence.expected.id(item.item);
        let before = evidence.open.get(&id);
        met.extend(before.map(|_| id));
        let gap = gap(evidence, id, item, before, now);
        match before {
            None => diff.opened.push(gap),
            Some(before) if *before == gap => diff.unchanged += 1,
            Some(_) => diff.changed.push(gap),
        }
    }
    let gone = evidence.open.values().filter(|gap| !met.contains(&gap.id.item));
    diff.closed = closed(evidence, coverage, gone.collect());
    diff.closed.sort_by_key(|(gap, _)| *gap);
    diff
}

fn gap(evidence: &Evidence<'_>, id: ItemId, item: &GapItem, before: Option<&Gap>, now: Timestamp) -> Gap {
    let Evidence { spec, expected, inventory, records, .. } = *evidence;
    let dataset = dataset_of(spec, expected, item.item);
    let mut key = String::new();
    expected.key(item.item, &mut key);
    let record = records.get(&id);
    let seen = object_at(inventory, item, record, before);
    let progress = before.filter(|before| before.fingerprint == dataset.fingerprint).map(|before| before.progress.clone());
    Gap {
        id: before.map_or_else(|| next_episode(id, record), |before| before.id),
        dataset: dataset.name.clone(),
        key,
        reason: item.reason,
        detected_at: before.map_or(now, |before| before.detected_at),
        due: item.due.map(in_whole_micros),
        priority: item.priority,
        group: group(spec, expected, dataset, item.item),
        etag: seen.etag,
        last_modified: seen.last_modified,
        fingerprint: dataset.fingerprint,
        progress: progress.unwrap_or_else(|| first_progress(item.reason, record.filter(|_| before.is_none()), now)),
    }
}

fn next_episode(item: ItemId, record: Option<&ItemRecord>) -> GapId {
    GapId { item, episode: record.map_or(0, |record| record.episodes) + 1 }
}

/// The object that publishing must replace.
struct ObjectThere {
    etag: Option<String>,
    last_modified: Option<Timestamp>,
}

fn object_at(inventory: &Inventory, item: &GapItem, record: Option<&ItemRecord>, before: Option<&Gap>) -> ObjectThere {
    // What lies at an older place stays there: there is nothing at the key that publishing would replace.
    if inventory.spot(item.item) != Spot::Key {
        return ObjectThere { etag: None, last_modified: None };
    }
    match trusted(inventory.sight(item.item), record, before) {
        Sight::There(found) => {
            let known = record.filter(|record| item.reason == Reason::Suspect && !record.is_in_doubt());
            let suspect = known.and_then(|record| record.suspect_etag.as_deref());
            let etag = suspect.or_else(|| inventory.etag(item.item)).map(str::to_owned);
            ObjectThere { etag, last_modified: Some(found.last_modified) }
        }
        Sight::NotThere => ObjectThere { etag: None, last_modified: None },
        Sight::NotSeen => ObjectThere {
            etag: before.and_then(|before| before.etag.clone()),
            last_modified: before.and_then(|before| before.last_modified),
        },
    }
}

/// The values that gaps must share to share a task: of the collector's `group_by`, and of what the source's limits are told apart
/// by. A dataset that is only watched makes no tasks.
fn group(spec: &Spec, expected: &Expected, dataset: &Dataset, item: ItemIx) -> Vec<String> {
    spec.group_names(dataset).map(|name| expected.value(item, name).unwrap_or_default()).collect()
}

fn dataset_of<'a>(spec: &'a Spec, expected: &Expected, item: ItemIx) -> &'a Dataset {
    &spec.datasets[expected.datasets()[expected.dataset_of(item)].name()]
}

/// Why each of these is no gap any more. A key names most items at once; where the template changed, ids do.
fn closed(evidence: &Evidence<'_>, coverage: &Coverage, gone: Vec<&Gap>) -> Vec<(GapId, Closed)> {
    let mut closed = Vec::with_capacity(gone.len());
    let mut unnamed: HashMap<ItemId, GapId> = HashMap::new();
    for gap in gone {
        match evidence.expected.find(&gap.key).filter(|item| evidence.expected.id(*item) == gap.id.item) {
            Some(item) => closed.push((gap.id, why(coverage.state(item)))),
            None => {
                unnamed.insert(gap.id.item, gap.id);
            }
        }
    }
    if !unnamed.is_empty() {
        for item in evidence.expected.items() {
            if let Some(gap) = unnamed.remove(&evidence.expected.id(item)) {
                closed.push((gap, why(coverage.state(item))));
            }
        }
    }
    closed.extend(unnamed.into_values().map(|gap| (gap, Closed::NotExpected)));
    closed
}

fn why(state: ItemState) -> Closed {
    match state {
        ItemState::Present => Closed::FoundFilled,
        ItemState::Absent => Closed::Absent,
        ItemState::Expired => Closed::Expired,
        ItemState::OutOfScope => Closed::OutOfScope,
        _ => Closed::NotExpected,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Files, Sample, at, zone};
    use super::super::{Observation, Picture, surprises};
    use super::*;
    use crate::object::Object;
    use crate::spec::Every;
    use crate::spec::expression::Role;

    #[test]
    fn a_gap_that_is_due_between_two_microseconds_is_no_news_at_every_look() {
        let now = at("2024-12-01T00:00:00Z");
        let mut sample = Sample::new(Files::default()).list("n", &["a"]).dataset("d", "d/{n}", &["n"]);
        let due = sample.expression(&["n"], "time('2024-11-01T00:00:00.0000015Z')", crate::spec::expression::Role::Due);
        sample.spec.datasets["d"].due = Some(due);
        let expected = sample.expand("2024-12-01T00:00:00Z").unwrap();
        let mut look = Observation::new(&expected, &sample.spec);
        look.begin("d/", now);
        look.prefix_complete("d/");
        let (inventory, records, open) = (look.finish(), HashMap::new(), HashMap::new());
        let evidence =
            Evidence { spec: &sample.spec, expected: &expected, inventory: &inventory, records: &records, open: &open, accepted: None };
        let opened = gaps(&evidence, &Coverage::of(&evidence, now).unwrap(), now).opened;
        // As it is remembered.
        assert_eq!(opened[0].due, Some(at("2024-11-01T00:00:00.000001Z")));
    }

    #[test]
    fn a_gap_has_a_value_of_each_name_that_its_tasks_are_told_apart_by() {
        let group = |names: &str, by: &str, collected: bool| {
            let files = Files::of([("c.csv", "customer_id,tier\nacme,gold\n")]);
            let collector = format!("collector: {{ command: [get], batch: {{ size: 9, group_by: {names} }} }}");
            let text = format!(
                "lake: ./lake\nsources: {{ crm: {{ hosts: [crm.org], limits: {{ by: {by}, per_minute: 9 }} }} }}\n\
                 dimensions:\n  customer: {{ table: c.csv, id: customer_id }}\n  day: [1]\n\
                 datasets:\n  d:\n    source: crm\n    key: \"{{customer_id}}/{{day}}\"\n    for: [customer, day]\n    {}\n",
                if collected { &collector } else { "min_size: 1B" }
            );
            let config = crate::spec::ConfigFile { name: "adce.yaml".into(), text };
            let loaded = crate::spec::load(&[config], std::path::Path::new("/"), &|_| None, &files);
            let spec = loaded.spec().unwrap_or_else(|problems| panic!("{problems:?}"));
            let expected = super::super::expand(&spec, &files, at("2024-12-01T00:00:00Z")).unwrap();
            super::group(&spec, &expected, &spec.datasets["d"], ItemIx(0))
        };
        assert_eq!(group("[day]", "customer", false), [""; 0], "nobody collects it");
        assert_eq!(group("[]", "customer", true), ["acme"]);
        assert_eq!(group("[day]", "customer", true), ["1", "acme"]);
        assert_eq!(group("[customer, day]", "customer", true), ["acme", "1"]);
        // However it is named.
        assert_eq!(group("[customer.tier]", "customer.customer_id", true), ["gold", "acme"]);
        assert_eq!(group("[customer_id]", "tier", true), ["acme", "gold"]);
    }

    #[test]
    fn what_is_over_closes_its_gap_as_such_and_surprises_nobody() {
        let mut sample = Sample::new(Files::default())
            .calendar("day", "2024-10-01", "2024-10-30", Every::Days(1), zone("UTC"))
            .dataset("old", "old/{day}", &["day"])
            .dataset("done", "done/{day}", &["day"]);
        sample.spec.datasets["old"].since = Some(sample.expression(&["day"], "now - 20d", Role::Since));
        let due = sample.expression(&["day"], "day.end", Role::Due);
        sample.spec.datasets["done"].due = Some(due);
        sample.spec.datasets["done"].expires = Some(sample.expression(&["day"], "due + 20d", Role::After));
        let expected = sample.expand("2024-10-31T00:00:00Z").unwrap();
        // Every other object is there, until all are cleared away.
        let look = |now: &str, there: bool, open: &HashMap<ItemId, Gap>, accepted: Option<&Picture>| {
            let now = at(now);
            let mut look = Observation::new(&expected, &sample.spec);
            for prefix in expected.prefixes() {
                look.begin(prefix, now);
                look.prefix_complete(prefix);
            }
            for item in expected.items().filter(|item| there && item.0 % 2 == 0) {
                let mut key = String::new();
                expected.key(item, &mut key);
                look.object(&Object { key, size: 9, last_modified: now, etag: "e".into() });
            }
            let (inventory, records) = (look.finish(), HashMap::new());
            let evidence = Evidence { spec: &sample.spec, expected: &expected, inventory: &inventory, records: &records, open, accepted };
            let coverage = Coverage::of(&evidence, now).unwrap();
            let diff = gaps(&evidence, &coverage, now);
            let picture = Picture::of(&evidence, &coverage, &diff, now);
            let surprises = surprises(accepted, &picture, &Default::default());
            (coverage, diff, picture, surprises)
        };
        let mut open = HashMap::new();
        let (coverage, diff, first, _) = look("2024-10-20T12:00:00Z", true, &open, None);
        let counts = |coverage: &Coverage, name: &str| {
            let counts = coverage.dataset(name).unwrap().counts;
            (counts.expected(), counts.not_due, counts.expired, counts.out_of_scope)
        };
        assert_eq!((counts(&coverage, "old"), counts(&coverage, "done")), ((30, 0, 0, 0), (19, 11, 0, 0)));
        assert_eq!(
            coverage.changes_at(),
            Some(at("2024-10-21T00:00:00Z")),
            "one falls due; the oldest of the others leave a microsecond later"
        );
        diff.apply_to(&mut open);
        let (coverage, diff, _, surprises) = look("2024-12-01T00:00:00Z", false, &open, Some(&first));
        assert_eq!((counts(&coverage, "old"), counts(&coverage, "done")), ((0, 0, 0, 30), (0, 0, 30, 0)));
        assert_eq!((coverage.changes_at(), surprises.as_slice()), (None, &[][..]));
        let of = |why| diff.closed.iter().filter(|(_, closed)| *closed == why).count();
        assert_eq!((of(Closed::OutOfScope), of(Closed::Expired), diff.closed.len()), (15, 9, open.len()));
    }

    #[test]
    fn a_gap_in_doubt_stays_as_it_is_whatever_a_listing_shows() {
        let now = at("2024-12-01T00:00:00Z");
        let sample = Sample::new(Files::default()).list("n", &["a"]).dataset("d", "d/{n}", &["n"]);
        let expected = sample.expand("2024-12-01T00:00:00Z").unwrap();
        let item = expected.id(ItemIx(0));
        let seen = |object: Option<Object>, records: &HashMap<ItemId, ItemRecord>, open: &HashMap<ItemId, Gap>| {
            let mut look = Observation::new(&expected, &sample.spec);
            look.begin("d/", now);
            object.iter().for_each(|object| look.object(object));
            look.prefix_complete("d/");
            let inventory = look.finish();
            let evidence = Evidence { spec: &sample.spec, expected: &expected, inventory: &inventory, records, open, accepted: None };
            gaps(&evidence, &Coverage::of(&evidence, now).unwrap(), now)
        };
        let (mut records, mut open) = (HashMap::new(), HashMap::new());
        let missing = seen(None, &records, &open);
        missing.apply_to(&mut open);
        let object = Object { key: "d/a".into(), size: 9, last_modified: now, etag: "half".into() };
        assert_eq!(seen(Some(object.clone()), &records, &open).closed, [(open[&item].id, Closed::FoundFilled)], "nobody doubts it");
        records.entry(item).or_insert_with(ItemRecord::default).put_in_doubt();
        let in_doubt = seen(Some(object.clone()), &records, &open);
        assert_eq!((in_doubt.is_empty(), in_doubt.unchanged), (true, 1));
        // Its gap is gone with its item, and the item is back.
        let suspect = seen(Some(object), &records, &HashMap::new());
        assert_eq!(suspect.opened[0].reason, Reason::Suspect);
    }
}
