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
use super::classes::{ClassIx, ClassKey, CollectorIx, Family, Ready, TaskSlot};
use super::score::{Place, Rank};
use super::start::{Idle, Waiting};
use super::useful::{AtWork, Crowd, Drawing};
use super::{Charge, Gate, Pick, Start, waits};
use crate::gap::{Standing, Task};
use crate::ids::{AttemptId, FencingToken, TaskId, ValueId};
use crate::lease;
use crate::limits::breaker::{self, Breaker, Trip};
use crate::limits::{Ask, AskKind, Because, HoldOff, Reach, SourceIx};
use crate::queue::book::{InLine, Phase};
use crate::queue::dispatcher::{Attempt, Began, Stage};
use crate::record::{GapStory, Lease, Left, Story, Waited};
use crate::spec::{PriorityLevel, Reserve};
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

/// Who keeps lower-scored tasks from permits.
#[derive(Default)]
struct Claims {
    claims: Vec<Claim>,
}

struct Claim {
    rank: Rank,
    priority: PriorityLevel,
    source: SourceIx,
    takers: Takers,
    keeps: Keeps,
    /// Whose it is, for a person.
    task: TaskSlot,
}

/// Whose tasks would take what a claim waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takers {
    /// Its source's, of the same value.
    OfValue(Option<ValueId>),
    OfSource,
    /// Other sources', too.
    Anybody,
}

impl Takers {
    /// Who could take what `refusal` refuses to one of this value.
    fn of(refusal: &HoldOff, value: Option<ValueId>) -> Self {
        match refusal.because().reach() {
            Reach::Value => Takers::OfValue(value),
            Reach::Source => Takers::OfSource,
            Reach::AllSources => Takers::Anybody,
        }
    }

    /// A start of this class is one of them; it takes nothing from another priority while it keeps to its own share.
    fn include(self, key: &ClassKey, share: WithinShare, (source, priority): (SourceIx, PriorityLevel)) -> bool {
        let here = key.source == Some(source);
        let (concerned, within) = match self {
            Takers::OfValue(value) => (here && key.value == value, share.of_value),
            Takers::OfSource => (here, share.of_all_values),
            Takers::Anybody => (here || key.ask.is_some(), share.of_all_values),
        };
        concerned && (!within || priority == key.priority)
    }
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
    /// One that keeps the whole family back, if there is any.
    fn against(&self, rank: &Rank, key: &ClassKey, share: WithinShare) -> Option<&Claim> {
        key.source?;
        let holds = |claim: &&Claim| {
            claim.takers.include(key, share, (claim.source, claim.priority)) && claim.keeps.back(key.ask) && claim.rank > *rank
        };
        let of_family = self.claims.iter().find(|claim| !matches!(claim.takers, Takers::OfValue(_)) && holds(claim));
        of_family.or_else(|| self.claims.iter().find(holds))
    }
}

/// Whether a start takes nothing from other priorities: of the windows that its value has for itself, and of all others.
#[derive(Clone, Copy)]
struct WithinShare {
    of_value: bool,
    of_all_values: bool,
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
                let is_first = matches!(gate, Gate::Surprise { .. });
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

    fn began(&self, task: TaskSlot, ahead: usize, now: Now) -> Began {
        let ready = self.classes.families().map(|(_, _, family)| family.all().tasks).sum();
        Began { score: self.score_of(task, now), rank: ahead as u32 + 1, ready, waiting: self.waiting_of(task, now) }
    }

    /// What a task has waited for since it was tried last, up to now or to its start.
    fn waiting_of(&self, task: TaskSlot, now: Now) -> waits::Waiting {
        let entry = self.book.task(task);
        let mut waiting = match (entry.phase, entry.in_line.get()) {
            (Phase::Running, _) => {
                let running = self.running.values().find(|running| running.task == task);
                return running.map(|running| running.began.waiting.clone()).unwrap_or_default();
            }
            (Phase::Ready(class), Some(in_line)) => self.classes.waits.of(task, class, in_line, now),
            _ => waits::Waiting::default(),
        };
        waiting.waits.splice(0..0, self.pause_of(task, now));
        waiting.waits = waits::longest(waiting.waits);
        waiting
    }

