//! One full look: expand what should exist, list what does, compare, and hand the difference to the queue.
//!
//! `look` only reads and is what `plan` uses too; `take_in` is where a running engine believes it, unless it is a
//! surprise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use adce_core::coverage::{
    self, Completeness, Counts, Coverage, DatasetCoverage, Evidence, Expected, Inventory, Observation, Picture, Selection, TableFiles,
    Verdict,
};
use adce_core::gap::Gap;
use adce_core::ids::ItemId;
use adce_core::ports::{Clock, Lake, LakeError};
use adce_core::queue::GapNews;
use adce_core::record::{Change, Remembered};
use adce_core::spec::Spec;
use adce_core::time::{Now, Timestamp};
use futures::{FutureExt, StreamExt};

use crate::attempt::Ports;
use crate::engine::{Engine, EngineError};
use crate::snapshot::Notice;

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
}

/// What came of the last cycle, for displays and the exit code.
#[derive(Clone, Debug, Default)]
pub struct CycleFigures {
    pub began: Option<Timestamp>,
    pub took: Duration,
    pub datasets: Vec<DatasetCoverage>,
    pub counts: Counts,
    pub complete: bool,
    pub not_listed: Vec<(String, String)>,
    pub surprises: Vec<String>,
}

pub(crate) struct Observed {
    pub look: Result<Look, EngineError>,
}

pub(crate) async fn observe(spec: Arc<Spec>, ports: Ports) -> Observed {
    Observed { look: look(spec, &*ports.lake, ports.tables.clone(), &*ports.clock).await }
}

/// Reads the tables and lists the lake. A prefix that fails leaves the others as they are; if all fail, so does the look.
pub async fn look(
    spec: Arc<Spec>,
    lake: &dyn Lake,
    tables: Arc<dyn TableFiles + Send + Sync>,
    clock: &dyn Clock,
) -> Result<Look, EngineError> {
    let began = clock.now().wall;
    let expected = Arc::new(expand(spec.clone(), tables, began).await?);
    let observation = Mutex::new(Observation::new(&expected, &spec));
    let listings: Vec<_> = expected.prefixes().iter().map(|prefix| list(prefix, lake, clock, &observation).boxed()).collect();
    let listed: Vec<(&String, Result<(), LakeError>)> = futures::stream::iter(listings).buffer_unordered(LISTINGS_AT_ONCE).collect().await;
    let prefixes = listed.len();
    let mut not_listed = Vec::new();
    for (prefix, result) in listed {
        match result {
            Ok(()) => locked(&observation).prefix_complete(prefix),
            Err(error @ LakeError::Gone(_)) => return Err(EngineError::Lake(error)),
            Err(error) => {
                locked(&observation).prefix_failed(prefix);
                not_listed.push((prefix.clone(), error));
            }
        }
    }
    if prefixes > 0 && not_listed.len() == prefixes && not_listed.iter().any(|(_, error)| matches!(error, LakeError::Refused { .. })) {
        return Err(EngineError::Lake(not_listed.swap_remove(0).1));
    }
    let inventory = observation.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).finish();
    Ok(Look { began, expected, inventory, not_listed })
}

