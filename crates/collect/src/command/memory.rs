//! Whether the kernel killed somebody for want of memory.
//!
//! All that is left of a process which the OOM killer took is "signal 9", the same as after an operator's `kill -9`; but the
//! kernel counts. The counter is the machine's: if it rose while an attempt ran that died of signal 9, that is said, and no more.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use adce_core::time::Boottime;

/// Short attempts begin by the thousand, and reading all of the kernel's counters takes longer than starting one.
const READ_EVERY: Duration = Duration::from_secs(1);

/// The kernel's counter, as it was last seen.
pub(crate) struct OomKills {
    vmstat: PathBuf,
    latest: Mutex<Option<(Boottime, u64)>>,
}

impl OomKills {
    pub(crate) fn counted_in(vmstat: &Path) -> Self {
        OomKills { vmstat: vmstat.to_owned(), latest: Mutex::default() }
    }

    /// As it was a moment ago at the most.
    pub(crate) fn before(&self, now: Boottime) -> u64 {
        let latest = *self.lock();
        match latest {
            Some((at, kills)) if now < at + READ_EVERY => kills,
            _ => self.have_come_to(now),
        }
    }

    /// As it is; 0 where the kernel does not count.
    pub(crate) fn have_come_to(&self, now: Boottime) -> u64 {
        let kills = std::fs::read_to_string(&self.vmstat).ok().as_deref().and_then(oom_kills).unwrap_or_default();
        *self.lock() = Some((now, kills));
        kills
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Boottime, u64)>> {
        self.latest.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn oom_kills(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("oom_kill "))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counter_is_found_among_the_others() {
        assert_eq!(oom_kills("pgfault 17\noom_kill_x 3\noom_kill 12\nswap_ra 0\n"), Some(12));
        assert_eq!(oom_kills("pgfault 17\n"), None);
    }
}
