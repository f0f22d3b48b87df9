//! Rows of CSV and JSON Lines files: the values of a table dimension.
//!
//! Cells are text and stay it, byte by byte: `0011600001` keeps its zeros. Only columns that the config types are
//! read, here and once, so that a bad date is found with file and line before anything is asked of an upstream. Every
//! problem of a table is found in one reading, up to [`MOST_PROBLEMS`]; a table with a problem yields no rows, because
//! half a table looks like items that are no longer expected.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use hashbrown::HashTable;
use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;

pub(super) use self::json_lines::{Cell, each_row};
use super::collected::KeptRows;
use super::rows::{Column, Filed, Plain, Rows};
use super::texts::Texts;
use crate::figures::grouped;
use crate::spec::expression::{Expression, Scope, Value, Var};
use crate::spec::names::{DimensionNames, Names, nearest};
use crate::spec::problem::{Place, Problem};
use crate::spec::{ColumnRule, ColumnSource, Dimension, Duplicates, LakeUrl, Table, TimeFormat};

/// One file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFile {
    /// As messages show it: relative to the config's folder, or `lake:` and the key. Its end says how it is to be read: JSON Lines
    /// (`.jsonl`, `.ndjson`), or else CSV.
    pub name: String,
    /// Text. What the name says is packed (`.gz`, `.zst`) was unpacked, and a `.parquet` file comes as JSON Lines, a line a row.
    pub bytes: Vec<u8>,
}

/// How the text of a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    Csv,
    JsonLines,
}

impl TableFile {
    pub(super) fn layout(&self) -> Layout {
        let packed = [".gz", ".zst", ".zstd"].into_iter().find_map(|end| self.name.strip_suffix(end));
        let name = packed.unwrap_or(&self.name);
        let is_json = [".jsonl", ".ndjson", ".parquet"].into_iter().any(|end| name.ends_with(end));
        if is_json { Layout::JsonLines } else { Layout::Csv }
    }
}

/// Why a table's files cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    #[error("no file matches `{0}`")]
    NoFile(String),
    #[error("`{file}` cannot be read: {detail}")]
    Unreadable { file: String, detail: String },
    /// It may be as it should be: where it lies cannot be reached.
    #[error("`{file}` cannot be reached: {detail}")]
    Away { file: String, detail: String },
    #[error("`{pattern}` is no path or glob: {detail}")]
    BadPattern { pattern: String, detail: String },
}

/// Reads the files of a table. The edge does it with globs relative to the config's folder.
pub trait TableFiles {
    /// All files that match, sorted by name; at least one.
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError>;

    /// All objects of the lake whose keys match, sorted by key; at least one.
    fn read_lake(&self, lake: &LakeUrl, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        let _ = lake;
        Err(TableError::Unreadable { file: format!("{IN_LAKE}{pattern}"), detail: "nothing here reads the lake".into() })
    }

    /// What is known of the rows of a derived table, by its dimension. Nothing, before its objects were looked at.
    fn kept_rows(&self, _dimension: &str) -> KeptRows {
        KeptRows::default()
    }

    /// From now on this is known of them.
    fn keep_rows(&self, _dimension: &str, _rows: KeptRows) {}
}

/// Begins the path of a table that lies in the lake.
pub const IN_LAKE: &str = "lake:";

/// The files of a table, wherever they come from.
fn files_of(dimension: &str, table: &Table, files: &dyn TableFiles) -> Result<Vec<TableFile>, TableError> {
    match (&table.rows, &table.lake, table.path.strip_prefix(IN_LAKE)) {
        (Some(_), ..) => Ok(files.kept_rows(dimension).files()),
        (None, Some(lake), Some(pattern)) => files.read_lake(lake, pattern),
        (None, ..) => files.read(&table.path),
    }
}

/// So many problems are listed for a table; of the others, the number.
pub const MOST_PROBLEMS: usize = 20;

