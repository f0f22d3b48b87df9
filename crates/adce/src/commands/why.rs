//! `adce why KEY|TASK|DATASET`: the first gate that holds it; of a key also whose it is and what was seen of it.

use std::sync::Arc;

use adce_core::spec::Spec;
use clap::Args;
use console::style;

use crate::cli::Format;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::survey::Survey;
use crate::views;

#[derive(Args, Debug)]
pub struct WhyArgs {
    /// A key, a task id, or the name of a dataset.
    pub what: String,
}

pub async fn run(args: &WhyArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let why = match ask::engine(&spec)? {
        Some(mut engine) => ask::answered(engine.why(&args.what))?,
        None => {
            let survey = Survey::with_sights(spec).await?;
            let (why, about) = survey.why(&args.what);
            views::why(&args.what, &why, about, survey.now)
        }
    };
    match format {
        Format::Json => say!("{}", serde_json::to_string(&why).unwrap_or_default()),
        Format::Text => {
            say!("{}", style(&why.answer).bold());
            why.facts.iter().for_each(|fact| say!("  {fact}"));
            why.next.iter().for_each(|next| say!("  → {next}"));
        }
    }
    Ok(Exit::Complete)
}
