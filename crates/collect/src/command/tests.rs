//! Commands that run, and that this machine gives adce no means to follow: no descriptors, a pipe that cannot be read.

use std::fs::File;

use adce_core::gap::{Fault, Reason};
use adce_core::ids::{AttemptId, FencingToken, GapId, ItemId, TaskId, Uuid};
use adce_core::ports::{HeldUp, OrderItem, StopSignal};
use adce_core::spec::{Batch, Collector, Environment, How, Requests, RetryPolicy, Via};
use adce_core::time::{BootId, Now, Timestamp};

use super::*;
use crate::process::Seen;

struct NoTime;

#[async_trait::async_trait]
impl Clock for NoTime {
    fn now(&self) -> Now {
        Now { wall: Timestamp::UNIX_EPOCH, boot: Boottime::default() }
    }

    fn boot_id(&self) -> BootId {
        BootId("none".into())
    }

    async fn sleep_until(&self, _until: Boottime) {
        std::future::pending().await
    }
}

struct NeverStopped;

#[async_trait::async_trait]
impl StopSignal for NeverStopped {
    async fn stopped(&self) {
        std::future::pending().await
    }

    fn is_stopped(&self) -> bool {
        false
    }

    fn held_up(&self) -> HeldUp {
        HeldUp::default()
    }
}

fn order(folder: &tempfile::TempDir, script: &str) -> Order {
    let gap = GapId { item: ItemId::of("d", ["k"]), episode: 1 };
    let collector = Collector {
        name: "test".into(),
        how: How::Command(Vec::new()),
        batch: Batch::default(),
        requests: Requests::default(),
        via: Via::None,
        pass: Default::default(),
        output: adce_core::spec::Output::Staged,
        timeout: Duration::from_secs(600),
        retry: RetryPolicy::default(),
        breaker: None,
        environment: Environment::default(),
        resources: Default::default(),
        keep: Default::default(),
        cwd: folder.path().to_owned(),
    };
    let item = OrderItem {
        item: gap.item,
        gap,
        dataset: "d".into(),
        key: "k".into(),
        set: None,
        reason: Reason::Missing,
        etag: None,
        last_modified: None,
        values: Vec::new(),
        url: None,
        min_size: 1,
        valid: None,
    };
    Order {
        attempt: AttemptId(Uuid::nil()),
        token: FencingToken(1),
        task: TaskId::of("test", gap),
        collector: Arc::new(collector),
        source: None,
        items: vec![item],
        argv: ["sh", "-c", script].map(String::from).to_vec(),
        folder: folder.path().join("attempt"),
        first_permit: None,
        gateway: None,
        lake: String::new(),
    }
}

fn commands() -> Commands {
    let setting = Setting { briefly: Duration::ZERO, ..Setting::of_this_process() };
    Commands::new(Arc::new(NoTime), Arc::new(setting.environment.clone()), &setting)
}

/// Runs two processes for ever, with one of its descriptors spoilt before anybody follows it, or none to be had at all.
async fn run(briefly: Duration, spoil: impl FnOnce(&mut Spawned) -> io::Result<()>) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let order = order(&folder, "tail -f /dev/null & exec tail -f /dev/null");
    let commands = Commands { briefly, ..commands() };
    let (spawned, output) = commands.start(&order).unwrap();
    let mut spawned = spawned.ok().unwrap();
    let group = spawned.group.id();
    let begun = match spoil(&mut spawned) {
        Ok(()) => commands.begin_to_follow(&order, spawned, output),
        Err(why) => Begun::Lost { lost: Lost { group: spawned.group, why }, place: spawned.place, output },
    };
    let report = commands.go_on(&order, begun, Boottime::from_secs(600), &|_| {}, Arc::new(NeverStopped));
    let report = report.await;
    assert_eq!(Seen::by_pid(group), None, "its leader was not reaped");
    assert_eq!(Seen::living_in(group), [], "others of its group live on");
    report
}

#[tokio::test]
async fn a_command_that_cannot_be_followed_is_gone_when_its_report_says_so() {
    let write_only = || File::options().write(true).open("/dev/null").unwrap().into();
    let ends_at_once = || File::open("/dev/null").unwrap().into();
    let none_left = run(Duration::ZERO, |_| Err(Errno::MFILE.into())).await;
    let by_poll = run(Duration::from_secs(600), |spawned| {
        (spawned.leader, spawned.stdout) = (ends_at_once(), Some(write_only()));
        Ok(())
    });
    let by_runtime = run(Duration::ZERO, |spawned| {
        spawned.stderr = Some(ends_at_once());
        Ok(())
    });
    assert!(none_left.ended.ends_with("Too many open files (os error 24)"), "{none_left:?}");
    for report in [none_left, by_poll.await, by_runtime.await] {
        assert!(report.ended.starts_with("killed, because it could not be followed: "), "{report:?}");
        let Rest::Failed(failure) = &report.rest else { panic!("{report:?}") };
        assert_eq!((failure.fault, failure.message.contains("not started")), (Fault::Later, false), "{failure:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_followed_keeps_its_paths_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut order = order(&folder, "while :; do echo half > left; done");
    let path = adce_core::spec::template::Template::parse("left", adce_core::spec::template::Purpose::Path).unwrap();
    let at = adce_core::spec::problem::Place::default();
    Arc::make_mut(&mut order.collector).output = adce_core::spec::Output::PickUp(adce_core::spec::PickUp { path, at });
    let commands = Commands { briefly: Duration::from_secs(600), ..commands() };
    let (spawned, output) = commands.start(&order).unwrap();
    let mut spawned = spawned.ok().unwrap();
    // Its end seems to have come, and what it prints cannot be read.
    spawned.leader = File::open("/dev/null").unwrap().into();
    spawned.stdout = Some(File::options().write(true).open("/dev/null").unwrap().into());
    let is_taken = || handover::Handover::begin(&order, &commands.busy).is_err();
    let begun = commands.begin_to_follow(&order, spawned, output);
    assert!(matches!(begun, Begun::Lost { .. }) && is_taken(), "another attempt may work beside it");
    commands.go_on(&order, begun, Boottime::from_secs(600), &|_| {}, Arc::new(NeverStopped)).await;
    assert!(!is_taken(), "nobody has them any more");
}
