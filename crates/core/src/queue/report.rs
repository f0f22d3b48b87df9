//! Answers to a person's questions: where a gap stands, what holds a task, how full a source's limits are.
//!
//! None of this changes anything, and none of it is asked by the pick; some of it looks at every gap.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::book::{GapSlot, Phase};
use super::classes::{ClassKey, CollectorIx, TaskSlot};
use super::pick::{Choice, permits};
use super::score::Rank;
use super::shut::limit_words;
use super::{
    CollectorFigures, Dispatcher, Gate, Prospect, Running, Score, SourceFigures, StateCounts, ValueFigures, ValuesFigures, WindowFigures,
};
use crate::gap::{Gap, GapState, Standing, Task};
use crate::ids::{GapId, TaskId, ValueId};
use crate::limits::{Ask, HoldOff, SourceIx, ValueUsage, WindowUsage};
use crate::spec::PriorityLevel;
use crate::time::{Boottime, Now, SignedDuration, Timestamp};

impl Dispatcher {
    pub fn gap(&self, gap: GapId) -> Option<Gap> {
        self.book.find_gap(gap).map(|gap| self.plain_gap(gap))
    }

    /// All open gaps, in no particular order.
    pub fn gaps(&self) -> Vec<Gap> {
        self.book.gaps().map(|(gap, _)| self.plain_gap(gap)).collect()
    }

    /// Grows whenever a gap goes to another task, or to none: as long as it is the same, each task has the gaps it had.
    pub fn moves(&self) -> u64 {
        self.book.moves()
    }

    /// Whether the task waits, and has just these gaps.
    pub fn waits_with(&self, task: TaskId, gaps: &[GapId]) -> bool {
        self.book.find_task(task).is_some_and(|task| {
            let task = self.book.task(task);
            let has = task.gaps.iter().map(|gap| self.book.gap(*gap).id);
            task.phase != Phase::Running && has.eq(gaps.iter().copied())
        })
    }

    pub fn task(&self, task: TaskId) -> Option<Task> {
        self.book.find_task(task).map(|task| self.plain_task(task))
    }

    /// Running ones too, in no particular order.
    pub fn tasks(&self) -> Vec<Task> {
        self.book.tasks().map(|(task, _)| self.plain_task(task)).collect()
    }

    /// `None`: only watched, in no task.
    pub fn task_of(&self, gap: GapId) -> Option<TaskId> {
        let task = self.book.gap(self.book.find_gap(gap)?).task()?;
        Some(self.book.task(task).id)
    }

    pub fn score(&self, task: TaskId, now: Now) -> Option<Score> {
        self.book.find_task(task).map(|task| self.score_of(task, now))
    }

    /// In the order of their ids, which is about that of their starts.
    pub fn running(&self) -> Vec<Running> {
        let plain = self.running.iter().map(|(attempt, running)| {
            let task = self.plain_task(running.task);
            Running {
                attempt: *attempt,
                task: task.id,
                collector: task.collector,
                source: task.source,
                gaps: task.gaps,
                started_at: running.started_at,
                started: running.started,
                requests: running.requests,
            }
        });
        plain.collect()
    }

    pub fn gap_state(&self, gap: GapId, now: Now) -> Option<GapState> {
        let gap = self.book.find_gap(gap)?;
        Some(self.state(gap, now, |key| self.class_gate(key, now)))
    }

    pub fn counts(&self, now: Now) -> StateCounts {
        let mut gates: HashMap<ClassKey, Option<Gate>> = HashMap::new();
        for (_, key, _) in self.classes.occupied() {
            gates.insert(*key, self.class_gate(key, now));
        }
        let mut counts = StateCounts::default();
        for (gap, entry) in self.book.gaps() {
            if entry.task().is_none() && !self.book.stands_back(gap) {
                counts.watched += 1;
            }
            match self.state(gap, now, |key| gates.get(key).cloned().flatten()) {
                GapState::Queued => counts.queued += 1,
                GapState::Running => counts.running += 1,
                GapState::Waiting => counts.waiting += 1,
                GapState::Held => counts.held += 1,
                GapState::Exhausted => counts.exhausted += 1,
            }
        }
        counts
    }

