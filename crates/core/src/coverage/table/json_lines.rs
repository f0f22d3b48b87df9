//! Rows of JSON Lines: an object a line, its members the columns.
//!
//! A cell is what stands there: texts without their quotes, numbers digit by digit (`1.10` stays `1.10`), `true` and
//! `false`. `null`, and a member that a line has not, are null. An object or a list is no cell; it is wrong only if
//! somebody asks for it.
//!
//! Always true: what is no JSON is an error with its line (`every_line_is_an_object_or_an_error_with_its_place`), and cells are
//! those that a general reader finds (`cells_are_what_a_general_reader_finds`).

use std::borrow::Cow;
use std::collections::HashSet;

use serde::de::IgnoredAny;

use super::{BYTE_ORDER_MARK, Complaints, TableFile, at_line};

#[derive(Clone, Debug, PartialEq)]
pub(in crate::coverage) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    /// An object or a list.
    Nested,
}

/// Names of all members of all lines, in the order in which they appear first; none of a file without lines, which lacks nothing.
pub(super) fn columns(file: &TableFile, problems: &mut Complaints) -> Vec<String> {
    let mut names = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    each_object(file, &mut |line, members| match members {
        Ok(members) => {
            for (name, _) in members {
                if !name.is_empty() && !seen.contains(name.as_ref()) {
                    seen.insert(name.as_ref().to_owned());
                    names.push(name.into_owned());
                }
            }
        }
        Err(wrong) => problems.add(at_line(&file.name, &file.bytes, line, wrong)),
    });
    names
}

/// Each line's cells in the order of `header`.
pub(in crate::coverage) fn each_row(file: &TableFile, header: &[String], row: &mut dyn FnMut(u64, &[Cell<'_>]), problems: &mut Complaints) {
    let places: std::collections::HashMap<&str, usize> = header.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    each_object(file, &mut |line, members| match members {
        Ok(members) => {
            let mut cells = vec![Cell::Null; header.len()];
            let mut twice = None;
            let mut met = vec![false; header.len()];
            for (name, cell) in members {
                let Some(at) = places.get(name.as_ref()) else { continue };
                if std::mem::replace(&mut met[*at], true) {
                    twice = Some(name.into_owned());
                }
                cells[*at] = cell;
            }
            match twice {
                Some(name) => problems.add(at_line(&file.name, &file.bytes, line, format!("`{name}` stands twice in this row"))),
                None => row(line, &cells),
            }
        }
        Err(wrong) => problems.add(at_line(&file.name, &file.bytes, line, wrong)),
    });
}

type Members<'a> = Vec<(Cow<'a, str>, Cell<'a>)>;

fn each_object<'a>(file: &'a TableFile, object: &mut dyn FnMut(u64, Result<Members<'a>, String>)) {
    let bytes = file.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&file.bytes);
    for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let members = std::str::from_utf8(line).map_err(|_| "this row is not UTF-8".to_owned()).and_then(members);
        object(at as u64 + 1, members);
    }
}

/// What is wrong with the line comes back in words.
fn members(line: &str) -> Result<Members<'_>, String> {
    let line = line.trim_matches(|c: char| c.is_ascii_whitespace());
    serde_json::from_str::<IgnoredAny>(line).map_err(|error| format!("this row is no JSON: {error}"))?;
    // From here on it is JSON.
    let Some(inside) = line.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return Err("this row is no JSON object".into());
    };
    let mut members = Vec::new();
    let mut rest = inside.trim_start();
    while !rest.is_empty() {
        let (name, behind) = rest.split_at(value_end(rest));
        let value = behind.trim_start().strip_prefix(':').unwrap_or(behind).trim_start();
        let (value, behind) = value.split_at(value_end(value));
        members.push((text(name)?, cell(value)?));
        rest = behind.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
    Ok(members)
}

/// Where the value ends that begins here.
fn value_end(text: &str) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => {
                in_text = !in_text;
                if !in_text && depth == 0 {
                    return at + 1;
                }
            }
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' | b':' if depth == 0 => return at,
            _ if depth == 0 && byte.is_ascii_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

fn cell(value: &str) -> Result<Cell<'_>, String> {
    Ok(match value.as_bytes().first() {
        Some(b'"') => Cell::Text(text(value)?),
        Some(b'{' | b'[') => Cell::Nested,
        _ if value == "null" => Cell::Null,
        _ => Cell::Text(value.into()),
    })
}

