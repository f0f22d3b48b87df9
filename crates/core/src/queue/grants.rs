//! Permits, and the reservations on disk that let them survive a crash.
//!
//! A successor must count what a killed engine may have sent. So before a request leaves, a reservation that covers it
//! is durable; one reservation covers about a second's worth of requests of a source, or each would cost an fsync. Of a
//! busy source it comes in halves: while one is used the next is written, so that nobody waits for the disk
//! (`a_busy_source_never_waits_for_its_next_reservation`). While reservations are out, a crash costs quota and never a window; when all their requests have settled, what was
//! really used is recorded, and forgotten when no window can see it any more.
//!
//! A charge covers what its attempt sends outside of our sight and what it sends through us. The latter are permits of
//! their own, which keep their distance like any other and take nothing from the windows that the charge is in
//! (`what_a_charged_attempt_sends_through_us_is_spaced_and_not_charged_again`); the charge ends after the last of them
//! (`a_charge_does_not_end_before_the_requests_it_paid_for`).
//!
//! Where a source's limits are told apart by a value, a reservation is of one value and says which, so that a successor charges
//! those whose requests they were. One that nobody draws from any more is closed after its second, whether its value asks
//! again or not, or as many would stay open as there ever were values.
//!
//! Always true: at any moment, what is durable counts at least the requests that were sent
//! (`a_restart_at_any_point_loses_no_gap` compares the windows before and after).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Rules, SourceRules};
use crate::ids::ValueId;
use crate::limits::learned::{Incident, Sign};
use crate::limits::{Ask, AskKind, HoldOff, Limiter, SourceIx, restored};
use crate::ports::{PermitId, Quotas, Settlement};
use crate::record::{Change, LearnedRecord, Reservation, SettledReservation};
use crate::spec::{Limits, Margin, PriorityLevel, Reserve};
use crate::time::{BootId, Boottime, Now, Timestamp};

/// A reservation is used for so long; afterwards a new one begins, so that what a restart finds is not vague.
const RESERVATION_SPAN: Duration = Duration::from_secs(1);

/// More at once would make a crash dear; but for a source that may be asked so often that a hundredth of a second is worth
/// more.
const LARGEST_RESERVATION: f64 = 64.0;

/// A smaller one is not worth its halves: its source may not be asked so often that the disk is in its way. At a source's full
/// rate the next half has at least 2.5 ms to be written.
const HALVED_FROM: u32 = 16;

/// No config can declare a longer window (`per_day`).
const LONGEST_WINDOW: Duration = Duration::from_secs(86_400);

/// Permits that the limiter does not know: the one request of a charge for one. Far above its own numbers.
const THE_ONE_REQUEST: u64 = 1 << 63;

#[derive(Clone, Debug)]
pub(super) struct Grants {
    limiter: Limiter,
    boot: BootId,
    sources: Vec<SourceTerms>,
    /// So long after its arrival a request may still count whose source the config does not know.
    elsewhere_counts_for: Duration,
    blocks: BTreeMap<u64, Block>,
    /// Open ones of single values by when they are over, the first one first.
    closing: VecDeque<(Boottime, SourceIx, u64)>,
    /// What values are called.
    names: HashMap<ValueId, Arc<str>>,
    /// The block of each permit that is out, and how much of it.
    out: HashMap<PermitId, (u64, u32)>,
    /// Settled blocks by when no window sees them any more.
    fading: BTreeSet<(Boottime, u64)>,
    /// What was charged ahead and has not ended.
    charges: HashMap<PermitId, Charged>,
    /// Requests that are out under a charge.
    under: HashMap<PermitId, PermitId>,
    next_block: u64,
    next_the_one: u64,
    /// Changes that nothing waits for: they go with the next settlement.
    put_off: Vec<Change>,
    /// Half of their open reservation is used, and none is there to follow it.
    soon_empty: Vec<(SourceIx, Option<ValueId>)>,
}

