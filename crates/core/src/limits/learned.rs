//! What a source's answers teach: pauses, a slower rate, and what is left of quotas that it tells of.
//!
//! A declared limit may be wrong, and some upstreams refuse without saying for how long, or never refuse and let requests
//! hang. Going on at the declared rate would draw the same refusal with every retry.
//!
//! - An *incident* is an answer of 429 or 503, or at least three requests, a fifth of all that were sent within 30 s at half
//!   the full rate or more, that got no answer. What was sent before the last incident tells of that one, not of another
//!   (`a_burst_of_refusals_is_one_incident`).
//! - The pause is as long as upstream asked for; if it did not say, or said "0", a minute, twice as long with each incident
//!   in a row, up to [`LONGEST_OWN_PAUSE`]. A quiet time of twice the last pause after it forgives all
//!   (`pauses_double_and_are_forgiven_after_quiet_time`).
//! - The rate falls to a half (to three quarters if upstream said how long) of the full one, and comes back in twentieths of it, one
//!   a round: the shortest declared window, a minute at most, or the last pause if that was longer. It ends where it was
//!   (`the_rate_falls_by_halves_and_comes_back_in_twentieths`). A source without declared windows comes back to what was sent
//!   in the 30 s before its incident.
//! - A quota that is told of is counted down with what is sent, and a policy that is stricter than what is declared, and is not
//!   told what is left of, spreads its requests evenly.
//!
//! Always true: it only ever refuses, so whatever it has learned, everything declared holds
//! (`what_is_learned_never_lets_more_through`); and it never refuses for longer than it says.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Because, HoldOff, Reach};
use crate::ports::{Quota, Quotas};
use crate::record::LearnedRecord;
use crate::spec::Limits;
use crate::time::{Boottime, Now, SignedDuration};

const FIRST_OWN_PAUSE: Duration = Duration::from_secs(60);

/// Upstreams are known that shut a client out for an hour each time.
pub const LONGEST_OWN_PAUSE: Duration = Duration::from_secs(2 * 3_600);

/// A quota that is used up is waited for no longer than this: days are the longest that any upstream counts in.
const LONGEST_QUOTA: Duration = Duration::from_secs(86_400);

/// In which unanswered requests are held against all that were sent.
const SPAN_SECS: u64 = 30;
const UNANSWERED_AT_LEAST: u32 = 3;
const UNANSWERED_SHARE: u32 = 5;

/// A request whose timeout is longer tells nothing.
const SENDS_REMEMBERED_SECS: u64 = 15 * 60;

const FULL: u32 = 1_000;
const STEP: u32 = FULL / 20;
const LEAST: u32 = FULL / 20;

/// Two tellings of one quota differ by what the answers took on their way.
const SAME_INSTANT: Duration = Duration::from_secs(1);

const QUOTAS_REMEMBERED: usize = 8;

/// One source's lessons.
#[derive(Clone, Debug, PartialEq)]
pub struct Learned {
    /// From one request to the next at the full rate: the strictest declared window, spread evenly. `None`: no window is declared.
    /// Whose it is.
    reach: Reach,
    full: Option<Duration>,
    round: Duration,
    /// By whole second of sending, ascending.
    sent: VecDeque<Second>,
    last_incident: Option<Boottime>,
    pause: Option<OwnPause>,
    slower: Option<Slower>,
    /// The next request may be sent then, at the learned rate.
    ready_at: Boottime,
    left: Vec<Left>,
    told: Vec<Quota>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Second {
    second: u64,
    sent: u32,
    unanswered: u32,
}

/// The last pause for which upstream did not say how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OwnPause {
    in_a_row: u32,
    length: Duration,
    ends: Boottime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slower {
    /// From one request to the next at the full rate.
    full: Duration,
    /// Of the full rate, in thousandths,
    share: u32,
    /// until then, and a step more with each round after it.
    since: Boottime,
    round: Duration,
}

/// What is left of a quota, less what was sent since that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    id: u32,
    requests: u32,
    until: Boottime,
}

/// What an upstream did that speaks of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// 429 or 503; until when upstream asked to be left alone.
    Refused {
        told: Option<Boottime>,
    },
    NoAnswer,
}

