//! Small specs for the tests of this folder, made without YAML.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::tz::TimeZone;

use super::table::{TableError, TableFile, TableFiles, header};
use crate::spec::expression::{Expression, Role};
use crate::spec::names::{ColumnName, DimensionNames, Kind, Names};
use crate::spec::problem::{Place, Problem};
use crate::spec::template::{Purpose, Template};
use crate::spec::*;
use crate::time::Timestamp;

/// Files by name; a pattern with `*` matches what it begins and ends.
#[derive(Default)]
pub(super) struct Files(pub(super) BTreeMap<String, Vec<u8>>);

impl Files {
    pub(super) fn of<const N: usize>(files: [(&str, &str); N]) -> Files {
        Files(files.map(|(name, text)| (name.to_string(), text.as_bytes().to_vec())).into())
    }
}

impl TableFiles for Files {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        let matches = |name: &String| match pattern.split_once('*') {
            Some((before, after)) => name.starts_with(before) && name.ends_with(after),
            None => name == pattern,
        };
        let found = self.0.iter().filter(|(name, _)| matches(name));
        let files: Vec<_> = found.map(|(name, bytes)| TableFile { name: name.clone(), bytes: bytes.clone() }).collect();
        if files.is_empty() { Err(TableError::NoFile(pattern.into())) } else { Ok(files) }
    }
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no instant"))
}

pub(super) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|_| panic!("`{name}` is no zone"))
}

fn place(what: &str) -> Place {
    Place { file: format!("adce.yaml ({what})").as_str().into(), line: 1, column: 1, length: 1 }
}

/// A spec that grows by dimensions and datasets.
pub(super) struct Sample {
    pub(super) spec: Spec,
    pub(super) files: Files,
}

impl Sample {
    pub(super) fn new(files: Files) -> Sample {
        let spec = Spec {
            name: "sample".into(),
            lake: LakeUrl::Folder(PathBuf::from("/lake")),
            reports: None,
            events: Default::default(),
            state: StateUrl::Sqlite(PathBuf::from("/state.db")),
            folder: PathBuf::from("/"),
            sources: Default::default(),
            limits: Limits::default(),
            baseline: None,
            others: Default::default(),
            gateway: Default::default(),
            dimensions: Default::default(),
            datasets: Default::default(),
            collectors: Default::default(),
            jobs: Default::default(),
            maintenance: Default::default(),
            engine: Engine::default(),
            server: Default::default(),
            weighting: Weighting::default(),
        };
        Sample { spec, files }
    }

    fn dimension(mut self, name: &str, kind: DimensionKind) -> Sample {
        self.spec.dimensions.insert(name.into(), Dimension { name: name.into(), kind, at: place(name) });
        self
    }

    pub(super) fn list(self, name: &str, values: &[&str]) -> Sample {
        self.dimension(name, DimensionKind::List(values.iter().map(|value| value.to_string()).collect()))
    }

    pub(super) fn calendar(self, name: &str, from: &str, to: &str, every: Every, zone: TimeZone) -> Sample {
        self.dimension(name, DimensionKind::Calendar(calendar(from, to, every, zone)))
    }

    /// `columns`: name, and `from COLUMN`, `from COLUMN time FORMAT zone ZONE` or `is EXPRESSION`.
    pub(super) fn table(self, name: &str, path: &str, id: &str, columns: &[(&str, &str)]) -> Sample {
        self.table_with(name, path, id, columns, Duplicates::Error)
    }

    pub(super) fn table_with(self, name: &str, path: &str, id: &str, columns: &[(&str, &str)], duplicates: Duplicates) -> Sample {
        let mut table = Table { path: path.into(), lake: None, rows: None, id: id.into(), columns: Vec::new(), duplicates };
        let header = header(&table, &self.files).unwrap_or_default();
        let mut known: Vec<ColumnName> = header.iter().map(|name| ColumnName { name: name.clone(), kind: Kind::Cell }).collect();
        for (column, rule) in columns {
            known.retain(|known| known.name != *column);
            let kind = if rule.starts_with("is ") { Kind::Unknown } else { Kind::Cell };
            let kind = if rule.contains(" time ") { Kind::Time } else { kind };
            known.push(ColumnName { name: column.to_string(), kind });
        }
        let row = Names::row(DimensionNames::table(name, id, known, names::Columns::Known, Vec::new()));
        for (column, rule) in columns {
            let rule = match rule.strip_prefix("is ") {
                Some(text) => ColumnSource::Is(Expression::parse(text, &row, Role::Column).unwrap_or_else(|errors| panic!("{errors:#?}"))),
                None => from(rule),
            };
            table.columns.push(ColumnRule { name: column.to_string(), rule, references: None, at: place(column) });
        }
        self.dimension(name, DimensionKind::Table(table))
    }

