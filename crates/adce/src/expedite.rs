//! What somebody wants collected soon: which gaps that is, and what becomes of them.

use std::collections::{BTreeMap, HashSet};

use adce_api::{Answers, DateRange, Refusal, Requested, RequestedTask, TaskRequest};
use adce_core::coverage::Expected;
use adce_core::gap::Gap;
use adce_core::ids::{ItemId, TaskId};
use adce_core::queue::Came;
use adce_core::spec::Spec;
use adce_core::time::Timestamp;
use adce_engine::Query;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::control::EngineAnswers;

impl EngineAnswers {
    pub(crate) async fn expedite(&self, ask: &TaskRequest) -> Result<Requested, Refusal> {
        let spec = self.in_force.spec();
        let what = named(ask, &spec)?;
        let expected = self.ask(Query::Coverage).await?.expected;
        let gaps = self.ask(Query::Gaps).await?;
        let meant = gaps.iter().map(|view| &view.gap).filter(|gap| is_meant(gap, ask, &spec, &expected));
        let meant: HashSet<ItemId> = meant.map(|gap| gap.id.item).collect();
        let items = meant.len() as u64;
        let asked = self.ask(|reply| Query::Expedite(meant, ask.priority, reply)).await?;
        let of_tasks: HashSet<TaskId> = asked.iter().filter_map(|asked| asked.task).collect();
        let ranked = self.tasks().await?.zip(1..).filter(|(task, _)| of_tasks.contains(&task.id));
        let tasks = ranked.map(|(task, position)| RequestedTask {
            id: task.id,
            state: task.state,
            priority: task.priority,
            position,
            items: task.items,
        });
        let tasks: Vec<RequestedTask> = tasks.collect();
        let count = |is: fn(&Came) -> bool| asked.iter().filter(|asked| is(&asked.came)).count() as u64;
        let requested = Requested {
            items,
            running: count(|came| *came == Came::Runs),
            left_alone: count(|came| !matches!(came, Came::Runs | Came::Retried | Came::Waits)),
            tasks,
        };
        if items > 0 {
            let mut before: BTreeMap<&str, u64> = BTreeMap::new();
            asked.iter().for_each(|asked| *before.entry(asked.gap.priority.word()).or_default() += 1);
            let after = json!({ "items": items, "tasks": requested.tasks.len(), "priority": ask.priority, "date_range": ask.date_range });
            self.done("request", Some(&what), json!({ "items_by_priority": before }), after).await;
        }
        Ok(requested)
    }
}

/// Of a source or of a dataset, and which.
fn named(ask: &TaskRequest, spec: &Spec) -> Result<String, Refusal> {
    match (&ask.source, &ask.dataset) {
        (Some(source), None) if spec.sources.contains_key(source) => Ok(format!("source:{source}")),
        (None, Some(dataset)) if spec.datasets.contains_key(dataset) => Ok(format!("dataset:{dataset}")),
        (Some(source), None) => Err(Refusal::usage(format!("no source is called `{source}`"))),
        (None, Some(dataset)) => Err(Refusal::usage(format!("no dataset is called `{dataset}`"))),
        _ => Err(Refusal::usage("either `source` or `dataset` says what is meant")),
    }
}

fn is_meant(gap: &Gap, ask: &TaskRequest, spec: &Spec, expected: &Expected) -> bool {
    let is_of = match (&ask.source, &ask.dataset) {
        (_, Some(dataset)) => gap.dataset == *dataset,
        (source, None) => spec.datasets.get(&gap.dataset).is_some_and(|dataset| dataset.source == *source),
    };
    let day = || expected.find(&gap.key).and_then(|item| expected.calendar_start(item)).or(gap.due);
    is_of && ask.date_range.is_none_or(|range| day().is_some_and(|day| is_within(day, range)))
}

fn is_within(at: Timestamp, range: DateRange) -> bool {
    let day = at.to_zoned(TimeZone::UTC).date();
    range.start <= day && day <= range.end
}
