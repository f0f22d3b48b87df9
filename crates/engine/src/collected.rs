//! Rows of tables that lie in objects which adce itself collects: what is new of them is read before anything is expanded.
//!
//! What should exist then follows from what is there, table by table: a table's feeder may itself be for a derived table, which is
//! read first. An object is read when it is another one than before. One that cannot be read keeps the rows that it had, and what
//! follows from it is a lower bound; so does one whose listing failed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use adce_core::coverage::{
    CollectedRows, EtagDigest, Expected, Found, Inventory, ItemIx, KeptRows, Observation, Picture, Sight, TableFiles,
};
use adce_core::ports::{Clock, Lake, LakeError};
use adce_core::sets::{Member, SetPlace};
use adce_core::spec::Spec;
use futures::StreamExt;
use uuid::Uuid;

use crate::cycle::{expand, list_all};
use crate::engine::EngineError;
use crate::once::{Keep, Once};
use crate::sets::members;

/// Objects that are fetched at once.
const READS_AT_ONCE: usize = 16;

type Tables = Arc<dyn TableFiles + Send + Sync>;

/// Everything that was collected of the rows of derived tables is known to `tables` afterwards.
pub(crate) async fn read_rows(
    spec: &Arc<Spec>,
    once: &Once<'_>,
    tables: &Tables,
    accepted: &Option<Picture>,
    clock: &dyn Clock,
) -> Result<(), EngineError> {
    for dimension in in_order(spec) {
        let rows = spec.dimensions[&dimension].rows().expect("it is derived");
        let feeder = Arc::new(only(spec, &rows.dataset));
        // What is wrong with it is told when all is expanded.
        let Ok(expected) = expand(feeder.clone(), tables.clone(), accepted.clone(), clock.now().wall).await else { continue };
        let observation = Mutex::new(Observation::new(&expected, &feeder));
        let prefixes: Vec<&String> = expected.prefixes().iter().collect();
        list_all(&prefixes, once, Keep::All, clock, &observation).await.failed.into_iter().try_for_each(|(_, error)| match error {
            LakeError::Gone(_) => Err(EngineError::Lake(error)),
            _ => Ok(()),
        })?;
        let inventory = observation.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).finish();
        let least = feeder.datasets.values().map(|dataset| feeder.least_bytes(dataset)).max().unwrap_or(1);
        let look = Feeder { rows, expected: &expected, inventory: &inventory, least };
        let kept = look.read(once.lake(), tables.kept_rows(&dimension)).await?;
        tables.keep_rows(&dimension, kept);
    }
    Ok(())
}

/// Derived dimensions, each behind those that its feeder is for.
fn in_order(spec: &Spec) -> Vec<String> {
    let derived: Vec<_> = spec.dimensions.values().filter_map(|dimension| Some((&dimension.name, dimension.rows()?))).collect();
    let mut order: Vec<String> = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while order.len() < derived.len() {
        let is_ready = |rows: &CollectedRows| {
            let of = spec.datasets.get(&rows.dataset).map(|dataset| dataset.dimensions.as_slice()).unwrap_or_default();
            of.iter().all(|name| done.contains(name.as_str()) || !spec.dimensions.get(name).is_some_and(|dimension| dimension.is_derived()))
        };
        // There is no circle: `load` refuses one.
        let Some((name, _)) = derived.iter().find(|(name, rows)| !done.contains(name.as_str()) && is_ready(rows)) else { break };
        done.insert(name);
        order.push((*name).clone());
    }
    order
}

/// The config of one dataset alone.
fn only(spec: &Spec, dataset: &str) -> Spec {
    let mut only = spec.clone();
    only.datasets.retain(|name, _| name == dataset);
    let used: Vec<String> = only.datasets.values().flat_map(|dataset| dataset.dimensions.clone()).collect();
    only.dimensions.retain(|name, _| used.contains(name));
    only
}

