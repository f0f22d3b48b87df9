//! A switch that ends one attempt. Once thrown it stays.

use adce_core::ports::StopSignal;
use async_trait::async_trait;
use tokio::sync::watch;

pub struct StopSwitch {
    thrown: watch::Sender<bool>,
}

impl Default for StopSwitch {
    fn default() -> Self {
        StopSwitch { thrown: watch::channel(false).0 }
    }
}

impl StopSwitch {
    pub fn stop(&self) {
        self.thrown.send_replace(true);
    }
}

#[async_trait]
impl StopSignal for StopSwitch {
    async fn stopped(&self) {
        // The sender lives as long as the switch: waiting cannot fail.
        let _ = self.thrown.subscribe().wait_for(|thrown| *thrown).await;
    }

    fn is_stopped(&self) -> bool {
        *self.thrown.borrow()
    }
}
