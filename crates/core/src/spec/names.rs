//! Which names an expression or a template may use, and what each stands for.
//!
//! A dataset sees its `for` dimensions and their columns; a table's derived column sees the other columns of its row;
//! a calendar bound sees nothing but `now`, `today` and dates. A name that could mean two things is refused with both
//! meanings, never guessed (`a_name_with_two_meanings_must_be_qualified`); one that means nothing gets the nearest
//! names that do. Values are not known here: only what they will be.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use jiff::tz::TimeZone;

use super::problem::did_you_mean;
use super::{ColumnSource, Dimension, DimensionKind};

/// What is wrong with an expression or a template, and where in its text. Bytes from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanguageError {
    pub offset: usize,
    /// At least 1, also at the end of the text.
    pub length: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// A column of a dimension, by place: which dimension of `for`, which of its columns.
///
/// A list has one column (0, the value); a calendar three (0 the value, 1 `start`, 2 `end`); a table those of its
/// [`DimensionNames`], in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VarRef {
    pub dimension: u16,
    pub column: u16,
}

/// What a value is, as far as it is known before there are values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Text,
    /// Text of a CSV cell or of a list: read as a number or a time when compared with one.
    Cell,
    Number,
    Time,
    Span,
    Bool,
    Null,
    /// Shows only when evaluated.
    Unknown,
}

impl Kind {
    /// With an article, for messages.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Text => "a text",
            Kind::Cell => "a text of a table or list",
            Kind::Number => "a number",
            Kind::Time => "a time",
            Kind::Span => "a duration",
            Kind::Bool => "true or false",
            Kind::Null => "null",
            Kind::Unknown => "a value",
        }
    }
}

/// One column as names see it.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnName {
    pub name: String,
    pub kind: Kind,
}

/// Are a table's columns all known, or was its file not (or not successfully) read?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    Known,
    /// Any further name may be a column: expansion will tell.
    MayHaveMore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    List,
    Calendar,
    /// Place of the id column.
    Table {
        id: u16,
    },
}

/// The names of one dimension.
#[derive(Clone, Debug)]
pub struct DimensionNames {
    name: String,
    shape: Shape,
    columns: Vec<ColumnName>,
    rest: Columns,
    zones: Vec<TimeZone>,
}

impl DimensionNames {
    pub fn list(name: &str) -> Self {
        let columns = vec![ColumnName { name: "value".into(), kind: Kind::Cell }];
        DimensionNames { name: name.into(), shape: Shape::List, columns, rest: Columns::Known, zones: Vec::new() }
    }

    pub fn calendar(name: &str, zone: TimeZone) -> Self {
        let columns = ["value", "start", "end"].map(|name| ColumnName { name: name.into(), kind: Kind::Time }).into();
        DimensionNames { name: name.into(), shape: Shape::Calendar, columns, rest: Columns::Known, zones: vec![zone] }
    }

    /// `id` is put first if `columns` lacks it. `zones`: those of the table's typed columns.
    pub fn table(name: &str, id: &str, mut columns: Vec<ColumnName>, rest: Columns, zones: Vec<TimeZone>) -> Self {
        let at = columns.iter().position(|column| column.name == id).unwrap_or_else(|| {
            columns.insert(0, ColumnName { name: id.into(), kind: Kind::Cell });
            0
        });
        DimensionNames { name: name.into(), shape: Shape::Table { id: place(at) }, columns, rest, zones }
    }

    /// `header`: the columns in a table's files, if they could be read ([`crate::coverage::header`]).
    pub fn of(dimension: &Dimension, header: Option<&[String]>) -> Self {
        match &dimension.kind {
            DimensionKind::List(_) => Self::list(&dimension.name),
            DimensionKind::Calendar(calendar) => Self::calendar(&dimension.name, calendar.zone.clone()),
            DimensionKind::Table(table) => {
                let mut renamed = BTreeSet::new();
                let mut zones = Vec::new();
                let mut declared = Vec::new();
                for rule in &table.columns {
                    let kind = match &rule.rule {
                        ColumnSource::From { column, time } => {
                            renamed.insert(column.as_str());
                            zones.extend(time.iter().filter_map(|time| time.zone.clone()));
                            if time.is_some() { Kind::Time } else { Kind::Cell }
                        }
                        ColumnSource::Is(expression) => expression.kind(),
                    };
                    declared.push(ColumnName { name: rule.name.clone(), kind });
                }
                let own = header.unwrap_or_default().iter().filter(|name| !renamed.contains(name.as_str()));
                let own = own.filter(|name| !table.columns.iter().any(|rule| rule.name == **name));
                let mut columns: Vec<_> = own.map(|name| ColumnName { name: name.clone(), kind: Kind::Cell }).collect();
                columns.extend(declared);
                let rest = if header.is_some() { Columns::Known } else { Columns::MayHaveMore };
                Self::table(&dimension.name, &table.id, columns, rest, zones)
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn columns(&self) -> &[ColumnName] {
        &self.columns
    }

    /// The column that the dimension's bare name stands for.
    pub fn main(&self) -> u16 {
        match self.shape {
            Shape::List | Shape::Calendar => 0,
            Shape::Table { id } => id,
        }
    }

    fn is_table(&self) -> bool {
        matches!(self.shape, Shape::Table { .. })
    }
}

/// A name that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// `None`: probably a column of a table that was not read.
    pub var: Option<VarRef>,
    pub kind: Kind,
}

/// Why a name means nothing, or too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    pub message: String,
    pub hint: Option<String>,
}

/// All names of one place in the config.
#[derive(Clone, Debug, Default)]
pub struct Names {
    dimensions: Vec<DimensionNames>,
    /// Unqualified column names of tables, with everywhere they occur.
    columns: HashMap<String, Vec<VarRef>>,
    /// The names of a row: the dimension's own name says nothing.
    of_row: bool,
    zone: Option<TimeZone>,
}

impl Names {
    /// For a dataset: its `for`, in that order.
    pub fn new(dimensions: Vec<DimensionNames>) -> Self {
        let mut columns: HashMap<String, Vec<VarRef>> = HashMap::new();
        for (at, dimension) in dimensions.iter().enumerate().filter(|(_, dimension)| dimension.is_table()) {
            for (column, name) in dimension.columns.iter().enumerate() {
                columns.entry(name.name.clone()).or_default().push(VarRef { dimension: place(at), column: place(column) });
            }
        }
        let mut zones = dimensions.iter().flat_map(|dimension| &dimension.zones);
        let zone = zones.next().filter(|first| zones.all(|other| other == *first)).cloned();
        Names { dimensions, columns, of_row: false, zone }
    }

