//! What a killed engine left is ended; what only looks like it is not.

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use adce_collect::{EndedGroup, end_predecessors};
use adce_core::ids::{AttemptId, Uuid};
use adce_core::record::ProcessRecord;
use adce_core::time::BootId;
use support::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A scraper of an earlier engine: a leader and its child, both waiting for nothing.
struct Orphans {
    leader: Child,
    child: i32,
    record: ProcessRecord,
    says: BufReader<ChildStdout>,
}

impl Orphans {
    /// `lead`: what the leader does once its child runs.
    fn start(lead: &str) -> Self {
        let attempt = AttemptId(Uuid::now_v7());
        let script = format!("tail -f /dev/null & echo $!; {lead}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).env("ADCE_ATTEMPT", attempt.to_string()).process_group(0).stdout(Stdio::piped());
        let mut leader = command.spawn().unwrap();
        let pid = leader.id() as i32;
        let record = ProcessRecord { attempt, boot_id: boot_id(), process_group: pid, start_ticks: start_ticks(pid) };
        let mut orphans = Orphans { says: BufReader::new(leader.stdout.take().unwrap()), leader, child: 0, record };
        orphans.child = orphans.says().parse().unwrap();
        orphans
    }

    /// The leader's next line.
    fn says(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn end(&self, record: &ProcessRecord) -> Vec<EndedGroup> {
        end_predecessors(std::slice::from_ref(record), &boot_id(), PATIENCE)
    }

    fn leader_runs(&self) -> bool {
        runs(self.record.process_group)
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_raw(self.record.process_group).unwrap();
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.leader.wait();
    }
}

fn start_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap()
}

#[test]
fn the_group_of_a_recorded_leader_is_ended_and_gone() {
    let orphans = Orphans::start("wait");
    let ended = orphans.end(&orphans.record);
    assert!(!orphans.leader_runs() && !runs(orphans.child));
    assert_eq!(ended.len(), 1);
    let mut killed = ended[0].killed.clone();
    killed.sort();
    assert_eq!(killed, [orphans.record.process_group, orphans.child]);
    assert_eq!(ended[0].survivors, Vec::<i32>::new());
}

#[test]
fn members_whose_leader_is_gone_are_known_by_their_attempt() {
    let mut orphans = Orphans::start("exit 0");
    orphans.leader.wait().unwrap();
    assert!(runs(orphans.child));
    let ended = orphans.end(&orphans.record);
    assert_eq!(ended[0].killed, [orphans.child]);
    assert!(!runs(orphans.child));
}

#[test]
fn a_process_that_is_not_the_recorded_one_is_never_killed() {
    let orphans = Orphans::start("wait");
    let stranger = AttemptId(Uuid::now_v7());
    let later_leader = ProcessRecord { attempt: stranger, start_ticks: orphans.record.start_ticks + 1, ..orphans.record.clone() };
    let other_boot = ProcessRecord { boot_id: BootId("another boot".into()), ..orphans.record.clone() };
    let gone = ProcessRecord { attempt: stranger, process_group: i32::MAX, start_ticks: 1, boot_id: boot_id() };
    for record in [later_leader, other_boot, gone] {
        assert_eq!(orphans.end(&record), []);
        assert!(orphans.leader_runs() && runs(orphans.child), "{record:?}");
    }
}

#[test]
fn members_alone_are_ended_where_their_group_number_was_given_away() {
    // The leader is somebody else by its start time, but a member was given the attempt's id.
    let mut orphans = Orphans::start("exec env -u ADCE_ATTEMPT sh -c 'echo another; wait; exec tail -f /dev/null'");
    assert_eq!(orphans.says(), "another");
    let record = ProcessRecord { start_ticks: orphans.record.start_ticks + 1, ..orphans.record.clone() };
    let ended = orphans.end(&record);
    assert_eq!(ended[0].killed, [orphans.child]);
    assert!(orphans.leader_runs() && !runs(orphans.child));
}
