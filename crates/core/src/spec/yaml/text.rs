//! A config file's text, and where in it a character of a parsed value stands.
//!
//! Expressions and templates are parsed from the *value* of a scalar; an error in one must still point at the right
//! column of the file, through quotes, escapes and folded lines. [`Scalar::place_of`] does that by walking value and
//! source side by side (`a_place_is_found_through_quotes_escapes_and_folds`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::spec::problem::Place;

/// One file: what the user wrote, and what was parsed (they differ where a trap was repaired to find further problems).
#[derive(Debug)]
pub struct SourceText {
    pub name: Arc<str>,
    /// As written; for showing.
    pub lines: Vec<String>,
    parsed: Vec<char>,
    /// Where the parsed lines have characters that the user did not write: columns (from 0) by line (from 1).
    inserted: BTreeMap<u32, Vec<u32>>,
}

impl SourceText {
    pub(super) fn new(name: Arc<str>, lines: Vec<String>, parsed: &str, inserted: BTreeMap<u32, Vec<u32>>) -> Self {
        SourceText { name, lines, parsed: parsed.chars().collect(), inserted }
    }

    /// The place of a position in the parsed text (line from 1, column from 0).
    pub(super) fn place(&self, line: usize, column: usize, length: usize) -> Place {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        let column = u32::try_from(column).unwrap_or(u32::MAX);
        let length = u32::try_from(length).unwrap_or(u32::MAX).max(1);
        let before = |limit: u32| match self.inserted.get(&line) {
            Some(columns) => u32::try_from(columns.iter().filter(|at| **at < limit).count()).unwrap_or(0),
            None => 0,
        };
        let (start, end) = (column - before(column), column.saturating_add(length));
        let end = end - before(end);
        Place { file: self.name.clone(), line, column: start + 1, length: end.saturating_sub(start).max(1) }
    }

    pub(super) fn slice(&self, start: usize, end: usize) -> String {
        self.parsed[start.min(self.parsed.len())..end.min(self.parsed.len())].iter().collect()
    }

    pub(super) fn char_at(&self, index: usize) -> Option<char> {
        self.parsed.get(index).copied()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Plain,
    Single,
    Double,
    /// `|` or `>`.
    Block,
}

/// Where a scalar stands in the parsed text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    pub start: usize,
    pub end: usize,
    pub line: usize,
    pub column: usize,
}

/// A text value and where it comes from.
#[derive(Clone, Debug)]
pub struct Scalar {
    pub text: String,
    pub at: Place,
    pub style: Style,
    /// A `${…}` was replaced: characters no longer have places of their own.
    pub(super) substituted: bool,
    /// Something that was to be filled in is not known: what it would have meant is not worth a word.
    pub unfilled: bool,
    pub(super) origin: Origin,
    pub(super) source: Arc<SourceText>,
}

impl Scalar {
    /// The place of `length` bytes at byte `offset` of the value; as near as can be said.
    pub fn place_of(&self, offset: usize, length: usize) -> Place {
        if self.substituted {
            return self.at.clone();
        }
        let end = offset.saturating_add(length.max(1));
        let (mut first, mut last) = (None, None);
        for (byte, at) in self.walk() {
            if byte >= offset && first.is_none() {
                first = Some(at);
            }
            if byte < end {
                last = Some(at);
            }
        }
        let Some((line, column)) = first else {
            return self.end_place();
        };
        let length = match last {
            Some((last_line, last_column)) if last_line == line && last_column >= column => last_column - column + 1,
            Some((last_line, _)) if last_line > line => self.line_length(line).saturating_sub(column),
            _ => 1,
        };
        self.source.place(line, column, length)
    }

    fn end_place(&self) -> Place {
        match self.walk().last() {
            Some((_, (line, column))) => self.source.place(*line, column + 1, 1),
            None => self.at.clone(),
        }
    }

    fn line_length(&self, line: usize) -> usize {
        self.source.lines.get(line - 1).map_or(1, |text| text.trim_end().chars().count())
    }

    /// Every character of the value: its byte offset, and line and column of its source.
    fn walk(&self) -> Vec<(usize, (usize, usize))> {
        let mut cursor = Cursor { scalar: self, index: self.origin.start, line: self.origin.line, column: self.origin.column };
        if matches!(self.style, Style::Single | Style::Double) {
            cursor.step();
        }
        let mut places = Vec::with_capacity(self.text.len());
        for (byte, wanted) in self.text.char_indices() {
            places.push((byte, cursor.advance_over(wanted)));
        }
        places
    }
}

/// Walks the source of one scalar.
struct Cursor<'a> {
    scalar: &'a Scalar,
    index: usize,
    line: usize,
    column: usize,
}

impl Cursor<'_> {
    fn here(&self) -> Option<char> {
        (self.index < self.scalar.origin.end).then(|| self.scalar.source.char_at(self.index)).flatten()
    }

    fn next(&self) -> Option<char> {
        self.scalar.source.char_at(self.index + 1)
    }

    fn step(&mut self) {
        match self.here() {
            Some('\n') => {
                self.line += 1;
                self.column = 0;
            }
            Some(_) => self.column += 1,
            None => return,
        }
        self.index += 1;
    }

    /// Where the value's next character `wanted` comes from; the cursor then stands behind it.
    fn advance_over(&mut self, wanted: char) -> (usize, usize) {
        if !wanted.is_whitespace() {
            while self.here().is_some_and(char::is_whitespace) {
                self.step();
            }
        }
        let at = (self.line, self.column);
        match (self.scalar.style, self.here()) {
            (Style::Single, Some('\'')) if self.next() == Some('\'') => {
                self.step();
                self.step();
            }
            (Style::Double, Some('\\')) => {
                let digits = match self.next() {
                    Some('x') => 2,
                    Some('u') => 4,
                    Some('U') => 8,
                    _ => 0,
                };
                for _ in 0..digits + 2 {
                    self.step();
                }
            }
            // A folded line end reads as one blank; blank lines as line ends.
            (_, Some(found)) if wanted.is_whitespace() && found.is_whitespace() && found != wanted => {
                while self.here().is_some_and(char::is_whitespace) {
                    self.step();
                }
            }
            _ => self.step(),
        }
        at
    }
}
