//! *Now*: is it complete, is it well, what runs, what waits and for what.

use adce_api::{HealthReport, HealthWord, SourceState, Status, WindowNow};
use adce_core::figures::grouped;
use axum::response::Response;
use maud::{Markup, html};

use super::words::{away, bar, seconds, share};
use super::{View, link};
use crate::problem::Problem;

pub(super) async fn page(view: View) -> Response {
    view.answered("Now", body(&view).await)
}

async fn body(view: &View) -> Result<Markup, Problem> {
    let status = view.desk().status().await?;
    let health = HealthReport::of(&status);
    let items = &status.coverage.items;
    let engine = status.engine.as_ref();
    let throttled: u64 = status.sources.values().map(|source| source.throttled_today).sum();
    Ok(html! {
        h1 { (status.name) " " span.faint { (status.lake) } }
        dl.grid {
            div.card { dt { "Complete" } dd {
                @if status.complete { span.good { "yes" } } @else { span.warn { "not yet" } }
                small { (share(items.present, items.wanted())) ", " (grouped(items.present)) " of " (grouped(items.wanted())) " items" }
            } }
            div.card { dt { "Engine" } dd {
                span class=(health_class(health.status)) { (health.status.word()) }
                @if let Some(engine) = engine { small { "started " (away(engine.started_at, status.at)) @if engine.stopping { ", ending" } } }
            } }
            div.card { dt { "Gaps" } dd {
                a href="/items" { (grouped(status.gaps.total())) }
                small { (gap_words(&status)) }
            } }
            div.card { dt { "Done" } dd {
                @match status.eta_seconds { Some(eta) => { "in " (seconds(eta)) } None => "-" }
                small { "slots " (status.slots.used) " of " (status.slots.of.map_or("any".to_owned(), |of| of.to_string())) }
            } }
            div.card { dt { "429 answers today" } dd {
                @if throttled == 0 { span.good { "none" } } @else { span.bad { (grouped(throttled)) } }
            } }
            div.card { dt { "Next cycle" } dd {
                @match engine.and_then(|engine| engine.next_cycle) { Some(next) => (away(next, status.at)), None => "-" }
                @if let Some(cycle) = engine.and_then(|engine| engine.last_cycle.as_ref()) {
                    small { "the last took " (seconds(cycle.seconds)) @if let Some(error) = &cycle.error { span.bad { ", partly: " (error) } } }
                }
                (view.button("look", &[], "Look now", "at the whole lake"))
            } }
        }
        @if !health.reasons.is_empty() || !status.look.is_empty() || !status.paused.is_empty() || !status.held.is_empty() {
            h2 { "To look at" }
            ul.plain {
                @for held in &status.held { li { span.badge.bad { "held" } " " (held) " " span.faint { "→ adce accept" } } }
                @for pause in &status.paused {
                    li { span.badge.warn { "paused" } " " (pause.words()) @if let Some(why) = &pause.because { ": " (why) } " "
                        (view.button("resume", &[("what", &pause_name(pause))], "Resume", &pause.words())) }
                }
                @for reason in &health.reasons { li { span class={ "badge " (health_class(reason.status)) } { (reason.status.word()) } " " (reason.what) ": " (reason.text) } }
                @for look in &status.look { li { (look.what) ": " (look.text) @if let Some(command) = &look.command { " " span.faint { "→ " (command) } } } }
            }
        }
        h2 { "Datasets" }
        div.wide tabindex="0" role="region" aria-label="Datasets" { table {
            thead { tr { th scope="col" { "Dataset" } th scope="col" { "Present" } th.n scope="col" { "Share" } th.n scope="col" { "Items" } th.n scope="col" { "Gaps" } th.n scope="col" { "Absent" } th.n scope="col" { "Not due" } } }
            tbody { @for (name, dataset) in &status.datasets {
                @let counts = &dataset.counts.items;
                tr {
                    th scope="row" { a href=(link("/coverage", &[("dataset", name)])) { (name) } }
                    td { (bar(counts.present, counts.wanted(), name)) }
                    td.n { (share(counts.present, counts.wanted())) }
                    td.n { (if dataset.lower_bound { "≥ " } else { "" }) (grouped(counts.present)) " of " (grouped(counts.wanted())) }
                    td.n { @if counts.gaps() == 0 { "-" } @else { a href=(link("/items", &[("dataset", name)])) { (grouped(counts.gaps())) } } }
                    td.n { (figure(counts.absent)) } td.n { (figure(counts.not_due)) }
                }
            } }
        } }
        h2 { "Running" }
        @if status.running.is_empty() { p.faint { "Nothing runs." } } @else {
            div.wide tabindex="0" role="region" aria-label="Running" { table {
                thead { tr { th scope="col" { "What" } th scope="col" { "Collector" } th scope="col" { "Landed" } th.n scope="col" { "Attempt" } th.n scope="col" { "Since" } } }
                tbody { @for running in &status.running { tr {
                    td.key { a href={ "/task/" (running.task) } { (running.what) } }
                    td { (running.collector) }
                    td { (bar(running.landed, running.landing, &running.what)) }
                    td.n { (running.number) }
                    td.n { (away(running.started_at, status.at)) }
                } } }
            } }
        }
        @if !status.sources.is_empty() {
            h2 { "Sources" }
            div.wide tabindex="0" role="region" aria-label="Sources" { table {
                thead { tr { th scope="col" { "Source" } th scope="col" { "State" } th scope="col" { "Used of its limits" } th.n scope="col" { "In flight" } th.n scope="col" { "429 today" } th scope="col" { "Waiting" } } }
                tbody { @for (name, source) in &status.sources { tr {
                    th scope="row" { a href="/sources" { (name) } }
                    td { (source_state(source.state)) }
                    td { (windows(&source.windows)) }
                    td.n { (source.in_flight.used) @if let Some(of) = source.in_flight.of { " of " (of) } }
                    td.n { (figure(source.throttled_today)) }
                    td { @if source.waiting > 0 { (grouped(source.waiting)) " items" @if let Some(wait) = source.next_permit_seconds { ", next permit in " (seconds(wait)) } } @else { "-" } }
                } } }
            } }
        }
    })
}

