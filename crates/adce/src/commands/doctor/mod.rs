//! `adce doctor -- CMD …`: proves whether the requests of a command are really paced, over HTTP and HTTPS, and says what to do if
//! they are not.
//!
//! The command runs behind the real gateway with the real limiter, but the gateway asks nobody: an upstream on this machine answers
//! whatever host is asked for, and counts for itself. So the verdict is the upstream's, not the gateway's. Neither config nor
//! state nor lake are needed; of a config only the base URLs of its sources are taken.
//!
//! What a command asks past the gateway under another address than the one it was given is not seen here, and reaches whom it
//! is for.

mod advice;
mod desk;
mod report;
mod upstream;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use adce_api::DoctorRun;
use adce_core::ids::{AttemptId, Uuid};
use adce_core::ports::{Clock, Gate};
use adce_core::spec::{Cache, Spec};
use adce_gateway::{Authority, Gateway, Route, Rules};
use clap::Args;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::cli::Format;
use crate::clock::MachineClock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::program;
use desk::Desk;
use report::Findings;
use upstream::{Protocol, Upstream};

#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// A command that takes longer is ended, and judged by what it asked until then.
    #[arg(long, value_name = "SPAN", default_value = "1m", value_parser = crate::cli::parse_span)]
    pub timeout: Duration,

    /// The command and its arguments; `{url}` becomes the address of the upstream.
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// In an argument, and by name in the environment.
const PLACE: &str = "{url}";
const VARIABLE: &str = "ADCE_DOCTOR_URL";

/// `spec`: of the config, if there is one.
pub async fn run(args: &DoctorArgs, spec: Option<Arc<Spec>>, format: Format) -> Result<Exit, Failure> {
    let unfinished = |what: &str, error: std::io::Error| Failure::new(Exit::Unfinished, format!("{what}: {error}"));
    let folder = tempfile::tempdir().map_err(|error| unfinished("no temporary folder", error))?;
    let patient = Patient::admit(folder.path(), spec).await.map_err(|error| unfinished("the test upstream cannot be started", error))?;
    let mut interrupts = Interrupts::listen().map_err(|error| unfinished("signals cannot be heard", error))?;
    let is_given_address = args.command.iter().any(|argument| {
        let text = argument.to_string_lossy();
        text.contains(PLACE) || text.contains(VARIABLE)
    });
    let mut findings = Findings::default();
    for protocol in Protocol::BOTH {
        // One that asked for the address of its first run has taken it from its environment: it is to be seen with the other, too.
        let is_wanted = protocol == Protocol::Http || is_given_address || patient.upstream.seen(Protocol::Http).was_given_address;
        if !is_wanted {
            break;
        }
        match patient.examine(args, protocol, &mut interrupts).await? {
            Some(run) => findings.runs.push(run),
            None => return Ok(Exit::Interrupted),
        }
        findings.note_wait(&patient.desk, |protocol| patient.upstream.seen(protocol).first);
    }
    findings.distrusted = patient.desk.take_distrusted().values().sum();
    let both = findings.runs.len() == Protocol::BOTH.len();
    let argv: Vec<String> = args.command.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let report = findings.report(&argv, both, |protocol| patient.upstream.seen(protocol));
    match format {
        Format::Json => say!("{}", serde_json::to_string(&report).unwrap_or_default()),
        Format::Text => report::lines(&report, &program::words(&args.command), report::width()).iter().for_each(|line| say!("{line}")),
    }
    // "It finished", and not all is well.
    Ok(if report.paced { Exit::Complete } else { Exit::GapsRemain })
}

/// Everything that a command is examined with.
struct Patient {
    upstream: Upstream,
    desk: Arc<Desk>,
    gateway: Gateway,
}

