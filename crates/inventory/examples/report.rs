//! A report of many rows: written once, then read alone, and compared with as many expected items.
//!
//! `cargo run --release -p adce-inventory --example report -- FOLDER [--rows 10000000] [--format parquet|csv] [--runs 5]
//! [--items dimensions|table]`
//!
//! FOLDER keeps the report for the next time, and beside it `expected.parquet`, a row (`id`, `day`, `name`) for each expected item:
//! with `--items table` they come from there and not from two dimensions, and others can compare the same files. Keys are days and names, `data/2020/01/31/n0042.json`; one in a hundred expected
//! items is not in the report, and one row in a thousand is nobody's. "read" hands over every row and looks at none;
//! "look" is all that `adce plan` does to know what is there: expanding the config, reading, matching, and what is newer, and
//! "judge" then gives every item its state. The MD5 of the files is compared before either, once, and told apart. `memory` is the peak of the whole process so far.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use adce_core::coverage::{Coverage, Evidence};
use adce_core::ports::Clock;
use adce_core::report::Reports;
use adce_core::spec::{ConfigFile, load};
use adce_core::time::{BootId, Boottime, Now, Timestamp};
use adce_engine::{Reporting, look};
use adce_inventory::tables::Decoded;
use adce_inventory::{Deliveries, Shelf};
use adce_lake::LocalLake;
use adce_lake::tables::ConfigFolder;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{Field, Schema};
use md5::{Digest, Md5};

const DAYS: u64 = 3_650;
const FILES: u64 = 4;
const BATCH: u64 = 65_536;

struct Now0;

#[async_trait::async_trait]
impl Clock for Now0 {
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), boot: Boottime::default() }
    }

    fn boot_id(&self) -> BootId {
        BootId("bench".into())
    }

    async fn sleep_until(&self, _: Boottime) {}
}

struct Setting {
    folder: PathBuf,
    rows: u64,
    format: String,
    runs: usize,
    from_table: bool,
}

fn setting() -> Setting {
    let folder = std::env::temp_dir().join("adce-bench-report");
    let mut setting = Setting { folder, rows: 10_000_000, format: "parquet".into(), runs: 5, from_table: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--rows" => setting.rows = value().parse().expect("a number"),
            "--format" => setting.format = value(),
            "--items" => setting.from_table = value() == "table",
            "--runs" => setting.runs = value().parse().expect("a number"),
            folder => setting.folder = folder.into(),
        }
    }
    setting
}

/// So many names that there are about as many items as rows.
fn names(rows: u64) -> u64 {
    rows.div_ceil(DAYS)
}

fn date(day: u64) -> jiff::civil::Date {
    jiff::civil::date(2015, 1, 1).checked_add(jiff::Span::new().days(day as i64)).expect("a day")
}

fn key(row: u64, names: u64) -> String {
    let (day, name) = (row / names % DAYS, row % names);
    let date = date(day);
    let end = if row % 1_000 == 7 { ".other" } else { ".json" };
    format!("data/{}/n{name:05}{end}", date.strftime("%Y/%m/%d"))
}

/// An ETag's digits have no pattern that a compressor finds.
fn etag(row: u64) -> String {
    let mut seed = row.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    format!("{:016x}{:016x}", word(), word())
}

fn rows_of(file: u64, rows: u64) -> impl Iterator<Item = u64> {
    let each = rows.div_ceil(FILES);
    (file * each..((file + 1) * each).min(rows)).filter(|row| row % 100 != 99)
}

/// Columns of so many rows at a time.
fn write_columns(path: &Path, rows: &[u64], columns: impl Fn(&[u64]) -> Vec<(&'static str, ArrayRef)>) {
    let properties = parquet::file::properties::WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = None;
    for part in rows.chunks(BATCH as usize) {
        let columns = columns(part);
        let fields: Vec<Field> = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false)).collect();
        let batch =
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect()).expect("a batch");
        let writer = writer.get_or_insert_with(|| {
            let file = File::create(path).expect("a file");
            parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties.clone())).expect("a writer")
        });
        writer.write(&batch).expect("written");
    }
    writer.expect("some rows").close().expect("closed");
}

fn texts(rows: &[u64], text: impl Fn(u64) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(|row| text(*row))))
}

