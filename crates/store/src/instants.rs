//! Which instant a change was recorded at, so that a wall clock that was set back can be told at the next start.
//!
//! Only instants that were the present count: a retry time lies ahead of any clock, and a settled reservation's last
//! arrival by up to `linger`.

use adce_core::record::Change;
use adce_core::time::Timestamp;

/// The present that the change speaks of, if it speaks of one.
fn recorded_at(change: &Change) -> Option<Timestamp> {
    match change {
        Change::PutGap(gap) => Some(gap.detected_at),
        Change::CloseGap { at, .. } => Some(*at),
        Change::PutPicture(picture) => picture.taken_at,
        Change::PutHeldPicture(held) => held.as_ref().map(|held| held.first_seen),
        Change::Finish(record) => Some(record.ended_at),
        Change::Reserve(reservation) => Some(reservation.first_sent_wall),
        Change::Event(event) => Some(event.at),
        Change::Lapse { now, .. } => Some(now.wall),
        Change::PutTrend(points) => points.iter().map(|(_, point)| point.at).max(),
        Change::PutTask(_)
        | Change::RemoveTask(_)
        | Change::PutItem(..)
        | Change::PutSource(..)
        | Change::PutValue { .. }
        | Change::PutCollector(..)
        | Change::PutSuccess(..)
        | Change::PutPause(..)
        | Change::PutJob(..)
        | Change::PutToken(_)
        | Change::Audit(_)
        | Change::Started(_)
        | Change::Publishing { .. }
        | Change::Renew { .. }
        | Change::Release(_)
        | Change::SettleReservation { .. }
        | Change::ForgetReservation(_) => None,
    }
}

pub(crate) fn latest_of(changes: &[Change]) -> Option<Timestamp> {
    changes.iter().filter_map(recorded_at).max()
}
