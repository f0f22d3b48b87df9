//! What keeps an engine from starting although no person said so: its own limits ([`adce_core::protect`]), watched every second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adce_core::pause::{Pause, PauseOf};
use adce_core::ports::Clock;
use adce_core::protect::{Usage, reasons};
use adce_core::spec::{LakeUrl, Spec};
use adce_core::time::Timestamp;
use adce_engine::Handle;
use tokio::time::MissedTickBehavior;

use crate::clock::MachineClock;
use crate::in_force::InForce;
use crate::state_place::StatePlace;

const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// Processor time is that of so long.
const CPU_OVER: Duration = Duration::from_secs(30);

/// Tells the engine for as long as it is polled.
pub async fn watch(in_force: InForce, engine: Handle) {
    let mut looks = tokio::time::interval(BETWEEN_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut processor = Processor::default();
    let mut held: Option<Timestamp> = None;
    loop {
        looks.tick().await;
        let spec = in_force.spec();
        let usage = Usage { memory: memory(), cpu_permille: processor.permille(), disks: disks(&spec) };
        let because = reasons(&spec.engine.protect, &usage, held.is_some());
        held = (!because.is_empty()).then(|| held.unwrap_or_else(|| MachineClock.now().wall));
        let holds = held.map(|since| (PauseOf::Everything, Pause { since, until: None, because: Some(because.join("; ")) }));
        engine.holds_back(holds.into_iter().collect::<BTreeMap<_, _>>());
    }
}

/// What is free where something of ours is written.
fn disks(spec: &Spec) -> Vec<(String, u64)> {
    let state = StatePlace::of(spec).state().to_owned();
    let mut places: Vec<(&str, PathBuf)> = vec![("the state", state.parent().map(Path::to_owned).unwrap_or(state))];
    if let LakeUrl::Folder(lake) = &spec.lake {
        places.push(("the lake", lake.clone()));
    }
    places.into_iter().filter_map(|(what, place)| Some((what.to_owned(), free(&place)?))).collect()
}

fn free(place: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(place).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

fn memory() -> Option<u64> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Of this process, without what it has started.
#[derive(Default)]
struct Processor {
    /// When, and how much it had used by then.
    then: Option<(Instant, Duration)>,
    permille: Option<u32>,
}

impl Processor {
    fn permille(&mut self) -> Option<u32> {
        let (now, used) = (Instant::now(), used()?);
        let (then, before) = *self.then.get_or_insert((now, used));
        let elapsed = now.duration_since(then);
        if elapsed >= CPU_OVER {
            let share = used.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64();
            (self.then, self.permille) = (Some((now, used)), Some((share * 1_000.0) as u32));
        }
        self.permille
    }
}

fn used() -> Option<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    let micros = |time: nix::sys::time::TimeVal| u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or_default();
    Some(Duration::from_micros(micros(usage.user_time()) + micros(usage.system_time())))
}
