//! Heat maps in a terminal: 24-bit colours where there are such, 256 where there are those, letters everywhere else.
//!
//! Always true: no line is wider than the terminal (`a_heat_map_fits_the_terminal`), and without colours the same is told
//! in letters (`letters_tell_what_colours_do`).

use std::io::{self, Write};

use adce_api::CoverageReport;
use adce_core::coverage::Counts;
use adce_core::figures::percent;

use crate::picture::{Map, NO_VALUE, Shade, WEEKDAYS, Year};

/// What a cell can be drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Colours,
    Few,
    Letters,
}

impl Ink {
    /// `colours`: somebody looks, and has not asked for none (`NO_COLOR`).
    pub fn of_terminal(colours: bool) -> Ink {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        Ink::of(colours, &variable("COLORTERM"), &variable("TERM"))
    }

    fn of(colours: bool, colorterm: &str, term: &str) -> Ink {
        match colours {
            true if matches!(colorterm, "truecolor" | "24bit") || term.ends_with("-direct") => Ink::Colours,
            true if term.contains("256color") => Ink::Few,
            _ => Ink::Letters,
        }
    }

    /// `text` on the shade; letters alone where there are no colours.
    fn cell(self, shade: Option<Shade>, text: &str) -> String {
        let Some(shade) = shade else { return text.to_owned() };
        let front = if shade.is_light() { 16 } else { 231 };
        match self {
            Ink::Colours => {
                let [red, green, blue] = shade.rgb();
                format!("\u{1b}[38;5;{front};48;2;{red};{green};{blue}m{text}\u{1b}[0m")
            }
            Ink::Few => format!("\u{1b}[38;5;{front};48;5;{}m{text}\u{1b}[0m", shade.indexed()),
            Ink::Letters => text.to_owned(),
        }
    }
}

const LONGEST_LABEL: usize = 20;
/// ` 100 %` and ` 97.60 %` at the end of a row.
const SHARE: usize = 9;
/// A cell that is this wide has room for a figure.
const FIGURE: usize = 4;
const WIDEST: usize = 8;

fn label_width(labels: impl Iterator<Item = usize>) -> usize {
    labels.max().unwrap_or(0).clamp(3, LONGEST_LABEL)
}

/// How many columns of a map have room, one letter each.
pub fn columns(report: &CoverageReport, width: usize) -> usize {
    let labels = report.by.first().map(|axis| &axis.values).into_iter().flatten();
    let label = label_width(labels.map(|label| label.as_ref().map_or(NO_VALUE.len(), |label| label.chars().count())));
    width.saturating_sub(label + 1 + SHARE).max(1)
}

/// Rows of cells; in several pieces under each other where there are more columns than the terminal has.
pub fn map(map: &Map, ink: Ink, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let label = label_width(map.rows.iter().map(|label| label.chars().count()));
    let room = width.saturating_sub(label + 1 + SHARE).max(1);
    let longest = map.columns.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let cell = (room / map.columns.len().max(1)).clamp(1, (longest + 1).clamp(2, WIDEST));
    let in_a_piece = room / cell;
    let mut met = Met::default();
    for from in (0..map.columns.len()).step_by(in_a_piece.max(1)) {
        let piece = from..map.columns.len().min(from + in_a_piece);
        writeln!(out, "{:label$} {}", "", heads(&map.columns[piece.clone()], cell).trim_end())?;
        for (row, name) in map.rows.iter().enumerate() {
            let cells: String = piece.clone().map(|column| met.cell(map.cell(row, column), ink, cell)).collect();
            let all = map.row(row);
            let share = percent(all.present, all.wanted()).filter(|_| piece.end == map.columns.len()).unwrap_or_default();
            writeln!(out, "{}", format!("{:label$} {cells} {share}", cut(name, label)).trim_end())?;
        }
    }
    met.legend(ink, width, out)
}

/// A block of seven lines for each year, a column a week.
pub fn calendar(years: &[Year], ink: Ink, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let weeks = years.iter().map(|year| year.weeks.len()).max().unwrap_or(0);
    let room = width.saturating_sub(4).max(1);
    let cell = if room >= weeks * 2 { 2 } else { 1 };
    let mut met = Met::default();
    for year in years {
        let all = year.counts();
        let share = percent(all.present, all.wanted()).map(|share| format!("  {share}")).unwrap_or_default();
        writeln!(out, "{}{share}", year.year)?;
        let in_a_piece = room / cell;
        for from in (0..year.weeks.len()).step_by(in_a_piece) {
            let piece = from..year.weeks.len().min(from + in_a_piece);
            let mut months = vec![String::new(); piece.len()];
            for (week, month) in year.months.iter().filter(|(week, _)| piece.contains(week)) {
                months[week - from] = month.to_string();
            }
            writeln!(out, "    {}", heads(&months, cell).trim_end())?;
            for (day, name) in WEEKDAYS.into_iter().enumerate() {
                let cells: String = year.weeks[piece.clone()].iter().map(|week| met.cell(&week[day], ink, cell)).collect();
                writeln!(out, "{}", format!("{name} {cells}").trim_end())?;
            }
        }
    }
    met.legend(ink, width, out)
}

/// Which shades were drawn.
#[derive(Default)]
struct Met([bool; Shade::ALL.len()]);

