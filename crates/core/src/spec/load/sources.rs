//! `sources` and `limits`.

use std::time::Duration;

use indexmap::IndexMap;
use url::Url;

use super::{Loader, entries};
use crate::spec::decode::{Name, OneOrMore, Text};
use crate::spec::problem::{Place, Problem};
use crate::spec::raw::{Bracket, Off, RawBreaker, RawBreakerPolicy, RawLimits, RawMargin, RawNotModified, RawSource};
use crate::spec::{BreakerPolicy, By, Cache, FailureRate, GatewayRules, Limits, Margin, Source, Window};

pub(super) fn limits(raw: &RawLimits) -> Limits {
    let default = Limits::default();
    let windows = [(1, &raw.per_second), (60, &raw.per_minute), (3_600, &raw.per_hour), (86_400, &raw.per_day)];
    let windows = windows.into_iter().filter_map(|(secs, given)| {
        let requests = given.as_ref()?.value.0;
        Some(Window { requests, span: Duration::from_secs(secs) })
    });
    Limits {
        windows: windows.collect(),
        burst: raw.burst.as_ref().map(|given| given.value.0),
        min_delay: raw.min_delay.as_ref().map(|given| given.value.0),
        in_flight: raw.in_flight.as_ref().map(|given| given.value.0),
        margin: match &raw.margin {
            Some(RawMargin::Span(given)) => Margin::Fixed(given.value.0),
            Some(RawMargin::Word(word)) => match word.value {
                Bracket::Bracket => Margin::Bracket,
            },
            None => default.margin,
        },
        linger: raw.linger.as_ref().map_or(default.linger, |given| given.value.0),
        bytes_per_second: raw.bytes_per_second.as_ref().map(|given| given.value.0),
    }
}

/// Whoever says something of it wants it.
fn rate(raw: &RawBreakerPolicy, default: Option<FailureRate>) -> Option<FailureRate> {
    let said = raw.rate.is_some() || raw.of.is_some() || raw.within.is_some();
    let default = default.or(said.then(FailureRate::default))?;
    Some(FailureRate {
        permille: raw.rate.as_ref().map_or(default.permille, |given| given.value.permille),
        of: raw.of.as_ref().map_or(default.of, |given| given.value.0),
        within: raw.within.as_ref().map_or(default.within, |given| given.value.0),
    })
}

