//! Finds the program of a command, and says in words why it could not be started.
//!
//! The kernel only says "no such file" — for a scraper that is missing, for its interpreter, and for the working
//! folder alike. A person must be told which.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use adce_core::gap::{Failure, Fault};
use rustix::fs::{Access, access};

/// What a child without `PATH` is searched for in.
const PATH_IF_UNSET: &str = "/usr/local/bin:/usr/bin:/bin";

/// An absolute path to `name`, found as a shell in `folder` would find it.
pub(crate) fn find(name: &str, folder: &Path, path: Option<&OsStr>) -> Result<PathBuf, Failure> {
    if name.is_empty() {
        return Err(not_started("the command is empty: it needs a program"));
    }
    if name.contains('/') {
        return Ok(folder.join(name));
    }
    let path = path.unwrap_or(OsStr::new(PATH_IF_UNSET));
    let candidates = || std::env::split_paths(path).map(|place| folder.join(place).join(name));
    if let Some(found) = candidates().find(|file| access(file, Access::EXEC_OK).is_ok() && file.is_file()) {
        return Ok(found);
    }
    let looked_in = path.to_string_lossy();
    Err(not_started(&match candidates().find(|file| file.exists()) {
        Some(file) => format!("`{}` is not executable; `chmod +x` it", file.display()),
        None => format!("`{name}` was not found: looked in PATH={looked_in}"),
    }))
}

/// Why starting `program` failed.
pub(crate) fn explain(name: &str, program: &Path, folder: &Path, why: &io::Error) -> Failure {
    if !folder.is_dir() {
        return not_started(&format!("`{name}`: its working folder `{}` does not exist", folder.display()));
    }
    match why.kind() {
        io::ErrorKind::NotFound if !program.exists() => not_started(&format!("`{}` does not exist", program.display())),
        io::ErrorKind::NotFound => not_started(&match interpreter(program) {
            Some(interpreter) => format!("`{}` asks for the interpreter `{interpreter}`, which does not exist", program.display()),
            None => format!("`{}` cannot be loaded: its loader or a library does not exist", program.display()),
        }),
        io::ErrorKind::PermissionDenied if program.is_dir() => not_started(&format!("`{}` is a folder", program.display())),
        io::ErrorKind::PermissionDenied => {
            not_started(&format!("`{}` is not executable; `chmod +x` it, or put its interpreter before it", program.display()))
        }
        io::ErrorKind::ArgumentListTooLong => {
            not_started(&format!("`{name}`: its arguments are too long; make `batch.size` smaller, or read the items from $ADCE_ITEMS"))
        }
        _ if why.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            not_started(&format!("`{}` is no program, and its first line names no interpreter (`#!…`)", program.display()))
        }
        // Out of processes, memory or descriptors, or the file is just being written: not the item's fault.
        _ => Failure { fault: Fault::Later, message: format!("`{name}` could not be started: {why}"), retry_after_s: None },
    }
}

fn interpreter(program: &Path) -> Option<String> {
    let text = std::fs::read(program).ok()?;
    let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    Some(String::from_utf8_lossy(line).split_whitespace().next()?.to_owned())
}

/// Trying again does not help until a person has acted, but it costs the gap its attempts, and then it is alerted.
pub(crate) fn not_started(message: &str) -> Failure {
    Failure { fault: Fault::Collector, message: format!("not started: {message}"), retry_after_s: None }
}
