//! The best runnable task.
//!
//! Runnable is a task that is ready, whose source is neither paused nor shut by its breaker, whose collector is not shut by
//! its own, whose permits to start are there, and which nobody ahead of it keeps from them. Two things keep others from permits:
//!
//! - A better-scored task that was passed for a full window: the shortest that refused it then, and of several passes
//!   the one that ends first. Passed is a task that is ready, and refused by a window, when a lower-scored one that needs fewer permits starts.
//!   From the end of that window no lower-scored task of its source starts until it has started itself; and none of
//!   any source that needs permits, while it is the limit of all sources together that refuses it.
//! - A running attempt whose next request waits for a permit: a start that scores lower does not take it. (If the request
//!   was charged already, it needs room among those that are kept apart only, and only such starts are kept back.)
//!
//! And a task whose attempt would only wait for permits, because those at work take all that its source admits, starts when
//! nothing else can, and not at all while there is one such attempt already (`useful`). It is not passed meanwhile.
//!
//! "Scores lower" is the whole order: score, then oldest detected_at, later due, key.
//!
//! `reserve` sets a share of the slots and of every window aside for a priority. Whoever finds no slot but those is not
//! runnable, and neither passes nor is passed. A start that needs no permits but those set aside for its priority takes
//! nothing from other priorities: nobody of another one keeps it back, and it passes none of them
//! (`a_claim_keeps_nobody_from_what_is_set_aside_for_him`).
//!
//! The pick looks at the first task of each class that has any, and at what runs, so its cost grows with the number of
//! classes and as the logarithm of the number of tasks. It equals a re-scoring of all tasks (`pick_equals_brute_force`).

use std::collections::HashSet;

use super::Dispatcher;
use super::classes::{ClassKey, CollectorIx, TaskSlot};
use super::score::{Place, Rank};
use super::start::{Idle, Waiting};
use super::useful::{AtWork, Crowd, Drawing};
use super::{Charge, Gate, Pick, Start};
use crate::gap::Task;
use crate::ids::{AttemptId, FencingToken, TaskId};
use crate::lease;
use crate::limits::breaker::{self, Breaker, Trip};
use crate::limits::{Ask, AskKind, Because, HoldOff, Reach, SourceIx};
use crate::queue::book::Phase;
use crate::queue::dispatcher::{Attempt, Began, Stage};
use crate::record::{GapStory, Lease, Left, Story, Waited};
use crate::spec::{PriorityLevel, Reserve};
use crate::time::{Boottime, Moment, Now};

/// What a look at the classes found.
pub(super) enum Choice {
    Start { task: TaskSlot, rank: Rank, ahead: usize, ask: Option<Ask>, passed: Vec<Refused>, held: Vec<(ClassKey, Gate)> },
    Nothing { wake_at: Option<Boottime>, waiting: Vec<Waiting>, held: Vec<(ClassKey, Gate)> },
}

/// A class whose first task would have been better, but for a limit.
pub(super) struct Refused {
    class: u32,
    key: ClassKey,
    /// The limit of all sources together is among what refuses.
    by_all: bool,
}

/// Who keeps lower-scored tasks from permits.
#[derive(Default)]
struct Claims {
    claims: Vec<Claim>,
}

struct Claim {
    rank: Rank,
    priority: PriorityLevel,
    source: SourceIx,
    /// Other sources' tasks would take its permits as well.
    everywhere: bool,
    keeps: Keeps,
    /// Whose it is, for a person.
    task: TaskSlot,
}

/// Whom of its source a claim keeps from starting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Everybody,
    /// A task that needs no permits may pass.
    WhoTakesPermits,
    /// The request was charged already and needs room among those that are kept apart: a charge for many takes none.
    WhoIsSpaced,
}

impl Keeps {
    fn back(self, ask: Option<Ask>) -> bool {
        match (self, ask.map(|ask| ask.kind)) {
            (Keeps::Everybody, _) => true,
            (_, None) => false,
            (Keeps::WhoTakesPermits, Some(_)) => true,
            (Keeps::WhoIsSpaced, Some(AskKind::ChargedAhead { permits })) => permits == 1,
            (Keeps::WhoIsSpaced, Some(AskKind::OneRequest | AskKind::Paced)) => true,
        }
    }
}

