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
        paused: views::paused(survey.dispatcher.paused()),
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
        lines.extend(running(status));
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
        None => {
            parts.push("no engine runs; this is one look at the lake".into());
            parts.push(format!("{} UTC", time(status.at)));
        }
        Some(engine) => {
            parts.push(format!("up {}, pid {}", between(engine.started_at, status.at), engine.pid));
            parts.push(config(engine, status.at));
            parts.push(format!("{} UTC", time(status.at)));
            if let Some(cycle) = &engine.last_cycle {
                let how = cycle.error.as_ref().map_or_else(|| "ok".into(), |error| format!("partly: {error}"));
                let next = engine.next_cycle.map(|next| format!(", next {}", time(next))).unwrap_or_default();
                parts.push(format!("last cycle {} {how}{next}", time(cycle.began_at)));
            }
            parts.extend(engine.address.clone());
            if engine.stopping {
                parts.push("finishing what runs".into());
            }
        }
    }
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
        line.push_str(&format!("   complete about {}", clock_after(status.at, eta)));
        let left = gaps.held + gaps.exhausted;
        if left > 0 {
            line.push_str(&format!(", but for {}", grouped(left)));
        }
    }
    line
}

/// The time of day; the day, too, if that is not today.
fn clock_after(at: Timestamp, seconds: f64) -> String {
    let then = at.saturating_add(SignedDuration::try_from(Duration::try_from_secs_f64(seconds).unwrap_or_default()).unwrap_or_default());
    let then = then.unwrap_or(at);
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    then.strftime(if day(then) == day(at) { "%H:%M:%S" } else { "%Y-%m-%d %H:%M" }).to_string()
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
    let spans = spans(status);
    let mut heads = vec!["SOURCE".to_owned(), "STATE".into()];
    heads.extend(spans.iter().map(|seconds| window_word(*seconds)));
    heads.extend(["IN FLIGHT", "429 TODAY", "WAITING"].map(String::from));
    let rows: Vec<Vec<String>> = status.sources.iter().map(|(name, source)| source_cells(name, source, &spans)).collect();
    let wide = |column: usize| rows.iter().chain([&heads]).map(|row| console::measure_text_width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(wide).collect();
    let line = |cells: &[String]| {
        let padded =
            cells.iter().zip(&widths).map(|(cell, width)| console::pad_str(cell, *width, console::Alignment::Left, None).into_owned());
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![style(line(&heads)).dim().to_string()];
    for (row, source) in rows.iter().zip(status.sources.values()) {
        lines.push(line(row));
        if let Some(values) = source.values.as_ref().filter(|values| values.waiting + values.shut > 0) {
            lines.push(format!("{:width$}  {}", "", values_words(values), width = widths[0]));
        }
    }
    lines
}

/// Of all windows that some source has, the shortest first.
fn spans(status: &Status) -> Vec<f64> {
    let mut spans: Vec<f64> = status.sources.values().flat_map(|source| source.windows.iter().map(|window| window.seconds)).collect();
    spans.sort_by(f64::total_cmp);
    spans.dedup();
    spans
}

fn window_word(seconds: f64) -> String {
    let words = [(1.0, "SECOND"), (60.0, "MINUTE"), (3_600.0, "HOUR"), (86_400.0, "DAY")];
    let known = words.into_iter().find(|(span, _)| *span == seconds).map(|(_, word)| word.to_owned());
    known.unwrap_or_else(|| span(Duration::from_secs_f64(seconds)).to_uppercase())
}

fn source_cells(name: &str, source: &SourceStatus, spans: &[f64]) -> Vec<String> {
    let mut cells = vec![name.to_owned(), source.state.word().to_owned()];
    cells.extend(spans.iter().map(|seconds| {
        let window = source.windows.iter().find(|window| window.seconds == *seconds);
        window.map_or_else(|| "-".into(), |window| format!("{}/{}", grouped(window.used.into()), grouped(window.limit.into())))
    }));
    cells.extend([share(&source.in_flight), grouped(source.throttled_today), waiting(source)]);
    cells
}

/// What waits for it and for what, for a person.
fn waiting(source: &SourceStatus) -> String {
    let items = (source.waiting > 0).then(|| counted(source.waiting, "item"));
    let permit = source.next_permit_seconds.filter(|seconds| source.waiting > 0 && *seconds >= 1.0);
    let permit = permit.map(|seconds| format!("next permit in {}", span(Duration::from_secs_f64(seconds))));
    let until = source.until.map(|until| format!("until {}", until.strftime("%H:%M:%S")));
    let reason = source.reason.clone().map(|reason| match &until {
        Some(until) => format!("{reason}, {until}"),
        None => reason,
    });
    let parts: Vec<String> = items.into_iter().chain(permit).chain(reason).chain(source.would_wait.clone()).collect();
    if parts.is_empty() { "-".into() } else { parts.join("; ") }
}

/// The first on the line that says how many slots are taken.
fn running(status: &Status) -> Vec<String> {
    let attempts: Vec<String> = status.running.iter().map(|running| attempt(running, status.at)).collect();
    let first = attempts.first().map_or_else(|| "nothing".into(), Clone::clone);
    let slots = style(format!("slots {}", share(&status.slots))).dim();
    let mut lines = vec![format!("{}  {first}   {slots}", style("RUNNING").dim())];
    lines.extend(attempts.iter().skip(1).map(|attempt| format!("         {attempt}")));
    lines
}

fn attempt(running: &RunningAttempt, at: Timestamp) -> String {
    let pid = running.pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let landed = if running.landed > 0 { format!(", {}", progress(running.landed, running.landing)) } else { String::new() };
    format!("{}  {}, attempt {}, {}{landed}{pid}", running.collector, running.what, running.number, between(running.started_at, at))
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
