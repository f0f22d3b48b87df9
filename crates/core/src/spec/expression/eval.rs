//! The value of an expression for one item.

use std::borrow::Cow;
use std::cmp::Ordering;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::parser::{Comparison, Node, Part, Sign};
use super::{EvalError, Expression, Kind, Scope, Value, time};

pub(super) struct Evaluation<'a> {
    pub(super) expression: &'a Expression,
    pub(super) scope: &'a dyn Scope,
}

type Evaluated<'a> = Result<Value<'a>, EvalError>;

impl<'a> Evaluation<'a> {
    pub(super) fn value(&self, part: &'a Part) -> Evaluated<'a> {
        Ok(match &part.node {
            Node::Null => Value::Null,
            Node::Text(text) => Value::Text(Cow::Borrowed(text)),
            Node::Number(number) => Value::Number(*number),
            Node::Span(span) => Value::Span(*span),
            Node::Time(time, _) => Value::Time(*time),
            Node::Now => self.scope.now().map_or(Value::Null, Value::Time),
            Node::Today(zone) => self.scope.now().map_or(Ok(Value::Null), |now| today(now, zone))?,
            Node::Overdue => match (self.scope.now(), self.scope.due()) {
                (Some(now), Some(due)) => Value::Span(now.duration_since(due)),
                _ => Value::Null,
            },
            Node::Due => self.scope.due().map_or(Value::Null, Value::Time),
            Node::Reason => self.scope.reason().map_or(Value::Null, |reason| Value::Text(Cow::Borrowed(reason.word()))),
            Node::Dataset => self.scope.dataset().map_or(Value::Null, |dataset| Value::Text(Cow::Borrowed(dataset))),
            Node::Var(at) => self.scope.value(*at, &self.expression.vars[*at]),
            Node::Sum(parts) => self.sum(parts)?,
            Node::Compare(how, left, right) => Value::Bool(self.compare(left, *how, right)?),
            Node::In(left, values) => Value::Bool(self.is_in(left, values)?),
            Node::IsNull(part) => Value::Bool(self.value(part)? == Value::Null),
            Node::Not(part) => Value::Bool(!self.truth(part)?),
            Node::And(parts) => Value::Bool(self.all(parts)?),
            Node::Or(parts) => Value::Bool(self.any(parts)?),
        })
    }

    /// Null is not true.
    pub(super) fn truth(&self, part: &'a Part) -> Result<bool, EvalError> {
        match self.value(part)? {
            Value::Bool(truth) => Ok(truth),
            Value::Null => Ok(false),
            other => Err(self.wrong(part, format!("expected true or false, found {}", other.kind().words()))),
        }
    }

    /// A time, or null; a cell is read as one.
    pub(super) fn instant(&self, part: &'a Part) -> Result<Option<Timestamp>, EvalError> {
        match self.value(part)? {
            Value::Null => Ok(None),
            Value::Time(time) => Ok(Some(time)),
            Value::Cell(text) => self.cell_as_time(part, text).map(Some),
            other => Err(self.wrong(part, format!("expected a time, found {}", other.kind().words()))),
        }
    }

    fn all(&self, parts: &'a [Part]) -> Result<bool, EvalError> {
        for part in parts {
            if !self.truth(part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn any(&self, parts: &'a [Part]) -> Result<bool, EvalError> {
        for part in parts {
            if self.truth(part)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_in(&self, left: &'a Part, values: &'a [Part]) -> Result<bool, EvalError> {
        for value in values {
            if self.compare(left, Comparison::Equal, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compare(&self, left: &'a Part, how: Comparison, right: &'a Part) -> Result<bool, EvalError> {
        let (a, b) = (self.value(left)?, self.value(right)?);
        let order = match (&a, &b) {
            (Value::Null, _) | (_, Value::Null) => return Ok(false),
            (Value::Text(_) | Value::Cell(_), Value::Text(_) | Value::Cell(_)) => Some(a.text().cmp(b.text())),
            (Value::Cell(cell), Value::Number(b)) => self.cell_as_number(left, cell)?.partial_cmp(b),
            (Value::Number(a), Value::Cell(cell)) => a.partial_cmp(&self.cell_as_number(right, cell)?),
            (Value::Cell(cell), Value::Time(b)) => Some(self.cell_as_time(left, cell)?.cmp(b)),
            (Value::Time(a), Value::Cell(cell)) => Some(a.cmp(&self.cell_as_time(right, cell)?)),
            (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
            (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
            (Value::Span(a), Value::Span(b)) => Some(a.cmp(b)),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            _ => {
                let message = format!("{} and {} cannot be compared", a.kind().words(), b.kind().words());
                return Err(self.wrong(left, message));
            }
        };
        Ok(order.is_some_and(|order| how.holds(order)))
    }

    fn sum(&self, parts: &'a [(Sign, Part)]) -> Evaluated<'a> {
        let mut total = self.value(&parts[0].1)?;
        let mut total_part = &parts[0].1;
        for (sign, part) in &parts[1..] {
            let value = self.value(part)?;
            total = self.add(total, total_part, *sign, value, part)?;
            // A sum is no cell: from here on only `part` can be one.
            total_part = part;
        }
        Ok(total)
    }

    fn add(&self, left: Value<'a>, left_part: &'a Part, sign: Sign, right: Value<'a>, right_part: &'a Part) -> Evaluated<'a> {
        let span = |span: SignedDuration| if sign == Sign::Plus { Some(span) } else { span.checked_neg() };
        let too_far = || self.wrong(right_part, "the result lies beyond all calendars".into());
        let time =
            |time: Timestamp, by: SignedDuration| span(by).and_then(|by| time.checked_add(by).ok()).map(Value::Time).ok_or_else(too_far);
        let number = |a: f64, b: f64| Value::Number(if sign == Sign::Plus { a + b } else { a - b });
        Ok(match (left, sign, right) {
            (Value::Null, ..) | (.., Value::Null) => Value::Null,
            (Value::Number(a), _, Value::Number(b)) => number(a, b),
            (Value::Cell(a), _, Value::Number(b)) => number(self.cell_as_number(left_part, a)?, b),
            (Value::Number(a), _, Value::Cell(b)) => number(a, self.cell_as_number(right_part, b)?),
            (Value::Time(a), _, Value::Span(b)) => time(a, b)?,
            (Value::Cell(a), _, Value::Span(b)) => time(self.cell_as_time(left_part, a)?, b)?,
            (Value::Span(a), Sign::Plus, Value::Time(b)) => time(b, a)?,
            (Value::Span(a), Sign::Plus, Value::Cell(b)) => time(self.cell_as_time(right_part, b)?, a)?,
            (Value::Time(a), Sign::Minus, Value::Time(b)) => Value::Span(a.duration_since(b)),
            (Value::Time(a), Sign::Minus, Value::Cell(b)) => Value::Span(a.duration_since(self.cell_as_time(right_part, b)?)),
            (Value::Cell(a), Sign::Minus, Value::Time(b)) => Value::Span(self.cell_as_time(left_part, a)?.duration_since(b)),
            (Value::Span(a), _, Value::Span(b)) => span(b).and_then(|b| a.checked_add(b)).map(Value::Span).ok_or_else(too_far)?,
            (left, _, right) => {
                let message = format!("{} and {} cannot be summed", left.kind().words(), right.kind().words());
                return Err(self.wrong(left_part, message));
            }
        })
    }

    fn cell_as_number(&self, part: &Part, text: &str) -> Result<f64, EvalError> {
        time::read_number(text).ok_or_else(|| self.wrong(part, format!("`{text}` cannot be read as a number")))
    }

    fn cell_as_time(&self, part: &Part, text: &str) -> Result<Timestamp, EvalError> {
        time::read_cell(text).map_err(|message| self.wrong(part, message))
    }

    fn wrong(&self, part: &Part, message: String) -> EvalError {
        let Node::Var(at) = part.node else { return EvalError { message, origin: None } };
        let var = &self.expression.vars[at];
        EvalError { message: format!("`{}`: {message}", var.name), origin: self.scope.origin(var) }
    }
}

fn today<'a>(now: Timestamp, zone: &TimeZone) -> Evaluated<'a> {
    let midnight = now.to_zoned(zone.clone()).start_of_day();
    match midnight {
        Ok(midnight) => Ok(Value::Time(midnight.timestamp())),
        Err(_) => Err(EvalError { message: "`today` lies beyond all calendars".into(), origin: None }),
    }
}

impl Comparison {
    pub(super) fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Value<'_> {
    pub fn kind(&self) -> Kind {
        match self {
            Value::Null => Kind::Null,
            Value::Text(_) => Kind::Text,
            Value::Cell(_) => Kind::Cell,
            Value::Number(_) => Kind::Number,
            Value::Time(_) => Kind::Time,
            Value::Span(_) => Kind::Span,
            Value::Bool(_) => Kind::Bool,
        }
    }

    fn text(&self) -> &str {
        match self {
            Value::Text(text) => text,
            Value::Cell(text) => text,
            _ => "",
        }
    }
}
