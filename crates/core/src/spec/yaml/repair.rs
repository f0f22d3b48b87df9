//! The traps of YAML: named with what to write instead, and repaired in memory so that the rest can be checked too.
//!
//! A YAML parser's own words for `key: {season}/x.json` are "did not find expected key", which helps nobody. Here the
//! text at the error is looked at as a person would. Only what is surely a trap is repaired (by quoting it); any other
//! syntax error ends the reading, because what follows from a guess is noise.

use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Marker, ScanError};

use super::text::SourceText;
use crate::spec::problem::{Place, Problem};

/// A file on its way to something that parses.
pub(super) struct Draft {
    name: Arc<str>,
    written: Vec<String>,
    lines: Vec<String>,
    inserted: BTreeMap<u32, Vec<u32>>,
    tabs_reported: bool,
    /// Line and written column of what was quoted: quoting it again would not help.
    quoted: Vec<(u32, u32)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The trap is gone from the text: parse again.
    Repaired,
    GivenUp,
}

/// Text that YAML would read as something else than text.
struct Trap {
    /// Columns (from 0) of what must be quoted.
    from: usize,
    to: usize,
    message: String,
}

impl Draft {
    pub(super) fn new(name: &str, text: &str) -> Draft {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines: Vec<String> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_owned()).collect();
        Draft { name: name.into(), written: lines.clone(), lines, inserted: BTreeMap::new(), tabs_reported: false, quoted: Vec::new() }
    }

    pub(super) fn text(&self) -> String {
        self.lines.join("\n")
    }

    pub(super) fn source(&self) -> SourceText {
        SourceText::new(self.name.clone(), self.written.clone(), &self.text(), self.inserted.clone())
    }

    fn place(&self, line: usize, column: usize, length: usize) -> Place {
        SourceText::new(self.name.clone(), Vec::new(), "", self.inserted.clone()).place(line, column, length)
    }

    fn line(&self, number: usize) -> Vec<char> {
        self.lines.get(number.wrapping_sub(1)).map(|line| line.chars().collect()).unwrap_or_default()
    }

    /// Reports the error in the user's terms. `opened`: the `[` and `{` that are open where it happened.
    pub(super) fn repair(&mut self, error: &ScanError, opened: &[Marker], problems: &mut Vec<Problem>) -> Outcome {
        let (number, column) = (error.marker().line(), error.marker().col());
        if !self.tabs_reported
            && let Some(problem) = self.replace_tabs(number)
        {
            problems.push(problem);
            self.tabs_reported = true;
            return Outcome::Repaired;
        }
        if error.info().contains("valid YAML whitespace")
            && let Some(problem) = self.replace_tab_behind_colon(number)
        {
            problems.push(problem);
            return Outcome::Repaired;
        }
        let line = self.line(number);
        let trap = match opened.is_empty() {
            true => value_trap(&line, column),
            false if is_outside(&line, number, opened) => None,
            false => element_trap(&line, column),
        };
        let again = |trap: &Trap| {
            let at = self.place(number, trap.from, 1);
            self.quoted.contains(&(at.line, at.column))
        };
        if let Some(trap) = trap.filter(|trap| !again(trap)) {
            let text: String = line[trap.from..trap.to].iter().collect();
            let at = self.place(number, trap.from, trap.to - trap.from);
            let key = match (opened.is_empty(), key_of(&line)) {
                (true, Some((key, _))) => format!("{key}: "),
                _ => String::new(),
            };
            let is_template = ["key: ", "url: "].contains(&key.as_str());
            let hint = match half_quoted(&text).filter(|_| is_template) {
                // Quotes that stand in the value would be part of every key.
                Some(plain) => format!("put all of it in quotes: `{key}{}`", quoted(&plain)),
                None => format!("put it in quotes: `{key}{}`", quoted(&text)),
            };
            problems.push(Problem::error(&at, trap.message).hint(hint));
            self.quoted.push((at.line, at.column));
            self.quote(number, trap.from, trap.to);
            return Outcome::Repaired;
        }
        // Behind repaired tabs the columns are a guess.
        if !self.tabs_reported {
            problems.push(self.plain_error(error, opened));
        }
        Outcome::GivenUp
    }

    /// Tabs that indent, at the error or right below it, become blanks in the whole file.
    fn replace_tabs(&mut self, number: usize) -> Option<Problem> {
        let indents = |line: &String| line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t') && !line.trim().is_empty();
        let near = (number.max(1)..=number + 1).find(|near| self.lines.get(near - 1).is_some_and(indents))?;
        let at = self.lines[near - 1].chars().position(|c| c == '\t').unwrap_or(0);
        let place = self.place(near, at, 1);
        let mut others = 0;
        for (index, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| indents(line)) {
            others += usize::from(index + 1 != near);
            let blanks: String = line.chars().take_while(|c| c.is_whitespace()).map(|c| if c == '\t' { "  " } else { " " }).collect();
            let added = blanks.len() - (line.len() - line.trim_start().len());
            *line = format!("{blanks}{}", line.trim_start());
            let columns = self.inserted.entry(u32::try_from(index + 1).unwrap_or(u32::MAX)).or_default();
            columns.extend((0..added).map(|column| u32::try_from(column).unwrap_or(u32::MAX)));
        }
        let problem = Problem::error(&place, "a tab cannot indent YAML").hint("use blanks, two for each level");
        Some(match others {
            0 => problem,
            1 => problem.note("so does 1 other line"),
            _ => problem.note(format!("so do {others} other lines")),
        })
    }

    /// `key:<tab>value`. The tab becomes a blank, so all columns stay.
    fn replace_tab_behind_colon(&mut self, number: usize) -> Option<Problem> {
        let mut line = self.line(number);
        let colon = line.windows(2).position(|pair| pair == [':', '\t'])?;
        line[colon + 1] = ' ';
        self.lines[number - 1] = line.into_iter().collect();
        let at = self.place(number, colon + 1, 1);
        Some(Problem::error(&at, "a tab cannot stand between a key and its value").hint("use a blank"))
    }

    fn quote(&mut self, number: usize, from: usize, to: usize) {
        let line = self.line(number);
        let mut repaired: Vec<char> = line[..from].to_vec();
        let mut inserted = vec![from];
        repaired.push('\'');
        for c in &line[from..to] {
            if *c == '\'' {
                inserted.push(repaired.len());
                repaired.push('\'');
            }
            repaired.push(*c);
        }
        inserted.push(repaired.len());
        repaired.push('\'');
        repaired.extend(&line[to..]);
        let columns = self.inserted.entry(u32::try_from(number).unwrap_or(u32::MAX)).or_default();
        for column in inserted {
            let column = u32::try_from(column).unwrap_or(u32::MAX);
            columns.iter_mut().filter(|earlier| **earlier >= column).for_each(|earlier| *earlier += 1);
            columns.push(column);
        }
        self.lines[number - 1] = repaired.into_iter().collect();
    }

    fn plain_error(&self, error: &ScanError, opened: &[Marker]) -> Problem {
        let (number, column) = (error.marker().line(), error.marker().col());
        let here = self.place(number, column, 1);
        let info = error.info();
        if info.contains("quoted scalar, found unexpected end") || info.contains("indentation in quoted scalar") {
            return Problem::error(&here, "the quote that opens here is never closed");
        }
        if let Some(bracket) = opened.last() {
            let line = self.line(bracket.line());
            let open = line.get(bracket.col()).copied().unwrap_or('[');
            let close = if open == '{' { '}' } else { ']' };
            let at = self.place(bracket.line(), bracket.col(), 1);
            let hint = format!("close it with `{close}`; a value with `,`, `:`, `[` or `{{` inside needs quotes");
            return Problem::error(&at, format!("the `{open}` that opens here is never closed, or holds an unquoted value")).hint(hint);
        }
        if info.contains("misplaced bracket") {
            return Problem::error(&here, "a closing bracket without an opening one").hint("quote the value if it is meant as text");
        }
        if info.contains("unprintable") {
            let found = self.line(number).get(column).copied().unwrap_or('\0');
            return Problem::error(&here, format!("control character U+{:04X} cannot be in YAML", u32::from(found)));
        }
        if info.contains("mapping values are not allowed") {
            let line = self.line(number);
            let first = line.iter().take_while(|c| c.is_whitespace()).count();
            let at = self.place(number, first.min(column), column.saturating_sub(first).max(1));
            let problem = Problem::error(&at, "this line stands deeper than the one above, which already has a value");
            return problem.hint("keys of one map begin in the same column");
        }
        if info.contains("did not find expected key") || info.contains("indentation") || info.contains("expected <document start>") {
            return Problem::error(&here, "the indentation of this line fits nothing above it")
                .hint("keys of one map begin in the same column");
        }
        if info.contains("simple key") {
            return Problem::error(&here, "expected `key: value`").hint("a colon and a blank go between key and value");
        }
        Problem::error(&here, format!("not valid YAML: {info}"))
    }
}

