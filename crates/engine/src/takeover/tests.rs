//! A lake that does not answer after an attempt, and what becomes of the object that it left.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use adce_core::gap::{Failure, Fault, Outcome};
use adce_core::ids::{AttemptId, FencingToken, TaskId, Uuid};
use adce_core::object::Precondition;
use adce_core::ports::{OrderItem, PublishError, Report, Rest, Store, StoreError};
use adce_core::record::History;
use adce_core::spec::{Collector, Output, Via};

use super::*;
use crate::deliver::{Delivered, Delivery};

/// One object, or no answer.
struct OneObject(Option<Object>);

#[async_trait::async_trait]
impl Lake for OneObject {
    fn identity(&self) -> String {
        "one object".into()
    }

    async fn list(&self, _: &str, _: &mut (dyn for<'a> FnMut(Object) + Send)) -> Result<(), LakeError> {
        Err(no_answer())
    }

    async fn head(&self, _: &str) -> Result<Option<Object>, LakeError> {
        self.0.clone().map(Some).ok_or_else(no_answer)
    }

    async fn download(&self, _: &str, _: &Path) -> Result<Object, LakeError> {
        Err(no_answer())
    }

    async fn publish(&self, _: &Path, _: &str, _: &Precondition) -> Result<Object, PublishError> {
        Err(no_answer().into())
    }

    async fn remove(&self, _: &str, _: &str) -> Result<(), LakeError> {
        Err(no_answer())
    }

    async fn sweep(&self) -> Result<u64, LakeError> {
        Ok(0)
    }
}

fn no_answer() -> LakeError {
    LakeError::Unavailable { what: "the lake".into(), detail: "no answer".into() }
}

/// Nothing is staged here, so nothing is asked of it.
struct NoStore;

#[async_trait::async_trait]
impl Store for NoStore {
    async fn load(&self) -> Result<Remembered, StoreError> {
        Err(StoreError::Unreachable("no store".into()))
    }

    async fn lease(&self, _: Lease) -> Result<FencingToken, StoreError> {
        Err(StoreError::Unreachable("no store".into()))
    }

    async fn apply(&self, _: Vec<Change>) -> Result<(), StoreError> {
        Err(StoreError::Unreachable("no store".into()))
    }

    async fn history(&self, _: TaskId) -> Result<History, StoreError> {
        Err(StoreError::Unreachable("no store".into()))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn gap() -> GapId {
    GapId { item: ItemId::of("d", ["k"]), episode: 1 }
}

/// Of a scraper that may write into the lake itself, for one missing item.
fn order() -> Order {
    let collector = Collector {
        name: "scraper".into(),
        how: How::Command(Vec::new()),
        batch: Default::default(),
        requests: Default::default(),
        via: Via::None,
        pass: Default::default(),
        output: Output::Direct,
        timeout: Duration::from_secs(1),
        retry: Default::default(),
        breaker: None,
        environment: Default::default(),
        resources: Default::default(),
        keep: Default::default(),
        cwd: PathBuf::new(),
    };
    let item = OrderItem {
        item: gap().item,
        gap: gap(),
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
        task: TaskId::of("scraper", gap()),
        collector: Arc::new(collector),
        source: None,
        items: vec![item],
        argv: Vec::new(),
        folder: PathBuf::new(),
        first_permit: None,
        gateway: None,
        lake: String::new(),
    }
}

fn deliver(lake: &OneObject, order: &Order, rest: Rest) -> Delivered {
    block_on(
        Delivery { lake, store: &NoStore, order, until: Default::default(), programs: None }.deliver(&Report { rest, ..Report::default() }),
    )
}

fn half_done() -> OneObject {
    OneObject(Some(Object { key: "k".into(), size: 9, last_modified: Timestamp::UNIX_EPOCH, etag: "half".into() }))
}

#[test]
fn an_attempt_after_which_the_lake_does_not_answer_leaves_its_items_in_doubt() {
    let failed = Failure { fault: Fault::Item, message: "exit 1".into(), retry_after_s: None };
    for rest in [Rest::Failed(failed), Rest::LookInLake] {
        let delivered = deliver(&OneObject(None), &order(), rest.clone());
        assert_eq!(delivered.in_doubt, [gap()], "{rest:?}");
        assert!(matches!(delivered.outcomes[..], [(_, Outcome::Failed(_))]), "{rest:?}");
    }
}

#[test]
fn what_an_earlier_attempt_left_is_not_taken_for_this_ones() {
    let (lake, in_doubt) = (half_done(), HashSet::from([gap().item]));
    let mut order = order();
    // Nothing was there when the gap was seen: whoever does not look first believes the next attempt's exit code 0.
    assert!(matches!(deliver(&lake, &order, Rest::LookInLake).outcomes[..], [(_, Outcome::Done { .. })]));
    let left = block_on(settle(&lake, &mut order, &in_doubt)).unwrap();
    assert_eq!((order.items[0].etag.as_deref(), order.items[0].reason), (Some("half"), Reason::Suspect));
    let mut delivered = deliver(&lake, &order, Rest::LookInLake);
    assert!(matches!(delivered.outcomes[..], [(_, Outcome::Failed(_))]), "{:?}", delivered.outcomes);
    delivered.found_before(left);
    assert_eq!(delivered.suspects, [(gap(), lake.0.clone().unwrap())]);
}

#[test]
fn what_was_there_before_is_out_of_doubt_once_somebody_looked() {
    let lake = half_done();
    let mut order = order();
    (order.items[0].etag, order.items[0].last_modified) = (Some("half".into()), Some(Timestamp::UNIX_EPOCH));
    let left = block_on(settle(&lake, &mut order, &HashSet::from([gap().item]))).unwrap();
    assert_eq!(left, [Left { gap: gap(), object: None }]);
    assert_eq!(order.items[0].reason, Reason::Missing);
    let mut delivered = deliver(&lake, &order, Rest::LookInLake);
    delivered.found_before(left);
    assert_eq!((delivered.out_of_doubt, delivered.suspects), (vec![gap()], Vec::new()));
    // While the lake does not answer, nothing begins.
    block_on(settle(&OneObject(None), &mut order, &HashSet::from([gap().item]))).unwrap_err();
}
