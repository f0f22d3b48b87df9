//! Memory is flat: what an engine holds belongs to what is open, to what is under way, and to what windows still see. It
//! does not grow with the time that the engine has been running, or with what has passed through it.
//!
//! Its own counts are of gaps that were opened and not closed, requests of the last days, and the config; each figure of
//! the engine's census is held against those.

use std::collections::{BTreeSet, VecDeque};

use adce_core::ids::GapId;
use adce_core::queue::{Census, Charge};
use adce_core::record::Change;

use super::months::Months;
use crate::facts::{Checker, Fact, Held, Moment, Wrong};
use crate::scenario::{DAY, Micros, Scenario};

pub struct Holding {
    open: BTreeSet<GapId>,
    most_open: usize,
    /// When requests were sent or charged in the last three days, and how many at once.
    requests: VecDeque<(Micros, usize)>,
    /// When the history got how many more lines, in the last quarter of a year.
    history: VecDeque<(Micros, usize)>,
    slots: usize,
    sources: usize,
    collectors: usize,
    /// Of windows: for everybody, and for each priority with a share.
    ledgers: usize,
    kinds_of_tasks: usize,
    months: Months,
}

/// The longest window is a day; what it sees no more is forgotten when something else settles.
const SEEN_FOR: Micros = 3 * DAY;

/// After so long the store drops a line of the history.
const HISTORY: Micros = 90 * DAY;

impl Holding {
    pub fn new(scenario: &Scenario, months: Months) -> Self {
        let batches = scenario.datasets.iter().map(|dataset| scenario.collectors[dataset.collector].batch as usize);
        Holding {
            open: BTreeSet::new(),
            most_open: 0,
            requests: VecDeque::new(),
            history: VecDeque::new(),
            slots: scenario.slots as usize,
            sources: scenario.sources.len(),
            collectors: scenario.collectors.len(),
            ledgers: 2 * (1 + scenario.reserve.shares().count()),
            // Of each size, as low as it gets or as high as it is said to be.
            kinds_of_tasks: batches.map(|batch| 2 * (batch + 1)).sum(),
            months,
        }
    }

    fn sent(&mut self, at: Micros, requests: usize) {
        self.requests.push_back((at, requests));
        while self.requests.front().is_some_and(|(sent, _)| sent + SEEN_FOR < at) {
            self.requests.pop_front();
        }
    }

    fn noted(&mut self, at: Micros, lines: usize) {
        self.history.push_back((at, lines));
        while self.history.front().is_some_and(|(noted, _)| noted + HISTORY < at) {
            self.history.pop_front();
        }
    }

    fn look(&self, held: Held) -> Vec<(&'static str, usize, usize)> {
        let Census { gaps, tasks, places, buckets, with_room, classes, families, ready, delayed, .. } = held.census;
        let Census { passes, running, waiters, permits, reservations, fading, marks, outcomes, waits, .. } = held.census;
        let open = self.open.len();
        let requests: usize = self.requests.iter().map(|(_, requests)| requests).sum();
        // An attempt has a few requests under way at most, and each is known in two or three places.
        let under_way = 2 * self.slots * 8 + 64;
        vec![
            ("gaps", gaps, open),
            ("tasks", tasks, open),
            ("places", places, 2 * self.most_open),
            ("buckets", buckets, 2 * open + 128),
            ("tasks with room", with_room, tasks),
            ("classes", classes, 4 * self.kinds_of_tasks),
            ("families of classes", families, 4 * self.kinds_of_tasks),
            ("tasks ready or delayed", ready + delayed, tasks),
            ("passes", passes, 4 * tasks + 64),
            ("running attempts", running, 2 * self.slots),
            ("waiting requests", waiters, 2 * self.slots),
            ("permits", permits, 3 * under_way),
            ("reservations", reservations, under_way + 4 * self.sources),
            ("fading reservations", fading, requests + 64),
            ("marks", marks, 2 * self.ledgers * requests + 64),
            // The latest 32 answers of a source; and of a collector the latest 32 turns and what as many attempts made of their task.
            ("outcomes", outcomes, (31 + 32) * self.sources + (50 + 2 * 32 + open) * self.collectors),
            // At most 256 marks in a family of classes and 64 in a class, and what a few tasks bring along from another.
            ("marks of waits", waits, 257 * families + 65 * classes + tasks),
            ("what surrounds it", held.surroundings, under_way),
            ("bytes", held.bytes, 4_096 * (open + requests) + (256 << 10)),
        ]
    }
}

impl Checker for Holding {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        let at = moment.at;
        match fact {
            Fact::Decided { changes } => {
                for change in *changes {
                    match change {
                        Change::PutGap(gap) => drop(self.open.insert(gap.id)),
                        Change::CloseGap { gap, .. } => drop(self.open.remove(gap)),
                        _ => {}
                    }
                    if matches!(change, Change::Finish(_) | Change::Event(_) | Change::CloseGap { .. }) {
                        self.noted(at, 1);
                    }
                }
                self.most_open = self.most_open.max(self.open.len());
            }
            Fact::Picked { start } => {
                self.months.at(moment).attempts += 1;
                if let Charge::Ahead(requests) = start.charge {
                    self.sent(at, requests as usize);
                }
            }
            Fact::Sent { .. } => self.sent(at, 1),
            Fact::Arrived { .. } => self.months.at(moment).requests += 1,
            Fact::Restarted { disk, .. } => self.open = disk.gaps.keys().copied().collect(),
            Fact::Midnight { held } => {
                let exceeded = wrong.iter().filter(|wrong| wrong.checker == "windows").count();
                let lines = self.history.iter().map(|(_, lines)| lines).sum();
                self.months.is_now(moment, self.open.len(), *held, lines, exceeded);
                for (what, held, most) in held.iter().flat_map(|held| self.look(*held)) {
                    if held > most {
                        let what = format!("the engine holds {held} {what}, {most} at most ({} gaps are open)", self.open.len());
                        wrong.push(Wrong { checker: "holding", at, what });
                    }
                }
            }
            _ => {}
        }
    }
}
