//! From a spec and the files of its tables to all expected items, or everything that is wrong with them.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::also::{Indexed, OlderPlaces};
use super::collisions::Collisions;
use super::keys::{Keys, Of};
use super::pick_ups;
use super::sets::SetPlaces;
use super::{Across, Expected, ExpectedDataset, Fed, describe};
use crate::coverage::known::Known;
use crate::coverage::needs::Need;
use crate::coverage::picture::Picture;
use crate::coverage::reader::Columns;
use crate::coverage::references;
use crate::coverage::table::TableFiles;
use crate::coverage::values::DimensionValues;
use crate::coverage::writer::{Digits, KeyWriter, MOST_DIMENSIONS};
use crate::figures::grouped;
use crate::spec::expression::{Expression, Scope, Value, Var};
use crate::spec::names::{LanguageError, Names, VarRef};
use crate::spec::problem::{Place, Problem};
use crate::spec::{ColumnSource, Dataset, Dimension, DimensionKind, Freshness, Limits, Priority, Spec};
use crate::time::Timestamp;

/// Wrong items of one dataset are named up to so many.
const MOST_NAMED: usize = 10;

/// Every item that the spec expects, or all that is wrong with them. A dimension without values is wrong.
pub fn expand(spec: &Spec, files: &dyn TableFiles, now: Timestamp) -> Result<Expected, Vec<Problem>> {
    expand_after(None, spec, files, now)
}

/// As [`expand`], but a table that was read for the accepted picture may have become empty meanwhile: that is a surprise
/// to be judged (see `surprises`), or one that was accepted, and no mistake in the config.
pub fn expand_after(accepted: Option<&Picture>, spec: &Spec, files: &dyn TableFiles, now: Timestamp) -> Result<Expected, Vec<Problem>> {
    let was_read = |name: &str| accepted.is_some_and(|picture| picture.table_rows.contains_key(name));
    let mut problems = Vec::new();
    let mut dimensions = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (name, dimension) in &spec.dimensions {
        match DimensionValues::read(dimension, files, now) {
            Ok(values) if values.len() == 0 && !(values.rows().is_some() && (was_read(name) || dimension.is_derived())) => {
                problems.push(no_values(dimension));
            }
            Ok(values) => {
                places.insert(name, dimensions.len());
                dimensions.push(values);
            }
            Err(wrong) => problems.extend(wrong),
        }
    }
    problems.extend(references::problems(spec, &dimensions, &places));
    let mut builder = Builder {
        dimensions,
        datasets: Vec::new(),
        keys: Keys::default(),
        columns: Columns::default(),
        collisions: Collisions::default(),
        next: 0,
    };
    for dataset in spec.datasets.values() {
        // What is wrong with a dimension was said; its datasets would only repeat it.
        let of: Option<Vec<usize>> = dataset.dimensions.iter().map(|name| places.get(name.as_str()).copied()).collect();
        if let Some(of) = of {
            builder.add(spec, dataset, of, &mut problems);
        }
    }
    let older = builder.older_places(spec);
    let older = older.unwrap_or_else(|wrong| {
        problems.extend(wrong);
        OlderPlaces::default()
    });
    let sets = builder.set_places(spec).unwrap_or_else(|wrong| {
        problems.extend(wrong);
        SetPlaces::default()
    });
    problems.extend(builder.collisions.problems(spec, &builder.datasets, &builder.dimensions));
    problems.extend(pick_ups::problems(spec, &builder.datasets, &builder.dimensions));
    if !problems.is_empty() {
        return Err(problems);
    }
    let table_rows = table_rows(&builder.dimensions);
    let needs = builder.needs(spec);
    let fed = builder.fed(spec, files);
    let expected = Expected {
        table_rows,
        prefixes: prefixes(spec),
        dimensions: builder.dimensions,
        datasets: builder.datasets,
        keys: builder.keys,
        older,
        sets,
        needs,
        fed,
        known: Known::default(),
    };
    expected.with_known(spec, files)
}

