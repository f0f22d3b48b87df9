//! What the clocks of the simulated machine show.
//!
//! The world has one time that only moves forward. The machine's boot clock begins anew when it reboots, and its wall
//! clock shows whatever somebody set it to.

use std::time::Duration;

use adce_core::time::{BootId, Boottime, Now, SignedDuration, Timestamp};

use crate::scenario::{HOUR, Micros};

/// World time at which everything begins: the machine has been up for a while.
pub const BEGIN: Micros = 10 * HOUR;

#[derive(Clone, Debug)]
pub struct Clocks {
    booted_at: Micros,
    boots: u32,
    wall_is_ahead_by: SignedDuration,
}

impl Default for Clocks {
    fn default() -> Self {
        Clocks { booted_at: 0, boots: 1, wall_is_ahead_by: SignedDuration::ZERO }
    }
}

impl Clocks {
    pub fn now(&self, at: Micros) -> Now {
        let wall = true_wall(at).checked_add(self.wall_is_ahead_by).expect("jumps are small");
        Now { wall, boot: Boottime(at - self.booted_at) }
    }

    /// When the world reaches what the boot clock calls `boot`.
    pub fn world(&self, boot: Boottime) -> Micros {
        self.booted_at.saturating_add(boot.as_micros())
    }

    pub fn booted_at(&self) -> Micros {
        self.booted_at
    }

    pub fn boot_id(&self) -> BootId {
        BootId(format!("boot-{}", self.boots))
    }

    pub fn reboot(&mut self, at: Micros) {
        self.booted_at = at;
        self.boots += 1;
    }

    pub fn jump(&mut self, by_seconds: i64) {
        self.wall_is_ahead_by += SignedDuration::from_secs(by_seconds);
    }
}

/// What a clock that nobody sets would show.
pub fn true_wall(at: Micros) -> Timestamp {
    const MIDNIGHT: i64 = 1_740_787_200; // 2025-03-01T00:00:00Z
    let midnight = Timestamp::from_second(MIDNIGHT).expect("in range");
    midnight.checked_add(SignedDuration::try_from(Duration::from_micros(at)).expect("in range")).expect("in range")
}
