//! How many bytes of bodies may pass, and whose turn it is: `bytes_per_second`.
//!
//! Windows count requests, and one request may bring ten gigabytes. Without this an upstream that minds its line rather than its
//! processors could only be spared by fewer requests than it would bear.
//!
//! Always true: in any span of T no more than rate × T bytes of a source pass, and those of a tenth of a second
//! (`no_span_sees_more_than_its_rate_and_a_tenth_of_a_second`); the first span begins with nothing, so a restart gives nothing
//! extra. All that wait take no longer than they must (`what_waits_takes_as_long_as_it_must_and_no_longer`).
//!
//! Bodies pass in pieces, and whoever waits stands in line for one: so those of a source share it evenly, and a source stands in the
//! line of all sources once, however many of its bodies wait. Who waits has taken nothing yet, so who goes away leaves his share
//! to the next. Requests are served in the order of scores; their bytes are not, because what is under way is to end.
//!
//! This module never reads a clock and never waits: it says who is to be woken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::Boottime;

/// What passes in one turn at most. Small enough that one of a hundred bodies at 1 MB/s has its turn every two seconds.
pub const PIECE_BYTES: u64 = 16 << 10;

/// As much as may pass in this part of a second may have been saved up. Timers are late by a millisecond or two, and what they are
/// late by would be lost otherwise.
const PARTS_SAVED: u64 = 10;

/// A body that is not looked at any more although it is its turn (nobody takes what it has) keeps the others waiting for no longer.
const TAKES_ITS_TURN_WITHIN: Duration = Duration::from_secs(1);

const MICROS: u128 = 1_000_000;

/// One `bytes_per_second`, as the instant at which all that has passed would have passed evenly: in microseconds over the rate, so that
/// nothing is rounded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Flow {
    rate: u64,
    even: u128,
}

impl Flow {
    fn new(rate: u64, now: Boottime) -> Self {
        let rate = rate.max(1);
        Flow { rate, even: u128::from(now.as_micros()) * u128::from(rate) + u128::from(saved(rate)) * MICROS }
    }

    /// When so many may pass, if they may not now.
    fn wait(&self, bytes: u64, now: Boottime) -> Option<Boottime> {
        let ahead = u128::from(bytes) * MICROS;
        let earliest = (self.even + ahead).saturating_sub(u128::from(saved(self.rate)) * MICROS).div_ceil(u128::from(self.rate));
        let earliest = Boottime::from_micros(u64::try_from(earliest).unwrap_or(u64::MAX));
        (earliest > now).then_some(earliest)
    }

    fn pass(&mut self, bytes: u64, now: Boottime) {
        self.even = self.even.max(u128::from(now.as_micros()) * u128::from(self.rate)) + u128::from(bytes) * MICROS;
    }

    fn give_back(&mut self, bytes: u64) {
        self.even = self.even.saturating_sub(u128::from(bytes) * MICROS);
    }
}

fn saved(rate: u64) -> u64 {
    rate.div_ceil(PARTS_SAVED)
}

/// The bodies of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    /// `None`: all sources together alone have one.
    flow: Option<Flow>,
    /// In the order in which they came.
    waiting: BTreeSet<u64>,
    /// From when on the first of them may go; `None`: other sources go before it.
    turn: Option<Boottime>,
    /// Its place among the sources.
    place: Option<u64>,
}

/// Where one body stands in its source's line, if it waits.
#[derive(Debug, Default)]
pub struct Place(Option<u64>);

impl Place {
    pub fn number(&self) -> Option<u64> {
        self.0
    }
}

/// All that is paced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flows {
    lines: Vec<Line>,
    all: Option<Flow>,
    /// Sources whose first body waits for the flow of all.
    sources: BTreeMap<u64, usize>,
    numbers: u64,
    to_wake: Vec<u64>,
}

impl Flows {
    /// Bytes a second: of each source, and of all of them together.
    pub fn new(sources: impl IntoIterator<Item = Option<u64>>, all: Option<u64>, now: Boottime) -> Self {
        let line = |rate: Option<u64>| Line { flow: rate.map(|rate| Flow::new(rate, now)), ..Line::default() };
        let lines = sources.into_iter().map(line).collect();
        Flows { lines, all: all.map(|rate| Flow::new(rate, now)), ..Flows::default() }
    }

