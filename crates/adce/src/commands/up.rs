//! `adce up`: an engine that stays.

use adce_engine::Options;
use clap::Args;

use crate::cli::Format;
use crate::commands::run::{collect, exit_of, options};
use crate::config::Written;
use crate::display::Display;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::holding_back::Mode;
use crate::notify;
use crate::summary;

#[derive(Args, Debug)]
pub struct UpArgs {
    /// Start without asking, however many gaps there are.
    #[arg(long)]
    pub yes: bool,

    /// In the background, in a session of its own; returns when it answers.
    #[arg(short = 'd', long)]
    pub detach: bool,

    /// Looks, plans, hears of changes and answers, and starts nothing.
    #[arg(long, conflicts_with = "detach")]
    pub dry_run: bool,

    /// Nobody reads what it prints: how far it is, `adce status` tells.
    #[arg(long, hide = true)]
    pub unseen: bool,
}

pub async fn run(args: &UpArgs, config: Written, format: Format) -> Result<Exit, Failure> {
    let spec = config.spec()?;
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Real };
    let display = if args.unseen { Display::Nowhere } else { Display::choose() };
    let ending =
        collect(spec.clone(), config, Options { stays: true, pulse: Some(notify::pulse()), ..options(args.yes) }, display, mode).await?;
    summary::print(&summary::of(&ending, &spec), &ending, format);
    Ok(exit_of(&ending))
}
