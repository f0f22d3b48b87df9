//! Follows a command for its first moments on the thread that started it.
//!
//! A runtime that watches pipes and a child through its poller hands a short attempt from thread to thread a dozen times,
//! and that costs more than the child itself. Whoever ends within [`crate::Setting::briefly`] is waited for by `poll(2)` and
//! done; the others go to the runtime, which can wait for thousands at once.
//!
//! Always true: nothing that a command says is lost (`what_a_command_says_first_is_not_lost`): until it ends or is handed
//! on, its words stay in the pipes, and one that fills a pipe waits for those moments. Who holds its pipes or its group
//! open after its end is left to the runtime, which knows how long to wait
//! (`a_child_that_stays_behind_is_ended_with_its_short_parent`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::command::output::{From, Output};
use crate::command::spawn::Spawned;

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
    if patience.is_zero() || !is_ready(&spawned.leader, patience)? {
        return Ok(Brief::Running);
    }
    for from in [From::Stdout, From::Stderr] {
        // Somebody else holds the pipe open: how long to listen to him is not decided here.
        if !read_to_end(spawned.pipe(from), from, output)? {
            return Ok(Brief::Running);
        }
    }
    Ok(Brief::Ended(spawned.group.kill_and_reap()?))
}

/// Reads what is there, and says whether that was the end.
fn read_to_end(pipe: &mut Option<OwnedFd>, from: From, output: &mut Output) -> io::Result<bool> {
    let mut buffer = [0; READ_BYTES];
    for _ in 0..READS_AT_MOST {
        let Some(open) = pipe else { return Ok(true) };
        if !is_ready(open, Duration::ZERO)? {
            return Ok(false);
        }
        match rustix::io::read(open.as_fd(), &mut buffer) {
            Ok(0) => *pipe = None,
            Ok(filled) => output.feed(from, &buffer[..filled]),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(pipe.is_none())
}

/// Whether there is something to be read, an end or a death, within `patience`.
fn is_ready(what: &OwnedFd, patience: Duration) -> io::Result<bool> {
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(what, PollFlags::IN)], Some(&patience)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
