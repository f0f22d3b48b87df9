//! Items that are sets of objects: from the key of a part, or of a marker, to the item that it belongs to.
//!
//! A part's key is not known beforehand, but what stands before the `*` is: places of items lie in a hash table by that text, and a
//! key is tried at each length that such a text has in its last segment, mostly one. Only configs with sets have these tables, and
//! only keys that are no item's own are looked for in them.
//!
//! Always true: an object belongs to one item at most, because two sets that could claim the same one, or a set and an item of one
//! object, are refused (`every_object_of_a_set_finds_it_and_no_other_does`).

use std::hash::BuildHasher;
use std::ops::RangeInclusive;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::also::Indexed;
use super::build::Wrong;
use super::{Across, Expected, ExpectedDataset, ItemIx, Spot, describe};
use crate::sets::{Member, SetPlace, SetRule};
use crate::spec::Dataset;
use crate::spec::problem::{Place, Problem};

/// Items that are sets, by what their objects' keys say of them.
#[derive(Debug, Default)]
pub(super) struct SetPlaces {
    /// By place of the dataset; empty if none has sets.
    rules: Vec<Option<SetRule>>,
    /// By the hash of what stands before the `*`.
    by_begin: HashTable<u32>,
    by_marker: HashTable<u32>,
    /// Bytes of the last segment before the `*`.
    lengths: Option<RangeInclusive<usize>>,
}

impl SetPlaces {
    fn is_none(&self) -> bool {
        self.rules.is_empty()
    }

    /// `key_of`: appends an item's key, and tells the place of its dataset.
    fn find(&self, key: &str, hasher: &DefaultHashBuilder, key_of: &dyn Fn(u32, &mut String) -> usize) -> Option<(u32, Member)> {
        let mut own = String::new();
        let mut is = |item: u32, member: Member| {
            own.clear();
            let rule = self.rules[key_of(item, &mut own)].as_ref();
            rule.and_then(|rule| SetPlace::of(&own, rule)).is_some_and(|place| place.member(key) == Some(member))
        };
        if let Some(item) = self.by_marker.find(hasher.hash_one(key), |item| is(*item, Member::Marker)) {
            return Some((*item, Member::Marker));
        }
        let folder = key.rfind('/').map_or(0, |at| at + 1);
        self.lengths.clone()?.find_map(|length| {
            let begin = key.get(..folder + length)?;
            let item = self.by_begin.find(hasher.hash_one(begin), |item| is(*item, Member::Part))?;
            Some((*item, Member::Part))
        })
    }
}

impl Expected {
    /// The item that this object is a part or the marker of.
    pub fn find_in_set(&self, key: &str) -> Option<(ItemIx, Member)> {
        if self.sets.is_none() {
            return None;
        }
        let key_of = |item: u32, key: &mut String| {
            self.key(ItemIx(item), key);
            self.dataset_of(ItemIx(item))
        };
        self.sets.find(key, &self.keys.hasher, &key_of).map(|(item, member)| (ItemIx(item), member))
    }

    /// `None`: the item is one object.
    pub fn set_rule(&self, item: ItemIx) -> Option<&SetRule> {
        if self.sets.is_none() { None } else { self.sets.rules[self.dataset_of(item)].as_ref() }
    }
}

