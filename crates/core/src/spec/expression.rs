//! The expression language of `where`, `due`, `fresh`, `priority`, calendar bounds, derived columns and `--select`.
//!
//! It is typed: as far as kinds are known when the config is read, a comparison that can never make sense is an error
//! there and not at three in the morning. Nothing is converted silently, but for one thing: the text of a CSV cell or
//! of a list is read as a number or a time where one is needed, and text that cannot be names its row. A comparison
//! with null is false.
//!
//! Always true: what is evaluated is what a plain reading of the text means (`evaluation_agrees_with_a_naive_reading`),
//! and an expression holds names, not places, so that a table may reorder its columns between two cycles.

mod check;
mod eval;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;
pub(crate) mod time;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::names::Names;
pub use super::names::{Kind, LanguageError};
use crate::gap::Reason;
use check::Checker;
use eval::Evaluation;
use parser::{Node, Parser, Part};
pub use time::Fineness;

/// What an expression is for: decides what it must yield and what it may mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `where`: true or false per item; no `now`.
    Where,
    /// `due`: a time.
    Due,
    /// `expires`, `fresh.until`, `fresh.at`: a time; may use `due`.
    After,
    /// `since`: one time for the whole dataset: a date, `today` or `now`, with durations added or taken away.
    Since,
    /// A level of `priority`: true or false; may use `overdue` and `reason`.
    Priority,
    /// `from` and `to` of a calendar: dates, `today`, `now` and durations; the zone is the calendar's.
    Bound,
    /// `is` of a table's column: any value of the row; no `now`.
    Column,
    /// `valid: { json: … }`: true or false; its names are paths (`$.header.status`); no `now`.
    Claim,
    /// `--select`: true or false; may use everything, and `dataset`.
    Select,
}

/// One name that an expression mentions.
#[derive(Clone, Debug, PartialEq)]
pub struct Var {
    /// `a` or `a.b`, without backticks.
    pub name: String,
    pub offset: usize,
    pub length: usize,
}

/// A parsed and checked expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expression {
    text: String,
    kind: Kind,
    root: Part,
    vars: Vec<Var>,
}

/// A value while evaluating.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Text(std::borrow::Cow<'a, str>),
    /// Text of a CSV cell or a list value.
    Cell(&'a str),
    Number(f64),
    Time(Timestamp),
    Span(SignedDuration),
    Bool(bool),
}

/// Why an expression has no value for one item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", origin.as_ref().map(|origin| format!("{origin}: ")).unwrap_or_default())]
pub struct EvalError {
    pub message: String,
    /// `schedules/2024.csv:17` of the row that the value came from.
    pub origin: Option<String>,
}

/// What a time is counted from.
#[derive(Clone, Debug, PartialEq)]
pub enum Anchor {
    At(Timestamp),
    Now,
    /// The beginning of the day there.
    Today(jiff::tz::TimeZone),
}

/// Where the values of names come from.
pub trait Scope {
    /// The value of the expression's variable `at` (its place in [`Expression::vars`]).
    fn value(&self, at: usize, var: &Var) -> Value<'_>;

    /// File and line of the row that gives this variable's value.
    fn origin(&self, var: &Var) -> Option<String>;

    fn now(&self) -> Option<Timestamp> {
        None
    }

    /// For `overdue` = now − due.
    fn due(&self) -> Option<Timestamp> {
        None
    }

    fn reason(&self) -> Option<Reason> {
        None
    }

    fn dataset(&self) -> Option<&str> {
        None
    }
}

impl Role {
    fn words(self) -> &'static str {
        match self {
            Role::Where => "`where`",
            Role::Due => "a due time",
            Role::After => "`expires` or `fresh`",
            Role::Since => "`since`",
            Role::Priority => "a `priority` rule",
            Role::Bound => "a calendar's end",
            Role::Column => "a derived column",
            Role::Claim => "`valid`",
            Role::Select => "`--select`",
        }
    }
}

