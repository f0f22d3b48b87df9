//! The ways in which a command hands over what it has collected, and what of it is believed.

mod support;

use std::sync::Arc;
use std::time::Duration;

use adce_collect::Collectors;
use adce_core::gap::Fault;
use adce_core::ports::{Collect, Report, Rest, Said};
use adce_core::spec::template::{Purpose, Template};
use adce_core::spec::{How, Output, PickUp};
use support::attempt::*;
use support::*;
use tempfile::TempDir;

fn picked_up(path: &str) -> Output {
    Output::PickUp(PickUp { path: Template::parse(path, Purpose::Path).unwrap(), at: Default::default() })
}

/// What is said to be in the place of the item's file.
fn instead<'a>(report: &'a Report, attempt: &Attempt, key: &str) -> Option<&'a str> {
    let item = attempt.order.items.iter().find(|item| item.key == key).unwrap().item;
    report.not_there.iter().find(|(of, _)| *of == item).map(|(_, instead)| instead.as_str())
}

impl Attempt {
    /// Of an unchanged scraper, which works in the attempt's folder's `work/` and writes to this path.
    fn picked_up(self, path: &str) -> Self {
        let cwd = self.path("work");
        std::fs::create_dir_all(&cwd).unwrap();
        self.adapt(|collector| (collector.output, collector.cwd) = (picked_up(path), cwd))
    }
}

#[tokio::test]
async fn what_a_command_prints_is_the_object_byte_by_byte() {
    let script = r#"echo collecting >&2; printf '\377\000no line end'; echo '{"adce":1,"key":"a/k","outcome":"absent"}'; printf end"#;
    for briefly in [Duration::ZERO, LONG] {
        let attempt = Attempt::sh(script, &["a/k"]).briefly(briefly).adapt(|collector| collector.output = Output::Stdout);
        let report = attempt.run().await;
        let Some(Said::Staged(file)) = said(&report, "a/k") else { panic!("{report:?}") };
        let expected = b"\xff\0no line end{\"adce\":1,\"key\":\"a/k\",\"outcome\":\"absent\"}\nend";
        assert_eq!(std::fs::read(file).unwrap(), expected, "a line with \"adce\" is part of it");
        assert_eq!((log(&report).as_str(), report.strays.len()), ("collecting\n", 0));
        assert!(!attempt.path("stdout").exists());
    }
}

#[tokio::test]
async fn an_object_that_was_printed_in_part_or_not_at_all_is_not_staged() {
    let printing = |script: &str| Attempt::sh(script, &["k"]).adapt(|collector| collector.output = Output::Stdout);
    let attempt = printing("printf half; echo broken >&2; exit 3");
    let report = attempt.run().await;
    assert_eq!(failure(&report, "k").message, "exit 3: broken; the 4 bytes that it had printed by then were not trusted");
    let attempt = printing("exit 0");
    let report = attempt.run().await;
    assert_eq!((&report.rest, report.items.len(), instead(&report, &attempt, "k")), (&Rest::LookInLake, 0, Some("it printed nothing")));
    let report = printing("exit 66").run().await;
    assert_eq!((&report.rest, report.items.len()), (&Rest::Absent, 0));
    let report = printing("printf 'no such page'; exit 66").run().await;
    assert_eq!((&report.rest, report.items.len()), (&Rest::Absent, 0));
}

#[tokio::test]
async fn a_gigabyte_goes_straight_into_the_staged_file() {
    const BYTES: u64 = 1 << 30;
    let script = format!("head -c {BYTES} /dev/zero");
    let attempt = Attempt::sh(&script, &["k"]).adapt(|collector| collector.output = Output::Stdout);
    let report = attempt.run().await;
    let Some(Said::Staged(file)) = said(&report, "k") else { panic!("{report:?}") };
    assert_eq!((std::fs::metadata(file).unwrap().len(), report.log.is_none()), (BYTES, true));
}

#[tokio::test]
async fn files_are_picked_up_where_an_unchanged_scraper_writes_them() {
    let script = "mkdir -p out; for id in 1 2; do echo page $id > out/$id.html; done; echo other > out/other.html";
    for briefly in [Duration::ZERO, LONG] {
        let attempt = Attempt::sh(script, &["1", "2", "3"]).briefly(briefly).picked_up("out/{id}.html");
        let report = attempt.run().await;
        assert_eq!((staged_text(&report, "1"), staged_text(&report, "2")), ("page 1\n".into(), "page 2\n".into()));
        let third = instead(&report, &attempt, "3").unwrap();
        assert!(third.ends_with("work/out/3.html` was not written"), "{third}");
        assert_eq!((said(&report, "3"), &report.rest, report.strays.len()), (None, &Rest::LookInLake, 0));
        assert!(!attempt.path("work/out/1.html").exists(), "what was picked up is gone from there");
        assert!(attempt.path("work/out/other.html").exists(), "what is nobody's stays");
    }
}

