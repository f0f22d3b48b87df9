//! `adce accept`: a person says that a held surprise is right.

use std::sync::Arc;

use adce_api::Accepted;
use adce_core::record::Change;
use adce_core::spec::Spec;

use crate::cli::Format;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wiring;

pub async fn run(spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let accepted = match ask::engine(&spec)? {
        Some(mut engine) => ask::answered(engine.accept())?,
        None => without_engine(&spec).await?,
    };
    match format {
        Format::Json => println!("{}", serde_json::to_string(&accepted).unwrap_or_default()),
        Format::Text if accepted.surprises.is_empty() => println!("nothing is held"),
        Format::Text => {
            accepted.surprises.iter().for_each(|surprise| println!("accepted: {surprise}"));
            println!("it is in force from the next cycle on, if that shows the same");
        }
    }
    Ok(Exit::Complete)
}

/// Nobody runs: the state is taken for a moment and written.
async fn without_engine(spec: &Arc<Spec>) -> Result<Accepted, Failure> {
    let nothing = ask::state(spec)?.map(|state| state.remembered()).transpose()?.is_none_or(|remembered| remembered.held.is_none());
    if nothing {
        return Ok(Accepted::default());
    }
    let lake = adce_lake::open(&spec.lake)?;
    let store = wiring::take_state(spec, &*lake).await?;
    let Some(mut held) = store.load().await?.held else { return Ok(Accepted::default()) };
    held.accepted = true;
    let surprises = held.surprises.clone();
    store.apply(vec![Change::PutHeldPicture(Some(held))]).await?;
    Ok(Accepted { surprises })
}
