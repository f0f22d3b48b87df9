//! The engine's side of a world: what the real engine does around the dispatcher, on a virtual clock.
//!
//! The order is the real one: what a start or a request needs is durable before anything is sent; what an attempt
//! published is there before its result is recorded; a successor first ends what is left of its predecessor. Writes
//! become durable one after the other, each after a while, and a crash loses those that are not (or all but the first
//! few).

use std::collections::{BTreeMap, HashMap, VecDeque};

use adce_core::gap::{Gap, Outcome, Progress, Reason, Standing};
use adce_core::ids::{AttemptId, GapId, ItemId};
use adce_core::ports::{PermitId, Settlement};
use adce_core::queue::{Acquire, Charge, Dispatcher, GapNews, Pick, Start};
use adce_core::record::{AttemptRecord, Change, Closed, ItemRecord, Lease};
use adce_core::time::{Boottime, Now};

use crate::attempts::{Attempt, answer};
use crate::clocks::BEGIN;
use crate::facts::{Fact, Held};
use crate::items::priority;
use crate::memory;
use crate::rules::rules;
use crate::scenario::{HOUR, Kind, Micros, SECOND};
use crate::upstream::{LINGER, Reply, journey};
use crate::world::{Arrival, Event, Life, SlotNews, World};

pub struct Engine {
    dispatcher: Dispatcher,
    items: HashMap<ItemId, ItemRecord>,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Requests that were told to wait: attempt and number.
    waiting: Vec<(AttemptId, usize)>,
    /// Handed over and not durable, oldest first.
    writes: VecDeque<Write>,
    durable_at: Micros,
    /// What the predecessor held is released.
    is_ready: bool,
    wakes_at: Option<Micros>,
    next_due: Option<Micros>,
}

struct Write {
    changes: Vec<Change>,
    lease: Option<Lease>,
    then: Then,
}

/// What a write was waited for.
enum Then {
    Nothing,
    Ready,
    Begin(AttemptId),
    Send { attempt: AttemptId, request: usize, permit: PermitId },
    Gone(AttemptId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineEvent {
    /// The oldest write is durable.
    Durable,
    Wake,
    Cycle,
    Due,
    Begin(AttemptId),
    /// The first byte of the answer, or the end of the connection.
    Over {
        attempt: AttemptId,
        request: usize,
        permit: PermitId,
        reply: ReplyCode,
    },
    /// A process, or the last step of adce's own collector, is over.
    Collected(AttemptId),
    /// What it left is in the lake.
    Delivered(AttemptId),
}

/// A [`Reply`] that can be ordered, for the queue of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplyCode(u8, Option<u64>);

impl From<Reply> for ReplyCode {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Good => ReplyCode(0, None),
            Reply::NoSuchThing => ReplyCode(1, None),
            Reply::Busy { retry_after_s } => ReplyCode(2, retry_after_s),
            Reply::Error => ReplyCode(3, None),
            Reply::Garbage => ReplyCode(4, None),
            Reply::Broken => ReplyCode(5, None),
            Reply::Refused => ReplyCode(6, None),
        }
    }
}

impl From<ReplyCode> for Reply {
    fn from(code: ReplyCode) -> Self {
        match code {
            ReplyCode(0, _) => Reply::Good,
            ReplyCode(1, _) => Reply::NoSuchThing,
            ReplyCode(2, retry_after_s) => Reply::Busy { retry_after_s },
            ReplyCode(3, _) => Reply::Error,
            ReplyCode(4, _) => Reply::Garbage,
            ReplyCode(5, _) => Reply::Broken,
            ReplyCode(..) => Reply::Refused,
        }
    }
}

impl World {
    // ------------------------------------------------------------------------------------------------------- life, death

