//! `adce start`, `stop` and `restart`: an engine in the background.

use std::path::PathBuf;
use std::time::Duration;

use adce_core::spec::Spec;
use clap::Args;
use serde_json::json;

use crate::background;
use crate::cli::Format;
use crate::exit::Exit;
use crate::failure::Failure;

#[derive(Args, Debug)]
pub struct StopArgs {
    /// What still runs after so long is ended; 0s: at once. Default: `engine.drain` of the config.
    #[arg(long, value_name = "SPAN", value_parser = crate::cli::parse_span)]
    pub within: Option<Duration>,
}

pub fn start(configs: &[PathBuf], spec: &Spec, format: Format) -> Result<Exit, Failure> {
    background::start(configs, spec, format)
}

pub fn stop(args: &StopArgs, spec: &Spec, format: Format) -> Result<Exit, Failure> {
    let stopped = background::stop(spec, args.within, format)?;
    match format {
        Format::Json => say!("{}", json!({ "stopped": stopped })),
        Format::Text if stopped => say!("stopped"),
        Format::Text => say!("no engine runs"),
    }
    Ok(Exit::Complete)
}

/// The new config is read before the old engine ends: an invalid one ends nothing.
pub fn restart(args: &StopArgs, configs: &[PathBuf], spec: &Spec, format: Format) -> Result<Exit, Failure> {
    background::stop(spec, args.within, format)?;
    background::start(configs, spec, format)
}