fn text(quoted: &str) -> Result<Cow<'_, str>, String> {
    match quoted.get(1..quoted.len().saturating_sub(1)) {
        Some(plain) if !plain.contains('\\') => Ok(plain.into()),
        _ => serde_json::from_str(quoted).map(Cow::Owned).map_err(|error| format!("this row is no JSON: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(text: &[u8]) -> TableFile {
        TableFile { name: "a.jsonl".into(), bytes: text.to_vec() }
    }

    #[test]
    fn numbers_keep_their_digits_and_texts_are_verbatim() {
        let line =
            r#" { "id" : "0011600001", "n":1.10 ,"e":-1E+5,"t": true,"z":null, "o": {"a":[1,"}"]}, "l":[], "q\"": "a\"b\u00e9\\", "":1 } "#;
        let told: Vec<(String, Cell<'_>)> = members(line).unwrap().into_iter().map(|(name, cell)| (name.into_owned(), cell)).collect();
        let text = |text: &'static str| Cell::Text(text.into());
        let expected = [
            ("id", text("0011600001")),
            ("n", text("1.10")),
            ("e", text("-1E+5")),
            ("t", text("true")),
            ("z", Cell::Null),
            ("o", Cell::Nested),
            ("l", Cell::Nested),
            ("q\"", text("a\"bé\\")),
            ("", text("1")),
        ];
        assert_eq!(told, expected.map(|(name, cell)| (name.to_owned(), cell)));
        assert_eq!(members("{}").unwrap(), []);
    }

    #[test]
    fn every_line_is_an_object_or_an_error_with_its_place() {
        let mut problems = Complaints::default();
        let text = b"\xef\xbb\xbf{\"a\":1}\n\n[1]\n{\"a\":\n{\"b\":2,\"a\":\xff}\r\n{\"c\":3}\r\n";
        assert_eq!(columns(&file(text), &mut problems), ["a", "c"]);
        let told = problems.into_result(()).unwrap_err();
        let lines: Vec<(u32, &str)> = told.iter().map(|problem| (problem.at.as_ref().unwrap().line, problem.message.as_str())).collect();
        assert_eq!(lines[0], (3, "this row is no JSON object"));
        assert!(lines[1].0 == 4 && lines[1].1.starts_with("this row is no JSON: EOF"), "{lines:?}");
        assert_eq!(lines[2], (5, "this row is not UTF-8"));
        let mut problems = Complaints::default();
        let header = ["a".to_owned()];
        each_row(&file(b"{\"a\":1,\"a\":2}"), &header, &mut |_, _| panic!("no row"), &mut problems);
        assert_eq!(problems.into_result(()).unwrap_err()[0].message, "`a` stands twice in this row");
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[ -~é\\n\"\\\\]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[a-z\"{}]{0,3}", inner, 0..3)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn cells_are_what_a_general_reader_finds(row in prop::collection::btree_map("[a-z\"\\\\ ,:é]{0,5}", value(), 0..6), pretty in any::<bool>()) {
            let object = serde_json::Value::Object(row.clone().into_iter().collect());
            let line = if pretty { serde_json::to_string_pretty(&object).unwrap().replace('\n', " ") } else { object.to_string() };
            let told = members(&line).unwrap();
            prop_assert_eq!(told.len(), row.len());
            for ((name, cell), (known, value)) in told.iter().zip(&row) {
                prop_assert_eq!(name.as_ref(), known);
                let expected = match value {
                    serde_json::Value::Null => Cell::Null,
                    serde_json::Value::String(text) => Cell::Text(text.as_str().into()),
                    serde_json::Value::Array(_) | serde_json::Value::Object(_) => Cell::Nested,
                    other => Cell::Text(other.to_string().into()),
                };
                prop_assert_eq!(cell, &expected);
            }
        }

        #[test]
        fn a_damaged_line_is_an_error_or_another_row_and_never_panics(at in 0_usize..60, with in any::<u8>(), cut in 0_usize..60) {
            let mut line = br#"{"id":"0011","n":1.10,"o":{"a":[1,"}"]},"q\"":"a\"b"}"#.to_vec();
            let length = line.len();
            line[at % length] = with;
            line.truncate(length - cut % length);
            let mut problems = Complaints::default();
            let header = columns(&file(&line), &mut problems);
            each_row(&file(&line), &header, &mut |_, _| {}, &mut problems);
        }
    }
}
