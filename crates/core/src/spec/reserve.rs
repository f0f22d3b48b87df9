//! `engine.reserve`: a share of every window and of the slots that is set aside for a priority, and idles otherwise.
//!
//! Without it a backfill of years fills every window as soon as it opens, and what falls due tonight waits for the
//! backfill's requests to leave the window: up to an hour of a `per_hour`, however it is scored.
//!
//! The rule is the same for windows and for slots: *each priority counts at least as much as is set aside for it*. One
//! more fits if that sum does not exceed the limit. So nobody else ever takes what is set aside, a priority that uses
//! more than its share does so from what is everybody's, and when its use falls again nothing is owed to it, because it
//! was counted all the time (`what_is_set_aside_is_there_whenever_it_is_asked_for`).
//!
//! Of a window the share is rounded down, of the slots up: a window of 4 requests is never given away by a quarter for
//! a share of 20 %, while a fifth of a slot is no slot.

use super::PriorityLevel;

/// Shares in parts per thousand, by priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserve {
    permille: [u32; PriorityLevel::ALL.len()],
}

impl Reserve {
    /// Of everything.
    pub const WHOLE: u32 = 1_000;

    pub fn with(mut self, priority: PriorityLevel, permille: u32) -> Self {
        self.permille[priority as usize] = permille;
        self
    }

    pub fn is_empty(&self) -> bool {
        self.shares().next().is_none()
    }

    /// Those that have one, the most important first.
    pub fn shares(&self) -> impl Iterator<Item = (PriorityLevel, u32)> + '_ {
        let all = PriorityLevel::ALL.into_iter().map(|priority| (priority, self.permille[priority as usize]));
        all.filter(|(_, permille)| *permille > 0)
    }

    pub fn of_window(&self, priority: PriorityLevel, requests: u32) -> u32 {
        let share = u64::from(requests) * u64::from(self.permille[priority as usize]) / u64::from(Self::WHOLE);
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    pub fn of_slots(&self, priority: PriorityLevel, slots: u32) -> u32 {
        let share = (u64::from(slots) * u64::from(self.permille[priority as usize])).div_ceil(u64::from(Self::WHOLE));
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    /// What tasks of this priority can have of a window at once at the very most.
    pub fn admits(&self, priority: PriorityLevel, requests: u32) -> u32 {
        let others = self.shares().map(|(other, _)| other).filter(|other| *other != priority);
        requests.saturating_sub(others.map(|other| self.of_window(other, requests)).sum())
    }

    /// Whether a slot is free for one more of `priority`; `running(p)`: how many hold one now.
    pub fn has_free_slot(&self, priority: PriorityLevel, slots: u32, running: impl Fn(PriorityLevel) -> u32) -> bool {
        let counts = |of: PriorityLevel| (running(of) + u32::from(of == priority)).max(self.of_slots(of, slots));
        PriorityLevel::ALL.into_iter().map(counts).sum::<u32>() <= slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PriorityLevel::{Critical, High, Low};

    #[test]
    fn a_share_of_a_window_is_rounded_down_and_one_of_the_slots_up() {
        let reserve = Reserve::default().with(Critical, 200);
        assert_eq!([4, 5, 9, 60, 3_000].map(|requests| reserve.of_window(Critical, requests)), [0, 1, 1, 12, 600]);
        assert_eq!([2, 5, 6, 10].map(|slots| reserve.of_slots(Critical, slots)), [1, 1, 2, 2]);
        assert_eq!((reserve.of_window(High, 60), reserve.of_slots(High, 5)), (0, 0));
        assert_eq!((reserve.admits(Critical, 60), reserve.admits(Low, 60)), (60, 48));
    }

    #[test]
    fn a_slot_is_free_for_others_only_beside_what_is_set_aside() {
        let reserve = Reserve::default().with(Critical, 200).with(High, 200);
        let free = |priority, critical: u32, high: u32, low: u32| {
            reserve.has_free_slot(priority, 5, |of| match of {
                Critical => critical,
                High => high,
                Low => low,
                PriorityLevel::Medium => 0,
            })
        };
        assert!(free(Low, 0, 0, 2) && !free(Low, 0, 0, 3), "two of five are set aside");
        assert!(free(Critical, 0, 0, 3) && free(High, 0, 0, 3), "for these two");
        assert!(free(Critical, 1, 0, 2) && !free(Critical, 1, 0, 3), "beyond its own it takes from everybody's");
        assert!(free(Low, 1, 1, 2), "what is used of a share is not set aside once more");
    }
}
