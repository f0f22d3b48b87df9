//! Programs that a person runs by hand: whom they may ask, and what is known of those who do not trust the gateway.

mod support;

use std::sync::Arc;

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Admission, Gate};
use adce_core::time::Timestamp;
use adce_gateway::{Authority, Route, Rules, StandIn};
use support::certified::certified;
use support::upstream::*;
use support::*;
use tokio::net::TcpListener;
use tokio_rustls::LazyConfigAcceptor;

fn whole_path(url: &str) -> String {
    format!("/{}", url.rsplit('/').next().unwrap())
}

#[tokio::test]
async fn a_guest_may_ask_its_sources_and_nobody_else() {
    let upstream = Scripted::start([("/a", ok("a"), Then::ReadOn)]).await;
    let other = Scripted::start([("/a", ok("other"), Then::ReadOn)]).await;
    let routes = vec![route("espn", &format!("http://{}", upstream.address)), route("nba", &format!("http://{}", other.address))];
    let setup = Setup::of(Rules { routes, ..Rules::default() }, Diary::new()).await;
    let admit = |only: Option<Vec<String>>| setup.gateway.admit_guest(AttemptId(Uuid::now_v7()), only).unwrap();
    let (narrow, wide) = (admit(Some(vec!["espn".into()])), admit(None));
    let by_base_url = async |url: &str, source: &str| {
        let reply = setup.raw(&format!("GET {}/{source}/a HTTP/1.1\r\nHost: g\r\n\r\n", whole_path(url))).await;
        (reply.code(), reply.body)
    };
    let through = async |admitted: &Admission, line: &str| {
        let credentials = credentials_of(admitted);
        setup.raw(&format!("{line} HTTP/1.1\r\nHost: h\r\n{credentials}\r\n")).await
    };
    assert_eq!(by_base_url(&narrow.url, "espn").await, (200, "a".into()));
    assert_eq!(by_base_url(&wide.url, "nba").await, (200, "other".into()));
    let (code, told) = by_base_url(&narrow.url, "nba").await;
    assert!(code == 403 && told.contains("may ask `espn` alone (`--source`), and wants to ask source `nba`"), "{code} {told}");
    let there = through(&narrow, &format!("GET http://{}/a", upstream.address)).await;
    assert_eq!(there.code(), 200);
    for line in [format!("GET http://{}/a", other.address), format!("CONNECT {}", other.address), "GET http://fonts.example/".into()] {
        let reply = through(&narrow, &line).await;
        assert!(reply.code() == 403 && reply.body.contains("may ask `espn` alone"), "{line}: {reply:?}");
    }
    assert_eq!(other.paths().len(), 1, "what is refused reaches nobody");
    let refused = setup.permits.events().into_iter().filter(|event| matches!(event, Event::Uncovered(_, false))).count();
    assert_eq!(refused, 4, "and is known");
}

#[tokio::test]
async fn who_does_not_trust_the_gateway_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Some(Arc::new(Authority::open(folder.path(), Timestamp::now()).unwrap()));
    let (strangers, _) = certified();
    let routes = vec![Route { intercept: true, ..route("espn", "https://espn.example") }];
    let setup = Setup::of(Rules { routes, authority, ..Rules::default() }, Diary::new()).await;
    let mut client = setup.dial().await;
    client.send(&format!("CONNECT espn.example:443 HTTP/1.1\r\nHost: x\r\n{}\r\n", setup.credentials())).await;
    assert!(client.has_read("\r\n\r\n").await);
    client.read.clear();
    assert!(client.secured("espn.example", &strangers).await.is_err());
    let is_known = |permits: &Diary| permits.events().contains(&Event::Distrusted("espn.example".into()));
    setup.until("it is known", is_known).await;
}

#[tokio::test]
async fn a_stand_in_answers_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Arc::new(Authority::open(folder.path(), Timestamp::now()).unwrap());
    let upstream = Scripted::start([("/a", ok("stand-in"), Then::ReadOn)]).await;
    let secured = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let https = secured.local_addr().unwrap();
    let (signs, inner) = (authority.clone(), upstream.address);
    tokio::spawn(async move {
        while let Ok((stream, _)) = secured.accept().await {
            let hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await.unwrap();
            let host = hello.client_hello().server_name().unwrap().to_owned();
            let mut outside = hello.into_stream(signs.as_host(&host, Timestamp::now()).unwrap()).await.unwrap();
            let mut inside = tokio::net::TcpStream::connect(inner).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        }
    });
    let stand_in = Some(StandIn { http: upstream.address, https, trusted: authority.certificate().unwrap() });
    let everything = Route { hosts: vec!["*".into()], ..route("any", "https://nowhere.example") };
    let setup = Setup::of(Rules { routes: vec![everything], stand_in, ..Rules::default() }, Diary::new()).await;
    let plain = setup.raw(&format!("GET http://no.such.example/a HTTP/1.1\r\nHost: h\r\n{}\r\n", setup.credentials())).await;
    assert_eq!(plain.body, "stand-in");
    let secure = setup.raw(&format!("GET {}/any/a HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
    assert_eq!(secure.body, "stand-in", "{secure:?}");
}
