//! `adce coverage`: where the holes are, as a table, a heat map or a picture. A running engine is asked; without one, one
//! look at the lake tells.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_api::{CoverageAsk, CoverageReport, TrendLine, UnexpectedFolder};
use adce_core::coverage::{RollupError, TrendPoint};
use adce_core::spec::Spec;
use clap::Args;
use indexmap::IndexMap;

use crate::cli::AnyFormat;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::picture;
use crate::screen::{self, Paper};
use crate::survey::Survey;
use crate::views;
use crate::wiring::lake_words;

#[derive(Args, Debug)]
pub struct CoverageArgs {
    /// Of this one alone; of all otherwise.
    pub dataset: Option<String>,

    /// Counted by one name or two: source, dataset, a dimension or a column of one, day, week, month, year, or COLUMN:month.
    #[arg(long, value_name = "NAME[,NAME]", value_delimiter = ',')]
    pub by: Vec<String>,

    /// Into this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// How complete each dataset was over time, as `adce run` saw it.
    #[arg(long, conflicts_with = "by")]
    pub trend: bool,

    /// Objects that no dataset expects, by folder.
    #[arg(long, conflicts_with_all = ["by", "trend"])]
    pub unexpected: bool,

    /// Each value, however many there are; a screen or picture puts neighbours together otherwise.
    #[arg(long)]
    pub all: bool,
}

pub async fn run(args: &CoverageArgs, spec: Arc<Spec>, format: AnyFormat) -> Result<Exit, Failure> {
    let asked = CoverageAsk { dataset: args.dataset.clone(), by: args.by.clone() };
    let mut report = match ask::engine(&spec)? {
        Some(mut engine) => ask::answered(engine.coverage(&asked))?,
        None => looked(spec.clone(), &asked).await?,
    };
    if args.trend {
        report.trend = trend(&spec, args.dataset.as_deref())?;
    }
    match &args.output {
        Some(path) => write_file(path, &printed(&report, args, format, Some(screen::WIDE), false)?)?,
        None => {
            let mut paper = Paper::stdout();
            let (width, colours) = (paper.width(), console::colors_enabled());
            let printed = printed(&report, args, format, width, colours)?;
            paper.write(|out| out.write_all(&printed))?;
            paper.finish()?;
        }
    }
    let partly = report.datasets.values().any(|dataset| dataset.listing_error.is_some());
    Ok(match (partly, report.complete) {
        (true, _) => Exit::Unfinished,
        (false, true) => Exit::Complete,
        (false, false) => Exit::GapsRemain,
    })
}

async fn looked(spec: Arc<Spec>, asked: &CoverageAsk) -> Result<CoverageReport, Failure> {
    let survey = Survey::of(spec.clone()).await?;
    let seen = views::Seen {
        spec: &spec,
        lake: lake_words(&spec.lake),
        at: survey.coverage.at,
        expected: &survey.expected,
        coverage: &survey.coverage,
        datasets: survey.datasets(),
        held: survey.surprises.clone(),
    };
    views::coverage(seen, asked).map_err(|RollupError { message, hint }| {
        let failure = Failure::new(Exit::Usage, message);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })
}

/// As the state has it, whoever writes it: readers shut nobody out.
pub fn trend(spec: &Spec, dataset: Option<&str>) -> Result<IndexMap<String, Vec<TrendLine>>, Failure> {
    let mut points = ask::state(spec)?.map(|state| state.trend()).transpose()?.unwrap_or_default();
    let line = |point: TrendPoint| {
        let TrendPoint { at, present, wanted } = point;
        TrendLine { at, present, wanted, completeness: point.completeness() }
    };
    // In the order of the config; what it does not have any more is history.
    let named = spec.datasets.keys().filter(|name| dataset.is_none_or(|dataset| dataset == name.as_str()));
    let trend = named.filter_map(|name| Some((name.clone(), points.remove(name)?.into_iter().map(line).collect())));
    Ok(trend.collect())
}