impl Expression {
    /// All that is wrong with `text`, or the expression. Names that only an unread table could have are let through.
    pub fn parse(text: &str, names: &Names, role: Role) -> Result<Expression, Vec<LanguageError>> {
        let words = lexer::words(text, role)?;
        let mut parser = Parser::new(text, &words, role, names);
        let parsed = parser.whole();
        let (vars, mut errors) = (parser.vars, parser.errors);
        let root = match parsed {
            Ok(root) => root,
            Err(error) => {
                errors.push(error);
                return Err(errors);
            }
        };
        let mut checker = Checker { names, vars: &vars, errors };
        let kind = checker.whole(&root, role);
        let mut errors = checker.errors;
        if errors.is_empty() {
            return Ok(Expression { text: text.to_string(), kind, root, vars });
        }
        errors.sort_by_key(|error| error.offset);
        Err(errors)
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it yields, as far as that is known.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Each mention of a name, in order.
    pub fn vars(&self) -> &[Var] {
        &self.vars
    }

    /// Names that `names` lacks, now that all tables were read.
    pub fn check(&self, names: &Names) -> Vec<LanguageError> {
        let wrong = |var: &Var| {
            let error = names.resolve(&var.name).err()?;
            Some(LanguageError { offset: var.offset, length: var.length, message: error.message, hint: error.hint })
        };
        self.vars.iter().filter_map(wrong).collect()
    }

    /// Does its value change with time alone?
    pub fn moves(&self) -> bool {
        self.root.any(&|node| matches!(node, Node::Now | Node::Today(_) | Node::Overdue))
    }

    /// Is it counted from the item's `due`?
    pub fn mentions_due(&self) -> bool {
        self.root.any(&|node| matches!(node, Node::Due))
    }

    /// For a `since`: what it is counted from, and how much later it is. `None`: it is more than that.
    pub fn anchored(&self) -> Option<(Anchor, SignedDuration)> {
        let single = [(parser::Sign::Plus, self.root.clone())];
        let parts = match &self.root.node {
            Node::Sum(parts) => parts.as_slice(),
            _ => &single,
        };
        let (mut anchor, mut shift) = (None, SignedDuration::ZERO);
        for (sign, part) in parts {
            let found = match (sign, &part.node) {
                (parser::Sign::Plus, Node::Span(span)) => {
                    shift = shift.checked_add(*span)?;
                    continue;
                }
                (parser::Sign::Minus, Node::Span(span)) => {
                    shift = shift.checked_sub(*span)?;
                    continue;
                }
                (parser::Sign::Plus, Node::Time(at, _)) => Anchor::At(*at),
                (parser::Sign::Plus, Node::Now) => Anchor::Now,
                (parser::Sign::Plus, Node::Today(zone)) => Anchor::Today(zone.clone()),
                _ => return None,
            };
            if anchor.replace(found).is_some() {
                return None;
            }
        }
        Some((anchor?, shift))
    }

    /// How much of the calendar a bound names: `today` and `2024-10-01 + 7d` are whole days.
    pub fn fineness(&self) -> Fineness {
        self.root.fineness()
    }

    pub fn eval<'a>(&'a self, scope: &'a dyn Scope) -> Result<Value<'a>, EvalError> {
        Evaluation { expression: self, scope }.value(&self.root)
    }

    /// For expressions that are true or false; null is false.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, EvalError> {
        Evaluation { expression: self, scope }.truth(&self.root)
    }

    /// For expressions that yield a time; `None`: null.
    pub fn instant(&self, scope: &dyn Scope) -> Result<Option<Timestamp>, EvalError> {
        Evaluation { expression: self, scope }.instant(&self.root)
    }
}

impl Part {
    /// Is any part of it like this?
    fn any(&self, like: &impl Fn(&Node) -> bool) -> bool {
        like(&self.node)
            || match &self.node {
                Node::Sum(parts) => parts.iter().any(|(_, part)| part.any(like)),
                Node::Compare(_, left, right) => left.any(like) || right.any(like),
                Node::In(left, values) => left.any(like) || values.iter().any(|part| part.any(like)),
                Node::IsNull(part) | Node::Not(part) => part.any(like),
                Node::And(parts) | Node::Or(parts) => parts.iter().any(|part| part.any(like)),
                _ => false,
            }
    }

    fn fineness(&self) -> Fineness {
        match &self.node {
            Node::Time(_, fineness) => *fineness,
            Node::Today(_) => Fineness::Day,
            Node::Span(span) if span.as_secs() % 86_400 == 0 && span.subsec_nanos() == 0 => Fineness::Day,
            // A month and a day more or less is no whole month any longer.
            Node::Sum(parts) => parts.iter().map(|(_, part)| part.fineness()).max().unwrap_or(Fineness::Instant).max(Fineness::Day),
            _ => Fineness::Instant,
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
