//! A table in memory: columns side by side, a few bytes a cell, and each row's file and line for messages.

use std::cmp::Ordering;
use std::fmt::Write;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::texts::Texts;
use crate::spec::expression::{Value, time};
use crate::spec::names::Kind;
use crate::spec::problem::Place;
use crate::spec::template::instant_text;

/// The rows of a table that count.
#[derive(Debug)]
pub(super) struct Rows {
    columns: Vec<Column>,
    filed: Filed,
    /// Which rows of the columns count, if not all do.
    kept: Option<Vec<u32>>,
    /// Columns that a file has not, and others of the table have: null there.
    pub(super) lacking: Vec<(usize, String)>,
    /// Columns that hold an object or a list somewhere, and where first: null there.
    pub(super) nested: Vec<(usize, Place)>,
}

#[derive(Debug)]
pub(super) enum Column {
    /// As the file has them; an empty one is null.
    Cells(Texts),
    /// Derived texts.
    Texts(Texts),
    /// Microseconds since 1970.
    Times {
        micros: Vec<i64>,
        zone: TimeZone,
    },
    Plain(Vec<Option<Plain>>),
}

/// A derived value that is no time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    Number(f64),
    Span(SignedDuration),
    Bool(bool),
    Time(Timestamp),
    Text(Box<str>),
    Cell(Box<str>),
}

impl Plain {
    /// `None`: null.
    pub(super) fn of(value: Value<'_>) -> Option<Plain> {
        Some(match value {
            Value::Null => return None,
            Value::Number(number) => Plain::Number(number),
            Value::Span(span) => Plain::Span(span),
            Value::Bool(truth) => Plain::Bool(truth),
            Value::Time(time) => Plain::Time(time),
            Value::Text(text) => Plain::Text(text.into()),
            Value::Cell(text) => Plain::Cell(text.into()),
        })
    }

    fn value(&self) -> Value<'_> {
        match self {
            Plain::Number(number) => Value::Number(*number),
            Plain::Span(span) => Value::Span(*span),
            Plain::Bool(truth) => Value::Bool(*truth),
            Plain::Time(time) => Value::Time(*time),
            Plain::Text(text) => Value::Text(text.as_ref().into()),
            Plain::Cell(text) => Value::Cell(text),
        }
    }
}

impl Column {
    /// No calendar reaches there.
    pub(super) const NULL_TIME: i64 = i64::MIN;

    /// The smallest form that holds these values.
    pub(super) fn of_values(values: Vec<Option<Plain>>, kind: Kind, zone: TimeZone) -> Column {
        if kind == Kind::Time {
            let micros = |value: &Option<Plain>| match value {
                Some(Plain::Time(time)) => time.as_microsecond(),
                _ => Column::NULL_TIME,
            };
            return Column::Times { micros: values.iter().map(micros).collect(), zone };
        }
        let texts = || {
            Texts::of(values.iter().map(|value| match value {
                Some(Plain::Text(text) | Plain::Cell(text)) => text.as_ref(),
                _ => "",
            }))
        };
        let as_texts = match kind {
            Kind::Cell => texts().map(Column::Cells),
            Kind::Text => texts().map(Column::Texts),
            _ => return Column::Plain(values),
        };
        as_texts.unwrap_or(Column::Plain(values))
    }
}

/// Where each row stands.
#[derive(Debug)]
pub(super) struct Filed {
    files: Vec<String>,
    /// First row of each file that has any, with the file's place.
    starts: Vec<(u32, u32)>,
    lines: Vec<u32>,
}

impl Filed {
    pub(super) fn new(files: Vec<String>) -> Self {
        Filed { files, starts: Vec::new(), lines: Vec::new() }
    }

    pub(super) fn push(&mut self, file: usize, line: u64) {
        let file = u32::try_from(file).unwrap_or(u32::MAX);
        if self.starts.last().is_none_or(|(_, last)| *last != file) {
            self.starts.push((u32::try_from(self.lines.len()).unwrap_or(u32::MAX), file));
        }
        self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
    }

