//! A world: one virtual machine with the real dispatcher, limiter and retry rules on it, upstreams around it, and one
//! queue of things that will happen.
//!
//! Everything comes from the scenario and its seed. Time jumps from one event to the next, so a day takes as long as its
//! events do. The engine's side of the world is in `engine`; here is what happens to it: time, crashes, clock jumps.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Answer, Settlement};
use adce_core::queue::Rules;
use adce_core::record::{Change, Remembered};

use crate::clocks::{BEGIN, Clocks};
use crate::dice::Dice;
use crate::disk::Disk;
use crate::engine::{Engine, EngineEvent};
use crate::facts::{Checker, Fact, Figures, Moment, Wrong};
use crate::items::Items;
use crate::scenario::{CrashKind, DAY, HOUR, Micros, Scenario, Value};
use crate::upstream::LINGER;

/// A bug put into a world on purpose, to see which checker notices. The default changes nothing.
#[derive(Clone, Copy)]
pub struct Sabotage {
    /// What the dispatcher believes of the config.
    pub rules: fn(&mut Rules),
    /// What a new engine finds on the disk.
    pub remembered: fn(&mut Remembered),
    /// What the dispatcher hears of an answer.
    pub answer: fn(Answer) -> Answer,
    /// What becomes durable of what was decided.
    pub keeps: fn(&Change) -> bool,
    pub slots: SlotNews,
    /// Whether the dispatcher hears that a request is over which ended like this.
    pub settles: fn(Settlement) -> bool,
    /// Whether the dispatcher hears of full looks.
    pub looks: bool,
}

/// When the dispatcher hears that an attempt only publishes from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotNews {
    WhenCollected,
    AtTheBeginning,
    Never,
}

impl Default for Sabotage {
    fn default() -> Self {
        Sabotage {
            rules: |_| {},
            remembered: |_| {},
            answer: |answer| answer,
            keeps: |_| true,
            slots: SlotNews::WhenCollected,
            settles: |_| true,
            looks: true,
        }
    }
}

/// After so many the rest says nothing new.
const ENOUGH: usize = 20;

pub struct World {
    pub scenario: Scenario,
    pub dice: Dice,
    pub at: Micros,
    pub clocks: Clocks,
    pub items: Items,
    pub disk: Disk,
    /// `None`: dead.
    pub engine: Option<Engine>,
    pub lives: Vec<Life>,
    pub sabotage: Sabotage,
    checkers: Vec<Box<dyn Checker>>,
    wrong: Vec<Wrong>,
    coming: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    scheduled: u64,
    pub attempts: u64,
    figures: Figures,
}

/// One engine process after the other; a request knows whose it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Life {
    pub crashed_at: Option<Micros>,
    /// Its successor ended all that it had left running.
    pub killed_at: Option<Micros>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Crash(usize),
    Restart(usize),
    Jump(usize),
    /// Somebody takes the object of this item away.
    Taken(usize),
    Midnight,
    Arrival(Arrival),
    Engine {
        life: usize,
        event: EngineEvent,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    pub source: usize,
    pub sent: Micros,
    pub life: usize,
    /// Sent by a process of its own, which survives the engine until the next one kills it.
    pub by_process: bool,
    pub alone: bool,
    pub value: Option<Value>,
}

/// What a run shows.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub wrong: Vec<Wrong>,
    pub figures: Figures,
}

impl World {
    pub fn new(scenario: Scenario, checkers: Vec<Box<dyn Checker>>) -> Self {
        let mut dice = Dice::new(scenario.seed);
        let items = Items::of(&scenario, &mut dice.fork());
        World {
            dice,
            at: BEGIN,
            clocks: Clocks::default(),
            items,
            disk: Disk::default(),
            engine: None,
            lives: Vec::new(),
            sabotage: Sabotage::default(),
            checkers,
            wrong: Vec::new(),
            coming: BinaryHeap::new(),
            scheduled: 0,
            attempts: 0,
            figures: Figures::default(),
            scenario,
        }
    }

    pub fn sabotaged(self, sabotage: Sabotage) -> Self {
        World { sabotage, ..self }
    }

