//! Which limits refuse at an instant, and for how long: by going through every bracket each time.
//!
//! The words are FACE's: a request counts against W from sent until settled + W; `in_flight` is what is not settled;
//! `min_delay` runs from settled to sent; `burst` is how many may be ahead of an even spread of the shortest window of a
//! minute or more; what each value has for itself counts its own brackets alone; what a command was charged ahead for counts in windows of a minute or more; and with a `reserve` each
//! priority counts at least as much as is set aside for it, its share of the window rounded down.

use std::collections::HashMap;

use adce_core::ids::AttemptId;
use adce_core::ports::PermitId;
use adce_core::record::Reservation;
use adce_core::spec::{Limits, PriorityLevel, Reserve, Window};

use super::lessons::Lessons;
use crate::clocks::Clocks;
use crate::disk::Disk;
use crate::facts::Moment;
use crate::scenario::{MINUTE, Micros, SECOND, Scenario, Value, value_of};

pub struct Brackets {
    sources: Vec<Limits>,
    /// By source: of each value for itself.
    each: Vec<Option<Limits>>,
    together: Limits,
    reserve: Reserve,
    longest: Micros,
    all: Vec<Bracket>,
    at: HashMap<Whose, usize>,
    paused_until: Vec<Micros>,
    /// By source: what its refusals have taught.
    pub lessons: Vec<Lessons>,
    cleaned_at: Micros,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    Permit(PermitId),
    /// Charged ahead, until the attempt ends.
    Charge(AttemptId),
}

#[derive(Clone, Debug)]
struct Bracket {
    whose: Option<Whose>,
    source: usize,
    value: Option<Value>,
    /// `None`: an earlier process sent it, and nobody remembers for whom.
    priority: Option<PriorityLevel>,
    requests: u32,
    alone: bool,
    granted: Micros,
    sent: Option<Micros>,
    /// The last instant at which it may have arrived.
    until: Option<Micros>,
    unsent: bool,
}

/// How long a rule refuses; in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HowLong {
    Until(Micros),
    Unsettled,
    Never,
}

/// Whose limits refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those that the value has for itself.
    Value,
    Source,
    All,
}

#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    pub reach: Reach,
    pub window: Option<Window>,
    pub how_long: HowLong,
}

/// What somebody needs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Need {
    pub source: usize,
    /// `None`: nobody tells its requests apart.
    pub value: Option<Value>,
    pub priority: PriorityLevel,
    pub requests: u32,
    /// adce sends it, or it is the only one that is charged.
    pub alone: bool,
}

impl Brackets {
    pub fn new(scenario: &Scenario) -> Self {
        let sources: Vec<Limits> = scenario.sources.iter().map(|source| source.limits.clone()).collect();
        let each: Vec<Option<Limits>> = scenario.sources.iter().map(|source| source.each.clone()).collect();
        let windows = sources.iter().chain([&scenario.together]).chain(each.iter().flatten()).flat_map(|limits| &limits.windows);
        Brackets {
            longest: windows.map(span).max().unwrap_or(0),
            paused_until: vec![0; sources.len()],
            lessons: sources.iter().map(Lessons::new).collect(),
            sources,
            each,
            together: scenario.together.clone(),
            reserve: scenario.reserve,
            all: Vec::new(),
            at: HashMap::new(),
            cleaned_at: 0,
        }
    }

    // -------------------------------------------------------------------------------------------------- what happened

    pub fn granted(&mut self, whose: Whose, need: Need, at: Micros) {
        self.lessons[need.source].granted(need.requests, at);
        self.at.insert(whose, self.all.len());
        let Need { source, value, priority, requests, alone } = need;
        let priority = Some(priority);
        self.all.push(Bracket {
            whose: Some(whose),
            source,
            value,
            priority,
            requests,
            alone,
            granted: at,
            sent: None,
            until: None,
            unsent: false,
        });
    }

    pub fn knows(&self, whose: Whose) -> bool {
        self.at.contains_key(&whose)
    }

    pub fn sent(&mut self, whose: Whose, at: Micros) {
        if let Some(place) = self.at.get(&whose) {
            self.all[*place].sent.get_or_insert(at);
        }
    }

