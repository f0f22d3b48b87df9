//! Ends what an engine that was killed left running.
//!
//! After a `kill -9` its scrapers live on. A successor that handed their gaps out again beside them would have two
//! owners for one gap. It therefore ends the recorded process groups first, and waits until they are gone.
//!
//! Always true: nothing is killed that is not proven to be the recorded attempt's: the leader by its start time, other
//! members by `ADCE_ATTEMPT` in the environment they were started with, or by being in the attempt's own cgroup
//! (`a_process_that_is_not_the_recorded_one_is_never_killed`).
//!
//! What left its group, or was started but not yet recorded, is found by [`crate::end_strays`].

use std::time::{Duration, Instant};

use adce_core::record::ProcessRecord;
use adce_core::time::BootId;
use rustix::process::{Pid, Signal};

use crate::cgroup::Delegated;
use crate::process::Seen;

/// What became of one recorded group that was still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedGroup {
    pub record: ProcessRecord,
    /// Processes that were killed.
    pub killed: Vec<i32>,
    /// Those of them that would not go: they hang in the kernel, and their gaps must wait.
    pub survivors: Vec<i32>,
}

/// Kills what runs of the recorded groups of this boot and waits, at most `patience` in all, until it is gone. Returns
/// only the groups of which something was still there. Blocks: call it before anything else runs.
pub fn end_predecessors(records: &[ProcessRecord], boot: &BootId, patience: Duration) -> Vec<EndedGroup> {
    if records.iter().all(|record| record.boot_id != *boot) {
        return Vec::new();
    }
    let processes = Seen::all();
    let delegated = Delegated::to_this_process();
    let of_this_boot = records.iter().filter(|record| record.boot_id == *boot);
    let mut ended: Vec<EndedGroup> = of_this_boot.filter_map(|record| end(record, &processes, delegated.as_ref())).collect();
    let deadline = Instant::now() + patience;
    for group in &mut ended {
        group.survivors = survivors(&group.killed, deadline);
        // Empty by now, it can be removed.
        drop(delegated.as_ref().and_then(|delegated| delegated.left_of(group.record.attempt)));
    }
    ended
}

fn end(record: &ProcessRecord, processes: &[Seen], delegated: Option<&Delegated>) -> Option<EndedGroup> {
    let mut killed: Vec<i32> = Vec::new();
    // Whoever is in the attempt's own cgroup needs no other proof.
    if let Some(cgroup) = delegated.and_then(|delegated| delegated.left_of(record.attempt)) {
        killed.extend(cgroup.members().iter().map(|seen| seen.pid));
        cgroup.kill();
    }
    let mut proven = Proven::of(record, processes);
    // A member that was forked between the look and the kill shows at the next look.
    while proven.members.iter().any(|pid| !killed.contains(pid)) {
        match proven.scope {
            Scope::WholeGroup => signal(record.process_group, rustix::process::kill_process_group),
            Scope::MembersAlone => proven.members.iter().for_each(|pid| signal(*pid, rustix::process::kill_process)),
        }
        proven.members.retain(|pid| !killed.contains(pid));
        killed.append(&mut proven.members);
        proven = Proven::of(record, &Seen::all());
    }
    (!killed.is_empty()).then(|| EndedGroup { record: record.clone(), killed, survivors: Vec::new() })
}

/// Living processes that are certainly of the recorded attempt.
struct Proven {
    members: Vec<i32>,
    scope: Scope,
}

enum Scope {
    WholeGroup,
    /// The group's number has been given to somebody else.
    MembersAlone,
}

impl Proven {
    /// While the recorded leader has its number, alive or as a zombie, the group cannot be anybody else's; nor can it
    /// when the leader is gone and a member carries the attempt's id, for a number is not given away while in use.
    fn of(record: &ProcessRecord, processes: &[Seen]) -> Self {
        let members: Vec<&Seen> = processes.iter().filter(|seen| seen.group == record.process_group).collect();
        let has_its_number = processes.iter().find(|seen| seen.pid == record.process_group);
        let scope = match has_its_number {
            Some(seen) if seen.start_ticks == record.start_ticks => Scope::WholeGroup,
            Some(_) => Scope::MembersAlone,
            None if members.iter().any(|seen| seen.is_of(record.attempt)) => Scope::WholeGroup,
            None => Scope::MembersAlone,
        };
        let is_proven = |seen: &&&Seen| matches!(scope, Scope::WholeGroup) || seen.is_of(record.attempt);
        let members = members.iter().filter(|seen| !seen.dead).filter(is_proven).map(|seen| seen.pid).collect();
        Proven { members, scope }
    }
}

fn signal(number: i32, send: fn(Pid, Signal) -> rustix::io::Result<()>) {
    if let Some(pid) = Pid::from_raw(number) {
        // It fails only if nobody is left to be told.
        let _ = send(pid, Signal::KILL);
    }
}

fn survivors(killed: &[i32], deadline: Instant) -> Vec<i32> {
    let mut left = killed.to_vec();
    loop {
        left.retain(|pid| Seen::by_pid(*pid).is_some_and(|seen| !seen.dead));
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
