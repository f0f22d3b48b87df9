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
    /// To the left; never cut, and the first to be left out.
    Spare(&'t str),
}

impl<'t> Column<'t> {
    fn title(self) -> &'t str {
        match self {
            Column::Text(title) | Column::Figure(title) | Column::Rare(title) | Column::Spare(title) => title,
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
    /// Of each column the longest cell, and whether any says something.
    met: Vec<(usize, bool)>,
}

impl<'t> Table<'t> {
    pub fn new(columns: impl IntoIterator<Item = Column<'t>>) -> Self {
        let columns: Vec<Column<'t>> = columns.into_iter().collect();
        let met = columns.iter().map(|column| (column.title().chars().count(), false)).collect();
        Table { columns, rows: Vec::new(), met }
    }

    /// One cell for each column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        self.measure(&cells);
        self.rows.push(cells);
    }

    fn measure(&mut self, cells: &[String]) {
        debug_assert_eq!(cells.len(), self.columns.len());
        for (cell, (longest, speaks)) in cells.iter().zip(&mut self.met) {
            *longest = (*longest).max(cell.chars().count());
            *speaks |= cell != NOTHING && !cell.is_empty();
        }
    }

    /// Very many rows, of which none is kept: they are made once to be measured, and once to be written.
    pub fn stream<const N: usize, Rows: Iterator<Item = [String; N]>>(
        mut self,
        rows: impl Fn() -> Rows,
        width: Option<usize>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        rows().for_each(|row| self.measure(&row));
        let layout = self.layout(width.unwrap_or(usize::MAX));
        self.titles(&layout, out)?;
        rows().try_for_each(|row| self.line(&row, &layout, out))
    }

    /// `width` in characters; `None`: as wide as it is.
    pub fn write(&self, width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
        let layout = self.layout(width.unwrap_or(usize::MAX));
        self.titles(&layout, out)?;
        self.rows.iter().try_for_each(|row| self.line(row, &layout, out))
    }

    fn titles(&self, layout: &Layout, out: &mut dyn Write) -> io::Result<()> {
        let titles: Vec<String> = self.columns.iter().map(|column| column.title().to_owned()).collect();
        self.line(&titles, layout, out)
    }

    /// Gives up what is least missed first.
    fn layout(&self, width: usize) -> Layout {
        let shown = (0..self.columns.len()).filter(|&at| !self.is_left_out(at)).collect();
        let widths = (0..self.columns.len()).map(|at| self.natural_width(at)).collect();
        let mut layout = Layout { shown, widths, gap: 2 };
        while layout.total() > width
            && let Some(spare) = layout.shown.iter().rposition(|&at| matches!(self.columns[at], Column::Spare(_)))
        {
            layout.shown.remove(spare);
        }
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
                Column::Text(_) | Column::Spare(_) => line.extend([cell.as_str(), &padding]),
                Column::Figure(_) | Column::Rare(_) => line.extend([padding.as_str(), &cell]),
            }
        }
        writeln!(out, "{}", line.trim_end())
    }

    fn is_silent(&self, at: usize) -> bool {
        !self.met[at].1
    }

    fn is_left_out(&self, at: usize) -> bool {
        matches!(self.columns[at], Column::Rare(_)) && self.is_silent(at)
    }

    fn natural_width(&self, at: usize) -> usize {
        self.met[at].0
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
        let mut spare = Table::new([Column::Text("KEY"), Column::Spare("TASK"), Column::Text("NEXT")]);
        spare.row(["a/rather/long/key".to_owned(), "t_0102030405".to_owned(), "tomorrow".to_owned()]);
        assert_eq!(lines(&spare, Some(41))[1], "a/rather/long/key  t_0102030405  tomorrow");
        assert_eq!(lines(&spare, Some(40))[1], "a/rather/long/key  tomorrow", "before anything is cut");
        assert_eq!(lines(&table, Some(46))[1], "a_dataset_w…  1,234,567        3  tomorrow 04…");
        assert_eq!(lines(&table, Some(36))[1], "a_datase… 1,234,567       3 tomorro…");
        assert_eq!(lines(&table, Some(30))[1], "a_datas… 1,234,567       3");
    }

    #[test]
    fn a_stream_of_rows_looks_like_a_table_of_them() {
        let rows = || (0..300_u64).map(|at| [format!("{at}"), "x".repeat(at as usize % 40), NOTHING.to_owned()]);
        let table = || Table::new([Column::Figure("AT"), Column::Text("TEXT"), Column::Rare("RARE")]);
        for width in [None, Some(30)] {
            let mut kept = table();
            rows().for_each(|row| kept.row(row));
            let mut out = Vec::new();
            table().stream(rows, width, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), lines(&kept, width));
        }
    }

    #[test]
    fn a_table_without_rows_is_its_titles() {
        assert_eq!(lines(&table(&[]), None), ["DATASET  MISSING  STALE  NEXT"]);
    }
}
