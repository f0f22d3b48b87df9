//! Where the cgroup of this process is delegated, each attempt has one of its own, and nobody leaves it.
//!
//! Alone in its file: the process goes into a cgroup that is marked as systemd marks a delegated one. Making that takes root
//! and a cgroup2 file system that may be written to; where one of them is missing nothing is shown, and that is said.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_collect::{Collectors, Setting, end_predecessors};
use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::Collect;
use adce_core::record::ProcessRecord;
use adce_core::spec::How;
use adce_core::time::BootId;
use support::*;
use tempfile::TempDir;

/// A delegated cgroup with this process in it, until it is dropped.
struct Delegation {
    above: PathBuf,
    folder: PathBuf,
}

impl Delegation {
    /// The error: what is missing for it.
    fn of_this_process() -> Result<Delegation, String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounted = mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
        let above = PathBuf::from(mounted.ok_or("no cgroup2 is mounted")?);
        let folder = above.join(format!("adce-test-{}", std::process::id()));
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let delegation = Delegation { above, folder };
        rustix::fs::setxattr(&delegation.folder, "trusted.delegate", b"1", rustix::fs::XattrFlags::empty())
            .map_err(|error| format!("it cannot be marked as delegated: {error}"))?;
        delegation.enter(&delegation.folder).map_err(|error| format!("this process cannot enter it: {error}"))?;
        Ok(delegation)
    }

    fn enter(&self, folder: &Path) -> std::io::Result<()> {
        fs::write(folder.join("cgroup.procs"), std::process::id().to_string())
    }

    /// Cgroups of attempts.
    fn groups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).unwrap().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Delegation {
    fn drop(&mut self) {
        let _ = self.enter(&self.above);
        self.groups().iter().for_each(|group| drop(fs::remove_dir(group)));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Starts a daemon that hides its environment and has no parent, and notes its number.
fn hidden_daemon(folder: &TempDir, then: &str) -> Vec<String> {
    let noted = folder.path().join("daemon").display().to_string();
    let script = format!(
        "(env -i setsid sh -c 'echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"; exec tail -f /dev/null' {noted} > /dev/null 2>&1 &)\n\
         while [ ! -e {noted} ]; do sleep 0.01; done; {then}"
    );
    ["sh", "-c", &script].map(String::from).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hides_from_everybody_ends_with_its_attempt_where_cgroups_are_delegated() {
    let delegation = match Delegation::of_this_process() {
        Ok(delegation) => delegation,
        Err(why) => return eprintln!("nothing is shown here: {why}"),
    };
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let setting = Setting { briefly: Duration::from_millis(50), ..setting() };
    let collectors = Arc::new(Collectors::new(setting, Vec::new(), Arc::new(NoPermits), HandClock::new()));
    let begin = |folder: &TempDir, argv: Vec<String>, stop: Arc<Button>| {
        let mut order = order(collector(How::Command(Vec::new())), folder.path(), vec![item("k")]);
        order.argv = argv;
        let (collectors, runtime) = (collectors.clone(), tokio::runtime::Handle::current());
        let stopped: adce_core::ports::Stop = stop;
        let attempt = async move { collectors.collect(order, &|_| {}, stopped).await };
        tokio::task::spawn_blocking(move || runtime.block_on(attempt))
    };
    // Older than the daemon: without cgroups it may have started it as well, and nobody would be sure.
    let (older, button) = (TempDir::new().unwrap(), Button::new());
    let goes_on = begin(&older, ["sh", "-c", "echo $$ > begun; exec tail -f /dev/null"].map(String::from).to_vec(), button.clone());
    in_time("the older one has a group", async {
        while delegation.groups().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let folder = TempDir::new().unwrap();
    let ends = begin(&folder, hidden_daemon(&folder, "exit 0"), Button::new());
    let report = in_time("the attempt ends", ends).await.unwrap();
    assert_eq!(report.ended, "exit 0");
    let daemon = read_pid(&path(&folder, "daemon")).unwrap();
    assert!(!Path::new(&format!("/proc/{daemon}")).exists(), "it outlived its attempt");
    assert_eq!(delegation.groups().len(), 1, "the group of the one that goes on");
    button.press();
    in_time("the older one ends", goes_on).await.unwrap();
    assert!(delegation.groups().is_empty(), "their groups are gone with them");
    what_a_killed_engine_left_is_found_in_its_group(&delegation).await;
}

/// As if the attempt's engine had been killed together with its guardian: nobody is left who knows the daemon.
async fn what_a_killed_engine_left_is_found_in_its_group(delegation: &Delegation) {
    let attempt = AttemptId(Uuid::from_u128(7));
    let group = delegation.folder.join(format!("adce-{}", attempt.0));
    fs::create_dir(&group).unwrap();
    let mut left = std::process::Command::new("tail").args(["-f", "/dev/null"]).env_clear().spawn().unwrap();
    fs::write(group.join("cgroup.procs"), left.id().to_string()).unwrap();
    let boot_id = BootId("b".into());
    let record = ProcessRecord { attempt, boot_id: boot_id.clone(), process_group: i32::MAX - 1, start_ticks: 1 };
    let reaped = tokio::task::spawn_blocking(move || left.wait());
    let ended = tokio::task::spawn_blocking(move || end_predecessors(&[record], &boot_id, Duration::from_secs(30))).await.unwrap();
    assert_eq!((ended.len(), ended[0].killed.len(), ended[0].survivors.len()), (1, 1, 0));
    in_time("it ends", reaped).await.unwrap().unwrap();
}
