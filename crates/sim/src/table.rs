//! The months of a year as a table for people.
//!
//! OPEN: gaps at the end of the month; MOST: on any of its midnights. CRITICAL to LOW: the longest that a task of that
//! priority waited, from runnable to started, while its source and the engine were there. LAG: the longest from the moment at
//! which an item could be had, or was stale, until it was put into the lake. HOLDS: what the dispatcher's census counts.
//! KIB: what the dispatcher has on the heap. HISTORY: lines of the last 90 days, attempts, closed gaps and events.

use std::fmt::Write;

use crate::facts::{Held, Month};
use crate::scenario::{DAY, HOUR, MINUTE, Micros, SECOND};

const TITLES: [&str; 15] = [
    "MONTH", "OPEN", "MOST", "FILLED", "ATTEMPTS", "REQUESTS", "CRITICAL", "HIGH", "MEDIUM", "LOW", "LAG", "HOLDS", "KIB", "RSS MIB",
    "HISTORY",
];

pub fn print(months: &[Month]) -> String {
    let rows = months.iter().enumerate().map(|(number, month)| row(number + 1, month));
    let rows: Vec<Vec<String>> = [TITLES.map(str::to_owned).to_vec()].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:>width$}", width = width(column)));
        writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ")).expect("a String takes everything");
    }
    text
}

fn row(number: usize, month: &Month) -> Vec<String> {
    let Held { census, bytes, .. } = month.held.unwrap_or_default();
    let [low, medium, high, critical] = month.longest_wait;
    vec![
        number.to_string(),
        month.open.to_string(),
        month.most_open.to_string(),
        month.filled.to_string(),
        month.attempts.to_string(),
        month.requests.to_string(),
        span(critical),
        span(high),
        span(medium),
        span(low),
        span(month.longest_lag),
        census.sum().to_string(),
        (bytes >> 10).to_string(),
        month.resident.map_or("-".into(), |bytes| (bytes >> 20).to_string()),
        month.history.to_string(),
    ]
}

fn span(micros: Micros) -> String {
    match micros {
        0 => "-".into(),
        1..MINUTE => format!("{} s", micros / SECOND),
        MINUTE..HOUR => format!("{} m", micros / MINUTE),
        HOUR..DAY => format!("{:.1} h", micros as f64 / HOUR as f64),
        _ => format!("{:.1} d", micros as f64 / DAY as f64),
    }
}
