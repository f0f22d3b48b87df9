//! *Cycles*, *Config*, *Audit*, and the list of what the API has.

use std::collections::BTreeMap;

use adce_api::{CoverageReport, TrendLine};
use adce_core::access::Role;
use adce_core::figures::grouped;
use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::words::{away, instant, seconds, share};
use super::{View, drawing, link};
use crate::paging;
use crate::problem::Problem;

pub(super) async fn cycles(view: View) -> Response {
    view.answered("Cycles", shown(&view).await)
}

/// So many attempts tell how long they take.
const ATTEMPTS: u32 = 1_000;

async fn shown(view: &View) -> Result<Markup, Problem> {
    let status = view.desk().status().await?;
    let cycles = view.site.feed.cycles();
    let trend = view.desk().trend().await?;
    let mut took: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for attempt in view.desk().attempts(None, ATTEMPTS).await? {
        let seconds = attempt.line.ended_at.duration_since(attempt.line.started_at).as_secs_f64();
        took.entry(attempt.collector).or_default().push(seconds);
    }
    Ok(html! {
        h1 { "Cycles and trends" }
        p { "The next full look: " @match status.engine.as_ref().and_then(|engine| engine.next_cycle) { Some(next) => (away(next, status.at)), None => "-" } " "
            (view.button("look", &[], "Look now", "at the whole lake")) }
        @if !trend.is_empty() {
            h2 { "Completeness over time" }
            img.picture src="/picture/trend.svg" alt=(trend.iter().map(|(dataset, points)| spoken(dataset, points)).collect::<Vec<_>>().join("; "));
        }
        h2 { "Full looks since the engine started" }
        div.wide.tall tabindex="0" role="region" aria-label="Cycles" { table {
            thead { tr { th scope="col" { "Began" } th.n scope="col" { "Took" } th.n scope="col" { "Gaps" } th.n scope="col" { "Gaps more or fewer" } th.n scope="col" { "Complete" } th scope="col" { "Trouble" } } }
            tbody { @for (at, line) in cycles.iter().enumerate() { tr {
                td { (instant(line.cycle.began_at)) }
                td.n { (seconds(line.cycle.seconds)) }
                td.n { (grouped(line.gaps)) }
                td.n { @match cycles.get(at + 1) { None => "-", Some(before) => (difference(before.gaps, line.gaps)) } }
                td.n { (share(line.present, line.wanted)) }
                td { (line.cycle.error.as_deref().unwrap_or("-")) }
            } } }
        } }
        h2 { "How long attempts take" }
        @if took.is_empty() { p.faint { "None has ended yet." } } @else {
            div.wide tabindex="0" role="region" aria-label="Durations" { table {
                caption { "Of the latest " (ATTEMPTS) " attempts" }
                thead { tr { th scope="col" { "Collector" } th.n scope="col" { "Attempts" } th.n scope="col" { "P50" } th.n scope="col" { "P95" } th.n scope="col" { "P99" } } }
                tbody { @for (collector, mut seconds_of) in took {
                    @let () = seconds_of.sort_by(f64::total_cmp);
                    tr { th scope="row" { (collector) } td.n { (seconds_of.len()) }
                        @for percent in [50, 95, 99] { td.n { (seconds(rank(&seconds_of, percent))) } } }
                } }
            } }
        }
    })
}

/// The smallest that so many per cent do not exceed.
fn rank(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

fn difference(before: u64, after: u64) -> String {
    match after.cmp(&before) {
        std::cmp::Ordering::Equal => "0".into(),
        std::cmp::Ordering::Less => format!("−{}", grouped(before - after)),
        std::cmp::Ordering::Greater => format!("+{}", grouped(after - before)),
    }
}

fn spoken(dataset: &str, points: &[TrendLine]) -> String {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => format!(
            "{dataset}: {} on {}, {} on {}",
            share(first.present, first.wanted),
            first.at.strftime("%Y-%m-%d"),
            share(last.present, last.wanted),
            last.at.strftime("%Y-%m-%d")
        ),
        _ => format!("{dataset}: nothing is known yet"),
    }
}

#[derive(Deserialize)]
pub(super) struct TrendAsked {
    dataset: Option<String>,
}

pub(super) async fn trend(view: View, Query(TrendAsked { dataset }): Query<TrendAsked>) -> Response {
    let drawn = async {
        let report = view.desk().coverage(&adce_api::CoverageAsk::default()).await?;
        let mut trend = view.desk().trend().await?;
        trend.retain(|name, _| dataset.as_ref().is_none_or(|dataset| name == dataset));
        let report = CoverageReport { trend, ..report };
        Ok::<_, Problem>(view.desk().picture(&report, true))
    };
    match drawn.await {
        Ok(svg) => drawing(svg),
        Err(problem) => view.refuse(&problem),
    }
}

