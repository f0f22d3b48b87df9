//! `bytes_per_second`, through the real gateway and real sockets. Time is the test's: it passes only while somebody waits for his turn,
//! so what must take minutes takes moments, and is known exactly.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_core::pacing::Pacing;
use adce_core::ports::{Clock, Gate};
use adce_core::time::{BootId, Boottime, Now, Timestamp};
use adce_gateway::{Route, Rules};
use async_trait::async_trait;
use support::hand_clock::HandClock;
use support::upstream::*;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Whoever is first in line waits for less; who stands behind him looks again later.
const A_TURN: Duration = Duration::from_millis(500);

/// An upstream that answers so many bytes to each path, and reads whatever comes with it.
async fn generous(bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = Vec::new();
                while stream.read_buf(&mut read).await.is_ok_and(|read| read > 0) {
                    let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4) else { continue };
                    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
                    let length =
                        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
                    while read.len() < end + length {
                        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    read.drain(..end + length);
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
                    if stream.write_all(answer.as_bytes()).await.is_err() || stream.write_all(&vec![b'x'; bytes]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// A gateway before sources at these upstreams with so many bytes a second each, and all together.
struct Paced {
    setup: Setup,
    clock: Arc<HandClock>,
}

impl Paced {
    async fn before(sources: &[(&str, &str, Option<u64>)], all: Option<u64>) -> Self {
        let clock = HandClock::new();
        let rates = sources.iter().map(|(name, _, rate)| ((*name).to_owned(), *rate));
        let pacing = Some(Pacing::new(rates, all, clock.clone()));
        let routes: Vec<Route> = sources.iter().map(|(name, url, _)| route(name, url)).collect();
        Paced { setup: Setup::of(Rules { routes, pacing, ..Rules::default() }, Diary::new()).await, clock }
    }

    /// How much time had to pass for this.
    async fn takes(&self, what: impl Future<Output = ()>) -> Duration {
        let since = self.clock.now().boot;
        let passing = async {
            loop {
                self.clock.pass_when_somebody_sleeps_briefly(A_TURN).await;
            }
        };
        tokio::select! {
            () = what => {}
            () = passing => unreachable!(),
        }
        self.clock.now().boot.since(since)
    }

    async fn ask(&self, source: &str) -> Client {
        let mut client = self.setup.dial().await;
        client.send(&format!("GET {}/{source}/a HTTP/1.1\r\nHost: g\r\n\r\n", self.setup.token)).await;
        client
    }

    async fn fetch(&self, source: &str) {
        assert_eq!(self.ask(source).await.reply().await.code(), 200);
    }
}

#[tokio::test]
async fn a_body_takes_as_long_as_its_bytes_must_and_no_longer() {
    let upstream = generous(6_000_000).await;
    let paced = Paced::before(&[("espn", &upstream, Some(100_000))], None).await;
    assert_eq!(paced.takes(paced.fetch("espn")).await, Duration::from_secs(60));
    assert_eq!(paced.setup.gateway.passed("espn").received_bytes, 6_000_000, "what is paced is counted once");
}

#[tokio::test]
async fn what_goes_up_counts_as_what_comes_down() {
    let upstream = generous(1_000_000).await;
    let paced = Paced::before(&[("espn", &upstream, Some(100_000))], None).await;
    let post = async {
        let mut client = paced.setup.dial().await;
        client.send(&format!("POST {}/espn/a HTTP/1.1\r\nHost: g\r\nContent-Length: 500000\r\n\r\n", paced.setup.token)).await;
        client.stream.write_all(&vec![b'y'; 500_000]).await.unwrap();
        assert_eq!(client.reply().await.code(), 200);
    };
    assert_eq!(paced.takes(post).await, Duration::from_secs(15));
}

#[tokio::test]
async fn bodies_of_a_source_share_its_bytes() {
    let upstream = generous(1_000_000).await;
    let paced = Paced::before(&[("espn", &upstream, Some(100_000))], None).await;
    let both = async { _ = tokio::join!(paced.fetch("espn"), paced.fetch("espn")) };
    assert_eq!(paced.takes(both).await, Duration::from_secs(20));
}

#[tokio::test]
async fn all_sources_share_what_they_may_have_together() {
    let upstream = generous(500_000).await;
    let paced = Paced::before(&[("espn", &upstream, None), ("other", &upstream, Some(1_000_000))], Some(100_000)).await;
    let all = async { _ = tokio::join!(paced.fetch("espn"), paced.fetch("other"), paced.fetch("espn")) };
    assert_eq!(paced.takes(all).await, Duration::from_secs(15));
}

#[tokio::test]
async fn no_other_source_waits_for_a_source_that_is_paced() {
    let upstream = generous(1_000_000).await;
    let paced = Paced::before(&[("espn", &upstream, Some(1)), ("free", &upstream, None), ("quick", &upstream, Some(1 << 40))], None).await;
    let mut waits = paced.ask("espn").await;
    assert!(waits.has_read("\r\n\r\n").await, "what is no body waits for nothing");
    // No time passes here.
    paced.fetch("free").await;
    paced.clock.advance(Duration::from_micros(1));
    paced.fetch("quick").await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_its_share_to_the_others() {
    let upstream = generous(1_000_000).await;
    let paced = Paced::before(&[("espn", &upstream, Some(100_000))], None).await;
    let mut leaves = paced.ask("espn").await;
    assert!(leaves.has_read("\r\n\r\n").await);
    // Its first piece has its turn, and nobody comes before it.
    let some = async { assert!(leaves.has_read("xxx").await) };
    let some = paced.takes(some).await;
    drop(leaves);
    let took = paced.takes(paced.fetch("espn")).await;
    // With half of the bytes it would take twice as long.
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(15), "it took {took:?} after {some:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_nobody_waiting() {
    let upstream = generous(8_000_000).await;
    let paced = Paced::before(&[("espn", &upstream, Some(1_000_000))], None).await;
    let mut silent = paced.ask("espn").await;
    let took = paced.takes(async { _ = tokio::join!(silent.has_read("xxx"), paced.fetch("espn")) }).await;
    assert!(took >= Duration::from_secs(8) && took < Duration::from_secs(16), "it took {took:?}");
}

#[tokio::test]
async fn a_tunnel_that_nobody_can_look_into_waits_as_well_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut vec![0; 500_000]).await.unwrap();
        stream.write_all(&vec![b'x'; 500_000]).await.unwrap();
    });
    let paced = Paced::before(&[("espn", &format!("https://{address}"), Some(100_000))], None).await;
    let talk = async {
        let mut client = paced.setup.connect(&address.to_string()).await.unwrap();
        client.stream.write_all(&vec![0x80; 500_000]).await.unwrap();
        client.stream.read_exact(&mut vec![0; 500_000]).await.unwrap();
    };
    assert_eq!(paced.takes(talk).await, Duration::from_secs(10));
}

/// Time that nobody can move.
struct Real(std::time::Instant);

#[async_trait]
impl Clock for Real {
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), boot: NOW + self.0.elapsed() }
    }

    fn boot_id(&self) -> BootId {
        BootId("test".into())
    }

    async fn sleep_until(&self, until: Boottime) {
        tokio::time::sleep_until((self.0 + until.since(NOW)).into()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_the_machines_own_clock_nothing_is_sooner() {
    let upstream = generous(300_000).await;
    let pacing = Some(Pacing::new([("espn".into(), Some(1_000_000))], None, Arc::new(Real(std::time::Instant::now()))));
    let setup = Setup::of(Rules { routes: vec![route("espn", &upstream)], pacing, ..Rules::default() }, Diary::new()).await;
    let since = std::time::Instant::now();
    let (one, two) = tokio::join!(setup.get("/a"), setup.get("/b"));
    assert_eq!((one.body.len(), two.body.len()), (300_000, 300_000));
    assert!(since.elapsed() >= Duration::from_millis(599), "600 kB at 1 MB a second took {:?}", since.elapsed());
}
