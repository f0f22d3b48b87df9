//! YAML text as a tree in which every key and value knows its place.
//!
//! Decoding straight into types would stop at the first problem and lose the places that expressions, templates and
//! name checks need later. So the text first becomes a [`Node`] tree; a known YAML trap (an unquoted `{season}/x`, a
//! tab) is reported, repaired in memory and parsed again, so that one run shows what else is wrong
//! (`several_traps_in_one_file_are_all_reported`).
//!
//! Every scalar stays text: `01`, `NO` and `12:30` mean what is written. Anchors, aliases and tags are refused by name.

mod repair;
mod substitute;
mod text;

use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use crate::spec::problem::{Place, Problem};
use repair::{Draft, Outcome};
pub use text::{Scalar, SourceText, Style};

/// Deeper files are refused: nothing in a config needs it, and every walk over the tree recurses.
const MAX_DEPTH: usize = 48;
/// So many repairs in one file are enough to show what is wrong.
const MAX_REPAIRS: usize = 100;

#[derive(Clone, Debug)]
pub struct Node {
    pub at: Place,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    /// `key:` with nothing behind it.
    Empty,
    /// `null` or `~`: as if the key were not there.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
}

#[derive(Clone, Debug, Default)]
pub struct Map {
    pub entries: Vec<Entry>,
    /// The text if it was written `{…}` on one line.
    pub braces: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_at: Place,
    pub value: Node,
}

impl Node {
    /// What it is, for "expected …, found …".
    pub fn kind(&self) -> String {
        match &self.value {
            Value::Empty => "nothing".into(),
            Value::Null => "`null`".into(),
            Value::Scalar(scalar) => format!("`{}`", shortened(&scalar.text)),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }
}

impl Map {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// `{season}`: braces around names without values, which YAML reads as a map. The user meant a template.
    pub fn template_in_braces(&self) -> Option<&str> {
        let bare = !self.entries.is_empty() && self.entries.iter().all(|entry| matches!(entry.value.value, Value::Empty));
        self.braces.as_deref().filter(|_| bare)
    }
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// One parsed file. `root` is `None` if the file is empty or its structure cannot be known.
pub struct Parsed {
    pub root: Option<Node>,
    pub source: Arc<SourceText>,
}

/// Parses one file, `${…}` filled in from `env`. What is wrong goes to `problems`.
pub fn parse(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<Problem>) -> Parsed {
    let mut draft = Draft::new(name, text);
    for _ in 0..MAX_REPAIRS {
        let working = draft.text();
        let (events, failed) = read_events(&working);
        let Some((error, opened)) = failed else {
            let source = Arc::new(draft.source());
            let root = Builder { source: source.clone(), env, problems, stack: Vec::new(), root: None, documents: 0 }.build(events);
            return Parsed { root, source };
        };
        if draft.repair(&error, &opened, problems) == Outcome::GivenUp {
            break;
        }
    }
    Parsed { root: None, source: Arc::new(draft.source()) }
}

type Events<'a> = Vec<(Event<'a>, Span)>;

/// All events, or those before a syntax error, the error, and the `[` and `{` that are open there.
fn read_events(text: &str) -> (Events<'_>, Option<(saphyr_parser::ScanError, Vec<Marker>)>) {
    let mut parser = Parser::new_from_str(text);
    let mut events = Vec::new();
    let mut opened = Vec::new();
    while let Some(next) = parser.next_event() {
        match next {
            Ok((event, span)) => {
                match &event {
                    Event::SequenceStart(..) | Event::MappingStart(..) => opened.push(span),
                    Event::SequenceEnd | Event::MappingEnd => drop(opened.pop()),
                    _ => {}
                }
                events.push((event, span));
            }
            Err(error) => {
                let flow = opened.iter().filter(|span| !span.is_empty()).map(|span| span.start).collect();
                return (events, Some((error, flow)));
            }
        }
    }
    (events, None)
}

/// Puts the events together.
struct Builder<'a> {
    source: Arc<SourceText>,
    env: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a mut Vec<Problem>,
    stack: Vec<Open>,
    root: Option<Node>,
    documents: u32,
}

