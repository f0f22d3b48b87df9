//! The promises, each watched by something written from the design alone that does not call the code it watches.
//!
//! A checker that shared code with what it checks would share its mistakes. So these count by looking at everything
//! again each time, slowly and plainly; `tests/red.rs` shows each of them go red when a bug is put back.

mod breakers;
mod closed;
mod converging;
mod demand;
mod gaps;
mod holding;
mod lessons;
mod limits;
mod looks;
mod months;
mod order;
mod pauses;
mod pick;
mod quota;
mod starving;
mod useful;
mod waiting;
mod windows;

use crate::facts::Checker;
use crate::scenario::Scenario;

pub fn all(scenario: &Scenario) -> Vec<Box<dyn Checker>> {
    let mut checkers: Vec<Box<dyn Checker>> = vec![
        Box::new(windows::Windows::new(scenario)),
        Box::new(pauses::Pauses::new(scenario)),
        Box::new(gaps::Gaps::default()),
        Box::new(looks::Looks::new(scenario)),
        Box::new(quota::Quota::new(scenario)),
        Box::new(waiting::Waiting::default()),
    ];
    // Tens of thousands of requests of one kind: what is worth knowing there is how many.
    if !scenario.endless {
        checkers.push(Box::new(pick::Picks::new(scenario)));
    }
    if scenario.hours > 48 && !scenario.endless {
        checkers.extend(of_years(scenario));
    }
    checkers
}

/// What days cannot show: starving, converging, flat memory; and the table of the months.
pub fn of_years(scenario: &Scenario) -> Vec<Box<dyn Checker>> {
    let months = months::Months::default();
    vec![
        Box::new(starving::Starving::new(scenario, months.clone())),
        Box::new(converging::Converging::new(scenario, months.clone())),
        Box::new(holding::Holding::new(scenario, months.clone())),
        Box::new(months),
    ]
}
