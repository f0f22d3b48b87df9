//! Takes secrets out of whatever a collector says, before anybody can read or keep it.
//!
//! A scraper prints the URL that failed, with the token in it; a log kept for weeks would then hold the key to
//! somebody's account. So every byte of output and every message passes here first.
//!
//! Always true: a secret that the redactor knows occurs in nothing that leaves it, however the text was cut into
//! pieces (`a_secret_that_is_cut_in_two_is_still_found`). Known is a secret as it is, percent-encoded as the common
//! libraries do it, in a JSON string, and in base64, alone or behind a user's name (`Authorization: Basic`), where some bits of its first and
//! its last character remain. Others (reversed, hashed) are beyond it.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memmem::Finder;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const IN_PLACE_OF_A_SECRET: &[u8] = b"[redacted]";

#[derive(Default)]
pub(crate) struct Redactor {
    /// Longest first, so that a secret that contains another goes as a whole.
    rules: Vec<Rule>,
}

struct Rule {
    find: Finder<'static>,
    instead: Vec<u8>,
}

impl Redactor {
    /// Each secret in every form that is known. A secret of several lines (a key file) goes line by line, because output is handled
    /// in lines.
    pub(crate) fn of(secrets: &[String]) -> Self {
        let mut redactor = Redactor::default();
        for line in secrets.iter().flat_map(|secret| secret.lines()).map(str::trim).filter(|line| !line.is_empty()) {
            redactor.replace(line, IN_PLACE_OF_A_SECRET);
            let json = serde_json::to_string(line).unwrap_or_default();
            redactor.replace(json.trim_matches('"'), IN_PLACE_OF_A_SECRET);
            percent_encoded(line).iter().chain(&in_base64(line)).for_each(|form| redactor.replace(form, IN_PLACE_OF_A_SECRET));
        }
        redactor
    }

    /// `text` stands as `instead` from now on.
    pub(crate) fn replace(&mut self, text: &str, instead: &[u8]) {
        let known = self.rules.iter().any(|rule| rule.find.needle() == text.as_bytes());
        if text.is_empty() || known {
            return;
        }
        self.rules.push(Rule { find: Finder::new(text).into_owned(), instead: instead.to_vec() });
        self.rules.sort_by_key(|rule| std::cmp::Reverse(rule.find.needle().len()));
    }

    pub(crate) fn bytes<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut text = Cow::Borrowed(text);
        for rule in &self.rules {
            if let Some(replaced) = rule.apply(&text) {
                text = Cow::Owned(replaced);
            }
        }
        text
    }

    pub(crate) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// How much of the beginning of an unfinished text may be passed on: no secret crosses the cut, whatever follows.
    pub(crate) fn safe_cut(&self, text: &[u8]) -> usize {
        let longest = self.rules.first().map_or(1, |rule| rule.find.needle().len());
        let mut cut = text.len().saturating_sub(longest - 1);
        // Moving the cut before one secret may put it inside another that overlaps it.
        while let Some(start) = self.crossing(text, cut, longest) {
            cut = start;
        }
        cut
    }

    /// Where the first secret begins that lies on both sides of the cut.
    fn crossing(&self, text: &[u8], cut: usize, longest: usize) -> Option<usize> {
        let from = cut.saturating_sub(longest - 1);
        let to = text.len().min(cut + longest - 1);
        let starts = self.rules.iter().flat_map(|rule| {
            let crosses = move |start: &usize| *start < cut && *start + rule.find.needle().len() > cut;
            rule.find.find_iter(&text[from..to]).map(move |at| at + from).filter(crosses)
        });
        starts.min()
    }
}

// What clients leave as it is: the strictest, then Python's `quote`, browsers' `encodeURIComponent`, and whoever leaves what may stand in a query.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const OF_PATHS: AsciiSet = UNRESERVED.remove(b'/');
const OF_COMPONENTS: AsciiSet = UNRESERVED.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
const DELIMITERS_OF_QUERIES: AsciiSet = OF_COMPONENTS.remove(b'/').remove(b'?').remove(b':').remove(b'@').remove(b'$').remove(b',');
const OF_QUERIES: AsciiSet = DELIMITERS_OF_QUERIES.remove(b';').remove(b'=').remove(b'&').remove(b'+');
static LEFT_AS_THEY_ARE: [AsciiSet; 4] = [UNRESERVED, OF_PATHS, OF_COMPONENTS, OF_QUERIES];

/// They differ, too, in what a blank becomes, and in upper and lower case of the digits.
fn percent_encoded(secret: &str) -> Vec<String> {
    if secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Vec::new();
    }
    let mut forms: Vec<String> = LEFT_AS_THEY_ARE.iter().map(|set| utf8_percent_encode(secret, set).to_string()).collect();
    forms.push(url::form_urlencoded::byte_serialize(secret.as_bytes()).collect());
    forms.extend(forms.iter().map(|form| form.replace("%20", "+")).collect::<Vec<_>>());
    forms.extend(forms.iter().map(|form| with_small_digits(form)).collect::<Vec<_>>());
    forms
}