pub(super) async fn config(view: View) -> Response {
    let body = async {
        let config = view.desk().config_written().await?;
        Ok(html! {
            h1 { "Config" }
            p { "Edition " code { (config.id) } @if let Some(changed) = config.changed_at { ", changed " (away(changed, view.desk().now())) } }
            @for file in &config.files { h2 { (file.name) } pre tabindex="0" { (file.text) } }
        })
    };
    let body = body.await;
    view.answered("Config", body)
}

#[derive(Deserialize)]
pub(super) struct AuditAsked {
    cursor: Option<String>,
}

pub(super) async fn audit(view: View, Query(asked): Query<AuditAsked>) -> Response {
    let body = async {
        view.who.may(Role::Admin)?;
        let before = paging::read::<u64>(asked.cursor.as_deref())?;
        let lines = view.desk().audit(before, paging::USUAL).await?;
        let next = lines.last().filter(|_| lines.len() as u64 == u64::from(paging::USUAL)).map(|last| paging::cursor(&last.number));
        let text = |value: &Option<serde_json::Value>| value.as_ref().map(serde_json::Value::to_string).unwrap_or_default();
        Ok(html! {
            h1 { "Audit" }
            @if lines.is_empty() { p.faint { "Nobody did anything yet." } } @else {
                div.wide.tall tabindex="0" role="region" aria-label="Audit log" { table {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "Did" } th scope="col" { "To" } th scope="col" { "Why" } th scope="col" { "Before and after" } } }
                    tbody { @for line in &lines { tr {
                        td { (instant(line.at)) } td { (line.who) } td { (line.action) } td.key { (if line.what.is_empty() { "everything" } else { &line.what }) }
                        td { (line.reason.as_deref().unwrap_or("-")) }
                        td { details { summary { "Show" } pre { (text(&line.before)) "\n→ " (text(&line.after)) } } }
                    } } }
                } }
                @if let Some(next) = next { p { a href=(link("/audit", &[("cursor", &next)])) { "Older" } } }
            }
        })
    };
    let body = body.await;
    view.answered("Audit", body)
}

/// The API's document, readable: from the same table as everything else.
pub(super) async fn api(view: View) -> Response {
    let document = crate::listening::api().document.finished();
    let paths = document["paths"].as_object().cloned().unwrap_or_default();
    let body = html! {
        h1 { "API" }
        p { "OpenAPI 3.1: " a href="/v1/openapi.json" { "/v1/openapi.json" } ". A refusal is a problem of RFC 9457. " code { "Authorization: Bearer <token>" } " for what needs one." }
        @for (path, methods) in &paths {
            @for (method, about) in methods.as_object().into_iter().flatten() {
                details.card {
                    summary { code { (method.to_uppercase()) " " (path) } " " (about["summary"].as_str().unwrap_or_default())
                        @if let Some(role) = about["x-role"].as_str() { " " span.badge { (role) } } }
                    @let parameters = about["parameters"].as_array().cloned().unwrap_or_default();
                    @if !parameters.is_empty() { table {
                        thead { tr { th scope="col" { "Parameter" } th scope="col" { "In" } th scope="col" { "Schema" } th scope="col" { "What" } } }
                        tbody { @for parameter in &parameters { tr {
                            td { code { (parameter["name"].as_str().unwrap_or_default()) } @if parameter["required"] == true { " (needed)" } }
                            td { (parameter["in"].as_str().unwrap_or_default()) } td { code { (parameter["schema"].to_string()) } } td { (parameter["description"].as_str().unwrap_or_default()) }
                        } } }
                    } }
                    @if let Some(body) = about.get("requestBody") { p { "Body:" } pre tabindex="0" { (serde_json::to_string_pretty(&body["content"]["application/json"]["schema"]).unwrap_or_default()) } }
                    p { "Answers: " @for (status, answer) in about["responses"].as_object().into_iter().flatten() { code { (status) } " " (answer["description"].as_str().unwrap_or_default()) "; " } }
                }
            }
        }
        h2 { "Types" }
        @for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
            details.card id=(name) { summary { code { (name) } } pre tabindex="0" { (serde_json::to_string_pretty(schema).unwrap_or_default()) } }
        }
    };
    view.show("API", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_durations() {
        let seconds: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 95, 99].map(|percent| rank(&seconds, percent)), [50.0, 95.0, 99.0]);
        assert_eq!((rank(&[7.0], 50), rank(&[7.0], 99), rank(&[], 50)), (7.0, 7.0, 0.0));
    }
}
