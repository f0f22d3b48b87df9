//! A small configuration, gaps for it, a clock, and a memory that does what a store does.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::gap::{Failure, Fault, Gap, Outcome, Progress, Reason, Task};
use crate::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId, Uuid};
use crate::pause::{Pause, PauseOf};
use crate::queue::{ByRules, Charging, CollectorRules, DatasetRules, Dispatcher, GapNews, Pick, Rules, SourceRules, Start};
use crate::record::{BreakerRecord, Change, ItemRecord, Lease, Remembered, Reservation, SourceRecord};
use crate::spec::{AbsentPolicy, BreakerPolicy, Limits, PriorityLevel, Requests, RetryPolicy, Weighting, Window};
use crate::time::{BootId, Boottime, Now, SignedDuration, Timestamp};

pub(super) const START: &str = "2025-03-09T14:00:00Z";

pub(super) fn boot_id() -> BootId {
    BootId("this boot".into())
}

pub(super) fn now_at(millis: u64) -> Now {
    let start: Timestamp = START.parse().unwrap();
    let wall = start.checked_add(SignedDuration::from_millis(millis as i64)).unwrap();
    Now { wall, boot: Boottime::from_micros((1_000_000 + millis) * 1_000) }
}

pub(super) fn per(requests: u32, secs: u64) -> Window {
    Window { requests, span: Duration::from_secs(secs) }
}

pub(super) fn limits(windows: &[Window]) -> Limits {
    Limits { windows: windows.to_vec(), ..Limits::default() }
}

pub(super) fn no_rules() -> Rules {
    Rules {
        slots: 5,
        adaptive: true,
        reserve: Default::default(),
        caps: Default::default(),
        task_ttl: None,
        sources: Default::default(),
        limits: Limits::default(),
        collectors: Default::default(),
        datasets: Default::default(),
        weighting: Weighting::default(),
    }
}

/// Rules, said one after the other.
impl Rules {
    pub(super) fn source(mut self, name: &str, limits: Limits) -> Self {
        self.sources.insert(name.into(), SourceRules { importance: 1.0, limits, by: None, breaker: None });
        self
    }

    /// Tells its requests apart: each value of `name` has these limits for itself.
    pub(super) fn limits_by(mut self, source: &str, name: &str, limits: Limits) -> Self {
        self.sources[source].by = Some(ByRules { name: name.into(), limits, breaker: None });
        self
    }

    /// Each value of `name` has this breaker for itself, beside the limits that it may have.
    pub(super) fn breaker_by(mut self, source: &str, name: &str, breaker: BreakerPolicy) -> Self {
        let by = ByRules { name: name.into(), limits: Limits::default(), breaker: None };
        self.sources[source].by.get_or_insert(by).breaker = Some(breaker);
        self
    }

    pub(super) fn collector(mut self, name: &str, batch: u32, charge: Charging) -> Self {
        let (requests, retry, group_by) = (Requests::default(), RetryPolicy::default(), Vec::new());
        let rules = CollectorRules { group_by, batch, requests, charge, is_http: false, retry, breaker: None };
        self.collectors.insert(name.into(), rules);
        self
    }

    pub(super) fn dataset(mut self, name: &str, source: Option<&str>, collector: Option<&str>) -> Self {
        let rules = DatasetRules {
            source: source.map(Into::into),
            collector: collector.map(Into::into),
            absent: AbsentPolicy::default(),
            fingerprint: 1,
        };
        self.datasets.insert(name.into(), rules);
        self
    }
}

pub(super) fn gap(dataset: &str, name: &str, priority: PriorityLevel, now: Now) -> Gap {
    Gap {
        id: GapId { item: ItemId::of(dataset, [name]), episode: 1 },
        dataset: dataset.into(),
        key: format!("{dataset}/{name}"),
        reason: Reason::Missing,
        detected_at: now.wall,
        due: None,
        priority,
        group: Vec::new(),
        etag: None,
        last_modified: None,
        fingerprint: 1,
        progress: Progress::default(),
    }
}

/// Of a dataset whose source is told apart by a customer.
pub(super) fn gap_of(customer: &str, dataset: &str, name: &str, priority: PriorityLevel, now: Now) -> Gap {
    Gap { group: vec![customer.into()], ..gap(dataset, &format!("{customer}/{name}"), priority, now) }
}

pub(super) fn done() -> Outcome {
    Outcome::Done { etag: "e".into(), size: 1, last_modified: START.parse().unwrap() }
}

pub(super) fn failed(fault: Fault) -> Outcome {
    Outcome::Failed(Failure { fault, message: "it did not work".into(), retry_after_s: None })
}

/// What a store holds, in plain maps. It refuses what a store refuses.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Memory {
    pub gaps: BTreeMap<GapId, Gap>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub leases: BTreeMap<AttemptId, Lease>,
    pub reservations: BTreeMap<u64, Reservation>,
    pub sources: BTreeMap<String, SourceRecord>,
    /// By source and value.
    pub values: BTreeMap<(String, String), SourceRecord>,
    pub collectors: BTreeMap<String, BreakerRecord>,
    pub success: BTreeMap<String, Vec<bool>>,
    pub pauses: BTreeMap<PauseOf, Pause>,
    pub items: BTreeMap<ItemId, ItemRecord>,
    tokens: u64,
}

