//! Makes the process of a command: shares our memory until its program begins (`vfork`), in a process group of its own.
//!
//! Half a million times a day it matters what this costs. `fork` copies the tables of all our memory, and `posix_spawn` asks
//! twice for each signal's action and gives a stack back, for which every other processor is interrupted: this takes 40 us
//! less of each attempt's millisecond, and limits can be set on the way as well.
//!
//! Always true: between the two programs the child makes system calls and nothing else. It takes no lock, allocates nothing,
//! runs no handler of ours (all signals are blocked until none is handled any more), and has a stack of its own; the thread that
//! made it waits meanwhile. It ignores what this process ignores (`nohup`), but for SIGPIPE, which Rust ignores for itself.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::ptr;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc::{self, c_char};
use nix::sched::{CloneFlags, clone};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};

use crate::everything::Starting;

/// What is to run, and where.
pub(crate) struct Plan {
    program: CString,
    argv: Strings,
    environment: Strings,
    folder: CString,
}

/// A process that was made here and that nobody has reaped yet.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
}

/// Made, with the ends of its pipes that are ours.
pub(crate) struct Launched {
    pub(crate) child: Child,
    /// `None`: it goes to a file.
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: OwnedFd,
}

/// Strings as a program is given them: a list of pointers that ends with null.
struct Strings {
    texts: Vec<CString>,
}

type OnTheWay<'a> = dyn Fn() -> rustix::io::Result<()> + 'a;

/// A few calls deep, none of which holds more than a signal's action.
const STACK_BYTES: usize = 32 << 10;

