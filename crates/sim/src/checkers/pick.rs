//! Promise 3: at every pick the best runnable task, found by scoring all of them again; and no slot that idles while
//! one is runnable.
//!
//! Runnable: a slot is free and not set aside for another priority (who only publishes holds none, and not too many do), the
//! breaker lets it, the source is not paused, no cap is used up, the permits to start are there, and nobody ahead of it keeps it from them.
//! Ahead are tasks that were passed for one full window, and requests of running attempts that wait; but what takes only
//! permits that are set aside for its priority takes nothing from others, passes none of them and is kept back by none.
//! What would only wait for permits starts when nothing else can, and not while there is one such attempt already (`useful`).
//! Everything is worked out anew from the facts so far.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use adce_core::gap::{Fault, Outcome, Task};
use adce_core::ids::{AttemptId, TaskId};
use adce_core::ports::{Answer, RetryAfter, Settlement};
use adce_core::queue::{Charge, Gate, Start, Waiting};
use adce_core::record::Change;
use adce_core::spec::PriorityLevel;

use super::breakers::{Breaker, Crashes, Met, of_answer, verdict};
use super::limits::{Brackets, HowLong, Need, Reach, Refusal, Whose};
use super::order::{Order, Rank};
use super::useful::{Crowd, Useful};
use crate::clocks::Clocks;
use crate::disk::Disk;
use crate::facts::{Checker, Fact, Figures, Moment, Wrong};
use crate::scenario::{Kind, Micros, SECOND, Scenario, Value, value_of};

pub struct Picks {
    scenario: Scenario,
    names: Vec<String>,
    /// All tasks that are not running.
    queued: BTreeMap<TaskId, Queued>,
    running: BTreeMap<AttemptId, Running>,
    /// Of these, those of which a request has left.
    has_asked: BTreeSet<AttemptId>,
    /// Requests of running attempts that wait for a source.
    waiters: BTreeSet<(usize, AttemptId)>,
    brackets: Brackets,
    breakers: Vec<Breaker>,
    /// By source and value, of those that asked.
    of_values: HashMap<(usize, Value), Breaker>,
    /// By collector.
    crashes: HashMap<String, Crashes>,
    order: Order,
    useful: Useful,
    clocks: Clocks,
    /// Since the last full look.
    started: HashMap<PriorityLevel, u32>,
    /// The last answer was that nothing can start, for these reasons.
    idle: Option<Vec<Waiting>>,
    checked: u64,
    kept_by_publishing: u64,
}

struct Queued {
    task: Task,
    /// Its time has come; a clock that is set back does not change that.
    is_ready: bool,
    /// Was passed, and puts up with it until then.
    patience: Option<Micros>,
}

struct Running {
    task: Task,
    source: Option<usize>,
    first: Option<Whose>,
    charged: bool,
    saw_answers: bool,
    /// Its collector is done, and what it left is being published.
    publishes: bool,
    /// Its last answer was the source's failure.
    was_refused: bool,
    /// A request of it waits behind a breaker or a pause.
    shut_out: bool,
}

/// A ready task, and what keeps it.
struct Candidate<'a> {
    rank: Rank,
    task: &'a Task,
    need: Option<Need>,
    source: Option<usize>,
    patience: Option<Micros>,
    /// Breaker, pause or cap.
    is_shut: bool,
    /// The free ones are set aside for other priorities.
    no_slot: bool,
    value: Option<Value>,
    /// It takes no permits from other priorities: of its value's own limits, and of all others.
    within_its_share: (bool, bool),
    refusals: Vec<Refusal>,
    crowd: Crowd,
}

/// Lower-ranked tasks are kept from permits.
struct Claim {
    rank: Rank,
    priority: PriorityLevel,
    source: usize,
    value: Option<Value>,
    reach: Reach,
    only_permits: bool,
}

