//! One run of a task from lease to outcomes: lease, order, collect, deliver. The loop decides what it means.
//!
//! The lease is on disk before anything is started under it, and the folder in which it worked is given back when it is over; only
//! its log stays. It has a thread of its own that may block: processes are started and files checked right here.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_core::coverage::Expected;
use adce_core::failpoint::{self, Failpoint};
use adce_core::gap::{Failure, Fault, Gap, Outcome};
use adce_core::ids::{FencingToken, ItemId};
use adce_core::lease;
use adce_core::ports::{Clock, Collect, Gate, Lake, Order, OrderItem, Passed, Report, Rest, Said, Stop, Store, Told};
use adce_core::queue::{Charge, Start};
use adce_core::record::AttemptRecord;
use adce_core::spec::{Collector, How, Keep, Spec};
use adce_core::time::Moment;
use adce_core::traffic::Traffic;

use crate::deliver::{Delivered, Delivery, Programs, failure, of_lake};
use crate::figures::LatestProgress;
use crate::helm::Helm;
use crate::inbox::{Ended, Message};
use crate::ledger::Leasing;
use crate::takeover::settle;

/// After a shorter attempt that staged nothing, the look into the lake takes less time than giving the slot away before it.
const WORTH_A_TURN: Duration = Duration::from_millis(10);

/// What every attempt needs of the world.
#[derive(Clone)]
pub struct Ports {
    pub clock: Arc<dyn Clock>,
    pub lake: Arc<dyn Lake>,
    pub store: Arc<dyn Store>,
    pub collect: Arc<dyn Collect>,
    pub gate: Arc<dyn Gate>,
    pub tables: Arc<dyn adce_core::coverage::TableFiles + Send + Sync>,
    /// Where the store says by itself what lies in the lake, if it does.
    pub reports: Option<Arc<dyn adce_core::report::Reports>>,
    /// Folders of attempts and their logs go here.
    pub attempts_folder: PathBuf,
    pub logs_folder: PathBuf,
}

pub(crate) struct Attempt {
    pub ports: Ports,
    pub spec: Arc<Spec>,
    pub expected: Arc<Expected>,
    pub start: Start,
    /// Items of it whose objects an earlier attempt may have changed.
    pub in_doubt: HashSet<ItemId>,
    pub stop: Stop,
    pub progress: LatestProgress,
}

impl Attempt {
    /// What it was comes back as a message.
    pub async fn run(self, leasing: Leasing, helm: &Arc<Helm>) -> Message {
        let attempt = self.start.attempt;
        match leasing.await {
            Ok(token) => Message::Ended(Box::new(self.under_lease(token, helm).await)),
            Err(error) => Message::LeaseRefused { attempt, error },
        }
    }

    async fn under_lease(&self, token: FencingToken, helm: &Arc<Helm>) -> Ended {
        failpoint::reached(Failpoint::Leased);
        let attempt = self.start.attempt;
        let mut record = AttemptRecord {
            attempt,
            token,
            task: self.start.task.id,
            collector: self.start.task.collector.clone(),
            started_at: self.ports.clock.now().wall,
            ended_at: self.ports.clock.now().wall,
            ended: Report::NOT_STARTED.into(),
            requests: 0,
            outcomes: Vec::new(),
            log_tail: String::new(),
            log: None,
            story: None,
            traffic: None,
        };
        // Items may have left the config since their task was formed: the rest of the task goes on without them.
        let (wanted, gone): (Vec<&Gap>, Vec<&Gap>) = self.start.gaps.iter().partition(|gap| self.expected.find(&gap.key).is_some());
        let mut delivered = match self.order(token, &wanted) {
            Err(failure) => all_failed(&self.start.gaps, &failure),
            Ok(order) if wanted.is_empty() => {
                self.ports.collect.take_back(&order.folder);
                Delivered::default()
            }
            Ok(order) if self.stop.is_stopped() => {
                self.ports.collect.take_back(&order.folder);
                all_failed(&self.start.gaps, &failure(Fault::Stopped, "stopped before it started".into()))
            }
            Ok(order) => self.collect(order, &mut record, helm).await,
        };
        delivered.gone = gone.iter().map(|gap| gap.id).collect();
        record.outcomes = delivered.outcomes.clone();
        record.ended_at = self.ports.clock.now().wall;
        Ended { record, delivered }
    }