#[derive(Clone, Debug)]
struct SourceTerms {
    name: Arc<str>,
    /// Requests that one reservation covers; 0: nothing is limited, so nothing is recorded.
    reserve: u32,
    /// The next reservation is written while one is used.
    ahead: bool,
    /// So long after its arrival a request may still count.
    counts_for: Duration,
    /// The reservation that the next request uses, by its value.
    open: HashMap<Option<ValueId>, u64>,
    /// The one that follows it.
    next: HashMap<Option<ValueId>, u64>,
    /// Requests are told apart by a value.
    by_value: bool,
}

#[derive(Clone, Debug)]
struct Charged {
    source: SourceIx,
    value: Option<ValueId>,
    priority: PriorityLevel,
    permits: u32,
    /// Not sent through us yet.
    left: u32,
    /// Sent through us, and not settled.
    out: u32,
    last_arrival: Option<Boottime>,
    /// How it is to be settled: its attempt is over.
    ended: Option<Settlement>,
}

#[derive(Clone, Debug)]
struct Block {
    source: SourceIx,
    value: Option<ValueId>,
    permits: u32,
    handed_out: u32,
    settled: u32,
    /// Of the settled ones, those whose request may have arrived.
    used: u32,
    first_sent: Boottime,
    first_sent_wall: Timestamp,
    last_arrival: Option<Boottime>,
    durable: bool,
}

impl Grants {
    pub(super) fn boot_id(&self) -> &BootId {
        &self.boot
    }

    pub(super) fn new(
        rules: &Rules,
        reservations: Vec<Reservation>,
        boot: BootId,
        latest: Option<Timestamp>,
        now: Now,
    ) -> (Self, Vec<Change>) {
        let terms = rules.sources.iter().map(|(name, source)| terms_of(name, source, &rules.limits));
        let mut limiter = Limiter::new(&scopes_of(rules), &rules.limits);
        for (at, limits) in limits_by(rules).iter().enumerate() {
            if let Some(limits) = limits {
                limiter.by_value(SourceIx(at as u32), limits);
            }
        }
        limiter.set_aside(rules.reserve);
        let mut grants = Grants {
            limiter,
            sources: terms.collect(),
            elsewhere_counts_for: elsewhere_counts_for(&rules.limits),
            blocks: BTreeMap::new(),
            closing: VecDeque::new(),
            names: HashMap::new(),
            out: HashMap::new(),
            fading: BTreeSet::new(),
            charges: HashMap::new(),
            under: HashMap::new(),
            next_block: reservations.iter().map(|reservation| reservation.id).max().unwrap_or(0) + 1,
            next_the_one: THE_ONE_REQUEST,
            put_off: Vec::new(),
            soon_empty: Vec::new(),
            boot,
        };
        let changes = reservations.into_iter().filter_map(|reservation| grants.restore(&reservation, latest, now)).collect();
        (grants, changes)
    }

    /// By other limits from now on; every window keeps what it has seen. One that looks back further than any before knows nothing of what
    /// was sent before that.
    pub(super) fn reconfigure(&mut self, rules: &Rules, now: Now) -> Vec<Change> {
        let (counted_before, elsewhere_before) = (self.sources.len(), self.elsewhere_counts_for);
        let mut longer = Duration::ZERO;
        let mut closed = Vec::new();
        for (at, (name, source)) in rules.sources.iter().enumerate() {
            let new = terms_of(name, source, &rules.limits);
            if at >= counted_before {
                self.sources.push(new);
                continue;
            }
            let terms = &mut self.sources[at];
            longer = longer.max(new.counts_for.saturating_sub(terms.counts_for));
            if new.by_value != terms.by_value {
                // Of these no more is drawn: what is told apart now is reserved apart.
                closed.extend(terms.open.drain().chain(terms.next.drain()).map(|(_, block)| block));
            }
            let terms = &mut self.sources[at];
            *terms = SourceTerms { open: std::mem::take(&mut terms.open), next: std::mem::take(&mut terms.next), ..new };
        }
        self.elsewhere_counts_for = elsewhere_counts_for(&rules.limits);
        longer = longer.max(self.elsewhere_counts_for.saturating_sub(elsewhere_before));
        self.fading = std::mem::take(&mut self.fading).into_iter().map(|(until, block)| (until + longer, block)).collect();
        self.soon_empty.clear();
        self.limiter.obey(&scopes_of(rules), &rules.limits, &limits_by(rules), rules.reserve, now);
        closed.sort_unstable();
        closed.into_iter().filter_map(|block| self.finish(block, now)).collect()
    }

