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

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
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
}
