//! From the text of the config files to a checked [`Spec`]: names resolved, defaults filled in, all problems at once.
//!
//! A part that is wrong is left out and everything else is still checked: whoever fixes a config should need one run,
//! not one run per mistake. What refers to a wrong part is not called wrong itself. Random damage to a config never
//! panics (`a_damaged_config_is_refused_and_never_panics`).
//!
//! Nothing here touches the outside: the environment and the files of tables are arguments.

mod collectors;
mod datasets;
mod dimensions;
mod events;
mod jobs;
mod needs;
mod rest;
mod server;
mod sets;
mod sources;

pub(super) use datasets::without_variables;
pub use sources::host_matches;
pub(super) use sources::literal_authority;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::decode::{Decode, Name, OneOrMore, Section, Text, Trail};
use super::expression::{Anchor, Role};
use super::names::{DimensionNames, LanguageError, Names};
use super::others::{self, Others};
use super::problem::{Place, Problem};
use super::raw::{RawConfig, RawLake};
use super::yaml::{self, Node, SourceText, Value};
use super::{Collector, LakeUrl, Spec, StateUrl, check};
use crate::coverage::TableFiles;

/// One `-c` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// As messages show it.
    pub name: String,
    pub text: String,
}

/// What became of a config.
#[derive(Debug)]
pub struct Loaded {
    /// All that is right, if the config could be read at all. Only without errors is it the whole config: see
    /// [`Loaded::spec`]. Expanding it shows further problems.
    pub draft: Option<Spec>,
    /// In the order of the files, each once, with its line.
    pub problems: Vec<Problem>,
    sources: Vec<Arc<SourceText>>,
}

impl Loaded {
    /// Adds what expanding the draft has shown.
    pub fn add(&mut self, problems: Vec<Problem>) {
        self.problems.extend(problems);
        arrange(&mut self.problems, &self.sources);
    }

    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// The config, if nothing is wrong with it.
    pub fn spec(self) -> Result<Spec, Vec<Problem>> {
        match self.draft {
            Some(spec) if !self.problems.iter().any(Problem::is_error) => Ok(spec),
            _ => Err(self.problems),
        }
    }
}

/// Reads, merges and checks the files; later ones lie on top of earlier ones. `folder`: of the first file, absolute.
pub fn load(files: &[ConfigFile], folder: &Path, env: &dyn Fn(&str) -> Option<String>, tables: &dyn TableFiles) -> Loaded {
    let mut problems = Vec::new();
    let mut sources = Vec::new();
    let root = read(files, env, &mut problems, &mut sources);
    let draft = root.and_then(|root| {
        let whole = Place::whole_file(files.first().map(|file| file.name.as_str()).unwrap_or_default());
        let raw = RawConfig::decode(&root, &Trail::root(&whole), &mut problems)?;
        Some(Loader::new(&raw, folder, tables, &mut problems).load())
    });
    arrange(&mut problems, &sources);
    Loaded { draft, problems, sources }
}

/// All files as one tree; `None` if one of them cannot be read.
pub(in crate::spec) fn read(
    files: &[ConfigFile],
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<Problem>,
    sources: &mut Vec<Arc<SourceText>>,
) -> Option<Node> {
    let mut whole: Option<Node> = None;
    let mut readable = true;
    for file in files {
        let before = problems.len();
        let parsed = yaml::parse(&file.name, &file.text, env, problems);
        sources.push(parsed.source);
        match parsed.root {
            Some(Node { value: Value::Empty | Value::Null, .. }) | None if problems.len() == before => {
                problems.push(
                    Problem::error(&Place::whole_file(file.name.as_str()), "the config is empty").hint("`adce init` writes a first one"),
                );
                readable = false;
            }
            None => readable = false,
            Some(root) => match &mut whole {
                None => whole = Some(root),
                Some(base) => yaml::merge(base, root),
            },
        }
    }
    whole.filter(|_| readable)
}

/// In the order of the files, each once, with its line.
fn arrange(problems: &mut Vec<Problem>, sources: &[Arc<SourceText>]) {
    let rank = |problem: &Problem| {
        let file = problem.at.as_ref().map(|at| sources.iter().position(|source| source.name == at.file).unwrap_or(sources.len()));
        (file, problem.at.clone())
    };
    problems.sort_by_key(rank);
    let mut seen: Vec<(Option<Place>, String)> = Vec::new();
    problems.retain(|problem| {
        let this = (problem.at.clone(), problem.message.clone());
        let new = !seen.contains(&this);
        if new {
            seen.push(this);
        }
        new
    });
    for problem in problems.iter_mut().filter(|problem| problem.line.is_none()) {
        let Some(at) = &problem.at else { continue };
        let source = sources.iter().find(|source| source.name == at.file);
        problem.line = source.and_then(|source| source.lines.get((at.line as usize).wrapping_sub(1))).cloned();
    }
}

