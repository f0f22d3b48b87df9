//! A report as something that can be drawn: bars, a map of cells, or a calendar. Screens and pictures draw the same chart.

use std::collections::HashMap;

use adce_api::CoverageReport;
use adce_core::coverage::{Counts, Rollup, RollupAxis};
use adce_core::figures::{grouped, percent};
use jiff::civil::{Date, Weekday};

/// What a report is drawn as.
pub enum Chart {
    /// A row each.
    Bars(Vec<(String, Counts)>),
    /// Rows by columns.
    Map(Map),
    /// A year each.
    Calendar(Vec<Year>),
}

pub struct Map {
    pub rows: Vec<String>,
    pub columns: Vec<String>,
    /// Row by row.
    pub cells: Vec<Counts>,
}

impl Map {
    pub fn cell(&self, row: usize, column: usize) -> &Counts {
        &self.cells[row * self.columns.len() + column]
    }

    pub fn row(&self, row: usize) -> Counts {
        let mut all = Counts::default();
        (0..self.columns.len()).for_each(|column| all += *self.cell(row, column));
        all
    }
}

/// Days of a year in columns of weeks, from Monday down to Sunday.
pub struct Year {
    pub year: i16,
    /// By column, then by weekday; a day that is not in the report has no items.
    pub weeks: Vec<[Counts; 7]>,
    /// Where each month begins: the column that has its first day, and its name.
    pub months: Vec<(usize, &'static str)>,
}

impl Year {
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        self.weeks.iter().flatten().for_each(|day| all += *day);
        all
    }
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
pub const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// What a drawing has room for.
#[derive(Clone, Copy)]
pub struct Room {
    pub rows: usize,
    pub columns: usize,
    /// More days than this in a row are drawn as a calendar.
    pub days: usize,
}

impl Room {
    pub const ENDLESS: Room = Room { rows: usize::MAX, columns: usize::MAX, days: usize::MAX };
}

/// `None`: the report tells nothing apart. With the chart what was put together in it, in words.
pub fn chart(report: &CoverageReport, room: Room) -> Option<(Chart, Vec<String>)> {
    let rollup = dense(report);
    let mut said = Vec::new();
    let mut fit = |rollup: Rollup, axis: usize, at_most: usize, what: &str| {
        let before = rollup.axes[axis].buckets.len();
        let (rollup, together) = rollup.coarsened(axis, at_most);
        if together > 1 {
            let name = &rollup.axes[axis].name;
            let of = format!("{} values of {}", grouped(before as u64), axis_words(name));
            said.push(format!("each {what} stands for {together} of {of} (--all: each for itself)"));
        }
        rollup
    };
    let chart = match rollup.axes.len() {
        0 => return None,
        1 => match calendar(&rollup, room.days) {
            Some(calendar) => Chart::Calendar(calendar),
            None => {
                let rollup = fit(rollup, 0, room.rows, "row");
                let rows = labels(&rollup.axes[0]).into_iter().zip(rollup.cells);
                Chart::Bars(rows.collect())
            }
        },
        _ => {
            let rollup = fit(rollup, 0, room.rows, "row");
            let rollup = fit(rollup, 1, room.columns, "column");
            Chart::Map(Map { rows: labels(&rollup.axes[0]), columns: labels(&rollup.axes[1]), cells: rollup.cells })
        }
    };
    Some((chart, said))
}

/// `box_scores by season and team`; `all datasets`.
pub fn title(report: &CoverageReport) -> String {
    let mut title = report.dataset.clone().unwrap_or_else(|| "all datasets".into());
    for (at, axis) in report.by.iter().enumerate() {
        title.push_str(if at == 0 { " by " } else { " and " });
        title.push_str(&axis_words(&axis.name));
    }
    title
}

/// `season`; `month of tip`.
pub fn axis_words(name: &str) -> String {
    match name.rsplit_once(':') {
        Some((column, pace)) => format!("{pace} of {column}"),
        None => name.to_owned(),
    }
}

/// `97.60 % of 2,269`, of what is counted.
pub fn sum(report: &CoverageReport) -> String {
    let mut all = Counts::default();
    report.cells.iter().for_each(|cell| all += cell.items);
    if report.by.is_empty() {
        all = report.coverage.items;
    }
    match percent(all.present, all.wanted()) {
        Some(share) => format!("{share} of {}", grouped(all.wanted())),
        None => "nothing is wanted yet".into(),
    }
}

/// What an item without a value is told as.
pub const NO_VALUE: &str = "(none)";

fn labels(axis: &RollupAxis) -> Vec<String> {
    axis.buckets.iter().map(|bucket| bucket.clone().unwrap_or_else(|| NO_VALUE.into())).collect()
}

/// All cells, those without items too.
fn dense(report: &CoverageReport) -> Rollup {
    let axes: Vec<RollupAxis> =
        report.by.iter().map(|axis| RollupAxis { name: axis.name.clone(), pace: None, buckets: axis.values.clone() }).collect();
    let places: Vec<HashMap<Option<&str>, usize>> =
        report.by.iter().map(|axis| axis.values.iter().enumerate().map(|(place, value)| (value.as_deref(), place)).collect()).collect();
    let mut cells = vec![Counts::default(); axes.iter().map(|axis| axis.buckets.len()).product()];
    for cell in &report.cells {
        let place = cell
            .values
            .iter()
            .zip(&places)
            .zip(&axes)
            .try_fold(0, |place, ((value, places), axis)| Some(place * axis.buckets.len() + places.get(&value.as_deref())?));
        if let Some(cells) = place.and_then(|place| cells.get_mut(place)) {
            *cells += cell.items;
        }
    }
    Rollup { axes, cells, left_out: Vec::new() }
}

/// Only of days, and of more than a table would show.
fn calendar(rollup: &Rollup, more_than: usize) -> Option<Vec<Year>> {
    let buckets = &rollup.axes[0].buckets;
    if buckets.len() <= more_than {
        return None;
    }
    let mut years: Vec<Year> = Vec::new();
    for (bucket, counts) in buckets.iter().zip(&rollup.cells) {
        let Some(label) = bucket else { continue };
        let date: Date = (label.len() == 10).then(|| label.parse().ok()).flatten()?;
        if years.last().is_none_or(|year| year.year != date.year()) {
            years.push(Year::new(date.year())?);
        }
        let year = years.last_mut()?;
        let (week, day) = Year::place(date)?;
        year.weeks[week][day] = *counts;
    }
    Some(years)
}

impl Year {
    fn new(year: i16) -> Option<Year> {
        let last = Date::new(year, 12, 31).ok()?;
        let month = |month: i8| Some((Year::place(Date::new(year, month, 1).ok()?)?.0, MONTHS[usize::try_from(month - 1).ok()?]));
        Some(Year {
            year,
            weeks: vec![[Counts::default(); 7]; Year::place(last)?.0 + 1],
            months: (1..=12).map(month).collect::<Option<_>>()?,
        })
    }

