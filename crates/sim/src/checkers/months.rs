//! A year as a table, a line a month: what the checkers that watch it write down beside what they check.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;

use adce_core::spec::PriorityLevel;

use crate::clocks::BEGIN;
use crate::facts::{Checker, Fact, Figures, Held, Moment, Month, Wrong};
use crate::scenario::{DAY, Micros, Scenario};

/// Twelve of them are a year.
const A_MONTH: Micros = 365 * DAY / 12;

#[derive(Clone, Default)]
pub struct Months(Rc<RefCell<Vec<Month>>>);

impl Months {
    pub fn at(&self, moment: Moment) -> RefMut<'_, Month> {
        let number = (moment.at.saturating_sub(BEGIN + 1) / A_MONTH) as usize;
        let mut months = self.0.borrow_mut();
        if months.len() <= number {
            months.resize(number + 1, Month::default());
        }
        RefMut::map(months, |months| &mut months[number])
    }

    pub fn waited(&self, moment: Moment, priority: PriorityLevel, waited: Micros) {
        let longest = &mut self.at(moment).longest_wait[priority as usize];
        *longest = waited.max(*longest);
    }

    /// The last look of a month stays.
    pub fn is_now(&self, moment: Moment, open: usize, held: Option<Held>, history: usize, exceeded: usize) {
        let mut month = self.at(moment);
        month.open = open;
        month.most_open = month.most_open.max(open);
        month.held = held.or(month.held);
        month.history = history;
        month.exceeded = exceeded;
        month.resident = crate::memory::resident();
    }
}

impl Checker for Months {
    fn see(&mut self, _moment: Moment, _fact: &Fact<'_>, _wrong: &mut Vec<Wrong>) {}

    fn figures(&self, _scenario: &Scenario, figures: &mut Figures) {
        figures.months = self.0.borrow().clone();
    }
}
