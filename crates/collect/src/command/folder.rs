//! What lies in a folder, read with nothing but what it takes.
//!
//! The usual reading allocates a buffer of 32 KiB for each folder, which takes the allocator longer than the kernel takes to
//! say that there is nothing. A short attempt has four folders to look into.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, RawDir};

/// Holds some hundred names a call, and each name that a file can have.
const BUFFER_BYTES: usize = 8 << 10;

/// What an entry is, if it is a link not what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Other,
}

/// Shows every entry of the folder, in no order. A link in the folder's own place is not followed, and an error.
pub(crate) fn entries(folder: &Path, mut seen: impl FnMut(&OsStr, Kind)) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = rustix::fs::open(folder, flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut entries = RawDir::new(open, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            FileType::Unknown => kind_of(&folder.join(name))?,
            _ => Kind::Other,
        };
        seen(name, kind);
    }
    Ok(())
}

/// For file systems that do not say it with the name.
fn kind_of(path: &Path) -> io::Result<Kind> {
    let kind = std::fs::symlink_metadata(path)?.file_type();
    Ok(if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Folder
    } else {
        Kind::Other
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_entry_is_shown_once_as_what_it_is_however_many_there_are() {
        let folder = tempfile::tempdir().unwrap();
        let long = "n".repeat(200);
        let mut expected: Vec<(String, Kind)> = (0..500).map(|number| (format!("{long}{number}"), Kind::File)).collect();
        expected.iter().for_each(|(name, _)| fs::write(folder.path().join(name), "").unwrap());
        fs::create_dir(folder.path().join("folder")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("link")).unwrap();
        expected.extend([("folder".into(), Kind::Folder), ("link".into(), Kind::Other)]);
        let mut seen = Vec::new();
        entries(folder.path(), |name, kind| seen.push((name.to_str().unwrap().to_owned(), kind))).unwrap();
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(seen, expected);
        assert_eq!(kind_of(&folder.path().join("link")).unwrap(), Kind::Other);
        assert!(entries(&folder.path().join("link"), |_, _| ()).is_err(), "a link in its place is not followed");
        assert_eq!(entries(&folder.path().join("none"), |_, _| ()).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
