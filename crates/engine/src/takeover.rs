//! What a killed predecessor left: leases without an end, and objects that its attempts may have changed half-way.

use adce_core::ports::LakeError;
use adce_core::record::{Change, Lease, Remembered};
use adce_core::spec::{How, Spec};

use crate::attempt::Ports;
use crate::engine::EngineError;

/// An object that changed under a lease which nobody ended was written by a command that was killed: it is suspect. What
/// adce itself published is whole by construction.
///
/// Call when the predecessor's processes are gone: nothing changes these objects any more.
pub(crate) async fn suspect_what_predecessors_changed(spec: &Spec, ports: &Ports, remembered: &mut Remembered) -> Result<(), EngineError> {
    let mut changes = Vec::new();
    for lease in &remembered.leases {
        if !may_have_written(spec, lease) {
            continue;
        }
        for gap in remembered.gaps.iter().filter(|gap| lease.gaps.contains(&gap.id)) {
            let object = match ports.lake.head(&gap.key).await {
                Ok(object) => object,
                Err(LakeError::BadKey { .. }) => None,
                Err(error) => return Err(EngineError::Lake(error)),
            };
            if let Some(object) = object.filter(|object| object.replaces(gap.etag.as_deref(), gap.last_modified)) {
                let record = remembered.items.entry(gap.item()).or_default();
                record.suspect_etag = Some(object.etag);
                changes.push(Change::PutItem(gap.item(), record.clone()));
            }
        }
    }
    if changes.is_empty() { Ok(()) } else { ports.store.apply(changes).await.map_err(EngineError::State) }
}

fn may_have_written(spec: &Spec, lease: &Lease) -> bool {
    let command = spec.collectors.get(&lease.collector).is_none_or(|collector| matches!(collector.how, How::Command(_)));
    command && !lease.publishing
}
