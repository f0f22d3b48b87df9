//! A breaker stops calling what keeps failing, and finds out by one attempt at a time whether it works again.
//!
//! Without it an outage is answered with every retry that the limits allow, all night. With it: closed, until `failures`
//! in a row open it, or too large a share of the latest outcomes; open for `cooldown`; then half-open, where one probe
//! may start. What the probe meets first decides: an answer closes the breaker, a failure opens it again, for twice as
//! long as before, up to `cooldown_max`. A source has one, and so has a collector.
//!
//! Answers of 429 that come from requests sent at the same time say one thing, not many: one that was asked for before
//! the last 429 came counts as nothing (`a_burst_of_throttled_requests_is_one_incident`).
//!
//! Always true: while it is open nothing starts, while it is half-open at most one attempt runs that started under it
//! (`a_half_open_breaker_lets_one_probe_through`), and attempts from before the trip decide nothing. It does not know
//! what a failure is: the caller says. A restart keeps it open and remembers failures in a row; of the latest outcomes it
//! forgets which were answers, and begins to count that share anew.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::ids::AttemptId;
use crate::record::BreakerRecord;
use crate::spec::BreakerPolicy;
use crate::time::{Boottime, Now, Timestamp};

#[derive(Clone, Debug, PartialEq)]
pub struct Breaker {
    /// `None`: `breaker: off`, always closed.
    policy: Option<BreakerPolicy>,
    state: State,
    /// Did each of the latest outcomes fail, and when; oldest first, as many as the policy looks at.
    latest: VecDeque<(Boottime, bool)>,
    /// When the last 429 came that was counted.
    throttled: Option<Boottime>,
    /// When each attempt that is under way asked last.
    asked: HashMap<AttemptId, Boottime>,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    /// So many failures in a row.
    Closed {
        failures: u32,
    },
    Open {
        until: Boottime,
        trip: Trip,
    },
    HalfOpen {
        probe: AttemptId,
        trip: Trip,
    },
}

/// What opened it, and what has been tried since.
#[derive(Clone, Debug, PartialEq)]
pub struct Trip {
    pub since: Timestamp,
    /// For a person: `5 failures in a row, the last: answered 503`.
    pub reason: String,
    /// In a row, with those of probes.
    failures: u32,
    pub probes_failed: u32,
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

/// What an attempt met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// Any answer that is not the source's own failure: a 404 comes from a source that works.
    Answer,
    /// 5xx, no connection, exit 69; of a collector: it could not be started, crashed, or wrote nothing.
    Failure,
    /// 429.
    Throttled,
}

/// Why it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TripReason {
    InARow(u32),
    Rate { failed: u32, of: u32 },
}

impl fmt::Display for TripReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TripReason::InARow(1) => f.write_str("1 failure"),
            TripReason::InARow(failures) => write!(f, "{failures} failures in a row"),
            TripReason::Rate { failed, of } => write!(f, "{failed} failures in the last {of}"),
        }
    }
}

/// A change worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Tripped {
        until: Boottime,
        why: TripReason,
    },
    /// The probe failed as well.
    StaysOpen {
        until: Boottime,
        probes_failed: u32,
    },
    Recovered,
}

impl Breaker {
    /// `breaker: off` keeps one closed for ever.
    pub fn is_on(&self) -> bool {
        self.policy.is_some()
    }

    pub fn new(policy: Option<BreakerPolicy>) -> Self {
        Breaker { policy, state: State::Closed { failures: 0 }, latest: VecDeque::new(), throttled: None, asked: HashMap::new() }
    }

    /// Another policy from now on; what it has seen stays. `breaker: off` closes it.
    pub fn obey(&mut self, policy: Option<BreakerPolicy>) {
        if policy.is_none() && self.policy.is_some() {
            *self = Breaker::new(None);
        }
        self.policy = policy;
    }

    pub fn gate(&self, now: Boottime) -> Gate {
        match self.state {
            State::Closed { .. } => Gate::Open,
            State::Open { until, .. } if now < until => Gate::ShutUntil(until),
            State::Open { .. } => Gate::Probe,
            State::HalfOpen { .. } => Gate::Probing,
        }
    }

