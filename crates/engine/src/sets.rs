//! Looks at one set of objects in the lake.
//!
//! The marker is asked for before the parts: who writes a set writes it last, so if it is there, all parts are among those that are
//! listed after it. Both are listed, and not asked for by HEAD, because a listing and a HEAD may tell dates and ETags otherwise, and
//! the same set must look the same to whoever looks.

use adce_core::object::Object;
use adce_core::ports::{Lake, LakeError};
use adce_core::sets::{Member, SetPlace, SetRule, SetSight};

/// What lies there of one set.
#[derive(Debug, Default)]
pub(crate) struct Members {
    pub marker: Option<Object>,
    pub parts: Vec<Object>,
}

impl Members {
    /// The set as one object; `None`: it is not there.
    pub fn object(&self, key: &str, rule: &SetRule) -> Option<Object> {
        let mut sight = SetSight::default();
        self.marker.iter().for_each(|marker| sight.add(Member::Marker, marker));
        self.parts.iter().for_each(|part| sight.add(Member::Part, part));
        sight.object(key, rule)
    }
}

pub(crate) async fn members(lake: &dyn Lake, place: &SetPlace<'_>) -> Result<Members, LakeError> {
    let mut found = Members::default();
    if let Some(key) = place.marker() {
        lake.list(&key, &mut |object| {
            if object.key == key {
                found.marker = Some(object);
            }
        })
        .await?;
    }
    lake.list(place.before(), &mut |object| {
        if place.member(&object.key) == Some(Member::Part) {
            found.parts.push(object);
        }
    })
    .await?;
    Ok(found)
}

/// What lies at an item's key: one object, or a set told as one.
pub(crate) async fn look(lake: &dyn Lake, key: &str, set: Option<&SetRule>) -> Result<Option<Object>, LakeError> {
    match set.and_then(|rule| Some((rule, SetPlace::of(key, rule)?))) {
        None => lake.head(key).await,
        Some((rule, place)) => Ok(members(lake, &place).await?.object(key, rule)),
    }
}
