//! What the engine has done so far, for displays and the closing summary. Nothing is decided from these.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use adce_core::gap::Outcome;
use adce_core::ids::AttemptId;
use adce_core::ports::{Answer, PermitId, Progress, Settlement};
use adce_core::queue::{Charge, Paid, Start};
use adce_core::record::{AttemptRecord, ProcessRecord};
use adce_core::time::{Boottime, Now, Timestamp};
use adce_core::traffic::Traffic;
use indexmap::IndexMap;

use crate::asking::Asking;
use crate::guests::GuestBook;
use crate::snapshot::{FailureLine, RunningLine, Totals, UncoveredLine, what};

/// How many of the latest failures are kept for display.
const RECENT: usize = 5;
/// The rate of the last half minute tells when the rest will be done.
const RATE_SPAN: Duration = Duration::from_secs(30);
/// A crawler asks thousands; which ones is not news any more.
const UNCOVERED_AT_MOST: usize = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(90);
/// A snapshot looks at every gap, and whoever makes it has the helm: so many times as long nobody makes another.
const REST_AFTER_SHOWING: u32 = 50;

pub(crate) struct Figures {
    pub totals: Totals,
    pub sources: IndexMap<String, SourceUse>,
    pub recent: VecDeque<FailureLine>,
    /// Of those that started for the first time.
    pub longest_wait: Duration,
    pub started: Now,
    running: IndexMap<AttemptId, Underway>,
    /// By collector and host.
    uncovered: IndexMap<(String, String), Uncovered>,
    pub guests: GuestBook,
    permits: HashMap<PermitId, Sent>,
    closed: VecDeque<Boottime>,
    /// When the windows were looked at last.
    looked: Boottime,
    shows_next: Boottime,
}

/// Requests to a host of no source, and connections that nobody can look into.
#[derive(Default)]
struct Uncovered {
    passed: u64,
    refused: u64,
}

/// What was asked of one source.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceUse {
    /// Charged ahead, or sent.
    pub requests: u64,
    pub throttled: u64,
    /// The day of the last of them, and how many there were that day.
    throttled_day: (Option<jiff::civil::Date>, u64),
    pub waited: Duration,
    /// Without what passed the gateway, which it counts itself.
    pub traffic: Traffic,
    /// Requests that wait now.
    pub asking: u64,
    /// The fullest that each window was seen with requests of this run, in the order of the limits.
    pub most: Vec<u64>,
    settled: u64,
    settling: Duration,
}

impl SourceUse {
    fn was_throttled(&mut self, at: Timestamp) {
        let day = Some(day_of(at));
        let so_far = if self.throttled_day.0 == day { self.throttled_day.1 } else { 0 };
        self.throttled += 1;
        self.throttled_day = (day, so_far + 1);
    }

    /// Answers of 429 on the day (UTC) of this instant.
    pub fn throttled_on(&self, at: Timestamp) -> u64 {
        if self.throttled_day.0 == Some(day_of(at)) { self.throttled_day.1 } else { 0 }
    }

    /// From sent to settled, on average.
    pub fn mean_settle(&self) -> Duration {
        if self.settled == 0 { Duration::ZERO } else { self.settling.div_f64(self.settled as f64) }
    }
}

fn day_of(at: Timestamp) -> jiff::civil::Date {
    at.to_zoned(jiff::tz::TimeZone::UTC).date()
}

struct Underway {
    line: RunningLine,
    traffic: Traffic,
    source: Option<String>,
    /// Paid for before the start.
    ahead: u32,
    /// Of these, the ones that were sent through adce and have settled, and when the last of them did.
    seen: u32,
    last_seen: Boottime,
    since: Boottime,
    progress: LatestProgress,
}

/// Written by an attempt while it runs, read when somebody looks: one that tells a million times costs the loop nothing.
#[derive(Clone, Default)]
pub(crate) struct LatestProgress(Arc<Mutex<Option<Progress>>>);

