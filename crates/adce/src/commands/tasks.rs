//! `adce tasks`: what is queued and runs, best first; `adce tasks show ID`: one task's story.

use std::sync::Arc;

use adce_api::{Client, TaskDetail, TaskLine};
use adce_core::figures::{grouped, progress};
use adce_core::gap::Outcome;
use adce_core::ids::TaskId;
use adce_core::ports::{Clock, Progress};
use adce_core::spec::Spec;
use clap::{Args, Subcommand};
use console::style;

use crate::cli::Format;
use crate::clock::MachineClock;
use crate::commands::ask;
use crate::control;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::survey::Survey;
use crate::views;

#[derive(Args, Debug)]
pub struct TasksArgs {
    #[command(subcommand)]
    pub what: Option<Which>,

    /// All of them, however many there are.
    #[arg(long)]
    pub all: bool,
}

#[derive(Subcommand, Debug)]
pub enum Which {
    /// One task: its items, its attempts, what each came to.
    #[command(after_help = "Examples:\n  adce tasks show t_eb3c5de456ab0c8c04c655b446\n\n`adce tasks` lists ids.")]
    Show { id: String },
}

/// Lines of a list that a person still reads.
const SHOWN: usize = 50;

pub async fn run(args: &TasksArgs, spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    match &args.what {
        Some(Which::Show { id }) => {
            let id = id.parse().map_err(|error| Failure::new(Exit::Usage, format!("{error}")).hint("`adce tasks` lists ids"))?;
            print_detail(&story(id, spec).await?, format);
        }
        None => print_list(&list(spec).await?, args.all, format),
    }
    Ok(Exit::Complete)
}

async fn list(spec: Arc<Spec>) -> Result<Vec<TaskLine>, Failure> {
    let mut lines = Vec::new();
    match ask::engine(&spec)? {
        Some(mut engine) => ask::answered(Client::tasks(&mut engine, |line| lines.push(line)))?,
        None => {
            let survey = Survey::of(spec).await?;
            let now = survey.now;
            let tasks = survey.dispatcher.tasks().into_iter();
            lines.extend(tasks.map(|task| {
                let score = survey.dispatcher.score(task.id, now).map_or(0.0, |score| score.total as f64 / 1e6);
                views::remembered_task(&task, score, now.wall)
            }));
        }
    }
    lines.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.detected_at.cmp(&b.detected_at)).then_with(|| a.key.cmp(&b.key)));
    Ok(lines)
}

async fn story(id: TaskId, spec: Arc<Spec>) -> Result<TaskDetail, Failure> {
    if let Some(mut engine) = ask::engine(&spec)? {
        return ask::answered(engine.task(id));
    }
    let unknown = || Failure::new(Exit::Usage, format!("no task `{id}` is known")).hint("`adce tasks` lists the ones that are queued");
    let Some(state) = ask::state(&spec)? else { return Err(unknown()) };
    let history = state.history(id)?;
    let remembered = state.remembered()?;
    let now = MachineClock.now().wall;
    let task = remembered.tasks.iter().find(|task| task.id == id);
    if task.is_none() && history.attempts.is_empty() && history.events.is_empty() {
        return Err(unknown());
    }
    let gaps = remembered.gaps.iter().filter(|gap| task.is_some_and(|task| task.gaps.contains(&gap.id)));
    let gaps = gaps.map(|gap| views::remembered_gap(gap, remembered.items.get(&gap.item()), task, now)).collect();
    Ok(control::detail(task.map(|task| views::remembered_task(task, 0.0, now)), gaps, history))
}

fn print_list(lines: &[TaskLine], all: bool, format: Format) {
    if format == Format::Json {
        lines.iter().for_each(|line| println!("{}", serde_json::to_string(line).unwrap_or_default()));
        return;
    }
    if lines.is_empty() {
        println!("no tasks: nothing is to be collected");
        return;
    }
    println!(
        "{}",
        style(format!("{:28}  {:>9}  {:8}  {:>6}  {:8}  {:20}  FIRST KEY", "TASK", "SCORE", "PRIORITY", "ITEMS", "STATE", "COLLECTOR"))
            .dim()
    );
    let shown = if all { lines.len() } else { lines.len().min(SHOWN) };
    for line in &lines[..shown] {
        println!(
            "{:28}  {:>9.1}  {:8}  {:>6}  {:8}  {:20}  {}",
            line.id.to_string(),
            line.score,
            line.priority.word(),
            grouped(line.items.into()),
            line.state.word(),
            line.collector,
            what(line)
        );
    }
    if shown < lines.len() {
        println!("… and {} more; `--all` shows them", grouped((lines.len() - shown) as u64));
    }
}

/// Its first key, and how far it is if it runs.
fn what(line: &TaskLine) -> String {
    match line.progress {
        Some(Progress { done, of }) => format!("{}  {}", line.key, progress(done, of)),
        None => line.key.clone(),
    }
}

fn print_detail(detail: &TaskDetail, format: Format) {
    if format == Format::Json {
        println!("{}", serde_json::to_string(detail).unwrap_or_default());
        return;
    }
    match &detail.task {
        Some(task) => println!(
            "{}  {} · {} · {} items · {}",
            style(task.id).bold(),
            task.collector,
            task.priority.word(),
            task.items,
            task.state.word()
        ),
        None => println!("the task is done; this is its story"),
    }
    for gap in detail.gaps.iter().take(SHOWN) {
        let error = gap.last_error.as_ref().map(|error| format!(" · {error}")).unwrap_or_default();
        println!("  {} {} · {} · {} attempts{error}", gap.key, gap.reason.word(), gap.state.word(), gap.attempts);
    }
    for attempt in &detail.attempts {
        let took = attempt.ended_at.duration_since(attempt.started_at).as_secs_f64();
        println!(
            "{}  {}: {} after {took:.1} s, {} requests",
            attempt.started_at.strftime("%Y-%m-%d %H:%M:%S"),
            attempt.attempt,
            attempt.ended,
            attempt.requests
        );
        outcomes(attempt).iter().for_each(|line| println!("    {line}"));
        attempt.log_tail.lines().rev().take(10).collect::<Vec<_>>().iter().rev().for_each(|line| println!("    │ {}", time_alone(line)));
        if let Some(log) = &attempt.log {
            println!("    log: {log}");
        }
    }
    detail.events.iter().for_each(|event| println!("{}  {}", event.at.strftime("%Y-%m-%d %H:%M:%S"), event.text));
}

/// A line of a log without its day and its zone: those stand above it.
fn time_alone(line: &str) -> String {
    match line.split_once(' ') {
        Some((at, rest)) if at.parse::<adce_core::time::Timestamp>().is_ok() => {
            let time = at.split_once('T').map_or(at, |(_, time)| time);
            format!("{} {rest}", time.trim_end_matches('Z'))
        }
        _ => line.to_owned(),
    }
}

/// What came of the items, equal ones together.
fn outcomes(attempt: &adce_api::AttemptLine) -> Vec<String> {
    let mut kinds: indexmap::IndexMap<String, u64> = indexmap::IndexMap::new();
    for line in &attempt.outcomes {
        let kind = match &line.outcome {
            Outcome::Done { .. } => "done".into(),
            Outcome::Unchanged => "unchanged".into(),
            Outcome::Absent => "absent upstream".into(),
            Outcome::Split => "split into tasks of one".into(),
            Outcome::Failed(failure) => format!("failed: {}", failure.message),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds.into_iter().map(|(kind, count)| if count == 1 { kind } else { format!("{} × {kind}", grouped(count)) }).collect()
}
