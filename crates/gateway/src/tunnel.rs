//! Connections that a client wants to itself: `CONNECT`, and protocols that take over an answer's connection (WebSocket).
//!
//! The first byte of a tunnel tells what is in it. TLS to a source with `intercept: true` ends here and begins anew towards the
//! upstream, so that each request inside waits for a permit of its own, as does plain HTTP, which some clients tunnel as well. Into
//! everything else nobody can look: to a source it takes one permit a connection, held until it closes, because requests may leave
//! at any moment of it; to hosts of no source it passes.
//!
//! Always true: nothing leaves for a source without a permit, whatever a client tunnels
//! (`a_tunnel_that_nobody_can_look_into_is_paced_and_counted_as_one_request`, `plain_http_in_a_tunnel_is_counted_by_the_request`).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::AttemptId;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional, join};
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::io::{InspectReader, InspectWriter};

use crate::door::Link;
use crate::headers::{Upgrade, remove_hop_by_hop};
use crate::meter::Meters;
use crate::origin::Origin;
use crate::paced::PacedWrites;
use crate::pool::Connection;
use crate::reach::Reach;
use crate::serve::{Forwarder, Outgoing, Refusal, Via, unreachable, unreached};
use crate::speak;

/// Where clients wait for the server to speak first, nobody can look into the tunnel either.
const UNTIL_THE_SERVER_SPEAKS_FIRST: Duration = Duration::from_secs(2);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A handshake record: the first byte of TLS.
const TLS: u8 = 0x16;

/// Answers `CONNECT`, and goes on with what comes after it.
pub(crate) async fn open(forwarder: &Arc<Forwarder>, request: Request<Incoming>, link: &Arc<Link>) -> Result<Response<Outgoing>, Refusal> {
    let attempt = forwarder.enter_by_credentials(request.headers(), link)?;
    let origin = Origin::of_connect(request.uri())
        .ok_or_else(|| Refusal(StatusCode::BAD_REQUEST, format!("`{}` is no host:port to connect to", request.uri())))?;
    let is_own = request.uri().authority().is_some_and(|named| forwarder.is_own(named.as_str()));
    let (forwarder, link) = (forwarder.clone(), link.clone());
    if is_own {
        go_on(link.clone(), request, |client| speak(client, forwarder, link, Via::Door));
    } else if let Some(route) = forwarder.route(&origin) {
        forwarder.may_ask(attempt, &route.name, &origin)?;
        go_on(link.clone(), request, move |client| inside(client, forwarder, link, attempt, origin));
    } else {
        let reach = forwarder.reach_of_undeclared(attempt, &origin)?;
        let reached = forwarder.pool.tunnel(&origin, reach).await;
        let mut upstream = reached.map_err(|why| {
            let refusal = unreachable(&format!("`{}:{}`", origin.host, origin.port), &why);
            forwarder.pool.complaints.complain("a tunnel does not lead anywhere", Some(attempt), &refusal.1);
            refusal
        })?;
        let meters = forwarder.meters(attempt, None);
        go_on(link, request, move |client| async move {
            join_up(client, &mut upstream, &meters).await;
        });
    }
    Ok(Response::new(Either::Right(Either::Right(Full::default()))))
}

/// Runs `then` on the client's connection once `CONNECT` is answered, until the attempt is dismissed.
fn go_on<F>(link: Arc<Link>, request: Request<Incoming>, then: impl FnOnce(Client) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let tunnelled = async {
            match hyper::upgrade::on(request).await.map(client_of) {
                Ok(Some(client)) => then(client).await,
                Ok(None) => tracing::warn!("a tunnel began on a connection of an unknown kind"),
                Err(why) => tracing::debug!(%why, "a tunnel did not begin"),
            }
        };
        link.while_open(tunnelled).await;
    });
}

/// A client's connection after `CONNECT`; bytes that came along with it are read first.
type Client = tokio::io::Join<tokio::io::Chain<io::Cursor<Bytes>, tokio::net::tcp::OwnedReadHalf>, tokio::net::tcp::OwnedWriteHalf>;

/// `None`: it does not come from [`speak`] on a socket.
fn client_of(upgraded: Upgraded) -> Option<Client> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let (reader, writer) = parts.io.into_inner().into_split();
    Some(join(io::Cursor::new(parts.read_buf).chain(reader), writer))
}

/// A tunnel to a source.
fn inside(
    mut client: Client,
    forwarder: Arc<Forwarder>,
    link: Arc<Link>,
    attempt: AttemptId,
    origin: Origin,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        let mut first = [0; 4];
        let reading = client.read(&mut first);
        let read = match tokio::time::timeout(UNTIL_THE_SERVER_SPEAKS_FIRST, reading).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(read)) => read,
            Err(_) => 0,
        };
        let first = &first[..read];
        let (reader, writer) = tokio::io::split(client);
        let client = join(io::Cursor::new(Bytes::copy_from_slice(first)).chain(reader), writer);
        let intercepts = forwarder.route(&origin).is_some_and(|route| route.intercept);
        match first.first() {
            Some(&TLS) if intercepts => intercepted(client, forwarder, link, attempt, origin).await,
            Some(first_byte) if first_byte.is_ascii_uppercase() && first != b"SSH-" => {
                let origin = Origin { secure: false, ..origin };
                speak(client, forwarder, link, Via::Tunnel { attempt, origin }).await;
            }
            _ => unseen(client, &forwarder, attempt, &origin).await,
        }
    })
}

