//! The attempt's token as proxies are given it: `Proxy-Authorization: Basic base64(adce:<token>)`. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;

/// The name that goes with every token. Some clients send nothing if there is none.
pub(crate) const USER: &str = "adce";

/// As clients send it.
pub(crate) fn basic(token: &str) -> String {
    STANDARD.encode(format!("{USER}:{token}"))
}

/// `None` if there is none that can be read; whether it is anybody's is for the door to say.
pub(crate) fn token(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(PROXY_AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = text.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    decoded.strip_prefix(USER)?.strip_prefix(':').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(text: &'static str) -> Option<String> {
        token(&HeaderMap::from_iter([(PROXY_AUTHORIZATION, HeaderValue::from_static(text))]))
    }

    #[test]
    fn a_token_is_read_as_clients_send_it() {
        assert_eq!(of("Basic YWRjZTpzZWNyZXQ="), Some("secret".into()));
        assert_eq!(basic("secret"), "YWRjZTpzZWNyZXQ=");
        assert_eq!(of("basic  YWRjZTpzZWNyZXQ= "), Some("secret".into()));
        for wrong in ["Bearer YWRjZTpzZWNyZXQ=", "Basic", "Basic !!", "Basic b3RoZXI6c2VjcmV0", "Basic YWRjZQ==", ""] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(token(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(secret in "[ -~é]{0,40}") {
            let header = HeaderValue::from_str(&format!("Basic {}", basic(&secret))).unwrap();
            prop_assert_eq!(token(&HeaderMap::from_iter([(PROXY_AUTHORIZATION, header)])), Some(secret));
        }

        #[test]
        fn nothing_that_anybody_sends_is_read_as_what_it_is_not(bytes in proptest::collection::vec(any::<u8>(), 0..60), scheme in any::<bool>()) {
            let bytes = if scheme { [b"Basic ", &bytes[..]].concat() } else { bytes };
            let Ok(header) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            if let Some(read) = token(&HeaderMap::from_iter([(PROXY_AUTHORIZATION, header)])) {
                let sent = String::from_utf8(bytes).unwrap();
                prop_assert_eq!(sent.trim().split_once(' ').unwrap().1.trim(), basic(&read));
            }
        }
    }
}
