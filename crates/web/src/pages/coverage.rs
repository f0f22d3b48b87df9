//! *Coverage*: where the holes are, then which items they are, then one item's story.

use std::collections::HashMap;

use adce_api::{CoverageAsk, CoverageCell, CoverageReport, GapLine};
use adce_core::figures::grouped;
use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::words::{away, bar, instant, shade, share, state};
use super::{View, drawing, link};
use crate::paging::{self, Limit, Page, first_behind};
use crate::problem::Problem;

/// A larger map is a picture: as links it would take seconds to draw.
const CELLS_AS_LINKS: usize = 6_000;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    dataset: Option<String>,
    by: Option<String>,
}

impl Asked {
    fn dataset(&self) -> Option<&str> {
        self.dataset.as_deref().filter(|name| !name.is_empty())
    }

    fn ask(&self) -> CoverageAsk {
        let by = self.by.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty());
        CoverageAsk { dataset: self.dataset().map(String::from), by: by.map(String::from).collect() }
    }
}

pub(super) async fn page(view: View, Query(asked): Query<Asked>) -> Response {
    view.answered("Coverage", map(&view, &asked).await)
}

async fn map(view: &View, asked: &Asked) -> Result<Markup, Problem> {
    let all = view.desk().status().await?.datasets;
    let report = view.desk().coverage(&asked.ask()).await?;
    Ok(html! {
        h1 { "Coverage" @if let Some(dataset) = asked.dataset() { " of " (dataset) } }
        form.filters method="get" action="/coverage" {
            div { label for="dataset" { "Dataset" }
                select id="dataset" name="dataset" {
                    option value="" { "all" }
                    @for name in all.keys() { option value=(name) selected[asked.dataset() == Some(name.as_str())] { (name) } }
                } }
            div { label for="by" { "Counted by (one name or two)" }
                input id="by" name="by" value=(asked.by.as_deref().unwrap_or_default()) placeholder="season,month"; }
            button type="submit" { "Show" }
        }
        p { (share(report.coverage.items.present, report.coverage.items.wanted())) " of " (grouped(report.coverage.items.wanted())) " items present, "
            (grouped(report.coverage.items.gaps())) " gaps, " (grouped(report.coverage.items.absent)) " absent, " (grouped(report.coverage.items.not_due)) " not due." }
        @match &report.by[..] {
            [] => (datasets(&report)),
            _ if report.cells.len() > CELLS_AS_LINKS => {
                img.picture src=(link("/picture/coverage.svg", &[("dataset", asked.dataset().unwrap_or_default()), ("by", asked.by.as_deref().unwrap_or_default())]))
                    alt=(format!("Heat map of {} cells; the worst of them are in the table below", grouped(report.cells.len() as u64)));
                (worst(&report))
            },
            [_] => (list(&report)),
            _ => (heat(&report)),
        }
        @if !report.left_out.is_empty() { p.faint { "Not counted by that: " (report.left_out.join(", ")) } }
        p.faint { "Colours: " span.badge.s0 { "0 %" } " " span.badge.s1 { "below 50" } " " span.badge.s2 { "below 80" } " " span.badge.s3 { "below 95" } " "
            span.badge.s4 { "below 100" } " " span.badge.s5 { "100 %" } ". Each cell tells its figure, too." }
    })
}

fn datasets(report: &CoverageReport) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label="Datasets" { table {
            thead { tr { th scope="col" { "Dataset" } th scope="col" { "Present" } th.n scope="col" { "Share" } th.n scope="col" { "Gaps" } th.n scope="col" { "Absent" } } }
            tbody { @for (name, dataset) in &report.datasets {
                @let counts = &dataset.counts.items;
                tr {
                    th scope="row" { a href=(link("/coverage", &[("dataset", name)])) { (name) } }
                    td { (bar(counts.present, counts.wanted(), name)) }
                    td.n { (share(counts.present, counts.wanted())) }
                    td.n { a href=(link("/items", &[("dataset", name)])) { (grouped(counts.gaps())) } }
                    td.n { (grouped(counts.absent)) }
                }
            } }
        } }
    }
}

fn value(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or("—")
}

/// Where a cell's items are listed: by the values that are as they are. A month of a column is none.
fn items_of(report: &CoverageReport, cell: &CoverageCell) -> String {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    pairs.extend(report.dataset.as_deref().map(|dataset| ("dataset", dataset)));
    for (axis, value) in report.by.iter().zip(&cell.values) {
        let Some(value) = value else { continue };
        match axis.name.as_str() {
            "dataset" => pairs.push(("dataset", value)),
            name if axis.pace.is_none() && name != "source" => pairs.push((name, value)),
            _ => {}
        }
    }
    link("/items", &pairs)
}