/// A new `key: value` below a bracket that was forgotten to be closed.
fn is_outside(line: &[char], number: usize, opened: &[Marker]) -> bool {
    let goes_on = line.iter().rev().find(|c| !c.is_whitespace()).is_some_and(|last| matches!(last, ',' | '}' | ']'));
    opened.last().is_some_and(|bracket| bracket.line() != number) && key_of(line).is_some() && !goes_on
}

/// `"{season}"/x` without its quotes: they were meant to hold all of it.
fn half_quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''))?;
    let (inside, behind) = text[1..].split_once(quote)?;
    (!behind.is_empty() && !behind.contains(quote)).then(|| format!("{inside}{behind}"))
}

/// The text as a quoted YAML scalar, in the quotes that need no escapes if there are such.
pub(super) fn quoted(text: &str) -> String {
    match (text.contains(['"', '\\']), text.contains('\'')) {
        (false, _) => format!("\"{text}\""),
        (true, false) => format!("'{text}'"),
        (true, true) => format!("'{}'", text.replace('\'', "''")),
    }
}

/// The key of a `key: value` line, behind any `- `, and the column of its value. `None`: a list value or something else.
fn key_of(line: &[char]) -> Option<(String, usize)> {
    let start = behind_dashes(line);
    let colon = (start..line.len()).find(|at| line[*at] == ':' && line.get(at + 1).is_none_or(|next| next.is_whitespace()))?;
    let key: String = line[start..colon].iter().collect();
    let is_name = key.chars().all(|c| c.is_alphanumeric() || "_-. \"'".contains(c));
    let value = (colon + 1..line.len()).find(|at| !line[*at].is_whitespace()).unwrap_or(line.len());
    is_name.then(|| (key.trim().to_owned(), value))
}

