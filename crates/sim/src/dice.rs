//! All chance of a simulated world, from one number.
//!
//! Written out here (SplitMix64) and not taken from a library, so that a seed that once showed a bug shows it for ever,
//! whatever a library's next version does.

use std::ops::Range;

#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Dice(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Anything in the range; its start if it is empty.
    pub fn among(&mut self, range: Range<u64>) -> u64 {
        match range.end.saturating_sub(range.start) {
            0 => range.start,
            width => range.start + self.next() % width,
        }
    }

    /// True in so many of a thousand cases.
    pub fn permille(&mut self, share: u32) -> bool {
        self.among(0..1_000) < u64::from(share)
    }

    pub fn one_in(&mut self, cases: u64) -> bool {
        self.among(0..cases) == 0
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.among(0..choices.len() as u64) as usize]
    }

    /// In [0, 1).
    pub fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// For something that must not change when other things draw more or fewer numbers.
    pub fn fork(&mut self) -> Dice {
        Dice(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut dice = Dice::new(48_213);
        let drawn = [(); 4].map(|()| dice.among(0..1_000_000));
        assert_eq!(drawn, [358_502, 305_737, 742_933, 228_095]);
    }
}
