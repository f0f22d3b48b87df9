//! Where bytes of strangers come in, as functions of bytes: for `fuzz/`, and for the tests here, which damage what is nearly right
//! some ten thousand times on every run.
//!
//! Each states what must hold whatever was sent, and panics where it does not.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use adce_core::ids::{AttemptId, Uuid};
use adce_core::limits::{heard, retry_after};
use adce_core::ports::{Answer, Clock, PermitId, PermitRefused, Permits, RetryAfter, Settlement};
use adce_core::spec::{Cache, Pass};
use adce_core::time::{BootId, Boottime, Now, Timestamp};
use async_trait::async_trait;
use http::header::{HOST, LOCATION, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::door::Door;
use crate::headers::{keep_location_inside, one_framing, remove_hop_by_hop};
use crate::origin::Origin;
use crate::pool::Pool;
use crate::serve::{Forwarder, Via};
use crate::{Route, credentials, speak, target};

/// Stands for the token of an attempt that may pass.
pub const TOKEN: &[u8] = b"TOKENTOKENTOKENTOKENTOKENTOKEN32";
/// Stands for the credentials of an attempt that may pass, as they are encoded.
pub const CREDENTIALS: &[u8] = b"CREDENTIALS=";

/// A connection to the gateway, from its first byte to the last: heads, bodies, base URLs, CONNECT, and what is in a tunnel.
///
/// Nobody whose bytes name no token has a permit asked for; and whoever is answered is answered in HTTP.
pub fn connection(sent: &[u8]) {
    static WORLD: LazyLock<World> = LazyLock::new(World::new);
    let names_a_token = contains(sent, TOKEN) || contains(sent, CREDENTIALS);
    let asked_before = WORLD.asked.0.load(Ordering::SeqCst);
    let said = WORLD.runtime.block_on(WORLD.serve(sent));
    let asked = WORLD.asked.0.load(Ordering::SeqCst) - asked_before;
    assert!(names_a_token || asked == 0, "a permit for nobody: {}", String::from_utf8_lossy(sent));
    assert!(said.is_empty() || said.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&said));
}

/// A gateway before one source, which nobody ever reaches: there are no permits.
struct World {
    runtime: Runtime,
    forwarder: Arc<Forwarder>,
    asked: Arc<Asked>,
    token: String,
    listener: TcpListener,
}

#[derive(Default)]
struct Asked(AtomicUsize);

#[async_trait]
impl Permits for Asked {
    async fn acquire(&self, _attempt: AttemptId, _source: &str) -> Result<PermitId, PermitRefused> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(PermitRefused::Stopping)
    }

    fn settle(&self, _permit: PermitId, _how: Settlement) {}

    fn answered(&self, _attempt: AttemptId, _source: &str, _answer: Answer) {}

    fn uncovered(&self, _attempt: AttemptId, _host: &str, passed: bool) {
        assert!(!passed, "the gateway is strict");
    }
}

struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Now {
        Now { wall: Timestamp::UNIX_EPOCH, boot: Boottime::from_secs(1) }
    }

    fn boot_id(&self) -> BootId {
        BootId("fuzz".into())
    }

    async fn sleep_until(&self, _until: Boottime) {
        std::future::pending().await
    }
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
        let (door, asked) = (Arc::new(Door::default()), Arc::new(Asked::default()));
        let token = door.admit(AttemptId(Uuid::nil()), Pass::default(), None);
        let route = Route {
            name: "up".into(),
            hosts: vec!["up.example".into(), "*.up.example:8080".into()],
            base_url: Url::parse("http://up.example/v2").ok(),
            linger: Duration::from_secs(1),
            intercept: true,
            absorb: true,
            cache: Cache::default(),
        };
        let forwarder = Forwarder {
            port: 1,
            routes: vec![route],
            strict: true,
            lake: None,
            around: Vec::new(),
            authority: None,
            pool: Arc::new(Pool::new(None)),
            permits: asked.clone(),
            clock: Arc::new(Still),
            door,
            sources: Arc::default(),
            kept: None,
        };
        World { runtime, forwarder: Arc::new(forwarder), asked, token, listener }
    }

    /// What it is told.
    async fn serve(&self, sent: &[u8]) -> Vec<u8> {
        let sent = replaced(&replaced(sent, TOKEN, self.token.as_bytes()), CREDENTIALS, credentials::basic(&self.token).as_bytes());
        let (client, server) = self.connected().await.expect("loopback");
        let (link, _) = self.forwarder.door.link(CancellationToken::new());
        let link = Arc::new(link);
        let serving = link.while_open(speak(server, self.forwarder.clone(), link.clone(), Via::Door));
        let (mut reader, mut writer) = client.into_split();
        let mut said = Vec::new();
        let asking = async {
            let _ = writer.write_all(&sent).await;
            let _ = writer.shutdown().await;
        };
        let _ = tokio::join!(asking, reader.read_to_end(&mut said), serving);
        said
    }

    async fn connected(&self) -> io::Result<(TcpStream, TcpStream)> {
        let (client, server) = tokio::try_join!(TcpStream::connect(self.listener.local_addr()?), self.listener.accept())?;
        // Ten thousands of them must not use up all ports.
        client.set_zero_linger()?;
        Ok((client, server.0))
    }
}

/// What a proxy is asked for: an address as it stands in a request, or behind CONNECT, or a path of a base URL.
pub fn addresses(text: &[u8]) {
    let Ok(uri) = Uri::try_from(text) else { return };
    for origin in [Origin::of_uri(&uri), Origin::of_connect(&uri)].into_iter().flatten() {
        let named = uri.authority().expect("it has a host").as_str();
        assert!(!named.contains('@'), "{named}: who asks by a name and a password is somebody else");
        assert_eq!(
            Origin::of_url(&Url::parse(&format!("https://{}:{}/", origin.host, origin.port)).expect("a URL")).expect("a host").host,
            origin.host
        );
        assert!(!origin.authority().is_empty(), "{named}");
    }
    let Some(target) = target::read(&uri) else { return };
    assert!(!target.token.contains(['/', '?']) && !target.source.contains(['/', '?']));
    let _ = target.source_name();
    let below = target.below("/v2");
    if !target.climbs() {
        let resolved = Url::parse(&format!("http://up.example{below}")).expect("a URL");
        assert!(resolved.path().starts_with("/v2"), "{below}");
    }
}

/// `Proxy-Authorization`.
pub fn proxy_credentials(value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    if let Some(token) = credentials::token(&HeaderMap::from_iter([(PROXY_AUTHORIZATION, value.clone())])) {
        let written = value.to_str().expect("a text").trim().split_once(' ').expect("a scheme").1.trim();
        assert_eq!(written, credentials::basic(&token));
    }
}

/// A block of headers, as an upstream or a client might send it: what the limits hear of it, and what of it is passed on.
pub fn headers(block: &[u8]) {
    let lines = block.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((HeaderName::from_bytes(&line[..colon]).ok()?, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    });
    let mut map = HeaderMap::new();
    lines.for_each(|(name, value)| drop(map.try_append(name, value)));
    heard_of(&map);
    let (asked, base) = (Url::parse("http://up.example/v2/a").expect("a URL"), Url::parse("http://up.example/v2").expect("a URL"));
    keep_location_inside(&mut map, &asked, &base, "http://127.0.0.1:1/t/up");
    one_framing(&mut map);
    let (host, location) = (map.get(HOST).cloned(), map.get(LOCATION).cloned());
    remove_hop_by_hop(&mut map);
    assert!(!map.contains_key(PROXY_AUTHORIZATION) && !map.contains_key("connection") && !map.contains_key("transfer-encoding"));
    assert!(map.get(HOST) == host.as_ref() && (map.get(LOCATION) == location.as_ref() || location.is_some()));
}