    /// What nobody settled counts as sent, and is settled now: its sender is dead. What went to a source that has left the
    /// config counts for all sources together, and is remembered in case it comes back.
    fn restore(&mut self, reservation: &Reservation, latest: Option<Timestamp>, now: Now) -> Option<Change> {
        let source = self.sources.iter().position(|terms| *terms.name == *reservation.source);
        let counts_for = source.map_or(self.elsewhere_counts_for, |at| self.sources[at].counts_for);
        let source = source.map(|at| SourceIx(at as u32));
        let (permits, sent) = restored(reservation, &self.boot, now, latest);
        let value = reservation.value.as_deref().map(|value| self.name(value));
        self.limiter.restore(source, value, permits, sent, now.boot);
        let arrived = sent.last_arrival.unwrap_or(now.boot + self.limiter.linger(source));
        self.fading.insert((arrived + counts_for, reservation.id));
        reservation.settled.is_none().then(|| Change::SettleReservation {
            id: reservation.id,
            settled: SettledReservation { used: permits, last_arrival: arrived, last_arrival_wall: now.wall_at(arrived) },
        })
    }

    /// Whose value a permit is charged to; of one that was charged already, that is the charge's.
    pub(super) fn whose(&self, permit: PermitId) -> Option<(SourceIx, ValueId)> {
        let charge = self.under.get(&permit).and_then(|charge| self.limiter.whose(*charge));
        charge.or_else(|| self.limiter.whose(permit))
    }

    /// From now on it is known what this value is called.
    pub(super) fn name(&mut self, value: &str) -> ValueId {
        let id = ValueId::of(value);
        self.names.entry(id).or_insert_with(|| value.into());
        id
    }

    pub(super) fn name_of(&self, value: ValueId) -> Option<Arc<str>> {
        self.names.get(&value).cloned()
    }

    /// Values that have a name.
    pub(super) fn names(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.names.keys().copied()
    }

    /// Forgets all names but those that are still used, here or elsewhere.
    pub(super) fn forget_names(&mut self, is_used: impl Fn(ValueId) -> bool) {
        let mut used: HashSet<ValueId> = self.blocks.values().filter_map(|block| block.value).collect();
        for source in 0..self.sources.len() as u32 {
            used.extend(self.limiter.known_values(SourceIx(source)));
        }
        self.names.retain(|value, _| used.contains(value) || is_used(*value));
    }

    pub(super) fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    pub(super) fn count(&self, census: &mut super::Census) {
        let charges = self.charges.len() + self.under.len();
        census.permits += self.out.len() + self.limiter.granted();
        census.reservations = self.blocks.len() + charges + self.put_off.len() + self.closing.len() + self.names.len();
        census.fading = self.fading.len();
        census.marks = self.limiter.remembered();
    }

    pub(super) fn set_aside(&mut self, reserve: Reserve) {
        self.limiter.set_aside(reserve);
    }

    /// `value`: that one alone.
    pub(super) fn pause(&mut self, source: SourceIx, value: Option<ValueId>, until: Boottime, now: Boottime) {
        match value {
            Some(value) => self.limiter.pause_value(source, value, until, now),
            None => self.limiter.pause(source, until),
        }
    }

    pub(super) fn paused_until(&self, source: SourceIx, value: Option<ValueId>, now: Boottime) -> Option<Boottime> {
        match value {
            Some(value) => self.limiter.value_paused_until(source, value, now),
            None => self.limiter.paused_until(source, now),
        }
    }

    /// Requests that hang are the source's doing, whoever sent them, so both count.
    pub(super) fn sends(&mut self, source: SourceIx, value: Option<ValueId>, now: Boottime) {
        self.limiter.sends(source, now);
        value.into_iter().for_each(|value| self.limiter.value_sends(source, value, now));
    }