    pub fn arrived_by(&mut self, whose: Whose, until: Micros) {
        if let Some(place) = self.at.remove(&whose) {
            self.all[place].until = Some(until);
        }
    }

    /// It counts nowhere; but an even spread that went on from it is not undone.
    pub fn unsent(&mut self, whose: Whose, at: Micros) {
        let Some(place) = self.at.remove(&whose) else { return };
        let Bracket { sent, source, granted, .. } = self.all[place];
        self.lessons[source].unsent(granted, at);
        let followed = |other: &Bracket| other.source == source && other.sent.is_some() && other.sent >= sent;
        let others_followed = self.all.iter().enumerate().any(|(at, other)| at != place && followed(other));
        let bracket = &mut self.all[place];
        bracket.unsent = true;
        bracket.until = Some(0);
        if !others_followed {
            bracket.sent = None;
        }
    }

    pub fn paused(&mut self, source: usize, until: Micros) {
        self.paused_until[source] = self.paused_until[source].max(until);
    }

    /// Only what was written down counts, and what was not settled is on its way until `linger` from now.
    pub fn restart(&mut self, disk: &Disk, clocks: &Clocks, names: &[String], moment: Moment) {
        self.all.clear();
        self.at.clear();
        for reservation in disk.reservations.values() {
            let Some(source) = names.iter().position(|name| *name == reservation.source) else { continue };
            let (requests, until) = match reservation.settled {
                Some(settled) => (settled.used, arrival(reservation, disk, clocks, moment)),
                None => (reservation.permits, moment.at + SECOND),
            };
            let (whose, priority) = (None, None);
            let value = self.each[source].as_ref().and(reservation.value.as_deref()).map(value_of);
            self.all.push(Bracket {
                whose,
                source,
                value,
                priority,
                requests,
                alone: true,
                granted: 0,
                sent: None,
                until: Some(until),
                unsent: false,
            });
        }
        for (source, name) in names.iter().enumerate() {
            let paused = disk.sources.get(name).and_then(|record| record.paused_until);
            let left = paused.map_or(0, |until| until.duration_since(moment.now.wall).as_micros().max(0));
            self.paused_until[source] = moment.at + left as Micros;
            let learned = disk.sources.get(name).and_then(|record| record.learned.as_ref());
            self.lessons[source].restart(&self.sources[source], learned, moment);
        }
    }

    // ------------------------------------------------------------------------------------------------- what that means

    pub fn paused_for(&self, source: usize, at: Micros) -> bool {
        at < self.paused_until[source]
    }

    /// Every rule that refuses, the source's own first.
    pub fn refusals(&self, need: Need, at: Micros) -> Vec<Refusal> {
        let learned = self.lessons[need.source].refuses_until(at).map(HowLong::Until);
        let learned = learned.map(|how_long| Refusal { reach: Reach::Source, window: None, how_long });
        let scopes = self.scopes(need);
        learned.into_iter().chain(scopes.into_iter().flat_map(|(limits, reach)| self.of_scope(limits, reach, need, at))).collect()
    }

    /// The source's own limits would let so many single requests go at once.
    pub fn has_room_for(&self, source: usize, priority: PriorityLevel, requests: u32, at: Micros) -> bool {
        let need = Need { source, value: None, priority, requests, alone: true };
        self.of_scope(&self.sources[source], Reach::Source, need, at).is_empty()
    }

    /// All limits that it is under.
    fn scopes(&self, need: Need) -> Vec<(&Limits, Reach)> {
        let whole = [(&self.sources[need.source], Reach::Source), (&self.together, Reach::All)];
        let own = self.each[need.source].as_ref().map(|limits| (limits, Reach::Value));
        whole.into_iter().chain(own).collect()
    }

