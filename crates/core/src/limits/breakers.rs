//! One breaker for each value of a source's requests: `breaker: { by: customer }`.
//!
//! A customer whose account is broken answers every request with 500, and one breaker for all of them would leave the others
//! alone because of it. So each value has its own, made when it first fails or asks.
//!
//! Always true: a value that is not known here has a closed breaker that counts no failure
//! (`a_value_of_which_nothing_failed_lately_is_forgotten`). So memory is one breaker for each value that has a failure, or that asks just now,
//! however many there ever were. What is forgotten are answers: of a value that failed seldom, the share of failures is counted anew.
//!
//! It knows values as digests: what they are called is with whoever asks.

use std::collections::{HashMap, VecDeque};

use super::breaker::{Breaker, Met, Turn};
use crate::ids::{AttemptId, ValueId};
use crate::record::BreakerRecord;
use crate::spec::BreakerPolicy;
use crate::time::{Boottime, Now};

/// So many that may be forgotten are looked at with each request: more than one, so that they go faster than they come.
const LOOKS_A_REQUEST: usize = 2;

#[derive(Clone, Debug)]
pub struct Breakers {
    policy: BreakerPolicy,
    known: HashMap<ValueId, Breaker>,
    /// In turn.
    looks: VecDeque<ValueId>,
}

impl Breakers {
    pub fn new(policy: BreakerPolicy) -> Self {
        Breakers { policy, known: HashMap::new(), looks: VecDeque::new() }
    }

    /// `None`: it is closed, and counts no failure.
    pub fn of(&self, value: ValueId) -> Option<&Breaker> {
        self.known.get(&value)
    }

    /// As [`Breaker::started`].
    pub fn started(&mut self, value: ValueId, attempt: AttemptId, now: Boottime) {
        self.forget(now);
        self.make(value).started(attempt, now);
    }

    /// As [`Breaker::met`].
    pub fn met(&mut self, value: ValueId, attempt: AttemptId, met: Met, reason: &str, now: Now) -> Option<Turn> {
        match (met, self.known.get_mut(&value)) {
            (Met::Answer, None) => None,
            (_, Some(breaker)) => breaker.met(attempt, met, reason, now),
            (_, None) => self.make(value).met(attempt, met, reason, now),
        }
    }

    /// As [`Breaker::ended`]. Whether that makes room for a probe.
    pub fn ended(&mut self, value: ValueId, attempt: AttemptId, now: Boottime) -> bool {
        let Some(breaker) = self.known.get_mut(&value) else { return false };
        let was_probe = breaker.probe() == Some(attempt);
        breaker.ended(attempt, now);
        if breaker.is_at_rest(now) {
            self.known.remove(&value);
        }
        was_probe
    }

    pub fn restore(&mut self, value: ValueId, record: &BreakerRecord, now: Now) {
        *self.make(value) = Breaker::from_record(Some(self.policy), record, now);
    }

    /// Those that are not closed, in no particular order.
    pub fn shut(&self) -> impl Iterator<Item = (ValueId, &Breaker)> {
        self.known.iter().filter(|(_, breaker)| !breaker.is_closed()).map(|(value, breaker)| (*value, breaker))
    }

    /// Those that something is known of.
    pub fn known(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.known.keys().copied()
    }

    /// Values that nobody has any more keep no failures.
    pub fn forget_all_but(&mut self, is_used: impl Fn(ValueId) -> bool) {
        self.known.retain(|value, breaker| !breaker.is_closed() || breaker.asks() > 0 || is_used(*value));
    }

    fn make(&mut self, value: ValueId) -> &mut Breaker {
        let Breakers { policy, known, looks } = self;
        known.entry(value).or_insert_with(|| {
            looks.push_back(value);
            Breaker::new(Some(*policy))
        })
    }

