//! What is wrong with a config, said once and for all: which, where, what was expected, what to do.

use std::fmt;
use std::sync::Arc;

/// A place in a file. Lines and columns count from 1; 0 means "the whole file".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    /// Characters to underline; at least 1.
    pub length: u32,
}

impl Place {
    pub fn whole_file(file: impl Into<Arc<str>>) -> Place {
        Place { file: file.into(), line: 0, column: 0, length: 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => f.write_str(&self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

impl Severity {
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub severity: Severity,
    /// Lower case; names and values in backticks; says what was found and what was expected.
    pub message: String,
    pub at: Option<Place>,
    /// The offending line of the file, if it is known.
    pub line: Option<String>,
    /// Behind the place: what follows from it (`1,230 items would write to 1 object`).
    pub note: Option<String>,
    pub hint: Option<String>,
    /// Nobody wrote anything wrong: what it is about cannot be reached now, and may be later.
    pub is_away: bool,
}

impl Problem {
    pub fn error(at: &Place, message: impl Into<String>) -> Problem {
        let (message, at) = (message.into(), Some(at.clone()));
        Problem { severity: Severity::Error, message, at, line: None, note: None, hint: None, is_away: false }
    }

    pub fn warning(at: &Place, message: impl Into<String>) -> Problem {
        Problem { severity: Severity::Warning, ..Problem::error(at, message) }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Problem {
        Problem { hint: Some(hint.into()), ..self }
    }

    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Problem {
        Problem { note: Some(note.into()), ..self }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// All that is wrong is that something cannot be reached.
    pub fn are_away(problems: &[Problem]) -> bool {
        let mut errors = problems.iter().filter(|problem| problem.is_error()).peekable();
        errors.peek().is_some() && errors.all(|problem| problem.is_away)
    }
}

/// As a person reads it, without colour; several lines, no line end behind the last.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, WIDEST)
    }
}

impl Problem {
    /// The same for a terminal of so many columns: a quoted line that wraps would part from its carets.
    pub fn fitted(&self, columns: usize) -> String {
        struct Fitted<'a>(&'a Problem, usize);
        impl fmt::Display for Fitted<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(f, self.1)
            }
        }
        // Number, bar and ellipses take their share.
        Fitted(self, columns.saturating_sub(10).clamp(30, WIDEST)).to_string()
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, widest: usize) -> fmt::Result {
        write!(f, "{}: {}", self.severity.word(), self.message)?;
        if let Some(at) = &self.at {
            write!(f, "\n  --> {at}")?;
            if let Some(note) = &self.note {
                write!(f, " — {note}")?;
            }
            if let Some(quote) = self.quoted_line(widest) {
                let gutter = " ".repeat(quote.number.len());
                write!(f, "\n{gutter} |\n{} | {}\n{gutter} | {}", quote.number, quote.line, quote.carets)?;
            }
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// The offending line, cut to what is worth showing, with carets under the place.
struct QuotedLine {
    number: String,
    line: String,
    carets: String,
}

/// Longer lines are cut around the place.
const WIDEST: usize = 110;

impl Problem {
    /// `None`: the line is not known, or there is nothing to see on it.
    fn quoted_line(&self, widest: usize) -> Option<QuotedLine> {
        let at = self.at.as_ref().filter(|at| at.line > 0)?;
        let line = self.line.as_ref().map(|line| line.trim_end()).filter(|line| !line.is_empty())?;
        // A tab or a control character would put the carets in the wrong column.
        let line: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let start = (at.column.max(1) as usize - 1).min(line.len());
        let length = (at.length.max(1) as usize).min((line.len() - start).max(1));
        let from = if line.len() > widest { start.saturating_sub(widest / 3) } else { 0 };
        let to = line.len().min(from + widest);
        let front = if from > 0 { "…" } else { "" };
        let end = if to < line.len() { "…" } else { "" };
        let shown: String = line[from..to].iter().collect();
        let blanks = " ".repeat(start - from + front.chars().count());
        Some(QuotedLine {
            number: at.line.to_string(),
            line: format!("{front}{shown}{end}"),
            carets: format!("{blanks}{}", "^".repeat(length.min(to.saturating_sub(start).max(1)))),
        })
    }
}

/// The known name that was probably meant.
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let length = written.chars().count();
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let distance = strsim::damerau_levenshtein(&written, &name.to_lowercase());
        let longest = length.max(name.chars().count());
        let alike = distance * 3 <= longest || (length >= 4 && (name.starts_with(&written) || written.starts_with(name)));
        if alike && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// `` `a`, `b` or `c` ``.
pub fn alternatives<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "nothing".into(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// The hint for a name that is not known: what was probably meant, else what there is.
pub fn known_names(written: &str, what: &str, known: &[&str]) -> String {
    match did_you_mean(written, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if known.is_empty() => format!("no {what} is defined"),
        None if known.len() > 12 => {
            format!("there are {} {what}s, for example {}", known.len(), alternatives(known.iter().copied().take(5)))
        }
        None => format!("expected {}", alternatives(known.iter().copied())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_so_that_the_carets_stay_under_the_place() {
        let line = format!("{}wrong{}", "a".repeat(200), "b".repeat(200));
        let at = Place { file: "x.yaml".into(), line: 7, column: 201, length: 5 };
        let problem = Problem { line: Some(line), ..Problem::error(&at, "no") };
        for columns in [20, 60, 80, 200] {
            let text = problem.fitted(columns);
            let lines: Vec<&str> = text.lines().collect();
            let column = lines[4].chars().position(|c| c == '^').unwrap();
            assert_eq!(lines[3].chars().skip(column).take(5).collect::<String>(), "wrong", "{text}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns.max(40)), "{text}");
        }
    }

    #[test]
    fn a_swapped_or_missing_letter_is_recognised_and_another_word_is_not() {
        let known = ["per_minute", "per_hour", "burst", "in_flight"];
        assert_eq!(did_you_mean("per_mintue", known), Some("per_minute"));
        assert_eq!(did_you_mean("inflight", known), Some("in_flight"));
        assert_eq!(did_you_mean("Burst", known), Some("burst"));
        assert_eq!(did_you_mean("retries", known), None);
    }

    #[test]
    fn the_nearest_name_wins_over_the_first_that_is_near() {
        assert_eq!(did_you_mean("game_ids", ["game_day", "game_id"]), Some("game_id"));
    }
}
