//! The limiter: one question to all limits of a source, of the value that asks and of all sources together, answered as a whole.
//!
//! Without the "as a whole" a request that its source admits but the rest refuses would use up the source's quota for
//! nothing. Here either every scope admits and every scope is charged, or none is touched
//! (`a_refusal_changes_nothing`).
//!
//! It does not wait, queue or choose: who asks first gets the permit. Fairness and order are the dispatcher's.

use std::collections::HashMap;
use std::time::Duration;

use crate::ports::{PermitId, Quotas, Settlement};
use crate::record::LearnedRecord;
use crate::spec::{Limits, PriorityLevel, Reserve};
use crate::time::{Boottime, Now};

use super::learned::{Incident, Learned, Sign};
use super::scope::{Holding, Load, Scope, Wait};
use super::values::{Taught, Values};
use super::{Ask, Because, HoldOff, Permit, Reach, Restored, SourceIx, ValueUsage, WindowUsage};
use crate::ids::ValueId;

/// State of all limits. Two that were told the same are equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Limiter {
    sources: Vec<Scope>,
    all: Scope,
    reserve: Reserve,
    /// By source; `None`: its requests are not told apart.
    values: Vec<Option<Values>>,
    /// By source.
    learned: Vec<Learned>,
    paused_until: Vec<Option<Boottime>>,
    granted: HashMap<PermitId, Granted>,
    next_permit: u64,
    /// The latest `now` at which anything was granted or settled. A caller that read its clock before that and came
    /// second is taken to ask at this instant: it cannot send earlier.
    latest: Boottime,
}

#[derive(Clone, Debug, PartialEq)]
struct Granted {
    source: SourceIx,
    in_source: Holding,
    in_all: Holding,
    in_value: Option<(ValueId, Holding)>,
    /// What [`Learned::take_back`] wants, of the source and of the value.
    learned: Option<Boottime>,
    learned_of_value: Option<Boottime>,
}

impl Limiter {
    /// `sources` in the order of `Spec::sources`.
    pub fn new(sources: &[(String, Limits)], all: &Limits) -> Self {
        Limiter {
            sources: sources.iter().map(|(_, limits)| Scope::new(Reach::Source, limits)).collect(),
            all: Scope::new(Reach::AllSources, all),
            reserve: Reserve::default(),
            values: vec![None; sources.len()],
            learned: sources.iter().map(|(_, limits)| Learned::new(limits)).collect(),
            paused_until: vec![None; sources.len()],
            granted: HashMap::new(),
            next_permit: 1,
            latest: Boottime::default(),
        }
    }

    /// From now on each value of the source's requests has these limits for itself, beside the source's own. If that bounds no
    /// requests, what upstream says to one value is of that value alone.
    pub fn by_value(&mut self, source: SourceIx, limits: &Limits) {
        let learns = !self.sources[source.0 as usize].bounds_requests();
        self.values[source.0 as usize] = Some(Values::new(limits, learns));
    }

    /// Other limits from now on. Every window keeps what it has seen; sources keep their places, new ones come behind them. `by`: what each value of a
    /// source has for itself.
    pub fn obey(&mut self, sources: &[(String, Limits)], all: &Limits, by: &[Option<Limits>], reserve: Reserve, now: Now) {
        for (at, (_, limits)) in sources.iter().enumerate() {
            match self.sources.get_mut(at) {
                Some(scope) if scope.obeys(limits) => {}
                Some(scope) => {
                    scope.obey(limits);
                    let learned = self.learned[at].to_record(now);
                    self.learned[at] = Learned::new(limits);
                    if let Some(record) = learned {
                        self.learned[at].restore(&record, now);
                    }
                }
                None => {
                    self.sources.push(Scope::new(Reach::Source, limits));
                    self.learned.push(Learned::new(limits));
                    self.values.push(None);
                    self.paused_until.push(None);
                }
            }
            let learns = !self.sources[at].bounds_requests();
            match (&mut self.values[at], &by[at]) {
                (Some(values), Some(limits)) => values.obey(limits, learns),
                (values, limits) => *values = limits.as_ref().map(|limits| Values::new(limits, learns)),
            }
        }
        self.all.obey(all);
        if reserve != self.reserve {
            self.set_aside(reserve);
        } else {
            // Those that came just now.
            self.sources.iter_mut().filter(|scope| !scope.sets_aside(reserve)).for_each(|scope| scope.set_aside(reserve));
            self.values.iter_mut().flatten().for_each(|values| values.set_aside_if_new(reserve));
        }
    }