    async fn collect(&self, mut order: Order, record: &mut AttemptRecord, helm: &Arc<Helm>) -> Delivered {
        let attempt = self.start.attempt;
        let left = match settle(&*self.ports.lake, &mut order, &self.in_doubt).await {
            Ok(left) => left,
            Err(error) => {
                self.ports.collect.take_back(&order.folder);
                return all_failed(&self.start.gaps, &of_lake(&error));
            }
        };
        let proxied = matches!(order.collector.how, How::Command(_));
        order.gateway = proxied.then(|| self.ports.gate.admit(attempt, order.collector.pass)).flatten();
        let listener = |told| match told {
            Told::Enclosed(inside) => self.ports.gate.enclosed(attempt, inside),
            Told::Started(process) => helm.tell(Message::Process(process)),
            Told::Progress(progress) => self.progress.set(progress),
        };
        let began = self.ports.clock.now().boot;
        let report = self.ports.collect.collect(order.clone(), &listener, self.stop.clone()).await;
        let passed = match proxied {
            true => self.ports.gate.dismiss(attempt),
            false => Passed { received_bytes: report.received_bytes, ..Passed::default() },
        };
        record.traffic = (passed != Passed::default()).then(|| Box::new(Traffic { passed, ..Traffic::default() }));
        // The next attempt need not wait for the disk or the lake to take or show this one's objects.
        let has_staged = report.items.iter().any(|item| item.said.is_staged());
        if has_staged {
            failpoint::reached(Failpoint::Staged);
        }
        let is_slow = || self.ports.clock.now().boot.since(began) >= WORTH_A_TURN;
        if has_staged || (is_slow() && !only_failed(&report, order.items.len())) {
            helm.steer_for(Message::Collected(attempt));
        }
        let now = Moment::of(&self.start.lease.until.boot_id, self.ports.clock.now());
        let programs = Some(Programs { collect: &*self.ports.collect, stop: self.stop.clone() });
        let delivery = Delivery { lake: &*self.ports.lake, store: &*self.ports.store, order: &order, until: lease::until(&now), programs };
        let mut delivered = delivery.deliver(&report).await;
        delivered.found_before(left);
        failpoint::reached(Failpoint::Delivered);
        record.ended = report.ended.clone();
        record.requests = report.requests;
        self.keep_log(&report, record);
        self.keep_folder(&order, &delivered, record);
        self.ports.collect.take_back(&order.folder);
        failpoint::reached(Failpoint::WorkplaceGivenBack);
        delivered
    }

    /// Moves the log out of the attempt's folder.
    fn keep_log(&self, report: &Report, record: &mut AttemptRecord) {
        if let Some(log) = &report.log {
            let kept = self.ports.logs_folder.join(format!("{}.log", record.attempt));
            record.log_tail = tail(log);
            if std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
                && std::fs::create_dir_all(&self.ports.logs_folder).is_ok()
                && self.keep_from_now_on(log, &kept).is_ok()
            {
                failpoint::reached(Failpoint::LogMoved);
                record.log = Some(kept);
            }
        }
    }

    /// Moves the folder itself to the logs, if its collector wants that, and says so at the end of the log's tail.
    fn keep_folder(&self, order: &Order, delivered: &Delivered, record: &mut AttemptRecord) {
        let has_failed = delivered.outcomes.iter().any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        let is_kept = match order.collector.keep {
            Keep::Never => false,
            Keep::Failed => has_failed,
            Keep::Always => true,
        };
        let kept = self.ports.logs_folder.join(format!("{}.folder", record.attempt));
        // What nothing ever ran in is as an earlier attempt left it.
        if is_kept
            && record.ended != Report::NOT_STARTED
            && std::fs::create_dir_all(&self.ports.logs_folder).is_ok()
            && self.keep_from_now_on(&order.folder, &kept).is_ok()
        {
            failpoint::reached(Failpoint::FolderKept);
            let now = self.ports.clock.now().wall.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
            record.log_tail.push_str(&format!("{now} adce its folder is kept: {}\n", kept.display()));
        }
    }

    /// It may have been silent for longer than logs are kept, or its folder be an older one: what is kept is as old as its
    /// attempt's end, or it would be removed before that is on record.
    fn keep_from_now_on(&self, from: &Path, kept: &Path) -> std::io::Result<()> {
        std::fs::File::open(from)?.set_modified(self.ports.clock.now().wall.into())?;
        std::fs::rename(from, kept)
    }

