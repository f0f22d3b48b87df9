//! The dispatcher's view of a scenario.

use std::sync::Arc;
use std::time::Duration;

use adce_core::queue::{ByRules, Charging, CollectorRules, DatasetRules, Rules, SourceRules};
use adce_core::spec::{Caps, Weighting};

use crate::scenario::{Kind, Scenario};

pub fn rules(scenario: &Scenario) -> Rules {
    let sources = scenario.sources.iter().map(|source| {
        let by = source.each.clone().map(|limits| ByRules { name: "group".into(), limits, breaker: source.each_breaker });
        let rules = SourceRules { importance: source.importance, limits: source.limits.clone(), by, breaker: source.breaker };
        (Arc::from(source.name.as_str()), rules)
    });
    let collectors = scenario.collectors.iter().map(|collector| {
        let charge = if collector.kind == Kind::Charged { Charging::Ahead } else { Charging::EachRequest };
        let rules = CollectorRules {
            group_by: Vec::new(),
            batch: collector.batch,
            requests: collector.requests,
            charge,
            is_http: collector.kind == Kind::Http,
            retry: collector.retry,
            breaker: collector.breaker,
        };
        (Arc::from(collector.name.as_str()), rules)
    });
    let datasets = scenario.datasets.iter().map(|dataset| {
        let rules = DatasetRules {
            source: dataset.source.map(|at| Arc::from(scenario.sources[at].name.as_str())),
            collector: Some(Arc::from(scenario.collectors[dataset.collector].name.as_str())),
            absent: dataset.absent_policy,
            fingerprint: 1,
        };
        (Arc::from(dataset.name.as_str()), rules)
    });
    Rules {
        slots: scenario.slots,
        adaptive: true,
        reserve: scenario.reserve,
        caps: scenario.caps.iter().fold(Caps::default(), |caps, (priority, tasks)| caps.with(*priority, *tasks)),
        task_ttl: scenario.task_ttl.map(Duration::from_micros),
        sources: sources.collect(),
        limits: scenario.together.clone(),
        collectors: collectors.collect(),
        datasets: datasets.collect(),
        weighting: Weighting { enabled: scenario.weighted, ..Weighting::default() },
    }
}