impl LatestProgress {
    pub fn set(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    fn get(&self) -> Option<Progress> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Underway {
    /// Until when what was charged ahead counts in full.
    fn charged_until(&self, now: Boottime) -> Boottime {
        if self.seen >= self.ahead { self.last_seen } else { now }
    }
}

/// A request that is on its way.
struct Sent {
    attempt: AttemptId,
    source: String,
    at: Boottime,
    paid: Paid,
}

impl Figures {
    pub fn new<'a>(sources: impl Iterator<Item = &'a String>, now: Now) -> Self {
        Figures {
            totals: Totals::default(),
            sources: sources.map(|name| (name.clone(), SourceUse::default())).collect(),
            recent: VecDeque::new(),
            longest_wait: Duration::ZERO,
            started: now,
            running: IndexMap::new(),
            uncovered: IndexMap::new(),
            guests: GuestBook::default(),
            permits: HashMap::new(),
            closed: VecDeque::new(),
            looked: Boottime::default(),
            shows_next: Boottime::default(),
        }
    }

    /// Those of another config. What was counted stays; how full their windows were is counted anew, for these may be others.
    pub fn sources_are<'a>(&mut self, sources: impl Iterator<Item = &'a String>) {
        for name in sources {
            self.sources.entry(name.clone()).or_default().most.clear();
        }
    }

    /// Where the attempt says how far it is.
    pub fn started(&mut self, start: &Start, now: Now) -> LatestProgress {
        self.totals.attempts += 1;
        // A retry waits because it is to wait.
        if start.gaps.iter().all(|gap| gap.progress.attempts_total == 0) {
            let since = start.task.detected_at.max(self.started.wall);
            let waited = Duration::try_from(now.wall.duration_since(since)).unwrap_or_default();
            self.longest_wait = self.longest_wait.max(waited);
        }
        let ahead = match start.charge {
            Charge::Ahead(requests) => requests,
            Charge::Nothing | Charge::First(_) => 0,
        };
        if let Some(figures) = start.task.source.as_ref().and_then(|source| self.sources.get_mut(source)) {
            figures.requests += u64::from(ahead);
        }
        self.totals.requests += u64::from(ahead);
        let line = RunningLine {
            attempt: start.attempt,
            task: start.task.id,
            collector: start.task.collector.clone(),
            source: start.task.source.clone(),
            number: start.gaps.first().map_or(1, |gap| gap.progress.attempts_total + 1),
            what: what(&start.task),
            started_at: now.wall,
            items: start.gaps.len() as u64,
            requests: u64::from(ahead),
            process_group: None,
            progress: None,
        };
        let progress = LatestProgress::default();
        let underway = Underway {
            line,
            traffic: Traffic::default(),
            source: start.task.source.clone(),
            ahead,
            seen: 0,
            last_seen: now.boot,
            since: now.boot,
            progress: progress.clone(),
        };
        self.running.insert(start.attempt, underway);
        progress
    }

    pub fn forgotten(&mut self, attempt: AttemptId) {
        self.running.shift_remove(&attempt);
    }

    /// It is as if it had never started.
    pub fn given_back(&mut self, attempt: AttemptId) {
        self.forgotten(attempt);
        self.totals.attempts -= 1;
    }

    pub fn process(&mut self, process: &ProcessRecord) {
        if let Some(underway) = self.running.get_mut(&process.attempt) {
            underway.line.process_group = Some(process.process_group);
        }
    }

    pub fn ended(&mut self, record: &AttemptRecord, now: Now) {
        let Some(underway) = self.running.shift_remove(&record.attempt) else { return };
        let source = underway.source.as_ref().and_then(|source| self.sources.get_mut(source));
        if let Some(figures) = source.filter(|_| underway.ahead > 0) {
            figures.settled += u64::from(underway.ahead);
            figures.settling += underway.charged_until(now.boot).since(underway.since) * underway.ahead;
        }
        let filled = record.outcomes.iter().any(|(_, outcome)| !matches!(outcome, Outcome::Failed(_)));
        if !filled {
            self.totals.failed += 1;
        }
    }

    pub fn outcome(&mut self, outcome: &Outcome, now: Now) {
        match outcome {
            Outcome::Done { .. } | Outcome::Unchanged => {
                self.totals.filled += 1;
            }
            Outcome::Absent => {
                self.totals.absent += 1;
            }
            Outcome::Failed(_) | Outcome::Split => return,
        }
        self.closed.push_back(now.boot);
    }

