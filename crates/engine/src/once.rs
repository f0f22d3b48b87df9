//! The lake, as one look lists it: no prefix twice.
//!
//! A dataset whose objects have the rows of tables is looked at before it is known what should exist, and then with all others.
//! Without this it would be listed for each of its tables and once more.
//!
//! Always true: what is taken from an earlier listing is as old as that one (its beginning goes along), and one that failed, or that
//! showed too much to be kept, is done again (`what_feeds_tables_is_listed_once_a_look`).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use adce_core::object::Object;
use adce_core::ports::{Lake, LakeError};
use adce_core::time::Timestamp;

/// Some 20 MB. To list more than that once again takes longer than what it is for.
const KEPT_MAX: usize = 100_000;

/// Who lists may know that nobody will ask again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    All,
    Nothing,
}

pub(crate) struct Once<'l> {
    lake: &'l dyn Lake,
    listed: Mutex<HashMap<String, Listed>>,
}

/// What one listing that came to its end has shown.
struct Listed {
    began: Timestamp,
    objects: Vec<Object>,
}

impl<'l> Once<'l> {
    pub fn new(lake: &'l dyn Lake) -> Self {
        Once { lake, listed: Mutex::default() }
    }

    pub fn lake(&self) -> &'l dyn Lake {
        self.lake
    }

    /// When this prefix was listed in this look, and what was found; `None`: it was not.
    pub fn again(&self, prefix: &str, begin: &mut dyn FnMut(Timestamp), found: &mut dyn FnMut(&Object)) -> Option<()> {
        let listed = self.listed();
        let Listed { began, objects } = listed.get(prefix)?;
        begin(*began);
        objects.iter().for_each(found);
        Some(())
    }

    /// As [`Lake::list`]; it is known from then on if it is to be kept.
    pub async fn list(
        &self,
        prefix: &str,
        began: Timestamp,
        keep: Keep,
        found: &mut (dyn for<'a> FnMut(&'a Object) + Send),
    ) -> Result<(), LakeError> {
        let mut kept = (keep == Keep::All).then(Vec::new);
        let mut found = |object: Object| {
            found(&object);
            match &mut kept {
                Some(objects) if objects.len() < KEPT_MAX => objects.push(object),
                _ => kept = None,
            }
        };
        self.lake.list(prefix, &mut found).await?;
        if let Some(objects) = kept {
            self.listed().insert(prefix.to_owned(), Listed { began, objects });
        }
        Ok(())
    }

    fn listed(&self) -> MutexGuard<'_, HashMap<String, Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