/// What follows from a [`Sign`] that is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Upstream did not say for how long: until then, the so-manieth time in a row.
    pub own_pause: Option<(Boottime, u32)>,
    /// Of the full rate, in thousandths.
    pub share: u32,
}

impl Slower {
    fn share_at(&self, now: Boottime) -> u32 {
        let rounds = now.since(self.since).as_micros() / self.round.as_micros().max(1);
        let more = u32::try_from(rounds).unwrap_or(u32::MAX).saturating_mul(STEP);
        self.share.saturating_add(more).min(FULL)
    }

    /// Rounded up: never faster than what it says.
    fn interval_at(&self, now: Boottime) -> Duration {
        micros((self.full.as_micros() * u128::from(FULL)).div_ceil(u128::from(self.share_at(now))))
    }
}

impl OwnPause {
    fn is_forgiven_at(&self, now: Boottime) -> bool {
        now >= self.ends + self.length * 2
    }
}

impl Learned {
    pub(super) fn new(limits: &Limits) -> Self {
        let spread = |window: &crate::spec::Window| micros(window.span.as_micros().div_ceil(u128::from(window.requests.max(1))));
        let shortest = limits.windows.iter().map(|window| window.span).min();
        Learned {
            reach: Reach::Source,
            full: limits.windows.iter().map(spread).max(),
            round: shortest.unwrap_or(FIRST_OWN_PAUSE).clamp(Duration::from_secs(1), FIRST_OWN_PAUSE),
            sent: VecDeque::new(),
            last_incident: None,
            pause: None,
            slower: None,
            ready_at: Boottime::default(),
            left: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Of one value of a source's requests, which has these limits for itself.
    pub(super) fn of_value(limits: &Limits) -> Self {
        Learned { reach: Reach::Value, ..Learned::new(limits) }
    }

    /// It refuses nothing, and a new one would learn the same from what comes.
    pub(super) fn is_at_rest(&self, now: Boottime) -> bool {
        let is_forgiven = self.pause.is_none_or(|pause| pause.is_forgiven_at(now));
        self.share(now).is_none() && is_forgiven && self.ready_at <= now && self.left.iter().all(|left| left.until <= now)
    }

    // ----------------------------------------------------------------------------------------------- what it refuses

    /// Why `requests` more may not be sent now.
    pub(super) fn refusal(&self, requests: u32, now: Boottime) -> Option<HoldOff> {
        if requests == 0 {
            return None;
        }
        // Also if all is as declared again by now: else it would end before it said.
        let slow =
            (self.ready_at > now).then_some(HoldOff::Until { at: self.ready_at, because: Because::LearnedRate { reach: self.reach } });
        let short = self.left.iter().filter(|left| left.requests < requests && left.until > now).max_by_key(|left| left.until);
        let short = short.map(|left| HoldOff::Until { at: left.until, because: Because::ToldQuota { reach: self.reach } });
        slow.into_iter().chain(short).reduce(HoldOff::or_longer)
    }

    /// Counts what was granted; the answer is what [`take_back`](Self::take_back) wants.
    pub(super) fn grant(&mut self, requests: u32, now: Boottime) -> Option<Boottime> {
        self.left.iter_mut().for_each(|left| left.requests = left.requests.saturating_sub(requests));
        let interval = self.interval(now).filter(|_| requests > 0)?;
        self.ready_at = now + interval * requests;
        Some(self.ready_at)
    }

    /// It was not sent after all. What upstream said of its quotas it will say again.
    pub(super) fn take_back(&mut self, granted: Option<Boottime>, now: Boottime) {
        if granted == Some(self.ready_at) {
            self.ready_at = now;
        }
    }

    /// From one request to the next, if anything was learned that makes it longer than what is declared.
    pub fn interval(&self, now: Boottime) -> Option<Duration> {
        let slower = self.slower.filter(|slower| slower.share_at(now) < FULL).map(|slower| slower.interval_at(now));
        slower.max(self.policy_interval())
    }

    /// Of policies of which nobody says what is left.
    fn policy_interval(&self) -> Option<Duration> {
        let intervals = self.told.iter().filter(|quota| quota.left.is_none()).filter_map(|quota| {
            let (requests, per) = (quota.requests?, quota.per?);
            // Evenly spread, one more than these lie in some span of a window.
            Some(micros(per.as_micros().div_ceil(u128::from(requests.saturating_sub(1).max(1)))))
        });
        intervals.max().filter(|interval| self.full.is_none_or(|full| *interval > full))
    }

    /// Of the full rate, in thousandths, after incidents.
    pub fn share(&self, now: Boottime) -> Option<u32> {
        self.slower.map(|slower| slower.share_at(now)).filter(|share| *share < FULL)
    }

    /// Quotas that upstream has told of, as far as it says how many in how long.
    pub fn told(&self) -> impl Iterator<Item = Quota> {
        self.told.iter().copied()
    }

    // ------------------------------------------------------------------------------------------------ what it hears

    /// One request is sent.
    pub fn sends(&mut self, now: Boottime) {
        let second = second(now);
        match self.sent.back_mut().filter(|last| last.second == second) {
            Some(last) => last.sent += 1,
            None => self.sent.push_back(Second { second, sent: 1, unanswered: 0 }),
        }
        while self.sent.front().is_some_and(|first| first.second + SENDS_REMEMBERED_SECS < second) {
            self.sent.pop_front();
        }
    }

    /// What an answer says of quotas, while `in_flight` others are under way that it may not know of. Returned: nothing is
    /// left until then.
    pub(super) fn hears(&mut self, quotas: Quotas, in_flight: u32, now: Boottime) -> Option<Boottime> {
        self.left.retain(|left| left.until > now);
        let mut used_up = None;
        for quota in quotas.iter() {
            if quota.requests.is_some() && quota.per.is_some() {
                self.told.retain(|told| told.id != quota.id);
                self.told.truncate(QUOTAS_REMEMBERED - 1);
                self.told.insert(0, quota);
            }
            let (Some(requests), Some(renewed_in)) = (quota.left, quota.renewed_in.filter(|ahead| !ahead.is_zero())) else { continue };
            let until = now + renewed_in.min(LONGEST_QUOTA);
            if requests == 0 {
                used_up = used_up.max(Some(until));
            }
            self.counts_down(Left { id: quota.id, requests: requests.saturating_sub(in_flight), until });
        }
        used_up
    }

    fn counts_down(&mut self, told: Left) {
        match self.left.iter_mut().find(|left| left.id == told.id) {
            // Answers overtake each other: of what is told of one window, the least counts.
            Some(left) if told.until <= left.until + SAME_INSTANT => left.requests = left.requests.min(told.requests),
            Some(left) => *left = told,
            None => {
                self.left.truncate(QUOTAS_REMEMBERED - 1);
                self.left.push(told);
            }
        }
    }

    /// A request that was sent at `sent` met this. `None`: no incident, or one that is known already.
    pub(super) fn meets(&mut self, sign: Sign, sent: Boottime, now: Boottime) -> Option<Incident> {
        if self.last_incident.is_some_and(|last| sent <= last) {
            return None;
        }
        let told = match sign {
            Sign::Refused { told } => told.filter(|until| *until > now),
            Sign::NoAnswer if self.too_many_hang(second(sent), now) => None,
            Sign::NoAnswer => return None,
        };
        Some(self.incident(told, now))
    }

    fn incident(&mut self, told: Option<Boottime>, now: Boottime) -> Incident {
        let own_pause = told.is_none().then(|| {
            let in_a_row = self.pause.filter(|pause| !pause.is_forgiven_at(now)).map_or(0, |pause| pause.in_a_row) + 1;
            let length = FIRST_OWN_PAUSE.saturating_mul(1 << (in_a_row - 1).min(16)).min(LONGEST_OWN_PAUSE);
            let pause = OwnPause { in_a_row, length, ends: now + length };
            self.pause = Some(pause);
            (pause.ends, in_a_row)
        });
        let ends = told.or(own_pause.map(|(ends, _)| ends)).unwrap_or(now);
        let full = self.slower.filter(|slower| slower.share_at(now) < FULL).map_or_else(|| self.full_rate(now), |slower| slower.full);
        let share = self.share(now).unwrap_or(FULL);
        let share = if told.is_some() { share * 3 / 4 } else { share / 2 }.max(LEAST);
        let round = self.round.max(ends.since(now).min(LONGEST_OWN_PAUSE));
        self.slower = Some(Slower { full, share, since: ends, round });
        self.last_incident = Some(now);
        self.sent.clear();
        Incident { own_pause, share }
    }

    /// As declared; or as it was sent of late.
    fn full_rate(&self, now: Boottime) -> Duration {
        let of_late = self.sent_within(second(now)).0.max(1);
        self.full.unwrap_or(micros(u128::from(SPAN_SECS * 1_000_000).div_ceil(u128::from(of_late))))
    }

    /// Notes a request without an answer. Some span of 30 s in which it was sent has too many of them.
    fn too_many_hang(&mut self, sent: u64, now: Boottime) -> bool {
        let place = self.sent.partition_point(|known| known.second < sent);
        let Some(known) = self.sent.get_mut(place).filter(|known| known.second == sent) else { return false };
        known.unanswered += 1;
        let interval = self.interval(now).or(self.full);
        (sent..sent + SPAN_SECS).any(|last| {
            let (sent, unanswered) = self.sent_within(last);
            let at_speed = interval.is_none_or(|interval| interval * sent * 2 >= Duration::from_secs(SPAN_SECS));
            unanswered >= UNANSWERED_AT_LEAST && unanswered * UNANSWERED_SHARE >= sent && at_speed
        })
    }

    /// In the 30 s that end with this second: sent, and of these unanswered.
    fn sent_within(&self, last: u64) -> (u32, u32) {
        let within = self.sent.iter().filter(|known| known.second <= last && known.second + SPAN_SECS > last);
        within.fold((0, 0), |(sent, unanswered), known| (sent + known.sent, unanswered + known.unanswered))
    }

    // --------------------------------------------------------------------------------------------------- restarts

    /// Changes with every incident, and when all is as declared again.
    pub fn mark(&self, now: Boottime) -> (Option<Boottime>, bool) {
        (self.last_incident, self.share(now).is_some())
    }

    /// What a successor has to know; `None`: nothing.
    pub fn to_record(&self, now: Now) -> Option<LearnedRecord> {
        let pause = self.pause.filter(|pause| !pause.is_forgiven_at(now.boot));
        let slower = self.slower.filter(|slower| slower.share_at(now.boot) < FULL);
        if pause.is_none() && slower.is_none() {
            return None;
        }
        Some(LearnedRecord {
            pauses_in_a_row: pause.map_or(0, |pause| pause.in_a_row),
            pause_seconds: pause.map_or(0, |pause| pause.length.as_secs()),
            pause_ends: pause.map(|pause| now.wall_at(pause.ends)),
            share_permille: slower.map_or(FULL, |slower| slower.share),
            since: slower.map(|slower| now.wall_at(slower.since)),
            round_micros: slower.map_or(0, |slower| slower.round.as_micros() as u64),
            full_rate_micros: slower.map_or(0, |slower| slower.full.as_micros() as u64),
        })
    }

    /// A wall clock that was set back makes nothing last longer than it would have.
    pub(super) fn restore(&mut self, record: &LearnedRecord, now: Now) {
        let at = |wall: crate::time::Timestamp, at_most: Duration| match wall > now.wall {
            true => now.boot_at(wall).min(now.boot + at_most),
            false => now.boot - now.wall.duration_since(wall).max(SignedDuration::ZERO).unsigned_abs(),
        };
        self.pause = record.pause_ends.map(|ends| {
            let length = Duration::from_secs(record.pause_seconds).min(LONGEST_OWN_PAUSE);
            OwnPause { in_a_row: record.pauses_in_a_row, length, ends: at(ends, length) }
        });
        self.slower = record.since.map(|since| {
            let full = self.full.unwrap_or(Duration::from_micros(record.full_rate_micros));
            let round = Duration::from_micros(record.round_micros).max(self.round);
            Slower { full, share: record.share_permille.clamp(LEAST, FULL), since: at(since, round), round }
        });
    }
}

fn second(at: Boottime) -> u64 {
    at.as_micros() / 1_000_000
}

fn micros(micros: u128) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{Ask, Limiter, SourceIx};
    use crate::ports::Settlement;
    use crate::spec::Window;
    use crate::time::Timestamp;

    fn per_minute(requests: u32) -> Learned {
        let windows = vec![Window { requests, span: Duration::from_secs(60) }];
        Learned::new(&Limits { windows, ..Limits::default() })
    }

    fn secs(secs: u64) -> Boottime {
        Boottime::from_secs(secs)
    }

    const REFUSED: Sign = Sign::Refused { told: None };

    fn quotas(id: u32, left: Option<u32>, renewed_s: Option<u64>, policy: Option<(u32, u64)>) -> Quotas {
        let mut quotas = Quotas::default();
        quotas.add(Quota {
            id,
            requests: policy.map(|(requests, _)| requests),
            per: policy.map(|(_, secs)| Duration::from_secs(secs)),
            left,
            renewed_in: renewed_s.map(Duration::from_secs),
        });
        quotas
    }

    #[test]
    fn a_burst_of_refusals_is_one_incident() {
        let mut learned = per_minute(60);
        assert!(learned.meets(REFUSED, secs(100), secs(101)).is_some());
        for sent in 90..=101 {
            assert_eq!(learned.meets(REFUSED, secs(sent), secs(102)), None, "sent at {sent}, before anybody knew");
        }
        assert_eq!(learned.share(secs(102)), Some(500));
        assert!(learned.meets(REFUSED, secs(162), secs(163)).is_some(), "sent after the pause");
    }

    #[test]
    fn pauses_double_and_are_forgiven_after_quiet_time() {
        let mut learned = per_minute(60);
        let mut now = secs(1_000);
        let mut lengths = Vec::new();
        for _ in 0..9 {
            let (ends, _) = learned.meets(REFUSED, now, now + Duration::from_secs(1)).unwrap().own_pause.unwrap();
            lengths.push(ends.since(now).as_secs() / 60);
            now = ends;
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
        let soon = now + Duration::from_secs(2 * 2 * 3_600 - 10);
        assert_eq!(learned.clone().meets(REFUSED, soon, soon).unwrap().own_pause.unwrap().1, 10);
        let later = now + Duration::from_secs(2 * 2 * 3_600);
        assert_eq!(learned.meets(REFUSED, later, later).unwrap().own_pause.unwrap(), (later + FIRST_OWN_PAUSE, 1));
    }

    #[test]
    fn whoever_says_how_long_is_believed_and_zero_is_no_time() {
        let mut learned = per_minute(60);
        let told = Sign::Refused { told: Some(secs(130)) };
        assert_eq!(learned.meets(told, secs(100), secs(101)), Some(Incident { own_pause: None, share: 750 }));
        let now_already = Sign::Refused { told: Some(secs(131)) };
        let incident = learned.meets(now_already, secs(131), secs(131)).unwrap();
        assert_eq!(incident.own_pause, Some((secs(191), 1)), "`Retry-After: 0` leaves it to us");
    }

    #[test]
    fn the_rate_falls_by_halves_and_comes_back_in_twentieths() {
        let mut learned = per_minute(60);
        learned.meets(REFUSED, secs(0), secs(1));
        // The pause ends at 61; a round is a minute.
        for (now, share) in [(1, Some(500)), (61, Some(500)), (120, Some(500)), (121, Some(550)), (661, None)] {
            assert_eq!(learned.share(secs(now)), share, "at {now} s");
        }
        assert_eq!(learned.interval(secs(61)), Some(Duration::from_secs(2)));
        for turn in 0..9 {
            learned.meets(REFUSED, secs(10_000 + turn), secs(10_000 + turn));
        }
        assert_eq!(learned.share(secs(10_010)), Some(LEAST), "it never stands still");
    }

    #[test]
    fn what_is_granted_keeps_the_learned_distance() {
        let mut learned = per_minute(60);
        assert_eq!(learned.grant(1, secs(0)), None, "nothing is learned yet");
        learned.meets(REFUSED, secs(0), secs(1));
        let granted = learned.grant(1, secs(61));
        assert_eq!(
            learned.refusal(1, secs(62)),
            Some(HoldOff::Until { at: secs(63), because: Because::LearnedRate { reach: Reach::Source } })
        );
        assert_eq!(learned.refusal(1, secs(63)), None);
        learned.take_back(granted, secs(62));
        assert_eq!(learned.refusal(1, secs(62)), None, "it was not sent");
        learned.grant(10, secs(70));
        assert_eq!(learned.refusal(1, secs(89)).and_then(|hold_off| hold_off.at()), Some(secs(90)), "ten at once keep ten distances");
    }

    #[test]
    fn requests_that_hang_after_a_fast_burst_are_an_incident() {
        let mut learned = per_minute(60);
        for second in 0..30 {
            learned.sends(secs(second));
            learned.sends(secs(second));
        }
        // Their timeouts come a minute later. At half the full rate 15 are sent in 30 s, and 16 in the last eight.
        for hung in 22..25 {
            assert_eq!(learned.meets(Sign::NoAnswer, secs(hung), secs(hung + 60)), None, "{} of 16 hang", hung - 21);
        }
        let incident = learned.meets(Sign::NoAnswer, secs(25), secs(85)).expect("a fifth hang");
        assert_eq!((incident.own_pause, incident.share), (Some((secs(145), 1)), 500));
        assert_eq!(learned.meets(Sign::NoAnswer, secs(26), secs(86)), None, "the same incident");
    }

    #[test]
    fn requests_that_hang_while_hardly_any_are_sent_are_none() {
        let mut learned = per_minute(60);
        for second in [0, 4, 8, 12] {
            learned.sends(secs(second));
            assert_eq!(learned.meets(Sign::NoAnswer, secs(second), secs(100 + second)), None, "it is the source that is down");
        }
        let mut unlimited = Learned::new(&Limits::default());
        (0..3).for_each(|second| unlimited.sends(secs(second)));
        assert_eq!(unlimited.meets(Sign::NoAnswer, secs(0), secs(10)), None);
        assert_eq!(unlimited.meets(Sign::NoAnswer, secs(1), secs(11)), None);
        assert!(unlimited.meets(Sign::NoAnswer, secs(2), secs(12)).is_some(), "nobody declared what its full rate is");
        assert_eq!(unlimited.interval(secs(72)), Some(Duration::from_secs(20)), "half of three in 30 s");
    }

    #[test]
    fn what_is_left_of_a_quota_is_counted_down() {
        let mut learned = per_minute(60);
        assert_eq!(learned.hears(quotas(1, Some(5), Some(50), None), 2, secs(10)), None);
        for _ in 0..3 {
            assert_eq!(learned.refusal(1, secs(11)), None);
            learned.grant(1, secs(11));
        }
        let refusal = HoldOff::Until { at: secs(60), because: Because::ToldQuota { reach: Reach::Source } };
        assert_eq!(learned.refusal(1, secs(12)), Some(refusal), "two were under way that the answer did not know of");
        learned.hears(quotas(1, Some(4), Some(49), None), 0, secs(11));
        assert_eq!(learned.refusal(1, secs(12)), Some(refusal), "an answer that was overtaken gives nothing back");
        assert_eq!(learned.refusal(1, secs(60)), None);
        learned.hears(quotas(1, Some(4), Some(50), None), 0, secs(12));
        assert_eq!(learned.refusal(4, secs(12)), None, "a window that slides");
        assert_eq!(learned.hears(quotas(1, Some(0), Some(40), None), 0, secs(20)), Some(secs(60)));
        assert_eq!(learned.hears(quotas(2, Some(0), Some(30 * 86_400), None), 0, secs(20)), Some(secs(20) + LONGEST_QUOTA));
    }

    #[test]
    fn a_policy_stricter_than_what_is_declared_is_kept_and_a_looser_one_changes_nothing() {
        let mut learned = per_minute(60);
        learned.hears(quotas(1, None, None, Some((100, 60))), 0, secs(0));
        assert_eq!(learned.interval(secs(0)), None);
        learned.hears(quotas(1, None, None, Some((31, 60))), 0, secs(0));
        assert_eq!(learned.interval(secs(0)), Some(Duration::from_secs(2)));
        assert_eq!(learned.told().next().unwrap().requests, Some(31));
    }

    #[test]
    fn what_is_learned_survives_a_restart() {
        let wall: Timestamp = "2025-03-09T14:00:00Z".parse().unwrap();
        let now = |secs: u64| Now { wall: wall + SignedDuration::from_secs(secs as i64), boot: Boottime::from_secs(secs) };
        let mut learned = per_minute(60);
        assert_eq!(learned.to_record(now(0)), None);
        learned.meets(REFUSED, secs(100), secs(100));
        learned.meets(REFUSED, secs(170), secs(170));
        let record = learned.to_record(now(200)).unwrap();
        // In the next boot this instant is 50.
        let rebooted = Now { boot: secs(50), ..now(200) };
        let mut restored = per_minute(60);
        restored.restore(&record, rebooted);
        assert_eq!(restored.share(secs(50)), learned.share(secs(200)));
        for later in [0, 90, 210, 600, 3_000] {
            assert_eq!(restored.share(secs(50 + later)), learned.share(secs(200 + later)), "{later} s later");
        }
        assert_eq!(restored.meets(REFUSED, secs(200), secs(200)).unwrap().own_pause.unwrap().1, 3, "the third in a row");
        let set_back = Now { wall: "1999-01-01T00:00:00Z".parse().unwrap(), boot: secs(50) };
        let mut restored = per_minute(60);
        restored.restore(&record, set_back);
        assert_eq!(restored.share(secs(50 + 3_600)), None, "nothing lasts longer than it would have");
    }

    /// What happens to a source, each at some milliseconds after the one before.
    #[derive(Clone, Debug)]
    enum Step {
        Ask { charged: u32 },
        Settle { which: usize, unsent: bool },
        Hear { id: u32, left: Option<u32>, renewed_s: Option<u64>, policy: Option<(u32, u64)> },
        Refused { told_s: Option<u64> },
        NoAnswer,
    }

    fn step() -> impl Strategy<Value = Step> {
        let some = || prop::option::of(0_u64..100);
        prop_oneof![
            6 => (0_u32..4).prop_map(|charged| Step::Ask { charged }),
            4 => (any::<usize>(), any::<bool>()).prop_map(|(which, unsent)| Step::Settle { which, unsent }),
            2 => (0_u32..3, prop::option::of(0_u32..9), some(), prop::option::of((1_u32..20, 1_u64..90)))
                .prop_map(|(id, left, renewed_s, policy)| Step::Hear { id, left, renewed_s, policy }),
            1 => some().prop_map(|told_s| Step::Refused { told_s }),
            1 => Just(Step::NoAnswer),
        ]
    }

    proptest! {
        #[test]
        fn what_is_learned_never_lets_more_through(steps in prop::collection::vec((0_u64..20_000, step()), 1..120)) {
            let window = |requests, secs| Window { requests, span: Duration::from_secs(secs) };
            let limits = Limits { windows: vec![window(3, 1), window(20, 60)], in_flight: Some(4), ..Limits::default() };
            let new = || Limiter::new(&[("one".into(), limits.clone())], &Limits::default());
            let (mut learned, mut plain) = (new(), new());
            let (source, mut now, mut asked, mut out) = (SourceIx(0), secs(100), secs(100), Vec::new());
            for (millis, step) in steps {
                now = now + Duration::from_millis(millis);
                match step {
                    Step::Ask { charged } => {
                        let ask = if charged == 0 { Ask::one(source) } else { Ask::charged(source, charged) };
                        match learned.try_acquire(&ask, now) {
                            Ok(permit) => {
                                let same = plain.try_acquire(&ask, now);
                                prop_assert!(same.is_ok(), "{:?} is refused by what is declared: {:?}", ask, same);
                                learned.sends(source, now);
                                prop_assert_eq!(learned.sent(permit.id, now), plain.sent(permit.id, now));
                                asked = now;
                                out.push(permit.id);
                            }
                            Err(HoldOff::Until { at, .. }) => {
                                prop_assert!(at > now);
                                prop_assert_eq!(learned.could_acquire(&ask, at), Ok(()), "it holds off for longer than it said");
                            }
                            Err(_) => {}
                        }
                    }
                    Step::Settle { which, unsent } => {
                        if !out.is_empty() {
                            let permit = out.swap_remove(which % out.len());
                            let how = if unsent { Settlement::Unsent } else { Settlement::ArrivedBy(now) };
                            learned.settle(permit, how, now);
                            plain.settle(permit, how, now);
                        }
                    }
                    Step::Hear { id, left, renewed_s, policy } => drop(learned.hears(source, quotas(id, left, renewed_s, policy), now)),
                    Step::Refused { told_s } => {
                        let told = told_s.map(|told| now + Duration::from_secs(told));
                        told.into_iter().for_each(|told| learned.pause(source, told));
                        learned.meets(source, Sign::Refused { told }, asked, now);
                    }
                    Step::NoAnswer => drop(learned.meets(source, Sign::NoAnswer, asked, now)),
                }
            }
        }
    }
}
