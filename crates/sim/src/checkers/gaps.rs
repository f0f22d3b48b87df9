//! Promise 4: nothing is lost, no gap has two owners; and in the end everything that can be there is.
//!
//! An owner is whoever may still do something for a gap: from the moment its attempt was picked until its result is
//! recorded, or until the successor of its dead engine has ended it.

use std::collections::{BTreeSet, HashMap};

use adce_core::ids::{AttemptId, GapId};
use adce_core::record::Change;

use crate::facts::{Checker, Fact, Moment, Wrong};

#[derive(Default)]
pub struct Gaps {
    owner: HashMap<GapId, AttemptId>,
    /// Opened and not closed, as far as anybody was told; after a crash, as far as it was durable.
    open: BTreeSet<GapId>,
}

impl Checker for Gaps {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        let mut is_wrong = |what: String| wrong.push(Wrong { checker: "gaps", at: moment.at, what });
        match fact {
            Fact::Picked { start } => {
                for gap in &start.gaps {
                    if let Some(owner) = self.owner.insert(gap.id, start.attempt) {
                        is_wrong(format!("{} ({:?}) is given to {} while {owner} has it", gap.key, gap.id, start.attempt));
                    }
                }
            }
            Fact::Began { attempt, gaps } => {
                for gap in *gaps {
                    if self.owner.get(gap) != Some(attempt) {
                        is_wrong(format!("{attempt} begins to work on {gap:?}, which is not its"));
                    }
                }
            }
            Fact::Ended { attempt, .. } => self.owner.retain(|_, owner| owner != attempt),
            Fact::Decided { changes } => {
                for change in *changes {
                    match change {
                        Change::PutGap(gap) => drop(self.open.insert(gap.id)),
                        Change::CloseGap { gap, .. } => drop(self.open.remove(gap)),
                        _ => {}
                    }
                }
            }
            Fact::Restarted { disk, .. } => {
                self.owner.clear();
                self.open = disk.gaps.keys().copied().collect();
            }
            Fact::Reconciled { expected, open } => {
                let (expected, open) = (BTreeSet::from_iter(expected.iter().copied()), BTreeSet::from_iter(open.iter().copied()));
                let lost: Vec<_> = self.open.union(&expected).filter(|gap| !open.contains(gap)).collect();
                let extra: Vec<_> = open.iter().filter(|gap| !expected.contains(gap)).collect();
                if !lost.is_empty() || !extra.is_empty() {
                    is_wrong(format!("after a cycle: lost {lost:?}, not expected {extra:?}"));
                }
            }
            Fact::Ends { left } if !left.is_empty() => {
                is_wrong(format!("{} items did not converge: {:?}", left.len(), &left[..left.len().min(5)]));
            }
            _ => {}
        }
    }
}