    fn of_scope(&self, limits: &Limits, reach: Reach, need: Need, at: Micros) -> Vec<Refusal> {
        let brackets: Vec<&Bracket> = self.all.iter().filter(|bracket| is_in(bracket, reach, need)).collect();
        let mut refusals = Vec::new();
        for window in &limits.windows {
            if (need.alone || span(window) >= MINUTE)
                && let Some(how_long) = self.window_refuses(&brackets, window, need, at)
            {
                refusals.push(Refusal { reach, window: Some(*window), how_long });
            }
        }
        if need.alone {
            let alone: Vec<&Bracket> = brackets.into_iter().filter(|bracket| bracket.alone).collect();
            let spacing = [
                burst_refuses(&alone, limits, need.requests, at),
                delay_refuses(&alone, limits, need.requests, at),
                flight_refuses(&alone, limits, need.requests, at),
            ];
            refusals.extend(spacing.into_iter().flatten().map(|how_long| Refusal { reach, window: None, how_long }));
        }
        refusals
    }

    fn window_refuses(&self, brackets: &[&Bracket], window: &Window, need: Need, at: Micros) -> Option<HowLong> {
        let fits = |used: &Used| self.counted(used, window, need) <= window.requests;
        if !fits(&Used::default()) {
            return Some(HowLong::Never);
        }
        // From this instant on a bracket does not count: clocks tell whole microseconds, so one more than the window.
        let free_at = |bracket: &Bracket| bracket.until.map_or(HowLong::Unsettled, |until| HowLong::Until(until + span(window) + 1));
        let counted = brackets.iter().filter(|bracket| counts_in(bracket, window));
        let counted = counted.map(|bracket| (free_at(bracket), bracket.priority, bracket.requests));
        let mut ends: Vec<_> = counted.filter(|(end, ..)| *end > HowLong::Until(at)).collect();
        let mut used = Used::default();
        ends.iter().for_each(|(_, priority, requests)| *used.entry(*priority).or_default() += requests);
        if fits(&used) {
            return None;
        }
        ends.sort();
        for (end, priority, requests) in ends {
            *used.entry(priority).or_default() -= requests;
            if fits(&used) {
                return Some(end);
            }
        }
        unreachable!("an empty window admits what fits into it")
    }

    /// With what is needed; and each priority counts at least as much as is set aside for it.
    fn counted(&self, used: &Used, window: &Window, need: Need) -> u32 {
        let of = |priority: PriorityLevel| {
            let used = used.get(&Some(priority)).copied().unwrap_or(0) + if priority == need.priority { need.requests } else { 0 };
            used.max(self.set_aside(priority, window))
        };
        used.get(&None).copied().unwrap_or(0) + PriorityLevel::ALL.into_iter().map(of).sum::<u32>()
    }

    fn set_aside(&self, priority: PriorityLevel, window: &Window) -> u32 {
        self.reserve.shares().find(|(owner, _)| *owner == priority).map_or(0, |(_, permille)| window.requests * permille / 1_000)
    }

    /// It takes nothing from windows but what is set aside for it, and so nothing from other priorities: of those that its value has
    /// for itself, or of all others.
    pub fn is_within_its_share(&self, need: Need, of_value: bool, at: Micros) -> bool {
        let scopes = self.scopes(need).into_iter().filter(|(_, reach)| (*reach == Reach::Value) == of_value);
        let windows = scopes.flat_map(|(limits, reach)| limits.windows.iter().map(move |window| (window, reach)));
        let mut concerned = windows.filter(|(window, _)| need.alone || span(window) >= MINUTE).peekable();
        let within = |(window, reach): (&Window, Reach)| {
            let is_its = |bracket: &&Bracket| {
                let ended = bracket.until.is_some_and(|until| until + span(window) < at);
                bracket.priority == Some(need.priority) && is_in(bracket, reach, need) && !ended
            };
            let used: u32 =
                self.all.iter().filter(|bracket| counts_in(bracket, window)).filter(is_its).map(|bracket| bracket.requests).sum();
            used + need.requests <= self.set_aside(need.priority, window)
        };
        concerned.peek().is_some() && concerned.all(within)
    }

    /// Drops what nobody can ask about any more, or a day would take a day.
    pub fn clean(&mut self, at: Micros) {
        if at < self.cleaned_at + MINUTE {
            return;
        }
        self.cleaned_at = at;
        let keep_for = self.longest.max(MINUTE) + 10 * SECOND;
        self.all.retain(|bracket| bracket.until.is_none_or(|until| until.max(bracket.sent.unwrap_or(0)) + keep_for >= at));
        self.at = self.all.iter().enumerate().filter_map(|(place, bracket)| Some((bracket.whose?, place))).collect();
        self.at.retain(|_, place| self.all[*place].until.is_none());
    }
}