fn write_parquet(path: &Path, file: u64, rows: u64) {
    let names = names(rows);
    let all: Vec<u64> = rows_of(file, rows).collect();
    write_columns(path, &all, |part| {
        let millis = part.iter().map(|row| 1_700_000_000_000 + *row as i64 * 7);
        vec![
            ("bucket", texts(part, |_| "bench".into())),
            ("key", texts(part, |row| key(row, names))),
            ("size", Arc::new(Int64Array::from_iter_values(part.iter().map(|row| (*row % 90_000) as i64 + 100)))),
            ("last_modified_date", Arc::new(TimestampMillisecondArray::from_iter_values(millis).with_timezone("UTC"))),
            ("e_tag", texts(part, etag)),
            ("storage_class", texts(part, |_| "STANDARD".into())),
        ]
    });
}

/// A row for each expected item.
fn write_expected(path: &Path, rows: u64) {
    let names = names(rows);
    let all: Vec<u64> = (0..names * DAYS).collect();
    write_columns(path, &all, |part| {
        vec![
            ("id", texts(part, |row| format!("{}-{:05}", row / names, row % names))),
            ("day", texts(part, |row| date(row / names).to_string())),
            ("name", texts(part, |row| format!("n{:05}", row % names))),
        ]
    });
}

fn write_csv(path: &Path, file: u64, rows: u64) {
    let names = names(rows);
    let packed = flate2::write::GzEncoder::new(File::create(path).expect("a file"), flate2::Compression::new(6));
    let mut out = BufWriter::with_capacity(1 << 20, packed);
    for row in rows_of(file, rows) {
        let date = Timestamp::from_millisecond(1_700_000_000_000 + row as i64 * 7).expect("a time").strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        let size = row % 90_000 + 100;
        writeln!(out, "\"bench\",\"{}\",\"{size}\",\"{date}\",\"{}\",\"STANDARD\"", key(row, names), etag(row)).expect("written");
    }
    out.into_inner().expect("flushed").finish().expect("finished");
}

fn write(setting: &Setting, folder: &Path) {
    let expected = setting.folder.join(format!("expected-{}.parquet", setting.rows));
    if !expected.exists() {
        std::fs::create_dir_all(&setting.folder).expect("a folder");
        write_expected(&expected, setting.rows);
    }
    if folder.join("done").exists() {
        return;
    }
    let began = Instant::now();
    std::fs::create_dir_all(folder.join("data")).expect("a folder");
    let end = if setting.format == "csv" { "csv.gz" } else { "parquet" };
    let files: Vec<u64> = (0..FILES).collect();
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let path = folder.join("data").join(format!("{file}.{end}"));
                    if end == "parquet" { write_parquet(&path, *file, setting.rows) } else { write_csv(&path, *file, setting.rows) }
                }
            });
        }
    });
    let created = Timestamp::now();
    let name = created.strftime("%Y-%m-%dT%H-%MZ").to_string();
    let entries: Vec<String> = (0..FILES)
        .map(|file| {
            let bytes = std::fs::read(folder.join("data").join(format!("{file}.{end}"))).expect("a file");
            format!(r#"{{"key":"data/{file}.{end}","size":{},"MD5checksum":"{}"}}"#, bytes.len(), hex(&bytes))
        })
        .collect();
    let manifest = format!(
        r#"{{"sourceBucket":"bench","creationTimestamp":"{}","fileFormat":"{}","fileSchema":"Bucket, Key, Size, LastModifiedDate, ETag, StorageClass","files":[{}]}}"#,
        created.as_millisecond(),
        if end == "parquet" { "Parquet" } else { "CSV" },
        entries.join(",")
    );
    std::fs::create_dir_all(folder.join(&name)).expect("a folder");
    std::fs::write(folder.join(&name).join("manifest.json"), &manifest).expect("written");
    std::fs::write(folder.join(&name).join("manifest.checksum"), hex(manifest.as_bytes())).expect("written");
    std::fs::write(folder.join("done"), "").expect("written");
    println!("written in {:.1} s into {}", began.elapsed().as_secs_f64(), folder.display());
}

fn hex(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1_024
}

