//! A program that a person runs by hand through the gateway: how it gets in, and what it asked (`adce exec --format json`).

use std::collections::BTreeMap;

use adce_core::ids::AttemptId;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a program needs to pass. Whoever knows it passes, until the program has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Admitted {
    pub guest: AttemptId,
    /// Its `ADCE_GATEWAY`.
    pub url: String,
    /// By which common clients use the gateway as a proxy and trust what it shows them.
    pub variables: Vec<(String, String)>,
}

/// What a program asked through the gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GuestReport {
    pub requests: u64,
    /// For limits, all its requests together.
    pub waited_seconds: f64,
    /// In the order in which they were asked first.
    pub sources: IndexMap<String, GuestSource>,
    /// Hosts that no source declares, or that it may not ask.
    pub uncovered: Vec<GuestHost>,
    /// TLS handshakes with the gateway that it broke off, by host: it does not trust adce's certificates.
    pub distrusted: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GuestSource {
    pub requests: u64,
    pub waited_seconds: f64,
    /// Answers by their status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests to which no answer came.
    pub no_answer: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestHost {
    pub host: String,
    /// Requests, and connections that nobody can look into.
    pub passed: u64,
    pub refused: u64,
}