    pub(super) fn hears(&mut self, source: SourceIx, value: Option<ValueId>, quotas: Quotas, now: Boottime) -> Option<Boottime> {
        match value {
            Some(value) => self.limiter.value_hears(source, value, quotas, now),
            None => self.limiter.hears(source, quotas, now),
        }
    }

    pub(super) fn meets(
        &mut self,
        source: SourceIx,
        value: Option<ValueId>,
        sign: Sign,
        sent: Boottime,
        now: Boottime,
    ) -> Option<Incident> {
        match value {
            Some(value) => self.limiter.value_meets(source, value, sign, sent, now),
            None => self.limiter.meets(source, sign, sent, now),
        }
    }

    pub(super) fn remembers(&mut self, source: SourceIx, value: Option<ValueId>, record: &LearnedRecord, now: Now) {
        match value {
            Some(value) => self.limiter.value_remembers(source, value, record, now),
            None => self.limiter.remembers(source, record, now),
        }
    }

    /// All of `ask` or nothing; the change must be durable before a request is sent.
    pub(super) fn take(&mut self, ask: Ask, now: Now) -> Result<(PermitId, Option<Change>), HoldOff> {
        let permit = self.limiter.try_acquire(&ask, now.boot)?;
        if let AskKind::ChargedAhead { permits } = ask.kind {
            let Ask { source, value, priority, .. } = ask;
            let charged = Charged { source, value, priority, permits, left: permits, out: 0, last_arrival: None, ended: None };
            self.charges.insert(permit.id, charged);
        }
        if self.sources[ask.source.0 as usize].reserve == 0 {
            return Ok((permit.id, None));
        }
        // Where only something else is told apart by a value, one reservation is for all.
        let value = ask.value.filter(|_| self.sources[ask.source.0 as usize].by_value);
        let at = match ask.kind {
            AskKind::OneRequest | AskKind::Paced => self.block_for_one(ask.source, value, now),
            AskKind::ChargedAhead { permits } => self.new_block(ask.source, value, permits, now),
        };
        let block = self.blocks.get_mut(&at).expect("found or made above");
        block.handed_out += permit.permits;
        self.out.insert(permit.id, (at, permit.permits));
        let block = &self.blocks[&at];
        let reserve = (!block.durable).then(|| Change::Reserve(self.record(at, block)));
        let (is_half_used, is_used) = (block.handed_out * 2 >= block.permits, block.handed_out == block.permits);
        let (terms, whose) = (&mut self.sources[ask.source.0 as usize], (ask.source, value));
        if terms.open.get(&value) == Some(&at) {
            if is_half_used && terms.ahead && !terms.next.contains_key(&value) && !self.soon_empty.contains(&whose) {
                self.soon_empty.push(whose);
            }
            if is_used {
                terms.open.remove(&value);
            }
        }
        Ok((permit.id, reserve))
    }

    /// The charge has not ended.
    pub(super) fn is_charged(&self, charge: PermitId) -> bool {
        self.charges.contains_key(&charge)
    }

    /// What a request needs that the charge may have paid for; `None`: it paid for no more.
    pub(super) fn ask_under(&self, charge: PermitId) -> Option<Under> {
        let charged = self.charges.get(&charge).filter(|charged| charged.left > 0 && charged.ended.is_none())?;
        Some(match charged.permits {
            // It was spaced as the one request that it is when it was charged.
            1 => Under::NothingMore,
            _ => Under::Ask(Ask::paced(charged.source).of(charged.priority).by(charged.value)),
        })
    }

    /// One of the requests of a charge that [`ask_under`](Self::ask_under) names. What is durable of the charge covers it.
    pub(super) fn take_under(&mut self, charge: PermitId, needs: Under, now: Boottime) -> Result<PermitId, HoldOff> {
        let permit = match needs {
            Under::Ask(ask) => self.limiter.try_acquire(&ask, now)?.id,
            Under::NothingMore => {
                self.next_the_one += 1;
                PermitId(self.next_the_one)
            }
        };
        let charged = self.charges.get_mut(&charge).expect("it was asked what it needs a moment ago");
        charged.left -= 1;
        charged.out += 1;
        self.under.insert(permit, charge);
        Ok(permit)
    }

