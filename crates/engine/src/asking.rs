//! Requests that wait in line for a permit, and the engine's answers to them.
//!
//! Without a line a request that must wait would be forgotten or would overtake others; and without the second wait,
//! for the reservation, a request could leave that a successor knows nothing of.
//!
//! Served is who stands for the best task, by score at that instant, and among the requests of one task who asked first: a
//! backfill that asked for a thousand permits before tonight's game asked for one does not keep it waiting
//! (`a_thousand_waiters_are_served_in_the_order_of_their_tasks_and_one_by_one`). Only who has a permit is woken.
//!
//! Always true: no permit is handed out before the reservation that covers it is on disk; a request to one source never
//! waits behind one to another, nor one of a value behind what another value has used up of its own; whoever has paid already never waits behind one who may wait for what it holds.
//!
//! An attempt that only waits in line does not spend its own time: it is told so, and its timeout is put off.
//!
//! Who asks a source that is shut may be told to end instead (`Acquire::GiveUp`), and what adce itself would send first is not sent
//! any more once somebody has said that nothing is to start.
//!
//! Whether a request may be sent is for `core::queue` to say.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use adce_core::ids::{AttemptId, ValueId};
use adce_core::ports::{PermitId, PermitRefused, Settlement, StoreError};
use adce_core::queue::{Acquire, Gate, Paid};
use adce_core::record::{Change, Reservation};
use adce_core::spec::PriorityLevel;
use adce_core::time::{Boottime, Now};
use tokio::sync::oneshot;

use crate::engine::{Engine, EngineError};
use crate::permits::Granted;

/// A request that wants to be sent.
pub(crate) struct Asking {
    pub attempt: AttemptId,
    pub source: String,
    pub since: Boottime,
    pub reply: oneshot::Sender<Result<Granted, PermitRefused>>,
}

/// Everybody who asked and has no permit in hand yet.
#[derive(Default)]
pub(crate) struct Line {
    /// Of one attempt in the order of asking.
    asking: Vec<Asking>,
    /// When the first of them may be granted, if nothing is settled before.
    next_grant: Option<Boottime>,
    /// Attempts that are kept from going on by limits alone, and have been told so.
    held_up: HashSet<AttemptId>,
    /// Reservations that are being written, and the grants that wait for them.
    reserving: HashMap<u64, Vec<(PermitId, Asking)>>,
}

impl Line {
    pub fn join(&mut self, asking: Asking) {
        self.asking.push(asking);
    }

    /// The attempt is over: nobody waits for what it asked.
    pub fn forget(&mut self, attempt: AttemptId) {
        self.held_up.remove(&attempt);
        self.asking.retain(|asking| asking.attempt != attempt);
    }

    pub fn next_grant(&self) -> Option<Boottime> {
        self.next_grant
    }
}

impl Engine {
    /// Grants in the order of tasks; who must wait does not hold up the requests to other sources.
    pub(crate) fn grant_what_can(&mut self) {
        let now = self.now();
        let mut asked = std::mem::take(&mut self.line.asking);
        let places = self.dispatcher.places(asked.iter().map(|asking| asking.attempt), now);
        // The sort is stable, so those of one attempt stay as they are.
        asked.sort_by_key(|asking| places.get(&asking.attempt).copied().unwrap_or(usize::MAX));
        let mut waiting = Vec::with_capacity(asked.len());
        // What is set aside for a priority is there for it also where the others of the source have to wait.
        let mut shut: Vec<(String, PriorityLevel, Gate, Option<Boottime>)> = Vec::new();
        // Who waits for its own limits keeps no other value of its source waiting.
        let mut shut_for: HashMap<(ValueId, PriorityLevel), Vec<(String, Gate)>> = HashMap::new();
        let mut held_up = HashSet::new();
        let mut earliest = None;
        for asking in asked {
            if asking.reply.is_closed() {
                self.dispatcher.stops_waiting(asking.attempt, &asking.source);
                continue;
            }
            if self.is_not_to_start(asking.attempt) {
                self.dispatcher.stops_waiting(asking.attempt, &asking.source);
                let _ = asking.reply.send(Err(PermitRefused::Stopping));
                continue;
            }
            let has_paid = self.dispatcher.has_paid(asking.attempt, &asking.source);
            let priority = self.dispatcher.priority_of(asking.attempt);
            let whose = self.dispatcher.whose(asking.attempt, &asking.source);
            let own = whose.and_then(|value| shut_for.get(&(value, priority))?.iter().find(|(source, _)| *source == asking.source));
            let of_all = || shut.iter().find(|(source, of, ..)| *of == priority && *source == asking.source);
            let known = own.map(|(_, gate)| (gate, None)).or_else(|| of_all().map(|(.., gate, until)| (gate, *until)));
            if let Some((gate, until)) = known.filter(|_| !has_paid) {
                if self.dispatcher.gives_up_at(asking.attempt, &asking.source, gate, until, now) {
                    let _ = asking.reply.send(Err(PermitRefused::Shut(gate.told())));
                    continue;
                }
                held_up.extend(self.held_up_by(gate, &asking));
                waiting.push(asking);
                continue;
            }
            match self.dispatcher.acquire(asking.attempt, &asking.source, now) {
                Acquire::Granted { permit, before: Some(Change::Reserve(reservation)), .. } => self.reserve(permit, reservation, asking),
                Acquire::Granted { permit, paid, .. } => self.hand_out(permit, paid, asking, now),
                Acquire::Wait { gate, until } => {
                    earliest = earliest.into_iter().chain(until).min();
                    held_up.extend(self.held_up_by(&gate, &asking));
                    match whose.filter(|_| gate.is_of_one_value()) {
                        _ if has_paid => {}
                        Some(value) => shut_for.entry((value, priority)).or_default().push((asking.source.clone(), gate)),
                        None => shut.push((asking.source.clone(), priority, gate, until)),
                    }
                    waiting.push(asking);
                }
                Acquire::GiveUp { gate } => {
                    let _ = asking.reply.send(Err(PermitRefused::Shut(gate.told())));
                }
                Acquire::NoSuchAttempt => {
                    let _ = asking.reply.send(Err(PermitRefused::NoSuchAttempt(asking.attempt)));
                }
                Acquire::NoSuchSource => {
                    let _ = asking.reply.send(Err(PermitRefused::NoSuchSource(asking.source)));
                }
            }
        }
        // Who was refused after all when it was handed its permit stands there already.
        self.line.asking.extend(waiting);
        self.line.next_grant = earliest;
        self.tell_who_is_held_up(held_up, now);
        self.figures.asking(self.line.asking.iter().map(|asking| asking.source.as_str()));
        self.reserve_ahead(now);
    }

