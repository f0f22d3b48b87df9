//! Collectors: a `command` (a scraper in any language) and the built-in `http`.
//!
//! Both turn an order into a report of what was staged and what upstream said. They never touch the lake and decide
//! nothing about retries: whoever gave the order checks, publishes and records.
//!
//! Everything that an order started is gone when its report is there. An engine whose guardian is gone ends all of it
//! by [`end_everything`]; what a killed engine left is ended by [`end_predecessors`] and [`end_strays`].

mod command;
mod enclosure;
mod everything;
mod http;
mod kin;
mod launch;
mod orphans;
mod predecessor;
mod process;
mod redact;
mod secret;
mod strays;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_core::ids::AttemptId;
use adce_core::kept::KeptAnswers;
use adce_core::pacing::Pacing;
use adce_core::ports::{Clock, Collect, Listener, Order, OrderItem, Permits, Report, Stop};
use adce_core::spec::{Collector, How};
use async_trait::async_trait;

use crate::command::Commands;
pub use crate::enclosure::can_enclose;
pub use crate::everything::end_everything;
use crate::http::Fetches;
pub use crate::http::Upstream;
pub use crate::predecessor::{EndedGroup, end_predecessors};
pub use crate::process::{Children, Followed};
pub use crate::secret::resolve_secret;
pub use crate::strays::{EndedStrays, end_strays};

/// How attempts are run, apart from what the config says of each collector.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Between asking a command to end (SIGTERM) and ending it (SIGKILL).
    pub grace: Duration,
    /// Bytes of a command's output kept of its beginning, and as many of its end.
    pub keep_bytes: usize,
    /// A command that ends within this time is followed on the thread that started it, which costs a third of handing it
    /// to the runtime; a stop or a timeout is seen so much later at most.
    pub briefly: Duration,
    /// adce's own environment: what commands may be handed of it, and where secrets lie.
    pub environment: Vec<(OsString, OsString)>,
    /// Where the kernel counts whom it killed for want of memory: `/proc/vmstat`.
    pub vmstat: PathBuf,
}

impl Setting {
    /// 10 s of grace, 64 KiB of output from each end, 10 ms for what is brief (a system's small commands nearly all are, a
    /// scraper that asks an upstream never is), the environment of this process.
    pub fn of_this_process() -> Self {
        let environment = std::env::vars_os().collect();
        let vmstat = "/proc/vmstat".into();
        Setting { grace: Duration::from_secs(10), keep_bytes: 64 << 10, briefly: Duration::from_millis(10), environment, vmstat }
    }
}

/// Runs every kind of collector.
#[derive(Clone)]
pub struct Collectors {
    commands: Arc<Commands>,
    http: Fetches,
}

impl Collectors {
    /// `permits` are asked for by `http` alone: one a request, the first one included.
    pub fn new(setting: Setting, upstreams: Vec<Upstream>, permits: Arc<dyn Permits>, clock: Arc<dyn Clock>) -> Self {
        let own = Arc::new(setting.environment.clone());
        let http = Fetches::new(upstreams, own.clone(), permits, clock.clone());
        Collectors { commands: Arc::new(Commands::new(clock, own, &setting)), http }
    }

    /// For another config: the same processes, orphans and folders, and these upstreams from now on.
    pub fn again(&self, upstreams: Vec<Upstream>) -> Self {
        Collectors { commands: self.commands.clone(), http: self.http.again(upstreams) }
    }

    /// What bodies of `http` wait for, with those that pass the gateway; without it they pass as they come.
    pub fn with_pacing(mut self, pacing: Arc<Pacing>) -> Self {
        self.http.pacing = Some(pacing);
        self
    }

    /// Where answers lie of sources that have a cache.
    pub fn with_kept(mut self, kept: Arc<dyn KeptAnswers>) -> Self {
        self.http.kept = Some(kept);
        self
    }
}

#[async_trait]
impl Collect for Collectors {
    fn folder(&self, within: &Path, attempt: AttemptId, collector: &Collector, items: &[OrderItem]) -> PathBuf {
        match collector.how {
            How::Command(_) => self.commands.folder(within, attempt, items),
            How::Http(_) => within.join(attempt.to_string()),
        }
    }

    fn take_back(&self, folder: &Path) {
        self.commands.take_back(folder);
    }

    async fn collect(&self, order: Order, listener: Listener<'_>, stop: Stop) -> Report {
        match order.collector.how {
            How::Command(_) => self.commands.collect(order, listener, stop).await,
            How::Http(_) => self.http.collect(order, listener, stop).await,
        }
    }
}
