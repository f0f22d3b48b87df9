//! `adce retry`: a person does not want to wait until an exhausted or waiting gap's time has come.

use std::collections::HashSet;
use std::sync::Arc;

use adce_api::RetryLine;
use adce_core::coverage::Selection;
use adce_core::figures::{counted, grouped};
use adce_core::gap::GapState;
use adce_core::queue::{Asked, Meant};
use adce_core::spec::Spec;
use adce_core::time::Timestamp;
use clap::Args;

use crate::cli::Format;
use crate::commands::idle::IdleState;
use crate::commands::{ask, gaps};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::views;

#[derive(Args, Debug)]
pub struct RetryArgs {
    /// A key, a task's id, or a dataset's name.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub what: Option<String>,

    /// Everything that waits for a retry or is exhausted.
    #[arg(long)]
    pub all: bool,
}

/// Lines of a list that a person still reads.
const SHOWN: usize = 50;

pub async fn run(args: &RetryArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let what = args.what.as_deref();
    let (lines, runs) = match ask::engine(&spec)? {
        Some(mut engine) => {
            let mut lines = Vec::new();
            ask::answered(engine.retry(what, |line| lines.push(line)))?;
            (lines, true)
        }
        None => (in_the_state(&spec, what).await?, false),
    };
    match format {
        Format::Json => lines.iter().for_each(|line| say!("{}", serde_json::to_string(line).unwrap_or_default())),
        Format::Text => print(&lines, runs),
    }
    Ok(Exit::Complete)
}

/// Nobody runs: the state is taken for a moment and written.
async fn in_the_state(spec: &Arc<Spec>, what: Option<&str>) -> Result<Vec<RetryLine>, Failure> {
    let unknown = |what: &str| Failure::new(Exit::Usage, no_such_thing(what));
    let Some(mut state) = IdleState::take(spec).await? else { return what.map_or(Ok(Vec::new()), |what| Err(unknown(what))) };
    let Some((asked, changes)) = state.queue.retry(what.map_or(Meant::All, Meant::Named), state.now) else {
        return Err(unknown(what.unwrap_or_default()));
    };
    let older = older_than_baseline(spec, &asked, state.now.wall)?;
    state.write(changes).await?;
    let mut lines = views::retry_lines(asked);
    for line in lines.iter_mut().filter(|line| older.contains(&line.key)) {
        line.retried = false;
        line.why_not = Some("its item is older than the config's `baseline`; `adce run --select …` that means it collects it".into());
    }
    Ok(lines)
}

/// Keys of gaps that the next run leaves alone, whatever their time is.
fn older_than_baseline(spec: &Arc<Spec>, asked: &[Asked], now: Timestamp) -> Result<HashSet<String>, Failure> {
    let Some(baseline) = spec.baseline else { return Ok(HashSet::new()) };
    let (expected, selection) = (gaps::expected(spec, now)?, Selection::not_older_than(baseline));
    let older = asked.iter().filter(|asked| !selection.means(&asked.gap, &expected, now));
    Ok(older.map(|asked| asked.gap.key.clone()).collect())
}

pub fn no_such_thing(what: &str) -> String {
    format!("`{what}` is no key of a gap, no task and no dataset; `adce gaps` names the gaps, `adce tasks` the tasks")
}

fn print(lines: &[RetryLine], runs: bool) {
    let (retried, left): (Vec<&RetryLine>, Vec<&RetryLine>) = lines.iter().partition(|line| line.retried);
    shown(&retried, |line| {
        let was = match (line.was, line.next_try) {
            (GapState::Exhausted, _) => format!("was exhausted after {}, begins anew", counted(line.attempts.into(), "attempt")),
            (_, Some(at)) => format!("would have waited until {}", at.strftime("%Y-%m-%d %H:%M:%S UTC")),
            (_, None) => "waited".into(),
        };
        format!("tried at once: {} ({was})", line.key)
    });
    shown(&left, |line| format!("left alone: {}: {}", line.key, line.why_not.as_deref().unwrap_or_default()));
    match (retried.len(), left.len(), runs) {
        (0, 0, _) => say!("nothing waits for a retry; `adce why KEY` says what holds a gap"),
        (0, ..) => {}
        (_, _, true) => say!("the engine tries them as limits and slots allow"),
        (_, _, false) => say!("no engine runs: the next `adce run` tries them"),
    }
}

fn shown(lines: &[&RetryLine], words: impl Fn(&RetryLine) -> String) {
    lines.iter().take(SHOWN).for_each(|line| say!("{}", words(line)));
    if lines.len() > SHOWN {
        say!("… and {} more", grouped((lines.len() - SHOWN) as u64));
    }
}
