//! `adce coverage`: where the holes are, as a table, a heat map or a picture. A running engine is asked; without one, one
//! look at the lake tells.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_api::{CoverageAsk, CoverageReport};
use adce_core::coverage::RollupError;
use adce_core::spec::Spec;
use clap::Args;

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

    /// Each value, however many there are; a screen or picture puts neighbours together otherwise.
    #[arg(long)]
    pub all: bool,
}

pub async fn run(args: &CoverageArgs, spec: Arc<Spec>, format: AnyFormat) -> Result<Exit, Failure> {
    let asked = CoverageAsk { dataset: args.dataset.clone(), by: args.by.clone() };
    let report = match ask::engine(&spec)? {
        Some(mut engine) => ask::answered(engine.coverage(&asked))?,
        None => looked(spec, &asked).await?,
    };
    match &args.output {
        Some(path) => write_file(path, &printed(&report, format, args.all, Some(screen::WIDE), false)?)?,
        None => {
            let mut paper = Paper::stdout();
            let (width, colours) = (paper.width(), console::colors_enabled());
            let printed = printed(&report, format, args.all, width, colours)?;
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

fn printed(report: &CoverageReport, format: AnyFormat, all: bool, width: Option<usize>, colours: bool) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let unfinished = |error: &dyn std::error::Error| Failure::caused(Exit::Unfinished, error);
    match format {
        AnyFormat::Json => {
            serde_json::to_writer(&mut out, report).map_err(|error| unfinished(&error))?;
            out.push(b'\n');
        }
        AnyFormat::Text => screen::coverage::write(report, width, colours, all, &mut out).map_err(|error| unfinished(&error))?,
        AnyFormat::Csv => csv(report, &mut out).map_err(|error| unfinished(&error))?,
        AnyFormat::Svg => out.extend(picture::svg(report, all).into_bytes()),
        AnyFormat::Png => out = picture::png(report, all).map_err(|error| unfinished(&error))?,
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
    let figures =
        ["expected", "present", "missing", "stale", "undersized", "suspect", "absent", "unknown", "not_due", "expired", "completeness"];
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
        ];
        // As many digits as a share has: nothing is rounded to 1.
        let share = if items.wanted() > 0 { items.completeness().to_string() } else { String::new() };
        let figures = figures.iter().map(u64::to_string).chain([share]);
        table.write_record(values.into_iter().chain(figures))?;
    }
    table.flush()?;
    Ok(())
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let written = std::fs::File::create(path).and_then(|mut file| file.write_all(content));
    written.map_err(|error| Failure::new(Exit::Unfinished, format!("`{}` cannot be written: {error}", path.display())))
}
