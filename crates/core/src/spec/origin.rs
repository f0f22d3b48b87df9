//! What a config says, value by value, and where each comes from: a file, a variable of the environment, or nobody.
//!
//! Several files lie on top of each other, and variables on top of all of them; without this whoever wonders why a limit is 30 has to read
//! all of them.

use serde::{Deserialize, Serialize};

use super::load::{ConfigFile, read};
use super::yaml::{Map, Node, Value};

/// One value of a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// `sources.espn.limits.per_minute`; a number is a place in a list.
    pub key: String,
    pub value: String,
    /// `adce.yaml:12:30`, `$ADCE_ENGINE__MAX_CONCURRENT`, `default`.
    pub origin: String,
}

/// What changed from one edition to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub key: String,
    /// `null`: it was not there.
    pub before: Option<String>,
    /// `null`: it is not there any more.
    pub after: Option<String>,
}

/// Whatever is written, in the order in which it is. Of files that cannot be read nothing.
pub fn settings(files: &[ConfigFile], env: &dyn Fn(&str) -> Option<String>) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(root) = read(files, env, &mut Vec::new(), &mut Vec::new()) {
        flatten(&root, &mut Vec::new(), &mut settings);
    }
    settings
}

fn flatten(node: &Node, trail: &mut Vec<String>, settings: &mut Vec<Setting>) {
    let below = |trail: &mut Vec<String>, name: String, node: &Node, settings: &mut Vec<Setting>| {
        trail.push(name);
        flatten(node, trail, settings);
        trail.pop();
    };
    match &node.value {
        Value::Map(map) => map.entries.iter().for_each(|entry| below(trail, entry.key.clone(), &entry.value, settings)),
        Value::List(all) if all.iter().all(is_scalar) => settings.push(setting(node, trail, list(all))),
        Value::List(all) => all.iter().enumerate().for_each(|(at, each)| below(trail, at.to_string(), each, settings)),
        Value::Scalar(scalar) => settings.push(setting(node, trail, scalar.text.to_string())),
        Value::Empty | Value::Null => settings.push(setting(node, trail, "null".into())),
    }
}

fn is_scalar(node: &Node) -> bool {
    matches!(node.value, Value::Scalar(_))
}

fn list(all: &[Node]) -> String {
    let texts = all.iter().filter_map(|node| match &node.value {
        Value::Scalar(scalar) => Some(scalar.text.to_string()),
        _ => None,
    });
    format!("[{}]", texts.collect::<Vec<_>>().join(", "))
}

fn setting(node: &Node, trail: &[String], value: String) -> Setting {
    // A variable is one line of its own making.
    let origin = if node.at.file.starts_with('$') { node.at.file.to_string() } else { node.at.to_string() };
    Setting { key: trail.join("."), value, origin }
}

/// Those that differ, in the order of what is written now; what is gone comes last.
pub fn changes(before: &[Setting], after: &[Setting]) -> Vec<Difference> {
    let value_of =
        |settings: &[Setting], key: &str| settings.iter().find(|setting| setting.key == key).map(|setting| setting.value.clone());
    let changed = after.iter().filter_map(|setting| {
        let was = value_of(before, &setting.key);
        (was.as_ref() != Some(&setting.value)).then(|| Difference {
            key: setting.key.clone(),
            before: was,
            after: Some(setting.value.clone()),
        })
    });
    let gone = before.iter().filter(|setting| value_of(after, &setting.key).is_none()).map(|setting| Difference {
        key: setting.key.clone(),
        before: Some(setting.value.clone()),
        after: None,
    });
    changed.chain(gone).collect()
}

