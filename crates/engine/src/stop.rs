//! A switch that ends one attempt, and what the attempt has waited for limits. Once thrown it stays.

use adce_core::ports::{HeldUp, StopSignal};
use adce_core::time::Boottime;
use async_trait::async_trait;
use tokio::sync::watch;

pub struct StopSwitch {
    told: watch::Sender<Told>,
}

#[derive(Clone, Copy, Default)]
struct Told {
    thrown: bool,
    held_up: HeldUp,
}

impl Default for StopSwitch {
    fn default() -> Self {
        StopSwitch { told: watch::channel(Told::default()).0 }
    }
}

impl StopSwitch {
    pub fn stop(&self) {
        self.told.send_modify(|told| told.thrown = true);
    }

    /// A limit holds the attempt up from now on.
    pub fn waits(&self, now: Boottime) {
        self.told.send_modify(|told| told.held_up.since = told.held_up.since.or(Some(now)));
    }

    /// It does not any more.
    pub fn goes_on(&self, now: Boottime) {
        self.told.send_modify(|told| {
            if let Some(since) = told.held_up.since.take() {
                told.held_up.so_far += now.since(since);
            }
        });
    }
}

#[async_trait]
impl StopSignal for StopSwitch {
    async fn stopped(&self) {
        // The sender lives as long as the switch: waiting cannot fail.
        let _ = self.told.subscribe().wait_for(|told| told.thrown).await;
    }

    fn is_stopped(&self) -> bool {
        self.told.borrow().thrown
    }

    fn held_up(&self) -> HeldUp {
        self.told.borrow().held_up
    }

    async fn held_up_changes(&self, known: HeldUp) {
        let _ = self.told.subscribe().wait_for(|told| told.held_up != known).await;
    }
}
