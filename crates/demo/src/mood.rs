//! How the upstream feels about a request. Moods come from a seed, so a run can be repeated.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// What the upstream does with a request that its limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Good,
    /// 429 with `Retry-After: 1`, although no limit is exceeded.
    TooMany,
    /// 500.
    Error,
    /// `Content-Length` promises all, half of it comes, the connection closes.
    Truncated,
    /// 200 and no content.
    Empty,
    /// 200 and an HTML page that says "Access Denied".
    BlockPage,
}

/// Shares of the bad moods, each between 0 and 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moods {
    pub too_many: f64,
    pub error: f64,
    pub truncated: f64,
    pub empty: f64,
    pub block_page: f64,
}

/// Draws moods one after the other.
#[derive(Debug)]
pub struct MoodSwings {
    shares: Moods,
    random: StdRng,
}

impl MoodSwings {
    pub fn new(shares: Moods, seed: u64) -> Self {
        MoodSwings { shares, random: StdRng::seed_from_u64(seed) }
    }

    pub fn next(&mut self) -> Mood {
        let shares = [
            (self.shares.too_many, Mood::TooMany),
            (self.shares.error, Mood::Error),
            (self.shares.truncated, Mood::Truncated),
            (self.shares.empty, Mood::Empty),
            (self.shares.block_page, Mood::BlockPage),
        ];
        let mut drawn: f64 = self.random.random();
        for (share, mood) in shares {
            if drawn < share {
                return mood;
            }
            drawn -= share;
        }
        Mood::Good
    }

    /// A whole number of milliseconds, evenly from `low` to `high`.
    pub fn latency_ms(&mut self, low: u64, high: u64) -> u64 {
        self.random.random_range(low..=high.max(low))
    }
}
