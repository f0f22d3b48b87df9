//! Coverage as something to look at. One chart ([`chart()`]) and one layout for all formats: SVG for pages and repositories, PNG
//! for whoever takes nothing else. A terminal draws the same chart in `screen::heat`.

mod canvas;
mod chart;
mod layout;
mod png;
mod shade;
mod svg;
mod trend;

pub use chart::*;
pub use shade::Shade;

use adce_api::CoverageReport;

/// `trend`: of the report's trend.
pub fn svg(report: &CoverageReport, trend: bool, all: bool) -> String {
    drawn(report, trend, all, svg::Svg::new()).finish()
}

pub fn png(report: &CoverageReport, trend: bool, all: bool) -> Result<Vec<u8>, ::png::EncodingError> {
    drawn(report, trend, all, png::Raster::new()).finish()
}

fn drawn<C: canvas::Canvas>(report: &CoverageReport, trend: bool, all: bool, canvas: C) -> C {
    if trend { trend::draw(report, canvas) } else { layout::draw(report, all, canvas) }
}