    /// Sets a share of every window aside, from now on; what was used before is nobody's.
    pub fn set_aside(&mut self, reserve: Reserve) {
        self.reserve = reserve;
        self.sources.iter_mut().chain([&mut self.all]).for_each(|scope| scope.set_aside(reserve));
        self.values.iter_mut().flatten().for_each(|values| values.set_aside(reserve));
    }

    /// Permits get numbers from `first` on: a restarted engine goes on behind its predecessor's.
    pub fn number_from(&mut self, first: u64) {
        self.next_permit = self.next_permit.max(first);
    }

    /// Grants all of `ask` or nothing. A refusal changes nothing. The permit must be settled once; one for
    /// [`AskKind::OneRequest`](super::AskKind::OneRequest) is held until [`sent`](Self::sent).
    pub fn try_acquire(&mut self, ask: &Ask, now: Boottime) -> Result<Permit, HoldOff> {
        self.could_acquire(ask, now)?;
        let now = self.advance(now);
        let id = PermitId(self.next_permit);
        self.next_permit += 1;
        let in_source = self.sources[ask.source.0 as usize].grant(ask, now);
        let in_all = self.all.grant(ask, now);
        let in_value = self.values[ask.source.0 as usize].as_mut().map(|values| {
            let value = ask.value.unwrap_or_default();
            (value, values.charged(value, now).grant(ask, now))
        });
        let requests = Load::from(ask.kind).in_long();
        let learned = self.learned[ask.source.0 as usize].grant(requests, now);
        let taught = self.values[ask.source.0 as usize].as_mut().and_then(|values| values.taught_mut(ask.value.unwrap_or_default()));
        let learned_of_value = taught.and_then(|taught| taught.learned.grant(requests, now));
        self.granted.insert(id, Granted { source: ask.source, in_source, in_all, in_value, learned, learned_of_value });
        Ok(Permit { id, source: ask.source, permits: Load::from(ask.kind).requests() })
    }

    /// The same answer, and takes nothing.
    pub fn could_acquire(&self, ask: &Ask, now: Boottime) -> Result<(), HoldOff> {
        match self.refusals(ask, now).reduce(HoldOff::or_longer) {
            Some(hold_off) => Err(hold_off),
            None => Ok(()),
        }
    }

    /// What refuses the same request of any other value as well.
    pub fn refusal_of_any_value(&self, ask: &Ask, now: Boottime) -> Option<HoldOff> {
        self.refusals_of_all_values(ask, now).reduce(HoldOff::or_longer)
    }

    /// The shortest window that refuses `ask` at `now`: so long may others pass it. `None`: no window does.
    pub fn shortest_refusing_window(&self, ask: &Ask, now: Boottime) -> Option<Duration> {
        self.refusals(ask, now).filter_map(|hold_off| hold_off.because().window()).map(|window| window.span).min()
    }

