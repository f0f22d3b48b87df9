//! A config that is edited while an engine runs by it: what can be in force at once is, and the rest is named.
//!
//! Without it the order of a backfill of days could only be changed by ending it. `priority_weighting` is in force at once;
//! everything else is read by an engine when it starts.
//!
//! Always true: nothing of an edition with an error in it is in force, and each edition is told of once
//! (`a_config_that_is_edited_while_it_runs_changes_the_order_at_once`). A file that is still being written is left alone until
//! it has stayed the same from one look to the next.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use adce_core::ports::Clock;
use adce_core::spec::Weighting;
use adce_engine::{Edited, Handle};
use tokio::time::MissedTickBehavior;

use crate::clock::MachineClock;
use crate::commands::check::expand_draft;
use crate::config::Written;

/// A `stat` of each file.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

const IN_FORCE_AT_ONCE: &str = "priority_weighting";

/// Tells the engine of each edition. `started_with`: by these files it was started, and so scores by `weighting`.
pub async fn follow(started_with: Written, weighting: Weighting, engine: Handle) {
    let mut edits =
        Edits { stamps: Stamps::default(), latest: Some(started_with.clone()), weighed_by: started_with.clone(), started_with, weighting };
    let mut looks = tokio::time::interval(BETWEEN_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let stamps = stamps_of(edits.started_with.paths());
        if !edits.stamps.have_come_to_rest(stamps) {
            continue;
        }
        // Off the runtime's threads: tables are read, too.
        let read = tokio::task::spawn_blocking(move || {
            let news = edits.read();
            (edits, news)
        });
        // Whoever panicked has said so; the engine goes on by what it has.
        let Ok((again, news)) = read.await else { return };
        edits = again;
        if let Some((edited, weighting)) = news {
            engine.config_edited(edited, weighting);
        }
    }
}

struct Edits {
    stamps: Stamps,
    started_with: Written,
    /// The latest edition without errors, and what it made the engine score by.
    weighed_by: Written,
    weighting: Weighting,
    /// As last read; `None`: it could not be.
    latest: Option<Written>,
}

impl Edits {
    /// What is to be told of the files as they are now, and the weights that are to be in force. `None`: nothing new.
    fn read(&mut self) -> Option<(Edited, Option<Weighting>)> {
        let now = MachineClock.now().wall;
        let written = match Written::read(self.started_with.paths()) {
            Ok(written) => written,
            Err(failure) => {
                let is_news = self.latest.take().is_some();
                return is_news.then(|| (Edited { at: now, errors: vec![failure.to_string()], ..Edited::default() }, None));
            }
        };
        if self.latest.as_ref().is_some_and(|latest| latest.is_same_text(&written)) {
            return None;
        }
        self.latest = Some(written.clone());
        let is_weighting = |part: &String| part.split('.').next() == Some(IN_FORCE_AT_ONCE);
        let at_next_start: Vec<String> =
            written.differences_from(&self.started_with).into_iter().filter(|part| !is_weighting(part)).collect();
        let mut loaded = written.load();
        if !at_next_start.is_empty() {
            // What else it says is what the engine expands with every cycle.
            expand_draft(&mut loaded, now);
        }
        let spec = match loaded.spec() {
            Ok(spec) => spec,
            Err(problems) => {
                let errors = problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect();
                return Some((Edited { at: now, errors, ..Edited::default() }, None));
            }
        };
        let mut edited = Edited { at: now, at_next_start, ..Edited::default() };
        let weighting = (spec.weighting != self.weighting).then(|| spec.weighting.clone());
        if weighting.is_some() {
            edited.applied = written.differences_from(&self.weighed_by).into_iter().filter(is_weighting).collect();
            self.weighting = spec.weighting;
        }
        self.weighed_by = written;
        Some((edited, weighting))
    }
}

/// What a `stat` tells of a file; `None`: it is not there.
pub type Stamp = Option<(SystemTime, u64, u64)>;

pub fn stamps_of(paths: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    };
    paths.iter().map(stamp).collect()
}

#[derive(Default)]
pub struct Stamps {
    seen: Vec<Stamp>,
    read_at: Vec<Stamp>,
}

impl Stamps {
    /// Of files that are read as they are now.
    pub fn read(now: Vec<Stamp>) -> Self {
        Stamps { seen: now.clone(), read_at: now }
    }

    /// The files have changed since they were read, and are the same as at the last look.
    pub fn have_come_to_rest(&mut self, now: Vec<Stamp>) -> bool {
        let rest = now != self.read_at && now == self.seen;
        if rest {
            self.read_at.clone_from(&now);
        }
        self.seen = now;
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_it_has_stayed_the_same_and_then_not_again() {
        let at = |size: u64| vec![Some((SystemTime::UNIX_EPOCH, size, 7))];
        let looks = [at(1), at(1), at(1), at(2), at(3), vec![None], at(4), at(4), at(4), vec![None], vec![None]];
        let mut stamps = Stamps::default();
        let read: Vec<bool> = looks.into_iter().map(|look| stamps.have_come_to_rest(look)).collect();
        assert_eq!(read, [false, true, false, false, false, false, false, true, false, false, true]);
    }
}
