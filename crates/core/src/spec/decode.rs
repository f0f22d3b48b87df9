//! From a YAML tree to the `Raw…` types, collecting every problem instead of stopping at the first.
//!
//! [`raw!`](crate::spec::decode::raw) takes one struct definition and makes the struct, its JSON Schema and its decoder
//! from it, so that what is parsed, what is documented and what editors complete can never differ.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::problem::{Place, Problem, alternatives, did_you_mean, known_names};
use super::units::FromText;
use super::yaml::{Node, Scalar, Value};

/// Reads itself from a node, or says what is wrong with it; `None` always comes with a problem.
pub trait Decode: Sized {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self>;
}

/// Where in the config a value stands, in words: ``source `espn`: `limits.burst` ``.
pub struct Trail<'a> {
    parent: Option<&'a Trail<'a>>,
    name: &'a str,
    /// Of the name.
    pub at: &'a Place,
}

/// Sections whose entries have names of their own, and what one entry is called.
const SECTIONS: [(&str, &str); 6] = [
    ("sources", "source"),
    ("dimensions", "dimension"),
    ("datasets", "dataset"),
    ("collectors", "collector"),
    ("jobs", "job"),
    ("maintenance", "maintenance window"),
];

impl<'a> Trail<'a> {
    pub fn root(at: &'a Place) -> Trail<'a> {
        Trail { parent: None, name: "", at }
    }

    pub fn down<'b>(&'b self, name: &'b str, at: &'b Place) -> Trail<'b> {
        Trail { parent: Some(self), name, at }
    }

    fn names(&self) -> Vec<&str> {
        let mut names = self.parent.map(Trail::names).unwrap_or_default();
        if self.parent.is_some() {
            names.push(self.name);
        }
        names
    }

    /// In front of a message about what stands here.
    fn prefix(&self) -> String {
        let words = self.to_string();
        if words.is_empty() { words } else { format!("{words}: ") }
    }
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names();
        let section = names.first().and_then(|first| SECTIONS.iter().find(|(section, _)| section == first));
        match (section, names.as_slice()) {
            (Some((_, what)), [_, name]) => write!(f, "{what} `{name}`"),
            (Some((_, what)), [_, name, rest @ ..]) => write!(f, "{what} `{name}`: `{}`", rest.join(".")),
            (_, []) => Ok(()),
            (_, names) => write!(f, "`{}`", names.join(".")),
        }
    }
}

/// The problem of a value that is something else than expected.
pub fn unexpected(node: &Node, trail: &Trail<'_>, expected: &str) -> Problem {
    if let Value::Map(map) = &node.value
        && let Some(braces) = map.template_in_braces()
    {
        let problem = Problem::error(&node.at, format!("{}an unquoted `{braces}` is a YAML map", trail.prefix()));
        return problem.hint(format!("put it in quotes: `\"{braces}\"`"));
    }
    if matches!(node.value, Value::Empty) {
        let problem = Problem::error(&node.at, format!("{}nothing stands here, expected {expected}", trail.prefix()));
        return problem.hint("give it a value, or remove the line");
    }
    Problem::error(&node.at, format!("{}expected {expected}, found {}", trail.prefix(), node.kind()))
}

/// A key that must be there. `None`: it was not, or was wrong, and that has been said.
#[derive(Clone, Debug)]
pub struct Needed<T>(pub Option<T>);

impl<T> Default for Needed<T> {
    fn default() -> Self {
        Needed(None)
    }
}

impl<T: JsonSchema> JsonSchema for Needed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A field of a `Raw…` struct: needed or optional.
pub trait Slot: Default {
    type Content: Decode;
    const NEEDED: bool;

    fn fill(&mut self, content: Option<Self::Content>);
}

impl<T: Decode> Slot for Needed<T> {
    type Content = T;
    const NEEDED: bool = true;

    fn fill(&mut self, content: Option<T>) {
        self.0 = content;
    }
}

impl<T: Decode> Slot for Option<T> {
    type Content = T;
    const NEEDED: bool = false;

    fn fill(&mut self, content: Option<T>) {
        *self = content;
    }
}

/// What the decoder of one struct knows about its keys.
pub struct Keys {
    pub known: &'static [&'static str],
    pub needed: &'static [bool],
    /// One of these must be there.
    pub one_of: &'static [&'static str],
    /// Keys of the language that this version does not have yet.
    pub later: &'static [&'static str],
}

