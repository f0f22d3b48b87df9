//! Promise 2 at the upstream's side: no window, sliding or fixed, ever sees more than its limit.
//!
//! It knows arrival instants and limits, and nothing of permits. Sliding windows include both ends; fixed ones begin at
//! an instant of the upstream's own, not at ours.

use std::collections::{HashMap, VecDeque};

use adce_core::spec::{Limits, Window};

use crate::facts::{Checker, Fact, Moment, Wrong};
use crate::scenario::{MINUTE, Micros, Scenario, Value};

pub struct Windows {
    sources: Vec<Vec<Seen>>,
    /// By source and value: those that each value has for itself.
    values: HashMap<(usize, Option<Value>), Vec<Seen>>,
    each: Vec<Option<Limits>>,
    together: Vec<Seen>,
}

/// One declared window, as the upstream that enforces it counts.
struct Seen {
    of: String,
    window: Window,
    span: Micros,
    /// Within the last span.
    arrivals: VecDeque<Micros>,
    fixed_begins: Micros,
    fixed: u32,
}

impl Windows {
    pub fn new(scenario: &Scenario) -> Self {
        Windows {
            sources: scenario.sources.iter().map(|source| seen(&source.name, &source.limits)).collect(),
            values: HashMap::new(),
            each: scenario.sources.iter().map(|source| source.each.clone()).collect(),
            together: seen("all sources", &scenario.together),
        }
    }
}

fn seen(of: &str, limits: &Limits) -> Vec<Seen> {
    let one = |window: &Window| Seen {
        of: of.into(),
        window: *window,
        span: window.span.as_micros() as Micros,
        arrivals: VecDeque::new(),
        fixed_begins: 0,
        fixed: 0,
    };
    limits.windows.iter().map(one).collect()
}

impl Seen {
    fn arrive(&mut self, at: Micros, wrong: &mut Vec<Wrong>) {
        self.arrivals.push_back(at);
        while self.arrivals.front().is_some_and(|first| first + self.span < at) {
            self.arrivals.pop_front();
        }
        // Somewhere within the span, the same place every time.
        let phase = self.span / 3;
        let begins = (at + phase) / self.span;
        if begins != self.fixed_begins {
            (self.fixed_begins, self.fixed) = (begins, 0);
        }
        self.fixed += 1;
        for (kind, count) in [("sliding", self.arrivals.len() as u32), ("fixed", self.fixed)] {
            if count > self.window.requests {
                let what = format!("{}: {count} in a {kind} `{}: {}`", self.of, self.window.key(), self.window.requests);
                wrong.push(Wrong { checker: "windows", at, what });
            }
        }
    }
}

impl Checker for Windows {
    fn see(&mut self, moment: Moment, fact: &Fact<'_>, wrong: &mut Vec<Wrong>) {
        let Fact::Arrived { source, alone, value } = *fact else { return };
        let each = self.each[source].as_ref();
        let own = each.map(|each| self.values.entry((source, value)).or_insert_with(|| seen(&format!("value {value:?}"), each)));
        for seen in self.sources[source].iter_mut().chain(&mut self.together).chain(own.into_iter().flatten()) {
            // Shorter windows cannot be enforced inside a command that is charged ahead.
            if alone || seen.span >= MINUTE {
                seen.arrive(moment.at, wrong);
            }
        }
    }
}
