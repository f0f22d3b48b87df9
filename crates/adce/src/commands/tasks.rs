//! `adce tasks`: what is queued and runs, best first; `adce tasks show ID`: one task's story.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use adce_api::{AttemptLine, AttemptTraffic, Client, GapLine, StoryLine, TaskDetail, TaskLine, Traffic, WaitedLine};
use adce_core::figures::{counted, grouped, progress, span};
use adce_core::gap::{Gap, GapState, Outcome};
use adce_core::ids::{GapId, ItemId, TaskId};
use adce_core::ports::{Clock, Progress};
use adce_core::spec::Spec;
use adce_core::time::{Moment, Timestamp};
use clap::{Args, Subcommand};
use console::style;
use indexmap::IndexMap;

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
        None => {
            let (lines, held) = list(spec).await?;
            print_list(&lines, held, args.all, format);
        }
    }
    Ok(Exit::Complete)
}

/// And how many gaps have no task because a surprise holds them.
async fn list(spec: Arc<Spec>) -> Result<(Vec<TaskLine>, u64), Failure> {
    let (mut lines, mut held) = (Vec::new(), 0);
    match ask::engine(&spec)? {
        Some(mut engine) => ask::answered(Client::tasks(&mut engine, |line| lines.push(line)))?,
        None => {
            let survey = Survey::of(spec).await?;
            let now = survey.now;
            held = survey.held_back.len() as u64;
            let tasks = survey.dispatcher.tasks().into_iter();
            lines.extend(tasks.map(|task| {
                let score = survey.dispatcher.score(task.id, now).map_or(0.0, |score| score.total as f64 / 1e6);
                let gate = survey.dispatcher.why_task(task.id, now);
                views::known_task(&task, score, views::task_state(gate.as_ref()))
            }));
        }
    }
    lines.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.detected_at.cmp(&b.detected_at)).then_with(|| a.key.cmp(&b.key)));
    Ok((lines, held))
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
    let gaps: Vec<&Gap> = remembered.gaps.iter().filter(|gap| task.is_some_and(|task| task.gaps.contains(&gap.id))).collect();
    let line = task.map(|task| views::remembered_task(task, gaps.iter().copied(), now));
    let shut = task.and_then(|task| views::remembered_shut(&remembered, &spec, task, now));
    let gaps = gaps.into_iter().map(|gap| {
        let line = views::remembered_gap(gap, remembered.items.get(&gap.item()), task, now);
        GapLine { next_try: line.next_try.max(shut), ..line }
    });
    let gaps: Vec<GapLine> = gaps.collect();
    let lease = remembered.leases.iter().find(|lease| lease.task == id);
    let held_by = lease.map(|lease| views::held_by_lease(lease, &Moment::of(&MachineClock.boot_id(), MachineClock.now())));
    let held_by = held_by.or_else(|| task.is_some().then(|| without_engine(&gaps, now)));
    Ok(control::detail(id, line, held_by, gaps, history))
}

/// What a task waits for while nobody works.
fn without_engine(gaps: &[GapLine], now: Timestamp) -> String {
    match gaps.iter().filter_map(|gap| gap.next_try).max().filter(|next| *next > now) {
        Some(next) => format!("no engine runs, and it is not tried before {}", clock(next)),
        None => "no engine runs; `adce run` tries it in its turn".into(),
    }
}