/// Hands each known entry to `field` and reports all others, and those that are missing: once, if it is misspelt.
pub fn decode_map(
    node: &Node,
    trail: &Trail<'_>,
    problems: &mut Vec<Problem>,
    keys: &Keys,
    mut field: impl FnMut(usize, &Node, &Trail<'_>, &mut Vec<Problem>),
) -> bool {
    let Value::Map(map) = &node.value else {
        let mut expected: Vec<String> = keys.known.iter().take(4).map(|key| format!("`{key}`")).collect();
        if keys.known.len() > expected.len() {
            expected.push("…".into());
        }
        let mut problem = unexpected(node, trail, &format!("a map with {}", expected.join(", ")));
        if let Value::Scalar(Scalar { text, .. }) = &node.value
            && text.contains(':')
        {
            problem = problem.hint("put a blank behind the colon: `key: value`");
        }
        problems.push(problem);
        return false;
    };
    if map.template_in_braces().is_some() && map.entries.iter().all(|entry| !keys.known.contains(&entry.key.as_str())) {
        problems.push(unexpected(node, trail, ""));
        return false;
    }
    let mut given = vec![false; keys.known.len()];
    for entry in &map.entries {
        let here = trail.down(&entry.key, &entry.key_at);
        match keys.known.iter().position(|key| *key == entry.key) {
            Some(_) if matches!(entry.value.value, Value::Null) => {}
            Some(at) => {
                given[at] = true;
                field(at, &entry.value, &here, problems);
            }
            None if keys.later.contains(&entry.key.as_str()) => {
                problems.push(not_supported(&entry.key_at, &format!("{}`{}`", trail.prefix(), entry.key)).hint("remove it"));
            }
            None => {
                let meant = did_you_mean(&entry.key, keys.known.iter().copied());
                given.iter_mut().zip(keys.known).filter(|(_, key)| meant == Some(**key)).for_each(|(given, _)| *given = true);
                let problem = Problem::error(&entry.key_at, format!("{}unknown key `{}`", trail.prefix(), entry.key));
                // `3,000` between braces is `3` and a key `000`.
                let number = entry.key.chars().all(|c| c.is_ascii_digit()) && matches!(entry.value.value, Value::Empty);
                problems.push(match (number, of_the_older_system(&entry.key)) {
                    (true, _) => problem.hint("a number has no `,` inside"),
                    (false, Some(hint)) => problem.hint(hint),
                    (false, None) => problem.hint(known_names(&entry.key, "key", keys.known)),
                });
            }
        }
    }
    let has_later = map.entries.iter().any(|entry| keys.later.contains(&entry.key.as_str()));
    // A key of a later version may stand in for it.
    if has_later {
        return true;
    }
    let is_given = |key: &str| keys.known.iter().zip(&given).any(|(known, given)| *known == key && *given);
    let missing = keys.known.iter().zip(keys.needed).filter(|(key, needed)| **needed && !is_given(key)).map(|(key, _)| format!("`{key}`"));
    let one_of =
        (!keys.one_of.is_empty() && !keys.one_of.iter().any(|key| is_given(key))).then(|| alternatives(keys.one_of.iter().copied()));
    problems.extend(missing.chain(one_of).map(|what| Problem::error(trail.at, format!("{}{what} is missing", trail.prefix()))));
    true
}

/// Part of the language, but not of this version.
pub fn not_supported(at: &Place, what: &str) -> Problem {
    Problem::error(at, format!("{what} is not supported by this version of adce"))
}

/// One struct definition → the struct, its JSON Schema, its decoder. Fields are `Needed<T>` or `Option<T>`; keys behind
/// `later` belong to the language and are refused as such; of those behind `one_of` one must be there.
macro_rules! raw {
    ($(
        $(#[$about:meta])*
        pub struct $name:ident {
            $( $(#[$field_about:meta])* pub $field:ident: $type:ty, )*
        }
        $(later { $($later:ident),* $(,)? })?
        $(one_of { $($one:ident),* $(,)? })?
    )*) => {$(
        $(#[$about])*
        #[derive(Clone, Debug, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub struct $name {
            $( $(#[$field_about])* pub $field: $type, )*
        }

        impl $crate::spec::decode::Decode for $name {
            fn decode(
                node: &$crate::spec::yaml::Node,
                trail: &$crate::spec::decode::Trail<'_>,
                problems: &mut Vec<$crate::spec::problem::Problem>,
            ) -> Option<Self> {
                use $crate::spec::decode::{Decode, Keys, Slot, bare};
                const KEYS: Keys = Keys {
                    known: &[$(bare(stringify!($field))),*],
                    needed: &[$(<$type as Slot>::NEEDED),*],
                    later: &[$($(stringify!($later)),*)?],
                    one_of: &[$($(stringify!($one)),*)?],
                };
                let mut raw = $name::default();
                let is_map = $crate::spec::decode::decode_map(node, trail, problems, &KEYS, |at, value, here, problems| {
                    let mut index = 0;
                    $(
                        if at == index {
                            raw.$field.fill(<<$type as Slot>::Content as Decode>::decode(value, here, problems));
                        }
                        index += 1;
                    )*
                    let _ = index;
                });
                is_map.then_some(raw)
            }
        }
    )*};
}
pub(crate) use raw;

/// `r#for` → `for`.
pub const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// A text of the config; knows its place to the character.
pub type Text = Scalar;

impl Decode for Text {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) => Some(scalar.clone()),
            _ => {
                problems.push(unexpected(node, trail, "a text"));
                None
            }
        }
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Scalars stay text, whatever YAML makes of `01` or `NO`.
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A plain value and where it was given.
#[derive(Clone, Debug)]
pub struct Given<T> {
    pub value: T,
    pub at: Place,
}

impl<T: FromText> Decode for Given<T> {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        let Value::Scalar(scalar) = &node.value else {
            problems.push(unexpected(node, trail, T::EXPECTED));
            return None;
        };
        match T::from_text(&scalar.text) {
            Ok(value) => Some(Given { value, at: node.at.clone() }),
            Err(hint) => {
                let problem = unexpected(node, trail, T::EXPECTED);
                problems.push(Problem { hint, ..problem });
                None
            }
        }
    }
}

impl<T: FromText> JsonSchema for Given<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::EXPECTED.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::List(nodes) => Some(nodes.iter().filter_map(|node| T::decode(node, trail, problems)).collect()),
            Value::Scalar(scalar) => {
                problems.push(unexpected(node, trail, "a list").hint(format!("write `{}`", as_list(&scalar.text))));
                None
            }
            _ => {
                problems.push(unexpected(node, trail, "a list"));
                None
            }
        }
    }
}

/// A list of the text's words, as YAML has it.
pub fn as_list(text: &str) -> String {
    if text.contains(['"', '\'']) {
        return "[first, second, …]".into();
    }
    let word = |word: &str| match word.contains(['{', '}', '[', ']', ',', ':', '#', '&', '*', '!', '|', '>', '%', '@', '`']) {
        true => format!("\"{word}\""),
        false => word.to_owned(),
    };
    format!("[{}]", text.split_whitespace().map(word).collect::<Vec<_>>().join(", "))
}

/// `x` or `[x, y]`.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    pub fn as_slice(&self) -> &[T] {
        match self {
            OneOrMore::One(one) => std::slice::from_ref(one),
            OneOrMore::More(more) => more,
        }
    }
}

