//! How many attempts at a source can do useful work at once, so that slots go where they do work.
//!
//! Without it a source whose window has just emptied gets every slot, its attempts use the window up in seconds, and then
//! all of them hold their slots for minutes and wait for permits, while another source could use these slots.
//!
//! It is Little's law. An attempt that never waits asks once in a *turn*: the time that it works from one permit to the next
//! request. So `n` attempts ask `n / turn` times a second, and of what a source admits in a second (the tightest of
//! N / (W + settle) of its windows, 1 / (min_delay + settle) and in_flight / settle) they leave nothing from `rate × turn`
//! attempts on. One more would only wait, unless more than a rate is there: what is left of the windows now may be
//! enough for all that the others still want. A task that is to start is *crowded out* when both are so,
//!
//! - the source's limits would not let all requests go now that the attempts at work still want, and one more; and
//! - these attempts together ask as often as 99 % of its rate (as much as promise 2 says is used).
//!
//! Attempts at work are those of its source that collect, still want permits and have not been silent for four turns: of
//! the same collector and priority, or ranking above it. Whoever ranks below it gives way, and does not keep it from starting.
//!
//! What is crowded out starts when nothing else can (so that a wrong guess costs no permit), once: while there is an attempt
//! more at work than the source needs, more of them stay away, and slots stay free for what falls due at another source
//! meanwhile. Collectors that make one request an attempt are never crowded out: these have what they need when they start.
//!
//! Turns are those of the latest 32 grants to one collector at one source, so a source that grows slower gets more slots;
//! how many requests an attempt makes is what the config declares, times what the latest 16 that filled something made of
//! it. Before anything is known a turn and an answer take a second each. All of it is forgotten with the engine. The limits of all
//! sources together play no part: who waits for those does so whichever source has the slot.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::Dispatcher;
use super::classes::{ClassKey, CollectorIx, TaskSlot};
use super::dispatcher::Stage;
use super::score::Rank;
use crate::limits::{AskKind, MILLION_MILLION, SourceIx};
use crate::spec::PriorityLevel;
use crate::time::{Boottime, Now};

/// A turn, or an answer, of which nothing is known.
const UNKNOWN: Duration = Duration::from_secs(1);

/// So many turns, and answers, are looked at.
const LATEST: usize = 32;

/// So many attempts tell how many requests one makes.
const LATEST_ATTEMPTS: usize = 16;

/// Who has not asked for so many turns does something else: it leaves permits to others.
const TURNS_OF_SILENCE: u32 = 4;

/// So many hundredths of a rate count as all of it.
const ALL: u128 = 99;

/// The attempts of one collector at one source.
type Kind = (SourceIx, CollectorIx);

/// What attempts that ask for their permits one by one were seen to do.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits {
    kinds: HashMap<Kind, Habit>,
    /// By source: from sent to settled.
    answers: HashMap<SourceIx, Latest>,
}

#[derive(Clone, Debug, Default)]
struct Habit {
    turns: Latest,
    /// Requests that were made, and declared; oldest first.
    attempts: VecDeque<(u64, u64)>,
}

/// The latest spans, in microseconds.
#[derive(Clone, Debug, Default)]
struct Latest {
    spans: VecDeque<u64>,
    sum: u64,
}

impl Latest {
    fn note(&mut self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX).min(u64::MAX / LATEST as u64);
        self.spans.push_back(micros);
        self.sum += micros;
        if self.spans.len() > LATEST {
            self.sum -= self.spans.pop_front().unwrap_or(0);
        }
    }

    fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.spans.len() as u64).map(Duration::from_micros)
    }
}

impl Habits {
    pub(super) fn turned(&mut self, kind: Kind, turn: Duration) {
        self.kinds.entry(kind).or_default().turns.note(turn);
    }

    pub(super) fn answered(&mut self, source: SourceIx, after: Duration) {
        self.answers.entry(source).or_default().note(after);
    }