/// Everything that resolving needs.
struct Loader<'a> {
    raw: &'a RawConfig,
    folder: &'a Path,
    tables: &'a dyn TableFiles,
    problems: &'a mut Vec<Problem>,
    /// `None`: something is wrong with it.
    lake: Option<LakeUrl>,
    /// What each dimension calls its values, also of those that are not quite right.
    names: IndexMap<String, DimensionNames>,
}

impl<'a> Loader<'a> {
    fn new(raw: &'a RawConfig, folder: &'a Path, tables: &'a dyn TableFiles, problems: &'a mut Vec<Problem>) -> Self {
        Loader { raw, folder, tables, problems, lake: None, names: IndexMap::new() }
    }

    fn load(mut self) -> Spec {
        self.version();
        let lake = self.raw.lake.0.as_ref().and_then(RawLake::url).and_then(|text| self.place("lake", text));
        let reports = self.reports(lake.as_ref());
        let events = self.events(lake.as_ref());
        self.lake.clone_from(&lake);
        let state = self.state();
        let sources = self.sources();
        let dimensions = self.dimensions();
        let mut collectors = self.collectors();
        let datasets = self.datasets(&sources, &dimensions, &mut collectors);
        let limits = self.raw.limits.as_ref().map(sources::limits).unwrap_or_default();
        if let Some(by) = self.raw.limits.as_ref().and_then(|limits| limits.by.as_ref()) {
            let message = "`limits.by`: all sources together are not told apart by a value";
            self.error_with(&by.at, message, "limits `by` a value stand under the source that counts by it");
        }
        let mut spec = Spec {
            name: self.name(),
            lake: lake.unwrap_or_else(|| LakeUrl::Folder(self.folder.to_owned())),
            reports,
            events,
            state: state.unwrap_or_else(|| self.default_state()),
            folder: self.folder.to_owned(),
            baseline: self.baseline(),
            others: self.others(),
            gateway: self.gateway(&sources),
            sources,
            limits,
            dimensions,
            datasets,
            collectors,
            jobs: IndexMap::new(),
            maintenance: IndexMap::new(),
            engine: self.engine(),
            weighting: self.weighting(),
            server: self.server(),
        };
        self.jobs(&mut spec);
        check::check(self.raw, &spec, self.problems);
        spec
    }

    fn error(&mut self, at: &Place, message: impl Into<String>) {
        self.problems.push(Problem::error(at, message));
    }

