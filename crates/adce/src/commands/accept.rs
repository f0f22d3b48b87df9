//! `adce accept`: a person says that a held surprise is right, or that contested objects may be fetched once more.

use std::sync::Arc;

use adce_api::Accepted;
use adce_core::queue::Meant;
use adce_core::record::Change;
use adce_core::spec::Spec;
use clap::Args;

use crate::cli::Format;
use crate::commands::ask;
use crate::commands::idle::IdleState;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::views;

#[derive(Args, Debug)]
pub struct AcceptArgs {
    /// A key, a task or a dataset: its contested objects may be fetched again. Without it, held surprises are accepted.
    pub what: Option<String>,
}

pub async fn run(args: &AcceptArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let accepted = match (ask::engine(&spec)?, &args.what) {
        (Some(mut engine), what) => ask::answered(engine.accept(what.as_deref()))?,
        (None, None) => surprises(&spec).await?,
        (None, Some(what)) => contested(&spec, what).await?,
    };
    match format {
        Format::Json => say!("{}", serde_json::to_string(&accepted).unwrap_or_default()),
        Format::Text => print(&accepted),
    }
    Ok(Exit::Complete)
}

fn print(accepted: &Accepted) {
    accepted.released.iter().for_each(|key| say!("released: {key} may be fetched again"));
    if !accepted.surprises.is_empty() {
        accepted.surprises.iter().for_each(|surprise| say!("accepted: {surprise}"));
        say!("it is in force from the next cycle on, if that shows the same");
    } else if accepted.released.is_empty() {
        say!("nothing is held");
    }
}

/// Nobody runs: the state is taken for a moment and written.
async fn surprises(spec: &Arc<Spec>) -> Result<Accepted, Failure> {
    let nothing = ask::state(spec)?.map(|state| state.remembered()).transpose()?.is_none_or(|remembered| remembered.held.is_none());
    if nothing {
        return Ok(Accepted::default());
    }
    let Some(mut state) = IdleState::take(spec).await? else { return Ok(Accepted::default()) };
    let Some(mut held) = state.rest.held.take() else { return Ok(Accepted::default()) };
    held.accepted = true;
    let surprises = held.surprises.clone();
    state.write(vec![Change::PutHeldPicture(Some(held))]).await?;
    Ok(Accepted { surprises, ..Accepted::default() })
}

async fn contested(spec: &Arc<Spec>, what: &str) -> Result<Accepted, Failure> {
    let not_contested = || Failure::new(Exit::Usage, not_contested(what));
    let Some(mut state) = IdleState::take(spec).await? else { return Err(not_contested()) };
    match state.queue.release(Meant::Named(what), &mut state.rest.items, state.now) {
        Some((released, changes)) if !released.is_empty() => {
            state.write(changes).await?;
            Ok(views::released(released))
        }
        _ => Err(not_contested()),
    }
}

pub fn not_contested(what: &str) -> String {
    format!("no object of `{what}` is contested; `adce gaps --state held` names what is held")
}