    /// The limits take at least so long for the first requests of everything in line, with what is left of their windows.
    pub fn limits_take(&self, now: Now) -> Duration {
        let mut of_sources = vec![0; self.sources.len()];
        for (_, key, class) in self.classes.occupied() {
            if let Some(source) = key.source {
                of_sources[source.0 as usize] += u64::from(permits(key)) * class.tasks();
            }
        }
        let limiter = self.grants.limiter();
        let under = |source: Option<SourceIx>, min_delay: Option<Duration>, requests: u64| {
            let windows = limiter.usage(source, now.boot).into_iter().map(move |usage| {
                let admits = u64::from(usage.window.requests);
                let over = (requests + usage.used).saturating_sub(admits);
                usage.window.span.mul_f64(over as f64 / admits.max(1) as f64)
            });
            let delay = min_delay.map(|delay| delay.mul_f64(requests.saturating_sub(1) as f64));
            windows.chain(delay).max().unwrap_or_default()
        };
        let all = under(None, self.rules.limits.min_delay, of_sources.iter().sum());
        let each = of_sources
            .into_iter()
            .enumerate()
            .map(|(at, requests)| under(Some(SourceIx(at as u32)), self.rules.sources[at].limits.min_delay, requests));
        each.max().unwrap_or_default().max(all)
    }

    fn state(&self, gap: GapSlot, now: Now, gate: impl Fn(&ClassKey) -> Option<Gate>) -> GapState {
        let entry = self.book.gap(gap);
        let Some(task) = entry.task() else {
            return if self.book.stands_back(gap) { GapState::Waiting } else { GapState::Held };
        };
        let phase = self.book.task(task).phase;
        let standing = entry.progress.as_ref().filter(|progress| progress.next_try.is_some_and(|until| until > now.wall));
        let standing = standing.map_or(Standing::Open, |progress| progress.standing);
        match phase {
            Phase::Running => GapState::Running,
            _ if standing == Standing::Exhausted => GapState::Exhausted,
            _ if matches!(standing, Standing::Contested | Standing::Doubted | Standing::Cancelled) => GapState::Held,
            Phase::Held => GapState::Held,
            Phase::Delayed(until) if Timestamp::from(until) > now.wall => GapState::Waiting,
            _ if self.all_held().is_some() => GapState::Held,
            _ => match gate(&self.class_key(task)) {
                Some(Gate::Paused { .. } | Gate::Breaker { .. } | Gate::CollectorBreaker { .. }) => GapState::Held,
                Some(Gate::RetryAfter { .. } | Gate::Cap { .. } | Gate::Limit { .. } | Gate::SetAside { .. }) => GapState::Waiting,
                _ => GapState::Queued,
            },
        }
    }

    /// What holds back every task of a class.
    fn class_gate(&self, key: &ClassKey, now: Now) -> Option<Gate> {
        if let Some((gate, _)) = self.shut(key, now) {
            return Some(gate);
        }
        let refusal = self.grants.limiter().could_acquire(&key.ask?, now.boot).err()?;
        Some(self.limit_gate(key, &refusal))
    }

    /// Contested gaps that are left alone now, and until when.
    pub fn contested(&self, now: Now) -> Vec<(Gap, Timestamp)> {
        let delayed = self.timers.iter().filter(|(until, _)| *until > now.wall).flat_map(|(_, task)| self.book.task(*task).gaps.iter());
        let contested = delayed.filter_map(|gap| {
            let progress = self.book.gap(*gap).progress.as_ref().filter(|progress| progress.standing == Standing::Contested)?;
            Some((self.plain_gap(*gap), progress.next_try.filter(|until| *until > now.wall)?))
        });
        contested.collect()
    }

    pub fn why_gap(&self, gap: GapId, now: Now) -> Option<Gate> {
        let gap = self.book.find_gap(gap)?;
        match self.book.gap(gap).task() {
            Some(task) => Some(self.why(task, now)),
            None => Some(self.stands_back(gap, now).unwrap_or(Gate::OnlyWatched)),
        }
    }

    pub fn why_task(&self, task: TaskId, now: Now) -> Option<Gate> {
        self.book.find_task(task).map(|task| self.why(task, now))
    }

