//! How complete datasets were over time, as a line of blocks each.

use std::io::{self, Write};

use adce_api::{CoverageReport, TrendLine};
use adce_core::figures::percent;
use adce_core::time::Timestamp;

use super::WIDE;
use super::instant;
use super::table::{Column, Table};

const BLOCKS: [char; 7] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇'];
const COMPLETE: char = '█';

pub fn write(report: &CoverageReport, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} · {} · {}", report.name, report.lake, instant::full(report.at))?;
    let times = || report.trend.values().flatten().map(|point| point.at);
    let (Some(first), Some(last)) = (times().min(), times().max()) else {
        return writeln!(out, "no trend yet: each full look of `adce run` adds a point");
    };
    writeln!(out, "from {} to {}", instant::full(first), instant::full(last))?;
    let longest = report.trend.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    // Beside the name and three shares.
    let long = width.unwrap_or(WIDE).saturating_sub(longest + 36).clamp(10, 80);
    let mut table = Table::new([
        Column::Text("DATASET"),
        Column::Text("TREND"),
        Column::Figure("FIRST"),
        Column::Figure("LEAST"),
        Column::Figure("LAST"),
    ]);
    for (name, points) in &report.trend {
        let (Some(from), Some(to)) = (points.first(), points.last()) else { continue };
        let least = points.iter().min_by(|a, b| a.completeness.total_cmp(&b.completeness)).unwrap_or(from);
        table.row([name.clone(), line(points, first, last, long), share(from), share(least), share(to)]);
    }
    table.write(width, out)
}

fn share(point: &TrendLine) -> String {
    percent(point.present, point.wanted).unwrap_or_else(|| "100 %".into())
}

/// What was known at the end of each stretch; blank before the first point. The lowest block is the least that ever was, the
/// full one is for complete alone.
fn line(points: &[TrendLine], first: Timestamp, last: Timestamp, long: usize) -> String {
    let least = points.iter().map(|point| point.completeness).fold(1.0, f64::min);
    let span = last.duration_since(first).as_secs_f64();
    let mut points = points.iter().peekable();
    let mut known: Option<&TrendLine> = None;
    let blocks = (1..=long).map(|at| {
        while let Some(point) = points.next_if(|point| point.at.duration_since(first).as_secs_f64() * long as f64 <= span * at as f64) {
            known = Some(point);
        }
        match known {
            None => ' ',
            Some(point) if point.present >= point.wanted => COMPLETE,
            Some(point) => {
                let height = (point.completeness - least) / (1.0 - least).max(f64::EPSILON) * BLOCKS.len() as f64;
                BLOCKS[(height as usize).min(BLOCKS.len() - 1)]
            }
        }
    });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::tests::report;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_741_500_000 + hour * 3_600).unwrap()
    }

    fn point(hour: i64, present: u64) -> TrendLine {
        TrendLine { at: at(hour), present, wanted: 100, completeness: present as f64 / 100.0 }
    }

    #[test]
    fn only_what_was_complete_is_a_full_block() {
        let points = [point(2, 60), point(4, 80), point(6, 99), point(8, 100), point(10, 99)];
        assert_eq!(line(&points, at(0), at(10), 10), " ▁▁▄▄▇▇██▇");
        assert_eq!(line(&[point(0, 100)], at(0), at(0), 3), "███");
    }

    #[test]
    fn a_trend_fits_the_terminal_and_none_is_told_as_such() {
        let mut report = report(&["a"], &[]);
        let told = |report: &CoverageReport, width| {
            let mut out = Vec::new();
            write(report, Some(width), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(told(&report, 80).ends_with("no trend yet: each full look of `adce run` adds a point\n"));
        report.trend.insert("a_dataset_with_a_long_name".into(), (0..100).map(|hour| point(hour, hour as u64 + 1)).collect());
        for width in [50, 80, 120] {
            let told = told(&report, width);
            assert!(told.lines().skip(1).all(|line| line.chars().count() <= width), "{told}");
            assert!(told.contains("1.00 %") && told.contains("100 %"), "{told}");
        }
    }
}
