//! Simulated worlds: the real dispatcher, limiter and retry rules on a virtual clock, with upstreams that have limits
//! and moods, an engine that is killed at any moment, and checkers that know only the promises.
//!
//! A day of engine time runs in well under a second, and everything about it comes from one number: `adce-sim --seed N`
//! shows the same world again, `--print` writes it down as text that can be cut down by hand. Nothing of this is
//! shipped.
//!
//! What is simulated is the state machine and its surroundings; files, sockets and processes are not. They have their
//! own tests, and the crash harness of the binary.

pub mod attempts;
pub mod checkers;
pub mod clocks;
pub mod dice;
pub mod disk;
pub mod engine;
pub mod facts;
pub mod invent;
pub mod items;
pub mod memory;
pub mod rules;
pub mod scenario;
pub mod scenario_text;
pub mod table;
pub mod upstream;
pub mod world;
pub mod year;

use scenario::Scenario;
use world::{Sabotage, Verdict, World};

/// Lives through a scenario, with all checkers watching.
pub fn simulate(scenario: Scenario) -> Verdict {
    let checkers = checkers::all(&scenario);
    World::new(scenario, checkers).run()
}

/// The same with a bug in it: some checker has to notice.
pub fn simulate_sabotaged(scenario: Scenario, sabotage: Sabotage) -> Verdict {
    let checkers = checkers::all(&scenario);
    World::new(scenario, checkers).sabotaged(sabotage).run()
}
