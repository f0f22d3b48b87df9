//! The verbs, one file each.

pub mod accept;
pub mod ask;
pub mod check;
pub mod check_lake;
pub mod completions;
pub mod coverage;
pub mod demo;
pub mod doctor;
pub mod exec;
pub mod gaps;
pub mod idle;
pub mod init;
pub mod limits;
pub mod man;
pub mod mark_absent;
pub mod plan;
pub mod retry;
pub mod run;
pub mod state;
pub mod status;
pub mod tasks;
pub mod try_one;
pub mod up;
pub mod why;
