//! What a report says, beside what is known that is later than it.
//!
//! A report is one or two days old when the next one comes, and adce works all the time. Taken as it is, it would open the
//! gap of everything that was filled since, at each look anew. So what is on record of an item outranks a report that is
//! older than the record, and where the record alone does not tell what lies there now, somebody looks
//! (`a_report_never_reopens_what_was_filled_since`).
//!
//! A report also leaves things out without saying so: its configuration may have a prefix, which stands nowhere in it. All
//! keys that it shows begin with that prefix, so a key that begins with all that they have in common cannot have been left
//! out (`a_report_is_believed_only_where_its_filter_cannot_have_hidden_anything`).

use std::collections::{HashMap, HashSet};

use super::expected::{Expected, ExpectedDataset, ItemIx};
use super::inventory::Inventory;
use super::picture::Picture;
use super::state::{EtagDigest, Found, Sight};
use crate::ids::ItemId;
use crate::object::Object;
use crate::record::ItemRecord;
use crate::report::ReportHead;
use crate::spec::{Dataset, Freshness, Spec};
use crate::time::{SignedDuration, Timestamp};

/// An inventory is a rolling picture: what changed so shortly before it was begun may not be in it.
pub const REPORT_SETTLES: SignedDuration = SignedDuration::from_hours(24);

/// A weekly one and a day. An older one says that deliveries have ended, and not what lies there.
const OLDEST: SignedDuration = SignedDuration::from_hours(8 * 24);

/// Why a report's date alone makes it no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aged {
    TooOld,
    /// A later listing is in force already: knowledge never goes back.
    ListedSince,
}

/// Which prefixes a report is the whole truth of.
pub struct Covers<'a> {
    pub head: &'a ReportHead,
    pub spec: &'a Spec,
    pub expected: &'a Expected,
    /// The picture in force.
    pub accepted: Option<&'a Picture>,
}

impl Covers<'_> {
    /// Whether it is worth reading at all.
    pub fn any(&self, now: Timestamp) -> Result<(), Aged> {
        if now.duration_since(self.head.created) > OLDEST {
            return Err(Aged::TooOld);
        }
        match self.expected.prefixes().iter().any(|prefix| self.is_news_of(prefix)) {
            true => Ok(()),
            false => Err(Aged::ListedSince),
        }
    }

    /// `seen`: what it shows. `common`: what all its keys begin with, as the bucket knows them; `None`: it has none. `lake`: what the
    /// lake's own keys begin with.
    pub fn is_whole(&self, prefix: &str, seen: &Inventory, lake: &str, common: Option<&str>) -> bool {
        let hides_nothing = |common: &str| format!("{lake}{prefix}").starts_with(common) || self.would_show_all(prefix, seen, lake, common);
        self.is_news_of(prefix) && self.tells_enough_of(prefix) && common.is_some_and(hides_nothing)
    }

    /// Whatever filter there was is a beginning of `common`, so a key that begins with that passed it.
    fn would_show_all(&self, prefix: &str, seen: &Inventory, lake: &str, common: &str) -> bool {
        let Some(common) = common.strip_prefix(lake) else { return false };
        let mut key = String::new();
        let mut would_show = |item: ItemIx| {
            key.clear();
            self.expected.key(item, &mut key);
            key.starts_with(common)
        };
        let under = |of: &&ExpectedDataset| self.spec.datasets[of.name()].literal_prefixes().any(|literal| literal.starts_with(prefix));
        let items = self.expected.datasets().iter().filter(under).flat_map(ExpectedDataset::items);
        items.filter(|item| !matches!(seen.sight(*item), Sight::There(_))).all(&mut would_show)
    }

    fn is_news_of(&self, prefix: &str) -> bool {
        let listed_at = |dataset: &Dataset| self.accepted?.listed_at(&dataset.name);
        self.datasets_under(prefix).all(|dataset| listed_at(dataset).is_none_or(|listed_at| listed_at <= self.head.created))
    }

    /// Without dates nobody knows how fresh an object is, and without ETags none can be replaced for certain.
    fn tells_enough_of(&self, prefix: &str) -> bool {
        let tells_all = self.head.tells_modified && self.head.tells_etag;
        // Of an item with older places a report would have to tell all of them or none, and of a set all parts of one moment.
        let mut datasets = self.datasets_under(prefix);
        datasets.all(|dataset| (tells_all || !dataset.grows_stale()) && dataset.also.is_empty() && dataset.set.is_none())
    }

    fn datasets_under<'b>(&'b self, prefix: &'b str) -> impl Iterator<Item = &'b Dataset> {
        self.spec.datasets.values().filter(move |dataset| dataset.literal_prefixes().any(|literal| literal.starts_with(prefix)))
    }
}

