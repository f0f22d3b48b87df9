//! Who keeps lower-scored tasks from permits: requests of running attempts that wait, and tasks that were passed for a full window.

use super::Dispatcher;
use super::classes::{ClassIx, ClassKey, Family, TaskSlot};
use super::pick::{Survey, permits};
use super::score::Rank;
use super::slots::SlotsTaken;
use super::useful::AtWork;
use crate::ids::ValueId;
use crate::limits::{Ask, AskKind, HoldOff, Reach, SourceIx};
use crate::spec::PriorityLevel;
use crate::time::{Boottime, Now};

/// Who keeps lower-scored tasks from permits.
#[derive(Default)]
pub(super) struct Claims {
    pub(super) claims: Vec<Claim>,
}

pub(super) struct Claim {
    pub(super) rank: Rank,
    pub(super) priority: PriorityLevel,
    pub(super) source: SourceIx,
    pub(super) takers: Takers,
    pub(super) keeps: Keeps,
    /// Whose it is, for a person.
    pub(super) task: TaskSlot,
}

/// Whose tasks would take what a claim waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takers {
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
pub(super) enum Keeps {
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
    pub(super) fn against(&self, rank: &Rank, key: &ClassKey, share: WithinShare) -> Option<&Claim> {
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
pub(super) struct WithinShare {
    pub(super) of_value: bool,
    pub(super) of_all_values: bool,
}

impl Dispatcher {
    pub(super) fn within_share(&self, key: &ClassKey, now: Now) -> WithinShare {
        let limiter = self.grants.limiter();
        WithinShare {
            of_value: key.ask.is_some_and(|ask| limiter.is_within_its_share_of_its_value(&ask, now.boot)),
            of_all_values: key.ask.is_some_and(|ask| limiter.is_within_its_share(&ask, now.boot)),
        }
    }

    /// When a start of the class takes nothing from whom this claim is, because enough of what its priority used is over.
    pub(super) fn keeps_to_its_share_from(&self, key: &ClassKey, claim: &Claim, now: Now) -> Option<Boottime> {
        let ask = key.ask.filter(|_| claim.priority != key.priority)?;
        let reach = if matches!(claim.takers, Takers::OfValue(_)) { Reach::Value } else { Reach::Source };
        self.grants.limiter().within_its_share_from(&ask, reach, now.boot)
    }

    /// Tasks that were passed for a full window claim what they wait for.
    pub(super) fn claim_for_the_impatient(&self, survey: &mut Survey, now: Now) {
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
    pub(super) fn claims_of_waiters(&self, now: Now) -> Claims {
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

    /// Everything better that a limit kept from starting, and that needs more permits, was passed by this start.
    pub(super) fn mark_passed(&mut self, key: &ClassKey, rank: &Rank, now: Now) {
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