impl Candidate<'_> {
    /// It takes what somebody of this source and value waits for whom a limit of this reach refuses.
    fn takes_from(&self, source: usize, value: Option<Value>, reach: Reach, priority: PriorityLevel) -> bool {
        let here = self.source == Some(source);
        let concerned = match reach {
            Reach::Value => here && self.value == value,
            Reach::Source => here,
            Reach::All => here || self.need.is_some(),
        };
        let within = if reach == Reach::Value { self.within_its_share.0 } else { self.within_its_share.1 };
        concerned && (!within || priority == self.task.priority)
    }

    /// The rule that refuses longest; the first on a tie.
    fn longest(&self) -> Option<&Refusal> {
        longest(&self.refusals)
    }

    fn permits(&self) -> u32 {
        self.need.map_or(0, |need| need.requests)
    }
}

fn longest(refusals: &[Refusal]) -> Option<&Refusal> {
    let most = refusals.iter().map(|refusal| refusal.how_long).max()?;
    refusals.iter().find(|refusal| refusal.how_long == most)
}

impl Picks {
    pub fn new(scenario: &Scenario) -> Self {
        Picks {
            names: scenario.sources.iter().map(|source| source.name.clone()).collect(),
            queued: BTreeMap::new(),
            running: BTreeMap::new(),
            has_asked: BTreeSet::new(),
            waiters: BTreeSet::new(),
            brackets: Brackets::new(scenario),
            breakers: scenario.sources.iter().map(|source| Breaker::new(source.breaker)).collect(),
            of_values: HashMap::new(),
            crashes: scenario.collectors.iter().map(|known| (known.name.clone(), Crashes::new(known.breaker))).collect(),
            order: Order::new(scenario),
            useful: Useful::default(),
            clocks: Clocks::default(),
            started: HashMap::new(),
            idle: None,
            checked: 0,
            kept_by_publishing: 0,
            scenario: scenario.clone(),
        }
    }

    fn source_of(&self, task: &Task) -> Option<usize> {
        let name = task.source.as_ref()?;
        Some(self.names.iter().position(|known| known == name).expect("a known source"))
    }

    fn value_of(&self, task: &Task) -> Option<Value> {
        self.scenario.sources[self.source_of(task)?].value(&task.group)
    }