/// Records that may know more than any report that [`Covers`] lets pass: those of attempts later than `accepted`, and those of
/// suspects.
pub fn later_than(accepted: Option<&Picture>, records: &HashMap<ItemId, ItemRecord>) -> HashMap<ItemId, ItemRecord> {
    let oldest = accepted.and_then(|picture| picture.listed_at.values().map(|at| at.unwrap_or(Timestamp::MIN)).min());
    let from = oldest.and_then(|at| at.checked_sub(REPORT_SETTLES).ok()).unwrap_or(Timestamp::MIN);
    let is_later = |record: &ItemRecord| record.confirmed.is_some_and(|at| at > from) || record.suspect_etag.is_some();
    records.iter().filter(|(_, record)| is_later(record)).map(|(item, record)| (*item, record.clone())).collect()
}

/// Items whose objects somebody must look at, because the report cannot know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookAgain {
    /// An attempt knows them otherwise than the report does. Until somebody looked, they are what they were before.
    pub known_otherwise: Vec<ItemIx>,
    /// They fell due about when the report was made, or since, and it does not have them.
    pub due_since: Vec<ItemIx>,
}

/// Lays what is on record over what a report has shown; `reported`: the prefixes of which it is the whole truth.
pub fn look_again(
    spec: &Spec,
    expected: &Expected,
    inventory: &mut Inventory,
    head: &ReportHead,
    reported: &[String],
    later: &HashMap<ItemId, ItemRecord>,
    now: Timestamp,
) -> LookAgain {
    let settled = head.created.checked_sub(REPORT_SETTLES).unwrap_or(Timestamp::MIN);
    let suspects = later.values().any(|record| record.suspect_etag.is_some());
    let mut again = LookAgain::default();
    for of in expected.datasets() {
        let dataset = &spec.datasets[of.name()];
        if !reported.iter().any(|prefix| dataset.literal_prefixes().any(|literal| literal.starts_with(prefix.as_str()))) {
            continue;
        }
        let least = spec.least_bytes(dataset);
        for item in of.items() {
            let sight = inventory.sight(item);
            // Ids are digests: they are worked out only where a record could make a difference.
            let matters = match sight {
                Sight::NotThere => !later.is_empty(),
                Sight::There(found) => {
                    suspects || (!later.is_empty() && (found.size < least || may_be_stale(dataset, found.last_modified, now)))
                }
                Sight::NotSeen => false,
            };
            let record = if matters { later.get(&expected.id(item)) } else { None };
            let confirmed = record.and_then(|record| record.confirmed);
            match (sight, confirmed) {
                (Sight::NotThere, Some(at)) if at > head.created && !may_be_stale(dataset, at, now) => inventory.put_there(item, at),
                (Sight::NotThere, Some(at)) if at > settled => again.known_otherwise.push(item),
                (Sight::NotThere, _) if fell_due_within(expected, dataset, item, settled, now) => again.due_since.push(item),
                (Sight::There(found), _) if is_known_otherwise(dataset, head, record, found, least, settled, now) => {
                    again.known_otherwise.push(item);
                }
                _ => {}
            }
        }
    }
    again
}

/// What lay at an item's places when somebody asked the lake, between two full looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub asked: Timestamp,
    /// `None`: nothing.
    pub object: Option<Object>,
}