    /// An attempt that the gate let through starts, or sends one more request; under [`Gate::Probe`] it is the probe.
    pub fn started(&mut self, attempt: AttemptId, now: Boottime) {
        if self.policy.is_some() {
            self.asked.insert(attempt, now);
        }
        if let (Gate::Probe, State::Open { trip, .. }) = (self.gate(now), &self.state) {
            self.state = State::HalfOpen { probe: attempt, trip: trip.clone() };
        }
    }

    /// What a running attempt met; once per request or once at its end, as the caller sees it.
    pub fn met(&mut self, attempt: AttemptId, met: Met, reason: &str, now: Now) -> Option<Turn> {
        let policy = self.policy?;
        match (&self.state, met) {
            (State::Closed { .. }, Met::Throttled) if self.is_old_news(attempt) => None,
            (State::Closed { .. }, Met::Answer) => {
                self.state = State::Closed { failures: 0 };
                self.note(policy, now.boot, false);
                None
            }
            (State::Closed { failures }, Met::Failure | Met::Throttled) => {
                let failures = failures + 1;
                self.state = State::Closed { failures };
                self.note(policy, now.boot, true);
                self.throttled = self.throttled.max((met == Met::Throttled).then_some(now.boot));
                let why = self.trips(policy, failures, now.boot)?;
                Some(self.trip(policy, why, failures, reason, now))
            }
            (State::HalfOpen { probe, .. }, Met::Answer) if *probe == attempt => {
                self.state = State::Closed { failures: 0 };
                Some(Turn::Recovered)
            }
            (State::HalfOpen { probe, trip }, Met::Failure | Met::Throttled) if *probe == attempt => {
                let trip =
                    Trip { failures: trip.failures.saturating_add(1), probes_failed: trip.probes_failed.saturating_add(1), ..trip.clone() };
                Some(self.stay_open(policy, trip, now.boot))
            }
            (State::Open { .. } | State::HalfOpen { .. }, _) => None,
        }
    }

    /// It was sent before the last 429 came: whoever sent it could not know.
    fn is_old_news(&self, attempt: AttemptId) -> bool {
        let asked = self.asked.get(&attempt);
        asked.is_some_and(|asked| self.throttled.is_some_and(|throttled| *asked <= throttled))
    }

    fn note(&mut self, policy: BreakerPolicy, now: Boottime, failed: bool) {
        let Some(rate) = policy.rate else { return };
        self.latest.push_back((now, failed));
        while self.latest.len() > rate.of as usize {
            self.latest.pop_front();
        }
    }

    fn trips(&self, policy: BreakerPolicy, failures: u32, now: Boottime) -> Option<TripReason> {
        if failures >= policy.failures {
            return Some(TripReason::InARow(failures));
        }
        let rate = policy.rate?;
        let oldest = self.latest.front().filter(|_| self.latest.len() >= rate.of as usize)?.0;
        let failed = self.latest.iter().filter(|(_, failed)| *failed).count() as u32;
        let too_many = u64::from(failed) * 1_000 >= u64::from(rate.permille) * u64::from(rate.of);
        (too_many && now.since(oldest) <= rate.within).then_some(TripReason::Rate { failed, of: rate.of })
    }

    fn trip(&mut self, policy: BreakerPolicy, why: TripReason, failures: u32, reason: &str, now: Now) -> Turn {
        let reason = if reason.is_empty() { why.to_string() } else { format!("{why}, the last: {reason}") };
        let until = now.boot + pause(policy, 0);
        self.state = State::Open { until, trip: Trip { since: now.wall, reason, failures, probes_failed: 0 } };
        self.latest.clear();
        Turn::Tripped { until, why }
    }

    fn stay_open(&mut self, policy: BreakerPolicy, trip: Trip, now: Boottime) -> Turn {
        let (until, probes_failed) = (now + pause(policy, trip.probes_failed), trip.probes_failed);
        self.state = State::Open { until, trip };
        Turn::StaysOpen { until, probes_failed }
    }