fn behind_dashes(line: &[char]) -> usize {
    let mut at = line.iter().take_while(|c| c.is_whitespace()).count();
    while line.get(at) == Some(&'-') && line.get(at + 1).is_some_and(|next| next.is_whitespace()) {
        at += 1;
        at += line[at..].iter().take_while(|c| c.is_whitespace()).count();
    }
    at
}

/// Where a value that begins at `from` ends: before a comment and trailing blanks.
fn end_of_value(line: &[char], from: usize) -> usize {
    let comment = (from..line.len()).find(|at| line[*at] == '#' && *at > from && line[at - 1].is_whitespace()).unwrap_or(line.len());
    (from..comment).rev().find(|at| !line[*at].is_whitespace()).map_or(from, |last| last + 1)
}

/// The value of a line outside of brackets.
fn value_trap(line: &[char], error_column: usize) -> Option<Trap> {
    let key = key_of(line);
    let from = key.as_ref().map_or_else(|| behind_dashes(line), |(_, column)| *column);
    let to = end_of_value(line, from);
    if from >= to {
        return None;
    }
    let value = &line[from..to];
    let name = key.map_or_else(|| "this value".to_owned(), |(key, _)| format!("`{key}`"));
    let why = first_character_trap(value).or_else(|| {
        let colon =
            error_column > from && value.windows(2).any(|pair| pair[0] == ':' && pair[1].is_whitespace()) || value.last() == Some(&':');
        (colon && error_column >= from).then_some("has a colon inside, which begins a map where nothing is quoted")
    })?;
    Some(Trap { from, to, message: format!("{name} {why}") })
}

