//! What a person changes in the queue: contested gaps that may be fetched again, and waiting ones that are tried at once.
//!
//! A running engine and a command on a state that nobody runs do the same through this, so neither leaves a task behind
//! that waits for what its gaps no longer wait for (`a_released_gap_does_not_wait_with_the_others_of_its_batch`).
//!
//! No limit, breaker, pause or surprise gives way to a person here: only the gap's own time does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::book::GapSlot;
use super::classes::TaskSlot;
use super::form::Edit;
use super::retry;
use super::{Dispatcher, Rules};
use crate::figures::{counted, grouped};
use crate::gap::{Gap, Progress, Standing};
use crate::ids::{AttemptId, GapId, ItemId, TaskId};
use crate::record::{Change, Event, ItemRecord, Remembered};
use crate::spec::PriorityLevel;
use crate::time::{BootId, Now, Timestamp};

/// Which gaps a person means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant<'a> {
    All,
    /// A task's id, a dataset's name, or a key; the first that it is.
    Named(&'a str),
}

/// A gap that a person wanted tried, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As it was before.
    pub gap: Gap,
    /// The one that it is in afterwards.
    pub task: Option<TaskId>,
    pub came: Came,
}

/// What a person does not want tried, as it was before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    pub waiting: Vec<Gap>,
    /// By the attempt that has them.
    pub running: BTreeMap<AttemptId, Vec<Gap>>,
}

/// What came of asking for a gap to be tried at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It waits for nothing of its own any more.
    Retried,
    /// It runs already.
    Runs,
    /// It waited for nothing of its own.
    Waits,
    /// Its dataset has no collector.
    OnlyWatched,
    /// Somebody else takes its object away, so it takes another word (`release`).
    Contested { until: Timestamp },
    /// Of too many at once upstream says that it has no such thing; only who is named alone is asked for again.
    Doubted { until: Timestamp },
}

impl Dispatcher {
    /// Over a state that no engine runs, for a person's change. What a dead engine left under way stays in `remembered`, for
    /// the next one to take over. The changes must be made before any other.
    pub fn of_idle_state(rules: Rules, remembered: &mut Remembered, boot: BootId, now: Now) -> (Self, Vec<Change>) {
        let left = (std::mem::take(&mut remembered.leases), std::mem::take(&mut remembered.reservations));
        let made = Self::new(rules, remembered, boot, now);
        (remembered.leases, remembered.reservations) = left;
        made
    }

    /// `None`: nothing here has this name.
    fn meant(&self, meant: Meant<'_>) -> Option<Vec<GapSlot>> {
        let Meant::Named(name) = meant else { return Some(self.book.gaps().map(|(gap, _)| gap).collect()) };
        if let Some(task) = name.parse().ok().and_then(|task| self.book.find_task(task)) {
            return Some(self.book.task(task).gaps.to_vec());
        }
        if let Some(dataset) = self.rules.datasets.get_index_of(name) {
            return Some(self.book.gaps().filter(|(_, gap)| usize::from(gap.dataset) == dataset).map(|(gap, _)| gap).collect());
        }
        let with_key: Vec<GapSlot> = self.book.gaps().filter(|(_, gap)| *gap.key == *name).map(|(gap, _)| gap).collect();
        (!with_key.is_empty()).then_some(with_key)
    }

    /// A person says that these contested gaps may be fetched; the ones that were, as they were before. Nothing changes for
    /// any other gap, or while it runs. `None`: nothing here has this name.
    pub fn release(&mut self, meant: Meant<'_>, items: &mut HashMap<ItemId, ItemRecord>, now: Now) -> Option<(Vec<Gap>, Vec<Change>)> {
        let contested = self.meant(meant)?.into_iter().filter(|gap| self.standing(*gap) == Standing::Contested && !self.runs(*gap));
        let contested: Vec<GapSlot> = contested.collect();
        let mut edit = Edit::default();
        let mut released = Vec::new();
        for gap in &contested {
            released.push(self.plain_gap(*gap));
            let item = self.book.gap(*gap).id.item;
            let record = items.entry(item).or_default();
            record.release();
            edit.changes.push(Change::PutItem(item, record.clone()));
            self.touch_task_of(*gap, &mut edit);
            self.book.gap_mut(*gap).progress = None;
            edit.changes.push(Change::PutGap(self.plain_gap(*gap)));
        }
        self.leave_who_waits(&contested, &mut edit, now);
        let changes = self.finish(edit, now);
        let told = self.told_of(&contested, now, |gaps| format!("released by hand: {} contested, may be fetched again", items_of(gaps)));
        Some((released, changes.into_iter().chain(told).collect()))
    }