    pub fn run(mut self) -> Verdict {
        let end = BEGIN + self.scenario.hours * HOUR;
        for (at, crash) in self.scenario.crashes.clone().iter().enumerate() {
            self.schedule(BEGIN + crash.at, Event::Crash(at));
        }
        for (at, jump) in self.scenario.jumps.clone().iter().enumerate() {
            self.schedule(BEGIN + jump.at, Event::Jump(at));
        }
        if self.scenario.hours * HOUR > DAY {
            self.schedule(self.at + DAY, Event::Midnight);
        }
        self.begin_engine();
        while let Some(Reverse((at, _, event))) = self.coming.pop() {
            if at > end || self.wrong.len() >= ENOUGH {
                break;
            }
            self.sleep_until(at);
            self.happen(event);
        }
        let left = self.what_is_left();
        self.tell(&Fact::Ends { left: &left });
        self.figures.attempts = self.attempts;
        for checker in &self.checkers {
            checker.figures(&self.scenario, &mut self.figures);
        }
        Verdict { wrong: self.wrong, figures: self.figures }
    }

    /// The engine had nothing to do up to the moment before the next event.
    fn sleep_until(&mut self, at: Micros) {
        if at > self.at + 1 && self.engine.is_some() {
            self.at = at - 1;
            self.tell(&Fact::Slept);
        }
        self.at = at;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Crash(which) => self.crash(which),
            Event::Restart(which) => {
                let crash = self.scenario.crashes[which];
                if crash.kind == CrashKind::Reboot {
                    self.clocks.reboot(self.at);
                }
                self.begin_engine();
            }
            Event::Jump(which) => {
                self.clocks.jump(self.scenario.jumps[which].by_seconds);
                self.turn();
            }
            Event::Taken(at) => {
                let item = self.items.all[at].id;
                if self.items.take(at) {
                    self.tell(&Fact::Taken { item });
                }
            }
            Event::Midnight => {
                let held = self.held();
                self.tell(&Fact::Midnight { held });
                self.schedule(self.at + DAY, Event::Midnight);
            }
            Event::Arrival(arrival) => self.arrive(arrival),
            Event::Engine { life, event } => {
                if life + 1 == self.lives.len() && self.engine.is_some() {
                    self.engine_event(event);
                }
            }
        }
    }

    fn crash(&mut self, which: usize) {
        let crash = self.scenario.crashes[which];
        match crash.kind {
            CrashKind::Stop => self.stop_engine(),
            CrashKind::Kill | CrashKind::Reboot => self.lose_engine(),
        }
        let life = self.lives.len() - 1;
        self.lives[life].crashed_at = Some(self.at);
        if crash.kind != CrashKind::Kill {
            self.lives[life].killed_at = Some(self.at);
        }
        self.tell(&Fact::Crashed);
        self.schedule(self.at + crash.dead_for, Event::Restart(which));
    }

    /// What its sender had sent when it died still arrives, but not later than `LINGER` after.
    fn arrive(&mut self, arrival: Arrival) {
        let life = self.lives[arrival.life];
        let ended = if arrival.by_process { life.killed_at } else { life.crashed_at };
        if ended.is_some_and(|ended| arrival.sent >= ended || self.at > ended + LINGER) {
            return;
        }
        self.figures.arrived += 1;
        self.tell(&Fact::Arrived { source: arrival.source, alone: arrival.alone, value: arrival.value });
    }

    pub fn schedule(&mut self, at: Micros, event: Event) {
        self.scheduled += 1;
        self.coming.push(Reverse((at.max(self.at), self.scheduled, event)));
    }

    pub fn schedule_engine(&mut self, at: Micros, event: EngineEvent) {
        let life = self.lives.len() - 1;
        self.schedule(at, Event::Engine { life, event });
    }

    pub fn moment(&self) -> Moment {
        Moment { at: self.at, now: self.clocks.now(self.at) }
    }

    pub fn tell(&mut self, fact: &Fact<'_>) {
        let moment = self.moment();
        for checker in &mut self.checkers {
            checker.see(moment, fact, &mut self.wrong);
        }
    }

    /// For what only the engine's surroundings can notice.
    pub fn is_wrong(&mut self, checker: &'static str, what: String) {
        self.wrong.push(Wrong { checker, at: self.at, what });
    }

    /// All that a checker knows at the beginning of a life.
    pub fn tell_restarted(&mut self) {
        let (disk, clocks) = (std::mem::take(&mut self.disk), self.clocks.clone());
        self.tell(&Fact::Restarted { disk: &disk, clocks: &clocks });
        self.disk = disk;
        self.figures.restarts = self.lives.len() as u64 - 1;
    }

    pub fn next_attempt(&self) -> AttemptId {
        AttemptId(Uuid::from_u128(u128::from(self.attempts) + 1))
    }
}
