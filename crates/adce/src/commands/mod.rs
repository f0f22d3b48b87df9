//! The verbs, one file each.

pub mod accept;
pub mod ask;
pub mod limits;