/// The columns in a table's files, for [`DimensionNames::of`]; what is wrong with them otherwise, at a line of the file
/// or, if that concerns none, without a place.
pub fn header(table: &Table, files: &dyn TableFiles) -> Result<Vec<String>, Vec<Problem>> {
    if let Some(rows) = &table.rows {
        return Ok(rows.header());
    }
    let files = files_of("", table, files).map_err(|error| vec![Problem { at: None, ..unreadable(&error, &Place::default()) }])?;
    let mut problems = Complaints::default();
    let headers = read_headers(&files, &mut problems);
    problems.into_result(union(&headers))
}

/// What is wrong with a table's `columns` among themselves, each at its rule: two with one name, derived ones in a
/// circle, a `by` that names none of them. `row`: the names of its row.
pub fn check_columns(dimension: &str, table: &Table, row: &Names) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, rule) in table.columns.iter().enumerate() {
        if table.columns[..at].iter().any(|other| other.name == rule.name) {
            problems.push(Problem::error(&rule.at, format!("column `{}` is declared twice", rule.name)));
        }
    }
    if let Duplicates::KeepLast { by: Some(by) } = &table.duplicates
        && let Err(wrong) = row.resolve(by)
    {
        let message = format!("dimension `{dimension}`: `duplicates`: `by`: {}", wrong.message);
        problems.push(Problem { at: None, hint: wrong.hint, ..Problem::error(&Place::default(), message) });
    }
    problems.extend(order_of_derived(dimension, table).err().map(|problem| *problem));
    problems
}

/// What is wrong between the config's columns and the files'.
fn check_against_files(dimension: &Dimension, table: &Table, header: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for rule in &table.columns {
        if let ColumnSource::From { column, .. } = &rule.rule
            && !header.contains(column)
        {
            problems.push(no_column(column, header, &dimension.name, &rule.at));
        }
        if header.contains(&rule.name) && !is_renamed(table, &rule.name) {
            let message = format!("column `{}` is declared, and the files of table `{}` have one of that name", rule.name, dimension.name);
            problems.push(Problem::error(&rule.at, message).hint("choose another name"));
        }
    }
    let declared = table.columns.iter().any(|rule| rule.name == table.id);
    if !declared && (!header.contains(&table.id) || is_renamed(table, &table.id)) {
        problems.push(no_column(&table.id, header, &dimension.name, &dimension.at));
    }
    problems
}

/// All rows, or all that is wrong with the files. The columns are those of `names`, in that order.
pub(super) fn read(dimension: &Dimension, table: &Table, files: &dyn TableFiles) -> Result<(DimensionNames, Rows), Vec<Problem>> {
    let files = files_of(&dimension.name, table, files).map_err(|error| vec![unreadable(&error, &dimension.at)])?;
    let mut problems = Complaints::default();
    let headers = read_headers(&files, &mut problems);
    let header = table.rows.as_ref().map_or_else(|| union(&headers), |rows| rows.header());
    if problems.is_empty() {
        check_against_files(dimension, table, &header).into_iter().for_each(|problem| problems.add(problem));
    }
    problems.stop()?;
    let names = DimensionNames::of(dimension, Some(&header));
    let row = Names::row(names.clone());
    for problem in check_columns(&dimension.name, table, &row) {
        problems.add(Problem { at: problem.at.or_else(|| Some(dimension.at.clone())), ..problem });
    }
    problems.stop()?;
    let mut reading = Reading::new(table, &names, files.iter().map(|file| file.name.clone()).collect());
    for (at, (file, header)) in files.iter().zip(&headers).enumerate() {
        reading.file(at, file, header, &mut problems);
    }
    let mut rows = reading.into_rows();
    problems.stop()?;
    derive(dimension, table, &names, &mut rows, &mut problems);
    problems.stop()?;
    resolve_duplicates(dimension, table, &names, &mut rows, &mut problems);
    problems.into_result((names, rows))
}

fn unreadable(error: &TableError, at: &Place) -> Problem {
    let problem = Problem::error(at, error.to_string());
    match error {
        TableError::NoFile(pattern) if pattern.starts_with(IN_LAKE) => {
            problem.hint("keys are those of the lake; `*` stands for any name between two `/`")
        }
        TableError::Away { .. } => Problem { is_away: true, ..problem },
        TableError::NoFile(_) => problem.hint("paths are relative to the config file; `*` stands for any name in a folder"),
        _ => problem,
    }
}

