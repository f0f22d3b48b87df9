//! The verbs, one file each.

pub mod accept;
pub mod ask;
pub mod check;
pub mod gaps;
pub mod init;
pub mod limits;
pub mod plan;
