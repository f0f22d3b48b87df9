//! `dimensions`: lists, calendars, tables.

use indexmap::IndexMap;
use jiff::tz::TimeZone;

use super::{Loader, entries};
use crate::coverage::{CellOf, CollectedRows};
use crate::coverage::{IN_LAKE, check_columns, header};
use crate::json_path::{JsonPath, PathError};
use crate::spec::decode::{Name, Text};
use crate::spec::expression::{Expression, Role};
use crate::spec::names::{ColumnName, Columns, DimensionNames, Kind, Names};
use crate::spec::problem::{Problem, known_names};
use crate::spec::raw::{DuplicatesWord, Keep, RawCalendar, RawColumn, RawDimension, RawDuplicates, RawRows, RawRowsOf, RawTable};
use crate::spec::{Calendar, ColumnRule, ColumnSource, Dimension, DimensionKind, Duplicates, Every, Table, TimeFormat};

/// Words that mean something in expressions or commands already.
const RESERVED: [&str; 15] =
    ["now", "today", "null", "and", "or", "not", "in", "is", "time", "true", "false", "due", "overdue", "reason", "out"];

impl Loader<'_> {
    pub(super) fn dimensions(&mut self) -> IndexMap<String, Dimension> {
        let raw = self.raw;
        let mut dimensions = IndexMap::new();
        for (name, raw) in entries(raw.dimensions.as_ref()) {
            self.check_dimension_name(name);
            // A wrong dimension may have any column, so that what uses it is not called wrong too.
            let unknown = DimensionNames::table(&name.text, &name.text, Vec::new(), Columns::MayHaveMore, Vec::new());
            self.names.insert(name.text.clone(), unknown);
            let kind = match raw {
                None => None,
                Some(RawDimension::List(values)) => self.list(name, values),
                Some(RawDimension::Calendar(raw)) => self.calendar(name, raw),
                Some(RawDimension::Table(raw)) => {
                    let dimension = self.table(name, raw);
                    dimensions.extend(dimension.map(|dimension| (name.text.clone(), dimension)));
                    continue;
                }
            };
            let Some(kind) = kind else { continue };
            let dimension = Dimension { name: name.text.clone(), kind, at: name.at.clone() };
            self.names.insert(name.text.clone(), DimensionNames::of(&dimension, None));
            dimensions.insert(name.text.clone(), dimension);
        }
        self.references(&dimensions);
        dimensions
    }

    /// Each `references` must name a dimension whose values are texts.
    fn references(&mut self, dimensions: &IndexMap<String, Dimension>) {
        let raw = self.raw;
        for (name, raw) in entries(raw.dimensions.as_ref()) {
            let Some(RawDimension::Table(raw)) = raw else { continue };
            for (column, raw) in entries(raw.columns.as_ref()) {
                let Some(text) = raw.as_ref().and_then(|raw| raw.references.as_ref()) else { continue };
                let what = format!("dimension `{}`: column `{}`: `references`", name.text, column.text);
                if !self.names.contains_key(&text.text) {
                    let known: Vec<String> = self.names.keys().cloned().collect();
                    let known: Vec<&str> = known.iter().map(String::as_str).collect();
                    let hint = known_names(&text.text, "dimension", &known);
                    self.error_with(&text.at, format!("{what}: there is no dimension `{}`", text.text), hint);
                } else if matches!(dimensions.get(&text.text), Some(Dimension { kind: DimensionKind::Calendar(_), .. })) {
                    self.error(&text.at, format!("{what}: `{}` is a calendar, and its values are no cells", text.text));
                }
            }
        }
    }

    fn check_dimension_name(&mut self, name: &Name) {
        let mut letters = name.text.chars();
        let begins = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !begins || !letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("dimension `{}`: a name begins with a letter and has letters, digits and `_` only", name.text);
            self.error(&name.at, message);
        } else if RESERVED.contains(&name.text.as_str()) {
            let message = format!("dimension `{}`: this word has a meaning of its own in expressions", name.text);
            self.error(&name.at, message);
        }
    }

    fn list(&mut self, name: &Name, values: &[Text]) -> Option<DimensionKind> {
        if values.is_empty() {
            self.error_with(&name.at, format!("dimension `{}` has no values", name.text), "give at least one: `[a, b]`");
            return None;
        }
        let mut texts: Vec<String> = Vec::with_capacity(values.len());
        let mut seen = hashbrown::HashMap::new();
        for value in values {
            match seen.insert(value.text.as_str(), &value.at) {
                Some(first) => {
                    let message = format!("dimension `{}`: value `{}` is given twice, first in line {}", name.text, value.text, first.line);
                    self.error(&value.at, message);
                }
                None if value.text.is_empty() => self.error(&value.at, format!("dimension `{}`: a value cannot be empty", name.text)),
                None => texts.push(value.text.clone()),
            }
        }
        Some(DimensionKind::List(texts))
    }

    pub(super) fn zone(&mut self, what: &str, text: &Text) -> Option<TimeZone> {
        match TimeZone::get(&text.text) {
            Ok(zone) => Some(zone),
            Err(_) => {
                let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
                let near = crate::spec::problem::did_you_mean(&text.text, known.iter().map(String::as_str));
                let hint = near
                    .map_or_else(|| "expected a name such as `America/New_York` or `UTC`".into(), |name| format!("did you mean `{name}`?"));
                self.error_with(&text.at, format!("{what}: there is no time zone `{}`", text.text), hint);
                None
            }
        }
    }

    fn calendar(&mut self, name: &Name, raw: &RawCalendar) -> Option<DimensionKind> {
        let what = format!("dimension `{}`", name.text);
        let zone = match &raw.zone {
            Some(text) => self.zone(&what, text),
            None => {
                let problem = Problem::warning(&name.at, format!("{what} has no `zone`: its spans begin and end in UTC"));
                self.problems.push(problem.hint("write `zone: UTC`, or where its days are days: `zone: America/New_York`"));
                Some(TimeZone::UTC)
            }
        };
        let from = raw.from.0.as_ref().and_then(|text| self.expression(&format!("{what}: `from`"), text, &Names::none(), Role::Bound));
        let to = raw.to.0.as_ref().and_then(|text| self.expression(&format!("{what}: `to`"), text, &Names::none(), Role::Bound));
        let every = raw.every.0.as_ref().and_then(|text| self.every(&what, text));
        Some(DimensionKind::Calendar(Calendar { from: from?, to: to?, every: every?, zone: zone? }))
    }

    fn every(&mut self, what: &str, text: &Text) -> Option<Every> {
        let digits = text.text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.text.len());
        let count = text.text[..digits].parse::<u32>().ok().filter(|count| (1..=100_000).contains(count));
        match (count, &text.text[digits..]) {
            (Some(count), "h") => return Some(Every::Hours(count)),
            (Some(count), "d") => return Some(Every::Days(count)),
            (Some(count), "w") => return Some(Every::Days(count * 7)),
            (Some(count), "mo") => return Some(Every::Months(count)),
            _ => {}
        }
        let message = format!("{what}: `every`: expected hours, days or months (`1h`, `1d`, `1mo`), found `{}`", text.text);
        match &text.text[digits..] {
            "m" => self.error_with(&text.at, message, "a month is `1mo`"),
            "y" => self.error_with(&text.at, message, "a year is `12mo`"),
            _ => self.error(&text.at, message),
        }
        None
    }

    /// Parses an expression; what is wrong with it is reported.
    pub(super) fn expression(&mut self, what: &str, text: &Text, names: &Names, role: Role) -> Option<Expression> {
        if text.unfilled {
            return None;
        }
        match Expression::parse(&text.text, names, role) {
            Ok(expression) => Some(expression),
            Err(errors) => {
                self.language_errors(what, text, errors);
                None
            }
        }
    }

    fn table(&mut self, name: &Name, raw: &RawTable) -> Option<Dimension> {
        let what = format!("dimension `{}`", name.text);
        let columns = self.columns(&what, raw);
        let id = raw.id.0.as_ref()?;
        let (path, rows) = match raw.table.0.as_ref()? {
            RawRowsOf::Files(path) => (path, None),
            RawRowsOf::Objects(raw) => (raw.dataset.0.as_ref()?, Some(self.rows(&what, raw)?)),
        };
        let lake = if rows.is_none() && path.text.starts_with(IN_LAKE) {
            if path.text == IN_LAKE {
                self.error_with(&path.at, format!("{what}: `lake:` is followed by a key"), "write `table: lake:schedules/*.csv`");
                return None;
            }
            // What is wrong with the lake was said.
            Some(self.lake.clone()?)
        } else {
            None
        };
        let complete = columns.len() == entries(raw.columns.as_ref()).len();
        let mut table = Table {
            path: if rows.is_some() { String::new() } else { path.text.clone() },
            lake,
            rows,
            id: id.text.clone(),
            columns: Vec::new(),
            duplicates: duplicates(raw),
        };
        let header = self.header(&what, path, &table);
        let named = self.check_named_columns(&what, raw, header.as_deref());
        let names = self.names_of_row(name, raw, &columns, header.as_deref());
        let row = Names::row(names.clone());
        let mut wrong = !complete || !named;
        for column in columns {
            let rule = match column.rule {
                Unparsed::From(rule) => rule,
                Unparsed::Is(text) => match self.expression(&format!("{what}: column `{}`", column.name.text), text, &row, Role::Column) {
                    Some(expression) => ColumnSource::Is(expression),
                    None => {
                        wrong = true;
                        continue;
                    }
                },
            };
            let references = column.references.map(|text| text.text.clone());
            table.columns.push(ColumnRule { name: column.name.text.clone(), rule, references, at: column.name.at.clone() });
        }
        let circles = check_columns(&name.text, &table, &row);
        wrong |= !circles.is_empty();
        // What concerns no rule concerns the whole table.
        self.problems.extend(circles.into_iter().map(|problem| Problem { at: problem.at.or_else(|| Some(name.at.clone())), ..problem }));
        let dimension = Dimension { name: name.text.clone(), kind: DimensionKind::Table(table), at: name.at.clone() };
        let usable = header.is_some() && !wrong;
        let names = if wrong { names } else { DimensionNames::of(&dimension, header.as_deref()) };
        self.names.insert(name.text.clone(), names);
        usable.then_some(dimension)
    }

    /// Where the rows of a derived table are. Whether there is such a dataset is checked once all are known.
    fn rows(&mut self, what: &str, raw: &RawRows) -> Option<CollectedRows> {
        let dataset = raw.dataset.0.as_ref();
        let rows = raw.rows.0.as_ref().and_then(|text| self.json_path(&format!("{what}: `rows`"), text));
        let given = entries(Some(raw.columns.0.as_ref()?));
        let mut columns = Vec::new();
        for (name, text) in given {
            let Some(text) = text else { continue };
            let cell = match text.text.starts_with('$') {
                true => self.json_path(&format!("{what}: column `{}`", name.text), text).map(CellOf::Row),
                false => Some(CellOf::Item(text.text.clone())),
            };
            columns.extend(cell.map(|cell| (name.text.clone(), cell)));
        }
        if given.is_empty() {
            let at = dataset.map(|text| text.at.clone()).unwrap_or_default();
            self.error_with(&at, format!("{what}: `columns` is empty"), "name at least the one of `id`: `columns: { game_id: \"$.id\" }`");
            return None;
        }
        let complete = columns.len() == given.len();
        let dataset = dataset?;
        complete.then_some(CollectedRows { dataset: dataset.text.clone(), rows: rows?, columns, at: dataset.at.clone() })
    }

    fn json_path(&mut self, what: &str, text: &Text) -> Option<JsonPath> {
        match JsonPath::parse(&text.text) {
            Ok(path) => Some(path),
            Err(PathError { offset, message }) => {
                let at = text.place_of(offset, text.text.len().saturating_sub(offset).max(1));
                self.error_with(&at, format!("{what}: {message}"), "such as `$.events[*]` or `$.id`");
                None
            }
        }
    }

    /// The columns of the table's files. What is wrong with them is reported.
    fn header(&mut self, what: &str, path: &Text, table: &Table) -> Option<Vec<String>> {
        match header(table, self.tables) {
            Ok(columns) => Some(columns),
            Err(problems) => {
                for problem in problems {
                    // What concerns no line of a table is said where the table is named.
                    let message = if problem.at.is_none() { format!("{what}: {}", problem.message) } else { problem.message };
                    self.problems.push(Problem { at: problem.at.or_else(|| Some(path.at.clone())), message, ..problem });
                }
                None
            }
        }
    }

    /// `id` and every `from` must be there. Whether they are.
    fn check_named_columns(&mut self, what: &str, raw: &RawTable, header: Option<&[String]>) -> bool {
        let Some(header) = header else { return true };
        let before = self.problems.len();
        let declared: Vec<&str> = entries(raw.columns.as_ref()).iter().map(|(name, _)| name.text.as_str()).collect();
        let from: Vec<&Text> = entries(raw.columns.as_ref()).iter().filter_map(|(_, raw)| raw.as_ref()?.from.as_ref()).collect();
        for column in &from {
            if !header.contains(&column.text) {
                let known: Vec<&str> = header.iter().map(String::as_str).collect();
                let message = format!("{what}: the table has no column `{}`", column.text);
                self.error_with(&column.at, message, known_names(&column.text, "column", &known));
            }
        }
        let Some(id) = &raw.id.0 else { return false };
        let renamed = from.iter().any(|column| column.text == id.text) && !declared.contains(&id.text.as_str());
        if renamed || !header.contains(&id.text) && !declared.contains(&id.text.as_str()) {
            let known: Vec<&str> = header.iter().map(String::as_str).chain(declared).collect();
            let message = format!("{what}: `id`: the table has no column `{}`", id.text);
            self.error_with(&id.at, message, known_names(&id.text, "column", &known));
        }
        self.problems.len() == before
    }

    fn columns<'r>(&mut self, what: &str, raw: &'r RawTable) -> Vec<Column<'r>> {
        let mut columns = Vec::new();
        for (name, raw) in entries(raw.columns.as_ref()) {
            let Some(raw) = raw else { continue };
            let what = format!("{what}: column `{}`", name.text);
            if let Some(rule) = self.column(&what, name, raw) {
                columns.push(Column { name, rule, references: raw.references.as_ref() });
            }
        }
        columns
    }

    fn column<'r>(&mut self, what: &str, name: &Name, raw: &'r RawColumn) -> Option<Unparsed<'r>> {
        let zone = match &raw.zone {
            Some(text) => Some(self.zone(what, text)?),
            None => None,
        };
        match (&raw.from, &raw.is, &raw.time) {
            (Some(from), None, time) => {
                if time.is_none() && raw.zone.is_some() {
                    self.error_with(
                        &name.at,
                        format!("{what}: a `zone` without `time`"),
                        "say how its times are written: `time: \"%Y-%m-%d %H:%M\"`",
                    );
                }
                let time = time.as_ref().map(|format| TimeFormat { format: format.text.clone(), zone });
                Some(Unparsed::From(ColumnSource::From { column: from.text.clone(), time }))
            }
            // A typed column under its own name.
            (None, None, Some(format)) => {
                let time = Some(TimeFormat { format: format.text.clone(), zone });
                Some(Unparsed::From(ColumnSource::From { column: name.text.clone(), time }))
            }
            // One that is only said to be of another dimension, too.
            (None, None, None) if raw.references.is_some() => {
                Some(Unparsed::From(ColumnSource::From { column: name.text.clone(), time: None }))
            }
            (None, Some(_), None) if raw.references.is_some() => {
                self.error(&name.at, format!("{what}: `references` is of a column of the file, and not of one that is worked out"));
                None
            }
            (None, Some(is), None) => Some(Unparsed::Is(is)),
            (_, Some(_), _) => {
                self.error_with(&name.at, format!("{what}: `is` cannot stand beside `from` or `time`"), "derive it in a column of its own");
                None
            }
            (None, None, None) => {
                self.error(&name.at, format!("{what}: expected `from` (a column of the file) or `is` (an expression)"));
                None
            }
        }
    }

    /// Before the derived columns are parsed: their names are known, their kinds are not.
    fn names_of_row(&self, name: &Name, raw: &RawTable, columns: &[Column<'_>], header: Option<&[String]>) -> DimensionNames {
        let mut zones = Vec::new();
        let mut renamed = Vec::new();
        let mut known: Vec<ColumnName> = Vec::new();
        for column in columns {
            let kind = match &column.rule {
                Unparsed::From(ColumnSource::From { column, time }) => {
                    renamed.push(column.as_str());
                    zones.extend(time.iter().filter_map(|time| time.zone.clone()));
                    if time.is_some() { Kind::Time } else { Kind::Cell }
                }
                _ => Kind::Unknown,
            };
            known.push(ColumnName { name: column.name.text.clone(), kind });
        }
        let own = header.unwrap_or_default().iter().filter(|own| !renamed.contains(&own.as_str()));
        let own: Vec<&String> = own.filter(|own| !known.iter().any(|column| column.name == **own)).collect();
        known.extend(own.into_iter().map(|own| ColumnName { name: own.clone(), kind: Kind::Cell }));
        let complete = header.is_some() && columns.len() == entries(raw.columns.as_ref()).len();
        let rest = if complete { Columns::Known } else { Columns::MayHaveMore };
        let id = raw.id.0.as_ref().map_or(name.text.as_str(), |id| id.text.as_str());
        DimensionNames::table(&name.text, id, known, rest, zones)
    }
}

/// A column whose expression still waits for the names of the others.
struct Column<'r> {
    name: &'r Name,
    rule: Unparsed<'r>,
    references: Option<&'r Text>,
}

enum Unparsed<'r> {
    From(ColumnSource),
    Is(&'r Text),
}

fn duplicates(raw: &RawTable) -> Duplicates {
    match &raw.duplicates {
        None => Duplicates::Error,
        Some(RawDuplicates::Word(word)) => match word.value {
            DuplicatesWord::Error => Duplicates::Error,
        },
        Some(RawDuplicates::Map(raw)) => match raw.keep.0.as_ref().map(|given| given.value) {
            Some(Keep::Last) | None => Duplicates::KeepLast { by: raw.by.as_ref().map(|by| by.text.clone()) },
        },
    }
}
