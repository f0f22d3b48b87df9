//! Columns of text for a terminal: as wide as their content, narrower where the terminal is.
//!
//! Always true: no line is wider than the width given (`tables_fit_the_terminal`). A figure is never cut, because a cut
//! figure is a wrong one: where nothing else helps, whole columns are left out from the right.

use std::io::{self, Write};

/// How a column is set, and what may happen to it when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column<'t> {
    /// To the left; may be cut down to a few characters and an ellipsis.
    Text(&'t str),
    /// To the right; never cut, but left out where it says nothing in any row.
    Figure(&'t str),
    /// As `Figure`, and shown only where some row has something to say.
    Rare(&'t str),
}

impl<'t> Column<'t> {
    fn title(self) -> &'t str {
        match self {
            Column::Text(title) | Column::Figure(title) | Column::Rare(title) => title,
        }
    }
}

/// Stands for "nothing here".
pub const NOTHING: &str = "-";

const NARROW_TEXT: usize = 12;
const NARROWEST_TEXT: usize = 8;

pub struct Table<'t> {
    columns: Vec<Column<'t>>,
    rows: Vec<Vec<String>>,
}

impl<'t> Table<'t> {
    pub fn new(columns: impl IntoIterator<Item = Column<'t>>) -> Self {
        Table { columns: columns.into_iter().collect(), rows: Vec::new() }
    }

    /// One cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// `width` in characters; `None`: as wide as it is.
    pub fn write(&self, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
        let layout = self.layout(width.unwrap_or(usize::MAX));
        let titles: Vec<String> = self.columns.iter().map(|column| column.title().to_owned()).collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            self.line(row, &layout, out)?;
        }
        Ok(())
    }

    /// Gives up what is least missed first.
    fn layout(&self, width: usize) -> Layout {
        let shown = (0..self.columns.len()).filter(|&at| !self.is_left_out(at)).collect();
        let widths = (0..self.columns.len()).map(|at| self.natural_width(at)).collect();
        let mut layout = Layout { shown, widths, gap: 2 };
        self.drop_silent_columns(&mut layout, width);
        self.narrow_texts(&mut layout, NARROW_TEXT, width);
        if layout.total() > width {
            layout.gap = 1;
            self.narrow_texts(&mut layout, NARROWEST_TEXT, width);
        }
        while layout.total() > width && layout.shown.len() > 1 {
            layout.shown.pop();
        }
        layout
    }

    fn line(&self, row: &[String], layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        for (place, &at) in layout.shown.iter().enumerate() {
            if place > 0 {
                line.push_str(&" ".repeat(layout.gap));
            }
            let cell = cut(&row[at], layout.widths[at]);
            let padding = " ".repeat(layout.widths[at] - cell.chars().count());
            match self.columns[at] {
                Column::Text(_) => line.extend([cell.as_str(), &padding]),
                Column::Figure(_) | Column::Rare(_) => line.extend([padding.as_str(), &cell]),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }

    fn is_silent(&self, at: usize) -> bool {
        self.rows.iter().all(|row| row[at] == NOTHING || row[at].is_empty())
    }

    fn is_left_out(&self, at: usize) -> bool {
        matches!(self.columns[at], Column::Rare(_)) && self.is_silent(at)
    }

    fn natural_width(&self, at: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[at].chars().count());
        cells.chain([self.columns[at].title().chars().count()]).max().unwrap_or(0)
    }

    fn drop_silent_columns(&self, layout: &mut Layout, width: usize) {
        while layout.total() > width {
            let silent = layout.shown.iter().rposition(|&at| matches!(self.columns[at], Column::Figure(_)) && self.is_silent(at));
            let Some(place) = silent else {
                return;
            };
            layout.shown.remove(place);
        }
    }

    /// The widest text gives way first.
    fn narrow_texts(&self, layout: &mut Layout, narrowest: usize, width: usize) {
        while layout.total() > width {
            let texts = layout.shown.iter().copied().filter(|&at| matches!(self.columns[at], Column::Text(_)));
            match texts.max_by_key(|&at| layout.widths[at]).filter(|&at| layout.widths[at] > narrowest) {
                Some(widest) => layout.widths[widest] -= 1,
                None => return,
            }
        }
    }
}

/// Which columns stand where.
struct Layout {
    shown: Vec<usize>,
    /// Of all columns, shown or not.
    widths: Vec<usize>,
    gap: usize,
}

impl Layout {
    fn total(&self) -> usize {
        self.shown.iter().map(|&at| self.widths[at]).sum::<usize>() + self.gap * self.shown.len().saturating_sub(1)
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(table: &Table<'_>, width: Option<usize>) -> Vec<String> {
        let mut out = Vec::new();
        table.write(width, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn table(rows: &[[&str; 5]]) -> Table<'static> {
        let columns =
            [Column::Text("DATASET"), Column::Figure("MISSING"), Column::Figure("STALE"), Column::Rare("SUSPECT"), Column::Text("NEXT")];
        let mut table = Table::new(columns);
        rows.iter().for_each(|row| table.row(row.map(str::to_owned)));
        table
    }

    #[test]
    fn figures_stand_under_each_other_and_silence_is_left_out() {
        let table = table(&[["schedule", "2", "17", "-", "today"], ["box", "36,900", "-", "-", "-"]]);
        assert_eq!(
            lines(&table, None),
            ["DATASET   MISSING  STALE  NEXT", "schedule        2     17  today", "box        36,900      -  -"]
        );
    }

    #[test]
    fn tables_fit_the_terminal() {
        let table = table(&[["a_dataset_with_a_long_name", "1,234,567", "-", "3", "tomorrow 04:00 (1,000 that day)"]]);
        for width in 12..120 {
            for line in lines(&table, Some(width)) {
                assert!(line.chars().count() <= width, "{width}: {line}");
                let figures_are_whole = line.starts_with("DATASET") || width < 19 || line.contains("1,234,567");
                assert!(figures_are_whole, "{width}: {line}");
            }
        }
        assert_eq!(lines(&table, Some(46))[1], "a_dataset_w…  1,234,567        3  tomorrow 04…");
        assert_eq!(lines(&table, Some(36))[1], "a_datase… 1,234,567       3 tomorro…");
        assert_eq!(lines(&table, Some(30))[1], "a_datas… 1,234,567       3");
    }

    #[test]
    fn a_table_without_rows_is_its_titles() {
        assert_eq!(lines(&table(&[]), None), ["DATASET  MISSING  STALE  NEXT"]);
    }
}
