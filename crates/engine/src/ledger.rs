//! The engine's pen: hands changes to the state in the order in which they were decided, many of them under way at once.
//!
//! Without it two writes could overtake each other, and a gap could be leased again before its last result is recorded.
//! The order is that of the calls; a store begins a write when its future is first polled, and that happens here, in order.

use std::pin::Pin;
use std::sync::Arc;

use adce_core::ids::FencingToken;
use adce_core::ports::{Store, StoreError};
use adce_core::record::{Change, Lease};
use futures::StreamExt;
use futures::future::FutureExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::inbox::Message;

#[derive(Clone)]
pub(crate) struct Ledger {
    entries: mpsc::UnboundedSender<Entry>,
}

/// The task that writes; it ends when the last [`Ledger`] is gone and everything is written.
pub(crate) type Writing = tokio::task::JoinHandle<()>;

enum Entry {
    Changes(Vec<Change>),
    Reserve { reservation: u64, change: Change },
    Lease { before: Vec<Change>, lease: Lease, reply: oneshot::Sender<Result<FencingToken, StoreError>> },
}

impl Ledger {
    pub fn new(store: Arc<dyn Store>, to_loop: mpsc::UnboundedSender<Message>) -> (Self, Writing) {
        let (entries, mut queue) = mpsc::unbounded_channel::<Entry>();
        let writing = tokio::spawn(async move {
            let mut under_way = FuturesUnordered::<Pin<Box<dyn Future<Output = ()> + Send>>>::new();
            loop {
                tokio::select! {
                    biased;
                    Some(()) = under_way.next(), if !under_way.is_empty() => {}
                    entry = queue.recv() => match entry {
                        None => break,
                        Some(entry) => {
                            let mut writing = write(store.clone(), entry, to_loop.clone()).boxed();
                            if futures::poll!(writing.as_mut()).is_pending() {
                                under_way.push(writing);
                            }
                        }
                    },
                }
            }
            while under_way.next().await.is_some() {}
        });
        (Ledger { entries }, writing)
    }

    /// A failure reaches the loop as [`Message::StateFailed`].
    pub fn record(&self, changes: Vec<Change>) {
        if !changes.is_empty() {
            let _ = self.entries.send(Entry::Changes(changes));
        }
    }

    /// The loop hears [`Message::Reserved`].
    pub fn reserve(&self, reservation: u64, change: Change) {
        let _ = self.entries.send(Entry::Reserve { reservation, change });
    }

    pub async fn lease(&self, before: Vec<Change>, lease: Lease) -> Result<FencingToken, StoreError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.entries.send(Entry::Lease { before, lease, reply });
        answer.await.unwrap_or_else(|_| Err(StoreError::Unreachable("the engine is ending".into())))
    }
}

async fn write(store: Arc<dyn Store>, entry: Entry, to_loop: mpsc::UnboundedSender<Message>) {
    match entry {
        Entry::Changes(changes) => {
            if let Err(error) = store.apply(changes).await {
                let _ = to_loop.send(Message::StateFailed(error));
            }
        }
        Entry::Reserve { reservation, change } => {
            let recorded = store.apply(vec![change]).await;
            let _ = to_loop.send(Message::Reserved { reservation, recorded });
        }
        Entry::Lease { before, lease, reply } => {
            // Both are under way at once and share a commit; neither is used unless both are durable.
            let nothing_before = before.is_empty();
            let recorded = async { if nothing_before { Ok(()) } else { store.apply(before).await } };
            let (recorded, token) = futures::join!(recorded, store.lease(lease));
            let _ = reply.send(recorded.and(token));
        }
    }
}
