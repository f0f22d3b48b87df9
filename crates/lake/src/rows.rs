//! Rows of objects that adce collects itself, kept beside the state so that no object is read twice.
//!
//! One file a table, a line an object; what changes is added at its end, and the last line of a key counts. A line that was torn by a
//! power cut, or a file that is gone, costs reading the objects once more and nothing else. What has left the lake leaves the file
//! with the next rewriting, which comes when less than half of it counts.
//!
//! Always true: what is kept is what is known again after a restart (`what_was_kept_is_known_again`).

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use adce_core::coverage::KeptRows;
use serde::{Deserialize, Serialize};

/// Whether what is read now is there for those who come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// An engine's.
    OnDisk,
    /// Of somebody who only looks.
    InMemory,
}

/// The rows of all derived tables.
pub struct RowsKept {
    folder: PathBuf,
    keeping: Keeping,
    tables: Mutex<HashMap<String, Kept>>,
}

#[derive(Default)]
struct Kept {
    rows: KeptRows,
    lines: usize,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    /// `None`: the object is gone.
    object: Option<(u64, String)>,
}

impl RowsKept {
    pub fn new(folder: PathBuf, keeping: Keeping) -> RowsKept {
        RowsKept { folder, keeping, tables: Mutex::default() }
    }

    pub fn known(&self, table: &str) -> KeptRows {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.entry(table.to_owned()).or_insert_with(|| read(&self.path(table))).rows.clone()
    }

    /// What cannot be written is read again next time.
    pub fn keep(&self, table: &str, rows: KeptRows) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = tables.entry(table.to_owned()).or_default();
        let before = std::mem::replace(&mut kept.rows, rows);
        if self.keeping == Keeping::OnDisk {
            let _ = kept.write(&before, &self.path(table));
        }
    }

    fn path(&self, table: &str) -> PathBuf {
        self.folder.join(format!("{table}.jsonl"))
    }
}

impl Kept {
    fn write(&mut self, before: &KeptRows, path: &Path) -> io::Result<()> {
        let (now, was) = (&self.rows.objects, &before.objects);
        let line = |key: &String, (version, rows): &(u64, Arc<Vec<u8>>)| Line {
            key: key.clone(),
            object: Some((*version, String::from_utf8_lossy(rows).into_owned())),
        };
        let news = now.iter().filter(|(key, (version, _))| was.get(*key).is_none_or(|(known, _)| known != version));
        let gone = was.keys().filter(|key| !now.contains_key(*key)).map(|key| Line { key: key.clone(), object: None });
        let news: Vec<Line> = news.map(|(key, object)| line(key, object)).chain(gone).collect();
        if news.is_empty() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap_or(Path::new(".")))?;
        if (self.lines + news.len()) / 2 > now.len() + 50 {
            let all: Vec<Line> = now.iter().map(|(key, object)| line(key, object)).collect();
            let new = path.with_extension("new");
            open(OpenOptions::new().write(true).truncate(true), &new)?.write_all(&text(&all)?)?;
            self.lines = all.len();
            return fs::rename(new, path);
        }
        self.lines += news.len();
        // Behind a torn line begins a new one.
        open(OpenOptions::new().append(true), path)?.write_all(&[b"\n".as_slice(), &text(&news)?].concat())
    }
}

/// For its owner alone.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<fs::File> {
    options.create(true).mode(0o600).open(path)
}

fn text(lines: &[Line]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    Ok(text)
}

fn read(path: &Path) -> Kept {
    let mut kept = Kept::default();
    let Ok(bytes) = fs::read(path) else { return kept };
    for line in bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok()) {
        kept.lines += 1;
        match line.object {
            Some((version, rows)) => drop(kept.rows.objects.insert(line.key, (version, Arc::new(rows.into_bytes())))),
            None => drop(kept.rows.objects.remove(&line.key)),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(objects: &[(&str, u64)]) -> KeptRows {
        let object = |(key, version): &(&str, u64)| (key.to_string(), (*version, Arc::new(format!("id\n{version}\n").into_bytes())));
        KeptRows { objects: objects.iter().map(object).collect(), ..KeptRows::default() }
    }

    #[test]
    fn what_was_kept_is_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let open = |keeping| RowsKept::new(folder.path().join("rows"), keeping);
        let first = open(Keeping::OnDisk);
        assert_eq!(first.known("game"), KeptRows::default());
        for step in 0..300 {
            let now = rows(&[("a", 1), ("b", step), ("c", step / 100)]);
            first.keep("game", now.clone());
            if step % 50 == 7 {
                assert_eq!(open(Keeping::OnDisk).known("game"), now, "step {step}");
            }
        }
        let path = folder.path().join("rows/game.jsonl");
        assert!(fs::read_to_string(&path).unwrap().lines().count() < 300, "it is rewritten now and then");
        first.keep("game", rows(&[("a", 1)]));
        assert_eq!(open(Keeping::InMemory).known("game"), rows(&[("a", 1)]));
        // A torn line costs its object and no other.
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"key\": \"d\", \"obj").unwrap();
        let again = open(Keeping::OnDisk);
        assert_eq!(again.known("game"), rows(&[("a", 1)]));
        again.keep("game", rows(&[("a", 1), ("e", 5)]));
        assert_eq!(open(Keeping::OnDisk).known("game"), rows(&[("a", 1), ("e", 5)]));
    }

    #[test]
    fn who_only_looks_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let looking = RowsKept::new(folder.path().join("rows"), Keeping::InMemory);
        looking.keep("game", rows(&[("a", 1)]));
        assert_eq!((looking.known("game"), folder.path().join("rows").exists()), (rows(&[("a", 1)]), false));
    }
}
