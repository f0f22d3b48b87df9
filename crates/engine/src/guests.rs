//! Programs that a person runs by hand while the engine works, or instead of it: they pass its gateway, and it counts for them.
//!
//! Always true: an engine does not end by itself while it has guests, for their requests would go nowhere; whoever stops it, or a
//! failure, ends it all the same (`an_engine_stays_for_its_guests`).

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Admission, Answer, Settlement};
use adce_core::queue::Paid;
use adce_core::time::Now;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::Engine;
use crate::inbox::Interrupt;

/// A program that may pass.
#[derive(Clone, Debug)]
pub struct Guest {
    pub id: AttemptId,
    pub admission: Admission,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("the engine is ending")]
    Ending,
    #[error("no gateway runs")]
    NoGateway,
    #[error("source `{0}` is not declared")]
    NoSuchSource(String),
}

/// What a guest asked and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuestUse {
    /// In the order in which they were asked first.
    pub sources: IndexMap<String, GuestSource>,
    /// Hosts that no source declares, or that it may not ask.
    pub hosts: IndexMap<String, GuestHost>,
    /// TLS handshakes with the gateway that it broke off, by host.
    pub distrusted: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GuestSource {
    pub requests: u64,
    /// For permits, all its requests together.
    pub waited: Duration,
    /// Answers by their status.
    pub statuses: BTreeMap<u16, u64>,
    pub no_answer: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestHost {
    pub passed: u64,
    pub refused: u64,
}

/// Of all of them. A crawler asks thousands of hosts; which ones is not news any more.
#[derive(Default)]
pub(crate) struct GuestBook {
    guests: IndexMap<AttemptId, GuestUse>,
    /// Requests of those that have gone whose connections are being closed.
    closing: BTreeMap<AttemptId, usize>,
}

const HOSTS_AT_MOST: usize = 100;

impl GuestBook {
    fn of(&mut self, guest: AttemptId) -> Option<&mut GuestUse> {
        self.guests.get_mut(&guest)
    }

    fn source(&mut self, guest: AttemptId, source: &str) -> Option<&mut GuestSource> {
        self.of(guest).map(|guest| guest.sources.entry(source.to_owned()).or_default())
    }

    pub(crate) fn sent(&mut self, guest: AttemptId, source: &str, waited: Duration) {
        if let Some(source) = self.source(guest, source) {
            source.requests += 1;
            source.waited += waited;
        }
    }

    pub(crate) fn settled(&mut self, guest: AttemptId, source: &str, paid: Paid, how: Settlement) {
        if let Some(left) = self.closing.get_mut(&guest) {
            *left -= 1;
            self.closing.retain(|_, left| *left > 0);
        }
        if let (Paid::Now, Settlement::Unsent, Some(source)) = (paid, how, self.source(guest, source)) {
            source.requests -= 1;
        }
    }

    pub(crate) fn answered(&mut self, guest: AttemptId, source: &str, answer: Answer) {
        let Some(source) = self.source(guest, source) else { return };
        match answer {
            Answer::Status { code, .. } => *source.statuses.entry(code).or_default() += 1,
            Answer::NoAnswer | Answer::NotReached => source.no_answer += 1,
        }
    }

    /// Whether it was a guest's.
    pub(crate) fn uncovered(&mut self, guest: AttemptId, host: &str, passed: bool) -> bool {
        let Some(guest) = self.of(guest) else { return false };
        if guest.hosts.len() < HOSTS_AT_MOST || guest.hosts.contains_key(host) {
            let count = guest.hosts.entry(host.to_owned()).or_default();
            *(if passed { &mut count.passed } else { &mut count.refused }) += 1;
        }
        true
    }

    pub(crate) fn distrusted(&mut self, guest: AttemptId, host: String) {
        if let Some(guest) = self.of(guest) {
            *guest.distrusted.entry(host).or_default() += 1;
        }
    }

    /// `under_way`: its requests that are not settled.
    fn leaves(&mut self, guest: AttemptId, under_way: usize) -> Option<GuestUse> {
        let used = self.guests.shift_remove(&guest)?;
        if under_way > 0 {
            self.closing.insert(guest, under_way);
        }
        Some(used)
    }

    pub(crate) fn len(&self) -> usize {
        self.guests.len()
    }
}

impl Engine {
    /// `only`: it may ask these sources and nobody else.
    pub fn admit(&mut self, only: Option<Vec<String>>) -> Result<Guest, NotAdmitted> {
        if self.interrupted.is_some() || self.failed.is_some() {
            return Err(NotAdmitted::Ending);
        }
        if let Some(unknown) = only.iter().flatten().find(|name| !self.spec.sources.contains_key(*name)) {
            return Err(NotAdmitted::NoSuchSource(unknown.clone()));
        }
        let id = AttemptId(Uuid::now_v7());
        let admission = self.ports.gate.admit_guest(id, only).ok_or(NotAdmitted::NoGateway)?;
        self.dispatcher.admit(id);
        self.figures.guests.guests.insert(id, GuestUse::default());
        Ok(Guest { id, admission })
    }

    /// `None`: it is none of ours, or gone already.
    pub(crate) fn dismiss(&mut self, guest: AttemptId, now: Now) -> Option<GuestUse> {
        self.ports.gate.dismiss(guest);
        self.reloading.dismiss(guest);
        self.line.forget(guest);
        let changes = self.dispatcher.dismiss(guest, now);
        self.ledger.record(changes);
        let under_way = self.figures.under_way(guest);
        self.figures.guests.leaves(guest, under_way)
    }

    pub(crate) fn dismiss_all(&mut self, now: Now) {
        for guest in self.figures.guests.guests.keys().copied().collect::<Vec<_>>() {
            self.dismiss(guest, now);
        }
    }

    /// Nobody but a guest keeps the engine from ending. What one that has gone had under way is settled first: without that a successor
    /// would have to count more than was sent.
    pub(crate) fn stays_for_guests(&self) -> bool {
        let book = &self.figures.guests;
        let is_needed = !book.guests.is_empty() || !book.closing.is_empty();
        is_needed && self.failed.is_none() && self.interrupted != Some(Interrupt::Stop)
    }
}
