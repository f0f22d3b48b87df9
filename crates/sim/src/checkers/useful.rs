//! How many attempts of a source can do useful work at once, worked out from every permit and answer so far.
//!
//! An attempt that never waits asks once in a turn; what a source admits in a second is the tightest of N / (W + settle),
//! 1 / (min_delay + settle) and in_flight / settle. One more attempt would only wait when the limits would not let all go that
//! is still wanted, and one more, and those at work ask as often as 99 % of that rate.

use std::collections::HashMap;

use adce_core::ids::AttemptId;
use adce_core::ports::PermitId;
use adce_core::spec::PriorityLevel;

use crate::scenario::{Micros, SECOND, Scenario};

/// One more attempt would only wait for permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    No,
    Yes,
    /// And there is one already that the source does not need.
    OneMoreAlready,
}

/// Source and collector.
type Kind = (usize, String);

#[derive(Default)]
pub struct Useful {
    at_work: HashMap<AttemptId, AtWork>,
    turns: HashMap<Kind, Vec<Micros>>,
    /// Requests made and declared, of attempts that filled something.
    made: HashMap<Kind, Vec<(u64, u64)>>,
    answers: HashMap<usize, Vec<Micros>>,
    sent: HashMap<PermitId, (usize, Micros)>,
}

struct AtWork {
    kind: Kind,
    declared: u64,
    made: u64,
    has_begun: bool,
    worked: Micros,
    works_since: Option<Micros>,
}

/// An attempt that still wants permits of its source.
pub struct Wants {
    pub attempt: AttemptId,
    pub is_of_this_collector: bool,
    requests: u64,
    turn: Micros,
}

fn mean_of_latest(spans: Option<&Vec<Micros>>) -> Micros {
    let spans = spans.map_or(&[][..], |spans| &spans[spans.len().saturating_sub(32)..]);
    if spans.is_empty() { SECOND } else { spans.iter().sum::<Micros>() / spans.len() as Micros }
}

impl Useful {
    pub fn picked(&mut self, attempt: AttemptId, source: usize, collector: &str, declared: u64, at: Micros) {
        let kind = (source, collector.to_owned());
        self.at_work.insert(attempt, AtWork { kind, declared, made: 1, has_begun: false, worked: 0, works_since: Some(at) });
    }

    pub fn waits(&mut self, attempt: AttemptId, at: Micros) {
        if let Some(works) = self.at_work.get_mut(&attempt)
            && let Some(since) = works.works_since.take()
        {
            works.worked += at - since;
        }
    }

    pub fn granted(&mut self, attempt: AttemptId, at: Micros) {
        self.waits(attempt, at);
        let Some(works) = self.at_work.get_mut(&attempt) else { return };
        works.works_since = Some(at);
        if works.has_begun {
            works.made += 1;
            self.turns.entry(works.kind.clone()).or_default().push(works.worked);
            works.worked = 0;
        }
        works.has_begun = true;
    }

    pub fn sent(&mut self, permit: PermitId, source: usize, at: Micros) {
        self.sent.insert(permit, (source, at));
    }

    pub fn settled(&mut self, permit: PermitId, arrived: Option<Micros>) {
        if let (Some((source, sent)), Some(arrived)) = (self.sent.remove(&permit), arrived) {
            let answers = self.answers.entry(source).or_default();
            answers.push(arrived.saturating_sub(sent));
            let too_many = answers.len().saturating_sub(64);
            answers.drain(..too_many);
        }
    }

    pub fn publishes(&mut self, attempt: AttemptId) {
        if let Some(works) = self.at_work.get_mut(&attempt) {
            works.works_since = None;
        }
    }

    pub fn ended(&mut self, attempt: AttemptId, filled: bool) {
        if let Some(works) = self.at_work.remove(&attempt).filter(|_| filled) {
            self.made.entry(works.kind).or_default().push((works.made, works.declared));
        }
    }

    fn latest_attempts(&self, kind: &Kind) -> &[(u64, u64)] {
        self.made.get(kind).map_or(&[], |made| &made[made.len().saturating_sub(16)..])
    }

    /// Whether attempts of this collector make more than one request; `declared` by one as large as it may be.
    pub fn asks_again(&self, source: usize, collector: &str, declared: u64) -> bool {
        let made = self.latest_attempts(&(source, collector.to_owned()));
        if made.is_empty() { declared > 1 } else { made.iter().any(|(made, _)| *made > 1) }
    }

    /// Those that still want permits. `waits`: a request of it waits for one.
    pub fn at_work(&self, source: usize, collector: &str, waits: impl Fn(AttemptId) -> bool, at: Micros) -> Vec<Wants> {
        let mut wants = Vec::new();
        for (attempt, works) in self.at_work.iter().filter(|(_, works)| works.kind.0 == source) {
            let turn = mean_of_latest(self.turns.get(&works.kind)).max(1);
            let made = self.latest_attempts(&works.kind);
            let needs = match made.iter().map(|(_, declared)| declared).sum::<u64>() {
                0 => works.declared,
                declared => (works.declared * made.iter().map(|(made, _)| made).sum::<u64>()).div_ceil(declared),
            };
            let left = needs.max(1).saturating_sub(works.made);
            let is_heard = works.works_since.is_some_and(|since| at <= since + 4 * turn);
            let requests = match (waits(*attempt), left) {
                (true, left) => left.max(1),
                (false, left) if is_heard => left,
                (false, _) => 0,
            };
            if requests > 0 {
                wants.push(Wants { attempt: *attempt, is_of_this_collector: works.kind.1 == collector, requests, turn });
            }
        }
        wants
    }

    /// `has_room_for`: the source's limits would let so many go now.
    pub fn crowd(
        &self,
        scenario: &Scenario,
        source: usize,
        priority: PriorityLevel,
        others: &[Wants],
        has_room_for: impl Fn(u32) -> bool,
    ) -> Crowd {
        let wanted: u64 = others.iter().map(|other| other.requests).sum();
        if wanted == 0 || has_room_for(wanted as u32 + 1) {
            return Crowd::No;
        }
        let limits = &scenario.sources[source].limits;
        let settle = mean_of_latest(self.answers.get(&source));
        let a_rate = |requests: u32, every: Micros| u128::from(requests) * 1_000_000_000_000 / u128::from(every.max(1));
        let windows = limits.windows.iter().map(|window| {
            let of_others = scenario.reserve.shares().filter(|(owner, _)| *owner != priority);
            let of_others: u32 = of_others.map(|(_, permille)| window.requests * permille / 1_000).sum();
            a_rate(window.requests - of_others, window.span.as_micros() as Micros + settle)
        });
        let delay = limits.min_delay.map(|delay| a_rate(1, delay.as_micros() as Micros + settle));
        let flight = limits.in_flight.map(|most| a_rate(most, settle));
        let Some(rate) = windows.chain(delay).chain(flight).min() else { return Crowd::No };
        let asks = |turn: Micros| 1_000_000_000_000 / u128::from(turn);
        let all: u128 = others.iter().map(|other| asks(other.turn)).sum();
        let without_the_fastest = all - others.iter().map(|other| asks(other.turn)).max().unwrap_or(0);
        match (all * 100 >= rate * 99, without_the_fastest * 100 >= rate * 99) {
            (false, _) => Crowd::No,
            (true, false) => Crowd::Yes,
            (true, true) => Crowd::OneMoreAlready,
        }
    }
}