fn print_list(lines: &[TaskLine], held: u64, all: bool, format: Format) {
    if format == Format::Json {
        lines.iter().for_each(|line| say!("{}", serde_json::to_string(line).unwrap_or_default()));
        return;
    }
    if held > 0 {
        say!("a surprise holds {}: `adce gaps` names them, `adce accept` lets them be collected", counted(held, "gap"));
    }
    if lines.is_empty() {
        if held == 0 {
            say!("no tasks: nothing is to be collected");
        }
        return;
    }
    say!(
        "{}",
        style(format!("{:28}  {:>9}  {:8}  {:>6}  {:8}  {:20}  FIRST KEY", "TASK", "SCORE", "PRIORITY", "ITEMS", "STATE", "COLLECTOR"))
            .dim()
    );
    let shown = if all { lines.len() } else { lines.len().min(SHOWN) };
    for line in &lines[..shown] {
        say!(
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
        say!("… and {} more; `--all` shows them", grouped((lines.len() - shown) as u64));
    }
}

/// Its first key, and how far it is if it runs, or when it is revived.
fn what(line: &TaskLine) -> String {
    match (line.progress, line.next_try) {
        (Some(Progress { done, of }), _) => format!("{}  {}", line.key, progress(done, of)),
        (None, Some(at)) if line.state == GapState::Exhausted => format!("{}  revived {}", line.key, clock(at)),
        (None, _) => line.key.clone(),
    }
}

fn print_detail(detail: &TaskDetail, format: Format) {
    if format == Format::Json {
        say!("{}", serde_json::to_string(detail).unwrap_or_default());
        return;
    }
    match &detail.task {
        Some(task) => say!(
            "{}  {} · {} · {} · {}",
            style(task.id).bold(),
            task.collector,
            task.priority.word(),
            counted(task.items as u64, "item"),
            task.state.word()
        ),
        None => say!("the task is done; this is its story"),
    }
    for gap in detail.gaps.iter().take(SHOWN) {
        let error = gap.last_error.as_ref().map(|error| format!(" · {error}")).unwrap_or_default();
        let tries =
            if gap.tries > gap.attempts { format!(" ({} with those that cost none)", grouped(gap.tries.into())) } else { String::new() };
        let attempts = counted(gap.attempts.into(), "attempt");
        let revived = gap.next_try.filter(|_| gap.state == GapState::Exhausted).map(|at| format!(", revived {}", clock(at)));
        let state = format!("{}{}", gap.state.word(), revived.unwrap_or_default());
        say!("  {} {} · {state} · {attempts}{tries}{error}", gap.key, gap.reason.word());
    }
    if let Some(held_by) = &detail.held_by {
        say!("now: {held_by}");
    }
    waits(&detail.waits, detail.better).into_iter().for_each(|line| say!("  {line}"));
    let tried = detail.gaps.iter().map(|gap| u64::from(gap.attempts)).max().unwrap_or_default();
    if let Some(pruned) = tried.checked_sub(detail.attempts.len() as u64).filter(|pruned| *pruned > 0) {
        say!("{} and more may be in the history no longer: `engine: {{ history }}` says how long it is kept", counted(pruned, "attempt"));
    }
    story_of(detail).into_iter().flat_map(|(_, lines)| lines).for_each(|line| say!("{line}"));
}

fn clock(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Everything that happened, oldest first, each with its time.
fn story_of(detail: &TaskDetail) -> Vec<(Timestamp, Vec<String>)> {
    let mut keys: HashMap<GapId, &str> = HashMap::new();
    // Seen by its gaps: those that are open, and those of its attempts.
    let mut seen: BTreeMap<Timestamp, IndexMap<(ItemId, &str), ()>> = BTreeMap::new();
    for item in detail.attempts.iter().filter_map(|attempt| attempt.story.as_ref()).flat_map(|story| &story.items) {
        keys.insert(item.gap, &item.key);
        seen.entry(item.detected_at).or_default().entry((item.gap.item, item.reason.word())).or_default();
    }
    for gap in &detail.gaps {
        seen.entry(gap.detected_at).or_default().entry((gap.item, gap.reason.word())).or_default();
    }
    let mut story: Vec<(Timestamp, Vec<String>)> = Vec::new();
    for (at, items) in seen {
        let mut reasons: IndexMap<&str, u64> = IndexMap::new();
        items.keys().for_each(|(_, reason)| *reasons.entry(*reason).or_default() += 1);
        let reasons: Vec<String> = reasons.into_iter().map(|(reason, count)| format!("{} {reason}", grouped(count))).collect();
        story.push((at, vec![format!("{}  seen first: {}", clock(at), reasons.join(", "))]));
    }
    story.extend(detail.attempts.iter().map(|attempt| (attempt.started_at, told(attempt))));
    story.extend(detail.events.iter().map(|event| {
        let key = event.gap.and_then(|gap| keys.get(&gap)).filter(|key| !event.text.contains(**key));
        let whose = key.map(|key| format!("{key}: ")).unwrap_or_default();
        (event.at, vec![format!("{}  {whose}{}", clock(event.at), event.text)])
    }));
    story.sort_by_key(|(at, _)| *at);
    story
}

/// One attempt: how it came to start, how it ended, and what became of its items.
fn told(attempt: &AttemptLine) -> Vec<String> {
    let took = attempt.ended_at.duration_since(attempt.started_at).as_secs_f64();
    let requests = counted(attempt.requests, "request");
    let ended = match attempt.cut_short {
        true => format!("cut short: its engine was killed, and the next one came {} after its start", precisely(took)),
        // It was told to end after the one time, and had gone after the other: it is killed only if it does not go by itself.
        false if attempt.ended.contains(" after ") => format!("{}, gone after {took:.1} s, {requests}", attempt.ended),
        false => format!("{} after {took:.1} s, {requests}", attempt.ended),
    };
    let of = attempt.of.map(|task| format!(" of {task}, which had it then")).unwrap_or_default();
    let mut lines = vec![format!("{}  attempt {}{of}: {ended}", clock(attempt.started_at), attempt.attempt)];
    if let Some(story) = &attempt.story {
        let of = counted(story.ready, "ready task");
        lines.push(format!("    score {:.1}, rank {} of {of}", story.score, story.rank));
        lines.extend(waits(&story.waits, story.better).into_iter().map(|line| format!("    {line}")));
        let revived = story.items.iter().filter(|item| item.revived).count() as u64;
        if revived > 0 {
            lines.push(format!("    revived: {} had been exhausted", counted(revived, "item")));
        }
    }
    lines.extend(attempt.traffic.iter().flat_map(passed).map(|line| format!("    {line}")));
    lines.extend(outcomes(attempt).into_iter().map(|line| format!("    {line}")));
    lines.extend(attempt.story.iter().flat_map(left).map(|line| format!("    {line}")));
    let tail: Vec<&str> = attempt.log_tail.lines().collect();
    lines.extend(tail[tail.len().saturating_sub(10)..].iter().map(|line| format!("    │ {}", time_alone(line))));
    lines.extend(attempt.log.iter().map(|log| format!("    log: {log}")));
    lines
}

/// What an attempt sent through adce, and to whom that nobody declared.
fn passed(attempt: &AttemptTraffic) -> Vec<String> {
    let mut lines = Vec::new();
    if attempt.traffic != Traffic::default() {
        lines.push(format!("through adce: {}", views::traffic_words(&attempt.traffic)));
    }
    if !attempt.uncovered.is_empty() {
        let named = attempt.uncovered.iter().map(|host| match (host.passed, host.refused) {
            (passed, 0) => format!("{} {}", host.host, grouped(passed)),
            (0, refused) => format!("{} {} refused", host.host, grouped(refused)),
            (passed, refused) => format!("{} {}, {} refused", host.host, grouped(passed), grouped(refused)),
        });
        let others = (attempt.uncovered_others > 0).then(|| format!("{} to others", grouped(attempt.uncovered_others)));
        lines.push(format!("no source declares: {}", named.chain(others).collect::<Vec<_>>().join(", ")));
    }
    lines
}

/// What it waited for, a line for each; moments are left to the JSON.
fn waits(waits: &[WaitedLine], better: u64) -> Vec<String> {
    let of = |waited: &WaitedLine| {
        let times = if waited.times > 1 { format!(", {} times", grouped(waited.times.into())) } else { String::new() };
        format!("waited {} for {}{times}", precisely(waited.seconds), waited.reason)
    };
    let turn = (better > 0).then(|| format!("waited its turn: {} started first", counted(better, "better task")));
    waits.iter().filter(|waited| waited.seconds >= 0.05).map(of).chain(turn).collect()
}

/// Tenths of a second where they matter.
fn precisely(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.1} s"),
        _ => span(Duration::from_secs_f64(seconds.min(1e12))),
    }
}