    fn order(&self, token: FencingToken, gaps: &[&Gap]) -> Result<Order, Failure> {
        let start = &self.start;
        let collector = self.spec.collectors.get(&start.task.collector).cloned();
        let collector = collector.ok_or_else(|| failure(Fault::Stopped, format!("collector `{}` is gone", start.task.collector)))?;
        let items = gaps.iter().map(|gap| self.order_item(gap, &collector)).collect::<Result<Vec<_>, _>>()?;
        let folder = self.ports.collect.folder(&self.ports.attempts_folder, start.attempt, &collector, &items);
        let argv = match &collector.how {
            How::Command(argv) => fill_argv(argv, &items, &folder).inspect_err(|_| self.ports.collect.take_back(&folder))?,
            How::Http(_) => Vec::new(),
        };
        let first_permit = match start.charge {
            Charge::First(permit) => Some(permit),
            Charge::Nothing | Charge::Ahead(_) => None,
        };
        Ok(Order {
            attempt: start.attempt,
            token,
            task: start.task.id,
            collector,
            source: start.task.source.clone(),
            items,
            argv,
            folder,
            first_permit,
            gateway: None,
            lake: self.ports.lake.identity(),
        })
    }

    fn order_item(&self, gap: &Gap, collector: &Collector) -> Result<OrderItem, Failure> {
        let item = self.expected.find(&gap.key);
        let item = item.ok_or_else(|| failure(Fault::Stopped, format!("`{}` is not expected any more", gap.key)))?;
        let dataset = self.spec.datasets.get(&gap.dataset);
        let dataset = dataset.ok_or_else(|| failure(Fault::Stopped, format!("dataset `{}` is gone", gap.dataset)))?;
        let values = self.expected.values(item);
        let url = match &collector.how {
            How::Http(http) => Some(http.url.fill(&values).map_err(|error| failure(Fault::Item, error.to_string()))?),
            How::Command(_) => None,
        };
        Ok(OrderItem {
            item: gap.item(),
            gap: gap.id,
            dataset: gap.dataset.clone(),
            key: gap.key.clone(),
            set: dataset.set.clone(),
            reason: gap.reason,
            etag: gap.etag.clone(),
            last_modified: gap.last_modified,
            values,
            url,
            min_size: dataset.min_size,
            valid: dataset.valid.clone(),
        })
    }
}

fn fill_argv(argv: &[adce_core::spec::template::Template], items: &[OrderItem], folder: &Path) -> Result<Vec<String>, Failure> {
    let out: Vec<String> = items.iter().map(|item| item.staged_path(folder).to_string_lossy().into_owned()).collect();
    let out = out.join(",");
    let values: Vec<&[(String, String)]> = items.iter().map(|item| item.values.as_slice()).collect();
    let filled = argv.iter().map(|part| part.fill_many(&values, Some(&out)));
    filled.collect::<Result<_, _>>().map_err(|error| failure(Fault::Item, error.to_string()))
}

pub(crate) fn all_failed(gaps: &[Gap], failure: &Failure) -> Delivered {
    Delivered { outcomes: gaps.iter().map(|gap| (gap.id, Outcome::Failed(failure.clone()))).collect(), ..Delivered::default() }
}

/// Nothing is left but to count it. Until then its slot is not free: what starts there would fail the same way, when this one
/// may be what opens a breaker (`a_collector_that_crashes_on_everything_starts_no_more_often_than_its_breaker_lets_it`).
fn only_failed(report: &Report, items: usize) -> bool {
    let are_all_named = report.items.len() >= items;
    report.items.iter().all(|item| matches!(item.said, Said::Failed(_))) && (are_all_named || matches!(report.rest, Rest::Failed(_)))
}

/// The last lines of a log, at most 2 KiB.
fn tail(log: &Path) -> String {
    use std::io::{Read, Seek, SeekFrom};
    const BYTES: u64 = 2_048;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // The rest of a line says neither when nor who.
        let line = (size > BYTES).then(|| bytes.iter().position(|byte| *byte == b'\n')).flatten();
        Ok(bytes.split_off(line.map_or(0, |end| end + 1)))
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
