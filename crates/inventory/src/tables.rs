//! Files of table dimensions that are no plain text: gzip, zstd and Parquet.
//!
//! The core reads texts, CSV and JSON Lines. What a name says is packed is unpacked here, and a Parquet file becomes JSON
//! Lines, a line a row, so that messages name its rows: nulls stay null, whole numbers and decimals keep all digits, a
//! float without a fraction is written without one (`401705123`, not `401705123.0`), a date is `2024-10-22`, a timestamp
//! `2024-10-22T23:30:00Z`, or without the `Z` if the column has no zone. Columns of lists and structs are no cells.
//!
//! Always true: a damaged file is an error with its name, never half a table (`a_damaged_table_is_refused_by_its_name`), and
//! what unpacks to more than [`UNPACKED_MAX`] is one, too.

use std::io::Read;

use adce_core::coverage::{KeptRows, TableError, TableFile, TableFiles};
use adce_core::spec::LakeUrl;
use flate2::read::MultiGzDecoder;

/// A table is held in memory while it is read.
const UNPACKED_MAX: u64 = 4 << 30;

/// Files as the core reads them, from wherever they come.
pub struct Decoded<F>(pub F);

impl<F: TableFiles> TableFiles for Decoded<F> {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        self.0.read(pattern)?.into_iter().map(decoded).collect()
    }

    fn read_lake(&self, lake: &LakeUrl, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        self.0.read_lake(lake, pattern)?.into_iter().map(decoded).collect()
    }

    fn kept_rows(&self, dimension: &str) -> KeptRows {
        self.0.kept_rows(dimension)
    }

    fn keep_rows(&self, dimension: &str, rows: KeptRows) {
        self.0.keep_rows(dimension, rows);
    }
}

pub(crate) fn decoded(file: TableFile) -> Result<TableFile, TableError> {
    let TableFile { name, bytes } = file;
    let unreadable = |detail: String| TableError::Unreadable { file: name.clone(), detail };
    let (inner, bytes) = match name.rsplit_once('.') {
        Some((inner, "gz")) => (inner, unpacked(MultiGzDecoder::new(&bytes[..])).map_err(unreadable)?),
        Some((inner, "zst" | "zstd")) => (inner, zstd(&bytes).map_err(unreadable)?),
        _ => (name.as_str(), bytes),
    };
    let bytes = match inner.ends_with(".parquet") {
        true => parquet(bytes).map_err(unreadable)?,
        false => bytes,
    };
    Ok(TableFile { name, bytes })
}

fn unpacked(from: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    from.take(UNPACKED_MAX + 1).read_to_end(&mut bytes).map_err(|error| format!("it cannot be unpacked: {error}"))?;
    if bytes.len() as u64 > UNPACKED_MAX {
        return Err(format!("it unpacks to more than {} GiB", UNPACKED_MAX >> 30));
    }
    Ok(bytes)
}

#[cfg(feature = "columnar")]
fn zstd(bytes: &[u8]) -> Result<Vec<u8>, String> {
    unpacked(zstd::stream::read::Decoder::new(bytes).map_err(|error| format!("it cannot be unpacked: {error}"))?)
}

#[cfg(feature = "columnar")]
fn parquet(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    crate::columnar::rows::as_json_lines(bytes)
}

#[cfg(not(feature = "columnar"))]
fn zstd(_: &[u8]) -> Result<Vec<u8>, String> {
    Err("this adce was built without the feature `columnar`, which unpacks zstd".into())
}

#[cfg(not(feature = "columnar"))]
fn parquet(_: Vec<u8>) -> Result<Vec<u8>, String> {
    Err("this adce was built without the feature `columnar`, which reads Parquet".into())
}

#[cfg(test)]
mod tests;