    /// A person wants these gaps tried at once. An exhausted one begins a new round, the first one; what else was used up stays so. `None`:
    /// nothing here has this name.
    pub fn retry(&mut self, meant: Meant<'_>, now: Now) -> Option<(Vec<Asked>, Vec<Change>)> {
        let gaps = self.meant(meant)?;
        let alone = gaps.len() == 1 && meant != Meant::All;
        let came: Vec<(GapSlot, Gap, Came)> =
            gaps.iter().map(|gap| (*gap, self.plain_gap(*gap), self.comes_of_retrying(*gap, alone, now))).collect();
        let retried: Vec<GapSlot> = came.iter().filter(|(_, _, came)| *came == Came::Retried).map(|(gap, _, _)| *gap).collect();
        let exhausted: BTreeSet<GapSlot> = retried.iter().copied().filter(|gap| self.standing(*gap) == Standing::Exhausted).collect();
        let mut edit = Edit::default();
        for gap in &retried {
            self.touch_task_of(*gap, &mut edit);
            let entry = self.book.gap_mut(*gap);
            let progress = entry.progress.as_deref().map(at_once).filter(|progress| *progress != Progress::default());
            entry.progress = progress.map(Box::new);
            edit.changes.push(Change::PutGap(self.plain_gap(*gap)));
        }
        self.leave_who_waits(&retried, &mut edit, now);
        let changes = self.finish(edit, now);
        let told = self.told_of(&retried, now, |gaps| {
            let anew = gaps.iter().filter(|gap| exhausted.contains(gap)).count();
            let anew = if anew > 0 { format!(", {} of them from exhaustion", grouped(anew as u64)) } else { String::new() };
            format!("tried at once by hand: {}{anew}", items_of(gaps))
        });
        let changes = changes.into_iter().chain(told).collect();
        let asked = came.into_iter().map(|(slot, gap, came)| {
            let task = self.book.gap(slot).task().map(|task| self.book.task(task).id);
            Asked { gap, task, came }
        });
        Some((asked.collect(), changes))
    }

    /// A person wants the gaps of these items filled soon: they are tried at once, and until each is closed its priority is at least this
    /// one, whatever the looks at the lake say of it. What is running, contested or doubted stays as it is.
    pub fn expedite(&mut self, wanted: &HashSet<ItemId>, priority: Option<PriorityLevel>, now: Now) -> (Vec<Asked>, Vec<Change>) {
        let gaps: Vec<GapSlot> = self.book.gaps().filter(|(_, gap)| wanted.contains(&gap.id.item)).map(|(gap, _)| gap).collect();
        let came: Vec<(GapSlot, Gap, Came)> =
            gaps.into_iter().map(|gap| (gap, self.plain_gap(gap), self.comes_of_retrying(gap, false, now))).collect();
        let mut edit = Edit::default();
        let mut moved = Vec::new();
        for (slot, gap, came) in came.iter().filter(|(.., came)| matches!(came, Came::Retried | Came::Waits)) {
            self.touch_task_of(*slot, &mut edit);
            let progress = if *came == Came::Retried { at_once(&gap.progress) } else { gap.progress.clone() };
            let progress = Progress { asked: progress.asked.max(priority), ..progress };
            self.book.gap_mut(*slot).progress = (progress != Progress::default()).then(|| Box::new(progress));
            self.change(*slot, gap.clone(), &mut edit);
            moved.push(*slot);
        }
        self.leave_who_waits(&moved, &mut edit, now);
        let changes = self.finish(edit, now);
        let told = self.told_of(&moved, now, |gaps| match priority {
            Some(priority) => format!("asked for by hand: {}, at least {}", items_of(gaps), priority.word()),
            None => format!("asked for by hand: {}", items_of(gaps)),
        });
        let changes = changes.into_iter().chain(told).collect();
        let asked = came.into_iter().map(|(slot, gap, came)| {
            let task = self.book.gap(slot).task().map(|task| self.book.task(task).id);
            Asked { gap, task, came }
        });
        (asked.collect(), changes)
    }

    /// A person wants these gaps left alone until then; the next attempt is that of a new round. Of those that run, the attempts that
    /// have them: whoever ends these calls [`leave_alone`](Self::leave_alone) afterwards. `None`: nothing here has this name.
    pub fn cancel(&mut self, meant: Meant<'_>, until: Timestamp, now: Now) -> Option<(Cancelled, Vec<Change>)> {
        let gaps = self.meant(meant)?;
        let (run, wait): (Vec<GapSlot>, Vec<GapSlot>) = gaps.into_iter().partition(|gap| self.runs(*gap));
        let wait: Vec<GapSlot> = wait.into_iter().filter(|gap| self.book.gap(*gap).task().is_some()).collect();
        let mut running: BTreeMap<AttemptId, Vec<Gap>> = BTreeMap::new();
        for gap in run {
            let attempt =
                self.running.iter().find(|(_, attempt)| Some(attempt.task) == self.book.gap(gap).task()).map(|(attempt, _)| *attempt);
            if let Some(attempt) = attempt {
                running.entry(attempt).or_default().push(self.plain_gap(gap));
            }
        }
        let before = wait.iter().map(|gap| self.plain_gap(*gap)).collect();
        let changes = self.put_off(&wait, until, now);
        Some((Cancelled { waiting: before, running }, changes))
    }

