//! What of a message belongs to one connection only, and where a redirect leads. Pure.

use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use url::Url;

/// A request's wish to go on in another protocol.
pub(crate) struct Upgrade {
    protocol: HeaderValue,
    /// The client's connection, once it has been agreed to.
    pub(crate) client: OnUpgrade,
}

impl Upgrade {
    /// To be called while the request still has its headers. HTTP/2 over plain connections is no protocol to go on in.
    pub(crate) fn asked_for(request: &mut Request<Incoming>) -> Option<Self> {
        let headers = request.headers();
        let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let is_meant = named.map(str::trim).any(|name| name.eq_ignore_ascii_case("upgrade"));
        let protocol = headers.get(UPGRADE).filter(|protocol| is_meant && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c"))?.clone();
        Some(Upgrade { protocol, client: hyper::upgrade::on(request) })
    }

    pub(crate) fn ask_for(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }
}

/// Removes the headers that hold from hop to hop, those that `Connection` names among them.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    // What frames the body must go with the body, whatever a client may call it.
    let named = named.into_iter().filter(|name| *name != CONTENT_LENGTH && *name != http::header::HOST);
    let keep_alive = HeaderName::from_static("keep-alive");
    let proxy_connection = HeaderName::from_static("proxy-connection");
    let always =
        [CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, keep_alive, proxy_connection];
    for name in named.chain(always) {
        headers.remove(name);
    }
}

/// Of an answer that says twice where it ends, once by its chunks, the other is taken away: whoever is told both may believe the
/// wrong one, and take the rest for the next answer.
pub(crate) fn one_framing(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
}

/// This hop has answered `Expect: 100-continue` already when the body is passed on.
pub(crate) fn remove_expectation(headers: &mut HeaderMap) {
    headers.remove(EXPECT);
}

/// Keeps a client on the gateway that is sent to another place below the same base URL. Other places are passed as
/// they are, but in full: what they are relative to is the upstream, not the gateway.
///
/// `asked`: the URL that was asked for upstream; `door`: the gateway's URL of the base, without a `/` at its end.
pub(crate) fn keep_location_inside(headers: &mut HeaderMap, asked: &Url, base: &Url, door: &str) {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(inside) = location.and_then(|location| moved_location(location, asked, base, door)) else { return };
    if let Ok(value) = HeaderValue::from_str(&inside) {
        headers.insert(LOCATION, value);
    }
}