    fn why(&self, task: TaskSlot, now: Now) -> Gate {
        let shut = self.shut_gate(task, now);
        if let Some(gate) = self.would_only_wait(task, now).filter(|_| shut.as_ref().is_none_or(Gate::is_limit)) {
            return gate;
        }
        if let Some(gate) = shut.or_else(|| self.slots_gate()) {
            return gate;
        }
        if !self.slots_taken().has_one_for(self.priority_of_task(task)) {
            return self.slots_set_aside(self.priority_of_task(task));
        }
        let (key, rank) = (self.class_key(task), self.rank_of(task, now));
        if let (Some(source), Some(claimant)) = (key.source, self.claimant(&key, &rank, now)) {
            return Gate::Reserved { source: self.source_name(source).into(), task: self.book.task(claimant).id };
        }
        Gate::Turn { ahead: self.ranking_higher(&rank, now) }
    }

    /// What will still hold a gap when its own pause is over: a retry behind a breaker that stays open for longer is none.
    pub fn behind_gap(&self, gap: GapId, now: Now) -> Option<Gate> {
        let task = self.book.gap(self.book.find_gap(gap)?).task()?;
        self.behind(task, now)
    }

    pub fn behind_task(&self, task: TaskId, now: Now) -> Option<Gate> {
        self.behind(self.book.find_task(task)?, now)
    }

    pub(super) fn behind(&self, task: TaskSlot, now: Now) -> Option<Gate> {
        let Phase::Delayed(until) = self.book.task(task).phase else { return None };
        let until = now.boot_at(until.into());
        let (gate, opens) = self.shut(&self.class_key(task), now).filter(|_| until > now.boot)?;
        opens.is_none_or(|opens| opens > until).then_some(gate)
    }

    /// When a gap is tried next, as far as there are times: its own pause, the breakers and the pause of what it needs, and its
    /// limits, whichever takes longest (`the_next_try_is_no_promise_that_a_breaker_breaks`). Of one that waits for nothing like
    /// that it is the time that has passed, if any.
    pub fn next_try(&self, gap: GapId, now: Now) -> Option<Timestamp> {
        let entry = self.book.gap(self.book.find_gap(gap)?);
        entry.next_try().max(entry.task().and_then(|task| self.not_before(task, now)))
    }

    pub fn next_try_of_task(&self, task: TaskId, now: Now) -> Option<Timestamp> {
        let task = self.book.find_task(task)?;
        self.book.ready_at(task).max(self.not_before(task, now))
    }

    /// Later than now.
    fn not_before(&self, task: TaskSlot, now: Now) -> Option<Timestamp> {
        let own = match self.book.task(task).phase {
            Phase::Running | Phase::Held => return None,
            Phase::Delayed(until) => Some(Timestamp::from(until)).filter(|until| *until > now.wall),
            Phase::Ready(_) | Phase::Loose => None,
        };
        own.max(self.opens_at(&self.class_key(task), now).map(|at| now.wall_at(at)))
    }

    /// When nothing that has an end holds a class any more; `None`: nothing like that does.
    fn opens_at(&self, key: &ClassKey, now: Now) -> Option<Boottime> {
        let source = key.source.and_then(|source| {
            let breaker = self.source_gate(source, now).and_then(|(_, until)| until);
            let breaker = breaker.max(self.value_gate_of(key, now).and_then(|(_, until)| until));
            breaker.max(self.grants.limiter().paused_until(source, now.boot))
        });
        let collector = self.collector_gate(key.collector, now).and_then(|(_, until)| until);
        let cap = self.cap_gate(key, now).map(|(_, next)| next);
        let limits = key.ask.and_then(|ask| self.grants.limiter().could_acquire(&ask, now.boot).err()?.at());
        [source, collector, cap, limits].into_iter().flatten().filter(|at| *at > now.boot).max()
    }

    /// When the first of all that waits may be tried; `None`: something waits for no time, but for its turn.
    pub fn next_start(&self, now: Now) -> Option<Timestamp> {
        let mut earliest: Option<Timestamp> = self.comes_back().map(|at| now.wall_at(at));
        for (_, key, _) in self.classes.occupied() {
            let opens = now.wall_at(self.opens_at(key, now)?);
            earliest = earliest.into_iter().chain([opens]).min();
        }
        let mut known: HashMap<ClassKey, Option<Timestamp>> = HashMap::new();
        for (at, task) in &self.timers {
            if earliest.is_some_and(|earliest| earliest <= *at) {
                break;
            }
            let key = self.class_key(*task);
            let opens = *known.entry(key).or_insert_with(|| self.opens_at(&key, now).map(|at| now.wall_at(at)));
            earliest = earliest.into_iter().chain([opens.max(Some(*at)).unwrap_or(*at)]).min();
        }
        earliest
    }

