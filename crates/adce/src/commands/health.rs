//! `adce health`: is the engine well? For monitors and scripts; `adce status` is for people.

use adce_api::{Client, HealthReport, HealthWord};
use adce_core::spec::Spec;

use crate::cli::Format;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;

pub fn run(spec: &Spec, format: Format) -> Result<Exit, Failure> {
    let Some(mut engine) = ask::engine(spec)? else {
        return Err(Failure::new(Exit::Unreachable, "no engine runs").hint("`adce start` starts one in the background"));
    };
    let health = HealthReport::of(&ask::answered(Client::status(&mut engine))?);
    match format {
        Format::Json => say!("{}", serde_json::to_string(&health).unwrap_or_default()),
        Format::Text => {
            say!("{}{}", health.status.word(), if health.complete { ", complete" } else { ", not complete" });
            health.reasons.iter().for_each(|reason| say!("  {} {}: {}", reason.status.word(), reason.what, reason.text));
        }
    }
    Ok(match health.status {
        HealthWord::Healthy => Exit::Complete,
        HealthWord::Degraded => Exit::GapsRemain,
        HealthWord::Unhealthy => Exit::Unfinished,
    })
}
