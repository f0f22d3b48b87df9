//! `adce logs`: what engines on this state said of themselves, from their log beside the state.
//!
//! It asks nobody: the log of an engine that is dead says why.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use adce_api::LogLine;
use adce_core::ids::TaskId;
use adce_core::ports::Clock;
use adce_core::spec::Spec;
use adce_core::time::{SignedDuration, Timestamp};
use clap::Args;
use console::style;

use crate::cli::Format;
use crate::clock::MachineClock;
use crate::commands::ask;
use crate::engine_log::files;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::state_place::StatePlace;

#[derive(Args, Debug)]
pub struct LogsArgs {
    /// Goes on with what is said from now on; Ctrl-C ends it.
    #[arg(short, long)]
    pub follow: bool,

    /// From this instant on, or of so long: `2h`, `2026-03-09T14:00:00Z`.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,

    /// Only what is about this source.
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,

    /// Only what is about this task; and the logs of its attempts.
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,

    /// The last so many lines.
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 200)]
    pub tail: usize,
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

struct Wanted {
    since: Option<Timestamp>,
    source: Option<String>,
    task: Option<TaskId>,
}

impl Wanted {
    fn wants(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && self.source.as_ref().is_none_or(|source| line.source.as_ref() == Some(source))
            && self.task.is_none_or(|task| line.task == Some(task))
    }
}

pub async fn run(args: &LogsArgs, spec: &Spec, format: Format) -> Result<Exit, Failure> {
    let wanted = Wanted { since: since(args.since.as_deref())?, source: args.source.clone(), task: task(args.task.as_deref())? };
    if let Some(source) = wanted.source.as_ref().filter(|source| !spec.sources.contains_key(*source)) {
        return Err(Failure::new(Exit::Usage, format!("no source is called `{source}`")));
    }
    let log = StatePlace::of(spec).engine_log();
    // What is said while the rest is read comes after it.
    let mut onward = Following::from_the_end_of(&log);
    let mut lines = Vec::new();
    for file in files(&log) {
        let Ok(file) = File::open(&file) else { continue };
        lines.extend(BufReader::new(file).lines().map_while(Result::ok).filter_map(|line| parsed(&line)).filter(|line| wanted.wants(line)));
    }
    let from = if args.since.is_some() { 0 } else { lines.len().saturating_sub(args.tail) };
    lines[from..].iter().for_each(|line| print(line, format));
    if let Some(task) = wanted.task {
        attempts(spec, task, format).await?;
    }
    if !args.follow {
        return Ok(Exit::Complete);
    }
    loop {
        onward.next(|line| {
            if wanted.wants(line) {
                print(line, format);
            }
        });
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

fn since(text: Option<&str>) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if let Some(span) = adce_core::spec::parse_duration(text) {
        let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
        return Ok(MachineClock.now().wall.checked_sub(span).ok());
    }
    let at = text.parse().map_err(|_| {
        Failure::new(Exit::Usage, format!("`--since {text}` is neither a span nor an instant"))
            .hint("write for example 2h or 2026-03-09T14:00:00Z")
    })?;
    Ok(Some(at))
}

fn task(text: Option<&str>) -> Result<Option<TaskId>, Failure> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).map_err(|_| Failure::new(Exit::Usage, format!("`{text}` is no task's id")).hint("`adce tasks` lists them"))
}

fn parsed(line: &str) -> Option<LogLine> {
    serde_json::from_str(line).ok()
}

fn print(line: &LogLine, format: Format) {
    match format {
        Format::Json => say!("{}", serde_json::to_string(line).unwrap_or_default()),
        Format::Text => {
            let text = match line.level.as_str() {
                "error" => style(&line.text).red().to_string(),
                "warn" => style(&line.text).yellow().to_string(),
                _ => line.text.clone(),
            };
            say!("{}  {text}", line.at.strftime("%Y-%m-%d %H:%M:%S"));
        }
    }
}

/// What the attempts of a task printed, as far as it is kept.
async fn attempts(spec: &Spec, task: TaskId, format: Format) -> Result<(), Failure> {
    let Some(state) = ask::state(spec)? else { return Ok(()) };
    let history = state.history(task).map_err(Failure::from)?;
    for record in history.attempts {
        let text = record.log.as_ref().and_then(|log| std::fs::read_to_string(log).ok()).unwrap_or(record.log_tail);
        for text in text.lines() {
            let line = LogLine {
                at: record.started_at,
                level: "info".into(),
                event: "attempt".into(),
                collector: Some(record.collector.clone()),
                task: Some(task),
                text: text.to_owned(),
                ..LogLine::default()
            };
            print(&line, format);
        }
    }
    Ok(())
}

/// A log that another process writes, and that goes on in a new file when it is full.
struct Following<'a> {
    path: &'a Path,
    file: Option<File>,
    rest: String,
}

impl<'a> Following<'a> {
    fn from_the_end_of(path: &'a Path) -> Self {
        let mut file = File::open(path).ok();
        if let Some(file) = &mut file {
            let _ = file.seek(SeekFrom::End(0));
        }
        Following { path, file, rest: String::new() }
    }

    fn next(&mut self, mut each: impl FnMut(&LogLine)) {
        self.read_on(&mut each);
        let number = |file: &File| file.metadata().ok().map(|found| found.ino());
        let there = File::open(self.path).ok();
        let is_another = there.as_ref().and_then(number) != self.file.as_ref().and_then(number);
        if is_another && let Some(there) = there {
            // What came before it became another.
            self.read_on(&mut each);
            self.file = Some(there);
            self.rest.clear();
            self.read_on(&mut each);
        }
    }

    fn read_on(&mut self, each: &mut impl FnMut(&LogLine)) {
        let Some(file) = &mut self.file else { return };
        let mut more = Vec::new();
        if file.read_to_end(&mut more).is_err() {
            return;
        }
        self.rest.push_str(&String::from_utf8_lossy(&more));
        while let Some(end) = self.rest.find('\n') {
            let line: String = self.rest.drain(..=end).collect();
            if let Some(line) = parsed(line.trim_end()) {
                each(&line);
            }
        }
    }
}
