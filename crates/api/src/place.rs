//! How to reach a control socket however long its path is.
//!
//! The kernel takes at most 107 bytes for a socket's path. A state folder may be deeper than that, so both sides open
//! the folder and name the socket through it: `/proc/self/fd/N/control.sock` (`a_socket_in_a_deep_folder_is_reached`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// What fits into `sun_path` with its closing zero.
const LONGEST: usize = 107;

/// A path that the kernel takes for this socket; good as long as this lives.
pub(crate) struct Reachable {
    path: PathBuf,
    _folder: Option<File>,
}

impl Reachable {
    pub(crate) fn new(socket: &Path) -> io::Result<Self> {
        if socket.as_os_str().len() <= LONGEST {
            return Ok(Reachable { path: socket.to_owned(), _folder: None });
        }
        let (Some(folder), Some(name)) = (socket.parent(), socket.file_name()) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let opened = File::open(folder)?;
        let path = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string()).join(name);
        Ok(Reachable { path, _folder: Some(opened) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