fn list(report: &CoverageReport) -> Markup {
    html! {
        div.wide.tall tabindex="0" role="region" aria-label="By value" { table {
            thead { tr { th scope="col" { (report.by[0].name) } th scope="col" { "Present" } th.n scope="col" { "Share" } th.n scope="col" { "Gaps" } } }
            tbody { @for cell in &report.cells { tr {
                th scope="row" { (value(&cell.values[0])) }
                td { (bar(cell.items.present, cell.items.wanted(), value(&cell.values[0]))) }
                td.n { (share(cell.items.present, cell.items.wanted())) }
                td.n { @if cell.items.gaps() == 0 { "-" } @else { a href=(items_of(report, cell)) { (grouped(cell.items.gaps())) } } }
            } } }
        } }
    }
}

fn heat(report: &CoverageReport) -> Markup {
    let [rows, columns] = [&report.by[0], &report.by[1]];
    let cells: HashMap<(&str, &str), &CoverageCell> =
        report.cells.iter().map(|cell| ((value(&cell.values[0]), value(&cell.values[1])), cell)).collect();
    let named = |values: &[Option<String>]| values.iter().map(|of| value(of).to_owned()).collect::<Vec<String>>();
    let (rows_of, columns_of) = (named(&rows.values), named(&columns.values));
    html! {
        div.wide.tall tabindex="0" role="region" aria-label="Heat map" { table.heat {
            caption { (rows.name) " down, " (columns.name) " across: share of what is there of what should be" }
            thead { tr { td {} @for column in &columns_of { th scope="col" { (column) } } } }
            tbody { @for row in &rows_of { tr {
                th scope="row" { (row) }
                @for column in &columns_of {
                    @match cells.get(&(row.as_str(), column.as_str())) {
                        None => { td {} }
                        Some(cell) => {
                            @let (present, wanted) = (cell.items.present, cell.items.wanted());
                            td class=(shade(present, wanted)) title=(format!("{row}, {column}: {} of {}", grouped(present), grouped(wanted))) {
                                @if cell.items.gaps() > 0 { a href=(items_of(report, cell)) { (short(present, wanted)) } } @else { span { (short(present, wanted)) } }
                            }
                        }
                    }
                }
            } } }
        } }
    }
}

/// Never rounded up to 100.
fn short(present: u64, wanted: u64) -> String {
    (present * 100).checked_div(wanted).map_or_else(|| "·".into(), |share| share.to_string())
}

const WORST: usize = 200;

fn worst(report: &CoverageReport) -> Markup {
    let mut cells: Vec<&CoverageCell> = report.cells.iter().filter(|cell| cell.items.gaps() > 0).collect();
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.items.gaps()));
    html! {
        h2 { "Most gaps" }
        div.wide.tall tabindex="0" role="region" aria-label="Cells with the most gaps" { table {
            thead { tr { @for axis in &report.by { th scope="col" { (axis.name) } } th.n scope="col" { "Share" } th.n scope="col" { "Gaps" } } }
            tbody { @for cell in cells.into_iter().take(WORST) { tr {
                @for of in &cell.values { td { (value(of)) } }
                td.n { (share(cell.items.present, cell.items.wanted())) }
                td.n { a href=(items_of(report, cell)) { (grouped(cell.items.gaps())) } }
            } } }
        } }
    }
}

pub(super) async fn picture(view: View, Query(asked): Query<Asked>) -> Response {
    let drawn = async { Ok::<_, Problem>(view.desk().picture(&view.desk().coverage(&asked.ask()).await?, false)) };
    match drawn.await {
        Ok(svg) => drawing(svg),
        Err(problem) => view.refuse(&problem),
    }
}

/// Gaps of a dataset, of a cell, or all.
pub(super) async fn items(view: View, Query(asked): Query<Vec<(String, String)>>) -> Response {
    view.answered("Gaps", gaps(&view, asked).await)
}

