//! Pairs of a config and everything that is said about it: `config/NAME.yaml` and `config/NAME.expected`.
//!
//! A good config's expected text says what it became. `UPDATE=1` rewrites the expected texts; each rewrite is to be read,
//! not trusted.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use adce_core::coverage::{TableError, TableFile, TableFiles, expand};
use adce_core::spec::{ConfigFile, Loaded, load};
use proptest::prelude::*;

const NOW: &str = "2025-03-09T14:00:00Z";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

/// Files of the test's own folder; `dir/*.csv` is the only kind of glob the examples need.
struct Beside;

impl TableFiles for Beside {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        let mut names: Vec<String> = match pattern.split_once('*') {
            None => vec![pattern.to_owned()],
            Some((front, end)) => {
                let sub = front.rsplit_once('/').map_or("", |(sub, _)| sub);
                let listed = std::fs::read_dir(folder().join(sub)).into_iter().flatten().flatten();
                let paths = listed.map(|entry| format!("{sub}/{}", entry.file_name().to_string_lossy()));
                paths.filter(|path| path.starts_with(front) && path.ends_with(end)).collect()
            }
        };
        names.sort();
        names.retain(|name| folder().join(name).is_file());
        if names.is_empty() {
            return Err(TableError::NoFile(pattern.to_owned()));
        }
        let read = |name: String| match std::fs::read(folder().join(&name)) {
            Ok(bytes) => Ok(TableFile { name, bytes }),
            Err(error) => Err(TableError::Unreadable { file: name, detail: error.to_string() }),
        };
        names.into_iter().map(read).collect()
    }
}

fn environment(name: &str) -> Option<String> {
    match name {
        "REGION" => Some("eu".into()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// What `adce check` does.
fn checked(files: &[ConfigFile]) -> (Loaded, Option<String>) {
    let mut loaded = load(files, Path::new("/project/shop"), &environment, &Beside);
    let mut summary = None;
    if let Some(draft) = &loaded.draft {
        match expand(draft, &Beside, NOW.parse().unwrap()) {
            Ok(expected) => summary = Some(format!("{} datasets, {} items", expected.datasets().len(), expected.len())),
            Err(problems) => loaded.add(problems),
        }
    }
    (loaded, summary)
}

fn report(files: &[ConfigFile]) -> String {
    let (loaded, summary) = checked(files);
    let mut text = String::new();
    for problem in &loaded.problems {
        writeln!(text, "{problem}\n").unwrap();
    }
    match (loaded.has_errors(), summary) {
        (false, Some(summary)) => writeln!(text, "ok: {summary}").unwrap(),
        _ => writeln!(text, "refused").unwrap(),
    }
    text
}

fn config(path: &Path) -> ConfigFile {
    let text = std::fs::read(path).unwrap();
    ConfigFile { name: path.file_name().unwrap().to_string_lossy().into(), text: String::from_utf8(text).unwrap() }
}

fn configs() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    paths.sort();
    paths
}

#[test]
fn every_config_is_answered_as_expected() {
    let mut differing = String::new();
    for path in configs() {
        let found = report(&[config(&path)]);
        let beside = path.with_extension("expected");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&beside, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            writeln!(differing, "=== {}\n--- expected\n{expected}\n--- found\n{found}", path.display()).unwrap();
        }
    }
    assert!(differing.is_empty(), "{differing}\n(UPDATE=1 rewrites the expected texts)");
}

#[test]
fn every_good_config_loads_and_every_bad_one_is_refused() {
    for path in configs() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (loaded, _) = checked(&[config(&path)]);
        let good = name.starts_with("good_");
        assert_eq!(!loaded.has_errors(), good || name.starts_with("warning_"), "{name}: {:#?}", loaded.problems);
        assert_eq!(loaded.problems.is_empty(), good, "{name}");
        assert_eq!(loaded.spec().is_ok(), good || name.starts_with("warning_"), "{name}");
    }
}

#[test]
fn a_problem_without_a_place_in_a_file_is_a_riddle() {
    for path in configs() {
        let (loaded, _) = checked(&[config(&path)]);
        for problem in loaded.problems {
            assert!(problem.at.is_some(), "{}: {problem}", path.display());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Bytes changed, removed, doubled or moved, as editors and merges do.
    #[test]
    fn a_damaged_config_is_refused_and_never_panics(which in any::<prop::sample::Index>(), edits in prop::collection::vec((any::<prop::sample::Index>(), 0..5_u8, any::<u8>()), 1..6)) {
        let paths = configs();
        let mut bytes = std::fs::read(which.get(&paths)).unwrap();
        const MARKS: &[u8] = b"{}[]:,-#&*!|>'\"%@`~?\t\n ${}..01a";
        for (at, kind, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, MARKS[usize::from(byte) % MARKS.len()]),
                3 => bytes.truncate(at),
                _ => {
                    let end = (at + usize::from(byte)).min(bytes.len());
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
            }
        }
        let file = ConfigFile { name: "adce.yaml".into(), text: String::from_utf8_lossy(&bytes).into_owned() };
        let loaded = load(&[file], Path::new("/project/shop"), &environment, &Beside);
        for problem in &loaded.problems {
            prop_assert!(!problem.to_string().is_empty());
        }
        prop_assert!(loaded.draft.is_some() || loaded.has_errors());
    }
}
