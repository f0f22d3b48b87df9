//! From what a collector says it did to what is true: checks staged files, publishes them, and looks into the lake for
//! the rest. Exit code 0 is a claim, not a result.
//!
//! Always true: an item counts as filled only if its object is in the lake, big enough, valid, and was written or
//! confirmed since the gap was seen (by the store's own clock and ETag). Nothing is published under a token that is not
//! current. What changed in the lake during an attempt that failed is suspect.
//!
//! How a set of objects is published is in `set`.
//!
//! It decides nothing about retries; `core::queue` does, from the outcomes given here.

mod set;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use adce_core::gap::{Failure, Fault, Outcome, Reason};
use adce_core::ids::{AttemptId, GapId, ItemId};
use adce_core::object::{Object, Precondition};
use adce_core::ports::{Collect, Lake, LakeError, Order, OrderItem, PublishError, Report, Rest, Said, Stop, Store, StoreError};
use adce_core::record::Change;
use adce_core::spec::{Collector, Compression, How, Validity};
use adce_core::time::Moment;
use adce_core::valid;
use uuid::Uuid;

use crate::sets;
use crate::takeover::Left;

/// What came of an attempt, item by item.
#[derive(Debug, Default)]
pub struct Delivered {
    pub outcomes: Vec<(GapId, Outcome)>,
    /// Objects that lie at the items' keys now and cannot be trusted: half-done, wrong, or somebody else's.
    pub suspects: Vec<(GapId, Object)>,
    /// Gaps whose objects may have been changed all the same, and the lake could not be asked.
    pub in_doubt: Vec<GapId>,
    /// Gaps that were in doubt when the attempt began, and were found as they had been before.
    pub out_of_doubt: Vec<GapId>,
    /// Gaps that nobody expects to be filled any more: their items left the config while the task waited.
    pub gone: Vec<GapId>,
    /// The lake is full, closed or gone: no other attempt would fare better.
    pub lake_failed: Option<LakeError>,
    /// Another attempt holds the gaps by now: nothing of this one may be recorded.
    pub fenced: bool,
}

impl Delivered {
    /// An attempt that the lake kept from delivering uses nothing up; a lake that needs a person ends the run.
    fn lake_says(&mut self, error: LakeError) -> Outcome {
        let failure = of_lake(&error);
        if matches!(error, LakeError::NoRoom { .. } | LakeError::Refused { .. } | LakeError::Gone(_)) {
            self.lake_failed.get_or_insert(error);
        }
        Outcome::Failed(failure)
    }

    /// What an earlier attempt was found to have left, for the items that this one did not fill.
    pub fn found_before(&mut self, left: Vec<Left>) {
        for Left { gap, object } in left {
            let filled = |(of, outcome): &(GapId, Outcome)| *of == gap && matches!(outcome, Outcome::Done { .. } | Outcome::Unchanged);
            let told = self.suspects.iter().any(|(of, _)| *of == gap) || self.in_doubt.contains(&gap);
            match object {
                _ if told || self.outcomes.iter().any(filled) => {}
                Some(object) => self.suspects.push((gap, object)),
                None => self.out_of_doubt.push(gap),
            }
        }
    }
}

pub struct Delivery<'a> {
    pub lake: &'a dyn Lake,
    pub store: &'a dyn Store,
    pub order: &'a Order,
    /// The lease is to hold until then while it publishes.
    pub until: Moment,
    /// Who starts the programs of `valid: { command: … }`.
    pub programs: Option<Programs<'a>>,
}

/// Starts programs, and ends them with the attempt.
pub struct Programs<'a> {
    pub collect: &'a dyn Collect,
    pub stop: Stop,
}

