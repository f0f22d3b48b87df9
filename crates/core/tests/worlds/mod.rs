//! Random lives of two limited sources, whose limits may be told apart by three values, and the brute-force checks of what the upstreams can have seen.

use std::time::Duration;

use adce_core::ids::ValueId;
use adce_core::limits::{Ask, AskKind, HoldOff, Limiter, Restored, SourceIx};
use adce_core::ports::{PermitId, Settlement};
use adce_core::spec::{Limits, PriorityLevel, Reserve, Window};
use adce_core::time::Boottime;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Two sources and all together.
#[derive(Clone, Debug)]
pub struct Rules {
    pub sources: [Limits; 2],
    /// Of each value for itself.
    pub values: [Option<Limits>; 2],
    pub all: Limits,
    pub reserve: Reserve,
}

pub type Life = Vec<Step>;

#[derive(Clone, Debug)]
pub enum Step {
    Wait {
        micros: u64,
    },
    /// To the very instant that the last refusal named.
    WaitAsTold,
    Ask {
        source: u32,
        value: u8,
        kind: AskKind,
        priority: PriorityLevel,
    },
    /// adce itself is to send one of the requests of a charge that is out.
    AskUnderCharge {
        which: usize,
    },
    /// A held permit's request goes out.
    Send {
        which: usize,
    },
    /// Settled at a moment between its beginning and now.
    Settle {
        which: usize,
        permille_of_bracket: u64,
    },
    /// Its connection closed: it may arrive for a while yet.
    Hangup {
        which: usize,
    },
    Unsent {
        which: usize,
    },
    /// The process dies; its successor begins after a while with what was written down.
    Crash {
        dead_for_micros: u64,
    },
    Pause {
        source: u32,
        micros: u64,
    },
}

/// What the upstream side of one grant can have been.
#[derive(Clone, Debug)]
pub struct Request {
    pub source: SourceIx,
    pub value: Option<ValueId>,
    pub priority: PriorityLevel,
    /// An earlier process sent it: nobody remembers whose it was, nor whether it was one of several.
    pub restored: bool,
    pub requests: u32,
    pub granted: Boottime,
    /// The bracket begins.
    pub sent: Boottime,
    /// The bracket ends; `None`: still open when the life ended.
    pub settled: Option<Boottime>,
    /// Sent one at a time by adce, or a charge for one.
    pub single: bool,
    /// The charge that it was one of.
    pub charge: Option<usize>,
}

pub struct Played {
    pub requests: Vec<Request>,
    pub restarted: bool,
}

const LINGER: Duration = Duration::from_secs(1);

pub fn limits() -> Limits {
    Limits::default()
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let window = (1_u32..7, prop::sample::select(vec![1_u64, 5, 60, 90, 3_600]));
    let windows = prop::collection::vec(window, 0..4);
    let rarely_few = prop_oneof![3 => Just(None), 1 => (1_u32..4).prop_map(Some)];
    let delay = prop_oneof![4 => Just(None), 1 => (1_u64..4_000_000).prop_map(|us| Some(Duration::from_micros(us)))];
    (windows, rarely_few.clone(), rarely_few, delay).prop_map(|(windows, burst, in_flight, min_delay)| {
        let mut windows: Vec<_> =
            windows.into_iter().map(|(requests, secs)| Window { requests, span: Duration::from_secs(secs) }).collect();
        windows.sort_by_key(|window| window.span);
        windows.dedup_by_key(|window| window.span);
        Limits { windows, burst, in_flight, min_delay, linger: LINGER, ..Limits::default() }
    })
}

pub fn rules() -> impl Strategy<Value = Rules> {
    let share = || prop_oneof![1 => Just(0), 1 => prop::sample::select(vec![150_u32, 200, 340, 490])];
    let of_values = || prop_oneof![1 => Just(None), 1 => some_limits().prop_map(Some)];
    (some_limits(), some_limits(), some_limits(), of_values(), of_values(), share(), share()).prop_map(
        |(a, b, all, by_a, by_b, critical, high)| {
            let reserve = Reserve::default().with(PriorityLevel::Critical, critical).with(PriorityLevel::High, high);
            Rules { sources: [a, b], values: [by_a, by_b], all, reserve }
        },
    )
}