fn no_column(column: &str, header: &[String], dimension: &str, at: &Place) -> Problem {
    let message = format!("the files of table `{dimension}` have no column `{column}`");
    Problem { hint: nearest(column, header.to_vec()), ..Problem::error(at, message) }
}

/// Does a rule take this column of the file, under whatever name?
fn is_renamed(table: &Table, column: &str) -> bool {
    table.columns.iter().any(|rule| matches!(&rule.rule, ColumnSource::From { column: taken, .. } if taken == column))
}

/// Problems of one table: a few by name, the rest by number.
#[derive(Default)]
pub(super) struct Complaints {
    named: Vec<Problem>,
    more: usize,
}

impl Complaints {
    pub(super) fn add(&mut self, problem: Problem) {
        if self.named.len() < MOST_PROBLEMS { self.named.push(problem) } else { self.more += 1 }
    }

    fn add_all(&mut self, others: Complaints) {
        others.named.into_iter().for_each(|problem| self.add(problem));
        self.more += others.more;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// What was found so far makes what follows meaningless.
    fn stop(&mut self) -> Result<(), Vec<Problem>> {
        std::mem::take(self).into_result(())
    }

    pub(super) fn into_result<T>(mut self, result: T) -> Result<T, Vec<Problem>> {
        if self.named.is_empty() {
            return Ok(result);
        }
        if let (Some(last), true) = (self.named.last_mut(), self.more > 0) {
            last.note = Some(format!("and {} more problems like these in this table", grouped(self.more as u64)));
        }
        Err(self.named)
    }
}

/// The text of one line, as errors show it.
pub(super) fn at_line(file: &str, bytes: &[u8], line: u64, message: String) -> Problem {
    let text = usize::try_from(line).ok().and_then(|line| bytes.split(|byte| *byte == b'\n').nth(line.saturating_sub(1)));
    let shown = text.map(|text| String::from_utf8_lossy(text).trim_end().chars().take(160).collect::<String>());
    let length = shown.as_ref().map_or(1, |text| text.chars().count().max(1));
    let place =
        Place { file: file.into(), line: u32::try_from(line).unwrap_or(u32::MAX), column: 1, length: u32::try_from(length).unwrap_or(1) };
    Problem { line: shown, ..Problem::error(&place, message) }
}

pub(super) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) fn reader(bytes: &[u8]) -> csv::Reader<&[u8]> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes)
}

/// Column names of each file; an unnamed column stays in its place without a name.
fn read_headers(files: &[TableFile], problems: &mut Complaints) -> Vec<Vec<String>> {
    files.iter().map(|file| read_columns(file, problems)).collect()
}

pub(super) fn read_columns(file: &TableFile, problems: &mut Complaints) -> Vec<String> {
    match file.layout() {
        Layout::Csv => read_header(file, problems),
        Layout::JsonLines => json_lines::columns(file, problems),
    }
}

pub(super) fn read_header(file: &TableFile, problems: &mut Complaints) -> Vec<String> {
    let fail = |message: String| at_line(&file.name, &file.bytes, 1, message);
    if file.bytes.starts_with(b"\xff\xfe") || file.bytes.starts_with(b"\xfe\xff") {
        problems.add(fail(format!("`{}` is UTF-16", file.name)).hint("save it as UTF-8"));
        return Vec::new();
    }
    let mut first = csv::StringRecord::new();
    match reader(&file.bytes).read_record(&mut first) {
        Ok(true) => {}
        Ok(false) => {
            problems.add(fail(format!("`{}` is empty", file.name)).hint("expected a line with the column names"));
            return Vec::new();
        }
        Err(error) => {
            problems.add(fail(unreadable_record(&error)));
            return Vec::new();
        }
    }
    let names: Vec<String> = first.iter().map(String::from).collect();
    for (at, name) in names.iter().enumerate() {
        if !name.is_empty() && names[..at].contains(name) {
            problems.add(fail(format!("`{}` has two columns named `{name}`", file.name)));
        }
    }
    if let (1, Some(separator)) = (names.len(), [';', '\t', '|'].into_iter().find(|separator| names[0].contains(*separator))) {
        problems.add(fail(format!("`{}` has no commas", file.name)).hint(format!("fields are separated by commas, not {separator:?}")));
    }
    names
}

