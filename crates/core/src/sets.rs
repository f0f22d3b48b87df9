//! Items that are sets of objects, of which nobody knows the names beforehand: `crm/{customer_id}/dt={day}/part-*.parquet`.
//!
//! Everything else in adce goes on thinking in items with one object each: a set that is there is told as one object at its
//! item's key (the one with the `*`), whose size is that of all parts and whose ETag is another one as soon as any part is. So
//! freshness, suspicion and conditions hold for sets as they do for single objects.
//!
//! Always true: whoever adds up the same objects, in whatever order, tells of the same set
//! (`a_set_is_the_same_in_whatever_order_its_objects_are_seen`); a set without its marker is not there, however many parts are.

use crate::object::Object;
use crate::time::Timestamp;

/// When a dataset's sets are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetRule {
    /// Name of the object beside the parts that is written when all of them are. `None`: a single part is enough.
    pub done: Option<String>,
}

/// What an object is in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    Part,
    Marker,
}

/// Where one item's objects lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetPlace<'a> {
    /// Before the `*`, and behind it.
    before: &'a str,
    after: &'a str,
    done: Option<&'a str>,
}

impl<'a> SetPlace<'a> {
    /// `None`: this is no key of a set.
    pub fn of(key: &'a str, rule: &'a SetRule) -> Option<Self> {
        let (before, after) = key.split_once('*')?;
        Some(SetPlace { before, after, done: rule.done.as_deref() })
    }

    /// What the keys of all parts begin with.
    pub fn before(&self) -> &'a str {
        self.before
    }

    pub fn after(&self) -> &'a str {
        self.after
    }

    /// The one in which all of it lies: empty, or ends in `/`.
    pub fn folder(&self) -> &'a str {
        &self.before[..self.before.rfind('/').map_or(0, |at| at + 1)]
    }

    pub fn marker(&self) -> Option<String> {
        self.done.map(|name| format!("{}{name}", self.folder()))
    }

    /// What an object of this key is in the set, if it belongs to it.
    pub fn member(&self, key: &str) -> Option<Member> {
        if self.done.is_some_and(|done| key.strip_prefix(self.folder()) == Some(done)) {
            return Some(Member::Marker);
        }
        let between = key.strip_prefix(self.before)?.strip_suffix(self.after)?;
        (!between.contains('/')).then_some(Member::Part)
    }

    /// A key that both could claim, if there is one.
    pub fn in_common(&self, other: &SetPlace<'_>) -> Option<String> {
        let longer = |a: &'_ str, b: &'_ str| if a.len() > b.len() { a.to_owned() } else { b.to_owned() };
        let begin = self.before.starts_with(other.before) || other.before.starts_with(self.before);
        let end = self.after.ends_with(other.after) || other.after.ends_with(self.after);
        let one_folder = self.folder() == other.folder();
        (begin && end && one_folder).then(|| longer(self.before, other.before) + &longer(self.after, other.after))
    }
}

/// What was seen of one set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetSight {
    parts: u64,
    size: u64,
    oldest: Option<Timestamp>,
    marked: Option<Timestamp>,
    digest: u128,
}

impl SetSight {
    /// Each object once.
    pub fn add(&mut self, member: Member, object: &Object) {
        let mut hasher = blake3::Hasher::new();
        [object.key.as_str(), object.etag.as_str()].iter().for_each(|text| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        });
        let digest = u128::from_le_bytes(*hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes"));
        // A sum knows no order.
        self.digest = self.digest.wrapping_add(digest);
        match member {
            Member::Marker => self.marked = Some(object.last_modified),
            Member::Part => {
                self.parts += 1;
                self.size = self.size.saturating_add(object.size);
                self.oldest = Some(self.oldest.map_or(object.last_modified, |oldest| oldest.min(object.last_modified)));
            }
        }
    }

