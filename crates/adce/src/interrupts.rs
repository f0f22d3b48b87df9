//! How often a person, or whoever else, has asked the engine to end: once to finish what runs, twice to stop it.
//!
//! An engine has a guardian above it, and whoever signals both of them, as a service manager or `kill %1` does, means it
//! once. The guardian hands a signal on as another one, so the two ways can be told apart.

use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::guardian::in_other_words;

/// The same signal by the other way within this time is the same one: both are sent in one breath, and a person needs
/// longer to ask again.
const ONE_BREATH: Duration = Duration::from_millis(500);
/// Who tells both may tell the guardian once more in the same moment, as `timeout` does: first whom it has started, then the
/// whole group. That takes microseconds; nobody asks again as soon as this.
const ONE_MOMENT: Duration = Duration::from_millis(50);

/// Ctrl-C and SIGTERM.
pub struct Interrupts {
    heard: [Heard; 2],
    ears: [(Signal, Signal); 2],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Directly,
    ByTheGuardian,
}

/// One kind of signal.
#[derive(Default)]
struct Heard {
    /// What has not come by the other way so far.
    alone: Option<(Way, Instant)>,
    /// When the last that came by both ways came first.
    by_both: Option<Instant>,
}

impl Heard {
    /// Whether this is another one, and not the same once more by the other way.
    fn is_new(&mut self, way: Way, now: Instant) -> bool {
        match self.alone {
            Some((other, at)) if other != way && now.duration_since(at) <= ONE_BREATH => {
                (self.alone, self.by_both) = (None, Some(at));
                return false;
            }
            None if self.by_both.is_some_and(|at| now.duration_since(at) <= ONE_MOMENT) => return false,
            _ => {}
        }
        self.alone = Some((way, now));
        true
    }
}

impl Interrupts {
    pub fn listen() -> std::io::Result<Self> {
        let both = |kind: nix::sys::signal::Signal| {
            let by_the_guardian = signal(SignalKind::from_raw(in_other_words(kind) as i32))?;
            std::io::Result::Ok((signal(SignalKind::from_raw(kind as i32))?, by_the_guardian))
        };
        use nix::sys::signal::Signal::{SIGINT, SIGTERM};
        Ok(Interrupts { heard: Default::default(), ears: [both(SIGINT)?, both(SIGTERM)?] })
    }

    /// The exit code of the next one: 130 or 143.
    pub async fn next(&mut self) -> u8 {
        loop {
            let [(interrupt, interrupt_by), (terminate, terminate_by)] = &mut self.ears;
            let (kind, way) = tokio::select! {
                _ = interrupt.recv() => (0, Way::Directly),
                _ = interrupt_by.recv() => (0, Way::ByTheGuardian),
                _ = terminate.recv() => (1, Way::Directly),
                _ = terminate_by.recv() => (1, Way::ByTheGuardian),
            };
            if self.heard[kind].is_new(way, Instant::now()) {
                return [130, 143][kind];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_by_both_ways_in_one_breath_is_one() {
        use Way::{ByTheGuardian, Directly};
        let start = Instant::now();
        let told = |signals: &[(Way, u64)]| {
            let mut heard = Heard::default();
            signals.iter().filter(|(way, after_ms)| heard.is_new(*way, start + Duration::from_millis(*after_ms))).count()
        };
        assert_eq!(told(&[(Directly, 0), (Directly, 1)]), 2, "asked twice");
        assert_eq!(told(&[(ByTheGuardian, 0), (ByTheGuardian, 1)]), 2, "the guardian asked twice");
        assert_eq!(told(&[(Directly, 0), (ByTheGuardian, 1)]), 1, "a group was told");
        assert_eq!(told(&[(ByTheGuardian, 0), (Directly, 1), (ByTheGuardian, 2)]), 1, "the guardian was told, then the group");
        assert_eq!(told(&[(Directly, 0), (ByTheGuardian, 1_000)]), 2, "later, by the other way");
        assert_eq!(told(&[(Directly, 0), (ByTheGuardian, 1), (Directly, 1_000), (ByTheGuardian, 1_001)]), 2, "a group was told twice");
        assert_eq!(told(&[(Directly, 0), (ByTheGuardian, 1), (Directly, 200), (ByTheGuardian, 201)]), 2, "and in one breath");
        assert_eq!(told(&[(ByTheGuardian, 0), (Directly, 100), (ByTheGuardian, 200), (Directly, 201)]), 2, "by a slow guardian, too");
    }
}