impl Claims {
    /// `within_its_share`: it takes nothing from another priority.
    fn against(&self, rank: &Rank, key: &ClassKey, within_its_share: bool) -> Option<&Claim> {
        let source = key.source?;
        self.claims.iter().find(|claim| {
            let concerned = claim.source == source || (claim.everywhere && key.ask.is_some());
            let takes = !within_its_share || claim.priority == key.priority;
            concerned && takes && claim.keeps.back(key.ask) && claim.rank > *rank
        })
    }
}

impl Dispatcher {
    /// The best runnable task, if any. `name_attempt` is called only for a start, with what starts.
    pub fn pick(&mut self, now: Now, name_attempt: impl FnOnce(&Task) -> AttemptId) -> Pick {
        self.wake(now);
        match self.choose(now) {
            Choice::Start { task, rank, ahead, ask, passed, held } => {
                self.note_held(held, now);
                let began = self.began(task, &rank, ahead, now);
                let start = self.start(task, &rank, ask, &passed, name_attempt, now);
                self.running.get_mut(&start.attempt).expect("it has just begun").began = began;
                Pick::Start(Box::new(start))
            }
            Choice::Nothing { wake_at, waiting, held } => {
                self.note_held(held, now);
                Pick::Idle(Idle { wake_at, waiting })
            }
        }
    }

    /// What holds the first task of each class, since when.
    fn note_held(&mut self, held: Vec<(ClassKey, Gate)>, now: Now) {
        for (key, gate) in held {
            match self.held.get_mut(&key) {
                Some(waited) if waited.gate.is_like(&gate) => waited.gate = gate,
                _ => drop(self.held.insert(key, Waited { since: now.wall, gate })),
            }
        }
        if !self.held.is_empty() {
            let occupied: HashSet<ClassKey> = self.classes.occupied().map(|(_, key, _)| *key).collect();
            self.held.retain(|key, _| occupied.contains(key));
        }
    }

    fn began(&mut self, task: TaskSlot, rank: &Rank, ahead: usize, now: Now) -> Began {
        let ready = self.classes.occupied().map(|(_, _, class)| class.tasks()).sum();
        // It cannot have waited in line before it stood there.
        let in_line = self.book.ready_at(task).max(Some(rank.place.detected_at));
        let waited = self
            .held
            .remove(&self.class_key(task))
            .map(|waited| Waited { since: in_line.map_or(waited.since, |at| at.max(waited.since)), ..waited });
        let waited = waited.filter(|waited| waited.since < now.wall);
        Began { score: self.score_of(task, now), rank: ahead as u32 + 1, ready, waited }
    }

    /// What is to be told of an attempt that is about to be over, but for what is left of its gaps.
    pub fn story(&self, attempt: AttemptId) -> Option<Story> {
        let running = self.running.get(&attempt)?;
        let gaps = self.book.task(running.task).gaps.iter().map(|gap| {
            let gap = self.book.gap(*gap);
            let (was, attempts) = gap.progress.as_deref().map(|progress| (progress.standing, progress.attempts)).unwrap_or_default();
            GapStory {
                gap: gap.id,
                key: gap.key.to_string(),
                reason: gap.reason,
                detected_at: gap.detected_at(),
                was,
                attempts,
                left: None,
            }
        });
        let Began { score, rank, ready, waited } = running.began.clone();
        Some(Story { score, rank, ready, waited, gaps: gaps.collect() })
    }

    /// Fills in what became of its gaps, now that it is over. `of`: the task that it was an attempt at.
    pub fn tell_the_end(&self, story: &mut Story, of: TaskId) {
        for gap in &mut story.gaps {
            let Some(slot) = self.book.find_gap(gap.gap) else { continue };
            let entry = self.book.gap(slot);
            let progress = entry.progress.as_deref().cloned().unwrap_or_default();
            let task = entry.task().map(|task| self.book.task(task).id).filter(|task| *task != of);
            gap.left = Some(Left { standing: progress.standing, attempts: progress.attempts, next_try: progress.next_try, task });
        }
    }

