//! Everything that can happen to a running engine, as messages. Whoever has the helm handles them one after the other, so no
//! decision is ever made on a half-changed picture.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use adce_core::coverage::{Coverage, Expected};
use adce_core::events::Event;
use adce_core::gap::Gap;
use adce_core::ids::{AttemptId, ItemId, TaskId};
use adce_core::pause::{Pause, PauseOf};
use adce_core::ports::{Answer, PermitId, PermitRefused, Settlement, StoreError};
use adce_core::queue::{Asked, CollectorFigures, SourceFigures};
use adce_core::record::{AttemptRecord, ProcessRecord, Waited};
use adce_core::spec::{PriorityLevel, Spec, Weighting};
use adce_core::time::Timestamp;
use adce_core::traffic::Traffic;
use tokio::sync::oneshot;

use crate::by_hand::CancelView;
use crate::cycle::{CycleFigures, Observed};
use crate::deliver::Delivered;
use crate::guests::{Guest, GuestUse, NotAdmitted};
use crate::hearing::{Heard, Sighted};
use crate::job_slots::JobSlot;
use crate::mail::Mail;
use crate::permits::{Granted, PermitDesk};
use crate::reload::{NotInForce, Reload};
use crate::snapshot::{Edited, FeedState, Snapshot};
use crate::why::{About, GapView, TaskView, Why};

pub(crate) enum Message {
    /// A full cycle has looked at everything.
    Observed(Box<Observed>),
    /// Lease and reservation of a start are not on record: nothing was started.
    LeaseRefused {
        attempt: AttemptId,
        error: StoreError,
    },
    Process(ProcessRecord),
    /// Its collector is done; it publishes now.
    Collected(AttemptId),
    Ended(Box<Ended>),
    Acquire {
        attempt: AttemptId,
        source: String,
        reply: oneshot::Sender<Result<Granted, PermitRefused>>,
    },
    /// The reservation that some grants waited for is durable (or not).
    Reserved {
        reservation: u64,
        recorded: Result<(), StoreError>,
    },
    Settle {
        permit: PermitId,
        how: Settlement,
    },
    Answered {
        attempt: AttemptId,
        source: String,
        answer: Answer,
    },
    /// A host was asked that no source declares.
    Uncovered {
        attempt: AttemptId,
        host: String,
        passed: bool,
    },
    /// A client broke off a TLS handshake with the gateway.
    Distrusted {
        attempt: AttemptId,
        host: String,
    },
    /// A bug: an attempt or a cycle ended without a word.
    Panicked {
        attempt: Option<AttemptId>,
    },
    /// An event feed tells of objects.
    Heard(Heard),
    /// And the lake was asked about them.
    Sighted(Box<Sighted>),
    Feed {
        feed: String,
        state: FeedState,
    },
    /// Somebody knows that something in the lake has escaped him.
    LookAgain,
    Query(Query),
    Interrupt(Interrupt),
    /// A person was asked whether so many gaps are to be started.
    Confirmed(bool),
    /// Another config, to be in force with the next look.
    Reload {
        reload: Box<Reload>,
        reply: oneshot::Sender<Result<(), NotInForce>>,
    },
    /// What starts nothing now, although no person said so.
    HoldBack(BTreeMap<PauseOf, Pause>),
    /// Other feeds come in place of those that were known.
    FeedsAnew,
    /// `weighting`: to score by from now on.
    Edited {
        edited: Edited,
        weighting: Option<Weighting>,
    },
}

pub(crate) struct Ended {
    pub record: AttemptRecord,
    pub delivered: Delivered,
}

/// Ctrl-C once, twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interrupt {
    /// Finish what runs, start nothing.
    Drain,
    /// End what runs.
    Stop,
}

/// Questions to a running engine.
pub enum Query {
    Status(oneshot::Sender<StatusView>),
    Gaps(oneshot::Sender<Vec<GapView>>),
    Coverage(oneshot::Sender<CoverageView>),
    Tasks(oneshot::Sender<Vec<TaskView>>),
    /// What a task has waited for, and how many that scored higher started meanwhile ([`adce_core::queue::Dispatcher::waited`]).
    Waits(TaskId, oneshot::Sender<Option<(Vec<Waited>, u64)>>),
    Limits(oneshot::Sender<LimitsView>),
    /// A key, a task id or a dataset.
    Why(String, oneshot::Sender<(Why, About)>),
    /// A person believes the held picture; the surprises that were accepted.
    Accept(oneshot::Sender<Vec<String>>),
    /// A person wants contested objects fetched: those of a task or a dataset, or the one at a key. The gaps that were
    /// released; `None`: nothing has this name.
    Release(String, oneshot::Sender<Option<Vec<Gap>>>),
    /// A person wants tried at once what waits: of a task, a dataset or a key, or everything.
    Retry(Option<String>, oneshot::Sender<Retried>),
    /// A person keeps something from starting, and why; whether it was otherwise before, and all that are paused now.
    Pause(PauseOf, Option<String>, oneshot::Sender<PausesView>),
    /// It may start again; none: whatever is paused by hand.
    Resume(Option<PauseOf>, oneshot::Sender<PausesView>),
    /// Attempts at a key, a task or a dataset are ended, and the items left alone until then. `None`: nothing has this name.
    Cancel(String, Timestamp, oneshot::Sender<Option<Vec<CancelView>>>),
    /// A job wants a slot, to ask this source alone or any; `None`: not now, and the next one that gets free is kept for it.
    Slot(Option<String>, oneshot::Sender<Option<JobSlot>>),
    /// It has ended; what it asked.
    SlotBack(AttemptId, oneshot::Sender<Option<GuestUse>>),
    /// Looks at the lake now; `false`: it does already, or is ending.
    Look(oneshot::Sender<bool>),
    /// A person wants the gaps of these items filled soon, with at least this priority ([`adce_core::queue::Dispatcher::expedite`]).
    Expedite(HashSet<ItemId>, Option<PriorityLevel>, oneshot::Sender<Vec<Asked>>),
    /// A program that a person runs by hand wants to pass the gateway, to these sources alone or to all.
    Admit(Option<Vec<String>>, oneshot::Sender<Result<Guest, NotAdmitted>>),
    /// It is over; what it asked. `None`: it was dismissed before.
    Dismiss(AttemptId, oneshot::Sender<Option<GuestUse>>),
}

