//! Process groups: what runs, what it belongs to, and how it is ended for good.
//!
//! A scraper starts browsers and helpers; if one of them lived on, it would write into a lake that a later attempt
//! believes to be its own. So a group is ended as a whole, and nobody goes on before it is gone.
//!
//! Always true: a signal goes to a group only while its leader, dead or alive, is still ours and unreaped, because
//! only so long can nobody else have its number. What left its group (`setsid`) is ended by [`crate::orphans`].

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adce_core::ids::AttemptId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::cgroup::Cgroup;
use crate::launch::Child;
use crate::orphans::{Left, Membership};

/// A process as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// A thread of the kernel, which nobody started.
    pub(crate) of_the_kernel: bool,
    /// Clock ticks since boot.
    pub(crate) start_ticks: u64,
    pub(crate) dead: bool,
    /// Waits for something and can be woken.
    pub(crate) sleeps: bool,
}

impl Seen {
    /// `None`: there is no such process.
    pub(crate) fn by_pid(pid: i32) -> Option<Seen> {
        Seen::parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command's name, in parentheses, may hold anything, also spaces and parentheses.
    fn parse(pid: i32, stat: &[u8]) -> Option<Seen> {
        let after_name = &stat[memchr::memrchr(b')', stat)? + 1..];
        let mut fields = std::str::from_utf8(after_name).ok()?.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let flags: u32 = fields.nth(3)?.parse().ok()?;
        let start_ticks = fields.nth(12)?.parse().ok()?;
        let of_the_kernel = flags & KERNEL_THREAD != 0;
        let (dead, sleeps) = (matches!(state, "Z" | "X" | "x"), matches!(state, "S" | "T" | "t" | "I"));
        Some(Seen { pid, parent, group, of_the_kernel, start_ticks, dead, sleeps })
    }

    /// All processes that this one may see.
    pub(crate) fn all() -> Vec<Seen> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Seen::by_pid).collect()
    }

    /// Members of the group that still run.
    pub(crate) fn living_in(group: i32) -> Vec<Seen> {
        Seen::all().into_iter().filter(|seen| seen.group == group && !seen.dead).collect()
    }

    /// What its environment, as it was at its start, says of its attempt.
    pub(crate) fn named(&self) -> Named {
        let Ok(environment) = self.environment() else { return Named::ByNobody };
        let mut values = environment.split(|byte| *byte == 0).filter_map(|entry| entry.strip_prefix(b"ADCE_ATTEMPT="));
        match values.find_map(|value| std::str::from_utf8(value).ok()?.parse().ok()) {
            Some(attempt) => Named::After(attempt),
            None if environment.is_empty() && self.begins_a_program() => Named::NotYet,
            None => Named::ByNobody,
        }
    }

    fn environment(&self) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(format!("/proc/{}/environ", self.pid))?;
        // In one go: one that begins another program between two reads would seem to end after the first.
        let mut environment = vec![0; USUAL_ENVIRONMENT_BYTES];
        let filled = file.read(&mut environment)?;
        environment.truncate(filled);
        if filled == USUAL_ENVIRONMENT_BYTES {
            file.read_to_end(&mut environment)?;
        }
        Ok(environment)
    }

    /// Of one that showed no environment: it has given up its last program, and the next one's environment may not be in
    /// its place yet. Not so who sleeps and was given an empty one: nobody sleeps between two programs.
    fn begins_a_program(&self) -> bool {
        let Ok(stat) = fs::read(format!("/proc/{}/stat", self.pid)) else { return false };
        let Some(seen) = Seen::parse(self.pid, &stat) else { return false };
        let mut from_the_end = stat.rsplit(|byte| *byte == b' ').skip(1);
        let (end, start) = (from_the_end.next(), from_the_end.next());
        let was_given_none = start == end && end != Some(b"0") && seen.sleeps;
        !was_given_none && !seen.dead && !seen.of_the_kernel
    }

    pub(crate) fn is_of(&self, attempt: AttemptId) -> bool {
        self.named() == Named::After(attempt)
    }

    /// Whether that is this process, and not another one that was given its number.
    pub(crate) fn is_same(&self, other: &Seen) -> bool {
        (self.pid, self.start_ticks) == (other.pid, other.start_ticks)
    }

    /// Sends it a signal, and nobody who has been given its number since. `None`: it has ended by itself, or the kernel
    /// lets nobody follow it. Who may not be signalled is found to be there still.
    pub(crate) fn signal(&self, signal: Signal) -> Option<OwnedFd> {
        let process = rustix::process::pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        if !Seen::by_pid(self.pid)?.is_same(self) {
            return None;
        }
        let _ = rustix::process::pidfd_send_signal(&process, signal);
        Some(process)
    }
}

