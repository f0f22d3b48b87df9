//! `adce pause` and `adce resume`: what is to start no more for a while.

use std::sync::Arc;

use adce_api::{Client, Paused};
use adce_core::pause::{Pause, PauseOf};
use adce_core::spec::Spec;
use clap::Args;

use crate::cli::Format;
use crate::commands::ask;
use crate::commands::idle::IdleState;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::views;

#[derive(Args, Debug)]
pub struct PauseArgs {
    /// A source or a dataset; without one, everything.
    pub what: Option<String>,

    /// Why, for whoever finds it paused.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

#[derive(Args, Debug)]
pub struct ResumeArgs {
    /// A source or a dataset; without one, the pause of everything ends.
    #[arg(conflicts_with = "all")]
    pub what: Option<String>,

    /// Whatever is paused by hand.
    #[arg(long)]
    pub all: bool,
}

pub async fn pause(args: &PauseArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let of = named(args.what.as_deref(), &spec)?;
    let paused = match ask::engine(&spec)? {
        Some(mut engine) => ask::answered(Client::pause(&mut engine, args.what.as_deref(), args.reason.as_deref()))?,
        None => {
            in_the_state(&spec, |state| {
                let changed = !state.queue.paused_by_hand().contains_key(&of);
                let pause = Pause { since: state.now.wall, until: None, because: args.reason.clone() };
                (changed, state.queue.pause(of.clone(), pause, state.now))
            })
            .await?
        }
    };
    let word = if paused.changed { "starts nothing any more until `adce resume`; what runs is finished" } else { "was paused already" };
    print(&paused, &format!("{}: {word}", of.words()), format);
    Ok(Exit::Complete)
}

pub async fn resume(args: &ResumeArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    // What the config has lost meanwhile can be resumed all the same.
    let of = if args.all { None } else { Some(named(args.what.as_deref(), &spec)?) };
    let resumed = match ask::engine(&spec)? {
        Some(mut engine) => ask::answered(Client::resume(&mut engine, args.what.as_deref(), args.all))?,
        None => {
            in_the_state(&spec, |state| {
                let of = of.clone().map_or_else(|| state.queue.paused_by_hand().keys().cloned().collect(), |of| vec![of]);
                let changes: Vec<_> = of.iter().flat_map(|of| state.queue.resume(of, state.now)).collect();
                (!changes.is_empty(), changes)
            })
            .await?
        }
    };
    let what = of.map_or_else(|| "all".into(), |of| of.words());
    print(&resumed, &format!("{what}: {}", if resumed.changed { "goes on" } else { "was not paused by hand" }), format);
    Ok(Exit::Complete)
}

fn named(what: Option<&str>, spec: &Spec) -> Result<PauseOf, Failure> {
    let Some(what) = what else { return Ok(PauseOf::Everything) };
    PauseOf::named(what, spec).map_err(|message| Failure::new(Exit::Usage, message).hint("`adce status` names sources and datasets"))
}

/// Nobody runs: the state is taken for a moment and written.
async fn in_the_state(
    spec: &Arc<Spec>,
    change: impl FnOnce(&mut IdleState) -> (bool, Vec<adce_core::record::Change>),
) -> Result<Paused, Failure> {
    let Some(mut state) = IdleState::take(spec).await? else {
        return Err(
            Failure::new(Exit::Unreachable, "there is no state yet that could remember it").hint("`adce up` or `adce run` makes one")
        );
    };
    let (changed, changes) = change(&mut state);
    let paused = views::paused(state.queue.paused());
    state.write(changes).await?;
    Ok(Paused { changed, paused })
}

fn print(paused: &Paused, text: &str, format: Format) {
    match format {
        Format::Json => say!("{}", serde_json::to_string(paused).unwrap_or_default()),
        Format::Text => {
            say!("{text}");
            for line in &paused.paused {
                say!("  {}", views::paused_words(line));
            }
        }
    }
}