pub(super) fn unreadable_record(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "this row is not UTF-8".into(),
        _ => format!("this row cannot be read: {error}"),
    }
}

/// The names of all files, in order of first appearance.
fn union(headers: &[Vec<String>]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let named = headers.iter().flatten().filter(|name| !name.is_empty());
    named.filter(|name| seen.insert(name.as_str())).cloned().collect()
}

/// Where a column's cells come from.
enum Filling<'t> {
    /// A column of the file.
    Cells(Texts),
    Times {
        format: &'t TimeFormat,
        times: Vec<i64>,
    },
    /// Worked out afterwards.
    Derived,
}

/// Rows while the files are read.
struct Reading<'t> {
    table: &'t Table,
    /// By place of the column: name in the file, and what is read from it.
    columns: Vec<(String, Filling<'t>)>,
    filed: Filed,
    /// Columns that a file has not, and others of the table have.
    lacking: Vec<(usize, String)>,
    /// Columns that hold an object or a list somewhere: the first such row of each.
    nested: Vec<(usize, Place)>,
}

impl<'t> Reading<'t> {
    fn new(table: &'t Table, names: &DimensionNames, files: Vec<String>) -> Self {
        let columns = names.columns().iter().map(|column| {
            let rule = table.columns.iter().find(|rule| rule.name == column.name).map(|rule| &rule.rule);
            match rule {
                Some(ColumnSource::Is(_)) => (column.name.clone(), Filling::Derived),
                Some(ColumnSource::From { column, time: Some(format) }) => (column.clone(), Filling::Times { format, times: Vec::new() }),
                Some(ColumnSource::From { column, time: None }) => (column.clone(), Filling::Cells(Texts::default())),
                None => (column.name.clone(), Filling::Cells(Texts::default())),
            }
        });
        Reading { table, columns: columns.collect(), filed: Filed::new(files), lacking: Vec::new(), nested: Vec::new() }
    }

    fn is_derived(&self, column: usize) -> bool {
        matches!(self.columns[column].1, Filling::Derived)
    }

    fn file(&mut self, at: usize, file: &TableFile, header: &[String], problems: &mut Complaints) {
        // Without a row there is no column either.
        if file.layout() == Layout::JsonLines && header.is_empty() {
            return;
        }
        let places: Vec<Option<usize>> = self.columns.iter().map(|(name, _)| header.iter().position(|known| known == name)).collect();
        self.check_places(file, header, &places, problems);
        let lacking = places.iter().enumerate().filter(|(at, place)| place.is_none() && !self.is_derived(*at));
        let lacking: Vec<_> = lacking.map(|(at, _)| (at, file.name.clone())).collect();
        self.lacking.extend(lacking);
        match file.layout() {
            Layout::Csv => self.csv_rows(at, file, header, &places, problems),
            Layout::JsonLines => self.json_rows(at, file, header, &places, problems),
        }
    }

    fn json_rows(&mut self, at: usize, file: &TableFile, header: &[String], places: &[Option<usize>], problems: &mut Complaints) {
        let mut of_rows = Complaints::default();
        let mut row = |line: u64, cells: &[Cell<'_>]| {
            for (column, _) in places.iter().enumerate().filter(|(_, place)| place.is_some_and(|place| cells[place] == Cell::Nested)) {
                if !self.nested.iter().any(|(known, _)| *known == column) {
                    let line = u32::try_from(line).unwrap_or(u32::MAX);
                    self.nested.push((column, Place { file: file.name.as_str().into(), line, column: 1, length: 1 }));
                }
            }
            let text = |place: usize| match &cells[place] {
                Cell::Text(text) => text.as_ref(),
                Cell::Null | Cell::Nested => "",
            };
            self.row(at, file, line, &text, places, &mut of_rows);
        };
        each_row(file, header, &mut row, problems);
        problems.add_all(of_rows);
    }

