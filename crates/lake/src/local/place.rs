//! From key to path, and from an operating system's error to what a caller can do about it.
//!
//! A key that were joined to the root without these checks could leave the lake (`..`), name two objects at once
//! (`a//b` and `a/b` are one file), or land in the folder of temporary files, where the next start removes it.

use std::io;
use std::path::{Path, PathBuf};

use adce_core::ports::LakeError;
use nix::errno::Errno;

/// Temporary files of publishing, at the root of a lake.
pub(super) const TEMPORARY: &str = ".adce-tmp";
/// The default place of the state, if a lake's root is also the config's folder.
const STATE: &str = ".adce";

/// Names at the root that are never part of the lake.
pub(crate) fn is_reserved(first_segment: &str) -> bool {
    first_segment == TEMPORARY || first_segment == STATE
}

/// The key's segments, if every one of them can be a name in a folder.
pub(super) fn segments(key: &str) -> Result<Vec<&str>, LakeError> {
    let bad = |detail: &str| Err(LakeError::BadKey { key: key.into(), detail: detail.into() });
    let segments: Vec<&str> = key.split('/').collect();
    if segments.iter().any(|segment| segment.is_empty()) {
        return bad("a local lake has no empty path segments: no `//`, and no `/` at either end");
    }
    if segments.iter().any(|segment| *segment == "." || *segment == "..") {
        return bad("`.` and `..` are not names in a folder");
    }
    if key.contains('\0') {
        return bad("a file name cannot hold a NUL character");
    }
    if is_reserved(segments[0]) {
        return bad("adce keeps its own files there");
    }
    Ok(segments)
}

pub(super) fn join(root: &Path, segments: &[&str]) -> PathBuf {
    let mut path = root.to_path_buf();
    path.extend(segments);
    path
}

/// What an error means while something was done for `key`.
pub(super) fn at_key(key: &str, error: io::Error) -> LakeError {
    let bad = |detail: &str| LakeError::BadKey { key: key.into(), detail: detail.into() };
    match errno(&error) {
        Some(Errno::ENAMETOOLONG) => bad("a segment or the whole path is longer than this file system allows"),
        Some(Errno::ENOTDIR) => bad("a file lies where the key needs a folder"),
        Some(Errno::EISDIR) => bad("a folder lies where the object should be"),
        Some(Errno::EILSEQ | Errno::EINVAL) => bad("this file system refuses the name"),
        Some(Errno::EXDEV) => bad("its folder is on another file system than the lake's root, so nothing can be moved there whole"),
        _ => doing(format!("`{key}`"), error),
    }
}

/// What an error means, whatever was done.
pub(super) fn doing(what: String, error: io::Error) -> LakeError {
    let detail = error.to_string();
    match errno(&error) {
        Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EFBIG) => LakeError::NoRoom { what, detail },
        Some(Errno::EACCES | Errno::EPERM | Errno::ELOOP) => LakeError::Refused { what, detail },
        _ => LakeError::Unavailable { what, detail },
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_path_are_refused() {
        for key in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b", ".adce-tmp/x.part", ".adce/state.db"] {
            assert!(matches!(segments(key), Err(LakeError::BadKey { .. })), "{key:?}");
        }
    }

    #[test]
    fn odd_but_possible_names_are_keys() {
        for key in ["a", "a/b.c", "...", "a/..b", "~/#1#", " ", "a b/ü+%2F", "x/.adce-tmp/y", ".adcex"] {
            assert!(segments(key).is_ok(), "{key:?}");
        }
    }

    #[test]
    fn errors_become_what_the_caller_can_do() {
        let as_key = |code: Errno| at_key("k", io::Error::from(code));
        assert!(matches!(as_key(Errno::ENOSPC), LakeError::NoRoom { .. }));
        assert!(matches!(as_key(Errno::EROFS), LakeError::NoRoom { .. }));
        assert!(matches!(as_key(Errno::EACCES), LakeError::Refused { .. }));
        assert!(matches!(as_key(Errno::ENAMETOOLONG), LakeError::BadKey { .. }));
        assert!(matches!(as_key(Errno::ENOTDIR), LakeError::BadKey { .. }));
        assert!(matches!(as_key(Errno::EXDEV), LakeError::BadKey { .. }));
        assert!(matches!(as_key(Errno::EIO), LakeError::Unavailable { .. }));
    }
}
