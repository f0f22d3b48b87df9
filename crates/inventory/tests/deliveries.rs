//! Deliveries in all formats, whole and damaged in every way that was thought of.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use adce_core::report::{Damaged, Newest, Report, ReportRow, Reports};
use adce_core::time::Timestamp;
use adce_inventory::{Deliveries, Shelf};
use adce_lake::LocalLake;
use support::{Delivery, FORMATS, Format, Row, row};

const NOW: &str = "2025-01-10T09:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// As a local folder, and as a bucket whose files are fetched.
fn shelves(delivery: &Delivery, fetched: &Path) -> [Deliveries; 2] {
    let folder = delivery.root.join(&delivery.folder);
    let local = Shelf::folder(Arc::new(LocalLake::new(folder.clone())), &folder);
    let bucket = Shelf::bucket(Arc::new(LocalLake::new(delivery.root.clone())), &format!("{}/", delivery.folder));
    [Deliveries::new(local, fetched), Deliveries::new(bucket, fetched)]
}

async fn newest(deliveries: &Deliveries) -> Newest {
    deliveries.newest("nba", &[], at(NOW)).await.unwrap()
}

fn read(report: &dyn Report) -> Result<Vec<Row>, Damaged> {
    let found = Mutex::new(Vec::new());
    report.read(&|page: &[ReportRow<'_>]| {
        let own = |row: &ReportRow<'_>| Row {
            key: row.key.into(),
            size: row.size,
            modified: Timestamp::from_microsecond(row.modified_micros.unwrap()).unwrap(),
            etag: row.etag.unwrap().into(),
        };
        found.lock().unwrap().extend(page.iter().map(own));
    })?;
    let mut found = found.into_inner().unwrap();
    found.sort();
    Ok(found)
}

fn rows(from: usize, to: usize) -> Vec<Row> {
    let odd = ["a b", "a+b", "é/ü", "50%", "x//y", "\"q\""];
    (from..to).map(|n| row(&format!("box/{n:05}/{}", odd[n % odd.len()]), n as u64, "2025-01-08T03:04:05.678Z")).collect()
}

#[tokio::test]
async fn every_format_tells_the_same_rows() {
    for format in FORMATS {
        let root = tempfile::tempdir().unwrap();
        let delivery = Delivery::new(root.path());
        delivery.deliver("2025-01-08T01:00:00Z", format, &[rows(0, 3)]);
        let name = delivery.deliver("2025-01-10T01:00:00Z", format, &[rows(0, 2_500), rows(2_500, 5_000), vec![]]);
        let fetched = tempfile::tempdir().unwrap();
        for deliveries in shelves(&delivery, fetched.path()) {
            let Newest { report, refused } = newest(&deliveries).await;
            assert_eq!(refused, []);
            let report = report.unwrap();
            assert_eq!((report.head().name.as_str(), report.head().created), (name.as_str(), at("2025-01-10T01:00:00Z")));
            assert!(report.head().tells_modified && report.head().tells_etag);
            let found = read(&*report).unwrap();
            assert_eq!(found.len(), 5_000, "{format:?}");
            assert!(found == rows(0, 5_000), "{format:?}");
        }
    }
}

