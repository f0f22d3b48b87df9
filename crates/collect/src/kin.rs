//! Who belongs to an attempt, wherever among the processes of this machine it has got to.
//!
//! Helpers leave a scraper's group for harmless reasons (`timeout`, `setsid -w`, job control of a shell). If an attempt was
//! its group alone, they would use what nobody counts, and be killed in the middle of what everybody else may finish. So
//! it is its group, all that descends from any of it, and the orphans that name it; and whoever was once seen to be of it
//! stays of it, though it lose its parent or hide its name.
//!
//! Asked of an attempt that is short, or bounded in nothing and never told to end, it costs nothing. A look at the
//! kernel's lists of children is a few short reads for each process of the attempt. A look at all the machine's is made
//! once a second instead, because a member that lost its parent is on no such list where orphans are not adopted; and
//! whenever an attempt is told to end.
//!
//! Always true: a process outside of the group is signalled by a descriptor, after its start time was compared with that
//! of the one that was seen. To be asked only while the leader is not reaped: the group's number is its own so long.
//!
//! Not found is who lost its parent between two looks and hides `ADCE_ATTEMPT`; [`crate::orphans`] ends it with the last
//! attempt that can have started it. Where attempts have [cgroups](crate::cgroup) nobody is missed.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use adce_core::ids::AttemptId;
use nix::time::{ClockId, clock_gettime};
use rustix::process::Signal;

use crate::cgroup::Cgroup;
use crate::orphans::Orphans;
use crate::process::{Group, Pauses, Seen, descendants};

/// Every so manieth look is at all processes of the machine.
const LOOKS_AMONG_ALL: u32 = 10;
/// In `/proc` a second has 100 ticks, whatever the kernel's own clock does.
const TICKS_A_SECOND: u64 = 100;

pub(crate) struct Kin {
    attempt: AttemptId,
    group: i32,
    orphans: Arc<Orphans>,
    /// Whoever is in it is of the attempt, whatever it hides.
    cgroup: Option<Arc<Cgroup>>,
    /// When those began that were alive at the last look, by their numbers.
    known: HashMap<i32, u64>,
    looks: u32,
}

impl Kin {
    pub(crate) fn of(attempt: AttemptId, group: &Group, orphans: Arc<Orphans>) -> Self {
        Kin { attempt, group: group.id(), orphans, cgroup: group.cgroup(), known: HashMap::new(), looks: 0 }
    }

    /// Those alive.
    pub(crate) fn look(&mut self) -> Vec<Seen> {
        self.looks += 1;
        if self.looks % LOOKS_AMONG_ALL == 1 {
            return self.look_at_all();
        }
        let me = std::process::id() as i32;
        let mut found: HashMap<i32, Seen> = HashMap::new();
        let known = self.known.keys().filter_map(|pid| Seen::by_pid(*pid)).filter(|seen| self.knows(seen));
        let mut to_ask: Vec<Seen> = known.chain(self.orphans_of_it()).chain(self.held()).collect();
        while let Some(seen) = to_ask.pop() {
            if seen.dead || found.insert(seen.pid, seen).is_some() {
                continue;
            }
            // Between the list and the look it may have lost its parent; nobody else's child has come into its place.
            let is_its = |child: &Seen| child.parent == seen.pid || child.parent == me;
            to_ask.extend(children(seen.pid).into_iter().filter_map(Seen::by_pid).filter(is_its));
        }
        self.remember(found.into_values().collect())
    }

    /// Those alive, also those of whom nothing but the group's number tells.
    pub(crate) fn look_at_all(&mut self) -> Vec<Seen> {
        let orphans: Vec<Seen> = self.orphans_of_it().into_iter().chain(self.held()).collect();
        let all = Seen::all();
        let is_one = |seen: &&Seen| seen.group == self.group || self.knows(seen) || orphans.iter().any(|orphan| orphan.is_same(seen));
        let ancestors = all.iter().filter(is_one).map(|seen| seen.pid).collect();
        let found = descendants(&all, ancestors);
        self.remember(all.into_iter().filter(|seen| found.contains(&seen.pid) && !seen.dead).collect())
    }

