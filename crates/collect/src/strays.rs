//! Ends what an engine that was killed left running outside the groups that it had recorded.
//!
//! A daemon leaves its group (`setsid`), and a process that was started in the milliseconds before the kill was not
//! recorded at all. Either would go on writing beside the attempt that its gap is handed to next. Both carry the id of
//! their attempt in the environment they were started with, and so do nearly all that they start.
//!
//! Always true: nothing is killed that does not name one of these attempts or descend from one that does; attempts of
//! another state have other ids (`attempts_of_another_state_are_left_alone`). A number that was given to somebody else
//! between the look and the kill is noticed: the kill goes to a descriptor, whose start time was compared.
//!
//! Not found is who hides its environment and whose parent, which did not, is gone: nothing of it names anybody.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use adce_core::ids::AttemptId;
use rustix::process::Signal;

use crate::process::{Named, Seen, descendants, is_gone};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedStrays {
    /// Processes that were killed and are gone.
    pub killed: Vec<i32>,
    /// Those that would not go: they hang in the kernel, or this user may not end them. Their gaps must wait.
    pub survivors: Vec<i32>,
}

/// Kills whatever belongs to one of these attempts and waits, at most `patience` in all, until it is gone. Blocks: call
/// it before anything else runs.
pub fn end_strays(attempts: &HashSet<AttemptId>, patience: Duration) -> EndedStrays {
    let mut ended = EndedStrays::default();
    if attempts.is_empty() {
        return ended;
    }
    let deadline = Instant::now() + patience;
    loop {
        let mut strays = strays_of(attempts);
        strays.retain(|stray| !ended.survivors.contains(&stray.pid));
        if strays.is_empty() {
            return ended;
        }
        if Instant::now() >= deadline {
            // Nobody can be followed here, or new ones come all the time.
            ended.survivors.extend(strays.iter().map(|stray| stray.pid));
            return ended;
        }
        let dying: Vec<(i32, OwnedFd)> = strays.iter().filter_map(|stray| Some((stray.pid, stray.signal(Signal::KILL)?))).collect();
        for (pid, process) in dying {
            match is_gone(&process, deadline) {
                true => ended.killed.push(pid),
                false => ended.survivors.push(pid),
            }
        }
    }
}

/// Living processes of these attempts, and all that descend from them; never this one or who started it.
fn strays_of(attempts: &HashSet<AttemptId>) -> Vec<Seen> {
    let living: Vec<Seen> = Seen::all().into_iter().filter(|seen| !seen.dead && !seen.of_the_kernel).collect();
    let is_one = |seen: &&Seen| matches!(name_of(seen), Named::After(attempt) if attempts.contains(&attempt));
    let of_attempts = living.iter().filter(is_one).map(|seen| seen.pid).collect();
    let mut found = descendants(&living, of_attempts);
    let mut spared = Some(std::process::id() as i32);
    while let Some(pid) = spared {
        found.remove(&pid);
        spared = living.iter().find(|seen| seen.pid == pid).map(|seen| seen.parent);
    }
    living.into_iter().filter(|seen| found.contains(&seen.pid)).collect()
}

/// Of who is between two programs, the name that it has in the second one.
fn name_of(seen: &Seen) -> Named {
    let deadline = Instant::now() + LONGEST_START;
    loop {
        match seen.named() {
            Named::NotYet if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
            named => return named,
        }
    }
}

/// The kernel needs less than a millisecond to begin a program, unless the machine is very busy.
const LONGEST_START: Duration = Duration::from_secs(2);
