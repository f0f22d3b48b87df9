//! What was asked through adce and what came back, added up: of an attempt for its history, of a source since the engine started.
//!
//! Without it a person who asks why an attempt took an hour sees one number of requests, and nothing of 429s, waits or hosts that
//! nobody declared. Nothing is decided from these figures. They are part of an attempt's own record, so each stays small: what is
//! zero is not written, and hosts have a bound.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ports::{Answer, Passed};

/// What takes less is the asking, not a wait.
const WORTH_CALLING_A_WAIT: Duration = Duration::from_millis(1);

/// Of one attempt. A crawler asks thousands; which ones is not news any more.
const HOSTS_AT_MOST: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Sent, each redirect and each repetition too; also those that were charged ahead.
    #[serde(skip_serializing_if = "is_zero")]
    pub requests: u64,
    #[serde(flatten)]
    pub passed: Passed,
    /// Answers of 1xx to 5xx.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub classes: [u64; 5],
    /// Of these, the ones that were 429,
    #[serde(skip_serializing_if = "is_zero")]
    pub throttled: u64,
    /// and those that were 503.
    #[serde(skip_serializing_if = "is_zero")]
    pub unavailable: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub no_answer: u64,
    /// Requests that waited for a permit.
    #[serde(skip_serializing_if = "is_zero")]
    pub waits: u64,
    /// All of them together, in microseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub waited_us: u64,
    /// Hosts that no source declares, in the order in which they were asked first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<UncoveredHost>,
    /// What went to, or was refused, hosts beyond those.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_hosts: u64,
}

/// Requests, and connections that nobody can look into.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UncoveredHost {
    pub host: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub passed: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub refused: u64,
}

impl Traffic {
    pub fn is_empty(&self) -> bool {
        *self == Traffic::default()
    }

    /// One more request leaves, after so long in line.
    pub fn sent(&mut self, waited: Duration) {
        self.requests += 1;
        if waited >= WORTH_CALLING_A_WAIT {
            self.waits += 1;
            self.waited_us += u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        }
    }

    /// No byte of it left after all.
    pub fn unsent(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    pub fn answered(&mut self, answer: &Answer) {
        let Answer::Status { code, .. } = *answer else {
            self.no_answer += 1;
            return;
        };
        if let Some(class) = self.classes.get_mut(usize::from(code / 100).wrapping_sub(1)) {
            *class += 1;
        }
        self.throttled += u64::from(code == 429);
        self.unavailable += u64::from(code == 503);
    }

    pub fn uncovered(&mut self, host: &str, passed: bool) {
        let at = self.hosts.iter().position(|known| known.host == host);
        let known = match at {
            Some(at) => &mut self.hosts[at],
            None if self.hosts.len() == HOSTS_AT_MOST => {
                self.other_hosts += 1;
                return;
            }
            None => self.hosts.push_mut(UncoveredHost { host: host.to_owned(), ..UncoveredHost::default() }),
        };
        *(if passed { &mut known.passed } else { &mut known.refused }) += 1;
    }

    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.waited_us)
    }

    /// How often each was answered, as a person says it: `2xx`, `4xx`, and of these `429` and `503`; only what came at all.
    pub fn statuses(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(self.classes);
        classes.chain([("429", self.throttled), ("503", self.unavailable)]).filter(|(_, count)| *count > 0)
    }
}

pub(crate) fn is_zero(figure: &u64) -> bool {
    *figure == 0
}

fn is_none_of_them(figures: &[u64; 5]) -> bool {
    figures.iter().all(is_zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_asked_nothing_writes_nothing_and_one_that_did_is_read_as_it_was() {
        assert_eq!(serde_json::to_string(&Traffic::default()).unwrap(), "{}");
        let mut traffic = Traffic { passed: Passed { sent_bytes: 3, received_bytes: 9, sent_again: 1 }, ..Traffic::default() };
        traffic.sent(Duration::from_micros(20));
        traffic.sent(Duration::from_secs(2));
        traffic.sent(Duration::ZERO);
        traffic.unsent();
        [200, 204, 429, 503, 600, 42].map(Answer::status).iter().for_each(|answer| traffic.answered(answer));
        traffic.answered(&Answer::NoAnswer);
        traffic.uncovered("a.example", true);
        assert_eq!((traffic.requests, traffic.waits, traffic.waited()), (2, 1, Duration::from_secs(2)));
        let statuses: Vec<_> = traffic.statuses().collect();
        assert_eq!(statuses, [("2xx", 2), ("4xx", 1), ("5xx", 1), ("429", 1), ("503", 1)]);
        let written = serde_json::to_string(&traffic).unwrap();
        assert_eq!(serde_json::from_str::<Traffic>(&written).unwrap(), traffic, "{written}");
    }

    #[test]
    fn a_crawler_does_not_fill_the_history_with_hosts() {
        let mut traffic = Traffic::default();
        (0..1_000).for_each(|host| traffic.uncovered(&format!("{host}.example"), true));
        traffic.uncovered("0.example", false);
        assert_eq!((traffic.hosts.len(), traffic.other_hosts), (HOSTS_AT_MOST, 1_000 - HOSTS_AT_MOST as u64));
        assert_eq!((traffic.hosts[0].passed, traffic.hosts[0].refused), (1, 1));
    }
}
