//! What has left its group while the engine lives: whose it is, and how it is ended.
//!
//! A daemon forks, leaves its group (`setsid`) and loses its parent. An engine that is a subreaper
//! (`PR_SET_CHILD_SUBREAPER`) is its parent from then on, so nothing that an attempt started is ever out of sight. It is
//! known by `ADCE_ATTEMPT` in its environment; who hides that goes with the last attempt that can have started it, or with its
//! own where attempts have [cgroups](crate::cgroup).
//!
//! For an attempt that leaves nobody all this costs one short read: the kernel gives orphans to the first thread of a
//! process, and lists each thread's children. Attempts are started by other threads, so that list is nearly always empty.
//!
//! Always true: a number is signalled or reaped only while it is certainly an orphan's: nobody else reaps orphans, and
//! looks and the reaping of leaders exclude each other. The leader of an attempt is never reaped here, whoever has ended
//! with it (`a_daemon_is_gone_when_its_attempt_has_ended`, `an_attempt_ends_no_daemon_of_another`).

use std::collections::{HashMap, HashSet};
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use adce_core::ids::AttemptId;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

use crate::cgroup::{Cgroup, Delegated};
use crate::everything;
use crate::launch::Child;
use crate::process::{Children, Named, Seen};

pub(crate) struct Orphans {
    /// Otherwise they are somebody else's, and nothing is done here.
    adopts: bool,
    children: Children,
    /// Those of a shell that became this program (`exec adce`) are somebody else's.
    others: HashSet<i32>,
    /// Where attempts have groups that nobody leaves.
    delegated: Option<Delegated>,
    running: Mutex<HashMap<AttemptId, Leader>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Leader {
    /// Being started: its number is not known yet.
    Starting,
    Runs(i32),
}

/// What one look has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// Told to end, and still there.
    pub(crate) dying: usize,
    /// Whose they are will show in a moment.
    pub(crate) unclear: usize,
    /// They name nobody, and may be another attempt's. Who is between two programs may look like that, too.
    pub(crate) nameless: usize,
}

impl Left {
    pub(crate) fn is_nobody(self) -> bool {
        self == Left::default()
    }
}

impl Orphans {
    /// Whether this process adopts any is asked here, once.
    pub(crate) fn of_this_process() -> Arc<Self> {
        let me = std::process::id();
        let adopts = rustix::process::child_subreaper().is_ok_and(|reaper| reaper.is_some());
        let children = Children::of(me as i32);
        // Nobody reaps them here, so their numbers stay theirs.
        let others = children.now().into_iter().collect();
        Arc::new(Orphans { adopts, children, others, delegated: Delegated::to_this_process(), running: Mutex::default() })
    }

    /// To be called before anything of the attempt is started.
    pub(crate) fn expect(self: &Arc<Self>, attempt: AttemptId) -> Membership {
        self.running().insert(attempt, Leader::Starting);
        let cgroup = self.delegated.as_ref().and_then(|delegated| delegated.make(attempt)).map(Arc::new);
        Membership { attempt, orphans: self.clone(), cgroup }
    }

