//! What people read: tables and lines, made from the same figures that `--format json` prints.

pub mod gaps;
pub mod instant;
mod paper;
pub mod plan;
pub mod table;

pub use paper::Paper;
