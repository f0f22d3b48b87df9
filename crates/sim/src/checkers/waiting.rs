//! How long anything waited that could have been tried: reported, so that starving shows.

use std::collections::HashMap;

use adce_core::ids::TaskId;
use adce_core::record::Change;

use crate::facts::{Checker, Fact, Figures, Moment, Wrong};
use crate::scenario::{Micros, Scenario};

#[derive(Default)]
pub struct Waiting {
    /// Queued tasks, and since when each is ready.
    since: HashMap<TaskId, Micros>,
    longest: Option<(Micros, String)>,
}

impl Checker for Waiting {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, _wrong: &mut Vec<Wrong>) {
        match fact {
            Fact::Decided { changes } => {
                for change in *changes {
                    match change {
                        Change::PutTask(task) => {
                            let later = task.ready_at.map_or(0, |at| at.duration_since(moment.now.wall).as_micros().max(0));
                            let ready = moment.at + later as Micros;
                            let since = self.since.entry(task.id).or_insert(ready);
                            *since = if later > 0 { ready } else { *since };
                        }
                        Change::RemoveTask(task) => drop(self.since.remove(task)),
                        _ => {}
                    }
                }
            }
            Fact::Picked { start } => {
                let waited = self.since.remove(&start.task.id).map_or(0, |since| moment.at.saturating_sub(since));
                if self.longest.as_ref().is_none_or(|(longest, _)| waited > *longest) {
                    self.longest = Some((waited, start.task.key.clone()));
                }
            }
            Fact::Crashed => self.since.clear(),
            _ => {}
        }
    }

    fn figures(&self, _scenario: &Scenario, figures: &mut Figures) {
        figures.longest_wait = self.longest.clone();
    }
}