    /// The set as one object at its item's key; `None`: it is not there. It is as old as its marker, or else as its oldest part: what
    /// was not written anew is what it was before.
    pub fn object(&self, key: &str, rule: &SetRule) -> Option<Object> {
        let last_modified = if rule.done.is_some() { self.marked } else { self.oldest }?;
        let etag = format!("set-{}-{:032x}", self.parts, self.digest);
        Some(Object { key: key.to_owned(), size: self.size, last_modified, etag })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object(key: &str, size: u64, second: i64) -> Object {
        Object { key: key.into(), size, last_modified: Timestamp::from_second(second).unwrap(), etag: format!("e{size}") }
    }

    fn rule(done: Option<&str>) -> SetRule {
        SetRule { done: done.map(str::to_owned) }
    }

    #[test]
    fn a_set_is_its_parts_in_one_folder_and_its_marker() {
        let rule = rule(Some("_SUCCESS"));
        let place = SetPlace::of("c/dt=1/part-*.csv", &rule).unwrap();
        let member = |key: &str| place.member(key);
        assert_eq!((place.folder(), place.marker().as_deref()), ("c/dt=1/", Some("c/dt=1/_SUCCESS")));
        assert_eq!((member("c/dt=1/part-7.csv"), member("c/dt=1/_SUCCESS")), (Some(Member::Part), Some(Member::Marker)));
        assert_eq!(member("c/dt=1/part-.csv"), Some(Member::Part), "a `*` may stand for nothing");
        for other in ["c/dt=1/part-7.csv.tmp", "c/dt=1/part-x/7.csv", "c/dt=2/_SUCCESS", "c/dt=1/_SUCCESS2", "part-7.csv", ""] {
            assert_eq!(member(other), None, "{other}");
        }
        let overlapping = SetPlace::of("a-*-b", &rule).unwrap();
        assert_eq!((overlapping.member("a-b"), overlapping.member("a--b")), (None, Some(Member::Part)));
    }

    #[test]
    fn without_its_marker_a_set_is_not_there_and_without_a_rule_for_one_a_part_is_enough() {
        let (marked, plain) = (rule(Some("ok")), rule(None));
        let mut sight = SetSight::default();
        assert_eq!((sight.object("k", &marked), sight.object("k", &plain)), (None, None));
        sight.add(Member::Part, &object("p1", 3, 20));
        sight.add(Member::Part, &object("p2", 4, 10));
        assert_eq!(sight.object("k", &marked), None);
        let there = sight.object("k", &plain).unwrap();
        assert_eq!((there.size, there.last_modified.as_second()), (7, 10), "as old as its oldest part");
        sight.add(Member::Marker, &object("ok", 0, 30));
        let there = sight.object("k", &marked).unwrap();
        assert_eq!((there.key.as_str(), there.size, there.last_modified.as_second()), ("k", 7, 30));
        let mut empty = SetSight::default();
        empty.add(Member::Marker, &object("ok", 0, 30));
        assert_eq!(empty.object("k", &marked).unwrap().size, 0, "upstream had nothing");
    }

    fn objects() -> impl Strategy<Value = Vec<(bool, Object)>> {
        let one = (any::<bool>(), "[ab]{1,2}", 0u64..4, 0i64..4);
        proptest::collection::btree_map("[a-c]{1,3}", one, 0..6).prop_map(|all| {
            all.into_iter().map(|(key, (marker, etag, size, second))| (marker, Object { etag, ..object(&key, size, second) })).collect()
        })
    }

    fn sight<'a>(objects: impl Iterator<Item = &'a (bool, Object)>) -> SetSight {
        let mut sight = SetSight::default();
        objects.for_each(|(marker, object)| sight.add(if *marker { Member::Marker } else { Member::Part }, object));
        sight
    }

    proptest! {
        #[test]
        fn a_set_is_the_same_in_whatever_order_its_objects_are_seen(
            objects in objects().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        ) {
            let (one, other) = objects;
            // More than one marker is no set; the date of the last one counts then.
            prop_assume!(one.iter().filter(|(marker, _)| *marker).count() <= 1);
            prop_assert_eq!(sight(one.iter()), sight(other.iter()));
        }

        #[test]
        fn another_object_makes_another_set(
            one in objects(), which in any::<proptest::sample::Index>(), how in 0..5,
        ) {
            prop_assume!(!one.is_empty() && one.iter().filter(|(marker, _)| *marker).count() <= 1);
            let mut other = one.clone();
            let at = which.index(one.len());
            match how {
                0 => other[at].1.etag.push('x'),
                1 => other[at].1.key.push('x'),
                2 => drop(other.remove(at)),
                3 => other.push((false, object("x", 1, 1))),
                // The same objects under each other's names.
                _ => {
                    let next = (at + 1) % one.len();
                    other[at].1.key.clone_from(&one[next].1.key);
                    other[next].1.key.clone_from(&one[at].1.key);
                    prop_assume!(one[at].1.etag != one[next].1.etag && one[at].0 == one[next].0);
                }
            }
            let etag = |all: &[(bool, Object)]| sight(all.iter()).object("k", &rule(None)).map(|set| set.etag);
            prop_assert!(etag(&one) != etag(&other) || etag(&one).is_none(), "{one:?} {other:?}");
        }

        #[test]
        fn two_sets_share_an_object_if_and_only_if_one_is_named(
            a in "[ab]{0,2}\\*[ab]{0,2}", b in "[ab]{0,2}\\*[ab]{0,2}", key in "[ab]{0,6}",
        ) {
            let rule = rule(None);
            let (one, two) = (SetPlace::of(&a, &rule).unwrap(), SetPlace::of(&b, &rule).unwrap());
            let both = |key: &str| one.member(key).is_some() && two.member(key).is_some();
            match one.in_common(&two) {
                Some(common) => prop_assert!(both(&common), "{common}"),
                None => prop_assert!(!both(&key)),
            }
        }
    }
}
