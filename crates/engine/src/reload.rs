//! Another config for an engine at work.
//!
//! What it means is only known once somebody has looked: which items it expects, which of them are there, and whether so much changes that
//! it is rather a slip. So the look that is next, or one that begins at once, is by the new config; meanwhile the old one is in force. When
//! that look is over, the new one comes into force and what was seen is taken in, in one turn: between two decisions.
//!
//! Always true: a config that does not expand or whose rules have no answer, or a lake that does not answer to it, changes nothing (`a_config_that_cannot_be_in_force_leaves_the_old_one`,
//! `an_edition_whose_look_failed_is_in_force_when_the_lake_answers_again`);
//! attempts that run end by what they began with, gateway included (`what_runs_goes_on_through_a_reload`); what opens by it is a surprise like any other
//! (promise 9).

use std::collections::HashMap;
use std::sync::Arc;

use adce_core::coverage::{Coverage, Evidence};
use adce_core::ports::{Gate, Passed};
use adce_core::queue::Rules;
use adce_core::spec::Spec;
use adce_core::spec::problem::Problem;
use adce_core::time::Now;
use tokio::sync::oneshot;

use crate::attempt::Ports;
use crate::cycle::{Look, Observed};
use crate::engine::{Engine, EngineError};
use crate::snapshot::Notice;

/// What comes in place of what an engine began with. Lake, store and clock stay what they are.
pub struct Reload {
    pub spec: Arc<Spec>,
    pub ports: Ports,
}

/// Why it is not in force, for a person: one line each.
pub type NotInForce = Vec<String>;

pub(crate) struct Asked {
    pub reload: Reload,
    pub reply: oneshot::Sender<Result<(), NotInForce>>,
}

#[derive(Default)]
pub(crate) struct Reloading {
    /// For the next look.
    waiting: Option<Asked>,
    /// The look under way is by it.
    looking: Option<Asked>,
    /// Gateways of configs before, for as long as somebody passes them.
    retired: Vec<Arc<dyn Gate>>,
    /// What passed those that are gone, by source.
    gone: HashMap<String, Passed>,
}

impl Reloading {
    /// A look begins: what it looks by, and with, if that is not what is in force.
    pub fn begin(&mut self) -> Option<(Arc<Spec>, Ports)> {
        self.looking = self.waiting.take();
        self.looking.as_ref().map(|asked| (asked.reload.spec.clone(), asked.reload.ports.clone()))
    }

    pub fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    pub fn passed(&self, source: &str) -> Passed {
        let mut passed = self.gone.get(source).copied().unwrap_or_default();
        self.retired.iter().for_each(|gate| passed += gate.passed(source));
        passed
    }

    /// Those that nobody passes any more end.
    pub fn let_go<'s>(&mut self, has_guests: bool, sources: impl Iterator<Item = &'s String> + Clone) {
        let (stay, go): (Vec<_>, Vec<_>) = self.retired.drain(..).partition(|gate| has_guests || Arc::strong_count(gate) > 1);
        self.retired = stay;
        for gate in go {
            sources.clone().for_each(|source| *self.gone.entry(source.clone()).or_default() += gate.passed(source));
        }
    }

    pub fn dismiss(&self, guest: adce_core::ids::AttemptId) {
        for gate in &self.retired {
            gate.dismiss(guest);
        }
    }
}

impl Engine {
    pub(crate) fn reload(&mut self, asked: Asked) {
        if self.closing || self.interrupted.is_some() || self.failed.is_some() {
            let _ = asked.reply.send(Err(vec!["the engine is ending".into()]));
            return;
        }
        if let Some(older) = self.reloading.waiting.replace(asked) {
            let _ = older.reply.send(Err(vec!["another edition came before it was in force".into()]));
        }
        if !self.cycle.under_way && self.cycle.done > 0 {
            self.begin_cycle();
        }
    }

    /// The look under way is over. `None`: it was by a config that cannot be in force, and the old one stays.
    pub(crate) fn adopt_what_was_looked_by(&mut self, observed: Observed, now: Now) -> Option<Observed> {
        let Some(Asked { reload, reply }) = self.reloading.looking.take() else { return Some(observed) };
        match &observed.look {
            Err(error) => {
                let _ = reply.send(Err(reasons(error)));
                None
            }
            Ok(look) => {
                if let Err(problems) = self.would_be_judged(&reload.spec, look, now) {
                    let _ = reply.send(Err(reasons(&EngineError::Config(problems))));
                    return None;
                }
                self.adopt(reload, now);
                let _ = reply.send(Ok(()));
                Some(observed)
            }
        }
    }

    /// A rule that has no answer for some item shows only when all are judged.
    fn would_be_judged(&self, spec: &Spec, look: &Look, now: Now) -> Result<(), Vec<Problem>> {
        let open = self.open_gaps();
        let (expected, inventory, records) = (&*look.expected, &look.inventory, &self.items);
        let evidence = Evidence { spec, expected, inventory, records, open: &open, accepted: self.accepted.as_ref() };
        Coverage::of(&evidence, now.wall).map(drop)
    }

    fn adopt(&mut self, Reload { spec, ports }: Reload, now: Now) {
        let changes = self.dispatcher.reconfigure(Rules::of(&spec), now);
        self.ledger.record(changes);
        // They were written for what would have started next by the old one.
        self.give_back_what_is_leased_ahead();
        self.figures.sources_are(spec.sources.keys());
        self.let_go_of_gateways();
        self.reloading.retired.push(std::mem::replace(&mut self.ports, ports).gate);
        self.spec = spec;
    }

    pub(crate) fn let_go_of_gateways(&mut self) {
        let has_guests = self.figures.guests.len() > 0;
        self.reloading.let_go(has_guests, self.spec.sources.keys());
    }

    /// A look that ended otherwise, or none at all, brings nothing into force.
    pub(crate) fn give_up_reloading(&mut self, why: &str) {
        for asked in [self.reloading.looking.take(), self.reloading.waiting.take()].into_iter().flatten() {
            let _ = asked.reply.send(Err(vec![why.to_owned()]));
        }
    }

    /// Nothing is known that was not known before.
    pub(crate) fn looked_in_vain(&mut self) {
        self.cycle.under_way = false;
        self.cycle.hearing.look_again |= self.cycle.heeds;
        self.notice(Notice::LookFailed("the edited config cannot be in force".into()));
        if self.reloading.waits() {
            self.begin_cycle();
        }
    }
}

fn reasons(error: &EngineError) -> NotInForce {
    match error {
        EngineError::Config(problems) => problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect(),
        EngineError::Lake(cause) | EngineError::NothingListed(cause) => vec![format!("error: {error}: {cause}")],
        other => vec![format!("error: {other}")],
    }
}
