//! Rows of a CSV file as they stream out of gzip.
//!
//! Records are taken apart where they lie in the buffer, and only the columns that somebody asks for: a general reader
//! that copies every field takes several times as long (and is what this one is held against,
//! `rows_are_those_that_a_general_reader_finds`). Keys are URL-encoded in CSV, and in no other format.
//!
//! Always true: memory is a buffer and a batch, however large the file; damage is an error that names the row, never a
//! panic and never a shorter file (`a_damaged_file_is_refused_or_says_something_else_and_never_panics`).

use std::io::Read;
use std::ops::Range;

use adce_core::report::{Damaged, ReportRow, Rows};

use crate::manifest::CsvColumns;
use crate::times;

/// Fits into a processor's cache beside what the rows are compared with.
const BUFFER: usize = 512 << 10;
/// A key has 1,024 bytes, three times as many encoded.
const LONGEST_ROW: usize = 64 << 10;

/// Hands over the current objects of one unpacked file.
pub(crate) fn read(file: &str, mut from: impl Read, columns: &CsvColumns, rows: Rows<'_>) -> Result<(), Damaged> {
    let damaged = |what: String| Damaged { file: file.to_owned(), what };
    let mut buffer = vec![0; BUFFER];
    let (mut filled, mut row, mut ended) = (0, 0_u64, false);
    let mut page = Page::default();
    while !ended || filled > 0 {
        while !ended && filled < buffer.len() {
            match from.read(&mut buffer[filled..]) {
                Ok(0) => ended = true,
                Ok(more) => filled += more,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(damaged(format!("it cannot be unpacked behind row {row}: {error}"))),
            }
        }
        page.clear();
        let mut at = 0;
        while at < filled {
            match record(&buffer[at..filled], ended, columns.count, &mut page.fields) {
                Ok(Some(length)) => {
                    row += u64::from(!page.fields.is_empty());
                    page.take(&buffer, at, columns).map_err(|what| damaged(format!("row {row}: {what}")))?;
                    at += length;
                }
                Ok(None) => break,
                Err(what) => return Err(damaged(format!("row {}: {what}", row + 1))),
            }
        }
        page.hand_over(&buffer, rows).map_err(|what| damaged(format!("before row {}: {what}", row + 1)))?;
        if at == 0 && filled > 0 && (ended || filled > LONGEST_ROW) {
            let what = if ended { "the file ends in the middle of it" } else { "it is longer than any row of a report" };
            return Err(damaged(format!("row {}: {what}", row + 1)));
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
    Ok(())
}

/// A field without its quotes.
#[derive(Clone, Debug)]
struct Field {
    range: Range<usize>,
    /// It has `""` in it.
    doubled: bool,
}

/// Takes the first record apart: its length with its end, and its fields, none if the line is empty. `None`: its end is not there yet.
fn record(bytes: &[u8], is_all: bool, count: usize, fields: &mut Vec<Field>) -> Result<Option<usize>, String> {
    fields.clear();
    match bytes {
        [b'\n', ..] => return Ok(Some(1)),
        [b'\r', b'\n', ..] => return Ok(Some(2)),
        [b'\r'] if !is_all => return Ok(None),
        [b'\r'] => return Ok(Some(1)),
        _ => {}
    }
    let mut at = 0;
    loop {
        let Some((field, next)) = field(bytes, at, is_all)? else { return Ok(None) };
        if fields.len() == count {
            return Err(format!("it has more fields than the {count} that the manifest names"));
        }
        fields.push(field);
        at = match bytes.get(next) {
            Some(b',') => next + 1,
            end => {
                let length = match end {
                    None => next,
                    Some(b'\r') if bytes.get(next + 1) == Some(&b'\n') => next + 2,
                    Some(_) => next + 1,
                };
                return match fields.len() == count {
                    true => Ok(Some(length)),
                    false => Err(format!("it has {} fields, and the manifest names {count}", fields.len())),
                };
            }
        };
    }
}

/// The field that begins here, and where the comma or the line's end behind it is. `None`: that is not there yet.
fn field(bytes: &[u8], at: usize, is_all: bool) -> Result<Option<(Field, usize)>, String> {
    if bytes.get(at) != Some(&b'"') {
        let rest = bytes.get(at..).unwrap_or_default();
        return Ok(match memchr::memchr3(b',', b'\n', b'\r', rest) {
            // A lone return belongs to the field; its newline may come with the next read.
            Some(end) if rest[end] == b'\r' && end + 1 == rest.len() && !is_all => None,
            Some(end) => Some((Field { range: at..at + end, doubled: false }, at + end)),
            None if is_all => Some((Field { range: at..bytes.len(), doubled: false }, bytes.len())),
            None => None,
        });
    }
    let (mut from, mut doubled) = (at + 1, false);
    loop {
        let Some(quote) = memchr::memchr(b'"', bytes.get(from..).unwrap_or_default()).map(|found| from + found) else {
            return if is_all { Err("a quote is never closed".into()) } else { Ok(None) };
        };
        match bytes.get(quote + 1) {
            Some(b'"') => (from, doubled) = (quote + 2, true),
            Some(b',' | b'\n') => return Ok(Some((Field { range: at + 1..quote, doubled }, quote + 1))),
            Some(b'\r') if bytes.get(quote + 2) == Some(&b'\n') => return Ok(Some((Field { range: at + 1..quote, doubled }, quote + 1))),
            Some(b'\r') if bytes.len() == quote + 2 && !is_all => return Ok(None),
            None if is_all => return Ok(Some((Field { range: at + 1..quote, doubled }, quote + 1))),
            None => return Ok(None),
            Some(_) => return Err("something stands behind a closing quote".into()),
        }
    }
}

/// Rows of one filling of the buffer.
#[derive(Default)]
struct Page {
    fields: Vec<Field>,
    taken: Vec<Taken>,
    /// Texts that do not stand in the buffer as they are.
    decoded: Vec<u8>,
}

struct Taken {
    key: Place,
    size: u64,
    modified_micros: Option<i64>,
    etag: Option<Place>,
}

#[derive(Clone)]
enum Place {
    Buffer(Range<usize>),
    Decoded(Range<usize>),
}

impl Page {
    fn clear(&mut self) {
        self.taken.clear();
        self.decoded.clear();
    }

    /// The record that was just taken apart, which lies at `at`.
    fn take(&mut self, buffer: &[u8], at: usize, columns: &CsvColumns) -> Result<(), String> {
        if self.fields.is_empty() {
            return Ok(());
        }
        let field = |column: usize| &self.fields[column];
        let text = |column: usize| &buffer[at + field(column).range.start..at + field(column).range.end];
        let says = |column: Option<usize>, word: &str| column.is_some_and(|column| text(column).eq_ignore_ascii_case(word.as_bytes()));
        if says(columns.is_latest, "false") || says(columns.is_delete_marker, "true") {
            return Ok(());
        }
        // Only a delete marker has no size.
        let size = match text(columns.size) {
            b"" => return Ok(()),
            digits => number(digits).ok_or_else(|| format!("its size `{}` is no number", shown(digits)))?,
        };
        let modified_micros = match columns.modified.map(text) {
            None => None,
            Some(time) => Some(times::micros(time).ok_or_else(|| format!("its date `{}` is none", shown(time)))?),
        };
        let placed = |decoded: &mut Vec<u8>, column: usize, encoded: bool| {
            let Field { range, doubled } = self.fields[column].clone();
            let range = at + range.start..at + range.end;
            let text = &buffer[range.clone()];
            let encoded = encoded && memchr::memchr2(b'%', b'+', text).is_some();
            if !doubled && !encoded {
                return Ok(Place::Buffer(range));
            }
            let from = decoded.len();
            decode(text, doubled, encoded, decoded).map(|()| Place::Decoded(from..decoded.len()))
        };
        let key = placed(&mut self.decoded, columns.key, true)
            .map_err(|()| format!("its key `{}` is not URL-encoded", shown(text(columns.key))))?;
        let etag = columns.etag.map(|column| placed(&mut self.decoded, column, false)).transpose().unwrap_or_default();
        self.taken.push(Taken { key, size, modified_micros, etag });
        Ok(())
    }

    fn hand_over(&self, buffer: &[u8], rows: Rows<'_>) -> Result<(), String> {
        if self.taken.is_empty() {
            return Ok(());
        }
        let text = |place: &Place| {
            let bytes = match place {
                Place::Buffer(range) => &buffer[range.clone()],
                Place::Decoded(range) => &self.decoded[range.clone()],
            };
            std::str::from_utf8(bytes).map_err(|_| format!("`{}` is not UTF-8", shown(bytes)))
        };
        let page = self.taken.iter().map(|taken| {
            let etag = taken.etag.as_ref().map(text).transpose()?;
            Ok(ReportRow { key: text(&taken.key)?, size: taken.size, modified_micros: taken.modified_micros, etag })
        });
        rows(&page.collect::<Result<Vec<_>, String>>()?);
        Ok(())
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then_some(())?;
        sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// `+` is a space: a plus itself is always encoded.
fn decode(text: &[u8], doubled: bool, encoded: bool, into: &mut Vec<u8>) -> Result<(), ()> {
    let digit = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16)).ok_or(());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += match byte {
            b'"' if doubled => {
                into.push(b'"');
                2
            }
            b'%' if encoded => {
                into.push((digit(at + 1)? * 16 + digit(at + 2)?) as u8);
                3
            }
            b'+' if encoded => {
                into.push(b' ');
                1
            }
            other => {
                into.push(*other);
                1
            }
        };
    }
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(80).collect()
}

#[cfg(test)]
mod tests;
