//! The verbs, one file each.

pub mod accept;
pub mod ask;
pub mod gaps;
pub mod limits;
pub mod plan;
