//! Where the control socket lies, and how to reach it however long its path is.
//!
//! The kernel takes at most 107 bytes for a socket's path. A state folder may be deeper than that, so both sides open
//! the folder and name the socket through it: `/proc/self/fd/N/control.sock` (`a_socket_in_a_deep_folder_is_reached`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// The socket's name in the folder of the state.
pub const SOCKET: &str = "control.sock";

/// What fits into `sun_path` with its closing zero.
const LONGEST: usize = 107;

/// A path that the kernel takes for a socket in `folder`; good as long as this lives.
pub(crate) struct Reachable {
    path: PathBuf,
    _folder: Option<File>,
}

impl Reachable {
    pub(crate) fn new(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= LONGEST {
            return Ok(Reachable { path, _folder: None });
        }
        let opened = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", opened.as_raw_fd()));
        Ok(Reachable { path, _folder: Some(opened) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
