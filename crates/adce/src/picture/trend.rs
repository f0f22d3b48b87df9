//! How complete datasets were over time: a line each, from the least that ever was up to 100 %.

use adce_api::{CoverageReport, TrendLine};
use adce_core::figures::percent;
use adce_core::time::Timestamp;
use jiff::tz::TimeZone;

use super::canvas::{Canvas, Paint, text_width};
use crate::screen::instant;

const MARGIN: f64 = 16.0;
const WIDE: f64 = 640.0;
const HIGH: f64 = 200.0;
const GAP: f64 = 10.0;
/// They can be told apart without seeing red and green.
const COLOURS: [[u8; 3]; 6] =
    [[0x2b, 0x7b, 0xba], [0xee, 0x84, 0x34], [0x9a, 0x6f, 0xb8], [0x8c, 0x1c, 0x2e], [0x1b, 0x9e, 0x9e], [0x6e, 0x77, 0x81]];

pub fn draw<C: Canvas>(report: &CoverageReport, mut canvas: C) -> C {
    let points = || report.trend.values().flatten();
    let (first, last) = (points().map(|point| point.at).min(), points().map(|point| point.at).max());
    let (Some(first), Some(last)) = (first, last) else { return nothing(report, canvas) };
    // One step below what ever was, so that the lowest point is not on the line.
    let least = points().map(|point| point.completeness).fold(1.0, f64::min);
    let floor = ((least * 20.0 - 0.5).floor() / 20.0).clamp(0.0, 0.95);
    let letter = C::LETTER.1;
    let (left, top) = (MARGIN + text_width::<C>("100 %") + GAP, MARGIN + 2.0 * (letter + 4.0) + GAP);
    let right = left + WIDE;
    let names: Vec<String> = report.trend.iter().map(|(name, points)| format!("{name} {}", now(points))).collect();
    let widest = names.iter().map(|name| text_width::<C>(name)).fold(0.0, f64::max);
    let high = HIGH.max(names.len() as f64 * (letter + 2.0));
    let title = "completeness over time";
    canvas.size((right + GAP + widest + MARGIN).max(MARGIN * 2.0 + text_width::<C>(&subtitle(report))), top + high + letter + GAP + MARGIN);
    canvas.text(MARGIN, MARGIN, title, Paint::Letters);
    canvas.text(MARGIN, MARGIN + letter + 4.0, &subtitle(report), Paint::Faint);
    let y = |share: f64| top + (1.0 - share) / (1.0 - floor) * high;
    for step in 0..=4 {
        let share = floor + (1.0 - floor) * f64::from(step) / 4.0;
        canvas.rect(left, y(share) - 0.5, WIDE, 1.0, Paint::Of([0xc6, 0xcd, 0xd5]), None);
        let text = format!("{} %", (share * 10_000.0).round() / 100.0);
        canvas.text(left - GAP - text_width::<C>(&text), y(share) - letter / 2.0, &text, Paint::Faint);
    }
    let span = last.duration_since(first).as_secs_f64().max(1.0);
    let x = |at: Timestamp| left + at.duration_since(first).as_secs_f64() / span * WIDE;
    let day = |at: Timestamp| at.to_zoned(TimeZone::UTC).strftime(if span > 172_800.0 { "%Y-%m-%d" } else { "%m-%d %H:%M" }).to_string();
    canvas.text(left, top + high + 4.0, &day(first), Paint::Faint);
    let end = day(last);
    canvas.text(right - text_width::<C>(&end), top + high + 4.0, &end, Paint::Faint);
    for (at, (points, name)) in report.trend.values().zip(&names).enumerate() {
        let colour = Paint::Of(COLOURS[at % COLOURS.len()]);
        // A figure holds until the next look.
        let mut line: Vec<(f64, f64)> = Vec::with_capacity(points.len() * 2);
        for point in points {
            line.extend(line.last().map(|(_, before)| (x(point.at), *before)));
            line.push((x(point.at), y(point.completeness)));
        }
        line.extend(line.last().map(|(_, before)| (right, *before)));
        canvas.line(&line, colour);
        canvas.text(right + GAP, top + at as f64 * (letter + 2.0), name, colour);
    }
    canvas
}

fn now(points: &[TrendLine]) -> String {
    let share = points.last().map(|point| percent(point.present, point.wanted).unwrap_or_else(|| "100 %".into()));
    share.unwrap_or_default()
}

fn subtitle(report: &CoverageReport) -> String {
    format!("{} · {} · {}", report.name, report.lake, instant::full(report.at))
}

fn nothing<C: Canvas>(report: &CoverageReport, mut canvas: C) -> C {
    let words = "no trend yet: each full look of `adce run` adds a point";
    canvas.size(MARGIN * 2.0 + text_width::<C>(words).max(text_width::<C>(&subtitle(report))), MARGIN * 2.0 + C::LETTER.1 * 2.0 + 4.0);
    canvas.text(MARGIN, MARGIN, words, Paint::Letters);
    canvas.text(MARGIN, MARGIN + C::LETTER.1 + 4.0, &subtitle(report), Paint::Faint);
    canvas
}