fn no_values(dimension: &Dimension) -> Problem {
    let hint = match &dimension.kind {
        DimensionKind::Table(table) => format!("`{}` has a header and no rows", table.path),
        _ => "give it at least one value".into(),
    };
    Problem::error(&dimension.at, format!("dimension `{}` has no values", dimension.name)).hint(hint)
}

fn table_rows(dimensions: &[DimensionValues]) -> BTreeMap<String, u64> {
    let tables = dimensions.iter().filter_map(|values| Some((values.names.name().to_string(), values.rows()?.len() as u64)));
    tables.collect()
}

/// The shortest set of prefixes that covers every dataset's.
fn prefixes(spec: &Spec) -> Vec<String> {
    let mut all: Vec<&str> = spec.datasets.values().flat_map(Dataset::literal_prefixes).collect();
    all.sort_unstable();
    let mut shortest: Vec<String> = Vec::new();
    for prefix in all {
        // Sorted, so whatever begins with an earlier one follows it without a gap.
        if shortest.last().is_none_or(|last| !prefix.starts_with(last.as_str())) {
            shortest.push(prefix.to_string());
        }
    }
    shortest
}

struct Builder {
    dimensions: Vec<DimensionValues>,
    datasets: Vec<ExpectedDataset>,
    keys: Keys,
    /// Of which is known by now what their texts have in common.
    columns: Columns,
    collisions: Collisions,
    /// Place of the next item.
    next: u32,
}

impl Builder {
    fn add(&mut self, spec: &Spec, dataset: &Dataset, of: Vec<usize>, problems: &mut Vec<Problem>) {
        let before = problems.len();
        let names = Names::new(of.iter().map(|at| self.dimensions[*at].names.clone()).collect());
        self.check_names(dataset, &names, problems);
        self.check_by(spec, dataset, &names, problems);
        self.check_lacking(spec, dataset, &of, &names, problems);
        let product = match self.product(dataset, &of) {
            Ok(product) => product,
            Err(problem) => return problems.push(*problem),
        };
        let across = Across::new(&self.dimensions, &of);
        let writer = match KeyWriter::new(&dataset.key, &names, across.as_slice()) {
            Ok(writer) => writer,
            Err(errors) => return problems.extend(errors.into_iter().map(|error| wrong_name(dataset, "key", &dataset.key_at, error))),
        };
        let older = dataset.also.iter().filter_map(|also| match KeyWriter::new(&also.template, &names, across.as_slice()) {
            Ok(writer) => Some(writer),
            Err(errors) => {
                problems.extend(errors.into_iter().map(|error| wrong_name(dataset, "also", &also.at, error)));
                None
            }
        });
        let older = older.collect();
        if problems.len() > before {
            return;
        }
        let mut sizes = [1; MOST_DIMENSIONS];
        of.iter().enumerate().for_each(|(at, dimension)| sizes[at] = self.dimensions[*dimension].len() as u32);
        let (vars, shown) = all_names(&names);
        let mut expected = ExpectedDataset {
            name: dataset.name.clone(),
            items: self.next..self.next,
            dimensions: of,
            sizes,
            kept: None,
            writer,
            older,
            names,
            vars,
            shown,
        };
        if let Some(only) = &dataset.only {
            match self.filter(dataset, &expected, only, product) {
                Ok(kept) => expected.kept = Some(kept),
                Err(wrong) => return problems.extend(wrong),
            }
        }
        let count = expected.kept.as_ref().map_or(product, |kept| kept.len() as u32);
        let Some(end) = self.next.checked_add(count).filter(|end| *end < u32::MAX) else {
            return problems.push(Problem::error(&dataset.at, "all datasets together have more than 4,294,967,294 items"));
        };
        expected.items.end = end;
        self.next = end;
        self.datasets.push(expected);
        let Builder { dimensions, datasets, keys, columns, collisions, .. } = self;
        problems.extend(keys.add_last(Of { dimensions, datasets }, dataset, columns, collisions));
    }

