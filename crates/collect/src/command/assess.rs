//! From what a command said, staged and how it ended to what is reported of each item. Decides only; touches nothing.
//!
//! Exit code 0 is a claim, and so is a file: one that was half written when its writer died looks like any other. So a
//! file of an attempt that did not end well counts only if the command had said that it was done with it
//! (`a_file_of_a_failed_attempt_needs_its_own_word`).

use std::time::Duration;

use adce_core::figures::size;
use adce_core::gap::{Failure, Fault};
use adce_core::ports::{ItemReport, OrderItem, Rest, Said};
use rustix::io::Errno;

use crate::command::contract::{Claim, Word, Words};
use crate::command::limits::Exceeded;
use crate::command::staging::Staged;

const DONE: i32 = 0;
const NO_SUCH_ITEM: i32 = 66;
const SOURCE_DOWN: i32 = 69;
const TRY_LATER: i32 = 75;
/// What a shell adds to the signal of which its child died.
pub(crate) const DIED_OF_A_SIGNAL: i32 = 128;
pub(crate) const KILL: i32 = 9;
/// Sent by the kernel to who has used up its processor time.
pub(crate) const CPU_TIME: i32 = 24;

/// How the leader of the group ended, and who ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Exited(i32),
    Signalled(i32),
    /// It died of signal 9, and the kernel had killed for want of memory while it ran. `exit`: so a shell says of its child.
    OutOfMemory {
        exit: Option<i32>,
    },
    /// adce ended it because its time was over.
    TimedOut(Duration),
    /// adce ended it because it had waited for one permit for as long as its whole time.
    HeldUp(Duration),
    /// adce ended it because the engine stops.
    Stopped,
    /// adce or the kernel ended it because it used more than it may.
    Exceeded(Exceeded),
    /// adce killed it because this machine gave it no means to follow it.
    Unfollowed(Errno),
}

impl Ending {
    /// For the history.
    pub(crate) fn in_words(self) -> String {
        match self {
            Ending::Exited(code) => format!("exit {code}"),
            Ending::Signalled(signal) => format!("signal {signal}"),
            Ending::OutOfMemory { exit: None } => "signal 9, out of memory".into(),
            Ending::OutOfMemory { exit: Some(code) } => format!("exit {code}, out of memory"),
            Ending::TimedOut(after) => format!("timeout after {}", in_units(after)),
            Ending::HeldUp(timeout) => format!("held up by a limit for its whole timeout of {}", in_units(timeout)),
            Ending::Exceeded(Exceeded::Memory(most)) => format!("used more than `memory: {}`", size(most)),
            Ending::Exceeded(Exceeded::CpuTime(most)) => format!("used more than `cpu_time: {}`", in_units(most)),
            Ending::Exceeded(Exceeded::Output(most)) => format!("printed more than `output: {}`", size(most)),
            Ending::Stopped => "stopped".into(),
            Ending::Unfollowed(why) => format!("killed, because it could not be followed: {why}"),
        }
    }

    fn fault(self) -> Fault {
        match self {
            Ending::Exited(SOURCE_DOWN) => Fault::Source,
            Ending::Exited(TRY_LATER) | Ending::HeldUp(_) | Ending::Unfollowed(_) => Fault::Later,
            Ending::Stopped => Fault::Stopped,
            _ => Fault::Collector,
        }
    }

    /// What holds for the items that nothing else is known about.
    fn rest(self, last_line: Option<&str>) -> Rest {
        match self {
            Ending::Exited(DONE) => Rest::LookInLake,
            Ending::Exited(NO_SUCH_ITEM) => Rest::Absent,
            _ => Rest::Failed(Failure { fault: self.fault(), message: self.message(last_line), retry_after_s: None }),
        }
    }

