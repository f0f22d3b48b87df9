//! From `-c` files to a checked spec: reads files, tables and the environment, and hands everything to `core`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_core::spec::{self, ConfigFile, Loaded, Spec};
use adce_core::time::Timestamp;
use adce_lake::tables::ConfigFolder;

use crate::exit::Exit;
use crate::failure::Failure;

/// The first of them gives the folder at which relative paths begin.
pub fn read(paths: &[PathBuf]) -> Result<(Vec<ConfigFile>, PathBuf), Failure> {
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
        let text = String::from_utf8(text)
            .map_err(|error| Failure::new(Exit::Config, format!("the config `{}` is not UTF-8: {}", path.display(), error.utf8_error())))?;
        files.push(ConfigFile { name: path.display().to_string(), text });
    }
    let first = paths.first().map(PathBuf::as_path).unwrap_or(Path::new("adce.yaml"));
    let absolute = std::path::absolute(first)
        .map_err(|error| Failure::new(Exit::Config, format!("the path of `{}` is unknown: {error}", first.display())))?;
    Ok((files, absolute.parent().map(Path::to_path_buf).unwrap_or_default()))
}

/// What the files say, with everything that is wrong with them.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Failure> {
    let (files, folder) = read(paths)?;
    Ok(spec::load(&files, &folder, &|name| std::env::var(name).ok(), &ConfigFolder::new(&folder)))
}

/// A config without errors, or all of them. Warnings are `adce check`'s.
pub fn spec(paths: &[PathBuf]) -> Result<Arc<Spec>, Failure> {
    load(paths)?.spec().map(Arc::new).map_err(Failure::Config)
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

impl Edition {
    pub fn of(paths: &[PathBuf]) -> Result<Edition, Failure> {
        let (files, _) = read(paths)?;
        let mut digest = blake3::Hasher::new();
        for file in &files {
            digest.update(&(file.text.len() as u64).to_le_bytes());
            digest.update(file.text.as_bytes());
        }
        let changed = paths.iter().filter_map(|path| std::fs::metadata(path).ok()?.modified().ok()).max();
        Ok(Edition { id: digest.finalize().to_hex()[..16].to_owned(), changed_at: changed.and_then(|at| Timestamp::try_from(at).ok()) })
    }
}
