//! The best runnable task.
//!
//! Runnable is a task that is ready, whose source is neither paused nor shut by its breaker, whose collector is not shut by
//! its own, whose permits to start are there, and which nobody ahead of it keeps from them. Two things keep others from permits:
//!
//! - A better-scored task that was passed for a full window: the shortest that refused it then, and of several passes
//!   the one that ends first. Passed is a task that is ready, and refused by a window, when a lower-scored one that needs fewer permits starts.
//!   From the end of that window no lower-scored task of its source starts until it has started itself; and none of
//!   any source that needs permits, while it is the limit of all sources together that refuses it. While it is the limits that
//!   its value has for itself (`by: customer`), this concerns tasks of the same value only: no others take its permits.
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
//! The pick looks at the first task of each family of classes that has any, and at what runs, so its cost grows with the number
//! of families and as the logarithm of the number of tasks; how many values they are told apart by costs nothing. It
//! equals a re-scoring of all tasks (`pick_equals_brute_force`).

use std::collections::{BinaryHeap, HashMap};

use super::Dispatcher;
use super::claims::{Claims, Takers};
use super::classes::{ClassIx, ClassKey, Ready, TaskSlot};
use super::score::{Place, Rank};
use super::slots::SlotsTaken;
use super::start::{Idle, Waiting};
use super::useful::{AtWork, Drawing};
use super::{Charge, Gate, Pick, Start};
use crate::gap::Task;
use crate::ids::{AttemptId, FencingToken};
use crate::lease;
use crate::limits::{Ask, AskKind};
use crate::queue::book::{InLine, Phase};
use crate::queue::dispatcher::Attempt;
use crate::record::Lease;
use crate::time::{Boottime, Moment, Now};

/// What a look at the classes found.
pub(super) enum Choice {
    Start { task: TaskSlot, rank: Rank, ahead: usize, ask: Option<Ask>, found: Found },
    Nothing { wake_at: Option<Boottime>, waiting: Vec<Waiting>, held: Held },
}

/// What keeps tasks from starting.
pub(super) enum Held {
    /// Each by what it met.
    Each(Found),
    /// Everything by the same, and nobody looked at the classes.
    All(Gate),
}

/// What the look found on its way.
#[derive(Default)]
pub(super) struct Found {
    /// Families that wait as a whole.
    whole: Vec<(usize, Gate)>,
    /// Classes that wait and whose families do not; and until when they sleep, if it is their values that refuse.
    alone: Vec<(ClassIx, Gate, Option<Option<Boottime>>)>,
}

impl Found {
    fn is_whole(&self, family: usize) -> bool {
        self.whole.iter().any(|(of, _)| *of == family)
    }
}

impl Dispatcher {
    /// The best runnable task, if any. `name_attempt` is called only for a start, with what starts.
    pub fn pick(&mut self, now: Now, name_attempt: impl FnOnce(&Task) -> AttemptId) -> Pick {
        self.classes.settle();
        self.wake(now);
        self.classes.wake(now.boot, &self.book);
        match self.choose(now) {
            Choice::Start { task, rank, ahead, ask, found } => {
                let began = self.began(task, ahead, now);
                self.note_start(task, found, now);
                let start = self.start(task, &rank, ask, name_attempt, now);
                self.running.get_mut(&start.attempt).expect("it has just begun").began = began;
                Pick::Start(Box::new(start))
            }
            Choice::Nothing { wake_at, waiting, held } => {
                self.note_held(held, now);
                Pick::Idle(Idle { wake_at, waiting })
            }
        }
    }

    /// What a start passes by, whom it does not concern, and who is not to be looked at again for a while.
    fn note_start(&mut self, task: TaskSlot, found: Found, now: Now) {
        // Its own family waited as a whole, if it starts only because nothing else could.
        let its_own = self.classes.find(&self.class_key(task)).map(|class| self.classes.family_of(class).0);
        let whole: Vec<usize> = found.whole.iter().map(|(family, _)| *family).filter(|family| Some(*family) != its_own).collect();
        let alone: Vec<ClassIx> = found.alone.iter().map(|(class, ..)| *class).collect();
        self.classes.waits.starts(&whole, &alone);
        self.fall_asleep(found.alone, now);
    }

