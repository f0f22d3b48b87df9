//! Sliding windows over arrivals, the plain way: remember every arrival, count those inside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// At most `requests` in any span of `span`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub requests: u64,
    pub span: Duration,
}

/// Counts arrivals against limits. An arrival counts whatever the answer is.
#[derive(Debug)]
pub struct ArrivalWindows {
    limits: Vec<Limit>,
    arrivals: VecDeque<Instant>,
    fullest: Vec<u64>,
}

impl ArrivalWindows {
    pub fn new(limits: Vec<Limit>) -> Self {
        let fullest = vec![0; limits.len()];
        ArrivalWindows { limits, arrivals: VecDeque::new(), fullest }
    }

    /// Records an arrival; true if one of the limits is exceeded by it.
    pub fn arrived(&mut self, at: Instant) -> bool {
        self.arrivals.push_back(at);
        let longest = self.limits.iter().map(|limit| limit.span).max().unwrap_or_default();
        while self.arrivals.front().is_some_and(|first| at.duration_since(*first) >= longest) {
            self.arrivals.pop_front();
        }
        let mut exceeded = false;
        for (limit, fullest) in self.limits.iter().zip(&mut self.fullest) {
            let inside = self.arrivals.len() - self.arrivals.partition_point(|arrival| at.duration_since(*arrival) >= limit.span);
            *fullest = (*fullest).max(inside as u64);
            exceeded |= inside as u64 > limit.requests;
        }
        exceeded
    }

    /// Arrivals in the fullest span of each window so far.
    pub fn fullest(&self) -> &[u64] {
        &self.fullest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_leaves_the_window_after_exactly_its_span() {
        let start = Instant::now();
        let mut windows = ArrivalWindows::new(vec![Limit { requests: 2, span: Duration::from_secs(1) }]);
        assert!(!windows.arrived(start));
        assert!(!windows.arrived(start + Duration::from_millis(400)));
        assert!(windows.arrived(start + Duration::from_millis(999)));
        assert!(windows.arrived(start + Duration::from_millis(1_000)));
        assert!(!windows.arrived(start + Duration::from_millis(3_000)));
        assert_eq!(windows.fullest(), [3]);
    }
}