/// What is left open, items that wait for the same together.
fn left(story: &StoryLine) -> Vec<String> {
    let mut kinds: IndexMap<String, Vec<&str>> = IndexMap::new();
    for item in &story.items {
        let Some(state) = item.state else { continue };
        let next = item.next_try.map(|at| format!(" {}", clock(at)));
        let what = match (state, next) {
            (GapState::Exhausted, next) => format!("exhausted, revived{}", next.unwrap_or_default()),
            (GapState::Held, next) => format!("held until{}", next.unwrap_or_default()),
            (_, Some(next)) => format!("tried again{next}"),
            (_, None) => "tried again at once".into(),
        };
        let task = item.task.map(|task| format!(" by {task}")).unwrap_or_default();
        kinds.entry(what + &task).or_default().push(&item.key);
    }
    let line = |(what, keys): (String, Vec<&str>)| match keys[..] {
        [key] => format!("{key}: {what}"),
        _ => format!("{}: {what}", counted(keys.len() as u64, "item")),
    };
    kinds.into_iter().map(line).collect()
}

/// A line of a log without its day and its zone: those stand above it; and without what would move the cursor.
fn time_alone(line: &str) -> String {
    let line: String = line.chars().filter(|letter| !letter.is_control() || *letter == '\t').collect();
    match line.split_once(' ') {
        Some((at, rest)) if at.parse::<adce_core::time::Timestamp>().is_ok() => {
            let time = at.split_once('T').map_or(at, |(_, time)| time);
            format!("{} {rest}", time.trim_end_matches('Z'))
        }
        _ => line,
    }
}

/// What came of the items, equal ones together.
fn outcomes(attempt: &AttemptLine) -> Vec<String> {
    let mut kinds: IndexMap<String, u64> = IndexMap::new();
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