    pub fn failure(&mut self, at: Timestamp, key: &str, message: &str) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(FailureLine { at, key: key.to_owned(), message: message.to_owned() });
    }

    /// What was charged ahead was counted at the start.
    pub fn sent(&mut self, permit: PermitId, paid: Paid, asked: &Asking, now: Now) {
        let counts = u64::from(paid == Paid::Now);
        let waited = now.boot.since(asked.since);
        self.totals.requests += counts;
        if let Some(figures) = self.sources.get_mut(&asked.source) {
            figures.requests += counts;
            figures.waited += waited;
            figures.traffic.sent(waited);
        }
        if let Some(underway) = self.running.get_mut(&asked.attempt) {
            underway.line.requests += counts;
            underway.traffic.sent(waited);
        }
        self.guests.sent(asked.attempt, &asked.source, waited);
        self.permits.insert(permit, Sent { attempt: asked.attempt, source: asked.source.clone(), at: now.boot, paid });
    }

    pub fn settled(&mut self, permit: PermitId, how: Settlement) {
        let Some(Sent { attempt, source, at: sent, paid }) = self.permits.remove(&permit) else { return };
        self.guests.settled(attempt, &source, paid, how);
        let Some(figures) = self.sources.get_mut(&source) else { return };
        let mut underway = self.running.get_mut(&attempt);
        if how == Settlement::Unsent {
            figures.traffic.unsent();
            underway.iter_mut().for_each(|underway| underway.traffic.unsent());
        }
        match (paid, how) {
            (Paid::Now, Settlement::ArrivedBy(at)) => {
                figures.settled += 1;
                figures.settling += at.since(sent);
            }
            (Paid::Now, Settlement::Unsent) => {
                figures.requests -= 1;
                self.totals.requests -= 1;
                underway.into_iter().for_each(|underway| underway.line.requests -= 1);
            }
            (Paid::Ahead, Settlement::ArrivedBy(at)) => underway.into_iter().for_each(|underway| {
                underway.seen += 1;
                underway.last_seen = underway.last_seen.max(at);
            }),
            (Paid::Ahead, Settlement::Unsent) => {}
        }
    }

    /// Requests of an attempt, or of a guest, that are not settled.
    pub fn under_way(&self, attempt: AttemptId) -> usize {
        self.permits.values().filter(|sent| sent.attempt == attempt).count()
    }

    pub fn answered(&mut self, attempt: AttemptId, source: &str, answer: Answer, at: Timestamp) {
        self.guests.answered(attempt, source, answer);
        if let Some(underway) = self.running.get_mut(&attempt) {
            underway.traffic.answered(&answer);
        }
        let Some(figures) = self.sources.get_mut(source) else { return };
        figures.traffic.answered(&answer);
        if matches!(answer, Answer::Status { code: 429, .. }) {
            figures.was_throttled(at);
        }
    }

    /// A host was asked that no source declares, or would have been.
    pub fn uncovered(&mut self, attempt: AttemptId, host: String, passed: bool) {
        if self.guests.uncovered(attempt, &host, passed) {
            return;
        }
        let Some(underway) = self.running.get_mut(&attempt) else { return };
        underway.traffic.uncovered(&host, passed);
        let collector = underway.line.collector.clone();
        let is_known = self.uncovered.contains_key(&(collector.clone(), host.clone()));
        if !is_known && self.uncovered.len() == UNCOVERED_AT_MOST {
            return;
        }
        if !is_known {
            let what = if passed { "asks" } else { "was refused" };
            tracing::warn!("collector `{collector}` {what} `{host}`, which no source declares");
        }
        let count = self.uncovered.entry((collector, host)).or_default();
        *(if passed { &mut count.passed } else { &mut count.refused }) += 1;
    }

    pub fn uncovered_lines(&self) -> Vec<UncoveredLine> {
        let line = |((collector, host), count): (&(String, String), &Uncovered)| UncoveredLine {
            collector: collector.clone(),
            host: host.clone(),
            passed: count.passed,
            refused: count.refused,
        };
        self.uncovered.iter().map(line).collect()
    }

    /// Notes how full the source's windows are now. What an earlier run left in them counts there for as much and as long as it
    /// possibly may, which says nothing about how full they were.
    pub fn windows(&mut self, source: &str, used: impl Iterator<Item = u64>) {
        let Some(figures) = self.sources.get_mut(source) else { return };
        for (at, used) in used.enumerate() {
            let used = used.min(figures.requests);
            match figures.most.get_mut(at) {
                Some(most) => *most = used.max(*most),
                None => figures.most.push(used),
            }
        }
    }

    /// The sources of all requests that wait now.
    pub fn asking<'a>(&mut self, waiting: impl Iterator<Item = &'a str>) {
        self.sources.values_mut().for_each(|figures| figures.asking = 0);
        for source in waiting {
            if let Some(figures) = self.sources.get_mut(source) {
                figures.asking += 1;
            }
        }
    }

    /// Requests that an attempt was charged for so far.
    pub fn requests_of(&self, attempt: AttemptId) -> u64 {
        self.running.get(&attempt).map_or(0, |underway| underway.line.requests)
    }

    /// What an attempt that has ended sent, with the bytes that whoever moved them has counted; `None`: nothing. `is_fetched`: it was
    /// adce that moved them, and no gateway.
    pub fn traffic_of(&mut self, attempt: AttemptId, counted: Option<Box<Traffic>>, is_fetched: bool) -> Option<Box<Traffic>> {
        let underway = self.running.get_mut(&attempt);
        let source = underway.as_ref().and_then(|underway| underway.source.as_ref()).filter(|_| is_fetched);
        let source = source.and_then(|source| self.sources.get_mut(source));
        let passed = counted.map(|counted| counted.passed).unwrap_or_default();
        source.into_iter().for_each(|source| source.traffic.passed += passed);
        let mut traffic = underway.map(|underway| std::mem::take(&mut underway.traffic)).unwrap_or_default();
        traffic.passed += passed;
        (!traffic.is_empty()).then(|| Box::new(traffic))
    }

    pub fn running(&self) -> Vec<RunningLine> {
        self.running.values().map(|underway| RunningLine { progress: underway.progress.get(), ..underway.line.clone() }).collect()
    }

    /// How far a running attempt says it is.
    pub fn progress_of(&self, attempt: AttemptId) -> Option<Progress> {
        self.running.get(&attempt)?.progress.get()
    }

    /// When `open` gaps will be closed at the rate of the last half minute, but not before the limits admit it; `None` before
    /// enough is known of either.
    pub fn eta(&mut self, open: u64, limits_take: Duration, now: Now) -> Option<Timestamp> {
        const ENOUGH: usize = 5;
        while self.closed.front().is_some_and(|at| now.boot.since(*at) > RATE_SPAN) {
            self.closed.pop_front();
        }
        let first = self.closed.front().filter(|_| self.closed.len() >= ENOUGH && open > 0);
        let by_rate = first.map(|first| {
            let span = now.boot.since(*first).max(Duration::from_secs(1));
            span.mul_f64(open as f64 / self.closed.len() as f64)
        });
        let left = by_rate.max(Some(limits_take).filter(|span| !span.is_zero()))?;
        Some(now.wall_at(now.boot + left))
    }

    pub fn is_time_to_look(&mut self, now: Now) -> bool {
        let due = now.boot.since(self.looked) >= BETWEEN_LOOKS;
        if due {
            self.looked = now.boot;
        }
        due
    }

    pub fn is_time_to_show(&self, now: Now) -> bool {
        now.boot >= self.shows_next
    }

    pub fn showed(&mut self, began: Now, ended: Now) {
        self.shows_next = ended.boot + ended.boot.since(began.boot) * REST_AFTER_SHOWING;
    }
}

