//! What happens between a start and its end: permits for further requests, what sources answer, and what becomes of
//! the gaps.
//!
//! Failures that are the source's fault use up no attempt. That is taken at its word where the outcome says so, and seen
//! where it does not: an attempt that failed right after the source refused it, or while a breaker or a pause kept its
//! request waiting, failed for that reason (`what_the_source_refused_uses_up_no_attempt`).
//!
//! Nobody holds a slot for a source that is shut if he can let it go: an attempt whose requests adce itself sends, and that has
//! sent none, is as if it had never started (`a_breaker_that_opens_between_pick_and_first_request_gives_the_attempt_back`),
//! and one that has ends with what it has. A command runs, and waits; only where nothing else is left to be done, or the run is
//! to end, it is refused a request that would wait for longer than a moment, and uses up no attempt by that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::blame::{Blame, OfCollector, Told};
use super::book::{BucketIx, GapSlot, Phase};
use super::dispatcher::{Attempt, Holder, Stage, mark_of};
use super::form::{Edit, terms};
use super::grants::Under;
use super::retry::{self, GapFacts, Next};
use super::{Acquire, Dispatcher, Gate, Paid, Prospect};
use crate::gap::{Failure, Fault, Outcome, Progress, Reason};
use crate::ids::{AttemptId, GapId, ItemId, TaskId, ValueId};
use crate::limits::breaker::{self, Turn};
use crate::limits::learned::Sign;
use crate::limits::{Ask, SourceIx, retry_after};
use crate::ports::{Answer, PermitId, RetryAfter, Settlement};
use crate::queue::classes::{TaskSlot, Was};
use crate::record::{Change, Closed, Event, ItemRecord, SourceRecord};
use crate::spec::PriorityLevel;
use crate::time::{Boottime, Now, Timestamp};

/// A pause that is over by then is not worth ending an attempt that has begun its work.
const WORTH_WAITING: Duration = Duration::from_secs(5);

impl Dispatcher {
    /// The lease was not written: the task is queued again, its permits are given back.
    pub fn lease_refused(&mut self, attempt: AttemptId, now: Now) -> Vec<Change> {
        self.did_not_start(attempt, now)
    }

    /// All is as before its start.
    fn did_not_start(&mut self, attempt: AttemptId, now: Now) -> Vec<Change> {
        let Some(ended) = self.no_longer_runs(attempt) else { return Vec::new() };
        let mut changes = self.give_back(attempt, &ended, Settlement::Unsent, now);
        self.leaves(attempt, Some(ended.task), now);
        self.cycle.did_not_start(self.priority_of_task(ended.task));
        self.book.task_mut(ended.task).phase = Phase::Loose;
        let mut edit = Edit::default();
        edit.touched.insert(ended.task, Was::default());
        changes.extend(self.finish(edit, now));
        if self.is_deserted() {
            changes.extend(self.grants.close_all(now));
        }
        changes
    }

    /// One request of a running attempt, or of a guest, wants to be sent. The permit held since the start is handed out first.
    pub fn acquire(&mut self, attempt: AttemptId, source: &str, now: Now) -> Acquire {
        if !self.running.contains_key(&attempt) && !self.guests.contains(&attempt) {
            return Acquire::NoSuchAttempt;
        }
        let Some(source) = self.source_ix(source) else { return Acquire::NoSuchSource };
        if let Some((gate, until)) = self.shut_for(attempt, source, now) {
            if self.gives_up(attempt, source, &gate, until, now) {
                return Acquire::GiveUp { gate };
            }
            self.waits(attempt, source, true, now);
            return Acquire::Wait { gate, until };
        }
        let terms = self.terms_of(attempt, source);
        let is_the_first = matches!(terms, Terms::First(_));
        let granted = match terms {
            Terms::First(permit) => {
                self.running.get_mut(&attempt).expect("it runs").first_permit = None;
                Ok((permit, None, Paid::Now))
            }
            Terms::Charged(charge, needs) => self.grants.take_under(charge, needs, now.boot).map(|permit| (permit, None, Paid::Ahead)),
            Terms::Full => {
                let ask = self.one_request(attempt, source);
                self.grants.take(ask, now).map(|(permit, before)| (permit, before, Paid::Now))
            }
        };
        match granted {
            Ok((permit, before, paid)) => {
                self.goes_ahead(attempt, source, permit, paid, now);
                self.draws(attempt, source, is_the_first, now.boot);
                Acquire::Granted { permit, before, paid }
            }
            Err(refusal) => {
                self.waits(attempt, source, false, now);
                Acquire::Wait { gate: self.limit_gate_of(attempt, source, &refusal), until: refusal.at() }
            }
        }
    }

    /// Whose a request of this attempt to this source is; `None`: the source tells nobody apart.
    pub fn whose(&self, attempt: AttemptId, source: &str) -> Option<ValueId> {
        let source = self.source_ix(source)?;
        self.rules.told_apart(source)?;
        Some(self.value_of(attempt, source).unwrap_or_default())
    }

