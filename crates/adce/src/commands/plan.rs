//! `adce plan`: what would be collected, in which order, and when it would be done. It writes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use adce_api::{Counts, DatasetCoverage, LeftOut, Plan, PlannedItem, PlannedTask};
use adce_core::figures::grouped;
use adce_core::gap::{Gap, GapState, Task};
use adce_core::ids::GapId;
use adce_core::queue::largest_batch;
use adce_core::spec::Spec;
use indexmap::IndexMap;

use crate::cli::Format;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::{self, Paper};
use crate::survey::Survey;
use crate::views;

pub async fn run(spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let survey = Survey::of(spec).await?;
    let plan = plan(&survey);
    let mut paper = Paper::stdout();
    match format {
        Format::Json => paper.json(&plan)?,
        Format::Text => {
            let width = paper.width();
            paper.write(|out| screen::plan::write(&plan, width, out))?;
        }
    }
    paper.finish()?;
    Ok(survey.exit())
}

/// The same figures for people and for programs.
fn plan(survey: &Survey) -> Plan {
    let Survey { spec, now, coverage, .. } = survey;
    let datasets: IndexMap<String, DatasetCoverage> = coverage
        .datasets
        .iter()
        .map(|dataset| {
            let listing_error = survey.listing_error(&dataset.name);
            (dataset.name.clone(), DatasetCoverage { listing_error, ..views::dataset_coverage(dataset) })
        })
        .collect();
    let mut all = Counts::default();
    datasets.values().for_each(|dataset| all.add(&dataset.counts));
    let gaps: HashMap<GapId, Gap> = survey.dispatcher.gaps().into_iter().map(|gap| (gap.id, gap)).collect();
    let tasks = if survey.surprises.is_empty() { tasks(survey, &gaps) } else { Vec::new() };
    Plan {
        name: spec.name.clone(),
        lake: survey.lake.clone(),
        at: now.wall,
        complete: survey.is_complete(),
        coverage: all,
        datasets,
        requests: tasks.iter().map(|task| task.requests).sum(),
        eta_seconds: None,
        bottleneck: None,
        left: left(survey, &gaps),
        held: survey.surprises.clone(),
        hints: shortened_batches(spec),
        tasks,
    }
}

/// The best first.
fn tasks(survey: &Survey, gaps: &HashMap<GapId, Gap>) -> Vec<PlannedTask> {
    let scored = survey.dispatcher.tasks().into_iter().map(|task| {
        let score = survey.dispatcher.score(task.id, survey.now).map_or(0, |score| score.total);
        (score, task)
    });
    let mut scored: Vec<(i64, Task)> = scored.collect();
    scored.sort_by(|(a_score, a), (b_score, b)| (b_score, a.detected_at, b.due, &a.key).cmp(&(a_score, b.detected_at, a.due, &b.key)));
    scored.into_iter().map(|(score, task)| planned(&survey.spec, task, score, gaps)).collect()
}

fn planned(spec: &Spec, task: Task, score: i64, gaps: &HashMap<GapId, Gap>) -> PlannedTask {
    let items = task.gaps.iter().filter_map(|gap| gaps.get(gap)).map(|gap| PlannedItem {
        dataset: gap.dataset.clone(),
        key: gap.key.clone(),
        reason: gap.reason,
        detected_at: gap.detected_at,
        item: Some(gap.item()),
    });
    let items: Vec<PlannedItem> = items.collect();
    // Without a source no upstream is asked.
    let terms = spec.collectors.get(&task.collector).filter(|_| task.source.is_some());
    PlannedTask {
        id: task.id,
        requests: terms.map_or(0, |collector| collector.requests.of(items.len())),
        collector: task.collector,
        source: task.source,
        priority: task.priority,
        score: score as f64 / 1e6,
        group: task.group,
        items,
        done_at: None,
    }
}

/// Gaps that the tasks of this plan will not fill.
fn left(survey: &Survey, gaps: &HashMap<GapId, Gap>) -> Vec<LeftOut> {
    if !survey.surprises.is_empty() {
        let held = gaps.len() as u64 + survey.held_back;
        return if held > 0 {
            vec![LeftOut { gaps: held, why: "held until the surprise is confirmed or accepted".into() }]
        } else {
            Vec::new()
        };
    }
    let mut watched: IndexMap<&str, u64> = IndexMap::new();
    let mut exhausted = 0;
    for gap in gaps.values() {
        if survey.dispatcher.task_of(gap.id).is_none() {
            *watched.entry(&gap.dataset).or_default() += 1;
        } else if survey.dispatcher.gap_state(gap.id, survey.now) == Some(GapState::Exhausted) {
            exhausted += 1;
        }
    }
    watched.sort_keys();
    let watched =
        watched.into_iter().map(|(dataset, gaps)| LeftOut { gaps, why: format!("`{dataset}` has no collector: it is only watched") });
    let exhausted = (exhausted > 0).then(|| LeftOut { gaps: exhausted, why: "exhausted; each is revived by itself".into() });
    watched.chain(exhausted).collect()
}

/// A task that is paid for ahead can never need more than a window admits, so its batch is cut.
fn shortened_batches(spec: &Spec) -> Vec<String> {
    let rules = adce_core::queue::Rules::of(spec);
    let mut hints: Vec<String> = Vec::new();
    for dataset in spec.datasets.values() {
        let Some(collector) = dataset.collector.as_ref().and_then(|name| spec.collectors.get(name)) else { continue };
        let largest = largest_batch(&rules, dataset.source.as_deref(), &collector.name);
        let wanted = collector.batch.size as usize;
        if largest < wanted {
            let [from, to] = [wanted, largest].map(|size| grouped(size as u64));
            let source = dataset.source.as_deref().unwrap_or_default();
            let hint =
                format!("batches of `{}` are cut from {from} to {to}: no window of `{source}` lets a larger one start", collector.name);
            if !hints.contains(&hint) {
                hints.push(hint);
            }
        }
    }
    hints
}