impl Met {
    fn cell(&mut self, counts: &Counts, ink: Ink, width: usize) -> String {
        let shade = Shade::of(counts);
        if let Some(shade) = shade {
            self.0[shade as usize] = true;
        }
        let text = match shade {
            None => String::new(),
            Some(shade) if width >= FIGURE => figure(shade, counts),
            Some(_) if ink != Ink::Letters => String::new(),
            Some(shade) => shade.letter().to_string().repeat(width.min(2)),
        };
        ink.cell(shade, &format!("{text:^width$}"))
    }

    fn legend(&self, ink: Ink, width: usize, out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        let mut used = 0;
        for shade in Shade::ALL.into_iter().filter(|shade| self.0[*shade as usize]) {
            let sign = if ink == Ink::Letters { shade.letter().to_string() } else { "  ".into() };
            let entry = format!("{sign} {}", shade.words());
            let long = entry.chars().count() + 3;
            if used + long > width && used > 0 {
                writeln!(out, "{}", line.trim_end())?;
                (line, used) = (String::new(), 0);
            }
            line.push_str(&format!("{} {}   ", ink.cell(Some(shade), &sign), shade.words()));
            used += long;
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Whole percent, rounded down; only what is complete is 100.
fn figure(shade: Shade, counts: &Counts) -> String {
    match shade {
        Shade::NotWanted | Shade::Unknown => shade.letter().to_string(),
        Shade::Complete => "100".into(),
        Shade::Nothing => "0".into(),
        _ => match u128::from(counts.present) * 100 / u128::from(counts.wanted().max(1)) {
            0 => "<1".into(),
            whole => whole.to_string(),
        },
    }
}

/// Labels over their columns, those left out that would run into the one before.
fn heads(labels: &[String], cell: usize) -> String {
    let mut line = String::new();
    let mut used = 0;
    for (at, label) in labels.iter().enumerate() {
        let (start, long) = (at * cell, label.chars().count());
        if long == 0 || (used > 0 && start <= used) || start + long > labels.len() * cell {
            continue;
        }
        line.push_str(&" ".repeat(start - used));
        line.push_str(label);
        used = start + long;
    }
    line
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::tests::{days, report};
    use crate::screen::coverage::write;

    fn screen(report: &CoverageReport, width: usize, all: bool) -> Vec<String> {
        let mut out = Vec::new();
        write(report, Some(width), false, all, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn letters_tell_what_colours_do() {
        let lines = screen(&report(&["2023-24", "2024-25"], &["ATL", "BOS", "CHI"]), 80, false);
        assert_eq!(
            lines[1..],
            [
                "box_scores by season and team · 90.00 % of 6,003",
                "        ATL BOS CHI",
                "2023-24 100  90  80  90.00 %",
                "2024-25 100  90  80  90.00 %",
                "# complete   8 90 % and more   5 50 % and more",
            ]
        );
        let many: Vec<String> = (0..60).map(|at| format!("team{at}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let lines = screen(&report(&["2023-24"], &many), 80, false);
        assert_eq!(lines[3], format!("2023-24 #855551111{} 3.01 %", "0".repeat(50)));
    }

    #[test]
    fn a_heat_map_fits_the_terminal() {
        let long = |count: usize| (0..count).map(|at| format!("a_rather_long_name_{at}")).collect::<Vec<_>>();
        for (rows, columns) in [(1, 1), (3, 40), (300, 2), (2, 1_000), (1, 100_000)] {
            let (rows, columns) = (long(rows), long(columns));
            let (rows, columns): (Vec<&str>, Vec<&str>) =
                (rows.iter().map(String::as_str).collect(), columns.iter().map(String::as_str).collect());
            for width in [40, 80, 120, 200] {
                for all in [false, true].into_iter().take(if columns.len() > 1_000 { 1 } else { 2 }) {
                    let lines = screen(&report(&rows, &columns), width, all);
                    let widest = lines.iter().map(|line| line.chars().count()).max();
                    // Sentences may be longer.
                    let drawn = lines.iter().skip(2).filter(|line| !line.starts_with("each"));
                    assert!(drawn.clone().all(|line| line.chars().count() <= width), "{width}: {widest:?}");
                    assert!(all || drawn.count() < 60, "{width}");
                }
            }
        }
        for width in [40, 80, 120, 200] {
            assert!(screen(&days(1_000), width, false).iter().skip(2).all(|line| line.chars().count() <= width));
        }
    }

    #[test]
    fn colours_are_used_where_there_are_some_and_nobody_minds() {
        for (colours, colorterm, term, ink) in [
            (true, "truecolor", "xterm-256color", Ink::Colours),
            (true, "24bit", "xterm", Ink::Colours),
            (true, "", "xterm-direct", Ink::Colours),
            (true, "", "screen-256color", Ink::Few),
            (true, "", "vt100", Ink::Letters),
            (false, "truecolor", "xterm-256color", Ink::Letters),
        ] {
            assert_eq!(Ink::of(colours, colorterm, term), ink, "{colorterm} {term}");
        }
        let shade = Some(Shade::Complete);
        assert_eq!(Ink::Colours.cell(shade, "  "), "\u{1b}[38;5;231;48;2;43;123;186m  \u{1b}[0m");
        assert_eq!(Ink::Letters.cell(shade, "##"), "##");
    }

    #[test]
    fn no_items_are_no_map() {
        assert_eq!(screen(&report(&[], &["ATL"]), 80, false)[2], "no items");
        assert_eq!(screen(&report(&[], &[]), 80, false)[2], "no items");
    }
}