    /// Whether anything bounds the source.
    pub fn paces(&self, source: usize) -> bool {
        self.all.is_some() || self.lines[source].flow.is_some()
    }

    /// How many of the `wanted` bytes pass now, at least one; or when to ask again, if nobody is woken before. Whoever waits keeps his
    /// place, and leaves it with [`leave`](Self::leave) or by passing.
    pub fn ask(&mut self, source: usize, place: &mut Place, wanted: u64, now: Boottime) -> Result<u64, Boottime> {
        self.pass_over(source, place.0, now);
        place.0 = place.0.filter(|number| self.lines[source].waiting.contains(number));
        let first = self.lines[source].waiting.first().copied();
        if first.is_some() && first != place.0 {
            self.join(source, place);
            return Err(now + TAKES_ITS_TURN_WITHIN);
        }
        let bytes = wanted.min(self.piece(source)).max(1);
        if let Some(at) = self.lines[source].flow.as_ref().and_then(|flow| flow.wait(bytes, now)) {
            self.step_back(source, now);
            return Err(self.wait_until(source, place, at));
        }
        if let Some(all) = &self.all {
            let of_all = all.wait(bytes, now);
            if let Some(other) = self.first_source().filter(|other| *other != source) {
                self.pass_over(other, None, now);
            }
            let is_first = self.first_source().is_none_or(|first| first == source);
            if !is_first || of_all.is_some() {
                self.join(source, place);
                self.step_forward(source);
            }
            if !is_first {
                self.lines[source].turn = None;
                return Err(now + TAKES_ITS_TURN_WITHIN);
            }
            if let Some(at) = of_all {
                return Err(self.wait_until(source, place, at));
            }
        }
        let flows = self.lines[source].flow.iter_mut().chain(&mut self.all);
        flows.for_each(|flow| flow.pass(bytes, now));
        self.leave(source, place, now);
        Ok(bytes)
    }

    /// Of what just passed, so much was not used after all.
    pub fn give_back(&mut self, source: usize, bytes: u64) {
        self.lines[source].flow.iter_mut().chain(&mut self.all).for_each(|flow| flow.give_back(bytes));
    }

    /// It does not wait any more.
    pub fn leave(&mut self, source: usize, place: &mut Place, now: Boottime) {
        let Some(number) = place.0.take() else { return };
        let line = &mut self.lines[source];
        let was_first = line.waiting.first() == Some(&number);
        if line.waiting.remove(&number) && was_first {
            line.turn = Some(now);
            self.to_wake.extend(line.waiting.first());
            self.step_back(source, now);
        }
    }

