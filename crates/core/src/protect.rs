//! When an engine must start no more work for its own sake: a disk that is nearly full, memory, processor time.
//!
//! A disk that fills up takes down whatever writes next: the state in mid-commit, a collector in mid-file, a lake in mid-object. An engine that stops
//! starting work while there is still room finishes what runs, writes down how that ended, and goes on by itself when there is room again.
//!
//! Always true: it holds as soon as a limit is reached, and lets go only with a quarter more room than that (a tenth less of memory or processor time), so that it does not
//! go back and forth (`who_was_held_goes_on_only_with_room_to_spare`).

use crate::figures::bytes;

/// What an engine may use, and what must be left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protect {
    /// Resident memory of the engine itself.
    pub memory: Option<u64>,
    /// Processor time of the engine itself, in thousandths of one processor.
    pub cpu_permille: Option<u32>,
    /// Bytes that stay free where state, attempts and a local lake lie; 0: nobody looks. `None`: as [`usually_free`] says.
    pub disk: Option<u64>,
}

/// 256 MiB, and of a small disk a twentieth: it is not nearly full because it is small.
fn usually_free(size: u64) -> u64 {
    (256 << 20).min(size / 20)
}

/// Where something of ours is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What lies there.
    pub of: String,
    pub free: u64,
    pub size: u64,
}

/// What is used and left now. What could not be found out is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub memory: Option<u64>,
    /// Of the last while.
    pub cpu_permille: Option<u32>,
    pub disks: Vec<Disk>,
}

/// Why nothing is to start, for a person; none: it may. `is_held`: nothing starts now.
pub fn reasons(limits: &Protect, usage: &Usage, is_held: bool) -> Vec<String> {
    let most = |limit: u64| if is_held { limit - limit / 10 } else { limit };
    let disks = usage.disks.iter().filter_map(|disk| {
        let least = limits.disk.unwrap_or_else(|| usually_free(disk.size));
        let wanted = if is_held { least.saturating_add(least / 4) } else { least };
        let (of, free) = (&disk.of, bytes(disk.free));
        let reason = || format!("the disk of {of} is nearly full: {free} left, {} must stay free (`engine.protect.disk`)", bytes(least));
        (disk.free < wanted).then(reason)
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
        Usage { disks: vec![Disk { of: "the state".into(), free, size: 1 << 40 }], ..Usage::default() }
    }

    #[test]
    fn who_was_held_goes_on_only_with_room_to_spare() {
        let limits = Protect { disk: Some(1_000), memory: Some(1_000), cpu_permille: Some(500) };
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
    fn a_small_disk_is_not_nearly_full_because_it_is_small() {
        let on = |size: u64, free: u64| {
            let disks = vec![Disk { of: "the lake".into(), free, size }];
            reasons(&Protect::default(), &Usage { disks, ..Usage::default() }, false).is_empty()
        };
        assert!(on(1_000_000, 50_000) && !on(1_000_000, 49_999));
        assert!(on(1 << 40, 256 << 20) && !on(1 << 40, (256 << 20) - 1));
    }

    #[test]
    fn what_is_not_limited_or_not_known_holds_nobody() {
        let unlimited = Protect { disk: Some(0), ..Protect::default() };
        assert_eq!(
            reasons(&unlimited, &Usage { memory: Some(u64::MAX), cpu_permille: Some(9_999), ..disk(0) }, true),
            Vec::<String>::new()
        );
        assert_eq!(reasons(&Protect { memory: Some(1), ..unlimited }, &Usage::default(), false), Vec::<String>::new());
    }
}