    fn error_with(&mut self, at: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem::error(at, message).hint(hint));
    }

    /// Reports what the expression and template parsers found in a scalar, at its place in the file.
    fn language_errors(&mut self, what: &str, scalar: &Text, errors: Vec<LanguageError>) {
        for LanguageError { offset, length, message, hint } in errors {
            let problem = Problem::error(&scalar.place_of(offset, length), format!("{what}: {message}"));
            self.problems.push(Problem { hint, ..problem });
        }
    }

    fn baseline(&mut self) -> Option<crate::time::Timestamp> {
        let text = self.raw.baseline.as_ref()?;
        let date = self.expression("`baseline`", text, &Names::none(), Role::Since)?;
        match date.anchored() {
            Some((Anchor::At(at), shift)) => at.checked_add(shift).ok(),
            _ => {
                let message = "`baseline` is a date, and does not move: what is older than it stays so";
                self.error_with(
                    &text.at,
                    message,
                    "such as `2026-01-01`; what is of no interest any more goes out of scope by a dataset's `since`",
                );
                None
            }
        }
    }

    /// What `ignore` and the datasets' `owns` keep out of what is unexpected.
    fn others(&mut self) -> Others {
        let raw = self.raw;
        let of_datasets = entries(raw.datasets.0.as_ref()).iter().filter_map(|(name, raw)| Some((name, raw.as_ref()?)));
        let of_datasets = of_datasets.flat_map(|(name, raw)| {
            let given = [("owns", &raw.owns), ("ignore", &raw.ignore)];
            given.map(|(word, patterns)| (format!("dataset `{}`: `{word}`", name.text), patterns.as_ref()))
        });
        let all = of_datasets.chain([("`ignore`".to_string(), raw.ignore.as_ref())]);
        let mut patterns = Vec::new();
        for (what, text) in
            all.flat_map(|(what, texts)| texts.into_iter().flat_map(OneOrMore::as_slice).map(move |text| (what.clone(), text)))
        {
            match others::pattern(&text.text) {
                Ok(pattern) => patterns.push(pattern),
                Err(wrong) => self.error_with(
                    &text.at,
                    format!("{what}: `{}` is no pattern: {wrong}", text.text),
                    "such as `orders/**` or `**/*.bak`",
                ),
            }
        }
        Others::of(patterns)
    }

    fn version(&mut self) {
        if let Some(version) = &self.raw.version
            && version.value.0 != 1
        {
            let message = format!("version {} of the config language is not known to this version of adce", version.value.0);
            self.error_with(&version.at, message, "write `version: 1`");
        }
    }

    fn name(&self) -> String {
        match &self.raw.name {
            Some(name) => name.text.clone(),
            None => self.folder.file_name().map_or_else(|| "adce".into(), |name| name.to_string_lossy().into_owned()),
        }
    }

    /// Reports tell of a bucket; with another lake they would be read and tell nothing.
    fn reports(&mut self, lake: Option<&LakeUrl>) -> Option<LakeUrl> {
        let text = self.raw.lake.0.as_ref().and_then(RawLake::map)?.inventory.as_ref()?;
        let reports = self.place("lake.inventory", text)?;
        if matches!(lake, Some(LakeUrl::Folder(_))) {
            let message = "`lake.inventory`: S3 Inventory tells of a bucket, and this lake is a folder";
            self.error_with(&text.at, message, "leave it out, a folder is listed; or write `url: s3://bucket/prefix`");
            return None;
        }
        Some(reports)
    }

    /// `what` is to lie there: `lake` or `lake.inventory`.
    fn place(&mut self, what: &str, text: &Text) -> Option<LakeUrl> {
        let Some((scheme, rest)) = text.text.split_once("://") else {
            if text.text.is_empty() {
                self.error(&text.at, format!("`{what}` is empty: expected a folder or `s3://bucket/prefix`"));
                return None;
            }
            return Some(LakeUrl::Folder(absolute(self.folder, &text.text)));
        };
        match scheme {
            "s3" => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let is_name = bucket.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
                if bucket.is_empty() || !is_name || prefix.contains(['?', '#']) {
                    self.error_with(&text.at, format!("`{}` is no place in S3", text.text), "write `s3://bucket` or `s3://bucket/prefix`");
                    return None;
                }
                let prefix = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
                Some(LakeUrl::S3 { bucket: bucket.to_owned(), prefix })
            }
            "gs" | "az" | "abfs" | "gcs" => {
                let whatever = if what == "lake" { "a lake" } else { "reports" };
                let wrong = super::decode::not_supported(&text.at, &format!("{whatever} at `{scheme}://`"));
                self.problems.push(wrong.hint("use a folder or `s3://bucket`"));
                None
            }
            "file" => {
                let whatever = if what == "lake" { "a lake in a folder is" } else { "reports in a folder are" };
                let key = what.rsplit('.').next().unwrap_or(what);
                self.error_with(&text.at, format!("{whatever} given as a path"), format!("write `{key}: {rest}`"));
                None
            }
            _ => {
                self.error_with(
                    &text.at,
                    format!("`{scheme}://` is no kind of {}", if what == "lake" { "lake" } else { "place for reports" }),
                    "expected a folder (`./lake`) or `s3://bucket/prefix`",
                );
                None
            }
        }
    }

    fn default_state(&self) -> StateUrl {
        StateUrl::Sqlite(self.folder.join(".adce/state.db"))
    }

    fn state(&mut self) -> Option<StateUrl> {
        let text = self.raw.state.as_ref()?;
        if let Some(path) = text.text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.is_empty() {
                return Some(StateUrl::Sqlite(absolute(self.folder, path)));
            }
        }
        if text.text.starts_with("postgres:") || text.text.starts_with("postgresql:") {
            self.problems.push(super::decode::not_supported(&text.at, "a state at `postgres://`").hint("use `sqlite:.adce/state.db`"));
        } else {
            self.error_with(
                &text.at,
                format!("`{}` is no place for the state", text.text),
                "expected `sqlite:` and a path: `sqlite:.adce/state.db`",
            );
        }
        None
    }

    /// Names that users choose for sources, datasets and collectors appear in paths, metrics and on command lines.
    fn check_name(&mut self, what: &str, name: &Name) {
        let plain = name.text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if name.text.is_empty() || !plain || name.text.starts_with('-') {
            let message = format!("{what} `{}`: a name has letters, digits, `_` and `-` only", name.text);
            self.error(&name.at, message);
        }
    }
}

/// The entries of a section that may be missing.
fn entries<T>(section: Option<&Section<T>>) -> &[(Name, Option<T>)] {
    section.map(|section| section.entries.as_slice()).unwrap_or_default()
}

/// A path of the config, with `.` and `..` resolved as text.
pub(crate) fn absolute(folder: &Path, path: &str) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in folder.join(path).components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                whole.pop();
            }
            other => whole.push(other),
        }
    }
    whole
}

type Collectors = IndexMap<String, Arc<Collector>>;