    /// What holds each family and class until the next look that finds nothing to start.
    fn note_held(&mut self, held: Held, now: Now) {
        let found = match held {
            Held::Each(found) => found,
            Held::All(gate) => {
                let is_first = matches!(gate, Gate::Surprise { .. } | Gate::Paused { .. });
                let shut = |key| self.shut(key, now).filter(|_| !is_first).map_or_else(|| gate.clone(), |(gate, _)| gate);
                Found { whole: self.classes.families().map(|(at, key, _)| (at, shut(key))).collect(), alone: Vec::new() }
            }
        };
        let mut whole: HashMap<usize, Gate> = found.whole.into_iter().collect();
        let slots = self.slots_taken();
        let families = self.classes.families();
        let held: Vec<(usize, Option<Gate>)> = families
            .map(|(at, key, family)| {
                let nobody_looked = || family.next_awake(None).is_none();
                (at, whole.remove(&at).or_else(|| nobody_looked().then(|| self.holds_all_of(key, &slots, now)).flatten()))
            })
            .collect();
        for (family, gate) in held {
            self.classes.waits.family_sees(family, gate, now.boot);
        }
        for (class, gate, sleeps) in &found.alone {
            if sleeps.is_none() {
                self.classes.waits.sees(*class, gate.clone(), now.boot);
            }
        }
        self.fall_asleep(found.alone, now);
    }

    /// What comes before the limits of values that sleep.
    fn holds_all_of(&self, key: &ClassKey, slots: &SlotsTaken, now: Now) -> Option<Gate> {
        if let Some((gate, _)) = self.shut(key, now) {
            return Some(gate);
        }
        if !slots.has_one_for(key.priority) {
            return Some(self.slots_set_aside(key.priority));
        }
        let refusal = key.ask.and_then(|ask| self.grants.limiter().refusal_of_any_value(&ask, now.boot))?;
        Some(self.limit_gate(key, &refusal))
    }

    fn fall_asleep(&mut self, alone: Vec<(ClassIx, Gate, Option<Option<Boottime>>)>, now: Now) {
        for (class, gate, sleeps_until) in alone {
            if let Some(until) = sleeps_until {
                self.classes.waits.sees(class, gate.clone(), now.boot);
                self.classes.sleeps(class, until, gate, &self.book);
            }
        }
    }

    /// The tasks that will start next if nothing happens but that slots get free, the first one first, as far as they need
    /// no permits: who needs some waits for these.
    pub fn next_up(&self, at_most: usize, now: Now) -> Vec<Task> {
        if self.all_held().is_some() {
            return Vec::new();
        }
        let mut next: Vec<(Rank, TaskSlot)> = Vec::new();
        for (_, key, family) in self.classes.families() {
            let is_paused = self.source_pause(key.source).is_some();
            let is_shut =
                is_paused || key.source.is_some_and(|source| self.source_gate(source, now).is_some()) || self.cap_gate(key, now).is_some();
            if key.ask.is_some() || is_shut {
                continue;
            }
            let factors = self.factors(key);
            let awake = family.awake().filter(|class| self.value_gate_of(self.classes.class(*class).0, now).is_none());
            let first = awake.take(at_most).flat_map(|class| self.classes.class(class).1.first(at_most));
            next.extend(first.map(|task| {
                let place = self.book.place(task);
                (Rank { score: self.weights.score(factors, place.detected_at, now.wall).total, place }, task)
            }));
        }
        next.sort_unstable_by(|one, other| other.0.cmp(&one.0));
        next.into_iter().take(at_most).map(|(_, task)| self.plain_task(task)).collect()
    }

    pub(super) fn choose(&self, now: Now) -> Choice {
        if let Some(gate) = self.slots_gate() {
            return Choice::Nothing { wake_at: None, waiting: self.all_ready(gate.clone()), held: Held::All(gate) };
        }
        let timer = self.timers.first().map(|(at, _)| now.boot_at(*at));
        if let Some(gate) = self.all_held() {
            return Choice::Nothing { wake_at: None, waiting: self.all_ready(gate.clone()), held: Held::All(gate) };
        }
        let mut survey = self.survey(now);
        survey.wakes_at(timer);
        let mut if_nothing_else = None;
        let mut heads = self.heads(now);
        for ahead in 0.. {
            let Some((rank, class, task)) = heads.pop() else { break };
            let start = (ahead, rank, class, task);
            match self.look_at(class, &start.1, now, &mut survey) {
                Look::Starts => return self.choice(start, survey),
                Look::WouldWait if if_nothing_else.is_none() => if_nothing_else = Some(start),
                Look::WouldWait | Look::FamilyWaits => {}
                Look::ValueWaits => {
                    let family = self.classes.family_of(class).1;
                    let next = family.next_awake(Some((start.1.place, class)));
                    heads.extend(next.and_then(|class| self.head_of(class, now)));
                }
            }
        }
        if let Some(start) = if_nothing_else {
            return self.choice(start, survey);
        }
        self.add_those_who_wait_alone(&mut survey);
        survey.wakes_at(self.classes.wakes_at());
        Choice::Nothing { wake_at: survey.wake_at, waiting: survey.waiting, held: Held::Each(survey.found) }
    }

