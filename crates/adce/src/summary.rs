//! What a run came to: for people a few lines that a sceptic can check, for machines the JSON contract.

use std::time::Duration;

use adce_api::{RunSummary, SourceUse, Uncovered, WindowUse};
use adce_core::figures::{counted, grouped, percent, span};
use adce_core::spec::{Spec, Window};
use adce_engine::{Ending, Snapshot, SourceLine, UncoveredLine};

use crate::cli::Format;
use crate::views;

pub fn of(ending: &Ending, spec: &Spec) -> RunSummary {
    let snapshot = &ending.snapshot;
    // An interrupted run ends without a last cycle: what landed since the one before counts all the same.
    let mut coverage = adce_api::Counts::default();
    views::coverage_now(snapshot, &ending.cycle, spec).values().for_each(|dataset| coverage += dataset.counts);
    let sources = snapshot.sources.iter().map(|source| (source.name.clone(), source_use(source, ending, spec)));
    RunSummary {
        complete: ending.cycle.complete && snapshot.surprises.is_empty(),
        filled: snapshot.totals.filled,
        failed: snapshot.totals.failed,
        absent: snapshot.totals.absent,
        attempts: snapshot.totals.attempts,
        requests: snapshot.totals.requests,
        elapsed_seconds: ending.elapsed.as_secs_f64(),
        sources: sources.collect(),
        remaining: coverage.items.gaps(),
        coverage,
        held: snapshot.surprises.clone(),
        kept_for_next_cycle: snapshot.held_back.iter().map(views::kept).collect(),
        interrupted: ending.interrupted,
        uncovered: snapshot.uncovered.iter().map(uncovered).collect(),
        upstream: None,
    }
}

fn uncovered(line: &UncoveredLine) -> Uncovered {
    let UncoveredLine { collector, host, passed, refused } = line.clone();
    Uncovered { collector, host, passed, refused }
}

fn source_use(source: &SourceLine, ending: &Ending, spec: &Spec) -> SourceUse {
    let windows = spec.sources.get(&source.name).map(|source| source.limits.windows.clone()).unwrap_or_default();
    let elapsed = ending.elapsed.as_secs_f64();
    let used = |settle: f64| {
        let allowed = windows.iter().map(|window| allowed(window, elapsed, settle)).reduce(f64::min)?;
        Some(source.requests as f64 / allowed)
    };
    SourceUse {
        requests: source.requests,
        quota_used: used(0.0),
        quota_share: used(source.mean_settle_seconds),
        waited_seconds: source.waited_seconds,
        throttled: source.throttled,
        traffic: views::traffic(&source.traffic),
        windows: source
            .windows
            .iter()
            .zip(&windows)
            .map(|(line, window)| WindowUse { seconds: window.span.as_secs_f64(), limit: window.requests, most: line.most as u32 })
            .collect(),
    }
}

/// Requests that a window lets through in so many seconds if each counts `settle` seconds longer; never fewer than one
/// window's worth.
fn allowed(window: &Window, elapsed: f64, settle: f64) -> f64 {
    let requests = f64::from(window.requests);
    (requests * elapsed / (window.span.as_secs_f64() + settle)).max(requests)
}

pub fn print(summary: &RunSummary, ending: &Ending, format: Format) {
    match format {
        Format::Json => say!("{}", serde_json::to_string(summary).unwrap_or_default()),
        Format::Text => text(summary, ending).iter().for_each(|line| say!("{line}")),
    }
}

fn text(summary: &RunSummary, ending: &Ending) -> Vec<String> {
    let mut lines = vec![verdict(summary)];
    lines.push(format!(
        "{} filled, {} absent upstream · {}, {} of them failed · {} · {}",
        grouped(summary.filled),
        grouped(summary.absent),
        counted(summary.attempts, "attempt"),
        grouped(summary.failed),
        counted(summary.requests, "request"),
        took(ending.elapsed)
    ));
    for (name, used) in summary.sources.iter().filter(|(_, used)| used.requests > 0) {
        lines.extend(source_lines(name, used));
    }
    if ending.longest_wait.as_secs() > 0 {
        lines.push(format!("longest wait for a first start: {}", span(ending.longest_wait)));
    }
    lines.extend(ending.cycle.not_listed.iter().map(|(prefix, error)| format!("could not list `{prefix}`: {error}")));
    lines.extend(what_remains(summary, ending));
    lines
}

fn took(elapsed: Duration) -> String {
    if elapsed < Duration::from_secs(60) { format!("{:.1} s", elapsed.as_secs_f64()) } else { span(elapsed) }
}

fn verdict(summary: &RunSummary) -> String {
    let counts = &summary.coverage.items;
    let wanted = counts.wanted();
    let share = percent(counts.present, wanted).unwrap_or_else(|| "nothing expected".into());
    let word = match (summary.complete, summary.interrupted) {
        (true, _) => "COMPLETE",
        (false, true) => "INTERRUPTED",
        (false, false) => "NOT COMPLETE",
    };
    let absent = match counts.absent {
        0 => String::new(),
        absent => format!(", {} absent upstream", grouped(absent)),
    };
    format!("{word} {share} · {} of {} objects{absent}", grouped(counts.present), grouped(wanted))
}

fn source_lines(name: &str, used: &SourceUse) -> Vec<String> {
    let mut first = format!("{name}: {}", counted(used.requests, "request"));
    match (used.quota_used, used.quota_share) {
        // A window's worth at once and the next right behind it is more than their share of so short a time.
        (Some(_), Some(1.0005..)) => first.push_str(" · all of the quota, in too short a time for a share"),
        (Some(quota), Some(share)) => {
            first.push_str(&format!(" · {:.1} % of the quota, {:.1} % of what exact windows leave of it", quota * 100.0, share * 100.0));
        }
        _ => {}
    }
    if used.throttled > 0 {
        first.push_str(&format!(" · {} answers of 429", grouped(used.throttled)));
    }
    let fullest =
        |window: &WindowUse| format!("{} of {} in {} s", grouped(window.most.into()), grouped(window.limit.into()), window.seconds);
    let windows: Vec<String> = used.windows.iter().map(fullest).collect();
    let second = (!windows.is_empty()).then(|| format!("{name}: at the fullest {}", windows.join(" · ")));
    std::iter::once(first).chain(second).collect()
}

fn what_remains(summary: &RunSummary, ending: &Ending) -> Vec<String> {
    let mut lines: Vec<String> = summary.held.iter().map(|surprise| format!("held: {surprise} → `adce accept` if that is right")).collect();
    let Snapshot { contested, doubts, uncovered, held_back, .. } = &ending.snapshot;
    let looks = views::contested(contested).chain(views::doubts(doubts)).chain(views::kept_for_next_look(held_back));
    for look in looks.chain(views::uncovered(uncovered)) {
        let command = look.command.map(|command| format!(" → `{command}`")).unwrap_or_default();
        lines.push(format!("{}: {}{command}", look.what, look.text));
    }
    if summary.remaining > 0 {
        let gaps = &ending.snapshot.gaps;
        let kinds = [
            (gaps.exhausted, "exhausted"),
            (gaps.waiting, "waiting for a later try"),
            (gaps.queued, "queued"),
            (gaps.held, "held"),
            (gaps.watched, "only watched"),
        ];
        let kinds: Vec<String> =
            kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{} {kind}", grouped(*count))).collect();
        lines.push(format!(
            "{} remain{}: {} → `adce gaps`",
            counted(summary.remaining, "gap"),
            if summary.remaining == 1 { "s" } else { "" },
            kinds.join(", ")
        ));
    }
    lines
}
