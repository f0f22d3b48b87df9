//! What adce says to programs: the JSON of its commands, and the control socket through which a running engine is asked.
//!
//! The commands never write the state while an engine runs; they speak to it here. Without this crate `status` would
//! have to guess from the database what the engine holds in memory.

mod coverage;
mod refusal;
mod run;
mod status;

pub use coverage::*;
pub use refusal::*;
pub use run::*;
pub use status::*;
