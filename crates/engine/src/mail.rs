//! What has happened and is not handled yet, in the order in which it happened.
//!
//! A channel would wake the loop for every message. The end of a short attempt needs nobody else: its own thread takes the
//! helm and handles it, and only if that fails somebody has to be called.
//!
//! Always true: a message that was put here is handled by whoever has the helm then or takes it next, until the engine
//! ends; what comes later goes nowhere, and its sender is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::helm::Helm;
use crate::inbox::Message;

#[derive(Clone, Default)]
pub(crate) struct Mail {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None`: the engine has ended.
    waiting: Mutex<Option<VecDeque<Message>>>,
    call: Notify,
    /// Not before the engine runs.
    helm: OnceLock<Weak<Helm>>,
}

/// The engine has ended.
#[derive(Debug)]
pub(crate) struct HasEnded;

impl Default for Shared {
    fn default() -> Self {
        Shared { waiting: Mutex::new(Some(VecDeque::new())), call: Notify::new(), helm: OnceLock::new() }
    }
}

impl Mail {
    /// The loop will look at it.
    pub fn send(&self, message: Message) -> Result<(), HasEnded> {
        self.put(message)?;
        self.call_loop();
        Ok(())
    }

    /// For what takes a moment and somebody waits for: whoever brings it handles it himself, if the helm is free. To call the loop,
    /// and to be called by it, would cost a request several times what it takes to decide of it.
    pub fn bring(&self, message: Message) -> Result<(), HasEnded> {
        // What starts meanwhile is begun on a thread of the runtime.
        match self.shared.helm.get().and_then(Weak::upgrade).filter(|_| Handle::try_current().is_ok()) {
            Some(helm) => {
                self.put(message)?;
                helm.steer_on();
                Ok(())
            }
            None => self.send(message),
        }
    }

    pub fn belongs_to(&self, helm: &Arc<Helm>) {
        let _ = self.shared.helm.set(Arc::downgrade(helm));
    }

    /// For whoever takes the helm right after it.
    pub fn put(&self, message: Message) -> Result<(), HasEnded> {
        self.waiting().as_mut().ok_or(HasEnded)?.push_back(message);
        Ok(())
    }

    pub fn take(&self) -> Option<Message> {
        self.waiting().as_mut()?.pop_front()
    }

    /// The next one, unless it is such: then it stays, and all that came after it.
    pub fn take_unless(&self, such: impl Fn(&Message) -> bool) -> Option<Message> {
        self.waiting().as_mut()?.pop_front_if(|next| !such(next))
    }

    pub fn next_is(&self, such: impl Fn(&Message) -> bool) -> bool {
        self.waiting().as_ref().and_then(VecDeque::front).is_some_and(such)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting().as_ref().is_none_or(VecDeque::is_empty)
    }

    /// Also if it is busy now: it will have another turn.
    pub fn call_loop(&self) {
        self.shared.call.notify_one();
    }

    /// Returns once the loop was called since it last returned. May be dropped and called again.
    pub async fn loop_is_called(&self) {
        self.shared.call.notified().await;
    }

    /// Drops what nobody will handle: who waits for an answer learns that there is none.
    pub fn shut(&self) {
        let unhandled = self.waiting().take();
        // A message may send another when it is dropped.
        drop(unhandled);
    }

    fn waiting(&self) -> MutexGuard<'_, Option<VecDeque<Message>>> {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
