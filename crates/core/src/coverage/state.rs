//! Where one item stands, from everything that is known about it. All precedence and all freshness of adce is here.
//!
//! Without one place for it, the listing, the check after an attempt and the screen would each have their own idea of
//! what is missing, and a gap could be opened by one and closed by another for ever.
//!
//! Always true: the first state that applies wins, in the order of [`state_of`]; an object outranks an absence
//! (`states_follow_their_precedence`); past `until` an item is stale at most until it was confirmed once more
//! (`the_final_version_is_fetched_once_more`).

use std::hash::{BuildHasher, Hasher};

use crate::gap::{ItemState, Reason};
use crate::record::ItemRecord;
use crate::time::{SignedDuration, Timestamp};

/// When an item is expected to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The dataset has no `due`.
    AtOnce,
    At(Timestamp),
    /// `due` is null for this item: not due, until its row says otherwise.
    Unset,
    /// What it is made from is not all there.
    Awaits,
}

impl Due {
    pub fn instant(self) -> Option<Timestamp> {
        match self {
            Due::At(at) => Some(at),
            Due::AtOnce | Due::Unset | Due::Awaits => None,
        }
    }
}

/// Until when the current content is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// No rule, or `until` is null for this item: never stale.
    Always,
    Within(SignedDuration),
    WithinUntil(SignedDuration, Timestamp),
    /// Confirmed before the latest of these that has passed is stale.
    At(Instants),
}

/// A few instants, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Instants {
    sorted: [Timestamp; Instants::MOST],
    count: u8,
}

impl Instants {
    /// What a `fresh.at` has at most; an item's facts are worked out anew each time, and need no memory of their own.
    pub const MOST: usize = 8;

    fn as_slice(&self) -> &[Timestamp] {
        &self.sorted[..usize::from(self.count)]
    }
}

impl FromIterator<Timestamp> for Instants {
    fn from_iter<I: IntoIterator<Item = Timestamp>>(instants: I) -> Self {
        let mut all = Instants::default();
        for instant in instants.into_iter().take(Instants::MOST) {
            all.sorted[usize::from(all.count)] = instant;
            all.count += 1;
        }
        all.sorted[..usize::from(all.count)].sort_unstable();
        all
    }
}

/// When an item stops being anybody's concern.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// From then on it has expired.
    pub expires: Option<Timestamp>,
    /// From then on it is older than the dataset's `since`.
    pub leaves: Option<Timestamp>,
}

/// The object at an item's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub size: u64,
    pub last_modified: Timestamp,
    pub etag: EtagDigest,
}

/// What is known of an item's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    There(Found),
    /// A complete listing did not show it, or a HEAD said so.
    NotThere,
    /// Its part of the listing failed.
    NotSeen,
}

/// Stands for an ETag in memory; two different ones of one key are taken for equal once in 2^32, and then an object that was
/// suspect and is replaced by one of the same digest is collected once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EtagDigest(u32);

impl EtagDigest {
    /// The same in every process: it is compared with what is on record.
    pub fn of(etag: &str) -> Self {
        let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
        hasher.write(etag.as_bytes());
        EtagDigest(hasher.finish() as u32)
    }

    pub(super) fn bits(self) -> u32 {
        self.0
    }

    pub(super) fn of_bits(bits: u32) -> Self {
        EtagDigest(bits)
    }
}

/// Everything that decides an item's state.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub due: Due,
    pub ends: Ends,
    pub fresh: Fresh,
    /// The date of the newest object that it is made from.
    pub made_from: Option<Timestamp>,
    pub min_size: u64,
    pub sight: Sight,
    pub record: Option<&'a ItemRecord>,
    /// A person knows that upstream does not have it.
    pub known_absent: bool,
    /// The dataset's, now: an absence recorded under another one is void.
    pub fingerprint: u64,
}

/// The first state that applies.
pub fn state_of(facts: &Facts<'_>, now: Timestamp) -> ItemState {
    let has_come = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    if has_come(facts.ends.leaves) {
        return ItemState::OutOfScope;
    }
    match facts.due {
        Due::Unset | Due::Awaits => return ItemState::NotDue,
        Due::At(due) if due > now => return ItemState::NotDue,
        Due::At(_) | Due::AtOnce => {}
    }
    if has_come(facts.ends.expires) {
        return ItemState::Expired;
    }
    match facts.sight {
        Sight::NotSeen => ItemState::Unknown,
        Sight::NotThere if facts.known_absent || is_absent(facts, now) => ItemState::Absent,
        Sight::NotThere => ItemState::Missing,
        Sight::There(found) if is_suspect(facts.record, found) => ItemState::Suspect,
        Sight::There(found) if found.size < facts.min_size => ItemState::Undersized,
        Sight::There(found) if is_stale(facts.fresh, confirmed(facts.record, found), now) => ItemState::Stale,
        Sight::There(found) if facts.made_from.is_some_and(|newest| confirmed(facts.record, found) < newest) => ItemState::Stale,
        Sight::There(_) => ItemState::Present,
    }
}