/// What limits of this reach count of those that `need` is under.
fn is_in(bracket: &Bracket, reach: Reach, need: Need) -> bool {
    match reach {
        Reach::Value => bracket.source == need.source && bracket.value == need.value,
        Reach::Source => bracket.source == need.source,
        Reach::All => true,
    }
}

/// Of a window: by whom, and how much.
type Used = HashMap<Option<PriorityLevel>, u32>;

fn counts_in(bracket: &Bracket, window: &Window) -> bool {
    !bracket.unsent && (bracket.alone || span(window) >= MINUTE)
}

fn span(window: &Window) -> Micros {
    window.span.as_micros() as Micros
}

/// At most `burst` ahead of the spread: whatever was sent from some request on, this one included, is no more than
/// `burst` and the even share of the time since.
fn burst_refuses(alone: &[&Bracket], limits: &Limits, wanted: u32, at: Micros) -> Option<HowLong> {
    let burst = u128::from(limits.burst?);
    let window = limits.windows.iter().filter(|window| span(window) >= MINUTE).min_by_key(|window| window.span)?;
    let (share, requests) = (u128::from(span(window)), u128::from(window.requests));
    let held = alone.iter().filter(|bracket| bracket.sent.is_none() && bracket.until.is_none()).count() as u128;
    let wanted = u128::from(wanted);
    if held + wanted > burst {
        return Some(if wanted > burst { HowLong::Never } else { HowLong::Unsettled });
    }
    let mut sent: Vec<Micros> = alone.iter().filter_map(|bracket| bracket.sent).collect();
    sent.sort_unstable_by(|one, other| other.cmp(one));
    let earliest = sent.iter().enumerate().map(|(later, first)| {
        let since = later as u128 + 1 + held + wanted;
        let must_pass = (since.saturating_sub(burst) * share).div_ceil(requests);
        *first + must_pass as Micros
    });
    earliest.max().filter(|earliest| *earliest > at).map(HowLong::Until)
}

fn delay_refuses(alone: &[&Bracket], limits: &Limits, wanted: u32, at: Micros) -> Option<HowLong> {
    let delay = limits.min_delay?.as_micros() as Micros;
    if wanted > 1 {
        return Some(HowLong::Never);
    }
    let free_at = |bracket: &&Bracket| bracket.until.map_or(HowLong::Unsettled, |until| HowLong::Until(until + delay));
    alone.iter().filter(|bracket| !bracket.unsent).map(free_at).max().filter(|end| *end > HowLong::Until(at))
}

fn flight_refuses(alone: &[&Bracket], limits: &Limits, wanted: u32, at: Micros) -> Option<HowLong> {
    let limit = limits.in_flight?;
    let end = |bracket: &Bracket| bracket.until.map_or(HowLong::Unsettled, HowLong::Until);
    let flying = alone.iter().filter(|bracket| !bracket.unsent && end(bracket) > HowLong::Until(at));
    let mut ends: Vec<HowLong> = flying.flat_map(|bracket| std::iter::repeat_n(end(bracket), bracket.requests as usize)).collect();
    ends.sort();
    let too_many = (ends.len() + wanted as usize).checked_sub(limit as usize).filter(|too_many| *too_many > 0)?;
    Some(if wanted > limit { HowLong::Never } else { ends[too_many - 1] })
}

/// When a recorded request arrived at the latest, in world time, as far as a machine can know that after a restart.
fn arrival(reservation: &Reservation, disk: &Disk, clocks: &Clocks, moment: Moment) -> Micros {
    let settled = reservation.settled.expect("asked for settled ones only");
    if reservation.boot_id == clocks.boot_id() {
        return clocks.world(settled.last_arrival);
    }
    let set_back = disk.latest.is_some_and(|latest| moment.now.wall < latest) || moment.now.wall < settled.last_arrival_wall;
    let ago = moment.now.wall.duration_since(settled.last_arrival_wall).as_micros().max(0) as Micros;
    if set_back { moment.at } else { moment.at.saturating_sub(ago).max(clocks.booted_at()) }
}