    /// A pause of its own, which came before it stood in line.
    fn pause_of(&self, task: TaskSlot, now: Now) -> Option<Waited> {
        let gap = self.book.last_to_be_ready(task)?;
        let until = gap.next_try()?;
        let progress = gap.progress.as_deref()?;
        // A contested gap opens with its pause.
        let since = progress.paused_at.or_else(|| (progress.standing == Standing::Contested).then(|| gap.detected_at()))?;
        let micros = u64::try_from(until.min(now.wall).duration_since(since).as_micros()).ok().filter(|micros| *micros > 0)?;
        Some(Waited { since, micros, times: 1, gate: self.why_delayed(task, until) })
    }

    /// What a task waits for, has waited for since it was tried last, or waited for until it started; and how many started
    /// meanwhile that scored higher. `None`: it is not known.
    pub fn waited(&self, task: TaskId, now: Now) -> Option<(Vec<Waited>, u64)> {
        let waits::Waiting { waits, better } = self.waiting_of(self.book.find_task(task)?, now);
        Some((waits, better))
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
        let Began { score, rank, ready, waiting: waits::Waiting { waits, better } } = running.began.clone();
        Some(Story { score, rank, ready, waits, better, gaps: gaps.collect() })
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
        for (_, key, family) in self.classes.families() {
            let is_shut = key.source.is_some_and(|source| self.source_gate(source, now).is_some()) || self.cap_gate(key, now).is_some();
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
            return Choice::Nothing { wake_at: None, waiting: self.all_ready(gate.clone()), held: Held::All(gate) };
        }
        let timer = self.timers.first().map(|(at, _)| now.boot_at(*at));
        if self.holds.all {
            let gate = Gate::Surprise { dataset: None };
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

    fn rank_in(&self, key: &ClassKey, task: TaskSlot, now: Now) -> Rank {
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

    /// One more attempt at its source would only wait for permits.
    pub(super) fn would_wait(&self, key: &ClassKey, crowd: &Crowd) -> Gate {
        let source = key.source.map_or("", |source| self.source_name(source)).into();
        Gate::WouldWait { source, at_work: crowd.at_work, slots: self.rules.slots }
    }

    /// When a start of the class takes nothing from whom this claim is, because enough of what its priority used is over.
    fn keeps_to_its_share_from(&self, key: &ClassKey, claim: &Claim, now: Now) -> Option<Boottime> {
        let ask = key.ask.filter(|_| claim.priority != key.priority)?;
        let reach = if matches!(claim.takers, Takers::OfValue(_)) { Reach::Value } else { Reach::Source };
        self.grants.limiter().within_its_share_from(&ask, reach, now.boot)
    }

    /// When the first task of a class comes to rank above the one that keeps it from permits, which then does so no more.
    pub(super) fn overtakes(&self, key: &ClassKey, place: &Place, ahead: TaskSlot, now: Now) -> Option<Boottime> {
        let ahead_of_it = (self.factors(&self.class_key(ahead)), &self.book.place(ahead));
        let at = self.weights.overtakes((self.factors(key), place), ahead_of_it, now.wall)?;
        Some(now.boot_at(at))
    }

    /// Nothing of the class may start now, whatever the limits say, and when that may change by itself.
    pub(super) fn shut(&self, key: &ClassKey, now: Now) -> Option<(Gate, Option<Boottime>)> {
        self.shut_for_any_value(key, now).or_else(|| self.value_gate_of(key, now))
    }

    /// Nor anything of its family.
    fn shut_for_any_value(&self, key: &ClassKey, now: Now) -> Option<(Gate, Option<Boottime>)> {
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
                value: None,
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
        Gate::RetryAfter { source: self.source_name(source).into(), value: None, until: now.wall_at(until), because }
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

    /// `key`: of whom it is refused to.
    pub(super) fn limit_gate(&self, key: &ClassKey, refusal: &HoldOff) -> Gate {
        let (because, limit) = (refusal.because(), limit_words(refusal));
        let source = key.source.filter(|_| because.reach() != Reach::AllSources).map(|source| self.source_name(source).to_owned());
        let value = (because.reach() == Reach::Value).then(|| key.source.and_then(|source| self.named(source, key.value))).flatten();
        match because {
            Because::SetAside { .. } => {
                Gate::SetAside { source, value, limit, for_priorities: self.set_aside_for_others(key.priority), until: refusal.at() }
            }
            _ => Gate::Limit { source, value, limit, until: refusal.at() },
        }
    }

    /// Likewise, to a request of an attempt.
    pub(super) fn limit_gate_of(&self, attempt: AttemptId, source: SourceIx, refusal: &HoldOff) -> Gate {
        let (value, priority) = (self.value_of(attempt, source), self.priority_of(attempt));
        self.limit_gate(&ClassKey { source: Some(source), value, collector: 0, priority, band: 0, ask: None }, refusal)
    }

    /// `customer=acme`, for a person. Of whose nobody knows: `customer=?`.
    pub(super) fn named(&self, source: SourceIx, value: Option<ValueId>) -> Option<String> {
        let by = self.rules.sources[source.0 as usize].by.as_ref()?;
        let value = value.and_then(|value| self.grants.name_of(value));
        Some(format!("{}={}", by.name, value.as_deref().unwrap_or("?")))
    }

    /// Slots are free, but not for this priority.
    pub(super) fn slots_set_aside(&self, priority: PriorityLevel) -> Gate {
        Gate::SlotsSetAside { slots: self.rules.slots, for_priorities: self.set_aside_for_others(priority) }
    }

    fn set_aside_for_others(&self, priority: PriorityLevel) -> Vec<PriorityLevel> {
        self.rules.reserve.shares().map(|(owner, _)| owner).filter(|owner| *owner != priority).collect()
    }

    fn within_share(&self, key: &ClassKey, now: Now) -> WithinShare {
        let limiter = self.grants.limiter();
        WithinShare {
            of_value: key.ask.is_some_and(|ask| limiter.is_within_its_share_of_its_value(&ask, now.boot)),
            of_all_values: key.ask.is_some_and(|ask| limiter.is_within_its_share(&ask, now.boot)),
        }
    }

    /// What a look at the classes begins with.
    fn survey(&self, now: Now) -> Survey {
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

    /// Tasks that were passed for a full window claim what they wait for.
    fn claim_for_the_impatient(&self, survey: &mut Survey, now: Now) {
        for class in self.classes.families().flat_map(|(_, _, family)| family.passed()) {
            let (key, of) = self.classes.class(class);
            let (Some(source), Some(task)) = (key.source, of.out_of_patience(now.boot, &self.book)) else { continue };
            if !self.is_refused_by_limits_alone(class, &survey.slots, &survey.at_work, now) {
                continue;
            }
            let refusal = key.ask.and_then(|ask| self.grants.limiter().could_acquire(&ask, now.boot).err());
            if matches!(refusal, Some(HoldOff::Never { .. })) {
                continue;
            }
            let takers = refusal.map_or(Takers::OfSource, |refusal| Takers::of(&refusal, key.value));
            let rank = self.rank_in(key, task, now);
            survey.claims.claims.push(Claim { rank, priority: key.priority, source, takers, keeps: Keeps::Everybody, task });
        }
    }

    /// Whatever keeps the first task of a class from starting is a limit, or somebody who ranks above it.
    fn is_refused_by_limits_alone(&self, class: ClassIx, slots: &SlotsTaken, at_work: &[AtWork], now: Now) -> bool {
        let (key, of) = self.classes.class(class);
        let is_crowded_out = || {
            let crowd = of.head().and_then(|head| self.crowd(key, &self.rank_in(key, head, now), at_work, now));
            crowd.is_some_and(|crowd| crowd.is_over)
        };
        self.shut(key, now).is_none() && slots.has_one_for(key.priority) && !is_crowded_out()
    }

    /// Requests of running attempts that wait for a permit.
    fn claims_of_waiters(&self, now: Now) -> Claims {
        let claims = self.waiters.iter().filter_map(|(source, attempt)| {
            let task = self.running.get(attempt)?.task;
            let ask = self.ask_of_waiter(*attempt, *source, now)?;
            let refusal = self.grants.limiter().could_acquire(&ask, now.boot).err();
            let takers = refusal.map_or(Takers::Anybody, |refusal| Takers::of(&refusal, ask.value));
            let keeps = if ask.kind == AskKind::Paced { Keeps::WhoIsSpaced } else { Keeps::WhoTakesPermits };
            Some(Claim { rank: self.rank_of(task, now), priority: ask.priority, source: *source, takers, keeps, task })
        });
        Claims { claims: claims.collect() }
    }

    /// Who keeps a task of this rank from its permits.
    pub(super) fn claimant(&self, key: &ClassKey, rank: &Rank, now: Now) -> Option<TaskSlot> {
        self.survey(now).claims.against(rank, key, self.within_share(key, now)).map(|claim| claim.task)
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

    /// Everything better that a limit kept from starting, and that needs more permits, was passed by this start.
    fn mark_passed(&mut self, key: &ClassKey, rank: &Rank, now: Now) {
        let needs_more = |of: &ClassKey| of.ask.is_some() && permits(of) > permits(key) && (of.source == key.source || key.ask.is_some());
        let families = self.classes.families().filter(|(_, of, _)| needs_more(of));
        let mut passed = Vec::new();
        for (_, of, family) in families {
            passed.extend(self.refused_of(of, family, key, now));
        }
        if passed.is_empty() {
            return;
        }
        let (slots, at_work, share) = (self.slots_taken(), self.at_work(now), self.within_share(key, now));
        for class in passed {
            let (of, _) = self.classes.class(class);
            let (of, Some(source), Some(ask)) = (*of, of.source, of.ask) else { continue };
            let Err(refusal) = self.grants.limiter().could_acquire(&ask, now.boot) else { continue };
            let takes = Takers::of(&refusal, of.value).include(key, share, (source, of.priority));
            if !takes || !self.is_refused_by_limits_alone(class, &slots, &at_work, now) {
                continue;
            }
            let Some(window) = self.grants.limiter().shortest_refusing_window(&ask, now.boot) else { continue };
            let (factors, weights) = (self.factors(&of), &self.weights);
            let score = |detected_at| weights.score(factors, detected_at, now.wall).total;
            self.classes.pass(class, now.boot + window, rank, score, &self.book);
        }
    }

    /// Classes of a family that something else than the limits of other values may refuse.
    fn refused_of(&self, of: &ClassKey, family: &Family, starts: &ClassKey, now: Now) -> Vec<ClassIx> {
        let of_all_values = of.ask.is_some_and(|ask| self.grants.limiter().refusal_of_any_value(&ask, now.boot).is_some());
        match of_all_values {
            true => family.classes().collect(),
            false if of.source == starts.source => self.classes.find(&of.of_value(starts.value)).into_iter().collect(),
            false => Vec::new(),
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
    /// It may start, and would only wait for permits, as any other of its family would: it does if nothing else can.
    WouldWait,
    FamilyWaits,
    /// Others of its family may start.
    ValueWaits,
}

/// What a pick has learned so far, the best classes first.
struct Survey {
    wake_at: Option<Boottime>,
    waiting: Vec<Waiting>,
    slots: SlotsTaken,
    claims: Claims,
    at_work: Vec<AtWork>,
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

/// What refuses, as the config says it: `per_minute: 60`.
pub(super) fn limit_words(refusal: &HoldOff) -> String {
    let because = refusal.because();
    match because.window() {
        Some(window) => format!("{}: {}", window.key(), window.requests),
        None => because.word().to_owned(),
    }
}

/// The next probe (`None`: it is under way), and why the breaker is open; `None`: something may start.
pub(super) fn open(breaker: &Breaker, now: Now) -> Option<(Option<Boottime>, &Trip)> {
    let until = match breaker.gate(now.boot) {
        breaker::Gate::ShutUntil(until) => Some(until),
        breaker::Gate::Probing => None,
        breaker::Gate::Open | breaker::Gate::Probe => return None,
    };
    Some((until, breaker.trip_now()?))
}

pub(super) fn permits(key: &ClassKey) -> u32 {
    match key.ask.map(|ask| ask.kind) {
        None => 0,
        Some(AskKind::OneRequest | AskKind::Paced) => 1,
        Some(AskKind::ChargedAhead { permits }) => permits,
    }
}