/// Those of `all` that descend from one of `ancestors`, and these themselves. Dead ones count as parents: they may have
/// been alive when their children were looked at.
pub(crate) fn descendants(all: &[Seen], ancestors: HashSet<i32>) -> HashSet<i32> {
    let mut found = ancestors;
    loop {
        let of_them = all.iter().filter(|seen| found.contains(&seen.parent) && !found.contains(&seen.pid));
        let of_them: Vec<i32> = of_them.map(|seen| seen.pid).collect();
        if of_them.is_empty() {
            return found;
        }
        found.extend(of_them);
    }
}

/// Waits for the end of a process.
pub(crate) fn is_gone(process: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(process, PollFlags::IN)], left.as_ref()) {
            Ok(ended) => return ended > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Somebody whose end can be waited for, whoever's child it is.
pub struct Followed(OwnedFd);

impl Followed {
    /// Its number must be its own until this returns.
    pub fn by_pid(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(Followed(rustix::process::pidfd_open(pid, PidfdFlags::empty())?))
    }

    pub fn has_ended_by(&self, deadline: Instant) -> bool {
        is_gone(&self.0, deadline)
    }
}

/// The children of a process's first thread, to which the kernel also gives whoever of its other threads' children, or
/// below it, has lost its parent. Dead ones are among them until they are reaped.
pub struct Children {
    parent: i32,
    list: Option<fs::File>,
}

impl Children {
    pub fn of(parent: i32) -> Self {
        Children { parent, list: fs::File::open(format!("/proc/{parent}/task/{parent}/children")).ok() }
    }

    #[cfg(test)]
    pub(crate) fn without_a_list(parent: i32) -> Self {
        Children { parent, list: None }
    }

    /// Otherwise the kernel was built without that list, and children of all the other threads are among them.
    pub fn are_of_the_first_thread(&self) -> bool {
        self.list.is_some()
    }

    pub fn now(&self) -> Vec<i32> {
        let Some(list) = &self.list else {
            return Seen::all().into_iter().filter(|seen| seen.parent == self.parent).map(|seen| seen.pid).collect();
        };
        let mut text = vec![0; USUAL_LIST_BYTES];
        let mut filled = list.read_at(&mut text, 0).unwrap_or_default();
        while filled == text.len() {
            text.resize(2 * filled, 0);
            filled = list.read_at(&mut text, 0).unwrap_or_default();
        }
        String::from_utf8_lossy(&text[..filled]).split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}

/// Some hundred children.
const USUAL_LIST_BYTES: usize = 4 << 10;

/// To whom a process belongs by its own environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    After(AttemptId),
    /// It was given no name, or is not ours to look at.
    ByNobody,
    /// It is about to begin a program: whoever asks must ask again.
    NotYet,
}

/// Far more than nearly everybody has.
const USUAL_ENVIRONMENT_BYTES: usize = 64 << 10;

/// `PF_KTHREAD` of the flags in /proc/PID/stat.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// A child that leads its own process group. Dropped, the whole group is killed.
pub(crate) struct Group {
    /// `None` once it is reaped: from then on the number may be somebody else's.
    leader: Option<Child>,
    id: i32,
    membership: Option<Membership>,
}

impl Group {
    /// `leader` was launched in a group of its own.
    pub(crate) fn led_by(leader: Child, membership: Membership) -> Self {
        let id = leader.pid().as_raw_pid();
        membership.begins(&leader);
        Group { leader: Some(leader), id, membership: Some(membership) }
    }

    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// Readable once the leader has ended.
    pub(crate) fn leader_descriptor(&self) -> io::Result<OwnedFd> {
        let pid = Pid::from_raw(self.id).ok_or(io::ErrorKind::NotFound)?;
        Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let (Some(_), Some(group)) = (&self.leader, Pid::from_raw(self.id)) {
            // It fails only if nobody is left to be told.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Kills what is left of the group, reaps the leader and waits until nobody of the group runs any more. Returns
    /// how many would not go within a while: only a process that hangs in the kernel can do that.
    pub(crate) async fn end(&mut self) -> io::Result<(ExitStatus, usize)> {
        let status = self.kill_and_reap()?;
        Ok((status, self.gone().await))
    }

    /// Of a group that was killed and whose leader is reaped: waits until nobody of it runs any more, nor of those who left
    /// it, and returns how many would not go.
    ///
    /// Polls, because nobody is told when somebody else's child ends. The first look nearly always suffices.
    pub(crate) async fn gone(&self) -> usize {
        let mut pauses = Pauses::default();
        loop {
            let left = self.left(pauses.so_far);
            match pauses.next() {
                Some(pause) if left > 0 => tokio::time::sleep(pause).await,
                _ => return left,
            }
        }
    }

    /// Whether nobody of it is left, in the group or outside, after its leader is reaped.
    pub(crate) fn is_gone(&self) -> bool {
        self.end_orphans().is_nobody() && !answers(self.id)
    }

    /// How many there still are after so many looks.
    fn left(&self, looks: u32) -> usize {
        let orphans = self.end_orphans();
        // Zombies that nobody reaps yet answer to signals, but they do no harm: /proc tells them apart.
        let members = if !answers(self.id) { 0 } else { Seen::living_in(self.id).len().max(usize::from(looks <= 2)) };
        let unclear = if looks <= LOOKS_AT_THE_UNCLEAR { orphans.unclear } else { 0 };
        members + orphans.dying + unclear + if looks <= LOOKS_AT_THE_NAMELESS { orphans.nameless } else { 0 }
    }

    /// The group of the kernel that its attempt has for itself, if it has one.
    pub(crate) fn cgroup(&self) -> Option<Arc<Cgroup>> {
        self.membership.as_ref().and_then(Membership::cgroup)
    }

    fn end_orphans(&self) -> Left {
        self.membership.as_ref().map(Membership::end_orphans).unwrap_or_default()
    }

    /// Kills what is left of the group and waits for the leader's end, which comes at once.
    pub(crate) fn kill_and_reap(&mut self) -> io::Result<ExitStatus> {
        self.kill();
        match (self.leader.take(), &self.membership) {
            (Some(leader), Some(membership)) => membership.reap(&leader),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        if let Some(leader) = self.leader.take() {
            let mut rest = Group { leader: Some(leader), id: self.id, membership: self.membership.take() };
            // It dies at once, but perhaps not within this call: nobody here may wait for it.
            std::thread::spawn(move || {
                let _ = rest.kill_and_reap();
                let mut pauses = Pauses::default();
                while let (1.., Some(pause)) = (rest.left(pauses.so_far), pauses.next()) {
                    std::thread::sleep(pause);
                }
            });
        }
    }
}

/// Who is between two programs for longer than so many looks, a quarter of a second, is somebody else's.
const LOOKS_AT_THE_UNCLEAR: u32 = 10;

/// Who hides his environment is seen again at the end of every attempt beside his own: some ten milliseconds are enough.
const LOOKS_AT_THE_NAMELESS: u32 = 4;

/// Between one look and the next: 1 ms, soon 50, for about ten seconds in all.
#[derive(Default)]
pub(crate) struct Pauses {
    so_far: u32,
}

impl Pauses {
    pub(crate) fn next(&mut self) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_millis(50);
        const AT_MOST: u32 = 200;
        self.so_far += 1;
        (self.so_far <= AT_MOST).then(|| LONGEST.min(Duration::from_millis(1 << self.so_far.min(7) >> 1)))
    }
}

/// Whether the group has a member, be it a zombie. Sends nothing.
pub(crate) fn answers(group: i32) -> bool {
    Pid::from_raw(group).is_some_and(|group| rustix::process::test_kill_process_group(group) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_and_spaces_do_not_shift_the_fields() {
        let stat = b"42 (a ) (b) S 1 40 40 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 0 0";
        let seen = Seen { pid: 42, parent: 1, group: 40, of_the_kernel: false, start_ticks: 98765, dead: false, sleeps: true };
        assert_eq!(Seen::parse(42, stat), Some(seen));
        assert_eq!(Seen::parse(42, b"42 (a"), None);
    }

    #[test]
    fn children_are_found_with_the_kernels_list_or_without_it() {
        let me = std::process::id() as i32;
        let mut child = std::process::Command::new("tail").args(["-f", "/dev/null"]).spawn().unwrap();
        let without = Children::without_a_list(me).now();
        let of_this_thread = Children { parent: me, list: fs::File::open("/proc/thread-self/children").ok() }.now();
        child.kill().unwrap();
        let dead_too = Children { parent: me, list: fs::File::open("/proc/thread-self/children").ok() }.now();
        child.wait().unwrap();
        let child = child.id() as i32;
        assert_eq!([without, of_this_thread, dead_too].map(|children| children.contains(&child)), [true; 3]);
    }

    #[test]
    fn this_process_sees_itself() {
        let me = Seen::by_pid(std::process::id() as i32).unwrap();
        assert!(!me.dead && me.start_ticks > 0);
        assert!(Seen::living_in(me.group).iter().any(|seen| (seen.pid, seen.start_ticks) == (me.pid, me.start_ticks)));
    }
}
