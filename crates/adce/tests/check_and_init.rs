//! `adce check` and `adce init`, as a person or a script meets them.

use std::path::Path;
use std::process::{Command, Output};

fn adce(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_adce")).args(args).current_dir(folder).output().expect("adce starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn the_first_config_is_right_and_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let written = adce(folder.path(), &["init"]);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    let checked = adce(folder.path(), &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert_eq!(text(&checked.stderr), "");
    assert!(text(&checked.stdout).contains("2 datasets, 28 items, 1 source"), "{}", text(&checked.stdout));
    std::fs::remove_dir(folder.path().join("lake")).unwrap();
    let checked = adce(folder.path(), &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("adce never creates a lake"), "{}", text(&checked.stdout));

    let config = folder.path().join("adce.yaml");
    std::fs::write(&config, "mine").unwrap();
    let again = adce(folder.path(), &["init"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("`adce.yaml` is there already"), "{}", text(&again.stderr));
    assert_eq!(std::fs::read_to_string(config).unwrap(), "mine");
}

#[test]
fn editors_find_the_schema_of_the_first_config() {
    let folder = tempfile::tempdir().unwrap();
    adce(folder.path(), &["init"]);
    let config = std::fs::read_to_string(folder.path().join("adce.yaml")).unwrap();
    let named = config.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join(named)).unwrap()).unwrap();
    for key in ["sources", "dimensions", "datasets", "collectors", "engine", "priority_weighting"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
}

#[test]
fn check_prints_every_problem_with_its_line_and_ends_with_78() {
    let folder = tempfile::tempdir().unwrap();
    let config = "lake: ./lake\nsources:\n  api: { hosts: [api.org], limits: { per_mintue: 60 } }\ndimensions:\n  day: [monday]\ndatasets:\n  a:\n    \
                  source: apy\n    key: {day}/x.json\n    for: day\n";
    std::fs::write(folder.path().join("adce.yaml"), config).unwrap();
    let checked = adce(folder.path(), &["check"]);
    assert_eq!(checked.status.code(), Some(78));
    assert_eq!(text(&checked.stdout), "");
    let expected = "\
error: source `api`: `limits`: unknown key `per_mintue`
  --> adce.yaml:3:38
  |
3 |   api: { hosts: [api.org], limits: { per_mintue: 60 } }
  |                                      ^^^^^^^^^^
hint: did you mean `per_minute`?

error: dataset `a`: there is no source `apy`
  --> adce.yaml:8:13
  |
8 |     source: apy
  |             ^^^
hint: did you mean `api`?

error: `key` begins with an unquoted bracket, which YAML reads as a map or a list
  --> adce.yaml:9:10
  |
9 |     key: {day}/x.json
  |          ^^^^^^^^^^^^
hint: put it in quotes: `key: \"{day}/x.json\"`

3 errors
";
    assert_eq!(text(&checked.stderr), expected);
}

#[test]
fn problems_as_json_are_one_object_on_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("adce.yaml"), "lake: ./lake\n").unwrap();
    let checked = adce(folder.path(), &["check", "--format", "json"]);
    assert_eq!(checked.status.code(), Some(78));
    let report: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["errors"], 1);
    assert_eq!(report["problems"][0]["message"], "`datasets` is missing");
    assert_eq!(report["problems"][0]["file"], "adce.yaml");
}

#[test]
fn a_config_that_is_not_there_or_not_text_is_a_config_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = adce(folder.path(), &["check"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(&missing.stderr).contains("hint: `adce init` writes a first one"), "{}", text(&missing.stderr));
    std::fs::write(folder.path().join("adce.yaml"), b"lake: \xff\xfe\n").unwrap();
    let binary = adce(folder.path(), &["check"]);
    assert_eq!(binary.status.code(), Some(78));
    assert!(text(&binary.stderr).contains("`adce.yaml` is not UTF-8"), "{}", text(&binary.stderr));
}

#[test]
fn verbs_of_other_tools_get_a_hint_and_64() {
    let folder = tempfile::tempdir().unwrap();
    for (verb, hint) in [("validate", "adce check"), ("apply", "adce run"), ("backfill", "adce run"), ("describe", "adce status")] {
        let refused = adce(folder.path(), &[verb]);
        assert_eq!(refused.status.code(), Some(64), "{verb}");
        assert!(text(&refused.stderr).contains(&format!("`{hint}`")), "{verb}: {}", text(&refused.stderr));
    }
}