#[cfg(test)]
mod tests {
    use adce_core::time::Timestamp;

    use super::*;

    fn at(ms: u64) -> Now {
        let boot = Boottime::from_micros(ms * 1_000);
        Now { wall: Timestamp::from_microsecond(1_741_500_000_000_000 + ms as i64 * 1_000).unwrap(), boot }
    }

    #[test]
    fn a_snapshot_that_takes_long_is_not_made_again_at_once() {
        let mut figures = Figures::new([].iter(), at(0));
        assert!(figures.is_time_to_show(at(1_000)));
        figures.showed(at(1_000), at(1_060));
        assert!(!figures.is_time_to_show(at(4_059)) && figures.is_time_to_show(at(4_060)), "a fiftieth of the time");
        assert!(figures.is_time_to_look(at(1_100)), "windows are looked at all the same");
    }

    #[test]
    fn nothing_is_done_before_the_limits_admit_it() {
        let mut figures = Figures::new([].iter(), at(0));
        let after = |eta: Option<Timestamp>, now: Now| eta.map(|eta| eta.duration_since(now.wall).as_millis());
        let minutes = Duration::from_secs(140);
        assert_eq!(figures.eta(70, Duration::ZERO, at(0)), None);
        assert_eq!(after(figures.eta(70, minutes, at(0)), at(0)), Some(140_000), "nothing was closed yet");
        figures.closed.extend((0..30).map(|number| at(number * 60).boot));
        assert_eq!(after(figures.eta(70, Duration::ZERO, at(1_800)), at(1_800)), Some(4_200));
        assert_eq!(after(figures.eta(70, minutes, at(1_800)), at(1_800)), Some(140_000));
    }
}
