//! What a service manager is told (`sd_notify`): that the engine is there, that it reads another config, that it ends, and, again and again, that it lives.
//!
//! The sign of life comes from the engine's own loop, at each of its turns: an engine whose loop hangs is silent, and the service manager starts it anew. A thread of
//! its own would go on saying that all is well.
//!
//! Where nobody asked (`NOTIFY_SOCKET`), nothing is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adce_engine::Pulse;
use sd_notify::NotifyState;

/// Told at each turn of the loop. The first one says that the engine is there.
pub fn pulse() -> Pulse {
    let is_there = AtomicBool::new(false);
    let begun = Instant::now();
    let every = watchdog().map(|within| within / 3);
    let next_ms = AtomicU64::new(0);
    Arc::new(move || {
        if !is_there.swap(true, Ordering::Relaxed) {
            tell(&[NotifyState::Ready, NotifyState::Status("at work; `adce status` shows it")]);
        }
        let Some(every) = every else { return };
        let now = begun.elapsed().as_millis() as u64;
        if now >= next_ms.load(Ordering::Relaxed) {
            next_ms.store(now + every.as_millis() as u64, Ordering::Relaxed);
            tell(&[NotifyState::Watchdog]);
        }
    })
}

pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

pub fn reloaded() {
    tell(&[NotifyState::Ready]);
}

pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what runs")]);
}

fn tell(state: &[NotifyState<'_>]) {
    // Whoever does not listen any more is not missed.
    let _ = sd_notify::notify(state);
}

/// How long the service manager waits for a sign of life. It knows the process above the engine: the variable for it is meant for this one, too.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_for_us = number("WATCHDOG_PID")
        .is_none_or(|pid| [nix::unistd::getpid(), nix::unistd::getppid()].iter().any(|ours| u64::try_from(ours.as_raw()) == Ok(pid)));
    number("WATCHDOG_USEC").filter(|micros| is_for_us && *micros > 0).map(Duration::from_micros)
}
