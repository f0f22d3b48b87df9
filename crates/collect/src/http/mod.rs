//! The built-in collector.

mod upstream;

use std::ffi::OsString;
use std::sync::Arc;

use adce_core::gap::{Failure, Fault};
use adce_core::ports::{Clock, Order, Permits, Report, Rest, Stop};

pub use self::upstream::Upstream;

pub(crate) struct Fetches {
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) own: Arc<Vec<(OsString, OsString)>>,
    pub(crate) permits: Arc<dyn Permits>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Fetches {
    pub(crate) fn new(
        upstreams: Vec<Upstream>,
        own: Arc<Vec<(OsString, OsString)>>,
        permits: Arc<dyn Permits>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Fetches { upstreams, own, permits, clock }
    }

    pub(crate) async fn collect(&self, order: Order, _stop: Stop) -> Report {
        let message = format!("not started: `{}` is an http collector, and none runs", order.collector.name);
        let failure = Failure { fault: Fault::Stopped, message, retry_after_s: None };
        Report { ended: "not started".into(), rest: Rest::Failed(failure), ..Report::default() }
    }
}
