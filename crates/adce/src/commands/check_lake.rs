//! `adce check --lake`: whether the config's keys are those of the lake that is there, and what looking at it costs.
//!
//! Who adopts a lake of ten years gets one letter of a key wrong and has a million gaps. So each dataset is told with the objects
//! that match its items, and of those that match none the place at which the nearest template stops being like them. It asks no upstream,
//! and writes nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use adce_core::coverage::{Sight, Spot, nearest};
use adce_core::figures::{counted, grouped};
use adce_core::object::{Object, Precondition};
use adce_core::ports::{Lake, LakeError, PublishError};
use adce_core::spec::{LakeUrl, Spec};
use adce_engine::{Reporting, look};
use adce_lake::rows::Keeping;
use async_trait::async_trait;
use indexmap::IndexMap;
use serde::Serialize;

use crate::clock::MachineClock;
use crate::failure::Failure;
use crate::screen::Paper;
use crate::screen::table::{Column, NOTHING, Table};
use crate::wiring::tables;

/// Objects of one page of a listing, and so of one request.
const PAGE_OBJECTS: u64 = 1_000;
/// Of 1,000 LIST requests to S3 (us-east-1, 2025); other stores ask other prices.
const DOLLARS_PER_1000_LISTS: f64 = 0.005;
const DAY_SECONDS: u64 = 86_400;
const MONTH_DAYS: u64 = 30;
/// Of each dataset, as lines for people.
const SHOWN_MISSES: usize = 3;

/// What the lake says of the config.
#[derive(Debug, Serialize)]
pub struct LakeReport {
    pub datasets: IndexMap<String, DatasetMatch>,
    /// Prefixes that could not be listed, and why.
    pub not_listed: IndexMap<String, String>,
    pub listing: ListingBill,
}

#[derive(Debug, Serialize)]
pub struct DatasetMatch {
    pub items: u64,
    /// Items of which an object is there.
    pub matched: u64,
    /// Of those, at an older place.
    pub at_older_places: u64,
    /// Objects near its items that are of none.
    pub unexpected: u64,
    /// Of some of those.
    pub near_misses: Vec<NearMiss>,
}

#[derive(Debug, Serialize)]
pub struct NearMiss {
    pub key: String,
    pub dataset: String,
    /// Characters of the key that are as they should be.
    pub fits: usize,
    /// What should follow.
    pub wanted: String,
}

/// What it costs to look at all of the lake, again and again.
#[derive(Debug, Serialize)]
pub struct ListingBill {
    pub prefixes: u64,
    pub requests_per_look: u64,
    pub requests_per_day: u64,
    pub requests_per_month: u64,
    /// `null`: a folder asks no money.
    pub dollars_per_month: Option<f64>,
    pub dollars_per_1000_requests: f64,
}

pub async fn of(spec: Arc<Spec>) -> Result<LakeReport, Failure> {
    let lake = Counted { lake: adce_lake::open(&spec.lake)?, requests: AtomicU64::new(0) };
    let files = Arc::new(tables(&spec, Keeping::InMemory));
    let look = look(spec.clone(), &lake, files, None, Reporting::default(), &MachineClock).await?;
    let (expected, inventory) = (&look.expected, &look.inventory);
    let datasets = expected.datasets().iter().enumerate().map(|(at, dataset)| {
        let there = dataset.items().filter(|item| matches!(inventory.sight(*item), Sight::There(_)));
        let (mut matched, mut at_older_places) = (0, 0);
        there.for_each(|item| {
            matched += 1;
            at_older_places += u64::from(inventory.spot(item) != Spot::Key);
        });
        let unexpected = inventory.unexpected(at);
        let miss = |key: &String| {
            let miss = nearest(expected, &spec, key)?;
            let fits = key[..miss.at].chars().count();
            Some(NearMiss { key: key.clone(), dataset: miss.dataset, fits, wanted: miss.wanted.to_string() })
        };
        let found = DatasetMatch {
            items: dataset.len() as u64,
            matched,
            at_older_places,
            unexpected: unexpected.objects,
            near_misses: unexpected.sample.iter().filter_map(miss).collect(),
        };
        (dataset.name().to_owned(), found)
    });
    let datasets = datasets.collect();
    let requests = lake.requests.load(Ordering::Relaxed);
    let listing = ListingBill::of(&spec, expected.prefixes().len() as u64, requests);
    Ok(LakeReport {
        datasets,
        not_listed: look.not_listed.into_iter().map(|(prefix, error)| (prefix, error.to_string())).collect(),
        listing,
    })
}

impl ListingBill {
    fn of(spec: &Spec, prefixes: u64, requests: u64) -> ListingBill {
        let looks_a_day = DAY_SECONDS / spec.engine.reconcile_every.as_secs().max(1);
        let a_day = requests * looks_a_day.max(1);
        let a_month = a_day * MONTH_DAYS;
        let asks_money = matches!(spec.lake, LakeUrl::S3 { .. });
        ListingBill {
            prefixes,
            requests_per_look: requests,
            requests_per_day: a_day,
            requests_per_month: a_month,
            dollars_per_month: asks_money.then(|| a_month as f64 / 1_000.0 * DOLLARS_PER_1000_LISTS),
            dollars_per_1000_requests: DOLLARS_PER_1000_LISTS,
        }
    }