    /// The tasks that will start next if nothing happens but that slots get free, the first one first, as far as they need
    /// no permits: who needs some waits for these.
    pub fn next_up(&self, at_most: usize, now: Now) -> Vec<Task> {
        if self.holds.all {
            return Vec::new();
        }
        let mut next: Vec<(Rank, TaskSlot)> = Vec::new();
        for (_, key, class) in self.classes.occupied() {
            let is_shut = key.source.is_some_and(|source| self.source_gate(source, now).is_some()) || self.cap_gate(key, now).is_some();
            if key.ask.is_some() || is_shut {
                continue;
            }
            let factors = self.factors(key);
            next.extend(class.first(at_most).map(|task| {
                let place = self.book.place(task);
                (Rank { score: self.weights.score(factors, place.detected_at, now.wall).total, place }, task)
            }));
        }
        next.sort_unstable_by(|one, other| other.0.cmp(&one.0));
        next.into_iter().take(at_most).map(|(_, task)| self.plain_task(task)).collect()
    }

    /// What keeps every task from starting, whatever it is. Attempts that only deliver hold no slot, up to as many of them
    /// as there are slots: a lake that is slower than the collectors must not gather what it has not taken yet.
    pub(super) fn slots_gate(&self) -> Option<Gate> {
        let (collecting, slots) = (self.slots_used(), self.rules.slots);
        let publishing = self.running.len() as u32 - collecting;
        if collecting >= slots {
            Some(Gate::Slots { slots })
        } else if collecting + publishing >= 2 * slots {
            Some(Gate::Publishing { attempts: publishing, slots })
        } else {
            None
        }
    }

    /// Attempts that collect now.
    pub fn slots_used(&self) -> u32 {
        self.taken.collecting()
    }

    /// Who holds them, by priority.
    pub(super) fn slots_taken(&self) -> SlotsTaken {
        debug_assert_eq!(self.taken, self.taken_as_counted(), "counted with every start and end");
        SlotsTaken { slots: self.rules.slots, reserve: self.rules.reserve, taken: self.taken }
    }

    fn taken_as_counted(&self) -> Taken {
        let mut counted = Taken::default();
        for attempt in self.running.values() {
            let priority = self.priority_of_task(attempt.task);
            counted.begins(priority);
            if attempt.stage == Stage::Delivering {
                counted.delivers(priority);
            }
        }
        counted
    }

    pub(super) fn choose(&self, now: Now) -> Choice {
        if let Some(gate) = self.slots_gate() {
            return Choice::Nothing { wake_at: None, waiting: self.all_ready(gate), held: Vec::new() };
        }
        let timer = self.timers.first().map(|(at, _)| now.boot_at(*at));
        if self.holds.all {
            let waiting = self.all_ready(Gate::Surprise { dataset: None });
            return Choice::Nothing { wake_at: None, waiting, held: Vec::new() };
        }
        let mut survey = Survey { wake_at: timer, ..self.survey(now) };
        let mut if_nothing_else = None;
        for (ahead, (class, rank, task)) in self.heads(now).into_iter().enumerate() {
            let start = match self.look_at(class, &rank, now, &mut survey) {
                Look::Waits => continue,
                Look::WouldWait if if_nothing_else.is_some() => continue,
                look => (look, (ahead, class, rank, task)),
            };
            match start {
                (Look::Starts, start) => return self.choice(start, survey),
                (_, start) => if_nothing_else = Some(start),
            }
        }
        if let Some(start) = if_nothing_else {
            return self.choice(start, survey);
        }
        Choice::Nothing { wake_at: survey.wake_at, waiting: survey.waiting, held: survey.held }
    }

    fn choice(&self, (ahead, class, rank, task): (usize, u32, Rank, TaskSlot), survey: Survey) -> Choice {
        let ask = self.classes.class(class).0.ask;
        Choice::Start { task, rank, ahead, ask, passed: survey.passed, held: survey.held }
    }