    /// An attempt that filled something made so many requests, of so many that were declared.
    pub(super) fn made(&mut self, kind: Kind, made: u64, declared: u64) {
        let attempts = &mut self.kinds.entry(kind).or_default().attempts;
        attempts.push_back((made, declared));
        if attempts.len() > LATEST_ATTEMPTS {
            attempts.pop_front();
        }
    }

    pub(super) fn turn(&self, kind: Kind) -> Duration {
        self.kinds.get(&kind).and_then(|habit| habit.turns.mean()).unwrap_or(UNKNOWN)
    }

    pub(super) fn settle(&self, source: SourceIx) -> Duration {
        self.answers.get(&source).and_then(Latest::mean).unwrap_or(UNKNOWN)
    }

    /// Requests of an attempt that declares so many.
    fn needs(&self, kind: Kind, declared: u64) -> u64 {
        let (made, of) = self.attempts(kind);
        let needs = if of == 0 { declared } else { (declared * made).div_ceil(of) };
        needs.max(1)
    }

    /// Whether its attempts make more than one request. `declared`: by one that is as large as it may be.
    fn asks_again(&self, kind: Kind, declared: u64) -> bool {
        match self.kinds.get(&kind).map_or(0, |habit| habit.attempts.len() as u64) {
            0 => declared > 1,
            attempts => self.attempts(kind).0 > attempts,
        }
    }

    fn attempts(&self, kind: Kind) -> (u64, u64) {
        let attempts = self.kinds.get(&kind).into_iter().flat_map(|habit| &habit.attempts);
        attempts.fold((0, 0), |(made, declared), attempt| (made + attempt.0, declared + attempt.1))
    }

    pub(super) fn remembered(&self) -> usize {
        let of_kinds = self.kinds.values().map(|habit| habit.turns.spans.len() + habit.attempts.len());
        of_kinds.chain(self.answers.values().map(|answers| answers.spans.len())).sum()
    }
}

/// An attempt that asks its source for one permit after the other.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    pub kind: Kind,
    pub declared: u64,
    /// With the one that it started with.
    pub made: u64,
    /// Of this turn, until it last began to wait.
    worked: Duration,
    /// `None`: it waits for a permit.
    works_since: Option<Boottime>,
}

impl Drawing {
    pub(super) fn new(kind: Kind, declared: u64, now: Boottime) -> Self {
        Drawing { kind, declared, made: 1, worked: Duration::ZERO, works_since: Some(now) }
    }

    pub(super) fn waits(&mut self, now: Boottime) {
        if let Some(since) = self.works_since.take() {
            self.worked += now.since(since);
        }
    }

    /// The permit of its start is handed out: its first turn goes on.
    pub(super) fn goes_on(&mut self, now: Boottime) {
        self.waits(now);
        self.works_since = Some(now);
    }

    /// One more permit: a turn is over, and took so long.
    pub(super) fn turns(&mut self, now: Boottime) -> Duration {
        self.goes_on(now);
        self.made += 1;
        std::mem::take(&mut self.worked)
    }
}

/// An attempt at work, as one that may start sees it.
#[derive(Debug)]
pub(super) struct AtWork {
    kind: Kind,
    priority: PriorityLevel,
    rank: Rank,
    task: TaskSlot,
    /// Requests that it still wants to make.
    wants: u64,
    /// In [`MILLION_MILLION`] microseconds, if it never waits.
    asks: u128,
    /// It counts until then, if it does not ask before.
    until: Option<Boottime>,
}

/// One more attempt would only wait for permits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub at_work: u32,
    /// There is one more at work already than the source needs.
    pub is_over: bool,
    /// When that may change by itself.
    pub until: Option<Boottime>,
}