impl Loader<'_> {
    /// `what`: whose it is. `default`: what is not given.
    pub(super) fn breaker(&mut self, what: &str, raw: Option<&RawBreaker>, default: BreakerPolicy) -> Option<BreakerPolicy> {
        let raw = match raw {
            None => return Some(default),
            Some(RawBreaker::Word(word)) => match word.value {
                Off::Off => return None,
            },
            Some(RawBreaker::Map(raw)) => raw,
        };
        let cooldown = raw.cooldown.as_ref().map_or(default.cooldown, |given| given.value.0);
        if let Some(longest) = raw.cooldown_max.as_ref().filter(|longest| longest.value.0 < cooldown) {
            self.error_with(
                &longest.at,
                format!("{what}: `breaker.cooldown_max` is shorter than `cooldown`, the first pause"),
                "the pause doubles from `cooldown` to `cooldown_max` while the tries after it fail",
            );
        }
        if let Some(rate) = raw.rate.as_ref().filter(|rate| rate.value.permille == 0) {
            self.error_with(&rate.at, format!("{what}: `breaker.rate`: expected more than 0 %"), "half of all is `50%`");
        }
        Some(BreakerPolicy {
            failures: raw.failures.as_ref().map_or(default.failures, |given| given.value.0),
            cooldown,
            cooldown_max: raw.cooldown_max.as_ref().map_or(default.cooldown_max.max(cooldown), |given| given.value.0),
            rate: rate(raw, default.rate),
        })
    }

    pub(super) fn breaker_of_collector(&mut self, what: &str, raw: Option<&RawBreaker>) -> Option<BreakerPolicy> {
        if let Some(RawBreaker::Map(RawBreakerPolicy { by: Some(text), .. })) = raw {
            let message = format!("{what}: `breaker.by`: a collector crashes or it does not, whatever its values are");
            self.error_with(&text.at, message, "breakers `by` a value stand under the source that fails by it");
        }
        self.breaker(what, raw, BreakerPolicy::of_collector())
    }

    pub(super) fn sources(&mut self) -> IndexMap<String, Source> {
        let raw = self.raw;
        let mut sources = IndexMap::new();
        let mut owners: IndexMap<String, String> = IndexMap::new();
        for (name, raw) in entries(raw.sources.as_ref()) {
            self.check_name("source", name);
            let Some(raw) = raw else { continue };
            let hosts = self.hosts(name, raw, &mut owners);
            let (limits, by) = self.limits_of_source(name, raw);
            let (breaker, by) = self.breakers_of_source(name, raw, by);
            let source = Source {
                name: name.text.clone(),
                base_url: self.base_url(name, raw, &hosts),
                hosts,
                intercept: raw.intercept.as_ref().is_some_and(|given| given.value),
                absorb: raw.absorb.as_ref().is_some_and(|given| given.value),
                cache: Cache {
                    validators: raw.cache.is_some(),
                    not_modified_is_free: raw.not_modified.as_ref().is_some_and(|given| given.value == RawNotModified::Free),
                },
                importance: raw.importance.as_ref().map_or(1.0, |given| given.value.0),
                limits,
                by,
                breaker,
            };
            sources.insert(name.text.clone(), source);
        }
        sources
    }

    /// Those of the source as a whole, and those that each value has for itself.
    fn limits_of_source(&mut self, name: &Name, raw: &RawSource) -> (Limits, Option<By>) {
        let what = format!("source `{}`", name.text);
        let (mut whole, mut by) = (None, None::<By>);
        for raw in raw.limits.as_ref().map(OneOrMore::as_slice).unwrap_or_default() {
            let these = limits(raw);
            let Some(text) = &raw.by else {
                if whole.is_some() {
                    let message = format!("{what}: two entries of `limits` have no `by`");
                    self.error_with(&name.at, message, "write both into one: all that it says holds at once");
                }
                whole.get_or_insert(these);
                continue;
            };
            if let Some(given) = &raw.bytes_per_second {
                let message = format!("{what}: `bytes_per_second` is of the source as a whole, not by `{}`", text.text);
                self.error_with(&given.at, message, "write it into the entry of `limits` that has no `by`");
            }
            let is_empty = these == Limits { margin: these.margin, linger: these.linger, ..Limits::default() };
            match &by {
                _ if is_empty => {
                    let message = format!("{what}: `limits` by `{}` limit nothing", text.text);
                    self.error_with(&text.at, message, format!("say what each may have: `{{ by: {}, per_minute: 60 }}`", text.text));
                }
                Some(by) if by.name == text.text => {
                    self.error_with(&text.at, format!("{what}: two entries of `limits` are by `{}`", text.text), "write both into one");
                }
                Some(by) => {
                    let message = format!("{what}: `limits` by `{}` and by `{}`", by.name, text.text);
                    let hint = "a source's requests are told apart by one name; a column that joins both would be one, too";
                    self.error_with(&text.at, message, hint);
                }
                None => by = Some(By { name: text.text.clone(), limits: these, breaker: None }),
            }
        }
        (whole.unwrap_or_default(), by)
    }

    /// That of the source as a whole, and the one that each value has for itself. Whoever declares only that wants no other: three
    /// customers who fail one after the other are no outage.
    fn breakers_of_source(&mut self, name: &Name, raw: &RawSource, mut by: Option<By>) -> (Option<BreakerPolicy>, Option<By>) {
        let what = format!("source `{}`", name.text);
        let mut whole = None;
        for raw in raw.breaker.as_ref().map(OneOrMore::as_slice).unwrap_or_default() {
            let told_by = match raw {
                RawBreaker::Map(policy) => policy.by.as_ref(),
                RawBreaker::Word(_) => None,
            };
            let policy = self.breaker(&what, Some(raw), BreakerPolicy::default());
            let Some(text) = told_by else {
                if whole.is_some() {
                    let message = format!("{what}: two entries of `breaker` have no `by`");
                    self.error_with(&name.at, message, "a source as a whole has one breaker");
                }
                whole = Some(policy);
                continue;
            };
            match &mut by {
                Some(by) if by.name != text.text => {
                    let other = if by.breaker.is_some() { "another breaker" } else { "`limits`" };
                    let message = format!("{what}: `breaker` by `{}` and {other} by `{}`", text.text, by.name);
                    let hint = "a source's requests are told apart by one name; a column that joins both would be one, too";
                    self.error_with(&text.at, message, hint);
                }
                Some(By { breaker: Some(_), .. }) => {
                    self.error_with(&text.at, format!("{what}: two entries of `breaker` are by `{}`", text.text), "leave one of them out");
                }
                Some(by) => by.breaker = policy,
                None => by = Some(By { name: text.text.clone(), limits: Limits::default(), breaker: policy }),
            }
        }
        let has_one_by_value = by.as_ref().is_some_and(|by| by.breaker.is_some());
        (whole.unwrap_or_else(|| (!has_one_by_value).then(BreakerPolicy::default)), by)
    }

    /// A host that a source declares has limits, so nobody may be sent around them.
    pub(super) fn gateway(&mut self, sources: &IndexMap<String, Source>) -> GatewayRules {
        let Some(raw) = self.raw.gateway.as_ref() else { return GatewayRules::default() };
        let mut no_proxy = Vec::new();
        for text in raw.no_proxy.as_ref().map_or(&[][..], |given| given.as_slice()) {
            let host = text.text.to_ascii_lowercase();
            let bare = host.strip_prefix('.').unwrap_or(&host);
            if let Err(hint) = check_host(bare) {
                self.error_with(&text.at, format!("`gateway.no_proxy`: `{}` is not a host", text.text), hint);
                continue;
            }
            // Clients take a name for all below it, too.
            let meets = |declared: &String| {
                let declared = without_port(declared);
                let name = declared.trim_start_matches("*.");
                name == bare || name.strip_suffix(bare).is_some_and(|front| front.ends_with('.')) || host_matches(declared, bare)
            };
            if let Some(source) = sources.values().find(|source| source.hosts.iter().any(meets)) {
                let message =
                    format!("`gateway.no_proxy`: `{}` would let requests pass by the limits of source `{}`", text.text, source.name);
                self.error_with(&text.at, message, "requests to a declared host always go through the gateway; remove one of the two");
                continue;
            }
            no_proxy.push(host);
        }
        GatewayRules {
            strict: raw.strict.as_ref().is_some_and(|given| given.value),
            no_proxy,
            cache_size: raw.cache_size.as_ref().map_or(GatewayRules::default().cache_size, |given| given.value.0),
        }
    }

    fn hosts(&mut self, name: &Name, raw: &RawSource, owners: &mut IndexMap<String, String>) -> Vec<String> {
        let Some(given) = &raw.hosts.0 else { return Vec::new() };
        let mut hosts = Vec::new();
        for text in given.as_slice() {
            let host = text.text.to_ascii_lowercase();
            if let Err(hint) = check_host(&host) {
                let message = format!("source `{}`: `{}` is not a host", name.text, text.text);
                self.error_with(&text.at, message, hint);
                continue;
            }
            match owners.insert(host.clone(), name.text.clone()) {
                Some(owner) if owner != name.text => {
                    let message = format!("source `{}`: host `{host}` belongs to source `{owner}` already", name.text);
                    self.error_with(&text.at, message, "a host has one source, so that its limits are counted in one place");
                }
                _ => {}
            }
            hosts.push(host);
        }
        if given.as_slice().is_empty() {
            self.error(&name.at, format!("source `{}`: `hosts` is empty: expected at least one host", name.text));
        }
        hosts
    }

    fn base_url(&mut self, name: &Name, raw: &RawSource, hosts: &[String]) -> Option<Url> {
        let Some(text) = &raw.base_url else {
            return match hosts {
                [only] if !only.starts_with('*') => Url::parse(&format!("https://{only}")).ok(),
                _ => None,
            };
        };
        let what = format!("source `{}`: `base_url`", name.text);
        let url = match Url::parse(&text.text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
            _ => {
                let message = format!("{what}: expected an http or https address, found `{}`", text.text);
                self.error_with(&text.at, message, "such as `https://api.example.org/v2`");
                return None;
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            let problem = Problem::error(&text.at, format!("{what} holds a user name or password"));
            let problem = problem.hint("a secret goes into `headers`: `{ secret: NAME }`");
            // The line would show it.
            self.problems.push(Problem { line: Some(String::new()), ..problem });
            return None;
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.error(&text.at, format!("{what} cannot have a `?` or `#` part: requests put their path behind it"));
            return None;
        }
        self.check_host_of_url(&what, &text.at, &url, hosts);
        Some(url)
    }

    fn check_host_of_url(&mut self, what: &str, at: &Place, url: &Url, hosts: &[String]) {
        let authority = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return,
        };
        if !hosts.is_empty() && !hosts.iter().any(|pattern| host_matches(pattern, &authority)) {
            let message = format!("{what}: host `{authority}` is not among the source's hosts");
            self.error_with(at, message, format!("add `{authority}` to `hosts`"));
        }
    }
}

