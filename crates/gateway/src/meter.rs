//! Bytes on their way: added up for the attempt and for the source, while they move.
//!
//! The engine hears of each request, but not of each byte: a message for every body would cost more than the body.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use adce_core::pacing::Pace;
use adce_core::ports::Passed;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::paced::Paced;

#[derive(Default)]
pub(crate) struct Meter {
    sent: AtomicU64,
    received: AtomicU64,
    again: AtomicU64,
}

impl Meter {
    pub(crate) fn read(&self) -> Passed {
        Passed { sent_bytes: self.sent.load(Relaxed), received_bytes: self.received.load(Relaxed), sent_again: self.again.load(Relaxed) }
    }
}

/// Whose bytes they are.
#[derive(Clone)]
pub(crate) struct Meters {
    pub(crate) attempt: Arc<Meter>,
    /// `None`: no source declares the host.
    pub(crate) source: Option<Arc<Meter>>,
    /// What they wait for, if they are of a source that bounds them.
    pub(crate) pace: Option<Pace>,
}

impl Meters {
    fn each(&self, count: impl Fn(&Meter)) {
        count(&self.attempt);
        self.source.iter().for_each(|source| count(source));
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.each(|meter| add(&meter.sent, bytes as u64));
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.each(|meter| add(&meter.received, bytes as u64));
    }

    pub(crate) fn sent_again(&self) {
        self.each(|meter| add(&meter.again, 1));
    }
}

fn add(to: &AtomicU64, more: u64) {
    to.fetch_add(more, Relaxed);
}

/// A client's body on its way up.
pub(crate) struct Upload {
    body: Incoming,
    meters: Meters,
    paced: Option<Box<Paced>>,
}

impl Upload {
    pub(crate) fn new(body: Incoming, meters: Meters) -> Self {
        let paced = Paced::by(meters.pace.as_ref());
        Upload { body, meters, paced }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Upload { body, meters, paced } = &mut *self;
        let frame = match Paced::rest(paced, context) {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(ready!(piece))))),
            None => {
                let frame = Pin::new(body).poll_frame(context);
                Paced::first(paced, context, frame)
            }
        };
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            meters.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        Paced::held(&self.paced) == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Paced::with_held(&self.paced, self.body.size_hint())
    }
}