/// `None`: leave it as it is.
fn moved_location(location: &str, asked: &Url, base: &Url, door: &str) -> Option<String> {
    let to = asked.join(location).ok()?;
    let is_absolute = Url::parse(location).is_ok();
    if to.origin() != base.origin() {
        return (!is_absolute).then(|| to.into());
    }
    let base_path = base.path().trim_end_matches('/');
    let below = to.path().strip_prefix(base_path).filter(|below| below.is_empty() || below.starts_with('/'));
    let Some(below) = below else { return (!is_absolute).then(|| to.into()) };
    let query = to.query().map(|query| format!("?{query}")).unwrap_or_default();
    let fragment = to.fragment().map(|fragment| format!("#{fragment}")).unwrap_or_default();
    Some(format!("{door}{below}{query}{fragment}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_belongs_to_one_connection_stays_there() {
        let mut headers = HeaderMap::new();
        let all = [
            ("connection", "keep-alive, X-Private, content-length"),
            ("keep-alive", "timeout=5"),
            ("x-private", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic eA=="),
            ("content-length", "5"),
            ("authorization", "Bearer t"),
            ("retry-after", "3"),
        ];
        all.iter().for_each(|(name, value)| {
            headers.append(*name, HeaderValue::from_static(value));
        });
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort();
        assert_eq!(left, ["authorization", "content-length", "retry-after"]);
    }

    #[test]
    fn redirects_below_the_base_url_stay_on_the_gateway() {
        let base = Url::parse("https://api.example/v2/").unwrap();
        let asked = Url::parse("https://api.example/v2/games/1").unwrap();
        let moved = |location: &str| moved_location(location, &asked, &base, "http://127.0.0.1:9/t/espn");
        let inside = |below: &str| Some(format!("http://127.0.0.1:9/t/espn{below}"));
        assert_eq!(moved("https://api.example/v2/games/2?x=1#y"), inside("/games/2?x=1#y"));
        assert_eq!(moved("https://api.example:443/v2"), inside(""));
        assert_eq!(moved("/v2/teams"), inside("/teams"));
        assert_eq!(moved("3"), inside("/games/3"));
        assert_eq!(moved("?page=2"), inside("/games/1?page=2"));
    }

    #[test]
    fn redirects_to_other_places_are_passed_in_full() {
        let base = Url::parse("https://api.example/v2").unwrap();
        let asked = Url::parse("https://api.example/v2/games/1").unwrap();
        let moved = |location: &str| moved_location(location, &asked, &base, "http://127.0.0.1:9/t/espn");
        assert_eq!(moved("https://other.example/v2/x"), None);
        assert_eq!(moved("http://api.example/v2/x"), None);
        assert_eq!(moved("https://api.example/v1/x"), None);
        assert_eq!(moved("https://api.example/v20"), None);
        assert_eq!(moved("/login"), Some("https://api.example/login".into()));
        assert_eq!(moved("//cdn.example/x"), Some("https://cdn.example/x".into()));
        assert_eq!(moved("../../login"), Some("https://api.example/login".into()));
    }

    proptest! {
        #[test]
        fn nothing_that_is_named_or_of_this_hop_stays_whatever_else_is_sent(
            lists in proptest::collection::vec("[ ,a-zX\\-\"\u{80}]{0,30}", 0..4),
            others in proptest::collection::vec("[a-z\\-]{1,12}", 0..8),
        ) {
            let mut headers = HeaderMap::new();
            for name in ["host", "content-length", "te", "upgrade", "transfer-encoding", "proxy-authorization", "keep-alive"] {
                headers.append(name, HeaderValue::from_static("1"));
            }
            for other in others.iter().filter_map(|other| other.parse::<HeaderName>().ok()) {
                headers.append(other, HeaderValue::from_static("1"));
            }
            lists.iter().filter_map(|list| HeaderValue::from_str(list).ok()).for_each(|list| {
                headers.append(CONNECTION, list);
            });
            remove_hop_by_hop(&mut headers);
            prop_assert!(headers.contains_key("host") && headers.contains_key("content-length"));
            for gone in [CONNECTION, TE, UPGRADE, TRANSFER_ENCODING, PROXY_AUTHORIZATION] {
                prop_assert!(!headers.contains_key(&gone), "{gone}");
            }
            for named in lists.iter().filter(|list| list.is_ascii()).flat_map(|list| list.split(',')).map(str::trim) {
                let named = named.to_ascii_lowercase();
                prop_assert!(matches!(named.as_str(), "host" | "content-length") || !headers.contains_key(&named), "{named}");
            }
        }

        #[test]
        fn a_redirect_leads_where_the_upstream_meant(location in "(https?:)?(//)?(api.example|other.example)?(:[0-9]{1,3})?[/.a-z0-9%?#\\\\@]{0,20}") {
            let base = Url::parse("https://api.example/v2").unwrap();
            let asked = Url::parse("https://api.example/v2/games/1").unwrap();
            let door = "http://127.0.0.1:9/t/espn";
            match (moved_location(&location, &asked, &base, door), asked.join(&location)) {
                (None, _) => {}
                (Some(moved), Ok(meant)) => match moved.strip_prefix(door) {
                    Some(below) => prop_assert_eq!(Url::parse(&format!("https://api.example/v2{below}")).unwrap(), meant),
                    None => prop_assert_eq!(moved, meant.to_string()),
                },
                (Some(moved), Err(_)) => prop_assert!(false, "{moved}"),
            }
        }
    }
}
