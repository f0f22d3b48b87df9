//! One full look: expand what should exist, list what does, compare, and hand the difference to the queue.
//!
//! `look` only reads and is what `plan` uses too; `take_in` is where a running engine believes it, unless it is a
//! surprise. What changes between two looks is in `between`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adce_core::coverage::{
    self, Completeness, Counts, Coverage, DatasetCoverage, Evidence, Expected, GapDiff, Inventory, ItemIx, Observation, Picture, Quality,
    TableFiles, TrendPoint, Verdict,
};
use adce_core::gap::{Gap, GapState, Reason, Standing};
use adce_core::ids::ItemId;
use adce_core::object::Object;
use adce_core::ports::{Clock, Lake, LakeError};
use adce_core::queue::GapNews;
use adce_core::record::{Change, ItemRecord};
use adce_core::spec::Spec;
use adce_core::time::{Now, Timestamp};
use futures::{FutureExt, StreamExt};

use crate::attempt::Ports;
use crate::collected::read_rows;
use crate::engine::{Engine, EngineError};
use crate::hearing::Answered;
use crate::looking::CycleState;
use crate::once::{Keep, Once};
use crate::reported::{self, Reported, Reporting};
use crate::selected::selecting;
use crate::snapshot::Notice;
use crate::takeover::{Left, look_at};

/// Listings that are under way at once.
const LISTINGS_AT_ONCE: usize = 8;

/// What should exist and what does.
pub struct Look {
    /// When it began: what happened after that may not be in it.
    pub began: Timestamp,
    pub expected: Arc<Expected>,
    pub inventory: Inventory,
    /// Prefixes that could not be listed to their end.
    pub not_listed: Vec<(String, LakeError)>,
    /// What was read instead of listing.
    pub reported: Reported,
}

/// What came of the last cycle, for displays and the exit code.
#[derive(Clone, Debug, Default)]
pub struct CycleFigures {
    pub began: Option<Timestamp>,
    pub took: Duration,
    pub datasets: Vec<DatasetCoverage>,
    /// Strange sizes that the look saw, in the order of the datasets.
    pub quality: Vec<Quality>,
    pub counts: Counts,
    pub complete: bool,
    pub not_listed: Vec<(String, String)>,
    pub reported: Reported,
    pub surprises: Vec<String>,
}

pub(crate) struct Observed {
    pub look: Result<Look, EngineError>,
    /// What lies at the keys of gaps that were in doubt when it began.
    left: Vec<(Gap, Left)>,
}

pub(crate) async fn observe(
    spec: Arc<Spec>,
    ports: Ports,
    accepted: Option<Picture>,
    reporting: Reporting,
    in_doubt: Vec<Gap>,
) -> Observed {
    let look = look(spec.clone(), &*ports.lake, ports.tables.clone(), accepted, reporting, &*ports.clock).await;
    Observed { look, left: look_at(&spec, &*ports.lake, in_doubt).await }
}

/// Reads the tables and what the store reports of the lake, and lists the rest. A prefix that fails leaves the others as they are; if nothing at all could be
/// seen, the look fails. `accepted`: the picture in force, whose tables may have become empty.
pub async fn look(
    spec: Arc<Spec>,
    lake: &dyn Lake,
    tables: Arc<dyn TableFiles + Send + Sync>,
    accepted: Option<Picture>,
    reporting: Reporting,
    clock: &dyn Clock,
) -> Result<Look, EngineError> {
    let began = clock.now().wall;
    let once = Once::new(lake);
    read_rows(&spec, &once, &tables, &accepted, clock).await?;
    let expected = Arc::new(expand(spec.clone(), tables, accepted.clone(), began).await?);
    let (reported, seen) = reported::newest(&reporting, &spec, &expected, accepted.as_ref(), began).await;
    let observation = seen.map_or_else(|| Observation::new(&expected, &spec), |seen| Observation::resume(&expected, &spec, seen));
    let observation = Mutex::new(observation);
    let prefixes: Vec<&String> = expected.prefixes().iter().filter(|prefix| !reported.covers(prefix)).collect();
    let Listings { failed: mut not_listed, saw_something } = list_all(&prefixes, &once, Keep::Nothing, clock, &observation).await;
    if let Some(gone) = not_listed.iter().position(|(_, error)| matches!(error, LakeError::Gone(_))) {
        return Err(EngineError::Lake(not_listed.swap_remove(gone).1));
    }
    if reported.prefixes.is_empty() && !not_listed.is_empty() && not_listed.len() == prefixes.len() && !saw_something {
        return Err(EngineError::NothingListed(not_listed.swap_remove(0).1));
    }
    let mut inventory = observation.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).finish();
    reported::bring_up_to_date(&reported, &reporting, lake, &spec, &expected, &mut inventory, clock.now().wall).await;
    Ok(Look { began, expected, inventory, not_listed, reported })
}