/// A list or map whose end is not reached yet.
struct Open {
    at: Place,
    start: Marker,
    flow: bool,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Place)> },
}

impl Builder<'_> {
    fn build(mut self, events: Events<'_>) -> Option<Node> {
        for (event, span) in events {
            match event {
                Event::DocumentStart(_) => self.document(span),
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse_anchor(anchor, span);
                    let node = self.scalar(&text, style, span, tag.is_some());
                    self.place_node(node);
                }
                Event::Alias(_) => self.alias(span),
                Event::SequenceStart(anchor, tag) => {
                    self.refuse_anchor(anchor, span);
                    self.refuse_tag(tag.is_some(), span);
                    self.open(span, Content::List(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse_anchor(anchor, span);
                    self.refuse_tag(tag.is_some(), span);
                    self.open(span, Content::Map { entries: Vec::new(), key: None })?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(span),
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        self.root
    }

    fn place(&self, span: Span) -> Place {
        let (start, end) = (span.start, span.end);
        let length = match start.line() == end.line() {
            true => end.col().saturating_sub(start.col()),
            false => self.source.lines.get(start.line().saturating_sub(1)).map_or(1, |line| {
                let line = line.trim_end().chars().count();
                line.saturating_sub(start.col())
            }),
        };
        self.source.place(start.line(), start.col(), length)
    }

    fn document(&mut self, span: Span) {
        self.documents += 1;
        if self.documents == 2 {
            let problem = Problem::error(&self.place(span), "a config is one YAML document: a second one begins here");
            self.problems.push(problem.hint("remove the `---`, or give the second part as a file of its own: `-c a.yaml -c b.yaml`"));
        }
    }

    fn open(&mut self, span: Span, content: Content) -> Option<()> {
        if self.stack.len() >= MAX_DEPTH {
            let problem = Problem::error(&self.place(span), format!("nested more than {MAX_DEPTH} levels deep"));
            self.problems.push(problem);
            return None;
        }
        let at = self.place(span);
        self.stack.push(Open { at, start: span.start, flow: !span.is_empty(), content });
        Some(())
    }

    fn close(&mut self, span: Span) {
        let Some(open) = self.stack.pop() else { return };
        let value = match open.content {
            Content::List(nodes) => Value::List(nodes),
            Content::Map { entries, .. } => {
                let one_line = open.flow && open.start.line() == span.start.line();
                let braces = one_line.then(|| self.source.slice(open.start.index(), span.start.index() + 1));
                Value::Map(Map { entries, braces })
            }
        };
        let mut at = open.at;
        if open.flow && open.start.line() == span.start.line() {
            at = self.source.place(open.start.line(), open.start.col(), span.start.col() + 1 - open.start.col());
        }
        self.place_node(Node { at, value });
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span, tagged: bool) -> Node {
        let at = self.place(span);
        if tagged {
            self.refuse_tag(true, span);
        }
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        if text.is_empty() && style == Style::Plain {
            return Node { at, value: if tagged { Value::Null } else { Value::Empty } };
        }
        if style == Style::Plain && matches!(text, "null" | "~") && !self.inside_list() {
            return Node { at, value: Value::Null };
        }
        let is_key = self.expects_key();
        let origin = text::Origin { start: span.start.index(), end: span.end.index(), line: span.start.line(), column: span.start.col() };
        // A block scalar's last line end is YAML's, not the user's.
        let text = if style == Style::Block { text.trim_end_matches('\n') } else { text };
        let mut scalar = Scalar {
            text: text.to_owned(),
            at: at.clone(),
            style,
            substituted: false,
            unfilled: false,
            origin,
            source: self.source.clone(),
        };
        if !is_key {
            substitute::fill_in(&mut scalar, self.env, self.problems);
        }
        Node { at, value: Value::Scalar(scalar) }
    }

    fn inside_list(&self) -> bool {
        matches!(self.stack.last(), Some(Open { content: Content::List(_), .. }))
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Open { content: Content::Map { key: None, .. }, .. }))
    }

    /// Puts a finished node where it belongs: into the open list, as key or value of the open map, or at the root.
    fn place_node(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => {
                self.root.get_or_insert(node);
            }
            Some(Open { content: Content::List(nodes), .. }) => nodes.push(node),
            Some(Open { content: Content::Map { key, .. }, .. }) => match key.take() {
                Some((key, key_at)) => self.add_entry(Entry { key, key_at, value: node }),
                None => {
                    let named = self.key_of(node);
                    if let Some(Open { content: Content::Map { key, .. }, .. }) = self.stack.last_mut() {
                        *key = Some(named);
                    }
                }
            },
        }
    }

    fn add_entry(&mut self, entry: Entry) {
        let Some(Open { content: Content::Map { entries, .. }, .. }) = self.stack.last_mut() else { return };
        match entries.iter().find(|earlier| earlier.key == entry.key) {
            Some(earlier) => {
                let message = format!("`{}` is given twice: first in line {}", entry.key, earlier.key_at.line);
                let problem = Problem::error(&entry.key_at, message).hint("keep one of the two");
                self.problems.push(problem);
            }
            None => entries.push(entry),
        }
    }

    fn key_of(&mut self, node: Node) -> (String, Place) {
        match node.value {
            Value::Scalar(scalar) => (scalar.text, node.at),
            Value::Null => ("null".into(), node.at),
            Value::Empty => (String::new(), node.at),
            Value::List(_) | Value::Map(_) => {
                let problem = Problem::error(&node.at, "a key must be text").hint("quote it if it begins with `{` or `[`");
                self.problems.push(problem);
                (String::new(), node.at)
            }
        }
    }

    fn refuse_anchor(&mut self, anchor: usize, span: Span) {
        if anchor != 0 {
            let at = self.place(Span::new(span.start, Marker::new(span.start.index() + 1, span.start.line(), span.start.col() + 1)));
            let problem = Problem::error(&at, "an unquoted `&` begins a YAML anchor, which a config does not have");
            self.problems.push(problem.hint("quote the value if it is meant as text; else write it out where it is needed"));
        }
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span) {
        if tagged {
            let written = self.source.slice(span.start.index(), span.end.index());
            let problem = Problem::error(&self.place(span), "an unquoted `!` begins a YAML tag, which a config does not have");
            let written = written.lines().next().unwrap_or_default().trim_end().to_owned();
            self.problems.push(match written.is_empty() {
                true => problem.hint("remove it"),
                false => problem.hint(format!("if it is text: `{}`; in an expression write `not`", repair::quoted(&written))),
            });
        }
    }

    fn alias(&mut self, span: Span) {
        let written = self.source.slice(span.start.index(), span.end.index());
        let problem = Problem::error(&self.place(span), "an unquoted `*` begins a YAML alias, which a config does not have");
        self.problems.push(problem.hint(format!("if it is text: `{}`; else write the value out", repair::quoted(written.trim_end()))));
        let at = self.place(span);
        self.place_node(Node { at, value: Value::Null });
    }
}

/// Lays `over` on top of `base`: maps deeply, everything else replaced.
pub fn merge(base: &mut Node, over: Node) {
    match (&mut base.value, over.value) {
        (Value::Map(below), Value::Map(above)) => {
            for entry in above.entries {
                match below.entries.iter_mut().find(|earlier| earlier.key == entry.key) {
                    Some(earlier) => merge(&mut earlier.value, entry.value),
                    None => below.entries.push(entry),
                }
            }
        }
        (_, value) => *base = Node { at: over.at, value },
    }
}

#[cfg(test)]
mod tests;