impl Patient {
    async fn admit(folder: &std::path::Path, spec: Option<Arc<Spec>>) -> std::io::Result<Self> {
        let clock = Arc::new(MachineClock);
        let authority = Arc::new(Authority::open(folder, clock.now().wall)?);
        let upstream = Upstream::start(authority.clone()).await?;
        let desk = Desk::new(clock.clone());
        let routes = routes(&upstream, spec.as_deref());
        let stand_in = Some(upstream.stand_in()?);
        let rules = Rules { routes, authority: Some(authority), stand_in, ..Rules::default() };
        let gateway = Gateway::start(rules, desk.clone(), clock).await?;
        Ok(Patient { upstream, desk, gateway })
    }

    /// Runs the command once; `None`: a person has interrupted it.
    async fn examine(&self, args: &DoctorArgs, protocol: Protocol, interrupts: &mut Interrupts) -> Result<Option<DoctorRun>, Failure> {
        let url = self.upstream.url(protocol);
        self.desk.begin();
        let guest = AttemptId(Uuid::now_v7());
        let admission = self.gateway.admit_guest(guest, None).unwrap_or_default();
        let mut variables: Vec<(String, String)> = admission.variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        variables.extend([("ADCE_GATEWAY".to_owned(), admission.url), (VARIABLE.to_owned(), url.clone())]);
        let argv: Vec<OsString> = args.command.iter().map(|argument| filled(argument, &url)).collect();
        let ended = run_within(args.timeout, &argv, &variables, interrupts).await;
        self.gateway.dismiss(guest);
        let run = |(status, timed_out)| DoctorRun { url, exit_code: program::code_of(status), timed_out };
        ended.map(|ended| ended.map(run))
    }
}

/// One that covers whatever is asked for, and the base URLs of the config's sources.
fn routes(upstream: &Upstream, spec: Option<&Spec>) -> Vec<Route> {
    let everything = Route {
        name: "upstream".into(),
        hosts: vec!["*".into()],
        base_url: upstream.url(Protocol::Http).parse().ok(),
        linger: Duration::ZERO,
        intercept: true,
        absorb: false,
        cache: Cache::default(),
    };
    let sources = spec.into_iter().flat_map(|spec| spec.sources.values().map(|source| Route::of(source, &spec.limits)));
    let sources = sources.map(|route| Route { hosts: Vec::new(), intercept: true, absorb: false, cache: Cache::default(), ..route });
    sources.chain([everything]).collect()
}

fn filled(argument: &OsString, url: &str) -> OsString {
    match argument.to_str() {
        Some(text) => text.replace(PLACE, url).into(),
        None => argument.clone(),
    }
}

/// So long a command that was asked to end gets for it.
const GRACE: Duration = Duration::from_secs(2);

/// How it ended, and whether it was made to. In a group of its own, so that all of it ends; what it prints is no part of the report.
async fn run_within(
    timeout: Duration,
    argv: &[OsString],
    variables: &[(String, String)],
    interrupts: &mut Interrupts,
) -> Result<Option<(ExitStatus, bool)>, Failure> {
    let lost = |error: std::io::Error| Failure::new(Exit::Unfinished, format!("the command's end is unknown: {error}"));
    let mut command = program::command(argv, variables);
    let aside = std::io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
    let started = command.stdin(Stdio::null()).stdout(aside).process_group(0).spawn();
    let mut child = started.map_err(|error| program::not_started(argv, &error))?;
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    let end_with = |signal: Signal| group.map(|group| killpg(group, signal));
    let deadline = tokio::time::Instant::from_std(Instant::now() + timeout);
    let interrupted = tokio::select! {
        status = child.wait() => return status.map(|status| Some((status, false))).map_err(lost),
        () = tokio::time::sleep_until(deadline) => None,
        code = interrupts.next() => Some(code),
    };
    end_with(Signal::SIGTERM);
    let status = match tokio::time::timeout(GRACE, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            end_with(Signal::SIGKILL);
            child.wait().await
        }
    };
    match interrupted {
        None => status.map(|status| Some((status, true))).map_err(lost),
        Some(code) => {
            crate::exit::interrupted_by(code);
            Ok(None)
        }
    }
}

/// When the first request of each protocol had asked, and how long it took until it arrived.
type Waits = BTreeMap<Protocol, Duration>;
