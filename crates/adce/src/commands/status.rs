//! `adce status`: one screen. Of a running engine what it holds; without one, one look at the lake.

use std::sync::Arc;
use std::time::Duration;

use adce_api::{Client, EngineStatus, FeedStatus, GapCounts, RunningAttempt, Share, SourceStatus, Status, health};
use adce_core::figures::{counted, grouped, percent, progress, span};
use adce_core::ports::Clock;
use adce_core::spec::Spec;
use adce_core::time::{SignedDuration, Timestamp};
use adce_engine::{CollectorLine, ContestedLine, collector_line};
use console::style;

use crate::cli::Format;
use crate::clock::MachineClock;
use crate::commands::ask;
use crate::commands::limits::values_words;
use crate::display::bar;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::plan::required;
use crate::survey::Survey;
use crate::views;
use crate::wiring::lake_words;

pub async fn run(spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let (status, partly) = match ask::engine(&spec)? {
        Some(mut engine) => {
            let status = ask::answered(Client::status(&mut engine))?;
            let partly = status.engine.as_ref().and_then(|engine| engine.last_cycle.as_ref()).is_some_and(|cycle| cycle.error.is_some());
            (status, partly)
        }
        None => without_engine(spec).await?,
    };
    match format {
        Format::Json => say!("{}", serde_json::to_string(&status).unwrap_or_default()),
        Format::Text => screen(&status).iter().for_each(|line| say!("{line}")),
    }
    Ok(match (status.complete, partly) {
        (_, true) => Exit::Unfinished,
        (true, false) => Exit::Complete,
        (false, false) => Exit::GapsRemain,
    })
}

/// And whether part of the lake could not be listed.
async fn without_engine(spec: Arc<Spec>) -> Result<(Status, bool), Failure> {
    let survey = Survey::of(spec.clone()).await?;
    let datasets = survey.datasets();
    let counts = survey.dispatcher.counts(survey.now);
    let coverage = adce_api::Counts { items: survey.coverage.counts(), unexpected: survey.coverage.unexpected() };
    let partly = survey.is_partial();
    let crashing: Vec<CollectorLine> = survey.dispatcher.collectors(survey.now).into_iter().filter_map(collector_line).collect();
    let doubts = adce_engine::doubts(&survey.dispatcher, survey.now);
    let contested = survey.dispatcher.contested(survey.now).into_iter();
    let contested: Vec<ContestedLine> = contested.map(|(gap, until)| ContestedLine { key: gap.key, until }).collect();
    let status = Status {
        name: spec.name.clone(),
        lake: lake_words(&spec.lake),
        at: MachineClock.now().wall,
        engine: None,
        healthy: health(datasets.values()),
        complete: survey.coverage.is_complete() && survey.not_listed.is_empty() && survey.surprises.is_empty(),
        coverage,
        datasets,
        gaps: GapCounts {
            queued: counts.queued,
            running: counts.running,
            waiting: counts.waiting,
            held: counts.held + survey.aside.len() as u64,
            exhausted: counts.exhausted,
        },
        eta_seconds: None,
        sources: Default::default(),
        collectors: views::collectors(&crashing),
        running: Vec::new(),
        slots: Share { used: 0, of: Some(spec.engine.max_concurrent) },
        look: views::crashing(&crashing)
            .chain(views::exhausted(counts.exhausted))
            .chain(views::contested(&contested))
            .chain(views::doubts(&doubts))
            .chain(views::shut(&survey.dispatcher.figures(survey.now), survey.now))
            .chain(views::older(survey.aside.len() as u64, spec.baseline))
            .chain(views::left_under_way(&survey.leases, &survey.dispatcher.moment(survey.now)))
            .collect(),
        report: views::report(&survey.reported),
        held: survey.surprises,
    };
    Ok((status, partly))
}