    /// SIGTERM to everybody who is there. Nobody who is started because of it is told: it does what others left undone.
    pub(crate) fn terminate(&mut self, group: &Group) {
        let mut told = self.look_at_all();
        group.terminate();
        let told_at = ticks();
        told.retain(|seen| seen.group != self.group);
        tell(&told);
        let mut missed = self.look_at_all();
        missed.retain(|seen| is_missed(seen, self.group, &told, told_at));
        tell(&missed);
    }

    /// SIGKILL, until a look finds nobody. Returns how many would not go within a while: they hang in the kernel, or are not
    /// this user's to end.
    pub(crate) async fn end(&mut self, group: &Group) -> usize {
        let mut pauses = Pauses::default();
        loop {
            group.kill();
            let left = self.look_at_all();
            for seen in left.iter().filter(|seen| seen.group != self.group) {
                let _ = seen.signal(Signal::KILL);
            }
            match pauses.next() {
                Some(pause) if !left.is_empty() => tokio::time::sleep(pause).await,
                _ => return left.len(),
            }
        }
    }

    fn orphans_of_it(&self) -> Vec<Seen> {
        let orphans = self.orphans.adopted().into_iter();
        orphans.filter(|orphan| !orphan.dead && (self.knows(orphan) || orphan.is_of(self.attempt))).collect()
    }

    fn held(&self) -> Vec<Seen> {
        self.cgroup.as_ref().map(|cgroup| cgroup.members()).unwrap_or_default()
    }

    fn knows(&self, seen: &Seen) -> bool {
        self.known.get(&seen.pid) == Some(&seen.start_ticks)
    }

    fn remember(&mut self, living: Vec<Seen>) -> Vec<Seen> {
        self.known = living.iter().map(|seen| (seen.pid, seen.start_ticks)).collect();
        living
    }
}

/// Whether somebody who is there after all were told is to be told, too: it has left the group, or was started by one who
/// had, between the look and the telling. Whoever is as young as that was started because of it.
fn is_missed(seen: &Seen, group: i32, told: &[Seen], told_at: u64) -> bool {
    seen.group != group && seen.start_ticks < told_at && !told.iter().any(|other| other.is_same(seen))
}

fn tell(those: &[Seen]) {
    for seen in those {
        let _ = seen.signal(Signal::TERM);
    }
}

/// Since boot, as start times are counted. 0, before all of them, if the kernel does not say.
fn ticks() -> u64 {
    let since_boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from).unwrap_or_default();
    (since_boot.as_millis() * u128::from(TICKS_A_SECOND) / 1_000) as u64
}

/// Of all its threads.
fn children(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_each = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    of_each.flat_map(|pids| pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_there_is_told_once_and_nobody_who_was_started_because_of_it() {
        let process = |pid, group, start_ticks| {
            let (parent, of_the_kernel, dead, sleeps) = (1, false, false, true);
            Seen { pid, parent, group, of_the_kernel, start_ticks, dead, sleeps }
        };
        let (told, told_at) = ([process(20, 20, 100)], 300);
        let is_missed = |pid, group, start_ticks| is_missed(&process(pid, group, start_ticks), 10, &told, told_at);
        assert!(is_missed(21, 21, 299), "it was started while nobody looked");
        assert!(is_missed(20, 20, 299), "it has the number of one that was told, and is another one");
        assert!(!is_missed(21, 21, 300), "it does what somebody who was told has left undone");
        assert!(!is_missed(20, 20, 100), "it was told");
        assert!(!is_missed(11, 10, 200), "it was told with its group");
    }

    #[test]
    fn what_has_started_just_now_has_not_started_after_now() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let started = Seen::by_pid(child.id() as i32).unwrap().start_ticks;
        child.wait().unwrap();
        let now = ticks();
        assert!(started <= now && now < started + 60 * TICKS_A_SECOND, "{started} {now}");
    }
}