    /// One permit where adce sends, all of them where the task is charged ahead.
    fn need_of(&self, task: &Task) -> Option<Need> {
        let source = self.source_of(task)?;
        let collector = self.scenario.collectors.iter().find(|known| known.name == task.collector).expect("a known collector");
        match collector.kind {
            Kind::Http | Kind::Gateway { .. } => {
                Some(Need { source, value: self.value_of(task), priority: task.priority, requests: 1, alone: true })
            }
            Kind::Charged => {
                let requests = collector.requests.of(task.gaps.len()) as u32;
                (requests > 0).then_some(Need {
                    source,
                    value: self.value_of(task),
                    priority: task.priority,
                    requests,
                    alone: requests == 1,
                })
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------ brute force

    /// All ready tasks, the best first.
    fn candidates(&self, moment: Moment) -> Vec<Candidate<'_>> {
        let mut known: HashMap<Need, (Vec<Refusal>, (bool, bool))> = HashMap::new();
        let mut candidates: Vec<Candidate<'_>> = Vec::new();
        for queued in self.queued.values().filter(|queued| queued.is_ready) {
            let task = &queued.task;
            let (need, source) = (self.need_of(task), self.source_of(task));
            let within = |need, of_value| self.brackets.is_within_its_share(need, of_value, moment.at);
            let look = |need| (self.brackets.refusals(need, moment.at), (within(need, true), within(need, false)));
            let (refusals, within_its_share) = need.map(|need| known.entry(need).or_insert_with(|| look(need)).clone()).unwrap_or_default();
            let rank = self.order.rank(task, moment.now.wall);
            candidates.push(Candidate {
                crowd: self.crowd(task, &rank, moment),
                rank,
                task,
                need,
                source,
                value: self.value_of(task),
                patience: queued.patience,
                is_shut: self.is_capped(task.priority)
                    || self.keeps_crashing(task, moment.at)
                    || source.is_some_and(|source| self.is_shut(source, self.value_of(task), moment.at)),
                no_slot: !self.has_slot(task.priority),
                within_its_share,
                refusals,
            });
        }
        candidates.sort_by(|one, other| other.rank.cmp(&one.rank));
        candidates
    }

    /// Those at work that are of its kind, or rank above it, take all that its source admits.
    fn crowd(&self, task: &Task, rank: &Rank, moment: Moment) -> Crowd {
        let Some(source) = self.source_of(task) else { return Crowd::No };
        let collector = self.scenario.collectors.iter().find(|known| known.name == task.collector).expect("a known collector");
        let largest = collector.requests.of(collector.batch.max(1) as usize);
        if collector.kind == Kind::Charged || !self.useful.asks_again(source, &task.collector, largest) {
            return Crowd::No;
        }
        let waits = |attempt| self.waiters.contains(&(source, attempt));
        let mut others = self.useful.at_work(source, &task.collector, waits, moment.at);
        others.retain(|other| {
            let running = &self.running[&other.attempt];
            let is_alike = other.is_of_this_collector && running.task.priority == task.priority;
            !running.publishes && (is_alike || self.order.rank(&running.task, moment.now.wall) > *rank)
        });
        let has_room_for = |requests| self.brackets.has_room_for(source, task.priority, requests, moment.at);
        self.useful.crowd(&self.scenario, source, task.priority, &others, has_room_for)
    }

    /// Is there a ready task that no limit, breaker or pause refuses? Without one there is nothing to rank.
    fn anything_fits(&self, moment: Moment) -> bool {
        let mut known: HashMap<Need, bool> = HashMap::new();
        self.queued.values().filter(|queued| queued.is_ready).any(|queued| {
            if self.is_capped(queued.task.priority) || !self.has_slot(queued.task.priority) || self.keeps_crashing(&queued.task, moment.at)
            {
                return false;
            }
            let Some(source) = self.source_of(&queued.task) else { return true };
            if self.is_shut(source, self.value_of(&queued.task), moment.at) {
                return false;
            }
            let Some(need) = self.need_of(&queued.task) else { return true };
            *known.entry(need).or_insert_with(|| self.brackets.refusals(need, moment.at).is_empty())
        })
    }

    /// Among those who collect, and among twice as many who are under way: each priority counts at least as many as are set
    /// aside for it, its share rounded up.
    fn has_slot(&self, priority: PriorityLevel) -> bool {
        let fits = |places: u32, counts: &dyn Fn(&Running) -> bool| {
            let counted = |of: PriorityLevel| {
                let running = self.running.values().filter(|running| running.task.priority == of && counts(running)).count() as u32;
                let own = self.scenario.reserve.shares().find(|(owner, _)| *owner == of);
                let share = own.map_or(0, |(_, permille)| (places * permille).div_ceil(1_000));
                (running + u32::from(of == priority)).max(share)
            };
            PriorityLevel::ALL.into_iter().map(counted).sum::<u32>() <= places
        };
        let slots = self.scenario.slots;
        fits(slots, &|running| !running.publishes) && fits(2 * slots, &|_| true)
    }

    /// As many have started since the last full look as may, of its priority or of all.
    fn is_capped(&self, priority: PriorityLevel) -> bool {
        let started = |of: Option<PriorityLevel>| match of {
            Some(of) => self.started.get(&of).copied().unwrap_or(0),
            None => self.started.values().sum(),
        };
        self.scenario.caps.iter().any(|(of, most)| of.is_none_or(|of| of == priority) && started(*of) >= *most)
    }

    fn keeps_crashing(&self, task: &Task, at: Micros) -> bool {
        !self.crashes[&task.collector].breaker.lets_pass(None, at)
    }

    /// By its breaker, or that of the value, or because it asked for a pause.
    fn is_shut(&self, source: usize, value: Option<Value>, at: Micros) -> bool {
        !self.breakers_let_pass(source, value, None, at) || self.brackets.paused_for(source, at)
    }

    fn breakers_let_pass(&self, source: usize, value: Option<Value>, who: Option<AttemptId>, at: Micros) -> bool {
        let of_value = value.and_then(|value| self.of_values.get(&(source, value)));
        self.breakers[source].lets_pass(who, at) && of_value.is_none_or(|breaker| breaker.lets_pass(who, at))
    }

    /// Of an attempt that runs; none asks another source than its own.
    fn breakers_let_go_on(&self, source: usize, attempt: AttemptId, at: Micros) -> bool {
        let value = self.running.get(&attempt).and_then(|running| self.value_of(&running.task));
        self.breakers_let_pass(source, value, Some(attempt), at)
    }

    /// Those that a request of this source and value is under.
    fn each_breaker(&mut self, source: usize, value: Option<Value>, mut tell: impl FnMut(&mut Breaker)) {
        tell(&mut self.breakers[source]);
        if let (Some(policy), Some(value)) = (self.scenario.sources[source].each_breaker, value) {
            tell(self.of_values.entry((source, value)).or_insert_with(|| Breaker::new(Some(policy))));
        }
    }

    fn claims(&self, candidates: &[Candidate<'_>], moment: Moment) -> Vec<Claim> {
        let waiting = self.waiters.iter().filter_map(|(source, attempt)| {
            let task = &self.running.get(attempt)?.task;
            // It waits for its source, and takes no permit from anybody meanwhile.
            if !self.breakers_let_go_on(*source, *attempt, moment.at) || self.brackets.paused_for(*source, moment.at) {
                return None;
            }
            let value = self.value_of(task);
            let need = Need { source: *source, value, priority: task.priority, requests: 1, alone: true };
            let refusals = self.brackets.refusals(need, moment.at);
            let reach = longest(&refusals).map_or(Reach::All, |refusal| refusal.reach);
            let (rank, priority) = (self.order.rank(task, moment.now.wall), task.priority);
            Some(Claim { rank, priority, source: *source, value, reach, only_permits: true })
        });
        let impatient = candidates.iter().filter_map(|candidate| {
            let is_over = candidate.patience.is_some_and(|until| until <= moment.at);
            let never = candidate.longest().is_some_and(|refusal| refusal.how_long == HowLong::Never);
            let (value, reach) = (candidate.value, candidate.longest().map_or(Reach::Source, |refusal| refusal.reach));
            let (source, priority) = (candidate.source.unwrap_or(0), candidate.task.priority);
            let claim = || Claim { rank: candidate.rank.clone(), priority, source, value, reach, only_permits: false };
            let stays_away = candidate.crowd == Crowd::OneMoreAlready;
            (is_over && !never && !candidate.is_shut && !candidate.no_slot && !stays_away && candidate.source.is_some()).then(claim)
        });
        waiting.chain(impatient).collect()
    }

    /// Who collects has a slot, who publishes has none; and no more are under way than twice as many as there are slots.
    fn is_slot_free(&self) -> bool {
        let slots = self.scenario.slots as usize;
        self.collecting() < slots && self.running.len() < 2 * slots
    }

    fn collecting(&self) -> usize {
        self.running.values().filter(|running| !running.publishes).count()
    }

    fn best<'a>(&self, candidates: &'a [Candidate<'a>], moment: Moment) -> Option<&'a Candidate<'a>> {
        if !self.is_slot_free() {
            return None;
        }
        let claims = self.claims(candidates, moment);
        let is_claimed = |candidate: &Candidate<'_>| {
            candidate.source.is_some()
                && claims.iter().any(|claim| {
                    let takes = candidate.takes_from(claim.source, claim.value, claim.reach, claim.priority);
                    takes && (candidate.need.is_some() || !claim.only_permits) && claim.rank > candidate.rank
                })
        };
        let can_start = |candidate: &&Candidate<'_>| {
            !candidate.is_shut && !candidate.no_slot && candidate.refusals.is_empty() && !is_claimed(candidate)
        };
        let of_crowd = |crowd| candidates.iter().filter(move |candidate| candidate.crowd == crowd).find(can_start);
        of_crowd(Crowd::No).or_else(|| of_crowd(Crowd::Yes))
    }

    fn check_pick(&mut self, start: &Start, moment: Moment, wrong: &mut Vec<Wrong>) {
        self.checked += 1;
        let candidates = self.candidates(moment);
        let best = self.best(&candidates, moment).map(|candidate| candidate.task);
        if best.map(|task| task.id) != Some(start.task.id) {
            let best = best.map_or("nothing is runnable".into(), |task| format!("`{}` ({}) is the best runnable", task.key, task.id));
            let picked = candidates.iter().find(|candidate| candidate.task.id == start.task.id);
            let why = picked.map_or("is not ready".into(), |picked| format!("shut: {}, refused by {:?}", picked.is_shut, picked.refusals));
            let what = format!("`{}` ({}) was picked ({why}), but {best}", start.task.key, start.task.id);
            wrong.push(Wrong { checker: "pick", at: moment.at, what });
        }
        let passed = self.passed_by(&candidates, start);
        for (task, window) in passed {
            let queued = self.queued.get_mut(&task).expect("a candidate is queued");
            let until = queued.patience.get_or_insert(moment.at + window);
            *until = (*until).min(moment.at + window);
        }
    }

    /// Better tasks that a window refuses, and that need more permits, are passed.
    fn passed_by(&self, candidates: &[Candidate<'_>], start: &Start) -> Vec<(TaskId, Micros)> {
        let Some(started) = candidates.iter().find(|candidate| candidate.task.id == start.task.id) else { return Vec::new() };
        let is_passed = |candidate: &&Candidate<'_>| {
            let reach = candidate.longest().map_or(Reach::Source, |refusal| refusal.reach);
            let (value, priority) = (candidate.value, candidate.task.priority);
            candidate.rank > started.rank
                && candidate.source.is_some_and(|source| started.takes_from(source, value, reach, priority))
                && !candidate.is_shut
                && !candidate.no_slot
                && candidate.crowd != Crowd::OneMoreAlready
                && candidate.permits() > started.permits()
        };
        let shortest =
            |candidate: &Candidate<'_>| candidate.refusals.iter().filter_map(|refusal| refusal.window).map(|window| window.span).min();
        let passed = candidates.iter().filter(is_passed);
        passed.filter_map(|candidate| Some((candidate.task.id, shortest(candidate)?.as_micros() as Micros))).collect()
    }

    fn check_idle(&mut self, moment: Moment, wrong: &mut Vec<Wrong>) {
        if !self.is_slot_free() {
            return self.check_words(moment, wrong);
        }
        if self.queued.is_empty() {
            return;
        }
        self.checked += 1;
        if !self.anything_fits(moment) {
            return;
        }
        let candidates = self.candidates(moment);
        if let Some(best) = self.best(&candidates, moment) {
            let said = self.idle.iter().flatten().map(|waiting| &waiting.gate).collect::<Vec<_>>();
            let what = format!("a slot idles while `{}` ({}) is runnable; it is said to wait for {said:?}", best.task.key, best.task.id);
            wrong.push(Wrong { checker: "pick", at: moment.at, what });
        }
    }

    /// Nothing may start because of the slots: is it said which way?
    fn check_words(&mut self, moment: Moment, wrong: &mut Vec<Wrong>) {
        let (slots, collecting) = (self.scenario.slots, self.collecting() as u32);
        let truth = match collecting >= slots {
            true => Gate::Slots { slots },
            false => Gate::Publishing { attempts: self.running.len() as u32 - collecting, slots },
        };
        self.kept_by_publishing += u64::from(matches!(truth, Gate::Publishing { .. }));
        for waiting in self.idle.iter().flatten().filter(|waiting| waiting.gate != truth) {
            let what = format!("{} tasks are said to wait for {:?}, but it is {truth:?}", waiting.tasks, waiting.gate);
            wrong.push(Wrong { checker: "pick", at: moment.at, what });
        }
    }

    // ------------------------------------------------------------------------------------------------- what happened

    fn restart(&mut self, disk: &Disk, clocks: &Clocks, moment: Moment) {
        self.clocks = clocks.clone();
        self.queued.clear();
        self.running.clear();
        self.has_asked.clear();
        self.waiters.clear();
        self.started.clear();
        disk.tasks.values().for_each(|task| self.put(task, moment));
        self.brackets.restart(disk, clocks, &self.names, moment);
        self.of_values.clear();
        for (source, name) in self.names.clone().iter().enumerate() {
            for (text, record) in disk.values.get(name).into_iter().flatten() {
                let group = text.strip_prefix("group=").expect("it is by group");
                self.each_breaker(source, Some(value_of(group)), |breaker| breaker.restart(Some(&record.breaker), moment));
            }
        }
        for (source, name) in self.names.iter().enumerate() {
            self.breakers[source].restart(disk.sources.get(name).map(|record| &record.breaker), moment);
        }
        for (name, crashes) in &mut self.crashes {
            crashes.restart(disk.collectors.get(name), moment);
        }
        self.order.restart(&disk.success);
        self.useful = Useful::default();
        self.idle = None;
    }

    fn put(&mut self, task: &Task, moment: Moment) {
        let is_ready = task.ready_at.is_none_or(|at| at <= moment.now.wall);
        let before = self.queued.remove(&task.id);
        let patience = before.filter(|_| is_ready).and_then(|before| before.patience);
        self.queued.insert(task.id, Queued { task: task.clone(), is_ready, patience });
    }

    fn picked(&mut self, start: &Start, moment: Moment) {
        let source = self.source_of(&start.task);
        let first = match start.charge {
            Charge::First(permit) => Some(Whose::Permit(permit)),
            Charge::Ahead(_) | Charge::Nothing => None,
        };
        let charged = match (self.need_of(&start.task), first) {
            (Some(need), Some(first)) => {
                self.brackets.granted(first, need, moment.at);
                false
            }
            (Some(need), None) => {
                let whose = Whose::Charge(start.attempt);
                self.brackets.granted(whose, need, moment.at);
                if need.alone {
                    self.brackets.sent(whose, moment.at);
                }
                true
            }
            (None, _) => false,
        };
        if let (Some(source), Some(_)) = (source, first) {
            let collector = self.scenario.collectors.iter().find(|known| known.name == start.task.collector);
            let declared = collector.expect("a known collector").requests.of(start.gaps.len());
            self.useful.picked(start.attempt, source, &start.task.collector, declared, moment.at);
        }
        if let Some(source) = source {
            let value = self.value_of(&start.task);
            self.each_breaker(source, value, |breaker| breaker.passed(start.attempt, moment.at));
        }
        self.crashes_of(&start.task).breaker.passed(start.attempt, moment.at);
        *self.started.entry(start.task.priority).or_default() += 1;
        self.queued.remove(&start.task.id);
        let running = Running {
            task: start.task.clone(),
            source,
            first,
            charged,
            saw_answers: false,
            publishes: false,
            was_refused: false,
            shut_out: false,
        };
        self.running.insert(start.attempt, running);
    }

    fn ended(&mut self, attempt: AttemptId, outcomes: &[(adce_core::ids::GapId, Outcome)], at: Micros) {
        let Some(ended) = self.running.remove(&attempt) else { return };
        self.has_asked.remove(&attempt);
        self.useful.ended(attempt, outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged)));
        self.waiters.retain(|(_, waiter)| *waiter != attempt);
        if let Some(first) = ended.first {
            self.brackets.unsent(first, at);
        }
        if ended.charged {
            self.brackets.arrived_by(Whose::Charge(attempt), at + SECOND);
        }
        if let Some(source) = ended.source {
            for (_, outcome) in outcomes {
                if let Outcome::Failed(failure) = outcome
                    && matches!(failure.fault, Fault::Source | Fault::Later)
                    && let Some(seconds) = failure.retry_after_s
                {
                    self.brackets.paused(source, at + seconds * SECOND);
                }
            }
            if let Some(met) = verdict(outcomes).filter(|_| !ended.saw_answers) {
                let value = self.value_of(&ended.task);
                self.each_breaker(source, value, |breaker| breaker.met(attempt, met, at));
            }
        }
        let for_the_source = ended.was_refused || ended.shut_out;
        self.crashes_of(&ended.task).met(attempt, ended.task.gaps[0], outcomes, for_the_source, at);
        self.breakers.iter_mut().chain(self.of_values.values_mut()).for_each(|breaker| breaker.ended(attempt, at));
        self.brackets.lessons.iter_mut().for_each(|lessons| lessons.ended(attempt));
        self.crashes.values_mut().for_each(|crashes| crashes.breaker.ended(attempt, at));
        let counts = |outcome: &Outcome| match outcome {
            Outcome::Failed(failure) => failure.fault != Fault::Stopped,
            outcome => matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged),
        };
        if outcomes.iter().any(|(_, outcome)| counts(outcome)) {
            let filled = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged));
            self.order.attempted(&ended.task.collector, filled);
        }
    }

    fn crashes_of(&mut self, task: &Task) -> &mut Crashes {
        self.crashes.get_mut(&task.collector).expect("a known collector")
    }

    fn is_http(&self, attempt: AttemptId) -> bool {
        let collector = self.running.get(&attempt).map(|running| &running.task.collector);
        self.scenario.collectors.iter().any(|known| Some(&known.name) == collector && known.kind == Kind::Http)
    }

    /// Nobody but adce's own client ends because of a source, and only of one that is shut.
    fn gave_up(&self, attempt: AttemptId, source: usize, moment: Moment, wrong: &mut Vec<Wrong>) {
        let is_shut = !self.breakers_let_go_on(source, attempt, moment.at) || self.brackets.paused_for(source, moment.at);
        if !is_shut || !self.is_http(attempt) {
            let what = format!("{}: an attempt is told to end because of a source that it may ask, or could wait for", self.names[source]);
            wrong.push(Wrong { checker: "pick", at: moment.at, what });
        }
    }

    fn granted(&mut self, attempt: AttemptId, source: usize, whose: Whose, moment: Moment, wrong: &mut Vec<Wrong>) {
        let mut is_wrong = |what: String| wrong.push(Wrong { checker: "pick", at: moment.at, what });
        if !self.breakers_let_go_on(source, attempt, moment.at) {
            is_wrong(format!("{}: a request is granted while the breaker is open", self.names[source]));
        }
        if self.brackets.paused_for(source, moment.at) {
            is_wrong(format!("{}: a request is granted while the source is paused", self.names[source]));
        }
        let priority = self.running.get(&attempt).map_or(PriorityLevel::default(), |running| running.task.priority);
        let value = self.running.get(&attempt).and_then(|running| self.value_of(&running.task));
        let need = Need { source, value, priority, requests: 1, alone: true };
        if !self.brackets.knows(whose) {
            if let Some(refusal) = self.brackets.refusals(need, moment.at).first() {
                is_wrong(format!("{}: a request is granted that a limit refuses: {refusal:?}", self.names[source]));
            }
            self.brackets.granted(whose, need, moment.at);
        }
        self.brackets.lessons[source].asks(attempt, moment);
        self.each_breaker(source, value, |breaker| breaker.passed(attempt, moment.at));
        self.useful.granted(attempt, moment.at);
        self.waiters.remove(&(source, attempt));
        if let Some(running) = self.running.get_mut(&attempt) {
            running.shut_out = false;
            running.first = running.first.filter(|first| *first != whose);
        }
    }
}

