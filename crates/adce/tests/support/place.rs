//! A folder with a config and a lake, and the real binary run in it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{self, SigHandler, Signal};

pub struct Place {
    folder: tempfile::TempDir,
}

/// What a command said and how it ended.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Place {
    /// An empty lake in `lake/`, and this config.
    pub fn new(config: &str) -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::create_dir(place.path("lake")).expect("a lake");
        place.write("adce.yaml", config);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("a file");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub fn adce(&self, args: &[&str]) -> Said {
        said(self.command(args).output().expect("adce runs"))
    }

    /// With these variables on top of the environment.
    pub fn adce_with(&self, env: &[(&'static str, String)], args: &[&str]) -> Said {
        let mut command = self.command(args);
        command.envs(env.iter().map(|(name, value)| (*name, value)));
        said(command.output().expect("adce runs"))
    }

    pub fn start(&self, args: &[&str]) -> Child {
        self.start_with(&[], args)
    }

    /// With these variables on top of the environment.
    pub fn start_with(&self, env: &[(&'static str, String)], args: &[&str]) -> Child {
        let mut command = self.command(args);
        command
            .envs(env.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("adce starts")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_adce"));
        command.args(args).current_dir(self.folder.path()).env("NO_COLOR", "1");
        // A shell's background ignores it, and so does whoever is started there.
        // SAFETY: between fork and exec it makes one system call, and no handler of ours stays.
        unsafe { command.pre_exec(|| Ok(signal::signal(Signal::SIGINT, SigHandler::SigDfl).map(drop)?)) };
        command
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

pub fn said(output: Output) -> Said {
    Said {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Said {
    /// Fails with everything that was said.
    #[track_caller]
    pub fn ends_with(&self, code: i32) -> &Said {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(&self, text: &str) -> &Said {
        assert!(self.out.contains(text) || self.err.contains(text), "`{text}` is not in\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    /// The last line of standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let line = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\nstderr:\n{}", self.err))
    }
}

/// Of its first thread, which for a guardian is the only one.
pub fn children_of(pid: i32) -> Vec<i32> {
    adce_collect::Children::of(pid).now()
}

/// A command that runs an engine only guards it.
#[track_caller]
pub fn engine_of(guardian: &Child) -> i32 {
    let children = children_of(guardian.id() as i32);
    assert_eq!(children.len(), 1, "a guardian has one child");
    children[0]
}

/// To a process, or to a group if the number is negative. `which` as `kill` takes it.
#[track_caller]
pub fn signal(which: &str, pid: i32) {
    assert!(Command::new("kill").args([which, "--", &pid.to_string()]).status().expect("kill").success());
}

/// Returns when `done`, or fails after a minute.
#[track_caller]
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "waited a minute for {what}");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}