/// Seconds of all processors together that this process has used so far.
fn cpu() -> f64 {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<f64> = stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse().ok()).collect();
    fields.iter().sum::<f64>() / TICKS_A_SECOND
}

fn main() {
    let setting = setting();
    let folder = setting.folder.join(format!("{}-{}", setting.format, setting.rows));
    write(&setting, &folder);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let shelf = Shelf::folder(Arc::new(LocalLake::new(folder.clone())), &folder);
    let deliveries: Arc<dyn Reports> = Arc::new(Deliveries::new(shelf, folder.join("fetched")));
    let began = Instant::now();
    let found = runtime.block_on(deliveries.newest("bench", &[], Timestamp::now())).expect("a folder");
    let report = found.report.unwrap_or_else(|| panic!("{:?}", found.refused));
    println!(
        "checked   {:>7.2} s, {} bytes in {} files, memory {} MB",
        began.elapsed().as_secs_f64(),
        report.head().bytes,
        report.head().files,
        memory_mb()
    );
    for _ in 0..setting.runs {
        let (began, used, rows) = (Instant::now(), cpu(), AtomicU64::new(0));
        report.read(&|page| _ = rows.fetch_add(page.len() as u64, Ordering::Relaxed)).expect("a whole report");
        let (took, rows) = (began.elapsed().as_secs_f64(), rows.into_inner());
        println!(
            "read      {took:>7.2} s ({:.2} s of processors), {rows} rows, {:.2} M/s, memory {} MB",
            cpu() - used,
            rows as f64 / took / 1e6,
            memory_mb()
        );
    }
    let dimensions = match setting.from_table {
        true => format!(
            "  row:\n    table: expected-{}.parquet\n    id: id\n    columns: {{ day: {{ from: day, time: \"%Y-%m-%d\", zone: UTC }} }}\n",
            setting.rows
        ),
        false => {
            let names: Vec<String> = (0..names(setting.rows)).map(|name| format!("n{name:05}")).collect();
            format!("  day: {{ from: 2015-01-01, to: {}, every: 1d, zone: UTC }}\n  name: [{}]\n", date(DAYS - 1), names.join(", "))
        }
    };
    let of = if setting.from_table { "row" } else { "[day, name]" };
    let text = format!(
        "name: bench\nlake: {{ url: s3://bench, inventory: ./x }}\ndimensions:\n{dimensions}\
         datasets:\n  d: {{ key: \"data/{{day:%Y/%m/%d}}/{{name}}.json\", for: {of} }}\n"
    );
    let tables = Arc::new(Decoded(ConfigFolder::new(&setting.folder)));
    let loaded = load(&[ConfigFile { name: "bench.yaml".into(), text }], &setting.folder, &|_| None, &*tables);
    let spec = Arc::new(loaded.spec().unwrap_or_else(|problems| panic!("{problems:?}")));
    let empty = tempfile::tempdir().expect("a folder");
    let lake = LocalLake::new(empty.path().into());
    for _ in 0..setting.runs {
        let (began, used) = (Instant::now(), cpu());
        let reporting = Reporting { reports: Some(deliveries.clone()), ..Reporting::default() };
        let seen = runtime.block_on(look(spec.clone(), &lake, tables.clone(), None, reporting, &Now0)).expect("a look");
        let took = began.elapsed().as_secs_f64();
        assert_eq!(seen.reported.prefixes, ["data/"]);
        println!(
            "look      {took:>7.2} s ({:.2} s of processors), {} items, {} of others, memory {} MB",
            cpu() - used,
            seen.expected.len(),
            seen.inventory.unexpected(0).objects,
            memory_mb()
        );
        let (began, used) = (Instant::now(), cpu());
        let (records, open) = (HashMap::new(), HashMap::new());
        let evidence =
            Evidence { spec: &spec, expected: &seen.expected, inventory: &seen.inventory, records: &records, open: &open, accepted: None };
        let coverage = Coverage::of(&evidence, Timestamp::now()).expect("rules with answers");
        println!(
            "judge     {:>7.2} s ({:.2} s of processors), {} present, {} missing, memory {} MB",
            began.elapsed().as_secs_f64(),
            cpu() - used,
            coverage.counts().present,
            coverage.gap_items().len(),
            memory_mb()
        );
    }
}
