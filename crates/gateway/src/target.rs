//! Reads `/<attempt token>/<source>/rest?query`, and refuses what would lead anywhere else. Pure.

use http::Uri;
use percent_encoding::percent_decode_str;

/// Where a request wants to go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) token: &'a str,
    /// Still percent-encoded; empty if none is named.
    pub(crate) source: &'a str,
    /// Path and query below the base URL, as sent: empty, or beginning with `/` or `?`.
    pub(crate) rest: &'a str,
}

/// `None`: the path does not begin with `/`.
pub(crate) fn read(uri: &Uri) -> Option<Target<'_>> {
    let whole = uri.path_and_query()?.as_str().strip_prefix('/')?;
    let (token, below) = split(whole);
    let (source, rest) = split(below.strip_prefix('/').unwrap_or(below));
    Some(Target { token, source, rest })
}

/// The first segment, and the rest with the `/` or `?` that it begins with.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(['/', '?']).unwrap_or(text.len()))
}

impl Target<'_> {
    pub(crate) fn source_name(&self) -> String {
        percent_decode_str(self.source).decode_utf8_lossy().into_owned()
    }

    /// Whether the path goes up somewhere, also in an encoding that an upstream might undo.
    pub(crate) fn climbs(&self) -> bool {
        let path = self.rest.split('?').next().unwrap_or_default();
        // Some servers decode twice.
        let once = percent_decode_str(path).decode_utf8_lossy();
        let twice = percent_decode_str(&once).decode_utf8_lossy();
        [path, &once, &twice].iter().any(|path| path.split(['/', '\\']).any(|segment| segment == ".."))
    }

    /// Path and query at the upstream; `base_path` has no `/` at its end.
    pub(crate) fn below(&self, base_path: &str) -> String {
        let between = if base_path.is_empty() && !self.rest.starts_with('/') { "/" } else { "" };
        format!("{base_path}{between}{}", self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str) -> (String, String, String) {
        let uri: Uri = uri.parse().unwrap();
        let target = read(&uri).unwrap();
        (target.token.into(), target.source.into(), target.below("/v2"))
    }

    #[test]
    fn a_path_names_token_source_and_what_lies_below() {
        let of = |token: &str, source: &str, below: &str| (token.to_owned(), source.to_owned(), below.to_owned());
        assert_eq!(parts("/t/espn/a/b%20c?x=1&y=%2F/.."), of("t", "espn", "/v2/a/b%20c?x=1&y=%2F/.."));
        assert_eq!(parts("/t/espn"), of("t", "espn", "/v2"));
        assert_eq!(parts("/t/espn/"), of("t", "espn", "/v2/"));
        assert_eq!(parts("/t/espn?q"), of("t", "espn", "/v2?q"));
        assert_eq!(parts("/t/espn//a"), of("t", "espn", "/v2//a"));
        assert_eq!(parts("/t"), of("t", "", "/v2"));
        assert_eq!(parts("/"), of("", "", "/v2"));
    }

    #[test]
    fn without_a_base_path_the_path_is_still_one() {
        let below = |rest: &str| Target { token: "t", source: "s", rest }.below("");
        assert_eq!([below(""), below("?q"), below("/a")], ["/", "/?q", "/a"]);
    }

    #[test]
    fn paths_that_climb_are_seen_in_every_encoding() {
        let climbs = |rest: &str| Target { token: "t", source: "s", rest }.climbs();
        for rest in ["/..", "/a/../../b", "/%2e%2e/b", "/%2E./b", "/a%2f..%2fb", "/..%5cb", "/%252e%252e/b", "/a/..?q"] {
            assert!(climbs(rest), "{rest}");
        }
        for rest in ["/a..b", "/...", "/a?x=../..", "/.", ""] {
            assert!(!climbs(rest), "{rest}");
        }
    }
}
