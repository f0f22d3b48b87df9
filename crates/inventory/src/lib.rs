//! S3 Inventory: reports in which a store says by itself what lies in a bucket, and the formats that they come in.
//!
//! Listing ten million objects takes ten thousand requests; a report of them is some files. But a report that is half
//! delivered, damaged or of another bucket would open gaps by the million, so nothing of one is believed before all of it
//! was found to be what its manifest says, and what cannot be read is refused with the file's name
//! (`a_report_is_whole_or_refused_with_the_files_name`).
//!
//! `deliveries` finds the newest whole report and fetches its files; `manifest` is what it says of itself; `csv` and
//! `columnar` read rows. `tables` opens the files of table dimensions that are no plain text.
//!
//! Parquet, ORC and zstd are behind the feature `columnar`: the libraries that read them are a third of a release build.
//!
//! Not done here: what a report means for coverage, and how old it may be. See `coverage::reported` in the core.

#[cfg(feature = "columnar")]
mod columnar;
mod csv;
mod deliveries;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod manifest;
mod reading;
pub mod tables;
mod times;

pub use deliveries::{Deliveries, Shelf};
pub use manifest::{Format, Manifest};