    fn needs(&self, spec: &Spec) -> Vec<Need> {
        let place = |name: &str| self.datasets.iter().position(|dataset| dataset.name == name);
        let needs = self.datasets.iter().enumerate().flat_map(|(child, dataset)| {
            spec.datasets[&dataset.name].needs.iter().filter_map(move |needed| Some((child, place(&needed.dataset)?, needed)))
        });
        let needs = needs.map(|(child, parent, needed)| {
            let of = (self.datasets[child].dimensions.as_slice(), self.datasets[parent].dimensions.as_slice());
            Need::of((child, parent), &needed.within, &self.dimensions, of)
        });
        needs.collect()
    }

    fn fed(&self, spec: &Spec, files: &dyn TableFiles) -> Vec<Fed> {
        let place = |name: &str| self.datasets.iter().position(|dataset| dataset.name == name);
        let fed = self.datasets.iter().enumerate().flat_map(|(dataset, of)| {
            let tables = spec.datasets[&of.name].dimensions.iter().filter_map(|name| Some((name, spec.dimensions.get(name)?.rows()?)));
            tables.filter_map(move |(dimension, rows)| Some((dataset, dimension, place(&rows.dataset)?)))
        });
        let fed = fed.map(|(dataset, dimension, by)| Fed {
            dataset,
            by,
            dimension: dimension.clone(),
            unread: files.kept_rows(dimension).unread,
        });
        fed.collect()
    }

    fn older_places(&self, spec: &Spec) -> Result<OlderPlaces, Vec<Problem>> {
        let Builder { dimensions, datasets, keys, .. } = self;
        Indexed { spec, dimensions, datasets, keys }.older_places()
    }

    fn set_places(&self, spec: &Spec) -> Result<SetPlaces, Vec<Problem>> {
        let Builder { dimensions, datasets, keys, .. } = self;
        Indexed { spec, dimensions, datasets, keys }.set_places()
    }

    /// A task has one value of what its source's limits are told apart by, so its items must have one.
    fn check_by(&self, spec: &Spec, dataset: &Dataset, names: &Names, problems: &mut Vec<Problem>) {
        let source = dataset.source.as_ref().filter(|_| dataset.collector.is_some()).and_then(|name| spec.sources.get(name));
        let Some((source, by)) = source.and_then(|source| Some((source, source.by.as_ref()?))) else { return };
        if let Err(error) = names.resolve(&by.name) {
            let what = if by.limits == Limits::default() { "the breaker of its source" } else { "limits of its source" };
            let is = if by.limits == Limits::default() { "is" } else { "are" };
            let message = format!(
                "dataset `{}`: {what} `{}` {is} `by: {}`, and its items have no such thing: {}",
                dataset.name, source.name, by.name, error.message
            );
            let hint = format!("put `{0}` into `for`, add a column `{0}` to its table, or give it a source without `by`", by.name);
            problems.push(Problem::error(&dataset.at, message).hint(hint));
        }
    }

    /// The names of every expression, now that all tables were read.
    fn check_names(&self, dataset: &Dataset, names: &Names, problems: &mut Vec<Problem>) {
        for (what, expression) in expressions(dataset) {
            problems.extend(expression.check(names).into_iter().map(|error| wrong_name(dataset, what, &dataset.at, error)));
        }
    }

