//! How a text begins and what must not occur in it, byte by byte, wherever the borders of the chunks lie.

use std::io::{self, Read};

use super::{Problem, Watched};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const CHUNK: usize = 16 * 1024;

pub(super) fn check(starts: Option<&str>, lacks: Option<&str>, file: &mut Watched<'_>) -> Result<(), Problem> {
    let mut beginning = starts.map(Beginning::new);
    let mut search = lacks.filter(|word| !word.is_empty()).map(|word| Search::new(word.as_bytes()));
    let mut chunk = vec![0; CHUNK];
    let mut passed = 0u64;
    loop {
        let read = match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Problem::Inside(error.to_string())),
        };
        if let Some(beginning) = &mut beginning {
            beginning.look_at(&chunk[..read]);
        }
        if let Some((end, search)) = search.as_mut().and_then(|search| Some((search.find(&chunk[..read])?, search))) {
            let at = passed + end as u64 - search.word.len() as u64;
            return Err(Problem::Inside(format!("has `{}` at byte {at}", lacks.unwrap_or_default())));
        }
        passed += read as u64;
    }
    match beginning {
        Some(beginning) if !beginning.holds() => Err(Problem::Begins(format!("`{}`", starts.unwrap_or_default()).into())),
        _ => Ok(()),
    }
}

/// Compares the first bytes with a word, behind a byte-order mark and, unless the word has its own, whitespace.
struct Beginning<'w> {
    word: &'w [u8],
    skip_whitespace: bool,
    /// The first bytes of the file, until the comparison can be made.
    first: Vec<u8>,
    verdict: Option<bool>,
}

impl<'w> Beginning<'w> {
    fn new(word: &'w str) -> Self {
        let skip_whitespace = !word.starts_with(|first: char| first.is_ascii_whitespace());
        Beginning { word: word.as_bytes(), skip_whitespace, first: Vec::new(), verdict: None }
    }

    fn look_at(&mut self, chunk: &[u8]) {
        for &byte in chunk {
            if self.verdict.is_some() {
                return;
            }
            let after_mark = self.first.is_empty() || self.first == BYTE_ORDER_MARK;
            if self.skip_whitespace && after_mark && byte.is_ascii_whitespace() {
                continue;
            }
            self.first.push(byte);
            self.decide();
        }
    }

    fn decide(&mut self) {
        if BYTE_ORDER_MARK.starts_with(&self.first) && !self.word.starts_with(BYTE_ORDER_MARK) {
            return;
        }
        let text = match self.word.starts_with(BYTE_ORDER_MARK) {
            true => &self.first[..],
            false => self.first.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.first),
        };
        if !self.word.starts_with(text) {
            self.verdict = Some(text.starts_with(self.word));
        } else if text.len() == self.word.len() {
            self.verdict = Some(true);
        }
    }

    fn holds(&self) -> bool {
        self.verdict.unwrap_or(self.word.is_empty())
    }
}

/// Knuth, Morris and Pratt: what was read of the word so far is one number, so chunks need no overlap.
struct Search<'w> {
    word: &'w [u8],
    /// For each beginning of the word: how long its longest proper beginning is that is also its end.
    fallback: Vec<usize>,
    matched: usize,
}

impl<'w> Search<'w> {
    fn new(word: &'w [u8]) -> Self {
        let mut fallback = vec![0; word.len()];
        let mut matched = 0;
        for at in 1..word.len() {
            while matched > 0 && word[at] != word[matched] {
                matched = fallback[matched - 1];
            }
            matched += usize::from(word[at] == word[matched]);
            fallback[at] = matched;
        }
        Search { word, fallback, matched: 0 }
    }

    /// Where in this chunk the first occurrence ends.
    fn find(&mut self, chunk: &[u8]) -> Option<usize> {
        for (at, &byte) in chunk.iter().enumerate() {
            while self.matched > 0 && byte != self.word[self.matched] {
                self.matched = self.fallback[self.matched - 1];
            }
            self.matched += usize::from(byte == self.word[self.matched]);
            if self.matched == self.word.len() {
                return Some(at + 1);
            }
        }
        None
    }
}
