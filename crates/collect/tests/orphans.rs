//! Daemons of several attempts under one engine that adopts them: each goes with its own attempt.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_collect::{Children, Collectors};
use adce_core::ports::{Collect, Report};
use adce_core::spec::{Collector, How, Resources};
use support::*;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// This process adopts what loses its parent, as an engine does: one test at a time.
async fn adopting() -> (MutexGuard<'static, ()>, Arc<Collectors>) {
    let (guard, collectors, _) = adopting_at_hand().await;
    (guard, collectors)
}

async fn adopting_at_hand() -> (MutexGuard<'static, ()>, Arc<Collectors>, Arc<HandClock>) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let guard = ONE_AT_A_TIME.lock().await;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let setting = adce_collect::Setting { briefly: Duration::from_millis(50), ..setting() };
    let clock = HandClock::new();
    (guard, Arc::new(Collectors::new(setting, Vec::new(), Arc::new(NoPermits), clock.clone())), clock)
}

/// The number of the daemon that the command starts with `prefix`, and what came of the command.
struct Attempt {
    folder: TempDir,
    stop: Arc<Button>,
    report: tokio::task::JoinHandle<Report>,
}

impl Attempt {
    fn start(collectors: &Arc<Collectors>, prefix: &str, then: &str) -> Attempt {
        Attempt::with_daemon(collectors, prefix, "exec tail -f /dev/null", then, Resources::default())
    }

    /// `daemon`: what it does.
    fn with_daemon(collectors: &Arc<Collectors>, prefix: &str, daemon: &str, then: &str, resources: Resources) -> Attempt {
        let (folder, stop, collectors) = (TempDir::new().unwrap(), Button::new(), collectors.clone());
        let collector = Collector { resources, ..collector(How::Command(Vec::new())) };
        let mut order = order(collector, folder.path(), vec![item("k")]);
        let noted = folder.path().join("daemon");
        let script = format!(
            "({prefix} setsid sh -c 'echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"; {daemon}' {0} > /dev/null 2>&1 &)\n\
             while [ ! -e {0} ]; do sleep 0.01; done; {then}",
            noted.display()
        );
        order.argv = ["sh", "-c", &script].map(String::from).to_vec();
        let stopped: adce_core::ports::Stop = stop.clone();
        let runtime = tokio::runtime::Handle::current();
        // As the engine does it: on a thread that may block, which is never the first one.
        let attempt = async move { collectors.collect(order, &|_| {}, stopped).await };
        let report = tokio::task::spawn_blocking(move || runtime.block_on(attempt));
        Attempt { folder, stop, report }
    }

    async fn daemon(&self) -> i32 {
        let file = path(&self.folder, "daemon");
        appears(&file).await;
        read_pid(&file).unwrap()
    }

    async fn ended(self) -> Report {
        in_time("the attempt ends", self.report).await.unwrap()
    }
}

fn is_there(pid: i32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// One attempt that goes on, and one beside it that ends with its own daemon.
async fn one_goes_on_and_one_ends(prefix: &str) {
    let (_alone, collectors) = adopting().await;
    let goes_on = Attempt::start(&collectors, prefix, "exec tail -f /dev/null");
    let its_daemon = goes_on.daemon().await;
    let ends = Attempt::start(&collectors, "", "exit 0");
    let gone = ends.daemon().await;
    assert_eq!(ends.ended().await.ended, "exit 0");
    assert!(!is_there(gone), "the daemon of the one that ended is there");
    assert!(runs(its_daemon), "the daemon of the one that goes on was ended");
    goes_on.stop.press();
    assert_eq!(goes_on.ended().await.ended, "stopped");
    assert!(!is_there(its_daemon), "a daemon outlived its attempt");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_ends_no_daemon_of_another() {
    one_goes_on_and_one_ends("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hides_its_environment_goes_with_the_last_attempt_that_can_have_started_it() {
    one_goes_on_and_one_ends("env -i").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_goes_on_leaves_no_zombies() {
    let (_alone, collectors) = adopting().await;
    let attempt = Attempt::start(&collectors, "", "exec tail -f /dev/null");
    let daemon = attempt.daemon().await;
    let process = Watched::of(daemon);
    rustix::process::kill_process(rustix::process::Pid::from_raw(daemon).unwrap(), rustix::process::Signal::KILL).unwrap();
    process.ends().await;
    let reaped = async {
        while Children::of(std::process::id() as i32).now().contains(&daemon) {
            tokio::task::yield_now().await;
        }
    };
    in_time("the dead daemon is reaped", reaped).await;
    attempt.stop.press();
    attempt.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn children_from_before_are_somebody_elses() {
    let (_alone, _) = adopting().await;
    // As of a shell that becomes this program: a child of the first thread, and no attempt's.
    let start = || std::process::Command::new("tail").args(["-f", "/dev/null"]).spawn().unwrap();
    let mut older = std::thread::spawn(start).join().unwrap();
    let of_the_first_thread = async {
        while !Children::of(std::process::id() as i32).now().contains(&(older.id() as i32)) {
            tokio::task::yield_now().await;
        }
    };
    in_time("the first thread has it", of_the_first_thread).await;
    let collectors = Arc::new(Collectors::new(setting(), Vec::new(), Arc::new(NoPermits), HandClock::new()));
    let attempt = Attempt::start(&collectors, "", "exit 0");
    let daemon = attempt.daemon().await;
    attempt.ended().await;
    assert!(!is_there(daemon), "a daemon outlived its attempt");
    assert!(older.try_wait().unwrap().is_none(), "it was ended as an orphan");
    older.kill().unwrap();
    older.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_is_told_to_end_and_may_finish_what_it_does() {
    let (_alone, collectors, _) = adopting_at_hand().await;
    let works = "trap \"echo finished > $0.finished; exit\" TERM; while :; do sleep 0.01; done";
    let attempt = Attempt::with_daemon(&collectors, "", works, "exec tail -f /dev/null", Resources::default());
    let (daemon, finished) = (attempt.daemon().await, path(&attempt.folder, "daemon.finished"));
    attempt.stop.press();
    let Attempt { folder, report, .. } = attempt;
    assert_eq!(in_time("the attempt ends", report).await.unwrap().ended, "stopped");
    assert!(!is_there(daemon), "a daemon outlived its attempt");
    assert_eq!(std::fs::read_to_string(finished).unwrap_or_default(), "finished\n", "nobody told it to end");
    drop(folder);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_daemon_uses_is_used_by_its_attempt() {
    let (_alone, collectors, clock) = adopting_at_hand().await;
    let uses = r#"exec python3 -c "import signal; mine = b\"x\" * 100_000_000; signal.pause()""#;
    let resources = Resources { memory: Some(50_000_000), ..Resources::default() };
    let attempt = Attempt::with_daemon(&collectors, "", uses, "exec tail -f /dev/null", resources);
    let daemon = attempt.daemon().await;
    let looks = async {
        loop {
            clock.pass_when_somebody_sleeps(Some(Duration::from_millis(100))).await;
        }
    };
    let report = tokio::select! {
        report = attempt.ended() => report,
        never = looks => never,
    };
    assert_eq!(report.ended, "used more than `memory: 50MB`");
    assert!(!is_there(daemon), "a daemon outlived its attempt");
}
