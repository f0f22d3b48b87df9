//! When an engine must start no more work for its own sake: a disk that is nearly full, memory, processor time.
//!
//! A disk that fills up takes down whatever writes next: the state in mid-commit, a collector in mid-file, a lake in mid-object. An engine that stops
//! starting work while there is still room finishes what runs, writes down how that ended, and goes on by itself when there is room again.
//!
//! Always true: it holds as soon as a limit is reached, and lets go only with a quarter more room than that (a tenth less of memory or processor time), so that it does not
//! go back and forth (`who_was_held_goes_on_only_with_room_to_spare`).

use crate::figures::bytes;

/// What an engine may use, and what must be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protect {
    /// Resident memory of the engine itself.
    pub memory: Option<u64>,
    /// Processor time of the engine itself, in thousandths of one processor.
    pub cpu_permille: Option<u32>,
    /// Bytes that stay free where state, attempts and a local lake lie; 0: nobody looks.
    pub disk: u64,
}

impl Default for Protect {
    fn default() -> Self {
        Protect { memory: None, cpu_permille: None, disk: 256 << 20 }
    }
}

/// What is used and left now. What could not be found out is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub memory: Option<u64>,
    /// Of the last while.
    pub cpu_permille: Option<u32>,
    /// What is left, by what lies there.
    pub disks: Vec<(String, u64)>,
}

/// Why nothing is to start, for a person; none: it may. `is_held`: nothing starts now.
pub fn reasons(limits: &Protect, usage: &Usage, is_held: bool) -> Vec<String> {
    let least = if is_held { limits.disk.saturating_add(limits.disk / 4) } else { limits.disk };
    let most = |limit: u64| if is_held { limit - limit / 10 } else { limit };
    let disks = usage.disks.iter().filter(|(_, free)| *free < least).map(|(what, free)| {
        format!("the disk of {what} is nearly full: {} left, {} must stay free (`engine.protect.disk`)", bytes(*free), bytes(limits.disk))
    });
    let memory = limits.memory.zip(usage.memory).filter(|(limit, used)| *used > most(*limit));
    let memory = memory
        .map(|(limit, used)| format!("the engine takes {} of memory, more than {} (`engine.protect.memory`)", bytes(used), bytes(limit)));
    let cpu = limits.cpu_permille.zip(usage.cpu_permille).filter(|(limit, used)| u64::from(*used) > most(u64::from(*limit)));
    let cpu = cpu
        .map(|(limit, used)| format!("the engine takes {} % of a processor, more than {} % (`engine.protect.cpu`)", used / 10, limit / 10));
    disks.chain(memory).chain(cpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(free: u64) -> Usage {
        Usage { disks: vec![("the state".into(), free)], ..Usage::default() }
    }

    #[test]
    fn who_was_held_goes_on_only_with_room_to_spare() {
        let limits = Protect { disk: 1_000, memory: Some(1_000), cpu_permille: Some(500) };
        assert_eq!(reasons(&limits, &disk(1_000), false), Vec::<String>::new());
        assert_eq!(reasons(&limits, &disk(999), false).len(), 1);
        assert_eq!(reasons(&limits, &disk(1_249), true).len(), 1, "it would be held again in a moment");
        assert_eq!(reasons(&limits, &disk(1_250), true), Vec::<String>::new());
        let uses = |memory, cpu_permille| Usage { memory: Some(memory), cpu_permille: Some(cpu_permille), ..disk(9_999) };
        assert_eq!(reasons(&limits, &uses(1_001, 501), false).len(), 2);
        assert_eq!(reasons(&limits, &uses(950, 460), false), Vec::<String>::new());
        assert_eq!(reasons(&limits, &uses(950, 460), true).len(), 2);
        assert_eq!(reasons(&limits, &uses(900, 450), true), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_limited_or_not_known_holds_nobody() {
        let unlimited = Protect { disk: 0, ..Protect::default() };
        assert_eq!(
            reasons(&unlimited, &Usage { memory: Some(u64::MAX), cpu_permille: Some(9_999), ..disk(0) }, true),
            Vec::<String>::new()
        );
        assert_eq!(reasons(&Protect { memory: Some(1), ..unlimited }, &Usage::default(), false), Vec::<String>::new());
    }
}
