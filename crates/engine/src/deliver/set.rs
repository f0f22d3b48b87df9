//! Publishes a staged set: its parts, then its marker, and takes away the parts of an earlier collection.
//!
//! Always true: wherever it ends, killed or refused, a set that is torn is not taken for a good one. Where there was no marker, it is
//! written when all that lies there is of this collection: without it the set is not there, however many parts are. Where there was
//! one, or where none is asked for, what lies there afterwards is another set than the one before, and is suspect
//! (`a_set_that_was_published_in_part_is_never_taken_for_whole`).
//!
//! Each object is replaced or removed only if it is the one that was seen there before.

use std::path::{Path, PathBuf};

use adce_core::failpoint::{self, Failpoint};
use adce_core::gap::{Failure, Fault, Outcome};
use adce_core::object::{Object, Precondition};
use adce_core::ports::{LakeError, OrderItem, PublishError};
use adce_core::sets::{Member, SetPlace};

use super::{Delivered, Delivery, done, failure, of_lake, too_small};
use crate::sets::{Members, look, members};

/// Files and the keys that they are for.
struct Staged<'a> {
    parts: Vec<(String, &'a Path)>,
    marker: Option<&'a Path>,
}

impl<'a> Staged<'a> {
    fn of(place: &SetPlace<'_>, files: &'a [PathBuf]) -> Self {
        let mut staged = Staged { parts: Vec::new(), marker: None };
        for file in files {
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
            let key = format!("{}{name}", place.folder());
            match place.member(&key) {
                Some(Member::Part) => staged.parts.push((key, file)),
                Some(Member::Marker) => staged.marker = Some(file),
                None => {}
            }
        }
        staged
    }
}

impl Delivery<'_> {
    pub(super) async fn publish_set(&self, item: &OrderItem, files: &[PathBuf], delivered: &mut Delivered) -> Outcome {
        let Some((rule, place)) = item.set.as_ref().and_then(|rule| Some((rule, SetPlace::of(&item.key, rule)?))) else {
            return Outcome::Failed(failure(Fault::Stopped, format!("`{}` is no set of objects any more", item.key)));
        };
        let staged = Staged::of(&place, files);
        if let Err(failure) = self.check_staged(item, &staged).await {
            return Outcome::Failed(failure);
        }
        let before = match members(self.lake, &place).await {
            Ok(before) => before,
            Err(error) => return delivered.lake_says(error),
        };
        match before.object(&item.key, rule) {
            Some(object) if item.etag.as_ref() != Some(&object.etag) => {
                return self.someone_was_faster(item, Some(object), delivered).await;
            }
            _ => {}
        }
        let failed = match self.replace(&place, &staged, &before).await {
            Ok(()) => None,
            Err(PublishError::Conflict(_)) => {
                Some(Outcome::Failed(failure(Fault::Item, format!("somebody else writes to the set `{}`", item.key))))
            }
            Err(PublishError::Lake(error)) => Some(delivered.lake_says(error)),
        };
        let after = look(self.lake, &item.key, Some(rule)).await;
        match (failed, after) {
            (None, Ok(Some(object))) => done(object),
            (None, Ok(None)) => Outcome::Failed(failure(Fault::Item, format!("`{}` vanished while it was published", item.key))),
            (None, Err(error)) => {
                delivered.in_doubt.push(item.gap);
                delivered.lake_says(error)
            }
            (Some(outcome), Ok(Some(object))) if item.etag.as_ref() != Some(&object.etag) => {
                delivered.suspects.push((item.gap, object));
                outcome
            }
            (Some(outcome), Ok(_)) => outcome,
            (Some(outcome), Err(_)) => {
                delivered.in_doubt.push(item.gap);
                outcome
            }
        }
    }

    async fn replace(&self, place: &SetPlace<'_>, staged: &Staged<'_>, before: &Members) -> Result<(), PublishError> {
        for (key, file) in &staged.parts {
            let replaced = before.parts.iter().find(|part| part.key == *key);
            self.lake.publish(file, key, &only_if(replaced)).await?;
        }
        failpoint::reached(Failpoint::SetPartsPublished);
        let old: Vec<&Object> = before.parts.iter().filter(|part| staged.parts.iter().all(|(key, _)| part.key != *key)).collect();
        let marker = place.marker();
        // While nothing says that the set is there, nobody misses what is taken away.
        if marker.is_some() && before.marker.is_none() {
            self.remove(&old).await?;
        }
        if let Some(key) = &marker {
            let file = self.marker_file(staged).map_err(PublishError::Lake)?;
            self.lake.publish(&file, key, &only_if(before.marker.as_ref())).await?;
            failpoint::reached(Failpoint::SetMarked);
        }
        if marker.is_none() || before.marker.is_some() {
            self.remove(&old).await?;
        }
        Ok(())
    }

    async fn remove(&self, old: &[&Object]) -> Result<(), LakeError> {
        for part in old {
            self.lake.remove(&part.key, &part.etag).await?;
            failpoint::reached(Failpoint::OldPartRemoved);
        }
        Ok(())
    }

    /// The collector's own, or an empty one.
    fn marker_file(&self, staged: &Staged<'_>) -> Result<PathBuf, LakeError> {
        if let Some(file) = staged.marker {
            return Ok(file.to_owned());
        }
        let file = self.order.folder.join("marker");
        let made = std::fs::create_dir_all(&self.order.folder).and_then(|()| std::fs::write(&file, b""));
        made.map(|()| file.clone())
            .map_err(|error| LakeError::Unavailable { what: format!("file `{}`", file.display()), detail: error.to_string() })
    }

    /// `min_size` speaks of all parts together, and `valid` of each.
    async fn check_staged(&self, item: &OrderItem, staged: &Staged<'_>) -> Result<(), Failure> {
        let mut size = 0;
        for (key, file) in &staged.parts {
            size += std::fs::metadata(file).map_or(0, |found| found.len());
            self.check(file, &part_of(item, key)).await.map_err(|why| of_part(key, why))?;
        }
        if size < item.min_size { Err(too_small(size, item.min_size)) } else { Ok(()) }
    }

    /// The same of a set that lies in the lake, whose size is known.
    pub(super) async fn check_set(&self, item: &OrderItem) -> Result<(), Failure> {
        let place = item.set.as_ref().filter(|_| item.valid.is_some()).and_then(|rule| SetPlace::of(&item.key, rule));
        let Some(place) = place else { return Ok(()) };
        let there = members(self.lake, &place).await.map_err(|error| of_lake(&error))?;
        for part in &there.parts {
            self.check_in_lake(&part_of(item, &part.key)).await.map_err(|why| of_part(&part.key, why))?;
        }
        Ok(())
    }
}

fn only_if(there: Option<&Object>) -> Precondition {
    match there {
        Some(object) => Precondition::Unchanged { etag: object.etag.clone() },
        None => Precondition::Absent,
    }
}

fn part_of(item: &OrderItem, key: &str) -> OrderItem {
    OrderItem { key: key.to_owned(), min_size: 0, set: None, ..item.clone() }
}

fn of_part(key: &str, why: Failure) -> Failure {
    Failure { message: format!("`{}`: {}", key.rsplit('/').next().unwrap_or(key), why.message), ..why }
}
