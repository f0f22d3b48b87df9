//! `adce completions SHELL`: a script for the shell, made of the same description as the command line itself.

use std::io::Write;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::Failure;

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "adce", &mut script);
    std::io::stdout()
        .write_all(&script)
        .map_err(|error| Failure::new(Exit::Unfinished, format!("the script cannot be printed: {error}")))?;
    Ok(Exit::Complete)
}
