//! `engine` and `priority_weighting`.

use std::time::Duration;

use super::Loader;
use crate::protect::Protect;
use crate::spec::decode::Given;
use crate::spec::problem::Problem;
use crate::spec::raw::{RawCaps, RawReserve, RawRetention, RawSurprise};
use crate::spec::units::Span;
use crate::spec::{BaseScores, Caps, Engine, PriorityLevel, Reserve, Retention, SizeBand, SizeBound, Surprise, Weighting};

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

fn retention(raw: Option<&RawRetention>, default: Retention) -> Retention {
    let Some(raw) = raw else { return default };
    Retention {
        age: raw.keep.as_ref().map_or(default.age, |given| given.value.0),
        bytes: raw.size.as_ref().map_or(default.bytes, |given| given.value.0),
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
        let slots = raw.max_concurrent.as_ref().map_or(default.max_concurrent, |given| given.value.0);
        Engine {
            max_concurrent: slots,
            reconcile_every: raw.reconcile_every.as_ref().map_or(default.reconcile_every, |given| given.value.0),
            surprise: raw.surprise.as_ref().map_or(default.surprise, surprise),
            reserve: raw.reserve.as_ref().map_or(default.reserve, |raw| self.reserve(raw, slots)),
            tasks_per_cycle: raw.tasks_per_cycle.as_ref().map_or(default.tasks_per_cycle, |raw| self.caps(raw)),
            task_ttl: raw.task_ttl.as_ref().and_then(|given| self.task_ttl(given)),
            drain: raw.drain.as_ref().map_or(default.drain, |given| given.value.0),
            protect: raw.protect.as_ref().map_or(default.protect, |raw| Protect {
                disk: raw.disk.as_ref().map(|given| given.value.0),
                memory: raw.memory.as_ref().map(|given| given.value.0),
                cpu_permille: raw.cpu.as_ref().map(|given| given.value.permille),
            }),
            history: retention(raw.history.as_ref(), default.history),
            logs: retention(raw.logs.as_ref(), default.logs),
        }
    }

    fn caps(&mut self, raw: &RawCaps) -> Caps {
        let given = [
            (PriorityLevel::Critical, &raw.critical),
            (PriorityLevel::High, &raw.high),
            (PriorityLevel::Medium, &raw.medium),
            (PriorityLevel::Low, &raw.low),
        ];
        let all = raw.all.as_ref().map(|given| given.value.0);
        let mut caps = all.map_or(Caps::default(), |tasks| Caps::default().with(None, tasks));
        for (priority, given) in given {
            let Some(given) = given else { continue };
            caps = caps.with(Some(priority), given.value.0);
            if let Some(all) = all.filter(|all| given.value.0 > *all) {
                let message = format!("`engine.tasks_per_cycle.{}`: never reached, because `all` is {all}", priority.word());
                self.problems.push(Problem::warning(&given.at, message));
            }
        }
        caps
    }

    fn task_ttl(&mut self, given: &Given<Span>) -> Option<Duration> {
        if given.value.0.is_zero() {
            let hint = "leave it out if no task is to end before it has started, or write `task_ttl: 6h`";
            self.error_with(&given.at, "`engine.task_ttl`: with `0` no task would ever start", hint);
            return None;
        }
        Some(given.value.0)
    }

    /// Something has to be left for everybody else, of the slots too.
    fn reserve(&mut self, raw: &RawReserve, slots: u32) -> Reserve {
        let given = [
            (PriorityLevel::Critical, &raw.critical),
            (PriorityLevel::High, &raw.high),
            (PriorityLevel::Medium, &raw.medium),
            (PriorityLevel::Low, &raw.low),
        ];
        let mut reserve = Reserve::default();
        let (mut sum, mut last) = (0, None);
        for (priority, given) in given {
            let Some(given) = given else { continue };
            reserve = reserve.with(priority, given.value.permille);
            sum += given.value.permille;
            last = Some((priority, given));
        }
        let Some((priority, given)) = last else { return reserve };
        let in_slots: u32 = reserve.shares().map(|(priority, _)| reserve.of_slots(priority, slots)).sum();
        let what = format!("`engine.reserve.{}`", priority.word());
        if sum >= Reserve::WHOLE {
            let (sum, rest) = (sum / 10, sum % 10);
            let sum = if rest > 0 { format!("{sum}.{rest}") } else { sum.to_string() };
            let message = format!("{what}: {sum} % are set aside in all, and nothing is left for other tasks");
            self.error_with(&given.at, message, "all shares together must be less than 100 %: `reserve: { critical: 20% }`");
        } else if in_slots >= slots {
            let message = format!("{what}: rounded up, {in_slots} of {slots} slots are set aside, and none is left for other tasks");
            self.error_with(&given.at, message, "raise `engine.max_concurrent`, or set less aside");
        }
        reserve
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