    fn choice(&self, (ahead, rank, class, task): (usize, Rank, ClassIx, TaskSlot), survey: Survey) -> Choice {
        let ask = self.classes.class(class).0.ask;
        Choice::Start { task, rank, ahead, ask, found: survey.found }
    }

    /// The first task of every family that does not sleep, the best one first.
    fn heads(&self, now: Now) -> BinaryHeap<(Rank, ClassIx, TaskSlot)> {
        let first = self.classes.families().filter_map(|(_, _, family)| family.next_awake(None));
        first.filter_map(|class| self.head_of(class, now)).collect()
    }

    fn head_of(&self, class: ClassIx, now: Now) -> Option<(Rank, ClassIx, TaskSlot)> {
        let (key, of) = self.classes.class(class);
        let task = of.head()?;
        Some((self.rank_in(key, task, now), class, task))
    }

    pub(super) fn rank_in(&self, key: &ClassKey, task: TaskSlot, now: Now) -> Rank {
        let place = self.book.place(task);
        Rank { score: self.weights.score(self.factors(key), place.detected_at, now.wall).total, place }
    }

    /// May the first task of this class start? If not, the survey learns why, and whether others of its family may.
    fn look_at(&self, at: ClassIx, rank: &Rank, now: Now, survey: &mut Survey) -> Look {
        let (key, _) = self.classes.class(at);
        let (family, all) = (self.classes.family_of(at).0, self.classes.family_of(at).1.all());
        if let Some((gate, wake_at)) = self.shut_for_any_value(key, now) {
            survey.family_waits(family, gate, wake_at, all);
            return Look::FamilyWaits;
        }
        let refusal = key.ask.and_then(|ask| self.grants.limiter().could_acquire(&ask, now.boot).err());
        if !survey.slots.has_one_for(key.priority) {
            let (gate, wake_at) = match refusal {
                Some(refusal) => (self.limit_gate(key, &refusal), refusal.at()),
                None => (self.slots_set_aside(key.priority), None),
            };
            survey.family_waits(family, gate, wake_at, all);
            return Look::FamilyWaits;
        }
        let crowd = self.crowd(key, rank, &survey.at_work, now);
        if let Some(crowd) = crowd.filter(|crowd| crowd.is_over) {
            survey.family_waits(family, self.would_wait(key, &crowd), crowd.until, all);
            return Look::FamilyWaits;
        }
        let of_any_value = refusal.and_then(|_| self.grants.limiter().refusal_of_any_value(&key.ask?, now.boot));
        if let Some(refusal) = of_any_value {
            survey.family_waits(family, self.limit_gate(key, &refusal), refusal.at(), all);
            return Look::FamilyWaits;
        }
        let of_its_own = refusal.map(|refusal| (self.limit_gate(key, &refusal), refusal.at()));
        if let Some((gate, wake_at)) = self.value_gate_of(key, now).or(of_its_own) {
            survey.wakes_at(wake_at);
            survey.found.alone.push((at, gate, Some(wake_at)));
            return Look::ValueWaits;
        }
        if let Some(claim) = survey.claims.against(rank, key, self.within_share(key, now)) {
            let (task, alone) = (claim.task, matches!(claim.takers, Takers::OfValue(_)));
            let source = key.source.map_or("", |source| self.source_name(source)).into();
            let gate = Gate::Reserved { source, task: self.book.task(task).id };
            let keeps_to_its_share = self.keeps_to_its_share_from(key, claim, now);
            let wake_at = self.overtakes(key, &rank.place, task, now).into_iter().chain(keeps_to_its_share).min();
            return match alone {
                false => {
                    survey.family_waits(family, gate, wake_at, all);
                    Look::FamilyWaits
                }
                true => {
                    survey.wakes_at(wake_at);
                    survey.found.alone.push((at, gate, None));
                    Look::ValueWaits
                }
            };
        }
        match crowd {
            None => Look::Starts,
            Some(crowd) => {
                survey.family_waits(family, self.would_wait(key, &crowd), None, all);
                Look::WouldWait
            }
        }
    }

