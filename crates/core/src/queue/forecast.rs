//! When the work that is known now would be done, and what bounds it: for `plan`.
//!
//! The very dispatcher that `run` uses goes on in virtual time, every request taking as long as assumed and every
//! attempt filling its gaps. So the order, the ids and the waiting for limits are those of a run in which nothing goes
//! wrong (`a_forecast_starts_what_a_run_starts`). Beyond a number of starts it stops working through each and goes on
//! by the rates of the limits; what was told that way says so.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::book::Phase;
use super::classes::CollectorIx;
use super::dispatcher::value_in;
use super::{Acquire, Charge, Dispatcher, Gate, Pick, Prospect, Rules, Score, Start};
use crate::gap::{Outcome, Task};
use crate::ids::{AttemptId, TaskId, Uuid, ValueId};
use crate::limits::SourceIx;
use crate::ports::Settlement;
use crate::spec::{Limits, PriorityLevel, Reserve};
use crate::time::{Boottime, Now, SignedDuration, Timestamp};

/// What a run would meet.
#[derive(Clone, Copy, Debug)]
pub struct Assumptions {
    /// From sent to settled, each request.
    pub a_request_takes: Duration,
    /// Retries and pauses further away are not waited for.
    pub max_wait: Duration,
    /// So many starts are worked through one by one.
    pub exact_starts: usize,
    /// From one full look to the next, for `tasks_per_cycle`.
    pub a_cycle_every: Duration,
}

