//! An upstream on loopback, as moody as real ones: it enforces its limits with windows of its own, is slow, and now and
//! then answers 429 for no reason, 500, a truncated body, nothing at all with 200, or a block page with 200.
//!
//! `adce demo` and the acceptance tests collect from it. It shares no code with adce's limiter: what it counts is the
//! evidence a sceptic needs that no limit was exceeded.

mod mood;
mod server;
mod windows;
mod world;

pub use mood::{Mood, Moods};
pub use server::{Content, Upstream, UpstreamConfig};
pub use windows::{ArrivalWindows, Limit};
pub use world::{Game, World};

use serde::{Deserialize, Serialize};

/// What the upstream saw and did since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    pub requests: u64,
    /// Answers of 429 that were given because a limit was exceeded. The moody ones are under `moods`.
    pub answered_429: u64,
    /// How many requests arrived while one of the windows was full already.
    pub windows_exceeded: u64,
    /// Requests whose body was delivered whole and in order.
    pub served: u64,
    pub not_found: u64,
    /// Arrivals in the fullest span of each window, in the order of the limits.
    pub fullest: Vec<u64>,
    pub moods: MoodFigures,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoodFigures {
    #[serde(rename = "429")]
    pub too_many: u64,
    #[serde(rename = "500")]
    pub error: u64,
    pub truncated: u64,
    pub empty: u64,
    pub block_page: u64,
}
