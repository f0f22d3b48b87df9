//! Dies where `ADCE_FAILPOINT` says, as of `kill -9`. Only in builds for tests.
//!
//! `renamed`: when the engine gets there; `renamed:2`: the second time; with `+guardian` the guardian above it dies
//! first, so that nobody is left to end what the engine had started.

use std::sync::atomic::{AtomicU32, Ordering};

use adce_core::failpoint::{Failpoint, watch};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::getppid;

pub const VARIABLE: &str = "ADCE_FAILPOINT";

#[derive(Debug, PartialEq, Eq)]
struct Death {
    at: Failpoint,
    /// 1: the first.
    time: u32,
    with_the_guardian: bool,
}

/// Call it in the process that is to die, before it begins its work.
pub fn arm() {
    let Ok(text) = std::env::var(VARIABLE) else { return };
    let Some(death) = Death::parse(&text) else { panic!("{VARIABLE}={text}: there is no such failpoint") };
    let passed = AtomicU32::new(0);
    watch(move |point| {
        if point == death.at && passed.fetch_add(1, Ordering::SeqCst) + 1 == death.time {
            if death.with_the_guardian {
                let _ = kill(getppid(), Signal::SIGKILL);
            }
            let _ = raise(Signal::SIGKILL);
        }
    });
}

impl Death {
    fn parse(text: &str) -> Option<Death> {
        let (text, with_the_guardian) = text.strip_suffix("+guardian").map_or((text, false), |text| (text, true));
        let (name, time) = text.split_once(':').unwrap_or((text, "1"));
        let at = Failpoint::ALL.iter().copied().find(|point| point.name() == name)?;
        let time = time.parse().ok().filter(|time| *time > 0)?;
        Some(Death { at, time, with_the_guardian })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_named_counted_and_shared() {
        let death = |at, time, with_the_guardian| Some(Death { at, time, with_the_guardian });
        assert_eq!(Death::parse("renamed"), death(Failpoint::Renamed, 1, false));
        assert_eq!(Death::parse("renamed:3+guardian"), death(Failpoint::Renamed, 3, true));
        assert_eq!(["nowhere", "renamed:0", "renamed:x", "renamed+nobody"].map(Death::parse), [None, None, None, None]);
    }

    #[test]
    fn each_has_a_name_of_its_own() {
        let names: std::collections::HashSet<&str> = Failpoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Failpoint::ALL.len());
    }
}