fn screen(status: &Status) -> Vec<String> {
    let mut lines = vec![header(status), verdict(status)];
    lines.extend(status.held.iter().map(|surprise| format!("{} {surprise} → adce accept", style("HELD").red().bold())));
    lines.extend(status.report.iter().flat_map(adce_api::InventoryReport::lines));
    lines.extend(datasets(status));
    if !status.sources.is_empty() {
        lines.push(String::new());
        lines.extend(sources(status));
    }
    if status.engine.is_some() {
        lines.push(style(format!("RUNNING  slots {}", share(&status.slots))).dim().to_string());
        lines.extend(status.running.iter().map(|running| attempt(running, status.at)));
    }
    if let Some(engine) = &status.engine {
        lines.extend(engine.feeds.iter().map(|feed| feed_words(feed, status.at)));
    }
    for (number, look) in status.look.iter().enumerate() {
        let command = look.command.as_ref().map(|command| format!(" → {command}")).unwrap_or_default();
        lines.push(format!("{} ({})  {}: {}{command}", style("LOOK").yellow().bold(), number + 1, look.what, look.text));
    }
    lines
}

/// `EVENTS  files of ./lake: 12 heard, the latest 3 s ago, after 0.02 s`
fn feed_words(feed: &FeedStatus, at: Timestamp) -> String {
    let mut line = format!("{}   {}: {}, {} heard", style("EVENTS").dim(), feed.feed, feed.state, grouped(feed.events));
    if let Some(last) = feed.last_at {
        line.push_str(&format!(", the latest {} ago", between(last, at)));
    }
    if let Some(lag) = feed.lag_seconds {
        line.push_str(&format!(" after {lag:.2} s"));
    }
    line
}

fn header(status: &Status) -> String {
    let time = |at: Timestamp| at.strftime("%H:%M:%S").to_string();
    let mut parts = vec![style(&status.name).bold().to_string(), status.lake.clone()];
    match &status.engine {
        None => parts.push("no engine runs; this is one look at the lake".into()),
        Some(engine) => {
            parts.push(format!("up {}, pid {}", between(engine.started_at, status.at), engine.pid));
            parts.push(config(engine, status.at));
            if let Some(cycle) = &engine.last_cycle {
                let how = cycle.error.as_ref().map_or_else(|| "ok".into(), |error| format!("partly: {error}"));
                parts.push(format!("last cycle {} {how}", time(cycle.began_at)));
            }
            if engine.stopping {
                parts.push("finishing what runs".into());
            }
        }
    }
    parts.push(format!("{} UTC", time(status.at)));
    parts.join(" · ")
}

/// `config 7c1e of 2 Mar`, with the year if that was long ago.
fn config(engine: &EngineStatus, at: Timestamp) -> String {
    let id = engine.config.get(..4).unwrap_or(&engine.config);
    match engine.config_changed_at {
        None => format!("config {id}"),
        Some(changed) if at.duration_since(changed) < SignedDuration::from_hours(300 * 24) => {
            format!("config {id} of {}", changed.strftime("%-d %b"))
        }
        Some(changed) => format!("config {id} of {}", changed.strftime("%-d %b %Y")),
    }
}

fn verdict(status: &Status) -> String {
    let counts = &status.coverage.items;
    let share = percent(counts.present, counts.wanted()).unwrap_or_else(|| "nothing expected".into());
    let word = if status.complete { style("COMPLETE").green().bold() } else { style("NOT COMPLETE").yellow().bold() };
    let gaps = &status.gaps;
    let kinds =
        [(gaps.running, "running"), (gaps.queued, "queued"), (gaps.waiting, "waiting"), (gaps.held, "held"), (gaps.exhausted, "exhausted")];
    let kinds: Vec<String> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{} {kind}", grouped(*count))).collect();
    let mut line = format!("{word} {share}   {}", counted(counts.gaps(), "gap"));
    if !kinds.is_empty() {
        line.push_str(&format!(": {}", kinds.join(", ")));
    }
    if let Some(eta) = status.eta_seconds {
        line.push_str(&format!("   done in about {}", span(Duration::from_secs_f64(eta))));
    }
    line
}

