//! A breaker stops calling a source that keeps failing, and finds out by one attempt at a time whether it works again.
//!
//! Without it an outage is answered with every retry that the limits allow, all night. With it: closed, until
//! `failures` in a row open it; open for `cooldown`; then half-open, where one probe may start. What the probe meets
//! first decides: an answer closes the breaker, a failure opens it again.
//!
//! Always true: while it is open nothing starts, while it is half-open at most one attempt runs that started under it
//! (`a_half_open_breaker_lets_one_probe_through`), and attempts from before the trip decide nothing. It does not know
//! what a failure is: the caller says.

use std::time::Duration;

use crate::ids::AttemptId;
use crate::record::SourceRecord;
use crate::spec::BreakerPolicy;
use crate::time::{Boottime, Now};

#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// `None`: `breaker: off`, always closed.
    policy: Option<BreakerPolicy>,
    state: State,
    /// Of the last failure, for a person.
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// So many failures in a row.
    Closed {
        failures: u32,
    },
    Open {
        until: Boottime,
        failures: u32,
    },
    HalfOpen {
        probe: AttemptId,
        failures: u32,
    },
}

/// May an attempt start?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// One may, to find out.
    Probe,
    ShutUntil(Boottime),
    /// Not before the probe has met something.
    Probing,
}

impl Gate {
    pub fn lets_start(self) -> bool {
        matches!(self, Gate::Open | Gate::Probe)
    }
}

/// What an attempt met at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Any answer that is not the source's own failure: a 404 comes from a source that works.
    Answer,
    /// 429, 5xx, no connection, exit 69.
    Failure,
}

/// A change worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Tripped { until: Boottime, failures: u32 },
    Recovered,
}

impl Breaker {
    pub fn new(policy: Option<BreakerPolicy>) -> Self {
        Breaker { policy, state: State::Closed { failures: 0 }, reason: None }
    }

    pub fn gate(&self, now: Boottime) -> Gate {
        match self.state {
            State::Closed { .. } => Gate::Open,
            State::Open { until, .. } if now < until => Gate::ShutUntil(until),
            State::Open { .. } => Gate::Probe,
            State::HalfOpen { .. } => Gate::Probing,
        }
    }

    /// An attempt that the gate let through starts; under [`Gate::Probe`] it is the probe.
    pub fn started(&mut self, attempt: AttemptId, now: Boottime) {
        if let (Gate::Probe, State::Open { failures, .. }) = (self.gate(now), self.state) {
            self.state = State::HalfOpen { probe: attempt, failures };
        }
    }

    /// What a running attempt met; once per request or once at its end, as the caller sees it.
    pub fn met(&mut self, attempt: AttemptId, met: Met, reason: &str, now: Boottime) -> Option<Turn> {
        let policy = self.policy?;
        if met == Met::Failure {
            self.reason = Some(reason.into());
        }
        match (self.state, met) {
            (State::Closed { .. }, Met::Answer) => {
                self.state = State::Closed { failures: 0 };
                None
            }
            (State::Closed { failures }, Met::Failure) if failures + 1 < policy.failures => {
                self.state = State::Closed { failures: failures + 1 };
                None
            }
            (State::Closed { failures }, Met::Failure) => Some(self.trip(policy.cooldown, failures + 1, now)),
            (State::HalfOpen { probe, .. }, Met::Answer) if probe == attempt => {
                self.state = State::Closed { failures: 0 };
                self.reason = None;
                Some(Turn::Recovered)
            }
            (State::HalfOpen { probe, failures }, Met::Failure) if probe == attempt => {
                Some(self.trip(policy.cooldown, failures.saturating_add(1), now))
            }
            (State::Open { .. } | State::HalfOpen { .. }, _) => None,
        }
    }

    /// An attempt is over. A probe that met nothing (it was stopped, or asked nobody) makes room for the next.
    pub fn ended(&mut self, attempt: AttemptId, now: Boottime) {
        if let State::HalfOpen { probe, failures } = self.state
            && probe == attempt
        {
            self.state = State::Open { until: now, failures };
        }
    }

