//! Starts a command in a process group of its own.
//!
//! No shell ever sees the arguments. The program is looked up here, so that the child needs no memory of its own before it begins
//! ([`launch`](crate::launch)).

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use adce_core::failpoint::{self, Failpoint};
use adce_core::gap::{Failure, Fault};
use adce_core::ids::AttemptId;
use adce_core::ports::Order;
use adce_core::record::ProcessRecord;
use adce_core::spec::Egress;
use adce_core::time::BootId;

use crate::command::environment::ChildEnvironment;
use crate::command::handover::{Busy, Handover};
use crate::command::limits::Limits;
use crate::command::output::From;
use crate::command::workplaces::{Skeleton, Workplaces};
use crate::command::{program, staging};
use crate::enclosure::Enclosure;
use crate::launch::{Launched, Plan};
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
    /// Where the gateway is to listen in the command's own network.
    pub(crate) inside: Option<OwnedFd>,
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
    let argv = [argv0].into_iter().chain(order.argv[1..].iter().map(String::as_str));
    let plan = Plan::new(&program, argv, &environment.variables, folder);
    failpoint::reached(Failpoint::WorkplaceMade);
    let membership = orphans.expect(order.attempt);
    let limits = Limits::of(&order.collector.resources);
    let enclosure = enclosure(order).map_err(Unfollowed::NotStarted)?;
    let cgroup = membership.cgroup();
    let on_the_way = || {
        // One that lets nobody in (it holds threads, or its owner keeps the door) is as good as none.
        let _ = cgroup.as_ref().map(|cgroup| cgroup.enter());
        enclosure.as_ref().map_or(Ok(()), Enclosure::enter)?;
        limits.set()
    };
    let started = plan.and_then(|plan| plan.launch(printed, &on_the_way));
    let started = started.map_err(|why| match enclosure.as_ref().and_then(|enclosure| enclosure.explain(&why)) {
        Some(refused) => program::not_started(&format!("`{argv0}`: {refused}")),
        None => program::explain(argv0, &program, folder, &why),
    });
    let Launched { child, stdout, stderr } = started.map_err(Unfollowed::NotStarted)?;
    failpoint::reached(Failpoint::Spawned);
    let (stderr, group) = (Some(stderr), Group::led_by(child, membership));
    let place = Workplace { skeleton, handover };
    let inside = enclosure.map(|enclosure| enclosure.inside()).transpose();
    match inside.and_then(|inside| Ok((inside, group.leader_descriptor()?))) {
        Ok((inside, leader)) => Ok(Spawned { group, leader, stdout, stderr, place, inside, oom_kills_before: 0 }),
        Err(why) => Err(Unfollowed::Lost(Box::new((Lost { group, why }, place)))),
    }
}

/// For a command that is to reach nothing but the gateway.
fn enclosure(order: &Order) -> Result<Option<Enclosure>, Failure> {
    if order.collector.pass.egress == Egress::Open {
        return Ok(None);
    }
    let Some(gateway) = &order.gateway else {
        return Err(program::not_started("`egress: gateway`, and no gateway runs"));
    };
    Enclosure::around(gateway.port).map(Some).map_err(|why| no_folder(&why))
}

/// This machine's fault: no space, no descriptors.
fn no_folder(why: &io::Error) -> Failure {
    Failure { fault: Fault::Later, message: format!("not started: its folder could not be prepared: {why}"), retry_after_s: None }
}