    /// What the next request of an attempt to this source needs.
    fn terms_of(&self, attempt: AttemptId, source: SourceIx) -> Terms {
        let Some(running) = self.running.get(&attempt).filter(|running| self.source_of(running.task) == Some(source)) else {
            return Terms::Full;
        };
        let charged = || running.charge.and_then(|charge| Some(Terms::Charged(charge, self.grants.ask_under(charge)?)));
        running.first_permit.map(Terms::First).or_else(charged).unwrap_or(Terms::Full)
    }

    /// The next request of the attempt to this source was paid with its start. It never waits for one that was not, which
    /// may itself wait for what this attempt holds.
    pub fn has_paid(&self, attempt: AttemptId, source: &str) -> bool {
        self.source_ix(source).is_some_and(|source| !matches!(self.terms_of(attempt, source), Terms::Full))
    }

    /// Whether the limit that a request of this attempt waits for is all that keeps it from going on: nothing of it is
    /// under way, and it holds no permit that somebody else may be waiting for. Otherwise its time is its own: two that
    /// hold what the other waits for would wait for ever.
    pub fn is_held_up(&self, attempt: AttemptId, source: &str) -> bool {
        let Some(running) = self.running.get(&attempt) else { return false };
        let charged = running.charge.is_some_and(|charge| self.grants.is_charged(charge));
        // What a charge is in, nobody waits for who has one for the same source and waits for his distance to others.
        running.under_way == 0 && running.first_permit.is_none() && (!charged || self.has_paid(attempt, source))
    }

    /// What a request that waits for a limit is waiting for; `None`: it waits for its source, and takes no permit from
    /// anybody meanwhile.
    pub(super) fn ask_of_waiter(&self, attempt: AttemptId, source: SourceIx, now: Now) -> Option<Ask> {
        if self.shut_for(attempt, source, now).is_some() {
            return None;
        }
        match self.terms_of(attempt, source) {
            Terms::Full => Some(self.one_request(attempt, source)),
            Terms::Charged(_, Under::Ask(ask)) => Some(ask),
            Terms::First(_) | Terms::Charged(_, Under::NothingMore) => None,
        }
    }

    pub(super) fn one_request(&self, attempt: AttemptId, source: SourceIx) -> Ask {
        Ask::one(source).of(self.priority_of(attempt)).by(self.value_of(attempt, source))
    }

    fn goes_ahead(&mut self, attempt: AttemptId, source: SourceIx, permit: PermitId, paid: Paid, now: Now) {
        let value = self.value_of(attempt, source);
        self.asks_for_value(attempt, source, value, now.boot);
        let state = &mut self.sources[source.0 as usize];
        state.breaker.started(attempt, now.boot);
        state.asked.insert(attempt, now.boot);
        let learner = self.learner(source, value);
        self.grants.sends(source, learner, now.boot);
        self.waiters.remove(&(source, attempt));
        self.holders.insert(permit, Holder { attempt, source, sent: None });
        let Some(running) = self.running.get_mut(&attempt) else { return };
        running.met.shut_out = false;
        running.under_way += 1;
        running.requests += u64::from(paid == Paid::Now);
    }

    /// How long it worked for one more permit of its source.
    fn draws(&mut self, attempt: AttemptId, source: SourceIx, is_the_first: bool, now: Boottime) {
        let drawing = self.running.get_mut(&attempt).and_then(|running| running.drawing.as_mut());
        let Some(drawing) = drawing.filter(|drawing| drawing.kind.0 == source) else { return };
        match is_the_first {
            true => drawing.goes_on(now),
            false => {
                let turn = drawing.turns(now);
                self.habits.turned(drawing.kind, turn);
            }
        }
    }

    /// `shut_out`: behind a breaker or a pause. A guest ranks among no tasks, and so keeps none of them from its permits: whoever
    /// asks is granted before anything starts.
    fn waits(&mut self, attempt: AttemptId, source: SourceIx, shut_out: bool, now: Now) {
        let Some(running) = self.running.get_mut(&attempt) else { return };
        running.met.shut_out = shut_out;
        if let Some(drawing) = running.drawing.as_mut().filter(|drawing| drawing.kind.0 == source) {
            drawing.waits(now.boot);
        }
        self.waiters.insert((source, attempt));
    }

    /// As [`Acquire::GiveUp`], for one more request behind a gate that shut others out a moment ago.
    pub fn gives_up_at(&mut self, attempt: AttemptId, source: &str, gate: &Gate, until: Option<Boottime>, now: Now) -> bool {
        self.source_ix(source).is_some_and(|source| self.gives_up(attempt, source, gate, until, now))
    }

