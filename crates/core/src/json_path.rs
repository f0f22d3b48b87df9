//! Places in a JSON text: `$.header.status`, `$.events[*]`, `$['odd name'][0]`. A small part of JSONPath (RFC 9535), and what
//! `valid: { json: … }` and derived tables say of collected objects.
//!
//! Always true: what is picked while a text streams by is what a walk through the whole of it finds
//! (`a_stream_and_a_walk_find_the_same`).

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    /// `[*]`: each element of a list.
    Each,
}

/// What is wrong with the text of a path, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    pub offset: usize,
    pub message: String,
}

impl JsonPath {
    pub fn parse(text: &str) -> Result<JsonPath, PathError> {
        let wrong = |offset: usize, message: &str| PathError { offset, message: message.into() };
        let Some(mut rest) = text.strip_prefix('$') else { return Err(wrong(0, "a path begins with `$`: `$.header.status`")) };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let at = text.len() - rest.len();
            if let Some(named) = rest.strip_prefix('.') {
                let length = named.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(named.len());
                if length == 0 {
                    return Err(wrong(at, "expected a name behind `.`: `.status`, or `['odd name']`"));
                }
                steps.push(Step::Name(named[..length].into()));
                rest = &named[length..];
                continue;
            }
            let Some(inside) = rest.strip_prefix('[') else { return Err(wrong(at, "expected `.name`, `['name']`, `[0]` or `[*]`")) };
            let (step, behind) = match inside.chars().next() {
                Some(quote @ ('\'' | '"')) => {
                    let inside = &inside[1..];
                    let length = inside.find(quote).ok_or_else(|| wrong(at, "a quote that is never closed"))?;
                    (Step::Name(inside[..length].into()), &inside[length + 1..])
                }
                Some('*') => (Step::Each, &inside[1..]),
                _ => {
                    let length = inside.find(|c: char| !c.is_ascii_digit()).unwrap_or(inside.len());
                    let index = inside[..length].parse().map_err(|_| wrong(at, "expected `['name']`, `[0]` or `[*]`"))?;
                    (Step::Index(index), &inside[length..])
                }
            };
            rest = behind.strip_prefix(']').ok_or_else(|| wrong(at, "a `[` that is never closed"))?;
            steps.push(step);
        }
        Ok(JsonPath { text: text.into(), steps })
    }

    /// As written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Does it name one value, and not each of several?
    pub fn is_single(&self) -> bool {
        !self.steps.contains(&Step::Each)
    }

    /// What it names, in the order of the text; a place that is not there names nothing.
    pub fn each<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let mut found = vec![value];
        for step in &self.steps {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found
    }

    /// The first that it names.
    pub fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.each(value).into_iter().next()
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Step {
    fn of<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match (self, value) {
            (Step::Name(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Step::Index(at), Value::Array(list)) => list.get(*at).into_iter().collect(),
            (Step::Each, Value::Array(list)) => list.iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// What single paths name in a text that streams by: only that is kept.
#[derive(Debug)]
pub struct Picked<'p> {
    paths: &'p [JsonPath],
    values: Vec<Option<Value>>,
}

impl<'p> Picked<'p> {
    pub fn new(paths: &'p [JsonPath]) -> Self {
        Picked { paths, values: vec![None; paths.len()] }
    }

    /// In the order of the paths.
    pub fn into_values(self) -> Vec<Option<Value>> {
        self.values
    }
}

impl<'de> DeserializeSeed<'de> for &mut Picked<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let wanted = (0..self.paths.len()).collect();
        Here { picked: self, depth: 0, wanted }.deserialize(deserializer)
    }
}

/// At one value of the text: paths that lead through it or to it.
struct Here<'a, 'p> {
    picked: &'a mut Picked<'p>,
    depth: usize,
    wanted: Vec<usize>,
}

