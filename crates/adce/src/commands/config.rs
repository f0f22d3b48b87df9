//! `adce config show` and `adce diff`: what the config says, where each value comes from, and what of it the running engine does not do yet.

use adce_api::Client;
use adce_core::figures::span;
use adce_core::spec::{Difference, LakeUrl, Setting, Spec, StateUrl, changes};
use clap::{Args, Subcommand};
use console::style;

use crate::cli::Format;
use crate::commands::ask;
use crate::commands::check::expand_draft;
use crate::config::Written;
use crate::exit::Exit;
use crate::failure::Failure;

#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub what: ConfigCommand,
}

#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Every value, after all files and variables are laid on top of each other.
    #[command(after_help = "Examples:\n  adce config show\n  adce config show --origin\n  \
        ADCE_ENGINE__MAX_CONCURRENT=8 adce -c base.yaml -c prod.yaml config show --origin\n\n\
        A variable ADCE_SECTION__KEY lies on top of all files; its value is YAML.")]
    Show(ShowArgs),
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// Where each value comes from: file and line, a variable, or the default.
    #[arg(long)]
    pub origin: bool,
}

pub fn show(args: &ShowArgs, written: &Written, format: Format) -> Result<Exit, Failure> {
    let mut settings = written.settings();
    // What is wrong with it is told, and nothing is shown that nobody may run by.
    let spec = written.spec()?;
    let defaults: Vec<Setting> = defaults(&spec).into_iter().filter(|default| !is_set(&settings, &default.key)).collect();
    settings.extend(defaults);
    match format {
        Format::Json => say!("{}", serde_json::to_string(&settings).unwrap_or_default()),
        Format::Text => {
            let wide = settings.iter().map(|setting| setting.key.len() + setting.value.len() + 3).max().unwrap_or(0).min(72);
            for Setting { key, value, origin } in &settings {
                let text = format!("{key} = {value}");
                match args.origin {
                    true => say!("{text:wide$}  {}", style(origin).dim()),
                    false => say!("{text}"),
                }
            }
        }
    }
    Ok(Exit::Complete)
}

fn is_set(settings: &[Setting], key: &str) -> bool {
    settings.iter().any(|setting| setting.key == key || setting.key.starts_with(&format!("{key}.")))
}

/// Those that everybody asks for.
fn defaults(spec: &Spec) -> Vec<Setting> {
    let lake = match &spec.lake {
        LakeUrl::Folder(folder) => folder.display().to_string(),
        LakeUrl::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
    };
    let StateUrl::Sqlite(state) = &spec.state;
    let engine = &spec.engine;
    let known = [
        ("name", spec.name.clone()),
        ("lake", lake),
        ("state", format!("sqlite:{}", state.display())),
        ("engine.max_concurrent", engine.max_concurrent.to_string()),
        ("engine.reconcile_every", span(engine.reconcile_every)),
        ("engine.drain", span(engine.drain)),
        ("priority_weighting.enabled", spec.weighting.enabled.to_string()),
    ];
    let setting = |(key, value): (&str, String)| Setting { key: key.into(), value, origin: "default".into() };
    known.into_iter().map(setting).collect()
}

/// Exit code 2: something differs.
pub fn diff(written: &Written, spec: &Spec, format: Format) -> Result<Exit, Failure> {
    let Some(mut engine) = ask::engine(spec)? else {
        return Err(Failure::new(Exit::Unreachable, "no engine runs that could work by another config")
            .hint("`adce config show` shows what this one says"));
    };
    let runs = ask::answered(Client::config(&mut engine))?;
    let mut loaded = written.load();
    expand_draft(&mut loaded, adce_core::time::Timestamp::now());
    let differences = changes(&runs.settings, &written.settings());
    match format {
        Format::Json => say!("{}", serde_json::to_string(&differences).unwrap_or_default()),
        Format::Text => {
            differences.iter().for_each(|difference| say!("{}", line(difference)));
            runs.at_next_start.iter().for_each(|part| say!("{} {part}: applies at the next start", style("·").dim()));
            if differences.is_empty() && runs.at_next_start.is_empty() {
                say!("the running engine works by this config");
            }
        }
    }
    // What is wrong with it is why none of it is in force.
    loaded.spec().map_err(Failure::Config)?;
    Ok(if differences.is_empty() && runs.at_next_start.is_empty() { Exit::Complete } else { Exit::GapsRemain })
}

fn line(difference: &Difference) -> String {
    let Difference { key, before, after } = difference;
    match (before, after) {
        (Some(before), Some(after)) => format!("{} {key}: {before} → {after}", style("~").yellow()),
        (None, Some(after)) => format!("{} {key}: {after}", style("+").green()),
        (Some(before), None) => format!("{} {key}: {before}", style("-").red()),
        (None, None) => key.clone(),
    }
}
