//! The score of DESIGN and FACE, once more: (base + min(age_multiplier × age_h, age_cap)) × importance × size × success,
//! in whole micro-points; then oldest detected_at, later due, key.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use adce_core::gap::Task;
use adce_core::spec::{SizeBound, Weighting};
use adce_core::time::Timestamp;

use crate::scenario::Scenario;

/// Greater is better.
pub type Rank = (i128, Reverse<(Timestamp, Reverse<Option<Timestamp>>, String)>);

const MICRO: f64 = 1e6;
const MICROS_AN_HOUR: i128 = 3_600_000_000;

pub struct Order {
    weighting: Weighting,
    importance: HashMap<String, f64>,
    /// By collector: did each of its last attempts fill something?
    attempts: HashMap<String, VecDeque<bool>>,
}

impl Order {
    pub fn new(scenario: &Scenario) -> Self {
        Order {
            weighting: Weighting { enabled: scenario.weighted, ..Weighting::default() },
            importance: scenario.sources.iter().map(|source| (source.name.clone(), source.importance)).collect(),
            attempts: HashMap::new(),
        }
    }

    pub fn restart(&mut self, success: &HashMap<String, Vec<bool>>) {
        self.attempts = success.iter().map(|(name, attempts)| (name.clone(), attempts.iter().copied().collect())).collect();
    }

    pub fn attempted(&mut self, collector: &str, filled: bool) {
        let attempts = self.attempts.entry(collector.into()).or_default();
        attempts.push_back(filled);
        if attempts.len() > 50 {
            attempts.pop_front();
        }
    }

    pub fn rank(&self, task: &Task, wall: Timestamp) -> Rank {
        (self.score(task, wall), Reverse((task.detected_at, Reverse(task.due), task.key.clone())))
    }

    fn score(&self, task: &Task, wall: Timestamp) -> i128 {
        let weighting = &self.weighting;
        if !weighting.enabled {
            return task.priority as i128;
        }
        let micro = |points: f64| (points * MICRO).round() as i128;
        let age = i128::from(wall.duration_since(task.detected_at).as_micros().max(0) as i64);
        let age_points = (age * micro(weighting.age_multiplier) / MICROS_AN_HOUR).min(micro(weighting.age_cap));
        let points = micro(weighting.base_scores.of(task.priority)) + age_points;
        let importance = task.source.as_ref().map_or(1.0, |source| self.importance[source]);
        points * micro(importance) * micro(self.size(task)) * micro(self.success(&task.collector)) / micro(1.0).pow(3)
    }

    fn size(&self, task: &Task) -> f64 {
        let gaps = task.gaps.len() as u32;
        let band = self.weighting.task_size.iter().find(|band| match band.bound {
            SizeBound::Below(bound) => gaps < bound,
            SizeBound::Above(bound) => gaps > bound,
        });
        band.map_or(1.0, |band| band.multiplier)
    }

    fn success(&self, collector: &str) -> f64 {
        let Some(attempts) = self.attempts.get(collector).filter(|attempts| attempts.len() >= 10) else { return 1.0 };
        let share = attempts.iter().filter(|filled| **filled).count() as f64 / attempts.len() as f64;
        if share < self.weighting.success_below { self.weighting.success_multiplier } else { 1.0 }
    }
}
