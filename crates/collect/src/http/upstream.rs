//! What the built-in collector must know of a source.

use std::time::Duration;

use adce_core::spec::{Cache, Limits, Source, host_matches};
use url::Url;

/// A source, as far as requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    /// `host`, `*.host` or `host:port`: where a redirect may lead.
    pub hosts: Vec<String>,
    /// How much later than its connection was closed a request may still arrive.
    pub linger: Duration,
    pub cache: Cache,
}

impl Upstream {
    /// `all`: the limits of all sources together, whose `linger` holds here too.
    pub fn of(source: &Source, all: &Limits) -> Self {
        Upstream {
            name: source.name.clone(),
            hosts: source.hosts.clone(),
            linger: source.limits.linger.max(all.linger),
            cache: source.cache,
        }
    }

    /// Whether the source declares the host of this URL.
    pub(crate) fn covers(&self, url: &Url) -> bool {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
        let authority = format!("{host}:{port}");
        self.hosts.iter().any(|declared| host_matches(declared, &authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_covers_the_hosts_that_it_declares() {
        let upstream =
            |host: &str| Upstream { name: "s".into(), hosts: vec![host.into()], linger: Duration::ZERO, cache: Cache::default() };
        let covers = |declared: &str, url: &str| upstream(declared).covers(&Url::parse(url).unwrap());
        assert!(covers("api.espn.com", "https://API.espn.com/x") && covers("api.espn.com", "http://api.espn.com:8080/"));
        assert!(covers("*.espn.com", "https://a.b.espn.com/"));
        assert!(!covers("*.espn.com", "https://espn.com/") && !covers("*.espn.com", "https://evilespn.com/"));
        assert!(covers("127.0.0.1:81", "http://127.0.0.1:81/") && !covers("127.0.0.1:81", "http://127.0.0.1:82/"));
        assert!(covers("h:443", "https://h/") && !covers("h", "https://h.example/"));
    }
}