/// The value inside `[…]` or `{…}` at which the parser stopped.
fn element_trap(line: &[char], error_column: usize) -> Option<Trap> {
    let from = element_start(line, error_column.min(line.len()));
    let to = element_end(line, from);
    if from >= to {
        return None;
    }
    let value = &line[from..to];
    let opens_inside = value.iter().skip(1).any(|c| matches!(c, '[' | '{' | '`')) && !matches!(value[0], '[' | '{' | '"' | '\'');
    let colon = value.windows(2).any(|pair| pair[0] == ':' && pair[1].is_whitespace());
    let why = first_character_trap(value)
        .or_else(|| opens_inside.then_some("has a bracket inside, which needs quotes between `{…}` or `[…]`"))
        .or_else(|| colon.then_some("has a colon inside, which begins a map where nothing is quoted"))?;
    Some(Trap { from, to, message: format!("this value {why}") })
}

fn first_character_trap(value: &[char]) -> Option<&'static str> {
    match value.first()? {
        '{' | '[' if has_more_behind_its_end(value) => Some("begins with an unquoted bracket, which YAML reads as a map or a list"),
        '"' | '\'' if has_more_behind_its_end(value) => Some("begins with a quote and goes on behind it"),
        '`' => Some("begins with a backtick, which YAML reserves"),
        '@' => Some("begins with `@`, which YAML reserves"),
        '%' => Some("begins with `%`, which YAML reserves"),
        '*' => Some("begins with an unquoted `*`, which YAML reads as an alias"),
        '&' => Some("begins with an unquoted `&`, which YAML reads as an anchor"),
        '!' => Some("begins with an unquoted `!`, which YAML reads as a tag"),
        '|' | '>' if value.len() > 1 => Some("begins with `|` or `>`, which begins a text block"),
        ',' => Some("begins with a comma"),
        '}' | ']' => Some("begins with a closing bracket"),
        '-' if value.get(1).is_some_and(|next| next.is_whitespace()) => Some("begins with `- `, which begins a list on a line of its own"),
        _ => None,
    }
}

/// Whether text follows the bracket or quote that ends what the value begins with.
fn has_more_behind_its_end(value: &[char]) -> bool {
    let end = match value[0] {
        quote @ ('"' | '\'') => end_of_quoted(value, 0, quote),
        _ => end_of_brackets(value, 0),
    };
    end.is_some_and(|end| value[end + 1..].iter().any(|c| !c.is_whitespace()))
}

fn end_of_quoted(value: &[char], start: usize, quote: char) -> Option<usize> {
    let mut at = start + 1;
    while at < value.len() {
        match value[at] {
            '\\' if quote == '"' => at += 1,
            c if c == quote && quote == '\'' && value.get(at + 1) == Some(&'\'') => at += 1,
            c if c == quote => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn end_of_brackets(value: &[char], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    while at < value.len() {
        match value[at] {
            '{' | '[' => depth += 1,
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Back from the error to the `,`, the bracket or the `key:` in front of the element.
fn element_start(line: &[char], error_column: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = error_column;
    while at > 0 {
        let c = line[at - 1];
        let is_separator = match c {
            '}' | ']' => {
                depth += 1;
                false
            }
            '{' | '[' if depth == 0 => true,
            '{' | '[' => {
                depth -= 1;
                false
            }
            ',' => depth == 0,
            ':' => depth == 0 && line.get(at).is_some_and(|next| next.is_whitespace()),
            _ => false,
        };
        if is_separator {
            break;
        }
        at -= 1;
    }
    at + line[at..].iter().take_while(|c| c.is_whitespace()).count()
}

fn element_end(line: &[char], from: usize) -> usize {
    let mut at = from;
    let mut depth = 0_usize;
    while at < line.len() {
        match line[at] {
            quote @ ('"' | '\'') => at = end_of_quoted(line, at, quote).unwrap_or(at),
            '{' | '[' => depth += 1,
            ',' if depth == 0 => break,
            '}' | ']' if depth == 0 => break,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    (from..at.min(line.len())).rev().find(|at| !line[*at].is_whitespace()).map_or(from, |last| last + 1)
}