/// Whether `host` or `host:port` falls under a source's `host`, `*.host` or `host:port`. A pattern without a port
/// stands for every port.
pub fn host_matches(pattern: &str, authority: &str) -> bool {
    let authority = authority.to_ascii_lowercase();
    let wanted = if without_port(pattern) == pattern { without_port(&authority) } else { authority.as_str() };
    match pattern.strip_prefix('*') {
        Some(suffix) => wanted.len() > suffix.len() && wanted.ends_with(suffix),
        None => wanted == pattern,
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    }
}

/// `Err`: what to write instead.
fn check_host(host: &str) -> Result<(), String> {
    if let Some((_, rest)) = host.split_once("://") {
        let bare = rest.split('/').next().unwrap_or(rest);
        return Err(format!("a host has no scheme and no path: write `{bare}`; the address goes into `base_url`"));
    }
    if let Some((bare, _)) = host.split_once('/') {
        return Err(format!("a host has no path: write `{bare}`"));
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let expected = || "expected `host`, `*.host` or `host:port`".to_owned();
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Err(expected());
    }
    let name = name.strip_prefix("*.").unwrap_or(name);
    if name.contains('*') {
        return Err("a `*` stands only at the begin: `*.example.org`".into());
    }
    let is_host = url::Host::parse(name).is_ok() && !name.is_empty();
    if is_host { Ok(()) } else { Err(expected()) }
}

