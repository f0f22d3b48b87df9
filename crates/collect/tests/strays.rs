//! What a killed engine left outside its recorded groups is ended, and nothing else.

mod support;

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use adce_collect::{EndedStrays, end_strays};
use adce_core::ids::{AttemptId, Uuid};
use support::runs;

const PATIENCE: Duration = Duration::from_secs(20);

/// A scraper that starts this and ends; it is nobody's child here, and killed at the end of the test at the latest.
struct Daemon {
    attempt: AttemptId,
    pids: Vec<i32>,
}

impl Daemon {
    /// `script` says the numbers of its processes, one a line, once they run. Nobody listens afterwards, at which `tail`
    /// would end if it said anything.
    fn start(script: &str, processes: usize) -> Daemon {
        let attempt = AttemptId(Uuid::now_v7());
        let mut scraper = Command::new("sh");
        scraper.args(["-c", &format!("setsid sh -c '{script}' &")]).env("ADCE_ATTEMPT", attempt.to_string());
        let mut scraper = scraper.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(scraper.stdout.take().unwrap()).lines().take(processes);
        let pids = lines.map(|line| line.unwrap().trim().parse().unwrap()).collect();
        scraper.wait().unwrap();
        let daemon = Daemon { attempt, pids };
        assert_eq!(daemon.pids.len(), processes);
        assert!(daemon.all_run());
        daemon
    }

    fn end(&self) -> EndedStrays {
        end_strays(&HashSet::from([self.attempt]), PATIENCE)
    }

    fn all_run(&self) -> bool {
        self.pids.iter().all(|pid| runs(*pid))
    }

    fn none_runs(&self) -> bool {
        !self.pids.iter().any(|pid| runs(*pid))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for pid in self.pids.iter().filter(|pid| runs(**pid)) {
            let _ = rustix::process::kill_process(rustix::process::Pid::from_raw(*pid).unwrap(), rustix::process::Signal::KILL);
        }
    }
}

#[test]
fn a_daemon_that_left_its_group_is_known_by_its_attempt() {
    let daemon = Daemon::start("echo $$; exec tail -f /dev/null > /dev/null", 1);
    let ended = daemon.end();
    assert!(daemon.none_runs());
    assert_eq!(ended, EndedStrays { killed: daemon.pids.clone(), survivors: Vec::new() });
    assert_eq!(daemon.end(), EndedStrays::default(), "nothing is left to be ended");
}

#[test]
fn whoever_hides_its_environment_is_known_by_whom_it_descends_from() {
    let daemon = Daemon::start("echo $$; env -i sh -c \"echo \\$\\$; tail -f /dev/null > /dev/null & echo \\$!; wait\" & wait", 3);
    daemon.end();
    assert!(daemon.none_runs());
}

#[test]
fn whoever_is_between_two_programs_is_known_by_the_next() {
    let folder = tempfile::TempDir::new().unwrap();
    let again = folder.path().join("again.sh");
    std::fs::write(&again, "exec sh \"$0\"\n").unwrap();
    // One look in twenty or so comes between two of them.
    for _ in 0..100 {
        let daemon = Daemon::start(&format!("echo $$; exec sh {}", again.display()), 1);
        daemon.end();
        assert!(daemon.none_runs());
    }
}

#[test]
fn attempts_of_another_state_are_left_alone() {
    let (ours, theirs) =
        (Daemon::start("echo $$; exec tail -f /dev/null > /dev/null", 1), Daemon::start("echo $$; exec tail -f /dev/null > /dev/null", 1));
    ours.end();
    assert!(ours.none_runs() && theirs.all_run());
    assert_eq!(end_strays(&HashSet::new(), PATIENCE), EndedStrays::default());
    assert!(theirs.all_run());
}