pub fn life() -> impl Strategy<Value = Life> {
    let micros = || prop_oneof![0_u64..2_000, 0_u64..3_000_000, 0_u64..70_000_000];
    let kind = prop_oneof![5 => Just(AskKind::OneRequest), 1 => (0_u32..5).prop_map(|permits| AskKind::ChargedAhead { permits })];
    let step = prop_oneof![
        4 => micros().prop_map(|micros| Step::Wait { micros }),
        6 => Just(Step::WaitAsTold),
        12 => (0_u32..2, 0_u8..4, kind, 0_usize..4)
            .prop_map(|(source, value, kind, at)| Step::Ask { source, value, kind, priority: PriorityLevel::ALL[at] }),
        4 => any::<usize>().prop_map(|which| Step::AskUnderCharge { which }),
        8 => any::<usize>().prop_map(|which| Step::Send { which }),
        8 => (any::<usize>(), 0_u64..=1_000).prop_map(|(which, permille_of_bracket)| Step::Settle { which, permille_of_bracket }),
        1 => any::<usize>().prop_map(|which| Step::Hangup { which }),
        1 => any::<usize>().prop_map(|which| Step::Unsent { which }),
        1 => micros().prop_map(|dead_for_micros| Step::Crash { dead_for_micros }),
        1 => (0_u32..2, 0_u64..5_000_000).prop_map(|(source, micros)| Step::Pause { source, micros }),
    ];
    prop::collection::vec(step, 1..120)
}

/// Permits that are out, with the position of their request.
struct Out {
    id: PermitId,
    request: usize,
    held: bool,
}

struct Player<'a> {
    rules: &'a Rules,
    limiter: Limiter,
    now: Boottime,
    told: Option<Boottime>,
    out: Vec<Out>,
    paused: [Boottime; 2],
    played: Played,
}

/// Plays a life; `before_each_ask` sees the limiter as it is when somebody asks.
pub fn play(
    rules: &Rules,
    steps: &[Step],
    mut before_each_ask: impl FnMut(&Limiter, &Ask, Boottime, &Played) -> Result<(), TestCaseError>,
) -> Result<Played, TestCaseError> {
    let now = Boottime::from_secs(100_000);
    let mut player = Player {
        rules,
        limiter: fresh(rules),
        now,
        told: None,
        out: Vec::new(),
        paused: [now; 2],
        played: Played { requests: Vec::new(), restarted: false },
    };
    for step in steps {
        let ask = match *step {
            Step::Ask { source, value, kind, priority } => Some(Ask { source: SourceIx(source), kind, priority, value: some(value) }),
            Step::AskUnderCharge { which } => player.charge(which).map(|charge| player.paced(charge)),
            _ => None,
        };
        if let Some(ask) = ask {
            before_each_ask(&player.limiter, &ask, player.now, &player.played)?;
        }
        player.step(step)?;
    }
    Ok(player.played)
}

fn fresh(rules: &Rules) -> Limiter {
    let [a, b] = rules.sources.clone();
    let mut limiter = Limiter::new(&[("a".into(), a), ("b".into(), b)], &rules.all);
    for (source, limits) in rules.values.iter().enumerate() {
        limits.iter().for_each(|limits| limiter.by_value(SourceIx(source as u32), limits));
    }
    limiter.set_aside(rules.reserve);
    limiter
}

/// Of some, nobody knows whose they are.
pub fn some(value: u8) -> Option<ValueId> {
    (value < 3).then(|| ValueId::of(&value.to_string()))
}

