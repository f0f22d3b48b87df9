//! Groups of the kernel that nobody leaves: a cgroup (version 2) for each attempt, below the one that this process is in.
//!
//! A chain of processes of which each starts the next and ends, faster than anybody can look, is out of reach of whoever
//! goes by numbers and parents; and who hides its name is nobody's while another attempt runs. What is in a cgroup stays
//! there, and the kernel kills all of it at once. But a cgroup is its owner's: groups are made only where somebody has
//! delegated the one that this process is in. systemd marks those (`Delegate=yes` of a service, and every user's own) with
//! `user.delegate` or `trusted.delegate`, or gives the folder to the user.
//!
//! Where none is delegated, or one cannot be made, attempts are followed as [`crate::kin`] and [`crate::orphans`] say; here is
//! what they ask in addition.
//!
//! Always true: the first process of an attempt enters its group before its program begins, so nothing of it was ever
//! outside (`who_hides_from_everybody_ends_with_its_attempt_where_cgroups_are_delegated`).

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use adce_core::ids::AttemptId;
use rustix::process::Signal;

use crate::process::Seen;

/// Of one that is delegated, whoever has delegated it.
const MARKS: [&CStr; 2] = [c"user.delegate", c"trusted.delegate"];

/// Below it groups may be made.
#[derive(Clone, Debug)]
pub(crate) struct Delegated {
    folder: PathBuf,
}

/// Of one attempt. Dropped, its folder is removed, if nobody is left in it.
#[derive(Debug)]
pub(crate) struct Cgroup {
    folder: PathBuf,
    entrance: File,
}

impl Delegated {
    /// The cgroup of this process, if it is delegated.
    pub(crate) fn to_this_process() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let folder = place(&own, &mounts)?;
        is_delegated(&folder).then_some(Delegated { folder })
    }

    /// What an earlier process has left of this attempt.
    pub(crate) fn left_of(&self, attempt: AttemptId) -> Option<Cgroup> {
        self.folder_of(attempt).is_dir().then(|| self.make(attempt)).flatten()
    }

    fn folder_of(&self, attempt: AttemptId) -> PathBuf {
        self.folder.join(format!("adce-{}", attempt.0))
    }

    /// `None`: there can be no more of them, or somebody has taken the right away.
    pub(crate) fn make(&self, attempt: AttemptId) -> Option<Cgroup> {
        let folder = self.folder_of(attempt);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return None,
            _ => {}
        }
        let entrance = OpenOptions::new().write(true).open(folder.join("cgroup.procs"));
        // Without the way in nobody is there, and nobody will be.
        entrance.inspect_err(|_| drop(fs::remove_dir(&folder))).ok().map(|entrance| Cgroup { folder, entrance })
    }
}

impl Cgroup {
    /// The calling process goes in, with all that it will start. One system call.
    pub(crate) fn enter(&self) -> rustix::io::Result<()> {
        rustix::io::write(&self.entrance, b"0\n").map(drop)
    }

    /// Those alive, in groups that they made below it too.
    pub(crate) fn members(&self) -> Vec<Seen> {
        let mut members = Vec::new();
        each_below(&self.folder, &mut |folder| {
            let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            members.extend(listed.split_ascii_whitespace().filter_map(|pid| Seen::by_pid(pid.parse().ok()?)));
        });
        members.retain(|seen| !seen.dead);
        members
    }

    /// Kills all of it. Kernels before 5.14 cannot do that in one go: who is started meanwhile is found by the next look.
    pub(crate) fn kill(&self) {
        if fs::write(self.folder.join("cgroup.kill"), "1").is_err() {
            for member in self.members() {
                let _ = member.signal(Signal::KILL);
            }
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // From the deepest up. One with a member stays, and so do those above it.
        each_below(&self.folder, &mut |folder| drop(fs::remove_dir(folder)));
    }
}

/// Those below first.
fn each_below(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            each_below(&entry.path(), visit);
        }
    }
    visit(folder);
}

/// The folder of this process's cgroup, from what the kernel says of it and of what is mounted.
fn place(own: &str, mounts: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        if after.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = before.split(' ').skip(3);
        let (root, mounted_at) = (fields.next()?, fields.next()?);
        let below = path.strip_prefix(root.trim_end_matches('/'))?;
        // Outside of what is mounted, or of another namespace.
        if below.starts_with("/..") || !(below.is_empty() || below.starts_with('/')) {
            return None;
        }
        Some(Path::new(mounted_at).join(below.trim_start_matches('/')))
    })
}

fn is_delegated(folder: &Path) -> bool {
    let is_marked = |name: &&CStr| {
        let mut value = [0_u8; 8];
        let length = rustix::fs::getxattr(folder, *name, &mut value).unwrap_or(0);
        value[..length] == *b"1"
    };
    // Whoever may do everything may also write into what is nobody's to use.
    let me = rustix::process::geteuid();
    let is_own = || !me.is_root() && fs::metadata(folder).is_ok_and(|folder| folder.uid() == me.as_raw());
    MARKS.iter().any(is_marked) || is_own()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_where_it_is_mounted() {
        let mounts = "25 30 0:23 / /proc rw - proc proc rw\n\
                      31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        let at = |own: &str, mounts: &str| place(own, mounts).map(|folder| folder.to_str().unwrap().to_owned());
        assert_eq!(at("0::/system.slice/adce.service\n", mounts).unwrap(), "/sys/fs/cgroup/system.slice/adce.service");
        assert_eq!(at("1:cpu:/x\n0::/\n", mounts).unwrap(), "/sys/fs/cgroup/");
        assert_eq!(at("1:cpu:/x\n", mounts), None, "version 1 alone");
        let inside = "31 24 0:27 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(at("0::/docker/1/x\n", inside).unwrap(), "/sys/fs/cgroup/x");
        assert_eq!(at("0::/docker/12\n", inside), None);
        assert_eq!(at("0::/../other\n", mounts), None, "of another namespace");
    }

    #[test]
    fn a_folder_that_nobody_marked_is_not_delegated_to_root() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(is_delegated(folder.path()), !rustix::process::geteuid().is_root());
    }
}