    /// Whoever needs one of these before it is on disk joins those that wait for it.
    fn reserve_ahead(&mut self, now: Now) {
        for change in self.dispatcher.reserve_ahead(now) {
            if let Change::Reserve(reservation) = &change {
                self.line.reserving.entry(reservation.id).or_default();
                self.ledger.reserve(reservation.id, change);
            }
        }
    }

    /// The attempt, if this gate is a limit and all that it waits for. A source that fails or asks for a pause is the
    /// source's doing: whom that costs his time is not blamed for it anyway.
    fn held_up_by(&self, gate: &Gate, asking: &Asking) -> Option<AttemptId> {
        (gate.is_limit() && self.dispatcher.is_held_up(asking.attempt, &asking.source)).then_some(asking.attempt)
    }

    fn tell_who_is_held_up(&mut self, held_up: HashSet<AttemptId>, now: Now) {
        let before = std::mem::replace(&mut self.line.held_up, held_up);
        let switch = |attempt: &AttemptId| self.stops.get(attempt);
        self.line.held_up.difference(&before).filter_map(switch).for_each(|stop| stop.waits(now.boot));
        before.difference(&self.line.held_up).filter_map(switch).for_each(|stop| stop.goes_on(now.boot));
    }

    fn reserve(&mut self, permit: PermitId, reservation: Reservation, asking: Asking) {
        match self.line.reserving.entry(reservation.id) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push((permit, asking)),
            Entry::Vacant(nobody) => {
                nobody.insert(vec![(permit, asking)]);
                self.ledger.reserve(reservation.id, Change::Reserve(reservation));
            }
        }
    }

    /// Somebody said that nothing is to start, and of this attempt nothing has left yet.
    fn is_not_to_start(&mut self, attempt: AttemptId) -> bool {
        self.interrupted.is_some() && self.dispatcher.take_back(attempt)
    }

    /// Where all that is left are commands that wait for sources for longer than the run waits for a gap, they are told so.
    pub(crate) fn give_up_what_only_waits(&mut self) {
        let now = self.now();
        let is_idle = !self.line.asking.is_empty() && !self.cycle.under_way && self.interrupted.is_none();
        if is_idle && self.dispatcher.only_waits(self.options.max_wait, now) {
            self.dispatcher.wind_down(true);
            self.grant_what_can();
            self.dispatcher.wind_down(false);
        }
    }

    fn hand_out(&mut self, permit: PermitId, paid: Paid, asking: Asking, now: Now) {
        if self.is_not_to_start(asking.attempt) {
            self.settle(permit, Settlement::Unsent, now);
            let _ = asking.reply.send(Err(PermitRefused::Stopping));
            return;
        }
        if self.dispatcher.sent(permit, now).is_some() {
            // The source asked for a pause while the reservation was written: the request waits for another permit.
            self.settle(permit, Settlement::Unsent, now);
            self.line.asking.insert(0, asking);
            return;
        }
        self.figures.sent(permit, paid, &asking, now);
        // If nobody waits for it any more, the grant comes back unsent by itself.
        let _ = asking.reply.send(Ok(Granted::new(permit, self.mail.clone())));
    }

    pub(crate) fn reserved(&mut self, reservation: u64, recorded: Result<(), StoreError>, now: Now) {
        let waiting = self.line.reserving.remove(&reservation).unwrap_or_default();
        match recorded {
            Ok(()) => {
                self.dispatcher.reserved(reservation);
                waiting.into_iter().for_each(|(permit, asking)| self.hand_out(permit, Paid::Now, asking, now));
            }
            Err(error) => {
                for (permit, asking) in waiting {
                    self.settle(permit, Settlement::Unsent, now);
                    let _ = asking.reply.send(Err(PermitRefused::NotRecorded(error.to_string())));
                }
                self.fail(EngineError::State(error));
            }
        }
    }

    pub(crate) fn settle(&mut self, permit: PermitId, how: Settlement, now: Now) {
        self.figures.settled(permit, how);
        let changes = self.dispatcher.settle(permit, how, now);
        self.ledger.record(changes);
    }
}
