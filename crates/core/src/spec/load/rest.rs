//! `engine` and `priority_weighting`.

use super::Loader;
use crate::spec::raw::RawSurprise;
use crate::spec::{BaseScores, Engine, SizeBand, SizeBound, Surprise, Weighting};

/// Each attempt holds a thread while it runs, and another may hold one while it publishes.
const SLOTS_AT_MOST: u32 = 1_000;

fn surprise(raw: &RawSurprise) -> Surprise {
    let default = Surprise::default();
    match raw {
        RawSurprise::Word(items) => Surprise { items_permille: items.value.permille, ..default },
        RawSurprise::Map(raw) => Surprise {
            items_permille: raw.items.as_ref().map_or(default.items_permille, |given| given.value.permille),
            lost_permille: raw.lost.as_ref().map_or(default.lost_permille, |given| given.value.permille),
            at_least: raw.at_least.as_ref().map_or(default.at_least, |given| u64::from(given.value.0)),
        },
    }
}

/// Names of the bands that are there without being asked for, in the order of [`Weighting::default`].
const BANDS: [&str; 3] = ["small", "medium", "large"];

impl Loader<'_> {
    pub(super) fn engine(&mut self) -> Engine {
        let default = Engine::default();
        let Some(raw) = self.raw.engine.as_ref() else { return default };
        if let Some(slots) = raw.max_concurrent.as_ref().filter(|slots| slots.value.0 > SLOTS_AT_MOST) {
            let message = format!("`engine.max_concurrent`: expected at most {SLOTS_AT_MOST}, found `{}`", slots.value.0);
            self.error_with(&slots.at, message, "what an upstream is asked at once is set by its source's `limits`");
        }
        Engine {
            max_concurrent: raw.max_concurrent.as_ref().map_or(default.max_concurrent, |given| given.value.0),
            reconcile_every: raw.reconcile_every.as_ref().map_or(default.reconcile_every, |given| given.value.0),
            surprise: raw.surprise.as_ref().map_or(default.surprise, surprise),
        }
    }

    pub(super) fn weighting(&mut self) -> Weighting {
        let default = Weighting::default();
        let Some(raw) = self.raw.priority_weighting.as_ref() else { return default };
        let base = default.base_scores;
        let base_scores = raw.base_scores.as_ref().map_or(base, |raw| BaseScores {
            critical: raw.critical.as_ref().map_or(base.critical, |given| given.value.0),
            high: raw.high.as_ref().map_or(base.high, |given| given.value.0),
            medium: raw.medium.as_ref().map_or(base.medium, |given| given.value.0),
            low: raw.low.as_ref().map_or(base.low, |given| given.value.0),
        });
        let below = raw.success_rate.as_ref().and_then(|rate| rate.below.as_ref());
        if let Some(below) = below.filter(|below| below.value.0 > 1.0) {
            let message = format!("`priority_weighting.success_rate.below`: expected a share from 0 to 1, found `{}`", below.value.0);
            self.error_with(&below.at, message, "half of all attempts is `0.5`");
        }
        Weighting {
            enabled: raw.enabled.as_ref().map_or(default.enabled, |given| given.value),
            base_scores,
            age_multiplier: raw.age_multiplier.as_ref().map_or(default.age_multiplier, |given| given.value.0),
            age_cap: raw.age_cap.as_ref().map_or(default.age_cap, |given| given.value.0),
            task_size: self.size_bands(default.task_size),
            success_below: below.map_or(default.success_below, |given| given.value.0),
            success_multiplier: raw
                .success_rate
                .as_ref()
                .and_then(|rate| rate.multiplier.as_ref())
                .map_or(default.success_multiplier, |given| given.value.0),
        }
    }

    /// The default bands with the config's on top, the narrowest first.
    fn size_bands(&mut self, defaults: Vec<SizeBand>) -> Vec<SizeBand> {
        let mut bands: Vec<(&str, SizeBand)> = BANDS.into_iter().zip(defaults).collect();
        let given = self.raw.priority_weighting.as_ref().and_then(|raw| raw.task_size.as_ref());
        for (name, raw) in super::entries(given) {
            let Some(raw) = raw else { continue };
            let bound = match (&raw.below, &raw.above) {
                (Some(below), None) => SizeBound::Below(below.value.0),
                (None, Some(above)) => SizeBound::Above(above.value.0),
                _ => {
                    let message = format!("`priority_weighting.task_size.{}`: expected one of `below` and `above`", name.text);
                    self.error(&name.at, message);
                    continue;
                }
            };
            let Some(multiplier) = raw.multiplier.0.as_ref().map(|given| given.value.0) else { continue };
            let band = SizeBand { bound, multiplier };
            match bands.iter_mut().find(|(known, _)| *known == name.text) {
                Some((_, known)) => *known = band,
                None => bands.push((&name.text, band)),
            }
        }
        let mut bands: Vec<SizeBand> = bands.into_iter().map(|(_, band)| band).collect();
        bands.sort_by_key(|band| match band.bound {
            SizeBound::Below(size) => (0, size),
            SizeBound::Above(size) => (1, u32::MAX - size),
        });
        bands
    }
}