impl Indexed<'_> {
    /// Every set of every item, or what is wrong with them. `older`: the older places of all items.
    pub(super) fn set_places(&self) -> Result<SetPlaces, Vec<Problem>> {
        let rules: Vec<_> = self.datasets.iter().map(|dataset| self.spec_of(dataset).set.clone()).collect();
        if rules.iter().all(Option::is_none) {
            return Ok(SetPlaces::default());
        }
        let mut places = SetPlaces { rules, ..SetPlaces::default() };
        let mut problems = Vec::new();
        let of_sets = |dataset: &&ExpectedDataset| self.spec_of(dataset).set.is_some();
        for dataset in self.datasets.iter().filter(of_sets) {
            problems.extend(self.add_sets(dataset, &mut places));
        }
        self.datasets.iter().filter(of_sets).for_each(|dataset| problems.extend(self.shared_sets(dataset, &places)));
        self.datasets.iter().filter(|dataset| !of_sets(dataset)).for_each(|dataset| problems.extend(self.claimed(dataset, &places)));
        if problems.is_empty() { Ok(places) } else { Err(problems) }
    }

    fn add_sets(&self, dataset: &ExpectedDataset, places: &mut SetPlaces) -> Vec<Problem> {
        let spec = self.spec_of(dataset);
        let Some(rule) = &spec.set else { return Vec::new() };
        let mut wrong = Wrong::default();
        let (mut key, mut other) = (String::new(), String::new());
        let begin_hash = |item: &u32| {
            let mut key = String::new();
            self.key_of(*item, &mut key);
            self.keys.hasher.hash_one(key.split('*').next().unwrap_or_default())
        };
        let marker_hash = |item: &u32| {
            let mut key = String::new();
            let rule = places.rules[self.key_of(*item, &mut key)].as_ref();
            self.keys.hasher.hash_one(rule.and_then(|rule| SetPlace::of(&key, rule)?.marker()).unwrap_or_default())
        };
        for item in dataset.items.clone() {
            key.clear();
            self.key_of(item, &mut key);
            let place = SetPlace::of(&key, rule).filter(|place| !place.after().contains('*'));
            let Some(place) = place else {
                wrong.add(|| {
                    let message = format!("dataset `{}`: the key `{key}` of {} has more than one `*`", spec.name, self.described(item));
                    Problem::error(&spec.key_at, message).hint("no value may have a `*` where one stands for the names of parts")
                });
                continue;
            };
            let length = place.before().len() - place.folder().len();
            places.lengths = Some(match places.lengths.take() {
                None => length..=length,
                Some(known) => length.min(*known.start())..=length.max(*known.end()),
            });
            places.by_begin.insert_unique(self.keys.hasher.hash_one(place.before()), item, begin_hash);
            let Some(marker) = place.marker() else { continue };
            let same = |taken: &u32| {
                other.clear();
                let rule = places.rules[self.key_of(*taken, &mut other)].as_ref();
                rule.and_then(|rule| SetPlace::of(&other, rule)?.marker()).as_deref() == Some(&*marker)
            };
            match places.by_marker.entry(self.keys.hasher.hash_one(marker.as_str()), same, marker_hash) {
                hashbrown::hash_table::Entry::Vacant(free) => drop(free.insert(item)),
                hashbrown::hash_table::Entry::Occupied(taken) => wrong.add(|| {
                    let whose = self.whose(*taken.get(), dataset);
                    let message =
                        format!("dataset `{}`: the marker `{marker}` of {} is that {whose}, too", spec.name, self.described(item));
                    Problem::error(&spec.key_at, message).hint("it lies beside the parts: give each item a folder of its own")
                }),
            }
        }
        wrong.into_result(()).err().unwrap_or_default()
    }

    /// Sets of this dataset that another one could claim an object of.
    fn shared_sets(&self, dataset: &ExpectedDataset, places: &SetPlaces) -> Vec<Problem> {
        let spec = self.spec_of(dataset);
        let (Some(rule), Some(lengths)) = (&spec.set, &places.lengths) else { return Vec::new() };
        let mut wrong = Wrong::default();
        let (mut key, mut other) = (String::new(), String::new());
        for item in dataset.items.clone() {
            key.clear();
            self.key_of(item, &mut key);
            let Some(place) = SetPlace::of(&key, rule) else { continue };
            for length in lengths.clone() {
                // What begins alike is found from the one whose text before the `*` is longer.
                let Some(begin) = place.before().get(..place.folder().len() + length) else { continue };
                for taken in places.by_begin.iter_hash(self.keys.hasher.hash_one(begin)).filter(|taken| **taken != item) {
                    other.clear();
                    let Some(rule) = places.rules[self.key_of(*taken, &mut other)].as_ref() else { continue };
                    let common = SetPlace::of(&other, rule).and_then(|other| place.in_common(&other));
                    if let Some(common) = common.filter(|_| begin.len() < place.before().len() || *taken < item) {
                        wrong.add(|| {
                            let (own, whose) = (self.described(item), self.whose(*taken, dataset));
                            let message =
                                format!("dataset `{}`: `{common}` could be a part of the set of {own}, and of that {whose}", spec.name);
                            Problem::error(&spec.key_at, message).hint("give each item a folder of its own")
                        });
                    }
                }
            }
            let Some(marker) = place.marker() else { continue };
            if place.member(&marker) == Some(Member::Marker)
                && SetPlace::of(&key, &SetRule::default()).is_some_and(|of| of.member(&marker).is_some())
            {
                wrong.add(|| {
                    let message = format!("dataset `{}`: `done`: the marker `{marker}` is itself a part of its set", spec.name);
                    Problem::error(&spec.key_at, message).hint("begin the names of parts otherwise: `part-*`")
                });
                continue;
            }
            let is_claimed = |taken: &&u32| {
                let mut other = String::new();
                let rule = &places.rules[self.key_of(**taken, &mut other)];
                rule.is_some() && SetPlace::of(&other, &SetRule::default()).is_some_and(|of| of.member(&marker).is_some())
            };
            let begins = lengths.clone().filter_map(|length| marker.get(..place.folder().len() + length));
            let claimed = begins.flat_map(|begin| places.by_begin.iter_hash(self.keys.hasher.hash_one(begin))).find(is_claimed);
            if let Some(taken) = claimed {
                wrong.add(|| {
                    let (own, whose) = (self.described(item), self.whose(*taken, dataset));
                    let message = format!("dataset `{}`: the marker `{marker}` of {own} could be a part of the set {whose}", spec.name);
                    Problem::error(&spec.key_at, message).hint("take another name for one of them")
                });
            }
        }
        wrong.into_result(()).err().unwrap_or_default()
    }

    /// Items of one object each whose place is in a set of another dataset.
    fn claimed(&self, dataset: &ExpectedDataset, places: &SetPlaces) -> Vec<Problem> {
        let spec = self.spec_of(dataset);
        let meet = |a: &str, b: &str| a.starts_with(b) || b.starts_with(a);
        let sets = self.datasets.iter().map(|other| self.spec_of(other)).filter(|other| other.set.is_some());
        let meets = |other: &Dataset| other.literal_prefixes().any(|theirs| spec.literal_prefixes().any(|ours| meet(ours, theirs)));
        if !sets.into_iter().any(meets) {
            return Vec::new();
        }
        let spots: Vec<(Spot, &Place)> = std::iter::once((Spot::Key, &spec.key_at))
            .chain((0u8..).zip(&spec.also).map(|(which, also)| (Spot::Older(which), &also.at)))
            .collect();
        let mut wrong = Wrong::default();
        let mut key = String::new();
        for item in dataset.items.clone() {
            for (spot, at) in &spots {
                key.clear();
                self.write(item, *spot, &mut key);
                let Some((taken, member)) = places.find(&key, &self.keys.hasher, &|item, key| self.key_of(item, key)) else { continue };
                wrong.add(|| {
                    let what = if member == Member::Part { "a part" } else { "the marker" };
                    let (own, whose) = (self.described(item), self.whose(taken, dataset));
                    let message = format!("dataset `{}`: `{key}`, a place of {own}, is {what} of the set {whose}", spec.name);
                    Problem::error(at, message).hint("give each dataset a prefix of its own")
                });
            }
        }
        wrong.into_result(()).err().unwrap_or_default()
    }

    fn spec_of(&self, dataset: &ExpectedDataset) -> &Dataset {
        &self.spec.datasets[dataset.name()]
    }

    /// Appends its key; the place of its dataset.
    fn key_of(&self, item: u32, key: &mut String) -> usize {
        self.write(item, Spot::Key, key);
        self.datasets.partition_point(|dataset| dataset.items.end <= item)
    }

    fn described(&self, item: u32) -> String {
        let dataset = self.dataset_of(item);
        describe(&Across::new(self.dimensions, &dataset.dimensions), &dataset.digits(ItemIx(item)))
    }

    fn whose(&self, item: u32, beside: &ExpectedDataset) -> String {
        match self.dataset_of(item).name() {
            name if name == beside.name() => format!("of {}", self.described(item)),
            name => format!("of {} of dataset `{name}`", self.described(item)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::coverage::sample::{Files, Sample, at};
    use crate::coverage::{Found, Observation, Sight};
    use crate::object::Object;
    use crate::sets::SetSight;

    fn with_sets(mut sample: Sample, sets: &[(&str, Option<&str>)]) -> Sample {
        for (dataset, done) in sets {
            sample.spec.datasets[*dataset].set = Some(SetRule { done: done.map(str::to_owned) });
        }
        sample
    }

    fn sample() -> Sample {
        Sample::new(Files::default()).list("n", &["1", "11"])
    }

    #[test]
    fn a_part_and_a_marker_find_their_set() {
        let sample = sample().dataset("d", "d/{n}/part-*.csv", &["n"]).dataset("e", "e/{n}-*", &["n"]).dataset("f", "f/{n}", &["n"]);
        let expected = with_sets(sample, &[("d", Some("ok")), ("e", None)]).expand("2024-12-01T00:00:00Z").unwrap();
        let found = |key: &str| expected.find_in_set(key).map(|(item, member)| (expected.describe(item), member));
        let of = |n: &str, member| Some((format!("n={n}"), member));
        assert_eq!(found("d/11/part-a.csv"), of("11", Member::Part));
        assert_eq!(
            (found("d/1/ok"), found("e/1-x"), found("e/11-")),
            (of("1", Member::Marker), of("1", Member::Part), of("11", Member::Part))
        );
        for none in ["d/2/part-a.csv", "d/1/part-a.tsv", "d/ok", "e/1", "e/1-x/y", "f/1", "f/1-x", "", "/"] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(expected.prefixes(), ["d/", "e/", "f/"]);
        assert_eq!(
            expected.find("d/1/part-*.csv"),
            expected.find_in_set("d/1/part-9.csv").map(|(item, _)| item),
            "people name a set by its pattern"
        );
    }

    #[test]
    fn the_prefix_of_a_set_without_folders_of_its_own_has_its_marker_too() {
        let sample = Sample::new(Files::default()).list("n", &["1"]).dataset("d", "d/all-{n}-*", &["n"]).dataset("e", "e-*", &["n"]);
        let sample = with_sets(sample, &[("d", Some("ok")), ("e", Some("_OK"))]);
        assert_eq!(sample.expand("2024-12-01T00:00:00Z").unwrap().prefixes(), [""]);
        let alone = Sample::new(Files::default()).list("n", &["1"]).dataset("d", "d/all-{n}-*", &["n"]);
        assert_eq!(with_sets(alone, &[("d", Some("ok"))]).expand("2024-12-01T00:00:00Z").unwrap().prefixes(), ["d/"]);
    }

    #[test]
    fn what_a_listing_that_failed_has_shown_of_a_set_may_be_any_part_of_it() {
        let expected = with_sets(sample().dataset("d", "d/{n}/*", &["n"]), &[("d", None)]);
        let (sample, expected) = (&expected, expected.expand("2024-12-01T00:00:00Z").unwrap());
        let last_modified = at("2024-11-30T00:00:00Z");
        let part = |key: &str| Object { key: key.into(), size: 6, last_modified, etag: "e".into() };
        let seen = |is_whole: bool| {
            let mut look = Observation::new(&expected, &sample.spec);
            look.begin("d/", at("2024-12-01T00:00:00Z"));
            look.object(&part("d/1/a"));
            if is_whole {
                look.prefix_complete("d/")
            } else {
                look.prefix_failed("d/")
            }
            look.finish()
        };
        let item = expected.find("d/1/*").unwrap();
        assert!(matches!(seen(true).sight(item), Sight::There(found) if found.size == 6));
        let mut partial = seen(false);
        assert_eq!(partial.sight(item), Sight::NotSeen);
        partial.saw(item, Some(&part("d/1/*")));
        assert!(matches!(partial.sight(item), Sight::There(_)), "somebody has looked at the whole of it since");
    }

    #[test]
    fn what_two_items_could_claim_is_refused() {
        let problems = |d: &str, e: &str, sets: &[(&str, Option<&str>)]| {
            with_sets(sample().dataset("d", d, &["n"]).dataset("e", e, &["n"]), sets).problems()
        };
        let both = [("d", None), ("e", None)];
        assert_eq!(
            problems("d/{n}*", "e/{n}/*", &both),
            "adce.yaml (key of d):1: dataset `d`: `d/11` could be a part of the set of n=11, and of that of n=1 (hint: give each item a folder \
             of its own)"
        );
        let text = problems("d/{n}/*.csv", "d/{n}/part-*", &both);
        assert!(
            text.contains("dataset `e`: `d/1/part-.csv` could be a part of the set of n=1, and of that of n=1 of dataset `d`"),
            "{text}"
        );
        let text = problems("d/{n}/part-*", "d/{n}/part-7", &[("d", None)]);
        assert!(text.contains("dataset `e`: `d/1/part-7`, a place of n=1, is a part of the set of n=1 of dataset `d`"), "{text}");
        let text = problems("d/{n}/part-*", "d/{n}/ok", &[("d", Some("ok"))]);
        assert!(text.contains("dataset `e`: `d/1/ok`, a place of n=1, is the marker of the set of n=1 of dataset `d`"), "{text}");
        let text = problems("d/{n}-*", "e/{n}", &[("d", Some("ok"))]);
        assert!(text.contains("dataset `d`: the marker `d/ok` of n=11 is that of n=1, too"), "{text}");
        let text = problems("d/{n}/*", "e/{n}", &[("d", Some("ok"))]);
        assert!(text.contains("dataset `d`: `done`: the marker `d/1/ok` is itself a part of its set"), "{text}");
        let text = problems("d/{n}/a-*", "d/{n}/o*", &[("d", Some("ok")), ("e", None)]);
        assert!(text.contains("the marker `d/1/ok` of n=1 could be a part of the set of n=1 of dataset `e`"), "{text}");
        let starred = Sample::new(Files::default()).list("n", &["a*"]).dataset("d", "d/{n}/*", &["n"]);
        let text = with_sets(starred, &[("d", None)]).problems();
        assert!(text.contains("dataset `d`: the key `d/a*/*` of n=a* has more than one `*`"), "{text}");
    }

    /// Datasets over `n`, some of them sets: key and marker.
    fn datasets() -> impl Strategy<Value = Vec<(String, Option<Option<String>>)>> {
        let set = ("x?/?\\{n\\}/?[ab]?\\*[ab]?", proptest::option::of("[ab]{1,2}")).prop_map(|(key, done)| (key, Some(done)));
        let one = "x?/?\\{n\\}/?[ab]{0,2}".prop_filter("a key ends", |key| !key.ends_with('/')).prop_map(|key| (key, None));
        proptest::collection::vec(prop_oneof![3 => set, 1 => one], 1..4)
    }

    fn sample_of(datasets: &[(String, Option<Option<String>>)]) -> Sample {
        let mut sample = Sample::new(Files::default()).list("n", &["a", "ab", "b"]);
        for (at, (key, set)) in datasets.iter().enumerate() {
            let name = format!("d{at}");
            sample = sample.dataset(&name, key, &["n"]);
            sample.spec.datasets[&name].set = set.clone().map(|done| SetRule { done });
        }
        sample
    }

    /// All places that a key could be, by reading the rules as they are written.
    fn claims(datasets: &[(String, Option<Option<String>>)], key: &str) -> Vec<(usize, &'static str, Option<Member>)> {
        let mut claims = Vec::new();
        for (at, (template, set)) in datasets.iter().enumerate() {
            for n in ["a", "ab", "b"] {
                let own = template.replace("{n}", n);
                match set {
                    None => claims.extend((own == key).then_some((at, n, None))),
                    Some(done) => {
                        let folder = &own[..own.rfind('/').map_or(0, |at| at + 1)];
                        let is_marker = done.as_ref().is_some_and(|done| format!("{folder}{done}") == key);
                        claims.extend(is_marker.then_some((at, n, Some(Member::Marker))));
                        let (before, after) = own.split_once('*').unwrap();
                        let fits = key.starts_with(before) && key.ends_with(after) && key.len() >= before.len() + after.len();
                        let is_part = fits && !key[before.len()..key.len() - after.len()].contains('/');
                        claims.extend(is_part.then_some((at, n, Some(Member::Part))));
                    }
                }
            }
        }
        claims
    }

    /// Every text of these letters that a key of such datasets can be.
    fn keys() -> Vec<String> {
        let mut keys = vec![String::new()];
        let mut from = 0;
        for _ in 0..5 {
            let until = keys.len();
            let longer: Vec<String> =
                keys[from..until].iter().flat_map(|key| ["a", "b", "/"].map(|letter| format!("{key}{letter}"))).collect();
            from = until;
            keys.extend(longer);
        }
        let below = keys.iter().map(|key| format!("x{key}")).collect::<Vec<_>>();
        keys.extend(below);
        keys
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_object_of_a_set_finds_it_and_no_other_does(datasets in datasets()) {
            let sample = sample_of(&datasets);
            let expanded = sample.expand("2024-12-01T00:00:00Z");
            for key in keys() {
                let claims = claims(&datasets, &key);
                let Ok(expected) = &expanded else { continue };
                prop_assert!(claims.len() < 2, "`{key}` is claimed by {claims:?}, and nobody complains");
                let wanted = claims.first().map(|(dataset, n, member)| (format!("d{dataset}"), format!("n={n}"), *member));
                let name = |item: ItemIx| expected.datasets()[expected.dataset_of(item)].name().to_owned();
                let own = expected.find(&key).map(|item| (name(item), expected.describe(item), None));
                let in_set = expected.find_in_set(&key).map(|(item, member)| (name(item), expected.describe(item), Some(member)));
                prop_assert_eq!(own.or(in_set), wanted, "{}", key);
            }
        }

        /// Sets that nothing is wrong with are not refused.
        #[test]
        fn only_what_could_be_claimed_twice_is_refused(datasets in datasets()) {
            let Err(problems) = sample_of(&datasets).expand("2024-12-01T00:00:00Z") else { return Ok(()) };
            // Longer ones need not be tried: two patterns that share an object share a short one.
            let twice = keys().into_iter().find(|key| claims(&datasets, key).len() > 1);
            let too_deep = datasets.iter().any(|(key, _)| key.len() > 9);
            let is_no_key = problems.iter().any(|problem| problem.message.contains("no key for"));
            prop_assert!(twice.is_some() || too_deep || is_no_key, "{problems:#?}");
        }

        #[test]
        fn what_a_look_tells_of_sets_is_what_their_objects_add_up_to(
            datasets in datasets(),
            seen in proptest::collection::btree_map(proptest::sample::select(keys()), (0u64..5, 0i64..9), 0..60),
            order in any::<u64>(),
        ) {
            let sample = sample_of(&datasets);
            let Ok(expected) = sample.expand("2024-12-01T00:00:00Z") else { return Ok(()) };
            let object = |(key, (size, second)): (&String, &(u64, i64))| {
                let last_modified = crate::time::Timestamp::from_second(*second).unwrap();
                Object { key: key.clone(), size: *size, last_modified, etag: format!("{size}-{second}") }
            };
            let mut objects: Vec<Object> = seen.iter().map(object).collect();
            objects.sort_by_key(|object| (blake3::hash(format!("{order}{}", object.key).as_bytes()).as_bytes()[0], object.key.clone()));
            let mut look = Observation::new(&expected, &sample.spec);
            for prefix in expected.prefixes() {
                look.begin(prefix, at("2024-12-01T00:00:00Z"));
                objects.iter().filter(|object| object.key.starts_with(prefix.as_str())).for_each(|object| look.object(object));
                look.prefix_complete(prefix);
            }
            let inventory = look.finish();
            let mut wanted: BTreeMap<(usize, &str), (SetSight, Option<Object>)> = BTreeMap::new();
            let mut unexpected = 0;
            for object in &objects {
                match claims(&datasets, &object.key).first() {
                    Some((dataset, n, Some(member))) => wanted.entry((*dataset, n)).or_default().0.add(*member, object),
                    Some((dataset, n, None)) => wanted.entry((*dataset, n)).or_default().1 = Some(object.clone()),
                    None => unexpected += u64::from(expected.prefixes().iter().any(|prefix| object.key.starts_with(prefix.as_str()))),
                }
            }
            for item in expected.items() {
                let (dataset, described) = (expected.dataset_of(item), expected.describe(item));
                let n = ["a", "ab", "b"].into_iter().find(|n| described == format!("n={n}")).unwrap();
                let (sight, single) = wanted.remove(&(dataset, n)).unwrap_or_default();
                let there = match &datasets[dataset].1 {
                    Some(done) => sight.object("", &SetRule { done: done.clone() }),
                    None => single,
                };
                let there = there.map(|object| Found {
                    size: object.size,
                    last_modified: object.last_modified,
                    etag: crate::coverage::EtagDigest::of(&object.etag),
                });
                let found = match inventory.sight(item) {
                    Sight::There(found) => Some(found),
                    _ => None,
                };
                prop_assert_eq!(found, there, "{}", described);
            }
            let told: u64 = (0..datasets.len()).map(|dataset| inventory.unexpected(dataset).objects).sum();
            prop_assert_eq!(told, unexpected);
        }
    }
}