fn datasets(status: &Status) -> Vec<String> {
    let names = status.datasets.keys().map(|name| console::measure_text_width(name)).max().unwrap_or(0);
    let lines = status.datasets.iter().map(|(name, dataset)| {
        let adce_api::Counts { items: counts, unexpected } = dataset.counts;
        let wanted = counts.wanted();
        let share = percent(counts.present, wanted).unwrap_or_else(|| "-".into());
        let mut line = format!(
            "{name:names$}  {} {share:>8}  {} of {}{}",
            style(bar(counts.present, wanted, 20)).cyan(),
            grouped(counts.present),
            if dataset.lower_bound { "≥" } else { "" },
            grouped(wanted)
        );
        let more = [
            (counts.unknown, "unknown"),
            (counts.absent, "absent"),
            (counts.not_due, "not due"),
            (counts.expired, "expired"),
            (counts.out_of_scope, "out of scope"),
            (unexpected, "unexpected"),
        ];
        for (count, word) in more {
            if count > 0 {
                line.push_str(&format!("  {} {word}", grouped(count)));
            }
        }
        if let (Some(false), Some(require)) = (dataset.healthy, dataset.require) {
            line.push_str(&format!("  {}", style(format!("below the {} it requires", required(require))).red()));
        }
        if let Some(error) = &dataset.listing_error {
            let since = dataset.listed_at.map_or_else(|| "never".into(), |at| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
            line.push_str(&format!("  listed last: {since} ({error})"));
        }
        line
    });
    lines.collect()
}

fn sources(status: &Status) -> Vec<String> {
    let names = status.sources.keys().map(|name| console::measure_text_width(name)).max().unwrap_or(0).max(6);
    let mut lines = vec![
        style(format!("{:names$}  {:9}  {:>9}  {:>4}  {:>8}  WINDOWS", "SOURCE", "STATE", "IN FLIGHT", "429", "WAITING")).dim().to_string(),
    ];
    lines.extend(status.sources.iter().map(|(name, source)| {
        let mut line = format!(
            "{name:names$}  {:9}  {:>9}  {:>4}  {:>8}  {}",
            source.state.word(),
            share(&source.in_flight),
            grouped(source.throttled),
            grouped(source.waiting),
            windows(source)
        );
        if let Some(reason) = &source.reason {
            line.push_str(&format!("  {reason}"));
        }
        if let Some(would_wait) = &source.would_wait {
            line.push_str(&format!("  {would_wait}"));
        }
        if let Some(seconds) = source.next_permit_seconds.filter(|seconds| source.waiting > 0 && *seconds >= 1.0) {
            line.push_str(&format!("  next permit in {}", span(Duration::from_secs_f64(seconds))));
        }
        if let Some(values) = source.values.as_ref().filter(|values| values.waiting + values.shut > 0) {
            line.push_str(&format!("\n{:names$}  {}", "", values_words(values)));
        }
        line
    }));
    lines
}

fn windows(source: &SourceStatus) -> String {
    let windows = source.windows.iter().map(|window| {
        format!("{}/{} in {}", grouped(window.used.into()), grouped(window.limit.into()), span(Duration::from_secs_f64(window.seconds)))
    });
    let windows: Vec<String> = windows.collect();
    if windows.is_empty() { "no limits".into() } else { windows.join(", ") }
}

fn attempt(running: &RunningAttempt, at: Timestamp) -> String {
    let pid = running.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let landed = if running.landed > 0 { format!(", {}", progress(running.landed, running.landing)) } else { String::new() };
    format!("  {}  {}, attempt {}, {}{landed}{pid}", running.collector, running.what, running.number, between(running.started_at, at))
}

fn share(share: &Share) -> String {
    match share.of {
        Some(of) => format!("{}/{of}", share.used),
        None => share.used.to_string(),
    }
}

fn between(earlier: Timestamp, later: Timestamp) -> String {
    span(Duration::try_from(later.duration_since(earlier)).unwrap_or_default())
}
