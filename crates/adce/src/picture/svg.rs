//! SVG that is read on dark and on light pages, and tells a cell's figures to whoever points at it.

use std::fmt::Write;

use super::canvas::{Canvas, Paint};

const SIZE: f64 = 12.0;

pub struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    pub fn new() -> Svg {
        Svg { body: String::new(), width: 0.0, height: 0.0 }
    }

    pub fn finish(self) -> String {
        let Svg { body, width, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
             <style>text{{font:{SIZE}px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#24292f;white-space:pre}}.f{{fill:#6e7781}}\
             polyline{{fill:none;stroke-width:1.5}}.l{{stroke:#6e7781}}rect.l{{fill:#6e7781;stroke:none}}\
             @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.f{{fill:#8d96a0}}}}</style>\n{body}</svg>\n"
        )
    }

    fn words(&mut self, place: &str, text: &str, paint: Paint) {
        let class = if paint == Paint::Faint { " class=\"f\"" } else { "" };
        let colour = match paint {
            Paint::Of([red, green, blue]) => format!(" style=\"fill:#{red:02x}{green:02x}{blue:02x}\""),
            _ => String::new(),
        };
        // Exactly as wide as the layout took it to be, whatever font there is.
        let width = round(text.chars().count() as f64 * Self::LETTER.0);
        let _ = writeln!(self.body, "<text {place} textLength=\"{width}\"{class}{colour}>{}</text>", escaped(text));
    }
}

impl Canvas for Svg {
    const LETTER: (f64, f64) = (7.2, 15.0);

    fn size(&mut self, width: f64, height: f64) {
        (self.width, self.height) = (width.ceil(), height.ceil());
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, paint: Paint, told: Option<&str>) {
        let [x, y, width, height] = [x, y, width, height].map(round);
        let paint = match paint {
            Paint::Of([red, green, blue]) => format!("fill=\"#{red:02x}{green:02x}{blue:02x}\""),
            Paint::Letters | Paint::Faint => "class=\"l\"".into(),
        };
        let _ = write!(self.body, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" {paint}");
        let _ = match told {
            Some(told) => writeln!(self.body, "><title>{}</title></rect>", escaped(told)),
            None => writeln!(self.body, "/>"),
        };
    }

    fn text(&mut self, x: f64, y: f64, text: &str, paint: Paint) {
        self.words(&format!("x=\"{}\" y=\"{}\"", round(x), round(y + SIZE)), text, paint);
    }

    fn text_up(&mut self, x: f64, y: f64, text: &str, paint: Paint) {
        let (x, y) = (round(x + SIZE), round(y));
        self.words(&format!("transform=\"translate({x} {y}) rotate(-90)\""), text, paint);
    }

    fn line(&mut self, points: &[(f64, f64)], paint: Paint) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", round(*x), round(*y))).collect();
        let paint = match paint {
            Paint::Of([red, green, blue]) => format!("style=\"stroke:#{red:02x}{green:02x}{blue:02x}\""),
            Paint::Letters | Paint::Faint => "class=\"l\"".into(),
        };
        let _ = writeln!(self.body, "<polyline {paint} points=\"{}\"/>", points.join(" "));
    }
}

fn round(length: f64) -> f64 {
    (length * 100.0).round() / 100.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
