//! Starts a command in a process group of its own.
//!
//! No shell ever sees the arguments. The program is looked up here, so that the child can be made without `fork`
//! (`posix_spawn` takes a path, and `pre_exec` would rule it out): that is 1.5 to 2.5 times as many attempts a second. Only
//! limits that the child must have from its first instruction on are worth a `fork` ([`limits`]).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use adce_core::failpoint::{self, Failpoint};
use adce_core::gap::{Failure, Fault};
use adce_core::ids::AttemptId;
use adce_core::ports::Order;
use adce_core::record::ProcessRecord;
use adce_core::time::BootId;

use crate::command::environment::ChildEnvironment;
use crate::command::handover::{Busy, Handover};
use crate::command::output::From;
use crate::command::workplaces::{Skeleton, Workplaces};
use crate::command::{limits, program, staging};
use crate::orphans::Orphans;
use crate::process::{Group, Seen};

/// A command that runs, and what of it adce holds.
pub(crate) struct Spawned {
    pub(crate) group: Group,
    pub(crate) leader: OwnedFd,
    /// `None` once it is at its end.
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) place: Workplace,
    /// Whom the kernel had killed for want of memory before this was started.
    pub(crate) oom_kills_before: u64,
}

/// Where the command works, and how what it collects gets there.
#[derive(Default)]
pub(crate) struct Workplace {
    pub(crate) skeleton: Skeleton,
    pub(crate) handover: Handover,
}

/// Why there is nothing to follow.
pub(crate) enum Unfollowed {
    NotStarted(Failure),
    /// It runs, and adce has no means to hear of it: it must be ended for sure, and nobody else works there before.
    Lost(Box<(Lost, Workplace)>),
}

/// A command that may run, and that adce cannot follow.
pub(crate) struct Lost {
    pub(crate) group: Group,
    pub(crate) why: io::Error,
}

impl Spawned {
    /// By which a later engine knows it again. To be called before the leader is reaped: until then the number is its
    /// own, be it a zombie by now.
    pub(crate) fn record(&self, attempt: AttemptId, boot_id: BootId) -> ProcessRecord {
        let start_ticks = Seen::by_pid(self.group.id()).map_or(0, |seen| seen.start_ticks);
        ProcessRecord { attempt, boot_id, process_group: self.group.id(), start_ticks }
    }

    pub(crate) fn pipe(&mut self, from: From) -> &mut Option<OwnedFd> {
        match from {
            From::Stdout => &mut self.stdout,
            From::Stderr => &mut self.stderr,
        }
    }
}

/// Prepares the attempt's folder and starts its command there. Blocks until the child has begun its program.
pub(crate) fn spawn(
    order: &Order,
    environment: &ChildEnvironment,
    workplaces: &Workplaces,
    busy: &Arc<Busy>,
    orphans: &Arc<Orphans>,
) -> Result<Spawned, Unfollowed> {
    let argv0 = order.argv.first().map_or("", String::as_str);
    let folder = &order.collector.cwd;
    let program = program::find(argv0, folder, environment.get("PATH")).map_err(Unfollowed::NotStarted)?;
    let skeleton = staging::prepare(order, workplaces).map_err(|why| Unfollowed::NotStarted(no_folder(&why)))?;
    let handover = Handover::begin(order, busy).map_err(Unfollowed::NotStarted)?;
    let printed = handover.stdout().map_err(|why| Unfollowed::NotStarted(no_folder(&why)))?;
    let mut command = Command::new(&program);
    command.arg0(argv0).args(&order.argv[1..]).current_dir(folder).process_group(0);
    command.env_clear().envs(environment.variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(printed.map_or_else(Stdio::piped, Stdio::from)).stderr(Stdio::piped());
    limits::set(&mut command, &order.collector.resources);
    failpoint::reached(Failpoint::WorkplaceMade);
    let membership = orphans.expect(order.attempt);
    let started = command.spawn().map_err(|why| program::explain(argv0, &program, folder, &why));
    let mut child = started.map_err(Unfollowed::NotStarted)?;
    failpoint::reached(Failpoint::Spawned);
    let (stdout, stderr) = (child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from));
    let group = Group::led_by(child, membership);
    let place = Workplace { skeleton, handover };
    match group.leader_descriptor() {
        Ok(leader) => Ok(Spawned { group, leader, stdout, stderr, place, oom_kills_before: 0 }),
        Err(why) => Err(Unfollowed::Lost(Box::new((Lost { group, why }, place)))),
    }
}

/// This machine's fault: no space, no descriptors.
fn no_folder(why: &io::Error) -> Failure {
    Failure { fault: Fault::Later, message: format!("not started: its folder could not be prepared: {why}"), retry_after_s: None }
}