    fn line(&self) -> String {
        let prefixes = if self.prefixes == 1 { "1 prefix".into() } else { format!("{} prefixes", grouped(self.prefixes)) };
        let look = format!("a look lists {prefixes} with {}", counted(self.requests_per_look, "request"));
        let Some(dollars) = self.dollars_per_month else { return format!("{look}, at no price: the lake is a folder") };
        format!(
            "{look}: {} a day, {} a month, ${dollars:.2} a month at ${DOLLARS_PER_1000_LISTS} for 1,000 LIST requests; `reconcile_every` says how often",
            grouped(self.requests_per_day),
            grouped(self.requests_per_month),
        )
    }
}

/// For people, behind what the check itself said.
pub fn print(report: &LakeReport) -> Result<(), Failure> {
    let mut table = Table::new([
        Column::Text("DATASET"),
        Column::Figure("ITEMS"),
        Column::Figure("MATCHED"),
        Column::Rare("AT OLDER PLACES"),
        Column::Figure("UNEXPECTED"),
    ]);
    let figure = |count: u64| if count == 0 { NOTHING.into() } else { grouped(count) };
    for (name, dataset) in &report.datasets {
        let DatasetMatch { items, matched, at_older_places, unexpected, .. } = dataset;
        table.row([name.clone(), grouped(*items), grouped(*matched), figure(*at_older_places), figure(*unexpected)]);
    }
    let mut paper = Paper::stdout();
    let width = paper.width();
    paper.write(|out| {
        table.write(width, out)?;
        for (name, dataset) in report.datasets.iter().filter(|(_, dataset)| !dataset.near_misses.is_empty()) {
            writeln!(out, "near {name}, and of no item:")?;
            for miss in dataset.near_misses.iter().take(SHOWN_MISSES) {
                writeln!(out, "  {}\n  {:fits$}^ {}", miss.key, "", miss.wanted, fits = miss.fits)?;
            }
        }
        for (prefix, error) in &report.not_listed {
            writeln!(out, "not listed: `{prefix}`: {error}")?;
        }
        writeln!(out, "{}", report.listing.line())
    })?;
    paper.finish()?;
    Ok(())
}

/// Counts the requests that listings take.
struct Counted {
    lake: Arc<dyn Lake>,
    requests: AtomicU64,
}

#[async_trait]
impl Lake for Counted {
    fn identity(&self) -> String {
        self.lake.identity()
    }

    async fn list(&self, prefix: &str, found: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        let mut objects = 0;
        let listed = self
            .lake
            .list(prefix, &mut |object| {
                objects += 1;
                found(object);
            })
            .await;
        self.requests.fetch_add(objects.max(1_u64).div_ceil(PAGE_OBJECTS), Ordering::Relaxed);
        listed
    }

    async fn head(&self, key: &str) -> Result<Option<Object>, LakeError> {
        self.lake.head(key).await
    }

    async fn download(&self, key: &str, to: &Path) -> Result<Object, LakeError> {
        self.lake.download(key, to).await
    }

    async fn publish(&self, file: &Path, key: &str, only_if: &Precondition) -> Result<Object, PublishError> {
        self.lake.publish(file, key, only_if).await
    }

    async fn remove(&self, key: &str, etag: &str) -> Result<(), LakeError> {
        self.lake.remove(key, etag).await
    }

    async fn sweep(&self) -> Result<u64, LakeError> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use adce_core::coverage::{TableError, TableFile, TableFiles};
    use adce_core::spec::{ConfigFile, load};

    use super::*;

    struct NoTables;

    impl TableFiles for NoTables {
        fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
            Err(TableError::NoFile(pattern.to_owned()))
        }
    }

    fn bill(lake: &str, requests: u64) -> ListingBill {
        let text = format!("lake: {lake}\ndimensions: {{ n: [a] }}\ndatasets: {{ d: {{ key: \"{{n}}\", for: n }} }}\n");
        let loaded = load(&[ConfigFile { name: "adce.yaml".into(), text }], Path::new("/"), &|_| None, &NoTables);
        ListingBill::of(&loaded.spec().unwrap(), 3, requests)
    }

    #[test]
    fn the_bill_is_of_a_look_every_quarter_of_an_hour() {
        let of_a_bucket = bill("s3://bucket", 1_200);
        assert_eq!((of_a_bucket.requests_per_day, of_a_bucket.requests_per_month), (115_200, 3_456_000));
        assert_eq!(of_a_bucket.dollars_per_month, Some(17.28));
        assert_eq!(
            of_a_bucket.line(),
            "a look lists 3 prefixes with 1,200 requests: 115,200 a day, 3,456,000 a month, $17.28 a month at $0.005 for 1,000 LIST requests; \
             `reconcile_every` says how often"
        );
        assert_eq!(bill("./lake", 1).line(), "a look lists 3 prefixes with 1 request, at no price: the lake is a folder");
    }
}