impl<'p> Here<'_, 'p> {
    /// Those that go on by this step.
    fn through(&self, like: impl Fn(&Step) -> bool) -> Vec<usize> {
        self.wanted.iter().copied().filter(|path| self.picked.paths[*path].steps.get(self.depth).is_some_and(&like)).collect()
    }

    fn deeper(&mut self, wanted: Vec<usize>) -> Here<'_, 'p> {
        // Of a name that stands twice the last counts, as everywhere.
        wanted.iter().for_each(|path| self.picked.values[*path] = None);
        Here { picked: self.picked, depth: self.depth + 1, wanted }
    }
}

impl<'de> DeserializeSeed<'de> for Here<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, deserializer: D) -> Result<(), D::Error> {
        if self.wanted.is_empty() {
            return IgnoredAny::deserialize(deserializer).map(drop);
        }
        let ends_here = |path: &usize| self.picked.paths[*path].steps.len() == self.depth;
        if !self.wanted.iter().any(ends_here) {
            return deserializer.deserialize_any(self);
        }
        let value = Value::deserialize(deserializer)?;
        for path in std::mem::take(&mut self.wanted) {
            let rest = JsonPath { text: String::new(), steps: self.picked.paths[path].steps[self.depth..].to_vec() };
            self.picked.values[path] = rest.first(&value).cloned();
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Here<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let wanted = self.through(|step| matches!(step, Step::Name(name) if *name == key));
            map.next_value_seed(self.deeper(wanted))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        for at in 0.. {
            let wanted = self.through(|step| *step == Step::Index(at));
            if list.next_element_seed(self.deeper(wanted))?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).unwrap_or_else(|error| panic!("`{text}`: {error:?}"))
    }

    #[test]
    fn a_path_names_what_lies_there_and_each_of_a_list() {
        let value = json!({"a": {"b-c": [1, 2, {"odd name": null}]}, "events": [{"id": "x"}, {}, {"id": 7}]});
        for (text, found) in [
            ("$", vec![&value]),
            ("$.a.b-c[1]", vec![&json!(2)]),
            ("$['a'][\"b-c\"][2]['odd name']", vec![&Value::Null]),
            ("$.events[*].id", vec![&json!("x"), &json!(7)]),
            ("$.events.id", vec![]),
            ("$.a[0]", vec![]),
            ("$.nothing[*].at.all", vec![]),
        ] {
            assert_eq!(path(text).each(&value), found, "{text}");
        }
    }

    #[test]
    fn a_wrong_path_says_where() {
        for (text, offset) in [("a.b", 0), ("$.", 1), ("$a", 1), ("$.a[", 3), ("$.a['b]", 3), ("$[-1]", 1), ("$.a..b", 3), ("$[*", 1)] {
            assert_eq!(JsonPath::parse(text).unwrap_err().offset, offset, "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), (0..5i64).prop_map(Value::from), Just(json!("é"))];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let key = prop_oneof![Just("a"), Just("b"), Just("c")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((key, inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_string(), value)).collect())),
            ]
        })
    }

    fn single() -> impl Strategy<Value = JsonPath> {
        let step = prop_oneof![Just(".a"), Just(".b"), Just("[0]"), Just("[1]"), Just("['c']")];
        prop::collection::vec(step, 0..4).prop_map(|steps| path(&format!("${}", steps.concat())))
    }

    proptest! {
        #[test]
        fn a_stream_and_a_walk_find_the_same(value in value(), paths in prop::collection::vec(single(), 0..5)) {
            let text = value.to_string();
            let mut picked = Picked::new(&paths);
            picked.deserialize(&mut serde_json::Deserializer::from_reader(text.as_bytes())).unwrap();
            let walked: Vec<Option<Value>> = paths.iter().map(|path| path.first(&value).cloned()).collect();
            prop_assert_eq!(picked.into_values(), walked);
        }
    }

    #[test]
    fn of_a_name_that_stands_twice_the_last_counts() {
        let paths = [path("$.a.b")];
        let mut picked = Picked::new(&paths);
        picked.deserialize(&mut serde_json::Deserializer::from_str(r#"{"a": {"b": 1}, "a": {"c": 2}}"#)).unwrap();
        assert_eq!(picked.into_values(), [None]);
    }
}
