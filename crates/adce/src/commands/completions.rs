//! `adce completions SHELL`: a script for the shell, made of the same description as the command line itself.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::Paper;

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// For which shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

pub fn run(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "adce", &mut script);
    let mut paper = Paper::stdout();
    paper.write(|out| out.write_all(&script))?;
    paper.finish()?;
    Ok(Exit::Complete)
}
