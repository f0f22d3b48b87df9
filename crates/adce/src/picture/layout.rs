//! Where everything lies in a picture: title, rows and columns with their names, and what the colours mean.

use adce_api::CoverageReport;
use adce_core::coverage::Counts;
use adce_core::figures::{grouped, percent};

use super::canvas::{Canvas, Paint, text_width};
use super::chart::{Chart, Map, Room, WEEKDAYS, Year, chart, sum, title};
use super::shade::Shade;
use crate::screen::instant;

/// White around everything.
const MARGIN: f64 = 16.0;
/// The part that cells take, if there are enough of them.
const WIDE: f64 = 880.0;
const GAP: f64 = 10.0;
const LONGEST_LABEL: usize = 32;
/// Longer names of columns stand upright up to so many letters.
const LONGEST_HEAD: usize = 24;
/// A picture of more is none that one could look at.
const ROOM: Room = Room { rows: 120, columns: 366, days: 62 };

/// States of an item in the order of a bar, with their colours.
fn parts(counts: &Counts) -> [(u64, [u8; 3]); 5] {
    let doubtful = counts.undersized + counts.suspect;
    [
        (counts.present, Shade::Complete.rgb()),
        (counts.stale, Shade::Mostly.rgb()),
        (doubtful, Shade::Half.rgb()),
        (counts.missing, Shade::Some.rgb()),
        (counts.unknown, Shade::Unknown.rgb()),
    ]
}

const PARTS: [&str; 5] = ["present", "stale", "undersized or suspect", "missing", "unknown"];

/// What stands where; the canvas is drawn on when its size is known.
struct Sheet<C: Canvas> {
    drawn: Vec<Box<dyn FnOnce(&mut C)>>,
    right: f64,
    y: f64,
}

impl<C: Canvas> Sheet<C> {
    fn reaches(&mut self, x: f64) {
        self.right = self.right.max(x);
    }

    fn text(&mut self, x: f64, y: f64, text: String, paint: Paint) {
        self.reaches(x + text_width::<C>(&text));
        self.drawn.push(Box::new(move |canvas| canvas.text(x, y, &text, paint)));
    }

    fn text_up(&mut self, x: f64, y: f64, text: String, paint: Paint) {
        self.reaches(x + C::LETTER.1);
        self.drawn.push(Box::new(move |canvas| canvas.text_up(x, y, &text, paint)));
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, paint: Paint, told: Option<String>) {
        self.reaches(x + width);
        self.drawn.push(Box::new(move |canvas| canvas.rect(x, y, width, height, paint, told.as_deref())));
    }

    fn cell(&mut self, [x, y, width, height]: [f64; 4], counts: &Counts, told: impl FnOnce() -> String) {
        if let Some(shade) = Shade::of(counts) {
            let told = format!("{}: {}", told(), figures(counts));
            self.rect(x, y, width, height, Paint::Of(shade.rgb()), Some(told));
        }
    }

    fn line_of_text(&mut self, text: String, paint: Paint) {
        self.text(MARGIN, self.y, text, paint);
        self.y += C::LETTER.1 + 4.0;
    }
}

/// `97.60 %, 31 missing, 2 stale`; for whoever points at a cell.
fn figures(counts: &Counts) -> String {
    let mut text =
        percent(counts.present, counts.wanted()).map(|share| format!("{share} of {}", grouped(counts.wanted()))).unwrap_or_default();
    for (figure, word) in [
        (counts.missing, "missing"),
        (counts.stale, "stale"),
        (counts.undersized, "undersized"),
        (counts.suspect, "suspect"),
        (counts.unknown, "unknown"),
        (counts.absent, "absent"),
        (counts.not_due, "not due"),
        (counts.expired, "expired"),
    ] {
        if figure > 0 {
            text.push_str(if text.is_empty() { "" } else { ", " });
            text.push_str(&format!("{} {word}", grouped(figure)));
        }
    }
    text
}

/// `all`: each value for itself, whatever becomes of the picture.
pub fn draw<C: Canvas>(report: &CoverageReport, all: bool, mut canvas: C) -> C {
    let room = if all { Room { days: ROOM.days, ..Room::ENDLESS } } else { ROOM };
    let mut sheet: Sheet<C> = Sheet { drawn: Vec::new(), right: 0.0, y: MARGIN };
    sheet.line_of_text(format!("{} · {}", title(report), sum(report)), Paint::Letters);
    sheet.line_of_text(format!("{} · {} · {}", report.name, report.lake, instant::full(report.at)), Paint::Faint);
    sheet.y += GAP;
    let (chart, said) = chart(report, room).unwrap_or_else(|| {
        let rows = report.datasets.iter().map(|(name, dataset)| (name.clone(), dataset.counts.items));
        (Chart::Bars(rows.collect()), Vec::new())
    });
    match &chart {
        Chart::Bars(rows) => bars(rows, &mut sheet),
        Chart::Map(map) => cells(map, &mut sheet),
        Chart::Calendar(years) => calendar(years, &mut sheet),
    }
    sheet.y += GAP;
    legend(&chart, &mut sheet);
    said.into_iter().for_each(|words| sheet.line_of_text(words, Paint::Faint));
    canvas.size(sheet.right + MARGIN, sheet.y + MARGIN - 4.0);
    sheet.drawn.into_iter().for_each(|draw| draw(&mut canvas));
    canvas
}