    /// For a derived column: the other columns of its table, unqualified.
    pub fn row(table: DimensionNames) -> Self {
        Names { of_row: true, ..Names::new(vec![table]) }
    }

    /// For a calendar bound.
    pub fn none() -> Self {
        Names::default()
    }

    pub fn dimensions(&self) -> &[DimensionNames] {
        &self.dimensions
    }

    /// The zone in which a time without one is meant: that of the calendars and typed columns, if all have the same.
    pub fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }

    /// `name` is `a` or `a.b`, without backticks.
    pub fn resolve(&self, name: &str) -> Result<Resolved, NameError> {
        let as_dimension = self.dimensions.iter().position(|dimension| dimension.name == name).filter(|_| !self.of_row);
        let as_columns = self.columns.get(name).map(Vec::as_slice).unwrap_or_default();
        let main = as_dimension.map(|at| VarRef { dimension: place(at), column: self.dimensions[at].main() });
        match (main, as_columns) {
            (Some(main), []) => Ok(self.found(main)),
            (Some(main), [one]) if *one == main => Ok(self.found(main)),
            (None, [one]) => Ok(self.found(*one)),
            (None, []) => self.resolve_qualified(name),
            (main, columns) => Err(self.ambiguous(name, main, columns)),
        }
    }

    /// The shortest name that stands for this column and no other.
    pub fn display(&self, var: VarRef) -> String {
        let dimension = &self.dimensions[usize::from(var.dimension)];
        let column = &dimension.columns[usize::from(var.column)].name;
        let alone = if dimension.is_table() { column.clone() } else { dimension.name.clone() };
        match self.resolve(&alone) {
            Ok(Resolved { var: Some(found), .. }) if found == var => alone,
            _ => format!("{}.{column}", dimension.name),
        }
    }

    fn found(&self, var: VarRef) -> Resolved {
        let column = &self.dimensions[usize::from(var.dimension)].columns[usize::from(var.column)];
        Resolved { var: Some(var), kind: column.kind }
    }

    fn resolve_qualified(&self, name: &str) -> Result<Resolved, NameError> {
        let qualified = self.dimensions.iter().enumerate().find_map(|(at, dimension)| {
            let column = name.strip_prefix(dimension.name.as_str())?.strip_prefix('.')?;
            Some((at, dimension, column))
        });
        let Some((at, dimension, column)) = qualified else {
            return if self.dimensions.iter().any(|dimension| dimension.rest == Columns::MayHaveMore) {
                Ok(Resolved { var: None, kind: Kind::Unknown })
            } else {
                Err(self.unknown(name))
            };
        };
        match dimension.columns.iter().position(|known| known.name == column) {
            Some(found) => Ok(self.found(VarRef { dimension: place(at), column: place(found) })),
            None if dimension.rest == Columns::MayHaveMore => Ok(Resolved { var: None, kind: Kind::Unknown }),
            None => {
                let names = dimension.columns.iter().map(|known| format!("{}.{}", dimension.name, known.name));
                let hint = nearest(name, names.collect());
                Err(NameError { message: format!("`{}` has no column `{column}`", dimension.name), hint })
            }
        }
    }

    fn ambiguous(&self, name: &str, main: Option<VarRef>, columns: &[VarRef]) -> NameError {
        let qualified = |var: &VarRef| {
            let dimension = &self.dimensions[usize::from(var.dimension)];
            format!("`{}.{}`", dimension.name, dimension.columns[usize::from(var.column)].name)
        };
        let meanings: Vec<_> = main.iter().chain(columns).map(qualified).collect();
        let message = match main {
            Some(_) => format!("`{name}` is both a dimension and a column"),
            None => format!("`{name}` is a column of more than one table"),
        };
        NameError { message, hint: Some(format!("write {}", meanings.join(" or "))) }
    }

    fn unknown(&self, name: &str) -> NameError {
        let mut names: Vec<String> = self.columns.keys().cloned().collect();
        if !self.of_row {
            names.extend(self.dimensions.iter().map(|dimension| dimension.name.clone()));
            names.extend(self.dimensions.iter().filter(|one| one.shape == Shape::Calendar).flat_map(|one| {
                let name = &one.name;
                [format!("{name}.start"), format!("{name}.end")]
            }));
        }
        names.sort();
        names.dedup();
        NameError { message: format!("nothing here is called `{name}`"), hint: nearest(name, names) }
    }
}

fn place(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}

/// "did you mean …?", or all there are if nothing is near.
pub fn nearest(wanted: &str, names: Vec<String>) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    if let Some(best) = did_you_mean(wanted, names.iter().map(String::as_str)) {
        return Some(format!("did you mean `{best}`?"));
    }
    let shown: Vec<_> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > shown.len() { format!(" and {} more", names.len() - shown.len()) } else { String::new() };
    Some(format!("there are {}{more}", shown.join(", ")))
}
