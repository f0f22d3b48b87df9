//! Where a bucket answers, and how a key becomes a URL.
//!
//! The signature is computed over the path that is sent. A key is encoded here once, everything but letters, digits and
//! `-._~/`, and nothing behind this point changes it; a second opinion about encoding is a refused signature, or worse, the
//! wrong object.

use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::{Host, Url};

const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'/');

pub(super) struct Place {
    /// Up to and without the slash before the key.
    base: String,
    pub(super) region: String,
    /// The store is on this machine: no proxy leads there.
    pub(super) on_loopback: bool,
}

impl Place {
    pub(super) fn of(bucket: &str, settings: &AmazonS3Builder) -> Result<Place, String> {
        let setting = |key| settings.get_config_value(&key).filter(|value| !value.is_empty());
        let is_on = |value: &String| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on" | "y");
        let region = setting(AmazonS3ConfigKey::Region).or_else(|| setting(AmazonS3ConfigKey::DefaultRegion));
        let region = region.unwrap_or_else(|| "us-east-1".into());
        let endpoint = setting(AmazonS3ConfigKey::S3Endpoint).or_else(|| setting(AmazonS3ConfigKey::Endpoint));
        // Only amazonaws.com is known to answer under the bucket's own name; a dot in that name breaks TLS there.
        let style = std::env::var("AWS_VIRTUAL_HOSTED_STYLE_REQUEST").ok().filter(|value| !value.is_empty());
        let chosen = setting(AmazonS3ConfigKey::VirtualHostedStyleRequest).or(style);
        let virtual_host = match (&endpoint, chosen) {
            (Some(_), chosen) => chosen.as_ref().is_some_and(is_on),
            (None, _) => !bucket.contains('.'),
        };
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.{domain}"));
        let allow_http = setting(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)).as_ref().is_some_and(is_on);
        let url = checked(&endpoint, allow_http)?;
        Ok(Place { base: base(&url, bucket, virtual_host), region, on_loopback: is_loopback(&url) })
    }

    /// `host:port`.
    pub(super) fn answers_at(&self) -> Option<String> {
        let url = Url::parse(&self.base).ok()?;
        Some(format!("{}:{}", url.host()?, url.port_or_known_default()?))
    }

    /// The URL of the object, or without a key of the bucket.
    pub(super) fn url(&self, key: Option<&str>, query: &[(&str, String)]) -> String {
        let mut url = format!("{}/", self.base);
        match key {
            Some(key) => url.extend(utf8_percent_encode(key, IN_PATH)),
            // In path style the bucket itself has no slash behind it.
            None if Url::parse(&self.base).is_ok_and(|base| base.path() != "/") => _ = url.pop(),
            None => {}
        }
        for (at, (name, value)) in query.iter().enumerate() {
            url.push(if at == 0 { '?' } else { '&' });
            url.push_str(name);
            url.push('=');
            url.extend(utf8_percent_encode(value, IN_QUERY));
        }
        url
    }
}

fn checked(endpoint: &str, allow_http: bool) -> Result<Url, String> {
    let url = Url::parse(endpoint).map_err(|error| format!("the endpoint `{endpoint}` is no URL: {error}"))?;
    if url.host().is_none() || !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err("the endpoint must be `https://host[:port]`, without user, password or query".into());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_loopback(&url) => Ok(url),
        "http" => Err(format!("the endpoint `{endpoint}` is not encrypted; `AWS_ALLOW_HTTP=true` permits that")),
        other => Err(format!("the endpoint's scheme is `{other}`, expected `https` (or `http`)")),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn base(endpoint: &Url, bucket: &str, virtual_host: bool) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    let port = endpoint.port().map_or_else(String::new, |port| format!(":{port}"));
    let (scheme, path) = (endpoint.scheme(), endpoint.path().trim_end_matches('/'));
    match virtual_host {
        // Some name the bucket in the endpoint already.
        true if host.starts_with(&format!("{bucket}.")) => format!("{scheme}://{host}{port}{path}"),
        true => format!("{scheme}://{bucket}.{host}{port}{path}"),
        false => format!("{scheme}://{host}{port}{path}/{bucket}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(settings: &[(AmazonS3ConfigKey, &str)]) -> Result<Place, String> {
        let new = AmazonS3Builder::new();
        let settings = settings.iter().fold(new, |builder, (key, value)| builder.with_config(*key, *value));
        Place::of("lake", &settings)
    }

    #[test]
    fn endpoint_region_and_style_decide_the_url() {
        use AmazonS3ConfigKey::{Endpoint, Region, VirtualHostedStyleRequest};
        let url = |settings: &[_]| place(settings).unwrap().url(Some("a/b"), &[]);
        assert_eq!(url(&[]), "https://lake.s3.us-east-1.amazonaws.com/a/b");
        assert_eq!(url(&[(Region, "eu-west-1")]), "https://lake.s3.eu-west-1.amazonaws.com/a/b");
        assert_eq!(url(&[(Region, "cn-north-1")]), "https://lake.s3.cn-north-1.amazonaws.com.cn/a/b");
        let endpoint = (Endpoint, "https://store.example:9000/");
        assert_eq!(url(&[endpoint]), "https://store.example:9000/lake/a/b");
        assert_eq!(url(&[endpoint, (VirtualHostedStyleRequest, "true")]), "https://lake.store.example:9000/a/b");
        let named = (Endpoint, "https://lake.store.example");
        assert_eq!(url(&[named, (VirtualHostedStyleRequest, "true")]), "https://lake.store.example/a/b");
        assert_eq!(
            place(&[endpoint]).unwrap().url(None, &[("prefix", "a+b/ü".into())]),
            "https://store.example:9000/lake?prefix=a%2Bb%2F%C3%BC"
        );
    }

    #[test]
    fn no_url_library_changes_an_encoded_key() {
        let place = place(&[]).unwrap();
        for key in ["a//b", "/a", "a b+c%2F~#[]?", "ü/😀", "...", "..a", "a\\b", "\t\n", "a;b=c&d", "a:b@c"] {
            let url = place.url(Some(key), &[]);
            let parsed = Url::parse(&url).unwrap();
            assert_eq!(parsed.as_str(), url, "{key:?}");
            let path = percent_encoding::percent_decode_str(&parsed.path()[1..]).decode_utf8().unwrap().into_owned();
            assert_eq!(path, key);
        }
    }

    /// Signatures are computed over exactly this form; a server that is strict about it refuses any other.
    #[test]
    fn only_unreserved_characters_stand_unencoded_in_a_path() {
        let every: String = (1_u8..=127).map(char::from).collect();
        let url = place(&[]).unwrap().url(Some(&every), &[]);
        let path = url.strip_prefix("https://lake.s3.us-east-1.amazonaws.com/").unwrap();
        let escapes: String = every
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' | '/' => c.to_string(),
                other => format!("%{:02X}", other as u32),
            })
            .collect();
        assert_eq!(path, escapes);
    }

    #[test]
    fn unencrypted_endpoint_beyond_this_machine_needs_permission() {
        use AmazonS3ConfigKey::{Client, Endpoint};
        let far = (Endpoint, "http://store.example");
        assert!(place(&[far]).is_err());
        assert!(place(&[far, (Client(ClientConfigKey::AllowHttp), "true")]).is_ok());
        assert!(place(&[(Endpoint, "http://127.0.0.1:9000")]).unwrap().on_loopback);
        for bad in ["store.example", "ftp://store.example", "https://me:secret@store.example"] {
            let told = place(&[(Endpoint, bad)]).err().unwrap();
            assert!(!told.contains("secret"), "{told}");
        }
    }
}
