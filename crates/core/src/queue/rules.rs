//! What the queue needs to know of a configuration, and nothing more: no templates, no expressions, no paths.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use crate::limits::SourceIx;
use crate::spec::{AbsentPolicy, BreakerPolicy, Caps, How, Limits, Requests, Reserve, RetryPolicy, Spec, Via, Weighting, group_names};

/// The queue's view of a [`Spec`].
#[derive(Clone, Debug)]
pub struct Rules {
    /// Attempts that may run at once.
    pub slots: u32,
    /// No more attempts at a source than can do useful work, while others could use their slots. Always on, but for comparison.
    pub adaptive: bool,
    /// Of the slots and of every window.
    pub reserve: Reserve,
    /// Tasks that may start from one full look to the next.
    pub caps: Caps,
    /// How long a task may stand in line.
    pub task_ttl: Option<Duration>,
    pub sources: IndexMap<Arc<str>, SourceRules>,
    /// All sources together.
    pub limits: Limits,
    pub collectors: IndexMap<Arc<str>, CollectorRules>,
    pub datasets: IndexMap<Arc<str>, DatasetRules>,
    pub weighting: Weighting,
}

#[derive(Clone, Debug)]
pub struct SourceRules {
    /// Factor of the score.
    pub importance: f64,
    pub limits: Limits,
    pub by: Option<ByRules>,
    /// `None`: `breaker: off`.
    pub breaker: Option<BreakerPolicy>,
}

/// What a source's requests are told apart by.
#[derive(Clone, Debug)]
pub struct ByRules {
    /// A dimension, or a column, of its items; a task has one value of it.
    pub name: Arc<str>,
    /// Of each value.
    pub limits: Limits,
    /// Of each value; `None`: it has none for itself.
    pub breaker: Option<BreakerPolicy>,
}

#[derive(Clone, Debug)]
pub struct CollectorRules {
    /// `batch.group_by`: what a gap's `group` has the values of, before that of the source's `by`.
    pub group_by: Vec<Arc<str>>,
    /// `batch.size`, at least 1, before it is cut to the limits.
    pub batch: u32,
    pub requests: Requests,
    pub charge: Charging,
    /// adce itself sends its requests (`http`): it can end between any two of them, and loses nothing.
    pub is_http: bool,
    pub retry: RetryPolicy,
    /// `None`: `breaker: off`.
    pub breaker: Option<BreakerPolicy>,
}

/// When a task's requests are paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charging {
    /// One permit to start, one more for every further request: adce sends or proxies them.
    EachRequest,
    /// All of `requests` before the start: nobody sees them pass.
    Ahead,
}

#[derive(Clone, Debug)]
pub struct DatasetRules {
    pub source: Option<Arc<str>>,
    /// `None`: only watched; its gaps make no tasks.
    pub collector: Option<Arc<str>>,
    pub absent: AbsentPolicy,
    pub fingerprint: u64,
}

impl SourceRules {
    /// All limits that a request to it is under.
    pub(super) fn scopes<'a>(&'a self, of_all: &'a Limits) -> Vec<&'a Limits> {
        [&self.limits, of_all].into_iter().chain(self.by.as_ref().map(|by| &by.limits)).collect()
    }
}

impl Rules {
    pub fn of(spec: &Spec) -> Self {
        let sources = spec.sources.iter().map(|(name, source)| {
            let by = source.by.as_ref().map(|by| ByRules { name: by.name.as_str().into(), limits: by.limits.clone(), breaker: by.breaker });
            let rules = SourceRules { importance: source.importance, limits: source.limits.clone(), by, breaker: source.breaker };
            (Arc::from(name.as_str()), rules)
        });
        let collectors = spec.collectors.iter().map(|(name, collector)| {
            let charge = match (&collector.how, collector.via) {
                (How::Http(_), _) | (_, Via::Gateway) => Charging::EachRequest,
                (How::Command(_), Via::None) => Charging::Ahead,
            };
            let rules = CollectorRules {
                group_by: collector.batch.group_by.iter().map(|name| name.as_str().into()).collect(),
                batch: collector.batch.size.max(1),
                requests: collector.requests,
                charge,
                is_http: matches!(collector.how, How::Http(_)),
                retry: collector.retry,
                breaker: collector.breaker,
            };
            (Arc::from(name.as_str()), rules)
        });
        let datasets = spec.datasets.iter().map(|(name, dataset)| {
            let rules = DatasetRules {
                source: dataset.source.as_deref().map(Arc::from),
                collector: dataset.collector.as_deref().map(Arc::from),
                absent: dataset.absent,
                fingerprint: dataset.fingerprint,
            };
            (Arc::from(name.as_str()), rules)
        });
        Rules {
            slots: spec.engine.max_concurrent,
            adaptive: true,
            reserve: spec.engine.reserve,
            caps: spec.engine.tasks_per_cycle,
            task_ttl: spec.engine.task_ttl,
            sources: sources.collect(),
            limits: spec.limits.clone(),
            collectors: collectors.collect(),
            datasets: datasets.collect(),
            weighting: spec.weighting.clone(),
        }
    }

    /// The names of which a gap's `group` has the values, and in this order.
    pub fn group_names(&self, source: Option<SourceIx>, collector: usize) -> impl Iterator<Item = &str> {
        let group_by = self.collectors.get_index(collector).map_or(&[][..], |(_, collector)| &collector.group_by);
        group_names(group_by, source.and_then(|source| self.told_apart(source)).map(|by| &*by.name))
    }

    /// What requests to this source are told apart by.
    pub fn told_apart(&self, source: SourceIx) -> Option<&ByRules> {
        self.sources.get_index(source.0 as usize).and_then(|(_, source)| source.by.as_ref())
    }

    /// Position of a dataset; one that the config does not know is added, and only watched.
    pub(super) fn dataset_ix(&mut self, name: &str) -> usize {
        match self.datasets.get_index_of(name) {
            Some(at) => at,
            None => {
                let unknown = DatasetRules { source: None, collector: None, absent: AbsentPolicy::default(), fingerprint: 0 };
                self.datasets.insert_full(name.into(), unknown).0
            }
        }
    }
}
