//! https connections that the gateway opens. One test alone in its process: what the machine trusts is set for it by a variable.

mod support;

use std::path::Path;
use std::sync::Arc;

use adce_core::ports::Settlement;
use adce_core::time::Timestamp;
use adce_gateway::{Authority, Rules};
use support::certified::{certified, in_tls};
use support::upstream::*;
use support::*;

/// A gateway that opens connections to this host and port, and the authority that it shows.
async fn intercepting(host: &str, port: u16, permits: Arc<Diary>, folder: &Path) -> (Setup, String) {
    let mut route = route("espn", &format!("https://{host}:{port}"));
    route.intercept = true;
    let authority = Some(Arc::new(Authority::open(folder, Timestamp::now()).unwrap()));
    let setup = Setup::of(Rules { routes: vec![route], authority, ..Rules::default() }, permits).await;
    (setup, std::fs::read_to_string(folder.join("adce.pem")).unwrap())
}

#[test]
fn each_request_in_an_opened_connection_has_a_permit_of_its_own_and_the_upstream_is_verified() {
    let (authority, config) = certified();
    let folder = tempfile::tempdir().unwrap();
    let trusted = folder.path().join("authority.pem");
    std::fs::write(&trusted, &authority).unwrap();
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var("SSL_CERT_FILE", &trusted) };
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
        let upstream = echo().await;
        let port = in_tls(config, upstream.address).await;
        let (setup, shown) = intercepting("localhost", port, Diary::new(), &folder.path().join("a")).await;
        let client = setup.connect(&format!("localhost:{port}")).await.unwrap();
        let mut client = client.secured("localhost", &shown).await.unwrap();
        for path in ["/a", "/b", "/a"] {
            client.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")).await;
            assert_eq!(client.reply().await.code(), 200);
        }
        assert_eq!((upstream.paths().len(), arrived(&setup.permits)), (3, 3));
        assert!(upstream.head("/b").to_ascii_lowercase().contains(&format!("host: localhost:{port}\r\n")));
        // Who does not trust adce's authority does not get through, and nothing is sent for him.
        let stranger = setup.connect(&format!("localhost:{port}")).await.unwrap();
        assert!(stranger.secured("localhost", &authority).await.is_err());
        assert_eq!(arrived(&setup.permits), 3);

        // An upstream that is not who it says it is, is not asked, however willing the client.
        let (_, impostor) = certified();
        let port = in_tls(impostor, upstream.address).await;
        let (setup, shown) = intercepting("localhost", port, Diary::new(), &folder.path().join("b")).await;
        let client = setup.connect(&format!("localhost:{port}")).await.unwrap();
        let mut client = client.secured("localhost", &shown).await.unwrap();
        client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").await;
        let reply = client.reply().await;
        assert!(reply.code() == 502 && reply.body.contains("certificate"), "{reply:?}");
        assert_eq!(setup.permits.settlements(), [Settlement::Unsent]);
    });
}
