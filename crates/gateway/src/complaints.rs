//! What is said in the log of clients and upstreams that misbehave: who, what, and how often, but not each time. Whoever can make
//! us write a line for each of his bytes can fill a disk.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use adce_core::ids::AttemptId;

const BETWEEN_TWO: Duration = Duration::from_secs(10);

/// One line per kind and ten seconds; the next one says how many were left out.
#[derive(Default)]
pub(crate) struct Complaints {
    by_kind: Mutex<HashMap<&'static str, Said>>,
}

struct Said {
    at: Instant,
    left_out: u64,
}

impl Complaints {
    /// `attempt`: whose client it was, if that is known.
    pub(crate) fn complain(&self, what: &'static str, attempt: Option<AttemptId>, why: &dyn Display) {
        let Some(left_out) = self.left_out_before(what, Instant::now()) else { return };
        let who = attempt.map_or_else(|| "nobody we know".to_owned(), |attempt| attempt.to_string());
        // It may quote what came over the wire.
        let why: String = why.to_string().chars().take(300).flat_map(char::escape_default).collect();
        tracing::warn!(attempt = %who, why, left_out, "gateway: {what}");
    }

    /// `None`: it was said a moment ago.
    fn left_out_before(&self, what: &'static str, now: Instant) -> Option<u64> {
        let mut by_kind = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        match by_kind.get_mut(what).filter(|said| now.duration_since(said.at) < BETWEEN_TWO) {
            Some(said) => {
                said.left_out += 1;
                None
            }
            None => Some(by_kind.insert(what, Said { at: now, left_out: 0 }).map_or(0, |said| said.left_out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_is_said_once_in_a_while_and_counted_meanwhile() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        assert_eq!(complaints.left_out_before("a", now), Some(0));
        assert_eq!(complaints.left_out_before("a", now), None);
        assert_eq!(complaints.left_out_before("a", now + BETWEEN_TWO / 2), None);
        assert_eq!(complaints.left_out_before("b", now), Some(0));
        assert_eq!(complaints.left_out_before("a", now + BETWEEN_TWO), Some(2));
        assert_eq!(complaints.left_out_before("a", now + BETWEEN_TWO * 2), Some(0));
    }
}
