//! The file port: the few operations a local lake asks of an operating system.
//!
//! They stand behind a trait so that tests can fill the disk at any of them, or pull the plug after any of them and drop
//! whatever was not synced; without that, "durable when `Ok` returns" would be a hope. Each operation is one that a
//! crash can separate from the next, so nothing here combines two of them.
//!
//! It knows nothing of keys, preconditions or temporary names.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Folder,
    Link,
    /// A socket, a pipe, a device.
    Other,
}

/// What a file system tells about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub kind: Kind,
    pub inode: u64,
    pub size: u64,
    pub modified_s: i64,
    pub modified_ns: u32,
}

/// One name in a folder. `stat` costs a system call and does not follow links.
pub struct Entry<'a> {
    pub name: &'a OsStr,
    pub kind: Kind,
    pub stat: &'a dyn Fn() -> io::Result<Stat>,
}

pub trait Files: Send + Sync {
    /// Does not follow a link at the end of the path.
    fn look(&self, path: &Path) -> io::Result<Stat>;

    /// Follows every link: the real path, and what is there.
    fn look_through(&self, path: &Path) -> io::Result<(PathBuf, Stat)>;

    /// Calls `each` for every name in the folder but `.` and `..`, in no order, until it breaks.
    fn entries(&self, folder: &Path, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()>;

    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Copies content into a file that must not exist yet. After a failure a part of it may lie there.
    fn copy_new(&self, from: &Path, to: &Path) -> io::Result<Box<dyn Written>>;

    /// When it returns, every name in the folder is on disk (what the names lead to is another matter).
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Moves a file within a file system; fails with `AlreadyExists` if the new name is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Moves a file within a file system, replacing a file at the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file just written, still open.
pub trait Written: Send {
    /// When it returns, the content is on disk (the file's name is another matter).
    fn sync(&self) -> io::Result<()>;

    fn stat(&self) -> io::Result<Stat>;
}

/// The operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

impl Files for RealFiles {
    fn look(&self, path: &Path) -> io::Result<Stat> {
        fs::symlink_metadata(path).map(|found| stat_of(&found))
    }

    fn look_through(&self, path: &Path) -> io::Result<(PathBuf, Stat)> {
        let real = fs::canonicalize(path)?;
        let found = fs::metadata(&real)?;
        Ok((real, stat_of(&found)))
    }

    fn entries(&self, folder: &Path, each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let kind = entry.file_type().map(kind_of)?;
            // Asks relative to the open folder, so a long path is not resolved once per file.
            let stat = || entry.metadata().map(|found| stat_of(&found));
            if each(Entry { name: &name, kind, stat: &stat }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn copy_new(&self, from: &Path, to: &Path) -> io::Result<Box<dyn Written>> {
        let mut source = File::open(from)?;
        let mut target = OpenOptions::new().write(true).create_new(true).open(to)?;
        // On Linux this becomes `copy_file_range`, which shares blocks where the file system can.
        io::copy(&mut source, &mut target)?;
        Ok(Box::new(target))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            use nix::errno::Errno;
            use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
            match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
                // Network and FUSE file systems often know only the plain rename.
                Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => {}
                moved => return moved.map_err(io::Error::from),
            }
        }
        fs::hard_link(from, to)?;
        fs::remove_file(from)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

impl Written for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.metadata().map(|found| stat_of(&found))
    }
}

fn stat_of(found: &fs::Metadata) -> Stat {
    Stat {
        kind: kind_of(found.file_type()),
        inode: found.ino(),
        size: found.len(),
        modified_s: found.mtime(),
        modified_ns: u32::try_from(found.mtime_nsec()).unwrap_or(0),
    }
}

fn kind_of(found: fs::FileType) -> Kind {
    if found.is_file() {
        Kind::File
    } else if found.is_dir() {
        Kind::Folder
    } else if found.is_symlink() {
        Kind::Link
    } else {
        Kind::Other
    }
}
