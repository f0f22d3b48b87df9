//! One JSON text in UTF-8 and nothing behind it. `serde_json` walks the grammar without building anything and without
//! recursion; it does not look at the encoding of what it skips, so that is checked on the way in.

use std::io::{self, BufReader, Read};

use serde::de::DeserializeSeed;
use serde_json::error::Category;

use super::{Problem, Watched};
use crate::json_path::Picked;
use crate::spec::Claim;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// `claim`: what must hold of it.
pub(super) fn check(claim: Option<&Claim>, file: &mut Watched<'_>) -> Result<(), Problem> {
    let mut picked = Picked::new(claim.map_or(&[], Claim::paths));
    let found = walk(file, &mut picked);
    let beginning = file.head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&file.head);
    match found {
        Err(_) if !begins_like_json(beginning) => Err(Problem::Begins("JSON".into())),
        Err(problem) => Err(problem),
        Ok(()) => match claim.map(|claim| claim.judge(&picked.into_values())) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(why)) => Err(Problem::Inside(why)),
        },
    }
}

fn walk(file: &mut Watched<'_>, picked: &mut Picked<'_>) -> Result<(), Problem> {
    let mut first = Vec::new();
    file.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut first).map_err(unreadable)?;
    let marked = first == BYTE_ORDER_MARK;
    let passed = if marked { first.len() as u64 } else { 0 };
    let start = if marked { &[] } else { first.as_slice() };
    let text = Utf8 { inner: start.chain(file), pending: Vec::new(), passed };
    let mut parser = serde_json::Deserializer::from_reader(BufReader::new(text));
    picked.deserialize(&mut parser).map_err(wrong)?;
    parser.end().map_err(|error| match error.classify() {
        Category::Io => wrong(error),
        _ => Problem::Inside(format!("the JSON is followed by something else {}", place(&error))),
    })
}

fn begins_like_json(head: &[u8]) -> bool {
    let first = head.iter().find(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    matches!(first, Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'))
}

fn wrong(error: serde_json::Error) -> Problem {
    match error.classify() {
        Category::Eof => Problem::Inside(format!("the JSON ends early, {}", place(&error))),
        Category::Io => unreadable(error.into()),
        Category::Syntax | Category::Data => {
            let text = error.to_string();
            let what = text.split(" at line ").next().unwrap_or_default();
            Problem::Inside(format!("the JSON is wrong {} ({what})", place(&error)))
        }
    }
}

fn place(error: &serde_json::Error) -> String {
    format!("in line {}, column {}", error.line(), error.column())
}

/// Either the encoding, or the file itself: then [`Watched`] knows, and this text is not used.
fn unreadable(error: io::Error) -> Problem {
    Problem::Inside(format!("the JSON {error}"))
}

#[derive(Debug, thiserror::Error)]
#[error("is not UTF-8 at byte {0}")]
struct NotUtf8(u64);

/// Lets whole UTF-8 pass and fails at the first byte that is not. A character may be cut by the end of a read.
struct Utf8<R> {
    inner: R,
    /// Bytes of a character whose end has not been read.
    pending: Vec<u8>,
    /// Bytes before `pending`.
    passed: u64,
}

impl<R: Read> Read for Utf8<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        if read == 0 && !into.is_empty() && !self.pending.is_empty() {
            return Err(self.broken(0));
        }
        self.look_at(&into[..read])?;
        Ok(read)
    }
}

impl<R> Utf8<R> {
    fn look_at(&mut self, mut chunk: &[u8]) -> io::Result<()> {
        while !self.pending.is_empty() && !chunk.is_empty() {
            self.pending.push(chunk[0]);
            chunk = &chunk[1..];
            match std::str::from_utf8(&self.pending) {
                Ok(_) => {
                    self.passed += self.pending.len() as u64;
                    self.pending.clear();
                }
                Err(error) if error.error_len().is_some() => return Err(self.broken(0)),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(chunk) {
            Ok(_) => self.passed += chunk.len() as u64,
            Err(error) if error.error_len().is_some() => return Err(self.broken(error.valid_up_to() as u64)),
            Err(error) => {
                self.passed += error.valid_up_to() as u64;
                self.pending.extend_from_slice(&chunk[error.valid_up_to()..]);
            }
        }
        Ok(())
    }

    fn broken(&self, further: u64) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, NotUtf8(self.passed + further))
    }
}