/// One look at the objects of a dataset that feeds a table.
struct Feeder<'a> {
    rows: &'a CollectedRows,
    expected: &'a Expected,
    inventory: &'a Inventory,
    least: u64,
}

impl Feeder<'_> {
    async fn read(&self, lake: &dyn Lake, mut before: KeptRows) -> Result<KeptRows, EngineError> {
        let (mut now, mut unknown) = (KeptRows::default(), Vec::new());
        for item in self.expected.items() {
            let mut key = String::new();
            self.expected.write_place(item, self.inventory.spot(item), &mut key);
            let place = self.expected.set_rule(item).and_then(|rule| SetPlace::of(&key, rule));
            match self.inventory.sight(item) {
                Sight::There(found) if let Some(place) = place => match members(lake, &place).await {
                    Ok(there) if found.size >= self.least => {
                        for part in there.parts {
                            let etag = EtagDigest::of(&part.etag);
                            let version = self.rows.version_of(&Found { size: part.size, last_modified: part.last_modified, etag });
                            match before.objects.remove(&part.key) {
                                Some(known) if known.0 == version => drop(now.objects.insert(part.key, known)),
                                known => unknown.push((item, part.key, version, known)),
                            }
                        }
                    }
                    Ok(_) => {}
                    Err(error @ LakeError::Gone(_)) => return Err(EngineError::Lake(error)),
                    Err(error) => {
                        now.objects.extend(known_of(&mut before, &place));
                        now.unread.insert(key, error.to_string());
                    }
                },
                Sight::NotSeen if let Some(place) = place => now.objects.extend(known_of(&mut before, &place)),
                Sight::There(found) if found.size >= self.least => {
                    let version = self.rows.version_of(&found);
                    match before.objects.remove(&key) {
                        Some(known) if known.0 == version => drop(now.objects.insert(key, known)),
                        known => unknown.push((item, key, version, known)),
                    }
                }
                Sight::There(_) | Sight::NotThere => {}
                Sight::NotSeen => now.objects.extend(before.objects.remove_entry(&key)),
            }
        }
        let reads = unknown.into_iter().map(|(item, key, version, known)| async move {
            let read = self.one(lake, item, &key).await;
            (key, version, known, read)
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        while let Some((key, version, known, read)) = reads.next().await {
            match read {
                Ok(rows) => drop(now.objects.insert(key, (version, Arc::new(rows)))),
                Err(Unread::Gone(error)) => return Err(EngineError::Lake(error)),
                Err(Unread::Why(why)) => {
                    now.objects.extend(known.map(|known| (key.clone(), known)));
                    now.unread.insert(key, why);
                }
            }
        }
        Ok(now)
    }

    async fn one(&self, lake: &dyn Lake, item: ItemIx, key: &str) -> Result<Vec<u8>, Unread> {
        let copy = std::env::temp_dir().join(format!("adce-{}", Uuid::now_v7()));
        let fetched = lake.download(key, &copy).await;
        let bytes = std::fs::read(&copy);
        let _ = std::fs::remove_file(&copy);
        match fetched {
            Err(error @ LakeError::Gone(_)) => return Err(Unread::Gone(error)),
            Err(error) => return Err(Unread::Why(error.to_string())),
            Ok(_) => {}
        }
        let bytes = bytes.map_err(|error| Unread::Why(error.to_string()))?;
        self.rows.read(&bytes, &|name| self.expected.value(item, name)).map_err(Unread::Why)
    }
}

/// Rows of all parts of a set.
fn known_of(before: &mut KeptRows, place: &SetPlace<'_>) -> Vec<(String, (u64, Arc<Vec<u8>>))> {
    let parts: Vec<String> = before.objects.keys().filter(|key| place.member(key) == Some(Member::Part)).cloned().collect();
    parts.iter().filter_map(|key| before.objects.remove_entry(key)).collect()
}

enum Unread {
    Gone(LakeError),
    Why(String),
}
