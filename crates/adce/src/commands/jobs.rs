//! `adce jobs`: when each job runs next, and how it went last.

use adce_api::{JobLine, JobRunLine};
use adce_core::job::{JobRecord, JobRun};
use adce_core::ports::Clock;
use adce_core::spec::{Job, Spec};
use adce_core::time::Timestamp;

use crate::cli::Format;
use crate::clock::MachineClock;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;

pub fn run(spec: &Spec, format: Format) -> Result<Exit, Failure> {
    let records = ask::state(spec)?.map(|state| state.jobs()).transpose()?.unwrap_or_default();
    let now = MachineClock.now().wall;
    let lines: Vec<JobLine> = spec.jobs.values().map(|job| line(job, records.get(&job.name), now)).collect();
    match format {
        Format::Json => say!("{}", serde_json::to_string(&lines).unwrap_or_default()),
        Format::Text if lines.is_empty() => say!("the config has no jobs"),
        Format::Text => lines.iter().for_each(|line| say!("{}", words(line))),
    }
    Ok(Exit::Complete)
}

fn line(job: &Job, record: Option<&JobRecord>, now: Timestamp) -> JobLine {
    JobLine { name: job.name.clone(), next: job.schedule.next_after(now), last: record.and_then(|record| record.runs.last()).map(run_line) }
}

fn run_line(run: &JobRun) -> JobRunLine {
    JobRunLine {
        run: run.run,
        due: run.due,
        started_at: run.started_at,
        ended_at: run.ended_at,
        ended: run.ended.clone(),
        ok: run.ok,
        attempts: run.attempts,
        missed: run.missed,
        requests: run.requests,
        log: run.log.as_ref().map(|log| log.display().to_string()),
        post_failed: run.post_failed.clone(),
    }
}

fn words(line: &JobLine) -> String {
    let clock = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let next = line.next.map_or_else(|| "never again".into(), clock);
    let last = line.last.as_ref().map_or_else(
        || "has not run yet".into(),
        |last| {
            let how = last.ended.clone().unwrap_or_else(|| "under way, or cut short".into());
            let missed = if last.missed > 0 { format!(", for {} before it as well", last.missed) } else { String::new() };
            let post = if last.post_failed.is_empty() { String::new() } else { format!("; {}", last.post_failed.join("; ")) };
            format!("last {}: {how}{missed}{post}", clock(last.started_at))
        },
    );
    format!("{}  next {next}; {last}", line.name)
}