impl Delivery<'_> {
    pub async fn deliver(&self, report: &Report) -> Delivered {
        let mut delivered = Delivered::default();
        let staged = self.staged(report);
        if !staged.is_empty() && !self.may_publish(staged, &mut delivered).await {
            return delivered;
        }
        for item in &self.order.items {
            let said = report.items.iter().find(|said| said.item == item.item).map(|said| &said.said);
            let outcome = match said {
                Some(Said::Staged(file)) => self.publish(item, file, &mut delivered).await,
                Some(Said::Parts(files)) => self.publish_set(item, files, &mut delivered).await,
                Some(Said::Done) => self.look(item, Claim::Wrote, report, &mut delivered).await,
                Some(Said::Unchanged) => self.look(item, Claim::Unchanged, report, &mut delivered).await,
                Some(Said::Absent) => Outcome::Absent,
                Some(Said::Failed(failure)) => self.failed(item, failure, &mut delivered).await,
                None => self.unnamed(item, report, &mut delivered).await,
            };
            delivered.outcomes.push((item.gap, outcome));
        }
        delivered
    }

    fn staged(&self, report: &Report) -> Vec<GapId> {
        let staged = report.items.iter().filter(|said| said.said.is_staged());
        let staged: HashSet<ItemId> = staged.map(|said| said.item).collect();
        self.order.items.iter().filter(|item| staged.contains(&item.item)).map(|item| item.gap).collect()
    }

    /// Asks the state whether this attempt still owns its gaps, on record before the first object is replaced.
    async fn may_publish(&self, staged: Vec<GapId>, delivered: &mut Delivered) -> bool {
        let publishing = Change::Publishing { attempt: self.order.attempt, token: self.order.token, staged, until: self.until.clone() };
        match self.store.apply(vec![publishing]).await {
            Ok(()) => true,
            Err(StoreError::StaleToken(_)) => {
                delivered.fenced = true;
                false
            }
            Err(error) => {
                let failure = failure(Fault::Stopped, format!("nothing was published: {error}"));
                delivered.outcomes = self.order.items.iter().map(|item| (item.gap, Outcome::Failed(failure.clone()))).collect();
                false
            }
        }
    }

    async fn publish(&self, item: &OrderItem, file: &Path, delivered: &mut Delivered) -> Outcome {
        if let Err(failure) = self.check(file, item).await {
            return Outcome::Failed(failure);
        }
        let only_if = match &item.etag {
            Some(etag) => Precondition::Unchanged { etag: etag.clone() },
            None => Precondition::Absent,
        };
        match self.lake.publish(file, &item.key, &only_if).await {
            Ok(object) => done(object),
            Err(PublishError::Conflict(found)) => self.someone_was_faster(item, found, delivered).await,
            Err(PublishError::Lake(error)) => delivered.lake_says(error),
        }
    }

    /// The object at the key is not the one that the gap was about. If it is a good one, the gap is filled all the same.
    async fn someone_was_faster(&self, item: &OrderItem, found: Option<Object>, delivered: &mut Delivered) -> Outcome {
        let Some(object) = found else {
            return Outcome::Failed(failure(Fault::Item, format!("`{}` vanished from the lake while it was being replaced", item.key)));
        };
        // Nobody knew the ETag of what was to be replaced: this may be just that one.
        let is_newer = item.last_modified.is_some_and(|seen| object.last_modified.as_microsecond() > seen.as_microsecond());
        if item.reason == Reason::Stale && item.etag.is_none() && !is_newer {
            delivered.suspects.push((item.gap, object));
            return Outcome::Failed(failure(Fault::Item, format!("`{}` is there already; the next attempt replaces it", item.key)));
        }
        match self.check_object(item, &object).await {
            Ok(()) => done(object),
            Err(failure) => {
                // The next attempt is to replace just this one.
                delivered.suspects.push((item.gap, object));
                Outcome::Failed(failure)
            }
        }
    }

    async fn unnamed(&self, item: &OrderItem, report: &Report, delivered: &mut Delivered) -> Outcome {
        match &report.rest {
            Rest::LookInLake => match self.look(item, Claim::Silent, report, delivered).await {
                Outcome::Failed(failure) => {
                    let strays = (!report.strays.is_empty())
                        .then(|| format!("it staged `{}`, which is no key of this task", report.strays.join("`, `")));
                    let remarks = strays.into_iter().chain(report.misunderstood.clone());
                    let message = std::iter::once(failure.message).chain(remarks).collect::<Vec<_>>().join("; ");
                    Outcome::Failed(Failure { message, ..failure })
                }
                outcome => outcome,
            },
            Rest::Absent if self.order.items.len() == 1 => Outcome::Absent,
            Rest::Absent => Outcome::Split,
            Rest::Failed(failure) => self.failed(item, failure, delivered).await,
        }
    }

    /// Nothing was staged: only the lake can tell.
    async fn look(&self, item: &OrderItem, claim: Claim, report: &Report, delivered: &mut Delivered) -> Outcome {
        let instead = report.not_there.iter().find(|(of, _)| *of == item.item).map(|(_, instead)| instead.as_str());
        let object = match sets::look(self.lake, &item.key, item.set.as_ref()).await {
            Ok(Some(object)) => object,
            Ok(None) if let Some(marker) = item.set_place().and_then(|place| place.marker()) => {
                return Outcome::Failed(failure(claim.fault(), claim.but_no_marker_is_there(&marker)));
            }
            Ok(None) => return Outcome::Failed(failure(claim.fault(), claim.but_nothing_is_there(&item.key, instead))),
            Err(error) => {
                delivered.in_doubt.extend(self.writes_itself().then_some(item.gap));
                return delivered.lake_says(error);
            }
        };
        if !object.replaces(item.etag.as_deref(), item.last_modified) {
            return self.not_rewritten(item, claim, instead);
        }
        match self.check_object(item, &object).await {
            Ok(()) => done(object),
            Err(failure) => {
                delivered.suspects.push((item.gap, object));
                Outcome::Failed(failure)
            }
        }
    }

    fn not_rewritten(&self, item: &OrderItem, claim: Claim, instead: Option<&str>) -> Outcome {
        match (claim, item.reason) {
            (Claim::Unchanged, Reason::Stale) => Outcome::Unchanged,
            (Claim::Unchanged, reason) => {
                Outcome::Failed(failure(Fault::Item, format!("it says unchanged, but the object there is {}", reason.word())))
            }
            (_, reason) if let Some(instead) = instead => Outcome::Failed(failure(
                claim.fault(),
                format!("it left the old object in the lake in place, which is {}: {instead}", reason.word()),
            )),
            (_, reason) => Outcome::Failed(failure(
                claim.fault(),
                format!(
                    "it left the old object in place, which is {} (\"exists, skipping\"?): no `unchanged` line was printed",
                    reason.word()
                ),
            )),
        }
    }

    /// The attempt failed for this item; what it changed in the lake all the same cannot be trusted.
    async fn failed(&self, item: &OrderItem, failure: &Failure, delivered: &mut Delivered) -> Outcome {
        if self.writes_itself() {
            match sets::look(self.lake, &item.key, item.set.as_ref()).await {
                Ok(Some(object)) if item.etag.as_ref() != Some(&object.etag) => delivered.suspects.push((item.gap, object)),
                Ok(_) | Err(LakeError::BadKey { .. }) => {}
                Err(_) => delivered.in_doubt.push(item.gap),
            }
        }
        Outcome::Failed(failure.clone())
    }

    fn writes_itself(&self) -> bool {
        matches!(self.order.collector.how, How::Command(_))
    }

    async fn check(&self, file: &Path, item: &OrderItem) -> Result<(), Failure> {
        let compression = self.order.collector.how.compression();
        check_file(file, item.min_size, compression, item.valid.as_ref())?;
        match (&item.valid, &self.programs) {
            (Some(Validity::Command(validator)), Some(programs)) => self.ask(programs, validator, file, item).await,
            _ => Ok(()),
        }
    }

    /// Whether a program finds the file valid. It runs as a command of a collector would, in a folder of its own.
    async fn ask(&self, programs: &Programs<'_>, validator: &Arc<Collector>, file: &Path, item: &OrderItem) -> Result<(), Failure> {
        let unpacked = self.order.folder.join("unpacked");
        let file = match self.order.collector.how.compression() {
            None => file,
            Some(Compression::Gzip) => {
                let unpack = || valid::unpack_gzip(&mut std::fs::File::open(file)?, &mut std::fs::File::create(&unpacked)?);
                unpack().map_err(|error| failure(Fault::Later, format!("it could not be unpacked: {error}")))?;
                &unpacked
            }
        };
        let mut values = item.values.clone();
        values.extend([("file".into(), file.to_string_lossy().into_owned()), ("key".into(), item.key.clone())]);
        let How::Command(argv) = &validator.how else { return Ok(()) };
        let argv = argv.iter().map(|part| part.fill(&values)).collect::<Result<Vec<_>, _>>();
        let argv = argv.map_err(|error| failure(Fault::Item, error.to_string()))?;
        let within = self.order.folder.parent().unwrap_or(&self.order.folder);
        let folder = programs.collect.folder(within, AttemptId(Uuid::now_v7()), validator, &[]);
        let order = Order {
            collector: validator.clone(),
            items: Vec::new(),
            argv,
            folder: folder.clone(),
            first_permit: None,
            gateway: None,
            ..self.order.clone()
        };
        let report = programs.collect.collect(order, &|_| {}, programs.stop.clone()).await;
        programs.collect.take_back(&folder);
        let _ = std::fs::remove_file(&unpacked);
        match report.rest {
            Rest::LookInLake => Ok(()),
            Rest::Failed(why) if why.fault == Fault::Stopped => Err(why),
            Rest::Failed(why) => Err(failure(Fault::Item, format!("not valid: {}", why.message))),
            Rest::Absent => Err(failure(Fault::Item, format!("not valid: {}", report.ended))),
        }
    }

    async fn check_object(&self, item: &OrderItem, object: &Object) -> Result<(), Failure> {
        let compression = self.order.collector.how.compression();
        let least = compression.map_or(item.min_size, |compression| compression.least_bytes(item.min_size));
        if object.size < least {
            return Err(too_small(object.size, least));
        }
        if item.set.is_some() {
            return self.check_set(item).await;
        }
        if item.valid.is_none() && compression.is_none() {
            return Ok(());
        }
        self.check_in_lake(item).await
    }

    async fn check_in_lake(&self, item: &OrderItem) -> Result<(), Failure> {
        let copy = self.order.folder.join("check");
        std::fs::create_dir_all(&self.order.folder).map_err(|error| failure(Fault::Later, error.to_string()))?;
        let checked = match self.lake.download(&item.key, &copy).await {
            Ok(_) => self.check(&copy, item).await,
            Err(error) => Err(of_lake(&error)),
        };
        let _ = std::fs::remove_file(&copy);
        checked
    }
}