    pub fn begin_engine(&mut self) {
        if let Some(last) = self.lives.last_mut() {
            last.killed_at.get_or_insert(self.at);
        }
        self.lives.push(Life::default());
        self.items.forget_what_is_settled();
        let mut remembered = self.disk.remembered();
        (self.sabotage.remembered)(&mut remembered);
        let mut rules = rules(&self.scenario);
        (self.sabotage.rules)(&mut rules);
        self.tell_restarted();
        let now = self.now();
        let (dispatcher, changes) = Dispatcher::new(rules, &mut remembered, self.clocks.boot_id(), now);
        self.engine = Some(Engine {
            dispatcher,
            items: remembered.items,
            attempts: BTreeMap::new(),
            waiting: Vec::new(),
            writes: VecDeque::new(),
            durable_at: self.at,
            is_ready: false,
            wakes_at: None,
            next_due: None,
        });
        self.decided(changes, None, Then::Ready);
    }

    /// Of what was handed over, the first few may have become durable.
    pub fn lose_engine(&mut self) {
        let Some(engine) = self.engine.take() else { return };
        let survive = self.dice.among(0..engine.writes.len() as u64 + 1);
        for write in engine.writes.into_iter().take(survive as usize) {
            if self.dice.one_in(2) {
                let _refused = self.make_durable(&write);
            } else {
                break;
            }
        }
    }

    /// A person asks it to stop: what runs is ended, and everything is written down.
    pub fn stop_engine(&mut self) {
        if self.engine.is_none() {
            return;
        }
        self.write_down();
        let running: Vec<AttemptId> = self.engine_mut().attempts.keys().copied().collect();
        for id in running {
            let attempt = self.engine_mut().attempts.remove(&id).expect("listed above");
            self.record_end(&attempt, &[]);
        }
        self.write_down();
        self.engine = None;
    }

    fn write_down(&mut self) {
        while !self.engine_mut().writes.is_empty() {
            self.durable();
        }
    }

    pub fn engine_event(&mut self, event: EngineEvent) {
        match event {
            EngineEvent::Durable => self.durable(),
            EngineEvent::Wake => {
                let at = self.at;
                self.engine_mut().wakes_at.take_if(|wakes_at| *wakes_at <= at);
            }
            EngineEvent::Cycle => {
                self.reconcile();
                self.looked();
                self.schedule_engine(self.at + self.scenario.reconcile_every, EngineEvent::Cycle);
            }
            EngineEvent::Due => self.reconcile(),
            EngineEvent::Begin(attempt) => self.begin(attempt),
            EngineEvent::Over { attempt, request, permit, reply } => self.over(attempt, request, permit, reply.into()),
            EngineEvent::Collected(attempt) => self.collected(attempt),
            EngineEvent::Delivered(attempt) => self.delivered(attempt),
        }
        self.turn();
    }

    fn engine_mut(&mut self) -> &mut Engine {
        self.engine.as_mut().expect("events of the dead are not delivered")
    }

    fn now(&self) -> Now {
        self.clocks.now(self.at)
    }

    // ------------------------------------------------------------------------------------------------------------ writes

    fn decided(&mut self, changes: Vec<Change>, lease: Option<Lease>, then: Then) {
        self.tell(&Fact::Decided { changes: &changes });
        if changes.is_empty() && lease.is_none() && matches!(then, Then::Nothing) {
            return;
        }
        let takes = self.dice.among(self.scenario.commit.from..self.scenario.commit.to + 1);
        let at = self.at;
        let engine = self.engine_mut();
        engine.durable_at = engine.durable_at.max(at) + takes;
        engine.writes.push_back(Write { changes, lease, then });
        let durable_at = engine.durable_at;
        self.schedule_engine(durable_at, EngineEvent::Durable);
    }

    fn make_durable(&mut self, write: &Write) -> Result<Option<adce_core::ids::FencingToken>, String> {
        let token = write.lease.clone().map(|lease| self.disk.lease(lease)).transpose()?;
        let wall = self.now().wall;
        let kept: Vec<Change> = write.changes.iter().filter(|change| (self.sabotage.keeps)(change)).cloned().collect();
        self.disk.apply(&kept, wall)?;
        Ok(token)
    }

