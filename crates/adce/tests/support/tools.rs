//! Programs that tests use and that are not ours. One that is missing is told of, and an error where all must be there.

use std::path::{Path, PathBuf};

/// A program in PATH, of the Debian package of that name.
pub fn installed(command: &str) -> Option<PathBuf> {
    found(command, in_path(command), &format!("install the Debian package `{command}`"))
}

/// One that is too large to be asked for.
pub fn if_there(command: &str) -> Option<PathBuf> {
    let path = in_path(command);
    if path.is_none() {
        eprintln!("SKIPPED: {command} is not there");
    }
    path
}

fn in_path(command: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(command)).find(|path| path.is_file())
}

/// What scripts/test installs.
pub fn tool(below: &str) -> Option<PathBuf> {
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/clients");
    let folder = std::env::var_os("ADCE_TEST_CLIENTS").map_or_else(usual, PathBuf::from);
    found(below, Some(folder.join(below)).filter(|path| path.is_file()), "run scripts/test once, or set ADCE_TEST_CLIENTS")
}

/// `None`: it is not there, and may be missing.
pub fn found(name: &str, path: Option<PathBuf>, how: &str) -> Option<PathBuf> {
    if path.is_none() {
        let required = std::env::var("ADCE_TEST_REQUIRE_SERVERS").is_ok_and(|value| value == "1");
        assert!(!required, "{name} is required and not there: {how}");
        eprintln!("SKIPPED: {name} is not there; to run this test: {how}");
    }
    path
}
