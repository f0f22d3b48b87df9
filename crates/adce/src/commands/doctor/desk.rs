//! The doctor's counter for permits: the engine's own limiter behind the engine's own gateway, without an engine.
//!
//! A command that sends one request would keep any limit. So the window is full when the first request of a run asks: it must be
//! seen to wait, or nothing keeps it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use adce_core::ids::AttemptId;
use adce_core::limits::{Ask, Limiter, SourceIx};
use adce_core::ports::{Answer, Clock, PermitId, PermitRefused, Permits, Settlement};
use adce_core::spec::{Limits, Window};
use adce_core::time::Boottime;
use async_trait::async_trait;
use tokio::sync::Notify;

/// At most so many requests in any span of this length.
pub const LIMIT: Window = Window { requests: 5, span: Duration::from_secs(1) };

const SOURCE: SourceIx = SourceIx(0);

/// What an earlier run left unsettled has other numbers.
fn limiter(run: u64) -> Limiter {
    const PERMITS_OF_A_RUN: u64 = 1 << 32;
    let limits = Limits { windows: vec![LIMIT], ..Limits::default() };
    let mut limiter = Limiter::new(&[("upstream".into(), limits)], &Limits::default());
    limiter.number_from(run * PERMITS_OF_A_RUN + 1);
    limiter
}

pub struct Desk {
    inside: Mutex<Inside>,
    /// A permit was settled.
    settled: Notify,
    clock: Arc<dyn Clock>,
}

struct Inside {
    limiter: Limiter,
    runs: u64,
    /// When the first request of the run under way asked.
    first_asked: Option<Instant>,
    /// TLS handshakes with the gateway that were broken off, by host.
    distrusted: BTreeMap<String, u64>,
}

impl Desk {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let inside = Inside { limiter: limiter(0), runs: 0, first_asked: None, distrusted: BTreeMap::new() };
        Arc::new(Desk { inside: Mutex::new(inside), settled: Notify::new(), clock })
    }

    /// The next request that asks is the first of a run, and what came before it counts no more: it waits for the whole window.
    pub fn begin(&self) {
        let mut inside = self.lock();
        inside.runs += 1;
        inside.limiter = limiter(inside.runs);
        inside.first_asked = None;
    }

    pub fn first_asked(&self) -> Option<Instant> {
        self.lock().first_asked
    }

    /// Handshakes broken off since the last call.
    pub fn take_distrusted(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.lock().distrusted)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// A permit; or when to ask again.
    fn try_acquire(&mut self, now: Boottime) -> Result<PermitId, Option<Boottime>> {
        if self.first_asked.is_none() {
            self.first_asked = Some(Instant::now());
            self.fill(now);
        }
        let permit = self.limiter.try_acquire(&Ask::one(SOURCE), now).map_err(|refusal| refusal.at())?;
        // Nothing pauses this source.
        let _ = self.limiter.sent(permit.id, now);
        Ok(permit.id)
    }

    /// As if all that the window lets through had just arrived.
    fn fill(&mut self, now: Boottime) {
        while let Ok(permit) = self.limiter.try_acquire(&Ask::one(SOURCE), now) {
            let _ = self.limiter.sent(permit.id, now);
            self.limiter.settle(permit.id, Settlement::ArrivedBy(now), now);
        }
    }
}

#[async_trait]
impl Permits for Desk {
    async fn acquire(&self, _attempt: AttemptId, _source: &str) -> Result<PermitId, PermitRefused> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let tried = self.lock().try_acquire(self.clock.now().boot);
            match tried {
                Ok(permit) => return Ok(permit),
                Err(None) => settled.await,
                Err(Some(until)) => tokio::select! {
                    () = settled => {}
                    () = self.clock.sleep_until(until) => {}
                },
            }
        }
    }

    fn settle(&self, permit: PermitId, how: Settlement) {
        self.lock().limiter.settle(permit, how, self.clock.now().boot);
        self.settled.notify_waiters();
    }

    fn answered(&self, _attempt: AttemptId, _source: &str, _answer: Answer) {}

    fn uncovered(&self, _attempt: AttemptId, _host: &str, _passed: bool) {}

    fn distrusted(&self, _attempt: AttemptId, host: &str) {
        *self.lock().distrusted.entry(host.to_owned()).or_default() += 1;
    }
}