    /// Whether the attempt behind a shut source is to end instead of waiting there. A guest does as it likes.
    fn gives_up(&mut self, attempt: AttemptId, source: SourceIx, gate: &Gate, until: Option<Boottime>, now: Now) -> bool {
        let is_http = self.is_http(attempt);
        let Some(running) = self.running.get_mut(&attempt) else { return false };
        let is_long = |until: Boottime| until.since(now.boot) > WORTH_WAITING;
        let gives_up = match (gate, is_http) {
            (Gate::Limit { .. } | Gate::SetAside { .. }, _) => false,
            (Gate::Breaker { .. }, true) => true,
            (_, true) => !running.has_asked || until.is_none_or(is_long),
            // Without an end, a probe finds out just now.
            (_, false) => self.winds_down && until.is_some_and(is_long),
        };
        if gives_up {
            running.gave_up = true;
            // Whatever a command makes of it is the source's fault; adce's own client says itself what is whose.
            running.met.shut_out |= !is_http;
            if let Some(drawing) = running.drawing.as_mut().filter(|drawing| drawing.kind.0 == source) {
                drawing.waits(now.boot);
            }
            self.waiters.remove(&(source, attempt));
        }
        gives_up
    }

    fn is_http(&self, attempt: AttemptId) -> bool {
        let collector = self.running.get(&attempt).and_then(|running| self.book.bucket(self.book.task(running.task).bucket).collector);
        collector.is_some_and(|collector| self.rules.collectors[usize::from(collector)].is_http)
    }

    /// Its requests are sent by adce itself, and none has left: it can be as if it had never started.
    fn can_be_taken_back(&self, attempt: AttemptId) -> bool {
        self.running.get(&attempt).is_some_and(|running| !running.has_asked) && self.is_http(attempt)
    }

    /// It is to end, if it can be taken back.
    pub fn take_back(&mut self, attempt: AttemptId) -> bool {
        let can_be = self.can_be_taken_back(attempt);
        if let Some(running) = self.running.get_mut(&attempt).filter(|_| can_be) {
            running.gave_up = true;
        }
        can_be
    }

    /// It was told to end because its source is shut.
    pub fn gave_up(&self, attempt: AttemptId) -> bool {
        self.running.get(&attempt).is_some_and(|running| running.gave_up)
    }

    /// With such outcomes it is as if it had never started.
    pub fn is_given_back(&self, attempt: AttemptId, outcomes: &[(GapId, Outcome)]) -> bool {
        let was_stopped = |outcome: &Outcome| matches!(outcome, Outcome::Failed(failure) if failure.fault == Fault::Stopped);
        self.gave_up(attempt) && self.can_be_taken_back(attempt) && outcomes.iter().all(|(_, outcome)| was_stopped(outcome))
    }

    /// From now on, or for a moment, nobody is to wait for a source that is shut for long: everything is to end.
    pub fn wind_down(&mut self, winds_down: bool) {
        self.winds_down = winds_down;
    }

    /// All that is under way are requests that wait for sources that are shut, for longer than a gap is waited for; and there
    /// is nothing else to be done by then. Who waits for less is waited for.
    pub fn only_waits(&self, max_wait: Duration, now: Now) -> bool {
        let is_longer = |source, attempt| {
            let until = self.shut_for(attempt, source, now).and_then(|(_, until)| until);
            until.is_some_and(|until| until.since(now.boot) > max_wait)
        };
        let waits = |attempt: AttemptId, running: &Attempt| {
            let mut its = self.waiters.iter().filter(|(_, waiter)| *waiter == attempt).peekable();
            its.peek().is_some() && running.under_way == 0 && its.all(|(source, _)| is_longer(*source, attempt))
        };
        !self.running.is_empty()
            && self.running.iter().all(|(attempt, running)| running.stage == Stage::Collecting && waits(*attempt, running))
            && matches!(self.outlook(max_wait, now), Prospect::Later(_))
    }

    /// A probe asks on while its breaker is half open; everybody else waits for what it finds.
    fn shut_for(&self, attempt: AttemptId, source: SourceIx, now: Now) -> Option<(Gate, Option<Boottime>)> {
        let state = &self.sources[source.0 as usize];
        let by_source = match state.breaker.probe() == Some(attempt) {
            true => {
                let until = self.grants.limiter().paused_until(source, now.boot);
                until.map(|until| (self.pause_gate(source, until, now), Some(until)))
            }
            false => self.source_gate(source, now),
        };
        by_source.or_else(|| self.value_gate_for(attempt, source, now))
    }

    /// The order in which requests of these attempts are served: that of their tasks, the best one first. Who does not run
    /// is not among them.
    pub fn places(&self, attempts: impl Iterator<Item = AttemptId>, now: Now) -> HashMap<AttemptId, usize> {
        let attempts: BTreeSet<AttemptId> = attempts.collect();
        let ranked = attempts.into_iter().filter_map(|attempt| Some((self.rank_of(self.running.get(&attempt)?.task, now), attempt)));
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_unstable_by(|one, other| other.0.cmp(&one.0));
        ranked.into_iter().enumerate().map(|(place, (_, attempt))| (attempt, place)).collect()
    }

