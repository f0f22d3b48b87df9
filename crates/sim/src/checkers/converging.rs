//! Everything that can be had is had in the end, and not only at the end of the world: from the moment at which an item
//! could be had, or what is there is stale, until it is put into the lake passes no more time than waiting, the longest pause of a gap that failed, and
//! what somebody who takes it away again makes of it.
//!
//! It knows items, what upstream has and what was put into the lake; nothing of gaps, tasks or attempts.

use std::collections::{BTreeMap, HashMap};

use adce_core::gap::Outcome;
use adce_core::ids::ItemId;

use super::closed::Closed;
use super::demand::Demand;
use super::months::Months;
use crate::dice::Dice;
use crate::facts::{Checker, Fact, Moment, Wrong};
use crate::items::{Item, Items};
use crate::scenario::{DAY, Fresh, HOUR, Micros, Scenario};

pub struct Converging {
    closed: Closed,
    bounds: Vec<Bounds>,
    items: HashMap<ItemId, Item>,
    /// What could be had and is not there, or is not fresh, and since when; most of it from a later day on.
    wanted: BTreeMap<ItemId, Micros>,
    months: Months,
}

/// Of a dataset.
struct Bounds {
    source: Option<usize>,
    most: Micros,
    revived_after: Micros,
    fresh: Option<Fresh>,
}

/// So long is left alone what was filled and gone three times in a day.
const CONTESTED: Micros = DAY;

impl Converging {
    pub fn new(scenario: &Scenario, months: Months) -> Self {
        let closed = Closed::of(scenario);
        let items = Items::of(scenario, &mut Dice::new(scenario.seed).fork()).all;
        let bounds = scenario.datasets.iter().map(|dataset| {
            let revived_after = scenario.collectors[dataset.collector].retry.revive_max.as_micros() as Micros;
            let waits = Demand::of(scenario, dataset.source, &closed).drains_in();
            Bounds { source: dataset.source, most: waits + DAY + 12 * HOUR, revived_after, fresh: dataset.fresh }
        });
        let wanted = items.iter().filter_map(|item| Some((item.id, item.there_from?.max(item.due_at).max(item.poison_until))));
        Converging {
            bounds: bounds.collect(),
            wanted: wanted.collect(),
            items: items.into_iter().map(|item| (item.id, item)).collect(),
            closed,
            months,
        }
    }

    /// How long it was wanted, and how long it may be.
    fn lag(&self, item: &Item, since: Micros, at: Micros) -> (Micros, Micros) {
        let bounds = &self.bounds[item.dataset];
        let taken = if item.to_be_taken > 0 { CONTESTED } else { 0 };
        (self.closed.open_between(bounds.source, since, at), bounds.most + bounds.revived_after + taken)
    }

    /// When what is put there now is to be looked at again: `within` later, and once more past `until`.
    fn grows_stale(&self, item: &Item, at: Micros) -> Option<Micros> {
        let bounds = &self.bounds[item.dataset];
        let Fresh { within, until } = bounds.fresh?;
        let until = item.due_at + until;
        (at + within < until).then_some(at + within)
    }

    fn too_late(&self, item: &Item, since: Micros, at: Micros, what: &str) -> Option<Wrong> {
        let (lag, most) = self.lag(item, since, at);
        let hours = |micros: Micros| micros as f64 / HOUR as f64;
        let what = || format!("`{}` {what} {:.1} h after it could be had, {:.1} h at most", item.key, hours(lag), hours(most));
        (lag > most).then(|| Wrong { checker: "converging", at, what: what() })
    }
}

impl Checker for Converging {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        match fact {
            Fact::Ended { outcomes, .. } => {
                for (gap, outcome) in *outcomes {
                    let Outcome::Done { .. } = outcome else { continue };
                    self.months.at(moment).filled += 1;
                    let Some(since) = self.wanted.remove(&gap.item) else { continue };
                    let item = &self.items[&gap.item];
                    if let Some(stale) = self.grows_stale(item, moment.at) {
                        self.wanted.insert(gap.item, stale);
                    }
                    wrong.extend(self.too_late(item, since, moment.at, "is there"));
                    let lag = self.lag(item, since, moment.at).0;
                    let month = &mut self.months.at(moment);
                    month.longest_lag = month.longest_lag.max(lag);
                }
            }
            Fact::Taken { item } => drop(self.wanted.insert(*item, moment.at)),
            Fact::Midnight { .. } | Fact::Ends { .. } => {
                let late = self.wanted.iter().filter(|(_, since)| **since < moment.at);
                let late = late.filter_map(|(id, since)| Some((*id, self.too_late(&self.items[id], *since, moment.at, "is not there")?)));
                for (item, what) in late.collect::<Vec<_>>() {
                    wrong.push(what);
                    self.wanted.remove(&item);
                }
            }
            _ => {}
        }
    }
}