/// What came of [`Query::Retry`].
#[derive(Clone, Debug)]
pub enum Retried {
    Asked(Vec<Asked>),
    /// The run under way was told to leave this one alone.
    LeftAside(Aside),
    /// Nothing here has this name.
    Unknown,
}

/// What came of [`Query::Pause`] and [`Query::Resume`].
#[derive(Clone, Debug)]
pub struct PausesView {
    pub changed: bool,
    pub paused: BTreeMap<PauseOf, Pause>,
}

/// Why a run leaves a gap alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aside {
    /// Its `--select` does not mean it.
    NotSelected,
    /// Its item is older than the config's `baseline`.
    OlderThanBaseline,
}

/// Everything that `limits` shows.
#[derive(Clone, Debug)]
pub struct LimitsView {
    pub sources: Vec<SourceFigures>,
    pub collectors: Vec<CollectorFigures>,
    /// By source: from sent to settled, on average, if anything was settled.
    pub settle: HashMap<String, Duration>,
    /// By source: what it was asked since the engine started, if anything.
    pub traffic: HashMap<String, Traffic>,
}

/// Everything that `coverage` is worked out from.
#[derive(Clone, Debug)]
pub struct CoverageView {
    pub spec: Arc<Spec>,
    pub expected: Arc<Expected>,
    /// As of the last judgement; `None`: nobody has looked yet.
    pub coverage: Option<Coverage>,
    pub cycle: CycleFigures,
    pub surprises: Vec<String>,
}

/// Everything that `status` shows.
#[derive(Clone, Debug)]
pub struct StatusView {
    pub snapshot: Snapshot,
    pub cycle: CycleFigures,
    pub next_cycle: Timestamp,
}

/// The way to the engine, before the engine itself exists: the gateway needs permits, and the engine the gateway.
#[derive(Default)]
pub struct Inbox {
    pub(crate) mail: Mail,
}

impl Inbox {
    pub fn permits(&self) -> PermitDesk {
        PermitDesk { mail: self.mail.clone() }
    }

    pub fn handle(&self) -> Handle {
        Handle { mail: self.mail.clone() }
    }
}

/// For signals and questions from outside.
#[derive(Clone)]
pub struct Handle {
    mail: Mail,
}

impl Handle {
    pub fn interrupt(&self, how: Interrupt) {
        let _ = self.mail.send(Message::Interrupt(how));
    }

    /// The config was edited; `weighting`: what of it is to be in force at once.
    pub fn config_edited(&self, edited: Edited, weighting: Option<Weighting>) {
        let _ = self.mail.send(Message::Edited { edited, weighting });
    }

    /// Another config comes into force with the next look, which begins now; returns when it is, or cannot be.
    pub async fn reload(&self, reload: Reload) -> Result<(), NotInForce> {
        let ended = || vec!["the engine has ended".to_owned()];
        let (reply, adopted) = oneshot::channel();
        self.mail.send(Message::Reload { reload: Box::new(reload), reply }).map_err(|_| ended())?;
        adopted.await.map_err(|_| ended())?
    }

    /// What starts nothing now although no person said so: for the engine's own sake, or in a maintenance window.
    pub fn holds_back(&self, holds: BTreeMap<PauseOf, Pause>) {
        let _ = self.mail.send(Message::HoldBack(holds));
    }

    /// Other feeds come in place of those that told of themselves.
    pub fn feeds_are_anew(&self) {
        let _ = self.mail.send(Message::FeedsAnew);
    }

    /// An event feed tells of objects of this lake. `Ok`: it was taken in, and what follows from it is on disk; otherwise it is worth
    /// telling once more.
    pub async fn heard(&self, feed: &str, told: Vec<Event>) -> Result<(), String> {
        let ended = |_| "the engine has ended".to_owned();
        let (reply, taken) = oneshot::channel();
        self.mail.send(Message::Heard(Heard { feed: feed.to_owned(), told, reply })).map_err(|_| ended(()))?;
        taken.await.map_err(|_| ended(()))?
    }

    /// How the feed itself is.
    pub fn feed_is(&self, feed: &str, state: FeedState) {
        let _ = self.mail.send(Message::Feed { feed: feed.to_owned(), state });
    }

    /// Something has escaped the feeds: the lake is to be looked at soon.
    pub fn look_again(&self) {
        let _ = self.mail.send(Message::LookAgain);
    }

    /// `None`: the engine has ended meanwhile.
    pub async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.mail.send(Message::Query(question(reply))).ok()?;
        answer.await.ok()
    }
}
