//! Who asks, and whether a browser was talked into it.
//!
//! A page of somebody else's that a browser shows can send requests to this machine. It cannot read the answers, unless its own name is
//! made to lead here (DNS rebinding): so a name that the config does not have reaches nothing. And it can try to act: so what acts needs
//! a token, which that page does not have, or a session whose cookie is not sent along from there, and says where it comes from.

use std::net::IpAddr;

use adce_core::access::{Role, bearer};
use adce_core::time::Timestamp;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::desk::Desk;
use crate::problem::Problem;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Whoever can connect.
    Anybody,
    Token {
        name: String,
        role: Role,
    },
}

impl Who {
    pub(crate) fn role(&self) -> Option<Role> {
        match self {
            Who::Anybody => None,
            Who::Token { role, .. } => Some(*role),
        }
    }

    /// As it is on record.
    pub(crate) fn name(&self) -> &str {
        match self {
            Who::Anybody => "anybody",
            Who::Token { name, .. } => name,
        }
    }

    /// Refused unless its role is this one or one above it.
    pub(crate) fn may(&self, needed: Role) -> Result<(), Problem> {
        match self.role() {
            Some(role) if role >= needed => Ok(()),
            Some(role) => {
                let detail = format!("`{}` is {}, and this is for {}", self.name(), with_article(role), needed.word());
                Err(Problem::new(StatusCode::FORBIDDEN, detail).hint(format!("`adce token create NAME --role {}`", needed.word())))
            }
            None => Err(Problem::new(StatusCode::UNAUTHORIZED, format!("this is for {}: it needs a token", needed.word()))
                .hint(format!("`adce token create NAME --role {}`, and the header `Authorization: Bearer <token>`", needed.word()))),
        }
    }
}

fn with_article(role: Role) -> String {
    let article = if role == Role::Viewer { "a" } else { "an" };
    format!("{article} {}", role.word())
}

/// By the header `Authorization`. `Err`: there is one, and it is nobody's.
pub(crate) fn who(headers: &HeaderMap, desk: &dyn Desk, now: Timestamp) -> Result<Who, Problem> {
    let Some(shown) = headers.get(AUTHORIZATION) else { return Ok(Who::Anybody) };
    let token = shown.to_str().ok().and_then(|shown| shown.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    of_token(token.unwrap_or_default(), desk, now)
        .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "the token is unknown, revoked or expired").hint("`adce token list`"))
}

pub(crate) fn of_token(token: &str, desk: &dyn Desk, now: Timestamp) -> Option<Who> {
    let tokens = desk.known_tokens();
    bearer(&tokens, token, now).map(|token| Who::Token { name: token.name.clone(), role: token.role })
}

/// Refused where it was asked for by a name that is not ours. An address cannot be rebound: it is where the request went.
pub(crate) fn is_asked_by_our_name(headers: &HeaderMap, uri: &Uri, hosts: &[String]) -> Result<(), Problem> {
    let asked = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let name = asked.map(host_of).unwrap_or_default();
    if name == "localhost" || name.parse::<IpAddr>().is_ok() || hosts.contains(&name) {
        return Ok(());
    }
    let detail = format!("this server is not asked as `{}`", name.chars().take(100).collect::<String>());
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).hint("names by which browsers may ask it: `server.hosts`"))
}

/// `[::1]:7780` → `::1`.
fn host_of(authority: &str) -> String {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.to_ascii_lowercase()
}

/// Refused where a page of another origin wants something done.
pub(crate) fn comes_from_here(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let is_foreign = text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
    let host = text(HOST.as_str()).unwrap_or_default();
    let origin = text(ORIGIN.as_str());
    let is_ours = |origin: &str| origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    if is_foreign || origin.is_some_and(|origin| !is_ours(origin)) {
        return Err(Problem::new(StatusCode::FORBIDDEN, "a page of another origin may not act here"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
        given.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_addresses_localhost_and_names_of_the_config_are_asked() {
        let asked = |host: &str| is_asked_by_our_name(&headers(&[("host", host)]), &Uri::from_static("/"), &["adce.example.org".into()]);
        for host in ["127.0.0.1:7780", "localhost", "LOCALHOST:1", "[::1]:7780", "10.1.2.3", "adce.example.org", "adce.example.org:443"] {
            assert!(asked(host).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "adce.example.org.evil.example",
            "127.0.0.1.evil.example:7780",
            "localhost.evil.example",
            "",
            "xadce.example.org",
        ] {
            assert!(asked(host).is_err(), "{host}");
        }
        let absolute = Uri::from_static("http://evil.example/v1/status");
        assert!(is_asked_by_our_name(&headers(&[("host", "localhost")]), &absolute, &[]).is_err(), "what is asked for counts");
    }

    #[test]
    fn a_page_of_another_origin_does_not_act() {
        let acts = |given: &[(&'static str, &str)]| comes_from_here(&Method::POST, &headers(given)).is_ok();
        assert!(acts(&[("host", "127.0.0.1:7780")]), "a program says nothing");
        assert!(acts(&[("host", "127.0.0.1:7780"), ("origin", "http://127.0.0.1:7780"), ("sec-fetch-site", "same-origin")]));
        assert!(!acts(&[("host", "127.0.0.1:7780"), ("origin", "http://127.0.0.1:8000")]));
        assert!(!acts(&[("host", "127.0.0.1:7780"), ("origin", "null")]));
        assert!(!acts(&[("host", "127.0.0.1:7780"), ("sec-fetch-site", "cross-site")]));
        assert!(!acts(&[("host", "127.0.0.1:7780"), ("sec-fetch-site", "same-site")]));
        assert!(comes_from_here(&Method::GET, &headers(&[("sec-fetch-site", "cross-site")])).is_ok(), "a link leads here");
    }
}