    fn forget(&mut self, now: Boottime) {
        for _ in 0..LOOKS_A_REQUEST {
            let Some(value) = self.looks.pop_front() else { return };
            match self.known.get(&value).map(|breaker| breaker.is_at_rest(now)) {
                Some(true) => drop(self.known.remove(&value)),
                Some(false) => self.looks.push_back(value),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::Uuid;
    use crate::limits::breaker::Gate;
    use crate::spec::FailureRate;
    use crate::time::{SignedDuration, Timestamp};

    fn at(secs: u64) -> Now {
        let start: Timestamp = "2025-03-09T14:00:00Z".parse().unwrap();
        Now { wall: start + SignedDuration::from_secs(secs as i64), boot: Boottime::from_secs(secs) }
    }

    fn breakers() -> Breakers {
        let rate = Some(FailureRate { permille: 500, of: 10, within: Duration::from_secs(60) });
        Breakers::new(BreakerPolicy { failures: 2, cooldown: Duration::from_secs(600), cooldown_max: Duration::from_secs(3_000), rate })
    }

    fn value(number: u64) -> ValueId {
        ValueId::of(&format!("customer {number}"))
    }

    /// One request, by an attempt of its own.
    fn ask(breakers: &mut Breakers, of: u64, met: Met, secs: u64) -> Option<Turn> {
        let attempt = AttemptId(Uuid::from_u128(u128::from(secs) << 32 | u128::from(of)));
        breakers.started(value(of), attempt, at(secs).boot);
        let turn = breakers.met(value(of), attempt, met, "answered 500", at(secs));
        breakers.ended(value(of), attempt, at(secs).boot);
        turn
    }

    #[test]
    fn the_failures_of_one_value_open_its_own_breaker_alone() {
        let mut breakers = breakers();
        assert_eq!(ask(&mut breakers, 1, Met::Failure, 1), None);
        assert_eq!(ask(&mut breakers, 2, Met::Failure, 2), None, "one failure each");
        assert!(matches!(ask(&mut breakers, 1, Met::Failure, 3), Some(Turn::Tripped { .. })));
        let gate = |of, secs| breakers.of(value(of)).map(|breaker| breaker.gate(at(secs).boot));
        assert_eq!((gate(1, 4), gate(2, 4), gate(3, 4)), (Some(Gate::ShutUntil(at(603).boot)), Some(Gate::Open), None));
        assert_eq!(gate(1, 603), Some(Gate::Probe));
        assert_eq!(ask(&mut breakers, 1, Met::Answer, 603), Some(Turn::Recovered));
        assert!(breakers.of(value(1)).is_none(), "it is as good as new");
    }

    #[test]
    fn a_probe_that_met_nothing_makes_room_for_the_next() {
        let mut breakers = breakers();
        (1..=2).for_each(|secs| _ = ask(&mut breakers, 1, Met::Failure, secs));
        let (probe, other) = (AttemptId(Uuid::from_u128(7)), AttemptId(Uuid::from_u128(8)));
        breakers.started(value(1), probe, at(700).boot);
        assert_eq!(breakers.of(value(1)).unwrap().gate(at(701).boot), Gate::Probing);
        assert!(!breakers.ended(value(1), other, at(702).boot) && breakers.ended(value(1), probe, at(703).boot));
        assert_eq!(breakers.of(value(1)).unwrap().gate(at(703).boot), Gate::Probe);
    }

    #[test]
    fn a_value_of_which_nothing_failed_lately_is_forgotten() {
        let mut breakers = breakers();
        for number in 0..10_000 {
            ask(&mut breakers, number, Met::Answer, number / 100);
        }
        assert_eq!(breakers.known().count(), 0, "who only answers leaves nothing");
        for number in 0..10_000 {
            ask(&mut breakers, number, Met::Failure, 200);
            ask(&mut breakers, number, Met::Answer, 201);
        }
        assert_eq!(breakers.known().count(), 10_000, "each has failed once within a minute");
        for second in 0..11_000 {
            ask(&mut breakers, 1_000_000, Met::Answer, 300 + second);
        }
        assert!(breakers.known().count() <= 1 && breakers.looks.len() <= 2, "{} are known", breakers.known().count());
    }

    #[test]
    fn who_is_shut_stays_so_and_who_has_gone_keeps_no_failures() {
        let mut breakers = breakers();
        ask(&mut breakers, 1, Met::Failure, 1);
        (1..=2).for_each(|secs| _ = ask(&mut breakers, 2, Met::Failure, secs));
        ask(&mut breakers, 3, Met::Failure, 2);
        breakers.forget_all_but(|used| used == value(3));
        assert!(breakers.of(value(1)).is_none() && breakers.of(value(2)).is_some() && breakers.of(value(3)).is_some());
    }
}