/// Off the runtime's threads: a million rows take a while.
async fn expand(spec: Arc<Spec>, tables: Arc<dyn TableFiles + Send + Sync>, now: Timestamp) -> Result<Expected, EngineError> {
    match tokio::task::spawn_blocking(move || coverage::expand(&spec, &*tables, now)).await {
        Ok(expanded) => expanded.map_err(EngineError::Config),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// Takes the gaps that are not selected out of what is remembered, so that nothing of them is queued.
pub(crate) async fn set_aside(
    select: &str,
    spec: &Arc<Spec>,
    ports: &Ports,
    remembered: &mut Remembered,
    now: Now,
) -> Result<HashMap<ItemId, Gap>, EngineError> {
    let expected = expand(spec.clone(), ports.tables.clone(), now.wall).await?;
    let selection = selection(select, &expected)?;
    let (selected, aside) = std::mem::take(&mut remembered.gaps).into_iter().partition(|gap| selection.means(gap, &expected, now.wall));
    remembered.gaps = selected;
    let aside: Vec<Gap> = aside;
    Ok(aside.into_iter().map(|gap| (gap.item(), gap)).collect())
}

fn selection(select: &str, expected: &Expected) -> Result<Selection, EngineError> {
    Selection::parse(select, expected).map_err(|errors| EngineError::Select(select.to_owned(), errors))
}

async fn list<'a>(
    prefix: &'a String,
    lake: &dyn Lake,
    clock: &dyn Clock,
    observation: &Mutex<Observation<'_>>,
) -> (&'a String, Result<(), LakeError>) {
    locked(observation).begin(prefix, clock.now().wall);
    let result = lake.list(prefix, &mut |object| locked(observation).object(&object)).await;
    (prefix, result)
}

fn locked<'m, 'e>(observation: &'m Mutex<Observation<'e>>) -> std::sync::MutexGuard<'m, Observation<'e>> {
    observation.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Engine {
    /// Compares what was seen with the gaps that are known. A surprise is only remembered; anything else is in force.
    pub(crate) fn take_in(&mut self, observed: Observed, now: Now) -> Result<(), EngineError> {
        let Look { began, expected, mut inventory, not_listed } = observed.look?;
        for (key, object) in self.cycle.landed.drain() {
            if let Some(item) = expected.find(&key) {
                inventory.saw(item, Some(&object));
            }
        }
        let mut open = self.aside.clone();
        open.extend(self.dispatcher.gaps().into_iter().map(|gap| (gap.item(), gap)));
        let selection = self.options.select.as_deref().map(|select| selection(select, &expected)).transpose()?;
        let evidence = Evidence {
            spec: &self.spec,
            expected: &expected,
            inventory: &inventory,
            records: &self.items,
            open: &open,
            accepted: self.accepted.as_ref(),
        };
        let coverage = Coverage::of(&evidence, now.wall).map_err(EngineError::Config)?;
        let diff = coverage::gaps(&evidence, &coverage, now.wall);
        let picture = Picture::of(&evidence, &coverage, &diff, began);
        let policy = &self.spec.engine.surprise;
        let surprises = coverage::surprises(self.accepted.as_ref(), &picture, policy);
        let verdict = coverage::judge(self.held.as_ref(), &picture, &surprises, policy, self.spec.engine.reconcile_every);
        self.cycle.expected = expected;
        self.cycle.figures = figures(began, &coverage, &not_listed, surprises.iter().map(ToString::to_string).collect());
        self.cycle.coverage = Some(coverage);
        self.figures.since_cycle.clear();
        for (prefix, error) in &self.cycle.figures.not_listed {
            self.notice(Notice::NotListed { prefix: prefix.clone(), error: error.clone() });
        }
        match verdict {
            Verdict::Hold(held) => {
                held.surprises.iter().for_each(|surprise| self.notice(Notice::Surprise(surprise.clone())));
                self.ledger.record(vec![Change::PutHeldPicture(Some(held.clone()))]);
                self.dispatcher.hold(None);
                self.held = Some(held);
            }
            Verdict::Accept | Verdict::Confirmed => {
                self.believe(diff, picture, selection.as_ref(), now);
                let gaps = self.cycle.figures.counts.gaps();
                self.notice(Notice::Looked { gaps, complete: self.cycle.figures.complete });
            }
        }
        Ok(())
    }

    fn believe(&mut self, diff: coverage::GapDiff, picture: Picture, selection: Option<&Selection>, now: Now) {
        let mut changes = vec![Change::PutPicture(picture.clone())];
        if self.held.take().is_some() {
            changes.push(Change::PutHeldPicture(None));
            self.dispatcher.unhold(None);
        }
        for gap in &diff.opened {
            let record = self.items.entry(gap.item()).or_default();
            record.episodes = gap.id.episode;
            changes.push(Change::PutItem(gap.item(), record.clone()));
        }
        let mut news = GapNews { opened: diff.opened, changed: diff.changed, closed: diff.closed };
        if let Some(selection) = selection {
            changes.extend(self.leave_aside(&mut news, selection, now));
        }
        changes.extend(self.dispatcher.reconcile(news, now));
        self.accepted = Some(picture);
        self.ledger.record(changes);
    }

    /// What is not selected is remembered as it is now, and not handed to the dispatcher.
    fn leave_aside(&mut self, news: &mut GapNews, selection: &Selection, now: Now) -> Vec<Change> {
        let expected = self.cycle.expected.clone();
        let mut changes = Vec::new();
        for list in [&mut news.opened, &mut news.changed] {
            let (selected, aside): (Vec<Gap>, Vec<Gap>) =
                std::mem::take(list).into_iter().partition(|gap| selection.means(gap, &expected, now.wall));
            *list = selected;
            for gap in aside {
                changes.push(Change::PutGap(gap.clone()));
                self.aside.insert(gap.item(), gap);
            }
        }
        let closed = news.closed.iter().filter(|(gap, _)| self.aside.remove(&gap.item).is_some());
        changes.extend(closed.map(|(gap, why)| Change::CloseGap { gap: *gap, at: now.wall, why: *why }));
        changes
    }
}

fn figures(began: Timestamp, coverage: &Coverage, not_listed: &[(String, LakeError)], surprises: Vec<String>) -> CycleFigures {
    CycleFigures {
        began: Some(began),
        took: Duration::ZERO,
        datasets: coverage.datasets.clone(),
        counts: coverage.counts(),
        complete: coverage.is_complete() && coverage.datasets.iter().all(|dataset| dataset.listed != Completeness::Partial),
        not_listed: not_listed.iter().map(|(prefix, error)| (prefix.clone(), error.to_string())).collect(),
        surprises,
    }
}
