//! The same picture as pixels, two for each length, so that it is sharp on dense screens. On white: a PNG cannot know what
//! it lies on.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster};

use super::canvas::{Canvas, Paint};

/// Pixels a length.
const SCALE: f64 = 2.0;
const FONT: (FontWeight, RasterHeight) = (FontWeight::Regular, RasterHeight::Size24);

pub struct Raster {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Raster {
    pub fn new() -> Raster {
        Raster { width: 0, height: 0, pixels: Vec::new() }
    }

    pub fn finish(self) -> Result<Vec<u8>, png::EncodingError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.pixels)?;
        writer.finish()?;
        Ok(file)
    }

    /// `share`: of the paint, from 0 to 255; the rest is what is there.
    fn blend(&mut self, x: i64, y: i64, paint: [u8; 3], share: u8) {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 {
            return;
        }
        let at = (y as usize * self.width + x as usize) * 3;
        for (pixel, paint) in self.pixels[at..at + 3].iter_mut().zip(paint) {
            let mixed = u32::from(*pixel) * u32::from(255 - share) + u32::from(paint) * u32::from(share);
            *pixel = (mixed / 255) as u8;
        }
    }

    /// Each letter's pixels, at their place in the line.
    fn letters(text: &str, mut each: impl FnMut(i64, i64, u8)) {
        for (at, letter) in text.chars().enumerate() {
            let letter = match letter {
                '…' => '~',
                other => other,
            };
            let Some(raster) = get_raster(letter, FONT.0, FONT.1).or_else(|| get_raster('?', FONT.0, FONT.1)) else { continue };
            let left = at as i64 * raster.width() as i64;
            for (y, row) in raster.raster().iter().enumerate() {
                for (x, share) in row.iter().enumerate().filter(|(_, share)| **share > 0) {
                    each(left + x as i64, y as i64, *share);
                }
            }
        }
    }
}

fn colour(paint: Paint) -> [u8; 3] {
    match paint {
        Paint::Letters => [0x24, 0x29, 0x2f],
        Paint::Faint => [0x6e, 0x77, 0x81],
        Paint::Of(colour) => colour,
    }
}

fn pixel(length: f64) -> i64 {
    (length * SCALE).round() as i64
}

impl Canvas for Raster {
    const LETTER: (f64, f64) = (noto_sans_mono_bitmap::get_raster_width(FONT.0, FONT.1) as f64 / SCALE, 15.0);

    fn size(&mut self, width: f64, height: f64) {
        (self.width, self.height) = (pixel(width.ceil()) as usize, pixel(height.ceil()) as usize);
        self.pixels = vec![255; self.width * self.height * 3];
    }

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, paint: Paint, _told: Option<&str>) {
        for row in pixel(y)..pixel(y + height).max(pixel(y) + 1) {
            for column in pixel(x)..pixel(x + width).max(pixel(x) + 1) {
                self.blend(column, row, colour(paint), 255);
            }
        }
    }

    fn text(&mut self, x: f64, y: f64, text: &str, paint: Paint) {
        let (x, y) = (pixel(x), pixel(y));
        Self::letters(text, |right, down, share| self.blend(x + right, y + down, colour(paint), share));
    }

    fn text_up(&mut self, x: f64, y: f64, text: &str, paint: Paint) {
        let (x, y) = (pixel(x), pixel(y));
        Self::letters(text, |right, down, share| self.blend(x + down, y - 1 - right, colour(paint), share));
    }

    fn line(&mut self, points: &[(f64, f64)], paint: Paint) {
        for pair in points.windows(2) {
            let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
            let steps = ((x1 - x0).abs().max((y1 - y0).abs()) * SCALE).ceil().max(1.0) as i64;
            for step in 0..=steps {
                let part = step as f64 / steps as f64;
                let (x, y) = (pixel(x0 + (x1 - x0) * part), pixel(y0 + (y1 - y0) * part));
                for (right, down) in [(0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (1, 2)] {
                    self.blend(x + right - 1, y + down - 1, colour(paint), 255);
                }
            }
        }
    }
}
