//! Problems of a config, as a person or a program reads them.

use adce_core::spec::problem::{Problem, Severity};
use serde::Serialize;

use crate::cli::Format;

/// One problem in `--format json`.
#[derive(Serialize)]
pub struct ProblemLine<'a> {
    severity: &'a str,
    message: &'a str,
    file: Option<&'a str>,
    line: Option<u32>,
    column: Option<u32>,
    note: Option<&'a str>,
    hint: Option<&'a str>,
}

/// All of them: text on standard error, JSON Lines on standard output.
pub fn print(problems: &[Problem], format: Format) {
    for problem in problems {
        match format {
            Format::Json => say!("{}", serde_json::to_string(&line(problem)).unwrap_or_default()),
            Format::Text => say_aside!("{}\n", coloured(problem)),
        }
    }
}

pub fn line(problem: &Problem) -> ProblemLine<'_> {
    let at = problem.at.as_ref().filter(|at| at.line > 0);
    ProblemLine {
        severity: word(problem.severity),
        message: &problem.message,
        file: problem.at.as_ref().map(|at| &*at.file),
        line: at.map(|at| at.line),
        column: at.map(|at| at.column),
        note: problem.note.as_deref(),
        hint: problem.hint.as_deref(),
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// The words of [`Problem`]'s own text, with colour where the terminal has it.
fn coloured(problem: &Problem) -> String {
    let terminal = console::Term::stderr();
    let text = if terminal.is_term() { problem.fitted(usize::from(terminal.size().1)) } else { problem.to_string() };
    let word = word(problem.severity);
    let style = match problem.severity {
        Severity::Error => console::style(word).red().bold(),
        Severity::Warning => console::style(word).yellow().bold(),
    };
    text.replacen(word, &style.for_stderr().to_string(), 1)
        .replace("\nhint:", &format!("\n{}", console::style("hint:").for_stderr().cyan()))
}