    pub(super) fn dataset(self, name: &str, key: &str, dimensions: &[&str]) -> Sample {
        self.dataset_where(name, key, dimensions, None)
    }

    pub(super) fn dataset_where(mut self, name: &str, key: &str, dimensions: &[&str], only: Option<&str>) -> Sample {
        let only = only.map(|text| self.expression(dimensions, text, Role::Where));
        let dataset = Dataset {
            name: name.into(),
            source: None,
            key: Template::parse(key, Purpose::Key).unwrap_or_else(|errors| panic!("{errors:#?}")),
            set: None,
            also: Vec::new(),
            dimensions: dimensions.iter().map(|name| name.to_string()).collect(),
            only,
            since: None,
            due: None,
            expires: None,
            fresh: None,
            needs: Vec::new(),
            min_size: 1,
            max_size: None,
            require: None,
            valid: None,
            absent: AbsentPolicy::default(),
            known: None,
            priority: Priority::Always(PriorityLevel::Medium),
            collector: None,
            at: place(name),
            key_at: place(&format!("key of {name}")),
            fingerprint: 0,
        };
        self.spec.datasets.insert(name.into(), dataset);
        self
    }

    /// As the config reader would read it for a dataset with these dimensions.
    pub(super) fn expression(&self, dimensions: &[&str], text: &str, role: Role) -> Expression {
        let names = dimensions.iter().map(|name| {
            let dimension = &self.spec.dimensions[*name];
            let header = match &dimension.kind {
                DimensionKind::Table(table) => header(table, &self.files).ok(),
                _ => None,
            };
            DimensionNames::of(dimension, header.as_deref())
        });
        Expression::parse(text, &Names::new(names.collect()), role).unwrap_or_else(|errors| panic!("`{text}`: {errors:#?}"))
    }

    pub(super) fn expand(&self, now: &str) -> Result<super::Expected, Vec<Problem>> {
        super::expand(&self.spec, &self.files, at(now))
    }

    /// Each problem on a line: place, message, note, hint.
    pub(super) fn problems(&self) -> String {
        match self.expand("2024-12-01T00:00:00Z") {
            Ok(expected) => panic!("nothing is wrong, and {} items are expected", expected.len()),
            Err(problems) => problems.iter().map(shown).collect::<Vec<_>>().join("\n"),
        }
    }
}

fn shown(problem: &Problem) -> String {
    let mut text = problem.at.as_ref().map(|at| format!("{}:{}: ", at.file, at.line)).unwrap_or_default();
    text.push_str(&problem.message);
    text.extend(problem.note.iter().map(|note| format!(" -- {note}")));
    text.extend(problem.hint.iter().map(|hint| format!(" (hint: {hint})")));
    text
}

pub(super) fn calendar(from: &str, to: &str, every: Every, zone: TimeZone) -> Calendar {
    let bound = |text: &str| Expression::parse(text, &Names::none(), Role::Bound).unwrap_or_else(|errors| panic!("`{text}`: {errors:#?}"));
    Calendar { from: bound(from), to: bound(to), every, zone }
}

fn from(rule: &str) -> ColumnSource {
    let rule = rule.strip_prefix("from ").expect("a rule begins with `from` or `is`");
    let Some((column, time)) = rule.split_once(" time ") else {
        return ColumnSource::From { column: rule.into(), time: None };
    };
    let (format, zone) = match time.split_once(" zone ") {
        Some((format, name)) => (format, Some(self::zone(name))),
        None => (time, None),
    };
    ColumnSource::From { column: column.into(), time: Some(TimeFormat { format: format.into(), zone }) }
}