    /// The first task of every class, the best one first.
    fn heads(&self, now: Now) -> Vec<(u32, Rank, TaskSlot)> {
        let mut heads: Vec<_> = self
            .classes
            .occupied()
            .filter_map(|(at, key, class)| {
                let task = class.head()?;
                let place = self.book.place(task);
                Some((at, Rank { score: self.weights.score(self.factors(key), place.detected_at, now.wall).total, place }, task))
            })
            .collect();
        heads.sort_unstable_by(|one, other| other.1.cmp(&one.1));
        heads
    }

    /// May the first task of this class start? If not, the survey learns why, and what that means for the next ones.
    fn look_at(&self, at: u32, rank: &Rank, now: Now, survey: &mut Survey) -> Look {
        let (key, class) = self.classes.class(at);
        if let Some((gate, wake_at)) = self.shut(key, now) {
            survey.waits(key, gate, wake_at, class.tasks(), class.gaps());
            return Look::Waits;
        }
        let refusal = key.ask.and_then(|ask| self.grants.limiter().could_acquire(&ask, now.boot).err());
        if !survey.slots.has_one_for(key.priority) {
            let (gate, wake_at) = match refusal {
                Some(refusal) => (self.limit_gate(key.source, key.priority, &refusal), refusal.at()),
                None => (self.slots_set_aside(key.priority), None),
            };
            survey.waits(key, gate, wake_at, class.tasks(), class.gaps());
            return Look::Waits;
        }
        let crowd = self.crowd(key, rank, &survey.at_work, now);
        if let Some(crowd) = crowd.filter(|crowd| crowd.is_over) {
            survey.waits(key, self.would_wait(key, &crowd), crowd.until, class.tasks(), class.gaps());
            return Look::Waits;
        }
        let claimed = survey.claims.against(rank, key, self.is_within_its_share(key, now)).map(|claim| claim.task);
        if let (Some(source), false) = (key.source, matches!(refusal, Some(HoldOff::Never { .. })))
            && let Some(task) = class.out_of_patience(now.boot, &self.book)
        {
            let place = self.book.place(task);
            let rank = Rank { score: self.weights.score(self.factors(key), place.detected_at, now.wall).total, place };
            let everywhere = refusal.is_some_and(|refusal| is_of_all(&refusal));
            survey.claims.claims.push(Claim { rank, priority: key.priority, source, everywhere, keeps: Keeps::Everybody, task });
        }
        match (refusal, claimed) {
            (None, None) => match crowd {
                None => Look::Starts,
                Some(crowd) => {
                    survey.waits(key, self.would_wait(key, &crowd), None, class.tasks(), class.gaps());
                    Look::WouldWait
                }
            },
            (None, Some(task)) => {
                let source = key.source.map_or("", |source| self.source_name(source)).into();
                let gate = Gate::Reserved { source, task: self.book.task(task).id };
                survey.waits(key, gate, self.overtakes(key, &rank.place, task, now), class.tasks(), class.gaps());
                Look::Waits
            }
            (Some(refusal), _) => {
                survey.waits(key, self.limit_gate(key.source, key.priority, &refusal), refusal.at(), class.tasks(), class.gaps());
                survey.passed.push(Refused { class: at, key: *key, by_all: is_of_all(&refusal) });
                Look::Waits
            }
        }
    }

    /// One more attempt at its source would only wait for permits.
    pub(super) fn would_wait(&self, key: &ClassKey, crowd: &Crowd) -> Gate {
        let source = key.source.map_or("", |source| self.source_name(source)).into();
        Gate::WouldWait { source, at_work: crowd.at_work, slots: self.rules.slots }
    }

    /// When the first task of a class comes to rank above the one that keeps it from permits, which then does so no more.
    pub(super) fn overtakes(&self, key: &ClassKey, place: &Place, ahead: TaskSlot, now: Now) -> Option<Boottime> {
        let ahead_of_it = (self.factors(&self.class_key(ahead)), &self.book.place(ahead));
        let at = self.weights.overtakes((self.factors(key), place), ahead_of_it, now.wall)?;
        Some(now.boot_at(at))
    }

