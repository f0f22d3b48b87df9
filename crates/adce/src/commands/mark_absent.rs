//! `adce mark-absent`: a person knows that upstream does not have an object, and puts that under version control.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use adce_api::MarkedAbsent;
use adce_core::coverage::{KnownAbsent, TableFile, expand, known_columns, known_line, takes_lines};
use adce_core::failpoint::{self, Failpoint};
use adce_core::spec::Spec;
use adce_core::spec::problem::Place;
use adce_core::time::Timestamp;
use adce_lake::rows::Keeping;
use clap::Args;

use crate::cli::Format;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wiring::tables;

#[derive(Args, Debug)]
pub struct MarkAbsentArgs {
    /// Where the object would lie.
    pub key: String,

    /// Why it will never be there, for whoever reads the list later.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,

    /// Who says so. Default: the user's name.
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

pub fn run(args: &MarkAbsentArgs, spec: &Arc<Spec>, format: Format, now: Timestamp) -> Result<Exit, Failure> {
    let key = &args.key;
    let one_line = |text: &str| !text.trim().is_empty() && !text.contains(['\n', '\r']);
    if !one_line(&args.reason) || args.by.as_deref().is_some_and(|by| !one_line(by)) {
        return Err(Failure::new(Exit::Usage, "`--reason` and `--by` are one line of text each"));
    }
    let files = tables(spec, Keeping::InMemory);
    let expected = expand(spec, &files, now).map_err(Failure::Config)?;
    let Some(item) = expected.find(key) else {
        if let Some((item, _)) = expected.find_in_set(key) {
            let mut set = String::new();
            expected.key(item, &mut set);
            return Err(Failure::new(Exit::Usage, format!("`{key}` belongs to the set `{set}`")).hint(format!("name the set: `'{set}'`")));
        }
        return Err(Failure::new(Exit::Usage, format!("no dataset expects `{key}`")).hint("`adce gaps` names what is missing"));
    };
    let dataset = expected.datasets()[expected.dataset_of(item)].name();
    let Some(known) = &spec.datasets[dataset].known else {
        return Err(Failure::new(Exit::Usage, format!("dataset `{dataset}` has no list of what is known to be absent"))
            .hint(format!("give it one: `{dataset}: {{ absent: {{ known: holes.csv }} }}`")));
    };
    let (entry, already) = match expected.known_absent(item) {
        Some(entry) => (entry.clone(), true),
        None => {
            let by = args.by.clone().unwrap_or_else(user);
            let date = now.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y-%m-%d").to_string();
            let entry = KnownAbsent { at: Place::default(), reason: args.reason.trim().to_owned(), date, by: by.trim().to_owned() };
            let path = spec.folder.join(&known.path);
            let unwritten = |error: io::Error| Failure::new(Exit::Unfinished, format!("`{}` was not written: {error}", path.display()));
            if !takes_lines(&known.path) {
                let message = format!("no line can be added to `{}`: it is written as a whole", known.path);
                return Err(Failure::new(Exit::Usage, message).hint("add it by what makes the file, or use a plain `.csv` or `.jsonl`"));
            }
            append(&path, |header| known_line(&known.path, header, key, &entry)).map_err(unwritten)?;
            (entry, false)
        }
    };
    let marked = MarkedAbsent {
        key: key.clone(),
        dataset: dataset.to_owned(),
        item: expected.id(item),
        file: known.path.clone(),
        already,
        reason: entry.reason,
        date: entry.date,
        by: entry.by,
    };
    match format {
        Format::Json => say!("{}", serde_json::to_string(&marked).unwrap_or_default()),
        Format::Text => print(&marked),
    }
    Ok(Exit::Complete)
}

fn print(marked: &MarkedAbsent) {
    let MarkedAbsent { key, file, reason, date, by, .. } = marked;
    if marked.already {
        let who = [date.as_str(), by.as_str()].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
        say!("{key} is in {file} already: {reason} ({who})");
    } else {
        say!("{key} is absent from the next look on: {reason}");
        say!("a line was added to {file}; commit it, or take it out to have the object collected again");
    }
}

fn user() -> String {
    ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty())).unwrap_or_default()
}

/// What `line` says for the columns that are there. Of two at once one waits, so that none loses its line and only the first
/// writes the header; on disk when it returns.
fn append(path: &Path, line: impl FnOnce(&[String]) -> Vec<u8>) -> io::Result<()> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    file.lock()?;
    let mut there = TableFile { name: String::new(), bytes: Vec::new() };
    file.read_to_end(&mut there.bytes)?;
    let mut text = Vec::new();
    // Editors may leave out the last line break.
    if there.bytes.last().is_some_and(|last| *last != b'\n') {
        text.push(b'\n');
    }
    text.extend(line(&known_columns(&there)));
    file.write_all(&text)?;
    failpoint::reached(Failpoint::LineWritten);
    file.sync_all()?;
    failpoint::reached(Failpoint::LineSynced);
    match path.parent().filter(|_| is_new) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