impl Player<'_> {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Wait { micros } => self.now = self.now + Duration::from_micros(micros),
            Step::WaitAsTold => self.now = self.told.take().unwrap_or(self.now).max(self.now),
            Step::Ask { source, value, kind, priority } => {
                self.ask(Ask { source: SourceIx(source), kind, priority, value: some(value) }, None)?;
            }
            Step::AskUnderCharge { which } => {
                if let Some(charge) = self.charge(which) {
                    self.ask(self.paced(charge), Some(charge))?;
                }
            }
            Step::Send { which } => self.send(which)?,
            Step::Settle { which, permille_of_bracket } => {
                if let Some(out) = self.take_out(which) {
                    let sent = self.played.requests[out.request].sent;
                    let at = sent + self.now.since(sent) * permille_of_bracket as u32 / 1_000;
                    let under = self.under(out.request).filter_map(|request| request.settled).max();
                    self.settled(&out, under.unwrap_or(at).max(at));
                }
            }
            Step::Hangup { which } => {
                if let Some(out) = self.take_out(which) {
                    self.settled(&out, self.now + LINGER);
                }
            }
            Step::Unsent { which } => match self.take_out(which) {
                Some(out) if self.under(out.request).next().is_none() => {
                    self.limiter.settle(out.id, Settlement::Unsent, self.now);
                    self.played.requests[out.request].requests = 0;
                }
                out => self.out.extend(out),
            },
            Step::Crash { dead_for_micros } => self.crash(Duration::from_micros(dead_for_micros)),
            Step::Pause { source, micros } => {
                let until = self.now + Duration::from_micros(micros);
                self.limiter.pause(SourceIx(source), until);
                self.paused[source as usize] = self.paused[source as usize].max(until);
            }
        }
        Ok(())
    }

    /// The requests that adce sent under a charge.
    fn under(&self, charge: usize) -> impl Iterator<Item = &Request> {
        self.played.requests.iter().filter(move |request| request.charge == Some(charge) && request.requests > 0)
    }

    /// A charge for several that is out, and has not been used up.
    fn charge(&self, which: usize) -> Option<usize> {
        let has_left = |request: &usize| {
            let of = &self.played.requests[*request];
            !of.single && self.under(*request).count() < of.requests as usize
        };
        let charges: Vec<usize> = self.out.iter().map(|out| out.request).filter(has_left).collect();
        (!charges.is_empty()).then(|| charges[which % charges.len()])
    }

    fn paced(&self, charge: usize) -> Ask {
        let charge = &self.played.requests[charge];
        Ask::paced(charge.source).of(charge.priority).by(charge.value)
    }

    fn ask(&mut self, ask: Ask, charge: Option<usize>) -> Result<(), TestCaseError> {
        match self.limiter.try_acquire(&ask, self.now) {
            Ok(permit) => {
                prop_assert!(self.paused[ask.source.0 as usize] <= self.now, "granted while the source is paused");
                let single = permit.permits == 1;
                self.out.push(Out {
                    id: permit.id,
                    request: self.played.requests.len(),
                    held: matches!(ask.kind, AskKind::OneRequest | AskKind::Paced),
                });
                self.played.requests.push(Request {
                    source: ask.source,
                    value: ask.value,
                    priority: ask.priority,
                    restored: false,
                    requests: permit.permits,
                    granted: self.now,
                    sent: self.now,
                    settled: None,
                    single,
                    charge,
                });
            }
            Err(HoldOff::Until { at, .. }) => self.told = Some(at),
            Err(_) => {}
        }
        Ok(())
    }

    fn send(&mut self, which: usize) -> Result<(), TestCaseError> {
        let held: Vec<usize> = (0..self.out.len()).filter(|at| self.out[*at].held).collect();
        if held.is_empty() {
            return Ok(());
        }
        let out = &mut self.out[held[which % held.len()]];
        let request = &mut self.played.requests[out.request];
        if self.limiter.sent(out.id, self.now).is_ok() {
            prop_assert!(self.paused[request.source.0 as usize] <= self.now, "sent while the source is paused");
            out.held = false;
            request.sent = self.now;
        }
        Ok(())
    }

    /// A charge stays until all that went under it has settled.
    fn take_out(&mut self, which: usize) -> Option<Out> {
        let may_end = |out: &Out| self.under(out.request).all(|request| request.settled.is_some());
        let ending: Vec<usize> = (0..self.out.len()).filter(|at| may_end(&self.out[*at])).collect();
        (!ending.is_empty()).then(|| self.out.swap_remove(ending[which % ending.len()]))
    }

    fn settled(&mut self, out: &Out, at: Boottime) {
        self.limiter.settle(out.id, Settlement::ArrivedBy(at), self.now);
        self.played.requests[out.request].settled = Some(at);
    }

    /// Only what was written down survives: all requests with their first instant, and the settlements.
    fn crash(&mut self, dead_for: Duration) {
        self.now = self.now + dead_for;
        self.limiter = fresh(self.rules);
        self.out.clear();
        self.told = None;
        self.played.restarted = true;
        for request in self.played.requests.iter_mut().rev() {
            let sent = Restored { first_sent: request.granted, last_arrival: request.settled };
            // What went under a charge is on record with it.
            if request.charge.is_none() {
                self.limiter.restore(Some(request.source), request.value, request.requests, sent, self.now);
            }
            request.settled.get_or_insert(self.now + LINGER);
            request.restored = true;
        }
        for (source, until) in self.paused.iter().enumerate() {
            self.limiter.pause(SourceIx(source as u32), *until);
        }
    }
}