    /// Those of these that are open and do not run.
    pub fn leave_alone(&mut self, gaps: &[GapId], until: Timestamp, now: Now) -> Vec<Change> {
        let gaps = gaps.iter().filter_map(|gap| self.book.find_gap(*gap));
        let gaps: Vec<GapSlot> = gaps.filter(|gap| self.book.gap(*gap).task().is_some() && !self.runs(*gap)).collect();
        self.put_off(&gaps, until, now)
    }

    fn put_off(&mut self, gaps: &[GapSlot], until: Timestamp, now: Now) -> Vec<Change> {
        let mut edit = Edit::default();
        for gap in gaps {
            self.touch_task_of(*gap, &mut edit);
            let entry = self.book.gap_mut(*gap);
            let progress = entry.progress.as_deref().cloned().unwrap_or_default();
            let left = Progress { next_try: Some(until), paused_at: Some(now.wall), standing: Standing::Cancelled, ..progress };
            entry.progress = Some(Box::new(left));
            edit.changes.push(Change::PutGap(self.plain_gap(*gap)));
        }
        // Whoever is in a task with them would wait with them.
        for gap in gaps {
            let Some(task) = self.book.gap(*gap).task() else { continue };
            if let Some(collector) = self.book.bucket(self.book.task(task).bucket).collector {
                let collector = self.collector_name(collector).to_owned();
                edit.release(&mut self.book, *gap, &collector);
            }
        }
        let changes = self.finish(edit, now);
        let clock = until.strftime("%Y-%m-%d %H:%M:%S UTC");
        let told =
            self.told_of(gaps, now, |gaps| format!("cancelled by hand: {}, left alone until {clock}, or `adce retry`", items_of(gaps)));
        changes.into_iter().chain(told).collect()
    }

    fn comes_of_retrying(&self, gap: GapSlot, alone: bool, now: Now) -> Came {
        let entry = self.book.gap(gap);
        if entry.task().is_none() {
            return if self.book.stands_back(gap) { Came::Retried } else { Came::OnlyWatched };
        }
        if self.runs(gap) {
            return Came::Runs;
        }
        let Some(until) = entry.next_try().filter(|until| *until > now.wall) else { return Came::Waits };
        match self.standing(gap) {
            Standing::Contested => Came::Contested { until },
            Standing::Doubted if !alone => Came::Doubted { until },
            Standing::Doubted | Standing::Open | Standing::NotYet | Standing::Exhausted | Standing::Cancelled => Came::Retried,
        }
    }

    fn standing(&self, gap: GapSlot) -> Standing {
        self.book.gap(gap).progress.as_ref().map(|progress| progress.standing).unwrap_or_default()
    }

    /// These gaps wait no more. Where others of their task do, they leave it, or they would wait with them.
    fn leave_who_waits(&mut self, gaps: &[GapSlot], edit: &mut Edit, now: Now) {
        let waits = |task: &TaskSlot| self.book.ready_at(*task).is_some_and(|at| at > now.wall);
        let waiting: BTreeSet<TaskSlot> = edit.touched.keys().copied().filter(waits).collect();
        for gap in gaps {
            let Some(task) = self.book.gap(*gap).task() else {
                edit.pool.insert(*gap);
                continue;
            };
            let collector = self.book.bucket(self.book.task(task).bucket).collector.filter(|_| waiting.contains(&task));
            if let Some(collector) = collector {
                let collector = self.collector_name(collector).to_owned();
                edit.release(&mut self.book, *gap, &collector);
            }
        }
    }

    /// One line of history for each task that has some of these gaps now.
    fn told_of(&self, gaps: &[GapSlot], now: Now, text: impl Fn(&[GapSlot]) -> String) -> Vec<Change> {
        let mut by_task: BTreeMap<Option<TaskId>, Vec<GapSlot>> = BTreeMap::new();
        for gap in gaps {
            let task = self.book.gap(*gap).task().map(|task| self.book.task(task).id);
            by_task.entry(task).or_default().push(*gap);
        }
        let event = |(task, gaps): (Option<TaskId>, Vec<GapSlot>)| {
            let only = (gaps.len() == 1).then(|| self.book.gap(gaps[0]).id);
            Change::Event(Event { at: now.wall, task, gap: only, text: text(&gaps) })
        };
        by_task.into_iter().map(event).collect()
    }
}

/// The same gap without a time of its own. Whoever wants it tried knows better than the rounds that failed before: the next
/// revival is after the first pause again.
fn at_once(progress: &Progress) -> Progress {
    match progress.standing {
        Standing::Exhausted => Progress { exhausted: 0, ..retry::revived(progress, Timestamp::MAX) },
        // Its answer decides about the others that are doubted.
        Standing::Doubted => Progress { next_try: None, paused_at: None, ..progress.clone() },
        _ => Progress { exhausted: 0, next_try: None, paused_at: None, standing: Standing::Open, ..progress.clone() },
    }
}

fn items_of(gaps: &[GapSlot]) -> String {
    counted(gaps.len() as u64, "item")
}
