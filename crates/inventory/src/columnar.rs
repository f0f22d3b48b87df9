//! Rows of Parquet and ORC files. Both come as Arrow's columns, a batch at a time; keys are as they are.
//!
//! Texts are not copied: a row borrows from the page that was decoded. Columns that nobody asks for are not read.

pub(crate) mod orc;
pub(crate) mod parquet;
pub(crate) mod rows;

use adce_core::report::{ReportRow, Rows};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, LargeStringArray, PrimitiveArray, RecordBatch, StringArray, StringViewArray};
use arrow_schema::{DataType, TimeUnit};

use crate::manifest::{current_versions, plain};
use crate::times;

/// Rows that are decoded at once: their columns fit into a processor's cache.
const BATCH_ROWS: usize = 8_192;

/// What a file tells beside keys and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tells {
    pub modified: bool,
    pub etag: bool,
}

/// Of the columns that are asked for, the names in the file.
#[derive(Clone, Debug)]
struct Wanted {
    key: String,
    size: String,
    modified: Option<String>,
    etag: Option<String>,
    is_latest: Option<String>,
    is_delete_marker: Option<String>,
}

impl Wanted {
    fn of<'a>(columns: impl Iterator<Item = &'a str> + Clone) -> Result<Wanted, String> {
        let find = |name: &str| columns.clone().find(|column| plain(column) == name).map(str::to_owned);
        let needed = |name: &str| find(name).ok_or_else(|| format!("it has no column `{name}`"));
        let is_latest = find("islatest");
        current_versions(find("versionid").is_some(), is_latest.is_some())?;
        Ok(Wanted {
            key: needed("key")?,
            size: needed("size")?,
            modified: find("lastmodifieddate"),
            etag: find("etag"),
            is_latest,
            is_delete_marker: find("isdeletemarker"),
        })
    }

    fn names(&self) -> Vec<&str> {
        let optional = [&self.modified, &self.etag, &self.is_latest, &self.is_delete_marker];
        [&self.key, &self.size].into_iter().chain(optional.into_iter().flatten()).map(String::as_str).collect()
    }

    fn tells(&self) -> Tells {
        Tells { modified: self.modified.is_some(), etag: self.etag.is_some() }
    }

    /// Hands over the current objects of a batch.
    fn hand_over(&self, batch: &RecordBatch, rows: Rows<'_>) -> Result<(), String> {
        let column = |name: &String| batch.column_by_name(name).ok_or_else(|| format!("it has no column `{name}`"));
        let optional = |name: &Option<String>| name.as_ref().map(column).transpose();
        let keys = Texts::of(column(&self.key)?).ok_or("its keys are no texts")?;
        let sizes = column(&self.size)?;
        let sizes = sizes.as_primitive_opt::<Int64Type>().ok_or("its sizes are no whole numbers")?;
        let modified = optional(&self.modified)?.map(|column| Times::of(column).ok_or("its dates are none")).transpose()?;
        let etags = optional(&self.etag)?.map(|column| Texts::of(column).ok_or("its ETags are no texts")).transpose()?;
        let latest = optional(&self.is_latest)?.map(|column| Flags::of(column).ok_or("`is_latest` says neither yes nor no")).transpose()?;
        let markers = optional(&self.is_delete_marker)?
            .map(|column| Flags::of(column).ok_or("`is_delete_marker` says neither yes nor no"))
            .transpose()?;
        let mut page = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let is_old = latest.as_ref().is_some_and(|latest| latest.get(row) == Some(false));
            let is_gone = markers.as_ref().is_some_and(|markers| markers.get(row) == Some(true));
            // Only a delete marker has no size.
            if is_old || is_gone || sizes.is_null(row) {
                continue;
            }
            let size = u64::try_from(sizes.value(row)).map_err(|_| format!("a size is {}", sizes.value(row)))?;
            let key = keys.get(row).ok_or("a row has no key")?;
            let modified_micros = match &modified {
                None => None,
                Some(times) => Some(times.micros(row).ok_or_else(|| format!("`{key}` has no date"))?),
            };
            let etag = etags.as_ref().map(|etags| etags.get(row).unwrap_or_default());
            page.push(ReportRow { key, size, modified_micros, etag });
        }
        rows(&page);
        Ok(())
    }
}

enum Texts<'a> {
    View(&'a StringViewArray),
    Plain(&'a StringArray),
    Large(&'a LargeStringArray),
}

impl<'a> Texts<'a> {
    fn of(column: &'a ArrayRef) -> Option<Texts<'a>> {
        match column.data_type() {
            DataType::Utf8View => Some(Texts::View(column.as_string_view())),
            DataType::Utf8 => Some(Texts::Plain(column.as_string())),
            DataType::LargeUtf8 => Some(Texts::Large(column.as_string())),
            _ => None,
        }
    }

    fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Texts::View(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Texts::Plain(texts) => texts.is_valid(row).then(|| texts.value(row)),
            Texts::Large(texts) => texts.is_valid(row).then(|| texts.value(row)),
        }
    }
}

enum Flags<'a> {
    Plain(&'a BooleanArray),
    Words(Texts<'a>),
}

impl<'a> Flags<'a> {
    fn of(column: &'a ArrayRef) -> Option<Flags<'a>> {
        column.as_boolean_opt().map(Flags::Plain).or_else(|| Texts::of(column).map(Flags::Words))
    }

    fn get(&self, row: usize) -> Option<bool> {
        match self {
            Flags::Plain(flags) => flags.is_valid(row).then(|| flags.value(row)),
            Flags::Words(words) => words.get(row)?.to_ascii_lowercase().parse().ok(),
        }
    }
}

enum Times<'a> {
    Seconds(&'a PrimitiveArray<TimestampSecondType>),
    Millis(&'a PrimitiveArray<TimestampMillisecondType>),
    Micros(&'a PrimitiveArray<TimestampMicrosecondType>),
    Nanos(&'a PrimitiveArray<TimestampNanosecondType>),
    Texts(Texts<'a>),
}

impl<'a> Times<'a> {
    fn of(column: &'a ArrayRef) -> Option<Times<'a>> {
        Some(match column.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => Times::Seconds(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Millisecond, _) => Times::Millis(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Times::Micros(column.as_primitive()),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Times::Nanos(column.as_primitive()),
            _ => Times::Texts(Texts::of(column)?),
        })
    }

    fn micros(&self, row: usize) -> Option<i64> {
        match self {
            Times::Seconds(times) if times.is_valid(row) => times.value(row).checked_mul(1_000_000),
            Times::Millis(times) if times.is_valid(row) => times.value(row).checked_mul(1_000),
            Times::Micros(times) if times.is_valid(row) => Some(times.value(row)),
            Times::Nanos(times) if times.is_valid(row) => Some(times.value(row).div_euclid(1_000)),
            Times::Texts(texts) => times::micros(texts.get(row)?.as_bytes()),
            _ => None,
        }
    }
}
