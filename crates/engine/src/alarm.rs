//! Wakes the loop when it has nothing to hear.
//!
//! The loop wants to be woken at another instant after every message, nearly always a later one. A timer for each of
//! them would be set a thousand times a second and wake the thread that keeps the timers as often. One that rings too
//! early only makes the loop look at the clock.

use std::sync::Arc;

use adce_core::ports::Clock;
use adce_core::time::Boottime;
use futures::FutureExt;
use futures::future::BoxFuture;

pub(crate) struct Alarm {
    clock: Arc<dyn Clock>,
    set: Option<(Boottime, BoxFuture<'static, ()>)>,
}

impl Alarm {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Alarm { clock, set: None }
    }

    /// Returns at `at` or before. May be dropped and called again.
    pub async fn rings_by(&mut self, at: Boottime) {
        if self.set.as_ref().is_none_or(|(set, _)| at < *set) {
            let clock = self.clock.clone();
            self.set = Some((at, async move { clock.sleep_until(at).await }.boxed()));
        }
        if let Some((_, rings)) = &mut self.set {
            rings.await;
            self.set = None;
        }
    }
}