impl Dispatcher {
    pub(super) fn at_work(&self, now: Now) -> Vec<AtWork> {
        let drawing = self.drawing.iter().filter_map(|id| Some((id, self.running.get(id)?)));
        let at_work = drawing.filter(|(_, attempt)| attempt.stage == Stage::Collecting).filter_map(|(id, attempt)| {
            let drawing = attempt.drawing.as_ref()?;
            let (kind, turn) = (drawing.kind, self.habits.turn(drawing.kind).max(Duration::from_micros(1)));
            let left = self.habits.needs(kind, drawing.declared).saturating_sub(drawing.made);
            let (wants, until) = match drawing.works_since {
                _ if self.waiters.contains(&(kind.0, *id)) => (left.max(1), None),
                Some(since) if left > 0 => (left, Some(since + turn.saturating_mul(TURNS_OF_SILENCE))),
                _ => return None,
            };
            if until.is_some_and(|until| until < now.boot) {
                return None;
            }
            let asks = MILLION_MILLION / turn.as_micros();
            let (priority, rank) = (self.priority_of_task(attempt.task), self.rank_of(attempt.task, now));
            Some(AtWork { kind, priority, rank, task: attempt.task, wants, asks, until })
        });
        at_work.collect()
    }

    /// Why the first task of a class, of this rank, would only wait for permits if it started; `None`: it would not.
    pub(super) fn crowd(&self, key: &ClassKey, rank: &Rank, at_work: &[AtWork], now: Now) -> Option<Crowd> {
        let source = key.ask.filter(|ask| ask.kind == AskKind::OneRequest && self.rules.adaptive && !at_work.is_empty())?.source;
        let kind = (source, key.collector);
        let terms = &self.rules.collectors[usize::from(key.collector)];
        if !self.habits.asks_again(kind, terms.requests.of(terms.batch as usize)) {
            return None;
        }
        let is_alike = |other: &AtWork| other.kind == kind && other.priority == key.priority;
        let others = || at_work.iter().filter(|other| other.kind.0 == source && (is_alike(other) || other.rank > *rank));
        let wants: u64 = others().map(|other| other.wants).sum();
        if wants == 0 {
            return None;
        }
        let limiter = self.grants.limiter();
        let room_at = limiter.has_room_for(source, key.priority, wants + 1, now.boot).err()?;
        let rate = limiter.rate(source, &self.rules.reserve, key.priority, self.habits.settle(source))?;
        let asks: u128 = others().map(|other| other.asks).sum();
        let is_enough = |asks: u128| asks * 100 >= rate * ALL;
        if !is_enough(asks) {
            return None;
        }
        let most = others().map(|other| other.asks).max().unwrap_or(0);
        let silent = others().filter_map(|other| Some(other.until? + Duration::from_micros(1)));
        let overtaken = others().filter(|other| !is_alike(other)).filter_map(|other| self.overtakes(key, &rank.place, other.task, now));
        Some(Crowd {
            at_work: others().count() as u32,
            is_over: is_enough(asks - most),
            until: room_at.into_iter().chain(silent).chain(overtaken).min(),
        })
    }

    /// Attempts that take all that a source admits, for whatever collector needs the most; `None`: none asks again and again,
    /// or nothing bounds them.
    pub(super) fn useful_attempts(&self, source: SourceIx) -> Option<u32> {
        let kinds = self.habits.kinds.iter().filter(|((of, _), habit)| *of == source && !habit.turns.spans.is_empty());
        let turns = kinds.filter(|(kind, _)| self.habits.asks_again(**kind, 2)).map(|(kind, _)| self.habits.turn(*kind).as_micros());
        let settle = self.habits.settle(source);
        let rates = PriorityLevel::ALL.into_iter().map(|level| self.grants.limiter().rate(source, &self.rules.reserve, level, settle));
        let rate = rates.flatten().max()?;
        let useful = (rate * turns.max()? * ALL).div_ceil(100 * MILLION_MILLION);
        Some(u32::try_from(useful).unwrap_or(u32::MAX).max(1))
    }
}