    /// That of the task which it runs; a guest has none.
    pub fn priority_of(&self, attempt: AttemptId) -> PriorityLevel {
        self.running.get(&attempt).map_or(PriorityLevel::default(), |running| self.priority_of_task(running.task))
    }

    fn source_of(&self, task: TaskSlot) -> Option<SourceIx> {
        self.book.bucket(self.book.task(task).bucket).source
    }

    /// The request behind an `Acquire::Wait` is no longer wanted.
    pub fn stops_waiting(&mut self, attempt: AttemptId, source: &str) {
        if let Some(source) = self.source_ix(source) {
            self.waiters.remove(&(source, attempt));
        }
    }

    /// What busy sources will need soon: to be written now, so that nobody waits for it then.
    pub fn reserve_ahead(&mut self, now: Now) -> Vec<Change> {
        self.grants.reserve_ahead(now)
    }

    /// A `Change::Reserve` with this id is durable.
    pub fn reserved(&mut self, reservation: u64) {
        self.grants.reserved(reservation);
    }

    /// The request's first byte leaves now. `Some`: it must not, because the source was paused meanwhile; ask again then.
    pub fn sent(&mut self, permit: PermitId, now: Now) -> Option<Boottime> {
        match self.grants.sent(permit, now.boot) {
            Ok(()) => {
                self.wake_whose(permit);
                if let Some(holder) = self.holders.get_mut(&permit) {
                    holder.sent.get_or_insert(now.boot);
                    if let Some(running) = self.running.get_mut(&holder.attempt) {
                        running.has_asked = true;
                    }
                }
                None
            }
            Err(paused) => paused.at(),
        }
    }

    /// Once for every permit handed out.
    pub fn settle(&mut self, permit: PermitId, how: Settlement, now: Now) -> Vec<Change> {
        if let Some(holder) = self.holders.remove(&permit) {
            if let Some(running) = self.running.get_mut(&holder.attempt) {
                running.under_way -= 1;
            }
            if let (Some(sent), Settlement::ArrivedBy(at)) = (holder.sent, how) {
                self.habits.answered(holder.source, at.since(sent));
            }
        }
        self.settle_permit(permit, how, now)
    }

    /// What its value has left may be more afterwards.
    fn settle_permit(&mut self, permit: PermitId, how: Settlement, now: Now) -> Vec<Change> {
        let whose = self.grants.whose(permit);
        let changes = self.grants.settle(permit, how, now);
        self.wake_value(whose);
        changes
    }

    fn wake_whose(&mut self, permit: PermitId) {
        self.wake_value(self.grants.whose(permit));
    }

    fn wake_value(&mut self, whose: Option<(SourceIx, ValueId)>) {
        if let Some((source, value)) = whose {
            self.classes.wake_value(source, value, &self.book);
        }
    }

    /// For the breaker and the pauses of the source.
    pub fn answered(&mut self, attempt: AttemptId, source: &str, answer: Answer, now: Now) -> Vec<Change> {
        let Some(source) = self.source_ix(source) else { return Vec::new() };
        let (met, reason) = judged(answer);
        if let Some(attempt) = self.running.get_mut(&attempt) {
            attempt.met.answers = true;
            attempt.met.last_failed = met != breaker::Met::Answer;
        }
        let value = self.value_of(attempt, source);
        let learned = self.learn(attempt, (source, value), answer, now);
        learned.into_iter().chain(self.met(attempt, (source, value), met, &reason, now)).collect()
    }

    /// What an answer says, and shows, of the source's own limits; or of those of the value that was answered, where only values
    /// have any. That the source is not there (503), or lets requests hang, is its own doing, whoever asked.
    fn learn(&mut self, attempt: AttemptId, (source, value): (SourceIx, Option<ValueId>), answer: Answer, now: Now) -> Option<Change> {
        let learner = self.learner(source, value);
        let (sign, whose) = match answer {
            // Nobody there has seen a request: that it is down, its breaker says.
            Answer::NotReached => return None,
            Answer::NoAnswer => (Sign::NoAnswer, None),
            Answer::Status { code, retry_after, quotas } => {
                let whose = learner.filter(|_| code == 429);
                let used_up = self.grants.hears(source, learner, quotas, now.boot);
                self.note_pause(source, learner, used_up, || Some("says that nothing is left of its quota".into()), now);
                let asked = retry_after.filter(|_| asks_for_a_pause(code)).map(|asked| retry_after::pause_until(asked, now));
                self.note_pause(source, whose, asked, || None, now);
                if !refuses(code) {
                    return None;
                }
                (Sign::Refused { told: asked.max(used_up.filter(|_| whose == learner)) }, whose)
            }
        };
        let sent = *self.sources[source.0 as usize].asked.get(&attempt)?;
        let incident = self.grants.meets(source, whose, sign, sent, now.boot)?;
        let what = match answer {
            Answer::NoAnswer | Answer::NotReached => "lets requests hang".to_owned(),
            Answer::Status { code, .. } if incident.own_pause.is_none() => format!("answered {code}"),
            Answer::Status { code, .. } => format!("answered {code} and did not say for how long"),
        };
        self.note_pause(source, whose, incident.own_pause.map(|(until, _)| until), || Some(what.clone()), now);
        let until = self.grants.paused_until(source, whose, now.boot).map_or(now.wall, |until| now.wall_at(until));
        let again = incident.own_pause.filter(|(_, in_a_row)| *in_a_row > 1).map(|(_, in_a_row)| format!(" ({in_a_row} times in a row)"));
        let alone = whose.and_then(|value| self.named(source, Some(value))).map(|value| format!(", {value},")).unwrap_or_default();
        let text = format!(
            "source `{}`{alone} {what}{}: left alone until {until}, and from then on asked at {} % of its full rate, and slowly more",
            self.source_name(source),
            again.unwrap_or_default(),
            incident.share / 10
        );
        Some(Change::Event(Event { at: now.wall, task: None, gap: None, text }))
    }

