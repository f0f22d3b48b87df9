//! `adce init`: a first config with a comment on every line that needs one, and the JSON Schema by which editors
//! complete it. The template is itself checked by a test, so that nobody starts with an error.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use console::style;

use crate::cli::Format;
use crate::exit::Exit;
use crate::failure::Failure;

const TEMPLATE: &str = include_str!("../init/adce.yaml");
const SCHEMA: &str = ".adce/adce.schema.json";
/// What the template calls its lake. Created here, once and by name; nothing else of adce ever creates a lake.
const LAKE: &str = "lake";

pub fn run(paths: &[PathBuf], format: Format) -> Result<Exit, Failure> {
    let path = paths.first().map(PathBuf::as_path).unwrap_or(Path::new("adce.yaml"));
    let folder = path.parent().unwrap_or(Path::new(""));
    write_new(path, TEMPLATE)?;
    let schema = folder.join(SCHEMA);
    let lake = folder.join(LAKE);
    create_folder(&folder.join(".adce"))?;
    fs::write(&schema, adce_core::spec::json_schema()).map_err(|error| failed(&schema, &error))?;
    create_folder(&lake)?;
    match format {
        Format::Json => {
            let written = [path, &schema, &lake].map(|path| path.display().to_string());
            say!("{}", serde_json::json!({ "written": written }));
        }
        Format::Text => {
            say!("{}  a commented example: change it to your own", style(path.display()).bold());
            say!("{}  by which editors complete it", style(schema.display()).bold());
            say!("{}  an empty lake", style(format!("{}/", lake.display())).bold());
            say!("next: `adce check`, then `adce plan`");
        }
    }
    Ok(Exit::Complete)
}

/// Never over something that is there.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Unfinished, format!("`{}` is there already and stays as it is", path.display()))
            .hint("`adce init -c other.yaml` writes another one; `adce check` checks this one"),
        _ => failed(path, &error),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| failed(path, &error))
}

fn create_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Unfinished, format!("`{}` cannot be written: {error}", path.display()))
}
