//! No class starves: from the moment at which a task may run until it starts passes no more time than the backlog of its
//! source explains, whatever else falls due meanwhile. Times at which its source or the engine was away do not count.
//!
//! Critical tasks have slots and windows set aside and wait for no backlog. The others may all wait behind it, as the old
//! ones among it outrank what is new; but it ends, and the bound does not grow with the year.

use std::collections::BTreeMap;

use adce_core::gap::Task;
use adce_core::ids::TaskId;
use adce_core::record::Change;
use adce_core::spec::PriorityLevel;

use super::closed::Closed;
use super::demand::Demand;
use super::months::Months;
use crate::facts::{Checker, Fact, Moment, Wrong};
use crate::scenario::{DAY, HOUR, Micros, SECOND, Scenario};

pub struct Starving {
    names: Vec<String>,
    closed: Closed,
    demands: Vec<Demand>,
    waiting: BTreeMap<TaskId, Waits>,
    months: Months,
}

struct Waits {
    task: Task,
    since: Micros,
    is_named: bool,
}

impl Starving {
    pub fn new(scenario: &Scenario, months: Months) -> Self {
        let closed = Closed::of(scenario);
        let sources = (0..scenario.sources.len()).map(Some).chain([None]);
        Starving {
            names: scenario.sources.iter().map(|source| source.name.clone()).collect(),
            demands: sources.map(|source| Demand::of(scenario, source, &closed)).collect(),
            closed,
            waiting: BTreeMap::new(),
            months,
        }
    }

    fn source_of(&self, task: &Task) -> Option<usize> {
        let name = task.source.as_ref()?;
        self.names.iter().position(|known| known == name)
    }

    fn bound(&self, task: &Task) -> Micros {
        let demand = &self.demands[self.source_of(task).unwrap_or(self.names.len())];
        match task.priority {
            PriorityLevel::Critical => demand.longest_pause() + HOUR,
            _ => demand.drains_in() + DAY,
        }
    }

    fn put(&mut self, task: &Task, moment: Moment) {
        let later = task.ready_at.map_or(0, |at| at.duration_since(moment.now.wall).as_micros().max(0)) as Micros;
        let since = match self.waiting.get(&task.id) {
            Some(before) if later == 0 && before.task.priority == task.priority => before.since,
            _ => moment.at + later,
        };
        self.waiting.insert(task.id, Waits { task: task.clone(), since, is_named: false });
    }

    fn waited(&self, waits: &Waits, until: Micros) -> Micros {
        self.closed.open_between(self.source_of(&waits.task), waits.since, until)
    }

    fn too_long(&self, waits: &Waits, at: Micros, what: &str) -> Option<Wrong> {
        let (waited, bound) = (self.waited(waits, at), self.bound(&waits.task));
        let Task { key, priority, id, .. } = &waits.task;
        let hours = |micros: Micros| micros as f64 / HOUR as f64;
        let what = || {
            format!("`{key}` ({id}, {}) {what} {:.1} h that it could run, {:.1} h at most", priority.word(), hours(waited), hours(bound))
        };
        (waited > bound).then(|| Wrong { checker: "starving", at, what: what() })
    }
}

impl Checker for Starving {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        match fact {
            Fact::Decided { changes } => {
                for change in *changes {
                    match change {
                        Change::PutTask(task) => self.put(task, moment),
                        Change::RemoveTask(task) => drop(self.waiting.remove(task)),
                        _ => {}
                    }
                }
            }
            Fact::Picked { start } => {
                let Some(waits) = self.waiting.remove(&start.task.id) else { return };
                wrong.extend(self.too_long(&waits, moment.at, "started after"));
                let waited = self.waited(&waits, moment.at);
                self.months.waited(moment, waits.task.priority, waited);
            }
            // Who waits goes on waiting; what was forgotten was never there.
            Fact::Restarted { disk, .. } => {
                self.waiting.retain(|task, _| disk.tasks.contains_key(task));
                let new: Vec<_> = disk.tasks.values().filter(|task| !self.waiting.contains_key(&task.id)).cloned().collect();
                new.iter().for_each(|task| self.put(task, moment));
            }
            Fact::Midnight { .. } | Fact::Ends { .. } => {
                let found: Vec<_> = self.waiting.values().filter(|waits| !waits.is_named && waits.since + SECOND < moment.at).collect();
                let found: Vec<_> = found.iter().filter_map(|w| Some((w.task.id, self.too_long(w, moment.at, "waits since")?))).collect();
                for (task, what) in found {
                    wrong.push(what);
                    self.waiting.get_mut(&task).expect("found above").is_named = true;
                }
            }
            _ => {}
        }
    }
}
