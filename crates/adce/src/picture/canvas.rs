//! What a layout draws on: rectangles and lines of letters that are all equally wide.

/// A colour that is what it is, or the one that letters have here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Letters,
    /// Less important than letters.
    Faint,
    Of([u8; 3]),
}

/// Lengths in pixels of a picture that is not enlarged.
pub trait Canvas {
    /// Width and height of a letter.
    const LETTER: (f64, f64);

    fn size(&mut self, width: f64, height: f64);

    fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, paint: Paint, told: Option<&str>);

    /// From this corner, above on the left, to the right.
    fn text(&mut self, x: f64, y: f64, text: &str, paint: Paint);

    /// From this corner, below on the left, upwards.
    fn text_up(&mut self, x: f64, y: f64, text: &str, paint: Paint);

    fn line(&mut self, points: &[(f64, f64)], paint: Paint);
}

pub fn text_width<C: Canvas>(text: &str) -> f64 {
    text.chars().count() as f64 * C::LETTER.0
}