#[tokio::test]
async fn a_report_is_whole_or_refused_with_the_files_name() {
    type Damage = fn(&Delivery, &str);
    let damages: [(&str, Damage); 9] = [
        ("`NEW/manifest.json`: it is not there; the delivery has not ended", |d, name| remove(&d.path(name).join("manifest.json"))),
        ("`NEW/manifest.checksum`: it is not there; the delivery has not ended", |d, name| remove(&d.path(name).join("manifest.checksum"))),
        ("`NEW/manifest.json`: its MD5 is ", |d, name| fs::write(d.path(name).join("manifest.checksum"), "00").unwrap()),
        ("`NEW/manifest.json`: it is no manifest of a report: EOF", |d, name| {
            let whole = fs::read(d.path(name).join("manifest.json")).unwrap();
            d.manifest(name, &whole[..whole.len() / 2]);
        }),
        ("`NEW/manifest.json`: it tells of the bucket `nfl`, and the lake is in `nba`", |d, name| {
            let whole = fs::read_to_string(d.path(name).join("manifest.json")).unwrap();
            d.manifest(name, whole.replace("\"nba\"", "\"nfl\"").as_bytes());
        }),
        ("`inventory/nba/daily/data/NEW-1.csv.gz`: the manifest names it, and it is not there", |d, name| remove(&data(d, name, 1))),
        ("`inventory/nba/daily/data/NEW-0.csv.gz`: it has 11 bytes, and the manifest says ", |d, name| {
            let whole = fs::read(data(d, name, 0)).unwrap();
            fs::write(data(d, name, 0), &whole[..11]).unwrap();
        }),
        ("`inventory/nba/daily/data/NEW-0.csv.gz`: its MD5 is ", |d, name| {
            let mut bytes = fs::read(data(d, name, 0)).unwrap();
            bytes[20] ^= 1;
            fs::write(data(d, name, 0), bytes).unwrap();
        }),
        ("`NEW/manifest.json`: its `fileSchema` has no `Size`", |d, name| {
            let whole = fs::read_to_string(d.path(name).join("manifest.json")).unwrap();
            d.manifest(name, whole.replace(" Size,", "").as_bytes());
        }),
    ];
    for (expected, damage) in damages {
        let root = tempfile::tempdir().unwrap();
        let delivery = Delivery::new(root.path());
        let old = delivery.deliver("2025-01-09T01:00:00Z", Format::Csv, &[rows(0, 9)]);
        let new = delivery.deliver("2025-01-10T01:00:00Z", Format::Csv, &[rows(0, 5), rows(5, 9)]);
        damage(&delivery, &new);
        let fetched = tempfile::tempdir().unwrap();
        for deliveries in shelves(&delivery, fetched.path()) {
            let Newest { report, refused } = newest(&deliveries).await;
            let told = refused[0].why.to_string().replace(&new, "NEW");
            assert!(told.starts_with(expected), "{told}");
            assert_eq!((refused.len(), refused[0].name.as_str()), (1, new.as_str()));
            assert_eq!(report.unwrap().head().name, old, "the older one is whole");
        }
    }
}

fn remove(path: &Path) {
    fs::remove_file(path).unwrap();
}

fn data(delivery: &Delivery, name: &str, at: usize) -> PathBuf {
    delivery.path("data").join(format!("{name}-{at}.csv.gz"))
}

#[tokio::test]
async fn what_was_refused_once_is_not_asked_again_and_the_next_older_one_is() {
    let root = tempfile::tempdir().unwrap();
    let delivery = Delivery::new(root.path());
    let old = delivery.deliver("2024-11-09T01:00:00Z", Format::Parquet, &[rows(0, 9)]);
    let new = delivery.deliver("2025-01-10T01:00:00Z", Format::Parquet, &[rows(0, 5)]);
    let fetched = tempfile::tempdir().unwrap();
    for deliveries in shelves(&delivery, fetched.path()) {
        let but = deliveries.newest("nba", std::slice::from_ref(&new), at(NOW)).await.unwrap();
        assert_eq!(but.report.unwrap().head().name, old, "however old it is");
        let neither = deliveries.newest("nba", &[new.clone(), old.clone()], at(NOW)).await.unwrap();
        assert!(neither.report.is_none() && neither.refused.is_empty());
    }
}

#[tokio::test]
async fn files_of_a_bucket_are_fetched_once() {
    let root = tempfile::tempdir().unwrap();
    let delivery = Delivery::new(root.path());
    delivery.deliver("2025-01-10T01:00:00Z", Format::Orc, &[rows(0, 5)]);
    let fetched = tempfile::tempdir().unwrap();
    let [_, bucket] = shelves(&delivery, fetched.path());
    assert!(newest(&bucket).await.report.is_some());
    fs::remove_dir_all(delivery.path("data")).unwrap();
    let [local, bucket] = shelves(&delivery, fetched.path());
    assert_eq!(read(&*newest(&bucket).await.report.unwrap()).unwrap(), rows(0, 5));
    assert!(newest(&local).await.report.is_none(), "what lies in its own place is looked at");
    let names = fs::read_dir(fetched.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.ends_with(".part")));
}

#[tokio::test]
async fn a_place_without_reports_has_none_and_one_that_is_gone_says_so() {
    let root = tempfile::tempdir().unwrap();
    let delivery = Delivery::new(root.path());
    fs::create_dir_all(delivery.path("hive")).unwrap();
    let fetched = tempfile::tempdir().unwrap();
    for deliveries in shelves(&delivery, fetched.path()) {
        let found = newest(&deliveries).await;
        assert!(found.report.is_none() && found.refused.is_empty());
    }
    fs::remove_dir_all(root.path()).unwrap();
    for deliveries in shelves(&delivery, fetched.path()) {
        assert!(deliveries.newest("nba", &[], at(NOW)).await.is_err());
    }
}