    /// Column and weekday.
    fn place(date: Date) -> Option<(usize, usize)> {
        let first = Date::new(date.year(), 1, 1).ok()?;
        let day = |weekday: Weekday| usize::try_from(weekday.to_monday_zero_offset()).ok();
        let since = usize::try_from(date.day_of_year() - 1).ok()?;
        Some(((since + day(first.weekday())?) / 7, day(date.weekday())?))
    }
}

#[cfg(test)]
pub mod tests {
    use adce_api::{CoverageAxis, CoverageCell};

    use super::*;

    /// A report whose cell in row `r` and column `c` has `1000 + r` items of which `c` are missing.
    pub fn report(rows: &[&str], columns: &[&str]) -> CoverageReport {
        let axis = |name: &str, values: &[&str]| CoverageAxis {
            name: name.into(),
            pace: None,
            values: values.iter().map(|value| Some(value.to_string())).collect(),
        };
        let mut by = vec![axis("season", rows)];
        let mut cells = Vec::new();
        for (r, row) in rows.iter().enumerate() {
            let several: Vec<Option<&str>> = if columns.is_empty() { vec![None] } else { columns.iter().map(|one| Some(*one)).collect() };
            for (c, column) in several.into_iter().enumerate() {
                let values = [Some(*row), column].into_iter().flatten().map(|value| Some(value.to_owned())).collect();
                let missing = c as u64 * 100;
                cells.push(CoverageCell {
                    values,
                    items: Counts { present: 1_000 + r as u64 - missing.min(1_000), missing, ..Counts::default() },
                });
            }
        }
        if !columns.is_empty() {
            by.push(axis("team", columns));
        }
        let mut all = Counts::default();
        cells.iter().for_each(|cell| all += cell.items);
        CoverageReport {
            name: "prod".into(),
            lake: "./lake".into(),
            at: "2025-03-09T14:00:00Z".parse().unwrap(),
            dataset: Some("box_scores".into()),
            complete: all.is_complete(),
            healthy: None,
            coverage: adce_api::Counts { items: all, unexpected: 0 },
            datasets: Default::default(),
            by,
            cells,
            left_out: Vec::new(),
            held: Vec::new(),
            trend: Default::default(),
        }
    }

