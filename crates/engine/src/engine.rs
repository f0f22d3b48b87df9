//! The loop: observe → diff → enqueue → lease → run → verify, and again.
//!
//! One at a time handles what has happened and starts what can; attempts, cycles and writes run beside it and report back.
//! Mostly that is the loop, for the end of an attempt its own thread ([`crate::helm`]). It contains no rule about what runs next or when a request may be sent: `core::queue` decides, this obeys.
//!
//! Always true: nothing starts before its lease is on disk; a result whose token is not current changes nothing; after
//! `Drain` nothing starts, after `Stop` everything that runs is ended.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use adce_core::gap::{Gap, Task};
use adce_core::ids::{AttemptId, ItemId, Uuid};
use adce_core::lease::{self, Beat, Heartbeat};
use adce_core::ports::StoreError;
use adce_core::queue::{Dispatcher, Idle, Pick, Prospect, Rules, Start};
use adce_core::record::{Change, HeldPicture, ItemRecord, Remembered};
use adce_core::spec::{Spec, Weighting};
use adce_core::time::{Boottime, Now};
use tokio::sync::{mpsc, watch};

use crate::ahead::Ahead;
use crate::alarm::Alarm;
use crate::asking::{Asking, Line};
use crate::attempt::{Attempt, Ports};
use crate::by_hand::Cancelling;
use crate::cycle::CycleFigures;
use crate::figures::Figures;
use crate::helm::{Broken, Helm, Job};
use crate::inbox::{Inbox, Interrupt, Message};
use crate::ledger::{Leasing, Ledger};
use crate::looking::CycleState;
use crate::mail::Mail;
use crate::reload::{Asked, Reloading};
use crate::snapshot::{Edited, Notice, Phase, Snapshot};
use crate::stop::StopSwitch;

/// What a person asked of this run.
#[derive(Default)]
pub struct Options {
    /// Gaps whose next try is at most so far away are waited for.
    pub max_wait: Duration,
    /// An expression over items: only these are collected, the others stay as they are.
    pub select: Option<String>,
    /// Goes on for good: what is complete now need not be tomorrow.
    pub stays: bool,
    /// Ends after so many attempts.
    pub attempts: Option<u64>,
    /// Called at each turn of the loop, at least once a second: whoever hears nothing any more knows that it hangs.
    pub pulse: Option<Pulse>,
    /// For the jitter of pauses.
    pub seed: u64,
    /// Asked once if more gaps than this would be started for the first time; blocks. `None`: nobody is asked.
    pub confirm: Option<(u64, Confirm)>,
}