    fn csv_rows(&mut self, at: usize, file: &TableFile, header: &[String], places: &[Option<usize>], problems: &mut Complaints) {
        let skipped = file.bytes.len() - file.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&file.bytes).len();
        let mut reader = reader(&file.bytes);
        let mut record = csv::StringRecord::new();
        let mut is_header = true;
        loop {
            let (byte, line) = (reader.position().byte() as usize + skipped, reader.position().line());
            let line = line + newlines_before_text(&file.bytes, byte);
            match reader.read_record(&mut record) {
                Ok(false) => break,
                Ok(true) if std::mem::take(&mut is_header) => {}
                Ok(true) if record.len() != header.len() => {
                    let message = format!("this row has {} fields, and the header has {}", record.len(), header.len());
                    problems.add(at_line(&file.name, &file.bytes, line, message).hint("a comma inside a field needs quotes around it"));
                }
                Ok(true) => {
                    let text = |place: usize| record.get(place).unwrap_or_default();
                    self.row(at, file, line, &text, places, problems);
                }
                Err(error) => problems.add(at_line(&file.name, &file.bytes, line, unreadable_record(&error))),
            }
        }
    }

    /// A file of a glob may lack a column, and then has null there; but not the one that names its rows or is typed.
    fn check_places(&self, file: &TableFile, header: &[String], places: &[Option<usize>], problems: &mut Complaints) {
        for ((name, filling), _) in
            self.columns.iter().zip(places).filter(|((_, filling), place)| place.is_none() && !matches!(filling, Filling::Derived))
        {
            let is_id = *name == self.table.id || self.table.columns.iter().any(|rule| rule.name == self.table.id && takes(rule, name));
            if is_id || matches!(filling, Filling::Times { .. }) {
                let message = format!("`{}` has no column `{name}`", file.name);
                let problem = at_line(&file.name, &file.bytes, 1, message);
                problems.add(Problem { hint: nearest(name, header.to_vec()), ..problem });
            }
        }
    }

    fn row<'c>(
        &mut self,
        at: usize,
        file: &TableFile,
        line: u64,
        cell: &dyn Fn(usize) -> &'c str,
        places: &[Option<usize>],
        problems: &mut Complaints,
    ) {
        self.filed.push(at, line);
        for ((name, filling), place) in self.columns.iter_mut().zip(places) {
            let cell = place.map(cell).unwrap_or_default();
            match filling {
                Filling::Derived => {}
                Filling::Cells(texts) => {
                    if texts.push(cell).is_err() {
                        problems.add(at_line(&file.name, &file.bytes, line, "this column has more than 4 GiB of text".into()));
                    }
                }
                Filling::Times { format, times } => match read_time(cell, format) {
                    Ok(time) => times.push(time.map_or(Column::NULL_TIME, Timestamp::as_microsecond)),
                    Err((message, hint)) => {
                        times.push(Column::NULL_TIME);
                        let message = format!("column `{name}`: {message}");
                        problems.add(Problem { hint, ..at_line(&file.name, &file.bytes, line, message) });
                    }
                },
            }
        }
    }

    fn into_rows(self) -> Rows {
        let columns = self.columns.into_iter().map(|(_, filling)| match filling {
            Filling::Cells(texts) => Column::Cells(texts),
            Filling::Times { format, times } => Column::Times { micros: times, zone: format.zone.clone().unwrap_or(TimeZone::UTC) },
            Filling::Derived => Column::Plain(Vec::new()),
        });
        Rows::new(columns.collect(), self.filed, self.lacking, self.nested)
    }
}

fn takes(rule: &ColumnRule, column: &str) -> bool {
    matches!(&rule.rule, ColumnSource::From { column: taken, .. } if taken == column)
}