    /// Who learns from what upstream says to this value: it, if only values have limits; `None`: the source. All of which nobody
    /// knows whose they are are one.
    fn learner(&self, source: SourceIx, value: Option<ValueId>) -> Option<ValueId> {
        self.grants.limiter().learns_by_value(source).then(|| value.unwrap_or_default())
    }

    /// Leaves a source alone until then, or this value of it, unless it is for longer already. `because`: `None` if upstream asked for it.
    fn note_pause(
        &mut self,
        source: SourceIx,
        value: Option<ValueId>,
        until: Option<Boottime>,
        because: impl FnOnce() -> Option<String>,
        now: Now,
    ) {
        let Some(until) = until else { return };
        let before = self.grants.paused_until(source, value, until - Duration::from_micros(1));
        if before.is_none_or(|before| before <= until) {
            match value {
                Some(value) => self.value_paused_because(source, value, because()),
                None => self.sources[source.0 as usize].paused_because = because(),
            }
        }
        self.grants.pause(source, value, until, now.boot);
    }

    fn met(
        &mut self,
        attempt: AttemptId,
        (source, value): (SourceIx, Option<ValueId>),
        met: breaker::Met,
        reason: &str,
        now: Now,
    ) -> Vec<Change> {
        let turn = self.sources[source.0 as usize].breaker.met(attempt, met, reason, now);
        let mut changes = self.save_source(source, now);
        let whose = format!("source `{}`", self.source_name(source));
        changes.extend(turn.map(|turn| told(&whose, turn, reason, now)));
        changes.extend(self.met_for_value(attempt, (source, value), met, reason, now));
        changes
    }

    /// What the end of an attempt says about its collector.
    fn met_by_collector(&mut self, attempt: AttemptId, ended: &Attempt, outcomes: &[(GapId, Outcome)], now: Now) -> Vec<Change> {
        let Some(collector) = self.book.bucket(self.book.task(ended.task).bucket).collector else { return Vec::new() };
        let reason = |gap: GapId| self.book.find_gap(gap).map_or(Reason::Missing, |gap| self.book.gap(gap).reason);
        let outcomes: Vec<_> = outcomes.iter().map(|(gap, outcome)| (reason(*gap), self.blamed(ended, Some(outcome)))).collect();
        let first = self.book.gap(self.book.task(ended.task).gaps[0]).id;
        let state = &mut self.collectors[usize::from(collector)];
        let (met, reason) = match OfCollector::of(&outcomes) {
            OfCollector::Fails(reason) => (breaker::Met::Failure, reason),
            OfCollector::Works => (breaker::Met::Answer, String::new()),
            OfCollector::Nothing => return Vec::new(),
        };
        match met {
            _ if !state.breaker.is_on() => return Vec::new(),
            breaker::Met::Answer => state.crashed_on.clear(),
            _ if state.breaker.is_closed() && state.crashed_on.contains(&first) => return Vec::new(),
            _ => state.crashed_on.push(first),
        }
        let turn = state.breaker.met(attempt, met, &reason, now);
        if turn.is_some() {
            state.crashed_on.clear();
        }
        let record = state.breaker.to_record(now);
        let is_news = std::mem::replace(&mut state.saved, mark_of(&record)) != mark_of(&record);
        let name = self.collector_name(collector);
        let event = turn.map(|turn| told(&format!("collector `{name}`"), turn, &reason, now));
        is_news.then(|| Change::PutCollector(name.into(), record)).into_iter().chain(event).collect()
    }

    /// Remembers a source whose breaker or pause is not what was remembered last.
    fn save_source(&mut self, source: SourceIx, now: Now) -> Vec<Change> {
        let paused_until = self.grants.limiter().paused_until(source, now.boot);
        let record = SourceRecord {
            breaker: self.sources[source.0 as usize].breaker.to_record(now),
            paused_until: paused_until.map(|until| now.wall_at(until)),
            paused_because: self.sources[source.0 as usize].paused_because.clone().filter(|_| paused_until.is_some()),
            learned: self.grants.limiter().learned(source).to_record(now),
        };
        let saved = (mark_of(&record.breaker), paused_until, self.grants.limiter().learned(source).mark(now.boot));
        if self.sources[source.0 as usize].saved == saved {
            return Vec::new();
        }
        self.sources[source.0 as usize].saved = saved;
        vec![Change::PutSource(self.source_name(source).into(), record)]
    }