impl Seen {
    /// It is later than what was begun then.
    pub fn outranks(&self, begun: Timestamp) -> bool {
        self.asked > begun
    }

    /// Both may be true at their time, and this one is the later.
    fn differs(&self, sight: Sight, grows_stale: bool) -> bool {
        match (sight, &self.object) {
            (Sight::NotThere, seen) => seen.is_some(),
            (Sight::There(found), None) => found.last_modified <= self.asked,
            (Sight::There(found), Some(object)) => found.last_modified < object.last_modified && (grows_stale || found.size != object.size),
            (Sight::NotSeen, _) => false,
        }
    }
}

/// What is left of a report where somebody has looked since it was begun, or shortly before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenSince {
    /// They are what was seen.
    pub outranked: HashSet<ItemIx>,
    /// The report was about to be begun and shows something else. Until somebody looked, nobody knows.
    pub in_doubt: Vec<ItemIx>,
}

/// Lays what the lake has answered over what a report has shown; `reported`: the prefixes of which it is the whole truth.
pub fn seen_since(
    spec: &Spec,
    expected: &Expected,
    inventory: &mut Inventory,
    head: &ReportHead,
    reported: &[String],
    seen: &HashMap<String, Seen>,
) -> SeenSince {
    let settled = head.created.checked_sub(REPORT_SETTLES).unwrap_or(Timestamp::MIN);
    let mut since = SeenSince::default();
    for (key, seen) in seen.iter().filter(|(_, seen)| seen.outranks(settled)) {
        let Some(item) = expected.find(key) else { continue };
        let dataset = &spec.datasets[expected.datasets()[expected.dataset_of(item)].name()];
        if !dataset.literal_prefixes().any(|literal| reported.iter().any(|prefix| literal.starts_with(prefix.as_str()))) {
            continue;
        }
        if seen.outranks(head.created) {
            inventory.saw_first_of_all(expected, item, seen.object.as_ref());
            since.outranked.insert(item);
        } else if seen.differs(inventory.sight(item), dataset.grows_stale()) {
            since.in_doubt.push(item);
        }
    }
    since.in_doubt.sort_unstable();
    since
}

/// An item without a rule, or with one that has no answer, is what the report says; whoever judges it says what is wrong.
fn fell_due_within(expected: &Expected, dataset: &Dataset, item: ItemIx, from: Timestamp, now: Timestamp) -> bool {
    let due = dataset.due.as_ref().and_then(|due| due.instant(&expected.scope(item, now)).ok().flatten());
    due.is_some_and(|due| due > from && due <= now)
}

/// The object that the report shows may not be the one that is there, and it matters which one is.
fn is_known_otherwise(
    dataset: &Dataset,
    head: &ReportHead,
    record: Option<&ItemRecord>,
    found: Found,
    least: u64,
    settled: Timestamp,
    now: Timestamp,
) -> bool {
    let is_small = found.size < least;
    let suspect = record.filter(|record| !record.is_in_doubt()).and_then(|record| record.suspect_etag.as_deref());
    let was_suspected = suspect.is_some_and(|etag| !head.tells_etag || EtagDigest::of(etag) != found.etag);
    let confirmed = record.and_then(|record| record.confirmed).filter(|at| *at > settled && *at >= found.last_modified);
    let is_stale = confirmed.is_some_and(|at| may_be_stale(dataset, at, now));
    was_suspected || (is_small && (confirmed.is_some() || !head.tells_etag)) || is_stale
}

/// If it is, an attempt will replace just the object that is there, so its ETag must be known.
fn may_be_stale(dataset: &Dataset, confirmed: Timestamp, now: Timestamp) -> bool {
    match &dataset.fresh {
        // By what it is made from.
        None => !dataset.needs.is_empty(),
        Some(Freshness::Within { within, .. }) => now.duration_since(confirmed) > *within,
        Some(Freshness::At(_)) => true,
    }
}

#[cfg(test)]
mod tests;