impl Played {
    pub fn by_scope<'a>(&'a self, rules: &'a Rules) -> Vec<(String, &'a Limits, Vec<&'a Request>)> {
        let sent = || self.requests.iter().filter(|request| request.requests > 0);
        let of = |source: u32| sent().filter(move |request| request.source.0 == source);
        let values = rules.values.iter().enumerate().filter_map(|(source, limits)| Some((source as u32, limits.as_ref()?)));
        let of_values = values.flat_map(|(source, limits)| {
            let of_value =
                move |value| (format!("{source} {value}"), limits, of(source).filter(|request| request.value == some(value)).collect());
            (0..4).map(of_value)
        });
        let whole = [("a".to_owned(), &rules.sources[0], of(0).collect()), ("b".to_owned(), &rules.sources[1], of(1).collect())];
        whole.into_iter().chain([("all".to_owned(), &rules.all, sent().collect())]).chain(of_values).collect()
    }

    /// Of a charge, what adce sent itself stands for itself.
    fn stands_for(&self, request: &Request) -> u32 {
        let place = self.requests.iter().position(|one| std::ptr::eq(one, request));
        let under = self.requests.iter().filter(|one| one.charge.is_some() && one.charge == place && one.requests > 0);
        request.requests - under.count() as u32
    }

    /// Any request may have arrived anywhere in its bracket, so as many can arrive in [t, t + W] as brackets touch it.
    /// The worst t is where some bracket ends, or W before one begins.
    pub fn no_span_holds_more_than(&self, window: &Window, requests: &[&Request], name: &str) -> Result<(), TestCaseError> {
        let counted = requests.iter().filter(|request| request.single || window.span >= Duration::from_secs(60));
        let counted: Vec<(&Request, u32)> = counted.map(|request| (*request, self.stands_for(request))).collect();
        let begins = counted.iter().flat_map(|(request, _)| [request.settled, Some(request.sent - window.span)]).flatten();
        for begin in begins {
            let end = begin + window.span;
            let touches = |request: &Request| request.sent <= end && request.settled.is_none_or(|settled| settled >= begin);
            let arrived: u32 = counted.iter().filter(|(request, _)| touches(request)).map(|(_, count)| count).sum();
            prop_assert!(arrived <= window.requests, "{name}: {arrived} can arrive in the {window:?} that begins at {begin:?}");
        }
        Ok(())
    }
}

/// A window of `limits` that an ask counts against, and what of it is used: by everybody, and by whom.
pub struct Filling {
    /// It is one that the value has for itself.
    pub of_value: bool,
    pub window: Window,
    pub wanted: u64,
    pub used: u64,
    pub by: [u64; 4],
}