fn with_small_digits(form: &str) -> String {
    let mut parts = form.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (digits, rest) = part.split_at(part.len().min(2));
        format!("{text}%{}{rest}", digits.to_ascii_lowercase())
    })
}

/// A secret that is shorter is a word that something else could contain by chance, once three of its bytes may be cut off.
const LONG_ENOUGH_FOR_BASE64: usize = 8;

/// What all texts have in common in base64 that contain the secret: three bytes are four characters, so it may begin at each of
/// three places, and the characters at its edges depend on its neighbours.
fn in_base64(secret: &str) -> Vec<String> {
    if secret.len() < LONG_ENOUGH_FOR_BASE64 {
        return Vec::new();
    }
    let at = |before: usize| {
        let text = [&b"\0\0"[..before], secret.as_bytes()].concat();
        let encoded = STANDARD_NO_PAD.encode(&text);
        encoded[(before * 8).div_ceil(6)..text.len() * 8 / 6].to_owned()
    };
    let plain = (0..3).map(at);
    plain.flat_map(|form| [form.replace('+', "-").replace('/', "_"), form]).collect()
}

impl Rule {
    fn apply(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut replaced = Vec::new();
        let mut done = 0;
        for at in self.find.find_iter(text) {
            replaced.extend_from_slice(&text[done..at]);
            replaced.extend_from_slice(&self.instead);
            done = at + self.find.needle().len();
        }
        (done > 0).then(|| {
            replaced.extend_from_slice(&text[done..]);
            replaced
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_in_every_form_that_is_known() {
        let redactor = Redactor::of(&["p w\"1".into(), "BEGIN\nlong key line\nEND\n".into(), String::new()]);
        let text = redactor.text(r#"a p w"1 b ?k=p+w%221 {"k":"p w\"1"} long key line."#);
        assert_eq!(text, r#"a [redacted] b ?k=[redacted] {"k":"[redacted]"} [redacted]."#);
    }

    #[test]
    fn a_secret_goes_however_a_client_encodes_it() {
        let redactor = Redactor::of(&["aB3/x+yZ 9=='é(".into()]);
        for encoded in [
            // Python's `quote`, `quote_plus` and `quote(safe="")`, JavaScript's `encodeURIComponent` and `URLSearchParams`, curl, Java.
            "aB3/x%2ByZ%209%3D%3D%27%C3%A9%28",
            "aB3%2Fx%2ByZ+9%3D%3D%27%C3%A9%28",
            "aB3%2Fx%2ByZ%209%3D%3D%27%C3%A9%28",
            "aB3%2Fx%2ByZ%209%3D%3D'%C3%A9(",
            "aB3%2fx%2byZ%209%3d%3d%27%c3%a9%28",
            "aB3%2fx%2byZ+9%3d%3d%27%c3%a9%28",
        ] {
            assert_eq!(redactor.text(&format!("GET /?key={encoded}&n=1")), "GET /?key=[redacted]&n=1");
        }
    }

    #[test]
    fn a_secret_goes_in_base64_wherever_it_stands_in_the_text() {
        let secret = "correct horse battery";
        let redactor = Redactor::of(&[secret.into(), "short".into()]);
        for (user, after) in [("", ""), ("a:", ""), ("me:", "\n"), ("you:", " and more"), ("user:", "")] {
            let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}{secret}{after}"));
            let told = redactor.text(&format!("Authorization: Basic {encoded}"));
            assert!(told.contains("[redacted]"), "{told}");
            let kept = told.trim_start_matches("Authorization: Basic ").replace("[redacted]", "");
            let of_others = (user.len() + after.len()) * 8;
            assert!(kept.trim_end_matches('=').len() * 6 <= of_others + 20, "at most its edges are left: {told}");
        }
        assert_eq!(redactor.text("c2hvcnQ="), "c2hvcnQ=");
    }

    #[test]
    fn a_secret_that_contains_another_goes_as_a_whole() {
        let redactor = Redactor::of(&["abc".into(), "abcdef".into()]);
        assert_eq!(redactor.text("abcdef abc"), "[redacted] [redacted]");
    }

    #[test]
    fn a_secret_that_is_cut_in_two_is_still_found() {
        let redactor = Redactor::of(&["secret".into(), "retold".into()]);
        let text = b"xx secretold secret retold yy secre";
        for piece in 1..=text.len() {
            let (mut pending, mut passed) = (Vec::new(), Vec::new());
            for chunk in text.chunks(piece) {
                pending.extend_from_slice(chunk);
                let cut = redactor.safe_cut(&pending);
                passed.extend_from_slice(&redactor.bytes(&pending[..cut]));
                pending.drain(..cut);
            }
            passed.extend_from_slice(&redactor.bytes(&pending));
            assert_eq!(passed, redactor.bytes(text).into_owned(), "in pieces of {piece}");
        }
    }
}
