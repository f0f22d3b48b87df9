//! What an attempt may use: who uses more is ended, and told of what.

mod support;

use std::time::Duration;

use adce_core::gap::Fault;
use adce_core::ports::Report;
use adce_core::spec::{Output, Resources};
use support::attempt::*;
use support::*;

/// How often adce looks at what an attempt uses.
const LOOK: Duration = Duration::from_millis(100);

impl Attempt {
    fn with(self, resources: Resources) -> Self {
        self.adapt(|collector| collector.resources = resources)
    }

    /// Time passes as often as somebody waits for the next look.
    async fn run_looked_at(&self) -> Report {
        let looks = async {
            loop {
                self.clock.pass_when_somebody_sleeps(Some(LOOK)).await;
            }
        };
        tokio::select! {
            report = self.run() => report,
            never = looks => never,
        }
    }
}

#[tokio::test]
async fn limits_hold_from_the_first_instruction_on_and_for_children() {
    let resources = Resources { open_files: Some(64), cpu_time: Some(Duration::from_millis(61_500)), nice: Some(15), ..Default::default() };
    let script = r#"ulimit -n; ulimit -t; nice; sh -c 'ulimit -n; ulimit -H -n; nice'"#;
    for briefly in [Duration::ZERO, LONG] {
        let attempt = Attempt::sh(script, &["k"]).briefly(briefly).with(resources);
        let report = attempt.run().await;
        assert_eq!((report.ended.as_str(), log(&report).as_str()), ("exit 0", "64\n62\n15\n64\n64\n15\n"));
    }
    let attempt = Attempt::of(&["./missing"], &["k"]).with(resources);
    let report = attempt.run().await;
    assert!(rest_failure(&report).message.ends_with("missing` does not exist"), "{report:?}");
}

#[tokio::test]
async fn who_uses_too_much_memory_is_ended_and_told() {
    // Three of 60 MB: none alone is too large.
    let script = r#"
import os, signal
for child in range(3):
    if os.fork() == 0:
        mine = b"x" * 60_000_000
        open(os.environ["ADCE_OUT"] + f"/../{child}", "w")
        while True: signal.pause()
open(os.environ["ADCE_OUT"] + "/k", "w").write("half")
while True: signal.pause()
"#;
    let attempt = Attempt::of(&["python3", "-c", script], &["k"]).with(Resources { memory: Some(150_000_000), ..Default::default() });
    let report = attempt.run_looked_at().await;
    assert_eq!(report.ended, "used more than `memory: 150MB`");
    assert_eq!(rest_failure(&report).fault, Fault::Collector);
    assert!(failure(&report, "k").message.starts_with("used more than `memory: 150MB`; its staged file of 4 bytes was not trusted"));
}

/// Ways out of the group that a scraper takes without meaning any harm.
const OUT_OF_THE_GROUP: [&str; 3] = ["setsid -w", "timeout 1000", "setsid -w env -u ADCE_ATTEMPT"];

#[tokio::test]
async fn who_has_left_the_group_is_counted_and_ended_all_the_same() {
    let script = r#"
import os, signal
mine = b"x" * 100_000_000
print(os.getpid(), file=open(os.environ["ADCE_OUT"] + "/../pid", "w"))
while True: signal.pause()
"#;
    for way_out in OUT_OF_THE_GROUP {
        let attempt = Attempt::sh(&format!("{way_out} python3 -c '{script}'; exit 0"), &["k"]);
        let attempt = attempt.with(Resources { memory: Some(50_000_000), ..Default::default() });
        let report = attempt.run_looked_at().await;
        assert_eq!(report.ended, "used more than `memory: 50MB`", "{way_out}");
        if let Some(pid) = read_pid(&attempt.path("pid")) {
            assert!(!runs(pid), "{way_out}: it lives on");
        }
        let works = format!("({way_out} sh -c 'while :; do :; done') &");
        let attempt = Attempt::sh(&format!("{works} {works} wait"), &["k"]);
        let attempt = attempt.with(Resources { cpu_time: Some(Duration::from_millis(300)), ..Default::default() });
        assert_eq!(attempt.run_looked_at().await.ended, "used more than `cpu_time: 300ms`", "{way_out}");
    }
}

#[tokio::test]
async fn memory_that_processes_share_is_counted_once() {
    let script = r#"
import os, signal
shared = b"x" * 100_000_000
for child in range(3):
    if os.fork() == 0:
        while True: signal.pause()
open(os.environ["ADCE_OUT"] + "/../ready", "w")
while True: signal.pause()
"#;
    let attempt = Attempt::of(&["python3", "-c", script], &["k"]).with(Resources { memory: Some(200_000_000), ..Default::default() });
    let stop = Button::new();
    let looks = async {
        appears(&attempt.path("ready")).await;
        for _ in 0..3 {
            attempt.clock.pass_when_somebody_sleeps(Some(LOOK)).await;
        }
        stop.press();
    };
    let (report, ()) = tokio::join!(attempt.run_until(stop.clone()), looks);
    assert_eq!(report.ended, "stopped");
}

#[tokio::test]
async fn who_uses_up_its_processor_time_is_ended_and_told() {
    let second = Resources { cpu_time: Some(Duration::from_secs(1)), ..Default::default() };
    for script in ["while :; do :; done", "sh -c 'while :; do :; done'; exit $?"] {
        let report = Attempt::sh(script, &["k"]).with(second).run().await;
        assert_eq!(report.ended, "used more than `cpu_time: 1s`", "by the kernel, also while nobody looks");
    }
    // The kernel knows of no limit for both together.
    let short = Resources { cpu_time: Some(Duration::from_millis(300)), ..Default::default() };
    let report = Attempt::sh("while :; do :; done & while :; do :; done & wait", &["k"]).with(short).run_looked_at().await;
    assert_eq!((report.ended.as_str(), rest_failure(&report).fault), ("used more than `cpu_time: 300ms`", Fault::Collector));
}

#[tokio::test]
async fn who_prints_too_much_is_ended_and_told() {
    let most = |bytes| Resources { output: Some(bytes), ..Default::default() };
    let report = Attempt::sh("exec yes", &["k"]).with(most(1_000_000)).run().await;
    assert_eq!((report.ended.as_str(), rest_failure(&report).fault), ("printed more than `output: 1MB`", Fault::Collector));
    // Standard output and standard error together, also of who is done before anybody looks.
    for briefly in [Duration::ZERO, LONG] {
        let prints = || Attempt::sh("printf 12345; printf 67890 >&2", &["k"]).briefly(briefly);
        assert_eq!(prints().with(most(9)).run().await.ended, "printed more than `output: 9B`");
        assert_eq!(prints().with(most(10)).run().await.ended, "exit 0");
    }
}

#[tokio::test]
async fn an_object_that_is_printed_without_end_is_ended_too() {
    let printing = |script: &str, most| {
        let attempt = Attempt::sh(script, &["k"]).with(Resources { output: Some(most), ..Default::default() });
        attempt.adapt(|collector| collector.output = Output::Stdout)
    };
    let report = printing("exec yes", 100_000).run_looked_at().await;
    assert_eq!(report.ended, "printed more than `output: 100kB`");
    assert!(failure(&report, "k").message.contains("bytes that it had printed by then were not trusted"), "{report:?}");
    let report = printing("printf 123456", 5).run().await;
    assert_eq!(report.ended, "printed more than `output: 5B`");
    assert_eq!(staged_text(&printing("printf 12345", 5).run().await, "k"), "12345");
}
