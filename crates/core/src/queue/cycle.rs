//! What a full look at the lake means to tasks: `tasks_per_cycle` counts from it, and `task_ttl` is looked at with it.
//!
//! Both are off unless the config sets them, and neither ever ends a gap. A cap delays what is over it until the next look. A
//! task that stood in line for longer than the ttl ends: its gaps stand back until the next look and then make tasks with
//! whatever else is open, with the age that they have (`a_restart_at_any_point_loses_no_gap` runs under both). That lets
//! others have their turn; where there are no others, and a slot would stay empty, they make tasks at once
//! (`a_slot_that_would_stay_empty_takes_back_what_stands_back`).
//!
//! Standing in line is counted while an engine runs and the task could have had its turn, not while it waits for a retry; an engine
//! that starts once a day must not put off everything that it finds. It is not remembered: after a restart all tasks stand in
//! line anew, and what stood back does so, too.

use std::time::Duration;

use super::book::{GapSlot, Phase};
use super::classes::{ClassKey, TaskSlot};
use super::form::Edit;
use super::pick::Choice;
use super::start::Waiting;
use super::{Dispatcher, Gate};
use crate::figures::{counted, span};
use crate::record::{Change, Event};
use crate::spec::PriorityLevel;
use crate::time::{Boottime, Now};

/// So many tasks have a line of their own in the history when they end at one look; of more only their number is told, or
/// an outage would leave a history of nothing else.
const TOLD_ONE_BY_ONE: usize = 200;

/// From one look to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cycle {
    /// By priority.
    started: [u32; PriorityLevel::ALL.len()],
    /// When the next one is due.
    next: Boottime,
}

impl Cycle {
    pub(super) fn started(&mut self, priority: PriorityLevel) {
        self.started[priority as usize] += 1;
    }

    /// It did not start after all.
    pub(super) fn did_not_start(&mut self, priority: PriorityLevel) {
        let started = &mut self.started[priority as usize];
        *started = started.saturating_sub(1);
    }
}

impl Dispatcher {
    /// A full look is over, whatever it found; the next one is due at `next`.
    pub fn new_cycle(&mut self, next: Boottime, now: Now) -> Vec<Change> {
        self.cycle = Cycle { next, ..Cycle::default() };
        let mut edit = Edit { pool: self.book.take_stood_back(PriorityLevel::ALL), ..Edit::default() };
        edit.changes = self.end_old_tasks(now);
        self.finish(edit, now)
    }

    /// A slot would stay empty although gaps stand back that may start in it: they make tasks, with whatever else is open. Nothing
    /// that is runnable waits for that slot, so nobody's turn is taken. To be asked whenever a pick found nothing; after an answer
    /// there may be something.
    pub fn call_back(&mut self, now: Now) -> Vec<Change> {
        if !self.book.anybody_stands_back() || self.all_held().is_some() || self.slots_gate().is_some() {
            return Vec::new();
        }
        let slots = self.slots_taken();
        let may_start =
            |priority: &PriorityLevel| slots.has_one_for(*priority) && self.rules.caps.used_up(*priority, &self.cycle.started).is_none();
        let may_start: Vec<PriorityLevel> = PriorityLevel::ALL.into_iter().filter(may_start).collect();
        if may_start.is_empty() || matches!(self.choose(now), Choice::Start { .. }) {
            return Vec::new();
        }
        let pool = self.book.take_stood_back(may_start);
        self.finish(Edit { pool, ..Edit::default() }, now)
    }

    fn end_old_tasks(&mut self, now: Now) -> Vec<Change> {
        let Some(ttl) = self.rules.task_ttl.filter(|_| self.all_held().is_none()) else { return Vec::new() };
        let in_line = self.book.tasks().filter(|(_, task)| matches!(task.phase, Phase::Ready(_)));
        let stood = in_line.map(|(task, entry)| (task, now.boot.since(entry.in_line.get().unwrap_or(now.boot))));
        let mut old: Vec<(TaskSlot, Duration)> = stood.filter(|(_, stood)| *stood > ttl).collect();
        // Those that would have been next are told of first.
        old.sort_by_cached_key(|(task, _)| std::cmp::Reverse(self.rank_of(*task, now)));
        let mut changes = Vec::new();
        for (at, (task, stood)) in old.iter().enumerate() {
            let was = self.unqueue(*task);
            let waited = was.class.and_then(|class| self.classes.waits.holds(class));
            let behind = waited.map(|gate| format!(", last behind: {}", gate.word())).unwrap_or_default();
            let ended = self.book.stand_back(*task);
            changes.push(Change::RemoveTask(ended.id));
            if at < TOLD_ONE_BY_ONE {
                let what = match ended.gaps.len() {
                    1 => "item stands".into(),
                    many => format!("{} stand", counted(many as u64, "item")),
                };
                let text = format!(
                    "ended by `task_ttl: {}`: it stood in line for {} without a start{behind}; its {what} back until the next look, or until a slot is free for nothing else",
                    span(ttl),
                    span(*stood)
                );
                changes.push(Change::Event(Event { at: now.wall, task: Some(ended.id), gap: None, text }));
            }
        }
        if let Some(more) = old.len().checked_sub(TOLD_ONE_BY_ONE).filter(|more| *more > 0) {
            let text = format!("{} ended by `task_ttl: {}`", counted(more as u64, "more task"), span(ttl));
            changes.push(Change::Event(Event { at: now.wall, task: None, gap: None, text }));
        }
        changes
    }

    /// The cap that keeps back every task of a class, and when the next look is due.
    pub(super) fn cap_gate(&self, key: &ClassKey, now: Now) -> Option<(Gate, Boottime)> {
        let cap = self.rules.caps.used_up(key.priority, &self.cycle.started)?;
        Some((Gate::Cap { priority: cap.priority, tasks: cap.tasks, until: now.wall_at(self.cycle.next) }, self.cycle.next))
    }

    /// What holds a gap that stands back.
    pub(super) fn stands_back(&self, gap: GapSlot, now: Now) -> Option<Gate> {
        self.book.stands_back(gap).then(|| Gate::StandsBack { until: now.wall_at(self.cycle.next) })
    }

    /// When those come back that stand back, if any do.
    pub(super) fn comes_back(&self) -> Option<Boottime> {
        self.book.anybody_stands_back().then_some(self.cycle.next)
    }

    /// What `tasks_per_cycle` and `task_ttl` hold back now, one line per reason.
    pub fn held_back(&self, now: Now) -> Vec<Waiting> {
        let mut lines: Vec<Waiting> = Vec::new();
        for (_, key, class) in self.classes.occupied() {
            let Some((gate, _)) = self.cap_gate(key, now) else { continue };
            match lines.iter_mut().find(|line| line.gate == gate) {
                Some(line) => (line.tasks, line.gaps) = (line.tasks + class.tasks(), line.gaps + class.gaps()),
                None => lines.push(Waiting { gate, tasks: class.tasks(), gaps: class.gaps() }),
            }
        }
        let gaps = self.book.standing_back();
        let back = Waiting { gate: Gate::StandsBack { until: now.wall_at(self.cycle.next) }, tasks: 0, gaps };
        lines.extend((gaps > 0).then_some(back));
        lines
    }
}
