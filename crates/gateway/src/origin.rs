//! Where requests go: scheme, host and port, and the source that declares them. Pure.

use std::fmt;

use adce_core::spec::host_matches;
use http::uri::Authority;
use http::{HeaderValue, Uri};
use url::{Host, Url};

use crate::Route;

/// What one connection leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// https.
    pub(crate) secure: bool,
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
}

impl Origin {
    /// Of an http or https URL with a host.
    pub(crate) fn of_url(url: &Url) -> Option<Self> {
        let secure = url.scheme() == "https";
        Some(Origin { secure, host: url.host()?.to_owned(), port: url.port_or_known_default()? })
    }

    /// Of a request as a proxy is sent it.
    pub(crate) fn of_uri(uri: &Uri) -> Option<Self> {
        let secure = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        Some(Origin { secure, host: host_of(authority)?, port })
    }

    /// Of `CONNECT host:port`. What is spoken there shows later.
    pub(crate) fn of_connect(uri: &Uri) -> Option<Self> {
        let authority = uri.authority()?;
        Some(Origin { secure: true, host: host_of(authority)?, port: authority.port_u16()? })
    }

    /// `host`, with the port if it is not the usual one: for the `Host` header.
    pub(crate) fn authority(&self) -> HeaderValue {
        let text = if self.has_usual_port() { self.host.to_string() } else { format!("{}:{}", self.host, self.port) };
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
    }

    fn has_usual_port(&self) -> bool {
        self.port == if self.secure { 443 } else { 80 }
    }
}

/// A name that is no name to the standards of URLs is nowhere to go.
fn host_of(authority: &Authority) -> Option<Host<String>> {
    if authority.as_str().contains('@') {
        return None;
    }
    Host::parse(authority.host()).ok()
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        if self.has_usual_port() { write!(f, "{scheme}://{}", self.host) } else { write!(f, "{scheme}://{}:{}", self.host, self.port) }
    }
}

/// The source that declares this host: a name goes before a wildcard, one with the port before one without, a longer wildcard
/// before a shorter one.
pub(crate) fn route_to<'a>(origin: &Origin, routes: impl Iterator<Item = &'a Route>) -> Option<&'a Route> {
    let authority = format!("{}:{}", origin.host, origin.port);
    let declared = routes.flat_map(|route| route.hosts.iter().map(move |host| (host, route)));
    let covering = declared.filter(|(host, _)| host_matches(host, &authority));
    let closeness = |host: &str| (!host.starts_with('*'), host.strip_suffix(&format!(":{}", origin.port)).is_some(), host.len());
    covering.max_by_key(|(host, _)| closeness(host)).map(|(_, route)| route)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of_url(&url.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_closest_declaration_owns_a_host() {
        let hosts = ["x.org", "*.x.org", "api.x.org", "api.x.org:8443", "*.api.x.org", "127.0.0.1:9000"];
        let routes = hosts.map(|host| Route {
            name: host.into(),
            hosts: vec![host.into()],
            base_url: None,
            linger: Duration::ZERO,
            intercept: false,
            absorb: false,
            cache: Default::default(),
        });
        let owner = |url: &str| route_to(&origin(url), routes.iter()).map(|route| route.name.as_str());
        assert_eq!(owner("https://x.org/a"), Some("x.org"));
        assert_eq!(owner("https://www.x.org"), Some("*.x.org"));
        assert_eq!(owner("https://API.x.org"), Some("api.x.org"));
        assert_eq!(owner("https://api.x.org:8443"), Some("api.x.org:8443"));
        assert_eq!(owner("https://v2.api.x.org:8443"), Some("*.api.x.org"));
        assert_eq!(owner("http://127.0.0.1:9000"), Some("127.0.0.1:9000"));
        assert_eq!(owner("http://127.0.0.1:9001"), None);
        assert_eq!(owner("https://x.org.evil.example"), None);
    }

    #[test]
    fn one_place_has_one_origin_however_it_is_written() {
        let uri = |text: &str| Origin::of_uri(&text.parse().unwrap());
        assert_eq!(uri("http://X.org/a?b"), Some(origin("http://x.org")));
        assert_eq!(uri("https://x.org:443/"), Some(origin("https://x.org")));
        assert_eq!(uri("http://[::1]:80/"), Some(origin("http://[::1]")));
        // 127.0.0.1 in the ways in which it is smuggled past those who compare texts.
        assert_eq!(uri("http://0x7f.1/"), Some(origin("http://127.0.0.1")));
        assert_eq!(uri("http://2130706433/"), Some(origin("http://127.0.0.1")));
        assert_eq!(uri("ftp://x.org/"), None);
        assert_eq!(uri("http://user@x.org/"), None);
        assert_eq!(origin("https://x.org:8443").authority(), "x.org:8443");
        assert_eq!(origin("https://x.org:443").authority(), "x.org");
        assert_eq!(origin("http://[::1]:81").authority(), "[::1]:81");
    }

    proptest! {
        #[test]
        fn whatever_names_a_place_names_it_in_one_way(
            text in "(http|https|ftp|HTTP)://([a-zA-Z0-9.\\-_@%\\[\\]:]{0,20})(:[0-9]{0,6})?(/[a-z?]{0,5})?"
        ) {
            let Ok(uri) = text.parse::<Uri>() else { return Ok(()) };
            if let Some(read) = Origin::of_uri(&uri) {
                prop_assert_eq!(&Origin::of_url(&Url::parse(&read.to_string()).unwrap()).unwrap(), &read);
                let header = format!("http{}://{}", if read.secure { "s" } else { "" }, read.authority().to_str().unwrap());
                prop_assert_eq!(&Origin::of_url(&Url::parse(&header).unwrap()).unwrap(), &read);
                prop_assert!(!uri.authority().unwrap().as_str().contains('@'));
                // Whoever resolves the address as browsers do comes to the same place.
                if let Ok(url) = Url::parse(&text) {
                    prop_assert_eq!(Origin::of_url(&url), Some(read));
                }
            }
        }

        #[test]
        fn what_is_connected_to_is_a_host_and_a_port(text in "[a-z0-9.:@\\[\\]\\-/]{0,24}") {
            let Ok(uri) = text.parse::<Uri>() else { return Ok(()) };
            if let Some(read) = Origin::of_connect(&uri) {
                prop_assert!(text.ends_with(&format!(":{}", read.port)) || text.contains(&format!(":0{}", read.port)) || text.contains('/'), "{text}: {read}");
                prop_assert!(!text.contains('@'));
            }
        }
    }
}
