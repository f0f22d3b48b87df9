//! The expression language of `where`, `due`, `fresh`, `priority`, calendar bounds, derived columns and `--select`.
//!
//! It is typed: as far as kinds are known when the config is read, a comparison that can never make sense is an error
//! there and not at three in the morning. Nothing is converted silently, but for one thing: the text of a CSV cell or
//! of a list is read as a number or a time where one is needed, and text that cannot be names its row. A comparison
//! with null is false.
//!
//! Always true: what is evaluated is what a plain reading of the text means (`evaluation_agrees_with_a_naive_reading`),
//! and an expression holds names, not places, so that a table may reorder its columns between two cycles.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::names::Names;
pub use super::names::{Kind, LanguageError};
use crate::gap::Reason;

/// What an expression is for: decides what it must yield and what it may mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `where`: true or false per item; no `now`.
    Where,
    /// `due`, `fresh.until`: a time.
    Due,
    /// A level of `priority`: true or false; may use `overdue` and `reason`.
    Priority,
    /// `from` and `to` of a calendar: dates, `today`, `now` and durations; the zone is the calendar's.
    Bound,
    /// `is` of a table's column: any value of the row; no `now`.
    Column,
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

impl Expression {
    /// All that is wrong with `text`, or the expression.
    pub fn parse(text: &str, _names: &Names, _role: Role) -> Result<Expression, Vec<LanguageError>> {
        let message = "expressions are not understood yet".to_string();
        Err(vec![LanguageError { offset: 0, length: text.len().max(1), message, hint: None }])
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

    pub fn eval<'a>(&'a self, _scope: &'a dyn Scope) -> Result<Value<'a>, EvalError> {
        Ok(Value::Null)
    }

    /// For expressions that are true or false; null is false.
    pub fn holds(&self, scope: &dyn Scope) -> Result<bool, EvalError> {
        Ok(self.eval(scope)? == Value::Bool(true))
    }

    /// For expressions that yield a time; `None`: null.
    pub fn instant(&self, scope: &dyn Scope) -> Result<Option<Timestamp>, EvalError> {
        match self.eval(scope)? {
            Value::Time(time) => Ok(Some(time)),
            _ => Ok(None),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
