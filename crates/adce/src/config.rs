//! From `-c` files to a checked spec: reads files, tables and the environment, and hands everything to `core`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use adce_core::spec::{self, ConfigFile, Loaded, Spec};
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
