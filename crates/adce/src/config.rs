//! From `-c` files to a checked spec: reads files, tables and the environment, and hands everything to `core`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_core::spec::{self, ConfigFile, Loaded, Setting, Spec};
use adce_core::time::Timestamp;
use adce_inventory::tables::Decoded;
use adce_lake::tables::ConfigFolder;

use crate::exit::Exit;
use crate::failure::Failure;

/// The files of a config, as they were read.
#[derive(Clone, Debug)]
pub struct Written {
    paths: Vec<PathBuf>,
    files: Vec<ConfigFile>,
    /// That of the first of them, at which relative paths begin.
    folder: PathBuf,
}

impl Written {
    pub fn read(paths: &[PathBuf]) -> Result<Written, Failure> {
        let mut files = Vec::new();
        for path in paths {
            let text = std::fs::read(path).map_err(|error| {
                let failure = Failure::new(Exit::Config, format!("the config `{}` cannot be read: {error}", path.display()));
                if error.kind() == std::io::ErrorKind::NotFound {
                    failure.hint("`adce init` writes a first one; `-c FILE` names another")
                } else {
                    failure
                }
            })?;
            let text = String::from_utf8(text).map_err(|error| {
                Failure::new(Exit::Config, format!("the config `{}` is not UTF-8: {}", path.display(), error.utf8_error()))
            })?;
            files.push(ConfigFile { name: path.display().to_string(), text });
        }
        for (name, value) in overrides() {
            files.extend(spec::overriding(&name, &value, &files, &variable));
        }
        let first = paths.first().map(PathBuf::as_path).unwrap_or(Path::new("adce.yaml"));
        let absolute = std::path::absolute(first)
            .map_err(|error| Failure::new(Exit::Config, format!("the path of `{}` is unknown: {error}", first.display())))?;
        Ok(Written { paths: paths.to_vec(), files, folder: absolute.parent().map(Path::to_path_buf).unwrap_or_default() })
    }

    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Name and text of each.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|file| (file.name.as_str(), file.text.as_str()))
    }

    pub fn is_same_text(&self, other: &Written) -> bool {
        self.files == other.files
    }

    /// What the files say, with everything that is wrong with them.
    pub fn load(&self) -> Loaded {
        spec::load(&self.files, &self.folder, &variable, &table_files(&self.folder))
    }

    /// What is right of it, which is enough to find the state. The error: not even that.
    pub fn draft(&self) -> Result<Spec, Failure> {
        let Loaded { draft, problems, .. } = self.load();
        draft.ok_or(Failure::Config(problems))
    }

    /// A config without errors, or all of them. Warnings are `adce check`'s.
    pub fn spec(&self) -> Result<Arc<Spec>, Failure> {
        self.load().spec().map(Arc::new).map_err(Failure::Config)
    }

    /// Each value, and where it comes from.
    pub fn settings(&self) -> Vec<Setting> {
        spec::settings(&self.files, &variable)
    }

    /// The parts that an earlier edition wrote differently.
    pub fn differences_from(&self, earlier: &Written) -> Vec<String> {
        spec::differences(&earlier.files, &self.files, &variable)
    }

    pub fn edition(&self) -> Edition {
        let mut digest = blake3::Hasher::new();
        for file in &self.files {
            digest.update(&(file.text.len() as u64).to_le_bytes());
            digest.update(file.text.as_bytes());
        }
        let changed = self.paths.iter().filter_map(|path| std::fs::metadata(path).ok()?.modified().ok()).max();
        Edition { id: digest.finalize().to_hex()[..16].to_owned(), changed_at: changed.and_then(|at| Timestamp::try_from(at).ok()) }
    }
}

/// Files of tables as the core reads them, from this folder on.
pub fn table_files(folder: &Path) -> Decoded<ConfigFolder> {
    Decoded(ConfigFolder::new(folder))
}

/// Variables that may stand for parts of a config, in the order of their names.
pub fn overrides() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = std::env::vars().filter(|(name, _)| name.starts_with("ADCE_") && name.contains("__")).collect();
    found.sort();
    found
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub fn spec(paths: &[PathBuf]) -> Result<Arc<Spec>, Failure> {
    Written::read(paths)?.spec()
}

/// As [`spec`]; `None`: there is no config.
pub fn spec_if_there(paths: &[PathBuf]) -> Result<Option<Arc<Spec>>, Failure> {
    if paths.iter().all(|path| path.exists()) { spec(paths).map(Some) } else { Ok(None) }
}

/// What tells one version of a config from another.
#[derive(Clone, Debug, Default)]
pub struct Edition {
    /// First digits of a digest over the texts as written: variables stand in it by name, so it tells nothing of secrets.
    pub id: String,
    /// When the newest of the files was changed.
    pub changed_at: Option<Timestamp>,
}
