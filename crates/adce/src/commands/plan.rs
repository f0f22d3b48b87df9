//! `adce plan`: what would be collected, in which order, and when it would be done. It writes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use adce_api::{Bottleneck, Counts, LeftOut, Plan, PlannedItem, PlannedTask, ReservePrice, health};
use adce_core::figures::{counted, grouped, span};
use adce_core::gap::{Gap, Task};
use adce_core::ids::GapId;
use adce_core::queue::{
    self, Assumptions, Forecast, Foreseen, Gate, Rules, SourceFigures, forecast, largest_batch, reserve_price, whose_breaker,
};
use adce_core::spec::{PriorityLevel, Spec};
use adce_core::time::{Now, Timestamp};
use indexmap::IndexMap;

use crate::cli::Format;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::screen::{self, Paper};
use crate::survey::Survey;
use crate::views;

pub async fn run(spec: Arc<Spec>, format: Format) -> Result<Exit, Failure> {
    let survey = Survey::of(spec).await?;
    let exit = survey.exit();
    let plan = plan(survey);
    let mut paper = Paper::stdout();
    match format {
        Format::Json => paper.json(&plan)?,
        Format::Text => {
            let width = paper.width();
            paper.write(|out| screen::plan::write(&plan, width, out))?;
        }
    }
    paper.finish()?;
    Ok(exit)
}

/// The same figures for people and for programs.
pub fn plan(survey: Survey) -> Plan {
    let datasets = survey.datasets();
    let mut all = Counts::default();
    datasets.values().for_each(|dataset| all += dataset.counts);
    let complete = survey.is_complete();
    let gaps: HashMap<GapId, Gap> = survey.dispatcher.gaps().into_iter().map(|gap| (gap.id, gap)).collect();
    let mut left = watched(&survey, &gaps);
    left.extend(older(&survey));
    let Survey { spec, lake, now, dispatcher, held_back, surprises, reported, .. } = survey;
    let assumptions = Assumptions { a_cycle_every: spec.engine.reconcile_every, ..Assumptions::default() };
    let once_more = (!spec.engine.reserve.is_empty()).then(|| dispatcher.clone());
    let sources = dispatcher.figures(now);
    let foreseen = forecast(dispatcher, &assumptions, now);
    let price = once_more.and_then(|dispatcher| reserve_price(dispatcher, &foreseen, &assumptions, now));
    let hints = shortened_batches(&spec).into_iter().chain(outlives_ttl(&spec, &foreseen, now)).chain(keep_failing(&sources, &foreseen));
    let hints = hints.collect();
    left.extend(left_over(&foreseen.left, held_back.len() as u64, now));
    Plan {
        name: spec.name.clone(),
        lake,
        at: now.wall,
        complete,
        healthy: health(datasets.values()),
        coverage: all,
        datasets,
        requests: foreseen.requests,
        eta_seconds: foreseen.done_by.map(|done| done.duration_since(now.wall).as_secs_f64().max(0.0)),
        reserve: price.map(|price| ReservePrice {
            priorities: spec.engine.reserve.shares().map(|(priority, _)| priority).collect(),
            eta_seconds_without: price.done_by_without.duration_since(now.wall).as_secs_f64().max(0.0),
            costs_seconds: price.done_by.duration_since(price.done_by_without).as_secs_f64().max(0.0),
        }),
        bottleneck: foreseen.bottleneck.map(|bottleneck| pace(bottleneck, &spec)),
        left,
        report: views::report(&reported),
        held: surprises,
        hints,
        tasks: foreseen.tasks.into_iter().map(|task| planned(task, &gaps)).collect(),
    }
}

fn planned(foreseen: Foreseen, gaps: &HashMap<GapId, Gap>) -> PlannedTask {
    let Foreseen { task, score, requests, done_by, .. } = foreseen;
    let items = task.gaps.iter().filter_map(|gap| gaps.get(gap)).map(|gap| PlannedItem {
        dataset: gap.dataset.clone(),
        key: gap.key.clone(),
        reason: gap.reason,
        detected_at: gap.detected_at,
        item: Some(gap.item()),
    });
    PlannedTask {
        id: task.id,
        items: items.collect(),
        collector: task.collector,
        source: task.source,
        priority: task.priority,
        score: score.total as f64 / 1e6,
        group: task.group,
        requests,
        done_at: Some(done_by),
    }
}

/// Gaps of datasets that nobody collects.
fn watched(survey: &Survey, gaps: &HashMap<GapId, Gap>) -> Vec<LeftOut> {
    let mut watched: IndexMap<&str, u64> = IndexMap::new();
    for gap in gaps.values().filter(|gap| survey.dispatcher.task_of(gap.id).is_none()) {
        *watched.entry(&gap.dataset).or_default() += 1;
    }
    watched.sort_keys();
    let why = |dataset: &str| format!("`{dataset}` has no collector: it is only watched");
    watched.into_iter().map(|(dataset, gaps)| LeftOut { gaps, why: why(dataset) }).collect()
}

/// What was missing before the lake was adopted.
fn older(survey: &Survey) -> Option<LeftOut> {
    let baseline = survey.spec.baseline.filter(|_| !survey.aside.is_empty())?;
    let since = baseline.strftime("%Y-%m-%d");
    let why = format!("older than `baseline: {since}`, and left alone until asked for: `adce run --select \"overdue > 0s\"`, for example");
    Some(LeftOut { gaps: survey.aside.len() as u64, why })
}

