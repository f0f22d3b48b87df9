//! `adce man`: man pages, made of the same description as `--help`. For packagers, and for whoever wants them at home.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use crate::cli::{Cli, Format};
use crate::exit::Exit;
use crate::failure::Failure;

#[derive(Args, Debug)]
pub struct ManArgs {
    /// A page for each command into this folder, which is made if need be; otherwise the first page is printed.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

pub fn run(args: &ManArgs, format: Format) -> Result<Exit, Failure> {
    let mut adce = Cli::command();
    adce.build();
    match &args.out {
        None => {
            let failed = |error| Failure::new(Exit::Unfinished, format!("the page cannot be printed: {error}"));
            std::io::stdout().write_all(&page(&adce)).map_err(failed)?;
        }
        Some(folder) => {
            let written = write_all(&adce, folder)?;
            match format {
                Format::Json => say!("{}", serde_json::json!({ "written": written })),
                Format::Text => say!("{} pages in {}", written.len(), folder.display()),
            }
        }
    }
    Ok(Exit::Complete)
}

fn write_all(adce: &clap::Command, folder: &Path) -> Result<Vec<String>, Failure> {
    let failed = |path: &Path, error| Failure::new(Exit::Unfinished, format!("`{}` cannot be written: {error}", path.display()));
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let mut written = Vec::new();
    for command in shown(adce) {
        let path = folder.join(format!("{}.1", name(&command)));
        std::fs::write(&path, page(&command)).map_err(|error| failed(&path, error))?;
        written.push(path.display().to_string());
    }
    Ok(written)
}

/// The command and all below it that `--help` shows.
fn shown(command: &clap::Command) -> Vec<clap::Command> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help");
    std::iter::once(command.clone()).chain(below.flat_map(shown)).collect()
}

/// `adce-tasks-show`.
fn name(command: &clap::Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

fn page(command: &clap::Command) -> Vec<u8> {
    let mut page = Vec::new();
    let written = Man::new(command.clone()).title(name(command)).render(&mut page);
    written.expect("memory takes what is written");
    page
}
