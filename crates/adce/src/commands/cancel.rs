//! `adce cancel`: ends attempts, and leaves their items alone for a while.

use std::sync::Arc;
use std::time::Duration;

use adce_api::CancelLine;
use adce_core::figures::{counted, grouped};
use adce_core::queue::Meant;
use adce_core::spec::Spec;
use adce_core::time::SignedDuration;
use clap::Args;

use crate::cli::Format;
use crate::commands::ask;
use crate::commands::idle::IdleState;
use crate::commands::retry::no_such_thing;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::views;

#[derive(Args, Debug)]
pub struct CancelArgs {
    /// A key, a task's id, or a dataset's name.
    pub what: String,

    /// For so long; afterwards they are tried like any other. `adce retry` ends it sooner.
    #[arg(long = "for", value_name = "SPAN", default_value = "1d", value_parser = crate::cli::parse_span)]
    pub span: Duration,
}

/// Lines of a list that a person still reads.
const SHOWN: usize = 50;

pub async fn run(args: &CancelArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let lines = match ask::engine(&spec)? {
        Some(mut engine) => {
            let mut lines = Vec::new();
            ask::answered(engine.cancel(&args.what, args.span, |line| lines.push(line)))?;
            lines
        }
        None => in_the_state(&spec, args).await?,
    };
    match format {
        Format::Json => lines.iter().for_each(|line| say!("{}", serde_json::to_string(line).unwrap_or_default())),
        Format::Text => print(&lines),
    }
    Ok(Exit::Complete)
}

/// Nobody runs: the state is taken for a moment and written.
async fn in_the_state(spec: &Arc<Spec>, args: &CancelArgs) -> Result<Vec<CancelLine>, Failure> {
    let unknown = || Failure::new(Exit::Usage, no_such_thing(&args.what));
    let mut state = IdleState::take(spec).await?.ok_or_else(unknown)?;
    let span = SignedDuration::try_from(args.span).unwrap_or(SignedDuration::MAX);
    let until = state.now.wall.saturating_add(span).unwrap_or(state.now.wall);
    let tasks: std::collections::HashMap<_, _> =
        state.queue.gaps().iter().filter_map(|gap| Some((gap.id, state.queue.task_of(gap.id)?))).collect();
    let (cancelled, changes) = state.queue.cancel(Meant::Named(&args.what), until, state.now).ok_or_else(unknown)?;
    state.write(changes).await?;
    Ok(cancelled.waiting.into_iter().map(|gap| views::cancel_line(&gap, tasks.get(&gap.id).copied(), None, until)).collect())
}

fn print(lines: &[CancelLine]) {
    let ended: std::collections::BTreeSet<_> = lines.iter().filter_map(|line| line.attempt).collect();
    let Some(until) = lines.first().map(|line| line.until) else {
        say!("nothing of it waits or runs");
        return;
    };
    say!(
        "{} left alone until {}, or until `adce retry`; {} ended",
        counted(lines.len() as u64, "item"),
        until.strftime("%Y-%m-%d %H:%M:%S UTC"),
        counted(ended.len() as u64, "attempt")
    );
    lines.iter().take(SHOWN).for_each(|line| say!("  {}", line.key));
    if lines.len() > SHOWN {
        say!("… and {} more", grouped((lines.len() - SHOWN) as u64));
    }
}
