//! A connection whose other end has to take what it is sent, within a time.
//!
//! Whoever opens a live page and stops reading would otherwise hold its place, and what waits for it, for as long as his machine is on
//! (`who_takes_nothing_is_dropped`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

pub(crate) struct Patient<T> {
    inner: T,
    patience: Duration,
    /// Until when the write under way has to move on; `None`: none is.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    pub(crate) fn new(inner: T, patience: Duration) -> Self {
        Patient { inner, patience, waits: None }
    }

    /// What came of a write: ready, or an error once it has waited for too long.
    fn bounded<R>(&mut self, came: Poll<io::Result<R>>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        if came.is_ready() {
            self.waits = None;
            return came;
        }
        let patience = self.patience;
        let waits = self.waits.get_or_insert_with(|| {
            let mut sleep = Box::pin(sleep(patience));
            sleep.as_mut().reset(Instant::now() + patience);
            sleep
        });
        ready!(waits.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "what was sent was not taken")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let came = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.bounded(came, context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let came = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.bounded(came, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.inner).poll_flush(context);
        self.bounded(came, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let came = Pin::new(&mut self.inner).poll_shutdown(context);
        self.bounded(came, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_dropped() {
        let (here, _there) = duplex(16);
        let mut here = Patient::new(here, Duration::from_secs(20));
        let began = Instant::now();
        let error = here.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, Duration::from_secs(20)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_and_takes_something_stays() {
        let (here, mut there) = duplex(16);
        let mut here = Patient::new(here, Duration::from_secs(20));
        let taking = tokio::spawn(async move {
            let mut taken = 0;
            while taken < 100 {
                tokio::time::sleep(Duration::from_secs(19)).await;
                taken += there.read(&mut [0; 8]).await.unwrap();
            }
            there
        });
        here.write_all(&[0; 100]).await.unwrap();
        drop(taking.await.unwrap());
    }
}
