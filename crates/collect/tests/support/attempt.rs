//! One attempt of a command, from its order to its report.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_collect::Collectors;
use adce_core::gap::Failure;
use adce_core::ports::{Collect, Order, Report, Rest, Said, Stop};
use adce_core::spec::How;
use tempfile::TempDir;

use super::*;

/// One attempt of `argv` for these keys, about to run.
pub struct Attempt {
    pub folder: TempDir,
    pub order: Order,
    pub clock: Arc<HandClock>,
    pub heard: Heard,
    pub environment: Vec<(&'static str, &'static str)>,
    pub briefly: Duration,
    /// The kernel's counters, if they are the test's own.
    pub vmstat: Option<PathBuf>,
}

impl Attempt {
    pub fn of(argv: &[&str], keys: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let items = keys.iter().map(|key| item(key)).collect();
        let mut order = order(collector(How::Command(Vec::new())), folder.path(), items);
        order.argv = argv.iter().map(|arg| arg.to_string()).collect();
        let (clock, heard, environment) = (HandClock::new(), Heard::default(), Vec::new());
        Attempt { folder, order, clock, heard, environment, briefly: Duration::ZERO, vmstat: None }
    }

    /// Followed where it was started for as long as this.
    pub fn briefly(self, briefly: Duration) -> Self {
        Attempt { briefly, ..self }
    }

    pub fn sh(script: &str, keys: &[&str]) -> Self {
        Attempt::of(&["sh", "-c", script], keys)
    }

    pub fn adapt(mut self, change: impl FnOnce(&mut adce_core::spec::Collector)) -> Self {
        let mut collector = (*self.order.collector).clone();
        change(&mut collector);
        self.order.collector = Arc::new(collector);
        self
    }

    pub async fn run(&self) -> Report {
        self.run_until(never()).await
    }

    pub async fn run_until(&self, stop: Stop) -> Report {
        let mut setting = adce_collect::Setting { briefly: self.briefly, ..setting() };
        setting.environment.extend(self.environment.iter().map(|(name, value)| (name.into(), value.into())));
        setting.vmstat = self.vmstat.clone().unwrap_or(setting.vmstat);
        let collectors = Collectors::new(setting, Vec::new(), Arc::new(NoPermits), self.clock.clone());
        let note = |told| self.heard.note(told);
        let attempt = collectors.collect(self.order.clone(), &note, stop);
        let report = tokio::time::timeout(Duration::from_secs(60), attempt).await.expect("the attempt hangs");
        if let Some(record) = self.heard.started().first() {
            assert!(!Path::new(&format!("/proc/{}", record.process_group)).exists(), "the leader was not reaped");
            assert_eq!(members_of(record.process_group), Vec::<i32>::new(), "the group outlived its attempt");
        }
        report
    }

    /// Runs it, and does something when the script has made the file `ready` in its attempt's folder.
    pub async fn run_and_when_ready(&self, stop: Stop, act: impl FnOnce()) -> Report {
        let ready = self.path("ready");
        let when_ready = async {
            appears(&ready).await;
            act();
        };
        tokio::join!(self.run_until(stop), when_ready).0
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        path(&self.folder, name)
    }
}

pub fn members_of(group: i32) -> Vec<i32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let group_of = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(2)?.parse::<i32>().ok())
    };
    pids.filter(|pid| group_of(*pid) == Some(group) && runs(*pid)).collect()
}

pub fn rest_failure(report: &Report) -> &Failure {
    match &report.rest {
        Rest::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

pub fn failure<'a>(report: &'a Report, key: &str) -> &'a Failure {
    match said(report, key) {
        Some(Said::Failed(failure)) => failure,
        other => panic!("`{key}`: {other:?}"),
    }
}