/// What the collector said about an item that it did not stage.
#[derive(Clone, Copy)]
enum Claim {
    Silent,
    Wrote,
    Unchanged,
}

impl Claim {
    /// Where there is nothing new. Who says `unchanged` has looked at the item.
    fn fault(self) -> Fault {
        match self {
            Claim::Silent | Claim::Wrote => Fault::Unwritten,
            Claim::Unchanged => Fault::Item,
        }
    }

    /// Of a set.
    fn but_no_marker_is_there(self, marker: &str) -> String {
        match self {
            Claim::Silent => format!("exit 0, but nothing was staged, and the lake has no marker `{marker}`"),
            Claim::Wrote => format!("it says done, but nothing was staged, and the lake has no marker `{marker}`"),
            Claim::Unchanged => format!("it says unchanged, but the lake has no marker `{marker}`"),
        }
    }

    /// `instead`: what is where its file was to be.
    fn but_nothing_is_there(self, key: &str, instead: Option<&str>) -> String {
        match (self, instead) {
            (Claim::Silent, Some(instead)) => format!("exit 0, but {instead}; nor has the lake the object"),
            (Claim::Wrote, Some(instead)) => format!("it says done, but {instead}; nor has the lake the object"),
            (Claim::Silent, None) => "exit 0, but it wrote nothing: neither `$ADCE_OUT/<key>` nor the lake has the object".into(),
            (Claim::Wrote, None) => format!("it says done, but `{key}` is neither staged nor in the lake"),
            (Claim::Unchanged, _) => format!("it says unchanged, but `{key}` is not in the lake"),
        }
    }
}