    /// What the values of families keep waiting that do not wait as a whole. Of those that slept already, one line a family,
    /// under the name of the first that wakes.
    fn add_those_who_wait_alone(&self, survey: &mut Survey) {
        for at in 0..survey.found.alone.len() {
            let (class, gate, _) = survey.found.alone[at].clone();
            if !survey.found.is_whole(self.classes.family_of(class).0) {
                let of = self.classes.class(class).1;
                survey.waits(gate, None, Ready { tasks: of.tasks(), gaps: of.gaps() });
            }
        }
        for (at, _, family) in self.classes.families() {
            if let Some(gate) = self.classes.first_asleep(family).filter(|_| !survey.found.is_whole(at)) {
                survey.waits(gate.clone(), None, family.sleeping());
            }
        }
    }

    /// When the first task of a class comes to rank above the one that keeps it from permits, which then does so no more.
    pub(super) fn overtakes(&self, key: &ClassKey, place: &Place, ahead: TaskSlot, now: Now) -> Option<Boottime> {
        let ahead_of_it = (self.factors(&self.class_key(ahead)), &self.book.place(ahead));
        let at = self.weights.overtakes((self.factors(key), place), ahead_of_it, now.wall)?;
        Some(now.boot_at(at))
    }

    /// What a look at the classes begins with.
    pub(super) fn survey(&self, now: Now) -> Survey {
        let mut survey = Survey {
            wake_at: None,
            waiting: Vec::new(),
            slots: self.slots_taken(),
            claims: self.claims_of_waiters(now),
            at_work: self.at_work(now),
            found: Found::default(),
        };
        self.claim_for_the_impatient(&mut survey, now);
        survey
    }

    fn all_ready(&self, gate: Gate) -> Vec<Waiting> {
        let all = self.classes.families().map(|(_, _, family)| family.all());
        let (tasks, gaps) = all.fold((0, 0), |(tasks, gaps), all| (tasks + all.tasks, gaps + all.gaps));
        if tasks == 0 { Vec::new() } else { vec![Waiting { gate, tasks, gaps }] }
    }

    fn start(&mut self, task: TaskSlot, rank: &Rank, ask: Option<Ask>, name_attempt: impl FnOnce(&Task) -> AttemptId, now: Now) -> Start {
        let plain = self.plain_task(task);
        let attempt = name_attempt(&plain);
        let key = self.class_key(task);
        let score = self.score_of(task, now);
        self.mark_passed(&key, rank, now);
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
        if drawing.is_some() {
            self.drawing.insert(attempt);
        }
        self.running.insert(attempt, Attempt { drawing, ..Attempt::new(task, charge, permit, now) });
        self.taken.begins(key.priority);
        if let Some(source) = key.source {
            self.sources[source.0 as usize].breaker.started(attempt, now.boot);
            self.asks_for_value(attempt, source, key.value, now.boot);
        }
        self.collectors[usize::from(key.collector)].breaker.started(attempt, now.boot);
        self.unqueue(task);
        self.classes.settle();
        self.book.has_room(task, false);
        let entry = self.book.task_mut(task);
        (entry.phase, entry.in_line) = (Phase::Running, InLine::default());
        self.classes.waits.leaves_line(task);
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
}

/// What becomes of the first task of a class.
enum Look {
    Starts,
    /// It may start, and would only wait for permits, as any other of its family would: it does if nothing else can.
    WouldWait,
    FamilyWaits,
    /// Others of its family may start.
    ValueWaits,
}

/// What a pick has learned so far, the best classes first.
pub(super) struct Survey {
    wake_at: Option<Boottime>,
    waiting: Vec<Waiting>,
    pub(super) slots: SlotsTaken,
    pub(super) claims: Claims,
    pub(super) at_work: Vec<AtWork>,
    found: Found,
}

impl Survey {
    fn family_waits(&mut self, family: usize, gate: Gate, wake_at: Option<Boottime>, all: Ready) {
        self.found.whole.push((family, gate.clone()));
        self.waits(gate, wake_at, all);
    }

    fn waits(&mut self, gate: Gate, wake_at: Option<Boottime>, ready: Ready) {
        self.wakes_at(wake_at);
        match self.waiting.iter_mut().find(|waiting| waiting.gate == gate) {
            Some(waiting) => (waiting.tasks, waiting.gaps) = (waiting.tasks + ready.tasks, waiting.gaps + ready.gaps),
            None => self.waiting.push(Waiting { gate, tasks: ready.tasks, gaps: ready.gaps }),
        }
    }

    fn wakes_at(&mut self, at: Option<Boottime>) {
        self.wake_at = self.wake_at.into_iter().chain(at).min();
    }
}

pub(super) fn permits(key: &ClassKey) -> u32 {
    match key.ask.map(|ask| ask.kind) {
        None => 0,
        Some(AskKind::OneRequest | AskKind::Paced) => 1,
        Some(AskKind::ChargedAhead { permits }) => permits,
    }
}