/// Shows itself as the host, and serves what is asked of it.
async fn intercepted(
    client: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    forwarder: Arc<Forwarder>,
    link: Arc<Link>,
    attempt: AttemptId,
    origin: Origin,
) {
    let (pool, named) = (forwarder.pool.clone(), origin.clone());
    let complain = |what, why: &(dyn std::fmt::Display + Sync)| pool.complaints.complain(what, Some(attempt), &format!("{named}: {why}"));
    let shaken = tokio::time::timeout(HANDSHAKE, async {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), client).await?;
        let host = hello.client_hello().server_name().map_or_else(|| origin.host.to_string(), str::to_owned);
        let authority = forwarder.authority.as_ref().ok_or_else(|| io::Error::other("there is no authority"))?;
        hello.into_stream(authority.as_host(&host, forwarder.clock.now().wall)?).await
    });
    match shaken.await {
        Ok(Ok(stream)) => speak(stream, forwarder, link, Via::Tunnel { attempt, origin }).await,
        // The usual reason: the client does not trust adce's authority.
        Ok(Err(why)) => {
            forwarder.permits.distrusted(attempt, &origin.host.to_string());
            complain("a client broke off the TLS handshake with the gateway", &why);
        }
        Err(_) => complain("a client did not finish the TLS handshake with the gateway", &"10 s have passed"),
    }
}

/// Until both sides have said all: whatever passes is counted, and waits if its source says so.
async fn join_up(client: impl AsyncRead + AsyncWrite + Unpin, upstream: impl AsyncRead + AsyncWrite + Unpin, meters: &Meters) {
    let (up, down) = (meters.clone(), meters.clone());
    let reading = InspectReader::new(PacedWrites::new(client, meters.pace.as_ref()), move |bytes| up.sent(bytes.len()));
    let mut client = InspectWriter::new(reading, move |bytes| down.received(bytes.len()));
    let _ = copy_bidirectional(&mut client, &mut PacedWrites::new(upstream, meters.pace.as_ref())).await;
}

/// One permit for all that goes through it.
async fn unseen(client: impl AsyncRead + AsyncWrite + Unpin, forwarder: &Forwarder, attempt: AttemptId, origin: &Origin) {
    let Some(route) = forwarder.route(origin) else { return };
    let granted = match forwarder.count(attempt) {
        Ok(until) => forwarder.permit(attempt, &route.name, route.linger, until).await,
        Err(refusal) => Err(refusal),
    };
    let mut permit = match granted {
        Ok(permit) => permit,
        Err(Refusal(_, why)) => {
            return forwarder.pool.complaints.complain("a tunnel got no permit", Some(attempt), &format!("{origin}: {why}"));
        }
    };
    match forwarder.pool.tunnel(origin, Reach::Declared).await {
        Ok(mut upstream) => {
            permit.sending();
            let meters = forwarder.meters(attempt, Some(&route.name));
            join_up(client, &mut upstream, &meters).await;
            let _ = upstream.shutdown().await;
            drop(upstream);
            permit.closed();
        }
        Err(why) => {
            permit.unsent();
            forwarder.permits.answered(attempt, &route.name, unreached(&why));
            forwarder.pool.complaints.complain("a tunnel does not lead anywhere", Some(attempt), &format!("{origin}: {why}"));
        }
    }
}

/// The upstream has agreed to another protocol: from here on both sides speak it, and nobody looks into it.
pub(crate) fn switched(
    mut answer: Response<Incoming>,
    mut connection: Connection,
    upgrade: Upgrade,
    link: Arc<Link>,
    meters: Meters,
) -> Response<Outgoing> {
    connection.run_by_itself();
    let upstream = hyper::upgrade::on(&mut answer);
    let mut switched = Response::new(Either::Right(Either::Right(Full::default())));
    *switched.status_mut() = answer.status();
    *switched.headers_mut() = std::mem::take(answer.headers_mut());
    remove_hop_by_hop(switched.headers_mut());
    upgrade.ask_for(switched.headers_mut());
    tokio::spawn(async move {
        let other_protocol = async {
            match tokio::try_join!(upgrade.client, upstream) {
                Ok((client, upstream)) => {
                    join_up(TokioIo::new(client), TokioIo::new(upstream), &meters).await;
                }
                Err(why) => tracing::debug!(%why, "a connection did not change its protocol"),
            }
        };
        link.while_open(other_protocol).await;
        drop(connection);
    });
    switched
}
