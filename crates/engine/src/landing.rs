//! What the end of an attempt means: for the gaps, for the picture of the lake, for whoever watches.
//!
//! The dispatcher decides what becomes of each gap; here its outcomes are told to it, and everything that follows is
//! written in one batch with the attempt's end, so that a kill loses both or none.
//!
//! Always true: an attempt whose token is not current changes nothing (`a_result_with_a_stale_token_changes_nothing`).

use adce_core::failpoint::{self, Failpoint};
use adce_core::gap::{Fault, Gap, Outcome, Reason, Standing};
use adce_core::ids::{GapId, ItemId};
use adce_core::object::Object;
use adce_core::queue::GapNews;
use adce_core::record::{AttemptRecord, Change, Closed};
use adce_core::spec::How;
use adce_core::time::Now;

use crate::engine::{Engine, EngineError};
use crate::inbox::Ended;
use crate::snapshot::Notice;

impl Engine {
    pub(crate) fn ended(&mut self, ended: Ended, now: Now) {
        let Ended { mut record, delivered } = ended;
        // What a command sent through the gateway, only the permits tell.
        record.requests = record.requests.max(self.figures.requests_of(record.attempt));
        // What passed the gateway is there with its source already.
        let is_fetched = self.spec.collectors.get(&record.collector).is_some_and(|collector| matches!(collector.how, How::Http(_)));
        record.traffic = self.figures.traffic_of(record.attempt, record.traffic.take(), is_fetched);
        self.stops.remove(&record.attempt);
        self.line.forget(record.attempt);
        let outcomes = if delivered.fenced { Vec::new() } else { delivered.outcomes };
        let is_given_back = self.dispatcher.is_given_back(record.attempt, &outcomes);
        self.cycle.attempts_since += u64::from(!is_given_back);
        let gave_up = self.dispatcher.gave_up(record.attempt);
        self.land(&outcomes, now);
        let suspects = if delivered.fenced { Vec::new() } else { delivered.suspects };
        for (gap, object) in &suspects {
            self.cycle.saw(object.clone());
            self.items.entry(gap.item).or_default().suspect_etag = Some(object.etag.clone());
        }
        for gap in delivered.in_doubt.iter().filter(|_| !delivered.fenced) {
            self.items.entry(gap.item).or_default().put_in_doubt();
        }
        for gap in delivered.out_of_doubt.iter().filter(|_| !delivered.fenced) {
            self.items.entry(gap.item).or_default().suspect_etag = None;
        }
        let touched: Vec<ItemId> = outcomes.iter().map(|(gap, _)| gap.item).collect();
        let absent: Vec<Gap> =
            outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Absent).filter_map(|(gap, _)| self.dispatcher.gap(*gap)).collect();
        let random = &mut self.random;
        let mut story = self.dispatcher.story(record.attempt);
        let mut changes = vec![Change::Finish(record.clone())];
        let doubted_before = self.dispatcher.doubts(now);
        changes.extend(self.dispatcher.ended(record.attempt, &outcomes, &mut self.items, now, || rand::Rng::random(random)));
        self.dispatcher.taken_back().iter().for_each(|key| self.touch(key));
        self.tell_failures(&record, &outcomes, gave_up, now);
        for (source, doubt) in self.dispatcher.doubts(now) {
            if !doubted_before.iter().any(|(before, _)| *before == source) {
                self.notice(Notice::Doubted { source, absences: doubt.absences, of: doubt.of, probe_at: doubt.probe_at });
            }
        }
        self.count_absent(&absent, &changes, now);
        changes.extend(self.dispatcher.reconcile(self.news_of(suspects, delivered.gone), now));
        // What an attempt left behind is on record with its end, also where the dispatcher had nothing to say of the item.
        for item in touched {
            let said = changes.iter().any(|change| matches!(change, Change::PutItem(put, _) if *put == item));
            if let (false, Some(record)) = (said, self.items.get(&item)) {
                changes.push(Change::PutItem(item, record.clone()));
            }
        }
        if let (Some(story), Some(Change::Finish(finished))) = (&mut story, changes.first_mut()) {
            self.dispatcher.tell_the_end(story, finished.task);
            finished.story = Some(story.clone());
        }
        if delivered.fenced {
            changes.retain(|change| !matches!(change, Change::Finish(_)));
        }
        match is_given_back {
            true => self.figures.given_back(record.attempt),
            false => self.figures.ended(&record, now),
        }
        failpoint::reached(Failpoint::OutcomesDecided);
        self.ledger.record(changes);
        self.leave_alone_what_was_cancelled(record.attempt, now);
        if let Some(error) = delivered.lake_failed {
            self.fail(EngineError::Lake(error));
        }
    }

    /// "No such thing" closes a gap only if the dispatcher says so: before `absent.after` it means "not yet".
    fn count_absent(&mut self, absent: &[Gap], changes: &[Change], now: Now) {
        for gap in absent {
            let closed = |change: &Change| matches!(change, Change::CloseGap { gap: closed, why: Closed::Absent, .. } if *closed == gap.id);
            if changes.iter().any(closed) {
                self.figures.outcome(&Outcome::Absent, now);
                self.notice(Notice::Absent { key: gap.key.clone() });
            }
        }
    }

    /// What an attempt has shown about the gaps that it leaves open: the next one must replace the object that is there
    /// now, or must not come at all.
    fn news_of(&self, suspects: Vec<(GapId, Object)>, gone: Vec<GapId>) -> GapNews {
        let changed = suspects.into_iter().filter_map(|(gap, object)| {
            let gap = self.dispatcher.gap(gap)?;
            Some(Gap { reason: Reason::Suspect, etag: Some(object.etag), last_modified: Some(object.last_modified), ..gap })
        });
        GapNews {
            changed: changed.collect(),
            closed: gone.into_iter().map(|gap| (gap, Closed::NotExpected)).collect(),
            ..GapNews::default()
        }
    }

    /// Tells the display and the cycle under way what has landed.
    fn land(&mut self, outcomes: &[(GapId, Outcome)], now: Now) {
        for (gap, outcome) in outcomes {
            let Some(gap) = self.dispatcher.gap(*gap) else { continue };
            if *outcome != Outcome::Absent {
                self.figures.outcome(outcome, now);
            }
            self.touch(&gap.key);
            match outcome {
                Outcome::Done { etag, size, last_modified } => {
                    let object = Object { key: gap.key.clone(), size: *size, last_modified: *last_modified, etag: etag.clone() };
                    self.cycle.saw(object);
                    self.notice(Notice::Filled { key: gap.key, bytes: *size });
                }
                Outcome::Unchanged => self.notice(Notice::Unchanged { key: gap.key }),
                Outcome::Absent | Outcome::Split | Outcome::Failed(_) => {}
            }
        }
    }

    /// Once it is decided what becomes of their gaps.
    fn tell_failures(&mut self, record: &AttemptRecord, outcomes: &[(GapId, Outcome)], gave_up: bool, now: Now) {
        for (gap, outcome) in outcomes {
            let Outcome::Failed(failure) = outcome else { continue };
            // It goes on when its source is asked again; that this is so, the source's own line says.
            if gave_up && failure.fault == Fault::Stopped {
                continue;
            }
            let Some(gap) = self.dispatcher.gap(*gap) else { continue };
            self.figures.failure(now.wall, &gap.key, &failure.message);
            let exhausted_until = gap.progress.next_try.filter(|_| gap.progress.standing == Standing::Exhausted);
            let (collector, message) = (record.collector.clone(), failure.message.clone());
            let source = self.spec.datasets.get(&gap.dataset).and_then(|dataset| dataset.source.clone());
            self.notice(Notice::Failed { key: gap.key, collector, source, task: record.task, message, exhausted_until });
        }
    }
}
