//! The files of table dimensions, found by path or glob below the config's folder or in the lake.
//!
//! A glob that quietly matches nothing would declare that nothing should exist, and a complete lake; so no match is an
//! error, and what a shell would not match (hidden files, such as an editor's lock) is not matched here either.
//!
//! Always true: the files come sorted by name, so that "the last row wins" means the same on every machine
//! (`files_of_a_glob_come_sorted_and_without_hidden_ones`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use adce_core::coverage::{IN_LAKE, KeptRows, TableError, TableFile, TableFiles};
use adce_core::ports::{Lake, LakeError};
use adce_core::spec::LakeUrl;
use globset::{GlobBuilder, GlobMatcher};

use crate::rows::RowsKept;

/// Relative patterns start here.
pub struct ConfigFolder {
    folder: PathBuf,
    /// Of derived tables, as they were seen last.
    rows: Option<RowsKept>,
}

impl ConfigFolder {
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        ConfigFolder { folder: folder.into(), rows: None }
    }

    /// Knows the rows of derived tables, too.
    pub fn with_rows(self, rows: RowsKept) -> Self {
        ConfigFolder { rows: Some(rows), ..self }
    }

    /// Files that a pattern means, in order; at least one.
    fn names(&self, pattern: &str) -> Result<Vec<String>, TableError> {
        // A file may be called `a[1].csv`.
        if self.folder.join(pattern).is_file() {
            return Ok(vec![pattern.to_owned()]);
        }
        let Some(search) = Search::of(pattern)? else { return Err(TableError::NoFile(pattern.to_owned())) };
        let mut names = Vec::new();
        search.walk(&self.folder.join(search.start), search.start, 1, &mut names)?;
        if names.is_empty() {
            return Err(TableError::NoFile(pattern.to_owned()));
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Where they are now, if there are any.
    pub fn paths(&self, pattern: &str) -> Vec<PathBuf> {
        self.names(pattern).unwrap_or_default().into_iter().map(|name| self.folder.join(name)).collect()
    }

    fn read_one(&self, name: String) -> Result<TableFile, TableError> {
        match fs::read(self.folder.join(&name)) {
            Ok(bytes) => Ok(TableFile { name, bytes }),
            Err(error) => Err(TableError::Unreadable { file: name, detail: error.to_string() }),
        }
    }
}

impl TableFiles for ConfigFolder {
    fn read(&self, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        self.names(pattern)?.into_iter().map(|name| self.read_one(name)).collect()
    }

    fn read_lake(&self, lake: &LakeUrl, pattern: &str) -> Result<Vec<TableFile>, TableError> {
        let found = match lake {
            LakeUrl::Folder(root) => ConfigFolder::new(root).read(pattern),
            LakeUrl::S3 { .. } => apart(|| objects(lake, pattern)),
        };
        found.map(|files| files.into_iter().map(in_lake).collect()).map_err(error_in_lake)
    }

    fn kept_rows(&self, dimension: &str) -> KeptRows {
        self.rows.as_ref().map(|rows| rows.known(dimension)).unwrap_or_default()
    }

    fn keep_rows(&self, dimension: &str, kept: KeptRows) {
        if let Some(rows) = &self.rows {
            rows.keep(dimension, kept);
        }
    }
}

/// As messages show it.
fn in_lake(file: TableFile) -> TableFile {
    TableFile { name: format!("{IN_LAKE}{}", file.name), ..file }
}

fn error_in_lake(error: TableError) -> TableError {
    let named = |name: String| format!("{IN_LAKE}{name}");
    match error {
        TableError::NoFile(pattern) => TableError::NoFile(named(pattern)),
        TableError::Unreadable { file, detail } => TableError::Unreadable { file: named(file), detail },
        TableError::Away { file, detail } => TableError::Away { file: named(file), detail },
        TableError::BadPattern { pattern, detail } => TableError::BadPattern { pattern: named(pattern), detail },
    }
}

/// Tables are read by whoever reads the config, with a runtime around or without; so this has one of its own.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked),
    })
}

