//! Coverage as something to look at. One chart ([`chart()`]) and one layout for all formats: SVG for pages and repositories, PNG
//! for whoever takes nothing else. A terminal draws the same chart in `screen::heat`.

mod canvas;
mod chart;
mod layout;
mod png;
mod shade;
mod svg;

pub use chart::*;
pub use shade::Shade;

use adce_api::CoverageReport;

pub fn svg(report: &CoverageReport, all: bool) -> String {
    layout::draw(report, all, svg::Svg::new()).finish()
}

pub fn png(report: &CoverageReport, all: bool) -> Result<Vec<u8>, ::png::EncodingError> {
    layout::draw(report, all, png::Raster::new()).finish()
}
