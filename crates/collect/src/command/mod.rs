//! Runs a scraper: starts it, listens to it, ends it, and says what came of it.
//!
//! Whatever it does — hang, flood, fork, die half-way, lie — the attempt ends within its time, its whole process group
//! and all that left it is gone when [`Commands::collect`] returns, and each item has at most one report.
//!
//! Making files, starting a process and following it for its first moments block the thread: whoever calls sees to it
//! that it may. For the rest of the time it waits as futures do.
//!
//! It never touches the lake: what is staged is checked and published by whoever gave the order.

mod assess;
mod brief;
mod contract;
mod environment;
mod folder;
mod handover;
mod limits;
mod log;
mod memory;
mod output;
mod program;
mod spawn;
mod staging;
mod workplaces;

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use adce_core::gap::Failure;
use adce_core::ids::AttemptId;
use adce_core::ports::{Clock, Listener, Order, OrderItem, Report, Rest, Said, Stop, Told};
use adce_core::spec::{Collector, Keep};
use adce_core::time::Boottime;
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe::Receiver;

use self::assess::{Assessment, CPU_TIME, DIED_OF_A_SIGNAL, Ending, KILL, assess};
use self::brief::Brief;
use self::contract::Words;
use self::environment::ChildEnvironment;
use self::handover::Busy;
use self::limits::{Exceeded, LOOK_EVERY, Watch};
use self::memory::OomKills;
use self::output::{From, Output};
use self::spawn::{Lost, Spawned, Unfollowed, Workplace};
use self::staging::Staged;
pub(crate) use self::staging::own_folder;
use self::workplaces::Workplaces;
use crate::Setting;
use crate::kin::Kin;
use crate::orphans::Orphans;
use crate::process::Group;
use crate::redact::Redactor;

/// So long output is still read after the leader has ended, if somebody else holds the pipe. What the leader itself
/// wrote is in the pipe by then.
const DRAIN: Duration = Duration::from_millis(100);
/// How often those are looked for who were asked to end.
const MEMBERS_POLL: Duration = Duration::from_millis(20);
/// Most commands print little; for one that fills this, the buffer grows to what a pipe holds.
const FIRST_READ_BYTES: usize = 4 << 10;
const READ_BYTES: usize = 64 << 10;
const READS_IN_A_ROW: u32 = 16;

pub(crate) struct Commands {
    clock: Arc<dyn Clock>,
    /// The environment of this process.
    own: Arc<Vec<(OsString, OsString)>>,
    /// Between SIGTERM and SIGKILL.
    grace: Duration,
    /// Bytes of output kept of the beginning, and as many of the end.
    keep_bytes: usize,
    /// What ends within this time is followed on the thread that started it.
    briefly: Duration,
    workplaces: Arc<Workplaces>,
    orphans: Arc<Orphans>,
    busy: Arc<Busy>,
    oom_kills: OomKills,
}

/// A command after its first moments.
enum Begun {
    Over(Report),
    /// `ended`: its leader has ended and is reaped, but others of its group are still dying.
    Going {
        spawned: Box<Spawned>,
        output: Output,
        ended: Option<ExitStatus>,
    },
    /// Nobody else works in its place before it is gone.
    Lost {
        lost: Lost,
        place: Workplace,
        output: Output,
    },
}

/// A running attempt, seen from its runtime.
struct Running {
    group: Group,
    leader: AsyncFd<OwnedFd>,
    pipes: Pipes,
}

struct Pipes {
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
}

/// Who brought the end about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum EndedBy {
    Itself,
    Timeout,
    /// It waited for limits for too long.
    HeldUp,
    Exceeded(Exceeded),
    Stop,
}

impl Commands {
    pub(crate) fn new(clock: Arc<dyn Clock>, own: Arc<Vec<(OsString, OsString)>>, setting: &Setting) -> Self {
        let Setting { grace, keep_bytes, briefly, .. } = *setting;
        let oom_kills = OomKills::counted_in(&setting.vmstat);
        Commands {
            clock,
            own,
            grace,
            keep_bytes,
            briefly,
            workplaces: Arc::default(),
            busy: Arc::default(),
            oom_kills,
            orphans: Orphans::of_this_process(),
        }
    }

    /// A folder for an order of these items, under `within`.
    pub(crate) fn folder(&self, within: &Path, attempt: AttemptId, items: &[OrderItem]) -> PathBuf {
        self.workplaces.lend(within, attempt, items)
    }

