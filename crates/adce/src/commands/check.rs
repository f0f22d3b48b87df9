//! `adce check`: everything that is wrong with the config, in one run. It reads the config and its tables, and nothing
//! of the state; of the lake only if it is asked to (`check_lake`).

use std::path::PathBuf;
use std::sync::Arc;

use adce_core::coverage::expand;
use adce_core::figures::grouped;
use adce_core::spec::problem::{Place, Problem};
use adce_core::spec::{Egress, LakeUrl, Loaded, Spec};
use adce_core::time::Timestamp;
use adce_lake::rows::Keeping;
use console::style;
use serde::Serialize;

use crate::cli::{CheckArgs, Format};
use crate::commands::check_lake::{self, LakeReport};
use crate::config::Written;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::problems::{self, ProblemLine};
use crate::wiring::tables;

/// `--format json`: one object.
#[derive(Serialize)]
struct CheckReport<'a> {
    ok: bool,
    errors: usize,
    warnings: usize,
    datasets: Option<usize>,
    items: Option<usize>,
    sources: Option<usize>,
    problems: Vec<ProblemLine<'a>>,
    /// With `--lake`.
    #[serde(skip_serializing_if = "Option::is_none")]
    lake: Option<LakeReport>,
}

pub async fn run(paths: &[PathBuf], args: &CheckArgs, format: Format, now: Timestamp) -> Result<Exit, Failure> {
    let mut loaded = Written::read(paths)?.load();
    let items = expand_draft(&mut loaded, now);
    let unmet = loaded.draft.as_ref().and_then(|spec| cannot_enclose(spec, paths));
    loaded.add(unmet.into_iter().collect());
    let errors = loaded.problems.iter().filter(|problem| problem.is_error()).count();
    let warnings = loaded.problems.len() - errors;
    let spec = loaded.draft.as_ref().filter(|_| errors == 0);
    let lake = match spec.filter(|_| args.lake) {
        Some(spec) => Some(check_lake::of(Arc::new(spec.clone())).await?),
        None => None,
    };
    let is_partial = lake.as_ref().is_some_and(|lake| !lake.not_listed.is_empty());
    match format {
        Format::Json => {
            let report = CheckReport {
                ok: errors == 0,
                errors,
                warnings,
                datasets: spec.map(|spec| spec.datasets.len()),
                items: items.filter(|_| errors == 0),
                sources: spec.map(|spec| spec.sources.len()),
                problems: loaded.problems.iter().map(problems::line).collect(),
                lake,
            };
            say!("{}", serde_json::to_string_pretty(&report).unwrap_or_default());
        }
        Format::Text => {
            problems::print(&loaded.problems, format);
            match spec {
                Some(spec) => say!("{} {}", style("ok").green().bold(), summary(spec, items.unwrap_or(0), warnings)),
                None => say_aside!("{}", style(counted(errors, warnings)).for_stderr().bold()),
            }
            if let Some(lake) = &lake {
                check_lake::print(lake)?;
            }
        }
    }
    Ok(match (errors, is_partial) {
        (0, false) => Exit::Complete,
        (0, true) => Exit::Unfinished,
        _ if Problem::are_away(&loaded.problems) => Exit::Unreachable,
        _ => Exit::Config,
    })
}

/// Commands that are to reach nothing but the gateway, where that cannot be. Another machine may be able to, so the config is right.
fn cannot_enclose(spec: &Spec, paths: &[PathBuf]) -> Option<Problem> {
    let enclosed = spec.collectors.values().filter(|collector| collector.pass.egress == Egress::Gateway);
    let names: Vec<String> = enclosed.map(|collector| format!("`{}`", collector.name)).collect();
    let why = if names.is_empty() { None } else { adce_collect::can_enclose().err() }?;
    let file = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
    let message = format!("{} cannot be started here: {why}", names.join(", "));
    Some(Problem::warning(&Place::whole_file(file), message))
}

/// Adds what only expanding the config shows, and says how many items it expects.
pub fn expand_draft(loaded: &mut Loaded, now: Timestamp) -> Option<usize> {
    let draft = loaded.draft.as_ref()?;
    match expand(draft, &tables(draft, Keeping::InMemory), now) {
        Ok(expected) => {
            loaded.add(expected.warnings().to_vec());
            Some(expected.len())
        }
        Err(problems) => {
            loaded.add(problems);
            None
        }
    }
}

/// `prod · ./lake · 3 datasets, 5,071 items, 2 sources`
fn summary(spec: &Spec, items: usize, warnings: usize) -> String {
    let lake = match &spec.lake {
        LakeUrl::Folder(root) if root.is_dir() => root.display().to_string(),
        // The config may be checked elsewhere than where it runs, so that is no mistake.
        LakeUrl::Folder(root) => format!("{} (no folder yet; adce never creates a lake)", root.display()),
        LakeUrl::S3 { bucket, prefix } => format!("s3://{bucket}/{prefix}"),
    };
    let figures = [number(spec.datasets.len(), "dataset"), number(items, "item"), number(spec.sources.len(), "source")].join(", ");
    let warnings = if warnings == 0 { String::new() } else { format!(" · {}", number(warnings, "warning")) };
    format!("{} · {lake} · {figures}{warnings}", spec.name)
}

fn counted(errors: usize, warnings: usize) -> String {
    let errors = number(errors, "error");
    if warnings == 0 { errors } else { format!("{errors}, {}", number(warnings, "warning")) }
}

fn number(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count as u64))
}
