//! What a command may use: `resources` of its collector.
//!
//! What the kernel can refuse to one process is set in the child before its program begins ([`launch`](crate::launch)), so that
//! it holds from the program's first instruction on and for all its children: open files, processor time, niceness. A helper that
//! sets its own limits and then becomes the program would be no safer, and would have to say by itself why the program could not
//! be started.
//!
//! Memory is watched and not limited. The kernel's limits (RLIMIT_AS, RLIMIT_DATA) count what is mapped and not what is
//! used: a thread's stack has 8 MiB, a browser maps tens of gigabytes; they count each process alone, and a program to which
//! memory is refused fails with words of its own, of which nobody can tell that it was a limit. So the memory of the
//! whole attempt ([`Kin`]) is looked at ten times a second, pages that several share counted once
//! (`who_uses_too_much_memory_is_ended_and_told`); in a tenth of a second it may pass its limit by as much as it can fill.
//!
//! Processor time is both limited and watched: the kernel counts each process, the look all of the attempt together. What a
//! process used that had lost its parent when it ended is counted by nobody.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use adce_core::ports::Order;
use adce_core::spec::Resources;
use rustix::process::{Resource, Rlimit};

use crate::kin::Kin;

/// Between two looks at what an attempt uses.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A process that does not end by SIGXCPU is killed by the kernel so much processor time later.
const CPU_GRACE_S: u64 = 5;
/// In `/proc` a second has 100 ticks, whatever the kernel's own clock does.
const TICK: Duration = Duration::from_millis(10);

/// Of which resource an attempt used more than its collector may; and how much that may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Memory(u64),
    CpuTime(Duration),
    Output(u64),
}

/// What the kernel enforces by itself.
#[derive(Default)]
pub(crate) struct Limits {
    cpu_time: Option<Rlimit>,
    open_files: Option<Rlimit>,
    nice: Option<i32>,
}

impl Limits {
    pub(crate) fn of(resources: &Resources) -> Self {
        let Resources { cpu_time, open_files, nice, .. } = *resources;
        let cpu_time = cpu_time.map(|span| {
            let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
            within(Resource::Cpu, seconds, seconds + CPU_GRACE_S)
        });
        let open_files = open_files.map(|files| within(Resource::Nofile, files.into(), files.into()));
        // Only root may become more important than it is.
        let is_less = |nice: &i32| *nice > rustix::process::getpriority_process(None).unwrap_or_default();
        Limits { cpu_time, open_files, nice: nice.map(i32::from).filter(is_less) }
    }

    /// For this process and all its children. Makes system calls and nothing else.
    pub(crate) fn set(&self) -> rustix::io::Result<()> {
        if let Some(limit) = self.cpu_time {
            rustix::process::setrlimit(Resource::Cpu, limit)?;
        }
        if let Some(limit) = self.open_files {
            rustix::process::setrlimit(Resource::Nofile, limit)?;
        }
        if let Some(nice) = self.nice {
            rustix::process::setpriority_process(None, nice)?;
        }
        Ok(())
    }
}

/// Never above what this process may have itself.
fn within(resource: Resource, soft: u64, hard: u64) -> Rlimit {
    let most = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) }
}

/// Looks now and then at what an attempt uses.
pub(crate) struct Watch {
    resources: Resources,
    /// The file that holds what it prints, if adce does not see that pass.
    printed: Option<PathBuf>,
    pub(crate) kin: Kin,
}

impl Watch {
    pub(crate) fn over(order: &Order, kin: Kin, printed: Option<&Path>) -> Self {
        Watch { resources: order.collector.resources, printed: printed.map(Path::to_owned), kin }
    }

    /// Whether there is anything to look at.
    pub(crate) fn is_needed(&self) -> bool {
        let Resources { memory, cpu_time, output, .. } = self.resources;
        memory.is_some() || cpu_time.is_some() || (output.is_some() && self.printed.is_some())
    }

    pub(crate) fn look(&mut self) -> Option<Exceeded> {
        let Resources { memory, cpu_time, output, .. } = self.resources;
        let printed = || self.printed.as_ref().and_then(|file| Some(fs::metadata(file).ok()?.len()));
        if let Some(most) = output
            && printed().is_some_and(|bytes| bytes > most)
        {
            return Some(Exceeded::Output(most));
        }
        if memory.is_none() && cpu_time.is_none() {
            return None;
        }
        let members = self.kin.look();
        if let Some(most) = cpu_time
            && members.iter().filter_map(|seen| cpu_time_of(seen.pid)).sum::<Duration>() > most
        {
            return Some(Exceeded::CpuTime(most));
        }
        // What several share is counted for each of them first, because that is cheap to ask; only if that is too much, once.
        let used = |kilobytes_of: fn(i32) -> Option<u64>| 1_024 * members.iter().filter_map(|seen| kilobytes_of(seen.pid)).sum::<u64>();
        memory.filter(|most| used(resident) > *most && used(proportional) > *most).map(Exceeded::Memory)
    }
}

fn resident(pid: i32) -> Option<u64> {
    kilobytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

/// Falls back to what is resident where the kernel does not tell whose it is.
fn proportional(pid: i32) -> Option<u64> {
    let told = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    told.and_then(|text| kilobytes(&text, "Pss:")).or_else(|| resident(pid))
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Its own, and that of its children which have ended.
fn cpu_time_of(pid: i32) -> Option<Duration> {
    ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|ticks| TICK * ticks)
}

/// User and system time of a process and of its children, of a line of `/proc/PID/stat`.
fn ticks(stat: &str) -> Option<u32> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok());
    ticks.sum::<Option<u64>>().map(|ticks| u32::try_from(ticks).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_proc_are_read_by_their_names_and_places() {
        assert_eq!(ticks("42 (a ) (b) S 1 40 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 0 0"), Some(26));
        assert_eq!(ticks("42 (a) S 1"), None);
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t  1234 kB\n", "VmRSS:"), Some(1_234));
        assert_eq!(kilobytes("VmPeak:\t 9 kB\n", "VmRSS:"), None);
        assert!(resident(std::process::id() as i32).is_some_and(|kilobytes| kilobytes > 100));
    }

    #[test]
    fn no_limit_is_above_this_process_own() {
        let own = rustix::process::getrlimit(Resource::Nofile).maximum;
        assert_eq!(within(Resource::Nofile, u64::MAX, u64::MAX).maximum, own.or(Some(u64::MAX)));
    }
}
