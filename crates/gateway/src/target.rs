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
        // To some `..;x` is `..` with a parameter, and a text ends at its first zero; others drop what cannot be seen.
        let is_seen = |character: &char| !character.is_ascii_control() && *character != ' ';
        let named = |segment: &str| segment.split([';', '\0']).next().unwrap_or_default().chars().filter(is_seen).collect::<String>();
        let climbs = |segment: &str| named(segment) == "..";
        [path, &once, &twice].iter().any(|path| path.split(['/', '\\']).any(climbs))
    }

    /// Path and query at the upstream; `base_path` has no `/` at its end.
    pub(crate) fn below(&self, base_path: &str) -> String {
        let between = if base_path.is_empty() && !self.rest.starts_with('/') { "/" } else { "" };
        format!("{base_path}{between}{}", self.rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
        for rest in [
            "/..",
            "/a/../../b",
            "/%2e%2e/b",
            "/%2E./b",
            "/a%2f..%2fb",
            "/..%5cb",
            "/%252e%252e/b",
            "/a/..?q",
            "/..;x/b",
            "/..%00x",
            "/.%09./b",
            "/..%20/b",
        ] {
            assert!(climbs(rest), "{rest}");
        }
        for rest in ["/a..b", "/...", "/a?x=../..", "/.", ""] {
            assert!(!climbs(rest), "{rest}");
        }
    }

    /// Pieces from which those who want to climb make their paths.
    fn paths() -> impl Strategy<Value = String> {
        let pieces =
            ["/", ".", "..", "%2e", "%2E", "%252e", "%2f", "%252F", "\\", "%5c", ";", "a", "?", "%", "%zz", "%00", "%09", "%20", "é"];
        proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn whatever_is_not_said_to_climb_stays_below_its_base(path in paths()) {
            let rest = format!("/{path}");
            let target = Target { token: "t", source: "s", rest: &rest };
            if !target.climbs() {
                // Three kinds of upstream: one that undoes no encoding, one that undoes one, one that undoes two.
                let once = percent_decode_str(&rest).decode_utf8_lossy().into_owned();
                let twice = percent_decode_str(&once).decode_utf8_lossy().into_owned();
                for seen in [&rest, &once, &twice] {
                    let below = seen.split('?').next().unwrap();
                    let resolved = url::Url::parse(&format!("http://h/v2/x{below}")).unwrap();
                    prop_assert!(resolved.path().starts_with("/v2/x"), "{} of {rest}", resolved.path());
                }
            }
        }

        #[test]
        fn a_path_is_taken_apart_without_loss(path in "[!-~é]{0,40}") {
            let Ok(uri) = format!("/{path}").parse::<Uri>() else { return Ok(()) };
            let whole = uri.path_and_query().unwrap().as_str();
            let target = read(&uri).unwrap();
            prop_assert!(!target.token.contains(['/', '?']) && !target.source.contains(['/', '?']));
            let slash = if whole[1 + target.token.len()..].starts_with('/') { "/" } else { "" };
            prop_assert_eq!(format!("/{}{slash}{}{}", target.token, target.source, target.rest), whole);
            let _ = target.source_name();
            prop_assert!(target.below("").starts_with('/') && target.below("/v2").starts_with("/v2"));
        }
    }
}