impl Memory {
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for change in changes.iter().cloned() {
            match change {
                Change::PutGap(gap) => drop(self.gaps.insert(gap.id, gap)),
                Change::CloseGap { gap, .. } => assert!(self.gaps.remove(&gap).is_some(), "{gap:?} was not open"),
                Change::PutTask(task) => drop(self.tasks.insert(task.id, task)),
                Change::RemoveTask(task) => assert!(self.tasks.remove(&task).is_some(), "{task} was not there"),
                Change::PutItem(item, record) => drop(self.items.insert(item, record)),
                Change::PutSource(name, record) => drop(self.sources.insert(name, record)),
                Change::PutValue { source, value, record: Some(record) } => drop(self.values.insert((source, value), record)),
                Change::PutValue { source, value, record: None } => {
                    assert!(self.values.remove(&(source, value)).is_some(), "what is not there needs not go");
                }
                Change::PutCollector(name, record) => drop(self.collectors.insert(name, record)),
                Change::PutPause(of, Some(pause)) => drop(self.pauses.insert(of, pause)),
                Change::PutPause(of, None) => drop(self.pauses.remove(&of)),
                Change::PutSuccess(name, attempts) => drop(self.success.insert(name, attempts)),
                Change::Finish(record) => drop(self.leases.remove(&record.attempt)),
                Change::Reserve(reservation) => drop(self.reservations.insert(reservation.id, reservation)),
                Change::SettleReservation { id, settled } => {
                    self.reservations.get_mut(&id).expect("it was reserved").settled = Some(settled);
                }
                Change::ForgetReservation(id) => drop(self.reservations.remove(&id)),
                _ => {}
            }
        }
    }

    pub(super) fn lease(&mut self, lease: &Lease) -> FencingToken {
        for gap in &lease.gaps {
            let holder = self.leases.values().find(|other| other.gaps.contains(gap));
            assert!(holder.is_none(), "{gap:?} would have two owners");
            assert!(self.gaps.contains_key(gap), "{gap:?} is not open");
        }
        self.tokens += 1;
        let token = FencingToken(self.tokens);
        self.leases.insert(lease.attempt, Lease { token, ..lease.clone() });
        token
    }

    /// What a starting engine finds.
    pub(super) fn remembered(&self, latest: Timestamp) -> Remembered {
        let mut values: HashMap<String, HashMap<String, SourceRecord>> = HashMap::new();
        for ((source, value), record) in self.values.clone() {
            values.entry(source).or_default().insert(value, record);
        }
        Remembered {
            values,
            gaps: self.gaps.values().cloned().collect(),
            tasks: self.tasks.values().cloned().collect(),
            leases: self.leases.values().cloned().collect(),
            reservations: self.reservations.values().cloned().collect(),
            sources: self.sources.clone().into_iter().collect(),
            collectors: self.collectors.clone().into_iter().collect(),
            success: self.success.clone().into_iter().collect(),
            pauses: self.pauses.clone(),
            latest: Some(latest),
            ..Remembered::default()
        }
    }
}

/// A dispatcher with its memory, driven like an engine drives it.
pub(super) struct World {
    pub dispatcher: Dispatcher,
    pub memory: Memory,
    pub items: HashMap<ItemId, ItemRecord>,
    pub attempts: u128,
}

impl World {
    pub(super) fn new(rules: Rules, now: Now) -> Self {
        let (dispatcher, changes) = Dispatcher::new(rules, &mut Remembered::default(), boot_id(), now);
        assert_eq!(changes, []);
        World { dispatcher, memory: Memory::default(), items: HashMap::new(), attempts: 0 }
    }

    /// The engine dies, and the next one finds what was remembered.
    pub(super) fn restart(&mut self, now: Now) {
        let rules = self.dispatcher.rules().clone();
        let (dispatcher, changes) = Dispatcher::new(rules, &mut self.memory.remembered(now.wall), boot_id(), now);
        self.memory.apply(&changes);
        self.dispatcher = dispatcher;
    }

    pub(super) fn open(&mut self, gaps: Vec<Gap>, now: Now) {
        self.reconcile(GapNews { opened: gaps, ..GapNews::default() }, now);
    }

    pub(super) fn reconcile(&mut self, news: GapNews, now: Now) {
        let changes = self.dispatcher.reconcile(news, now);
        self.memory.apply(&changes);
    }

    pub(super) fn pick(&mut self, now: Now) -> Pick {
        let number = self.attempts + 1;
        let picked = self.dispatcher.pick(now, |_| AttemptId(Uuid::from_u128(number)));
        if let Pick::Start(start) = &picked {
            self.attempts = number;
            self.memory.lease(&start.lease);
            self.memory.apply(&start.before);
            self.reserved(&start.before);
        }
        picked
    }

    pub(super) fn reserved(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Reserve(reservation) = change {
                self.dispatcher.reserved(reservation.id);
            }
        }
    }

    pub(super) fn start(&mut self, now: Now) -> Start {
        match self.pick(now) {
            Pick::Start(start) => *start,
            Pick::Idle(idle) => panic!("nothing starts: {idle:?}"),
        }
    }

    pub(super) fn starts(&mut self, now: Now) -> Vec<String> {
        let mut keys = Vec::new();
        while let Pick::Start(start) = self.pick(now) {
            keys.push(start.task.key.clone());
        }
        keys
    }

    pub(super) fn end(&mut self, start: &Start, outcome: &Outcome, now: Now) {
        let outcomes: Vec<_> = start.gaps.iter().map(|gap| (gap.id, outcome.clone())).collect();
        self.end_with(start.attempt, &outcomes, now);
    }

    pub(super) fn end_with(&mut self, attempt: AttemptId, outcomes: &[(GapId, Outcome)], now: Now) {
        let changes = self.dispatcher.ended(attempt, outcomes, &mut self.items, now, || 0.5);
        self.memory.leases.remove(&attempt);
        self.memory.apply(&changes);
    }
}