    /// An attempt is over. A probe that met nothing (it was stopped, or asked nobody) makes room for the next.
    pub fn ended(&mut self, attempt: AttemptId, now: Boottime) {
        self.asked.remove(&attempt);
        if let State::HalfOpen { probe, trip } = &self.state
            && *probe == attempt
        {
            self.state = State::Open { until: now, trip: trip.clone() };
        }
    }

    /// The attempt that finds out whether it works again.
    pub fn probe(&self) -> Option<AttemptId> {
        match self.state {
            State::HalfOpen { probe, .. } => Some(probe),
            State::Closed { .. } | State::Open { .. } => None,
        }
    }

    /// `None`: closed.
    pub fn trip_now(&self) -> Option<&Trip> {
        match &self.state {
            State::Closed { .. } => None,
            State::Open { trip, .. } | State::HalfOpen { trip, .. } => Some(trip),
        }
    }

    /// Failures in a row so far.
    pub fn failures(&self) -> u32 {
        match &self.state {
            State::Closed { failures } => *failures,
            State::Open { trip, .. } | State::HalfOpen { trip, .. } => trip.failures,
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Attempts under way that asked.
    pub fn asks(&self) -> usize {
        self.asked.len()
    }

    /// It is as good as a new one: nobody asks, and nothing failed that still counts.
    pub fn is_at_rest(&self, now: Boottime) -> bool {
        let within = self.policy.and_then(|policy| policy.rate).map_or(Duration::ZERO, |rate| rate.within);
        let fails = |(at, failed): &(Boottime, bool)| *failed && now.since(*at) <= within;
        self.asked.is_empty() && matches!(self.state, State::Closed { failures: 0 }) && !self.latest.iter().any(fails)
    }

    /// For the state: wall time, because a boottime means nothing after a reboot. A probe dies with its engine, so
    /// half-open is remembered as an open breaker whose time is over.
    pub fn to_record(&self, now: Now) -> BreakerRecord {
        let open_until = match &self.state {
            State::Closed { failures } => return BreakerRecord { failures: *failures, ..BreakerRecord::default() },
            State::Open { until, .. } => now.wall_at(*until),
            State::HalfOpen { .. } => now.wall,
        };
        let trip = self.trip_now();
        BreakerRecord {
            failures: self.failures(),
            open_until: Some(open_until),
            since: trip.map(|trip| trip.since),
            reason: trip.map(|trip| trip.reason.clone()),
            probes_failed: trip.map_or(0, |trip| trip.probes_failed),
        }
    }

    /// A wall clock that was set back must not keep a breaker open for longer than its pause.
    pub fn from_record(policy: Option<BreakerPolicy>, record: &BreakerRecord, now: Now) -> Self {
        let mut breaker = Breaker::new(policy);
        let Some(policy) = policy else { return breaker };
        breaker.state = match record.open_until {
            None => State::Closed { failures: record.failures.min(policy.failures.saturating_sub(1)) },
            Some(until) => State::Open {
                until: now.boot_at(until).min(now.boot + pause(policy, record.probes_failed)),
                trip: Trip {
                    since: record.since.unwrap_or(now.wall),
                    reason: record.reason.clone().unwrap_or_else(|| TripReason::InARow(record.failures).to_string()),
                    failures: record.failures,
                    probes_failed: record.probes_failed,
                },
            },
        };
        breaker
    }
}

/// Doubles with each probe that failed.
fn pause(policy: BreakerPolicy, probes_failed: u32) -> Duration {
    let factor = 1_u32.checked_shl(probes_failed.min(31)).unwrap_or(u32::MAX);
    policy.cooldown.saturating_mul(factor).min(policy.cooldown_max.max(policy.cooldown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Uuid;
    use crate::spec::FailureRate;
    use crate::time::SignedDuration;

    const POLICY: BreakerPolicy =
        BreakerPolicy { failures: 3, cooldown: Duration::from_secs(600), cooldown_max: Duration::from_secs(3_000), rate: None };

    const WITH_RATE: BreakerPolicy =
        BreakerPolicy { rate: Some(FailureRate { permille: 500, of: 10, within: Duration::from_secs(60) }), ..POLICY };

    fn attempt(number: u128) -> AttemptId {
        AttemptId(Uuid::from_u128(number))
    }

    fn secs(secs: u64) -> Boottime {
        Boottime::from_secs(secs)
    }

    fn at(secs: u64) -> Now {
        let start: Timestamp = "2025-03-09T14:00:00Z".parse().unwrap();
        Now { wall: start + SignedDuration::from_secs(secs as i64), boot: Boottime::from_secs(secs) }
    }

    fn tripped() -> Breaker {
        let mut breaker = Breaker::new(Some(POLICY));
        for number in 0..3 {
            breaker.met(attempt(number), Met::Failure, "503", at(10));
        }
        breaker
    }

    /// One outcome a second; when it trips, and why.
    fn trips(policy: BreakerPolicy, outcomes: &str, each_takes: u64) -> Option<(usize, TripReason)> {
        let mut breaker = Breaker::new(Some(policy));
        outcomes.bytes().enumerate().find_map(|(number, outcome)| {
            let met = if outcome == b'x' { Met::Failure } else { Met::Answer };
            match breaker.met(attempt(number as u128), met, "503", at(number as u64 * each_takes)) {
                Some(Turn::Tripped { why, .. }) => Some((number + 1, why)),
                _ => None,
            }
        })
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        assert_eq!(trips(POLICY, "xx.xx.xx.xx.xx.xx.xx.xx.", 1), None);
        assert_eq!(trips(POLICY, "xx.xxx", 1), Some((6, TripReason::InARow(3))));
        assert_eq!(tripped().gate(secs(609)), Gate::ShutUntil(secs(610)));
        assert_eq!(tripped().gate(secs(610)), Gate::Probe);
        let trip = tripped().trip_now().unwrap().clone();
        assert_eq!((trip.reason.as_str(), trip.since), ("3 failures in a row, the last: 503", at(10).wall));
    }

    #[test]
    fn too_large_a_share_of_the_latest_outcomes_opens_it() {
        let half = TripReason::Rate { failed: 5, of: 10 };
        assert_eq!(trips(WITH_RATE, "x.x.x.x.x", 1), None, "nine outcomes say nothing yet");
        assert_eq!(trips(WITH_RATE, "x.x.x.x..x", 1), Some((10, half)));
        assert_eq!(trips(WITH_RATE, "x..x..x..x..x..x..x..x..x..", 1), None, "a third fails");
        assert_eq!(trips(WITH_RATE, "..........x.x.x.x.x.", 1), Some((19, half)), "only the latest ten count");
        assert_eq!(trips(WITH_RATE, "x.x.x.x..x", 7), None, "ten outcomes are spread over more than a minute");
        assert_eq!(half.to_string(), "5 failures in the last 10");
    }

    #[test]
    fn a_half_open_breaker_lets_one_probe_through() {
        let mut breaker = tripped();
        breaker.started(attempt(7), secs(610));
        assert_eq!(breaker.gate(secs(610)), Gate::Probing);
        assert_eq!(breaker.gate(secs(10_000)), Gate::Probing);
        let again = breaker.met(attempt(7), Met::Failure, "502", at(620));
        assert_eq!(again, Some(Turn::StaysOpen { until: secs(1_820), probes_failed: 1 }));
        breaker.started(attempt(8), secs(1_820));
        assert_eq!(breaker.met(attempt(8), Met::Answer, "", at(1_821)), Some(Turn::Recovered));
        assert_eq!(breaker.gate(secs(1_821)), Gate::Open);
    }

    #[test]
    fn the_pause_doubles_with_each_probe_that_fails_up_to_a_cap_and_begins_anew_after_a_recovery() {
        let mut breaker = tripped();
        let (mut now, mut pauses) = (610, Vec::new());
        for number in 10..16 {
            breaker.started(attempt(number), secs(now));
            let Some(Turn::StaysOpen { until, .. }) = breaker.met(attempt(number), Met::Throttled, "429", at(now)) else { panic!() };
            pauses.push(until.since(secs(now)).as_secs());
            now = until.as_micros() / 1_000_000;
        }
        assert_eq!(pauses, [1_200, 2_400, 3_000, 3_000, 3_000, 3_000]);
        assert_eq!((breaker.trip_now().unwrap().since, breaker.trip_now().unwrap().probes_failed), (at(10).wall, 6));
        breaker.started(attempt(20), secs(now));
        breaker.met(attempt(20), Met::Answer, "", at(now));
        for number in 21..24 {
            breaker.met(attempt(number), Met::Failure, "503", at(now));
        }
        assert_eq!(breaker.gate(secs(now)), Gate::ShutUntil(secs(now + 600)));
    }

    #[test]
    fn a_burst_of_throttled_requests_is_one_incident() {
        let mut breaker = Breaker::new(Some(WITH_RATE));
        for number in 0..20 {
            breaker.started(attempt(number), secs(10));
        }
        for number in 0..20 {
            assert_eq!(breaker.met(attempt(number), Met::Throttled, "429", at(11)), None);
        }
        assert_eq!(breaker.failures(), 1);
        // Whoever asks again and is refused again is news.
        for (round, turns) in [(12, false), (14, true)] {
            breaker.started(attempt(3), secs(round));
            breaker.started(attempt(4), secs(round));
            assert_eq!(breaker.met(attempt(3), Met::Throttled, "429", at(round + 1)).is_some(), turns);
            assert_eq!(breaker.met(attempt(4), Met::Throttled, "429", at(round + 1)), None);
        }
        let mut errors = Breaker::new(Some(POLICY));
        let count = (0..3).filter(|number| errors.met(attempt(*number), Met::Failure, "503", at(11)).is_some()).count();
        assert_eq!(count, 1, "errors of the source are not its way to say slower: each counts");
    }

    #[test]
    fn attempts_from_before_the_trip_decide_nothing() {
        let mut breaker = tripped();
        assert_eq!(breaker.met(attempt(1), Met::Answer, "", at(20)), None);
        assert_eq!(breaker.met(attempt(2), Met::Failure, "503", at(300)), None);
        assert_eq!(breaker.gate(secs(300)), Gate::ShutUntil(secs(610)));
        breaker.started(attempt(7), secs(610));
        assert_eq!(breaker.met(attempt(1), Met::Answer, "", at(611)), None);
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
        assert_eq!(breaker.trip_now().unwrap().probes_failed, 0);
    }

    #[test]
    fn a_breaker_that_is_off_never_opens() {
        let mut breaker = Breaker::new(None);
        for _ in 0..100 {
            assert_eq!(breaker.met(attempt(1), Met::Failure, "503", at(1)), None);
        }
        assert_eq!(breaker.gate(secs(1)), Gate::Open);
    }

    #[test]
    fn a_breaker_survives_a_restart_and_a_clock_set_back() {
        let mut breaker = tripped();
        breaker.started(attempt(7), secs(610));
        breaker.met(attempt(7), Met::Failure, "502", at(610));
        let record = breaker.to_record(at(610));
        let later = Now { wall: at(1_000).wall, boot: secs(5) };
        let restarted = Breaker::from_record(Some(POLICY), &record, later);
        assert_eq!(restarted.gate(secs(5)), Gate::ShutUntil(secs(815)));
        assert_eq!(restarted.trip_now(), breaker.trip_now(), "since when and why are known");
        let set_back = Now { wall: "2020-01-01T00:00:00Z".parse().unwrap(), boot: secs(5) };
        assert_eq!(Breaker::from_record(Some(POLICY), &record, set_back).gate(secs(5)), Gate::ShutUntil(secs(1_205)));
        assert_eq!(Breaker::from_record(None, &record, later).gate(secs(5)), Gate::Open);
    }

    #[test]
    fn failures_so_far_are_remembered_but_do_not_open_by_themselves() {
        let record = BreakerRecord { failures: 9, ..BreakerRecord::default() };
        let mut breaker = Breaker::from_record(Some(POLICY), &record, at(10));
        assert_eq!(breaker.gate(secs(10)), Gate::Open);
        assert!(matches!(breaker.met(attempt(1), Met::Failure, "503", at(10)), Some(Turn::Tripped { .. })));
    }
}