    /// Nothing of the class may start now, whatever the limits say, and when that may change by itself.
    pub(super) fn shut(&self, key: &ClassKey, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let by_source = key.source.and_then(|source| self.source_gate(source, now));
        by_source.or_else(|| self.collector_gate(key.collector, now)).or_else(|| {
            let (gate, until) = self.cap_gate(key, now)?;
            // A look that takes its time ends when it ends.
            Some((gate, Some(until).filter(|until| *until > now.boot)))
        })
    }

    /// A source that may not be asked at all now.
    pub(super) fn source_gate(&self, source: SourceIx, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let name = || self.source_name(source).to_owned();
        if let Some((until, trip)) = open(&self.sources[source.0 as usize].breaker, now) {
            let gate = Gate::Breaker {
                source: name(),
                until: until.map(|until| now.wall_at(until)),
                since: trip.since,
                reason: trip.reason.clone(),
            };
            return Some((gate, until));
        }
        let until = self.grants.limiter().paused_until(source, now.boot)?;
        Some((self.pause_gate(source, until, now), Some(until)))
    }

    pub(super) fn pause_gate(&self, source: SourceIx, until: Boottime, now: Now) -> Gate {
        let because = self.sources[source.0 as usize].paused_because.clone();
        Gate::RetryAfter { source: self.source_name(source).into(), until: now.wall_at(until), because }
    }

    /// A collector that may not be started now.
    pub(super) fn collector_gate(&self, collector: CollectorIx, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let (until, trip) = open(&self.collectors[usize::from(collector)].breaker, now)?;
        let gate = Gate::CollectorBreaker {
            collector: self.collector_name(collector).to_owned(),
            until: until.map(|until| now.wall_at(until)),
            since: trip.since,
            reason: trip.reason.clone(),
        };
        Some((gate, until))
    }

    pub(super) fn limit_gate(&self, source: Option<SourceIx>, priority: PriorityLevel, refusal: &HoldOff) -> Gate {
        let because = refusal.because();
        let limit = match because.window() {
            Some(window) => format!("{}: {}", window.key(), window.requests),
            None => because.word().to_owned(),
        };
        let source = source.filter(|_| !is_of_all(refusal)).map(|source| self.source_name(source).to_owned());
        match because {
            Because::SetAside { .. } => {
                Gate::SetAside { source, limit, for_priorities: self.set_aside_for_others(priority), until: refusal.at() }
            }
            _ => Gate::Limit { source, limit, until: refusal.at() },
        }
    }

    /// Slots are free, but not for this priority.
    pub(super) fn slots_set_aside(&self, priority: PriorityLevel) -> Gate {
        Gate::SlotsSetAside { slots: self.rules.slots, for_priorities: self.set_aside_for_others(priority) }
    }

    fn set_aside_for_others(&self, priority: PriorityLevel) -> Vec<PriorityLevel> {
        self.rules.reserve.shares().map(|(owner, _)| owner).filter(|owner| *owner != priority).collect()
    }

    fn is_within_its_share(&self, key: &ClassKey, now: Now) -> bool {
        key.ask.is_some_and(|ask| self.grants.limiter().is_within_its_share(&ask, now.boot))
    }

    /// What a look at the classes begins with.
    fn survey(&self, now: Now) -> Survey {
        Survey {
            wake_at: None,
            waiting: Vec::new(),
            slots: self.slots_taken(),
            claims: self.claims_of_waiters(now),
            at_work: self.at_work(now),
            passed: Vec::new(),
            held: Vec::new(),
        }
    }

    /// Requests of running attempts that wait for a permit.
    fn claims_of_waiters(&self, now: Now) -> Claims {
        let claims = self.waiters.iter().filter_map(|(source, attempt)| {
            let task = self.running.get(attempt)?.task;
            let ask = self.ask_of_waiter(*attempt, *source, now)?;
            let refusal = self.grants.limiter().could_acquire(&ask, now.boot).err();
            let everywhere = refusal.is_none_or(|refusal| is_of_all(&refusal));
            let keeps = if ask.kind == AskKind::Paced { Keeps::WhoIsSpaced } else { Keeps::WhoTakesPermits };
            Some(Claim { rank: self.rank_of(task, now), priority: ask.priority, source: *source, everywhere, keeps, task })
        });
        Claims { claims: claims.collect() }
    }