    pub(crate) fn take_back(&self, folder: &Path) {
        self.workplaces.take_back(folder);
    }

    /// `listener` hears of commands that do not end at once.
    pub(crate) async fn collect(&self, order: Order, listener: Listener<'_>, stop: Stop) -> Report {
        let deadline = self.clock.now().boot + order.collector.timeout;
        let begun = self.begin(&order, listener);
        self.go_on(&order, begun, deadline, listener, stop).await
    }

    async fn go_on(&self, order: &Order, begun: Begun, deadline: Boottime, listener: Listener<'_>, stop: Stop) -> Report {
        let (mut spawned, mut output, ended) = match begun {
            Begun::Over(report) => return report,
            Begun::Going { spawned, output, ended } => (spawned, output, ended),
            Begun::Lost { lost, place, mut output } => {
                let ending = give_up(lost, &mut output).await;
                return report(order, output, ending, place, &self.workplaces);
            }
        };
        let place = std::mem::take(&mut spawned.place);
        let oom_kills = spawned.oom_kills_before;
        let ending = match ended {
            Some(status) => {
                complain_of_hanging(&mut output, spawned.group.gone().await);
                Ok((EndedBy::Itself, status))
            }
            None => {
                listener(Told::Started(spawned.record(order.attempt, self.clock.boot_id())));
                tell_progress(&mut output, listener);
                let kin = Kin::of(order.attempt, &spawned.group, self.orphans.clone());
                let watch = Watch::over(order, kin, place.handover.printed());
                self.follow(*spawned, &mut output, listener, deadline, &order.collector, watch, &stop).await
            }
        };
        let ending = match ending {
            Ok((EndedBy::Itself, status)) => self.exit(order, status, oom_kills),
            Ok((EndedBy::Timeout, _)) => Ending::TimedOut(order.collector.timeout),
            Ok((EndedBy::Exceeded(exceeded), _)) => Ending::Exceeded(exceeded),
            Ok((EndedBy::HeldUp, _)) => Ending::HeldUp(order.collector.timeout),
            Ok((EndedBy::Stop, _)) => Ending::Stopped,
            Err(lost) => give_up(lost, &mut output).await,
        };
        report(order, output, ending, place, &self.workplaces)
    }

    /// Starts the command and follows it for its first moments, to its end if it comes.
    fn begin(&self, order: &Order, listener: Listener<'_>) -> Begun {
        match self.start(order) {
            Ok((Ok(mut spawned), output)) => {
                if let Some(inside) = spawned.inside.take() {
                    listener(Told::Enclosed(inside));
                }
                self.begin_to_follow(order, spawned, output)
            }
            Ok((Err((lost, place)), output)) => Begun::Lost { lost, place, output },
            Err(failure) => Begun::Over(not_started(failure)),
        }
    }

    fn begin_to_follow(&self, order: &Order, mut spawned: Spawned, mut output: Output) -> Begun {
        let oom_kills = spawned.oom_kills_before;
        match brief::follow(&mut spawned, &mut output, self.briefly.min(order.collector.timeout)) {
            Ok(Brief::Ended(status)) if spawned.group.is_gone() => {
                output.finish();
                Begun::Over(report(order, output, self.exit(order, status, oom_kills), spawned.place, &self.workplaces))
            }
            Ok(Brief::Ended(status)) => Begun::Going { spawned: Box::new(spawned), output, ended: Some(status) },
            Ok(Brief::Running) => Begun::Going { spawned: Box::new(spawned), output, ended: None },
            Err(why) => Begun::Lost { lost: Lost { group: spawned.group, why }, place: spawned.place, output },
        }
    }

    /// `oom_kills`: as they were when it began.
    fn exit(&self, order: &Order, status: ExitStatus, oom_kills: u64) -> Ending {
        let ending = match (status.code(), status.signal()) {
            (Some(code), _) => Ending::Exited(code),
            (None, signal) => Ending::Signalled(signal.unwrap_or_default()),
        };
        match (ending, order.collector.resources.cpu_time) {
            // So the kernel ends a process that has used up its own, and a shell tells of its child.
            (Ending::Signalled(CPU_TIME), Some(most)) => return Ending::Exceeded(Exceeded::CpuTime(most)),
            (Ending::Exited(exit), Some(most)) if exit == DIED_OF_A_SIGNAL + CPU_TIME => return Ending::Exceeded(Exceeded::CpuTime(most)),
            _ => {}
        }
        match ending {
            Ending::Exited(exit) if exit == DIED_OF_A_SIGNAL + KILL && self.oom_kills.have_come_to(self.clock.now().boot) > oom_kills => {
                Ending::OutOfMemory { exit: Some(exit) }
            }
            Ending::Signalled(KILL) if self.oom_kills.have_come_to(self.clock.now().boot) > oom_kills => Ending::OutOfMemory { exit: None },
            ending => ending,
        }
    }