/// Damage that the checksums do not show: what the report's own writer may have got wrong.
#[tokio::test]
async fn a_file_that_was_damaged_before_its_checksum_was_taken_never_panics() {
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    std::panic::set_hook(Box::new(|_| {}));
    for format in FORMATS {
        let whole = support::written(format, &rows(0, 300));
        let mut refused = 0;
        for _ in 0..150 {
            let mut bytes = whole.clone();
            match random(3) {
                0 => bytes.truncate(random(bytes.len())),
                _ => (0..1 + random(8)).for_each(|_| {
                    let at = random(bytes.len());
                    bytes[at] = random(256) as u8;
                }),
            }
            let root = tempfile::tempdir().unwrap();
            let delivery = Delivery::new(root.path());
            delivery.deliver_bytes("2025-01-10T01-00Z", at("2025-01-10T01:00:00Z"), format, &[("d/x.gz".into(), bytes)]);
            let fetched = tempfile::tempdir().unwrap();
            let [_, bucket] = shelves(&delivery, fetched.path());
            let Newest { report, refused: told } = newest(&bucket).await;
            let read = report.map(|report| report.read(&|_: &[ReportRow<'_>]| {}));
            refused += usize::from(!told.is_empty() || read.is_some_and(|read| read.is_err()));
        }
        assert!(refused > 75, "{format:?}: {refused}");
    }
    let _ = std::panic::take_hook();
}

fn real(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/dev").join(folder);
    if !path.is_dir() {
        eprintln!("not run: {} is not there", path.display());
        return None;
    }
    Some(path)
}

#[tokio::test]
async fn real_reports_of_aws_are_read() {
    let Some(from) = real("s3_inventory_aws") else { return };
    for (kind, columns) in [("csv", 2), ("parquet", 2)] {
        let root = tempfile::tempdir().unwrap();
        for (name, to) in [("manifest.json", "manifest.json"), ("manifest.checksum", "manifest.checksum")] {
            let bytes = fs::read(from.join(format!("{kind}_inventory_{name}"))).unwrap();
            support::put(&root.path().join("2024-05-07T01-00Z").join(to), &bytes);
        }
        for name in ["csv_inventory.csv.gz", "parquet_inventory.parquet"] {
            fs::copy(from.join(name), root.path().join(name)).unwrap();
        }
        let shelf = Shelf::folder(Arc::new(LocalLake::new(root.path().into())), root.path());
        let deliveries = Deliveries::new(shelf, root.path().join("fetched"));
        let found = deliveries.newest("filemanager-inventory-test", &[], at("2024-05-07T09:00:00Z")).await.unwrap();
        assert_eq!(found.refused, []);
        let found = read(&*found.report.unwrap()).unwrap();
        let keys: Vec<(&str, u64)> = found.iter().map(|row| (row.key.as_str(), row.size)).collect();
        assert_eq!(keys, [("inventory-test/", 0), ("inventory-test/key1", 5)], "{kind}: {columns}; the current version, no delete marker");
        assert_eq!(found[1].modified, at("2024-05-06T22:44:22Z"));
        assert_eq!(found[1].etag, "d8e8fca2dc0f896fd7cb4cb0031ba249");
    }
}

#[tokio::test]
async fn one_lake_in_two_formats_is_one_lake() {
    let Some(from) = real("s3_inventory_delivery") else { return };
    let mut found = Vec::new();
    for configuration in ["daily-csv", "daily-parquet"] {
        let folder = from.join("inventory/covid-italy").join(configuration);
        let fetched = tempfile::tempdir().unwrap();
        let shelf = Shelf::folder(Arc::new(LocalLake::new(folder.clone())), &folder);
        let newest = Deliveries::new(shelf, fetched.path()).newest("covid-italy", &[], at(NOW)).await.unwrap();
        assert_eq!(newest.refused, []);
        found.push(read(&*newest.report.unwrap()).unwrap());
    }
    assert!(found[0].len() > 4_000 && found[0] == found[1], "{} and {}", found[0].len(), found[1].len());
}
