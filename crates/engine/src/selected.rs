//! `--select`: gaps that a person did not mean stay open and known, and are left alone for as long as the run lasts. Without it,
//! so are those that are older than the config's `baseline`.
//!
//! They are kept beside the dispatcher, which would start them. A table that changes in mid-run may change what is
//! selected, so every look sorts all gaps anew (`a_table_that_changes_in_mid_run_changes_what_is_selected`).
//!
//! Always true: a gap is with the dispatcher or aside, never with both; what runs stays with the dispatcher.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use adce_core::coverage::{Expected, Selection};
use adce_core::gap::{Gap, GapState};
use adce_core::ids::{GapId, ItemId};
use adce_core::queue::{GapNews, Gate};
use adce_core::record::{Change, Closed, Remembered};
use adce_core::spec::Spec;
use adce_core::time::Now;

use crate::attempt::Ports;
use crate::engine::{Engine, EngineError};
use crate::why::GapView;

/// Takes the gaps that are not selected out of what is remembered, so that nothing of them is queued.
pub(crate) async fn set_aside(
    select: Option<&str>,
    spec: &Arc<Spec>,
    ports: &Ports,
    remembered: &mut Remembered,
    now: Now,
) -> Result<HashMap<ItemId, Gap>, EngineError> {
    let expected = crate::cycle::expand(spec.clone(), ports.tables.clone(), remembered.picture.clone(), now.wall).await?;
    let Some(selection) = selecting(select, spec, &expected)? else { return Ok(HashMap::new()) };
    let (selected, aside) = std::mem::take(&mut remembered.gaps).into_iter().partition(|gap| selection.means(gap, &expected, now.wall));
    remembered.gaps = selected;
    let aside: Vec<Gap> = aside;
    Ok(aside.into_iter().map(|gap| (gap.item(), gap)).collect())
}

/// What a run works on: what a person selects, or else what is not older than the baseline. `None`: everything.
pub(crate) fn selecting(select: Option<&str>, spec: &Spec, expected: &Expected) -> Result<Option<Selection>, EngineError> {
    match select {
        Some(select) => selection(select, expected).map(Some),
        None => Ok(spec.baseline.map(Selection::not_older_than)),
    }
}

fn selection(select: &str, expected: &Expected) -> Result<Selection, EngineError> {
    Selection::parse(select, expected).map_err(|errors| EngineError::Select(select.to_owned(), errors))
}

impl Engine {
    /// As the dispatcher's own `reconcile`, for the gaps that are selected: what is not is remembered as it is now, and
    /// not handed to the dispatcher, or taken from it; what was aside and is selected by now is handed over.
    pub(crate) fn reconcile_selected(&mut self, selection: &Selection, news: GapNews, now: Now) -> Vec<Change> {
        let expected = self.cycle.expected.clone();
        let closed: HashSet<GapId> = news.closed.iter().map(|(gap, _)| *gap).collect();
        let told: HashSet<GapId> = news.opened.iter().chain(&news.changed).map(|gap| gap.id).collect();
        let mut changes = Vec::new();
        for (gap, why) in news.closed.iter().filter(|(gap, _)| self.aside.get(&gap.item).is_some_and(|aside| aside.id == *gap)) {
            changes.push(Change::CloseGap { gap: *gap, at: now.wall, why: *why });
        }
        let mut sorted = GapNews { closed: news.closed, ..GapNews::default() };
        let mut leaving = HashSet::new();
        for (id, gap) in self.latest(news.opened, news.changed).into_iter().filter(|(id, _)| !closed.contains(id)) {
            let state = self.dispatcher.gap_state(id, now);
            match (selection.means(&gap, &expected, now.wall), state) {
                (true, None) => sorted.opened.push(gap),
                (true, Some(_)) if told.contains(&id) => sorted.changed.push(gap),
                (true, Some(_)) | (false, Some(GapState::Running)) => {}
                (false, state) => {
                    if state.is_some() {
                        sorted.closed.push((id, Closed::NotExpected));
                        leaving.insert(id);
                    }
                    if told.contains(&id) {
                        changes.push(Change::PutGap(gap.clone()));
                    }
                    self.aside.insert(gap.item(), gap);
                }
            }
        }
        // What leaves the dispatcher stays open.
        let reconciled = self.dispatcher.reconcile(sorted, now).into_iter();
        changes.extend(reconciled.filter(|change| !matches!(change, Change::CloseGap { gap, .. } if leaving.contains(gap))));
        changes
    }

    /// All open gaps in their latest form; none is aside any more.
    fn latest(&mut self, opened: Vec<Gap>, changed: Vec<Gap>) -> HashMap<GapId, Gap> {
        let before = std::mem::take(&mut self.aside).into_values().chain(self.dispatcher.gaps());
        before.chain(changed).chain(opened).map(|gap| (gap.id, gap)).collect()
    }

    /// Those that this run leaves alone.
    pub(crate) fn gaps_aside(&self) -> impl Iterator<Item = GapView> {
        let view = |gap: Gap| {
            let in_doubt = self.is_in_doubt(gap.item());
            let next_try = gap.progress.next_try;
            GapView { gap, state: GapState::Held, task: None, gate: Some(Gate::NotSelected), behind: None, next_try, in_doubt }
        };
        self.aside.values().cloned().map(view)
    }
}
