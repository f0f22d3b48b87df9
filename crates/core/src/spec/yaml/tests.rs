//! What a reader of YAML must give and refuse, trap by trap.

use super::*;

fn parsed(text: &str) -> (Option<Node>, Vec<Problem>) {
    let mut problems = Vec::new();
    let env = |name: &str| (name == "HOME").then(|| "/home/x: {y}".to_owned());
    let parsed = parse("a.yaml", text, &env, &mut problems);
    (parsed.root, problems)
}

fn scalar_at<'a>(root: &'a Node, key: &str) -> &'a Scalar {
    let Value::Map(map) = &root.value else { panic!("not a map") };
    match &map.get(key).expect("key").value.value {
        Value::Scalar(scalar) => scalar,
        other => panic!("not a scalar: {other:?}"),
    }
}

fn said(text: &str) -> Vec<String> {
    let (_, problems) = parsed(text);
    problems.iter().map(|p| format!("{} {} | {}", p.at.as_ref().unwrap(), p.message, p.hint.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn list_values_stay_text() {
    let (root, problems) = parsed("a: [01, NO, 12:30, null]\n");
    assert!(problems.is_empty(), "{problems:?}");
    let Some(Node { value: Value::Map(map), .. }) = root else { panic!() };
    let Value::List(nodes) = &map.get("a").unwrap().value.value else { panic!() };
    let texts: Vec<_> = nodes.iter().map(Node::kind).collect();
    assert_eq!(texts, ["`01`", "`NO`", "`12:30`", "`null`"]);
}

#[test]
fn a_place_is_found_through_quotes_escapes_and_folds() {
    let text = "a: \"x\\ty\"\nb: 'it''s here'\nc: >\n  one\n  two three\nd: plain\n  goes on\n";
    let (root, problems) = parsed(text);
    assert!(problems.is_empty(), "{problems:?}");
    let root = root.unwrap();
    let place = |key: &str, word: &str| {
        let scalar = scalar_at(&root, key);
        let at = scalar.place_of(scalar.text.find(word).unwrap(), word.len());
        (at.line, at.column, at.length)
    };
    assert_eq!(place("a", "y"), (1, 8, 1));
    assert_eq!(place("b", "here"), (2, 11, 4));
    assert_eq!(place("c", "three"), (5, 7, 5));
    assert_eq!(place("d", "on"), (7, 8, 2));
}

#[test]
fn a_place_behind_the_end_is_right_behind_the_text() {
    let (root, _) = parsed("a: tip +\n");
    let at = scalar_at(&root.unwrap(), "a").place_of(5, 1);
    assert_eq!((at.line, at.column), (1, 9));
}

#[test]
fn a_variable_cannot_add_keys() {
    let (root, problems) = parsed("a: ${HOME}/z\nb: '${NONE:-d}'\n");
    assert!(problems.is_empty(), "{problems:?}");
    let root = root.unwrap();
    assert_eq!(scalar_at(&root, "a").text, "/home/x: {y}/z");
    assert_eq!(scalar_at(&root, "b").text, "d");
}

#[test]
fn several_traps_in_one_file_are_all_reported() {
    let text = "key: {season}/x.json\nhost: *.example.com\nwhere: `Home Team` == \"x\"\ndue: tip: 3\nkey: 2\n";
    assert_eq!(
        said(text),
        [
            "a.yaml:1:6 `key` begins with an unquoted bracket, which YAML reads as a map or a list | put it in quotes: `key: \"{season}/x.json\"`",
            "a.yaml:2:7 `host` begins with an unquoted `*`, which YAML reads as an alias | put it in quotes: `host: \"*.example.com\"`",
            "a.yaml:3:8 `where` begins with a backtick, which YAML reserves | put it in quotes: `where: '`Home Team` == \"x\"'`",
            "a.yaml:4:6 `due` has a colon inside, which begins a map where nothing is quoted | put it in quotes: `due: \"tip: 3\"`",
            "a.yaml:5:1 `key` is given twice: first in line 1 | keep one of the two",
        ]
    );
}

#[test]
fn traps_inside_brackets_are_named_too() {
    let text = "a: [x, {y}/z]\nb: { critical: kind in [\"2\"], high: 'x' == y }\nc: [*.x.org]\n";
    assert_eq!(
        said(text),
        [
            "a.yaml:1:8 this value begins with an unquoted bracket, which YAML reads as a map or a list | put it in quotes: `\"{y}/z\"`",
            "a.yaml:2:16 this value has a bracket inside, which needs quotes between `{…}` or `[…]` | put it in quotes: `'kind in [\"2\"]'`",
            "a.yaml:2:37 this value begins with a quote and goes on behind it | put it in quotes: `\"'x' == y\"`",
            "a.yaml:3:5 this value begins with an unquoted `*`, which YAML reads as an alias | put it in quotes: `\"*.x.org\"`",
        ]
    );
}

#[test]
fn a_column_behind_a_repaired_trap_is_the_users() {
    let text = "a: [{y}/z, {z}/'y', &q]\n";
    let places: Vec<String> = parsed(text).1.iter().map(|p| p.at.as_ref().unwrap().to_string()).collect();
    assert_eq!(places, ["a.yaml:1:5", "a.yaml:1:12", "a.yaml:1:21"]);
}

#[test]
fn files_merge_deeply_and_the_later_one_wins() {
    let (base, _) = parsed("a: { x: 1, y: [1, 2] }\nb: 1\n");
    let (over, _) = parsed("a: { y: [3], z: 4 }\n");
    let mut base = base.unwrap();
    merge(&mut base, over.unwrap());
    let Value::Map(map) = &base.value else { panic!() };
    let Value::Map(a) = &map.get("a").unwrap().value.value else { panic!() };
    assert_eq!(a.entries.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["x", "y", "z"]);
    let Value::List(y) = &a.get("y").unwrap().value.value else { panic!() };
    assert_eq!(y.len(), 1);
    assert!(map.get("b").is_some());
}