/// The reader stops behind a row's first line-end character; blank lines may follow.
pub(super) fn newlines_before_text(bytes: &[u8], from: usize) -> u64 {
    let ends = bytes.get(from..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    ends.filter(|byte| **byte == b'\n').count() as u64
}

/// A typed cell; an empty one is null.
fn read_time(cell: &str, format: &TimeFormat) -> Result<Option<Timestamp>, (String, Option<String>)> {
    let text = cell.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |error: &dyn std::fmt::Display| (format!("`{text}` does not fit `{}`: {error}", format.format), None);
    let parsed = BrokenDownTime::parse(&format.format, text).map_err(|_| (format!("`{text}` does not fit `{}`", format.format), None))?;
    if parsed.timestamp().is_some() || parsed.offset().is_some() {
        return parsed.to_timestamp().map(Some).map_err(|error| wrong(&error));
    }
    let civil = parsed.to_date().map_err(|error| wrong(&error))?.to_datetime(parsed.to_time().map_err(|error| wrong(&error))?);
    let Some(zone) = &format.zone else {
        let hint = "add `zone: UTC`, or the zone the times are meant in, to the column";
        return Err((format!("`{text}` has no offset, and its column no `zone:`"), Some(hint.into())));
    };
    zone.to_timestamp(civil).map(Some).map_err(|error| wrong(&error))
}

/// Derived columns in an order in which each one's ingredients are there before it: places in the table's rules.
fn order_of_derived(dimension: &str, table: &Table) -> Result<Vec<usize>, Box<Problem>> {
    let derived: Vec<(usize, &ColumnRule, &Expression)> = table.columns.iter().enumerate().filter_map(derived_rule).collect();
    let (mut order, mut waiting) = (Vec::new(), derived.clone());
    while !waiting.is_empty() {
        let blocked = |expression: &Expression| waiting.iter().find(|(_, other, _)| mentions(expression, dimension, &other.name));
        let Some(ready) = waiting.iter().position(|(_, _, expression)| blocked(expression).is_none()) else {
            return Err(Box::new(circle(dimension, &waiting)));
        };
        order.push(waiting.remove(ready).0);
    }
    Ok(order)
}

fn derived_rule((at, rule): (usize, &ColumnRule)) -> Option<(usize, &ColumnRule, &Expression)> {
    match &rule.rule {
        ColumnSource::Is(expression) => Some((at, rule, expression)),
        ColumnSource::From { .. } => None,
    }
}

fn mentions(expression: &Expression, dimension: &str, column: &str) -> bool {
    let qualified = |name: &str| name.strip_prefix(dimension).and_then(|rest| rest.strip_prefix('.')) == Some(column);
    expression.vars().iter().any(|var| var.name == column || qualified(&var.name))
}

/// Everybody waits for somebody: whoever is followed long enough stands in the circle.
fn circle(dimension: &str, waiting: &[(usize, &ColumnRule, &Expression)]) -> Problem {
    let next = |from: usize| waiting.iter().position(|(_, other, _)| mentions(waiting[from].2, dimension, &other.name)).unwrap_or(from);
    let start = (0..waiting.len()).fold(0, |at, _| next(at));
    let mut names = vec![format!("`{}`", waiting[start].1.name)];
    let mut at = next(start);
    while at != start && names.len() <= waiting.len() {
        names.push(format!("`{}`", waiting[at].1.name));
        at = next(at);
    }
    names.push(names[0].clone());
    let message = match names.len() {
        2 => format!("column {} is derived from itself", names[0]),
        _ => format!("columns are derived from each other in a circle: {}", names.join(" from ")),
    };
    Problem::error(&waiting[start].1.at, message)
}

fn derive(dimension: &Dimension, table: &Table, names: &DimensionNames, rows: &mut Rows, problems: &mut Complaints) {
    let order = match order_of_derived(&dimension.name, table) {
        Ok(order) => order,
        Err(problem) => return problems.add(*problem),
    };
    for at in order {
        let rule = &table.columns[at];
        let ColumnSource::Is(expression) = &rule.rule else { continue };
        let Some(place) = names.columns().iter().position(|column| column.name == rule.name) else { continue };
        let own = Names::row(names.clone());
        let wrong = expression.check(&own);
        if !wrong.is_empty() {
            wrong.into_iter().for_each(|error| problems.add(Problem { hint: error.hint, ..Problem::error(&rule.at, error.message) }));
            continue;
        }
        let vars = expression.vars().iter().map(|var| own.resolve(&var.name).ok()?.var.map(|var| usize::from(var.column)));
        let vars: Vec<Option<usize>> = vars.collect();
        let zone = zone_of(&vars, rows);
        let values: Vec<Option<Plain>> = (0..rows.len()).map(|row| value_in(rows, row, expression, &vars, &rule.at, problems)).collect();
        rows.set(place, Column::of_values(values, names.columns()[place].kind, zone));
    }
}

/// A derived time is written in the zone of the first typed column it comes from.
fn zone_of(vars: &[Option<usize>], rows: &Rows) -> TimeZone {
    vars.iter().flatten().find_map(|column| rows.zone(*column)).cloned().unwrap_or(TimeZone::UTC)
}

fn value_in(
    rows: &Rows,
    row: usize,
    expression: &Expression,
    vars: &[Option<usize>],
    at: &Place,
    problems: &mut Complaints,
) -> Option<Plain> {
    let scope = RowScope { rows, row, vars };
    match expression.eval(&scope) {
        Ok(value) => Plain::of(value),
        Err(error) => {
            let place = rows.place(row);
            let message = match error.origin {
                Some(_) => error.message,
                None => format!("{} (`{}`)", error.message, expression.text()),
            };
            problems.add(Problem { at: Some(place), ..Problem::error(at, message) });
            None
        }
    }
}

struct RowScope<'a> {
    rows: &'a Rows,
    row: usize,
    vars: &'a [Option<usize>],
}

