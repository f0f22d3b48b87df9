//! Lakes: where the objects lie that adce keeps complete — a local folder, or a bucket of an S3-compatible store.
//!
//! Everything adce believes about "what is there" comes through here, and everything it delivers leaves through here.
//! A lake that calls half a listing whole opens thousands of false gaps; one that shows half an object, or forgets one
//! after it said `Ok`, breaks the promise that present means present.
//!
//! Always true: keys reach the store byte by byte, in both directions; a publish is whole or absent and happens only if
//! its precondition holds; `list` returns `Ok` only after the last object (one suite in `tests/` holds all of this
//! for every kind of lake, `tests/crash.rs` for a local disk that loses power, `tests/s3_faults.rs` for a bad network).
//!
//! Beside the lakes, `tables` finds the files of table dimensions in the config's folder.
//!
//! It does not decide what should lie in a lake, whether content is valid, or when to look again.

pub mod feeds;
pub mod files;
pub mod local;
pub mod rows;
pub mod s3;
pub mod tables;

use std::sync::Arc;

use adce_core::ports::{Lake, LakeError};
use adce_core::spec::LakeUrl;

pub use local::LocalLake;
pub use s3::{Patience, S3Lake};

/// Opens the lake that a config names. Nothing is asked yet: a lake that does not exist, or refuses, says so at the
/// first call. An error here means that the environment describes no usable access to the store.
pub fn open(url: &LakeUrl) -> Result<Arc<dyn Lake>, LakeError> {
    match url {
        LakeUrl::Folder(root) => Ok(Arc::new(LocalLake::new(root.clone()))),
        LakeUrl::S3 { bucket, prefix } => Ok(Arc::new(S3Lake::from_env(bucket, prefix)?)),
    }
}