/// Off the runtime's threads: a million rows take a while.
pub(crate) async fn expand(
    spec: Arc<Spec>,
    tables: Arc<dyn TableFiles + Send + Sync>,
    accepted: Option<Picture>,
    now: Timestamp,
) -> Result<Expected, EngineError> {
    match tokio::task::spawn_blocking(move || coverage::expand_after(accepted.as_ref(), &spec, &*tables, now)).await {
        Ok(expanded) => expanded.map_err(EngineError::Config),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// What came of all prefixes.
pub(crate) struct Listings {
    /// In the order of the prefixes, whichever answered first.
    pub failed: Vec<(String, LakeError)>,
    pub saw_something: bool,
}

/// Hands all that lies under the expected prefixes to the observation.
pub(crate) async fn list_all(
    prefixes: &[&String],
    lake: &Once<'_>,
    keep: Keep,
    clock: &dyn Clock,
    observation: &Mutex<Observation<'_>>,
) -> Listings {
    let listings: Vec<_> = prefixes.iter().map(|prefix| list(prefix, lake, keep, clock, observation).boxed()).collect();
    let listed: Vec<Listed<'_>> = futures::stream::iter(listings).buffer_unordered(LISTINGS_AT_ONCE).collect().await;
    let mut all = Listings { failed: Vec::new(), saw_something: false };
    for Listed { prefix, saw_something, result } in listed {
        all.saw_something |= saw_something;
        match result {
            Ok(()) => locked(observation).prefix_complete(prefix),
            Err(error) => {
                locked(observation).prefix_failed(prefix);
                all.failed.push((prefix.clone(), error));
            }
        }
    }
    all.failed.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

/// What came of one prefix.
struct Listed<'a> {
    prefix: &'a String,
    saw_something: bool,
    result: Result<(), LakeError>,
}

async fn list<'a>(prefix: &'a String, lake: &Once<'_>, keep: Keep, clock: &dyn Clock, observation: &Mutex<Observation<'_>>) -> Listed<'a> {
    let mut saw_something = false;
    let mut found = |object: &Object| {
        saw_something = true;
        locked(observation).object(object);
    };
    let again = lake.again(prefix, &mut |began| locked(observation).begin(prefix, began), &mut found);
    let result = match again {
        Some(()) => Ok(()),
        None => {
            let began = clock.now().wall;
            locked(observation).begin(prefix, began);
            lake.list(prefix, began, keep, &mut found).await
        }
    };
    Listed { prefix, saw_something, result }
}

