//! What changes between two full looks: items fall due and grow stale, attempts put objects in place, and somebody says that an
//! object has come or gone. Only those items are judged again, whatever lies in the lake; the next full look judges all.
//!
//! Always true: what is judged here is what a full look would say of the same knowledge (`what_is_judged_again_is_as_if_all_were`,
//! in core); while a surprise is held nothing is judged, for nobody knows yet which picture is true.

use std::collections::HashMap;
use std::sync::Arc;

use adce_core::coverage::{self, Coverage, Expected, Inventory, ItemIx, Sight, Spot};
use adce_core::gap::Gap;
use adce_core::ids::{GapId, ItemId};
use adce_core::object::Object;
use adce_core::time::{Boottime, Now, Timestamp};

use crate::engine::{Engine, EngineError};
use crate::looking::CycleState;
use crate::snapshot::Notice;

/// Timers take at most one part in so many of the loop's time, however many of them fire one after the other.
const RENEWING_SHARE: u32 = 20;

/// What is newer than the last full look.
#[derive(Default)]
pub(crate) struct Between {
    /// Items of which something newer is known, to be judged before the next decision.
    touched: Vec<ItemIx>,
    renews_not_before: Boottime,
    /// The latest instant that was judged by.
    judged: Option<Timestamp>,
    /// The figures of the last look are older than what was judged since.
    figures_are_old: bool,
}

impl Engine {
    /// Something is told of the item at this key, and will be on record before the next decision.
    pub(crate) fn touch(&mut self, key: &str) {
        if let Some(item) = self.cycle.expected.find(key) {
            self.cycle.between.touched.push(item);
            self.cycle.changed(item);
        }
    }

    /// When time alone gives some item another state. `None`: never, or a whole look must come first.
    fn renews_at(&self, now: Now) -> Option<Boottime> {
        let stands = self.cycle.inventory.is_some() && self.held.is_none();
        let changes_at = self.cycle.coverage.as_ref().filter(|_| stands)?.changes_at()?;
        Some(now.boot_at(changes_at).max(self.cycle.between.renews_not_before))
    }

    pub(crate) fn next_renewal(&self, now: Now) -> Option<Boottime> {
        let is_over = self.closing || self.interrupted.is_some() || self.failed.is_some();
        if is_over { None } else { self.renews_at(now) }
    }

    pub(crate) fn renew_if_due(&mut self) {
        let now = self.now();
        if self.next_renewal(now).is_none_or(|at| at > now.boot) {
            return;
        }
        let as_of = self.cycle.judging_time(now);
        let changed = self.cycle.coverage.as_mut().map(|coverage| coverage.changed_by_time(as_of)).unwrap_or_default();
        self.cycle.between.touched.extend(changed);
        self.judge_touched();
        let judged = self.now().boot;
        self.cycle.between.renews_not_before = judged + judged.since(now.boot) * RENEWING_SHARE;
    }

    /// Before the next decision.
    pub(crate) fn judge_touched(&mut self) {
        if self.cycle.between.touched.is_empty() {
            return;
        }
        let mut touched = std::mem::take(&mut self.cycle.between.touched);
        if self.held.is_some() {
            return;
        }
        let now = self.now();
        // The end of the attempt touches them once more.
        touched.retain(|item| !self.is_being_collected(*item, now));
        if let Err(error) = self.judge_again(touched) {
            self.notice(Notice::LookFailed(error.to_string()));
        }
    }

    /// With everything that is known by now. Nothing is listed and no table is read.
    fn judge_again(&mut self, items: Vec<ItemIx>) -> Result<(), EngineError> {
        let now = self.now();
        let as_of = self.cycle.judging_time(now);
        let (Some(inventory), Some(mut coverage)) = (self.cycle.inventory.take(), self.cycle.coverage.take()) else { return Ok(()) };
        let expected = self.cycle.expected.clone();
        let items = expected.with_dependents(items);
        let open = self.open_gaps_of(&items, &expected);
        let judged = coverage.judge_again(&self.evidence(&expected, &inventory, &open), &items, as_of);
        self.cycle.inventory = Some(inventory);
        self.cycle.coverage = Some(coverage);
        self.cycle.between.figures_are_old = true;
        let diff = judged.map_err(EngineError::Config)?;
        if !diff.is_empty() {
            let changes = self.take_up(diff, now)?;
            self.ledger.record(changes);
        }
        Ok(())
    }

    fn open_gaps_of(&self, items: &[ItemIx], expected: &Expected) -> HashMap<ItemId, Gap> {
        let open = |item: &ItemIx| {
            let id = expected.id(*item);
            let aside = || self.aside.get(&id).cloned();
            Some((id, self.dispatcher.gap(self.latest_gap(id)?).or_else(aside)?))
        };
        items.iter().filter_map(open).collect()
    }

    /// Open or not.
    pub(crate) fn latest_gap(&self, item: ItemId) -> Option<GapId> {
        Some(GapId { item, episode: self.items.get(&item)?.episodes })
    }
}

impl CycleState {
    /// A full look was taken in.
    pub(crate) fn looked(&mut self, expected: Arc<Expected>, inventory: Inventory, coverage: Coverage, as_of: Timestamp) {
        self.expected = expected;
        self.inventory = Some(inventory);
        self.coverage = Some(coverage);
        self.between = Between { judged: Some(as_of), renews_not_before: self.between.renews_not_before, ..Between::default() };
    }

    /// An attempt saw this object at its key, later than any listing that has ended or is under way.
    pub(crate) fn saw(&mut self, object: Object) {
        match self.expected.find(&object.key) {
            Some(item) => {
                self.hearing.overtake(item);
                self.learned(item, object.key.clone(), Some(object));
            }
            None if self.under_way => drop(self.seen_since.insert(object.key.clone(), Some(object))),
            None => {}
        }
    }

    /// This is at the first of the item's places at which something is now (`None`: nothing is at any).
    pub(crate) fn learned(&mut self, item: ItemIx, key: String, object: Option<Object>) {
        if let Some(inventory) = &mut self.inventory {
            inventory.saw_first_of_all(&self.expected, item, object.as_ref());
            self.between.touched.push(item);
        }
        self.changed(item);
        if self.under_way {
            self.seen_since.insert(key, object);
        }
    }

    /// `None`: nobody has looked yet.
    pub(crate) fn sight(&self, item: ItemIx) -> Option<Sight> {
        self.inventory.as_ref().map(|inventory| inventory.sight(item))
    }

    /// Of one of its places: what lies at the others is not that.
    pub(crate) fn sight_at(&self, item: ItemIx, spot: Spot) -> Option<Sight> {
        self.inventory.as_ref().filter(|inventory| inventory.spot(item) == spot).map(|inventory| inventory.sight(item))
    }

    /// Time that only moves on ([`coverage::judging_time`]).
    pub(crate) fn judging_time(&mut self, now: Now) -> Timestamp {
        let as_of = coverage::judging_time(self.between.judged, now.wall);
        self.between.judged = Some(as_of);
        as_of
    }

    /// Brings the figures up to what was judged.
    pub(crate) fn renew_figures(&mut self) {
        if std::mem::take(&mut self.between.figures_are_old)
            && let Some(coverage) = &self.coverage
        {
            self.figures = self.figures.of(coverage);
        }
    }
}