/// Objects of a store whose keys match, in order.
fn objects(lake: &LakeUrl, pattern: &str) -> Result<Vec<TableFile>, TableError> {
    let unreadable = |file: &str, error: &dyn std::fmt::Display| TableError::Unreadable { file: file.into(), detail: error.to_string() };
    let unseen = |file: &str, error: LakeError| {
        let (file, detail) = (file.to_owned(), error.to_string());
        match error {
            LakeError::Gone(_) | LakeError::Refused { .. } | LakeError::Unavailable { .. } => TableError::Away { file, detail },
            LakeError::NoRoom { .. } | LakeError::BadKey { .. } => TableError::Unreadable { file, detail },
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| unreadable(pattern, &error))?;
    let search = Search::of(pattern)?;
    let lake = crate::open(lake).map_err(|error| unseen(pattern, error))?;
    runtime.block_on(async {
        let mut keys = match &search {
            None => vec![pattern.to_owned()],
            Some(search) => search.keys(&*lake).await.map_err(|error| unseen(pattern, error))?,
        };
        keys.sort_unstable();
        let scratch = tempfile::tempdir().map_err(|error| unreadable(pattern, &error))?;
        let mut files = Vec::new();
        for key in keys {
            let copy = scratch.path().join("object");
            // Only what was listed is known to be there.
            if search.is_none() && lake.head(&key).await.map_err(|error| unseen(&key, error))?.is_none() {
                continue;
            }
            lake.download(&key, &copy).await.map_err(|error| unseen(&key, error))?;
            let bytes = fs::read(&copy).map_err(|error| unreadable(&key, &error))?;
            files.push(TableFile { name: key, bytes });
        }
        if files.is_empty() { Err(TableError::NoFile(pattern.to_owned())) } else { Ok(files) }
    })
}

/// Which objects of the lake are files of a table.
pub struct LakePattern {
    pattern: String,
    glob: Option<GlobMatcher>,
}

impl LakePattern {
    /// As [`TableFiles::read_lake`] takes it. One that is no glob and no key means nothing.
    pub fn new(pattern: &str) -> Self {
        let glob = Search::of(pattern).ok().flatten().map(|search| search.whole);
        LakePattern { pattern: pattern.to_owned(), glob }
    }

    pub fn means(&self, key: &str) -> bool {
        self.glob.as_ref().map_or(key == self.pattern, |glob| glob.is_match(key))
    }
}

struct Search<'a> {
    /// The segments before the first that holds a wildcard; empty or ends in `/`.
    start: &'a str,
    whole: GlobMatcher,
    /// How far below `start` a match can lie; `None`: any depth.
    depth: Option<usize>,
    hidden: Hidden,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hidden {
    Skipped,
    /// Some segment of the pattern begins with a dot itself.
    Named,
}

impl<'a> Search<'a> {
    /// `None`: the pattern has no wildcard.
    fn of(pattern: &'a str) -> Result<Option<Self>, TableError> {
        let bad = |detail: String| TableError::BadPattern { pattern: pattern.to_owned(), detail };
        let Some(wildcard) = pattern.find(['*', '?', '[', '{']) else { return Ok(None) };
        let (start, rest) = pattern.split_at(pattern[..wildcard].rfind('/').map_or(0, |slash| slash + 1));
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| bad(error.kind().to_string()))?;
        Ok(Some(Search {
            start,
            whole: glob.compile_matcher(),
            // Alternatives in braces may hold slashes.
            depth: (!rest.contains("**") && !rest.contains('{')).then(|| rest.split('/').count()),
            hidden: if rest.split('/').any(|segment| segment.starts_with('.')) { Hidden::Named } else { Hidden::Skipped },
        }))
    }

    /// Keys that match, in no order.
    async fn keys(&self, lake: &dyn Lake) -> Result<Vec<String>, LakeError> {
        let mut keys = Vec::new();
        let mut found = |object: adce_core::object::Object| {
            let is_hidden = object.key[self.start.len()..].split('/').any(|segment| segment.starts_with('.'));
            let is_shown = !is_hidden || self.hidden == Hidden::Named;
            if is_shown && !object.key.ends_with('/') && self.whole.is_match(&object.key) {
                keys.push(object.key);
            }
        };
        lake.list(self.start, &mut found).await?;
        Ok(keys)
    }

    /// `name` is the folder's, as the pattern would write it: empty or ends in `/`.
    fn walk(&self, folder: &Path, name: &str, depth: usize, names: &mut Vec<String>) -> Result<(), TableError> {
        let unreadable = |error: io::Error| TableError::Unreadable { file: name.to_owned(), detail: error.to_string() };
        let entries = match fs::read_dir(folder) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let file_name = entry.file_name();
            let Some(last) = file_name.to_str() else { continue };
            if last.starts_with('.') && self.hidden == Hidden::Skipped {
                continue;
            }
            let (full, path) = (format!("{name}{last}"), entry.path());
            // A folder link is not followed below a `**`: a circle would never end.
            let is_folder = if self.depth.is_some() { path.is_dir() } else { entry.file_type().is_ok_and(|kind| kind.is_dir()) };
            if is_folder && self.depth.is_none_or(|most| depth < most) {
                self.walk(&path, &format!("{full}/"), depth + 1, names)?;
            } else if self.whole.is_match(&full) && path.is_file() {
                names.push(full);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> (tempfile::TempDir, ConfigFolder) {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let files = ConfigFolder::new(folder.path());
        (folder, files)
    }

    fn names(files: &ConfigFolder, pattern: &str) -> Vec<String> {
        files.read(pattern).unwrap_or_else(|error| panic!("{error}")).into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn files_of_a_glob_come_sorted_and_without_hidden_ones() {
        let (_kept, files) = folder(&["s/b.csv", "s/a.csv", "s/c.txt", "s/.~lock.a.csv", "s/deep/d.csv", "top.csv"]);
        assert_eq!(names(&files, "s/*.csv"), ["s/a.csv", "s/b.csv"]);
        assert_eq!(names(&files, "*/*.csv"), ["s/a.csv", "s/b.csv"]);
        assert_eq!(names(&files, "**/*.csv"), ["s/a.csv", "s/b.csv", "s/deep/d.csv", "top.csv"]);
        assert_eq!(names(&files, "s/[bc].*"), ["s/b.csv", "s/c.txt"]);
        assert_eq!(names(&files, "{s/a,top}.csv"), ["s/a.csv", "top.csv"]);
        assert_eq!(names(&files, "s/.~*"), ["s/.~lock.a.csv"]);
        assert_eq!(files.read("top.csv").unwrap()[0].bytes, b"top.csv");
    }

    #[test]
    fn a_table_in_a_lake_of_files_is_found_there_and_named_so() {
        let (kept, _) = folder(&["lake/s/b.csv", "lake/s/a.csv", "s/c.csv"]);
        let files = ConfigFolder::new(kept.path());
        let lake = LakeUrl::Folder(kept.path().join("lake"));
        let found = files.read_lake(&lake, "s/*.csv").unwrap();
        assert_eq!(found.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["lake:s/a.csv", "lake:s/b.csv"]);
        assert_eq!(files.read_lake(&lake, "s/c.csv"), Err(TableError::NoFile("lake:s/c.csv".into())));
    }

    #[test]
    fn objects_of_a_table_are_known_by_their_keys() {
        let means = |pattern: &str, key: &str| LakePattern::new(pattern).means(key);
        assert!(means("s/*.csv", "s/a.csv") && means("s/a.csv", "s/a.csv") && means("s/**/*.csv", "s/2024/x/a.csv"));
        assert!(!means("s/*.csv", "s/deep/a.csv") && !means("s/a.csv", "s/b.csv") && !means("s/[a.csv", "s/a.csv"));
    }

    #[test]
    fn paths_may_leave_the_folder_and_may_look_like_globs() {
        let (kept, files) = folder(&["config/x", "tables/a.csv", "odd[1].csv"]);
        let below = ConfigFolder::new(kept.path().join("config"));
        assert_eq!(names(&below, "../tables/*.csv"), ["../tables/a.csv"]);
        assert_eq!(names(&files, "odd[1].csv"), ["odd[1].csv"]);
        let absolute = format!("{}/tables/*.csv", kept.path().display());
        assert_eq!(names(&files, &absolute), [format!("{}/tables/a.csv", kept.path().display())]);
    }

    #[test]
    fn no_match_and_a_bad_pattern_are_errors() {
        let (_kept, files) = folder(&["s/a.csv"]);
        for pattern in ["s/*.tsv", "nowhere/*.csv", "missing.csv", "s"] {
            assert_eq!(files.read(pattern), Err(TableError::NoFile(pattern.into())));
        }
        assert!(matches!(files.read("s/[a.csv"), Err(TableError::BadPattern { .. })));
    }
}
