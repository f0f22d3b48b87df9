//! Items against inventory: what is missing, stale, undersized or suspect, by name.

mod expected;
mod picture;
mod table;

pub use expected::*;
pub use picture::*;
pub use table::{TableError, TableFile, TableFiles, check_columns, header};
