//! What a store says by itself of a bucket: a report (S3 Inventory) is read instead of listing, and is as old as it says.
//!
//! Rows are borrowed from wherever the reader has them and come in batches, on several threads at once: ten million
//! texts of their own would take longer to make than the whole comparison takes.

use async_trait::async_trait;

use crate::ports::LakeError;
use crate::time::Timestamp;

/// One object that was there when the report was made: the current version of its key, and no delete marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportRow<'a> {
    /// Whole, as the bucket knows it; the lake's own prefix is part of it.
    pub key: &'a str,
    pub size: u64,
    /// Microseconds since 1970; `None`: the report does not tell.
    pub modified_micros: Option<i64>,
    /// `None`: the report does not tell.
    pub etag: Option<&'a str>,
}

/// What is known of a report before its rows are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportHead {
    /// Of its dated folder: `2025-01-09T01-00Z`. Tells it apart from the others of its place; a later one sorts behind.
    pub name: String,
    /// The store began to make it then: it knows nothing of what came after.
    pub created: Timestamp,
    /// `CSV`, `ORC` or `Parquet`.
    pub format: &'static str,
    pub files: u64,
    pub bytes: u64,
    /// Its rows have dates. Without, nobody can tell from it how fresh an object is.
    pub tells_modified: bool,
    pub tells_etag: bool,
}

/// Hears of rows, on several threads at once.
pub type Rows<'a> = &'a (dyn for<'r> Fn(&[ReportRow<'r>]) + Sync);

/// A whole report, its files at hand and checked against what their manifest says.
pub trait Report: Send + Sync {
    fn head(&self) -> &ReportHead;

    /// Hands over every current object, in no order, and returns after the last. It works on all processors and blocks. After an
    /// error some were handed over, and what is missing from them is unknown.
    fn read(&self, rows: Rows<'_>) -> Result<(), Damaged>;
}

/// A file of a report that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{file}`: {what}")]
pub struct Damaged {
    pub file: String,
    pub what: String,
}

/// A report that cannot be believed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub name: String,
    pub why: Damaged,
}

/// What came of looking for a report.
#[derive(Default)]
pub struct Newest {
    /// `None`: there is none that is whole.
    pub report: Option<std::sync::Arc<dyn Report>>,
    /// Newer ones that cannot be believed, the newest first.
    pub refused: Vec<Refused>,
}

/// Where reports of one bucket are delivered.
#[async_trait]
pub trait Reports: Send + Sync {
    /// The newest report that is whole, except those of these names. `bucket`: it must tell of this one. An error means that nobody
    /// could look there.
    async fn newest(&self, bucket: &str, but: &[String], now: Timestamp) -> Result<Newest, LakeError>;
}
