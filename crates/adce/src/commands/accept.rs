//! `adce accept`: a person says that a held surprise is right, or that a contested object may be fetched once more.

use std::sync::Arc;

use adce_api::Accepted;
use adce_core::gap::{Progress, Standing};
use adce_core::ports::Store;
use adce_core::record::Change;
use adce_core::spec::Spec;
use clap::Args;

use crate::cli::Format;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wiring;

#[derive(Args, Debug)]
pub struct AcceptArgs {
    /// Of a contested object: it may be fetched again. Without it, held surprises are accepted.
    pub key: Option<String>,
}

pub async fn run(args: &AcceptArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let accepted = match (ask::engine(&spec)?, &args.key) {
        (Some(mut engine), key) => ask::answered(engine.accept(key.as_deref()))?,
        (None, None) => surprises(&spec).await?,
        (None, Some(key)) => contested(&spec, key).await?,
    };
    match format {
        Format::Json => println!("{}", serde_json::to_string(&accepted).unwrap_or_default()),
        Format::Text => print(&accepted),
    }
    Ok(Exit::Complete)
}

fn print(accepted: &Accepted) {
    accepted.released.iter().for_each(|key| println!("released: {key} may be fetched again"));
    if !accepted.surprises.is_empty() {
        accepted.surprises.iter().for_each(|surprise| println!("accepted: {surprise}"));
        println!("it is in force from the next cycle on, if that shows the same");
    } else if accepted.released.is_empty() {
        println!("nothing is held");
    }
}

/// Nobody runs: the state is taken for a moment and written.
async fn surprises(spec: &Arc<Spec>) -> Result<Accepted, Failure> {
    let nothing = ask::state(spec)?.map(|state| state.remembered()).transpose()?.is_none_or(|remembered| remembered.held.is_none());
    if nothing {
        return Ok(Accepted::default());
    }
    let store = take_state(spec).await?;
    let Some(mut held) = store.load().await?.held else { return Ok(Accepted::default()) };
    held.accepted = true;
    let surprises = held.surprises.clone();
    store.apply(vec![Change::PutHeldPicture(Some(held))]).await?;
    Ok(Accepted { surprises, ..Accepted::default() })
}

async fn contested(spec: &Arc<Spec>, key: &str) -> Result<Accepted, Failure> {
    if ask::state(spec)?.is_none() {
        return Err(Failure::new(Exit::Usage, not_contested(key)));
    }
    let store = take_state(spec).await?;
    let mut remembered = store.load().await?;
    let is_it = |gap: &adce_core::gap::Gap| gap.key == key && gap.progress.standing == Standing::Contested;
    let Some(mut gap) = remembered.gaps.into_iter().find(is_it) else {
        return Err(Failure::new(Exit::Usage, not_contested(key)));
    };
    let mut record = remembered.items.remove(&gap.item()).unwrap_or_default();
    record.release();
    gap.progress = Progress::default();
    store.apply(vec![Change::PutItem(gap.item(), record), Change::PutGap(gap)]).await?;
    Ok(Accepted { released: vec![key.to_owned()], ..Accepted::default() })
}

async fn take_state(spec: &Arc<Spec>) -> Result<Arc<dyn Store>, Failure> {
    let lake = adce_lake::open(&spec.lake)?;
    wiring::take_state(spec, &*lake).await
}

pub fn not_contested(key: &str) -> String {
    format!("`{key}` is no key of a contested object; `adce gaps --state held` names what is held")
}