fn printed(
    report: &CoverageReport,
    args: &CoverageArgs,
    format: AnyFormat,
    width: Option<usize>,
    colours: bool,
) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let unfinished = |error: &dyn std::error::Error| Failure::caused(Exit::Unfinished, error);
    match format {
        AnyFormat::Json => {
            serde_json::to_writer(&mut out, report).map_err(|error| unfinished(&error))?;
            out.push(b'\n');
        }
        AnyFormat::Text if args.trend => screen::trend::write(report, width, &mut out).map_err(|error| unfinished(&error))?,
        AnyFormat::Text if args.unexpected => screen::coverage::unexpected(report, width, &mut out).map_err(|error| unfinished(&error))?,
        AnyFormat::Text => screen::coverage::write(report, width, colours, args.all, &mut out).map_err(|error| unfinished(&error))?,
        AnyFormat::Csv if args.trend => trend_csv(report, &mut out).map_err(|error| unfinished(&error))?,
        AnyFormat::Csv if args.unexpected => unexpected_csv(report, &mut out).map_err(|error| unfinished(&error))?,
        AnyFormat::Csv => csv(report, &mut out).map_err(|error| unfinished(&error))?,
        AnyFormat::Svg | AnyFormat::Png if args.unexpected => {
            return Err(Failure::new(Exit::Usage, "there is no picture of unexpected objects").hint("text, json or csv tell of them"));
        }
        AnyFormat::Svg => out.extend(picture::svg(report, args.trend, args.all).into_bytes()),
        AnyFormat::Png => out = picture::png(report, args.trend, args.all).map_err(|error| unfinished(&error))?,
    }
    Ok(out)
}

/// A row a cell; without anything to count by, a row a dataset.
fn csv(report: &CoverageReport, out: &mut Vec<u8>) -> Result<(), csv::Error> {
    let mut table = csv::Writer::from_writer(out);
    let names = match report.by.is_empty() {
        true => vec!["dataset"],
        false => report.by.iter().map(|axis| axis.name.as_str()).collect(),
    };
    let figures = [
        "expected",
        "present",
        "missing",
        "stale",
        "undersized",
        "suspect",
        "absent",
        "unknown",
        "not_due",
        "expired",
        "out_of_scope",
        "completeness",
    ];
    table.write_record(names.into_iter().chain(figures))?;
    let datasets = report.datasets.iter().filter(|_| report.by.is_empty());
    let datasets = datasets.map(|(name, dataset)| (vec![name.clone()], dataset.counts.items));
    let cells = report.cells.iter().map(|cell| (cell.values.iter().map(|value| value.clone().unwrap_or_default()).collect(), cell.items));
    for (values, items) in datasets.chain(cells) {
        let figures = [
            items.expected(),
            items.present,
            items.missing,
            items.stale,
            items.undersized,
            items.suspect,
            items.absent,
            items.unknown,
            items.not_due,
            items.expired,
            items.out_of_scope,
        ];
        // As many digits as a share has: nothing is rounded to 1.
        let share = if items.wanted() > 0 { items.completeness().to_string() } else { String::new() };
        let figures = figures.iter().map(u64::to_string).chain([share]);
        table.write_record(values.into_iter().chain(figures))?;
    }
    table.flush()?;
    Ok(())
}

fn trend_csv(report: &CoverageReport, out: &mut Vec<u8>) -> Result<(), csv::Error> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(["dataset", "at", "present", "wanted", "completeness"])?;
    for (dataset, points) in &report.trend {
        for TrendLine { at, present, wanted, completeness } in points {
            table.write_record([dataset, &at.to_string(), &present.to_string(), &wanted.to_string(), &completeness.to_string()])?;
        }
    }
    table.flush()?;
    Ok(())
}

fn unexpected_csv(report: &CoverageReport, out: &mut Vec<u8>) -> Result<(), csv::Error> {
    let mut table = csv::Writer::from_writer(out);
    table.write_record(["dataset", "folder", "objects", "over"])?;
    for (dataset, coverage) in &report.datasets {
        for UnexpectedFolder { folder, objects, over } in &coverage.unexpected_folders {
            table.write_record([dataset, folder, &objects.to_string(), &over.to_string()])?;
        }
    }
    table.flush()?;
    Ok(())
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let written = std::fs::File::create(path).and_then(|mut file| file.write_all(content));
    written.map_err(|error| Failure::new(Exit::Unfinished, format!("`{}` cannot be written: {error}", path.display())))
}
