//! The machine's clocks. The only place where adce reads a time.

use std::time::Duration;

use adce_core::ports::Clock;
use adce_core::time::{BootId, Boottime, Now, Timestamp};
use async_trait::async_trait;
use nix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME`, which counts while the machine sleeps, and the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineClock;

impl MachineClock {
    fn boottime() -> Boottime {
        // The call can only fail for a clock that the kernel does not have; this one is there since Linux 2.6.39.
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME");
        Boottime::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_nsec() as u64 / 1_000)
    }
}

#[async_trait]
impl Clock for MachineClock {
    fn now(&self) -> Now {
        // The state keeps whole microseconds; so does every time that is compared with one from it.
        let micros = Timestamp::now().as_microsecond();
        Now { wall: Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX), boot: Self::boottime() }
    }

    fn boot_id(&self) -> BootId {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        BootId(id.trim().to_owned())
    }

    async fn sleep_until(&self, until: Boottime) {
        // Timers of the runtime stand still while the machine sleeps: look again at least every minute.
        loop {
            let left = until.since(Self::boottime());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(Duration::from_secs(60))).await;
        }
    }
}