#[tokio::test]
async fn a_leftover_of_an_earlier_run_is_not_picked_up() {
    let touched = r#"touch -d '2001-01-01' out/1; cp -p out/1 out/new; mv out/new out/1"#;
    let rewritten = "printf NEW > out/1";
    let cases =
        [("chmod 600 out/1", false), ("cat out/1", false), (touched, true), (rewritten, true), ("rm out/1; echo new > out/1", true)];
    for (script, counts) in cases {
        let attempt = Attempt::sh(script, &["1"]).picked_up("out/{id}");
        std::fs::create_dir(attempt.path("work/out")).unwrap();
        std::fs::write(attempt.path("work/out/1"), "old").unwrap();
        let an_hour_ago = std::time::SystemTime::now() - Duration::from_secs(3_600);
        std::fs::File::options().write(true).open(attempt.path("work/out/1")).unwrap().set_modified(an_hour_ago).unwrap();
        let report = attempt.run().await;
        assert_eq!(matches!(said(&report, "1"), Some(Said::Staged(_))), counts, "{script}: {report:?}");
        let says_why = instead(&report, &attempt, "1").is_some_and(|why| why.contains("an old file from before this attempt"));
        assert_eq!(says_why, !counts, "{script}");
        assert_eq!(attempt.path("work/out/1").exists(), !counts, "{script}: nothing that was there before is removed");
    }
}

#[tokio::test]
async fn what_a_failed_scraper_wrote_is_taken_away_and_not_trusted() {
    let attempt = Attempt::sh("printf half > 1; exit 3", &["1"]).picked_up("{id}");
    let report = attempt.run().await;
    assert_eq!(failure(&report, "1").message, "exit 3; its staged file of 4 bytes was not trusted, because no `done` line names it");
    assert!(!attempt.path("work/1").exists(), "\"exists, skipping\" would find it next time");
}

#[tokio::test]
async fn only_plain_files_are_picked_up() {
    let script = "ln -s /etc/passwd 1; mkdir 2; mkfifo 3";
    let attempt = Attempt::sh(script, &["1", "2", "3"]).picked_up("{id}");
    let report = attempt.run().await;
    for key in ["1", "2", "3"] {
        assert!(instead(&report, &attempt, key).is_some_and(|why| why.ends_with("is no plain file")), "{report:?}");
    }
    assert_eq!(report.items.len(), 0);
}

#[tokio::test]
async fn a_file_on_another_disk_is_copied_and_removed_there() {
    let Ok(memory) = TempDir::new_in("/dev/shm") else { return eprintln!("no other disk here") };
    let path = format!("{}/{{id}}.html", memory.path().display());
    let attempt = Attempt::sh(&format!("echo page > {}/1.html", memory.path().display()), &["1"]).picked_up(&path);
    let report = attempt.run().await;
    assert_eq!(staged_text(&report, "1"), "page\n");
    assert!(!memory.path().join("1.html").exists());
}

#[tokio::test]
async fn two_attempts_never_share_a_path() {
    let folder = TempDir::new().unwrap();
    let work = path(&folder, "work");
    std::fs::create_dir(&work).unwrap();
    std::os::unix::fs::symlink(&work, path(&folder, "link")).unwrap();
    let collectors = Collectors::new(setting(), Vec::new(), Arc::new(NoPermits), HandClock::new());
    let order = |name: &str, script: &str, to: &str| {
        let mut collector = collector(How::Command(Vec::new()));
        (collector.output, collector.cwd) = (picked_up(to), folder.path().to_owned());
        let mut order = order(collector, &path(&folder, name), vec![item("1")]);
        order.argv = ["sh", "-c", script].map(String::from).to_vec();
        order
    };
    let first = order("first", "mkfifo gate; echo first > work/1; touch ready; read line < gate", "work/{id}");
    let while_it_runs = async {
        appears(&path(&folder, "ready")).await;
        let second = collectors.collect(order("second", "echo second > work/1", "link/{id}"), &|_| {}, never()).await;
        std::fs::write(path(&folder, "gate"), "go\n").unwrap();
        second
    };
    let (first, second) = tokio::join!(collectors.collect(first, &|_| {}, never()), while_it_runs);
    assert_eq!((rest_failure(&second).fault, second.ended.as_str()), (Fault::Later, "not started"));
    assert!(rest_failure(&second).message.contains("another attempt is to leave its file at `"), "{second:?}");
    assert_eq!(staged_text(&first, "1"), "first\n");
    let third = collectors.collect(order("third", "echo third > work/1", "link/{id}"), &|_| {}, never()).await;
    assert_eq!(staged_text(&third, "1"), "third\n", "the path is free again");
}
