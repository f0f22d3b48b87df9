//! `engine.tasks_per_cycle`: how many tasks may start from one full look at the lake to the next, of all priorities together and
//! of each.
//!
//! It bounds what one look can set off, whatever it believes to be missing. What is over it waits for the next look, and
//! is never forgotten.

use super::PriorityLevel;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    all: Option<u32>,
    by_priority: [Option<u32>; PriorityLevel::ALL.len()],
}

/// One that is used up; `priority` `None`: that of all together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    pub priority: Option<PriorityLevel>,
    pub tasks: u32,
}

impl Caps {
    /// `priority` `None`: all together.
    pub fn with(mut self, priority: Option<PriorityLevel>, tasks: u32) -> Self {
        match priority {
            Some(priority) => self.by_priority[priority as usize] = Some(tasks),
            None => self.all = Some(tasks),
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        *self == Caps::default()
    }

    /// What keeps one more task of this priority from starting. `started`: so many did, by priority.
    pub fn used_up(&self, priority: PriorityLevel, started: &[u32; PriorityLevel::ALL.len()]) -> Option<Cap> {
        let all = started.iter().fold(0, |sum: u32, of| sum.saturating_add(*of));
        let of_all = self.all.filter(|tasks| all >= *tasks).map(|tasks| Cap { priority: None, tasks });
        let own = self.by_priority[priority as usize].filter(|tasks| started[priority as usize] >= *tasks);
        of_all.or(own.map(|tasks| Cap { priority: Some(priority), tasks }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PriorityLevel::{Critical, High, Low};

    #[test]
    fn a_priority_is_kept_back_by_its_own_cap_and_by_that_of_all() {
        let caps = Caps::default().with(None, 5).with(Some(Low), 2);
        let started = |low, high| {
            let mut started = [0; PriorityLevel::ALL.len()];
            (started[Low as usize], started[High as usize]) = (low, high);
            started
        };
        assert_eq!(caps.used_up(Low, &started(1, 3)), None);
        assert_eq!(caps.used_up(Low, &started(2, 0)), Some(Cap { priority: Some(Low), tasks: 2 }));
        assert_eq!(caps.used_up(Critical, &started(2, 2)), None);
        assert_eq!(caps.used_up(Critical, &started(2, 3)), Some(Cap { priority: None, tasks: 5 }));
        assert!(!caps.is_empty() && Caps::default().is_empty());
    }
}
