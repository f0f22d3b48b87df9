//! How jobs come to the writer: a queue that wakes it for what somebody waits for, and lets it sleep through the rest.
//!
//! An attempt hands in its result and its slot's next lease, and waits for neither. A channel would wake the writer for each
//! of them, only to see it go to sleep again for the company of more: two switches of thread, thousands of times a second,
//! for nothing.
//!
//! Always true: jobs come out in the order in which they went in, and a writer that sleeps for as long as it takes is woken
//! by any (`what_nobody_waits_for_wakes_a_writer_that_has_nothing_to_do`).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::writer::{Haste, Sent};

/// The side of the callers.
pub(super) struct Post {
    shared: Arc<Shared>,
}

/// The side of the writer.
pub(super) struct Mailbox {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wakes: Condvar,
}

#[derive(Default)]
struct State {
    sent: VecDeque<Sent>,
    sleeps: Sleeps,
    /// The writer has ended.
    gone: bool,
}

/// What wakes the writer.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sleeps {
    #[default]
    Awake,
    ForAnything,
    ForWhoeverWaits,
}

pub(super) fn mailbox() -> (Post, Mailbox) {
    let shared = Arc::new(Shared::default());
    (Post { shared: shared.clone() }, Mailbox { shared })
}

impl Post {
    /// `false`: the writer has ended, and nobody will do it.
    pub(super) fn send(&self, sent: Sent) -> bool {
        let mut state = self.shared.lock();
        if state.gone {
            return false;
        }
        let wakes = match state.sleeps {
            Sleeps::Awake => false,
            Sleeps::ForAnything => true,
            Sleeps::ForWhoeverWaits => hurries(&sent),
        };
        state.sent.push_back(sent);
        if wakes {
            state.sleeps = Sleeps::Awake;
            drop(state);
            self.shared.wakes.notify_one();
        }
        true
    }
}

impl Mailbox {
    /// Everything that was sent so far.
    pub(super) fn take(&self) -> VecDeque<Sent> {
        std::mem::take(&mut self.shared.lock().sent)
    }

    /// Sleeps until anything is there.
    pub(super) fn wait(&self) {
        let mut state = self.shared.lock();
        while state.sent.is_empty() {
            state.sleeps = Sleeps::ForAnything;
            state = self.shared.wakes.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sleeps until anything is there, but not longer.
    pub(super) fn wait_until(&self, deadline: Instant) {
        self.sleep_until(deadline, Sleeps::ForAnything, |sent| !sent.is_empty());
    }

    /// Sleeps until something is there that cannot be put off, but not longer.
    pub(super) fn doze_until(&self, deadline: Instant) {
        self.sleep_until(deadline, Sleeps::ForWhoeverWaits, |sent| sent.iter().any(hurries));
    }

    fn sleep_until(&self, deadline: Instant, sleeps: Sleeps, is_enough: impl Fn(&VecDeque<Sent>) -> bool) {
        let mut state = self.shared.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || is_enough(&state.sent) {
                state.sleeps = Sleeps::Awake;
                return;
            }
            state.sleeps = sleeps;
            state = self.shared.wakes.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.gone = true;
        // Whoever waits for an answer to these hears that there will be none.
        state.sent.clear();
    }
}

impl Shared {
    /// Nothing panics while it is held.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hurries(sent: &Sent) -> bool {
    match sent {
        Sent::Job(job) => job.haste == Haste::SomebodyWaits,
        Sent::End(_) => true,
    }
}