    /// Whose turn may have come since this was asked last, by number.
    pub fn to_wake(&mut self) -> std::vec::Drain<'_, u64> {
        self.to_wake.drain(..)
    }

    /// Nobody could ever have more at once than what is saved up.
    fn piece(&self, source: usize) -> u64 {
        let flows = self.lines[source].flow.iter().chain(&self.all);
        flows.map(|flow| saved(flow.rate)).fold(PIECE_BYTES, u64::min)
    }

    fn first_source(&self) -> Option<usize> {
        self.sources.first_key_value().map(|(_, source)| *source)
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn join(&mut self, source: usize, place: &mut Place) {
        if place.0.is_none() {
            let number = self.next_number();
            place.0 = Some(number);
            self.lines[source].waiting.insert(number);
        }
    }

    fn wait_until(&mut self, source: usize, place: &mut Place, at: Boottime) -> Boottime {
        self.join(source, place);
        self.lines[source].turn = Some(at);
        at
    }

    /// Into the line of the sources.
    fn step_forward(&mut self, source: usize) {
        if self.lines[source].place.is_none() {
            let number = self.next_number();
            self.lines[source].place = Some(number);
            self.sources.insert(number, source);
        }
    }

    /// Out of the line of the sources.
    fn step_back(&mut self, source: usize, now: Boottime) {
        let Some(number) = self.lines[source].place.take() else { return };
        let was_first = self.first_source() == Some(source);
        self.sources.remove(&number);
        if let Some(next) = self.first_source().filter(|_| was_first) {
            self.lines[next].turn = Some(now);
            self.to_wake.extend(self.lines[next].waiting.first());
        }
    }

    /// Whoever has not taken his turn, unless it is he who asks.
    fn pass_over(&mut self, source: usize, asks: Option<u64>, now: Boottime) {
        let line = &self.lines[source];
        let is_late = line.turn.is_some_and(|turn| now > turn + TAKES_ITS_TURN_WITHIN);
        if let Some(late) = line.waiting.first().copied().filter(|first| is_late && Some(*first) != asks) {
            self.leave(source, &mut Place(Some(late)), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;

    use proptest::prelude::*;

    use super::*;

    const START: Boottime = Boottime::from_secs(1_000);

    /// A body, as the tests have it.
    #[derive(Clone, Debug)]
    struct Stream {
        source: usize,
        /// It comes in frames of this.
        frame: u64,
        left: u64,
        /// When it goes away, if it does.
        leaves: Option<Boottime>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Passed {
        at: Boottime,
        stream: usize,
        bytes: u64,
    }

    /// Everybody asks at once and again, as soon as he is woken or it is time.
    fn run(rates: &[Option<u64>], all: Option<u64>, mut streams: Vec<Stream>, stalled: Option<usize>) -> Vec<Passed> {
        let mut flows = Flows::new(rates.iter().copied(), all, START);
        let mut places: Vec<Place> = streams.iter().map(|_| Place::default()).collect();
        let mut timers: BinaryHeap<std::cmp::Reverse<(Boottime, usize)>> = BinaryHeap::new();
        (0..streams.len()).for_each(|stream| timers.push(std::cmp::Reverse((START, stream))));
        streams.iter().enumerate().for_each(|(at, stream)| timers.extend(stream.leaves.map(|leaves| std::cmp::Reverse((leaves, at)))));
        let mut passed = Vec::new();
        while let Some(std::cmp::Reverse((now, at))) = timers.pop() {
            assert!(now < START + Duration::from_secs(10_000), "some wait for ever");
            let stream = &mut streams[at];
            if stream.leaves.is_some_and(|leaves| leaves <= now) {
                stream.left = 0;
                flows.leave(stream.source, &mut places[at], now);
            }
            while stream.left > 0 && !(stalled == Some(at) && places[at].0.is_some()) {
                match flows.ask(stream.source, &mut places[at], stream.left.min(stream.frame), now) {
                    Ok(bytes) => {
                        assert!(bytes > 0 && bytes <= PIECE_BYTES);
                        stream.left -= bytes;
                        passed.push(Passed { at: now, stream: at, bytes });
                    }
                    Err(again) => {
                        assert!(again > now, "nobody asks for ever at one instant");
                        timers.push(std::cmp::Reverse((again, at)));
                        break;
                    }
                }
            }
            let woken: Vec<u64> = flows.to_wake().collect();
            let find = |number: u64| places.iter().position(|place| place.0 == Some(number));
            timers.extend(woken.into_iter().filter_map(find).map(|woken| std::cmp::Reverse((now, woken))));
        }
        let unfinished = streams.iter().enumerate().filter(|(at, stream)| stream.left > 0 && Some(*at) != stalled).count();
        assert_eq!(unfinished, 0, "some are never asked again");
        passed
    }

    fn within(rate: u64, passed: &[Passed]) -> bool {
        let bytes = |passed: &[Passed]| passed.iter().map(|passed| u128::from(passed.bytes)).sum::<u128>();
        let since_start = passed.last().is_none_or(|last| bytes(passed) * MICROS <= u128::from(rate) * last.at.since(START).as_micros());
        since_start
            && (0..passed.len()).all(|first| {
                let mut sum = 0;
                passed[first..].iter().all(|last| {
                    sum += u128::from(last.bytes);
                    sum * MICROS <= u128::from(saved(rate)) * MICROS + u128::from(rate) * last.at.since(passed[first].at).as_micros()
                })
            })
    }

    fn body(source: usize, bytes: u64) -> Stream {
        Stream { source, frame: 5_000, left: bytes, leaves: None }
    }

    fn ends(passed: &[Passed], stream: usize) -> Boottime {
        passed.iter().rfind(|passed| passed.stream == stream).unwrap().at
    }

    #[test]
    fn what_waits_takes_as_long_as_it_must_and_no_longer() {
        let passed = run(&[Some(10_000)], None, vec![body(0, 30_000)], None);
        assert_eq!(ends(&passed, 0), START + Duration::from_secs(3));
        // Whoever goes away, the others have what is his.
        let leaves = Some(START + Duration::from_millis(1_500));
        let streams = vec![body(0, 20_000), Stream { leaves, ..body(0, 1_000_000) }, body(0, 5_000)];
        let passed = run(&[Some(10_000)], None, streams, None);
        let all: u64 = passed.iter().map(|passed| passed.bytes).sum();
        assert_eq!(passed.last().unwrap().at, START + Duration::from_micros((all * 100).max(1)));
        assert!(all < 35_000, "{all} bytes passed, of one that went away too");
    }

    #[test]
    fn bodies_of_a_source_share_it_evenly_whatever_their_frames_are() {
        let passed = run(&[Some(100_000)], None, vec![body(0, 200_000), body(0, 200_000)], None);
        let apart = ends(&passed, 0).since(ends(&passed, 1)).max(ends(&passed, 1).since(ends(&passed, 0)));
        assert!(apart <= Duration::from_millis(50), "they end {apart:?} apart");
        assert_eq!(passed.last().unwrap().at, START + Duration::from_secs(4));
    }

    #[test]
    fn a_source_stands_in_the_line_of_all_once_however_many_of_its_bodies_wait() {
        let crowd = (0..20).map(|_| body(0, 100_000));
        let passed = run(&[None, None], Some(100_000), crowd.chain([body(1, 100_000)]).collect(), None);
        assert!(ends(&passed, 20) <= START + Duration::from_millis(2_100), "half of all is its share: {:?}", ends(&passed, 20));
    }

    #[test]
    fn a_slow_source_holds_up_no_other() {
        let passed = run(&[Some(10), Some(50_000)], Some(100_000), vec![body(0, 100), body(0, 100), body(1, 100_000)], None);
        assert_eq!(ends(&passed, 2), START + Duration::from_secs(2));
    }

    #[test]
    fn who_does_not_take_his_turn_loses_it() {
        for all in [None, Some(10_000)] {
            let streams = vec![body(0, 10_000), body(0, 10_000), body(1, 10_000)];
            let passed = run(&[Some(10_000), None], all, streams, Some(0));
            assert!(passed.last().unwrap().at <= START + Duration::from_secs(5), "{all:?}: {:?}", passed.last());
        }
    }

    #[test]
    fn what_is_given_back_may_pass_at_once() {
        let mut flows = Flows::new([Some(1_000)], Some(1_000), START);
        let (mut place, now) = (Place::default(), START + Duration::from_secs(1));
        assert_eq!(flows.ask(0, &mut place, 100, now), Ok(100));
        assert_eq!(flows.ask(0, &mut place, 40, now), Err(now + Duration::from_millis(40)));
        flows.leave(0, &mut place, now);
        flows.give_back(0, 40);
        assert_eq!(flows.ask(0, &mut place, 40, now), Ok(40));
        assert!(flows.ask(0, &mut place, 1, now).is_err());
    }

    #[test]
    fn what_nothing_bounds_is_not_paced() {
        let flows = Flows::new([Some(5), None], None, START);
        assert!(flows.paces(0) && !flows.paces(1));
        assert!(Flows::new([None], Some(5), START).paces(0));
    }

    proptest! {
        #[test]
        fn no_span_sees_more_than_its_rate_and_a_tenth_of_a_second(
            rates in prop::collection::vec(prop::option::of(1_u64..200_000), 1..4),
            all in prop::option::of(1_000_u64..200_000),
            streams in prop::collection::vec((0_usize..4, 1_u64..40_000, 1_u64..40, prop::option::of(0_u64..3_000)), 1..8),
        ) {
            let streams: Vec<Stream> = streams.into_iter().map(|(source, frame, tenths, leaves_ms)| {
                let source = source % rates.len();
                // Some tenths of a second of what bounds it.
                let rate = rates[source].into_iter().chain(all).min().unwrap_or(10_000);
                let leaves = leaves_ms.map(|ms| START + Duration::from_millis(ms));
                Stream { source, frame: frame.max(rate / 50), left: (rate * tenths / 10).max(1), leaves }
            }).collect();
            let passed = run(&rates, all, streams.clone(), None);
            for (source, rate) in rates.iter().enumerate() {
                let own: Vec<Passed> = passed.iter().filter(|passed| streams[passed.stream].source == source).copied().collect();
                prop_assert!(rate.is_none_or(|rate| within(rate, &own)), "source {source}: {own:?}");
            }
            prop_assert!(all.is_none_or(|rate| within(rate, &passed)), "all: {passed:?}");
        }
    }
}