/// Gaps that wait for something else than their turn.
fn left_over(left: &[(Task, Gate)], held_back: u64, now: Now) -> Vec<LeftOut> {
    let mut reasons: IndexMap<String, u64> = IndexMap::new();
    if held_back > 0 {
        reasons.insert(HELD.into(), held_back);
    }
    for (task, gate) in left {
        *reasons.entry(why_left(gate, now)).or_default() += task.gaps.len() as u64;
    }
    reasons.into_iter().map(|(why, gaps)| LeftOut { gaps, why }).collect()
}

const HELD: &str = "held until the surprise is confirmed or accepted";

/// Without the times, which differ from gap to gap.
fn why_left(gate: &Gate, now: Now) -> String {
    match gate {
        Gate::Surprise { .. } => HELD.into(),
        Gate::Exhausted { .. } => "exhausted; each is revived by itself".into(),
        Gate::Cancelled { .. } => "cancelled by hand; `adce retry` tries them at once".into(),
        Gate::NotYet { .. } => "upstream does not have them yet; each is asked for again by itself".into(),
        Gate::Doubted { .. } => "upstream says of too many at once that it has no such thing; one of them is asked for again".into(),
        Gate::Contested { .. } => "filled and gone three times in a day; each is left alone for a day, or `adce accept KEY`".into(),
        Gate::Breaker { source, value, reason, .. } => format!("{} is open: {reason}", whose_breaker(source, value.as_deref())),
        Gate::CollectorBreaker { collector, reason, .. } => format!("the breaker of collector `{collector}` is open: {reason}"),
        Gate::Cap { .. } => format!("{}; a run that waits for it goes on then", views::cap_words(gate)),
        Gate::Retry { .. } => "failed, and not tried again for a while".into(),
        other => views::sentence(other, now),
    }
}

/// Who waits for longer than `task_ttl` does not do so as the task that is planned.
fn outlives_ttl(spec: &Spec, foreseen: &Forecast, now: Now) -> Option<String> {
    let ttl = spec.engine.task_ttl?;
    let waits = |task: &&Foreseen| Duration::try_from(task.done_by.duration_since(now.wall)).is_ok_and(|waits| waits > ttl);
    let tasks = foreseen.tasks.iter().filter(waits).count() as u64;
    let (ttl, tasks) = (span(ttl), (tasks > 0).then(|| counted(tasks, "task"))?);
    Some(format!(
        "{tasks} would wait for longer than `task_ttl: {ttl}`: each ends then, and its gaps make new ones with the next full look"
    ))
}

/// What is foreseen of a source whose breaker is open rests on its next probe.
fn keep_failing(sources: &[SourceFigures], foreseen: &Forecast) -> Vec<String> {
    let is_foreseen = |source: &str| foreseen.tasks.iter().any(|task| task.task.source.as_deref() == Some(source));
    let gates = |source: &'_ SourceFigures| {
        let of_values = source.values.iter().flat_map(|values| &values.worst).filter_map(|value| value.gate.clone());
        source.gate.clone().into_iter().chain(of_values).collect::<Vec<Gate>>()
    };
    let failing = sources.iter().filter(|source| is_foreseen(&source.source)).flat_map(gates).filter_map(|gate| match gate {
        Gate::Breaker { source, value, until, reason, .. } => Some((whose_breaker(&source, value.as_deref()), until, reason)),
        _ => None,
    });
    let hint = |(whose, until, reason): (String, Option<Timestamp>, String)| {
        let probe = until.map(|until| format!(", {},", until.strftime("%Y-%m-%d %H:%M:%S UTC"))).unwrap_or_default();
        format!("{whose} is open ({reason}): what is planned for it begins with the next probe{probe} and holds if that is answered")
    };
    failing.map(hint).collect()
}

fn pace(bottleneck: queue::Bottleneck, spec: &Spec) -> Bottleneck {
    let queue::Bottleneck { source, value, limit, every, .. } = bottleneck;
    let pace = match every {
        // How long a request takes, nobody has declared.
        every if limit.starts_with("in_flight") => format!("{limit}, about {:.0} a second", 1.0 / every.as_secs_f64().max(1e-3)),
        every if every.is_zero() => limit.clone(),
        every if every < Duration::from_secs(1) => format!("{:.0} a second", 1.0 / every.as_secs_f64()),
        every => format!("1 every {:.3} s", every.as_secs_f64()).replace(".000 s", " s"),
    };
    let text = match (&source, limit.as_str()) {
        (None, "slots") => counted(spec.engine.max_concurrent.into(), "slot"),
        (None, _) => format!("all sources together, {pace}"),
        (Some(_), _) => value.as_ref().map_or(pace.clone(), |value| format!("{value}, {pace}")),
    };
    Bottleneck { source, value, text }
}

/// A task that is paid for ahead can never need more than a window admits, so its batch is cut.
fn shortened_batches(spec: &Spec) -> Vec<String> {
    let rules = Rules::of(spec);
    let mut hints: Vec<String> = Vec::new();
    for dataset in spec.datasets.values() {
        let Some(collector) = dataset.collector.as_ref().and_then(|name| spec.collectors.get(name)) else { continue };
        let batch = |priority| largest_batch(&rules, dataset.source.as_deref(), &collector.name, priority);
        let largest = PriorityLevel::ALL.into_iter().map(batch).min().unwrap_or_default();
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
