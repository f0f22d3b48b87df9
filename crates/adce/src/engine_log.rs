//! What an engine says of itself, kept beside its state as lines of JSON: for `adce logs`, and for whoever looks weeks later.
//!
//! Standard error belongs to whoever started the engine, and is gone with him. Here each line says when, how bad, and whom it is
//! about, so that it can be asked for by source and by task.
//!
//! Always true: the lines of all engines together take no more than [`KEPT`] files of [`LARGEST`] bytes
//! (`a_log_that_is_full_goes_on_in_a_new_one_and_the_oldest_goes`). That nothing can be written stops no engine.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use adce_api::LogLine;
use adce_core::ports::Clock;
use adce_core::time::Timestamp;
use adce_engine::Notice;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::clock::MachineClock;
use crate::display::said;

/// A month of an engine that has something to say each minute.
const LARGEST: u64 = 8 << 20;
/// With the one that is written.
const KEPT: usize = 4;

/// The log of the engine of this process, once it has one: what is traced goes there, too.
static OF_THIS_PROCESS: OnceLock<EngineLog> = OnceLock::new();

#[derive(Clone)]
pub struct EngineLog(Arc<Mutex<Writing>>);

struct Writing {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
    largest: u64,
}

impl EngineLog {
    /// Goes on behind what is there.
    pub fn open(path: &Path) -> EngineLog {
        let log = EngineLog::with(path, LARGEST);
        let _ = OF_THIS_PROCESS.set(log.clone());
        log
    }

    fn with(path: &Path, largest: u64) -> EngineLog {
        let file = open(path).ok();
        let bytes = file.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |file| file.len());
        EngineLog(Arc::new(Mutex::new(Writing { path: path.to_owned(), file, bytes, largest })))
    }

    pub fn write(&self, line: &LogLine) {
        let mut text = serde_json::to_vec(line).unwrap_or_default();
        text.push(b'\n');
        // Who panics while he writes has said so; the log goes on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&text);
    }

    /// A line of no notice.
    pub fn say(&self, level: &str, event: &str, text: impl Into<String>) {
        let line =
            LogLine { at: MachineClock.now().wall, level: level.into(), event: event.into(), text: text.into(), ..LogLine::default() };
        self.write(&line);
    }

    /// Writes down what passes, and hands it on.
    pub fn beside(self, mut notices: mpsc::UnboundedReceiver<Notice>) -> mpsc::UnboundedReceiver<Notice> {
        let (onward, handed_on) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(notice) = notices.recv().await {
                if let Some(line) = line_of(&notice, MachineClock.now().wall) {
                    self.write(&line);
                }
                let _ = onward.send(notice);
            }
        });
        handed_on
    }
}

impl Writing {
    fn append(&mut self, text: &[u8]) {
        if self.bytes > 0 && self.bytes + text.len() as u64 > self.largest {
            self.turn_over();
        }
        if let Some(file) = &mut self.file
            && file.write_all(text).is_ok()
        {
            self.bytes += text.len() as u64;
        }
    }

    fn turn_over(&mut self) {
        for age in (1..KEPT).rev() {
            let newer = if age == 1 { self.path.clone() } else { aged(&self.path, age - 1) };
            let _ = std::fs::rename(newer, aged(&self.path, age));
        }
        self.file = open(&self.path).ok();
        self.bytes = 0;
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Keys and messages of collectors are for nobody else.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn aged(path: &Path, age: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// The files of a log that are there, oldest first.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let older = (1..KEPT).rev().map(|age| aged(path, age));
    older.chain([path.to_owned()]).filter(|path| path.exists()).collect()
}

/// Items that were filled are counted elsewhere: there may be a hundred thousand.
fn line_of(notice: &Notice, at: Timestamp) -> Option<LogLine> {
    let text = said(notice)?;
    let line =
        |level: &str, event: &str| LogLine { at, level: level.into(), event: event.into(), text: text.clone(), ..LogLine::default() };
    Some(match notice {
        Notice::Filled { .. } | Notice::Unchanged { .. } => return None,
        Notice::Absent { key } => LogLine { key: Some(key.clone()), ..line("info", "absent") },
        Notice::Failed { key, collector, source, task, exhausted_until, .. } => LogLine {
            key: Some(key.clone()),
            collector: Some(collector.clone()),
            source: source.clone(),
            task: Some(*task),
            ..if exhausted_until.is_some() { line("error", "exhausted") } else { line("warn", "failed") }
        },
        Notice::Looked { .. } => line("info", "looked"),
        Notice::NotListed { .. } => line("error", "not_listed"),
        Notice::ReportRefused(_) => line("warn", "report_refused"),
        Notice::Surprise(_) => line("error", "surprise"),
        Notice::Doubted { source, .. } => LogLine { source: Some(source.clone()), ..line("warn", "doubted") },
        Notice::Contested { key, .. } => LogLine { key: Some(key.clone()), ..line("warn", "contested") },
        Notice::LookFailed(_) => line("error", "look_failed"),
        Notice::ManyGaps(_) => line("warn", "many_gaps"),
        Notice::ConfigEdited(edited) if edited.errors.is_empty() => line("info", "config"),
        Notice::ConfigEdited(_) => line("error", "config"),
        Notice::ByHand(_) => line("info", "by_hand"),
        Notice::HeldBack(_) => line("warn", "held_back"),
        Notice::LeasesExpired { .. } => line("warn", "slept"),
    })
}

/// What is traced, from warnings on, stands among the rest.
pub struct Traced;

impl<S: Subscriber> Layer<S> for Traced {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        let Some(log) = OF_THIS_PROCESS.get().filter(|_| level <= Level::WARN) else { return };
        let mut text = Told::default();
        event.record(&mut text);
        log.say(if level == Level::ERROR { "error" } else { "warn" }, "log", format!("{}{}", text.message, text.fields));
    }
}

#[derive(Default)]
struct Told {
    message: String,
    fields: String,
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push_str(&format!(" {name}={value:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_full_goes_on_in_a_new_one_and_the_oldest_goes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("engine.log");
        let log = EngineLog::with(&path, 400);
        for number in 0..40 {
            log.say("info", "looked", format!("line {number}"));
        }
        let all = files(&path);
        assert_eq!(all.len(), KEPT);
        assert!(all.iter().all(|file| file.metadata().unwrap().len() <= 400));
        let text: String = all.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let lines: Vec<LogLine> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let numbers: Vec<u32> = lines.iter().map(|line| line.text.strip_prefix("line ").unwrap().parse().unwrap()).collect();
        assert_eq!(numbers.last(), Some(&39));
        assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "the newest of them, in their order: {numbers:?}");
        // The next engine goes on behind it.
        EngineLog::with(&path, 400).say("info", "started", "again");
        assert!(std::fs::read_to_string(&path).unwrap().lines().count() > 1 || files(&path).len() == KEPT);
    }
}
