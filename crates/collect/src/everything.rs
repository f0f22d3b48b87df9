//! Ends everything that this process has started, before it dies itself.
//!
//! An engine whose guardian was killed is the last one who knows its scrapers: if it just died, they would run on below
//! the system's first process until somebody starts adce again. Whatever state its runtime is in, one thread of its own
//! can end them.
//!
//! From the call on no attempt starts, and of none is it heard how it ended: a thread that comes to either stays there
//! for good. So all that is left of an attempt is what there would be if its engine had been killed with it, and its end
//! is nobody's failure (`who_is_about_to_die_leaves_nobody_and_hears_of_nobody`).
//!
//! It signals by descriptors whose start time was compared: other threads go on, and may reap whom it has just seen.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, Signal};

use crate::process::{Seen, descendants, is_gone};

static CLOSED: AtomicBool = AtomicBool::new(false);
/// Commands that are between two programs, or nearly.
static STARTING: AtomicUsize = AtomicUsize::new(0);

/// A process may be made while this lives, and not otherwise.
pub(crate) struct Starting(());

impl Starting {
    pub(crate) fn one() -> Self {
        STARTING.fetch_add(1, Ordering::SeqCst);
        let starting = Starting(());
        if CLOSED.load(Ordering::SeqCst) {
            drop(starting);
            stay();
        }
        starting
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        STARTING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// To be called by whoever has found an attempt dead, before anybody is told. Whom [`end_everything`] has ended is found
/// dead after the closing.
pub(crate) fn may_be_told() {
    if CLOSED.load(Ordering::SeqCst) {
        stay();
    }
}

fn stay() -> ! {
    loop {
        std::thread::park();
    }
}

/// A process that is not there when a look begins, and whose parent is gone when the look comes to it, belongs to nobody
/// at that look; at the next one it does.
const LOOKS_THAT_FIND_NOBODY: u32 = 2;
/// Most die within this; who hangs in the kernel must not hide from the next look who does not.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Kills all that descends from this process, whoever it has adopted included, until nobody is left; for `patience` at
/// most, because who hangs in the kernel does not die. Afterwards this process can do nothing but end.
pub fn end_everything(patience: Duration) {
    CLOSED.store(true, Ordering::SeqCst);
    // Each look needs two descriptors, and who has run out of them may have this many more.
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most });
    let me = std::process::id() as i32;
    let deadline = Instant::now() + patience;
    let mut found_nobody = 0;
    while found_nobody < LOOKS_THAT_FIND_NOBODY && Instant::now() < deadline {
        let may_make_more = STARTING.load(Ordering::SeqCst) > 0;
        let all = Seen::all();
        let below = descendants(&all, [me].into());
        let left = all.iter().filter(|seen| seen.pid != me && !seen.dead && below.contains(&seen.pid));
        let (mut found, mut last) = (0, None);
        for seen in left {
            found += 1;
            last = seen.signal(Signal::KILL).or(last);
        }
        // A look that does not show this process shows nobody.
        let saw = all.iter().any(|seen| seen.pid == me);
        match last {
            Some(dying) => drop(is_gone(&dying, deadline.min(Instant::now() + LOOK_AGAIN_AFTER))),
            None if found > 0 || may_make_more || !saw => std::thread::sleep(Duration::from_millis(1)),
            None => {}
        }
        found_nobody = if found > 0 || may_make_more || !saw { 0 } else { found_nobody + 1 };
    }
}
