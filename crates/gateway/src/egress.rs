//! The way out of this machine: directly, or by the proxy that adce's own environment names (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`,
//! `NO_PROXY`). Where there is one, nothing else may leave, and a gateway that ignored it would reach nobody.
//!
//! This machine and its networks are asked directly whatever the variables say: no proxy could lead there, and it has no business
//! to learn of it.

use std::io;

use http::HeaderValue;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::origin::Origin;
use crate::reach::is_inside;

/// Of an answer to `CONNECT`.
const HEAD_AT_MOST: usize = 16 * 1024;

pub(crate) struct Egress {
    proxies: Matcher,
}

/// A proxy between us and an upstream.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    host: String,
    port: u16,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Default for Egress {
    fn default() -> Self {
        Egress { proxies: Matcher::from_env() }
    }
}

impl Egress {
    /// `None`: directly.
    pub(crate) fn proxy(&self, to: &Origin) -> io::Result<Option<Proxy>> {
        if is_inside(&to.host) {
            return Ok(None);
        }
        let destination = to.to_string().parse().map_err(io::Error::other)?;
        let Some(found) = self.proxies.intercept(&destination) else { return Ok(None) };
        let uri = found.uri();
        if uri.scheme_str() != Some("http") {
            let scheme = uri.scheme_str().unwrap_or_default();
            return Err(io::Error::other(format!(
                "adce's own environment names a proxy by `{scheme}://`, and only `http://` is understood"
            )));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Ok(Some(Proxy { host, port: uri.port_u16().unwrap_or(80), authorization: found.basic_auth().cloned() }))
    }
}

impl Proxy {
    pub(crate) async fn dial(&self) -> io::Result<TcpStream> {
        let why = |why: io::Error| io::Error::new(why.kind(), format!("the proxy {}:{} cannot be reached: {why}", self.host, self.port));
        TcpStream::connect((self.host.as_str(), self.port)).await.map_err(why)
    }

    /// From here on the connection is one to the upstream.
    pub(crate) async fn lead(&self, mut stream: TcpStream, to: &Origin) -> io::Result<TcpStream> {
        let place = format!("{}:{}", to.host, to.port);
        let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await?;
        // What comes after it is the upstream's.
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_AT_MOST {
            head.push(stream.read_u8().await?);
        }
        let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
        match line.split(' ').nth(1) {
            Some("200") => Ok(stream),
            _ => Err(io::Error::other(format!("the proxy {}:{} answers `{line}` to CONNECT {place}", self.host, self.port))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(proxy: &str, no: &str, to: &str) -> io::Result<Option<(String, u16)>> {
        let egress = Egress { proxies: Matcher::builder().all(proxy).no(no).build() };
        let origin = Origin::of_url(&to.parse().unwrap()).unwrap();
        egress.proxy(&origin).map(|proxy| proxy.map(|proxy| (proxy.host, proxy.port)))
    }

    #[test]
    fn what_is_outside_goes_by_the_proxy_and_what_is_inside_does_not() {
        let proxy = Some(("proxy.example".to_owned(), 3128));
        for outside in ["http://x.org", "https://x.org:8443", "https://93.184.216.34", "http://[2606:2800:220:1::1]"] {
            assert_eq!(way("http://proxy.example:3128", "", outside).unwrap(), proxy, "{outside}");
        }
        for inside in [
            "http://localhost:8080",
            "http://a.localhost",
            "https://127.0.0.1",
            "http://10.1.2.3",
            "http://169.254.169.254",
            "http://[::1]",
        ] {
            assert_eq!(way("http://proxy.example:3128", "", inside).unwrap(), None, "{inside}");
        }
        assert_eq!(way("http://proxy.example:3128", "x.org", "https://api.x.org").unwrap(), None);
    }

    #[test]
    fn a_proxy_of_another_kind_is_not_ignored() {
        let why = way("socks5://proxy.example:1080", "", "https://x.org").unwrap_err();
        assert!(why.to_string().contains("socks5"), "{why}");
    }
}
