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
            Ok(expected) => {
                summary = Some(format!("{} datasets, {} items", expected.datasets().len(), expected.len()));
                loaded.add(expected.warnings().to_vec());
            }
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

#[test]
fn the_committed_schema_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/adce.schema.json");
    let schema = adce_core::spec::json_schema();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == schema, "docs/adce.schema.json is not what the types say: UPDATE=1 rewrites it");
}

#[test]
fn several_files_are_one_config_and_each_problem_names_its_file() {
    let file = |name: &str, text: &str| ConfigFile { name: name.into(), text: text.into() };
    let base = "lake: ./lake\nsources: { a: { hosts: [a.org], limits: { per_minute: 60, burst: 3 } } }\ndimensions: { x: [1] }\n";
    let over = "sources: { a: { limits: { per_minute: 30 } } }\ndatasets: { d: { source: a, key: \"{x}\", for: x } }\n";
    let (loaded, _) = checked(&[file("base.yaml", base), file("over.yaml", over)]);
    let spec = loaded.spec().unwrap();
    assert_eq!(spec.sources["a"].limits.windows[0].requests, 30);
    assert_eq!(spec.sources["a"].limits.burst, Some(3));

    let (loaded, _) =
        checked(&[file("base.yaml", &format!("{base}nme: x\n")), file("over.yaml", &over.replace("per_minute", "per_minut"))]);
    let places: Vec<String> = loaded.problems.iter().map(|problem| problem.at.as_ref().unwrap().to_string()).collect();
    assert_eq!(places, ["base.yaml:4:1", "over.yaml:1:27"]);
}

#[test]
fn a_key_that_is_not_given_has_the_documented_default() {
    use adce_core::spec::*;
    let text = "lake: ./lake\nsources: { a: { hosts: [a.org] } }\ndimensions: { x: [1] }\n\
                datasets: { d: { source: a, key: \"{x}\", for: x, collector: { command: [get] } } }\n";
    let (loaded, _) = checked(&[ConfigFile { name: "adce.yaml".into(), text: text.into() }]);
    let spec = loaded.spec().unwrap();
    let secs = std::time::Duration::from_secs;
    assert_eq!(spec.name, "shop");
    assert_eq!(spec.lake, LakeUrl::Folder("/project/shop/lake".into()));
    assert_eq!(spec.state, StateUrl::Sqlite("/project/shop/.adce/state.db".into()));
    assert_eq!((spec.engine.max_concurrent, spec.engine.reconcile_every), (5, secs(900)));
    assert_eq!((spec.engine.surprise.items_permille, spec.engine.surprise.lost_permille, spec.engine.surprise.at_least), (200, 100, 20));
    let source = &spec.sources["a"];
    assert_eq!(source.base_url.as_ref().unwrap().as_str(), "https://a.org/");
    assert_eq!((source.importance, source.limits.margin, source.limits.linger), (1.0, Margin::Bracket, secs(1)));
    let rate = Some(FailureRate { permille: 500, of: 20, within: secs(600) });
    assert_eq!(source.breaker, Some(BreakerPolicy { failures: 5, cooldown: secs(600), cooldown_max: secs(7_200), rate }));
    let dataset = &spec.datasets["d"];
    assert_eq!((dataset.min_size, dataset.due.is_none(), dataset.fresh.is_none()), (1, true, true));
    assert!(matches!(dataset.priority, Priority::Always(PriorityLevel::Medium)));
    let absent = AbsentPolicy { after: secs(3 * 86_400), recheck_min: secs(3_600), recheck_max: secs(30 * 86_400) };
    assert_eq!(dataset.absent, absent);
    let collector = &spec.collectors["d"];
    assert_eq!((&collector.output, collector.via, collector.timeout), (&Output::Staged, Via::None, secs(600)));
    assert_eq!((collector.resources, collector.keep), (Resources::default(), Keep::Never));
    assert_eq!((collector.batch.size, collector.requests), (1, Requests { per_task: 0, per_item: 1 }));
    assert_eq!(collector.environment.pass, ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"]);
    assert_eq!((collector.retry.attempts, collector.retry.backoff_min, collector.retry.backoff_max), (3, secs(60), secs(1_800)));
    let breaker = BreakerPolicy { failures: 5, cooldown: secs(60), cooldown_max: secs(900), rate: None };
    assert_eq!(collector.breaker, Some(breaker));
    assert_eq!((collector.retry.revive_min, collector.retry.revive_max), (secs(3_600), secs(86_400)));
    assert_eq!(spec.weighting, Weighting::default());
}

#[test]
fn a_new_url_or_filter_changes_the_fingerprint_and_a_new_priority_does_not() {
    let of = |edit: (&str, &str)| {
        let text = "lake: ./lake\nsources: { a: { hosts: [a.org] } }\ndimensions: { x: [1, 2] }\ndatasets:\n  d:\n    source: a\n    key: \"{x}\"\n    \
                    for: x\n    where: x != \"2\"\n    priority: low\n    collector: { http: { url: \"https://a.org/{x}\" } }\n";
        let (loaded, _) = checked(&[ConfigFile { name: "adce.yaml".into(), text: text.replace(edit.0, edit.1) }]);
        loaded.spec().unwrap().datasets["d"].fingerprint
    };
    let first = of(("", ""));
    assert_eq!(first, of(("priority: low", "priority: high")));
    assert_ne!(first, of(("https://a.org/{x}", "https://a.org/v2/{x}")));
    assert_ne!(first, of(("x != \"2\"", "x != \"1\"")));
    assert_ne!(first, of(("key: \"{x}\"", "key: \"a/{x}\"")));
}
