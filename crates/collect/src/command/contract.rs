//! What a command says on its standard output: one JSON object a line, marked with `"adce"`.
//!
//! Without these lines adce would have to guess from an exit code which of fifty items upstream does not have. A line
//! that looks like one of ours but cannot be used is a complaint in the log, never an error of the attempt: a scraper
//! must not lose its work over a message.
//!
//! Always true: a word only ever counts for an item of this task (`a_word_on_a_strange_key_is_a_complaint`).

use std::borrow::Cow;
use std::collections::HashMap;

use adce_core::ports::Progress;
use serde::Deserialize;

use crate::command::output::readable;

/// Marks a line as ours, wherever it stands in it.
pub(crate) const MARK: &[u8] = b"\"adce\"";

const SPOKEN_VERSION: u64 = 1;
const LONGEST_MESSAGE_CHARS: usize = 1_000;

/// A command's own word on one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) outcome: Claim,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Claim {
    Done,
    Unchanged,
    Absent,
    Empty,
    Failed,
}

/// What became of one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not ours: log.
    Log,
    /// Ours, and understood.
    Understood,
    /// Ours by its look, and of no use; why, for the log.
    Complaint(String),
}

/// All words of one attempt, the last on each item.
pub(crate) struct Words {
    keys: HashMap<String, usize>,
    said: Vec<Option<Word>>,
    /// What it said last of how far it is.
    progress: Option<Progress>,
    /// Items of which it says that they are there now.
    landed: u64,
    /// What was handed out as its progress.
    known: Option<Progress>,
}

#[derive(Deserialize)]
struct Line<'a> {
    adce: u64,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    outcome: Option<Cow<'a, str>>,
    retry_after_s: Option<f64>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    progress: Option<ProgressLine>,
}

#[derive(Deserialize)]
struct ProgressLine {
    done: u64,
    /// All items of the task, if it does not say.
    of: Option<u64>,
}

impl Words {
    pub(crate) fn on<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        let keys: HashMap<String, usize> = keys.into_iter().enumerate().map(|(at, key)| (key.to_owned(), at)).collect();
        let said = vec![None; keys.len()];
        Words { keys, said, progress: None, landed: 0, known: None }
    }

    /// The last word on the item at this place of the order.
    pub(crate) fn about(&self, item: usize) -> Option<&Word> {
        self.said.get(item)?.as_ref()
    }

    /// How far it is, if that is not what it was when this was asked before: by its own count, else by the items that it
    /// called done.
    pub(crate) fn new_progress(&mut self) -> Option<Progress> {
        let landed = (self.landed > 0).then_some(Progress { done: self.landed, of: self.said.len() as u64 });
        let now = self.progress.or(landed);
        if now == self.known {
            return None;
        }
        self.known = now;
        now
    }

    /// `line` has no line end.
    pub(crate) fn hear(&mut self, line: &[u8]) -> Heard {
        let line = line.trim_ascii();
        if line.first() != Some(&b'{') || memchr::memmem::find(line, MARK).is_none() {
            return Heard::Log;
        }
        match self.take(line) {
            Ok(()) => Heard::Understood,
            Err(complaint) => Heard::Complaint(complaint),
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let line: Line<'_> =
            serde_json::from_slice(line).map_err(|why| format!("ignored a line with \"adce\" that cannot be read: {why}"))?;
        if line.adce != SPOKEN_VERSION {
            return Err(format!("ignored a line with \"adce\": {}; this adce understands {SPOKEN_VERSION}", line.adce));
        }
        if let Some(ProgressLine { done, of }) = &line.progress {
            self.progress = Some(Progress { done: *done, of: of.unwrap_or(self.said.len() as u64) });
        }
        let Some(outcome) = line.outcome else {
            return match line.progress {
                Some(_) => Ok(()),
                None => Err("ignored a line with \"adce\" that has neither `outcome` nor `progress`".into()),
            };
        };
        let outcome = claim(&outcome)?;
        let key = line.key.ok_or("ignored an outcome without `key`")?;
        let item = *self.keys.get(&*key).ok_or_else(|| format!("ignored an outcome for `{key}`, which is no key of this task"))?;
        let retry_after_s = line.retry_after_s.map(whole_seconds).transpose()?;
        let message = line.message.map(|text| readable(&text)).filter(|text| !text.trim().is_empty());
        let message = message.map(|text| shortened(&text, LONGEST_MESSAGE_CHARS));
        let before = self.said[item].replace(Word { outcome, retry_after_s, message });
        self.landed -= u64::from(before.is_some_and(|word| word.outcome.is_there()));
        self.landed += u64::from(outcome.is_there());
        Ok(())
    }
}

impl Claim {
    fn is_there(self) -> bool {
        matches!(self, Claim::Done | Claim::Unchanged)
    }
}

fn claim(outcome: &str) -> Result<Claim, String> {
    let known = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(outcome);
    Claim::deserialize(known)
        .map_err(|_| format!("ignored outcome `{outcome}`: it must be `done`, `unchanged`, `absent`, `empty` or `failed`"))
}