    fn crowd_at(&self, source: SourceIx, now: Now) -> Option<Gate> {
        let heads = self.classes.occupied().filter(|(_, key, _)| key.source == Some(source) && self.shut(key, now).is_none());
        let best = heads.filter_map(|(_, _, class)| class.head()).map(|task| (self.rank_of(task, now), task)).max()?;
        self.would_only_wait(best.1, now)
    }

    fn would_only_wait(&self, task: TaskSlot, now: Now) -> Option<Gate> {
        let (key, rank) = (self.class_key(task), self.rank_of(task, now));
        let crowd = self.crowd(&key, &rank, &self.at_work(now), now)?;
        Some(self.would_wait(&key, &crowd))
    }

    /// What would hold the task back if it were the only one.
    pub(super) fn shut_gate(&self, task: TaskSlot, now: Now) -> Option<Gate> {
        match self.book.task(task).phase {
            Phase::Running => {
                self.running.iter().find(|(_, running)| running.task == task).map(|(attempt, _)| Gate::Running { attempt: *attempt })
            }
            Phase::Held => Some(self.held_gate(task)),
            Phase::Delayed(until) if Timestamp::from(until) > now.wall => Some(self.why_delayed(task, until.into())),
            _ => self.all_held().or_else(|| self.class_gate(&self.class_key(task), now)),
        }
    }

    fn held_gate(&self, task: TaskSlot) -> Gate {
        let paused = || self.book.task(task).gaps.iter().find_map(|gap| self.pauses.dataset(self.book.gap(*gap).dataset));
        match (self.held_dataset(task), paused()) {
            (None, Some(pause)) => pause.gate(),
            (dataset, _) => Gate::Surprise { dataset },
        }
    }

    fn held_dataset(&self, task: TaskSlot) -> Option<String> {
        let datasets = self.book.task(task).gaps.iter().map(|gap| self.book.gap(*gap).dataset);
        let held = datasets.into_iter().find(|dataset| self.holds.datasets.contains(dataset))?;
        self.rules.datasets.get_index(usize::from(held)).map(|(name, _)| name.to_string())
    }

    pub(super) fn why_delayed(&self, task: TaskSlot, until: Timestamp) -> Gate {
        let latest = self.book.task(task).gaps.iter().filter_map(|gap| self.book.gap(*gap).progress.as_deref());
        match latest.max_by_key(|progress| progress.next_try).map(|progress| progress.standing) {
            Some(Standing::NotYet) => Gate::NotYet { until },
            Some(Standing::Exhausted) => Gate::Exhausted { until },
            Some(Standing::Contested) => Gate::Contested { until },
            Some(Standing::Cancelled) => Gate::Cancelled { until },
            Some(Standing::Doubted) => Gate::Doubted { until },
            Some(Standing::Open) | None => Gate::Retry { until },
        }
    }

    /// Counts one by one.
    fn ranking_higher(&self, rank: &Rank, now: Now) -> u64 {
        self.classes.count_where(|key, task| {
            let place = self.book.place(task);
            Rank { score: self.weights.score(self.factors(key), place.detected_at, now.wall).total, place } > *rank
        })
    }

    /// Every source, in the order of the config.
    pub fn figures(&self, now: Now) -> Vec<SourceFigures> {
        (0..self.sources.len() as u32).map(|source| self.figures_of(SourceIx(source), now)).collect()
    }

    /// What counts against every window of each source now, shortest first.
    pub fn windows_used(&self, now: Now) -> impl Iterator<Item = (&str, impl Iterator<Item = u64>)> {
        (0..self.sources.len() as u32).map(SourceIx).map(move |source| {
            let usage = self.grants.limiter().usage(Some(source), now.boot);
            (self.source_name(source), usage.into_iter().map(|usage| usage.used))
        })
    }