    /// Reservations for requests that are still to come, to be written now. Whoever asks before they are on disk waits for them.
    pub(super) fn reserve_ahead(&mut self, now: Now) -> Vec<Change> {
        let mut changes = Vec::new();
        for (source, value) in std::mem::take(&mut self.soon_empty) {
            if !self.sources[source.0 as usize].next.contains_key(&value) {
                let next = self.new_block_for_ones(source, value, now);
                self.sources[source.0 as usize].next.insert(value, next);
                changes.push(Change::Reserve(self.record(next, &self.blocks[&next])));
            }
        }
        changes
    }

    fn block_for_one(&mut self, source: SourceIx, value: Option<ValueId>, now: Now) -> u64 {
        self.close_what_is_over(now);
        loop {
            let terms = &mut self.sources[source.0 as usize];
            let open = terms.open.get(&value).copied().or_else(|| terms.next.remove(&value));
            let Some(open) = open else { break };
            terms.open.insert(value, open);
            if now.boot < self.blocks[&open].first_sent + RESERVATION_SPAN {
                return open;
            }
            let closed = self.close(source, value, now);
            self.put_off.extend(closed);
        }
        let block = self.new_block_for_ones(source, value, now);
        self.sources[source.0 as usize].open.insert(value, block);
        block
    }

    fn new_block_for_ones(&mut self, source: SourceIx, value: Option<ValueId>, now: Now) -> u64 {
        let terms = &self.sources[source.0 as usize];
        let (reserve, by_value) = (terms.reserve, terms.by_value);
        let block = self.new_block(source, value, reserve, now);
        if by_value {
            self.closing.push_back((now.boot + RESERVATION_SPAN, source, block));
        }
        block
    }

    /// Reservations of values that may never ask again.
    fn close_what_is_over(&mut self, now: Now) {
        while let Some((_, source, block)) = self.closing.pop_front_if(|(over, _, _)| *over <= now.boot) {
            let Some(value) = self.blocks.get(&block).map(|block| block.value) else { continue };
            let terms = &mut self.sources[source.0 as usize];
            let closed = if terms.open.get(&value) == Some(&block) {
                self.close(source, value, now)
            } else if terms.next.get(&value) == Some(&block) {
                terms.next.remove(&value);
                self.finish(block, now)
            } else {
                continue;
            };
            self.put_off.extend(closed);
        }
    }

    fn new_block(&mut self, source: SourceIx, value: Option<ValueId>, permits: u32, now: Now) -> u64 {
        let id = self.next_block;
        self.next_block += 1;
        let block = Block {
            source,
            value,
            permits,
            handed_out: 0,
            settled: 0,
            used: 0,
            first_sent: now.boot,
            first_sent_wall: now.wall,
            last_arrival: None,
            durable: false,
        };
        self.blocks.insert(id, block);
        id
    }

    fn record(&self, id: u64, block: &Block) -> Reservation {
        Reservation {
            id,
            source: self.sources[block.source.0 as usize].name.to_string(),
            value: block.value.and_then(|value| self.name_of(value)).map(|value| value.to_string()),
            permits: block.permits,
            boot_id: self.boot.clone(),
            first_sent: block.first_sent,
            first_sent_wall: block.first_sent_wall,
            settled: None,
        }
    }

    pub(super) fn reserved(&mut self, id: u64) {
        if let Some(block) = self.blocks.get_mut(&id) {
            block.durable = true;
        }
    }

    pub(super) fn sent(&mut self, permit: PermitId, now: Boottime) -> Result<(), HoldOff> {
        let known = self.under.get(&permit).copied().filter(|_| permit.0 > THE_ONE_REQUEST).unwrap_or(permit);
        self.limiter.sent(known, now)
    }

