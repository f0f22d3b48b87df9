//! Coverage in a terminal: a table of datasets, a table with bars, or a heat map.

use std::io::{self, Write};

use adce_api::CoverageReport;
use adce_core::coverage::Counts;
use adce_core::figures::grouped;

use super::heat::{self, Ink};
use super::instant;
use super::plan::{coverage_table, figure, reservations, share};
use super::table::{Column, NOTHING, Table};
use crate::display::bar;
use crate::picture::{Chart, Room, axis_words, chart, sum, title};

/// Columns where nobody says how many there are: a file, a pipe.
pub const WIDE: usize = 120;
/// Rows that a person reads before they would rather look at a picture.
const ROWS: usize = 40;
/// Days that are still a table.
const DAYS: usize = 31;

/// `width`: of the terminal, if there is one; `colours`: it has some. `all`: nothing is put together.
pub fn write(report: &CoverageReport, width: Option<usize>, colours: bool, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let columns = width.unwrap_or(WIDE);
    writeln!(out, "{} · {} · {}", report.name, report.lake, instant::full(report.at))?;
    let room = Room { rows: ROWS, columns: heat::columns(report, columns), days: DAYS };
    let room = if all { Room { days: DAYS, ..Room::ENDLESS } } else { room };
    let Some((chart, said)) = chart(report, room) else {
        coverage_table(&report.datasets, &report.coverage.items, report.at).write(width, out)?;
        return reservations(&report.datasets, &report.held, out);
    };
    writeln!(out, "{} · {}", title(report), sum(report))?;
    let ink = Ink::of_terminal(colours);
    match &chart {
        Chart::Bars(rows) if rows.is_empty() => writeln!(out, "no items")?,
        Chart::Bars(rows) => {
            let name = axis_words(&report.by[0].name).to_uppercase();
            bars(&name, rows, width).write(width, out)?;
        }
        Chart::Map(map) if map.cells.is_empty() => writeln!(out, "no items")?,
        Chart::Map(map) => heat::map(map, ink, columns, out)?,
        Chart::Calendar(years) => heat::calendar(years, ink, columns, out)?,
    }
    said.iter().try_for_each(|words| writeln!(out, "{words}"))?;
    if !report.left_out.is_empty() {
        writeln!(out, "not counted, for they do not know what is counted by: {}", report.left_out.join(", "))?;
    }
    reservations(&report.datasets, &report.held, out)
}

/// Folders with objects that nobody expects, the fullest first.
pub fn unexpected(report: &CoverageReport, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} · {} · {}", report.name, report.lake, instant::full(report.at))?;
    let mut table = Table::new([
        Column::Text("DATASET"),
        Column::Figure("OBJECTS"),
        Column::Rare("AT LEAST"),
        Column::Text("FOLDER"),
        Column::Text("FOR EXAMPLE"),
    ]);
    let mut counted = 0;
    let mut all = 0;
    for (name, dataset) in &report.datasets {
        all += dataset.counts.unexpected;
        for folder in &dataset.unexpected_folders {
            counted += folder.objects - folder.over;
            let example = dataset
                .unexpected_keys
                .iter()
                .find(|key| key.rsplit_once('/').map_or("", |(ahead, _)| ahead) == folder.folder.trim_end_matches('/'));
            table.row([
                name.clone(),
                grouped(folder.objects),
                if folder.over > 0 { grouped(folder.objects - folder.over) } else { NOTHING.into() },
                if folder.folder.is_empty() { "the top of the lake".into() } else { folder.folder.clone() },
                example.cloned().unwrap_or_else(|| NOTHING.into()),
            ]);
        }
    }
    match all {
        0 => writeln!(out, "all objects near the datasets are expected"),
        _ => table.write(width, out).and_then(|()| match all.saturating_sub(counted) {
            0 => Ok(()),
            more => writeln!(out, "… and {} more in other folders", grouped(more)),
        }),
    }
}

fn bars<'t>(name: &'t str, rows: &[(String, Counts)], width: Option<usize>) -> Table<'t> {
    let long = width.is_none_or(|width| width >= 100);
    let mut table = Table::new([
        Column::Text(name),
        Column::Figure(""),
        Column::Figure("COMPLETE"),
        Column::Figure("EXPECTED"),
        Column::Figure("PRESENT"),
        Column::Figure("MISSING"),
        Column::Figure("STALE"),
        Column::Figure("UNDER"),
        Column::Rare("SUSPECT"),
        Column::Rare("UNKNOWN"),
        Column::Figure("ABSENT"),
        Column::Figure("NOT DUE"),
        Column::Rare("EXPIRED"),
        Column::Rare("OUT OF SCOPE"),
    ]);
    for (label, counts) in rows {
        let wanted = counts.wanted() > 0;
        table.row([
            label.clone(),
            if wanted { bar(counts.present, counts.wanted(), if long { 20 } else { 10 }) } else { String::new() },
            if wanted { share(counts) } else { NOTHING.into() },
            figure(counts.expected()),
            figure(counts.present),
            figure(counts.missing),
            figure(counts.stale),
            figure(counts.undersized),
            figure(counts.suspect),
            figure(counts.unknown),
            figure(counts.absent),
            figure(counts.not_due),
            figure(counts.expired),
            figure(counts.out_of_scope),
        ]);
    }
    table
}