impl Scope for RowScope<'_> {
    fn value(&self, at: usize, _var: &Var) -> Value<'_> {
        self.vars[at].map_or(Value::Null, |column| self.rows.value(column, self.row))
    }

    fn origin(&self, _var: &Var) -> Option<String> {
        Some(self.rows.origin(self.row))
    }
}

/// Ids name rows: each has one, and no two the same.
fn resolve_duplicates(dimension: &Dimension, table: &Table, names: &DimensionNames, rows: &mut Rows, problems: &mut Complaints) {
    let id = usize::from(names.main());
    let hasher = hashbrown::DefaultHashBuilder::default();
    let mut first_of: HashTable<usize> = HashTable::with_capacity(rows.len());
    let mut dropped = vec![false; rows.len()];
    let by = match &table.duplicates {
        Duplicates::Error => None,
        Duplicates::KeepLast { by } => Some(by.as_ref().and_then(|by| names.columns().iter().position(|column| column.name == *by))),
    };
    let mut text = String::new();
    for row in 0..rows.len() {
        text.clear();
        rows.write(id, row, &mut text);
        if text.is_empty() {
            problems.add(Problem { at: Some(rows.place(row)), ..Problem::error(&dimension.at, format!("this row has no `{}`", table.id)) });
            continue;
        }
        let mut other = String::new();
        let is_same = |earlier: &usize| match rows.text(id, *earlier) {
            Some(known) => known == text,
            None => {
                other.clear();
                rows.write(id, *earlier, &mut other);
                other == text
            }
        };
        let hash = hasher.hash_one(text.as_str());
        let Some(earlier) = first_of.find_mut(hash, is_same) else {
            // There is room for every row: nothing is hashed again.
            first_of.insert_unique(hash, row, |_| hash);
            continue;
        };
        match by {
            None => {
                let message = format!("`{}` `{text}` is the id of an earlier row too: {}", table.id, rows.origin(*earlier));
                let problem = Problem { at: Some(rows.place(row)), ..Problem::error(&dimension.at, message) };
                problems.add(problem.hint("remove one, or write `duplicates: { keep: last }`"));
            }
            Some(by) => {
                let keeps_earlier = by.is_some_and(|by| rows.comes_before(by, row, *earlier));
                let loser = if keeps_earlier { row } else { std::mem::replace(earlier, row) };
                dropped[loser] = true;
            }
        }
    }
    if dropped.contains(&true) {
        rows.drop_rows(&dropped);
    }
}

mod json_lines;
#[cfg(test)]
mod tests;