async fn gaps(view: &View, asked: Vec<(String, String)>) -> Result<Markup, Problem> {
    let of = |name: &str| asked.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    let (dataset, wanted, prefix) = (of("dataset"), of("state"), of("prefix"));
    let after = paging::read::<(String, String)>(of("cursor"))?;
    let own = ["dataset", "state", "prefix", "cursor"];
    let values: Vec<(String, String)> = asked.iter().filter(|(name, _)| !own.contains(&name.as_str())).cloned().collect();
    let all: Box<dyn Iterator<Item = GapLine> + Send> = match (dataset, values.is_empty()) {
        (Some(dataset), false) => Box::new(view.desk().gaps_with(dataset, &values).await?.into_iter()),
        _ => view.desk().gaps().await?,
    };
    let is_meant = |gap: &GapLine| {
        dataset.is_none_or(|dataset| gap.dataset == dataset)
            && wanted.is_none_or(|wanted| gap.state.word() == wanted)
            && prefix.is_none_or(|prefix| gap.key.starts_with(prefix))
    };
    let page = first_behind(all.filter(is_meant), |gap| (gap.dataset.clone(), gap.key.clone()), after.as_ref(), Limit(500));
    let now = view.desk().now();
    let next = page.next.as_ref().map(|cursor| {
        let kept = asked.iter().filter(|(name, _)| name != "cursor").map(|(name, value)| (name.as_str(), value.as_str()));
        link("/items", &kept.chain([("cursor", cursor.as_str())]).collect::<Vec<_>>())
    });
    Ok(html! {
        h1 { "Gaps" @if let Some(dataset) = dataset { " of " (dataset) } }
        @if !values.is_empty() { p { "Of " @for (name, value) in &values { span.badge { (name) " = " (value) } " " } } }
        form.filters method="get" action="/items" {
            @if let Some(dataset) = dataset { input type="hidden" name="dataset" value=(dataset); }
            @for (name, value) in &values { input type="hidden" name=(name) value=(value); }
            div { label for="state" { "State" } select id="state" name="state" {
                option value="" { "any" }
                @for name in ["queued", "running", "waiting", "held", "exhausted"] { option value=(name) selected[wanted == Some(name)] { (name) } }
            } }
            div { label for="prefix" { "Keys that begin with" } input id="prefix" name="prefix" value=(prefix.unwrap_or_default()); }
            button type="submit" { "Show" }
        }
        (table_of(view, &page, now))
        @if let Some(next) = next { p { a href=(next) { "Next page" } } }
    })
}

fn table_of(view: &View, page: &Page<GapLine>, now: adce_core::time::Timestamp) -> Markup {
    html! {
        @if page.items.is_empty() { p.faint { "There are none." } } @else {
            div.wide.tall tabindex="0" role="region" aria-label="Gaps" { table {
                thead { tr { th scope="col" { "Key" } th scope="col" { "Reason" } th scope="col" { "State" } th.n scope="col" { "Attempts" } th scope="col" { "Since" } th scope="col" { "Next try" } th scope="col" { span.unseen { "Acts" } } } }
                tbody { @for gap in &page.items { tr {
                    td.key { a href=(link("/item", &[("key", &gap.key)])) { (gap.key) } }
                    td { (gap.reason.word()) }
                    td { (state(gap.state)) }
                    td.n { (gap.attempts) }
                    td { (away(gap.detected_at, now)) }
                    td { @if let Some(next) = gap.next_try { (away(next, now)) } @else { "-" } }
                    td { (view.button("retry", &[("what", &gap.key)], "Retry", &gap.key)) }
                } } }
            } }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ItemAsked {
    key: String,
}

/// One item's story.
pub(super) async fn item(view: View, Query(ItemAsked { key }): Query<ItemAsked>) -> Response {
    view.answered(&key.clone(), story(&view, &key).await)
}

async fn story(view: &View, key: &str) -> Result<Markup, Problem> {
    let why = view.desk().why(key).await?;
    let gap = view.desk().gaps().await?.find(|gap| gap.key == key);
    let detail = match gap.as_ref().and_then(|gap| gap.task) {
        Some(task) => view.desk().task(task).await.ok(),
        None => None,
    };
    let now = view.desk().now();
    Ok(html! {
        h1.key { (key) }
        p.note { (why.answer) }
        @if let Some(gap) = &gap {
            dl.grid {
                div.card { dt { "State" } dd { (state(gap.state)) small { (gap.reason.word()) ", " (gap.priority.word()) } } }
                div.card { dt { "Since" } dd { (away(gap.detected_at, now)) } }
                div.card { dt { "Attempts" } dd { (gap.attempts) small { (gap.tries) " in all" } } }
                div.card { dt { "Next try" } dd { @if let Some(next) = gap.next_try { (away(next, now)) } @else { "-" } } }
            }
            p {
                (view.button("retry", &[("what", key)], "Retry", key)) " "
                (view.button("cancel", &[("what", key)], "Leave alone for an hour", key)) " "
                @if let Some(task) = gap.task { a href={ "/task/" (task) } { "Its task" } " · " }
                a href=(link("/coverage", &[("dataset", &gap.dataset)])) { (gap.dataset) }
            }
            @if let Some(error) = &gap.last_error { h2 { "Last failure" } pre { (error) } }
        }
        @if !why.facts.is_empty() { h2 { "Known of it" } ul { @for fact in &why.facts { li { (fact) } } } }
        @if !why.near.is_empty() { h2 { "Nearly" } ul { @for near in &why.near { li { code { (near.template) } " of " (near.dataset) ": " (near.wanted) } } } }
        @if let Some(detail) = &detail {
            h2 { "What was tried" }
            @if detail.attempts.is_empty() { p.faint { "Nothing yet." } }
            ol.steps { @for attempt in detail.attempts.iter().rev() { li {
                (instant(attempt.started_at)) ": " (attempt.ended) ", " (attempt.requests) " requests"
                @for outcome in attempt.outcomes.iter().filter(|line| gap.as_ref().is_some_and(|gap| line.gap.item == gap.item)) { ", " (super::queue::outcome_words(&outcome.outcome)) }
            } } }
        }
    })
}