    fn start(&self, order: &Order) -> Result<(Result<Spawned, (Lost, Workplace)>, Output), Failure> {
        let environment = ChildEnvironment::of(order, &self.own).map_err(|why| program::not_started(&why))?;
        let redactor = redactor(order, &environment);
        let oom_kills_before = self.oom_kills.before(self.clock.now().boot);
        let spawned = match spawn::spawn(order, &environment, &self.workplaces, &self.busy, &self.orphans) {
            Ok(spawned) => Ok(Spawned { oom_kills_before, ..spawned }),
            Err(Unfollowed::Lost(lost)) => Err(*lost),
            Err(Unfollowed::NotStarted(failure)) => return Err(Failure { message: redactor.text(&failure.message), ..failure }),
        };
        let words = Words::on(order.items.iter().map(|item| item.key.as_str()));
        let mut output = Output::new(words, redactor, self.keep_bytes, self.clock.clone());
        for name in environment.own_way {
            output.complain(&format!("`{name}` is set by the config: requests that follow it do not pass the gateway"));
        }
        Ok((spawned, output))
    }

    /// From the start to the moment when nobody of the group is left.
    async fn follow(
        &self,
        spawned: Spawned,
        output: &mut Output,
        listener: Listener<'_>,
        deadline: Boottime,
        collector: &Collector,
        mut watch: Watch,
        stop: &Stop,
    ) -> Result<(EndedBy, ExitStatus), Lost> {
        let Collector { timeout, resources, .. } = collector;
        let mut running = Running::over(spawned)?;
        let (pipes, listening) = (&mut running.pipes, &mut *output);
        let ended_by = {
            let mut pump = std::pin::pin!(pipes.pump(listening, listener, resources.output));
            let mut supervise = std::pin::pin!(self.supervise(&running.group, &running.leader, deadline, *timeout, &mut watch, stop));
            tokio::select! {
                ended_by = &mut supervise => ended_by,
                pumped = &mut pump => match pumped {
                    None => supervise.await,
                    Some(exceeded) => EndedBy::Exceeded(exceeded),
                },
            }
        };
        let stuck = match ended_by {
            EndedBy::Itself => 0,
            _ => watch.kin.end(&running.group).await,
        };
        // Children in the background may hold the pipes open; they are not waited for.
        running.pipes.drain(output, listener).await;
        let (status, hanging) = match running.group.end().await {
            Ok((status, hanging)) => (status, hanging.max(stuck)),
            Err(why) => return Err(Lost { group: running.group, why }),
        };
        running.pipes.drain(output, listener).await;
        complain_of_hanging(output, hanging);
        Ok((ended_by, status))
    }

    /// Returns when the leader has ended, or whatever is left of the attempt is to be killed. Asked to end, all of it gets
    /// the time of `grace`.
    async fn supervise(
        &self,
        group: &Group,
        leader: &AsyncFd<OwnedFd>,
        deadline: Boottime,
        timeout: Duration,
        watch: &mut Watch,
        stop: &Stop,
    ) -> EndedBy {
        let ended_by = tokio::select! {
            biased;
            _ = leader.readable() => return EndedBy::Itself,
            () = stop.stopped() => EndedBy::Stop,
            ended_by = self.out_of_time(deadline, timeout, stop) => ended_by,
            ended_by = self.orphans.reap_now_and_then() => ended_by,
            exceeded = self.exceeded(&mut *watch) => EndedBy::Exceeded(exceeded),
        };
        if let EndedBy::Exceeded(Exceeded::Memory(_) | Exceeded::Output(_)) = ended_by {
            // Asked to end, it could go on using more.
            return ended_by;
        }
        watch.kin.terminate(group);
        let patience = self.clock.now().boot + self.grace;
        tokio::select! {
            () = nobody_left(&mut watch.kin) => {}
            () = self.clock.sleep_until(patience) => {}
        }
        ended_by
    }

