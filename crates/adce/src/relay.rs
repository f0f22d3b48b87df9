//! Signals that are meant for the program that adce runs in the foreground.
//!
//! Both are of one process group. What the terminal sends (Ctrl-C) reaches both by itself; adce hears it and does nothing, for the
//! program decides. What a process sends to adce alone is handed on.

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What ends a process unless it is caught, and what programs give a meaning of their own.
const HANDED_ON: [Signal; 6] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// `si_code` of a signal that a process sent.
const SENT_BY_A_PROCESS: i32 = 0;

/// From now on these signals wait to be read. Call it before there is a second thread: one that does not block them would die.
pub fn begin() {
    let _ = watched().thread_block();
}

pub struct Relay {
    signals: AsyncFd<SignalFd>,
}

fn watched() -> SigSet {
    HANDED_ON.into_iter().collect()
}

impl Relay {
    pub fn listen() -> std::io::Result<Self> {
        let signals = SignalFd::with_flags(&watched(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        // SAFETY: it owns its descriptor, and keeps it for as long as it is registered.
        let signals = unsafe { AsyncFd::register_with_interest(signals, Interest::READABLE) }?;
        Ok(Relay { signals })
    }

    /// The next one, and whether a process sent it.
    pub async fn next(&mut self) -> (Signal, bool) {
        loop {
            // Neither fails on a descriptor that is ours.
            let Ok(mut ready) = self.signals.readable_mut().await else { return std::future::pending().await };
            match ready.get_inner().read_signal() {
                Ok(Some(told)) => {
                    if let Ok(signal) = Signal::try_from(told.ssi_signo as i32) {
                        return (signal, told.ssi_code == SENT_BY_A_PROCESS);
                    }
                }
                _ => ready.clear_ready(),
            }
        }
    }

    /// Hands signals on to this process for as long as it is polled.
    pub async fn hand_on_to(&mut self, pid: i32) {
        loop {
            let (signal, by_a_process) = self.next().await;
            if by_a_process {
                // It is not reaped yet, so the number is its own.
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }
}