    /// The collector of this attempt is done; what it staged is still to be checked and published. Its slot is free.
    pub fn collected(&mut self, attempt: AttemptId) {
        let priority = self.priority_of(attempt);
        let Some(attempt) = self.running.get_mut(&attempt) else { return };
        if std::mem::replace(&mut attempt.stage, Stage::Delivering) == Stage::Collecting {
            self.taken.delivers(priority);
        }
    }

    /// The attempt is over: closes, retries, exhausts or splits its gaps, frees its slot and settles what it still
    /// holds. Gaps without an outcome count as stopped. `items` learns confirmations and absences. `jitter` gives
    /// numbers in 0..1. The caller adds [`Change::Finish`] to the same batch.
    pub fn ended(
        &mut self,
        attempt: AttemptId,
        outcomes: &[(GapId, Outcome)],
        items: &mut HashMap<ItemId, ItemRecord>,
        now: Now,
        mut jitter: impl FnMut() -> f64,
    ) -> Vec<Change> {
        if self.is_given_back(attempt, outcomes) {
            return self.did_not_start(attempt, now);
        }
        let Some(ended) = self.no_longer_runs(attempt) else { return Vec::new() };
        let source = self.source_of(ended.task);
        let linger = self.grants.limiter().linger(source);
        let arrived = Settlement::ArrivedBy(now.boot + linger);
        let mut changes = self.give_back(attempt, &ended, arrived, now);
        changes.extend(self.learn_from(attempt, &ended, outcomes, now));
        changes.extend(self.met_by_collector(attempt, &ended, outcomes, now));
        self.leaves(attempt, Some(ended.task), now);
        let said: HashMap<GapId, &Outcome> = outcomes.iter().map(|(gap, outcome)| (*gap, outcome)).collect();
        // What failed together comes back together.
        let jitter = jitter();
        let mut left = Vec::new();
        let answer_to_doubt = self.answer_to_doubt(ended.task, &said);
        let gaps = self.book.task(ended.task).gaps.to_vec();
        let outcomes: Vec<Outcome> = gaps.iter().map(|gap| self.blamed(&ended, said.get(&self.book.gap(*gap).id).copied())).collect();
        let blame = Blame::of(&outcomes);
        for (gap, outcome) in gaps.into_iter().zip(&outcomes) {
            let told = blame.tells_of(outcome);
            let next = self.next(gap, told, items, &ended, now, jitter);
            let (next, doubts) = self.believed(gap, next, items, now);
            changes.extend(doubts);
            match next {
                Next::Again(progress) => {
                    let goes = Goes::after(told, &progress);
                    self.book.gap_mut(gap).progress = (progress != Progress::default()).then(|| Box::new(progress));
                    changes.push(Change::PutGap(self.plain_gap(gap)));
                    left.push((gap, goes));
                }
                Next::Filled => changes.extend(self.filled(gap, items, &ended, now)),
                Next::Absent(mark) => {
                    let item = items.entry(self.book.gap(gap).id.item).or_default();
                    item.absent = Some(mark);
                    let item = item.clone();
                    changes.extend(self.closed(gap, item, Closed::Absent, now));
                }
            }
        }
        changes.extend(self.regroup(ended.task, &left, now));
        if let (Some(source), Some(answer)) = (source, answer_to_doubt) {
            changes.extend(self.resolve_doubt(source, answer, items, now));
        }
        if self.is_deserted() {
            changes.extend(self.grants.close_all(now));
        }
        changes
    }

    /// Its slot is free.
    fn no_longer_runs(&mut self, attempt: AttemptId) -> Option<Attempt> {
        let ended = self.running.remove(&attempt)?;
        self.drawing.remove(&attempt);
        self.taken.ends(self.priority_of_task(ended.task), ended.stage);
        Some(ended)
    }

    /// An attempt holds nothing any more. Its own permits are settled; those it handed out are with whoever sends.
    fn give_back(&mut self, attempt: AttemptId, ended: &Attempt, charge: Settlement, now: Now) -> Vec<Change> {
        self.waiters.retain(|(_, waiting)| *waiting != attempt);
        let first = ended.first_permit.map(|permit| self.settle_permit(permit, Settlement::Unsent, now));
        let charge = ended.charge.map(|permit| self.settle_permit(permit, charge, now));
        first.into_iter().chain(charge).flatten().collect()
    }