fn bars<C: Canvas>(rows: &[(String, Counts)], sheet: &mut Sheet<C>) {
    let names: Vec<String> = rows.iter().map(|(name, _)| cut(name, LONGEST_LABEL)).collect();
    let left = MARGIN + names.iter().map(|name| text_width::<C>(name)).fold(0.0, f64::max) + GAP;
    let (high, long) = (C::LETTER.1, 480.0);
    for (name, (full, counts)) in names.into_iter().zip(rows) {
        sheet.text(left - GAP - text_width::<C>(&name), sheet.y, name, Paint::Letters);
        let mut x = left;
        for (figure, colour) in parts(counts).into_iter().filter(|(figure, _)| *figure > 0) {
            // What is there at all is seen.
            let width = (long * figure as f64 / counts.wanted().max(1) as f64).max(1.0).min(left + long - x).max(0.5);
            sheet.rect(x, sheet.y + 1.0, width, high - 2.0, Paint::Of(colour), Some(format!("{full}: {}", figures(counts))));
            x += width;
        }
        let share = percent(counts.present, counts.wanted()).map(|share| format!("{share} of {}", grouped(counts.wanted())));
        sheet.text(left + long + GAP, sheet.y, share.unwrap_or_else(|| "nothing wanted".into()), Paint::Letters);
        sheet.y += high + 3.0;
    }
}

fn cells<C: Canvas>(map: &Map, sheet: &mut Sheet<C>) {
    let names: Vec<String> = map.rows.iter().map(|name| cut(name, LONGEST_LABEL)).collect();
    // Of columns that stand for several values the first.
    let first = |name: &str| name.split(" … ").next().unwrap_or(name).to_owned();
    let heads: Vec<String> = map.columns.iter().map(|name| cut(&first(name), LONGEST_HEAD)).collect();
    let left = MARGIN + names.iter().map(|name| text_width::<C>(name)).fold(0.0, f64::max) + GAP;
    let longest = heads.iter().map(|head| text_width::<C>(head)).fold(0.0, f64::max);
    let wide = (WIDE / map.columns.len().max(1) as f64).clamp(2.0, (longest + 8.0).clamp(18.0, 72.0));
    let high = if map.rows.len() > 60 { C::LETTER.1 - 2.0 } else { C::LETTER.1 + 5.0 };
    let between = if wide > 6.0 { 1.0 } else { 0.0 };
    let upright = wide < longest + 4.0;
    if upright {
        sheet.y += longest + 4.0;
        let apart = ((C::LETTER.1 - 1.0) / wide).ceil().max(1.0) as usize;
        for (at, head) in heads.into_iter().enumerate().step_by(apart) {
            sheet.text_up(left + at as f64 * wide + (wide * apart.min(1) as f64 - C::LETTER.1) / 2.0, sheet.y - 4.0, head, Paint::Faint);
        }
    } else {
        for (at, head) in heads.into_iter().enumerate() {
            let x = left + at as f64 * wide + (wide - text_width::<C>(&head)) / 2.0;
            sheet.text(x, sheet.y, head, Paint::Faint);
        }
        sheet.y += C::LETTER.1 + 3.0;
    }
    let end = left + map.columns.len() as f64 * wide + GAP;
    for (row, name) in names.into_iter().enumerate() {
        let text = sheet.y + (high - between - C::LETTER.1) / 2.0;
        sheet.text(left - GAP - text_width::<C>(&name), text, name, Paint::Letters);
        for column in 0..map.columns.len() {
            let place = [left + column as f64 * wide, sheet.y, wide - between, high - between];
            sheet.cell(place, map.cell(row, column), || format!("{}, {}", map.rows[row], map.columns[column]));
        }
        let all = map.row(row);
        sheet.text(end, text, percent(all.present, all.wanted()).unwrap_or_else(|| "-".into()), Paint::Letters);
        sheet.y += high;
    }
}

