//! What a person, or a maintenance window, keeps from starting: everything, a source, or a dataset.
//!
//! A pause keeps from starting and nothing else: what runs is finished, and its requests go their way. That of a person is
//! remembered (`a_pause_by_hand_is_there_after_a_restart`); that of a window is whoever's who knows the windows.
//!
//! Always true: nothing that is paused starts, nothing else is kept from starting, and whoever was paused has the place in line
//! afterwards that it had (`pick_equals_brute_force`).

use std::collections::{BTreeMap, BTreeSet};

use super::book::DatasetIx;
use super::{Dispatcher, Gate};
use crate::limits::SourceIx;
use crate::pause::{Pause, PauseOf};
use crate::record::{Change, Event};
use crate::time::Now;

#[derive(Clone, Debug, Default)]
pub(super) struct Pauses {
    by_hand: BTreeMap<PauseOf, Pause>,
    by_window: BTreeMap<PauseOf, Pause>,
    everything: Option<Told>,
    /// Those that the config knows.
    sources: BTreeMap<SourceIx, Told>,
    datasets: BTreeMap<DatasetIx, Told>,
}

#[derive(Clone, Debug)]
pub(super) struct Told {
    of: PauseOf,
    pause: Pause,
}

impl Told {
    pub(super) fn gate(&self) -> Gate {
        let Pause { since, until, because } = self.pause.clone();
        Gate::Paused { of: self.of.clone(), since, until, because }
    }
}

impl Pauses {
    pub(super) fn dataset(&self, dataset: DatasetIx) -> Option<&Told> {
        self.datasets.get(&dataset)
    }

    /// What a person said outranks a window: it has no end.
    fn now(&self) -> BTreeMap<PauseOf, Pause> {
        self.by_window.iter().chain(&self.by_hand).map(|(of, pause)| (of.clone(), pause.clone())).collect()
    }
}

impl Dispatcher {
    pub(super) fn restore_pauses(&mut self, pauses: BTreeMap<PauseOf, Pause>) {
        self.pauses.by_hand = pauses;
        self.heed_pauses();
    }

    /// By a person, until [`resume`](Self::resume).
    pub fn pause(&mut self, of: PauseOf, pause: Pause, now: Now) -> Vec<Change> {
        let text = format!("{} paused by hand{}", of.words(), pause.because.iter().map(|why| format!(": {why}")).collect::<String>());
        self.pauses.by_hand.insert(of.clone(), pause.clone());
        self.heed_pauses();
        vec![Change::PutPause(of, Some(pause)), told(text, now)]
    }

    /// Nothing changes if it was not paused by a person.
    pub fn resume(&mut self, of: &PauseOf, now: Now) -> Vec<Change> {
        if self.pauses.by_hand.remove(of).is_none() {
            return Vec::new();
        }
        self.heed_pauses();
        vec![Change::PutPause(of.clone(), None), told(format!("{} goes on by hand", of.words()), now)]
    }

    /// Those of maintenance windows, in place of those before; whether they are others.
    pub fn windows_are(&mut self, windows: BTreeMap<PauseOf, Pause>) -> bool {
        let are_others = windows != self.pauses.by_window;
        if are_others {
            self.pauses.by_window = windows;
            self.heed_pauses();
        }
        are_others
    }

    /// All that are in force.
    pub fn paused(&self) -> BTreeMap<PauseOf, Pause> {
        self.pauses.now()
    }

    /// Those that last until a person says otherwise.
    pub fn paused_by_hand(&self) -> &BTreeMap<PauseOf, Pause> {
        &self.pauses.by_hand
    }

    /// By the names of the config that is in force.
    pub(super) fn heed_pauses(&mut self) {
        let before: BTreeSet<DatasetIx> = self.pauses.datasets.keys().copied().collect();
        let (mut everything, mut sources, mut datasets) = (None, BTreeMap::new(), BTreeMap::new());
        for (of, pause) in self.pauses.now() {
            let told = Told { of: of.clone(), pause };
            match of {
                PauseOf::Everything => everything = Some(told),
                PauseOf::Source(name) => sources.extend(self.source_ix(&name).map(|at| (at, told))),
                PauseOf::Dataset(name) => {
                    datasets.extend(self.rules.datasets.get_index_of(&*name).map(|at| (at as DatasetIx, told)));
                }
            }
        }
        let after: BTreeSet<DatasetIx> = datasets.keys().copied().collect();
        (self.pauses.everything, self.pauses.sources, self.pauses.datasets) = (everything, sources, datasets);
        after.difference(&before).for_each(|dataset| self.hold_tasks_with(*dataset));
        before.difference(&after).for_each(|dataset| self.let_go_tasks_with(*dataset));
    }

    /// What keeps everything from starting, whatever it is.
    pub(super) fn all_held(&self) -> Option<Gate> {
        if self.holds.all {
            return Some(Gate::Surprise { dataset: None });
        }
        self.pauses.everything.as_ref().map(Told::gate)
    }

    pub(super) fn source_pause(&self, source: Option<SourceIx>) -> Option<Gate> {
        self.pauses.sources.get(&source?).map(Told::gate)
    }
}

fn told(text: String, now: Now) -> Change {
    Change::Event(Event { at: now.wall, task: None, gap: None, text })
}