fn pause_name(pause: &adce_api::PauseLine) -> String {
    pause.name.as_ref().map(|name| format!("{}:{name}", pause.of)).unwrap_or_default()
}

fn figure(count: u64) -> String {
    if count == 0 { "-".into() } else { grouped(count) }
}

fn gap_words(status: &Status) -> String {
    let gaps = &status.gaps;
    let kinds =
        [(gaps.running, "running"), (gaps.queued, "queued"), (gaps.waiting, "waiting"), (gaps.held, "held"), (gaps.exhausted, "exhausted")];
    let kinds: Vec<String> =
        kinds.iter().filter(|(count, _)| *count > 0).map(|(count, kind)| format!("{} {kind}", grouped(*count))).collect();
    if kinds.is_empty() { "none".into() } else { kinds.join(", ") }
}

fn health_class(word: HealthWord) -> &'static str {
    match word {
        HealthWord::Healthy => "good",
        HealthWord::Degraded => "warn",
        HealthWord::Unhealthy => "bad",
    }
}

pub(super) fn source_state(state: SourceState) -> Markup {
    let class = match state {
        SourceState::Ok => "badge good",
        SourceState::Paused => "badge warn",
        SourceState::Open | SourceState::HalfOpen => "badge bad",
    };
    html! { span class=(class) { (state.word()) } }
}

/// `12 of 60 in 1 m`, each with its bar.
pub(super) fn windows(windows: &[WindowNow]) -> Markup {
    html! {
        @if windows.is_empty() { span.faint { "no limit" } }
        @for window in windows {
            @let span = seconds(window.seconds);
            div {
                meter min="0" max=(window.limit.max(1)) value=(window.used) aria-label=(format!("{} of {} in {span}", window.used, window.limit)) {}
                " " span.faint { (window.used) " of " (window.limit) " in " (span) }
            }
        }
    }
}
