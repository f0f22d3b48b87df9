//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Keeps a data lake complete: finds what is missing, and collects it, never faster than an upstream allows.
#[derive(Parser, Debug)]
#[command(name = "adce", version, max_term_width = 120, arg_required_else_help = true)]
#[command(after_help = "Start with `adce demo` to watch it work, or `adce init` for a config of your own.\n\
    Exit codes: 0 complete · 1 could not finish · 2 gaps remain · 64 usage · 69 lake or state unreachable ·\n\
    75 another engine holds the state · 78 config")]
pub struct Cli {
    /// The config; several are merged, later ones on top.
    #[arg(short, long, global = true, value_name = "FILE", default_value = "adce.yaml")]
    pub config: Vec<PathBuf>,

    /// Tables are for people, JSON is a contract.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: Format,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// What each source allows, and how much of it is used now.
    Limits,

    /// A held surprise is right: let it be in force.
    Accept,
}