    /// Dead orphans are reaped when an attempt ends. One that goes on for long may leave many meanwhile.
    pub(crate) async fn reap_now_and_then<T>(&self) -> T {
        loop {
            tokio::time::sleep(REAPED_EVERY).await;
            let running = self.running();
            let _ = self.living(&running);
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<AttemptId, Leader>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, the dead ones among them. Nobody is reaped.
    pub(crate) fn adopted(&self) -> Vec<Seen> {
        if !self.adopts {
            return Vec::new();
        }
        self.children.now().into_iter().filter(|pid| !self.others.contains(pid)).filter_map(Seen::by_pid).collect()
    }

    /// Reaps the dead ones. `Err`: so many may be orphans, or leaders that are being started.
    fn living(&self, running: &HashMap<AttemptId, Leader>) -> Result<Vec<Seen>, usize> {
        if !self.adopts {
            return Ok(Vec::new());
        }
        let is_leader = |pid: i32| running.values().any(|leader| *leader == Leader::Runs(pid));
        let mut orphans = self.children.now();
        orphans.retain(|pid| !is_leader(*pid) && !self.others.contains(pid));
        if !self.children.are_of_the_first_thread() && running.values().any(|leader| *leader == Leader::Starting) {
            return Err(orphans.len());
        }
        Ok(orphans.into_iter().filter(|pid| !is_reaped(*pid)).filter_map(Seen::by_pid).collect())
    }

    /// One look for what this attempt, which runs no more, has left; it is killed.
    fn end(&self, attempt: AttemptId) -> Left {
        let running = self.running();
        let orphans = match self.living(&running) {
            Ok(orphans) => orphans,
            Err(unclear) => return Left { unclear, ..Left::default() },
        };
        let mut left = Left::default();
        for orphan in orphans {
            match orphan.named() {
                Named::NotYet => left.unclear += 1,
                Named::After(other) if other != attempt && running.contains_key(&other) => {}
                named if named == Named::After(attempt) || !may_be_of_others(&orphan, &running) => {
                    left.dying += 1;
                    if let Some(pid) = Pid::from_raw(orphan.pid) {
                        let _ = rustix::process::kill_process(pid, Signal::KILL);
                    }
                }
                Named::After(_) => {}
                Named::ByNobody => left.nameless += 1,
            }
        }
        left
    }
}

const REAPED_EVERY: Duration = Duration::from_secs(1);

/// Whether one of these attempts can have started it: none that began later can.
fn may_be_of_others(orphan: &Seen, running: &HashMap<AttemptId, Leader>) -> bool {
    running.values().any(|leader| match leader {
        Leader::Starting => true,
        Leader::Runs(pid) => Seen::by_pid(*pid).is_none_or(|leader| leader.start_ticks <= orphan.start_ticks),
    })
}

fn is_reaped(orphan: i32) -> bool {
    let Some(orphan) = Pid::from_raw(orphan) else { return true };
    matches!(waitid(WaitId::Pid(orphan), WaitIdOptions::EXITED | WaitIdOptions::NOHANG), Ok(Some(_)) | Err(rustix::io::Errno::CHILD))
}

/// An attempt among those that run, from before its start until its leader is reaped.
pub(crate) struct Membership {
    attempt: AttemptId,
    orphans: Arc<Orphans>,
    cgroup: Option<Arc<Cgroup>>,
}

impl Membership {
    /// If it has one of its own.
    pub(crate) fn cgroup(&self) -> Option<Arc<Cgroup>> {
        self.cgroup.clone()
    }

    pub(crate) fn begins(&self, leader: &Child) {
        self.orphans.running().insert(self.attempt, Leader::Runs(leader.pid().as_raw_pid()));
    }

    /// Waits for the leader's end.
    pub(crate) fn reap(&self, leader: &Child) -> io::Result<ExitStatus> {
        loop {
            {
                let mut running = self.orphans.running();
                if let Some(status) = leader.try_wait()? {
                    everything::may_be_told();
                    running.remove(&self.attempt);
                    return Ok(status);
                }
            }
            let _ = waitid(WaitId::Pid(leader.pid()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        }
    }

    /// After the leader is reaped: kills what the attempt has left outside its group.
    pub(crate) fn end_orphans(&self) -> Left {
        let held = self.cgroup.as_ref().map_or(0, |cgroup| {
            cgroup.kill();
            cgroup.members().len()
        });
        let left = self.orphans.end(self.attempt);
        Left { dying: left.dying.max(held), ..left }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.orphans.running().remove(&self.attempt);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use adce_core::ids::Uuid;

    use super::*;

    #[test]
    fn without_the_kernels_list_a_leader_that_is_being_started_is_not_taken_for_an_orphan() {
        let me = std::process::id() as i32;
        let orphans = Arc::new(Orphans {
            adopts: true,
            children: Children::without_a_list(me),
            others: Children::without_a_list(me).now().into_iter().collect(),
            delegated: None,
            running: Mutex::default(),
        });
        let [starts, ends] = [1, 2].map(|number| orphans.expect(AttemptId(Uuid::from_u128(number))));
        let mut leader = Command::new("true").spawn().unwrap();
        let pid = Pid::from_raw(leader.id() as i32).unwrap();
        waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(ends.end_orphans().unclear >= 1, "it may be either");
        assert!(leader.wait().is_ok_and(|status| status.success()), "it is whose it was, dead or alive");
        drop(starts);
    }
}