fn done(object: Object) -> Outcome {
    Outcome::Done { etag: object.etag, size: object.size, last_modified: object.last_modified }
}

pub(crate) fn failure(fault: Fault, message: String) -> Failure {
    Failure { fault, message, retry_after_s: None }
}

fn too_small(size: u64, min_size: u64) -> Failure {
    let message = match size {
        0 => "the answer is empty".to_owned(),
        _ => format!("the answer of {size} B is smaller than `min_size: {min_size}B`"),
    };
    failure(Fault::Item, message)
}

/// A lake that refuses is nobody's item's fault: the attempt is not used up.
pub(crate) fn of_lake(error: &LakeError) -> Failure {
    let fault = match error {
        LakeError::BadKey { .. } => Fault::Item,
        _ => Fault::Later,
    };
    failure(fault, error.to_string())
}

/// `min_size` and `valid` speak of the answer itself, whatever adce did to it on its way into the lake.
fn check_file(file: &Path, min_size: u64, compression: Option<Compression>, rule: Option<&Validity>) -> Result<(), Failure> {
    let unreadable = |error: std::io::Error| failure(Fault::Item, format!("the staged file cannot be read: {error}"));
    let open = || std::fs::File::open(file).map_err(unreadable);
    let size = match compression {
        None => std::fs::metadata(file).map_err(unreadable)?.len(),
        Some(Compression::Gzip) => valid::bytes_inside_gzip(&mut open()?, min_size)
            .map_err(|error| failure(Fault::Item, format!("it is no whole gzip file: {error}")))?,
    };
    if size < min_size {
        return Err(too_small(size, min_size));
    }
    let Some(rule) = rule else { return Ok(()) };
    let checked = match compression {
        None => valid::check(rule, &mut open()?),
        Some(Compression::Gzip) => valid::check_inside_gzip(rule, &mut open()?),
    };
    checked.map_err(|invalid| failure(Fault::Item, format!("not valid: {invalid}")))
}
