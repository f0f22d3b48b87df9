//! What refusals teach of a source, told again: pauses that double, and a rate that falls and comes back in steps.
//!
//! An incident is a 429 or 503, or too many requests without an answer among those of some 30 s at half the full rate or
//! more. Who was granted its last request before the last incident tells nothing new.

use std::collections::HashMap;

use adce_core::ids::AttemptId;
use adce_core::record::LearnedRecord;
use adce_core::spec::Limits;

use crate::facts::Moment;
use crate::scenario::{MINUTE, Micros, SECOND};

pub struct Lessons {
    /// From one request to the next; `None`: no windows.
    full: Option<Micros>,
    shortest: Micros,
    asked: HashMap<AttemptId, Micros>,
    /// Whole seconds since boot, since the last incident.
    sent: Vec<u64>,
    hung: Vec<u64>,
    last_incident: Option<Micros>,
    /// How many in a row, how long, until when.
    pause: Option<(u32, Micros, Micros)>,
    slower: Option<Slower>,
    /// The last request was granted then, for so many.
    last: Option<(Micros, Micros)>,
}

struct Slower {
    full: Micros,
    thousandths: u64,
    since: Micros,
    round: Micros,
}

impl Lessons {
    pub fn new(limits: &Limits) -> Self {
        let spread = limits.windows.iter().map(|window| (window.span.as_micros() as Micros).div_ceil(Micros::from(window.requests)));
        let shortest = limits.windows.iter().map(|window| window.span.as_micros() as Micros).min().unwrap_or(MINUTE);
        Lessons {
            full: spread.max(),
            shortest: shortest.clamp(SECOND, MINUTE),
            asked: HashMap::new(),
            sent: Vec::new(),
            hung: Vec::new(),
            last_incident: None,
            pause: None,
            slower: None,
            last: None,
        }
    }

    pub fn restart(&mut self, limits: &Limits, record: Option<&LearnedRecord>, moment: Moment) {
        *self = Lessons::new(limits);
        let Some(record) = record else { return };
        let boot = moment.now.boot.as_micros() as i64;
        // Nobody knows instants before this boot, nor believes a clock that was set back for longer than it would have lasted.
        let at = |wall: adce_core::time::Timestamp, at_most: Micros| {
            let ahead = wall.duration_since(moment.now.wall).as_micros() as i64;
            let ahead = ahead.clamp(-boot, at_most as i64);
            (moment.at as i64 + ahead).max(0) as Micros
        };
        self.pause = record.pause_ends.map(|ends| {
            let length = record.pause_seconds * SECOND;
            (record.pauses_in_a_row, length, at(ends, length))
        });
        self.slower = record.since.map(|since| Slower {
            full: self.full.unwrap_or(record.full_rate_micros),
            thousandths: u64::from(record.share_permille),
            since: at(since, record.round_micros),
            round: record.round_micros,
        });
    }

    fn thousandths(&self, at: Micros) -> u64 {
        self.slower.as_ref().map_or(1_000, |slower| (slower.thousandths + at.saturating_sub(slower.since) / slower.round * 50).min(1_000))
    }

    fn interval(&self, at: Micros) -> Option<Micros> {
        let thousandths = self.thousandths(at);
        self.slower.as_ref().filter(|_| thousandths < 1_000).map(|slower| (slower.full * 1_000).div_ceil(thousandths))
    }

    /// Until when the learned rate lets nothing through.
    pub fn refuses_until(&self, at: Micros) -> Option<Micros> {
        self.last.map(|(_, until)| until).filter(|until| *until > at)
    }

    pub fn granted(&mut self, requests: u32, at: Micros) {
        self.last = self.interval(at).map(|interval| (at, at + interval * Micros::from(requests))).or(self.last);
    }

    /// The one that was granted then was not sent.
    pub fn unsent(&mut self, granted: Micros, at: Micros) {
        if self.last.is_some_and(|(last, _)| last == granted) {
            self.last = Some((granted, at));
        }
    }

    pub fn asks(&mut self, who: AttemptId, moment: Moment) {
        self.asked.insert(who, moment.at);
        let second = moment.now.boot.as_micros() / SECOND;
        self.sent.push(second);
        self.sent.retain(|sent| sent + 15 * 60 >= second);
        self.hung.retain(|sent| sent + 15 * 60 >= second);
    }

    pub fn ended(&mut self, who: AttemptId) {
        self.asked.remove(&who);
    }

    /// 429 or 503; `told`: until when upstream asked to be left alone. The answer: a pause of our own.
    pub fn refused(&mut self, who: AttemptId, told: Option<Micros>, moment: Moment) -> Option<Micros> {
        self.is_news(who)?;
        self.incident(told.filter(|until| *until > moment.at), moment)
    }

    pub fn no_answer(&mut self, who: AttemptId, moment: Moment) -> Option<Micros> {
        let asked = self.is_news(who)?;
        let second = (moment.now.boot.as_micros() - (moment.at - asked)) / SECOND;
        if !self.sent.contains(&second) {
            return None;
        }
        self.hung.push(second);
        let interval = self.interval(moment.at).or(self.full);
        let too_many = (second..second + 30).any(|last| {
            let within = |all: &[u64]| all.iter().filter(|second| **second <= last && **second + 30 > last).count() as u64;
            let (sent, hung) = (within(&self.sent), within(&self.hung));
            hung >= 3 && hung * 5 >= sent && interval.is_none_or(|interval| interval * sent * 2 >= 30 * SECOND)
        });
        if too_many { self.incident(None, moment) } else { None }
    }

    fn is_news(&self, who: AttemptId) -> Option<Micros> {
        let asked = *self.asked.get(&who)?;
        self.last_incident.is_none_or(|last| asked > last).then_some(asked)
    }

    fn incident(&mut self, told: Option<Micros>, moment: Moment) -> Option<Micros> {
        let at = moment.at;
        let own = told.is_none().then(|| {
            let before = self.pause.filter(|(_, length, ends)| at < ends + 2 * length).map_or(0, |(in_a_row, ..)| in_a_row);
            let length = (MINUTE << before.min(16)).min(120 * MINUTE);
            self.pause = Some((before + 1, length, at + length));
            at + length
        });
        let ends = told.or(own).expect("one of the two");
        let second = moment.now.boot.as_micros() / SECOND;
        let of_late = self.sent.iter().filter(|sent| **sent + 30 > second).count().max(1) as Micros;
        let thousandths = self.thousandths(at);
        let full = match &self.slower {
            Some(slower) if thousandths < 1_000 => slower.full,
            _ => self.full.unwrap_or((30 * SECOND).div_ceil(of_late)),
        };
        let thousandths = if told.is_some() { thousandths * 3 / 4 } else { thousandths / 2 }.max(50);
        self.slower = Some(Slower { full, thousandths, since: ends, round: self.shortest.max((ends - at).min(120 * MINUTE)) });
        self.last_incident = Some(at);
        self.sent.clear();
        self.hung.clear();
        own
    }
}
