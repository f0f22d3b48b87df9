//! A clock that moves only when told, and knows who sleeps by it.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::Duration;

use adce_core::ports::Clock;
use adce_core::time::{BootId, Boottime, Now, Timestamp};
use async_trait::async_trait;
use tokio::sync::watch;

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A claim that never comes true fails here instead of hanging.
pub async fn in_time<T>(what: &str, signal: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, signal).await.unwrap_or_else(|_| panic!("never came true: {what}"))
}

/// Stands still until it is advanced.
pub struct HandClock {
    now: watch::Sender<Boottime>,
    /// Until when those sleep who do.
    sleepers: watch::Sender<Vec<Boottime>>,
}

impl HandClock {
    pub fn new() -> Arc<Self> {
        Arc::new(HandClock { now: watch::Sender::new(Boottime::from_secs(1_000)), sleepers: watch::Sender::default() })
    }

    pub fn advance(&self, span: Duration) {
        self.now.send_modify(|now| *now = *now + span);
    }

    /// Waits until somebody sleeps, for so long if that is told, and lets just that time pass.
    pub async fn pass_when_somebody_sleeps(&self, for_so_long: Option<Duration>) {
        self.pass_when(|span| for_so_long.is_none_or(|wanted| span == wanted)).await;
    }

    /// Waits until somebody sleeps for no longer than that, and lets just that time pass.
    pub async fn pass_when_somebody_sleeps_briefly(&self, at_most: Duration) {
        self.pass_when(|span| span <= at_most).await;
    }

    /// Waits until somebody sleeps.
    pub async fn somebody_sleeps(&self) {
        let now = *self.now.borrow();
        let mut sleepers = self.sleepers.subscribe();
        in_time("somebody sleeps", sleepers.wait_for(|all| all.iter().any(|until| *until > now))).await.unwrap();
    }

    async fn pass_when(&self, fits: impl Fn(Duration) -> bool) {
        let now = *self.now.borrow();
        let fits = |until: &&Boottime| **until > now && fits(until.since(now));
        let mut sleepers = self.sleepers.subscribe();
        let until = in_time("somebody sleeps", sleepers.wait_for(|all| all.iter().any(|until| fits(&until)))).await;
        let until = *until.unwrap().iter().filter(fits).min().unwrap();
        self.now.send_replace(until);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Now {
        let boot = *self.now.borrow();
        let wall = Timestamp::from_microsecond((boot.as_micros() - Boottime::from_secs(1_000).as_micros()) as i64).unwrap();
        Now { wall, boot }
    }

    fn boot_id(&self) -> BootId {
        boot_id()
    }

    async fn sleep_until(&self, until: Boottime) {
        let mut now = self.now.subscribe();
        self.sleepers.send_modify(|all| all.push(until));
        let _asleep = Asleep { until, clock: self };
        let _ = now.wait_for(|now| *now >= until).await;
    }
}

struct Asleep<'a> {
    until: Boottime,
    clock: &'a HandClock,
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.clock.sleepers.send_modify(|all| {
            let this = all.iter().position(|until| *until == self.until).unwrap();
            all.swap_remove(this);
        });
    }
}

pub fn boot_id() -> BootId {
    BootId(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().into())
}
