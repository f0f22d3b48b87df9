//! The queue of a state that no engine runs, taken for one change by hand.

use std::sync::Arc;

use adce_core::failpoint::{self, Failpoint};
use adce_core::ports::{Clock, Store};
use adce_core::queue::{Dispatcher, Rules};
use adce_core::record::{Change, Remembered};
use adce_core::spec::Spec;
use adce_core::time::Now;

use crate::clock::MachineClock;
use crate::commands::ask;
use crate::failure::Failure;
use crate::wiring;

/// Nobody else writes the state while this lives.
pub struct IdleState {
    pub queue: Dispatcher,
    /// What the queue does not own: items, the held picture, what a dead engine left.
    pub rest: Remembered,
    pub now: Now,
    store: Arc<dyn Store>,
    /// What the config has changed since the state was written.
    before: Vec<Change>,
}

impl IdleState {
    /// `None`: there is no state yet, and none was made.
    pub async fn take(spec: &Arc<Spec>) -> Result<Option<IdleState>, Failure> {
        if ask::state(spec)?.is_none() {
            return Ok(None);
        }
        let lake = adce_lake::open(&spec.lake)?;
        let store = wiring::take_state(spec, &*lake).await?;
        let mut rest = store.load().await?;
        let now = MachineClock.now();
        let (queue, before) = Dispatcher::of_idle_state(Rules::of(spec), &mut rest, MachineClock.boot_id(), now);
        Ok(Some(IdleState { queue, rest, now, store, before }))
    }

    pub async fn write(self, changes: Vec<Change>) -> Result<(), Failure> {
        if changes.is_empty() {
            return Ok(());
        }
        failpoint::reached(Failpoint::ByHandDecided);
        self.store.apply(self.before.into_iter().chain(changes).collect()).await?;
        failpoint::reached(Failpoint::ByHandCommitted);
        Ok(())
    }
}