impl Checker for Picks {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        for queued in self.queued.values_mut() {
            queued.is_ready |= queued.task.ready_at.is_none_or(|at| at <= moment.now.wall);
        }
        self.brackets.clean(moment.at);
        match fact {
            Fact::Decided { changes } => {
                for change in *changes {
                    match change {
                        Change::PutTask(task) => self.put(task, moment),
                        Change::RemoveTask(task) => drop(self.queued.remove(task)),
                        _ => {}
                    }
                }
            }
            Fact::Picked { start } => {
                self.check_pick(start, moment, wrong);
                self.picked(start, moment);
                self.idle = None;
            }
            Fact::Idle { idle } => {
                self.idle = Some(idle.waiting.clone());
                self.check_idle(moment, wrong);
            }
            Fact::Slept if self.idle.is_some() => self.check_idle(moment, wrong),
            Fact::Granted { attempt, source, permit } => self.granted(*attempt, *source, Whose::Permit(*permit), moment, wrong),
            Fact::GaveUp { attempt, source } => {
                self.waiters.remove(&(*source, *attempt));
                self.useful.waits(*attempt, moment.at);
                self.gave_up(*attempt, *source, moment, wrong);
            }
            Fact::Waits { attempt, source } => {
                self.waiters.insert((*source, *attempt));
                self.useful.waits(*attempt, moment.at);
                let by_breaker = !self.breakers_let_go_on(*source, *attempt, moment.at);
                let shut_out = by_breaker || self.brackets.paused_for(*source, moment.at);
                if shut_out && self.is_http(*attempt) && (by_breaker || !self.has_asked.contains(attempt)) {
                    let what = format!("{}: `http` holds a slot while its source is shut", self.names[*source]);
                    wrong.push(Wrong { checker: "pick", at: moment.at, what });
                }
                if let Some(running) = self.running.get_mut(attempt) {
                    running.shut_out = shut_out;
                }
            }
            Fact::Sent { attempt, permit, source, .. } => {
                self.has_asked.insert(*attempt);
                self.brackets.sent(Whose::Permit(*permit), moment.at);
                self.useful.sent(*permit, *source, moment.at);
            }
            Fact::Settled { permit, how } => match how {
                Settlement::Unsent => {
                    self.brackets.unsent(Whose::Permit(*permit), moment.at);
                    self.useful.settled(*permit, None);
                }
                Settlement::ArrivedBy(by) => {
                    self.brackets.arrived_by(Whose::Permit(*permit), self.clocks.world(*by));
                    self.useful.settled(*permit, Some(self.clocks.world(*by)));
                }
            },
            Fact::Answered { attempt, source, answer } => {
                let lessons = &mut self.brackets.lessons[*source];
                let (told, own) = match answer {
                    Answer::Status { code, retry_after, .. } => {
                        let told = match retry_after {
                            Some(RetryAfter::Seconds(seconds)) if *code == 429 || *code >= 500 => Some(moment.at + seconds * SECOND),
                            _ => None,
                        };
                        let refuses = *code == 429 || *code == 503;
                        (told, if refuses { lessons.refused(*attempt, told, moment) } else { None })
                    }
                    Answer::NotReached => (None, None),
                    Answer::NoAnswer => (None, lessons.no_answer(*attempt, moment)),
                };
                for until in told.into_iter().chain(own) {
                    self.brackets.paused(*source, until);
                }
                let met = of_answer(*answer);
                let value = self.running.get(attempt).and_then(|running| self.value_of(&running.task));
                self.each_breaker(*source, value, |breaker| breaker.met(*attempt, met, moment.at));
                if let Some(running) = self.running.get_mut(attempt) {
                    running.saw_answers = true;
                    running.was_refused = met != Met::Good;
                }
            }
            Fact::Collected { attempt } => {
                if let Some(running) = self.running.get_mut(attempt) {
                    running.publishes = true;
                    self.useful.publishes(*attempt);
                }
            }
            Fact::Ended { attempt, outcomes } => self.ended(*attempt, outcomes, moment.at),
            Fact::Looked => self.started.clear(),
            Fact::Crashed => self.idle = None,
            Fact::Restarted { disk, clocks } => self.restart(disk, clocks, moment),
            _ => {}
        }
    }

    fn figures(&self, _scenario: &Scenario, figures: &mut Figures) {
        figures.picks_checked = self.checked;
        figures.kept_by_publishing = self.kept_by_publishing;
    }
}
