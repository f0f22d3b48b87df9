//! What the queue knows of a task's way: what it has waited for, how its attempt began, and what became of its gaps.

use super::classes::TaskSlot;
use super::dispatcher::Began;
use super::{Dispatcher, waits};
use crate::gap::Standing;
use crate::ids::{AttemptId, TaskId};
use crate::queue::book::Phase;
use crate::record::{GapStory, Left, Story, Waited};
use crate::time::Now;

impl Dispatcher {
    pub(super) fn began(&self, task: TaskSlot, ahead: usize, now: Now) -> Began {
        let ready = self.classes.families().map(|(_, _, family)| family.all().tasks).sum();
        Began { score: self.score_of(task, now), rank: ahead as u32 + 1, ready, waiting: self.waiting_of(task, now) }
    }

    /// What a task has waited for since it was tried last, up to now or to its start.
    fn waiting_of(&self, task: TaskSlot, now: Now) -> waits::Waiting {
        let entry = self.book.task(task);
        let mut waiting = match (entry.phase, entry.in_line.get()) {
            (Phase::Running, _) => {
                let running = self.running.values().find(|running| running.task == task);
                return running.map(|running| running.began.waiting.clone()).unwrap_or_default();
            }
            (Phase::Ready(class), Some(in_line)) => self.classes.waits.of(task, class, in_line, now),
            _ => waits::Waiting::default(),
        };
        waiting.waits.splice(0..0, self.pause_of(task, now));
        waiting.waits = waits::longest(waiting.waits);
        waiting
    }

    /// A pause of its own, which came before it stood in line.
    fn pause_of(&self, task: TaskSlot, now: Now) -> Option<Waited> {
        let gap = self.book.last_to_be_ready(task)?;
        let until = gap.next_try()?;
        let progress = gap.progress.as_deref()?;
        // A contested gap opens with its pause.
        let since = progress.paused_at.or_else(|| (progress.standing == Standing::Contested).then(|| gap.detected_at()))?;
        let micros = u64::try_from(until.min(now.wall).duration_since(since).as_micros()).ok().filter(|micros| *micros > 0)?;
        Some(Waited { since, micros, times: 1, gate: self.why_delayed(task, until) })
    }

    /// What a task waits for, has waited for since it was tried last, or waited for until it started; and how many started
    /// meanwhile that scored higher. `None`: it is not known.
    pub fn waited(&self, task: TaskId, now: Now) -> Option<(Vec<Waited>, u64)> {
        let waits::Waiting { waits, better } = self.waiting_of(self.book.find_task(task)?, now);
        Some((waits, better))
    }

    /// What is to be told of an attempt that is about to be over, but for what is left of its gaps.
    pub fn story(&self, attempt: AttemptId) -> Option<Story> {
        let running = self.running.get(&attempt)?;
        let gaps = self.book.task(running.task).gaps.iter().map(|gap| {
            let gap = self.book.gap(*gap);
            let (was, attempts) = gap.progress.as_deref().map(|progress| (progress.standing, progress.attempts)).unwrap_or_default();
            GapStory {
                gap: gap.id,
                key: gap.key.to_string(),
                reason: gap.reason,
                detected_at: gap.detected_at(),
                was,
                attempts,
                left: None,
            }
        });
        let Began { score, rank, ready, waiting: waits::Waiting { waits, better } } = running.began.clone();
        Some(Story { score, rank, ready, waits, better, gaps: gaps.collect() })
    }

    /// Fills in what became of its gaps, now that it is over. `of`: the task that it was an attempt at.
    pub fn tell_the_end(&self, story: &mut Story, of: TaskId) {
        for gap in &mut story.gaps {
            let Some(slot) = self.book.find_gap(gap.gap) else { continue };
            let entry = self.book.gap(slot);
            let progress = entry.progress.as_deref().cloned().unwrap_or_default();
            let task = entry.task().map(|task| self.book.task(task).id).filter(|task| *task != of);
            gap.left = Some(Left { standing: progress.standing, attempts: progress.attempts, next_try: progress.next_try, task });
        }
    }
}
