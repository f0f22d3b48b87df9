//! A permit in the hand of whoever sends its request: it is settled exactly once, whatever happens to the holder.
//!
//! Without this a cancelled request (a client that left, an attempt that was stopped, a panic) would leave its permit
//! unsettled, and the limits would count it as being on its way for ever.
//!
//! Always true: a request that may have left this process is never settled as unsent
//! (`a_request_that_may_have_been_sent_is_never_settled_as_unsent`).

use std::sync::Arc;
use std::time::Duration;

use crate::ports::{Clock, PermitId, Permits, Settlement};

/// One permit, not settled yet. Dropped before [`HeldPermit::sending`] it was not used; dropped after it, its request
/// counts as having arrived by now plus `linger`: whoever drops it closes the connection.
pub struct HeldPermit {
    permit: PermitId,
    permits: Arc<dyn Permits>,
    clock: Arc<dyn Clock>,
    linger: Duration,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Sending,
    Settled,
}

impl HeldPermit {
    /// `linger`: how much later than a connection was closed its request may still arrive.
    pub fn new(permit: PermitId, permits: Arc<dyn Permits>, clock: Arc<dyn Clock>, linger: Duration) -> Self {
        HeldPermit { permit, permits, clock, linger, stage: Stage::Waiting }
    }

    /// From here on bytes of the request may leave this process.
    pub fn sending(&mut self) {
        if self.stage == Stage::Waiting {
            self.stage = Stage::Sending;
        }
    }

    /// The first byte of the answer is here.
    pub fn answered(mut self) {
        let now = self.clock.now().boot;
        self.settle(Settlement::ArrivedBy(now));
    }

    /// The connection is closed, and no answer came.
    pub fn closed(mut self) {
        self.settle_closed();
    }

    /// The transport says that no byte of the request was written, although it was handed over.
    pub fn unsent(mut self) {
        self.settle(Settlement::Unsent);
    }

    fn settle_closed(&mut self) {
        let latest = self.clock.now().boot + self.linger;
        self.settle(Settlement::ArrivedBy(latest));
    }

    fn settle(&mut self, how: Settlement) {
        self.stage = Stage::Settled;
        self.permits.settle(self.permit, how);
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        match self.stage {
            Stage::Waiting => self.settle(Settlement::Unsent),
            Stage::Sending => self.settle_closed(),
            Stage::Settled => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::ids::AttemptId;
    use crate::ports::{Answer, PermitRefused};
    use crate::time::{BootId, Boottime, Now, Timestamp};

    struct Still;

    #[async_trait]
    impl Clock for Still {
        fn now(&self) -> Now {
            Now { wall: Timestamp::UNIX_EPOCH, boot: Boottime::from_secs(7) }
        }

        fn boot_id(&self) -> BootId {
            BootId("test".into())
        }

        async fn sleep_until(&self, _until: Boottime) {}
    }

    #[derive(Default)]
    struct Ledger(Mutex<Vec<(PermitId, Settlement)>>);

    #[async_trait]
    impl Permits for Ledger {
        async fn acquire(&self, attempt: AttemptId, _source: &str) -> Result<PermitId, PermitRefused> {
            Err(PermitRefused::NoSuchAttempt(attempt))
        }

        fn settle(&self, permit: PermitId, how: Settlement) {
            self.0.lock().unwrap().push((permit, how));
        }

        fn answered(&self, _attempt: AttemptId, _source: &str, _answer: Answer) {}

        fn uncovered(&self, _attempt: AttemptId, _host: &str, _passed: bool) {}
    }

    fn settled(end: impl FnOnce(HeldPermit)) -> Vec<(PermitId, Settlement)> {
        let ledger = Arc::new(Ledger::default());
        end(HeldPermit::new(PermitId(3), ledger.clone(), Arc::new(Still), Duration::from_secs(1)));
        ledger.0.lock().unwrap().clone()
    }

    #[test]
    fn a_request_that_may_have_been_sent_is_never_settled_as_unsent() {
        let by = |second| vec![(PermitId(3), Settlement::ArrivedBy(Boottime::from_secs(second)))];
        assert_eq!(settled(|mut permit| permit.sending()), by(8));
        assert_eq!(settled(HeldPermit::closed), by(8));
        assert_eq!(settled(HeldPermit::answered), by(7));
    }

    #[test]
    fn a_permit_is_settled_once_and_unused_if_nothing_was_sent() {
        let unsent = vec![(PermitId(3), Settlement::Unsent)];
        assert_eq!(settled(drop), unsent);
        assert_eq!(settled(HeldPermit::unsent), unsent);
    }
}
