//! Bodies and tunnels that wait for `bytes_per_second` of their source.
//!
//! A body is read frame by frame, and the next one only when all of the last has passed: so whoever sends it is held back by its own
//! connection, and what lies here is one frame, whatever the body's size. Bodies of sources that nothing bounds have none of this.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adce_core::pacing::{Pace, Turn};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What has come of a body and has not passed yet.
pub(crate) struct Paced {
    turn: Turn,
    held: Bytes,
}

type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

impl Paced {
    pub(crate) fn by(pace: Option<&Pace>) -> Option<Box<Paced>> {
        pace.map(|pace| Box::new(Paced { turn: pace.turn(), held: Bytes::new() }))
    }

    /// The next piece of what is held; `None`: nothing is.
    pub(crate) fn rest(paced: &mut Option<Box<Paced>>, context: &mut Context<'_>) -> Option<Poll<Bytes>> {
        paced.as_mut().filter(|paced| !paced.held.is_empty()).map(|paced| paced.piece(context))
    }

    /// What passes of a frame that has just come.
    pub(crate) fn first<E>(paced: &mut Option<Box<Paced>>, context: &mut Context<'_>, frame: Polled<E>) -> Polled<E> {
        let (paced, frame) = match (paced, frame) {
            (Some(paced), Poll::Ready(Some(Ok(frame)))) => (paced, frame),
            (_, frame) => return frame,
        };
        match frame.into_data() {
            Ok(bytes) if !bytes.is_empty() => {
                paced.held = bytes;
                paced.piece(context).map(|piece| Some(Ok(Frame::data(piece))))
            }
            Ok(nothing) => Poll::Ready(Some(Ok(Frame::data(nothing)))),
            Err(trailers) => Poll::Ready(Some(Ok(trailers))),
        }
    }

    pub(crate) fn held(paced: &Option<Box<Paced>>) -> usize {
        paced.as_ref().map_or(0, |paced| paced.held.len())
    }

    /// Of a body of which so much is to come besides.
    pub(crate) fn with_held(paced: &Option<Box<Paced>>, to_come: SizeHint) -> SizeHint {
        let held = Paced::held(paced) as u64;
        let mut all = SizeHint::new();
        all.set_lower(to_come.lower() + held);
        to_come.upper().into_iter().for_each(|upper| all.set_upper(upper + held));
        all
    }

    fn piece(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let bytes = ready!(self.turn.poll(context, self.held.len() as u64));
        Poll::Ready(self.held.split_to(usize::try_from(bytes).unwrap_or(self.held.len())))
    }
}

/// A connection of which what is written to it waits.
pub(crate) struct PacedWrites<S> {
    stream: S,
    turn: Option<Turn>,
}

impl<S> PacedWrites<S> {
    pub(crate) fn new(stream: S, pace: Option<&Pace>) -> Self {
        PacedWrites { stream, turn: pace.map(Pace::turn) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedWrites<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedWrites<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let PacedWrites { stream, turn } = &mut *self;
        let Some(turn) = turn.as_mut().filter(|_| !bytes.is_empty()) else { return Pin::new(stream).poll_write(context, bytes) };
        let may = usize::try_from(ready!(turn.poll(context, bytes.len() as u64))).unwrap_or(bytes.len());
        let written = Pin::new(stream).poll_write(context, &bytes[..may]);
        let passed = if let Poll::Ready(Ok(passed)) = written { passed } else { 0 };
        // Whoever does not take what is his keeps nobody from it.
        turn.give_back((may - passed) as u64);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