    /// Returns when it uses more than it may.
    async fn exceeded(&self, watch: &mut Watch) -> Exceeded {
        if !watch.is_needed() {
            return std::future::pending().await;
        }
        loop {
            self.clock.sleep_until(self.clock.now().boot + LOOK_EVERY).await;
            if let Some(exceeded) = watch.look() {
                return exceeded;
            }
        }
    }

    /// The deadline has come, put off by all the time that limits have held the attempt up; or one wait alone has taken as
    /// long as the whole `timeout`: who waits for tomorrow's quota must not keep a slot from everybody else until then.
    async fn out_of_time(&self, deadline: Boottime, timeout: Duration, stop: &Stop) -> EndedBy {
        loop {
            let held_up = stop.held_up();
            let is_out_of_time = async {
                match held_up.since {
                    None => self.clock.sleep_until(deadline + held_up.so_far).await,
                    Some(since) => self.clock.sleep_until(since + timeout).await,
                }
            };
            tokio::select! {
                biased;
                () = stop.held_up_changes(held_up) => {}
                () = is_out_of_time => return if held_up.since.is_some() { EndedBy::HeldUp } else { EndedBy::Timeout },
            }
        }
    }
}

/// Ends for sure what cannot be followed: nobody of it is left when this returns, and nobody else would end it.
async fn give_up(mut lost: Lost, output: &mut Output) -> Ending {
    // It is killed either way; it has no status if somebody else has reaped it.
    let _ = lost.group.kill_and_reap();
    complain_of_hanging(output, lost.group.gone().await);
    Ending::Unfollowed(Errno::from_io_error(&lost.why).unwrap_or(Errno::IO))
}

/// Nobody of the group writes any more, but for those who could not be killed.
fn complain_of_hanging(output: &mut Output, hanging: usize) {
    output.finish();
    if hanging > 0 {
        output.complain(&format!("{hanging} processes of it hang in the kernel and could not be killed"));
    }
}

fn redactor(order: &Order, environment: &ChildEnvironment) -> Redactor {
    let mut redactor = Redactor::of(&environment.secrets);
    if let Some(gateway) = &order.gateway {
        // The attempt's token opens the gateway while it runs.
        gateway.hidden.iter().for_each(|(secret, instead)| redactor.replace(secret, instead.as_bytes()));
    }
    redactor
}

/// The leader is not reaped meanwhile, so the group's number stays its own.
async fn nobody_left(kin: &mut Kin) {
    while !kin.look_at_all().is_empty() {
        tokio::time::sleep(MEMBERS_POLL).await;
    }
}

/// If it said anything new of how far it is.
fn tell_progress(output: &mut Output, listener: Listener<'_>) {
    if let Some(progress) = output.words.new_progress() {
        listener(Told::Progress(progress));
    }
}

impl Running {
    fn over(spawned: Spawned) -> Result<Self, Lost> {
        let Spawned { group, leader, stdout, stderr, .. } = spawned;
        let watched = || {
            // SAFETY: the descriptor is owned by the `AsyncFd` alone, which closes it only after it is deregistered.
            let leader = unsafe { AsyncFd::register_with_interest(leader, Interest::READABLE) }?;
            let pipes = Pipes {
                stdout: stdout.map(Receiver::from_owned_fd).transpose()?,
                stderr: stderr.map(Receiver::from_owned_fd).transpose()?,
            };
            io::Result::Ok((leader, pipes))
        };
        match watched() {
            Ok((leader, pipes)) => Ok(Running { group, leader, pipes }),
            Err(why) => Err(Lost { group, why }),
        }
    }
}

impl Pipes {
    /// Reads until both have ended, or more than `most` was printed. May be dropped and called again: nothing that was read is
    /// lost.
    async fn pump(&mut self, output: &mut Output, listener: Listener<'_>, most: Option<u64>) -> Option<Exceeded> {
        let mut buffer = vec![0; FIRST_READ_BYTES];
        for reads in 1_u32.. {
            let from = self.readable().await?;
            let pipe = self.of(from);
            match pipe.as_ref().map(|pipe| pipe.try_read(&mut buffer)) {
                Some(Ok(filled)) if filled > 0 => {
                    output.feed(from, &buffer[..filled]);
                    tell_progress(output, listener);
                    if let Some(most) = most.filter(|most| output.fed > *most) {
                        return Some(Exceeded::Output(most));
                    }
                    if filled == buffer.len() {
                        buffer.resize(READ_BYTES, 0);
                    }
                }
                Some(Err(why)) if why.kind() == io::ErrorKind::WouldBlock => {}
                _ => *pipe = None,
            }
            if reads % READS_IN_A_ROW == 0 {
                // A child that prints without pause must not keep its own timeout from being seen.
                tokio::task::yield_now().await;
            }
        }
        None
    }

