//! What keeps an engine from starting although no person said so: its own limits ([`adce_core::protect`]) and maintenance windows, looked at every
//! second.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use adce_core::pause::{Pause, PauseOf};
use adce_core::ports::Clock;
use adce_core::protect::{Disk, Usage, reasons};
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

/// Whether anything is to start at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Real,
    DryRun,
}

pub struct HoldingBack {
    in_force: InForce,
    engine: Handle,
    mode: Mode,
    began: Timestamp,
    processor: Processor,
    /// Beyond a limit of its own since then.
    beyond: Option<Timestamp>,
}

impl HoldingBack {
    /// What holds an engine back from the first is told when this returns: call it before the engine runs.
    pub fn begin(in_force: InForce, engine: Handle, mode: Mode) -> HoldingBack {
        let began = MachineClock.now().wall;
        let mut watching = HoldingBack { in_force, engine, mode, began, processor: Processor::default(), beyond: None };
        watching.look();
        watching
    }

    /// For as long as it is polled.
    pub async fn watch(mut self) {
        let mut looks = tokio::time::interval(BETWEEN_LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            self.look();
        }
    }

    fn look(&mut self) {
        let (spec, now) = (self.in_force.spec(), MachineClock.now().wall);
        let usage = Usage { memory: memory(), cpu_permille: self.processor.permille(), disks: disks(&spec) };
        let because = reasons(&spec.engine.protect, &usage, self.beyond.is_some());
        self.beyond = (!because.is_empty()).then(|| self.beyond.unwrap_or(now));
        let everything = |since, because| (PauseOf::Everything, Pause { since, until: None, because: Some(because) });
        let dry_run = (self.mode == Mode::DryRun).then(|| everything(self.began, "a dry run".into()));
        let limits = self.beyond.map(|since| everything(since, because.join("; ")));
        // A disk that is full outlasts a window.
        self.engine.holds_back(windows(&spec, now).into_iter().chain(limits).chain(dry_run).collect());
    }
}

/// Those that are open.
fn windows(spec: &Spec, now: Timestamp) -> BTreeMap<PauseOf, Pause> {
    let open = spec.maintenance.values().filter_map(|window| {
        let until = window.opens.open_until(window.stays, now)?;
        let since = window.opens.last_by(now)?;
        let reason = window.because.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let pause = Pause { since, until: Some(until), because: Some(format!("maintenance `{}`{reason}", window.name)) };
        Some(window.pauses.iter().map(move |of| (of.clone(), pause.clone())))
    });
    open.flatten().collect()
}

/// What is free where something of ours is written.
fn disks(spec: &Spec) -> Vec<Disk> {
    let state = StatePlace::of(spec).state().to_owned();
    let mut places: Vec<(&str, PathBuf)> = vec![("the state", state.parent().map(Path::to_owned).unwrap_or(state))];
    if let LakeUrl::Folder(lake) = &spec.lake {
        places.push(("the lake", lake.clone()));
    }
    places.into_iter().filter_map(|(what, place)| disk(what, &place)).collect()
}

fn disk(of: &str, place: &Path) -> Option<Disk> {
    let found = rustix::fs::statvfs(place).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Some(Disk { of: of.to_owned(), free: bytes(found.f_bavail), size: bytes(found.f_blocks) })
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
