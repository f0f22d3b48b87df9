//! Who may pass: running attempts, by a token that nobody can guess.
//!
//! Any process of this machine can reach the gateway's port; only the children of a running attempt know its token.
//! When the attempt ends, so does whatever it still has open.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use adce_core::ids::AttemptId;
use adce_core::ports::Passed;
use adce_core::spec::Pass;
use tokio_util::sync::CancellationToken;

use crate::meter::Meter;

/// Connections that have not said yet whose they are. A client does so with its first bytes, so whoever is pushed out by others
/// was in no hurry.
const STRANGERS_AT_MOST: usize = 256;

#[derive(Default)]
pub(crate) struct Door {
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    by_token: HashMap<String, Admitted>,
    links: u64,
    /// Connections of nobody yet, the oldest first.
    strangers: BTreeMap<u64, CancellationToken>,
}

struct Admitted {
    attempt: AttemptId,
    pass: Pass,
    /// It may ask these sources and nobody else.
    only: Option<Vec<String>>,
    /// Requests so far, and connections that nobody can look into.
    requests: u32,
    meter: Arc<Meter>,
    /// Its open connections, by number.
    links: HashMap<u64, CancellationToken>,
}

/// One connection to the gateway.
pub(crate) struct Link {
    number: u64,
    end: CancellationToken,
    door: Arc<Door>,
    attempt: OnceLock<AttemptId>,
}

impl Door {
    /// Returns the attempt's token: 128 bits, different each time.
    pub(crate) fn admit(&self, attempt: AttemptId, pass: Pass, only: Option<Vec<String>>) -> String {
        let token = format!("{:032x}", rand::random::<u128>());
        self.lock()
            .by_token
            .insert(token.clone(), Admitted { attempt, pass, only, requests: 0, meter: Arc::default(), links: HashMap::new() });
        token
    }

    /// Counts one more request of the attempt, and says for how long its client waits; the error is how many it may send.
    pub(crate) fn count(&self, attempt: AttemptId) -> Result<Option<Duration>, u32> {
        let mut inside = self.lock();
        let Some(admitted) = inside.by_token.values_mut().find(|admitted| admitted.attempt == attempt) else { return Ok(None) };
        if let Some(most) = admitted.pass.most.filter(|most| admitted.requests >= *most) {
            return Err(most);
        }
        admitted.requests += 1;
        Ok(admitted.pass.patience)
    }

    /// Whether it may ask this source (`None`: whoever no source declares); the error is whom it may ask.
    pub(crate) fn may_ask(&self, attempt: AttemptId, source: Option<&str>) -> Result<(), Vec<String>> {
        let inside = self.lock();
        let admitted = inside.by_token.values().find(|admitted| admitted.attempt == attempt);
        match admitted.and_then(|admitted| admitted.only.as_ref()) {
            Some(only) if !source.is_some_and(|source| only.iter().any(|allowed| allowed == source)) => Err(only.clone()),
            _ => Ok(()),
        }
    }

    /// `end` is cancelled when the attempt is dismissed, at once if it was.
    pub(crate) fn open_for(&self, attempt: AttemptId, end: CancellationToken) {
        let mut inside = self.lock();
        inside.links += 1;
        let number = inside.links;
        match inside.by_token.values_mut().find(|admitted| admitted.attempt == attempt) {
            Some(admitted) => drop(admitted.links.insert(number, end)),
            None => end.cancel(),
        }
    }

    /// What passed for it.
    pub(crate) fn dismiss(&self, attempt: AttemptId) -> Passed {
        let mut inside = self.lock();
        let mut passed = Passed::default();
        for (_, admitted) in inside.by_token.extract_if(|_, admitted| admitted.attempt == attempt) {
            admitted.links.into_values().for_each(|link| link.cancel());
            passed += admitted.meter.read();
        }
        passed
    }

    /// Where the attempt's bytes are added up; of one that has gone, nobody reads it any more.
    pub(crate) fn meter(&self, attempt: AttemptId) -> Arc<Meter> {
        let inside = self.lock();
        let admitted = inside.by_token.values().find(|admitted| admitted.attempt == attempt);
        admitted.map(|admitted| admitted.meter.clone()).unwrap_or_default()
    }

    /// `end`: cancelled when the connection has to close. Whether another one had to, for this one.
    pub(crate) fn link(self: &Arc<Self>, end: CancellationToken) -> (Link, bool) {
        let mut inside = self.lock();
        inside.links += 1;
        let number = inside.links;
        inside.strangers.insert(number, end.clone());
        let crowded_out = if inside.strangers.len() > STRANGERS_AT_MOST { inside.strangers.pop_first() } else { None };
        let link = Link { number, end, door: self.clone(), attempt: OnceLock::new() };
        drop(inside);
        let crowded_out = crowded_out.map(|(_, oldest)| oldest.cancel());
        (link, crowded_out.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Link {
    /// Runs until its connection has to close.
    pub(crate) async fn while_open(&self, what: impl Future<Output = ()>) {
        let _ = self.end.run_until_cancelled(what).await;
    }

    /// Whose token it is; from now on this connection ends with that attempt.
    pub(crate) fn enter(&self, token: &str) -> Option<AttemptId> {
        let mut inside = self.door.lock();
        let inside = &mut *inside;
        let admitted = inside.by_token.get_mut(token)?;
        let _ = self.attempt.set(admitted.attempt);
        inside.strangers.remove(&self.number);
        admitted.links.entry(self.number).or_insert_with(|| self.end.clone());
        Some(admitted.attempt)
    }

    /// Whose it is, once it has said so.
    pub(crate) fn attempt(&self) -> Option<AttemptId> {
        self.attempt.get().copied()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut inside = self.door.lock();
        inside.strangers.remove(&self.number);
        inside.by_token.values_mut().for_each(|admitted| {
            admitted.links.remove(&self.number);
        });
    }
}