    pub(super) fn settle(&mut self, permit: PermitId, how: Settlement, now: Now) -> Vec<Change> {
        if let Some(charge) = self.under.remove(&permit) {
            self.limiter.settle(permit, how, now.boot);
            return self.settle_under(charge, how, now);
        }
        match self.charges.get_mut(&permit) {
            None => self.settle_one(permit, how, now),
            Some(charged) => {
                charged.ended = Some(how);
                self.settle_charge(permit, now)
            }
        }
    }

    fn settle_under(&mut self, charge: PermitId, how: Settlement, now: Now) -> Vec<Change> {
        let Some(charged) = self.charges.get_mut(&charge) else { return Vec::new() };
        charged.out -= 1;
        match how {
            Settlement::Unsent => charged.left += 1,
            Settlement::ArrivedBy(at) => charged.last_arrival = charged.last_arrival.max(Some(at)),
        }
        self.settle_charge(charge, now)
    }

    /// A charge ends with its attempt, or when all that it paid for has been sent through us; but never before that is
    /// settled.
    fn settle_charge(&mut self, charge: PermitId, now: Now) -> Vec<Change> {
        let charged = &self.charges[&charge];
        if charged.out > 0 || (charged.left > 0 && charged.ended.is_none()) {
            return Vec::new();
        }
        let end = match charged.ended {
            Some(Settlement::ArrivedBy(end)) => Some(end),
            Some(Settlement::Unsent) | None => None,
        };
        let how = end.max(charged.last_arrival).map_or(Settlement::Unsent, Settlement::ArrivedBy);
        self.charges.remove(&charge);
        self.settle_one(charge, how, now)
    }

    fn settle_one(&mut self, permit: PermitId, how: Settlement, now: Now) -> Vec<Change> {
        self.limiter.settle(permit, how, now.boot);
        self.close_what_is_over(now);
        let Some((at, permits)) = self.out.remove(&permit) else { return Vec::new() };
        let block = self.blocks.get_mut(&at).expect("a permit's block stays until it is settled");
        block.settled += permits;
        if let Settlement::ArrivedBy(arrival) = how {
            block.used += permits;
            block.last_arrival = block.last_arrival.max(Some(arrival));
        }
        let mut changes = std::mem::take(&mut self.put_off);
        changes.extend(self.finish(at, now));
        changes.extend(self.fade(now.boot));
        changes
    }

    /// Nothing is on its way any more: what is left of the open reservations is given back.
    pub(super) fn close_all(&mut self, now: Now) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.put_off);
        self.soon_empty.clear();
        for source in 0..self.sources.len() {
            let terms = &mut self.sources[source];
            let mut open: Vec<u64> = terms.open.drain().chain(terms.next.drain()).map(|(_, block)| block).collect();
            open.sort_unstable();
            changes.extend(open.into_iter().filter_map(|open| self.finish(open, now)));
        }
        self.closing.clear();
        changes
    }

    /// What is open is closed, and what was to follow it takes its place.
    fn close(&mut self, source: SourceIx, value: Option<ValueId>, now: Now) -> Option<Change> {
        let terms = &mut self.sources[source.0 as usize];
        let open = match terms.next.remove(&value) {
            Some(next) => terms.open.insert(value, next),
            None => terms.open.remove(&value),
        };
        self.finish(open?, now)
    }

    /// Records what a block used, once nobody draws from it and all it gave is settled.
    fn finish(&mut self, at: u64, now: Now) -> Option<Change> {
        let block = &self.blocks[&at];
        let terms = &self.sources[block.source.0 as usize];
        if [terms.open.get(&block.value), terms.next.get(&block.value)].contains(&Some(&at)) || block.settled < block.handed_out {
            return None;
        }
        let counts_for = terms.counts_for;
        let block = self.blocks.remove(&at)?;
        let Some(last_arrival) = block.last_arrival else { return Some(Change::ForgetReservation(at)) };
        self.fading.insert((last_arrival + counts_for, at));
        let settled = SettledReservation { used: block.used, last_arrival, last_arrival_wall: now.wall_at(last_arrival) };
        Some(Change::SettleReservation { id: at, settled })
    }

    /// Forgets what no window can see any more.
    fn fade(&mut self, now: Boottime) -> Vec<Change> {
        let mut changes = Vec::new();
        while let Some((_, id)) = self.fading.first().copied().filter(|(until, _)| *until < now) {
            self.fading.pop_first();
            changes.push(Change::ForgetReservation(id));
        }
        changes
    }
}

