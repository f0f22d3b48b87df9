//! *Queue*: in the order in which tasks would start, why each ranks where it does; then one task, its attempts, what they printed.

use adce_api::{AttemptLine, TaskDetail, TaskLine};
use adce_core::figures::grouped;
use adce_core::gap::Outcome;
use axum::extract::{Path, Query};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::words::{away, bar, instant, seconds, state};
use super::{View, link};
use crate::problem::Problem;

const SHOWN: usize = 500;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    state: Option<String>,
    priority: Option<String>,
    source: Option<String>,
    /// From which place on.
    from: Option<usize>,
}

pub(super) async fn page(view: View, Query(asked): Query<Asked>) -> Response {
    view.answered("Queue", list(&view, asked).await)
}

async fn list(view: &View, asked: Asked) -> Result<Markup, Problem> {
    fn given(text: &Option<String>) -> Option<&str> {
        text.as_deref().filter(|text| !text.is_empty())
    }
    let sources: Vec<String> = view.desk().status().await?.sources.into_keys().collect();
    let is_meant = |task: &TaskLine| {
        given(&asked.state).is_none_or(|word| task.state.word() == word)
            && given(&asked.priority).is_none_or(|word| task.priority.word() == word)
            && given(&asked.source).is_none_or(|source| task.source.as_deref() == Some(source))
    };
    let from = asked.from.unwrap_or_default();
    let mut places = view.desk().tasks().await?.enumerate().filter(|(_, task)| is_meant(task)).skip(from);
    let shown: Vec<(usize, TaskLine)> = places.by_ref().take(SHOWN).collect();
    let more = places.next().is_some();
    let now = view.desk().now();
    Ok(html! {
        h1 { "Queue" }
        form.filters method="get" action="/queue" {
            (choice("state", "State", &["queued", "running", "waiting", "held", "exhausted"], given(&asked.state)))
            (choice("priority", "Priority", &["critical", "high", "medium", "low"], given(&asked.priority)))
            (choice("source", "Source", &sources.iter().map(String::as_str).collect::<Vec<_>>(), given(&asked.source)))
            button type="submit" { "Show" }
        }
        @if shown.is_empty() { p.faint { "Nothing is queued." } } @else {
            div.wide.tall tabindex="0" role="region" aria-label="Tasks" { table {
                caption { "In the order in which they would start. Score = (priority + age) × importance × size × success" }
                thead { tr { th.n scope="col" { "#" } th scope="col" { "Task" } th.n scope="col" { "Score" } th scope="col" { "Its parts" } th scope="col" { "State" } th scope="col" { "Source" } th.n scope="col" { "Items" } th scope="col" { "Since" } th scope="col" { span.unseen { "Acts" } } } }
                tbody { @for (place, task) in &shown { tr {
                    td.n { (grouped(*place as u64 + 1)) }
                    td.key { a href={ "/task/" (task.id) } { (task.key) } @if task.items > 1 { span.faint { " and " (task.items - 1) " more" } } }
                    td.n { (format!("{:.1}", task.score)) }
                    td.faint { (parts(task)) }
                    td { (state(task.state)) @if let Some(progress) = task.progress { " " (bar(progress.done, progress.of, &task.key)) } }
                    td { (task.source.as_deref().unwrap_or("-")) }
                    td.n { (task.items) }
                    td { (away(task.detected_at, now)) @if let Some(next) = task.next_try { span.faint { ", next try " (away(next, now)) } } }
                    td { (view.button("retry", &[("what", &task.id.to_string())], "Retry", &task.key)) " " (view.button("cancel", &[("what", &task.id.to_string())], "Cancel", &task.key)) }
                } } }
            } }
            @if more { p { a href=(link("/queue", &[("state", asked.state.as_deref().unwrap_or_default()), ("priority", asked.priority.as_deref().unwrap_or_default()), ("source", asked.source.as_deref().unwrap_or_default()), ("from", &(from + SHOWN).to_string())])) { "Next page" } } }
        }
    })
}

fn choice(name: &str, label: &str, words: &[&str], chosen: Option<&str>) -> Markup {
    html! {
        div { label for=(name) { (label) } select id=(name) name=(name) {
            option value="" { "any" }
            @for word in words { option value=(word) selected[chosen == Some(*word)] { (word) } }
        } }
    }
}

fn parts(task: &TaskLine) -> String {
    let Some(parts) = task.score_parts else { return String::new() };
    format!(
        "({:.0} {} + {:.1}) × {:.2} × {:.2} × {:.2}",
        parts.base,
        task.priority.word(),
        parts.age,
        parts.importance,
        parts.size,
        parts.success
    )
}

pub(super) fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { size, .. } => format!("done, {}", adce_core::figures::bytes(*size)),
        Outcome::Unchanged => "unchanged".into(),
        Outcome::Absent => "absent".into(),
        Outcome::Split => "split".into(),
        Outcome::Failed(failure) => format!("failed: {}", failure.message),
    }
}

