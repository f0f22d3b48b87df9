//! Follows a command for its first moments on the thread that started it.
//!
//! A runtime that watches pipes and a child through its poller hands a short attempt from thread to thread a dozen times,
//! and that costs more than the child itself. Whoever ends within [`crate::Setting::briefly`] is waited for by `poll(2)` and
//! done; the others go to the runtime, which can wait for thousands at once.
//!
//! Always true: nothing that a command says is lost (`what_a_command_says_first_is_not_lost`): until it ends or is handed
//! on, its words stay in the pipes, and one that fills a pipe waits for those moments. Who holds its pipes or its group
//! open after its end is left to the runtime, which knows how long to wait
//! (`a_child_that_stays_behind_is_ended_with_its_short_parent`); but not at once: a command that is just being started by
//! another thread holds all our pipes until it begins its own program.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::command::output::{From, Output};
use crate::command::spawn::Spawned;

/// From the copying of our descriptors to the closing of those copies, on a machine that is busy with just that.
const UNTIL_A_PROGRAM_BEGINS: Duration = Duration::from_millis(5);
const READ_BYTES: usize = 4 << 10;
/// What the command itself wrote is in the pipe by its end, and a pipe holds a megabyte at most.
const READS_AT_MOST: usize = (1 << 20) / READ_BYTES + 1;

/// Where a command stands after its first moments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Brief {
    /// It has ended, both pipes are at their end, and its leader is reaped. Others of its group may still be dying.
    Ended(ExitStatus),
    Running,
}

/// Blocks, for `patience` at most; without any, the command is handed on at once.
pub(crate) fn follow(spawned: &mut Spawned, output: &mut Output, patience: Duration) -> io::Result<Brief> {
    if patience.is_zero() || state_of(&spawned.leader, patience)?.is_empty() {
        return Ok(Brief::Running);
    }
    let listen_until = Instant::now() + UNTIL_A_PROGRAM_BEGINS;
    for from in [From::Stdout, From::Stderr] {
        // Somebody else holds the pipe open: how long to listen to him is not decided here.
        if !read_to_end(spawned.pipe(from), from, output, listen_until)? {
            return Ok(Brief::Running);
        }
    }
    Ok(Brief::Ended(spawned.group.kill_and_reap()?))
}

/// Reads until `listen_until` at most, and says whether it came to the end.
fn read_to_end(pipe: &mut Option<OwnedFd>, from: From, output: &mut Output, listen_until: Instant) -> io::Result<bool> {
    let mut buffer = [0; READ_BYTES];
    for _ in 0..READS_AT_MOST {
        let Some(open) = pipe else { return Ok(true) };
        match state_of(open, listen_until.saturating_duration_since(Instant::now()))? {
            PollFlags::HUP => *pipe = None,
            state if state.is_empty() => return Ok(false),
            _ => {}
        }
        let Some(open) = pipe else { return Ok(true) };
        match rustix::io::read(open.as_fd(), &mut buffer) {
            Ok(0) => *pipe = None,
            Ok(filled) => output.feed(from, &buffer[..filled]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(pipe.is_none())
}

/// Something to be read, an end or a death, within `patience`; empty: none of these.
fn state_of(what: &OwnedFd, patience: Duration) -> io::Result<PollFlags> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    let mut polled = [PollFd::new(what, PollFlags::IN)];
    match poll(&mut polled, Some(&patience)) {
        Ok(_) => Ok(polled[0].revents()),
        Err(rustix::io::Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(error.into()),
    }
}
