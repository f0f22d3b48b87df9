//! Limits that each value of a source's requests has for itself: `{ by: customer, per_minute: 60 }`.
//!
//! An API that counts per customer (or per token) has as many windows as customers, and one that stands still must not hold
//! up the others. So each value has a scope of its own, beside the source's, made when it first asks.
//!
//! Always true: a value that is not known here has used nothing that a limit could still see
//! (`a_value_that_is_forgotten_has_nothing_that_a_limit_could_see`). So memory is one scope for each value that sent something within
//! the longest window, about twice of it at worst, however many there ever were.
//!
//! It knows values as digests: what they are called is with whoever asks.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::learned::Learned;
use super::scope::Scope;
use super::{Reach, ValueId};
use crate::spec::{Limits, Margin, Reserve};
use crate::time::Boottime;

/// So many that may be forgotten are looked at with each grant: more than one, so that they go faster than they come.
const LOOKS_A_GRANT: usize = 4;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    /// What each begins with.
    fresh: Scope,
    reserve: Reserve,
    scopes: HashMap<ValueId, Scope>,
    /// When each of them may have nothing left to remember; ascending.
    looks: VecDeque<(Boottime, ValueId)>,
    /// From a request to the end of all that it counts for, if it settles at once.
    counts_for: Duration,
    /// What answers teach is of the value that was answered; `None`: of the source.
    untaught: Option<Learned>,
    /// Of those that sent something of late, or refuse for what they learned.
    taught: HashMap<ValueId, Taught>,
}

/// What upstream's answers to one value have taught.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taught {
    pub learned: Learned,
    pub paused_until: Option<Boottime>,
}

impl Taught {
    fn is_at_rest(&self, now: Boottime) -> bool {
        self.paused_until.is_none_or(|until| until <= now) && self.learned.is_at_rest(now)
    }
}

impl Values {
    /// `learns`: what answers teach is of the value that was answered, and not of the source.
    pub(super) fn new(limits: &Limits, learns: bool) -> Self {
        let longest = limits.windows.iter().map(|window| window.span).max().unwrap_or_default();
        let margin = match limits.margin {
            Margin::Bracket => Duration::ZERO,
            Margin::Fixed(margin) => margin,
        };
        Values {
            fresh: Scope::new(Reach::Value, limits),
            reserve: Reserve::default(),
            scopes: HashMap::new(),
            looks: VecDeque::new(),
            untaught: learns.then(|| Learned::of_value(limits)),
            taught: HashMap::new(),
            counts_for: longest.max(limits.min_delay.unwrap_or_default()) + margin + limits.linger,
        }
    }

    /// Other limits from now on; what each value has used stays.
    pub(super) fn obey(&mut self, limits: &Limits, learns: bool) {
        let reserve = self.reserve;
        let Values { fresh, counts_for, untaught, .. } = Values::new(limits, learns);
        (self.fresh, self.counts_for) = (fresh, counts_for);
        if learns != self.learns() {
            self.taught.clear();
        }
        self.untaught = untaught;
        self.scopes.values_mut().for_each(|scope| scope.obey(limits));
        self.fresh.set_aside(reserve);
    }

    /// Unless that is so already.
    pub(super) fn set_aside_if_new(&mut self, reserve: Reserve) {
        if self.reserve != reserve {
            self.set_aside(reserve);
        }
    }

    pub(super) fn set_aside(&mut self, reserve: Reserve) {
        self.reserve = reserve;
        self.fresh.set_aside(reserve);
        self.scopes.values_mut().for_each(|scope| scope.set_aside(reserve));
    }

    /// As good as its own, if it is not known.
    pub(super) fn scope(&self, value: ValueId) -> &Scope {
        self.scopes.get(&value).unwrap_or(&self.fresh)
    }

    /// To be told of a grant, or of what an earlier process sent.
    pub(super) fn charged(&mut self, value: ValueId, now: Boottime) -> &mut Scope {
        self.forget(now);
        let Values { fresh, scopes, looks, counts_for, .. } = self;
        scopes.entry(value).or_insert_with(|| {
            looks.push_back((now + *counts_for, value));
            fresh.clone()
        })
    }

    /// Of a value that has a permit.
    pub(super) fn known(&mut self, value: ValueId) -> Option<&mut Scope> {
        self.scopes.get_mut(&value)
    }

    pub(super) fn learns(&self) -> bool {
        self.untaught.is_some()
    }

    pub(super) fn taught(&self, value: ValueId) -> Option<&Taught> {
        self.taught.get(&value)
    }

    pub(super) fn taught_mut(&mut self, value: ValueId) -> Option<&mut Taught> {
        self.taught.get_mut(&value)
    }

    /// Of a value that is to learn something; `None`: its source does.
    pub(super) fn teach(&mut self, value: ValueId, now: Boottime) -> Option<&mut Taught> {
        let untaught = self.untaught.clone()?;
        // It is forgotten with the rest.
        self.charged(value, now);
        Some(self.taught.entry(value).or_insert_with(|| Taught { learned: untaught, paused_until: None }))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (ValueId, &Scope)> {
        self.scopes.iter().map(|(value, scope)| (*value, scope))
    }

    pub(super) fn linger(&self) -> Duration {
        self.fresh.linger()
    }

    pub(super) fn remembered(&self) -> usize {
        self.scopes.values().map(Scope::remembered).sum::<usize>() + self.scopes.len() + self.taught.len()
    }

    fn forget(&mut self, now: Boottime) {
        for _ in 0..LOOKS_A_GRANT {
            let Some((_, value)) = self.looks.pop_front_if(|(at, _)| *at < now) else { return };
            let is_used = self.scopes.get_mut(&value).is_some_and(|scope| !scope.is_at_rest(now));
            match is_used || self.taught.get(&value).is_some_and(|taught| !taught.is_at_rest(now)) {
                true => self.looks.push_back((now + self.counts_for, value)),
                false => {
                    self.scopes.remove(&value);
                    self.taught.remove(&value);
                }
            }
        }
    }
}
