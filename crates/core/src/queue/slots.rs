//! Who holds the slots, and whether one is left for a priority: what `reserve` sets aside apart.

use super::dispatcher::Stage;
use super::{Dispatcher, Gate};
use crate::spec::{PriorityLevel, Reserve};

/// Who holds the slots.
pub(super) struct SlotsTaken {
    slots: u32,
    reserve: Reserve,
    taken: Taken,
}

/// How many attempts are under way, by priority. Each pick asks, so it is counted as they come and go: an engine may have
/// thousands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Low first.
    collecting: [u32; PriorityLevel::ALL.len()],
    /// Those that only deliver, too.
    under_way: [u32; PriorityLevel::ALL.len()],
}

impl Taken {
    pub(super) fn begins(&mut self, priority: PriorityLevel) {
        self.under_way[priority as usize] += 1;
        self.collecting[priority as usize] += 1;
    }

    pub(super) fn delivers(&mut self, priority: PriorityLevel) {
        self.collecting[priority as usize] -= 1;
    }

    /// `stage`: what it was at until then.
    pub(super) fn ends(&mut self, priority: PriorityLevel, stage: Stage) {
        self.under_way[priority as usize] -= 1;
        self.collecting[priority as usize] -= u32::from(stage == Stage::Collecting);
    }

    fn collecting(&self) -> u32 {
        self.collecting.iter().sum()
    }
}

impl SlotsTaken {
    /// A slot to collect in, and room for what comes of it; what is set aside for other priorities apart.
    pub(super) fn has_one_for(&self, priority: PriorityLevel) -> bool {
        self.reserve.has_free_slot(priority, self.slots, |of| self.taken.collecting[of as usize])
            && self.reserve.has_free_slot(priority, 2 * self.slots, |of| self.taken.under_way[of as usize])
    }
}

impl Dispatcher {
    /// What keeps every task from starting, whatever it is. Attempts that only deliver hold no slot, up to as many of them
    /// as there are slots: a lake that is slower than the collectors must not gather what it has not taken yet.
    pub(super) fn slots_gate(&self) -> Option<Gate> {
        let (collecting, slots) = (self.slots_used(), self.rules.slots);
        let publishing = self.running.len() as u32 - collecting;
        if collecting + self.kept_slots >= slots {
            Some(Gate::Slots { slots })
        } else if collecting + publishing >= 2 * slots {
            Some(Gate::Publishing { attempts: publishing, slots })
        } else {
            None
        }
    }

    /// So many slots are for jobs, that have them or wait for one; attempts that have one keep it.
    pub fn keeps_slots(&mut self, slots: u32) {
        self.kept_slots = slots;
    }

    /// Nothing starts now, or nothing that asks this source: a job does not, either.
    pub fn holds_job(&self, source: Option<&str>) -> bool {
        let source = source.and_then(|source| self.source_ix(source));
        self.all_held().is_some() || self.source_pause(source).is_some()
    }

    /// Attempts that collect now.
    pub fn slots_used(&self) -> u32 {
        self.taken.collecting()
    }

    /// Who holds them, by priority.
    pub(super) fn slots_taken(&self) -> SlotsTaken {
        debug_assert_eq!(self.taken, self.taken_as_counted(), "counted with every start and end");
        SlotsTaken { slots: self.rules.slots.saturating_sub(self.kept_slots), reserve: self.rules.reserve, taken: self.taken }
    }

    fn taken_as_counted(&self) -> Taken {
        let mut counted = Taken::default();
        for attempt in self.running.values() {
            let priority = self.priority_of_task(attempt.task);
            counted.begins(priority);
            if attempt.stage == Stage::Delivering {
                counted.delivers(priority);
            }
        }
        counted
    }
}
