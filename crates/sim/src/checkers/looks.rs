//! What full looks are for: no more tasks start from one to the next than the caps say, whoever stood in line for longer than the
//! ttl is ended by a look and nobody else is, and neither costs a gap: what stands back has a task again after the next look.
//!
//! It counts starts, and knows of tasks what was decided of them; that no gap is lost otherwise, `gaps` watches.

use std::collections::{BTreeSet, HashMap};

use adce_core::gap::Task;
use adce_core::ids::{GapId, TaskId};
use adce_core::record::Change;
use adce_core::spec::PriorityLevel;
use adce_core::time::Timestamp;

use crate::facts::{Checker, Fact, Moment, Wrong};
use crate::scenario::{Micros, SECOND, Scenario};

pub struct Looks {
    caps: Vec<(Option<PriorityLevel>, u32)>,
    ttl: Option<Micros>,
    /// Since the last look, by priority.
    started: HashMap<PriorityLevel, u32>,
    waiting: HashMap<TaskId, Waits>,
    task_of: HashMap<GapId, TaskId>,
    open: BTreeSet<GapId>,
    /// Open and in no task at the last look.
    loose: BTreeSet<GapId>,
}

struct Waits {
    /// It cannot have stood in line before.
    since: Micros,
    ready_at: Option<Timestamp>,
}

impl Looks {
    pub fn new(scenario: &Scenario) -> Self {
        Looks {
            caps: scenario.caps.clone(),
            ttl: scenario.task_ttl,
            started: HashMap::new(),
            waiting: HashMap::new(),
            task_of: HashMap::new(),
            open: BTreeSet::new(),
            loose: BTreeSet::new(),
        }
    }

    fn put(&mut self, task: &Task, at: Micros) {
        self.task_of.retain(|_, of| *of != task.id);
        self.task_of.extend(task.gaps.iter().map(|gap| (*gap, task.id)));
        let waits = self.waiting.entry(task.id).or_insert(Waits { since: at, ready_at: task.ready_at });
        if waits.ready_at != task.ready_at {
            *waits = Waits { since: at, ready_at: task.ready_at };
        }
    }

    fn decided(&mut self, changes: &[Change], at: Micros) -> Vec<String> {
        let mut removed: Vec<(TaskId, Micros, Vec<GapId>)> = Vec::new();
        for change in changes {
            match change {
                Change::PutGap(gap) => drop(self.open.insert(gap.id)),
                Change::CloseGap { gap, .. } => {
                    self.open.remove(gap);
                    self.task_of.remove(gap);
                }
                Change::PutTask(task) => self.put(task, at),
                Change::RemoveTask(task) => {
                    let gaps = self.task_of.iter().filter(|(_, of)| *of == task).map(|(gap, _)| *gap).collect();
                    self.task_of.retain(|_, of| of != task);
                    let since = self.waiting.remove(task).map_or(at, |waits| waits.since);
                    removed.push((*task, since, gaps));
                }
                _ => {}
            }
        }
        let is_loose = |gap: &GapId| self.open.contains(gap) && !self.task_of.contains_key(gap);
        let ended = removed.iter().filter(|(_, _, gaps)| gaps.iter().any(is_loose));
        let too_early = ended.filter(|(_, since, _)| self.ttl.is_none_or(|ttl| at - since + SECOND < ttl));
        too_early.map(|(task, since, _)| format!("{task} was ended too early, after {} s at most", (at - since) / SECOND)).collect()
    }

    fn looked(&mut self, at: Micros) -> Vec<String> {
        self.started.clear();
        let loose: BTreeSet<GapId> = self.open.iter().filter(|gap| !self.task_of.contains_key(gap)).copied().collect();
        let left = loose.intersection(&self.loose).map(|gap| format!("{gap:?} stands back for more than one look"));
        let old = |waits: &Waits| waits.ready_at.is_none() && self.ttl.is_some_and(|ttl| at - waits.since > ttl + SECOND);
        let too_late = self.waiting.iter().filter(|(_, waits)| old(waits));
        let told = left.chain(too_late.map(|(task, waits)| format!("{task} stands in line since {} s", (at - waits.since) / SECOND)));
        let told = told.collect();
        self.loose = loose;
        told
    }
}

impl Checker for Looks {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        let told = match fact {
            Fact::Decided { changes } => self.decided(changes, moment.at),
            Fact::Looked => self.looked(moment.at),
            Fact::Picked { start } => {
                let priority = start.task.priority;
                self.waiting.remove(&start.task.id);
                *self.started.entry(priority).or_default() += 1;
                let started = |of: Option<PriorityLevel>| match of {
                    Some(of) => self.started.get(&of).copied().unwrap_or(0),
                    None => self.started.values().sum(),
                };
                let over = self.caps.iter().filter(|(of, most)| of.is_none_or(|of| of == priority) && started(*of) > *most);
                over.map(|(of, most)| format!("more than {most} tasks of {of:?} start from one look to the next")).collect()
            }
            Fact::Restarted { disk, .. } => {
                self.started.clear();
                self.waiting.clear();
                self.task_of.clear();
                self.loose.clear();
                self.open = disk.gaps.keys().copied().collect();
                disk.tasks.values().for_each(|task| self.put(task, moment.at));
                Vec::new()
            }
            _ => Vec::new(),
        };
        wrong.extend(told.into_iter().map(|what| Wrong { checker: "looks", at: moment.at, what }));
    }
}