    /// Every collector, in the order of the config.
    pub fn collectors(&self, now: Now) -> Vec<CollectorFigures> {
        let figures = |(at, collector): (usize, &std::sync::Arc<str>)| {
            let gate = self.collector_gate(at as CollectorIx, now).map(|(gate, _)| gate);
            let its = self.classes.occupied().filter(|(_, key, _)| usize::from(key.collector) == at && gate.is_some());
            CollectorFigures { collector: collector.to_string(), waiting_gaps: its.map(|(_, _, class)| class.gaps()).sum(), gate }
        };
        self.rules.collectors.keys().enumerate().map(figures).collect()
    }

    fn figures_of(&self, source: SourceIx, now: Now) -> SourceFigures {
        let limiter = self.grants.limiter();
        let waits = |key: &ClassKey| key.source == Some(source) && self.class_gate(key, now).is_some();
        let waiting = self.classes.occupied().filter(|(_, key, _)| waits(key)).map(|(_, _, class)| class.gaps());
        let limits = &self.rules.sources[source.0 as usize].limits;
        SourceFigures {
            source: self.source_name(source).into(),
            gate: self.source_gate(source, now).map(|(gate, _)| gate),
            windows: limiter.usage(Some(source), now.boot).into_iter().map(window).collect(),
            in_flight: limiter.in_flight(Some(source), now.boot),
            in_flight_limit: limits.in_flight,
            useful_attempts: self.useful_attempts(source),
            crowd: self.crowd_at(source, now),
            waiting_gaps: waiting.sum(),
            next_permit: self.next_permit(source, now),
            failures: self.sources[source.0 as usize].breaker.failures(),
            learned_share: limiter.learned(source).share(now.boot),
            learned_interval: limiter.learned(source).interval(now.boot),
            values: self.values_of(source, now),
            told: limiter.learned(source).told().filter_map(|quota| Some((quota.requests?, quota.per?))).collect(),
        }
    }

    fn values_of(&self, source: SourceIx, now: Now) -> Option<ValuesFigures> {
        let by = self.rules.told_apart(source)?;
        let mut values = self.grants.limiter().values(source, now.boot);
        let failing = self.of_values(source).into_iter().flat_map(|of_values| of_values.shut());
        let gates = values.iter().map(|usage| usage.value).chain(failing);
        let gates = gates.filter_map(|value| Some((value, self.value_gate(source, Some(value), now)?.0)));
        let gates: HashMap<ValueId, Gate> = gates.collect();
        let with_usage: HashSet<ValueId> = values.iter().map(|usage| usage.value).collect();
        let without = gates.keys().filter(|value| !with_usage.contains(value));
        values.extend(without.map(|value| ValueUsage { value: *value, windows: Vec::new(), in_flight: 0, refusal: None }));
        let waits_for_limits = |usage: &&ValueUsage| usage.refusal.is_some() && !gates.contains_key(&usage.value);
        let (known, waiting) = (values.len() as u64, values.iter().filter(waits_for_limits).count() as u64);
        let fullest = |usage: &ValueUsage| usage.windows.iter().map(|of| of.used * 1_000 / u64::from(of.window.requests.max(1))).max();
        let waits = |usage: &ValueUsage| match usage.refusal {
            _ if gates.contains_key(&usage.value) => (4, None),
            None => (0, None),
            Some(HoldOff::Until { at, .. }) => (1, Some(at)),
            Some(HoldOff::UntilSettled { .. }) => (2, None),
            Some(HoldOff::Never { .. }) => (3, None),
        };
        values.sort_by_key(|usage| std::cmp::Reverse((waits(usage), fullest(usage), usage.value)));
        let worst = values.into_iter().take(WORST_VALUES).map(|usage| ValueFigures {
            value: self.grants.name_of(usage.value).map(|name| name.to_string()),
            windows: usage.windows.into_iter().map(window).collect(),
            in_flight: usage.in_flight,
            limit: usage.refusal.map(|refusal| limit_words(&refusal)),
            until: usage.refusal.and_then(|refusal| refusal.at()),
            gate: gates.get(&usage.value).cloned(),
        });
        Some(ValuesFigures { by: by.name.to_string(), known, waiting, shut: gates.len() as u64, worst: worst.collect() })
    }

