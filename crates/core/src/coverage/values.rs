//! The values of one dimension, whatever it is made of: a list, a calendar, the rows of a table.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::calendar::{self, Span};
use super::rows::Rows;
use super::table::{self, TableFiles};
use super::texts::Texts;
use crate::spec::expression::Value;
use crate::spec::names::DimensionNames;
use crate::spec::problem::Problem;
use crate::spec::template::{formatted, instant_text};
use crate::spec::{Dimension, DimensionKind};

/// Values by place, and the names of their columns.
#[derive(Debug)]
pub(super) struct DimensionValues {
    pub(super) names: DimensionNames,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    List(Texts),
    Calendar {
        spans: Vec<Span>,
        /// The plain text of each.
        texts: Texts,
        zone: TimeZone,
    },
    Table(Rows),
}

impl DimensionValues {
    pub(super) fn read(dimension: &Dimension, files: &dyn TableFiles, now: Timestamp) -> Result<DimensionValues, Vec<Problem>> {
        let fail = |message: String| vec![Problem::error(&dimension.at, message)];
        let named = |what: String| format!("dimension `{}`: {what}", dimension.name);
        Ok(match &dimension.kind {
            DimensionKind::List(values) => {
                if let Some(twice) = first_repeated(values) {
                    return Err(fail(named(format!("`{twice}` is listed twice"))));
                }
                let texts = Texts::of(values.iter().map(String::as_str)).map_err(|_| fail(named("more than 4 GiB of text".into())))?;
                DimensionValues { names: DimensionNames::list(&dimension.name), shape: Shape::List(texts) }
            }
            DimensionKind::Calendar(calendar) => {
                let spans = calendar::spans(calendar, now)
                    .map_err(|(message, hint)| vec![Problem { hint, ..Problem::error(&dimension.at, named(message)) }])?;
                let format = calendar::default_format(calendar.every);
                let texts = Texts::of(spans.iter().map(|span| span_text(span, format)).collect::<Vec<_>>().iter().map(String::as_str));
                let texts = texts.map_err(|_| fail(named("more than 4 GiB of text".into())))?;
                let names = DimensionNames::calendar(&dimension.name, calendar.zone.clone());
                DimensionValues { names, shape: Shape::Calendar { spans, texts, zone: calendar.zone.clone() } }
            }
            DimensionKind::Table(of) => {
                let (names, rows) = table::read(dimension, of, files)?;
                DimensionValues { names, shape: Shape::Table(rows) }
            }
        })
    }

    pub(super) fn len(&self) -> usize {
        match &self.shape {
            Shape::List(texts) => texts.len(),
            Shape::Calendar { spans, .. } => spans.len(),
            Shape::Table(rows) => rows.len(),
        }
    }

    pub(super) fn rows(&self) -> Option<&Rows> {
        match &self.shape {
            Shape::Table(rows) => Some(rows),
            _ => None,
        }
    }

    pub(super) fn value(&self, column: u16, at: usize) -> Value<'_> {
        match &self.shape {
            Shape::List(texts) => match texts.get(at) {
                "" => Value::Null,
                text => Value::Cell(text),
            },
            Shape::Calendar { spans, .. } => Value::Time(if column == 2 { spans[at].end } else { spans[at].start }),
            Shape::Table(rows) => rows.value(usize::from(column), at),
        }
    }

    /// The plain text, if it is stored as one; empty is null.
    pub(super) fn text(&self, column: u16, at: usize) -> Option<&str> {
        match &self.shape {
            Shape::List(texts) => Some(texts.get(at)),
            Shape::Calendar { texts, .. } => (column == 0).then(|| texts.get(at)),
            Shape::Table(rows) => rows.text(usize::from(column), at),
        }
    }

    /// Has every value of the column its plain text at hand?
    pub(super) fn stores_text(&self, column: u16) -> bool {
        match &self.shape {
            Shape::List(_) => true,
            Shape::Calendar { .. } => column == 0,
            Shape::Table(rows) => rows.stores_text(usize::from(column)),
        }
    }

    /// Appends the plain text; nothing for null.
    pub(super) fn write(&self, column: u16, at: usize, text: &mut String) {
        match &self.shape {
            Shape::List(texts) => text.push_str(texts.get(at)),
            Shape::Calendar { texts, .. } if column == 0 => text.push_str(texts.get(at)),
            Shape::Calendar { spans, zone, .. } => {
                let instant = if column == 1 { spans[at].start } else { spans[at].end };
                text.push_str(&instant_text(instant, zone));
            }
            Shape::Table(rows) => rows.write(usize::from(column), at, text),
        }
    }

    /// What identifies a value, whatever else may change about it: the list's text, the span's plain text, the row's id.
    pub(super) fn write_canonical(&self, at: usize, text: &mut String) {
        self.write(self.names.main(), at, text);
    }

    /// The value in a date format; `None`: null, or no time.
    pub(super) fn formatted(&self, column: u16, at: usize, format: &str) -> Option<String> {
        match &self.shape {
            Shape::List(_) => None,
            Shape::Calendar { spans, zone, .. } => {
                let time = match column {
                    0 => named_time(&spans[at], zone),
                    1 => spans[at].start.to_zoned(zone.clone()),
                    _ => spans[at].end.to_zoned(zone.clone()),
                };
                Some(formatted(&time, format))
            }
            Shape::Table(rows) => {
                let Value::Time(time) = rows.value(usize::from(column), at) else { return None };
                Some(formatted(&time.to_zoned(self.zone(column)), format))
            }
        }
    }

    /// Are its values the spans of a calendar?
    pub(super) fn is_calendar(&self) -> bool {
        matches!(self.shape, Shape::Calendar { .. })
    }

    /// Of a calendar: what its spans are called by.
    pub(super) fn civil_names(&self) -> Option<impl Iterator<Item = jiff::civil::DateTime>> {
        match &self.shape {
            Shape::Calendar { spans, .. } => Some(spans.iter().map(|span| span.civil)),
            Shape::List(_) | Shape::Table(_) => None,
        }
    }

    /// Begin and end of a calendar's span.
    pub(super) fn span(&self, at: usize) -> Option<(Timestamp, Timestamp)> {
        match &self.shape {
            Shape::Calendar { spans, .. } => Some((spans[at].start, spans[at].end)),
            Shape::List(_) | Shape::Table(_) => None,
        }
    }

    /// The zone that times of a column are told in.
    pub(super) fn zone(&self, column: u16) -> TimeZone {
        match &self.shape {
            Shape::List(_) => TimeZone::UTC,
            Shape::Calendar { zone, .. } => zone.clone(),
            Shape::Table(rows) => rows.zone(usize::from(column)).cloned().unwrap_or(TimeZone::UTC),
        }
    }

    /// `schedules/2024.csv:17` of a table's row.
    pub(super) fn origin(&self, at: usize) -> Option<String> {
        self.rows().map(|rows| rows.origin(at))
    }
}

/// The name that the span goes by: where clocks skip its first instant it still is called by it.
fn named_time(span: &Span, zone: &TimeZone) -> Zoned {
    let start = span.start.to_zoned(zone.clone());
    if start.datetime() == span.civil {
        return start;
    }
    span.civil.to_zoned(TimeZone::UTC).unwrap_or(start)
}

fn span_text(span: &Span, format: &str) -> String {
    span.civil.strftime(format).to_string()
}

fn first_repeated(values: &[String]) -> Option<&String> {
    let mut seen = hashbrown::HashSet::new();
    values.iter().find(|value| !seen.insert(value.as_str()))
}