    fn durable(&mut self) {
        let Some(write) = self.engine_mut().writes.pop_front() else { return };
        let token = match self.make_durable(&write) {
            Ok(token) => token,
            Err(refused) => {
                self.is_wrong("state", refused);
                return;
            }
        };
        let engine = self.engine_mut();
        for change in &write.changes {
            if let Change::Reserve(reservation) = change {
                engine.dispatcher.reserved(reservation.id);
            }
        }
        match write.then {
            Then::Nothing => {}
            Then::Ready => {
                engine.is_ready = true;
                self.schedule_engine(self.at, EngineEvent::Cycle);
            }
            Then::Begin(attempt) => {
                let token = token.expect("a start writes a lease");
                engine.attempts.get_mut(&attempt).expect("it was picked").token = Some(token);
                let spawned = self.at + self.dice.among(500..20_000);
                self.schedule_engine(spawned, EngineEvent::Begin(attempt));
            }
            Then::Send { attempt, request, permit } => self.send(attempt, request, permit),
            Then::Gone(attempt) => self.tell(&Fact::Gone { attempt }),
        }
    }

    // -------------------------------------------------------------------------------------------------------- decisions

    /// Everything that can begin now does.
    pub fn turn(&mut self) {
        if !self.engine.as_ref().is_some_and(|engine| engine.is_ready) {
            return;
        }
        for (attempt, request) in std::mem::take(&mut self.engine_mut().waiting) {
            self.acquire(attempt, request);
        }
        loop {
            let (now, next_attempt) = (self.now(), self.next_attempt());
            match self.engine_mut().dispatcher.pick(now, |_| next_attempt) {
                Pick::Start(start) => {
                    self.attempts += 1;
                    self.start(*start);
                }
                Pick::Idle(idle) => {
                    let called_back = self.engine_mut().dispatcher.call_back(now);
                    if !called_back.is_empty() {
                        self.decided(called_back, None, Then::Nothing);
                        continue;
                    }
                    self.tell(&Fact::Idle { idle: &idle });
                    self.wake_at(idle.wake_at);
                    break;
                }
            }
        }
        let now = self.now();
        let ahead = self.engine_mut().dispatcher.reserve_ahead(now);
        if !ahead.is_empty() {
            self.decided(ahead, None, Then::Nothing);
        }
    }