    /// So many days in a row.
    pub fn days(count: usize) -> CoverageReport {
        let first: Date = "2022-06-01".parse().unwrap();
        let days: Vec<String> = first.series(jiff::Span::new().days(1)).take(count).map(|day| day.to_string()).collect();
        let days: Vec<&str> = days.iter().map(String::as_str).collect();
        let mut report = report(&days, &[]);
        report.by[0].name = "day".into();
        for (at, cell) in report.cells.iter_mut().enumerate() {
            let missing = [0, 0, 0, 0, 0, 1, 0, 3, 0, 0, 40][at % 11] * u64::from(at > 100);
            cell.items = Counts { present: 40 - missing, missing, ..Counts::default() };
            if at + 30 > count {
                cell.items = Counts { not_due: 40, ..Counts::default() };
            }
        }
        report
    }

    #[test]
    fn days_lie_under_their_weekdays() {
        let Some((Chart::Calendar(years), _)) = chart(&days(1_000), Room { days: 62, ..Room::ENDLESS }) else { panic!("no calendar") };
        assert_eq!(years.iter().map(|year| year.year).collect::<Vec<_>>(), [2022, 2023, 2024, 2025]);
        assert_eq!(years.iter().map(|year| year.counts().items()).sum::<u64>(), 40_000);
        // 2022 began on a Saturday, 2023 on a Sunday; 1 June 2022 was a Wednesday.
        assert_eq!(years[0].months[0], (0, "Jan"));
        assert_eq!(Year::place("2023-01-01".parse().unwrap()), Some((0, 6)));
        assert_eq!(Year::place("2022-06-01".parse().unwrap()), Some((22, 2)));
        assert_eq!(Year::place("2024-12-31".parse().unwrap()), Some((52, 1)));
    }

    #[test]
    fn what_has_no_room_is_put_together_and_said_to_be() {
        let teams: Vec<String> = (0..90).map(|team| format!("t{team}")).collect();
        let teams: Vec<&str> = teams.iter().map(String::as_str).collect();
        let report = report(&["2023-24", "2024-25"], &teams);
        let Some((Chart::Map(map), said)) = chart(&report, Room { columns: 30, ..Room::ENDLESS }) else { panic!("no map") };
        assert_eq!((map.columns.len(), map.columns[0].as_str(), said.len()), (30, "t0 … t2", 1));
        assert!(said[0].starts_with("each column stands for 3 of 90 values of team"), "{said:?}");
    }
}