/// Every window of the source, of its value and of all together that `ask` counts against, counted one request after the other.
pub fn fillings(rules: &Rules, played: &Played, ask: &Ask, now: Boottime) -> Vec<Filling> {
    let minute = Duration::from_secs(60);
    let (single, permits) = match ask.kind {
        AskKind::OneRequest | AskKind::Paced => (true, 1),
        AskKind::ChargedAhead { permits } => (permits == 1, permits),
    };
    let mut fillings = Vec::new();
    let own = &rules.values[ask.source.0 as usize];
    let (of_source, of_all) = ((&rules.sources[ask.source.0 as usize], Some(ask.source), false), (&rules.all, None, false));
    let scopes = [of_source, of_all].into_iter().chain(own.as_ref().map(|limits| (limits, Some(ask.source), true)));
    let windows = scopes.flat_map(|(limits, source, of_value)| limits.windows.iter().map(move |window| (*window, source, of_value)));
    for (window, source, of_value) in windows {
        let long = window.span >= minute;
        let wanted = match (long, ask.kind) {
            (true, AskKind::Paced) => 0,
            (true, _) => u64::from(permits),
            (false, _) => u64::from(single),
        };
        let mut filling = Filling { of_value, window, wanted, used: 0, by: [0; 4] };
        let counts_here =
            |request: &&Request| source.is_none_or(|source| request.source == source) && (!of_value || request.value == ask.value);
        for request in played.requests.iter().filter(counts_here) {
            let ends = request.settled.map(|settled| settled + window.span);
            if ends.is_some_and(|ends| ends < now) {
                continue;
            }
            let counts = match (request.restored, long, request.charge) {
                (true, _, Some(_)) | (false, true, Some(_)) => 0,
                (true, _, None) | (false, true, None) => u64::from(request.requests),
                (false, false, _) => u64::from(request.single && request.requests > 0),
            };
            filling.used += counts;
            if !request.restored {
                filling.by[request.priority as usize] += counts;
            }
        }
        if wanted > 0 {
            fillings.push(filling);
        }
    }
    fillings
}

/// The next one is sent `min_delay` after every earlier one settled.
pub fn delays_hold(limits: &Limits, requests: &[&Request], name: &str) -> Result<(), TestCaseError> {
    let Some(delay) = limits.min_delay else { return Ok(()) };
    let singles: Vec<_> = requests.iter().filter(|request| request.single).collect();
    for (at, later) in singles.iter().enumerate() {
        for earlier in &singles[..at] {
            let free = earlier.settled.map(|settled| settled + delay);
            prop_assert!(free.is_some_and(|free| free <= later.granted), "{name}: {later:?} follows {earlier:?} too closely");
        }
    }
    Ok(())
}

/// At every grant, those before it that had not settled and itself are no more than the limit.
pub fn flight_holds(limits: &Limits, requests: &[&Request], name: &str) -> Result<(), TestCaseError> {
    let Some(limit) = limits.in_flight else { return Ok(()) };
    let singles: Vec<_> = requests.iter().filter(|request| request.single).collect();
    for (at, request) in singles.iter().enumerate() {
        let before = singles[..at].iter().filter(|earlier| earlier.settled.is_none_or(|settled| settled > request.granted));
        let flying = before.count() + 1;
        prop_assert!(flying <= limit as usize, "{name}: {flying} in flight when {request:?} began");
    }
    Ok(())
}

/// In no span are more sent than `burst` and the even spread of that span.
pub fn burst_holds(limits: &Limits, requests: &[&Request], name: &str) -> Result<(), TestCaseError> {
    let spread = limits.windows.iter().filter(|window| window.span >= Duration::from_secs(60)).min_by_key(|window| window.span);
    let (Some(burst), Some(spread)) = (limits.burst, spread) else { return Ok(()) };
    let mut sent: Vec<_> = requests.iter().filter(|request| request.single).map(|request| request.sent).collect();
    sent.sort();
    for (at, first) in sent.iter().enumerate() {
        for (count, last) in sent[at..].iter().enumerate() {
            let evenly = last.since(*first).as_micros() * u128::from(spread.requests) / spread.span.as_micros();
            let most = u128::from(burst) + evenly;
            let sent_in_span = count as u128 + 1;
            prop_assert!(sent_in_span <= most, "{name}: {sent_in_span} sent where {most} may be");
        }
    }
    Ok(())
}

/// Small numbers that look random and are the same every time.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