    fn message(self, last_line: Option<&str>) -> String {
        let what = match self {
            Ending::Exited(SOURCE_DOWN) => "exit 69, the source is down".into(),
            Ending::Exited(TRY_LATER) => "exit 75, try later".into(),
            Ending::Exited(code) if (DIED_OF_A_SIGNAL + 1..DIED_OF_A_SIGNAL + 32).contains(&code) => {
                format!("exit {code}, as shells say of {}", named(code - DIED_OF_A_SIGNAL))
            }
            Ending::Signalled(KILL) => format!("{}; killed from outside", named(KILL)),
            Ending::Signalled(signal) => named(signal),
            Ending::OutOfMemory { .. } => format!("{}: the kernel killed for want of memory while it ran", self.in_words()),
            Ending::Stopped => "stopped before its end".into(),
            other => other.in_words(),
        };
        match last_line {
            Some(line) => format!("{what}: {line}"),
            None => what,
        }
    }
}

fn named(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        KILL => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

/// `90s` reads as `1m 30s`.
fn in_units(span: Duration) -> String {
    let (secs, millis) = (span.as_secs(), span.subsec_millis());
    let parts = [(secs / 3_600, "h"), (secs / 60 % 60, "m"), (secs % 60, "s"), (u64::from(millis), "ms")];
    let said: Vec<String> = parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect();
    if said.is_empty() { "0s".into() } else { said.join(" ") }
}

/// What the report says of the items, and what a person should read in the log.
pub(crate) struct Assessment {
    pub(crate) items: Vec<ItemReport>,
    pub(crate) rest: Rest,
    pub(crate) remarks: Vec<String>,
}

/// `last_line`: what the command printed last, without secrets.
pub(crate) fn assess(items: &[OrderItem], words: &Words, staged: &Staged, ending: Ending, last_line: Option<&str>) -> Assessment {
    let rest = ending.rest(last_line);
    let mut assessment = Assessment { items: Vec::new(), rest, remarks: remarks(staged) };
    for (at, item) in items.iter().enumerate() {
        let said = match (words.about(at), left_for(staged, at)) {
            (Some(word), left) => {
                if word.outcome != Claim::Done && left.is_some() {
                    assessment.remarks.push(format!("`{}`: it staged a file but did not say `done`; its word counts", item.key));
                }
                Some(own_word(word, left.map(|(said, _)| said), ending, item))
            }
            (None, Some((said, _))) if ending == Ending::Exited(DONE) => Some(said),
            (None, Some((_, bytes))) => distrusted(&assessment.rest, bytes, staged.is_printed),
            (None, None) => None,
        };
        assessment.items.extend(said.map(|said| ItemReport { item: item.item, said }));
    }
    assessment
}

/// What it staged for this item, and how many bytes.
fn left_for(staged: &Staged, item: usize) -> Option<(Said, u64)> {
    match staged.sets.get(&item) {
        Some(files) => {
            let bytes = files.iter().map(|(_, bytes)| bytes).sum();
            Some((Said::Parts(files.iter().map(|(file, _)| file.clone()).collect()), bytes))
        }
        None => staged.files.get(&item).map(|(file, bytes)| (Said::Staged(file.clone()), *bytes)),
    }
}

fn own_word(word: &Word, left: Option<Said>, ending: Ending, item: &OrderItem) -> Said {
    let failed = |fallback: &str| {
        let message = word.message.clone().unwrap_or_else(|| fallback.to_owned());
        // What names an item is no crash, whatever came after.
        let fault = if ending.fault() == Fault::Collector { Fault::Item } else { ending.fault() };
        Said::Failed(Failure { fault, message, retry_after_s: word.retry_after_s })
    };
    match (word.outcome, left) {
        (Claim::Done, Some(said)) => said,
        (Claim::Done, None) => Said::Done,
        (Claim::Unchanged, _) => Said::Unchanged,
        (Claim::Absent, _) => Said::Absent,
        // Its marker says so.
        (Claim::Empty, _) if item.set.as_ref().is_some_and(|set| set.done.is_some()) => Said::Parts(Vec::new()),
        (Claim::Empty, _) if item.set.is_some() => {
            failed("upstream answered, but had no content, and nothing marks an empty set: its dataset has no `done`")
        }
        (Claim::Empty, _) => failed("upstream answered, but had no content"),
        (Claim::Failed, _) => failed("it said `failed`, and no reason"),
    }
}

/// Exit 66 says of such an item that there is none: then that, not a file, is what is known of it.
fn distrusted(rest: &Rest, bytes: u64, is_printed: bool) -> Option<Said> {
    let Rest::Failed(failure) = rest else { return None };
    let message = match is_printed {
        true => format!("{}; the {bytes} bytes that it had printed by then were not trusted", failure.message),
        false => format!("{}; its staged file of {bytes} bytes was not trusted, because no `done` line names it", failure.message),
    };
    Some(Said::Failed(Failure { message, ..failure.clone() }))
}

fn remarks(staged: &Staged) -> Vec<String> {
    let mut remarks: Vec<String> =
        staged.strays.iter().map(|stray| format!("`{stray}` was staged, but is no key of this task (or no plain file)")).collect();
    if staged.strays_not_named > 0 {
        remarks.push(format!("and {} files more that are no keys of this task", staged.strays_not_named));
    }
    remarks
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use adce_core::gap::Reason;
    use adce_core::ids::{GapId, ItemId};

    use super::*;

    fn item(key: &str) -> OrderItem {
        let item = ItemId::of("d", [key]);
        OrderItem {
            item,
            gap: GapId { item, episode: 1 },
            dataset: "d".into(),
            key: key.into(),
            set: None,
            reason: Reason::Missing,
            etag: None,
            last_modified: None,
            values: Vec::new(),
            url: None,
            min_size: 1,
            valid: None,
        }
    }

    /// One item, with its own word or none, staged or not.
    fn said(word: Option<&str>, staged: bool, ending: Ending) -> (Option<Said>, Rest) {
        let items = [item("k")];
        let mut words = Words::on(["k"]);
        if let Some(outcome) = word {
            words.hear(format!(r#"{{"adce":1,"key":"k","outcome":"{outcome}","retry_after_s":7,"message":"m"}}"#).as_bytes());
        }
        let mut found = Staged::default();
        if staged {
            found.files.insert(0, (PathBuf::from("/out/k"), 5));
        }
        let assessment = assess(&items, &words, &found, ending, Some("last line"));
        (assessment.items.into_iter().next().map(|report| report.said), assessment.rest)
    }

    fn failed(fault: Fault) -> Option<Said> {
        Some(Said::Failed(Failure { fault, message: "m".into(), retry_after_s: Some(7) }))
    }

    fn staged() -> Option<Said> {
        Some(Said::Staged(PathBuf::from("/out/k")))
    }

    #[test]
    fn exit_codes_and_signals_decide_what_nobody_spoke_about() {
        let fault = |ending| match said(None, false, ending) {
            (None, Rest::Failed(failure)) => (failure.fault, failure.message),
            other => panic!("{ending:?}: {other:?}"),
        };
        assert_eq!(said(None, false, Ending::Exited(0)), (None, Rest::LookInLake));
        assert_eq!(said(None, false, Ending::Exited(66)), (None, Rest::Absent));
        assert_eq!(fault(Ending::Exited(69)), (Fault::Source, "exit 69, the source is down: last line".into()));
        assert_eq!(fault(Ending::Exited(75)).0, Fault::Later);
        assert_eq!(fault(Ending::Exited(1)), (Fault::Collector, "exit 1: last line".into()));
        assert_eq!(fault(Ending::Signalled(11)), (Fault::Collector, "signal 11 (SIGSEGV): last line".into()));
        assert_eq!(fault(Ending::Signalled(9)).1, "signal 9 (SIGKILL); killed from outside: last line");
        assert_eq!(fault(Ending::Exited(139)), (Fault::Collector, "exit 139, as shells say of signal 11 (SIGSEGV): last line".into()));
        let why = "the kernel killed for want of memory while it ran: last line";
        assert_eq!(fault(Ending::OutOfMemory { exit: None }), (Fault::Collector, format!("signal 9, out of memory: {why}")));
        assert_eq!(fault(Ending::OutOfMemory { exit: Some(137) }).1, format!("exit 137, out of memory: {why}"));
        assert_eq!(fault(Ending::TimedOut(Duration::from_secs(600))), (Fault::Collector, "timeout after 10m: last line".into()));
        assert_eq!(fault(Ending::Stopped).0, Fault::Stopped);
        let exceeded = [Exceeded::Memory(1_000_000_000), Exceeded::CpuTime(Duration::from_secs(300)), Exceeded::Output(64 << 20)];
        let said = exceeded.map(|exceeded| fault(Ending::Exceeded(exceeded)));
        assert!(said.iter().all(|(fault, _)| *fault == Fault::Collector));
        let said = said.map(|(_, message)| message);
        let expected = ["used more than `memory: 1GB`", "used more than `cpu_time: 5m`", "printed more than `output: 64MiB`"];
        assert_eq!(said, expected.map(|expected| format!("{expected}: last line")));
    }

    #[test]
    fn an_items_own_word_wins_over_the_exit_code() {
        for ending in [Ending::Exited(0), Ending::Exited(1), Ending::Exited(66), Ending::Signalled(9)] {
            assert_eq!(said(Some("done"), false, ending).0, Some(Said::Done), "{ending:?}");
            assert_eq!(said(Some("unchanged"), true, ending).0, Some(Said::Unchanged), "{ending:?}");
            assert_eq!(said(Some("absent"), true, ending).0, Some(Said::Absent), "{ending:?}");
            assert_eq!(said(Some("failed"), true, ending).0, failed(Fault::Item), "{ending:?}");
        }
    }

    #[test]
    fn an_empty_answer_is_a_failure_never_an_absence() {
        assert_eq!(said(Some("empty"), true, Ending::Exited(0)).0, failed(Fault::Item));
        assert_eq!(said(Some("empty"), false, Ending::Exited(66)).0, failed(Fault::Item));
    }

    #[test]
    fn whose_fault_a_failed_item_is_the_exit_code_says() {
        assert_eq!(said(Some("failed"), false, Ending::Exited(69)).0, failed(Fault::Source));
        assert_eq!(said(Some("failed"), false, Ending::Exited(75)).0, failed(Fault::Later));
        assert_eq!(said(Some("failed"), false, Ending::Stopped).0, failed(Fault::Stopped));
    }

    #[test]
    fn a_file_of_a_failed_attempt_needs_its_own_word() {
        assert_eq!(said(None, true, Ending::Exited(0)).0, staged());
        let bad = [Ending::Exited(1), Ending::Exited(69), Ending::Signalled(9), Ending::Stopped, Ending::TimedOut(Duration::from_secs(1))];
        for ending in bad {
            assert_eq!(said(Some("done"), true, ending).0, staged(), "{ending:?}");
            match said(None, true, ending).0 {
                Some(Said::Failed(failure)) => {
                    assert_eq!(failure.fault, ending.fault());
                    assert!(failure.message.ends_with("its staged file of 5 bytes was not trusted, because no `done` line names it"));
                }
                other => panic!("{ending:?}: {other:?}"),
            }
        }
        assert_eq!(said(None, true, Ending::Exited(66)), (None, Rest::Absent));
    }

    #[test]
    fn spans_read_as_people_write_them() {
        let read = |millis| in_units(Duration::from_millis(millis));
        assert_eq!([read(0), read(250), read(90_000), read(7_200_000)], ["0s", "250ms", "1m 30s", "2h"]);
    }
}