    fn place(&self, row: usize) -> (&str, u32) {
        let behind = self.starts.partition_point(|(first, _)| *first as usize <= row);
        let file = self.starts[behind - 1].1;
        (&self.files[file as usize], self.lines[row])
    }
}

impl Rows {
    pub(super) fn new(columns: Vec<Column>, filed: Filed, lacking: Vec<(usize, String)>, nested: Vec<(usize, Place)>) -> Self {
        Rows { columns, filed, kept: None, lacking, nested }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.as_ref().map_or(self.filed.lines.len(), Vec::len)
    }

    pub(super) fn set(&mut self, at: usize, column: Column) {
        self.columns[at] = column;
    }

    pub(super) fn drop_rows(&mut self, dropped: &[bool]) {
        let kept = dropped.iter().enumerate().filter(|(_, dropped)| !**dropped);
        self.kept = Some(kept.map(|(row, _)| row as u32).collect());
    }

    fn stored(&self, row: usize) -> usize {
        self.kept.as_ref().map_or(row, |kept| kept[row] as usize)
    }

    pub(super) fn value(&self, column: usize, row: usize) -> Value<'_> {
        let row = self.stored(row);
        match &self.columns[column] {
            Column::Cells(texts) => match texts.get(row) {
                "" => Value::Null,
                text => Value::Cell(text),
            },
            Column::Texts(texts) => match texts.get(row) {
                "" => Value::Null,
                text => Value::Text(text.into()),
            },
            Column::Times { micros, .. } => instant(micros[row]).map_or(Value::Null, Value::Time),
            Column::Plain(values) => values[row].as_ref().map_or(Value::Null, Plain::value),
        }
    }

    /// The cell's text without a copy, if it is stored as text.
    pub(super) fn text(&self, column: usize, row: usize) -> Option<&str> {
        match &self.columns[column] {
            Column::Cells(texts) | Column::Texts(texts) => Some(texts.get(self.stored(row))),
            Column::Times { .. } | Column::Plain(_) => None,
        }
    }

    pub(super) fn stores_text(&self, column: usize) -> bool {
        matches!(self.columns[column], Column::Cells(_) | Column::Texts(_))
    }

    /// Appends the value's plain text; nothing for null.
    pub(super) fn write(&self, column: usize, row: usize, text: &mut String) {
        match self.value(column, row) {
            Value::Null => {}
            Value::Cell(cell) => text.push_str(cell),
            Value::Text(cell) => text.push_str(&cell),
            Value::Time(time) => text.push_str(&instant_text(time, self.zone(column).unwrap_or(&TimeZone::UTC))),
            // Writing to a `String` cannot fail.
            Value::Number(number) => drop(write!(text, "{number}")),
            Value::Span(span) => drop(write!(text, "{}", span.as_secs())),
            Value::Bool(truth) => drop(write!(text, "{truth}")),
        }
    }

    /// The zone that a column's times are written in.
    pub(super) fn zone(&self, column: usize) -> Option<&TimeZone> {
        match &self.columns[column] {
            Column::Times { zone, .. } => Some(zone),
            _ => None,
        }
    }

    /// By this column, which of two rows with one id is the older? Null is oldest; numbers and times count as such.
    pub(super) fn comes_before(&self, column: usize, row: usize, other: usize) -> bool {
        order(&self.value(column, row), &self.value(column, other)).is_lt()
    }

    pub(super) fn place(&self, row: usize) -> Place {
        let (file, line) = self.filed.place(self.stored(row));
        Place { file: file.into(), line, column: 1, length: 1 }
    }

    /// `schedules/2024.csv:17`
    pub(super) fn origin(&self, row: usize) -> String {
        let (file, line) = self.filed.place(self.stored(row));
        format!("{file}:{line}")
    }
}

fn instant(micros: i64) -> Option<Timestamp> {
    if micros == Column::NULL_TIME { None } else { Timestamp::from_microsecond(micros).ok() }
}

fn order(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Less,
        (_, Value::Null) => Ordering::Greater,
        (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.total_cmp(b),
        (Value::Span(a), Value::Span(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Cell(a), Value::Cell(b)) => match (time::read_number(a), time::read_number(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => a.cmp(b),
        },
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}