fn heard_of(map: &HeaderMap) {
    const A_MONTH: Duration = Duration::from_secs(31 * 86_400);
    let now = Now { wall: Timestamp::from_second(1_741_528_800).expect("an instant"), boot: Boottime::from_secs(1_000) };
    let texts = map.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let Answer::Status { code, retry_after, quotas } = heard::read(429, texts, now.wall) else { panic!("an answer has a status") };
    assert_eq!(code, 429);
    for quota in quotas.iter() {
        assert!(quota.requests != Some(0), "a quota of nothing is none");
        assert!(quota.per.is_none_or(|per| !per.is_zero() && per <= A_MONTH) && quota.renewed_in.is_none_or(|ahead| ahead <= A_MONTH));
    }
    if let Some(asked) = retry_after {
        let until = retry_after::pause_until(asked, now);
        assert!(until >= now.boot || matches!(asked, RetryAfter::At(_)));
        assert!(until.since(now.boot) <= A_MONTH, "a pause ends");
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn replaced(text: &[u8], part: &[u8], by: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut whole = Vec::with_capacity(text.len());
    while let Some(at) = rest.windows(part.len()).position(|window| window == part) {
        whole.extend_from_slice(&rest[..at]);
        whole.extend_from_slice(by);
        rest = &rest[at + part.len()..];
    }
    whole.extend_from_slice(rest);
    whole
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Where those who mean harm, or know no better, put what they put there.
    const PIECES: [&[u8]; 40] = [
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b"/",
        b"..",
        b"%2e",
        b"%2f",
        b"%00",
        b"@",
        b"#",
        b"?",
        b"\0",
        b"\xff",
        b"\xc3\xa9",
        b"0",
        b"-1",
        b"18446744073709551616",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"http://",
        b"CONNECT ",
        b"GET ",
        b"up.example",
        b"[::1]",
        b"127.0.0.1:1",
        b"Connection: content-length\r\n",
        b"Upgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b";w=60",
        b"\"",
        b"1e400",
        b"\x16\x03\x01",
        TOKEN,
    ];

    /// Damages one of `seeds`, or puts two of them together.
    fn damaged(seeds: &[&[u8]], random: &mut SmallRng) -> Vec<u8> {
        let mut bytes = seeds.choose(random).expect("seeds").to_vec();
        for _ in 0..random.random_range(0..6) {
            let at = random.random_range(0..=bytes.len());
            let until = random.random_range(at..=bytes.len().min(at + 8));
            match random.random_range(0..6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
                1 => drop(bytes.splice(at..until, [])),
                2 => drop(bytes.splice(at..at, PIECES.choose(random).expect("pieces").iter().copied())),
                3 => drop(bytes.splice(at..until, PIECES.choose(random).expect("pieces").iter().copied())),
                4 => drop(bytes.splice(at..at, seeds.choose(random).expect("seeds").iter().copied())),
                _ => {
                    let again = bytes[at..until].repeat(random.random_range(1..40));
                    bytes.splice(at..at, again);
                }
            }
        }
        bytes
    }

    fn hold(cases: usize, seeds: &[&[u8]], entry: fn(&[u8])) {
        seeds.iter().for_each(|seed| entry(seed));
        let mut random = SmallRng::seed_from_u64(0x0adce);
        for _ in 0..cases {
            let bytes = damaged(seeds, &mut random);
            // Its own number in the output of a test that fails is nothing: the bytes are what somebody needs.
            let entered = std::panic::catch_unwind(|| entry(&bytes));
            assert!(entered.is_ok(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn whatever_comes_over_a_connection_is_served_or_refused() {
        let with_a_body: &[u8] = b"POST /TOKENTOKENTOKENTOKENTOKENTOKEN32/up/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
        let chunked: &[u8] =
            b"PUT http://up.example/a HTTP/1.1\r\nHost: up.example\r\nProxy-Authorization: Basic CREDENTIALS=\r\nTransfer-Encoding: \
                               chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let tunnelled: &[u8] =
            b"CONNECT up.example:443 HTTP/1.1\r\nHost: up.example\r\nProxy-Authorization: Basic CREDENTIALS=\r\n\r\nGET / \
                                 HTTP/1.1\r\nHost: up.example\r\n\r\n";
        let opened: &[u8] = b"CONNECT a.up.example:8080 HTTP/1.1\r\nProxy-Authorization: Basic CREDENTIALS=\r\n\r\n\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
        let seeds = [
            b"GET /TOKENTOKENTOKENTOKENTOKENTOKEN32/up/a?b HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n".as_slice(),
            b"GET http://up.example/a HTTP/1.1\r\nHost: up.example\r\nProxy-Authorization: Basic CREDENTIALS=\r\n\r\n",
            b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: Basic CREDENTIALS=\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /a/up HTTP/1.1\r\nHost: x\r\n\r\n",
            b"CONNECT other.example:443 HTTP/1.1\r\n\r\n",
            with_a_body,
            chunked,
            tunnelled,
            opened,
        ];
        hold(8_000, &seeds, connection);
    }

    #[test]
    fn whatever_is_asked_for_leads_where_it_says_or_nowhere() {
        let seeds = [
            b"http://up.example/a/b?c".as_slice(),
            b"https://user:word@up.example:8443/",
            b"up.example:443",
            b"[::1]:80",
            b"http://127.0.0.1/",
            b"/t/up/a/../b%2f%2e%2e?x=..",
            b"http://xn--bcher-kva.example/",
            b"http://0x7f.1/",
        ];
        hold(40_000, &seeds, addresses);
    }

    #[test]
    fn whatever_is_shown_as_credentials_is_read_as_it_was_written_or_not_at_all() {
        let seeds = [b"Basic YWRjZTpzZWNyZXQ=".as_slice(), b"basic  YWRjZTpzZWNyZXQ= ", b"Bearer x", b"Basic !!", b"Basic YWRjZTo="];
        hold(40_000, &seeds, proxy_credentials);
    }

    #[test]
    fn whatever_headers_come_are_heard_or_ignored_and_none_of_a_hop_goes_on() {
        let seeds = [
            b"Retry-After: 120\nDate: Sun, 06 Nov 1994 08:49:37 GMT".as_slice(),
            b"Retry-After: Sunday, 06-Nov-94 08:49:37 GMT",
            b"RateLimit: \"a\";r=0;t=9, \"b\";r=5\nRateLimit-Policy: \"a\";q=100;w=60, \"b\";q=9;w=1;qu=\"requests\"",
            b"RateLimit: limit=100, remaining=50, reset=5",
            b"RateLimit-Limit: 100, 100;w=60, 5000;w=3600\nRateLimit-Remaining: 7\nRateLimit-Reset: 40",
            b"X-RateLimit-Limit: 5\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 1741528999.123\nX-RateLimit-Reset-After: 1.5",
            b"X-Rate-Limit-Limit-Minute: 20\nX-Rate-Limit-Remaining-Minute: 18\nX-RateLimit-Bucket: b",
            b"X-RateLimit-Reset: 2025-03-09T14:01:00Z\nX-RateLimit-Remaining: 3",
            b"Connection: keep-alive, x-private, host\nX-Private: 1\nHost: up.example\nContent-Length: 5\nTransfer-Encoding: chunked",
            b"Location: http://up.example/v2/../b\nProxy-Authorization: Basic x\nUpgrade: h2c\nTE: trailers",
        ];
        hold(60_000, &seeds, headers);
    }

    /// The harness can tell.
    #[test]
    #[should_panic(expected = "bo\\r\\n")]
    fn what_does_not_hold_is_told_with_its_bytes() {
        hold(10_000, &[b"bo".as_slice()], |bytes| assert!(!contains(bytes, b"bo\r\n"), "it does not hold"));
    }
}