    /// Who keeps a task of this rank from its permits.
    pub(super) fn claimant(&self, key: &ClassKey, rank: &Rank, now: Now) -> Option<TaskSlot> {
        let mut survey = self.survey(now);
        for (class, head, _) in self.heads(now) {
            self.look_at(class, &head, now, &mut survey);
        }
        survey.claims.against(rank, key, self.is_within_its_share(key, now)).map(|claim| claim.task)
    }

    fn all_ready(&self, gate: Gate) -> Vec<Waiting> {
        let (tasks, gaps) =
            self.classes.occupied().fold((0, 0), |(tasks, gaps), (_, _, class)| (tasks + class.tasks(), gaps + class.gaps()));
        if tasks == 0 { Vec::new() } else { vec![Waiting { gate, tasks, gaps }] }
    }

    fn start(
        &mut self,
        task: TaskSlot,
        rank: &Rank,
        ask: Option<Ask>,
        passed: &[Refused],
        name_attempt: impl FnOnce(&Task) -> AttemptId,
        now: Now,
    ) -> Start {
        let plain = self.plain_task(task);
        let attempt = name_attempt(&plain);
        let key = self.class_key(task);
        let score = self.score_of(task, now);
        self.mark_passed(&key, rank, passed, now);
        let (permit, before) = match ask {
            Some(ask) => {
                let (permit, before) = self.grants.take(ask, now).expect("it was there a moment ago");
                (Some(permit), before.into_iter().collect())
            }
            None => (None, Vec::new()),
        };
        let charge = match (ask.map(|ask| ask.kind), permit) {
            (Some(AskKind::OneRequest), Some(permit)) => Charge::First(permit),
            (Some(AskKind::ChargedAhead { permits }), _) => Charge::Ahead(permits),
            _ => Charge::Nothing,
        };
        let drawing = match (key.source, charge) {
            (Some(source), Charge::First(_)) => {
                let declared = self.rules.collectors[usize::from(key.collector)].requests.of(plain.gaps.len());
                Some(Drawing::new((source, key.collector), declared, now.boot))
            }
            _ => None,
        };
        self.running.insert(attempt, Attempt { drawing, ..Attempt::new(task, charge, permit, now) });
        self.taken.begins(key.priority);
        if let Some(source) = key.source {
            self.sources[source.0 as usize].breaker.started(attempt, now.boot);
        }
        self.collectors[usize::from(key.collector)].breaker.started(attempt, now.boot);
        self.unqueue(task);
        self.book.has_room(task, false);
        let entry = self.book.task_mut(task);
        (entry.phase, entry.in_line_since_s) = (Phase::Running, 0);
        self.cycle.started(key.priority);
        let lease = self.lease(attempt, &plain, now);
        let gaps = self.book.task(task).gaps.iter().map(|gap| self.plain_gap(*gap)).collect();
        Start { attempt, task: plain, gaps, lease, charge, score, before }
    }

    /// What an attempt at a task asks of the store.
    pub fn lease(&self, attempt: AttemptId, task: &Task, now: Now) -> Lease {
        Lease {
            attempt,
            token: FencingToken(0),
            task: task.id,
            collector: task.collector.clone(),
            gaps: task.gaps.clone(),
            started_at: now.wall,
            until: lease::until(&self.moment(now)),
            staged: Vec::new(),
        }
    }

    /// As it is kept.
    pub fn moment(&self, now: Now) -> Moment {
        Moment::of(self.grants.boot_id(), now)
    }