/// The file that a variable such as `ADCE_ENGINE__MAX_CONCURRENT=8` stands for, to lie on top of these; `None`: it is none of the config.
/// Its names are found whatever their case, and with `_` for `-`; its value is YAML: `8`, `30s`, `[a, b]`, `{ per_minute: 60 }`.
pub fn overriding(variable: &str, value: &str, files: &[ConfigFile], env: &dyn Fn(&str) -> Option<String>) -> Option<ConfigFile> {
    let path: Vec<&str> = variable.strip_prefix("ADCE_")?.split("__").collect();
    if path.len() < 2 || path.iter().any(|name| name.is_empty()) {
        return None;
    }
    let root = read(files, env, &mut Vec::new(), &mut Vec::new());
    let mut at = root.as_ref();
    let mut names = Vec::new();
    for name in path {
        let map = at.and_then(|node| match &node.value {
            Value::Map(map) => Some(map),
            _ => None,
        });
        let known = map.and_then(|map| entry_of(map, name));
        names.push(known.map_or_else(|| name.to_lowercase(), |entry| entry.key.clone()));
        at = known.map(|entry| &entry.value);
    }
    let open: String = names.iter().skip(1).map(|name| format!("{{ {}: ", quoted(name))).collect();
    let text = format!("{}: {open}{value}{}\n", quoted(&names[0]), " }".repeat(names.len() - 1));
    Some(ConfigFile { name: format!("${variable}"), text })
}

fn entry_of<'a>(map: &'a Map, name: &str) -> Option<&'a super::yaml::Entry> {
    let alike = |key: &str| key.replace('-', "_").eq_ignore_ascii_case(name);
    map.entries.iter().find(|entry| alike(&entry.key))
}

/// A name with anything odd in it.
fn quoted(name: &str) -> String {
    let is_plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_plain { name.into() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> ConfigFile {
        ConfigFile { name: name.into(), text: text.into() }
    }

    fn none(_: &str) -> Option<String> {
        None
    }

    const BASE: &str = "version: 1\nsources:\n  my-api:\n    hosts: [a.example, b.example]\n    limits: { per_minute: 60 }\n";

    fn value<'a>(settings: &'a [Setting], key: &str) -> (&'a str, &'a str) {
        let found = settings.iter().find(|setting| setting.key == key).unwrap_or_else(|| panic!("no {key} in {settings:?}"));
        (&found.value, &found.origin)
    }

    #[test]
    fn each_value_says_where_it_comes_from() {
        let mut files = vec![file("base.yaml", BASE), file("prod.yaml", "sources: { my-api: { limits: { per_minute: 30 } } }\n")];
        for (variable, text) in [("ADCE_ENGINE__MAX_CONCURRENT", "8"), ("ADCE_SOURCES__MY_API__HOSTS", "[c.example]")] {
            files.push(overriding(variable, text, &files, &none).unwrap());
        }
        let settings = settings(&files, &none);
        assert_eq!(value(&settings, "version"), ("1", "base.yaml:1:10"));
        assert_eq!(value(&settings, "sources.my-api.limits.per_minute"), ("30", "prod.yaml:1:44"));
        assert_eq!(value(&settings, "engine.max_concurrent"), ("8", "$ADCE_ENGINE__MAX_CONCURRENT"));
        assert_eq!(value(&settings, "sources.my-api.hosts"), ("[c.example]", "$ADCE_SOURCES__MY_API__HOSTS"));
    }

    #[test]
    fn variables_of_other_uses_are_left_alone() {
        for variable in ["ADCE_LOG", "ADCE_FAILPOINT", "PATH", "ADCE_ENGINE__", "ADCE___X"] {
            assert_eq!(overriding(variable, "1", &[file("a.yaml", BASE)], &none), None, "{variable}");
        }
    }

    #[test]
    fn what_changed_comes_and_goes_is_told_with_both_values() {
        let before = settings(&[file("a.yaml", BASE)], &none);
        let text = BASE.replace("per_minute: 60", "per_minute: 30, burst: 5").replace(", b.example", "");
        let after = settings(&[file("a.yaml", &text)], &none);
        let told = |difference: Difference| (difference.key, difference.before, difference.after);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            changes(&before, &after).into_iter().map(told).collect::<Vec<_>>(),
            [
                ("sources.my-api.hosts".to_owned(), some("[a.example, b.example]"), some("[a.example]")),
                ("sources.my-api.limits.per_minute".to_owned(), some("60"), some("30")),
                ("sources.my-api.limits.burst".to_owned(), None, some("5")),
            ]
        );
        assert_eq!(changes(&after, &before).last().map(|gone| gone.after.clone()), Some(None));
    }
}