/// The next instant at which time alone gives the item another state; `None`: it never does.
pub fn changes_at(facts: &Facts<'_>, now: Timestamp) -> Option<Timestamp> {
    let later = |at: Option<Timestamp>| at.filter(|at| *at > now);
    let state = state_of(facts, now);
    let ends = match state {
        ItemState::OutOfScope => return None,
        ItemState::NotDue | ItemState::Expired => later(facts.ends.leaves),
        _ => earliest(later(facts.ends.expires), later(facts.ends.leaves)),
    };
    let within = match state {
        ItemState::NotDue => facts.due.instant(),
        ItemState::Absent if facts.known_absent => None,
        ItemState::Absent => later(facts.record.and_then(|record| record.absent.as_ref()).map(|mark| mark.recheck_at)),
        ItemState::Present => match facts.sight {
            Sight::There(found) => later(stale_from(facts.fresh, confirmed(facts.record, found), now)),
            Sight::NotThere | Sight::NotSeen => None,
        },
        _ => None,
    };
    earliest(within, ends)
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The gap that a state is, if it is one.
pub fn reason_of(state: ItemState) -> Option<Reason> {
    match state {
        ItemState::Missing => Some(Reason::Missing),
        ItemState::Stale => Some(Reason::Stale),
        ItemState::Undersized => Some(Reason::Undersized),
        ItemState::Suspect => Some(Reason::Suspect),
        ItemState::OutOfScope | ItemState::NotDue | ItemState::Expired | ItemState::Present | ItemState::Absent | ItemState::Unknown => {
            None
        }
    }
}

/// The later of the object's date and the last attempt that found it current.
fn confirmed(record: Option<&ItemRecord>, found: Found) -> Timestamp {
    record.and_then(|record| record.confirmed).map_or(found.last_modified, |at| at.max(found.last_modified))
}

fn is_absent(facts: &Facts<'_>, now: Timestamp) -> bool {
    let mark = facts.record.and_then(|record| record.absent.as_ref());
    mark.is_some_and(|mark| mark.fingerprint == facts.fingerprint && mark.recheck_at > now)
}

fn is_suspect(record: Option<&ItemRecord>, found: Found) -> bool {
    if record.is_some_and(ItemRecord::is_in_doubt) {
        return true;
    }
    let etag = record.and_then(|record| record.suspect_etag.as_deref());
    etag.is_some_and(|etag| EtagDigest::of(etag) == found.etag)
}

fn is_stale(fresh: Fresh, confirmed: Timestamp, now: Timestamp) -> bool {
    match fresh {
        Fresh::Always => false,
        Fresh::Within(within) => now.duration_since(confirmed) > within,
        Fresh::WithinUntil(within, until) if now < until => now.duration_since(confirmed) > within,
        // Nobody looked in the last stretch before `until`, so what lies there may not be the final version.
        Fresh::WithinUntil(within, until) => until.duration_since(confirmed) > within,
        Fresh::At(instants) => instants.as_slice().iter().rfind(|at| **at <= now).is_some_and(|passed| confirmed < *passed),
    }
}

/// When a present item will become stale if nothing confirms it.
fn stale_from(fresh: Fresh, confirmed: Timestamp, now: Timestamp) -> Option<Timestamp> {
    // Stale means *longer than* `within`: the first instant is one microsecond on.
    let tick = SignedDuration::from_micros(1);
    let past = |within: SignedDuration| confirmed.checked_add(within).ok()?.checked_add(tick).ok();
    match fresh {
        Fresh::Always => None,
        Fresh::Within(within) => past(within),
        Fresh::WithinUntil(_, until) if now >= until => None,
        Fresh::At(instants) => instants.as_slice().iter().find(|at| **at > now.max(confirmed)).copied(),
        Fresh::WithinUntil(within, until) => past(within).filter(|at| *at < until),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::AbsentMark;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    fn seconds(seconds: i64) -> SignedDuration {
        SignedDuration::from_secs(seconds)
    }

    fn object(size: u64, modified: i64) -> Sight {
        Sight::There(Found { size, last_modified: at(modified), etag: EtagDigest::of("one") })
    }

    const MISSING: Facts<'static> = Facts {
        due: Due::AtOnce,
        ends: Ends { expires: None, leaves: None },
        fresh: Fresh::Always,
        made_from: None,
        min_size: 1,
        sight: Sight::NotThere,
        record: None,
        known_absent: false,
        fingerprint: 7,
    };

    fn absent_until(recheck: i64) -> ItemRecord {
        let mark = AbsentMark { since: at(0), recheck_at: at(recheck), confirmed: 1, fingerprint: 7 };
        ItemRecord { absent: Some(mark), ..ItemRecord::default() }
    }

    #[test]
    fn states_follow_their_precedence() {
        let everything_wrong = ItemRecord { suspect_etag: Some("one".into()), ..absent_until(500) };
        let mut facts = Facts {
            due: Due::At(at(101)),
            fresh: Fresh::Within(seconds(1)),
            sight: object(0, 0),
            record: Some(&everything_wrong),
            ends: Ends { expires: Some(at(100)), leaves: Some(at(100)) },
            ..MISSING
        };
        assert_eq!(state_of(&facts, at(100)), ItemState::OutOfScope);
        facts.ends.leaves = Some(at(101));
        assert_eq!(state_of(&facts, at(100)), ItemState::NotDue);
        facts.due = Due::Unset;
        assert_eq!(state_of(&facts, at(100)), ItemState::NotDue);
        facts.due = Due::At(at(100));
        assert_eq!(state_of(&facts, at(100)), ItemState::Expired, "whatever lies there");
        facts.ends.expires = Some(at(101));
        assert_eq!(state_of(&facts, at(100)), ItemState::Suspect);
        let absent_only = absent_until(500);
        facts.record = Some(&absent_only);
        assert_eq!(state_of(&facts, at(100)), ItemState::Undersized);
        facts.sight = object(1, 0);
        assert_eq!(state_of(&facts, at(100)), ItemState::Stale);
        facts.fresh = Fresh::Always;
        assert_eq!(state_of(&facts, at(100)), ItemState::Present);
        facts.sight = Sight::NotThere;
        assert_eq!(state_of(&facts, at(100)), ItemState::Absent);
        facts.record = None;
        facts.known_absent = true;
        facts.ends = Ends::default();
        assert_eq!((state_of(&facts, at(100)), changes_at(&facts, at(100))), (ItemState::Absent, None), "and no time changes that");
        facts.sight = object(1, 0);
        assert_eq!(state_of(&facts, at(100)), ItemState::Present);
        facts.sight = Sight::NotThere;
        facts.known_absent = false;
        assert_eq!(state_of(&facts, at(100)), ItemState::Missing);
        facts.sight = Sight::NotSeen;
        assert_eq!(state_of(&facts, at(100)), ItemState::Unknown);
    }

    #[test]
    fn an_absence_holds_until_its_recheck_and_under_its_own_config() {
        let record = absent_until(500);
        let facts = Facts { record: Some(&record), ..MISSING };
        assert_eq!(state_of(&facts, at(499)), ItemState::Absent);
        assert_eq!(state_of(&facts, at(500)), ItemState::Missing);
        assert_eq!(state_of(&Facts { fingerprint: 8, ..facts }, at(499)), ItemState::Missing);
    }

    #[test]
    fn a_replaced_object_is_not_suspect_any_more() {
        let record = ItemRecord { suspect_etag: Some("another".into()), ..ItemRecord::default() };
        let facts = Facts { record: Some(&record), sight: object(5, 0), ..MISSING };
        assert_eq!(state_of(&facts, at(100)), ItemState::Present);
    }

    #[test]
    fn whatever_is_there_is_suspect_while_it_is_in_doubt() {
        let mut record = ItemRecord::default();
        record.put_in_doubt();
        let facts = Facts { record: Some(&record), sight: object(5, 0), ..MISSING };
        assert_eq!(state_of(&facts, at(100)), ItemState::Suspect);
        assert_eq!(state_of(&Facts { sight: Sight::NotThere, ..facts }, at(100)), ItemState::Missing);
    }

    #[test]
    fn the_final_version_is_fetched_once_more() {
        let rule = Fresh::WithinUntil(seconds(24), at(100));
        for (confirmed, now, stale) in [
            (0, 24, false),
            (0, 25, true),
            (75, 99, false),
            // Past `until`: confirmed within the last stretch before it, or at any time after.
            (75, 100, true),
            (76, 100, false),
            (75, 5_000, true),
            (76, 5_000, false),
            (100, 5_000, false),
        ] {
            assert_eq!(is_stale(rule, at(confirmed), at(now)), stale, "confirmed {confirmed}, now {now}");
        }
    }

    #[test]
    fn what_is_older_than_what_it_is_made_from_is_stale() {
        let facts = Facts { made_from: Some(at(50)), sight: object(5, 49), ..MISSING };
        assert_eq!((state_of(&facts, at(100)), changes_at(&facts, at(100))), (ItemState::Stale, None));
        assert_eq!(state_of(&Facts { sight: object(5, 50), ..facts }, at(100)), ItemState::Present);
        let confirmed = ItemRecord { confirmed: Some(at(50)), ..ItemRecord::default() };
        assert_eq!(state_of(&Facts { record: Some(&confirmed), ..facts }, at(100)), ItemState::Present);
        assert_eq!(state_of(&Facts { sight: Sight::NotThere, ..facts }, at(100)), ItemState::Missing);
        assert_eq!(state_of(&Facts { due: Due::Awaits, ..facts }, at(100)), ItemState::NotDue, "whatever lies there");
    }

    #[test]
    fn each_instant_of_fresh_at_asks_for_one_more_confirmation() {
        // In any order.
        let rule = Fresh::At([at(50), at(20)].into_iter().collect());
        for (confirmed, now, stale) in [
            (0, 19, false),
            (0, 20, true),
            (19, 49, true),
            (20, 49, false),
            (20, 50, true),
            (49, 5_000, true),
            (50, 5_000, false),
            // A store whose clock is ahead.
            (60, 55, false),
        ] {
            assert_eq!(is_stale(rule, at(confirmed), at(now)), stale, "confirmed {confirmed}, now {now}");
        }
        assert!(!is_stale(Fresh::At(Instants::default()), at(0), at(9)), "none has passed where there is none");
    }

    #[test]
    fn a_confirmation_counts_like_a_new_object() {
        let record = ItemRecord { confirmed: Some(at(50)), ..ItemRecord::default() };
        let facts = Facts { fresh: Fresh::Within(seconds(10)), sight: object(5, 0), ..MISSING };
        assert_eq!(state_of(&facts, at(60)), ItemState::Stale);
        assert_eq!(state_of(&Facts { record: Some(&record), ..facts }, at(60)), ItemState::Present);
        assert_eq!(state_of(&Facts { record: Some(&record), sight: object(5, 100), ..facts }, at(110)), ItemState::Present);
    }

    fn ends(expires: Option<i64>, leaves: Option<i64>) -> Ends {
        Ends { expires: expires.map(at), leaves: leaves.map(at) }
    }

    #[test]
    fn the_next_change_is_the_first_instant_with_another_state() {
        let absent = absent_until(40);
        for facts in [
            Facts { due: Due::At(at(33)), ..MISSING },
            Facts { due: Due::Unset, ..MISSING },
            Facts { record: Some(&absent), ..MISSING },
            Facts { fresh: Fresh::Within(seconds(20)), sight: object(5, 3), ..MISSING },
            Facts { fresh: Fresh::WithinUntil(seconds(20), at(30)), sight: object(5, 3), ..MISSING },
            Facts { fresh: Fresh::WithinUntil(seconds(20), at(20)), sight: object(5, 3), ..MISSING },
            Facts { fresh: Fresh::WithinUntil(seconds(20), at(24)), sight: object(5, 3), ..MISSING },
            MISSING,
            Facts { fresh: Fresh::At([at(20), at(9)].into_iter().collect()), sight: object(5, 3), ..MISSING },
            Facts { fresh: Fresh::At([at(20), at(9)].into_iter().collect()), sight: object(5, 14), ..MISSING },
            Facts { fresh: Fresh::At([at(9)].into_iter().collect()), sight: object(5, 14), ..MISSING },
            Facts { ends: ends(Some(30), None), ..MISSING },
            Facts { ends: ends(Some(30), Some(40)), sight: object(5, 3), ..MISSING },
            Facts { ends: ends(Some(40), Some(30)), sight: Sight::NotSeen, ..MISSING },
            Facts { ends: ends(Some(30), None), record: Some(&absent), ..MISSING },
            Facts { ends: ends(Some(0), Some(30)), ..MISSING },
            Facts { ends: ends(Some(20), None), due: Due::At(at(33)), ..MISSING },
            Facts { ends: ends(None, Some(20)), due: Due::At(at(33)), ..MISSING },
            Facts { ends: ends(None, Some(0)), ..MISSING },
        ] {
            let before = state_of(&facts, at(1));
            let micros = |offset: i64| at(0) + SignedDuration::from_micros(offset);
            let probes = (1_000_000..60_000_000).step_by(1_000_000).flat_map(|offset| [micros(offset), micros(offset + 1)]);
            let first = probes.filter(|now| *now > at(1)).find(|now| state_of(&facts, *now) != before);
            assert_eq!(changes_at(&facts, at(1)), first, "{facts:?}");
        }
    }
}