    /// Which can be read, or has ended; `None` when both have.
    async fn readable(&self) -> Option<From> {
        match (&self.stdout, &self.stderr) {
            (None, None) => None,
            (Some(stdout), Some(stderr)) => tokio::select! {
                _ = stdout.readable() => Some(From::Stdout),
                _ = stderr.readable() => Some(From::Stderr),
            },
            (Some(stdout), None) => {
                let _ = stdout.readable().await;
                Some(From::Stdout)
            }
            (None, Some(stderr)) => {
                let _ = stderr.readable().await;
                Some(From::Stderr)
            }
        }
    }

    async fn drain(&mut self, output: &mut Output, listener: Listener<'_>) {
        let _ = tokio::time::timeout(DRAIN, self.pump(output, listener, None)).await;
    }

    fn of(&mut self, from: From) -> &mut Option<Receiver> {
        match from {
            From::Stdout => &mut self.stdout,
            From::Stderr => &mut self.stderr,
        }
    }
}

fn report(order: &Order, mut output: Output, ending: Ending, place: Workplace, workplaces: &Workplaces) -> Report {
    let Workplace { skeleton, handover } = place;
    let printed = handover.printed().map(|file| std::fs::metadata(file).map_or(0, |found| found.len()));
    let ending = match (ending, order.collector.resources.output) {
        // It was done before anybody saw how much it printed.
        (Ending::Exited(_) | Ending::Signalled(_), Some(most)) if output.fed + printed.unwrap_or_default() > most => {
            Ending::Exceeded(Exceeded::Output(most))
        }
        (ending, _) => ending,
    };
    let is_printed = printed.is_some();
    let handed_over = handover.complete(order);
    handed_over.remarks.iter().for_each(|remark| output.complain(remark));
    let staged = staging::look(order).unwrap_or_else(|why| {
        output.complain(&format!("what it staged could not be looked through: {why}"));
        Staged::default()
    });
    let staged = Staged { not_there: handed_over.not_there, is_printed, ..staged };
    let last_line = output.last_line();
    let Assessment { mut items, mut rest, remarks } = assess(&order.items, &output.words, &staged, ending, last_line.as_deref());
    let own_failures = items.iter_mut().filter_map(|report| match &mut report.said {
        Said::Failed(failure) => Some(failure),
        _ => None,
    });
    let of_the_rest = match &mut rest {
        Rest::Failed(failure) => Some(failure),
        _ => None,
    };
    own_failures.chain(of_the_rest).for_each(|failure| failure.message = output.redact(&failure.message));
    remarks.iter().for_each(|remark| output.complain(remark));
    let log = write_log(order, &output);
    // One that may be kept leaves with what is in it.
    let has_sets = order.items.iter().any(|item| item.set.is_some());
    if !has_sets && staged.strays.is_empty() && matches!(ending, Ending::Exited(_)) && order.collector.keep == Keep::Never {
        workplaces.leave(order, skeleton, &staged, log.as_deref());
    }
    let not_there = staged.not_there.into_iter().map(|(at, instead)| (order.items[at].item, instead)).collect();
    let strays = staged.strays.iter().map(|stray| output.redact(stray)).collect();
    let misunderstood = output.misunderstood();
    Report { items, ended: ending.in_words(), rest, requests: 0, received_bytes: 0, strays, not_there, misunderstood, log }
}

/// A log that cannot be written costs nobody the work that was done.
fn write_log(order: &Order, output: &Output) -> Option<PathBuf> {
    let path = order.folder.join("log");
    let log = output.log()?;
    let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    match open().and_then(|mut file| file.write_all(&log)) {
        Ok(()) => Some(path),
        Err(why) => {
            tracing::warn!(attempt = %order.attempt, %why, "the attempt's log could not be written");
            None
        }
    }
}

fn not_started(failure: Failure) -> Report {
    Report { ended: Report::NOT_STARTED.into(), rest: Rest::Failed(failure), ..Report::default() }
}

#[cfg(test)]
mod tests;