    /// A probe that met nothing makes room for another. `task`: what it was an attempt at; a guest is at none.
    pub(super) fn leaves(&mut self, attempt: AttemptId, task: Option<TaskSlot>, now: Now) {
        if let Some(task) = task {
            self.leaves_values(attempt, task, now.boot);
        }
        for source in &mut self.sources {
            source.asked.remove(&attempt);
        }
        let of_collectors = self.collectors.iter_mut().map(|collector| &mut collector.breaker);
        for breaker in self.sources.iter_mut().map(|source| &mut source.breaker).chain(of_collectors) {
            breaker.ended(attempt, now.boot);
        }
    }

    /// What the outcomes say about the source (if its answers were not seen) and about the collector.
    fn learn_from(&mut self, attempt: AttemptId, ended: &Attempt, outcomes: &[(GapId, Outcome)], now: Now) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(source) = self.source_of(ended.task) {
            let failures = outcomes.iter().filter_map(|(_, outcome)| match outcome {
                Outcome::Failed(failure) if matches!(failure.fault, Fault::Source | Fault::Later) => Some(failure),
                _ => None,
            });
            let longest = failures.clone().filter_map(|failure| failure.retry_after_s).max();
            let asked = longest.map(|seconds| retry_after::pause_until(RetryAfter::Seconds(seconds), now));
            let whose = (source, self.value_of_task(ended.task, source));
            self.note_pause(source, self.learner(source, whose.1), asked, || None, now);
            let refused = failures.clone().find(|failure| failure.fault == Fault::Source);
            let answered =
                outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged | Outcome::Absent));
            match (ended.met.answers, refused, answered) {
                (false, Some(failure), _) => changes.extend(self.met(attempt, whose, breaker::Met::Failure, &failure.message, now)),
                (false, None, true) => changes.extend(self.met(attempt, whose, breaker::Met::Answer, "", now)),
                _ => {
                    changes.extend(self.save_source(source, now));
                    changes.extend(whose.1.and_then(|value| self.save_value(source, value, now)));
                }
            }
        }
        let filled = outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged));
        if let Some(drawing) = ended.drawing.as_ref().filter(|_| filled) {
            self.habits.made(drawing.kind, drawing.made, drawing.declared);
        }
        let says_something = |outcome: &Outcome| match outcome {
            Outcome::Absent | Outcome::Split => false,
            Outcome::Failed(failure) => failure.fault != Fault::Stopped,
            Outcome::Done { .. } | Outcome::Unchanged => true,
        };
        if let Some(collector) = self.book.bucket(self.book.task(ended.task).bucket).collector
            && outcomes.iter().any(|(_, outcome)| says_something(outcome))
        {
            changes.extend(self.note_success(collector, filled));
        }
        changes
    }

    fn blamed(&self, ended: &Attempt, outcome: Option<&Outcome>) -> Outcome {
        let Some(outcome) = outcome else {
            return Outcome::Failed(Failure { fault: Fault::Stopped, message: "the attempt was stopped".into(), retry_after_s: None });
        };
        let mut outcome = outcome.clone();
        if let Outcome::Failed(failure) = &mut outcome
            && matches!(failure.fault, Fault::Item | Fault::Collector | Fault::Unwritten)
            && (ended.met.last_failed || ended.met.shut_out)
        {
            failure.fault = Fault::Source;
        }
        outcome
    }

    fn next(&self, gap: GapSlot, told: Told<'_>, items: &HashMap<ItemId, ItemRecord>, ended: &Attempt, now: Now, jitter: f64) -> Next {
        let entry = self.book.gap(gap);
        let dataset = &self.rules.datasets[usize::from(entry.dataset)];
        let collector = self.book.bucket(entry.bucket).collector.expect("it was collected");
        let rules = retry::Rules { retry: &self.rules.collectors[usize::from(collector)].retry, absent: &dataset.absent };
        let facts = GapFacts { reason: entry.reason, due: entry.due(), detected_at: entry.detected_at(), fingerprint: entry.fingerprint };
        let record = items.get(&entry.id.item).and_then(|item| item.absent.as_ref());
        // An exhausted gap that was tried again began a new round with that.
        let progress = retry::revived(&entry.progress.as_deref().cloned().unwrap_or_default(), ended.started_at);
        match told {
            Told::Itself(outcome) => retry::after(&progress, outcome, &facts, rules, record, now.wall, jitter),
            Told::Unblamed(failure) => Next::Again(retry::unblamed(&progress, failure, rules.retry, now.wall, jitter)),
        }
    }

    fn filled(&mut self, gap: GapSlot, items: &mut HashMap<ItemId, ItemRecord>, ended: &Attempt, now: Now) -> Vec<Change> {
        let item = items.entry(self.book.gap(gap).id.item).or_default();
        item.confirmed = item.confirmed.max(Some(ended.started_at));
        item.absent = None;
        item.suspect_etag = None;
        let item = item.clone();
        self.closed(gap, item, Closed::Filled, now)
    }

    fn closed(&mut self, gap: GapSlot, item: ItemRecord, why: Closed, now: Now) -> Vec<Change> {
        let id = self.book.gap(gap).id;
        self.book.part(gap);
        self.book.remove_gap(gap);
        vec![Change::PutItem(id.item, item), Change::CloseGap { gap: id, at: now.wall, why }]
    }

    /// What is left of a task goes on: split gaps each alone, the others with those that are tried again at the same time and
    /// of which as much is known; in halves if they failed together before. The part with the gap that the task is named after
    /// (or else the first) keeps the name.
    fn regroup(&mut self, task: TaskSlot, left: &[(GapSlot, Goes)], now: Now) -> Vec<Change> {
        self.book.task_mut(task).phase = Phase::Loose;
        let mut edit = Edit::default();
        edit.touched.insert(task, Was::default());
        let parts = self.parts(left);
        if parts.len() > 1 {
            let (id, bucket) = (self.book.task(task).id, self.book.task(task).bucket);
            let collector = terms(&self.book, &self.rules, bucket).map(|(name, _)| name.to_owned()).unwrap_or_default();
            let is_named_after = |gap: &GapSlot| TaskId::of(&collector, self.book.gap(*gap).id) == id;
            let keeps = parts.iter().position(|part| part.iter().any(is_named_after)).unwrap_or(0);
            for (_, part) in parts.into_iter().enumerate().filter(|(at, _)| *at != keeps) {
                self.move_to_new_task(&collector, bucket, part, &mut edit);
            }
        }
        self.finish(edit, now)
    }

    fn move_to_new_task(&mut self, collector: &str, bucket: BucketIx, part: Vec<GapSlot>, edit: &mut Edit) {
        for gap in &part {
            self.book.part(*gap);
        }
        edit.add(&mut self.book, collector, bucket, part);
    }

    fn parts(&self, left: &[(GapSlot, Goes)]) -> Vec<Vec<GapSlot>> {
        let (alone, together): (Vec<_>, Vec<_>) = left.iter().copied().partition(|(_, goes)| *goes == Goes::Alone);
        let mut by_next_try: BTreeMap<(Option<Timestamp>, Goes), Vec<GapSlot>> = BTreeMap::new();
        for (gap, goes) in together {
            by_next_try.entry((self.book.gap(gap).next_try(), goes)).or_default().push(gap);
        }
        let halves = |((_, goes), gaps): ((_, Goes), Vec<GapSlot>)| match gaps.len() {
            2.. if goes == Goes::WithHalf => gaps.chunks(gaps.len().div_ceil(2)).map(<[GapSlot]>::to_vec).collect(),
            _ => vec![gaps],
        };
        by_next_try.into_iter().flat_map(halves).chain(alone.into_iter().map(|(gap, _)| vec![gap])).collect()
    }
}