    /// The attempt that finds out whether the source works again.
    pub fn probe(&self) -> Option<AttemptId> {
        match self.state {
            State::HalfOpen { probe, .. } => Some(probe),
            State::Closed { .. } | State::Open { .. } => None,
        }
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        match self.state {
            State::Closed { failures } | State::Open { failures, .. } | State::HalfOpen { failures, .. } => failures,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn trip(&mut self, cooldown: Duration, failures: u32, now: Boottime) -> Turn {
        let until = now + cooldown;
        self.state = State::Open { until, failures };
        Turn::Tripped { until, failures }
    }

    /// For the state: wall time, because a boottime means nothing after a reboot. A probe dies with its engine, so
    /// half-open is remembered as an open breaker whose time is over.
    pub fn to_record(&self, paused_until: Option<Boottime>, now: Now) -> SourceRecord {
        let (failures, open_until) = match self.state {
            State::Closed { failures } => (failures, None),
            State::Open { until, failures } => (failures, Some(now.wall_at(until))),
            State::HalfOpen { failures, .. } => (failures, Some(now.wall)),
        };
        SourceRecord {
            failures,
            open_until,
            paused_until: paused_until.filter(|until| *until > now.boot).map(|until| now.wall_at(until)),
            reason: self.reason.clone(),
        }
    }

    /// A wall clock that was set back must not keep a breaker open for longer than its cooldown.
    pub fn from_record(policy: Option<BreakerPolicy>, record: &SourceRecord, now: Now) -> Self {
        let mut breaker = Breaker::new(policy);
        let Some(policy) = policy else { return breaker };
        breaker.reason = record.reason.clone();
        breaker.state = match record.open_until {
            None => State::Closed { failures: record.failures.min(policy.failures.saturating_sub(1)) },
            Some(until) => {
                let until = now.boot_at(until).min(now.boot + policy.cooldown);
                State::Open { until, failures: record.failures }
            }
        };
        breaker
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Uuid;

    const POLICY: BreakerPolicy = BreakerPolicy { failures: 3, cooldown: Duration::from_secs(600) };

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Uuid::from_u128(number))
    }

    fn secs(secs: u64) -> Boottime {
        Boottime::from_secs(secs)
    }

    fn tripped() -> Breaker {
        let mut breaker = Breaker::new(Some(POLICY));
        for number in 0..3 {
            breaker.met(attempt(number), Met::Failure, "503", secs(10));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let mut breaker = Breaker::new(Some(POLICY));
        for round in 0..10 {
            for _ in 0..2 {
                assert_eq!(breaker.met(attempt(round), Met::Failure, "503", secs(1)), None);
            }
            assert_eq!(breaker.met(attempt(round), Met::Answer, "", secs(1)), None);
            assert_eq!(breaker.gate(secs(1)), Gate::Open);
        }
        assert_eq!(tripped().gate(secs(609)), Gate::ShutUntil(secs(610)));
        assert_eq!(tripped().gate(secs(610)), Gate::Probe);
        assert_eq!(tripped().reason(), Some("503"));
    }

    #[test]
    fn a_half_open_breaker_lets_one_probe_through() {
        let mut breaker = tripped();
        breaker.started(attempt(7), secs(610));
        assert_eq!(breaker.gate(secs(610)), Gate::Probing);
        assert_eq!(breaker.gate(secs(10_000)), Gate::Probing);
        assert_eq!(breaker.met(attempt(7), Met::Failure, "502", secs(620)), Some(Turn::Tripped { until: secs(1_220), failures: 4 }));
        breaker.started(attempt(8), secs(1_220));
        assert_eq!(breaker.met(attempt(8), Met::Answer, "", secs(1_221)), Some(Turn::Recovered));
        assert_eq!(breaker.gate(secs(1_221)), Gate::Open);
    }

    #[test]
    fn attempts_from_before_the_trip_decide_nothing() {
        let mut breaker = tripped();
        assert_eq!(breaker.met(attempt(1), Met::Answer, "", secs(20)), None);
        assert_eq!(breaker.met(attempt(2), Met::Failure, "503", secs(300)), None);
        assert_eq!(breaker.gate(secs(300)), Gate::ShutUntil(secs(610)));
        breaker.started(attempt(7), secs(610));
        assert_eq!(breaker.met(attempt(1), Met::Answer, "", secs(611)), None);
        assert_eq!(breaker.gate(secs(611)), Gate::Probing);
    }

    #[test]
    fn a_probe_that_met_nothing_makes_room_for_the_next() {
        let mut breaker = tripped();
        breaker.started(attempt(7), secs(610));
        breaker.ended(attempt(3), secs(615));
        assert_eq!(breaker.gate(secs(615)), Gate::Probing);
        breaker.ended(attempt(7), secs(620));
        assert_eq!(breaker.gate(secs(620)), Gate::Probe);
    }

    #[test]
    fn a_breaker_that_is_off_never_opens() {
        let mut breaker = Breaker::new(None);
        for _ in 0..100 {
            assert_eq!(breaker.met(attempt(1), Met::Failure, "503", secs(1)), None);
        }
        assert_eq!(breaker.gate(secs(1)), Gate::Open);
    }

    #[test]
    fn a_breaker_survives_a_restart_and_a_clock_set_back() {
        let wall: crate::time::Timestamp = "2025-03-09T14:00:00Z".parse().unwrap();
        let record = tripped().to_record(Some(secs(40)), Now { wall, boot: secs(10) });
        assert_eq!(record.paused_until, Some("2025-03-09T14:00:30Z".parse().unwrap()));
        let later = Now { wall: "2025-03-09T14:04:00Z".parse().unwrap(), boot: secs(5) };
        let restarted = Breaker::from_record(Some(POLICY), &record, later);
        assert_eq!(restarted.gate(secs(5)), Gate::ShutUntil(secs(365)));
        let set_back = Now { wall: "2020-01-01T00:00:00Z".parse().unwrap(), boot: secs(5) };
        assert_eq!(Breaker::from_record(Some(POLICY), &record, set_back).gate(secs(5)), Gate::ShutUntil(secs(605)));
        assert_eq!(Breaker::from_record(None, &record, later).gate(secs(5)), Gate::Open);
    }

    #[test]
    fn failures_so_far_are_remembered_but_do_not_open_by_themselves() {
        let wall: crate::time::Timestamp = "2025-03-09T14:00:00Z".parse().unwrap();
        let now = Now { wall, boot: secs(10) };
        let record = SourceRecord { failures: 9, ..SourceRecord::default() };
        let mut breaker = Breaker::from_record(Some(POLICY), &record, now);
        assert_eq!(breaker.gate(secs(10)), Gate::Open);
        assert!(matches!(breaker.met(attempt(1), Met::Failure, "503", secs(10)), Some(Turn::Tripped { .. })));
    }
}
