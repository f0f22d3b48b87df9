//! The engine's pen: hands changes to the state in the order in which they were decided, many of them under way at once.
//!
//! Without it two writes could overtake each other, and a gap could be leased again before its last result is recorded.
//! The order is that of the calls: a store begins a write when its future is first polled, and each is polled here, before
//! the call returns. No task stands between the loop and the store: every hand-over costs a short attempt more than the
//! write itself.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use adce_core::ids::FencingToken;
use adce_core::ports::{Store, StoreError};
use adce_core::record::{Change, Lease};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;

use crate::inbox::Message;

pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    /// Changes in the order in which they were decided. The loop is not woken when they are written, only asks now and then
    /// whether one was not.
    recording: VecDeque<BoxFuture<'static, Result<(), StoreError>>>,
    /// What the loop waits for.
    reserving: FuturesUnordered<BoxFuture<'static, Message>>,
    /// Among them is one that the loop does not know of yet.
    is_reserving_more: bool,
}

/// A lease that is being written.
pub(crate) type Leasing = BoxFuture<'static, Result<FencingToken, StoreError>>;

impl Ledger {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Ledger { store, recording: VecDeque::new(), reserving: FuturesUnordered::new(), is_reserving_more: false }
    }

    /// A failure comes out of [`Ledger::failure`] or [`Ledger::finish`].
    pub fn record(&mut self, changes: Vec<Change>) {
        if !changes.is_empty() {
            let store = self.store.clone();
            self.recording.push_back(begun(async move { store.record(changes).await }));
        }
    }

    /// What could not be written so far.
    pub fn failure(&mut self) -> Option<StoreError> {
        while let Some(oldest) = self.recording.front_mut() {
            match oldest.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return None,
                Poll::Ready(written) => {
                    self.recording.pop_front();
                    if let Err(error) = written {
                        return Some(error);
                    }
                }
            }
        }
        None
    }

    /// Once it has come, everything that was recorded so far is durable.
    pub fn written(&self) -> BoxFuture<'static, Result<(), StoreError>> {
        if self.recording.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let store = self.store.clone();
        begun(async move { store.apply(Vec::new()).await })
    }

    /// Everything is written when it returns, but for what it names.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        while let Some(oldest) = self.recording.pop_front() {
            oldest.await?;
        }
        Ok(())
    }

    /// Comes out of [`Ledger::poll_reserved`] as [`Message::Reserved`].
    pub fn reserve(&mut self, reservation: u64, change: Change) {
        let store = self.store.clone();
        self.is_reserving_more = true;
        self.reserving.push(begun(async move { Message::Reserved { reservation, recorded: store.apply(vec![change]).await } }));
    }

    /// A reservation that is durable, or is not. The loop is woken when there is another.
    pub fn poll_reserved(&mut self, context: &mut Context<'_>) -> Poll<Message> {
        self.is_reserving_more = false;
        match self.reserving.poll_next_unpin(context) {
            Poll::Ready(Some(reserved)) => Poll::Ready(reserved),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    /// Since the loop last asked, a reservation was begun.
    pub fn is_reserving_more(&self) -> bool {
        self.is_reserving_more
    }

    /// For a start that lies ahead.
    pub fn lease_ahead(&self, lease: Lease) -> Leasing {
        let store = self.store.clone();
        begun(async move { store.lease_ahead(lease).await })
    }

    /// Both are under way at once and share a commit; the lease is given only when both are durable.
    pub fn lease(&self, before: Vec<Change>, lease: Lease) -> Leasing {
        let store = self.store.clone();
        begun(async move {
            if before.is_empty() {
                return store.lease(lease).await;
            }
            let (recorded, token) = futures::join!(store.apply(before), store.lease(lease));
            recorded.and(token)
        })
    }
}

/// Polls a write once, so that it is in its place in the store's queue; whoever awaits it polls it again.
fn begun<T: Send + 'static>(write: impl Future<Output = T> + Send + 'static) -> BoxFuture<'static, T> {
    let mut write: Pin<Box<dyn Future<Output = T> + Send>> = Box::pin(write);
    match write.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Box::pin(std::future::ready(done)),
        Poll::Pending => write,
    }
}
