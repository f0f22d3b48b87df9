//! What the dispatcher holds, counted: an engine that runs for months must hold what is open and what windows still see,
//! and nothing of what was.
//!
//! Each figure is the size of what may grow. The simulator looks at them month by month, beside what is open and what
//! was sent. Nothing is decided by them.

use super::Dispatcher;
use super::dispatcher::SourceState;
use super::values::OfValues;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub gaps: usize,
    pub tasks: usize,
    /// Places for gaps and tasks, free ones too: as many as there ever were at once.
    pub places: usize,
    /// Combinations of source, collector, priority and group.
    pub buckets: usize,
    /// Tasks that may be topped up.
    pub with_room: usize,
    /// Gaps whose task has ended by `task_ttl`.
    pub stood_back: usize,
    pub classes: usize,
    /// Classes but for their values, those that nothing is in any more, too.
    pub families: usize,
    pub ready: usize,
    pub delayed: usize,
    /// What is known of who was passed.
    pub passes: usize,
    /// With guests.
    pub running: usize,
    /// Requests that wait.
    pub waiters: usize,
    /// Permits that are out, and whose they are.
    pub permits: usize,
    /// Reservations in use, and charges.
    pub reservations: usize,
    /// Reservations that a window may still see.
    pub fading: usize,
    /// Instants that windows remember.
    pub marks: usize,
    /// Answers and outcomes from which something is concluded.
    pub outcomes: usize,
    /// What is known of what was waited for.
    pub waits: usize,
}

impl Census {
    /// All but places that are free.
    pub fn sum(&self) -> usize {
        let Census { gaps, tasks, places: _, buckets, with_room, stood_back, classes, ready, delayed, passes, running, waiters, .. } =
            *self;
        let Census { families, permits, reservations, fading, marks, outcomes, waits, .. } = *self;
        let of_tasks = gaps + tasks + buckets + with_room + stood_back + classes + ready + delayed + passes + running + waiters;
        of_tasks + families + permits + reservations + fading + marks + outcomes + waits
    }
}

impl Dispatcher {
    pub fn census(&self) -> Census {
        let of_values = |source: &SourceState| source.of_values.as_ref().map_or(0, OfValues::remembered);
        let of_sources = self.sources.iter().map(|source| source.absences.remembered() + of_values(source));
        let of_collectors = self.collectors.iter().map(|collector| collector.crashed_on.len());
        let successes = self.success.iter().map(|attempts| attempts.len());
        let mut census = Census {
            delayed: self.timers.len(),
            running: self.running.len() + self.guests.len(),
            waiters: self.waiters.len(),
            waits: self.classes.waits.remembered(),
            permits: self.holders.len(),
            outcomes: of_sources.chain(of_collectors).chain(successes).chain([self.habits.remembered()]).sum(),
            ..Census::default()
        };
        self.book.count(&mut census);
        self.classes.count(&mut census);
        self.grants.count(&mut census);
        census
    }
}