/// A sign of life. It must not wait for anything.
pub type Pulse = Arc<dyn Fn() + Send + Sync>;

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
    pub(crate) mail: Mail,
    pub(crate) ledger: Ledger,
    ahead: Ahead,
    heartbeat: Heartbeat,
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
    pub(crate) cancelling: Cancelling,
    pub(crate) reloading: Reloading,
    pub(crate) interrupted: Option<Interrupt>,
    /// The last look is over or under way: nothing starts any more.
    pub(crate) closing: bool,
    /// `false`: it is there for its guests alone.
    collects: bool,
    pub(crate) consent: Consent,
    /// The config's files are not what runs.
    pub(crate) edited: Option<Edited>,
    pub(crate) failed: Option<EngineError>,
    loop_wakes_at: Boottime,
    snapshots: watch::Sender<Snapshot>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    pub(crate) random: rand::rngs::SmallRng,
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
        let now = ports.clock.now();
        crate::takeover::suspect_what_predecessors_changed(&spec, &ports, &mut remembered).await?;
        let items = std::mem::take(&mut remembered.items);
        let aside = match (options.select.as_deref(), spec.baseline) {
            (None, None) => HashMap::new(),
            (select, _) => crate::selected::set_aside(select, &spec, &ports, &mut remembered, now).await?,
        };
        let (dispatcher, changes) = Dispatcher::new(Rules::of(&spec), &mut remembered, ports.clock.boot_id(), now);
        ports.store.apply(changes).await.map_err(EngineError::State)?;
        adce_core::failpoint::reached(adce_core::failpoint::Failpoint::TakenOver);
        let ledger = Ledger::new(ports.store.clone());
        let figures = Figures::new(spec.sources.keys(), now);
        let (snapshots, _) = watch::channel(Snapshot { at: now.wall, started_at: now.wall, ..Snapshot::default() });
        let random = rand::SeedableRng::seed_from_u64(options.seed);
        Ok(Engine {
            spec,
            ports,
            options,
            mail: inbox.mail,
            ledger,
            ahead: Ahead::default(),
            heartbeat: Heartbeat::default(),
            dispatcher,
            items,
            aside,
            accepted: remembered.picture,
            held: remembered.held,
            cycle: CycleState::default(),
            figures,
            line: Line::default(),
            stops: HashMap::new(),
            cancelling: Cancelling::default(),
            reloading: Reloading::default(),
            interrupted: None,
            closing: false,
            collects: true,
            consent: Consent::Given,
            edited: None,
            failed: None,
            loop_wakes_at: Boottime::default(),
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
        self.begin_cycle();
        self.steer().await
    }

    /// Collects nothing and looks at nothing: there for its guests alone, until the last of them has gone.
    pub async fn run_for_guests(mut self) -> Result<Ending, EngineError> {
        self.collects = false;
        self.closing = true;
        self.steer().await
    }

    async fn steer(self) -> Result<Ending, EngineError> {
        let started = self.now().boot;
        let mut alarm = Alarm::new(self.ports.clock.clone());
        let mail = self.mail.clone();
        let helm = Helm::of(self);
        while let Some(wake) = helm.take(Engine::turn).map_err(|Broken| EngineError::Bug)? {
            if !mail.is_empty() {
                // Put there while this loop had the helm: nobody else looks.
                continue;
            }
            tokio::select! {
                () = mail.loop_is_called() => {}
                reserved = poll_fn(|context| helm.poll_reserved(context)) => helm.tell(reserved),
                () = alarm.rings_by(wake) => {}
            }
        }
        helm.end().map_err(|Broken| EngineError::Bug)?.end(started).await
    }

    async fn end(mut self, started: Boottime) -> Result<Ending, EngineError> {
        let now = self.now();
        let ending = Ending {
            interrupted: self.interrupted.is_some(),
            declined: self.consent == Consent::Declined,
            longest_wait: self.figures.longest_wait,
            elapsed: now.boot.since(started),
            snapshot: self.snapshot(now, Phase::Done),
            cycle: std::mem::take(&mut self.cycle.figures),
        };
        self.ahead.give_back(&mut self.ledger);
        self.give_up_reloading("the engine has ended");
        self.dismiss_all(now);
        let written = self.ledger.finish().await.map_err(EngineError::State);
        self.failed.map_or(written, Err).map(|()| ending)
    }

    /// The loop's turn: when to have another if nothing happens; `None`: it is over.
    fn turn(&mut self, launch: &mut dyn FnMut(Job)) -> Option<Boottime> {
        if let Some(pulse) = &self.options.pulse {
            pulse();
        }
        while let Some(message) = self.mail.take() {
            self.handle(message);
        }
        self.follow_up();
        self.renew_if_due();
        self.beat_if_due();
        let idle = self.start_what_can(launch);
        self.show(&idle);
        if self.is_over(&idle) {
            return None;
        }
        self.loop_wakes_at = self.wake_at(&idle);
        Some(self.loop_wakes_at)
    }

    /// The turn of a thread that brings news; whether the loop must have one, too.
    pub(crate) fn turn_between(&mut self, launch: &mut dyn FnMut(Job)) -> bool {
        while let Some(message) = self.mail.take_unless(is_for_the_loop) {
            self.handle(message);
        }
        self.follow_up();
        let idle = self.start_what_can(launch);
        self.mail.next_is(is_for_the_loop)
            || self.stops.is_empty()
            || self.ledger.is_reserving_more()
            || self.next_event(&idle).is_some_and(|event| event < self.loop_wakes_at)
    }

    /// After what has happened, before the next decision.
    fn follow_up(&mut self) {
        self.judge_touched();
        self.grant_what_can();
        self.give_up_what_only_waits();
        if let Some(error) = self.ledger.failure() {
            self.fail(EngineError::State(error));
        }
    }

    /// Leases of what goes on for long, and of what was leased ahead and waits for long, are renewed. It goes along with
    /// whatever is written next; if it is refused, somebody else has the state by now, and everything ends.
    fn beat_if_due(&mut self) {
        let now = self.now();
        let held = || self.stops.keys().copied().chain(self.ahead.attempts()).collect();
        let Some(Beat { renew, slept }) = self.heartbeat.beat(held, now.boot) else { return };
        if let Some(slept) = slept {
            self.notice(Notice::LeasesExpired { attempts: renew.len() as u64, after: slept });
        }
        if !renew.is_empty() {
            let until = lease::until(&self.dispatcher.moment(now));
            self.ledger.record(vec![Change::Renew { attempts: renew, until }]);
        }
    }

    pub(crate) fn now(&self) -> Now {
        self.ports.clock.now()
    }

    // ------------------------------------------------------------------------------------------------------ starting

    /// Starts the best runnable tasks until none is left or no slot is free.
    fn start_what_can(&mut self, launch: &mut dyn FnMut(Job)) -> Option<Idle> {
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
            self.ahead.let_go(&self.dispatcher, &mut self.ledger);
            let mut leasing = None;
            let name_attempt = |task: &Task| match self.ahead.take(task) {
                Some((attempt, taken)) => {
                    leasing = Some(taken);
                    attempt
                }
                None => AttemptId(Uuid::now_v7()),
            };
            match self.dispatcher.pick(now, name_attempt) {
                Pick::Start(start) => launch(self.start(*start, leasing, now)),
                Pick::Idle(idle) => {
                    let called_back = self.dispatcher.call_back(now);
                    if !called_back.is_empty() {
                        self.ledger.record(called_back);
                        continue;
                    }
                    self.ahead.refill(&self.dispatcher, &self.ledger, now);
                    return Some(idle);
                }
            }
        }
    }

    fn has_had_its_attempts(&self) -> bool {
        self.options.attempts.is_some_and(|attempts| self.figures.totals.attempts >= attempts)
    }

    /// What is to be done. `leasing`: the lease that was written ahead for it; what needs permits has none.
    fn start(&mut self, start: Start, leasing: Option<Leasing>, now: Now) -> Job {
        self.ahead.let_go(&self.dispatcher, &mut self.ledger);
        let progress = self.figures.started(&start, now);
        let stop = Arc::new(StopSwitch::default());
        self.stops.insert(start.attempt, stop.clone());
        let leasing = leasing.unwrap_or_else(|| self.ledger.lease(start.before.clone(), start.lease.clone()));
        let attempt = Attempt {
            ports: self.ports.clone(),
            spec: self.spec.clone(),
            expected: self.cycle.expected.clone(),
            in_doubt: start.gaps.iter().map(Gap::item).filter(|item| self.is_in_doubt(*item)).collect(),
            start,
            stop,
            progress,
        };
        Job { attempt, leasing }
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
                self.figures.answered(attempt, &source, answer, now.wall);
                let changes = self.dispatcher.answered(attempt, &source, answer, now);
                self.ledger.record(changes);
            }
            Message::Uncovered { attempt, host, passed } => self.figures.uncovered(attempt, host, passed),
            Message::Distrusted { attempt, host } => self.figures.guests.distrusted(attempt, host),
            Message::Panicked { attempt } => {
                match attempt {
                    Some(attempt) => drop(self.stops.remove(&attempt)),
                    None => self.cycle.under_way = false,
                }
                self.fail(EngineError::Bug);
            }
            Message::Heard(heard) => self.heard(heard, now),
            Message::Sighted(sighted) => self.sighted(*sighted),
            Message::Feed { feed, state } => self.feed_is(&feed, state),
            Message::LookAgain => self.look_again(),
            Message::Query(query) => self.answer(query, now),
            Message::Interrupt(how) => self.interrupt(how),
            Message::Edited { edited, weighting } => self.edited(edited, weighting),
            Message::Reload { reload, reply } => self.reload(Asked { reload: *reload, reply }),
            Message::HoldBack(holds) => self.hold_back(holds),
            Message::FeedsAnew => self.cycle.hearing.feeds.clear(),
            Message::Confirmed(yes) => self.consent = if yes { Consent::Given } else { Consent::Declined },
        }
    }

    pub(crate) fn give_back_what_is_leased_ahead(&mut self) {
        self.ahead.give_back(&mut self.ledger);
    }

    fn lease_refused(&mut self, attempt: AttemptId, error: StoreError, now: Now) {
        self.stops.remove(&attempt);
        self.figures.forgotten(attempt);
        let changes = self.dispatcher.lease_refused(attempt, now);
        self.ledger.record(changes);
        self.fail(EngineError::State(error));
    }

    fn edited(&mut self, edited: Edited, weighting: Option<Weighting>) {
        if let Some(weighting) = weighting {
            let now = self.now();
            self.dispatcher.weigh(weighting, now);
            // They were written for what would have started next by the old ones.
            self.give_back_what_is_leased_ahead();
        }
        self.edited = Some(edited.clone()).filter(|edited| !edited.is_in_force());
        self.notice(Notice::ConfigEdited(edited));
    }

    pub(crate) fn notice(&self, notice: Notice) {
        let _ = self.notices.send(notice);
    }

    fn interrupt(&mut self, how: Interrupt) {
        self.interrupted = self.interrupted.max(Some(how));
        self.dispatcher.wind_down(true);
        if self.interrupted == Some(Interrupt::Stop) {
            self.stop_all();
        }
    }

    pub(crate) fn fail(&mut self, error: EngineError) {
        if self.failed.is_none() {
            self.failed = Some(error);
        }
        self.stop_all();
    }

    pub(crate) fn stop_all(&self) {
        self.stops.values().for_each(|stop| stop.stop());
    }

    // --------------------------------------------------------------------------------------------------------- ending

    fn is_over(&mut self, idle: &Option<Idle>) -> bool {
        let has_nothing_to_do = self.has_nothing_to_do(idle);
        if has_nothing_to_do && self.options.stays && !self.is_to_end() {
            return false;
        }
        if has_nothing_to_do && self.stays_for_guests() {
            // Meanwhile something may fall due, and be collected.
            self.closing = !self.collects;
            return false;
        }
        has_nothing_to_do
    }

    fn is_to_end(&self) -> bool {
        self.failed.is_some() || self.interrupted.is_some() || self.consent == Consent::Declined
    }

    fn has_nothing_to_do(&mut self, idle: &Option<Idle>) -> bool {
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
        // What just landed may say what else there is.
        if self.cycle.hearing.look_again {
            // Who stays looks again in his own time.
            if !self.options.stays {
                self.begin_cycle();
            }
            return false;
        }
        if idle.is_none() {
            return false;
        }
        match self.dispatcher.prospect(self.options.max_wait, self.now()) {
            Prospect::Work => false,
            Prospect::Later(_) => {
                if self.cycle.attempts_since == 0 || self.options.stays {
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
        if self.next_cycle() <= now.boot && !self.cycle.under_way && !self.closing && self.interrupted.is_none() {
            self.begin_cycle();
        }
        let show = now.boot + Duration::from_millis(if self.snapshots.receiver_count() > 0 { 100 } else { 1_000 });
        self.next_event(idle).into_iter().fold(show, Boottime::min).max(now.boot + Duration::from_micros(200))
    }

    /// When something may start, may be sent or changes its state by time alone.
    fn next_event(&self, idle: &Option<Idle>) -> Option<Boottime> {
        let wake = idle.as_ref().and_then(|idle| idle.wake_at);
        let may_look = self.cycle.hearing.look_again && !self.cycle.under_way && !self.closing && self.interrupted.is_none();
        let looks_again = may_look.then(|| self.next_cycle());
        [wake, self.line.next_grant(), self.next_renewal(self.now()), looks_again].into_iter().flatten().min()
    }

    fn show(&mut self, idle: &Option<Idle>) {
        let now = self.now();
        if self.snapshots.receiver_count() == 0 || !self.figures.is_time_to_look(now) {
            return;
        }
        for (source, used) in self.dispatcher.windows_used(now) {
            self.figures.windows(source, used);
        }
        if self.figures.is_time_to_show(now) {
            let phase = self.phase(idle, now);
            let snapshot = self.snapshot(now, phase);
            self.snapshots.send_replace(snapshot);
            self.figures.showed(now, self.now());
        }
    }
}

/// To take in what a cycle saw of a million gaps may take seconds: no attempt's thread has them.
fn is_for_the_loop(message: &Message) -> bool {
    matches!(message, Message::Observed(_))
}
