//! A machine from which nothing leaves but by a proxy.

mod support;

use adce_core::ports::Settlement;
use adce_gateway::Rules;
use support::upstream::*;
use support::*;
use tokio::net::TcpListener;

/// Alone in its process, because the proxy is named by variables.
#[test]
fn the_proxy_of_this_machine_is_asked_for_what_is_outside_and_for_nothing_else() {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = proxy.local_addr().unwrap();
        let inside = Scripted::start([("/x", ok("inside"), Then::ReadOn)]).await;
        // SAFETY: no other thread of this process reads the environment.
        unsafe {
            for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"] {
                std::env::set_var(name, format!("http://user:word@{address}"));
            }
            std::env::set_var("NO_PROXY", "near.invalid");
            std::env::remove_var("no_proxy");
        }
        let routes = vec![
            route("espn", "http://far.invalid"),
            route("secure", "https://secure.invalid"),
            route("near", "http://near.invalid"),
            route("inside", &format!("http://{}", inside.address)),
        ];
        let setup = Setup::of(Rules { routes, ..Rules::default() }, Diary::new()).await;
        let asked = async |path: &str| {
            let mut client = setup.dial().await;
            client.send(&format!("GET {}{path} HTTP/1.1\r\nHost: g\r\n\r\n", setup.token)).await;
            client
        };
        let accepted = async || Client { stream: proxy.accept().await.unwrap().0, read: Vec::new() };
        let authorized = "proxy-authorization: basic dxnlcjp3b3jk";

        // Plain http, as proxies are asked, twice on one connection.
        let mut client = asked("/espn/a?b").await;
        let mut by_proxy = accepted().await;
        for path in ["/a?b", "/c"] {
            assert!(by_proxy.has_read("\r\n\r\n").await);
            let head = String::from_utf8(std::mem::take(&mut by_proxy.read)).unwrap();
            assert!(head.starts_with(&format!("GET http://far.invalid{path} HTTP/1.1\r\n")), "{head}");
            assert!(head.to_ascii_lowercase().contains("host: far.invalid") && head.to_ascii_lowercase().contains(authorized), "{head}");
            by_proxy.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nfar").await;
            assert_eq!(client.reply().await.body, "far");
            client = asked("/espn/c").await;
        }
        drop((client, by_proxy));

        // https, by a tunnel: TLS goes through it.
        let _client = asked("/secure/a").await;
        let mut by_proxy = accepted().await;
        assert!(by_proxy.has_read("\r\n\r\n").await);
        let head = String::from_utf8(std::mem::take(&mut by_proxy.read)).unwrap();
        assert!(head.starts_with("CONNECT secure.invalid:443 HTTP/1.1\r\n") && head.to_ascii_lowercase().contains(authorized), "{head}");
        by_proxy.send("HTTP/1.1 200 OK\r\n\r\n").await;
        assert!(by_proxy.has_read("\u{16}\u{3}").await, "a handshake");
        drop(by_proxy);

        // A proxy that says no has sent nothing.
        let before = setup.permits.settlements().len();
        let mut client = asked("/secure/b").await;
        let mut by_proxy = accepted().await;
        assert!(by_proxy.has_read("\r\n\r\n").await);
        by_proxy.send("HTTP/1.1 403 Forbidden\r\n\r\n").await;
        let reply = client.reply().await;
        assert!(reply.code() == 502 && reply.body.contains("403 Forbidden"), "{reply:?}");
        assert_eq!(setup.permits.settlements()[before..].last(), Some(&Settlement::Unsent));

        // This machine, and whatever `NO_PROXY` names, are asked without it: else these would wait for an answer of the proxy.
        assert_eq!(asked("/inside/x").await.reply().await.body, "inside");
        assert_eq!(asked("/near/x").await.reply().await.code(), 502);
    });
}