impl<T: Decode> Decode for OneOrMore<T> {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Value::List(_) => Vec::decode(node, trail, problems).map(OneOrMore::More),
            _ => T::decode(node, trail, problems).map(OneOrMore::One),
        }
    }
}

/// Entries with names that the user chooses, in the order of the file.
#[derive(Clone, Debug)]
pub struct Section<T> {
    /// `None`: the entry is there and is wrong; what refers to it is still right.
    pub entries: Vec<(Name, Option<T>)>,
}

impl<T> Default for Section<T> {
    fn default() -> Self {
        Section { entries: Vec::new() }
    }
}

impl<T> Section<T> {
    pub fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|(name, _)| name.text.as_str()).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(known, _)| known.text == name)
    }
}

/// A name that the user chose.
#[derive(Clone, Debug)]
pub struct Name {
    pub text: String,
    pub at: Place,
}

impl<T: Decode> Decode for Section<T> {
    fn decode(node: &Node, trail: &Trail<'_>, problems: &mut Vec<Problem>) -> Option<Self> {
        let Value::Map(map) = &node.value else {
            problems.push(unexpected(node, trail, "a map of names"));
            return None;
        };
        let entries = map.entries.iter().filter(|entry| !matches!(entry.value.value, Value::Null));
        let entries = entries.map(|entry| {
            let content = T::decode(&entry.value, &trail.down(&entry.key, &entry.key_at), problems);
            (Name { text: entry.key.clone(), at: entry.key_at.clone() }, content)
        });
        Some(Section { entries: entries.collect() })
    }
}

impl<T: JsonSchema> JsonSchema for Section<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let content = generator.subschema_for::<T>();
        schemars::json_schema!({ "type": "object", "additionalProperties": content })
    }
}

/// What an older ADCE's YAML calls otherwise.
fn of_the_older_system(key: &str) -> Option<&'static str> {
    match key {
        "reconciliation_interval_hours" | "reconciliation_interval_minutes" => Some("write `engine: { reconcile_every: 15m }`"),
        _ => None,
    }
}
