//! The arrows of `docs/ARCHITECTURE.md`: who may know whom. A crate that reaches around them makes every later change
//! dearer, and nobody notices on the day it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Normal dependencies among our own crates.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("core", vec![]),
        ("demo", vec![]),
        ("store", vec!["core"]),
        ("inventory", vec!["core"]),
        ("lake", vec!["core"]),
        ("collect", vec!["core"]),
        ("gateway", vec!["core"]),
        ("engine", vec!["core"]),
        ("api", vec!["core"]),
        ("web", vec!["api", "core"]),
        ("sim", vec!["core"]),
        ("adce", vec!["api", "collect", "core", "demo", "engine", "gateway", "inventory", "lake", "store", "web"]),
    ])
}

#[test]
fn crates_know_only_whom_the_architecture_allows() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
    let allowed = allowed();
    for entry in std::fs::read_dir(crates).expect("crates/").flatten() {
        let name = entry.file_name().into_string().expect("a crate's name");
        let manifest = std::fs::read_to_string(entry.path().join("Cargo.toml")).expect("a manifest");
        let known = allowed.get(name.as_str()).unwrap_or_else(|| panic!("`{name}` is not in docs/ARCHITECTURE.md and not here"));
        for other in ours(&manifest) {
            assert!(known.contains(&other.as_str()), "`{name}` must not know `{other}`");
        }
    }
}

/// Names of our crates in `[dependencies]`; what only tests use is left out.
fn ours(manifest: &str) -> BTreeSet<String> {
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("adce-"))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .map(str::to_owned)
        .collect()
}

/// `cargo run -- demo` is the first thing that anybody types; with two programs in the workspace it has to be told which.
#[test]
fn cargo_run_means_adce() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
    let manifests = std::fs::read_dir(crates).expect("crates/").flatten().map(|entry| entry.path().join("Cargo.toml"));
    let manifests = manifests.map(|path| std::fs::read_to_string(path).expect("a manifest"));
    let named = |manifest: String| Some(manifest.lines().find_map(|line| line.strip_prefix("default-run = "))?.to_owned());
    assert_eq!(manifests.filter_map(named).collect::<Vec<String>>(), ["\"adce\""]);
}

#[test]
fn the_core_reaches_no_runtime_and_no_network() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "adce-core", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    let tree = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.contains("adce-core"), "cargo tree says nothing");
    for banned in ["tokio", "hyper", "reqwest", "async-std", "smol", "rusqlite", "rand", "mio"] {
        assert!(!tree.lines().any(|line| line.split(' ').next() == Some(banned)), "core reaches `{banned}`:\n{tree}");
    }
}

fn at_the_top(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands in quotes after `word` on each line that has it.
fn quoted_after<'a>(text: &'a str, word: &str) -> BTreeSet<&'a str> {
    text.lines().filter_map(|line| line.trim().split(word).nth(1)?.strip_prefix('"')?.split('"').next()).collect()
}

#[test]
fn one_tls_library_is_built_in_and_everything_comes_from_one_registry() {
    let (lock, deny) = (at_the_top("Cargo.lock"), at_the_top("deny.toml"));
    let (packages, banned) = (quoted_after(&lock, "name = "), quoted_after(&deny, "crate = "));
    assert!(packages.contains("ring") && packages.contains("rustls"), "Cargo.lock is not understood");
    assert!(banned.contains("openssl") && banned.contains("aws-lc-rs"), "deny.toml is not understood");
    assert_eq!(packages.intersection(&banned).collect::<Vec<_>>(), Vec::<&&str>::new(), "banned in deny.toml");
    let sources = quoted_after(&lock, "source = ");
    assert_eq!(sources, BTreeSet::from(["registry+https://github.com/rust-lang/crates.io-index"]));
}

#[test]
fn the_justfile_calls_what_is_there() {
    use std::os::unix::fs::PermissionsExt;
    let justfile = at_the_top("justfile");
    let scripts = justfile.split_whitespace().filter(|word| word.starts_with("scripts/") || word.starts_with("bench/"));
    let scripts: BTreeSet<&str> = scripts.collect();
    assert!(scripts.len() >= 3, "{scripts:?}");
    for script in scripts {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(script);
        let mode = std::fs::metadata(&path).unwrap_or_else(|error| panic!("{script}: {error}")).permissions().mode();
        assert!(mode & 0o111 != 0, "`{script}` may not be executed");
    }
}