    /// A column that one of a table's files lacks is null there. If something of this dataset depends on it, its rows
    /// would silently fall out.
    fn check_lacking(&self, spec: &Spec, dataset: &Dataset, of: &[usize], names: &Names, problems: &mut Vec<Problem>) {
        let mut used = KeyWriter::vars(&dataset.key, names);
        used.extend(dataset.also.iter().flat_map(|also| KeyWriter::vars(&also.template, names)));
        let mentioned = |expression: &Expression, names: &Names| -> Vec<VarRef> {
            expression.vars().iter().filter_map(|var| names.resolve(&var.name).ok()?.var).collect()
        };
        used.extend(expressions(dataset).iter().flat_map(|(_, expression)| mentioned(expression, names)));
        for (at, dimension) in of.iter().enumerate() {
            let values = &self.dimensions[*dimension];
            let Some(rows) = values.rows().filter(|rows| !rows.lacking.is_empty() || !rows.nested.is_empty()) else { continue };
            let mut columns: Vec<u16> = used.iter().filter(|var| usize::from(var.dimension) == at).map(|var| var.column).collect();
            if let Some(DimensionKind::Table(table)) = spec.dimensions.get(values.names.name()).map(|dimension| &dimension.kind) {
                let own = Names::row(values.names.clone());
                for rule in &table.columns {
                    if let ColumnSource::Is(expression) = &rule.rule {
                        columns.extend(mentioned(expression, &own).iter().map(|var| var.column));
                    }
                }
            }
            for (column, place) in rows.nested.iter().filter(|(column, _)| columns.iter().any(|used| usize::from(*used) == *column)) {
                let name = &values.names.columns()[*column].name;
                let message = format!("column `{name}` holds an object or a list here, and dataset `{}` uses it", dataset.name);
                problems.push(Problem::error(place, message).hint("a cell is a text, a number, true, false or null"));
            }
            for (column, file) in rows.lacking.iter().filter(|(column, _)| columns.iter().any(|used| usize::from(*used) == *column)) {
                let name = &values.names.columns()[*column].name;
                let message = format!("`{file}` has no column `{name}`, which dataset `{}` uses", dataset.name);
                problems.push(Problem::error(&Place { file: file.as_str().into(), line: 1, column: 1, length: 1 }, message));
            }
        }
    }

    fn product(&self, dataset: &Dataset, of: &[usize]) -> Result<u32, Box<Problem>> {
        if of.is_empty() || of.len() > MOST_DIMENSIONS {
            let message = format!("dataset `{}` is for {} dimensions, and 1 to {MOST_DIMENSIONS} are possible", dataset.name, of.len());
            return Err(Box::new(Problem::error(&dataset.at, message)));
        }
        let sizes = of.iter().map(|dimension| self.dimensions[*dimension].len() as u64);
        let product = sizes.clone().try_fold(1_u64, u64::checked_mul);
        product.and_then(|product| u32::try_from(product).ok()).filter(|product| *product < u32::MAX).ok_or_else(|| {
            let sizes: Vec<String> = sizes.map(grouped).collect();
            let message = format!("dataset `{}` has {} combinations: too many", dataset.name, sizes.join(" × "));
            Box::new(Problem::error(&dataset.at, message).hint("at most 4,294,967,294 are possible, before `where`"))
        })
    }

    fn filter(&self, dataset: &Dataset, expected: &ExpectedDataset, only: &Expression, product: u32) -> Result<Vec<u32>, Vec<Problem>> {
        let vars: Vec<_> = only.vars().iter().map(|var| expected.vars.get(var.name.as_str()).copied()).collect();
        let across = Across::new(&self.dimensions, &expected.dimensions);
        let mut scope = RankScope { across: &across, digits: [0; MOST_DIMENSIONS], vars: &vars };
        let mut wrong = Wrong::default();
        let mut kept = Vec::new();
        for rank in 0..product {
            match only.holds(&scope) {
                Ok(true) => kept.push(rank),
                Ok(false) => {}
                Err(error) => wrong.add(|| Problem::error(&dataset.at, format!("dataset `{}`: `where`: {error}", dataset.name))),
            }
            advance(&mut scope.digits, &expected.sizes, expected.dimensions.len());
        }
        kept.shrink_to_fit();
        wrong.into_result(kept)
    }
}

pub(super) fn unwritable(dataset: &Dataset, across: &Across<'_>, digits: &Digits, error: &crate::spec::template::FillError) -> Problem {
    let message = format!("dataset `{}`: no key for {}: {}", dataset.name, describe(across, digits), error.message);
    let origin = across.as_slice().iter().zip(digits).find_map(|(values, at)| values.origin(*at as usize));
    let problem = Problem::error(&dataset.key_at, message).hint("leave such items out with `where`, or use another column");
    match origin {
        Some(origin) => problem.note(origin),
        None => problem,
    }
}

