//! What a person does to a running engine: pauses, cancelled work, a look at once.
//!
//! Always true: what is cancelled while it runs is left alone from the moment at which its attempt has ended
//! (`what_is_cancelled_is_ended_and_left_alone`); a kill before that forgets it.

use std::collections::BTreeMap;

use adce_core::gap::Gap;
use adce_core::ids::{AttemptId, GapId, TaskId};
use adce_core::pause::{Pause, PauseOf};
use adce_core::queue::Meant;
use adce_core::time::{Now, Timestamp};

use crate::engine::Engine;
use crate::snapshot::Notice;

/// Gaps whose attempts are being ended because a person cancelled them.
#[derive(Default)]
pub(crate) struct Cancelling(BTreeMap<AttemptId, (Vec<GapId>, Timestamp)>);

/// A gap that is left alone.
#[derive(Clone, Debug)]
pub struct CancelView {
    pub gap: Gap,
    /// The one that it was in.
    pub task: Option<TaskId>,
    /// The attempt that has it, and is being ended.
    pub attempt: Option<AttemptId>,
}

impl Engine {
    /// Whether it was otherwise before.
    pub(crate) fn pause(&mut self, of: PauseOf, because: Option<String>, now: Now) -> bool {
        let before = self.dispatcher.paused_by_hand().get(&of).cloned();
        if before.as_ref().is_some_and(|before| before.because == because) {
            return false;
        }
        let since = before.as_ref().map_or(now.wall, |before| before.since);
        let why = because.iter().map(|why| format!(": {why}")).collect::<String>();
        self.notice(Notice::ByHand(format!("paused {}{why}", of.words())));
        let changes = self.dispatcher.pause(of, Pause { since, until: None, because }, now);
        self.ledger.record(changes);
        before.is_none()
    }

    /// Whether it was otherwise before.
    pub(crate) fn resume(&mut self, of: &[PauseOf], now: Now) -> bool {
        let mut has_changed = false;
        for of in of {
            let changes = self.dispatcher.resume(of, now);
            if !changes.is_empty() {
                self.notice(Notice::ByHand(format!("{} goes on", of.words())));
                self.ledger.record(changes);
                has_changed = true;
            }
        }
        // There is something to do again, also if this was to be the last look.
        self.closing &= !has_changed;
        has_changed
    }

    /// By nobody's hand: for the engine's own sake, or in a maintenance window. It is said when it begins and when it is over.
    pub(crate) fn hold_back(&mut self, holds: BTreeMap<PauseOf, Pause>) {
        let before = self.dispatcher.paused();
        if !self.dispatcher.windows_are(holds) {
            return;
        }
        let after = self.dispatcher.paused();
        for (of, pause) in after.iter().filter(|(of, _)| !before.contains_key(of)) {
            self.notice(Notice::HeldBack(format!("{} starts nothing: {}", of.words(), pause.because.as_deref().unwrap_or("held back"))));
        }
        for of in before.keys().filter(|of| !after.contains_key(of)) {
            self.notice(Notice::HeldBack(format!("{} goes on", of.words())));
        }
        self.give_back_what_is_leased_ahead();
    }

    /// `None`: nothing has this name.
    pub(crate) fn cancel(&mut self, name: &str, until: Timestamp, now: Now) -> Option<Vec<CancelView>> {
        let tasks: BTreeMap<GapId, TaskId> =
            self.dispatcher.gaps().iter().filter_map(|gap| Some((gap.id, self.dispatcher.task_of(gap.id)?))).collect();
        self.notice(Notice::ByHand(format!("cancelled {name}, left alone until {}", until.strftime("%Y-%m-%d %H:%M:%S UTC"))));
        let (cancelled, changes) = self.dispatcher.cancel(Meant::Named(name), until, now)?;
        self.ledger.record(changes);
        // They may have been written for what is left alone now.
        self.give_back_what_is_leased_ahead();
        let view = |gap: Gap, attempt| CancelView { task: tasks.get(&gap.id).copied(), gap, attempt };
        let mut views: Vec<CancelView> = cancelled.waiting.into_iter().map(|gap| view(gap, None)).collect();
        for (attempt, gaps) in cancelled.running {
            if let Some(stop) = self.stops.get(&attempt) {
                stop.stop();
            }
            self.cancelling.0.insert(attempt, (gaps.iter().map(|gap| gap.id).collect(), until));
            views.extend(gaps.into_iter().map(|gap| view(gap, Some(attempt))));
        }
        Some(views)
    }

    /// This attempt has ended, and what became of its gaps is decided.
    pub(crate) fn leave_alone_what_was_cancelled(&mut self, attempt: AttemptId, now: Now) {
        if let Some((gaps, until)) = self.cancelling.0.remove(&attempt) {
            let changes = self.dispatcher.leave_alone(&gaps, until, now);
            self.ledger.record(changes);
        }
    }

    /// `false`: one is under way already, or the engine is ending.
    pub(crate) fn look_now(&mut self) -> bool {
        let may_look = !self.cycle.under_way && !self.closing && self.interrupted.is_none() && self.failed.is_none();
        if may_look {
            self.begin_cycle();
        }
        may_look
    }
}