    /// For whoever gets one first of those that wait; if nobody does, of all.
    fn next_permit(&self, source: SourceIx, now: Now) -> Option<Boottime> {
        let limiter = self.grants.limiter();
        let at = |refusal: Option<HoldOff>| refusal.map_or(Some(now.boot), |refusal| refusal.at());
        let keys = self.classes.occupied().filter(|(_, key, _)| key.source == Some(source));
        let waiting: HashSet<Ask> = keys.map(|(_, key, _)| Ask::one(source).of(key.priority).by(key.value)).collect();
        if waiting.is_empty() {
            let any = |priority| at(limiter.refusal_of_any_value(&Ask::one(source).of(priority), now.boot));
            return PriorityLevel::ALL.into_iter().filter_map(any).min();
        }
        waiting.iter().filter_map(|ask| at(limiter.could_acquire(ask, now.boot).err())).min()
    }

    /// Is it worth waiting? Limits are always waited for; retries, pauses and breakers up to `max_wait`; "not yet",
    /// exhausted and held gaps never.
    pub fn prospect(&self, max_wait: Duration, now: Now) -> Prospect {
        if !self.running.is_empty() {
            return Prospect::Work;
        }
        self.outlook(max_wait, now)
    }

    /// The same, whatever runs: what more there is to be done.
    pub(super) fn outlook(&self, max_wait: Duration, now: Now) -> Prospect {
        if self.all_held().is_some() {
            return Prospect::Later(None);
        }
        if matches!(self.choose(now), Choice::Start { .. }) {
            return Prospect::Work;
        }
        let max_wait = SignedDuration::try_from(max_wait).unwrap_or(SignedDuration::MAX);
        let patience = now.wall.checked_add(max_wait).unwrap_or(Timestamp::MAX);
        let mut earliest: Option<Timestamp> = None;
        let ready = self.classes.occupied().map(|(_, key, _)| self.class_prospect(key, now));
        let delayed = self.timers.iter().map(|(at, task)| match self.why_delayed(*task, *at) {
            // It is none before its source may be asked.
            Gate::Retry { until } if until <= patience => {
                let opens = self.shut(&self.class_key(*task), now).and_then(|(_, opens)| opens);
                Hope::At(until.max(opens.map_or(until, |opens| now.wall_at(opens))))
            }
            Gate::Retry { until } => Hope::At(until),
            // Its time has come while this run goes on, so it is tried like any other.
            _ if *at <= now.wall => Hope::At(*at),
            _ => Hope::NotInThisRun(*at),
        });
        let back = self.comes_back().map(|at| Hope::At(now.wall_at(at)));
        for hope in ready.chain(delayed).chain(back) {
            match hope {
                Hope::Now => return Prospect::Work,
                Hope::At(at) if at <= patience => return Prospect::Work,
                Hope::At(at) | Hope::NotInThisRun(at) => earliest = earliest.into_iter().chain([at]).min(),
                Hope::Never => {}
            }
        }
        Prospect::Later(earliest)
    }

    fn class_prospect(&self, key: &ClassKey, now: Now) -> Hope {
        if self.running.is_empty() && !self.slots_taken().has_one_for(key.priority) {
            // Nothing runs, and yet none is free: all are set aside for others.
            return Hope::Never;
        }
        if let Some((_, next)) = self.cap_gate(key, now) {
            return Hope::At(now.wall_at(next));
        }
        if let Some((_, until)) = self.shut(key, now) {
            return until.map_or(Hope::Never, |until| Hope::At(now.wall_at(until)));
        }
        match key.ask.map(|ask| self.grants.limiter().could_acquire(&ask, now.boot)) {
            Some(Err(HoldOff::Never { .. })) => Hope::Never,
            _ => Hope::Now,
        }
    }
}

/// So many values of a source are named.
const WORST_VALUES: usize = 3;

fn window(usage: WindowUsage) -> WindowFigures {
    WindowFigures {
        key: usage.window.key().into(),
        used: u32::try_from(usage.used).unwrap_or(u32::MAX),
        limit: usage.window.requests,
        set_aside: u32::try_from(usage.set_aside).unwrap_or(u32::MAX),
    }
}

/// When a task might start.
enum Hope {
    Now,
    At(Timestamp),
    NotInThisRun(Timestamp),
    Never,
}