pub(super) async fn task(view: View, Path(id): Path<String>) -> Response {
    let body = async {
        let parsed = id.parse().map_err(|error: adce_core::ids::NotAnId| Problem::not_found(error.to_string()))?;
        let detail = view.desk().task(parsed).await.map_err(Problem::of_name)?;
        Ok(shown(&view, &id, &detail))
    };
    let body = body.await;
    view.answered("Task", body)
}

fn shown(view: &View, id: &str, detail: &TaskDetail) -> Markup {
    let now = view.desk().now();
    html! {
        h1 { "Task " span.key { (id) } }
        @match &detail.task {
            None => { p.note { "It is done; this is its history." } }
            Some(task) => {
                @if let Some(held) = &detail.held_by { p.note { (held) } }
                dl.grid {
                    div.card { dt { "State" } dd { (state(task.state)) @if let Some(progress) = task.progress { (bar(progress.done, progress.of, id)) small { (progress.done) " of " (progress.of) " landed" } } } }
                    div.card { dt { "Score" } dd { (format!("{:.1}", task.score)) small { (parts(task)) } } }
                    div.card { dt { "Collector" } dd { (task.collector) small { (task.source.as_deref().unwrap_or("no source")) } } }
                    div.card { dt { "Since" } dd { (away(task.detected_at, now)) @if detail.better > 0 { small { (grouped(detail.better)) " better ones started meanwhile" } } } }
                }
                p { (view.button("retry", &[("what", id)], "Retry", id)) " " (view.button("cancel", &[("what", id)], "Cancel, and leave alone for an hour", id)) }
            }
        }
        @if !detail.waits.is_empty() {
            h2 { "What it waited for" }
            ul { @for wait in &detail.waits { li { (seconds(wait.seconds)) ": " (wait.reason) } } }
        }
        @if !detail.gaps.is_empty() {
            h2 { "Items" }
            div.wide.tall tabindex="0" role="region" aria-label="Items" { table {
                thead { tr { th scope="col" { "Key" } th scope="col" { "Reason" } th scope="col" { "State" } th.n scope="col" { "Attempts" } th scope="col" { "Last failure" } } }
                tbody { @for gap in detail.gaps.iter().take(1_000) { tr {
                    td.key { a href=(link("/item", &[("key", &gap.key)])) { (gap.key) } } td { (gap.reason.word()) } td { (state(gap.state)) } td.n { (gap.attempts) }
                    td { (gap.last_error.as_deref().unwrap_or("-")) }
                } } }
            } }
        }
        h2 { "Attempts" }
        @if detail.attempts.is_empty() { p.faint { "None has ended yet." } }
        @for (number, attempt) in detail.attempts.iter().enumerate().rev() { (one_attempt(number, attempt)) }
        @if !detail.events.is_empty() {
            h2 { "Events" }
            ol.steps { @for event in detail.events.iter().rev().take(500) { li { (instant(event.at)) ": " (event.text) } } }
        }
    }
}

fn one_attempt(number: usize, attempt: &AttemptLine) -> Markup {
    let took = attempt.ended_at.duration_since(attempt.started_at).as_secs_f64();
    html! {
        section.card aria-label=(format!("Attempt {}", number + 1)) {
            h3 { "Attempt " (number + 1) ": " (attempt.ended) }
            p { (instant(attempt.started_at)) ", took " (seconds(took)) ", " (grouped(attempt.requests)) " requests"
                @if let Some(traffic) = &attempt.traffic {
                    ", " (adce_core::figures::bytes(traffic.traffic.received_bytes)) " received"
                    @for (class, answers) in &traffic.traffic.statuses { ", " (answers) " × " (class) }
                }
                @if attempt.cut_short { ", " span.bad { "cut short: its engine was killed" } }
            }
            @if let Some(story) = &attempt.story {
                p.faint { "It ranked " (grouped(story.rank.into())) " of " (grouped(story.ready)) " ready ones with " (format!("{:.1}", story.score)) " points"
                    @if let Some(waited) = &story.waited { ", after " (seconds(waited.seconds)) ": " (waited.reason) } }
            }
            details open[number == 0] { summary { (attempt.outcomes.len()) " items" }
                ul { @for line in attempt.outcomes.iter().take(200) {
                    @let key = attempt.story.as_ref().and_then(|story| story.items.iter().find(|item| item.gap == line.gap)).map(|item| item.key.as_str());
                    li { @if let Some(key) = key { a.key href=(link("/item", &[("key", key)])) { (key) } ": " } (outcome_words(&line.outcome)) }
                } }
            }
            @if !attempt.log_tail.is_empty() {
                details open { summary { "The end of its log" } pre tabindex="0" { (attempt.log_tail) } }
                @if attempt.log.is_some() { p { a href={ "/v1/attempts/" (attempt.attempt) "/log" } { "The whole log" } } }
            }
        }
    }
}
