//! A process that is about to die ends all that it has started. It can do nothing afterwards, so this is all that is
//! tested here.

mod support;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use adce_collect::{Collectors, end_everything};
use adce_core::ports::{Collect, Report};
use adce_core::spec::How;
use support::*;
use tempfile::TempDir;

/// One attempt, to its report, on a thread that may never come to an end.
fn attempt(collectors: &Collectors, within: &Path, script: &str) -> Report {
    std::fs::create_dir_all(within).unwrap();
    let mut order = order(collector(How::Command(Vec::new())), within, vec![item("k")]);
    order.argv = ["sh", "-c", script].map(String::from).to_vec();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(collectors.collect(order, &|_| {}, never()))
}

/// Whoever runs below this process, and who has died and was not reaped.
fn below_this_process() -> (Vec<String>, usize) {
    let me = std::process::id().to_string();
    let stats = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let children = stats.filter(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.split(' ').nth(1) == Some(&me)));
    let (dead, alive): (Vec<String>, Vec<String>) = children.partition(|stat| stat.contains(") Z "));
    (alive, dead.len())
}

/// It waits where it would start a command, or for the command that it has started.
fn sleeps(thread: &str) -> bool {
    let stats = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut stats = stats.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    stats.any(|stat| stat.contains(&format!("({thread}) S ")))
}

#[test]
fn who_is_about_to_die_leaves_nobody_and_hears_of_nobody() {
    const ATTEMPTS: usize = 20;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let folder = TempDir::new().unwrap();
    let setting = adce_collect::Setting { briefly: Duration::from_millis(20), ..setting() };
    let collectors = || Arc::new(Collectors::new(setting.clone(), Vec::new(), Arc::new(NoPermits), HandClock::new()));
    // With those who would start what is late, nobody shares anything.
    let (collectors, of_the_late) = (collectors(), collectors());
    let (reports, reported) = mpsc::channel();
    let path = |name: &str, number: usize| folder.path().join(format!("{name}{number}"));
    for number in 0..ATTEMPTS {
        let (collectors, reports, within) = (collectors.clone(), reports.clone(), path("long", number));
        // One leaves its group and loses its parent, one leaves it, one stays.
        let script = format!(
            "(setsid tail -f /dev/null > /dev/null 2>&1 &); setsid tail -f /dev/null & echo > {}; exec tail -f /dev/null",
            path("ready", number).display()
        );
        std::thread::spawn(move || drop(reports.send(attempt(&collectors, &within, &script))));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    (0..ATTEMPTS).for_each(|number| runtime.block_on(appears(&path("ready", number))));
    // Others start and end all the time.
    let (ends, ended) = mpsc::channel();
    for number in 0..4 {
        let (collectors, ends, within) = (collectors.clone(), ends.clone(), path("short", number));
        std::thread::spawn(move || {
            for round in 0.. {
                attempt(&collectors, &within.join(round.to_string()), "sh -c 'exit 0' & exit 0");
                ends.send(()).unwrap();
            }
        });
    }
    (0..8).for_each(|_| ended.recv().unwrap());

    end_everything(Duration::from_secs(30));

    let (alive, dead) = below_this_process();
    assert_eq!(alive, Vec::<String>::new(), "these are left");
    assert!(dead >= ATTEMPTS, "{dead} of {ATTEMPTS} leaders are where they died: somebody was told of the others");
    assert!(reported.try_recv().is_err(), "somebody was told how one ended");
    let within = path("late", 0);
    let late = std::thread::Builder::new().name("late".into());
    late.spawn(move || attempt(&of_the_late, &within, "exec tail -f /dev/null")).unwrap();
    while !sleeps("late") {
        std::thread::yield_now();
    }
    assert_eq!(below_this_process().0, Vec::<String>::new(), "this was started");
}