/// The scheme, host and port of an address whose path may hold variables; `None` if they hold some themselves.
pub fn literal_authority(template: &Text) -> Option<Result<Url, url::ParseError>> {
    let text = template.text.as_str();
    let scheme_end = text.find("://").map_or(0, |at| at + 3);
    let end = text[scheme_end..].find(['/', '?', '#']).map_or(text.len(), |at| scheme_end + at);
    let front = &text[..end];
    (!front.contains(['{', '}'])).then(|| Url::parse(front))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_does_not_stand_for_the_bare_host() {
        assert!(host_matches("*.x.org", "www.x.org"));
        assert!(host_matches("*.x.org", "a.b.x.org:8080"));
        assert!(!host_matches("*.x.org", "x.org"));
        assert!(!host_matches("*.x.org", "ax.org"));
    }

    #[test]
    fn a_pattern_with_a_port_stands_for_that_port_alone() {
        assert!(host_matches("x.org:8080", "x.org:8080"));
        assert!(!host_matches("x.org:8080", "x.org"));
        assert!(host_matches("x.org", "X.org:8080"));
    }

    #[test]
    fn addresses_are_no_hosts() {
        for wrong in ["https://x.org", "x.org/api", "a.*.org", "x.org:port", "x.org:0", "", "*.", "a b"] {
            assert!(check_host(wrong).is_err(), "{wrong}");
        }
        for right in ["x.org", "*.x.org", "127.0.0.1:8080", "localhost", "x.org:443", "[::1]:80"] {
            assert!(check_host(right).is_ok(), "{right}");
        }
    }
}