    /// Everything better that a limit kept from starting, and that needs more permits, was passed by this start.
    fn mark_passed(&mut self, key: &ClassKey, rank: &Rank, passed: &[Refused], now: Now) {
        let within_its_share = self.is_within_its_share(key, now);
        for refused in passed {
            let (Some(source), Some(ask)) = (refused.key.source, refused.key.ask) else { continue };
            let takes = !within_its_share || refused.key.priority == key.priority;
            let competes = takes && (key.source == Some(source) || (refused.by_all && key.ask.is_some()));
            if !competes || permits(&refused.key) <= permits(key) {
                continue;
            }
            let Some(window) = self.grants.limiter().shortest_refusing_window(&ask, now.boot) else { continue };
            let (factors, weights) = (self.factors(&refused.key), &self.weights);
            let score = |detected_at| weights.score(factors, detected_at, now.wall).total;
            self.classes.pass(refused.class, now.boot + window, rank, score, &self.book);
        }
    }
}

/// Who holds the slots.
pub(super) struct SlotsTaken {
    slots: u32,
    reserve: Reserve,
    taken: Taken,
}

/// How many attempts are under way, by priority. Each pick asks, so it is counted as they come and go: an engine may have
/// thousands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Low first.
    collecting: [u32; PriorityLevel::ALL.len()],
    /// Those that only deliver, too.
    under_way: [u32; PriorityLevel::ALL.len()],
}

impl Taken {
    pub(super) fn begins(&mut self, priority: PriorityLevel) {
        self.under_way[priority as usize] += 1;
        self.collecting[priority as usize] += 1;
    }

    pub(super) fn delivers(&mut self, priority: PriorityLevel) {
        self.collecting[priority as usize] -= 1;
    }

    /// `stage`: what it was at until then.
    pub(super) fn ends(&mut self, priority: PriorityLevel, stage: Stage) {
        self.under_way[priority as usize] -= 1;
        self.collecting[priority as usize] -= u32::from(stage == Stage::Collecting);
    }

    fn collecting(&self) -> u32 {
        self.collecting.iter().sum()
    }
}

impl SlotsTaken {
    /// A slot to collect in, and room for what comes of it; what is set aside for other priorities apart.
    pub(super) fn has_one_for(&self, priority: PriorityLevel) -> bool {
        self.reserve.has_free_slot(priority, self.slots, |of| self.taken.collecting[of as usize])
            && self.reserve.has_free_slot(priority, 2 * self.slots, |of| self.taken.under_way[of as usize])
    }
}

/// What becomes of the first task of a class.
enum Look {
    Starts,
    /// It may start, and would only wait for permits: it does if nothing else can.
    WouldWait,
    Waits,
}

/// What a pick has learned so far, the best classes first.
struct Survey {
    wake_at: Option<Boottime>,
    waiting: Vec<Waiting>,
    slots: SlotsTaken,
    claims: Claims,
    at_work: Vec<AtWork>,
    passed: Vec<Refused>,
    held: Vec<(ClassKey, Gate)>,
}

impl Survey {
    fn waits(&mut self, key: &ClassKey, gate: Gate, wake_at: Option<Boottime>, tasks: u64, gaps: u64) {
        self.held.push((*key, gate.clone()));
        self.wake_at = self.wake_at.into_iter().chain(wake_at).min();
        match self.waiting.iter_mut().find(|waiting| waiting.gate == gate) {
            Some(waiting) => {
                waiting.tasks += tasks;
                waiting.gaps += gaps;
            }
            None => self.waiting.push(Waiting { gate, tasks, gaps }),
        }
    }
}

/// The next probe (`None`: it is under way), and why the breaker is open; `None`: something may start.
fn open(breaker: &Breaker, now: Now) -> Option<(Option<Boottime>, &Trip)> {
    let until = match breaker.gate(now.boot) {
        breaker::Gate::ShutUntil(until) => Some(until),
        breaker::Gate::Probing => None,
        breaker::Gate::Open | breaker::Gate::Probe => return None,
    };
    Some((until, breaker.trip_now()?))
}

fn is_of_all(refusal: &HoldOff) -> bool {
    refusal.because().reach() == Reach::AllSources
}

fn permits(key: &ClassKey) -> u32 {
    match key.ask.map(|ask| ask.kind) {
        None => 0,
        Some(AskKind::OneRequest | AskKind::Paced) => 1,
        Some(AskKind::ChargedAhead { permits }) => permits,
    }
}