/// What a request needs that was charged already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Under {
    Ask(Ask),
    NothingMore,
}

fn terms_of(name: &Arc<str>, source: &SourceRules, of_all: &Limits) -> SourceTerms {
    let whole = reservation_size(&source.scopes(of_all));
    let ahead = whole >= HALVED_FROM;
    SourceTerms {
        name: name.clone(),
        reserve: if ahead { whole / 2 } else { whole },
        ahead,
        counts_for: source.scopes(of_all).into_iter().map(counts_for).max().unwrap_or_default(),
        open: HashMap::new(),
        next: HashMap::new(),
        by_value: source.by.as_ref().is_some_and(|by| by.limits != Limits::default()),
    }
}

fn scopes_of(rules: &Rules) -> Vec<(String, Limits)> {
    rules.sources.iter().map(|(name, source)| (name.to_string(), source.limits.clone())).collect()
}

/// By source: what each value has for itself; `None`: nothing.
fn limits_by(rules: &Rules) -> Vec<Option<Limits>> {
    let by = |source: &SourceRules| source.by.as_ref().map(|by| by.limits.clone()).filter(|limits| *limits != Limits::default());
    rules.sources.values().map(by).collect()
}

fn elsewhere_counts_for(of_all: &Limits) -> Duration {
    counts_for(of_all).max(LONGEST_WINDOW + of_all.linger + RESERVATION_SPAN)
}

fn is_limited(limits: &Limits) -> bool {
    !limits.windows.is_empty() || limits.min_delay.is_some() || limits.burst.is_some() || limits.in_flight.is_some()
}

/// About a second's worth at the rate of the strictest window, as far as a crash may cost it.
fn reservation_size(scopes: &[&Limits]) -> u32 {
    if !scopes.iter().any(|limits| is_limited(limits)) {
        return 0;
    }
    let windows = scopes.iter().flat_map(|limits| &limits.windows);
    let a_second = windows.map(|window| f64::from(window.requests) * RESERVATION_SPAN.as_secs_f64() / window.span.as_secs_f64());
    let strictest = a_second.reduce(f64::min).unwrap_or(LARGEST_RESERVATION);
    let largest = LARGEST_RESERVATION.max(strictest / 100.0);
    strictest.clamp(1.0, largest) as u32
}

fn counts_for(limits: &Limits) -> Duration {
    let longest = limits.windows.iter().map(|window| window.span).max().unwrap_or_default();
    let margin = match limits.margin {
        Margin::Bracket => Duration::ZERO,
        Margin::Fixed(margin) => margin,
    };
    longest.max(limits.min_delay.unwrap_or_default()) + margin + limits.linger + RESERVATION_SPAN
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Window;

    #[test]
    fn a_reservation_is_a_seconds_worth_or_as_much_as_a_crash_may_cost() {
        let of = |windows: &[(u32, u64)]| {
            let windows = windows.iter().map(|(requests, secs)| Window { requests: *requests, span: Duration::from_secs(*secs) });
            Limits { windows: windows.collect(), ..Limits::default() }
        };
        let none = Limits::default();
        assert_eq!(reservation_size(&[&none]), 0, "nothing is limited");
        assert_eq!(reservation_size(&[&Limits { in_flight: Some(1), ..none.clone() }]), 64, "no rate is declared");
        for (windows, size) in [
            (&[(60, 60)][..], 1),
            (&[(20, 60)], 1),
            (&[(40, 1)], 40),
            (&[(40, 1), (3_600, 3_600)], 1),
            (&[(1_000, 1)], 64),
            (&[(6_400, 1)], 64),
            (&[(100_000, 1)], 1_000),
        ] {
            assert_eq!(reservation_size(&[&of(windows), &none]), size, "{windows:?}");
            assert_eq!(reservation_size(&[&none, &of(windows)]), size, "of all sources: {windows:?}");
        }
    }
}