fn wrong_name(dataset: &Dataset, what: &str, at: &Place, error: LanguageError) -> Problem {
    let problem = Problem::error(at, format!("dataset `{}`: `{what}`: {}", dataset.name, error.message));
    Problem { hint: error.hint, ..problem }
}

/// All expressions of a dataset, with the keys they stand under.
fn expressions(dataset: &Dataset) -> Vec<(&'static str, &Expression)> {
    let mut all = Vec::new();
    all.extend(dataset.only.iter().map(|only| ("where", only)));
    all.extend(dataset.due.iter().map(|due| ("due", due)));
    all.extend(dataset.expires.iter().map(|expires| ("expires", expires)));
    match &dataset.fresh {
        None => {}
        Some(Freshness::Within { until, .. }) => all.extend(until.iter().map(|until| ("fresh.until", until))),
        Some(Freshness::At(instants)) => all.extend(instants.iter().map(|at| ("fresh.at", at))),
    }
    if let Priority::When(rules) = &dataset.priority {
        all.extend(rules.iter().map(|(_, rule)| ("priority", rule)));
    }
    all
}

/// Every way to name a column, and the names under which an item's values are shown.
fn all_names(names: &Names) -> (HashMap<String, VarRef>, Vec<(String, VarRef)>) {
    let (mut vars, mut shown) = (HashMap::new(), Vec::new());
    for (at, dimension) in names.dimensions().iter().enumerate() {
        let var = |column: usize| VarRef { dimension: at as u16, column: column as u16 };
        for (column, known) in dimension.columns().iter().enumerate() {
            let display = names.display(var(column));
            vars.insert(format!("{}.{}", dimension.name(), known.name), var(column));
            vars.insert(display.clone(), var(column));
            shown.push((display, var(column)));
        }
        let main = var(usize::from(dimension.main()));
        if names.resolve(dimension.name()).is_ok_and(|found| found.var == Some(main)) {
            vars.insert(dimension.name().to_string(), main);
            if !shown.iter().any(|(name, _)| name == dimension.name()) {
                shown.push((dimension.name().to_string(), main));
            }
        }
    }
    (vars, shown)
}

/// To the next combination; the last dimension changes fastest.
fn advance(digits: &mut Digits, sizes: &Digits, count: usize) {
    for at in (0..count).rev() {
        digits[at] += 1;
        if digits[at] < sizes[at] {
            return;
        }
        digits[at] = 0;
    }
}

/// A combination's values, with every name already looked up.
struct RankScope<'a> {
    across: &'a Across<'a>,
    digits: Digits,
    vars: &'a [Option<VarRef>],
}

impl Scope for RankScope<'_> {
    fn value(&self, at: usize, _var: &Var) -> Value<'_> {
        let Some(var) = self.vars[at] else { return Value::Null };
        let dimension = usize::from(var.dimension);
        self.across.values[dimension].value(var.column, self.digits[dimension] as usize)
    }

    fn origin(&self, var: &Var) -> Option<String> {
        let names = Names::new(self.across.as_slice().iter().map(|values| values.names.clone()).collect());
        let dimension = usize::from(names.resolve(&var.name).ok()?.var?.dimension);
        self.across.values[dimension].origin(self.digits[dimension] as usize)
    }
}

/// Problems of one dataset's items: a few by name, the rest by number.
#[derive(Default)]
pub(in crate::coverage) struct Wrong {
    named: Vec<Problem>,
    more: u64,
}

impl Wrong {
    pub(in crate::coverage) fn add(&mut self, problem: impl FnOnce() -> Problem) {
        if self.named.len() < MOST_NAMED { self.named.push(problem()) } else { self.more += 1 }
    }

    pub(in crate::coverage) fn into_result<T>(mut self, result: T) -> Result<T, Vec<Problem>> {
        if self.named.is_empty() {
            return Ok(result);
        }
        if let (Some(last), true) = (self.named.last_mut(), self.more > 0) {
            last.note = Some(format!("and {} more items like these", grouped(self.more)));
        }
        Err(self.named)
    }
}
