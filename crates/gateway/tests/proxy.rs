//! The gateway as a proxy: unmodified clients, that know of nothing but proxies, over real sockets.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Answer, Gate, RetryAfter, Settlement};
use adce_core::spec::Pass;
use adce_gateway::{Gateway, Rules};
use support::upstream::*;
use support::*;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

#[tokio::test]
async fn plain_http_arrives_as_it_was_sent_with_a_permit_a_request() {
    let upstream = echo().await;
    let setup = Setup::before(&upstream).await;
    let (address, credentials) = (upstream.address, setup.credentials());
    let mut client = setup.dial().await;
    for path in ["/a", "/b"] {
        client.send(&format!("GET http://{address}{path} HTTP/1.1\r\nHost: {address}\r\nX-Own: 1\r\n{credentials}\r\n")).await;
        assert_eq!(client.reply().await.code(), 200);
    }
    let head = upstream.head("/a").to_ascii_lowercase();
    assert!(
        head.starts_with("get /a http/1.1\r\n") && head.contains(&format!("host: {address}\r\n")) && head.contains("x-own: 1"),
        "{head}"
    );
    assert!(!head.contains("proxy-authorization"), "the token is for the gateway alone: {head}");
    assert_eq!((arrived(&setup.permits), setup.permits.answers()), (2, vec![status(200), status(200)]));
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn nobody_without_credentials_passes_the_proxy() {
    let upstream = echo().await;
    let setup = Setup::before(&upstream).await;
    let (address, credentials) = (upstream.address, setup.credentials());
    for header in ["", "Proxy-Authorization: Basic YWRjZTpzZWNyZXQ=\r\n", "Proxy-Authorization: Bearer x\r\n"] {
        for line in [format!("GET http://{address}/a"), format!("CONNECT {address}")] {
            let reply = setup.raw(&format!("{line} HTTP/1.1\r\nHost: {address}\r\n{header}\r\n")).await;
            assert_eq!((reply.code(), reply.header("proxy-authenticate")), (407, Some("Basic realm=\"adce\"")), "{line} {header}");
        }
    }
    setup.gateway.dismiss(setup.attempt);
    let late = setup.raw(&format!("GET http://{address}/a HTTP/1.1\r\nHost: {address}\r\n{credentials}\r\n")).await;
    assert_eq!(late.code(), 407, "an attempt that is over passes no more");
    assert_eq!((upstream.paths().len(), setup.permits.events().len()), (0, 0));
}

#[tokio::test]
async fn a_client_that_is_told_to_authenticate_may_do_so_on_the_same_connection() {
    let upstream = echo().await;
    let setup = Setup::before(&upstream).await;
    let address = upstream.address;
    let mut client = setup.dial().await;
    client.send(&format!("GET http://{address}/a HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
    assert_eq!(client.reply().await.code(), 407);
    client.send(&format!("GET http://{address}/a HTTP/1.1\r\nHost: {address}\r\n{}\r\n", setup.credentials())).await;
    assert_eq!(client.reply().await.code(), 200);
}

#[tokio::test]
async fn plain_http_in_a_tunnel_is_counted_by_the_request() {
    let upstream = echo().await;
    let setup = Setup::before(&upstream).await;
    let address = upstream.address.to_string();
    let mut client = setup.connect(&address).await.unwrap();
    for path in ["/a", "/b", "/a"] {
        client.send(&format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
        assert_eq!(client.reply().await.code(), 200);
    }
    assert_eq!((upstream.paths(), arrived(&setup.permits)), (vec!["/a".into(), "/b".into(), "/a".into()], 3));
}

#[tokio::test]
async fn a_tunnel_leads_nowhere_else() {
    let (upstream, other) = (echo().await, echo().await);
    let setup = Setup::before(&upstream).await;
    let mut client = setup.connect(&upstream.address.to_string()).await.unwrap();
    client.send(&format!("GET http://{}/a HTTP/1.1\r\nHost: {}\r\n\r\n", other.address, other.address)).await;
    assert_eq!(client.reply().await.code(), 421);
    // Whatever name it gives, it is told to the upstream under the name that the limits are kept by.
    client.send("GET /b HTTP/1.1\r\nHost: other.example\r\n\r\n").await;
    assert_eq!(client.reply().await.code(), 200);
    assert!(upstream.head("/b").to_ascii_lowercase().contains(&format!("host: {}\r\n", upstream.address)));
    assert_eq!(other.paths().len(), 0);
}

#[tokio::test]
async fn a_tunnel_that_nobody_can_look_into_is_paced_and_counted_as_one_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let setup = Setup::with(&format!("http://{address}"), Diary::new()).await;
    let mut client = setup.connect(&address).await.unwrap();
    client.stream.write_all(b"\x16\x03\x01 something like a handshake").await.unwrap();
    let mut upstream = Client { stream: listener.accept().await.unwrap().0, read: Vec::new() };
    assert!(upstream.has_read("\x16\x03\x01 something like a handshake").await);
    upstream.send("and an answer").await;
    assert!(client.has_read("and an answer").await);
    assert_eq!(setup.permits.settlements(), [], "requests may leave as long as it is open");
    drop((client, upstream));
    setup.until("the tunnel's permit is settled", |permits| permits.settlements() == [Settlement::ArrivedBy(NOW + LINGER)]).await;
    setup.permits.assert_balanced();
}

#[tokio::test]
async fn nothing_leaves_through_a_tunnel_before_its_permit() {
    let upstream = echo().await;
    let setup = Setup::with(&format!("http://{}", upstream.address), Diary::closed()).await;
    let mut plain = setup.connect(&upstream.address.to_string()).await.unwrap();
    let mut unseen = setup.connect(&upstream.address.to_string()).await.unwrap();
    plain.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
    unseen.stream.write_all(b"\x16\x03\x01").await.unwrap();
    setup.until("both wait for a permit", |permits| permits.waiting() == 2).await;
    assert_eq!(upstream.paths().len(), 0);
    setup.gateway.dismiss(setup.attempt);
    plain.ended().await;
    unseen.ended().await;
    setup.until("nobody waits any more", |permits| permits.waiting() == 0).await;
}

#[tokio::test]
async fn hosts_of_no_source_pass_at_public_addresses_only_and_are_named() {
    let (upstream, other) = (echo().await, echo().await);
    let setup = Setup::before(&upstream).await;
    let (address, credentials) = (other.address, setup.credentials());
    let reply = setup.raw(&format!("GET http://{address}/a HTTP/1.1\r\nHost: {address}\r\n{credentials}\r\n")).await;
    assert!(reply.code() == 403 && reply.body.contains("private address") && reply.body.contains("no_proxy"), "{reply:?}");
    let port = address.port();
    // The same address in other words.
    for host in ["127.1", "0x7f000001", "[::ffff:127.0.0.1]", "localhost"] {
        let refused = setup.connect(&format!("{host}:{port}")).await.err().unwrap();
        assert_eq!(refused.code(), 403, "{host}: {refused:?}");
    }
    assert_eq!(other.paths().len(), 0);
    let named = setup.permits.events();
    assert!(
        named.contains(&Event::Uncovered("127.0.0.1".into(), true)) && named.contains(&Event::Uncovered("localhost".into(), true)),
        "{named:?}"
    );
}

#[tokio::test]
async fn without_sources_commands_keep_the_network_that_they_have() {
    let proxied = async |rules: Rules, pass: Pass| {
        let gateway = Gateway::start(rules, Diary::new(), Arc::new(Still(Default::default()))).await.unwrap();
        !gateway.admit(AttemptId(Uuid::now_v7()), pass).unwrap().variables.is_empty()
    };
    assert!(!proxied(Rules::default(), Pass::default()).await);
    assert!(proxied(Rules { strict: true, ..Rules::default() }, Pass::default()).await);
    assert!(proxied(Rules::default(), Pass { most: Some(1), ..Pass::default() }).await);
    assert!(proxied(Rules { routes: vec![route("espn", "https://x.org")], ..Rules::default() }, Pass::default()).await);
}

#[tokio::test]
async fn a_strict_gateway_refuses_hosts_of_no_source() {
    let upstream = echo().await;
    let address = format!("http://{}", upstream.address);
    let setup = Setup::of(Rules { routes: vec![route("espn", &address)], strict: true, ..Rules::default() }, Diary::new()).await;
    let refused = setup.connect("example.com:443").await.err().unwrap();
    assert!(refused.code() == 403 && refused.body.contains("no source declares `example.com`"), "{refused:?}");
    assert_eq!(setup.permits.events(), [Event::Uncovered("example.com".into(), false)]);
    assert!(setup.connect(&upstream.address.to_string()).await.is_ok());
}

#[tokio::test]
async fn the_lake_is_asked_without_being_counted() {
    let (upstream, lake) = (echo().await, echo().await);
    let routes = vec![route("espn", &format!("http://{}", upstream.address))];
    let rules = Rules { routes, strict: true, lake: Some(lake.address.to_string()), ..Rules::default() };
    let setup = Setup::of(rules, Diary::new()).await;
    let request = format!("GET http://{}/a HTTP/1.1\r\nHost: x\r\n{}\r\n", lake.address, setup.credentials());
    assert_eq!(setup.raw(&request).await.code(), 200);
    assert_eq!(setup.permits.events(), []);
}

#[tokio::test]
async fn a_connection_may_change_its_protocol_and_costs_one_permit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let setup = Setup::with(&format!("http://{address}"), Diary::new()).await;
    let mut client = setup.dial().await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
    client.send(&format!("GET http://{address}/feed HTTP/1.1\r\nHost: {address}\r\n{upgrade}{}\r\n", setup.credentials())).await;
    let mut upstream = Client { stream: listener.accept().await.unwrap().0, read: Vec::new() };
    assert!(upstream.has_read("\r\n\r\n").await);
    let asked = String::from_utf8_lossy(&upstream.read).to_ascii_lowercase();
    assert!(asked.contains("upgrade: websocket") && asked.contains("sec-websocket-key: k"), "{asked}");
    upstream.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello").await;
    assert!(client.has_read("101 Switching Protocols").await && client.has_read("hello").await);
    client.send("frame").await;
    assert!(upstream.has_read("frame").await);
    assert_eq!(arrived(&setup.permits), 1);
    setup.gateway.dismiss(setup.attempt);
    client.ended().await;
}

#[tokio::test]
async fn a_client_that_would_give_up_is_told_that_it_was_not_the_upstream() {
    let upstream = echo().await;
    let mut setup = Setup::with(&format!("http://{}", upstream.address), Diary::closed()).await;
    setup.admit(Pass { patience: Some(Duration::from_millis(30)), ..Pass::default() });
    let request = format!("GET http://{}/a HTTP/1.1\r\nHost: x\r\n{}\r\n", upstream.address, setup.credentials());
    let reply = setup.raw(&request).await;
    assert_eq!((reply.code(), reply.header("retry-after")), (429, Some("10")));
    assert!(reply.body.starts_with("adce gateway: not the upstream"), "{reply:?}");
    assert_eq!((upstream.paths().len(), setup.permits.waiting()), (0, 0));
}

#[tokio::test]
async fn a_runaway_is_stopped_at_its_budget() {
    let upstream = echo().await;
    let mut setup = Setup::before(&upstream).await;
    setup.admit(Pass { most: Some(2), ..Pass::default() });
    let request = format!("GET http://{}/a HTTP/1.1\r\nHost: x\r\n{}\r\n", upstream.address, setup.credentials());
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(setup.raw(&request).await.code());
    }
    assert_eq!((codes, upstream.paths().len(), arrived(&setup.permits)), (vec![200, 200, 403, 403], 2, 2));
}

#[tokio::test]
async fn what_the_gateway_sends_again_counts_against_the_budget() {
    let throttled = answer("429 Too Many Requests", "", "");
    let upstream = Scripted::start([("/a", throttled, Then::ReadOn)]).await;
    let mut route = route("espn", &format!("http://{}", upstream.address));
    route.absorb = true;
    let mut setup = Setup::of(Rules { routes: vec![route], ..Rules::default() }, Diary::new()).await;
    setup.admit(Pass { most: Some(2), ..Pass::default() });
    let request = format!("GET http://{}/a HTTP/1.1\r\nHost: x\r\n{}\r\n", upstream.address, setup.credentials());
    assert_eq!((setup.raw(&request).await.code(), upstream.paths().len()), (403, 2));
}

#[tokio::test]
async fn a_throttled_get_is_sent_again_when_the_source_may_be_asked_and_a_post_is_not() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut route = route("espn", &format!("http://{address}"));
    route.absorb = true;
    let setup = Setup::of(Rules { routes: vec![route], ..Rules::default() }, Diary::new()).await;
    let answered = async |answer: &str| {
        let mut upstream = Client { stream: listener.accept().await.unwrap().0, read: Vec::new() };
        assert!(upstream.has_read("\r\n\r\n").await);
        upstream.send(answer).await;
        String::from_utf8(upstream.read.clone()).unwrap()
    };
    let throttled = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n";
    let mut client = setup.dial().await;
    client.send(&format!("GET http://{address}/a HTTP/1.1\r\nHost: x\r\nX-Own: 1\r\n{}\r\n", setup.credentials())).await;
    let first = answered(throttled).await;
    let second = answered("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.reply().await.body, "ok");
    assert_eq!(first.to_ascii_lowercase(), second.to_ascii_lowercase());
    let told = Answer::later(429, RetryAfter::Seconds(3));
    assert_eq!(setup.permits.answers(), [told, status(200)], "the limits hear of it all the same");
    assert_eq!(arrived(&setup.permits), 2);

    let mut client = setup.dial().await;
    client.send(&format!("POST http://{address}/a HTTP/1.1\r\nHost: x\r\n{}Content-Length: 0\r\n\r\n", setup.credentials())).await;
    answered(throttled).await;
    assert_eq!(client.reply().await.code(), 429);
}
