//! What an engine would find and do now, without an engine: one look at the lake, compared with what the state remembers.
//!
//! `plan` and `gaps` print it. Nothing is written, nothing is asked of an upstream, and because the decisions are the
//! engine's own, the tasks have the ids that the next `run` will give them.

use std::collections::HashMap;
use std::sync::Arc;

use adce_api::{DatasetCoverage, GapLine};
use adce_core::coverage::{self, Coverage, Evidence, Expected, GapDiff, Inventory, Picture, Quality, Selection, Verdict, quality};
use adce_core::gap::{Gap, GapState};
use adce_core::ids::{GapId, ItemId};
use adce_core::ports::{Clock, LakeError};
use adce_core::queue::{Dispatcher, GapNews, Gate, Rules};
use adce_core::record::{Lease, Remembered};
use adce_core::spec::Spec;
use adce_core::time::Now;
use adce_engine::{About, EngineError, GapView, Known, Look, Records, Reported, Reporting, Why, look};
use adce_lake::rows::Keeping;
use indexmap::IndexMap;

use crate::clock::MachineClock;
use crate::commands::ask;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::wiring::tables;
use crate::{views, wiring};

/// Everything that one look tells.
pub struct Survey {
    pub spec: Arc<Spec>,
    /// What identifies the lake.
    pub lake: String,
    pub now: Now,
    pub expected: Arc<Expected>,
    pub coverage: Coverage,
    /// What was seen of each item, if that was asked for.
    pub inventory: Option<Inventory>,
    /// Strange sizes, in the order of the datasets.
    pub quality: Vec<Quality>,
    /// Tasks and gaps as the next `run` would have them after its first cycle.
    pub dispatcher: Dispatcher,
    /// What the state has on record about items.
    pub records: Records,
    /// Gaps that are older than the config's `baseline`: a run leaves them alone.
    pub aside: Vec<Gap>,
    /// Gaps that the new picture would open, were it believed.
    pub held_back: Vec<Gap>,
    /// Why it is not believed yet; empty: it is in force.
    pub surprises: Vec<String>,
    pub not_listed: Vec<(String, LakeError)>,
    /// What was read instead of listing.
    pub reported: Reported,
    /// What the last engine left under way.
    pub leases: Vec<Lease>,
}

impl Survey {
    pub async fn of(spec: Arc<Spec>) -> Result<Survey, Failure> {
        // What was seen of each item takes as much as all the rest, and only `why` asks for it.
        Ok(Survey { inventory: None, ..Survey::with_sights(spec).await? })
    }

    pub async fn with_sights(spec: Arc<Spec>) -> Result<Survey, Failure> {
        let clock = MachineClock;
        let lake = adce_lake::open(&spec.lake)?;
        let remembered = ask::state(&spec)?.map(|state| state.remembered()).transpose()?.unwrap_or_default();
        let tables = Arc::new(tables(&spec, Keeping::InMemory));
        let reporting = Reporting::of(wiring::reports(&spec)?, remembered.picture.as_ref(), &remembered.items);
        let look = look(spec.clone(), &*lake, tables, remembered.picture.clone(), reporting, &clock).await?;
        Ok(compare(spec, lake.identity(), look, remembered, &clock)?)
    }

    pub fn is_partial(&self) -> bool {
        !self.not_listed.is_empty()
    }

    pub fn is_complete(&self) -> bool {
        self.coverage.is_complete() && !self.is_partial() && self.surprises.is_empty()
    }

    pub fn exit(&self) -> Exit {
        match (self.is_partial(), self.is_complete()) {
            (true, _) => Exit::Unfinished,
            (false, true) => Exit::Complete,
            (false, false) => Exit::GapsRemain,
        }
    }

    /// Where each dataset stands, with the reason if that is older than this look.
    pub fn datasets(&self) -> IndexMap<String, DatasetCoverage> {
        let datasets = self.coverage.datasets.iter().zip(&self.quality).map(|(dataset, quality)| {
            let listing_error = self.listing_error(&dataset.name);
            (dataset.name.clone(), DatasetCoverage { listing_error, ..views::dataset_coverage(dataset, Some(quality), &self.spec) })
        });
        datasets.collect()
    }

    fn listing_error(&self, dataset: &str) -> Option<String> {
        let dataset = self.spec.datasets.get(dataset)?;
        let is_under = |failed: &str| dataset.literal_prefixes().any(|prefix| prefix.starts_with(failed));
        let (_, error) = self.not_listed.iter().find(|(failed, _)| is_under(failed))?;
        Some(error.to_string())
    }