fn calendar<C: Canvas>(years: &[Year], sheet: &mut Sheet<C>) {
    let size = 13.0;
    let left = MARGIN + text_width::<C>("2024") + GAP;
    for year in years {
        let all = year.counts();
        sheet.text(MARGIN, sheet.y, year.year.to_string(), Paint::Letters);
        for (week, month) in &year.months {
            sheet.text(left + *week as f64 * size, sheet.y, (*month).to_owned(), Paint::Faint);
        }
        let share = percent(all.present, all.wanted()).unwrap_or_else(|| "-".into());
        let end = left + year.weeks.len() as f64 * size + GAP;
        sheet.y += C::LETTER.1 + 3.0;
        sheet.text(end, sheet.y + size * 3.0 - 2.0, share, Paint::Letters);
        for (day, name) in WEEKDAYS.into_iter().enumerate() {
            if day % 2 == 0 && day < 6 {
                sheet.text(MARGIN, sheet.y - 2.0, name.to_owned(), Paint::Faint);
            }
            for (week, days) in year.weeks.iter().enumerate() {
                let place = [left + week as f64 * size, sheet.y, size - 2.0, size - 2.0];
                sheet.cell(place, &days[day], || format!("{name} of week {} of {}", week + 1, year.year));
            }
            sheet.y += size;
        }
        sheet.y += GAP;
    }
}

fn legend<C: Canvas>(chart: &Chart, sheet: &mut Sheet<C>) {
    let met = |counts: &[Counts]| {
        let shades: Vec<Shade> = counts.iter().filter_map(Shade::of).collect();
        Shade::ALL.into_iter().filter(|shade| shades.contains(shade)).map(|shade| (shade.rgb(), shade.words())).collect()
    };
    let entries: Vec<([u8; 3], &str)> = match chart {
        Chart::Bars(rows) => {
            let drawn = |at: usize| rows.iter().any(|(_, counts)| parts(counts)[at].0 > 0);
            (0..PARTS.len()).filter(|at| drawn(*at)).map(|at| (parts(&Counts::default())[at].1, PARTS[at])).collect()
        }
        Chart::Map(map) => met(&map.cells),
        Chart::Calendar(years) => met(&years.iter().flat_map(|year| year.weeks.iter().flatten().copied()).collect::<Vec<_>>()),
    };
    let (mut x, side) = (MARGIN, C::LETTER.1 - 3.0);
    let end = sheet.right.max(MARGIN + 400.0);
    for (colour, words) in entries {
        let width = side + 6.0 + text_width::<C>(words) + 18.0;
        if x + width > end && x > MARGIN {
            (x, sheet.y) = (MARGIN, sheet.y + C::LETTER.1 + 4.0);
        }
        sheet.rect(x, sheet.y + 1.0, side, side, Paint::Of(colour), None);
        sheet.text(x + side + 6.0, sheet.y, words.to_owned(), Paint::Letters);
        x += width;
    }
    sheet.y += C::LETTER.1 + 6.0;
}

fn cut(text: &str, letters: usize) -> String {
    match text.chars().count() <= letters {
        true => text.to_owned(),
        false => text.chars().take(letters - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::chart::tests::{days, report};
    use super::super::{png, svg};

    #[test]
    fn pictures_of_any_size_are_whole() {
        let many: Vec<String> = (0..3_000).map(|at| format!("value <{at}> & more")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for report in
            [report(&[], &[]), report(&["a"], &[]), report(&["a"], &many), report(&many, &["x", "y"]), report(&many, &[]), days(1_000)]
        {
            let drawn = svg(&report, false, false);
            let no_trend = svg(&report, true, false);
            assert!(no_trend.contains("no trend yet"), "{no_trend}");
            let mut reader = quick_xml::Reader::from_str(&drawn);
            loop {
                match reader.read_event() {
                    Ok(quick_xml::events::Event::Eof) => break,
                    Ok(_) => {}
                    Err(error) => panic!("{error}: {drawn}"),
                }
            }
            let file = png(&report, false, false).unwrap();
            let decoder = ::png::Decoder::new(std::io::Cursor::new(&file));
            let info = decoder.read_info().unwrap();
            let (width, height) = (info.info().width, info.info().height);
            assert!(width > 100 && width < 4_000 && height > 50 && height < 6_000, "{width} × {height}");
        }
    }

    #[test]
    fn a_picture_tells_what_each_cell_is() {
        let drawn = svg(&report(&["2023-24"], &["ATL", "BOS"]), false, false);
        assert!(drawn.contains("<title>2023-24, BOS: 90.00 % of 1,000, 100 missing</title>"), "{drawn}");
        assert!(drawn.contains(">box_scores by season and team · 95.00 % of 2,000</text>"), "{drawn}");
    }
}
