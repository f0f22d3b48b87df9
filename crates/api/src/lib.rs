//! What adce says to programs: the JSON of its commands, and the control socket through which a running engine is asked.
//!
//! The commands never write the state while an engine runs; they speak to it here. Without this crate `status` would
//! have to guess from the database what the engine holds in memory.

mod ask;
mod by_hand;
mod client;
mod coverage;
mod doctor;
mod guest;
mod health_report;
mod job;
mod log;
mod place;
mod records;
mod refusal;
mod report;
mod rollup;
mod run;
mod server;
mod state;
mod status;

pub use ask::Request;
pub use by_hand::*;
pub use client::{AskError, Client};
pub use coverage::*;
pub use doctor::*;
pub use guest::*;
pub use health_report::*;
pub use job::*;
pub use log::*;
pub use records::*;
pub use refusal::*;
pub use report::*;
pub use rollup::*;
pub use run::*;
pub use server::{Answers, Bounds, Server};
pub use state::*;
pub use status::*;
