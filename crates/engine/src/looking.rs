//! When to look at the lake, and what the loop does with what a look found.
//!
//! A look runs beside the loop and reports back. What it means for the gaps is in `cycle`, and what changes until the next one in
//! `between`.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use adce_core::coverage::{Coverage, Expected, Inventory};
use adce_core::gap::Gap;
use adce_core::object::Object;
use adce_core::time::{Boottime, Now};
use futures::FutureExt;

use crate::between::Between;
use crate::cycle::{CycleFigures, Observed};
use crate::engine::{Consent, Engine};
use crate::hearing::Hearing;
use crate::inbox::Message;
use crate::reported::Reporting;
use crate::snapshot::Notice;

/// Worth a word before they are started.
const MANY_GAPS: u64 = 1_000;

/// Where the engine stands with looking.
#[derive(Default)]
pub(crate) struct CycleState {
    pub under_way: bool,
    /// Of the last one that ended well.
    pub expected: Arc<Expected>,
    pub figures: CycleFigures,
    pub coverage: Option<Coverage>,
    /// Gaps that it would have opened if it had been believed.
    pub unbelieved: Vec<Gap>,
    /// What the last look saw, and attempts put in place since.
    pub inventory: Option<Inventory>,
    pub between: Between,
    pub hearing: Hearing,
    pub began: Boottime,
    /// What was seen since the cycle under way began, later than its listing: objects that attempts put in place, and what feeds told of.
    /// `None`: it is gone.
    pub seen_since: HashMap<String, Option<Object>>,
    /// Attempts ended since the last cycle began.
    pub attempts_since: u64,
    pub done: u64,
}

impl Engine {
    pub(crate) fn begin_cycle(&mut self) {
        let now = self.now();
        self.cycle.under_way = true;
        self.cycle.began = now.boot;
        self.cycle.seen_since.clear();
        self.cycle.hearing.look_again = false;
        self.cycle.attempts_since = 0;
        let (spec, ports) = self.reloading.begin().unwrap_or_else(|| (self.spec.clone(), self.ports.clone()));
        let reporting = Reporting::of(ports.reports.clone(), self.accepted.as_ref(), &self.items);
        let observing = crate::cycle::observe(spec, ports, self.accepted.clone(), reporting, self.gaps_in_doubt());
        let mail = self.mail.clone();
        tokio::spawn(async move {
            let message = match AssertUnwindSafe(observing).catch_unwind().await {
                Ok(observed) => Message::Observed(Box::new(observed)),
                Err(_) => Message::Panicked { attempt: None },
            };
            let _ = mail.send(message);
        });
    }

    pub(crate) fn observed(&mut self, observed: Observed, now: Now) {
        self.cycle.under_way = false;
        let took = now.boot.since(self.cycle.began);
        let Some(observed) = self.adopt_what_was_looked_by(observed, now) else { return self.looked_in_vain() };
        match self.take_in(observed, now) {
            // A table that is being written, a lake that is away for a moment: what was known before still holds.
            Err(error) if self.cycle.done > 0 && !self.closing => self.notice(Notice::LookFailed(error.to_string())),
            Err(error) => self.fail(error),
            Ok(()) => {}
        }
        // The last look starts nothing, and what is held back at the end of a run is said as it is.
        if !self.closing {
            let changes = self.dispatcher.new_cycle(self.cycle.began + self.spec.engine.reconcile_every, now);
            self.ledger.record(changes);
        }
        self.cycle.figures.took = took;
        self.cycle.done += 1;
        if self.cycle.done == 1 {
            self.ask_before_many();
        }
        if self.reloading.waits() && !self.closing && self.failed.is_none() {
            self.begin_cycle();
        }
    }

    /// So many gaps for the first time may be a slip in the config: a person is asked, logs are told.
    fn ask_before_many(&mut self) {
        let starts = |gap: &Gap| gap.progress.attempts_total == 0 && self.dispatcher.task_of(gap.id).is_some();
        let new = self.dispatcher.gaps().iter().filter(|gap| starts(gap)).count() as u64;
        if new > MANY_GAPS {
            self.notice(Notice::ManyGaps(new));
        }
        let Some((above, confirm)) = self.options.confirm.take() else { return };
        if new > above && self.held.is_none() && self.failed.is_none() {
            self.consent = Consent::Asked;
            let mail = self.mail.clone();
            tokio::task::spawn_blocking(move || {
                let _ = mail.send(Message::Confirmed(confirm(new)));
            });
        }
    }
}
