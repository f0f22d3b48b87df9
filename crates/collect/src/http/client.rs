//! The client that sends for all `http` collectors.
//!
//! It does nothing of its own accord that a limit would not know of: it follows no redirect, repeats no request and
//! unpacks no body. Its connections are kept for a short while only: a server that closes an idle one just as a request
//! leaves would cost that request its answer.

use std::time::Duration;

use reqwest::{Client, ClientBuilder};

const CONNECT: Duration = Duration::from_secs(10);
/// Common servers close idle connections after 5 s or more.
const KEPT_IDLE: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub(crate) struct TrustedClient {
    client: Client,
    /// Why no certificate can be checked on this machine; plain HTTP works without.
    no_trust: Option<String>,
}

impl TrustedClient {
    pub(crate) fn for_urls<'a>(&self, mut urls: impl Iterator<Item = &'a str>) -> Result<&Client, String> {
        match &self.no_trust {
            Some(why) if urls.any(|url| url.starts_with("https:")) => {
                Err(format!("https needs the system's certificates, and they cannot be read ({why}); on Debian install `ca-certificates`"))
            }
            _ => Ok(&self.client),
        }
    }
}

pub(crate) fn trusted_client() -> Result<TrustedClient, String> {
    // It fails only if somebody has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match builder().build() {
        Ok(client) => Ok(TrustedClient { client, no_trust: None }),
        Err(why) => {
            let client = builder().tls_certs_only([]).build().map_err(|why| why.to_string())?;
            Ok(TrustedClient { client, no_trust: Some(why.to_string()) })
        }
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("adce/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .no_zstd()
        .http1_only()
        .referer(false)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(KEPT_IDLE)
        .tcp_nodelay(true)
}