fn whole_seconds(seconds: f64) -> Result<u64, String> {
    match seconds.is_finite() && seconds >= 0.0 {
        true => Ok(seconds.ceil() as u64),
        false => Err(format!("ignored an outcome with `retry_after_s` {seconds}: it must be 0 or more seconds")),
    }
}

/// The beginning of a text, marked with `…` if there was more.
pub(crate) fn shortened(text: &str, longest_chars: usize) -> String {
    match text.char_indices().nth(longest_chars) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(line: &str) -> (Heard, Option<Word>) {
        let mut words = Words::on(["a", "b"]);
        let heard = words.hear(line.as_bytes());
        (heard, words.about(1).cloned())
    }

    fn complaint_about(line: &str) -> String {
        match hear(line) {
            (Heard::Complaint(why), None) => why,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_word_counts_for_the_item_with_its_key() {
        let (heard, word) = hear(r#" {"adce":1,"key":"b","outcome":"failed","retry_after_s":2.5,"message":"slow \u00e9"} "#);
        assert_eq!(heard, Heard::Understood);
        assert_eq!(word, Some(Word { outcome: Claim::Failed, retry_after_s: Some(3), message: Some("slow é".into()) }));
        let (_, word) = hear(r#"{"adce":1,"key":"b","outcome":"failed","message":"\u001b[2Jgone\n\u0007now"}"#);
        assert_eq!(word.and_then(|word| word.message).as_deref(), Some("[2Jgone now"), "it moves nobody's cursor");
    }

    #[test]
    fn the_last_word_on_an_item_counts() {
        let mut words = Words::on(["a"]);
        for outcome in ["failed", "done"] {
            words.hear(format!(r#"{{"adce":1,"key":"a","outcome":"{outcome}"}}"#).as_bytes());
        }
        assert_eq!(words.about(0).unwrap().outcome, Claim::Done);
    }

    #[test]
    fn lines_without_the_mark_and_lines_that_only_quote_it_are_log() {
        for line in ["", "hello", r#"{"key":"b","outcome":"done"}"#, r#"sending {"adce":1,"key":"b","outcome":"done"}"#] {
            assert_eq!(hear(line), (Heard::Log, None), "{line}");
        }
        assert_eq!(hear(r#"{"adce":1,"progress":{"done":3,"of":50}}"#), (Heard::Understood, None));
    }

    #[test]
    fn progress_is_its_own_count_else_what_it_called_done() {
        let mut words = Words::on(["a", "b", "c"]);
        assert_eq!(words.new_progress(), None);
        let mut say = |line: &str| {
            assert_eq!(words.hear(line.as_bytes()), Heard::Understood, "{line}");
            words.new_progress().map(|progress| (progress.done, progress.of))
        };
        assert_eq!(say(r#"{"adce":1,"key":"a","outcome":"failed"}"#), None);
        assert_eq!(say(r#"{"adce":1,"key":"a","outcome":"done"}"#), Some((1, 3)));
        assert_eq!(say(r#"{"adce":1,"key":"a","outcome":"done"}"#), None, "nothing new");
        assert_eq!(say(r#"{"adce":1,"key":"b","outcome":"unchanged"}"#), Some((2, 3)));
        assert_eq!(say(r#"{"adce":1,"progress":{"done":30,"of":500}}"#), Some((30, 500)));
        assert_eq!(say(r#"{"adce":1,"key":"c","outcome":"done"}"#), None, "its own count goes first");
        assert_eq!(say(r#"{"adce":1,"progress":{"done":3}}"#), Some((3, 3)));
    }

    #[test]
    fn a_word_on_a_strange_key_is_a_complaint() {
        assert!(complaint_about(r#"{"adce":1,"key":"c","outcome":"done"}"#).contains("`c`, which is no key of this task"));
    }

    #[test]
    fn what_cannot_be_used_is_a_complaint_and_changes_nothing() {
        assert!(complaint_about(r#"{"adce":1,"key":"b","outcome":"ok"}"#).contains("`unchanged`"));
        assert!(complaint_about(r#"{"adce":2,"key":"b","outcome":"done"}"#).contains("understands 1"));
        assert!(complaint_about(r#"{"adce":1,"key":"b","outcome":"done""#).contains("cannot be read"));
        assert!(complaint_about(r#"{"adce":1,"outcome":"done"}"#).contains("without `key`"));
        assert!(complaint_about(r#"{"adce":1,"key":"b","outcome":"failed","retry_after_s":-1}"#).contains("retry_after_s"));
        assert!(complaint_about(r#"{"adce":1,"key":"b"}"#).contains("neither"));
        assert!(complaint_about(r#"{"adce":1,"progress":{"done":-1}}"#).contains("cannot be read"));
        assert!(matches!(Words::on(["a"]).hear(b"{\"adce\":1,\"key\":\"\xff\"}"), Heard::Complaint(_)));
    }
}