    fn wake_at(&mut self, boot: Option<Boottime>) {
        let Some(boot) = boot else { return };
        let at = self.clocks.world(boot).max(self.at + 1);
        let engine = self.engine_mut();
        if engine.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
            engine.wakes_at = Some(at);
            self.schedule_engine(at, EngineEvent::Wake);
        }
    }

    fn start(&mut self, start: Start) {
        self.tell(&Fact::Picked { start: &start });
        let collector = self.scenario.collectors.iter().find(|known| known.name == start.task.collector).expect("a known collector");
        let source = start.task.source.as_ref().map(|name| self.scenario.sources.iter().position(|known| known.name == *name));
        let source = source.map(|at| at.expect("a known source"));
        let (kind, requests, dies, hangs) = (collector.kind, collector.requests, collector.dies, collector.hangs);
        let until = self.at + collector.timeout;
        let dies = self.dice.permille(dies);
        let mut attempt = Attempt::new(start.clone(), source, kind, requests, dies, self.now().wall);
        // Drawn only where there are such things, so that a seed's other worlds stay what they were.
        if hangs > 0 && self.dice.permille(hangs) {
            attempt.hangs(until);
        }
        if let Some(item) = start.gaps.iter().position(|gap| self.items.get(gap.id.item).poison_until > self.at) {
            attempt.poisoned(item);
        }
        self.engine_mut().attempts.insert(attempt.id, attempt);
        self.decided(start.before, Some(start.lease), Then::Begin(start.attempt));
    }

    // --------------------------------------------------------------------------------------------------------- attempts

    fn begin(&mut self, id: AttemptId) {
        let attempt = &self.engine_mut().attempts[&id];
        let (gaps, source, kind) = (attempt.gap_ids(), attempt.source, attempt.kind);
        let charged = matches!(attempt.start.charge, Charge::Ahead(_)) || kind == Kind::Charged;
        self.tell(&Fact::Began { attempt: id, gaps: &gaps });
        if self.sabotage.slots == SlotNews::AtTheBeginning {
            self.engine_mut().dispatcher.collected(id);
        }
        match source {
            None => {
                let over = self.at + self.dice.among(50_000..5 * SECOND);
                let hangs_until = self.engine_mut().attempts[&id].hangs_until.unwrap_or(0);
                self.schedule_engine(over.max(hangs_until), EngineEvent::Collected(id));
            }
            Some(source) if charged => self.run_charged(id, source),
            Some(_) => self.go_on(id),
        }
    }

    /// Its requests leave whenever the process likes; nobody sees them pass.
    fn run_charged(&mut self, id: AttemptId, source: usize) {
        let mut attempt = self.engine_mut().attempts.remove(&id).expect("it began");
        let alone = attempt.replies.len() == 1;
        let life = self.lives.len() - 1;
        let mut at = self.at + self.dice.among(10_000..500_000);
        let mut over = at;
        while attempt.next < attempt.replies.len() && !attempt.is_dead() {
            let request = attempt.next;
            let there_from = self.there_from(&attempt, request);
            let journey = journey(&self.scenario.sources[source], there_from, BEGIN, at, &mut self.dice);
            if let Some(arrives) = journey.arrives {
                let value = self.scenario.sources[source].value(&attempt.start.task.group);
                self.schedule(arrives, Event::Arrival(Arrival { source, sent: at, life, by_process: true, alone, value }));
            }
            attempt.replies[request] = Some(journey.reply);
            attempt.next += 1;
            over = over.max(journey.over);
            // Sometimes several at once.
            at = if self.dice.one_in(3) { at } else { over + self.dice.among(0..200_000) };
        }
        over = over.max(attempt.hangs_until.unwrap_or(0));
        self.engine_mut().attempts.insert(id, attempt);
        self.schedule_engine(over, EngineEvent::Collected(id));
    }

    fn there_from(&self, attempt: &Attempt, request: usize) -> Option<Micros> {
        match attempt.item_of(request) {
            // A call for all of them finds nothing when it finds nothing for the first; an index is always there.
            None if attempt.is_bulk() => self.items.get(attempt.start.gaps[0].id.item).there_from,
            None => Some(0),
            Some(item) => self.items.get(attempt.start.gaps[item].id.item).there_from,
        }
    }

    /// Asks for the next requests, or ends.
    fn go_on(&mut self, id: AttemptId) {
        while let Some(attempt) = self.engine_mut().attempts.get_mut(&id) {
            if attempt.wants() == 0 {
                if attempt.open == 0 && !attempt.is_over {
                    attempt.is_over = true;
                    let hangs_until = attempt.hangs_until.unwrap_or(0);
                    let over = (self.at + self.dice.among(500..50_000)).max(hangs_until);
                    self.schedule_engine(over, EngineEvent::Collected(id));
                }
                return;
            }
            let request = attempt.next;
            attempt.next += 1;
            attempt.open += 1;
            self.acquire(id, request);
        }
    }

    fn acquire(&mut self, id: AttemptId, request: usize) {
        let now = self.now();
        let source = self.engine_mut().attempts[&id].source.expect("who asks has a source");
        let name = self.scenario.sources[source].name.clone();
        match self.engine_mut().dispatcher.acquire(id, &name, now) {
            Acquire::Granted { permit, before, .. } => {
                self.tell(&Fact::Granted { attempt: id, source, permit });
                let before: Vec<Change> = before.into_iter().collect();
                match before.is_empty() {
                    true => self.send(id, request, permit),
                    false => self.decided(before, None, Then::Send { attempt: id, request, permit }),
                }
            }
            Acquire::Wait { until, .. } => {
                self.tell(&Fact::Waits { attempt: id, source });
                self.engine_mut().waiting.push((id, request));
                self.wake_at(until);
            }
            Acquire::GiveUp { .. } => {
                self.tell(&Fact::GaveUp { attempt: id, source });
                let attempt = self.engine_mut().attempts.get_mut(&id).expect("it asked");
                attempt.open -= 1;
                attempt.gives_up = true;
                self.go_on(id);
            }
            Acquire::NoSuchAttempt | Acquire::NoSuchSource => self.is_wrong("engine", format!("{id} is not known any more")),
        }
    }

    fn send(&mut self, id: AttemptId, request: usize, permit: PermitId) {
        let now = self.now();
        let source = self.engine_mut().attempts[&id].source.expect("who sends has a source");
        if let Some(_paused_until) = self.engine_mut().dispatcher.sent(permit, now) {
            self.settle(permit, Settlement::Unsent);
            self.acquire(id, request);
            return;
        }
        let value = self.scenario.sources[source].value(&self.engine.as_ref().expect("alive").attempts[&id].start.task.group);
        self.tell(&Fact::Sent { attempt: id, source, permit, value });
        let there_from = self.there_from(&self.engine.as_ref().expect("alive").attempts[&id], request);
        let journey = journey(&self.scenario.sources[source], there_from, BEGIN, self.at, &mut self.dice);
        let life = self.lives.len() - 1;
        if let Some(arrives) = journey.arrives {
            self.schedule(arrives, Event::Arrival(Arrival { source, sent: self.at, life, by_process: false, alone: true, value }));
        }
        let over = EngineEvent::Over { attempt: id, request, permit, reply: journey.reply.into() };
        self.schedule_engine(journey.over, over);
    }

    fn over(&mut self, id: AttemptId, request: usize, permit: PermitId, reply: Reply) {
        let now = self.now();
        let how = match reply {
            Reply::Refused => Settlement::Unsent,
            Reply::Broken => Settlement::ArrivedBy(self.clocks.now(self.at + LINGER).boot),
            _ => Settlement::ArrivedBy(now.boot),
        };
        self.settle(permit, how);
        let source = self.engine_mut().attempts[&id].source.expect("who sent has a source");
        let (name, answer) = (self.scenario.sources[source].name.clone(), answer(reply));
        let heard = (self.sabotage.answer)(answer);
        let changes = self.engine_mut().dispatcher.answered(id, &name, heard, now);
        self.tell(&Fact::Answered { attempt: id, source, answer });
        self.decided(changes, None, Then::Nothing);
        let attempt = self.engine_mut().attempts.get_mut(&id).expect("it has a request open");
        attempt.replies[request] = Some(reply);
        attempt.open -= 1;
        self.go_on(id);
    }

    fn settle(&mut self, permit: PermitId, how: Settlement) {
        if !(self.sabotage.settles)(how) {
            return;
        }
        let now = self.now();
        let changes = self.engine_mut().dispatcher.settle(permit, how, now);
        self.tell(&Fact::Settled { permit, how });
        self.decided(changes, None, Then::Nothing);
    }

    fn collected(&mut self, id: AttemptId) {
        let wall = self.now().wall;
        let outcomes = self.engine_mut().attempts[&id].outcomes(wall);
        if !outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Done { .. })) {
            return self.delivered(id);
        }
        self.tell(&Fact::Collected { attempt: id });
        if self.sabotage.slots == SlotNews::WhenCollected {
            self.engine_mut().dispatcher.collected(id);
        }
        let over = self.at + self.dice.among(self.scenario.publish.from..self.scenario.publish.to + 1);
        self.schedule_engine(over, EngineEvent::Delivered(id));
    }

    fn delivered(&mut self, id: AttemptId) {
        let now = self.now();
        let attempt = self.engine_mut().attempts.remove(&id).expect("it finishes once");
        let outcomes = attempt.outcomes(now.wall);
        for (gap, outcome) in &outcomes {
            if let Outcome::Done { .. } = outcome {
                self.items.publish(gap.item, now.wall);
                self.somebody_wants(self.items.position(gap.item));
            }
        }
        self.record_end(&attempt, &outcomes);
        if self.scenario.endless {
            self.reconcile();
        }
    }

    fn somebody_wants(&mut self, at: usize) {
        if self.items.all[at].to_be_taken > 0 {
            self.items.all[at].to_be_taken -= 1;
            let taken = self.at + self.dice.among(HOUR..5 * HOUR);
            self.schedule(taken, Event::Taken(at));
        }
    }

    /// Without outcomes it was stopped.
    fn record_end(&mut self, attempt: &Attempt, outcomes: &[(GapId, Outcome)]) {
        let (id, now) = (attempt.id, self.now());
        let jitter = self.dice.share();
        let engine = self.engine_mut();
        let mut changes = engine.dispatcher.ended(id, outcomes, &mut engine.items, now, || jitter);
        changes.push(Change::Finish(AttemptRecord {
            attempt: id,
            token: attempt.token.expect("it was leased"),
            task: attempt.start.task.id,
            collector: attempt.start.task.collector.clone(),
            started_at: attempt.began_at,
            ended_at: now.wall,
            ended: "simulated".into(),
            requests: attempt.replies.iter().flatten().count() as u64,
            outcomes: outcomes.to_vec(),
            log_tail: String::new(),
            log: None,
            story: None,
            traffic: None,
        }));
        self.tell(&Fact::Ended { attempt: id, outcomes });
        self.decided(changes, None, Then::Gone(id));
    }

    // -------------------------------------------------------------------------------------------------------- coverage

    /// What coverage would say now, as news for the dispatcher.
    fn reconcile(&mut self) {
        let wall = self.now().wall;
        let scenario = &self.scenario;
        let engine = self.engine.as_mut().expect("alive");
        let open: HashMap<ItemId, Gap> = engine.dispatcher.gaps().into_iter().map(|gap| (gap.item(), gap)).collect();
        let running: Vec<GapId> = engine.attempts.values().flat_map(Attempt::gap_ids).collect();
        let (mut news, mut numbered, mut expected) = (GapNews::default(), Vec::new(), Vec::new());
        let (to_look_at, mut next_due) = self.items.to_look_at(wall);
        let mut settled = Vec::new();
        for at in to_look_at {
            let item = &self.items.all[at];
            let dataset = &scenario.datasets[item.dataset];
            let known = open.get(&item.id);
            let record = engine.items.get(&item.id);
            let is_due = self.items.is_due(item, wall);
            if !is_due {
                next_due = [next_due, Some(item.due)].into_iter().flatten().min();
            }
            let reason = match scenario.endless {
                true => Some(Reason::Missing),
                false => self.items.gap_reason(item, dataset, record, wall),
            };
            match (known, reason.filter(|_| is_due)) {
                (None, Some(reason)) => {
                    let mut record = record.cloned().unwrap_or_default();
                    record.episodes += 1;
                    let mut gap = self.items.gap(item, dataset, record.episodes, reason, wall);
                    if reason == Reason::Missing && !scenario.endless {
                        record.found_missing(wall);
                        if let Some(until) = record.contested_until().filter(|until| *until > wall) {
                            gap.progress = Progress { standing: Standing::Contested, next_try: Some(until), ..Progress::default() };
                        }
                    }
                    expected.push(gap.id);
                    news.opened.push(gap);
                    numbered.push(Change::PutItem(item.id, record.clone()));
                    engine.items.insert(item.id, record);
                }
                (Some(gap), None) if !running.contains(&gap.id) => {
                    let why = if is_due { Closed::FoundFilled } else { Closed::NotExpected };
                    news.closed.push((gap.id, why));
                }
                (Some(gap), reason) => {
                    expected.push(gap.id);
                    let (priority, reason) = (priority(item, dataset, wall), reason.unwrap_or(gap.reason));
                    if !running.contains(&gap.id) && (gap.priority, gap.reason) != (priority, reason) {
                        news.changed.push(Gap { priority, reason, ..gap.clone() });
                    }
                }
                (None, None) => settled.push((at, record.and_then(|record| record.confirmed))),
            }
        }
        for (at, confirmed) in settled {
            self.items.needs_nothing_more(at, &scenario.datasets[self.items.all[at].dataset], confirmed, wall);
        }
        let now = self.clocks.now(self.at);
        let mut changes = engine.dispatcher.reconcile(news, now);
        changes.extend(numbered);
        let mut open: Vec<GapId> = engine.dispatcher.gaps().into_iter().map(|gap| gap.id).collect();
        open.sort();
        expected.sort();
        self.decided(changes, None, Then::Nothing);
        self.tell(&Fact::Reconciled { expected: &expected, open: &open });
        if let Some(due) = next_due {
            let at = self.clocks.world(now.boot_at(due)).max(self.at + 1);
            if self.engine_mut().next_due.is_none_or(|known| at < known || known <= self.at) {
                self.engine_mut().next_due = Some(at);
                self.schedule_engine(at, EngineEvent::Due);
            }
        }
    }

    /// A full look is over; the ones between them, when something falls due, are none.
    fn looked(&mut self) {
        let (next, now) = (self.clocks.now(self.at + self.scenario.reconcile_every).boot, self.now());
        if self.sabotage.looks {
            let changes = self.engine_mut().dispatcher.new_cycle(next, now);
            self.decided(changes, None, Then::Nothing);
        }
        self.tell(&Fact::Looked);
    }

    /// What it holds now.
    pub fn held(&self) -> Option<Held> {
        let engine = self.engine.as_ref()?;
        let surroundings = engine.attempts.len() + engine.waiting.len() + engine.writes.len();
        let bytes = memory::bytes_of(|| engine.dispatcher.clone());
        Some(Held { census: engine.dispatcher.census(), surroundings, records: engine.items.len(), bytes })
    }

    /// What a perfect engine would have done by now, an hour or two being granted for the last retries.
    pub fn what_is_left(&self) -> Vec<String> {
        if self.scenario.endless {
            return Vec::new();
        }
        let Some(engine) = &self.engine else { return vec!["the engine is dead".into()] };
        let wall = self.now().wall;
        let long_ago = self.at - 3 * HOUR;
        let is_left = |item: &&crate::items::Item| {
            let dataset = &self.scenario.datasets[item.dataset];
            let record = engine.items.get(&item.id);
            let obtainable = item.there_from.is_some_and(|from| from.max(item.due_at).max(item.poison_until) < long_ago);
            let absent_for_long = item.due_at + dataset.absent_policy.after.as_micros() as Micros + 3 * HOUR < self.at;
            let is_recorded = record.is_some_and(|record| record.absent.is_some());
            match self.items.is_in_lake(item.id) {
                false if obtainable => true,
                false => item.there_from.is_none() && absent_for_long && !is_recorded,
                true => {
                    let last_needed = item.due_at + dataset.fresh.map_or(0, |fresh| fresh.until);
                    item.there_from.is_some() && last_needed < long_ago && self.items.gap_reason(item, dataset, record, wall).is_some()
                }
            }
        };
        let open = engine.dispatcher.gaps();
        let why = |item: &crate::items::Item| match open.iter().find(|gap| gap.item() == item.id) {
            Some(gap) => format!("{}: {:?}", item.key, gap.progress),
            None => format!("{}: no gap, {:?}", item.key, engine.items.get(&item.id)),
        };
        self.items.all.iter().filter(is_left).map(why).collect()
    }
}
