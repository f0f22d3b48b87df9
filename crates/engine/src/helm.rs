//! Who steers the engine: one at a time, the loop, or for a moment the thread whose attempt has just ended.
//!
//! A loop that is told of every end, decides, and hands the next start to another thread costs a short attempt two waits for
//! a processor, and while the loop waits for one all slots stand still. A turn blocks nowhere and takes some ten
//! microseconds; so the thread that brings the news takes the helm, handles whatever else has happened meanwhile, and goes
//! on with the task that starts in its slot.
//!
//! Always true: nothing that was put into the mail stays there. Whoever finds the helm taken goes away, because whoever has
//! it looks into the mail once more after letting go.
//!
//! What takes long, or waits, is the loop's alone: what a full cycle saw, displays, the end.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll};

use crate::attempt::Attempt;
use crate::engine::Engine;
use crate::inbox::Message;
use crate::ledger::Leasing;
use crate::mail::Mail;

/// Whoever steers has a job of its own to go on with.
const TURNS_IN_A_ROW: u32 = 4;

pub(crate) struct Helm {
    /// `None`: the engine has ended, or a turn of it panicked.
    engine: Mutex<Option<Engine>>,
    mail: Mail,
}

/// A start, and the lease under which it happens.
pub(crate) struct Job {
    pub attempt: Attempt,
    pub leasing: Leasing,
}

/// A turn panicked: what it left behind cannot be trusted.
pub(crate) struct Broken;

impl Helm {
    pub fn of(engine: Engine) -> Arc<Self> {
        let mail = engine.mail.clone();
        let helm = Arc::new(Helm { engine: Mutex::new(Some(engine)), mail });
        helm.mail.belongs_to(&helm);
        helm
    }

    /// For the loop: waits for whoever has the helm, which is never long.
    pub fn take<T>(self: &Arc<Self>, turn: impl FnOnce(&mut Engine, &mut dyn FnMut(Job)) -> T) -> Result<T, Broken> {
        self.guarded(&mut self.helm(), |engine| turn(engine, &mut |job| self.launch(job)))
    }

    pub fn poll_reserved(&self, context: &mut Context<'_>) -> Poll<Message> {
        let polled = match self.helm().as_mut() {
            Some(engine) => engine.ledger.poll_reserved(context),
            None => Poll::Pending,
        };
        // Whoever found the helm taken meanwhile has gone away, and this is no turn that would have seen what he left.
        if !self.mail.is_empty() {
            self.mail.call_loop();
        }
        polled
    }

    /// Nobody steers any more.
    pub fn end(&self) -> Result<Engine, Broken> {
        let engine = self.helm().take().ok_or(Broken)?;
        self.mail.shut();
        Ok(engine)
    }

    /// For the loop to hear; the caller goes on at once.
    pub fn tell(&self, message: Message) {
        // An engine that has ended needs no news.
        let _ = self.mail.send(message);
    }

    /// The caller may steer, and has something else to do afterwards: what starts is begun on other threads.
    pub fn steer_for(self: &Arc<Self>, message: Message) {
        self.steer(message, &mut |job| self.launch(job));
    }

    /// The same, with what is in the mail already.
    pub fn steer_on(self: &Arc<Self>) {
        self.handle_mail(&mut |job| self.launch(job));
    }

    /// A thread of its own, that may block, for this job and whatever starts when it is over.
    fn launch(self: &Arc<Self>, job: Job) {
        let helm = self.clone();
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let mut next = Some(job);
            while let Some(Job { attempt, leasing }) = next.take() {
                let id = attempt.start.attempt;
                let run = AssertUnwindSafe(|| runtime.block_on(attempt.run(leasing, &helm)));
                let message = std::panic::catch_unwind(run).unwrap_or(Message::Panicked { attempt: Some(id) });
                helm.steer(message, &mut |job| match next {
                    None => next = Some(job),
                    Some(_) => helm.launch(job),
                });
            }
        });
    }

    /// Takes the helm if it is free. If it is not, whoever has it will find the message.
    fn steer(self: &Arc<Self>, message: Message, launch: &mut dyn FnMut(Job)) {
        if self.mail.put(message).is_ok() {
            self.handle_mail(launch);
        }
    }

    fn handle_mail(self: &Arc<Self>, launch: &mut dyn FnMut(Job)) {
        for _ in 0..TURNS_IN_A_ROW {
            let Some(mut engine) = self.free_helm() else { return };
            let turned = self.guarded(&mut engine, |engine| engine.turn_between(launch));
            drop(engine);
            match turned {
                Ok(false) if self.mail.is_empty() => return,
                Ok(false) => {}
                // What is left is for the loop, or the loop has to hear that there is no engine any more.
                Ok(true) | Err(Broken) => break,
            }
        }
        self.mail.call_loop();
    }

    /// Of an engine whose turn panicked nothing can be trusted, and nobody may wait for it: what runs is ended, whoever asks
    /// learns that there is no answer.
    fn guarded<T>(&self, engine: &mut Option<Engine>, turn: impl FnOnce(&mut Engine) -> T) -> Result<T, Broken> {
        let steered = engine.as_mut().ok_or(Broken)?;
        std::panic::catch_unwind(AssertUnwindSafe(|| turn(steered))).map_err(|_| {
            // The message stands on standard error by now.
            if let Some(broken) = engine.take() {
                broken.stop_all();
            }
            self.mail.shut();
            Broken
        })
    }

    /// Nobody panics while he has it but in a turn, and that is caught.
    fn helm(&self) -> MutexGuard<'_, Option<Engine>> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free_helm(&self) -> Option<MutexGuard<'_, Option<Engine>>> {
        match self.engine.try_lock() {
            Ok(engine) => Some(engine),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        }
    }
}
