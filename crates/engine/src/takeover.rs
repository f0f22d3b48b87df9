//! What an attempt left that nobody could watch to its end: objects that it may have changed half-way.
//!
//! A killed engine leaves leases without an end, and a lake that could not be asked after an attempt leaves its items in
//! doubt. Either way the object that is there now is compared with the one before, and is suspect if it is another;
//! unless that is done first, the next attempt would find it and take it for its own
//! (`what_an_earlier_attempt_left_is_not_taken_for_this_ones`).

use std::collections::HashSet;

use adce_core::failpoint::{self, Failpoint};
use adce_core::gap::{Gap, Reason};
use adce_core::ids::{GapId, ItemId};
use adce_core::object::Object;
use adce_core::ports::{Lake, LakeError, Order};
use adce_core::record::{Change, Lease, Remembered};
use adce_core::sets::SetRule;
use adce_core::spec::{How, Spec};
use adce_core::time::Timestamp;

use crate::attempt::Ports;
use crate::engine::EngineError;
use crate::sets;

/// An object that changed under a lease which nobody ended was written by a command that was killed: it is suspect.
///
/// Not so what adce itself had begun to publish. It is whole by construction, and its requests have been answered: to
/// suspect it would send them again, and after a crash only those in flight may be. What the same command wrote into the
/// lake by itself is nobody's word until an attempt has ended, also when the kill came in mid-publishing; so the mark
/// names what was staged, and just that is believed.
///
/// Of sets only those are whole by construction that had no marker before: theirs is written last, when all that lies there is of
/// one collection.
///
/// Call when the predecessor's processes are gone: nothing changes these objects any more.
pub(crate) async fn suspect_what_predecessors_changed(spec: &Spec, ports: &Ports, remembered: &mut Remembered) -> Result<(), EngineError> {
    let mut changes = Vec::new();
    let mut in_question: HashSet<GapId> = HashSet::new();
    let set_of = |gap: &Gap| spec.datasets.get(&gap.dataset).and_then(|dataset| dataset.set.as_ref());
    let is_whole_if_there = |gap: &Gap| set_of(gap).is_none_or(|set| set.done.is_some() && gap.reason == Reason::Missing);
    let mut staged: HashSet<GapId> = HashSet::new();
    for lease in remembered.leases.iter().filter(|lease| may_have_written(spec, lease)) {
        in_question.extend(&lease.gaps);
        staged.extend(&lease.staged);
    }
    let is_believed = |gap: &Gap| staged.contains(&gap.id) && is_whole_if_there(gap);
    for gap in remembered.gaps.iter().filter(|gap| in_question.contains(&gap.id) && !is_believed(gap)) {
        let before = Before { etag: gap.etag.as_deref(), last_modified: gap.last_modified };
        if let Some(object) = changed(&*ports.lake, (&gap.key, set_of(gap)), before).await.map_err(EngineError::Lake)? {
            let record = remembered.items.entry(gap.item()).or_default();
            record.suspect_etag = Some(object.etag);
            changes.push(Change::PutItem(gap.item(), record.clone()));
        }
    }
    if !changes.is_empty() {
        ports.store.apply(changes).await.map_err(EngineError::State)?;
        failpoint::reached(Failpoint::SuspectsCommitted);
    }
    Ok(())
}

/// The object at a key when the gap was seen, if there was one.
struct Before<'a> {
    etag: Option<&'a str>,
    last_modified: Option<Timestamp>,
}

/// The object that is there now, if it is another one.
async fn changed(lake: &dyn Lake, (key, set): (&str, Option<&SetRule>), before: Before<'_>) -> Result<Option<Object>, LakeError> {
    match sets::look(lake, key, set).await {
        Ok(object) => Ok(object.filter(|object| object.replaces(before.etag, before.last_modified))),
        Err(LakeError::BadKey { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What lies at the key of a gap that was in doubt.
#[derive(Debug, PartialEq)]
pub struct Left {
    pub gap: GapId,
    /// `None`: what was there before, or nothing.
    pub object: Option<Object>,
}

/// Looks at these gaps; of those that the lake does not answer for, nothing is said.
pub(crate) async fn look_at(spec: &Spec, lake: &dyn Lake, in_doubt: Vec<Gap>) -> Vec<(Gap, Left)> {
    let mut found = Vec::new();
    for gap in in_doubt {
        let before = Before { etag: gap.etag.as_deref(), last_modified: gap.last_modified };
        let set = spec.datasets.get(&gap.dataset).and_then(|dataset| dataset.set.as_ref());
        if let Ok(object) = changed(lake, (&gap.key, set), before).await {
            let left = Left { gap: gap.id, object };
            found.push((gap, left));
        }
    }
    found
}

/// Before an attempt begins: its items in doubt are about the object that is there now.
pub(crate) async fn settle(lake: &dyn Lake, order: &mut Order, in_doubt: &HashSet<ItemId>) -> Result<Vec<Left>, LakeError> {
    let mut found = Vec::new();
    for item in order.items.iter_mut().filter(|item| in_doubt.contains(&item.item)) {
        let before = Before { etag: item.etag.as_deref(), last_modified: item.last_modified };
        let object = changed(lake, (&item.key, item.set.as_ref()), before).await?;
        if let Some(object) = &object {
            item.reason = Reason::Suspect;
            item.etag = Some(object.etag.clone());
            item.last_modified = Some(object.last_modified);
        }
        found.push(Left { gap: item.gap, object });
    }
    Ok(found)
}

fn may_have_written(spec: &Spec, lease: &Lease) -> bool {
    spec.collectors.get(&lease.collector).is_none_or(|collector| matches!(collector.how, How::Command(_)))
}

#[cfg(test)]
mod tests;
