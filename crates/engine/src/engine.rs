//! The loop: observe → diff → enqueue → lease → run → verify, and again.
//!
//! One task owns the dispatcher and handles one message at a time; attempts, cycles and writes run beside it and report
//! back. It contains no rule about what runs next or when a request may be sent: `core::queue` decides, this obeys.
//!
//! Always true: nothing starts before its lease is on disk; a result whose token is not current changes nothing; after
//! `Drain` nothing starts, after `Stop` everything that runs is ended.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use adce_core::gap::{Gap, Outcome, Reason};
use adce_core::ids::{AttemptId, GapId, ItemId, Uuid};
use adce_core::object::Object;
use adce_core::ports::StoreError;
use adce_core::queue::{Dispatcher, GapNews, Idle, Pick, Prospect, Rules, Start};
use adce_core::record::{Change, Closed, HeldPicture, ItemRecord, Remembered};
use adce_core::spec::Spec;
use adce_core::time::{Boottime, Now};
use tokio::sync::{mpsc, watch};

use crate::alarm::Alarm;
use crate::asking::{Asking, Line};
use crate::attempt::{Attempt, Ports};
use crate::cycle::CycleFigures;
use crate::figures::Figures;
use crate::inbox::{Ended, Inbox, Interrupt, Message};
use crate::ledger::Ledger;
use crate::looking::CycleState;
use crate::snapshot::{Notice, Phase, Snapshot};
use crate::stop::StopSwitch;

/// What a person asked of this run.
pub struct Options {
    /// Gaps whose next try is at most so far away are waited for.
    pub max_wait: Duration,
    /// An expression over items: only these are collected, the others stay as they are.
    pub select: Option<String>,
    /// Ends after so many attempts.
    pub attempts: Option<u64>,
    /// For the jitter of pauses.
    pub seed: u64,
    /// Asked once if more gaps than this would be started for the first time; blocks. `None`: nobody is asked.
    pub confirm: Option<(u64, Confirm)>,
}

/// Is it right to start so many gaps?
pub type Confirm = Arc<dyn Fn(u64) -> bool + Send + Sync>;

/// The engine could not go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the config does not expand")]
    Config(Vec<adce_core::spec::problem::Problem>),
    /// With the expression that they are about.
    #[error("`--select` is not understood")]
    Select(String, Vec<adce_core::spec::expression::LanguageError>),
    #[error("a bug: part of the engine panicked, the message stands above; nothing is lost")]
    Bug,
    #[error("the lake cannot be used")]
    Lake(#[source] adce_core::ports::LakeError),
    /// Not one object could be seen, whatever the reason.
    #[error("nothing of the lake can be listed")]
    NothingListed(#[source] adce_core::ports::LakeError),
    #[error("the state cannot be written")]
    State(#[source] StoreError),
}

/// How the loop ended.
#[derive(Debug)]
pub struct Ending {
    pub interrupted: bool,
    /// A person did not want so many gaps to be started.
    pub declined: bool,
    /// The last full cycle.
    pub cycle: CycleFigures,
    pub snapshot: Snapshot,
    pub longest_wait: Duration,
    pub elapsed: Duration,
}

pub struct Engine {
    pub(crate) spec: Arc<Spec>,
    pub(crate) ports: Ports,
    pub(crate) options: Options,
    messages: mpsc::UnboundedReceiver<Message>,
    pub(crate) to_loop: mpsc::UnboundedSender<Message>,
    pub(crate) ledger: Ledger,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) items: HashMap<ItemId, ItemRecord>,
    /// Open gaps that a person did not select: remembered, and left alone.
    pub(crate) aside: HashMap<ItemId, Gap>,
    pub(crate) accepted: Option<adce_core::coverage::Picture>,
    pub(crate) held: Option<HeldPicture>,
    pub(crate) cycle: CycleState,
    pub(crate) figures: Figures,
    pub(crate) line: Line,
    pub(crate) stops: HashMap<AttemptId, Arc<StopSwitch>>,
    pub(crate) interrupted: Option<Interrupt>,
    /// The last look is over or under way: nothing starts any more.
    pub(crate) closing: bool,
    pub(crate) consent: Consent,
    pub(crate) failed: Option<EngineError>,
    snapshots: watch::Sender<Snapshot>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    random: rand::rngs::SmallRng,
}

/// May gaps be started?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    Given,
    Asked,
    Declined,
}

