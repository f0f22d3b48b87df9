//! Reads a secret where the config says that it lies. Its value is never part of an error.

use std::ffi::OsString;

use adce_core::spec::Secretive;

/// From this process's environment, or a file.
pub fn resolve_secret(value: &Secretive) -> Result<String, String> {
    resolve(value, &std::env::vars_os().collect::<Vec<_>>())
}

/// `own`: the environment of this process.
pub(crate) fn resolve(value: &Secretive, own: &[(OsString, OsString)]) -> Result<String, String> {
    match value {
        Secretive::Plain(text) => Ok(text.clone()),
        Secretive::Variable(name) => match own.iter().find(|(known, _)| known == name.as_str()) {
            Some((_, text)) => text.to_str().map(String::from).ok_or_else(|| format!("the secret in variable `{name}` is not UTF-8")),
            None => Err(format!("its secret is expected in adce's own variable `{name}`, which is not set")),
        },
        Secretive::File(path) => match std::fs::read_to_string(path) {
            // Editors end a file with a line end that no secret has.
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(why) => Err(format!("its secret file `{}` cannot be read: {why}", path.display())),
        },
    }
}