    /// All open gaps, in no particular order.
    pub fn gaps(&self) -> Vec<GapLine> {
        self.known().gaps(self.now).chain(self.aside.iter().map(left_alone)).map(|gap| views::gap_line(&gap)).collect()
    }

    pub fn why(&self, what: &str) -> (Why, About) {
        let aside = self.aside.iter().find(|gap| gap.key == what).map(|gap| Why::Gap(left_alone(gap)));
        let why = aside.unwrap_or_else(|| self.known().why(what, self.now));
        (why, self.known().about(what, self.now))
    }

    fn known(&self) -> Known<'_> {
        Known {
            spec: &self.spec,
            inventory: self.inventory.as_ref(),
            dispatcher: &self.dispatcher,
            records: &self.records,
            expected: &self.expected,
            coverage: Some(&self.coverage),
            unbelieved: &self.held_back,
            reported: &self.reported,
            answered: None,
        }
    }
}

/// Takes out what a run would leave alone because it is older than the baseline.
fn set_aside(spec: &Spec, expected: &Expected, diff: GapDiff, remembered: &mut Remembered, now: Now) -> (GapDiff, Vec<Gap>) {
    let Some(baseline) = spec.baseline else { return (diff, Vec::new()) };
    let selection = Selection::not_older_than(baseline);
    let mut aside: HashMap<GapId, Gap> = HashMap::new();
    let mut meant = |gaps: Vec<Gap>| {
        let (meant, older): (Vec<Gap>, Vec<Gap>) = gaps.into_iter().partition(|gap| selection.means(gap, expected, now.wall));
        aside.extend(older.into_iter().map(|gap| (gap.id, gap)));
        meant
    };
    remembered.gaps = meant(std::mem::take(&mut remembered.gaps));
    let diff = GapDiff { changed: meant(diff.changed), opened: meant(diff.opened), ..diff };
    diff.closed.iter().for_each(|(gap, _)| drop(aside.remove(gap)));
    let mut aside: Vec<Gap> = aside.into_values().collect();
    aside.sort_by(|a, b| (a.detected_at, &a.key).cmp(&(b.detected_at, &b.key)));
    (diff, aside)
}

fn left_alone(gap: &Gap) -> GapView {
    let next_try = gap.progress.next_try;
    GapView { gap: gap.clone(), state: GapState::Held, task: None, gate: Some(Gate::NotSelected), behind: None, next_try, in_doubt: false }
}

fn compare(spec: Arc<Spec>, lake: String, look: Look, mut remembered: Remembered, clock: &dyn Clock) -> Result<Survey, EngineError> {
    let Look { began, expected, inventory, not_listed, reported } = look;
    let now = clock.now();
    let open: HashMap<ItemId, Gap> = remembered.gaps.iter().map(|gap| (gap.item(), gap.clone())).collect();
    let evidence = Evidence {
        spec: &spec,
        expected: &expected,
        inventory: &inventory,
        records: &remembered.items,
        open: &open,
        accepted: remembered.picture.as_ref(),
    };
    let coverage = Coverage::of(&evidence, now.wall).map_err(EngineError::Config)?;
    let diff = coverage::gaps(&evidence, &coverage, now.wall);
    let picture = Picture::of(&evidence, &coverage, &diff, began);
    let policy = &spec.engine.surprise;
    let surprises = coverage::surprises(remembered.picture.as_ref(), &picture, policy);
    let verdict = coverage::judge(remembered.held.as_ref(), &picture, &surprises, policy, spec.engine.reconcile_every);
    let leases = remembered.leases.clone();
    let quality = quality(&expected, &spec, &inventory);
    let (diff, aside) = set_aside(&spec, &expected, diff, &mut remembered, now);
    let (mut dispatcher, _) = Dispatcher::new(Rules::of(&spec), &mut remembered, clock.boot_id(), now);
    let mut held_back = Vec::new();
    let mut surprises = Vec::new();
    match verdict {
        Verdict::Accept | Verdict::Confirmed => {
            dispatcher.reconcile(GapNews { opened: diff.opened, changed: diff.changed, closed: diff.closed }, now);
        }
        Verdict::Hold(held) => {
            dispatcher.hold(None);
            held_back = diff.opened;
            surprises = held.surprises;
        }
    }
    let inventory = Some(inventory);
    let records = remembered.items;
    Ok(Survey {
        spec,
        lake,
        now,
        expected,
        coverage,
        aside,
        inventory,
        quality,
        dispatcher,
        records,
        held_back,
        surprises,
        not_listed,
        reported,
        leases,
    })
}
