//! Commands whose requests wait for limits: the time that adce itself makes them wait is not theirs.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_collect::Collectors;
use adce_core::gap::Fault;
use adce_core::ports::{Clock, Collect, HeldUp, Order, Report, Rest, Stop, StopSignal};
use adce_core::spec::How;
use async_trait::async_trait;
use support::*;
use tempfile::TempDir;
use tokio::sync::watch;

/// Never stops anything, and says how long limits held the attempt up.
struct Word(watch::Sender<HeldUp>);

#[async_trait]
impl StopSignal for Word {
    async fn stopped(&self) {
        std::future::pending().await
    }

    fn is_stopped(&self) -> bool {
        false
    }

    fn held_up(&self) -> HeldUp {
        *self.0.borrow()
    }

    async fn held_up_changes(&self, known: HeldUp) {
        let _ = self.0.subscribe().wait_for(|now| *now != known).await;
    }
}

struct Attempt {
    folder: TempDir,
    order: Order,
    clock: Arc<HandClock>,
    word: Arc<Word>,
}

impl Attempt {
    /// Says `ready`, and ends when `go` is written to.
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut order = order(collector(How::Command(Vec::new())), folder.path(), vec![item("a")]);
        let script = format!("cd {}; mkfifo go; : > ready; read word < go", folder.path().display());
        order.argv = ["sh", "-c", &script].map(str::to_owned).to_vec();
        Attempt { folder, order, clock: HandClock::new(), word: Arc::new(Word(watch::Sender::new(HeldUp::default()))) }
    }

    /// Runs it, while `meanwhile` happens.
    async fn run(&self, meanwhile: impl AsyncFn()) -> Report {
        let stop: Stop = self.word.clone();
        let collectors = Collectors::new(setting(), Vec::new(), Arc::new(NoPermits), self.clock.clone());
        let acts = async {
            appears(&path(&self.folder, "ready")).await;
            // The attempt is followed by now, or will be when it is looked at next.
            tokio::task::yield_now().await;
            meanwhile().await;
        };
        let attempt = collectors.collect(self.order.clone(), &|_| {}, stop);
        let both = async { tokio::join!(attempt, acts).0 };
        tokio::time::timeout(Duration::from_secs(60), both).await.expect("the attempt hangs")
    }

    /// Everybody who waits for the clock or a word has been woken and looked at.
    async fn passes(&self, span: Duration) {
        self.clock.advance(span);
        // They run on this thread: whoever was woken has its turn before this goes on.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn waits(&self) {
        let since = Some(self.clock.now().boot);
        self.word.0.send_modify(|held_up| held_up.since = since);
    }

    fn goes_on(&self) {
        let now = self.clock.now().boot;
        self.word.0.send_modify(|held_up| {
            held_up.so_far += held_up.since.take().map_or(Duration::ZERO, |since| now.since(since));
        });
    }

    async fn go(&self) {
        tokio::fs::write(path(&self.folder, "go"), "on\n").await.unwrap();
    }
}

#[tokio::test]
async fn what_a_command_waits_for_limits_is_none_of_its_timeout() {
    let attempt = Attempt::new();
    let report = attempt.run(async || {
        attempt.passes(LONG / 2).await;
        for _ in 0..4 {
            attempt.waits();
            attempt.passes(9 * LONG / 10).await;
            attempt.goes_on();
            attempt.passes(LONG / 10).await;
        }
        attempt.go().await;
    });
    assert_eq!(report.await.ended, "exit 0");
}

#[tokio::test]
async fn a_command_has_no_more_than_its_timeout_for_itself() {
    let attempt = Attempt::new();
    let report = attempt.run(async || {
        attempt.passes(LONG / 2).await;
        attempt.waits();
        attempt.passes(9 * LONG / 10).await;
        attempt.goes_on();
        attempt.passes(LONG / 4).await;
        attempt.waits();
        attempt.passes(9 * LONG / 10).await;
        attempt.goes_on();
        attempt.passes(LONG / 4).await;
    });
    assert_eq!(report.await.ended, "timeout after 10m");
}

#[tokio::test]
async fn a_command_that_waits_for_a_distant_quota_gives_its_slot_back_and_is_not_blamed() {
    let attempt = Attempt::new();
    let report = attempt.run(async || {
        attempt.passes(LONG / 2).await;
        attempt.waits();
        attempt.passes(LONG).await;
    });
    let report = report.await;
    assert_eq!(report.ended, "held up by a limit for its whole timeout of 10m");
    assert!(matches!(&report.rest, Rest::Failed(failure) if failure.fault == Fault::Later), "{report:?}");
}
