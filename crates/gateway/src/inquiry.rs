//! A GET whose answer may be kept: asked about instead of asked for, where one is kept, and kept where one comes.
//!
//! Nothing here keeps a client waiting for a disk that is slower than its upstream: what does not get written in time is not kept.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use adce_core::kept::{Asked, Header, Keeping, KeptAnswer, KeptAnswers, Validators, is_renewed, kept_headers};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, ETAG, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio_util::io::poll_read_buf;

use crate::headers::remove_hop_by_hop;
use crate::origin::Origin;
use crate::pool::Sending;
use crate::serve::repeated;

/// Pieces of one answer that wait for the disk: of 64 KiB at most each.
const WAITING_AT_MOST: usize = 64;
const PIECE_BYTES: usize = 64 * 1024;

pub(crate) struct Inquiry {
    kept: Arc<dyn KeptAnswers>,
    asked: Asked,
    found: Option<KeptAnswer>,
}

impl Inquiry {
    /// `None`: whatever comes is not to be kept, and its client knows itself what it asks.
    pub(crate) async fn about(kept: &Arc<dyn KeptAnswers>, request: &Request<Sending>, origin: &Origin) -> Option<Inquiry> {
        if *request.method() != Method::GET || !request.body().is_end_stream() {
            return None;
        }
        let asked = Asked::get(&format!("{origin}{}", request.uri()), plainly(request.headers()))?;
        let kept = kept.clone();
        if !kept.may_have(&asked) {
            return Some(Inquiry { kept, asked, found: None });
        }
        let looked = tokio::task::spawn_blocking(move || {
            let found = kept.find(&asked);
            Inquiry { kept, asked, found }
        });
        looked.await.ok()
    }

    /// Asks for news only, if anything is kept; returns the request as it was.
    pub(crate) fn ask_for_news(&self, request: &mut Request<Sending>) -> Option<Request<Sending>> {
        let found = self.found.as_ref()?;
        let plain = repeated(request);
        for (name, value) in found.validators.conditions() {
            if let Ok(value) = HeaderValue::from_str(value) {
                request.headers_mut().insert(HeaderName::from_static(name), value);
            }
        }
        Some(plain)
    }

    /// What is kept, as an answer of now, if this 304 is about it; else it is forgotten.
    pub(crate) fn holds(&mut self, said: &HeaderMap) -> Option<Response<Stored>> {
        let found = self.found.take()?;
        if found.validators.are_meant_by(said.get(ETAG).and_then(|etag| etag.to_str().ok())) {
            return Some(given_again(found, said));
        }
        self.kept.forget(&self.asked);
        None
    }

    /// Keeps this answer while it passes, if it may be kept.
    pub(crate) fn keeper(self, answer: &Response<Incoming>) -> Option<Keeper> {
        let headers = answer.headers();
        let is_framed =
            answer.version() == Version::HTTP_2 || headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        let validators = Validators::of_answer(answer.status().as_u16(), is_framed, plainly(headers))?;
        let mut own = headers.clone();
        remove_hop_by_hop(&mut own);
        let (to, from) = mpsc::channel(WAITING_AT_MOST);
        let Inquiry { kept, asked, found: _ } = self;
        tokio::spawn(write(kept, asked, validators, kept_headers(plainly(&own)), from));
        Some(Keeper { to: Some(to) })
    }
}

fn plainly(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

fn given_again(found: KeptAnswer, said: &HeaderMap) -> Response<Stored> {
    let mut headers = HeaderMap::new();
    for (name, value) in &found.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let mut renewed = said.clone();
    remove_hop_by_hop(&mut renewed);
    for name in renewed.keys().filter(|name| is_renewed(name.as_str())) {
        headers.remove(name);
        renewed.get_all(name).iter().for_each(|value| {
            headers.append(name, value.clone());
        });
    }
    let mut again = Response::new(Stored { file: tokio::fs::File::from_std(found.body), left: found.bytes });
    *again.status_mut() = StatusCode::OK;
    *again.headers_mut() = headers;
    again
}

/// The body of an answer that is kept, from its file.
pub(crate) struct Stored {
    file: tokio::fs::File,
    left: u64,
}

impl Body for Stored {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        let read = std::task::ready!(poll_read_buf(Pin::new(&mut self.file), context, &mut piece))?;
        if read == 0 {
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        }
        // Behind the body stands what is known of it.
        piece.truncate(usize::try_from(self.left).map_or(read, |left| left.min(read)));
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Hands an answer to the disk while it passes. Dropped before its end, nothing is kept.
pub(crate) struct Keeper {
    /// `None`: the disk was too slow, or does not want it.
    to: Option<mpsc::Sender<Piece>>,
}

enum Piece {
    Bytes(Bytes),
    End,
}

impl Keeper {
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        self.hand(Piece::Bytes(bytes.clone()));
    }

    pub(crate) fn whole(mut self) {
        self.hand(Piece::End);
    }

    fn hand(&mut self, piece: Piece) {
        if self.to.as_ref().is_some_and(|to| to.try_send(piece).is_err()) {
            self.to = None;
        }
    }
}

async fn write(kept: Arc<dyn KeptAnswers>, asked: Asked, validators: Validators, headers: Vec<Header>, mut from: mpsc::Receiver<Piece>) {
    let begun = tokio::task::spawn_blocking(move || kept.keep(&asked, validators, headers)).await;
    let mut keeping = begun.ok().flatten();
    let mut pieces = Vec::new();
    while let Some(under_way) = keeping.take() {
        if from.recv_many(&mut pieces, WAITING_AT_MOST).await == 0 {
            return;
        }
        let pieces = std::mem::take(&mut pieces);
        keeping = tokio::task::spawn_blocking(move || written(under_way, pieces)).await.ok().flatten();
    }
}

/// What goes on; `None`: it is over.
fn written(mut keeping: Box<dyn Keeping>, pieces: Vec<Piece>) -> Option<Box<dyn Keeping>> {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) if keeping.push(&bytes) => {}
            Piece::Bytes(_) => return None,
            Piece::End => {
                keeping.whole();
                return None;
            }
        }
    }
    Some(keeping)
}
