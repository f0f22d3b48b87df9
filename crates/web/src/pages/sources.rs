//! *Sources*: limits and what is used of them, waits, breakers, what was learned; and the switch of each.

use adce_core::figures::grouped;
use axum::response::Response;
use maud::{Markup, html};

use super::View;
use super::now::{source_state, windows};
use super::words::{away, seconds};
use crate::problem::Problem;
use crate::reads::{SourceNow, sources_of};

pub(super) async fn page(view: View) -> Response {
    view.answered("Sources", all(&view).await)
}

async fn all(view: &View) -> Result<Markup, Problem> {
    let sources = sources_of(view.desk()).await?;
    Ok(html! {
        h1 { "Sources" }
        @if !sources.all.windows.is_empty() { section.card aria-label="All together" { h2 { "All together" } (windows(&sources.all.windows)) } }
        @if sources.sources.is_empty() { p.faint { "The config declares none." } }
        @for (name, source) in &sources.sources { (one(view, name, source)) }
    })
}

fn one(view: &View, name: &str, source: &SourceNow) -> Markup {
    let (now, limits, at) = (&source.now, &source.limits, view.desk().now());
    let what = format!("source:{name}");
    html! {
        section aria-label=(name) {
            h2 { (name) " " (source_state(now.state)) @if source.paused { " " span.badge.warn { "paused by hand" } } }
            @if let Some(reason) = &now.reason { p.note.bad { (reason) @if let Some(until) = now.until { ", until " (away(until, at)) } } }
            dl.grid {
                div.card { dt { "Used of its limits" } dd { (windows(&now.windows)) } }
                div.card { dt { "In flight" } dd { (now.in_flight.used) @if let Some(of) = now.in_flight.of { " of " (of) } @if let Some(useful) = now.useful_slots { small { (useful) " attempts take all of it" } } } }
                div.card { dt { "Waiting" } dd { (grouped(now.waiting)) small { "items" @if let Some(wait) = now.next_permit_seconds { ", next permit in " (seconds(wait)) } } } }
                div.card { dt { "Requests" } dd { (grouped(now.traffic.requests)) small {
                    @for (class, answers) in &now.traffic.statuses { (grouped(*answers)) " × " (class) " " }
                    @if now.traffic.waits > 0 { (grouped(now.traffic.waits)) " waited " (seconds(now.traffic.waited_seconds)) " in all" }
                } } }
                div.card { dt { "429 today" } dd { @if now.throttled_today == 0 { span.good { "none" } } @else { span.bad { (grouped(now.throttled_today)) } } } }
                @if let Some(learned) = &limits.learned { div.card { dt { "Learned" } dd { "1 in " (seconds(learned.every_seconds)) @if let Some(share) = learned.share { small { (format!("{:.0} % of its full rate", share * 100.0)) } } } } }
                @if let Some(settle) = limits.settle_seconds { div.card { dt { "A request takes" } dd { (seconds(settle)) small { "on average" } } } }
            }
            @for told in &limits.told { p.faint { "It says that it allows " (told.requests) " in " (seconds(told.seconds)) "." } }
            @for suggestion in &limits.suggestions { p.faint { (suggestion) } }
            @if let Some(values) = &now.values {
                p { "Told apart by " (values.by) ": " (grouped(values.known)) " known, " (grouped(values.waiting)) " waiting, " (grouped(values.shut)) " shut" }
            }
            p { @if source.paused { (view.button("resume", &[("what", &what)], "Resume", name)) } @else { (view.button("pause", &[("what", &what)], "Pause", name)) } }
        }
    }
}
