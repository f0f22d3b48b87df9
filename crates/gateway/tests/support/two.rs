//! Upstreams that speak HTTP/2: one that behaves, and counts, and one that does what a test says, frame by frame.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use adce_gateway::StandIn;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::certified::certified;

/// What one upstream saw.
#[derive(Default)]
pub struct Seen {
    pub connections: AtomicUsize,
    pub requests: AtomicUsize,
    /// The most that were under way at once on one connection.
    pub most: AtomicUsize,
    /// Its protocol, its authority and its path.
    pub asked: Mutex<Vec<String>>,
    /// As often as it changes, all connections are told to go away.
    pub leaves: watch::Sender<usize>,
}

/// Where an upstream with a certificate listens, for a gateway that asks nobody else.
async fn listener() -> (TcpListener, ServerConfig, StandIn) {
    let (authority, mut config) = certified();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let trusted = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    (listener, config, StandIn { http: address, https: address, trusted })
}

/// Somebody who takes connections and says nothing; who drops what it hands over ends them.
pub async fn silent() -> (StandIn, TcpListener) {
    let (listener, _, stand_in) = listener().await;
    (stand_in, listener)
}

/// Takes so many requests at a time on a connection; `answer` makes the body.
pub async fn upstream<F>(at_a_time: u32, answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static) -> (StandIn, Arc<Seen>)
where
    F: Future<Output = Full<Bytes>> + Send + 'static,
{
    let (listener, config, stand_in) = listener().await;
    let seen = Arc::new(Seen::default());
    let (acceptor, counted) = (TlsAcceptor::from(Arc::new(config)), seen.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen, answer) = (acceptor.clone(), counted.clone(), answer.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    seen.connections.fetch_add(1, Ordering::SeqCst);
                    serve(stream, seen, at_a_time, answer).await;
                }
            });
        }
    });
    (stand_in, seen)
}

async fn serve<F>(
    stream: TlsStream<TcpStream>,
    seen: Arc<Seen>,
    at_a_time: u32,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = Full<Bytes>> + Send + 'static,
{
    let under_way = Arc::new(AtomicUsize::new(0));
    let mut leaves = seen.leaves.subscribe();
    let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request: Request<Incoming>| {
        let (seen, under_way, answer) = (seen.clone(), under_way.clone(), answer.clone());
        async move {
            let host = request.headers().get("host").map(|host| format!(" Host {}", host.to_str().unwrap())).unwrap_or_default();
            let line = format!("{:?} {}{host}", request.version(), request.uri());
            seen.asked.lock().unwrap().push(line);
            let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
            seen.most.fetch_max(now, Ordering::SeqCst);
            seen.requests.fetch_add(1, Ordering::SeqCst);
            let body = answer(request).await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    if !is_two {
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        return;
    }
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.max_concurrent_streams(at_a_time);
    let mut connection = pin!(server.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = leaves.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// A connection on which a test speaks HTTP/2 by hand.
pub struct ByHand(TlsStream<TcpStream>);

pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const MAX_CONCURRENT_STREAMS: [u8; 2] = [0, 3];
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
const END_STREAM_AND_HEADERS: u8 = 5;

pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const HTTP_1_1_REQUIRED: u32 = 13;

/// Connections that come, one after the other; each takes so many requests at a time.
pub async fn by_hand(at_a_time: u32) -> (StandIn, impl AsyncFnMut() -> ByHand) {
    let (listener, config, stand_in) = listener().await;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let next = async move || {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            stream.read_exact(&mut [0; 24]).await.unwrap();
            let mut hand = ByHand(stream);
            hand.frame(SETTINGS, 0, 0, &[&MAX_CONCURRENT_STREAMS[..], &at_a_time.to_be_bytes()].concat()).await;
            return hand;
        }
        ByHand(stream)
    };
    (stand_in, next)
}

impl ByHand {
    /// Bodies may come without end, as far as the protocol goes.
    pub async fn has_room_for_everything(&mut self) {
        const MOST: u32 = i32::MAX as u32;
        self.frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE[..], &MOST.to_be_bytes()].concat()).await;
        self.frame(WINDOW_UPDATE, 0, 0, &(MOST - 65_535).to_be_bytes()).await;
    }

    async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Reads until a frame of this kind comes: its stream, and what is in it.
    pub async fn next(&mut self, kind: u8) -> (u32, Vec<u8>) {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            if head[3] == kind {
                return (u32::from_be_bytes(head[5..9].try_into().unwrap()), payload);
            }
        }
    }

    /// A request, by its stream.
    pub async fn request(&mut self) -> u32 {
        self.next(HEADERS).await.0
    }

    /// `:status: 200`, and nothing more.
    pub async fn answer(&mut self, stream: u32) {
        self.frame(HEADERS, END_STREAM_AND_HEADERS, stream, &[0x88]).await;
    }

    pub async fn reset(&mut self, stream: u32, reason: u32) {
        self.frame(RST_STREAM, 0, stream, &reason.to_be_bytes()).await;
    }

    /// Of the streams above the last one, nothing was done.
    pub async fn go_away(&mut self, last: u32) {
        let payload = [last.to_be_bytes(), 0_u32.to_be_bytes()].concat();
        self.frame(GOAWAY, 0, 0, &payload).await;
    }

    /// Of one on which HTTP/1.1 was chosen: a request without a body, and its answer.
    pub async fn answer_older(&mut self) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\n") {
            assert!(self.0.read_buf(&mut read).await.unwrap() > 0);
        }
        self.0.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        self.0.flush().await.unwrap();
        String::from_utf8(read).unwrap()
    }
}
