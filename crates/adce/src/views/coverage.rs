//! Coverage as it is told to whoever asks, from a running engine or after one look alike.

use adce_api::{Counts, CoverageAsk, CoverageAxis, CoverageCell, CoverageReport, DatasetCoverage, health};
use adce_core::coverage::{Axis, Coverage, Expected, Rollup, RollupAxis, RollupError, rollup, usual_axes};
use adce_core::spec::Spec;
use adce_core::spec::names::nearest;
use adce_core::time::Timestamp;
use indexmap::IndexMap;

/// What is known when somebody asks.
pub struct Seen<'a> {
    pub spec: &'a Spec,
    pub lake: String,
    pub at: Timestamp,
    pub expected: &'a Expected,
    pub coverage: &'a Coverage,
    pub datasets: IndexMap<String, DatasetCoverage>,
    /// Part of the lake could not be listed, or something is held.
    pub held: Vec<String>,
}

pub fn coverage(seen: Seen<'_>, ask: &CoverageAsk) -> Result<CoverageReport, RollupError> {
    let Seen { spec, expected, coverage, mut datasets, .. } = seen;
    let meant = meant(expected, ask.dataset.as_deref())?;
    let axes = axes(expected, &meant, ask)?;
    let rollup = if axes.is_empty() { None } else { Some(rollup(expected, spec, coverage, &meant, &axes)?) };
    if let Some(only) = &ask.dataset {
        datasets.retain(|name, _| name == only);
    }
    let mut all = Counts::default();
    datasets.values().for_each(|dataset| all += dataset.counts);
    let listed = datasets.values().all(|dataset| dataset.listing_error.is_none());
    let told = rollup.map(told).unwrap_or_default();
    Ok(CoverageReport {
        name: spec.name.clone(),
        lake: seen.lake,
        at: seen.at,
        dataset: ask.dataset.clone(),
        complete: all.items.is_complete() && listed && seen.held.is_empty(),
        healthy: health(datasets.values()),
        coverage: all,
        datasets,
        by: told.by,
        cells: told.cells,
        left_out: told.left_out,
        held: seen.held,
        trend: IndexMap::new(),
    })
}

/// Places of the datasets that are asked for.
fn meant(expected: &Expected, named: Option<&str>) -> Result<Vec<usize>, RollupError> {
    let datasets = expected.datasets();
    let Some(named) = named else { return Ok((0..datasets.len()).collect()) };
    match datasets.iter().position(|dataset| dataset.name() == named) {
        Some(at) => Ok(vec![at]),
        None => Err(RollupError {
            message: format!("no dataset is called `{named}`"),
            hint: nearest(named, datasets.iter().map(|dataset| dataset.name().to_owned()).collect()),
        }),
    }
}

fn axes(expected: &Expected, meant: &[usize], ask: &CoverageAsk) -> Result<Vec<Axis>, RollupError> {
    match (ask.by.as_slice(), meant, &ask.dataset) {
        ([], [only], Some(_)) => Ok(usual_axes(expected, &expected.datasets()[*only])),
        ([], ..) => Ok(Vec::new()),
        ([_, _, _, ..], ..) => Err(RollupError {
            message: "coverage is counted by two names at most".into(),
            hint: Some("ask once for each pair: `--by season,team`, `--by season,month`".into()),
        }),
        (by, ..) => by.iter().map(|by| Axis::parse(by)).collect(),
    }
}

#[derive(Default)]
struct Told {
    by: Vec<CoverageAxis>,
    cells: Vec<CoverageCell>,
    left_out: Vec<String>,
}

fn told(rollup: Rollup) -> Told {
    let cells = rollup
        .filled()
        .map(|(values, items)| CoverageCell { values: values.into_iter().map(|value| value.map(str::to_owned)).collect(), items: *items });
    let cells = cells.collect();
    let axis = |RollupAxis { name, pace, buckets }| {
        let pace = pace.map(|pace| adce_core::coverage::Pace::word(pace).to_owned());
        CoverageAxis { name, pace, values: buckets }
    };
    Told { cells, left_out: rollup.left_out, by: rollup.axes.into_iter().map(axis).collect() }
}