    fn refusals(&self, ask: &Ask, now: Boottime) -> impl Iterator<Item = HoldOff> + '_ {
        let (load, priority) = (Load::from(ask.kind), ask.priority);
        let own = self.of_value(ask).map(|scope| scope.refusals(load, priority, now.max(self.latest)));
        let taught = self.taught(ask.source, ask.value.unwrap_or_default()).map(|taught| (taught, now.max(self.latest)));
        let paused = taught.and_then(|(taught, now)| {
            let at = taught.paused_until.filter(|until| *until > now)?;
            Some(HoldOff::Until { at, because: Because::Paused { reach: Reach::Value } })
        });
        let learned = taught.and_then(|(taught, now)| taught.learned.refusal(load.in_long(), now));
        self.refusals_of_all_values(ask, now).chain(own.into_iter().flatten()).chain(paused).chain(learned)
    }

    fn taught(&self, source: SourceIx, value: ValueId) -> Option<&Taught> {
        self.values[source.0 as usize].as_ref()?.taught(value)
    }

    /// The limits that its value has for itself.
    fn of_value(&self, ask: &Ask) -> Option<&Scope> {
        Some(self.values[ask.source.0 as usize].as_ref()?.scope(ask.value.unwrap_or_default()))
    }

    fn refusals_of_all_values(&self, ask: &Ask, now: Boottime) -> impl Iterator<Item = HoldOff> + '_ {
        let now = now.max(self.latest);
        let load = Load::from(ask.kind);
        let paused = self.paused(ask.source, now);
        let source = self.sources[ask.source.0 as usize].refusals(load, ask.priority, now);
        let learned = self.learned[ask.source.0 as usize].refusal(load.in_long(), now);
        paused.into_iter().chain(learned).chain(source).chain(self.all.refusals(load, ask.priority, now))
    }

    /// Whether `ask` takes nothing of any window but what is set aside for its priority, and so nothing from anybody else.
    pub fn is_within_its_share(&self, ask: &Ask, now: Boottime) -> bool {
        let (now, load) = (now.max(self.latest), Load::from(ask.kind));
        let of_source = self.sources[ask.source.0 as usize].within_share(load, ask.priority, now);
        let mut windows = of_source.chain(self.all.within_share(load, ask.priority, now)).peekable();
        windows.peek().is_some() && windows.all(|within| within)
    }

    /// Likewise, of the windows that its value has for itself.
    pub fn is_within_its_share_of_its_value(&self, ask: &Ask, now: Boottime) -> bool {
        let (now, load) = (now.max(self.latest), Load::from(ask.kind));
        let mut windows = self.of_value(ask).into_iter().flat_map(|scope| scope.within_share(load, ask.priority, now)).peekable();
        windows.peek().is_some() && windows.all(|within| within)
    }

    /// From when on `ask` is within its share, of the windows of its value or of all others, if nothing more is sent. `None`: nobody
    /// knows yet.
    pub fn within_its_share_from(&self, ask: &Ask, reach: Reach, now: Boottime) -> Option<Boottime> {
        let (now, load) = (now.max(self.latest), Load::from(ask.kind));
        let scopes: Vec<&Scope> = match reach {
            Reach::Value => self.of_value(ask).into_iter().collect(),
            Reach::Source | Reach::AllSources => vec![&self.sources[ask.source.0 as usize], &self.all],
        };
        let from = scopes.into_iter().flat_map(|scope| scope.within_share_from(load, ask.priority, now));
        from.collect::<Option<Vec<Boottime>>>()?.into_iter().max()
    }

    /// Whether the source's own limits would let so many single requests go at once. `Err`: when they will, if nothing else
    /// happens; `None`: not before something is settled, or never.
    pub fn has_room_for(&self, source: SourceIx, priority: PriorityLevel, requests: u64, now: Boottime) -> Result<(), Option<Boottime>> {
        match self.sources[source.0 as usize].wait_for_all(requests, priority, now.max(self.latest)) {
            None => Ok(()),
            Some(Wait::Until(at)) => Err(Some(at)),
            Some(Wait::UntilSettled | Wait::Never) => Err(None),
        }
    }

    /// Requests of this priority in [`MILLION_MILLION`](super::MILLION_MILLION) microseconds that the source's own limits admit
    /// in the long run, if each takes `settle` from sent to settled; `None`: nothing bounds them.
    pub fn rate(&self, source: SourceIx, reserve: &Reserve, priority: PriorityLevel, settle: Duration) -> Option<u128> {
        self.sources[source.0 as usize].rate(reserve, priority, settle)
    }

    /// As if there were no limits of all sources together, and no pauses.
    #[cfg(test)]
    pub(crate) fn of_sources_alone(&self) -> Limiter {
        let all = Scope::new(Reach::AllSources, &crate::spec::Limits::default());
        Limiter { all, paused_until: vec![None; self.sources.len()], values: vec![None; self.sources.len()], ..self.clone() }
    }

    fn paused(&self, source: SourceIx, now: Boottime) -> Option<HoldOff> {
        let at = self.paused_until[source.0 as usize].filter(|until| *until > now)?;
        Some(HoldOff::Until { at, because: Because::Paused { reach: Reach::Source } })
    }

    /// The one request of a held permit goes out now: call it before the first byte leaves. Refused only while the
    /// source is paused; a permit that is not out (any more) is none of our business.
    pub fn sent(&mut self, permit: PermitId, now: Boottime) -> Result<(), HoldOff> {
        let now = now.max(self.latest);
        let Some(granted) = self.granted.get(&permit) else { return Ok(()) };
        if let Some(paused) = self.paused(granted.source, now) {
            return Err(paused);
        }
        let of_value = granted.in_value.and_then(|(value, _)| self.value_paused_until(granted.source, value, now));
        if let Some(at) = of_value {
            return Err(HoldOff::Until { at, because: Because::Paused { reach: Reach::Value } });
        }
        self.advance(now);
        let granted = self.granted.get_mut(&permit).expect("looked up above");
        self.sources[granted.source.0 as usize].sent(&mut granted.in_source, now);
        self.all.sent(&mut granted.in_all, now);
        if let Some((value, holding)) = &mut granted.in_value
            && let Some(scope) = self.values[granted.source.0 as usize].as_mut().and_then(|values| values.known(*value))
        {
            scope.sent(holding, now);
        }
        Ok(())
    }

    /// Ends a permit. Unsent gives everything back; otherwise it counts until the settled instant plus each window. That
    /// instant may lie ahead of `now` (a connection closed: now plus [`linger`](Self::linger)). A permit that is not out
    /// (any more) changes nothing.
    pub fn settle(&mut self, permit: PermitId, how: Settlement, now: Boottime) {
        let Some(granted) = self.granted.remove(&permit) else { return };
        let now = self.advance(now);
        if how == Settlement::Unsent {
            self.learned[granted.source.0 as usize].take_back(granted.learned, now);
            let values = self.values[granted.source.0 as usize].as_mut().zip(granted.in_value);
            if let Some(taught) = values.and_then(|(values, (value, _))| values.taught_mut(value)) {
                taught.learned.take_back(granted.learned_of_value, now);
            }
        }
        self.sources[granted.source.0 as usize].settle(granted.in_source, how, now);
        self.all.settle(granted.in_all, how, now);
        if let Some((value, holding)) = granted.in_value
            && let Some(scope) = self.values[granted.source.0 as usize].as_mut().and_then(|values| values.known(value))
        {
            scope.settle(holding, how, now);
        }
    }

    /// The whole source is left alone until then; a pause that is there already is never shortened.
    pub fn pause(&mut self, source: SourceIx, until: Boottime) {
        let paused = &mut self.paused_until[source.0 as usize];
        *paused = (*paused).max(Some(until));
    }

    pub fn paused_until(&self, source: SourceIx, now: Boottime) -> Option<Boottime> {
        self.paused_until[source.0 as usize].filter(|until| *until > now)
    }

    /// Whether what upstream says to a value of this source is of that value alone.
    pub fn learns_by_value(&self, source: SourceIx) -> bool {
        self.values[source.0 as usize].as_ref().is_some_and(Values::learns)
    }

    /// Only this value is left alone until then.
    pub fn pause_value(&mut self, source: SourceIx, value: ValueId, until: Boottime, now: Boottime) {
        let now = self.advance(now);
        if let Some(taught) = self.values[source.0 as usize].as_mut().and_then(|values| values.teach(value, now)) {
            taught.paused_until = taught.paused_until.max(Some(until));
        }
    }

    pub fn value_paused_until(&self, source: SourceIx, value: ValueId, now: Boottime) -> Option<Boottime> {
        self.taught(source, value)?.paused_until.filter(|until| *until > now)
    }

    /// What answers to this value have taught; `None`: nothing.
    pub fn learned_of_value(&self, source: SourceIx, value: ValueId) -> Option<&Learned> {
        self.taught(source, value).map(|taught| &taught.learned)
    }

    /// As [`sends`](Self::sends), of a request of this value.
    pub fn value_sends(&mut self, source: SourceIx, value: ValueId, now: Boottime) {
        if let Some(taught) = self.values[source.0 as usize].as_mut().and_then(|values| values.teach(value, now)) {
            taught.learned.sends(now);
        }
    }

    /// As [`hears`](Self::hears), of a quota of this value.
    pub fn value_hears(&mut self, source: SourceIx, value: ValueId, quotas: Quotas, now: Boottime) -> Option<Boottime> {
        let values = self.values[source.0 as usize].as_mut()?;
        let in_flight = values.scope(value).in_flight(now);
        let taught = values.teach(value, now)?;
        let used_up = taught.learned.hears(quotas, in_flight, now)?;
        taught.paused_until = taught.paused_until.max(Some(used_up));
        Some(used_up)
    }

    /// As [`meets`](Self::meets), of a request of this value.
    pub fn value_meets(&mut self, source: SourceIx, value: ValueId, sign: Sign, sent: Boottime, now: Boottime) -> Option<Incident> {
        let taught = self.values[source.0 as usize].as_mut()?.teach(value, now)?;
        let incident = taught.learned.meets(sign, sent, now)?;
        if let Some((until, _)) = incident.own_pause {
            taught.paused_until = taught.paused_until.max(Some(until));
        }
        Some(incident)
    }

    /// As [`remembers`](Self::remembers), of a value.
    pub fn value_remembers(&mut self, source: SourceIx, value: ValueId, record: &LearnedRecord, now: Now) {
        if let Some(taught) = self.values[source.0 as usize].as_mut().and_then(|values| values.teach(value, now.boot)) {
            taught.learned.restore(record, now);
        }
    }

    /// What the source's answers have taught.
    pub fn learned(&self, source: SourceIx) -> &Learned {
        &self.learned[source.0 as usize]
    }

    /// A request to the source is sent; only of those whose answers will be told.
    pub fn sends(&mut self, source: SourceIx, now: Boottime) {
        self.learned[source.0 as usize].sends(now);
    }

    /// An answer said this of upstream's own limits. Returned: nothing is left until then, and the source is paused.
    pub fn hears(&mut self, source: SourceIx, quotas: Quotas, now: Boottime) -> Option<Boottime> {
        let in_flight = self.in_flight(Some(source), now);
        let used_up = self.learned[source.0 as usize].hears(quotas, in_flight, now)?;
        self.pause(source, used_up);
        Some(used_up)
    }

    /// A request that was sent at `sent` met this; if that is news, the source is paused and slower from then on.
    pub fn meets(&mut self, source: SourceIx, sign: Sign, sent: Boottime, now: Boottime) -> Option<Incident> {
        let incident = self.learned[source.0 as usize].meets(sign, sent, now)?;
        if let Some((until, _)) = incident.own_pause {
            self.pause(source, until);
        }
        Some(incident)
    }

    /// What an earlier process has learned.
    pub fn remembers(&mut self, source: SourceIx, record: &LearnedRecord, now: Now) {
        self.learned[source.0 as usize].restore(record, now);
    }

    /// Counts permits that an earlier process used or may have used. Not settled: everything it may have sent is on its
    /// way no longer than `linger` from now, because that process is dead. `None`: to a source that the config does not
    /// know (any more), which counts for all sources together all the same. `value`: whose they were, as far as it is on record.
    pub fn restore(&mut self, source: Option<SourceIx>, value: Option<ValueId>, permits: u32, sent: Restored, now: Boottime) {
        if permits == 0 {
            return;
        }
        let now = self.advance(now);
        let arrived_by = sent.last_arrival.unwrap_or(now + self.linger(source)).max(sent.first_sent);
        if let Some(source) = source {
            self.sources[source.0 as usize].restore(permits, arrived_by, now);
            if let Some(values) = &mut self.values[source.0 as usize] {
                values.charged(value.unwrap_or_default(), now).restore(permits, arrived_by, now);
            }
        }
        self.all.restore(permits, arrived_by, now);
    }

    /// Every window of the source (`None`: of all sources together), shortest first.
    pub fn usage(&self, source: Option<SourceIx>, now: Boottime) -> Vec<WindowUsage> {
        self.scope(source).usage(now.max(self.latest))
    }

    /// Every value of the source of which something is known, in no particular order.
    pub fn values(&self, source: SourceIx, now: Boottime) -> Vec<ValueUsage> {
        let now = now.max(self.latest);
        let of = |(value, scope): (ValueId, &Scope)| ValueUsage {
            value,
            windows: scope.usage(now),
            in_flight: scope.in_flight(now),
            refusal: scope.refusals(Load::Single, PriorityLevel::default(), now).reduce(HoldOff::or_longer),
        };
        self.values[source.0 as usize].iter().flat_map(Values::all).map(of).collect()
    }

    /// Whose value a permit that is out is charged to.
    pub fn whose(&self, permit: PermitId) -> Option<(SourceIx, ValueId)> {
        let granted = self.granted.get(&permit)?;
        granted.in_value.as_ref().map(|(value, _)| (granted.source, *value))
    }

    /// Values of which something could still make a difference.
    pub fn known_values(&self, source: SourceIx) -> impl Iterator<Item = ValueId> + '_ {
        self.values[source.0 as usize].iter().flat_map(Values::all).map(|(value, _)| value)
    }

    /// Requests granted one by one and not settled.
    pub fn in_flight(&self, source: Option<SourceIx>, now: Boottime) -> u32 {
        self.scope(source).in_flight(now)
    }

    /// How much longer than its closed connection a request to this source (`None`: to any) may take to arrive: the
    /// longest of what its own limits and those of all sources together say.
    pub fn linger(&self, source: Option<SourceIx>) -> Duration {
        let of_values = source.and_then(|source| self.values[source.0 as usize].as_ref()).map(|values| values.linger());
        self.scope(source).linger().max(self.all.linger()).max(of_values.unwrap_or_default())
    }

    /// Permits that are out.
    pub fn granted(&self) -> usize {
        self.granted.len()
    }

    /// Instants that windows and spacing remember.
    pub fn remembered(&self) -> usize {
        let of_values: usize = self.values.iter().flatten().map(Values::remembered).sum();
        self.sources.iter().chain([&self.all]).map(Scope::remembered).sum::<usize>() + of_values
    }

    fn scope(&self, source: Option<SourceIx>) -> &Scope {
        source.map_or(&self.all, |source| &self.sources[source.0 as usize])
    }

    fn advance(&mut self, now: Boottime) -> Boottime {
        self.latest = self.latest.max(now);
        self.latest
    }
}
