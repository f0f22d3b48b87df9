//! The decisions of adce: which objects should exist, which are gaps, what runs next, and when a request may be sent.
//!
//! Everything here is a pure function of its inputs and a time that the caller passes in: no runtime, no files, no
//! sockets, no clock, no randomness of its own. That is what lets `sim` run the very same rules through a simulated
//! day in a second, and what makes each rule testable without waiting for anything.

pub mod access;
pub mod coverage;
pub mod events;
pub mod failpoint;
pub mod figures;
pub mod gap;
pub mod ids;
pub mod job;
pub mod json_path;
pub mod kept;
pub mod lease;
pub mod limits;
pub mod object;
pub mod pacing;
pub mod pause;
pub mod permit;
pub mod ports;
pub mod protect;
pub mod queue;
pub mod record;
pub mod report;
pub mod spec;
pub mod time;
pub mod traffic;
pub mod valid;