fn locked<'m, 'e>(observation: &'m Mutex<Observation<'e>>) -> std::sync::MutexGuard<'m, Observation<'e>> {
    observation.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Engine {
    /// Compares what was seen with the gaps that are known. A surprise is only remembered; anything else is in force.
    pub(crate) fn take_in(&mut self, observed: Observed, now: Now) -> Result<(), EngineError> {
        let Look { began, expected, mut inventory, not_listed, reported } = observed.look?;
        self.tell_of_reports(&reported);
        for (key, object) in self.cycle.seen_since.drain() {
            if let Some(item) = expected.find(&key) {
                inventory.saw_first_of_all(&expected, item, object.as_ref());
            }
        }
        self.settle_doubts(observed.left, &expected, &mut inventory, now);
        let open = self.open_gaps();
        let as_of = self.cycle.judging_time(now);
        let evidence = self.evidence(&expected, &inventory, &open);
        let mut coverage = Coverage::of(&evidence, as_of).map_err(EngineError::Config)?;
        let diff = coverage::gaps(&evidence, &coverage, as_of);
        let picture = Picture::of(&evidence, &coverage, &diff, began);
        let policy = &self.spec.engine.surprise;
        let surprises = coverage::surprises(self.accepted.as_ref(), &picture, policy);
        let verdict = coverage::judge(self.held.as_ref(), &picture, &surprises, policy, self.spec.engine.reconcile_every);
        let picture = match &verdict {
            Verdict::Hold(_) => picture,
            Verdict::Accept | Verdict::Confirmed => picture.with_present(&evidence, &coverage),
        };
        let figures = CycleFigures {
            began: Some(began),
            not_listed: not_listed.iter().map(|(prefix, error)| (prefix.clone(), error.to_string())).collect(),
            reported,
            surprises: surprises.iter().map(ToString::to_string).collect(),
            quality: coverage::quality(&expected, &self.spec, &inventory),
            ..CycleFigures::default()
        };
        self.cycle.figures = figures.of(&coverage);
        // The queue has them.
        coverage.forget_gap_items();
        self.cycle.looked(expected, inventory, coverage, as_of);
        for (prefix, error) in &self.cycle.figures.not_listed {
            self.notice(Notice::NotListed { prefix: prefix.clone(), error: error.clone() });
        }
        // Also of a picture that is held: it is what was seen.
        // Of what could not be listed nobody knows how complete it is.
        let listed = self.cycle.figures.datasets.iter().filter(|dataset| dataset.listed != Completeness::Partial);
        let trend = listed.map(|dataset| (dataset.name.clone(), TrendPoint::of(&dataset.counts, now.wall)));
        self.ledger.record(vec![Change::PutTrend(trend.collect())]);
        match verdict {
            Verdict::Hold(held) => {
                held.surprises.iter().for_each(|surprise| self.notice(Notice::Surprise(surprise.clone())));
                self.ledger.record(vec![Change::PutHeldPicture(Some(held.clone()))]);
                self.dispatcher.hold(None);
                self.held = Some(held);
                self.cycle.unbelieved = diff.opened;
            }
            Verdict::Accept | Verdict::Confirmed => {
                self.believe(diff, picture, now)?;
                self.forget_what_is_older_than_the_picture();
                let gaps = self.cycle.figures.counts.gaps();
                self.notice(Notice::Looked { gaps, complete: self.cycle.figures.complete });
            }
        }
        self.hear_what_came_early(now);
        Ok(())
    }

    /// Each once, for as long as it stays so: a report is the newest for a day.
    fn tell_of_reports(&mut self, reported: &Reported) {
        let before = std::mem::take(&mut self.cycle.figures.reported.refused);
        for line in reported.refused.iter().filter(|line| !before.contains(line)) {
            self.notice(Notice::ReportRefused(line.clone()));
        }
    }

    /// A report is read only if it is no older than the picture in force.
    fn forget_what_is_older_than_the_picture(&mut self) {
        let Some(accepted) = &self.accepted else { return };
        let expected = &self.cycle.expected;
        let in_force = |item: ItemIx| accepted.listed_at(expected.datasets()[expected.dataset_of(item)].name());
        let is_newer = |key: &String, answered: &mut Answered| {
            expected.find(key).is_some_and(|item| in_force(item).is_none_or(|at| answered.seen.outranks(at)))
        };
        self.cycle.hearing.answered.retain(is_newer);
    }

    fn believe(&mut self, diff: GapDiff, picture: Picture, now: Now) -> Result<(), EngineError> {
        let mut changes = vec![Change::PutPicture(picture.clone())];
        if self.held.take().is_some() {
            changes.push(Change::PutHeldPicture(None));
            self.dispatcher.unhold(None);
        }
        self.accepted = Some(picture);
        self.cycle.unbelieved.clear();
        changes.extend(self.take_up(diff, now)?);
        self.ledger.record(changes);
        Ok(())
    }

    /// Hands to the queue what opened, changed and closed.
    pub(crate) fn take_up(&mut self, diff: GapDiff, now: Now) -> Result<Vec<Change>, EngineError> {
        let selection = selecting(self.options.select.as_deref(), &self.spec, &self.cycle.expected)?;
        let mut changes = Vec::new();
        for gap in &diff.opened {
            let record = self.items.entry(gap.item()).or_default();
            record.episodes = gap.id.episode;
            if gap.reason == Reason::Missing {
                record.found_missing(now.wall);
            }
            changes.push(Change::PutItem(gap.item(), record.clone()));
            self.tell_if_contested(gap);
        }
        let news = GapNews { opened: diff.opened, changed: diff.changed, closed: diff.closed };
        changes.extend(match selection {
            None => self.dispatcher.reconcile(news, now),
            Some(selection) => self.reconcile_selected(&selection, news, now),
        });
        Ok(changes)
    }

    fn tell_if_contested(&self, gap: &Gap) {
        if let Some(until) = gap.progress.next_try.filter(|_| gap.progress.standing == Standing::Contested) {
            self.notice(Notice::Contested { key: gap.key.clone(), until });
        }
    }

    pub(crate) fn is_in_doubt(&self, item: ItemId) -> bool {
        self.items.get(&item).is_some_and(ItemRecord::is_in_doubt)
    }

    /// Gaps whose objects somebody must look at before anything is concluded from them.
    pub(crate) fn gaps_in_doubt(&self) -> Vec<Gap> {
        if !self.items.values().any(ItemRecord::is_in_doubt) {
            return Vec::new();
        }
        self.open_gaps().into_values().filter(|gap| self.is_in_doubt(gap.item())).collect()
    }

    /// Somebody looked: what changed is suspect, and what did not is what it was. An attempt since knows better.
    fn settle_doubts(&mut self, left: Vec<(Gap, Left)>, expected: &Expected, inventory: &mut Inventory, now: Now) {
        for (gap, Left { object, .. }) in left {
            let runs = self.dispatcher.gap_state(gap.id, now) == Some(GapState::Running);
            let tried_since = self.dispatcher.gap(gap.id).is_some_and(|latest| latest.progress != gap.progress);
            let Some(record) = self.items.get_mut(&gap.item()).filter(|record| record.is_in_doubt() && !runs && !tried_since) else {
                continue;
            };
            record.suspect_etag = object.as_ref().map(|object| object.etag.clone());
            self.ledger.record(vec![Change::PutItem(gap.item(), record.clone())]);
            if let (Some(object), Some(item)) = (object, expected.find(&gap.key)) {
                inventory.saw(item, Some(&object));
            }
        }
    }

    /// What coverage is judged by.
    pub(crate) fn evidence<'a>(&'a self, expected: &'a Expected, inventory: &'a Inventory, open: &'a HashMap<ItemId, Gap>) -> Evidence<'a> {
        Evidence { spec: &self.spec, expected, inventory, records: &self.items, open, accepted: self.accepted.as_ref() }
    }

    /// All open gaps, whoever has them.
    pub(crate) fn open_gaps(&self) -> HashMap<ItemId, Gap> {
        let mut open = self.aside.clone();
        open.extend(self.dispatcher.gaps().into_iter().map(|gap| (gap.item(), gap)));
        open
    }
}

impl CycleState {
    /// Something is known of an item that was not known before: what else should exist is to be worked out anew if others' tables have
    /// their rows of it.
    pub(crate) fn changed(&mut self, item: ItemIx) {
        let dataset = self.expected.dataset_of(item);
        self.hearing.look_again |= self.expected.feeds(dataset);
    }
}

impl CycleFigures {
    /// Of the same look, judged at another time.
    pub(crate) fn of(&self, coverage: &Coverage) -> CycleFigures {
        CycleFigures {
            datasets: coverage.datasets.clone(),
            counts: coverage.counts(),
            complete: coverage.is_complete() && !coverage.is_partial(),
            ..self.clone()
        }
    }
}
