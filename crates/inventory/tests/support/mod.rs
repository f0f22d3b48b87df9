//! Writes deliveries as AWS does: data files, `manifest.json`, `manifest.checksum`.

#![allow(dead_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_core::time::Timestamp;
use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, TimestampNanosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use md5::{Digest, Md5};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    Orc,
    Parquet,
}

pub const FORMATS: [Format; 3] = [Format::Csv, Format::Orc, Format::Parquet];

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub key: String,
    pub size: u64,
    pub modified: Timestamp,
    pub etag: String,
}

pub fn row(key: &str, size: u64, modified: &str) -> Row {
    Row { key: key.into(), size, modified: modified.parse().unwrap(), etag: format!("e{size}-{}", key.len()) }
}

/// One inventory configuration, delivered to a folder that stands for a bucket.
pub struct Delivery {
    /// The bucket.
    pub root: PathBuf,
    /// Within it: `inventory/nba/daily`.
    pub folder: String,
    pub bucket: String,
}

impl Delivery {
    pub fn new(root: &Path) -> Delivery {
        Delivery { root: root.into(), folder: "inventory/nba/daily".into(), bucket: "nba".into() }
    }

    pub fn path(&self, of: &str) -> PathBuf {
        self.root.join(&self.folder).join(of)
    }

    /// One report; a data file for each of `files`. Its name is made of `created`.
    pub fn deliver(&self, created: &str, format: Format, files: &[Vec<Row>]) -> String {
        let created: Timestamp = created.parse().unwrap();
        let name = created.strftime("%Y-%m-%dT%H-%MZ").to_string();
        let data: Vec<(String, Vec<u8>)> = files
            .iter()
            .enumerate()
            .map(|(at, rows)| {
                let end = match format {
                    Format::Csv => "csv.gz",
                    Format::Orc => "orc",
                    Format::Parquet => "parquet",
                };
                (format!("{}/data/{name}-{at}.{end}", self.folder), written(format, rows))
            })
            .collect();
        self.deliver_bytes(&name, created, format, &data);
        name
    }

    pub fn deliver_bytes(&self, name: &str, created: Timestamp, format: Format, data: &[(String, Vec<u8>)]) {
        for (key, bytes) in data {
            put(&self.root.join(key), bytes);
        }
        let files: Vec<String> =
            data.iter().map(|(key, bytes)| format!(r#"{{"key":"{key}","size":{},"MD5checksum":"{}"}}"#, bytes.len(), md5(bytes))).collect();
        let (word, schema) = match format {
            Format::Csv => ("CSV", "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass"),
            Format::Orc => ("ORC", "struct<bucket:string,key:string,size:bigint,last_modified_date:timestamp,e_tag:string>"),
            Format::Parquet => ("Parquet", "message s3.inventory { required binary bucket (STRING); required binary key (STRING); }"),
        };
        let manifest = format!(
            r#"{{"sourceBucket":"{}","destinationBucket":"arn:aws:s3:::reports","version":"2016-11-30","creationTimestamp":"{}","fileFormat":"{word}","fileSchema":"{schema}","files":[{}]}}"#,
            self.bucket,
            created.as_millisecond(),
            files.join(",")
        );
        self.manifest(name, manifest.as_bytes());
    }

    pub fn manifest(&self, name: &str, bytes: &[u8]) {
        put(&self.path(name).join("manifest.json"), bytes);
        put(&self.path(name).join("manifest.checksum"), md5(bytes).as_bytes());
    }
}

pub fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Each row twice over in CSV: an older version that does not count, and beside it a key that was deleted.
pub fn written(format: Format, rows: &[Row]) -> Vec<u8> {
    match format {
        Format::Csv => gzip(csv(rows).as_bytes()),
        Format::Orc => orc(rows),
        Format::Parquet => parquet(rows),
    }
}

pub fn csv(rows: &[Row]) -> String {
    let mut text = String::new();
    for Row { key, size, modified, etag } in rows {
        let key = encoded(key);
        let date = modified.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        text.push_str(&format!("\"nba\",\"{key}\",\"v1\",\"false\",\"false\",\"1\",\"{date}\",\"old\",\"STANDARD\"\n"));
        text.push_str(&format!("\"nba\",\"{key}\",\"v2\",\"true\",\"false\",\"{size}\",\"{date}\",\"{etag}\",\"STANDARD\"\n"));
        text.push_str(&format!("\"nba\",\"{key}.gone\",\"v3\",\"true\",\"true\",\"\",\"{date}\",\"\",\"\"\n"));
    }
    text
}

/// As AWS does it: everything but letters, digits and some signs.
fn encoded(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*/".contains(&byte);
    key.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn batch(rows: &[Row], times: ArrayRef) -> RecordBatch {
    let n = rows.len();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bucket", Arc::new(StringArray::from(vec!["nba"; n]))),
        ("key", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.key)))),
        ("is_latest", Arc::new(BooleanArray::from(vec![Some(true); n]))),
        ("is_delete_marker", Arc::new(BooleanArray::from(vec![None; n]))),
        ("size", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.size as i64)))),
        ("last_modified_date", times),
        ("e_tag", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.etag)))),
        ("storage_class", Arc::new(StringArray::from(vec!["STANDARD"; n]))),
    ];
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), !matches!(*name, "bucket" | "key")));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(schema, columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

pub fn parquet(rows: &[Row]) -> Vec<u8> {
    let times = TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.modified.as_millisecond())).with_timezone("UTC");
    let batch = batch(rows, Arc::new(times));
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_compression(parquet::basic::Compression::SNAPPY)
        .set_max_row_group_row_count(Some(1_000))
        .build();
    let mut written = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut written, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    written
}

pub fn orc(rows: &[Row]) -> Vec<u8> {
    let nanos = rows.iter().map(|row| row.modified.as_nanosecond() as i64);
    let times: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter_values(nanos));
    assert_eq!(times.data_type(), &DataType::Timestamp(TimeUnit::Nanosecond, None));
    let batch = batch(rows, times);
    let mut written = Vec::new();
    let mut writer = orc_rust::ArrowWriterBuilder::new(&mut written, batch.schema()).try_build().unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    written
}
