//! Absences that are too many to be believed: what becomes of their gaps. When they are too many, `absences` says.
//!
//! A doubted gap stays open, with the time of its next try like any other, so a restart needs nothing but the gaps to go
//! on (`a_restart_goes_on_doubting`), and whatever becomes of the one that is asked for again, the others are tried in the
//! end.

use std::collections::{BTreeMap, HashMap};

use super::Dispatcher;
use super::absences::{Belief, Doubt};
use super::book::{GapEntry, GapSlot};
use super::classes::TaskSlot;
use super::form::Edit;
use super::retry::{self, GapFacts, Next};
use crate::gap::{Outcome, Progress, Standing};
use crate::ids::{GapId, ItemId};
use crate::limits::SourceIx;
use crate::record::{Change, Closed, Event, ItemRecord};
use crate::time::{Now, Timestamp};

/// What was doubted was asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Upstream has it after all.
    There,
    /// It has not.
    Absent,
}

impl Dispatcher {
    /// What the outcomes of a task say about the doubt that some of its gaps are in. One that is there says more than any
    /// number that are not.
    pub(super) fn answer_to_doubt(&self, task: TaskSlot, said: &HashMap<GapId, &Outcome>) -> Option<Answer> {
        let doubted = self.book.task(task).gaps.iter().map(|gap| self.book.gap(*gap)).filter(|gap| is_doubted(gap));
        let answers = doubted.filter_map(|gap| match said.get(&gap.id)? {
            Outcome::Done { .. } | Outcome::Unchanged => Some(Answer::There),
            Outcome::Absent => Some(Answer::Absent),
            Outcome::Split | Outcome::Failed(_) => None,
        });
        answers.min_by_key(|answer| *answer != Answer::There)
    }

    /// An absence that is believed is put on record; one that is doubted leaves its gap open.
    pub(super) fn believed(&mut self, gap: GapSlot, next: Next, items: &mut HashMap<ItemId, ItemRecord>, now: Now) -> (Next, Vec<Change>) {
        let entry = self.book.gap(gap);
        let Some(source) = self.book.bucket(entry.bucket).source else { return (next, Vec::new()) };
        let progress = entry.progress.as_deref().cloned().unwrap_or_default();
        match next {
            Next::Filled => {
                self.sources[source.0 as usize].absences.answered(now.boot);
                (next, Vec::new())
            }
            // It could not be asked: nothing is decided.
            Next::Again(again) if progress.standing == Standing::Doubted && again.standing == Standing::Open => {
                (Next::Again(Progress { standing: Standing::Doubted, ..again }), Vec::new())
            }
            Next::Absent(mark) if mark.confirmed == 1 && progress.doubted.is_none() => {
                let pause = self.rules.datasets[usize::from(entry.dataset)].absent.recheck_min;
                let key = self.plain_gap(gap).key;
                let absences = &mut self.sources[source.0 as usize].absences;
                match absences.absent(entry.id.item, &key, pause, now) {
                    Belief::Believed => (Next::Absent(mark), Vec::new()),
                    Belief::Doubted(until) => (doubted(&progress, until, now), Vec::new()),
                    Belief::DoubtBegins { doubt, usual_percent, too } => {
                        let mut changes = vec![self.tell(source, &begins(doubt, usual_percent), now)];
                        for (item, key) in too {
                            if let Some(change) = taken_back(item, items) {
                                changes.push(change);
                                self.taken_back.push(key);
                            }
                        }
                        (doubted(&progress, doubt.probe_at, now), changes)
                    }
                }
            }
            other => (other, Vec::new()),
        }
    }

    /// The others that are doubted share the answer: they are absent as well, or tried at once.
    pub(super) fn resolve_doubt(
        &mut self,
        source: SourceIx,
        answer: Answer,
        items: &mut HashMap<ItemId, ItemRecord>,
        now: Now,
    ) -> Vec<Change> {
        let of_source = self.book.gaps().filter(|(_, gap)| is_doubted(gap) && self.book.bucket(gap.bucket).source == Some(source));
        let others: Vec<GapSlot> = of_source.map(|(slot, _)| slot).collect();
        let others: Vec<GapSlot> = others.into_iter().filter(|gap| !self.runs(*gap)).collect();
        let mut edit = Edit::default();
        for gap in &others {
            self.touch_task_of(*gap, &mut edit);
            let absent = match answer {
                Answer::Absent => self.absent_like_the_other(*gap, items, now),
                Answer::There => None,
            };
            match absent {
                Some((id, record)) => {
                    self.book.part(*gap);
                    self.book.remove_gap(*gap);
                    edit.changes.push(Change::PutItem(id.item, record));
                    edit.changes.push(Change::CloseGap { gap: id, at: now.wall, why: Closed::Absent });
                }
                None => {
                    if let Some(progress) = &mut self.book.gap_mut(*gap).progress {
                        (progress.standing, progress.next_try, progress.paused_at) = (Standing::Open, None, None);
                    }
                    edit.changes.push(Change::PutGap(self.plain_gap(*gap)));
                }
            }
        }
        let absences = &mut self.sources[source.0 as usize].absences;
        let count = others.len() as u32 + 1;
        let text = match answer {
            Answer::Absent => {
                absences.confirmed(count);
                format!("asked once more, it has no such thing indeed: {count} absences count")
            }
            Answer::There => {
                absences.refuted();
                format!("it has what it said it had not: {} items are tried again", count - 1)
            }
        };
        edit.changes.push(self.tell(source, &text, now));
        self.finish(edit, now)
    }

