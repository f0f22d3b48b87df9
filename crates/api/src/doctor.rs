//! `adce doctor -- CMD --format json`: whether a command's requests are really paced.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// Everything that the command asked was.
    pub paced: bool,
    /// As it was given.
    pub command: Vec<String>,
    /// Each time that it was run.
    pub runs: Vec<DoctorRun>,
    /// `http`, `https`.
    pub protocols: IndexMap<String, ProtocolReport>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DoctorRun {
    /// What it was given for `{url}` and `ADCE_DOCTOR_URL`.
    pub url: String,
    /// 128 and the signal that ended it.
    pub exit_code: u8,
    /// It was ended because it took too long.
    pub timed_out: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Requests came through the gateway, and only when its limit let them.
    Paced,
    /// They came through the gateway, and faster than the limit: a bug of adce.
    TooFast,
    /// Some reached the upstream without the gateway.
    Bypassed,
    /// The command broke off TLS handshakes with the gateway: it does not trust adce's certificates.
    NotTrusted,
    /// Nothing was seen at all.
    NothingSeen,
    /// Nothing was asked over this protocol, and the command was not made to.
    #[default]
    NotUsed,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProtocolReport {
    pub verdict: Verdict,
    /// Through the gateway, counted by the upstream.
    pub requests: u64,
    /// How long after the first request of a run had asked it arrived; the window was full until then.
    pub first_waited_seconds: Option<f64>,
    /// The most arrivals in any `window_seconds`, and how many are allowed.
    pub fullest: u64,
    pub limit: u32,
    pub window_seconds: f64,
    pub handshakes_broken_off: u64,
    /// Connections that reached the upstream without the gateway, and requests in them.
    pub connections_past_the_gateway: u64,
    pub requests_past_the_gateway: u64,
    /// How the clients call themselves.
    pub clients: BTreeSet<String>,
    /// What the command probably is, and what to do; only where it is not paced.
    pub runtime: Option<String>,
    pub advice: Option<String>,
}