impl Plan {
    /// Fails if there is a NUL where none can be.
    pub(crate) fn new<'a>(
        program: &Path,
        argv: impl Iterator<Item = &'a str>,
        environment: &[(OsString, OsString)],
        folder: &Path,
    ) -> io::Result<Self> {
        Ok(Plan {
            program: CString::new(program.as_os_str().as_bytes())?,
            argv: Strings { texts: argv.map(CString::new).collect::<Result<_, _>>()? },
            environment: Strings { texts: environment.iter().map(|(name, value)| assignment(name, value)).collect::<io::Result<_>>()? },
            folder: CString::new(folder.as_os_str().as_bytes())?,
        })
    }

    /// Returns once the program has begun; the error says why it has not. Its input is empty, and its output goes to
    /// `printed` or through a pipe. The child calls `on_the_way`, which may make system calls and do nothing else.
    pub(crate) fn launch(&self, printed: Option<File>, on_the_way: &OnTheWay<'_>) -> io::Result<Launched> {
        let input = nothing()?;
        let (stdout, its_stdout) = match printed {
            None => pipe().map(|(ours, its)| (Some(ours), its))?,
            Some(file) => (None, file.into()),
        };
        let (stderr, its_stderr) = pipe()?;
        let child = self.begin([input.as_fd(), its_stdout.as_fd(), its_stderr.as_fd()], on_the_way)?;
        Ok(Launched { child, stdout, stderr })
    }

    fn begin(&self, ends: [BorrowedFd<'_>; 3], on_the_way: &OnTheWay<'_>) -> io::Result<Child> {
        let (argv, environment) = (self.argv.pointers(), self.environment.pointers());
        let mut stack = vec![0_u8; STACK_BYTES];
        let mut why = None;
        let _starting = Starting::one();
        let child = Box::new(|| {
            let Err(errno) = self.become_it(ends, &argv, &environment, on_the_way);
            why = Some(errno);
            127
        });
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: the child has a stack of its own, this thread waits until it has another memory or has ended, and until then
        // it only makes system calls and writes `why`.
        let made = unsafe { clone(child, &mut stack, CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK, Some(libc::SIGCHLD)) };
        before.thread_set_mask()?;
        let child = Child { pid: Pid::from_raw(made?.as_raw()).ok_or(io::ErrorKind::NotFound)? };
        match why {
            None => Ok(child),
            Some(errno) => {
                let _ = child.wait(WaitOptions::empty());
                Err(errno.into())
            }
        }
    }

    /// Runs in the child. Returns only if it fails.
    fn become_it(
        &self,
        [input, stdout, stderr]: [BorrowedFd<'_>; 3],
        argv: &[*const c_char],
        environment: &[*const c_char],
        on_the_way: &OnTheWay<'_>,
    ) -> Result<Infallible, Errno> {
        handle_no_signal()?;
        let set_up = || -> rustix::io::Result<()> {
            rustix::process::setpgid(None, None)?;
            rustix::stdio::dup2_stdin(input)?;
            rustix::stdio::dup2_stdout(stdout)?;
            rustix::stdio::dup2_stderr(stderr)?;
            rustix::process::chdir(self.folder.as_c_str())?;
            on_the_way()
        };
        set_up().map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
        SigSet::empty().thread_set_mask()?;
        // SAFETY: both lists end with null, and what they point to lives as long as `self`.
        unsafe { libc::execve(self.program.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
        Err(Errno::last())
    }
}

impl Strings {
    fn pointers(&self) -> Vec<*const c_char> {
        self.texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
    }
}

impl Child {
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Reaps it if it has ended.
    pub(crate) fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.wait(WaitOptions::NOHANG)
    }

    fn wait(&self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(self.pid), options))?;
        Ok(ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
    }
}

/// What this process handles in its own way happens in the usual way to the child.
fn handle_no_signal() -> Result<(), Errno> {
    let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        if matches!(signal, Signal::SIGKILL | Signal::SIGSTOP) {
            continue;
        }
        // SAFETY: no function of ours is named as a handler.
        let before = unsafe { sigaction(signal, &usual) }?;
        if matches!(before.handler(), SigHandler::SigIgn) && signal != Signal::SIGPIPE {
            // SAFETY: as above.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    Ok(())
}

/// `NAME=value`.
fn assignment(name: &OsStr, value: &OsStr) -> io::Result<CString> {
    let mut text = Vec::with_capacity(name.len() + value.len() + 2);
    text.extend_from_slice(name.as_bytes());
    text.push(b'=');
    text.extend_from_slice(value.as_bytes());
    Ok(CString::new(text)?)
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}

/// An input at its end, opened once for all.
fn nothing() -> io::Result<&'static File> {
    static NOTHING: OnceLock<File> = OnceLock::new();
    match NOTHING.get() {
        Some(open) => Ok(open),
        None => File::open("/dev/null").map(|file| NOTHING.get_or_init(|| file)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn plan(argv: &[&str]) -> io::Result<Plan> {
        Plan::new(Path::new(argv[0]), argv.iter().copied(), &[("A".into(), "b c".into())], Path::new("/"))
    }

    /// What it prints, when it has ended well.
    fn printed(argv: &[&str]) -> String {
        let Launched { child, stdout, .. } = plan(argv).unwrap().launch(None, &|| Ok(())).unwrap();
        let mut text = String::new();
        File::from(stdout.unwrap()).read_to_string(&mut text).unwrap();
        let ended = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(child.pid()), WaitOptions::empty())).unwrap();
        assert_eq!(ended.unwrap().1.exit_status(), Some(0));
        text
    }

    #[test]
    fn a_child_blocks_no_signal_and_ignores_what_its_parent_was_told_to_ignore() {
        let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: nobody in these tests waits for it.
        unsafe { sigaction(Signal::SIGUSR2, &ignored) }.unwrap();
        let mask = SigSet::thread_get_mask().unwrap();
        let status = printed(&["/bin/cat", "/proc/self/status"]);
        // The 32nd and 33rd are a C library's own.
        let known = |signals: &str| u64::from_str_radix(signals.trim(), 16).unwrap() & 0x7fff_ffff;
        let signals = |name: &str| known(status.lines().find_map(|line| line.strip_prefix(name)).unwrap());
        // Whoever started this may have told it to ignore more; Rust ignores SIGPIPE for itself alone.
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        let told = known(own.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap()) & !(1 << (libc::SIGPIPE - 1));
        assert!(told & 1 << (libc::SIGUSR2 - 1) != 0);
        assert_eq!((signals("SigBlk:"), signals("SigIgn:")), (0, told));
        assert_eq!(SigSet::thread_get_mask().unwrap(), mask);
    }

    #[test]
    fn a_child_has_its_own_environment_folder_and_group() {
        assert_eq!(printed(&["/usr/bin/env"]), "A=b c\n");
        assert_eq!(printed(&["/bin/sh", "-c", "pwd; cat; test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leads"]), "/\nleads\n");
    }

    #[test]
    fn who_cannot_begin_says_why_and_leaves_nobody() {
        let why = |plan: Plan| plan.launch(None, &|| Ok(())).map(|_| ()).unwrap_err().kind();
        assert_eq!(why(plan(&["/no/such/program"]).unwrap()), io::ErrorKind::NotFound);
        assert_eq!(why(plan(&["/etc/passwd"]).unwrap()), io::ErrorKind::PermissionDenied);
        let refused = plan(&["/bin/true"]).unwrap().launch(None, &|| Err(rustix::io::Errno::MFILE)).map(|_| ()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EMFILE));
        assert_eq!(plan(&["/bin/true", "a\0b"]).map(|_| ()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        const TIMES: usize = 50;
        (0..TIMES).for_each(|_| assert_eq!(why(plan(&["/no/such/program"]).unwrap()), io::ErrorKind::NotFound));
        let me = std::process::id() as i32;
        let dead = crate::process::Seen::all().into_iter().filter(|seen| seen.parent == me && seen.dead).count();
        assert!(dead < TIMES, "other tests may not have reaped theirs yet: {dead}");
    }
}
