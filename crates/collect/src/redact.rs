//! Takes secrets out of whatever a collector says, before anybody can read or keep it.
//!
//! A scraper prints the URL that failed, with the token in it; a log kept for weeks would then hold the key to
//! somebody's account. So every byte of output and every message passes here first.
//!
//! Always true: a secret that the redactor knows occurs in nothing that leaves it, however the text was cut into
//! pieces (`a_secret_that_is_cut_in_two_is_still_found`). Forms of a secret that it does not know (base64, reversed)
//! are beyond it.

use std::borrow::Cow;

use memchr::memmem::Finder;

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
    /// Each secret as it is, and as it looks percent-encoded and inside a JSON string. A secret of several lines (a
    /// key file) goes line by line, because output is handled in lines.
    pub(crate) fn of(secrets: &[String]) -> Self {
        let mut redactor = Redactor::default();
        for line in secrets.iter().flat_map(|secret| secret.lines()).map(str::trim).filter(|line| !line.is_empty()) {
            let percent: String = url::form_urlencoded::byte_serialize(line.as_bytes()).collect();
            let json = serde_json::to_string(line).unwrap_or_default();
            for form in [line, percent.as_str(), json.trim_matches('"')] {
                redactor.replace(form, IN_PLACE_OF_A_SECRET);
            }
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
