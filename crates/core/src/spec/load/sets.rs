//! Keys with a `*`: datasets whose items are sets of objects.

use super::Loader;
use super::datasets::without_variables;
use crate::sets::SetRule;
use crate::spec::decode::Text;
use crate::spec::raw::RawDataset;
use crate::spec::{Collector, How, Output};

impl Loader<'_> {
    /// `None`: its items are one object each, or what it says of sets is wrong.
    pub(super) fn set_rule(&mut self, what: &str, raw: &RawDataset) -> Option<SetRule> {
        let key = raw.key.0.as_ref()?;
        let shape = without_variables(&key.text);
        let Some(star) = shape.find('*') else {
            if let Some(done) = &raw.done {
                let message = format!("{what}: `done` marks a set of objects, and `key` names one object");
                self.error_with(&done.at, message, "put a `*` where the names of parts differ: `…/part-*.parquet`");
            }
            return None;
        };
        let wrong = match &shape[star + 1..] {
            rest if rest.contains('/') => Some(("a `*` in a folder", "only the last segment may have one: all parts lie in one folder")),
            rest if rest.contains('*') => Some(("more than one `*`", "one `*` stands for all that differs in the names of parts")),
            _ if has_variables_behind_star(key) => Some(("a variable behind the `*`", "what tells items apart stands before it")),
            _ => None,
        };
        if let Some((found, hint)) = wrong {
            self.error_with(&key.at, format!("{what}: `key`: `{}` has {found}", key.text), hint);
            return None;
        }
        if let Some(older) = raw.also.as_ref().and_then(|also| also.as_slice().first()) {
            let message = format!("{what}: `also`: an older place is the key of one object, and the items here are sets of objects");
            self.error_with(&older.at, message, "move the older objects, or give them a dataset of their own");
        }
        Some(SetRule { done: raw.done.as_ref().and_then(|done| self.marker(what, done)) })
    }

    fn marker(&mut self, what: &str, done: &Text) -> Option<String> {
        let name = done.text.as_str();
        if matches!(name, "" | "." | "..") || name.contains(['/', '*', '{', '}']) || name.chars().any(char::is_control) {
            let message = format!("{what}: `done`: `{name}` is not the name of one object beside the parts");
            self.error_with(&done.at, message, "such as `_SUCCESS`: a name without `/`, `*` and variables");
            return None;
        }
        Some(name.to_owned())
    }

    /// A set has parts that only a command can name.
    pub(super) fn collects_sets(&mut self, what: &str, raw: &RawDataset, collector: &Collector) {
        let found = match (&collector.how, &collector.output) {
            (How::Http(_), _) => "`http` fetches one object",
            (How::Command(_), Output::Stdout) => "`output: stdout` is one object",
            (How::Command(_), Output::PickUp(_)) => "`pick_up` takes one file",
            (How::Command(_), Output::Staged | Output::Direct) => return,
        };
        let at = raw.key.0.as_ref().map(|key| key.at.clone()).unwrap_or_default();
        let message = format!("{what}: {found}, and its items are sets of objects (`*` in `key`)");
        self.error_with(&at, message, "name one object; or write the parts with a `command` whose `output` is `staged` or `direct`");
    }
}

fn has_variables_behind_star(key: &Text) -> bool {
    key.text.rsplit_once('*').is_some_and(|(_, behind)| behind.replace("{{", "").contains('{'))
}
