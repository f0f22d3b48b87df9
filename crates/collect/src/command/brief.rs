//! Follows a command for its first moments on the thread that started it.
//!
//! A runtime that watches pipes and a child through its poller hands a short attempt from thread to thread a dozen times,
//! and that costs more than the child itself. Whoever ends within [`crate::Setting::briefly`] is followed by `poll(2)` and done; the
//! others go to the runtime, which can wait for thousands at once.
//!
//! Always true: nothing that was read is lost when the command goes on (`what_a_command_says_first_is_not_lost`), and
//! who holds its pipes or its group open after its end is left to the runtime, which knows how long to wait
//! (`a_child_that_stays_behind_is_ended_with_its_short_parent`).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::command::output::{From, Output};
use crate::command::spawn::Spawned;

const READ_BYTES: usize = 4 << 10;

/// Where a command stands after its first moments.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Brief {
    /// It has ended, both pipes are at their end, and its leader is reaped. Others of its group may still be dying.
    Ended(ExitStatus),
    Running,
}

/// Blocks, for `patience` at most.
pub(crate) fn follow(spawned: &mut Spawned, output: &mut Output, patience: Duration) -> io::Result<Brief> {
    let until = Instant::now() + patience;
    let mut buffer = [0; READ_BYTES];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Brief::Running);
        }
        match wait(spawned, left)? {
            Ready::Nothing => {}
            Ready::Output(from) => read(spawned.pipe(from), from, output, &mut buffer)?,
            Ready::Ended if spawned.stdout.is_none() && spawned.stderr.is_none() => {
                return Ok(Brief::Ended(spawned.group.kill_and_reap()?));
            }
            // Somebody else holds a pipe open: how long to listen to him is not decided here.
            Ready::Ended => return Ok(Brief::Running),
        }
    }
}

enum Ready {
    Nothing,
    Output(From),
    /// The leader, and no pipe has anything more to say now.
    Ended,
}

fn wait(spawned: &Spawned, patience: Duration) -> io::Result<Ready> {
    let pipes = [(From::Stdout, &spawned.stdout), (From::Stderr, &spawned.stderr)];
    let open: Vec<(From, &OwnedFd)> = pipes.into_iter().filter_map(|(from, pipe)| Some((from, pipe.as_ref()?))).collect();
    let mut watched: Vec<PollFd<'_>> = open.iter().map(|(_, pipe)| PollFd::new(*pipe, PollFlags::IN)).collect();
    watched.push(PollFd::new(&spawned.leader, PollFlags::IN));
    let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut watched, Some(&patience)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let is_ready = |at: usize| !watched[at].revents().is_empty();
    let speaking = (0..open.len()).find(|at| is_ready(*at)).map(|at| Ready::Output(open[at].0));
    Ok(speaking.unwrap_or(if is_ready(open.len()) { Ready::Ended } else { Ready::Nothing }))
}

/// Something is there to be read, or the end: this does not block.
fn read(pipe: &mut Option<OwnedFd>, from: From, output: &mut Output, buffer: &mut [u8]) -> io::Result<()> {
    let Some(open) = pipe else { return Ok(()) };
    match rustix::io::read(open.as_fd(), &mut *buffer) {
        Ok(0) => *pipe = None,
        Ok(filled) => output.feed(from, &buffer[..filled]),
        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