impl Default for Assumptions {
    fn default() -> Self {
        Assumptions {
            a_request_takes: Duration::from_millis(250),
            max_wait: Duration::from_secs(600),
            exact_starts: 10_000,
            a_cycle_every: Duration::from_secs(15 * 60),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// In the order of their starts.
    pub tasks: Vec<Foreseen>,
    /// Tasks that will not start by themselves in such a run, and why.
    pub left: Vec<(Task, Gate)>,
    pub requests: u64,
    /// When the last of `tasks` is done; `None`: there are none.
    pub done_by: Option<Timestamp>,
    /// The limit that takes longest, if one makes anything wait.
    pub bottleneck: Option<Bottleneck>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Foreseen {
    pub task: Task,
    /// At the time of the forecast.
    pub score: Score,
    pub requests: u64,
    pub done_by: Timestamp,
    pub how: Foresight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foresight {
    /// The dispatcher itself got there.
    WorkedThrough,
    /// From the rates of the limits.
    Extrapolated,
}

/// What everything waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Bottleneck {
    /// `None`: all sources together, or the slots.
    pub source: Option<String>,
    /// `customer=acme`: of a limit that each value has for itself, the one with most to ask for.
    pub value: Option<String>,
    /// `per_minute: 20`, `min_delay`, `in_flight: 2`, `slots`.
    pub limit: String,
    /// One request every so long.
    pub every: Duration,
    /// What it alone needs for all requests.
    pub takes: Duration,
}

/// What `reserve` costs those for whom nothing is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservePrice {
    /// When the last task would be done.
    pub done_by: Timestamp,
    pub done_by_without: Timestamp,
}

/// The same run as `foreseen`, if nothing were set aside; `None`: there is nothing to do.
pub fn reserve_price(mut dispatcher: Dispatcher, foreseen: &Forecast, assumptions: &Assumptions, now: Now) -> Option<ReservePrice> {
    dispatcher.rules.reserve = Reserve::default();
    dispatcher.grants.set_aside(Reserve::default());
    dispatcher.classes.wake_all(&dispatcher.book);
    let without = forecast(dispatcher, assumptions, now);
    Some(ReservePrice { done_by: foreseen.done_by?, done_by_without: without.done_by? })
}

/// Works on a copy: the dispatcher given is used up.
pub fn forecast(dispatcher: Dispatcher, assumptions: &Assumptions, now: Now) -> Forecast {
    let mut run = Rehearsal::new(dispatcher, *assumptions, now);
    let left_out = run.leave_out_what_comes_later();
    run.work_through();
    let bottleneck = bottleneck(&run);
    let left = run.extrapolate(left_out);
    let done_by = run.tasks.iter().map(|task| task.done_by).max();
    Forecast { requests: run.tasks.iter().map(|task| task.requests).sum(), tasks: run.tasks, left, done_by, bottleneck }
}

/// A run in virtual time.
struct Rehearsal {
    dispatcher: Dispatcher,
    assumed: Assumptions,
    now: Now,
    scores: HashMap<TaskId, Score>,
    running: BTreeMap<AttemptId, Rehearsed>,
    /// What happens when, in the order of time.
    agenda: BTreeSet<(Boottime, AttemptId)>,
    waiting: VecDeque<AttemptId>,
    tasks: Vec<Foreseen>,
    next_cycle: Boottime,
}

struct Rehearsed {
    start: Start,
    /// Position in `tasks`.
    at: usize,
    requests_left: u64,
    permit: Option<crate::ports::PermitId>,
}

impl Rehearsal {
    fn new(mut dispatcher: Dispatcher, assumed: Assumptions, now: Now) -> Self {
        // It only makes new tasks of the same gaps: whose turn comes when is the same.
        dispatcher.rules.task_ttl = None;
        let next_cycle = now.boot + assumed.a_cycle_every;
        dispatcher.new_cycle(next_cycle, now);
        let scores = dispatcher.book.tasks().map(|(slot, task)| (task.id, dispatcher.score_of(slot, now))).collect();
        Rehearsal {
            dispatcher,
            assumed,
            now,
            scores,
            running: BTreeMap::new(),
            agenda: BTreeSet::new(),
            waiting: VecDeque::new(),
            tasks: Vec::new(),
            next_cycle,
        }
    }

    fn leave_out_what_comes_later(&mut self) -> Vec<(Task, Gate)> {
        let max_wait = SignedDuration::try_from(self.assumed.max_wait).unwrap_or(SignedDuration::MAX);
        let horizon = self.now.wall.checked_add(max_wait).unwrap_or(Timestamp::MAX);
        let dispatcher = &self.dispatcher;
        let waits = dispatcher.book.tasks().filter_map(|(slot, task)| {
            let gate = dispatcher.shut_gate(slot, self.now)?;
            // A retry that finds its source still shut is no retry yet.
            let gate = match gate {
                Gate::Retry { .. } => dispatcher.behind(slot, self.now).unwrap_or(gate),
                gate => gate,
            };
            let by_gate = match &gate {
                Gate::Surprise { .. }
                | Gate::Paused { .. }
                | Gate::Cancelled { .. }
                | Gate::NotYet { .. }
                | Gate::Exhausted { .. }
                | Gate::Contested { .. }
                | Gate::Doubted { .. } => true,
                Gate::Breaker { until, .. } | Gate::CollectorBreaker { until, .. } => until.is_some_and(|until| until > horizon),
                Gate::RetryAfter { until, .. } => *until > horizon,
                _ => false,
            };
            let later = by_gate || matches!(task.phase, Phase::Delayed(at) if Timestamp::from(at) > horizon);
            later.then(|| (slot, dispatcher.plain_task(slot), gate))
        });
        let mut later: Vec<_> = waits.collect();
        later.sort_by_cached_key(|(slot, _, _)| self.dispatcher.book.place(*slot));
        for (slot, _, _) in &later {
            self.dispatcher.unqueue(*slot);
        }
        later.into_iter().map(|(_, task, gate)| (task, gate)).collect()
    }

    fn work_through(&mut self) {
        let mut number: u128 = 0;
        loop {
            let wake_at = loop {
                if self.tasks.len() >= self.assumed.exact_starts {
                    break None;
                }
                number += 1;
                match self.dispatcher.pick(self.now, |_| AttemptId(Uuid::from_u128(number))) {
                    Pick::Start(start) => self.begin(*start),
                    Pick::Idle(idle) => break idle.wake_at,
                }
            };
            let next = self.agenda.first().map(|(at, _)| *at).into_iter().chain(wake_at).chain(self.permit_for_waiting()).min();
            match next {
                Some(at) if !self.would_end() => self.advance(at),
                _ => return,
            }
        }
    }

    /// A run that waits for nothing but the next full look ends, if that is too far away.
    fn would_end(&self) -> bool {
        let nothing_runs = self.agenda.is_empty() && self.waiting.is_empty();
        nothing_runs
            && !self.dispatcher.rules.caps.is_empty()
            && matches!(self.dispatcher.prospect(self.assumed.max_wait, self.now), Prospect::Later(_))
    }

    fn begin(&mut self, start: Start) {
        let collector = &self.dispatcher.rules.collectors[&*start.task.collector];
        let requests = match start.charge {
            Charge::Nothing => 0,
            Charge::Ahead(requests) => u64::from(requests),
            Charge::First(_) => collector.requests.of(start.gaps.len()).max(1),
        };
        let attempt = start.attempt;
        self.tasks.push(Foreseen {
            score: self.scores.get(&start.task.id).copied().unwrap_or(start.score),
            task: start.task.clone(),
            requests,
            done_by: self.now.wall,
            how: Foresight::WorkedThrough,
        });
        let first = matches!(start.charge, Charge::First(_));
        let at = self.tasks.len() - 1;
        self.running.insert(attempt, Rehearsed { start, at, requests_left: if first { requests } else { 0 }, permit: None });
        match first {
            true => self.ask(attempt),
            false => {
                let requests = u32::try_from(requests.max(1)).unwrap_or(u32::MAX);
                self.agenda.insert((self.now.boot + self.assumed.a_request_takes.saturating_mul(requests), attempt));
            }
        }
    }

    fn ask(&mut self, attempt: AttemptId) {
        let Some(rehearsed) = self.running.get_mut(&attempt) else { return };
        let source = rehearsed.start.task.source.clone().unwrap_or_default();
        match self.dispatcher.acquire(attempt, &source, self.now) {
            Acquire::Granted { permit, .. } => {
                rehearsed.permit = Some(permit);
                rehearsed.requests_left = rehearsed.requests_left.saturating_sub(1);
                self.dispatcher.sent(permit, self.now);
                self.agenda.insert((self.now.boot + self.assumed.a_request_takes, attempt));
            }
            _ => self.waiting.push_back(attempt),
        }
    }

    /// When the first waiting request may be sent. Who stands first may wait for what only its own value lacks.
    fn permit_for_waiting(&self) -> Option<Boottime> {
        let at = |attempt: &AttemptId| {
            let source = self.running.get(attempt)?.start.task.source.as_deref()?;
            let ask = self.dispatcher.one_request(*attempt, self.dispatcher.source_ix(source)?);
            self.dispatcher.grants.limiter().could_acquire(&ask, self.now.boot).err()?.at()
        };
        self.waiting.iter().filter_map(at).min()
    }

    fn advance(&mut self, at: Boottime) {
        self.now = Now { wall: self.now.wall_at(at.max(self.now.boot)), boot: at.max(self.now.boot) };
        while let Some((_, attempt)) = self.agenda.first().copied().filter(|(at, _)| *at <= self.now.boot) {
            self.agenda.pop_first();
            self.happens(attempt);
        }
        if self.next_cycle <= self.now.boot {
            self.next_cycle = self.now.boot + self.assumed.a_cycle_every;
            self.dispatcher.new_cycle(self.next_cycle, self.now);
        }
        for attempt in std::mem::take(&mut self.waiting) {
            self.ask(attempt);
        }
    }

    fn happens(&mut self, attempt: AttemptId) {
        let Some(rehearsed) = self.running.get_mut(&attempt) else { return };
        if let Some(permit) = rehearsed.permit.take() {
            self.dispatcher.settle(permit, Settlement::ArrivedBy(self.now.boot), self.now);
        }
        if rehearsed.requests_left > 0 {
            self.ask(attempt);
            return;
        }
        let done = Outcome::Done { etag: String::new(), size: 1, last_modified: self.now.wall };
        let outcomes: Vec<_> = rehearsed.start.gaps.iter().map(|gap| (gap.id, done.clone())).collect();
        self.tasks[rehearsed.at].done_by = self.now.wall;
        self.running.remove(&attempt);
        self.dispatcher.ended(attempt, &outcomes, &mut HashMap::new(), self.now, || 0.0);
    }

    /// What was not started any more, in its order, by the rates of its limits. Without a rate it stays.
    fn extrapolate(&mut self, mut left: Vec<(Task, Gate)>) -> Vec<(Task, Gate)> {
        let now = self.now;
        let dispatcher = &self.dispatcher;
        let queued = dispatcher.book.tasks().filter(|(_, task)| matches!(task.phase, Phase::Ready(_) | Phase::Delayed(_)));
        let mut queued: Vec<_> = queued.map(|(slot, _)| (dispatcher.rank_of(slot, now), slot)).collect();
        queued.sort_unstable_by(|one, other| other.cmp(one));
        let goes_on = self.tasks.len() >= self.assumed.exact_starts;
        let mut clocks = Clocks::new(&dispatcher.rules, self.assumed.a_request_takes, now);
        for (_, slot) in queued {
            let task = dispatcher.plain_task(slot);
            if !goes_on {
                let gate = dispatcher.shut_gate(slot, now).unwrap_or(Gate::Turn { ahead: 0 });
                left.push((task, gate));
                continue;
            }
            let collector = &dispatcher.rules.collectors[&*task.collector];
            let requests = if task.source.is_some() { collector.requests.of(task.gaps.len()) } else { 0 };
            let value = dispatcher.book.bucket(dispatcher.book.task(slot).bucket).value;
            let done_by = now.wall_at(clocks.done(&task, value, requests));
            let score = self.scores.get(&task.id).copied().unwrap_or_default();
            self.tasks.push(Foreseen { task, score, requests, done_by, how: Foresight::Extrapolated });
        }
        left
    }
}

/// How far each source's limits, those of all together, and the slots are booked.
struct Clocks<'a> {
    a_request_takes: Duration,
    rules: &'a Rules,
    /// By source.
    booked: HashMap<&'a str, Boottime>,
    /// By source and value, of those that have limits for themselves.
    of_values: HashMap<(&'a str, ValueId), Boottime>,
    begins: Boottime,
    all_booked: Boottime,
    slots_booked: Boottime,
}

impl<'a> Clocks<'a> {
    fn new(rules: &'a Rules, a_request_takes: Duration, now: Now) -> Self {
        let booked = rules.sources.keys().map(|name| (&**name, now.boot)).collect();
        Clocks { a_request_takes, rules, booked, of_values: HashMap::new(), begins: now.boot, all_booked: now.boot, slots_booked: now.boot }
    }

    fn done(&mut self, task: &Task, value: Option<ValueId>, requests: u64) -> Boottime {
        let every = |limits: &Limits| slowest(limits, &self.rules.reserve, task.priority, self.a_request_takes);
        let slots = slots_for(self.rules, task.priority);
        self.slots_booked = self.slots_booked + times(self.a_request_takes, requests.max(1)) / slots;
        let mut done = self.slots_booked;
        let source = task.source.as_deref().and_then(|name| self.rules.sources.get_key_value(name));
        if let Some((name, source)) = source
            && let Some(booked) = self.booked.get_mut(&**name)
        {
            *booked = *booked + times(every(&source.limits), requests);
            self.all_booked = self.all_booked + times(every(&self.rules.limits), requests);
            done = done.max(*booked).max(self.all_booked);
            if let Some(by) = &source.by {
                let of_value = self.of_values.entry((&**name, value.unwrap_or_default())).or_insert(self.begins);
                *of_value = *of_value + times(every(&by.limits), requests);
                done = done.max(*of_value);
            }
        }
        done
    }
}

fn times(every: Duration, requests: u64) -> Duration {
    every.saturating_mul(u32::try_from(requests).unwrap_or(u32::MAX))
}

/// Slots that such tasks can have.
fn slots_for(rules: &Rules, priority: PriorityLevel) -> u32 {
    let others = rules.reserve.shares().map(|(owner, _)| owner).filter(|owner| *owner != priority);
    rules.slots.saturating_sub(others.map(|owner| rules.reserve.of_slots(owner, rules.slots)).sum()).max(1)
}

/// How long a request of such a task takes in the long run, under the limit that admits the fewest.
fn slowest(limits: &Limits, reserve: &Reserve, priority: PriorityLevel, a_request_takes: Duration) -> Duration {
    let windows = limits.windows.iter().map(|window| (window.span + a_request_takes) / reserve.admits(priority, window.requests).max(1));
    let delay = limits.min_delay.map(|delay| delay + a_request_takes);
    let flight = limits.in_flight.map(|most| a_request_takes / most.max(1));
    windows.chain(delay).chain(flight).max().unwrap_or_default()
}

/// Requests that a limit has to admit.
#[derive(Clone, Copy, Default)]
struct Demand {
    requests: u64,
    /// Of these: the ones that may not use what is set aside.
    of_others: u64,
}

impl Demand {
    fn add(&mut self, other: Demand) {
        self.requests += other.requests;
        self.of_others += other.of_others;
    }
}

/// What one limit alone needs for so many requests, from rest.
fn takes(limits: &Limits, reserve: &Reserve, a_request_takes: Duration, demand: Demand) -> Vec<(String, Duration, Duration)> {
    let requests = demand.requests;
    let windows = limits.windows.iter().map(|window| {
        let under = |most: u32, requests: u64| {
            let every = (window.span + a_request_takes) / most.max(1);
            let at_once = limits.burst.filter(|_| window.span >= Duration::from_secs(60)).unwrap_or(most);
            (every, times(every, requests.saturating_sub(u64::from(at_once))))
        };
        let set_aside: u32 = reserve.shares().map(|(owner, _)| reserve.of_window(owner, window.requests)).sum();
        let (whole, rest) = (under(window.requests, requests), under(window.requests.saturating_sub(set_aside), demand.of_others));
        let (every, takes) = if rest.1 > whole.1 { rest } else { whole };
        (format!("{}: {}", window.key(), window.requests), every, takes)
    });
    let delay = limits.min_delay.map(|delay| {
        let every = delay + a_request_takes;
        ("min_delay".to_owned(), every, times(every, requests.saturating_sub(1)))
    });
    let flight = limits.in_flight.map(|most| {
        let every = a_request_takes / most.max(1);
        (format!("in_flight: {most}"), every, times(every, requests.saturating_sub(u64::from(most))))
    });
    windows.chain(delay).chain(flight).collect()
}

/// Of all limits, the one that takes longest for what it has to admit.
fn bottleneck(run: &Rehearsal) -> Option<Bottleneck> {
    let rules = &run.dispatcher.rules;
    let mut demand: HashMap<&str, Demand> = HashMap::new();
    let mut of_values: HashMap<(&str, &str), Demand> = HashMap::new();
    let open = run.dispatcher.book.tasks().filter(|(_, task)| matches!(task.phase, Phase::Ready(_) | Phase::Delayed(_)));
    let open: Vec<Task> = open.map(|(slot, _)| run.dispatcher.plain_task(slot)).collect();
    for task in run.tasks.iter().map(|foreseen| &foreseen.task).chain(&open) {
        let requests = rules.collectors[&*task.collector].requests.of(task.gaps.len());
        let has_a_share = rules.reserve.shares().any(|(owner, _)| owner == task.priority);
        if let Some(source) = &task.source {
            let more = Demand { requests, of_others: if has_a_share { 0 } else { requests } };
            demand.entry(source).or_default().add(more);
            if let Some(value) = value_of_task(rules, task) {
                of_values.entry((source, value)).or_default().add(more);
            }
        }
    }
    let busiest = |name: &str| {
        let of_source = of_values.iter().filter(|((source, _), _)| *source == name).map(|((_, value), demand)| (demand.requests, *value));
        let (_, value) = of_source.max_by_key(|(requests, value)| (*requests, std::cmp::Reverse(*value)))?;
        Some((value, of_values[&(name, value)]))
    };
    let mut of_all = Demand::default();
    demand.values().for_each(|of_source| of_all.add(*of_source));
    let total = of_all.requests;
    let a_request = run.assumed.a_request_takes;
    let of_sources = rules.sources.iter().flat_map(|(name, source)| {
        let demand = demand.get(&**name).copied().unwrap_or_default();
        let of_source = takes(&source.limits, &rules.reserve, a_request, demand).into_iter();
        let of_value = source.by.as_ref().zip(busiest(name)).map(|(by, (value, demand))| {
            let named = format!("{}={value}", by.name);
            takes(&by.limits, &rules.reserve, a_request, demand).into_iter().map(move |found| (Some(named.clone()), found))
        });
        let of_both = of_source.map(|found| (None, found)).chain(of_value.into_iter().flatten());
        of_both.map(|(value, found)| (Some(name.to_string()), value, found)).collect::<Vec<_>>()
    });
    let of_all = takes(&rules.limits, &rules.reserve, a_request, of_all).into_iter().map(|found| (None, None, found));
    let every = a_request / rules.slots.max(1);
    let slots = (total > u64::from(rules.slots)).then(|| {
        let takes = every.saturating_mul(u32::try_from(total).unwrap_or(u32::MAX));
        (None, None, ("slots".to_owned(), every, takes))
    });
    let longest = of_sources.chain(of_all).chain(slots).max_by_key(|(_, _, (_, _, takes))| *takes);
    let (source, value, (limit, every, takes)) = longest.filter(|(_, _, (_, _, takes))| !takes.is_zero())?;
    Some(Bottleneck { source, value, limit, every, takes })
}

/// What its requests are told apart by.
fn value_of_task<'t>(rules: &Rules, task: &'t Task) -> Option<&'t str> {
    let (source, collector) = (rules.sources.get_index_of(task.source.as_deref()?)?, rules.collectors.get_index_of(&*task.collector)?);
    value_in(rules, &task.group, (Some(SourceIx(source as u32)), collector as CollectorIx), SourceIx(source as u32))
}