impl Engine {
    /// Takes over what the state remembers. Processes of a predecessor must be gone by now.
    pub async fn new(
        spec: Arc<Spec>,
        ports: Ports,
        options: Options,
        inbox: Inbox,
        mut remembered: Remembered,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Result<Self, EngineError> {
        let Inbox { to_loop, messages } = inbox;
        let now = ports.clock.now();
        crate::takeover::suspect_what_predecessors_changed(&spec, &ports, &mut remembered).await?;
        let items = std::mem::take(&mut remembered.items);
        let aside = match &options.select {
            None => HashMap::new(),
            Some(select) => crate::selected::set_aside(select, &spec, &ports, &mut remembered, now).await?,
        };
        let (dispatcher, changes) = Dispatcher::new(Rules::of(&spec), &mut remembered, ports.clock.boot_id(), now);
        ports.store.apply(changes).await.map_err(EngineError::State)?;
        let ledger = Ledger::new(ports.store.clone());
        let figures = Figures::new(&spec, now);
        let (snapshots, _) = watch::channel(Snapshot { at: now.wall, started_at: now.wall, ..Snapshot::default() });
        let random = rand::SeedableRng::seed_from_u64(options.seed);
        Ok(Engine {
            spec,
            ports,
            options,
            messages,
            to_loop,
            ledger,
            dispatcher,
            items,
            aside,
            accepted: remembered.picture,
            held: remembered.held,
            cycle: CycleState::default(),
            figures,
            line: Line::default(),
            stops: HashMap::new(),
            interrupted: None,
            closing: false,
            consent: Consent::Given,
            failed: None,
            snapshots,
            notices,
            random,
        })
    }

    /// The latest picture of what the engine does, renewed several times a second.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshots.subscribe()
    }

    /// Collects until nothing can be done, looks once more, and ends.
    pub async fn run(mut self) -> Result<Ending, EngineError> {
        let started = self.now().boot;
        let mut alarm = Alarm::new(self.ports.clock.clone());
        self.begin_cycle();
        loop {
            self.renew_if_due();
            let idle = self.start_what_can();
            self.show(&idle);
            if self.is_over(&idle) {
                break;
            }
            let wake = self.wake_at(&idle);
            tokio::select! {
                Some(message) = self.messages.recv() => {
                    self.handle(message);
                    // Whatever else has happened meanwhile is handled before the next decision.
                    while let Ok(message) = self.messages.try_recv() {
                        self.handle(message);
                    }
                }
                Some(reserved) = self.ledger.reserved() => self.handle(reserved),
                () = alarm.rings_by(wake) => {}
            }
            self.grant_what_can();
            if let Some(error) = self.ledger.failure() {
                self.fail(EngineError::State(error));
            }
        }
        let now = self.now();
        let ending = Ending {
            interrupted: self.interrupted.is_some(),
            declined: self.consent == Consent::Declined,
            longest_wait: self.figures.longest_wait,
            elapsed: now.boot.since(started),
            snapshot: self.snapshot(now, Phase::Done),
            cycle: std::mem::take(&mut self.cycle.figures),
        };
        let written = self.ledger.finish().await.map_err(EngineError::State);
        self.failed.map_or(written, Err).map(|()| ending)
    }

    pub(crate) fn now(&self) -> Now {
        self.ports.clock.now()
    }

    // ------------------------------------------------------------------------------------------------------ starting

    /// Starts the best runnable tasks until none is left or no slot is free.
    fn start_what_can(&mut self) -> Option<Idle> {
        if self.consent != Consent::Given
            || self.closing
            || self.interrupted.is_some()
            || self.failed.is_some()
            || self.cycle.done == 0
            || self.held.is_some()
        {
            return None;
        }
        loop {
            if self.has_had_its_attempts() {
                return None;
            }
            let now = self.now();
            match self.dispatcher.pick(now, || AttemptId(Uuid::now_v7())) {
                Pick::Start(start) => self.start(*start, now),
                Pick::Idle(idle) => return Some(idle),
            }
        }
    }

    fn has_had_its_attempts(&self) -> bool {
        self.options.attempts.is_some_and(|attempts| self.figures.totals.attempts >= attempts)
    }

