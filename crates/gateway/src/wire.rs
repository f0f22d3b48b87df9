//! Whether all that was written to a connection has left this process, and whether its upstream has said anything.
//!
//! A connection with many requests stays open when one of them is given up, and what is still in our hands of it would be sent
//! whenever the upstream reads again: long after its permit was settled. So whoever gives a request up waits until nothing is held
//! back here; from then on `linger` covers it, as it does where the connection was closed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// What was written is with the operating system; or the connection is gone, and nothing of it will ever leave.
#[derive(Clone)]
pub(crate) struct Wire {
    is_clear: watch::Receiver<bool>,
    is_heard: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) fn is_clear(&self) -> bool {
        *self.is_clear.borrow() || self.is_clear.has_changed().is_err()
    }

    pub(crate) async fn clears(mut self) {
        // An error says that the connection is gone.
        let _ = self.is_clear.wait_for(|is_clear| *is_clear).await;
    }

    /// The first that the other side said was read and understood.
    pub(crate) fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Acquire)
    }
}

/// A connection that tells.
pub(crate) struct Watched<S> {
    stream: S,
    is_clear: watch::Sender<bool>,
    is_heard: Arc<AtomicBool>,
    has_read: bool,
    /// To be told once.
    hears: Option<Box<dyn FnOnce() + Send>>,
}

impl<S> Watched<S> {
    /// `hears`: called when the other side has said something.
    pub(crate) fn new(stream: S, hears: impl FnOnce() + Send + 'static) -> (Self, Wire) {
        let (is_clear, clear) = watch::channel(true);
        let wire = Wire { is_clear: clear, is_heard: Arc::default() };
        (Watched { stream, is_clear, is_heard: wire.is_heard.clone(), has_read: false, hears: Some(Box::new(hears)) }, wire)
    }

    fn now(&self, is_clear: bool) {
        self.is_clear.send_if_modified(|before| std::mem::replace(before, is_clear) != is_clear);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Who reads on has understood what came before.
        if self.has_read
            && let Some(hears) = self.hears.take()
        {
            self.is_heard.store(true, Ordering::Release);
            hears();
        }
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        self.has_read |= !into.filled().is_empty();
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.now(false);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.now(false);
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.now(true);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Tells where the request is on its way of which it is dropped.
pub(crate) fn when_clear(wire: Wire, then: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) if !wire.is_clear() => {
            runtime.spawn(async move {
                wire.clears().await;
                then();
            });
        }
        _ => then(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_the_other_side_does_not_take_is_still_in_our_hands() {
        let (near, mut far) = duplex(8);
        // As TLS does: it takes all, and passes on what it can.
        let (mut watched, wire) = Watched::new(tokio::io::BufWriter::new(near), || {});
        assert!(wire.is_clear());
        watched.write_all(&[0; 20]).await.unwrap();
        let mut flushing = Box::pin(watched.flush());
        assert!(futures_poll(&mut flushing).is_pending() && !wire.is_clear());
        let (_, flushed) = tokio::join!(async { far.read_exact(&mut [0; 20]).await.unwrap() }, flushing);
        flushed.unwrap();
        assert!(wire.is_clear());
    }

    #[tokio::test]
    async fn of_a_connection_that_is_gone_nothing_leaves_any_more() {
        let (near, _far) = duplex(8);
        let (mut watched, wire) = Watched::new(tokio::io::BufWriter::new(near), || {});
        watched.write_all(&[0; 20]).await.unwrap();
        assert!(!wire.is_clear());
        drop(watched);
        assert!(wire.is_clear());
        wire.clears().await;
    }

    fn futures_poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(std::task::Waker::noop()))
    }
}
