//! What people read: tables and lines, made from the same figures that `--format json` prints.

pub mod coverage;
pub mod gaps;
mod heat;
pub mod instant;
#[macro_use]
mod paper;
pub mod plan;
pub mod table;
pub mod trend;

pub use coverage::WIDE;
pub use paper::{Paper, say_line, say_line_aside, something_is_unsaid};