    fn start(&mut self, start: Start, now: Now) {
        let progress = self.figures.started(&start, now);
        let id = start.attempt;
        let stop = Arc::new(StopSwitch::default());
        self.stops.insert(start.attempt, stop.clone());
        let leasing = self.ledger.lease(start.before.clone(), start.lease.clone());
        let attempt = Attempt {
            ports: self.ports.clone(),
            spec: self.spec.clone(),
            expected: self.cycle.expected.clone(),
            in_doubt: start.gaps.iter().map(Gap::item).filter(|item| self.is_in_doubt(*item)).collect(),
            start,
            to_loop: self.to_loop.clone(),
            stop,
            progress,
        };
        let to_loop = self.to_loop.clone();
        // A collector may block. On a thread of its own a short attempt is done without another: handing it from thread to
        // thread would cost more than the attempt.
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let ran = std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(attempt.run(leasing))));
            if ran.is_err() {
                let _ = to_loop.send(Message::Panicked { attempt: Some(id) });
            }
        });
    }

    // ------------------------------------------------------------------------------------------------------- messages

    fn handle(&mut self, message: Message) {
        let now = self.now();
        match message {
            Message::Observed(observed) => self.observed(*observed, now),
            Message::LeaseRefused { attempt, error } => self.lease_refused(attempt, error, now),
            Message::Process(process) => {
                self.figures.process(&process);
                self.ledger.record(vec![Change::Started(process)]);
            }
            Message::Collected(attempt) => self.dispatcher.collected(attempt),
            Message::Ended(ended) => self.ended(*ended, now),
            Message::Acquire { attempt, source, reply } => self.line.join(Asking { attempt, source, since: now.boot, reply }),
            Message::Reserved { reservation, recorded } => self.reserved(reservation, recorded, now),
            Message::Settle { permit, how } => self.settle(permit, how, now),
            Message::Answered { attempt, source, answer } => {
                self.figures.answered(&source, answer);
                let changes = self.dispatcher.answered(attempt, &source, answer, now);
                self.ledger.record(changes);
            }
            Message::Panicked { attempt } => {
                match attempt {
                    Some(attempt) => drop(self.stops.remove(&attempt)),
                    None => self.cycle.under_way = false,
                }
                self.fail(EngineError::Bug);
            }
            Message::Query(query) => self.answer(query, now),
            Message::Interrupt(how) => self.interrupt(how),
            Message::Confirmed(yes) => self.consent = if yes { Consent::Given } else { Consent::Declined },
        }
    }

    fn lease_refused(&mut self, attempt: AttemptId, error: StoreError, now: Now) {
        self.stops.remove(&attempt);
        self.figures.forgotten(attempt);
        let changes = self.dispatcher.lease_refused(attempt, now);
        self.ledger.record(changes);
        self.fail(EngineError::State(error));
    }

    fn ended(&mut self, ended: Ended, now: Now) {
        let Ended { mut record, delivered } = ended;
        // What a command sent through the gateway, only the permits tell.
        record.requests = record.requests.max(self.figures.requests_of(record.attempt));
        self.stops.remove(&record.attempt);
        self.line.forget(record.attempt);
        self.cycle.attempts_since += 1;
        let outcomes = if delivered.fenced { Vec::new() } else { delivered.outcomes };
        self.land(&record, &outcomes, now);
        let suspects = if delivered.fenced { Vec::new() } else { delivered.suspects };
        for (gap, object) in &suspects {
            self.cycle.saw(object.clone());
            self.items.entry(gap.item).or_default().suspect_etag = Some(object.etag.clone());
        }
        for gap in delivered.in_doubt.iter().filter(|_| !delivered.fenced) {
            self.items.entry(gap.item).or_default().put_in_doubt();
        }
        for gap in delivered.out_of_doubt.iter().filter(|_| !delivered.fenced) {
            self.items.entry(gap.item).or_default().suspect_etag = None;
        }
        let touched: Vec<ItemId> = outcomes.iter().map(|(gap, _)| gap.item).collect();
        let absent: Vec<Gap> =
            outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Absent).filter_map(|(gap, _)| self.dispatcher.gap(*gap)).collect();
        let random = &mut self.random;
        let mut changes = vec![Change::Finish(record.clone())];
        let doubted_before = self.dispatcher.doubts(now);
        changes.extend(self.dispatcher.ended(record.attempt, &outcomes, &mut self.items, now, || rand::Rng::random(random)));
        for (source, doubt) in self.dispatcher.doubts(now) {
            if !doubted_before.iter().any(|(before, _)| *before == source) {
                self.notice(Notice::Doubted { source, absences: doubt.absences, of: doubt.of, probe_at: doubt.probe_at });
            }
        }
        self.count_absent(&absent, &changes, now);
        changes.extend(self.dispatcher.reconcile(self.news_of(suspects, delivered.gone), now));
        // What an attempt left behind is on record with its end, also where the dispatcher had nothing to say of the item.
        for item in touched {
            let said = changes.iter().any(|change| matches!(change, Change::PutItem(put, _) if *put == item));
            if let (false, Some(record)) = (said, self.items.get(&item)) {
                changes.push(Change::PutItem(item, record.clone()));
            }
        }
        if delivered.fenced {
            changes.retain(|change| !matches!(change, Change::Finish(_)));
        }
        self.figures.ended(&record, now);
        self.ledger.record(changes);
        if let Some(error) = delivered.lake_failed {
            self.fail(EngineError::Lake(error));
        }
    }

    /// "No such thing" closes a gap only if the dispatcher says so: before `absent.after` it means "not yet".
    fn count_absent(&mut self, absent: &[Gap], changes: &[Change], now: Now) {
        for gap in absent {
            let closed = |change: &Change| matches!(change, Change::CloseGap { gap: closed, why: Closed::Absent, .. } if *closed == gap.id);
            if changes.iter().any(closed) {
                self.figures.outcome(gap, &Outcome::Absent, now);
                self.notice(Notice::Absent { key: gap.key.clone() });
            }
        }
    }

    /// What an attempt has shown about the gaps that it leaves open: the next one must replace the object that is there
    /// now, or must not come at all.
    fn news_of(&self, suspects: Vec<(GapId, Object)>, gone: Vec<GapId>) -> GapNews {
        let changed = suspects.into_iter().filter_map(|(gap, object)| {
            let gap = self.dispatcher.gap(gap)?;
            Some(Gap { reason: Reason::Suspect, etag: Some(object.etag), last_modified: Some(object.last_modified), ..gap })
        });
        GapNews {
            changed: changed.collect(),
            closed: gone.into_iter().map(|gap| (gap, Closed::NotExpected)).collect(),
            ..GapNews::default()
        }
    }

    /// Tells the display and the cycle under way what has landed.
    fn land(&mut self, record: &adce_core::record::AttemptRecord, outcomes: &[(GapId, Outcome)], now: Now) {
        for (gap, outcome) in outcomes {
            let Some(gap) = self.dispatcher.gap(*gap) else { continue };
            if *outcome != Outcome::Absent {
                self.figures.outcome(&gap, outcome, now);
            }
            match outcome {
                Outcome::Done { etag, size, last_modified } => {
                    let object = Object { key: gap.key.clone(), size: *size, last_modified: *last_modified, etag: etag.clone() };
                    self.cycle.saw(object);
                    self.notice(Notice::Filled { key: gap.key, bytes: *size });
                }
                Outcome::Failed(failure) => {
                    self.figures.failure(now.wall, &gap.key, &failure.message);
                    self.notice(Notice::Failed { key: gap.key, collector: record.collector.clone(), message: failure.message.clone() });
                }
                Outcome::Unchanged => self.notice(Notice::Unchanged { key: gap.key }),
                Outcome::Absent | Outcome::Split => {}
            }
        }
    }

    pub(crate) fn notice(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }

    fn interrupt(&mut self, how: Interrupt) {
        self.interrupted = self.interrupted.max(Some(how));
        if self.interrupted == Some(Interrupt::Stop) {
            self.stops.values().for_each(|stop| stop.stop());
        }
    }

    pub(crate) fn fail(&mut self, error: EngineError) {
        if self.failed.is_none() {
            self.failed = Some(error);
        }
        self.stops.values().for_each(|stop| stop.stop());
    }

    // --------------------------------------------------------------------------------------------------------- ending

    fn is_over(&mut self, idle: &Option<Idle>) -> bool {
        if !self.stops.is_empty() {
            return false;
        }
        if self.failed.is_some() || self.interrupted.is_some() {
            return true;
        }
        if self.cycle.under_way || self.consent == Consent::Asked {
            return false;
        }
        if self.has_had_its_attempts() || self.consent == Consent::Declined || self.closing || self.held.is_some() {
            return true;
        }
        if idle.is_none() {
            return false;
        }
        match self.dispatcher.prospect(self.options.max_wait, self.now()) {
            Prospect::Work => false,
            Prospect::Later(_) => {
                if self.cycle.attempts_since == 0 {
                    return true;
                }
                self.closing = true;
                self.begin_cycle();
                false
            }
        }
    }

    /// When to look again if nothing happens.
    fn wake_at(&mut self, idle: &Option<Idle>) -> Boottime {
        let now = self.now();
        let next_cycle = self.cycle.began + self.spec.engine.reconcile_every;
        if next_cycle <= now.boot && !self.cycle.under_way && !self.closing && self.interrupted.is_none() {
            self.begin_cycle();
        }
        let show = now.boot + Duration::from_millis(if self.snapshots.receiver_count() > 0 { 100 } else { 1_000 });
        let wake = idle.as_ref().and_then(|idle| idle.wake_at);
        [wake, self.line.next_grant(), self.next_renewal(now)]
            .into_iter()
            .flatten()
            .fold(show, Boottime::min)
            .max(now.boot + Duration::from_micros(200))
    }

    fn show(&mut self, idle: &Option<Idle>) {
        let now = self.now();
        if self.snapshots.receiver_count() == 0 || !self.figures.is_time_to_show(now) {
            return;
        }
        let phase = self.phase(idle, now);
        let snapshot = self.snapshot(now, phase);
        self.snapshots.send_replace(snapshot);
    }
}
