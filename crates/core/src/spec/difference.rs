//! What one edition of a config says differently from another, by the names of its parts: `datasets.box_scores.due`.
//!
//! For a person who has edited a config while an engine runs by it, so it compares what is written, not what it means:
//! comments, the order of keys and the way in which a text is quoted make no difference, a default that is spelled out does.

use super::load::{ConfigFile, read};
use super::yaml::{Map, Node, Value};

/// `datasets.box_scores.due` is near enough to find it, and what stands below may be long.
const DEEPEST: usize = 3;

/// Sorted, each once. Of files that cannot be read nothing is said.
pub fn differences(before: &[ConfigFile], after: &[ConfigFile], env: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let tree = |files| read(files, env, &mut Vec::new(), &mut Vec::new());
    let (Some(before), Some(after)) = (tree(before), tree(after)) else { return Vec::new() };
    let mut found = Vec::new();
    compare(&before, &after, &mut Vec::new(), &mut found);
    found.sort();
    found
}

fn compare<'a>(before: &'a Node, after: &'a Node, trail: &mut Vec<&'a str>, found: &mut Vec<String>) {
    match (&before.value, &after.value) {
        (Value::Map(before), Value::Map(after)) if trail.len() < DEEPEST => {
            for (key, before, after) in pairs(before, after) {
                trail.push(key);
                match (before, after) {
                    (Some(before), Some(after)) => compare(before, after, trail, found),
                    _ => found.push(trail.join(".")),
                }
                trail.pop();
            }
        }
        _ if says_the_same(before, after) => {}
        _ => found.push(trail.join(".")),
    }
}

fn says_the_same(before: &Node, after: &Node) -> bool {
    match (&before.value, &after.value) {
        (Value::Empty | Value::Null, Value::Empty | Value::Null) => true,
        (Value::Scalar(before), Value::Scalar(after)) => before.text == after.text,
        (Value::List(before), Value::List(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(before, after)| says_the_same(before, after))
        }
        (Value::Map(before), Value::Map(after)) => pairs(before, after).into_iter().all(|(_, before, after)| match (before, after) {
            (Some(before), Some(after)) => says_the_same(before, after),
            _ => false,
        }),
        _ => false,
    }
}

/// Every key of either, with what both say of it. `key: null` is as if it were not there.
fn pairs<'a>(before: &'a Map, after: &'a Map) -> Vec<(&'a str, Option<&'a Node>, Option<&'a Node>)> {
    fn of<'a>(map: &'a Map, key: &str) -> Option<&'a Node> {
        map.get(key).map(|entry| &entry.value).filter(|node| !matches!(node.value, Value::Null))
    }
    let new = after.entries.iter().filter(|entry| before.get(&entry.key).is_none());
    let keys = before.entries.iter().chain(new).map(|entry| entry.key.as_str());
    keys.map(|key| (key, of(before, key), of(after, key))).filter(|(_, before, after)| before.is_some() || after.is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(before: &str, after: &str) -> Vec<String> {
        let file = |text: &str| vec![ConfigFile { name: "adce.yaml".into(), text: text.into() }];
        differences(&file(before), &file(after), &|name| Some(format!("value of {name}")))
    }

    #[test]
    fn what_is_written_differently_is_named_and_nothing_else() {
        let before = "a: 1\nb: { c: [x, y], d: { e: { f: 1, g: 2 } } }\nh: ${SECRET}\n";
        assert_eq!(between(before, before), [""; 0]);
        assert_eq!(
            between(before, "# why\nh: ${SECRET}\nb:\n  d: { e: { g: 2, f: '1' } }\n  c:\n    - x\n    - y\na: 1\nz: null\n"),
            [""; 0]
        );
        assert_eq!(between(before, "a: 2\nb: { c: [y, x], d: { e: { f: 1, g: 3 } } }\nh: x\n"), ["a", "b.c", "b.d.e", "h"]);
        assert_eq!(between(before, "b: { c: [x, y], d: { e: { f: 1, g: 2 }, i: 1 } }\nh: ${SECRET}\nj:\n"), ["a", "b.d.i", "j"]);
    }

    #[test]
    fn later_files_lie_on_top_of_earlier_ones() {
        let files = |second: &str| {
            let text = ["a: 1\nb: 2\n", second].map(String::from);
            text.map(|text| ConfigFile { name: "x.yaml".into(), text }).to_vec()
        };
        assert_eq!(differences(&files("b: 3\n"), &files("b: 4\n"), &|_| None), ["b"]);
        assert_eq!(differences(&files("b: 3\n"), &files("c: 4\n"), &|_| None), ["b", "c"]);
    }
}
