//! An upstream behind TLS: the scraper speaks plain HTTP to the gateway, and the gateway trusts what the system trusts.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Answer, Gate, Settlement};
use adce_core::spec::Pass;
use adce_gateway::{Gateway, Rules};
use rustls::ServerConfig;
use support::certified::certified;
use support::upstream::{Diary, status};
use support::{Still, route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Answers every connection once.
async fn serve(listener: TcpListener, config: ServerConfig) {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut head = vec![0; 4_096];
            let read = stream.read(&mut head).await.unwrap();
            let host = String::from_utf8_lossy(&head[..read]).lines().find(|line| line.starts_with("Host: ")).unwrap().to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{host}", host.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            let _ = stream.read(&mut head).await;
        });
    }
}

async fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut reply = String::new();
    let reading = stream.read_to_string(&mut reply);
    tokio::time::timeout(Duration::from_secs(30), reading).await.expect("the answer never ends").unwrap();
    reply
}

#[test]
fn https_upstreams_are_reached_if_the_system_trusts_them_and_for_their_own_name_only() {
    let (authority, config) = certified();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("authority.pem");
    std::fs::write(&trusted, authority).unwrap();
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var("SSL_CERT_FILE", &trusted) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap().port();
        tokio::spawn(serve(listener, config));
        let permits = Diary::new();
        let at = |name: &str, host: &str| route(name, &format!("https://{host}:{upstream}"));
        let routes = vec![at("named", "localhost"), at("misnamed", "127.0.0.1")];
        let gateway =
            Gateway::start(Rules { routes, ..Rules::default() }, permits.clone(), Arc::new(Still(Default::default()))).await.unwrap();
        let url = gateway.admit(AttemptId(Uuid::now_v7()), Pass::default()).unwrap().url;
        let token = url.rsplit('/').next().unwrap();

        let reply = get(gateway.port(), &format!("/{token}/named/x")).await;
        assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with(&format!("Host: localhost:{upstream}")), "{reply}");
        let reply = get(gateway.port(), &format!("/{token}/misnamed/x")).await;
        assert!(reply.starts_with("HTTP/1.1 502") && reply.contains("certificate"), "{reply}");
        assert_eq!(permits.answers(), [status(200), Answer::NotReached]);
        assert!(matches!(permits.settlements()[..], [Settlement::ArrivedBy(_), Settlement::Unsent]));
    });
}