/// With whom a gap goes on that is left of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Goes {
    WithAll,
    /// With those that failed together with it, apart from those of which it is known why they did.
    WithSuspects,
    /// They failed together before. The others are filled without the one that it comes from, after no more than a few tries.
    WithHalf,
    Alone,
}

impl Goes {
    fn after(told: Told<'_>, progress: &Progress) -> Self {
        match told {
            Told::Itself(Outcome::Split) => Goes::Alone,
            Told::Itself(_) => Goes::WithAll,
            Told::Unblamed(_) if progress.unblamed > 1 => Goes::WithHalf,
            Told::Unblamed(_) => Goes::WithSuspects,
        }
    }
}

/// What one more request of an attempt needs.
enum Terms {
    /// Nothing: the permit that was taken with the start.
    First(PermitId),
    /// What keeps it apart from others; the windows have been charged with the start.
    Charged(PermitId, Under),
    /// A permit of its own.
    Full,
}

pub(super) fn told(whose: &str, turn: Turn, reason: &str, now: Now) -> Change {
    let next = |until| now.wall_at(until);
    let text = match turn {
        Turn::Tripped { until, why } => format!("{whose}: breaker opened after {why} ({reason}); next probe {}", next(until)),
        Turn::StaysOpen { until, probes_failed } => {
            format!("{whose}: probe {probes_failed} failed ({reason}), the breaker stays open; next probe {}", next(until))
        }
        Turn::Recovered => format!("{whose} works again: breaker closed"),
    };
    Change::Event(Event { at: now.wall, task: None, gap: None, text })
}

fn judged(answer: Answer) -> (breaker::Met, String) {
    match answer {
        Answer::NoAnswer => (breaker::Met::Failure, "no answer".into()),
        Answer::NotReached => (breaker::Met::Failure, "no connection".into()),
        Answer::Status { code: 429, .. } => (breaker::Met::Throttled, "answered 429".into()),
        Answer::Status { code, .. } if code >= 500 => (breaker::Met::Failure, format!("answered {code}")),
        Answer::Status { .. } => (breaker::Met::Answer, String::new()),
    }
}

/// It wants fewer requests.
fn refuses(code: u16) -> bool {
    code == 429 || code == 503
}

/// `Retry-After` on a redirect or a 201 speaks of that one request, not of the source.
fn asks_for_a_pause(code: u16) -> bool {
    code == 429 || code >= 500
}