    fn absent_like_the_other(&self, gap: GapSlot, items: &mut HashMap<ItemId, ItemRecord>, now: Now) -> Option<(GapId, ItemRecord)> {
        let entry = self.book.gap(gap);
        let collector = self.book.bucket(entry.bucket).collector?;
        let rules = retry::Rules {
            retry: &self.rules.collectors[usize::from(collector)].retry,
            absent: &self.rules.datasets[usize::from(entry.dataset)].absent,
        };
        let facts = GapFacts { reason: entry.reason, due: entry.due(), detected_at: entry.detected_at(), fingerprint: entry.fingerprint };
        let progress = entry.progress.as_deref().cloned().unwrap_or_default();
        let Next::Absent(mark) = retry::after(&progress, &Outcome::Absent, &facts, rules, None, now.wall, 0.0) else { return None };
        let item = items.entry(entry.id.item).or_default();
        item.absent = Some(mark);
        Some((entry.id, item.clone()))
    }

    fn tell(&self, source: SourceIx, text: &str, now: Now) -> Change {
        let text = format!("source `{}`: {text}", self.source_name(source));
        Change::Event(Event { at: now.wall, task: None, gap: None, text })
    }

    /// Of what a predecessor left: the first that is due again is the one that is asked.
    pub(super) fn restore_doubts(&mut self) {
        let mut found: BTreeMap<SourceIx, (Timestamp, Timestamp, Timestamp)> = BTreeMap::new();
        for (_, gap) in self.book.gaps().filter(|(_, gap)| is_doubted(gap)) {
            let (Some(source), Some(progress)) = (self.book.bucket(gap.bucket).source, gap.progress.as_deref()) else { continue };
            let (Some(since), Some(at)) = (progress.doubted, progress.next_try) else { continue };
            let known = found.entry(source).or_insert((since, at, at));
            *known = (known.0.min(since), known.1.min(at), known.2.max(at));
        }
        for (source, (since, probe_at, until)) in found {
            self.sources[source.0 as usize].absences.restore(since, probe_at, until);
        }
    }

    /// Keys of items whose absence was on record and is not any more. Said once.
    pub fn taken_back(&mut self) -> Vec<String> {
        std::mem::take(&mut self.taken_back)
    }

    /// Sources that are not believed now when they say that they have no such thing.
    pub fn doubts(&self, now: Now) -> Vec<(String, Doubt)> {
        let of =
            |(name, state): (&std::sync::Arc<str>, &super::dispatcher::SourceState)| Some((name.to_string(), state.absences.doubt(now)?));
        self.rules.sources.keys().zip(&self.sources).filter_map(of).collect()
    }

    /// Gaps of this source that are doubted. Counts one by one.
    pub fn doubted(&self, source: &str) -> u64 {
        let source = self.source_ix(source);
        self.book.gaps().filter(|(_, gap)| is_doubted(gap) && self.book.bucket(gap.bucket).source == source).count() as u64
    }
}

fn is_doubted(gap: &GapEntry) -> bool {
    gap.progress.as_ref().is_some_and(|progress| progress.standing == Standing::Doubted)
}

fn doubted(progress: &Progress, next_try: Timestamp, now: Now) -> Next {
    Next::Again(Progress {
        attempts_total: progress.attempts_total + 1,
        next_try: Some(next_try),
        paused_at: Some(now.wall),
        standing: Standing::Doubted,
        last_error: Some("upstream says that it has no such thing, but says so of too many at once".into()),
        doubted: Some(now.wall),
        ..progress.clone()
    })
}

/// An absence that was put on record moments ago; its gap is found again as soon as somebody judges the item.
fn taken_back(item: ItemId, items: &mut HashMap<ItemId, ItemRecord>) -> Option<Change> {
    let record = items.get_mut(&item)?;
    record.absent.take_if(|mark| mark.confirmed == 1)?;
    Some(Change::PutItem(item, record.clone()))
}

fn begins(doubt: Doubt, usual_percent: u32) -> String {
    let Doubt { absences, of, probe_at, .. } = doubt;
    format!(
        "of its last {of} answers {absences} are \"no such thing\", usually {usual_percent} %: not believed, and not recorded; \
         one of them is asked for again {probe_at}"
    )
}
