//! Items against inventory: what is missing, stale, undersized or suspect, by name.

mod picture;

pub use picture::*;
